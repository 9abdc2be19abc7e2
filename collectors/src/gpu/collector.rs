//! GPUs as samples: the library, the table of GPUs, and what is summed over them.

use std::fmt;
use std::mem;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::device::{Known, Shares};
use super::driver::{Code, Driver, Identity, Load, LoadError};
use super::processes::{Census, Processes};
use super::ring::RingSample;
use super::selection::{Choice, Selection};
use super::standby::{self, Standby};
use super::state::{Health, Next, Outcome, State};
use super::sum::{SumRule, sum};
use crate::catalogue::{GPU_MEMORY_UTILIZATION, GPU_STANDBY, GPU_UTILIZATION, GPUS, GPUS_REPORTING};
use crate::collector::Collector;
use crate::error::{CollectError, Reason};
use crate::pending::Pending;
use crate::sample::{Roots, Sample};

/// How seldom a machine without GPUs is looked at again: a driver may be installed later.
const REST: Duration = Duration::from_secs(300);
/// How often the driver's rings are read at least: half the time that they reach back.
const DRAIN: Duration = Duration::from_secs(5);
/// How often GPUs are enumerated again, since they can be added and taken away.
const ENUMERATION: Duration = Duration::from_secs(60);
/// More GPUs than any machine has; so the table is bounded, whatever a driver calls them.
const MOST_GPUS: usize = 256;

/// Utilization, memory and health of NVIDIA's GPUs, by NVML.
///
/// - **Utilization** is the exact mean over the tick, from every sample of the driver's ring; else from the GPU's own
///   counters (GPM, Hopper and later), else from the driver's last period. Which one it was is a series.
/// - **Memory** is what nvidia-smi shows.
/// - **MIG instances** have series of their own, by UUID, and are looked up anew at every tick.
/// - **The sums are strict** unless [`sum_rule`](Self::sum_rule) says otherwise: absent while any GPU that was ever
///   seen has no value, since the sum of seven of eight would look like less load. A lost GPU keeps its name and says
///   why, and is asked again ever more seldom.
/// - **Health** (energy, temperature, throttling, memory errors, XIDs and so on) costs its own series where the driver
///   does not answer.
/// - **Without a driver or GPU** there are no series, and nothing is done but to look again every five minutes.
/// - A call that never returns costs the GPU series only: the collector wants a thread of its own.
/// - **In [`Standby`]** the driver is let go. GPUs that are not there any more afterwards are forgotten.
///
/// Never run on a real GPU so far: only on a double of the driver.
pub struct Gpu {
    load: Box<Load>,
    path: Option<PathBuf>,
    selection: Selection,
    sum_rule: SumRule,
    standby: Standby,
    driver: Option<Box<dyn Driver>>,
    /// Whether a driver was ever loaded.
    known: bool,
    /// How often the switch was turned when it was last looked at.
    turns: u64,
    /// The driver is let go by wish.
    standing_by: bool,
    /// Whoever the next enumeration does not find is forgotten.
    forget: bool,
    pending: Pending,
    /// The health of the library as a whole.
    library: Health,
    /// Why there is no driver.
    unloaded: Option<LoadError>,
    gpus: Vec<Known>,
    /// When and how many.
    enumerated: Option<(Instant, u32)>,
    resting: bool,
    /// Why there was no GPU when that was last logged.
    said: Option<String>,
    ring: Vec<RingSample>,
    shares: Vec<Shares>,
    census: Census,
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu").field("path", &self.path).field("selection", &self.selection).finish_non_exhaustive()
    }
}

impl Gpu {
    /// A collector of the GPUs in `selection`. `library` is NVML's path; `None` for the system's. Nothing is loaded
    /// before the first reading.
    pub fn new(selection: Selection, library: Option<PathBuf>) -> Self {
        #[cfg(any(target_os = "linux", target_os = "windows"))]
        let load = super::nvml::load;
        #[cfg(not(any(target_os = "linux", target_os = "windows")))]
        let load = |_: Option<&std::path::Path>| Err(LoadError::Library("NVML does not exist here".into()));
        Self::with(Box::new(load), selection, library)
    }

    /// What the sums are while a GPU has no value. Default: [`SumRule::Strict`].
    pub fn sum_rule(mut self, rule: SumRule) -> Self {
        self.sum_rule = rule;
        self
    }

    /// The switch that lets the driver go for a while.
    pub fn standby(mut self, switch: Standby) -> Self {
        self.standby = switch;
        self
    }

    /// Series of the processes on the GPUs as well; procfs is where their names and containers are looked up.
    pub fn processes(mut self, what: Processes, roots: &Roots) -> Self {
        self.census = Census::new(what, roots);
        self
    }

    fn with(load: Box<Load>, selection: Selection, path: Option<PathBuf>) -> Self {
        Self {
            load,
            path,
            selection,
            sum_rule: SumRule::Strict,
            standby: Standby::default(),
            driver: None,
            known: false,
            turns: 0,
            standing_by: false,
            forget: false,
            pending: Pending::default(),
            library: Health::default(),
            unloaded: None,
            gpus: Vec::new(),
            enumerated: None,
            resting: false,
            said: None,
            ring: Vec::new(),
            shares: Vec::new(),
            census: Census::new(Processes::Off, &Roots::default()),
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        self.resting = false;
        self.follow_the_switch();
        if self.standing_by {
            out.extend(self.known.then(|| Sample::new(&GPU_STANDBY, 1.0)));
            return Ok(());
        }
        if self.driver.is_none() && self.library.is_due(now) {
            self.load(now);
        }
        if self.driver.is_some()
            && let Err(code) = self.enumerate_if_due(now)
        {
            self.unload(LoadError::Refused(code), now);
        }
        if self.gpus.is_empty() && self.is_without_gpus() {
            self.rest_for_long();
            return Ok(());
        }
        self.shares.clear();
        for gpu in &mut self.gpus {
            self.pending.set(Some(gpu.if_stuck()));
            self.shares.push(gpu.tick(&mut self.ring, now, out));
        }
        self.pending.set(None);
        self.push_sums(out);
        out.extend(self.known.then(|| Sample::new(&GPU_STANDBY, 0.0)));
        self.census.tick(&mut self.gpus, &self.shares, now, out);
        let told = self.gpus.iter().find(|gpu| gpu.health.next() == Next::Initialise && gpu.handle.is_some());
        if let Some(state) = told.map(|gpu| gpu.health.state()) {
            self.unload(LoadError::Refused(Code(if state == State::DriverMismatch { 18 } else { 9 })), now);
        } else if self.gpus.iter().any(|gpu| gpu.health.state() == State::Ok) {
            self.library.observe(Outcome::Answered, now);
        }
        self.outcome()
    }

    fn drain(&mut self, now: Instant) {
        if self.standby.is_on() {
            self.follow_the_switch();
        }
        for gpu in &mut self.gpus {
            self.pending.set(Some(gpu.if_stuck()));
            gpu.keep_up(&mut self.ring, now);
        }
        self.pending.set(None);
    }

    /// Begins or ends standby.
    fn follow_the_switch(&mut self) {
        let turns = self.standby.turns();
        if turns == mem::replace(&mut self.turns, turns) {
            return;
        }
        if !self.standing_by {
            self.gpus.iter_mut().for_each(Known::stand_by);
            (self.driver, self.enumerated, self.unloaded) = (None, None, None);
            log::info!("GPU standby: NVIDIA's driver is let go; the GPU series are absent");
        }
        self.standing_by = standby::is_odd(turns);
        if !self.standing_by {
            (self.library, self.forget, self.said) = (Health::default(), true, None);
            log::info!("GPU standby is over: NVIDIA's driver is loaded anew");
        }
    }

    /// Lets the driver go, so that it can be unloaded, and says so once.
    fn rest_for_long(&mut self) {
        let why = self.unloaded.as_ref().map_or_else(|| "the driver has none".into(), LoadError::to_string);
        if self.said.as_ref() != Some(&why) {
            log::info!("no GPU is measured: {why}");
            self.said = Some(why);
        }
        (self.driver, self.enumerated, self.resting) = (None, None, true);
    }

    fn load(&mut self, now: Instant) {
        match (self.load)(self.path.as_deref()) {
            Ok(driver) => {
                self.driver = Some(driver);
                self.known = true;
                self.unloaded = None;
                self.enumerated = None;
            }
            Err(error) => self.unload(error, now),
        }
    }

    /// Lets everything of the library go, so that it can be loaded anew: a new driver comes with a new one.
    fn unload(&mut self, error: LoadError, now: Instant) {
        let code = match error {
            LoadError::Refused(code) => code,
            LoadError::Library(_) => Code::LIBRARY_NOT_FOUND,
        };
        for gpu in &mut self.gpus {
            gpu.let_go();
            gpu.refuse(code, now);
        }
        self.driver = None;
        self.library.observe(Outcome::Refused(code.0), now);
        self.unloaded = Some(error);
    }

    /// Whether there is nothing to measure, and nobody said that there should be.
    fn is_without_gpus(&self) -> bool {
        let expected = self.path.is_some() || self.selection != Selection::All;
        let quiet = match &self.unloaded {
            None => true,
            Some(LoadError::Library(_)) => true,
            Some(LoadError::Refused(code)) => code.says_no_gpu(),
        };
        !expected && quiet
    }

    fn enumerate_if_due(&mut self, now: Instant) -> Result<(), Code> {
        let Some(driver) = &self.driver else { return Ok(()) };
        let count = driver.count()?;
        let settled = self
            .enumerated
            .is_some_and(|(when, before)| before == count && now.saturating_duration_since(when) < ENUMERATION);
        let wanted = self.gpus.iter().any(|gpu| gpu.health.next() == Next::Enumerate && gpu.health.is_due(now));
        if !settled || wanted {
            self.enumerate(count, now);
            let before = self.enumerated.replace((now, count));
            if before.is_none_or(|(_, before)| before != count) {
                let names: Vec<String> = self.gpus.iter().map(Known::title).collect();
                if !names.is_empty() {
                    log::info!("GPUs: {}", names.join(", "));
                }
            }
        }
        Ok(())
    }

    /// By index, then by the UUID found there: indices move when GPUs come and go.
    fn enumerate(&mut self, count: u32, now: Instant) {
        let Some(driver) = &self.driver else { return };
        let mut present = vec![false; self.gpus.len()];
        let mut refused = Vec::new();
        for index in 0..count.min(MOST_GPUS as u32) {
            let known = self.gpus.iter().find(|gpu| gpu.index == Some(index));
            self.pending.set(known.map(Known::if_stuck));
            match driver.handle(index).and_then(|handle| Ok((handle.identity()?, handle))) {
                Ok((identity, handle)) if self.selection.has(index, &identity.uuid) => {
                    let at = place(&mut self.gpus, &mut present, |gpu| gpu.identity.uuid == identity.uuid)
                        .or_else(|| place(&mut self.gpus, &mut present, |gpu| gpu.is_nameless_at(index)))
                        .unwrap_or_else(|| append(&mut self.gpus, &mut present, Some(index), Identity::default()));
                    self.gpus[at].meet(index, identity, handle, now);
                    self.gpus[at].seen = Some(now);
                }
                Ok(_) => {}
                Err(code) => refused.push((index, code)),
            }
        }
        self.pending.set(None);
        for (index, code) in refused {
            // Others may have had this index before it.
            let seen = self.gpus.iter().zip(&present).filter(|(gpu, present)| !**present && gpu.index == Some(index));
            let last = seen.map(|(gpu, _)| gpu.seen).max();
            let is_it = |gpu: &Known| gpu.index == Some(index) && Some(gpu.seen) == last;
            let at = place(&mut self.gpus, &mut present, is_it).or_else(|| {
                // It never said its name, so nobody can have asked for it but by index.
                let chosen = self.selection.has(index, "");
                chosen.then(|| append(&mut self.gpus, &mut present, Some(index), Identity::default()))
            });
            if let Some(at) = at {
                self.gpus[at].refuse(code, now);
                self.gpus[at].seen = Some(now);
            }
        }
        // A driver without any GPU is not done with whatever the standby was for.
        if count > 0 && mem::take(&mut self.forget) {
            self.forget_the_missing(&mut present);
        }
        for choice in self.selection.choices() {
            let is_known = |gpu: &Known| choice.is(gpu.index.unwrap_or(u32::MAX), &gpu.identity.uuid);
            if !self.gpus.iter().any(is_known) {
                let (index, uuid) = match choice {
                    Choice::Index(index) => (Some(*index), String::new()),
                    Choice::Uuid(uuid) => (None, uuid.clone()),
                };
                append(&mut self.gpus, &mut present, index, Identity { uuid, ..Identity::default() });
                if let Some(present) = present.last_mut() {
                    *present = false;
                }
            }
        }
        for (gpu, _) in self.gpus.iter_mut().zip(present).filter(|(_, present)| !present) {
            gpu.let_go();
            gpu.refuse(Code::GPU_NOT_FOUND, now);
        }
        self.gpus.sort_by_key(|gpu| gpu.index.unwrap_or(u32::MAX));
        while self.gpus.len() > MOST_GPUS {
            let gone = self.gpus.iter().position(|gpu| gpu.handle.is_none()).unwrap_or(MOST_GPUS);
            self.gpus.remove(gone);
        }
    }

    /// Drops the GPUs that are not `present`: who ended the standby says that what is there now is what there is.
    fn forget_the_missing(&mut self, present: &mut Vec<bool>) {
        for (gpu, _) in self.gpus.iter().zip(&*present).filter(|(_, present)| !**present) {
            log::warn!("{} is not there after the standby, and forgotten", gpu.title());
        }
        let mut kept = present.iter();
        self.gpus.retain(|_| kept.next().is_some_and(|present| *present));
        present.retain(|present| *present);
    }

    fn push_sums(&self, out: &mut Vec<Sample>) {
        let utilization = sum(self.shares.iter().map(|shares| shares.utilization), self.sum_rule);
        let memory = sum(self.shares.iter().map(|shares| shares.memory), self.sum_rule);
        out.extend(utilization.sum.map(|percent| Sample::new(&GPU_UTILIZATION, percent)));
        out.extend(memory.sum.map(|percent| Sample::new(&GPU_MEMORY_UTILIZATION, percent)));
        if utilization.count > 0 {
            out.push(Sample::new(&GPUS, utilization.count as f64));
            out.push(Sample::new(&GPUS_REPORTING, utilization.reporting as f64));
        }
    }

    /// What the health series say: the library's failure, else that of the first GPU that is not well.
    fn outcome(&self) -> Result<(), CollectError> {
        if let Some(error) = &self.unloaded {
            let library =
                self.path.as_ref().map_or_else(|| "NVML".into(), |path| format!("NVML at {}", path.display()));
            return Err(CollectError::new(reason(self.library.state()), format!("cannot use {library}: {error}")));
        }
        match self.gpus.iter().find(|gpu| gpu.health.state() != State::Ok) {
            None => Ok(()),
            Some(gpu) => {
                let state = gpu.health.state();
                let words = if state == State::Gone { "the driver does not find it" } else { state.as_str() };
                Err(CollectError::new(reason(state), format!("{}: {words}", gpu.title())))
            }
        }
    }
}

impl Known {
    /// Something stands at this index of which nothing else is known.
    fn is_nameless_at(&self, index: u32) -> bool {
        self.identity.uuid.is_empty() && self.index == Some(index)
    }
}

/// The GPU that `is` the one, if it was not placed already.
fn place(gpus: &mut [Known], present: &mut [bool], is: impl Fn(&Known) -> bool) -> Option<usize> {
    let at = gpus.iter().zip(&*present).position(|(gpu, present)| !present && is(gpu))?;
    present[at] = true;
    Some(at)
}

fn append(gpus: &mut Vec<Known>, present: &mut Vec<bool>, index: Option<u32>, identity: Identity) -> usize {
    gpus.push(Known::new(index, identity));
    present.push(true);
    gpus.len() - 1
}

fn reason(state: State) -> Reason {
    match state {
        State::Lost | State::Gone | State::DriverNotLoaded => Reason::Missing,
        State::NoPermission | State::Blocked => Reason::Denied,
        State::Stuck => Reason::TimedOut,
        _ => Reason::Failed,
    }
}

impl Collector for Gpu {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn may_block(&self) -> bool {
        true
    }

    fn rest(&self) -> Option<Duration> {
        self.resting.then_some(REST)
    }

    fn pending(&self) -> Option<Pending> {
        Some(self.pending.clone())
    }

    fn forgets_after(&self) -> Option<Duration> {
        Some(DRAIN)
    }

    fn keep_up(&mut self) {
        self.drain(Instant::now());
    }

    fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        self.tick(Instant::now(), out)
    }
}

#[cfg(test)]
mod tests;
