//! What the agent says, against what the kernel says of the same time, under a known load.
//!
//! Whoever shares the machine takes part in both, so the figures are compared with each other, not with a round number.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::collections::BTreeMap;
use std::process::Command;

use support::agent::run;
use support::kernel::{self, Times};
use support::load::busy;
use support::wait::{SOON, wait_until};
use support::{Agent, Page};

/// The agent's figures of some ticks, and the kernel's of the same time.
struct Both {
    sums: Vec<f64>,
    cores: BTreeMap<u32, Vec<f64>>,
    seconds: f64,
    before: BTreeMap<u32, Times>,
    after: BTreeMap<u32, Times>,
}

impl Both {
    /// Reads the kernel as soon as a tick is seen, then again after so many more.
    fn watch(agent: &Agent, ticks: usize) -> Self {
        agent.wait_for(SOON, "a first percentage", Page::sum);
        let seconds = |page: &Page| page.value("hostgauge_cpu_seconds_total", &[]);
        let first = agent.next_tick();
        let before = kernel::cores();
        let pages: Vec<Page> = (0..ticks).map(|_| agent.next_tick()).collect();
        let after = kernel::cores();
        let mut cores: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for (core, percent) in pages.iter().flat_map(Page::cores) {
            cores.entry(core.parse().expect("a number")).or_default().push(percent);
        }
        let sums = pages.iter().map(|page| page.value("hostgauge_cpu_utilization_percent", &[])).collect();
        Self { sums, cores, seconds: seconds(&pages[ticks - 1]) - seconds(&first), before, after }
    }

    /// The kernel's times of each core, before and after.
    fn kernel(&self) -> impl Iterator<Item = (u32, Times, Times)> {
        self.before.iter().map(|(core, before)| (*core, *before, self.after[core]))
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn a_busy_machine_reads_as_the_kernel_counts_it() {
    let loops: Vec<_> = kernel::cores().keys().map(|core| busy(*core)).collect();
    let (n, ticks) = (loops.len() as f64, 20);
    let both = Both::watch(&Agent::start(&[]), ticks);

    let kernel: f64 = both.kernel().map(|(_, before, after)| kernel::percent(before, after)).sum();
    let idle: f64 =
        both.kernel().map(|(_, before, after)| 100.0 * (after.idle - before.idle) / kernel::total(before, after)).sum();
    assert!(idle < 10.0 * n, "the load did not load: {idle} points of {n} cores were idle");
    let agent = mean(&both.sums);
    assert!((agent - kernel).abs() <= n, "the agent says {agent}, the kernel {kernel}: {:?}", both.sums);
    assert!(both.sums.iter().all(|sum| *sum <= 100.0 * n), "{:?}", both.sums);

    let seconds = both.kernel().map(|(_, before, after)| after.busy - before.busy).sum::<f64>() / 100.0;
    let allowed = 0.01 * n * ticks as f64;
    assert!(
        (both.seconds - seconds).abs() <= allowed,
        "the counter grew by {} s, the kernel's by {seconds}",
        both.seconds
    );
}

#[test]
fn a_busy_core_shows_under_its_own_name() {
    let agent = Agent::start(&[]);
    for pinned in kernel::cores().into_keys() {
        let load = busy(pinned);
        agent.next_tick(); // half of it was before
        let both = Both::watch(&agent, 4);
        drop(load);
        for (core, before, after) in both.kernel() {
            let (agent, kernel) = (mean(&both.cores[&core]), kernel::percent(before, after));
            // Four ticks are 400 of the kernel's, and the test comes some late.
            assert!((agent - kernel).abs() <= 2.0, "core {core} under a load on {pinned}: {agent}, kernel {kernel}");
            let idle = 100.0 * (after.idle - before.idle) / kernel::total(before, after);
            assert!(core != pinned || idle < 10.0, "the load on core {pinned} did not load it: {idle} % idle");
        }
    }
}

#[test]
fn memory_that_a_process_holds_shows() {
    const HELD: f64 = 300e6;
    let agent = Agent::start(&["--interval", "100ms"]);
    let used = || {
        let page = agent.next_tick();
        [page.value("hostgauge_memory_used_bytes", &[]), kernel::memory_used()]
    };
    // Others on this machine take and give memory too: only a quiet moment counts.
    wait_until(2 * SOON, "300 MB more in use for the agent as for the kernel", || {
        let before = used();
        let held = std::hint::black_box(vec![1u8; HELD as usize]);
        let after = used();
        drop(std::hint::black_box(held));
        let [agent, kernel] = [0, 1].map(|who| after[who] - before[who]);
        let quiet = (kernel - HELD).abs() < 0.2 * HELD;
        let right = (agent - HELD).abs() < 0.2 * HELD && (after[0] - after[1]).abs() < 0.2 * HELD;
        if quiet && right { Ok(()) } else { Err(format!("agent and kernel before: {before:?}, after: {after:?}")) }
    });
}

/// Mounts a tmpfs of 64 MiB on `$1/name` and fills so many MiB of it.
fn tmpfs(name: &str, filled: u32) -> String {
    format!(
        "mkdir -p {name}; mount -t tmpfs -o size=64m tmpfs {name}; head -c {} /dev/zero > {name}/full",
        filled << 20
    )
}

#[test]
fn file_systems_of_known_fill_read_right_and_each_counts_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (first, again, second) = (at("first"), at("again"), at("second"));
    let can_mount = run(Command::new("unshare").args(["--mount", "sh", "-c", &tmpfs(&first, 0)]), "");
    if !can_mount.status.success() {
        eprintln!("not tested: mounting a file system needs root: {}", can_mount.stderr);
        return;
    }
    let mounts =
        [tmpfs(&first, 16), format!("mkdir -p {again}; mount --bind {first} {again}"), tmpfs(&second, 48)].join("; ");
    for (paths, percent) in [
        (&[&first][..], 25.0),
        (&[&second], 75.0),
        (&[&first, &again], 25.0),
        (&[&first, &second], 50.0),
        (&[&first, &again, &second], 50.0),
    ] {
        let flags: Vec<&str> = paths.iter().flat_map(|path| ["--disk-path", path.as_str()]).collect();
        let agent = Agent::start_among_mounts(&mounts, &[&["--interval", "100ms"], &flags[..]].concat());
        let page = agent.wait_for(SOON, "a disk percentage", |page| {
            page.get("hostgauge_disk_utilization_percent", &[]).map(|_| page.clone())
        });
        let read = page.value("hostgauge_disk_utilization_percent", &[]);
        assert!((read - percent).abs() < 0.1, "{paths:?}: {read}, not {percent}");
        for path in paths {
            assert_eq!(page.value("hostgauge_filesystem_size_bytes", &[("path", path)]), f64::from(64 << 20), "{path}");
        }
    }
}
