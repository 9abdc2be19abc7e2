//! The HTTP server of the page.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, VARY};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_io_timeout::TimeoutStream;

use super::negotiation::{Encoding, Format};
use super::page::Page;

/// How long a client may take to send a request's head, and to come back with the next one.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const LONGEST_HEAD: usize = 16 * 1024;
/// How long a client may leave its answer unread.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// Clients at a time, so that a flood costs bounded memory. The longest connected one makes room for a newcomer: a scrape is
/// done in a moment, who clings to a connection is not.
const MOST_CLIENTS: usize = 64;
/// Connections that the kernel keeps for us while we are busy; each one dropped would cost its client a second.
const BACKLOG: i32 = 1024;

/// What the server shows beside the metrics.
pub struct Site {
    /// The page behind `/metrics`.
    pub page: Page,
    /// The HTML behind `/`.
    pub landing: Bytes,
    /// Whether `/-/ready` says so.
    pub ready: Box<dyn Fn() -> bool + Send + Sync>,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("page", &self.page).finish_non_exhaustive()
    }
}

/// A bound listener, not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Takes the port, so that a taken one is found before anything else starts.
    ///
    /// # Errors
    ///
    /// The operating system's: address in use, not ours, not allowed.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // A port whose last connections are still fading away is free.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Self { listener: socket.into() })
    }

    /// Where it listens: the port that was found where 0 was asked for.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is done. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// The runtime cannot watch the listener.
    pub async fn serve(self, site: Site, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let site = Arc::new(site);
        let mut clients = Clients::default();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => return Ok(()),
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => clients.admit(converse(stream, Arc::clone(&site))),
                Err(error) => {
                    // Out of descriptors, most likely: the listener stays readable, so without a pause this would spin.
                    log::warn!("cannot accept a connection: {error}; trying again in 100 ms");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// The connections, the longest connected first. Dropping it ends them all.
#[derive(Default)]
struct Clients(VecDeque<AbortHandle>);

impl Clients {
    fn admit(&mut self, conversation: impl Future<Output = ()> + Send + 'static) {
        self.0.retain(|client| !client.is_finished());
        if self.0.len() >= MOST_CLIENTS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(tokio::spawn(conversation).abort_handle());
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

async fn converse(stream: TcpStream, site: Arc<Site>) {
    let service = service_fn(|request| {
        let response = site.respond(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_PATIENCE));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    if let Err(error) = connection.await {
        log::debug!("a client left early or spoke no HTTP: {error}");
    }
}

impl Site {
    fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/metrics" => self.metrics(request),
            "/" => with_type(StatusCode::OK, "text/html; charset=utf-8", self.landing.clone()),
            "/-/healthy" => plain(StatusCode::OK, "hostgauge is healthy\n"),
            "/-/ready" if (self.ready)() => plain(StatusCode::OK, "hostgauge is ready\n"),
            "/-/ready" => plain(StatusCode::SERVICE_UNAVAILABLE, "hostgauge has no current samples\n"),
            _ => plain(StatusCode::NOT_FOUND, "not found; the metrics are at /metrics\n"),
        }
    }

    fn metrics<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let format = Format::from_accept(header(ACCEPT));
        let encoding = Encoding::from_accept_encoding(header(ACCEPT_ENCODING));
        let mut response = with_type(StatusCode::OK, format.content_type(), self.page.get(format, encoding));
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if encoding == Encoding::Gzip {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    with_type(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
