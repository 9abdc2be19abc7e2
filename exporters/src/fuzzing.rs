//! Properties that hold for every input, by the name of their fuzz target. See `tests/fuzz/README.md`.
#![allow(clippy::expect_used, reason = "a property that does not hold panics")]

#[path = "../../tests/fuzz/input.rs"]
pub(crate) mod input;
#[cfg(test)]
#[path = "../../tests/fuzz/replay.rs"]
mod replay;

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use metrics::{Key, Label, Level, Metadata, Recorder as _, Unit};
use serde_json::Value;

use crate::StatisticSet;
use crate::cloudwatch::fuzzing::{answers, spool_record, spool_segments};
use crate::cloudwatch::limits;
use crate::datum::{Datum, Figures, Resolution};
use crate::emf;
use crate::history::{History, Listed};
use crate::prometheus::fuzzing::{host_header, negotiation, page};
#[cfg(feature = "web-config")]
use crate::prometheus::web_config::fuzzing::{authorization, certificate, web_config};
use input::Input;

/// A name, and the property of that name.
type Named = (&'static str, fn(&[u8]));

/// Every property of this package.
pub const TARGETS: &[Named] = &[
    ("answers", answers),
    #[cfg(feature = "web-config")]
    ("authorization", authorization),
    #[cfg(feature = "web-config")]
    ("certificate", certificate),
    ("emf_lines", emf_lines),
    ("history", history),
    ("host_header", host_header),
    ("negotiation", negotiation),
    ("page", page),
    ("spool_record", spool_record),
    ("spool_segments", spool_segments),
    #[cfg(feature = "web-config")]
    ("web_config", web_config),
];

pub(crate) const METADATA: Metadata<'static> = Metadata::new("fuzzing", Level::INFO, None);

/// A datum of any kind, good or bad.
pub(crate) fn datum(input: &mut Input<'_>) -> Datum {
    let flags = input.byte();
    let name = input.text();
    let dimensions = (0..flags & 3).map(|_| (input.text(), input.text())).collect();
    let start = if flags & 4 == 0 { u64::from(input.byte()) } else { input.number(8) };
    let resolution = if flags & 8 == 0 { Resolution::Minute } else { Resolution::Second };
    let unit = if flags & 16 == 0 { "Percent".into() } else { input.text().into() };
    let figures = match flags >> 6 {
        0 => Figures::Value(input.float()),
        1 => {
            let mut window = crate::distribution::Distribution::new(crate::distribution::Scale::Linear);
            (0..input.byte()).for_each(|_| window.record(input.float()));
            let (statistics, values) = window.into_parts();
            Figures::Distribution { statistics, values }
        }
        _ => {
            let values: Vec<(f64, u64)> = (0..input.byte()).map(|_| (input.float(), input.any_number())).collect();
            let parts = StatisticSet::from_parts(input.any_number(), input.float(), input.float(), input.float());
            Figures::Distribution { statistics: parts.unwrap_or_default(), values }
        }
    };
    Datum { name, dimensions, start, resolution, unit, figures, periods: input.any_number() as u32 }
}

/// Every datum is in one line or refused; every line is JSON within the limits that says what its data say.
fn emf_lines(data: &[u8]) {
    let mut input = Input::new(data);
    let namespace = input.text();
    let mut data = Vec::new();
    while !input.is_empty() && data.len() < 300 {
        data.push(datum(&mut input));
    }
    let document = emf::document(&namespace, &data);
    let written: u64 = document.lines.iter().map(|line| line.data).sum();
    assert_eq!(written as usize + document.refused.len(), data.len());
    assert!(document.refused.iter().all(|refused| data.iter().any(|datum| datum.name == refused.metric)));
    for line in &document.lines {
        assert!(line.text.len() <= emf::BYTES && line.text.lines().count() == 1 && line.text.ends_with('\n'));
        let json: Value = serde_json::from_str(&line.text).expect("a line of JSON");
        let directive = &json["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], namespace.as_str());
        let list = |value: &Value| value.as_array().expect("a list").clone();
        let (names, metrics) = (list(&directive["Dimensions"][0]), list(&directive["Metrics"]));
        assert!(metrics.len() <= emf::METRICS && metrics.len() as u64 == line.data && names.len() <= 30);
        assert_eq!(json.as_object().expect("an object").len(), 1 + names.len() + metrics.len());
        let meant: Vec<&Datum> =
            data.iter().filter(|datum| json["_aws"]["Timestamp"].as_u64() == Some(datum.start)).collect();
        for metric in &metrics {
            let name = metric["Name"].as_str().expect("a name");
            assert!(meant.iter().any(|datum| datum.name == name), "{name:?} was never given");
            let Some(figures) = json[name].as_object() else {
                assert!(json[name].as_f64().is_some_and(f64::is_finite));
                continue;
            };
            let (values, counts) = (list(&figures["Values"]), list(&figures["Counts"]));
            assert!(values.len() <= emf::VALUES && values.len() == counts.len());
            assert_eq!(Some(counts.iter().filter_map(Value::as_u64).sum()), figures["Count"].as_u64());
        }
    }
    // What the gate lets through the format has room for, but for its own name and a crowd of dimensions.
    for datum in data.iter().filter(|datum| limits::check(datum).is_ok()) {
        let figures = &datum.figures;
        assert!(!matches!(figures, Figures::Value(value) if !value.is_finite()), "{figures:?}");
    }
}

const LISTED: [Listed; 2] = [
    Listed { name: "percent", unit: Unit::Percent, n: Some("count") },
    Listed { name: "count", unit: Unit::Count, n: None },
];

/// The document and the event are JSON of the promised shape, with times in order, and hold the last values that were
/// set, or null.
fn history(data: &[u8]) {
    let mut input = Input::new(data);
    let host = input.text();
    let history =
        History::new(&host, Duration::from_secs(1), Duration::from_secs(input.byte().into()), LISTED.to_vec());
    let mut second = input.number(4);
    let mut last = None;
    for _ in 0..32 {
        if input.is_empty() {
            break;
        }
        let flags = input.byte();
        second = if flags & 1 == 0 { second + 1 } else { input.number(4) };
        history.advance(UNIX_EPOCH + Duration::from_secs(second));
        let label = |place: u8| Label::new(format!("{place}{}", input.text()), input.text());
        let labels = (0..flags >> 6).map(label).collect::<Vec<_>>();
        let listed = usize::from(flags >> 1 & 1);
        let key = Key::from_parts(LISTED[listed].name, labels);
        let value = input.float();
        history.register_gauge(&key, &METADATA).set(value);
        last = Some((key, value as f32, listed));
    }
    history.advance(UNIX_EPOCH + Duration::from_secs(second + 1));
    let since = (!data.len().is_multiple_of(3)).then(|| Duration::from_secs(data.len() as u64 % 40));
    let document: Value = serde_json::from_str(&history.json(since)).expect("JSON");
    assert_eq!(document["host"], host.as_str());
    let times: Vec<u64> = document["times"].as_array().expect("a list").iter().filter_map(Value::as_u64).collect();
    assert!(times.is_sorted_by(|a, b| a < b) && times.len() as u64 <= document["points"].as_u64().expect("a number"));
    let mut seen = BTreeSet::new();
    for series in document["series"].as_array().expect("a list") {
        let values = series["values"].as_array().expect("a list");
        assert_eq!(values.len(), times.len());
        assert!(values.iter().all(|value| value.is_null() || value.is_number()));
        assert!(seen.insert(format!("{} {}", series["name"], series["labels"])), "{} is there twice", series["labels"]);
    }
    let Some(event) = history.event() else { return };
    let event = str::from_utf8(&event).expect("text");
    let row = event.strip_prefix("data: ").and_then(|row| row.strip_suffix("\n\n")).expect("an event");
    let row: Value = serde_json::from_str(row).expect("JSON");
    let values = row["v"].as_array().expect("a list");
    if let Some((key, value, listed)) = last.filter(|(_, value, _)| value.is_finite()) {
        let close = |read: &Value| match read.as_f64() {
            None => false,
            Some(read) if listed == 0 => (read - f64::from(value)).abs() <= 0.005 + f64::from(value).abs() * 1e-6,
            Some(read) => read as f32 == value,
        };
        assert!(values.iter().any(close), "{key}: {value} is not in {row}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_property_holds_for_its_corpus() {
        super::replay::replay(super::TARGETS);
    }
}
