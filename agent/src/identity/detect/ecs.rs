//! In a task of ECS or Fargate: its metadata endpoint, version 4.
//!
//! It is asked only if its variable is set, which the platform does, and only where that leads: a link-local address
//! (or loopback, as ECS's local endpoints have it), over plain HTTP, for a second at most.
//!
//! Source: Amazon ECS's developer guide, "Amazon ECS task metadata endpoint version 4".

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Places;
use super::file;
use super::source::{Figure, Platform, Silence, Source, excerpt};

const VARIABLE: &str = "ECS_CONTAINER_METADATA_URI_V4";
const PATIENCE: Duration = Duration::from_secs(1);

/// The task's family is its name; tasks are not counted, but each has an id.
pub(super) fn source(places: &Places<'_>) -> Source {
    Source::variable(Platform::Ecs, VARIABLE, places.variable(VARIABLE), |source, uri| {
        let task = match Endpoint::parse(uri) {
            Some(endpoint) => endpoint.get("/task"),
            None => {
                let expected = "expected http:// and a link-local address, such as http://169.254.170.2/v4/ID";
                return source.malformed(format!("{}, {expected}", excerpt(uri)));
            }
        };
        match task {
            Ok(task) => tell(source, &task),
            Err(why) => source.silent(why),
        }
    })
}

fn tell(source: Source, task: &Value) -> Source {
    let source = match file::text(task, "Family") {
        Ok(family) => source.claim(Figure::Job, "Family", family),
        Err(why) => return source.silent(why),
    };
    match file::text(task, "TaskARN").map(|arn| arn.rsplit('/').next().unwrap_or(arn)) {
        Ok(id) => source.claim(Figure::Instance, "the id in TaskARN", id),
        Err(why) => source.silent(why),
    }
}

struct Endpoint<'a> {
    address: SocketAddr,
    path: &'a str,
}

impl<'a> Endpoint<'a> {
    fn parse(uri: &'a str) -> Option<Self> {
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
        (is_local && plain).then_some(Self { address, path: path.trim_end_matches('/') })
    }

    /// The JSON object at a path below the endpoint.
    fn get(&self, below: &str) -> Result<Value, Silence> {
        let end = Instant::now() + PATIENCE;
        let text = self.exchange(below, end).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                Silence::Unreadable(format!("no answer within {}s", PATIENCE.as_secs()))
            }
            _ => Silence::Unreadable(error.to_string()),
        })?;
        let malformed = |what: &str| Silence::Malformed(format!("its answer: {what}"));
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| malformed("expected an HTTP response"))?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status != "200" {
            return Err(Silence::Unreadable(format!("it answered with status {}, expected 200", excerpt(status))));
        }
        file::parse_json(body)
    }

    /// One exchange of HTTP/1.0, in which the end of the connection is that of the answer.
    fn exchange(&self, below: &str, end: Instant) -> std::io::Result<String> {
        let left = || match end.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(std::io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        };
        let mut stream = TcpStream::connect_timeout(&self.address, left()?)?;
        stream.set_write_timeout(Some(left()?))?;
        let Self { address, path } = self;
        let request = format!("GET {path}{below} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let (mut answer, mut part) = (Vec::new(), [0; 4096]);
        loop {
            let left: std::io::Result<Duration> = left();
            stream.set_read_timeout(Some(left?))?;
            match stream.read(&mut part)? {
                0 => return Ok(String::from_utf8_lossy(&answer).into_owned()),
                read => answer.extend_from_slice(part.get(..read).unwrap_or_default()),
            }
            if answer.len() as u64 > file::LIMIT {
                return Err(std::io::Error::other(format!("more than {} bytes", file::LIMIT)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::detect::tests::Given;
    use std::net::TcpListener;

    /// Serves one client: an answer, or silence until the client has gone.
    fn serve(answer: Option<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|read| read > 0) {
                request.extend(byte);
            }
            match answer {
                Some(answer) if request.starts_with(b"GET /v4/abc/task HTTP/1.0\r\n") => {
                    client.write_all(answer.as_bytes()).expect("written");
                }
                Some(_) => client.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n").expect("written"),
                None => {
                    let _ = client.read(&mut byte);
                }
            }
        });
        format!("http://{address}/v4/abc")
    }

    fn asked(uri: &str) -> Source {
        let given = Given::new("none").variables(&[(VARIABLE, uri)]);
        source(&given.places())
    }

    #[test]
    fn a_task_is_its_family_and_id() {
        let task = r#"{"Cluster": "c", "TaskARN": "arn:aws:ecs:eu-central-1:1:task/c/0123abcd", "Family": "resnet"}"#;
        let source = asked(&serve(Some(format!("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{task}"))));
        assert_eq!((source.answer(Figure::Job), source.answer(Figure::Instance)), (Some("resnet"), Some("0123abcd")));
        assert_eq!(source.silence, None);
    }

    #[test]
    fn what_is_no_answer_is_said() {
        let answers = |answer: &str| asked(&serve(Some(answer.to_owned()))).silence.expect("a reason").to_string();
        assert!(answers("HTTP/1.1 500 No\r\n\r\n{}").contains("status \"500\""));
        assert!(answers("HTTP/1.1 200 OK\r\n\r\n{\"Family\": ").contains("line 1 column"));
        assert!(answers("HTTP/1.1 200 OK\r\n\r\n{}").contains("no Family"));
        assert!(answers("garbage").contains("expected an HTTP response"));
        let silence = asked(&serve(None)).silence.expect("a reason").to_string();
        assert!(silence.contains("no answer within 1s"), "{silence}");
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
            assert!(Endpoint::parse(uri).is_none(), "{uri}");
        }
        for uri in ["http://169.254.170.2/v4/a", "http://169.254.170.2", "http://127.0.0.1:51678/v4/a/"] {
            assert!(Endpoint::parse(uri).is_some(), "{uri}");
        }
    }
}
