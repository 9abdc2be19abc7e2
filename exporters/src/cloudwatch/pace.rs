//! The pace of requests: when the next one may go.
//!
//! Two things slow it down. A throttled request halves the rate, and each accepted one adds a little to it (additive
//! increase, multiplicative decrease), so that many hosts share an account's quota. A service that cannot be reached is
//! asked again after a delay that grows with every failure, with jitter, so that hosts do not come back together; after
//! a few failures in a row the circuit is open, and only a small probe goes.

use std::time::Duration;

use tokio::time::Instant;

/// Requests a second when all is well: what a backlog drains with.
const FASTEST: f64 = 10.0;
const SLOWEST: f64 = 1.0 / 60.0;
/// What one accepted request adds to the rate.
const STEP: f64 = 0.25;
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A hint of the service is followed up to here: a proxy that says "tomorrow" does not know our bounds.
const LONGEST_HINT: Duration = Duration::from_secs(300);
/// Failures in a row that open the circuit.
const OPENS_AFTER: u32 = 3;

/// When requests may go.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Requests a second.
    rate: f64,
    failures: u32,
    not_before: Instant,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { rate: FASTEST, failures: 0, not_before: Instant::now() }
    }

    /// The earliest time of the next request.
    pub(crate) fn not_before(&self) -> Instant {
        self.not_before
    }

    /// Whether the circuit is open: nothing but a small probe should go.
    pub(crate) fn is_open(&self) -> bool {
        self.failures >= OPENS_AFTER
    }

    /// Whether the last request was answered.
    pub(crate) fn is_healthy(&self) -> bool {
        self.failures == 0
    }

    pub(crate) fn accepted(&mut self) {
        self.failures = 0;
        self.rate = (self.rate + STEP).min(FASTEST);
        self.not_before = Instant::now() + Duration::from_secs_f64(1.0 / self.rate);
    }

    /// The service is there, and wants fewer requests.
    pub(crate) fn throttled(&mut self, hint: Option<Duration>) {
        self.failures = 0;
        self.rate = (self.rate / 2.0).clamp(SLOWEST, FASTEST / 2.0);
        let gap = Duration::from_secs_f64(1.0 / self.rate).max(FIRST_DELAY);
        self.wait(gap.mul_f64(0.5 + fastrand::f64()), hint);
    }

    /// No answer, or none that is the service's; or one that refuses who we are.
    pub(crate) fn failed(&mut self, hint: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        let most = FIRST_DELAY.saturating_mul(1 << self.failures.min(16)).min(LONGEST_DELAY);
        // Never less than half: a mean of three quarters of the most, and no two hosts alike.
        self.wait(most.mul_f64(0.5 + fastrand::f64() / 2.0), hint);
    }

    fn wait(&mut self, delay: Duration, hint: Option<Duration>) {
        self.not_before = Instant::now() + delay.max(hint.unwrap_or_default().min(LONGEST_HINT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay(pace: &Pace) -> f64 {
        pace.not_before().saturating_duration_since(Instant::now()).as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_up_to_a_minute_and_open_the_circuit() {
        let mut pace = Pace::new();
        for (failure, most) in [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0].into_iter().enumerate() {
            assert_eq!(pace.is_open(), failure >= 3);
            pace.failed(None);
            let delay = delay(&pace);
            assert!((most / 2.0..=most).contains(&delay), "failure {failure}: {delay}");
        }
        pace.accepted();
        assert!(!pace.is_open() && delay(&pace) <= 0.1);
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_halves_the_rate_and_success_brings_it_back_slowly() {
        let mut pace = Pace::new();
        (0..20).for_each(|_| pace.throttled(None));
        assert!((30.0..=90.0).contains(&delay(&pace)), "{}", delay(&pace));
        let mut successes = 0;
        while delay(&pace) > 0.11 {
            pace.accepted();
            successes += 1;
        }
        assert!((30..=40).contains(&successes), "{successes}");
    }

    #[tokio::test(start_paused = true)]
    async fn hints_are_followed_within_reason() {
        let mut pace = Pace::new();
        pace.throttled(Some(Duration::from_secs(90)));
        assert_eq!(delay(&pace), 90.0);
        pace.failed(Some(Duration::from_secs(86_400)));
        assert_eq!(delay(&pace), 300.0);
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_do_not_come_back_together() {
        let delays: Vec<u64> = (0..100)
            .map(|_| {
                let mut pace = Pace::new();
                (0..6).for_each(|_| pace.failed(None));
                delay(&pace) as u64
            })
            .collect();
        let most = (30..60).map(|second| delays.iter().filter(|delay| **delay == second).count()).max();
        assert!(most < Some(20), "{delays:?}");
    }
}
