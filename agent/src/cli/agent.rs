//! `hostgauge` without a command: the agent.

use std::io::IsTerminal as _;
use std::net::SocketAddr;

use tokio::signal::unix::{SignalKind, signal};

use hostgauge_collectors::{Cores, cores};

use super::Failure;
use super::configuration::Configuration;
use super::output;
use crate::builder::Builder;
use crate::identity::choose;

/// The library's builder, as configured.
pub(super) fn builder(configuration: &Configuration) -> Builder {
    let values = &configuration.values;
    Builder::new()
        .host(choose(&super::whoami::sources(configuration)))
        .interval(values.interval)
        .disk_paths(&values.disk_paths)
        .roots(values.roots.clone())
}

pub(super) fn run(configuration: &Configuration) -> Result<(), Failure> {
    let Some(listen) = configuration.values.listen else {
        return Err(Failure::Usage(
            "prometheus-listen is off: expected an address, since there is no other exporter".into(),
        ));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before anything starts: a signal that comes early must still end it cleanly.
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let agent = builder(configuration).listen(listen);
        let started = |address: Option<SocketAddr>| announce(configuration, address.unwrap_or(listen));
        let shutdown = async move {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            log::info!("{name}: stopping");
        };
        agent.run_announced(started, shutdown).await?;
        Ok(())
    })
}

/// What it measures, as which Host, and where to look.
fn announce(configuration: &Configuration, address: SocketAddr) {
    let values = &configuration.values;
    let sources = super::whoami::sources(configuration);
    let host = choose(&sources);
    let every = humantime::format_duration(values.interval);
    let paths: Vec<String> = values.disk_paths.iter().map(|path| path.display().to_string()).collect();
    let cores = match cores(&values.roots) {
        Some(Cores { online, present }) if online < present => format!(" ({online} of {present} cores online)"),
        Some(Cores { online, .. }) => format!(" ({online} cores)"),
        None => String::new(),
    };
    let what = format!("CPU{cores}, memory and disk ({}) of this machine", paths.join(", "));
    if std::io::stderr().is_terminal() {
        let source = sources.iter().find(|source| source.answer.is_some()).map_or("", |source| &source.name);
        let version = env!("CARGO_PKG_VERSION");
        output::tell(&format!(
            "hostgauge {version}\n  measures  {what}, every {every}\n  Host      {host} ({source})\n  \
             page      http://{address}/metrics\n  stop      Ctrl-C\n"
        ));
    } else {
        log::info!("measuring {what} as Host {host} every {every}; page: http://{address}/metrics");
    }
    if !address.ip().is_loopback() {
        log::warn!("the page at {address} can be read by anyone who reaches this machine: no TLS, no password");
    }
}
