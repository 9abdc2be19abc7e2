//! What is published to CloudWatch, and how: the settings that a program or the command line gives.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostgauge_collectors::{Kind, Metric, catalogue};
use hostgauge_exporters::cloudwatch::{Publisher, Settings, Show, StartError};
use hostgauge_exporters::datum::Resolution;
use hostgauge_exporters::publication::{Labels, Publication, Published, Statistics};
use hostgauge_exporters::windows::Listed;

use crate::error::Error;
use crate::job_kind::{JobKind, inside_sagemaker};
use crate::period::is_period;

/// The label that tells devices apart for good, and the dimension of SageMaker's enhanced metrics that it becomes.
const DEVICE: &str = "uuid";
const ACCELERATOR: &str = "AcceleratorId";

/// What is published, for CloudWatch and the embedded metric format alike.
///
/// The defaults publish `CPUUtilization`, `MemoryUtilization` and `DiskUtilization` each minute under
/// `/aws/sagemaker/TrainingJobs`, with the dimension `Host`.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The namespace; 1 to 255 characters, not beginning with `AWS/`. `None`: the documented one of the job kind, and
    /// `hostgauge/...` inside SageMaker.
    pub namespace: Option<String>,
    /// What kind of job this is: it decides the namespace, and which metrics there are.
    pub job_kind: JobKind,
    /// EndpointName and VariantName, which stand in place of `Host` for an endpoint.
    pub endpoint: Option<(String, String)>,
    /// The time that one datum stands for: from 10 s (from 1 s with a resolution of a second) to 5 min, dividing a
    /// minute or whole minutes, and no shorter than the interval.
    pub period: Duration,
    /// How finely CloudWatch keeps it.
    pub resolution: Resolution,
    /// How a gauge's samples are told.
    pub statistics: Statistics,
    /// Whether what is documented as a sum over devices is published for each device, too, with the dimension
    /// AcceleratorId. Each series is billed.
    pub per_device: bool,
    /// More metrics, by their names in the facade: the catalogue's or the program's own. Each series is billed.
    pub metrics: Vec<String>,
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            namespace: None,
            job_kind: JobKind::default(),
            endpoint: None,
            period: Duration::from_secs(60),
            resolution: Resolution::Minute,
            statistics: Statistics::default(),
            per_device: false,
            metrics: Vec::new(),
        }
    }
}

/// How data reach CloudWatch.
///
/// ```no_run
/// let hostgauge = hostgauge::Builder::new()
///     .host("my-job/algo-1")
///     .publish(hostgauge::Publish { metrics: vec!["jobs_total".into()], ..Default::default() })
///     .cloudwatch(hostgauge::CloudWatch {
///         spool: Some("/var/lib/my-program/spool".into()),
///         ..Default::default()
///     })
///     .install()?;
/// metrics::counter!("jobs_total").increment(1);
/// drop(hostgauge); // sends the last window, or leaves it in the spool
/// # Ok::<(), hostgauge::Error>(())
/// ```
pub struct CloudWatch {
    /// The folder where data wait that could not be sent yet; it survives a crash. `None`: they wait in memory, and
    /// are lost with the process.
    pub spool: Option<PathBuf>,
    /// The most bytes that wait on disk. Beyond them the oldest are dropped, and counted.
    pub spool_max_bytes: u64,
    /// Shows each request instead of sending it.
    pub rehearsal: Option<Show>,
}

impl Default for CloudWatch {
    fn default() -> Self {
        Self { spool: None, spool_max_bytes: 64 << 20, rehearsal: None }
    }
}

impl std::fmt::Debug for CloudWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CloudWatch").field("spool", &self.spool).finish_non_exhaustive()
    }
}

impl CloudWatch {
    pub(crate) fn start(self, publication: Publication, period: Duration, host: &str) -> Result<Publisher, Error> {
        let Self { spool, spool_max_bytes, rehearsal } = self;
        let settings = Settings { publication, period, host: host.to_owned(), spool, spool_max_bytes };
        let started = match rehearsal {
            Some(show) => Publisher::rehearse(settings, show),
            None => Publisher::start(settings),
        };
        started.map_err(|error| match error {
            StartError::System(error) => Error::System(error),
            error => Error::Invalid(error.to_string()),
        })
    }
}

impl Publish {
    /// # Errors
    ///
    /// What cannot work, in a line.
    pub(crate) fn check(&self, interval: Duration) -> Result<(), String> {
        let period = humane(self.period);
        let shortest = match self.resolution {
            Resolution::Minute => Duration::from_secs(10),
            Resolution::Second => Duration::from_secs(1),
        };
        if !is_period(self.period) {
            return Err(format!(
                "cloudwatch-period {period}: expected 1s to 5m, dividing a minute or whole minutes, such as 10s or 60s"
            ));
        }
        if self.period < shortest {
            return Err(format!(
                "cloudwatch-period {period}: expected 10s or more; shorter ones need cloudwatch-resolution 1"
            ));
        }
        if self.period < interval {
            return Err(format!(
                "cloudwatch-period {period}: expected no less than the interval, which is {}",
                humane(interval)
            ));
        }
        if (self.job_kind == JobKind::Endpoint) != self.endpoint.is_some() {
            return Err(
                "an endpoint's host needs endpoint-name and variant-name, and no other job kind has them".into()
            );
        }
        Ok(())
    }

    /// The namespace in effect where `rootfs` is the root of what is measured, `/` for most.
    pub fn namespace(&self, rootfs: &Path) -> String {
        self.namespace.clone().unwrap_or_else(|| self.job_kind.namespace(inside(rootfs).is_some()))
    }

    /// Says why the documented namespace is not the default here, where it is not.
    pub(crate) fn explain(&self, rootfs: &Path) {
        if let (None, Some(evidence)) = (&self.namespace, inside(rootfs)) {
            log::info!(
                "this is SageMaker ({evidence}), whose own agent publishes under the documented namespace: publishing \
                 under {} unless cloudwatch-namespace says otherwise",
                self.namespace(rootfs)
            );
        }
    }

    /// The metrics whose windows are published.
    pub(crate) fn listed(&self) -> Vec<Listed> {
        let is_counter = |name: &str| catalogue::ALL.iter().any(|row| row.name == name && row.kind == Kind::Counter);
        self.names().into_iter().map(|name| Listed { cumulative: is_counter(&name), name }).collect()
    }

    fn names(&self) -> BTreeSet<String> {
        let documented = catalogue::ALL.iter().filter(|row| self.documented(row).is_some());
        documented.map(|row| row.name.to_owned()).chain(self.metrics.iter().cloned()).collect()
    }

    /// What a host with so many GPUs publishes by itself: names on CloudWatch, and how many series each is.
    pub(crate) fn series(&self, gpus: usize) -> Vec<(String, usize)> {
        let of_row = |row: &&'static Metric| {
            let published = self.documented(row)?;
            let of_gpus = row.name.starts_with("hostgauge_gpu");
            let count = if row.labels.is_empty() { usize::from(!of_gpus || gpus > 0) } else { gpus };
            (count > 0).then_some((published.name, count))
        };
        catalogue::ALL.iter().filter_map(of_row).collect()
    }

    /// How a row is published that nobody needs to ask for; `None` where it is not.
    fn documented(&self, row: &Metric) -> Option<Published> {
        let name = row.cloudwatch.filter(|name| self.job_kind.has(name))?;
        let labels = match row.labels {
            [] => Labels::All,
            labels if self.per_device && labels.contains(&DEVICE) => {
                Labels::One { label: DEVICE.to_owned(), dimension: ACCELERATOR.to_owned() }
            }
            _ => return None,
        };
        Some(Published { name: name.to_owned(), unit: Some(row.unit), labels })
    }

    pub(crate) fn publication(&self, host: &str, rootfs: &Path) -> Publication {
        let dimensions = match &self.endpoint {
            Some((endpoint, variant)) => {
                vec![("EndpointName".to_owned(), endpoint.clone()), ("VariantName".to_owned(), variant.clone())]
            }
            None => vec![("Host".to_owned(), host.to_owned())],
        };
        let publication = Publication::new(self.namespace(rootfs), dimensions)
            .resolution(self.resolution)
            .statistics(self.statistics);
        self.names().into_iter().fold(publication, |publication, name| {
            let row = catalogue::ALL.iter().find(|row| row.name == name);
            let by_name = || Published { name: name.clone(), unit: row.map(|row| row.unit), labels: Labels::All };
            let published = row.and_then(|row| self.documented(row)).unwrap_or_else(by_name);
            publication.metric(name, published)
        })
    }
}

fn inside(rootfs: &Path) -> Option<&'static str> {
    inside_sagemaker(|name| std::env::var(name).ok(), rootfs)
}

fn humane(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_millis()) {
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{}ms", duration.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hostgauge_exporters::windows::{Keep, Windows};
    use metrics::{Key, Label, Level, Metadata, Recorder as _, Unit};
    use std::time::{SystemTime, UNIX_EPOCH};

    fn second() -> Publish {
        Publish { namespace: Some("n".into()), ..Publish::default() }
    }

    #[test]
    fn a_host_without_gpus_pays_for_none() {
        let count = |publish: &Publish, gpus| publish.series(gpus).iter().map(|(_, count)| count).sum::<usize>();
        let per_device = Publish { per_device: true, ..second() };
        assert_eq!([0, 1, 8].map(|gpus| count(&second(), gpus)), [3, 5, 5]);
        assert_eq!([0, 1, 8].map(|gpus| count(&per_device, gpus)), [3, 7, 21]);
    }

    #[test]
    fn what_cannot_work_is_named_with_what_was_expected() {
        let checked = |publish: Publish, interval: u64| publish.check(Duration::from_secs(interval));
        let period = |seconds| Publish { period: Duration::from_secs(seconds), ..second() };
        let by_second = |seconds| Publish { resolution: Resolution::Second, ..period(seconds) };
        assert_eq!(checked(period(60), 1), Ok(()));
        assert_eq!(checked(by_second(1), 1), Ok(()));
        for (publish, interval, expected) in [
            (period(7), 1, "cloudwatch-period 7s: expected 1s to 5m"),
            (period(5), 1, "cloudwatch-resolution 1"),
            (period(10), 30, "the interval, which is 30s"),
            (Publish { job_kind: JobKind::Endpoint, ..period(60) }, 1, "endpoint-name"),
            (Publish { endpoint: Some(("e".into(), "v".into())), ..period(60) }, 1, "no other job kind"),
        ] {
            let error = checked(publish, interval).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_documented_metrics_are_published_by_themselves_and_others_by_name() {
        let names = |publish: &Publish| publish.listed().into_iter().map(|listed| listed.name).collect::<Vec<_>>();
        let utilizations = [
            "hostgauge_cpu_utilization_percent",
            "hostgauge_disk_utilization_percent",
            "hostgauge_gpu_memory_utilization_percent",
            "hostgauge_gpu_utilization_percent",
            "hostgauge_memory_utilization_percent",
        ];
        assert_eq!(names(&second()), utilizations);
        assert_eq!(
            names(&Publish { job_kind: JobKind::Transform, ..second() }),
            [utilizations[0], utilizations[2], utilizations[3], utilizations[4]],
            "a transform job has no DiskUtilization"
        );
        let more = Publish { metrics: vec!["queue".into(), "hostgauge_cpu_seconds_total".into()], ..second() };
        let listed = more.listed();
        let cumulative: Vec<&str> =
            listed.iter().filter(|listed| listed.cumulative).map(|listed| listed.name.as_str()).collect();
        assert_eq!((listed.len(), cumulative), (7, vec!["hostgauge_cpu_seconds_total"]));
    }

    static DEVICES: Metric = Metric {
        name: "device_percent",
        cloudwatch: Some("GPUUtilization"),
        kind: Kind::Gauge,
        unit: Unit::Percent,
        range: "0..100",
        labels: &["gpu", "uuid"],
        help: "",
        source: "",
        absent: "",
        window_of: None,
    };

    #[test]
    fn a_series_for_each_device_only_when_asked_for() {
        assert!(second().documented(&DEVICES).is_none());
        let asked = Publish { per_device: true, ..second() };
        let published = asked.documented(&DEVICES).expect("asked for");
        let publication = Publication::new("n", vec![("Host".into(), "h".into())]).metric("device_percent", published);
        let windows = Windows::new(["device_percent"], [(Duration::from_secs(60), Keep::Values)]);
        let labels = vec![Label::new("gpu", "0"), Label::new("uuid", "GPU-1")];
        let key = Key::from_parts("device_percent", labels);
        let gauge = windows.register_gauge(&key, &Metadata::new("test", Level::INFO, None));
        let mut data = Vec::new();
        for seconds in [30, 90] {
            let now: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
            windows.advance(now, |window| data.extend(publication.data(window)));
            gauge.set(50.0);
        }
        let dimensions = [("Host", "h"), ("AcceleratorId", "GPU-1")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!((data[0].name.as_str(), &data[0].dimensions[..]), ("GPUUtilization", &dimensions[..]));
        assert_eq!(data[0].unit, "Percent");
    }
}
