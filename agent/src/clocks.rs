//! The operating system's clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::schedule::Now;

/// Clocks that count from one common start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    start: Instant,
}

impl Clocks {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            mono: self.start.elapsed(),
            wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            asleep: asleep(),
        }
    }
}

/// Time suspended since boot: what CLOCK_BOOTTIME counts and CLOCK_MONOTONIC does not (clock_gettime(2)).
#[cfg(target_os = "linux")]
fn asleep() -> std::time::Duration {
    use nix::time::{ClockId, clock_gettime};
    let read = |clock| clock_gettime(clock).map(std::time::Duration::from);
    match (read(ClockId::CLOCK_BOOTTIME), read(ClockId::CLOCK_MONOTONIC)) {
        (Ok(boot), Ok(mono)) => boot.saturating_sub(mono),
        _ => std::time::Duration::ZERO,
    }
}

#[cfg(not(target_os = "linux"))]
fn asleep() -> std::time::Duration {
    std::time::Duration::ZERO
}
