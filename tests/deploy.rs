//! The files of deploy/, each checked with its own form's tool (`deploy/check.py`), and by the binary: it takes every
//! option that stands in them.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::os::unix::net::UnixDatagram;

use support::Agent;
use support::agent::{BINARY, clean, hostgauge};
use support::wait::SOON;

fn check(form: &str) {
    let python = support::file("../target/deploy-tools/bin/python");
    assert!(python.exists(), "{} is missing: tests/run installs it", python.display());
    let script = support::file("deploy/check.py");
    let python = python.to_str().expect("a path of text");
    let mut check = clean(python, &[script.to_str().expect("a path of text"), form, BINARY]);
    // To its end: on a busy machine Python alone may take long to load a tool.
    let ended = check.output().expect("python starts");
    let [stdout, stderr] = [&ended.stdout, &ended.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(ended.status.success(), "{form}: {stdout}{stderr}");
}

#[test]
fn kubernetes_manifests() {
    check("kubernetes");
}

#[test]
fn helm_chart() {
    check("helm");
}

#[test]
fn dockerfiles() {
    check("docker");
}

#[test]
fn iam_policy() {
    check("iam");
}

#[test]
fn ecs_task_definition() {
    check("ecs");
}

#[test]
fn sagemaker_image() {
    check("sagemaker");
}

#[test]
fn systemd_unit() {
    check("systemd");
}

#[test]
fn slurm_scripts() {
    check("slurm");
}

#[test]
fn bill_of_materials() {
    check("sbom");
}

/// What the unit relies on: `Type=notify` and `WatchdogSec=`.
#[test]
fn systemd_hears_that_it_is_ready_alive_and_stopping() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(SOON)).expect("a deadline");
    let hear = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).expect("a message within the deadline");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut command = hostgauge(&["--prometheus-listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "2000000");
    let mut agent = Agent::spawn(command);
    assert_eq!(hear(), "READY=1\nSTATUS=measuring this machine");
    assert_eq!([hear(), hear()], ["WATCHDOG=1", "WATCHDOG=1"]);
    let (status, _) = agent.stop("TERM");
    assert!(status.success(), "{status}");
    let stopping = std::iter::repeat_with(hear).find(|message| message != "WATCHDOG=1");
    assert_eq!(stopping.as_deref(), Some("STOPPING=1\nEXTEND_TIMEOUT_USEC=25000000"));
}
