//! What a collector is.

use std::time::Duration;

use crate::error::CollectError;
use crate::pending::Pending;
use crate::sample::Sample;

/// Reads one subject. Implementations keep the reading before and return differences as means over the true interval.
pub trait Collector: Send {
    /// The value of the label `collector` in the health series: one lower-case word.
    fn name(&self) -> &'static str;

    /// Whether a call can hang in the kernel or a driver. Such a collector gets a thread of its own, so that a wedged
    /// call stops no other series.
    fn may_block(&self) -> bool {
        false
    }

    /// How long there is nothing to ask, as after a reading that found no device. Until then a collector with a thread
    /// of its own is left alone, and has no health series. `None` while there is.
    fn rest(&self) -> Option<Duration> {
        None
    }

    /// How often [`keep_up`](Self::keep_up) must run between readings that are further apart, because the source
    /// forgets what is not read in time. `None` where nothing is forgotten.
    fn forgets_after(&self) -> Option<Duration> {
        None
    }

    /// Reads what the source would forget before the next reading, and keeps it for that.
    fn keep_up(&mut self) {}

    /// What is true while a reading does not come back. The watchdog shows it in place of the reading's samples.
    fn pending(&self) -> Option<Pending> {
        None
    }

    /// Appends one sample for every value that this reading knows. `out` is the caller's reused buffer.
    ///
    /// # Errors
    ///
    /// What could not be read, and why. Samples already in `out` stay good: one lost device never costs the others.
    fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError>;
}
