//! The spool's folder: its lock and its files, by number. Foreign files in it are left alone.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A bigger file is no segment of ours, and is not read.
pub(super) const LARGEST: u64 = 8 * 1024 * 1024;
/// Segments with damage that are kept for whoever wants to look.
const KEPT_ASIDE: usize = 2;
/// The file whose lock says that an agent is there.
pub(super) const LOCK: &str = "lock";
const SEGMENT: &str = ".spool";
const ASIDE: &str = ".spool.damaged";

/// The folder, locked for as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// Why a folder cannot be used.
pub(super) enum FolderError {
    /// Another agent has it.
    Taken,
    /// The system said no.
    Io(io::Error),
}

impl From<io::Error> for FolderError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Folder {
    /// Creates the folder where it is missing, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, FolderError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).mode(0o600).open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::Taken),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:020}{SEGMENT}"))
    }

    /// The numbers of the segments, lowest first, and the lowest that no file had yet.
    pub(super) fn segments(&self) -> io::Result<(Vec<u64>, u64)> {
        let segments = self.numbers(SEGMENT)?;
        let highest = self.numbers(ASIDE)?.into_iter().chain(segments.iter().copied()).max();
        Ok((segments, highest.map_or(0, |number| number.saturating_add(1))))
    }

    fn numbers(&self, ending: &str) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in self.path.read_dir()? {
            let name = entry?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_suffix(ending));
            let digits = digits.filter(|digits| digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()));
            numbers.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A new segment. Where somebody removed the folder, it is made and locked again.
    pub(super) fn create(&mut self, number: u64) -> io::Result<File> {
        let open =
            |folder: &Self| OpenOptions::new().append(true).create_new(true).mode(0o600).open(folder.file(number));
        match open(self) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *self = Self::open(&self.path).map_err(|error| match error {
                    FolderError::Taken => io::Error::other("it was removed, and another agent has made it again"),
                    FolderError::Io(error) => error,
                })?;
                log::warn!("spool {}: the folder was removed, and is made again", self.path.display());
                open(self)
            }
            result => result,
        }
    }

    /// Enough to know the version by.
    pub(super) fn read_beginning(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut beginning = Vec::new();
        File::open(self.file(number))?.take(4).read_to_end(&mut beginning)?;
        Ok(beginning)
    }

    /// The whole file.
    pub(super) fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        let file = File::open(self.file(number))?;
        let length = file.metadata()?.len();
        if length > LARGEST {
            let what = format!("{length} bytes; a segment has at most {LARGEST}");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        let mut content = Vec::with_capacity(length as usize);
        file.take(LARGEST).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Cuts off what a write left that did not get to its end.
    pub(super) fn cut(&self, number: u64, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.file(number))?;
        file.set_len(length)?;
        file.sync_all()
    }

    pub(super) fn remove(&self, number: u64) -> io::Result<()> {
        match std::fs::remove_file(self.file(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Renames a segment so that nobody reads it as one any more, and removes the oldest of those renamed before.
    pub(super) fn set_aside(&self, number: u64) -> io::Result<()> {
        let aside = |number: u64| self.path.join(format!("{number:020}{ASIDE}"));
        match std::fs::rename(self.file(number), aside(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for old in self.numbers(ASIDE)?.iter().rev().skip(KEPT_ASIDE) {
            // What is no file was not put here by us, and may stay.
            let _ = std::fs::remove_file(aside(*old));
        }
        Ok(())
    }

    /// Makes creations, removals and renamings outlast a power loss.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// Whether a file has no name any more: what is written into it, nobody reads.
pub(super) fn is_removed(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}

/// Every write to a segment passes here, so that tests can let the disk be full.
pub(super) fn write(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    if let Some(room) = full_disk::take(bytes.len()) {
        file.write_all(&bytes[..room])?;
        return Err(io::ErrorKind::StorageFull.into());
    }
    file.write_all(bytes)
}

/// A disk that gets full, for the thread that asks for one.
#[cfg(test)]
pub(super) mod full_disk {
    use std::cell::Cell;

    thread_local!(static ROOM: Cell<Option<usize>> = const { Cell::new(None) });

    /// From now on so many bytes fit; `None`: any number.
    pub(in super::super) fn set(room: Option<usize>) {
        ROOM.set(room);
    }

    /// How many of these bytes still fit, if not all do.
    pub(super) fn take(bytes: usize) -> Option<usize> {
        let room = ROOM.get()?;
        ROOM.set(Some(room.saturating_sub(bytes)));
        (room < bytes).then_some(room)
    }
}
