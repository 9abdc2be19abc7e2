//! hostgauge's own cost, as series: who measures must show what measuring takes.

use crate::sample::Sample;

/// Appends the CPU time and the peak resident memory of the process that this code runs in.
///
/// Source: getrusage(2), `RUSAGE_SELF`: one system call for both; it cannot fail. Absent on systems other than Linux.
/// In a program that embeds hostgauge the figures are the whole program's.
#[cfg(target_os = "linux")]
pub fn own_cost(out: &mut Vec<Sample>) {
    use crate::catalogue::{PROCESS_CPU_SECONDS, PROCESS_RESIDENT_MAX};
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike as _;

    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    out.push(Sample::new(&PROCESS_CPU_SECONDS, micros as f64 / 1e6));
    // Linux counts ru_maxrss in KiB.
    out.push(Sample::new(&PROCESS_RESIDENT_MAX, usage.max_rss() as f64 * 1024.0));
}

/// Nothing: not known on this system.
#[cfg(not(target_os = "linux"))]
pub fn own_cost(_out: &mut Vec<Sample>) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::catalogue::PROCESS_RESIDENT_MAX;

    #[test]
    fn own_cost_is_positive_and_in_bytes() {
        let mut out = Vec::new();
        own_cost(&mut out);
        let resident = out.iter().find(|s| s.metric == &PROCESS_RESIDENT_MAX).expect("a sample");
        assert!((100e3..100e9).contains(&resident.value), "{} bytes is no test's memory", resident.value);
    }
}
