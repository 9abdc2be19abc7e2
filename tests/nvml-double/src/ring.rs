//! The driver's ring of samples, computed from the load at the moment it is read: sample k is the mean over the k-th
//! period since 1970.

use crate::scenario::Ring;
use crate::timeline::Micros;

/// The samples newer than `last_seen`, oldest first unless the ring is `unordered`: time stamp and value. `value` is
/// the mean over an interval, and `is_busy` whether there was any load in one.
pub(crate) fn samples(
    ring: &Ring,
    now: Micros,
    last_seen: u64,
    value: impl Fn(Micros, Micros) -> u32,
    is_busy: impl Fn(Micros, Micros) -> bool,
) -> Vec<(u64, u32)> {
    let newest = now / ring.period_us;
    let oldest = (newest + 1).saturating_sub(ring.size as u64).max(1);
    let every = |k: u64, n: u64| n > 0 && k.is_multiple_of(n);
    let mut kept = Vec::with_capacity(ring.size);
    for k in oldest..=newest {
        let (from, to) = ((k - 1) * ring.period_us, k * ring.period_us);
        let dry = ring.dry_after_s.is_some_and(|s| !is_busy(to.saturating_sub((s * 1e6) as Micros).min(from), to));
        let timestamp = to.saturating_add_signed(ring.offset_us);
        if dry || timestamp <= last_seen {
            continue;
        }
        let timestamp = if every(k, ring.zero_every) { 0 } else { timestamp };
        let value = if every(k, ring.garbage_every) { ring.garbage_value } else { value(from, to) };
        kept.push((timestamp, value));
        if every(k, ring.duplicate_every) {
            kept.push((timestamp, value));
        }
    }
    kept.drain(..kept.len().saturating_sub(ring.size));
    if ring.unordered {
        kept.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small one, otherwise as the scenario has it by default.
    fn small() -> Ring {
        Ring { size: 10, period_us: 100, ..Ring::default() }
    }

    fn read(ring: &Ring, now: Micros, last_seen: u64) -> Vec<(u64, u32)> {
        samples(ring, now, last_seen, |_, to| (to / 100) as u32, |from, _| from < 2000)
    }

    #[test]
    fn it_keeps_its_size_and_gives_what_is_newer() {
        let all = read(&small(), 5050, 0);
        assert_eq!(all.len(), 10);
        assert_eq!((all[0], all[9]), ((4100, 41), (5000, 50)));
        assert_eq!(read(&small(), 5050, 4800), [(4900, 49), (5000, 50)]);
        assert_eq!(read(&small(), 5050, 5000), []);
    }

    #[test]
    fn its_faults_are_as_asked_for() {
        let ring = Ring { garbage_every: 5, duplicate_every: 4, zero_every: 7, ..small() };
        let expected = [(4700, 47), (4800, 48), (4800, 48), (0, 49), (5000, 808_334_905)];
        assert_eq!(read(&ring, 5050, 4600), expected);
        let doubled = read(&Ring { duplicate_every: 1, ..small() }, 5050, 0);
        assert_eq!(
            (doubled.len(), doubled[0], doubled[9]),
            (10, (4600, 46), (5000, 50)),
            "what is twice takes two places"
        );
        assert_eq!(read(&Ring { unordered: true, ..small() }, 5050, 4800), [(5000, 50), (4900, 49)]);
        assert_eq!(read(&Ring { offset_us: -4000, ..small() }, 5050, 900), [(1000, 50)]);
    }

    #[test]
    fn it_runs_dry_once_idle_for_long_enough() {
        let ring = Ring { dry_after_s: Some(0.000_3), ..small() };
        let times = |now| read(&ring, now, 0).iter().map(|(timestamp, _)| *timestamp).max();
        assert_eq!(times(3050), Some(2200), "the load ended at 2000, and the sample after 2200 saw none of it");
        assert_eq!(times(9000), None);
    }
}
