//! What a hostile network does to a server, until it is told to stop. Needs nothing but the standard library, so that
//! the benchmark can use it, too.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
/// Between two connections of a flood: two thousand a second at most, so that the good client has a core, too.
const BREATH: Duration = Duration::from_micros(500);
const GET: &str = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";

/// A kind of hostility.
pub(crate) struct Attack {
    pub name: &'static str,
    run: fn(SocketAddr, &AtomicBool),
}

/// One that goes on until dropped.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Attack {
    pub(crate) fn start(&self, address: SocketAddr) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let (run, seen) = (self.run, Arc::clone(&stop));
        Running { stop, thread: Some(thread::spawn(move || run(address, &seen))) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) const ATTACKS: [Attack; 13] = [
    Attack {
        name: "slow heads",
        run: |address, stop| {
            let second = Duration::from_secs(1);
            hold(address, stop, 300, "GET /metrics HTTP/1.1\r\nX: ", second, |client| client.write(b"x").map(drop));
        },
    },
    Attack {
        name: "idle connections",
        run: |address, stop| hold(address, stop, 1000, "", Duration::from_millis(100), |client| read(client, 1)),
    },
    Attack {
        name: "idle after a request",
        run: |address, stop| hold(address, stop, 300, GET, Duration::from_millis(100), |client| read(client, 1 << 16)),
    },
    Attack {
        name: "slow readers",
        run: |address, stop| {
            let pipeline = GET.repeat(100);
            hold(address, stop, 100, &pipeline, Duration::from_millis(100), |client| read(client, 1));
        },
    },
    Attack {
        name: "slow readers of the history",
        run: |address, stop| {
            let get = "GET /api/v1/history HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20);
            hold(address, stop, 40, &get, Duration::from_millis(100), |client| read(client, 1));
        },
    },
    Attack {
        name: "streams left open",
        run: |address, stop| {
            let get = "GET /api/v1/stream HTTP/1.1\r\nHost: a\r\n\r\n";
            hold(address, stop, 100, get, Duration::from_millis(100), |_| Ok(()));
        },
    },
    Attack {
        name: "huge heads",
        run: |address, stop| {
            let more = format!("X: {}\r\n", "a".repeat(1000)).repeat(64);
            let start = "GET /metrics HTTP/1.1\r\n";
            hold(address, stop, 30, start, Duration::from_millis(10), |client| client.write(more.as_bytes()).map(drop));
        },
    },
    Attack {
        name: "endless bodies",
        run: |address, stop| {
            let chunk = format!("1000\r\n{}\r\n", "a".repeat(0x1000));
            let start = "POST /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            hold(address, stop, 30, start, Duration::from_millis(10), |client| client.write_all(chunk.as_bytes()));
        },
    },
    Attack {
        name: "pipelines",
        run: |address, stop| {
            let pipeline = GET.repeat(1000);
            hold(address, stop, 4, &pipeline, Duration::from_millis(10), |client| read(client, 1 << 20));
        },
    },
    Attack {
        name: "connections that come and go",
        run: |address, stop| {
            while !stop.load(Ordering::Relaxed) && open(address, "").is_ok() {
                sleep(BREATH);
            }
        },
    },
    Attack {
        name: "whole requests, each anew",
        run: |address, stop| {
            while !stop.load(Ordering::Relaxed) {
                let Ok(mut client) = open(address, GET) else { return };
                let _ = client.read(&mut [0; 1 << 16]);
                sleep(BREATH);
            }
        },
    },
    Attack { name: "resets", run: resets },
    Attack { name: "garbage", run: garbage },
];

/// Keeps this many connections that begin so, and does the `step` with each now and then. Who was let go is replaced.
fn hold(
    address: SocketAddr,
    stop: &AtomicBool,
    number: usize,
    start: &str,
    pause: Duration,
    mut step: impl FnMut(&mut TcpStream) -> io::Result<()>,
) {
    let mut clients: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        // A flood of connections is an attack by itself; this one is about those that stay.
        let missing = (number - clients.len()).min(50);
        clients.extend((0..missing).map_while(|_| open(address, start).ok()));
        clients.retain_mut(|client| {
            let lasts = client.set_nonblocking(true).and_then(|()| step(client));
            lasts.is_ok() || lasts.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        });
        sleep(pause);
    }
}

fn open(address: SocketAddr, start: &str) -> io::Result<TcpStream> {
    let mut client = TcpStream::connect_timeout(&address, PATIENCE)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(Duration::from_millis(100)))?;
    // Who is let go in the middle of its first words finds out by the next step.
    let _ = client.write_all(start.as_bytes());
    Ok(client)
}

fn read(client: &mut TcpStream, most: usize) -> io::Result<()> {
    match client.read(&mut vec![0; most])? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// A connection that is closed with an answer unread is reset: at the first byte, before it, or after all.
fn resets(address: SocketAddr, stop: &AtomicBool) {
    for round in (0..3).cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
        let Ok(client) = open(address, GET) else { return };
        match round {
            0 => drop(client),
            1 => drop(client.peek(&mut [0])),
            _ => sleep(Duration::from_millis(1)),
        }
        sleep(BREATH);
    }
}

/// Bytes that are no HTTP/1.1, or not enough of it.
pub(crate) const GARBAGE: [&[u8]; 12] = [
    // A TLS handshake: ClientHello, cut short.
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x01\x02\x03\x04\x05\x06\x07",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"GET /metrics\r\n\r\n",
    b"GET /metrics HTTP/9.9\r\nHost: a\r\n\r\n",
    b"\x00\x00\x00\x00\x00\x00\x00\x00",
    b"GET /\x00metrics HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: a\r\nX\x01: b\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost : a\r\n\r\n",
    b"\r\n\r\n\r\n\r\n\x80\xff\xfe\xfd",
    b"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    b"GET /metrics HTTP/1.1\r\nHost: a",
];

fn garbage(address: SocketAddr, stop: &AtomicBool) {
    let mut open_ones = std::collections::VecDeque::new();
    for (round, bytes) in GARBAGE.iter().cycle().enumerate().take_while(|_| !stop.load(Ordering::Relaxed)) {
        let Ok(mut client) = open(address, "") else { return };
        let _ = client.write_all(bytes);
        sleep(BREATH);
        if round % 3 == 0 {
            let _ = client.shutdown(Shutdown::Write);
        }
        open_ones.push_back(client);
        if open_ones.len() > 100 {
            open_ones.pop_front();
        }
    }
}
