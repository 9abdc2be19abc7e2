//! The HTTP server of the page.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

use super::body::Body;
use super::connections::{Client, Connections};
use super::conversation;
use super::host::Names;
use super::live::Live;
use super::negotiation::{Encoding, Format};
use super::page::{Page, gzip};
use super::response::{encoded, plain};
use super::web_config::WebConfig;

/// How long the kernel waits for a client that takes nothing and says nothing.
const SILENCE: Duration = Duration::from_secs(10);
/// Connections that are accepted before those just accepted get their turn. One takes two turns to be heard; were those
/// as many as there are places for newcomers, a queue of them would push one another out unheard. Fewer would make the
/// queue longer.
const AT_ONCE: usize = 16;
/// Bytes that the kernel keeps of what a client sends, and of what it does not read; it doubles them. Left alone it
/// would go up to megabytes for each, which are not ours but count as ours in a container.
const RECEIVED: usize = 16 * 1024;
const UNSENT: usize = 64 * 1024;
/// Connections that the kernel keeps for us while we are busy; each one dropped would cost its client a second.
const BACKLOG: i32 = 1024;

/// What the HTML may load and talk to: this server alone.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the server shows beside the metrics.
pub struct Site {
    /// The page behind `/metrics`.
    pub page: Page,
    /// The HTML behind `/`.
    pub landing: Bytes,
    /// What the HTML loads.
    pub files: &'static [StaticFile],
    /// The history behind `/api/v1/history` and `/api/v1/stream`; `None` where none is kept.
    pub live: Option<Live>,
    /// Whether `/-/ready` says so.
    pub ready: Box<dyn Fn() -> bool + Send + Sync>,
}

/// A file that is part of the program.
#[derive(Clone, Copy, Debug)]
pub struct StaticFile {
    /// The path of its address, from `/` on.
    pub path: &'static str,
    /// Its Content-Type.
    pub content_type: &'static str,
    /// What is in it.
    pub content: &'static [u8],
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
    door: Option<WebConfig>,
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
        // Connections have these from their listener.
        socket.set_recv_buffer_size(RECEIVED)?;
        socket.set_send_buffer_size(UNSENT)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(SILENCE))?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Self { listener: socket.into(), door: None })
    }

    /// Where it listens: the port that was found where 0 was asked for.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Lets in only whom this lets in.
    pub fn behind(self, door: Option<WebConfig>) -> Self {
        Self { door, ..self }
    }

    /// Serves until `shutdown` is done. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// The runtime cannot watch the listener.
    pub async fn serve(self, site: Site, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let names = Names::of(self.address()?.ip());
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let site = Arc::new(site);
        let (mut connections, mut taken) = (Connections::new(), 0_usize);
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => return Ok(()),
                accepted = listener.accept() => accepted,
                () = connections.watch() => continue,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (peer, site) = (peer.ip(), Arc::clone(&site));
                    match self.door.clone() {
                        Some(door) => {
                            connections.admit(peer, |client| converse_behind(door, peer, stream, client, site));
                        }
                        None => connections.admit(peer, |client| converse(stream, client, site, names)),
                    }
                    taken += 1;
                    if taken % AT_ONCE == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Err(error) => connections.cannot_accept(&error).await,
            }
        }
    }
}

async fn converse(stream: TcpStream, client: Arc<Client>, site: Arc<Site>, names: Names) {
    let answer = |request| {
        let site = &site;
        async move {
            match names.refusal(&request) {
                Some(refusal) => refusal,
                None => site.respond(&request).await,
            }
        }
    };
    conversation::hold(stream, client, answer).await;
}

/// The same behind a door. Whoever gets through it may use any name for us: a web page that has a browser ask knows
/// neither the password nor has a certificate for its own name of us.
async fn converse_behind(door: WebConfig, peer: IpAddr, stream: TcpStream, client: Arc<Client>, site: Arc<Site>) {
    let Some(stream) = door.enter(stream).await else { return };
    let answer = |request| {
        let (site, door) = (&site, &door);
        async move { door.answer(peer, &request, site.respond(&request)).await }
    };
    conversation::hold(stream, client, answer).await;
}

impl Site {
    async fn respond<B>(&self, request: &Request<B>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match (request.uri().path(), &self.live) {
            ("/metrics", _) => self.metrics(request),
            ("", _) => plain(StatusCode::BAD_REQUEST, "the target: expected a path, such as /metrics\n"),
            ("/", _) => file(request, "text/html; charset=utf-8", self.landing.clone()),
            ("/-/healthy", _) => plain(StatusCode::OK, "hostgauge is healthy\n"),
            ("/-/ready", _) if (self.ready)() => plain(StatusCode::OK, "hostgauge is ready\n"),
            ("/-/ready", _) => plain(StatusCode::SERVICE_UNAVAILABLE, "hostgauge has no current samples\n"),
            ("/api/v1/history", Some(live)) => live.history(request.uri().query(), encoding(request)).await,
            ("/api/v1/stream", Some(live)) => live.stream(),
            ("/api/v1/history" | "/api/v1/stream", None) => {
                plain(StatusCode::NOT_FOUND, "no history is kept (history = off)\n")
            }
            (path, _) => match self.files.iter().find(|file| file.path == path) {
                Some(found) => file(request, found.content_type, Bytes::from_static(found.content)),
                None => plain(StatusCode::NOT_FOUND, "not found; the metrics are at /metrics\n"),
            },
        }
    }

    fn metrics<B>(&self, request: &Request<B>) -> Response<Body> {
        let format = Format::from_accept(header(request, ACCEPT));
        let encoding = encoding(request);
        let mut response = encoded(format.content_type(), encoding, self.page.get(format, encoding));
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        response
    }
}

fn header<B>(request: &Request<B>, name: HeaderName) -> &str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

fn encoding<B>(request: &Request<B>) -> Encoding {
    Encoding::from_accept_encoding(header(request, ACCEPT_ENCODING))
}

/// A part of the page, for a browser. It is packed anew each time: pages are opened seldom, and memory is kept always.
fn file<B>(request: &Request<B>, content_type: &'static str, content: Bytes) -> Response<Body> {
    let encoding = encoding(request);
    let body = if encoding == Encoding::Gzip { gzip(&content) } else { content };
    let mut response = encoded(content_type, encoding, body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The next version of the agent has other files at the same address.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}
