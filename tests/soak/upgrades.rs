//! Another version's spool, by the real binary.

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use hostgauge_cloudwatch_double::{Double, Options};

use crate::support::agent::hostgauge;
use crate::support::clock::Clock;
use crate::support::publishing::{Home, Ledger, SECONDS, Stored};
use crate::support::wait::{SOON, wall};
use crate::support::{Agent, Page, file};

/// When the spools of tests/fixtures/spool were written.
const WRITTEN: Duration = Duration::from_secs(1_795_000_020 + 12 * 60);

fn copy(fixture: &str, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(file("fixtures/spool").join(fixture)).expect("a fixture").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

#[test]
fn what_an_earlier_version_left_is_published() {
    for fixture in ["earliest", "nine_reasons"] {
        let (home, clock) = (Home::new(), Clock::new());
        copy(fixture, &home.file("spool"));
        // It goes on where that version was killed.
        clock.set(WRITTEN.as_secs_f64().floor() - wall().as_secs_f64().floor());
        let options = Options { clock: Some(UNIX_EPOCH + WRITTEN), ..Options::default() };
        let double = Double::start(options).expect("the double starts");
        let own = ["--prometheus-listen", "127.0.0.1:0", "--host", "job/algo-1", "--spool-dir", &home.path("spool")];
        let mut command = home.publish_to(double.address(), hostgauge(&[&SECONDS[..], &own].concat()));
        clock.rule(&mut command);
        let mut agent = Agent::spawn(command);
        agent.wait_for(3 * SOON, "what was left lands", |page| Ledger::on(page).filter(|it| it.published >= 2 + 33));
        let (status, _) = agent.stop("TERM");
        assert!(status.success(), "{}", agent.log());
        let (ledger, stored) = (Ledger::at_exit(&agent.log()), Stored::of(&double));
        assert!(ledger.holds() && (ledger.pending, ledger.dropped) == (0, 1), "{fixture}: {ledger:?}");
        // Two were published by that version; nine had no answer.
        assert_eq!((stored.distinct(), stored.doubled(), ledger.ambiguous), (ledger.published - 2, 0, 9), "{fixture}");
    }
}

#[test]
fn a_later_versions_spool_is_refused_kept_and_stops_nothing() {
    let home = Home::new();
    copy("nine_reasons", &home.file("spool"));
    let segment = home.file("spool/00000000000000000000.spool");
    let mut content = fs::read(&segment).expect("a segment");
    let magic = content[..3].to_vec();
    let frames: Vec<usize> = (0..content.len()).filter(|at| content[*at..].starts_with(&magic)).collect();
    frames.iter().for_each(|at| content[at + 3] = 2);
    fs::write(&segment, &content).expect("written");
    let double = Double::start(Options::default()).expect("the double starts");
    let own = ["--prometheus-listen", "127.0.0.1:0", "--host", "job/algo-1", "--spool-dir", &home.path("spool")];
    let command = home.publish_to(double.address(), hostgauge(&[&SECONDS[..], &own].concat()));
    let mut agent = Agent::spawn(command);
    agent.wait_for_log("has version 2 of the format, and this hostgauge knows version 1");
    let durable = |page: &Page| page.get("hostgauge_delivery_durable", &[("exporter", "cloudwatch")]);
    agent.wait_for(SOON, "the page says that nothing is on disk", |page| durable(page).filter(|on| *on == 0.0));
    agent.wait_for(SOON, "samples", Page::sum);
    agent.wait_for(2 * SOON, "data are published", |page| Ledger::on(page).filter(|ledger| ledger.published > 0));
    let (status, _) = agent.stop("TERM");
    let ledger = Ledger::at_exit(&agent.log());
    assert!(status.success() && ledger.holds() && (ledger.pending, ledger.dropped) == (0, 0), "{ledger:?}");
    assert_eq!(fs::read(&segment).expect("it is there still"), content, "and nobody touched it");
}
