//! The real binary writing CloudWatch's embedded metric format.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::fs::{self, File};
use std::path::Path;

use serde_json::Value;

use support::Agent;
use support::agent::hostgauge;
use support::wait::{SOON, wait_until};

const EACH_SECOND: [&str; 6] = ["--host", "job/algo-1", "--cloudwatch-period", "1s", "--cloudwatch-resolution", "1"];

/// An agent that writes the format and needs nothing of AWS.
fn command(target: &str) -> std::process::Command {
    let mut command = hostgauge(&[&["--prometheus-listen", "127.0.0.1:0", "--emf", target], &EACH_SECOND[..]].concat());
    command.env_clear();
    command
}

/// Every line, which must be a whole one of the format.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a file");
    assert!(text.is_empty() || text.ends_with('\n'), "half a line: {text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    for line in &lines {
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "/aws/sagemaker/TrainingJobs", "{line}");
        assert_eq!(directive["Dimensions"], serde_json::json!([["Host"]]), "{line}");
        assert_eq!(line["Host"], "job/algo-1", "{line}");
        let metrics = directive["Metrics"].as_array().expect("metrics");
        assert!(!metrics.is_empty(), "{line}");
        for metric in metrics {
            assert_eq!((&metric["Unit"], &metric["StorageResolution"]), (&"Percent".into(), &1.into()), "{line}");
            let name = metric["Name"].as_str().expect("a name");
            assert!(line[name]["Count"].as_f64() >= Some(1.0), "{name} has no figures: {line}");
        }
    }
    lines
}

/// The windows' starts.
fn starts(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["_aws"]["Timestamp"].as_u64().expect("milliseconds")).collect()
}

fn wait_for_lines(agent: &Agent, path: &Path, most: usize) {
    wait_until(SOON, "lines", || {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= most { Ok(()) } else { Err(format!("{text}\n{}", agent.log())) }
    });
}

/// Stops an agent: how many data it says that it wrote.
fn stop(mut agent: Agent) -> usize {
    let (status, _) = agent.stop("TERM");
    let log = agent.log();
    assert_eq!(status.code(), Some(0), "{log}");
    let line = log.lines().find(|line| line.contains(" emf: ")).unwrap_or_else(|| panic!("no ledger: {log}"));
    let number = |before: &str| -> usize {
        let head = line.split(before).next().and_then(|head| head.rsplit(' ').next());
        head.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{before} in {line}"))
    };
    assert_eq!(number(" data taken"), number(" published"), "{line}");
    number(" published")
}

/// The data in lines.
fn data(lines: &[Value]) -> usize {
    let metrics = lines.iter().map(|line| &line["_aws"]["CloudWatchMetrics"][0]["Metrics"]);
    metrics.map(|metrics| metrics.as_array().expect("metrics").len()).sum()
}

#[test]
fn standard_output_has_a_line_for_each_window_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("stdout");
    let mut command = command("stdout");
    command.stdout(File::create(&path).expect("a file"));
    let agent = Agent::spawn(command);
    wait_for_lines(&agent, &path, 3);
    let written = stop(agent);
    let lines = lines(&path);
    assert_eq!(data(&lines), written);
    let starts = starts(&lines);
    assert!(starts.is_sorted_by(|a, b| a < b) && starts.iter().all(|start| start % 1000 == 0), "{starts:?}");
}

#[test]
fn a_file_that_is_rotated_away_loses_no_window() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, rotated) = (folder.path().join("lines.json"), folder.path().join("lines.json.1"));
    let agent = Agent::spawn(command(path.to_str().expect("UTF-8")));
    wait_for_lines(&agent, &path, 2);
    fs::rename(&path, &rotated).expect("renamed");
    wait_for_lines(&agent, &path, 2);
    let written = stop(agent);
    let all = [lines(&rotated), lines(&path)].concat();
    assert_eq!(data(&all), written);
    assert!(starts(&all).is_sorted_by(|a, b| a < b), "{:?}", starts(&all));
}
