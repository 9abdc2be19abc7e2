//! Every system but Linux, through sysinfo; on Linux it is compiled in tests only, as the oracle of our own readers.
//!
//! What sysinfo cannot tell is absent there: seconds counters, iowait and steal, free space beyond a reserve.

mod cpu;
mod disk;
mod memory;

pub use self::{cpu::Cpu, disk::Disk, memory::Memory};

use crate::error::{CollectError, Reason};
use crate::sample::Roots;

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub fn cores(_roots: &crate::sample::Roots) -> Option<crate::sample::Cores> {
    None
}

/// The machine, of whose limits nothing is known here.
#[cfg(not(target_os = "linux"))]
pub fn explain_scope(_roots: &crate::sample::Roots, chosen: &crate::scope::Chosen) -> crate::scope_report::Explanation {
    let chosen = chosen.clone();
    crate::scope_report::Explanation { chosen, groups: Vec::new(), failures: Vec::new(), cores: None, memory: None }
}

fn failed(error: impl std::fmt::Display) -> CollectError {
    CollectError::new(Reason::Failed, format!("the operating system does not say: {error}"))
}

/// Where sysinfo is right, our own readers agree with it.
#[cfg(test)]
#[cfg(target_os = "linux")]
mod oracle {
    use std::time::{Duration, Instant};

    use crate::catalogue::{CPU_CORE_UTILIZATION, CPU_WAIT_SECONDS, MEMORY_LIMIT, MEMORY_USED, Metric};
    use crate::catalogue::{FILESYSTEM_AVAILABLE, FILESYSTEM_SIZE};
    use crate::collector::Collector;
    use crate::linux;
    use crate::sample::{Roots, Sample};

    fn read(collector: &mut dyn Collector) -> Vec<Sample> {
        let mut out = Vec::new();
        collector.collect(&mut out).expect("this host can be read");
        out
    }

    fn values<'a>(samples: &'a [Sample], metric: &'static Metric) -> impl Iterator<Item = f64> + 'a {
        samples.iter().filter(move |s| std::ptr::eq(s.metric, metric)).map(|s| s.value)
    }

    /// Both are read one after the other, so whatever else runs on this machine comes in between now and then; where
    /// they really disagree, they do so each time.
    fn agree(mut compare: impl FnMut() -> Result<(), String>) {
        let outcomes: Vec<_> = (0..8).map_while(|_| compare().err()).collect();
        assert!(outcomes.len() < 8, "eight times: {outcomes:?}");
    }

    fn near(ours: f64, theirs: f64, tolerance: f64) -> Result<(), String> {
        if (ours - theirs).abs() < tolerance { Ok(()) } else { Err(format!("ours {ours}, theirs {theirs}")) }
    }

    #[test]
    fn memory() {
        let roots = Roots::default();
        let (mut ours, mut theirs) = (linux::memory::Memory::new(&roots), super::Memory::new(&roots));
        agree(|| {
            let (ours, theirs) = (read(&mut ours), read(&mut theirs));
            assert!(values(&ours, &MEMORY_LIMIT).eq(values(&theirs, &MEMORY_LIMIT)));
            near(values(&ours, &MEMORY_USED).sum(), values(&theirs, &MEMORY_USED).sum(), 50e6)
        });
    }

    #[test]
    fn cpu() {
        let roots = Roots::default();
        let (mut ours, mut theirs) = (linux::cpu::Cpu::new(&roots), super::Cpu::new(&roots));
        let mut before = read(&mut ours);
        read(&mut theirs);
        agree(|| {
            std::thread::sleep(Duration::from_secs(1));
            let (now, theirs) = (read(&mut ours), read(&mut theirs));
            // sysinfo counts steal as busy; we do not.
            let stolen = |samples: &[Sample]| values(samples, &CPU_WAIT_SECONDS).nth(1).expect("steal follows iowait");
            let tolerance = 5.0 + 100.0 * (stolen(&now) - stolen(&before));
            let mut pairs = values(&now, &CPU_CORE_UTILIZATION).zip(values(&theirs, &CPU_CORE_UTILIZATION));
            let outcome = pairs.try_for_each(|(ours, theirs)| near(ours, theirs, tolerance));
            before = now.clone();
            outcome
        });
    }

    #[test]
    fn disk() {
        let roots = Roots::default();
        let paths = ["/".into()];
        let interval = Duration::from_secs(1);
        let mut ours = linux::disk::Disk::new(&roots, &paths, interval);
        let mut theirs = super::Disk::new(&roots, &paths, interval);
        let deadline = Instant::now() + Duration::from_secs(10);
        while read(&mut ours).is_empty() {
            assert!(Instant::now() < deadline, "no answer for / within 10 s");
        }
        agree(|| {
            let (ours, theirs) = (read(&mut ours), read(&mut theirs));
            assert!(values(&ours, &FILESYSTEM_SIZE).eq(values(&theirs, &FILESYSTEM_SIZE)));
            near(values(&ours, &FILESYSTEM_AVAILABLE).sum(), values(&theirs, &FILESYSTEM_AVAILABLE).sum(), 50e6)
        });
    }
}
