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
mod tests {
    use super::*;
    use crate::distribution::{Distribution, Scale};
    use metrics::Level;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn gauge(windows: &Windows, name: &'static str) -> Gauge {
        windows.register_gauge(&Key::from_static_name(name), &Metadata::new("test", Level::INFO, None))
    }

    fn at(seconds: f64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs_f64(1_000_020.0 + seconds) // a full minute
    }

    fn advance(windows: &Windows, seconds: f64) -> Vec<Window> {
        let mut all = Vec::new();
        windows.advance(at(seconds), |window| all.push(Window::clone(window)));
        all
    }

    #[test]
    fn every_period_is_closed_once_and_complete_from_the_second_on() {
        let windows = Windows::new(["cpu"], [(Duration::from_secs(15), Keep::Statistics), (MINUTE, Keep::Values)]);
        let cpu = gauge(&windows, "cpu");
        let mut closed = Vec::new();
        for tick in 0..150 {
            let now = 7.5 + f64::from(tick);
            closed.extend(advance(&windows, now));
            cpu.set(now.floor());
        }
        let quarters: Vec<&Window> = closed.iter().filter(|window| window.period < MINUTE).collect();
        assert_eq!(quarters.iter().map(|w| w.complete).collect::<Vec<_>>(), [vec![false], vec![true; 9]].concat());
        assert!(quarters.iter().skip(1).all(|window| window.series[0].statistics.count() == 15));
        let minutes: Vec<&Window> = closed.iter().filter(|window| window.period == MINUTE).collect();
        assert_eq!(minutes.iter().map(|w| w.complete).collect::<Vec<_>>(), [false, true]);
        let second = &minutes[1].series[0].statistics;
        assert_eq!(minutes[1].start, at(60.0));
        assert_eq!((second.count(), second.minimum(), second.maximum()), (60, Some(60.0), Some(119.0)));
        assert_eq!(second.mean(), Some(89.5));
        let values: Vec<(f64, u64)> = (60..120).map(|second| (f64::from(second), 1)).collect();
        assert_eq!(minutes[1].series[0].values, values);
        assert!(quarters.iter().flat_map(|window| &window.series).all(|series| series.values.is_empty()));
    }

    #[test]
    fn only_chosen_gauges_take_part() {
        let windows = Windows::new(["cpu"], [(MINUTE, Keep::Statistics)]);
        advance(&windows, 0.5);
        gauge(&windows, "other").set(1.0);
        assert_eq!(advance(&windows, 60.5)[0].series, []);
    }

    #[test]
    fn absent_is_no_sample() {
        let windows = Windows::new(["cpu"], [(MINUTE, Keep::Statistics)]);
        let cpu = gauge(&windows, "cpu");
        advance(&windows, 0.5);
        cpu.set(5.0);
        cpu.set(f64::NAN);
        cpu.increment(2.0);
        let set = advance(&windows, 60.5)[0].series[0].statistics;
        assert_eq!((set.count(), set.minimum(), set.maximum()), (2, Some(2.0), Some(5.0)));
        cpu.set(f64::NAN);
        assert_eq!(advance(&windows, 120.5)[0].series, [], "a window without samples has no series");
    }

    #[test]
    fn a_clock_that_jumps_leaves_no_complete_window_behind() {
        for to in [7200.5, -7200.5, 185.0] {
            let windows = Windows::new(["cpu"], [(MINUTE, Keep::Statistics)]);
            let cpu = gauge(&windows, "cpu");
            for second in 0..90 {
                advance(&windows, f64::from(second) + 0.5);
                cpu.set(1.0);
            }
            let jumped = advance(&windows, to);
            assert_eq!(jumped.iter().map(|w| w.complete).collect::<Vec<_>>(), [false], "to {to}");
            let torn = advance(&windows, to + 60.0);
            assert!(!torn[0].complete, "the window jumped into is torn too");
            assert!(advance(&windows, to + 120.0)[0].complete);
        }
    }

    #[test]
    fn a_clock_that_jumps_within_a_window_or_into_the_next_tears_them_too() {
        // From second 90.5, half through the second minute: within it either way, and into the one that follows.
        for (to, torn) in [(100.5, 1), (70.5, 1), (125.5, 2)] {
            let windows = Windows::new(["cpu"], [(MINUTE, Keep::Statistics)]);
            (0..91).for_each(|second| drop(advance(&windows, f64::from(second) + 0.5)));
            windows.tear();
            let mut closed = advance(&windows, to);
            windows.tear();
            closed.extend((2..5).flat_map(|minute| advance(&windows, f64::from(minute) * 60.0 + 0.5)));
            let complete: Vec<bool> = closed.iter().map(|window| window.complete).collect();
            let expected: Vec<bool> = (0..complete.len()).map(|index| index >= torn).collect();
            assert_eq!(complete, expected, "to {to}");
            assert!(complete.contains(&true), "to {to}");
        }
    }

    #[test]
    fn a_series_that_nobody_can_set_any_more_is_forgotten() {
        let windows = Windows::new(["cpu", "held"], [(MINUTE, Keep::Statistics)]);
        advance(&windows, 0.5);
        gauge(&windows, "cpu").set(1.0);
        let held = gauge(&windows, "held");
        assert_eq!(advance(&windows, 60.5)[0].series.len(), 1);
        assert_eq!(lock(&windows.0.series).len(), 2, "a macro may increment it yet");
        assert_eq!(advance(&windows, 120.5)[0].series, []);
        assert_eq!(lock(&windows.0.series).len(), 1);
        held.set(1.0);
        assert_eq!(advance(&windows, 180.5)[0].series.len(), 1);
    }

    #[test]
    fn every_kind_takes_part_under_its_own_key() {
        let total = Listed { name: "total".into(), cumulative: true };
        let windows = Windows::new([total, "same".into()], [(MINUTE, Keep::Values)]);
        advance(&windows, 0.5);
        metrics::with_local_recorder(&windows, || {
            for minute in 1..4 {
                metrics::gauge!("same").set(0.5);
                metrics::counter!("same").increment(2);
                metrics::histogram!("same").record(7.0);
                metrics::histogram!("same").record(7.0);
                metrics::gauge!("total").set(f64::from(minute) * 1.5);
                let window = advance(&windows, f64::from(minute) * 60.0 + 0.5).remove(0);
                let short = |series: &WindowSeries| (series.key.name().to_owned(), series.kind, series.values.clone());
                let mut expected = vec![
                    ("same".to_owned(), Kind::Gauge, vec![(0.5, 1)]),
                    ("same".to_owned(), Kind::Counter, vec![(2.0, 1)]),
                    ("same".to_owned(), Kind::Histogram, vec![(7.0, 2)]),
                    ("total".to_owned(), Kind::Counter, vec![(1.5, 1)]),
                ];
                expected.truncate(if minute == 1 { 3 } else { 4 });
                assert_eq!(window.series.iter().map(short).collect::<Vec<_>>(), expected, "minute {minute}");
            }
        });
    }

    #[test]
    fn the_same_period_for_two_is_one_and_keeps_values() {
        let windows = Windows::new(["cpu"], [(MINUTE, Keep::Statistics), (MINUTE, Keep::Values)]);
        advance(&windows, 0.5);
        gauge(&windows, "cpu").set(1.0);
        let closed = advance(&windows, 60.5);
        assert_eq!(closed.len(), 1);
        assert_eq!(closed[0].series[0].values, [(1.0, 1)]);
    }

    #[test]
    fn what_is_open_at_the_end_is_closed_and_nothing_opens_after() {
        let windows = Windows::new(["cpu"], [(Duration::from_secs(15), Keep::Statistics), (MINUTE, Keep::Values)]);
        let cpu = gauge(&windows, "cpu");
        for second in 0..80 {
            advance(&windows, f64::from(second) + 0.5);
            cpu.set(1.0);
        }
        let finish = || {
            let mut all = Vec::new();
            windows.finish(|window| all.push((window.start, window.complete, window.series[0].statistics.count())));
            all
        };
        assert_eq!(finish(), [(at(75.0), false, 5), (at(60.0), false, 20)]);
        cpu.set(1.0);
        assert_eq!(finish(), []);
        assert_eq!(advance(&windows, 90.5), []);
        cpu.set(1.0);
        assert!(!advance(&windows, 105.5)[0].complete);
    }

    #[test]
    fn series_are_bounded_and_the_forgotten_make_room() {
        let windows = Windows::new(["cpu"], [(MINUTE, Keep::Statistics)]);
        advance(&windows, 0.5);
        let register = |core: usize| {
            let key = Key::from_parts("cpu", vec![metrics::Label::new("core", core.to_string())]);
            windows.register_counter(&key, &Metadata::new("test", Level::INFO, None))
        };
        let mut held: Vec<Counter> = (0..SERIES).map(register).collect();
        assert_eq!(windows.refused_series(), 0);
        register(SERIES).increment(1);
        register(0).increment(1);
        assert_eq!(windows.refused_series(), 1);
        held.truncate(1);
        let window = advance(&windows, 60.5).remove(0);
        assert_eq!(window.series.iter().map(|series| series.statistics.sum()).sum::<f64>(), 1.0);
        let _new = register(SERIES);
        assert_eq!((windows.refused_series(), lock(&windows.0.series).len()), (1, 2));
    }

    #[test]
    fn threads_that_record_while_windows_close_lose_nothing() {
        let windows = Windows::new(["cpu"], [(MINUTE, Keep::Values)]);
        let record = || {
            metrics::with_local_recorder(&windows, || {
                for value in 0..2000u32 {
                    metrics::gauge!("cpu").set(f64::from(value));
                    metrics::counter!("cpu").increment(1);
                    metrics::histogram!("cpu").record(f64::from(value));
                }
            });
        };
        let mut closed = Vec::new();
        std::thread::scope(|scope| {
            let threads = [scope.spawn(record), scope.spawn(record)];
            let mut now = 0.5;
            while threads.iter().any(|thread| !thread.is_finished()) {
                closed.extend(advance(&windows, now));
                now += 60.0;
            }
            closed.extend((0..2).flat_map(|more| advance(&windows, now + 60.0 * f64::from(more))));
        });
        let total = |kind, figure: fn(&StatisticSet) -> f64| {
            let series = closed.iter().flat_map(|window| &window.series).filter(|series| series.kind == kind);
            series.map(|series| figure(&series.statistics)).sum::<f64>()
        };
        assert_eq!(total(Kind::Counter, StatisticSet::sum), 4000.0);
        for kind in [Kind::Gauge, Kind::Histogram] {
            assert_eq!(total(kind, |set| set.count() as f64), 4000.0);
        }
    }

    proptest! {
        // For all values: the four quarters of a minute, merged, are the minute.
        #[test]
        fn quarters_merge_to_their_minute(values in proptest::collection::vec(0.0..6400.0f64, 60..600)) {
            let quarter = Duration::from_secs(15);
            let windows = Windows::new(["cpu"], [(quarter, Keep::Values), (MINUTE, Keep::Values)]);
            let cpu = gauge(&windows, "cpu");
            let (mut merged, mut minute) = (Distribution::new(Scale::Linear), None);
            for second in 0..=60 {
                for window in advance(&windows, f64::from(second) + 0.5) {
                    let WindowSeries { statistics, values, .. } = window.series.into_iter().next().unwrap();
                    if window.period == MINUTE {
                        minute = Some(Distribution::from_parts(statistics, values, Scale::Linear).unwrap());
                    } else {
                        prop_assert_eq!(values.len(), statistics.count() as usize, "exact");
                        merged.merge(&Distribution::from_parts(statistics, values, Scale::Linear).unwrap());
                    }
                }
                values.iter().skip(second as usize % 60).step_by(60).for_each(|value| cpu.set(*value));
            }
            let minute = minute.unwrap();
            let (minute, merged) = (minute.into_parts(), merged.into_parts());
            prop_assert_eq!(merged.1, minute.1);
            prop_assert_eq!(merged.0.maximum(), minute.0.maximum());
        }

        // For all steps of time and values: no sample is lost or counted twice, and each window starts on its period.
        #[test]
        fn taken_equals_closed(steps in proptest::collection::vec((0.0..40.0f64, 0..5usize), 1..60)) {
            let windows = Windows::new(["cpu"], [(MINUTE, Keep::Statistics)]);
            let cpu = gauge(&windows, "cpu");
            let (mut now, mut taken, mut closed) = (0.0, 0, 0);
            for (step, sets) in steps {
                now += step;
                for window in advance(&windows, now) {
                    closed += window.series.iter().map(|series| series.statistics.count()).sum::<u64>();
                    let start = window.start.duration_since(UNIX_EPOCH).unwrap();
                    prop_assert_eq!(start.as_nanos() % MINUTE.as_nanos(), 0);
                }
                (0..sets).for_each(|_| cpu.set(1.0));
                taken += sets as u64;
            }
            let last = advance(&windows, now + 60.0);
            closed += last.iter().flat_map(|window| &window.series).map(|series| series.statistics.count()).sum::<u64>();
            prop_assert_eq!(taken, closed);
        }
    }
}
