//! A program's counters and histograms: metrics-exporter-prometheus, behind what the page needs of it.
//!
//! Bucketing, quantiles and name rules are its craft. hostgauge itself has gauges only, so an agent that runs by itself
//! does without: [`make`] is the one way here, and where nobody names it the linker leaves all of it out, and libm too.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// Where histograms without buckets of their own are counted, in seconds: Prometheus' own default. Without buckets each
/// would be a rolling summary, 195 us and 330 kB per scrape.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What the page asks of whoever keeps counters and histograms.
pub(super) trait ProgramMetrics: Recorder + fmt::Debug + Send + Sync {
    /// Their families, as text.
    fn render(&self) -> String;

    /// Folds what histograms have recorded into their buckets.
    fn upkeep(&self);
}

/// Makes one whose series carry the given labels.
pub(super) type Make = fn(&[(String, String)]) -> Result<Box<dyn ProgramMetrics>, BuildError>;

pub(super) fn make(labels: &[(String, String)]) -> Result<Box<dyn ProgramMetrics>, BuildError> {
    let mut builder = PrometheusBuilder::new().set_buckets(&BUCKETS)?;
    for (name, value) in labels {
        builder = builder.add_global_label(name, value);
    }
    let recorder = builder.build_recorder();
    Ok(Box::new(Exporter { handle: recorder.handle(), recorder, used: AtomicBool::new(false) }))
}

#[derive(Debug)]
struct Exporter {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    /// Whether there is anything to render.
    used: AtomicBool,
}

impl ProgramMetrics for Exporter {
    fn render(&self) -> String {
        if self.used.load(Ordering::Relaxed) { self.handle.render() } else { String::new() }
    }

    fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl Recorder for Exporter {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_counter(key, unit, description);
    }

    /// Gauges stay with the page.
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.used.store(true, Ordering::Relaxed);
        self.recorder.register_counter(key, metadata)
    }

    /// Gauges stay with the page.
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.used.store(true, Ordering::Relaxed);
        self.recorder.register_histogram(key, metadata)
    }
}
