//! Inside SageMaker, second hand: what the training toolkit and the SDK's driver tell the user's script.
//!
//! A process that starts before or beside them does not have it, so it only fills in. Its ranks are no numbers.
//!
//! Sources: environment.py of sagemaker-training-toolkit and of sagemaker-python-sdk's container drivers.

use super::Places;
use super::file;
use super::sagemaker::current_host;
use super::source::{Figure, Platform, Source};

const CURRENT_HOST: &str = "SM_CURRENT_HOST";
const TRAINING_ENV: &str = "SM_TRAINING_ENV";
const FILE: &str = "/opt/ml/input/sm_training.env";

pub(super) fn sources(places: &Places<'_>) -> Vec<Source> {
    vec![
        Source::variable(Platform::SageMaker, CURRENT_HOST, places.variable(CURRENT_HOST), |source, host| {
            current_host(source, "the value", host)
        }),
        Source::variable(Platform::SageMaker, TRAINING_ENV, places.variable(TRAINING_ENV), training_env),
        script(places),
    ]
}

/// A JSON object with much of the job, hyperparameters included: two of its keys are ours.
fn training_env(source: Source, text: &str) -> Source {
    match file::parse_json(text) {
        Ok(object) => {
            let source = match object.get("current_host").and_then(|host| host.as_str()) {
                Some(host) => current_host(source, "current_host", host),
                None => source,
            };
            match object.get("job_name").and_then(|name| name.as_str()) {
                Some(name) => source.claim(Figure::Job, "job_name", name),
                None => source,
            }
        }
        Err(why) => source.silent(why),
    }
}

/// The variables as a script that a shell sources: `export SM_CURRENT_HOST='algo-1'`.
fn script(places: &Places<'_>) -> Source {
    let path = places.on_host(FILE);
    let source = Source::new(Platform::SageMaker, format!("file {}", path.display()));
    match file::read(&path) {
        Ok(text) => {
            let source = match exported(&text, TRAINING_ENV) {
                Some(object) => training_env(source, object),
                None => source,
            };
            match exported(&text, CURRENT_HOST) {
                Some(host) if source.answer(Figure::Number).is_none() => current_host(source, CURRENT_HOST, host),
                _ => source,
            }
        }
        Err(why) => source.silent(why),
    }
}

fn exported<'a>(script: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| {
        let line = line.trim();
        let value = line.strip_prefix("export ").unwrap_or(line).strip_prefix(name)?.strip_prefix('=')?;
        let within = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
        Some(within('\'').or_else(|| within('"')).unwrap_or(value))
    };
    script.lines().find_map(value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::detect::tests::{Given, found};

    #[test]
    fn the_script_of_the_sdk_is_read_like_a_shell_would() {
        let script =
            "\n\nexport SM_MODEL_DIR='/opt/ml/model'\nexport SM_CURRENT_HOST='algo-12'\nSM_HOSTS=\"[]\"\nSM_X=1\n";
        for (name, value) in [
            ("SM_CURRENT_HOST", Some("algo-12")),
            ("SM_HOSTS", Some("[]")),
            ("SM_X", Some("1")),
            ("SM_HOST", None),
            ("SM_CURRENT_HOST_RANK", None),
        ] {
            assert_eq!(exported(script, name), value, "{name}");
        }
    }

    #[test]
    fn it_fills_in_what_the_platform_did_not_say() {
        let env = r#"{"job_name": "toolkit-job", "current_host": "algo-3", "hyperparameters": {"token": "s3cret"}}"#;
        assert_eq!(found("none", &[("SM_TRAINING_ENV", env)]), "toolkit-job/algo-3");
        assert_eq!(found("toolkit", &[]), "sdk-job/algo-11");
        assert_eq!(found("training", &[("TRAINING_JOB_NAME", "j"), ("SM_CURRENT_HOST_RANK", "1")]), "j/algo-10");
        let given = Given::new("none").variables(&[("SM_TRAINING_ENV", "{\"password\": \"s3cret\"")]);
        let said = sources(&given.places());
        assert!(said[1].silence.is_some() && !format!("{said:?}").contains("s3cret"), "{said:?}");
    }
}
