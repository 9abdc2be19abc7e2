use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Instant, UNIX_EPOCH};

use hostgauge_cloudwatch_double::{Double, Fault, Options};

use super::*;
use crate::datum::{Figures, Resolution};

const NAMESPACE: &str = "hostgauge/test";
const PATIENCE: Duration = Duration::from_secs(20);
/// For what never answers.
const IMPATIENT: Duration = Duration::from_secs(1);

fn key(name: &str) -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new(name, "secret", Some("token".to_owned()), None, "test"))
}

fn client_with(url: &str, patience: Duration, renew: Renew) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-central-1"))
        .endpoint_url(url)
        .http_client(connector::shared(patience, ProxyConfig::disabled()));
    Client::with(config, patience, renew, url.to_owned(), known("test"))
}

fn client(url: &str, patience: Duration) -> Client {
    client_with(url, patience, Box::new(|| key("AKID")))
}

fn datum(value: f64) -> Datum {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    Datum {
        name: "CPUUtilization".to_owned(),
        dimensions: vec![("Host".to_owned(), "job/algo-1".to_owned())],
        start: now - now % 60_000,
        resolution: Resolution::Minute,
        unit: "Percent".into(),
        figures: Figures::Value(value),
        periods: 1,
    }
}

fn put(client: &Client, data: &[Datum]) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(client.put(NAMESPACE, data))
}

fn unavailable(answer: &Answer) -> Option<(bool, &str)> {
    match &answer.verdict {
        Verdict::Unavailable { ambiguous, what, .. } => Some((*ambiguous, what)),
        _ => None,
    }
}

/// Whatever happens, data that are stored are never said to be surely not.
#[test]
fn every_fault_of_the_double() {
    let denied = |answer: &Answer| matches!(&answer.verdict, Verdict::Denied { .. });
    let ambiguous = |answer: &Answer| unavailable(answer).is_some_and(|(ambiguous, _)| ambiguous);
    let unavailable = |answer: &Answer| unavailable(answer).is_some_and(|(ambiguous, _)| !ambiguous);
    let accepted = |answer: &Answer| answer.verdict == Verdict::Accepted;
    type Expected<'a> = &'a dyn Fn(&Answer) -> bool;
    let table: [(Fault, Expected<'_>, Duration); 12] = [
        (Fault::Throttle, &|answer| answer.verdict == Verdict::Throttled { retry_after: None }, PATIENCE),
        (Fault::Internal, &ambiguous, PATIENCE),
        (Fault::Unavailable, &unavailable, PATIENCE),
        (Fault::TooLarge, &|answer| answer.verdict == Verdict::TooLarge, PATIENCE),
        (Fault::ExpiredToken, &denied, PATIENCE),
        (Fault::ResetBeforeBody, &ambiguous, PATIENCE),
        (Fault::ResetAfterStoring, &ambiguous, PATIENCE),
        (Fault::Hang, &ambiguous, IMPATIENT),
        (Fault::HangAfterStoring, &ambiguous, IMPATIENT),
        (Fault::Drip(Duration::from_millis(1)), &accepted, PATIENCE),
        (Fault::Drip(Duration::from_millis(100)), &ambiguous, IMPATIENT),
        (Fault::DateOff(3_600), &accepted, PATIENCE),
    ];
    for (fault, expected, patience) in table {
        let double = Double::start(Options::default()).unwrap();
        let client = client(&double.url(), patience);
        double.script([fault]);
        let start = Instant::now();
        let answer = put(&client, &[datum(1.0)]);
        assert!(expected(&answer), "{fault:?}: {answer:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "{fault:?}: {:?}", start.elapsed());
        let requests = double.requests();
        assert_eq!(requests.len(), 1, "{fault:?}: nothing is tried twice here");
        assert!(!requests[0].stored || accepted(&answer) || ambiguous(&answer), "{fault:?}: {answer:?}");
        if requests[0].raw_bytes > 0 {
            assert_eq!(answer.sent, requests[0].raw_bytes as u64, "{fault:?}");
        }
    }
}

#[test]
fn an_accepted_request_is_stored_and_its_sizes_are_right() {
    let double = Double::start(Options::default()).unwrap();
    let client = client(&double.url(), PATIENCE);
    for data in [1, 200] {
        let data: Vec<_> = (0..data).map(|value| datum(f64::from(value))).collect();
        let answer = put(&client, &data);
        assert_eq!(answer.verdict, Verdict::Accepted);
        let request = double.requests().pop().unwrap();
        assert!(request.stored);
        assert_eq!(answer.sent, request.raw_bytes as u64);
        assert_eq!(answer.uncompressed, request.uncompressed_bytes as u64);
        assert_eq!(answer.sent < answer.uncompressed, data.len() > 100, "{answer:?}");
        let age = SystemTime::now().duration_since(answer.date.unwrap()).unwrap();
        assert!(age < Duration::from_secs(60), "{age:?}");
        // The rehearsal takes the same road.
        let rehearsal = put(&Client::rehearsal(), &data);
        assert_eq!(rehearsal.verdict, Verdict::Accepted);
        assert_eq!(rehearsal.uncompressed, answer.uncompressed);
        // One byte in gzip may differ with the minute that has begun since.
        assert!(rehearsal.sent.abs_diff(answer.sent) < 16, "{rehearsal:?} {answer:?}");
    }
}

#[test]
fn bad_data_are_named() {
    let double = Double::start(Options::default()).unwrap();
    let client = client(&double.url(), PATIENCE);
    let data = [datum(1.0), datum(f64::NAN), datum(2.0), datum(f64::INFINITY)];
    let Verdict::Poisoned { members, code, message } = put(&client, &data).verdict else { panic!("not refused") };
    assert_eq!(members, [1, 3]);
    assert_eq!(code, "InvalidParameterValue");
    assert!(message.contains("MetricData.member.2.Value") && !message.contains('\n'), "{message}");
    let answer = put(&client, &[]);
    assert!(matches!(&answer.verdict, Verdict::Poisoned { members, .. } if members.is_empty()), "{answer:?}");
}

#[test]
fn rejected_credentials_are_looked_for_again() {
    let double = Double::start(Options::default()).unwrap();
    let looked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&looked);
    let renew = move || key(&format!("AKID{}", count.fetch_add(1, Ordering::Relaxed)));
    let client = client_with(&double.url(), PATIENCE, Box::new(renew));
    let signer = |double: &Double| {
        let request = double.requests().pop().unwrap();
        request.header("authorization").unwrap().split_once("AKID").unwrap().1[..1].to_owned()
    };
    double.script([Fault::ExpiredToken, Fault::Throttle]);
    let Verdict::Denied { code, remedy, .. } = put(&client, &[datum(1.0)]).verdict else { panic!("not denied") };
    assert_eq!(code, "ExpiredTokenException");
    assert!(remedy.contains("expired"), "{remedy}");
    assert_eq!(signer(&double), "0");
    // Throttled: kept from here on.
    put(&client, &[datum(1.0)]);
    assert_eq!(signer(&double), "1");
    assert_eq!(put(&client.clone(), &[datum(1.0)]).verdict, Verdict::Accepted);
    assert_eq!(signer(&double), "1");
    assert_eq!(looked.load(Ordering::Relaxed), 2);
}

/// A signature that is refused for its time is no reason to look for other credentials: the SDK follows the Date of
/// the refusal, and forgets it with them.
#[test]
fn a_clock_that_is_off_is_named_and_followed() {
    let hour = Duration::from_secs(3600);
    let double = Double::start(Options { clock: Some(SystemTime::now() - hour), ..Options::default() }).unwrap();
    let client = client(&double.url(), PATIENCE);
    let old = Datum { start: datum(1.0).start - 3_600_000, ..datum(1.0) };
    let answer = put(&client, std::slice::from_ref(&old));
    let Verdict::Denied { code, remedy, .. } = &answer.verdict else { panic!("{answer:?}") };
    assert_eq!(code, "SignatureDoesNotMatch");
    assert!(remedy.contains("ahead of CloudWatch's"), "{remedy}");
    assert_eq!(put(&client, &[old]).verdict, Verdict::Accepted);
}

#[test]
fn credentials_that_cannot_be_had() {
    let double = Double::start(Options::default()).unwrap();
    let failing = |error: fn() -> CredentialsError| {
        let provider = move || async move { Err(error()) };
        let provider = aws_credential_types::credential_fn::provide_credentials_fn(provider);
        let provider = SharedCredentialsProvider::new(provider);
        put(&client_with(&double.url(), PATIENCE, Box::new(move || provider.clone())), &[datum(1.0)])
    };
    let answer = failing(|| CredentialsError::provider_error("the process ended with 1"));
    let Verdict::Denied { code, message, .. } = &answer.verdict else { panic!("{answer:?}") };
    assert_eq!(code, "CredentialsUnavailable");
    assert!(message.contains("the process ended with 1"), "{message}");
    assert_eq!(answer.sent, 0);
    let answer = failing(|| CredentialsError::provider_timed_out(Duration::from_secs(1)));
    assert!(unavailable(&answer).is_some_and(|(ambiguous, _)| !ambiguous), "{answer:?}");
    let answer = failing(|| CredentialsError::provider_error(ConnectorError::io("unreachable".into())));
    assert!(unavailable(&answer).is_some_and(|(ambiguous, _)| !ambiguous), "{answer:?}");
    assert_eq!(double.requests().len(), 0);
}

/// A server that reads a request (or does not), says this, and closes.
fn raw(reads: bool, says: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        if reads {
            let mut got = Vec::new();
            let mut part = [0; 4096];
            // The body of one datum ends the map with 0xff 0xff.
            while !got.ends_with(&[0xff, 0xff]) {
                let read = stream.read(&mut part).unwrap();
                assert!(read > 0, "half a request");
                got.extend_from_slice(&part[..read]);
            }
        }
        stream.write_all(says.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    url
}

fn response(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn what_others_answer() {
    let page = "<html>Please log in</html>";
    let cbor = "smithy-protocol: rpc-v2-cbor\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT";
    let accepted = None;
    let (sure, unsure) = (Some(false), Some(true));
    let table = [
        ("accepts and closes at once", false, String::new(), unsure, ""),
        ("closes instead of an answer", true, String::new(), unsure, ""),
        ("half a head", true, "HTTP/1.1 200 OK\r\nsmithy-pro".into(), unsure, ""),
        ("half a body", true, format!("HTTP/1.1 200 OK\r\n{cbor}\r\ncontent-length: 9\r\n\r\nab"), accepted, ""),
        (
            "half a page",
            true,
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 9\r\n\r\n<".into(),
            sure,
            "",
        ),
        ("half an error", true, "HTTP/1.1 500 Oh\r\ncontent-length: 9\r\n\r\n<".into(), unsure, ""),
        ("not HTTP", true, "SSH-2.0-OpenSSH\r\n".into(), unsure, ""),
        ("captive portal", true, response("200 OK\r\ncontent-type: text/html", page), sure, "captive portal"),
        ("success of another", true, response("200 OK\r\ncontent-type: application/json", "{}"), unsure, ""),
        ("success of none", true, response("204 No Content", ""), unsure, ""),
        ("redirect", true, response("302 Found\r\nlocation: http://127.0.0.1:1/", page), sure, "redirect"),
        ("proxy wants a password", true, response("407 Proxy Authentication Required", page), sure, "HTTPS_PROXY"),
        ("nobody's path", true, response("404 Not Found", page), sure, "endpoint"),
        ("a gateway's 403", true, response("403 Forbidden", page), sure, "gateway"),
        ("a gateway's 400", true, response("400 Bad Request", page), sure, "gateway"),
        ("a gateway's 408", true, response("408 Request Timeout", page), sure, "gateway"),
        ("502", true, response("502 Bad Gateway", page), unsure, ""),
        ("503", true, response("503 Service Unavailable\r\nretry-after: 7", page), sure, ""),
        ("504", true, response("504 Gateway Timeout", page), unsure, ""),
    ];
    for (name, reads, says, expected, hint) in table {
        let start = Instant::now();
        let answer = put(&client(&raw(reads, says), PATIENCE), &[datum(1.0)]);
        assert_eq!(unavailable(&answer).map(|(ambiguous, _)| ambiguous), expected, "{name}: {answer:?}");
        assert_eq!(answer.verdict == Verdict::Accepted, expected == accepted, "{name}: {answer:?}");
        if let Some((_, what)) = unavailable(&answer) {
            assert!(what.contains(hint) && !what.is_empty() && !what.contains('\n'), "{name}: {what}");
        }
        if let Verdict::Unavailable { retry_after, .. } = answer.verdict {
            assert_eq!(retry_after, (name == "503").then_some(Duration::from_secs(7)), "{name}");
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{name}");
    }
}

/// Servers close idle connections; that must cost neither the data nor a doubt about them.
#[test]
fn a_connection_that_was_closed_while_idle() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (closed, wait) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut got = Vec::new();
            while !got.ends_with(&[0xff, 0xff]) {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).unwrap();
                got.extend_from_slice(&part[..read]);
            }
            stream.write_all(response("200 OK\r\nsmithy-protocol: rpc-v2-cbor", "").as_bytes()).unwrap();
            drop(stream);
            closed.send(()).unwrap();
        }
    });
    let client = client(&url, PATIENCE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..3 {
        let answer = runtime.block_on(client.put(NAMESPACE, &[datum(1.0)]));
        assert_eq!(answer.verdict, Verdict::Accepted);
        wait.recv_timeout(PATIENCE).unwrap();
    }
}

#[test]
fn throttled_with_a_time_to_wait() {
    let url = raw(true, response("429 Too Many Requests\r\nretry-after: 30", ""));
    let expected = Verdict::Throttled { retry_after: Some(Duration::from_secs(30)) };
    assert_eq!(put(&client(&url, PATIENCE), &[datum(1.0)]).verdict, expected);
}

#[test]
fn the_clock_of_a_captive_portal_is_not_the_services() {
    let date = "date: Thu, 01 Jan 2099 00:00:00 GMT";
    for status in ["200 OK", "302 Found", "403 Forbidden", "503 Service Unavailable"] {
        let portal = response(&format!("{status}\r\ncontent-type: text/html\r\n{date}"), "<html>");
        assert_eq!(put(&client(&raw(true, portal), PATIENCE), &[datum(1.0)]).date, None, "{status}");
        let service = response(&format!("{status}\r\nx-amzn-requestid: 1\r\n{date}"), "");
        assert!(put(&client(&raw(true, service), PATIENCE), &[datum(1.0)]).date.is_some(), "{status}");
    }
}

#[test]
fn without_a_connection_nothing_is_ambiguous() {
    let not_tls = raw(false, "HTTP/1.1 400 this is not TLS\r\n\r\n".into()).replace("http:", "https:");
    // It accepts (the kernel does), and says nothing: the handshake counts as connecting.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_tls = format!("https://{}", silent.local_addr().unwrap());
    let table = [
        ("refused", "http://127.0.0.1:1".to_owned(), PATIENCE),
        ("no such name", "http://hostgauge.invalid".to_owned(), PATIENCE),
        ("not TLS", not_tls, PATIENCE),
        ("silent TLS", silent_tls, IMPATIENT),
    ];
    for (name, url, patience) in table {
        // The time to connect is shorter than the attempt's, as it is outside of tests.
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-central-1"))
            .endpoint_url(&url)
            .http_client(connector::shared(patience, ProxyConfig::disabled()));
        let client = Client::with(config, PATIENCE, Box::new(|| key("AKID")), url, known("test"));
        let start = Instant::now();
        let answer = put(&client, &[datum(1.0)]);
        let (ambiguous, what) = unavailable(&answer).unwrap_or_else(|| panic!("{name}: {answer:?}"));
        assert!(!ambiguous, "{name}: {what}");
        assert!(start.elapsed() < Duration::from_secs(5), "{name}: {:?}", start.elapsed());
        assert_eq!(answer.date, None);
    }
}
