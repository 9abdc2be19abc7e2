//! What is accepted is stored as sent.

use std::time::Duration;

use aws_sdk_cloudwatch::types::StandardUnit;

use crate::client::{Fixture, NAMESPACE, datum, dimension, set};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn moments(point: &hostgauge_cloudwatch_double::Statistics) -> [f64; 4] {
    [point.sample_count, point.sum, point.minimum, point.maximum]
}

#[test]
fn single_values_add_up() {
    let fixture = Fixture::start();
    fixture.put([datum("m").value(1.5).build(), datum("m").value(-2.25).build()]).unwrap();
    fixture.put([datum("m").value(1.5).build()]).unwrap();
    let point = fixture.point("m");
    assert_eq!(moments(&point), [3.0, 0.75, -2.25, 1.5]);
    assert_eq!(point.values().collect::<Vec<_>>(), [(-2.25, 1.0), (1.5, 2.0)]);
    assert_eq!(point.percentile(50.0), None, "a negative value");

    assert_eq!(fixture.double.series()[0].unit, "None");

    let request = fixture.last_request();
    assert_eq!((request.status, request.stored, request.error.as_ref()), (Some(200), true, None));
    assert_eq!(request.raw_bytes, request.uncompressed_bytes);
    let input = request.input.as_ref().unwrap();
    assert_eq!((input.namespace.as_str(), input.metric_data[0].value), (NAMESPACE, Some(1.5)));
    assert!(request.header("authorization").unwrap().contains("/eu-central-1/monitoring/aws4_request"));
}

#[test]
fn statistic_values_have_no_percentiles() {
    let fixture = Fixture::start();
    fixture.put([datum("m").statistic_values(set(60.0, 3_012.345, 1.25, 99.75)).build()]).unwrap();
    let point = fixture.point("m");
    assert_eq!(moments(&point), [60.0, 3_012.345, 1.25, 99.75]);
    assert_eq!((point.values().count(), point.percentile(50.0)), (0, None));

    // Of one value they have: nothing else can have been in it.
    fixture.put([datum("n").statistic_values(set(4.0, 10.0, 2.5, 2.5)).build()]).unwrap();
    assert_eq!(fixture.point("n").percentile(99.0), Some(2.5));
    // A sum that does not fit says that something is off.
    fixture.put([datum("odd").statistic_values(set(4.0, 11.0, 2.5, 2.5)).build()]).unwrap();
    assert_eq!(fixture.point("odd").percentile(99.0), None);
    // One part without values spoils the bucket.
    fixture.put([datum("n").statistic_values(set(2.0, 3.0, 1.0, 2.0)).build()]).unwrap();
    assert_eq!(fixture.point("n").percentile(99.0), None);
}

#[test]
fn values_come_with_counts_and_exact_moments() {
    let fixture = Fixture::start();
    let counted = datum("m").set_values(Some(vec![1.0, 2.0, 3.0])).set_counts(Some(vec![10.0, 0.5, 4.0]));
    fixture.put([counted.clone().build()]).unwrap();
    let point = fixture.point("m");
    assert_eq!(moments(&point), [14.5, 23.0, 1.0, 3.0]);
    assert_eq!(point.values().collect::<Vec<_>>(), [(1.0, 10.0), (2.0, 0.5), (3.0, 4.0)]);
    assert_eq!([0.0, 50.0, 70.0, 75.0, 100.0].map(|p| point.percentile(p).unwrap()), [1.0, 1.0, 2.0, 3.0, 3.0]);

    // The rank itself is enough, and a zero is a zero.
    fixture.put([-0.0, 0.0, 1.0, 1.0].map(|value| datum("rank").value(value).build())).unwrap();
    let point = fixture.point("rank");
    assert_eq!(point.values().collect::<Vec<_>>(), [(0.0, 2.0), (1.0, 2.0)]);
    assert_eq!(point.percentile(50.0), Some(0.0));

    // Rounded values, exact moments.
    fixture.put([counted.metric_name("both").statistic_values(set(14.5, 23.4, 0.9, 3.1)).build()]).unwrap();
    let point = fixture.point("both");
    assert_eq!(moments(&point), [14.5, 23.4, 0.9, 3.1]);
    assert_eq!((point.values().count(), point.percentile(50.0)), (3, Some(1.0)));

    // Counts left out are ones.
    fixture.put([datum("ones").set_values(Some(vec![4.0, 6.0, 4.0])).build()]).unwrap();
    assert_eq!(moments(&fixture.point("ones")), [3.0, 14.0, 4.0, 6.0]);
}

#[test]
fn a_compressed_body_is_unpacked() {
    let fixture = Fixture::start();
    let values: Vec<f64> = (0..150).map(f64::from).collect();
    fixture.put((0..20).map(|n| datum(&format!("m{n}")).set_values(Some(values.clone())).build())).unwrap();
    let request = fixture.last_request();
    assert_eq!(request.header("content-encoding"), Some("gzip"));
    assert!(request.raw_bytes < request.uncompressed_bytes && request.uncompressed_bytes > 20 * 150 * 9);
    assert_eq!(fixture.double.series().len(), 20);
    assert_eq!(moments(&fixture.point("m19")), [150.0, 11_175.0, 0.0, 149.0]);
}

#[test]
fn a_series_is_its_dimensions_in_any_order_and_its_unit() {
    let fixture = Fixture::start();
    let (a, b) = (dimension("Host", "job/algo-1"), dimension("Gpu", "0"));
    let one = datum("m").value(1.0).unit(StandardUnit::Percent);
    fixture
        .put([
            one.clone().dimensions(a.clone()).dimensions(b.clone()).build(),
            one.clone().dimensions(b.clone()).dimensions(a.clone()).build(),
            one.clone().unit(StandardUnit::Count).dimensions(a.clone()).dimensions(b).build(),
            one.clone().dimensions(a).build(),
            one.build(),
        ])
        .unwrap();
    let range = fixture.now..fixture.now + HOUR;
    let of = |dimensions: &[(&str, &str)]| {
        let points = fixture.double.statistics(NAMESPACE, "m", dimensions, Duration::from_secs(60), range.clone());
        points.iter().map(|point| (point.unit.clone(), point.statistics.sample_count)).collect::<Vec<_>>()
    };
    let (percent, count) = ("Percent".to_owned(), "Count".to_owned());
    assert_eq!(of(&[("Gpu", "0"), ("Host", "job/algo-1")]), [(count, 1.0), (percent.clone(), 2.0)]);
    assert_eq!(of(&[("Host", "job/algo-1")]), [(percent.clone(), 1.0)]);
    assert_eq!(of(&[]), [(percent, 1.0)]);
    assert_eq!(of(&[("Gpu", "0")]), []);
    assert_eq!(fixture.double.series().len(), 4);
}

#[test]
fn buckets_are_minutes_or_seconds() {
    let fixture = Fixture::start();
    let at = |name: &str, second, resolution| {
        datum(name).value(1.0).timestamp(fixture.after(second)).storage_resolution(resolution).build()
    };
    fixture.put([0, 1, 1, 59, 60].map(|second| at("minutes", second, 60))).unwrap();
    fixture.put([0, 1, 1, 59, 60].map(|second| at("seconds", second, 1))).unwrap();
    let counts = |name: &str, period| {
        let points = fixture.points(name, period);
        let offset = |start: std::time::SystemTime| start.duration_since(fixture.now).unwrap().as_secs();
        points.iter().map(|point| (offset(point.start), point.statistics.sample_count)).collect::<Vec<_>>()
    };
    assert_eq!(counts("minutes", 60), [(0, 4.0), (60, 1.0)]);
    assert_eq!(counts("minutes", 1), []);
    assert_eq!(counts("seconds", 60), [(0, 4.0), (60, 1.0)]);
    assert_eq!(counts("seconds", 10), [(0, 3.0), (50, 1.0), (60, 1.0)]);
    assert_eq!(counts("seconds", 1), [(0, 1.0), (1, 2.0), (59, 1.0), (60, 1.0)]);
    // A range begins with the period that it falls into and ends before its end.
    let range = fixture.now + Duration::from_secs(59)..fixture.now + Duration::from_secs(60);
    let points = fixture.double.statistics(NAMESPACE, "seconds", &[], Duration::from_secs(60), range);
    assert_eq!(points.len(), 1);
}

#[test]
fn data_go_when_their_time_is_over() {
    let fixture = Fixture::start();
    fixture.put([datum("m").value(1.0).storage_resolution(1).build()]).unwrap();
    let second = Duration::from_secs(1);
    for (age, periods) in [
        (3 * HOUR, vec![1, 60, 300, 3_600]),
        (3 * HOUR + second, vec![60, 300, 3_600]),
        (15 * DAY, vec![60, 300, 3_600]),
        (15 * DAY + second, vec![300, 3_600]),
        (63 * DAY + second, vec![3_600]),
        (455 * DAY + second, vec![]),
    ] {
        fixture.double.set_clock(Some(fixture.now + age));
        let kept: Vec<_> = [1, 60, 300, 3_600].into_iter().filter(|p| !fixture.points("m", *p).is_empty()).collect();
        assert_eq!(kept, periods, "after {age:?}");
    }
}
