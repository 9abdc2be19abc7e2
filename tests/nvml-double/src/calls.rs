//! The count of calls by function, in a file that a test can read while the agent runs. Each function has a line of
//! fixed length, so that a call costs one small write.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Digits of a count.
const WIDTH: usize = 12;

/// The file of counts.
#[derive(Debug)]
pub(crate) struct Calls {
    file: File,
    /// By function: where its digits are, and how many calls there were.
    counts: BTreeMap<&'static str, (u64, u64)>,
}

impl Calls {
    /// Goes on counting from what the file says, as a library that is loaded anew.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let before = read(path).unwrap_or_default();
        let mut text = String::new();
        let mut counts = BTreeMap::new();
        for name in crate::functions() {
            let count = before.get(name).copied().unwrap_or(0);
            text.push_str(name);
            text.push(' ');
            counts.insert(name, (text.len() as u64, count));
            text.push_str(&format!("{count:0WIDTH$}\n"));
        }
        fs::write(path, text)?;
        Ok(Self { file: File::options().write(true).open(path)?, counts })
    }

    pub(crate) fn count(&mut self, name: &str) {
        if let Some((place, count)) = self.counts.get_mut(name) {
            *count += 1;
            // A count that cannot be written is the test's to notice: it reads it.
            let _ = self.file.write_all_at(format!("{count:0WIDTH$}").as_bytes(), *place);
        }
    }
}

/// Reads a file of counts: calls by function, also those that were never called.
///
/// # Errors
///
/// It cannot be read, or says something else than counts.
pub fn read(path: &Path) -> io::Result<BTreeMap<String, u64>> {
    let parse = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    let wrong =
        |line: &str| io::Error::new(io::ErrorKind::InvalidData, format!("expected name and count, got {line:?}"));
    fs::read_to_string(path)?.lines().map(|line| parse(line).ok_or_else(|| wrong(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_back_and_go_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("calls");
        let mut calls = Calls::open(&path).expect("opened");
        for _ in 0..12 {
            calls.count("nvmlInit_v2");
        }
        calls.count("no such function");
        drop(calls);
        Calls::open(&path).expect("opened anew").count("nvmlInit_v2");
        let counts = read(&path).expect("counts");
        assert_eq!(counts["nvmlInit_v2"], 13);
        assert_eq!(counts["nvmlShutdown"], 0);
        assert_eq!(counts.len(), crate::functions().count());
    }
}
