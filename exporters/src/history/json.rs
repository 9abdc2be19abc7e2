//! The history as JSON, written by hand: half a million numbers at a time, and nothing else.

use std::fmt::Write as _;
use std::time::Duration;

use metrics::Unit;

use super::Listed;
use super::ring::{Column, Rows};

/// Every row; [`History::json`](super::History::json) has the shape.
pub(super) fn document(host: &str, interval: Duration, listed: &[Listed], rows: &Rows) -> String {
    let mut out = String::with_capacity(256 + rows.times.len() * (14 + 6 * rows.series.len()));
    out.push_str("{\"host\":");
    push_text(&mut out, host);
    let (seconds, points, generation) = (interval.as_secs_f64(), rows.points, rows.generation);
    let _ = write!(out, ",\"interval\":{seconds},\"points\":{points},\"generation\":{generation},\"times\":[");
    push_list(&mut out, &rows.times, |out, time| {
        let _ = write!(out, "{time}");
    });
    out.push_str("],\"series\":[");
    push_list(&mut out, &rows.series, |out, column| push_column(out, column, listed, rows));
    out.push_str("]}\n");
    out
}

/// One row; [`History::event`](super::History::event) has the shape.
pub(super) fn event(
    time: u64,
    generation: u64,
    values: impl Iterator<Item = (f32, usize)>,
    listed: &[Listed],
) -> String {
    let mut out = String::with_capacity(64 + 7 * values.size_hint().0);
    let _ = write!(out, "data: {{\"t\":{time},\"g\":{generation},\"v\":[");
    push_list(&mut out, values, |out, (value, place)| push_value(out, value, unit(listed, place)));
    out.push_str("]}\n\n");
    out
}

fn push_column(out: &mut String, column: &Column, listed: &[Listed], rows: &Rows) {
    out.push_str("{\"name\":");
    push_text(out, column.key.name());
    out.push_str(",\"labels\":{");
    push_list(out, column.key.labels(), |out, label| {
        push_text(out, label.key());
        out.push(':');
        push_text(out, label.value());
    });
    let unit = unit(listed, column.listed);
    out.push_str("},\"unit\":");
    push_text(out, unit.as_str());
    if let Some(n) = listed.get(column.listed).and_then(|listed| listed.n) {
        let of = rows.series.iter().find(|other| other.key.name() == n);
        let last = of.and_then(|of| of.values.iter().rev().find(|value| !value.is_nan()));
        out.push_str(",\"n\":");
        push_value(out, last.copied().unwrap_or(f32::NAN), Unit::Count);
    }
    out.push_str(",\"values\":[");
    push_list(out, &column.values, |out, value| push_value(out, *value, unit));
    out.push_str("]}");
}

fn unit(listed: &[Listed], place: usize) -> Unit {
    listed.get(place).map_or(Unit::Count, |listed| listed.unit)
}

fn push_list<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut push: impl FnMut(&mut String, T)) {
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        push(out, item);
    }
}

/// A number, or null. A percentage has two digits after the point at most: more would be bytes that nobody sees.
fn push_value(out: &mut String, value: f32, unit: Unit) {
    if !value.is_finite() {
        return out.push_str("null");
    }
    let hundredths = (f64::from(value) * 100.0).round();
    // By hand, since the general way takes three times as long, and these are nearly all there are.
    let _ = match (hundredths as u64 / 100, hundredths as u64 % 100) {
        _ if unit != Unit::Percent || !(0.0..1e15).contains(&hundredths) => write!(out, "{value}"),
        (whole, 0) => write!(out, "{whole}"),
        (whole, part) if part % 10 == 0 => write!(out, "{whole}.{}", part / 10),
        (whole, part) => write!(out, "{whole}.{part:02}"),
    };
}

fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}
