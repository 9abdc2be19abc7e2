//! Children of the program that outlive it, or end before it.

use std::time::Instant;

use crate::both::{Running, command, is_alive, kill, under};
use crate::support::agent::run;

#[test]
fn an_orphans_exit_code_is_not_taken_for_the_programs() {
    // 200 orphans end with 9 while the program runs; some are killed.
    let forks = "for i in $(seq 200); do (sh -c 'exit 9' & sh -c 'kill -9 $$' &) ; done 2>/dev/null; sleep 0.5; exit 3";
    let ended = run(&mut command(&under(&["sh", "-c", forks])), "");
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
}

#[test]
fn zombies_are_reaped_while_the_program_runs() {
    let counts = "for i in $(seq 50); do (sh -c 'exit 9' &); done; sleep 1; \
                  grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null | xargs -r grep -l \"PPid:.$PPID\" | wc -l";
    let ended = run(&mut command(&under(&["sh", "-c", counts])), "");
    assert_eq!(ended.stdout.trim(), "0", "{ended:?}");
}

#[test]
fn a_grandchild_that_outlives_the_program_is_left_alone() {
    let start = Instant::now();
    let words = ["sh", "-c", "setsid sh -c 'setsid sleep 60 >&- 2>&- & echo $!' & wait; exit 5"];
    let mut running = Running::start(&under(&words));
    assert_eq!(running.end().code(), Some(5));
    assert!(start.elapsed().as_secs() < 30, "it waited for the grandchild");
    let grandchild: u32 = running.out.whole().trim().parse().expect("a number");
    assert!(is_alive(grandchild));
    kill("KILL", grandchild);
}

/// Output that comes after the program's end arrives where it would have.
#[test]
fn a_late_orphan_still_writes() {
    let ended = run(&mut command(&under(&["sh", "-c", "(sleep 1; echo late) & echo early; exit 6"])), "");
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(6), "early\nlate\n"));
}
