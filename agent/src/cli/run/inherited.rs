//! What whoever started us left us, so that the command gets the same.

use std::fs;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use nix::sys::signal::SigSet;
use rustix::process::Signal;

static PIPE_IGNORED: AtomicBool = AtomicBool::new(false);
/// A bit for each of the standard descriptors.
static CLOSED: AtomicU8 = AtomicU8::new(0);

ctor::declarative::ctor! {
    /// Rust's start-up ignores SIGPIPE and opens /dev/null in place of closed standard descriptors: look before. It
    /// runs in a process of one thread, reads two files, and needs nothing that is set up later.
    #[ctor(unsafe)]
    fn look_before_main() {
        // First, since a file that is open would take the place of a closed descriptor.
        let closed = (0..3).filter(|descriptor| !is_open(*descriptor));
        let closed = closed.fold(0, |bits, descriptor| bits | 1 << descriptor);
        CLOSED.store(closed, Ordering::Relaxed);
        PIPE_IGNORED.store(is_in(ignored(), Signal::PIPE), Ordering::Relaxed);
    }
}

fn is_open(descriptor: RawFd) -> bool {
    fs::symlink_metadata(format!("/proc/self/fd/{descriptor}")).is_ok()
        // Without procfs nothing is known, and most are open.
        || fs::symlink_metadata("/proc/self/fd").is_err()
}

/// The signals that this process ignores, a bit each.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn is_in(mask: u64, signal: Signal) -> bool {
    mask >> (signal.as_raw() - 1) & 1 == 1
}

pub(super) struct Inherited {
    /// The signals that are blocked.
    pub blocked: SigSet,
    /// Standard descriptors that are closed.
    pub closed: Vec<RawFd>,
    /// Descriptors beyond the standard ones.
    more: Vec<RawFd>,
    ignored: u64,
}

impl Inherited {
    /// To be called before anything is opened or blocked.
    pub(super) fn look() -> Self {
        let closed = CLOSED.load(Ordering::Relaxed);
        let entries: Vec<RawFd> = fs::read_dir("/proc/self/fd")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        Self {
            blocked: SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty()),
            closed: (0..3).filter(|descriptor| closed >> descriptor & 1 == 1).collect(),
            // The folder itself was one of them.
            more: entries.into_iter().filter(|descriptor| *descriptor > 2 && is_open(*descriptor)).collect(),
            ignored: ignored(),
        }
    }

    pub(super) fn ignores(&self, signal: Signal) -> bool {
        if signal == Signal::PIPE { PIPE_IGNORED.load(Ordering::Relaxed) } else { is_in(self.ignored, signal) }
    }

    /// Closes what is the command's alone: who waits for the end of a pipe must not wait for us.
    pub(super) fn close_more(&self) {
        for descriptor in &self.more {
            let _ = nix::unistd::close(*descriptor);
        }
    }
}

/// The same for standard input and output. Standard error stays, for warnings.
pub(super) fn let_go_of_input_and_output() {
    let null = fs::File::options().read(true).write(true).open("/dev/null");
    let done = null.map(|null| nix::unistd::dup2_stdin(&null).and_then(|()| nix::unistd::dup2_stdout(&null)));
    if let Err(error) = done.and_then(|done| done.map_err(Into::into)) {
        log::info!("standard input and output stay open until hostgauge ends: {error}");
    }
}
