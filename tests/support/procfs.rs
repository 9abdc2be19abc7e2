//! A /proc whose counters the test moves.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// Every text is written this long, so that one write replaces the one before whole: the agent holds the file open, and
/// must never see it empty or half.
const LENGTH: usize = 2048;

/// A folder in place of /proc; gone when dropped.
pub(crate) struct Procfs(tempfile::TempDir);

impl Procfs {
    /// A copy of a fixture, as the kernel would have it: the files are written over in place, never replaced.
    pub(crate) fn copy_of(fixture: &str) -> Self {
        let procfs = Self(tempfile::tempdir().expect("a folder"));
        for name in ["stat", "meminfo"] {
            let text = fixture_text(fixture, name);
            fs::write(procfs.file(name), text).expect("written");
        }
        procfs
    }

    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().expect("UTF-8")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file over with a fixture's.
    pub(crate) fn put(&self, name: &str, fixture: &str) {
        self.write(name, &fixture_text(fixture, name));
    }

    /// The CPU rows: (core, busy, idle, iowait, steal), each in the kernel's ticks of 10 ms.
    pub(crate) fn cpu(&self, rows: &[(u32, u64, u64, u64, u64)]) {
        let row =
            |(core, busy, idle, iowait, steal): &_| format!("cpu{core} {busy} 0 0 {idle} {iowait} 0 0 {steal} 0 0\n");
        let rows: String = rows.iter().map(row).collect();
        self.write("stat", &format!("cpu  1 1 1 1 1 1 1 1 0 0\n{rows}intr 1\n"));
    }

    /// Memory in all, and what of it is available, in kB.
    pub(crate) fn memory(&self, total: u64, available: u64) {
        self.write("meminfo", &format!("MemTotal: {total} kB\nMemFree: 0 kB\nMemAvailable: {available} kB\n"));
    }

    fn write(&self, name: &str, text: &str) {
        // Neither file's reader looks beyond a row of another name.
        let text = format!("{:<LENGTH$}", format!("{}\nPadding: ", text.trim_end()));
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(self.file(name));
        let file = file.expect("a file");
        file.write_all_at(text.as_bytes(), 0).expect("written");
        file.set_len(text.len() as u64).expect("cut");
    }
}

fn fixture_text(fixture: &str, name: &str) -> String {
    let path = super::file("fixtures/proc").join(fixture).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
