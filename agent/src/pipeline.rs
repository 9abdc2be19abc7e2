//! From the facade to the outside: which recorders samples reach, and what happens to windows that close.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hostgauge_collectors::{Device, Emitter, Kind, Metric, Sample, catalogue, describe};
use hostgauge_exporters::history::History;
use hostgauge_exporters::prometheus::{Page, PageBuilder, PageRecorder};
use hostgauge_exporters::windows::{Keep, Listed, Window, Windows};

use crate::delivery::Deliveries;
use crate::error::Error;
use crate::fanout::{Fanout, SharedRecorder};

/// The windows on the Prometheus page, and how they are named there.
const PAGE_WINDOWS: [(Duration, &str); 2] = [(Duration::from_secs(15), "15s"), (Duration::from_secs(60), "1m")];

/// The exporters of one agent, wired up.
pub(crate) struct Pipeline {
    /// Where samples are emitted: all exporters at once, or `None` for the program's own global recorder.
    pub recorder: Option<SharedRecorder>,
    pub page: Option<Page>,
    pub deliveries: Deliveries,
    windows: Option<Windows>,
    history: Option<History>,
    shown: Mutex<Vec<Shown>>,
}

/// What the exporters of windows want of the window stage.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub metrics: Vec<Listed>,
    pub periods: Vec<Duration>,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline").field("page", &self.page).field("windows", &self.windows).finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Our own exporters: the page, windows that show on it, those that `deliveries` want, and the history where one is
    /// kept. Every series of the page carries `host` as its label `Host`.
    pub(crate) fn new(
        page: PageBuilder,
        host: &str,
        interval: Duration,
        deliveries: Deliveries,
        wanted: Wanted,
        history: Option<History>,
    ) -> Result<(Self, SharedRecorder), Error> {
        let mut builder = page.label("Host", host);
        for row in catalogue::ALL {
            builder = builder.family(row.name, row.kind == Kind::Counter);
        }
        let (page_recorder, page) = builder.build().map_err(|error| Error::Recorder(error.to_string()))?;
        let page_recorder = Arc::new(page_recorder);
        // A window shorter than the interval would mostly be empty.
        let shown = PAGE_WINDOWS.iter().filter(|(period, _)| *period >= interval);
        let series = shown.clone().map(|(period, name)| Shown::new(*period, name, &page_recorder)).collect();
        let on_page = catalogue::ALL.iter().filter_map(|row| row.window_of).map(Listed::from);
        let periods = shown.map(|(period, _)| (*period, Keep::Statistics));
        let delivered = wanted.periods.into_iter().map(|period| (period, Keep::Values));
        let windows = Windows::new(on_page.chain(wanted.metrics), periods.chain(delivered));
        let mut recorders: Vec<SharedRecorder> = vec![page_recorder, Arc::new(windows.clone())];
        recorders.extend(history.clone().map(|history| Arc::new(history) as SharedRecorder));
        let recorder: SharedRecorder = Arc::new(Fanout(recorders));
        describe(&recorder);
        let pipeline = Self {
            recorder: Some(Arc::clone(&recorder)),
            page: Some(page),
            deliveries,
            windows: Some(windows),
            history,
            shown: Mutex::new(series),
        };
        Ok((pipeline, recorder))
    }

    /// No exporter of ours: samples go to the global recorder that the program has installed.
    pub(crate) fn to_global_recorder() -> Self {
        metrics::with_recorder(|recorder| describe(recorder));
        let deliveries = Deliveries::default();
        Self { recorder: None, page: None, deliveries, windows: None, history: None, shown: Mutex::default() }
    }

    /// Closes the row and the windows that ended by `wall`, and writes the windows' series. A clock that was set since the call before
    /// tears those on both sides of its jump.
    pub(crate) fn advance(&self, wall: SystemTime, clock_jumped: bool) {
        self.history.iter().for_each(|history| history.advance(wall));
        let Some(windows) = &self.windows else { return };
        let tear = || {
            if clock_jumped {
                windows.tear()
            }
        };
        tear();
        windows.advance(wall, |window| {
            let mut all = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter_mut().filter(|shown| shown.period == window.period).for_each(|shown| shown.show(window));
            self.deliveries.take(window);
        });
        tear();
    }

    /// Closes the windows that are open and delivers what it can until `patience` ends. Nothing is sampled any more.
    pub(crate) fn finish(&self, patience: Duration) {
        if let Some(windows) = &self.windows {
            windows.finish(|window| self.deliveries.take(window));
        }
        self.deliveries.finish(patience);
    }

    /// Runs `write`, which sets gauges, as one update of the page.
    pub(crate) fn update<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.page {
            Some(page) => page.update(write),
            None => write(),
        }
    }

    /// Runs `work` with our recorder as this thread's, so that the waist emits into it.
    pub(crate) fn with_recorder<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.recorder {
            Some(recorder) => metrics::with_local_recorder(recorder, work),
            None => work(),
        }
    }
}

/// The gauges that show the last complete window of one period on the page.
struct Shown {
    period: Duration,
    /// min, max, mean.
    devices: [Device; 3],
    emitter: Emitter,
    page: Arc<PageRecorder>,
}

impl Shown {
    fn new(period: Duration, name: &str, page: &Arc<PageRecorder>) -> Self {
        let devices = ["min", "max", "mean"].map(|stat| Device::new([name, stat]));
        Self { period, devices, emitter: Emitter::default(), page: Arc::clone(page) }
    }

    fn show(&mut self, window: &Window) {
        if !window.complete {
            return;
        }
        let mut samples = Vec::new();
        for row in catalogue::ALL.iter().filter(|row| row.window_of.is_some()) {
            let row: &'static Metric = row;
            let Some(series) = window.series.iter().find(|series| Some(series.key.name()) == row.window_of) else {
                continue;
            };
            let set = &series.statistics;
            let values = [set.minimum(), set.maximum(), set.mean()];
            let stats = self.devices.iter().zip(values);
            samples.extend(stats.filter_map(|(device, value)| Some(Sample::of(row, device, value?))));
        }
        metrics::with_local_recorder(&self.page, || self.emitter.emit(&samples));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hostgauge_exporters::prometheus::{Encoding, Format};
    use std::time::UNIX_EPOCH;

    fn pipeline(host: &str) -> Result<(Pipeline, SharedRecorder), Error> {
        let (page, second) = (PageBuilder::default(), Duration::from_secs(1));
        Pipeline::new(page, host, second, Deliveries::default(), Wanted::default(), None)
    }

    /// A page of every series that two cores and one path have without a failure, with as many digits as values ever
    /// have; and of what is summed over GPUs, where there are any.
    fn full_page(gpus: bool) -> Page {
        let (pipeline, _) = pipeline("algo-1").expect("good settings");
        let devices: Vec<(&[&str], Vec<Device>)> = vec![
            (&["core"], ["0", "1"].map(|core| Device::new([core])).into()),
            (&["mode"], ["iowait", "steal"].map(|mode| Device::new([mode])).into()),
            (&["path"], vec![Device::new(["/"])]),
            (&["collector"], ["cpu", "memory", "disk"].map(|name| Device::new([name])).into()),
            (&["kind"], ["late", "stall", "clock"].map(|kind| Device::new([kind])).into()),
            (&["version"], vec![Device::new([env!("CARGO_PKG_VERSION")])]),
        ];
        let mut random = 1u64;
        let mut next = move || {
            // Knuth's MMIX generator: the same digits in every run.
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut emitter = Emitter::default();
        pipeline.with_recorder(|| {
            for second in 0..180 {
                pipeline.advance(UNIX_EPOCH + Duration::from_millis(1_700_000_000_500 + second * 1000), false);
                let mut samples = Vec::new();
                let rows = catalogue::ALL.iter().copied().filter(|row| row.window_of.is_none());
                // Of the machine; a container has some rows more.
                let rows = rows.filter(|row| !row.absent.starts_with("scope host"));
                // Only collectors of devices can hang; only a page behind TLS has a certificate.
                let apart = ["hostgauge_gpu", catalogue::COLLECTOR_STUCK.name, catalogue::PAGE_CERTIFICATE_EXPIRY.name];
                for row in rows.filter(|row| gpus || !apart.iter().any(|name| row.name.starts_with(name))) {
                    let mut value = || match row.unit {
                        metrics::Unit::Percent => (next() * 1e6).round() / 1e4,
                        metrics::Unit::Bytes => (next() * 64e6).round() * 4096.0,
                        metrics::Unit::Seconds => (next() * 1e8).round() / 1e2,
                        _ => 1.0,
                    };
                    match devices.iter().find(|(labels, _)| *labels == row.labels) {
                        Some((_, devices)) => samples.extend(devices.iter().map(|d| Sample::of(row, d, value()))),
                        None if row.labels.is_empty() => samples.push(Sample::new(row, value())),
                        None => {} // a reason of failure
                    }
                }
                pipeline.update(|| emitter.emit(&samples));
            }
        });
        pipeline.page.expect("a page")
    }

    #[test]
    fn a_window_in_which_the_clock_was_set_is_not_shown() {
        let (pipeline, _) = pipeline("h").expect("good settings");
        let mut emitter = Emitter::default();
        let page = pipeline.page.clone().expect("a page");
        let mut shown = Vec::new();
        pipeline.with_recorder(|| {
            for second in 0..=60u32 {
                // From a full quarter of a minute on; the clock is set in the third quarter.
                let wall = UNIX_EPOCH + Duration::from_millis(1_700_000_010_500 + 1000 * u64::from(second));
                pipeline.update(|| pipeline.advance(wall, second == 40));
                pipeline.update(|| emitter.emit(&[Sample::new(&catalogue::CPU_UTILIZATION, second.into())]));
                let text = page.get(Format::Text, Encoding::Identity);
                let head = "hostgauge_cpu_utilization_window_percent{Host=\"h\",window=\"15s\",stat=\"max\"} ";
                let text = std::str::from_utf8(&text).expect("UTF-8");
                let max = text.lines().find_map(|line| line.strip_prefix(head)).map(str::to_owned);
                if max.is_some() && shown.last() != max.as_ref() {
                    shown.extend(max);
                }
            }
        });
        assert_eq!(shown, ["29", "59"], "neither the quarter of the start nor that of the jump");
    }

    #[test]
    fn a_page_stays_short() {
        let page = full_page(false);
        let size = |encoding| page.get(Format::Text, encoding).len();
        let (plain, gzip) = (size(Encoding::Identity), size(Encoding::Gzip));
        println!("bytes on the page of two cores: {plain}, gzip {gzip}");
        assert!(plain <= 5600, "{plain} bytes");
        assert!(gzip <= 1050, "{gzip} bytes of gzip");
    }

    #[test]
    fn the_page_shows_both_windows_of_each_utilization() {
        let page = full_page(true).get(Format::Text, Encoding::Identity);
        let page = std::str::from_utf8(&page).expect("UTF-8");
        for row in catalogue::ALL.iter().filter(|row| row.window_of.is_some()) {
            for window in ["15s", "1m"] {
                let value = |stat| {
                    let head = format!("{}{{Host=\"algo-1\",window=\"{window}\",stat=\"{stat}\"}} ", row.name);
                    let line = page.lines().find_map(|line| line.strip_prefix(&head)).expect(&head);
                    line.parse::<f64>().expect("a number")
                };
                assert!(value("min") < value("mean") && value("mean") < value("max"), "{} {window}", row.name);
            }
        }
    }
}
