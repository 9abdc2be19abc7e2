//! What can be said of a reading that does not come back.

use std::sync::{Arc, Mutex, PoisonError};

use crate::sample::Sample;

/// Shared between a collector, which notes before each call that can hang what would be true if it did, and the
/// watchdog, which shows it when it does.
#[derive(Clone, Debug, Default)]
pub struct Pending(Arc<Mutex<Option<Sample>>>);

impl Pending {
    /// Notes what is true while the next call hangs; `None` for nothing.
    pub fn set(&self, sample: Option<Sample>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = sample;
    }

    /// What is true if the present call hangs.
    pub fn get(&self) -> Option<Sample> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
