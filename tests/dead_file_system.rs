//! A file system whose server is gone: a real one, by stopping the process behind a FUSE mount.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::agent::clean;
use support::load::Killed;
use support::wait::{SOON, wait_until};
use support::{Agent, Page};

/// A folder shown under another by a process that the test can stop.
struct Mount {
    server: Killed,
    at: tempfile::TempDir,
    _of: tempfile::TempDir,
}

impl Mount {
    fn new() -> Self {
        let (of, at) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let server = clean("bindfs", &["-f"]).args([of.path(), at.path()]).stdout(Stdio::null()).spawn();
        let server = Killed(server.expect("bindfs starts (Debian: apt-get install bindfs)"));
        let mount = Self { server, at, _of: of };
        let mounted = || {
            let mounts = std::fs::read_to_string("/proc/self/mounts").expect("/proc/self/mounts");
            mounts.contains(&format!(" {} ", mount.path().display())).then_some(()).ok_or(mounts)
        };
        wait_until(SOON, "bindfs mounts", mounted);
        mount
    }

    fn path(&self) -> &Path {
        self.at.path()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([format!("-{signal}"), self.server.0.id().to_string()]).status();
        assert!(sent.expect("kill starts").success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, since the server may be stopped; it is killed next.
        let _ = Command::new("umount").arg("-l").arg(self.at.path()).status();
    }
}

#[test]
fn a_dead_file_system_costs_its_own_series_only() {
    if !Path::new("/dev/fuse").exists()
        || std::fs::metadata("/proc/self").map_or(0, |own| std::os::unix::fs::MetadataExt::uid(&own)) != 0
    {
        println!("skipped: mounting takes root and /dev/fuse");
        return;
    }
    let mount = Mount::new();
    let path = mount.path().to_str().expect("UTF-8");
    let mut agent = Agent::start(&["--interval", "200ms", "--disk-path", path, "--disk-path", "/dev/shm"]);
    let used = |page: &Page, path: &str| {
        page.text.lines().any(|line| {
            line.starts_with("hostgauge_filesystem_used_bytes") && line.contains(&format!("path=\"{path}\""))
        })
    };
    let sum = |page: &Page| page.text.contains("hostgauge_disk_utilization_percent{");
    let failed = |page: &Page| page.text.contains("collector=\"disk\",reason=\"timed_out\"} 1");
    agent.wait_for(SOON, "both paths", |page| (used(page, path) && used(page, "/dev/shm") && sum(page)).then_some(()));

    mount.signal("STOP");
    agent.wait_for(SOON, "the dead path's absence with its reason", |page| {
        (failed(page) && !used(page, path) && !sum(page) && used(page, "/dev/shm")).then_some(())
    });
    let said = || (agent.log().contains(path) && agent.log().contains("no answer for")).then_some(());
    wait_until(SOON, "the log names the path and the reason", || said().ok_or_else(|| agent.log()));
    // The others go on: ticks come, with CPU figures, and scrapes are answered.
    let page = agent.next_tick();
    assert!(
        page.text.contains("hostgauge_cpu_utilization_percent{") && page.text.contains("hostgauge_memory_used_bytes{")
    );

    mount.signal("CONT");
    agent.wait_for(SOON, "its return", |page| (used(page, path) && sum(page) && !failed(page)).then_some(()));

    mount.signal("STOP");
    agent.wait_for(SOON, "its second death", |page| failed(page).then_some(()));
    let (status, took) = agent.stop("TERM");
    assert!(status.success() && took < Duration::from_secs(5), "{status} after {took:?}");
}
