//! Outages: a service that is away for long, and a disk that is full meanwhile. What was measured waits within its
//! bounds, and lands when they are over.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail and speak as tests do"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hostgauge_cloudwatch_double::{Double, Fault, Mix};

use support::agent::{among_mounts, hostgauge};
use support::kernel::{anonymous, resident};
use support::publishing::{Home, Ledger, SECONDS, Stored, which};
use support::reserved::Reserved;
use support::wait::{SOON, next_second, wait_until};
use support::{Agent, Page};

/// The smallest bound that the option takes.
const MOST_BYTES: u64 = 1 << 20;
/// How much memory may differ while nothing grows: blocks that come and go.
const SLACK: f64 = 256.0 * 1024.0;

/// Memory of a process from its first look on.
struct Memory {
    pid: u32,
    first: [f64; 2],
    most: [f64; 2],
}

impl Memory {
    fn of(agent: &Agent) -> Self {
        let now = Self::read(agent.pid());
        Self { pid: agent.pid(), first: now, most: now }
    }

    fn read(pid: u32) -> [f64; 2] {
        [resident(pid), anonymous(pid)]
    }

    fn look(&mut self) {
        let now = Self::read(self.pid);
        (0..2).for_each(|which| self.most[which] = self.most[which].max(now[which]));
    }

    /// Holds it to be flat, and tells what it was.
    fn judge(&self) -> String {
        let [(rss, most_rss), (anon, most_anon)] = [0, 1].map(|which| (self.first[which], self.most[which]));
        for (name, first, most) in [("VmRSS", rss, most_rss), ("RssAnon", anon, most_anon)] {
            assert!(most - first <= SLACK, "{name} grew from {first} to {most} bytes");
        }
        let kilobytes = [rss, most_rss, anon, most_anon].map(|bytes| bytes / 1024.0);
        let [rss, most_rss, anon, most_anon] = kilobytes;
        format!("VmRSS {rss} kB, then at most {most_rss}; RssAnon {anon} kB, then at most {most_anon}")
    }
}

/// Bytes of the spool's files.
fn spool_bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).expect("the spool's folder").flatten();
    // A segment may go while it is looked at.
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// Requests that were stored came newest first.
fn assert_newest_first(double: &Double) {
    let stored = double.requests().into_iter().filter(|request| request.stored).filter_map(|request| request.input);
    let spans: Vec<(u64, u64)> = stored
        .map(|input| {
            let starts = || input.metric_data.iter().map(|datum| which(datum).1);
            (starts().min().expect("no request is empty"), starts().max().expect("no request is empty"))
        })
        .collect();
    assert!(spans.len() > 1, "the newest alone, then the others: {spans:?}");
    assert!(spans.windows(2).all(|pair| pair[1].1 <= pair[0].0), "newest first: {spans:?}");
}

/// When the periods of the lines of embedded metric format began.
fn starts_of(lines: &Path) -> BTreeSet<u64> {
    let text = fs::read_to_string(lines).expect("the lines");
    let start = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        line["_aws"]["Timestamp"].as_u64().expect("a time stamp")
    };
    text.lines().map(start).collect()
}

/// Requests that failed so far.
fn failed(page: &Page) -> f64 {
    let requests = page.all("hostgauge_delivery_requests_total");
    requests.filter(|series| series.labels["outcome"] != "accepted").map(|series| series.value).sum()
}

fn sample_for(patience: Duration, memory: &mut Memory, mut look: impl FnMut()) {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        memory.look();
        look();
        sleep(Duration::from_millis(250));
    }
}

#[test]
fn an_outage_costs_no_memory_and_no_datum() {
    let (home, port) = (Home::new(), Reserved::new());
    let spool = home.path("spool");
    let own = ["--prometheus-listen", "127.0.0.1:0", "--spool-dir", &spool, "--spool-max-bytes", "1MiB"];
    let command = home.publish_to(port.address(), hostgauge(&[&SECONDS[..], &own].concat()));
    let mut agent = Agent::spawn(command);
    agent.wait_for(SOON, "a first request, at this host's second of ten", |page| (failed(page) > 0.0).then_some(()));
    // Each kind of failure once: pages of the program's file that it uses for the first time are no growth.
    let double = port.open();
    for fault in [Fault::Unavailable, Fault::Hang] {
        let before = failed(&agent.scrape());
        double.mix(Some(Mix { seed: 0, share: 1.0, faults: vec![fault] }));
        agent.wait_for(3 * SOON, "one more failure", |page| (failed(page) > before).then_some(()));
    }
    drop(double);
    let mut memory = Memory::of(&agent);
    let within_bound = || assert!(spool_bytes(Path::new(&spool)) <= MOST_BYTES);

    sample_for(Duration::from_secs(10), &mut memory, within_bound);
    let double = port.open();
    // A hanging request has its end after ten seconds.
    for (fault, seconds) in [(Fault::Hang, 20), (Fault::Unavailable, 20)] {
        double.mix(Some(Mix { seed: 0, share: 1.0, faults: vec![fault] }));
        sample_for(Duration::from_secs(seconds), &mut memory, within_bound);
    }
    let page = agent.scrape();
    let ledger = Ledger::on(&page).expect("a ledger");
    println!("after {} requests in vain: {ledger:?}, spool {} bytes", failed(&page), spool_bytes(Path::new(&spool)));
    println!("{}", memory.judge());
    assert!(ledger.holds() && (ledger.published, ledger.dropped) == (0, 0), "{ledger:?}");
    assert!(ledger.pending >= 3 * 45, "three series for about a minute: {ledger:?}");

    double.mix(None);
    let (status, took) = agent.stop("TERM");
    assert!(status.success() && took < SOON, "{status} after {took:?}: {}", agent.log());
    let (ledger, stored) = (Ledger::at_exit(&agent.log()), Stored::of(&double));
    assert!(ledger.holds() && (ledger.pending, ledger.dropped) == (0, 0), "{ledger:?}");
    assert_eq!((stored.distinct(), stored.doubled()), (ledger.taken, 0), "{ledger:?}");
    assert_newest_first(&double);
}

#[test]
fn an_outage_that_outgrows_the_spool_costs_the_oldest() {
    let (home, port) = (Home::new(), Reserved::new());
    let spool = home.path("spool");
    // Long names fill it soon.
    let paths: Vec<String> = (0..50).map(|number| home.path(&format!("{number:0>250}"))).collect();
    paths.iter().for_each(|path| fs::create_dir(path).expect("a folder"));
    // Lines beside it tell which windows there were.
    let lines = home.path("lines.json");
    let own =
        ["--prometheus-listen", "127.0.0.1:0", "--spool-dir", &spool, "--spool-max-bytes", "1MiB", "--emf", &lines];
    let names = ["used_bytes", "available_bytes", "size_bytes"].map(|name| format!("hostgauge_filesystem_{name}"));
    let names = names.iter().flat_map(|name| ["--cloudwatch-metric", name]);
    let paths = paths.iter().flat_map(|path| ["--disk-path", path]);
    let all: Vec<&str> = SECONDS.into_iter().chain(own).chain(names).chain(paths).collect();
    let mut agent = Agent::spawn(home.publish_to(port.address(), hostgauge(&all)));
    let look = |page: &Page| {
        let (bytes, ledger) = (spool_bytes(Path::new(&spool)), Ledger::on(page)?);
        assert!(bytes <= MOST_BYTES && ledger.holds(), "{bytes} bytes, {ledger:?}");
        Some(ledger)
    };
    let dropped = |page: &Page| look(page).map(|ledger| ledger.dropped);
    let full = agent.wait_for(4 * SOON, "a full spool", |page| dropped(page).filter(|dropped| *dropped > 0));
    // Of the oldest more go, and one more request fails, which takes what no tick does.
    let round = |much: u64, memory: &mut Memory| {
        let before = failed(&agent.scrape());
        wait_until(4 * SOON, "more of the oldest go, and a request in vain", || {
            memory.look();
            let page = agent.scrape();
            let over = dropped(&page).is_some_and(|dropped| dropped > much) && failed(&page) > before;
            if over { Ok(()) } else { Err(agent.log()) }
        });
    };
    let mut memory = Memory::of(&agent);
    round(4 * full, &mut memory);
    memory.first = memory.most;
    round(8 * full, &mut memory);
    println!("{}", memory.judge());
    agent.wait_for_log("the spool is full");

    let double = port.open();
    let (status, took) = agent.stop("TERM");
    assert!(status.success() && took < SOON, "{status} after {took:?}: {}", agent.log());
    let (ledger, stored) = (Ledger::at_exit(&agent.log()), Stored::of(&double));
    println!("{ledger:?}, {} seconds kept", stored.starts().len());
    assert!(ledger.holds() && ledger.pending == 0, "{ledger:?}");
    assert_eq!((stored.distinct(), stored.doubled()), (ledger.published, 0), "{ledger:?}");
    let (all, kept) = (starts_of(&home.file("lines.json")), stored.starts());
    assert!(kept.iter().rev().eq(all.iter().rev().take(kept.len())), "the newest are kept: {kept:?} of {all:?}");
    assert_newest_first(&double);
}

/// A disk of its own for the spool, which only the agent has mounted.
struct OwnDisk {
    /// As the agent sees it.
    at: String,
    mount: String,
    home: Home,
}

impl OwnDisk {
    /// One of a megabyte; `None` for who may not mount.
    fn small() -> Option<Self> {
        Self::new(|at, _| format!("mount -t tmpfs -o size=1m tmpfs {at}"))
    }

    /// One that goes read-only at the first error of its file system, as the disk of a server does.
    fn brittle() -> Option<Self> {
        if !Path::new("/dev/loop-control").exists() || !Path::new("/sys/fs/ext4").exists() {
            eprintln!("not tested: there are no loop devices, or no ext4");
            return None;
        }
        Self::new(|at, image| {
            format!("truncate -s 16M {image}; mkfs.ext4 -q {image}; mount -o loop,errors=remount-ro {image} {at}")
        })
    }

    fn new(mount: impl Fn(&str, &str) -> String) -> Option<Self> {
        if fs::metadata("/proc/self").map_or(0, |own| own.uid()) != 0 {
            eprintln!("not tested: mounting takes root");
            return None;
        }
        let home = Home::new();
        let at = home.path("disk");
        fs::create_dir(&at).expect("a folder");
        let mount = mount(&at, &home.path("image"));
        Some(Self { at, mount, home })
    }

    /// Checked and mounted anew, as after a visit to the data centre.
    fn mended(self) -> Self {
        let image = self.home.path("image");
        // The kernel takes its time to let go of it, and two at once would destroy it.
        let holds = |device: &fs::DirEntry| {
            let backing = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            backing.trim_end().ends_with(&image)
        };
        wait_until(SOON, "the disk is no longer mounted", || {
            match fs::read_dir("/sys/block").expect("devices").flatten().find(holds) {
                Some(device) => Err(format!("{} has it", device.path().display())),
                None => Ok(()),
            }
        });
        // 1: errors were corrected.
        let mount = format!("e2fsck -fp {image} >&2 || [ $? = 1 ]; mount -o loop {image} {}", self.at);
        Self { mount, ..self }
    }

    fn start(&self, port: &Reserved) -> Agent {
        let spool = format!("{}/spool", self.at);
        let script = &self.mount;
        let metrics = ["hostgauge_filesystem_used_bytes", "hostgauge_cpu_core_utilization_percent"];
        let metrics = metrics.iter().flat_map(|name| ["--cloudwatch-metric", name]);
        let all: Vec<&str> = SECONDS.into_iter().chain(["--spool-dir", &spool]).chain(metrics).collect();
        Agent::spawn(self.home.publish_to(port.address(), among_mounts(script, &all)))
    }

    /// A file of the disk as the test sees it.
    fn file(&self, agent: &Agent, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}/{name}", agent.pid(), self.at))
    }

    /// An error of its file system, as its driver would report it.
    fn breaks(&self, agent: &Agent) {
        let mounts = fs::read_to_string(format!("/proc/{}/mounts", agent.pid())).expect("mounts");
        let device = mounts.lines().find_map(|line| line.strip_prefix("/dev/")?.split_once(&format!(" {} ", self.at)));
        let (device, _) = device.unwrap_or_else(|| panic!("{} is not mounted: {mounts}", self.at));
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").expect("an error");
    }

    /// Takes all that is left of it.
    fn fill(&self, agent: &Agent) {
        let mut file = fs::File::create(self.file(agent, "filler")).expect("a file");
        while file.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
    }

    fn free(&self, agent: &Agent) {
        fs::remove_file(self.file(agent, "filler")).expect("removed");
    }
}

fn becomes_durable(agent: &Agent, durable: bool) {
    let figure = |page: &Page| page.get("hostgauge_delivery_durable", &[("exporter", "cloudwatch")]);
    let is_so = |page: &Page| (figure(page) == Some(f64::from(durable))).then_some(());
    agent.wait_for(2 * SOON, if durable { "on disk" } else { "in memory" }, is_so);
}

/// Until so many more windows were taken.
fn windows(agent: &Agent, more: u64) {
    let taken = |page: &Page| Ledger::on(page).map_or(0, |ledger| ledger.taken);
    let before = taken(&agent.scrape());
    agent.wait_for(SOON, "more windows", |page| (taken(page) >= before + 3 * more).then_some(()));
}

/// The service comes back, and the agent stops after that.
fn all_lands_once(agent: &mut Agent, port: &Reserved) -> Double {
    let ledger = Ledger::on(&agent.scrape()).expect("a ledger");
    assert!(ledger.holds() && (ledger.published, ledger.dropped) == (0, 0), "{ledger:?}");

    let double = port.open();
    // While it runs, since a stop alone would send at once, too.
    let landed = |page: &Page| Ledger::on(page).filter(|now| now.published >= ledger.taken);
    agent.wait_for(4 * SOON, "all that waited lands", landed);
    let (status, took) = agent.stop("TERM");
    assert!(status.success() && took < SOON, "{status} after {took:?}: {}", agent.log());
    let (ledger, stored) = (Ledger::at_exit(&agent.log()), Stored::of(&double));
    assert!(ledger.holds() && (ledger.pending, ledger.dropped, ledger.ambiguous) == (0, 0, 0), "{ledger:?}");
    assert_eq!((stored.distinct(), stored.doubled()), (ledger.taken, 0), "{ledger:?}");
    double
}

#[test]
fn a_full_disk_costs_durability_only() {
    let (Some(disk), port) = (OwnDisk::small(), Reserved::new()) else { return };
    let mut agent = disk.start(&port);
    windows(&agent, 2);
    becomes_durable(&agent, true);
    for _ in 0..2 {
        disk.fill(&agent);
        becomes_durable(&agent, false);
        windows(&agent, 3);
        disk.free(&agent);
        becomes_durable(&agent, true);
        windows(&agent, 1);
    }
    for words in ["cannot be written: No space left on device", "can be written again"] {
        let said = || Some(agent.log()).filter(|log| log.matches(words).count() == 2);
        wait_until(SOON, &format!("the log says twice: {words}"), || said().ok_or_else(|| agent.log()));
    }
    all_lands_once(&mut agent, &port);
}

#[test]
fn a_disk_that_turns_read_only_costs_durability_only() {
    let (Some(disk), port) = (OwnDisk::brittle(), Reserved::new()) else { return };
    let mut agent = disk.start(&port);
    windows(&agent, 2);
    becomes_durable(&agent, true);
    disk.breaks(&agent);
    becomes_durable(&agent, false);
    agent.wait_for_log("cannot be written: Read-only file system");
    windows(&agent, 3);
    // Also what can still be read from the disk.
    let double = all_lands_once(&mut agent, &port);

    // What the disk could not be told, the log tells: so much comes twice once it is mended.
    let words = " data that are done stand in it as pending";
    let log = agent.log();
    let announced = log.lines().find_map(|line| line.split_once(words)?.0.split(' ').next_back()?.parse::<u64>().ok());
    let announced = announced.unwrap_or_else(|| panic!("no {words:?} in {log}"));
    next_second();
    let disk = disk.mended();
    let mut agent = disk.start(&port);
    agent.wait_for(2 * SOON, "what was left is sent", |page| Ledger::on(page).filter(|now| now.pending == 0));
    agent.stop("TERM");
    assert_eq!(Stored::of(&double).doubled(), announced, "{log}\n{}", agent.log());
}
