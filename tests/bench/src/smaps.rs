//! Memory and threads of a process tree.

use std::fs;

#[derive(Debug, Default, PartialEq)]
pub struct Memory {
    pub rss: u64,
    pub pss: u64,
    pub private_dirty: u64,
    pub threads: u64,
}

pub fn memory(processes: &[u32]) -> Result<Memory, String> {
    let read = |path: String| fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"));
    let mut sum = Memory::default();
    for pid in processes {
        let smaps = read(format!("/proc/{pid}/smaps_rollup"))?;
        let status = read(format!("/proc/{pid}/status"))?;
        add(&mut sum, &smaps, &status).ok_or(format!("/proc/{pid}: a field is missing"))?;
    }
    Ok(sum)
}

fn add(sum: &mut Memory, smaps: &str, status: &str) -> Option<()> {
    // The kernel's kB are 1024 bytes.
    sum.rss += field(smaps, "Rss:")? * 1024;
    sum.pss += field(smaps, "Pss:")? * 1024;
    sum.private_dirty += field(smaps, "Private_Dirty:")? * 1024;
    sum.threads += field(status, "Threads:")?;
    Some(())
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
5581c7f3a000-7ffd3a5f1000 ---p 00000000 00:00 0                          [rollup]
Rss:                1944 kB
Pss:                 471 kB
Pss_Dirty:           148 kB
Shared_Dirty:          0 kB
Private_Clean:        24 kB
Private_Dirty:       148 kB
";

    #[test]
    fn fields_are_summed_in_bytes() {
        let mut sum = Memory::default();
        for _ in 0..2 {
            add(&mut sum, SMAPS, "Name:\tfloor\nThreads:\t3\n").unwrap();
        }
        assert_eq!(
            sum,
            Memory { rss: 2 * 1944 * 1024, pss: 2 * 471 * 1024, private_dirty: 2 * 148 * 1024, threads: 6 }
        );
    }

    #[test]
    fn a_missing_field_is_not_zero() {
        assert_eq!(add(&mut Memory::default(), "Rss: 1 kB\n", "Threads: 1\n"), None);
    }
}
