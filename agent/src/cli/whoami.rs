//! `hostgauge whoami`: the Host, and why.

use super::Failure;
use super::configuration::{Configuration, Origin};
use super::output;
use crate::identity::{FALLBACK, Source, choose, host_name};

/// Every place that can name the Host, the strongest first.
pub(super) fn sources(configuration: &Configuration) -> Vec<Source> {
    let given = configuration.setting("host");
    let source = |name: &str, answered: fn(&Origin) -> bool| Source {
        name: name.to_owned(),
        answer: given.filter(|setting| answered(&setting.origin)).and_then(|setting| setting.values.last().cloned()),
    };
    vec![
        source("flag --host", |origin| matches!(origin, Origin::Flag(_))),
        source("environment HOSTGAUGE_HOST", |origin| matches!(origin, Origin::Variable(_))),
        source("configuration file", |origin| matches!(origin, Origin::File(..))),
        Source { name: "host name of the system".into(), answer: host_name() },
        Source { name: "none of these".into(), answer: Some(FALLBACK.into()) },
    ]
}

pub(super) fn run(configuration: &Configuration) -> Result<(), Failure> {
    let sources = sources(configuration);
    let winner = sources.iter().position(|source| source.answer.is_some());
    let mut rows = vec![["SOURCE".to_owned(), "ANSWER".to_owned(), String::new()]];
    rows.extend(sources.iter().enumerate().map(|(index, source)| {
        let used = if Some(index) == winner { "used" } else { "" };
        [source.name.clone(), source.answer.clone().unwrap_or_else(|| "-".into()), used.to_owned()]
    }));
    output::print(&format!("Host: {}\n\n{}", choose(&sources), output::columns(&rows)))
}
