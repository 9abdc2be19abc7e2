//! How many requests are answered: a bucket of tokens, of which one comes back at each interval.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// `rate_limit` of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub interval: Duration,
    /// At least 1.
    pub burst: u32,
}

/// When the bucket will be full again.
#[derive(Debug, Default)]
pub(super) struct Bucket(Mutex<Option<Instant>>);

impl Bucket {
    /// Takes a token, if there is one.
    pub(super) fn take(&self, rate: Rate, now: Instant) -> bool {
        let mut full = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let later = full.filter(|full| *full > now).unwrap_or(now) + rate.interval;
        // A bucket of `burst` tokens takes so many intervals to fill.
        let allowed = later.saturating_duration_since(now) <= rate.interval.saturating_mul(rate.burst);
        if allowed {
            *full = Some(later);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        // In any time no more requests than a burst and one for each interval of it; and those who keep to the
        // interval are always answered.
        #[test]
        fn never_more_than_the_burst_and_one_for_each_interval(
            burst in 1u32..5,
            gaps in proptest::collection::vec(0u64..300, 1..60),
        ) {
            let rate = Rate { interval: Duration::from_millis(100), burst };
            let (bucket, start) = (Bucket::default(), Instant::now());
            let (mut now, mut taken) = (start, 0);
            for gap in gaps {
                now += Duration::from_millis(gap);
                taken += u64::from(bucket.take(rate, now));
                let most = u64::from(burst) + (now - start).as_millis() as u64 / 100;
                proptest::prop_assert!(taken <= most, "{taken} of {most}");
            }
            for _ in 0..10 {
                now += rate.interval;
                proptest::prop_assert!(bucket.take(rate, now));
            }
        }
    }
}
