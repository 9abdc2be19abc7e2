//! The publication: which metrics leave as data, under which names, and with which dimensions.
//!
//! Only what is listed leaves, since each series is billed. CloudWatch and the embedded metric format publish the same
//! windows by the same publication.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::UNIX_EPOCH;

use metrics::{Key, Unit};

use crate::cloudwatch::limits;
use crate::datum::{Datum, Figures, Resolution, standard_unit};
use crate::windows::{Kind, Window, WindowSeries};

/// What is published, and how.
#[derive(Clone, Debug)]
pub struct Publication {
    namespace: String,
    dimensions: Vec<(String, String)>,
    metrics: HashMap<String, Published>,
    statistics: Statistics,
    resolution: Resolution,
}

/// How a gauge's period is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Statistics {
    /// Its values with their counts, beside exact statistics: true average, minimum, maximum and percentiles.
    /// SampleCount counts samples.
    #[default]
    Distribution,
    /// Its mean as one plain value, as SageMaker does it: SampleCount counts hosts. Histograms keep their distribution.
    Average,
}

/// How one metric of the facade is published.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its name on CloudWatch.
    pub name: String,
    /// Its unit; `None`: as the program described it, else without one.
    pub unit: Option<Unit>,
    /// Which of a series' labels become dimensions.
    pub labels: Labels,
}

/// Which labels of a series become dimensions, after those that every series has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    /// Each, under its own name, in the order of the names.
    All,
    /// One, under another name; the others are left out. A series without it is not published.
    One {
        /// The label.
        label: String,
        /// The dimension's name.
        dimension: String,
    },
}

impl Publication {
    /// Nothing yet, under this namespace, with dimensions that every datum carries first.
    pub fn new(namespace: impl Into<String>, dimensions: Vec<(String, String)>) -> Self {
        Self {
            namespace: namespace.into(),
            dimensions,
            metrics: HashMap::new(),
            statistics: Statistics::default(),
            resolution: Resolution::Minute,
        }
    }

    /// How gauges are told.
    pub fn statistics(mut self, statistics: Statistics) -> Self {
        self.statistics = statistics;
        self
    }

    /// How finely CloudWatch keeps the data.
    pub fn resolution(mut self, resolution: Resolution) -> Self {
        self.resolution = resolution;
        self
    }

    /// One more metric of the facade.
    pub fn metric(mut self, name: impl Into<String>, published: Published) -> Self {
        self.metrics.insert(name.into(), published);
        self
    }

    /// The namespace of every datum.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether the service is documented to take the namespace and the common dimensions.
    ///
    /// # Errors
    ///
    /// What it would refuse, in a line.
    pub fn check(&self) -> Result<(), String> {
        limits::check_namespace(&self.namespace)?;
        let check = |(name, value): &(String, String)| {
            limits::check_dimension_value(value).map_err(|why| format!("{name} on CloudWatch: {why}"))
        };
        self.dimensions.iter().try_for_each(check)
    }

    /// What of a window is published.
    pub fn data(&self, window: &Window) -> Vec<Datum> {
        let start = window.start.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let datum = |series: &WindowSeries| {
            let published = self.metrics.get(series.key.name())?;
            Some(Datum {
                name: published.name.clone(),
                dimensions: self.dimensions_of(&series.key, &published.labels)?,
                start,
                resolution: self.resolution,
                unit: Cow::Borrowed(standard_unit(published.unit.or(series.unit))),
                figures: self.figures(series),
                periods: 1,
            })
        };
        window.series.iter().filter_map(datum).collect()
    }

    fn dimensions_of(&self, key: &Key, labels: &Labels) -> Option<Vec<(String, String)>> {
        let mut own: Vec<(String, String)> = match labels {
            Labels::All => key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect(),
            Labels::One { label, dimension } => {
                let value = key.labels().find(|own| own.key() == label)?.value();
                vec![(dimension.clone(), value.to_owned())]
            }
        };
        own.sort();
        // As on the page: a series' own label wins over one that all have.
        let common = self.dimensions.iter().filter(|(name, _)| own.iter().all(|(own, _)| own != name));
        Some(common.cloned().chain(own.iter().cloned()).collect())
    }

    fn figures(&self, series: &WindowSeries) -> Figures {
        let statistics = series.statistics;
        match (series.kind, self.statistics) {
            // A period's increase is one value whichever way.
            (Kind::Counter, _) => Figures::Value(statistics.sum()),
            (Kind::Gauge, Statistics::Average) => Figures::Value(statistics.mean().unwrap_or_default()),
            (Kind::Gauge, Statistics::Distribution) | (Kind::Histogram, _) => {
                Figures::Distribution { statistics, values: series.values.clone() }
            }
        }
    }
}
