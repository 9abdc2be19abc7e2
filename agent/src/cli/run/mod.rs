//! `hostgauge run`: a command, measured while it runs, and otherwise as if it ran bare.
//!
//! Three processes: this one, which only starts, passes signals on and reaps; the command; and the agent, which is
//! this program once more, so that nothing that happens to it (a panic, a driver's crash, no memory) can reach the
//! command. The command is in our process group, so a terminal's signals and job control reach it without us. It is not
//! made to end with us: if we are killed it runs on, unmeasured. Of several of us around workers of one host, the first
//! alone has an agent.

mod beside;
mod inherited;
mod program;
mod reaper;
mod signals;
mod workers;

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::agent::{self, ONE_SIGNAL};
use super::configuration::Configuration;
use super::{Failure, commands, output, whoami};
use beside::Beside;
use inherited::Inherited;
use reaper::Change;
use signals::Signals;

/// How much longer than the shutdown timeout the agent may take: threads that are stuck are waited for, too.
const GRACE: Duration = Duration::from_secs(4);

/// How long the agent has to note what was not sent, once somebody is in a hurry.
const HURRY: Duration = Duration::from_secs(1);

pub(super) fn run(matches: &clap::ArgMatches, configuration: &Configuration) -> Result<ExitCode, Failure> {
    if let Some(pid) = commands::beside(matches) {
        return Ok(beside::measure(configuration, pid));
    }
    check(configuration)?;
    let words = commands::program(matches);
    let inherited = Inherited::look();
    let signals = match Signals::block() {
        Ok(signals) => signals,
        Err(error) => return Ok(bare(&words, error)),
    };
    reaper::adopt_orphans(&inherited);
    let program = match program::start(&words, &inherited) {
        Ok(pid) => pid,
        Err(error) => {
            output::complain(&error.to_string());
            return Ok(ExitCode::from(error.exit_code()));
        }
    };
    inherited.close_more();
    let agent = Beside::start(words.len(), program, &configuration.values);
    inherited::let_go_of_input_and_output();
    let mut supervisor = Supervisor { signals, program, agent, stopped: false };
    let code = supervisor.until_the_end();
    supervisor.last_window(configuration.values.shutdown_timeout + GRACE);
    Ok(ExitCode::from(code))
}

/// Refuses wrong options while nothing has started. Who this host is otherwise the agent finds out, in its own time.
fn check(configuration: &Configuration) -> Result<(), Failure> {
    whoami::settle_for_options(configuration);
    Ok(agent::configured(configuration)?.check()?)
}

/// The command in our place: the last resort where it cannot be supervised.
fn bare(words: &[OsString], why: nix::Error) -> ExitCode {
    log::warn!("no descriptor for signals ({why}): the command runs, but is not measured");
    let [name, arguments @ ..] = words else { return ExitCode::from(127) };
    let error = std::process::Command::new(name).args(arguments).exec();
    output::complain(&format!("{}: {error}", name.display()));
    ExitCode::from(126)
}

/// The command and the agent, and what comes for them.
struct Supervisor {
    signals: Signals,
    program: Pid,
    agent: Option<Beside>,
    /// We stopped with the command, and the next SIGCONT is a shell's to both.
    stopped: bool,
}

impl Supervisor {
    /// Passes signals on until the command ends. Its exit code.
    fn until_the_end(&mut self) -> u8 {
        loop {
            let Some(arrived) = self.signals.next(None) else { continue };
            if arrived.signal == Signal::CHILD
                && let Some(code) = self.reap()
            {
                return code;
            }
            let resumed = arrived.signal == Signal::CONT && std::mem::take(&mut self.stopped);
            // The shell's went to both; one more could undo a Ctrl-Z that came between.
            if arrived.is_for_the_command() && !resumed {
                // It may be ending at this moment.
                let _ = kill_process(self.program, arrived.signal);
            }
        }
    }

    /// Takes note of every child that ended or stopped. The command's exit code, once it has one.
    fn reap(&mut self) -> Option<u8> {
        let mut code = None;
        while let Some((pid, change)) = reaper::next() {
            match change {
                Change::Stopped(signal) if pid == self.program => self.stopped = signals::stop_as_a_job(signal),
                Change::Stopped(_) => {}
                Change::Ended(ended) if pid == self.program => code = Some(ended.exit_code()),
                Change::Ended(ended) if self.agent.as_ref().is_some_and(|agent| agent.pid == pid) => {
                    self.agent = None;
                    if !ended.has_said_why() {
                        log::warn!("the agent ended ({ended}): the command is not measured any more");
                    }
                }
                // Somebody's orphan, which nobody else would reap.
                Change::Ended(_) => {}
            }
        }
        code
    }

    /// Lets the agent close and publish the window, for so long; a signal cuts it short.
    fn last_window(&mut self, patience: Duration) {
        let ended = Instant::now();
        let mut deadline = ended + patience;
        if let Some(agent) = &mut self.agent {
            agent.finish();
        }
        while let Some(agent) = &self.agent {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.signals.next(Some(left)) {
                Some(arrived) if arrived.signal == Signal::CHILD => drop(self.reap()),
                Some(arrived) if arrived.asks_to_end() && ended.elapsed() > ONE_SIGNAL => {
                    let _ = kill_process(agent.pid, Signal::TERM);
                    deadline = deadline.min(Instant::now() + HURRY);
                }
                Some(_) => {}
                None if deadline > Instant::now() => {}
                None => {
                    log::warn!("the agent does not end: what it has not sent stays in the spool");
                    let _ = kill_process(agent.pid, Signal::KILL);
                    return;
                }
            }
        }
    }
}
