//! Waiting for something that will happen, with an end.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Long enough for anything that a busy machine does late, short enough to be told of what never happens.
pub(crate) const SOON: Duration = Duration::from_secs(15);

const POLL: Duration = Duration::from_millis(10);

/// Asks `ready` until it has an answer. What it says instead stands in the failure.
pub(crate) fn wait_until<T>(patience: Duration, what: &str, mut ready: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match ready() {
            Ok(answer) => return answer,
            Err(instead) => assert!(Instant::now() < deadline, "not within {patience:?}: {what}. Instead:\n{instead}"),
        }
        sleep(POLL);
    }
}

/// Time since the Unix epoch by the wall clock, which ticks and windows follow.
pub(crate) fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970")
}

/// Waits for a second in which no agent that was there before has measured. Two that stop and start within one each have
/// a part of its window, and both parts are published.
pub(crate) fn next_second() {
    let second = wall().as_secs();
    wait_until(SOON, "the next second", || if wall().as_secs() > second { Ok(()) } else { Err(String::new()) });
}

/// Waits until so many seconds are left of the present window of this period: what follows is all in one.
pub(crate) fn wait_for_room(seconds: u64, period: u64) {
    wait_until(SOON + Duration::from_secs(seconds), "the next window", || match period - wall().as_secs() % period {
        left if left > seconds => Ok(()),
        left => Err(format!("{left} of {period} seconds are left")),
    });
}
