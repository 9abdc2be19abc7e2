//! The real binary against a strict double of CloudWatch.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

#[path = "cloudwatch/agreement.rs"]
mod agreement;
#[path = "cloudwatch/faults.rs"]
mod faults;
#[path = "cloudwatch/stops.rs"]
mod stops;
mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use hostgauge_cloudwatch_double::{Fault, PutMetricData, Request};
use serde_json::Value;

use support::Agent;
use support::agent::run;
use support::cloudwatch::{
    A_ROUND, Account, EACH_SECOND, HOST, Ledger, NAMESPACE, SECRETS, datum, start, stop, stop_after_samples,
    wait_for_samples,
};
use support::procfs::Procfs;
use support::reserved::{REFUSING, Reserved};
use support::wait::{SOON, next_second, wait_for_room, wait_until, wall};

const DOCUMENTED: [&str; 3] = ["CPUUtilization", "DiskUtilization", "MemoryUtilization"];
/// A service that does not answer costs ten seconds a request: whoever takes less did not wait for it.
const AT_ONCE: Duration = Duration::from_secs(5);

fn names(call: &PutMetricData) -> Vec<&str> {
    let mut names: Vec<&str> = call.metric_data.iter().map(|datum| datum.metric_name.as_str()).collect();
    names.sort_unstable();
    names
}

/// Dimensions as they are sent.
fn dimensions(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_documented_metrics_arrive_with_every_sample_in_their_statistics() {
    let (account, procfs) = (Account::open(), Procfs::copy_of("two-cores"));
    let agent = account.start(&["--procfs", procfs.path(), "--interval", "100ms", "--cloudwatch-period", "10s"]);
    let percent = "hostgauge_memory_utilization_percent";
    let low = agent.wait_for(SOON, "a low level", |page| page.get(percent, &[]));
    agent.next_tick();
    procfs.put("meminfo", "lxc");
    let high = agent.wait_for(SOON, "a high level", |page| page.get(percent, &[]).filter(|level| *level != low));
    agent.wait_for(SOON, "the disk", |page| page.get("hostgauge_disk_utilization_percent", &[]));
    agent.next_tick();
    let from = wall().as_millis() as u64;
    let (log, ledger) = stop(agent);
    assert!(log.contains(&format!("publishing {NAMESPACE}, each 10s, to CloudWatch; spool ")), "{log}");

    let calls = account.stored();
    assert!(calls.iter().all(|call| call.namespace == NAMESPACE), "{calls:?}");
    let data: Vec<_> = calls.iter().flat_map(|call| &call.metric_data).collect();
    assert_eq!((ledger.taken, ledger.published), (data.len() as u64, data.len() as u64), "{log}");
    let mut seen: Vec<&str> = data.iter().map(|datum| datum.metric_name.as_str()).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, ["DiskUtilization", "MemoryUtilization"], "the processors stand still: no percentage");
    for datum in &data {
        assert_eq!(datum.dimensions, dimensions(&[("Host", HOST)]));
        assert_eq!((datum.unit.as_deref(), datum.storage_resolution), (Some("Percent"), Some(60)));
        let start = start(datum);
        assert!(start.is_multiple_of(10_000) && start <= from, "{start}");
    }

    // Two levels of memory and nothing between: whatever the tick of the change, all the rest follows.
    let memory: Vec<_> = data.iter().filter(|datum| datum.metric_name == "MemoryUtilization").collect();
    let mut counts = [0.0; 2];
    for datum in &memory {
        let set = datum.statistic_values.expect("exact statistics");
        let samples = datum.counts.as_ref().expect("counts");
        let levels = datum.values.iter().zip(samples);
        let sum: f64 = levels.clone().map(|(value, count)| value * count).sum();
        assert!((set.sum - sum).abs() < 1e-9 * sum, "{datum:?}");
        assert_eq!(set.sample_count, samples.iter().sum::<f64>());
        assert_eq!((Some(&set.minimum), Some(&set.maximum)), (datum.values.first(), datum.values.last()));
        for (value, count) in levels {
            let level = [low, high].iter().position(|level| level == value);
            counts[level.unwrap_or_else(|| panic!("{value} is neither {low} nor {high}"))] += count;
        }
    }
    assert!(counts.iter().all(|samples| *samples >= 2.0), "{counts:?}");

    // What a person reads there: Average, Minimum, Maximum, SampleCount, and percentiles.
    let (begin, hour) = (UNIX_EPOCH + Duration::from_millis(start(memory[0])), Duration::from_secs(3600));
    let dimensions = [("Host", HOST)];
    let points = account.double.statistics(NAMESPACE, "MemoryUtilization", &dimensions, hour, begin..begin + hour);
    let read = &points.first().expect("a point").statistics;
    // Unless an hour ended meanwhile.
    if points.len() == 1 {
        assert_eq!((read.minimum, read.maximum, read.sample_count), (low, high, counts[0] + counts[1]));
        let average = (low * counts[0] + high * counts[1]) / (counts[0] + counts[1]);
        assert!((read.average() - average).abs() < 1e-9, "{} is not {average}", read.average());
        assert_eq!((read.percentile(1.0), read.percentile(99.9)), (Some(low), Some(high)));
    }
}

/// What one way of publishing promises of its requests.
type Promise = fn(&PutMetricData);

#[test]
fn kinds_of_jobs_forms_and_names_are_as_asked_for() {
    let usual: Promise = |call| {
        assert_eq!((call.namespace.as_str(), names(call)), (NAMESPACE, DOCUMENTED.to_vec()));
        call.metric_data.iter().for_each(|datum| assert_eq!(datum.dimensions, dimensions(&[("Host", HOST)])));
    };
    let average: Promise = |call| {
        for datum in &call.metric_data {
            let plain = (datum.statistic_values, datum.values.len(), datum.counts.as_ref());
            assert!(datum.value.is_some() && plain == (None, 0, None), "{datum:?}");
        }
    };
    let high_resolution: Promise =
        |call| assert!(call.metric_data.iter().all(|datum| datum.storage_resolution == Some(1)), "{call:?}");
    let endpoint: Promise = |call| {
        assert_eq!((call.namespace.as_str(), names(call)), ("/aws/sagemaker/Endpoints", DOCUMENTED.to_vec()));
        let expected = dimensions(&[("EndpointName", "e"), ("VariantName", "AllTraffic")]);
        call.metric_data.iter().for_each(|datum| assert_eq!(datum.dimensions, expected));
    };
    let transform: Promise = |call| {
        assert_eq!(call.namespace, "/aws/sagemaker/TransformJobs");
        assert_eq!(names(call), ["CPUUtilization", "MemoryUtilization"]);
    };
    let inside: Promise = |call| assert_eq!(call.namespace, "hostgauge/TrainingJobs");
    let minute = &["--cloudwatch-period", "60s"][..];
    let with = |more: &[&'static str]| [minute, more].concat();
    let arn: Option<(&str, &str)> = Some(("TRAINING_JOB_ARN", "arn:aws:sagemaker:eu-central-1:1:training-job/x"));
    let kinds: [(Vec<&str>, _, Promise); 8] = [
        (minute.to_vec(), None, usual),
        (with(&["--cloudwatch-statistics", "average"]), None, average),
        (EACH_SECOND.to_vec(), None, high_resolution),
        (with(&["--job-kind", "endpoint", "--endpoint-name", "e", "--variant-name", "AllTraffic"]), None, endpoint),
        (with(&["--job-kind", "transform"]), None, transform),
        (minute.to_vec(), arn, inside),
        (with(&["--cloudwatch-namespace", NAMESPACE]), arn, usual),
        (with(&["--cloudwatch-namespace", "Own/Name"]), None, |call| assert_eq!(call.namespace, "Own/Name")),
    ];
    wait_for_room(10, 60);
    thread::scope(|scope| {
        for (args, variable, promise) in &kinds {
            scope.spawn(move || {
                let account = Account::open();
                let mut command = account.command(args);
                command.envs(*variable);
                let (log, ledger) = stop_after_samples(Agent::spawn(command));
                assert_eq!(
                    log.contains("this is SageMaker (TRAINING_JOB_ARN)"),
                    log.contains("hostgauge/TrainingJobs")
                );
                let calls = account.stored();
                let data = calls.iter().map(|call| call.metric_data.len() as u64).sum();
                assert_eq!((ledger.published, ledger.taken), (data, data), "{args:?}: {log}");
                assert!(data > 0, "{args:?}: {log}");
                // A window that had no tick of some collector has no datum of its metrics: the last one has all.
                let whole = calls.iter().max_by_key(|call| call.metric_data.len()).expect("a request");
                promise(whole);
            });
        }
    });
}

#[test]
fn a_counter_is_published_as_its_increase() {
    let (account, procfs) = (Account::open(), Procfs::copy_of("two-cores"));
    procfs.cpu(&[(0, 1000, 0, 0, 0), (1, 500, 0, 0, 0)]);
    let counter = "hostgauge_cpu_seconds_total";
    let args = ["--procfs", procfs.path(), "--cloudwatch-metric", counter, "--interval", "100ms"];
    let agent = account.start(&[&args, &EACH_SECOND[..]].concat());
    agent.wait_for(SOON, "the first reading", |page| page.get(counter, &[]).filter(|seconds| *seconds == 15.0));
    // An increase is that over the period before, so one must have ended.
    next_second();
    agent.next_tick();
    procfs.cpu(&[(0, 1250, 100, 0, 0), (1, 600, 100, 0, 0)]);
    agent.wait_for(SOON, "the second reading", |page| page.get(counter, &[]).filter(|seconds| *seconds == 18.5));
    let (log, _) = stop(agent);
    let calls = account.stored();
    let data: Vec<_> = calls.iter().flat_map(|call| &call.metric_data).collect();
    let increases: Vec<_> = data.iter().filter(|datum| datum.metric_name == counter).collect();
    assert!(increases.iter().all(|datum| datum.unit.as_deref() == Some("Seconds")), "{increases:?}");
    let sum: f64 = increases.iter().map(|datum| datum.value.expect("a plain value")).sum();
    assert_eq!(sum, 3.5, "{increases:?} {log}");
}

/// At one tick a second the base reading and the first tick lie in different seconds, so the base is of a window before.
#[test]
fn what_a_counter_grew_by_before_the_first_tick_is_published() {
    let (account, procfs) = (Account::open(), Procfs::copy_of("two-cores"));
    procfs.cpu(&[(0, 1000, 0, 0, 0), (1, 500, 0, 0, 0)]);
    let counter = "hostgauge_cpu_seconds_total";
    let args = ["--procfs", procfs.path(), "--cloudwatch-metric", counter, "--interval", "1s"];
    let agent = account.start(&[&args, &EACH_SECOND[..]].concat());
    agent.wait_for(SOON, "the base reading", |page| page.get(counter, &[]).filter(|seconds| *seconds == 15.0));
    procfs.cpu(&[(0, 1250, 100, 0, 0), (1, 600, 100, 0, 0)]);
    agent.wait_for(SOON, "the first tick", |page| page.get(counter, &[]).filter(|seconds| *seconds == 18.5));
    let (log, _) = stop(agent);
    let calls = account.stored();
    let increases = calls.iter().flat_map(|call| &call.metric_data).filter(|datum| datum.metric_name == counter);
    let sum: f64 = increases.map(|datum| datum.value.expect("a plain value")).sum();
    assert_eq!(sum, 3.5, "{log}");
}

const KEYS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

fn without<'a>(command: &'a mut Command, variables: &[&str]) -> &'a mut Command {
    variables.iter().fold(command, |command, name| command.env_remove(name))
}

/// An agent that must not start.
fn refused(command: &mut Command, words: &[&str]) {
    let begin = Instant::now();
    let ended = run(command, "");
    let said = &ended.stderr;
    assert_eq!(ended.status.code(), Some(2), "{command:?}: {ended:?}");
    assert!(begin.elapsed() < AT_ONCE, "{command:?} took {:?}", begin.elapsed());
    assert_eq!(ended.stdout, "", "{command:?}");
    assert!(!said.contains("panicked") && !said.contains("measuring"), "{said}");
    words.iter().for_each(|word| assert!(said.contains(word), "{command:?} does not name {word}: {said}"));
    SECRETS.iter().for_each(|secret| assert!(!said.contains(secret), "{said}"));
}

#[test]
fn what_can_never_work_is_refused_at_the_start() {
    let account = Account::open();
    let home = account.path("").display().to_string();
    let home = home.trim_end_matches('/');
    let long = "h".repeat(1025);
    let missing = account.path("missing/lines.json");
    let missing = missing.to_str().expect("UTF-8");

    // AWS's variables: those that are taken away, and one that is set.
    for (away, set, words) in [
        (
            &["AWS_REGION"][..],
            None,
            &["no AWS region", "AWS_REGION", "AWS_DEFAULT_REGION", home, "AWS_REGION=eu-central-1"][..],
        ),
        (&KEYS, None, &["no AWS credentials", "AWS_ACCESS_KEY_ID is not set", "AWS_WEB_IDENTITY_TOKEN_FILE", home]),
        (&KEYS[1..], None, &["no AWS credentials", "AWS_ACCESS_KEY_ID is set, but not AWS_SECRET_ACCESS_KEY"]),
        (&KEYS, Some(("AWS_PROFILE", "nope")), &["no AWS credentials", "profile nope", home]),
        (&[], Some(("AWS_ENDPOINT_URL", "127.0.0.1:4566")), &["AWS_ENDPOINT_URL=127.0.0.1:4566", "expected a URL"]),
        (&[], Some(("AWS_ENDPOINT_URL", "http://")), &["AWS_ENDPOINT_URL=http://:", "expected a URL"]),
        (&[], Some(("AWS_ENDPOINT_URL", "ftp://127.0.0.1")), &["AWS_ENDPOINT_URL=ftp://127.0.0.1", "expected a URL"]),
    ] {
        let mut command = account.command(&[]);
        without(&mut command, away).envs(set);
        refused(&mut command, words);
    }
    for (args, words) in [
        (&["--host", "h\u{f6}st"][..], &["Host", "h\u{f6}st", "ASCII"][..]),
        (&["--host", &long], &["1024"]),
        (&["--cloudwatch-namespace", "AWS/SageMaker"], &["namespace", "AWS/SageMaker", "reserves", "expected"]),
        (&["--cloudwatch-namespace", "a b\u{f6}"], &["cloudwatch-namespace", "expected"]),
        (&["--cloudwatch-namespace", "a;b"], &["namespace", "a;b", "expected letters"]),
        (&["--cloudwatch-period", "7s"], &["cloudwatch-period", "7s", "divides a minute"]),
        (&["--cloudwatch-period", "5s"], &["cloudwatch-period 5s", "10s or more", "cloudwatch-resolution 1"]),
        (&["--interval", "30s", "--cloudwatch-period", "20s"], &["cloudwatch-period 20s", "interval", "30s"]),
        (&["--job-kind", "endpoint"], &["endpoint-name", "variant-name"]),
        (&["--job-kind", "endpoint", "--endpoint-name", "e"], &["endpoint-name", "variant-name", "both"]),
        (&["--emf", missing], &["missing/lines.json", "No such file"]),
        (&["--dry-run", "--emf", "stdout"], &["dry-run", "emf stdout", "expected one"]),
        (&["--spool-dir", "spool"], &["spool-dir", "absolute path, or off"]),
    ] {
        refused(&mut account.command(args), words);
    }
    assert!(account.double.requests().is_empty());

    // The Host's limits are CloudWatch's; Prometheus takes whatever is text.
    let agent = account.start(&["--cloudwatch=false", "--host", "h\u{f6}st"]);
    agent.wait_for(SOON, "series of this Host", |page| {
        page.series.iter().find(|series| series.labels.get("Host").is_some_and(|host| host == "h\u{f6}st")).map(|_| ())
    });
}

#[test]
fn two_agents_never_share_a_spool() {
    let account = Account::open();
    let _first = account.start(&[]);
    let folder = account.path("spool").display().to_string();
    refused(
        &mut account.command(&[]),
        &["spool", &folder, "another agent uses this folder", "give each agent its own"],
    );
}

#[test]
fn a_spool_that_cannot_be_used_is_said_loudly_and_costs_no_window() {
    let account = Account::open();
    // Not even root can make a folder below a file, so this holds whoever runs the tests.
    File::create(account.path("file")).expect("a file");
    let folder = account.path("file/spool");
    let agent = account.start(&["--spool-dir", folder.to_str().expect("UTF-8")]);
    agent.wait_for_log("what is not published is kept in memory, and lost when the agent ends");
    assert!(agent.log().contains("ERROR") && agent.log().contains(folder.to_str().expect("UTF-8")), "{}", agent.log());
    let durable = |agent: &Agent| {
        let labels = [("exporter", "cloudwatch")];
        agent.wait_for(SOON, "its ledger", |page| page.get("hostgauge_delivery_durable", &labels))
    };
    assert_eq!(durable(&agent), 0.0);
    let (log, ledger) = stop_after_samples(agent);
    assert!(ledger.taken > 0 && ledger.published == ledger.taken, "{log}");
    assert_eq!(durable(&account.start(&[])), 1.0);
}

#[test]
fn secrets_are_shown_nowhere() {
    let account = Account::open();
    let clean = |where_: &str, text: &str| {
        assert!(!text.is_empty(), "{where_} is empty");
        for secret in SECRETS {
            let line = text.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{where_} shows {secret}: {}", line.unwrap_or_default());
        }
    };
    let config = run(&mut account.command(&["config"]), "");
    clean("config", &config.stdout);
    // What the service refuses is logged, too. The SDK tells more, but to nobody: it traces, and nobody listens.
    account.double.script([Fault::ExpiredToken, Fault::Throttle]);
    let mut command = account.command(&EACH_SECOND);
    command.env("RUST_LOG", "trace");
    let agent = Agent::spawn(command);
    agent.wait_for(SOON, "a sample", |page| page.sum());
    clean("the page", &agent.next_tick().text);
    let (log, _) = stop(agent);
    assert!(account.double.requests().len() >= 3 && log.contains("ExpiredToken"), "{log}");
    clean("the log", &log);
}

#[test]
fn a_dry_run_shows_the_requests_and_their_price_and_sends_nothing() {
    let account = Account::open();
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    nobody.set_nonblocking(true).expect("a socket");
    let shown = account.path("shown.jsonl");
    let mut command = account.command(&[&["--dry-run"], &EACH_SECOND[..]].concat());
    command.stdout(File::create(&shown).expect("a file"));
    let url = format!("http://{}", nobody.local_addr().expect("an address"));
    command.env("AWS_ENDPOINT_URL", url).env("HOSTGAUGE_CLOUDWATCH", "false");
    without(without(&mut command, &KEYS), &["AWS_REGION"]);
    let mut agent = Agent::spawn(command);
    wait_for_samples(&agent);
    assert_eq!(agent.stop("TERM").0.code(), Some(0));
    let log = agent.log();
    assert!(!log.contains("published"), "nothing was: {log}");
    let connected = nobody.accept().map(drop);
    assert_eq!(connected.map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock), "somebody called");
    assert!(!account.path("spool").exists(), "nothing waits");
    assert!(log.contains("publishing nothing: a rehearsal of"), "{log}");
    let price = log.lines().rev().find(|line| line.contains("dry-run: about $")).expect("a price");
    // Several periods of three series are three metrics.
    for words in ["for 3 metrics", "for 6 requests a minute", "us-east-1 as of 20"] {
        assert!(price.contains(words), "{words}: {price}");
    }

    let text = std::fs::read_to_string(shown).expect("a file");
    let requests: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(!requests.is_empty(), "{log}");
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    for request in &requests {
        // Exactly the members that the AWS CLI knows of PutMetricData: it refuses any other.
        let input = &request["PutMetricData"];
        assert_eq!(keys(input), ["MetricData", "Namespace"]);
        assert_eq!(input["Namespace"], NAMESPACE);
        assert!(request["UncompressedBytes"].as_u64() >= request["SentBytes"].as_u64() && request["SentBytes"] != 0);
        for datum in input["MetricData"].as_array().expect("data") {
            let expected = [
                "Counts",
                "Dimensions",
                "MetricName",
                "StatisticValues",
                "StorageResolution",
                "Timestamp",
                "Unit",
                "Values",
            ];
            assert_eq!(keys(datum), expected);
            assert_eq!(datum["Dimensions"], serde_json::json!([{"Name": "Host", "Value": HOST}]));
            assert_eq!(keys(&datum["StatisticValues"]), ["Maximum", "Minimum", "SampleCount", "Sum"]);
            assert!(
                datum["Timestamp"].as_str().is_some_and(|time| time.ends_with('Z') && time.contains('T')),
                "{datum}"
            );
        }
    }
}

/// A proxy that passes nothing on, and counts what it is asked for in these words.
fn proxy_that_is_out_of_order(words: &'static str) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let asked = Arc::new(AtomicU32::new(0));
    let ours = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut first = String::new();
            // A connection that breaks off asks for nothing.
            let _ = BufReader::new(&stream).read_line(&mut first);
            ours.fetch_add(u32::from(first.starts_with(words)), Ordering::SeqCst);
            let page = "<html><body>out of order</body></html>";
            let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/html\r\nconnection: close\r\n";
            let _ = (&stream).write_all(format!("{head}content-length: {}\r\n\r\n{page}", page.len()).as_bytes());
        }
    });
    (address, asked)
}

#[test]
fn a_proxy_is_asked_and_its_own_trouble_loses_nothing() {
    // Nobody has such a name, so only a proxy can be the one who answers.
    let plain = ("HTTP_PROXY", "http://cloudwatch.invalid", "POST http://cloudwatch.invalid/service/", "status 503");
    let tunnel = ("HTTPS_PROXY", "https://cloudwatch.invalid", "CONNECT cloudwatch.invalid:443 ", "tunnel error");
    thread::scope(|scope| {
        for (variable, endpoint, words, said) in [plain, tunnel] {
            scope.spawn(move || {
                let account = Account::open();
                let (proxy, asked_for) = proxy_that_is_out_of_order(words);
                let mut command = account.command(&[&EACH_SECOND[..], &["--shutdown-timeout", "4s"]].concat());
                command.env("AWS_ENDPOINT_URL", endpoint).env(variable, format!("http://{proxy}"));
                command.env_remove("NO_PROXY");
                let (log, left) = stop_after_samples(Agent::spawn(command));
                assert!(asked_for.load(Ordering::SeqCst) >= 2, "{variable}: tried again: {log}");
                assert!(log.contains(said) && log.contains("are sent again"), "{variable}: {log}");
                let Ledger { taken, published, pending, dropped, ambiguous } = left;
                assert_eq!((published, pending, dropped, ambiguous), (0, taken, 0, 0), "{variable}: {log}");
                next_second();
                let next = account.start(&EACH_SECOND);
                account.wait_for("the backlog", |requests| requests.first().map(|_| ()));
                let (log, ledger) = stop(next);
                let copies = account.copies();
                let stored = copies.len() as u64;
                assert_eq!((stored, ledger.pending, ledger.dropped), (ledger.taken, 0, 0), "{variable}: {log}");
                assert!(stored >= taken && copies.values().all(|copies| *copies == 1), "{variable}: {log}");
            });
        }
    });
}
