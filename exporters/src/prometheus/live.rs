//! The history over HTTP: as a document, and as a stream of server-sent events.
//!
//! Neither slows a scrape or a tick: a document is written on a thread of its own, two at a time until they are sent; a
//! stream that is not read skips rows, and the server's deadlines end both.
//!
//! Source: WHATWG HTML, "Server-sent events".

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::body::Body;
use super::negotiation::Encoding;
use super::page::gzip;
use super::response::{encoded, plain, with_type};
use crate::history::History;

/// Documents at a time, from the first byte written to the last one sent: they are the largest answers there are.
const MOST_DOCUMENTS: usize = 2;
/// How long one waits for its turn.
const TURN: Duration = Duration::from_secs(5);

/// Streams at a time. Whoever finds them taken asks for the document now and then.
const MOST_STREAMS: usize = 8;

/// What a stream begins with: how soon a browser comes back after it broke.
const GREETING: &[u8] = b"retry: 2000\n\n";

/// A history and who reads it.
#[derive(Debug)]
pub struct Live {
    history: History,
    documents: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Live {
    /// Shows this history.
    pub fn new(history: History) -> Self {
        let places = |number| Arc::new(Semaphore::new(number));
        Self { history, documents: places(MOST_DOCUMENTS), streams: places(MOST_STREAMS) }
    }

    /// The document, or its last `since=SECONDS`.
    pub(super) async fn history(&self, query: Option<&str>, encoding: Encoding) -> Response<Body> {
        let Ok(since) = since(query) else {
            return plain(StatusCode::BAD_REQUEST, "since: expected a number of seconds, such as since=60\n");
        };
        // The one before is done within a fraction of a second, unless its client is slow.
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.documents).acquire_owned());
        let Ok(Ok(place)) = turn.await else { return busy() };
        let history = self.history.clone();
        let written = tokio::task::spawn_blocking(move || {
            let text = history.json(since);
            let body = if encoding == Encoding::Gzip { gzip(text.as_bytes()) } else { text.into() };
            Bytes::from_owner(Document { body, _place: place })
        });
        match written.await {
            Ok(body) => fresh(encoded("application/json", encoding, body)),
            Err(_) => busy(),
        }
    }

    /// One event for each row, from the next one on.
    pub(super) fn stream(&self) -> Response<Body> {
        let Ok(place) = Arc::clone(&self.streams).try_acquire_owned() else { return busy() };
        let (events, body) = mpsc::channel(1);
        tokio::spawn(follow(self.history.clone(), events, place));
        fresh(with_type(StatusCode::OK, "text/event-stream", Body::Events(body)))
    }
}

/// A document that keeps its place until its last byte is sent.
struct Document {
    body: Bytes,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Document {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Sends every row that a client has read the one before of, until it is gone.
async fn follow(history: History, events: mpsc::Sender<Bytes>, _place: OwnedSemaphorePermit) {
    let mut rows = history.rows();
    let mut next = Some(Bytes::from_static(GREETING));
    loop {
        if let Some(event) = next.take()
            && events.send(event).await.is_err()
        {
            return;
        }
        tokio::select! {
            () = events.closed() => return,
            began = rows.changed() => if began.is_err() { return },
        }
        tokio::time::sleep(history.settles()).await;
        next = history.event();
    }
}

fn busy() -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "too many at a time; try again in a second\n");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn fresh(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The query's `since`; everything else in it is nobody's business.
pub(super) fn since(query: Option<&str>) -> Result<Option<Duration>, ()> {
    let mut parts = query.unwrap_or_default().split('&').filter_map(|part| part.split_once('='));
    let Some((_, seconds)) = parts.find(|(name, _)| *name == "since") else { return Ok(None) };
    let seconds = seconds.parse::<f64>().map_err(drop)?;
    Duration::try_from_secs_f64(seconds).map(Some).map_err(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_number_of_seconds() {
        assert_eq!(since(None), Ok(None));
        assert_eq!(since(Some("other=1&empty")), Ok(None));
        assert_eq!(since(Some("x=1&since=60")), Ok(Some(Duration::from_secs(60))));
        assert_eq!(since(Some("since=0.5")), Ok(Some(Duration::from_millis(500))));
        for bad in ["since=", "since=-1", "since=nan", "since=inf", "since=1m", "since=1e40"] {
            assert_eq!(since(Some(bad)), Err(()), "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_keeps_its_place_until_it_is_sent() {
        let second = Duration::from_secs(1);
        let live = Live::new(History::new("h", second, second, Vec::new()));
        let get = async || live.history(None, Encoding::Identity).await;
        let mut unread = Vec::new();
        for _ in 0..MOST_DOCUMENTS {
            unread.push(get().await);
        }
        let refused = get().await;
        assert_eq!((refused.status(), refused.headers().get(RETRY_AFTER).is_some()), (503.try_into().unwrap(), true));
        unread.pop();
        assert_eq!(get().await.status(), StatusCode::OK);
    }
}
