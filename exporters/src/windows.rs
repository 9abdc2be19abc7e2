//! The window stage: a recorder that keeps the statistics of each clock-aligned period and closes it once.
//!
//! Everyone who publishes windows gets the same closed [`Window`], so their figures cannot disagree. Listed metrics take
//! part: every `set` of a gauge and every `record` of a histogram is one sample; a counter's increase in the period is
//! its one sample. Some gauges are totals, since the facade's counters hold whole numbers only: these are listed as
//! cumulative, and their increase is the sample.
//!
//! Memory is bounded by the number of series and periods, whatever the number of samples: [`SERIES`] at most, with
//! [`VALUES`](crate::distribution::VALUES) values each in a period that keeps values.
//!
//! The wall clock enters by [`Windows::advance`] alone. The sampler calls it before each tick's samples, and ticks lie
//! half an interval off the boundaries, so no tick falls on an edge.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::series::Series;
use crate::statistics::StatisticSet;

/// The most series that take part at a time.
pub const SERIES: usize = 10_000;

/// A metric that takes part, in all its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name in the facade.
    pub name: String,
    /// Whether it is a gauge that holds a total. Counters and histograms are what they are.
    pub cumulative: bool,
}

impl From<&str> for Listed {
    /// A metric that is not cumulative.
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), cumulative: false }
    }
}

/// What a period keeps of its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    /// Count, sum, minimum and maximum.
    Statistics,
    /// The values too, with how often each came.
    Values,
}

/// What a series is in the facade. A cumulative gauge is a counter, for its figure is an increase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A level.
    Gauge,
    /// An increase.
    Counter,
    /// A value for each event.
    Histogram,
}

/// One closed period: immutable, the same for every reader.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// When it began: a multiple of the period since the Unix epoch.
    pub start: SystemTime,
    /// How long it is.
    pub period: Duration,
    /// Whether it was observed from its start to its end. False for the period in which observing began or ended, and
    /// around steps of the wall clock and gaps longer than the period.
    pub complete: bool,
    /// The series that had a sample in it, ordered by key and kind.
    pub series: Vec<WindowSeries>,
}

/// One series of a closed period.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowSeries {
    /// Name and labels.
    pub key: Key,
    /// Gauge, counter or histogram.
    pub kind: Kind,
    /// Its unit, where the metric was described with one.
    pub unit: Option<Unit>,
    /// Of every sample; never empty.
    pub statistics: StatisticSet,
    /// The values in ascending order with their counts, binned beyond
    /// [`VALUES`](crate::distribution::VALUES) as [`distribution`](crate::distribution) says; linear, but for
    /// histograms. Empty where the period keeps statistics only.
    pub values: Vec<(f64, u64)>,
}

/// The recorder. Clones share one state.
#[derive(Clone, Debug)]
pub struct Windows(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Whether each is cumulative.
    listed: HashMap<String, bool>,
    periods: Vec<Duration>,
    kept: Vec<Keep>,
    open: Mutex<Vec<Option<Open>>>,
    series: Mutex<AllSeries>,
    refused: AtomicU64,
    /// As described: the first description holds, for a series that changes its unit is another one to CloudWatch.
    units: Mutex<HashMap<String, Unit>>,
}

/// One map for each kind: a lookup borrows the key, and a registration by a macro at every sample copies nothing.
#[derive(Debug, Default)]
struct AllSeries([BTreeMap<Key, Arc<Series>>; 3]);

#[derive(Clone, Copy, Debug)]
struct Open {
    start: Duration,
    /// Observed since its very start.
    whole: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AllSeries {
    const KINDS: [Kind; 3] = [Kind::Gauge, Kind::Counter, Kind::Histogram];

    fn len(&self) -> usize {
        self.0.iter().map(BTreeMap::len).sum()
    }
}

impl Windows {
    /// A stage for the listed metrics, in windows of the given periods. A period of zero is left out; one that is given
    /// twice is one, and keeps values if either does.
    pub fn new(
        listed: impl IntoIterator<Item = impl Into<Listed>>,
        periods: impl IntoIterator<Item = (Duration, Keep)>,
    ) -> Self {
        let mut kept = BTreeMap::new();
        for (period, keep) in periods.into_iter().filter(|(period, _)| !period.is_zero()) {
            let most = kept.entry(period).or_insert(keep);
            *most = keep.max(*most);
        }
        Self(Arc::new(Inner {
            listed: listed.into_iter().map(Into::into).map(|metric| (metric.name, metric.cumulative)).collect(),
            open: Mutex::new(vec![None; kept.len()]),
            periods: kept.keys().copied().collect(),
            kept: kept.into_values().collect(),
            series: Mutex::default(),
            refused: AtomicU64::new(0),
            units: Mutex::default(),
        }))
    }

    /// Tells the stage the wall clock's time. Calls `closed` with every window that ended since the call before.
    pub fn advance(&self, now: SystemTime, mut closed: impl FnMut(&Arc<Window>)) {
        // Before 1970 there are no windows; such a clock is about to be set.
        let Ok(now) = now.duration_since(UNIX_EPOCH) else { return };
        for (place, period) in self.0.periods.iter().enumerate() {
            let start = floor(now, *period);
            let before = lock(&self.0.open)[place];
            let follows = before.is_some_and(|open| open.start + *period == start);
            match before {
                Some(open) if open.start == start => continue,
                Some(open) => closed(&self.close(place, open, open.whole && follows, follows)),
                None => {}
            }
            lock(&self.0.open)[place] = Some(Open { start, whole: follows });
        }
    }

    /// The wall clock was set: no window that is open now was observed from its start to its end. Called on both sides
    /// of the jump, since the window jumped into is as torn as the one left.
    pub fn tear(&self) {
        lock(&self.0.open).iter_mut().flatten().for_each(|open| open.whole = false);
    }

    /// Closes every window that is open, for good or until the next `advance` opens others. None of them is complete:
    /// call `advance` first, which closes those that are.
    pub fn finish(&self, mut closed: impl FnMut(&Arc<Window>)) {
        for place in 0..self.0.periods.len() {
            let open = lock(&self.0.open)[place].take();
            if let Some(open) = open {
                closed(&self.close(place, open, false, true));
            }
        }
    }

    /// How often a series was refused because [`SERIES`] were there already. Its samples are in no window.
    pub fn refused_series(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    fn close(&self, place: usize, open: Open, complete: bool, follows: bool) -> Arc<Window> {
        let keep = self.0.kept[place];
        let longest = place + 1 == self.0.periods.len();
        let (mut all, units) = (lock(&self.0.series), lock(&self.0.units));
        let mut series = Vec::with_capacity(all.len());
        for (kind, of_kind) in AllSeries::KINDS.into_iter().zip(&mut all.0) {
            of_kind.retain(|key, entry| {
                if let Some((statistics, values)) = entry.close(place, keep, follows) {
                    let kind = if self.0.cumulative(kind, key) { Kind::Counter } else { kind };
                    let unit = units.get(key.name()).copied();
                    series.push(WindowSeries { key: key.clone(), kind, unit, statistics, values });
                }
                // Kept while somebody can still write it. A macro of the facade lets go of it after each write, so it
                // is also kept, with the value that increments build on, through the longest period without one. That
                // nobody can write is known first, so that no write comes after the look at what was written.
                !(longest && Arc::get_mut(entry).is_some_and(|alone| alone.rest()))
            });
        }
        drop((all, units));
        series.sort_by(|a, b| (&a.key, a.kind).cmp(&(&b.key, b.kind)));
        Arc::new(Window { start: UNIX_EPOCH + open.start, period: self.0.periods[place], complete, series })
    }

    fn describe(&self, name: &KeyName, unit: Option<Unit>) {
        if let Some(unit) = unit.filter(|_| self.0.listed.contains_key(name.as_str())) {
            lock(&self.0.units).entry(name.as_str().to_owned()).or_insert(unit);
        }
    }

    /// The series of this kind and key: the one there is, or a new one while there is room. `None` for what is not
    /// listed, too.
    fn series(&self, kind: Kind, key: &Key) -> Option<Arc<Series>> {
        if !self.0.listed.contains_key(key.name()) {
            return None;
        }
        let mut all = lock(&self.0.series);
        if let Some(series) = all.0[kind as usize].get(key) {
            return Some(Arc::clone(series));
        }
        if all.len() < SERIES {
            let series = Arc::new(Series::new(kind, self.0.cumulative(kind, key), &self.0.kept));
            all.0[kind as usize].insert(key.clone(), Arc::clone(&series));
            return Some(series);
        }
        drop(all);
        if self.0.refused.fetch_add(1, Ordering::Relaxed) == 0 {
            log::warn!("windows: {key} is left out, for {SERIES} series are there already, as are all that follow it");
        }
        None
    }
}

impl Inner {
    fn cumulative(&self, kind: Kind, key: &Key) -> bool {
        kind == Kind::Gauge && self.listed.get(key.name()).is_some_and(|cumulative| *cumulative)
    }
}

fn floor(time: Duration, period: Duration) -> Duration {
    let nanos = time.as_nanos() - time.as_nanos() % period.as_nanos();
    Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
}

impl Recorder for Windows {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.series(Kind::Counter, key).map_or_else(Counter::noop, Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.series(Kind::Gauge, key).map_or_else(Gauge::noop, Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.series(Kind::Histogram, key).map_or_else(Histogram::noop, Histogram::from_arc)
    }
}

#[cfg(test)]
mod tests;
