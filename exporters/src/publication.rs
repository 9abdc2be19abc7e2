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

    /// How many data that would be, at most.
    pub(crate) fn count(&self, window: &Window) -> usize {
        window.series.iter().filter(|series| self.metrics.contains_key(series.key.name())).count()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::StatisticSet;
    use metrics::Label;
    use std::time::Duration;

    fn series(name: &'static str, labels: &[(&'static str, &'static str)], kind: Kind, values: &[f64]) -> WindowSeries {
        let mut statistics = StatisticSet::default();
        values.iter().for_each(|value| statistics.record(*value));
        let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, *value)).collect();
        let values = values.iter().map(|value| (*value, 1)).collect();
        WindowSeries { key: Key::from_parts(name, labels), kind, unit: Some(Unit::Seconds), statistics, values }
    }

    fn published(name: &str, unit: Option<Unit>) -> Published {
        Published { name: name.to_owned(), unit, labels: Labels::All }
    }

    fn publication() -> Publication {
        Publication::new("n", vec![("Host".into(), "h".into())])
            .metric("cpu", published("CPUUtilization", Some(Unit::Percent)))
            .metric("jobs", published("jobs", None))
            .metric("latency", published("latency", None))
    }

    fn window(series: Vec<WindowSeries>) -> Window {
        let start = UNIX_EPOCH + Duration::from_millis(1_700_000_040_000);
        Window { start, period: Duration::from_secs(60), complete: true, series }
    }

    #[test]
    fn only_what_is_listed_leaves_under_its_published_name() {
        let data = publication().data(&window(vec![
            series("cpu", &[], Kind::Gauge, &[1.0, 2.0]),
            series("secret", &[], Kind::Gauge, &[3.0]),
        ]));
        assert_eq!(data.len(), 1);
        let Datum { name, dimensions, start, resolution, unit, periods, .. } = &data[0];
        assert_eq!((name.as_str(), *start, *resolution), ("CPUUtilization", 1_700_000_040_000, Resolution::Minute));
        assert_eq!((unit.as_ref(), *periods), ("Percent", 1));
        assert_eq!(dimensions, &[("Host".to_owned(), "h".to_owned())]);
    }

    #[test]
    fn labels_become_dimensions_in_one_order_and_win_over_the_common_ones() {
        let labels = [("zone", "z"), ("Host", "mine"), ("app", "a")];
        let data = publication().data(&window(vec![series("jobs", &labels, Kind::Counter, &[5.0])]));
        let expected = [("Host", "mine"), ("app", "a"), ("zone", "z")];
        let dimensions: Vec<(&str, &str)> =
            data[0].dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(dimensions, expected);
        assert_eq!(data[0].unit, "Seconds", "as the program described it");
        let other = [("app", "a"), ("Host", "mine"), ("zone", "z")];
        let again = publication().data(&window(vec![series("jobs", &other, Kind::Counter, &[5.0])]));
        assert_eq!(again, data, "however they were given");
    }

    #[test]
    fn each_kind_says_what_its_period_was() {
        let window = window(vec![
            series("cpu", &[], Kind::Gauge, &[0.0, 100.0, 50.0]),
            series("jobs", &[], Kind::Counter, &[7.0]),
            series("latency", &[], Kind::Histogram, &[0.25]),
        ]);
        let figures = |publication: Publication| -> Vec<Figures> {
            publication.data(&window).into_iter().map(|datum| datum.figures).collect()
        };
        let of = |index: usize| Figures::Distribution {
            statistics: window.series[index].statistics,
            values: window.series[index].values.clone(),
        };
        assert_eq!(figures(publication()), [of(0), Figures::Value(7.0), of(2)]);
        let average = publication().statistics(Statistics::Average);
        assert_eq!(figures(average), [Figures::Value(50.0), Figures::Value(7.0), of(2)]);
    }

    #[test]
    fn what_the_service_would_refuse_is_named() {
        assert_eq!(publication().check(), Ok(()));
        let error = Publication::new("AWS/SageMaker", vec![]).check().expect_err("reserved");
        assert!(error.contains("AWS/"), "{error}");
        let host = vec![("Host".to_owned(), "caf\u{e9}".to_owned())];
        let error = Publication::new("n", host).check().expect_err("not ASCII");
        assert!(error.contains("Host") && error.contains("ASCII"), "{error}");
    }
}
