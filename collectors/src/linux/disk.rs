//! Disk space of named file systems.

use std::path::PathBuf;
use std::time::Duration;

use crate::catalogue::{DISK_UTILIZATION, FILESYSTEM_AVAILABLE, FILESYSTEM_SIZE, FILESYSTEM_USED};
use crate::collector::Collector;
use crate::error::{CollectError, Reason};
use crate::linux::cgroup::FileSystems;
use crate::linux::filesystem::{Filesystem, Space};
use crate::sample::{Device, Roots, Sample, percent};

/// Space used on the file systems of the given paths, by df's definition, each device counted once in the sum.
///
/// - Per path: used, available and size.
/// - In sum: `used / (used + available)` over the devices; absent while any path has no answer.
/// - **Each device once**: paths on one device (a bind mount, an overlay over it, btrfs subvolumes) count as one.
/// - **Dead network file systems**: a path that is not known to be local is asked by a thread of its own, and its
///   figures are those of the tick before. Without an answer for two intervals (two seconds at least) that path's
///   series are absent.
/// - Nothing is held open, so that no mount is kept from being unmounted.
/// - **Scopes**: the file systems are those under the scopes' roots. A path's figures are the sum over its devices, and
///   a restarted container's are asked for from its new root.
#[derive(Debug)]
pub struct Disk {
    roots: FileSystems,
    generation: u64,
    wanted: Vec<PathBuf>,
    patience: Duration,
    paths: Vec<(Device, Vec<Filesystem>)>,
    /// Whether the root of a scope is unknown, so that its file systems cannot be asked.
    hidden: bool,
    answers: Vec<Space>,
}

impl Disk {
    /// A collector of the file systems that hold `paths` on the host. `interval` is the time between readings.
    pub fn new(roots: &Roots, paths: &[PathBuf], interval: Duration) -> Self {
        Self::of(FileSystems::of_host(roots), paths, interval)
    }

    /// A collector of the file systems that hold `paths` under the roots of scopes.
    pub fn of(roots: FileSystems, paths: &[PathBuf], interval: Duration) -> Self {
        let patience = (2 * interval).max(Duration::from_secs(2));
        let mut disk = Self {
            roots,
            generation: 0,
            wanted: paths.to_vec(),
            patience,
            paths: Vec::new(),
            hidden: true,
            answers: Vec::new(),
        };
        disk.follow_roots();
        disk
    }

    /// Makes the paths anew where the roots are others. What is asked of an old root is let go.
    fn follow_roots(&mut self) {
        let Some((generation, roots)) = self.roots.newer_than(self.generation) else { return };
        self.generation = generation;
        let mut known: Vec<&PathBuf> = roots.iter().flatten().collect();
        known.sort();
        known.dedup();
        self.hidden = roots.is_empty() || roots.iter().any(Option::is_none);
        let several = self.wanted.len() * known.len() > 1;
        let filesystem = |root: &PathBuf, path: &PathBuf| {
            let path = root.join(path.strip_prefix("/").unwrap_or(path));
            Filesystem::new(path, several, self.patience)
        };
        let of_path = |path: &PathBuf| {
            let device = Device::new([path.to_string_lossy().as_ref()]);
            (device, known.iter().map(|root| filesystem(root, path)).collect())
        };
        self.paths = self.wanted.iter().map(of_path).collect();
        self.answers = Vec::with_capacity(self.wanted.len() * known.len());
    }
}

/// Used, available and size over distinct devices, in bytes.
fn sums(spaces: &[Space]) -> [u128; 3] {
    let mut sums = [0; 3];
    for (index, space) in spaces.iter().enumerate() {
        if !spaces[..index].iter().any(|before| before.is_same_device(space)) {
            for (sum, bytes) in sums.iter_mut().zip([space.used(), space.available, space.size]) {
                *sum += u128::from(bytes);
            }
        }
    }
    sums
}

/// `used / (used + available)` over distinct devices, in percent. `None` without space to use.
fn utilization(spaces: &[Space]) -> Option<f64> {
    let [used, available, _] = sums(spaces);
    (used + available > 0).then(|| percent(used as f64, (used + available) as f64))
}

impl Collector for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        self.follow_roots();
        let Self { paths, answers, hidden, .. } = self;
        answers.clear();
        let (mut outcome, mut whole) = (Ok(()), !*hidden);
        for (device, filesystems) in &mut *paths {
            let (first, wanted) = (answers.len(), filesystems.len());
            for filesystem in filesystems {
                match filesystem.space() {
                    Ok(Some(space)) => answers.push(space),
                    Ok(None) => {}
                    Err(error) => outcome = Err(CollectError::io("measure", filesystem.path(), &error)),
                }
            }
            // Part of a sum would look like less in use.
            if *hidden || answers.len() - first < wanted {
                whole = false;
                continue;
            }
            let sums = sums(&answers[first..]);
            for (metric, sum) in [&FILESYSTEM_USED, &FILESYSTEM_AVAILABLE, &FILESYSTEM_SIZE].into_iter().zip(sums) {
                out.push(Sample::of(metric, device, sum as f64));
            }
        }
        if whole && let Some(percent) = utilization(answers) {
            out.push(Sample::new(&DISK_UTILIZATION, percent));
        }
        if *hidden {
            let message = "the root of a scope cannot be seen, and so its file systems neither";
            return outcome.and(Err(CollectError::new(Reason::Missing, message)));
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn the_roots_of_scopes_are_followed_and_a_device_counts_once() {
        let roots = FileSystems::default();
        let mut disk = Disk::of(roots.clone(), &["/".into()], Duration::from_secs(1));
        let error = disk.collect(&mut Vec::new()).expect_err("no root yet");
        assert!(error.to_string().contains("root"), "{error}");

        roots.set(vec![Some("/dev/shm".into()), Some("/dev/shm/.".into())]);
        let deadline = Instant::now() + Duration::from_secs(10);
        let samples = loop {
            let mut out = Vec::new();
            disk.collect(&mut out).expect("a good root");
            if !out.is_empty() {
                break out;
            }
            assert!(Instant::now() < deadline, "no answer within 10 s");
        };
        let (once, _) = settle(&mut Disk::new(&Roots::default(), &["/dev/shm".into()], Duration::from_secs(1)));
        let size = |samples: &[Sample]| samples.iter().find(|s| s.metric == &FILESYSTEM_SIZE).map(|s| s.value);
        assert_eq!(size(&samples), size(&once));

        roots.set(vec![Some("/dev/shm".into()), None]);
        let mut out = Vec::new();
        assert!(disk.collect(&mut out).is_err() && sum(&out).is_none(), "half a sum would look like less: {out:?}");
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
