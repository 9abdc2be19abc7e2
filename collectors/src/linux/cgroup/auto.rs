//! Whether this process runs inside a container: what scope `auto` is.
//!
//! Two things that only an engine does, or one of them and a mark that engines leave, make a container. One alone does
//! not: systemd gives services private cgroup namespaces, sandboxes take process namespaces, and a machine whose root
//! was made from an image has the image's marks. The cgroup of a session or a service is no container either. Whoever
//! is in the machine's root cgroup shares it with everything, and there are no figures but the machine's.

use std::path::Path;

use crate::linux::cgroup::locate::path_in;
use crate::linux::cgroup::{mounts, text};
use crate::sample::Roots;
use crate::scope::Scope;

/// Numbers of the namespaces that a machine starts with; they never change (include/linux/proc_ns.h).
const FIRST: [(&str, &str); 2] = [("pid", "pid:[4026531836]"), ("cgroup", "cgroup:[4026531835]")];

/// Variables that engines and services set for their containers.
const VARIABLES: [&str; 7] = [
    "KUBERNETES_SERVICE_HOST",
    "ECS_CONTAINER_METADATA_URI_V4",
    "ECS_CONTAINER_METADATA_URI",
    "AWS_EXECUTION_ENV",
    "TRAINING_JOB_ARN",
    "SM_CURRENT_HOST",
    "container",
];

/// Files that engines put into a container's root.
const FILES: [&str; 4] =
    [".dockerenv", "run/.containerenv", "opt/ml/input/config/resourceconfig.json", "opt/ml/config/resourceconfig.json"];

/// Whether this process is in the namespace that the machine started with. Unknown is yes.
pub(super) fn is_first_namespace(procfs: &Path, kind: &str) -> bool {
    let link = std::fs::read_link(procfs.join("self/ns").join(kind));
    let first = FIRST.iter().find(|(name, _)| *name == kind).map(|(_, link)| Path::new(link));
    link.is_err() || link.ok().as_deref() == first
}

/// The scope, and in words what decided.
pub(crate) fn automatic(roots: &Roots) -> (Scope, String) {
    decide(roots, &|name| std::env::var_os(name).is_some())
}

fn decide(roots: &Roots, is_set: &dyn Fn(&str) -> bool) -> (Scope, String) {
    let mountinfo = text::read(&roots.procfs.join("self/mountinfo")).unwrap_or_default();
    let membership = text::read(&roots.procfs.join("self/cgroup")).unwrap_or_default();
    let mounts = mounts::parse(&mountinfo);

    let mut apart = Vec::new();
    if !is_first_namespace(&roots.procfs, "pid") {
        apart.push("a process namespace of its own".to_owned());
    }
    if !is_first_namespace(&roots.procfs, "cgroup") {
        apart.push("a cgroup namespace of its own".to_owned());
    }
    if mounts.iter().any(|mount| mount.root != "/") {
        apart.push("a cgroup mount that shows a part only".to_owned());
    }
    let mut marks: Vec<String> =
        VARIABLES.iter().filter(|name| is_set(name)).map(|name| format!("the variable {name}")).collect();
    let files = FILES.iter().map(|file| roots.rootfs.join(file)).filter(|file| file.exists());
    marks.extend(files.map(|file| file.display().to_string()));
    if has_overlay_root(&mountinfo) {
        marks.push("an overlay as root".to_owned());
    }

    let seen = || apart.iter().chain(&marks).cloned().collect::<Vec<_>>().join(", ");
    if apart.len() < 2 && (apart.is_empty() || marks.is_empty()) {
        let seen = if apart.is_empty() && marks.is_empty() { String::new() } else { format!(" ({} alone)", seen()) };
        return (Scope::Host, format!("not inside a container{seen}"));
    }
    let paths = [Some("memory"), Some("cpuacct"), None].map(|controller| path_in(&membership, controller));
    let in_root = is_first_namespace(&roots.procfs, "cgroup") && paths.into_iter().flatten().all(|path| path == "/");
    if mounts.is_empty() || in_root {
        let why = if in_root { "but in the machine's root cgroup" } else { "but no cgroup file system is mounted" };
        return (Scope::Host, format!("{}, {why}", seen()));
    }
    (Scope::Container, format!("inside a container: {}", seen()))
}

fn has_overlay_root(mountinfo: &str) -> bool {
    mountinfo.lines().any(|line| {
        let is_root = line.split(' ').nth(4) == Some("/");
        let kind = line.split_once(" - ").and_then(|(_, after)| after.split(' ').next());
        is_root && kind == Some("overlay")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const FIRST_PID: &str = "pid:[4026531836]";
    const FIRST_CGROUP: &str = "cgroup:[4026531835]";
    const OTHER_PID: &str = "pid:[4026532500]";
    const OTHER_CGROUP: &str = "cgroup:[4026532501]";
    const V2: &str = "9 1 0:9 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
    const DOCKER_V1: &str = "9 1 0:9 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
    const OVERLAY: &str = "1 0 0:5 / / rw - overlay overlay rw,lowerdir=/a\n";

    fn decided(namespaces: [&str; 2], mountinfo: &str, cgroup: &str, file: &str, variable: &str) -> (Scope, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let (procfs, rootfs) = (folder.path().join("proc"), folder.path().join("root"));
        fs::create_dir_all(procfs.join("self/ns")).expect("made");
        fs::create_dir_all(rootfs.join("run")).expect("made");
        for (name, link) in ["pid", "cgroup"].into_iter().zip(namespaces) {
            symlink(link, procfs.join("self/ns").join(name)).expect("linked");
        }
        fs::write(procfs.join("self/mountinfo"), mountinfo).expect("written");
        fs::write(procfs.join("self/cgroup"), cgroup).expect("written");
        if !file.is_empty() {
            fs::write(rootfs.join(file), "").expect("written");
        }
        decide(&Roots { procfs, rootfs, ..Roots::default() }, &|name| name == variable)
    }

    #[test]
    fn containers_are_found() {
        let overlay_v2 = format!("{OVERLAY}{V2}");
        for (what, namespaces, mountinfo, cgroup, file, variable) in [
            ("docker on v2", [OTHER_PID, OTHER_CGROUP], &*overlay_v2, "0::/\n", ".dockerenv", ""),
            ("docker on v1", [OTHER_PID, FIRST_CGROUP], DOCKER_V1, "4:memory:/docker/x\n", ".dockerenv", ""),
            ("runc, nothing marked", [OTHER_PID, OTHER_CGROUP], V2, "0::/\n", "", ""),
            ("Kubernetes with hostPID", [FIRST_PID, OTHER_CGROUP], V2, "0::/\n", "", "KUBERNETES_SERVICE_HOST"),
            ("podman", [OTHER_PID, OTHER_CGROUP], V2, "0::/\n", "run/.containerenv", "container"),
        ] {
            let (scope, why) = decided(namespaces, mountinfo, cgroup, file, variable);
            assert_eq!(scope, Scope::Container, "{what}: {why}");
        }
    }

    #[test]
    fn hosts_are_hosts() {
        let session = "0::/user.slice/user-1000.slice/session-3.scope\n";
        for (what, namespaces, mountinfo, cgroup, file, variable) in [
            ("a session", [FIRST_PID, FIRST_CGROUP], V2, session, "", ""),
            ("a service", [FIRST_PID, FIRST_CGROUP], V2, "0::/system.slice/hostgauge.service\n", "", ""),
            ("a service with private cgroups", [FIRST_PID, OTHER_CGROUP], V2, "0::/\n", "", ""),
            ("a sandbox in a session", [OTHER_PID, FIRST_CGROUP], V2, session, "", ""),
            ("a machine made from an image", [FIRST_PID, FIRST_CGROUP], V2, session, ".dockerenv", ""),
            ("a build step in the root", [OTHER_PID, FIRST_CGROUP], V2, "4:memory:/\n0::/\n", ".dockerenv", ""),
            ("no cgroups mounted", [OTHER_PID, OTHER_CGROUP], OVERLAY, "0::/\n", ".dockerenv", ""),
        ] {
            let (scope, why) = decided(namespaces, mountinfo, cgroup, file, variable);
            assert_eq!(scope, Scope::Host, "{what}: {why}");
        }
    }

    #[test]
    fn what_decided_is_said() {
        let (_, why) = decided([OTHER_PID, OTHER_CGROUP], V2, "0::/\n", ".dockerenv", "KUBERNETES_SERVICE_HOST");
        for word in ["process namespace", "cgroup namespace", "KUBERNETES_SERVICE_HOST", ".dockerenv"] {
            assert!(why.contains(word), "{why}");
        }
    }
}
