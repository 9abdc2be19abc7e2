//! What the kernel says, read anew by the tests: the judge of what the agent says.

use std::collections::BTreeMap;
use std::fs::read_to_string;

/// The times of a core, in the kernel's ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub busy: f64,
    pub idle: f64,
    pub steal: f64,
}

/// How busy a core was between two readings, in percent.
pub(crate) fn percent(before: Times, after: Times) -> f64 {
    100.0 * (after.busy - before.busy) / total(before, after)
}

/// The time between two readings of a core, in ticks.
pub(crate) fn total(before: Times, after: Times) -> f64 {
    after.busy - before.busy + after.idle - before.idle + after.steal - before.steal
}

/// Every core that is online, by its number.
pub(crate) fn cores() -> BTreeMap<u32, Times> {
    let stat = read_to_string("/proc/stat").expect("/proc/stat");
    let rows = stat.lines().filter_map(|line| line.strip_prefix("cpu").filter(|rest| !rest.starts_with(' ')));
    rows.map(|row| {
        let columns: Vec<u32> = row.split(' ').map(|column| column.parse().expect("a number")).collect();
        let [core, user, nice, system, idle, iowait, irq, softirq, steal, ..] = columns[..] else {
            panic!("ten columns, got {row}");
        };
        let sum = |times: &[u32]| times.iter().copied().map(f64::from).sum();
        (
            core,
            Times { busy: sum(&[user, nice, system, irq, softirq]), idle: sum(&[idle, iowait]), steal: sum(&[steal]) },
        )
    })
    .collect()
}

/// `MemTotal - MemAvailable`, in bytes.
pub(crate) fn memory_used() -> f64 {
    let row = |name| number("/proc/meminfo", name);
    1024.0 * (row("MemTotal:") - row("MemAvailable:"))
}

/// VmRSS of a process, in bytes.
pub(crate) fn resident(pid: u32) -> f64 {
    1024.0 * number(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// RssAnon of a process, in bytes: what it has allocated, without its code.
pub(crate) fn anonymous(pid: u32) -> f64 {
    1024.0 * number(&format!("/proc/{pid}/status"), "RssAnon:")
}

/// The same to the page, which takes root. Private_Dirty would be more after a build: until the disk has the program,
/// its code is dirty, too.
pub(crate) fn anonymous_pages(pid: u32) -> f64 {
    1024.0 * number(&format!("/proc/{pid}/smaps_rollup"), "Anonymous:")
}

fn number(file: &str, name: &str) -> f64 {
    let text = read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let row = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{file}: no {name}"));
    row.trim().trim_end_matches(" kB").parse().unwrap_or_else(|error| panic!("{file}: {name}{row}: {error}"))
}
