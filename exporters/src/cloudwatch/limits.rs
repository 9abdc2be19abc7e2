//! The gate: what CloudWatch is documented to refuse is found here first, since one bad datum fails a whole request.
//!
//! Source of every limit, where none is named: the API's model, as the comments of aws-sdk-cloudwatch 1.140 have it
//! (`PutMetricData`, `MetricDatum`, `Dimension`).

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use aws_sdk_cloudwatch::types::StandardUnit;

use crate::StatisticSet;
use crate::datum::{Datum, Figures};
use crate::distribution::VALUES;
use crate::ledger::Reason;

/// The most characters of a namespace, a metric's name and a dimension's name.
pub const NAME: usize = 255;
/// The most dimensions of a metric.
pub const DIMENSIONS: usize = 30;
/// The most characters of a dimension's value.
pub const DIMENSION_VALUE: usize = 1024;
/// The largest number, and negated the smallest: 2^360.
pub const NUMBER: f64 = f64::from_bits((1023 + 360) << 52);
/// The most samples of a datum: 2^53. Ours, not the service's: counts travel as f64, and beyond it their sum would no
/// longer be SampleCount.
pub const COUNT: u64 = 1 << f64::MANTISSA_DIGITS;
/// How old a datum may be.
pub const PAST: Duration = Duration::from_secs(14 * 86_400);
/// How far ahead of the service's clock a datum may be.
pub const FUTURE: Duration = Duration::from_secs(2 * 3_600);
/// What is kept off [`PAST`]: time to arrive, and a clock that is a little off. Ours.
pub const MARGIN: Duration = Duration::from_secs(10 * 60);

/// How far a sum may lie beyond its bounds, as a part of them. Very many additions round by more than one would think;
/// a sum that belongs to other values is off by far more.
const ROUNDING: f64 = 1e-6;
/// The most characters that a message quotes.
const QUOTED: usize = 60;

/// Why a datum will not be sent, in one line that names the metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What about it, for the ledger.
    pub reason: Reason,
    metric: String,
    problem: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metric {}: {}", self.metric, self.problem)
    }
}

impl std::error::Error for Refusal {}

/// Whether the service's clock lets a datum in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Older than two weeks, or so soon that it might be on arrival.
    TooOld,
    /// Within the window.
    Good,
    /// More than two hours ahead: good later.
    Ahead,
}

/// The age of a datum that starts at `start`; both in milliseconds since the Unix epoch.
pub fn age(start: u64, now: u64) -> Age {
    if u128::from(now.saturating_sub(start)) > (PAST - MARGIN).as_millis() {
        Age::TooOld
    } else if u128::from(start.saturating_sub(now)) > FUTURE.as_millis() {
        Age::Ahead
    } else {
        Age::Good
    }
}

/// Checks everything about a datum but its age, which depends on when it is sent.
///
/// # Errors
///
/// The first limit that it breaks.
pub fn check(datum: &Datum) -> Result<(), Refusal> {
    let refuse = |reason| move |problem| Refusal { reason, metric: quoted(&datum.name), problem };
    name("name", &datum.name).map_err(refuse(Reason::InvalidName))?;
    dimensions(&datum.dimensions).map_err(refuse(Reason::InvalidDimension))?;
    figures(datum).map_err(refuse(Reason::InvalidValue))
}

/// Checks a namespace: 1 to 255 of the letters, digits and `.-_/#:` and space, no colon first, not below `AWS/`.
///
/// # Errors
///
/// One line: what was found and what is expected.
pub fn check_namespace(namespace: &str) -> Result<(), String> {
    name("namespace", namespace)?;
    if namespace.starts_with("AWS/") {
        let found = quoted(namespace);
        return Err(format!(
            "namespace {found}: CloudWatch reserves AWS/ for its own services and answers InvalidParameterValue; \
             expected another, such as the documented /aws/sagemaker/TrainingJobs, which is allowed"
        ));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_/#: ".contains(c);
    expect(namespace.chars().all(allowed), || {
        format!("namespace {}, expected letters, digits, spaces and . - _ / # : only", quoted(namespace))
    })
}

/// Checks the value of a dimension, such as the Host: 1 to 1024 characters of printable ASCII, not blank.
///
/// # Errors
///
/// One line: what was found and what is expected.
pub fn check_dimension_value(value: &str) -> Result<(), String> {
    text("dimension value", value, DIMENSION_VALUE)
}

fn figures(datum: &Datum) -> Result<(), String> {
    // The SDK's own list of StandardUnit.
    let unit = &*datum.unit;
    expect(StandardUnit::values().contains(&unit), || {
        format!("unit {}, expected one of {}", quoted(unit), StandardUnit::values().join(", "))
    })?;
    match &datum.figures {
        Figures::Value(value) => number("value", *value),
        Figures::Distribution { statistics, values } => distribution(statistics, values),
    }
}

fn dimensions(dimensions: &[(String, String)]) -> Result<(), String> {
    let found = dimensions.len();
    expect(found <= DIMENSIONS, || format!("{found} dimensions, expected at most {DIMENSIONS}"))?;
    let mut names = BTreeSet::new();
    for (dimension, value) in dimensions {
        name("dimension name", dimension)?;
        check_dimension_value(value).map_err(|problem| format!("dimension {dimension}: {problem}"))?;
        expect(names.insert(dimension), || format!("dimension {dimension} twice, expected each name once"))?;
    }
    Ok(())
}

fn distribution(statistics: &StatisticSet, values: &[(f64, u64)]) -> Result<(), String> {
    let count = statistics.count();
    let (Some(minimum), Some(maximum)) = (statistics.minimum(), statistics.maximum()) else {
        return Err("no samples, expected at least one".to_owned());
    };
    expect(count <= COUNT, || format!("{count} samples, expected at most {COUNT}"))?;
    number("minimum", minimum)?;
    number("maximum", maximum)?;
    number("sum", statistics.sum())?;
    sum(statistics.sum(), count as f64 * minimum, count as f64 * maximum)?;
    let unique = values.len();
    expect(unique <= VALUES, || format!("{unique} values, expected at most {VALUES}"))?;
    expect(values.iter().all(|(_, count)| *count > 0), || "a count of 0, expected 1 or more".to_owned())?;
    let counted: u128 = values.iter().map(|(_, count)| u128::from(*count)).sum();
    expect(counted == u128::from(count), || format!("counts that add up to {counted}, expected {count} as sampled"))?;
    match values.iter().find(|(value, _)| !(minimum..=maximum).contains(value)) {
        Some((value, _)) => Err(format!("value {value:?}, expected one from {minimum:?} to {maximum:?} as sampled")),
        None => Ok(()),
    }
}

fn sum(sum: f64, least: f64, most: f64) -> Result<(), String> {
    let rounding = ROUNDING * least.abs().max(most.abs());
    expect((least - rounding..=most + rounding).contains(&sum), || {
        format!("sum {sum:?}, expected one from {least:?} to {most:?} by count, minimum and maximum")
    })
}

fn number(what: &str, number: f64) -> Result<(), String> {
    expect(number.abs() <= NUMBER, || format!("{what} {number:?}, expected a number from -2^360 to 2^360"))
}

/// A colon first is documented for namespaces and dimensions; no metric of anybody begins with one.
fn name(what: &str, name: &str) -> Result<(), String> {
    text(what, name, NAME)?;
    expect(!name.starts_with(':'), || format!("{what} {}, expected no colon first", quoted(name)))
}

fn text(what: &str, text: &str, most: usize) -> Result<(), String> {
    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    expect(printable, || format!("{what} {}, expected printable ASCII", quoted(text)))?;
    let found = text.len();
    expect(found <= most, || format!("{what} {} of {found} characters, expected at most {most}", quoted(text)))?;
    expect(!text.trim().is_empty(), || format!("{what} {}, expected one that is not blank", quoted(text)))
}

fn expect(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem()) }
}

/// In quotes and escaped, so that a message stays one short line whatever is in it.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datum::Resolution;

    fn datum(figures: Figures) -> Datum {
        Datum {
            name: "CPUUtilization".to_owned(),
            dimensions: vec![("Host".to_owned(), "job/algo-1".to_owned())],
            start: 0,
            resolution: Resolution::Minute,
            unit: "Percent".into(),
            figures,
            periods: 1,
        }
    }

    fn value(value: f64) -> Datum {
        datum(Figures::Value(value))
    }

    fn named(name: &str) -> Datum {
        Datum { name: name.to_owned(), ..value(1.0) }
    }

    fn with_dimensions(dimensions: Vec<(String, String)>) -> Datum {
        Datum { dimensions, ..value(1.0) }
    }

    fn dimension(name: &str, value: &str) -> Datum {
        with_dimensions(vec![(name.to_owned(), value.to_owned())])
    }

    fn distributed(set: (u64, f64, f64, f64), values: &[(f64, u64)]) -> Datum {
        let (count, sum, minimum, maximum) = set;
        let statistics = StatisticSet::from_parts(count, sum, minimum, maximum).unwrap();
        datum(Figures::Distribution { statistics, values: values.to_vec() })
    }

    fn numbered(count: usize) -> Vec<(String, String)> {
        (0..count).map(|n| (format!("d{n}"), "v".to_owned())).collect()
    }

    #[test]
    fn what_is_just_within_a_limit_passes() {
        let many: Vec<_> = (0..VALUES).map(|n| (n as f64, 1)).collect();
        let all = (0..VALUES).map(|n| n as f64).sum();
        for datum in [
            value(0.0),
            value(NUMBER),
            value(-NUMBER),
            named(&"n".repeat(NAME)),
            named("a:b ~"),
            with_dimensions(Vec::new()),
            with_dimensions(numbered(DIMENSIONS)),
            dimension(&"n".repeat(NAME), &"v".repeat(DIMENSION_VALUE)),
            dimension("Host", ":v"),
            Datum { unit: "Terabits/Second".into(), ..value(1.0) },
            distributed((VALUES as u64, all, 0.0, 149.0), &many),
            distributed((3, 0.3, 0.1, 0.1), &[(0.1, 3)]),
            distributed((3, 0.1 + 0.1 + 0.1, 0.1, 0.1), &[(0.1, 3)]),
            distributed((COUNT, 0.0, 0.0, 0.0), &[(0.0, COUNT)]),
            distributed((2, -3.0, -2.0, -1.0), &[(-2.0, 1), (-1.0, 1)]),
        ] {
            assert_eq!(check(&datum), Ok(()), "{datum:?}");
        }
    }

    #[test]
    fn what_is_just_beyond_a_limit_is_refused_by_name_with_what_was_found_and_expected() {
        let many: Vec<_> = (0..=VALUES).map(|_| (1.0, 1)).collect();
        let host = ("Host".to_owned(), "v".to_owned());
        for (datum, found, expected) in [
            (value(f64::NAN), "value NaN", "-2^360"),
            (value(f64::INFINITY), "value inf", "2^360"),
            (value(-NUMBER.next_up()), "value -2.34854258277383", "2^360"),
            (named(&"n".repeat(NAME + 1)), "256 characters", "at most 255"),
            (named(""), "name \"\"", "not blank"),
            (named("  "), "name \"  \"", "not blank"),
            (named(":n"), "name \":n\"", "no colon"),
            (named("größe"), "größe", "ASCII"),
            (named("two\nlines"), "two\\nlines", "ASCII"),
            (with_dimensions(numbered(DIMENSIONS + 1)), "31 dimensions", "at most 30"),
            (with_dimensions(vec![host.clone(), host]), "dimension Host twice", "once"),
            (dimension("", "v"), "dimension name \"\"", "not blank"),
            (dimension(":d", "v"), "\":d\"", "no colon"),
            (dimension(&"n".repeat(NAME + 1), "v"), "256 characters", "at most 255"),
            (dimension("Host", " "), "dimension Host: dimension value \" \"", "not blank"),
            (dimension("Host", "é"), "\"é\"", "ASCII"),
            (dimension("Host", &"v".repeat(DIMENSION_VALUE + 1)), "1025 characters", "at most 1024"),
            (Datum { unit: "percent".into(), ..value(1.0) }, "unit \"percent\"", "one of Bits, "),
            (distributed((0, 0.0, 0.0, 0.0), &[]), "no samples", "at least one"),
            (distributed((COUNT + 1, 0.0, 0.0, 0.0), &[(0.0, COUNT + 1)]), "9007199254740993 samples", "at most"),
            (distributed((151, 151.0, 1.0, 1.0), &many), "151 values", "at most 150"),
            (distributed((1, 1.0, 1.0, 1.0), &[(1.0, 1), (1.0, 0)]), "a count of 0", "1 or more"),
            (distributed((2, 2.0, 1.0, 1.0), &[(1.0, 1)]), "add up to 1", "expected 2"),
            (distributed((2, 2.0, 1.0, 1.0), &[]), "add up to 0", "expected 2"),
            (distributed((u64::MAX >> 12, 0.0, 0.0, 0.0), &[(0.0, u64::MAX), (0.0, u64::MAX)]), "add up", "expected"),
            (distributed((2, 3.0, 1.0, 2.0), &[(1.0, 1), (2.5, 1)]), "value 2.5", "from 1.0 to 2.0"),
            (distributed((1, 1.0, 1.0, 1.0), &[(f64::NAN, 1)]), "value NaN", "from 1.0 to 1.0"),
            (distributed((2, 4.1, 1.0, 2.0), &[(1.0, 1), (2.0, 1)]), "sum 4.1", "from 2.0 to 4.0"),
            (distributed((2, 1.9, 1.0, 2.0), &[(1.0, 1), (2.0, 1)]), "sum 1.9", "from 2.0 to 4.0"),
            (distributed((1, f64::NAN, 1.0, 1.0), &[(1.0, 1)]), "sum NaN", "2^360"),
            (distributed((1, f64::MAX, 1.0, f64::MAX), &[(1.0, 1)]), "maximum 1.797", "2^360"),
            (distributed((1, f64::MIN, f64::MIN, 1.0), &[(1.0, 1)]), "minimum -1.797", "2^360"),
        ] {
            let refusal = check(&datum).expect_err(found).to_string();
            assert!(refusal.starts_with("metric \"") && refusal.contains(found), "{refusal}, not {found}");
            assert!(refusal[refusal.find("expected").unwrap()..].contains(expected), "{refusal}, not {expected}");
            assert!(refusal.lines().count() == 1 && refusal.len() < 400, "{refusal}");
        }
    }

    #[test]
    fn the_largest_number_is_two_to_the_360() {
        assert_eq!(NUMBER, 2f64.powi(360));
    }

    #[test]
    fn namespaces() {
        let longest = "n".repeat(NAME);
        for good in ["/aws/sagemaker/TrainingJobs", "hostgauge/TrainingJobs", "AWS", "a.-_/#: b", "aws/x", &longest] {
            assert_eq!(check_namespace(good), Ok(()));
        }
        let longer = "n".repeat(NAME + 1);
        for (bad, why) in [
            ("", "not blank"),
            (" ", "not blank"),
            (":a", "no colon first"),
            ("a*", "letters, digits"),
            ("ä", "ASCII"),
            (&longer, "at most 255"),
            ("AWS/SageMaker", "InvalidParameterValue"),
            ("AWS/", "/aws/sagemaker/TrainingJobs, which is allowed"),
        ] {
            let problem = check_namespace(bad).unwrap_err();
            assert!(problem.starts_with("namespace ") && problem.contains(why), "{problem}");
        }
    }

    #[test]
    fn a_host_is_a_dimension_value() {
        assert_eq!(check_dimension_value("job/algo-1"), Ok(()));
        assert!(check_dimension_value("").unwrap_err().contains("not blank"));
        assert!(check_dimension_value("hôte").unwrap_err().contains("\"hôte\", expected printable ASCII"));
    }

    #[test]
    fn two_weeks_less_the_margin_back_and_two_hours_ahead() {
        let now = 1_800_000_000_000;
        let oldest = now - (PAST - MARGIN).as_millis() as u64;
        let latest = now + FUTURE.as_millis() as u64;
        let ages = [0, oldest - 1, oldest, now, latest, latest + 1, u64::MAX].map(|start| age(start, now));
        use Age::{Ahead, Good, TooOld};
        assert_eq!(ages, [TooOld, TooOld, Good, Good, Good, Ahead, Ahead]);
        assert_eq!(age(0, 0), Good);
    }
}
