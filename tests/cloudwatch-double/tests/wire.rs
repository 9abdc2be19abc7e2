//! What no SDK sends: the double must not take it for good.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, UNIX_EPOCH};

use hostgauge_cloudwatch_double::{Double, Options};

const PATH: &str = "/service/GraniteServiceVersion20100801/operation/PutMetricData";
/// {"Namespace": "n", "MetricData": [{"MetricName": "m", "Value": 1}]}
const BODY: &[u8] = b"\xa2\x69Namespace\x61n\x6aMetricData\x81\xa2\x6aMetricName\x61m\x65Value\x01";
/// 2026-11-22T17:15:00Z
const NOW: Duration = Duration::from_secs(1_795_367_700);

struct Call {
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// What the SDK would send.
fn call() -> Call {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=K/20261122/r/monitoring/aws4_request, SignedHeaders=host;x-amz-date, Signature={}",
        "0".repeat(64)
    );
    let headers = vec![
        ("host", "localhost".to_owned()),
        ("content-type", "application/cbor".to_owned()),
        ("smithy-protocol", "rpc-v2-cbor".to_owned()),
        ("x-amz-date", "20261122T171500Z".to_owned()),
        ("authorization", authorization),
    ];
    Call { path: PATH, headers, body: BODY.to_vec() }
}

impl Call {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    /// The authorization with one part of it replaced.
    fn signed(self, from: &str, to: &str) -> Self {
        let signed = self.headers.iter().find(|(name, _)| *name == "authorization").unwrap().1.replace(from, to);
        self.with("authorization", signed)
    }

    fn send(self, double: &Double) -> String {
        let mut request = format!("POST {} HTTP/1.1\r\nconnection: close\r\n", self.path);
        for (name, value) in &self.headers {
            request += &format!("{name}: {value}\r\n");
        }
        let mut bytes = format!("{request}content-length: {}\r\n\r\n", self.body.len()).into_bytes();
        bytes.extend(self.body);
        answer(double, &bytes)
    }
}

/// Sends bytes as they are, and nothing more; what comes back, with U+FFFD for what is not text.
fn answer(double: &Double, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(double.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn start() -> Double {
    Double::start(Options { clock: Some(UNIX_EPOCH + NOW), ..Options::default() }).unwrap()
}

#[test]
fn what_the_sdk_would_send_is_taken() {
    let double = start();
    let answer = call().send(&double);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\ndate: Sun, 22 Nov 2026 17:15:00 GMT\r\n"), "{answer}");
    assert!(double.requests()[0].stored);
    assert_eq!(double.series().len(), 1);
}

#[test]
fn another_protocol_or_operation_is_refused() {
    let double = start();
    let json = call().with("content-type", "application/x-amz-json-1.0");
    for (call, status, words) in [
        (Call { path: "/", ..call() }, 404, "UnknownOperationException"),
        (json, 400, "the header content-type must be application/cbor"),
        (call().without("smithy-protocol"), 400, "the header smithy-protocol must be rpc-v2-cbor"),
        (call().with("content-encoding", "br"), 400, "content-encoding br"),
        (call().with("content-encoding", "gzip"), 400, "SerializationException"),
        (Call { body: [BODY, b"\0"].concat(), ..call() }, 400, "trailing bytes"),
        (Call { body: BODY[..BODY.len() - 1].to_vec(), ..call() }, 400, "SerializationException"),
    ] {
        let answer = call.send(&double);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(words), "{answer}");
        assert!(!answer.contains("x-amzn-query-error"), "{answer}");
    }
    assert_eq!(double.series(), []);
}

#[test]
fn nothing_may_follow_the_compressed_body() {
    let double = start();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(BODY).unwrap();
    let packed = encoder.finish().unwrap();
    let send = |body: Vec<u8>| Call { body, ..call() }.with("content-encoding", "gzip").send(&double);
    assert!(send(packed.clone()).starts_with("HTTP/1.1 200 "));
    assert!(send([&packed[..], b"x"].concat()).contains("bytes after the gzip stream"));
    assert!(send(packed[..packed.len() - 1].to_vec()).starts_with("HTTP/1.1 400 "));
}

#[test]
fn the_query_code_comes_to_who_asks_for_it() {
    let double = start();
    let answer = Call { body: b"\xa0".to_vec(), ..call() }.with("x-amzn-query-mode", "true").send(&double);
    assert!(answer.contains("\r\nx-amzn-query-error: MissingParameter;Sender\r\n"), "{answer}");
    assert!(answer.contains("__typex:com.amazonaws.cloudwatch#MissingRequiredParameterException"), "{answer}");
}

#[test]
fn a_signature_must_be_there_for_this_service_and_fresh() {
    let double = start();
    for (call, status, words) in [
        (call().without("authorization"), 403, "Missing Authentication Token"),
        (call().with("authorization", "Basic x"), 400, "must begin with AWS4-HMAC-SHA256"),
        (call().signed("Signature=0", "Signature="), 400, "64 hexadecimal digits"),
        (call().signed("SignedHeaders=host;x-amz-date,", ""), 400, "requires 'SignedHeaders' parameter."),
        (call().signed("host;", ""), 403, "must be signed headers"),
        (call().signed("/monitoring/", "/logs/"), 403, "scoped to correct service: 'monitoring'."),
        (call().signed("aws4_request", "aws4"), 403, "valid terminator"),
        (call().signed("20261122", "20261121"), 403, "Date in Credential scope does not match"),
        (call().without("x-amz-date"), 400, "'X-Amz-Date'"),
        (call().with("x-amz-date", "20261122"), 400, "'basic format'"),
        (call().with("x-amz-date", "20261122T170959Z"), 403, "20261122T171000Z (20261122T171500Z - 5 min.)"),
        (call().with("x-amz-date", "20261122T172001Z"), 403, "20261122T172000Z (20261122T171500Z + 5 min.)"),
    ] {
        let answer = call.send(&double);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(words), "{words}: {answer}");
    }
    assert_eq!(double.series(), []);
    for date in ["20261122T171000Z", "20261122T172000Z"] {
        let answer = call().with("x-amz-date", date).send(&double);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn a_client_with_another_clock_can_be_let_in() {
    let clock = Some(UNIX_EPOCH + NOW + Duration::from_secs(86_400));
    let double = Double::start(Options { clock, signature_age: None, ..Options::default() }).unwrap();
    assert!(call().send(&double).starts_with("HTTP/1.1 200 "));
}

#[test]
fn half_a_request_leaves_nothing_behind() {
    let double = start();
    let whole = format!("POST {PATH} HTTP/1.1\r\ncontent-length: 10\r\n\r\n12345");
    for cut in [4, 30, whole.len() - 5, whole.len()] {
        answer(&double, &whole.as_bytes()[..cut]);
    }
    for words in ["chunked", "content-length: 99999999999"] {
        let header = if words == "chunked" { "transfer-encoding: chunked" } else { words };
        let refused = answer(&double, format!("POST {PATH} HTTP/1.1\r\n{header}\r\n\r\n").as_bytes());
        assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    }
    assert!(double.requests().is_empty());
}

#[test]
fn it_listens_on_loopback_only() {
    let options = Options { listen: ([0, 0, 0, 0], 0).into(), ..Options::default() };
    assert!(Double::start(options).is_err());
}

#[test]
fn waiting_for_a_request_ends_with_it_or_with_patience() {
    let double = start();
    assert!(double.requests_after(0, Duration::from_millis(10)).is_empty());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| double.requests_after(0, Duration::from_secs(10)));
        call().send(&double);
        assert_eq!(waiting.join().unwrap().len(), 1);
    });
}
