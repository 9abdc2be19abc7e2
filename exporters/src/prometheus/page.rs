//! The page: gauges of our own beside the counters and histograms of a program.
//!
//! The latter go to metrics-exporter-prometheus (`program.rs`). Gauges, and with them every sample of hostgauge, stay
//! here, because it cannot do four things that they need: a counter with fractions (its counters are whole numbers), an
//! absent series (it knows last values only), a page in order (it renders hash maps), and a render that costs less than
//! a microsecond a series (it clones every label). Both halves are joined into one page, which is rendered at most once
//! for each update and kept in each form that was asked for.

use std::fmt;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::BuildError;

use super::exposition::foreign_families;
use super::negotiation::{Encoding, Format};
use super::program::{self, ProgramMetrics};
use super::series::Families;

/// How long a page may stand without an update, so that a program's own metrics do not wait for a slow sampler.
const OLDEST: Duration = Duration::from_secs(1);

type Hook = Box<dyn Fn() + Send + Sync>;

/// Makes a [`PageRecorder`] and its [`Page`].
#[derive(Debug, Default)]
pub struct PageBuilder {
    labels: Vec<(String, String)>,
    families: Vec<(String, bool)>,
    program: Option<program::Make>,
}

impl PageBuilder {
    /// A label of every series, `Host` before all.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The next family at the head of the page. A `counter` is a gauge of the facade whose values only grow: its TYPE
    /// says so, and its values may have fractions.
    pub fn family(mut self, name: &str, counter: bool) -> Self {
        self.families.push((name.to_owned(), counter));
        self
    }

    /// Takes counters and histograms as well, which hostgauge itself has none of. Without this they are not kept.
    pub fn counters_and_histograms(mut self) -> Self {
        self.program = Some(program::make);
        self
    }

    /// The recorder to give samples to, and the page to read.
    ///
    /// # Errors
    ///
    /// metrics-exporter-prometheus refuses its own settings.
    pub fn build(self) -> Result<(PageRecorder, Page), BuildError> {
        let program = self.program.map(|make| make(&self.labels)).transpose()?;
        let mut families = Families::new(self.labels);
        self.families.iter().for_each(|(name, counter)| families.declare(name, *counter));
        let page = Page(Arc::new(Inner {
            program,
            families: Mutex::new(families),
            updates: RwLock::new(()),
            updated: AtomicU64::new(0),
            before_render: Mutex::new(None),
            cache: Mutex::new(Cache { updated: 0, rendered: None, forms: [const { None }; 4] }),
        }));
        Ok((PageRecorder { page: page.clone() }, page))
    }
}

/// The recorder of the page.
#[derive(Debug)]
pub struct PageRecorder {
    page: Page,
}

impl PageRecorder {
    fn program(&self) -> Option<&dyn ProgramMetrics> {
        self.page.0.program.as_deref()
    }
}

impl Recorder for PageRecorder {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        if let Some(program) = self.program() {
            program.describe_counter(key, unit, description);
        }
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        lock(&self.page.0.families).describe(key.as_str(), description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        if let Some(program) = self.program() {
            program.describe_histogram(key, unit, description);
        }
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.program().map_or_else(Counter::noop, |program| program.register_counter(key, metadata))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        lock(&self.page.0.families).gauge(key)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.program().map_or_else(Histogram::noop, |program| program.register_histogram(key, metadata))
    }
}

/// The page: what a scrape gets. Clones share one state.
#[derive(Clone)]
pub struct Page(Arc<Inner>);

struct Inner {
    program: Option<Box<dyn ProgramMetrics>>,
    families: Mutex<Families>,
    /// Held for reading while samples are written, for writing while a page is rendered: no page shows half a tick.
    updates: RwLock<()>,
    updated: AtomicU64,
    before_render: Mutex<Option<Hook>>,
    cache: Mutex<Cache>,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("updated", &self.0.updated).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Cache {
    updated: u64,
    rendered: Option<Instant>,
    /// Text and OpenMetrics, each plain and gzip.
    forms: [Option<Bytes>; 4],
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Page {
    /// Runs `write`, which sets gauges, as one update: a page shows all of it or nothing, and is rendered anew
    /// afterwards.
    pub fn update<T>(&self, write: impl FnOnce() -> T) -> T {
        let reading = self.0.updates.read().unwrap_or_else(PoisonError::into_inner);
        let result = write();
        self.0.updated.fetch_add(1, Ordering::Release);
        drop(reading);
        result
    }

    /// Something to do before each render: to take away what its owner can no longer vouch for.
    pub fn before_render(&self, hook: impl Fn() + Send + Sync + 'static) {
        *lock(&self.0.before_render) = Some(Box::new(hook));
    }

    /// Keeps the program's own histograms from growing. Call it every few seconds where the page may go unread.
    pub fn upkeep(&self) {
        if let Some(program) = &self.0.program {
            program.upkeep();
        }
    }

    /// The page in the given form. Rendered at most once for each update and form; served from memory otherwise.
    pub fn get(&self, format: Format, encoding: Encoding) -> Bytes {
        let mut cache = lock(&self.0.cache);
        let old = cache.rendered.is_none_or(|at| at.elapsed() >= OLDEST);
        if old || cache.updated != self.0.updated.load(Ordering::Acquire) {
            if let Some(hook) = &*lock(&self.0.before_render) {
                hook();
            }
            cache.forms = [const { None }; 4];
            cache.updated = self.0.updated.load(Ordering::Acquire);
            cache.rendered = Some(Instant::now());
        }
        let plain = 2 * usize::from(format == Format::OpenMetrics);
        let text = cache.forms[plain].get_or_insert_with(|| self.render(format)).clone();
        match encoding {
            Encoding::Identity => text,
            Encoding::Gzip => cache.forms[plain + 1].get_or_insert_with(|| gzip(&text)).clone(),
        }
    }

    fn render(&self, format: Format) -> Bytes {
        let _no_update = self.0.updates.write().unwrap_or_else(PoisonError::into_inner);
        let mut page = String::with_capacity(8 * 1024);
        let mut families = lock(&self.0.families);
        families.render(&mut page, format);
        let program = self.0.program.as_ref().map(|program| program.render()).unwrap_or_default();
        for family in foreign_families(&program) {
            // Two families of one name make a page that no parser takes; the gauge was there first.
            if !families.contains(family.name) {
                family.push(&mut page, format);
            }
        }
        if format == Format::OpenMetrics {
            page.push_str("# EOF\n");
        }
        page.into()
    }
}

pub(super) fn gzip(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::new(6));
    // Writing to memory does not fail.
    let _ = encoder.write_all(text);
    encoder.finish().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::sync::atomic::AtomicUsize;

    fn page() -> (PageRecorder, Page) {
        let builder = PageBuilder::default().label("Host", "algo-1").family("cpu_seconds_total", true);
        builder.counters_and_histograms().build().expect("good settings")
    }

    fn text(page: &Page, format: Format) -> String {
        String::from_utf8(page.get(format, Encoding::Identity).to_vec()).expect("UTF-8")
    }

    #[test]
    fn a_programs_own_metrics_stand_beside_ours() {
        let (recorder, page) = page();
        page.update(|| {
            metrics::with_local_recorder(&recorder, || {
                metrics::describe_gauge!("cpu_seconds_total", "Busy.");
                metrics::gauge!("cpu_seconds_total").set(1.25);
                metrics::gauge!("queue_depth", "queue" => "b").set(3);
                metrics::counter!("requests_total", "code" => "200").increment(7);
                metrics::describe_histogram!("latency_seconds", "How long.");
                metrics::histogram!("latency_seconds").record(0.3);
            });
        });
        let got = text(&page, Format::Text);
        assert!(got.starts_with("# HELP cpu_seconds_total Busy.\n# TYPE cpu_seconds_total counter\ncpu_seconds_total{Host=\"algo-1\"} 1.25\n# TYPE queue_depth gauge\n"), "{got}");
        assert!(got.contains("\nqueue_depth{Host=\"algo-1\",queue=\"b\"} 3\n"), "{got}");
        assert!(got.contains("\nrequests_total{Host=\"algo-1\",code=\"200\"} 7\n"), "{got}");
        assert!(got.contains("\nlatency_seconds_bucket{Host=\"algo-1\",le=\"0.25\"} 0\n"), "{got}");
        let got = text(&page, Format::OpenMetrics);
        assert!(got.contains("# TYPE cpu_seconds counter\ncpu_seconds_total{") && got.ends_with("\n# EOF\n"), "{got}");
        assert!(!got.contains("\n\n"), "OpenMetrics has no empty lines");
    }

    #[test]
    fn without_a_program_there_are_gauges_only() {
        let (recorder, page) = PageBuilder::default().build().expect("good settings");
        metrics::with_local_recorder(&recorder, || {
            metrics::gauge!("depth").set(1.0);
            metrics::counter!("requests_total").increment(1);
            metrics::histogram!("latency_seconds").record(0.3);
        });
        assert_eq!(text(&page, Format::Text), "# TYPE depth gauge\ndepth 1\n");
    }

    #[test]
    fn a_page_is_rendered_once_for_each_update() {
        let (_recorder, page) = page();
        let renders = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&renders);
        page.before_render(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        // Three looks within a second, which is far longer than they take.
        let first = page.get(Format::Text, Encoding::Identity);
        assert_eq!(first.as_ptr(), page.get(Format::Text, Encoding::Identity).as_ptr(), "the same bytes, not a copy");
        page.get(Format::OpenMetrics, Encoding::Gzip);
        assert_eq!(renders.load(Ordering::Relaxed), 1);
        page.update(|| ());
        page.get(Format::Text, Encoding::Identity);
        assert_eq!(renders.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn gzip_unpacks_to_the_plain_page() {
        let (recorder, page) = page();
        metrics::with_local_recorder(&recorder, || metrics::gauge!("a").set(1.0));
        let packed = page.get(Format::Text, Encoding::Gzip);
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).expect("gzip");
        assert_eq!(unpacked, text(&page, Format::Text));
    }

    #[test]
    fn one_name_makes_one_family() {
        let (recorder, page) = page();
        metrics::with_local_recorder(&recorder, || {
            metrics::gauge!("same").set(1.0);
            metrics::counter!("same").increment(1);
        });
        assert_eq!(text(&page, Format::Text).matches("# TYPE same ").count(), 1);
    }
}
