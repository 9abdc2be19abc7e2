//! A real Prometheus scrapes the real agent, with the configuration that we ship.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::process::Command;

use support::agent::run;
use support::load::busy;
use support::prometheus::{PROMETHEUS, PROMTOOL, Prometheus, need};
use support::wait::SOON;
use support::{Agent, Page, kernel};

const CONFIGURATION: &str = "../deploy/prometheus/prometheus.yml";

#[test]
fn a_real_prometheus_scrapes_the_agent() {
    need(PROMETHEUS);
    // One busy core, so that a wrong factor shows.
    let _load = busy(*kernel::cores().keys().next().expect("a core"));
    let mut agent = Agent::start(&["--host", "algo-1"]);
    let prometheus = Prometheus::scraping(&[agent.address()]);

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
