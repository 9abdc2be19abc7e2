//! A look at a spool's folder that leaves it as it is: for whoever wants to know before an agent opens it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, faccessat};

use super::folder::LOCK;

/// What an agent would find.
#[derive(Debug)]
pub struct Place {
    /// Another agent has it.
    pub taken: bool,
    /// Why nothing can be written there; `None` where it can.
    pub refused: Option<io::Error>,
    /// The folder itself, or the nearest one above it that exists: there it would be made.
    pub nearest: PathBuf,
    /// Bytes that are free to this user on its file system; `None` where that cannot be known.
    pub free: Option<u64>,
}

/// Looks at the folder. Nothing is made. An agent's lock is tried for a moment and given back at once; one that has it
/// does not notice.
pub fn look(folder: &Path) -> Place {
    let nearest = folder.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    let lock = File::open(folder.join(LOCK));
    let taken = lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    let place = |refused| Place { taken, refused, nearest: nearest.to_owned(), free: free(nearest) };
    if !nearest.is_dir() {
        return place(Some(io::ErrorKind::NotADirectory.into()));
    }
    let mode = AccessFlags::W_OK | AccessFlags::X_OK;
    place(faccessat(AT_FDCWD, nearest, mode, AtFlags::AT_EACCESS).err().map(io::Error::from))
}

fn free(folder: &Path) -> Option<u64> {
    let space = statvfs(folder).ok()?;
    // Their types differ between systems.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    Some((space.blocks_available() as u64).saturating_mul(space.fragment_size() as u64))
}

#[cfg(test)]
mod tests {
    use super::super::folder::Folder;
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_not_made() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/spool");
        let place = look(&folder);
        assert_eq!((place.taken, place.nearest.as_path()), (false, home.path()));
        assert!(place.refused.is_none() && place.free.is_some_and(|free| free > 0), "{place:?}");
        assert!(!home.path().join("a").exists());
    }

    #[test]
    fn a_folder_in_use_is_seen_and_stays_in_use() {
        let home = tempfile::tempdir().unwrap();
        let Ok(agent) = Folder::open(home.path()) else { panic!("it is free") };
        assert!(look(home.path()).taken);
        assert!(Folder::open(home.path()).is_err(), "the lock is its owner's still");
        drop(agent);
        assert!(!look(home.path()).taken);
        assert!(Folder::open(home.path()).is_ok(), "and a look keeps nothing");
    }

    #[test]
    fn below_a_file_there_is_no_folder() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("file"), "").unwrap();
        let refused = look(&home.path().join("file/spool")).refused.map(|error| error.kind());
        assert_eq!(refused, Some(io::ErrorKind::NotADirectory));
    }
}
