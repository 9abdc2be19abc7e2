//! Whether a file is still the one that was read.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::SystemTime;

/// Certificates, keys and thousands of users fit in.
const LONGEST: u64 = 1 << 20;

/// What changes with a file: its time and length, and which file it is, since most are replaced and not written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    written: Option<SystemTime>,
    length: u64,
    identity: (u64, u64, i64, i64),
}

impl Stamp {
    /// As it is now, links followed; `None` where it is not there.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt as _;
            // A time that was set back shows in the one that nobody can set.
            (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
        };
        #[cfg(not(unix))]
        let identity = (0, 0, 0, 0);
        Some(Self { written: metadata.modified().ok(), length: metadata.len(), identity })
    }
}

/// The text of a web configuration.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot read it: {error}"))?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("expected a file of up to {} MiB", LONGEST >> 20));
    }
    String::from_utf8(bytes).map_err(|_| "expected text in UTF-8".into())
}
