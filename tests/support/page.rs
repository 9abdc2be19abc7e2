//! The page as a reader of Prometheus' text format sees it.

use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub text: String,
    pub series: Vec<Series>,
}

impl Page {
    pub(crate) fn parse(text: String) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| series(line).unwrap_or_else(|| panic!("no series: {line:?}"))).collect();
        Self { text, series }
    }

    /// Every series of a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Series> {
        self.series.iter().filter(move |series| series.name == name)
    }

    /// The value of the one series of a name that has these labels; `None` if it is absent.
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |series: &&Series| {
            labels.iter().all(|(label, value)| series.labels.get(*label).is_some_and(|have| have == value))
        };
        let mut found = self.all(name).filter(fits);
        let value = found.next()?.value;
        assert!(found.next().is_none(), "several series {name} {labels:?} on\n{}", self.text);
        Some(value)
    }

    /// As [`get`](Self::get), for what must be there.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.get(name, labels).unwrap_or_else(|| panic!("no series {name} {labels:?} on\n{}", self.text))
    }

    pub(crate) fn sum(&self) -> Option<f64> {
        self.get("hostgauge_cpu_utilization_percent", &[])
    }

    /// The percent of each core by its label, in the page's order.
    pub(crate) fn cores(&self) -> Vec<(String, f64)> {
        self.all("hostgauge_cpu_core_utilization_percent")
            .map(|series| (series.labels["core"].clone(), series.value))
            .collect()
    }

    /// What differs from one tick to the next whatever happens: the agent's own CPU time, in microseconds.
    pub(crate) fn tick(&self) -> Option<u64> {
        self.get("hostgauge_process_cpu_seconds_total", &[]).map(f64::to_bits)
    }
}

fn series(line: &str) -> Option<Series> {
    let (head, value) = line.rsplit_once(' ')?;
    let (name, labels) = match head.split_once('{') {
        Some((name, rest)) => (name, labels(rest.strip_suffix('}')?)?),
        None => (head, BTreeMap::new()),
    };
    let legal = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (legal(name) && labels.keys().all(|label| legal(label))).then_some(())?;
    Some(Series { name: name.to_owned(), labels, value: value.parse().ok()? })
}

fn labels(mut text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (label, rest) = text.split_once("=\"")?;
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
        labels.insert(label.to_owned(), value).is_none().then_some(())?;
        text = rest[end + 1..].trim_start_matches(',');
    }
    Some(labels)
}
