//! A root file system of its own, for containers and guests: busybox, the agent, and what it links with.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::agent::BINARY;

pub(crate) struct RootFs(tempfile::TempDir);

impl RootFs {
    pub(crate) fn new() -> Self {
        let root = Self::empty();
        for folder in ["bin", "proc", "sys", "dev", "tmp", "etc", "run"] {
            fs::create_dir_all(root.path(folder)).expect("a folder");
        }
        root.program("/bin/busybox", "bin/busybox");
        let applets = Command::new("/bin/busybox").arg("--list").output().expect("busybox (Debian: busybox-static)");
        for applet in String::from_utf8_lossy(&applets.stdout).lines().filter(|applet| *applet != "busybox") {
            symlink("busybox", root.path(&format!("bin/{applet}"))).expect("a link");
        }
        root.program(BINARY, "bin/hostgauge");
        root
    }

    /// A root with nothing in it.
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Where a path of the inside is on this machine.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside.trim_start_matches('/'))
    }

    /// Puts a program and its libraries in.
    pub(crate) fn program(&self, program: impl AsRef<Path>, inside: &str) {
        let program = program.as_ref();
        self.copy(program, inside);
        // Whatever is linked statically has none.
        let listed = Command::new("ldd").arg(program).output().expect("ldd");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
            if !self.path(library).exists() {
                self.copy(Path::new(library), library);
            }
        }
    }

    /// Puts a file of this machine in.
    pub(crate) fn copy(&self, from: &Path, inside: &str) {
        let to = self.path(inside);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        // A link is quick, and works where both lie on one file system.
        if fs::hard_link(from.canonicalize().expect("a path"), &to).is_err() {
            fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
    }

    /// Puts a shell script in.
    pub(crate) fn script(&self, inside: &str, script: &str) {
        self.file(inside, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.path(inside), fs::Permissions::from_mode(0o755)).expect("a file's mode");
    }

    /// Puts a file in.
    pub(crate) fn file(&self, inside: &str, content: &str) {
        let to = self.path(inside);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::write(&to, content).expect("a file");
    }
}
