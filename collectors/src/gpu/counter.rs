//! A counter of the driver as one of ours, that never falls.

use std::time::{Duration, Instant};

/// No driver has counted so far: garbage. In nanoseconds it is 36 years.
const MOST: u64 = 1 << 60;
/// How much later than it happened something may be counted: not every counter moves all the time.
const LATE: Duration = Duration::from_secs(10);

/// Begins at the driver's figure and grows as it does.
///
/// - The driver's figure begins anew when the driver is loaded again or the GPU is reset; ours goes on from where it
///   was. What was counted between the last reading and the first of the new count is missing.
/// - **A surprise is believed when a second reading goes on from it**, and is no sample until then: a figure that fell,
///   or grew faster than it can, is as likely to be garbage as a new count.
#[derive(Debug)]
pub(super) struct Counter {
    /// The most that it can grow in a second.
    fastest: u64,
    total: u64,
    last: Option<Figure>,
    doubted: Option<Figure>,
}

/// What the driver said, and when.
#[derive(Clone, Copy, Debug)]
struct Figure {
    value: u64,
    read: Instant,
}

impl Counter {
    pub(super) fn new(fastest: u64) -> Self {
        Self { fastest, total: 0, last: None, doubted: None }
    }

    /// Takes in the driver's figure, and gives ours; `None` while the driver's is not believed.
    pub(super) fn follow(&mut self, value: u64, now: Instant) -> Option<u64> {
        let figure = Figure { value, read: now };
        let grown = match self.last {
            None => (value < MOST).then_some(value),
            Some(last) => self.growth(last, figure).or_else(|| self.growth(self.doubted?, figure)),
        };
        let Some(grown) = grown else {
            self.doubted = (value < MOST).then_some(figure);
            return None;
        };
        self.total = self.total.saturating_add(grown);
        (self.last, self.doubted) = (Some(figure), None);
        Some(self.total)
    }

    /// By how much the driver counted on, if it can have.
    fn growth(&self, before: Figure, now: Figure) -> Option<u64> {
        let grown = now.value.checked_sub(before.value)?;
        let elapsed = now.read.saturating_duration_since(before.read) + LATE;
        (grown as f64 <= self.fastest as f64 * elapsed.as_secs_f64()).then_some(grown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FASTEST: u64 = 1000;

    fn follow_all(figures: &[(u64, u64)]) -> Vec<Option<u64>> {
        let mut counter = Counter::new(FASTEST);
        let mut now = Instant::now();
        let mut follow = |(seconds, value): &(u64, u64)| {
            now += Duration::from_secs(*seconds);
            counter.follow(*value, now)
        };
        figures.iter().map(&mut follow).collect()
    }

    #[test]
    fn a_new_count_goes_on_from_the_old_one() {
        let counted = follow_all(&[(1, 500_000), (1, 501_000), (1, 20), (1, 30), (100, 90_030), (1, 90_031)]);
        let expected = [Some(500_000), Some(501_000), None, Some(501_010), Some(591_010), Some(591_011)];
        assert_eq!(counted, expected);
    }

    #[test]
    fn garbage_costs_its_own_sample() {
        for garbage in [0, 7, 1_000_000_000, u64::from(u32::MAX), MOST, u64::MAX] {
            let counted = follow_all(&[(1, 500_000), (1, garbage), (1, 500_002), (1, 500_003)]);
            assert_eq!(counted, [Some(500_000), None, Some(500_002), Some(500_003)], "{garbage}");
        }
        assert_eq!(follow_all(&[(1, u64::MAX), (1, 5), (1, 6)]), [None, Some(5), Some(6)], "also at first");
    }

    proptest! {
        // Whatever a driver says and whenever it is asked: ours never falls, and never grows faster than it can.
        #[test]
        fn ours_never_falls_and_never_leaps(figures in prop::collection::vec((0..200u64, prop_oneof![
            any::<u64>(), 0..100_000u64, Just(u64::MAX), Just(u64::from(u32::MAX)), Just(0),
        ]), 1..60)) {
            let mut counter = Counter::new(FASTEST);
            let mut now = Instant::now();
            let mut before: Option<(u64, Instant)> = None;
            for (seconds, value) in figures {
                now += Duration::from_secs(seconds);
                let Some(total) = counter.follow(value, now) else { continue };
                prop_assert!(total < MOST * 2);
                if let Some((last, then)) = before {
                    let most = FASTEST * (now.saturating_duration_since(then) + LATE).as_secs();
                    prop_assert!(last <= total && total - last <= most, "{last} {total}");
                }
                before = Some((total, now));
            }
        }

        // A driver that counts on, whose figure is now and then not there or garbage, though not twice in a row: ours
        // is exact wherever it is known. With restarts in between, ours is never more than what happened.
        #[test]
        fn ours_is_what_happened(
            steps in prop::collection::vec((1..100u64, 0..FASTEST, 0..8u8, any::<prop::sample::Index>()), 2..80),
            restarts in any::<bool>(),
        ) {
            // Further from any figure of the test than it can have grown.
            let garbage = [u64::MAX, MOST, MOST - 1, u64::from(u32::MAX), 0];
            let start = 1_000_000;
            let mut counter = Counter::new(FASTEST);
            let mut now = Instant::now();
            let (mut truth, mut figure) = (start, start);
            prop_assert_eq!(counter.follow(figure, now), Some(start));
            let mut was_good = true;
            for (seconds, rate, fate, which) in steps {
                now += Duration::from_secs(seconds);
                truth += rate * seconds;
                figure += rate * seconds;
                match fate {
                    0 => {}
                    1 if was_good => {
                        let total = counter.follow(garbage[which.index(garbage.len())], now);
                        // Just after a restart, 0 is what a good driver says.
                        prop_assert!(total.is_none() || restarts);
                        was_good = false;
                    }
                    2 if restarts => figure = 0,
                    _ => {
                        let total = counter.follow(figure, now);
                        if restarts {
                            prop_assert!(total.is_none_or(|total| total <= truth), "{:?} of {}", total, truth);
                        } else {
                            prop_assert_eq!(total, Some(truth));
                        }
                        was_good = true;
                    }
                }
            }
        }
    }
}
