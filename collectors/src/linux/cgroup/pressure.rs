//! The time that work of a cgroup stood still for want of CPU, memory or I/O.
//!
//! Source: Documentation/accounting/psi.rst. v1 does not count it.

use crate::linux::cgroup::reading::{Item, PRESSURE, Reading};

/// What a counter of [`PRESSURE`] is of: resource, then extent.
pub(super) const LABELS: [[&str; 2]; 6] =
    [["cpu", "some"], ["cpu", "full"], ["memory", "some"], ["memory", "full"], ["io", "some"], ["io", "full"]];

pub(super) const V2: &[Item] = &[
    Item { controller: None, names: &["cpu.pressure"], required: false, parse: |text, out| totals(text, out, 0) },
    Item { controller: None, names: &["memory.pressure"], required: false, parse: |text, out| totals(text, out, 2) },
    Item { controller: None, names: &["io.pressure"], required: false, parse: |text, out| totals(text, out, 4) },
];

fn totals(text: &str, reading: &mut Reading, resource: usize) -> Result<(), &'static str> {
    for (offset, extent) in ["some ", "full "].into_iter().enumerate() {
        // cpu.pressure has had no row "full" before Linux 5.13.
        let Some(row) = text.lines().find_map(|line| line.strip_prefix(extent)) else { continue };
        let total = row.trim_end().rsplit(' ').next().and_then(|last| last.strip_prefix("total=")?.parse().ok());
        reading.counters[PRESSURE + resource + offset] = Some(total.ok_or("expected total=MICROSECONDS in each row")?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_by_resource_and_extent() {
        let mut reading = Reading::default();
        let text =
            "some avg10=0.22 avg60=0.17 avg300=1.11 total=58761459\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        totals(text, &mut reading, 2).expect("good");
        totals("some avg10=0.00 avg60=0.00 avg300=0.00 total=9\n", &mut reading, 0).expect("good");
        assert_eq!(reading.counters[PRESSURE..], [Some(9), None, Some(58_761_459), Some(7), None, None]);
        assert!(totals("some avg10=0.00\n", &mut reading, 0).is_err());
    }
}
