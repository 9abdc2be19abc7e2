//! The real binary: started as a user would, stopped with a signal, never left behind.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::http::{self, Response};
use super::load::Killed;
use super::page::Page;
use super::wait::{SOON, wait_until};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_hostgauge");

/// The binary, with nothing on its standard input.
pub(crate) fn hostgauge(args: &[&str]) -> Command {
    clean(BINARY, args)
}

/// A program without the settings that whoever runs the tests has for the binary.
pub(crate) fn clean(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).env_remove("RUST_LOG");
    let ours = std::env::vars_os().map(|(name, _)| name);
    ours.filter(|name| name.to_string_lossy().starts_with("HOSTGAUGE_")).for_each(|name| {
        command.env_remove(name);
    });
    command
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a program that ends by itself.
pub(crate) fn run(command: &mut Command, input: &str) -> Ended {
    let what = format!("the end of {command:?}");
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Killed(piped.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program())));
    let stdout = Log::follow(child.0.stdout.take().expect("a pipe"));
    let stderr = Log::follow(child.0.stderr.take().expect("a pipe"));
    child.0.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the program reads its input");
    let status = end_of(&mut child.0, &what);
    Ended { status, stdout: stdout.whole(), stderr: stderr.whole() }
}

/// Standard output of a run of the binary that ends well.
pub(crate) fn stdout(args: &[&str]) -> String {
    let ended = run(&mut hostgauge(args), "");
    assert!(ended.status.success(), "{args:?}: {ended:?}");
    ended.stdout
}

/// An agent that runs. Killed when dropped.
pub(crate) struct Agent {
    child: Killed,
    address: SocketAddr,
    log: Log,
}

impl Agent {
    /// Starts it on a free port and waits until it says which.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(hostgauge(&[&["--prometheus-listen", "127.0.0.1:0"], args].concat()))
    }

    /// Starts it after a shell `script`, in a mount namespace of its own: the script's mounts end with the agent.
    pub(crate) fn start_among_mounts(script: &str, args: &[&str]) -> Self {
        Self::spawn(among_mounts(script, args))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = Killed(command.stderr(Stdio::piped()).spawn().expect("the agent starts"));
        let log = Log::follow(child.0.stderr.take().expect("a pipe"));
        let address = wait_until(SOON, "the log names the page's address", || {
            let address = page_address(&log.text());
            let ended = child.0.try_wait().expect("a child");
            assert!(address.is_some() || ended.is_none(), "the agent ended ({ended:?}): {}", log.text());
            address.ok_or_else(|| log.text())
        });
        Self { child, address, log }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let response = http::request(self.address, method, path, headers);
        response.unwrap_or_else(|error| panic!("{method} {path}: {error}; the log: {}", self.log()))
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[])
    }

    pub(crate) fn scrape(&self) -> Page {
        let response = self.get("/metrics");
        assert_eq!(response.status, 200);
        Page::parse(response.text())
    }

    /// Scrapes until the page shows what is looked for.
    pub(crate) fn wait_for<T>(&self, patience: Duration, what: &str, seen: impl Fn(&Page) -> Option<T>) -> T {
        wait_until(patience, what, || {
            let page = self.scrape();
            seen(&page).ok_or_else(|| format!("{}\nThe log:\n{}", page.text, self.log()))
        })
    }

    /// The first page of the next tick.
    pub(crate) fn next_tick(&self) -> Page {
        let before = self.wait_for(SOON, "a first tick", Page::tick);
        self.wait_for(SOON, "one more tick", |page| (page.tick() != Some(before)).then(|| page.clone()))
    }

    /// Waits until the log has these words. The page may be ahead of it, since both come by ways of their own.
    pub(crate) fn wait_for_log(&self, words: &str) {
        wait_until(SOON, &format!("the log says: {words}"), || {
            let log = self.log();
            if log.contains(words) { Ok(()) } else { Err(log) }
        });
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        kill(signal, self.pid());
    }

    /// Sends it a signal, and waits for its end and that of its log.
    pub(crate) fn stop(&mut self, signal: &str) -> (ExitStatus, Duration) {
        let start = Instant::now();
        self.signal(signal);
        let status = end_of(&mut self.child.0, &format!("the end after SIG{signal}"));
        let took = start.elapsed();
        self.log.whole();
        (status, took)
    }
}

/// An agent after a shell `script`, in a mount namespace of its own.
pub(crate) fn among_mounts(script: &str, args: &[&str]) -> Command {
    let script = format!("set -e; {script}; exec \"$@\"");
    let shell = ["--mount", "sh", "-c", &script, "sh", BINARY, "--prometheus-listen", "127.0.0.1:0"];
    clean("unshare", &[&shell, args].concat())
}

/// Where the page is, as the log says.
pub(crate) fn page_address(log: &str) -> Option<SocketAddr> {
    // Over TLS, too.
    let (_, address) = log.split_once("page: http")?.1.split_once("://")?;
    let (address, _) = address.split_once("/metrics")?;
    address.parse().ok()
}

fn kill(signal: &str, pid: u32) {
    let status = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status().expect("kill starts");
    assert!(status.success(), "kill -{signal} {pid}: {status}");
}

/// What a child writes, while it writes.
pub(crate) struct Log {
    text: Arc<Mutex<String>>,
    reader: thread::JoinHandle<()>,
}

impl Log {
    pub(crate) fn follow(source: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let theirs = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                theirs.lock().expect("no panic in here").push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { text, reader }
    }

    pub(crate) fn text(&self) -> String {
        self.text.lock().expect("no panic in here").clone()
    }

    /// All of it, once the writer is gone.
    pub(crate) fn whole(&self) -> String {
        let text = || self.text();
        wait_until(SOON, "the end of the log", || self.reader.is_finished().then(text).ok_or_else(text))
    }
}

/// The end of a child that ends by itself, or should.
pub(crate) fn end_of(child: &mut Child, what: &str) -> ExitStatus {
    wait_until(SOON, what, || child.try_wait().expect("a child").ok_or_else(|| "it still runs".into()))
}
