//! The gauges behind the page: families in the page's order, series in natural order, each line's head written once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Gauge, Key, SharedString};

use super::exposition::{header, label_name, line_head, metric_name, push_value};
use super::negotiation::Format;

/// Families that were declared stand first, in the order of declaration; all others follow by name.
type Rank = (usize, String);

#[derive(Debug, Default)]
pub(super) struct Families {
    labels: Vec<(String, String)>,
    known: BTreeMap<String, Known>,
    /// Those that have had series. Most of the catalogue never does: a GPU's families on a machine without one.
    families: BTreeMap<Rank, Family>,
}

/// What is known of a family before it has series.
#[derive(Debug)]
struct Known {
    rank: usize,
    counter: bool,
    help: SharedString,
}

impl Default for Known {
    fn default() -> Self {
        Self { rank: usize::MAX, counter: false, help: SharedString::const_str("") }
    }
}

#[derive(Debug, Default)]
struct Family {
    text_header: String,
    open_metrics_header: String,
    series: BTreeMap<String, Series>,
}

#[derive(Debug)]
struct Series {
    line: String,
    /// The bits of the f64. NaN: absent.
    value: Arc<AtomicU64>,
}

impl Families {
    pub(super) fn new(labels: Vec<(String, String)>) -> Self {
        Self { labels, ..Self::default() }
    }

    /// The next family of the page, and whether it is a counter.
    pub(super) fn declare(&mut self, name: &str, counter: bool) {
        let rank = self.known.len();
        self.known.entry(metric_name(name)).or_insert(Known { rank, counter, ..Known::default() });
    }

    pub(super) fn describe(&mut self, name: &str, help: SharedString) {
        let name = metric_name(name);
        let rank = self.rank(&name);
        let known = self.known.entry(name.clone()).or_default();
        known.help = help;
        if let Some(family) = self.families.get_mut(&rank) {
            family.describe(&name, known);
        }
    }

    pub(super) fn gauge(&mut self, key: &Key) -> Gauge {
        let name = metric_name(key.name());
        // As metrics-exporter-prometheus has it: a series' own label wins over a global one of the same name.
        let own = key.labels().map(|label| (label.key(), label.value()));
        let global = self.labels.iter().map(|(label, value)| (label.as_str(), value.as_str()));
        let is_own = |name: &str| key.labels().any(|own| label_name(own.key()) == label_name(name));
        let global = global.filter(|(label, _)| !is_own(label));
        let line = line_head(&name, global.chain(own));
        let new = || Series { value: Arc::new(AtomicU64::new(f64::NAN.to_bits())), line: line.clone() };
        let series = self.family(&name).series.entry(natural(&line)).or_insert_with(new);
        Gauge::from_arc(Arc::clone(&series.value))
    }

    /// Appends every family that has a value. Returns the names it wrote, for telling whether another source has the
    /// same.
    pub(super) fn render(&mut self, page: &mut String, format: Format) {
        for family in self.families.values_mut() {
            let mut started = false;
            family.series.retain(|_, series| {
                let value = f64::from_bits(series.value.load(Ordering::Relaxed));
                if value.is_nan() {
                    // Nobody holds it any more, so it cannot come back: labels that come and go leave nothing behind.
                    return Arc::strong_count(&series.value) > 1;
                }
                if !started {
                    started = true;
                    page.push_str(match format {
                        Format::Text => &family.text_header,
                        Format::OpenMetrics => &family.open_metrics_header,
                    });
                }
                page.push_str(&series.line);
                push_value(page, value);
                true
            });
        }
    }

    /// Whether a gauge of this name has series.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.families.get(&self.rank(name)).is_some_and(|family| !family.series.is_empty())
    }

    fn rank(&self, name: &str) -> Rank {
        (self.known.get(name).map_or(usize::MAX, |known| known.rank), name.to_owned())
    }

    fn family(&mut self, name: &str) -> &mut Family {
        let rank = self.rank(name);
        let known = self.known.entry(name.to_owned()).or_default();
        self.families.entry(rank).or_insert_with(|| {
            let mut family = Family::default();
            family.describe(name, known);
            family
        })
    }
}

impl Family {
    fn describe(&mut self, name: &str, known: &Known) {
        let kind = if known.counter { "counter" } else { "gauge" };
        self.text_header = header(name, &known.help, kind, Format::Text);
        self.open_metrics_header = header(name, &known.help, kind, Format::OpenMetrics);
    }
}

/// A key whose order is the natural one: digits compare as numbers, so that core 10 follows core 9.
fn natural(text: &str) -> String {
    let mut key = String::with_capacity(text.len() + 16);
    let mut digits = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_digit() {
            digits.push(character);
        } else {
            if !digits.is_empty() {
                let number = digits.trim_start_matches('0');
                // Length first, then digits; the text itself keeps 01 and 1 apart.
                key.push(char::from_u32(0x100 + number.len() as u32).unwrap_or('\u{ffff}'));
                key.push_str(number);
                digits.clear();
            }
            key.push(character);
        }
    }
    key.push_str(text);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_in_names_compare_as_numbers() {
        let mut names = ["core10", "core9", "core1", "a", "core01", "core2x10", "core2x9"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["a", "core01", "core1", "core2x9", "core2x10", "core9", "core10"]);
    }

    #[test]
    fn absent_series_leave_and_unheld_ones_are_forgotten() {
        let mut families = Families::new(vec![("Host".into(), "h".into())]);
        families.declare("b_total", true);
        families.describe("b_total", "B.".into());
        let (a, b) = (families.gauge(&Key::from_name("a")), families.gauge(&Key::from_name("b_total")));
        a.set(1.0);
        b.set(0.5);
        let mut page = String::new();
        families.render(&mut page, Format::Text);
        assert_eq!(
            page,
            "# HELP b_total B.\n# TYPE b_total counter\nb_total{Host=\"h\"} 0.5\n# TYPE a gauge\na{Host=\"h\"} 1\n"
        );
        a.set(f64::NAN);
        b.set(f64::NAN);
        drop(a);
        page.clear();
        families.render(&mut page, Format::Text);
        assert_eq!(page, "");
        assert!(families.contains("b_total") && !families.contains("a"));
        b.set(2.0);
        families.render(&mut page, Format::OpenMetrics);
        assert_eq!(page, "# HELP b B.\n# TYPE b counter\nb_total{Host=\"h\"} 2\n");
    }

    #[test]
    fn a_series_own_label_wins_over_the_global_one() {
        let mut families = Families::new(vec![("Host".into(), "h".into())]);
        families.gauge(&Key::from_parts("a", vec![metrics::Label::new("Host", "mine")])).set(1.0);
        let mut page = String::new();
        families.render(&mut page, Format::Text);
        assert_eq!(page, "# TYPE a gauge\na{Host=\"mine\"} 1\n");
    }

    proptest! {
        #[test]
        fn different_texts_have_different_keys(a in "[a-z0-9]{0,8}", b in "[a-z0-9]{0,8}") {
            prop_assert_eq!(natural(&a) == natural(&b), a == b);
        }
    }
}
