//! Whose figures they will be.

use super::{Finding, Machine};
use crate::cli::whoami;

const SUBJECT: &str = "identity";

pub(super) fn check(machine: &Machine<'_>) -> Vec<Finding> {
    let identity = whoami::identity(machine.configuration);
    let (host, kind) = (&identity.host, identity.kind.as_str());
    let mut findings = vec![match identity.guess {
        Some(guess) => Finding::note(SUBJECT, "guessed", format!("Host {host}, job kind {kind}: guessed ({guess})"))
            .remedy("give --job-name and --instance-number, or --host; hostgauge whoami shows what was asked"),
        None => Finding::ok(SUBJECT, format!("Host {host}, job kind {kind}")),
    }];
    findings.extend(
        identity.warnings.iter().map(|warning| {
            Finding::note(SUBJECT, "conflict", warning.clone()).remedy("say which is right by an option")
        }),
    );
    findings
}
