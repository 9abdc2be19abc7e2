//! The terminal is the program's: keys, size, job control.

use crate::both::{command, script, shell_code, under};
use crate::support::agent::{Ended, run};

fn on_a_terminal(what: &str, words: &[&str]) -> Ended {
    run(&mut command(&[&["python3", &script("terminal.py"), what], words].concat()), "")
}

/// What stands between what hostgauge says to a terminal: one line at the start, which a bare program lacks.
fn without_our_line(shown: &str) -> (Vec<&str>, usize) {
    let (ours, theirs): (Vec<&str>, Vec<&str>) = shown.lines().partition(|line| line.starts_with("hostgauge: "));
    (theirs, ours.len())
}

#[test]
fn each_key_is_one_signal_and_each_line_is_read() {
    let (bare, measured) = (on_a_terminal("keys", &[]), on_a_terminal("keys", &under(&[])));
    assert!(bare.status.success() && bare.stdout.contains("terminal [True, True, True] True True"), "{bare:?}");
    assert!(measured.status.success(), "{measured:?}");
    let (shown, ours) = without_our_line(&measured.stdout);
    assert_eq!(shown, without_our_line(&bare.stdout).0);
    assert!(ours <= 1, "{measured:?}");
}

#[test]
fn a_shell_stops_and_resumes_it_like_any_job() {
    for words in [&[][..], &under(&[])] {
        let ended = on_a_terminal("job", words);
        assert!(ended.status.success(), "{words:?}: {ended:?}");
    }
}

/// util-linux's script(1), as people use it to give a program a terminal.
#[test]
fn script_sees_no_difference() {
    for program in ["exit 3", "kill -INT $$", "tty; stty size; test -t 0 -a -t 1 -a -t 2"] {
        let in_script = |words: &[&str]| {
            let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            let status = command(&["script", "-qefc", &quoted.join(" "), "/dev/null"]).output().expect("script").status;
            shell_code(status)
        };
        let words = ["sh", "-c", program];
        assert_eq!(in_script(&under(&words)), in_script(&words), "{program}");
    }
}
