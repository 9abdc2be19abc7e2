//! The options about CloudWatch and the embedded metric format, as the library takes them.

use std::path::PathBuf;
use std::time::Duration;

use super::Failure;
use super::configuration::Configuration;
use super::options::{Emf, Spool, Values};
use super::output;
use super::whoami::identity;
use crate::builder::Builder;
use crate::identity::Figure;
use crate::{CloudWatch, EmfTarget, JobKind, Publish, Rehearsed, Resolution, Statistics};

/// What is published, by the options and by what kind of job this is.
pub(super) fn publish(configuration: &Configuration) -> Result<Publish, Failure> {
    let (values, identity) = (&configuration.values, identity(configuration));
    let endpoint = values.endpoint_name.clone().zip(values.variant_name.clone());
    if let (JobKind::Endpoint, None, Some((source, _))) = (identity.kind, &endpoint, identity.answer(Figure::Kind)) {
        return Err(Failure::Usage(format!(
            "this is a host of an endpoint ({}), which nothing on it names: expected endpoint-name and variant-name, \
             its dimensions on CloudWatch, or another job-kind",
            source.name
        )));
    }
    Ok(Publish {
        namespace: values.namespace.clone(),
        job_kind: identity.kind,
        endpoint: endpoint.filter(|_| identity.kind == JobKind::Endpoint),
        period: values.period,
        resolution: if values.high_resolution { Resolution::Second } else { Resolution::Minute },
        statistics: if values.average { Statistics::Average } else { Statistics::Distribution },
        per_device: values.per_device,
        metrics: values.metrics.clone(),
    })
}

pub(super) fn is_on(values: &Values) -> bool {
    values.cloudwatch || values.dry_run || values.emf.is_some()
}

/// How often something is published, if anything is.
pub(super) fn period(values: &Values) -> Option<Duration> {
    is_on(values).then_some(values.period)
}

/// What is published where, a line for each way.
pub(super) fn summary(configuration: &Configuration) -> Vec<String> {
    let values = &configuration.values;
    let Some(publish) = publish(configuration).ok().filter(|_| is_on(values)) else { return Vec::new() };
    let each =
        format!("{}, each {}", publish.namespace(&values.roots.rootfs), humantime::format_duration(publish.period));
    let spool = match spool_folder(values) {
        Some(folder) => format!("spool {}", folder.display()),
        None => "no spool: what waits is lost with the process".to_owned(),
    };
    let mut lines = Vec::new();
    match (values.dry_run, values.cloudwatch) {
        (true, _) => lines.push(format!("nothing: a rehearsal of {each}")),
        (false, true) => lines.push(format!("{each}, to CloudWatch; {spool}")),
        (false, false) => {}
    }
    lines.extend(values.emf.as_ref().map(|emf| match emf {
        Emf::Stdout => format!("{each}, as embedded metric format on standard output"),
        Emf::File(path) => format!("{each}, as embedded metric format in {}", path.display()),
    }));
    lines
}

pub(super) fn configure(builder: Builder, configuration: &Configuration) -> Result<Builder, Failure> {
    let values = &configuration.values;
    if !is_on(values) {
        return Ok(builder);
    }
    let mut builder = builder.publish(publish(configuration)?);
    if values.dry_run && values.emf == Some(Emf::Stdout) {
        return Err(Failure::Usage("dry-run and emf stdout: both write to standard output; expected one".into()));
    }
    if values.cloudwatch || values.dry_run {
        builder = builder.cloudwatch(CloudWatch {
            spool: spool_folder(values),
            spool_max_bytes: values.spool_max_bytes,
            rehearsal: values.dry_run.then(|| Box::new(show) as _),
        });
    }
    Ok(match &values.emf {
        Some(Emf::Stdout) => builder.emf(EmfTarget::Stdout),
        Some(Emf::File(path)) => builder.emf(EmfTarget::File(path.clone())),
        None => builder,
    })
}

/// Where data wait: where it was said, else where the system keeps a service's state.
pub(super) fn spool_folder(values: &Values) -> Option<PathBuf> {
    match &values.spool_folder {
        Some(Spool::Off) => None,
        Some(Spool::Folder(folder)) => Some(folder.clone()),
        None => {
            let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
            default_spool_folder(variable, nix::unistd::geteuid().is_root())
        }
    }
}

/// systemd's StateDirectory, else /var/lib for root, else the user's state folder (XDG Base Directory).
fn default_spool_folder(variable: impl Fn(&str) -> Option<PathBuf>, root: bool) -> Option<PathBuf> {
    let of_systemd = variable("STATE_DIRECTORY");
    let of_system = root.then(|| PathBuf::from("/var/lib/hostgauge"));
    let of_user = || {
        let state = variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
        let state = state.or_else(|| variable("HOME").map(|home| home.join(".local/state")));
        state.map(|state| state.join("hostgauge"))
    };
    of_systemd.or(of_system).or_else(of_user).map(|state| state.join("spool"))
}

/// Prints each request as a line of JSON, and says what they would cost.
fn show(rehearsed: Rehearsed) {
    match rehearsed {
        Rehearsed::Request { json, uncompressed_bytes, sent_bytes } => {
            let line = serde_json::json!({
                "PutMetricData": json,
                "UncompressedBytes": uncompressed_bytes,
                "SentBytes": sent_bytes,
            });
            if let Err(Failure::Usage(message) | Failure::RunTime(message)) = output::print(&format!("{line}\n")) {
                log::error!("dry-run: {message}");
            }
        }
        Rehearsed::Price(estimate) => log::info!("dry-run: {estimate}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spool_lies_where_the_system_keeps_state() {
        let with = |set: &'static [(&str, &str)]| {
            move |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, path)| PathBuf::from(path))
        };
        for (set, root, expected) in [
            (&[("STATE_DIRECTORY", "/var/lib/x"), ("HOME", "/home/a")][..], true, Some("/var/lib/x/spool")),
            (&[("HOME", "/root")], true, Some("/var/lib/hostgauge/spool")),
            (&[("HOME", "/home/a")], false, Some("/home/a/.local/state/hostgauge/spool")),
            (&[("XDG_STATE_HOME", "/s"), ("HOME", "/home/a")], false, Some("/s/hostgauge/spool")),
            (&[("XDG_STATE_HOME", "s")], false, None),
            (&[], false, None),
        ] {
            assert_eq!(default_spool_folder(with(set), root), expected.map(PathBuf::from), "{set:?}");
        }
    }
}
