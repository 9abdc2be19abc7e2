//! What CloudWatch documents to refuse. README.md has the source of each limit and which wordings are known.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use crate::message::{Datum, PutMetricData, StatisticSet};
use crate::refusal::Refusal;

/// Bytes of the body, before compression.
pub(crate) const BODY: usize = 1_000_000;
const METRICS: usize = 1000;
const UNIQUE_VALUES: usize = 150;
const DIMENSIONS: usize = 30;
const NAME: usize = 255;
const DIMENSION_VALUE: usize = 1024;
const PAST: Duration = Duration::from_secs(14 * 86_400);
const FUTURE: Duration = Duration::from_secs(2 * 3_600);

const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

/// One bad datum fails the whole call. The message has a line for every bad datum whose code is that of the first.
pub(crate) fn check(call: &PutMetricData, now: SystemTime) -> Result<(), Refusal> {
    namespace(&call.namespace)?;
    if call.metric_data.is_empty() {
        return Err(Refusal::missing("MetricData"));
    }
    size("MetricData", call.metric_data.len(), METRICS)?;
    let members = call.metric_data.iter().zip(1..);
    let refusals: Vec<_> = members.filter_map(|(datum, n)| check_datum(datum, n, now).err()).collect();
    let Some(first) = refusals.first() else { return Ok(()) };
    let lines: Vec<_> = refusals.iter().filter(|other| other.code == first.code).map(|r| r.message.as_str()).collect();
    Err(Refusal { message: lines.join("\n"), ..first.clone() })
}

fn namespace(namespace: &str) -> Result<(), Refusal> {
    text("Namespace", namespace, NAME)?;
    no_colon_first("Namespace", namespace)?;
    if namespace.starts_with("AWS/") {
        return Err(Refusal::invalid_value("The value AWS/ for parameter Namespace is invalid."));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_/#: ".contains(c);
    if !namespace.chars().all(allowed) {
        return Err(invalid(namespace, "Namespace"));
    }
    Ok(())
}

fn check_datum(datum: &Datum, n: u32, now: SystemTime) -> Result<(), Refusal> {
    let path = format!("MetricData.member.{n}");
    text(&format!("{path}.MetricName"), &datum.metric_name, NAME)?;
    dimensions(datum, &path)?;
    kind(datum, &path)?;
    if let Some(value) = datum.value {
        number(&format!("{path}.Value"), value)?;
    }
    if let Some(set) = &datum.statistic_values {
        statistic_set(set, &format!("{path}.StatisticValues"))?;
    }
    values(datum, &path)?;
    if let Some(unit) = datum.unit.as_deref().filter(|unit| !UNITS.contains(unit)) {
        let units = UNITS.join(", ");
        let message = format!("The parameter {path}.Unit must be a value in the set [ {units} ], not {unit}.");
        return Err(Refusal::invalid_value(message));
    }
    if let Some(resolution) = datum.storage_resolution.filter(|resolution| ![1, 60].contains(resolution)) {
        return Err(invalid(resolution, &format!("{path}.StorageResolution")));
    }
    timestamp(datum, &path, now)
}

fn dimensions(datum: &Datum, path: &str) -> Result<(), Refusal> {
    size(&format!("{path}.Dimensions"), datum.dimensions.len(), DIMENSIONS)?;
    let mut names = BTreeSet::new();
    for ((name, value), at) in datum.dimensions.iter().zip(1..) {
        let name_path = format!("{path}.Dimensions.member.{at}.Name");
        text(&name_path, name, NAME)?;
        no_colon_first(&name_path, name)?;
        text(&format!("{path}.Dimensions.member.{at}.Value"), value, DIMENSION_VALUE)?;
        if !names.insert(name) {
            // AWS's words name no member; ours does, so that it can be found.
            let message = format!("No metric may specify the same dimension name twice. ({path})");
            return Err(Refusal::invalid_value(message));
        }
    }
    Ok(())
}

/// Value, or StatisticValues, or Values with or without StatisticValues.
fn kind(datum: &Datum, path: &str) -> Result<(), Refusal> {
    let exclusive = |other: &str| {
        let both = format!("The parameters {path}.Value and {path}.{other} are mutually exclusive");
        Err(Refusal::invalid_combination(format!("{both} and you have specified both.")))
    };
    match (datum.value, &datum.statistic_values, datum.values.as_slice()) {
        (Some(_), Some(_), _) => exclusive("StatisticValues"),
        (Some(_), None, [_, ..]) => exclusive("Values"),
        (None, None, []) if datum.counts.is_none() => Err(Refusal::missing(&format!("{path}.Value"))),
        _ => Ok(()),
    }
}

fn statistic_set(set: &StatisticSet, path: &str) -> Result<(), Refusal> {
    positive(&format!("{path}.SampleCount"), set.sample_count)?;
    number(&format!("{path}.Sum"), set.sum)?;
    number(&format!("{path}.Minimum"), set.minimum)?;
    number(&format!("{path}.Maximum"), set.maximum)?;
    if set.maximum < set.minimum {
        let message = format!("The parameter {path}.Maximum must be greater than {path}.Minimum.");
        return Err(Refusal::invalid_value(message));
    }
    Ok(())
}

fn values(datum: &Datum, path: &str) -> Result<(), Refusal> {
    for (value, at) in datum.values.iter().zip(1..) {
        number(&format!("{path}.Values.member.{at}"), *value)?;
    }
    if let Some(counts) = &datum.counts {
        for (count, at) in counts.iter().zip(1..) {
            positive(&format!("{path}.Counts.member.{at}"), *count)?;
        }
        if counts.len() != datum.values.len() {
            let message = format!("The parameters {path}.Values and {path}.Counts must be of the same size.");
            return Err(Refusal::invalid_value(message));
        }
    }
    let unique: BTreeSet<_> = datum.values.iter().map(|value| value.to_bits()).collect();
    size(&format!("{path}.Values"), unique.len(), UNIQUE_VALUES)?;
    agreement(datum, path)
}

/// How CloudWatch joins Values and StatisticValues that disagree is not documented, so no test may rely on it.
fn agreement(datum: &Datum, path: &str) -> Result<(), Refusal> {
    let counted: f64 = datum.counted().map(|(_, count)| count).sum();
    match datum.statistic_values {
        Some(set) if !datum.values.is_empty() && set.sample_count != counted => Err(Refusal::invalid_combination(
            format!("The parameter {path}.StatisticValues.SampleCount must be the sum of {path}.Counts."),
        )),
        _ => Ok(()),
    }
}

fn timestamp(datum: &Datum, path: &str, now: SystemTime) -> Result<(), Refusal> {
    let time = datum.time(now);
    if now.duration_since(time).is_ok_and(|age| age > PAST) {
        let message = format!("The parameter {path}.Timestamp must specify a time within the past two weeks.");
        return Err(Refusal::invalid_value(message));
    }
    if time.duration_since(now).is_ok_and(|ahead| ahead > FUTURE) {
        let most = "no more than two hours in the future";
        return Err(Refusal::invalid_value(format!("The parameter {path}.Timestamp must specify a time {most}.")));
    }
    Ok(())
}

/// Namespaces, names, dimension values: printable ASCII, not blank, not too long.
fn text(path: &str, text: &str, most: usize) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::missing(path));
    }
    if text.chars().count() > most {
        let message = format!("The parameter {path} must be shorter than {} characters.", most + 1);
        return Err(Refusal::invalid_value(message));
    }
    if text.chars().all(|c| c.is_ascii() && !c.is_ascii_control()) { Ok(()) } else { Err(invalid(text, path)) }
}

fn no_colon_first(path: &str, text: &str) -> Result<(), Refusal> {
    if text.starts_with(':') { Err(invalid(text, path)) } else { Ok(()) }
}

fn size(path: &str, size: usize, most: usize) -> Result<(), Refusal> {
    if size <= most {
        return Ok(());
    }
    Err(Refusal::invalid_value(format!("The collection {path} must not have a size greater than {most}.")))
}

/// From -2^360 to 2^360.
fn number(path: &str, number: f64) -> Result<(), Refusal> {
    if number.abs() <= 2f64.powi(360) {
        return Ok(());
    }
    // In Java's spelling, as the service has it.
    Err(invalid(number.to_string().replace("inf", "Infinity"), path))
}

fn positive(path: &str, count: f64) -> Result<(), Refusal> {
    number(path, count)?;
    if count > 0.0 { Ok(()) } else { Err(invalid(count, path)) }
}

fn invalid(value: impl std::fmt::Display, path: &str) -> Refusal {
    Refusal::invalid_value(format!("The value {value} for parameter {path} is invalid."))
}
