//! When to ask again what a good GPU refused: most refusals are for ever, and a call to the driver is not free.

use std::time::{Duration, Instant};

use super::state::{FIRST_WAIT, LONGEST_WAIT};

/// One question's patience: refused in a row, it is asked ever more seldom, from [`FIRST_WAIT`] to [`LONGEST_WAIT`].
#[derive(Debug, Default)]
pub(super) struct Backoff {
    refusals: u32,
    until: Option<Instant>,
}

impl Backoff {
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    pub(super) fn refused(&mut self, now: Instant) {
        let wait: Duration = FIRST_WAIT.saturating_mul(1 << self.refusals.min(16)).min(LONGEST_WAIT);
        self.refusals = self.refusals.saturating_add(1);
        self.until = now.checked_add(wait);
    }

    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_always_refused_is_asked_once_a_minute_and_what_passes_is_back_soon() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        let mut asked = Vec::new();
        for tenth in 0..6000 {
            let now = start + Duration::from_millis(100) * tenth;
            if backoff.is_due(now) {
                asked.push(tenth / 10);
                backoff.refused(now);
            }
        }
        assert_eq!(asked, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363, 423, 483, 543]);
        backoff.answered();
        assert!(backoff.is_due(start));
        backoff.refused(start);
        assert!(!backoff.is_due(start) && backoff.is_due(start + FIRST_WAIT));
    }
}
