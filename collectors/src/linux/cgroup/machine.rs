//! What bounds every scope: the machine's cores and memory.

use std::time::{Duration, Instant};

use crate::linux::cgroup::limits::cpus;
use crate::linux::held_file::HeldFile;
use crate::linux::{cpu_list, meminfo};
use crate::sample::Roots;

/// Limits and the machine's size are settings, not measurements: read anew this often.
pub(super) const EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Machine {
    meminfo: HeldFile,
    online: HeldFile,
    possible: Vec<u32>,
    /// MemTotal in bytes.
    pub memory: Option<u64>,
    /// Cores online.
    pub cores: Option<f64>,
    read: Option<Instant>,
}

impl Machine {
    pub(super) fn new(roots: &Roots) -> Self {
        let cpus = roots.sysfs.join("devices/system/cpu");
        let possible = std::fs::read_to_string(cpus.join("possible")).unwrap_or_default();
        Self {
            meminfo: HeldFile::new(roots.procfs.join("meminfo")),
            online: HeldFile::new(cpus.join("online")),
            possible: cpu_list::parse(&possible).unwrap_or_default(),
            memory: None,
            cores: None,
            read: None,
        }
    }

    /// Reads it anew if it is time; true if so.
    pub(super) fn refresh_in_time(&mut self) -> bool {
        let is_time = self.read.is_none_or(|at| at.elapsed() >= EVERY);
        if is_time {
            self.refresh();
        }
        is_time
    }

    pub(super) fn refresh(&mut self) {
        let total = self.meminfo.read(meminfo::has_both_rows).ok().and_then(|text| meminfo::parse(text).ok());
        self.memory = total.map(|meminfo| meminfo.total);
        let list = self.online.read(|_| false).ok().and_then(|text| std::str::from_utf8(text).ok());
        self.cores = list.and_then(|list| cpus(list.trim()));
        self.read = Some(Instant::now());
    }

    /// The kernel's number of the core at this place of a row of all that are possible.
    pub(super) fn core_number(&self, index: usize) -> u32 {
        self.possible.get(index).copied().unwrap_or(index as u32)
    }
}
