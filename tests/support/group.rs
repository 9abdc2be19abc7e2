//! Cgroups of this machine's own version 1 (with or without 2 beside it), made, filled and removed by a test.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail and speak as tests do"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::load::Killed;
use super::wait::SOON;

pub(crate) const CGROUPS: &str = "/sys/fs/cgroup";
pub(crate) const CONTROLLERS: [&str; 5] = ["cpu", "cpuacct", "memory", "cpuset", "blkio"];

/// A group under every controller of version 1, and under version 2 where it is mounted. Removed when dropped, with
/// whoever is still in it.
pub(crate) struct Group {
    pub path: String,
}

impl Group {
    /// `None`, with a word on why, where groups cannot be made.
    pub(crate) fn make(path: &str) -> Option<Self> {
        let group = Self { path: path.to_owned() };
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

    pub(crate) fn run(&self, script: &str) -> Killed {
        Killed(shell(&self.enter(script)))
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

pub(crate) fn shell(script: &str) -> Child {
    Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn().expect("a shell starts")
}
