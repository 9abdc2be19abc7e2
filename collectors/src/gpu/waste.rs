//! What a GPU costs while it does nothing: memory that a program holds meanwhile, and the longest stall.
//!
//! Both come from the driver's own samples, several a second, so that a stall is seen however far apart the ticks are.

use std::time::{Duration, Instant};

use super::driver::Memory;
use super::ring::Drain;

/// More memory than this is held by a program. On a GPU that nobody uses the driver shows a few MiB (an A100: 8); a
/// CUDA context alone takes more, hundreds on the GPUs of data centres. Not measured by us.
const HELD: u64 = 64 << 20;
/// How far back a stall is shown, in seconds: a scrape each minute sees every one.
const REACH: u64 = 60;
/// The second under way counts, too.
const SECONDS: u64 = REACH + 1;

/// The waste of one GPU.
#[derive(Debug, Default)]
pub(super) struct Waste {
    /// Whether memory was held when it was last read; `None` where that is not known.
    held: Option<bool>,
    /// Time at 0 % since then.
    still: Duration,
    held_idle: Duration,
    stalls: Stalls,
}

impl Waste {
    /// Takes in what the ring said at `now`.
    pub(super) fn add(&mut self, drain: &Drain, now: Instant) {
        self.still += drain.still;
        if !drain.covered.is_zero() {
            self.stalls.note(drain.longest_idle, now);
        }
    }

    /// Takes in the memory of this tick. Idle time counts where memory was held at both of its ends: what came or went
    /// in between had no part in all of it.
    pub(super) fn memory(&mut self, memory: Option<Memory>) {
        let held = memory.and_then(is_held);
        if (self.held, held) == (Some(true), Some(true)) {
            self.held_idle += self.still;
        }
        (self.held, self.still) = (held, Duration::ZERO);
    }

    /// The time at 0 % with memory held; `None` while that is not known.
    pub(super) fn held_idle(&self) -> Option<Duration> {
        self.held.map(|_| self.held_idle)
    }

    /// The longest time at 0 % that goes on or ended in the last minute; `None` where no sample is as young as that.
    pub(super) fn longest_idle(&self, now: Instant) -> Option<Duration> {
        self.stalls.longest(now)
    }
}

/// `None` for drivers before 510: their figure holds what they keep for themselves.
fn is_held(memory: Memory) -> Option<bool> {
    memory.reserved.map(|_| memory.used > HELD)
}

/// The longest stall noted in each of the last seconds.
#[derive(Debug)]
struct Stalls {
    /// What seconds are counted from.
    start: Option<Instant>,
    /// By the second's number modulo their count.
    seconds: [Option<(u64, Duration)>; SECONDS as usize],
}

impl Default for Stalls {
    fn default() -> Self {
        Self { start: None, seconds: [None; SECONDS as usize] }
    }
}

impl Stalls {
    fn note(&mut self, stall: Duration, now: Instant) {
        let second = now.saturating_duration_since(*self.start.get_or_insert(now)).as_secs();
        let slot = &mut self.seconds[(second % SECONDS) as usize];
        let before = slot.filter(|(noted, _)| *noted == second).map_or(Duration::ZERO, |(_, longest)| longest);
        *slot = Some((second, stall.max(before)));
    }

    fn longest(&self, now: Instant) -> Option<Duration> {
        let second = now.saturating_duration_since(self.start?).as_secs();
        let young = self.seconds.iter().flatten().filter(|(noted, _)| second - noted.min(&second) <= REACH);
        young.map(|(_, stall)| *stall).max()
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::{Ring, RingSample};
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PERIOD: u64 = 200_000;

    fn memory(used: u64) -> Option<Memory> {
        Some(Memory { total: 80 << 30, used, reserved: Some(600 << 20) })
    }

    fn still(time: Duration) -> Drain {
        Drain { covered: SECOND, still: time, longest_idle: time, ..Drain::default() }
    }

    #[test]
    fn memory_counts_as_held_above_what_an_unused_gpu_shows() {
        let before_510 = Memory { total: 80 << 30, used: 900 << 20, reserved: None };
        assert_eq!(is_held(before_510), None);
        let held = [0, 8 << 20, 64 << 20, 100 << 20, 70 << 30].map(|used| memory(used).and_then(is_held));
        assert_eq!(held, [Some(false), Some(false), Some(false), Some(true), Some(true)]);
    }

    #[test]
    fn idle_time_counts_where_memory_was_held_at_both_ends() {
        let now = Instant::now();
        let mut waste = Waste::default();
        let mut tick = |used: Option<u64>| {
            waste.add(&still(SECOND), now);
            waste.memory(used.and_then(memory));
            waste.held_idle().map(|time| time.as_secs())
        };
        let (free, held) = (Some(0), Some(1 << 30));
        let ticks = [free, held, held, held, free, held, None, held, held].map(&mut tick);
        assert_eq!(
            ticks,
            [Some(0), Some(0), Some(1), Some(2), Some(2), Some(2), None, Some(2), Some(3)],
            "a program starts, ends, another starts, memory is not known once"
        );
    }

    #[test]
    fn a_stall_is_shown_for_a_minute_after_its_end() {
        let start = Instant::now();
        let mut waste = Waste::default();
        assert_eq!(waste.longest_idle(start), None);
        waste.add(&still(SECOND * 7), start);
        for second in 1..61 {
            waste.add(&still(SECOND / 2), start + SECOND * second);
            assert_eq!(waste.longest_idle(start + SECOND * second), Some(SECOND * 7), "{second}");
        }
        waste.add(&still(SECOND / 2), start + SECOND * 61);
        assert_eq!(waste.longest_idle(start + SECOND * 61), Some(SECOND / 2));
        // No samples for a minute: not known.
        waste.add(&Drain::default(), start + SECOND * 122);
        assert_eq!(waste.longest_idle(start + SECOND * 122), None);
    }

    /// Drains a ring that holds `reach` samples at the `ticks`; time at 0 %, samples taken, longest stall.
    fn totals(values: &[u32], ticks: &[usize], reach: usize) -> (Option<Duration>, u64, Duration) {
        let start = Instant::now();
        let (mut ring, mut waste, mut taken, mut longest) = (Ring::default(), Waste::default(), 0, Duration::ZERO);
        let mut before = 0;
        waste.memory(memory(1 << 30));
        for end in ticks.iter().copied().chain([values.len()]) {
            let held = (end.saturating_sub(reach)..end)
                .map(|i| RingSample { timestamp: (i as u64 + 1) * PERIOD, value: values[i] });
            let now = start + Duration::from_micros(end as u64 * PERIOD);
            let elapsed = Duration::from_micros((end - before) as u64 * PERIOD);
            let drain = ring.drain(&held.collect::<Vec<_>>(), None, elapsed);
            waste.add(&drain, now);
            // Memory is read at some ticks only: between them the ring is drained alone.
            if end % 2 == 0 || end == values.len() {
                waste.memory(memory(1 << 30));
            }
            (taken, longest, before) = (taken + drain.taken, longest.max(drain.longest_idle), end);
        }
        (waste.held_idle(), taken, longest)
    }

    /// Values that are often 0, and after how many of them the ring is drained.
    fn split() -> impl Strategy<Value = (Vec<u32>, Vec<usize>)> {
        let value = prop_oneof![3 => Just(0u32), 1 => 0..=100u32];
        (proptest::collection::vec(value, 60..200), proptest::collection::vec(1..40usize, 1..20))
    }

    proptest! {
        // For all samples and all ways to cut them into drains within the ring: time at 0 % with memory held, the
        // samples taken and the longest stall are the same as when drained at every sample, and as counted by hand.
        #[test]
        fn waste_does_not_depend_on_the_ticks((values, steps) in split()) {
            let mut ticks = vec![10];
            ticks.extend(steps.iter().scan(10, |at, step| { *at += step; Some(*at) }));
            ticks.retain(|at| *at < values.len());
            let each: Vec<usize> = (10..values.len()).collect();
            let got = totals(&values, &ticks, 1000);
            prop_assert_eq!(got, totals(&values, &each, 1000));
            let counted = &values[10..];
            let zeros = counted.iter().filter(|value| **value == 0).count() as u64;
            let stall = counted.split(|value| *value != 0).map(<[u32]>::len).max().unwrap_or(0) as u64;
            let time = |samples: u64| Duration::from_micros(samples * PERIOD);
            prop_assert_eq!(got, (Some(time(zeros)), counted.len() as u64, time(stall)));
        }

        // For all ways to drain too late: a stall is never longer than what stands in the ring without a hole.
        #[test]
        fn a_hole_in_the_samples_is_no_stall(reach in 5..30usize, late in 31..100usize) {
            let values = vec![0; 10 + 3 * late];
            let (_, _, longest) = totals(&values, &[10, 10 + late, 10 + 2 * late], reach);
            prop_assert!(longest <= Duration::from_micros(reach as u64 * PERIOD), "{longest:?}");
        }
    }
}
