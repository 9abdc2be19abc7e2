//! An HTTP client that asks as Prometheus asks, over one connection for as long as the server keeps it: one that speaks
//! HTTP/1.0 ends it with each answer.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(5);

pub struct Scraper {
    address: SocketAddr,
    /// `None` once the server has ended it with an answer.
    stream: Option<TcpStream>,
    request: String,
    /// Received and not yet part of an answer.
    input: Vec<u8>,
}

#[derive(Debug, PartialEq)]
pub struct Page {
    pub status: u16,
    pub gzip: bool,
    /// Whether the server takes another request over the same connection.
    kept: bool,
    /// Still packed if `gzip`.
    pub body: Vec<u8>,
}

impl Scraper {
    pub fn connect(address: SocketAddr, gzip: bool) -> Result<Self, String> {
        let encoding = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
        Ok(Self {
            address,
            stream: Some(open(address)?),
            request: format!(
                "GET /metrics HTTP/1.1\r\nHost: {address}\r\nUser-Agent: Prometheus/2.42.0\r\n\
                 Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1\r\n\
                 {encoding}X-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n"
            ),
            input: Vec::new(),
        })
    }

    pub fn scrape(&mut self) -> Result<Page, String> {
        let fail = |what: &str, e: std::io::Error| format!("scrape: {what}: {e}");
        let mut stream = self.stream.take().map_or_else(|| open(self.address), Ok)?;
        stream.write_all(self.request.as_bytes()).map_err(|e| fail("sending", e))?;
        let mut part = [0; 64 * 1024];
        loop {
            if let Some((page, used)) = response(&self.input)? {
                self.input.drain(..used);
                self.stream = page.kept.then_some(stream);
                return match page.status {
                    200 => Ok(page),
                    other => Err(format!("scrape: status {other}")),
                };
            }
            match stream.read(&mut part) {
                Ok(0) => return Err("scrape: closed before the page was complete".into()),
                Ok(n) => self.input.extend_from_slice(&part[..n]),
                Err(e) => return Err(fail("receiving", e)),
            }
        }
    }
}

fn open(address: SocketAddr) -> Result<TcpStream, String> {
    let open = || {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    open().map_err(|e: std::io::Error| format!("connect {address}: {e}"))
}

impl Page {
    /// Lines that carry a value; the page must be plain.
    pub fn series(&self) -> usize {
        self.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#').count()
    }

    pub fn contains(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// The first answer in `input` and its length; `None` while it is incomplete.
fn response(input: &[u8]) -> Result<Option<(Page, usize)>, String> {
    let Some(end) = find(input, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = Head::parse(&input[..end])?;
    let start = end + 4;
    let body = match head.body {
        Body::Length(length) => input.get(start..start + length).map(|body| (body.to_vec(), length)),
        Body::Chunked => dechunk(&input[start..])?,
    };
    Ok(body.map(|(body, used)| {
        let page = Page { status: head.status, gzip: head.gzip, kept: head.kept, body };
        (page, start + used)
    }))
}

struct Head {
    status: u16,
    gzip: bool,
    kept: bool,
    body: Body,
}

enum Body {
    Length(usize),
    Chunked,
}

impl Head {
    fn parse(head: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(head).map_err(|_| "scrape: the head is not text")?;
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let mut kept = first.starts_with("HTTP/1.1 ");
        let status = first.strip_prefix("HTTP/1.1 ").or_else(|| first.strip_prefix("HTTP/1.0 "));
        let status = status
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| format!("scrape: expected a status line of HTTP/1.1 or 1.0, got {first:?}"))?;
        let (mut gzip, mut body) = (false, None);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "connection" if value.eq_ignore_ascii_case("close") => kept = false,
                "content-encoding" => gzip = value.eq_ignore_ascii_case("gzip"),
                "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => body = Some(Body::Chunked),
                "content-length" if body.is_none() => body = value.parse().ok().map(Body::Length),
                _ => {}
            }
        }
        let body = body.ok_or("scrape: neither Content-Length nor chunks")?;
        Ok(Self { status, gzip, kept, body })
    }
}

/// The joined chunks and how much of `input` they took; `None` while the last is missing.
fn dechunk(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = find(&input[at..], b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&input[at..at + line])
            .ok()
            .and_then(|size| usize::from_str_radix(size.trim(), 16).ok())
            .ok_or("scrape: expected the size of a chunk in hexadecimal")?;
        at += line + 2;
        let Some(chunk) = input.get(at..at + size + 2) else {
            return Ok(None);
        };
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

fn find(input: &[u8], what: &[u8]) -> Option<usize> {
    input.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a whole answer says, and that no proper prefix of it is taken for one.
    fn whole(text: &str) -> Page {
        for cut in 0..text.len() {
            assert_eq!(response(&text.as_bytes()[..cut]), Ok(None), "cut at {cut}");
        }
        let next = format!("{text}HTTP/1.1 200");
        let (page, used) = response(next.as_bytes()).unwrap().unwrap();
        assert_eq!(used, text.len());
        page
    }

    #[test]
    fn a_length_ends_the_page() {
        let page = whole("HTTP/1.1 200 OK\r\ncontent-LENGTH:    5\r\n\r\na 1\nb");
        assert_eq!((page.status, page.gzip, &*page.body), (200, false, &b"a 1\nb"[..]));
    }

    #[test]
    fn a_connection_that_ends_is_known_to() {
        for (head, kept) in
            [("HTTP/1.1 200 OK", true), ("HTTP/1.0 200 OK", false), ("HTTP/1.1 200 OK\r\nConnection: close", false)]
        {
            assert_eq!(whole(&format!("{head}\r\nContent-Length: 2\r\n\r\nab")).kept, kept, "{head}");
        }
    }

    #[test]
    fn chunks_are_joined() {
        let page = whole(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
        );
        assert_eq!((page.gzip, &*page.body), (true, &b"abc0123456789"[..]));
    }

    #[test]
    fn a_wrong_answer_is_named() {
        for (text, expected) in [
            ("SSH-2.0\r\n\r\n", "status line"),
            ("HTTP/1.1 200 OK\r\n\r\n", "neither"),
            ("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "neither"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "hexadecimal"),
        ] {
            let error = response(text.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn comments_and_blank_lines_are_no_series() {
        let body = b"# HELP a b\na{x=\"#\"} 1\n\nb 2\n# EOF\n".to_vec();
        let page = Page { status: 200, gzip: false, kept: true, body };
        assert_eq!(page.series(), 2);
        assert!(page.contains("x=\"#\"") && !page.contains("c"));
    }
}
