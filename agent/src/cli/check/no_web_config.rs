//! A build without the feature `web-config` shows its page to everyone.

use hostgauge_exporters::prometheus::Guard;

use super::{Finding, Machine};
use crate::cli::options::Values;

const SUBJECT: &str = "web-config";

pub(super) fn check(machine: &Machine<'_>) -> Vec<Finding> {
    let what = "this build has neither TLS nor passwords: it lacks the Cargo feature web-config";
    let asked = machine.values().web_config.iter();
    asked.map(|_| Finding::problem(SUBJECT, "not_built", what).remedy("use a build with it for --web-config")).collect()
}

pub(super) fn guard(_: &Values) -> Guard {
    Guard::default()
}
