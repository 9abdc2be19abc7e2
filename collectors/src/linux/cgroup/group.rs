//! One cgroup (or some processes) under measurement: its files held open, its last two readings.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{CollectError, Reason};
use crate::linux::cgroup::limits::Limits;
use crate::linux::cgroup::locate::Places;
use crate::linux::cgroup::processes::{self, Process, Units};
use crate::linux::cgroup::reading::{CPU_NANOSECONDS, Item, Parse, Reading, read_held};
use crate::linux::cgroup::task::{Container, Newest};
use crate::linux::cgroup::{cpu, io as block_io, memory, pressure};
use crate::sample::{Device, Roots};
use crate::scope_report::Hint;

/// Where a group was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub source: Source,
    /// The folders of its cgroup; those of the limits where processes are summed.
    pub places: Places,
    /// What stands for `/` in the paths of its file systems.
    pub root: Option<PathBuf>,
    /// Why it is not read as it should be.
    pub hint: Option<Hint>,
    /// In which of several ways it was found.
    pub how: Option<&'static str>,
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The files of the cgroup.
    Cgroup,
    /// A process and its descendants; `start` as in [`Process::start`].
    Tree { pid: u32, start: u64 },
    /// The processes whose /proc/PID/cgroup says this.
    Members(String),
    /// The statistics of a container of an ECS task.
    Task(Container),
}

impl Found {
    /// Whether it is the same group, perhaps seen through another of its processes.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.source == other.source && (self.path(), self.version()) == (other.path(), other.version())
    }

    pub(super) fn mode(&self) -> &'static str {
        match self.source {
            Source::Cgroup => "cgroup",
            Source::Task(_) => "task",
            Source::Tree { .. } | Source::Members(_) => "processes",
        }
    }

    /// The version of its cgroup; a task's endpoint does not say.
    pub(super) fn version(&self) -> &'static str {
        if let Source::Task(_) = self.source { "unknown" } else { self.places.version() }
    }

    /// The cgroup's path, or the name in the task definition.
    pub(super) fn path(&self) -> &str {
        if let Source::Task(container) = &self.source { &container.name } else { self.places.path() }
    }
}

/// A held file and how it is understood.
#[derive(Debug)]
struct Held {
    file: File,
    path: PathBuf,
    required: bool,
    parse: Parse,
}

/// The group ended: perhaps another one took its place.
#[derive(Debug)]
pub(super) struct Gone(pub CollectError);

#[derive(Debug)]
pub(super) struct Group {
    pub found: Found,
    pub info: Device,
    pub limits: Limits,
    pub now: Reading,
    /// The reading before, if there was one.
    pub before: Reading,
    pub elapsed_nanoseconds: Option<u64>,
    /// What one of its files failed with; the others were read all the same.
    pub trouble: Option<CollectError>,
    /// Whether this tick's reading is taken.
    pub done: bool,
    /// Whether it ended: what is found in its place is another.
    pub gone: bool,
    /// Whether it lies inside another group that is counted.
    pub inner: bool,
    /// Whether `now` was measured since the tick before: a task's endpoint measures once a second only.
    pub is_new: bool,
    /// When the endpoint measured it, and since when that is the newest.
    measured: Option<(u64, Instant)>,
    /// What it should have and has not.
    lacking: Option<CollectError>,
    at: Option<Instant>,
    files: Vec<Held>,
    units: Units,
}

impl Group {
    /// Opens its files.
    pub(super) fn open(scope: &str, found: Found, buffer: &mut Vec<u8>) -> Result<Self, CollectError> {
        let (files, lacking) = match found.source {
            Source::Cgroup => open_files(&found.places, buffer)?,
            _ => (Vec::new(), None),
        };
        let mut limits = match &found.source {
            Source::Task(container) => {
                Limits::stated(container.newest().map(|newest| newest.statistics.limits.clone())?)
            }
            _ => Limits::open(&found.places),
        };
        limits.refresh(buffer)?;
        let info = Device::new([scope, found.mode(), found.version(), found.path()]);
        Ok(Self {
            found,
            info,
            limits,
            now: Reading::default(),
            before: Reading::default(),
            elapsed_nanoseconds: None,
            trouble: None,
            done: false,
            gone: false,
            inner: false,
            is_new: true,
            measured: None,
            lacking,
            at: None,
            files,
            units: Units::of_this_kernel(),
        })
    }

    /// The files that are read, for people.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.files.iter().map(|held| held.path.clone())
    }

    /// Takes a reading. The one before is its base, unless it failed.
    pub(super) fn read(&mut self, roots: &Roots, buffer: &mut Vec<u8>) -> Result<(), Gone> {
        self.take(roots, buffer).inspect_err(|_| self.gone = true)
    }

    /// Moves the reading before into the past.
    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        self.at = self.at.and_then(|at| at.checked_sub(by));
    }

    fn take(&mut self, roots: &Roots, buffer: &mut Vec<u8>) -> Result<(), Gone> {
        if let Source::Task(container) = &self.found.source {
            let newest = container.newest().map_err(Gone)?;
            self.take_statistics(&newest);
            return Ok(());
        }
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.clear();
        let (base, start) = (self.at.take(), Instant::now());
        (self.elapsed_nanoseconds, self.trouble) = (None, self.lacking.clone());
        self.done = true;
        let at = match &self.found.source {
            Source::Cgroup => self.read_files(start, buffer)?,
            Source::Tree { pid, start: born } => {
                let tree = processes::tree(&roots.procfs, *pid);
                match tree.first() {
                    Some(root) if root.start == *born => self.units.sum(&tree, &mut self.now),
                    _ => return Err(Gone(ended(*pid))),
                }
                middle(start)
            }
            Source::Members(membership) => {
                let members: Vec<Process> = processes::of_cgroup(&roots.procfs, membership);
                if members.is_empty() {
                    let message = format!("no process is in the cgroup {}", self.found.places.path());
                    return Err(Gone(CollectError::new(Reason::Missing, message)));
                }
                self.units.sum(&members, &mut self.now);
                middle(start)
            }
            Source::Task(_) => start,
        };
        self.elapsed_nanoseconds = base.and_then(|base| at.duration_since(base).as_nanos().try_into().ok());
        self.at = Some(at);
        Ok(())
    }

    /// A measurement by another's clock: its own time stamps are the interval, unless they contradict ours.
    fn take_statistics(&mut self, newest: &Newest) {
        self.done = true;
        let (read, since) = (newest.statistics.read, newest.since);
        self.is_new = self.measured.is_none_or(|(before, _)| before != read);
        if !self.is_new {
            return;
        }
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.clone_from(&newest.statistics.reading);
        self.elapsed_nanoseconds = match (self.measured, newest.statistics.before) {
            (Some((before, at)), _) => {
                let by_ours = since.saturating_duration_since(at);
                let by_theirs = read.checked_sub(before).map(Duration::from_nanos);
                by_theirs
                    .filter(|theirs| theirs.abs_diff(by_ours) < DOUBT)
                    .and_then(|theirs| theirs.as_nanos().try_into().ok())
            }
            (None, Some((before, used))) => {
                self.before.clear();
                self.before.counters[CPU_NANOSECONDS] = Some(used);
                Some(read - before)
            }
            (None, None) => None,
        };
        self.measured = Some((read, since));
    }

    fn read_files(&mut self, start: Instant, buffer: &mut Vec<u8>) -> Result<Instant, Gone> {
        let mut at = None;
        for held in &self.files {
            let outcome = read_held(&held.file, buffer);
            let parsed = outcome.map(|text| (held.parse)(text, &mut self.now));
            // The CPU time is the first file; the others may take their time.
            at.get_or_insert_with(|| middle(start));
            let error = match parsed {
                Ok(Ok(())) => continue,
                Ok(Err(expected)) => {
                    let message = format!("{}: {expected}", held.path.display());
                    CollectError::new(Reason::Malformed, message)
                }
                Err(error) if is_gone(&error) => return Err(Gone(CollectError::io("read", &held.path, &error))),
                Err(error) => CollectError::io("read", &held.path, &error),
            };
            self.trouble.get_or_insert(error);
        }
        Ok(at.unwrap_or(start))
    }

    /// What a counter grew by between the last two readings; `None` without a base, or where it ran backwards.
    pub(super) fn growth(&self, counter: usize) -> Option<u64> {
        self.now.counters[counter]?.checked_sub(self.before.counters[counter]?)
    }

    /// The time between the last two readings in nanoseconds, where it is long enough for a mean: the kernel adds up
    /// running tasks with every tick of its scheduler only.
    pub(super) fn interval(&self) -> Option<u64> {
        self.elapsed_nanoseconds.filter(|elapsed| *elapsed >= SHORTEST)
    }
}

/// A clock that differs from ours by so much over an interval was set: the endpoint measures once a second and is asked
/// as often, so that a measurement may be so old when it is first seen.
const DOUBT: Duration = Duration::from_secs(3);

/// A tick of the scheduler at CONFIG_HZ=100, the coarsest there is.
pub(super) const SHORTEST: u64 = 10_000_000;

/// Halfway between then and now: the kernel looked at its counter somewhere in between.
fn middle(start: Instant) -> Instant {
    start + start.elapsed() / 2
}

pub(super) fn ended(pid: u32) -> CollectError {
    CollectError::new(Reason::Missing, format!("process {pid} ended (expected a process that runs)"))
}

/// What the kernel says of a file whose cgroup or process is no more.
fn is_gone(error: &io::Error) -> bool {
    [Errno::ENODEV, Errno::ENOENT, Errno::ESRCH].iter().any(|gone| error.raw_os_error() == Some(*gone as i32))
}

/// The files there are, and the first one missing that should be there; an error if that is all of them.
fn open_files(places: &Places, buffer: &mut Vec<u8>) -> Result<(Vec<Held>, Option<CollectError>), CollectError> {
    let pick = |controller: &str, v1: &'static [Item], v2: &'static [Item]| match places.v1(controller) {
        Some(_) => v1,
        None => v2,
    };
    let items = [
        pick("cpuacct", cpu::V1, cpu::V2),
        pick("memory", memory::V1, memory::V2),
        pick("blkio", block_io::V1, block_io::V2),
        pressure::V2,
    ];
    let (mut files, mut lacking) = (Vec::new(), None);
    for item in items.into_iter().flatten() {
        let place = item.controller.map_or(places.v2(), |controller| places.v1(controller));
        match (open_item(item, place.map(|place| place.folder.as_path()), buffer), item.required) {
            (Ok(held), _) => files.push(held),
            (Err(error), true) => {
                lacking.get_or_insert(error);
            }
            (Err(_), false) => {}
        }
    }
    match lacking {
        Some(error) if files.iter().all(|held| !held.required) => Err(error),
        lacking => Ok((files, lacking)),
    }
}

/// What the files of a cgroup say now, as far as they can be read.
pub(super) fn look(places: &Places) -> Reading {
    let (mut reading, mut buffer) = (Reading::default(), Vec::new());
    for held in open_files(places, &mut buffer).map(|(files, _)| files).unwrap_or_default() {
        if let Ok(text) = read_held(&held.file, &mut buffer) {
            let _ = (held.parse)(text, &mut reading);
        }
    }
    reading
}

fn open_item(item: &Item, folder: Option<&std::path::Path>, buffer: &mut Vec<u8>) -> Result<Held, CollectError> {
    let name = item.names.first().copied().unwrap_or_default();
    let Some(folder) = folder else {
        let message = format!("{name}: no cgroup mount shows it (expected one of cgroup v1 or v2)");
        return Err(CollectError::new(Reason::Missing, message));
    };
    let paths = || item.names.iter().map(|name| folder.join(name));
    let path = paths().find(|path| path.exists()).unwrap_or_else(|| folder.join(name));
    let file = File::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if folder.is_dir() => {
            let message = format!(
                "{} is not there (expected a cgroup that is not the root, with its controllers enabled)",
                path.display()
            );
            CollectError::new(Reason::Missing, message)
        }
        _ => CollectError::io("open", &path, &error),
    })?;
    // A file that opens need not be readable: pressure that is switched off is not.
    read_held(&file, buffer).map_err(|error| CollectError::io("read", &path, &error))?;
    Ok(Held { file, path, required: item.required, parse: item.parse })
}
