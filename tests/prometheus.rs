//! A real Prometheus scrapes the real agent, with the configuration that we ship.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::agent::run;
use support::load::{Killed, busy};
use support::wait::{SOON, wait_until};
use support::{Agent, Page, http, kernel};

const CONFIGURATION: &str = "../deploy/prometheus/prometheus.yml";

const PROMETHEUS: &str = "/usr/bin/prometheus";
const PROMTOOL: &str = "/usr/bin/promtool";

/// One clear line where the package is not installed.
fn need(program: &str) {
    assert!(Path::new(program).exists(), "{program} is missing: apt-get install prometheus");
}

struct Prometheus {
    _child: Killed,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts it with the shipped configuration, but for the target and the interval.
    fn scraping(target: SocketAddr) -> Self {
        let shipped = std::fs::read_to_string(support::file(CONFIGURATION)).expect("the configuration");
        let mut configuration = shipped;
        for (ours, theirs) in [("127.0.0.1:9871", target.to_string()), ("15s\n", "1s\n".into())] {
            assert_eq!(configuration.matches(ours).count(), 1, "{ours} in\n{configuration}");
            configuration = configuration.replace(ours, &theirs);
        }
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("prometheus.yml"), configuration).expect("written");
        // It cannot find a port and say which: this one is free now. Should it be taken by then, the log says so.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = port.expect("a free port");
        let log = std::fs::File::create(file("log")).expect("a log");
        let option = |name: &str, value: PathBuf| format!("--{name}={}", value.display());
        let child = Killed(
            Command::new(PROMETHEUS)
                .args([option("config.file", file("prometheus.yml")), option("storage.tsdb.path", file("data"))])
                .args([format!("--web.listen-address={address}"), "--log.level=warn".into()])
                .stdin(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("Prometheus starts"),
        );
        wait_until(SOON, "Prometheus is ready", || {
            let ready = http::request(address, "GET", "/-/ready", &[]);
            let log = || std::fs::read_to_string(file("log")).expect("the log");
            ready.ok().filter(|response| response.status == 200).map(drop).ok_or_else(log)
        });
        Self { _child: child, address, _folder: folder }
    }

    /// The answer to an instant query: labels and value of each series.
    fn query(&self, promql: &str) -> Vec<(serde_json::Value, f64)> {
        let escaped: String = promql.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let response = http::request(self.address, "GET", &format!("/api/v1/query?query={escaped}"), &[]);
        let json: serde_json::Value = serde_json::from_str(&response.expect("an answer").text()).expect("JSON");
        assert_eq!(json["status"], "success", "{promql}: {json}");
        let series = json["data"]["result"].as_array().expect("a vector").iter();
        let value = |series: &serde_json::Value| series["value"][1].as_str().and_then(|value| value.parse().ok());
        series.map(|series| (series["metric"].clone(), value(series).expect("a number"))).collect()
    }

    /// Queries until there is one value and it is right.
    fn expect(&self, promql: &str, right: impl Fn(f64) -> bool) {
        wait_until(2 * SOON, promql, || match self.query(promql)[..] {
            [(_, value)] if right(value) => Ok(()),
            ref other => Err(format!("{other:?}")),
        });
    }
}

#[test]
fn a_real_prometheus_scrapes_the_agent() {
    need(PROMETHEUS);
    // One busy core, so that a wrong factor shows.
    let _load = busy(*kernel::cores().keys().next().expect("a core"));
    let mut agent = Agent::start(&["--host", "algo-1"]);
    let prometheus = Prometheus::scraping(agent.address());

    prometheus.expect("up{job=\"hostgauge\"}", |up| up == 1.0);
    let cores = kernel::cores().len() as f64;
    prometheus.expect("count(hostgauge_cpu_core_utilization_percent)", |count| count == cores);
    let labels = prometheus.query("hostgauge_cpu_cores").remove(0).0;
    assert_eq!((&labels["Host"], &labels["job"]), (&"algo-1".into(), &"hostgauge".into()), "{labels}");
    prometheus.expect("count({Host=\"\", __name__=~\"hostgauge_.*\"}) or vector(0)", |without| without == 0.0);

    prometheus.expect("count_over_time(hostgauge_cpu_utilization_percent[10s])", |count| count >= 9.0);
    // Waited for, since others may load the machine: then the two, which lie up to a second apart, differ for a while.
    let rate = "sum(rate(hostgauge_cpu_seconds_total[10s])) * 100";
    let mean = "avg_over_time(hostgauge_cpu_utilization_percent[10s])";
    prometheus.expect(&format!("{rate} / scalar({mean})"), |ratio| (ratio - 1.0).abs() < 0.1);
    prometheus.expect(mean, |percent| (50.0..=100.0 * cores).contains(&percent));

    let (status, _) = agent.stop("TERM");
    assert_eq!(status.code(), Some(0));
    prometheus.expect("up{job=\"hostgauge\"}", |up| up == 0.0);
    assert_eq!(prometheus.query("{__name__=~\"hostgauge_.*\"}"), [], "its series are stale, not frozen");
}

#[test]
fn promtool_finds_nothing_on_the_page() {
    need(PROMTOOL);
    let agent = Agent::start(&["--interval", "100ms", "--disk-path", "/", "--disk-path", "/no/such/path"]);
    agent.wait_for(SOON, "samples", Page::sum);
    let page = agent
        .wait_for(SOON, "a reason", |page| page.all("hostgauge_collector_failure").next().map(|_| page.text.clone()));
    let said = run(Command::new(PROMTOOL).args(["check", "metrics"]), &page);
    assert!(said.status.success() && said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}\n{page}");
}

#[test]
fn promtool_takes_the_shipped_configuration() {
    need(PROMTOOL);
    let said = run(Command::new(PROMTOOL).args(["check", "config"]).arg(support::file(CONFIGURATION)), "");
    assert!(said.status.success(), "{said:?}");
}
