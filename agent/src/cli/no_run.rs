//! `hostgauge run` is Linux's: it needs signalfd and a subreaper.

use std::process::ExitCode;

use super::Failure;
use super::configuration::Configuration;

pub(super) fn run(_: &clap::ArgMatches, _: &Configuration) -> Result<ExitCode, Failure> {
    Err(Failure::Usage("run: only Linux has it; start the command and hostgauge side by side".into()))
}
