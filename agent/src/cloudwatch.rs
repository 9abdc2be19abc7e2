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
            metrics: Vec::new(),
        }
    }
}

/// How data reach CloudWatch.
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

    /// The namespace in effect.
    pub fn namespace(&self) -> String {
        self.namespace.clone().unwrap_or_else(|| self.job_kind.namespace(inside().is_some()))
    }

    /// Says why the documented namespace is not the default here, where it is not.
    pub(crate) fn explain(&self) {
        if let (None, Some(evidence)) = (&self.namespace, inside()) {
            log::info!(
                "this is SageMaker ({evidence}), whose own agent publishes under the documented namespace: publishing \
                 under {} unless cloudwatch-namespace says otherwise",
                self.namespace()
            );
        }
    }

    /// The metrics whose windows are published.
    pub(crate) fn listed(&self) -> Vec<Listed> {
        let cumulative = |name: &str| row(name).is_some_and(|row| row.kind == Kind::Counter);
        self.names().into_iter().map(|name| Listed { cumulative: cumulative(&name), name }).collect()
    }

    fn names(&self) -> BTreeSet<String> {
        let documented = catalogue::ALL.iter().filter(|row| self.documented_name(row).is_some());
        documented.map(|row| row.name.to_owned()).chain(self.metrics.iter().cloned()).collect()
    }

    /// The row's name on CloudWatch, where it is published without being asked for.
    fn documented_name(&self, row: &Metric) -> Option<&'static str> {
        row.cloudwatch.filter(|name| row.labels.is_empty() && self.job_kind.has(name))
    }

    pub(crate) fn publication(&self, host: &str) -> Publication {
        let dimensions = match &self.endpoint {
            Some((endpoint, variant)) => {
                vec![("EndpointName".to_owned(), endpoint.clone()), ("VariantName".to_owned(), variant.clone())]
            }
            None => vec![("Host".to_owned(), host.to_owned())],
        };
        let publication =
            Publication::new(self.namespace(), dimensions).resolution(self.resolution).statistics(self.statistics);
        self.names().into_iter().fold(publication, |publication, name| {
            let row = row(&name);
            let published = Published {
                name: row.and_then(|row| self.documented_name(row)).map_or_else(|| name.clone(), str::to_owned),
                unit: row.map(|row| row.unit),
                labels: Labels::All,
            };
            publication.metric(name, published)
        })
    }
}

fn inside() -> Option<&'static str> {
    inside_sagemaker(|name| std::env::var(name).ok(), Path::new("/"))
}

fn row(name: &str) -> Option<&'static Metric> {
    catalogue::ALL.iter().copied().find(|row| row.name == name)
}

fn humane(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_millis()) {
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{}ms", duration.as_millis()),
    }
}
