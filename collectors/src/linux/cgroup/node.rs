//! The containers of a pod, found in a mount that shows the machine's cgroups.
//!
//! The kubelet gives each pod a cgroup of its own and each container one inside, at the same path under every
//! controller: `kubepods/burstable/podUID/ID` with its driver cgroupfs; with systemd
//! `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice/cri-containerd-ID.scope`, where the UID has
//! `_` for `-`. All of that may lie below the cgroup of what holds the kubelet (kind, minikube, `--cgroup-root`), so a
//! pod is looked for by its own folder's name.
//!
//! Source: Kubernetes' pkg/kubelet/cm, GetPodContainerName and cgroupName.ToSystemd; cgroup_namespaces(7).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::{CollectError, Reason};
use crate::linux::cgroup::beside::{Present, is_by_process};
use crate::linux::cgroup::group;
use crate::linux::cgroup::group::{Found, Source};
use crate::linux::cgroup::locate::{self, path_in};
use crate::linux::cgroup::mounts::{self, Mount};
use crate::linux::cgroup::pod::{self, Neighbours};
use crate::linux::cgroup::reading::CPU_NANOSECONDS;
use crate::linux::cgroup::text;
use crate::sample::Roots;
use crate::scope::{Neighbour, is_uid};

/// How deep below the mount a pod's folder may lie: five in a node of kind that is seen from its host.
const DEEPEST: usize = 8;
/// So many folders are looked into for a pod.
const MOST: usize = 4096;
/// What a pause container stays below, in bytes and nanoseconds.
const PAUSE: (u64, u64) = (2 << 20, 1_000_000_000);

/// The chosen containers of the pod that the choice names, else of our own; `None` where our own has no folder in any
/// mount, so that they must be found in another way.
pub(super) fn find(roots: &Roots, choice: &Neighbour) -> Result<Option<(Vec<Found>, Present)>, CollectError> {
    let mounts = locate::own_mounts(roots)?;
    let (uid, is_named) = match choice {
        Neighbour::Uid(uid) => (Some(uid.clone()), true),
        _ => (own_uid(roots), false),
    };
    let Some(uid) = uid else { return Ok(None) };
    match search(&mounts, &uid) {
        Ok((mount, folder)) => containers(roots, choice, &uid, mount, folder).map(Some),
        Err(seen) if is_named => Err(not_found(&mounts, &uid, seen)),
        Err(_) => Ok(None),
    }
}

fn not_found(mounts: &[Mount], uid: &str, seen: usize) -> CollectError {
    let points: Vec<String> = mounts.iter().map(|mount| mount.point.display().to_string()).collect();
    let message = match (seen, points.is_empty()) {
        (_, true) => "no cgroup file system is mounted (expected the machine's /sys/fs/cgroup, read-only)".to_owned(),
        (0, _) => format!(
            "no pod has a folder below {} (expected a mount of the machine's /sys/fs/cgroup, read-only)",
            points.join(", ")
        ),
        (seen, _) => format!("none of the {seen} pods of this machine has that UID (expected one that runs here)"),
    };
    CollectError::new(Reason::Missing, format!("scope pod:uid={uid}: {message}"))
}

/// The UID in the name of a pod's folder.
fn uid_of(name: &str) -> Option<String> {
    let by_systemd = name.strip_suffix(".slice").and_then(|name| Some(name.rsplit_once("-pod")?.1.replace('_', "-")));
    by_systemd.or_else(|| name.strip_prefix("pod").map(str::to_owned)).filter(|uid| is_uid(uid))
}

/// The UID of our own pod: by our cgroup where its path is shown, else by the files that the kubelet mounts into every
/// container, from the pod's folder.
fn own_uid(roots: &Roots) -> Option<String> {
    let own = roots.procfs.join("self");
    let membership = text::read(&own.join("cgroup")).unwrap_or_default();
    let mountinfo = text::read(&own.join("mountinfo")).unwrap_or_default();
    let by_cgroup = membership.split(['/', '\n']).find_map(uid_of);
    by_cgroup.or_else(|| {
        mountinfo.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(3);
            let (root, point) = (fields.next()?, fields.next()?);
            // Only these: a daemon may have the folders of other pods mounted as well.
            let is_kubelets = ["/etc/hosts", "/dev/termination-log"].contains(&point);
            let (_, rest) = root.split_once("/pods/").filter(|_| is_kubelets)?;
            rest.split('/').next().filter(|uid| is_uid(uid)).map(str::to_owned)
        })
    })
}

/// The pod's folder and the mount that it lies in; else how many other pods there are.
fn search<'a>(mounts: &'a [Mount], uid: &str) -> Result<(&'a Mount, PathBuf), usize> {
    let counts =
        |mount: &&Mount| mount.v2 || mount.controllers.iter().any(|name| name == "memory" || name == "cpuacct");
    let mut most = 0;
    for mount in mounts.iter().filter(counts) {
        let (mut queue, mut seen) = (VecDeque::from([(mount.point.clone(), 0)]), 0);
        for _ in 0..MOST {
            let Some((folder, depth)) = queue.pop_front() else { break };
            for entry in folders(&folder) {
                match uid_of(&entry.to_string_lossy()) {
                    Some(other) if other == uid => return Ok((mount, folder.join(entry))),
                    Some(_) => seen += 1,
                    None if depth >= DEEPEST => {}
                    // That is where pods are, mostly.
                    None if entry.to_string_lossy().contains("kubepods") => {
                        queue.push_front((folder.join(entry), depth + 1));
                    }
                    None => queue.push_back((folder.join(entry), depth + 1)),
                }
            }
        }
        most = most.max(seen);
    }
    Err(most)
}

/// The names of the folders in a folder, in order; none in one that is gone.
pub(super) fn folders(folder: &Path) -> Vec<OsString> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_folder = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let mut names: Vec<OsString> = entries.filter(is_folder).map(|entry| entry.file_name()).collect();
    names.sort_unstable();
    names
}

fn containers(
    roots: &Roots,
    choice: &Neighbour,
    uid: &str,
    mount: &Mount,
    folder: PathBuf,
) -> Result<(Vec<Found>, Present), CollectError> {
    let names = folders(&folder);
    let own = Own::new(roots);
    let processes = pod::memberships(&roots.procfs);
    let mut all = Vec::new();
    for name in names.iter().filter_map(|name| name.to_str()) {
        // CRI-O's watcher of a container has a cgroup beside it.
        if name.starts_with("crio-conmon-") || own.is(name, &folder.join(name)) {
            continue;
        }
        let neighbour = Neighbours::of(&processes, |membership| has_part(membership, name));
        let below = folder.strip_prefix(&mount.point).unwrap_or(&folder).join(name);
        let places = match locate::of_path(roots, &format!("/{}", below.display())) {
            // It has just ended, which the next look at the pod's folder will find.
            Err(error) if error.reason() == Reason::Missing => continue,
            places => places?,
        };
        // Its first process is there as long as the container.
        let root = neighbour.first(&roots.procfs).map(|pid| roots.procfs.join(pid.to_string()).join("root"));
        let how = Some("in a mount of the machine's cgroups");
        all.push((neighbour, Found { source: Source::Cgroup, places, root, hint: None, how }));
    }
    let with_pause = all.len();
    all.retain(|(neighbour, _)| !neighbour.is_pause(&roots.procfs));
    let is_guess = all.len() == with_pause && leave_out_pause(&mut all);
    let present = Present::Folders { parent: folder, names, is_guess, is_settled: false };
    if all.is_empty() {
        let expected = "expected one that runs; for another pod of this machine give pod:uid=UID";
        let message = format!("scope pod: the pod {uid} has no other container ({expected})");
        return Err(CollectError::new(Reason::Missing, message));
    }
    let seen = all.len();
    if is_by_process(choice) && all.iter().all(|(neighbour, _)| neighbour.is_empty()) {
        let message = "scope pod: no process of the pod can be seen, and so none chosen by it (expected \
                       shareProcessNamespace: true in the pod, or the machine's /proc mounted and given as --procfs)";
        return Err(CollectError::new(Reason::Missing, message));
    }
    let refused = all.iter().find_map(|(neighbour, _)| neighbour.hides(&roots.procfs, choice));
    all.retain(|(neighbour, _)| neighbour.is_chosen(&roots.procfs, choice));
    match all.is_empty() {
        false => Ok((all.into_iter().map(|(_, found)| found).collect(), present)),
        true => Err(refused.unwrap_or_else(|| pod::none_of(seen))),
    }
}

/// Whether a path among those of a process has this part.
fn has_part(membership: &str, name: &str) -> bool {
    membership.split(['/', '\n']).any(|part| part == name)
}

/// Leaves out the pause container where no process of it can be seen: the smallest, if it is small enough; true if so.
/// What is left out by mistake would not show in any figure but the limits.
fn leave_out_pause(all: &mut Vec<(Neighbours, Found)>) -> bool {
    let sizes = all.iter().enumerate().filter(|(_, (neighbour, _))| neighbour.is_empty());
    let sizes = sizes.filter_map(|(index, (_, found))| {
        let reading = group::look(&found.places);
        let size = (reading.working_set()?, reading.counters[CPU_NANOSECONDS]?);
        (size.0 < PAUSE.0 && size.1 < PAUSE.1).then_some((size, index))
    });
    match sizes.min() {
        Some((_, index)) => {
            all.remove(index);
            true
        }
        None => false,
    }
}

/// Our own cgroup, by which we are told from the others.
struct Own {
    membership: String,
    /// Device and number of its folder: the same through every mount of a hierarchy.
    folders: Vec<(u64, u64)>,
}

impl Own {
    fn new(roots: &Roots) -> Self {
        let own = roots.procfs.join("self");
        let membership = text::read(&own.join("cgroup")).unwrap_or_default();
        let mounts = mounts::parse(&text::read(&own.join("mountinfo")).unwrap_or_default());
        let folder = |mount: &Mount| {
            let path = path_in(&membership, mount.controllers.first().map(String::as_str))?;
            number(&mount.folder(path)?)
        };
        let folders = mounts.iter().filter_map(folder).collect();
        Self { membership, folders }
    }

    fn is(&self, name: &str, folder: &Path) -> bool {
        has_part(&self.membership, name) || number(folder).is_some_and(|number| self.folders.contains(&number))
    }
}

fn number(folder: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(folder).ok().map(|folder| (folder.dev(), folder.ino()))
}
