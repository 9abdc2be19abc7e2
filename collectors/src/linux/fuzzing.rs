//! Properties of the readers of /proc/stat, CPU lists and /proc/meminfo.

use super::proc_stat::{CpuTimes, MalformedRow};
use super::{cpu_list, meminfo, proc_stat};
use crate::fuzzing::input::parts;
use crate::fuzzing::written;

fn rows(text: &[u8]) -> Result<Vec<(u32, CpuTimes)>, MalformedRow> {
    let mut rows = Vec::new();
    proc_stat::parse(text, |core, times| rows.push((core, times))).map(|()| rows)
}

/// Cores come once and in order, with numbers that stand in the text, and read back as the same; what follows the CPU
/// rows changes nothing. A list of CPUs reads back as the same list.
pub(crate) fn kernel_cpu(data: &[u8]) {
    let mut parts = parts(data);
    let (text, more) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let read = rows(text);
    if proc_stat::has_all_cpu_rows(text) {
        assert_eq!(rows(&[text, more].concat()).ok(), read.as_ref().ok().cloned());
    }
    match &read {
        Ok(rows_read) => {
            assert!(!rows_read.is_empty() && rows_read.is_sorted_by(|a, b| a.0 < b.0));
            let (written, mut again) = (written(text), String::new());
            for (core, CpuTimes { busy, idle, iowait, steal }) in rows_read {
                assert!(written.contains(&u64::from(*core)));
                assert!([idle, iowait, steal].iter().all(|ticks| **ticks == 0 || written.contains(ticks)));
                again += &format!("cpu{core} {busy} 0 0 {idle} {iowait} 0 0 {steal}\n");
            }
            assert_eq!(rows(again.as_bytes()), read);
        }
        Err(error) => assert!(error.to_string().len() < 1200 && !error.to_string().contains('\n')),
    }
    let Ok(text) = str::from_utf8(text) else { return };
    if let Some(list) = cpu_list::parse(text) {
        assert!(list.is_sorted_by(|a, b| a < b));
        // A whole one takes a millisecond to write.
        let list = list.get(..1000).map_or_else(|| list.clone(), <[u32]>::to_vec);
        let again = list.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        assert_eq!(cpu_list::parse(&again), Some(list));
    }
}

/// What is available is no more than there is; both stand in the text in kB, and what follows them changes nothing.
pub(crate) fn kernel_memory(data: &[u8]) {
    let mut parts = parts(data);
    let (text, more) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(memory) = meminfo::parse(text) else { return };
    assert!(memory.total > 0 && memory.available <= memory.total);
    let written = written(text);
    assert!(
        [memory.total, memory.available].iter().all(|bytes| bytes % 1024 == 0 && written.contains(&(bytes / 1024)))
    );
    if meminfo::has_both_rows(text) && text.ends_with(b"\n") {
        assert_eq!(meminfo::parse(&[text, more].concat()), Ok(memory));
    }
    let again = format!("MemTotal: {} kB\nMemAvailable: {} kB\n", memory.total / 1024, memory.available / 1024);
    assert_eq!(meminfo::parse(again.as_bytes()), Ok(memory));
}
