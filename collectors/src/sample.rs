//! The words that collectors speak: sample, device, where they read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalogue::Metric;

/// What tells the series of one metric apart: one value for each name in [`Metric::labels`], in that order.
///
/// Cloning costs a reference count, so that a collector makes its devices once and a steady tick allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Device(Arc<[Box<str>]>);

impl Device {
    /// A device by its label values, in the order of [`Metric::labels`].
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        Self(values.into_iter().map(Box::from).collect())
    }

    /// The label values, in the order of [`Metric::labels`].
    pub fn values(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

/// One measured value of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The catalogue row: name, unit, range.
    pub metric: &'static Metric,
    /// Which of the metric's series; `None` where the metric has one.
    pub device: Option<Device>,
    /// The value, in the row's unit and range. Never NaN: what is not known is no sample.
    pub value: f64,
}

impl Sample {
    /// A sample of a metric with a single series.
    pub fn new(metric: &'static Metric, value: f64) -> Self {
        Self { metric, device: None, value }
    }

    /// A sample of one of a metric's series.
    pub fn of(metric: &'static Metric, device: &Device, value: f64) -> Self {
        Self { metric, device: Some(device.clone()), value }
    }
}

/// Where the kernel's file systems are mounted, as in node_exporter: a daemon may see the host's under another folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// The folder of procfs: `/proc`.
    pub procfs: PathBuf,
    /// The folder of sysfs: `/sys`.
    pub sysfs: PathBuf,
    /// The folder that stands for `/` in the paths of file systems to measure.
    pub rootfs: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { procfs: "/proc".into(), sysfs: "/sys".into(), rootfs: "/".into() }
    }
}

impl Roots {
    /// Where the host's `path` is found from here.
    pub fn on_host(&self, path: &Path) -> PathBuf {
        self.rootfs.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// The cores of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// N: those that run.
    pub online: usize,
    /// Those that are there, offline ones included.
    pub present: usize,
}

/// The documented sum of SageMaker's utilization metrics: 0..100*N over N devices, `None` without devices.
///
/// Source: Amazon SageMaker, "Monitor with CloudWatch": four busy cores read 400 %.
pub fn sum_over_devices(percents: impl IntoIterator<Item = f64>) -> Option<f64> {
    percents.into_iter().fold(None, |sum, percent| Some(sum.unwrap_or(0.0) + percent)).map(rounded)
}

/// `part` of `whole` in percent, to a ten-thousandth: over a second that is a microsecond of a core, and more digits only
/// make the page long; the bytes and seconds behind a share stand beside it. Rounded at the source, so that everyone who publishes the sample has the same bits.
pub(crate) fn percent(part: f64, whole: f64) -> f64 {
    rounded(100.0 * part / whole)
}

fn rounded(percent: f64) -> f64 {
    (percent * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_looked_up_below_the_root() {
        let roots = Roots { rootfs: "/host".into(), ..Roots::default() };
        assert_eq!(roots.on_host(Path::new("/")), Path::new("/host/"));
        assert_eq!(roots.on_host(Path::new("/opt/ml")), Path::new("/host/opt/ml"));
        assert_eq!(Roots::default().on_host(Path::new("/opt/ml")), Path::new("/opt/ml"));
    }

    proptest::proptest! {
        #[test]
        fn a_sum_lies_between_zero_and_a_hundred_times_n(
            percents in proptest::collection::vec(0.0..=100.0f64, 0..256),
        ) {
            let n = percents.len();
            match sum_over_devices(percents.iter().copied()) {
                None => assert_eq!(n, 0),
                Some(sum) => {
                    assert!((0.0..=100.0 * n as f64).contains(&sum));
                    assert!(percents.iter().all(|p| *p <= sum + 1e-4), "no device exceeds the sum");
                }
            }
        }
    }
}
