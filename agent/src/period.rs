//! Periods of published data.

use std::ops::RangeInclusive;
use std::time::Duration;

/// In seconds.
const PERIODS: RangeInclusive<u64> = 1..=300;

/// Whether a datum can stand for so long: whole seconds up to five minutes that divide a minute or are whole minutes, so
/// that periods have edges in common with CloudWatch's minutes.
pub(crate) fn is_period(period: Duration) -> bool {
    let seconds = period.as_secs();
    let has_common_edges = seconds > 0 && (60 % seconds == 0 || seconds.is_multiple_of(60));
    has_common_edges && PERIODS.contains(&seconds) && period.subsec_nanos() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_and_minutes_have_common_edges() {
        for seconds in [1, 2, 5, 10, 12, 15, 20, 30, 60, 120, 180, 240, 300] {
            assert!(is_period(Duration::from_secs(seconds)), "{seconds}");
        }
        for seconds in [0.0, 0.1, 1.5, 7.0, 45.0, 90.0, 360.0] {
            assert!(!is_period(Duration::from_secs_f64(seconds)), "{seconds}");
        }
    }
}
