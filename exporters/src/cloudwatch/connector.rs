//! The one way out: an HTTP client that everything of the SDK shares, and one that goes nowhere.

use std::sync::OnceLock;
use std::time::Duration;

use aws_sdk_cloudwatch::config::http::{HttpRequest, HttpResponse};
use aws_sdk_cloudwatch::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_sdk_cloudwatch::error::ConnectorError;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};

/// How long an idle connection is kept: long enough for one request after the other, and too short for a NAT or a load
/// balancer to forget it. A request on a forgotten one is lost or not, nobody knows.
const IDLE: Duration = Duration::from_secs(20);

/// One connection pool and one set of root certificates for CloudWatch, STS and the endpoints of credentials. The
/// SDK's own client keeps a copy of the certificates, which is megabytes, for each combination of time-outs.
#[derive(Debug)]
struct One {
    connect: Duration,
    proxy: ProxyConfig,
    /// Made at the first request: whoever publishes nothing pays nothing.
    connector: OnceLock<SharedHttpConnector>,
}

/// A client that gives up connecting after this time, whatever the time-outs of a request say.
pub(super) fn shared(connect: Duration, proxy: ProxyConfig) -> SharedHttpClient {
    SharedHttpClient::new(One { connect, proxy, connector: OnceLock::new() })
}

impl HttpClient for One {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let make = || {
            let connector = Connector::builder()
                .connector_settings(HttpConnectorSettings::builder().connect_timeout(self.connect).build())
                .pool_idle_timeout(IDLE)
                .proxy_config(self.proxy.clone())
                .tls_provider(Provider::Rustls(CryptoMode::AwsLc));
            SharedHttpConnector::new(connector.build())
        };
        self.connector.get_or_init(make).clone()
    }
}

/// Takes every request, sends none and answers as CloudWatch does to good data.
#[derive(Debug)]
struct Nowhere;

/// A client that sends nothing.
pub(super) fn nowhere() -> SharedHttpClient {
    SharedHttpClient::new(Nowhere)
}

impl HttpClient for Nowhere {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Self)
    }
}

impl HttpConnector for Nowhere {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let accepted = 200.try_into().map_err(|error| ConnectorError::other(Box::new(error), None)).map(|status| {
            let mut response = HttpResponse::new(status, "".into());
            response.headers_mut().insert("smithy-protocol", "rpc-v2-cbor");
            response
        });
        HttpConnectorFuture::ready(accepted)
    }
}
