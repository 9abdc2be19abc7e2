//! A build without the feature `web-config` has no web configuration: nobody can make one.

use std::net::IpAddr;

use hyper::{Request, Response};
use tokio::net::TcpStream;

use super::Guard;
use super::body::Body;

/// What this build lacks.
#[derive(Clone, Debug)]
pub enum WebConfig {}

pub(super) type Stream = TcpStream;

impl WebConfig {
    /// Nobody asks.
    pub fn guard(&self) -> Guard {
        match *self {}
    }

    pub(super) async fn enter(&self, _: TcpStream) -> Option<Stream> {
        match *self {}
    }

    pub(super) async fn answer<B>(
        &self,
        _: IpAddr,
        _: &Request<B>,
        _: impl Future<Output = Response<Body>>,
    ) -> Response<Body> {
        match *self {}
    }
}
