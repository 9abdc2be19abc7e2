//! Signals that come for the command.
//!
//! All of them are blocked and read from a descriptor, which tells who sent each. Blocked ones are kept even for PID 1,
//! for which the kernel throws away what has no handler.

use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal as Known};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::Signal;
use rustix_libc_wrappers::process::SignalExt as _;

/// `si_code` of a signal that the kernel sent for a reason of its own (asm-generic/siginfo.h).
const SI_KERNEL: i32 = 0x80;

pub(super) struct Signals {
    descriptor: SignalFd,
}

/// A signal that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub signal: Signal,
    code: i32,
    leads_session: bool,
}

impl Signals {
    /// From now on signals wait to be read.
    pub(super) fn block() -> nix::Result<Self> {
        let all = SigSet::all();
        let descriptor = SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        all.thread_block()?;
        Ok(Self { descriptor })
    }

    /// The next one; `None` if none came for so long, or too early.
    pub(super) fn next(&self, patience: Option<Duration>) -> Option<Arrived> {
        let mut descriptors = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
        // A millisecond too many rather than a loop at the end.
        let timeout = patience.map(|patience| PollTimeout::try_from(patience + Duration::from_millis(1)));
        match poll(&mut descriptors, timeout.map_or(PollTimeout::NONE, |timeout| timeout.unwrap_or(PollTimeout::MAX))) {
            // A stop and its end.
            Err(Errno::EINTR) => return None,
            Err(error) => {
                log::warn!("cannot wait for signals: {error}");
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(_) => {}
        }
        let info = self.descriptor.read_signal().ok()??;
        let number = i32::try_from(info.ssi_signo).ok()?;
        let Some(signal) = Signal::from_raw(number) else {
            log::warn!("signal {number} cannot be passed on");
            return None;
        };
        Some(Arrived { signal, code: info.ssi_code, leads_session: leads_session() })
    }
}

fn leads_session() -> bool {
    nix::unistd::getsid(None) == Ok(nix::unistd::getpid())
}

impl Arrived {
    /// Whether the command has not had it already. What the terminal sends goes to its whole process group, and the
    /// news of a child's end are ours.
    pub(super) fn is_for_the_command(&self) -> bool {
        let of_kernel = self.code == SI_KERNEL;
        match self.signal {
            Signal::CHILD => self.code <= 0,
            Signal::INT | Signal::QUIT | Signal::TSTP | Signal::TTIN | Signal::TTOU | Signal::WINCH => !of_kernel,
            // A terminal that hangs up tells the session's leader only.
            Signal::HUP => !of_kernel || self.leads_session,
            _ => true,
        }
    }

    pub(super) fn asks_to_end(&self) -> bool {
        [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT].contains(&self.signal)
    }
}

/// Stops us as the terminal stopped the command, so that the shell sees a stopped job. A command that somebody else
/// stops is no business of the shell's: whoever wakes it will not know that we sleep. It comes back when somebody
/// resumes us, and says whether it was a job's stop.
pub(super) fn stop_as_a_job(signal: i32) -> bool {
    let job = [Known::SIGTSTP, Known::SIGTTIN, Known::SIGTTOU];
    let Some(signal) = job.into_iter().find(|known| *known as i32 == signal) else { return false };
    let only = SigSet::from_iter([signal]);
    // Where it is ignored, or nobody could wake us (an orphaned process group, PID 1), nothing happens here either.
    let stopped = nix::sys::signal::raise(signal).and_then(|()| only.thread_unblock());
    if let Err(error) = stopped.and_then(|()| only.thread_block()) {
        log::warn!("the command is stopped, but not hostgauge: {error}");
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_terminal_sends_is_not_passed_on_again() {
        let arrived = |signal, code, leads_session| Arrived { signal, code, leads_session }.is_for_the_command();
        for signal in [Signal::INT, Signal::QUIT, Signal::TSTP, Signal::WINCH, Signal::HUP] {
            assert!(!arrived(signal, SI_KERNEL, false), "{signal:?}");
            assert!(arrived(signal, 0, false), "{signal:?}");
        }
        assert!(arrived(Signal::HUP, SI_KERNEL, true), "only the session's leader is told");
        assert!(arrived(Signal::ALARM, SI_KERNEL, false), "a timer that was set before we were started");
        assert!(arrived(Signal::TERM, SI_KERNEL, false));
        assert!(!arrived(Signal::CHILD, 1, false), "a child of ours ended");
        assert!(arrived(Signal::CHILD, 0, false), "somebody sent it");
    }
}
