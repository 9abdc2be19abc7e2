//! From the facade to the outside: which recorders samples reach, and what happens to windows that close.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hostgauge_collectors::{Device, Emitter, Kind, Metric, Sample, catalogue, describe};
use hostgauge_exporters::prometheus::{Page, PageBuilder, PageRecorder};
use hostgauge_exporters::windows::{Window, Windows};
use metrics::Recorder;

use crate::error::Error;
use crate::fanout::Fanout;

/// The windows on the Prometheus page, and how they are named there.
const PAGE_WINDOWS: [(Duration, &str); 2] = [(Duration::from_secs(15), "15s"), (Duration::from_secs(60), "1m")];

pub(crate) type SharedRecorder = Arc<dyn Recorder + Send + Sync>;

/// The exporters of one agent, wired up.
pub(crate) struct Pipeline {
    /// Where samples are emitted: all exporters at once, or `None` for the program's own global recorder.
    pub recorder: Option<SharedRecorder>,
    pub page: Option<Page>,
    windows: Option<Windows>,
    window_series: Mutex<Vec<WindowSeries>>,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline").field("page", &self.page).field("windows", &self.windows).finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Our own exporters: the page, and windows that show on it. Every series carries `host` as its label `Host`.
    pub(crate) fn new(host: &str, interval: Duration) -> Result<(Self, SharedRecorder), Error> {
        let mut builder = PageBuilder::default().label("Host", host);
        for row in catalogue::ALL {
            builder = builder.family(row.name, row.kind == Kind::Counter);
        }
        let (page_recorder, page) = builder.build().map_err(|error| Error::Recorder(error.to_string()))?;
        let page_recorder = Arc::new(page_recorder);
        // A window shorter than the interval would mostly be empty.
        let shown = PAGE_WINDOWS.iter().filter(|(period, _)| *period >= interval);
        let series = shown.clone().map(|(period, name)| WindowSeries::new(*period, name, &page_recorder)).collect();
        let names = catalogue::ALL.iter().filter_map(|row| row.window_of);
        let windows = Windows::new(names, shown.map(|(period, _)| *period));
        let recorder: SharedRecorder = Arc::new(Fanout(vec![page_recorder, Arc::new(windows.clone())]));
        describe(&recorder);
        let pipeline = Self {
            recorder: Some(Arc::clone(&recorder)),
            page: Some(page),
            windows: Some(windows),
            window_series: Mutex::new(series),
        };
        Ok((pipeline, recorder))
    }

    /// No exporter of ours: samples go to the global recorder that the program has installed.
    pub(crate) fn to_global_recorder() -> Self {
        metrics::with_recorder(|recorder| describe(recorder));
        Self { recorder: None, page: None, windows: None, window_series: Mutex::default() }
    }

    /// Closes the windows that ended by `wall`, and writes their series.
    pub(crate) fn advance(&self, wall: SystemTime) {
        let Some(windows) = &self.windows else { return };
        windows.advance(wall, |window| {
            let mut all = self.window_series.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter_mut().filter(|series| series.period == window.period).for_each(|series| series.show(window));
        });
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
struct WindowSeries {
    period: Duration,
    /// min, max, mean.
    devices: [Device; 3],
    emitter: Emitter,
    page: Arc<PageRecorder>,
}

impl WindowSeries {
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
            let Some((_, set)) = window.series.iter().find(|(key, _)| Some(key.name()) == row.window_of) else {
                continue;
            };
            let values = [set.minimum(), set.maximum(), set.mean()];
            let stats = self.devices.iter().zip(values);
            samples.extend(stats.filter_map(|(device, value)| Some(Sample::of(row, device, value?))));
        }
        metrics::with_local_recorder(&self.page, || self.emitter.emit(&samples));
    }
}
