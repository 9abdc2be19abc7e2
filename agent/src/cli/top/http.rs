//! One page by HTTP, from an agent that may be slow, gone, or something else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use super::secure::{Trust, authorization};

/// How long an answer may take, from the connection to its last byte.
const PATIENCE: Duration = Duration::from_secs(2);
/// A page of 192 cores and 64 GPUs in MIG mode is half a megabyte.
const LONGEST: usize = 8 << 20;

/// Where a page is.
#[derive(Clone)]
pub(super) struct Url {
    /// `HOST:PORT`.
    authority: String,
    path: String,
    /// Nobody else sees it: it is a password.
    authorization: String,
    scheme: Scheme,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Plain,
    Tls,
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl Url {
    /// `http://HOST:PORT` or `https://NAME:PASSWORD@HOST:PORT`, with the path of the page or without; the scheme may be
    /// left out.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = match text.strip_prefix("https://") {
            Some(rest) => (Scheme::Tls, rest),
            None => (Scheme::Plain, text.strip_prefix("http://").unwrap_or(text)),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (authorization, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (authorization(user)?, authority),
            None => (String::new(), authority),
        };
        let (host, port) = authority.rsplit_once(':')?;
        port.parse::<u16>().ok().filter(|port| *port > 0)?;
        let legal = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
        let path = if path.len() > 1 { path } else { "/metrics" };
        (!host.is_empty() && !host.contains("//") && legal(authority) && legal(path)).then(|| Self {
            authority: authority.to_owned(),
            path: path.to_owned(),
            authorization,
            scheme,
        })
    }

    /// The page of an agent at this address; of one that listens everywhere, by loopback.
    pub(super) fn of(mut address: SocketAddr) -> Self {
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let (authority, path) = (address.to_string(), "/metrics".into());
        Self { authority, path, authorization: String::new(), scheme: Scheme::Plain }
    }

    pub(super) fn is_secure(&self) -> bool {
        self.scheme == Scheme::Tls
    }

    /// The page's text.
    ///
    /// # Errors
    ///
    /// Why there is none, for a person.
    pub(super) fn get(&self, trust: Option<&Trust>) -> Result<String, String> {
        let start = Instant::now();
        let answer = self.answer(start, trust).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                format!("no answer within {} s", PATIENCE.as_secs())
            }
            std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => error.to_string(),
        })?;
        body(&answer)
    }

    fn answer(&self, start: Instant, trust: Option<&Trust>) -> std::io::Result<Vec<u8>> {
        let left = || PATIENCE.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
        // "localhost" is ::1 as well, where an agent on 127.0.0.1 does not listen.
        let mut connected = Err(std::io::Error::other("the name has no address"));
        for address in self.authority.to_socket_addrs()? {
            connected = TcpStream::connect_timeout(&address, left());
            if connected.is_ok() {
                break;
            }
        }
        let socket = connected?;
        socket.set_read_timeout(Some(left()))?;
        socket.set_write_timeout(Some(left()))?;
        let mut stream: Box<dyn Conversation> = match trust {
            Some(trust) => {
                let host = self.authority.rsplit_once(':').map_or("", |(host, _)| host);
                Box::new(trust.speak(host, socket.try_clone()?)?)
            }
            None => Box::new(socket.try_clone()?),
        };
        // Version 1.0: the answer ends with the connection, and never comes in chunks.
        let Self { authority, path, authorization, .. } = self;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nAccept: text/plain\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes())?;
        let (mut answer, mut part) = (Vec::new(), [0; 16 << 10]);
        loop {
            socket.set_read_timeout(Some(left()))?;
            let length = stream.read(&mut part)?;
            answer.extend_from_slice(part.get(..length).unwrap_or_default());
            if length == 0 {
                return Ok(answer);
            }
            if answer.len() > LONGEST {
                return Err(std::io::Error::other(format!("the page is longer than {} MiB", LONGEST >> 20)));
            }
            if start.elapsed() >= PATIENCE {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
        }
    }
}

/// Bytes both ways, as they come or through TLS.
trait Conversation: Read + Write {}

impl<T: Read + Write> Conversation for T {}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The usual path goes without saying.
        let path = if self.path == "/metrics" { "" } else { &self.path };
        let scheme = if self.is_secure() { "https" } else { "http" };
        write!(f, "{scheme}://{}{path}", self.authority)
    }
}

/// What an answer carries, if it is a whole and good one.
pub(super) fn body(answer: &[u8]) -> Result<String, String> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or("what answers there is not HTTP")?;
    let (head, body) = answer.split_at(end);
    let (head, body) = (String::from_utf8_lossy(head), body.get(4..).unwrap_or_default());
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("401") {
        return Err("it asks for a name and a password: --url http(s)://NAME:PASSWORD@HOST:PORT".into());
    }
    if !status.starts_with("HTTP/1.") || status.split(' ').nth(1) != Some("200") {
        return Err(format!("it answers {status:?}, expected 200"));
    }
    let length = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    match length {
        Some(length) if length != body.len() => Err(format!("{} of {length} bytes came", body.len())),
        _ => Ok(String::from_utf8_lossy(body).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn urls() {
        for (text, shown) in [
            ("http://127.0.0.1:9871", "http://127.0.0.1:9871"),
            ("127.0.0.1:9871/", "http://127.0.0.1:9871"),
            ("http://[::1]:80/metrics", "http://[::1]:80"),
            ("http://gpu-box:9871/hostgauge", "http://gpu-box:9871/hostgauge"),
        ] {
            assert_eq!(Url::parse(text).expect(text).to_string(), shown);
        }
        for text in ["", "http://", "box", "https://box", "ftp://box:1", "box:0", "box:66000", ":1", "a b:1", "u@b:1"] {
            assert!(Url::parse(text).is_none(), "{text}");
        }
        let everywhere = "0.0.0.0:9871".parse().expect("an address");
        assert_eq!(Url::of(everywhere).to_string(), "http://127.0.0.1:9871");
    }

    #[test]
    #[cfg(feature = "web-config")]
    fn a_password_goes_into_the_header_and_nowhere_else() {
        let url = Url::parse("https://me:p%40ss@[::1]:9871/").expect("a URL");
        assert!(url.is_secure());
        assert_eq!((url.to_string(), format!("{url:?}")), ("https://[::1]:9871".into(), "https://[::1]:9871".into()));
        assert_eq!(url.authorization, "Authorization: Basic bWU6cEBzcw==\r\n");
    }

    #[test]
    fn only_a_whole_and_good_answer_counts() {
        assert_eq!(body(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\na\n"), Ok("a\n".into()));
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n\r\n"), Ok(String::new()));
        for bad in [
            &b""[..],
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.0 503 Busy\r\n\r\na 1\n",
            b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\na\n",
            b"ICY 200 OK\r\n\r\na 1\n",
        ] {
            assert!(body(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn who_never_answers_costs_no_more_than_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = Url::of(listener.local_addr().expect("its address"));
        // The kernel takes the connection; nobody reads it.
        assert_eq!(url.get(None), Err("no answer within 2 s".into()));
        drop(listener);
        assert_eq!(url.get(None), Err("connection refused".into()));
    }

    proptest::proptest! {
        // Whatever answers there, this says so and does not panic.
        #[test]
        fn any_bytes_are_a_page_or_an_error(answer in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = body(&answer);
        }
    }
}
