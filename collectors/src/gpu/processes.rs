//! Which processes or containers use a GPU: memory, and their share of the SMs.
//!
//! Off unless asked for. Asked after all other figures, at most once a second, and told again at ticks between; a
//! process that ended, or a GPU that is not well, takes its series away. A question that never returns costs what any
//! call to the driver does that hangs. On a GPU that several processes share, the shares are the driver's estimate.
//!
//! Never run on a real GPU so far: only on a double of the driver.

mod container;
#[cfg(all(any(test, fuzzing), target_os = "linux"))]
pub(crate) mod fuzzing;
mod pids;
mod procfs;
mod share;

use std::cmp::Reverse;
use std::fmt;
use std::mem;
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::device::{Known, Shares};
use super::driver::{Handle, ProcessMemory, ProcessSample};
use super::state::State;
use crate::catalogue::{
    GPU_CONTAINER_MEMORY, GPU_CONTAINER_UTILIZATION, GPU_PROCESS_MEMORY, GPU_PROCESS_PIDS, GPU_PROCESS_UTILIZATION,
    GPU_PROCESSES_OMITTED,
};
use crate::sample::{Device, Roots, Sample};
use pids::{Kind, Pids};
use procfs::Procfs;
use share::{Told, Usage};

/// The most processes of one GPU that have series: the largest by memory.
const MOST_SHOWN: usize = 64;
/// The least time between two questions; ticks that are a second apart may come a little early.
const GAP: Duration = Duration::from_millis(950);
/// The most characters of a label value.
const MOST_CHARACTERS: usize = 64;

/// Whether the processes on GPUs have series. As text: `off`, `container` or `process`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Processes {
    /// They have none.
    #[default]
    Off,
    /// Summed by container.
    Container,
    /// Each, at most 64 a GPU.
    Process,
}

/// The text is none of `off`, `container` and `process`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoProcesses;

impl fmt::Display for NoProcesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected off, container or process")
    }
}

impl std::error::Error for NoProcesses {}

impl FromStr for Processes {
    type Err = NoProcesses;

    fn from_str(text: &str) -> Result<Self, NoProcesses> {
        match text {
            "off" => Ok(Self::Off),
            "container" => Ok(Self::Container),
            "process" => Ok(Self::Process),
            _ => Err(NoProcesses),
        }
    }
}

/// Asks all GPUs for their processes.
pub(super) struct Census {
    what: Processes,
    procfs: Procfs,
    pids: Pids,
    kinds: [(Kind, Device); 3],
    asked: Option<Instant>,
    listed: Vec<ProcessMemory>,
    samples: Vec<ProcessSample>,
    shares: Vec<(u32, f64)>,
    groups: Vec<Group>,
}

/// The processes of one GPU.
#[derive(Default)]
pub(super) struct Tenants {
    /// The GPU, as the labels of `known` have it.
    gpu: Option<Device>,
    known: Vec<Tenant>,
    usage: Usage,
    /// What the last answer came to.
    told: Vec<Sample>,
}

/// One process on one GPU.
struct Tenant {
    pid: u32,
    /// By which a later process with the same id is known; `None` where procfs does not show it.
    started: Option<u64>,
    /// Its labels, or those of its container. Its name is the first that was seen: some change theirs with each task.
    device: Device,
}

/// What has one series of each metric. `None` is unknown, and so is the sum of anything and unknown.
struct Group {
    device: Device,
    bytes: Option<u64>,
    share: Option<f64>,
}

impl Census {
    pub(super) fn new(what: Processes, roots: &Roots) -> Self {
        Self {
            what,
            procfs: Procfs::new(&roots.procfs),
            pids: Pids::default(),
            kinds: Kind::ALL.map(|kind| (kind, Device::new([kind.as_str()]))),
            asked: None,
            listed: Vec::new(),
            samples: Vec::new(),
            shares: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Appends what is known of the processes; `shares` are the figures of this tick, GPU by GPU.
    pub(super) fn tick(&mut self, gpus: &mut [Known], shares: &[Shares], now: Instant, out: &mut Vec<Sample>) {
        if self.what == Processes::Off {
            return;
        }
        let due = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= GAP);
        if due {
            self.asked = Some(now);
        }
        for (gpu, shares) in gpus.iter_mut().zip(shares) {
            let labels = gpu.device().clone();
            match &mut gpu.handle {
                Some(handle) if gpu.health.state() == State::Ok => {
                    if due {
                        let is_idle = shares.utilization == Some(0.0);
                        self.ask(&mut gpu.tenants, handle.as_mut(), labels, is_idle, now);
                    }
                    out.extend_from_slice(&gpu.tenants.told);
                }
                _ => gpu.tenants = Tenants::default(),
            }
        }
        if gpus.iter().all(|gpu| gpu.health.state() != State::Ok) {
            // A driver that comes back may be another, with other ids.
            self.pids = Pids::default();
        }
        let kind = self.kinds.iter().find(|(kind, _)| *kind == self.pids.kind).filter(|_| !gpus.is_empty());
        out.extend(kind.map(|(_, device)| Sample::of(&GPU_PROCESS_PIDS, device, 1.0)));
    }

    /// What goes wrong with the GPU as a whole, its next tick says.
    fn ask(&mut self, tenants: &mut Tenants, handle: &mut dyn Handle, gpu: Device, is_idle: bool, now: Instant) {
        tenants.told.clear();
        self.listed.clear();
        if handle.processes(&mut self.listed).is_err() {
            *tenants = Tenants::default();
            return;
        }
        merge(&mut self.listed);
        let rest = self.share(&mut tenants.usage, handle, is_idle, now);
        let omitted = self.listed.len().saturating_sub(MOST_SHOWN);
        self.listed.truncate(MOST_SHOWN);
        self.pids.judge(&mut self.procfs, self.listed.iter().map(|process| process.pid));

        let mut before = mem::take(&mut tenants.known);
        if tenants.gpu.as_ref() != Some(&gpu) {
            before.clear();
        }
        let listed = mem::take(&mut self.listed);
        for process in &listed {
            let (tenant, is_other) = self.meet(&mut before, process.pid, &gpu);
            let share = self.shares.iter().find(|(pid, _)| *pid == process.pid).map(|(_, share)| *share);
            // The samples may be of the process that had the id before.
            let share = share.or(rest).filter(|_| !is_other);
            self.group(&tenant.device, process.bytes, share);
            tenants.known.push(tenant);
        }
        self.listed = listed;
        self.tell(&mut tenants.told);
        tenants.told.push(Sample::of(&GPU_PROCESSES_OMITTED, &gpu, omitted as f64));
        tenants.gpu = Some(gpu);
    }

    /// Asks for the shares of the SMs, and returns that of processes without a sample, if it is known.
    fn share(&mut self, usage: &mut Usage, handle: &mut dyn Handle, is_idle: bool, now: Instant) -> Option<f64> {
        self.samples.clear();
        if handle.process_samples(usage.since(), &mut self.samples).is_err() {
            self.shares.clear();
            return None;
        }
        // Only a process that was not idle has a sample. Where samples are of others than the list, the driver uses two
        // kinds of ids, and no sample means nothing.
        let is_listed = |(pid, _): &(u32, f64)| self.listed.iter().any(|process| process.pid == *pid);
        let is_zero = match usage.take(&mut self.samples, now, &mut self.shares) {
            Told::Shares => self.shares.iter().all(is_listed),
            Told::Nothing => is_idle,
            Told::Base => false,
        };
        is_zero.then_some(0.0)
    }

    /// The process as it was known before, else looked up; and whether another one had its id.
    fn meet(&mut self, before: &mut Vec<Tenant>, pid: u32, gpu: &Device) -> (Tenant, bool) {
        let started = if self.pids.resolve { self.procfs.started(pid) } else { None };
        let known = before.iter().position(|tenant| tenant.pid == pid).map(|at| before.swap_remove(at));
        match known {
            Some(tenant) if tenant.started == started => (tenant, false),
            other => {
                let device = self.device(pid, started.is_some(), gpu);
                let is_other = other.is_some_and(|other| other.started.is_some() && started.is_some());
                (Tenant { pid, started, device }, is_other)
            }
        }
    }

    fn device(&mut self, pid: u32, is_there: bool, gpu: &Device) -> Device {
        let lookup = match self.what {
            Processes::Process => Procfs::command,
            _ => Procfs::container,
        };
        let name = is_there.then(|| lookup(&mut self.procfs, pid)).flatten().unwrap_or_default();
        let number = pid.to_string();
        let number = (self.what == Processes::Process).then_some(number.as_str());
        Device::new(gpu.values().chain(number).chain([name.as_str()]))
    }

    fn group(&mut self, device: &Device, bytes: Option<u64>, share: Option<f64>) {
        match self.groups.iter_mut().find(|group| group.device == *device) {
            Some(group) => {
                group.bytes = group.bytes.zip(bytes).map(|(a, b)| a.saturating_add(b));
                group.share = group.share.zip(share).map(|(a, b)| a + b);
            }
            None => self.groups.push(Group { device: device.clone(), bytes, share }),
        }
    }

    fn tell(&mut self, told: &mut Vec<Sample>) {
        let (memory, utilization) = match self.what {
            Processes::Process => (&GPU_PROCESS_MEMORY, &GPU_PROCESS_UTILIZATION),
            _ => (&GPU_CONTAINER_MEMORY, &GPU_CONTAINER_UTILIZATION),
        };
        for Group { device, bytes, share } in self.groups.drain(..) {
            told.extend(bytes.map(|bytes| Sample::of(memory, &device, bytes as f64)));
            told.extend(share.map(|share| Sample::of(utilization, &device, share)));
        }
    }
}

/// One entry for each process, the largest first. One that is on several lists has the same memory on each; in MIG mode
/// it has a part of it in each instance.
fn merge(listed: &mut Vec<ProcessMemory>) {
    listed.retain(|process| process.pid != 0);
    listed.sort_unstable_by_key(|process| (process.pid, process.instance, process.bytes));
    // What is left of two is the earlier: they change places.
    listed.dedup_by(|later, kept| {
        let same = (later.pid, later.instance) == (kept.pid, kept.instance);
        if same {
            kept.bytes = later.bytes;
        }
        same
    });
    listed.dedup_by(|later, kept| {
        let same = later.pid == kept.pid;
        if same {
            kept.bytes = kept.bytes.zip(later.bytes).map(|(a, b)| a.saturating_add(b));
        }
        same
    });
    listed.sort_unstable_by_key(|process| (Reverse(process.bytes), process.pid));
}

/// A text as a label value: short, and without control characters.
fn sanitised(text: &str) -> String {
    let printable = |character: char| if character.is_control() { '?' } else { character };
    text.chars().take(MOST_CHARACTERS).map(printable).collect()
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
