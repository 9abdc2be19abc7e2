//! Who of a pod may read whom: the kernel's rule as a table, for real containers here and in a guest.

use std::fmt;

use super::container::{Container, USUAL};
use super::page::Page;
use super::rootfs::RootFs;

/// What a sidecar runs.
pub(crate) const ONCE: [&str; 5] = ["once", "--interval", "300ms", "--format", "prometheus"];

/// Who may read what: user and capabilities of the algorithm's container and of the sidecar's.
pub(crate) struct Siblings {
    algorithm: (u32, &'static [&'static str]),
    pub sidecar: (u32, &'static [&'static str]),
    mounted: bool,
    /// The rule that stops the sidecar, and what to do; none where it reads the cgroup itself.
    pub said: &'static [&'static str],
}

const MORE: &[&str] = &["CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

pub(crate) const MATRIX: [Siblings; 8] = [
    Siblings { algorithm: (0, USUAL), sidecar: (0, USUAL), mounted: true, said: &[] },
    Siblings { algorithm: (0, USUAL), sidecar: (0, MORE), mounted: true, said: &[] },
    Siblings { algorithm: (1000, &[]), sidecar: (1000, &[]), mounted: true, said: &[] },
    Siblings { algorithm: (0, USUAL), sidecar: (65532, &["CAP_SYS_PTRACE"]), mounted: true, said: &[] },
    Siblings {
        algorithm: (0, USUAL),
        sidecar: (0, &[]),
        mounted: true,
        said: &["has capabilities 0x20000420 that we have not", "give this container the same capabilities"],
    },
    Siblings {
        algorithm: (0, USUAL),
        sidecar: (65532, &[]),
        mounted: true,
        said: &["is user 0's, we are 65532", "runAsUser: 0"],
    },
    Siblings {
        algorithm: (1000, &[]),
        sidecar: (1001, &[]),
        mounted: true,
        said: &["is user 1000's, we are 1001", "runAsUser: 1000"],
    },
    Siblings {
        algorithm: (0, USUAL),
        sidecar: (0, USUAL),
        mounted: false,
        said: &["shows no cgroup files of its own", "mount the cgroup file system in that container"],
    },
];

impl Siblings {
    /// The algorithm's container, which is busy, with half a core.
    pub(crate) fn algorithm(&self, root: &RootFs) -> Container {
        let load = Container::new("algorithm", root, &["sh", "-c", "while :; do :; done"]);
        let load = if self.mounted { load } else { load.without_cgroup_mount() };
        load.user(self.algorithm.0, self.algorithm.1).cpu(50)
    }

    /// Whether the sidecar read what it may, and said why it read no more. Returns how it read.
    pub(crate) fn judge(&self, page: &str, log: &str) -> String {
        let page = Page::parse(page.to_owned());
        let info = page.all("hostgauge_scope_info").next().unwrap_or_else(|| panic!("no scope: {page:?} {log}"));
        let mode = info.labels["mode"].clone();
        assert_eq!(mode, if self.said.is_empty() { "cgroup" } else { "processes" }, "{self} {log}");
        let get = |name| page.get(name, &[]);
        assert!(get("hostgauge_cpu_utilization_percent").is_some_and(|percent| percent > 1.0), "{self} {page:?} {log}");
        assert!(get("hostgauge_memory_used_bytes").is_some_and(|bytes| bytes > 0.0), "{self} {page:?}");
        let whole = mode == "cgroup";
        assert_eq!(get("hostgauge_cpu_limit_cores") == Some(0.5), whole, "{self} the quota: {page:?}");
        assert_eq!(get("hostgauge_disk_utilization_percent").is_some(), whole, "{self} its disks: {page:?}");
        for words in self.said {
            assert!(log.contains(words), "{self} {words}: {log}");
        }
        mode
    }
}

/// The start of a row of the table.
impl fmt::Display for Siblings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |(user, capabilities): (u32, &[&str])| match capabilities {
            [] => format!("uid {user}"),
            some => format!("uid {user} with {}", some.join(" ").replace("CAP_", "")),
        };
        let mounted = if self.mounted { "" } else { ", no cgroup mount" };
        let read = if self.said.is_empty() { "cgroup" } else { "processes" };
        write!(f, "| {}{mounted} | {} | {read} |", who(self.algorithm), who(self.sidecar))
    }
}
