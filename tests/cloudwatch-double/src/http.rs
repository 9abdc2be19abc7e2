//! As much of HTTP/1.1 as an SDK speaks: a head, a body of stated length, one answer after the other.

use std::io::{self, BufRead, Read, Write};

const MOST_HEAD: u64 = 64 * 1024;
/// Far above the limit, so that what is a little over it is measured rather than cut.
const MOST_BODY: usize = 16 * 1024 * 1024;

/// A request but for its body.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    /// Reads the next one. None at the end of the connection.
    pub(crate) fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let mut limited = stream.take(MOST_HEAD);
        while !bytes.ends_with(b"\r\n\r\n") {
            if limited.read_until(b'\n', &mut bytes)? == 0 {
                return if bytes.is_empty() { Ok(None) } else { Err(bad("half a head")) };
            }
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(&bytes).map_err(bad)?;
        let header = |header: &httparse::Header<'_>| {
            let value = String::from_utf8_lossy(header.value).into_owned();
            (header.name.to_ascii_lowercase(), value)
        };
        Ok(Some(Self {
            method: request.method.unwrap_or_default().to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            headers: request.headers.iter().map(header).collect(),
        }))
    }

    /// The first header of this name (in lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Reads the body. A body without a stated length, which no SDK sends, is an error.
    pub(crate) fn body(&self, stream: &mut impl Read) -> io::Result<Vec<u8>> {
        if self.header("transfer-encoding").is_some() {
            return Err(bad("a chunked body"));
        }
        let length = self.header("content-length").map_or(Ok(0), str::parse::<usize>).map_err(bad)?;
        if length > MOST_BODY {
            return Err(bad("a body over 16 MiB"));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        Ok(body)
    }
}

fn bad(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// An answer.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body: body.into() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            413 => "Request Entity Too Large",
            503 => "Service Unavailable",
            _ => "Error",
        };
        // Writing to memory cannot fail.
        let _ = write!(bytes, "HTTP/1.1 {} {reason}\r\n", self.status);
        for (name, value) in &self.headers {
            let _ = write!(bytes, "{name}: {value}\r\n");
        }
        let _ = write!(bytes, "content-length: {}\r\n\r\n", self.body.len());
        bytes.extend_from_slice(&self.body);
        bytes
    }
}
