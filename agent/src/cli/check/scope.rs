//! Of what CPU, memory and disk will be the figures, why, and where each number comes from.

use hostgauge_collectors::{Bound, Measured, choose_scopes, explain_scope};

use super::{Finding, Machine};
use crate::cli::once::binary_multiple;

const SUBJECT: &str = "scope";

pub(super) fn check(machine: &Machine<'_>) -> Vec<Finding> {
    let values = machine.values();
    let chosen = match choose_scopes(&values.scopes, &values.roots) {
        Ok(chosen) => chosen,
        Err(error) => {
            return vec![
                Finding::problem(SUBJECT, "scope_unknown", error.to_string())
                    .remedy("hostgauge --help lists the forms of --scope"),
            ];
        }
    };
    let mut findings = vec![Finding::ok(SUBJECT, format!("{chosen}: {}", chosen.why))];
    if chosen.is_host() {
        return findings;
    }
    let explanation = explain_scope(&values.roots, &chosen);
    findings.extend(explanation.groups.iter().map(group));
    findings.extend(explanation.failures.iter().map(|(scope, why)| {
        Finding::problem(SUBJECT, "scope_unreadable", format!("{scope}: {why}"))
            .remedy("see which processes and cgroups there are: cat /proc/self/cgroup, ls /sys/fs/cgroup")
    }));
    let cores = explanation.cores.as_ref().map(|bound| limit(&format!("{} cores", bound.value), bound));
    let memory = explanation.memory.as_ref().map(|bound| limit(&binary_multiple(bound.value), bound));
    let limits: Vec<String> = cores.into_iter().chain(memory).collect();
    if !limits.is_empty() {
        findings.push(Finding::ok(SUBJECT, format!("limits: {}", limits.join(", "))));
    }
    findings
}

fn limit(value: &str, bound: &Bound) -> String {
    format!("{value} ({})", bound.from)
}

/// One cgroup, or the processes that stand for it.
fn group(group: &Measured) -> Finding {
    let folders: Vec<String> = group.files.iter().map(|file| file.display().to_string()).collect();
    let found = format!("{}: {} {} of {}: {}", group.scope, group.mode, group.path, group.version, folders.join(", "));
    match &group.hint {
        None => Finding::ok(SUBJECT, found),
        Some(hint) => Finding::note(SUBJECT, "degraded", format!("{found}: {}", hint.rule)).remedy(hint.remedy.clone()),
    }
}
