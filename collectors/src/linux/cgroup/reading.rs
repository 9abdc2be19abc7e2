//! What one reading of a cgroup (or of processes) knows, and the little grammar of its files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// The counters of a reading, by their place in [`Reading::counters`].
pub(super) const CPU_NANOSECONDS: usize = 0;
pub(super) const PERIODS: usize = 1;
pub(super) const THROTTLED_PERIODS: usize = 2;
pub(super) const THROTTLED_NANOSECONDS: usize = 3;
pub(super) const OOM_KILLS: usize = 4;
pub(super) const READ_BYTES: usize = 5;
pub(super) const WRITTEN_BYTES: usize = 6;
/// Six of them: some and full of cpu, memory, io; in microseconds.
pub(super) const PRESSURE: usize = 7;
pub(super) const COUNTERS: usize = PRESSURE + 6;

/// What is known as of now; what is not is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub counters: [Option<u64>; COUNTERS],
    /// CPU time of each core in nanoseconds, in the kernel's order; empty where it is not counted.
    pub cores: Vec<u64>,
    /// All memory charged, page cache included.
    pub usage: Option<u64>,
    /// Page cache that has not been used again: the kernel takes it first.
    pub inactive_file: Option<u64>,
    pub anonymous: Option<u64>,
    /// Resident memory, where processes are summed instead.
    pub resident: Option<u64>,
    /// v1: the lowest limit of the cgroup and all its ancestors.
    pub hierarchical_limit: Option<u64>,
}

impl Reading {
    /// Forgets everything but the room of `cores`.
    pub(super) fn clear(&mut self) {
        let mut cores = std::mem::take(&mut self.cores);
        cores.clear();
        *self = Self { cores, ..Self::default() };
    }

    /// `usage - inactive_file`, as the kubelet and docker have it. The two are read one after the other, so the
    /// difference can fall below 0 by what happened in between. Of processes: their resident memory.
    pub(super) fn working_set(&self) -> Option<u64> {
        self.resident.or_else(|| Some(self.usage?.saturating_sub(self.inactive_file?)))
    }
}

/// How a file is understood: `Err` says what was expected.
pub(super) type Parse = fn(&str, &mut Reading) -> Result<(), &'static str>;

/// A file of a cgroup's folder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub controller: Option<&'static str>,
    /// The names it has had; the first that is there is read.
    pub names: &'static [&'static str],
    /// Without it there is no reading of the group.
    pub required: bool,
    pub parse: Parse,
}

/// No file read here comes near this.
const LONGEST: usize = 1 << 20;

/// Reads a held file whole, with one `pread` unless it outgrew the buffer.
pub(super) fn read_held<'a>(file: &File, buffer: &'a mut Vec<u8>) -> io::Result<&'a str> {
    let length = loop {
        match file.read_at(buffer, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(length) if length < buffer.len() => break length,
            Ok(_) if buffer.len() >= LONGEST => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {LONGEST} bytes")));
            }
            Ok(_) => buffer.resize((buffer.len() * 4).max(4096), 0),
        }
    };
    std::str::from_utf8(buffer.get(..length).unwrap_or_default())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "no UTF-8"))
}

/// A file that holds one number.
pub(super) fn number(text: &str) -> Result<u64, &'static str> {
    text.trim_end().parse().map_err(|_| "expected one whole number")
}

/// The number of a row `key number`.
pub(super) fn value(text: &str, key: &str) -> Option<Result<u64, &'static str>> {
    let row = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    Some(row.trim_end().parse().map_err(|_| "expected a whole number in each row"))
}

/// A row that must be there.
pub(super) fn required(text: &str, key: &str, missing: &'static str) -> Result<u64, &'static str> {
    value(text, key).unwrap_or(Err(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_its_whole_name() {
        let text = "file 1\ninactive_file 22\nbad x\n";
        assert_eq!(value(text, "inactive_file"), Some(Ok(22)));
        assert_eq!(value(text, "inactive"), None);
        assert!(matches!(value(text, "bad"), Some(Err(_))));
    }

    #[test]
    fn a_file_longer_than_the_buffer_is_read_whole_and_an_endless_one_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("io.stat");
        std::fs::write(&path, "x".repeat(9000)).expect("written");
        let mut buffer = Vec::new();
        assert_eq!(read_held(&File::open(&path).expect("open"), &mut buffer).expect("read").len(), 9000);
        let endless = File::open("/dev/zero").expect("open");
        assert_eq!(read_held(&endless, &mut buffer).expect_err("endless").kind(), io::ErrorKind::InvalidData);
        assert!(buffer.len() <= 4 * LONGEST);
    }
}
