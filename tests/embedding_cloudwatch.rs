//! The library inside a program: the program's own metrics on CloudWatch.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::process::Command;
use std::time::Duration;

use hostgauge::{Builder, CloudWatch, Publish};
use hostgauge_cloudwatch_double::{Datum, StatisticSet};
use metrics::Unit;

use support::cloudwatch::Account;
use support::wait::{SOON, wait_for_room, wait_until};

/// In the program's environment, which names the double: the test that it is started as does its work then.
const PROGRAM: &str = "HOSTGAUGE_TEST_PROGRAM";

fn program() {
    let metrics = ["jobs_done_total", "job_seconds", "queue_depth", "unlisted"].map(str::to_owned);
    let publish = Publish { period: Duration::from_secs(300), metrics: metrics[..3].to_vec(), ..Publish::default() };
    let builder = Builder::new().host("h").disk_paths([] as [&str; 0]).publish(publish);
    let spool = std::env::var_os("HOSTGAUGE_SPOOL_DIR").map(Into::into);
    let (recorder, hostgauge) =
        builder.cloudwatch(CloudWatch { spool, ..CloudWatch::default() }).build().expect("it starts");
    wait_until(SOON, "windows are open", || hostgauge.is_ready().then_some(()).ok_or_else(|| hostgauge.page()));
    // What follows takes a moment: the window must not end in it.
    wait_for_room(10, 300);
    metrics::with_local_recorder(&recorder, || {
        metrics::describe_counter!("jobs_done_total", Unit::Count, "Jobs done.");
        metrics::describe_histogram!("job_seconds", Unit::Seconds, "How long a job took.");
        let done = metrics::counter!("jobs_done_total", "zone" => "z", "queue" => "q");
        (1..=4).for_each(|jobs| done.increment(jobs));
        let took = metrics::histogram!("job_seconds");
        [0.25, 0.5, 0.25, 8.0].iter().for_each(|seconds| took.record(*seconds));
        [3.0, 5.0].iter().for_each(|depth| metrics::gauge!("queue_depth").set(*depth));
        metrics::gauge!("unlisted").set(1.0);
    });
    // Dropping it sends the open window.
    drop(hostgauge);
}

#[test]
fn a_programs_own_counter_histogram_and_gauge_arrive_as_what_they_are() {
    if std::env::var_os(PROGRAM).is_some() {
        return program();
    }
    let account = Account::open();
    let mut program = Command::new(std::env::current_exe().expect("this test"));
    program.args(["--exact", "a_programs_own_counter_histogram_and_gauge_arrive_as_what_they_are"]);
    let settings = account.command(&[]);
    program.env_clear().envs(settings.get_envs().filter_map(|(name, value)| Some((name, value?)))).env(PROGRAM, "1");
    let ended = support::agent::run(&mut program, "");
    assert!(ended.status.success() && ended.stdout.contains("1 passed"), "{ended:?}");

    let calls = account.stored();
    let all: Vec<&Datum> = calls.iter().flat_map(|call| &call.metric_data).collect();
    let of = |name: &str| {
        let found: Vec<&Datum> = all.iter().copied().filter(|datum| datum.metric_name == name).collect();
        assert_eq!(found.len(), 1, "{name}: {all:?}");
        found[0]
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());

    let counter = of("jobs_done_total");
    assert_eq!((counter.value, counter.unit.as_deref()), (Some(10.0), Some("Count")));
    assert_eq!(counter.dimensions, [pair("Host", "h"), pair("queue", "q"), pair("zone", "z")]);
    assert_eq!(counter.statistic_values, None);

    let histogram = of("job_seconds");
    let set = StatisticSet { sample_count: 4.0, sum: 9.0, minimum: 0.25, maximum: 8.0 };
    assert_eq!((histogram.statistic_values, histogram.unit.as_deref()), (Some(set), Some("Seconds")));
    assert_eq!(
        (&histogram.values[..], histogram.counts.as_deref()),
        (&[0.25, 0.5, 8.0][..], Some(&[2.0, 1.0, 1.0][..]))
    );

    let gauge = of("queue_depth");
    let set = StatisticSet { sample_count: 2.0, sum: 8.0, minimum: 3.0, maximum: 5.0 };
    assert_eq!((gauge.statistic_values, gauge.unit.as_deref()), (Some(set), Some("None")));
    assert_eq!(gauge.dimensions, [pair("Host", "h")]);

    assert!(all.iter().all(|datum| datum.metric_name != "unlisted"), "each series is billed, so nothing else goes");
    assert!(all.iter().any(|datum| datum.metric_name == "CPUUtilization"), "beside the catalogue's own");
}
