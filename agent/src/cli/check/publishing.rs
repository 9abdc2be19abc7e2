//! What would be published: under which names, how often, for how much, and where it goes.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::Duration;

use hostgauge_exporters::cloudwatch::price;

use super::finding::NOT_ASKED;
use super::{Finding, Machine, PATIENCE, service, spool, within};
use crate::Publish;
use crate::builder::Builder;
use crate::cli::options::Emf;
use crate::cli::{Failure, publishing, whoami};

const SUBJECT: &str = "publishing";
/// Requests are at least so far apart, whatever the period.
const SHORTEST_SPREAD: Duration = Duration::from_secs(10);
/// How many data of the most values a request holds.
const DATA_A_REQUEST: f64 = 350.0;

pub(super) fn check(machine: &Machine<'_>) -> Vec<Finding> {
    let values = machine.values();
    if !publishing::is_on(values) {
        return vec![Finding::note(SUBJECT, "not_asked", NOT_ASKED)];
    }
    let host = &whoami::identity(machine.configuration).host;
    let publish = match settled(machine, host) {
        Ok(publish) => publish,
        Err(what) => {
            let remedy = "hostgauge config shows where each value comes from";
            return vec![Finding::problem(SUBJECT, "settings", what).remedy(remedy)];
        }
    };
    let mut findings = vec![what(machine, &publish, host)];
    if values.cloudwatch || values.dry_run {
        findings.push(costs(machine, &publish));
    }
    if values.dry_run {
        findings.push(Finding::ok(SUBJECT, "a rehearsal: nothing is sent, no credentials are needed"));
    } else if values.cloudwatch {
        findings.extend(service::check(&publish.namespace(&values.roots.rootfs)));
        findings.push(spool::check(values));
    }
    if let Some(Emf::File(path)) = &values.emf {
        findings.push(emf(path));
    }
    findings
}

/// The settings, if they go together.
fn settled(machine: &Machine<'_>, host: &str) -> Result<Publish, String> {
    let words = |failure| match failure {
        Failure::Usage(what) | Failure::RunTime(what) => what,
    };
    let publish = publishing::publish(machine.configuration).map_err(words)?;
    publishing::configure(Builder::of_the_agent(), machine.configuration).map_err(words)?;
    publish.check(machine.values().interval)?;
    publish.publication(host, &machine.values().roots.rootfs).check()?;
    Ok(publish)
}

fn series(machine: &Machine<'_>, publish: &Publish) -> Vec<(String, usize)> {
    let gpus = machine.gpus.as_ref().map_or(0, |diagnosis| diagnosis.gpus.len());
    publish.series(gpus)
}

fn what(machine: &Machine<'_>, publish: &Publish, host: &str) -> Finding {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in series(machine, publish) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.extend(publish.metrics.iter().cloned());
    let dimensions = match &publish.endpoint {
        Some((endpoint, variant)) => format!("EndpointName={endpoint} VariantName={variant}"),
        None => format!("Host={host}"),
    };
    let every = humantime::format_duration(publish.period);
    let (names, namespace) = (names.join(", "), publish.namespace(&machine.values().roots.rootfs));
    Finding::ok(SUBJECT, format!("{names} under {namespace} with {dimensions}, each {every}"))
}

fn costs(machine: &Machine<'_>, publish: &Publish) -> Finding {
    let series = series(machine, publish).iter().map(|(_, count)| count).sum::<usize>() + publish.metrics.len();
    let spread = publish.period.max(SHORTEST_SPREAD);
    let data = series as f64 * (spread.as_secs_f64() / publish.period.as_secs_f64());
    let requests = (data / DATA_A_REQUEST).ceil();
    // A metric that is published by name may have a series for each core or GPU.
    let at_least = if publish.metrics.is_empty() { "" } else { ", at least" };
    let estimate = price::estimate(series as u64, requests, spread);
    Finding::ok("price", format!("{estimate}{at_least}"))
}

/// The file is not made here.
fn emf(path: &Path) -> Finding {
    let file = path.to_owned();
    let problem = |what: String| {
        Finding::problem("emf", "emf_unwritable", format!("{}: {what}", path.display()))
            .remedy("give --emf a file in a folder that exists and that this user may write to")
    };
    match within(PATIENCE, move || can_append(&file)) {
        Some(Ok(())) => Finding::ok("emf", format!("{} can be appended to", path.display())),
        Some(Err(error)) => problem(error.to_string()),
        None => problem("no answer".to_owned()),
    }
}

fn can_append(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(data) if data.file_type().is_fifo() => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "is a named pipe; expected a file"))
        }
        Ok(_) => OpenOptions::new().append(true).open(path).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            let place = hostgauge_exporters::cloudwatch::look_at_spool(folder);
            match place.refused {
                _ if place.nearest != folder => Err(io::Error::new(io::ErrorKind::NotFound, "its folder is missing")),
                Some(error) => Err(error),
                None => Ok(()),
            }
        }
        Err(error) => Err(error),
    }
}
