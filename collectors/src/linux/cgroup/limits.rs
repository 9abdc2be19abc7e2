//! How much CPU and memory a cgroup may have: the least of its own limits and of its visible ancestors'.
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst "cpu.max", "memory.max", "cpuset.cpus.effective";
//! scheduler/sched-bwc.rst; cgroup-v1/cpusets.rst.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::CollectError;
use crate::error::Reason;
use crate::linux::cgroup::locate::{Place, Places};
use crate::linux::cgroup::reading::{number, read_held};

/// A limit file that is held open, and what it said.
#[derive(Debug)]
struct Held {
    file: File,
    kind: Kind,
    said: Said,
}

/// A limit, and the file or the words that say so.
#[derive(Debug)]
struct Said {
    by: PathBuf,
    limit: Limit,
}

#[derive(Debug)]
enum Kind {
    /// `max 100000` or `50000 100000`.
    CpuMax,
    /// v1: the quota; its period is another file.
    CpuQuota(File),
    /// `0-3,8`.
    Cpuset,
    /// Bytes; `max` in v2, a number beyond any machine in v1 for none.
    Memory,
}

/// Every limit of a group, its ancestors' included. The least counts.
#[derive(Debug, Default)]
pub(super) struct Limits {
    held: Vec<Held>,
    stated: Vec<Said>,
}

impl Limits {
    /// Opens what there is. A file that is not there limits nothing.
    pub(super) fn open(places: &Places) -> Self {
        let mut held = Vec::new();
        let mut hold = |path: PathBuf, kind: Kind| {
            if let Ok(file) = File::open(&path) {
                held.push(Held { file, kind, said: Said { by: path, limit: Limit::None } });
            }
        };
        let upwards = |place: Option<&Place>| -> Vec<PathBuf> {
            place.map(|place| place.upwards().map(Path::to_owned).collect()).unwrap_or_default()
        };
        match places.v1("cpu") {
            None => upwards(places.v2()).iter().for_each(|folder| hold(folder.join("cpu.max"), Kind::CpuMax)),
            place => upwards(place).iter().for_each(|folder| {
                if let Ok(period) = File::open(folder.join("cpu.cfs_period_us")) {
                    hold(folder.join("cpu.cfs_quota_us"), Kind::CpuQuota(period));
                }
            }),
        }
        match places.v1("memory") {
            None => upwards(places.v2()).iter().for_each(|folder| hold(folder.join("memory.max"), Kind::Memory)),
            place => upwards(place).iter().for_each(|folder| hold(folder.join("memory.limit_in_bytes"), Kind::Memory)),
        }
        // The list in effect is within the ancestors' already; the nearest that has one counts.
        let (place, names) = match places.v1("cpuset") {
            None => (places.v2(), ["cpuset.cpus.effective", "cpuset.cpus.effective"]),
            place => (place, ["cpuset.effective_cpus", "cpuset.cpus"]),
        };
        let lists = names.iter().flat_map(|name| upwards(place).into_iter().map(move |folder| folder.join(name)));
        if let Some(list) = lists.into_iter().find(|path| path.exists()) {
            hold(list, Kind::Cpuset);
        }
        Self { held, stated: Vec::new() }
    }

    /// Limits that are no files.
    pub(super) fn stated(limits: Vec<(String, Limit)>) -> Self {
        let stated = limits.into_iter().map(|(by, limit)| Said { by: by.into(), limit }).collect();
        Self { held: Vec::new(), stated }
    }

    /// Reads them anew.
    pub(super) fn refresh(&mut self, buffer: &mut Vec<u8>) -> Result<(), CollectError> {
        let mut outcome = Ok(());
        for held in &mut self.held {
            held.said.limit = Limit::None;
            match held.read(buffer) {
                Ok(limit) => held.said.limit = limit,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let message = format!("{}: {error}", held.said.by.display());
                    outcome = outcome.and(Err(CollectError::new(Reason::Malformed, message)));
                }
                // The group ends; whoever reads its counters finds out.
                Err(_) => {}
            }
        }
        outcome
    }

    fn said(&self) -> impl Iterator<Item = &Said> {
        self.held.iter().map(|held| &held.said).chain(&self.stated)
    }

    /// Cores, with fractions, and what says so.
    pub(super) fn cores(&self) -> Option<(f64, &Path)> {
        least_cores(self.said())
    }

    /// Bytes, and what says so.
    pub(super) fn memory(&self) -> Option<(u64, &Path)> {
        least_memory(self.said())
    }
}

/// The cores that several groups may use together, and what says so; `None` where they have no ancestor in common that
/// has a limit.
pub(super) fn shared_cores<'a>(all: impl Iterator<Item = &'a Limits> + Clone) -> Option<(f64, &'a Path)> {
    least_cores(shared(all))
}

/// The same for memory, in bytes.
pub(super) fn shared_memory<'a>(all: impl Iterator<Item = &'a Limits> + Clone) -> Option<(u64, &'a Path)> {
    least_memory(shared(all))
}

/// What is a limit of every one of them: that of an ancestor.
fn shared<'a>(all: impl Iterator<Item = &'a Limits> + Clone) -> impl Iterator<Item = &'a Said> {
    let has = |other: &Limits, said: &Said| other.said().any(|one| one.by.as_os_str() == said.by.as_os_str());
    let first = all.clone().next();
    first.into_iter().flat_map(Limits::said).filter(move |said| all.clone().skip(1).all(|other| has(other, said)))
}

fn least_cores<'a>(said: impl Iterator<Item = &'a Said>) -> Option<(f64, &'a Path)> {
    let cores = said.filter_map(|said| match said.limit {
        Limit::Cores(cores) => Some((cores, said.by.as_path())),
        _ => None,
    });
    cores.min_by(|(a, _), (b, _)| a.total_cmp(b))
}

fn least_memory<'a>(said: impl Iterator<Item = &'a Said>) -> Option<(u64, &'a Path)> {
    let memory = said.filter_map(|said| match said.limit {
        Limit::Bytes(bytes) => Some((bytes, said.by.as_path())),
        _ => None,
    });
    memory.min_by_key(|(bytes, _)| *bytes)
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    None,
    Cores(f64),
    Bytes(u64),
}

impl Held {
    fn read(&self, buffer: &mut Vec<u8>) -> io::Result<Limit> {
        let malformed = |expected: &str| io::Error::new(io::ErrorKind::InvalidData, expected);
        let text = read_held(&self.file, buffer)?.trim();
        match &self.kind {
            Kind::CpuMax => cpu_max(text).ok_or_else(|| malformed("expected 'max' or a quota, and a period")),
            Kind::CpuQuota(_) if text.starts_with('-') => Ok(Limit::None),
            Kind::CpuQuota(period) => {
                let quota = number(text).map_err(malformed)?;
                let period = number(read_held(period, buffer)?).map_err(malformed)?;
                quotient(quota, period).ok_or_else(|| malformed("expected a period above 0"))
            }
            // An empty list is the default of a group whose processes use the ancestors'.
            Kind::Cpuset if text.is_empty() => Ok(Limit::None),
            Kind::Cpuset => cpus(text).map(Limit::Cores).ok_or_else(|| malformed("expected a list such as 0-3,8")),
            Kind::Memory if text == "max" => Ok(Limit::None),
            Kind::Memory => number(text).map(Limit::Bytes).map_err(malformed),
        }
    }
}

fn quotient(quota: u64, period: u64) -> Option<Limit> {
    (period > 0).then(|| Limit::Cores(quota as f64 / period as f64))
}

pub(super) fn cpu_max(text: &str) -> Option<Limit> {
    match text.split_once(' ')? {
        ("max", _) => Some(Limit::None),
        (quota, period) => quotient(quota.parse().ok()?, period.parse().ok()?),
    }
}

/// How many CPUs a list names, without making it.
pub(super) fn cpus(list: &str) -> Option<f64> {
    list.split(',').try_fold(0.0, |sum, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then(|| sum + f64::from(last - first) + 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_as_the_kernel_writes_them() {
        assert_eq!(cpu_max("max 100000"), Some(Limit::None));
        assert_eq!(cpu_max("50000 100000"), Some(Limit::Cores(0.5)));
        for bad in ["", "max", "50000", "a 100000", "50000 0", "-1 100000"] {
            assert_eq!(cpu_max(bad), None, "{bad:?}");
        }
        assert_eq!(cpus("0-3,8"), Some(5.0));
        for bad in ["", "3-1", "a", "0-", "0,,1"] {
            assert_eq!(cpus(bad), None, "{bad:?}");
        }
    }
}
