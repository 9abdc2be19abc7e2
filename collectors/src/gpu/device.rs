//! One GPU: what it is called, how it is, and its figures.

use std::mem;
use std::time::{Duration, Instant};

use super::busy::{Meter, Source, Tick, Utilization, gpm_percent};
use super::driver::{Code, Gpm, Handle, Identity, Memory, Snapshot};
use super::events::Xids;
use super::instances::Instances;
use super::processes::Tenants;
use super::ring::{RingSample, duty};
use super::state::{Health, Outcome, State};
use super::vitals::{Losses, Vitals};
use super::waste::Waste;
use crate::catalogue::{
    GPU_BUSY_SECONDS, GPU_COVERAGE, GPU_DEVICE_MEMORY_UTILIZATION, GPU_DEVICE_UTILIZATION, GPU_DISAGREEMENTS,
    GPU_DRAM_UTILIZATION, GPU_FAILURE, GPU_HELD_IDLE_SECONDS, GPU_IDLE_SECONDS, GPU_INFO, GPU_LONGEST_IDLE,
    GPU_MEMORY_CONTROLLER, GPU_MEMORY_RESERVED, GPU_MEMORY_TOTAL, GPU_MEMORY_USED, GPU_MIG, GPU_MIG_CHANGES,
    GPU_NVLINK_RECEIVED, GPU_NVLINK_SENT, GPU_OCCUPANCY, GPU_PCIE_RECEIVED, GPU_PCIE_SENT, GPU_SAMPLES,
    GPU_SAMPLES_LOST, GPU_SAMPLES_REJECTED, GPU_SM_UTILIZATION, GPU_SOURCE, GPU_TENSOR_UTILIZATION,
    GPU_UNSAMPLED_SECONDS, GPU_UP, GPU_UTILIZATION_ABSENT,
};
use crate::sample::{Device, Sample, percent};

/// More than any link carries, in MiB per second: garbage.
const MOST_MEBIBYTES: f64 = 1e8;
const MEBIBYTE: f64 = 1_048_576.0;
/// A GPU that takes longer to answer is left alone for a while: meanwhile the rings of the others wrap.
const PATIENCE: Duration = Duration::from_secs(5);

/// One GPU, known for as long as the agent runs, also while it is lost.
pub(super) struct Known {
    /// NVML's index when it was last seen.
    pub index: Option<u32>,
    /// When that was.
    pub seen: Option<Instant>,
    /// Without a UUID where it never answered.
    pub identity: Identity,
    pub handle: Option<Box<dyn Handle>>,
    pub health: Health,
    pub tenants: Tenants,
    labels: Labels,
    meter: Meter,
    /// When the meter last ticked.
    met: Option<Instant>,
    totals: Totals,
    waste: Waste,
    has_ring: bool,
    early: Early,
    instances: Instances,
    vitals: Vitals,
    xids: Xids,
    losses: Losses,
}

/// What tells its series apart, made once.
struct Labels {
    gpu: Device,
    info: Device,
    sources: [(Source, Device); 3],
    failure: Option<(State, Device)>,
    /// Why there is no utilization.
    absent: Option<(&'static str, Device)>,
    stuck: Device,
}

#[derive(Default)]
struct Totals {
    busy: Duration,
    idle: Duration,
    unsampled: Duration,
    samples: u64,
    samples_lost: u64,
    samples_rejected: u64,
    /// Ticks at which ring and GPM contradicted each other; `None` until both had a value.
    disagreements: Option<u64>,
    /// Bytes over PCIe and NVLink, sent and received; `None` until first known.
    traffic: [Option<f64>; 4],
    /// When GPM was asked before, by the tick.
    asked_gpm: Option<Instant>,
}

/// What the ring told between two ticks.
#[derive(Default)]
struct Early {
    busy: Duration,
    idle: Duration,
    lost: Duration,
}

impl Early {
    fn add(&mut self, tick: &Tick) {
        self.busy += tick.busy;
        self.idle += tick.idle;
        self.lost += tick.lost;
    }

    fn is_empty(&self) -> bool {
        (self.busy + self.idle + self.lost).is_zero()
    }

    /// The utilization of the whole time, the last part of which is `tick`.
    fn join(mut self, tick: &Tick) -> Option<Utilization> {
        if self.is_empty() {
            return tick.utilization;
        }
        self.add(tick);
        let known = self.busy + self.idle;
        let percent = (!known.is_zero()).then(|| percent(self.busy.as_secs_f64(), known.as_secs_f64()))?;
        let coverage = known.as_secs_f64() / (known + self.lost).as_secs_f64();
        Some(Utilization { percent, source: Source::Ring, coverage })
    }
}

/// Everything that a GPU says at one tick.
#[derive(Default)]
struct Answers {
    memory: Option<Memory>,
    snapshot: Option<Snapshot>,
    has_ring: bool,
    gpm: Option<Gpm>,
    mig: Option<bool>,
    /// GPM has no reading to compare with: the next tick has a value.
    gpm_begins: bool,
    /// A call that was refused although the GPU is good: the last one, or one that is not permitted.
    refused: Option<Code>,
}

impl Answers {
    /// What a call says; an error where the GPU as a whole is not well, and is better left alone.
    fn part<T>(&mut self, answer: Result<T, Code>) -> Result<Option<T>, Code> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(code) if code.is_of_the_call() => {
                // It says more than what the card lacks.
                if self.refused != Some(Code::NO_PERMISSION) {
                    self.refused = Some(code);
                }
                Ok(None)
            }
            Err(code) => Err(code),
        }
    }

    /// The reason that will last: garbage and a base that is still to come pass by themselves.
    fn why_no_utilization(&self) -> Option<&'static str> {
        if self.gpm_begins {
            return None;
        }
        if self.mig == Some(true) {
            return Some("mig");
        }
        let is_silent = self.snapshot.is_none() && !self.has_ring && self.gpm.is_none();
        is_silent.then_some(if self.refused == Some(Code::NO_PERMISSION) { "no_permission" } else { "not_supported" })
    }

    fn ask(
        handle: &mut dyn Handle,
        ring: &mut Vec<RingSample>,
        instances: &mut Instances,
        gpu: &Device,
    ) -> Result<Self, Code> {
        let mut all = Self::default();
        all.mig = all.part(handle.mig())?;
        all.memory = all.part(handle.memory())?;
        instances.read(handle, all.mig == Some(true), gpu)?;
        // A GPU in MIG mode has no utilization of its own, whatever a driver may answer.
        if all.mig != Some(true) {
            all.snapshot = all.part(handle.snapshot())?;
            all.has_ring = all.part(handle.ring(ring))?.is_some();
        }
        let gpm = all.part(handle.gpm())?;
        all.gpm_begins = gpm.is_some_and(|means| means.is_none());
        all.gpm = gpm.flatten();
        // In a container that has some of its instances only, the GPU as a whole permits nothing.
        let is_silent = all.memory.is_none() && all.snapshot.is_none() && !all.has_ring && all.gpm.is_none();
        if is_silent && instances.is_empty() {
            return Err(all.refused.unwrap_or(Code::NOT_FOUND));
        }
        Ok(all)
    }
}

/// The figures of one GPU that sums are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Shares {
    pub utilization: Option<f64>,
    pub memory: Option<f64>,
}

impl Known {
    pub(super) fn new(index: Option<u32>, identity: Identity) -> Self {
        let labels = Labels::new(index, &identity);
        let vitals = Vitals::new(&labels.gpu);
        let (meter, totals) = (Meter::default(), Totals::default());
        Self {
            index,
            seen: None,
            identity,
            handle: None,
            health: Health::default(),
            tenants: Tenants::default(),
            labels,
            meter,
            met: None,
            totals,
            waste: Waste::default(),
            has_ring: false,
            early: Early::default(),
            instances: Instances::default(),
            vitals,
            xids: Xids::default(),
            losses: Losses::default(),
        }
    }

    /// It was found at `index`. A handle that works is kept, since GPM's base hangs on it.
    pub(super) fn meet(&mut self, index: u32, identity: Identity, handle: Box<dyn Handle>, now: Instant) {
        // Events that wait hang on the handle.
        self.poll_events(now);
        if (self.index, &self.identity) != (Some(index), &identity) {
            self.labels = Labels::new(Some(index), &identity);
            (self.index, self.identity) = (Some(index), identity);
            self.vitals.rename(&self.labels.gpu);
            self.xids.rename(&self.labels.gpu);
            self.let_go();
        }
        // Found again: no reason to wait. One that was there all the time and does not answer has to.
        if self.handle.is_none() {
            self.health = Health::default();
        }
        if self.health.state() != State::Ok {
            self.handle = Some(handle);
        }
    }

    /// Keeps nothing of the library.
    pub(super) fn let_go(&mut self) {
        self.handle = None;
        self.instances.forget();
    }

    /// What people call it.
    pub(super) fn title(&self) -> String {
        let index = self.index.map_or_else(String::new, |index| format!(" {index}"));
        let known = [&self.identity.uuid, &self.identity.name].map(String::as_str);
        let known: Vec<&str> = known.into_iter().filter(|text| !text.is_empty()).collect();
        match known.as_slice() {
            [] => format!("GPU{index}"),
            known => format!("GPU{index} ({})", known.join(", ")),
        }
    }

    /// Index and UUID.
    pub(super) fn device(&self) -> &Device {
        &self.labels.gpu
    }

    pub(super) fn refuse(&mut self, code: Code, now: Instant) {
        self.health.observe(Outcome::Refused(code.0), now);
        self.losses.refused(code);
    }

    /// The driver is let go on purpose: it is asked when it is found again.
    pub(super) fn stand_by(&mut self) {
        self.let_go();
        self.health = Health::default();
    }

    /// What is true if a call about it does not return.
    pub(super) fn if_stuck(&self) -> Sample {
        Sample::of(&GPU_FAILURE, &self.labels.stuck, 1.0)
    }

    /// Asks it, if that is due, and appends what it says.
    pub(super) fn tick(&mut self, ring: &mut Vec<RingSample>, now: Instant, out: &mut Vec<Sample>) -> Shares {
        let due = self.health.is_due(now);
        let asked = Instant::now();
        // Before anything else: what it did before it was lost.
        if due {
            self.poll_events(now);
        }
        let handle = self.handle.as_mut().filter(|_| due);
        let answers = handle.map(|handle| Answers::ask(handle.as_mut(), ring, &mut self.instances, &self.labels.gpu));
        if let (Some(Ok(_)), Some(handle)) = (&answers, &self.handle) {
            self.vitals.ask(handle.as_ref(), now);
        }
        let took = asked.elapsed();
        let late = took > PATIENCE;
        let answers = match answers {
            Some(Ok(answers)) => {
                self.health.observe(if late { Outcome::TimedOut } else { Outcome::Answered }, now + took);
                self.losses.answered();
                Some(answers)
            }
            Some(Err(code)) => {
                self.refuse(code, now + took);
                self.early = Early::default();
                self.instances.forget();
                None
            }
            None => None,
        };
        if self.instances.changed() {
            log::info!("{}: MIG instances: {}", self.title(), self.instances);
        }
        self.push_health(out);
        let before = out.len();
        if answers.is_some() {
            self.vitals.push(out);
        }
        let shares = answers.map(|answers| self.measure(&answers, ring, now, out)).unwrap_or_default();
        if late {
            // Counted, but not shown beside a GPU that is said not to answer.
            out.truncate(before);
            return Shares::default();
        }
        shares
    }

    fn poll_events(&mut self, now: Instant) {
        if let Some(handle) = &mut self.handle
            && self.xids.poll(handle.as_mut(), &self.labels.gpu, now)
        {
            self.vitals.hurry();
        }
    }

    /// Reads the ring before it forgets what the next tick has to know. What goes wrong, that tick says.
    pub(super) fn keep_up(&mut self, ring: &mut Vec<RingSample>, now: Instant) {
        let usable = self.has_ring && self.health.state() == State::Ok;
        let Some(handle) = self.handle.as_mut().filter(|_| usable) else { return };
        let snapshot = handle.snapshot().map(|snapshot| snapshot.gpu);
        if handle.ring(ring).is_ok() {
            let elapsed = self.elapsed(now);
            let tick = self.meter.tick(Some(ring), None, snapshot.ok(), elapsed);
            self.totals.add(&tick);
            if let Some(drain) = &tick.drain {
                self.waste.add(drain, now);
            }
            self.early.add(&tick);
        }
    }

    /// Since the meter was asked before.
    fn elapsed(&mut self, now: Instant) -> Duration {
        self.met.replace(now).map_or(Duration::ZERO, |met| now.saturating_duration_since(met))
    }

    fn push_health(&mut self, out: &mut Vec<Sample>) {
        let state = self.health.state();
        let labels = &mut self.labels;
        out.push(Sample::of(&GPU_UP, &labels.gpu, f64::from(u8::from(state == State::Ok))));
        if state == State::Ok {
            labels.failure = None;
        } else {
            if labels.failure.as_ref().is_none_or(|(before, _)| *before != state) {
                let values: Vec<&str> = labels.gpu.values().chain([state.as_str()]).collect();
                labels.failure = Some((state, Device::new(values)));
            }
            out.extend(labels.failure.as_ref().map(|(_, device)| Sample::of(&GPU_FAILURE, device, 1.0)));
        }
        out.push(Sample::of(&GPU_INFO, &labels.info, 1.0));
        self.losses.push(&labels.gpu, out);
        self.xids.push(out);
    }

    fn measure(&mut self, answers: &Answers, ring: &[RingSample], now: Instant, out: &mut Vec<Sample>) -> Shares {
        let since_gpm = self.totals.since_gpm(now);
        let elapsed = self.elapsed(now);
        self.has_ring = answers.has_ring;
        let answer = answers.has_ring.then_some(ring);
        // GPM speaks of all the time since the tick before, the meter of that since the ring was read.
        let graphics = answers.gpm.map(|gpm| gpm.graphics).filter(|_| self.early.is_empty());
        let snapshot = answers.snapshot.map(|snapshot| snapshot.gpu);
        let tick = self.meter.tick(answer, graphics, snapshot, elapsed);
        self.totals.add(&tick);
        if let Some(drain) = &tick.drain {
            self.waste.add(drain, now);
        }
        self.totals.carry(answers.gpm, since_gpm);
        let chosen = mem::take(&mut self.early).join(&tick);

        let gpu = &self.labels.gpu;
        let mut push = |metric, value: Option<f64>| out.extend(value.map(|value| Sample::of(metric, gpu, value)));
        let utilization = chosen.map(|chosen| chosen.percent);
        push(&GPU_DEVICE_UTILIZATION, utilization);
        push(&GPU_COVERAGE, chosen.map(|chosen| (chosen.coverage * 1e6).round() / 1e6));
        push(&GPU_BUSY_SECONDS, Some(self.totals.busy.as_secs_f64()));
        push(&GPU_IDLE_SECONDS, Some(self.totals.idle.as_secs_f64()));
        push(&GPU_UNSAMPLED_SECONDS, Some(self.totals.unsampled.as_secs_f64()));
        push(&GPU_SAMPLES, tick.drain.as_ref().map(|_| self.totals.samples as f64));
        push(&GPU_SAMPLES_LOST, tick.drain.as_ref().map(|_| self.totals.samples_lost as f64));
        push(&GPU_SAMPLES_REJECTED, tick.drain.as_ref().map(|_| self.totals.samples_rejected as f64));
        push(&GPU_DISAGREEMENTS, self.totals.disagreements.map(|ticks| ticks as f64));
        let memory = answers.memory.filter(|memory| memory.total > 0 && memory.used <= memory.total);
        self.waste.memory(memory);
        let has_ring = tick.drain.is_some();
        let (held_idle, stall) = (self.waste.held_idle(), self.waste.longest_idle(now));
        push(&GPU_HELD_IDLE_SECONDS, held_idle.filter(|_| has_ring).map(|time| time.as_secs_f64()));
        push(&GPU_LONGEST_IDLE, stall.filter(|_| has_ring).map(|time| time.as_secs_f64()));
        let filled = memory.map(|memory| percent(memory.used as f64, memory.total as f64));
        push(&GPU_DEVICE_MEMORY_UTILIZATION, filled);
        push(&GPU_MEMORY_USED, memory.map(|memory| memory.used as f64));
        push(&GPU_MEMORY_RESERVED, memory.and_then(|memory| memory.reserved).map(|bytes| bytes as f64));
        push(&GPU_MEMORY_TOTAL, memory.map(|memory| memory.total as f64));
        let controller = answers.snapshot.and_then(|snapshot| duty(snapshot.memory)).map(f64::from);
        push(&GPU_MEMORY_CONTROLLER, controller);
        push(&GPU_MIG, answers.mig.map(|on| f64::from(u8::from(on))));
        let gpm = |value: fn(&Gpm) -> f64| answers.gpm.as_ref().map(value).and_then(gpm_percent);
        push(&GPU_SM_UTILIZATION, gpm(|gpm| gpm.sm));
        push(&GPU_OCCUPANCY, gpm(|gpm| gpm.occupancy));
        push(&GPU_TENSOR_UTILIZATION, gpm(|gpm| gpm.tensor));
        push(&GPU_DRAM_UTILIZATION, gpm(|gpm| gpm.dram));
        let rows = [&GPU_PCIE_SENT, &GPU_PCIE_RECEIVED, &GPU_NVLINK_SENT, &GPU_NVLINK_RECEIVED];
        for (metric, bytes) in rows.into_iter().zip(self.totals.traffic) {
            push(metric, bytes);
        }
        let source = chosen.map(|chosen| chosen.source);
        let source = self.labels.sources.iter().find(|(name, _)| Some(*name) == source);
        out.extend(source.map(|(_, device)| Sample::of(&GPU_SOURCE, device, 1.0)));
        let why = answers.why_no_utilization().filter(|_| utilization.is_none());
        if let Some(why) = why {
            if self.labels.absent.as_ref().is_none_or(|(before, _)| *before != why) {
                let device = Device::new(self.labels.gpu.values().chain([why]));
                self.labels.absent = Some((why, device));
            }
            out.extend(self.labels.absent.as_ref().map(|(_, gpu)| Sample::of(&GPU_UTILIZATION_ABSENT, gpu, 1.0)));
        }
        if answers.mig.is_some() {
            out.push(Sample::of(&GPU_MIG_CHANGES, &self.labels.gpu, self.instances.changes() as f64));
        }
        self.instances.push(out);
        Shares { utilization, memory: filled }
    }
}

impl Totals {
    fn add(&mut self, tick: &Tick) {
        self.busy += tick.busy;
        self.idle += tick.idle;
        self.unsampled += tick.lost;
        if let Some(disagree) = tick.disagree {
            *self.disagreements.get_or_insert(0) += u64::from(disagree);
        }
        if let Some(drain) = &tick.drain {
            self.samples += drain.taken;
            self.samples_lost += drain.lost_samples;
            self.samples_rejected += drain.rejected;
        }
    }

    fn since_gpm(&mut self, now: Instant) -> Duration {
        self.asked_gpm.replace(now).map_or(Duration::ZERO, |before| now.saturating_duration_since(before))
    }

    /// GPM knows rates, exact over the time between its samples, so that totals are too.
    fn carry(&mut self, gpm: Option<Gpm>, elapsed: Duration) {
        let Some(gpm) = gpm else { return };
        let rates = [gpm.pcie_sent, gpm.pcie_received, gpm.nvlink_sent, gpm.nvlink_received];
        for (total, rate) in self.traffic.iter_mut().zip(rates) {
            if (0.0..=MOST_MEBIBYTES).contains(&rate) {
                *total = Some(total.unwrap_or(0.0) + (rate * MEBIBYTE * elapsed.as_secs_f64()).round());
            }
        }
    }
}

impl Labels {
    fn new(index: Option<u32>, identity: &Identity) -> Self {
        let index = index.map_or_else(String::new, |index| index.to_string());
        let (index, Identity { uuid, name, pci }) = (index.as_str(), identity);
        Self {
            gpu: Device::new([index, uuid]),
            info: Device::new([index, uuid, name, pci]),
            sources: [Source::Ring, Source::Gpm, Source::Snapshot]
                .map(|source| (source, Device::new([index, uuid, source.as_str()]))),
            failure: None,
            absent: None,
            stuck: Device::new([index, uuid, State::Stuck.as_str()]),
        }
    }
}
