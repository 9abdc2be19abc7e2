//! What a certificate says of its time and its names.
//!
//! rustls verifies certificates and keeps these two to itself. Source: RFC 5280, sections 4.1.2.5 and 4.2.1.6; X.690.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// Context tags of TBSCertificate.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// id-ce-subjectAltName, 2.5.29.17.
const ALTERNATIVE_NAMES: [u8; 3] = [0x55, 0x1d, 0x11];

/// When a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From this second on.
    pub begin: SystemTime,
    /// To this second.
    pub end: SystemTime,
}

impl Validity {
    /// Why clients refuse it at this time; `None` where they do not.
    pub fn trouble(self, now: SystemTime) -> Option<&'static str> {
        if now > self.end {
            Some("has expired")
        } else if now < self.begin {
            Some("is not valid yet")
        } else {
            None
        }
    }
}

/// A certificate's time; `None` where it is no certificate.
pub(super) fn validity(certificate: &[u8]) -> Option<Validity> {
    let mut fields = before_validity(certificate)?;
    let mut validity = Der(fields.take(SEQUENCE)?);
    Some(Validity { begin: validity.time()?, end: validity.time()? })
}

/// Its alternative names of the four kinds that Go knows: DNS, e-mail, URI and IP address; empty where it has none.
pub(super) fn names(certificate: &[u8]) -> Option<Vec<String>> {
    let mut fields = before_validity(certificate)?;
    for _validity_subject_key in 0..3 {
        fields.take(SEQUENCE)?;
    }
    let mut extensions = Der(&[]);
    while let Some((tag, content)) = fields.next() {
        if tag == EXTENSIONS {
            extensions = Der(Der(content).take(SEQUENCE)?);
        }
    }
    while !extensions.0.is_empty() {
        let mut extension = Der(extensions.take(SEQUENCE)?);
        if extension.take(OID)? == ALTERNATIVE_NAMES {
            // A "critical" may stand between.
            let value = extension.find(OCTETS)?;
            return general_names(Der(Der(value).take(SEQUENCE)?));
        }
    }
    Some(Vec::new())
}

/// The fields of TBSCertificate from the validity on.
fn before_validity(certificate: &[u8]) -> Option<Der<'_>> {
    let mut certificate = Der(Der(certificate).take(SEQUENCE)?);
    let mut fields = Der(certificate.take(SEQUENCE)?);
    let mut rest = Der(fields.0);
    if rest.take(VERSION).is_some() {
        fields = rest;
    }
    fields.take(INTEGER)?;
    for _algorithm_issuer in 0..2 {
        fields.take(SEQUENCE)?;
    }
    Some(fields)
}

fn general_names(mut all: Der<'_>) -> Option<Vec<String>> {
    let mut names = Vec::new();
    while !all.0.is_empty() {
        let (tag, content) = all.next()?;
        match tag {
            // E-mail, DNS, URI.
            0x81 | 0x82 | 0x86 => names.push(str::from_utf8(content).ok()?.to_owned()),
            0x87 => names.push(match content.len() {
                4 => Ipv4Addr::from(<[u8; 4]>::try_from(content).ok()?).to_string(),
                _ => Ipv6Addr::from(<[u8; 16]>::try_from(content).ok()?).to_canonical().to_string(),
            }),
            _ => (),
        }
    }
    Some(names)
}

/// Values of DER, one after the other.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value's tag and content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&length, mut rest) = rest.split_first()?;
        let mut length = usize::from(length);
        // A long form: so many bytes of length.
        if length >= 0x80 {
            let (bytes, after) =
                rest.split_at_checked(length - 0x80).filter(|(bytes, _)| (1..=4).contains(&bytes.len()))?;
            length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The next value's content, which must have this tag.
    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }

    /// The content of the first value with this tag.
    fn find(&mut self, wanted: u8) -> Option<&'a [u8]> {
        loop {
            let (tag, content) = self.next()?;
            if tag == wanted {
                return Some(content);
            }
        }
    }

    fn time(&mut self) -> Option<SystemTime> {
        let (tag, text) = self.next()?;
        let text = str::from_utf8(text.strip_suffix(b"Z")?).ok()?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<u16>().ok().map(i64::from);
        let (year, at) = match tag {
            // Two digits mean 1950 to 2049.
            UTC_TIME => (number(0, 2).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, 2),
            GENERALIZED_TIME => (number(0, 4)?, 4),
            _ => return None,
        };
        let part = |index: usize| number(at + 2 * index, at + 2 * index + 2);
        let [month, day, hour, minute, second] = [part(0)?, part(1)?, part(2)?, part(3)?, part(4)?];
        // A day beyond its month, or a leap second, no verifier takes either.
        let fits = (1..=12).contains(&month) && day >= 1 && hour < 24 && minute < 60 && second < 60;
        let next_month = days(year + month / 12, month % 12 + 1, 1);
        if !fits || days(year, month, day) >= next_month || text.len() != at + 10 {
            return None;
        }
        let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        let distance = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
    }
}

/// Days since 1970-01-01 in the Gregorian calendar. Years begin in March here, so that a leap day ends them.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month < 3 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn days_of_the_calendar() {
        for (date, expected) in [
            ((1970, 1, 1), 0),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((1950, 1, 1), -7305),
            ((2100, 3, 1), 47_541),
        ] {
            assert_eq!(days(date.0, date.1, date.2), expected, "{date:?}");
        }
    }

    #[test]
    fn times_of_both_forms() {
        let time = |tag: u8, text: &str| {
            let der: Vec<u8> = [&[tag, text.len() as u8], text.as_bytes()].concat();
            Der(&der).time().map(|time| time.duration_since(UNIX_EPOCH).map_or(-1, |since| since.as_secs() as i64))
        };
        assert_eq!(time(UTC_TIME, "700101000001Z"), Some(1));
        assert_eq!(time(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(UTC_TIME, "500101000000Z"), Some(-1));
        assert_eq!(time(GENERALIZED_TIME, "20500101000000Z"), Some(2_524_608_000));
        assert_eq!(time(UTC_TIME, "240229235959Z"), Some(1_709_251_199));
        for bad in [
            "7001010000Z",
            "700101000001",
            "701301000001Z",
            "7001010000011Z",
            "+00101000001Z",
            "230229000000Z",
            "230431000000Z",
            "161231235960Z",
        ] {
            assert_eq!(time(UTC_TIME, bad), None, "{bad}");
        }
    }

    proptest! {
        // Whatever a client sends as its certificate, it has names or it has not.
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), at in 0usize..8) {
            // Mostly well-formed outside, so that the inside is reached.
            let mut der = bytes.clone();
            for _ in 0..at {
                der = [&[SEQUENCE, der.len() as u8 & 0x7f][..], &der].concat();
            }
            let _ = (validity(&der), names(&der));
        }
    }
}
