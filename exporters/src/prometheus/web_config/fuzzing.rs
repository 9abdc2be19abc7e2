//! Properties of the file, of certificates and of passwords.
#![allow(clippy::expect_used, clippy::panic, reason = "a property that does not hold panics")]

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier as _;

use super::clients::Clients;
use super::document::{Node, Value, parse};
use super::format::{ClientAuth, Pem, Settings, Source, Tls, cost, read};
use super::passwords::credentials;
use super::x509::{Validity, names, validity};
use crate::fuzzing::input::Input;

/// A name and a password are read as they were written, and what is read is all that the header holds.
pub(crate) fn authorization(data: &[u8]) {
    let header = |name: &str, password: &[u8]| STANDARD.encode([name.as_bytes(), b":", password].concat());
    if let Some((name, password)) = credentials(data) {
        assert!(data[..6].eq_ignore_ascii_case(b"Basic ") && !name.contains(':'));
        assert_eq!(data[6..].trim_ascii(), header(&name, &password).as_bytes());
    }
    let mut input = Input::new(data);
    let (name, password) = (input.text().replace(':', ""), input.rest());
    let written = format!("Basic {}", header(&name, password));
    assert_eq!(credentials(written.as_bytes()), Some((name, password.to_vec())));
}

/// A certificate's times and names stand in it, the begin before the end, and all that are written in one are read. One
/// that is its own authority comes in within its time and by its names only.
pub(crate) fn certificate(data: &[u8]) {
    one_certificate(data);
    let mut input = Input::new(data);
    let times = [0, 1].map(|_| std::array::from_fn(|_| input.byte()));
    let rest = input.rest();
    // What names and extensions are read from, in a certificate that is whole.
    let names_of = |names: &[u8]| extension(&[0x55, 0x1d, 0x11], &der(0x30, names));
    for extensions in [rest.to_vec(), names_of(rest)] {
        let certificate = written(times, &extensions);
        one_certificate(&certificate);
        assert_eq!(validity(&certificate).map(|time| [time.begin, time.end].map(shown)), Some(times.map(text_of)));
    }
    let all: Vec<String> = rest.split(|byte| *byte == 0).map(|name| String::from_utf8_lossy(name).into()).collect();
    let general: Vec<u8> = all.iter().flat_map(|name| der(0x82, name.as_bytes())).collect();
    let others = extension(b"\x55\x1d\x0f", rest);
    assert_eq!(names(&written(times, &[others, names_of(&general)].concat())), Some(all));
}

/// A value of DER.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut value = vec![tag];
    match length {
        0..0x80 => value.push(length as u8),
        _ => value.extend([&[0x84][..], &(length as u32).to_be_bytes()].concat()),
    }
    value.extend(content);
    value
}

fn extension(oid: &[u8], content: &[u8]) -> Vec<u8> {
    der(0x30, &[der(0x06, oid), der(0x01, &[0xff]), der(0x04, content)].concat())
}

/// A time that there is, of any bytes, as GeneralizedTime.
fn text_of([century, year, month, day, hour, minute, second]: [u8; 7]) -> String {
    let [century, year, month, day] = [century % 100, year % 100, month % 12 + 1, day % 28 + 1];
    format!("{century:02}{year:02}{month:02}{day:02}{:02}{:02}{:02}Z", hour % 24, minute % 60, second % 60)
}

/// A certificate with these times and extensions; what is not read is empty.
fn written(times: [[u8; 7]; 2], extensions: &[u8]) -> Vec<u8> {
    let times = times.map(|time| der(0x18, text_of(time).as_bytes())).concat();
    let [number, empty] = [der(0x02, &[1]), der(0x30, &[])];
    let extensions = der(0xa3, &der(0x30, extensions));
    let fields = [number, empty.clone(), empty.clone(), der(0x30, &times), empty.clone(), empty, extensions];
    der(0x30, &der(0x30, &fields.concat()))
}

/// A time as GeneralizedTime shows it.
///
/// # Panics
///
/// It has more than four digits of year.
fn shown(time: SystemTime) -> String {
    const YEAR_0: Duration = Duration::from_secs(62_167_219_200);
    let since = time.duration_since(UNIX_EPOCH - YEAR_0).expect("no year before 0").as_secs();
    let (mut days, second) = (since / 86_400, since % 86_400);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // Slow and plain, other than what it is compared with.
    let mut year = days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    assert!(year <= 9999, "the year {year}");
    format!("{year:04}{month:02}{:02}{:02}{:02}{:02}Z", days + 1, second / 3600, second / 60 % 60, second % 60)
}

/// Where a time stands first and last in a certificate, in one of the two forms, of which one ends as the other.
fn places_of(time: SystemTime, certificate: &[u8]) -> [usize; 2] {
    let text = &shown(time)[2..];
    let is_there = |part: &[u8]| part == text.as_bytes();
    let (mut parts, mut again) = (certificate.windows(text.len()), certificate.windows(text.len()));
    [parts.position(is_there), again.rposition(is_there)].map(|place| place.expect("a time that stands there"))
}

fn one_certificate(data: &[u8]) {
    let time = validity(data);
    if let Some(Validity { begin, end }) = time {
        assert!(places_of(begin, data)[0] + 13 <= places_of(end, data)[1]);
        assert_eq!(time.and_then(|time| time.trouble(end + Duration::from_secs(1))), Some("has expired"));
        assert_eq!(time.and_then(|time| time.trouble(begin)).is_none(), begin <= end);
    }
    let holds = |part: &[u8]| part.is_empty() || data.windows(part.len()).any(|other| other == part);
    let found = names(data);
    let names = found.clone().unwrap_or_default();
    // A name has two bytes before it at least. Few are looked for, since each takes the time of the whole.
    assert!(names.len() * 2 <= data.len());
    for name in names.iter().take(8) {
        let is_address = || match name.parse::<IpAddr>().expect("a name that stands there") {
            IpAddr::V4(address) => holds(&address.octets()),
            IpAddr::V6(address) => holds(&address.octets()),
        };
        assert!(holds(name.as_bytes()) || is_address(), "{name:?}");
    }
    own_authority(data, time, found);
}

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

fn own_authority(data: &[u8], time: Option<Validity>, names: Option<Vec<String>>) {
    let own = CertificateDer::from(data.to_vec());
    let clients =
        |allowed: Vec<String>| Clients::new(ClientAuth::RequireAndVerify, vec![own.clone()], allowed, &PROVIDER).ok();
    let Some(anybody) = clients(Vec::new()) else { return };
    // webpki takes an authority whatever its time is; where there is none, nobody comes in.
    let is_in_time = |now| time.is_some_and(|time| time.begin <= now && now <= time.end);
    let times = time.map_or([UNIX_EPOCH; 2], |time| [time.begin, time.end]);
    let comes_in = |clients: &Clients, shown: &CertificateDer<'_>, now: SystemTime| {
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        clients.verify_client_cert(shown, &[], now).is_ok()
    };
    for now in [times[0], times[1], UNIX_EPOCH] {
        let now = now.max(UNIX_EPOCH);
        assert_eq!(comes_in(&anybody, &own, now), is_in_time(now));
        let mut forged = data.to_vec();
        *forged.last_mut().expect("an authority is not empty") ^= 1;
        assert!(!comes_in(&anybody, &CertificateDer::from(forged), now), "with another signature");
        assert!(!comes_in(&clients(vec!["\0".into()]).expect("as before"), &own, now) || data.contains(&0));
        if let Some(name) = names.as_ref().and_then(|names| names.last()) {
            let by_name = clients(vec![name.clone()]).expect("as before");
            assert_eq!(comes_in(&by_name, &own, now), is_in_time(now));
        }
    }
}

/// What is accepted is the same when it is written again, and holds together; what is refused is refused in one line,
/// with its number and a key, and never with what stands where a secret should. The tree holds no more than the text.
pub(crate) fn web_config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let tree = parse(&text);
    match &tree {
        Ok(node) => {
            let lines = text.split(['\n', '\r']).count();
            assert!(size(node, 0, lines) <= 2 * text.len(), "a tree that is larger than its text");
        }
        Err(error) => is_one_line(error, &text),
    }
    match read(&text, Path::new("/")) {
        Ok(settings) => {
            holds_together(&settings);
            honours(&tree.expect("a tree"), &settings);
            let again = in_yaml(&settings);
            let read =
                read(&again, Path::new("/")).unwrap_or_else(|error| panic!("it was taken before: {error}: {again}"));
            assert_eq!(in_yaml(&read), again);
        }
        Err(error) => {
            is_one_line(&error, &text);
            let (_, what) = error.split_once(": ").expect("what is wrong");
            let named = |node: &Node| keys(node).iter().any(|key| what.contains(&key.escape_debug().to_string()));
            assert!(tree.as_ref().map_or(true, named) || what.starts_with("the file: "), "{error:?} names no key");
        }
    }
    secrets_are_not_shown(&text);
}

fn is_one_line(error: &str, text: &str) {
    assert!(!error.contains(char::is_control), "{error:?} is no line");
    let number = error.strip_prefix("line ").and_then(|rest| rest.split_once(": ")).expect("the line").0;
    let line: usize = number.parse().expect("a number of a line");
    assert!((1..=text.split(['\n', '\r']).count() + 1).contains(&line), "{error:?}");
}

/// Bytes of the tree; each line of it is one of the text, or the one behind it, where a value is missing.
fn size(node: &Node, depth: usize, lines: usize) -> usize {
    assert!(depth < 8 && (1..=lines + 1).contains(&node.line), "a value at {}, {depth} deep", node.line);
    match &node.value {
        Value::Null => 0,
        Value::Text(text) => text.len(),
        Value::List(list) => list.iter().map(|node| size(node, depth + 1, lines)).sum(),
        Value::Map(entries) => entries.iter().map(|entry| entry.key.len() + size(&entry.node, depth + 1, lines)).sum(),
    }
}

fn keys(node: &Node) -> Vec<&str> {
    let Value::Map(entries) = &node.value else { return Vec::new() };
    entries.iter().flat_map(|entry| [vec![entry.key.as_str()], keys(&entry.node)].concat()).collect()
}

fn holds_together(settings: &Settings) {
    if let Some(tls) = &settings.tls {
        assert!(tls.names.is_empty() || tls.clients.verifies());
        assert!(tls.authorities.is_some() || !tls.clients.verifies());
        assert!(tls.authorities.is_none() || tls.clients != ClientAuth::None);
        let has_suite = |version| tls.suites.iter().any(|suite| suite.version() == version);
        assert!(!tls.versions.is_empty() && tls.versions.iter().all(|version| has_suite(*version)));
        assert!(tls.groups.as_ref().is_none_or(|groups| !groups.is_empty()));
    }
    assert!(settings.users.iter().all(|user| cost(&user.hash).is_some_and(|cost| (4..=16).contains(&cost))));
    let sensible = |rate: super::rate::Rate| !rate.interval.is_zero() && rate.interval.as_secs() <= 3600;
    assert!(settings.rate.is_none_or(|rate| sensible(rate) && rate.burst > 0));
}

/// Everything that stands in the tree is among the settings, where it can be told from them.
fn honours(tree: &Node, settings: &Settings) {
    let texts = |path: &[&str]| -> Vec<(String, String)> {
        let part = path.iter().try_fold(tree, |node, key| match &node.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.node),
            _ => None,
        });
        let Some(Node { value: Value::Map(entries), .. }) = part else { return Vec::new() };
        let text = |node: &Node| match &node.value {
            Value::Text(text) => text.clone(),
            _ => String::new(),
        };
        entries
            .iter()
            .map(|entry| (entry.key.clone(), text(&entry.node)))
            .filter(|(_, text)| !text.is_empty())
            .collect()
    };
    let users: Vec<_> = settings.users.iter().map(|user| (user.name.clone(), user.hash.clone())).collect();
    assert_eq!(texts(&["basic_auth_users"]), users);
    let mut headers = texts(&["http_server_config", "headers"]);
    headers.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
    let own = settings.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    headers.sort();
    let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
    assert_eq!(own.collect::<Vec<_>>(), headers);
    let tls = texts(&["tls_server_config"]);
    assert!(tls.is_empty() || settings.tls.is_some());
    let is_set = |key: &str| tls.iter().any(|(other, _)| other == key);
    let authorities = settings.tls.as_ref().and_then(|tls| tls.authorities.as_ref());
    assert_eq!(authorities.is_some(), is_set("client_ca") || is_set("client_ca_file"));
}

/// The settings as a file.
fn in_yaml(settings: &Settings) -> String {
    let mut yaml = String::new();
    if let Some(tls) = &settings.tls {
        yaml += "tls_server_config:\n";
        tls_in_yaml(&mut yaml, tls);
    }
    yaml += "http_server_config:\n  headers:\n";
    for (name, value) in &settings.headers {
        let known = ["Content-Security-Policy", "Strict-Transport-Security", "X-Content-Type-Options"];
        let known = [&known[..], &["X-Frame-Options", "X-XSS-Protection"]].concat();
        let name =
            known.iter().find(|known| known.eq_ignore_ascii_case(name.as_str())).expect("a header that is known");
        yaml += &format!("    {name}: {}\n", quoted(str::from_utf8(value.as_bytes()).expect("text")));
    }
    yaml += "basic_auth_users:\n";
    for user in &settings.users {
        // In this form a key may be long.
        yaml += &format!("  ? {}\n  : {}\n", quoted(&user.name), user.hash);
    }
    if let Some(rate) = settings.rate {
        yaml += &format!("rate_limit:\n  interval: {}ns\n  burst: {}\n", rate.interval.as_nanos(), rate.burst);
    }
    yaml
}

fn tls_in_yaml(yaml: &mut String, tls: &Tls) {
    let pems = [("cert", Some(&tls.certificate)), ("key", Some(&tls.key)), ("client_ca", tls.authorities.as_ref())];
    for (key, pem) in pems {
        *yaml += &match pem {
            None => continue,
            Some(Pem { source: Source::Inline(text), .. }) => format!("  {key}: {}\n", quoted(text)),
            Some(Pem { source: Source::File(path), .. }) => {
                format!("  {key}_file: {}\n", quoted(path.to_str().expect("text")))
            }
        };
    }
    let clients = match tls.clients {
        ClientAuth::None => "NoClientCert",
        ClientAuth::Request => "RequestClientCert",
        ClientAuth::RequireAny => "RequireAnyClientCert",
        ClientAuth::VerifyIfGiven => "VerifyClientCertIfGiven",
        ClientAuth::RequireAndVerify => "RequireAndVerifyClientCert",
    };
    let list = |texts: Vec<String>| texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(",\n    ");
    let number = |index: usize| match tls.versions.get(index).map(|version| version.version) {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS13",
        _ => "TLS12",
    };
    let suite =
        |suite: &rustls::SupportedCipherSuite| suite.suite().as_str().unwrap_or_default().replace("TLS13_", "TLS_");
    let group = |group: &&dyn rustls::crypto::SupportedKxGroup| match group.name() {
        rustls::NamedGroup::X25519 => "X25519".to_owned(),
        rustls::NamedGroup::secp256r1 => "CurveP256".to_owned(),
        _ => "CurveP384".to_owned(),
    };
    *yaml += &format!("  client_auth_type: {clients}\n  prefer_server_cipher_suites: {}\n", tls.own_order);
    *yaml += &format!("  min_version: {}\n  max_version: {}\n", number(tls.versions.len() - 1), number(0));
    *yaml += &format!("  cipher_suites: [{}]\n", list(tls.suites.iter().map(suite).collect()));
    *yaml += &format!("  client_allowed_sans: [{}]\n", list(tls.names.clone()));
    let groups = tls.groups.iter().flatten().map(group).collect();
    *yaml += &format!("  curve_preferences: [{}]\n", list(groups));
}

/// A text as YAML writes it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == ' ' || "!#$%&'()*+,-./:;<=>?@[]^_`{|}~".contains(c);
    let character = |c: char| if plain(c) { c.to_string() } else { format!("\\U{:08x}", u32::from(c)) };
    format!("\"{}\"", text.chars().map(character).collect::<String>())
}

/// A value at the places for secrets, bent by what stands before and behind it in its line and below.
fn secrets_are_not_shown(text: &str) {
    const SECRET: &str = "hunter2";
    let (before, after) = text.split_once('\u{fffd}').unwrap_or((text, ""));
    let before: String = before.chars().filter(|c| !c.is_control()).collect();
    if before.contains(SECRET) || after.contains(SECRET) {
        return;
    }
    for place in
        ["basic_auth_users:\n  alice: ", "tls_server_config:\n  cert: a\n  key: ", "key: ", "basic_auth_users: "]
    {
        let file = format!("{place}{before}{SECRET}{after}\n");
        // What became a key is named.
        let in_a_key = parse(&file).is_ok_and(|tree| keys(&tree).iter().any(|key| key.contains(SECRET)));
        if let Err(error) = read(&file, Path::new("/")) {
            assert!(in_a_key || !error.contains(SECRET), "{error:?} shows what may be a secret");
        }
    }
}
