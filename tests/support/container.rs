//! Real containers, by runc: no daemon, no image to pull.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::agent::{Agent, Ended, clean, run};
use super::rootfs::RootFs;
use super::wait::{SOON, wait_until};

/// What container engines leave a container's root with, as far as it matters here.
pub(crate) const USUAL: &[&str] = &["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/// A container to be. It shares the network with the test, so that its page can be read.
pub(crate) struct Container {
    id: String,
    specification: Value,
}

/// A container that runs; it ends when dropped.
pub(crate) struct Running {
    id: String,
    bundle: tempfile::TempDir,
    pub pid: u32,
}

impl Container {
    /// A container of root with the usual capabilities and no limits, which runs `command`.
    pub(crate) fn new(name: &str, root: &RootFs, command: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = Command::new("runc").arg("spec").current_dir(folder.path()).status();
        assert!(made.expect("runc (Debian package runc) starts").success());
        let text = fs::read_to_string(folder.path().join("config.json")).expect("runc's own specification");
        let mut specification: Value = serde_json::from_str(&text).expect("JSON");
        // Tests run side by side, in one process or in several.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let id = format!("hostgauge-{name}-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        specification["root"] = json!({ "path": root.path("/"), "readonly": false });
        specification["process"]["terminal"] = json!(false);
        specification["process"]["args"] = json!(command);
        specification["process"]["env"] = json!(["PATH=/bin", "AWS_EC2_METADATA_DISABLED=true"]);
        specification["hostname"] = json!(name);
        specification["linux"]["cgroupsPath"] = json!(format!("/{id}"));
        let namespaces = specification["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "network");
        Self { id, specification }.user(0, USUAL)
    }

    pub(crate) fn user(mut self, id: u32, capabilities: &[&str]) -> Self {
        self.specification["process"]["user"] = json!({ "uid": id, "gid": id });
        let mut sets = json!({ "bounding": capabilities, "effective": capabilities, "permitted": capabilities });
        if id != 0 {
            sets["inheritable"] = json!(capabilities);
            sets["ambient"] = json!(capabilities);
        }
        self.specification["process"]["capabilities"] = sets;
        self
    }

    pub(crate) fn variable(mut self, assignment: &str) -> Self {
        let variables = self.specification["process"]["env"].as_array_mut().expect("variables");
        variables.push(json!(assignment));
        self
    }

    pub(crate) fn memory(mut self, bytes: u64) -> Self {
        self.specification["linux"]["resources"]["memory"] = json!({ "limit": bytes });
        self
    }

    /// A quota, in percent of one core.
    pub(crate) fn cpu(mut self, percent: u32) -> Self {
        self.specification["linux"]["resources"]["cpu"] = json!({ "quota": percent * 1000, "period": 100_000 });
        self
    }

    /// The cores that it may use, such as `0-1`.
    pub(crate) fn cores(mut self, list: &str) -> Self {
        self.specification["linux"]["resources"]["cpu"] = json!({ "cpus": list });
        self
    }

    /// Sees the processes of another container, as in a pod with a shared process namespace.
    pub(crate) fn beside(self, other: &Running) -> Self {
        self.among(&format!("/proc/{}/ns/pid", other.pid))
    }

    /// Sees the processes of this namespace.
    pub(crate) fn among(mut self, namespace: &str) -> Self {
        let namespaces = self.specification["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "pid");
        namespaces.push(json!({ "type": "pid", "path": namespace }));
        self
    }

    /// With its root read-only, as good deployments have it.
    pub(crate) fn read_only(mut self) -> Self {
        self.specification["root"]["readonly"] = json!(true);
        self
    }

    /// Behind this filter of system calls.
    pub(crate) fn filtered(mut self, seccomp: &Value) -> Self {
        self.specification["linux"]["seccomp"] = seccomp.clone();
        self
    }

    /// With a folder of this machine, which it may write to.
    pub(crate) fn folder(mut self, from: &Path, inside: &str) -> Self {
        let options = ["rbind", "rw", "nosuid", "nodev", "noexec"];
        let mount = json!({ "destination": inside, "type": "bind", "source": from, "options": options });
        self.specification["mounts"].as_array_mut().expect("mounts").push(mount);
        self
    }

    /// With no more processes and threads than this.
    pub(crate) fn tasks(mut self, most: u32) -> Self {
        self.specification["linux"]["resources"]["pids"] = json!({ "limit": most });
        self
    }

    /// Without what it shows of its cgroup, which every engine mounts.
    pub(crate) fn without_cgroup_mount(mut self) -> Self {
        self.specification["mounts"].as_array_mut().expect("mounts").retain(|mount| mount["type"] != "cgroup");
        self
    }

    /// Puts its bundle into a guest, whose kernel has cgroups of version 2 only: an engine gives it a namespace of its
    /// own there. Its root is the guest's, as the guest mounts it at `/root`.
    pub(crate) fn into_guest(mut self, guest: &RootFs, name: &str) {
        self.specification["root"]["path"] = json!("/root");
        let namespaces = self.specification["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.push(json!({ "type": "cgroup" }));
        guest.file(&format!("bundles/{name}/config.json"), &self.specification.to_string());
    }

    /// Its cgroup's path.
    pub(crate) fn cgroup(&self) -> String {
        format!("/{}", self.id)
    }

    fn bundle(&self) -> tempfile::TempDir {
        let bundle = tempfile::tempdir().expect("a folder");
        fs::write(bundle.path().join("config.json"), self.specification.to_string()).expect("a file");
        bundle
    }

    /// Starts it and leaves it running.
    pub(crate) fn start(self) -> Running {
        let bundle = self.bundle();
        let (log, pid_file) = (bundle.path().join("log"), bundle.path().join("pid"));
        let output = fs::File::create(log).expect("a file");
        let mut runc = clean("runc", &["run", "--detach", "--bundle"]);
        runc.arg(bundle.path()).arg("--pid-file").arg(&pid_file).arg(&self.id);
        runc.stdout(output.try_clone().expect("a file")).stderr(output);
        let status = runc.status().expect("runc (Debian package runc) starts");
        let running = |pid| Running { id: self.id.clone(), bundle, pid };
        let pid = fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok());
        let running = running(pid.unwrap_or_default());
        assert!(status.success() && running.pid != 0, "runc does not start {}: {}", running.id, running.log());
        running
    }

    /// Starts it with an agent in it, which is seen as any other. It ends with the second.
    pub(crate) fn agent(self) -> (Agent, Running) {
        let bundle = self.bundle();
        let mut runc = clean("runc", &["run", "--bundle"]);
        runc.arg(bundle.path()).arg(&self.id).stdout(Stdio::null());
        let running = Running { id: self.id, bundle, pid: 0 };
        (Agent::spawn(runc), running)
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Ended {
        let bundle = self.bundle();
        let mut runc = clean("runc", &["run", "--bundle"]);
        runc.arg(bundle.path()).arg(&self.id);
        run(&mut runc, "")
    }
}

impl Running {
    /// What it printed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.bundle.path().join("log")).unwrap_or_default()
    }

    /// Sends the first process in it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("runc").args(["kill", &self.id, signal]).status().expect("runc");
        assert!(status.success(), "runc kill {} {signal}: {status}", self.id);
    }

    /// Runs a command in it, to its end.
    pub(crate) fn exec(&self, command: &[&str]) -> Ended {
        run(clean("runc", &["exec", &self.id]).args(command), "")
    }

    /// Kills what runs in it, and waits until its control groups are gone.
    pub(crate) fn end(&self) {
        let _ = Command::new("runc").args(["delete", "--force", &self.id]).stderr(Stdio::null()).status();
        let there = format!("/proc/{}/cgroup", self.pid);
        wait_until(SOON, "the container's end", || {
            let text = fs::read_to_string(&there).unwrap_or_default();
            if text.contains(&self.id) { Err(text) } else { Ok(()) }
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("runc").args(["delete", "--force", &self.id]).stderr(Stdio::null()).status();
    }
}
