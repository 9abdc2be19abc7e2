//! Days in a minute: a wall clock that is set by seconds, hours, days and weeks while the service is there and while it
//! is away. Every window comes to an end, once; only what the service takes at no time is given up.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use hostgauge_cloudwatch_double::{Double, Fault, Mix, Options};

use crate::look::look;
use crate::support::agent::hostgauge;
use crate::support::clock::Clock;
use crate::support::publishing::{Home, Ledger, SECONDS, Stored};
use crate::support::wait::{SOON, wall};
use crate::support::{Agent, Page};

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
/// Further back than the service takes anything.
const FAR_BACK: f64 = -20.0 * DAY;
/// Further ahead, but so that both are within its two weeks once the clock has got there.
const FAR_AHEAD: f64 = 10.0 * DAY;

struct Scene {
    double: Double,
    clock: Clock,
    home: Home,
    agent: Agent,
}

impl Scene {
    fn new() -> Self {
        let (double, clock, home) = (Double::start(Options::default()), Clock::new(), Home::new());
        let double = double.expect("the double starts");
        let (spool, lines) = (home.path("spool"), home.path("lines.json"));
        let own =
            ["--prometheus-listen", "127.0.0.1:0", "--host", "job/algo-1", "--spool-dir", &spool, "--emf", &lines];
        let mut command = home.publish_to(double.address(), hostgauge(&[&SECONDS[..], &own].concat()));
        clock.rule(&mut command);
        let agent = Agent::spawn(command);
        Self { double, clock, home, agent }
    }

    fn taken(&self) -> u64 {
        let page = self.agent.scrape();
        look(&page);
        Ledger::on(&page).map_or(0, |ledger| ledger.taken)
    }

    fn windows(&self, more: u64) {
        let before = self.taken();
        self.agent.wait_for(SOON, "some more windows", |page| {
            look(page);
            Ledger::on(page).filter(|ledger| ledger.taken >= before + 3 * more)
        });
    }

    /// The clock is set by this much, and windows close there.
    fn jump(&self, offset: f64) {
        self.clock.set(offset);
        self.windows(2);
    }

    /// Here and there within a tick or a few, and to where a window ends.
    fn flicker(&self) {
        for step in 0..20u32 {
            let to_the_edge = f64::from(1_000_000_000 - wall().subsec_nanos()) * 1e-9;
            self.clock.set([0.0, 1.0, to_the_edge, -1.0, to_the_edge - 1.0][step as usize % 5]);
            sleep(Duration::from_millis(u64::from(30 + 37 * (step % 7))));
        }
        self.clock.set(0.0);
        self.windows(2);
    }

    /// All that can land has landed; what the ledger is then.
    fn landed(&self, what: &str, waits: u64) -> Ledger {
        let before = self.taken();
        let landed = |page: &Page| Ledger::on(page).filter(|now| now.published + now.dropped + waits >= before);
        self.agent.wait_for(6 * SOON, what, landed)
    }
}

/// Samples of each metric and minute, in data of the double.
fn samples_of(stored: &Stored) -> BTreeMap<(String, u64), f64> {
    let mut samples = BTreeMap::new();
    for ((name, start), copies) in &stored.0 {
        let minute = (name.clone(), start / 60_000);
        let more: f64 = copies.iter().filter_map(|datum| datum.statistic_values).map(|set| set.sample_count).sum();
        *samples.entry(minute).or_default() += more;
    }
    samples
}

/// The same in the lines of embedded metric format, and how many data these are by when they began.
fn lines(file: &Path) -> (BTreeMap<(String, u64), f64>, Vec<u64>) {
    let (mut samples, mut starts) = (BTreeMap::new(), Vec::new());
    for line in fs::read_to_string(file).expect("the lines").lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let start = line["_aws"]["Timestamp"].as_u64().expect("a time stamp");
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("metrics") {
            let name = metric["Name"].as_str().expect("a name");
            let count = line[name]["Count"].as_f64().expect("a count");
            *samples.entry((format!("{name} Host=job/algo-1"), start / 60_000)).or_default() += count;
            starts.push(start);
        }
    }
    (samples, starts)
}

#[test]
fn days_by_a_clock_that_jumps_have_every_window_once() {
    let scene = Scene::new();
    let began = wall().as_millis() as i64;
    scene.windows(2);
    // While the service is there: it is right, and is asked at each host's second of ten.
    for offset in [DAY, 0.0, -DAY, 0.0, FAR_AHEAD, 0.0, FAR_BACK] {
        scene.jump(offset);
    }
    scene.jump(0.0);
    scene.flicker();
    // While it is away.
    scene.double.mix(Some(Mix { seed: 0, share: 1.0, faults: vec![Fault::ResetBeforeBody] }));
    for offset in [1.0, -1.0, HOUR, -HOUR, DAY, -DAY, FAR_AHEAD, FAR_BACK, 0.0] {
        scene.jump(offset);
    }
    scene.flicker();
    scene.double.mix(None);

    // What lies ahead by days waits for its time.
    let day = |days: i64| began + days * 86_400_000;
    let (_, starts) = lines(&scene.home.file("lines.json"));
    let of_day =
        |starts: &[u64], days| starts.iter().filter(|start| start.abs_diff(day(days) as u64) < 7_300_000).count();
    let ahead = (of_day(&starts, 1) + of_day(&starts, 10)) as u64;
    let ledger = scene.landed("all but what lies ahead", ahead);
    println!("{ledger:?}, {ahead} ahead");
    assert_eq!(
        ledger.dropped,
        of_day(&starts, -20) as u64,
        "only what was weeks old is given up: {}",
        scene.agent.log()
    );

    // Both clocks go on to those days.
    for days in [1, 10] {
        scene.clock.set(days as f64 * DAY);
        scene.double.set_clock(Some(SystemTime::now() + Duration::from_secs(days * 86_400)));
        let ahead = if days == 1 { of_day(&starts, 10) } else { 0 };
        scene.landed("what waited for this day", ahead as u64);
    }
    let Scene { double, home, mut agent, .. } = scene;
    let (status, took) = agent.stop("TERM");
    assert!(status.success() && took < SOON, "{status} after {took:?}: {}", agent.log());
    let (ledger, stored) = (Ledger::at_exit(&agent.log()), Stored::of(&double));
    let (samples, starts) = lines(&home.file("lines.json"));
    println!("{ledger:?}, windows on {} seconds", starts.iter().collect::<std::collections::BTreeSet<_>>().len());
    assert!(ledger.holds() && ledger.pending == 0, "{ledger:?}");
    assert_eq!(ledger.taken, starts.len() as u64, "a line and a datum of each window");
    // The double never stored what it did not answer, so every sample is there once.
    let far_back = (day(-20) as u64 + 7_300_000) / 60_000;
    let expected: BTreeMap<_, _> = samples.into_iter().filter(|((_, minute), _)| *minute > far_back).collect();
    assert_eq!(samples_of(&stored), expected);
}
