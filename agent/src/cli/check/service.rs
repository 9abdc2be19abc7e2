//! CloudWatch: region, credentials, the way there, and the clock. Nothing is published.

use std::time::{Duration, SystemTime};

use hostgauge_exporters::cloudwatch::{About, Answered, ClientError, Contact, Found, Probe, ProbeError, probe};

use super::{Finding, PATIENCE, within};

const SUBJECT: &str = "cloudwatch";
const CREDENTIALS: &str = "credentials";
const CLOCK: &str = "clock";
/// AWS refuses signatures that are older, or from further ahead.
const MOST_SKEW: f64 = 300.0;
/// From here on data are seen to lie in the wrong place.
const MUCH_SKEW: f64 = 5.0;
/// Credentials have time-outs of their own; this is for files that hang.
const ALL: Duration = Duration::from_secs(20);

pub(super) fn check(namespace: &str) -> Vec<Finding> {
    let namespace = namespace.to_owned();
    match within(ALL, move || probe(&namespace, PATIENCE)) {
        Some(Ok(probe)) => found(&probe),
        Some(Err(ProbeError::Client(error))) => vec![missing(&error)],
        Some(Err(error)) => vec![Finding::problem(SUBJECT, "system", format!("{error:?}"))],
        None => vec![
            Finding::problem(SUBJECT, "environment_silent", "AWS's files or credentials do not answer")
                .remedy("see whether ~/.aws and credential_process answer"),
        ],
    }
}

/// What will never work.
fn missing(error: &ClientError) -> Finding {
    let (subject, cause, remedy) = match error.about() {
        About::Region => (SUBJECT, "no_region", "set AWS_REGION, as in AWS_REGION=eu-central-1"),
        About::Endpoint => (SUBJECT, "bad_endpoint", "set AWS_ENDPOINT_URL_CLOUDWATCH to a URL, or leave it out"),
        About::Profile => (SUBJECT, "bad_profile", "correct the file, or name another with AWS_CONFIG_FILE"),
        About::Credentials => (
            CREDENTIALS,
            "no_credentials",
            "give this machine a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        ),
    };
    let words = error.to_string();
    // The error brings a remedy of its own where it stands alone.
    let found = words.split_once("; set ").map_or(words.as_str(), |(found, _)| found);
    Finding::problem(subject, cause, found).remedy(remedy)
}

fn found(probe: &Probe) -> Vec<Finding> {
    let Probe { region, endpoint, credentials, contact } = probe;
    let place = format!("region {region}, endpoint {endpoint}");
    match contact {
        Contact::Unasked => vec![Finding::ok(SUBJECT, place), unavailable(credentials)],
        Contact::None(what) => vec![
            Finding::problem(SUBJECT, "unreachable", format!("{place}: {what}")).remedy(format!(
                "open the way there: HTTPS_PROXY for a proxy, com.amazonaws.{region}.monitoring as interface endpoint \
                 in a VPC; until then data wait in the spool"
            )),
            known(credentials, ""),
        ],
        Contact::Stranger(what) => vec![
            Finding::problem(SUBJECT, "not_cloudwatch", format!("{place}: {what}"))
                .remedy("set AWS_ENDPOINT_URL_CLOUDWATCH right, and NO_PROXY where no proxy is meant"),
            known(credentials, ""),
        ],
        Contact::Service { skew, answered } => {
            let refused_by_clock = skew.is_some_and(|skew| skew.abs() >= MOST_SKEW);
            let mut findings = vec![Finding::ok(SUBJECT, format!("{place}: answers"))];
            match answered {
                Answered::Known => findings.push(known(credentials, ", accepted")),
                // Whatever else it says then, the clock is what is wrong.
                Answered::Refused { .. } if refused_by_clock => {}
                Answered::Refused { code, message, remedy } => {
                    findings.push(refused(credentials, code, message, remedy))
                }
                Answered::Busy(what) => {
                    findings.push(known(credentials, ""));
                    findings.push(
                        Finding::note(SUBJECT, "busy", what.as_str()).remedy("data wait in the spool until it serves"),
                    );
                }
            }
            findings.extend(skew.map(clock));
            findings
        }
    }
}

fn unavailable(credentials: &Found) -> Finding {
    Finding::problem(CREDENTIALS, "credentials_unavailable", credentials.to_string())
        .remedy("see that their source answers; the agent asks it again at each attempt")
}

fn known(credentials: &Found, accepted: &str) -> Finding {
    let expired = credentials.expiry.filter(|expiry| *expiry < SystemTime::now());
    let until = credentials.expiry.map(|time| format!(", until {}", humantime::format_rfc3339_seconds(time)));
    let found = format!("{}{accepted}{}", credentials.name, until.unwrap_or_default());
    match expired {
        Some(_) => {
            Finding::problem(CREDENTIALS, "credentials_expired", found).remedy("renew them where they come from")
        }
        None => Finding::ok(CREDENTIALS, found),
    }
}

fn refused(credentials: &Found, code: &str, message: &str, remedy: &str) -> Finding {
    let expired = ["ExpiredToken", "TokenRefreshRequired"].iter().any(|start| code.starts_with(start));
    let cause = if expired { "credentials_expired" } else { "credentials_refused" };
    Finding::problem(CREDENTIALS, cause, format!("{}: {code}: {message}", credentials.name)).remedy(remedy)
}

fn clock(skew: f64) -> Finding {
    let side = if skew < 0.0 { "behind" } else { "ahead of" };
    let found = format!("{} s {side} CloudWatch's", skew.abs());
    let remedy = "set this machine's clock, and keep it (NTP)";
    match skew.abs() {
        much if much >= MOST_SKEW => {
            Finding::problem(CLOCK, "clock_skew", format!("{found}: AWS takes 300 s at most")).remedy(remedy)
        }
        much if much >= MUCH_SKEW => {
            Finding::note(CLOCK, "clock_off", format!("{found}: so far off are the data")).remedy(remedy)
        }
        _ => Finding::ok(CLOCK, "agrees with CloudWatch's"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(probe: &Probe) -> Vec<(&'static str, Option<&'static str>)> {
        found(probe).into_iter().map(|finding| (finding.subject, finding.cause)).collect()
    }

    fn probe_of(contact: Contact, expiry: Option<SystemTime>) -> Probe {
        let credentials = Found { name: "environment".into(), trouble: None, expiry };
        Probe { region: "r".into(), endpoint: "https://e".into(), credentials, contact }
    }

    #[test]
    fn a_clock_that_is_off_is_the_only_cause() {
        let refused =
            Answered::Refused { code: "SignatureDoesNotMatch".into(), message: String::new(), remedy: String::new() };
        for (skew, cause) in [(301.0, Some("clock_skew")), (-301.0, Some("clock_skew"))] {
            let probe = probe_of(Contact::Service { skew: Some(skew), answered: refused.clone() }, None);
            assert_eq!(words(&probe), [(SUBJECT, None), (CLOCK, cause)]);
        }
        for (skew, cause) in [(0.0, None), (4.0, None), (-6.0, Some("clock_off")), (299.0, Some("clock_off"))] {
            let probe = probe_of(Contact::Service { skew: Some(skew), answered: Answered::Known }, None);
            assert_eq!(words(&probe), [(SUBJECT, None), (CREDENTIALS, None), (CLOCK, cause)]);
        }
        let probe = probe_of(Contact::Service { skew: Some(0.0), answered: refused }, None);
        assert_eq!(words(&probe), [(SUBJECT, None), (CREDENTIALS, Some("credentials_refused")), (CLOCK, None)]);
    }

    #[test]
    fn credentials_that_say_when_they_end_are_believed() {
        let past = SystemTime::now() - Duration::from_secs(1);
        let probe = probe_of(Contact::None("no route".into()), Some(past));
        assert_eq!(words(&probe), [(SUBJECT, Some("unreachable")), (CREDENTIALS, Some("credentials_expired"))]);
    }
}
