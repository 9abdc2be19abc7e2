//! How it stops, and what it leaves to the next start.

use super::*;

#[test]
fn a_stop_sends_the_open_window() {
    let account = Account::open();
    wait_for_room(10, 300);
    let agent = account.start(&["--cloudwatch-period", "5m"]);
    let begin = wall().as_millis() as u64;
    agent.wait_for(SOON, "a sample", |page| page.sum());
    agent.next_tick();
    let (log, ledger) = stop(agent);
    let calls = account.stored();
    assert!(!calls.is_empty(), "{log}");
    let last = calls.last().expect("a request");
    let cpu = datum(last, "CPUUtilization");
    let samples: f64 = calls.iter().map(|call| datum(call, "CPUUtilization")).map(samples).sum();
    assert!(samples >= 2.0, "{cpu:?}");
    assert!(start(cpu) + 300_000 > begin, "the window of now");
    assert_eq!((ledger.published, ledger.pending), (ledger.taken, 0), "{log}");
}

fn samples(datum: &hostgauge_cloudwatch_double::Datum) -> f64 {
    datum.statistic_values.expect("statistics").sample_count
}

/// What a request asked for, stored or not.
fn asked(request: &Request) -> PutMetricData {
    request.input.clone().expect("a readable request")
}

/// An agent that is told to stop while the service hangs.
fn stopping_against_a_service_that_hangs(account: &Account, timeout: &str) -> Agent {
    account.double.script([Fault::Hang]);
    wait_for_room(10, 300);
    let agent = account.start(&["--cloudwatch-period", "5m", "--shutdown-timeout", timeout]);
    agent.wait_for(SOON, "a sample", |page| page.sum());
    agent.next_tick();
    agent
}

/// The next start sends what the one before had to leave, unchanged and before anything else is due.
fn delivered_by_the_next_start(account: &Account, left: &Ledger) {
    let hung = asked(&account.double.requests()[0]);
    let next = account.start(&["--cloudwatch-period", "60s"]);
    let delivered = account.wait_for("what was left behind", |requests| requests.get(1).map(asked));
    assert_eq!(delivered, hung, "as it was measured, with its own time");
    wait_until(SOON, "the ledger goes on", || {
        let page = next.scrape();
        let of = |name: &str| page.get(name, &[("exporter", "cloudwatch")]);
        (of("hostgauge_delivery_published_total") >= Some(left.taken as f64)).then_some(()).ok_or(page.text)
    });
}

#[test]
fn a_stop_ends_in_time_and_leaves_the_rest_to_the_next_start() {
    let account = Account::open();
    let mut agent = stopping_against_a_service_that_hangs(&account, "2s");
    let (status, took) = agent.stop("TERM");
    let log = agent.log();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!((2.0..2.0 + AT_ONCE.as_secs_f64()).contains(&took.as_secs_f64()), "{took:?}");
    let ledger = Ledger::at_exit(&log);
    assert_eq!((ledger.published, ledger.pending, ledger.ambiguous), (0, ledger.taken, ledger.taken), "{log}");
    assert!(ledger.taken > 0 && account.stored().is_empty(), "{log}");
    delivered_by_the_next_start(&account, &ledger);
}

#[test]
fn a_second_signal_ends_the_stop_at_once_and_loses_nothing() {
    let account = Account::open();
    let mut agent = stopping_against_a_service_that_hangs(&account, "60s");
    // timeout(1) and others send the first one twice.
    (0..2).for_each(|_| agent.signal("TERM"));
    account.wait_for("the request that hangs", |requests| requests.first().map(|_| ()));
    // By then another one is a second one.
    thread::sleep(Duration::from_secs(1));
    assert!(!agent.log().contains("stays in the spool"), "{}", agent.log());
    let (status, took) = agent.stop("TERM");
    let log = agent.log();
    assert_eq!(status.code(), Some(0), "{log}");
    println!("the second signal took {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
    assert!(log.contains("what is not sent yet stays in the spool"), "{log}");
    let ledger = Ledger::at_exit(&log);
    assert_eq!((ledger.published, ledger.pending), (0, ledger.taken), "{log}");
    delivered_by_the_next_start(&account, &ledger);
}

#[test]
fn a_stop_does_not_linger_for_a_service_that_was_away_before() {
    let account = Account::open();
    let start = |timeout| {
        let mut command = account.command(&[&EACH_SECOND[..], &["--shutdown-timeout", timeout]].concat());
        command.env("AWS_ENDPOINT_URL", format!("http://{REFUSING}"));
        next_second();
        Agent::spawn(command)
    };
    // It leaves a backlog, which the next start tries to send at once.
    let (log, left) = stop_after_samples(start("1s"));
    assert!(left.taken > 0 && left.pending == left.taken, "{log}");
    let mut agent = start("60s");
    agent.wait_for_log("are sent again");
    let (status, took) = agent.stop("TERM");
    let log = agent.log();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(took < AT_ONCE, "{took:?}: {log}");
    let ledger = Ledger::at_exit(&log);
    assert_eq!((ledger.pending, ledger.dropped, ledger.ambiguous), (ledger.taken, 0, 0), "{log}");
    // And it is all there.
    next_second();
    let next = account.start(&EACH_SECOND);
    account.wait_for("the backlog", |requests| {
        let data = requests.iter().filter(|request| request.stored).map(|request| asked(request).metric_data.len());
        (data.sum::<usize>() as u64 >= ledger.taken).then_some(())
    });
    let (log, ledger) = stop(next);
    assert_eq!((account.copies().len() as u64, ledger.pending), (ledger.taken, 0), "{log}");
    assert!(account.copies().values().all(|copies| *copies == 1));
}
