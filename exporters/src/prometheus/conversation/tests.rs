use super::*;
use bytes::Bytes;
use hyper::StatusCode;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::prometheus::connections::Connections;
use crate::prometheus::response::{plain, with_type};
use crate::prometheus::wire::ANSWER_PATIENCE;

/// A conversation over a pipe that holds little, so that an answer waits for its reader.
fn talk<F>(answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static) -> (DuplexStream, JoinHandle<()>)
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (ours, theirs) = tokio::io::duplex(1024);
    let (tell, told) = oneshot::channel();
    let mut connections = Connections::new();
    connections.admit([127, 0, 0, 1].into(), |client| async {
        hold(ours, client, answer).await;
        let _ = tell.send(());
    });
    let watched = async move {
        loop {
            connections.watch().await;
        }
    };
    let ended = async {
        tokio::select! {
            _ = told => (),
            () = watched => (),
        }
    };
    (theirs, tokio::spawn(ended))
}

async fn fine(_: Request<Incoming>) -> Response<Body> {
    plain(StatusCode::OK, "fine\n")
}

async fn rest(stream: &mut DuplexStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8(text).unwrap()
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn half_a_head_is_told_that_it_took_too_long() {
    let (mut client, ended) = talk(fine);
    let start = Instant::now();
    client.write_all(&GET[..20]).await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    drop(client);
    ended.await.unwrap();
    assert!((PATIENCE..PATIENCE + LINGER * 2).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_does_not_buy_more_time() {
    let (mut client, ended) = talk(fine);
    let start = Instant::now();
    client.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
    while !ended.is_finished() {
        let _ = client.write_all(b"x").await;
        sleep(Duration::from_secs(1)).await;
    }
    assert!((PATIENCE..PATIENCE + LINGER * 2).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn silence_is_ended_without_a_word() {
    let (mut client, ended) = talk(fine);
    let start = Instant::now();
    // Between two requests as before the first.
    client.write_all(GET).await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nfine\n"), "{answer}");
    ended.await.unwrap();
    assert!((PATIENCE..PATIENCE + LINGER).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_read_too_slowly_is_cut_in_time() {
    let large = Bytes::from(vec![b'x'; 1 << 20]);
    let answer = move |_: Request<Incoming>| {
        let body = Body::whole(large.clone());
        async { with_type(StatusCode::OK, "text/plain", body) }
    };
    for request in [GET, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"] {
        let (mut client, ended) = talk(answer.clone());
        let start = Instant::now();
        client.write_all(request).await.unwrap();
        let (mut got, mut part) = (0, [0; 1024]);
        // Something each second, so that there is progress all the time.
        while !ended.is_finished() {
            sleep(Duration::from_secs(1)).await;
            got += client.read(&mut part).await.unwrap();
        }
        let took = start.elapsed();
        assert!((ANSWER_PATIENCE..ANSWER_PATIENCE + LINGER).contains(&took), "{took:?}");
        assert!(got < 1 << 20, "the length says that it is cut");
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_no_more_still_gets_the_answer() {
    let (mut client, ended) = talk(|_| async {
        sleep(Duration::from_secs(5)).await; // as a history that is being written
        plain(StatusCode::OK, "fine\n")
    });
    let start = Instant::now();
    client.write_all(GET).await.unwrap();
    client.shutdown().await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.ends_with("\r\n\r\nfine\n"), "{answer}");
    ended.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_reader() {
    let (events, body) = mpsc::channel(1);
    let body = std::sync::Mutex::new(Some(body));
    let (mut client, ended) = talk(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async { with_type(StatusCode::OK, "text/event-stream", Body::Events(body)) }
    });
    let start = Instant::now();
    client.write_all(GET).await.unwrap();
    events.send(Bytes::from_static(b"data: 1\n\n")).await.unwrap();
    sleep(PATIENCE * 10).await;
    assert!(!ended.is_finished(), "a stream has no end by itself");
    client.shutdown().await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.contains("data: 1\n\n"), "{answer}");
    ended.await.unwrap();
    assert!(events.is_closed() && start.elapsed() < PATIENCE * 10 + LINGER * 2, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_is_taken_before_the_end_but_not_without_end() {
    let (mut client, ended) = talk(fine);
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    let mut sent = 0;
    while client.write_all(&[b'1'; 1024]).await.is_ok() {
        sent += 1024;
    }
    assert!((LINGER_BYTES..2 * LINGER_BYTES).contains(&sent), "{sent} bytes were taken");
    ended.await.unwrap();
}
