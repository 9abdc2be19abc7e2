//! What can be typed: subcommands, and every option of [`OPTIONS`] as a flag.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::options::OPTIONS;

/// A subcommand with its own arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Agent,
    Run,
    Once(Format),
    #[cfg(feature = "top")]
    Top,
    Catalogue(Format),
    Config,
    Whoami(Format),
    Check(Format),
}

/// `--format`; each command offers those that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
    Prometheus,
    Markdown,
}

impl Format {
    fn of(matches: &ArgMatches) -> Self {
        match matches.get_one::<String>("format").map(String::as_str) {
            Some("json") => Self::Json,
            Some("prometheus") => Self::Prometheus,
            Some("markdown") => Self::Markdown,
            _ => Self::Text,
        }
    }

    fn arg(names: &'static [&'static str]) -> Arg {
        Arg::new("format")
            .long("format")
            .value_name("FORMAT")
            .value_parser(names.to_vec())
            .default_value(names[0])
            .help("How to print it")
    }
}

pub(super) fn parser() -> clap::Command {
    let command = |name: &'static str, about: &'static str| clap::Command::new(name).about(about);
    let mut parser = clap::Command::new("hostgauge")
        .version(env!("CARGO_PKG_VERSION"))
        .about("SageMaker's utilization metrics anywhere: CPU, memory and disk of this host, for CloudWatch and Prometheus")
        .long_about(
            "SageMaker's utilization metrics anywhere: CPU, memory and disk of this host, for CloudWatch and \
             Prometheus.\n\n\
             Without a command the agent runs until SIGTERM or Ctrl-C. Every option is also an environment variable \
             (--disk-path is HOSTGAUGE_DISK_PATH, several values separated by ':') and a key of the configuration file; \
             a flag wins over the environment, the environment over the file.\n\n\
             SIGUSR1 makes the agent let NVIDIA's driver go, so that GPUs can be reset, taken out or repartitioned and \
             the driver upgraded; SIGUSR2 ends that, and GPUs that are gone by then are forgotten.",
        )
        .subcommand(run())
        .subcommand(
            command("once", "Take two readings one interval apart, print the figures, and exit")
                .arg(Format::arg(&["text", "json", "prometheus"])),
        )
        .subcommand(
            command("catalogue", "Print every metric: its names, unit, range and source")
                .arg(Format::arg(&["text", "json", "markdown"])),
        )
        .subcommand(command("config", "Print the effective configuration and where each value comes from"))
        .subcommand(
            command("check", "Say what would work and what would not, why, and what to do; nothing is published")
                .arg(Format::arg(&["text", "json"])),
        )
        .subcommand(
            command("whoami", "Print the Host, every source asked for it, and which one won")
                .arg(Format::arg(&["text", "json"])),
        )
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .global(true)
                .help("Read options from this TOML file, too"),
        );
    #[cfg(feature = "top")]
    {
        parser = parser.subcommand(top(command("top", "Show the figures in this terminal, as they change")));
    }
    for option in OPTIONS {
        let is_switch = option.value_name.is_empty();
        let default = match option.default {
            "" => String::new(),
            _ if is_switch => String::new(),
            default => format!(" [default: {default}]"),
        };
        let arg = Arg::new(option.name).long(option.name).global(true).help(format!("{}{default}", option.help));
        parser = parser.arg(if is_switch {
            arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("BOOL")
        } else {
            arg.value_name(option.value_name)
                .action(if option.many { ArgAction::Append } else { ArgAction::Set })
                // "-1s" is a bad value, and its option says what it expects. A Host can be anything, so there it is a flag.
                .allow_hyphen_values(!option.default.is_empty())
        });
    }
    parser
}

fn run() -> clap::Command {
    clap::Command::new("run")
        .about("Run a command, measure while it runs, and end with its exit code")
        .long_about(
            "Run a command, measure while it runs, and end with its exit code (128+n for signal n, 126 and 127 as a \
             shell has them).\n\n\
             It has our standard input, output and error, and gets every signal that we get. What keeps hostgauge from \
             measuring is a warning: the command runs all the same. Wrong options are refused before it starts.",
        )
        .override_usage("hostgauge run [OPTIONS] -- COMMAND [ARGS]")
        .arg(
            Arg::new(PROGRAM)
                .value_name("COMMAND")
                .help("The command, after two dashes, and its arguments")
                .value_parser(value_parser!(OsString))
                .num_args(1..)
                .last(true)
                .required_unless_present(BESIDE),
        )
        .arg(Arg::new(BESIDE).long(BESIDE).value_name("PID").value_parser(value_parser!(i32)).hide(true))
}

const PROGRAM: &str = "command";

/// Marks the process that measures: `hostgauge run` starts itself once more with it.
pub(super) const BESIDE: &str = "beside";

/// The command of `hostgauge run` and its arguments.
#[cfg(target_os = "linux")]
pub(super) fn program(matches: &ArgMatches) -> Vec<OsString> {
    let words = matches.subcommand_matches("run").and_then(|matches| matches.get_many::<OsString>(PROGRAM));
    words.map(|words| words.cloned().collect()).unwrap_or_default()
}

/// The process beside which this one measures.
pub(super) fn beside(matches: &ArgMatches) -> Option<i32> {
    matches.subcommand_matches("run").and_then(|matches| matches.get_one::<i32>(BESIDE)).copied()
}

/// Its options say what it samples by itself, and where an agent would be.
#[cfg(feature = "top")]
fn top(command: clap::Command) -> clap::Command {
    command
        .long_about(
            "Show the figures in this terminal, as they change: those of the agent that runs here, if its page answers \
             (see --prometheus-listen), else of sampling by itself. Keys: ? shows them.",
        )
        .arg(
            Arg::new("url")
                .long("url")
                .value_name("URL")
                .help("The agent to show, such as http://127.0.0.1:9871 or https://NAME:PASSWORD@HOST:9871"),
        )
        .arg(
            Arg::new("ca-file")
                .long("ca-file")
                .value_name("FILE")
                .help("The certificates that sign the agent's, as PEM [default: those of the system]"),
        )
}

pub(super) fn chosen(matches: &ArgMatches) -> Command {
    match matches.subcommand() {
        Some(("run", _)) => Command::Run,
        Some(("once", matches)) => Command::Once(Format::of(matches)),
        #[cfg(feature = "top")]
        Some(("top", _)) => Command::Top,
        Some(("catalogue", matches)) => Command::Catalogue(Format::of(matches)),
        Some(("config", _)) => Command::Config,
        Some(("whoami", matches)) => Command::Whoami(Format::of(matches)),
        Some(("check", matches)) => Command::Check(Format::of(matches)),
        _ => Command::Agent,
    }
}

/// The values that a flag was given; empty where it was not.
pub(super) fn flag(matches: &ArgMatches, name: &str) -> Vec<String> {
    // Global arguments are passed down, so the innermost command has them all.
    let innermost = matches.subcommand().map_or(matches, |(_, inner)| inner);
    innermost.get_many::<String>(name).map(|values| values.cloned().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_parser_is_consistent() {
        super::parser().debug_assert();
    }
}
