//! What each fault of the service costs.

use super::*;

/// A row of the fault table: what the service does to the first requests.
struct Row {
    name: &'static str,
    faults: Vec<Fault>,
}

/// What it came to.
struct Outcome {
    requests: usize,
    stored: usize,
    twice: u64,
    ledger: Ledger,
}

fn weather(row: &Row) -> Outcome {
    let account = Account::open();
    account.double.script(row.faults.iter().copied());
    let agent = account.start(&EACH_SECOND);
    account.wait_for(row.name, |requests| {
        let last = requests.last()?;
        (requests.len() >= row.faults.len() && last.status == Some(200)).then_some(())
    });
    outcome(row.name, &account, agent)
}

/// The service cannot be reached at all, and then can.
fn away() -> Outcome {
    let (mut account, port) = (Account::open(), Reserved::new());
    let mut command = account.command(&EACH_SECOND);
    command.env("AWS_ENDPOINT_URL", format!("http://{}", port.address()));
    let agent = Agent::spawn(command);
    wait_until(A_ROUND, "it fails", || agent.log().contains("are sent again").then_some(()).ok_or_else(|| agent.log()));
    account.double = port.open();
    account.wait_for("it is back", |requests| (!requests.is_empty()).then_some(()));
    outcome("away", &account, agent)
}

fn outcome(name: &str, account: &Account, agent: Agent) -> Outcome {
    agent.next_tick();
    let (log, ledger) = stop(agent);
    let copies = account.copies();
    let surplus: u64 = copies.values().map(|copies| copies - 1).sum();
    assert!(copies.values().all(|copies| *copies <= 2), "{name}: {copies:?}");
    assert!(surplus <= ledger.ambiguous, "{name}: {surplus} surplus copies: {log}");
    assert_eq!(copies.len() as u64, ledger.taken, "{name}: what is stored is not what was taken: {log}");
    assert_eq!((ledger.published, ledger.pending, ledger.dropped), (ledger.taken, 0, 0), "{name}: {log}");
    Outcome { requests: account.double.requests().len(), stored: copies.len(), twice: surplus, ledger }
}

#[test]
fn no_fault_loses_anything_and_only_ambiguous_ones_store_it_twice() {
    let row = |name, fault, times| Row { name, faults: vec![fault; times] };
    let rows = [
        row("throttle", Fault::Throttle, 2),
        row("internal", Fault::Internal, 2),
        row("unavailable (HTML)", Fault::Unavailable, 2),
        row("too-large", Fault::TooLarge, 2),
        row("expired-token", Fault::ExpiredToken, 2),
        row("reset-before-body", Fault::ResetBeforeBody, 2),
        row("reset-after-storing", Fault::ResetAfterStoring, 1),
        row("hang", Fault::Hang, 1),
        row("hang-after-storing", Fault::HangAfterStoring, 1),
        row("drip", Fault::Drip(Duration::from_millis(20)), 2),
        row("date-off", Fault::DateOff(3600), 1),
    ];
    let outcomes: Vec<(&str, Outcome)> = thread::scope(|scope| {
        let away = scope.spawn(away);
        let others: Vec<_> = rows.iter().map(|row| (row.name, scope.spawn(|| weather(row)))).collect();
        let end = |thread: thread::ScopedJoinHandle<'_, Outcome>| thread.join().expect("see above");
        others.into_iter().map(|(name, thread)| (name, end(thread))).chain([("endpoint away", end(away))]).collect()
    });
    println!("| fault | requests | stored | stored twice | ambiguous | dropped | left in spool |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (name, Outcome { requests, stored, twice, ledger }) in &outcomes {
        let Ledger { ambiguous, dropped, pending, .. } = ledger;
        println!("| {name} | {requests} | {stored} | {twice} | {ambiguous} | {dropped} | {pending} |");
    }
    let of = |name: &str| &outcomes.iter().find(|(known, _)| *known == name).expect("a row").1;
    for certain in ["throttle", "unavailable (HTML)", "too-large", "expired-token", "date-off", "endpoint away"] {
        assert_eq!(of(certain).ledger.ambiguous, 0, "{certain} leaves nothing in doubt");
    }
    for stored in ["reset-after-storing", "hang-after-storing"] {
        assert!(of(stored).twice > 0 && of(stored).twice == of(stored).ledger.ambiguous, "{stored}");
    }
}
