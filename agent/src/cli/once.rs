//! `hostgauge once`: two readings one interval apart, printed.

use std::io;
use std::time::Duration;

use hostgauge_collectors::catalogue::unit_name;
use hostgauge_collectors::{CollectError, Emitter, Sample};
use hostgauge_exporters::prometheus::{Encoding, Format as PageFormat};
use metrics::Unit;
use serde_json::{Map, Value, json};

use super::Failure;
use super::commands::Format;
use super::configuration::Configuration;
use super::output;
use super::reader::Reader;
use crate::pipeline::Pipeline;

/// How long a reading may take. A driver that nobody holds open takes seconds to wake its GPUs.
const PATIENCE: Duration = Duration::from_secs(8);

pub(super) fn run(configuration: &Configuration, format: Format) -> Result<(), Failure> {
    let values = &configuration.values;
    let host = &super::whoami::identity(configuration).host;
    let (pipeline, _) =
        Pipeline::new(Default::default(), host, values.interval, Default::default(), Default::default(), None)?;
    let collectors = super::agent::builder(configuration).collectors()?;
    let mut readers = collectors.into_iter().map(Reader::new).collect::<io::Result<Vec<_>>>()?;
    let mut round = || readings(&mut readers, &pipeline);
    round();
    std::thread::sleep(values.interval);
    let (samples, errors) = round();
    readers.into_iter().for_each(|reader| reader.end(PATIENCE));
    output::print(&match format {
        Format::Json => as_json(host, &samples),
        Format::Prometheus => page(&pipeline),
        _ => as_text(host, &samples),
    })?;
    match errors.as_slice() {
        [] => Ok(()),
        errors => Err(Failure::RunTime(errors.iter().map(CollectError::to_string).collect::<Vec<_>>().join("; "))),
    }
}

/// One reading of every collector.
fn readings(readers: &mut [Reader], pipeline: &Pipeline) -> (Vec<Sample>, Vec<CollectError>) {
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    pipeline.with_recorder(|| {
        for reader in readers {
            let (mut samples, outcome) = reader.read(PATIENCE);
            Emitter::default().emit(&samples);
            all.append(&mut samples);
            errors.extend(outcome.err());
        }
    });
    (all, errors)
}

fn page(pipeline: &Pipeline) -> String {
    let text = pipeline.page.as_ref().map(|page| page.get(PageFormat::Text, Encoding::Identity)).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

/// The label names and values of a sample.
fn labels(sample: &Sample) -> impl Iterator<Item = (&'static str, &str)> {
    sample.device.iter().flat_map(|device| sample.metric.labels.iter().copied().zip(device.values()))
}

fn as_json(host: &str, samples: &[Sample]) -> String {
    let series: Vec<Value> = samples
        .iter()
        .map(|sample| {
            let labels = labels(sample).map(|(name, value)| (name.to_owned(), json!(value)));
            json!({
                "name": sample.metric.name,
                "labels": labels.collect::<Map<String, Value>>(),
                "unit": unit_name(sample.metric.unit),
                "value": sample.value,
            })
        })
        .collect();
    format!("{:#}\n", json!({ "Host": host, "samples": series }))
}

fn as_text(host: &str, samples: &[Sample]) -> String {
    let rows: Vec<[String; 3]> = samples
        .iter()
        .map(|sample| {
            let labels: Vec<String> = labels(sample).map(|(name, value)| format!("{name}={value}")).collect();
            [sample.metric.name.to_owned(), labels.join(" "), readable(sample)]
        })
        .collect();
    format!("Host: {host}\n\n{}", output::columns(&rows))
}

/// A value as a person reads it.
fn readable(sample: &Sample) -> String {
    match sample.metric.unit {
        Unit::Percent => format!("{:.1} %", sample.value),
        Unit::Seconds => format!("{:.2} s", sample.value),
        Unit::Bytes => format!("{} bytes ({})", sample.value, binary_multiple(sample.value)),
        _ => format!("{}", sample.value),
    }
}

pub(super) fn binary_multiple(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = (0..units.len() - 1).take_while(|power| bytes >= 1024f64.powi(*power as i32 + 1)).count();
    format!("{:.1} {}", bytes / 1024f64.powi(power as i32), units[power])
}

#[cfg(test)]
mod tests {
    use super::binary_multiple;

    #[test]
    fn bytes_for_people() {
        for (bytes, text) in [
            (0.0, "0.0 B"),
            (1023.0, "1023.0 B"),
            (1024.0, "1.0 KiB"),
            (25.0 * 1024f64.powi(3), "25.0 GiB"),
            (1e18, "909494.7 TiB"),
        ] {
            assert_eq!(binary_multiple(bytes), text);
        }
    }
}
