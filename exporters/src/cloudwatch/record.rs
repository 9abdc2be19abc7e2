//! What the spool keeps: the data of one namespace, as bytes and back.
//!
//! A version byte, then CBOR by place instead of by name: the spool is ours, and short. Times, counts and values come
//! back to the last bit.

use std::convert::Infallible;
use std::fmt;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder, decode, encode};

use crate::StatisticSet;
use crate::datum::{Datum, Figures, Resolution};

/// The first byte. Another layout gets another one, and the spool's frames another version with it: so an older agent
/// leaves them alone instead of giving them up.
const VERSION: u8 = 1;
/// The members of a datum.
const DATUM: u64 = 7;
/// The members of a distribution.
const DISTRIBUTION: u64 = 5;

/// The data of one namespace.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// Where they are published.
    pub namespace: String,
    /// In the order that they were taken.
    pub data: Vec<Datum>,
}

/// Bytes that are no record: what is wrong with them, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no record: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

impl Record {
    /// As bytes. A datum of 60 values takes about 700.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(vec![VERSION]);
        // Memory takes everything; were it ever not to, the decoder refuses what is cut short.
        _ = write(self, &mut encoder);
        encoder.into_writer()
    }

    /// From bytes, of whatever origin: what it allocates grows with the bytes that are there, not with what they claim.
    ///
    /// # Errors
    ///
    /// Another version, or not exactly one record.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => read(rest).map_err(|error| Malformed(error.to_string())),
            Some((other, _)) => Err(Malformed(format!("version {other}, expected {VERSION}"))),
            None => Err(Malformed(format!("empty, expected version {VERSION}"))),
        }
    }
}

type Written = Result<(), encode::Error<Infallible>>;

fn write(record: &Record, encoder: &mut Encoder<Vec<u8>>) -> Written {
    encoder.str(&record.namespace)?.array(record.data.len() as u64)?;
    record.data.iter().try_for_each(|datum| write_datum(datum, encoder))
}

fn write_datum(datum: &Datum, encoder: &mut Encoder<Vec<u8>>) -> Written {
    encoder.array(DATUM)?.str(&datum.name)?.array(datum.dimensions.len() as u64)?;
    for (name, value) in &datum.dimensions {
        encoder.str(name)?.str(value)?;
    }
    encoder.u64(datum.start)?.u8(datum.resolution.seconds())?.str(&datum.unit)?.u32(datum.periods)?;
    match &datum.figures {
        Figures::Value(value) => encoder.f64(*value)?,
        Figures::Distribution { statistics, values } => {
            encoder.array(DISTRIBUTION)?.u64(statistics.count())?.f64(statistics.sum())?;
            encoder.f64(statistics.minimum().unwrap_or_default())?;
            encoder.f64(statistics.maximum().unwrap_or_default())?;
            encoder.array(values.len() as u64)?;
            for (value, count) in values {
                encoder.f64(*value)?.u64(*count)?;
            }
            encoder
        }
    };
    Ok(())
}

fn read(bytes: &[u8]) -> Result<Record, decode::Error> {
    let mut decoder = Decoder::new(bytes);
    let namespace = decoder.str()?.to_owned();
    let data = list(&mut decoder, datum)?;
    if decoder.position() != bytes.len() {
        return Err(decode::Error::message("bytes after its end").at(decoder.position()));
    }
    Ok(Record { namespace, data })
}

fn datum(decoder: &mut Decoder<'_>) -> Result<Datum, decode::Error> {
    members(decoder, DATUM)?;
    Ok(Datum {
        name: decoder.str()?.to_owned(),
        dimensions: list(decoder, |decoder| Ok((decoder.str()?.to_owned(), decoder.str()?.to_owned())))?,
        start: decoder.u64()?,
        resolution: resolution(decoder)?,
        unit: decoder.str()?.to_owned().into(),
        periods: decoder.u32()?,
        figures: figures(decoder)?,
    })
}

fn resolution(decoder: &mut Decoder<'_>) -> Result<Resolution, decode::Error> {
    let at = decoder.position();
    match decoder.u8()? {
        1 => Ok(Resolution::Second),
        60 => Ok(Resolution::Minute),
        other => Err(decode::Error::message(format!("resolution {other}, expected 1 or 60")).at(at)),
    }
}

fn figures(decoder: &mut Decoder<'_>) -> Result<Figures, decode::Error> {
    if decoder.datatype()? == Type::F64 {
        return Ok(Figures::Value(decoder.f64()?));
    }
    members(decoder, DISTRIBUTION)?;
    let at = decoder.position();
    let (count, sum, minimum, maximum) = (decoder.u64()?, decoder.f64()?, decoder.f64()?, decoder.f64()?);
    let statistics = StatisticSet::from_parts(count, sum, minimum, maximum)
        .ok_or_else(|| decode::Error::message("a minimum above the maximum, or one not finite").at(at))?;
    Ok(Figures::Distribution { statistics, values: list(decoder, |decoder| Ok((decoder.f64()?, decoder.u64()?)))? })
}

/// A structure of exactly so many members.
fn members(decoder: &mut Decoder<'_>, expected: u64) -> Result<(), decode::Error> {
    let at = decoder.position();
    match decoder.array()? {
        Some(found) if found == expected => Ok(()),
        _ => Err(decode::Error::message(format!("not the {expected} members expected")).at(at)),
    }
}

/// A list of known length. Nothing is reserved by that length; each item takes bytes, so it ends where they do.
fn list<T>(
    decoder: &mut Decoder<'_>,
    mut item: impl FnMut(&mut Decoder<'_>) -> Result<T, decode::Error>,
) -> Result<Vec<T>, decode::Error> {
    let at = decoder.position();
    let claimed = decoder.array()?.ok_or_else(|| decode::Error::message("a list without a length").at(at))?;
    let mut items = Vec::new();
    for _ in 0..claimed {
        items.push(item(decoder)?);
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::num::f64::ANY as ANY_NUMBER;
    use proptest::prelude::*;

    fn figures() -> impl Strategy<Value = Figures> {
        let distribution =
            (vec(-1e300..1e300, 0..60), vec((ANY_NUMBER, any::<u64>()), 0..160)).prop_map(|(samples, values)| {
                let mut statistics = StatisticSet::default();
                samples.iter().for_each(|sample| statistics.record(*sample));
                Figures::Distribution { statistics, values }
            });
        prop_oneof![ANY_NUMBER.prop_map(Figures::Value), distribution]
    }

    fn datum() -> impl Strategy<Value = Datum> {
        let resolution = prop_oneof![Just(Resolution::Second), Just(Resolution::Minute)];
        let dimensions = vec((any::<String>(), any::<String>()), 0..5);
        let unit = any::<String>();
        (any::<String>(), dimensions, any::<u64>(), resolution, unit, figures(), any::<u32>()).prop_map(
            |(name, dimensions, start, resolution, unit, figures, periods)| Datum {
                name,
                dimensions,
                start,
                resolution,
                unit: unit.into(),
                figures,
                periods,
            },
        )
    }

    fn record() -> impl Strategy<Value = Record> {
        (any::<String>(), vec(datum(), 0..6)).prop_map(|(namespace, data)| Record { namespace, data })
    }

    fn sample() -> Record {
        let mut statistics = StatisticSet::default();
        let values: Vec<_> = (0..60).map(|n| (f64::from(n) / 7.0, 1)).collect();
        values.iter().for_each(|(value, _)| statistics.record(*value));
        let datum = Datum {
            name: "CPUUtilization".to_owned(),
            dimensions: vec![("Host".to_owned(), "job/algo-1".to_owned())],
            start: 1_800_000_000_000,
            resolution: Resolution::Minute,
            unit: "Percent".into(),
            figures: Figures::Distribution { statistics, values },
            periods: 1,
        };
        Record { namespace: "/aws/sagemaker/TrainingJobs".to_owned(), data: vec![datum] }
    }

    #[test]
    fn sixty_values_take_about_ten_bytes_each() {
        let bytes = sample().encode().len();
        assert!(bytes < 730, "{bytes}");
    }

    #[test]
    fn another_version_and_nothing_are_refused_by_name() {
        let mut bytes = sample().encode();
        bytes[0] = 2;
        assert_eq!(Record::decode(&bytes).unwrap_err().to_string(), "no record: version 2, expected 1");
        assert_eq!(Record::decode(&[]).unwrap_err().to_string(), "no record: empty, expected version 1");
    }

    #[test]
    fn cut_short_or_too_long_is_refused() {
        let mut bytes = sample().encode();
        for end in 0..bytes.len() {
            assert!(Record::decode(&bytes[..end]).is_err(), "{end} of {} bytes", bytes.len());
        }
        bytes.push(0);
        assert!(Record::decode(&bytes).unwrap_err().to_string().contains("bytes after its end"));
    }

    #[test]
    fn a_claim_of_ever_so_many_allocates_nothing() {
        // A namespace of one letter, then a list that claims 2^64 - 1 data.
        let mut bytes = vec![VERSION, 0x61, b'n', 0x9b];
        bytes.extend([0xff; 8]);
        assert!(Record::decode(&bytes).is_err());
        // A text that claims as many bytes.
        bytes[1] = 0x7b;
        assert!(Record::decode(&bytes).is_err());
    }

    #[test]
    fn figures_that_no_window_has_are_refused() {
        let turned = |minimum: f64, maximum: f64| {
            let mut encoder = Encoder::new(Vec::new());
            encoder.array(DISTRIBUTION).unwrap().u64(1).unwrap().f64(1.0).unwrap();
            encoder.f64(minimum).unwrap().f64(maximum).unwrap().array(0).unwrap();
            super::figures(&mut Decoder::new(&encoder.into_writer())).is_err()
        };
        assert!(!turned(1.0, 1.0) && turned(1.0, 0.0) && turned(f64::NAN, 1.0) && turned(0.0, f64::INFINITY));
        let mut bytes = Encoder::new(Vec::new());
        bytes.u8(59).unwrap();
        assert!(resolution(&mut Decoder::new(bytes.writer())).is_err());
    }

    proptest! {
        // Every record comes back as it was, to the last bit: bytes and texts are compared, since NaN equals nothing.
        #[test]
        fn there_and_back(record in record()) {
            let back = Record::decode(&record.encode()).unwrap();
            prop_assert_eq!(back.encode(), record.encode());
            prop_assert_eq!(format!("{back:?}"), format!("{record:?}"));
        }

        // Whatever the bytes are, they are a record or an error.
        #[test]
        fn garbage_is_an_error(mut bytes in vec(any::<u8>(), 0..300)) {
            bytes.insert(0, VERSION);
            _ = Record::decode(&bytes);
        }

        // A record with a byte changed anywhere is another record or an error.
        #[test]
        fn damage_is_no_panic(at in any::<proptest::sample::Index>(), byte: u8) {
            let mut bytes = sample().encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(record) = Record::decode(&bytes) {
                _ = record.encode();
            }
        }
    }
}
