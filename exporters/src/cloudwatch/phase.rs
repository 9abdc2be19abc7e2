//! The phase: when in a period a host sends, so that a fleet does not send at once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// How long after a period's end this host sends: the same at each period, evenly spread over hosts.
pub(crate) fn phase(host: &str, spread: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    host.hash(&mut hasher);
    // 53 bits: what an f64 holds exactly, so the share stays below 1.
    let share = (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64;
    spread.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_spreads_over_the_period() {
        for (spread, form) in [(60, "job/algo-"), (60, "endpoint/AllTraffic/i-0"), (300, "ip-10-0-0-"), (10, "host")] {
            let mut seconds = vec![0u32; spread as usize];
            for host in 0..10_000 {
                let phase = phase(&format!("{form}{host}"), Duration::from_secs(spread));
                seconds[phase.as_secs() as usize] += 1;
            }
            let mean = 10_000.0 / spread as f64;
            let most = seconds.iter().max().copied().unwrap_or_default();
            // Over five minutes the mean is 33 a second, and the fullest of 300 is a little further off by chance.
            let bound = if spread > 60 { 1.75 } else { 1.5 };
            assert!(f64::from(most) <= bound * mean, "{form} over {spread} s: {most} against {mean}");
        }
    }

    #[test]
    fn a_host_keeps_its_phase() {
        let minute = Duration::from_secs(60);
        assert_eq!(phase("a", minute), phase("a", minute));
        assert_ne!(phase("a", minute), phase("b", minute));
    }
}
