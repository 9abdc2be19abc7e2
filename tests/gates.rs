//! What the agent's work costs, where that is deterministic: instructions for each step, bytes of the release binaries,
//! crates that they are made of. The figures stand in `gates.toml`; whatever has grown by more than 2 % fails by name.
//! (Allocations are gated in `allocations.rs` and `gpu_allocations.rs`, system calls in `cost.rs`.)
//!
//! `UPDATE_GATES=1` writes the file anew: with a change that is worth its price, or that lowers one.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// By so much a figure may grow. Another compiler makes other instructions and bytes of the same text, and on another
/// processor the C library takes other ways to copy.
const SLACK: f64 = 1.02;
const SLACK_ELSEWHERE: f64 = 1.10;

/// The steps of `steps.rs`, and between how many rounds each is counted: enough that it has settled by the first number.
const STEPS: [(&str, u64, u64); 5] =
    [("sample", 20, 120), ("container", 20, 120), ("page", 5, 25), ("scrape", 20, 120), ("window", 2, 7)];

fn path(below: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(below)
}

fn said(command: &mut Command) -> (String, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

/// The compiler and the processor.
fn place() -> String {
    let version = said(Command::new("rustc").arg("--version")).0;
    let version = version.split_whitespace().nth(1).expect("rustc says its version");
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    format!("rustc {version}, {}", model.trim_start_matches([' ', '\t', ':']))
}

/// The instructions of all rounds together, start and end included.
fn instructions(step: &str, rounds: u64) -> u64 {
    let steps = path("target/prometheus-only/release/steps");
    assert!(steps.exists(), "{} is missing: tests/run builds it", steps.display());
    let mut callgrind = Command::new("valgrind");
    callgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(steps).arg(step);
    let log = said(callgrind.arg(rounds.to_string())).1;
    let collected = log.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, number)| number.trim());
    collected.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("callgrind counts: {log}"))
}

/// The crates of a build, ours included, as `cargo tree` has them.
fn crates(features: &[&str]) -> u64 {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut tree = Command::new(cargo);
    tree.args([
        "tree",
        "--offline",
        "--locked",
        "-p",
        "hostgauge",
        "-e",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let listed = said(tree.args(features).current_dir(path(""))).0;
    let names: BTreeSet<&str> = listed.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    names.len() as u64
}

fn bytes(binary: &str) -> u64 {
    let binary = path(binary);
    fs::metadata(&binary).unwrap_or_else(|error| panic!("{}: {error}; tests/run builds it", binary.display())).len()
}

/// Every figure by its name.
fn measured() -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for (step, few, many) in STEPS {
        let each = (instructions(step, many) - instructions(step, few)) / (many - few);
        all.insert(format!("instructions a {step}"), each);
    }
    for (build, features) in [
        ("everything", &[][..]),
        ("for Prometheus only", &["--no-default-features", "--features", "cli"]),
        ("the library alone", &["--no-default-features"]),
    ] {
        all.insert(format!("crates of {build}"), crates(features));
    }
    all.insert("bytes of everything".into(), bytes("target/release/hostgauge"));
    all.insert("bytes of for Prometheus only".into(), bytes("target/prometheus-only/release/hostgauge"));
    all
}

#[test]
fn nothing_has_grown() {
    let file = path("tests/gates.toml");
    let measured = measured();
    let place = place();
    if std::env::var_os("UPDATE_GATES").is_some() {
        let mut text = format!("# What tests/gates.rs holds the agent to.\nplace = \"{place}\"\n");
        measured.iter().for_each(|(name, value)| writeln!(text, "\"{name}\" = {value}").expect("memory takes it"));
        fs::write(&file, text).expect("written");
    }
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let gates: toml::Table = text.parse().expect("gates.toml");
    let slack = match gates["place"].as_str() == Some(&place) {
        true => SLACK,
        false => SLACK_ELSEWHERE,
    };
    let mut grown = Vec::new();
    for (name, value) in &measured {
        let gate = gates.get(name).and_then(toml::Value::as_integer).unwrap_or_else(|| panic!("gates.toml: no {name}"));
        let ratio = *value as f64 / gate as f64;
        println!("{name}: {value}, {ratio:.3} times what gates.toml has");
        if ratio > slack {
            grown.push(format!("{name}: {gate} before, now {value}, {:+.1} %", 100.0 * (ratio - 1.0)));
        }
    }
    assert!(grown.is_empty(), "has grown:\n{}", grown.join("\n"));
    let known: Vec<&String> = gates.keys().filter(|name| *name != "place" && !measured.contains_key(*name)).collect();
    assert!(known.is_empty(), "gates.toml has what nobody measures: {known:?}");
}
