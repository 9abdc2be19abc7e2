//! Which cgroup folders are a process', or a path's: one for each v1 controller, one for v2.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{CollectError, Reason};
use crate::linux::cgroup::mounts::{self, Mount};
use crate::linux::cgroup::{processes, text};
use crate::sample::Roots;
use crate::scope::is_below;

/// The controllers of v1 that something is read from.
const CONTROLLERS: [&str; 5] = ["cpuacct", "cpu", "memory", "cpuset", "blkio"];

/// A cgroup's folder in one hierarchy, and the mount point: the highest ancestor that can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub folder: PathBuf,
    pub top: PathBuf,
    /// The cgroup's path, as the kernel says it.
    pub path: String,
}

impl Place {
    /// The folder and its ancestors, as far up as they can be seen.
    pub(super) fn upwards(&self) -> impl Iterator<Item = &Path> {
        self.folder.ancestors().take_while(|folder| folder.starts_with(&self.top))
    }
}

/// The folders of one cgroup, or of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    v1: Vec<(&'static str, Place)>,
    v2: Option<Place>,
}

impl Places {
    pub(super) fn v1(&self, controller: &str) -> Option<&Place> {
        self.v1.iter().find(|(name, _)| *name == controller).map(|(_, place)| place)
    }

    pub(super) fn v2(&self) -> Option<&Place> {
        self.v2.as_ref()
    }

    pub(super) fn version(&self) -> &'static str {
        match (self.v1.is_empty(), &self.v2) {
            (false, Some(_)) => "hybrid",
            (false, None) => "v1",
            (true, _) => "v2",
        }
    }

    /// The path to show: that of the hierarchy which counts the memory.
    pub(super) fn path(&self) -> &str {
        let place = self.v1("memory").or(self.v2()).or(self.v1("cpuacct")).or(self.v1.first().map(|(_, place)| place));
        place.map_or("", |place| place.path.as_str())
    }

    /// The cgroup of `path_of` in every mount; an error if no mount shows it at all.
    fn find(mounts: &[Mount], path_of: impl Fn(Option<&str>) -> Option<String>) -> Self {
        let place =
            |mount: &Mount, path: String| Some(Place { folder: mount.folder(&path)?, top: mount.point.clone(), path });
        let v1 = CONTROLLERS.into_iter().filter_map(|controller| {
            let path = path_of(Some(controller))?;
            let mut holding = mounts.iter().filter(|mount| mount.controllers.iter().any(|name| name == controller));
            holding.find_map(|mount| place(mount, path.clone())).map(|found| (controller, found))
        });
        let v1: Vec<_> = v1.collect();
        let v2 = path_of(None).and_then(|path| mounts.iter().filter(|m| m.v2).find_map(|m| place(m, path.clone())));
        // Beside v1, the root of v2 holds every process of the machine that nobody put elsewhere: not this cgroup.
        let v2 = v2.filter(|place| v1.is_empty() || place.folder != place.top || place.path != "/");
        Self { v1, v2 }
    }

    fn is_empty(&self) -> bool {
        self.v1.is_empty() && self.v2.is_none()
    }
}

/// The path in one hierarchy, from the text of /proc/PID/cgroup (cgroups(7): `ID:controllers:path`).
pub(super) fn path_in<'a>(membership: &'a str, controller: Option<&str>) -> Option<&'a str> {
    membership.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_it = match controller {
            Some(name) => controllers.split(',').any(|one| one == name),
            None => controllers.is_empty(),
        };
        (is_it && path.starts_with('/')).then_some(path)
    })
}

/// The mounts that this process sees.
pub(super) fn own_mounts(roots: &Roots) -> Result<Vec<Mount>, CollectError> {
    Ok(mounts::seen_from(roots, mounts::parse(&text::read(&roots.procfs.join("self/mountinfo"))?)))
}

/// The cgroup of a process (`self` or a number) whose /proc/PID/cgroup says `membership`: through our own mounts where
/// they show it, else through the process' own root.
pub(super) fn of_process(roots: &Roots, process: &str, membership: &str) -> Result<Places, CollectError> {
    let path_of = |controller: Option<&str>| path_in(membership, controller).map(str::to_owned);
    let places = Places::find(&own_mounts(roots)?, path_of);
    if !places.is_empty() {
        return Ok(places);
    }
    through_root(roots, process, membership, false)
}

/// The same through `/proc/PID/root`, with the mounts of the process. With `whole`, the container that its mounts show
/// rather than the part of it that the process is in.
pub(super) fn through_root(
    roots: &Roots,
    process: &str,
    membership: &str,
    whole: bool,
) -> Result<Places, CollectError> {
    let folder = roots.procfs.join(process);
    let theirs = mounts::parse(&text::read(&folder.join("mountinfo"))?);
    let path_of = |controller: Option<&str>| {
        let path = path_in(membership, controller)?;
        let shown = theirs.iter().find(|mount| match controller {
            Some(name) => mount.controllers.iter().any(|one| one == name),
            None => mount.v2,
        })?;
        let root = shown.root.as_str();
        Some(if whole && root != "/" && shown.folder(path).is_some() { root.to_owned() } else { path.to_owned() })
    };
    let root = folder.join("root");
    let places = Places::find(&mounts::below(&root, theirs.clone()), path_of);
    if places.is_empty() {
        let message = format!("process {process}: neither our cgroup mounts nor its own show its cgroup");
        return Err(CollectError::new(Reason::Missing, message));
    }
    for place in places.v1.iter().map(|(_, place)| place).chain(&places.v2) {
        refuse_links(&root, &place.folder)?;
    }
    Ok(places)
}

/// Another's root may hold links, and an absolute one would lead into ours.
fn refuse_links(root: &Path, folder: &Path) -> Result<(), CollectError> {
    for part in folder.ancestors().take_while(|part| *part != root) {
        let kind = std::fs::symlink_metadata(part).map_err(|error| CollectError::io("look at", part, &error))?;
        if kind.is_symlink() {
            let message = format!("{} is a symbolic link (expected a folder of the cgroup mount)", part.display());
            return Err(CollectError::new(Reason::Denied, message));
        }
    }
    Ok(())
}

/// A cgroup that no folder can be found for, by its name alone.
pub(super) fn named(membership: &str) -> Places {
    let place = |controller| {
        let path = path_in(membership, controller)?.to_owned();
        Some(Place { folder: PathBuf::new(), top: PathBuf::new(), path })
    };
    let v1 = Vec::from_iter(place(Some("memory")).map(|place| ("memory", place)));
    let v2 = place(None).filter(|place| v1.is_empty() || place.path != "/");
    Places { v1, v2 }
}

/// The cgroup of this path in every hierarchy that has it.
pub(super) fn of_path(roots: &Roots, path: &str) -> Result<Places, CollectError> {
    if !is_below(path) {
        let message = format!("cgroup {path}: expected a path without '.' and '..'");
        return Err(CollectError::new(Reason::Malformed, message));
    }
    // The path is one below the mount, whatever cgroup is mounted there.
    let mut mounts = own_mounts(roots)?;
    mounts.iter_mut().for_each(|mount| "/".clone_into(&mut mount.root));
    let exists = |mount: &Mount| mount.folder(path).is_some_and(|folder| folder.is_dir());
    let seen: Vec<Mount> = mounts.iter().filter(|mount| exists(mount)).cloned().collect();
    let places = Places::find(&seen, |_| Some(path.to_owned()));
    if places.is_empty() {
        let points: Vec<String> = mounts.iter().map(|mount| mount.point.display().to_string()).collect();
        let message = match points.as_slice() {
            [] => format!("cgroup {path}: no cgroup file system is mounted (expected one at /sys/fs/cgroup)"),
            points => format!("cgroup {path}: no such folder below {}", points.join(", ")),
        };
        return Err(CollectError::new(Reason::Missing, message));
    }
    for place in places.v1.iter().map(|(_, place)| place).chain(&places.v2) {
        stay_below(&place.top, &place.folder)?;
    }
    Ok(places)
}

/// The kernel has no links in there; a folder that stands for it might.
fn stay_below(top: &Path, folder: &Path) -> Result<(), CollectError> {
    let real = |path: &Path| path.canonicalize().map_err(|error: io::Error| CollectError::io("find", path, &error));
    match real(folder)?.starts_with(real(top)?) {
        true => Ok(()),
        false => {
            let message = format!("{} leads out of {} (a symbolic link?)", folder.display(), top.display());
            Err(CollectError::new(Reason::Denied, message))
        }
    }
}

/// A process of the cgroup or of one below it, for its view of file systems: the one that is there longest, since it is
/// watched, and all is looked for anew when it ends. cgroup.procs shows 0 for a process of another process namespace.
pub(super) fn some_process(procfs: &Path, places: &Places) -> Option<u32> {
    let folder = &places.v1("memory").or(places.v2()).or(places.v1("cpuacct"))?.folder;
    process_below(procfs, folder, 4)
}

/// Of a group with many processes, so many are looked at.
const CANDIDATES: usize = 64;

fn process_below(procfs: &Path, folder: &Path, depth: usize) -> Option<u32> {
    let text = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let pids = text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).take(CANDIDATES);
    // Who cannot be looked at comes last.
    let started = |pid: &u32| processes::read(procfs, *pid).map_or(u64::MAX, |process| process.start);
    let found = pids.min_by_key(started);
    if found.is_some() || depth == 0 {
        return found;
    }
    let mut below =
        std::fs::read_dir(folder).ok()?.flatten().filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()));
    below.find_map(|entry| process_below(procfs, &entry.path(), depth - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "9:name=systemd:/\n4:memory:/job\n2:cpu,cpuacct:/job:odd\n0::/\n";

    #[test]
    fn each_hierarchy_has_its_own_path() {
        assert_eq!(path_in(HYBRID, Some("memory")), Some("/job"));
        assert_eq!(path_in(HYBRID, Some("cpu")), Some("/job:odd"));
        assert_eq!(path_in(HYBRID, None), Some("/"));
        assert_eq!(path_in(HYBRID, Some("blkio")), None);
        assert_eq!(path_in("0:", None), None);
    }

    #[test]
    fn the_root_of_v2_beside_v1_is_nobodys_cgroup() {
        let mounts =
            mounts::parse("1 2 0:1 / /m/memory rw - cgroup c rw,memory\n3 2 0:2 / /m/unified rw - cgroup2 c rw\n");
        let places = Places::find(&mounts, |controller| path_in(HYBRID, controller).map(str::to_owned));
        assert_eq!((places.version(), places.path(), places.v2()), ("v1", "/job", None));
        let inside = HYBRID.replace("0::/", "0::/job");
        let places = Places::find(&mounts, |controller| path_in(&inside, controller).map(str::to_owned));
        assert_eq!(places.version(), "hybrid");
        let memory = places.v1("memory").expect("there");
        assert_eq!(memory.upwards().collect::<Vec<_>>(), [Path::new("/m/memory/job"), Path::new("/m/memory")]);
    }

    #[test]
    fn of_the_processes_of_a_group_the_oldest_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let (procfs, group) = (folder.path().join("proc"), folder.path().join("group"));
        for (pid, start) in [(5, 900), (7, 100), (8, 500)] {
            let process = procfs.join(pid.to_string());
            std::fs::create_dir_all(&process).expect("made");
            let stat = format!("{pid} (a) S 1 1 1 0 -1 0 9 0 0 0 1 1 1 1 20 0 1 0 {start} 1000 5 0 1 1\n");
            std::fs::write(process.join("stat"), stat).expect("written");
        }
        std::fs::create_dir_all(group.join("inner")).expect("made");
        let put = |inside: &str, text: &str| {
            std::fs::write(group.join(inside).join("cgroup.procs"), text).expect("written");
            process_below(&procfs, &group, 4)
        };
        assert_eq!(put("inner", "0\n"), None);
        assert_eq!(put("inner", "0\n5\n7\n8\n"), Some(7));
        assert_eq!(put(".", "5\n6\n"), Some(5), "6 is gone");
        assert_eq!(put(".", "6\n"), Some(6), "as far as known");
    }
}
