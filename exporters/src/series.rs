//! One series of the window stage, between two closes of each period.
//!
//! - A gauge's or histogram's period is the bag of its writes that are finite: writes commute, and what a period closed
//!   is not in the next. A gauge's last value outlives the close, since increments build on it.
//! - A counter's period has one value, its increase since the close before: 0 if there was none. Increments commute.
//!   An absolute value only ever lifts the total; the very first act, if absolute, is where counting begins.
//! - A cumulative gauge's period has one value, its last write less the last write of the period before, so only the
//!   last write of each period counts. It is absent where one of the two is not known, or where it fell, which means
//!   that its source began anew.
//!
//! Periods do not see one another: closing one leaves the others as they are.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use metrics::{CounterFn, GaugeFn, HistogramFn};

use crate::distribution::{Distribution, Scale};
use crate::statistics::StatisticSet;
use crate::windows::{Keep, Kind};

/// What a period held.
pub(crate) type Closed = (StatisticSet, Vec<(f64, u64)>);

/// One series of every period.
#[derive(Debug)]
pub(crate) struct Series(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Since [`Series::rest`] was last asked.
    written: bool,
    measure: Measure,
}

/// The boxes have a place for each period.
#[derive(Debug)]
enum Measure {
    Samples { last: f64, bags: Box<[Bag]> },
    Counter { total: u64, begun: bool, bases: Box<[u64]> },
    Cumulative { last: f64, spans: Box<[Span]> },
}

/// A period's samples.
#[derive(Debug)]
enum Bag {
    Statistics(StatisticSet),
    Values(Box<Distribution>),
}

/// The last writes of two periods; NaN where there was none.
#[derive(Clone, Copy, Debug)]
struct Span {
    before: f64,
    now: f64,
}

impl Series {
    /// One of a kind, for periods of which so much is kept.
    pub(crate) fn new(kind: Kind, cumulative: bool, kept: &[Keep]) -> Self {
        let samples =
            |scale| Measure::Samples { last: 0.0, bags: kept.iter().map(|keep| Bag::new(*keep, scale)).collect() };
        let measure = match kind {
            Kind::Counter => Measure::Counter { total: 0, begun: false, bases: vec![0; kept.len()].into() },
            Kind::Gauge if cumulative => {
                let unknown = Span { before: f64::NAN, now: f64::NAN };
                Measure::Cumulative { last: 0.0, spans: vec![unknown; kept.len()].into() }
            }
            Kind::Gauge => samples(Scale::Linear),
            Kind::Histogram => samples(Scale::Logarithmic),
        };
        Self(Mutex::new(State { written: false, measure }))
    }

    /// What the period in this place held, which begins anew; `None` if nothing. `follows` says whether the period to
    /// come is the next one.
    pub(crate) fn close(&self, place: usize, keep: Keep, follows: bool) -> Option<Closed> {
        match &mut self.lock().measure {
            Measure::Samples { bags, .. } => bags[place].take(),
            Measure::Counter { total, bases, .. } => {
                let increase = total.saturating_sub(mem::replace(&mut bases[place], *total));
                Some(one(increase as f64, keep))
            }
            Measure::Cumulative { spans, .. } => {
                let Span { before, now } = spans[place];
                spans[place] = Span { before: if follows { now } else { f64::NAN }, now: f64::NAN };
                // Not so if one of them is NaN.
                (now >= before).then(|| one(now - before, keep))
            }
        }
    }

    /// Whether nothing was written since this was last asked, and no period holds a sample. Asked once nobody can write
    /// any more, but through a new handle.
    pub(crate) fn rest(&self) -> bool {
        let mut state = self.lock();
        let empty = match &state.measure {
            Measure::Samples { bags, .. } => bags.iter().all(Bag::is_empty),
            Measure::Counter { .. } | Measure::Cumulative { .. } => true,
        };
        !mem::take(&mut state.written) && empty
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, value: impl FnOnce(f64) -> f64) {
        let mut state = self.lock();
        state.written = true;
        match &mut state.measure {
            Measure::Samples { last, bags } => {
                let value = value(*last);
                *last = known(value);
                bags.iter_mut().for_each(|bag| bag.record(value));
            }
            Measure::Cumulative { last, spans } => {
                let value = value(*last);
                *last = known(value);
                spans.iter_mut().for_each(|span| span.now = if value.is_finite() { value } else { f64::NAN });
            }
            Measure::Counter { .. } => {}
        }
    }

    fn count(&self, absolute: bool, value: u64) {
        let mut state = self.lock();
        state.written = true;
        let Measure::Counter { total, begun, bases } = &mut state.measure else { return };
        match absolute {
            true if !*begun => {
                *total = value;
                bases.fill(value);
            }
            true => *total = (*total).max(value),
            false => *total = total.saturating_add(value),
        }
        *begun = true;
    }
}

/// A gauge that was absent starts from zero again when it is only incremented.
fn known(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

fn one(value: f64, keep: Keep) -> Closed {
    let mut statistics = StatisticSet::default();
    statistics.record(value);
    let values = match keep {
        Keep::Statistics => Vec::new(),
        Keep::Values => vec![(value, 1)],
    };
    (statistics, values)
}

impl Bag {
    fn new(keep: Keep, scale: Scale) -> Self {
        match keep {
            Keep::Statistics => Self::Statistics(StatisticSet::default()),
            Keep::Values => Self::Values(Box::new(Distribution::new(scale))),
        }
    }

    fn record(&mut self, value: f64) {
        match self {
            Self::Statistics(set) => set.record(value),
            Self::Values(distribution) => distribution.record(value),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Statistics(set) => set.count() == 0,
            Self::Values(distribution) => distribution.statistics().count() == 0,
        }
    }

    fn take(&mut self) -> Option<Closed> {
        let closed = match self {
            Self::Statistics(set) => (mem::take(set), Vec::new()),
            Self::Values(distribution) => {
                let successor = distribution.successor();
                mem::replace(&mut **distribution, successor).into_parts()
            }
        };
        (closed.0.count() > 0).then_some(closed)
    }
}

impl GaugeFn for Series {
    fn increment(&self, value: f64) {
        self.write(|last| last + value);
    }

    fn decrement(&self, value: f64) {
        self.write(|last| last - value);
    }

    fn set(&self, value: f64) {
        self.write(|_| value);
    }
}

impl CounterFn for Series {
    fn increment(&self, value: u64) {
        self.count(false, value);
    }

    fn absolute(&self, value: u64) {
        self.count(true, value);
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        self.write(|_| value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const BOTH: [Keep; 2] = [Keep::Statistics, Keep::Values];

    fn sum(closed: Option<Closed>) -> Option<f64> {
        closed.map(|(statistics, _)| statistics.sum())
    }

    fn increase(series: &Series) -> Option<f64> {
        sum(series.close(0, Keep::Values, true))
    }

    #[test]
    fn a_counter_that_rests_increases_by_zero() {
        let counter = Series::new(Kind::Counter, false, &BOTH);
        assert_eq!(counter.close(1, Keep::Values, true).map(|(_, values)| values), Some(vec![(0.0, 1)]));
        CounterFn::increment(&counter, 3);
        assert_eq!([increase(&counter), increase(&counter)], [Some(3.0), Some(0.0)]);
        assert_eq!(sum(counter.close(1, Keep::Values, true)), Some(3.0), "the other period has seen it too");
    }

    #[test]
    fn a_first_absolute_value_is_where_counting_begins() {
        let counter = Series::new(Kind::Counter, false, &BOTH);
        counter.absolute(1000);
        counter.absolute(1004);
        assert_eq!(increase(&counter), Some(4.0));
        let counter = Series::new(Kind::Counter, false, &BOTH);
        CounterFn::increment(&counter, 1);
        counter.absolute(5);
        assert_eq!(increase(&counter), Some(5.0), "an increment came first: it began at zero");
    }

    #[test]
    fn a_cumulative_gauge_is_absent_without_two_known_ends_or_after_a_fall() {
        let total = Series::new(Kind::Gauge, true, &BOTH);
        let period = |writes: &[f64], follows| {
            writes.iter().for_each(|value| total.set(*value));
            sum(total.close(0, Keep::Values, follows))
        };
        assert_eq!(period(&[1.5, 2.5], true), None, "no base yet");
        assert_eq!(period(&[3.0, 4.0], true), Some(1.5));
        assert_eq!(period(&[0.5], true), None, "a restart");
        assert_eq!(period(&[2.0], true), Some(1.5));
        assert_eq!(period(&[], true), None, "nothing was written");
        assert_eq!(period(&[9.0], true), None, "the base is not known");
        assert_eq!(period(&[9.5, f64::NAN], true), None, "absent at the end");
        assert_eq!(period(&[10.0], false), None);
        assert_eq!(period(&[11.0], true), None, "the period before was not the one before this");
        assert_eq!(period(&[11.0], true), Some(0.0));
    }

    #[test]
    fn a_series_rests_when_nothing_is_written_and_nothing_held() {
        for kind in [Kind::Gauge, Kind::Counter, Kind::Histogram] {
            let series = Series::new(kind, false, &BOTH);
            match kind {
                Kind::Counter => CounterFn::increment(&series, 1),
                _ => series.set(1.0),
            }
            assert!(!series.rest(), "written");
            assert_eq!(series.rest(), kind == Kind::Counter, "a bag still holds it");
            (0..2).for_each(|place| drop(series.close(place, BOTH[place], true)));
            assert!(series.rest());
        }
    }

    proptest! {
        // For all writes and orders: a period's bag is the same, in statistics alone as in statistics with values, and
        // the next period knows nothing of it.
        #[test]
        fn writes_of_a_bag_commute(mut writes in vec(0.0..100.0f64, 1..300), histogram: bool) {
            let kind = if histogram { Kind::Histogram } else { Kind::Gauge };
            let of = |writes: &[f64]| {
                let series = Series::new(kind, false, &BOTH);
                writes.iter().for_each(|value| series.set(*value));
                let closed = [0, 1].map(|place| series.close(place, BOTH[place], true).unwrap());
                assert!((0..2).all(|place| series.close(place, BOTH[place], true).is_none()));
                closed
            };
            let exact = |set: &StatisticSet| (set.count(), set.minimum(), set.maximum());
            let [(alone, none), (statistics, values)] = of(&writes);
            prop_assert_eq!((alone, none), (statistics, vec![]));
            prop_assert_eq!(statistics.count(), writes.len() as u64);
            writes.reverse();
            let [_, (backwards, same)] = of(&writes);
            prop_assert_eq!((exact(&backwards), same), (exact(&statistics), values));
        }

        // For all increments and closes: the increases of the periods add up to all increments, in whatever order they
        // came; closing one period leaves the other's increase as it is.
        #[test]
        fn increases_add_up(steps in vec((0..1000u64, any::<bool>()), 1..60)) {
            let counter = Series::new(Kind::Counter, false, &BOTH);
            let mut increases = 0.0;
            for (value, close) in &steps {
                CounterFn::increment(&counter, *value);
                increases += if *close { increase(&counter).unwrap() } else { 0.0 };
            }
            increases += increase(&counter).unwrap();
            let all = steps.iter().map(|(value, _)| *value).sum::<u64>() as f64;
            prop_assert_eq!((increases, sum(counter.close(1, Keep::Values, true))), (all, Some(all)));
        }

        // For all absolute values: the increase is from the first to the largest, in whatever order the rest came.
        #[test]
        fn absolute_values_lift(first in 0..1000u64, mut rest in vec(0..1000u64, 0..20)) {
            let of = |rest: &[u64]| {
                let counter = Series::new(Kind::Counter, false, &BOTH);
                counter.absolute(first);
                rest.iter().for_each(|value| counter.absolute(*value));
                increase(&counter)
            };
            let forwards = of(&rest);
            rest.reverse();
            prop_assert_eq!(of(&rest), forwards);
            let largest = rest.iter().copied().max().unwrap_or(first);
            prop_assert_eq!(forwards, Some(largest.saturating_sub(first) as f64));
        }

        // For all growing totals with a write in every period: the increases add up to the growth since the first
        // period, and only each period's last write counts.
        #[test]
        fn cumulative_increases_add_up(periods in vec(vec(0..1000u32, 1..5), 2..20)) {
            let total = Series::new(Kind::Gauge, true, &BOTH);
            let (mut now, mut ends) = (0.0, Vec::new());
            let mut increases = 0.0;
            for growth in periods {
                for step in growth {
                    now += f64::from(step) / 8.0; // eighths add up without rounding
                    total.set(now);
                }
                ends.push(now);
                let closed = increase(&total);
                prop_assert_eq!(closed.is_none(), ends.len() == 1);
                increases += closed.unwrap_or(0.0);
            }
            prop_assert_eq!(increases, now - ends[0]);
        }
    }
}
