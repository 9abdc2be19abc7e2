//! The agent beside the command: this program once more, as a process of its own.
//!
//! It measures until its standard input ends, which happens when the command ends and when we are killed. Signals
//! mean the command, so it has them blocked; it is in a process group of its own, so a terminal does not stop it.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
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
use super::super::{Failure, commands, publishing, start_code};
use super::workers;

/// The agent, as the process that supervises has it.
pub(super) struct Beside {
    pub pid: Pid,
    /// Its end is the agent's.
    input: Option<ChildStdin>,
}

impl Beside {
    /// Starts it with our own options. `None`, and why in the log, where that fails or another of us does it.
    pub(super) fn start(words: usize, program: Pid, values: &Values) -> Option<Self> {
        if let Some((variable, number)) = workers::measured_by_another() {
            log::info!("{variable} is {number}: the hostgauge of worker 0 measures this host for all its workers");
            return None;
        }
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
        let (scope, guard) = (agent.chosen()?, agent.guard());
        let started = |address: Option<SocketAddr>, _| {
            let page = address.map(|address| (address, guard));
            agent::announce(configuration, &scope, page, Some(program));
            start_code::unmap_soon(publishing::period(&configuration.values));
        };
        agent.run_announced(started, shutdown, hurry).await?;
        Ok(())
    })
}

/// The program's part of a machine that others share: its job's cgroup where Slurm made one, else its processes, with
/// those of the workers beside it that nobody else measures.
fn scope_of(program: i32) -> Scope {
    let cgroup = std::fs::read_to_string(format!("/proc/{program}/cgroup")).unwrap_or_default();
    let processes = || Scope::Tree(workers::launcher_of_several().unwrap_or(program.unsigned_abs()));
    slurm_job(&cgroup).map_or_else(processes, |path| Scope::Cgroup(path.to_owned()))
}

/// The cgroup of the job, above those of the step and task that the text of /proc/PID/cgroup names: Slurm makes
/// `/slurm_NODE/uid_0/job_7/step_0/task_0` in version 1, `/system.slice/slurmstepd.scope/job_7/...` in version 2. In
/// version 1 one that counts CPU time is there by jobacct_gather/cgroup; without it Slurm's only track or limit.
fn slurm_job(membership: &str) -> Option<&str> {
    membership.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let counts = controllers.is_empty() || controllers.split(',').any(|name| name == "cpuacct");
        let path = Some(path).filter(|_| counts)?;
        let number = path.find("/slurm").and_then(|start| Some(start + path.get(start..)?.find("/job_")?))? + 5;
        let rest = path.get(number..)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        (digits > 0 && matches!(rest.as_bytes().get(digits), None | Some(b'/'))).then(|| path.get(..number + digits))?
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_of_a_step_of_slurm_is_found_in_both_versions() {
        let hybrid = "9:name=systemd:/\n6:freezer:/slurm_a/uid_0/job_7/step_0\n\
                      2:cpu,cpuacct:/slurm_a/uid_0/job_7/step_0/task_0\n1:memory:/\n0::/\n";
        assert_eq!(slurm_job(hybrid), Some("/slurm_a/uid_0/job_7"));
        let v2 = "0::/system.slice/slurmstepd.scope/job_4711/step_batch/user/task_0\n";
        assert_eq!(slurm_job(v2), Some("/system.slice/slurmstepd.scope/job_4711"));
        assert_eq!(slurm_job("0::/slurm/job_12\n"), Some("/slurm/job_12"));
    }

    #[test]
    fn what_is_no_job_of_slurm_is_none() {
        for text in
            ["0::/\n", "0::/system.slice/slurmd.service\n", "0::/job_7/slurm\n", "0::/slurm/job_x\n", "junk", ""]
        {
            assert_eq!(slurm_job(text), None, "{text:?}");
        }
        assert_eq!(slurm_job("0::/slurm/job_7x/step_0\n"), None);
        let tracked_only = "6:freezer:/slurm_a/uid_0/job_7/step_0\n2:cpuacct:/\n0::/\n";
        assert_eq!(slurm_job(tracked_only), None);
    }
}
