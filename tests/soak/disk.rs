//! A disk of two megabytes for the spool, mounted where only those see it who are asked in: it goes with whoever holds
//! it, also when a test is killed.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use crate::support::agent::{BINARY, clean};
use crate::support::load::Killed;
use crate::support::wait::{SOON, wait_until};

/// Where it is mounted: a folder that every machine has.
const AT: &str = "/mnt";

pub(crate) struct Disk(Killed);

impl Disk {
    pub(crate) fn new() -> Self {
        let script = format!("mount -t tmpfs -o size=2m tmpfs {AT} && mkdir {AT}/spool && exec sleep infinity");
        // It ends with the test's process, however that ends.
        let hold = ["--kill-child", "--mount", "--fork", "sh", "-c", &script];
        let holder = clean("setpriv", &[&["--pdeathsig", "KILL", "unshare"], &hold[..]].concat()).spawn();
        let disk = Self(Killed(holder.expect("setpriv and unshare (Debian package util-linux) start")));
        wait_until(SOON, "the disk is mounted", || {
            disk.inside().filter(|_| disk.path("spool").is_dir()).ok_or_else(|| "not yet".into())
        });
        disk
    }

    /// Who lives among its mounts: `unshare`'s only child.
    fn inside(&self) -> Option<u32> {
        let pid = self.0.0.id();
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?.trim().parse().ok()
    }

    /// A file of it as the test sees it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let pid = self.inside().unwrap_or_default();
        PathBuf::from(format!("/proc/{pid}/root{AT}/{name}"))
    }

    /// The binary among its mounts, with its spool on it.
    pub(crate) fn hostgauge(&self, args: &[&str]) -> Command {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.inside().unwrap_or_default());
        let spool = format!("{AT}/spool");
        clean("nsenter", &[&[&namespace, BINARY, "--spool-dir", &spool], args].concat())
    }

    /// Takes all that is left of it.
    pub(crate) fn fill(&self) {
        let mut file = fs::File::create(self.path("filler")).expect("a file");
        while file.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
    }

    pub(crate) fn free(&self) {
        // It may be free already.
        let _ = fs::remove_file(self.path("filler"));
    }

    /// Somebody tidies up.
    pub(crate) fn remove_spool(&self) {
        let _ = fs::remove_dir_all(self.path("spool"));
    }
}
