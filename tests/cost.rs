//! What the binary costs, where that is deterministic: system calls, bytes of the release binary, and that memory is
//! given back.
//!
//! CPU time is not; `tests/bench` measures it.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod support;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::agent::Log;
use support::wait::{SOON, wait_until};
use support::{Agent, http};

/// The system calls of a process, by name, while `work` runs.
fn system_calls(pid: u32, work: impl FnOnce()) -> BTreeMap<String, u64> {
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-p", &pid.to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace starts (Debian: apt-get install strace)");
    let log = Log::follow(strace.stderr.take().expect("a pipe"));
    wait_until(SOON, "strace attaches", || log.text().contains("attached").then_some(()).ok_or_else(|| log.text()));
    work();
    let stopped = Command::new("kill").args(["-INT", &strace.id().to_string()]).status().expect("kill starts");
    assert!(stopped.success());
    strace.wait().expect("strace ends");
    wait_until(SOON, "strace's table", || log.text().contains(" total").then_some(()).ok_or_else(|| log.text()));
    // % time, seconds, usecs/call, calls, errors (may be blank), name
    let row = |line: &str| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let calls = cells.get(3)?.parse().ok()?;
        cells.last().filter(|name| **name != "total").map(|name| ((*name).to_owned(), calls))
    };
    // Attaching itself interrupts each thread's wait once.
    log.text().lines().filter_map(row).filter(|(name, _)| name != "restart_syscall").collect()
}

#[test]
fn a_sample_takes_five_system_calls() {
    let agent = Agent::start(&["--interval", "100ms"]);
    agent.wait_for(SOON, "a first sample", |page| {
        page.text.contains("hostgauge_disk_utilization_percent{").then_some(())
    });
    settled(&agent);
    // The last client's connection is closed and forgotten by then.
    std::thread::sleep(Duration::from_millis(300));
    let calls = system_calls(agent.pid(), || std::thread::sleep(Duration::from_secs(3)));
    let samples = calls.get("getrusage").copied().unwrap_or(0);
    assert!(samples >= 10, "one for each sample: {calls:?}");
    let per_sample = calls.values().sum::<u64>() as f64 / samples as f64;
    println!("system calls per sample: {per_sample:.2}");
    // The counting begins and ends within a tick.
    assert!(per_sample <= 5.0 + 5.0 / samples as f64, "{per_sample}: {calls:?}");
}

#[test]
fn a_scrape_takes_four_system_calls() {
    const SCRAPES: u64 = 200;
    let agent = Agent::start(&["--interval", "60s"]);
    let mut client = http::connect(agent.address()).expect("connected");
    let mut answer = vec![0; 64 * 1024];
    let mut scrape = || {
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        let mut filled = 0;
        // The page's last line: hostgauge_build_info.
        while !answer[..filled].ends_with(b"\"} 1\n") {
            let length = client.read(&mut answer[filled..]).expect("an answer");
            assert!(length > 0, "the agent hung up");
            filled += length;
        }
    };
    settled(&agent);
    scrape();
    let calls = system_calls(agent.pid(), || (0..SCRAPES).for_each(|_| scrape()));
    let per_scrape = calls.values().sum::<u64>() as f64 / SCRAPES as f64;
    println!("system calls per scrape: {per_scrape:.2}");
    assert!(per_scrape <= 4.1, "{per_scrape}: {calls:?}");
}

/// Waits until the code of the start was given back, which happens once; the resident memory then and at its peak.
fn settled(agent: &Agent) -> (u64, u64) {
    let kilobytes = |status: &str, key: &str| -> u64 {
        let row = status.lines().find_map(|line| line.strip_prefix(key)).expect("the kernel counts it");
        row.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    wait_until(SOON, "a tenth less resident memory than at its peak", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("it runs");
        let (now, peak) = (kilobytes(&status, "VmRSS:"), kilobytes(&status, "VmHWM:"));
        if 10 * now < 9 * peak { Ok((now, peak)) } else { Err(status) }
    })
}

#[test]
fn the_code_of_the_start_does_not_stay_resident() {
    let (now, peak) = settled(&Agent::start(&[]));
    println!("resident: {now} kB, at its peak {peak} kB");
}

/// A release binary of one set of features; `tests/run` builds them.
fn release_binary(folder: &str) -> Vec<u8> {
    let binary = format!("{}/../{folder}/release/hostgauge", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&binary).unwrap_or_else(|error| panic!("{binary}: {error}; tests/run builds it"))
}

#[test]
fn the_release_binaries_stay_small() {
    let (all, prometheus_only) = (release_binary("target").len(), release_binary("target/prometheus-only").len());
    println!("bytes of the release binary: {all}, for Prometheus only: {prometheus_only}");
    assert!(all <= 9_000_000, "{all} bytes");
    assert!(prometheus_only <= 2_500_000, "{prometheus_only} bytes");
}

// What keeps a program's counters and histograms, which an agent does not have: 0.1 MB of code, and the only user of
// libm, which has another 0.3 MB resident.
#[test]
fn the_agent_by_itself_does_not_link_what_only_a_program_needs() {
    let prometheus_only = release_binary("target/prometheus-only");
    let names = |library: &str| prometheus_only.windows(library.len()).any(|bytes| bytes == library.as_bytes());
    assert!(names("libc.so.6") && !names("libm.so.6"));
}
