//! `hostgauge check`: what would work with this configuration on this machine, what would not, why, and what to do.
//!
//! Nothing is published, nothing is written, and whatever may hang has a deadline.

mod finding;
mod gpu;
mod host;
mod identity;
mod page;
#[cfg_attr(not(feature = "cloudwatch"), path = "no_publishing.rs")]
mod publishing;
mod scope;
#[cfg(feature = "cloudwatch")]
mod service;
#[cfg(feature = "cloudwatch")]
mod spool;
#[cfg_attr(not(feature = "web-config"), path = "no_web_config.rs")]
mod web_config;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hostgauge_collectors::{GpuDiagnosis, diagnose_gpus};

use super::Failure;
use super::commands::Format;
use super::configuration::Configuration;
use super::options::Values;
use super::output;
use finding::{Finding, Level, json, text};

/// The longest that a driver, a disk or a service may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is looked at, each by a function of its own, in the order of the output.
const CHECKS: [fn(&Machine<'_>) -> Vec<Finding>; 7] =
    [host::check, scope::check, identity::check, gpu::check, page::check, web_config::check, publishing::check];

/// What all of them go by.
struct Machine<'a> {
    configuration: &'a Configuration,
    /// `None` where no GPU is to be measured.
    gpus: Option<GpuDiagnosis>,
}

impl Machine<'_> {
    fn values(&self) -> &Values {
        &self.configuration.values
    }
}

pub(super) fn run(configuration: &Configuration, format: Format) -> Result<(), Failure> {
    let values = &configuration.values;
    let diagnose = || {
        let variable = |name: &str| std::env::var(name).ok();
        diagnose_gpus(&values.roots, &values.gpus, values.nvml_library.as_deref(), variable, PATIENCE)
    };
    let machine = Machine { configuration, gpus: (!values.gpus.is_none()).then(diagnose) };
    let findings: Vec<Finding> = CHECKS.iter().flat_map(|check| check(&machine)).collect();
    output::print(&if format == Format::Json { json(&findings) } else { text(&findings) })?;
    match findings.iter().filter(|finding| finding.level == Level::Problem).count() {
        0 => Ok(()),
        1 => Err(Failure::RunTime("1 problem".into())),
        problems => Err(Failure::RunTime(format!("{problems} problems"))),
    }
}

/// What `work` returns, or `None` where it takes too long: then it stays behind in its thread.
fn within<T: Send + 'static>(patience: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = mpsc::sync_channel(1);
    thread::Builder::new().spawn(move || drop(tell.send(work()))).ok()?;
    told.recv_timeout(patience).ok()
}
