//! A build without the feature `cloudwatch` publishes nothing, and says so where it is asked to.

use std::time::Duration;

use super::Failure;
use super::configuration::Configuration;
use super::options::Values;
use crate::builder::Builder;

/// True where something was asked for that this build refuses.
pub(super) fn is_on(values: &Values) -> bool {
    values.cloudwatch || values.dry_run || values.emf.is_some()
}

pub(super) fn period(_: &Values) -> Option<Duration> {
    None
}

pub(super) fn summary(_: &Configuration) -> Vec<String> {
    Vec::new()
}

pub(super) fn configure(builder: Builder, configuration: &Configuration) -> Result<Builder, Failure> {
    if is_on(&configuration.values) {
        let what = "cloudwatch, dry-run, emf: this build has none of them (it lacks the Cargo feature cloudwatch)";
        return Err(Failure::Usage(what.into()));
    }
    Ok(builder)
}
