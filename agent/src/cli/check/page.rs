//! The Prometheus page: whether its address can be had, and who can read it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use hostgauge_exporters::prometheus::Server;

use super::{Finding, Machine, web_config, within};

const SUBJECT: &str = "page";
/// How long whoever has the address may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn check(machine: &Machine<'_>) -> Vec<Finding> {
    let Some(address) = machine.values().listen else {
        return vec![Finding::ok(SUBJECT, "none: prometheus-listen is off")];
    };
    let guard = web_config::guard(machine.values());
    let mut findings = vec![match Server::bind(address) {
        Ok(_) => Finding::ok(SUBJECT, format!("{}://{address}/metrics: the address is free", guard.scheme())),
        Err(error) if error.kind() == ErrorKind::AddrInUse => taken(address),
        Err(error) => {
            let (cause, remedy) = match error.kind() {
                ErrorKind::PermissionDenied => ("address_denied", "take a port from 1024 on"),
                ErrorKind::AddrNotAvailable => {
                    ("address_not_ours", "give an address of this machine, or :PORT for all")
                }
                _ => ("address_refused", "give another address with --prometheus-listen"),
            };
            Finding::problem(SUBJECT, cause, format!("cannot listen on {address}: {error}")).remedy(remedy)
        }
    }];
    if let Some(gap) = guard.gap().filter(|_| !address.ip().is_loopback()) {
        let found = format!("anyone who reaches {address} can read the page: {gap}");
        findings.push(Finding::note(SUBJECT, "public_address", found).remedy(
            "listen on 127.0.0.1, ask for TLS and passwords with --web-config, or let a firewall or network policy say \
             who may scrape",
        ));
    }
    findings
}

fn taken(address: SocketAddr) -> Finding {
    let another = "stop that, or give another address with --prometheus-listen";
    match within(PATIENCE, move || is_hostgauge(address)) {
        Some(true) => {
            Finding::problem(SUBJECT, "another_hostgauge", format!("another hostgauge listens on {address} already"))
        }
        _ => Finding::problem(SUBJECT, "address_taken", format!("another program listens on {address}")),
    }
    .remedy(another)
}

fn is_hostgauge(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&reachable(address), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer)?;
        Ok(answer)
    };
    // One with a web configuration says no more than its name.
    let says = |answer: Vec<u8>| {
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer.contains("hostgauge is ") || answer.contains("realm=\"hostgauge\"")
    };
    ask().is_ok_and(says)
}

/// Where a listener on this address is reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}
