//! `hostgauge` without a command: the agent.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use hostgauge_collectors::{ChosenScopes, Cores, GpuStandby, Scope, cores};
use hostgauge_exporters::prometheus::Guard;

use super::Failure;
use super::configuration::Configuration;
use super::systemd::Manager;
use super::whoami::identity;
use super::{output, publishing, start_code, web_config};
use crate::builder::Builder;

/// The library's builder, as configured.
pub(super) fn builder(configuration: &Configuration) -> Builder {
    let values = &configuration.values;
    let identity = identity(configuration);
    identity.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let builder = Builder::of_the_agent()
        .host(&identity.host)
        .told(identity.told())
        .job_kind(identity.kind)
        .interval(values.interval)
        .disk_paths(&values.disk_paths)
        .roots(values.roots.clone())
        .gpus(values.gpus.clone())
        .gpu_sum(values.gpu_sum)
        .gpu_processes(values.gpu_processes)
        .shutdown_timeout(values.shutdown_timeout);
    let builder = values.scopes.iter().cloned().fold(builder, Builder::scope);
    match &values.nvml_library {
        Some(path) => builder.nvml_library(path),
        None => builder,
    }
}

/// What to measure and whom to show it, as configured.
pub(super) fn configured(configuration: &Configuration) -> Result<Builder, Failure> {
    let values = &configuration.values;
    if values.listen.is_none() && !publishing::is_on(values) {
        return Err(Failure::Usage(
            "prometheus-listen is off: expected an address, since there is no other exporter (cloudwatch, emf)".into(),
        ));
    }
    if values.endpoint_name.is_some() != values.variant_name.is_some() {
        return Err(Failure::Usage("endpoint-name and variant-name: expected both, or neither".into()));
    }
    let agent = web_config::configure(publishing::configure(builder(configuration), configuration)?, values)?;
    Ok(match values.listen {
        Some(address) => agent.listen(address).history(values.history),
        None => agent,
    })
}

pub(super) fn run(configuration: &Configuration) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before anything starts: a signal that comes early must still end it cleanly.
        let mut signals = Signals::new()?;
        let standby = GpuStandby::default();
        tokio::spawn(follow(StandbySignals::new()?, standby.clone()));
        let agent = configured(configuration)?.gpu_standby(standby);
        let (scope, guard) = (agent.chosen()?, agent.guard());
        let manager = Manager::of_environment().map(Arc::new);
        let started = {
            let manager = manager.clone();
            move |address: Option<SocketAddr>, alive| {
                announce(configuration, &scope, address.map(|address| (address, guard)), None);
                start_code::unmap_soon(publishing::period(&configuration.values));
                manager.map(|manager| tokio::spawn(manager.attend(format!("measuring {scope}"), alive)));
            }
        };
        let (stopping, after) = oneshot::channel();
        let shutdown = async move {
            log::info!("{}: stopping", signals.next().await);
            if let Some(manager) = &manager {
                manager.stopping(configuration.values.shutdown_timeout + STUCK);
            }
            // Who waits for the second one may have ended already.
            drop(stopping.send(signals));
        };
        let hurry = async move {
            let Ok(mut signals) = after.await else { return std::future::pending().await };
            let stopping = Instant::now();
            let mut name = signals.next().await;
            while stopping.elapsed() < ONE_SIGNAL {
                name = signals.next().await;
            }
            log::info!("{name}: what is not sent yet stays in the spool");
        };
        agent.run_announced(started, shutdown, hurry).await?;
        Ok(())
    })
}

/// What threads that are stuck may take beside the delivery.
const STUCK: Duration = Duration::from_secs(5);

/// Within this time it is still the first signal: a terminal and timeout(1) signal a whole group, and what started the
/// agent often passes the same one on.
pub(super) const ONE_SIGNAL: Duration = Duration::from_millis(500);

/// What asks the agent to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// What asks the agent to let NVIDIA's driver go for a while: SIGUSR1, and to take it up again: SIGUSR2.
struct StandbySignals {
    begin: Signal,
    end: Signal,
}

impl StandbySignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { begin: signal(SignalKind::user_defined1())?, end: signal(SignalKind::user_defined2())? })
    }
}

async fn follow(mut signals: StandbySignals, standby: GpuStandby) {
    loop {
        let on = tokio::select! {
            _ = signals.begin.recv() => true,
            _ = signals.end.recv() => false,
        };
        log::info!("{}", if on { "SIGUSR1: GPU standby" } else { "SIGUSR2: the end of GPU standby" });
        standby.set(on);
    }
}

/// What it measures, as which Host, and where to look: in one line `beside` another program, which has the terminal.
pub(super) fn announce(
    configuration: &Configuration,
    scope: &ChosenScopes,
    page: Option<(SocketAddr, Guard)>,
    beside: Option<i32>,
) {
    let values = &configuration.values;
    let identity = identity(configuration);
    let host = &identity.host;
    let every = humantime::format_duration(values.interval);
    let paths: Vec<String> = values.disk_paths.iter().map(|path| path.display().to_string()).collect();
    let cores = match cores(&values.roots) {
        Some(Cores { online, present }) if online < present => format!(" ({online} of {present} cores online)"),
        Some(Cores { online, .. }) => format!(" ({online} cores)"),
        None => String::new(),
    };
    let what = format!("CPU{cores}, memory and disk ({}) of {scope}", paths.join(", "));
    log::debug!("scope {scope}: {}", scope.why);
    let url = page.map(|(address, guard)| format!("{}://{address}/metrics", guard.scheme()));
    let is_terminal = std::io::stderr().is_terminal();
    if is_terminal && beside.is_none() {
        let why = match identity.guess {
            Some(guess) => format!("guessed: {guess}"),
            None => identity.named_by().map_or_else(String::new, |source| source.name.clone()),
        };
        let version = env!("CARGO_PKG_VERSION");
        let url = url.map(|url| format!("  page      {url}\n")).unwrap_or_default();
        let publishes: String =
            publishing::summary(configuration).into_iter().map(|line| format!("  publishes {line}\n")).collect();
        output::tell(&format!(
            "hostgauge {version}\n  measures  {what}, every {every}\n  Host      {host} ({why})\n{url}{publishes}  \
             stop      Ctrl-C\n"
        ));
    } else {
        let url = url.map(|url| format!("; page: {url}")).unwrap_or_default();
        let beside = beside.filter(|_| matches!(scope.scopes[..], [Scope::Host | Scope::Container]));
        let beside = beside.map(|pid| format!(" beside process {pid}"));
        let line = format!("measuring {what} as Host {host} every {every}{}{url}", beside.as_deref().unwrap_or(""));
        if is_terminal {
            output::tell(&format!("hostgauge: {line}\n"));
        } else {
            log::info!("{line}");
        }
        if let Some(guess) = identity.guess {
            log::info!("identity: guessed ({guess}); --job-name and --instance-number or --host say it");
        }
        publishing::summary(configuration).iter().for_each(|line| log::info!("publishing {line}"));
    }
    if let Some((address, _)) =
        page.filter(|(address, guard)| !address.ip().is_loopback() && *guard == Guard::default())
    {
        log::warn!("the page at {address} can be read by anyone who reaches this machine: no TLS, no password");
    }
}
