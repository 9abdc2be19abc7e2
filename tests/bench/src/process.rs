//! What every started process needs: a scratch folder, waits with a deadline, signals, and who belongs to its tree.

use std::{
    fs::{self, File},
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

/// A folder for logs and peers' configuration, removed at the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Result<Self, String> {
        // Numbered, because tests of one process run side by side.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hostgauge-bench-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A command whose environment is the same for everybody, whatever the caller's is.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// Starts `command` with its output in `log`.
pub fn spawn(command: &mut Command, scratch: &Scratch, log: &Path) -> Result<Child, String> {
    let mut start = || -> io::Result<Child> {
        let log = File::create(log)?;
        command
            // No configuration file of the caller's folder may sway a peer.
            .current_dir(scratch.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // SAFETY: between fork and exec only prctl runs, which is a bare system call.
        unsafe {
            command.pre_exec(|| {
                // An exporter that outlives a killed driver would burden the next run.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        command.spawn()
    };
    start().map_err(|e| format!("{}: {e}", command.get_program().display()))
}

/// Asks again and again until there is an answer or the time is up.
pub fn poll<T>(within: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() >= deadline {
            return answer;
        }
        sleep(Duration::from_millis(20));
    }
}

/// Sends `signal` and waits; a process that stays is killed, and that is an error.
pub fn stop(child: &mut Child, signal: libc::c_int) -> Result<ExitStatus, String> {
    // SAFETY: kill takes no pointers; the child is not reaped yet, so the id is still its own.
    unsafe { libc::kill(child.id() as libc::pid_t, signal) };
    wait(child, Duration::from_secs(5))
}

/// Waits for the end; a process that is late is killed, and that is an error.
pub fn wait(child: &mut Child, within: Duration) -> Result<ExitStatus, String> {
    match poll(within, || child.try_wait().transpose()) {
        Some(status) => status.map_err(|e| e.to_string()),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            Err(format!("did not end within {within:?}"))
        }
    }
}

/// Runs `command` to its end and returns what it said.
pub fn output(command: &mut Command, scratch: &Scratch, within: Duration) -> Result<String, String> {
    let log = scratch.path().join("output");
    let name = command.get_program().display().to_string();
    let mut child = spawn(command, scratch, &log)?;
    wait(&mut child, within).map_err(|e| format!("{name}: {e}"))?;
    fs::read_to_string(&log).map_err(|e| format!("{name}: {e}"))
}

/// How a process ended, in words; `None` if it did what a polite one does after SIGTERM.
pub fn complaint(status: ExitStatus) -> Option<String> {
    (!status.success() && status.signal() != Some(libc::SIGTERM)).then(|| status.to_string())
}

/// `root` and all its descendants.
pub fn tree(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && let Ok(stat) = fs::read_to_string(entry.path().join("stat"))
            && let Some(parent) = parent(&stat)
        {
            parents.push((pid, parent));
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&member) = tree.get(next) {
        tree.extend(parents.iter().filter(|(_, p)| *p == member).map(|(pid, _)| pid));
        next += 1;
    }
    tree
}

/// The parent in /proc/PID/stat: the second field after the name, which itself may hold blanks and brackets.
fn parent(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_an_odd_name() {
        assert_eq!(parent("7 (a) b (c)) S 42 7 7 0"), Some(42));
        assert_eq!(parent("7"), None);
    }

    #[test]
    fn a_late_process_is_killed_and_named() {
        let scratch = Scratch::new().unwrap();
        let error = output(Command::new("sleep").arg("60"), &scratch, Duration::from_millis(50));
        assert!(error.unwrap_err().contains("sleep: did not end"));
    }

    #[test]
    fn a_child_is_in_the_tree() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(tree(std::process::id()).contains(&child.id()));
        stop(&mut child, libc::SIGTERM).unwrap();
    }
}
