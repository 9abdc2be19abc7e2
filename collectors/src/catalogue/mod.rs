//! The catalogue: every metric as one row of data.
//!
//! HELP lines, README's table, `hostgauge catalogue` and the documentation of a metric all come from its row. To add a
//! metric: add a row to the file of its subject, emit it from a collector.
//!
//! The words on utilization follow Amazon SageMaker, "Monitor Amazon SageMaker with Amazon CloudWatch".

/// Rows, each a static by its name, and `ROWS`, which lists them in their order.
macro_rules! rows {
    ($($(#[$doc:meta])* $id:ident = $row:expr;)*) => {
        $($(#[$doc])* pub static $id: Metric = $row;)*
        pub(super) const ROWS: &[&Metric] = &[$(&$id),*];
    };
}

mod agent;
mod all;
mod gpu;
mod gpu_activity;
mod gpu_health;
mod gpu_instances;
mod gpu_processes;
mod host;

use metrics::Unit;

pub use agent::*;
pub use all::ALL;
pub use gpu::*;
pub use gpu_activity::*;
pub use gpu_health::*;
pub use gpu_instances::*;
pub use gpu_processes::*;
pub use host::*;

/// Whether a series can go down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A level: goes up and down.
    Gauge,
    /// A total: only grows, except when hostgauge restarts.
    Counter,
}

impl Kind {
    /// The word of the Prometheus exposition formats.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// One row of the catalogue.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name on Prometheus and in the facade.
    pub name: &'static str,
    /// The documented name on CloudWatch, where there is one.
    pub cloudwatch: Option<&'static str>,
    /// Gauge or counter.
    pub kind: Kind,
    /// The unit of the value.
    pub unit: Unit,
    /// The values it can take; N is the number of devices summed.
    pub range: &'static str,
    /// The label names that tell its series apart, beside `Host`.
    pub labels: &'static [&'static str],
    /// The HELP line: what it is.
    pub help: &'static str,
    /// What it is read from.
    pub source: &'static str,
    /// When there is no sample.
    pub absent: &'static str,
    /// The metric whose windows this row shows (min, max, mean of the last complete one).
    pub window_of: Option<&'static str>,
}

/// The unit as one word of the field.
pub fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Percent => "percent",
        Unit::Bytes => "bytes",
        Unit::Seconds => "seconds",
        _ => "count",
    }
}

/// The unchanging parts of most rows; a row names only what differs.
const GAUGE: Metric = Metric {
    name: "",
    cloudwatch: None,
    kind: Kind::Gauge,
    unit: Unit::Count,
    range: "0..",
    labels: &[],
    help: "",
    source: "",
    absent: "never",
    window_of: None,
};
const COUNTER: Metric = Metric { kind: Kind::Counter, ..GAUGE };

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_say_kind_and_unit() {
        let mut names = HashSet::new();
        for row in ALL {
            assert!(names.insert(row.name), "{} stands twice", row.name);
            assert!(
                row.name.starts_with("hostgauge_") && row.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            );
            assert_eq!(row.kind == Kind::Counter, row.name.ends_with("_total"), "{}", row.name);
            for (unit, suffix) in [(Unit::Percent, "_percent"), (Unit::Bytes, "_bytes"), (Unit::Seconds, "_seconds")] {
                let name = row.name.trim_end_matches("_total");
                assert_eq!(row.unit == unit, name.ends_with(suffix), "{}", row.name);
            }
        }
    }

    #[test]
    fn every_row_is_documented_in_full() {
        for row in ALL {
            for (what, text) in [("range", row.range), ("source", row.source), ("absent", row.absent)] {
                assert!(!text.is_empty(), "{} says no {what}", row.name);
            }
            assert!(row.help.ends_with('.') && row.help.len() <= 64, "{}: {:?}", row.name, row.help);
        }
    }

    #[test]
    fn every_window_shows_a_row_that_exists() {
        for row in ALL.iter().filter(|row| row.window_of.is_some()) {
            let shown = ALL.iter().find(|other| Some(other.name) == row.window_of).expect("the row");
            assert_eq!((shown.range, shown.unit), (row.range, row.unit), "{}", row.name);
        }
        assert!(
            ALL.iter()
                .filter(|row| row.cloudwatch.is_some() && row.labels.is_empty())
                .all(|row| { ALL.iter().any(|other| other.window_of == Some(row.name)) })
        );
    }
}
