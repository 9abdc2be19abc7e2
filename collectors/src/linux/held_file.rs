//! A kernel file whose descriptor is held open and read whole, again and again, with one `pread` each.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::error::{CollectError, Reason};

/// Room for /proc/stat's CPU rows on a large machine; grows when a file needs more.
const FIRST_BUFFER: usize = 4 * 1024;
/// No file read here comes near this; one that does is not the file it should be.
const MAX_BUFFER: usize = 16 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct HeldFile {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
}

impl HeldFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, buffer: vec![0; FIRST_BUFFER] }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's text as of now. A text longer than the buffer is enough once `enough` says so, so that a caller who
    /// wants the head of a long file does not pay for its tail.
    ///
    /// A descriptor that fails is opened anew once: what it stood for may have been replaced (ENODEV).
    pub(super) fn read(&mut self, enough: impl Fn(&[u8]) -> bool) -> Result<&[u8], CollectError> {
        let held = self.file.is_some();
        let length = match self.read_once(&enough) {
            Err(_) if held => {
                self.file = None;
                self.read_once(&enough)
            }
            outcome => outcome,
        };
        match length {
            Ok(length) => Ok(&self.buffer[..length]),
            Err(error) => {
                self.file = None;
                Err(error)
            }
        }
    }

    fn read_once(&mut self, enough: impl Fn(&[u8]) -> bool) -> Result<usize, CollectError> {
        if self.file.is_none() {
            self.file = Some(File::open(&self.path).map_err(|error| CollectError::io("open", &self.path, &error))?);
        }
        let Some(file) = &self.file else { return Ok(0) };
        loop {
            let length = loop {
                match file.read_at(&mut self.buffer, 0) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    outcome => break outcome.map_err(|error| CollectError::io("read", &self.path, &error))?,
                }
            };
            if length < self.buffer.len() || enough(&self.buffer[..length]) {
                return Ok(length);
            }
            if self.buffer.len() >= MAX_BUFFER {
                let message = format!("{} is longer than {MAX_BUFFER} bytes", self.path.display());
                return Err(CollectError::new(Reason::Malformed, message));
            }
            self.buffer.resize(self.buffer.len() * 4, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_until_the_file_fits_and_follows_a_replaced_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stat");
        let text = "x".repeat(FIRST_BUFFER * 5 + 1);
        std::fs::write(&path, &text).expect("written");
        let mut file = HeldFile::new(path.clone());
        assert_eq!(file.read(|_| false).expect("read"), text.as_bytes());

        std::fs::write(&path, "short").expect("written");
        assert_eq!(file.read(|_| false).expect("read"), b"short");
    }

    #[test]
    fn a_head_is_enough_when_the_caller_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stat");
        std::fs::write(&path, "x".repeat(FIRST_BUFFER * 3)).expect("written");
        let mut file = HeldFile::new(path);
        assert_eq!(file.read(|_| true).expect("read").len(), FIRST_BUFFER);
    }

    #[test]
    fn a_missing_file_is_found_once_it_appears() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("late");
        let mut file = HeldFile::new(path.clone());
        let error = file.read(|_| false).expect_err("not there yet");
        assert_eq!(error.reason(), Reason::Missing);
        assert!(error.to_string().contains("late"), "{error}");
        std::fs::write(&path, "here").expect("written");
        assert_eq!(file.read(|_| false).expect("read"), b"here");
    }

    #[test]
    fn a_folder_is_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = HeldFile::new(folder.path().to_owned()).read(|_| false).expect_err("a folder");
        assert!(error.to_string().contains("directory"), "{error}");
    }
}
