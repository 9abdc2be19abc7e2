//! Memory of the host.

use crate::catalogue::{MEMORY_LIMIT, MEMORY_USED, MEMORY_UTILIZATION};
use crate::collector::Collector;
use crate::error::{CollectError, Reason};
use crate::linux::held_file::HeldFile;
use crate::linux::meminfo;
use crate::sample::{Roots, Sample, percent};

/// Used memory (`MemTotal - MemAvailable`) and its share of the total, from /proc/meminfo.
#[derive(Debug)]
pub struct Memory {
    file: HeldFile,
}

impl Memory {
    /// A collector over `procfs`/meminfo. Opening waits for the first reading.
    pub fn new(roots: &Roots) -> Self {
        Self { file: HeldFile::new(roots.procfs.join("meminfo")) }
    }
}

impl Collector for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        let read = meminfo::parse(self.file.read(meminfo::has_both_rows)?);
        let memory = read.map_err(|error| {
            CollectError::new(Reason::Malformed, format!("{}: {error}", self.file.path().display()))
        })?;
        let (used, total) = ((memory.total - memory.available) as f64, memory.total as f64);
        out.push(Sample::new(&MEMORY_UTILIZATION, percent(used, total)));
        out.push(Sample::new(&MEMORY_USED, used));
        out.push(Sample::new(&MEMORY_LIMIT, total));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_used_reads_25() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("meminfo"), "MemTotal: 1000 kB\nMemFree: 9 kB\nMemAvailable: 750 kB\n")
            .expect("written");
        let mut out = Vec::new();
        let mut memory = Memory::new(&Roots { procfs: folder.path().to_owned(), ..Roots::default() });
        memory.collect(&mut out).expect("a good file");
        let values: Vec<f64> = out.iter().map(|s| s.value).collect();
        assert_eq!(values, [25.0, 250.0 * 1024.0, 1000.0 * 1024.0]);
    }

    #[test]
    fn a_malformed_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("meminfo"), "nonsense\n").expect("written");
        let mut out = Vec::new();
        let mut memory = Memory::new(&Roots { procfs: folder.path().to_owned(), ..Roots::default() });
        let error = memory.collect(&mut out).expect_err("nonsense");
        assert!(out.is_empty());
        assert_eq!(error.reason(), Reason::Malformed);
        assert!(error.to_string().ends_with("meminfo: no row MemTotal"), "{error}");
    }
}
