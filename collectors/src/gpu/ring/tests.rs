use super::*;
use proptest::prelude::*;

fn at(timestamp: u64, value: u32) -> RingSample {
    RingSample { timestamp, value }
}

const SECOND: u64 = 1_000_000;

fn seconds(seconds: f64) -> Duration {
    Duration::from_micros((seconds * SECOND as f64) as u64)
}

/// A ring with samples at 1 s, 1.2 s, .. up to `last` (five a second), each with the same value.
fn steady(last: u64, value: u32) -> Vec<RingSample> {
    (0..).map(|i| SECOND + i * SECOND / 5).take_while(|t| *t <= last).map(|t| at(t, value)).collect()
}

/// After a base of one second of samples at 0.2 s.
fn based() -> Ring {
    let mut ring = Ring::default();
    let base = ring.drain(&steady(2 * SECOND, 0), None, Duration::ZERO);
    assert_eq!((base.condition, base.mean, base.period), (Condition::Base, None, Some(seconds(0.2))));
    ring
}

#[test]
fn the_mean_is_weighed_by_time() {
    let mut ring = based();
    let answer = [at(2_200_000, 100), at(2_400_000, 0), at(2_600_000, 50), at(2_900_000, 0), at(3_000_000, 80)];
    let drain = ring.drain(&answer, None, seconds(1.0));
    assert_eq!((drain.condition, drain.taken, drain.lost), (Condition::Flowing, 5, Duration::ZERO));
    assert_eq!((drain.mean, drain.coverage), (Some(38.0), 1.0));
    assert_eq!((drain.busy, drain.idle, drain.longest_idle), (seconds(0.38), seconds(0.62), seconds(0.3)));
}

#[test]
fn a_sample_counts_once() {
    let mut ring = based();
    let mut answer = steady(3 * SECOND, 60);
    answer.extend(answer.clone());
    answer.reverse();
    let drain = ring.drain(&answer, None, seconds(1.0));
    assert_eq!((drain.taken, drain.duplicate, drain.busy), (5, 17, seconds(0.6)));
    let again = ring.drain(&answer, None, Duration::from_millis(100));
    assert_eq!((again.condition, again.taken, again.busy), (Condition::Waiting, 0, Duration::ZERO));
}

#[test]
fn garbage_is_rejected_once_and_its_time_is_lost() {
    let mut ring = based();
    let mut answer = steady(3 * SECOND, 50);
    answer[7].value = 808_334_905;
    answer.extend([at(0, 0), at(0, 77), at(u64::MAX, u32::MAX), at(7, 101)]);
    let drain = ring.drain(&answer, None, seconds(1.0));
    assert_eq!((drain.taken, drain.rejected), (4, 3));
    assert_eq!((drain.mean, drain.covered, drain.lost), (Some(50.0), seconds(0.8), seconds(0.2)));
    assert_eq!((drain.coverage, drain.lost_samples), (0.8, 1));
    assert_eq!(ring.drain(&answer, None, seconds(0.1)).rejected, 0);
}

#[test]
fn a_wrapped_ring_loses_time_and_says_so() {
    let mut ring = based();
    let kept: Vec<_> = steady(32 * SECOND, 100).split_off(106);
    let drain = ring.drain(&kept, None, seconds(30.0));
    assert_eq!((drain.taken, drain.mean, drain.covered), (50, Some(100.0), seconds(10.0)));
    assert_eq!((drain.lost, drain.lost_samples), (seconds(20.0), 100));
    assert!((drain.coverage - 1.0 / 3.0).abs() < 1e-9 && !drain.is_whole());
}

#[test]
fn an_idle_ring_is_told_from_a_broken_one() {
    for (snapshot, condition, mean, rejected) in [
        (Some(0), Condition::Idle, Some(0.0), 0),
        (Some(40), Condition::Silent, None, 0),
        (Some(101), Condition::Silent, None, 1),
        (None, Condition::Silent, None, 0),
    ] {
        let mut ring = based();
        assert_eq!(ring.drain(&[], snapshot, seconds(2.0)).condition, Condition::Waiting);
        let drain = ring.drain(&[], snapshot, seconds(2.0));
        assert_eq!((drain.condition, drain.mean, drain.rejected), (condition, mean, rejected));
        let (idle, lost) = if mean.is_some() { (4.0, 0.0) } else { (0.0, 2.0) };
        assert_eq!((drain.idle, drain.lost, drain.busy), (seconds(idle), seconds(lost), Duration::ZERO));
        assert_eq!(drain.longest_idle, seconds(idle));
    }
}

#[test]
fn a_gpu_that_wakes_loses_no_more_than_the_tick() {
    let mut ring = based();
    for _ in 0..100 {
        ring.drain(&[], Some(0), seconds(5.0));
    }
    let answer: Vec<_> = (1..=15).map(|i| at(504 * SECOND + i * SECOND / 5, 100)).collect();
    let drain = ring.drain(&answer, Some(100), seconds(5.0));
    assert_eq!((drain.mean, drain.covered), (Some(100.0), seconds(3.0)));
    assert!(drain.lost >= seconds(2.0) && drain.lost <= seconds(2.2), "{drain:?}");
    let next: Vec<_> = (16..=40).map(|i| at(504 * SECOND + i * SECOND / 5, 0)).collect();
    assert_eq!(ring.drain(&next, Some(0), seconds(5.0)).longest_idle, seconds(5.0));
}

#[test]
fn a_clock_that_is_set_costs_two_periods_at_most() {
    for jump in [-3600.0, -3.0, 0.0, 3.0, 1e9] {
        let mut ring = Ring::default();
        let start = 1e7;
        let clock = |i: i64, jump: f64| ((start + jump) * SECOND as f64) as u64 + (i * 200_000) as u64;
        let mut held: Vec<_> = (0..50).map(|i| at(clock(i, if jump < 0.0 { 0.0 } else { jump }), 0)).collect();
        if jump > 0.0 {
            held = (0..50).map(|i| at(clock(i, 0.0), 0)).collect();
        }
        ring.drain(&held, None, Duration::ZERO);
        held.drain(..25);
        // Off the grid of the old samples, so that every one is told from them.
        held.extend((50..75).map(|i| at(clock(i, jump) + u64::from(jump != 0.0), 100)));
        let drain = ring.drain(&held, Some(100), seconds(5.0));
        assert_eq!((drain.taken, drain.mean, drain.busy), (25, Some(100.0), seconds(5.0)), "{jump}");
        assert!(drain.lost <= seconds(0.4), "{jump}: {drain:?}");
        held.drain(..25);
        held.extend((75..100).map(|i| at(clock(i, jump) + u64::from(jump != 0.0), 50)));
        let drain = ring.drain(&held, Some(50), seconds(5.0));
        assert_eq!((drain.taken, drain.mean, drain.lost), (25, Some(50.0), Duration::ZERO), "{jump}");
    }
}

#[test]
fn a_hole_that_a_set_clock_hides_is_lost_all_the_same() {
    let mut ring = based();
    let first = ring.drain(&steady(4 * SECOND, 50), None, seconds(10.0));
    assert_eq!((first.covered, first.coverage, first.lost), (seconds(2.0), 0.2, Duration::ZERO));
    // The eight seconds may still come with this drain; they do not.
    let second = ring.drain(&steady(5 * SECOND, 50), None, seconds(1.0));
    assert_eq!((second.covered, second.coverage, second.lost), (seconds(1.0), 1.0, seconds(7.6)));
}

#[test]
fn history_that_no_open_time_stands_for_is_not_counted() {
    let mut ring = Ring::default();
    assert_eq!(ring.drain(&[], None, Duration::ZERO).condition, Condition::Base);
    let drain = ring.drain(&steady(21 * SECOND, 100), None, seconds(1.0));
    assert!(drain.covered <= seconds(1.6) && drain.duplicate >= 90, "{drain:?}");
    assert_eq!(drain.coverage, 1.0);
}

#[test]
fn a_stall_ends_where_time_is_missing_that_no_distance_shows() {
    let mut ring = based();
    assert_eq!(ring.drain(&steady(4 * SECOND, 0), None, seconds(10.0)).longest_idle, seconds(2.0));
    // The eight seconds that were still to come are lost, before the new samples.
    assert_eq!(ring.drain(&steady(5 * SECOND, 0), None, seconds(1.0)).longest_idle, seconds(1.0));
    assert_eq!(ring.drain(&steady(6 * SECOND, 0), None, seconds(1.0)).longest_idle, seconds(2.0));
    // Of ten more seconds one is open: the others are history, counted nowhere.
    let drain = ring.drain(&steady(16 * SECOND, 0), None, seconds(1.0));
    assert!(drain.longest_idle == drain.covered && drain.still == drain.covered, "{drain:?}");
}

#[test]
fn memory_is_bounded_and_a_steady_tick_allocates_nothing() {
    let mut ring = Ring::default();
    let answer: Vec<_> = (1..=3 * LARGEST_ANSWER as u64).map(|t| at(t * 200_000, 1)).collect();
    let drain = ring.drain(&answer, None, Duration::ZERO);
    assert_eq!(drain.rejected, 2 * LARGEST_ANSWER as u64);
    for round in 1..50 {
        let answer: Vec<_> = answer.iter().map(|s| at(s.timestamp + round * 13, s.value)).collect();
        ring.drain(&answer, None, seconds(1.0));
        assert!(ring.seen.len() <= 2 * LARGEST_ANSWER && ring.spans.len() <= LARGEST_ANSWER);
    }

    let mut ring = Ring::default();
    let held = |tick: u64| (0..100).map(|i| at((1000 + tick * 5 + i) * 200_000, 1)).collect::<Vec<_>>();
    ring.drain(&held(0), None, seconds(1.0));
    let first = ring.seen.capacity();
    for tick in 1..200 {
        ring.drain(&held(tick), None, seconds(1.0));
    }
    assert_eq!(ring.seen.capacity(), first, "all room is made at once");
    let room = |ring: &Ring| (ring.seen.capacity(), ring.spans.capacity(), ring.distances.capacity());
    let before = room(&ring);
    for tick in 200..400 {
        ring.drain(&held(tick), None, seconds(1.0));
    }
    assert_eq!(room(&ring), before);
}

/// A driver with a ring of `capacity` samples on a clock of its own.
#[derive(Debug, Clone)]
struct Driver {
    capacity: usize,
    /// When each period truly ended, from 10 s on, and the value.
    samples: Vec<(u64, u32)>,
}

impl Driver {
    fn held(&self, now: u64) -> &[(u64, u32)] {
        let end = self.samples.partition_point(|(t, _)| *t <= now);
        &self.samples[end.saturating_sub(self.capacity)..end]
    }

    fn period(&self, index: usize) -> u64 {
        self.samples[index].0 - self.samples[index - 1].0
    }

    /// Busy time of `from..to` in microseconds: each value spread evenly over its period.
    fn busy(&self, from: u64, to: u64) -> f64 {
        (1..self.samples.len())
            .map(|i| {
                let (start, end) = (self.samples[i - 1].0.max(from), self.samples[i].0.min(to));
                end.saturating_sub(start) as f64 * f64::from(self.samples[i].1) / 100.0
            })
            .sum()
    }
}

/// A driver whose period varies by a tenth, and ticks (in microseconds) to drain it at.
fn drained_driver() -> impl Strategy<Value = (Driver, Vec<u64>)> {
    (100_000..=1_000_000u64, 20..120usize).prop_flat_map(|(period, capacity)| {
        let ring = period * capacity as u64;
        let value = prop_oneof![Just(0u32), Just(100), 0..=100u32];
        let sample = (period * 95 / 100..=period * 105 / 100, value);
        let ticks = proptest::collection::vec(prop_oneof![4 => period..ring, 1 => ring..3 * ring], 1..12);
        (proptest::collection::vec(sample, 1000), ticks).prop_map(move |(samples, ticks)| {
            let mut now = 10 * SECOND;
            let samples = samples.into_iter().map(|(distance, value)| {
                now += distance;
                (now, value)
            });
            (Driver { capacity, samples: samples.collect() }, ticks)
        })
    })
}

/// What can be done to an answer: repeats, another order, slots never written, garbage.
fn mangle(answer: &mut Vec<RingSample>, seed: u64) {
    let mut state = seed | 1;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..next(20) {
        let repeated = answer.get(next(answer.len().max(1))).copied();
        answer.extend(repeated);
        answer.push(at(0, next(200) as u32));
        answer.push(at(next(usize::MAX >> 1) as u64, 101 + next(1_000_000) as u32));
    }
    for i in (1..answer.len()).rev() {
        answer.swap(i, next(i + 1));
    }
}

/// An answer, a snapshot and milliseconds: anything, and often something sensible.
fn any_drain() -> impl Strategy<Value = (Vec<(u64, u32)>, Option<u32>, u64)> {
    let timestamp = prop_oneof![any::<u64>(), 0..5_000_000u64];
    let value = prop_oneof![any::<u32>(), 0..=100u32];
    let answer = proptest::collection::vec((timestamp, value), 0..40);
    (answer, any::<Option<u32>>(), prop_oneof![any::<u64>(), 0..5_000u64])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // For all rings, periods, values and ticks, and all repeats, orders and garbage among the answers: while every
    // drain comes before the ring wraps, nothing is lost, and busy time is the sum over the true ring to the
    // microsecond. From the first drain that comes too late, something is lost.
    #[test]
    fn lossless_exactly_when_drained_within_the_ring((driver, ticks) in drained_driver(), seed: u64) {
        let mut ring = Ring::default();
        let mut now = driver.samples[driver.capacity].0;
        let mut answer = Vec::new();
        for (drain, tick) in std::iter::once(0).chain(ticks).enumerate() {
            let before = driver.held(now).last().expect("a full ring").0;
            now += tick;
            if now >= driver.samples[driver.samples.len() - 1].0 {
                break;
            }
            let held = driver.held(now);
            answer.clear();
            answer.extend(held.iter().map(|(t, value)| at(*t, *value)));
            mangle(&mut answer, seed.wrapping_add(drain as u64));
            let got = ring.drain(&answer, None, Duration::from_micros(tick));
            if drain == 0 {
                continue;
            }
            let first = driver.samples.iter().position(|(t, _)| *t > before).expect("it goes on");
            let wrapped = held[0].0 > driver.samples[first].0;
            prop_assert_eq!(got.lost > Duration::ZERO, wrapped, "{:?}", got);
            if wrapped {
                break;
            }
            let new: Vec<usize> = (first..driver.samples.partition_point(|(t, _)| *t <= now)).collect();
            let busy: u64 = new.iter().map(|i| driver.period(*i) * u64::from(driver.samples[*i].1)).sum();
            let covered: u64 = new.iter().map(|i| driver.period(*i)).sum();
            prop_assert_eq!(got.busy, Duration::from_nanos(busy * 10));
            prop_assert_eq!(got.covered, Duration::from_micros(covered));
            prop_assert_eq!(got.taken, new.len() as u64);
            match got.mean {
                Some(mean) => {
                    prop_assert_eq!(got.coverage, 1.0);
                    prop_assert!((mean - busy as f64 / covered as f64).abs() <= 1e-4);
                }
                None => prop_assert_eq!((covered, got.condition), (0, Condition::Waiting)),
            }
        }
    }

    // For all of the above, and also drains too late, answers that fail and a clock that is set at any sample: the
    // mean is off by no more than the share not covered and the edges, time is conserved, and busy time is off by
    // no more than what was lost and the edges.
    #[test]
    fn an_error_is_never_more_than_what_is_said_to_be_lost(
        (driver, ticks) in drained_driver(),
        jumps in proptest::collection::vec((0..1000usize, -20_000_000..1_000_000_000i64), 0..3),
        silent in proptest::collection::vec(prop::bool::weighted(0.2), 12),
        seed: u64,
    ) {
        // What the driver's clock said at each sample; it starts late enough to stay above 0.
        let clock = |index: usize| {
            let set: i64 = jumps.iter().filter(|(at, _)| *at <= index).map(|(_, jump)| *jump).sum();
            (100 * SECOND + driver.samples[index].0).saturating_add_signed(set)
        };
        let period = driver.samples[999].0 / 900;
        let mut ring = Ring::default();
        let (start, mut now) = (driver.samples[driver.capacity].0, driver.samples[driver.capacity].0);
        let (mut busy, mut covered, mut lost) = (0.0, 0.0, 0.0);
        for (drain, tick) in std::iter::once(0).chain(ticks).enumerate() {
            let before = now;
            now += tick;
            if now >= driver.samples[999].0 {
                now = before;
                break;
            }
            let end = driver.samples.partition_point(|(t, _)| *t <= now);
            let held = end.saturating_sub(driver.capacity)..end;
            let mut answer: Vec<_> = held.map(|i| at(clock(i), driver.samples[i].1)).collect();
            mangle(&mut answer, seed.wrapping_add(drain as u64));
            if drain > 0 && silent[drain % 12] {
                answer.clear();
            }
            let got = ring.drain(&answer, None, Duration::from_micros(tick));
            busy += got.busy.as_secs_f64();
            covered += got.covered.as_secs_f64();
            lost += got.lost.as_secs_f64();
            prop_assert!(got.busy <= got.covered && got.busy + got.idle == got.covered);
            prop_assert!((0.0..=1.0).contains(&got.coverage));
            if let Some(mean) = got.mean {
                prop_assert!((0.0..=100.0).contains(&mean));
                // A drain after silence covers the ticks before it too; only its own is held against it here.
                if got.covered.as_micros() as u64 <= tick + 2 * period {
                    let truth = 100.0 * driver.busy(before, now) / tick as f64;
                    let edges = 100.0 * 3.0 * period as f64 / tick as f64;
                    let bound = 100.0 * (1.0 - got.coverage) + edges;
                    prop_assert!((mean - truth).abs() <= bound + 1e-3, "{mean} {truth} {bound} {got:?}");
                }
            }
        }
        let elapsed = (now - start) as f64 / 1e6;
        let edges = 3.0 * (1 + jumps.len()) as f64 * period as f64 / 1e6;
        // Samples of it may still come, or the next drain finds that they do not.
        let open = ring.open as f64 / 1e6;
        let truth = driver.busy(start, now) / 1e6;
        let all = covered + lost + open;
        prop_assert!((all - elapsed).abs() <= edges, "{covered} + {lost} + {open} of {elapsed} s");
        prop_assert!(busy <= truth + edges && truth <= busy + lost + open + edges, "busy {busy} s of {truth} s");
    }

    // For all rings drained in time in which any samples are garbage at their own place, in any order and with
    // repeats: each good one is taken once, each bad one is rejected once, and of all time each bit is covered,
    // lost or open.
    #[test]
    fn garbage_in_place_of_samples_costs_their_time_and_no_other(
        (driver, ticks) in drained_driver(),
        bad in proptest::collection::vec(prop::bool::weighted(0.1), 1000),
        seed: u64,
    ) {
        let period = driver.samples[999].0 / 900;
        let mut ring = Ring::default();
        let start = driver.samples[driver.capacity].0;
        let (mut now, mut seen) = (start, 0);
        let (mut good, mut taken, mut garbage, mut rejected) = (0, 0, 0, 0);
        let (mut covered, mut lost) = (Duration::ZERO, Duration::ZERO);
        for (drain, tick) in std::iter::once(0).chain(ticks).enumerate() {
            // In time: before the ring has wrapped.
            let tick = tick.min(period * driver.capacity as u64 / 2);
            if now + tick >= driver.samples[999].0 {
                break;
            }
            now += tick;
            let end = driver.samples.partition_point(|(t, _)| *t <= now);
            let held = end.saturating_sub(driver.capacity)..end;
            let sample = |i: usize| at(driver.samples[i].0, if bad[i] { 808_334_905 } else { driver.samples[i].1 });
            let mut answer: Vec<_> = held.chain(end.saturating_sub(3)..end).map(sample).collect();
            answer.rotate_left(seed.wrapping_add(drain as u64) as usize % driver.capacity);
            let got = ring.drain(&answer, None, Duration::from_micros(tick));
            if drain > 0 {
                let new = bad[seen..end].iter().filter(|bad| **bad).count();
                (garbage, good) = (garbage + new, good + end - seen - new);
                (taken, rejected) = (taken + got.taken, rejected + got.rejected);
                (covered, lost) = (covered + got.covered, lost + got.lost);
            }
            seen = end;
        }
        prop_assert_eq!((taken, rejected), (good as u64, garbage as u64));
        let all = covered.as_micros() as i64 + lost.as_micros() as i64 + ring.open;
        prop_assert!((all - (now - start) as i64).abs() <= 3 * period as i64, "{covered:?} {lost:?} {}", ring.open);
        // A sample beside garbage stands for a period of its own at most.
        prop_assert!(lost.as_micros() as u64 <= (garbage as u64 + 3) * period * 11 / 10, "{lost:?} of {garbage}");
    }

    // For all answers whatever: no panic, and all figures within their ranges.
    #[test]
    fn any_answer_is_survived(drains in proptest::collection::vec(any_drain(), 0..20)) {
        let mut ring = Ring::default();
        for (answer, snapshot, elapsed) in drains {
            let answer: Vec<_> = answer.into_iter().map(|(t, value)| at(t, value)).collect();
            let got = ring.drain(&answer, snapshot, Duration::from_millis(elapsed));
            prop_assert!(got.mean.is_none_or(|mean| (0.0..=100.0).contains(&mean)));
            prop_assert!((0.0..=1.0).contains(&got.coverage));
            prop_assert!(got.busy <= got.covered);
        }
    }
}
