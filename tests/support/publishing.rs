//! An agent that publishes to a double of CloudWatch on loopback, and what arrived there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use hostgauge_cloudwatch_double::{Datum, Double};

use super::Page;

/// Windows of a second with ten samples each, so that a test sees many.
pub(crate) const SECONDS: [&str; 7] =
    ["--cloudwatch", "--cloudwatch-period", "1s", "--cloudwatch-resolution", "1", "--interval", "100ms"];

/// The folder that is an agent's home, and holds its spool; gone when dropped.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.file(name).into_os_string().into_string().expect("UTF-8")
    }

    /// Gives a command all that it needs to publish there, and nothing of what whoever runs the tests has set.
    pub(crate) fn publish_to(&self, service: SocketAddr, mut command: Command) -> Command {
        let theirs = std::env::vars_os().map(|(name, _)| name);
        let theirs = theirs.filter(|name| {
            let name = name.to_string_lossy().to_ascii_uppercase();
            name.starts_with("AWS_") || name.ends_with("_PROXY")
        });
        theirs.for_each(|name| {
            command.env_remove(name);
        });
        command.env("HOME", self.0.path());
        command.envs([
            ("AWS_ENDPOINT_URL", format!("http://{service}").as_str()),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "any"),
            ("AWS_SECRET_ACCESS_KEY", "any"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("NO_PROXY", "127.0.0.1"),
        ]);
        command
    }
}

/// The ledger as the agent last told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub taken: u64,
    pub published: u64,
    pub pending: u64,
    pub dropped: u64,
    /// Data that are perhaps there twice.
    pub ambiguous: u64,
}

impl Ledger {
    /// Of the page; `None` before its first tick.
    pub(crate) fn on(page: &Page) -> Option<Self> {
        let figure = |name: &str| {
            let value = page.get(&format!("hostgauge_delivery_{name}"), &[("exporter", "cloudwatch")]);
            value.map(|value| value as u64)
        };
        let dropped = page.all("hostgauge_delivery_dropped_total");
        let dropped = dropped.filter(|series| series.labels["exporter"] == "cloudwatch").map(|series| series.value);
        Some(Self {
            taken: figure("taken_total")?,
            published: figure("published_total")?,
            pending: figure("pending")?,
            dropped: dropped.sum::<f64>() as u64,
            ambiguous: figure("ambiguous_total")?,
        })
    }

    /// Of the log, where it stands at the end.
    pub(crate) fn at_exit(log: &str) -> Self {
        let line = log.lines().rev().find(|line| line.contains(" data taken = ") && line.contains("cloudwatch: "));
        let line = line.unwrap_or_else(|| panic!("no ledger in the log:\n{log}"));
        let before = |words: &str| {
            let number = line.split_once(words).and_then(|(before, _)| before.split(' ').next_back());
            number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {words:?} in {line}"))
        };
        Self {
            taken: before(" data taken"),
            published: before(" published"),
            pending: before(" pending"),
            dropped: before(" dropped"),
            ambiguous: before(" perhaps twice"),
        }
    }

    pub(crate) fn holds(&self) -> bool {
        self.taken == self.published + self.pending + self.dropped
    }
}

/// Which datum it is: its metric with its dimensions, and when its period began, in milliseconds.
pub(crate) type Which = (String, u64);

/// What the double stored, and how often.
#[derive(Debug, Default)]
pub(crate) struct Stored(pub BTreeMap<Which, Vec<Datum>>);

impl Stored {
    pub(crate) fn of(double: &Double) -> Self {
        let mut stored = Self::default();
        for request in double.requests().into_iter().filter(|request| request.stored) {
            for datum in request.input.into_iter().flat_map(|input| input.metric_data) {
                stored.0.entry(which(&datum)).or_default().push(datum);
            }
        }
        stored
    }

    /// How many different data are there.
    pub(crate) fn distinct(&self) -> u64 {
        self.0.len() as u64
    }

    /// How many came once more than they should have.
    pub(crate) fn doubled(&self) -> u64 {
        self.0.values().map(|copies| copies.len() as u64 - 1).sum()
    }

    /// When the periods began, in milliseconds.
    pub(crate) fn starts(&self) -> BTreeSet<u64> {
        self.0.keys().map(|(_, start)| *start).collect()
    }
}

pub(crate) fn which(datum: &Datum) -> Which {
    let dimensions: String = datum.dimensions.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    let start = datum.timestamp.unwrap_or_else(|| panic!("no time stamp: {datum:?}"));
    (format!("{}{dimensions}", datum.metric_name), (start * 1e3).round() as u64)
}
