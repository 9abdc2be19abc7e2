//! The datum: one series' figures of one period, as CloudWatch takes it.
//!
//! What a window holds becomes data here, once; PutMetricData, the spool and the embedded metric format all take the
//! same. So they cannot disagree.

use std::borrow::Cow;

use metrics::Unit;

use crate::statistics::StatisticSet;

/// How finely CloudWatch keeps a datum: by the minute for 15 days, or by the second for 3 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    /// StorageResolution 1.
    Second,
    /// StorageResolution 60.
    Minute,
}

impl Resolution {
    /// In seconds, as the API has it.
    pub fn seconds(self) -> u8 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
        }
    }
}

/// One series' figures of one period.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    /// The metric's name on CloudWatch.
    pub name: String,
    /// Name and value of each dimension, in the order that they are sent.
    pub dimensions: Vec<(String, String)>,
    /// When the period began, in milliseconds since the Unix epoch.
    pub start: u64,
    /// How finely it is kept.
    pub resolution: Resolution,
    /// CloudWatch's word for the unit (StandardUnit).
    pub unit: Cow<'static, str>,
    /// What was measured.
    pub figures: Figures,
    /// How many periods it stands for: 1, or more once older ones were merged.
    pub periods: u32,
}

/// What a datum says.
#[derive(Clone, Debug, PartialEq)]
pub enum Figures {
    /// One plain value.
    Value(f64),
    /// The exact statistics, and the values behind them with how often each came, in ascending order: at most
    /// [`VALUES`](crate::distribution::VALUES), binned where there were more.
    Distribution {
        /// Count, sum, minimum and maximum; count is the sum of the counts.
        statistics: StatisticSet,
        /// Values and counts.
        values: Vec<(f64, u64)>,
    },
}

/// CloudWatch's word for a unit of the facade. Source: the StandardUnit enumeration of the API.
pub fn standard_unit(unit: Option<Unit>) -> &'static str {
    match unit {
        None => "None",
        Some(Unit::Count) => "Count",
        Some(Unit::Percent) => "Percent",
        Some(Unit::Seconds) => "Seconds",
        Some(Unit::Milliseconds) => "Milliseconds",
        Some(Unit::Microseconds) => "Microseconds",
        // CloudWatch knows no nanoseconds; a number without a unit misleads less than one with a wrong unit.
        Some(Unit::Nanoseconds) => "None",
        Some(Unit::Tebibytes | Unit::Gibibytes | Unit::Mebibytes | Unit::Kibibytes) => "None",
        Some(Unit::Bytes) => "Bytes",
        Some(Unit::TerabitsPerSecond) => "Terabits/Second",
        Some(Unit::GigabitsPerSecond) => "Gigabits/Second",
        Some(Unit::MegabitsPerSecond) => "Megabits/Second",
        Some(Unit::KilobitsPerSecond) => "Kilobits/Second",
        Some(Unit::BitsPerSecond) => "Bits/Second",
        Some(Unit::CountPerSecond) => "Count/Second",
    }
}
