//! A build without the feature `cloudwatch` publishes nothing.

use super::finding::NOT_ASKED;
use super::{Finding, Machine};
use crate::cli::publishing::is_on;

const SUBJECT: &str = "publishing";

pub(super) fn check(machine: &Machine<'_>) -> Vec<Finding> {
    if !is_on(machine.values()) {
        return vec![Finding::note(SUBJECT, "not_asked", NOT_ASKED)];
    }
    let what = "this build publishes nothing: it lacks the Cargo feature cloudwatch";
    vec![
        Finding::problem(SUBJECT, "not_built", what)
            .remedy("use a build with it for --cloudwatch, --emf and --dry-run"),
    ]
}
