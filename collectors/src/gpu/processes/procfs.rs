//! What procfs says of a process. Every reading is bounded, and none waits for the process: /proc/PID/maps, which would
//! also show a GPU in use, is left alone, since it waits for the memory lock of a process that may be stuck.
//!
//! Source: proc(5).

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::sanitised;

/// More than a row of stat, a comm, or a cgroup of version 1 with all its controllers takes.
const MOST_BYTES: u64 = 16 * 1024;
/// A process with a GPU opens it early, so that its device files have low numbers.
const MOST_FILES: usize = 1024;
/// PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h: the number of the first pid namespace, which stays.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// Whose process ids a procfs shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// We run in the host's namespace: whatever a driver may do to ids, they are these.
    Own,
    /// The host's, while we run in a container.
    Host,
    /// Those of the container that we run in.
    Container,
    /// It does not say so: other systems, made-up folders.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Procfs {
    root: PathBuf,
    name: String,
    buffer: Vec<u8>,
}

impl Procfs {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), name: String::new(), buffer: Vec::new() }
    }

    fn path(&mut self, pid: u32, file: &str) -> PathBuf {
        self.name.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.name, "{pid}/{file}");
        self.root.join(&self.name)
    }

    fn read(&mut self, path: &Path) -> Option<&[u8]> {
        self.buffer.clear();
        File::open(path).ok()?.take(MOST_BYTES).read_to_end(&mut self.buffer).ok()?;
        Some(&self.buffer)
    }

    /// When it started, in the kernel's ticks: with the id, what tells a process from a later one.
    pub(super) fn started(&mut self, pid: u32) -> Option<u64> {
        let path = self.path(pid, "stat");
        started(self.read(&path)?)
    }

    /// Its name, as ps shows it.
    pub(super) fn command(&mut self, pid: u32) -> Option<String> {
        let path = self.path(pid, "comm");
        let text = self.read(&path)?;
        Some(sanitised(String::from_utf8_lossy(text.strip_suffix(b"\n").unwrap_or(text)).as_ref()))
    }

    /// The container or scope it is in.
    pub(super) fn container(&mut self, pid: u32) -> Option<String> {
        let path = self.path(pid, "cgroup");
        Some(super::container::container(&String::from_utf8_lossy(self.read(&path)?)))
    }

    /// Whether it has a device file of the driver open; `None` where we may not look. No: there is none, or no such
    /// process.
    pub(super) fn has_gpu(&mut self, pid: u32) -> Option<bool> {
        if self.started(pid).is_none() {
            return Some(false);
        }
        let files = fs::read_dir(self.path(pid, "fd")).ok()?;
        let is_of_driver = |file: fs::DirEntry| {
            fs::read_link(file.path())
                .is_ok_and(|target| target.to_str().is_some_and(|path| path.starts_with("/dev/nvidia")))
        };
        Some(files.take(MOST_FILES).flatten().any(is_of_driver))
    }

    pub(super) fn view(&mut self) -> View {
        if fs::read_link(self.root.join("self/ns/pid")).is_ok_and(|target| target == Path::new(FIRST_NAMESPACE)) {
            return View::Own;
        }
        let path = self.root.join("self/status");
        // Our ids from the namespace of this procfs down to our own.
        let text = String::from_utf8_lossy(self.read(&path).unwrap_or_default());
        match text.lines().find_map(|line| line.strip_prefix("NSpid:")).map(|ids| ids.split_whitespace().count()) {
            Some(1) => View::Container,
            Some(2..) => View::Host,
            _ => View::Unknown,
        }
    }
}

/// Field 22 of stat. The second is the name between brackets, in which anything may stand, brackets and spaces as well.
pub(super) fn started(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a) b) R 1 7 7 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 4711 1 1 184";

    #[test]
    fn the_start_is_found_behind_any_name() {
        assert_eq!(started(STAT.as_bytes()), Some(4711));
        for bad in ["", "7 (a", "7 (a) R 1", "7 (a) R 1 7 7 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 x"] {
            assert_eq!(started(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn our_own_process_is_found() {
        let mut procfs = Procfs::new(Path::new("/proc"));
        let me = std::process::id();
        assert!(procfs.started(me).is_some_and(|started| procfs.started(me) == Some(started)));
        assert!(procfs.command(me).is_some_and(|name| !name.is_empty() && !name.contains('\n')));
        assert!(procfs.container(me).is_some_and(|name| !name.is_empty()));
        assert_eq!(procfs.has_gpu(me), Some(false));
        let nobody = u32::MAX;
        assert_eq!((procfs.started(nobody), procfs.command(nobody), procfs.container(nobody)), (None, None, None));
        assert_eq!(procfs.has_gpu(nobody), Some(false));
    }
}
