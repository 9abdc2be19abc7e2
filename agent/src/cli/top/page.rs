//! The page read back: hostgauge's own series of Prometheus' text format.

use std::collections::HashMap;

use hostgauge_collectors::Metric;

/// One series of a page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    labels: Vec<(String, String)>,
    pub value: f64,
}

impl Series {
    /// A label's value; empty if it is not there, which is the same in Prometheus.
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// The series of a page by their metric. Lines of others than hostgauge, and those that cannot be read, are left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Page(HashMap<String, Vec<Series>>);

impl Page {
    pub(super) fn parse(text: &str) -> Self {
        let mut page = Self::default();
        for (name, series) in text.lines().filter(|line| line.starts_with("hostgauge_")).filter_map(series) {
            match page.0.get_mut(name) {
                Some(all) => all.push(series),
                None => drop(page.0.insert(name.to_owned(), vec![series])),
            }
        }
        page
    }

    /// Every series of a metric, in the page's order.
    pub(super) fn all(&self, metric: &Metric) -> &[Series] {
        self.0.get(metric.name).map_or(&[], Vec::as_slice)
    }

    /// The value of a metric that has one series; `None` while it is absent.
    pub(super) fn value(&self, metric: &Metric) -> Option<f64> {
        self.all(metric).first().map(|series| series.value)
    }

    /// The label `Host`, which all series have.
    pub(super) fn host(&self) -> Option<&str> {
        self.0.values().flatten().map(|series| series.label("Host")).find(|host| !host.is_empty())
    }
}

/// A line's name and series. A value that is no number is absent.
fn series(line: &str) -> Option<(&str, Series)> {
    let (head, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok().filter(|value: &f64| value.is_finite())?;
    let Some((name, rest)) = head.split_once('{') else { return Some((head, Series { labels: Vec::new(), value })) };
    Some((name, Series { labels: labels(rest.strip_suffix('}')?)?, value }))
}

fn labels(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut labels = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"")?;
        let (mut value, mut characters) = (String::new(), rest.char_indices());
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.push((name.to_owned(), value));
        text = rest.get(end + 1..)?;
        text = text.strip_prefix(',').unwrap_or(text);
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hostgauge_collectors::catalogue::{CPU_CORE_UTILIZATION, CPU_UTILIZATION, FILESYSTEM_USED, MEMORY_USED};

    #[test]
    fn a_page_is_read_back() {
        let page = Page::parse(
            "# HELP hostgauge_cpu_utilization_percent Busy share, all cores.\n\
             hostgauge_cpu_utilization_percent{Host=\"a/b\"} 12.5\n\
             hostgauge_cpu_core_utilization_percent{Host=\"a/b\",core=\"0\"} 2.5\n\
             hostgauge_cpu_core_utilization_percent{Host=\"a/b\",core=\"1\"} 10\n\
             hostgauge_filesystem_used_bytes{Host=\"a/b\",path=\"/a \\\"b\\\\\\n} 1\"} 1e3\n\
             hostgauge_memory_used_bytes{Host=\"a/b\"} NaN\n\
             somebody_elses 3\n",
        );
        assert_eq!((page.host(), page.value(&CPU_UTILIZATION)), (Some("a/b"), Some(12.5)));
        let cores: Vec<_> =
            page.all(&CPU_CORE_UTILIZATION).iter().map(|core| (core.label("core"), core.value)).collect();
        assert_eq!(cores, [("0", 2.5), ("1", 10.0)]);
        let path = page.all(&FILESYSTEM_USED).first().map(|series| (series.label("path"), series.value));
        assert_eq!(path, Some(("/a \"b\\\n} 1", 1000.0)));
        assert_eq!(page.value(&MEMORY_USED), None);
        assert!(!page.0.contains_key("somebody_elses"));
    }

    proptest::proptest! {
        // Whatever stands there, what can be read is read, and nothing panics.
        #[test]
        fn any_text_is_a_page(text in "(hostgauge_[a-z]{0,3}[{}=,\" \\\\a-c0-9\u{e9}]{0,20}\n){0,5}") {
            let _ = Page::parse(&text);
        }
    }
}
