//! Two rows of /proc/meminfo.
//!
//! Source: Documentation/filesystems/proc.rst, "meminfo": `Name:   number kB`.

/// The host's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meminfo {
    /// MemTotal: usable RAM.
    pub total: u64,
    /// MemAvailable: what new work could get without swapping, by the kernel's estimate.
    pub available: u64,
}

/// Whether `text` already holds both rows: they are among the first three.
pub(super) fn has_both_rows(text: &[u8]) -> bool {
    row(text, b"MemAvailable:").is_some_and(|row| row.ends_with(b"\n"))
}

/// The two rows, or what is wrong with them.
pub(super) fn parse(text: &[u8]) -> Result<Meminfo, &'static str> {
    let total = row(text, b"MemTotal:").ok_or("no row MemTotal")?;
    let total = bytes(total).ok_or("MemTotal: expected a whole number of kB")?;
    let available = row(text, b"MemAvailable:").ok_or("no row MemAvailable (Linux has it since 3.14)")?;
    let available = bytes(available).ok_or("MemAvailable: expected a whole number of kB")?;
    if total == 0 {
        return Err("MemTotal is 0");
    }
    if available > total {
        return Err("MemAvailable is more than MemTotal");
    }
    Ok(Meminfo { total, available })
}

/// What follows the name, with the line's end where there is one.
fn row<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    text.split_inclusive(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))
}

fn bytes(row: &[u8]) -> Option<u64> {
    let number = std::str::from_utf8(row).ok()?.trim().strip_suffix("kB")?.trim_end();
    number.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_of_the_kernel() {
        let text =
            b"MemTotal:       24684084 kB\nMemFree:        22671728 kB\nMemAvailable:   24212592 kB\nBuffers: 3 kB\n";
        assert_eq!(parse(text), Ok(Meminfo { total: 24_684_084 * 1024, available: 24_212_592 * 1024 }));
        assert!(has_both_rows(text));
        assert!(!has_both_rows(&text[..70]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("", "no row MemTotal"),
            ("MemTotal: 5 kB\n", "no row MemAvailable"),
            ("MemTotal: x kB\nMemAvailable: 5 kB\n", "MemTotal: expected"),
            ("MemTotal: 9 kB\nMemAvailable: -5 kB\n", "MemAvailable: expected"),
            ("MemTotal: 9\nMemAvailable: 5 kB\n", "MemTotal: expected"),
            ("MemTotal: 99999999999999999999 kB\nMemAvailable: 5 kB\n", "MemTotal: expected"),
            ("MemTotal: 0 kB\nMemAvailable: 0 kB\n", "MemTotal is 0"),
            ("MemTotal: 5 kB\nMemAvailable: 6 kB\n", "more than MemTotal"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text);
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_the_kernel_writes_is_read_back(total in 1..u64::MAX / 2048, share in 0.0..=1.0f64) {
            let available = ((total as f64 * share) as u64).min(total);
            let text = format!("MemTotal: {total:>14} kB\nMemFree: 1 kB\nMemAvailable: {available:>9} kB\n");
            prop_assert_eq!(parse(text.as_bytes()), Ok(Meminfo { total: total * 1024, available: available * 1024 }));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let text = [b"MemTotal: 5 kB\nMemAvailable:", &bytes[..]].concat();
            let _ = (parse(&bytes), parse(&text), has_both_rows(&text));
        }
    }
}
