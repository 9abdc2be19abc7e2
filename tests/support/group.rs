//! Cgroups of this machine's own version 1 (with or without 2 beside it), read, made, filled and removed by a test.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail and speak as tests do"
)]

use std::fs;
use std::io::Read as _;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use super::agent::end_of;
use super::load::Killed;
use super::wait::SOON;

pub(crate) const CGROUPS: &str = "/sys/fs/cgroup";
pub(crate) const CONTROLLERS: [&str; 5] = ["cpu", "cpuacct", "memory", "cpuset", "blkio"];

/// A group of whoever made it, by its path below the mount of each controller.
pub(crate) struct Cgroup {
    pub path: String,
}

impl Cgroup {
    pub(crate) fn at(path: &str) -> Self {
        Self { path: path.to_owned() }
    }

    pub(crate) fn folder(&self, controller: &str) -> PathBuf {
        Path::new(CGROUPS).join(controller).join(self.path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, controller: &str, file: &str, text: &str) {
        let path = self.folder(controller).join(file);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    pub(crate) fn number(&self, controller: &str, file: &str) -> f64 {
        let path = self.folder(controller).join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.trim().parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn row(&self, controller: &str, file: &str, name: &str) -> f64 {
        let text = fs::read_to_string(self.folder(controller).join(file)).expect("a file of rows");
        let row = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        row.unwrap_or_else(|| panic!("{file}: no {name}")).parse().expect("a number")
    }

    /// Half a core.
    pub(crate) fn limit_cpu(&self) {
        self.write("cpu", "cpu.cfs_period_us", "100000");
        self.write("cpu", "cpu.cfs_quota_us", "50000");
    }

    /// A shell command that runs inside from its first moment on.
    pub(crate) fn enter(&self, script: &str) -> String {
        let unified = self.folder("unified").exists().then_some("unified");
        let procs = CONTROLLERS
            .into_iter()
            .chain(unified)
            .map(|controller| format!("echo $$ > {}/cgroup.procs; ", self.folder(controller).display()));
        format!("set -e; {}{script}", procs.collect::<String>())
    }

    /// The same, which is inside when this returns.
    pub(crate) fn run(&self, script: &str) -> Killed {
        let script = self.enter(&format!("echo; exec >/dev/null; {script}"));
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = Killed(shell.spawn().expect("a shell starts"));
        let mut word = [0];
        let said = child.0.stdout.take().expect("a pipe").read_exact(&mut word);
        said.unwrap_or_else(|error| panic!("{script}: {error}"));
        child
    }

    /// Page cache that is charged to the group for as long as the file is there. How much of it the kernel takes for
    /// active, and when it takes it away, is its own choice.
    pub(crate) fn cache(&self, megabytes: u32) -> NamedTempFile {
        let file = NamedTempFile::new().expect("a file");
        let dd = format!("dd if=/dev/zero of={} bs=1M count={megabytes} 2>/dev/null", file.path().display());
        let status = end_of(&mut self.run(&dd).0, "the page cache is written");
        assert!(status.success(), "{dd}: {status}");
        file
    }
}

/// A group under every controller of version 1, and under version 2 where it is mounted. Removed when dropped, with
/// whoever is still in it.
pub(crate) struct Group(Cgroup);

impl Deref for Group {
    type Target = Cgroup;

    fn deref(&self) -> &Cgroup {
        &self.0
    }
}

impl Group {
    /// `None`, with a word on why, where groups cannot be made.
    pub(crate) fn make(path: &str) -> Option<Self> {
        let group = Self(Cgroup::at(path));
        for controller in CONTROLLERS {
            if !Path::new(CGROUPS).join(controller).join("cgroup.procs").exists() {
                eprintln!("not tested: no controller {controller} of cgroup version 1 under {CGROUPS}");
                return None;
            }
            if let Err(error) = fs::create_dir(group.folder(controller)) {
                eprintln!("not tested: making a cgroup needs root: {error}");
                return None;
            }
        }
        // A group of cpuset is empty at first, and takes no process then.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let parent = group.folder("cpuset").parent().expect("below the mount").join(file);
            group.write("cpuset", file, fs::read_to_string(parent).expect("the parent's").trim());
        }
        if Path::new(CGROUPS).join("unified/cgroup.procs").exists() {
            fs::create_dir(group.folder("unified")).expect("made");
        }
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let removed = |controller: &str| {
            let folder = self.folder(controller);
            for pid in fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines() {
                let _ = Command::new("kill").args(["-KILL", pid]).status();
            }
            // A group is busy until the last of its processes is gone.
            let deadline = Instant::now() + SOON;
            while folder.exists() && fs::remove_dir(&folder).is_err() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        CONTROLLERS.into_iter().chain(["unified"]).for_each(removed);
    }
}
