//! The sampler: collectors on their threads, tick by tick.
//!
//! What cannot block shares one thread, for few wake-ups; whatever can has its own, so that a call that never returns
//! stops no other series. A thread whose tick does not come back is found by whoever looks next (the shared thread at
//! its tick, the page before it is rendered): its series become absent and its collectors fail with the reason
//! `timed_out`. The shared thread tells at each of its ticks for how long.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use hostgauge_collectors::catalogue::{
    BUILD_INFO, COLLECTOR_DURATION, COLLECTOR_FAILURE, COLLECTOR_STUCK, COLLECTOR_SUCCESS, DISTURBANCES,
};
use hostgauge_collectors::{CollectError, Collector, Device, Emitter, Pending, Reason, Sample, own_cost};

use crate::clocks::Clocks;
use crate::pipeline::Pipeline;
use crate::schedule::Schedule;

/// How long a stop waits for a thread. One that is stuck in the kernel stays behind.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// Runs collectors until it is dropped.
#[derive(Debug)]
pub(crate) struct Sampler {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clocks: Clocks,
    interval: Duration,
    pipeline: Arc<Pipeline>,
    groups: Vec<Group>,
    late: AtomicU64,
    stalled: AtomicU64,
    clock_jumps: AtomicU64,
    advancing: Mutex<()>,
    running: Mutex<Running>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Running {
    stop: bool,
    threads: usize,
}

/// What others may know of a thread.
#[derive(Debug)]
struct Group {
    collectors: Vec<Health>,
    emitter: Mutex<Emitter>,
    /// When its last tick was done, in nanoseconds of the monotonic clock.
    done: AtomicU64,
    /// When its present reading began, likewise; 0 for none.
    asked: AtomicU64,
    ticks: AtomicU64,
    overdue: AtomicBool,
    /// Nothing is asked, and nothing is overdue.
    resting: AtomicBool,
    /// Its last tick found something to measure.
    measuring: AtomicBool,
}

/// The devices of a collector's health series.
#[derive(Debug)]
struct Health {
    collector: Device,
    pending: Option<Pending>,
    failures: [(Reason, Device); Reason::ALL.len()],
}

impl Health {
    fn new(collector: &dyn Collector) -> Self {
        let name = collector.name();
        Self {
            collector: Device::new([name]),
            pending: collector.pending(),
            failures: Reason::ALL.map(|reason| (reason, Device::new([name, reason.as_str()]))),
        }
    }

    fn push(&self, out: &mut Vec<Sample>, failure: Option<Reason>, duration: Option<Duration>) {
        out.push(Sample::of(&COLLECTOR_SUCCESS, &self.collector, f64::from(u8::from(failure.is_none()))));
        if let Some((_, device)) = self.failures.iter().find(|(reason, _)| Some(*reason) == failure) {
            out.push(Sample::of(&COLLECTOR_FAILURE, device, 1.0));
        }
        if let Some(duration) = duration {
            // Finer digits would be noise, and bytes on the page.
            out.push(Sample::of(&COLLECTOR_DURATION, &self.collector, duration.as_micros() as f64 / 1e6));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sampler {
    /// Starts the threads. The base reading is taken at once, the first samples follow within one and a half intervals.
    pub(crate) fn spawn(
        collectors: Vec<Box<dyn Collector>>,
        interval: Duration,
        pipeline: Arc<Pipeline>,
    ) -> io::Result<Self> {
        let (blocking, steady): (Vec<_>, Vec<_>) = collectors.into_iter().partition(|c| c.may_block());
        let mut threads = vec![steady];
        threads.extend(blocking.into_iter().map(|collector| vec![collector]));
        let clocks = Clocks::start();
        let group = |collectors: &Vec<Box<dyn Collector>>| Group {
            collectors: collectors.iter().map(|collector| Health::new(collector.as_ref())).collect(),
            emitter: Mutex::default(),
            done: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            overdue: AtomicBool::new(false),
            resting: AtomicBool::new(false),
            measuring: AtomicBool::new(false),
        };
        let shared = Arc::new(Shared {
            clocks,
            interval,
            groups: threads.iter().map(group).collect(),
            pipeline,
            late: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            clock_jumps: AtomicU64::new(0),
            advancing: Mutex::default(),
            running: Mutex::default(),
            changed: Condvar::new(),
        });
        if let Some(page) = &shared.pipeline.page {
            let watched = Arc::downgrade(&shared);
            page.before_render(move || {
                if let Some(shared) = watched.upgrade() {
                    shared.pipeline.with_recorder(|| shared.find_overdue(false));
                }
            });
        }
        // Dropping it on an early return stops the threads that did start.
        let sampler = Self { shared };
        for (index, collectors) in threads.into_iter().enumerate() {
            let shared = Arc::clone(&sampler.shared);
            lock(&shared.running).threads += 1;
            let name = if index == 0 { "hostgauge" } else { "hostgauge-apart" };
            let failures = vec![None; collectors.len()];
            let worker = Worker { shared, index, collectors, failures, constant: Constant::new() };
            if let Err(error) = thread::Builder::new().name(name.into()).spawn(move || worker.run()) {
                lock(&sampler.shared.running).threads -= 1;
                return Err(error);
            }
        }
        Ok(sampler)
    }

    /// Tells whether there are samples, and fresh ones: the shared thread has made a tick after the base reading and is
    /// not overdue. False once the sampler is gone.
    pub(crate) fn readiness(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move || {
            shared
                .upgrade()
                .is_some_and(|s| s.groups[0].ticks.load(Ordering::Relaxed) > 1 && !s.is_overdue(&s.groups[0]))
        }
    }
}

impl Sampler {
    /// Tells whether the shared thread makes its ticks in time. False once the sampler is gone.
    pub(crate) fn liveness(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move || shared.upgrade().is_some_and(|shared| !shared.is_overdue(&shared.groups[0]))
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        let mut running = lock(&self.shared.running);
        running.stop = true;
        self.shared.changed.notify_all();
        let deadline = Instant::now() + STOP_PATIENCE;
        while running.threads > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                log::warn!(
                    "{} sampling thread(s) are stuck in a call that does not return; leaving them",
                    running.threads
                );
                return;
            }
            running = self.shared.changed.wait_timeout(running, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn is_overdue(&self, group: &Group) -> bool {
        let patience = 3 * self.interval + Duration::from_secs(1);
        let done = Duration::from_nanos(group.done.load(Ordering::Relaxed));
        !group.resting.load(Ordering::Relaxed) && self.clocks.now().mono.saturating_sub(done) > patience
    }

    /// Closes the windows that ended. Every thread does, before its samples: else those of the first tick in a window
    /// would fall into the one before, whenever the shared thread is a little later.
    fn advance(&self, clock_jumped: bool) {
        // The time is read inside, so that it never goes back from one thread to the next.
        let _advancing = lock(&self.advancing);
        let wall = UNIX_EPOCH + self.clocks.now().wall;
        self.pipeline.update(|| self.pipeline.advance(wall, clock_jumped));
    }

    /// Takes away the series of every thread whose tick has not come back. At a `tick` that is told again, since the
    /// call that hangs may be another one by then.
    fn find_overdue(&self, tick: bool) {
        let news = |group: &&Group| tick || !group.overdue.load(Ordering::Relaxed);
        for group in self.groups.iter().filter(news).filter(|group| self.is_overdue(group)) {
            let mut samples = Vec::new();
            for health in &group.collectors {
                health.push(&mut samples, Some(Reason::TimedOut), None);
                samples.extend(health.pending.as_ref().and_then(Pending::get));
            }
            // The thread itself holds this only while it emits; then it is not overdue.
            let mut emitter = lock(&group.emitter);
            if !self.is_overdue(group) {
                continue;
            }
            if !group.overdue.swap(true, Ordering::Relaxed) {
                for name in group.collectors.iter().flat_map(|health| health.collector.values()) {
                    log::warn!("{name}: the reading does not come back; its series are absent until it does");
                }
            }
            self.pipeline.update(|| emitter.emit(&samples));
        }
    }

    /// For how long the readings of the threads apart have not come back.
    fn push_stuck(&self, samples: &mut Vec<Sample>) {
        let now = self.clocks.now().mono;
        for group in self.groups.iter().skip(1) {
            let asked = Some(group.asked.load(Ordering::Relaxed)).filter(|asked| *asked > 0);
            let age = asked.map_or(Duration::ZERO, |asked| now.saturating_sub(Duration::from_nanos(asked)));
            // The reading of this very tick may be under way.
            let stuck = if age > self.interval { age } else { Duration::ZERO };
            // As the health series, it is not shown where there is nothing to measure.
            if stuck.is_zero() && !group.measuring.load(Ordering::Relaxed) {
                continue;
            }
            for health in &group.collectors {
                let seconds = stuck.as_millis() as f64 / 1e3;
                samples.push(Sample::of(&COLLECTOR_STUCK, &health.collector, seconds));
            }
        }
    }
}

/// One thread and its collectors.
struct Worker {
    shared: Arc<Shared>,
    index: usize,
    collectors: Vec<Box<dyn Collector>>,
    /// Each collector's present failure, for logging changes only.
    failures: Vec<Option<Reason>>,
    constant: Constant,
}

/// The devices of series that the sampler itself has.
struct Constant {
    late: Device,
    stall: Device,
    clock: Device,
    version: Device,
}

impl Constant {
    fn new() -> Self {
        let constants = ["late", "stall", "clock", env!("CARGO_PKG_VERSION")];
        let [late, stall, clock, version] = constants.map(|value| Device::new([value]));
        Self { late, stall, clock, version }
    }
}

impl Worker {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        shared.pipeline.with_recorder(|| self.ticks());
        // What they hold of a driver is let go before the program may end.
        self.collectors.clear();
        lock(&shared.running).threads -= 1;
        shared.changed.notify_all();
    }

    fn ticks(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut samples = Vec::new();
        let mut schedule = Schedule::new(shared.interval, shared.clocks.now());
        self.base_reading(&mut samples);
        loop {
            let rest = self.rest();
            let due = rest.map_or(schedule.next(), |rest| shared.clocks.now().mono + rest);
            if self.keep_up_until(due) {
                return;
            }
            let now = shared.clocks.now();
            if rest.is_some() {
                // The base reading of a new start, not a late tick.
                shared.groups[self.index].done.store(now.mono.as_nanos() as u64, Ordering::Relaxed);
                shared.groups[self.index].resting.store(false, Ordering::Relaxed);
                schedule = Schedule::new(shared.interval, now);
                self.base_reading(&mut samples);
                continue;
            }
            let verdict = schedule.tick(now);
            shared.late.fetch_add(verdict.missed, Ordering::Relaxed);
            if !verdict.keep {
                log::warn!("a suspend or a long stall: this tick has no samples");
                shared.stalled.fetch_add(1, Ordering::Relaxed);
            }
            if self.index == 0 && verdict.clock_jumped {
                log::warn!("the wall clock was set");
                shared.clock_jumps.fetch_add(1, Ordering::Relaxed);
            }
            shared.advance(verdict.clock_jumped);
            // After a stall every thread looks overdue.
            if self.index == 0 && verdict.keep {
                shared.find_overdue(true);
            }
            self.tick(&mut samples, verdict.keep);
        }
    }

    /// How long this thread has nothing to do.
    fn rest(&self) -> Option<Duration> {
        let rests = self.collectors.iter().map(|collector| collector.rest());
        // All of them, or it must tick.
        rests.min_by_key(|rest| rest.unwrap_or_default()).flatten().filter(|_| self.index != 0)
    }

    /// Sleeps, and wakes for what a source would forget; true when it is time to stop.
    fn keep_up_until(&mut self, due: Duration) -> bool {
        let pace = self.collectors.iter().filter_map(|collector| collector.forgets_after()).min();
        while let Some(next) = pace.map(|pace| self.shared.clocks.now().mono + pace).filter(|next| *next < due) {
            if self.rest().is_some() || self.sleep_until(next) {
                break;
            }
            self.note_reading(true);
            self.collectors.iter_mut().for_each(|collector| collector.keep_up());
            self.note_reading(false);
        }
        self.sleep_until(due)
    }

    /// Tells the watchdog that a reading begins or is back.
    fn note_reading(&self, begins: bool) {
        let since = if begins { self.shared.clocks.now().mono.as_nanos() as u64 } else { 0 };
        self.shared.groups[self.index].asked.store(since, Ordering::Relaxed);
    }

    /// Sleeps; true when it is time to stop. One system call: the condition's futex takes an absolute time.
    fn sleep_until(&self, due: Duration) -> bool {
        let mut running = lock(&self.shared.running);
        loop {
            let left = due.saturating_sub(self.shared.clocks.now().mono);
            if running.stop || left.is_zero() {
                return running.stop;
            }
            running = self.shared.changed.wait_timeout(running, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What the first tick's rates are since. The levels that it has are samples like any other, and their window may end
    /// before that tick.
    fn base_reading(&mut self, samples: &mut Vec<Sample>) {
        self.shared.advance(false);
        self.tick(samples, true);
    }

    /// One reading of every collector, emitted at once.
    fn tick(&mut self, samples: &mut Vec<Sample>, keep: bool) {
        let group = &self.shared.groups[self.index];
        samples.clear();
        self.note_reading(true);
        for (index, collector) in self.collectors.iter_mut().enumerate() {
            let (start, before) = (Instant::now(), samples.len());
            let outcome = collector.collect(samples);
            if !keep {
                samples.truncate(before);
            }
            let failure = outcome.as_ref().err().map(CollectError::reason);
            if collector.rest().is_none() {
                group.collectors[index].push(samples, failure, Some(start.elapsed()));
            }
            if failure != self.failures[index] {
                match &outcome {
                    Ok(()) => log::info!("{}: whole again", collector.name()),
                    Err(error) => log::warn!("{}: {error}", collector.name()),
                }
                self.failures[index] = failure;
            }
        }
        if self.index == 0 {
            own_cost(samples);
            self.shared.push_stuck(samples);
            let total = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
            samples.push(Sample::of(&DISTURBANCES, &self.constant.late, total(&self.shared.late)));
            samples.push(Sample::of(&DISTURBANCES, &self.constant.stall, total(&self.shared.stalled)));
            samples.push(Sample::of(&DISTURBANCES, &self.constant.clock, total(&self.shared.clock_jumps)));
            samples.push(Sample::of(&BUILD_INFO, &self.constant.version, 1.0));
            self.shared.pipeline.deliveries.samples(samples);
        }
        let mut emitter = lock(&group.emitter);
        self.shared.pipeline.update(|| emitter.emit(samples));
        group.done.store(self.shared.clocks.now().mono.as_nanos() as u64, Ordering::Relaxed);
        self.note_reading(false);
        group.ticks.fetch_add(1, Ordering::Relaxed);
        group.overdue.store(false, Ordering::Relaxed);
        let resting = self.rest().is_some();
        group.resting.store(resting, Ordering::Relaxed);
        group.measuring.store(!resting, Ordering::Relaxed);
    }
}
