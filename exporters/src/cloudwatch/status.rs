//! The status: what a person or the page may know of the publisher at any moment.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use crate::ledger::Totals;

/// How publishing goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// The ledger, over every run that used the same spool.
    pub totals: Totals,
    /// Requests of this run by what came of them.
    pub requests: BTreeMap<&'static str, u64>,
    /// Bytes of their bodies, as sent.
    pub sent_bytes: u64,
    /// Bytes of their bodies before compression.
    pub uncompressed_bytes: u64,
    /// When a request was last accepted; `None` before the first one.
    pub last_success: Option<SystemTime>,
    /// When the oldest period that still waits began; `None` while nothing waits.
    pub oldest: Option<SystemTime>,
    /// How many seconds our clock is ahead of the service's, by the Date of its last answer, which is whole seconds;
    /// `None` before the first answer.
    pub skew: Option<f64>,
    /// Why what waits would not survive a crash; `None` where it does, on disk.
    pub not_durable: Option<String>,
    /// Bytes of the spool.
    pub spool_bytes: u64,
}

impl Status {
    pub(super) fn count(&mut self, outcome: &'static str, sent: u64, uncompressed: u64) {
        *self.requests.entry(outcome).or_default() += 1;
        self.sent_bytes += sent;
        self.uncompressed_bytes += uncompressed;
    }
}

impl fmt::Display for Status {
    /// The ledger's equation and the requests, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests: u64 = self.requests.values().sum();
        write!(f, "{}; {requests} requests", self.totals)?;
        let others = self.requests.iter().filter(|(outcome, _)| **outcome != "accepted");
        let others: Vec<String> = others.map(|(outcome, requests)| format!("{requests} {outcome}")).collect();
        if !others.is_empty() {
            write!(f, " ({})", others.join(", "))?;
        }
        write!(f, ", {} bytes", self.sent_bytes)
    }
}
