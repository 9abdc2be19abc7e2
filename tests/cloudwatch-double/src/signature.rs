//! The Authorization header: that it is there, for this service and fresh. The signature itself is not computed, since
//! any keys are good for a test.

use std::time::{Duration, SystemTime};

use crate::http::Head;
use crate::refusal::Refusal;

const SERVICE: &str = "monitoring";

/// Checks the header against `now`; `most` is how far the client's clock may be off, None that it does not matter.
pub(crate) fn check(head: &Head, now: SystemTime, most: Option<Duration>) -> Result<(), Refusal> {
    let shape = "com.amazon.coral.service#MissingAuthenticationTokenException";
    let missing = || Refusal::new(403, "MissingAuthenticationToken", shape, "Missing Authentication Token");
    let authorization = head.header("authorization").ok_or_else(missing)?;
    let parameters = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(|| {
        incomplete(format!("The authorization header must begin with AWS4-HMAC-SHA256. Authorization={authorization}"))
    })?;
    let parameter = |name: &str| {
        let mut parameters = parameters.split(',').filter_map(|parameter| parameter.trim().split_once('='));
        let found = parameters.find(|(known, value)| *known == name && !value.is_empty()).map(|(_, value)| value);
        found.ok_or_else(|| {
            let needed = format!("Authorization header requires '{name}' parameter.");
            incomplete(format!("{needed} Authorization={authorization}"))
        })
    };
    let (credential, headers, signature) =
        (parameter("Credential")?, parameter("SignedHeaders")?, parameter("Signature")?);
    let date = head.header("x-amz-date").ok_or_else(|| {
        incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".to_owned())
    })?;
    if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(incomplete(format!("Signature must be 64 hexadecimal digits. Authorization={authorization}")));
    }
    if !["host", "x-amz-date"].iter().all(|needed| headers.split(';').any(|header| header == *needed)) {
        return Err(mismatch("'Host' and 'X-Amz-Date' must be signed headers.".to_owned()));
    }
    scope(credential, date)?;
    most.map_or(Ok(()), |most| fresh(date, now, most))
}

/// `key/20261122/region/monitoring/aws4_request`
fn scope(credential: &str, date: &str) -> Result<(), Refusal> {
    let [key, day, region, service, end] = credential.split('/').collect::<Vec<_>>()[..] else {
        return Err(incomplete(format!("Credential must have five parts: {credential}")));
    };
    if service != SERVICE {
        return Err(mismatch(format!("Credential should be scoped to correct service: '{SERVICE}'.")));
    }
    if end != "aws4_request" {
        return Err(mismatch("Credential should be scoped with a valid terminator: 'aws4_request'.".to_owned()));
    }
    if key.is_empty() || region.is_empty() || !date.starts_with(day) || day.len() != 8 {
        let words = "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP";
        return Err(mismatch(format!("{words}: '{day}', from '{date}'.")));
    }
    Ok(())
}

fn fresh(date: &str, now: SystemTime, most: Duration) -> Result<(), Refusal> {
    let signed =
        parse(date).ok_or_else(|| incomplete(format!("Date must be in ISO-8601 'basic format'. Got '{date}'.")))?;
    let (earliest, latest) = (now - most, now + most);
    let minutes = most.as_secs() / 60;
    let (date, present) = (compact(signed), compact(now));
    // Whole seconds are all that the header tells.
    if date < compact(earliest) {
        let limit = format!("{} ({present} - {minutes} min.)", compact(earliest));
        return Err(mismatch(format!("Signature expired: {date} is now earlier than {limit}")));
    }
    if date > compact(latest) {
        let limit = format!("{} ({present} + {minutes} min.)", compact(latest));
        return Err(mismatch(format!("Signature not yet current: {date} is still later than {limit}")));
    }
    Ok(())
}

/// `20261122T171500Z`
fn compact(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "")
}

fn parse(date: &str) -> Option<SystemTime> {
    let (day, hour) = date.strip_suffix('Z')?.split_once('T')?;
    if day.len() != 8 || hour.len() != 6 || !day.is_ascii() || !hour.is_ascii() {
        return None;
    }
    let day = format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]);
    humantime::parse_rfc3339(&format!("{day}T{}:{}:{}Z", &hour[..2], &hour[2..4], &hour[4..])).ok()
}

fn incomplete(message: String) -> Refusal {
    Refusal::new(400, "IncompleteSignature", "com.amazon.coral.service#IncompleteSignatureException", message)
}

fn mismatch(message: String) -> Refusal {
    Refusal::new(403, "SignatureDoesNotMatch", "com.amazon.coral.service#InvalidSignatureException", message)
}
