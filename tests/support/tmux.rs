//! A terminal that tests can look at and type into: tmux, with a server of its own.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::agent::clean;
use super::wait::{SOON, wait_until};

static SERVERS: AtomicU32 = AtomicU32::new(0);

/// A terminal in which a shell script runs. Killed when dropped.
pub(crate) struct Tmux(String);

impl Tmux {
    /// Runs `script` in a terminal of this size, then keeps the terminal open.
    pub(crate) fn run(script: &str, (width, height): (u16, u16), variables: &[(&str, &str)]) -> Self {
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let tmux = Self(format!("hostgauge-test-{}-{number}", std::process::id()));
        let mut command = tmux.command(&["-f", "/dev/null", "new-session", "-d", "-x", &width.to_string(), "-y"]);
        command.arg(height.to_string()).arg(format!("{script}; exec sleep 1000"));
        // The server takes its environment from whoever starts it.
        command.env_remove("TMUX").env_remove("NO_COLOR").env("LC_ALL", "C.UTF-8").envs(variables.iter().copied());
        output(&mut command);
        // What is there at the end stays as wide and high as it is, whoever looks.
        tmux.tell(&["set-option", "-g", "window-size", "manual"]);
        tmux
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = clean("tmux", &["-u", "-L", &self.0]);
        command.args(args);
        command
    }

    fn tell(&self, args: &[&str]) -> String {
        let output = output(&mut self.command(args));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// What stands there.
    pub(crate) fn screen(&self) -> String {
        self.tell(&["capture-pane", "-p"])
    }

    /// What stands there, with the sequences for its colours.
    pub(crate) fn screen_in_colour(&self) -> String {
        self.tell(&["capture-pane", "-p", "-e"])
    }

    /// A variable of tmux, such as `cursor_flag`.
    pub(crate) fn state(&self, variable: &str) -> String {
        self.tell(&["display-message", "-p", &format!("#{{{variable}}}")]).trim().to_owned()
    }

    /// Presses keys, named as tmux has them.
    pub(crate) fn press(&self, keys: &[&str]) {
        self.tell(&[&["send-keys"], keys].concat());
    }

    pub(crate) fn resize(&self, width: u16, height: u16) {
        self.tell(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// Waits until what stands there is what is looked for.
    pub(crate) fn wait_for<T>(&self, what: &str, seen: impl Fn(&str) -> Option<T>) -> T {
        // Two sides that refresh each second, and a machine that may be busy.
        wait_until(SOON + Duration::from_secs(5), what, || {
            let screen = self.screen();
            seen(&screen).ok_or(screen)
        })
    }

    /// Waits until these words stand there.
    pub(crate) fn wait_for_words(&self, words: &str) -> String {
        self.wait_for(words, |screen| screen.contains(words).then(|| screen.to_owned()))
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // It may never have started.
        let _ = self.command(&["kill-server"]).output();
    }
}

fn output(command: &mut Command) -> Output {
    let output = command.output().expect("tmux starts (Debian: apt-get install tmux)");
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}
