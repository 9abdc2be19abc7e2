//! Starting the command, with all that we inherited and nothing else.

use std::ffi::{CString, OsString};
use std::fmt;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal as Known};
use rustix::process::{Pid, Signal};

use super::inherited::Inherited;

/// Why the command could not be started.
#[derive(Debug)]
pub(super) struct NotStarted {
    program: String,
    why: Errno,
    is_there: bool,
}

impl NotStarted {
    /// As a shell has it: 127 if the command or its interpreter is not there, 126 if it cannot be run.
    pub(super) fn exit_code(&self) -> u8 {
        if self.why == Errno::ENOENT { 127 } else { 126 }
    }
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, why, is_there } = self;
        match why {
            Errno::ENOENT if *is_there => write!(f, "{program}: its interpreter or loader is not there"),
            Errno::ENOENT if program.contains('/') => write!(f, "{program}: there is no such file"),
            Errno::ENOENT => write!(f, "{program}: command not found (in PATH)"),
            Errno::EACCES => write!(f, "{program}: not executable"),
            Errno::ENOEXEC => write!(f, "{program}: neither a program nor a script that begins with #!"),
            why => write!(f, "{program}: cannot be started: {}", why.desc()),
        }
    }
}

/// Starts it: found as execvp does, in our process group and folder, with our environment and descriptors, and with
/// the signals blocked and ignored that were when we were started.
pub(super) fn start(words: &[OsString], inherited: &Inherited) -> Result<Pid, NotStarted> {
    let program = words.first().cloned().unwrap_or_default();
    spawn(words, inherited).map_err(|why| NotStarted {
        is_there: program.to_string_lossy().contains('/') && Path::new(&program).exists(),
        program: program.to_string_lossy().into_owned(),
        why,
    })
}

fn spawn(words: &[OsString], inherited: &Inherited) -> nix::Result<Pid> {
    let arguments = words.iter().cloned().map(text).collect::<nix::Result<Vec<CString>>>()?;
    let variables = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        text(name)
    });
    let environment = variables.collect::<nix::Result<Vec<CString>>>()?;
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_sigmask(&inherited.blocked)?;
    let mut flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK;
    if !inherited.ignores(Signal::PIPE) {
        // Rust's start-up ignores it.
        attributes.set_sigdefault(&SigSet::from_iter([Known::SIGPIPE]))?;
        flags |= PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF;
    }
    attributes.set_flags(flags)?;
    let mut files = PosixSpawnFileActions::init()?;
    for descriptor in &inherited.closed {
        files.add_close(*descriptor)?;
    }
    let name = arguments.first().ok_or(Errno::ENOENT)?;
    let pid = posix_spawnp(name, &files, &attributes, &arguments, &environment)?;
    Pid::from_raw(pid.as_raw()).ok_or(Errno::ESRCH)
}

/// What came from a process' arguments or environment has no zero byte inside.
fn text(text: OsString) -> nix::Result<CString> {
    CString::new(text.into_vec()).map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_a_shells() {
        for (program, why, is_there, code, words) in [
            ("nothing", Errno::ENOENT, false, 127, "nothing: command not found (in PATH)"),
            ("./nothing", Errno::ENOENT, false, 127, "./nothing: there is no such file"),
            ("./script", Errno::ENOENT, true, 127, "./script: its interpreter or loader is not there"),
            ("/etc/passwd", Errno::EACCES, true, 126, "/etc/passwd: not executable"),
            ("./text", Errno::ENOEXEC, true, 126, "./text: neither a program nor a script that begins with #!"),
            ("train", Errno::EAGAIN, false, 126, "train: cannot be started: Try again"),
        ] {
            let error = NotStarted { program: program.into(), why, is_there };
            assert_eq!((error.exit_code(), error.to_string().as_str()), (code, words));
        }
    }
}
