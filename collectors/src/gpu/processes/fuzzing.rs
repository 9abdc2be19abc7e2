//! Properties of what is known of the processes on a GPU.

use std::time::{Duration, Instant};

use super::container::container;
use super::procfs::started;
use super::share::Usage;
use super::{MOST_CHARACTERS, ProcessSample};
use crate::fuzzing::input::Input;
use crate::fuzzing::written;
use crate::linux::cgroup::fuzzing::process;

/// Shares are percentages, of processes that the driver named, each once.
pub(crate) fn process_shares(data: &[u8]) {
    let mut input = Input::new(data);
    let (mut usage, mut now, mut clock) = (Usage::default(), Instant::now(), input.number(8));
    let mut shares = Vec::new();
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        let flags = input.byte();
        now += Duration::from_millis(input.number(2));
        let mut samples = Vec::new();
        for _ in 0..input.byte() {
            clock = if flags & 1 == 0 { clock.wrapping_add(input.number(3)) } else { input.number(8) };
            let (pid, sm) =
                (input.byte().into(), if flags & 2 == 0 { input.byte().into() } else { input.number(4) as u32 });
            samples.push(ProcessSample { pid, timestamp: clock, sm });
        }
        let named: Vec<u32> = samples.iter().map(|sample| sample.pid).collect();
        usage.take(&mut samples, now, &mut shares);
        assert!(shares.is_sorted_by(|a, b| a.0 < b.0), "{shares:?}");
        assert!(shares.iter().all(|(pid, share)| named.contains(pid) && (0.0..=100.0).contains(share)), "{shares:?}");
    }
}

/// The files of /proc/PID: what two readers find in one stat file is the same and stands there; a container has a short
/// name on one line.
pub(crate) fn process_text(data: &[u8]) {
    let start = started(data);
    let written = written(data);
    assert!(start.is_none_or(|start| written.contains(&start)));
    let text = String::from_utf8_lossy(data);
    process(&text, start.filter(|_| str::from_utf8(data).is_ok()));
    let name = container(&text);
    assert!(!name.is_empty() && name.chars().count() <= MOST_CHARACTERS && !name.chars().any(char::is_control));
}
