//! One attempt to put data, by the AWS SDK: what is tried again, when and with what, is decided elsewhere.

use std::error::Error as _;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_cloudwatch::config::http::HttpResponse;
use aws_sdk_cloudwatch::config::retry::RetryConfig;
use aws_sdk_cloudwatch::config::timeout::TimeoutConfig;
use aws_sdk_cloudwatch::config::{
    BehaviorVersion, Builder, Config, Credentials, IdentityCache, Region, SharedCredentialsProvider,
    StalledStreamProtectionConfig,
};
use aws_sdk_cloudwatch::error::{ConnectorError, ProvideErrorMetadata as _, SdkError};
use aws_sdk_cloudwatch::operation::put_metric_data::PutMetricDataError;
use aws_sdk_cloudwatch::types::MetricDatum;
use aws_smithy_http_client::proxy::ProxyConfig;

use super::answer::{Answer, Head, Refusal, Verdict, chain, explain, success};
use super::credentials::{self, DMI, Sources, variable};
use super::secrets::without_password;
use super::watch::{Seen, Watch};
use super::{connector, wire};
use crate::datum::Datum;

pub use super::credentials::{About, ClientError, Found};

/// The longest to wait for a connection, with DNS and TLS.
const CONNECT: Duration = Duration::from_millis(3100);
/// The longest that an attempt may take; the SDK by itself would wait for ever.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Where a request's path begins.
const PATH: &str = "/service/";

type PutError = SdkError<PutMetricDataError, HttpResponse>;
type Renew = Box<dyn Fn() -> SharedCredentialsProvider + Send + Sync>;

/// A client of CloudWatch; cheap to clone, and all clones share connections and credentials.
///
/// Of what AWS's tools understand it has no SSO. `SSL_CERT_FILE` names other root certificates. A proxy set for all
/// (`HTTP_PROXY`) is asked for the endpoints of credentials too, unless `NO_PROXY` names them (169.254.169.254,
/// 169.254.170.2).
#[derive(Clone)]
pub(super) struct Client(Arc<Inner>);

struct Inner {
    /// Replaced when its credentials turn out to be rejected.
    sdk: Mutex<aws_sdk_cloudwatch::Client>,
    /// Looks for credentials again from the start.
    renew: Renew,
    region: String,
    endpoint: String,
    credentials: Found,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("region", &self.0.region).field("endpoint", &self.0.endpoint).finish()
    }
}

impl Client {
    /// From AWS's standard variables and files: region, credentials, endpoint (`AWS_ENDPOINT_URL_CLOUDWATCH`,
    /// `AWS_ENDPOINT_URL`), proxy, FIPS, dual stack, request compression.
    ///
    /// A source of credentials that is there but fails now is no error: an agent that is started during an outage
    /// starts. Nothing is sent to CloudWatch. Takes up to one second for the credentials and on EC2 another for the
    /// region.
    ///
    /// # Errors
    ///
    /// No region, no credentials at all, a profile file that cannot be parsed, a malformed endpoint.
    pub(super) async fn from_environment() -> Result<Self, ClientError> {
        Self::from_environment_of(Path::new(DMI)).await
    }

    pub(super) async fn from_environment_of(dmi: &Path) -> Result<Self, ClientError> {
        credentials::check_profile_files().await?;
        let http = connector::shared(CONNECT, ProxyConfig::from_env());
        let metadata = credentials::may_ask_metadata(dmi);
        let region = credentials::region(&http, metadata).await?;
        let shared = aws_config::defaults(BehaviorVersion::latest())
            .region(region.clone())
            .http_client(http.clone())
            .no_credentials()
            .load()
            .await;
        let (fips, dual_stack) = (shared.use_fips(), shared.use_dual_stack());
        let sources = Sources { http, region, fips, dual_stack, metadata };
        let config = Builder::from(&shared);
        let endpoint = destination(config.clone()).await?;
        let credentials = sources.find().await?;
        let renew = Box::new(move || sources.provider());
        Ok(Self::with(config, ATTEMPT, renew, endpoint, credentials))
    }

    /// A client that sends nothing and is always accepted: its answers tell the sizes that the same data would have on
    /// the wire, with the SDK's default compression. Needs no region, no credentials and no network.
    pub(super) fn rehearsal() -> Self {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .http_client(connector::nowhere());
        Self::with(config, ATTEMPT, Box::new(no_credentials), "nowhere".to_owned(), known("none"))
    }

    fn with(config: Builder, attempt: Duration, renew: Renew, endpoint: String, credentials: Found) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(attempt)
            .operation_timeout(attempt)
            .build();
        let config = config
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            // The time-out of the attempt is shorter than its patience.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let sdk = connect(config, renew());
        let region = sdk.config().region().map(ToString::to_string).unwrap_or_default();
        Self(Arc::new(Inner { sdk: Mutex::new(sdk), renew, region, endpoint, credentials }))
    }

    /// The region.
    pub(super) fn region(&self) -> &str {
        &self.0.region
    }

    /// Where requests go, as an URL.
    pub(super) fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// Where the credentials came from at the start, by kind and name, or why there were none yet. No secrets.
    pub(super) fn credentials(&self) -> &Found {
        &self.0.credentials
    }

    /// The SDK's client, for another question than data.
    pub(super) fn sdk(&self) -> aws_sdk_cloudwatch::Client {
        self.0.sdk.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts the data, in one attempt of at most ten seconds. The limits of the service are not checked here.
    pub(super) async fn put(&self, namespace: &str, data: &[Datum]) -> Answer {
        let sdk = self.sdk();
        let sent = data.iter().map(wire::metric_datum).collect();
        let (result, seen) = attempt(&sdk, namespace, sent).await;
        let verdict = match &result {
            Ok(()) => seen.head.as_ref().map_or_else(|| Verdict::ambiguous("no answer was seen"), success),
            Err(error) => {
                let refusal = refusal(error, &seen, namespace, data.len());
                if is_about_credentials(error, refusal.as_ref()) {
                    self.renew(&sdk);
                }
                refusal.map_or_else(|| failure(error, &seen), |refusal| refusal.verdict())
            }
        };
        // Data are given up by it, so nobody else's clock will do.
        let date = seen.head.filter(|head| head.cloudwatch).and_then(|head| head.date);
        Answer { verdict, date, uncompressed: seen.uncompressed, sent: seen.sent }
    }

    /// Has the next attempt look for credentials again. The SDK itself keeps rejected ones until they expire.
    fn renew(&self, sdk: &aws_sdk_cloudwatch::Client) {
        let renewed = connect(sdk.config().to_builder(), (self.0.renew)());
        *self.0.sdk.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
    }
}

fn connect(config: Builder, credentials: SharedCredentialsProvider) -> aws_sdk_cloudwatch::Client {
    let config = config.credentials_provider(credentials).identity_cache(IdentityCache::lazy().build());
    aws_sdk_cloudwatch::Client::from_conf(config.build())
}

/// Credentials that nobody had to look for.
fn known(name: &str) -> Found {
    Found { name: name.to_owned(), trouble: None, expiry: None }
}

/// What a request is signed with that never leaves.
fn no_credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new("none", "none", None, None, "none"))
}

/// Where requests of this configuration go: the SDK decides, so it is asked.
async fn destination(config: Builder) -> Result<String, ClientError> {
    let sdk = connect(config.http_client(connector::nowhere()), no_credentials());
    let (result, seen) = attempt(&sdk, "hostgauge", Vec::new()).await;
    let url = match (result, seen.uri) {
        (Ok(()), Some(uri)) => without_password(uri.split_once(PATH).map_or(uri.as_str(), |(url, _)| url)),
        (Ok(()), None) => return Err(endpoint_error("there is none")),
        // What stands before it shows the whole request.
        (Err(error), _) => return Err(endpoint_error(&chain(&error).last().map(explain).unwrap_or_default())),
    };
    match url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) {
        Some(host) if !host.is_empty() && !host.starts_with([':', '/']) => Ok(url),
        _ => Err(endpoint_error("it must begin with http:// or https:// and a host")),
    }
}

fn endpoint_error(why: &str) -> ClientError {
    let variables = ["AWS_ENDPOINT_URL_CLOUDWATCH", "AWS_ENDPOINT_URL"];
    let set = variables.iter().find_map(|name| Some((name, variable(name)?)));
    ClientError::new(
        About::Endpoint,
        match set {
            Some((name, value)) => format!(
                "{name}={}: expected a URL such as https://monitoring.eu-central-1.amazonaws.com or http://127.0.0.1:4566 \
             ({why})",
                without_password(&value)
            ),
            None => format!(
                "no endpoint of CloudWatch: is AWS_REGION right, and endpoint_url in the AWS profile, if there is one? \
             ({why})"
            ),
        },
    )
}

async fn attempt(
    sdk: &aws_sdk_cloudwatch::Client,
    namespace: &str,
    data: Vec<MetricDatum>,
) -> (Result<(), PutError>, Seen) {
    let watch = Watch::default();
    let call = sdk.put_metric_data().namespace(namespace).set_metric_data(Some(data));
    let result = call.customize().interceptor(watch.clone()).send().await;
    (result.map(drop), watch.seen())
}

/// The error as an answer of the service, if a whole one was read.
fn refusal<'a>(error: &'a PutError, seen: &'a Seen, namespace: &'a str, data: usize) -> Option<Refusal<'a>> {
    let (SdkError::ServiceError(refused), Some(head)) = (error, &seen.head) else { return None };
    if is_success(head) {
        return None;
    }
    let (code, message) = (refused.err().code(), refused.err().message().unwrap_or_default());
    Some(Refusal { head, code, message, data, namespace, now: SystemTime::now() })
}

pub(super) fn is_success(head: &Head) -> bool {
    (200..300).contains(&head.status)
}

fn is_about_credentials(error: &PutError, refusal: Option<&Refusal<'_>>) -> bool {
    credentials_error(error).is_some() || refusal.is_some_and(Refusal::is_about_credentials)
}

fn credentials_error(error: &PutError) -> Option<&CredentialsError> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// The verdict where there is no whole answer.
fn failure(error: &PutError, seen: &Seen) -> Verdict {
    if let Some(error) = credentials_error(error) {
        return unsigned(error);
    }
    // The error itself says no more than that something failed.
    let what = error.source().map_or_else(|| error.to_string(), explain);
    match (&seen.head, error) {
        // The status says it all: there is nothing in the body of a success.
        (Some(head), _) if is_success(head) => success(head),
        (Some(head), _) if head.status < 500 || head.status == 503 => Verdict::unavailable(what),
        (Some(_), _) => Verdict::ambiguous(what),
        (None, _) if seen.uri.is_none() => Verdict::unavailable(what),
        (None, SdkError::DispatchFailure(failure))
            if failure.is_timeout() || failure.is_user() || never_stood(error) =>
        {
            Verdict::unavailable(what)
        }
        (None, _) => Verdict::ambiguous(what),
    }
}

/// Whether it failed before there was a connection: DNS, TCP, a proxy or TLS.
fn never_stood(error: &PutError) -> bool {
    chain(error)
        .filter_map(|error| error.downcast_ref::<hyper_util::client::legacy::Error>())
        .any(hyper_util::client::legacy::Error::is_connect)
}

/// The verdict where there was nothing to sign with.
fn unsigned(error: &CredentialsError) -> Verdict {
    let message = explain(error);
    let timed_out = matches!(error, CredentialsError::ProviderTimedOut(_));
    if timed_out || chain(error).any(|error| error.is::<ConnectorError>()) {
        return Verdict::unavailable(format!("credentials cannot be had now: {message}"));
    }
    Verdict::Denied {
        code: "CredentialsUnavailable".to_owned(),
        message,
        remedy: "check where the credentials come from; it is asked again at the next attempt".to_owned(),
    }
}

#[cfg(test)]
mod tests;
