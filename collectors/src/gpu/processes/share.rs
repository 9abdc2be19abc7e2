//! The share of the SMs that each process had, from the driver's samples of processes.
//!
//! nvml.h promises a sample for each process that was not idle in the driver's last period (a sixth of a second to one
//! second). Some drivers hand out one sample a process, others every sample of a buffer; which one it is shows once a
//! process has two. Samples stand for the time since the one before, so that a mean over them is weighted by time.

use std::time::{Duration, Instant};

use super::super::driver::ProcessSample;

/// Shorter than any driver's period, in microseconds: closer samples are one that was told twice.
const SHORTEST: u64 = 100_000;
/// The longest period of any driver, in microseconds.
const LONGEST: u64 = 1_000_000;
/// So many empty answers later all samples are asked for: a driver whose clock went back would say nothing for ever.
const PATIENCE: u32 = 10;

/// What came of one question for samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The shares of the time since the question before.
    Shares,
    /// No new samples: nobody did anything, or the driver has not said so yet.
    Nothing,
    /// Samples, but of how much time is not known: the first question.
    Base,
}

/// What one GPU told of its processes so far.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// The newest time stamp there was; 0 before the first.
    newest: u64,
    /// Between two samples of one process, in microseconds; `None` where there never were two.
    period: Option<u64>,
    asked: Option<Instant>,
    empty: u32,
}

impl Usage {
    /// The time stamp after which samples are wanted.
    pub(super) fn since(&self) -> u64 {
        if self.empty < PATIENCE { self.newest } else { 0 }
    }

    /// Takes in an answer, garbage and all. Fills `into` with the processes and their percentages, 0..=100.
    pub(super) fn take(&mut self, samples: &mut Vec<ProcessSample>, now: Instant, into: &mut Vec<(u32, f64)>) -> Told {
        into.clear();
        let asked = self.asked.replace(now);
        samples.retain(|sample| sample.pid != 0 && sample.timestamp != 0 && sample.sm <= 100);
        let Some(newest) = samples.iter().map(|sample| sample.timestamp).max() else {
            self.empty = self.empty.saturating_add(1);
            return Told::Nothing;
        };
        let asked_for_all = self.empty >= PATIENCE;
        if newest <= self.newest && !asked_for_all {
            self.empty = self.empty.saturating_add(1);
            return Told::Nothing;
        }
        self.empty = 0;
        let before = std::mem::replace(&mut self.newest, newest);
        let Some(asked) = asked.filter(|_| newest > before) else { return Told::Base };
        samples.retain(|sample| sample.timestamp > before);
        samples.sort_unstable_by_key(|sample| (sample.pid, sample.timestamp));
        samples.dedup_by_key(|sample| (sample.pid, sample.timestamp));
        self.learn(samples);
        let span = if before == 0 { 0 } else { newest - before };
        let elapsed = micros(now.saturating_duration_since(asked));
        let of_one = samples.chunk_by(|a, b| a.pid == b.pid);
        into.extend(of_one.filter_map(|own| Some((own.first()?.pid, self.share(own, before, span, elapsed)?))));
        Told::Shares
    }

    fn learn(&mut self, samples: &[ProcessSample]) {
        let distances = samples.windows(2).filter_map(|pair| match pair {
            [a, b] if a.pid == b.pid => Some(b.timestamp - a.timestamp),
            _ => None,
        });
        let shortest = distances.filter(|distance| *distance >= SHORTEST).chain(self.period).min();
        self.period = shortest.map(|period| period.min(LONGEST));
    }

    /// The percentage of one process, whose samples these are, oldest first.
    fn share(&self, own: &[ProcessSample], before: u64, span: u64, elapsed: u64) -> Option<f64> {
        let newest = own.last()?;
        // One sample a process: it is the driver's own mean, or all that there is.
        let Some(period) = self.period else { return Some(f64::from(newest.sm)) };
        let (mut busy, mut told, mut last) = (0, 0, before);
        for sample in own {
            let distance = sample.timestamp - last;
            let stands_for = if distance > 2 * period { period } else { distance };
            busy += u64::from(sample.sm) * stands_for;
            told += stands_for;
            last = sample.timestamp;
        }
        // Idle periods have no samples. Samples come a period late and lie on a grid of their own, so that up to two
        // periods of the time since the question before are not told yet.
        let whole = span.max(told).max(elapsed.saturating_sub(2 * period));
        (whole > 0).then(|| crate::sample::percent(busy as f64 / 100.0, whole as f64))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const START: u64 = 1_000_000_000;

    fn sample(pid: u32, timestamp: u64, sm: u32) -> ProcessSample {
        ProcessSample { pid, timestamp, sm }
    }

    /// Six samples a second of one process, `from` to `to` in sixths of a second.
    fn grid(pid: u32, from: u64, to: u64, sm: u32) -> Vec<ProcessSample> {
        (from + 1..=to).map(|step| sample(pid, START + step * 166_667, sm)).collect()
    }

    struct Asker {
        usage: Usage,
        now: Instant,
    }

    impl Asker {
        fn new() -> Self {
            Self { usage: Usage::default(), now: Instant::now() }
        }

        fn ask(&mut self, mut samples: Vec<ProcessSample>) -> (Told, Vec<(u32, f64)>) {
            self.now += SECOND;
            let mut shares = Vec::new();
            let told = self.usage.take(&mut samples, self.now, &mut shares);
            (told, shares)
        }
    }

    #[test]
    fn one_sample_a_process_is_taken_as_it_is() {
        let mut asker = Asker::new();
        assert_eq!(asker.ask(vec![sample(7, START, 40)]), (Told::Base, vec![]));
        let next = START + 1_000_000;
        assert_eq!(
            asker.ask(vec![sample(9, next + 5, 30), sample(7, next, 60)]),
            (Told::Shares, vec![(7, 60.0), (9, 30.0)])
        );
    }

    #[test]
    fn many_samples_are_weighted_by_their_time_and_idle_periods_count() {
        let mut asker = Asker::new();
        asker.ask(grid(7, 0, 6, 100));
        let mut uneven = grid(7, 6, 12, 90);
        // Half of it at 90, a third lost in one sample of 30.
        uneven.drain(3..5);
        uneven[3].sm = 30;
        let (told, shares) = asker.ask(uneven);
        assert_eq!((told, shares[0].0), (Told::Shares, 7));
        assert!((shares[0].1 - (3.0 * 90.0 + 30.0) / 6.0).abs() < 0.1, "{shares:?}");
        // Steady to the last bit, wherever the edges of the grid fall.
        assert_eq!(asker.ask(grid(7, 12, 17, 80)), (Told::Shares, vec![(7, 80.0)]));
        assert_eq!(asker.ask(grid(7, 17, 24, 80)), (Told::Shares, vec![(7, 80.0)]));
        // A burst of one period in a second.
        let (_, shares) = asker.ask(grid(7, 29, 30, 100));
        assert!((shares[0].1 - 100.0 / 6.0).abs() < 0.1, "{shares:?}");
        // Of a process that was idle before there is one sample, and it stands for one period.
        let (_, shares) = asker.ask([grid(7, 30, 36, 50), grid(8, 35, 36, 60)].concat());
        assert_eq!(shares[0], (7, 50.0));
        assert!((shares[1].1 - 10.0).abs() < 0.1, "{shares:?}");
    }

    #[test]
    fn garbage_and_what_was_told_before_count_nothing() {
        let mut asker = Asker::new();
        asker.ask(vec![sample(7, START, 10)]);
        let garbage = vec![
            sample(7, START, 90),
            sample(7, 0, 90),
            sample(0, START + 5, 90),
            sample(7, u64::MAX, 4_294_967_295),
            sample(8, START + 900_000, 101),
            sample(9, START + 1_000_000, 100),
        ];
        assert_eq!(asker.ask(garbage), (Told::Shares, vec![(9, 100.0)]));
        assert_eq!(asker.ask(vec![]), (Told::Nothing, vec![]));
        assert_eq!(asker.ask(vec![sample(9, START, 50)]), (Told::Nothing, vec![]));
        assert_eq!(asker.usage.since(), START + 1_000_000);
    }

    #[test]
    fn a_driver_whose_clock_went_back_is_heard_again() {
        let mut asker = Asker::new();
        asker.ask(vec![sample(7, START, 10)]);
        (0..PATIENCE).for_each(|_| assert_eq!(asker.ask(vec![]).0, Told::Nothing));
        assert_eq!(asker.usage.since(), 0);
        assert_eq!(asker.ask(vec![sample(7, 5_000_000, 10)]).0, Told::Base);
        assert_eq!(asker.ask(vec![sample(7, 6_000_000, 20)]), (Told::Shares, vec![(7, 20.0)]));
    }

    proptest! {
        // For all answers, garbage included: shares lie in 0..=100, and no process has two.
        #[test]
        fn shares_lie_in_their_range(
            answers in proptest::collection::vec(
                proptest::collection::vec((0..4u32, 0..6_000_000u64, 0..130u32), 0..30),
                1..20,
            ),
        ) {
            let mut asker = Asker::new();
            for (round, answer) in answers.into_iter().enumerate() {
                let at = |time| time + round as u64 * 1_000_000;
                let answer = answer.into_iter().map(|(pid, time, sm)| sample(pid, at(time), sm)).collect();
                let (_, shares) = asker.ask(answer);
                let is_good = |(pid, share): &(u32, f64)| *pid != 0 && (0.0..=100.0).contains(share);
                prop_assert!(shares.iter().all(is_good), "{shares:?}");
                prop_assert!(shares.windows(2).all(|pair| pair[0].0 < pair[1].0), "{shares:?}");
            }
        }
    }
}
