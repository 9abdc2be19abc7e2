//! Children that ended or stopped: the command, the agent, and every orphan that fell to us.

use std::fmt;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use super::inherited::Inherited;

/// What became of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Stopped by a signal.
    Stopped(i32),
    Ended(Ended),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Exited(i32),
    Killed(i32),
}

impl Ended {
    /// 128+n for signal n.
    pub(super) fn exit_code(self) -> u8 {
        let code = match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => 128 + signal,
        };
        (code & 0xff) as u8
    }

    /// Whether it ended in order, so that its last words were its own.
    pub(super) fn has_said_why(self) -> bool {
        matches!(self, Self::Exited(0..=2))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Killed(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// Makes orphans below the command our children, and sees to it that children can be waited for.
pub(super) fn adopt_orphans(inherited: &Inherited) {
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        log::info!("orphans go to another process: {error}");
    }
    if inherited.ignores(Signal::CHILD)
        && let Err(error) = hear_of_children()
    {
        log::warn!("SIGCHLD is ignored, and stays so ({error}): the command's exit code cannot be known");
    }
}

/// While SIGCHLD is ignored the kernel throws exit codes away; a handler, even one that is never called, ends that.
fn hear_of_children() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _within = runtime.enter();
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child()).map(drop)
}

/// The next child that changed; `None` if there is none at the moment.
pub(super) fn next() -> Option<(Pid, Change)> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            Ok(Some((pid, status))) => {
                if let Some(change) = change(status) {
                    return Some((pid, change));
                }
            }
            Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

fn change(status: WaitStatus) -> Option<Change> {
    let exited = status.exit_status().map(Ended::Exited);
    let ended = exited.or_else(|| status.terminating_signal().map(Ended::Killed));
    ended.map(Change::Ended).or_else(|| status.stopping_signal().map(Change::Stopped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_commands_own() {
        assert_eq!(Ended::Exited(0).exit_code(), 0);
        assert_eq!(Ended::Exited(255).exit_code(), 255);
        assert_eq!(Ended::Killed(9).exit_code(), 137);
        assert_eq!(Ended::Killed(64).exit_code(), 192);
    }
}
