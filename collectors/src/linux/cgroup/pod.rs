//! The containers beside this one, found and read through the process namespace that the pod shares.
//!
//! Source: Kubernetes, "Share Process Namespace between Containers in a Pod"; ptrace(2), PTRACE_MODE_READ.

use std::path::Path;

use crate::error::{CollectError, Reason};
use crate::linux::cgroup::auto;
use crate::linux::cgroup::cpu;
use crate::linux::cgroup::group::{Found, Source};
use crate::linux::cgroup::locate::{self, Places, path_in};
use crate::linux::cgroup::processes;
use crate::linux::cgroup::reading::{CPU_NANOSECONDS, Reading};
use crate::sample::Roots;
use crate::scope::Neighbour;
use crate::scope_report::Hint;

/// A cgroup that is not ours, and the processes in it.
#[derive(Debug)]
struct Neighbours {
    membership: String,
    pids: Vec<u32>,
}

/// The chosen containers beside us.
pub(super) fn find(roots: &Roots, choice: &Neighbour) -> Result<Vec<Found>, CollectError> {
    if auto::is_first_namespace(&roots.procfs, "pid") {
        return Err(CollectError::new(
            Reason::Missing,
            "scope pod: this is the machine's own process namespace, not a pod's \
             (expected shareProcessNamespace: true; for a container of this machine give cgroup:PATH)",
        ));
    }
    let own = locate::read(&roots.procfs.join("self/cgroup"))?;
    let mut found = Vec::new();
    let (mut seen, mut refused) = (0, None);
    for neighbour in all(&roots.procfs, &own) {
        seen += 1;
        if matches!(choice, Neighbour::Environment(..)) {
            refused = refused.or_else(|| neighbour.hides_its_environment(&roots.procfs));
        }
        if neighbour.is_chosen(&roots.procfs, choice) {
            let one = neighbour.locate(roots)?;
            // A container with cgroups of its own inside is one container.
            if !found.iter().any(|other: &Found| other.is(&one)) {
                found.push(one);
            }
        }
    }
    match (found.is_empty(), seen) {
        (false, _) => {}
        (true, 0) => {
            let message = "scope pod: no process of another container can be seen (expected shareProcessNamespace: true \
                           in the pod, and a container that runs)";
            return Err(CollectError::new(Reason::Missing, message));
        }
        (true, seen) => {
            let message = format!("scope pod: none of the {seen} containers beside this one is the one looked for");
            return Err(refused.unwrap_or_else(|| CollectError::new(Reason::Missing, message)));
        }
    }
    if *choice == Neighbour::Busiest
        && let Some(busiest) = found.iter().enumerate().max_by_key(|(_, one)| used(roots, one)).map(|(index, _)| index)
    {
        found = vec![found.swap_remove(busiest)];
    }
    Ok(found)
}

/// The CPU time so far.
fn used(roots: &Roots, found: &Found) -> u64 {
    let mut reading = Reading::default();
    let item = if found.places.v1("cpuacct").is_some() { cpu::V1.first() } else { cpu::V2.first() };
    let place = found.places.v1("cpuacct").or(found.places.v2());
    match (&found.source, item, place) {
        (Source::Cgroup, Some(item), Some(place)) => {
            let file = item.names.first().map(|name| place.folder.join(name));
            if let Some(text) = file.and_then(|file| locate::read(&file).ok()) {
                let _ = (item.parse)(&text, &mut reading);
            }
        }
        (Source::Members(membership), ..) => {
            let members = processes::of_cgroup(&roots.procfs, membership);
            processes::Units::of_this_kernel().sum(&members, &mut reading);
        }
        _ => {}
    }
    reading.counters[CPU_NANOSECONDS].unwrap_or(0)
}

/// Every cgroup that is not ours and not the pause container's.
fn all(procfs: &Path, own: &str) -> Vec<Neighbours> {
    let mut groups: Vec<Neighbours> = Vec::new();
    for pid in processes::pids(procfs) {
        let Ok(membership) = locate::read(&procfs.join(pid.to_string()).join("cgroup")) else { continue };
        match groups.iter_mut().find(|group| group.membership == membership) {
            Some(group) => group.pids.push(pid),
            None if is_ours(own, &membership) => {}
            None => groups.push(Neighbours { membership, pids: vec![pid] }),
        }
    }
    groups.retain(|group| !group.pids.iter().all(|pid| is_pause(procfs, *pid)));
    groups
}

fn is_pause(procfs: &Path, pid: u32) -> bool {
    text(procfs, pid, "comm").trim_end() == "pause"
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
fn holds(text: &str, pattern: &str) -> bool {
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
    fn is_chosen(&self, procfs: &Path, choice: &Neighbour) -> bool {
        let mut pids = self.pids.iter();
        match choice {
            Neighbour::All | Neighbour::Busiest => true,
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

    /// Why its variables cannot be looked through, if they cannot.
    fn hides_its_environment(&self, procfs: &Path) -> Option<CollectError> {
        self.pids.iter().find_map(|pid| {
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
                    return Ok(Found { source: Source::Cgroup, places, root, hint: None });
                }
                Err(error) => {
                    refused.get_or_insert((*pid, error));
                }
            }
        }
        let hint = refused.map(|(pid, error)| hint(&roots.procfs, pid, &error));
        let places = locate::named(&self.membership);
        Ok(Found { source: Source::Members(self.membership.clone()), places, root: None, hint })
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
    let status = |who: &str| locate::read(&procfs.join(who).join("status")).unwrap_or_default();
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
