//! The input of PutMetricData, decoded from CBOR. Strict about shape: what the double does not know, it refuses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use minicbor::Decoder;
use minicbor::data::{Tag, Type};

use crate::refusal::Refusal;

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct PutMetricData {
    /// Namespace.
    pub namespace: String,
    /// MetricData, in the order sent: `MetricData.member.1` is the first.
    pub metric_data: Vec<Datum>,
}

/// MetricDatum.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Datum {
    /// MetricName.
    pub metric_name: String,
    /// Dimensions, in the order sent.
    pub dimensions: Vec<(String, String)>,
    /// Timestamp in seconds since 1970. Absent: the time of arrival.
    pub timestamp: Option<f64>,
    /// Value.
    pub value: Option<f64>,
    /// StatisticValues.
    pub statistic_values: Option<StatisticSet>,
    /// Values.
    pub values: Vec<f64>,
    /// Counts. Absent: each value counts once.
    pub counts: Option<Vec<f64>>,
    /// Unit. Absent: None.
    pub unit: Option<String>,
    /// StorageResolution in seconds. Absent: 60.
    pub storage_resolution: Option<i64>,
}

impl Datum {
    /// The time it stands for.
    pub(crate) fn time(&self, now: SystemTime) -> SystemTime {
        self.timestamp.map_or(now, system_time)
    }

    /// The values with how often each was seen.
    pub(crate) fn counted(&self) -> impl Iterator<Item = (f64, f64)> {
        let counts = self.counts.as_deref().unwrap_or_default();
        self.values.iter().enumerate().map(|(at, value)| (*value, counts.get(at).copied().unwrap_or(1.0)))
    }
}

/// StatisticSet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StatisticSet {
    /// SampleCount.
    pub sample_count: f64,
    /// Sum.
    pub sum: f64,
    /// Minimum.
    pub minimum: f64,
    /// Maximum.
    pub maximum: f64,
}

/// Whole milliseconds, as CloudWatch keeps them; a time out of range becomes the nearest that can be told.
pub(crate) fn system_time(seconds: f64) -> SystemTime {
    let distance = Duration::from_millis((seconds.abs() * 1000.0).round() as u64);
    let time = if seconds < 0.0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

impl PutMetricData {
    /// Reads a whole body.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Refusal> {
        let mut decoder = Decoder::new(body);
        let (mut namespace, mut metric_data) = (None, Vec::new());
        structure(&mut decoder, |decoder, member| {
            match member {
                "Namespace" => namespace = Some(string(decoder)?),
                "MetricData" => list(decoder, |decoder, n| {
                    metric_data.push(datum(decoder, n)?);
                    Ok(())
                })?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if decoder.position() != body.len() {
            return Err(Refusal::serialization(format!("trailing bytes at {}", decoder.position())));
        }
        Ok(Self { namespace: namespace.ok_or_else(|| Refusal::missing("Namespace"))?, metric_data })
    }
}

fn datum(decoder: &mut Decoder<'_>, n: usize) -> Result<Datum, Refusal> {
    let path = format!("MetricData.member.{n}");
    let mut metric_name = None;
    let mut datum = Datum::default();
    structure(decoder, |decoder, member| {
        match member {
            "MetricName" => metric_name = Some(string(decoder)?),
            "Dimensions" => list(decoder, |decoder, at| {
                datum.dimensions.push(dimension(decoder, &format!("{path}.Dimensions.member.{at}"))?);
                Ok(())
            })?,
            "Timestamp" => datum.timestamp = Some(timestamp(decoder)?),
            "Value" => datum.value = Some(double(decoder)?),
            "StatisticValues" => datum.statistic_values = Some(statistic_set(decoder, &path)?),
            "Values" => datum.values = doubles(decoder)?,
            "Counts" => datum.counts = Some(doubles(decoder)?),
            "Unit" => datum.unit = Some(string(decoder)?),
            "StorageResolution" => datum.storage_resolution = Some(decoder.i64()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    datum.metric_name = metric_name.ok_or_else(|| Refusal::missing(&format!("{path}.MetricName")))?;
    Ok(datum)
}

fn dimension(decoder: &mut Decoder<'_>, path: &str) -> Result<(String, String), Refusal> {
    let (mut name, mut value) = (None, None);
    structure(decoder, |decoder, member| {
        match member {
            "Name" => name = Some(string(decoder)?),
            "Value" => value = Some(string(decoder)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let required = |part: Option<String>, member| part.ok_or_else(|| Refusal::missing(&format!("{path}.{member}")));
    Ok((required(name, "Name")?, required(value, "Value")?))
}

fn statistic_set(decoder: &mut Decoder<'_>, path: &str) -> Result<StatisticSet, Refusal> {
    let (mut sample_count, mut sum, mut minimum, mut maximum) = (None, None, None, None);
    structure(decoder, |decoder, member| {
        let part = match member {
            "SampleCount" => &mut sample_count,
            "Sum" => &mut sum,
            "Minimum" => &mut minimum,
            "Maximum" => &mut maximum,
            _ => return Ok(false),
        };
        *part = Some(double(decoder)?);
        Ok(true)
    })?;
    let required =
        |part: Option<f64>, member| part.ok_or_else(|| Refusal::missing(&format!("{path}.StatisticValues.{member}")));
    Ok(StatisticSet {
        sample_count: required(sample_count, "SampleCount")?,
        sum: required(sum, "Sum")?,
        minimum: required(minimum, "Minimum")?,
        maximum: required(maximum, "Maximum")?,
    })
}

/// A map with text keys, each at most once. `read` says whether it knows the member.
fn structure<'b>(
    decoder: &mut Decoder<'b>,
    mut read: impl FnMut(&mut Decoder<'b>, &'b str) -> Result<bool, Refusal>,
) -> Result<(), Refusal> {
    let length = decoder.map()?;
    let mut seen = Vec::new();
    while more(decoder, length, seen.len())? {
        let member = decoder.str()?;
        if seen.contains(&member) {
            return Err(Refusal::serialization(format!("member {member} twice")));
        }
        seen.push(member);
        if !read(decoder, member)? {
            return Err(Refusal::serialization(format!("unknown member {member}")));
        }
    }
    Ok(())
}

/// An array; `read` gets the number of the element, from 1.
fn list<'b>(
    decoder: &mut Decoder<'b>,
    mut read: impl FnMut(&mut Decoder<'b>, usize) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let length = decoder.array()?;
    let mut seen = 0;
    while more(decoder, length, seen)? {
        seen += 1;
        read(decoder, seen)?;
    }
    Ok(())
}

/// Whether a map or an array of this length goes on. One of no stated length ends with a break.
fn more(decoder: &mut Decoder<'_>, length: Option<u64>, seen: usize) -> Result<bool, Refusal> {
    if let Some(length) = length {
        return Ok((seen as u64) < length);
    }
    let ends = decoder.datatype()? == Type::Break;
    if ends {
        decoder.set_position(decoder.position() + 1);
    }
    Ok(!ends)
}

fn doubles(decoder: &mut Decoder<'_>) -> Result<Vec<f64>, Refusal> {
    let mut numbers = Vec::new();
    list(decoder, |decoder, _| {
        numbers.push(double(decoder)?);
        Ok(())
    })?;
    Ok(numbers)
}

/// A number in any of CBOR's forms: an SDK may send a double as short as it fits.
fn double(decoder: &mut Decoder<'_>) -> Result<f64, Refusal> {
    match decoder.datatype()? {
        Type::F16 | Type::F32 | Type::F64 => Ok(decoder.f64()?),
        _ => Ok(i128::from(decoder.int()?) as f64),
    }
}

fn timestamp(decoder: &mut Decoder<'_>) -> Result<f64, Refusal> {
    if decoder.tag()? != Tag::new(1) {
        return Err(Refusal::serialization("a timestamp must be tagged as seconds since 1970".to_owned()));
    }
    let seconds = double(decoder)?;
    if seconds.is_finite() { Ok(seconds) } else { Err(Refusal::serialization(format!("timestamp {seconds}"))) }
}

fn string(decoder: &mut Decoder<'_>) -> Result<String, Refusal> {
    Ok(decoder.str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body in CBOR's hexadecimal notation, spaces allowed.
    fn decode(hex: &str) -> Result<PutMetricData, Refusal> {
        let digits: Vec<u8> = hex.bytes().filter(|byte| *byte != b' ').collect();
        let text = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        PutMetricData::decode(&digits.chunks(2).map(text).collect::<Vec<_>>())
    }

    const NAMESPACE: &str = "69 4e616d657370616365 61 6e";
    const DATA: &str = "6a 4d657472696344617461";
    const NAME: &str = "6a 4d65747269634e616d65 61 6d";
    const VALUE: &str = "65 56616c7565";

    fn refusal(hex: &str) -> String {
        let refusal = decode(hex).unwrap_err();
        format!("{}: {}", refusal.code, refusal.message)
    }

    #[test]
    fn numbers_come_in_every_width() {
        for (number, expected) in
            [("01", 1.0), ("20", -1.0), ("f9 3e00", 1.5), ("fa 3fc00000", 1.5), ("fb 3ff8000000000000", 1.5)]
        {
            for (open, close) in [("a2", ""), ("bf", "ff")] {
                let body = format!("{open} {NAMESPACE} {DATA} 81 {open} {NAME} {VALUE} {number} {close} {close}");
                let call = decode(&body).unwrap_or_else(|refusal| panic!("{body}: {refusal:?}"));
                assert_eq!((call.namespace.as_str(), call.metric_data[0].value), ("n", Some(expected)));
            }
        }
    }

    #[test]
    fn times_are_whole_milliseconds() {
        let after = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        assert_eq!([1.0006, 1.0004].map(system_time), [after(1_001), after(1_000)]);
        assert_eq!(system_time(-1.0), UNIX_EPOCH - Duration::from_secs(1));
        assert!(system_time(f64::MAX) > after(1_000_000_000_000_000));
    }

    #[test]
    fn another_shape_is_refused() {
        assert_eq!(refusal(&format!("a1 {NAMESPACE} 00")), "SerializationException: trailing bytes at 13");
        assert_eq!(refusal("a1 61 78 00"), "SerializationException: unknown member x");
        assert_eq!(refusal(&format!("a2 {NAMESPACE} {NAMESPACE}")), "SerializationException: member Namespace twice");
        assert_eq!(refusal(&format!("a1 {DATA} 80")), "MissingParameter: The parameter Namespace is required.");
        assert_eq!(
            refusal(&format!("a2 {NAMESPACE} {DATA} 81 a0")),
            "MissingParameter: The parameter MetricData.member.1.MetricName is required."
        );
        for body in [
            "",
            "f6",
            "80",
            "a1",
            // Namespace as bytes, MetricData as a map, a value as text and as null.
            "a1 69 4e616d657370616365 41 6e",
            &format!("a2 {NAMESPACE} {DATA} a0"),
            &format!("a2 {NAMESPACE} {DATA} 81 a2 {NAME} {VALUE} 61 31"),
            &format!("a2 {NAMESPACE} {DATA} 81 a2 {NAME} {VALUE} f6"),
            // A timestamp without its tag.
            &format!("a2 {NAMESPACE} {DATA} 81 a2 {NAME} 69 54696d657374616d70 01"),
            // An HTML page.
            "3c 68746d6c3e",
        ] {
            assert!(refusal(body).starts_with("SerializationException: "), "{body}");
        }
    }
}
