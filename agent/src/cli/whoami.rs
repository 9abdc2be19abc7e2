//! `hostgauge whoami`: the Host and the kind of job, every source asked for them, and why it is so.

use serde_json::{Map, Value, json};

use super::Failure;
use super::commands::Format;
use super::configuration::{Configuration, Origin};
use super::output;
use crate::identity::{Figure, Identity, Places, Platform, Source, identify, identify_by_options};

/// Who this host is, found once: the Host of a process must not change under its series.
pub(super) fn identity(configuration: &Configuration) -> &Identity {
    configuration.identity.get_or_init(|| {
        let variables = |name: &str| std::env::var_os(name).map(|text| text.to_string_lossy().into_owned());
        let (roots, podinfo) = (&configuration.values.roots, &configuration.values.podinfo);
        identify(given(configuration), &Places { variables: Box::new(variables), roots, podinfo })
    })
}

/// Settles for what the options say: no file is waited for, no service is asked.
pub(super) fn settle_for_options(configuration: &Configuration) {
    configuration.identity.get_or_init(|| identify_by_options(given(configuration)));
}

/// What the options say, an option for each figure.
fn given(configuration: &Configuration) -> Vec<Source> {
    let of = |figure: Figure| {
        let setting = configuration.setting(figure.option()).filter(|setting| setting.origin != Origin::Default);
        let Some((setting, value)) = setting.and_then(|setting| Some((setting, setting.values.last()?))) else {
            return Source::missing(Platform::Options, format!("option --{}", figure.option()));
        };
        let place = match &setting.origin {
            Origin::File(..) => format!("{}: {}", setting.origin, figure.option()),
            origin => origin.to_string(),
        };
        let source = Source::new(Platform::Options, place).claim(figure, "the value", value);
        // A host with an endpoint and a variant is one of an endpoint.
        match figure {
            Figure::Endpoint if configuration.setting(Figure::Variant.option()).is_some() => {
                source.claim(Figure::Kind, "kind", "endpoint")
            }
            _ => source,
        }
    };
    Figure::ALL.map(of).into()
}

pub(super) fn run(configuration: &Configuration, format: Format) -> Result<(), Failure> {
    let identity = identity(configuration);
    output::print(&match format {
        Format::Json => as_json(identity),
        _ => as_text(identity),
    })
}

/// The figures but for the Host, which is made of them.
fn figures(identity: &Identity) -> impl Iterator<Item = (Figure, &Source, &str)> {
    let parts = Figure::ALL.into_iter().filter(|figure| *figure != Figure::Host);
    parts.filter_map(|figure| identity.answer(figure).map(|(source, text)| (figure, source, text)))
}

fn as_text(identity: &Identity) -> String {
    let mut text = format!("Host: {}\n", identity.host);
    if let Some(guess) = identity.guess {
        text.push_str(&format!("identity: guessed ({guess})\n"));
    }
    if identity.answer(Figure::Kind).is_none() {
        text.push_str(&format!("job-kind: {} (assumed, as no source has one)\n", identity.kind.as_str()));
    }
    for (figure, source, answer) in figures(identity) {
        text.push_str(&format!("{}: {answer} ({})\n", figure.option(), source.name));
    }
    identity.warnings.iter().for_each(|warning| text.push_str(&format!("warning: {warning}\n")));
    let mut rows = vec![["SOURCE".to_owned(), "ANSWER".to_owned(), String::new()]];
    rows.extend(identity.sources.iter().enumerate().map(|(index, source)| {
        let used = if identity.used.contains(&index) { "used" } else { "" };
        [source.name.clone(), said(source), used.to_owned()]
    }));
    format!("{text}\n{}", output::columns(&rows))
}

/// What a source said, and what kept it from saying more.
fn said(source: &Source) -> String {
    let plain = |(figure, text): &(Figure, String)| match figure {
        Figure::Host => text.clone(),
        figure => format!("{} {text}", figure.option()),
    };
    let claims = source.claims.iter().map(plain);
    let said: Vec<String> = claims.chain(source.silence.as_ref().map(|silence| format!("- {silence}"))).collect();
    said.join(", ")
}

fn key(figure: Figure) -> String {
    figure.option().replace('-', "_")
}

fn as_json(identity: &Identity) -> String {
    let known = figures(identity);
    let known: Map<String, Value> =
        known.map(|(figure, source, text)| (key(figure), json!({ "value": text, "source": source.name }))).collect();
    let source = |(index, source): (usize, &Source)| {
        let answer = source.claims.iter().map(|(figure, text)| (key(*figure), json!(text)));
        json!({
            "name": source.name,
            "platform": source.platform.as_str(),
            "answer": answer.collect::<Map<String, Value>>(),
            "silence": source.silence.as_ref().map(ToString::to_string),
            "used": identity.used.contains(&index),
        })
    };
    let sources: Vec<Value> = identity.sources.iter().enumerate().map(source).collect();
    let all = json!({
        "Host": identity.host,
        "guessed": identity.guess.is_some(),
        "guess": identity.guess,
        "job_kind": identity.kind.as_str(),
        "figures": known,
        "warnings": identity.warnings,
        "sources": sources,
    });
    format!("{all:#}\n")
}
