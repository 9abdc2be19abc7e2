//! TLS, passwords and certificates of clients for everything the server shows, from the file that Prometheus' exporters
//! share.
//!
//! The file and all that it names are read again when they change, which is noticed at the first request or connection
//! from a second on after the last look. One that cannot be used leaves the one before in force. Connections that are
//! open stay so: a new certificate is shown to those who come next, a new password asked for at the next request.
//!
//! Source: `docs/web-configuration.md` of Prometheus' exporter-toolkit.

mod certificates;
mod clients;
mod document;
mod format;
#[cfg(all(any(test, fuzzing), feature = "cloudwatch"))]
pub(crate) mod fuzzing;
mod passwords;
mod rate;
mod rules;
mod section;
mod stamp;
mod stream;
mod x509;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use hyper::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::passwords::{Passwords, Verdict};
use self::rate::Bucket;
use self::rules::{Rules, Seen, load};
use self::stamp::Stamp;
use super::Guard;
use super::body::Body;
use super::response::plain;

pub(super) use self::stream::Stream;
pub use self::x509::Validity;

/// How often the files are looked at, at most.
const LOOKS: Duration = Duration::from_secs(1);
/// How long a client waits for a look: a file system that hangs must not hang the page.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);
/// How long a handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// Who asks, in a browser's window.
const REALM: HeaderValue = HeaderValue::from_static("Basic realm=\"hostgauge\", charset=\"UTF-8\"");

/// A web configuration in force. Clones are the same one.
#[derive(Clone)]
pub struct WebConfig(Arc<Inner>);

struct Inner {
    path: PathBuf,
    now: Mutex<Now>,
    looking: AtomicBool,
    passwords: Passwords,
    bucket: Bucket,
}

/// What is true until the files change.
struct Now {
    rules: Arc<Rules>,
    seen: Seen,
    looked: Instant,
    /// What is wrong with the files as they are.
    failure: Option<String>,
}

impl std::fmt::Debug for WebConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebConfig").field("path", &self.0.path).finish_non_exhaustive()
    }
}

impl WebConfig {
    /// Reads a file and everything that it names.
    ///
    /// # Errors
    ///
    /// The file, the line and key where there is one, and what was expected there.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, String> {
        let path = path.into();
        let wrong = |what: String| format!("web-config {}: {what}", path.display());
        let (seen, rules) = load(&path);
        let rules = Arc::new(rules.map_err(wrong)?);
        let passwords = Passwords::new().map_err(|_| wrong("the system has no random numbers".into()))?;
        let now = Mutex::new(Now { rules, seen, looked: Instant::now(), failure: None });
        Ok(Self(Arc::new(Inner { path, now, looking: AtomicBool::new(false), passwords, bucket: Bucket::default() })))
    }

    /// What a client has to go through.
    pub fn guard(&self) -> Guard {
        self.0.rules().guard
    }

    /// When the certificate in force is good; `None` without TLS.
    pub fn certificate(&self) -> Option<Validity> {
        self.0.rules().validity
    }

    /// Says in the log that clients refuse the certificate in force, where they do.
    pub fn warn_of_time(&self) {
        self.0.warn_of_time(&self.0.rules());
    }

    /// The files that nobody else should be able to read: a private key, passwords' hashes.
    pub fn secrets(&self) -> Vec<PathBuf> {
        self.0.rules().secrets.clone()
    }

    /// Whether the files as they are now are what is followed, as far as anybody looked.
    pub fn is_in_force(&self) -> bool {
        self.0.now().failure.is_none()
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// A client's connection, once its handshake is done; `None` where that fails or takes too long.
    pub(super) async fn enter(&self, stream: TcpStream) -> Option<Stream> {
        let rules = self.fresh().await;
        let Some(tls) = &rules.tls else { return Some(stream.into()) };
        match timeout(HANDSHAKE_PATIENCE, tls.accept(stream)).await {
            Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => {
                log::debug!("a client's TLS handshake failed: {error}");
                None
            }
            Err(_) => {
                log::debug!("a client's TLS handshake took longer than {} s", HANDSHAKE_PATIENCE.as_secs());
                None
            }
        }
    }

    /// The answer to a request: `site`'s, or why there is none. As in the toolkit, nothing is shown without a password,
    /// and the file's headers are on everything.
    pub(super) async fn answer<B>(
        &self,
        address: IpAddr,
        request: &Request<B>,
        site: impl Future<Output = Response<Body>>,
    ) -> Response<Body> {
        let rules = self.fresh().await;
        let mut response = match self.refuse(&rules, address, request).await {
            Some(refusal) => refusal,
            None => site.await,
        };
        for (name, value) in &rules.headers {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }

    async fn refuse<B>(&self, rules: &Rules, address: IpAddr, request: &Request<B>) -> Option<Response<Body>> {
        if rules.rate.is_some_and(|rate| !self.0.bucket.take(rate, Instant::now())) {
            return Some(later(StatusCode::TOO_MANY_REQUESTS, "more requests than rate_limit allows\n"));
        }
        let users = rules.users.as_ref()?;
        let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        match self.0.passwords.check(users, address, authorization).await {
            Verdict::Good => None,
            Verdict::Wrong => {
                let mut response = plain(StatusCode::UNAUTHORIZED, "a name and a password are needed here\n");
                response.headers_mut().insert(WWW_AUTHENTICATE, REALM);
                Some(response)
            }
            Verdict::Busy => Some(later(StatusCode::SERVICE_UNAVAILABLE, "too many passwords to check\n")),
        }
    }

    /// The rules as the files are, or as they were a moment ago.
    async fn fresh(&self) -> Arc<Rules> {
        if self.0.is_due() && !self.0.looking.swap(true, Ordering::AcqRel) {
            let inner = Arc::clone(&self.0);
            let (tell, told) = oneshot::channel::<()>();
            // A thread of its own, since a runtime that ends waits for those that it lends.
            let look = thread::Builder::new().name("hostgauge-web".into()).spawn(move || {
                inner.look();
                inner.looking.store(false, Ordering::Release);
                drop(tell);
            });
            match look {
                Ok(_) => drop(timeout(LOOK_PATIENCE, told).await),
                Err(_) => self.0.looking.store(false, Ordering::Release),
            }
        }
        self.0.rules()
    }
}

impl Inner {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.now().rules)
    }

    fn is_due(&self) -> bool {
        let mut now = self.now();
        let due = now.looked.elapsed() >= LOOKS;
        if due {
            now.looked = Instant::now();
        }
        due
    }

    fn warn_of_time(&self, rules: &Rules) {
        if let Some(trouble) = rules.validity.and_then(|validity| validity.trouble(SystemTime::now())) {
            log::warn!("web-config {}: the certificate {trouble}: clients refuse it", self.path.display());
        }
    }

    /// Reads everything again, if anything changed.
    fn look(&self) {
        let seen = self.now().seen.clone();
        if seen.iter().all(|(path, stamp)| Stamp::of(path) == *stamp) {
            return;
        }
        let (seen, rules) = load(&self.path);
        let path = self.path.display();
        let mut now = self.now();
        now.seen = seen;
        match rules {
            Ok(rules) => {
                self.warn_of_time(&rules);
                now.rules = Arc::new(rules);
                now.failure = None;
                log::info!("web-config {path}: read anew");
            }
            Err(what) => {
                if now.failure.as_ref() != Some(&what) {
                    log::error!("web-config {path}: {what}; the one from before stays in force");
                }
                now.failure = Some(what);
            }
        }
    }
}

fn later(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = plain(status, text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
