//! Work for the machine, so that there is something to measure.

use std::process::{Child, Command, Stdio};

/// A child that does not outlive its test.
pub(crate) struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A loop that never rests, pinned to a core.
pub(crate) fn busy(core: u32) -> Killed {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &core.to_string(), "sh", "-c", "while :; do :; done"]).stdin(Stdio::null());
    Killed(command.spawn().expect("taskset (Debian package util-linux) starts"))
}
