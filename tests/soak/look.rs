//! What holds of the page at any moment, whatever the machine goes through.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::Page;
use crate::support::prometheus::{PROMTOOL, need};
use crate::support::publishing::Ledger;

/// Holds the page to be one that says nothing false by itself.
pub(crate) fn look(page: &Page) {
    let text = &page.text;
    let mut seen = BTreeSet::new();
    for series in &page.series {
        assert!(seen.insert((&series.name, &series.labels)), "twice: {series:?} on\n{text}");
        // What is not known is absent.
        assert!(series.value.is_finite(), "{series:?}");
        assert!(series.value >= 0.0 || series.name == "hostgauge_delivery_clock_skew_seconds", "{series:?}");
    }
    let cores: Vec<f64> = page.cores().into_iter().map(|(_, percent)| percent).collect();
    sum(page, page.sum(), &cores, page.get("hostgauge_cpu_cores", &[]));
    let all = page.all("hostgauge_gpu_device_utilization_percent").map(|series| series.value);
    let gpus: Vec<f64> = all.collect();
    sum(page, page.get("hostgauge_gpu_utilization_percent", &[]), &gpus, page.get("hostgauge_gpus", &[]));
    for window in page.series.iter().filter(|series| series.labels.get("stat").is_some_and(|stat| stat == "mean")) {
        let of = |stat: &str| {
            let labels = [("window", window.labels["window"].as_str()), ("stat", stat)];
            page.get(&window.name, &labels).unwrap_or_else(|| panic!("{window:?} without {stat} on\n{text}"))
        };
        let (least, most) = (of("min"), of("max"));
        assert!((least - 1e-6..=most + 1e-6).contains(&window.value), "{least}, {most}: {window:?}");
    }
    if let Some(ledger) = Ledger::on(page) {
        assert!(ledger.holds(), "{ledger:?}");
    }
}

/// A sum is there only where each of its parts is, and is theirs.
fn sum(page: &Page, sum: Option<f64>, parts: &[f64], number: Option<f64>) {
    assert!(parts.iter().all(|part| *part <= 100.0), "{parts:?}");
    let Some(sum) = sum else { return };
    assert_eq!(Some(parts.len() as f64), number, "the sum of some: {}", page.text);
    let of_parts: f64 = parts.iter().sum();
    // Each is written with four digits behind the point.
    assert!((sum - of_parts).abs() < 1e-4 * parts.len() as f64, "{sum}, of {parts:?}");
}

/// Prometheus' own opinion.
pub(crate) fn promtool(page: &Page) {
    need(PROMTOOL);
    let command =
        Command::new(PROMTOOL).args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = command.expect("promtool starts");
    child.stdin.take().expect("a pipe").write_all(page.text.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), page.text);
}
