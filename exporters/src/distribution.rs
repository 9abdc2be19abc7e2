//! The values of a period and how often each came, in bounded memory.
//!
//! A distribution stands for a bag of finite values, as its exact [`StatisticSet`] does. At most [`VALUES`] different
//! values are kept as they are. Beyond that they share bins: each value is told as its bin's centre, moved to the
//! minimum or maximum where it would lie beyond them. The outermost bins leave as the minimum and maximum themselves, which
//! doubles what follows for them. The bins are the finest of their scale that are few enough:
//!
//! - [`Scale::Linear`]: as wide as a power of two. A value is told wrong by less than 1/149 of the range (maximum -
//!   minimum) of the bag.
//! - [`Scale::Logarithmic`]: what shares the leading bits of an f64. A value is told wrong by less than B/149 of
//!   itself, where B is the number of powers of two between which the values lie, counted for each sign: 2.7 % for
//!   what spans a factor of 8, 6.7 % for a factor of 500, 14 % for a factor of a million. Zero stays zero. (Subnormal
//!   numbers, below 2e-308, have no such bound, and with more than 149 powers of two there is none.)
//!
//! Coarser bins are unions of finer ones, so what was binned once is binned again as if it had not been. Therefore
//! recording in any order and merging parts in any way lead to the same values and counts. The sum of the counts is
//! always the count.

use crate::statistics::StatisticSet;

/// The most unique values that a distribution keeps: CloudWatch's limit for one datum.
pub const VALUES: usize = 150;

/// Fewer bins than these no scale has: two powers of two on either side of zero.
const FEWEST: usize = 4;

/// How values share bins once there are more than fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Bins of equal width: for levels, as utilizations are.
    Linear,
    /// Bins of about equal ratio: for what spans magnitudes, as latencies do.
    Logarithmic,
}

/// Exact statistics, and values with counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    statistics: StatisticSet,
    /// Ascending and unique, within the minimum and the maximum.
    values: Vec<(f64, u64)>,
    scale: Scale,
    bins: Bins,
}

impl Distribution {
    /// An empty one.
    pub fn new(scale: Scale) -> Self {
        Self { statistics: StatisticSet::default(), values: Vec::new(), scale, bins: Bins::Exact }
    }

    /// An empty one with room for as many values as this one has: the period that follows is likely to be alike.
    pub(crate) fn successor(&self) -> Self {
        Self { values: Vec::with_capacity(self.values.len()), ..Self::new(self.scale) }
    }

    /// One read back: the statistics, and the values behind them in ascending order with their counts. `None` where
    /// they cannot belong together. What was binned before counts as exact from here on, so that its error adds to that
    /// of later bins.
    pub fn from_parts(statistics: StatisticSet, values: Vec<(f64, u64)>, scale: Scale) -> Option<Self> {
        let within = |value: f64| statistics.minimum() <= Some(value) && Some(value) <= statistics.maximum();
        let counts = values.iter().try_fold(0u64, |sum, (_, count)| sum.checked_add(*count));
        let good = values.len() <= VALUES
            && values.is_sorted_by(|a, b| a.0 < b.0)
            && values.iter().all(|(value, count)| within(*value) && *count > 0)
            && counts == Some(statistics.count());
        good.then_some(Self { statistics, values, scale, bins: Bins::Exact })
    }

    /// The statistics, and the values with their counts. The first value is the minimum and the last the maximum, also
    /// where they are binned: whoever looks at the values alone finds both.
    pub fn into_parts(self) -> (StatisticSet, Vec<(f64, u64)>) {
        let Self { statistics, mut values, .. } = self;
        if let ([(first, _), .., (last, _)], Some(minimum), Some(maximum)) =
            (&mut values[..], statistics.minimum(), statistics.maximum())
        {
            (*first, *last) = (minimum, maximum);
        }
        (statistics, values)
    }

    /// Count, sum, minimum, maximum: exact.
    pub fn statistics(&self) -> &StatisticSet {
        &self.statistics
    }

    /// Values in ascending order with their counts.
    pub fn values(&self) -> &[(f64, u64)] {
        &self.values
    }

    /// Adds one value. What is not finite is no measurement and is left out.
    pub fn record(&mut self, value: f64) {
        if value.is_finite() {
            // The sum turns -0 into 0, which is the same value and must not stand beside it.
            let value = value + 0.0;
            self.statistics.record(value);
            self.widen_edges();
            self.insert(value, 1);
            self.limit(VALUES);
        }
    }

    /// Adds every value of another distribution, which has the same scale.
    pub fn merge(&mut self, other: &Self) {
        self.statistics.merge(&other.statistics);
        self.bins = self.bins.coarser(other.bins);
        self.rebin();
        for (value, count) in &other.values {
            self.insert(*value, *count);
            self.limit(VALUES);
        }
    }

    /// The values with their counts in at most so many bins (4 at least). The error is that of the module, with one
    /// less than `unique` in place of 149.
    pub fn limited_to(&self, unique: usize) -> Vec<(f64, u64)> {
        let mut fewer = self.clone();
        fewer.limit(unique.max(FEWEST));
        fewer.into_parts().1
    }

    fn insert(&mut self, value: f64, count: u64) {
        let value = self.tell(value);
        match self.values.binary_search_by(|(other, _)| other.total_cmp(&value)) {
            Ok(index) => self.values[index].1 += count,
            Err(index) => self.values.insert(index, (value, count)),
        }
    }

    /// The number that stands for a value.
    fn tell(&self, value: f64) -> f64 {
        match (self.statistics.minimum(), self.statistics.maximum()) {
            (Some(minimum), Some(maximum)) => self.bins.centre(value).clamp(minimum, maximum),
            _ => value,
        }
    }

    /// Only the outermost bins are ever cut by the minimum and maximum, which may just have moved.
    fn widen_edges(&mut self) {
        for index in [0, self.values.len().saturating_sub(1)] {
            if let Some((value, _)) = self.values.get(index) {
                self.values[index].0 = self.tell(*value);
            }
        }
    }

    fn limit(&mut self, unique: usize) {
        while self.values.len() > unique {
            self.bins = match self.bins {
                Bins::Exact => Bins::finest(self.scale, &self.values),
                bins => bins.next(),
            };
            self.rebin();
        }
    }

    fn rebin(&mut self) {
        let mut values = std::mem::take(&mut self.values);
        values.iter_mut().for_each(|(value, _)| *value = self.tell(*value));
        values.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
        self.values = values;
    }
}

/// The bins in use.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bins {
    /// None: each value stands for itself.
    Exact,
    /// Of this width, a power of two, from zero on.
    Wide(f64),
    /// Of what is equal in all but so many trailing bits, 1 to 63.
    Truncated(u32),
}

impl Bins {
    /// The finest bins in which any two of these values, ascending and unique, could meet, or finer.
    fn finest(scale: Scale, values: &[(f64, u64)]) -> Self {
        match scale {
            Scale::Linear => {
                let gaps = values.windows(2).map(|pair| pair[1].0 - pair[0].0);
                Self::Wide(power_of_two(gaps.fold(f64::MAX, f64::min)))
            }
            Scale::Logarithmic => Self::Truncated(1),
        }
    }

    /// Those of twice the size.
    fn next(self) -> Self {
        match self {
            Self::Exact => self,
            Self::Wide(width) => Self::Wide(2.0 * width),
            Self::Truncated(bits) => Self::Truncated((bits + 1).min(63)),
        }
    }

    fn coarser(self, other: Self) -> Self {
        match (self, other) {
            (Self::Wide(a), Self::Wide(b)) => Self::Wide(a.max(b)),
            (Self::Truncated(a), Self::Truncated(b)) => Self::Truncated(a.max(b)),
            (Self::Exact, bins) | (bins, _) => bins,
        }
    }

    /// The centre of a value's bin: exact, by the choice of the bins.
    fn centre(self, value: f64) -> f64 {
        match self {
            Self::Exact => value,
            Self::Wide(width) => {
                let bin = (value / width).floor();
                // What is tiny beside the width underflows to zero, which must not cost a negative value its sign.
                let bin = if value < 0.0 { bin.min(-1.0) } else { bin };
                // From 2^52 on, an f64 has no halves, and each has a bin of its own.
                if bin.abs() < (1u64 << 52) as f64 { (bin + 0.5) * width } else { value }
            }
            Self::Truncated(_) if value == 0.0 => value,
            Self::Truncated(bits) => f64::from_bits(value.to_bits() >> bits << bits | 1 << (bits - 1)),
        }
    }
}

/// The largest power of two that is at most this positive number, and whose half is an f64 too.
fn power_of_two(number: f64) -> f64 {
    const EXPONENT: u64 = 0x7ff << 52;
    f64::from_bits(number.to_bits() & EXPONENT).max(f64::from_bits(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    use proptest::prelude::*;

    fn of(scale: Scale, values: &[f64]) -> Distribution {
        let mut distribution = Distribution::new(scale);
        values.iter().for_each(|value| distribution.record(*value));
        distribution
    }

    fn scale() -> impl Strategy<Value = Scale> {
        prop_oneof![Just(Scale::Linear), Just(Scale::Logarithmic)]
    }

    /// Percents, latencies, few different numbers, large numbers close together, and any f64.
    fn values() -> impl Strategy<Value = Vec<f64>> {
        prop_oneof![
            vec(0.0..6400.0f64, 0..600),
            vec((-14.0..3.0f64).prop_map(f64::exp2), 0..600),
            vec((0..200u32).prop_map(f64::from), 0..600),
            vec((0..200u32).prop_map(|less| 9007199254740992.0 - f64::from(less)), 0..600),
            vec(POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO, 0..600),
        ]
    }

    /// Each value recorded beside the one that stands for it; bins keep the order, so ranks tell.
    fn told(distribution: &Distribution, recorded: &[f64]) -> Vec<(f64, f64)> {
        let mut recorded: Vec<f64> = recorded.to_vec();
        recorded.sort_by(f64::total_cmp);
        let told = distribution.values().iter().flat_map(|(value, count)| vec![*value; *count as usize]);
        recorded.into_iter().zip(told).collect()
    }

    #[test]
    fn few_values_are_kept_as_they_are() {
        let distribution = of(Scale::Linear, &[3.0, 0.0, 3.0, -0.0, f64::NAN, f64::INFINITY, 0.1]);
        assert_eq!(distribution.values(), [(0.0, 2), (0.1, 1), (3.0, 2)]);
        assert_eq!(distribution.statistics().count(), 5);
    }

    #[test]
    fn percents_are_told_within_half_a_point() {
        let recorded: Vec<f64> = (0..=1000).map(|tenth| f64::from(tenth) / 10.0).collect();
        let distribution = of(Scale::Linear, &recorded);
        assert_eq!(distribution.values().len(), 101);
        assert_eq!(distribution.values()[..2], [(0.5, 10), (1.5, 10)]);
        assert_eq!(distribution.values()[100], (100.0, 1), "moved to the maximum");
    }

    #[test]
    fn zero_stays_zero_and_negatives_mirror_on_the_logarithmic_scale() {
        let recorded: Vec<f64> = (-1000..=1000).map(f64::from).collect();
        let distribution = of(Scale::Logarithmic, &recorded);
        let values = distribution.values();
        assert!(values.contains(&(0.0, 1)));
        let mirrored: Vec<(f64, u64)> = values.iter().rev().map(|(value, count)| (0.0 - value, *count)).collect();
        assert_eq!(values, mirrored);
    }

    #[test]
    fn a_successor_has_room_for_as_many_values() {
        let distribution = of(Scale::Linear, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        let successor = distribution.successor();
        assert!(successor.values().is_empty() && successor.values.capacity() >= 7);
    }

    #[test]
    fn a_negative_value_stays_negative_however_wide_the_bins() {
        assert_eq!(Bins::Wide(f64::exp2(1000.0)).centre(-1e-300), -f64::exp2(999.0));
    }

    #[test]
    fn what_does_not_belong_together_is_not_read_back() {
        let linear = |count, values: &[(f64, u64)]| {
            let statistics = StatisticSet::from_parts(count, 3.0, 1.0, 2.0).unwrap();
            Distribution::from_parts(statistics, values.to_vec(), Scale::Linear).is_some()
        };
        assert!(linear(2, &[(1.0, 1), (2.0, 1)]));
        for values in [
            vec![(2.0, 1), (1.0, 1)],
            vec![(1.0, 1), (1.0, 1)],
            vec![(1.0, 1), (2.5, 1)],
            vec![(0.5, 1), (2.0, 1)],
            vec![(f64::NAN, 2)],
            vec![(1.0, 2), (2.0, 0)],
            vec![(1.0, 1)],
            vec![(1.0, u64::MAX), (2.0, 3)],
            vec![],
        ] {
            assert!(!linear(2, &values), "{values:?}");
        }
        let many: Vec<(f64, u64)> = (0..151).map(|number| (1.0 + f64::from(number) / 200.0, 1)).collect();
        assert!(!linear(151, &many) && linear(150, &many[..150]));
    }

    proptest! {
        // For all bags: the values are few, in order, within the bounds; their counts are the count.
        #[test]
        fn a_distribution_is_well_formed(recorded in values(), scale in scale(), unique in 4..150usize) {
            let distribution = of(scale, &recorded);
            let statistics = *distribution.statistics();
            let limited = (distribution.limited_to(unique), unique);
            let leaves = (distribution.clone().into_parts().1, VALUES);
            for (values, _) in [&limited, &leaves].into_iter().filter(|(values, _)| values.len() > 1) {
                prop_assert_eq!(values.first().map(|(value, _)| *value), statistics.minimum());
                prop_assert_eq!(values.last().map(|(value, _)| *value), statistics.maximum());
            }
            for (values, most) in [(distribution.values().to_vec(), VALUES), limited, leaves] {
                prop_assert!(values.len() <= most);
                prop_assert!(values.is_sorted_by(|a, b| a.0 < b.0));
                prop_assert!(values.iter().all(|(value, _)| statistics.minimum() <= Some(*value)
                    && Some(*value) <= statistics.maximum()));
                prop_assert_eq!(values.iter().map(|(_, count)| count).sum::<u64>(), recorded.len() as u64);
            }
            let again = Distribution::from_parts(statistics, distribution.values().to_vec(), scale);
            prop_assert_eq!(again.map(Distribution::into_parts), Some(distribution.into_parts()));
        }

        // For all bags on the linear scale: each value is told within 1/149 of the range, and exactly while few.
        #[test]
        fn the_linear_error_is_as_stated(recorded in values()) {
            let distribution = of(Scale::Linear, &recorded);
            let (minimum, maximum) = (distribution.statistics().minimum(), distribution.statistics().maximum());
            let range = maximum.unwrap_or(0.0) - minimum.unwrap_or(0.0);
            let mut unique = recorded.clone();
            unique.sort_by(f64::total_cmp);
            unique.dedup_by(|a, b| a == b);
            for (value, told) in told(&distribution, &recorded) {
                prop_assert!((value - told).abs() <= range / 149.0, "{} told as {}", value, told);
                prop_assert!(value == told || unique.len() > VALUES);
            }
        }

        // For all bags on the logarithmic scale: each value is told within B/149 of itself, zero and sign exactly.
        #[test]
        fn the_logarithmic_error_is_as_stated(recorded in values()) {
            let distribution = of(Scale::Logarithmic, &recorded);
            let mut powers: Vec<u64> = recorded.iter().map(|value| value.to_bits() >> 52).collect();
            powers.sort_unstable();
            powers.dedup();
            for (value, told) in told(&distribution, &recorded) {
                prop_assert!(value.abs() * told.signum() == value || value == 0.0, "{} told as {}", value, told);
                prop_assert!(value != 0.0 || told == 0.0);
                let bounded = powers.len() <= 149 && !value.is_subnormal();
                let error = (value - told).abs() / value.abs();
                prop_assert!(!bounded || value == 0.0 || error < powers.len() as f64 / 149.0,
                    "{} told as {}", value, told);
            }
        }

        // For all bags, orders and splits: the same values and counts.
        #[test]
        fn order_and_splits_do_not_matter(recorded in values(), scale in scale(), at in 0..600usize) {
            let whole = of(scale, &recorded);
            let backwards = of(scale, &recorded.iter().rev().copied().collect::<Vec<_>>());
            prop_assert_eq!(backwards.values(), whole.values());
            let (left, right) = recorded.split_at(at.min(recorded.len()));
            let mut merged = of(scale, left);
            merged.merge(&of(scale, right));
            prop_assert_eq!(merged.values(), whole.values());
            prop_assert_eq!(merged.statistics().count(), whole.statistics().count());
        }

        // For all values and bins: what is binned already falls into the same coarser bin as the value itself.
        #[test]
        fn bins_are_nested(value in NORMAL | ZERO | NEGATIVE | POSITIVE, fine in 1..63u32, steps in 0..40u32) {
            let exponent = f64::from_bits(value.to_bits() & 0x7ff << 52).max(f64::MIN_POSITIVE);
            for bins in [Bins::Truncated(fine), Bins::Wide((exponent / (1u64 << (fine - 1)) as f64).max(1e-300))] {
                let coarse = (0..steps).fold(bins, |bins, _| bins.next());
                let told = bins.centre(value);
                if told.is_finite() && coarse.centre(value).is_finite() {
                    prop_assert_eq!(coarse.centre(told), coarse.centre(value));
                }
            }
        }
    }
}
