//! A second opinion that nobody here wrote: ministack keeps what the agent publishes, boto3 reads it back.
//!
//! Another implementation of the service, and of both protocols, must find what the agent meant; what it meant, it also
//! writes as embedded metric format. `tests/run` makes the environment for Python.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use support::Agent;
use support::agent::{Ended, hostgauge, run};
use support::load::Killed;
use support::procfs::Procfs;
use support::wait::{SOON, wait_until, wall};

const REGION: &str = "eu-central-1";
const NAMESPACE: &str = "/aws/sagemaker/TrainingJobs";

/// The virtual environment. Fails in one clear line where there is none.
fn environment() -> PathBuf {
    let folder = support::file("../target/second-opinion");
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let asked = read(&support::file("second_opinion/requirements.txt"));
    let there = folder.join("bin/python").exists() && read(&folder.join("requirements.txt")) == asked;
    assert!(there, "target/second-opinion is missing, or of another second_opinion/requirements.txt: run tests/run");
    folder
}

/// A program that knows of no AWS but the one of the test.
fn isolated<'a>(command: &'a mut Command, endpoint: &str, home: &Path) -> &'a mut Command {
    let ours = std::env::vars_os().map(|(name, _)| name);
    ours.filter(|name| name.to_string_lossy().starts_with("AWS_")).for_each(|name| {
        command.env_remove(name);
    });
    command
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_REGION", REGION)
        .env("AWS_DEFAULT_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("NO_PROXY", "*")
        .env("HOME", home)
        .env("TMPDIR", home)
}

fn script(name: &str, endpoint: &str, home: &Path, input: &str) -> Ended {
    let mut command = Command::new(environment().join("bin/python"));
    command.arg(support::file("second_opinion").join(name));
    run(isolated(&mut command, endpoint, home), input)
}

struct Ministack {
    endpoint: String,
    folder: tempfile::TempDir,
    _child: Killed,
}

impl Ministack {
    /// Starts it on a free port, which it finds and names by itself.
    fn start() -> Self {
        let environment = environment();
        let folder = tempfile::tempdir().expect("a folder");
        let log = || std::fs::File::options().append(true).create(true).open(folder.path().join("log")).expect("a log");
        let mut command = Command::new(environment.join("bin/python"));
        // Without workers it is one process. The command `ministack` would listen on every interface.
        command
            .args(["-m", "hypercorn", "ministack.app:app", "--bind", "127.0.0.1:0", "--workers", "0"])
            .args(["--access-logfile", "-", "--access-logformat", "%(U)s %({content-encoding}i)s %(s)s"])
            .env("SERVICES", "cloudwatch")
            .env("PYTHONUNBUFFERED", "1")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log());
        let mut child =
            Killed(isolated(&mut command, "http://127.0.0.1:1", folder.path()).spawn().expect("Python starts"));
        let read = || std::fs::read_to_string(folder.path().join("log")).expect("the log");
        let endpoint = wait_until(2 * SOON, "ministack names its port", || {
            let log = read();
            let ended = child.0.try_wait().expect("a child");
            assert!(ended.is_none(), "ministack ended ({ended:?}): {log}");
            let rest = log.split_once("Running on http://").map(|(_, rest)| rest);
            rest.and_then(|rest| Some(format!("http://{}", rest.split_once(' ')?.0))).ok_or(log)
        });
        Self { endpoint, folder, _child: child }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("the log")
    }

    /// The data points of each series over steps of some seconds, by the second that they begin at.
    fn read(&self, series: &[&Series], step: u64) -> Vec<BTreeMap<u64, Value>> {
        let query = |(name, dimensions): &&Series| {
            let dimensions: Vec<Value> =
                dimensions.iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect();
            let (now, hour) = (wall().as_secs(), 3600);
            json!({"Namespace": NAMESPACE, "MetricName": name, "Dimensions": dimensions,
                "StartTime": now - hour, "EndTime": now + hour, "Period": step})
        };
        let queries: Vec<Value> = series.iter().map(query).collect();
        let ended = script("read.py", &self.endpoint, self.folder.path(), &json!(queries).to_string());
        assert!(ended.status.success(), "{}\n{}", ended.stderr, self.log());
        let answers: Vec<Vec<Value>> = serde_json::from_str(&ended.stdout).expect("JSON");
        let second = |point: &Value| point["Timestamp"].as_u64().expect("seconds");
        let by_second = |points: Vec<Value>| points.into_iter().map(|point| (second(&point), point)).collect();
        answers.into_iter().map(by_second).collect()
    }
}

/// An agent that publishes, and writes down what it means to.
struct Publishing {
    agent: Agent,
    folder: tempfile::TempDir,
}

impl Publishing {
    fn start(endpoint: &str, host: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let mut command = hostgauge(&["--prometheus-listen", "127.0.0.1:0", "--host", host, "--interval", "100ms"]);
        command.args(["--spool-dir", &path("spool"), "--emf", &path("emf")]).args(args);
        let stdout = std::fs::File::create(path("stdout")).expect("a file");
        isolated(&mut command, endpoint, folder.path()).stdout(stdout);
        Self { agent: Agent::spawn(command), folder }
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// Stops it; what it did not deliver fails the test.
    fn stop(&mut self) -> Meant {
        let (status, _) = self.agent.stop("TERM");
        let log = self.agent.log();
        let ledger = log.lines().find(|line| line.contains("cloudwatch: ") && line.contains(" data taken = "));
        let delivered = ledger.is_some_and(|line| line.contains("+ 0 pending + 0 dropped; 0 perhaps twice"));
        assert!(status.success() && delivered, "{log}");
        meant(&self.file("emf"))
    }
}

/// A metric's name and dimensions.
type Series = (String, BTreeMap<String, String>);

/// What each series was meant to be, by the second that a period begins at.
type Meant = BTreeMap<Series, BTreeMap<u64, Figures>>;

#[derive(Clone, Debug)]
struct Figures {
    unit: String,
    count: f64,
    sum: f64,
    minimum: f64,
    maximum: f64,
    values: Vec<(f64, u64)>,
}

impl Figures {
    /// Of one metric in a line of the embedded metric format.
    fn parse(member: &Value, unit: &Value) -> Self {
        let unit = unit.as_str().expect("a unit").to_owned();
        if let Some(value) = member.as_f64() {
            return Self { unit, count: 1.0, sum: value, minimum: value, maximum: value, values: vec![(value, 1)] };
        }
        let number = |name: &str| member[name].as_f64().expect("a number");
        let all = |name: &str| member[name].as_array().expect("an array").iter();
        let values = all("Values").map(|value| value.as_f64().expect("a number"));
        let values = values.zip(all("Counts").map(|count| count.as_u64().expect("a number"))).collect();
        Self {
            unit,
            count: number("Count"),
            sum: number("Sum"),
            minimum: number("Min"),
            maximum: number("Max"),
            values,
        }
    }

    fn add(mut self, other: &Self) -> Self {
        assert_eq!(self.unit, other.unit);
        self.count += other.count;
        self.sum += other.sum;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
        self.values.extend(&other.values);
        self
    }

    fn range(&self) -> f64 {
        self.maximum - self.minimum
    }

    /// The samples in ascending order.
    fn samples(&self) -> Vec<f64> {
        let repeated = |&(value, count): &(f64, u64)| std::iter::repeat_n(value, count as usize);
        let mut samples: Vec<f64> = self.values.iter().flat_map(repeated).collect();
        samples.sort_by(f64::total_cmp);
        samples
    }

    /// Fails unless a stored data point is this one, but for an error of each value.
    fn assert_stored(&self, point: &Value, of_value: f64, of_percentile: f64, what: &str) {
        let what = format!("{what}: {point}, but {self:?} was meant");
        let stored = |name: &str| point[name].as_f64().unwrap_or_else(|| panic!("no {name}: {what}"));
        assert_eq!((point["Unit"].as_str(), stored("SampleCount")), (Some(&self.unit as &str), self.count), "{what}");
        let within = |name: &str, meant: f64, error: f64| {
            assert!((stored(name) - meant).abs() <= error, "{name}: {what}");
        };
        within("Minimum", self.minimum, of_value);
        within("Maximum", self.maximum, of_value);
        // Added up in another order, a sum may round otherwise.
        let rounding = 1e-12;
        within("Sum", self.sum, self.count * of_value + rounding * self.sum);
        let mean = self.sum / self.count;
        within("Average", mean, of_value + rounding * mean);
        let samples = self.samples();
        for (name, share) in PERCENTILES {
            let percentile = point["ExtendedStatistics"][name].as_f64().unwrap_or_else(|| panic!("no {name}: {what}"));
            assert_percentile(percentile, share, &samples, 0, of_percentile, &format!("{name}: {what}"));
        }
    }
}

const PERCENTILES: [(&str, f64); 2] = [("p50", 0.5), ("p90", 0.9)];

/// Fails unless a percentile lies where the samples say, of which some between the ends may be missing. Services differ
/// in how they fill the space between the two nearest ranks: anything from the one to the other is right.
fn assert_percentile(percentile: f64, share: f64, ascending: &[f64], missing: usize, error: f64, what: &str) {
    let last = ascending.len() - 1;
    let rank = ((last + missing) as f64 * share).floor() as usize;
    // A missing sample below would move those above it up by one rank.
    let low = ascending[rank.saturating_sub(missing).min(last)];
    let high = ascending[(rank + 1).min(last)];
    let error = error + 1e-12 * high.abs();
    assert!(
        (low - error..=high + error).contains(&percentile),
        "{percentile} is not in {low}..{high}+-{error}: {what}"
    );
}

/// The periods that the agent wrote down.
fn meant(emf: &str) -> Meant {
    let mut meant = Meant::new();
    for line in emf.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let start = line["_aws"]["Timestamp"].as_u64().expect("milliseconds") / 1000;
        let definition = &line["_aws"]["CloudWatchMetrics"][0];
        let names = definition["Dimensions"][0].as_array().expect("names").iter();
        let names = names.map(|name| name.as_str().expect("a name"));
        let dimensions: BTreeMap<_, _> =
            names.map(|name| (name.to_owned(), line[name].as_str().expect("a value").to_owned())).collect();
        for metric in definition["Metrics"].as_array().expect("metrics") {
            let name = metric["Name"].as_str().expect("a name");
            let figures = Figures::parse(&line[name], &metric["Unit"]);
            let periods = meant.entry((name.to_owned(), dimensions.clone())).or_default();
            assert!(periods.insert(start, figures).is_none(), "{name} twice in {start}");
        }
    }
    meant
}

/// Reads all that was meant back, in steps of some seconds, and fails where the two differ. `of_value` and
/// `of_percentile` are the errors to expect, as shares of the range.
fn compare(cloud: &Ministack, meant: &Meant, step: u64, (of_value, of_percentile): (f64, f64)) {
    let stepped = |periods: &BTreeMap<u64, Figures>| {
        let mut steps: BTreeMap<u64, Figures> = BTreeMap::new();
        for (start, figures) in periods {
            let start = start - start % step;
            let sum = steps.remove(&start).map_or_else(|| figures.clone(), |sum| sum.add(figures));
            steps.insert(start, sum);
        }
        steps
    };
    let stored = cloud.read(&meant.keys().collect::<Vec<_>>(), step);
    for ((series, periods), stored) in meant.iter().zip(&stored) {
        let expected = stepped(periods);
        assert!(!stored.is_empty(), "nothing is stored of {series:?}. Is cbor2 installed? {}", cloud.log());
        let starts = |starts: Vec<&u64>| format!("{starts:?}");
        assert_eq!(starts(stored.keys().collect()), starts(expected.keys().collect()), "periods of {series:?}");
        for (start, figures) in &expected {
            let (value, percentile) = (of_value * figures.range(), of_percentile * figures.range());
            figures.assert_stored(&stored[start], value, percentile, &format!("{series:?} at {start}"));
        }
    }
}

/// Different samples to see before the agents are stopped: more than the 150 values of a datum.
const SAMPLES: usize = 170;
/// How long they may take on a busy machine.
const PATIENCE: Duration = SOON.saturating_mul(3);
/// The documented errors of a value in the 150 bins of a datum, and in the 100 of the embedded metric format.
const OF_DATUM: f64 = 1.0 / 149.0;
const OF_EMF: f64 = 1.0 / 99.0;

/// A period of minutes that does not end within the test.
fn long_period() -> String {
    let left = |minutes: &u64| Duration::from_secs(60 * minutes - wall().as_secs() % (60 * minutes));
    let longest = || [3, 4, 5].into_iter().max_by_key(left).expect("three");
    if left(&longest()) < PATIENCE {
        // All three end together, as they do once an hour.
        sleep(left(&longest()));
    }
    format!("{}m", longest())
}

/// A machine whose every reading is another one, so that a period has more values than a datum.
struct Restless {
    procfs: Procfs,
    step: usize,
    /// Busy and idle time of each core.
    cores: [(u64, u64); CORES],
}

const CORES: usize = 12;

impl Restless {
    fn new() -> Self {
        let mut machine = Self { procfs: Procfs::copy_of("two-cores"), step: 0, cores: [(0, 0); CORES] };
        machine.go_on();
        machine
    }

    fn go_on(&mut self) {
        self.step += 1;
        let mut rows = Vec::new();
        for (core, (busy, idle)) in self.cores.iter_mut().enumerate() {
            let percent = number(self.step + 1000 * core);
            *busy += (1000.0 * percent) as u64;
            *idle += (1000.0 * (100.0 - percent)) as u64;
            rows.push((core as u32, *busy, *idle, 0, 0));
        }
        self.procfs.cpu(&rows);
        self.procfs.memory(100_000_000, 100_000_000 - (1_000_000.0 * number(self.step)) as u64);
    }
}

/// The numbers from 20 to 90, each another one, most of them low, in no order.
fn number(step: usize) -> f64 {
    let even = (step as f64 * 0.618_033_988_749_895).fract();
    20.0 + 70.0 * even * even
}

#[test]
fn another_cloudwatch_holds_what_the_agent_meant() {
    let cloud = Ministack::start();
    let mut machine = Restless::new();
    let more = ["core_utilization_percent", "seconds_total"].map(|name| format!("hostgauge_cpu_{name}"));
    let period = long_period();
    let start = |host, args: &[&str]| Publishing::start(&cloud.endpoint, host, &[&["--cloudwatch"], args].concat());
    let fine = ["--cloudwatch-period", "1s", "--cloudwatch-resolution", "1"];
    let mut long = start(
        "job/algo-1",
        &["--cloudwatch-period", &period, "--procfs", machine.procfs.path(), "--cloudwatch-metric", &more[0]],
    );
    let mut short = start("job/algo-2", &fine);
    let plain = ["--cloudwatch-statistics", "average", "--cloudwatch-metric", &more[1]];
    let mut plain = start("job/algo-3", &[&fine[..], &plain].concat());

    let mut seen = BTreeSet::new();
    wait_until(PATIENCE, "enough different samples", || {
        machine.go_on();
        let page = long.agent.scrape();
        seen.extend(page.get("hostgauge_memory_utilization_percent", &[]).map(f64::to_bits));
        if seen.len() >= SAMPLES { Ok(()) } else { Err(seen.len().to_string()) }
    });

    let meant = long.stop();
    compare(&cloud, &meant, 60, (OF_DATUM, OF_DATUM + OF_EMF));
    let short = short.stop();
    compare(&cloud, &short, 1, (0.0, 0.0));
    compare(&cloud, &short, 60, (0.0, 0.0));
    let plain = plain.stop();
    compare(&cloud, &plain, 1, (0.0, 0.0));
    assert!(plain.values().flat_map(BTreeMap::values).all(|figures| figures.count == 1.0), "plain values");
    assert_eq!((meant.len(), short.len(), plain.len()), (3 + CORES, 3, 4), "series");

    // The page showed most of the samples before anything was binned.
    let (series, periods) = meant.iter().find(|((name, _), _)| name == "MemoryUtilization").expect("memory");
    let figures = periods.first_key_value().expect("a period").1;
    assert_eq!(periods.len(), 1, "one period");
    // Two that are known even if a scrape missed them.
    seen.extend([figures.minimum, figures.maximum].map(f64::to_bits));
    let seen: Vec<f64> = seen.into_iter().map(f64::from_bits).collect();
    let missing = (figures.count as usize).checked_sub(seen.len()).expect("no more seen than taken");
    let points = cloud.read(&[series], 60);
    let point = points[0].first_key_value().expect("a point").1;
    for (name, share) in PERCENTILES {
        let percentile = point["ExtendedStatistics"][name].as_f64().expect("a percentile");
        assert_percentile(percentile, share, &seen, missing, OF_DATUM * figures.range(), name);
        println!("{name}: {percentile}; {} of {} samples seen", seen.len(), figures.count);
    }

    let log = cloud.log();
    let requests = |coding: &str| log.matches(&format!("/operation/PutMetricData {coding} 200")).count();
    println!("{} requests compressed, {} not", requests("gzip"), requests("-"));
    assert!(requests("gzip") > 0 && requests("-") > 0, "both codings: {log}");
}

#[test]
fn botocore_takes_a_rehearsal_for_a_request() {
    environment();
    let home = tempfile::tempdir().expect("a folder");
    let nowhere = "http://127.0.0.1:1";
    let fine = ["--dry-run", "--cloudwatch-period", "1s", "--cloudwatch-resolution", "1"];
    let average = ["--cloudwatch-statistics", "average"];
    let form = |args: &[&str]| Publishing::start(nowhere, "job/algo-1", &[&fine, args].concat());
    let rehearsals = [form(&[]), form(&average)].map(|mut rehearsal| {
        wait_until(SOON, "a period ends", || {
            Some(()).filter(|()| !rehearsal.file("emf").is_empty()).ok_or(String::new())
        });
        let (status, _) = rehearsal.agent.stop("TERM");
        assert!(status.success(), "{}", rehearsal.agent.log());
        rehearsal.file("stdout")
    });
    let requests: Vec<Value> = rehearsals
        .iter()
        .flat_map(|stdout| stdout.lines())
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["PutMetricData"].take())
        .collect();
    let data = || requests.iter().flat_map(|request| request["MetricData"].as_array().expect("data"));
    for form in ["StatisticValues", "Value"] {
        assert!(data().any(|datum| datum.get(form).is_some()), "{form} in {requests:?}");
    }
    let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
    let judge = |lines: &str| script("validate.py", nowhere, home.path(), lines);
    let verdict = judge(&lines);
    assert!(verdict.status.success(), "{}\n{lines}", verdict.stderr);

    // It does judge.
    for (good, bad) in
        [("\"StatisticValues\"", "\"StatisticSet\""), ("\"SampleCount\":", "\"SampleCount\":\"a\",\"_\":")]
    {
        let verdict = judge(&lines.replace(good, bad));
        assert!(!verdict.status.success() && verdict.stderr.contains("ParamValidationError"), "{bad}: {verdict:?}");
    }
}
