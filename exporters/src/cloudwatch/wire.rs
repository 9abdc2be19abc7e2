//! Data as PutMetricData takes them, and how many bytes they are there.
//!
//! The SDK checks no limit and tells no size, so the size is reckoned here: the layout of Smithy's RPC v2 CBOR, as
//! aws-smithy-cbor 0.64 writes it. Structures are maps without a length, lists arrays with one, every number but
//! StorageResolution an f64.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit, StatisticSet};

use crate::datum::{Datum, Figures};

/// The most bytes of a request, before compression. The documentation does not say before or after; this is the safe
/// reading. Source: the API's model, "1 MB in size for HTTP POST requests".
pub(super) const MAX_REQUEST_BYTES: usize = 1_000_000;
/// The most data of a request. Source: the API's model.
pub(super) const MAX_DATA: usize = 1000;

/// What requests leave free, should another version of the SDK write a little more.
const HEADROOM: usize = 1_000;
/// Begin and end of a map without a length.
const MAP: usize = 2;
/// A byte for the type, eight for the number.
const NUMBER: usize = 9;
/// A tag, and seconds as a number.
const TIMESTAMP: usize = 1 + NUMBER;
/// 60, the larger of the two.
const STORAGE_RESOLUTION: usize = 2;

/// A datum as the SDK takes it.
pub(super) fn metric_datum(datum: &Datum) -> MetricDatum {
    let dimensions: Vec<_> =
        datum.dimensions.iter().map(|(name, value)| Dimension::builder().name(name).value(value).build()).collect();
    let common = MetricDatum::builder()
        .metric_name(&datum.name)
        .set_dimensions(Some(dimensions))
        .timestamp(timestamp(datum))
        .unit(StandardUnit::from(&*datum.unit))
        .storage_resolution(datum.resolution.seconds().into());
    match &datum.figures {
        Figures::Value(value) => common.value(*value).build(),
        Figures::Distribution { statistics, values } => {
            // Both: the set is exact, the values give the percentiles.
            let set = StatisticSet::builder()
                .sample_count(statistics.count() as f64)
                .sum(statistics.sum())
                .set_minimum(statistics.minimum())
                .set_maximum(statistics.maximum())
                .build();
            let (values, counts) = values.iter().map(|(value, count)| (value, *count as f64)).unzip();
            common.statistic_values(set).set_values(Some(values)).set_counts(Some(counts)).build()
        }
    }
}

/// When its period began; a time too late for the SDK becomes the latest.
pub(super) fn timestamp(datum: &Datum) -> DateTime {
    DateTime::from_millis(i64::try_from(datum.start).unwrap_or(i64::MAX))
}

/// The most bytes that a datum takes in a request, before compression.
pub(super) fn datum_bytes(datum: &Datum) -> usize {
    let dimensions: usize = datum
        .dimensions
        .iter()
        .map(|(name, value)| MAP + text("Name") + text(name) + text("Value") + text(value))
        .sum();
    MAP + text("MetricName")
        + text(&datum.name)
        + text("Dimensions")
        + head(datum.dimensions.len())
        + dimensions
        + text("Timestamp")
        + TIMESTAMP
        + text("Unit")
        + text(&datum.unit)
        + text("StorageResolution")
        + STORAGE_RESOLUTION
        + figures_bytes(&datum.figures)
}

fn figures_bytes(figures: &Figures) -> usize {
    match figures {
        Figures::Value(_) => text("Value") + NUMBER,
        Figures::Distribution { values, .. } => {
            let set = text("SampleCount") + text("Sum") + text("Minimum") + text("Maximum") + 4 * NUMBER;
            let lists = text("Values") + text("Counts") + 2 * (head(values.len()) + values.len() * NUMBER);
            text("StatisticValues") + MAP + set + lists
        }
    }
}

/// The most bytes of a request beside its data.
pub(super) fn request_overhead(namespace: &str) -> usize {
    MAP + text("Namespace") + text(namespace) + text("MetricData") + head(MAX_DATA)
}

/// Cuts data into requests by count and bytes, in their order. No datum that passes the gate is too large for one.
pub(super) fn chunks(namespace: &str, data: Vec<Datum>) -> Vec<Vec<Datum>> {
    let room = MAX_REQUEST_BYTES.saturating_sub(HEADROOM + request_overhead(namespace));
    let (mut requests, mut request, mut used) = (Vec::new(), Vec::new(), 0);
    for datum in data {
        let bytes = datum_bytes(&datum);
        if !request.is_empty() && (request.len() == MAX_DATA || used + bytes > room) {
            requests.push(std::mem::take(&mut request));
            used = 0;
        }
        used += bytes;
        request.push(datum);
    }
    if !request.is_empty() {
        requests.push(request);
    }
    requests
}

fn text(text: &str) -> usize {
    head(text.len()) + text.len()
}

/// Type and length of a text or an array.
fn head(length: usize) -> usize {
    match length {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use aws_sdk_cloudwatch::Client;
    use aws_sdk_cloudwatch::config::retry::RetryConfig;
    use aws_sdk_cloudwatch::config::{BehaviorVersion, Config, Credentials, Region};
    use hostgauge_cloudwatch_double::{Double, Options, Request};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::cloudwatch::limits::{self, DIMENSION_VALUE, DIMENSIONS, NAME};
    use crate::datum::Resolution;
    use crate::distribution::VALUES;

    /// The real SDK against a double: what it gets is what the service would.
    struct Service {
        double: Double,
        client: Client,
        runtime: tokio::runtime::Runtime,
    }

    impl Service {
        fn start() -> Self {
            let double = Double::start(Options::default()).unwrap();
            let config = Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("eu-central-1"))
                .endpoint_url(double.url())
                .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"))
                .retry_config(RetryConfig::disabled())
                .disable_request_compression(true)
                // Unlike the default it asks no proxy.
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .build();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            Self { double, client: Client::from_conf(config), runtime }
        }

        fn put(&self, namespace: &str, data: &[Datum]) -> Request {
            let data = data.iter().map(metric_datum).collect();
            let call = self.client.put_metric_data().namespace(namespace).set_metric_data(Some(data)).send();
            let answer = self.runtime.block_on(call);
            let request = self.double.requests().pop().unwrap();
            assert!(answer.is_ok(), "{:?}", request.error);
            request
        }
    }

    /// How large the parts of a datum are; what is in them does not matter.
    #[derive(Clone, Debug)]
    struct Sizes {
        name: usize,
        dimensions: Vec<(usize, usize)>,
        values: Option<usize>,
        unit: usize,
        fine: bool,
    }

    const LARGEST: fn() -> Sizes = || Sizes {
        name: NAME,
        dimensions: vec![(NAME, DIMENSION_VALUE); DIMENSIONS],
        values: Some(VALUES),
        unit: StandardUnit::values().iter().enumerate().max_by_key(|(_, unit)| unit.len()).unwrap().0,
        fine: false,
    };

    /// Unique by its number, as long as the size says.
    fn padded(number: usize, size: usize) -> String {
        format!("{number:x<size$}")
    }

    fn build(sizes: &Sizes, now: u64) -> Datum {
        let figures = match sizes.values {
            None => Figures::Value(12.34),
            Some(count) => {
                let mut statistics = crate::StatisticSet::default();
                let values: Vec<_> = (0..count).map(|n| (n as f64 / 7.0, 1 + n as u64 % 3)).collect();
                values.iter().for_each(|(value, count)| (0..*count).for_each(|_| statistics.record(*value)));
                Figures::Distribution { statistics, values }
            }
        };
        let dimensions = sizes.dimensions.iter().enumerate();
        Datum {
            name: padded(0, sizes.name),
            dimensions: dimensions.map(|(n, (name, value))| (padded(n, *name), padded(n, *value))).collect(),
            start: now - 3_600_123,
            resolution: if sizes.fine { Resolution::Second } else { Resolution::Minute },
            unit: StandardUnit::values()[sizes.unit].into(),
            figures,
            periods: 1,
        }
    }

    fn sizes(dimensions: usize, value: usize, values: usize) -> impl Strategy<Value = Sizes> {
        let unit = 0..StandardUnit::values().len();
        let dimensions = vec((2..=NAME, 2..=value), 0..=dimensions);
        let values = prop_oneof![Just(None), (1..=values).prop_map(Some)];
        (1..=NAME, dimensions, values, unit, any::<bool>()).prop_map(|(name, dimensions, values, unit, fine)| Sizes {
            name,
            dimensions,
            values,
            unit,
            fine,
        })
    }

    /// Requests that the count cuts, that the bytes cut, and that nothing does.
    fn data() -> impl Strategy<Value = Vec<Sizes>> {
        prop_oneof![
            vec(sizes(1, 20, 3), 990..1300),
            vec(sizes(2, 50, VALUES), 100..900),
            vec(sizes(DIMENSIONS, DIMENSION_VALUE, VALUES), 1..120),
            vec(Just(LARGEST()), 1..60),
        ]
    }

    fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
    }

    fn reckoned(namespace: &str, request: &[Datum]) -> usize {
        request_overhead(namespace) + request.iter().map(datum_bytes).sum::<usize>()
    }

    #[test]
    fn a_distribution_arrives_with_values_and_statistics_and_a_value_alone() {
        let service = Service::start();
        let now = now();
        let distribution = build(&Sizes { values: Some(2), fine: true, ..LARGEST() }, now);
        let value = build(&Sizes { values: None, dimensions: Vec::new(), ..LARGEST() }, now);
        let input = service.put("hostgauge/test", &[distribution.clone(), value.clone()]).input.unwrap();
        assert_eq!(input.namespace, "hostgauge/test");
        let [first, second] = &input.metric_data[..] else { panic!("{input:?}") };
        assert_eq!((&first.metric_name, &first.dimensions), (&distribution.name, &distribution.dimensions));
        assert_eq!((first.values.as_slice(), first.counts.as_deref()), (&[0.0, 1.0 / 7.0][..], Some(&[1.0, 2.0][..])));
        let set = first.statistic_values.unwrap();
        assert_eq!((set.sample_count, set.sum, set.minimum, set.maximum), (3.0, 2.0 / 7.0, 0.0, 1.0 / 7.0));
        assert_eq!((first.value, first.storage_resolution), (None, Some(1)));
        assert_eq!((first.unit.as_deref(), second.storage_resolution), (Some(&*distribution.unit), Some(60)));
        assert_eq!(second.value, Some(12.34));
        assert!(second.values.is_empty() && second.statistic_values.is_none() && second.dimensions.is_empty());
        let milliseconds = |seconds: Option<f64>| (seconds.unwrap() * 1000.0).round() as u64;
        assert_eq!([first, second].map(|datum| milliseconds(datum.timestamp)), [now - 3_600_123; 2]);
    }

    #[test]
    fn the_largest_datum_that_passes_the_gate_fits_a_request() {
        let largest = build(&LARGEST(), now());
        assert_eq!(limits::check(&largest), Ok(()));
        let namespace = "n".repeat(NAME);
        let bytes = reckoned(&namespace, std::slice::from_ref(&largest));
        assert!(bytes + HEADROOM <= MAX_REQUEST_BYTES, "{bytes}");
        assert_eq!(chunks(&namespace, vec![largest; 2]).len(), 1);
    }

    #[test]
    fn nothing_needs_no_request() {
        assert_eq!(chunks("n", Vec::new()), Vec::<Vec<Datum>>::new());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 20, ..ProptestConfig::default() })]

        // Whatever the data: in requests they keep their order, no request has more than 1000 data or 1,000,000 bytes,
        // the reckoned size is never below the real one and close to it, and the service takes every request.
        #[test]
        fn requests_keep_the_limits(data in data(), namespace in 1..=NAME) {
            let now = now();
            let (service, namespace) = (Service::start(), "n".repeat(namespace));
            let data: Vec<_> = data.iter().map(|sizes| build(sizes, now)).collect();
            let requests = chunks(&namespace, data.clone());
            prop_assert_eq!(requests.concat(), data);
            for request in requests {
                prop_assert!((1..=MAX_DATA).contains(&request.len()));
                prop_assert!(request.iter().all(|datum| limits::check(datum).is_ok()));
                let real = service.put(&namespace, &request).uncompressed_bytes;
                let reckoned = reckoned(&namespace, &request);
                prop_assert!(real <= MAX_REQUEST_BYTES);
                prop_assert!(real <= reckoned && reckoned <= real + real / 50 + 4, "{} for {}", reckoned, real);
            }
        }
    }

    proptest! {
        // No request is cut before it must be: it and the first datum of the next would not fit together.
        #[test]
        fn requests_are_full(data in vec(sizes(DIMENSIONS, DIMENSION_VALUE, VALUES), 0..200)) {
            let data = data.iter().map(|sizes| build(sizes, 3_600_123)).collect();
            for pair in chunks("n", data).windows(2) {
                let together = reckoned("n", &pair[0]) + datum_bytes(&pair[1][0]);
                prop_assert!(together > MAX_REQUEST_BYTES - HEADROOM);
            }
        }
    }
}
