//! The CPU rows of /proc/stat.
//!
//! Source: Documentation/filesystems/proc.rst, section 1.7, and proc_stat(5): `cpuN user nice system idle iowait irq
//! softirq steal guest guest_nice`, in ticks. Older kernels have fewer columns; newer ones may have more.

use std::fmt;

/// The times of one core, in ticks since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CpuTimes {
    /// user + nice + system + irq + softirq; guest time is inside user.
    pub busy: u64,
    /// The idle column alone.
    pub idle: u64,
    /// Idle time with a task waiting for a disk.
    pub iowait: u64,
    /// Time that the hypervisor gave to others.
    pub steal: u64,
}

/// A row that is not what the kernel promises.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MalformedRow {
    row: String,
    expected: &'static str,
}

impl MalformedRow {
    fn new(row: &[u8], expected: &'static str) -> Self {
        let head = &row[..row.len().min(80)];
        Self { row: String::from_utf8_lossy(head).escape_debug().to_string(), expected }
    }
}

impl fmt::Display for MalformedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row \"{}\": expected {}", self.row, self.expected)
    }
}

/// Whether `text` already holds every CPU row: they stand first, so any other row ends them.
pub(super) fn has_all_cpu_rows(text: &[u8]) -> bool {
    let mut rows = text.split(|byte| *byte == b'\n');
    rows.next_back(); // may be cut off
    rows.any(|row| !row.starts_with(b"cpu"))
}

/// Calls `row` with the number and the times of each `cpuN` row, in the file's order.
pub(super) fn parse(text: &[u8], mut row: impl FnMut(u32, CpuTimes)) -> Result<(), MalformedRow> {
    let mut last = None;
    for line in text.split(|byte| *byte == b'\n') {
        let Some(rest) = line.strip_prefix(b"cpu") else { break };
        if rest.first() == Some(&b' ') {
            continue; // the kernel's own sum: it still holds the times of cores that have left
        }
        let mut columns = rest.split(|byte| *byte == b' ').filter(|column| !column.is_empty());
        let core = columns.next().and_then(number).and_then(|core| u32::try_from(core).ok());
        let core = core.ok_or_else(|| MalformedRow::new(line, "cpu and a number"))?;
        if last.is_some_and(|last| core <= last) {
            return Err(MalformedRow::new(line, "cores in ascending order"));
        }
        last = Some(core);
        let mut times = [0u64; 8];
        let mut seen = 0;
        for column in columns {
            let ticks = number(column).ok_or_else(|| MalformedRow::new(line, "whole numbers"))?;
            if let Some(slot) = times.get_mut(seen) {
                *slot = ticks;
            }
            seen += 1;
        }
        if seen < 4 {
            return Err(MalformedRow::new(line, "at least the columns user, nice, system and idle"));
        }
        let [user, nice, system, idle, iowait, irq, softirq, steal] = times;
        let busy = [user, nice, system, irq, softirq].into_iter().try_fold(0u64, u64::checked_add);
        let busy = busy.ok_or_else(|| MalformedRow::new(line, "times whose sum fits 64 bits"))?;
        row(core, CpuTimes { busy, idle, iowait, steal });
    }
    match last {
        Some(_) => Ok(()),
        None => Err(MalformedRow::new(text, "a row for cpu0 or another core")),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { number.checked_mul(10)?.checked_add(u64::from(digit)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(text: &str) -> Result<Vec<(u32, CpuTimes)>, MalformedRow> {
        let mut rows = Vec::new();
        parse(text.as_bytes(), |core, times| rows.push((core, times))).map(|()| rows)
    }

    #[test]
    fn a_core_keeps_its_number_when_another_is_offline() {
        let text =
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 40 5 6 7 8 0 0\ncpu3 10 0 0 90 0 0 0 0 0 0\nintr 5\ncpu9 1 1 1 1\n";
        let expected = vec![
            (0, CpuTimes { busy: 1 + 2 + 3 + 6 + 7, idle: 40, iowait: 5, steal: 8 }),
            (3, CpuTimes { busy: 10, idle: 90, iowait: 0, steal: 0 }),
        ];
        assert_eq!(rows(text), Ok(expected));
    }

    #[test]
    fn kernels_with_fewer_and_with_more_columns() {
        assert_eq!(rows("cpu0 1 2 3 4"), Ok(vec![(0, CpuTimes { busy: 6, idle: 4, iowait: 0, steal: 0 })]));
        let many = rows("cpu0 1 2 3 4 5 6 7 8 9 10 11 12").expect("newer kernels may add columns");
        assert_eq!(many[0].1.steal, 8);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("", "a row for cpu0"),
            ("intr 1 2 3\n", "a row for cpu0"),
            ("cpu0 1 2 3\n", "at least the columns"),
            ("cpu0 1 2 x 4\n", "whole numbers"),
            ("cpu0 1 2 -3 4\n", "whole numbers"),
            ("cpu0 1 2 99999999999999999999 4\n", "whole numbers"),
            ("cpu0 18446744073709551615 1 3 4\n", "sum fits"),
            ("cpux 1 2 3 4\n", "cpu and a number"),
            ("cpu1 1 2 3 4\ncpu1 1 2 3 4\n", "ascending"),
        ] {
            let error = rows(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_end_of_the_cpu_rows_is_seen() {
        assert!(!has_all_cpu_rows(b"cpu  1\ncpu0 1 2 3 4\nint"));
        assert!(has_all_cpu_rows(b"cpu  1\ncpu0 1 2 3 4\nintr 5\n"));
    }

    proptest! {
        #[test]
        fn what_the_kernel_writes_is_read_back(
            cores in proptest::collection::btree_map(0..9000u32, proptest::array::uniform8(0..u64::MAX / 8), 1..40),
        ) {
            let mut text = String::from("cpu  0 0 0 0\n");
            for (core, times) in &cores {
                let columns: Vec<String> = times.iter().map(u64::to_string).collect();
                text += &format!("cpu{core} {} 0 0\n", columns.join(" "));
            }
            text += "intr 1 0 0\n";
            let times = |[user, nice, system, idle, iowait, irq, softirq, steal]: [u64; 8]| {
                CpuTimes { busy: user + nice + system + irq + softirq, idle, iowait, steal }
            };
            let expected: Vec<_> = cores.into_iter().map(|(core, columns)| (core, times(columns))).collect();
            prop_assert_eq!(rows(&text), Ok(expected));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), head in 0..3usize) {
            let mut text = [&b""[..], b"cpu0 1 2 3 4\n", b"cpu"][head].to_vec();
            text.extend(bytes);
            let _ = parse(&text, |_, _| ());
            let _ = has_all_cpu_rows(&text);
        }
    }
}
