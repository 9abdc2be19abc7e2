//! The command line: `hostgauge` and its subcommands.
//!
//! Standard output carries what was asked for, standard error everything else. Exit codes: 0 done, 1 failed at run
//! time, 2 wrong usage or configuration; `hostgauge run` ends with its command's own.

mod agent;
mod catalogue;
mod check;
mod commands;
mod configuration;
#[cfg(all(any(test, fuzzing), feature = "top", target_os = "linux"))]
pub(crate) mod fuzzing;
mod logging;
mod once;
mod options;
mod output;
#[cfg_attr(not(feature = "cloudwatch"), path = "no_publishing.rs")]
mod publishing;
mod reader;
#[cfg_attr(not(target_os = "linux"), path = "no_run.rs")]
mod run;
mod start_code;
#[cfg_attr(not(target_os = "linux"), path = "no_systemd.rs")]
mod systemd;
#[cfg(feature = "top")]
mod top;
mod undumpable;
#[cfg_attr(not(feature = "web-config"), path = "no_web_config.rs")]
mod web_config;
mod whoami;

use std::process::ExitCode;

pub use catalogue::markdown as catalogue_markdown;

use commands::Command;
use configuration::Configuration;

/// Why a command ended without doing what was asked.
#[derive(Debug)]
enum Failure {
    /// Wrong usage or configuration.
    Usage(String),
    /// It was right, and failed all the same.
    RunTime(String),
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        match error {
            crate::Error::Invalid(message) => Self::Usage(message),
            error => Self::RunTime(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::RunTime(error.to_string())
    }
}

/// Runs the command that the process' arguments name, and says how it ended.
pub fn main() -> ExitCode {
    let matches = match commands::parser().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version go to standard output, mistakes to standard error; neither can be said elsewhere if that
            // fails.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let (code, message) = match Configuration::gather(&matches).and_then(|configuration| run(&matches, &configuration))
    {
        Ok(code) => return code,
        Err(Failure::Usage(message)) => (2, message),
        Err(Failure::RunTime(message)) => (1, message),
    };
    output::complain(&message);
    ExitCode::from(code)
}

fn run(matches: &clap::ArgMatches, configuration: &Configuration) -> Result<ExitCode, Failure> {
    let command = commands::chosen(matches);
    logging::install(configuration.values.log_format, if command == Command::Run { "warn" } else { "info" });
    let beside = commands::beside(matches).is_some();
    // What starts a program holds no more than that program does, and waits.
    if command != Command::Run || beside {
        undumpable::make_undumpable();
    }
    // The agent of `hostgauge run` has the same configuration, and was warned.
    if !beside {
        configuration.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    }
    let done = match command {
        Command::Run => return run::run(matches, configuration),
        Command::Agent => agent::run(configuration),
        Command::Once(format) => once::run(configuration, format),
        #[cfg(feature = "top")]
        Command::Top => {
            top::run(configuration, commands::flag(matches, "url").first(), commands::flag(matches, "ca-file").first())
        }
        Command::Catalogue(format) => catalogue::run(format),
        Command::Config => output::print(&configuration.to_string()),
        Command::Whoami(format) => whoami::run(configuration, format),
        Command::Check(format) => check::run(configuration, format),
    };
    done.map(|()| ExitCode::SUCCESS)
}
