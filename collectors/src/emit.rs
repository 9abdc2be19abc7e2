//! The waist: the one place where samples enter the `metrics` facade.
//!
//! The facade can set a gauge but not take it away, so absence needs a convention: **a gauge set to NaN is absent.**
//! The page leaves such a series out, the windows count no sample; in a recorder that knows neither, NaN reads as what
//! it is, not known. Counters with fractions (seconds of CPU time) pass as gauges too, because the facade's counters
//! hold whole numbers only; the catalogue tells the page which ones they are.

use metrics::{Gauge, Key, Label, Level, Metadata, Recorder, SharedString};

use crate::catalogue::{self, Metric};
use crate::collector::Collector;
use crate::error::CollectError;
use crate::sample::{Device, Sample};

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// Tells a recorder the name, unit and HELP text of every catalogue row, in the catalogue's order.
pub fn describe(recorder: &dyn Recorder) {
    for row in catalogue::ALL {
        recorder.describe_gauge(row.name.into(), Some(row.unit), SharedString::const_str(row.help));
    }
}

/// For so many rounds an absent series keeps its handle, so that one that comes and goes, as the label that says what a
/// utilization is from, is made once.
const KEPT: u64 = 64;

/// Sets the gauges of one source of samples, round after round, and marks as absent the series that a round leaves out.
///
/// Handles are kept, so that a round with the same series as the one before allocates nothing.
#[derive(Debug, Default)]
pub struct Emitter {
    series: Vec<Series>,
    round: u64,
}

#[derive(Debug)]
struct Series {
    metric: &'static Metric,
    device: Option<Device>,
    gauge: Gauge,
    round: u64,
}

impl Emitter {
    /// Emits one round of samples into the current recorder of the facade: the thread's local one, else the global one.
    ///
    /// A series of the round before that is not in `samples` becomes absent.
    pub fn emit(&mut self, samples: &[Sample]) {
        self.round += 1;
        // Rounds look alike, so the next sample's series is nearly always the one after the last found.
        let mut next = 0;
        for sample in samples {
            let found = match self.series.get(next).is_some_and(|series| series.is_of(sample)) {
                true => Some(next),
                false => self.find(sample, next),
            };
            let index = found.unwrap_or_else(|| {
                self.series.insert(next.min(self.series.len()), Series::register(sample));
                next.min(self.series.len() - 1)
            });
            let series = &mut self.series[index];
            series.gauge.set(sample.value);
            series.round = self.round;
            next = index + 1;
        }
        self.series.retain(|series| {
            let missed = self.round - series.round;
            if missed == 1 {
                series.gauge.set(f64::NAN);
            }
            missed < KEPT
        });
    }

    /// From `next` on, then before it: what lies between two samples is mostly a series that is absent now.
    fn find(&self, sample: &Sample, next: usize) -> Option<usize> {
        let (before, after) = self.series.split_at(next.min(self.series.len()));
        let ahead = after.iter().position(|series| series.is_of(sample)).map(|index| next + index);
        ahead.or_else(|| before.iter().position(|series| series.is_of(sample)))
    }

    /// Makes every series of this source absent.
    pub fn clear(&mut self) {
        self.emit(&[]);
    }
}

impl Series {
    fn register(sample: &Sample) -> Self {
        let labels: Vec<Label> = sample
            .device
            .iter()
            .flat_map(|device| sample.metric.labels.iter().zip(device.values()))
            .map(|(name, value)| Label::new(*name, value.to_owned()))
            .collect();
        let key = Key::from_parts(sample.metric.name, labels);
        let gauge = metrics::with_recorder(|recorder| recorder.register_gauge(&key, &METADATA));
        Self { metric: sample.metric, device: sample.device.clone(), gauge, round: 0 }
    }

    fn is_of(&self, sample: &Sample) -> bool {
        std::ptr::eq(self.metric, sample.metric) && self.device == sample.device
    }
}

/// One reading of one collector, emitted at once: the smallest whole tick. `samples` is the reused buffer.
///
/// # Errors
///
/// The collector's; what it could read is emitted all the same.
pub fn collect_and_emit(
    collector: &mut dyn Collector,
    emitter: &mut Emitter,
    samples: &mut Vec<Sample>,
) -> Result<(), CollectError> {
    samples.clear();
    let outcome = collector.collect(samples);
    emitter.emit(samples);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{CPU_CORE_UTILIZATION, CPU_CORES, CPU_UTILIZATION};
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// What the facade was left with after the rounds: name and labels to value, the absent left out.
    fn after(rounds: &[Vec<Sample>]) -> BTreeMap<String, f64> {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let mut emitter = Emitter::default();
        metrics::with_local_recorder(&recorder, || rounds.iter().for_each(|round| emitter.emit(round)));
        let series = snapshotter.snapshot().into_vec().into_iter();
        series
            .filter_map(|(key, _, _, value)| match value {
                DebugValue::Gauge(value) if !value.is_nan() => Some((key.key().to_string(), value.into_inner())),
                _ => None,
            })
            .collect()
    }

    fn samples() -> impl Strategy<Value = Vec<Sample>> {
        let sample = (0..6u8, 0.0..100.0f64);
        proptest::collection::btree_map(0..6u8, sample, 0..6).prop_map(|series| {
            let mut round: Vec<Sample> = series
                .into_iter()
                .map(|(series, (_, value))| match series {
                    0 => Sample::new(&CPU_UTILIZATION, value),
                    1 => Sample::new(&CPU_CORES, value),
                    core => Sample::of(&CPU_CORE_UTILIZATION, &Device::new([core.to_string().as_str()]), value),
                })
                .collect();
            let half = round.len() / 2;
            round.rotate_left(half);
            round
        })
    }

    #[test]
    fn a_series_that_comes_and_goes_is_registered_once_and_one_that_stays_away_is_forgotten() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let (sum, cores) = ([Sample::new(&CPU_UTILIZATION, 1.0)], [Sample::new(&CPU_CORES, 2.0)]);
        let mut emitter = Emitter::default();
        metrics::with_local_recorder(&recorder, || {
            for _ in 0..100 {
                emitter.emit(&sum);
                emitter.emit(&cores);
            }
            assert_eq!(emitter.series.len(), 2);
            (0..KEPT).for_each(|_| emitter.emit(&sum));
        });
        assert_eq!(emitter.series.len(), 1);
        let visible = snapshotter.snapshot().into_vec().into_iter().filter(|(.., value)| match value {
            DebugValue::Gauge(value) => !value.is_nan(),
            _ => true,
        });
        assert_eq!(visible.count(), 1);
    }

    proptest! {
        // For all rounds: what is visible afterwards is exactly the last round, whatever came before and in any order.
        #[test]
        fn only_the_last_round_is_visible(rounds in proptest::collection::vec(samples(), 1..6)) {
            let last = &rounds[rounds.len() - 1];
            prop_assert_eq!(after(&rounds), after(std::slice::from_ref(last)));
            prop_assert_eq!(after(&rounds).len(), last.len());
        }
    }
}
