//! Whatever keeps the agent from measuring, the program runs, and a warning says why.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::both::{Running, command, kill, under, with};
use crate::support::agent::{BINARY, Ended, run};
use crate::support::reserved::Reserved;

/// The program's own doings are untouched.
#[track_caller]
fn warned(ended: &Ended, words: &[&str]) {
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(5), "done\n"), "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "no {word:?} in {ended:?}");
    }
    assert!(ended.stderr.lines().count() <= 3, "{ended:?}");
}

const PROGRAM: [&str; 3] = ["sh", "-c", "sleep 1; echo done; exit 5"];

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let words = [&[BINARY, "run", "--prometheus-listen", &address, "--"], &PROGRAM[..]].concat();
    let ended = run(&mut command(&words), "");
    warned(&ended, &["WARN", &address, "the port is taken", "not measured"]);
}

#[test]
fn two_at_once_on_one_port() {
    let port = Reserved::new();
    let address = port.address().to_string();
    let words = [&[BINARY, "run", "--prometheus-listen", &address, "--"], &PROGRAM[..]].concat();
    let mut both = [Running::start(&words), Running::start(&words)];
    let codes = both.each_mut().map(|running| running.end().code());
    assert_eq!(codes, [Some(5), Some(5)]);
    let said: String = both.into_iter().map(|running| running.err.whole()).collect();
    assert_eq!(said.matches("the port is taken").count(), 1, "{said}");
}

#[test]
fn an_agent_that_is_killed() {
    let mut running = Running::start(&under(&["sh", "-c", "echo ready; sleep 2; echo done; exit 5"]));
    running.wait_for("ready");
    kill("KILL", running.agent());
    assert_eq!(running.end().code(), Some(5));
    assert_eq!(running.out.whole(), "ready\ndone\n");
    let said = running.err.whole();
    assert!(said.contains("the agent ended (killed by signal 9): the command is not measured any more"), "{said}");
}

#[test]
fn an_agent_that_hangs_is_given_up() {
    let words = ["sh", "-c", "echo ready; sleep 1; exit 5"];
    let mut running = Running::start(&with(&["--shutdown-timeout", "0s"], &words));
    running.wait_for("ready");
    kill("STOP", running.agent());
    let start = Instant::now();
    assert_eq!(running.end().code(), Some(5));
    assert!(start.elapsed() < Duration::from_secs(10), "it waited {:?}", start.elapsed());
    let said = running.err.whole();
    assert!(said.contains("the agent does not end"), "{said}");
}

#[test]
fn no_descriptors_for_the_agent() {
    let few = ["bash", "-c", "ulimit -n 4; exec \"$@\"", "bash"];
    let ended = run(&mut command(&[&few[..], &under(&["sh", "-c", "echo done; exit 5"])].concat()), "");
    warned(&ended, &["WARN", "no agent", "not measured"]);
}

#[test]
fn no_processes_for_the_agent() {
    // The second process is the agent: the first is the program.
    let inject = "--inject=clone3,clone,vfork:error=EAGAIN:when=2+";
    let strace = ["strace", "-o", "/dev/null", inject];
    let ended = run(&mut command(&[&strace[..], &under(&PROGRAM)].concat()), "");
    warned(&ended, &["WARN", "no agent", "not measured"]);
}

#[test]
fn nothing_to_read_signals_from() {
    let strace = ["strace", "-o", "/dev/null", "--inject=signalfd4,signalfd:error=EMFILE"];
    let ended = run(&mut command(&[&strace[..], &under(&PROGRAM)].concat()), "");
    warned(&ended, &["WARN", "no descriptor for signals", "not measured"]);
}

#[test]
fn without_procfs() {
    let hides = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /proc; exec \"$@\"", "sh"];
    let ended = run(&mut command(&[&hides[..], &under(&PROGRAM)].concat()), "");
    warned(&ended, &["WARN", "no agent", "not measured"]);
}

#[cfg(feature = "cloudwatch")]
#[test]
fn publishing_that_cannot_work() {
    let account = crate::support::cloudwatch::Account::open();
    let spool = account.path("spool");
    std::fs::write(&spool, "a file where a folder should be").expect("written");
    let tries = |missing: &[&str], spool: &str| {
        let mut command = account.command(&[&["run", "--spool-dir", spool, "--"], &PROGRAM[..]].concat());
        for name in missing {
            command.env_remove(name);
        }
        run(&mut command, "")
    };
    warned(&tries(&[], spool.to_str().expect("UTF-8")), &["spool", "kept in memory"]);
    warned(&tries(&["AWS_REGION"], "off"), &["WARN", "region", "not measured"]);
    warned(&tries(&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], "off"), &["credentials"]);
}

/// With CloudWatch there is something to do without the page.
#[cfg(feature = "cloudwatch")]
#[test]
fn a_taken_port_does_not_keep_it_from_publishing() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let account = crate::support::cloudwatch::Account::open();
    let mut command = account.command(&[&["run", "--"], &["sh", "-c", "sleep 3; echo done; exit 5"][..]].concat());
    command.env("HOSTGAUGE_PROMETHEUS_LISTEN", taken.local_addr().expect("an address").to_string());
    warned(&run(&mut command, ""), &["the port is taken", "there is no page"]);
    assert!(!account.stored().is_empty());
}
