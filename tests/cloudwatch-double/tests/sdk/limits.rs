//! Every limit: accepted at it, refused one beyond, with the code and the name of the member.

use std::time::{Duration, SystemTime};

use aws_sdk_cloudwatch::types::{MetricDatum, StandardUnit};

use crate::client::{Failure, Fixture, datum, dimension, set};

const VALUE: &str = "InvalidParameterValue";
const COMBINATION: &str = "InvalidParameterCombination";
const MISSING: &str = "MissingParameter";

/// Each pair: what is accepted, what is not, the code, a part of the message.
fn check(fixture: &Fixture, pairs: impl IntoIterator<Item = (MetricDatum, MetricDatum, &'static str, &'static str)>) {
    for (good, bad, code, words) in pairs {
        fixture.put([good]).unwrap_or_else(|failure| panic!("{words}: {failure:?}"));
        assert!(fixture.last_request().stored);
        let (refused, message) = fixture.refusal([bad]);
        assert_eq!(refused, code, "{message}");
        assert!(message.contains(words), "{message:?} lacks {words:?}");
        let request = fixture.last_request();
        assert_eq!((request.status, request.stored), (Some(400), false));
        assert_eq!(request.error, Some((refused, message)));
    }
}

#[test]
fn numbers() {
    let fixture = Fixture::start();
    let value = |value| datum("m").value(value).build();
    let of_set = |a, b, c, d| datum("m").statistic_values(set(a, b, c, d)).build();
    let counted = |values: &[f64], counts: &[f64]| {
        datum("m").set_values(Some(values.to_vec())).set_counts(Some(counts.to_vec())).build()
    };
    let (most, beyond) = (2f64.powi(360), 2f64.powi(360) * (1.0 + f64::EPSILON));
    let (one, good) = (value(1.0), of_set(1.0, 1.0, 1.0, 1.0));
    check(
        &fixture,
        [
            (value(most), value(beyond), VALUE, "for parameter MetricData.member.1.Value is invalid."),
            (value(-most), value(-beyond), VALUE, "MetricData.member.1.Value is invalid."),
            (one.clone(), value(f64::NAN), VALUE, "The value NaN for parameter MetricData.member.1.Value is invalid."),
            (one.clone(), value(f64::INFINITY), VALUE, "The value Infinity for"),
            (one.clone(), value(f64::NEG_INFINITY), VALUE, "The value -Infinity for"),
            (good.clone(), of_set(0.0, 1.0, 1.0, 1.0), VALUE, "member.1.StatisticValues.SampleCount"),
            (good.clone(), of_set(1.0, f64::NAN, 1.0, 1.0), VALUE, "member.1.StatisticValues.Sum"),
            (of_set(1.0, 1.0, 1.0, most), of_set(1.0, 1.0, 1.0, beyond), VALUE, "StatisticValues.Maximum"),
            (good, of_set(1.0, 1.0, 2.0, 1.0), VALUE, "StatisticValues.Maximum must be greater than"),
            (counted(&[1.0, most], &[1.0, most]), counted(&[1.0, beyond], &[1.0; 2]), VALUE, "Values.member.2"),
            (counted(&[1.0], &[f64::MIN_POSITIVE]), counted(&[1.0], &[0.0]), VALUE, "Counts.member.1"),
            (counted(&[1.0], &[1.0]), counted(&[1.0], &[f64::NAN]), VALUE, "Counts.member.1"),
        ],
    );
}

#[test]
fn combinations() {
    let fixture = Fixture::start();
    let value = || datum("m").value(1.0);
    let values = |n: usize| datum("m").set_values(Some((0..n).map(|n| n as f64 / 8.0).collect()));
    let counted = |values: usize, counts: usize| {
        let datum = datum("m").set_values(Some(vec![1.0; values]));
        datum.set_counts(Some(vec![1.0; counts])).build()
    };
    let one = set(1.0, 1.0, 1.0, 1.0);
    let twice_the_same = values(150).values(0.0).build();
    let same_size =
        "The parameters MetricData.member.1.Values and MetricData.member.1.Counts must be of the same size.";
    let exclusive = "Value and MetricData.member.1.StatisticValues are mutually exclusive and you have specified both.";
    let with_set = |count| values(2).statistic_values(set(count, 1.0, 0.0, 1.0)).build();
    check(
        &fixture,
        [
            (counted(2, 2), counted(2, 3), VALUE, same_size),
            (counted(2, 2), counted(2, 1), VALUE, same_size),
            (counted(2, 2), counted(0, 1), VALUE, same_size),
            (value().build(), value().statistic_values(one).build(), COMBINATION, exclusive),
            (value().build(), value().values(1.0).build(), COMBINATION, "Value and MetricData.member.1.Values are"),
            (with_set(2.0), with_set(3.0), COMBINATION, "must be the sum of MetricData.member.1.Counts"),
            (value().build(), datum("m").build(), MISSING, "MetricData.member.1.Value is required."),
            (
                values(150).build(),
                values(151).build(),
                VALUE,
                "MetricData.member.1.Values must not have a size greater",
            ),
            // 151 values, of which 150 are unique.
            (twice_the_same, values(151).build(), VALUE, "than 150."),
        ],
    );
}

#[test]
fn names() {
    let fixture = Fixture::start();
    let named = |name: &str| datum(name).value(1.0).build();
    let long = |length: usize| "x".repeat(length);
    let with = |name: &str, value: &str| datum("m").value(1.0).dimensions(dimension(name, value)).build();
    let many = |count| {
        let dimensions = (0..count).map(|n| dimension(&format!("d{n}"), "v")).collect();
        datum("m").value(1.0).set_dimensions(Some(dimensions)).build()
    };
    let twice = datum("m").value(1.0).dimensions(dimension("a", "1")).dimensions(dimension("a", "2")).build();
    check(
        &fixture,
        [
            (named(&long(255)), named(&long(256)), VALUE, "MetricName must be shorter than 256 characters."),
            (named("x"), named(""), MISSING, "MetricData.member.1.MetricName is required."),
            (named("x y"), named("é"), VALUE, "MetricData.member.1.MetricName is invalid."),
            (with(&long(255), "v"), with(&long(256), "v"), VALUE, "Dimensions.member.1.Name must be shorter than 256"),
            (with("n", &long(1024)), with("n", &long(1025)), VALUE, "Value must be shorter than 1025 characters."),
            (with("n", "v"), with("n", ""), MISSING, "Dimensions.member.1.Value is required."),
            (with("n", "v"), with("n", " "), MISSING, "Dimensions.member.1.Value is required."),
            (with("n", "v"), with("", "v"), MISSING, "Dimensions.member.1.Name is required."),
            (with("n:", ":v"), with(":n", "v"), VALUE, "Dimensions.member.1.Name is invalid."),
            (with("n", "~"), with("n", "\u{7f}"), VALUE, "Dimensions.member.1.Value is invalid."),
            (many(30), many(31), VALUE, "MetricData.member.1.Dimensions must not have a size greater than 30."),
            (many(2), twice, VALUE, "No metric may specify the same dimension name twice."),
        ],
    );
}

#[test]
fn times_units_and_resolutions() {
    let fixture = Fixture::start();
    let at = |seconds| datum("m").value(1.0).timestamp(fixture.after(seconds)).build();
    let resolution = |resolution| datum("m").value(1.0).storage_resolution(resolution).build();
    let unit = |unit: &str| datum("m").value(1.0).unit(StandardUnit::from(unit)).build();
    let (past, future) = (-14 * 86_400, 2 * 3_600);
    check(
        &fixture,
        [
            (
                at(past),
                at(past - 1),
                VALUE,
                "MetricData.member.1.Timestamp must specify a time within the past two weeks.",
            ),
            (at(future), at(future + 1), VALUE, "Timestamp must specify a time no more than two hours in the future."),
            (resolution(1), resolution(0), VALUE, "MetricData.member.1.StorageResolution is invalid."),
            (resolution(60), resolution(61), VALUE, "StorageResolution"),
            (unit("None"), unit("percent"), VALUE, "MetricData.member.1.Unit must be a value in the set [ Seconds, "),
        ],
    );
    for known in StandardUnit::values() {
        fixture.put([unit(known)]).unwrap_or_else(|failure| panic!("{known}: {failure:?}"));
    }
}

#[test]
fn namespaces() {
    let fixture = Fixture::start();
    let one = || [datum("m").value(1.0).build()];
    for good in ["x", &"x".repeat(255), "/aws/sagemaker/TrainingJobs", "a.b-c_d/e#f:g h", "aws/x"] {
        fixture.put_into(good, one()).unwrap_or_else(|failure| panic!("{good}: {failure:?}"));
    }
    for (bad, expected, words) in [
        ("", MISSING, "The parameter Namespace is required."),
        (" ", MISSING, "The parameter Namespace is required."),
        (&"x".repeat(256), VALUE, "The parameter Namespace must be shorter than 256 characters."),
        ("AWS/x", VALUE, "The value AWS/ for parameter Namespace is invalid."),
        (":x", VALUE, "The value :x for parameter Namespace is invalid."),
        ("é", VALUE, "The value é for parameter Namespace is invalid."),
        ("a&b", VALUE, "The value a&b for parameter Namespace is invalid."),
    ] {
        let Err(Failure::Service { status: 400, code, message }) = fixture.put_into(bad, one()) else {
            panic!("{bad} is accepted");
        };
        assert_eq!((code.as_deref(), message.as_str()), (Some(expected), words));
    }
}

#[test]
fn metrics_in_a_request() {
    let fixture = Fixture::start();
    let many = |count| (0..count).map(|_| datum("m").value(1.0).build());
    fixture.put(many(1000)).unwrap();
    assert_eq!(fixture.point("m").sample_count, 1000.0);
    let too_many = "The collection MetricData must not have a size greater than 1000.".to_owned();
    assert_eq!(fixture.refusal(many(1001)), (VALUE.to_owned(), too_many));
    assert_eq!(fixture.refusal([]), (MISSING.to_owned(), "The parameter MetricData is required.".to_owned()));
    assert_eq!(fixture.point("m").sample_count, 1000.0);
}

#[test]
fn bytes_of_a_request_before_compression() {
    let fixture = Fixture::start();
    // Names of 32 to 255 characters all have a head of 2 bytes, so that the body grows by a byte per character.
    let of_names = |extra: usize| {
        (0..1000).map(move |n| {
            let name = "x".repeat(32 + extra / 1000 + usize::from(n < extra % 1000));
            datum(&name).value(1.0).dimensions(dimension("Host", &"y".repeat(750))).build()
        })
    };
    fixture.put(of_names(0)).unwrap();
    let base = fixture.last_request().uncompressed_bytes;
    let room = 1_000_000 - base;
    assert!(room < 223_000, "{base}");
    fixture.put(of_names(room)).unwrap();
    let request = fixture.last_request();
    assert_eq!(request.uncompressed_bytes, 1_000_000);
    assert!(request.raw_bytes < 100_000);

    let refused = fixture.put(of_names(room + 1));
    assert_eq!(refused, Err(Failure::Service { status: 413, code: None, message: String::new() }));
    let request = fixture.last_request();
    assert_eq!((request.uncompressed_bytes, request.stored, request.input), (1_000_001, false, None));
}

#[test]
fn one_bad_datum_fails_all_and_is_named() {
    let fixture = Fixture::start();
    let data = [1.0, f64::NAN, 2.0, f64::INFINITY].map(|value| datum("m").value(value).build());
    let old = datum("m").value(1.0).timestamp(fixture.after(-15 * 86_400)).build();
    let both = datum("m").value(1.0).values(1.0).build();
    let (code, message) = fixture.refusal(data.into_iter().chain([old, both]));
    assert_eq!(code, VALUE);
    // The last one has another code, and an answer has only one.
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines.len(), 3, "{message}");
    for (line, member) in lines.iter().zip(["member.2.Value", "member.4.Value", "member.5.Timestamp"]) {
        assert!(line.contains(member), "{line}");
    }
    assert_eq!(fixture.double.series(), []);
}

#[test]
fn the_age_of_a_signature() {
    let put = |fixture: &Fixture| fixture.put([datum("m").value(1.0).build()]);
    let real = SystemTime::now();
    let (near, far) = (Duration::from_secs(270), Duration::from_secs(330));
    for clock in [real - near, real + near] {
        let fixture = Fixture::start();
        fixture.double.set_clock(Some(clock));
        assert_eq!(put(&fixture), Ok(()));
    }
    for (clock, words) in [(real - far, "Signature not yet current: "), (real + far, "Signature expired: ")] {
        let fixture = Fixture::start();
        fixture.double.set_clock(Some(clock));
        let Err(Failure::Service { status: 403, code, message }) = put(&fixture) else { panic!("accepted") };
        assert_eq!(code.as_deref(), Some("SignatureDoesNotMatch"));
        assert!(message.starts_with(words), "{message}");
        // From the Date of that answer on, the SDK signs by the double's clock.
        assert_eq!(put(&fixture), Ok(()));
    }
}
