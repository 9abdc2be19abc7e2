//! The ledger holds whatever happens to the agent: killed at random moments while the service fails at random, or its
//! wall clock set while it runs.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, sleep};
use std::time::Duration;

use hostgauge_cloudwatch_double::{Double, Fault, Mix, Options};

use support::agent::{Log, hostgauge, page_address};
use support::clock::Clock;
use support::load::Killed;
use support::publishing::{Home, Ledger, SECONDS, Stored, Which};
use support::random::Random;
use support::wait::{SOON, wall};
use support::{Agent, Page, http};

const AGENTS: u64 = 8;
const LIVES: u64 = 25;
/// Ten of its own, and one that a busy machine delivered after the second before had ended.
const MOST_SAMPLES: f64 = 11.0;

/// One agent's many lives, with a spool and a service of its own.
struct Story {
    home: Home,
    double: Double,
    random: Random,
}

/// What the page said shortly before a kill.
struct Told {
    /// When that was over.
    wall: Duration,
    ledger: Ledger,
}

#[derive(Debug, Default)]
struct Outcome {
    kills: u64,
    /// Pages read before a kill.
    pages: u64,
    /// Kills while requests met faults.
    in_faults: u64,
    requests: u64,
    ledger: Ledger,
    stored: u64,
    doubled: u64,
    /// Windows that were closed, as their lines of embedded metric format prove, but had not reached the spool.
    lost: u64,
}

impl Story {
    fn new(seed: u64) -> Self {
        let double = Double::start(Options::default()).expect("the double starts");
        Self { home: Home::new(), double, random: Random(seed) }
    }

    fn command(&self) -> Command {
        let (spool, lines) = (self.home.path("spool"), self.home.path("lines.json"));
        let own =
            ["--prometheus-listen", "127.0.0.1:0", "--host", "job/algo-1", "--spool-dir", &spool, "--emf", &lines];
        self.home.publish_to(self.double.address(), hostgauge(&[&SECONDS[..], &own].concat()))
    }

    /// From a start to kill -9. What the page said before, if there was one yet.
    fn live(&mut self) -> Option<Told> {
        let mut command = self.command();
        let mut agent = Killed(command.stderr(Stdio::piped()).spawn().expect("the agent starts"));
        let log = Log::follow(agent.0.stderr.take().expect("a pipe"));
        sleep(self.random.duration(Duration::from_millis(200), Duration::from_secs(2)));
        let told = page_address(&log.text()).and_then(|address| {
            let page = http::request(address, "GET", "/metrics", &[]).ok()?;
            Some(Told { wall: wall(), ledger: Ledger::on(&Page::parse(page.text()))? })
        });
        sleep(self.random.duration(Duration::ZERO, Duration::from_millis(60)));
        agent.0.kill().expect("SIGKILL");
        agent.0.wait().expect("a child");
        let log = log.whole();
        assert!(!log.contains("ERROR"), "a kill leaves nothing that an agent complains of:\n{log}");
        told
    }

    /// A last life, with a service that is well, to its end by SIGTERM.
    fn drain(&self) -> Ledger {
        self.double.mix(None);
        let mut agent = Agent::spawn(self.command());
        agent.wait_for(SOON, "the ledger on the page", Ledger::on);
        let (status, took) = agent.stop("TERM");
        assert!(status.success(), "{status} after {took:?}: {}", agent.log());
        Ledger::at_exit(&agent.log())
    }

    fn tell(mut self) -> Outcome {
        let mut outcome = Outcome::default();
        let mut told = Vec::new();
        for _ in 0..LIVES {
            let faulty = !self.random.next().is_multiple_of(3);
            outcome.in_faults += u64::from(faulty);
            self.double.mix(faulty.then(|| Mix { seed: self.random.next(), share: 0.7, faults: faults() }));
            let before = self.live();
            outcome.pages += u64::from(before.is_some());
            told.extend(before);
            outcome.kills += 1;
        }
        outcome.ledger = self.drain();

        let stored = Stored::of(&self.double);
        outcome.requests = self.double.requests().len() as u64;
        (outcome.stored, outcome.doubled) = (stored.distinct(), stored.doubled());
        judge(&outcome, &told, &stored);
        let lines = lines(&self.home.file("lines.json"));
        let missing = lines.keys().filter(|which| !stored.0.contains_key(*which));
        outcome.lost = missing.map(|(_, start)| start).collect::<BTreeSet<_>>().len() as u64;
        self.agree(&stored, &lines);
        outcome
    }

    /// The lines were written by the same windows, and say the same.
    fn agree(&self, stored: &Stored, lines: &BTreeMap<Which, f64>) {
        for (which, samples) in lines {
            let copies = stored.0.get(which).into_iter().flatten();
            for set in copies.filter_map(|datum| datum.statistic_values) {
                assert_eq!(set.sample_count, *samples, "{which:?}");
            }
        }
    }
}

/// Each of these ends at once or is cut short by the kill.
fn faults() -> Vec<Fault> {
    vec![
        Fault::Throttle,
        Fault::Internal,
        Fault::Unavailable,
        Fault::ResetBeforeBody,
        Fault::ResetAfterStoring,
        Fault::ResetAfterStoring,
        Fault::HangAfterStoring,
        Fault::Drip(Duration::from_millis(20)),
    ]
}

fn judge(outcome: &Outcome, told: &[Told], stored: &Stored) {
    let ledger = outcome.ledger;
    assert!(ledger.holds() && (ledger.pending, ledger.dropped) == (0, 0), "{outcome:?}");
    assert_eq!(ledger.taken, outcome.stored, "every datum that was taken is at the service: {outcome:?}");
    assert!(outcome.doubled <= ledger.ambiguous, "what is there twice was announced: {outcome:?}");
    for (which, copies) in &stored.0 {
        let samples = copies[0].statistic_values.map_or(1.0, |set| set.sample_count);
        assert!((1.0..=MOST_SAMPLES).contains(&samples), "{which:?}: {samples} samples");
        assert!(copies.iter().all(|copy| copy == &copies[0]), "what comes twice is the same twice: {copies:?}");
    }
    let mut before = Ledger::default();
    for Told { wall, ledger } in told {
        assert!(ledger.holds(), "{ledger:?}");
        let grew = before.taken <= ledger.taken
            && before.published <= ledger.published
            && before.ambiguous <= ledger.ambiguous
            && ledger.dropped == 0;
        assert!(grew, "a kill takes nothing back: {before:?}, then {ledger:?}");
        before = *ledger;
        // What the page calls taken is safe: the kill that followed cost none of it.
        let closed = |start: u64| Duration::from_millis(start + 1000) <= *wall;
        let there = stored.0.keys().filter(|(_, start)| closed(*start)).count() as u64;
        assert!(ledger.taken <= there, "{} taken, but {there} came of all that had ended by {wall:?}", ledger.taken);
    }
}

/// The data of the lines of embedded metric format with their numbers of samples.
fn lines(file: &Path) -> BTreeMap<Which, f64> {
    let text = fs::read_to_string(file).expect("the lines");
    let mut all = BTreeMap::new();
    for line in text.lines() {
        // A kill may cut a line.
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let start = line["_aws"]["Timestamp"].as_u64().expect("a time stamp");
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("metrics") {
            let name = metric["Name"].as_str().expect("a name");
            let counts = line[name]["Counts"].as_array().unwrap_or_else(|| panic!("no counts in {line}"));
            let samples = counts.iter().filter_map(serde_json::Value::as_f64).sum();
            let host = line["Host"].as_str().expect("a host");
            assert_eq!(all.insert((format!("{name} Host={host}"), start), samples), None, "{line}");
        }
    }
    all
}

#[test]
fn two_hundred_kills_lose_and_double_nothing_but_what_the_ledger_says() {
    let seed = wall().as_nanos() as u64;
    println!("seed {seed}");
    let mut random = Random(seed);
    let stories: Vec<Story> = (0..AGENTS).map(|_| Story::new(random.next())).collect();
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let threads: Vec<_> = stories.into_iter().map(|story| scope.spawn(|| story.tell())).collect();
        threads.into_iter().map(|thread| thread.join().expect("what an agent's story asserts")).collect()
    });
    println!("kills  pages  in faults  requests  taken  published  stored  doubled  ambiguous  lost windows");
    let row = |outcome: &Outcome| {
        let Outcome { kills, pages, in_faults, requests, ledger, stored, doubled, lost } = outcome;
        let Ledger { taken, published, ambiguous, .. } = ledger;
        println!(
            "{kills:5}  {pages:5}  {in_faults:9}  {requests:8}  {taken:5}  {published:9}  {stored:6}  {doubled:7}  \
             {ambiguous:9}  {lost:12}"
        );
    };
    outcomes.iter().for_each(row);
    let sum = |figure: fn(&Outcome) -> u64| outcomes.iter().map(figure).sum::<u64>();
    let total = Outcome {
        kills: sum(|o| o.kills),
        pages: sum(|o| o.pages),
        in_faults: sum(|o| o.in_faults),
        requests: sum(|o| o.requests),
        ledger: Ledger {
            taken: sum(|o| o.ledger.taken),
            published: sum(|o| o.ledger.published),
            ambiguous: sum(|o| o.ledger.ambiguous),
            ..Ledger::default()
        },
        stored: sum(|o| o.stored),
        doubled: sum(|o| o.doubled),
        lost: sum(|o| o.lost),
    };
    row(&total);
    assert_eq!(total.kills, AGENTS * LIVES);
    // Else the kills met nothing that they could harm.
    assert!(total.ledger.taken >= total.kills / 2 && total.pages >= total.kills / 4 && total.doubled > 0, "{total:?}");
    // A kill may come between a window's end and its place in the spool, some milliseconds later. It seldom does.
    assert!(total.lost <= total.kills / 4, "{total:?}");
}

#[test]
fn a_wall_clock_that_jumps_costs_no_datum() {
    let clock = Clock::new();
    let double = Double::start(Options { signature_age: None, ..Options::default() }).expect("the double starts");
    let home = Home::new();
    let own = ["--prometheus-listen", "127.0.0.1:0", "--host", "job/algo-1", "--spool-dir", &home.path("spool")];
    let mut command = home.publish_to(double.address(), hostgauge(&[&SECONDS[..], &own].concat()));
    clock.rule(&mut command);
    let began = wall();
    let mut agent = Agent::spawn(command);
    let jumps = |page: &Page| page.get("hostgauge_disturbances_total", &[("kind", "clock")]);
    let taken = |page: &Page| Ledger::on(page).map_or(0, |ledger| ledger.taken);
    let windows = |more: u64| {
        let before = taken(&agent.scrape());
        agent.wait_for(SOON, "some more windows", |page| (taken(page) >= before + 3 * more).then_some(()));
    };
    windows(2);
    for (number, offset) in [3600.0, -3600.0, 0.0].into_iter().enumerate() {
        clock.set(offset);
        let seen = |page: &Page| jumps(page).filter(|jumps| *jumps > number as f64);
        agent.wait_for(SOON, "the jump is noticed", seen);
        let before = taken(&agent.scrape());
        windows(3);
        let landed = |page: &Page| Ledger::on(page).filter(|ledger| ledger.published >= before);
        agent.wait_for(2 * SOON, "what was taken before lands at this host's second of ten", landed);
    }
    let (status, took) = agent.stop("TERM");
    assert!(status.success() && took < SOON, "{status} after {took:?}: {}", agent.log());

    let (ledger, stored) = (Ledger::at_exit(&agent.log()), Stored::of(&double));
    assert!(ledger.holds() && (ledger.pending, ledger.dropped) == (0, 0), "{ledger:?}");
    assert_eq!((stored.distinct(), stored.doubled()), (ledger.taken, 0), "{ledger:?}");
    // Windows lie where the clock said.
    let hour = |hours: i64| {
        let from = began.as_millis() as i64 + hours * 3_600_000 - 1000;
        let starts = stored.starts();
        starts.iter().filter(|start| (from..from + 1_800_000).contains(&(**start as i64))).count()
    };
    assert!([0, 1, -1].into_iter().all(|hours| hour(hours) >= 3), "{:?}", stored.starts());
    assert_eq!([0, 1, -1].map(hour).into_iter().sum::<usize>(), stored.starts().len(), "{:?}", stored.starts());
}
