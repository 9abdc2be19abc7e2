//! Which names a server answers to.
//!
//! A web page can make a browser ask this server in the page's own name, by giving that name our address once the page
//! is loaded (DNS rebinding). No CORS header stands in its way, since to the browser both are one origin; the Host that
//! the browser sends is the page's, though. So on loopback, where no such name belongs, it is refused. An address, a
//! name without a dot and `localhost` are not for sale. Elsewhere any name may be ours.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::{Request, Response, StatusCode, Version};

use super::body::Body;
use super::response::plain;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    Any,
    /// Addresses, names without a dot, and what is below `localhost`.
    Local,
}

impl Names {
    /// The names of a server that listens there.
    pub(super) fn of(address: IpAddr) -> Self {
        if address.to_canonical().is_loopback() { Self::Local } else { Self::Any }
    }

    /// The answer to a request that names nobody, several, or somebody else (RFC 9112, 3.2; RFC 9110, 15.5.20).
    pub(super) fn refusal<B>(self, request: &Request<B>) -> Option<Response<Body>> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let bad = |text| Some(plain(StatusCode::BAD_REQUEST, text));
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.as_bytes(),
            (None, _) if request.version() < Version::HTTP_11 => b"",
            (None, _) => return bad("Host: expected in every request of HTTP/1.1\n"),
            (Some(_), Some(_)) => return bad("Host: expected once\n"),
        };
        let host = match host {
            b"" => None,
            host => match Authority::try_from(host) {
                Ok(host) if is_host(&host) => Some(host),
                _ => return bad("Host: expected a name or an address, and a port\n"),
            },
        };
        // The target's own authority, where it has one, counts instead of the header.
        let named = request.uri().authority().or(host.as_ref()).map_or("", Authority::host);
        (self == Self::Local && !is_local(named)).then(|| {
            let text = "this server listens on loopback and answers to no such Host, which could be a web page's (DNS \
                        rebinding); ask it by address, as localhost, or by a name without a dot\n";
            plain(StatusCode::MISDIRECTED_REQUEST, text)
        })
    }
}

/// Whether it is a name or an address and a port: no user in front, nothing else behind, brackets around an address only.
fn is_host(authority: &Authority) -> bool {
    let rest = authority.as_str().strip_prefix(authority.host());
    let is_in_order = authority.host().starts_with('[') || !authority.host().contains(['[', ']']);
    is_in_order && rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_number))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_local(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let six = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    six.is_some_and(|six| six.parse::<Ipv6Addr>().is_ok())
        || name.parse::<IpAddr>().is_ok()
        || !name.contains('[') && (!name.contains('.') || name.ends_with(".localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(names: Names, target: &str, hosts: &[&str], version: Version) -> Option<u16> {
        let mut request = Request::builder().uri(target).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        names.refusal(&request.body(()).unwrap()).map(|response| response.status().as_u16())
    }

    #[test]
    fn on_loopback_it_answers_to_addresses_and_local_names_only() {
        assert_eq!(Names::of([127, 0, 0, 1].into()), Names::Local);
        assert_eq!(Names::of("::ffff:127.0.0.1".parse().unwrap()), Names::Local);
        assert_eq!(Names::of([0, 0, 0, 0].into()), Names::Any);
        for host in ["127.0.0.1:9871", "[::1]:9871", "localhost", "LOCALHOST.:1", "a.localhost:9871", "algo-1", ""] {
            assert_eq!(status(Names::Local, "/metrics", &[host], Version::HTTP_11), None, "{host}");
        }
        for host in ["evil.example", "evil.example:9871", "127.0.0.1.evil.example", "localhost.evil.example", "a.b."] {
            assert_eq!(status(Names::Local, "/metrics", &[host], Version::HTTP_11), Some(421), "{host}");
            assert_eq!(status(Names::Local, "/metrics", &[host], Version::HTTP_10), Some(421), "{host}");
            assert_eq!(status(Names::Any, "/metrics", &[host], Version::HTTP_11), None, "{host}");
        }
    }

    #[test]
    fn a_request_names_its_host_once() {
        for names in [Names::Local, Names::Any] {
            assert_eq!(status(names, "/", &[], Version::HTTP_11), Some(400));
            assert_eq!(status(names, "/", &[], Version::HTTP_10), None);
            assert_eq!(status(names, "/", &["a", "a"], Version::HTTP_11), Some(400));
            for no_host in
                ["a b", "evil.example@localhost", "localhost:evil.example", "[::1].evil.example", "-[]a.localhost"]
            {
                assert_eq!(status(names, "/", &[no_host], Version::HTTP_11), Some(400), "{no_host}");
            }
        }
    }

    #[test]
    fn a_target_with_a_name_counts_instead_of_the_header() {
        assert_eq!(status(Names::Local, "http://evil.example/", &["localhost"], Version::HTTP_11), Some(421));
        assert_eq!(status(Names::Local, "http://localhost/", &["evil.example"], Version::HTTP_11), None);
    }
}
