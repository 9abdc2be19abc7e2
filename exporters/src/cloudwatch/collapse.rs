//! Old data by the second become data by the minute.
//!
//! CloudWatch keeps points of under a minute for 3 hours, so older ones are only worth their minute, at a sixtieth of
//! the requests. Source: the user guide, "Metrics retention".

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::StatisticSet;
use crate::datum::{Datum, Figures, Resolution};
use crate::distribution::VALUES;

const MINUTE: u64 = 60_000;

/// Joins the data by the second of each series and minute into one by the minute, in the place of the first; others
/// stay as they are. Count, sum, minimum, maximum and periods are those of all; a plain value counts as one sample.
///
/// Where the values are more than a datum holds, the two closest neighbours become their mean by count, over and over,
/// until they fit: percentiles are off by less than the widest gap that was closed. Takes data that passed the gate.
pub(super) fn collapse(data: Vec<Datum>) -> Vec<Datum> {
    let mut places: HashMap<Series, usize> = HashMap::new();
    let mut collapsed: Vec<Datum> = Vec::new();
    for datum in data {
        if datum.resolution == Resolution::Minute {
            collapsed.push(datum);
            continue;
        }
        match places.entry(Series::of(&datum)) {
            Entry::Occupied(place) => join(&mut collapsed[*place.get()], &datum),
            Entry::Vacant(place) => {
                place.insert(collapsed.len());
                collapsed.push(by_the_minute(datum));
            }
        }
    }
    collapsed
}

/// What CloudWatch keeps apart, and the minute.
#[derive(PartialEq, Eq, Hash)]
struct Series {
    name: String,
    dimensions: Vec<(String, String)>,
    unit: Cow<'static, str>,
    minute: u64,
}

impl Series {
    fn of(datum: &Datum) -> Self {
        Self {
            name: datum.name.clone(),
            dimensions: datum.dimensions.clone(),
            unit: datum.unit.clone(),
            minute: datum.start / MINUTE,
        }
    }
}

fn by_the_minute(datum: Datum) -> Datum {
    let (statistics, values) = samples(&datum.figures);
    Datum {
        start: datum.start - datum.start % MINUTE,
        resolution: Resolution::Minute,
        figures: Figures::Distribution { statistics, values },
        ..datum
    }
}

fn join(minute: &mut Datum, second: &Datum) {
    let (mut statistics, mut values) = samples(&minute.figures);
    let (more, more_values) = samples(&second.figures);
    statistics.merge(&more);
    values.extend(more_values);
    minute.figures = Figures::Distribution { statistics, values: fit(values) };
    minute.periods = minute.periods.saturating_add(second.periods);
}

fn samples(figures: &Figures) -> (StatisticSet, Vec<(f64, u64)>) {
    match figures {
        Figures::Value(value) => {
            let mut statistics = StatisticSet::default();
            statistics.record(*value);
            (statistics, vec![(*value, 1)])
        }
        Figures::Distribution { statistics, values } => (*statistics, values.clone()),
    }
}

/// Each value once, in ascending order, and no more of them than a datum holds.
fn fit(mut values: Vec<(f64, u64)>) -> Vec<(f64, u64)> {
    values.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    values.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    while values.len() > VALUES {
        let gap = |at: &usize| values[at + 1].0 - values[*at].0;
        let Some(closest) = (0..values.len() - 1).min_by(|one, other| gap(one).total_cmp(&gap(other))) else { break };
        let (upper, count) = values.remove(closest + 1);
        let (lower, counted) = values[closest];
        values[closest] = (mean(lower, counted, upper, count), counted + count);
    }
    values
}

/// Rounding may not push it out of what it stands for.
fn mean(lower: f64, lower_count: u64, upper: f64, upper_count: u64) -> f64 {
    let share = upper_count as f64 / (lower_count + upper_count) as f64;
    (lower + (upper - lower) * share).min(upper).max(lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudwatch::limits;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn datum(name: &str, start: u64, figures: Figures) -> Datum {
        Datum {
            name: name.to_owned(),
            dimensions: vec![("Host".to_owned(), "job/algo-1".to_owned())],
            start,
            resolution: Resolution::Second,
            unit: "Percent".into(),
            figures,
            periods: 1,
        }
    }

    fn value(name: &str, start: u64, value: f64) -> Datum {
        datum(name, start, Figures::Value(value))
    }

    fn distribution(samples: &[f64]) -> Figures {
        let mut statistics = StatisticSet::default();
        samples.iter().for_each(|sample| statistics.record(*sample));
        Figures::Distribution { statistics, values: fit(samples.iter().map(|sample| (*sample, 1)).collect()) }
    }

    fn of(figures: &Figures) -> (StatisticSet, Vec<(f64, u64)>) {
        samples(figures)
    }

    #[test]
    fn a_minute_of_seconds_is_one_datum_at_the_minute() {
        let data = vec![
            value("CPU", 120_000, 1.0),
            value("CPU", 121_000, 3.0),
            value("Memory", 121_000, 7.0),
            datum("CPU", 179_999, distribution(&[3.0, 5.0])),
            value("CPU", 180_000, 9.0),
        ];
        let minute = |name, start, samples: &[f64], periods| Datum {
            resolution: Resolution::Minute,
            periods,
            ..datum(name, start, distribution(samples))
        };
        let expected = vec![
            minute("CPU", 120_000, &[1.0, 3.0, 3.0, 5.0], 3),
            minute("Memory", 120_000, &[7.0], 1),
            minute("CPU", 180_000, &[9.0], 1),
        ];
        assert_eq!(collapse(data), expected);
        assert_eq!(of(&expected[0].figures).1, [(1.0, 1), (3.0, 2), (5.0, 1)]);
    }

    #[test]
    fn what_cloudwatch_keeps_apart_stays_apart() {
        let other_unit = Datum { unit: "Count".into(), ..value("CPU", 0, 1.0) };
        let other_host = Datum { dimensions: Vec::new(), ..value("CPU", 0, 1.0) };
        assert_eq!(collapse(vec![value("CPU", 0, 1.0), other_unit, other_host]).len(), 3);
    }

    #[test]
    fn data_by_the_minute_stay_as_they_are() {
        let minute = Datum { resolution: Resolution::Minute, ..value("CPU", 61_000, 1.0) };
        let data = vec![minute.clone(), minute];
        assert_eq!(collapse(data.clone()), data);
    }

    #[test]
    fn the_closest_values_give_way() {
        let mut samples: Vec<_> = (0..VALUES).map(|n| n as f64).collect();
        samples.push(1.5);
        let values = fit(samples.iter().map(|sample| (*sample, 1)).collect());
        assert_eq!(values.len(), VALUES);
        assert_eq!(values[..3], [(0.0, 1), (1.25, 2), (2.0, 1)]);
    }

    proptest! {
        // Whatever the seconds are, their minutes hold as many samples and periods, the same sum but for rounding, and
        // the same bounds to the last bit; every datum passes the gate, so its counts add up and its values fit.
        #[test]
        fn nothing_is_lost(
            seconds in vec((0..180_000u64, vec(-1e6..1e6f64, 1..80), any::<bool>(), 1..5u32), 1..60),
        ) {
            let seconds: Vec<_> = seconds
                .iter()
                .map(|(start, samples, plain, periods)| {
                    let figures = if *plain { Figures::Value(samples[0]) } else { distribution(samples) };
                    Datum { periods: *periods, ..datum("CPU", *start, figures) }
                })
                .collect();
            let total = |data: &[Datum]| {
                let mut set = StatisticSet::default();
                data.iter().for_each(|datum| set.merge(&of(&datum.figures).0));
                set
            };
            let minutes = collapse(seconds.clone());
            let (before, after) = (total(&seconds), total(&minutes));
            prop_assert_eq!(
                (before.count(), before.minimum(), before.maximum()),
                (after.count(), after.minimum(), after.maximum())
            );
            prop_assert!((before.sum() - after.sum()).abs() <= 1e-12 * 1e6 * before.count() as f64);
            let periods = |data: &[Datum]| data.iter().map(|datum| datum.periods).sum::<u32>();
            prop_assert_eq!(periods(&seconds), periods(&minutes));
            prop_assert!(minutes.len() <= 3);
            for minute in &minutes {
                prop_assert_eq!(limits::check(minute), Ok(()));
                prop_assert_eq!((minute.resolution, minute.start % MINUTE), (Resolution::Minute, 0));
                let (set, values) = of(&minute.figures);
                prop_assert!(values.windows(2).all(|pair| pair[0].0 < pair[1].0));
                let sum: f64 = values.iter().map(|(value, count)| value * *count as f64).sum();
                prop_assert!((set.sum() - sum).abs() <= 1e-9 * 1e6 * set.count() as f64);
            }
        }
    }
}
