//! Delivery: from the spool to the service, one request at a time.
//!
//! Windows go into the spool first, then out, newest first: alarms recover at once, and what an outage left behind
//! follows with spare rate. A record leaves the spool when the service has accepted its data, or when they are given up
//! with a reason. Everything else (throttling, a dead network, expired credentials) only costs time.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::answer::{Answer, Verdict};
use super::job::{Done, Job, Judgement};
use super::limits::{self, Age};
use super::pace::Pace;
use super::phase::phase;
use super::record::Record;
use super::spool::{self, Choice, Entry, Spool};
use super::status::Status;
use super::wire;
use crate::datum::Datum;
use crate::ledger::Reason;
use crate::publication::Publication;
use crate::windows::Window;

/// Data at a resolution of a second are kept for three hours; older ones are merged by the minute.
const SECONDS_LIVE: Duration = Duration::from_secs(3 * 3600);
/// Payload of the spool that one request of a backlog takes along: few enough to stay small in memory.
const BACKLOG_BYTES: usize = 100_000;
/// A period shorter than this is sent together with the next ones: requests cost money.
const SHORTEST_SPREAD: Duration = Duration::from_secs(10);
/// When to look again at data that lie too far ahead of the service's clock.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How many different things are said once.
const TOLD: usize = 1000;

/// Takes requests. The real one is the AWS SDK.
pub(crate) trait Service {
    /// One attempt, with an end: it has its own timeouts.
    fn put(&self, namespace: &str, data: &[Datum]) -> impl Future<Output = Answer>;
}

/// The wall clock, so that tests have their own.
pub(crate) type WallClock = Box<dyn Fn() -> SystemTime>;

pub(crate) struct Delivery<S> {
    pub(crate) service: Rc<S>,
    pub(crate) publication: Publication,
    pub(crate) spool: Spool,
    pub(crate) clock: WallClock,
    pub(crate) status: Arc<Mutex<Status>>,
    rhythm: Rhythm,
    pace: Pace,
    job: Option<Job>,
    /// When the next request goes; `None` while there is nothing to send.
    due: Option<Instant>,
    /// `None` before the first answer.
    heard: Option<Heard>,
    told: HashSet<String>,
    failing: Option<String>,
    stop: Option<Stop>,
}

/// When in a period this host sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rhythm {
    /// The time between requests.
    pub(crate) spread: Duration,
    phase: Duration,
}

/// The service's clock at its last answer, and ours.
#[derive(Clone, Copy, Debug)]
struct Heard {
    date: SystemTime,
    wall: SystemTime,
    at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Stop {
    /// The service did not answer before the stop.
    was_failing: bool,
    attempts: u32,
}

type Flight = Pin<Box<dyn Future<Output = Answer>>>;

impl<S: Service + 'static> Delivery<S> {
    pub(crate) fn new(
        service: S,
        publication: Publication,
        spool: Spool,
        clock: WallClock,
        status: Arc<Mutex<Status>>,
        rhythm: Rhythm,
    ) -> Self {
        let pending = spool.pending_data() > 0;
        let mut delivery = Self {
            service: Rc::new(service),
            publication,
            spool,
            clock,
            status,
            rhythm,
            pace: Pace::new(),
            job: None,
            due: pending.then(Instant::now),
            heard: None,
            told: HashSet::new(),
            failing: None,
            stop: None,
        };
        delivery.show(|_| ());
        delivery
    }

    /// Works until `windows` is closed and what can be sent is sent, or until the time that `deadline` then holds.
    pub(crate) async fn run(
        mut self,
        mut windows: mpsc::Receiver<Message>,
        mut deadline: watch::Receiver<Option<Instant>>,
    ) -> Spool {
        let mut flight: Option<Flight> = None;
        loop {
            let (due, until) = (self.due, *deadline.borrow_and_update());
            let late = |time: Option<Instant>| sleep_until(time.unwrap_or_else(Instant::now));
            tokio::select! {
                biased;
                () = late(until), if until.is_some() && self.stop.is_some() => break,
                answer = fly(&mut flight), if flight.is_some() => {
                    flight = None;
                    self.arrived(answer);
                }
                message = windows.recv(), if self.stop.is_none() => match message {
                    Some(message) => self.take(message),
                    None => {
                        self.stop = Some(Stop { was_failing: !self.pace.is_healthy(), attempts: 0 });
                        self.due = (self.spool.pending_data() > 0).then(Instant::now);
                    }
                },
                () = late(due), if due.is_some() && flight.is_none() => flight = self.depart(),
                Ok(()) = deadline.changed() => {}
            }
            if self.stop.is_some() && flight.is_none() && self.due.is_none() {
                break;
            }
        }
        if let (Some(job), true) = (&self.job, flight.is_some()) {
            // It may still arrive; nobody will know.
            self.spool.failed(&job.sequences(), true);
        }
        self.show(|_| ());
        self.spool.close();
        self.spool
    }

    fn take(&mut self, message: Message) {
        if message.overrun > 0 {
            log::error!("cloudwatch: {} data lost: windows closed faster than they could be stored", message.overrun);
            self.spool.append(&spool::Record { refused: &[(Reason::Overrun, message.overrun)], ..empty(0) });
        }
        let window = &message.window;
        let time = millis(window.start);
        let mut refused = BTreeMap::new();
        let mut data = self.publication.data(window);
        data.retain(|datum| match limits::check(datum) {
            Ok(()) => true,
            Err(refusal) => {
                *refused.entry(refusal.reason).or_default() += 1;
                self.tell(&datum.name, || format!("not published: {refusal}"));
                false
            }
        });
        let mut refused: Vec<(Reason, u32)> = refused.into_iter().collect();
        let namespace = self.publication.namespace();
        for data in wire::chunks(namespace, data) {
            let number = data.iter().map(|datum| datum.periods).sum();
            let payload = Record { namespace: namespace.to_owned(), data }.encode();
            self.spool.append(&spool::Record { time, data: number, refused: &refused, payload: &payload });
            refused.clear();
        }
        if !refused.is_empty() {
            self.spool.append(&spool::Record { refused: &refused, ..empty(time) });
        }
        if self.spool.pending_data() > 0 {
            let next = self.rhythm.next(window.start + window.period, (self.clock)());
            // What lies ahead of the service's clock is looked at more seldom.
            self.due = Some(self.due.map_or(next, |due| due.min(next)));
        }
        self.show(|_| ());
    }

    /// The next request, if there is one and it may go.
    fn depart(&mut self) -> Option<Flight> {
        let may_go = self.pace.not_before();
        let first_of_stop = self.stop.is_some_and(|stop| stop.attempts == 0);
        if may_go > Instant::now() && !first_of_stop {
            self.due = Some(may_go);
            return None;
        }
        if self.job.is_none() {
            self.job = self.load();
        }
        if let Some(job) = self.job.as_mut().filter(|job| !job.attempted) {
            job.attempted = true;
            self.spool.attempt(&job.sequences());
        }
        let Some(batch) = self.job.as_ref().and_then(Job::next) else {
            self.job = None;
            // What is left lies ahead of the service's clock: while stopping there is no time for it.
            let waits = self.spool.pending_data() > 0 && self.stop.is_none();
            self.due = waits.then(|| Instant::now() + LOOK_AGAIN);
            self.show(|_| ());
            return None;
        };
        if let Some(stop) = &mut self.stop {
            stop.attempts += 1;
        }
        let namespace = self.job.as_ref().map(|job| Rc::clone(&job.namespace))?;
        let service = Rc::clone(&self.service);
        Some(Box::pin(async move { service.put(&namespace, &batch.data).await }))
    }

    /// The newest records that fit into a request.
    fn load(&mut self) -> Option<Job> {
        let times = self.service_times();
        let is_known = self.heard.is_some();
        let most = if self.pace.is_open() { 0 } else { BACKLOG_BYTES };
        let (mut bytes, mut data) = (0, 0);
        let mut expired = Vec::new();
        let entries = self.spool.newest(|meta| match age(meta.time, times) {
            // Nothing is given up by our own clock alone.
            Age::TooOld if !is_known => Choice::Skip,
            Age::TooOld => {
                expired.push((meta.sequence, meta.data));
                Choice::Skip
            }
            Age::Ahead => Choice::Skip,
            Age::Good => {
                bytes += meta.payload_len;
                data += meta.data as usize;
                let first = bytes == meta.payload_len;
                if first || (bytes <= most && data <= wire::MAX_DATA) { Choice::Take } else { Choice::Stop }
            }
        });
        for (sequence, data) in expired {
            self.tell("too old", || format!("{data} data are older than two weeks and are given up"));
            self.spool.settle(sequence, 0, &[(Reason::TooOld, data)]);
        }
        let mut namespace: Option<Rc<str>> = None;
        let mut records = Vec::new();
        for Entry { sequence, data, payload, .. } in entries {
            match Record::decode(&payload) {
                Ok(record) => {
                    let namespace = namespace.get_or_insert_with(|| record.namespace.as_str().into());
                    // An earlier run had another one: its records follow by themselves.
                    if **namespace == *record.namespace {
                        records.push((sequence, record.data));
                    }
                }
                Err(error) => {
                    log::error!("cloudwatch: a record of the spool cannot be read: {error}");
                    self.spool.settle(sequence, 0, &[(Reason::Damaged, data)]);
                }
            }
        }
        let second_until = times[0].min(times[1]).saturating_sub(SECONDS_LIVE.as_millis() as u64);
        (!records.is_empty()).then(|| Job::new(namespace.unwrap_or_default(), records, second_until))
    }

    fn arrived(&mut self, answer: Answer) {
        let now = (self.clock)();
        let skew = answer.date.map(|date| signed_seconds(now, date));
        let at = Instant::now();
        self.heard = answer.date.map(|date| Heard { date, wall: now, at }).or(self.heard);
        let outcome = answer.verdict.outcome();
        let (sent, uncompressed) = (answer.sent, answer.uncompressed);
        let accepted = matches!(answer.verdict, Verdict::Accepted);
        self.judge(answer.verdict);
        let more = self.spool.pending_data() > 0;
        self.due = more.then(|| self.pace.not_before());
        if let Some(stop) = self.stop
            && !self.pace.is_healthy()
            && (stop.was_failing && self.spool.is_durable())
        {
            // It did not answer before the stop and does not now; the spool keeps the rest.
            self.due = None;
        }
        self.show(|status| {
            status.count(outcome, sent, uncompressed);
            status.skew = skew.or(status.skew);
            if accepted {
                status.last_success = Some(now);
            }
        });
    }

    fn judge(&mut self, verdict: Verdict) {
        let Some(mut job) = self.job.take() else { return };
        let done = match verdict {
            Verdict::Accepted => {
                if let Some(what) = self.failing.take() {
                    log::info!("cloudwatch: requests are accepted again (before: {what})");
                }
                self.pace.accepted();
                job.accepted()
            }
            Verdict::Poisoned { members, code, message } => {
                self.pace.accepted();
                self.tell(&code, || format!("the service refuses data: {code}: {message}"));
                job.refused(&members)
            }
            Verdict::TooLarge if job.next().is_some_and(|batch| batch.data.len() == 1) => {
                // No datum that passed the gate comes near the limit: whoever says so has another one.
                self.pace.failed(None);
                self.failed("a request of one datum is called too large".into());
                return self.put_back(job, false);
            }
            Verdict::TooLarge => {
                self.pace.accepted();
                self.tell("too large", || "the service calls a request too large; it is cut in two".into());
                job.refused(&[])
            }
            Verdict::Throttled { retry_after } => {
                self.pace.throttled(retry_after);
                self.failed("throttled".into());
                return self.put_back(job, false);
            }
            Verdict::Denied { code, message, remedy } => {
                self.pace.failed(None);
                self.failed(format!("{code}: {message}: {remedy}"));
                return self.put_back(job, false);
            }
            Verdict::Unavailable { ambiguous, retry_after, what } => {
                self.pace.failed(retry_after);
                self.failed(what);
                return self.put_back(job, ambiguous);
            }
        };
        self.settle(&done);
        if job.next().is_some() {
            self.job = Some(job);
            return;
        }
        let names = job.suspects();
        match job.judge() {
            Judgement::Guilty(done) => {
                self.settle(&done);
                if !names.is_empty() {
                    log::error!(
                        "cloudwatch: given up, since the service takes others but not these: {}",
                        names.join(", ")
                    );
                }
            }
            Judgement::Heard => self.job = Some(job),
            Judgement::Open => {
                self.pace.failed(None);
                self.put_back(job, false);
            }
        }
    }

    /// The job's records stay in the spool. One that is partly done is kept as it is, so that nothing is sent twice.
    fn put_back(&mut self, mut job: Job, ambiguous: bool) {
        job.attempted = false;
        self.spool.failed(&job.sequences(), ambiguous);
        if job.is_begun() && job.next().is_some() {
            self.job = Some(job);
        }
    }

    fn settle(&mut self, done: &[Done]) {
        for Done { sequence, published, refused } in done {
            self.spool.settle(*sequence, *published, &[(Reason::Refused, *refused)]);
        }
    }

    /// Says once what fails, and again when it is something else.
    fn failed(&mut self, what: String) {
        if self.failing.as_ref() != Some(&what) {
            let pending = self.spool.pending_data();
            log::warn!("cloudwatch: {what}; {pending} data wait and are sent again");
            self.failing = Some(what);
        }
    }

    fn tell(&mut self, key: &str, what: impl FnOnce() -> String) {
        if self.told.len() < TOLD && self.told.insert(key.to_owned()) {
            log::error!("cloudwatch: {}", what());
        }
    }

    /// The time by the service's clock, which is the one that it judges data by, in milliseconds since the Unix epoch:
    /// its last answer's, and what passed since by our wall clock and by the monotonic one. They differ where the wall
    /// clock was set since then, or the machine slept, and then neither can be trusted. Ours before the first answer.
    fn service_times(&self) -> [u64; 2] {
        let now = (self.clock)();
        let Some(Heard { date, wall, at }) = self.heard else { return [millis(now); 2] };
        let by_wall = match now.duration_since(wall) {
            Ok(passed) => date.checked_add(passed),
            Err(back) => date.checked_sub(back.duration()),
        };
        let by_monotonic = date.checked_add(at.elapsed());
        [by_wall, by_monotonic].map(|time| millis(time.unwrap_or(date)))
    }

    fn show(&mut self, change: impl FnOnce(&mut Status)) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut status);
        status.totals = self.spool.totals();
        status.oldest = self.spool.oldest().map(|time| UNIX_EPOCH + Duration::from_millis(time));
        status.not_durable = self.spool.why().map(str::to_owned);
        status.spool_bytes = self.spool.bytes();
    }
}

/// What the sampler hands over.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) window: Arc<Window>,
    /// Data lost before this window because the way was full.
    pub(crate) overrun: u32,
}

impl Rhythm {
    /// That of a host with windows of this period.
    pub(crate) fn of(host: &str, period: Duration) -> Self {
        let spread = period.max(SHORTEST_SPREAD);
        Self { spread, phase: phase(host, spread) }
    }

    /// The same without the host's own moment: each period as soon as it ends.
    pub(crate) fn at_once(self) -> Self {
        Self { phase: Duration::ZERO, ..self }
    }

    /// When to send what ended at `end`: the first time after it that lies at this host's phase.
    fn next(self, end: SystemTime, now: SystemTime) -> Instant {
        let (spread, phase) = (self.spread.as_nanos(), self.phase.as_nanos());
        let end = end.duration_since(UNIX_EPOCH).unwrap_or_default();
        let wait = (phase + spread - end.as_nanos() % spread) % spread;
        let time = UNIX_EPOCH + end + Duration::from_nanos(wait as u64);
        // A clock that jumps cannot make it wait longer than once around.
        Instant::now() + time.duration_since(now).unwrap_or_default().min(self.spread)
    }
}

/// The age by clocks that may differ: whatever is good by one is sent, so that the answer tells which of them is right.
fn age(start: u64, times: [u64; 2]) -> Age {
    match times.map(|now| limits::age(start, now)) {
        [Age::TooOld, Age::TooOld] => Age::TooOld,
        ages if ages.contains(&Age::Good) => Age::Good,
        _ => Age::Ahead,
    }
}

async fn fly(flight: &mut Option<Flight>) -> Answer {
    match flight {
        Some(flight) => flight.await,
        None => std::future::pending().await,
    }
}

fn empty(time: u64) -> spool::Record<'static> {
    spool::Record { time, data: 0, refused: &[], payload: &[] }
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

fn signed_seconds(a: SystemTime, b: SystemTime) -> f64 {
    match a.duration_since(b) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    }
}

#[cfg(test)]
mod tests;
