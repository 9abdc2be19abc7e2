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
        let (cause, remedy) = failure(scope);
        Finding::problem(SUBJECT, cause, format!("{scope}: {why}")).remedy(remedy)
    }));
    let cores = explanation.cores.as_ref().map(|bound| limit(&format!("{} cores", bound.value), bound));
    let memory = explanation.memory.as_ref().map(|bound| limit(&binary_multiple(bound.value), bound));
    let limits: Vec<String> = cores.into_iter().chain(memory).collect();
    if !limits.is_empty() {
        findings.push(Finding::ok(SUBJECT, format!("limits: {}", limits.join(", "))));
    }
    findings
}

/// The cause, and what to look at, by the form of the scope.
fn failure(scope: &str) -> (&'static str, &'static str) {
    match scope.split_once(':').map_or(scope, |(form, _)| form) {
        "cgroup" => ("cgroup_unreadable", "see which cgroups there are: find /sys/fs/cgroup -type d"),
        "pid" | "tree" => ("process_unreadable", "give the number of a process that runs: ps -e"),
        "pod" if scope.starts_with("pod:uid=") => (
            "pod_unreadable",
            "mount the node's /sys/fs/cgroup read-only, and take the UID from: kubectl get pod NAME -o \
             jsonpath={.metadata.uid}",
        ),
        "pod" => ("pod_unreadable", "see which processes there are, and whose: cat /proc/[0-9]*/cgroup"),
        _ => (
            "container_unreadable",
            "see where this process is, and what is mounted: cat /proc/self/{cgroup,mountinfo}",
        ),
    }
}

fn limit(value: &str, bound: &Bound) -> String {
    format!("{value} ({})", bound.from)
}

/// One cgroup, or the processes that stand for it.
fn group(group: &Measured) -> Finding {
    let folders: Vec<String> = group.files.iter().map(|file| file.display().to_string()).collect();
    let mut found = format!("{}: {} {}", group.scope, group.mode, group.path);
    // A task's endpoint does not say.
    if group.version != "unknown" {
        found += &format!(" of {}", group.version);
    }
    if let Some(how) = group.how {
        found += &format!(", {how}");
    }
    match &group.hint {
        // Processes have no files of the cgroup.
        None if folders.is_empty() => Finding::ok(SUBJECT, found),
        None => Finding::ok(SUBJECT, format!("{found}: {}", folders.join(", "))),
        Some(hint) => Finding::note(SUBJECT, "degraded", format!("{found}: {}", hint.rule)).remedy(hint.remedy.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hostgauge_collectors::{Hint, Scope};

    #[test]
    fn processes_that_stand_for_a_cgroup_have_no_files_but_a_rule() {
        let mut measured = Measured {
            scope: "pod".into(),
            mode: "processes",
            version: "v2",
            path: "/../algorithm".into(),
            how: None,
            files: Vec::new(),
            root: None,
            cores: None,
            memory: None,
            hint: Some(Hint { rule: "not ours".into(), remedy: "run as it".into() }),
        };
        let found = group(&measured);
        assert_eq!(
            (found.found.as_str(), found.cause),
            ("pod: processes /../algorithm of v2: not ours", Some("degraded"))
        );
        (measured.mode, measured.hint, measured.files) = ("cgroup", None, vec!["/a".into(), "/b".into()]);
        measured.how = Some("in a mount");
        assert_eq!(group(&measured).found, "pod: cgroup /../algorithm of v2, in a mount: /a, /b");
        (measured.mode, measured.version, measured.files) = ("task", "unknown", Vec::new());
        assert_eq!(group(&measured).found, "pod: task /../algorithm, in a mount");
    }

    #[test]
    fn every_form_of_a_scope_has_a_cause_of_its_own() {
        for (scope, cause) in [
            (Scope::Container, "container_unreadable"),
            (Scope::Cgroup("/a:b".into()), "cgroup_unreadable"),
            (Scope::Pid(7), "process_unreadable"),
            (Scope::Tree(7), "process_unreadable"),
            (Scope::Pod(Default::default()), "pod_unreadable"),
        ] {
            assert_eq!(failure(&scope.to_string()).0, cause);
        }
        assert!(failure("pod:uid=8fb8cf5b-a18e-4d6e-9e1e-0a6f5e0f7c11").1.contains("metadata.uid"));
    }
}
