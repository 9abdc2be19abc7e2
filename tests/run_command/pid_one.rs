//! As PID 1 of a container: no signal has a default there, and every orphan is ours.

use crate::both::{Running, children, command, kill, script, under};
use crate::support::agent::run;
use crate::support::wait::{SOON, wait_until};

const CONTAINER: [&str; 6] = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"];

fn inside(words: &[&str]) -> Vec<String> {
    CONTAINER.iter().chain(under(words).iter()).map(|word| (*word).to_owned()).collect()
}

fn ended(words: &[&str]) -> crate::support::agent::Ended {
    let words = inside(words);
    run(&mut command(&words.iter().map(String::as_str).collect::<Vec<_>>()), "")
}

#[test]
fn exit_codes_and_signals_of_the_program() {
    for (script, code) in [("exit 0", 0), ("exit 77", 77), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        let ended = ended(&["sh", "-c", script]);
        assert_eq!(ended.status.code(), Some(code), "{script}: {ended:?}");
    }
    let ended = ended(&["no-such-command"]);
    assert_eq!(ended.status.code(), Some(127), "{ended:?}");
}

#[test]
fn signals_reach_the_program() {
    let script = script("signals.py");
    let words = inside(&["python3", &script]);
    let mut running = Running::start(&words.iter().map(String::as_str).collect::<Vec<_>>());
    running.wait_for("ready");
    let hostgauge = wait_until(SOON, "PID 1", || children(running.pid()).pop().ok_or_else(|| running.err.text()));
    for signal in ["HUP", "INT", "QUIT", "USR1", "WINCH", "TERM"] {
        kill(signal, hostgauge);
        running.wait_for(&format!("got {signal}\n"));
    }
    assert_eq!(running.end().code(), Some(42), "{}", running.err.text());
}

#[test]
fn every_orphan_is_reaped() {
    // Only PID 1, its agent, the program and what counts are left.
    let counts = "for i in $(seq 100); do (setsid sh -c 'exit 9' &); done; sleep 1; cat /proc/1/comm; \
                  grep -h '^State:' /proc/[0-9]*/status 2>/dev/null | grep -c zombie; exit 3";
    let ended = ended(&["sh", "-c", counts]);
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(3), "hostgauge\n0\n"), "{ended:?}");
}

/// The end of PID 1 ends the container, as it would with the program itself as PID 1.
#[test]
fn a_program_that_leaves_orphans_ends_the_container() {
    let ended = ended(&["sh", "-c", "setsid sleep 61 & exit 8"]);
    assert_eq!(ended.status.code(), Some(8), "{ended:?}");
}
