//! The rehearsal (`--dry-run`): requests go the whole way but for the network, and are shown instead.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::answer::Answer;
use super::client::Client;
use super::delivery::Service;
use super::json;
use super::price::{self, Estimate};
use crate::datum::Datum;

/// What a rehearsal shows.
#[derive(Clone, Debug)]
pub enum Rehearsed {
    /// A request that was not sent.
    Request {
        /// As the AWS CLI takes it: `aws cloudwatch put-metric-data --cli-input-json`.
        json: serde_json::Value,
        /// Bytes of its body.
        uncompressed_bytes: u64,
        /// Bytes of its body as it would be sent: compressed where the SDK does so.
        sent_bytes: u64,
    },
    /// What requests like those of the period before would cost; again where more series come.
    Price(Estimate),
}

/// Gets each of them.
pub type Show = Box<dyn Fn(Rehearsed) + Send>;

pub(super) struct Rehearsal {
    client: Client,
    /// The time between requests.
    spread: Duration,
    show: Show,
    period: Mutex<Period>,
}

/// The requests of one period.
#[derive(Clone, Copy, Default)]
struct Period {
    start: u64,
    series: u64,
    requests: u64,
    /// Of so many series the price was shown.
    priced: u64,
}

impl Rehearsal {
    pub(super) fn new(show: Show, spread: Duration) -> Self {
        Self { client: Client::rehearsal(), spread, show, period: Mutex::default() }
    }

    fn count(&self, data: &[Datum]) {
        let mut period = self.period.lock().unwrap_or_else(PoisonError::into_inner);
        let start = data.first().map_or(0, |datum| datum.start);
        if start != period.start {
            self.price(&mut period);
            *period = Period { start, priced: period.priced, ..Period::default() };
        }
        period.series += data.iter().filter(|datum| datum.start == start).count() as u64;
        period.requests += 1;
    }

    fn price(&self, period: &mut Period) {
        if period.series > period.priced {
            period.priced = period.series;
            (self.show)(Rehearsed::Price(price::estimate(period.series, period.requests as f64, self.spread)));
        }
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        let mut period = *self.period.lock().unwrap_or_else(PoisonError::into_inner);
        self.price(&mut period);
    }
}

impl Service for Rehearsal {
    async fn put(&self, namespace: &str, data: &[Datum]) -> Answer {
        let answer = self.client.put(namespace, data).await;
        (self.show)(Rehearsed::Request {
            json: json::request(namespace, data),
            uncompressed_bytes: answer.uncompressed,
            sent_bytes: answer.sent,
        });
        self.count(data);
        answer
    }
}

impl Service for Client {
    async fn put(&self, namespace: &str, data: &[Datum]) -> Answer {
        Client::put(self, namespace, data).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::datum::{Figures, Resolution};

    fn data(start: u64, series: usize) -> Vec<Datum> {
        let datum = |number| Datum {
            name: format!("series-{number}"),
            dimensions: Vec::new(),
            start,
            resolution: Resolution::Minute,
            unit: "None".into(),
            figures: Figures::Value(1.0),
            periods: 1,
        };
        (0..series).map(datum).collect()
    }

    #[test]
    fn a_price_is_told_once_and_anew_where_more_series_come() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&told);
        let show = move |rehearsed| {
            if let Rehearsed::Price(estimate) = rehearsed {
                theirs.lock().expect("no panic").push((estimate.series, estimate.requests_per_minute));
            }
        };
        let rehearsal = Rehearsal::new(Box::new(show), Duration::from_secs(60));
        // It began just before a period's end, so that the first one has hardly anything; later a device comes and goes.
        for (start, requests) in [(1, &[1][..]), (2, &[3]), (3, &[3]), (4, &[3, 2]), (5, &[3]), (6, &[3])] {
            requests.iter().for_each(|series| rehearsal.count(&data(start, *series)));
        }
        drop(rehearsal);
        assert_eq!(*told.lock().expect("no panic"), [(1, 1.0), (3, 1.0), (5, 2.0)]);
    }
}
