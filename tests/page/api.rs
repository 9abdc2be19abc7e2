//! What stands behind the page: the document and the stream.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::wait::{SOON, wait_until};
use super::support::{Agent, Page, http};

const STREAMS: usize = 8;

fn document(agent: &Agent, query: &str) -> Value {
    let response = agent.get(&format!("/api/v1/history{query}"));
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    serde_json::from_slice(&response.body).expect("JSON")
}

/// A stream, behind its head; and its status.
fn stream(agent: &Agent) -> (u16, BufReader<TcpStream>) {
    let mut client = http::connect(agent.address()).expect("connected");
    client.write_all(b"GET /api/v1/stream HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    let mut lines = BufReader::new(client);
    let mut status = String::new();
    lines.read_line(&mut status).expect("a status");
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        lines.read_line(&mut line).expect("a header");
    }
    (status.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), lines)
}

/// The next event's text.
fn event(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        assert!(stream.read_line(&mut line).expect("an event") > 0, "the stream ended");
    }
    line
}

/// The lengths of the next events, with the frame that HTTP puts around each.
pub(super) fn bytes_of_events(agent: &Agent, number: usize) -> Vec<usize> {
    let (_, mut stream) = stream(agent);
    // "data: ...\n\n", its length in hexadecimal and two line ends.
    (0..number).map(|_| event(&mut stream).len() + 1 + 7).collect()
}

#[test]
fn the_document_and_the_stream_have_the_same_rows() {
    let agent = Agent::start(&["--interval", "200ms", "--host", "algo-1"]);
    agent.wait_for(SOON, "a sample", Page::sum);
    let (status, mut events) = stream(&agent);
    assert_eq!(status, 200);
    let events: Vec<Value> =
        (0..4).map(|_| serde_json::from_str(event(&mut events).trim_start_matches("data: ")).expect("JSON")).collect();
    let document = document(&agent, "");
    assert_eq!((document["host"].as_str(), document["interval"].as_f64()), (Some("algo-1"), Some(0.2)));
    assert_eq!(document["points"], 3600, "fifteen minutes at 200 ms would be more than the bound");
    let times = document["times"].as_array().expect("times");
    let series = document["series"].as_array().expect("series");
    for event in events.iter().filter(|event| event["g"] == document["generation"]) {
        let row = times.iter().position(|time| *time == event["t"]).expect("the row of the event");
        // What came too late for the event is null there.
        let values = event["v"].as_array().expect("values").iter();
        for (series, value) in series.iter().zip(values).filter(|(_, value)| !value.is_null()) {
            assert_eq!(series["values"][row], *value, "{} at {}", series["name"], event["t"]);
        }
    }
    let cpu = series.iter().find(|series| series["name"] == super::CPU).expect("the CPU");
    assert_eq!((cpu["unit"].as_str(), cpu["n"].as_f64()), (Some("percent"), Some(agent.scrape().cores().len() as f64)));
}

#[test]
fn since_cuts_and_gzip_packs() {
    let agent = Agent::start(&["--interval", "100ms"]);
    let rows = |query: &str| document(&agent, query)["times"].as_array().map_or(0, Vec::len);
    wait_until(SOON, "thirty rows", || if rows("") >= 30 { Ok(()) } else { Err(String::new()) });
    let last = rows("?since=1");
    assert!((5..=12).contains(&last), "{last} rows of a second");
    for bad in ["?since=", "?since=-1", "?since=1m", "?since=NaN"] {
        let response = agent.get(&format!("/api/v1/history{bad}"));
        assert_eq!(response.status, 400, "{bad}");
        assert!(response.text().contains("expected a number of seconds"));
    }
    let packed = agent.request("GET", "/api/v1/history", &[("Accept-Encoding", "gzip")]);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut text).expect("gzip");
    assert!(serde_json::from_str::<Value>(&text).expect("JSON")["series"].is_array());
    let page = agent.get("/");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
}

#[test]
fn streams_are_bounded_and_cost_a_scrape_nothing() {
    let mut agent = Agent::start(&["--interval", "100ms"]);
    agent.wait_for(SOON, "a sample", Page::sum);
    let mut streams: Vec<_> = (0..STREAMS).map(|_| stream(&agent)).collect();
    assert!(streams.iter().all(|(status, _)| *status == 200));
    assert_eq!(stream(&agent).0, 503, "one too many");
    // Nobody reads them, and the page is there.
    let start = Instant::now();
    for _ in 0..20 {
        agent.next_tick();
    }
    assert!(start.elapsed() < SOON, "twenty ticks took {:?}", start.elapsed());
    // One that goes away makes room.
    streams.pop();
    streams.push(wait_until(SOON, "a place", || match stream(&agent) {
        (200, stream) => Ok((200, stream)),
        (status, _) => Err(status.to_string()),
    }));
    let (status, took) = agent.stop("TERM");
    assert!(status.success() && took < Duration::from_secs(5), "{status} after {took:?}");
    for (_, stream) in &mut streams {
        // What came before the end, then the end.
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

#[test]
fn a_history_that_is_off_is_not_kept() {
    let agent = Agent::start(&["--history", "off"]);
    for path in ["/api/v1/history", "/api/v1/stream"] {
        let response = agent.get(path);
        assert_eq!(response.status, 404, "{path}");
        assert!(response.text().contains("history = off"));
    }
}
