//! In a pod of Kubernetes: the labels and annotations that job controllers give their pods, through the downward API.
//!
//! Sources: Kubernetes ("Indexed Job", "Well-Known Labels"), jobset_types.go of kubernetes-sigs/jobset, Kubeflow's
//! training-operator v1.9 (common_types.go, envvar.go) and trainer v2.

use super::Places;
use super::file;
use super::podinfo::Map;
use super::source::{Figure, Platform, Silence, Source};

const TRAINING_OPERATOR: &str = "training.kubeflow.org/";
const JOBSET: &str = "jobset.sigs.k8s.io/";
const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

pub(super) fn sources(places: &Places<'_>) -> Vec<Source> {
    let folder = &places.podinfo;
    let (labels, labels_source) = read(places, "labels");
    let (annotations, annotations_source) = read(places, "annotations");
    let name = folder.join("name");
    let pod = Source::new(Platform::Kubernetes, format!("file {}", name.display()));
    let pod = match file::read(&name) {
        Ok(text) => pod.claim(Figure::Instance, "the pod's name", text.trim()),
        Err(why) => pod.silent(why),
    };
    let index = places.variable("JOB_COMPLETION_INDEX");
    let rank = places.variable("PET_NODE_RANK");
    let facts = Facts { labels: &labels, annotations: &annotations, index: index.as_deref(), rank: rank.as_deref() };
    // Annotations only add to what the labels say.
    let labels_source = if labels_source.silence.is_none() { facts.tell(labels_source) } else { labels_source };
    vec![labels_source, annotations_source, pod]
}

fn read(places: &Places<'_>, name: &str) -> (Map, Source) {
    let path = places.podinfo.join(name);
    let source = Source::new(Platform::Kubernetes, format!("file {}", path.display()));
    match Map::read(&path) {
        Ok(map) if name == "annotations" => {
            let note = match map.get(COMPLETION_INDEX) {
                Some(index) => format!("{COMPLETION_INDEX}={index}, taken with the labels"),
                None => format!("no {COMPLETION_INDEX}"),
            };
            (map, source.silent(Silence::Nothing(note)))
        }
        Ok(map) => (map, source),
        Err(why) => (Map::default(), source.silent(why)),
    }
}

struct Facts<'a> {
    labels: &'a Map,
    annotations: &'a Map,
    /// JOB_COMPLETION_INDEX, which Kubernetes sets in the containers of an Indexed Job.
    index: Option<&'a str>,
    /// PET_NODE_RANK, which the training operator sets in containers, but not in native sidecars.
    rank: Option<&'a str>,
}

impl Facts<'_> {
    fn tell(&self, source: Source) -> Source {
        if let Some(name) = self.labels.get(&format!("{TRAINING_OPERATOR}job-name")) {
            self.training_operator(source, name)
        } else if let Some(name) = self.labels.get(&format!("{JOBSET}jobset-name")) {
            self.jobset(source, name)
        } else if let Some(name) = self.job_name() {
            let source = source.claim(Figure::Job, "job-name", name);
            match self.completion_index() {
                Some(index) => source.claim_index(COMPLETION_INDEX, index),
                None => source,
            }
        } else if let Some(pod) = self.labels.get("statefulset.kubernetes.io/pod-name") {
            match pod.rsplit_once('-') {
                Some((name, ordinal)) => {
                    source.claim(Figure::Job, "pod-name", name).claim_index("the pod's ordinal", ordinal)
                }
                None => source.malformed("statefulset.kubernetes.io/pod-name: expected NAME-ORDINAL".into()),
            }
        } else {
            source.silent(Silence::Nothing("no label of a job controller".into()))
        }
    }

    fn job_name(&self) -> Option<&str> {
        self.labels.get("batch.kubernetes.io/job-name").or_else(|| self.labels.get("job-name"))
    }

    fn completion_index(&self) -> Option<&str> {
        self.annotations.get(COMPLETION_INDEX).or_else(|| self.labels.get(COMPLETION_INDEX)).or(self.index)
    }

    /// The first replica of the leading type is the first instance, workers follow: their index counts from 0 beside
    /// it. Workers without a leader so begin at 2, each with a number of its own all the same. Other types (parameter
    /// servers, evaluators) are counted by themselves and would take a worker's number: theirs is not known.
    fn training_operator(&self, source: Source, name: &str) -> Source {
        let source = source.claim(Figure::Job, "job-name", name);
        if let Some(rank) = self.rank {
            return source.claim_index("PET_NODE_RANK", rank);
        }
        let label = |key: &str| self.labels.get(&format!("{TRAINING_OPERATOR}{key}"));
        let Some(index) = label("replica-index") else { return source };
        match label("replica-type") {
            Some("master" | "chief" | "launcher") => source.claim_index("replica-index", index),
            Some("worker") => match index.parse::<u32>().ok().and_then(|index| index.checked_add(1)) {
                Some(rank) => source.claim_index("replica-index", &rank.to_string()),
                None => source.claim_index("replica-index", index),
            },
            _ => source,
        }
    }

    /// Of several Jobs each has a number; of one Job (and of Trainer v2, whose nodes are one Job beside others that
    /// only prepare) each pod. A further pod of one Job among several is named after that Job, or it would take the
    /// number of the first.
    fn jobset(&self, source: Source, name: &str) -> Source {
        let is_only_job = self.labels.get(&format!("{JOBSET}global-replicas")) == Some("1");
        let is_trainer = self.labels.get("trainer.kubeflow.org/trainjob-ancestor-step") == Some("trainer");
        let by_job = self.labels.get(&format!("{JOBSET}job-global-index"));
        match (self.completion_index(), by_job) {
            (Some(index), _) if is_only_job || is_trainer => {
                source.claim(Figure::Job, "jobset-name", name).claim_index(COMPLETION_INDEX, index)
            }
            (Some(index), Some(_)) if index != "0" && self.job_name().is_some() => {
                let job = self.job_name().unwrap_or(name);
                source.claim(Figure::Job, "job-name", job).claim_index(COMPLETION_INDEX, index)
            }
            (_, Some(index)) => source.claim(Figure::Job, "jobset-name", name).claim_index("job-global-index", index),
            (Some(index), None) => source.claim(Figure::Job, "jobset-name", name).claim_index(COMPLETION_INDEX, index),
            (None, None) => source.claim(Figure::Job, "jobset-name", name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::detect::tests::{Given, found};

    #[test]
    fn each_controller_names_its_pods() {
        for (tree, variables, host) in [
            ("kubeflow-worker", &[][..], "pytorch-simple/algo-3"),
            ("kubeflow-worker", &[("PET_NODE_RANK", "2")], "pytorch-simple/algo-3"),
            ("kubeflow-master", &[], "pytorch-simple/algo-1"),
            ("jobset", &[], "multislice/algo-4"),
            ("trainer-v2", &[], "llama/algo-2"),
            ("trainer-v2", &[("PET_NODE_RANK", "1")], "llama/algo-2"),
            ("indexed-job", &[], "sweep/algo-8"),
            ("plain-job", &[("JOB_COMPLETION_INDEX", "2")], "import/algo-3"),
            ("plain-job", &[], "import/import-x7k2p"),
            ("stateful-set", &[], "inference/algo-3"),
        ] {
            assert_eq!(found(tree, variables), host, "{tree} {variables:?}");
        }
    }

    fn tell(labels: &str, annotations: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("labels"), labels).expect("written");
        std::fs::write(folder.path().join("annotations"), annotations).expect("written");
        let mut given = Given::new("none");
        given.podinfo = folder.path().to_owned();
        let source = sources(&given.places()).remove(0);
        source.claims.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn no_two_pods_of_a_set_of_jobs_are_the_same_host() {
        let mut seen = std::collections::HashSet::new();
        for job in 0..3 {
            for pod in 0..3 {
                let labels = format!(
                    "jobset.sigs.k8s.io/jobset-name=\"s\"\njobset.sigs.k8s.io/job-global-index=\"{job}\"\n\
                     jobset.sigs.k8s.io/global-replicas=\"3\"\nbatch.kubernetes.io/job-name=\"s-w-{job}\"\n"
                );
                let annotations = format!("{COMPLETION_INDEX}=\"{pod}\"\n");
                assert!(seen.insert(tell(&labels, &annotations)), "{job} {pod}: {seen:?}");
            }
        }
    }

    #[test]
    fn odd_labels_give_no_number() {
        let kind = |kind: &str, index: &str| {
            tell(
                &format!(
                    "training.kubeflow.org/job-name=\"j\"\ntraining.kubeflow.org/replica-type=\"{kind}\"\n\
                     training.kubeflow.org/replica-index=\"{index}\"\n"
                ),
                "",
            )
        };
        assert_eq!(kind("worker", "0"), ["j", "2"]);
        assert_eq!(kind("ps", "0"), ["j"]);
        assert_eq!(kind("worker", "x"), ["j"]);
        assert_eq!(kind("worker", "4294967295"), ["j"]);
        assert_eq!(tell("app=\"web\"\n", ""), Vec::<String>::new());
        assert_eq!(tell("statefulset.kubernetes.io/pod-name=\"web\"\n", ""), Vec::<String>::new());
        assert_eq!(tell("not a label", ""), Vec::<String>::new());
    }
}
