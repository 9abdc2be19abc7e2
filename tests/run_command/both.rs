//! A program bare, and the same under `hostgauge run`.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};

use crate::support::agent::{BINARY, Log, clean, end_of};
use crate::support::load::Killed;
use crate::support::wait::{SOON, wait_until};

/// `words` under `hostgauge run`, on a port of its own.
pub(crate) fn under<'a>(words: &[&'a str]) -> Vec<&'a str> {
    with(&[], words)
}

/// The same with more options.
pub(crate) fn with<'a>(options: &[&'a str], words: &[&'a str]) -> Vec<&'a str> {
    [&[BINARY, "run", "--prometheus-listen", "127.0.0.1:0"], options, &["--"], words].concat()
}

/// A command of words, without the settings of whoever runs the tests.
pub(crate) fn command(words: &[&str]) -> Command {
    clean(words[0], &words[1..])
}

/// A script of the tests, for python3.
pub(crate) fn script(name: &str) -> String {
    crate::support::file("run_command").join(name).into_os_string().into_string().expect("UTF-8")
}

/// What a shell would say of the end of a program.
pub(crate) fn shell_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).expect("one of both")
}

/// A program whose output can be followed.
pub(crate) struct Running {
    pub child: Killed,
    pub out: Log,
    pub err: Log,
}

impl Running {
    pub(crate) fn start(words: &[&str]) -> Self {
        Self::spawn(command(words))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Killed(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let out = Log::follow(child.0.stdout.take().expect("a pipe"));
        let err = Log::follow(child.0.stderr.take().expect("a pipe"));
        Self { child, out, err }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    pub(crate) fn wait_for(&self, words: &str) {
        wait_until(SOON, &format!("it prints {words}"), || {
            let out = self.out.text();
            if out.contains(words) { Ok(()) } else { Err(format!("{out}\nand said:\n{}", self.err.text())) }
        });
    }

    pub(crate) fn end(&mut self) -> ExitStatus {
        end_of(&mut self.child.0, "the end of the program")
    }

    /// The agent beside the program.
    pub(crate) fn agent(&self) -> u32 {
        let is_agent = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("--beside=")
        };
        wait_until(SOON, "an agent beside the program", || {
            children(self.pid()).into_iter().find(is_agent).ok_or_else(|| self.err.text())
        })
    }
}

pub(crate) fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub(crate) fn kill(signal: &str, pid: u32) {
    // procps' kill(1) does not know every real-time signal; bash's own does.
    let status =
        Command::new("bash").args(["-c", "kill -$0 $1", signal, &pid.to_string()]).status().expect("bash starts");
    assert!(status.success(), "kill -{signal} {pid}: {status}");
}
