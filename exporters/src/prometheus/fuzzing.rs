//! Properties of the page and of what a client is given.
#![allow(clippy::expect_used, clippy::panic, reason = "a property that does not hold panics")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode};
use metrics::{Key, Label, Recorder as _};

use super::exposition::metric_name;
use super::host::Names;
use super::live::since;
use super::{Encoding, Format, PageBuilder};
use crate::fuzzing::METADATA;
use crate::fuzzing::input::{Input, parts};

/// A client gets only what it named: OpenMetrics where it stands there, gzip where nobody refuses it, and so much of
/// the history as it asked for.
pub(crate) fn negotiation(data: &[u8]) {
    let mut parts = parts(data).map(String::from_utf8_lossy);
    let (accept, query) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let lower = accept.to_ascii_lowercase();
    if Format::from_accept(&accept) == Format::OpenMetrics {
        assert!(lower.contains("application/openmetrics-text"));
    }
    assert_eq!(Format::from_accept(&format!("application/openmetrics-text,{accept}")), Format::OpenMetrics);
    if Encoding::from_accept_encoding(&accept) == Encoding::Gzip {
        assert!(lower.contains("gzip") || lower.contains('*'));
    }
    if !lower.contains("gzip") {
        assert_eq!(Encoding::from_accept_encoding(&format!("gzip;q=0,{accept}")), Encoding::Identity);
        assert_eq!(Encoding::from_accept_encoding(&format!("{accept},gzip")), Encoding::Gzip);
    }
    match since(Some(&query)) {
        Ok(Some(_)) => assert!(query.contains("since=")),
        Ok(None) => assert!(!query.split('&').any(|part| part.starts_with("since="))),
        Err(()) => {}
    }
}

/// On loopback a server answers to addresses, names without a dot and what is below `localhost`, whatever their port,
/// case and last dot; elsewhere to any. A target's own name counts like a Host.
pub(crate) fn host_header(data: &[u8]) {
    let refusal = |names: Names, target: &str, host: &[u8]| {
        let host = HeaderValue::from_bytes(host).ok()?;
        let request = Request::builder().uri(target).header(HOST, host).body(()).ok()?;
        Some(names.refusal(&request).map(|response| response.status()))
    };
    let Some(found) = refusal(Names::Local, "/", data) else { return };
    let host = String::from_utf8_lossy(data);
    match found {
        None => assert!(is_local(&host), "{host:?} is answered"),
        Some(StatusCode::MISDIRECTED_REQUEST) => assert!(!is_local(&host), "{host:?} is refused"),
        Some(status) => assert_eq!(status, StatusCode::BAD_REQUEST),
    }
    let elsewhere = found.filter(|status| *status == StatusCode::BAD_REQUEST);
    assert_eq!(refusal(Names::Any, "/", data), Some(elsewhere));
    if elsewhere.is_some() {
        return;
    }
    for same in [host.to_ascii_uppercase(), host.to_ascii_lowercase()] {
        assert_eq!(refusal(Names::Local, "/", same.as_bytes()), Some(found), "{same:?}");
    }
    let (name, port) = split(&host);
    if !name.is_empty() {
        assert_eq!(refusal(Names::Local, "/", name.as_bytes()), Some(found), "{name:?}");
        assert_eq!(refusal(Names::Local, "/", format!("{name}:9871").as_bytes()), Some(found), "{name:?} and a port");
    }
    if !name.is_empty() && !name.ends_with(['.', ']']) {
        assert_eq!(refusal(Names::Local, "/", format!("{name}.{port}").as_bytes()), Some(found), "{name:?} and a dot");
    }
    if let Some(as_target) = refusal(Names::Local, &format!("http://{host}/"), b"evil.example") {
        assert_eq!(as_target, found, "{host:?} as the target's");
    }
}

/// The name, and the port with its colon.
fn split(host: &str) -> (&str, &str) {
    let end = host.find(']').map_or_else(|| host.find(':').unwrap_or(host.len()), |bracket| bracket + 1);
    host.split_at(end)
}

fn is_local(host: &str) -> bool {
    let (name, port) = split(host);
    if !port.is_empty() && !port[1..].bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    if let Some(six) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return six.parse::<Ipv6Addr>().is_ok();
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit_once('.').map(|(_, last)| last);
    let legal = !name.contains(['@', '[', ']']);
    let is_below_localhost = last.is_some_and(|last| last.eq_ignore_ascii_case("localhost"));
    legal && (last.is_none() || is_below_localhost || name.parse::<Ipv4Addr>().is_ok())
}

type Labels = Vec<(String, String)>;

/// Any names, labels, HELP and values make a page that a strict reader of either format takes, with each gauge's last
/// value under its labels.
pub(crate) fn page(data: &[u8]) {
    let mut input = Input::new(data);
    let global = (input.text(), input.text());
    let (recorder, page) = PageBuilder::default().label(&global.0, &global.1).build().expect("a page");
    let mut gauges = Vec::new();
    for _ in 0..24 {
        if input.is_empty() {
            break;
        }
        let flags = input.byte();
        let name = input.text();
        if flags & 8 != 0 {
            recorder.describe_gauge(name.clone().into(), None, input.text().into());
        }
        let labels: Labels = (0..flags & 3).map(|_| (input.text(), input.text())).collect();
        let key_labels: Vec<Label> = labels.iter().map(Label::from).collect();
        let (key, value) = (Key::from_parts(name.clone(), key_labels), input.float());
        recorder.register_gauge(&key, &METADATA).set(value);
        gauges.push((metric_name(&name), labels, value));
    }
    let text = page.get(Format::Text, Encoding::Identity);
    let open_metrics = page.get(Format::OpenMetrics, Encoding::Identity);
    let (text, open_metrics) = (str::from_utf8(&text).expect("text"), str::from_utf8(&open_metrics).expect("text"));
    let samples = read(text);
    assert_eq!(read(open_metrics.strip_suffix("# EOF\n").expect("its end")), samples);
    // Of labels whose names are the same once they are legal, the first is there, and a series' own before a global one.
    let legal = |labels: &Labels| -> BTreeMap<String, String> {
        let legal = |(label, value): &(String, String)| (metric_name(&label.replace(':', "_")), value.clone());
        labels.iter().rev().map(legal).collect()
    };
    let whole = |labels: &Labels| legal(&labels.iter().chain([&global]).cloned().collect());
    // Where names of labels differ once they are legal, every label is there and the last value counts: none, if it is
    // absent.
    for (place, (name, labels, value)) in gauges.iter().enumerate() {
        let own = legal(labels);
        let later = gauges.iter().skip(place + 1);
        let is_same = |other: &String, more: &Labels| other == name && whole(more) == whole(labels);
        if later.into_iter().any(|(other, more, value)| is_same(other, more) && value.is_nan()) {
            continue;
        }
        let with_labels = samples.iter().filter(|((other, labels), _)| {
            other == name && own.iter().all(|label| labels.contains(&(label.0.clone(), label.1.clone())))
        });
        if own.len() == labels.len() && !value.is_nan() {
            assert!(with_labels.count() > 0, "{name} {labels:?} {value} is not in {text}");
        }
    }
}

/// The samples of a page.
///
/// # Panics
///
/// It breaks a rule of the format.
fn read(page: &str) -> BTreeMap<(String, Labels), String> {
    let mut samples = BTreeMap::new();
    let (mut families, mut family) = (Vec::new(), None);
    assert!(page.is_empty() || page.ends_with('\n'));
    for line in page.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a text");
            assert!(is_name(name) && !help.replace("\\\\", "").replace("\\n", "").replace("\\\"", "").contains('\\'));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a kind");
            assert!(is_name(name) && kind == "gauge" && !families.contains(&name), "{line:?}");
            families.push(name);
            family = Some(name);
        } else {
            let at = line.find(['{', ' ']).expect("a name");
            let (name, rest) = line.split_at(at);
            assert!(is_name(name) && family == Some(name), "{line:?} in the family {family:?}");
            let (labels, value) = labels(rest);
            assert!(value.parse::<f64>().is_ok_and(|value| !value.is_nan()), "{line:?}");
            let before = samples.insert((name.to_owned(), labels), value.to_owned());
            assert!(before.is_none(), "{line:?} is there twice");
        }
    }
    samples
}

/// The labels, and what stands behind them.
fn labels(text: &str) -> (Labels, &str) {
    let mut labels: Labels = Vec::new();
    let Some(mut rest) = text.strip_prefix('{') else { return (labels, text.strip_prefix(' ').expect("a value")) };
    loop {
        let (name, value) = rest.split_once("=\"").expect("a label");
        assert!(is_name(name) && !name.contains(':'), "label {name:?}");
        assert!(labels.iter().all(|(other, _)| other != name), "label {name:?} twice in {text:?}");
        let (mut plain, mut characters) = (String::new(), value.char_indices());
        let end = loop {
            match characters.next().expect("the end of a label") {
                (at, '"') => break at,
                (_, '\\') => plain.push(match characters.next().expect("an escape").1 {
                    'n' => '\n',
                    same @ ('\\' | '"') => same,
                    other => panic!("escape {other:?}"),
                }),
                (_, other) => plain.push(other),
            }
        };
        labels.push((name.to_owned(), plain));
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, rest.strip_prefix("} ").expect("a value")),
        }
    }
}

fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    name.chars().all(legal) && name.chars().next().is_some_and(|first| !first.is_ascii_digit())
}
