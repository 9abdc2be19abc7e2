//! Where a story plays: an agent with two GPUs, a service, a disk for the spool and a clock, each of which can fail.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use hostgauge_cloudwatch_double::{Double, Options};
use nvidia_ml_double::{Gpu, Load, SCENARIO, Scenario, library};

use crate::disk::Disk;
use crate::look;
use crate::support::agent::clean;
use crate::support::clock::Clock;
use crate::support::http;
use crate::support::publishing::{Home, Ledger, SECONDS, Stored};
use crate::support::random::Random;
use crate::support::wait::{SOON, wait_until};
use crate::support::{Agent, Page};

/// What the memory of an agent may come to in a control group of its own, page cache included.
pub(crate) const MEMORY: u64 = 16 << 20;
/// Each of the GPUs' load, in percent.
pub(crate) const LOAD: f64 = 40.0;

pub(crate) struct Stage {
    pub(crate) random: Random,
    pub(crate) double: Double,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    pub(crate) scenario: Scenario,
    pub(crate) agent: Agent,
    pub(crate) lives: u64,
    pub(crate) pages: u64,
    home: Home,
    group: Option<Group>,
}

/// A memory control group of version 1, which goes with its owner.
struct Group(PathBuf);

impl Group {
    /// `None` where there is none to be had.
    fn new(name: &str) -> Option<Self> {
        let group = Self(PathBuf::from(format!("/sys/fs/cgroup/memory/hostgauge-soak-{name}-{}", std::process::id())));
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join("memory.limit_in_bytes"), MEMORY.to_string()).ok()?;
        Some(group)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The agent in it was reaped before; the kernel may take a moment.
        let _ = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            fs::remove_dir(&self.0).is_ok()
        });
    }
}

impl Stage {
    /// One for a story of this name; with `limited`, the agent has a memory control group of its own where that is
    /// possible.
    pub(crate) fn new(name: &str, seed: u64, limited: bool) -> Self {
        let gpus = ["a", "b"].into_iter().enumerate().map(|(index, end)| {
            let uuid = format!("GPU-11111111-2222-3333-4444-00000000000{end}");
            Gpu { load: Load::Percent(LOAD), ..Gpu::new(&uuid, &format!("00000000:{:02X}:00.0", 16 + index)) }
        });
        let scenario = Scenario { gpus: gpus.collect(), ..Scenario::default() };
        let (home, clock, disk) = (Home::new(), Clock::new(), Disk::new());
        let double = Double::start(Options::default()).expect("the double starts");
        let group = limited.then(|| Group::new(name)).flatten();
        scenario.write(&home.file("scenario.toml")).expect("the scenario is written");
        let agent = Agent::spawn(command(&home, &double, &clock, &disk, group.as_ref()));
        let random = Random(seed);
        Self { random, double, clock, disk, scenario, agent, lives: 1, pages: 0, home, group }
    }

    pub(crate) fn restart(&mut self) {
        self.agent = Agent::spawn(command(&self.home, &self.double, &self.clock, &self.disk, self.group.as_ref()));
        self.lives += 1;
    }

    /// Lets the driver be as the scenario is now.
    pub(crate) fn play(&self) {
        self.scenario.write(&self.home.file("scenario.toml")).expect("the scenario is written");
    }

    /// The page, once it is one again; it must say nothing false.
    pub(crate) fn look(&mut self) -> Page {
        let page = wait_until(SOON, "a page", || {
            let answer = http::request(self.agent.address(), "GET", "/metrics", &[]);
            answer.map(|answer| Page::parse(answer.text())).map_err(|error| format!("{error}\n{}", self.agent.log()))
        });
        look::look(&page);
        self.pages += 1;
        page
    }

    /// A page on which all is well again, and fresh.
    pub(crate) fn look_when_well(&mut self) -> Page {
        let before = self.look().tick();
        // A GPU that was sick for long, or was there before it had a name, is looked at again within a minute.
        self.agent.wait_for(6 * SOON, "all is well", |page| {
            look::look(page);
            let success = page.all("hostgauge_collector_success").all(|series| series.value == 1.0);
            let gpus = page.get("hostgauge_gpus_reporting", &[]) == Some(2.0);
            let sum = page.get("hostgauge_gpu_utilization_percent", &[]);
            let sums = page.sum().is_some() && sum.is_some_and(|sum| (sum - 2.0 * LOAD).abs() < 5.0);
            let fresh = page.tick() != before;
            let durable = page.get("hostgauge_delivery_durable", &[]) == Some(1.0);
            (success && gpus && sums && fresh && durable).then(|| page.clone())
        })
    }

    /// Everything that was taken is at the service, and as often as the ledger says; what became of it.
    pub(crate) fn settle(&mut self) -> (Ledger, Stored) {
        let taken = Ledger::on(&self.look()).expect("a ledger").taken;
        self.agent.wait_for(8 * SOON, "all that was taken has its end", |page| {
            Ledger::on(page).filter(|now| now.published + now.dropped >= taken)
        });
        let (status, took) = self.agent.stop("TERM");
        let log = self.agent.log();
        assert!(status.success(), "{status} after {took:?}: {log}");
        let (ledger, stored) = (Ledger::at_exit(&log), Stored::of(&self.double));
        assert!(ledger.holds() && ledger.pending == 0, "{ledger:?}\n{log}");
        let copies = stored.distinct() + stored.doubled();
        assert!((ledger.published..=ledger.published + ledger.ambiguous).contains(&copies), "{copies}: {ledger:?}");
        // A clock that was set back comes to a second twice; the same figures twice were sent twice.
        let distinct = |copies: &Vec<_>| copies.iter().map(|copy| format!("{copy:?}")).collect::<BTreeSet<_>>().len();
        let again: usize = stored.0.values().map(|copies| copies.len() - distinct(copies)).sum();
        assert!(again as u64 <= ledger.ambiguous, "{again} came twice: {ledger:?}");
        (ledger, stored)
    }

    /// What its control group has seen: the most that it charged, and whom it killed.
    pub(crate) fn memory(&self) -> Option<String> {
        let group = self.group.as_ref()?;
        let most: u64 = group.read("memory.max_usage_in_bytes").parse().ok()?;
        let control = group.read("memory.oom_control");
        assert!(most <= MEMORY && !control.contains("oom_kill 1"), "{most} bytes, {control}");
        Some(format!("at most {} kB in a control group of {} kB", most / 1024, MEMORY / 1024))
    }
}

fn command(home: &Home, double: &Double, clock: &Clock, disk: &Disk, group: Option<&Group>) -> Command {
    let library = library().expect("the double is built with the tests").display().to_string();
    let own = ["--prometheus-listen", "127.0.0.1:0", "--host", "job/algo-1", "--scope", "host"];
    let args = [&SECONDS[..], &own, &["--nvml-library", &library]].concat();
    let inside = disk.hostgauge(&args);
    let mut command = match group {
        None => inside,
        Some(group) => {
            // Whatever it becomes is in the group.
            let script = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", group.0.display());
            let mut shell = clean("sh", &["-c", &script, "sh"]);
            shell.arg(inside.get_program()).args(inside.get_args());
            shell
        }
    };
    clock.rule(&mut command);
    command.env(SCENARIO, home.file("scenario.toml"));
    home.publish_to(double.address(), command)
}
