//! Bad input of every kind: what is wrong is named, and nothing else stops.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::{Shutdown, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use support::agent::{BINARY, clean, hostgauge, run};
use support::procfs::Procfs;
use support::wait::SOON;
use support::{Agent, Page, http, kernel};

/// A run that must be refused: its exit code and what it said.
fn refused(command: &mut Command) -> (i32, String) {
    let ended = run(command, "");
    assert_eq!(ended.stdout, "", "standard output is for answers: {ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    (ended.status.code().unwrap_or_else(|| panic!("{ended:?}")), ended.stderr)
}

fn success(page: &Page, collector: &str) -> Option<f64> {
    page.get("hostgauge_collector_success", &[("collector", collector)])
}

/// Waits until a collector fails for this reason and no other, and the page shows what `seen` looks for.
fn wait_for_failure(agent: &Agent, collector: &str, reason: &str, seen: impl Fn(&Page) -> bool) {
    agent.wait_for(SOON, &format!("{collector}: {reason}"), |page| {
        let labels = [("collector", collector)];
        let reasons = page.all("hostgauge_collector_failure").filter(|series| series.labels["collector"] == collector);
        let reasons: Vec<&str> = reasons.map(|series| series.labels["reason"].as_str()).collect();
        let failed = page.get("hostgauge_collector_success", &labels) == Some(0.0) && reasons == [reason];
        (failed && seen(page)).then_some(())
    });
}

fn wait_for_recovery(agent: &Agent, collector: &str, name: &str) {
    agent.wait_for(SOON, &format!("{collector} is whole again"), |page| {
        let failures = page.all("hostgauge_collector_failure").filter(|series| series.labels["collector"] == collector);
        (success(page, collector) == Some(1.0) && page.all(name).count() > 0 && failures.count() == 0).then_some(())
    });
}

#[test]
fn a_taken_port_is_named_and_nothing_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (code, said) = refused(&mut hostgauge(&["--prometheus-listen", &address]));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&address) && said.contains("taken"), "{said}");
    assert!(!said.contains("measuring"), "{said}");
}

#[test]
fn wrong_usage_is_named_with_what_was_expected() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let typo = file("typo.toml", "# ours\ninterval = \"1s\"\ndisk-pth = \"/\"\n");
    let broken = file("broken.toml", "interval = \"1s\"\nhost = \"a\n");
    let number = file("number.toml", "interval = 1\n");
    let plain = file("plain", "");
    let directory = folder.path().to_str().expect("UTF-8");
    let missing = folder.path().join("missing.toml");
    let missing = missing.to_str().expect("UTF-8");
    let interval = &["100ms to 60s"][..];
    for (args, named) in [
        (&["--interval", "0"][..], interval),
        (&["--interval", "1ms"], interval),
        (&["--interval", "-1s"], interval),
        (&["--interval", "61s"], interval),
        (&["--interval", "-1s"], &["-1"]),
        (&["--interval", "often"], interval),
        (&["--interval", ""], interval),
        (&["--interval"], &["--interval"]),
        (&["--intervall", "1s"], &["--intervall", "--interval"]),
        (&["agent"], &["agent"]),
        (&["catalog"], &["catalog", "catalogue"]),
        (&["once", "--format", "xml"], &["xml", "json"]),
        (&["once", "twice"], &["twice"]),
        (&["--disk-path", "relative"], &["relative", "absolute path"]),
        (&["--prometheus-listen", "example.org"], &["example.org", "expected an address"]),
        (&["--prometheus-listen", "off"], &["off"]),
        (&["--host", "a\nb"], &["host", "control characters"]),
        (&["--procfs", missing], &["procfs", "missing.toml", "folder"]),
        (&["--procfs", &plain], &["procfs", "plain", "folder"]),
        (&["--log-format", "xml"], &["text or json"]),
        (&["--config", &typo], &["typo.toml", "line 3", "disk-pth", "disk-path"]),
        (&["--config", &broken], &["broken.toml", "line 2"]),
        (&["--config", &number], &["number.toml", "line 1", "100ms to 60s"]),
        (&["--config", directory], &[directory, "folder"]),
        (&["--config", missing], &["missing.toml", "No such file"]),
    ] {
        let (code, said) = refused(&mut hostgauge(args));
        assert_eq!(code, 2, "{args:?}: {said}");
        named.iter().for_each(|word| assert!(said.contains(word), "{args:?} does not name {word}: {said}"));
    }
    let (code, said) = refused(hostgauge(&[]).env("HOSTGAUGE_INTERVAL", "never"));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("HOSTGAUGE_INTERVAL") && said.contains("100ms to 60s"), "{said}");
}

#[test]
fn an_empty_variable_is_none_and_an_unknown_one_is_mentioned() {
    let mut command = hostgauge(&["config"]);
    command.env("HOSTGAUGE_INTERVAL", "").env("HOSTGAUGE_CONFIG", "").env("HOSTGAUGE_INTERVALL", "5s");
    let ended = run(&mut command, "");
    assert!(ended.status.success(), "{ended:?}");
    let (settings, log) = (ended.stdout, ended.stderr);
    assert!(settings.starts_with("interval = \"1s\"") && settings.contains("# default"), "{settings}");
    assert!(log.contains("WARN") && log.contains("HOSTGAUGE_INTERVALL is no option; did you mean HOSTGAUGE_INTERVAL?"));
}

#[test]
fn a_path_that_is_not_there_costs_only_the_disk_figures_until_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let later = folder.path().join("later");
    let path = later.to_str().expect("UTF-8");
    let agent = Agent::start(&["--interval", "100ms", "--disk-path", "/", "--disk-path", path]);
    let sum = "hostgauge_disk_utilization_percent";
    wait_for_failure(&agent, "disk", "missing", |page| {
        page.sum().is_some()
            && page.get("hostgauge_memory_utilization_percent", &[]).is_some()
            && page.get("hostgauge_filesystem_used_bytes", &[("path", "/")]).is_some()
            && page.get("hostgauge_filesystem_used_bytes", &[("path", path)]).is_none()
            && page.get(sum, &[]).is_none()
    });
    agent.wait_for_log(path);

    std::fs::create_dir(&later).expect("a folder");
    wait_for_recovery(&agent, "disk", sum);
    std::fs::remove_dir(&later).expect("removed");
    wait_for_failure(&agent, "disk", "missing", |page| page.get(sum, &[]).is_none());
}

#[test]
fn a_malformed_stat_costs_only_the_cpu_until_it_is_good() {
    let procfs = Procfs::copy_of("two-cores");
    procfs.put("stat", "malformed");
    let agent = Agent::start(&["--interval", "100ms", "--procfs", procfs.path()]);
    let no_cpu = |page: &Page| !page.text.contains("\nhostgauge_cpu_");
    let memory = |page: &Page| success(page, "memory") == Some(1.0) && page.text.contains("\nhostgauge_memory_");
    wait_for_failure(&agent, "cpu", "malformed", |page| no_cpu(page) && memory(page));
    agent.wait_for_log("cpu0 ten"); // what was read

    procfs.put("stat", "two-cores");
    wait_for_recovery(&agent, "cpu", "hostgauge_cpu_cores");
    // Emptied, as by a reader's mistake or a file system that lost it.
    std::fs::write(procfs.file("stat"), "").expect("written");
    wait_for_failure(&agent, "cpu", "malformed", |page| no_cpu(page) && memory(page));
    procfs.put("stat", "hot-unplugged");
    wait_for_recovery(&agent, "cpu", "hostgauge_cpu_cores");
}

#[test]
fn a_missing_stat_costs_only_the_cpu_until_it_is_there() {
    let procfs = Procfs::copy_of("two-cores");
    std::fs::remove_file(procfs.file("stat")).expect("removed");
    let agent = Agent::start(&["--interval", "100ms", "--procfs", procfs.path()]);
    wait_for_failure(&agent, "cpu", "missing", |page| success(page, "memory") == Some(1.0));
    std::fs::create_dir(procfs.file("stat")).expect("a folder");
    wait_for_failure(&agent, "cpu", "failed", |page| success(page, "memory") == Some(1.0));
    std::fs::remove_dir(procfs.file("stat")).expect("removed");
    procfs.put("stat", "two-cores");
    wait_for_recovery(&agent, "cpu", "hostgauge_cpu_cores");
}

#[test]
fn memory_without_the_kernels_estimate_is_absent_and_the_cpu_goes_on() {
    let procfs = Procfs::copy_of("no-mem-available");
    let agent = Agent::start(&["--interval", "100ms", "--procfs", procfs.path()]);
    let no_memory = |page: &Page| !page.text.contains("\nhostgauge_memory_") && success(page, "cpu") == Some(1.0);
    wait_for_failure(&agent, "memory", "malformed", no_memory);
    agent.wait_for_log("MemAvailable");
    procfs.put("meminfo", "two-cores");
    wait_for_recovery(&agent, "memory", "hostgauge_memory_used_bytes");
    procfs.put("meminfo", "malformed");
    wait_for_failure(&agent, "memory", "malformed", no_memory);
}

#[test]
fn a_reading_that_never_comes_back_stops_neither_the_page_nor_the_end() {
    let procfs = Procfs::copy_of("two-cores");
    std::fs::remove_file(procfs.file("meminfo")).expect("removed");
    // Opening a pipe that nobody writes to waits for ever.
    let made = run(Command::new("mkfifo").arg(procfs.file("meminfo")), "");
    assert!(made.status.success(), "{made:?}");
    let mut agent = Agent::start(&["--interval", "100ms", "--procfs", procfs.path()]);
    wait_for_failure(&agent, "memory", "timed_out", |page| !page.text.contains("_percent"));
    assert_eq!((agent.get("/-/healthy").status, agent.get("/-/ready").status), (200, 503));
    let (status, took) = agent.stop("TERM");
    assert_eq!(status.code(), Some(0), "{}", agent.log());
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// The numbers of a fixed seed (xorshift): the same garbage in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.roll(256) as u8).collect()
    }

    fn garbage(&mut self) -> Vec<u8> {
        let good = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        match self.roll(9) {
            0 => {
                let length = self.roll(2000);
                self.bytes(length)
            }
            1 => good[..self.roll(good.len())].to_vec(),
            2 => format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(30_000)).into_bytes(),
            3 => format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(self.roll(70_000))).into_bytes(),
            4 => b"BREW /metrics HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            5 => [&good.repeat(3)[..], &self.bytes(100)].concat(), // pipelined, then junk
            6 => b"GET /metrics HTTP/9.9\r\n\r\n".to_vec(),
            7 => b"POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: -1\r\n\r\nzz\r\n".to_vec(),
            _ => {
                let mut almost = good.to_vec();
                let at = self.roll(almost.len());
                almost[at] = self.roll(256) as u8;
                almost
            }
        }
    }
}

#[test]
fn ten_thousand_bad_requests_leave_no_trace() {
    let mut agent = Agent::start(&["--interval", "100ms"]);
    agent.wait_for(SOON, "samples", Page::sum);
    let before = kernel::anonymous(agent.pid());
    let mut dice = Dice(9871);
    // Some stay open for a while, as slow clients do.
    let mut open = VecDeque::new();
    let mut slowest = Duration::ZERO;
    for round in 0..10_000 {
        let mut client = http::connect(agent.address()).expect("a connection");
        // The agent may hang up in the middle: that is an answer, too.
        let _ = client.write_all(&dice.garbage());
        match dice.roll(3) {
            0 => drop(client),
            1 => {
                let _ = client.shutdown(Shutdown::Write);
                open.push_back(client);
            }
            _ => open.push_back(client),
        }
        if open.len() > 30 {
            open.pop_front();
        }
        // Connections are taken in order, so this also keeps the kernel's queue of them from running over.
        if round % 50 == 49 {
            let start = Instant::now();
            agent.scrape();
            slowest = slowest.max(start.elapsed());
        }
    }
    assert!(slowest < Duration::from_secs(1), "a good scrape took {slowest:?}");
    assert!(agent.next_tick().sum().is_some(), "it samples no longer");
    let grown = kernel::anonymous(agent.pid()) - before;
    assert!(grown < 2e6, "{grown} bytes more than before");
    agent.stop("TERM");
    assert!(!agent.log().contains("panicked"), "{}", agent.log());
}

#[test]
fn clients_that_cling_to_their_connections_lock_no_scrape_out() {
    let agent = Agent::start(&["--interval", "100ms"]);
    agent.wait_for(SOON, "samples", Page::sum);
    let before = kernel::anonymous(agent.pid());
    let half = format!("GET /metrics HTTP/1.1\r\nX: {}", "a".repeat(15_000));
    let greedy = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200);
    for sent in [half, greedy] {
        // Three times as many as there are places; none reads, none leaves.
        let clients: Vec<_> = (0..192)
            .map(|_| {
                let mut client = http::connect(agent.address()).expect("a connection");
                let _ = client.write_all(sent.as_bytes());
                client
            })
            .collect();
        let start = Instant::now();
        agent.scrape();
        assert!(start.elapsed() < Duration::from_secs(2), "a good scrape took {:?}", start.elapsed());
        drop(clients);
    }
    let grown = kernel::anonymous(agent.pid()) - before;
    assert!(grown < 4e6, "{grown} bytes more than before");
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let (code, said) = refused(&mut clean("sh", &["-c", "exec \"$0\" catalogue >/dev/full", BINARY]));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("standard output"), "{said}");
}
