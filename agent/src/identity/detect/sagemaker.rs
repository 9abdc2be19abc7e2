//! Inside SageMaker: the files and variables that the platform itself gives a container.
//!
//! Sources: Amazon SageMaker's developer guide, "How Amazon SageMaker provides training information", "Build your own
//! processing container", "Use your own inference code with batch transform" and "... with hosting services"; hosts in
//! local mode as sagemaker-python-sdk names them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Places;
use super::file;
use super::source::{Figure, Platform, Silence, Source, excerpt};
use crate::job_kind::JobKind;

const TRAINING_HOSTS: &str = "/opt/ml/input/config/resourceconfig.json";
const PROCESSING_JOB: &str = "/opt/ml/config/processingjobconfig.json";
const PROCESSING_HOSTS: &str = "/opt/ml/config/resourceconfig.json";

/// What only containers of hosting have: the developer guide names these for multi-model and multi-container endpoints.
const HOSTING: [&str; 3] = ["SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_SAFE_PORT_RANGE", "SAGEMAKER_MULTI_MODEL"];

/// How long a start waits for files that the platform may still be writing. The Host is a label of every series, so it
/// cannot be put right later without splitting them all.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

pub(super) fn sources(places: &Places<'_>) -> Vec<Source> {
    let processing = file_source(places, PROCESSING_JOB, |source, object| {
        let source = kind(source, JobKind::Processing);
        match file::text(object, "ProcessingJobName") {
            Ok(name) => source.claim(Figure::Job, "ProcessingJobName", name),
            Err(why) => source.silent(why),
        }
    });
    vec![
        file_source(places, TRAINING_HOSTS, |source, object| number(kind(source, JobKind::Training), object)),
        Source::variable(
            Platform::SageMaker,
            "TRAINING_JOB_NAME",
            places.variable("TRAINING_JOB_NAME"),
            |source, name| kind(source, JobKind::Training).claim(Figure::Job, "the value", name),
        ),
        arn(places, "TRAINING_JOB_ARN", "training-job", JobKind::Training),
        processing,
        file_source(places, PROCESSING_HOSTS, |source, object| number(kind(source, JobKind::Processing), object)),
        arn(places, "PROCESSING_JOB_ARN", "processing-job", JobKind::Processing),
        batch(places),
        hosting(places),
    ]
}

fn kind(source: Source, kind: JobKind) -> Source {
    source.claim(Figure::Kind, "kind", kind.as_str())
}

fn file_source(places: &Places<'_>, path: &str, said: impl FnOnce(Source, &Value) -> Source) -> Source {
    let path = places.on_host(path);
    let source = Source::new(Platform::SageMaker, format!("file {}", path.display()));
    match file::json(&path) {
        Ok(object) => said(source, &object),
        Err(why) => source.silent(why),
    }
}

fn number(source: Source, object: &Value) -> Source {
    match file::text(object, "current_host") {
        Ok(host) => current_host(source, "current_host", host),
        Err(why) => source.silent(why),
    }
}

/// N of `algo-N`: the digits themselves. The index in `hosts` and the rank go by the order of the letters, in which
/// algo-10 comes second. Local mode has `algo-1-xxxxx`, or `sagemaker-local` where there is one only.
pub(super) fn current_host(source: Source, key: &str, host: &str) -> Source {
    if host == "sagemaker-local" {
        return source.claim(Figure::Number, key, "1");
    }
    let digits = host.strip_prefix("algo-").map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or(""));
    match digits {
        Some(digits) if digits.parse::<u32>().is_ok_and(|number| number > 0) => {
            source.claim(Figure::Number, key, digits)
        }
        _ => source.malformed(format!("{key} {}, expected algo-N with N from 1 on", excerpt(host))),
    }
}

/// The name is the last part of an ARN, in lower case: `arn:aws:sagemaker:REGION:ACCOUNT:training-job/NAME`.
fn arn(places: &Places<'_>, variable: &str, what: &str, job_kind: JobKind) -> Source {
    Source::variable(Platform::SageMaker, variable, places.variable(variable), |source, arn| {
        let source = kind(source, job_kind);
        match arn.rsplit_once(&format!(":{what}/")) {
            Some((_, name)) => source.claim(Figure::Job, "the name in it", name),
            None => source.malformed(format!("{}, expected arn:...:{what}/NAME", excerpt(arn))),
        }
    })
}

fn is_batch(places: &Places<'_>) -> bool {
    // Local mode writes "True".
    places.variable("SAGEMAKER_BATCH").is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
}

fn batch(places: &Places<'_>) -> Source {
    Source::variable(Platform::SageMaker, "SAGEMAKER_BATCH", places.variable("SAGEMAKER_BATCH"), |source, value| {
        if is_batch(places) {
            kind(source, JobKind::Transform)
        } else {
            source.silent(Silence::Nothing(format!("{}, which is not true", excerpt(value))))
        }
    })
}

/// A container of an endpoint cannot find the endpoint's name, the variant's or the instance's: only that it is one.
/// One of batch transform has the same variables, as it serves alike.
fn hosting(places: &Places<'_>) -> Source {
    let place = format!("environment {}", HOSTING.join(", "));
    if HOSTING.iter().all(|name| places.variable(name).is_none()) {
        return Source::missing(Platform::SageMaker, place);
    }
    let source = Source::new(Platform::SageMaker, place);
    match is_batch(places) {
        true => source.silent(Silence::Nothing("set for batch transform, too".into())),
        false => kind(source, JobKind::Endpoint),
    }
}

/// The file that says which instance this is, where it should be and is not yet, or not yet whole.
pub(super) fn awaited(places: &Places<'_>) -> Option<PathBuf> {
    if is_batch(places) || HOSTING.iter().any(|name| places.variable(name).is_some()) {
        return None;
    }
    let set = |name: &str| places.variable(name).is_some();
    let folder = |path: &str| places.on_host(path).is_dir();
    let pending = |path: &str| {
        let path = places.on_host(path);
        matches!(file::json(&path), Err(Silence::Missing | Silence::Malformed(_))).then_some(path)
    };
    if set("TRAINING_JOB_NAME") || set("TRAINING_JOB_ARN") {
        pending(TRAINING_HOSTS)
    } else if set("PROCESSING_JOB_ARN") || folder("/opt/ml/processing") {
        pending(PROCESSING_JOB).or_else(|| pending(PROCESSING_HOSTS))
    } else if folder("/opt/ml/input") {
        pending(TRAINING_HOSTS)
    } else {
        None
    }
}

/// Waits for the awaited file, no longer than [`PATIENCE`]. What it still lacks then, in a line.
pub(super) fn wait(places: &Places<'_>) -> Option<String> {
    let said = |path: &Path| log::info!("waiting up to {}s for {}", PATIENCE.as_secs(), path.display());
    said(&awaited(places)?);
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        std::thread::sleep(POLL);
        awaited(places)?;
    }
    let path = awaited(places)?;
    Some(format!(
        "this looks like a job of SageMaker, but {} is not there (or not whole) after {}s: going on without it",
        path.display(),
        PATIENCE.as_secs()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::detect::tests::{Given, found};

    #[test]
    fn the_number_is_the_digits_of_the_current_host() {
        for (host, number) in [
            ("algo-1", Some("1")),
            ("algo-10", Some("10")),
            ("algo-2-ab3x9", Some("2")),
            ("algo-007", Some("7")),
            ("sagemaker-local", Some("1")),
            ("algo-0", None),
            ("algo-", None),
            ("algo-99999999999", None),
            ("Algo-1", None),
            ("ip-10-0-0-1", None),
            ("", None),
        ] {
            let source = current_host(Source::new(Platform::SageMaker, "s"), "current_host", host);
            assert_eq!((source.answer(Figure::Number), source.silence.is_none()), (number, number.is_some()), "{host}");
        }
    }

    #[test]
    fn each_platform_file_and_variable_says_what_it_knows() {
        let arn = "arn:aws:sagemaker:eu-central-1:123456789012:training-job/my-job";
        type Claims<'a> = &'a [(Figure, &'a str)];
        let cases: [(&[(&str, &str)], Claims<'_>); 7] = [
            (&[("TRAINING_JOB_NAME", "My-Job")], &[(Figure::Kind, "training"), (Figure::Job, "My-Job")]),
            (&[("TRAINING_JOB_ARN", arn)], &[(Figure::Kind, "training"), (Figure::Job, "my-job")]),
            (&[("SAGEMAKER_BATCH", "true")], &[(Figure::Kind, "transform")]),
            (&[("SAGEMAKER_BATCH", "True"), ("SAGEMAKER_BIND_TO_PORT", "80")], &[(Figure::Kind, "transform")]),
            (&[("SAGEMAKER_BATCH", "false")], &[]),
            (&[("SAGEMAKER_MULTI_MODEL", "true")], &[(Figure::Kind, "endpoint")]),
            (&[("TRAINING_JOB_NAME", "a\u{7}b")], &[(Figure::Kind, "training")]),
        ];
        for (variables, claims) in cases {
            let given = Given::new("none").variables(variables);
            let said: Vec<(Figure, String)> = sources(&given.places()).into_iter().flat_map(|s| s.claims).collect();
            let said: Vec<(Figure, &str)> = said.iter().map(|(figure, text)| (*figure, text.as_str())).collect();
            assert_eq!(said, claims, "{variables:?}");
        }
    }

    #[test]
    fn a_file_is_awaited_only_where_it_should_be() {
        let pending = |variables: &[(&str, &str)], folders: &[&str]| {
            let root = tempfile::tempdir().expect("a folder");
            folders.iter().for_each(|path| std::fs::create_dir_all(root.path().join(path)).expect("a folder"));
            let given = Given::below(root.path()).variables(variables);
            awaited(&given.places()).map(|path| path.strip_prefix(root.path()).expect("below").to_owned())
        };
        let training = Some(PathBuf::from("opt/ml/input/config/resourceconfig.json"));
        let processing = Some(PathBuf::from("opt/ml/config/processingjobconfig.json"));
        assert_eq!(pending(&[], &[]), None);
        assert_eq!(pending(&[("TRAINING_JOB_NAME", "j")], &[]), training);
        assert_eq!(pending(&[], &["opt/ml/input"]), training);
        assert_eq!(pending(&[], &["opt/ml/input", "opt/ml/processing"]), processing);
        assert_eq!(pending(&[("SAGEMAKER_BATCH", "true")], &["opt/ml/input"]), None);
        assert_eq!(pending(&[], &["opt/ml/config"]), None, "HyperPod has that folder as well");
        assert_eq!(awaited(&Given::new("training").places()), None, "it is there");
        assert!(awaited(&Given::new("malformed").places()).is_some(), "half of it is not enough");
    }

    #[test]
    fn files_of_each_kind_of_job() {
        assert_eq!(found("training", &[("TRAINING_JOB_NAME", "bert-1")]), "bert-1/algo-10");
        assert_eq!(found("processing", &[]), "clean-data/algo-2");
        assert_eq!(found("local-mode", &[("TRAINING_JOB_NAME", "local-1")]), "local-1/algo-1");
    }
}
