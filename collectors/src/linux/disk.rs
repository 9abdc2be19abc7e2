//! Disk space of named file systems.

use std::path::PathBuf;
use std::time::Duration;

use crate::catalogue::{DISK_UTILIZATION, FILESYSTEM_AVAILABLE, FILESYSTEM_SIZE, FILESYSTEM_USED};
use crate::error::CollectError;
use crate::linux::filesystem::{Filesystem, Space};
use crate::sample::{Collector, Device, Roots, Sample, percent};

/// Space used on the file systems of the given paths, by df's definition, each device counted once in the sum.
///
/// - Per path: used, available and size.
/// - In sum: `used / (used + available)` over the devices; absent while any path has no answer.
/// - **Each device once**: paths on one device (a bind mount, an overlay over it, btrfs subvolumes) count as one.
/// - **Dead network file systems**: a path that is not known to be local is asked by a thread of its own, and its
///   figures are those of the tick before. Without an answer for two intervals (two seconds at least) that path's
///   series are absent.
/// - Nothing is held open, so that no mount is kept from being unmounted.
#[derive(Debug)]
pub struct Disk {
    paths: Vec<(Filesystem, Device)>,
    answers: Vec<Space>,
}

impl Disk {
    /// A collector of the file systems that hold `paths` on the host. `interval` is the time between readings.
    pub fn new(roots: &Roots, paths: &[PathBuf], interval: Duration) -> Self {
        let patience = (2 * interval).max(Duration::from_secs(2));
        let several = paths.len() > 1;
        let filesystem = |path: &PathBuf| {
            let device = Device::new([path.to_string_lossy().as_ref()]);
            (Filesystem::new(roots.on_host(path), several, patience), device)
        };
        Self { paths: paths.iter().map(filesystem).collect(), answers: Vec::with_capacity(paths.len()) }
    }
}

/// `used / (used + available)` over distinct devices, in percent. `None` without space to use.
fn utilization(spaces: &[Space]) -> Option<f64> {
    let mut sums = (0u128, 0u128);
    for (index, space) in spaces.iter().enumerate() {
        if !spaces[..index].iter().any(|before| before.is_same_device(space)) {
            sums.0 += u128::from(space.used());
            sums.1 += u128::from(space.used()) + u128::from(space.available);
        }
    }
    (sums.1 > 0).then(|| percent(sums.0 as f64, sums.1 as f64))
}

impl Collector for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        let Self { paths, answers } = self;
        answers.clear();
        let mut outcome = Ok(());
        for (filesystem, device) in &mut *paths {
            match filesystem.space() {
                Ok(Some(space)) => {
                    out.push(Sample::of(&FILESYSTEM_USED, device, space.used() as f64));
                    out.push(Sample::of(&FILESYSTEM_AVAILABLE, device, space.available as f64));
                    out.push(Sample::of(&FILESYSTEM_SIZE, device, space.size as f64));
                    answers.push(space);
                }
                Ok(None) => {}
                Err(error) => outcome = Err(CollectError::io("measure", filesystem.path(), &error)),
            }
        }
        if answers.len() == paths.len()
            && let Some(percent) = utilization(answers)
        {
            out.push(Sample::new(&DISK_UTILIZATION, percent));
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;
    use std::time::Instant;

    /// Collects until every path has answered or failed.
    fn settle(disk: &mut Disk) -> (Vec<Sample>, Result<(), CollectError>) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let mut out = Vec::new();
            let outcome = disk.collect(&mut out);
            let settled =
                out.len() >= 3 * disk.paths.len() || outcome.is_err() && out.len() == 3 * (disk.paths.len() - 1);
            if settled {
                return (out, outcome);
            }
            assert!(Instant::now() < deadline, "no answer within 10 s: {outcome:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn sum(samples: &[Sample]) -> Option<f64> {
        samples.iter().find(|s| std::ptr::eq(s.metric, &DISK_UTILIZATION)).map(|s| s.value)
    }

    #[test]
    fn one_device_under_two_paths_counts_once() {
        let paths = ["/dev/shm".into(), "/dev/shm/.".into()];
        let (twice, outcome) = settle(&mut Disk::new(&Roots::default(), &paths, Duration::from_secs(1)));
        let (once, _) = settle(&mut Disk::new(&Roots::default(), &paths[..1], Duration::from_secs(1)));
        assert_eq!(outcome, Ok(()));
        let (twice, once) = (sum(&twice).expect("a sum"), sum(&once).expect("a sum"));
        assert!((twice - once).abs() < 0.1, "{twice} and {once}");
    }

    #[test]
    fn a_missing_path_costs_the_sum_but_not_the_other_path() {
        let paths = ["/dev/shm".into(), "/no/such/path".into()];
        let (samples, outcome) = settle(&mut Disk::new(&Roots::default(), &paths, Duration::from_secs(1)));
        let error = outcome.expect_err("one path is missing");
        assert_eq!(error.reason(), Reason::Missing);
        assert!(error.to_string().contains("/no/such/path"), "{error}");
        assert_eq!((samples.len(), sum(&samples)), (3, None));
    }
}
