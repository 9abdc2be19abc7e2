//! What `check` says of publishing, to a double of CloudWatch that must not get any data.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, SystemTime};

use hostgauge_cloudwatch_double::Fault;

use super::Report;
use super::support::agent::run;
use super::support::cloudwatch::{Account, EACH_SECOND, SECRETS};
use super::support::reserved::REFUSING;

/// Options and variables on top of an account where all is well.
fn report(account: &Account, args: &[&str], variables: &[(&str, Option<&str>)]) -> Report {
    let args = [&["check", "--format", "json", "--gpus", "none"], args].concat();
    let mut command = account.command(&args);
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let ended = run(&mut command, "");
    for secret in SECRETS {
        assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret), "{ended:?}");
    }
    Report::of(ended)
}

/// Not one PutMetricData, whatever else.
fn nothing_was_published(account: &Account) {
    for request in account.double.requests() {
        assert!(!request.stored && !request.target.contains("PutMetricData"), "{request:?}");
    }
    assert!(account.double.series().is_empty());
}

#[test]
fn an_account_that_works_gets_one_harmless_request() {
    let account = Account::open();
    let report = report(&account, &["--cloudwatch-period", "10s"], &[]);
    assert_eq!((report.causes(), report.code), (vec![], Some(0)), "{report:#?}");
    let found = |subject: &str| {
        let all = report.findings.iter().filter(|finding| finding["subject"] == subject);
        all.map(|finding| finding["found"].as_str().expect("text")).collect::<Vec<_>>().join("\n")
    };
    assert!(
        found("publishing").contains("under /aws/sagemaker/TrainingJobs with Host=job/algo-1, each 10s"),
        "{report:#?}"
    );
    assert!(found("price").contains("$0.90 for 3 metrics and $2.63 for 6 requests a minute"), "{report:#?}");
    assert_eq!(found("cloudwatch"), format!("region eu-central-1, endpoint {}: answers", account.double.url()));
    assert_eq!(found("credentials"), "environment, accepted");
    assert_eq!(found("clock"), "agrees with CloudWatch's");
    assert!(found("spool").contains("64.0 MiB at most"), "{report:#?}");
    assert!(!account.path("spool").exists(), "nothing is made");
    let requests = account.double.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(requests[0].target.ends_with("/operation/ListMetrics"), "{requests:?}");
    nothing_was_published(&account);
}

#[test]
fn each_broken_environment_names_its_cause_and_no_other() {
    let account = Account::open();
    let broken = account.path("broken");
    std::fs::write(&broken, "[default\nregion").expect("written");
    let broken = broken.to_str().expect("UTF-8");
    let closed = format!("http://{REFUSING}");
    let file = format!("{broken}/spool");
    let nowhere = account.path("no/such/folder/metrics.log");
    let nowhere = nowhere.to_str().expect("UTF-8");
    type Variables<'a> = &'a [(&'a str, Option<&'a str>)];
    let table: [(&str, &[&str], Variables<'_>); 11] = [
        ("no_region", &[], &[("AWS_REGION", None)]),
        ("no_credentials", &[], &[("AWS_SECRET_ACCESS_KEY", None)]),
        ("bad_profile", &[], &[("AWS_CONFIG_FILE", Some(broken))]),
        ("bad_endpoint", &[], &[("AWS_ENDPOINT_URL", Some("nonsense"))]),
        ("unreachable", &[], &[("AWS_ENDPOINT_URL", Some(&closed))]),
        ("settings", &["--cloudwatch-namespace", "AWS/EC2"], &[]),
        ("settings", &["--job-kind", "endpoint"], &[]),
        ("settings", &["--cloudwatch-period", "1s"], &[]),
        ("spool_unwritable", &["--spool-dir", &file], &[]),
        ("emf_unwritable", &["--emf", nowhere], &[]),
        (
            "credentials_unavailable",
            &[],
            &[
                ("AWS_ACCESS_KEY_ID", None),
                ("AWS_SECRET_ACCESS_KEY", None),
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Some(&closed)),
            ],
        ),
    ];
    for (cause, args, variables) in table {
        let report = report(&account, args, variables);
        assert_eq!((report.causes(), report.code), (vec![cause], Some(1)), "{report:#?}");
        assert!(!report.text(cause).is_empty());
    }
    nothing_was_published(&account);
}

#[test]
fn what_the_service_says_is_told_apart() {
    for (fault, cause, code) in [
        (Fault::ExpiredToken, "credentials_expired", 1),
        (Fault::Throttle, "busy", 0),
        (Fault::Internal, "busy", 0),
        (Fault::Unavailable, "busy", 0),
        (Fault::ResetBeforeBody, "unreachable", 1),
        (Fault::DateOff(-3600), "clock_skew", 1),
        (Fault::DateOff(60), "clock_off", 0),
    ] {
        let account = Account::open();
        account.double.script([fault]);
        let report = report(&account, &[], &[]);
        assert_eq!((report.causes(), report.code), (vec![cause], Some(code)), "{fault:?}: {report:#?}");
        nothing_was_published(&account);
    }
}

#[test]
fn a_clock_that_is_off_is_the_only_cause() {
    let account = Account::open();
    account.double.set_clock(Some(SystemTime::now() + Duration::from_secs(1000)));
    let report = report(&account, &[], &[]);
    assert_eq!((report.causes(), report.code), (vec!["clock_skew"], Some(1)), "{report:#?}");
    assert!(report.text("clock_skew").contains("behind CloudWatch's"), "{report:#?}");
    nothing_was_published(&account);
}

#[test]
fn a_service_that_hangs_is_found_within_the_deadline() {
    let account = Account::open();
    account.double.script([Fault::Hang]);
    let report = report(&account, &[], &[]);
    assert_eq!(report.causes(), ["unreachable"], "{report:#?}");
    assert!(report.text("unreachable").contains("no answer within 5 s"), "{report:#?}");
    nothing_was_published(&account);
}

#[test]
fn a_portal_is_no_cloudwatch() {
    let portal = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", portal.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in portal.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let answer =
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\nlog in";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let account = Account::open();
    let report = report(&account, &[], &[("AWS_ENDPOINT_URL", Some(&url))]);
    assert_eq!((report.causes(), report.code), (vec!["not_cloudwatch"], Some(1)), "{report:#?}");
}

#[test]
fn a_spool_in_use_is_seen_and_left_to_its_agent() {
    let account = Account::open();
    let agent = account.start(&EACH_SECOND);
    let report = report(&account, &["--prometheus-listen", "off"], &[]);
    assert_eq!((report.causes(), report.code), (vec!["spool_taken"], Some(1)), "{report:#?}");
    // It publishes as before.
    super::support::cloudwatch::wait_for_samples(&agent);
    let (_, ledger) = super::support::cloudwatch::stop(agent);
    assert!(ledger.holds() && ledger.taken > 0 && ledger.pending == 0, "{ledger:?}");
}

#[test]
fn a_rehearsal_needs_no_account() {
    let account = Account::open();
    let none = [("AWS_REGION", None), ("AWS_ACCESS_KEY_ID", None), ("HOSTGAUGE_CLOUDWATCH", None)];
    let report = report(&account, &["--dry-run"], &none);
    assert_eq!((report.causes(), report.code), (vec![], Some(0)), "{report:#?}");
    assert!(account.double.requests().is_empty());
}
