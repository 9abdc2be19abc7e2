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

/// A limit file that is held open.
#[derive(Debug)]
struct Held {
    file: File,
    path: PathBuf,
    kind: Kind,
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

/// The least limits, and the file that set each.
#[derive(Debug, Default)]
pub(super) struct Limits {
    held: Vec<Held>,
    cores: Option<(f64, usize)>,
    memory: Option<(u64, usize)>,
}

impl Limits {
    /// Opens what there is. A file that is not there limits nothing.
    pub(super) fn open(places: &Places) -> Self {
        let mut held = Vec::new();
        let mut hold = |path: PathBuf, kind: Kind| {
            if let Ok(file) = File::open(&path) {
                held.push(Held { file, path, kind });
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
        Self { held, ..Self::default() }
    }

    /// Reads them anew.
    pub(super) fn refresh(&mut self, buffer: &mut Vec<u8>) -> Result<(), CollectError> {
        (self.cores, self.memory) = (None, None);
        for (index, held) in self.held.iter().enumerate() {
            match held.read(buffer) {
                Ok(Limit::Cores(cores)) if self.cores.is_none_or(|(least, _)| cores < least) => {
                    self.cores = Some((cores, index));
                }
                Ok(Limit::Bytes(bytes)) if self.memory.is_none_or(|(least, _)| bytes < least) => {
                    self.memory = Some((bytes, index));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let message = format!("{}: {error}", held.path.display());
                    return Err(CollectError::new(Reason::Malformed, message));
                }
                // The group ends; whoever reads its counters finds out.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Cores, with fractions, and the file that says so.
    pub(super) fn cores(&self) -> Option<(f64, &Path)> {
        self.cores.and_then(|(cores, index)| Some((cores, self.held.get(index)?.path.as_path())))
    }

    /// Bytes, and the file that says so.
    pub(super) fn memory(&self) -> Option<(u64, &Path)> {
        self.memory.and_then(|(bytes, index)| Some((bytes, self.held.get(index)?.path.as_path())))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
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

fn cpu_max(text: &str) -> Option<Limit> {
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
