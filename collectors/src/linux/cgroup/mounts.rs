//! Where the kernel's cgroup file systems are mounted, version by version and controller by controller.
//!
//! Source: proc_pid_mountinfo(5); Documentation/admin-guide/cgroup-v{1,2}.

use std::path::{Path, PathBuf};

use crate::sample::Roots;
use crate::scope::is_below;

/// A mount of cgroup v1 (some controllers) or v2 (all that v1 does not have).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The path of the cgroup that is seen at `point`, in the namespace of the reader.
    pub root: String,
    /// Where it is mounted.
    pub point: PathBuf,
    /// v1: its controllers. Empty for v2.
    pub controllers: Vec<String>,
    pub v2: bool,
}

impl Mount {
    /// Where the cgroup of this path is found; `None` if this mount does not show it.
    pub(super) fn folder(&self, path: &str) -> Option<PathBuf> {
        let rest = match self.root.as_str() {
            "/" => path,
            root => path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'))?,
        };
        let rest = rest.trim_matches('/');
        // The rest of a path with ".." leads out of the mount.
        (rest.is_empty() || is_below(rest))
            .then(|| if rest.is_empty() { self.point.clone() } else { self.point.join(rest) })
    }
}

/// The cgroup mounts of a mountinfo file. Lines that are none of them, or that nobody understands, are left out.
pub(super) fn parse(mountinfo: &str) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = mountinfo.lines().filter_map(mount).collect();
    // Of two at one point only the later is seen.
    let mut index = 0;
    while index < mounts.len() {
        let hidden =
            mounts.iter().skip(index + 1).any(|later| Some(&later.point) == mounts.get(index).map(|m| &m.point));
        if hidden {
            mounts.remove(index);
        } else {
            index += 1;
        }
    }
    mounts
}

fn mount(line: &str) -> Option<Mount> {
    // id parent major:minor root point options [optional fields] - type source super-options
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    let (kind, options) = (after.next()?, after.nth(1)?);
    let v2 = match kind {
        "cgroup" => false,
        "cgroup2" => true,
        _ => return None,
    };
    let mut before = before.split(' ').skip(3);
    let (root, point) = (unescape(before.next()?), unescape(before.next()?));
    let controllers = if v2 { Vec::new() } else { options.split(',').map(str::to_owned).collect() };
    Some(Mount { root, point: point.into(), controllers, v2 })
}

/// The kernel writes blanks, tabs, newlines and backslashes as `\040` and so on.
fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let digits = after.get(..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(code.into());
                rest = &after[3..];
            }
            None => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain + rest
}

/// Where a mount of our own namespace is found when sysfs is seen elsewhere: `/sys/fs/cgroup` below `sysfs`. Mounts
/// that are below `sysfs` as they are come first, since that is what was asked for.
pub(super) fn seen_from(roots: &Roots, mut mounts: Vec<Mount>) -> Vec<Mount> {
    mounts.sort_by_key(|mount| !mount.point.starts_with(&roots.sysfs));
    for mount in &mut mounts {
        if !mount.point.starts_with(&roots.sysfs)
            && let Ok(rest) = mount.point.strip_prefix("/sys")
        {
            mount.point = roots.sysfs.join(rest);
        }
    }
    mounts
}

/// The same mounts seen through another process' root, `/proc/PID/root`.
pub(super) fn below(root: &Path, mut mounts: Vec<Mount>) -> Vec<Mount> {
    for mount in &mut mounts {
        mount.point = root.join(mount.point.strip_prefix("/").unwrap_or(&mount.point));
    }
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro,relatime master:1 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
nonsense
1 2 - cgroup
";

    #[test]
    fn each_controller_is_where_its_super_options_say() {
        let mounts = parse(HYBRID);
        let find = |name: &str| mounts.iter().find(|mount| mount.controllers.iter().any(|c| c == name));
        assert_eq!(find("cpuacct").expect("v1").point, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(find("memory").expect("v1").root, "/docker/abc");
        assert_eq!(find("io"), None);
        assert_eq!(mounts.iter().filter(|mount| mount.v2).count(), 1);
        assert_eq!(mounts.len(), 4);
    }

    #[test]
    fn a_path_leads_to_a_folder_below_the_mount_or_nowhere() {
        let at = |root: &str, path: &str| {
            let point = "/m".into();
            let mount = Mount { root: root.into(), point, controllers: Vec::new(), v2: true };
            mount.folder(path).map(|folder| folder.to_string_lossy().into_owned())
        };
        let some = |path: &str| Some(path.to_owned());
        assert_eq!(at("/", "/"), some("/m"));
        assert_eq!(at("/", "/a/b"), some("/m/a/b"));
        assert_eq!(at("/docker/x", "/docker/x"), some("/m"));
        assert_eq!(at("/docker/x", "/docker/x/child"), some("/m/child"));
        assert_eq!(at("/docker/x", "/docker/xy"), None);
        assert_eq!(at("/docker/x", "/"), None);
        // A sibling of a private namespace: through our own mount it cannot be reached, through its own it can.
        assert_eq!(at("/", "/../algo"), None);
        assert_eq!(at("/../algo", "/../algo"), some("/m"));
        assert_eq!(at("/../algo", "/../algo/../other"), None);
    }

    #[test]
    fn of_two_mounts_at_one_point_the_later_is_seen() {
        let mounts = parse("1 2 0:1 / /c rw - cgroup c rw,memory\n3 2 0:2 /x /c rw - cgroup2 c rw\n");
        assert_eq!(mounts.len(), 1);
        assert!(mounts[0].v2);
        assert_eq!(unescape(r"a\040b\134c\9\+12"), r"a b\c\9\+12");
    }

    #[test]
    fn a_mount_is_looked_up_where_sysfs_is_seen() {
        let roots = Roots { sysfs: "/host/sys".into(), ..Roots::default() };
        let text = "1 2 0:1 / /sys/fs/cgroup rw - cgroup2 c rw\n3 2 0:2 / /host/sys/fs/cgroup rw - cgroup2 c rw,x\n";
        let points: Vec<PathBuf> = seen_from(&roots, parse(text)).into_iter().map(|mount| mount.point).collect();
        assert_eq!(points, [Path::new("/host/sys/fs/cgroup"), Path::new("/host/sys/fs/cgroup")]);
        assert_eq!(seen_from(&Roots::default(), parse(text))[0].point, Path::new("/sys/fs/cgroup"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,120}", line in "[0-9a-z:/\\\\ ,-]{0,120}") {
            let _ = (parse(&text), parse(&line), parse(&format!("1 2 3 {line} - cgroup x {text}")));
        }

        // For every path, what it leads to lies below the mount point.
        #[test]
        fn no_path_leads_out_of_the_mount(path in "(/|\\.|a|b){0,12}", root in prop_oneof!["/", "/a", "/\\.\\./a"]) {
            let mount = Mount { root, point: "/m".into(), controllers: Vec::new(), v2: true };
            if let Some(folder) = mount.folder(&path) {
                prop_assert!(folder.starts_with("/m"));
                prop_assert!(!folder.components().any(|part| part == std::path::Component::ParentDir));
            }
        }
    }
}
