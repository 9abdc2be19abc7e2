//! The window stage: a recorder that keeps the statistics of each clock-aligned period and closes it once.
//!
//! Everyone who publishes windows gets the same closed [`Window`], so their figures cannot disagree. Chosen gauges take
//! part: every `set` is one sample. Memory is bounded by the number of series and periods, whatever the number of
//! samples.
//!
//! The wall clock enters by [`Windows::advance`] alone. The sampler calls it before each tick's samples, and ticks lie
//! half an interval off the boundaries, so no tick falls on an edge.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::statistics::StatisticSet;

/// One closed period: immutable, the same for every reader.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// When it began: a multiple of the period since the Unix epoch.
    pub start: SystemTime,
    /// How long it is.
    pub period: Duration,
    /// Whether it was observed from its start to its end. False for the period in which observing began, and around
    /// steps of the wall clock and gaps longer than the period.
    pub complete: bool,
    /// The series that had a sample in it, ordered by key.
    pub series: Vec<(Key, StatisticSet)>,
}

/// The recorder. Clones share one state.
#[derive(Clone, Debug)]
pub struct Windows(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    names: HashSet<String>,
    periods: Vec<Duration>,
    open: Mutex<Vec<Option<Open>>>,
    series: Mutex<BTreeMap<Key, Arc<Series>>>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    start: Duration,
    /// Observed since its very start.
    whole: bool,
}

#[derive(Debug)]
struct Series(Mutex<State>);

#[derive(Debug)]
struct State {
    last: f64,
    /// One for each period.
    sets: Box<[StatisticSet]>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Windows {
    /// A stage for the gauges of the given names, in windows of the given periods. A period of zero is left out.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>, periods: impl IntoIterator<Item = Duration>) -> Self {
        let periods: Vec<Duration> = periods.into_iter().filter(|period| !period.is_zero()).collect();
        Self(Arc::new(Inner {
            names: names.into_iter().map(str::to_owned).collect(),
            open: Mutex::new(vec![None; periods.len()]),
            periods,
            series: Mutex::default(),
        }))
    }

    /// Tells the stage the wall clock's time. Calls `closed` with every window that ended since the call before.
    pub fn advance(&self, now: SystemTime, mut closed: impl FnMut(&Window)) {
        // Before 1970 there are no windows; such a clock is about to be set.
        let Ok(now) = now.duration_since(UNIX_EPOCH) else { return };
        for (index, period) in self.0.periods.iter().enumerate() {
            let start = floor(now, *period);
            let before = lock(&self.0.open)[index];
            let follows = before.is_some_and(|open| open.start + *period == start);
            match before {
                Some(open) if open.start == start => continue,
                Some(open) => closed(&self.close(index, open, open.whole && follows)),
                None => {}
            }
            lock(&self.0.open)[index] = Some(Open { start, whole: follows });
        }
    }

    /// The wall clock was set: no window that is open now was observed from its start to its end. Called on both sides
    /// of the jump, since the window jumped into is as torn as the one left.
    pub fn tear(&self) {
        lock(&self.0.open).iter_mut().flatten().for_each(|open| open.whole = false);
    }

    fn close(&self, index: usize, open: Open, complete: bool) -> Window {
        let mut all = lock(&self.0.series);
        let mut series = Vec::with_capacity(all.len());
        all.retain(|key, entry| {
            let set = std::mem::take(&mut lock(&entry.0).sets[index]);
            if set.count() > 0 {
                series.push((key.clone(), set));
            }
            // Kept while somebody can still set it, or another period holds samples of it.
            Arc::strong_count(entry) > 1 || lock(&entry.0).sets.iter().any(|set| set.count() > 0)
        });
        Window { start: UNIX_EPOCH + open.start, period: self.0.periods[index], complete, series }
    }
}

fn floor(time: Duration, period: Duration) -> Duration {
    let nanos = time.as_nanos() - time.as_nanos() % period.as_nanos();
    Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
}

impl GaugeFn for Series {
    fn increment(&self, value: f64) {
        let mut state = lock(&self.0);
        let sum = state.last + value;
        state.set(sum);
    }

    fn decrement(&self, value: f64) {
        self.increment(-value);
    }

    fn set(&self, value: f64) {
        lock(&self.0).set(value);
    }
}

impl State {
    fn set(&mut self, value: f64) {
        // A gauge that was absent starts from zero again when it is only incremented.
        self.last = if value.is_nan() { 0.0 } else { value };
        self.sets.iter_mut().for_each(|set| set.record(value));
    }
}

impl Recorder for Windows {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        if !self.0.names.contains(key.name()) {
            return Gauge::noop();
        }
        let mut all = lock(&self.0.series);
        let sets = || vec![StatisticSet::default(); self.0.periods.len()].into();
        let new = || Arc::new(Series(Mutex::new(State { last: 0.0, sets: sets() })));
        Gauge::from_arc(Arc::clone(all.entry(key.clone()).or_insert_with(new)))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        windows.advance(at(seconds), |window| all.push(window.clone()));
        all
    }

    #[test]
    fn every_period_is_closed_once_and_complete_from_the_second_on() {
        let windows = Windows::new(["cpu"], [Duration::from_secs(15), MINUTE]);
        let cpu = gauge(&windows, "cpu");
        let mut closed = Vec::new();
        for tick in 0..150 {
            let now = 7.5 + f64::from(tick);
            closed.extend(advance(&windows, now));
            cpu.set(now.floor());
        }
        let quarters: Vec<&Window> = closed.iter().filter(|window| window.period < MINUTE).collect();
        assert_eq!(quarters.iter().map(|w| w.complete).collect::<Vec<_>>(), [vec![false], vec![true; 9]].concat());
        assert!(quarters.iter().skip(1).all(|window| window.series[0].1.count() == 15));
        let minutes: Vec<&Window> = closed.iter().filter(|window| window.period == MINUTE).collect();
        assert_eq!(minutes.iter().map(|w| w.complete).collect::<Vec<_>>(), [false, true]);
        let (_, second) = &minutes[1].series[0];
        assert_eq!(minutes[1].start, at(60.0));
        assert_eq!((second.count(), second.minimum(), second.maximum()), (60, Some(60.0), Some(119.0)));
        assert_eq!(second.mean(), Some(89.5));
    }

    #[test]
    fn only_chosen_gauges_take_part() {
        let windows = Windows::new(["cpu"], [MINUTE]);
        advance(&windows, 0.5);
        gauge(&windows, "other").set(1.0);
        assert_eq!(advance(&windows, 60.5)[0].series, []);
    }

    #[test]
    fn absent_is_no_sample() {
        let windows = Windows::new(["cpu"], [MINUTE]);
        let cpu = gauge(&windows, "cpu");
        advance(&windows, 0.5);
        cpu.set(5.0);
        cpu.set(f64::NAN);
        cpu.increment(2.0);
        let set = advance(&windows, 60.5)[0].series[0].1;
        assert_eq!((set.count(), set.minimum(), set.maximum()), (2, Some(2.0), Some(5.0)));
        cpu.set(f64::NAN);
        assert_eq!(advance(&windows, 120.5)[0].series, [], "a window without samples has no series");
    }

    #[test]
    fn a_clock_that_jumps_leaves_no_complete_window_behind() {
        for to in [7200.5, -7200.5, 185.0] {
            let windows = Windows::new(["cpu"], [MINUTE]);
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
            let windows = Windows::new(["cpu"], [MINUTE]);
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
        let windows = Windows::new(["cpu"], [MINUTE]);
        advance(&windows, 0.5);
        gauge(&windows, "cpu").set(1.0);
        assert_eq!(advance(&windows, 60.5)[0].series.len(), 1);
        assert!(lock(&windows.0.series).is_empty());
    }

    proptest! {
        // For all steps of time and values: no sample is lost or counted twice, and each window starts on its period.
        #[test]
        fn taken_equals_closed(steps in proptest::collection::vec((0.0..40.0f64, 0..5usize), 1..60)) {
            let windows = Windows::new(["cpu"], [MINUTE]);
            let cpu = gauge(&windows, "cpu");
            let (mut now, mut taken, mut closed) = (0.0, 0, 0);
            for (step, sets) in steps {
                now += step;
                for window in advance(&windows, now) {
                    closed += window.series.iter().map(|(_, set)| set.count()).sum::<u64>();
                    let start = window.start.duration_since(UNIX_EPOCH).unwrap();
                    prop_assert_eq!(start.as_nanos() % MINUTE.as_nanos(), 0);
                }
                (0..sets).for_each(|_| cpu.set(1.0));
                taken += sets as u64;
            }
            let last = advance(&windows, now + 60.0);
            closed += last.iter().flat_map(|window| &window.series).map(|(_, set)| set.count()).sum::<u64>();
            prop_assert_eq!(taken, closed);
        }
    }
}
