//! How busy a GPU was in one tick, and which source says so.

use std::time::Duration;

use super::ring::{Condition, Drain, Ring, RingSample, duty};

/// GPM divides floating-point counters: a full load may come out a little above 100.
const GPM_ROUNDING: f64 = 0.01;

/// What a utilization is from: the value of the label `source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Every sample of the driver's ring.
    Ring,
    /// The difference of two GPM samples: exact over the time between them (nvml.h, nvmlGpmMetricsGet).
    Gpm,
    /// One sample: the driver's last period, at most a second, whatever the tick.
    Snapshot,
}

impl Source {
    /// The label value.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Gpm => "gpm",
            Self::Snapshot => "snapshot",
        }
    }
}

/// A GPU's utilization with its provenance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Utilization {
    /// 0..=100.
    pub percent: f64,
    pub source: Source,
    /// Share of the tick that it is the mean of, 0..=1; 0 for a snapshot, which is no mean.
    pub coverage: f64,
}

/// One tick of one GPU.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    /// `None` when no source knows.
    pub utilization: Option<Utilization>,
    /// Busy time to add to the counter. Nothing on a snapshot: where that is the only source, there is no counter.
    pub busy: Duration,
    /// Idle time to add to the counter.
    pub idle: Duration,
    /// Time of which neither is known, to add to the counter.
    pub lost: Duration,
    /// The counts of the ring; `None` where the GPU has none.
    pub drain: Option<Drain>,
    /// Whether ring and GPM contradict each other; `None` where one of them has no value.
    pub disagree: Option<bool>,
}

/// The sources of one GPU.
///
/// A ring that covers the whole tick goes before GPM, since it counts every sample and works on every card; GPM before
/// a ring with holes; that before a snapshot, which saw a second at most.
#[derive(Debug, Default)]
pub(super) struct Meter {
    ring: Ring,
}

impl Meter {
    /// Takes in what the driver said at one tick.
    ///
    /// - `answer`: the ring, as [`Ring::drain`] wants it; `None` where the GPU has no ring (MIG, old cards).
    /// - `gpm`: NVML_GPM_METRIC_GRAPHICS_UTIL between the tick before and now, in percent.
    /// - `snapshot`: `nvmlUtilization_t::gpu`.
    /// - `elapsed`: since the tick before, by a monotonic clock.
    pub(super) fn tick(
        &mut self,
        answer: Option<&[RingSample]>,
        gpm: Option<f64>,
        snapshot: Option<u32>,
        elapsed: Duration,
    ) -> Tick {
        let drain = answer.map(|answer| self.ring.drain(answer, snapshot, elapsed));
        let utilization = choose(drain.as_ref(), gpm, snapshot);
        let waiting = drain.as_ref().is_some_and(|drain| drain.condition == Condition::Waiting);
        let from_gpm = utilization.filter(|chosen| chosen.source == Source::Gpm && !waiting);
        let (busy, idle, lost) = match (&drain, from_gpm) {
            (_, Some(chosen)) => {
                // What the ring missed is known now, and must not be counted again when its samples come late.
                self.ring.settle();
                let busy = elapsed.mul_f64(chosen.percent / 100.0).min(elapsed);
                (busy, elapsed.saturating_sub(busy), Duration::ZERO)
            }
            (Some(drain), None) => (drain.busy, drain.idle, drain.lost),
            (None, None) => (Duration::ZERO, Duration::ZERO, elapsed),
        };
        let disagree = drain.as_ref().zip(gpm).and_then(|(drain, gpm)| disagree(drain, gpm, elapsed));
        Tick { utilization, busy, idle, lost, drain, disagree }
    }
}

fn choose(drain: Option<&Drain>, gpm: Option<f64>, snapshot: Option<u32>) -> Option<Utilization> {
    let of = |source, coverage| move |percent| Utilization { percent, source, coverage };
    let ring = drain.and_then(|drain| drain.mean.map(of(Source::Ring, drain.coverage)));
    ring.filter(|_| drain.is_some_and(Drain::is_whole))
        .or_else(|| gpm.and_then(gpm_percent).map(of(Source::Gpm, 1.0)))
        .or(ring)
        .or_else(|| snapshot.and_then(duty).map(f64::from).map(of(Source::Snapshot, 0.0)))
}

/// A percentage of GPM, or `None` for garbage.
pub(super) fn gpm_percent(value: f64) -> Option<f64> {
    (0.0..=100.0 + GPM_ROUNDING).contains(&value).then_some(value.min(100.0))
}

/// Whether ring and GPM contradict each other over one tick: further apart than the ring's holes, its edges (a period
/// at either end) and its whole percents can explain. `None` where nothing can be compared: one of them has no value,
/// or the ring speaks of more than the tick.
fn disagree(drain: &Drain, gpm: f64, elapsed: Duration) -> Option<bool> {
    let (mean, gpm) = (drain.mean?, gpm_percent(gpm)?);
    let edges = drain.period.unwrap_or_default() * 2;
    if drain.covered > elapsed + edges {
        return None;
    }
    // Not a number without elapsed time: then nothing is further apart.
    let edges = edges.as_secs_f64() / elapsed.as_secs_f64();
    Some((mean - gpm).abs() > 1.0 + 100.0 * (1.0 - drain.coverage + edges))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A ring of five samples a second with one value, up to `end` in tenths of a second.
    fn ring(value: u32, end: u64) -> Vec<RingSample> {
        (1..=end / 2).map(|i| RingSample { timestamp: i * 200_000, value }).collect()
    }

    fn based() -> Meter {
        let mut meter = Meter::default();
        meter.tick(Some(&ring(40, 20)), None, None, Duration::ZERO);
        meter
    }

    fn source(tick: &Tick) -> Option<(Source, f64)> {
        tick.utilization.map(|chosen| (chosen.source, chosen.percent))
    }

    #[test]
    fn a_whole_ring_then_gpm_then_a_ring_with_holes_then_a_snapshot() {
        let whole = based().tick(Some(&ring(40, 30)), Some(70.0), Some(90), SECOND);
        assert_eq!(source(&whole), Some((Source::Ring, 40.0)));
        assert_eq!((whole.busy, whole.lost), (SECOND * 2 / 5, Duration::ZERO));

        let holed = &ring(40, 120)[50..];
        let gpm = based().tick(Some(holed), Some(70.0), Some(90), SECOND * 10);
        assert_eq!(source(&gpm), Some((Source::Gpm, 70.0)));
        assert_eq!((gpm.busy, gpm.idle, gpm.lost), (SECOND * 7, SECOND * 3, Duration::ZERO));

        let part = based().tick(Some(holed), Some(f64::NAN), Some(90), SECOND * 10);
        assert_eq!(source(&part), Some((Source::Ring, 40.0)));
        assert_eq!((part.busy, part.lost), (SECOND * 4 / 5, SECOND * 8));

        let snapshot = based().tick(Some(&[]), None, Some(90), SECOND * 10);
        assert_eq!(source(&snapshot), Some((Source::Snapshot, 90.0)));
        assert_eq!((snapshot.busy, snapshot.utilization.map(|chosen| chosen.coverage)), (Duration::ZERO, Some(0.0)));

        assert_eq!(based().tick(Some(&[]), Some(101.0), Some(101), SECOND * 10).utilization, None);
        assert_eq!(Meter::default().tick(None, None, None, SECOND).lost, SECOND);
    }

    #[test]
    fn what_gpm_counted_the_ring_does_not_count_again() {
        let mut meter = based();
        // The driver is three seconds behind with its samples, then hands them all out.
        let first = meter.tick(Some(&ring(100, 40)), Some(100.0), None, SECOND * 5);
        let second = meter.tick(Some(&ring(100, 120)), Some(100.0), None, SECOND * 5);
        assert_eq!((source(&first), first.busy), (Some((Source::Gpm, 100.0)), SECOND * 5));
        assert_eq!(source(&second), Some((Source::Ring, 100.0)));
        assert!(second.busy >= SECOND * 5 && second.busy <= SECOND * 28 / 5, "{second:?}");
    }

    #[test]
    fn a_sample_that_is_not_due_is_counted_when_it_comes() {
        let mut meter = based();
        let waiting = meter.tick(Some(&[]), Some(80.0), None, SECOND / 10);
        assert_eq!((source(&waiting), waiting.busy), (Some((Source::Gpm, 80.0)), Duration::ZERO));
        assert_eq!(meter.tick(Some(&ring(80, 22)), None, None, SECOND / 10).busy, SECOND * 4 / 25);
    }

    #[test]
    fn rounding_of_gpm_is_not_garbage() {
        assert_eq!([100.0001, 100.1, -0.1, f64::NAN].map(gpm_percent), [Some(100.0), None, None, None]);
    }

    #[test]
    fn ring_and_gpm_disagree_only_beyond_what_holes_and_edges_explain() {
        let drain = Drain { mean: Some(50.0), coverage: 0.9, period: Some(SECOND / 5), ..Drain::default() };
        assert_eq!(disagree(&drain, 64.9, SECOND * 10), Some(false), "1 + 10 + 4 points");
        assert_eq!(disagree(&drain, 65.1, SECOND * 10), Some(true));
        assert_eq!(disagree(&drain, 100.0, Duration::ZERO), Some(false));
        assert_eq!(disagree(&drain, f64::NAN, SECOND), None);
        let late = Drain { covered: SECOND * 5, ..drain };
        assert_eq!(disagree(&late, 100.0, SECOND * 2), None, "samples of the ticks before");
        let of = |gpm| based().tick(Some(&ring(40, 120)[10..]), gpm, None, SECOND * 10).disagree;
        assert_eq!([Some(42.0), Some(90.0), None].map(of), [Some(false), Some(true), None]);
    }

    proptest! {
        // For all answers: a percentage is in 0..=100, and busy and idle time together are no more than the ring's or
        // the tick's.
        #[test]
        fn figures_lie_in_their_ranges(
            ticks in proptest::collection::vec(
                (proptest::option::of((0..200u32, 0..100u64)), any::<Option<f64>>(), any::<Option<u32>>(), 0..20u64),
                1..20,
            ),
        ) {
            let mut meter = Meter::default();
            for (answer, gpm, snapshot, seconds) in ticks {
                let answer = answer.map(|(value, end)| ring(value, end));
                let tick = meter.tick(answer.as_deref(), gpm, snapshot, Duration::from_secs(seconds));
                prop_assert!(tick.utilization.is_none_or(|chosen| (0.0..=100.0).contains(&chosen.percent)));
                let covered = tick.drain.map_or(Duration::ZERO, |drain| drain.covered);
                prop_assert!(tick.busy + tick.idle <= covered.max(Duration::from_secs(seconds)));
            }
        }
    }
}
