//! The containers beside this one, found and read through the process namespace that the pod shares.
//!
//! Source: Kubernetes, "Share Process Namespace between Containers in a Pod"; ptrace(2), PTRACE_MODE_READ.

use std::path::Path;

use crate::error::{CollectError, Reason};
use crate::linux::cgroup::auto;
use crate::linux::cgroup::group::{self, Found, Source};
use crate::linux::cgroup::locate::{self, Places, path_in};
use crate::linux::cgroup::reading::{CPU_NANOSECONDS, Reading};
use crate::linux::cgroup::{processes, text};
use crate::sample::Roots;
use crate::scope::Neighbour;
use crate::scope_report::Hint;

const HOW: Option<&str> = Some("through the shared process namespace");

/// The processes of a container that is not ours.
#[derive(Debug)]
pub(super) struct Neighbours {
    membership: String,
    pids: Vec<u32>,
}

/// Every container whose processes can be seen beside ours.
pub(super) fn neighbours(roots: &Roots) -> Result<Vec<Neighbours>, CollectError> {
    if auto::is_first_namespace(&roots.procfs, "pid") || is_outer(&roots.procfs) {
        return Err(CollectError::new(
            Reason::Missing,
            "scope pod: this is the machine's own process namespace, not a pod's \
             (expected shareProcessNamespace: true; for a pod of this machine give pod:uid=UID, for another container \
             cgroup:PATH)",
        ));
    }
    let own = text::read(&roots.procfs.join("self/cgroup"))?;
    let all = all(&roots.procfs, &own);
    if all.is_empty() {
        let message = "scope pod: no process of another container can be seen (expected shareProcessNamespace: true in \
                       the pod, or a mount of the machine's cgroups, and a container that runs)";
        return Err(CollectError::new(Reason::Missing, message));
    }
    Ok(all)
}

/// Whether a procfs shows more than our own process namespace: the machine's, mounted into a container.
fn is_outer(procfs: &Path) -> bool {
    let status = text::read(&procfs.join("self/status")).unwrap_or_default();
    let row = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    row.is_some_and(|numbers| numbers.split_ascii_whitespace().count() > 1)
}

/// The chosen among containers.
pub(super) fn choose(roots: &Roots, all: Vec<Neighbours>, choice: &Neighbour) -> Result<Vec<Found>, CollectError> {
    let (mut found, seen) = (Vec::new(), all.len());
    let mut refused = None;
    for neighbour in all {
        refused = refused.or_else(|| neighbour.hides(&roots.procfs, choice));
        if neighbour.is_chosen(&roots.procfs, choice) {
            let one = neighbour.locate(roots)?;
            // A container with cgroups of its own inside is one container.
            if !found.iter().any(|other: &Found| other.is(&one)) {
                found.push(one);
            }
        }
    }
    if found.is_empty() { Err(refused.unwrap_or_else(|| none_of(seen))) } else { Ok(found) }
}

pub(super) fn none_of(seen: usize) -> CollectError {
    let message = format!("scope pod: none of the {seen} containers beside this one is the one looked for");
    CollectError::new(Reason::Missing, message)
}

/// The one that has used most CPU time so far.
pub(super) fn busiest(roots: &Roots, mut found: Vec<Found>) -> Vec<Found> {
    match found.iter().enumerate().max_by_key(|(_, one)| used(roots, one)).map(|(index, _)| index) {
        Some(busiest) => vec![found.swap_remove(busiest)],
        None => found,
    }
}

/// The CPU time so far.
fn used(roots: &Roots, found: &Found) -> u64 {
    let reading = match &found.source {
        Source::Cgroup => group::look(&found.places),
        Source::Members(membership) => {
            let mut reading = Reading::default();
            let members = processes::of_cgroup(&roots.procfs, membership);
            processes::Units::of_this_kernel().sum(&members, &mut reading);
            reading
        }
        Source::Task(container) => {
            container.newest().map(|newest| newest.statistics.reading.clone()).unwrap_or_default()
        }
        Source::Tree { .. } => Reading::default(),
    };
    reading.counters[CPU_NANOSECONDS].unwrap_or(0)
}

/// Every process, and what its /proc/PID/cgroup says.
pub(super) fn memberships(procfs: &Path) -> Vec<(u32, String)> {
    let membership = |pid: u32| Some((pid, text::read(&procfs.join(pid.to_string()).join("cgroup")).ok()?));
    processes::pids(procfs).into_iter().filter_map(membership).collect()
}

/// Every cgroup that is not ours and not the pause container's.
fn all(procfs: &Path, own: &str) -> Vec<Neighbours> {
    let mut groups: Vec<Neighbours> = Vec::new();
    for (pid, membership) in memberships(procfs) {
        match groups.iter_mut().find(|group| group.membership == membership) {
            Some(group) => group.pids.push(pid),
            None if is_ours(own, &membership) => {}
            None => groups.push(Neighbours { membership, pids: vec![pid] }),
        }
    }
    groups.retain(|group| !group.is_pause(procfs));
    groups
}

/// Whether a process is in our cgroup or in one below it.
fn is_ours(own: &str, theirs: &str) -> bool {
    let below = |controller| match (path_in(own, controller), path_in(theirs, controller)) {
        (Some(own), Some(theirs)) => {
            let rest = theirs.strip_prefix(own.trim_end_matches('/'));
            Some(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') && !rest.starts_with("/..")))
        }
        _ => None,
    };
    // Under a hybrid, v2 may hold everybody in its root.
    let verdicts = [below(Some("memory")), below(Some("cpuacct")), below(None)];
    own == theirs || verdicts.into_iter().flatten().all(|is_below| is_below)
}

/// A file of a process as text, its separating zeros as blanks; empty where it cannot be read.
fn text(procfs: &Path, pid: u32, file: &str) -> String {
    let bytes = std::fs::read(procfs.join(pid.to_string()).join(file)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Whether the parts of `pattern` between its `*` stand in `text` in this order.
pub(super) fn holds(text: &str, pattern: &str) -> bool {
    let after = |rest: &'_ str, part: &str| rest.find(part).map(|at| at + part.len());
    let mut rest = text;
    pattern.split('*').all(|part| match after(rest, part) {
        Some(end) => {
            rest = rest.get(end..).unwrap_or_default();
            true
        }
        None => false,
    })
}

impl Neighbours {
    /// The processes whose membership is one of the container's.
    pub(super) fn of(processes: &[(u32, String)], is_member: impl Fn(&str) -> bool) -> Self {
        let pids = processes.iter().filter(|(_, membership)| is_member(membership)).map(|(pid, _)| *pid).collect();
        Self { membership: String::new(), pids }
    }

    /// Whether no process of it can be seen.
    pub(super) fn is_empty(&self) -> bool {
        self.pids.is_empty()
    }

    /// The process that is there longest.
    pub(super) fn first(&self, procfs: &Path) -> Option<u32> {
        let started = |pid: &u32| processes::read(procfs, *pid).map_or(u64::MAX, |process| process.start);
        self.pids.iter().copied().min_by_key(started)
    }

    /// Whether it is the container that only holds the pod's namespaces.
    pub(super) fn is_pause(&self, procfs: &Path) -> bool {
        !self.is_empty() && self.pids.iter().all(|pid| text(procfs, *pid, "comm").trim_end() == "pause")
    }

    pub(super) fn is_chosen(&self, procfs: &Path, choice: &Neighbour) -> bool {
        let mut pids = self.pids.iter();
        match choice {
            Neighbour::All | Neighbour::Busiest | Neighbour::Uid(_) => true,
            Neighbour::Name(pattern) => pids.any(|pid| holds(text(procfs, *pid, "comm").trim_end(), pattern)),
            Neighbour::Command(pattern) => pids.any(|pid| holds(text(procfs, *pid, "cmdline").trim_end(), pattern)),
            Neighbour::Environment(name, pattern) => pids.any(|pid| {
                let bytes = std::fs::read(procfs.join(pid.to_string()).join("environ")).unwrap_or_default();
                let environment = String::from_utf8_lossy(&bytes);
                let mut variables = environment.split('\0').filter_map(|variable| variable.split_once('='));
                variables.any(|(one, value)| one == name && holds(value, pattern))
            }),
        }
    }

    /// Why its variables cannot be looked through, if the choice takes that and they cannot.
    pub(super) fn hides(&self, procfs: &Path, choice: &Neighbour) -> Option<CollectError> {
        let pids = if matches!(choice, Neighbour::Environment(..)) { self.pids.as_slice() } else { &[] };
        pids.iter().find_map(|pid| {
            let path = procfs.join(pid.to_string()).join("environ");
            let error = std::fs::File::open(&path).err()?;
            let error = CollectError::io("open", &path, &error);
            (error.reason() == Reason::Denied).then(|| {
                let Hint { rule, remedy } = hint(procfs, *pid, &error);
                CollectError::new(Reason::Denied, format!("scope pod: {error}: {rule}; {remedy}"))
            })
        })
    }

    /// Its files through the root of one of its processes, or else its processes.
    fn locate(&self, roots: &Roots) -> Result<Found, CollectError> {
        let mut refused = None;
        // Any process of the container will do, and some may have more capabilities than others.
        for pid in self.pids.iter().take(8) {
            let attempt = locate::through_root(roots, &pid.to_string(), &self.membership, true);
            match attempt.and_then(|places| can_read(&places).map(|()| places)) {
                Ok(places) => {
                    let root = Some(roots.procfs.join(pid.to_string()).join("root"));
                    return Ok(Found { source: Source::Cgroup, places, root, hint: None, how: HOW });
                }
                Err(error) => {
                    refused.get_or_insert((*pid, error));
                }
            }
        }
        let hint = refused.map(|(pid, error)| hint(&roots.procfs, pid, &error));
        let places = locate::named(&self.membership);
        Ok(Found { source: Source::Members(self.membership.clone()), places, root: None, hint, how: HOW })
    }
}

fn can_read(places: &Places) -> Result<(), CollectError> {
    let file = match (places.v1("cpuacct"), places.v2()) {
        (Some(place), _) => place.folder.join("cpuacct.usage"),
        (None, Some(place)) => place.folder.join("cpu.stat"),
        (None, None) => return Err(CollectError::new(Reason::Missing, "no cgroup mount shows its CPU time")),
    };
    std::fs::File::open(&file).map(drop).map_err(|error| CollectError::io("open", &file, &error))
}

/// The rule that stood in the way, as far as /proc/PID/status shows it.
fn hint(procfs: &Path, pid: u32, error: &CollectError) -> Hint {
    if error.reason() != Reason::Denied {
        return Hint {
            rule: format!("process {pid} shows no cgroup files of its own: {error}"),
            remedy: "mount the cgroup file system in that container (every engine does by default)".into(),
        };
    }
    let status = |who: &str| text::read(&procfs.join(who).join("status")).unwrap_or_default();
    let row = |text: &str, name: &str| {
        let row = text.lines().find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next());
        row.map(str::to_owned)
    };
    let (theirs, ours) = (status(&pid.to_string()), status("self"));
    let capabilities = |text: &str, name| row(text, name).and_then(|hex| u64::from_str_radix(&hex, 16).ok());
    let users = (row(&theirs, "Uid:"), row(&ours, "Uid:"));
    let missing = capabilities(&theirs, "CapPrm:").zip(capabilities(&ours, "CapEff:")).map(|(all, own)| all & !own);
    let rule =
        "the kernel shows another's root only to the same user with all its capabilities, or with CAP_SYS_PTRACE";
    let (why, remedy) = match (users, missing) {
        ((Some(theirs), Some(ours)), _) if theirs != ours => (
            format!("process {pid} is user {theirs}'s, we are {ours}"),
            format!("run this container with runAsUser: {theirs} (or with the capability SYS_PTRACE)"),
        ),
        (_, Some(missing)) if missing != 0 => (
            format!("process {pid} has capabilities {missing:#x} that we have not"),
            "give this container the same capabilities as that one (or SYS_PTRACE)".into(),
        ),
        _ => (
            format!("process {pid} is in another user namespace, or a security module says no"),
            "give this container the capability SYS_PTRACE".to_owned(),
        ),
    };
    Hint { rule: format!("{why}: {rule}"), remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_our_cgroup_and_what_is_below() {
        assert!(is_ours("0::/\n", "0::/\n"));
        assert!(is_ours("0::/\n", "0::/init.scope\n"));
        assert!(!is_ours("0::/\n", "0::/../algo\n"));
        assert!(!is_ours("0::/\n", "0::/..\n"));
        assert!(is_ours("4:memory:/pod/a\n0::/\n", "4:memory:/pod/a/x\n0::/\n"));
        assert!(!is_ours("4:memory:/pod/a\n0::/\n", "4:memory:/pod/ab\n0::/\n"));
    }

    #[test]
    fn a_pattern_is_a_part_and_a_star_anything() {
        for (pattern, fits) in [("train", true), ("py*train", true), ("train*py3", false), ("*", true), ("x", false)] {
            assert_eq!(holds("python3 train.py", pattern), fits, "{pattern}");
        }
    }
}
