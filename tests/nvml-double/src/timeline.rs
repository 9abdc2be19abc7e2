//! How busy a GPU was, at any time: the one function that ring, snapshot, GPM, energy and link counters are read from,
//! so that they agree with each other as they would on one real GPU.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::scenario::{Load, Power};

/// Microseconds since 1970, as NVML stamps its samples.
pub(crate) type Micros = u64;

/// How many changes of load are remembered one by one; those before are kept as a sum only.
const REMEMBERED: usize = 512;

/// Now. It starts at the wall clock and goes on with the monotonic one, because a driver's time stamps never go back.
pub(crate) fn now() -> Micros {
    static START: OnceLock<(Instant, Micros)> = OnceLock::new();
    let (start, wall) = START.get_or_init(|| {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (Instant::now(), wall.as_micros() as Micros)
    });
    wall + start.elapsed().as_micros() as Micros
}

impl Load {
    /// Busy microseconds between two times. A cycle's busy part comes first, and cycles are counted from 1970, so that
    /// two processes see the same.
    pub(crate) fn busy(&self, from: Micros, to: Micros) -> f64 {
        match self {
            Self::Percent(percent) => to.saturating_sub(from) as f64 * percent / 100.0,
            Self::Cycle(cycle) => {
                let period = ((cycle.period_s * 1e6).round() as Micros).max(1);
                let on = (cycle.share * period as f64).round() as Micros;
                let until = |t: Micros| t / period * on + (t % period).min(on);
                until(to.max(from)).saturating_sub(until(from)) as f64
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Segment {
    from: Micros,
    load: Load,
    power: Power,
}

impl Segment {
    fn energy_mj(&self, from: Micros, to: Micros) -> f64 {
        let idle = to.saturating_sub(from) as f64 * self.power.idle_w;
        (idle + self.load.busy(from, to) * (self.power.peak_w - self.power.idle_w)) / 1000.0
    }
}

/// The load of one GPU or MIG instance as it changed from reading to reading of the scenario.
#[derive(Debug)]
pub(crate) struct Timeline {
    origin: Micros,
    segments: Vec<Segment>,
    /// Of the segments that are no longer remembered.
    past_busy: f64,
    past_energy_mj: f64,
}

impl Timeline {
    pub(crate) fn new(now: Micros, load: Load, power: Power) -> Self {
        let segments = vec![Segment { from: now, load, power }];
        Self { origin: now, segments, past_busy: 0.0, past_energy_mj: 0.0 }
    }

    /// From `now` on it is so.
    pub(crate) fn change(&mut self, now: Micros, load: Load, power: Power) {
        let new = Segment { from: now, load, power };
        if self.segments.last().is_some_and(|last| Segment { from: now, ..*last } == new) {
            return;
        }
        self.segments.push(new);
        if self.segments.len() > REMEMBERED {
            let oldest = self.segments.remove(0);
            let until = self.segments.first().map_or(now, |next| next.from);
            self.past_busy += oldest.load.busy(oldest.from, until);
            self.past_energy_mj += oldest.energy_mj(oldest.from, until);
        }
    }

    /// The part of an interval that was busy, 0..=1. Before the first reading it was as it was then.
    pub(crate) fn share(&self, from: Micros, to: Micros) -> f64 {
        if to <= from {
            return 0.0;
        }
        self.over(from, to, |segment, from, to| segment.load.busy(from, to)) / (to - from) as f64
    }

    /// Busy seconds from the first reading to `now`: the counter behind GPM and the links.
    pub(crate) fn busy_seconds(&self, now: Micros) -> f64 {
        (self.past_busy + self.over(self.remembered(), now, |segment, from, to| segment.load.busy(from, to))) / 1e6
    }

    /// Millijoules from the first reading to `now`.
    pub(crate) fn energy_mj(&self, now: Micros) -> f64 {
        self.past_energy_mj + self.over(self.remembered(), now, Segment::energy_mj)
    }

    fn remembered(&self) -> Micros {
        self.segments.first().map_or(self.origin, |first| first.from)
    }

    fn over(&self, from: Micros, to: Micros, of: impl Fn(&Segment, Micros, Micros) -> f64) -> f64 {
        let part = |(index, segment): (usize, &Segment)| {
            let start = if index == 0 { from } else { segment.from.max(from) };
            let end = self.segments.get(index + 1).map_or(to, |next| next.from.min(to));
            if end > start { of(segment, start, end) } else { 0.0 }
        };
        self.segments.iter().enumerate().map(part).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::DutyCycle;

    const POWER: Power = Power { idle_w: 100.0, peak_w: 300.0, limit_w: 700.0 };

    fn cycle(share: f64, period_s: f64) -> Load {
        Load::Cycle(DutyCycle { share, period_s })
    }

    #[test]
    fn a_cycle_is_busy_for_its_share_first() {
        let load = cycle(0.3, 1.0);
        assert_eq!(load.busy(0, 1_000_000), 300_000.0);
        assert_eq!(load.busy(200_000, 400_000), 100_000.0);
        assert_eq!(load.busy(300_000, 1_000_000), 0.0);
        assert_eq!(load.busy(900_000, 2_100_000), 400_000.0);
    }

    #[test]
    fn a_change_counts_from_its_time_on() {
        let mut timeline = Timeline::new(1_000_000, Load::Percent(100.0), POWER);
        timeline.change(3_000_000, Load::Percent(0.0), POWER);
        assert_eq!(timeline.busy_seconds(5_000_000), 2.0);
        assert_eq!(timeline.share(2_000_000, 4_000_000), 0.5);
        assert_eq!(timeline.share(0, 1_000_000), 1.0, "before the first reading it was as then");
        assert_eq!(timeline.energy_mj(5_000_000), (2.0 * 300.0 + 2.0 * 100.0) * 1000.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Whatever changes when, and however much of it is forgotten, the counter is the sum of its parts and never
        /// goes back.
        #[test]
        fn the_counter_is_the_sum_of_its_parts(
            steps in proptest::collection::vec((1u64..2_000_000, 0.0..=100.0f64), 1..1200),
        ) {
            let start = 5_000_000;
            let (mut now, mut expected) = (start, 0.0);
            let mut timeline = Timeline::new(start, Load::Percent(0.0), POWER);
            let (mut load, mut last) = (0.0, 0.0);
            for (step, percent) in steps {
                expected += step as f64 * load / 100.0;
                now += step;
                load = percent;
                timeline.change(now, Load::Percent(load), POWER);
                let counter = timeline.busy_seconds(now);
                prop_assert!(counter >= last - 1e-9);
                last = counter;
            }
            prop_assert!((timeline.busy_seconds(now) - expected / 1e6).abs() < 1e-6);
            prop_assert!(timeline.segments.len() <= REMEMBERED);
        }

        /// The mean of a cycle over any number of whole periods is its share, wherever it begins.
        #[test]
        fn whole_periods_have_the_share(from in 0u64..10_000_000, periods in 1u64..50, permille in 0u32..=1000) {
            let load = cycle(f64::from(permille) / 1000.0, 0.7);
            let busy = load.busy(from, from + periods * 700_000);
            prop_assert_eq!(busy, periods as f64 * 700.0 * f64::from(permille));
        }
    }
}
