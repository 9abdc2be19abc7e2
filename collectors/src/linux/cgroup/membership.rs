//! Whether a process still is there, and in the cgroups that it was in.
//!
//! Source: Documentation/filesystems/proc.rst "comm"; Documentation/admin-guide/cgroup-v2.rst "Processes".

use std::fs::File;
use std::time::{Duration, Instant};

use crate::error::CollectError;
use crate::linux::cgroup::reading::read_held;
use crate::sample::Roots;

/// A held /proc/PID/cgroup, and what it said.
///
/// That a process ended is known at once, that it was moved alive within `patience`: for each reading of this file the
/// kernel stops all that anybody does to cgroups, and goes through every hierarchy, which costs as much as the cgroup's
/// own files.
#[derive(Debug)]
pub(super) struct Membership {
    /// Its name, a file that costs little; `None` of ourselves.
    alive: Option<File>,
    file: File,
    said: String,
    read: Instant,
    patience: Duration,
}

impl Membership {
    /// Of a folder of /proc: a number, or `self`.
    pub(super) fn of(
        roots: &Roots,
        process: &str,
        patience: Duration,
        buffer: &mut Vec<u8>,
    ) -> Result<Self, CollectError> {
        let open = |name: &str| {
            let path = roots.procfs.join(process).join(name);
            File::open(&path).map_err(|error| CollectError::io("open", &path, &error)).map(|file| (file, path))
        };
        let alive = if process == "self" { None } else { Some(open("comm")?.0) };
        let (file, path) = open("cgroup")?;
        let said = read_held(&file, buffer).map_err(|error| CollectError::io("read", &path, &error))?.to_owned();
        Ok(Self { alive, file, said, read: Instant::now(), patience })
    }

    /// The text of the file.
    pub(super) fn said(&self) -> &str {
        &self.said
    }

    /// Whether it still is so.
    pub(super) fn holds(&mut self, buffer: &mut Vec<u8>) -> bool {
        // Of a process that ended the kernel gives nothing to read, also where another one has its number.
        let is_gone = |file: &File| read_held(file, buffer).map_or(true, str::is_empty);
        if self.alive.as_ref().is_some_and(is_gone) {
            return false;
        }
        if self.read.elapsed() < self.patience {
            return true;
        }
        self.read = Instant::now();
        read_held(&self.file, buffer).is_ok_and(|says| says == self.said)
    }

    /// As if it had been read long ago.
    #[cfg(test)]
    pub(super) fn age(&mut self) {
        self.read = self.read.checked_sub(self.patience).unwrap_or(self.read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ended_is_known_at_once() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("started");
        let mut buffer = Vec::new();
        let of = |pid: u32, buffer: &mut Vec<u8>| {
            Membership::of(&Roots::default(), &pid.to_string(), Duration::from_secs(60), buffer)
        };
        let mut membership = of(child.id(), &mut buffer).expect("it runs");
        assert!(membership.said().contains(":/") && membership.holds(&mut buffer));
        membership.age();
        assert!(membership.holds(&mut buffer), "read again, and it says the same");
        child.kill().expect("killed");
        child.wait().expect("reaped");
        assert!(!membership.holds(&mut buffer));
        assert!(of(child.id(), &mut buffer).is_err());
    }
}
