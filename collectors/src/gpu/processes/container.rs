//! The container of a process, by the text of its /proc/PID/cgroup.
//!
//! | by | last component of the path |
//! | --- | --- |
//! | Docker, containerd, CRI-O, Podman with cgroupfs | the id |
//! | the same with systemd | `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope` |
//! | containerd's own systemd slices | `SLICE:cri-containerd:ID` |
//! | systemd | `NAME.scope`, `NAME.service` |
//!
//! Source: cgroups(7), "/proc files"; the runtimes' own cgroup managers.

use super::sanitised;

/// A process that no container or scope holds.
pub(super) const HOST: &str = "host";

/// An id is a SHA-256 in hexadecimal, whichever runtime made it.
const ID: usize = 64;

/// The container's id, else the cgroup's last component, else [`HOST`] for the root. Paths are those that our own
/// cgroup namespace shows.
pub(super) fn container(text: &str) -> String {
    let paths = || text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    if let Some(id) = paths().find_map(|path| path.rsplit('/').find_map(id)) {
        return id.to_owned();
    }
    // Version 2 has one hierarchy, whose number is 0; version 1 has many, and a process is often in the root of most.
    let unified = text.lines().filter_map(|line| line.strip_prefix("0::"));
    let named = unified.chain(paths()).filter_map(|path| path.rsplit('/').find(|part| !part.is_empty()));
    sanitised(named.into_iter().next().unwrap_or(HOST))
}

/// The id in one component of a path.
fn id(component: &str) -> Option<&str> {
    let name = component.strip_suffix(".scope").unwrap_or(component);
    let id = name.rsplit(['-', ':']).next()?;
    (id.len() == ID && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn the_id_is_found_whichever_runtime_made_the_cgroup() {
        for path in [
            format!("/docker/{SHA}"),
            format!("/system.slice/docker-{SHA}.scope"),
            format!("/system.slice/docker-{SHA}.scope/init"),
            format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a_2b.slice/crio-{SHA}.scope"),
            format!("/kubepods/besteffort/pod1a2b/{SHA}"),
            format!("/system.slice/containerd.service/kubepods-pod1a.slice:cri-containerd:{SHA}"),
            format!("/machine.slice/libpod-{SHA}.scope/container"),
            format!("/../cri-containerd-{SHA}.scope"),
        ] {
            assert_eq!(container(&format!("0::{path}\n")), SHA, "{path}");
            assert_eq!(container(&format!("5:cpu:/\n4:memory:{path}\n0::/\n")), SHA, "version 1, {path}");
        }
    }

    #[test]
    fn without_an_id_it_is_the_last_component_and_the_root_is_the_host() {
        for (text, name) in [
            ("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope"),
            ("0::/system.slice/slurmstepd.scope/job_42\n", "job_42"),
            ("4:memory:/job_42\n1:cpu:/\n0::/\n", "job_42"),
            ("9:name=systemd:/\n0::/\n", HOST),
            ("0::/\n", HOST),
            ("", HOST),
            ("nonsense", HOST),
            ("0::/a:b/c\u{7}d\n", "c?d"),
        ] {
            assert_eq!(container(text), name, "{text:?}");
        }
    }

    proptest::proptest! {
        // For all texts: a name comes out that is neither empty nor longer than a label may be.
        #[test]
        fn any_text_gives_a_name(text in ".{0,300}") {
            let name = container(&text);
            assert!((1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control), "{name:?}");
        }
    }
}
