//! The history: a recorder that keeps the last samples of listed gauges in memory, for the page that people look at.
//!
//! A row holds what was sampled in one tick: one time for all series, one `f32` for each. Threads that tick at the same
//! time fill the same row, since rows are told apart by the interval of the wall clock in which a tick lies. What was
//! not set in a row's time is a gap, whatever the value before: nothing is repeated.
//!
//! Memory: `4 x series x points + 8 x points` bytes, and some 200 for each series' name and labels; `points` is the
//! time kept over the interval. Both are bounded, by [`MOST_SERIES`] and [`MOST_POINTS`]. Fifteen minutes at one second
//! are 47 kB on two cores, and 2 MB with 192 cores and 64 GPUs. A row costs no allocation and no system call.

mod json;
mod ring;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tokio::sync::watch;

use ring::Ring;

/// The most series that are kept; beyond them a series has no history.
pub const MOST_SERIES: usize = 1024;

/// The most rows that are kept: an hour at one second, six minutes at a tenth.
pub const MOST_POINTS: usize = 3600;

/// How long after a tick began its row is complete: threads apart have answered by then, or are late.
const SETTLES: Duration = Duration::from_millis(250);

/// A gauge that is kept, in all its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name in the facade.
    pub name: &'static str,
    /// Its unit, as its users read it.
    pub unit: Unit,
    /// The listed gauge that holds N, where this one is a sum that goes from 0 to 100 * N.
    pub n: Option<&'static str>,
}

/// The recorder. Clones share one state.
#[derive(Clone)]
pub struct History(Arc<Inner>);

struct Inner {
    host: String,
    interval: Duration,
    listed: Vec<Listed>,
    ring: Mutex<Ring>,
    /// Sent at the beginning of each row while somebody listens.
    began: watch::Sender<()>,
    full: AtomicBool,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("interval", &self.0.interval).finish_non_exhaustive()
    }
}

/// The value that a series has in the row that is open: the bits of an `f32`; NaN while there is none.
#[derive(Debug)]
struct Cell(AtomicU32);

impl Cell {
    fn new() -> Self {
        Self(AtomicU32::new(f32::NAN.to_bits()))
    }

    fn get(&self) -> f32 {
        f32::from_bits(self.0.load(Ordering::Relaxed))
    }

    fn clear(&self) {
        self.0.store(f32::NAN.to_bits(), Ordering::Relaxed);
    }

    fn take(&self) -> f32 {
        f32::from_bits(self.0.swap(f32::NAN.to_bits(), Ordering::Relaxed))
    }
}

impl GaugeFn for Cell {
    fn set(&self, value: f64) {
        self.0.store((value as f32).to_bits(), Ordering::Relaxed);
    }

    // A row forgets the value before it, so there is nothing to add to. What is listed is set.
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl History {
    /// A history of the listed gauges of `host`, which are sampled each `interval` (one millisecond at least), for as
    /// long as `kept`.
    pub fn new(host: &str, interval: Duration, kept: Duration, listed: Vec<Listed>) -> Self {
        let interval = interval.max(Duration::from_millis(1));
        let points = (kept.as_nanos() / interval.as_nanos()).min(MOST_POINTS as u128) as usize;
        Self(Arc::new(Inner {
            host: host.to_owned(),
            interval,
            listed,
            ring: Mutex::new(Ring::new(points.max(1))),
            began: watch::Sender::new(()),
            full: AtomicBool::new(false),
        }))
    }

    /// Tells the history the wall clock's time, before the samples of a tick. In another interval than that of the call
    /// before, it ends the row that is open and begins one. A clock that was set back ends all rows there are, since
    /// time goes on only.
    pub fn advance(&self, now: SystemTime) {
        let Ok(now) = now.duration_since(UNIX_EPOCH) else { return };
        let slot = (now.as_nanos() / self.0.interval.as_nanos()) as u64;
        if lock(&self.0.ring).begin(slot, now.as_millis() as u64, Instant::now()) && self.0.began.receiver_count() > 0 {
            // Nobody listening any more is no error.
            let _ = self.0.began.send(());
        }
    }

    /// Resolves when a row has begun. It is complete after [`settles`](Self::settles).
    pub fn rows(&self) -> watch::Receiver<()> {
        self.0.began.subscribe()
    }

    /// How long a row takes to be complete, from its beginning.
    pub fn settles(&self) -> Duration {
        SETTLES.min(self.0.interval / 2)
    }

    /// The rows of the last `since` before the newest one, or all of them, as JSON:
    ///
    /// ```json
    /// {"host": "algo-1", "interval": 1, "points": 900, "generation": 3,
    ///  "times": [1700000000501, 1700000001501],
    ///  "series": [{"name": "hostgauge_cpu_utilization_percent", "labels": {}, "unit": "percent", "n": 2,
    ///              "values": [12.5, null]}]}
    /// ```
    ///
    /// `interval` is in seconds, `points` the most rows that are kept, `times` in milliseconds since the Unix epoch,
    /// one for each place in every `values`; null is a gap. `n` is there for sums that go from 0 to 100 * N, null while
    /// N is not known. Percentages are rounded to a hundredth. `generation` changes whenever the list of series does.
    /// The row that is open is the last one, once it is complete.
    pub fn json(&self, since: Option<Duration>) -> String {
        let since = since.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        // Copied first, so that a tick never waits for text to be written.
        let rows = lock(&self.0.ring).copy(since, self.settles());
        json::document(&self.0.host, self.0.interval, &self.0.listed, &rows)
    }

    /// The newest complete row as an event of a `text/event-stream`; `None` before the first:
    ///
    /// ```text
    /// data: {"t":1700000001501,"g":3,"v":[12.5,null]}
    /// ```
    ///
    /// `v` holds one value for each series, in the order of the document of the same generation `g`.
    pub fn event(&self) -> Option<Bytes> {
        let ring = lock(&self.0.ring);
        let (time, values) = ring.newest(self.settles())?;
        Some(json::event(time, ring.generation(), values, &self.0.listed).into())
    }

    fn series(&self, key: &Key) -> Option<Arc<Cell>> {
        let listed = self.0.listed.iter().position(|listed| listed.name == key.name())?;
        let cell = lock(&self.0.ring).cell(key, listed);
        if cell.is_none() && !self.0.full.swap(true, Ordering::Relaxed) {
            log::warn!(
                "history: {key} is left out, for {MOST_SERIES} series are there already, as are all that follow"
            );
        }
        cell
    }
}

impl Recorder for History {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.series(key).map_or_else(Gauge::noop, Gauge::from_arc)
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[cfg(test)]
mod tests;
