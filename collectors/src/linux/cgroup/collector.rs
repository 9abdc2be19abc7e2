//! The collector of every scope that is not the machine: the sum over its groups.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::catalogue::{
    CPU_LIMIT, CPU_NORMALIZED, CPU_PERIODS, CPU_REJECTED, CPU_SECONDS, CPU_THROTTLED_PERIODS, CPU_THROTTLED_SECONDS,
    CPU_UTILIZATION, IO_BYTES, MEMORY_ANONYMOUS, MEMORY_CHARGED, MEMORY_LIMIT, MEMORY_OOM_KILLS, MEMORY_USED,
    MEMORY_UTILIZATION, Metric, PRESSURE_SECONDS, SCOPE_CPU_CORE, SCOPE_INFO,
};
use crate::collector::Collector;
use crate::error::{CollectError, Reason};
use crate::linux::cgroup::group::{Group, SHORTEST, Source};
use crate::linux::cgroup::limits::{shared_cores, shared_memory};
use crate::linux::cgroup::machine::Machine;
use crate::linux::cgroup::pressure;
use crate::linux::cgroup::reading::{
    COUNTERS, CPU_NANOSECONDS, OOM_KILLS, PERIODS, PRESSURE, READ_BYTES, Reading, THROTTLED_NANOSECONDS,
    THROTTLED_PERIODS, WRITTEN_BYTES,
};
use crate::linux::cgroup::target::Target;
use crate::sample::{Device, Roots, Sample, percent};
use crate::scope::{Chosen, Scope};
use crate::scope_report::{Bound, Explanation, Measured};

/// CPU, memory, pressure and I/O of one or several scopes, in sum.
///
/// - **Each cgroup counts once**: one that lies inside another of the scopes is left out. Processes that are summed one
///   by one count beside a cgroup that they are in.
/// - **CPU** is the difference of the cgroup's counter over the monotonic time between the two reads. It is not
///   clamped; what the cores online could not have done (5 % above them, or two ticks of the scheduler where those are
///   more) is an error, and counted.
/// - **Memory** is the sum of the working sets over the sum of the limits, which ends at the machine's memory. A scope
///   without a limit has the machine's.
/// - **Sums are strict**: absent while any scope is not known, because a part would look like less load. A scope that
///   was restarted has a percentage from its second reading on.
/// - **Counters** start at the kernel's own totals and only grow, also when a cgroup restarts.
/// - What a cgroup does not count is absent: throttling without the controller cpu, pressure and I/O where the kernel
///   or the version has none, everything but CPU time and resident memory where processes are summed.
#[derive(Debug)]
pub struct Scoped {
    roots: Roots,
    chosen: Chosen,
    targets: Vec<Target>,
    machine: Machine,
    rows: [Row; COUNTERS],
    rejected: u64,
    cores: Vec<Device>,
    buffer: Vec<u8>,
    file_systems: FileSystems,
}

/// What stands for `/` in the scopes, as of now: `None` for one whose file systems cannot be seen.
#[derive(Clone, Debug, Default)]
pub struct FileSystems(Arc<Mutex<(u64, Vec<Option<PathBuf>>)>>);

impl FileSystems {
    /// The machine's.
    pub(crate) fn of_host(roots: &Roots) -> Self {
        Self(Arc::new(Mutex::new((1, vec![Some(roots.rootfs.clone())]))))
    }

    pub(crate) fn set(&self, roots: Vec<Option<PathBuf>>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 == 0 || state.1 != roots {
            *state = (state.0 + 1, roots);
        }
    }

    /// The roots, if they are not those of `generation`.
    pub(crate) fn newer_than(&self, generation: u64) -> Option<(u64, Vec<Option<PathBuf>>)> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.0 != generation).then(|| state.clone())
    }
}

/// A counter of the page: its total over all groups, in the kernel's unit.
#[derive(Debug)]
struct Row {
    metric: &'static Metric,
    device: Option<Device>,
    /// The kernel's units in one of the metric's.
    per_unit: f64,
    total: Option<u64>,
}

fn rows() -> [Row; COUNTERS] {
    std::array::from_fn(|counter| {
        let pressure = counter.checked_sub(PRESSURE).and_then(|index| pressure::LABELS.get(index));
        let (metric, per_unit) = match counter {
            CPU_NANOSECONDS => (&CPU_SECONDS, 1e9),
            PERIODS => (&CPU_PERIODS, 1.0),
            THROTTLED_PERIODS => (&CPU_THROTTLED_PERIODS, 1.0),
            THROTTLED_NANOSECONDS => (&CPU_THROTTLED_SECONDS, 1e9),
            OOM_KILLS => (&MEMORY_OOM_KILLS, 1.0),
            READ_BYTES | WRITTEN_BYTES => (&IO_BYTES, 1.0),
            _ => (&PRESSURE_SECONDS, 1e6),
        };
        let device = match (counter, pressure) {
            (READ_BYTES, _) => Some(Device::new(["read"])),
            (WRITTEN_BYTES, _) => Some(Device::new(["write"])),
            (_, labels) => labels.map(|labels| Device::new(*labels)),
        };
        Row { metric, device, per_unit, total: None }
    })
}

impl Scoped {
    /// A collector of these scopes, none of which is `auto` or `host`. Nothing is looked for before the first reading.
    pub fn new(roots: &Roots, chosen: &Chosen) -> Self {
        Self {
            roots: roots.clone(),
            chosen: chosen.clone(),
            targets: chosen.scopes.iter().map(Target::new).collect(),
            machine: Machine::new(roots),
            rows: rows(),
            rejected: 0,
            cores: Vec::new(),
            buffer: vec![0; 4096],
            file_systems: FileSystems::default(),
        }
    }

    /// As if the reading before had been that much earlier.
    #[cfg(test)]
    pub(super) fn age(&mut self, by: std::time::Duration) {
        self.targets.iter_mut().flat_map(|target| &mut target.groups).for_each(|group| group.age(by));
    }

    /// As if the memberships had been read long ago.
    #[cfg(test)]
    pub(super) fn age_memberships(&mut self) {
        self.targets.iter_mut().for_each(Target::age_membership);
    }

    /// The roots of the scopes' file systems, for the collector of disks: kept up with what is found.
    pub fn file_systems(&self) -> FileSystems {
        self.file_systems.clone()
    }

    /// Reads every scope; the first error of all.
    fn read(&mut self) -> Result<(), CollectError> {
        let Self { targets, roots, buffer, machine, .. } = self;
        let is_time = machine.refresh_in_time();
        let (mut outcome, mut changed) = (Ok(()), false);
        for target in targets.iter_mut() {
            match target.read(roots, buffer) {
                Ok(other) => changed |= other,
                Err(error) => {
                    changed = true;
                    outcome = outcome.and(Err(error));
                }
            }
            for group in &mut target.groups {
                if is_time && let Err(error) = group.limits.refresh(buffer) {
                    outcome = outcome.and(Err(error));
                }
            }
        }
        if changed {
            self.leave_out_inner();
            let roots = self.groups().map(|group| group.found.root.clone());
            self.file_systems.set(roots.collect());
        }
        outcome
    }

    /// Marks the groups inside another one.
    fn leave_out_inner(&mut self) {
        let mut outer: Vec<String> = Vec::new();
        let is_cgroup = |group: &&mut Group| group.found.source == Source::Cgroup;
        let mut all: Vec<&mut Group> = self.targets.iter_mut().flat_map(|target| &mut target.groups).collect();
        all.sort_by_key(|group| group.found.places.path().len());
        for group in all.into_iter().filter(is_cgroup) {
            let path = group.found.places.path();
            let holds = |outer: &String| path.strip_prefix(outer.trim_end_matches('/'));
            group.inner = outer
                .iter()
                .filter_map(holds)
                .any(|rest| rest.is_empty() || rest.starts_with('/') && !rest.starts_with("/.."));
            if !group.inner {
                outer.push(path.to_owned());
            }
        }
    }

    fn groups(&self) -> impl Iterator<Item = &Group> + Clone {
        groups(&self.targets)
    }

    fn cpu(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        let (mut sum, mut outcome) = (Some(0.0), Ok(()));
        for group in groups(&self.targets) {
            let share = match (group.growth(CPU_NANOSECONDS), group.interval()) {
                (Some(used), Some(elapsed)) => {
                    if is_impossible(used, elapsed, self.machine.cores) {
                        self.machine.refresh();
                    }
                    match is_impossible(used, elapsed, self.machine.cores) {
                        false => Some(percent(used as f64, elapsed as f64)),
                        true => {
                            self.rejected += u64::from(group.is_new);
                            outcome = Err(impossible(group, used, elapsed, self.machine.cores));
                            None
                        }
                    }
                }
                _ => None,
            };
            sum = sum.zip(share).map(|(sum, share)| sum + share);
        }
        let limit = cores(groups(&self.targets), self.machine.cores);
        if let Some(sum) = sum {
            out.push(Sample::new(&CPU_UTILIZATION, percent(sum, 100.0)));
            if let Some(limit) = limit {
                out.push(Sample::new(&CPU_NORMALIZED, percent(sum, 100.0 * limit)));
            }
        }
        if let Some(limit) = limit {
            out.push(Sample::new(&CPU_LIMIT, limit));
        }
        outcome
    }

    /// Each core, where every group counts it.
    fn per_core(&mut self, out: &mut Vec<Sample>) {
        let Self { targets, cores, machine, .. } = self;
        let counted = |reading: &Reading| reading.cores.len();
        let Some(count) = groups(targets).map(|group| counted(&group.now)).min().filter(|count| *count > 0) else {
            return;
        };
        while cores.len() < count {
            cores.push(Device::new([machine.core_number(cores.len()).to_string().as_str()]));
        }
        for (index, device) in cores.iter().enumerate().take(count) {
            let shares = groups(targets).map(|group| {
                let (now, before) = (group.now.cores.get(index)?, group.before.cores.get(index)?);
                Some(percent(now.checked_sub(*before)? as f64, group.interval()? as f64))
            });
            if let Some(sum) = shares.sum::<Option<f64>>() {
                out.push(Sample::of(&SCOPE_CPU_CORE, device, percent(sum, 100.0)));
            }
        }
    }

    fn memory(&self, out: &mut Vec<Sample>) {
        let sum = |of: fn(&Reading) -> Option<u64>| {
            self.groups().map(|group| of(&group.now).map(|bytes| bytes as f64)).sum::<Option<f64>>()
        };
        let (used, limit) = (sum(Reading::working_set), memory_limit(self.groups(), self.machine.memory));
        let anonymous = sum(|reading| reading.anonymous);
        let (used_of_limit, charged) = (used.zip(limit), sum(|reading| reading.usage));
        if let Some((used, limit)) = used_of_limit.filter(|(_, limit)| *limit > 0.0) {
            out.push(Sample::new(&MEMORY_UTILIZATION, percent(used, limit)));
        }
        for (metric, value) in
            [(&MEMORY_USED, used), (&MEMORY_LIMIT, limit), (&MEMORY_ANONYMOUS, anonymous), (&MEMORY_CHARGED, charged)]
        {
            out.extend(value.map(|value| Sample::new(metric, value)));
        }
    }

    fn counters(&mut self, whole: bool, out: &mut Vec<Sample>) {
        let Self { targets, rows, machine, .. } = self;
        for (counter, row) in rows.iter_mut().enumerate() {
            let growth = |group: &Group| {
                let growth = group.growth(counter)?;
                let fits = counter != CPU_NANOSECONDS
                    || !group.interval().is_some_and(|elapsed| is_impossible(growth, elapsed, machine.cores));
                fits.then_some(growth)
            };
            let now = groups(targets).map(|group| group.now.counters[counter]).sum::<Option<u64>>();
            let now = now.filter(|_| whole);
            match &mut row.total {
                Some(total) => {
                    let new = groups(targets).filter(|group| group.is_new);
                    let grown = new.filter_map(growth).fold(0, u64::saturating_add);
                    *total = total.saturating_add(grown);
                }
                none => *none = now,
            }
            if let Some(total) = row.total.filter(|_| now.is_some()) {
                let value = total as f64 / row.per_unit;
                out.push(Sample { metric: row.metric, device: row.device.clone(), value });
            }
        }
    }

    /// Which scopes are measured, why, and where each number comes from: for people, as of now.
    pub fn explain(&mut self) -> Explanation {
        self.machine.refresh();
        let mut failures = Vec::new();
        for target in &mut self.targets {
            if let Err(error) = target.find_patiently(&self.roots, &mut self.buffer) {
                failures.push((target.name.clone(), error.to_string()));
            } else if let Err(error) = target.read(&self.roots, &mut self.buffer) {
                failures.push((target.name.clone(), error.to_string()));
            }
        }
        self.leave_out_inner();
        let bounded = |groups: &[&Group]| {
            let (cores, memory) = (
                cores(groups.iter().copied(), self.machine.cores),
                memory_limit(groups.iter().copied(), self.machine.memory),
            );
            (
                cores.map(|value| Bound { value, from: cores_from(groups, value) }),
                memory.map(|value| Bound { value, from: memory_from(groups, value) }),
            )
        };
        let of_group = |name: &str, group: &Group| {
            let (cores, memory) = bounded(&[group]);
            Measured {
                scope: name.to_owned(),
                mode: group.found.mode(),
                version: group.found.version(),
                path: group.found.path().to_owned(),
                how: group.found.how,
                files: group.paths().collect(),
                root: group.found.root.clone(),
                cores,
                memory,
                hint: group.found.hint.clone(),
            }
        };
        let measured = self.targets.iter().flat_map(|target| {
            let counted = target.groups.iter().filter(|group| !group.inner);
            counted.map(|group| of_group(&target.name, group))
        });
        let all: Vec<&Group> = self.groups().collect();
        let (cores, memory) = if failures.is_empty() { bounded(&all) } else { (None, None) };
        Explanation { chosen: self.chosen.clone(), groups: measured.collect(), failures, cores, memory }
    }
}

fn groups(targets: &[Target]) -> impl Iterator<Item = &Group> + Clone {
    targets.iter().flat_map(|target| &target.groups).filter(|group| !group.inner)
}

/// More CPU time than the cores could give. The kernel adds up running tasks with each tick of its scheduler, 10 ms at
/// most, so either end may be off by that on every core.
fn is_impossible(used: u64, elapsed: u64, cores: Option<f64>) -> bool {
    let elapsed = elapsed as f64;
    cores.is_some_and(|cores| used as f64 > cores * (elapsed * 1.05).max(elapsed + 2.0 * SHORTEST as f64))
}

fn impossible(group: &Group, used: u64, elapsed: u64, cores: Option<f64>) -> CollectError {
    let (used, elapsed) = (used as f64 / 1e9, elapsed as f64 / 1e9);
    let file = group.paths().next().unwrap_or_default();
    let message = format!(
        "{}: {used:.3} s of CPU time in {elapsed:.3} s (expected no more than {} cores can do)",
        file.display(),
        cores.unwrap_or_default()
    );
    CollectError::new(Reason::Malformed, message)
}

/// N: what the groups together may use, which an ancestor of all of them may bound.
fn cores<'a>(groups: impl Iterator<Item = &'a Group> + Clone, online: Option<f64>) -> Option<f64> {
    let of_group = |group: &Group| match (group.limits.cores(), online) {
        (Some((limit, _)), Some(online)) => Some(limit.min(online)),
        (limit, online) => limit.map(|(limit, _)| limit).or(online),
    };
    let sum = groups.clone().map(of_group).sum::<Option<f64>>()?;
    let shared = shared_cores(groups.map(|group| &group.limits)).map(|(cores, _)| cores);
    Some([online, shared].into_iter().flatten().fold(sum, f64::min)).filter(|cores| *cores > 0.0)
}

fn of_group(group: &Group) -> Option<u64> {
    [group.limits.memory().map(|(bytes, _)| bytes), group.now.hierarchical_limit].into_iter().flatten().min()
}

/// The memory that the groups together may use, which an ancestor of all of them may bound.
fn memory_limit<'a>(groups: impl Iterator<Item = &'a Group> + Clone, total: Option<u64>) -> Option<f64> {
    let limit = |group| [of_group(group), total].into_iter().flatten().min().map(|bytes| bytes as f64);
    let sum = groups.clone().map(limit).sum::<Option<f64>>()?;
    let shared = shared_memory(groups.map(|group| &group.limits)).map(|(bytes, _)| bytes);
    let bounds = [total, shared].into_iter().flatten().map(|bytes| bytes as f64);
    Some(bounds.fold(sum, f64::min)).filter(|bytes| *bytes > 0.0)
}

fn cores_from(groups: &[&Group], value: f64) -> String {
    match groups {
        [group] => match group.limits.cores().filter(|(limit, _)| *limit == value) {
            Some((_, file)) => file.display().to_string(),
            None => "the cores online".into(),
        },
        several => match shared_cores(several.iter().map(|group| &group.limits)).filter(|(limit, _)| *limit == value) {
            Some((_, file)) => file.display().to_string(),
            None => "the sum of the scopes', no more than the cores online".into(),
        },
    }
}

fn memory_from(groups: &[&Group], value: f64) -> String {
    match groups {
        [group] => match group.limits.memory().filter(|(limit, _)| *limit as f64 == value) {
            Some((_, file)) => file.display().to_string(),
            None if group.now.hierarchical_limit.is_some_and(|limit| limit as f64 == value) => {
                "hierarchical_memory_limit in memory.stat".into()
            }
            None => "MemTotal in /proc/meminfo".into(),
        },
        several => {
            match shared_memory(several.iter().map(|group| &group.limits)).filter(|(limit, _)| *limit as f64 == value) {
                Some((_, file)) => file.display().to_string(),
                None => "the sum of the scopes', no more than MemTotal".into(),
            }
        }
    }
}

impl Collector for Scoped {
    fn name(&self) -> &'static str {
        "scope"
    }

    fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        let outcome = self.read();
        let trouble = self.groups().find_map(|group| group.trouble.clone());
        let whole = outcome.is_ok() && self.groups().next().is_some();
        let mut outcome = outcome.and(trouble.map_or(Ok(()), Err));
        if whole {
            let cpu = self.cpu(out);
            outcome = outcome.and(cpu);
            self.per_core(out);
            self.memory(out);
        }
        self.counters(whole, out);
        out.push(Sample::new(&CPU_REJECTED, self.rejected as f64));
        out.extend(self.groups().map(|group| Sample::of(&SCOPE_INFO, &group.info, 1.0)));
        outcome
    }
}

/// What `scopes` stand for on this machine, as of now, in words.
pub fn explain(roots: &Roots, chosen: &Chosen) -> Explanation {
    match chosen.scopes.as_slice() {
        [Scope::Host] => {
            let mut machine = Machine::new(roots);
            machine.refresh();
            let bound = |value: Option<f64>, from: &str| value.map(|value| Bound { value, from: from.into() });
            Explanation {
                chosen: chosen.clone(),
                groups: Vec::new(),
                failures: Vec::new(),
                cores: bound(machine.cores, "the cores online"),
                memory: bound(machine.memory.map(|bytes| bytes as f64), "MemTotal in /proc/meminfo"),
            }
        }
        _ => Scoped::new(roots, chosen).explain(),
    }
}
