//! A good client, which scrapes as Prometheus does and notes how long it took. Needs nothing but the standard library,
//! so that the benchmark can use it, too.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);
/// Scrapes that may fail before nobody needs more of them.
const ENOUGH: usize = 5;
/// Between two scrapes, so that a whole attack passes by and not a moment of it.
const PACE: Duration = Duration::from_millis(5);

/// How scrapes went.
#[derive(Debug, Default)]
pub(crate) struct Scrapes {
    /// From the first byte asked to the last one read, with the connecting if any.
    pub took: Vec<Duration>,
    pub failures: Vec<String>,
    /// Connections that ended between two scrapes.
    pub reconnected: usize,
}

impl Scrapes {
    /// The time that a share of the scrapes was not longer than.
    pub(crate) fn at(&self, share: f64) -> Duration {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        let place = (sorted.len().saturating_sub(1) as f64 * share).ceil() as usize;
        sorted.get(place).copied().unwrap_or_default()
    }

    fn add(&mut self, start: Instant, answer: io::Result<()>) {
        match answer {
            Ok(()) => self.took.push(start.elapsed()),
            Err(error) => self.failures.push(error.to_string()),
        }
        sleep(PACE);
    }
}

/// Scrapes with a connection for each.
pub(crate) fn each_anew(address: SocketAddr, number: usize) -> Scrapes {
    let mut scrapes = Scrapes::default();
    for _ in 0..number {
        let start = Instant::now();
        let answer = connect(address).and_then(|mut client| scrape(&mut client, "close"));
        scrapes.add(start, answer);
        if scrapes.failures.len() == ENOUGH {
            break;
        }
    }
    scrapes
}

/// Scrapes over one connection. One that ended in between is made anew, once, as every HTTP client does.
pub(crate) fn kept_alive(address: SocketAddr, number: usize) -> Scrapes {
    let mut scrapes = Scrapes::default();
    let mut kept = None;
    for _ in 0..number {
        let start = Instant::now();
        let mut answer = match &mut kept {
            Some(client) => scrape(client, "keep-alive"),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        if answer.is_err() {
            scrapes.reconnected += usize::from(kept.is_some());
            answer = connect(address).and_then(|client| scrape(kept.insert(client), "keep-alive"));
        }
        scrapes.add(start, answer);
        if scrapes.failures.len() == ENOUGH {
            break;
        }
    }
    scrapes
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let client = TcpStream::connect_timeout(&address, PATIENCE)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    client.set_nodelay(true)?;
    Ok(client)
}

/// One request, and its whole answer: a 200 with as many bytes as it says.
fn scrape(client: &mut TcpStream, connection: &str) -> io::Result<()> {
    write!(client, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut part = vec![0; 1 << 16];
    loop {
        match client.read(&mut part)? {
            0 => return Err(io::Error::other(format!("cut after {} bytes", answer.len()))),
            length => answer.extend_from_slice(&part[..length]),
        }
        let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
        let (true, Some(length)) = (head.starts_with("http/1.1 200 "), length) else {
            return Err(io::Error::other(head));
        };
        let body: usize = answer.len() - end - 4;
        if body >= length {
            return if body == length { Ok(()) } else { Err(io::Error::other("more than was asked for")) };
        }
    }
}
