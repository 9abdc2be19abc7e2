//! System calls of a process tree, counted by strace.

use crate::process::{self, Scratch};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

const ATTACH: Duration = Duration::from_secs(5);

/// The calls that the processes made during `work`, and how long strace was attached.
pub fn calls_during(
    strace: &Path,
    processes: &[u32],
    scratch: &Scratch,
    work: impl FnOnce() -> Result<(), String>,
) -> Result<(f64, Duration), String> {
    let summary = scratch.path().join("strace.summary");
    let mut command = process::command(strace);
    command.args(["-f", "-c", "-o"]).arg(&summary);
    for pid in processes {
        command.args(["-p", &pid.to_string()]);
    }
    let mut child = process::spawn(&mut command, scratch, &scratch.path().join("strace.log"))?;
    let result = process::poll(ATTACH, || processes.iter().all(|pid| is_traced(*pid)).then_some(()))
        .ok_or(format!("strace: not attached within {ATTACH:?}"))
        .and_then(|()| {
            let attached = Instant::now();
            work().map(|()| attached.elapsed())
        });
    // It detaches and writes the summary on SIGINT, then ends by that signal.
    process::stop(&mut child, libc::SIGINT).map_err(|e| format!("strace: {e}"))?;
    let elapsed = result?;
    let text = fs::read_to_string(&summary).map_err(|e| format!("strace's summary: {e}"))?;
    Ok((total(&text)? as f64, elapsed))
}

/// Whether every thread has a tracer.
fn is_traced(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    threads.flatten().all(|thread| {
        fs::read_to_string(thread.path().join("status"))
            .is_ok_and(|status| status.contains("TracerPid:") && !status.contains("TracerPid:\t0\n"))
    })
}

/// All calls in strace's table; no table at all means none. A wait that goes on as restart_syscall does not count: each
/// thread was in one, which began before, when it was attached to.
fn total(summary: &str) -> Result<u64, String> {
    let mut calls = 0;
    for row in summary.lines() {
        let fields: Vec<_> = row.split_whitespace().collect();
        // % time, seconds, usecs/call, calls, [errors,] name
        match fields[..] {
            [] | ["%", ..] | [.., "total" | "restart_syscall"] => {}
            [rule, ..] if rule.starts_with('-') => {}
            [_, _, _, n, _] | [_, _, _, n, _, _] => {
                calls += n.parse::<u64>().map_err(|_| format!("strace: expected a count of calls in {row:?}"))?;
            }
            _ => return Err(format!("strace: a row that is not of its table: {row:?}")),
        }
    }
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_summed_with_and_without_errors() {
        let text = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 62.50    0.000010           1        10           pread64
 37.50    0.000006           1         5         2 epoll_wait
  0.00    0.000000           0         1           restart_syscall
------ ----------- ----------- --------- --------- ----------------
100.00    0.000016           1        16         2 total
";
        assert_eq!(total(text), Ok(15));
    }

    #[test]
    fn no_calls_make_no_table() {
        assert_eq!(total(""), Ok(0));
    }

    #[test]
    fn another_table_is_refused() {
        assert!(total("strace: attach: ptrace(PTRACE_SEIZE, 1): Operation not permitted\n").is_err());
        assert!(total("1 2 3 many poll\n").is_err());
    }
}
