//! hostgauge's own cost, as series: who measures must show what measuring takes.

use crate::catalogue;
use crate::error::CollectError;
use crate::sample::{Collector, Sample};

/// CPU time and peak resident memory of the process that this code runs in.
///
/// Source: getrusage(2), `RUSAGE_SELF`: one system call for both. In a program that embeds hostgauge the figures are
/// the whole program's.
#[derive(Debug, Default)]
pub struct Process;

impl Collector for Process {
    fn name(&self) -> &'static str {
        "process"
    }

    #[cfg(target_os = "linux")]
    fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        use crate::error::Reason;
        use nix::sys::resource::{UsageWho, getrusage};
        use nix::sys::time::TimeValLike as _;

        let usage = getrusage(UsageWho::RUSAGE_SELF)
            .map_err(|error| CollectError::new(Reason::Failed, format!("getrusage failed: {error}")))?;
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        out.push(Sample::new(&catalogue::PROCESS_CPU_SECONDS, micros as f64 / 1e6));
        // Linux counts ru_maxrss in KiB.
        out.push(Sample::new(&catalogue::PROCESS_RESIDENT_MAX, usage.max_rss() as f64 * 1024.0));
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn collect(&mut self, _out: &mut Vec<Sample>) -> Result<(), CollectError> {
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn own_cost_is_positive_and_in_bytes() {
        let mut out = Vec::new();
        Process.collect(&mut out).expect("getrusage works");
        let resident = out.iter().find(|s| s.metric == &catalogue::PROCESS_RESIDENT_MAX).expect("a sample");
        assert!((100e3..100e9).contains(&resident.value), "{} bytes is no test's memory", resident.value);
    }
}
