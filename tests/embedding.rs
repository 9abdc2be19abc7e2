//! The library inside a program: recorders combined, collectors of its own, and what a call that never returns may
//! cost.
#![allow(clippy::expect_used, reason = "helpers of tests fail by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hostgauge::{Builder, CollectError, Collector, Error, Hostgauge, Kind, Metric, Reason, Sample};

const TICK: Duration = Duration::from_millis(100);

static DEPTH: Metric = Metric {
    name: "test_depth",
    cloudwatch: None,
    kind: Kind::Gauge,
    unit: metrics::Unit::Count,
    range: "0..",
    labels: &[],
    help: "A test's own figure.",
    source: "the test",
    absent: "the test says so",
    window_of: None,
};

/// A collector whose readings the test steers.
struct Steered {
    blocks: bool,
    read: Box<dyn FnMut() -> Result<f64, CollectError> + Send>,
}

impl Collector for Steered {
    fn name(&self) -> &'static str {
        "steered"
    }

    fn may_block(&self) -> bool {
        self.blocks
    }

    fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        out.push(Sample::new(&DEPTH, (self.read)()?));
        Ok(())
    }
}

fn start(blocks: bool, read: impl FnMut() -> Result<f64, CollectError> + Send + 'static) -> Hostgauge {
    let collector = Steered { blocks, read: Box::new(read) };
    let (_, hostgauge) = Builder::new().host("h").interval(TICK).collector(collector).build().expect("it starts");
    hostgauge
}

/// One whose readings hang for as long as the flag is up.
fn start_that_can_wedge(blocks: bool) -> (Arc<AtomicBool>, Hostgauge) {
    let wedged = Arc::new(AtomicBool::new(false));
    let steered = Arc::clone(&wedged);
    let hostgauge = start(blocks, move || {
        while steered.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(7.0)
    });
    (wedged, hostgauge)
}

/// The value on the page of the series that starts with `head`.
fn value(hostgauge: &Hostgauge, head: &str) -> Option<f64> {
    let page = hostgauge.page();
    let line = page.lines().find(|line| line.starts_with(head))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited 20 s for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_failed_reading_is_absent_with_its_reason_and_comes_back() {
    let broken = Arc::new(AtomicBool::new(true));
    let steered = Arc::clone(&broken);
    let hostgauge = start(false, move || match steered.load(Ordering::Relaxed) {
        true => Err(CollectError::new(Reason::Denied, "the test says no")),
        false => Ok(7.0),
    });
    let success = r#"hostgauge_collector_success{Host="h",collector="steered"}"#;
    let denied = r#"hostgauge_collector_failure{Host="h",collector="steered",reason="denied"}"#;
    wait_until("a failure", || value(&hostgauge, success) == Some(0.0));
    assert_eq!((value(&hostgauge, denied), value(&hostgauge, "test_depth")), (Some(1.0), None));
    wait_until("the CPU beside it", || value(&hostgauge, "hostgauge_cpu_utilization_percent").is_some());
    broken.store(false, Ordering::Relaxed);
    wait_until("recovery", || value(&hostgauge, "test_depth") == Some(7.0));
    assert_eq!((value(&hostgauge, success), value(&hostgauge, denied)), (Some(1.0), None));
    broken.store(true, Ordering::Relaxed);
    wait_until("absence instead of the last good value", || value(&hostgauge, "test_depth").is_none());
}

#[test]
fn a_call_that_never_returns_stops_nothing_else() {
    let (wedged, hostgauge) = start_that_can_wedge(true);
    wait_until("the first reading", || value(&hostgauge, "test_depth") == Some(7.0));
    wedged.store(true, Ordering::Relaxed);
    let timed_out = r#"hostgauge_collector_failure{Host="h",collector="steered",reason="timed_out"}"#;
    wait_until("the watchdog", || value(&hostgauge, timed_out) == Some(1.0));
    assert_eq!(value(&hostgauge, "test_depth"), None, "never the last good value");
    let busy = || value(&hostgauge, "hostgauge_process_cpu_seconds_total");
    let before = busy();
    wait_until("ticks of the others", || busy() > before && busy().is_some());
    assert!(hostgauge.is_ready());

    wedged.store(false, Ordering::Relaxed);
    wait_until("its return", || value(&hostgauge, "test_depth") == Some(7.0));
    wait_until("a clean bill of health", || value(&hostgauge, timed_out).is_none());
    wedged.store(true, Ordering::Relaxed);
    wait_until("the watchdog again", || value(&hostgauge, timed_out) == Some(1.0));
    let stop = Instant::now();
    drop(hostgauge);
    assert!(stop.elapsed() < Duration::from_secs(5), "a wedged call held up the stop for {:?}", stop.elapsed());
    wedged.store(false, Ordering::Relaxed);
}

#[test]
fn a_shared_thread_that_wedges_is_seen_on_the_page() {
    let (wedged, hostgauge) = start_that_can_wedge(false);
    wait_until("readiness", || hostgauge.is_ready());
    wedged.store(true, Ordering::Relaxed);
    wait_until("absence", || value(&hostgauge, "hostgauge_memory_used_bytes").is_none());
    assert!(!hostgauge.is_ready());
    assert_eq!(value(&hostgauge, r#"hostgauge_collector_success{Host="h",collector="cpu"}"#), Some(0.0));
    wedged.store(false, Ordering::Relaxed);
    wait_until("its return", || hostgauge.is_ready() && value(&hostgauge, "hostgauge_memory_used_bytes").is_some());
}

#[test]
fn it_stops_at_once_however_long_the_interval() {
    let (_, hostgauge) = Builder::new().interval(Duration::from_secs(60)).build().expect("it starts");
    std::thread::sleep(Duration::from_millis(100)); // past the base reading
    let stop = Instant::now();
    drop(hostgauge);
    assert!(stop.elapsed() < Duration::from_secs(2), "{:?}", stop.elapsed());
}

#[test]
fn the_returned_recorder_takes_the_programs_own_metrics() {
    let (recorder, hostgauge) = Builder::new().host("h").build().expect("it starts");
    metrics::with_local_recorder(&recorder, || {
        metrics::gauge!("jobs", "queue" => "a").set(2.0);
        metrics::counter!("done_total").increment(3);
        metrics::histogram!("took_seconds").record(0.2);
    });
    wait_until("the program's own series", || hostgauge.page().contains("took_seconds_count{Host=\"h\"} 1"));
    assert_eq!(value(&hostgauge, r#"jobs{Host="h",queue="a"}"#), Some(2.0));
    assert_eq!(value(&hostgauge, "done_total"), Some(3.0));
}

#[test]
fn the_page_is_served_without_a_runtime_of_the_program() {
    let free: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let (_, hostgauge) = Builder::new().listen(free).build().expect("it starts");
    let address = hostgauge.address().expect("it listens");
    let taken = Builder::new().listen(address).build().map(|_| ());
    assert!(matches!(taken, Err(Error::Listen(at, _)) if at == address), "{taken:?}");
    drop(hostgauge);
    std::net::TcpListener::bind(address).expect("dropping it frees the port");
}

#[test]
fn what_cannot_be_kept_is_refused() {
    for (builder, expected) in [
        (Builder::new().interval(Duration::from_millis(99)), "100ms to 60s"),
        (Builder::new().interval(Duration::from_secs(61)), "100ms to 60s"),
        (Builder::new().host("a\nb"), "control characters"),
    ] {
        let Err(error) = builder.build() else { panic!("expected: {expected}") };
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// Finds nothing at first, and something after each rest; what it must not forget it wants to read in between.
struct Rests {
    readings: u32,
    kept: Arc<AtomicU32>,
}

impl Collector for Rests {
    fn name(&self) -> &'static str {
        "rests"
    }

    fn may_block(&self) -> bool {
        true
    }

    fn rest(&self) -> Option<Duration> {
        (self.readings == 1).then_some(Duration::from_secs(3))
    }

    fn forgets_after(&self) -> Option<Duration> {
        Some(2 * TICK)
    }

    fn keep_up(&mut self) {
        self.kept.fetch_add(1, Ordering::Relaxed);
    }

    fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        self.readings += 1;
        if self.rest().is_none() {
            out.push(Sample::new(&DEPTH, f64::from(self.readings)));
        }
        Ok(())
    }
}

#[test]
fn a_collector_with_nothing_to_read_is_left_alone_and_asked_again() {
    let kept = Arc::new(AtomicU32::new(0));
    let collector = Rests { readings: 0, kept: Arc::clone(&kept) };
    let (_, hostgauge) = Builder::new().host("h").interval(TICK).collector(collector).build().expect("it starts");
    let begun = Instant::now();
    wait_until("a sample after the rest", || {
        let seen = value(&hostgauge, "test_depth").is_some();
        assert!(
            seen || !hostgauge.page().contains("\"rests\""),
            "no health of what is not there: {}",
            hostgauge.page()
        );
        seen
    });
    assert!(begun.elapsed() > Duration::from_secs(2), "longer than the patience with a thread that hangs");
    wait_until("the next ticks", || value(&hostgauge, "test_depth").is_some_and(|readings| readings > 4.0));
    assert_eq!(value(&hostgauge, "hostgauge_collector_success{Host=\"h\",collector=\"rests\"}"), Some(1.0));
    assert_eq!(kept.load(Ordering::Relaxed), 0, "ticks come as often as it wants to read");
}

#[test]
fn what_a_source_would_forget_is_read_between_the_ticks() {
    let kept = Arc::new(AtomicU32::new(0));
    let collector = Rests { readings: 1, kept: Arc::clone(&kept) };
    let slow = Builder::new().host("h").interval(Duration::from_secs(60)).collector(collector);
    let (_, hostgauge) = slow.build().expect("it starts");
    wait_until("a few readings in between", || kept.load(Ordering::Relaxed) > 3);
    drop(hostgauge);
}
