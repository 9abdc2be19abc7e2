//! The page behind `/`: what a person sees in a browser. Everything it loads is in the binary.

use std::time::Duration;

use hostgauge_collectors::Metric;
use hostgauge_collectors::catalogue::{
    COLLECTOR_FAILURE, COLLECTOR_SUCCESS, CPU_CORE_UTILIZATION, CPU_CORES, CPU_UTILIZATION, DELIVERY_DROPPED,
    DELIVERY_PENDING, DELIVERY_PUBLISHED, DELIVERY_TAKEN, DISK_UTILIZATION, GPU_DEVICE_MEMORY_UTILIZATION,
    GPU_DEVICE_UTILIZATION, GPU_FAILURE, GPU_MEMORY_UTILIZATION, GPU_SM_UTILIZATION, GPU_TENSOR_UTILIZATION, GPU_UP,
    GPU_UTILIZATION, GPU_UTILIZATION_ABSENT, GPUS, GPUS_REPORTING, MEMORY_LIMIT, MEMORY_USED, MEMORY_UTILIZATION,
};
use hostgauge_exporters::history::{History, Listed};
use hostgauge_exporters::prometheus::StaticFile;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

macro_rules! files {
    ($($name:literal $content_type:ident),* $(,)?) => {
        &[$(StaticFile {
            path: concat!("/page/", $name),
            content_type: $content_type,
            content: include_bytes!($name),
        }),*]
    };
}

/// What the HTML loads, and uPlot's licence.
pub(crate) static FILES: &[StaticFile] = files![
    "style.css" STYLE,
    "icon.svg" PICTURE,
    "app.js" SCRIPT,
    "connection.js" SCRIPT,
    "store.js" SCRIPT,
    "panels.js" SCRIPT,
    "gpus.js" SCRIPT,
    "delivery.js" SCRIPT,
    "charts.js" SCRIPT,
    "heatmap.js" SCRIPT,
    "words.js" SCRIPT,
    "uplot/uPlot.iife.min.js" SCRIPT,
    "uplot/uPlot.min.css" STYLE,
    "uplot/LICENSE" TEXT,
];

/// What the page draws, in the order of the catalogue; sums with the series that holds their N.
static DRAWN: &[(&Metric, Option<&Metric>)] = &[
    (&CPU_UTILIZATION, Some(&CPU_CORES)),
    (&CPU_CORE_UTILIZATION, None),
    (&CPU_CORES, None),
    (&MEMORY_UTILIZATION, None),
    (&MEMORY_USED, None),
    (&MEMORY_LIMIT, None),
    (&DISK_UTILIZATION, None),
    (&GPU_UTILIZATION, Some(&GPUS)),
    (&GPU_DEVICE_UTILIZATION, None),
    (&GPU_MEMORY_UTILIZATION, Some(&GPUS)),
    (&GPU_DEVICE_MEMORY_UTILIZATION, None),
    (&GPUS, None),
    (&GPUS_REPORTING, None),
    (&GPU_UP, None),
    (&GPU_FAILURE, None),
    (&GPU_UTILIZATION_ABSENT, None),
    (&GPU_SM_UTILIZATION, None),
    (&GPU_TENSOR_UTILIZATION, None),
    (&COLLECTOR_SUCCESS, None),
    (&COLLECTOR_FAILURE, None),
    (&DELIVERY_TAKEN, None),
    (&DELIVERY_PUBLISHED, None),
    (&DELIVERY_PENDING, None),
    (&DELIVERY_DROPPED, None),
];

/// The longest that the history keeps.
pub(crate) const LONGEST_HISTORY: Duration = Duration::from_secs(3600);

/// What it is drawn from; `None` where nothing is to be kept.
pub(crate) fn history(host: &str, interval: Duration, kept: Duration) -> Option<History> {
    (!kept.is_zero()).then(|| History::new(host, interval, kept, listed()))
}

fn listed() -> Vec<Listed> {
    let listed =
        |(row, n): &(&Metric, Option<&Metric>)| Listed { name: row.name, unit: row.unit, n: n.map(|n| n.name) };
    DRAWN.iter().map(listed).collect()
}

/// HTML for a person who opens the agent's address.
pub(crate) fn html(host: &str) -> String {
    let html = include_str!("index.html").replace("{{version}}", env!("CARGO_PKG_VERSION"));
    html.replace("{{host}}", &escape(host))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_cannot_write_html() {
        let html = html("<script>{{version}}");
        assert!(html.contains("hostgauge on &lt;script&gt;{{version}}"), "{html}");
    }

    #[test]
    fn everything_that_is_loaded_is_there() {
        let parts = FILES.iter().filter(|file| file.content_type != PICTURE);
        let texts =
            parts.map(|file| std::str::from_utf8(file.content).expect("text")).chain([include_str!("index.html")]);
        for text in texts {
            for (start, end) in [("src=\"/page/", '"'), ("href=\"/page/", '"'), ("from \"./", '"')] {
                for rest in text.split(start).skip(1) {
                    let path = format!("/page/{}", rest.split(end).next().unwrap_or_default());
                    assert!(FILES.iter().any(|file| file.path == path), "{path}");
                }
            }
        }
    }

    #[test]
    fn what_holds_n_is_drawn_too() {
        let listed = listed();
        for n in listed.iter().filter_map(|row| row.n) {
            assert!(listed.iter().any(|row| row.name == n), "{n}");
        }
    }
}
