//! The listener of the real binary against a network that means it ill: whatever comes, good scrapes go on, memory is
//! bounded, samples come in time, and every request that is one gets an honest answer.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use support::agent::{BINARY, clean};
use support::attacks::{ATTACKS, GARBAGE};
use support::wait::{SOON, wait_until};
use support::{Agent, Page, http, kernel, scrapes};

/// What all clients together may cost, whatever they do: places times the longest head, and what they are answered.
const MEMORY: f64 = 2e6;
/// What half of the scrapes, and what all of them stay below. It is far above what they take, since the machine does
/// other things meanwhile (a connection that the kernel lost costs a second by itself), and half of what Prometheus
/// waits.
const USUAL: Duration = Duration::from_secs(1);
const SLOW: Duration = Duration::from_secs(5);

/// Clients at a time.
const PLACES: usize = 64;

const PATHS: [&str; 7] = ["/", "/metrics", "/-/healthy", "/-/ready", "/api/v1/history", "/api/v1/stream", "/nowhere"];

/// An agent that has samples, and whose memory is what it will be.
fn ready(more: &[&str]) -> Agent {
    let agent = Agent::start(more);
    warm(&agent);
    agent
}

fn warm(agent: &Agent) {
    agent.wait_for(SOON, "a sample", Page::sum);
    assert_eq!(agent.get("/api/v1/history").status, 200);
    let scrapes = scrapes::each_anew(agent.address(), 50);
    assert!(scrapes.failures.is_empty(), "{:?}", scrapes.failures);
}

/// Ticks that did not come, or not in time, since the start.
fn disturbances(page: &Page) -> f64 {
    ["late", "stall"].iter().map(|kind| page.value("hostgauge_disturbances_total", &[("kind", kind)])).sum()
}

/// The most that a process had while something was done.
fn peak<T>(pid: u32, work: impl FnOnce() -> T) -> (f64, T) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most: f64 = 0.0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(kernel::anonymous_pages(pid));
                sleep(Duration::from_millis(20));
            }
            most
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (watch.join().expect("no panic"), result)
    })
}

/// Scrapes beside an attack. With `spared` a connection that is kept must not be given up for the attacker's.
fn good_scrapes_go_on(attack: &str, spared: bool) {
    let attack = ATTACKS.iter().find(|known| known.name == attack).expect("a known attack");
    let mut agent = ready(&[]);
    let address = agent.address();
    let (idle, before) = (kernel::anonymous_pages(agent.pid()), disturbances(&agent.scrape()));
    let (peak, (anew, kept)) = peak(agent.pid(), || {
        let running = attack.start(address);
        sleep(Duration::from_millis(500));
        let scrapes = (scrapes::each_anew(address, 200), scrapes::kept_alive(address, 200));
        drop(running);
        scrapes
    });
    for scrapes in [&anew, &kept] {
        assert!(scrapes.failures.is_empty(), "{} failed: {:?}", scrapes.failures.len(), scrapes.failures);
        let (half, slowest) = (scrapes.at(0.5), scrapes.at(1.0));
        assert!(half < USUAL && slowest < SLOW, "half in {half:?}, the slowest in {slowest:?}");
    }
    assert!(!spared || kept.reconnected == 0, "reconnected {} times", kept.reconnected);
    assert!(peak - idle < MEMORY, "{} bytes more than the {idle} before", peak - idle);
    let page = agent.next_tick();
    assert!(page.sum().is_some(), "it samples no longer");
    assert_eq!(disturbances(&page), before, "ticks were missed");
    agent.stop("TERM");
    assert!(!agent.log().contains("panicked"), "{}", agent.log());
}

macro_rules! beside {
    ($($test:ident: $attack:literal, $spared:literal;)*) => {
        $(#[test] fn $test() { good_scrapes_go_on($attack, $spared); })*
    };
}

beside! {
    beside_slow_heads: "slow heads", true;
    beside_a_thousand_idle_connections: "idle connections", true;
    beside_many_that_asked_once: "idle after a request", false;
    beside_slow_readers: "slow readers", true;
    beside_slow_readers_of_the_history: "slow readers of the history", true;
    beside_streams_left_open: "streams left open", false;
    beside_huge_heads: "huge heads", true;
    beside_endless_bodies: "endless bodies", true;
    beside_pipelines: "pipelines", true;
    beside_connections_that_come_and_go: "connections that come and go", true;
    beside_whole_requests: "whole requests, each anew", false;
    beside_resets: "resets", false;
    beside_garbage: "garbage", true;
}

/// What comes back for these bytes until the connection ends, which it does soon.
fn exchange(agent: &Agent, bytes: &[u8]) -> String {
    let mut client = http::connect(agent.address()).expect("connected");
    client.write_all(bytes).expect("sent");
    answer_of(&mut client)
}

fn answer_of(client: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match client.read_to_end(&mut answer) {
        Ok(_) => (),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "after {answer:?}"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status, of an answer that is whole.
fn status(answer: &str) -> Option<u16> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    assert_eq!(length.map(str::parse), Some(Ok(body.len())), "{answer}");
    head.split(' ').nth(1)?.parse().ok()
}

#[test]
fn every_request_gets_the_answer_that_the_rfc_has_for_it() {
    let agent = ready(&[]);
    let get = |target: &str, more: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{more}\r\n");
    let many = |number: usize| (0..number).map(|n| format!("X{n}: a\r\n")).collect::<String>();
    for (request, expected) in [
        (get("/metrics", ""), 200),
        (get("/metrics", &many(90)), 200),
        (get("/metrics", &many(200)), 431),
        (get("/metrics", &format!("X: {}\r\n", "a".repeat(15_000))), 200),
        (get("/metrics", &format!("X: {}\r\n", "a".repeat(70_000))), 431),
        (get("/metrics", &many(4000)), 431),
        (get(&format!("/{}", "a".repeat(15_000)), ""), 404),
        (get(&format!("/{}", "a".repeat(70_000)), ""), 431),
        (get("/%2e%2e/etc/passwd", ""), 404),
        (get("/../../etc/passwd", ""), 404),
        (get("/metrics%00", ""), 404),
        (get("//metrics", ""), 404),
        (get("/api/v1/history?since=%ff", ""), 400),
        // Ways to name the target (RFC 9112, 3.2): whole, as for a proxy, and of no thing in particular.
        (get("http://localhost/metrics", ""), 200),
        (get("localhost:80", ""), 400),
        ("CONNECT localhost:80 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".into(), 405),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".into(), 405),
        (get("metrics", ""), 400),
        // Where a message ends must not be a matter of taste (RFC 9112, 6.3).
        (get("/metrics", "Content-Length: 1\r\nContent-Length: 2\r\n"), 400),
        (get("/metrics", "Content-Length: 1, 2\r\n"), 400),
        (get("/metrics", "Content-Length: -1\r\n"), 400),
        (get("/metrics", "Content-Length: 18446744073709551616\r\n"), 400),
        (get("/metrics", "Transfer-Encoding: gzip\r\n"), 400),
        (get("/metrics", "Transfer-Encoding: chunked, gzip\r\n"), 400),
        ("GET /metrics HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(), 400),
        ("GET /metrics HTTP/1.0\r\n\r\n".into(), 200),
        ("\r\n\r\nGET /metrics HTTP/1.0\r\n\r\n".into(), 200),
        // Nobody, and twice.
        ("GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n".into(), 400),
        (get("/metrics", "Host: b\r\n"), 400),
    ] {
        let answer = exchange(&agent, request.as_bytes());
        let begin = &request[..request.len().min(90)];
        // The lines of HTTP/1.0 are answered in kind; http::parse knows 1.1 only.
        assert_eq!(status(&answer), Some(expected), "{begin:?}: {answer}");
    }
    // Bytes that are no text, in a target: either answer is honest.
    let odd = exchange(&agent, b"GET /metrics?\xff\xfe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(matches!(status(&odd), Some(200 | 400)), "{odd}");
}

#[test]
fn garbage_is_refused_or_hung_up_on() {
    let agent = ready(&[]);
    for bytes in GARBAGE {
        let mut client = http::connect(agent.address()).expect("connected");
        client.write_all(bytes).and_then(|()| client.shutdown(Shutdown::Write)).expect("sent");
        let answer = answer_of(&mut client);
        let said = if answer.is_empty() { None } else { status(&answer) };
        assert!(matches!(said, None | Some(400)), "{}: {answer}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn two_ways_to_tell_a_length_are_never_two_requests() {
    let agent = ready(&[]);
    for body in ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"] {
        // Who believes the length sees one more request behind it, who believes the chunks another one.
        let request = format!(
            "POST /metrics HTTP/1.1\r\nHost: a\r\n{body}\r\n\r\n0\r\n\r\nGET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let answer = exchange(&agent, request.as_bytes());
        assert_eq!(status(&answer), Some(405), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}

#[test]
fn no_path_takes_any_other_method() {
    let agent = ready(&[]);
    for path in PATHS {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nX-Secret: b\r\nConnection: close\r\n\r\n");
            let answer = exchange(&agent, request.as_bytes());
            // CONNECT has no path to begin with.
            let expected = if method == "CONNECT" { &[400, 405][..] } else { &[405] };
            assert!(status(&answer).is_some_and(|code| expected.contains(&code)), "{method} {path}: {answer}");
            assert!(answer.contains("400") || answer.contains("allow: GET, HEAD\r\n"), "{answer}");
            assert!(!answer.contains("X-Secret"), "TRACE: {answer}");
        }
        let head = format!("HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = exchange(&agent, head.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(body.is_empty() && head.starts_with("HTTP/1.1 "), "{answer}");
    }
    // A HEAD of the stream holds none of its places.
    for _ in 0..20 {
        assert_eq!(agent.request("HEAD", "/api/v1/stream", &[]).status, 200);
    }
}

#[test]
fn an_upgrade_is_not_taken_up() {
    let agent = ready(&[]);
    for upgrade in ["websocket", "h2c", "TLS/1.2"] {
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: {upgrade}\r\n\r\n");
        assert_eq!(status(&exchange(&agent, request.as_bytes())), Some(200), "{upgrade}");
    }
}

#[test]
fn a_body_that_nobody_reads_costs_nobody_the_answer() {
    let agent = ready(&[]);
    // All of it is sent before the first look at the answer.
    for (head, body) in [
        ("Content-Length: 200000", vec![b'a'; 200_000]),
        ("Transfer-Encoding: chunked", [&b"10000\r\n"[..], &[b'a'; 0x10000], b"\r\n0\r\n\r\n"].concat()),
    ] {
        let mut client = http::connect(agent.address()).expect("connected");
        write!(client, "POST /metrics HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n").expect("sent");
        client.write_all(&body).expect("sent");
        client.shutdown(Shutdown::Write).expect("sent");
        assert_eq!(status(&answer_of(&mut client)), Some(405), "{head}");
    }
    // A promise of more than will ever come, which a 100 would invite.
    for promise in ["Content-Length: 9000000000000", "Transfer-Encoding: chunked"] {
        for method in ["GET", "POST"] {
            let start = Instant::now();
            let request = format!("{method} /metrics HTTP/1.1\r\nHost: a\r\n{promise}\r\nExpect: 100-continue\r\n\r\n");
            let answer = exchange(&agent, request.as_bytes());
            assert_eq!(status(&answer), Some(if method == "GET" { 200 } else { 405 }), "{answer}");
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        }
    }
}

#[test]
fn thousands_in_a_pipeline_are_all_answered() {
    const NUMBER: usize = 5000;
    let agent = ready(&[]);
    let mut client = http::connect(agent.address()).expect("connected");
    let mut reader = client.try_clone().expect("a second handle");
    let answers = thread::spawn(move || answer_of(&mut reader));
    for number in 0..NUMBER {
        let path = if number % 2 == 0 { "/-/healthy" } else { "/nowhere" };
        let last = if number + 1 == NUMBER { "Connection: close\r\n" } else { "" };
        write!(client, "GET {path} HTTP/1.1\r\nHost: a\r\n{last}\r\n").expect("sent");
    }
    let answers = answers.join().expect("no panic");
    let codes: Vec<_> = answers.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)).collect();
    assert_eq!(codes, ["200", "404"].repeat(NUMBER / 2));
}

#[test]
fn who_shuts_its_own_side_down_still_gets_every_answer() {
    let agent = ready(&[]);
    for path in ["/metrics", "/api/v1/history", "/"] {
        for number in [1, 3] {
            let mut client = http::connect(agent.address()).expect("connected");
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(number);
            client.write_all(request.as_bytes()).and_then(|()| client.shutdown(Shutdown::Write)).expect("sent");
            let start = Instant::now();
            let answers = answer_of(&mut client);
            let (first, _) = answers.split_once("HTTP/1.1 200 OK").map_or(("?", ""), |(before, rest)| (before, rest));
            assert_eq!((first, answers.matches("HTTP/1.1 200 OK\r\n").count()), ("", number), "{path}");
            if number == 1 {
                assert_eq!(status(&answers), Some(200), "{path}");
            }
            assert!(start.elapsed() < Duration::from_secs(5), "the connection stayed for {:?}", start.elapsed());
        }
    }
    // The other side: nothing more is read, and the answers before are no worse for it.
    let client = http::connect(agent.address()).expect("connected");
    client.shutdown(Shutdown::Read).expect("shut down");
    assert_eq!(agent.get("/metrics").status, 200);
}

#[test]
fn a_browser_that_was_given_our_address_for_another_name_reads_nothing() {
    let agent = ready(&[]);
    for path in PATHS {
        for host in ["evil.example", "evil.example:9871", "127.0.0.1.evil.example"] {
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: close\r\n\r\n");
            let answer = exchange(&agent, request.as_bytes());
            assert_eq!(status(&answer), Some(421), "{path} {host}");
            assert!(!answer.contains("hostgauge_") && answer.contains("DNS rebinding"), "{answer}");
        }
        // And no other origin is ever let in.
        let response = http::request(agent.address(), "HEAD", path, &[("Origin", "http://evil.example")]);
        let response = response.expect("an answer");
        let headers = response.lasting_headers();
        assert!(headers.iter().all(|(name, _)| !name.starts_with("access-control-")), "{headers:?}");
    }
    for host in ["localhost", "[::1]:1", "127.0.0.1", "algo-1:9871"] {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&exchange(&agent, request.as_bytes())), Some(200), "{host}");
    }
}

/// Descriptors that a process has open.
fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process").count()
}

#[test]
fn without_descriptors_it_samples_and_answers_as_before() {
    const LIMIT: usize = 40;
    let limited = format!("ulimit -n {LIMIT}; exec \"$@\"");
    let agent = Agent::spawn(clean("sh", &["-c", &limited, "sh", BINARY, "--prometheus-listen", "127.0.0.1:0"]));
    warm(&agent);
    let before = disturbances(&agent.scrape());
    let idle: Vec<_> = (0..200).map(|_| http::connect(agent.address()).expect("connected")).collect();
    agent.wait_for_log("cannot accept a connection");
    let scrapes = scrapes::each_anew(agent.address(), 200);
    assert!(scrapes.failures.is_empty(), "{:?}", scrapes.failures);
    assert!(scrapes.at(1.0) < SLOW, "the slowest took {:?}", scrapes.at(1.0));
    // What the collectors hold, and what they open anew, is not in question.
    assert!(descriptors(agent.pid()) < LIMIT, "not one is left");
    let cpu = |page: &Page| page.value("hostgauge_process_cpu_seconds_total", &[]);
    let page = agent.next_tick();
    let start = Instant::now();
    (0..2).for_each(|_| drop(agent.next_tick()));
    let later = agent.next_tick();
    for page in [&page, &later] {
        assert!(page.sum().is_some() && page.all("hostgauge_collector_success").all(|series| series.value == 1.0));
    }
    let busy = (cpu(&later) - cpu(&page)) / start.elapsed().as_secs_f64();
    assert!(busy < 0.5, "{busy} of a core, with nothing to do but a look at the page now and then");
    assert_eq!(disturbances(&later), before);
    drop(idle);
    let scrapes = scrapes::each_anew(agent.address(), 20);
    assert!(scrapes.failures.is_empty() && scrapes.at(1.0) < SLOW, "{scrapes:?}");
    assert_eq!(agent.log().matches("cannot accept").count(), 1, "said once: {}", agent.log());
}

/// Whether a connection that is kept gets one more answer.
fn asks_once_more(client: &mut TcpStream) -> bool {
    let mut answer = [0; 4096];
    let asked = client.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n");
    let length = asked.and_then(|()| client.read(&mut answer)).unwrap_or(0);
    answer[..length].starts_with(b"HTTP/1.1 200 ")
}

#[test]
fn a_connection_that_is_kept_outlives_floods_of_newcomers() {
    let agent = ready(&[]);
    let mut kept = http::connect(agent.address()).expect("connected");
    assert!(asks_once_more(&mut kept));
    // Those who stay and say nothing, and those who leave at once.
    let idle: Vec<_> = (0..5 * PLACES).map(|_| http::connect(agent.address()).expect("connected")).collect();
    (0..20 * PLACES).for_each(|_| drop(http::connect(agent.address()).expect("connected")));
    agent.scrape();
    assert!(asks_once_more(&mut kept), "it had to go for newcomers");
    drop(idle);
}

#[test]
fn open_pages_take_no_places_from_scrapes() {
    let agent = ready(&["--interval", "100ms"]);
    let stream = || {
        let mut client = http::connect(agent.address()).expect("connected");
        client.write_all(b"GET /api/v1/stream HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        let mut head = [0; 12];
        client.read_exact(&mut head).expect("a status");
        assert_eq!(&head, b"HTTP/1.1 200", "a stream");
        client
    };
    let mut streams: Vec<_> = (0..8).map(|_| stream()).collect();
    // As many others as there are places for, each twice; then more newcomers than that. None of them ends a stream.
    let mut others: Vec<_> = (0..PLACES).map(|_| http::connect(agent.address()).expect("connected")).collect();
    for _ in 0..2 {
        others.iter_mut().for_each(|client| assert!(asks_once_more(client), "there was no place beside the streams"));
    }
    let idle: Vec<_> = (0..200).map(|_| http::connect(agent.address()).expect("connected")).collect();
    assert!(scrapes::kept_alive(agent.address(), 100).failures.is_empty());
    for stream in &mut streams {
        let (mut event, mut part) = (String::new(), [0; 4096]);
        while !event.contains("data: ") {
            let length = stream.read(&mut part).expect("an event");
            assert!(length > 0, "the stream was ended");
            event += &String::from_utf8_lossy(&part[..length]);
        }
    }
    drop((idle, others));
    drop(streams);
    wait_until(SOON, "all the places", || match agent.request("HEAD", "/api/v1/stream", &[]).status {
        200 => Ok(()),
        other => Err(other.to_string()),
    });
    (0..8).for_each(|_| drop(stream()));
}

#[test]
fn who_is_slow_is_let_go_after_the_stated_time() {
    const STATED: Duration = Duration::from_secs(40);
    let agent = ready(&[]);
    let get = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    let begin = |bytes: &str| {
        let mut client = http::connect(agent.address()).expect("connected");
        client.write_all(bytes.as_bytes()).expect("sent");
        client.set_read_timeout(Some(STATED * 2)).expect("set");
        (Instant::now(), client)
    };
    let (half, silent, between) = (begin("GET /metrics HTTP/1.1\r\nX: "), begin(""), begin(get));
    let ended = |(start, mut client): (Instant, TcpStream)| {
        let answer = answer_of(&mut client);
        (start.elapsed(), answer)
    };
    thread::scope(|scope| {
        let [half, silent, between] = [half, silent, between].map(|client| scope.spawn(move || ended(client)));
        for (waiting, expected) in [(half, "HTTP/1.1 408 "), (silent, ""), (between, "HTTP/1.1 200 ")] {
            let (took, answer) = waiting.join().expect("no panic");
            assert!(answer.starts_with(expected) && (expected.is_empty() == answer.is_empty()), "{answer}");
            assert!((STATED..STATED + Duration::from_secs(10)).contains(&took), "{expected} after {took:?}");
        }
    });
}
