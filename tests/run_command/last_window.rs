//! What was measured until the program's end reaches CloudWatch before hostgauge leaves, or waits on disk.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::both::{Running, kill};
use crate::support::agent::run;
use crate::support::cloudwatch::{Account, HOST, NAMESPACE, datum};
use crate::support::reserved::Reserved;
use crate::support::wait::wait_for_room;

#[test]
fn the_open_window_is_published() {
    let account = Account::open();
    wait_for_room(10, 300);
    let mut command = account.command(&["run", "--cloudwatch-period", "5m", "--", "sh", "-c", "sleep 4; exit 6"]);
    let ended = run(&mut command, "");
    assert_eq!((ended.status.code(), ended.stdout.as_str(), ended.stderr.as_str()), (Some(6), "", ""));
    let stored = account.stored();
    let [call] = stored.as_slice() else { panic!("expected one request: {stored:?}") };
    assert_eq!(call.namespace, NAMESPACE);
    let cpu = datum(call, "CPUUtilization");
    assert_eq!(cpu.dimensions, [("Host".to_owned(), HOST.to_owned())]);
    let samples: f64 = cpu.counts.iter().flatten().sum();
    assert!((2.0..=5.0).contains(&samples), "{samples} samples of four seconds");
}

#[test]
fn a_program_that_is_asked_to_end_is_measured_to_its_end() {
    let account = Account::open();
    wait_for_room(10, 300);
    let program = "trap 'sleep 3; exit 6' TERM; echo ready; while :; do sleep 0.1; done";
    let mut running = Running::spawn(account.command(&["run", "--cloudwatch-period", "5m", "--", "sh", "-c", program]));
    running.wait_for("ready");
    kill("TERM", running.pid());
    assert_eq!(running.end().code(), Some(6), "{}", running.err.text());
    let stored = account.stored();
    let [call] = stored.as_slice() else { panic!("expected one request: {stored:?}") };
    let samples: f64 = datum(call, "CPUUtilization").counts.iter().flatten().sum();
    assert!(samples >= 2.0, "{samples} samples, of which two are of the program's last three seconds");
}

#[test]
fn while_cloudwatch_is_away_it_waits_on_disk_and_the_program_has_its_exit_code() {
    let away = Reserved::new();
    let account = Account::open();
    wait_for_room(20, 300);
    let mut command = account.command(&[
        "run",
        "--cloudwatch-period",
        "5m",
        "--shutdown-timeout",
        "1s",
        "--",
        "sh",
        "-c",
        "sleep 3; exit 6",
    ]);
    let start = Instant::now();
    let ended = run(command.env("AWS_ENDPOINT_URL", format!("http://{}", away.address())), "");
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(6), ""), "{ended:?}");
    assert!(start.elapsed() < Duration::from_secs(12), "it took {:?}", start.elapsed());
    // The next one, where CloudWatch can be reached, brings both.
    let ended = run(&mut account.command(&["run", "--cloudwatch-period", "5m", "--", "sh", "-c", "sleep 3"]), "");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let cpu = account.copies().into_iter().filter(|((name, _, _), _)| name == "CPUUtilization");
    let cpu: Vec<_> = cpu.collect();
    assert!(cpu.iter().map(|(_, copies)| copies).sum::<u64>() == 2, "{cpu:?}");
}

#[test]
fn a_second_signal_ends_the_wait() {
    // It takes every connection and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let account = Account::open();
    let mut command =
        account.command(&["run", "--shutdown-timeout", "1m", "--", "sh", "-c", "sleep 3; exec >&-; exit 6"]);
    command.env("AWS_ENDPOINT_URL", format!("http://{}", silent.local_addr().expect("an address")));
    let mut running = Running::spawn(command);
    // The end of its output is the program's.
    running.out.whole();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(running.child.0.try_wait().expect("a child"), None, "it waits for CloudWatch");
    let start = Instant::now();
    kill("TERM", running.pid());
    assert_eq!(running.end().code(), Some(6));
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    assert!(account.path("spool").is_dir());
}
