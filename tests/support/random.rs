//! Chance that can be repeated.

use std::time::Duration;

/// SplitMix64.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn duration(&mut self, from: Duration, to: Duration) -> Duration {
        let span = (to - from).as_nanos() as u64;
        from + Duration::from_nanos(self.next() % span.max(1))
    }
}
