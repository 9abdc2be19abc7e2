//! The effective configuration: flag over environment over file over default, each value with its origin.

use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use clap::ArgMatches;
use toml::de::{DeTable, DeValue};

use super::Failure;
use super::commands::flag;
use super::options::{OPTIONS, Opt, Values};
use crate::identity::Identity;

/// Every option's value, and where each comes from.
#[derive(Debug)]
pub(super) struct Configuration {
    pub values: Values,
    pub settings: Vec<Setting>,
    /// What was found odd, but is not wrong.
    pub warnings: Vec<String>,
    /// Who this host is by these settings; found where it is first asked for, since that may take a while.
    pub identity: OnceLock<Identity>,
}

/// One option as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub option: &'static str,
    pub values: Vec<String>,
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    Flag(String),
    Variable(String),
    File(String, usize),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::File(file, line) => write!(f, "file {file}, line {line}"),
        }
    }
}

const CONFIG_VARIABLE: &str = "HOSTGAUGE_CONFIG";

impl Configuration {
    /// Gathers the configuration of this process.
    pub(super) fn gather(matches: &ArgMatches) -> Result<Self, Failure> {
        let file = flag(matches, "config").pop().or_else(|| variable(CONFIG_VARIABLE));
        let file = match &file {
            Some(path) => read_file(path)?,
            None => Vec::new(),
        };
        let flags = |option: &Opt| flag(matches, option.name);
        let names: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
        let mut configuration = Self::merge(flags, variable, file)?;
        configuration.warnings = unknown_variables(&names);
        Ok(configuration)
    }

    pub(super) fn merge(
        flags: impl Fn(&Opt) -> Vec<String>,
        variable: impl Fn(&str) -> Option<String>,
        file: Vec<Setting>,
    ) -> Result<Self, Failure> {
        let mut values = Values::default();
        let mut settings = Vec::new();
        for option in OPTIONS {
            let setting = |values, origin| Setting { option: option.name, values, origin };
            let split = |text: String| {
                if option.many { text.split(option.separator()).map(str::to_owned).collect() } else { vec![text] }
            };
            let given = flags(option);
            let chosen = if !given.is_empty() {
                setting(given, Origin::Flag(format!("--{}", option.name)))
            } else if let Some(text) = variable(&option.variable()) {
                setting(split(text), Origin::Variable(option.variable()))
            } else if let Some(from_file) = file.iter().find(|setting| setting.option == option.name) {
                from_file.clone()
            } else if option.default.is_empty() {
                continue;
            } else {
                setting(vec![option.default.to_owned()], Origin::Default)
            };
            for text in &chosen.values {
                (option.set)(&mut values, text).ok_or_else(|| {
                    let (origin, expected) = (&chosen.origin, option.expected);
                    Failure::Usage(format!(
                        "{} \"{}\" ({origin}): expected {expected}",
                        option.name,
                        text.escape_debug()
                    ))
                })?;
            }
            settings.push(chosen);
        }
        Ok(Self { values, settings, warnings: Vec::new(), identity: OnceLock::new() })
    }

    /// Where an option's value comes from.
    pub(super) fn setting(&self, option: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.option == option)
    }
}

/// A variable that is set and not empty: `NAME=` is how many a script says "none".
fn variable(name: &str) -> Option<String> {
    let text = std::env::var_os(name)?.to_string_lossy().into_owned();
    (!text.is_empty()).then_some(text)
}

/// Variables that look like options and are none. Kubernetes sets some of its own for a service of our name.
fn unknown_variables(names: &[String]) -> Vec<String> {
    let known: Vec<String> = OPTIONS.iter().map(Opt::variable).chain([CONFIG_VARIABLE.to_owned()]).collect();
    let of_kubernetes = |name: &str| name.contains("_SERVICE_") || name.contains("_PORT");
    let unknown =
        names.iter().filter(|name| name.starts_with("HOSTGAUGE_") && !known.contains(name) && !of_kubernetes(name));
    let warning = |name: &String| {
        format!("environment {name} is no option{}", suggestion(name, known.iter().map(String::as_str)))
    };
    unknown.map(warning).collect()
}

/// The settings of a TOML file.
fn read_file(path: &str) -> Result<Vec<Setting>, Failure> {
    let refuse = |what: String| Failure::Usage(format!("configuration file {path}: {what}"));
    if Path::new(path).is_dir() {
        return Err(refuse("it is a folder; expected a TOML file".into()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| refuse(format!("cannot read it: {error}")))?;
    parse_file(path, &text).map_err(refuse)
}

pub(super) fn parse_file(path: &str, text: &str) -> Result<Vec<Setting>, String> {
    let line = |at: usize| 1 + text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count();
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        format!("line {}: {}", line(at), error.message())
    })?;
    let mut settings = Vec::new();
    for (key, value) in table.get_ref() {
        let line = line(key.span().start);
        let name: &str = key.get_ref();
        let Some(option) = OPTIONS.iter().find(|option| option.name == name) else {
            let known = OPTIONS.iter().map(|option| option.name);
            return Err(format!("line {line}: unknown key {name}{}", suggestion(name, known)));
        };
        let texts = |values: &mut dyn Iterator<Item = &DeValue<'_>>| {
            let text = |value: &DeValue<'_>| match value {
                DeValue::String(text) => Some(text.to_string()),
                DeValue::Boolean(switch) => Some(switch.to_string()),
                DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
                _ => None,
            };
            values.map(text).collect::<Option<Vec<String>>>()
        };
        let values = match value.get_ref() {
            DeValue::Array(array) if option.many => texts(&mut array.iter().map(|value| value.get_ref())),
            value => texts(&mut std::iter::once(value)),
        };
        let form = if option.many { "a string in quotes, or a list of them" } else { "a string in quotes" };
        let values = values.ok_or_else(|| format!("line {line}: {name}: expected {form}: {}", option.expected))?;
        settings.push(Setting { option: option.name, values, origin: Origin::File(path.to_owned(), line) });
    }
    Ok(settings)
}

/// "; did you mean X?", if a known name is near enough to be meant.
fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest = known.map(|known| (strsim::jaro_winkler(name, known), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, known)) if likeness > 0.8 => format!("; did you mean {known}?"),
        _ => String::new(),
    }
}

/// As a TOML file that would give the same configuration, with each value's origin beside it.
impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<(String, &Origin)> =
            self.settings.iter().map(|setting| (setting.to_string(), &setting.origin)).collect();
        let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0);
        lines.iter().try_for_each(|(line, origin)| writeln!(f, "{line:<width$}  # {origin}"))
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted: Vec<String> = self.values.iter().map(|value| quote(value)).collect();
        match quoted.as_slice() {
            [one] => write!(f, "{} = {one}", self.option),
            several => write!(f, "{} = [{}]", self.option, several.join(", ")),
        }
    }
}

/// A TOML basic string.
fn quote(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|character| match character {
            '"' => "\\\"".into(),
            '\\' => "\\\\".into(),
            control if control.is_control() => format!("\\u{:04X}", u32::from(control)),
            other => other.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn merge(flags: &[(&str, &str)], variables: &[(&str, &str)], file: &str) -> Result<Configuration, String> {
        let file = parse_file("f.toml", file)?;
        let flags = |option: &Opt| {
            flags.iter().filter(|(name, _)| *name == option.name).map(|(_, text)| (*text).to_owned()).collect()
        };
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        Configuration::merge(flags, variable, file).map_err(|failure| match failure {
            Failure::Usage(message) | Failure::RunTime(message) => message,
        })
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let file = "interval = \"3s\"\nhost = \"from-file\"\ndisk-path = [\"/a\", \"/b\"]\n";
        let merged =
            merge(&[("interval", "1s")], &[("HOSTGAUGE_INTERVAL", "2s"), ("HOSTGAUGE_HOST", "from-environment")], file)
                .expect("good values");
        assert_eq!(merged.values.interval, Duration::from_secs(1));
        assert_eq!(merged.values.host.as_deref(), Some("from-environment"));
        assert_eq!(merged.values.disk_paths, [Path::new("/a"), Path::new("/b")]);
        let origins: Vec<String> = ["interval", "host", "disk-path", "procfs"]
            .map(|name| merged.setting(name).expect("a setting").origin.to_string())
            .into();
        assert_eq!(origins, ["flag --interval", "environment HOSTGAUGE_HOST", "file f.toml, line 3", "default"]);
    }

    #[test]
    fn switches_and_numbers_need_no_quotes() {
        let merged = merge(&[("dry-run", "true")], &[], "cloudwatch = true\ncloudwatch-resolution = 1").expect("good");
        assert!(merged.values.cloudwatch && merged.values.high_resolution && merged.values.dry_run);
        assert!(!merge(&[("cloudwatch", "false")], &[], "cloudwatch = true").expect("good").values.cloudwatch);
    }

    #[test]
    fn several_values_in_each_form() {
        let paths = [Path::new("/a"), Path::new("/b")];
        let by_flag = merge(&[("disk-path", "/a"), ("disk-path", "/b")], &[], "").expect("flags");
        let by_variable = merge(&[], &[("HOSTGAUGE_DISK_PATH", "/a:/b")], "").expect("a variable");
        let one = merge(&[], &[], "disk-path = \"/a\"").expect("one string");
        assert_eq!(
            (by_flag.values.disk_paths, by_variable.values.disk_paths),
            (paths.map(Into::into).to_vec(), paths.map(Into::into).to_vec())
        );
        assert_eq!(one.values.disk_paths, [Path::new("/a")]);
    }

    #[test]
    fn mistakes_are_named_with_their_place_and_what_was_expected() {
        for (file, expected) in [
            ("\nintervall = \"1s\"", "line 2: unknown key intervall; did you mean interval?"),
            ("colour = \"red\"", "line 1: unknown key colour"),
            ("interval = 1", "interval \"1\" (file f.toml, line 1): expected a duration from 100ms to 60s, such as 1s"),
            (
                "interval = 1.5",
                "line 1: interval: expected a string in quotes: a duration from 100ms to 60s, such as 1s",
            ),
            ("interval = \"1ms\"", "interval \"1ms\" (file f.toml, line 1): expected a duration from 100ms to 60s"),
            ("interval = \"1s\"\ninterval = \"2s\"", "line 2: duplicate key"),
            ("host = \"a", "line 1: "),
            ("disk-path = [\"/\", 5.5]", "line 1: disk-path: expected a string in quotes, or a list of them"),
        ] {
            let error = merge(&[], &[], file).expect_err(file);
            assert!(error.contains(expected), "{file:?}: {error}");
        }
        let error = merge(&[], &[("HOSTGAUGE_INTERVAL", "0")], "").expect_err("0");
        assert!(error.starts_with("interval \"0\" (environment HOSTGAUGE_INTERVAL): expected"), "{error}");
    }

    #[test]
    fn unknown_variables_are_mentioned_but_not_those_of_kubernetes() {
        let names = ["HOSTGAUGE_INTERVALL", "HOSTGAUGE_SERVICE_HOST", "HOSTGAUGE_PORT", "HOSTGAUGE_HOST", "HOME"]
            .map(str::to_owned);
        assert_eq!(
            unknown_variables(&names),
            ["environment HOSTGAUGE_INTERVALL is no option; did you mean HOSTGAUGE_INTERVAL?"]
        );
    }

    #[test]
    fn what_config_prints_is_a_file_with_the_same_meaning() {
        let merged =
            merge(&[("host", "a \"b\" \\c"), ("disk-path", "/a"), ("disk-path", "/b")], &[], "").expect("good values");
        let again = merge(&[], &[], &merged.to_string()).expect("its own output");
        assert_eq!(again.values, merged.values);
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "(interval|host|disk-path)? ?=? ?[\"\\[]?.{0,60}") {
            let _ = merge(&[], &[], &text);
        }
    }
}
