//! The space of one file system, read so that a dead one can hang no one else.
//!
//! statfs(2) on a network file system whose server is gone blocks for minutes or for ever, and nothing can interrupt
//! it. So a path's first answer always comes from a [`Worker`] thread. Only a path whose answer shows a local file
//! system is then read in place; every other keeps its worker, and its answer is that of the tick before.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC,
    statfs,
};

/// File systems whose statfs touches no network and no other process, so that it cannot hang. What is not listed may.
const LOCAL: [FsType; 6] = [
    EXT4_SUPER_MAGIC, // also ext2 and ext3
    XFS_SUPER_MAGIC,
    BTRFS_SUPER_MAGIC,
    F2FS_SUPER_MAGIC,
    TMPFS_MAGIC,
    OVERLAYFS_SUPER_MAGIC,
];

/// What statfs said of a path's file system; sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    pub size: u64,
    /// Free for root.
    pub free: u64,
    /// Free for everyone else: less than `free` by the reserve.
    pub available: u64,
    /// st_dev, asked for only when paths must be told apart.
    pub device: Option<u64>,
    kind: FsType,
}

impl Space {
    /// Space in use, as df counts it: the reserve is free, not used.
    pub(super) fn used(&self) -> u64 {
        self.size - self.free
    }

    /// Whether two paths lie on one device. st_dev tells, except for an overlay or a btrfs subvolume, which has a
    /// device number of its own but passes on the numbers of the file system below. Between two calls those can move a
    /// little, but not apart.
    pub(super) fn is_same_device(&self, other: &Self) -> bool {
        let stacked = |space: &Self| space.kind == OVERLAYFS_SUPER_MAGIC || space.kind == BTRFS_SUPER_MAGIC;
        let near = |a: u64, b: u64| a.abs_diff(b) <= self.size / 1000;
        self.device.is_some() && self.device == other.device
            || (stacked(self) || stacked(other))
                && self.size == other.size
                && near(self.free, other.free)
                && near(self.available, other.available)
    }
}

/// Asks the kernel, in this thread, however long that takes.
fn ask(path: &Path, with_device: bool) -> io::Result<Space> {
    let answer = statfs(path)?;
    let kind = answer.filesystem_type();
    let device = if with_device { Some(std::fs::metadata(path)?.dev()) } else { None };
    let unit = match LOCAL.contains(&kind) {
        true => answer.block_size() as u64,
        // FUSE counts in fragments, which only statvfs passes on.
        false => nix::sys::statvfs::statvfs(path)?.fragment_size(),
    };
    let bytes = |blocks: u64| blocks.saturating_mul(unit);
    let (size, free, available) =
        (bytes(answer.blocks()), bytes(answer.blocks_free()), bytes(answer.blocks_available()));
    if size == 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "its file system has no size (expected one that stores files)",
        ));
    }
    if free > size || available > free {
        let message = format!("expected size >= free >= available, got {size}, {free} and {available} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(Space { size, free, available, device, kind })
}

/// One path to measure.
#[derive(Debug)]
pub(super) struct Filesystem {
    path: PathBuf,
    with_device: bool,
    patience: Duration,
    reader: Reader,
}

#[derive(Debug)]
enum Reader {
    /// The last answer was a local file system's: asked in place.
    InPlace,
    /// Not known to be local.
    Apart(Worker),
    /// To be asked apart from the next reading on.
    None,
}

impl Filesystem {
    /// `patience` is how old the answer of a worker may be; `with_device` asks for st_dev too.
    pub(super) fn new(path: PathBuf, with_device: bool, patience: Duration) -> Self {
        Self { path, with_device, patience, reader: Reader::None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The space now, or as of the tick before where asking could hang. `Ok(None)` while the first answer is awaited.
    pub(super) fn space(&mut self) -> io::Result<Option<Space>> {
        if let Reader::None = self.reader {
            self.reader = Reader::Apart(Worker::spawn(self.path.clone(), self.with_device)?);
        }
        let answer = match &self.reader {
            Reader::InPlace => Some(ask(&self.path, self.with_device)),
            Reader::Apart(worker) => worker.answer(self.patience),
            Reader::None => None,
        };
        match answer {
            Some(Ok(space)) => {
                match (&self.reader, LOCAL.contains(&space.kind)) {
                    (Reader::Apart(_), true) => self.reader = Reader::InPlace,
                    (Reader::InPlace, false) => self.reader = Reader::None,
                    _ => {}
                }
                Ok(Some(space))
            }
            Some(Err(error)) => {
                // Whatever comes next at this path need not be local.
                if let Reader::InPlace = self.reader {
                    self.reader = Reader::None;
                }
                Err(error)
            }
            None => Ok(None),
        }
    }
}

/// A thread that asks for one path, one question at a time. If the kernel never answers, the thread stays there:
/// nothing waits for it.
#[derive(Debug)]
struct Worker {
    desk: Arc<Desk>,
    started: Instant,
}

/// An error in a form that can be kept and given out again.
type Answer = Result<Space, (io::ErrorKind, String)>;

#[derive(Debug, Default)]
struct Desk {
    state: Mutex<State>,
    asked: Condvar,
}

#[derive(Debug, Default)]
struct State {
    question: bool,
    answer: Option<(Instant, Answer)>,
    closed: bool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    fn spawn(path: PathBuf, with_device: bool) -> io::Result<Self> {
        let desk =
            Arc::new(Desk { state: Mutex::new(State { question: true, ..State::default() }), asked: Condvar::new() });
        let theirs = Arc::clone(&desk);
        thread::Builder::new().name("hostgauge-disk".into()).stack_size(64 * 1024).spawn(move || {
            loop {
                let mut state = theirs.lock();
                while !state.question && !state.closed {
                    state = theirs.asked.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.closed {
                    return;
                }
                drop(state);
                let answer = ask(&path, with_device).map_err(|error| (error.kind(), error.to_string()));
                let mut state = theirs.lock();
                state.answer = Some((Instant::now(), answer));
                state.question = false;
            }
        })?;
        Ok(Self { desk, started: Instant::now() })
    }

    /// The last answer if it is fresh enough, and the next question. `None` while a first answer may still come.
    fn answer(&self, patience: Duration) -> Option<io::Result<Space>> {
        let mut state = self.desk.lock();
        let answer = match &state.answer {
            Some((at, answer)) if at.elapsed() <= patience => {
                Some(answer.clone().map_err(|(kind, message)| io::Error::new(kind, message)))
            }
            None if self.started.elapsed() <= patience => None,
            old => {
                let since = old.as_ref().map_or(self.started, |(at, _)| *at).elapsed().as_secs();
                let message = format!("no answer for {since} s (is its server gone?)");
                Some(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
            }
        };
        state.question = true;
        self.desk.asked.notify_one();
        answer
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.desk.lock().closed = true;
        self.desk.asked.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(kind: FsType, device: u64, size: u64, free: u64) -> Space {
        Space { size, free, available: free, device: Some(device), kind }
    }

    #[test]
    fn one_device_under_two_paths_is_one() {
        let disk = space(EXT4_SUPER_MAGIC, 1, 1_000_000, 400_000);
        let bind_mount = disk;
        let overlay = space(OVERLAYFS_SUPER_MAGIC, 7, 1_000_000, 400_100);
        let twin = space(EXT4_SUPER_MAGIC, 2, 1_000_000, 400_000);
        let other = space(EXT4_SUPER_MAGIC, 3, 1_000_000, 700_000);
        assert!(disk.is_same_device(&bind_mount));
        assert!(disk.is_same_device(&overlay) && overlay.is_same_device(&disk), "an overlay shows the disk below it");
        assert!(!disk.is_same_device(&twin), "two disks of one size are two");
        assert!(!overlay.is_same_device(&other));
        let subvolumes = [5, 6].map(|device| space(BTRFS_SUPER_MAGIC, device, 1_000_000, 400_000));
        assert!(subvolumes[0].is_same_device(&subvolumes[1]));
    }

    /// Asks until the first answer is there.
    fn first_answer(filesystem: &mut Filesystem) -> io::Result<Space> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Some(space) = filesystem.space()? {
                return Ok(space);
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(io::Error::other("no answer within 10 s"))
    }

    #[test]
    fn a_local_path_is_asked_in_place_after_its_first_answer() {
        // /dev/shm is a tmpfs on every Linux that the tests run on.
        let mut shm = Filesystem::new("/dev/shm".into(), true, Duration::from_secs(10));
        let space = first_answer(&mut shm).expect("an answer");
        assert!(space.size >= space.free && space.device.is_some());
        assert!(matches!(shm.reader, Reader::InPlace));
    }

    #[test]
    fn a_path_without_a_size_is_refused_and_a_missing_one_is_missing() {
        for (path, kind, text) in [
            ("/proc", io::ErrorKind::InvalidData, "no size"),
            ("/no/such/path", io::ErrorKind::NotFound, "No such file"),
        ] {
            let error =
                first_answer(&mut Filesystem::new(path.into(), false, Duration::from_secs(10))).expect_err(path);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn a_worker_that_never_answers_times_out_without_being_waited_for() {
        // A desk at which nobody sits stands for a kernel that does not come back.
        let started = Instant::now() - Duration::from_secs(30);
        let worker = Worker { desk: Arc::new(Desk::default()), started };
        let asked = Instant::now();
        let error = worker.answer(Duration::from_secs(2)).expect("patience is over").expect_err("no answer");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("30 s"), "{error}");
        assert!(asked.elapsed() < Duration::from_secs(1), "asking must not wait");
        assert!(worker.answer(Duration::from_secs(60)).is_none(), "within its patience it is awaited");
    }
}
