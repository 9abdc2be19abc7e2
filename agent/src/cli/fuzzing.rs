//! Properties of the configuration, and of what `hostgauge top` reads.
#![allow(clippy::expect_used, reason = "a property that does not hold panics")]

use hostgauge_collectors::catalogue;

use super::configuration::{Configuration, parse_file};
use super::options::{OPTIONS, Opt};
use super::systemd::watchdog;
pub(crate) use super::top::fuzzing::top_page;
use crate::fuzzing::input::parts;

/// The effective configuration, shown as a file, is the same configuration when it is read; what is wrong is said on
/// one line. The first part of the input is the file, others are values of environment variables by the option's place.
pub(crate) fn configuration(data: &[u8]) {
    let mut parts = parts(data).map(String::from_utf8_lossy);
    let file = parts.next().unwrap_or_default();
    let variables: Vec<(String, String)> = parts
        .take(8)
        .filter_map(|part| {
            let place = usize::from(*part.as_bytes().first()?) % OPTIONS.len();
            Some((OPTIONS.get(place)?.variable(), part.get(1..)?.to_owned()))
        })
        .collect();
    let variable = |name: &str| {
        let value = variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        value.filter(|value| !value.is_empty())
    };
    let settings = match parse_file("f.toml", &file) {
        Ok(settings) => settings,
        Err(message) => return assert!(message.starts_with("line "), "{message:?}"),
    };
    let none = |_: &Opt| Vec::new();
    let merged = match Configuration::merge(none, variable, settings) {
        Ok(merged) => merged,
        Err(failure) => return assert!(!format!("{failure:?}").contains('\n')),
    };
    let shown = merged.to_string();
    assert_eq!(shown.lines().count(), merged.settings.len(), "{shown}");
    let again = parse_file("f.toml", &shown).expect(&shown);
    let again = Configuration::merge(none, |_| None, again).expect(&shown);
    let values = |configuration: &Configuration| -> Vec<_> {
        configuration.settings.iter().map(|setting| (setting.option, setting.values.clone())).collect()
    };
    assert_eq!(values(&again), values(&merged));
    assert_eq!(again.values, merged.values);

    let mut told = variables.iter().map(|(_, value)| value.clone());
    if let Some(every) = watchdog(told.next(), told.next(), 7) {
        assert!(!every.is_zero(), "a watchdog that is told without a pause");
    }
    assert!(catalogue::ALL.iter().all(|metric| !metric.name.is_empty()));
}
