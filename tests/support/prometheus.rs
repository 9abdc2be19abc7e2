//! A real Prometheus with the configuration that we ship.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::load::Killed;
use super::reserved::Reserved;
use super::wait::{SOON, wait_until};
use super::{file, http};

/// The folder of what we ship for it.
pub(crate) const SHIPPED: &str = "../deploy/prometheus";

pub(crate) const PROMETHEUS: &str = "/usr/bin/prometheus";
pub(crate) const PROMTOOL: &str = "/usr/bin/promtool";

/// One clear line where the package is not installed.
pub(crate) fn need(program: &str) {
    assert!(Path::new(program).exists(), "{program} is missing: apt-get install prometheus");
}

pub(crate) struct Prometheus {
    _child: Killed,
    port: Reserved,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts it with the shipped configuration and rules, but for the targets and the interval: a second for both.
    pub(crate) fn scraping(targets: &[SocketAddr]) -> Self {
        Self::scraping_with(targets, "")
    }

    /// The same with more lines in the job, as they stand in the file.
    pub(crate) fn scraping_with(targets: &[SocketAddr], more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let shipped = |name: &str| std::fs::read_to_string(file(SHIPPED).join(name)).expect("a shipped file");
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let targets = serde_json::to_string(&targets).expect("a list");
        let each_second = "1s\n  evaluation_interval: 1s\n";
        let mut configuration = shipped("prometheus.yml");
        let job = format!("  - job_name: hostgauge\n{more}");
        for (ours, theirs) in [
            ("[\"127.0.0.1:9871\"]", targets.as_str()),
            ("15s\n", each_second),
            ("  - job_name: hostgauge\n", job.as_str()),
        ] {
            assert_eq!(configuration.matches(ours).count(), 1, "{ours} in\n{configuration}");
            configuration = configuration.replace(ours, theirs);
        }
        std::fs::write(path("prometheus.yml"), configuration).expect("written");
        for rules in ["rules.yml", "alerts.yml"] {
            std::fs::write(path(rules), shipped(rules)).expect("written");
        }
        // It cannot find a port and say which.
        let port = Reserved::new();
        let address = port.address();
        let log = std::fs::File::create(path("log")).expect("a log");
        let option = |name: &str, value: PathBuf| format!("--{name}={}", value.display());
        let child = Killed(
            Command::new(PROMETHEUS)
                .args([option("config.file", path("prometheus.yml")), option("storage.tsdb.path", path("data"))])
                .args([format!("--web.listen-address={address}"), "--log.level=warn".into()])
                .stdin(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("Prometheus starts"),
        );
        wait_until(SOON, "Prometheus is ready", || {
            let ready = http::request(address, "GET", "/-/ready", &[]);
            let log = || std::fs::read_to_string(path("log")).expect("the log");
            ready.ok().filter(|response| response.status == 200).map(drop).ok_or_else(log)
        });
        Self { _child: child, port, _folder: folder }
    }

    /// The data of an answer of its API, which must be a success.
    pub(crate) fn api(&self, path: &str) -> serde_json::Value {
        self.ask(path, path)
    }

    fn ask(&self, what: &str, path: &str) -> serde_json::Value {
        let response = http::request(self.port.address(), "GET", &format!("/api/v1/{path}"), &[]);
        let mut json: serde_json::Value = serde_json::from_str(&response.expect("an answer").text()).expect("JSON");
        assert_eq!(json["status"], "success", "{what}: {json}");
        json["data"].take()
    }

    /// The answer to an instant query: labels and value of each series.
    pub(crate) fn query(&self, promql: &str) -> Vec<(serde_json::Value, f64)> {
        let data = self.ask(promql, &format!("query?query={}", escaped(promql)));
        let series = data["result"].as_array().unwrap_or_else(|| panic!("{promql}: {data}")).iter();
        let value = |series: &serde_json::Value| series["value"][1].as_str().and_then(|value| value.parse().ok());
        series.map(|series| (series["metric"].clone(), value(series).expect("a number"))).collect()
    }

    /// Queries until there is one value and it is right.
    pub(crate) fn expect(&self, promql: &str, right: impl Fn(f64) -> bool) {
        wait_until(2 * SOON, promql, || match self.query(promql)[..] {
            [(_, value)] if right(value) => Ok(()),
            ref other => Err(format!("{other:?}")),
        });
    }
}

/// As a part of a URL.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
