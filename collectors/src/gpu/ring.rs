//! The algebra of a driver's sample ring.
//!
//! The driver cuts time into periods and writes for each one sample: when the period ended, and for how many percent of
//! it the GPU was busy. The ring keeps the newest samples only. A *drain* is one reading of all that the ring holds.
//!
//! A sample counts once, however often and in whatever order it is handed out. It stands for the time since the sample
//! before it; where that one is missing, for one period. So the samples of a ring that is drained before it wraps tile
//! the time without holes, and busy time is then their exact sum, however the drains cut it.
//!
//! A period is the median distance of neighbours: it differs per driver and card. Neighbours stand more than one and a
//! half periods apart only where samples are missing between them (overwritten, or rejected), and the time between is
//! *lost*: counted, never guessed.
//!
//! Timestamps are opaque: only the distance of neighbours means something, so it does not matter whose clock they are
//! from. How much time passed in all is said by the caller's monotonic clock, in a ledger: every tick opens time, and
//! every sample and every loss settles some. No more can be lost than is open, so a clock set forward loses no hours;
//! and when something new is older than what was known, the clock was set back and a new *epoch* begins, whose samples
//! have no neighbours in the old one. A set clock costs two periods of lost time at most, unless it is set back by less
//! than what the drain brought: then old and new samples lie among each other, and what their distances miss is lost.
//!
//! The mean of a drain is the mean of the time covered. It differs from the mean of all by no more than the share of
//! time not covered, plus the edges: the newest sample ends up to one period before the drain.
//!
//! A ring without new samples says nothing by itself. When none came for [`DRY_AFTER`], a snapshot of 0 says that the
//! GPU is idle and its driver has stopped sampling: the open time was idle. Any other snapshot, or none, says that the
//! ring is broken: the open time is lost. Before that, samples are merely not due yet.
//!
//! Sources: nvml.h (nvmlDeviceGetSamples, nvmlUtilization_t), ctrl2080perf.h of NVIDIA's open kernel modules (the queue
//! wraps after about ten seconds).

use std::time::Duration;

use crate::sample::percent;

/// The longest period that nvml.h names for nvmlUtilization_t, in microseconds. Samples further apart are not
/// neighbours.
const LONGEST_PERIOD: u64 = 1_000_000;
/// The shortest period that nvml.h names, in microseconds: what a sample stands for while no distance is known.
const SHORTEST_PERIOD: u64 = 1_000_000 / 6;
/// A ring without new samples for so long, in microseconds, is dry; sooner, the next sample may merely not be due.
const DRY_AFTER: i64 = 2 * LONGEST_PERIOD as i64;
/// How many of the newest distances the period is the median of.
const DISTANCES: usize = 64;
/// More entries than any ring known (72 to 120): what stands beyond is rejected, so that memory stays bounded.
const LARGEST_ANSWER: usize = 2048;
/// The fewest samples remembered, to know them again; else twice the longest answer.
const REMEMBERED: usize = 256;
/// The most that one tick can open, in microseconds, so that sums cannot overflow: centuries.
const LARGEST_TICK: i64 = i64::MAX / 8;

/// One entry of the driver's ring: the fields of nvmlSample_t.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingSample {
    /// When its period ended, in microseconds of an unknown clock; 0 in a slot that was never written.
    pub timestamp: u64,
    /// Busy share of the period in percent. Above 100 is garbage, and rejected.
    pub value: u32,
}

/// What a drain found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Condition {
    /// The first drain: the base of the next, nothing measured yet.
    #[default]
    Base,
    /// New samples.
    Flowing,
    /// No new samples, and none overdue.
    Waiting,
    /// No new samples because the GPU is idle, as the snapshot says.
    Idle,
    /// No new samples although some were due: the ring is broken, or the driver does not tell.
    Silent,
}

/// What one drain says of the time since the drain before.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Drain {
    pub condition: Condition,
    /// Busy share of the covered time in percent, 0..=100. `None` when no time was covered.
    pub mean: Option<f64>,
    /// How much time its samples stand for, or how much was idle.
    pub covered: Duration,
    /// Covered share of the tick, 0..=1. 1 when nothing is missing but the edges.
    pub coverage: f64,
    /// Busy time to add to the counter: exact, since percent of microseconds are whole in nanoseconds.
    pub busy: Duration,
    /// Covered time that was not busy, to add to the counter.
    pub idle: Duration,
    /// Covered time whose samples say 0 %.
    pub still: Duration,
    /// The longest time at 0 % that this drain adds to, with what it had before: a stall may be older than the tick.
    pub longest_idle: Duration,
    /// Time that passed without a usable sample.
    pub lost: Duration,
    /// New samples, each counted once.
    pub taken: u64,
    /// Lost time in periods, rounded.
    pub lost_samples: u64,
    /// Entries above 100 %, and the snapshot if it is.
    pub rejected: u64,
    /// Entries known already, or from before the tick. A ring read whole hands most of its samples out many times.
    pub duplicate: u64,
    /// The period as inferred; `None` before two neighbours were seen.
    pub period: Option<Duration>,
}

impl Drain {
    /// Whether the mean is that of the whole tick, edges aside.
    pub(super) fn is_whole(&self) -> bool {
        self.mean.is_some() && self.coverage >= 1.0
    }
}

/// A sample remembered.
#[derive(Clone, Copy, Debug)]
struct Entry {
    timestamp: u64,
    /// The number of samples known when it came, this one included.
    arrival: u64,
    epoch: u32,
    /// `None` when rejected: remembered to be counted once.
    value: Option<u8>,
}

/// A new sample with the time it stands for, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Span {
    weight: u64,
    /// The time between it and its neighbour that no sample stands for.
    gap: u64,
    /// Whether it stands next to a sample known before it: else nobody knows what was between them.
    joined: bool,
    value: u8,
}

/// The ring of one GPU as seen over many drains.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// By timestamp, each once.
    seen: Vec<Entry>,
    arrivals: u64,
    longest_answer: usize,
    epoch: u32,
    /// The newest timestamp of the epoch.
    newest: Option<u64>,
    /// In microseconds.
    period: Option<u64>,
    /// Time passed that is neither covered nor lost yet, in microseconds. Below zero by no more than a period: where in
    /// a period the first drain fell is not known.
    open: i64,
    /// The time at 0 % up to the newest sample, in microseconds.
    idle_run: u64,
    started: bool,
    /// Buffers kept so that a steady tick allocates nothing.
    distances: Vec<u64>,
    spans: Vec<Span>,
}

/// A duty cycle as the driver gives it, or `None` for garbage.
pub(super) fn duty(value: u32) -> Option<u8> {
    u8::try_from(value).ok().filter(|value| *value <= 100)
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(LARGEST_TICK).min(LARGEST_TICK)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

impl Ring {
    /// Takes in one drain.
    ///
    /// - `answer`: all that the ring holds (lastSeenTimeStamp 0: only then is a clock that was set back noticed at
    ///   once), in any order; empty for NVML_ERROR_NOT_FOUND.
    /// - `snapshot`: `nvmlUtilization_t::gpu` read beside it, if it answered.
    /// - `elapsed`: since the drain before, by a monotonic clock; of no meaning on the first.
    pub(super) fn drain(&mut self, answer: &[RingSample], snapshot: Option<u32>, elapsed: Duration) -> Drain {
        let mut drain = Drain::default();
        let known = self.arrivals;
        self.admit(answer, &mut drain);
        self.notice_a_clock_set_back(known);
        self.infer_period();
        if self.started {
            let elapsed = micros(elapsed);
            self.open = self.open.saturating_add(elapsed);
            self.weigh(known);
            match self.spans.is_empty() {
                true => self.interpret_silence(snapshot, elapsed, &mut drain),
                false => self.settle_spans(elapsed, &mut drain),
            }
        }
        self.started = true;
        self.forget();
        drain.period = self.period.map(Duration::from_micros);
        drain
    }

    /// Another source answered for all time up to now: what is open here is settled.
    pub(super) fn settle(&mut self) {
        self.open = self.open.min(0);
    }

    /// Remembers every entry not seen before.
    fn admit(&mut self, answer: &[RingSample], drain: &mut Drain) {
        drain.rejected += answer.len().saturating_sub(LARGEST_ANSWER) as u64;
        let answer = &answer[..answer.len().min(LARGEST_ANSWER)];
        self.longest_answer = self.longest_answer.max(answer.len());
        // All the room that will ever be wanted, at once: else a tick much later allocates.
        self.seen.reserve((self.most_remembered() + answer.len()).saturating_sub(self.seen.len()));
        for sample in answer.iter().filter(|sample| sample.timestamp != 0) {
            match self.seen.binary_search_by_key(&sample.timestamp, |entry| entry.timestamp) {
                Ok(_) => drain.duplicate += 1,
                Err(at) => {
                    let value = duty(sample.value);
                    drain.rejected += u64::from(value.is_none());
                    self.arrivals += 1;
                    let entry = Entry { timestamp: sample.timestamp, arrival: self.arrivals, epoch: self.epoch, value };
                    self.seen.insert(at, entry);
                }
            }
        }
    }

    /// What came after `known` starts a new epoch if any of it is older than what was known.
    fn notice_a_clock_set_back(&mut self, known: u64) {
        let epoch = self.epoch.wrapping_add(1);
        let mut new = self.seen.iter_mut().filter(|entry| entry.arrival > known && entry.value.is_some()).peekable();
        let set_back = new.peek().is_some_and(|oldest| self.newest.is_some_and(|newest| oldest.timestamp < newest));
        for entry in new {
            self.newest = Some(entry.timestamp);
            if set_back {
                entry.epoch = epoch;
                self.epoch = epoch;
            }
        }
    }

    /// The median, because neither a hole nor a jump of the clock moves it.
    fn infer_period(&mut self) {
        let epoch = self.epoch;
        let usable = self.seen.iter().rev().filter(|entry| entry.epoch == epoch && entry.value.is_some());
        self.distances.clear();
        let mut after = None;
        for entry in usable.take(DISTANCES + 1) {
            self.distances.extend(after.map(|after: u64| after - entry.timestamp));
            after = Some(entry.timestamp);
        }
        if !self.distances.is_empty() {
            let middle = (self.distances.len() - 1) / 2;
            let (_, median, _) = self.distances.select_nth_unstable(middle);
            self.period = Some((*median).min(LONGEST_PERIOD));
        }
    }

    fn period_or_shortest(&self) -> u64 {
        self.period.unwrap_or(SHORTEST_PERIOD)
    }

    /// Fills `spans` with the samples that came after `known`, oldest first.
    fn weigh(&mut self, known: u64) {
        let (epoch, period) = (self.epoch, self.period_or_shortest());
        self.spans.clear();
        let mut before = None;
        for entry in self.seen.iter().filter(|entry| entry.epoch == epoch) {
            let Some(value) = entry.value else { continue };
            if entry.arrival > known {
                let distance = before.map_or(period, |before: u64| entry.timestamp - before);
                // Whole numbers of twice the distance, so that no rounding decides.
                let weight = if distance.saturating_mul(2) <= 3 * period { distance } else { period };
                let gap = distance - weight;
                self.spans.push(Span { weight, gap, joined: before.is_some() && gap == 0, value });
            }
            before = Some(entry.timestamp);
        }
    }

    /// Credits the new samples, settles what was open before them.
    fn settle_spans(&mut self, elapsed: i64, drain: &mut Drain) {
        let period = self.period_or_shortest() as i64;
        let first = self.first_within(self.open.saturating_add(3 * period));
        let (mut covered, mut busy, mut still, mut gap) = (0, 0, 0, 0u64);
        for span in &self.spans[first..] {
            covered += span.weight;
            busy += span.weight * u64::from(span.value);
            still += if span.value == 0 { span.weight } else { 0 };
            gap = gap.saturating_add(span.gap);
        }
        let covered = covered as i64;
        let gap = i64::try_from(gap).unwrap_or(LARGEST_TICK);
        // A ring's gap is exact where the ledger agrees but for the edge; where it does not, a clock was set.
        let mut lost = gap.min(self.open - covered + period).max(0);
        self.open -= covered + lost;
        // With samples that follow, what was open before this tick is covered or lost.
        let still_open = (elapsed - covered).max(0) + 2 * period;
        lost += (self.open - still_open).max(0);
        self.open = self.open.clamp(-period, still_open);
        let longest = self.longest_run(first, lost > gap);

        drain.condition = Condition::Flowing;
        drain.taken = (self.spans.len() - first) as u64;
        drain.duplicate += first as u64;
        drain.mean = (covered > 0).then(|| percent(busy as f64 / 100.0, covered as f64));
        drain.covered = duration(covered);
        let whole = lost == 0 && covered + 2 * period >= elapsed;
        drain.coverage = if whole { 1.0 } else { share(covered, elapsed) };
        drain.busy = Duration::from_nanos(busy * 10);
        drain.idle = drain.covered.saturating_sub(drain.busy);
        drain.still = Duration::from_micros(still);
        drain.longest_idle = Duration::from_micros(longest);
        self.lose(lost, drain);
    }

    /// The longest time at 0 % that the spans from `first` on add to. What is not known ends it: a gap, history that
    /// is not counted, and a `hole` that only the ledger knows of, and that stands anywhere before them.
    fn longest_run(&mut self, first: usize, hole: bool) -> u64 {
        if hole || first > 0 {
            self.idle_run = 0;
        }
        let mut longest = 0;
        for span in &self.spans[first..] {
            let run = if span.joined { self.idle_run } else { 0 };
            self.idle_run = if span.value == 0 { run.saturating_add(span.weight) } else { 0 };
            longest = longest.max(self.idle_run);
        }
        longest
    }

    /// The first of the newest spans that fit into `room`: a ring may hand out history of which no time is open.
    fn first_within(&self, room: i64) -> usize {
        let mut total = 0i64;
        let fitting = self.spans.iter().rev().take_while(|span| {
            total += span.weight as i64;
            total <= room
        });
        self.spans.len() - fitting.count()
    }

    /// No new samples: not due yet, an idle GPU, or a broken ring.
    fn interpret_silence(&mut self, snapshot: Option<u32>, elapsed: i64, drain: &mut Drain) {
        drain.rejected += u64::from(snapshot.is_some_and(|value| duty(value).is_none()));
        if self.open <= DRY_AFTER {
            drain.condition = Condition::Waiting;
        } else if snapshot == Some(0) {
            drain.condition = Condition::Idle;
            drain.mean = Some(0.0);
            drain.coverage = 1.0;
            drain.covered = duration(self.open);
            (drain.idle, drain.still) = (drain.covered, drain.covered);
            self.idle_run = self.idle_run.saturating_add(drain.covered.as_micros() as u64);
            drain.longest_idle = Duration::from_micros(self.idle_run);
            self.open = 0;
        } else {
            drain.condition = Condition::Silent;
            self.idle_run = 0;
            // The last tick stays open: its samples may come with the next drain.
            let older = (self.open - elapsed).max(0);
            self.open -= older;
            self.lose(older, drain);
        }
    }

    fn lose(&self, lost: i64, drain: &mut Drain) {
        let period = self.period_or_shortest().max(1);
        drain.lost = duration(lost);
        drain.lost_samples = (drain.lost.as_micros() as u64).saturating_add(period / 2) / period;
    }

    /// Keeps the samples that the ring may hand out again.
    fn forget(&mut self) {
        let (keep, arrivals) = (self.most_remembered() as u64, self.arrivals);
        self.seen.retain(|entry| arrivals - entry.arrival < keep);
    }

    fn most_remembered(&self) -> usize {
        REMEMBERED.max(2 * self.longest_answer)
    }
}

fn share(part: i64, whole: i64) -> f64 {
    if whole > 0 { (part as f64 / whole as f64).clamp(0.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests;
