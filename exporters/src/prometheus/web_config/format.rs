//! The file's keys and what they mean.
//!
//! Source: `docs/web-configuration.md` of Prometheus' exporter-toolkit. What it accepts and would not hold is refused
//! here: names in certificates that nobody verifies, TLS settings without a certificate, a limit that lets nothing in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use rustls::crypto::{SupportedKxGroup, aws_lc_rs};
use rustls::{NamedGroup, SupportedCipherSuite, SupportedProtocolVersion, version};

use super::document::{Entry, Node, Value, parse};
use super::rate::Rate;
use super::section::{Line, Section, one_of};

/// What a file says.
pub(super) struct Settings {
    pub tls: Option<Tls>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub users: Vec<User>,
    pub rate: Option<Rate>,
}

/// How TLS is spoken, and by whom.
pub(super) struct Tls {
    pub certificate: Pem,
    pub key: Pem,
    pub clients: ClientAuth,
    pub authorities: Option<Pem>,
    /// Empty: any.
    pub names: Vec<String>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
    pub suites: Vec<SupportedCipherSuite>,
    pub groups: Option<Vec<&'static dyn SupportedKxGroup>>,
    pub own_order: bool,
}

/// PEM, and the key of the file that it belongs to.
pub(super) struct Pem {
    pub key: &'static str,
    pub source: Source,
}

/// Where it is.
pub(super) enum Source {
    File(PathBuf),
    Inline(String),
}

/// What clients have to show: Go's `tls.ClientAuthType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuth {
    None,
    Request,
    RequireAny,
    VerifyIfGiven,
    RequireAndVerify,
}

impl ClientAuth {
    pub(super) fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }

    pub(super) fn requires(self) -> bool {
        matches!(self, Self::RequireAny | Self::RequireAndVerify)
    }
}

/// Who may come in.
pub(super) struct User {
    pub name: String,
    /// bcrypt's own form.
    pub hash: String,
}

/// Headers that may be set, and the values that make sense; none: any.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

const CLIENT_AUTH: [(&str, ClientAuth); 6] = [
    ("NoClientCert", ClientAuth::None),
    ("RequestClientCert", ClientAuth::Request),
    ("RequireAnyClientCert", ClientAuth::RequireAny),
    ("VerifyClientCertIfGiven", ClientAuth::VerifyIfGiven),
    ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerify),
    // An older name that the toolkit still takes.
    ("RequireClientCert", ClientAuth::RequireAny),
];

const VERSIONS: [(&str, u8); 4] = [("TLS13", 13), ("TLS12", 12), ("TLS11", 11), ("TLS10", 10)];

const CURVES: [(&str, NamedGroup); 3] =
    [("X25519", NamedGroup::X25519), ("CurveP256", NamedGroup::secp256r1), ("CurveP384", NamedGroup::secp384r1)];

/// One check beyond this takes seconds, and those who wait for theirs have given up.
const HIGHEST_COST: u32 = 16;

/// Reads a file's text; relative paths in it are looked up in `folder`.
///
/// # Errors
///
/// Line, key and what was expected there; never a secret.
pub(super) fn read(text: &str, folder: &Path) -> Result<Settings, String> {
    let mut file =
        Section::of(parse(text)?, "", &["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"])?;
    let tls = file.take("tls_server_config").map(|node| tls(node, folder)).transpose()?.flatten();
    let headers = file.take("http_server_config").map(http).transpose()?.unwrap_or_default();
    let users = file.take("basic_auth_users").map(users).transpose()?.unwrap_or_default();
    let rate = file.take("rate_limit").map(rate).transpose()?.flatten();
    Ok(Settings { tls, headers, users, rate })
}

const TLS: &str = "tls_server_config";

fn tls(node: Node, folder: &Path) -> Result<Option<Tls>, String> {
    let line = node.line;
    let known = [
        "cert",
        "cert_file",
        "key",
        "key_file",
        "client_ca",
        "client_ca_file",
        "client_auth_type",
        "client_allowed_sans",
        "min_version",
        "max_version",
        "cipher_suites",
        "prefer_server_cipher_suites",
        "curve_preferences",
    ];
    let is_empty = matches!(&node.value, Value::Map(entries) if entries.is_empty());
    let mut section = Section::of(node, TLS, &known)?;
    if is_empty {
        return Ok(None);
    }
    let certificate = pem(&mut section, "cert", "cert_file", folder)?;
    let key = pem(&mut section, "key", "key_file", folder)?;
    let authorities = pem(&mut section, "client_ca", "client_ca_file", folder)?;
    let clients = section.word("client_auth_type", &CLIENT_AUTH)?;
    let names = section.texts("client_allowed_sans", "names")?;
    let versions = versions(&mut section)?;
    let suites = suites(&mut section)?;
    let groups = groups(&mut section)?;
    let own_order = section.switch("prefer_server_cipher_suites", true)?;

    let missing = |what| format!("line {line}: {TLS}: {what}, which TLS cannot do without");
    let certificate = certificate.ok_or_else(|| missing("expected cert_file or cert"))?;
    let key = key.ok_or_else(|| missing("expected key_file or key"))?;
    let (at, clients) = clients.unwrap_or((line, ClientAuth::None));
    let verifying = "VerifyClientCertIfGiven or RequireAndVerifyClientCert";
    match (&authorities, clients) {
        (Some(authorities), ClientAuth::None) => {
            return Err(section.wrong(
                "client_auth_type",
                at,
                &format!("{verifying}, since there is {}", authorities.key),
            ));
        }
        (None, clients) if clients.verifies() => {
            let expected = "client_ca_file or client_ca beside it: else any certificate of a public authority would do";
            return Err(section.wrong("client_auth_type", at, expected));
        }
        _ => (),
    }
    let names: Vec<String> = names.unwrap_or_default().into_iter().map(|name| name.text).collect();
    if !names.is_empty() && !clients.verifies() {
        let expected = format!("{verifying}, since a name in a certificate that is not verified says nothing");
        return Err(section.wrong("client_allowed_sans", at, &format!("client_auth_type {expected}")));
    }
    let usable = |version: &&SupportedProtocolVersion| suites.iter().any(|suite| suite.version() == *version);
    let versions: Vec<_> = versions.into_iter().filter(usable).collect();
    if versions.is_empty() {
        return Err(section.wrong("cipher_suites", line, "at least one suite of TLS 1.2, since max_version is TLS12"));
    }
    Ok(Some(Tls { certificate, key, clients, authorities, names, versions, suites, groups, own_order }))
}

fn pem(section: &mut Section, inline: &'static str, file: &'static str, folder: &Path) -> Result<Option<Pem>, String> {
    let text = section.text(inline, "PEM")?;
    let path = section.text(file, "the path of a file")?;
    Ok(match (text, path) {
        (Some(Line { line, .. }), Some(_)) => {
            return Err(section.wrong(inline, line, &format!("this or {file}, not both")));
        }
        (Some(text), None) => Some(Pem { key: inline, source: Source::Inline(text.text) }),
        (None, Some(path)) => Some(Pem { key: file, source: Source::File(folder.join(path.text)) }),
        (None, None) => None,
    })
}

fn versions(section: &mut Section) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let mut bound = |key: &str, default: u8| {
        let (line, version) = section.word(key, &VERSIONS)?.unwrap_or((0, default));
        match version {
            12 | 13 => Ok((line, version)),
            _ => Err(section.wrong(key, line, "TLS12 or TLS13: TLS 1.0 and 1.1 are broken, and left out of this TLS")),
        }
    };
    let ((_, least), (line, most)) = (bound("min_version", 12)?, bound("max_version", 13)?);
    if least > most {
        return Err(section.wrong("max_version", line, "no less than min_version"));
    }
    let all = [(13, &version::TLS13), (12, &version::TLS12)];
    Ok(all.into_iter().filter(|(number, _)| (least..=most).contains(number)).map(|(_, version)| version).collect())
}

/// The suites of TLS 1.3, which cannot be chosen, and those of TLS 1.2 in the order of the file.
fn suites(section: &mut Section) -> Result<Vec<SupportedCipherSuite>, String> {
    let all = aws_lc_rs::DEFAULT_CIPHER_SUITES;
    let Some(wanted) = section.texts("cipher_suites", "names of cipher suites")? else { return Ok(all.to_vec()) };
    // As Go does: an empty list is none.
    if wanted.is_empty() {
        return Ok(all.to_vec());
    }
    let of_13 = |suite: &&SupportedCipherSuite| suite.tls13().is_some();
    let mut chosen: Vec<SupportedCipherSuite> = all.iter().filter(of_13).copied().collect();
    for Line { line, text } in wanted {
        let suite = all.iter().find(|suite| name(suite) == text).ok_or_else(|| {
            let names: Vec<String> = all.iter().map(name).collect();
            let names = one_of(names.iter().map(String::as_str));
            let expected = format!(
                "{names}, found {}: this TLS has only suites with forward secrecy and authenticated encryption",
                text.escape_debug()
            );
            section.wrong("cipher_suites", line, &expected)
        })?;
        if !chosen.contains(suite) {
            chosen.push(*suite);
        }
    }
    Ok(chosen)
}

/// Go's name of a suite, which is IANA's.
fn name(suite: &SupportedCipherSuite) -> String {
    suite.suite().as_str().unwrap_or_default().replace("TLS13_", "TLS_")
}

fn groups(section: &mut Section) -> Result<Option<Vec<&'static dyn SupportedKxGroup>>, String> {
    let wanted = section.texts("curve_preferences", "names of curves")?.unwrap_or_default();
    let mut chosen: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    for Line { line, text } in wanted {
        let group = CURVES
            .iter()
            .find(|(name, _)| *name == text)
            .and_then(|(_, group)| aws_lc_rs::ALL_KX_GROUPS.iter().find(|known| known.name() == *group));
        let group = group.ok_or_else(|| {
            let names = one_of(CURVES.iter().map(|(name, _)| *name));
            let why = if text == "CurveP521" { ": this TLS has no CurveP521" } else { "" };
            section.wrong("curve_preferences", line, &format!("{names}, found {}{why}", text.escape_debug()))
        })?;
        chosen.push(*group);
    }
    Ok((!chosen.is_empty()).then_some(chosen))
}

fn http(node: Node) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut section = Section::of(node, "http_server_config", &["http2", "headers"])?;
    // HTTP/1.1 is spoken either way: no scraper needs the other, and each can speak this one.
    section.switch("http2", true)?;
    let Some(node) = section.take("headers") else { return Ok(Vec::new()) };
    let known = HEADERS.map(|(name, _)| name);
    let mut section = Section::of(node, "http_server_config.headers", &known)?;
    let mut headers = Vec::new();
    for (name, values) in HEADERS {
        let Some(Line { line, text }) = section.text(name, "a text")? else { continue };
        if !values.is_empty() && !values.contains(&text.as_str()) {
            return Err(section.wrong(name, line, &one_of(values.iter().copied())));
        }
        let bad = |_| section.wrong(name, line, "a text that a header can hold");
        let value = HeaderValue::from_str(&text).map_err(bad)?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| section.wrong(name, line, "a header"))?;
        headers.push((name, value));
    }
    Ok(headers)
}

fn users(node: Node) -> Result<Vec<User>, String> {
    let section = Section::any(node, "basic_auth_users")?;
    let wrong = |entry: &Entry, expected: &str| {
        format!("line {}: basic_auth_users.{}: expected {expected}", entry.line, entry.key.escape_debug())
    };
    let user = |entry: Entry| {
        if entry.key.contains(':') || entry.key.chars().any(char::is_control) {
            return Err(wrong(&entry, "a name without colons and control characters, which no client could send"));
        }
        // What is wrong here may be the password itself, so it is not shown.
        let form = "a bcrypt hash, as htpasswd -nBC 10 prints it: $2y$, two digits, $ and 53 characters";
        let Value::Text(hash) = &entry.node.value else { return Err(wrong(&entry, form)) };
        match cost(hash) {
            None => Err(wrong(&entry, form)),
            Some(cost) if !(4..=HIGHEST_COST).contains(&cost) => {
                Err(wrong(&entry, &format!("a cost from 4 to {HIGHEST_COST}, found {cost}")))
            }
            Some(_) => Ok(User { name: entry.key, hash: hash.clone() }),
        }
    };
    section.into_entries().into_iter().map(user).collect()
}

/// The cost of a hash of bcrypt; `None` where it is no such hash.
pub(super) fn cost(hash: &str) -> Option<u32> {
    let rest = ["$2a$", "$2b$", "$2y$"].into_iter().find_map(|prefix| hash.strip_prefix(prefix))?;
    let (cost, digest) = rest.split_once('$')?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    let fits = cost.len() == 2 && digest.len() == 53 && digest.bytes().all(legal);
    cost.parse().ok().filter(|_| fits && !cost.starts_with('+'))
}

fn rate(node: Node) -> Result<Option<Rate>, String> {
    let mut section = Section::of(node, "rate_limit", &["interval", "burst"])?;
    let form = "a duration up to 1h, such as 100ms or 1s, or 0 for no limit";
    let Some(Line { line, text }) = section.text("interval", form)? else { return Ok(None) };
    let interval = duration(&text).filter(|interval| *interval <= Duration::from_secs(3600));
    let interval = interval.ok_or_else(|| section.wrong("interval", line, form))?;
    if interval.is_zero() {
        return Ok(None);
    }
    let form = "a number from 1 on: with 0 nothing would be answered";
    let burst = section.text("burst", form)?;
    let (line, burst) = burst.map_or((line, None), |burst| (burst.line, burst.text.parse::<u32>().ok()));
    match burst.filter(|burst| *burst > 0) {
        Some(burst) => Ok(Some(Rate { interval, burst })),
        None => Err(section.wrong("burst", line, form)),
    }
}

/// Go's form: decimals with a unit each, one after the other.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 8] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() && text != "0" {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, tail) = rest.split_at_checked(number)?;
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(end)?;
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += digits.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|_| !text.is_empty())
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
