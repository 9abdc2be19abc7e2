//! Letting the driver go while others need it for themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells the GPU collector to let NVIDIA's driver go, and when to take it up again. Clones are the same switch.
///
/// A program that holds the driver open keeps a GPU from being reset, taken out or put into MIG mode, and the driver
/// from being upgraded. In standby the library is shut down and unloaded, the GPU series are absent, and
/// `hostgauge_gpu_standby` is 1. It begins at the collector's next reading, within five seconds where readings are
/// further apart; where a call hangs, once that returns. Where no GPU was found nothing is held, and nothing changes.
///
/// With its end the driver is loaded anew at the next reading, and what it shows then is what there is: a GPU that is
/// not there any more is forgotten, and the sums are of the others.
#[derive(Clone, Debug, Default)]
pub struct Standby(Arc<AtomicU64>);

impl Standby {
    /// Begins standby, or ends it. One that ends before the next reading counts, too.
    pub fn set(&self, on: bool) {
        let turn = |turns| (is_odd(turns) != on).then_some(turns + 1);
        // No turn where it stands so already.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, turn);
    }

    /// Whether it was begun and not ended. That the driver is let go, `hostgauge_gpu_standby` tells.
    pub fn is_on(&self) -> bool {
        is_odd(self.turns())
    }

    /// How often it was turned, on and off alike.
    pub(super) fn turns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) fn is_odd(turns: u64) -> bool {
    turns % 2 == 1
}
