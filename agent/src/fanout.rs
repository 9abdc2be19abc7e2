//! One recorder that passes everything on to several.
//!
//! `metrics_util` has one too, but it cannot be sent to another thread, which a recorder behind an `Arc` must be.

use std::sync::Arc;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// A recorder that threads can share.
pub(crate) type SharedRecorder = Arc<dyn Recorder + Send + Sync>;

pub(crate) struct Fanout(pub(crate) Vec<SharedRecorder>);

struct All<T>(Box<[T]>);

impl Fanout {
    fn all<T>(&self, register: impl Fn(&SharedRecorder) -> T) -> Arc<All<T>> {
        Arc::new(All(self.0.iter().map(register).collect()))
    }
}

impl Recorder for Fanout {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.0.iter().for_each(|to| to.describe_counter(key.clone(), unit, description.clone()));
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.0.iter().for_each(|to| to.describe_gauge(key.clone(), unit, description.clone()));
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.0.iter().for_each(|to| to.describe_histogram(key.clone(), unit, description.clone()));
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.all(|to| to.register_counter(key, metadata)))
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.all(|to| to.register_gauge(key, metadata)))
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.all(|to| to.register_histogram(key, metadata)))
    }
}

impl CounterFn for All<Counter> {
    fn increment(&self, value: u64) {
        self.0.iter().for_each(|to| to.increment(value));
    }

    fn absolute(&self, value: u64) {
        self.0.iter().for_each(|to| to.absolute(value));
    }
}

impl GaugeFn for All<Gauge> {
    fn increment(&self, value: f64) {
        self.0.iter().for_each(|to| to.increment(value));
    }

    fn decrement(&self, value: f64) {
        self.0.iter().for_each(|to| to.decrement(value));
    }

    fn set(&self, value: f64) {
        self.0.iter().for_each(|to| to.set(value));
    }
}

impl HistogramFn for All<Histogram> {
    fn record(&self, value: f64) {
        self.0.iter().for_each(|to| to.record(value));
    }
}
