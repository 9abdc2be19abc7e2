//! The scenario file, looked at on every call and read when it may have changed.

use std::fs::{self, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::scenario::Scenario;

/// A file that was written so shortly before it was read may be written again without a new time stamp: the kernel's
/// clock for files goes in steps of up to 10 ms.
const UNSETTLED: Duration = Duration::from_millis(50);

/// What tells one version of a file from the next without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        let modified = (file.mtime(), file.mtime_nsec());
        Self { device: file.dev(), inode: file.ino(), size: file.size(), modified }
    }
}

/// Where the scenario comes from.
#[derive(Debug)]
pub(crate) struct Source {
    path: Option<PathBuf>,
    /// Of the text, if that may be trusted.
    stamp: Option<Stamp>,
    /// As it was read, or why it could not be.
    text: Result<String, String>,
    scenario: Option<Arc<Scenario>>,
}

impl Source {
    /// None plays the demonstration.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        let scenario = path.is_none().then(|| Arc::new(Scenario::demonstration()));
        Self { path, stamp: None, text: Err(String::new()), scenario }
    }

    /// The scenario as it is now, and if it is another than the time before, when it was written. None while there is
    /// no good one: playing on with the last good one would hide a test's mistake.
    pub(crate) fn read(&mut self) -> (Option<Arc<Scenario>>, Option<SystemTime>) {
        let changed = self.look();
        (self.scenario.clone(), changed)
    }

    fn look(&mut self) -> Option<SystemTime> {
        let path = self.path.as_ref()?;
        let stamp = fs::metadata(path).map(|file| (Stamp::of(&file), file.modified().ok()));
        if let (Ok((stamp, _)), Some(known)) = (&stamp, self.stamp)
            && *stamp == known
        {
            return None;
        }
        let text = fs::read_to_string(path).map_err(|error| error.to_string());
        self.stamp = match (&stamp, &text) {
            (Ok((stamp, Some(modified))), Ok(_)) => {
                let settled = SystemTime::now().duration_since(*modified).is_ok_and(|age| age > UNSETTLED);
                settled.then_some(*stamp)
            }
            _ => None,
        };
        if text == self.text {
            return None;
        }
        let scenario = text.as_deref().map_err(String::clone).and_then(Scenario::parse);
        self.scenario = scenario.map(Arc::new).map_err(|why| self.refuse(&why)).ok();
        self.text = text;
        Some(stamp.ok().and_then(|(_, modified)| modified).unwrap_or_else(SystemTime::now))
    }

    /// Says why there is no scenario. It has nowhere else to say it: NVML has no words for it.
    fn refuse(&self, why: &str) {
        let path = self.path.as_deref().unwrap_or_else(|| "".as_ref());
        let _ = writeln!(io::stderr(), "nvml-double: {}: {why}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// Two versions of one length in one file with one time stamp: only reading it tells them apart. The time lies
    /// ahead, so that it stays too new to be trusted however slow the test is.
    #[test]
    fn a_change_within_the_clocks_step_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("scenario.toml");
        let mut source = Source::new(Some(path.clone()));
        let time = SystemTime::now() + Duration::from_secs(3600);
        for round in 0..20 {
            let version = format!("{round:03}");
            fs::write(&path, format!("[driver]\nversion = \"{version}\"")).expect("written");
            File::options().write(true).open(&path).and_then(|file| file.set_modified(time)).expect("stamped");
            let (scenario, changed) = source.read();
            assert_eq!(scenario.expect("a scenario").driver.version, version);
            assert!(changed.is_some());
            assert!(source.read().1.is_none());
        }
    }

    /// What the cache is for: a file that has settled is not read again.
    #[test]
    fn a_settled_file_is_trusted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("scenario.toml");
        let mut source = Source::new(Some(path.clone()));
        let time = SystemTime::now() - Duration::from_secs(3600);
        for text in ["[driver]\nversion = \"1\"", "[driver]\nversion = \"2\""] {
            fs::write(&path, text).expect("written");
            File::options().write(true).open(&path).and_then(|file| file.set_modified(time)).expect("stamped");
            assert_eq!(source.read().0.expect("a scenario").driver.version, "1", "the second one is not looked into");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_wrong_gives_none_until_it_is_good() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("scenario.toml");
        let mut source = Source::new(Some(path.clone()));
        assert_eq!(source.read().0, None);
        fs::write(&path, "gpu = 1").expect("written");
        assert_eq!(source.read().0, None);
        fs::write(&path, "").expect("written");
        assert_eq!(source.read().0.as_deref(), Some(&Scenario::parse("").expect("empty is good")));
    }
}
