//! Bytes that a cgroup read from and wrote to block devices.
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst "io.stat"; cgroup-v1/blkio-controller.rst.

use crate::linux::cgroup::reading::{Item, READ_BYTES, Reading, WRITTEN_BYTES};

/// v1 does not charge buffered writes to the cgroup.
pub(super) const V1: &[Item] = &[Item {
    controller: Some("blkio"),
    names: &["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"],
    required: false,
    parse: service_bytes,
}];
pub(super) const V2: &[Item] = &[Item { controller: None, names: &["io.stat"], required: false, parse: stat }];

fn set(reading: &mut Reading, read: u64, written: u64) {
    reading.counters[READ_BYTES] = Some(read);
    reading.counters[WRITTEN_BYTES] = Some(written);
}

/// Rows `8:0 rbytes=1 wbytes=2 rios=...`; none before the first transfer.
fn stat(text: &str, reading: &mut Reading) -> Result<(), &'static str> {
    let (mut read, mut written) = (0u64, 0u64);
    for field in text.split_ascii_whitespace() {
        let parse = |number: &str| number.parse::<u64>().map_err(|_| "expected whole numbers of bytes");
        match field.split_once('=') {
            Some(("rbytes", number)) => read = read.saturating_add(parse(number)?),
            Some(("wbytes", number)) => written = written.saturating_add(parse(number)?),
            _ => {}
        }
    }
    set(reading, read, written);
    Ok(())
}

/// Rows `8:0 Read 1`, and `Total 2` in the end.
fn service_bytes(text: &str, reading: &mut Reading) -> Result<(), &'static str> {
    let (mut read, mut written) = (0u64, 0u64);
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let sum = match fields.next() {
            Some("Read") => &mut read,
            Some("Write") => &mut written,
            _ => continue,
        };
        let bytes: Option<u64> = fields.next().and_then(|number| number.parse().ok());
        *sum = sum.saturating_add(bytes.ok_or("expected whole numbers of bytes")?);
    }
    set(reading, read, written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_summed() {
        let mut reading = Reading::default();
        let directions = |reading: &Reading| (reading.counters[READ_BYTES], reading.counters[WRITTEN_BYTES]);
        stat("8:0 rbytes=10 wbytes=3 rios=1 wios=1 dbytes=0 dios=0\n259:1 rbytes=5 wbytes=4 rios=9\n", &mut reading)
            .expect("good");
        assert_eq!(directions(&reading), (Some(15), Some(7)));
        service_bytes("8:0 Read 1\n8:0 Write 2\n8:0 Sync 3\n8:16 Read 40\nTotal 43\n", &mut reading).expect("good");
        assert_eq!(directions(&reading), (Some(41), Some(2)));
        stat("", &mut reading).expect("nothing yet");
        assert_eq!(directions(&reading), (Some(0), Some(0)));
        assert!(stat("8:0 rbytes=x\n", &mut reading).is_err());
        assert!(service_bytes("8:0 Read\n", &mut reading).is_err());
    }
}
