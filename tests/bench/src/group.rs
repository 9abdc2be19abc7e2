//! A control group with a process in it, to be measured; removed at the end.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
};

/// Version 1 where CPU and memory are under it, else version 2.
pub struct Group {
    /// Of CPU, of memory; one and the same under version 2.
    folders: [PathBuf; 2],
    inside: Child,
}

const NAME: &str = "hostgauge-bench";

impl Group {
    /// Makes it; that takes root.
    pub fn new() -> Result<Self, String> {
        let mounted = Path::new("/sys/fs/cgroup");
        let folders = match mounted.join("cpu/cpuacct.usage").exists() {
            true => [mounted.join("cpu").join(NAME), mounted.join("memory").join(NAME)],
            false => [mounted.join(NAME), mounted.join(NAME)],
        };
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

    pub fn scope(&self) -> String {
        format!("cgroup:/{NAME}")
    }

    /// The least that CPU and memory can be told from, in the names of whichever version it is.
    pub fn least(&self) -> Vec<PathBuf> {
        let [cpu, memory] = &self.folders;
        let files = [
            (cpu, "cpuacct.usage"),
            (cpu, "cpu.stat"),
            (memory, "memory.usage_in_bytes"),
            (memory, "memory.current"),
            (memory, "memory.stat"),
        ];
        files.iter().map(|(folder, name)| folder.join(name)).filter(|file| file.exists()).collect()
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
