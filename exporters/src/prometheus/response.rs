//! Answers that are made in one place, whoever gives them.

use bytes::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::body::Body;
use super::negotiation::Encoding;

/// A body that is in this encoding already.
pub(super) fn encoded(content_type: &'static str, encoding: Encoding, body: Bytes) -> Response<Body> {
    let mut response = with_type(StatusCode::OK, content_type, Body::whole(body));
    if encoding == Encoding::Gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

pub(super) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", Body::whole(Bytes::from_static(text.as_bytes())))
}

pub(super) fn with_type(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
