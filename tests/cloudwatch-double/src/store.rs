//! Where accepted data lie: series, and in each its buckets.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::message::PutMetricData;
use crate::statistics::Statistics;

/// What makes a series: another unit is another series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// Namespace.
    pub namespace: String,
    /// MetricName.
    pub name: String,
    /// Dimensions; their order does not count.
    pub dimensions: BTreeSet<(String, String)>,
    /// Unit; `None` where none was sent.
    pub unit: String,
}

/// One period of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Datapoint {
    /// Where the period begins.
    pub start: SystemTime,
    /// The unit: a query that names none gets the datapoints of all.
    pub unit: String,
    /// What fell into it.
    pub statistics: Statistics,
}

/// Start in seconds since 1970, and seconds of resolution.
type Bucket = (u64, u64);

#[derive(Debug, Default)]
pub(crate) struct Store(BTreeMap<Series, BTreeMap<Bucket, Statistics>>);

impl Store {
    /// Takes a call that passed the limits.
    pub(crate) fn put(&mut self, call: &PutMetricData, now: SystemTime) {
        for datum in &call.metric_data {
            let series = Series {
                namespace: call.namespace.clone(),
                name: datum.metric_name.clone(),
                dimensions: datum.dimensions.iter().cloned().collect(),
                unit: datum.unit.as_deref().unwrap_or("None").to_owned(),
            };
            let resolution = if datum.storage_resolution == Some(1) { 1 } else { 60 };
            let bucket = (align(seconds(datum.time(now)), resolution), resolution);
            let statistics = Statistics::of(datum);
            let buckets = self.0.entry(series).or_default();
            buckets.entry(bucket).and_modify(|known| known.add(&statistics)).or_insert(statistics);
        }
    }

    /// The datapoints of `wanted` (a series but for its unit) that begin in `range`, as far as they are kept at `now`.
    pub(crate) fn query(&self, wanted: &Query<'_>, range: Range<SystemTime>, now: SystemTime) -> Vec<Datapoint> {
        let period = wanted.period.as_secs().max(1);
        let (from, to) = (align(seconds(range.start), period), seconds(range.end));
        let mut found: BTreeMap<(u64, &str), Statistics> = BTreeMap::new();
        for (series, buckets) in self.0.iter().filter(|(series, _)| wanted.is(series)) {
            for ((start, resolution), statistics) in buckets {
                let point = align(*start, period);
                let kept = seconds(now).saturating_sub(*start) <= retention(period);
                // What came by the minute cannot be told by the second.
                if (from..to).contains(&point) && kept && *resolution <= period {
                    let point = found.entry((point, &series.unit));
                    point.and_modify(|known| known.add(statistics)).or_insert_with(|| statistics.clone());
                }
            }
        }
        let datapoint = |((start, unit), statistics): ((u64, &str), _)| Datapoint {
            start: time(start),
            unit: unit.to_owned(),
            statistics,
        };
        found.into_iter().map(datapoint).collect()
    }

    /// Every bucket with its start and its seconds of resolution, however old.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Series, SystemTime, u64, &Statistics)> {
        self.0.iter().flat_map(|(series, buckets)| {
            buckets.iter().map(move |((start, resolution), statistics)| (series, time(*start), *resolution, statistics))
        })
    }
}

pub(crate) struct Query<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) dimensions: BTreeSet<(&'a str, &'a str)>,
    pub(crate) period: Duration,
}

impl Query<'_> {
    fn is(&self, series: &Series) -> bool {
        let dimensions = series.dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.namespace == series.namespace && self.name == series.name && self.dimensions.iter().copied().eq(dimensions)
    }
}

/// How long CloudWatch keeps points of a period, both in seconds.
fn retention(period: u64) -> u64 {
    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;
    match period {
        ..60 => 3 * HOUR,
        60..300 => 15 * DAY,
        300..3_600 => 63 * DAY,
        3_600.. => 455 * DAY,
    }
}

fn align(seconds: u64, period: u64) -> u64 {
    seconds - seconds % period
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{Datum, StatisticSet};

    /// Sums of 64ths are exact, so that another order cannot give another sum.
    fn number() -> impl Strategy<Value = f64> {
        (-64_000..64_000).prop_map(|number| f64::from(number) / 64.0)
    }

    fn count() -> impl Strategy<Value = f64> {
        (1..1_000).prop_map(|count| f64::from(count) / 4.0)
    }

    fn set() -> impl Strategy<Value = StatisticSet> {
        (count(), number(), number(), number()).prop_map(|(sample_count, sum, a, b)| StatisticSet {
            sample_count,
            sum,
            minimum: a.min(b),
            maximum: a.max(b),
        })
    }

    fn datum() -> impl Strategy<Value = Datum> {
        let empty = Datum { metric_name: "m".to_owned(), timestamp: Some(0.0), ..Datum::default() };
        let (single, of_set, counted) = (empty.clone(), empty.clone(), empty);
        let counts = proptest::collection::vec((number(), count()), 1..20);
        let kind = prop_oneof![
            number().prop_map(move |value| Datum { value: Some(value), ..single.clone() }),
            set().prop_map(move |set| Datum { statistic_values: Some(set), ..of_set.clone() }),
            (counts, proptest::option::of(set())).prop_map(move |(counted_values, statistic_values)| {
                let (values, counts) = counted_values.into_iter().unzip();
                Datum { values, counts: Some(counts), statistic_values, ..counted.clone() }
            }),
        ];
        let place = (0..150u32, prop_oneof![Just(1), Just(60)], prop_oneof![Just("Percent"), Just("Count")]);
        (kind, place).prop_map(|(datum, (second, resolution, unit))| Datum {
            timestamp: Some(second.into()),
            storage_resolution: Some(resolution),
            unit: Some(unit.to_owned()),
            ..datum
        })
    }

    fn data() -> impl Strategy<Value = Vec<Datum>> {
        proptest::collection::vec(datum(), 1..30)
    }

    /// Data, and the same in another order.
    fn shuffled() -> impl Strategy<Value = (Vec<Datum>, Vec<Datum>)> {
        data().prop_flat_map(|data| (Just(data.clone()), Just(data).prop_shuffle()))
    }

    /// A store with the data of each call.
    fn store<'a>(calls: impl IntoIterator<Item = &'a [Datum]>) -> Store {
        let mut store = Store::default();
        for metric_data in calls {
            let call = PutMetricData { namespace: "n".to_owned(), metric_data: metric_data.to_vec() };
            store.put(&call, UNIX_EPOCH);
        }
        store
    }

    fn points(store: &Store, period: u64) -> Vec<Datapoint> {
        let query =
            Query { namespace: "n", name: "m", dimensions: BTreeSet::new(), period: Duration::from_secs(period) };
        store.query(&query, UNIX_EPOCH..UNIX_EPOCH + Duration::from_secs(600), UNIX_EPOCH)
    }

    proptest! {
        /// Neither the order of the data counts, nor how they are spread over calls.
        #[test]
        fn order_does_not_matter((sent, mixed) in shuffled(), cut in 0..30usize) {
            let cut = cut.min(mixed.len());
            let (one, other) = mixed.split_at(cut);
            prop_assert_eq!(store([sent.as_slice()]).0, store([one, other]).0);
        }

        /// A request that comes twice doubles sums and counts, and leaves the rest.
        #[test]
        fn duplicates_add(data in data()) {
            let (once, twice) = (store([data.as_slice()]), store([data.as_slice(), data.as_slice()]));
            let (once, twice) = (points(&once, 60), points(&twice, 60));
            prop_assert_eq!(once.len(), twice.len());
            for (one, two) in once.iter().zip(&twice) {
                prop_assert_eq!((one.start, &one.unit), (two.start, &two.unit));
                let (one, two) = (&one.statistics, &two.statistics);
                prop_assert_eq!((one.sample_count * 2.0, one.sum * 2.0), (two.sample_count, two.sum));
                prop_assert_eq!((one.minimum, one.maximum), (two.minimum, two.maximum));
                prop_assert_eq!(one.average(), two.average());
                for percent in [0.0, 10.0, 50.0, 99.0, 100.0] {
                    prop_assert_eq!(one.percentile(percent), two.percentile(percent));
                }
                let doubled: Vec<_> = one.values().map(|(value, count)| (value, count * 2.0)).collect();
                prop_assert_eq!(doubled, two.values().collect::<Vec<_>>());
            }
        }

        /// No sample is lost or counted twice, whatever the period.
        #[test]
        fn every_period_has_every_sample(data in data()) {
            let store = store([data.as_slice()]);
            let sent: f64 = data.iter().map(|datum| Statistics::of(datum).sample_count).sum();
            for period in [60, 120, 300, 3_600] {
                let found: f64 = points(&store, period).iter().map(|point| point.statistics.sample_count).sum();
                prop_assert_eq!(found, sent, "period {}", period);
            }
        }
    }
}
