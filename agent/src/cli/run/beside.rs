//! The agent beside the command: this program once more, as a process of its own.
//!
//! It measures until its standard input ends, which happens when the command ends and when we are killed. Signals
//! mean the command, so it has them blocked; it is in a process group of its own, so a terminal does not stop it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdin, Command, ExitCode, Stdio};
use std::thread;
use std::time::Instant;

use hostgauge_collectors::Scope;
use nix::sys::signal::{SigSet, Signal as Known};
use rustix::process::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::super::agent::{self, ONE_SIGNAL};
use super::super::configuration::Configuration;
use super::super::options::{Emf, Values};
use super::super::{Failure, commands, publishing};

/// The agent, as the process that supervises has it.
pub(super) struct Beside {
    pub pid: Pid,
    /// Its end is the agent's.
    input: Option<ChildStdin>,
}

impl Beside {
    /// Starts it with our own options. `None`, with a warning, where that fails.
    pub(super) fn start(words: usize, program: Pid, values: &Values) -> Option<Self> {
        let started = options(words).and_then(|options| spawn(&options, program, values));
        started.map_err(|error| log::warn!("no agent ({error}): the command runs, but is not measured")).ok()
    }

    /// Tells it that the command has ended.
    pub(super) fn finish(&mut self) {
        self.input = None;
    }
}

/// What was typed before the command's `words` and the dashes.
fn options(words: usize) -> io::Result<Vec<OsString>> {
    let typed: Vec<OsString> = std::env::args_os().skip(1).collect();
    let options = typed.len().checked_sub(words + 1).and_then(|length| typed.get(..length));
    options.map(<[OsString]>::to_vec).ok_or_else(|| io::Error::other("its own arguments are not there"))
}

fn spawn(options: &[OsString], program: Pid, values: &Values) -> io::Result<Beside> {
    // The only words of ours that belong there, because somebody asked for them.
    let asked_for = values.dry_run || values.emf == Some(Emf::Stdout);
    let mut child = Command::new("/proc/self/exe")
        .arg0("hostgauge")
        .args(options)
        .arg(format!("--{}={}", commands::BESIDE, program.as_raw_pid()))
        .stdin(Stdio::piped())
        .stdout(if asked_for { Stdio::inherit() } else { Stdio::null() })
        .process_group(0)
        .spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("its process has no number"))?;
    Ok(Beside { pid, input: child.stdin.take() })
}

/// The agent's own process.
pub(super) fn measure(configuration: &Configuration, program: i32) -> ExitCode {
    let measured = hear_of_children().and_then(|()| until_the_command_ends(configuration, program));
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message) | Failure::RunTime(message)) => {
            log::warn!("{message}: the command runs, but is not measured");
            ExitCode::FAILURE
        }
    }
}

/// A process that gives credentials is waited for by its signal.
fn hear_of_children() -> Result<(), Failure> {
    let unblocked = SigSet::from_iter([Known::SIGCHLD]).thread_unblock();
    unblocked.map_err(|error| Failure::RunTime(format!("signals stay blocked: {error}")))
}

fn until_the_command_ends(configuration: &Configuration, program: i32) -> Result<(), Failure> {
    let mut agent = agent::configured(configuration)?.scope_without_container(scope_of(program));
    if publishing::is_on(&configuration.values) {
        agent = agent.listen_if_possible();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (command_runs, command_ended) = oneshot::channel::<()>();
        thread::Builder::new().name("hostgauge-command".into()).spawn(move || {
            // An input that cannot be read has ended, too.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            drop(command_runs);
        })?;
        let (stopping, after) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = command_ended.await;
            drop(stopping);
        };
        let hurry = async move {
            let _ = after.await;
            if second_signal(Instant::now()).await.is_err() {
                // Then the shutdown timeout is the only end.
                std::future::pending().await
            }
        };
        let scope = agent.chosen()?;
        let started = |address, _| agent::announce(configuration, &scope, address, Some(program));
        agent.run_announced(started, shutdown, hurry).await?;
        Ok(())
    })
}

/// The program's part of a machine that others share: its job's cgroup where Slurm made one, else its processes.
fn scope_of(program: i32) -> Scope {
    let program = program.unsigned_abs();
    let cgroup = std::fs::read_to_string(format!("/proc/{program}/cgroup")).unwrap_or_default();
    if cgroup.contains("/slurm") { Scope::Pid(program) } else { Scope::Tree(program) }
}

/// A signal that is not the one that ended the command.
async fn second_signal(stopping: Instant) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    SigSet::from_iter([Known::SIGTERM]).thread_unblock()?;
    loop {
        terminate.recv().await;
        if stopping.elapsed() >= ONE_SIGNAL {
            return Ok(());
        }
    }
}
