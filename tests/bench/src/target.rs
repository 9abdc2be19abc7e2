//! One exporter under test, from start to stop.

use crate::{
    clock,
    process::{self, Scratch},
    scraper::Scraper,
};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command},
    time::{Duration, Instant},
};

/// Until the first page; collectd needs two of its intervals.
const READY: Duration = Duration::from_secs(15);

pub struct Target {
    name: &'static str,
    child: Child,
    pub address: SocketAddr,
    pub started: Instant,
}

impl Target {
    /// Starts the command that `build` makes for a free port, and waits for a page with at least one series.
    pub fn start(
        name: &'static str,
        scratch: &Scratch,
        build: impl FnOnce(SocketAddr) -> Result<Command, String>,
    ) -> Result<Self, String> {
        let address = free_port()?;
        let log = scratch.path().join(format!("{name}.log"));
        let child = process::spawn(&mut build(address)?, scratch, &log)?;
        let mut target = Self { name, child, address, started: Instant::now() };
        let mut last = String::new();
        let ready = process::poll(READY, || {
            if let Ok(Some(status)) = target.child.try_wait() {
                return Some(Err(format!("ended at start ({status})")));
            }
            match target.scraper(false).and_then(|mut scraper| scraper.scrape()) {
                Ok(page) if page.series() > 0 => return Some(Ok(())),
                Ok(_) => last = "its page is empty".into(),
                Err(error) => last = error,
            }
            None
        });
        match ready {
            Some(Ok(())) => Ok(target),
            Some(Err(error)) => Err(with_log(error, &log)),
            None => Err(with_log(format!("no page within {READY:?}: {last}"), &log)),
        }
    }

    pub fn scraper(&self, gzip: bool) -> Result<Scraper, String> {
        Scraper::connect(self.address, gzip)
    }

    pub fn tree(&self) -> Vec<u32> {
        process::tree(self.child.id())
    }

    /// Microseconds of CPU that the tree spent during `work`.
    pub fn cpu_during(&self, work: impl FnOnce() -> Result<(), String>) -> Result<f64, String> {
        let before = clock::cpu_us(&self.tree())?;
        work()?;
        Ok(clock::cpu_us(&self.tree())? - before)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        match process::stop(&mut self.child, libc::SIGTERM).map(process::complaint) {
            Ok(None) => {}
            Ok(Some(complaint)) | Err(complaint) => {
                eprintln!("{}: after SIGTERM: {complaint}", self.name);
            }
        }
    }
}

fn free_port() -> Result<SocketAddr, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|e| format!("no free port on loopback: {e}"))
}

/// The error and the end of what the exporter said, which mostly explains it.
fn with_log(error: String, log: &std::path::Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = &lines[lines.len().saturating_sub(3)..];
    match tail {
        [] => error,
        _ => format!("{error}; it said: {}", tail.join(" | ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exporter_that_ends_at_once_is_quoted() {
        let scratch = Scratch::new().unwrap();
        let error = Target::start("broken", &scratch, |_| {
            let mut command = Command::new("sh");
            command.args(["-c", "echo no such plugin >&2; exit 3"]);
            Ok(command)
        });
        let error = error.err().unwrap();
        assert!(error.contains("exit status: 3") && error.contains("no such plugin"), "{error}");
    }
}
