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

fn failed(error: impl std::fmt::Display) -> CollectError {
    CollectError::new(Reason::Failed, format!("the operating system does not say: {error}"))
}

/// Where sysinfo is right, our own readers agree with it.
#[cfg(test)]
#[cfg(target_os = "linux")]
mod oracle {
    use std::time::Duration;

    use crate::catalogue::{CPU_CORE_UTILIZATION, CPU_WAIT_SECONDS, MEMORY_LIMIT, MEMORY_USED, Metric};
    use crate::catalogue::{FILESYSTEM_AVAILABLE, FILESYSTEM_SIZE};
    use crate::linux;
    use crate::sample::{Collector, Roots, Sample};

    fn read(collector: &mut dyn Collector) -> Vec<Sample> {
        let mut out = Vec::new();
        collector.collect(&mut out).expect("this host can be read");
        out
    }

    fn values<'a>(samples: &'a [Sample], metric: &'static Metric) -> impl Iterator<Item = f64> + 'a {
        samples.iter().filter(move |s| std::ptr::eq(s.metric, metric)).map(|s| s.value)
    }

    #[test]
    fn memory() {
        let roots = Roots::default();
        let ours = read(&mut linux::memory::Memory::new(&roots));
        let theirs = read(&mut super::Memory::new(&roots));
        assert!(values(&ours, &MEMORY_LIMIT).eq(values(&theirs, &MEMORY_LIMIT)));
        let (a, b) = (values(&ours, &MEMORY_USED).sum::<f64>(), values(&theirs, &MEMORY_USED).sum::<f64>());
        assert!((a - b).abs() < 200e6, "{a} and {b} bytes, read one after the other");
    }

    #[test]
    fn cpu() {
        let roots = Roots::default();
        let (mut ours, mut theirs) = (linux::cpu::Cpu::new(&roots), super::Cpu::new(&roots));
        let before = read(&mut ours);
        read(&mut theirs);
        std::thread::sleep(Duration::from_secs(1));
        let (ours, theirs) = (read(&mut ours), read(&mut theirs));
        // sysinfo counts steal as busy; we do not.
        let stolen = |samples: &[Sample]| values(samples, &CPU_WAIT_SECONDS).nth(1).expect("steal follows iowait");
        let stolen = stolen(&ours) - stolen(&before);
        let pairs = values(&ours, &CPU_CORE_UTILIZATION).zip(values(&theirs, &CPU_CORE_UTILIZATION));
        for (core, (a, b)) in pairs.enumerate() {
            assert!((a - b).abs() < 8.0 + 100.0 * stolen, "core {core}: {a} and {b} %, {stolen} s stolen");
        }
    }

    #[test]
    fn disk() {
        let roots = Roots::default();
        let paths = ["/".into()];
        let mut ours = linux::disk::Disk::new(&roots, &paths, Duration::from_secs(1));
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let ours = loop {
            let samples = read(&mut ours);
            if !samples.is_empty() {
                break samples;
            }
            assert!(std::time::Instant::now() < deadline, "no answer for / within 10 s");
        };
        let theirs = read(&mut super::Disk::new(&roots, &paths, Duration::from_secs(1)));
        assert!(values(&ours, &FILESYSTEM_SIZE).eq(values(&theirs, &FILESYSTEM_SIZE)));
        let left = |samples: &[Sample]| values(samples, &FILESYSTEM_AVAILABLE).sum::<f64>();
        assert!((left(&ours) - left(&theirs)).abs() < 500e6, "{} and {} bytes", left(&ours), left(&theirs));
    }
}
