//! A strict double of CloudWatch's `PutMetricData`, for tests on loopback. It takes what an AWS SDK sends over
//! Smithy's RPC v2 CBOR, refuses whatever CloudWatch is documented to refuse, stores the rest as CloudWatch does, and
//! plays faults on request. It was never compared with the real CloudWatch; README.md says what it goes by.
//!
//! ```
//! use hostgauge_cloudwatch_double::{Double, Fault, Options};
//!
//! let double = Double::start(Options::default())?;
//! double.script([Fault::Throttle, Fault::Throttle]);
//! println!("AWS_ENDPOINT_URL_CLOUDWATCH={}", double.url());
//! assert!(double.requests().is_empty());
//! # std::io::Result::Ok(())
//! ```

mod fault;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod json;
mod limits;
mod message;
mod refusal;
mod server;
mod service;
mod signature;
mod statistics;
mod store;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use fault::{Fault, Mix};
pub use message::{Datum, PutMetricData, StatisticSet};
pub use service::Request;
pub use statistics::Statistics;
pub use store::{Datapoint, Series};

use server::Server;
use service::Service;
use store::Query;

/// How a double starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens: loopback only. Port 0 is a free one.
    pub listen: SocketAddr,
    /// Its clock: None is the machine's, Some stands still.
    pub clock: Option<SystemTime>,
    /// How far the client's clock may be off before the signature is refused. None: a test that moves the double's
    /// clock but not the client's.
    pub signature_age: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 0).into(), clock: None, signature_age: Some(Duration::from_secs(5 * 60)) }
    }
}

/// A running double. It stops when dropped, with every connection.
#[derive(Debug)]
pub struct Double {
    service: Arc<Service>,
    server: Server,
}

impl Double {
    /// Starts one, with threads of its own.
    ///
    /// # Errors
    ///
    /// The address is not loopback or cannot be had.
    pub fn start(options: Options) -> io::Result<Self> {
        let service = Arc::new(Service::new(options.clock, options.signature_age));
        let server = Server::start(options.listen, Arc::clone(&service))?;
        Ok(Self { service, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What to give an SDK as endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Every request so far, in the order of their ends, the refused ones too.
    pub fn requests(&self) -> Vec<Request> {
        self.service.state().requests.clone()
    }

    /// The requests after the first `seen`, once there are any; none if patience ends first.
    pub fn requests_after(&self, seen: usize, patience: Duration) -> Vec<Request> {
        self.service.wait(seen, patience).requests.iter().skip(seen).cloned().collect()
    }

    /// The datapoints of one metric that begin in the range, one per unit, oldest first. The dimensions must be all
    /// that the metric has, in any order. As in CloudWatch, points of under a minute are there for 3 hours and only
    /// for data of that resolution, and points of a minute for 15 days.
    pub fn statistics(
        &self,
        namespace: &str,
        name: &str,
        dimensions: &[(&str, &str)],
        period: Duration,
        range: Range<SystemTime>,
    ) -> Vec<Datapoint> {
        let query = Query { namespace, name, dimensions: dimensions.iter().copied().collect(), period };
        let state = self.service.state();
        state.store.query(&query, range, state.now())
    }

    /// Every series that has data, however old.
    pub fn series(&self) -> Vec<Series> {
        let state = self.service.state();
        let mut series: Vec<_> = state.store.all().map(|(series, ..)| series.clone()).collect();
        series.dedup();
        series
    }

    /// Sets the clock: None is the machine's, Some stands still.
    pub fn set_clock(&self, clock: Option<SystemTime>) {
        self.service.state().clock = clock;
    }

    /// Faults for the next requests, one each, after those scripted before.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.service.state().script.queue.extend(faults);
    }

    /// Faults at random for the requests that no script has one for. None ends them.
    pub fn mix(&self, mix: Option<Mix>) {
        self.service.state().script.mix = mix;
    }
}

impl Request {
    /// The request as one line of JSON.
    pub fn json(&self) -> String {
        json::request(self).to_string()
    }
}
