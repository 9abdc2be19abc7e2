//! What a bucket holds, and the algebra by which data that meet in it add up.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::message::{Datum, StatisticSet};

/// The statistics of one bucket, or of several added up.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// SampleCount.
    pub sample_count: f64,
    /// Sum.
    pub sum: f64,
    /// Minimum.
    pub minimum: f64,
    /// Maximum.
    pub maximum: f64,
    /// How often each value was seen.
    values: BTreeMap<Number, f64>,
    /// Whether all of it came with its values; a StatisticSet alone does not say them.
    has_values: bool,
}

impl Statistics {
    /// Of a datum that passed the limits, and so has samples.
    pub(crate) fn of(datum: &Datum) -> Self {
        let values = match datum.value {
            Some(value) => vec![(value, 1.0)],
            None => datum.counted().collect(),
        };
        // With both, the set has the moments exactly and the values may be rounded.
        let set = datum.statistic_values.unwrap_or_else(|| moments(&values));
        let values = if values.is_empty() { of_one_value(&set).into_iter().collect() } else { values };
        let mut distribution = BTreeMap::new();
        for (value, count) in &values {
            *distribution.entry(Number::from(*value)).or_default() += *count;
        }
        Self {
            sample_count: set.sample_count,
            sum: set.sum,
            minimum: set.minimum,
            maximum: set.maximum,
            has_values: !distribution.is_empty(),
            values: distribution,
        }
    }

    /// Sum / SampleCount.
    pub fn average(&self) -> f64 {
        self.sum / self.sample_count
    }

    /// The values with how often each was seen, ascending. Empty where only a StatisticSet came.
    pub fn values(&self) -> impl Iterator<Item = (f64, f64)> {
        self.values.iter().map(|(value, count)| (value.0, *count))
    }

    /// The smallest value that at least `percent` % of the samples do not exceed (nearest rank). None where CloudWatch
    /// has no percentiles: a part came as a StatisticSet of several values, or a value is negative.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        let negative = self.values.keys().next().is_none_or(|least| least.0 < 0.0);
        if !self.has_values || negative {
            return None;
        }
        let rank = percent / 100.0 * self.values.values().sum::<f64>();
        let mut seen = 0.0;
        let found = self.values().find(|(_, count)| {
            seen += count;
            seen >= rank
        });
        found.or_else(|| self.values().last()).map(|(value, _)| value)
    }

    /// Adds what came to the same bucket: nothing tells a duplicate from a second sample.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sample_count += other.sample_count;
        self.sum += other.sum;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
        self.has_values &= other.has_values;
        for (value, count) in &other.values {
            *self.values.entry(*value).or_default() += count;
        }
    }
}

fn moments(values: &[(f64, f64)]) -> StatisticSet {
    let least = |a: f64, (b, _): &(f64, f64)| a.min(*b);
    let greatest = |a: f64, (b, _): &(f64, f64)| a.max(*b);
    StatisticSet {
        sample_count: values.iter().map(|(_, count)| count).sum(),
        sum: values.iter().map(|(value, count)| value * count).sum(),
        minimum: values.iter().fold(f64::INFINITY, least),
        maximum: values.iter().fold(f64::NEG_INFINITY, greatest),
    }
}

/// The two cases in which CloudWatch can tell the values of a StatisticSet.
fn of_one_value(set: &StatisticSet) -> Option<(f64, f64)> {
    let same = set.minimum == set.maximum && set.sum == set.minimum * set.sample_count;
    same.then_some((set.minimum, set.sample_count))
}

/// A finite number that can be a key; 0 and -0 are the same.
#[derive(Debug, Clone, Copy)]
struct Number(f64);

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self(number + 0.0)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
