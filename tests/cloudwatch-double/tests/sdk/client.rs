//! The AWS SDK against a double: no retries, no TLS, nothing from the environment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::config::retry::RetryConfig;
use aws_sdk_cloudwatch::config::timeout::TimeoutConfig;
use aws_sdk_cloudwatch::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_cloudwatch::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::builders::MetricDatumBuilder;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StatisticSet};
use hostgauge_cloudwatch_double::{Datapoint, Double, Options, Request, Statistics};

pub(crate) const NAMESPACE: &str = "hostgauge/test";

pub(crate) struct Fixture {
    pub(crate) double: Double,
    /// The double's clock at the start, a whole minute at most 5 minutes ago.
    pub(crate) now: SystemTime,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

/// How a call failed.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    Service { status: u16, code: Option<String>, message: String },
    Dispatch,
    Timeout,
    Other(String),
}

impl Fixture {
    pub(crate) fn start() -> Self {
        Self::with_patience(Duration::from_secs(20))
    }

    /// With a client that waits no longer than this for an answer.
    pub(crate) fn with_patience(patience: Duration) -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let now = UNIX_EPOCH + Duration::from_secs(seconds - seconds % 60);
        let double = Double::start(Options { clock: Some(now), ..Options::default() }).unwrap();
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(patience).build();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .endpoint_url(double.url())
            .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", Some("token".to_owned()), None, "test"))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { double, now, client: Client::from_conf(config), runtime }
    }

    pub(crate) fn put(&self, data: impl IntoIterator<Item = MetricDatum>) -> Result<(), Failure> {
        self.put_into(NAMESPACE, data)
    }

    pub(crate) fn put_into(&self, namespace: &str, data: impl IntoIterator<Item = MetricDatum>) -> Result<(), Failure> {
        let call = self.client.put_metric_data().namespace(namespace);
        let call = call.set_metric_data(Some(data.into_iter().collect())).send();
        self.runtime.block_on(call).map(drop).map_err(|error| match &error {
            SdkError::ServiceError(refused) => Failure::Service {
                status: refused.raw().status().as_u16(),
                code: refused.err().code().map(str::to_owned),
                message: refused.err().message().unwrap_or_default().to_owned(),
            },
            SdkError::DispatchFailure(failure) if failure.is_io() => Failure::Dispatch,
            SdkError::TimeoutError(_) => Failure::Timeout,
            other => Failure::Other(format!("{other:?}")),
        })
    }

    /// Puts what must be refused with 400, and says the code and the message.
    pub(crate) fn refusal(&self, data: impl IntoIterator<Item = MetricDatum>) -> (String, String) {
        match self.put(data) {
            Err(Failure::Service { status: 400, code: Some(code), message }) => (code, message),
            other => panic!("not refused with a code: {other:?}"),
        }
    }

    pub(crate) fn last_request(&self) -> Request {
        self.double.requests().pop().unwrap()
    }

    /// The datapoints of a metric without dimensions.
    pub(crate) fn points(&self, name: &str, period: u64) -> Vec<Datapoint> {
        let range = UNIX_EPOCH..self.now + Duration::from_secs(86_400);
        self.double.statistics(NAMESPACE, name, &[], Duration::from_secs(period), range)
    }

    /// The only one of them.
    pub(crate) fn point(&self, name: &str) -> Statistics {
        let points = self.points(name, 60);
        assert_eq!(points.len(), 1, "{points:?}");
        points[0].statistics.clone()
    }

    /// The double's clock, so many seconds later.
    pub(crate) fn after(&self, seconds: i64) -> DateTime {
        let now = self.now.duration_since(UNIX_EPOCH).unwrap().as_secs();
        DateTime::from_secs(now as i64 + seconds)
    }
}

pub(crate) fn datum(name: &str) -> MetricDatumBuilder {
    MetricDatum::builder().metric_name(name)
}

pub(crate) fn dimension(name: &str, value: &str) -> Dimension {
    Dimension::builder().name(name).value(value).build()
}

pub(crate) fn set(sample_count: f64, sum: f64, minimum: f64, maximum: f64) -> StatisticSet {
    StatisticSet::builder().sample_count(sample_count).sum(sum).minimum(minimum).maximum(maximum).build()
}
