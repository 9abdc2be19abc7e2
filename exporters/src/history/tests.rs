//! What a history holds, against a plain model of it.

use super::*;
use metrics::{Label, Level};
use proptest::prelude::*;
use serde_json::Value;

const LISTED: [Listed; 3] = [
    Listed { name: "sum", unit: Unit::Percent, n: Some("cores") },
    Listed { name: "core", unit: Unit::Percent, n: None },
    Listed { name: "cores", unit: Unit::Count, n: None },
];

fn history(points: u64) -> History {
    History::new("h", Duration::from_secs(1), Duration::from_secs(points), LISTED.to_vec())
}

fn gauge(history: &History, name: &'static str, labels: Vec<Label>) -> Gauge {
    history.register_gauge(&Key::from_parts(name, labels), &Metadata::new("test", Level::INFO, None))
}

fn core(history: &History, core: usize) -> Gauge {
    gauge(history, "core", vec![Label::new("core", core.to_string())])
}

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_700_000_000_500 + 1000 * second)
}

/// The document once the open row has settled.
fn read(history: &History, since: Option<u64>) -> Value {
    std::thread::sleep(history.settles());
    serde_json::from_str(&history.json(since.map(Duration::from_secs))).expect("JSON")
}

/// The second of each row.
fn seconds(document: &Value) -> Vec<u64> {
    let times = document["times"].as_array().expect("a list").iter();
    times.map(|time| (time.as_u64().expect("a time") - 1_700_000_000_500) / 1000).collect()
}

#[test]
fn a_document_has_its_shape() {
    let history = history(900);
    let (sum, cores) = (gauge(&history, "sum", vec![]), gauge(&history, "cores", vec![]));
    let odd = gauge(&history, "core", vec![Label::new("core", "a\"\\\n")]);
    gauge(&history, "unlisted", vec![]).set(1.0);
    for second in 0..3 {
        history.advance(at(second));
        cores.set(2.0);
        sum.set(12.345_678);
        odd.set([0.1, f64::NAN, 100.0][second as usize]);
    }
    let expected = serde_json::json!({
        "host": "h", "interval": 1, "points": 900, "generation": 3,
        "times": [1_700_000_000_500u64, 1_700_000_001_500u64, 1_700_000_002_500u64],
        "series": [
            {"name": "sum", "labels": {}, "unit": "percent", "n": 2, "values": [12.35, 12.35, 12.35]},
            {"name": "cores", "labels": {}, "unit": "count", "values": [2, 2, 2]},
            {"name": "core", "labels": {"core": "a\"\\\n"}, "unit": "percent", "values": [0.1, null, 100]},
        ],
    });
    let got = read(&history, None);
    assert_eq!(got, expected);
    let event = history.event().expect("a row");
    assert_eq!(&event[..], b"data: {\"t\":1700000002500,\"g\":3,\"v\":[12.35,2,100]}\n\n");
}

#[test]
fn what_a_row_did_not_get_is_a_gap_and_never_repeated() {
    let history = history(10);
    let sum = gauge(&history, "sum", vec![]);
    history.advance(at(0));
    sum.set(1.0);
    history.advance(at(1)); // a thread that did not come back
    history.advance(at(5)); // a stall of all
    sum.set(2.0);
    let document = read(&history, None);
    assert_eq!(seconds(&document), [0, 1, 5]);
    assert_eq!(document["series"][0]["values"], serde_json::json!([1, null, 2]));
}

#[test]
fn threads_that_tick_in_the_same_interval_share_a_row() {
    let history = history(10);
    let (first, second) = (core(&history, 0), core(&history, 1));
    for tick in 0..3 {
        history.advance(at(tick));
        first.set(1.0);
        history.advance(at(tick) + Duration::from_millis(400));
        second.set(2.0);
    }
    let document = read(&history, None);
    assert_eq!(seconds(&document), [0, 1, 2]);
    assert_eq!(document["series"][1]["values"], serde_json::json!([2, 2, 2]));
}

#[test]
fn a_clock_that_was_set_back_begins_anew() {
    let history = history(10);
    let sum = gauge(&history, "sum", vec![]);
    for second in [5, 6, 2, 3] {
        history.advance(at(second));
        sum.set(second as f64);
    }
    let document = read(&history, None);
    assert_eq!((seconds(&document), &document["series"][0]["values"]), (vec![2, 3], &serde_json::json!([2, 3])));
}

#[test]
fn the_open_row_is_shown_once_it_is_complete() {
    let history = history(10);
    let document = || serde_json::from_str::<Value>(&history.json(None)).expect("JSON");
    assert!(seconds(&document()).is_empty() && history.event().is_none());
    history.advance(at(0));
    history.advance(at(1));
    // It settles in a quarter of a second; the row before is read whenever this one is not there yet.
    let first = seconds(&document());
    assert!(first == [0] || first == [0, 1], "{first:?}");
    // As long as it is not complete, the newest one is the row before.
    let newest = |settles| lock(&history.0.ring).newest(settles).map(|(time, _)| time);
    assert_eq!(newest(Duration::MAX), Some(1_700_000_000_500));
    assert_eq!(newest(Duration::ZERO), Some(1_700_000_001_500));
    assert_eq!(seconds(&read(&history, None)), [0, 1]);
}

#[test]
fn series_are_bounded_and_those_that_are_over_make_room() {
    let history = history(3);
    history.advance(at(0));
    let held: Vec<Gauge> = (0..MOST_SERIES).map(|number| core(&history, number)).collect();
    held.iter().for_each(|gauge| gauge.set(1.0));
    let count = |history: &History| lock(&history.0.ring).copy(None, Duration::ZERO).series.len();
    core(&history, MOST_SERIES).set(1.0);
    assert_eq!(count(&history), MOST_SERIES);
    drop(held);
    (1..4).for_each(|second| history.advance(at(second)));
    assert_eq!(count(&history), MOST_SERIES, "a row that is kept has them");
    history.advance(at(4));
    assert_eq!(count(&history), 0);
    core(&history, MOST_SERIES).set(1.0);
    assert_eq!(count(&history), 1);
}

#[test]
fn listeners_are_told_of_each_row() {
    let history = history(3);
    history.advance(at(0));
    let mut rows = history.rows();
    assert!(!rows.has_changed().expect("the history is there"));
    history.advance(at(0));
    assert!(!rows.has_changed().expect("the history is there"), "the same row");
    history.advance(at(1));
    assert!(rows.has_changed().expect("the history is there"));
    rows.mark_unchanged();
}

/// What one tick does: how many intervals after the one before, and which of three cores it sets to what.
fn ticks() -> impl Strategy<Value = Vec<(u64, [Option<f32>; 3])>> {
    let value = || prop::option::of(0.0..100.0f32);
    let cores = (value(), value(), value()).prop_map(|(a, b, c)| [a, b, c]);
    prop::collection::vec((1..4u64, cores), 1..40)
}

proptest! {
    // For all ticks and sizes: what is read back is exactly the last n ticks, at their times, with a gap wherever a
    // tick set nothing; and within a time, exactly those ticks that lie in it.
    #[test]
    fn the_last_ticks_are_read_back(ticks in ticks(), points in 1..20u64, since in 0..30u64) {
        let history = history(points);
        let mut model: Vec<(u64, [Option<f32>; 3])> = Vec::new();
        let mut second = 0;
        for (step, values) in ticks {
            second += step;
            history.advance(at(second));
            for (number, value) in values.iter().enumerate() {
                value.iter().for_each(|value| core(&history, number).set(f64::from(*value)));
            }
            model.push((second, values));
        }
        for since in [None, Some(since)] {
            let rows = lock(&history.0.ring).copy(since.map(|since| since * 1000), Duration::ZERO);
            let newest = model.last().map_or(0, |(second, _)| *second);
            let kept = &model[model.len().saturating_sub(points as usize)..];
            let kept: Vec<_> = kept.iter().filter(|row| since.is_none_or(|since| row.0 + since >= newest)).collect();
            let times: Vec<u64> = rows.times.iter().map(|time| (time - 1_700_000_000_500) / 1000).collect();
            prop_assert_eq!(times, kept.iter().map(|(second, _)| *second).collect::<Vec<_>>());
            for number in 0..3 {
                let key = Key::from_parts("core", vec![Label::new("core", number.to_string())]);
                let column = rows.series.iter().find(|column| column.key == key);
                let got: Vec<Option<f32>> = column.map_or_else(|| vec![None; kept.len()], |column| {
                    column.values.iter().map(|value| Some(*value).filter(|value| !value.is_nan())).collect()
                });
                prop_assert_eq!(got, kept.iter().map(|(_, values)| values[number]).collect::<Vec<_>>());
            }
        }
    }

    // For all values: a percentage in JSON is the value, to half a hundredth.
    #[test]
    fn a_percentage_is_rounded_to_a_hundredth(value in 0.0..25_600.0f32) {
        let history = history(2);
        gauge(&history, "sum", vec![]).set(1.0);
        history.advance(at(0));
        gauge(&history, "sum", vec![]).set(f64::from(value));
        let ring = lock(&history.0.ring);
        let (time, values) = ring.newest(Duration::ZERO).expect("a row");
        let event = json::event(time, 1, values, &LISTED);
        let text = event.trim().trim_start_matches("data: ");
        let read = serde_json::from_str::<Value>(text).expect("JSON")["v"][0].as_f64().expect("a number");
        prop_assert!((read - f64::from(value)).abs() <= 0.005 + 1e-9, "{} {}", text, value);
    }
}
