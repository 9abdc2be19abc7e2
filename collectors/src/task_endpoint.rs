//! The metadata endpoint of an ECS or Fargate task, version 4: who may be asked, and one question.
//!
//! Only a link-local address (or loopback, as ECS's local endpoints have it) is asked, over plain HTTP, for a second at
//! most. Nothing here waits longer, whatever answers there.
//!
//! Source: Amazon ECS's developer guide, "Amazon ECS task metadata endpoint version 4".

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::error::{CollectError, Reason};

/// How long an answer may take, from the connection to its last byte.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most bytes of an answer. The statistics of a container are some 6 kB, and a task has ten containers at most.
const LONGEST: usize = 1 << 20;

/// Where a task's metadata endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEndpoint {
    address: SocketAddr,
    path: String,
}

impl TaskEndpoint {
    /// The variable of the environment that the platform sets to the endpoint of a container.
    pub const VARIABLE: &'static str = "ECS_CONTAINER_METADATA_URI_V4";
    /// What the variable is expected to hold.
    pub const EXPECTED: &'static str = "http:// and a link-local address, such as http://169.254.170.2/v4/ID";

    /// The endpoint of such a text; `None` for any other than [`EXPECTED`](Self::EXPECTED).
    pub fn parse(uri: &str) -> Option<Self> {
        let rest = uri.strip_prefix("http://")?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let address: SocketAddr = match host.parse::<IpAddr>() {
            Ok(ip) => (ip, 80).into(),
            Err(_) => host.parse().ok()?,
        };
        let is_local = match address.ip() {
            IpAddr::V4(ip) => ip.is_link_local() || ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_loopback(),
        };
        let plain = path.bytes().all(|byte| byte.is_ascii_graphic());
        (is_local && plain).then(|| Self { address, path: path.trim_end_matches('/').to_owned() })
    }

    /// Who is asked.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The text at a path below the endpoint, such as `/task`.
    ///
    /// # Errors
    ///
    /// Why there is none: no answer within a second, none with status 200, more than 1 MiB, no HTTP.
    pub fn get(&self, below: &str) -> Result<String, CollectError> {
        let text = self.exchange(below, Instant::now() + PATIENCE).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                CollectError::new(Reason::TimedOut, format!("no answer within {}s", PATIENCE.as_secs()))
            }
            kind => CollectError::new(kind.into(), error.to_string()),
        })?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return Err(CollectError::new(Reason::Malformed, "its answer: expected an HTTP response"));
        };
        match head.split(' ').nth(1).unwrap_or_default() {
            "200" => Ok(body.to_owned()),
            other => {
                let status: String = other.chars().take(20).collect();
                let message = format!("it answered with status {status:?}, expected 200");
                Err(CollectError::new(Reason::Failed, message))
            }
        }
    }

    /// One exchange of HTTP/1.0, in which the end of the connection is that of the answer.
    fn exchange(&self, below: &str, end: Instant) -> io::Result<String> {
        let left = || match end.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
            left => Ok(left),
        };
        let mut stream = TcpStream::connect_timeout(&self.address, left()?)?;
        stream.set_write_timeout(Some(left()?))?;
        let Self { address, path } = self;
        let request = format!("GET {path}{below} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let (mut answer, mut part) = (Vec::new(), [0; 4096]);
        loop {
            stream.set_read_timeout(Some(left()?))?;
            match stream.read(&mut part)? {
                0 => return Ok(String::from_utf8_lossy(&answer).into_owned()),
                read => answer.extend_from_slice(part.get(..read).unwrap_or_default()),
            }
            if answer.len() > LONGEST {
                return Err(io::Error::other(format!("more than {LONGEST} bytes, expected less")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers one client with these bytes again and again, until it has gone.
    fn serve(part: &'static [u8], times: usize, pause: Duration) -> TaskEndpoint {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            let _ = client.read(&mut [0; 1024]);
            for _ in 0..times {
                if client.write_all(part).is_err() {
                    return;
                }
                std::thread::sleep(pause);
            }
        });
        TaskEndpoint::parse(&format!("http://{address}/v4/abc")).expect("a local address")
    }

    fn refused(part: &'static [u8], times: usize, pause: Duration) -> (Reason, String) {
        let error = serve(part, times, pause).get("/task").expect_err("no answer");
        (error.reason(), error.to_string())
    }

    #[test]
    fn an_answer_has_an_end_a_size_and_a_status() {
        let none = Duration::ZERO;
        assert_eq!(serve(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}", 1, none).get(""), Ok("{}".to_owned()));
        let (reason, why) = refused(b"HTTP/1.1 500 No\r\n\r\n{}", 1, none);
        assert!(reason == Reason::Failed && why.contains("status \"500\""), "{why}");
        let (reason, why) = refused(b"garbage", 1, none);
        assert!(reason == Reason::Malformed && why.contains("expected an HTTP response"), "{why}");
        let (_, why) = refused(&[b'x'; 4096], 1000, none);
        assert!(why.contains("more than 1048576 bytes"), "{why}");
    }

    /// A byte now and then keeps no one waiting: the deadline is that of the whole answer.
    #[test]
    fn who_trickles_costs_no_more_than_the_deadline() {
        let start = Instant::now();
        let (reason, why) = refused(b"H", 1000, Duration::from_millis(100));
        assert!(reason == Reason::TimedOut && why.contains("no answer within 1s"), "{why}");
        assert!(start.elapsed() < Duration::from_secs(10), "a deadline of a second, on a busy machine");
    }

    #[test]
    fn nobody_is_asked_but_a_local_address() {
        for uri in [
            "https://169.254.170.2/v4/a",
            "http://example.org/v4/a",
            "http://10.0.0.1/v4/a",
            "http://169.254.170.2:x/",
            "http://169.254.170.2@10.0.0.1/",
            "http://127.0.0.1/ a",
            "",
            "169.254.170.2",
        ] {
            assert!(TaskEndpoint::parse(uri).is_none(), "{uri}");
        }
        for uri in ["http://169.254.170.2/v4/a", "http://169.254.170.2", "http://127.0.0.1:51678/v4/a/"] {
            assert!(TaskEndpoint::parse(uri).is_some(), "{uri}");
        }
    }
}
