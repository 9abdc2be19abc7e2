//! The dashboards, alert rules and templates that we ship, each with the tool that its user has.
//!
//! `tests/run` makes the environment for Python.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hostgauge_collectors::catalogue;
use nvidia_ml_double::{
    Ecc, Event, Gpu, Instance, Load, Memory, Mig, RemappedRows, SCENARIO, Scenario, State, library,
};
use serde_json::Value;
use support::agent::{clean, run};
use support::cloudwatch::{Account, EACH_SECOND};
use support::prometheus::{PROMETHEUS, PROMTOOL, Prometheus, SHIPPED, escaped, need};
use support::wait::wait_until;
use support::{Agent, file};

const DASHBOARDS: &str = "../deploy/grafana";
const TEMPLATES: &str = "../deploy/cloudwatch";

/// The files of a folder whose names end so.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(file(folder)).expect("the folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    files.sort();
    assert!(!files.is_empty(), "no {end} in {folder}");
    files
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file")
}

/// Runs a program of the environment for Python, which must find nothing wrong.
fn passes(program: &str, args: &[PathBuf]) {
    let bin = file("../target/deploy-tools/bin");
    assert!(bin.join("python").exists(), "target/deploy-tools is missing: run tests/run");
    let mut command = clean(&bin.join("python").display().to_string(), &[]);
    let program = if program.contains('/') { file(program) } else { bin.join(program) };
    command.arg(program).args(args).env("PYTHONDONTWRITEBYTECODE", "1").env("AWS_EC2_METADATA_DISABLED", "true");
    // Some take their time, on which the test's own limit stands.
    let said = command.output().expect("Python starts");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(said.status.success(), "{}{}", text(&said.stdout), text(&said.stderr));
}

/// The words of a text that begin as our metrics do.
fn names(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_part(c)).filter(|word| word.starts_with("hostgauge_")).collect()
}

#[test]
fn the_rules_pass_their_tests() {
    need(PROMTOOL);
    let tests = files(&format!("{SHIPPED}/tests"), ".yml");
    let said = run(Command::new(PROMTOOL).args(["test", "rules"]).args(tests), "");
    assert!(said.status.success(), "{}{}", said.stdout, said.stderr);
}

#[test]
fn each_alert_has_a_test_that_fires_and_one_that_does_not() {
    need(PROMTOOL);
    passes("dashboards/alerts.py", &[]);
}

#[test]
fn grafana_knows_all_that_the_dashboards_say() {
    passes("dashboards/grafana.py", &[]);
}

#[test]
fn cloudformation_takes_the_templates() {
    passes("cfn-lint", &files(TEMPLATES, ".yaml"));
}

#[test]
fn alarms_and_dashboard_are_what_cloudwatch_documents() {
    passes("dashboards/cloudwatch.py", &[]);
}

#[test]
fn every_metric_that_is_named_exists() {
    let known: BTreeSet<&str> = catalogue::ALL.iter().map(|metric| metric.name).collect();
    // What rules.yml makes of two of ours.
    let made = BTreeSet::from(["hostgauge_delivery_dropped_total"]);
    let mut named = BTreeSet::new();
    for (folder, end) in [(DASHBOARDS, ".json"), (SHIPPED, ".yml"), (TEMPLATES, ".yaml")] {
        for path in files(folder, end) {
            let text = read(&path);
            let unknown: Vec<&str> = names(&text).difference(&(&known | &made)).copied().collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", path.display());
            named.extend(names(&text).into_iter().map(str::to_owned));
        }
    }
    assert!(named.len() > 60, "most of the catalogue is shown: {named:?}");
}

/// Three GPUs that have whatever a GPU can have: one whole, one cut up, one lost.
fn machine() -> Scenario {
    let gpu = |index: usize| {
        Gpu::new(&format!("GPU-11111111-2222-3333-4444-{index:012}"), &format!("00000000:{:02X}:00.0", 16 + index))
    };
    let mut gpus: Vec<Gpu> = (0..3).map(gpu).collect();
    let [whole, cut, lost] = gpus.as_mut_slice() else { panic!("three") };
    whole.load = Load::Percent(70.0);
    (whole.temperature_c, whole.memory_temperature_c) = (Some(56), Some(61));
    whole.ecc = Some(Ecc { corrected_aggregate: 7, ..Ecc::default() });
    whole.remapped_rows = Some(RemappedRows { correctable: 3, uncorrectable: 0, pending: true, failed: false });
    whole.recovery_action = 1;
    (whole.nvlink.links, whole.nvlink.kib_s) = (2, 1000);
    let memory = Memory { total: 10_000_000_000, used: 1_000_000_000, reserved: 0 };
    let uuid = "MIG-11111111-2222-3333-4444-000000000001".to_owned();
    let instance = Instance { slot: 0, uuid, gi: 1, ci: 0, slices: 1, load: Load::Percent(20.0), memory };
    cut.mig = Some(Mig { instances: vec![instance], ..Mig::default() });
    lost.state = State::Lost;
    Scenario { gpus, ..Scenario::default() }
}

/// A job of three hosts, the first of which publishes to a CloudWatch of its own.
struct Job {
    agents: Vec<Agent>,
    _account: Account,
    _folder: tempfile::TempDir,
}

impl Job {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("scenario.toml");
        let account = Account::open();
        let double = library().expect("the double is built with the tests").display().to_string();
        let start = |number: usize| {
            let host = format!("my-job/algo-{number}");
            // The sums are of what answers, so that they are there beside a lost GPU.
            let mut args = vec!["--host", &host, "--nvml-library", &double, "--gpu-sum", "partial"];
            args.extend(EACH_SECOND);
            let mut command = account.command(&args);
            let publishes = if number == 1 { "true" } else { "false" };
            command.env("HOSTGAUGE_CLOUDWATCH", publishes).env(SCENARIO, &path);
            Agent::spawn(command)
        };
        let mut scenario = machine();
        scenario.write(&path).expect("the scenario is written");
        let agents: Vec<Agent> = (1..=3).map(start).collect();
        for agent in &agents {
            agent.wait_for(PATIENCE, "a GPU", |page| page.get("hostgauge_gpus_reporting", &[]).filter(|n| *n > 0.0));
        }
        // XIDs from before an agent are not told.
        scenario.gpus[0].events.push(Event::xid(48));
        scenario.write(&path).expect("the scenario is written");
        Self { agents, _account: account, _folder: folder }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.agents.iter().map(Agent::address).collect()
    }
}

/// A whole minute, from its start, and the second before it.
const PATIENCE: Duration = Duration::from_secs(140);

/// As Grafana does it before it asks.
fn filled(expression: &str) -> String {
    let values = [("$__rate_interval", "10s"), ("$Host", "my-job/algo-1"), ("$gpu", ".*"), ("$job_name", "my-job")];
    let filled = values.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value));
    assert!(!filled.contains('$'), "{filled}");
    filled
}

/// Every expression of the dashboards, with where it stands, and the queries of their variables.
fn expressions() -> (BTreeMap<String, String>, BTreeSet<String>) {
    let (mut expressions, mut variables) = (BTreeMap::new(), BTreeSet::new());
    for path in files(DASHBOARDS, ".json") {
        let board: Value = serde_json::from_str(&read(&path)).expect("JSON");
        let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
        for panel in all(&board["panels"]) {
            for target in all(&panel["targets"]) {
                let text = filled(target["expr"].as_str().expect("an expression"));
                expressions.insert(text, format!("{}: {}", path.display(), panel["title"]));
            }
        }
        for variable in all(&board["templating"]["list"]) {
            variables.extend(variable["query"]["query"].as_str().map(filled));
        }
    }
    (expressions, variables)
}

/// The rules that Prometheus has, and how they fare.
fn rules(prometheus: &Prometheus) -> Vec<Value> {
    let data = prometheus.api("rules");
    let groups = data["groups"].as_array().expect("groups").iter();
    groups.flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

#[test]
fn a_real_prometheus_answers_every_expression() {
    need(PROMETHEUS);
    let job = Job::start();
    let prometheus = Prometheus::scraping(&job.addresses());
    let (mut expressions, variables) = expressions();
    assert!(expressions.len() > 90 && variables.len() >= 2, "{} expressions, {variables:?}", expressions.len());

    let recorded = |rule: &Value| (rule["type"] == "recording").then(|| rule["name"].as_str().map(str::to_owned));
    let records = rules(&prometheus).iter().filter_map(|rule| recorded(rule)?).collect::<Vec<_>>();
    expressions.extend(records.into_iter().map(|name| (name, "rules.yml".to_owned())));
    // Nothing is given up here, and without a reason the series is not there.
    let given_up = "hostgauge_delivery_dropped_total{Host=\"my-job/algo-1\"}";
    assert!(expressions.remove(given_up).is_some() && prometheus.query(given_up).is_empty());
    wait_until(PATIENCE, "each expression has an answer", || {
        expressions.retain(|text, _| prometheus.query(text).is_empty());
        if expressions.is_empty() { Ok(()) } else { Err(format!("nothing for {expressions:#?}")) }
    });

    for variable in &variables {
        let (series, label) = variable
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", "))
            .expect("label_values of a series and a label");
        let values = prometheus.api(&format!("label/{label}/values?match[]={}", escaped(series)));
        assert_eq!(values.as_array().map(Vec::len), Some(3), "three hosts, three GPUs: {variable}: {values}");
    }

    for rule in rules(&prometheus) {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    // What is true of this job, and of it alone, seen through the rules.
    let alerts = prometheus.query("count by (alertname) (ALERTS{Host=\"my-job/algo-1\"})");
    let alerts: BTreeSet<&str> = alerts.iter().filter_map(|(labels, _)| labels["alertname"].as_str()).collect();
    for sick in ["HostgaugeGpuLost", "HostgaugeGpuXid", "HostgaugeGpuRecovery", "HostgaugeCollectorFailing"] {
        assert!(alerts.contains(sick), "{sick} in {alerts:?}");
    }
    for well in ["HostgaugeGpuIdle", "HostgaugeDeliveryDropped", "HostgaugeClockSkew", "HostgaugeStraggler"] {
        assert!(!alerts.contains(well), "{well} in {alerts:?}");
    }
}
