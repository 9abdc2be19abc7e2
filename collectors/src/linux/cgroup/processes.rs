//! Processes one by one: the fallback where no cgroup can be read, and the scope `tree`.
//!
//! Source: proc_pid_stat(5). A sum over processes misses what ended between two readings without a parent among them
//! that waited for it, and counts shared pages once for each process (resident memory; the proportional share would
//! take a walk through every page table).

use std::path::Path;

use nix::unistd::{SysconfVar, sysconf};

use crate::linux::cgroup::reading::{CPU_NANOSECONDS, Reading};
use crate::linux::cgroup::text;

/// What /proc/PID/stat says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub pid: u32,
    pub parent: u32,
    /// CPU time of the process and of its children that ended and were waited for, in ticks.
    pub ticks: u64,
    /// When it started, in ticks since boot: tells two processes of one number apart.
    pub start: u64,
    pub resident_pages: u64,
}

/// The text of one stat file. The name, in parentheses, may hold anything.
pub(super) fn parse(text: &str) -> Option<Process> {
    let (pid, rest) = text.split_once(" (")?;
    let (_, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // proc_pid_stat(5) counts from 1, and the first of these is its third.
    let field = |number: usize| fields.get(number - 3);
    let number = |at: usize| field(at)?.parse::<i64>().ok()?.try_into().ok();
    let times = [14, 15, 16, 17].into_iter().map(number);
    let ticks = times.into_iter().try_fold(0u64, |sum, time: Option<u64>| sum.checked_add(time?))?;
    Some(Process {
        pid: pid.parse().ok()?,
        parent: field(4)?.parse().ok()?,
        ticks,
        start: number(22)?,
        resident_pages: number(24)?,
    })
}

pub(super) fn read(procfs: &Path, pid: u32) -> Option<Process> {
    parse(&String::from_utf8_lossy(&std::fs::read(procfs.join(pid.to_string()).join("stat")).ok()?))
}

/// The numbers of all processes, in ascending order. One that ends meanwhile is gone.
pub(super) fn pids(procfs: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(procfs).into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// A process and its descendants; empty if it is gone.
pub(super) fn tree(procfs: &Path, root: u32) -> Vec<Process> {
    let all: Vec<Process> = pids(procfs).into_iter().filter_map(|pid| read(procfs, pid)).collect();
    let mut found: Vec<Process> = all.iter().copied().filter(|process| process.pid == root).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|process| process.pid) {
        found.extend(all.iter().filter(|process| process.parent == parent && process.pid != root));
        next += 1;
        // Numbers may be reused while we read; no tree has more members than there are processes.
        if found.len() > all.len() {
            break;
        }
    }
    found
}

/// The processes whose /proc/PID/cgroup says this.
pub(super) fn of_cgroup(procfs: &Path, membership: &str) -> Vec<Process> {
    let is_member =
        |pid: &u32| text::read(&procfs.join(pid.to_string()).join("cgroup")).is_ok_and(|text| text == membership);
    pids(procfs).into_iter().filter(is_member).filter_map(|pid| read(procfs, pid)).collect()
}

/// What the kernel counts in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    tick_nanoseconds: u64,
    page_bytes: u64,
}

impl Units {
    pub(super) fn of_this_kernel() -> Self {
        let ask = |what, usual: u64| {
            sysconf(what).ok().flatten().and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(usual)
        };
        Self {
            tick_nanoseconds: 1_000_000_000 / ask(SysconfVar::CLK_TCK, 100),
            page_bytes: ask(SysconfVar::PAGE_SIZE, 4096),
        }
    }

    pub(super) fn sum(self, processes: &[Process], reading: &mut Reading) {
        let sum = |of: fn(&Process) -> u64| processes.iter().map(of).fold(0, u64::saturating_add);
        reading.counters[CPU_NANOSECONDS] = Some(sum(|process| process.ticks).saturating_mul(self.tick_nanoseconds));
        reading.resident = Some(sum(|process| process.resident_pages).saturating_mul(self.page_bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stat(pid: u32, parent: u32, times: [u64; 4]) -> String {
        let [user, system, children_user, children_system] = times;
        format!(
            "{pid} (a ) b) S {parent} 1 1 0 -1 4194560 9 0 0 0 {user} {system} {children_user} {children_system} \
             20 0 1 0 77 1000 5 18446744073709551615 1 1\n"
        )
    }

    #[test]
    fn a_stat_file_whatever_the_name() {
        let process = parse(&stat(7, 3, [1, 2, 3, 4])).expect("good");
        assert_eq!(process, Process { pid: 7, parent: 3, ticks: 10, start: 77, resident_pages: 5 });
        // Four times that no machine has, whose sum 64 bits do not hold.
        let endless = stat(7, 3, [i64::MAX as u64; 4]);
        for bad in ["", "7", "7 (a", "7 (a) S 1", "x (a) S 1 1", &endless] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_tree_is_the_process_and_all_below_it() {
        let folder = tempfile::tempdir().expect("a folder");
        for (pid, parent) in [(1, 0), (5, 1), (6, 5), (7, 6), (8, 1)] {
            let process = folder.path().join(pid.to_string());
            std::fs::create_dir(&process).expect("made");
            std::fs::write(process.join("stat"), stat(pid, parent, [pid.into(), 0, 0, 0])).expect("written");
            std::fs::write(process.join("cgroup"), format!("0::/{}\n", pid % 2)).expect("written");
        }
        std::fs::write(folder.path().join("stat"), "cpu").expect("written");
        let pids = |processes: Vec<Process>| processes.iter().map(|process| process.pid).collect::<Vec<_>>();
        assert_eq!(pids(tree(folder.path(), 5)), [5, 6, 7]);
        assert_eq!(pids(tree(folder.path(), 9)), Vec::<u32>::new());
        assert_eq!(pids(of_cgroup(folder.path(), "0::/0\n")), [6, 8]);
        let mut reading = Reading::default();
        Units { tick_nanoseconds: 10, page_bytes: 4096 }.sum(&tree(folder.path(), 5), &mut reading);
        assert_eq!((reading.counters[CPU_NANOSECONDS], reading.working_set()), (Some(180), Some(3 * 5 * 4096)));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = (parse(&text), parse(&format!("1 ({text}) {text}")));
        }
    }
}
