//! A process that stands still for a while, as in a frozen container or a paused machine.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod support;

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use support::wait::SOON;
use support::{Agent, Page};

fn signal(agent: &Agent, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), agent.pid().to_string()]).status();
    assert!(sent.expect("kill starts").success());
}

/// The value of the series that starts so.
fn value(page: &Page, head: &str) -> Option<f64> {
    page.text.lines().find_map(|line| line.strip_prefix(head)?.rsplit(' ').next()?.parse().ok())
}

#[test]
fn a_long_stall_is_an_absent_sample_and_a_count() {
    let agent = Agent::start(&["--host", "h"]);
    let stalls = "hostgauge_disturbances_total{Host=\"h\",kind=\"stall\"}";
    let cpu = "hostgauge_cpu_utilization_percent{";
    agent.wait_for(SOON, "a first sample", |page| value(page, cpu));
    assert_eq!(value(&agent.scrape(), stalls), Some(0.0));

    for count in 1..=3u8 {
        signal(&agent, "STOP");
        sleep(Duration::from_secs(5));
        signal(&agent, "CONT");
        let counted = |page: &Page| (value(page, stalls) == Some(count.into())).then(|| page.clone());
        let page = agent.wait_for(SOON, "the count", counted);
        assert!(value(&page, "hostgauge_disturbances_total{Host=\"h\",kind=\"late\"}") >= Some(3.0));
        assert_eq!(value(&page, "hostgauge_collector_success{Host=\"h\",collector=\"cpu\"}"), Some(1.0));
        let absent = value(&page, cpu).is_none();
        agent.wait_for(SOON, "the next sample", |page| value(page, cpu));
        assert_eq!(value(&agent.scrape(), stalls), Some(count.into()));
        if absent {
            return;
        }
        // The tick after the stall came before the scrape did; rare, since it has up to a second.
    }
    panic!("a mean over the stall was shown three times");
}
