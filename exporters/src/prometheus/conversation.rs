//! One client's conversation, over whatever carries it: requests, answers, the deadlines of both, and an end that does
//! not take the last answer with it.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1::{Builder, Parts};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::body::Body;
use super::connections::{Client, PATIENCE};
use super::wire::Wire;

/// Bytes of a request's head. A browser sends the cookies of everything else on this host along.
const LONGEST_HEAD: usize = 16 * 1024;

/// How much of what nobody reads is taken from a client before the connection is closed, and for how long.
const LINGER_BYTES: usize = 256 * 1024;
const LINGER: Duration = Duration::from_secs(2);
/// Between two reads of it, so that nobody buys our time with bytes that nobody wants.
const LINGER_PAUSE: Duration = Duration::from_millis(5);

const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Answers a client's requests until one of the two has enough.
pub(super) async fn hold<S, A, F>(stream: S, client: Arc<Client>, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    let unread = AtomicBool::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        let pipelined = client.asks();
        // Nothing here reads a request's content, so it may lie in the socket still.
        unread.fetch_or(!request.body().is_end_stream(), Ordering::Relaxed);
        let (client, is_get, answer) = (&client, request.method() == Method::GET, answer(request));
        async move {
            // One answer a turn: others wait no longer behind a thousand requests than behind one.
            if pipelined {
                tokio::task::yield_now().await;
            }
            let response = answer.await;
            client.is_answered(is_get && matches!(response.body(), Body::Events(_)));
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = Builder::new()
        .header_read_timeout(None)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(Wire::new(stream, Arc::clone(&client))), service);
    let ended = tokio::select! {
        biased;
        ended = &mut connection => Some(ended),
        () = client.tires() => None,
    };
    client.leaves();
    let Parts { io, read_buf, .. } = connection.into_parts();
    let (mut stream, began) = (io.into_inner().stream, !read_buf.is_empty());
    drop(read_buf);
    match ended {
        Some(Ok(())) if !began && !unread.load(Ordering::Relaxed) => return,
        Some(Ok(())) => (),
        Some(Err(error)) => {
            log::debug!("a client left early or spoke no HTTP: {error}");
            if !error.is_parse() {
                return;
            }
        }
        None if began => {
            log::debug!("a client did not send the whole of a head within {} s", PATIENCE.as_secs());
            let _ = tokio::time::timeout(LINGER, stream.write_all(TOO_SLOW)).await;
            let _ = stream.shutdown().await;
        }
        None => return,
    }
    linger(&mut stream).await;
}

/// Takes what a client still sends, within bounds: a connection that is closed with bytes unread is reset, and a reset
/// may overtake the answer (RFC 9112, 9.6).
async fn linger(stream: &mut (impl AsyncRead + Unpin)) {
    let discard = async {
        let mut scrap = vec![0; 4 * 1024];
        let mut left = LINGER_BYTES;
        while left > 0
            && let Ok(length @ 1..) = stream.read(&mut scrap).await
        {
            left = left.saturating_sub(length);
            tokio::time::sleep(LINGER_PAUSE).await;
        }
    };
    let _ = tokio::time::timeout(LINGER, discard).await;
}

#[cfg(test)]
mod tests;
