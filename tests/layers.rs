//! Dependencies point one way: agent -> {collectors, exporters} -> metrics.
#![allow(clippy::expect_used, reason = "helpers of tests fail by panicking")]

use std::process::Command;

/// Every package that `package` is built from, with its default features.
fn tree(package: &str) -> Vec<String> {
    tree_with(package, &[])
}

fn tree_with(package: &str, features: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--package",
            package,
        ])
        .args(features)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn collectors_know_no_exporter_no_runtime_and_no_cloud() {
    let tree = tree("hostgauge-collectors");
    assert!(tree.iter().any(|name| name == "metrics"));
    let forbidden = |name: &&String| {
        ["hostgauge", "hostgauge-exporters", "tokio", "hyper"].contains(&name.as_str())
            || name.starts_with("aws-")
            || name.starts_with("metrics-exporter-")
    };
    assert_eq!(tree.iter().filter(forbidden).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn exporters_know_no_collector() {
    let tree = tree("hostgauge-exporters");
    assert!(tree.iter().any(|name| name == "metrics"));
    let forbidden =
        |name: &&String| ["hostgauge", "hostgauge-collectors", "sysinfo", "nvml-wrapper"].contains(&name.as_str());
    assert_eq!(tree.iter().filter(forbidden).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn only_the_feature_cloudwatch_brings_aws() {
    let of_aws = |name: &&String| name.starts_with("aws-");
    let prometheus_only = tree_with("hostgauge", &["--no-default-features", "--features", "cli"]);
    assert_eq!(prometheus_only.iter().filter(of_aws).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(tree("hostgauge").iter().any(|name| name == "aws-sdk-cloudwatch"));
}

#[test]
fn on_linux_sysinfo_is_a_tool_of_the_tests_only() {
    if cfg!(target_os = "linux") {
        assert!(!tree("hostgauge").iter().any(|name| name == "sysinfo"), "our own readers serve Linux");
    }
}

/// The files of our crates in whose code, comments aside, this stands, by their paths below the top.
fn files_with(part: &str) -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<_> = ["agent/src", "collectors/src", "exporters/src"].map(|path| root.join(path)).into();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("text");
            if text.lines().any(|line| line.split("//").next().unwrap_or_default().contains(part)) {
                found.push(path.strip_prefix(&root).expect("below the top").to_string_lossy().into_owned());
            }
        }
    }
    found
}

const ADAPTER: &str = "collectors/src/gpu/nvml/";

#[test]
fn only_the_adapter_names_the_bindings_of_nvml() {
    let found = files_with("nvml_wrapper");
    assert!(!found.is_empty() && found.iter().all(|path| path.starts_with(ADAPTER)), "{found:?}");
}

// Two callers of C: NVIDIA's library, and madvise(2).
#[test]
fn unsafe_code_stands_where_c_is_called() {
    let found = files_with("unsafe {");
    let callers = [ADAPTER, "agent/src/cli/start_code.rs"];
    assert!(callers.iter().all(|caller| found.iter().any(|path| path.starts_with(caller))), "{found:?}");
    assert!(found.iter().all(|path| callers.iter().any(|caller| path.starts_with(caller))), "{found:?}");
}
