//! The real agent publishing over TLS. Resident memory (G7): at the start, after some requests, while the service is
//! away, and after the backlog. With `--cpu`: CPU at 1 Hz and a request a minute, beside an agent that does not
//! publish, and with `--peer` beside our collectors before another exporter.
//!
//! Our double speaks plain HTTP, so `tls.py` ends TLS before it. Needs openssl, python3 and the double:
//! `cargo build --release -p hostgauge -p hostgauge-cloudwatch-double`.
//!
//! `cargo run --release -p hostgauge-bench --bin over_tls -- [--hostgauge PATH] [--roots PEM|none] [--outage SECONDS]
//! [--cpu MINUTES [--peer PATH]] [--bars FILE] [-- MORE OPTIONS OF HOSTGAUGE]`

#[path = "../bars.rs"]
mod bars;
#[path = "../clock.rs"]
mod clock;
#[allow(dead_code, reason = "shared with the driver, which needs all of it")]
#[path = "../process.rs"]
mod process;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread::sleep,
    time::Duration,
};

use process::Scratch;

const PATIENCE: Duration = Duration::from_secs(15);
/// From a request to the memory after it.
const SETTLE: Duration = Duration::from_millis(500);

struct Flags {
    hostgauge: PathBuf,
    /// Root certificates beside our own, which are read with it.
    roots: Option<PathBuf>,
    outage: u64,
    /// Minutes of CPU instead of the memory.
    cpu: Option<u32>,
    /// `metrics_cloudwatch/`, built.
    peer: Option<PathBuf>,
    /// Where to append a row for each bar.
    bars: Option<PathBuf>,
    /// For hostgauge.
    more: Vec<String>,
}

fn main() {
    if let Err(error) = flags().and_then(|flags| run(&flags)) {
        eprintln!("resident: {error}");
        std::process::exit(1);
    }
}

fn flags() -> Result<Flags, String> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut flags = Flags {
        hostgauge: root.join("target/release/hostgauge"),
        roots: Some("/etc/ssl/certs/ca-certificates.crt".into()),
        outage: 60,
        cpu: None,
        peer: None,
        bars: None,
        more: Vec::new(),
    };
    let mut arguments = env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{flag}: expected a value after it"));
        match flag.as_str() {
            "--hostgauge" => flags.hostgauge = value()?.into(),
            "--roots" => flags.roots = Some(value()?).filter(|roots| roots != "none").map(PathBuf::from),
            "--outage" => flags.outage = value()?.parse().map_err(|_| "--outage: expected seconds")?,
            "--cpu" => flags.cpu = Some(value()?.parse().map_err(|_| "--cpu: expected minutes")?),
            "--peer" => flags.peer = Some(Path::new(&value()?).canonicalize().map_err(|e| format!("--peer: {e}"))?),
            "--bars" => flags.bars = Some(value()?.into()),
            "--" => flags.more = arguments.by_ref().collect(),
            _ => return Err(format!("unknown flag {flag}")),
        }
    }
    Ok(flags)
}

fn run(flags: &Flags) -> Result<(), String> {
    let scratch = Scratch::new()?;
    let mut service = Service::start(flags, &scratch)?;
    match flags.cpu {
        Some(minutes) => cpu(flags, &scratch, &service, minutes)?,
        None => resident(flags, &scratch, &mut service)?,
    }
    service.leave()?;
    process::stop(&mut service.double, libc::SIGTERM).map(drop)
}

/// The table of memory.
fn resident(flags: &Flags, scratch: &Scratch, service: &mut Service) -> Result<(), String> {
    let agent = Agent::start(flags, scratch, "publishing", |command| service.ask_for(command, "10s"))?;
    println!(
        "| when | requests so far | VmRSS, kB | VmHWM | RssAnon | RssFile | Private_Dirty | threads |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    let row = |agent: &Agent, service: &Service, when: &str| -> Result<(), String> {
        println!("| {when} | {} | {} |", service.requests(), memory(agent.child.id())?.join(" | "));
        Ok(())
    };
    sleep(Duration::from_secs(3));
    row(&agent, service, "3 s old")?;
    for (number, when) in [(1, "the first request"), (2, "the second"), (5, "the fifth")] {
        service.until(number)?;
        sleep(SETTLE);
        row(&agent, service, when)?;
    }
    service.leave()?;
    let third = Duration::from_secs(flags.outage) / 3;
    for part in 1..=3 {
        sleep(third);
        row(&agent, service, &format!("the service away for {} s", (third * part).as_secs()))?;
    }
    let before = service.requests();
    service.come_back()?;
    service.until(before + 1)?;
    sleep(Duration::from_secs(3));
    row(&agent, service, "3 s after the first request of the backlog")?;
    service.until(service.requests() + 2)?;
    sleep(SETTLE);
    row(&agent, service, "two requests later")?;
    let most: f64 = memory(agent.child.id())?[1].parse().map_err(|_| "VmHWM: expected a number")?;
    println!("\nThe ledger: {}", agent.stop()?);
    let Some(path) = &flags.bars else { return Ok(()) };
    let mb = most * 1024.0 / 1e6;
    let what = format!("most resident memory, MB, publishing over TLS with an outage of {} s", flags.outage);
    bars::append(path, &bars::row("G7", &what, &format!("{mb:.1}"), "10", bars::verdict(mb <= 10.0), "over_tls"))
}

/// Agents side by side, so that whatever else runs meets all.
fn cpu(flags: &Flags, scratch: &Scratch, service: &Service, minutes: u32) -> Result<(), String> {
    let mut agents = vec![
        Agent::start(flags, scratch, "silent", |_| ())?,
        Agent::start(flags, scratch, "publishing", |command| service.ask_for(command, "60s"))?,
    ];
    if let Some(peer) = &flags.peer {
        let mut command = process::command(peer);
        service.point(command.env("HOME", scratch.path()));
        agents.push(Agent::spawn(command, scratch, "metrics_cloudwatch")?);
    }
    // The first requests read the root certificates.
    service.until(agents.len() - 1)?;
    sleep(SETTLE);
    println!("| agent | CPU, us/s | VmRSS, kB | RssAnon, kB |\n| --- | ---: | ---: | ---: |");
    let spent = || agents.iter().map(|agent| clock::cpu_us(&[agent.child.id()])).collect::<Result<Vec<_>, _>>();
    let (before, asked) = (spent()?, service.requests());
    let time = Duration::from_secs(60) * minutes;
    sleep(time);
    let (after, requests) = (spent()?, service.requests() - asked);
    for ((agent, before), after) in agents.iter().zip(before).zip(after) {
        let memory = memory(agent.child.id())?;
        let us = (after - before) / time.as_secs_f64();
        println!("| {} | {us:.0} | {} | {} |", agent.name, memory[0], memory[2]);
    }
    println!("\nRequests of all together: {requests}.");
    agents.into_iter().try_for_each(|agent| agent.stop().map(drop))
}

/// The double behind a terminator of TLS, which can be away.
struct Service<'a> {
    scratch: &'a Scratch,
    double: Child,
    upstream: String,
    tls: Child,
    port: String,
    roots: PathBuf,
}

impl<'a> Service<'a> {
    fn start(flags: &Flags, scratch: &'a Scratch) -> Result<Self, String> {
        let roots = certificates(scratch, flags.roots.as_deref())?;
        let program = env::current_exe().map_err(|e| e.to_string())?.with_file_name("cloudwatch-double");
        let (double, url) = server(&mut Command::new(program), scratch, "double")?;
        let upstream = url.rsplit(':').next().unwrap_or_default().to_owned();
        let (tls, port) = terminator(scratch, "0", &upstream)?;
        Ok(Self { scratch, double, upstream, tls, port, roots })
    }

    fn leave(&mut self) -> Result<(), String> {
        process::stop(&mut self.tls, libc::SIGTERM).map(drop)
    }

    fn come_back(&mut self) -> Result<(), String> {
        (self.tls, _) = terminator(self.scratch, &self.port, &self.upstream)?;
        Ok(())
    }

    /// Makes an agent publish here.
    fn ask_for(&self, command: &mut Command, period: &str) {
        command
            .args(["--cloudwatch", "--cloudwatch-period", period, "--spool-dir"])
            .arg(self.scratch.path().join("spool"));
        self.point(command);
    }

    /// AWS's environment, with this for the service.
    fn point(&self, command: &mut Command) {
        command.env("AWS_ENDPOINT_URL", format!("https://localhost:{}", self.port)).env("SSL_CERT_FILE", &self.roots);
        command.env("AWS_REGION", "eu-central-1").env("AWS_ACCESS_KEY_ID", "any").env("AWS_SECRET_ACCESS_KEY", "any");
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("NO_PROXY", "localhost");
    }

    /// Accepted so far: the double's first line is its address.
    fn requests(&self) -> usize {
        let log = fs::read_to_string(self.scratch.path().join("double")).unwrap_or_default();
        log.lines().count().saturating_sub(1)
    }

    fn until(&self, number: usize) -> Result<(), String> {
        let come = process::poll(Duration::from_secs(130), || (self.requests() >= number).then_some(()));
        come.ok_or_else(|| format!("waited for {number} requests, there are {}", self.requests()))
    }
}

struct Agent {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Agent {
    fn start(
        flags: &Flags,
        scratch: &Scratch,
        name: &'static str,
        configure: impl FnOnce(&mut Command),
    ) -> Result<Self, String> {
        let mut command = process::command(&flags.hostgauge);
        command.args(["--disk-path", "/", "--prometheus-listen", "127.0.0.1:0"]);
        command.env("HOME", scratch.path()).env("RUST_LOG", "info");
        // To try what glibc's allocator makes of it.
        command.envs(env::vars().filter(|(variable, _)| variable.starts_with("MALLOC_")));
        configure(&mut command);
        command.args(&flags.more);
        Self::spawn(command, scratch, name)
    }

    fn spawn(mut command: Command, scratch: &Scratch, name: &'static str) -> Result<Self, String> {
        let log = scratch.path().join(format!("{name}.log"));
        Ok(Self { name, child: process::spawn(&mut command, scratch, &log)?, log })
    }

    /// Ends it and tells the last that it said.
    fn stop(mut self) -> Result<String, String> {
        process::stop(&mut self.child, libc::SIGTERM)?;
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        Ok(log.lines().next_back().unwrap_or_default().to_owned())
    }
}

fn terminator(scratch: &Scratch, port: &str, upstream: &str) -> Result<(Child, String), String> {
    let mut python = Command::new("python3");
    python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tls.py")).args([port, upstream]);
    python.arg(scratch.path().join("server.pem"));
    server(&mut python, scratch, "tls")
}

/// A server that says in its first line where it listens.
fn server(command: &mut Command, scratch: &Scratch, name: &str) -> Result<(Child, String), String> {
    let log = scratch.path().join(name);
    let child = process::spawn(command, scratch, &log)?;
    let first = process::poll(PATIENCE, || {
        let text = fs::read_to_string(&log).ok()?;
        text.split_once('\n').map(|(first, _)| first.to_owned())
    });
    let first = first.ok_or_else(|| format!("{name} does not say where it listens"))?;
    if first.chars().next_back().is_some_and(|last| last.is_ascii_digit()) {
        Ok((child, first))
    } else {
        Err(format!("{name}: {}", fs::read_to_string(&log).unwrap_or_default()))
    }
}

/// An authority and its certificate for localhost; answers with the file of roots that trusts it.
fn certificates(scratch: &Scratch, roots: Option<&Path>) -> Result<PathBuf, String> {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=bench CA' \
                  -addext basicConstraints=critical,CA:true -keyout ca.key -out ca.pem && \
                  openssl req -newkey rsa:2048 -nodes -subj '/CN=localhost' -keyout server.key -out server.csr && \
                  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\n' > names && \
                  openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names \
                  -out server.crt && cat server.crt server.key > server.pem";
    let said = process::output(Command::new("sh").args(["-ec", script]), scratch, PATIENCE)?;
    let path = scratch.path().join("roots.pem");
    let read = |path: &Path| fs::read(path).map_err(|e| format!("{}: {e}; {said}", path.display()));
    let mut all = read(&scratch.path().join("ca.pem"))?;
    if let Some(roots) = roots {
        all.extend(read(roots)?);
    }
    fs::write(&path, all).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

/// What the table shows of a process, in kB of 1024 bytes, and its threads.
fn memory(pid: u32) -> Result<Vec<String>, String> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).map_err(|e| format!("{name}: {e}"));
    let text = read("status")? + &read("smaps_rollup")?;
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?;
        Some(value.to_owned())
    };
    ["VmRSS:", "VmHWM:", "RssAnon:", "RssFile:", "Private_Dirty:", "Threads:"]
        .iter()
        .map(|name| field(name).ok_or_else(|| format!("/proc/{pid}: no {name}")))
        .collect()
}
