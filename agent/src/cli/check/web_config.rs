//! The web configuration: whether it can be used, for how long, and who else can read its secrets.

#[cfg(unix)]
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hostgauge_exporters::prometheus::{Guard, Validity, WebConfig};

use super::{Finding, Machine, PATIENCE, within};
use crate::cli::options::Values;

const SUBJECT: &str = "web-config";
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Who renews certificates by a program does so earlier.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What a client of the page would have to go through; nothing where the file cannot be used.
pub(super) fn guard(values: &Values) -> Guard {
    open(values).and_then(|opened| opened.ok()).map(|config| config.guard()).unwrap_or_default()
}

pub(super) fn check(machine: &Machine<'_>) -> Vec<Finding> {
    match open(machine.values()) {
        None => Vec::new(),
        Some(Err(what)) => vec![
            // The subject stands before it.
            Finding::problem(SUBJECT, "web_config_refused", what.trim_start_matches("web-config "))
                .remedy("correct it; the format is that of Prometheus' exporters (promtool check web-config FILE)"),
        ],
        Some(Ok(config)) => {
            let mut findings =
                vec![Finding::ok(SUBJECT, format!("{}: {}", config.path().display(), words(config.guard())))];
            findings.extend(config.certificate().map(|validity| certificate(validity, SystemTime::now())));
            findings.extend(config.secrets().iter().filter_map(|path| secret(path)));
            findings
        }
    }
}

/// `None` where none is asked for.
fn open(values: &Values) -> Option<Result<WebConfig, String>> {
    let path = values.web_config.clone()?;
    let shown = path.display().to_string();
    let silent = || Err(format!("web-config {shown}: its file system does not answer"));
    Some(within(PATIENCE, move || WebConfig::open(path)).unwrap_or_else(silent))
}

fn words(guard: Guard) -> String {
    let parts =
        [(guard.tls, "TLS"), (guard.password, "passwords"), (guard.client_certificate, "certificates of clients")];
    let asked: Vec<&str> = parts.iter().filter(|(asked, _)| *asked).map(|(_, words)| *words).collect();
    if asked.is_empty() { "neither TLS nor passwords".into() } else { asked.join(", ") }
}

fn certificate(validity: Validity, now: SystemTime) -> Finding {
    let date = |time| humantime::format_rfc3339_seconds(time);
    let renew = "renew it: the agent takes the new one without a restart";
    let Validity { begin, end } = validity;
    if now > end {
        let found = format!("the certificate has expired at {}: clients refuse it", date(end));
        return Finding::problem(SUBJECT, "certificate_expired", found).remedy(renew);
    }
    if now < begin {
        let found = format!("the certificate is good from {} on: clients refuse it until then", date(begin));
        return Finding::problem(SUBJECT, "certificate_not_yet_valid", found)
            .remedy("look at this machine's clock, or take another certificate");
    }
    let left = end.duration_since(now).unwrap_or_default();
    let days = left.as_secs() / DAY.as_secs();
    let found = format!("the certificate is good for {days} days, until {}", date(end));
    if left < SOON {
        return Finding::note(SUBJECT, "certificate_ends_soon", found).remedy(renew);
    }
    Finding::ok(SUBJECT, found)
}

/// A file of secrets that everyone on this machine can read.
#[cfg(unix)]
fn secret(path: &Path) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt as _;
    // What was opened, wherever a link leads.
    let mode = File::open(path).and_then(|file| file.metadata()).ok()?.permissions().mode();
    let shown = path.display();
    (mode & 0o004 != 0).then(|| {
        let found = format!("{shown} has secrets in it, and everyone on this machine can read it");
        Finding::note(SUBJECT, "secret_readable", found).remedy(format!("chmod o-r {shown}"))
    })
}

#[cfg(not(unix))]
fn secret(_: &Path) -> Option<Finding> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::finding::Level;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_certificate_is_told_by_the_days_that_it_has_left() {
        let validity = Validity { begin: UNIX_EPOCH + 10 * DAY, end: UNIX_EPOCH + 100 * DAY };
        for (day, level, cause) in [
            (9, Level::Problem, Some("certificate_not_yet_valid")),
            (11, Level::Ok, None),
            (85, Level::Ok, None),
            (87, Level::Note, Some("certificate_ends_soon")),
            (101, Level::Problem, Some("certificate_expired")),
        ] {
            let found = certificate(validity, UNIX_EPOCH + DAY * day);
            assert_eq!((found.level, found.cause), (level, cause), "day {day}");
        }
    }
}
