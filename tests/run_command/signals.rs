//! Signals that hostgauge gets reach the program, once, in order, and hostgauge waits for what it does about them.

use crate::both::{Running, command, is_alive, kill, script, under};
use crate::support::agent::run;
use crate::support::wait::{SOON, wait_until};

#[test]
fn every_signal_reaches_the_program_and_its_handler_has_its_time() {
    let script = script("signals.py");
    let mut running = Running::start(&under(&["python3", &script]));
    running.wait_for("ready");
    let out = running.out.text();
    let names: Vec<&str> = out.trim().split(' ').skip(1).filter(|name| *name != "TERM").collect();
    let mut expected = out.clone();
    for name in names.into_iter().chain(["TERM"]) {
        kill(name, running.pid());
        running.wait_for(&format!("got {name}\n"));
        expected += &format!("got {name}\n");
    }
    assert_eq!(running.end().code(), Some(42), "{}", running.err.text());
    assert_eq!(running.out.whole(), expected + "tidied up\n");
    assert_eq!(running.err.whole(), "");
}

/// A timer that was set before the program began rings in the process that set it, which is hostgauge.
#[test]
fn an_alarm_set_before_rings_in_the_program() {
    let sets = ["python3", "-c", "import os, signal, sys; signal.alarm(1); os.execvp(sys.argv[1], sys.argv[1:])"];
    let ended = run(&mut command(&[&sets[..], &under(&["sleep", "9"])].concat()), "");
    assert_eq!(ended.status.code(), Some(128 + 14), "{ended:?}");
}

#[test]
fn a_program_that_ignores_a_signal_lives_on() {
    for signal in ["HUP", "INT"] {
        let ignores = ["env", &format!("--ignore-signal={signal}")];
        let words = ["sh", "-c", "echo ready; sleep 1; exit 4"];
        let mut running = Running::start(&[&ignores[..], &under(&words)].concat());
        running.wait_for("ready");
        kill(signal, running.pid());
        assert_eq!(running.end().code(), Some(4), "SIG{signal}");
    }
}

/// A parent that ignores SIGCHLD makes the kernel forget exit codes.
#[test]
fn the_exit_code_is_known_though_sigchld_is_ignored() {
    let words = [&["env", "--ignore-signal=CHLD"][..], &under(&["sh", "-c", "exit 9"])].concat();
    assert_eq!(command(&words).status().expect("it starts").code(), Some(9));
}

/// The agent must not keep a program from running, and a program must not die with hostgauge.
#[test]
fn a_hostgauge_that_is_killed_leaves_the_program_running_and_takes_its_agent_along() {
    let mut running = Running::start(&under(&["sh", "-c", "echo $$; exec sleep 60"]));
    running.wait_for("\n");
    let program: u32 = running.out.text().trim().parse().expect("a number");
    let agent = running.agent();
    kill("KILL", running.pid());
    running.end();
    wait_until(SOON, "the agent's end", || (!is_alive(agent)).then_some(()).ok_or_else(|| "alive".into()));
    assert!(is_alive(program));
    kill("KILL", program);
}

/// Slurm signals every process of a step; the agent goes on as long as the program does.
#[test]
fn a_signal_to_every_process_does_not_end_the_agent_before_the_program() {
    let script = script("signals.py");
    let mut running = Running::start(&under(&["python3", &script]));
    running.wait_for("ready");
    let agent = running.agent();
    for signal in ["USR1", "HUP", "INT", "TERM"] {
        kill(signal, agent);
    }
    kill("TERM", running.pid());
    running.wait_for("got TERM");
    assert!(is_alive(agent), "{}", running.err.text());
    assert_eq!(running.end().code(), Some(42));
    assert_eq!(running.err.whole(), "");
}
