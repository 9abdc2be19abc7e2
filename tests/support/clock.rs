//! The wall clock of one process, by libfaketime.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A clock that can be set. The monotonic clock stays as it is.
pub(crate) struct Clock {
    library: PathBuf,
    folder: tempfile::TempDir,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let folders = fs::read_dir("/usr/lib").expect("/usr/lib");
        let libraries = folders.flatten().map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
        let library = libraries.chain(["/usr/lib/faketime/libfaketimeMT.so.1".into()]).find(|path| path.exists());
        let library = library.expect("setting a clock takes libfaketime: tests/run installs it (Debian: faketime)");
        let clock = Self { library, folder: tempfile::tempdir().expect("a folder") };
        clock.set(0.0);
        clock
    }

    /// Sets it to so many seconds off the machine's.
    pub(crate) fn set(&self, offset: f64) {
        let [next, file] = ["next", "offset"].map(|name| self.folder.path().join(name));
        // In one step, for it is read at any moment.
        fs::write(&next, format!("{offset:+}")).expect("written");
        fs::rename(next, file).expect("renamed");
    }

    pub(crate) fn rule(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", self.folder.path().join("offset"));
        command.envs([("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("NO_FAKE_STAT", "1")]);
    }
}
