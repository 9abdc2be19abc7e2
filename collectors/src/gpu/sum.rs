//! The sum over GPUs when one of them is sick.
//!
//! With one of eight GPUs lost, the sum of the other seven looks like less load. So a sum never goes without how many
//! GPUs there are, lost ones included, and how many of them it is of.

use crate::sample::sum_over_devices;

/// What the sums over GPUs are while a GPU that is known has no value. As text: `strict`, `partial`.
///
/// How many GPUs there are and how many report stands beside the sums in either case (`hostgauge_gpus`,
/// `hostgauge_gpus_reporting`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SumRule {
    /// Absent. The default, because a part looks like less load: with one of eight equally busy GPUs lost, it is an
    /// eighth less, and whoever scales or alarms on it does the wrong thing.
    #[default]
    Strict,
    /// The sum of those that report, for who divides it by their number.
    Partial,
}

impl SumRule {
    /// Every rule there is.
    pub const ALL: [Self; 2] = [Self::Strict, Self::Partial];

    /// The value of the option.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Partial => "partial",
        }
    }
}

/// A sum and what it is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct GpuSum {
    /// 0..=100*`reporting`; `None` without a value to sum, or by the rule.
    pub sum: Option<f64>,
    /// The GPUs known, lost ones included.
    pub count: usize,
    /// Those with a value.
    pub reporting: usize,
}

/// The sum over all known GPUs: one item for each, `None` for one without a value.
pub(super) fn sum(percents: impl IntoIterator<Item = Option<f64>>, rule: SumRule) -> GpuSum {
    let (mut count, mut reporting) = (0, 0);
    let values = percents.into_iter().inspect(|percent| {
        count += 1;
        reporting += usize::from(percent.is_some());
    });
    let sum = sum_over_devices(values.flatten());
    GpuSum { sum: sum.filter(|_| rule == SumRule::Partial || reporting == count), count, reporting }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_of_eight_lost() {
        let percents = || (0..8).map(|gpu| (gpu != 3).then_some(100.0));
        assert_eq!(sum(percents(), SumRule::Strict), GpuSum { sum: None, count: 8, reporting: 7 });
        assert_eq!(sum(percents(), SumRule::Partial), GpuSum { sum: Some(700.0), count: 8, reporting: 7 });
    }

    proptest! {
        // For all GPUs, with values or without: the counts tell how many the sum is of, a strict sum is of all or
        // absent, and a partial one is that of the values alone. No GPU is dropped without a trace.
        #[test]
        fn a_sum_is_never_of_fewer_than_it_says(
            percents in proptest::collection::vec(proptest::option::of(0.0..=100.0f64), 0..64),
        ) {
            let values: Vec<f64> = percents.iter().copied().flatten().collect();
            for rule in SumRule::ALL {
                let got = sum(percents.iter().copied(), rule);
                prop_assert_eq!((got.count, got.reporting), (percents.len(), values.len()));
                match rule {
                    SumRule::Strict if values.len() < percents.len() => prop_assert_eq!(got.sum, None),
                    _ => prop_assert_eq!(got.sum, sum_over_devices(values.iter().copied())),
                }
            }
        }
    }
}
