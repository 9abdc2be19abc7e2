//! When a tick is due, and what to make of one that came.
//!
//! Ticks follow the monotonic clock, one interval apart, half an interval off the wall clock's boundaries: so every
//! clock-aligned window holds the same number of them, and none falls on an edge. As the two clocks never run quite
//! alike, each step may differ from the interval by up to a fiftieth to stay there; samples are means over their true
//! interval, so none is wrong by it.

use std::time::Duration;

/// The clocks of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Now {
    /// The monotonic clock, since some fixed start. It stands still in a suspend.
    pub mono: Duration,
    /// The wall clock, since the Unix epoch.
    pub wall: Duration,
    /// Time spent suspended since that start.
    pub asleep: Duration,
}

/// What to make of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// How many ticks were due before it and did not come.
    pub missed: u64,
    /// Whether the interval that ends here is one that a sample can stand for: no suspend, no long stall.
    pub keep: bool,
    /// Whether the wall clock was set in the interval.
    pub clock_jumped: bool,
}

/// The longest true interval of a sample: three ticks, one second at least.
fn longest(interval: Duration) -> Duration {
    (3 * interval).max(Duration::from_secs(1))
}

#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    interval: Duration,
    next: Duration,
    last: Now,
}

impl Schedule {
    /// A schedule from the base reading at `now` on. The first tick is due half an interval later at least, so that the
    /// first sample has something to be a mean of.
    pub(crate) fn new(interval: Duration, now: Now) -> Self {
        let ahead = signed(interval) / 2 - phase(now.wall, interval);
        let ahead = if ahead < signed(interval) / 2 { ahead + signed(interval) } else { ahead };
        Self { interval, next: now.mono + unsigned(ahead), last: now }
    }

    /// When the next tick is due, on the monotonic clock.
    pub(crate) fn next(&self) -> Duration {
        self.next
    }

    /// Judges the tick that began at `now` and sets the next one.
    pub(crate) fn tick(&mut self, now: Now) -> Verdict {
        let Self { interval, last, .. } = *self;
        let elapsed = now.mono.saturating_sub(last.mono);
        let asleep = now.asleep.saturating_sub(last.asleep);
        let wall = signed(now.wall) - signed(last.wall);
        let verdict = Verdict {
            missed: (now.mono.saturating_sub(self.next).as_nanos() / interval.as_nanos()) as u64,
            keep: elapsed <= longest(interval) && asleep < interval / 2,
            clock_jumped: (wall - signed(elapsed + asleep)).unsigned_abs() > interval.as_nanos() / 2,
        };
        // Where the wall clock stands, or stood, when this tick was due; a missed tick more or less does not change the
        // phase.
        let due = signed(now.wall) - (signed(now.mono) - signed(self.next));
        let error = due.rem_euclid(signed(interval)) - signed(interval) / 2;
        let most = signed(interval) / 50;
        let step = signed(interval) * (i128::from(verdict.missed) + 1) - error.clamp(-most, most);
        self.next += unsigned(step);
        self.last = now;
        verdict
    }
}

fn phase(wall: Duration, interval: Duration) -> i128 {
    signed(wall).rem_euclid(signed(interval))
}

fn signed(time: Duration) -> i128 {
    time.as_nanos() as i128
}

fn unsigned(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn now(seconds: f64) -> Now {
        Now {
            mono: Duration::from_secs_f64(seconds),
            wall: Duration::from_secs_f64(1000.0 + seconds),
            asleep: Duration::ZERO,
        }
    }

    /// A schedule that has run smoothly for a while, and the moment when its next tick is due.
    fn running() -> (Schedule, Now) {
        let mut schedule = Schedule::new(SECOND, now(0.0));
        for _ in 0..10 {
            let due = now(schedule.next().as_secs_f64());
            assert_eq!(schedule.tick(due), Verdict { missed: 0, keep: true, clock_jumped: false });
        }
        let due = now(schedule.next().as_secs_f64());
        (schedule, due)
    }

    #[test]
    fn ticks_lie_half_an_interval_off_the_boundaries() {
        let (_, due) = running();
        assert_eq!(due.wall.subsec_millis(), 500);
    }

    #[test]
    fn a_late_tick_is_not_caught_up_but_counted() {
        let (mut schedule, mut due) = running();
        due.mono += Duration::from_millis(2300);
        due.wall += Duration::from_millis(2300);
        assert_eq!(schedule.tick(due), Verdict { missed: 2, keep: false, clock_jumped: false });
        let ahead = schedule.next() - due.mono;
        assert!((Duration::from_millis(690)..Duration::from_millis(710)).contains(&ahead), "{ahead:?}");
    }

    #[test]
    fn a_loaded_machine_keeps_its_samples() {
        let (mut schedule, mut due) = running();
        due.mono += Duration::from_millis(1400);
        due.wall += Duration::from_millis(1400);
        assert_eq!(schedule.tick(due), Verdict { missed: 1, keep: true, clock_jumped: false });
    }

    #[test]
    fn a_suspend_gives_an_absent_sample_and_is_no_clock_jump() {
        let (mut schedule, mut due) = running();
        due.wall += 3600 * SECOND;
        due.asleep += 3600 * SECOND;
        assert_eq!(schedule.tick(due), Verdict { missed: 0, keep: false, clock_jumped: false });
        due = Now { mono: schedule.next(), wall: due.wall + SECOND, ..due };
        assert!(schedule.tick(due).keep, "the next one is good again");
    }

    #[test]
    fn a_clock_that_is_set_costs_no_sample() {
        for jump in [86_400.0, -86_400.0, 0.6, -0.6] {
            let (mut schedule, due) = running();
            let wall = Duration::from_secs_f64(due.wall.as_secs_f64() + 100_000.0 + jump);
            let before = Now { wall: schedule.last.wall + Duration::from_secs(100_000), ..schedule.last };
            schedule.last = before;
            assert_eq!(
                schedule.tick(Now { wall, ..due }),
                Verdict { missed: 0, keep: true, clock_jumped: true },
                "{jump}"
            );
        }
    }

    proptest! {
        // For all starts and intervals: the first tick is half to one and a half intervals away, at the phase.
        #[test]
        fn the_first_tick(wall in 0..10_000_000_000u64, interval in 100..60_000u64) {
            let (wall, interval) = (Duration::from_micros(wall), Duration::from_millis(interval));
            let schedule = Schedule::new(interval, Now { wall, ..Now::default() });
            let ahead = schedule.next();
            prop_assert!(ahead >= interval / 2 && ahead <= interval * 3 / 2);
            prop_assert_eq!(phase(wall + ahead, interval), signed(interval) / 2);
        }

        // For all rates of the wall clock up to a thousandth and all small delays: ticks keep their phase, so that none
        // is near an edge.
        #[test]
        fn ticks_stay_in_phase(ppm in -1000..1000i64, delays in proptest::collection::vec(0..100u64, 300)) {
            let mut schedule = Schedule::new(SECOND, now(0.0));
            for delay in delays {
                let mono = schedule.next() + Duration::from_millis(delay);
                let wall = Duration::from_secs_f64(1000.0 + mono.as_secs_f64() * (1.0 + ppm as f64 * 1e-6));
                let verdict = schedule.tick(Now { mono, wall, asleep: Duration::ZERO });
                prop_assert_eq!(verdict, Verdict { missed: 0, keep: true, clock_jumped: false });
                let due = (wall - Duration::from_millis(delay)).subsec_millis();
                prop_assert!((490..510).contains(&due), "due at {due} ms of the second");
            }
        }
    }
}
