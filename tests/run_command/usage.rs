//! Wrong usage is refused before anything starts.

use crate::both::command;
use crate::support::agent::{BINARY, run};

#[test]
fn wrong_options_are_refused_before_the_command_starts() {
    for options in [
        &["run", "--interval", "1", "--", "echo", "started"][..],
        &["run", "--no-such-option", "--", "echo", "started"],
        &["run", "--prometheus-listen", "off", "--", "echo", "started"],
        &["run", "--host", "a\nb", "--", "echo", "started"],
        &["run", "--cloudwatch", "--endpoint-name", "a", "--", "echo", "started"],
        &["run", "--config", "/no/such/file", "--", "echo", "started"],
        &["run", "echo", "started"],
        &["run", "--"],
        &["run"],
    ] {
        let ended = run(&mut command(&[&[BINARY], options].concat()), "");
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{options:?}: {ended:?}");
        assert!(!ended.stderr.is_empty(), "{options:?}");
    }
}
