//! As torchrun starts it: around torchrun, and around each of its workers. torchrun.py stands for it, with the
//! environment, processes and signals that a real one had; torchrun.md has what that one printed.

use std::process::Command;

use crate::both::{Running, children, command, is_alive, kill, script};
use crate::support::agent::{BINARY, run};
use crate::support::wait::{SOON, wait_until};

/// Two workers, each a shell under a hostgauge.
fn workers(options: &[&str], program: &str) -> Command {
    let hostgauge = [BINARY, "run", "--prometheus-listen", "127.0.0.1:0", "--", "sh", "-c", program];
    let mut command = command(&[&["python3", &script("torchrun.py")], options, &hostgauge[..]].concat());
    command.env("RUST_LOG", "info");
    command
}

#[test]
fn one_of_several_on_a_host_measures_for_all() {
    let mut running = Running::spawn(workers(&[], "echo worker $LOCAL_RANK; exec sleep 60"));
    let measuring = wait_until(SOON, "a page, and one that leaves it to the other", || {
        let said = running.err.text();
        let left = said.contains("LOCAL_RANK is 1: the hostgauge of worker 0 measures this host for all its workers");
        let line = said.lines().find(|line| line.contains("; page: "));
        line.filter(|_| left).map(str::to_owned).ok_or(said)
    });
    running.wait_for("worker 0");
    running.wait_for("worker 1");
    let whole = format!("process {} and its descendants as Host my-run/algo-3", running.pid());
    assert!(measuring.contains(&whole), "{measuring}");
    assert_eq!(running.err.text().matches("page: ").count(), 1, "{}", running.err.text());
    let agents = children(running.pid()).into_iter().map(|hostgauge| children(hostgauge).len());
    let mut agents: Vec<usize> = agents.collect();
    agents.sort_unstable();
    assert_eq!(agents, [1, 2], "each has its program, one an agent");
    kill("TERM", running.pid());
    assert_eq!(running.end().code(), Some(1), "{}", running.err.text());
}

#[test]
fn a_failed_worker_ends_the_others_and_all_are_started_again() {
    let program = "echo worker $LOCAL_RANK try $TORCHELASTIC_RESTART_COUNT; \
                   [ $LOCAL_RANK$TORCHELASTIC_RESTART_COUNT = 10 ] && exit 7; \
                   [ $TORCHELASTIC_RESTART_COUNT = 1 ] || exec sleep 60";
    let ended = run(&mut workers(&["--max-restarts", "1"], program), "");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let mut lines: Vec<&str> = ended.stdout.lines().collect();
    lines.sort_unstable();
    let tries = ["worker 0 try 0", "worker 0 try 1", "worker 1 try 0", "worker 1 try 1"];
    assert_eq!(lines, [&["failed: worker 1: 7"], &tries[..]].concat(), "{ended:?}");
    // The port that the first agent had is free for the second.
    assert_eq!(ended.stderr.matches("page: ").count(), 2, "{}", ended.stderr);
}

#[test]
fn a_worker_that_a_signal_ended_has_the_code_of_a_shell() {
    let ended = run(&mut workers(&[], "[ $LOCAL_RANK = 0 ] && exec sleep 60; kill -SEGV $$"), "");
    assert_eq!((ended.status.code(), ended.stdout.trim()), (Some(1), "failed: worker 1: 139"), "{ended:?}");
}

#[test]
fn around_torchrun_its_end_is_ours() {
    let torchrun = script("torchrun.py");
    let under = [BINARY, "run", "--prometheus-listen", "127.0.0.1:0", "--", "python3", &torchrun];
    let program = ["sh", "-c", "echo $$; exec sleep 60"];
    let mut running = Running::start(&[&under[..], &program].concat());
    let pids = wait_until(SOON, "two workers", || {
        let text = running.out.text();
        let pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        if pids.len() == 2 { Ok(pids) } else { Err(text) }
    });
    kill("TERM", running.pid());
    assert_eq!(running.end().code(), Some(1), "{}", running.err.text());
    assert!(!pids.into_iter().any(is_alive), "torchrun ended its workers");
}
