//! Telling systemd how the service is: ready, alive, stopping (sd_notify(3)). Without systemd nothing happens.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use crate::builder::Liveness;

/// The service manager that started this process and wants to hear of it.
#[derive(Debug)]
pub(super) struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that the environment names: `Type=notify` sets NOTIFY_SOCKET, `WatchdogSec=` the rest.
    pub(super) fn of_environment() -> Option<Self> {
        let path = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())?;
        let variable = |name: &str| env::var(name).ok();
        let watchdog = watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), std::process::id());
        match Self::at(path.as_bytes(), watchdog) {
            Ok(manager) => Some(manager),
            Err(error) => {
                log::warn!("environment NOTIFY_SOCKET {path:?}: {error}; systemd is told nothing");
                None
            }
        }
    }

    fn at(path: &[u8], watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match path.split_first() {
            Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
        };
        let socket = UnixDatagram::unbound()?;
        // Nothing here may wait for it.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address, watchdog })
    }

    /// Says that everything runs, then for as long as it is asked that sampling goes on, if it does: a manager that
    /// hears nothing starts the agent anew.
    pub(super) async fn attend(self: Arc<Self>, status: String, alive: Liveness) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
        let Some(every) = self.watchdog else { return };
        loop {
            if alive() {
                self.tell("WATCHDOG=1");
            }
            tokio::time::sleep(every).await;
        }
    }

    /// The last window is being delivered, which may take so long.
    pub(super) fn stopping(&self, patience: Duration) {
        self.tell(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", patience.as_micros()));
    }

    fn tell(&self, state: &str) {
        if let Err(error) = self.socket.send_to_addr(state.as_bytes(), &self.address) {
            log::debug!("systemd is not told {state:?}: {error}");
        }
    }
}

/// Half of the time after which the manager gives up: one message may be late.
pub(super) fn watchdog(micros: Option<String>, pid: Option<String>, own: u32) -> Option<Duration> {
    let meant = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let micros: u64 = micros.filter(|_| meant)?.parse().ok().filter(|micros| *micros > 1)?;
    Some(Duration::from_micros(micros / 2))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn the_watchdog_is_for_this_process_only() {
        let text = |text: &str| Some(text.to_owned());
        for (micros, pid, every) in [
            (text("30000000"), None, Some(Duration::from_secs(15))),
            (text("30000000"), text("7"), Some(Duration::from_secs(15))),
            (text("30000000"), text("8"), None),
            (text("0"), None, None),
            // Half of it would be no pause at all.
            (text("1"), None, None),
            (text("soon"), None, None),
            (None, text("7"), None),
        ] {
            assert_eq!(watchdog(micros.clone(), pid.clone(), 7), every, "{micros:?} {pid:?}");
        }
    }

    #[test]
    fn a_socket_by_path_or_by_abstract_name_hears_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let name = format!("hostgauge-test-{}", std::process::id());
        let by_name = SocketAddr::from_abstract_name(name.as_bytes()).expect("a name");
        let sockets = [
            (UnixDatagram::bind(&path).expect("a socket"), path.as_os_str().as_bytes().to_vec()),
            (UnixDatagram::bind_addr(&by_name).expect("a socket"), format!("@{name}").into_bytes()),
        ];
        for (socket, path) in sockets {
            let watched = Some(Duration::from_millis(10));
            let manager = Arc::new(Manager::at(&path, watched).expect("a manager"));
            let asked = AtomicU32::new(0);
            // Sampling goes on at first, then it hangs.
            let alive = Box::new(move || asked.fetch_add(1, Ordering::Relaxed) < 2);
            let attend = Arc::clone(&manager).attend("measuring".to_owned(), alive);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
            let ended = runtime.block_on(async { tokio::time::timeout(Duration::from_millis(200), attend).await });
            assert!(ended.is_err(), "it watches for as long as it is asked to");
            manager.stopping(Duration::from_secs(20));
            let heard = [(); 4].map(|()| {
                let mut buffer = [0; 128];
                let length = socket.recv(&mut buffer).expect("a message");
                String::from_utf8_lossy(&buffer[..length]).into_owned()
            });
            let alive = "WATCHDOG=1";
            let stopping = "STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000";
            assert_eq!(heard, ["READY=1\nSTATUS=measuring", alive, alive, stopping]);
        }
    }
}
