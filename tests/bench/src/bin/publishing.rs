//! What publishing to CloudWatch costs in CPU: per window recorded, closed and spooled, and per request sent. The real
//! window stage and the real publisher, over plain HTTP to our double in a process of its own; the floor is the bare
//! AWS SDK putting the same data, in turn with it.
//!
//! `cargo build --release -p hostgauge-cloudwatch-double` first, then
//! `cargo run --release -p hostgauge-bench --features publishing --bin publishing -- [ROUNDS]`

#[path = "../clock.rs"]
mod clock;
#[allow(dead_code, reason = "shared with the driver, which needs all of it")]
#[path = "../process.rs"]
mod process;

use std::{
    env, fs,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_sdk_cloudwatch::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit, StatisticSet};
use hostgauge_exporters::{
    cloudwatch::{Publisher, Settings},
    publication::{Labels, Publication, Published},
    windows::{Keep, Window, WindowSeries, Windows},
};
use metrics::{Key, Label, Level, Metadata, Recorder, Unit};
use process::Scratch;

/// The shortest time between the requests of a publisher, so a round lasts no longer.
const PERIOD: Duration = Duration::from_secs(10);
/// Samples of each series in a window, as in a minute at 1 Hz.
const VALUES: usize = 60;
const METRIC: &str = "bench_percent";
/// Who sends one to three seconds after a period's end, by the publisher's phase.
const HOST: &str = "bench/algo-5";
const PATIENCE: Duration = Duration::from_secs(15);

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match &arguments[..] {
        [url, series, rounds, spool] => measure(url, number(series), number(rounds), Path::new(spool)),
        [rounds] => drive(number(rounds)),
        _ => drive(5),
    };
    if let Err(error) = result {
        eprintln!("publishing: {error}");
        std::process::exit(1);
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

/// Starts the double, and this program once more for each number of series.
fn drive(rounds: usize) -> Result<(), String> {
    let scratch = Scratch::new()?;
    let program = env::current_exe().map_err(|e| e.to_string())?;
    let log = scratch.path().join("double");
    let mut double = process::spawn(&mut Command::new(program.with_file_name("cloudwatch-double")), &scratch, &log)?;
    let url = process::poll(PATIENCE, || {
        fs::read_to_string(&log).ok()?.split_once('\n').map(|(url, _)| url.to_owned()).filter(|url| !url.is_empty())
    });
    let url = url.ok_or("the double does not say where it listens")?;
    println!(
        "| series | record, ns a sample | close, us | spool, us | send, us | requests | bytes | gzip | SDK alone, us | \
         send to SDK alone | all to SDK alone |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    for series in [25, 250, 2500] {
        let mut command = process::command(&program);
        command.args([&url, &series.to_string(), &rounds.to_string()]).arg(scratch.path().join(format!("{series}")));
        command.env("AWS_ENDPOINT_URL", &url).env("AWS_REGION", "eu-central-1").env("HOME", scratch.path());
        command.env("AWS_ACCESS_KEY_ID", "any").env("AWS_SECRET_ACCESS_KEY", "any").env("NO_PROXY", "127.0.0.1");
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        let time = PERIOD * (rounds as u32 + 3);
        let row = process::output(&mut command, &scratch, time)?;
        print!("{row}");
    }
    println!("\nLeast of {rounds} rounds, in brackets the median.");
    process::stop(&mut double, libc::SIGTERM).map(drop)
}

/// One number of series, in a process of its own: a row of the table.
fn measure(url: &str, series: usize, rounds: usize, spool: &Path) -> Result<(), String> {
    let windows = Windows::new([METRIC], [(PERIOD, Keep::Values)]);
    let gauges: Vec<_> = (0..series)
        .map(|n| {
            let key = Key::from_parts(METRIC, vec![Label::new("device", format!("device-{n}"))]);
            windows.register_gauge(&key, &Metadata::new("bench", Level::INFO, None))
        })
        .collect();
    let published = Published { name: METRIC.into(), unit: Some(Unit::Percent), labels: Labels::All };
    let publication = Publication::new("hostgauge/Bench", vec![("Host".into(), HOST.into())]);
    let publisher = Publisher::start(Settings {
        publication: publication.metric(METRIC, published),
        period: PERIOD,
        host: HOST.into(),
        spool: Some(spool.into()),
        spool_max_bytes: 100_000_000,
    })
    .map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let bare = bare(url);
    let mut noise = Noise(1);
    let mut costs = [(); 5].map(|()| Vec::new());
    let mut sizes = (0, 0, 0);
    // The first round connects and reads root certificates, which later ones do not.
    for round in 0..=rounds {
        let end = before_next_period();
        let mut record = 0.0;
        windows.advance(end - PERIOD / 2, |_| ());
        for _ in 0..VALUES {
            let values: Vec<f64> = gauges.iter().map(|_| noise.next()).collect();
            record += ours(|| gauges.iter().zip(values).for_each(|(gauge, value)| gauge.set(value)));
        }
        let mut window = None;
        let close = ours(|| windows.advance(end, |closed| window = Some(closed.clone())));
        let window = window.ok_or("no window was closed")?;
        if window.series.len() != series || window.series.iter().any(|series| series.statistics.count() < 60) {
            return Err(format!("a window of {} series", window.series.len()));
        }
        let before = publisher.status();
        let all = series as u64;
        let spool = theirs(|| {
            publisher.take(&window);
            wait("spool", || publisher.status().totals.taken == before.totals.taken + all)
        })?;
        let send = theirs(|| wait("send", || publisher.status().totals.published == before.totals.published + all))?;
        let after = publisher.status();
        let requests = (after.requests.values().sum::<u64>() - before.requests.values().sum::<u64>()) as usize;
        sizes = (requests, after.uncompressed_bytes - before.uncompressed_bytes, after.sent_bytes - before.sent_bytes);
        sleep(Duration::from_secs(1));
        let us = [std::process::id()];
        let start = clock::cpu_us(&us)?;
        for part in window.series.chunks(series.div_ceil(requests)) {
            let data = part.iter().map(|series| datum(&window, series)).collect();
            let call = bare.put_metric_data().namespace("hostgauge/Bench").set_metric_data(Some(data)).send();
            runtime.block_on(call).map_err(|e| format!("the bare SDK: {:?}", e.into_service_error()))?;
        }
        let alone = clock::cpu_us(&us)? - start;
        if round > 0 {
            let samples = (series * VALUES) as f64;
            for (all, cost) in costs.iter_mut().zip([record * 1e3 / samples, close, spool, send, alone]) {
                all.push(cost);
            }
        }
    }
    publisher.finish(PATIENCE);
    let [record, close, spool, send, alone] = costs.map(|mut all| {
        all.sort_by(f64::total_cmp);
        (all[0], all[all.len() / 2])
    });
    let (requests, raw, gzip) = sizes;
    let cell = |(least, median): (f64, f64)| format!("{least:.0} ({median:.0})");
    let samples = (series * VALUES) as f64;
    let sum = |of: fn((f64, f64)) -> f64| of(record) * samples / 1e3 + of(close) + of(spool) + of(send);
    println!(
        "| {series} | {:.1} ({:.1}) | {} | {} | {} | {requests} | {raw} | {gzip} | {} | {:.2} ({:.2}) | \
         {:.2} ({:.2}) |",
        record.0,
        record.1,
        cell(close),
        cell(spool),
        cell(send),
        cell(alone),
        send.0 / alone.0,
        send.1 / alone.1,
        sum(|(least, _)| least) / alone.0,
        sum(|(_, median)| median) / alone.1,
    );
    Ok(())
}

/// Sleeps until shortly before a period ends, and tells when that is.
fn before_next_period() -> SystemTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let into = Duration::from_nanos((now.as_nanos() % PERIOD.as_nanos()) as u64);
    let lead = Duration::from_millis(1500);
    let rest = PERIOD - into;
    sleep(rest.saturating_sub(lead));
    UNIX_EPOCH + now + rest
}

/// CPU of this thread in `work`, in microseconds.
fn ours(work: impl FnOnce()) -> f64 {
    let start = thread_us();
    work();
    thread_us() - start
}

/// CPU of all other threads in `work`, in microseconds.
fn theirs(work: impl FnOnce() -> Result<(), String>) -> Result<f64, String> {
    let us = [std::process::id()];
    let (all, this) = (clock::cpu_us(&us)?, thread_us());
    work()?;
    Ok((clock::cpu_us(&us)? - all) - (thread_us() - this))
}

fn thread_us() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to one timespec, and every thread has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

fn wait(what: &str, done: impl Fn() -> bool) -> Result<(), String> {
    process::poll(PATIENCE, || done().then_some(())).ok_or(format!("waited {PATIENCE:?} for {what}"))
}

fn bare(url: &str) -> aws_sdk_cloudwatch::Client {
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-central-1"))
        .credentials_provider(Credentials::new("any", "any", None, None, "bench"))
        .endpoint_url(url);
    aws_sdk_cloudwatch::Client::from_conf(config.build())
}

/// The same datum that the publisher makes of it.
fn datum(window: &Window, series: &WindowSeries) -> MetricDatum {
    let set = &series.statistics;
    let statistics = StatisticSet::builder()
        .sample_count(set.count() as f64)
        .sum(set.sum())
        .minimum(set.minimum().unwrap_or_default())
        .maximum(set.maximum().unwrap_or_default());
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    let labels = series.key.labels().map(|label| dimension(label.key(), label.value()));
    MetricDatum::builder()
        .metric_name(METRIC)
        .set_dimensions(Some([dimension("Host", HOST)].into_iter().chain(labels).collect()))
        .timestamp(DateTime::from(window.start))
        .unit(StandardUnit::Percent)
        .storage_resolution(60)
        .statistic_values(statistics.build())
        .set_values(Some(series.values.iter().map(|(value, _)| *value).collect()))
        .set_counts(Some(series.values.iter().map(|(_, count)| *count as f64).collect()))
        .build()
}

/// Percent with every digit in use, the worst for gzip; the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64 * 100.0
    }
}
