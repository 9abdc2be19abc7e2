//! A control group with a process in it, to be measured; removed at the end.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
};

/// Under each controller of version 1 that is mounted, else version 2.
pub struct Group {
    folders: Vec<PathBuf>,
    inside: Child,
}

const NAME: &str = "hostgauge-bench";
const CONTROLLERS: [&str; 4] = ["cpu", "cpuacct", "memory", "blkio"];
/// The least that CPU and memory can be told from, of either version.
const LEAST: [&str; 5] = ["cpuacct.usage", "cpu.stat", "memory.usage_in_bytes", "memory.current", "memory.stat"];

impl Group {
    /// Makes it; that takes root.
    pub fn new() -> Result<Self, String> {
        let mounted = Path::new("/sys/fs/cgroup");
        let roots = CONTROLLERS.map(|controller| mounted.join(controller));
        let mut folders: Vec<_> = roots.iter().filter(|root| is_group(root)).map(|root| root.join(NAME)).collect();
        if folders.is_empty() && is_group(mounted) {
            folders.push(mounted.join(NAME));
        }
        if folders.is_empty() {
            return Err(format!("{}: no control groups are mounted there", mounted.display()));
        }
        let inside = Command::new("sleep").arg("100000").spawn().map_err(|e| format!("sleep: {e}"))?;
        // From here on it is removed, whatever comes.
        let group = Self { folders, inside };
        for folder in &group.folders {
            let path = folder.display();
            fs::create_dir_all(folder).map_err(|e| format!("{path}: {e}"))?;
            let join = fs::write(folder.join("cgroup.procs"), group.inside.id().to_string());
            join.map_err(|e| format!("{path}/cgroup.procs: {e}"))?;
        }
        Ok(group)
    }

    /// The scope of somebody who is not in it.
    pub fn scope(&self) -> String {
        format!("cgroup:/{NAME}")
    }

    /// A command that joins it before it begins.
    pub fn inside(&self, command: &Command) -> Command {
        let join = |folder: &PathBuf| format!("echo $$ >'{}/cgroup.procs' && ", folder.display());
        let script = self.folders.iter().map(join).collect::<String>() + "exec \"$0\" \"$@\"";
        let mut shell = crate::process::command(Path::new("sh"));
        shell.arg("-c").arg(script).arg(command.get_program()).args(command.get_args());
        shell
    }

    /// The least that CPU and memory can be told from.
    pub fn least(&self) -> Vec<PathBuf> {
        let found = |name: &&str| self.folders.iter().map(|folder| folder.join(name)).find(|file| file.exists());
        LEAST.iter().filter_map(found).collect()
    }

    /// What of it the processes hold open.
    pub fn held_by(&self, processes: &[u32]) -> Vec<PathBuf> {
        let open = |pid: &u32| fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let links = processes.iter().flat_map(open).filter_map(|entry| fs::read_link(entry.path()).ok());
        let mut files: Vec<_> =
            links.filter(|file| file.parent().is_some_and(|folder| folder.ends_with(NAME)) && file.is_file()).collect();
        files.sort();
        files.dedup();
        files
    }
}

fn is_group(folder: &Path) -> bool {
    folder.join("cgroup.procs").exists()
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.inside.kill();
        let _ = self.inside.wait();
        for folder in &self.folders {
            // Only an empty one goes, which it is a moment after its last process is reaped.
            let _ = crate::process::poll(std::time::Duration::from_secs(2), || {
                (!folder.exists() || fs::remove_dir(folder).is_ok()).then_some(())
            });
        }
    }
}
