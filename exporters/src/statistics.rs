//! The algebra of a window.
//!
//! A statistic set stands for a bag of finite values. The empty set stands for the empty bag: it has no minimum,
//! maximum or mean. Recording adds one value to the bag. Merging unites two bags, so recording in any order and
//! splitting a bag in any way lead to the same count, minimum and maximum, and to the same sum but for rounding. The
//! mean lies between the minimum and the maximum.

/// Count, sum, minimum and maximum of the values recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StatisticSet {
    count: u64,
    sum: f64,
    minimum: f64,
    maximum: f64,
}

impl StatisticSet {
    /// Adds one value. What is not finite is no measurement and is left out.
    pub fn record(&mut self, value: f64) {
        if value.is_finite() {
            self.merge(&Self { count: 1, sum: value, minimum: value, maximum: value });
        }
    }

    /// Adds every value of another set.
    pub fn merge(&mut self, other: &Self) {
        match (self.count, other.count) {
            (_, 0) => {}
            (0, _) => *self = *other,
            _ => {
                self.count += other.count;
                self.sum += other.sum;
                self.minimum = self.minimum.min(other.minimum);
                self.maximum = self.maximum.max(other.maximum);
            }
        }
    }

    /// A set that was kept elsewhere, to the last bit; with a count of 0 it is the empty set. `None` where the bounds are
    /// none: not finite, or the minimum above the maximum.
    pub fn from_parts(count: u64, sum: f64, minimum: f64, maximum: f64) -> Option<Self> {
        if count == 0 {
            return Some(Self::default());
        }
        let bounds = minimum.is_finite() && maximum.is_finite() && minimum <= maximum;
        bounds.then_some(Self { count, sum, minimum, maximum })
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum; 0 for none.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The smallest value.
    pub fn minimum(&self) -> Option<f64> {
        (self.count > 0).then_some(self.minimum)
    }

    /// The largest value.
    pub fn maximum(&self) -> Option<f64> {
        (self.count > 0).then_some(self.maximum)
    }

    /// The arithmetic mean: the window's, not the last value.
    pub fn mean(&self) -> Option<f64> {
        // Rounding may push the quotient past a bound by one unit in the last place.
        (self.count > 0).then(|| (self.sum / self.count as f64).clamp(self.minimum, self.maximum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> StatisticSet {
        let mut set = StatisticSet::default();
        values.iter().for_each(|value| set.record(*value));
        set
    }

    #[test]
    fn nothing_recorded_is_not_zero() {
        let set = of(&[f64::NAN, f64::INFINITY]);
        assert_eq!((set.count(), set.minimum(), set.maximum(), set.mean()), (0, None, None, None));
    }

    #[test]
    fn a_set_kept_elsewhere_is_the_same_or_none() {
        assert_eq!(StatisticSet::from_parts(0, 1.0, 2.0, 1.0), Some(StatisticSet::default()));
        for (minimum, maximum) in [(2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::NAN), (f64::NEG_INFINITY, 1.0)] {
            assert_eq!(StatisticSet::from_parts(1, 1.0, minimum, maximum), None);
        }
    }

    proptest! {
        // For all sets that hold something, the figures read back are the set.
        #[test]
        fn the_figures_are_the_set(values in proptest::collection::vec(-1e300..1e300f64, 1..50)) {
            let set = of(&values);
            let (minimum, maximum) = (set.minimum().unwrap(), set.maximum().unwrap());
            prop_assert_eq!(StatisticSet::from_parts(set.count(), set.sum(), minimum, maximum), Some(set));
        }

        // For all splits of a window, the merged halves equal the whole.
        #[test]
        fn merged_halves_equal_the_whole(
            values in proptest::collection::vec(0.0..19200.0f64, 0..100),
            at in 0..100usize,
        ) {
            let at = at.min(values.len());
            let whole = of(&values);
            let mut merged = of(&values[..at]);
            merged.merge(&of(&values[at..]));
            prop_assert_eq!(merged.count(), whole.count());
            prop_assert_eq!((merged.minimum(), merged.maximum()), (whole.minimum(), whole.maximum()));
            prop_assert!((merged.sum() - whole.sum()).abs() <= 1e-9 * (1.0 + whole.sum()));
        }

        #[test]
        fn the_mean_lies_within_the_bounds(values in proptest::collection::vec(-1e300..1e300f64, 1..50)) {
            let set = of(&values);
            prop_assert_eq!(set.count(), values.len() as u64);
            let (minimum, mean, maximum) = (set.minimum().unwrap(), set.mean().unwrap(), set.maximum().unwrap());
            prop_assert!(minimum <= mean && mean <= maximum);
            prop_assert!(values.contains(&minimum) && values.contains(&maximum));
        }

        #[test]
        fn order_does_not_matter(mut values in proptest::collection::vec(0.0..100.0f64, 0..50)) {
            let forwards = of(&values);
            values.reverse();
            let backwards = of(&values);
            let exact = |set: &StatisticSet| (set.count(), set.minimum(), set.maximum());
            prop_assert_eq!(exact(&forwards), exact(&backwards));
            prop_assert!((forwards.sum() - backwards.sum()).abs() < 1e-9);
        }
    }
}
