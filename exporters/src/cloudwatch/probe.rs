//! Whether publishing would work, found out without publishing: AWS's environment, the way to the service, the clock.
//!
//! The one request that is sent is a signed ListMetrics for one metric: it reads, it goes the same way as the data, and
//! a service that does not permit it says so only after it has accepted key, signature and clock. So it needs no
//! permission beside PutMetricData; that this one is given is the only thing that cannot be known beforehand.

use std::time::{Duration, SystemTime};

use aws_sdk_cloudwatch::error::{ProvideErrorMetadata as _, SdkError};

use super::answer::{Refusal, Verdict, explain, success};
use super::client::{Client, ClientError, Found, is_success};
use super::watch::Watch;

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The region.
    pub region: String,
    /// Where requests go, as an URL.
    pub endpoint: String,
    /// Where the credentials come from.
    pub credentials: Found,
    /// What came of asking.
    pub contact: Contact,
}

/// What came of asking the service.
#[derive(Clone, Debug, PartialEq)]
pub enum Contact {
    /// It was not asked, as there is nothing to sign with.
    Unasked,
    /// Nobody answered: DNS, the network, TLS or a proxy. What happened.
    None(String),
    /// Somebody answered who is not CloudWatch. What happened.
    Stranger(String),
    /// CloudWatch answered.
    Service {
        /// How many seconds our clock is ahead of its; whole seconds, as its Date is. `None` without a Date.
        skew: Option<f64>,
        /// What it says.
        answered: Answered,
    },
}

/// What the service says of this sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Key and signature are good.
    Known,
    /// They are not.
    Refused {
        /// The service's code.
        code: String,
        /// The service's message, without secrets.
        message: String,
        /// What to do about it, in a line.
        remedy: String,
    },
    /// It could not say now: throttled, or out of order.
    Busy(String),
}

/// Looks for region, credentials and endpoint as the publisher does, and asks the service. Nothing is published. Takes
/// `patience` at most for the request, and some seconds for credentials.
///
/// # Errors
///
/// As the publisher's start: what will never work.
pub fn probe(namespace: &str, patience: Duration) -> Result<Probe, ProbeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ProbeError::System)?;
    let probed = runtime.block_on(async {
        let client = Client::from_environment().await?;
        let contact = match client.credentials().trouble {
            Some(_) => Contact::Unasked,
            None => ask(&client.sdk(), namespace, patience).await,
        };
        let (region, endpoint) = (client.region().to_owned(), client.endpoint().to_owned());
        Ok(Probe { region, endpoint, credentials: client.credentials().clone(), contact })
    });
    // A look-up of a name that hangs must not be waited for.
    runtime.shutdown_background();
    probed.map_err(ProbeError::Client)
}

async fn ask(sdk: &aws_sdk_cloudwatch::Client, namespace: &str, patience: Duration) -> Contact {
    let watch = Watch::default();
    let call = sdk.list_metrics().namespace(namespace).metric_name("CPUUtilization");
    let asked = call.customize().interceptor(watch.clone()).send();
    let Ok(result) = tokio::time::timeout(patience, asked).await else {
        return Contact::None(format!("no answer within {} s", patience.as_secs()));
    };
    let now = SystemTime::now();
    let Some(head) = watch.seen().head else {
        let what = result.err().as_ref().and_then(std::error::Error::source).map(explain);
        return Contact::None(what.unwrap_or_else(|| "no answer was seen".to_owned()));
    };
    let skew = head.date.map(|date| match now.duration_since(date) {
        Ok(ahead) => ahead.as_secs() as f64,
        Err(behind) => -(behind.duration().as_secs_f64().ceil()),
    });
    let service = |answered| Contact::Service { skew, answered };
    if !head.cloudwatch {
        let what = match is_success(&head) {
            true => said(success(&head)),
            false => said(Refusal { head: &head, code: None, message: "", data: 0, namespace, now }.verdict()),
        };
        // A proxy or a load balancer that reached nobody.
        return if head.status >= 500 { Contact::None(what) } else { Contact::Stranger(what) };
    }
    match result {
        Err(SdkError::ServiceError(refused)) => {
            let (code, message) = (refused.err().code(), refused.err().message().unwrap_or_default());
            let refusal = Refusal { head: &head, code, message, data: 0, namespace, now };
            match (refusal.is_about_sender(), refusal.verdict()) {
                (true, Verdict::Denied { code, message, remedy }) => {
                    service(Answered::Refused { code, message, remedy })
                }
                (_, verdict @ Verdict::Throttled { .. }) => service(Answered::Busy(said(verdict))),
                (_, verdict) if head.status >= 500 => service(Answered::Busy(said(verdict))),
                // Not permitted to list, or a service that has no such operation: it knows us all the same.
                _ => service(Answered::Known),
            }
        }
        _ => service(Answered::Known),
    }
}

fn said(verdict: Verdict) -> String {
    match verdict {
        Verdict::Unavailable { what, .. } => what,
        Verdict::Throttled { .. } => "too many requests of this account now".to_owned(),
        verdict => verdict.outcome().to_owned(),
    }
}

/// Why nothing could be found out.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProbeError {
    /// No region, no credentials, or a bad endpoint.
    Client(ClientError),
    /// The operating system gives no event queue.
    System(std::io::Error),
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use aws_sdk_cloudwatch::Config;
    use aws_sdk_cloudwatch::config::retry::RetryConfig;
    use aws_sdk_cloudwatch::config::{BehaviorVersion, Credentials, Region};
    use aws_smithy_http_client::proxy::ProxyConfig;

    use super::super::connector;
    use super::*;

    /// What is made of one answer.
    fn asked(answer: impl Into<Vec<u8>>) -> Contact {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = answer.into();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 16 * 1024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(&answer).unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-central-1"))
            .endpoint_url(url)
            .retry_config(RetryConfig::disabled())
            .credentials_provider(Credentials::new("AKID", "secret", None, None, "test"))
            .http_client(connector::shared(Duration::from_secs(5), ProxyConfig::disabled()));
        let sdk = aws_sdk_cloudwatch::Client::from_conf(config.build());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let contact = runtime.block_on(ask(&sdk, "hostgauge/test", Duration::from_secs(20)));
        assert!(
            server.join().unwrap().starts_with("POST /service/GraniteServiceVersion20100801/operation/ListMetrics ")
        );
        contact
    }

    fn refusal(status: u16, code: &str) -> Vec<u8> {
        let head = format!(
            "HTTP/1.1 {status} no\r\nsmithy-protocol: rpc-v2-cbor\r\ncontent-type: application/cbor\r\n\
             x-amzn-query-error: {code};Sender\r\ncontent-length: 1\r\nconnection: close\r\n\r\n"
        );
        // An empty map.
        [head.as_bytes(), &[0xa0]].concat()
    }

    #[test]
    fn who_may_not_list_is_known_all_the_same() {
        for (status, code) in
            [(403, "AccessDenied"), (403, "AccessDeniedException"), (404, "UnknownOperationException")]
        {
            let contact = asked(refusal(status, code));
            assert_eq!(contact, Contact::Service { skew: None, answered: Answered::Known }, "{code}");
        }
    }

    #[test]
    fn who_is_not_known_is_told_so() {
        for code in ["InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "ExpiredToken"] {
            let Contact::Service { answered: Answered::Refused { code: told, remedy, .. }, .. } =
                asked(refusal(403, code))
            else {
                panic!("{code} is a refusal")
            };
            assert_eq!(told, code);
            assert!(!remedy.is_empty());
        }
    }

    #[test]
    fn who_stands_in_between_is_not_cloudwatch() {
        let plain = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        assert!(matches!(asked(plain("200 OK")), Contact::Stranger(_)));
        assert!(matches!(asked(plain("403 Forbidden")), Contact::Stranger(_)));
        assert!(matches!(asked(plain("502 Bad Gateway")), Contact::None(_)));
    }
}
