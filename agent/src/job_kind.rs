//! Job kinds: under which namespace and with which dimensions SageMaker shows each.
//!
//! Source: Amazon SageMaker, "Monitor Amazon SageMaker with Amazon CloudWatch".

use std::path::Path;
use std::time::Duration;

use hostgauge_collectors::catalogue::DISK_UTILIZATION;
use hostgauge_collectors::{CollectError, Collector, Sample};

/// What SageMaker would call this work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobKind {
    /// A training job.
    #[default]
    Training,
    /// A processing job.
    Processing,
    /// A batch transform job.
    Transform,
    /// A host of an endpoint.
    Endpoint,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Training, Self::Processing, Self::Transform, Self::Endpoint];

    /// The word for it: `training`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Processing => "processing",
            Self::Transform => "transform",
            Self::Endpoint => "endpoint",
        }
    }

    /// The kind of this name; `None` if it is none.
    #[cfg(feature = "cli")]
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The last part of its namespace: `TrainingJobs`.
    fn group(self) -> &'static str {
        match self {
            Self::Training => "TrainingJobs",
            Self::Processing => "ProcessingJobs",
            Self::Transform => "TransformJobs",
            Self::Endpoint => "Endpoints",
        }
    }

    /// The namespace to publish under: the documented one, so that dashboards and alarms carry over. Inside SageMaker it
    /// is `hostgauge/...`, since the service's own agent publishes under the documented one with the same dimensions,
    /// and CloudWatch would merge both into one series.
    pub fn namespace(self, inside_sagemaker: bool) -> String {
        let head = if inside_sagemaker { "hostgauge" } else { "/aws/sagemaker" };
        format!("{head}/{}", self.group())
    }

    /// Whether SageMaker publishes this metric for such jobs. `DiskUtilization` does not exist for batch transform.
    pub fn has(self, cloudwatch_name: &str) -> bool {
        self != Self::Transform || cloudwatch_name != "DiskUtilization"
    }
}

/// A collector of a transform job, which has no `DiskUtilization`: the page shows what CloudWatch has. The file systems
/// themselves are there.
pub(crate) struct WithoutSum<C>(pub C);

impl<C: Collector> Collector for WithoutSum<C> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn may_block(&self) -> bool {
        self.0.may_block()
    }

    fn rest(&self) -> Option<Duration> {
        self.0.rest()
    }

    fn forgets_after(&self) -> Option<Duration> {
        self.0.forgets_after()
    }

    fn keep_up(&mut self) {
        self.0.keep_up();
    }

    fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        let outcome = self.0.collect(out);
        out.retain(|sample| sample.metric.name != DISK_UTILIZATION.name);
        outcome
    }
}

/// What tells that this process runs inside SageMaker, if something does. Each is set or mounted by the platform only,
/// except for `SAGEMAKER_` variables, which a bring-your-own container may set as well: then the namespace is the safe one.
pub fn inside_sagemaker(variable: impl Fn(&str) -> Option<String>, root: &Path) -> Option<&'static str> {
    let names = [
        "TRAINING_JOB_ARN",
        "PROCESSING_JOB_ARN",
        "SAGEMAKER_BATCH",
        "SAGEMAKER_BIND_TO_PORT",
        "SAGEMAKER_SAFE_PORT_RANGE",
        "SAGEMAKER_MULTI_MODEL",
    ];
    let files = ["opt/ml/input/config/resourceconfig.json", "opt/ml/config/processingjobconfig.json"];
    let set = names.into_iter().find(|name| variable(name).is_some_and(|value| !value.is_empty()));
    set.or_else(|| files.into_iter().find(|file| root.join(file).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_the_documented_ones_but_inside_sagemaker() {
        assert_eq!(JobKind::Training.namespace(false), "/aws/sagemaker/TrainingJobs");
        assert_eq!(JobKind::Endpoint.namespace(false), "/aws/sagemaker/Endpoints");
        assert_eq!(JobKind::Processing.namespace(true), "hostgauge/ProcessingJobs");
        assert_eq!(JobKind::Transform.namespace(true), "hostgauge/TransformJobs");
    }

    #[test]
    fn only_transform_jobs_have_no_disk() {
        let without: Vec<JobKind> = JobKind::ALL.into_iter().filter(|kind| !kind.has("DiskUtilization")).collect();
        assert_eq!(without, [JobKind::Transform]);
        assert!(JobKind::ALL.iter().all(|kind| kind.has("CPUUtilization")));
    }

    #[test]
    fn sagemaker_is_known_by_its_variables_and_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let none = |_: &str| None;
        assert_eq!(inside_sagemaker(none, folder.path()), None);
        assert_eq!(inside_sagemaker(|_| Some(String::new()), folder.path()), None);
        let batch = |name: &str| (name == "SAGEMAKER_BATCH").then(|| "True".to_owned());
        assert_eq!(inside_sagemaker(batch, folder.path()), Some("SAGEMAKER_BATCH"));
        std::fs::create_dir_all(folder.path().join("opt/ml/input/config")).expect("a folder");
        std::fs::write(folder.path().join("opt/ml/input/config/resourceconfig.json"), "{}").expect("a file");
        assert_eq!(inside_sagemaker(none, folder.path()), Some("opt/ml/input/config/resourceconfig.json"));
    }
}
