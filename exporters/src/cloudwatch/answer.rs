//! What became of one request, and what it means for the data in it.
//!
//! The codes are those of the older query protocol, which the SDK asks the service to name. Their meaning comes from
//! the API's documentation (CommonErrors, PutMetricData) and the SDK's list of throttling codes.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_sdk_cloudwatch::error::ConnectorError;

use super::secrets::without_secrets;

/// The longest that a Retry-After is believed: a wrong one must not silence the agent for days.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// From here on the clock is named as the likely cause of a refused signature. AWS takes 5 minutes; Date has seconds.
const SKEW: Duration = Duration::from_secs(4 * 60);
/// How much of a message goes into a log, in characters.
const LONGEST_MESSAGE: usize = 600;

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    /// What it means for the data.
    pub verdict: Verdict,
    /// The service's clock: the header Date, to the second. None if it had none, or without an answer of CloudWatch's
    /// own.
    pub date: Option<SystemTime>,
    /// Bytes of the body before compression; what the service's limit is compared with. 0 if it came to no body.
    pub uncompressed: u64,
    /// Bytes of the body as sent: compressed from 10,240 on. 0 if nothing was sent.
    pub sent: u64,
}

/// What an attempt means for the data in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// CloudWatch has them.
    Accepted,
    /// Too many requests of this account in this region. The data are fine.
    Throttled {
        /// How long to wait at least, if the answer says; one hour at most.
        retry_after: Option<Duration>,
    },
    /// Something about the data was refused, and so the whole request.
    Poisoned {
        /// Places of the data that the message names, from 0, ascending, each once. Empty if it names none.
        members: Vec<usize>,
        /// The service's code, empty if it could not be read.
        code: String,
        /// The service's message, on one line.
        message: String,
    },
    /// More bytes than the service takes in one request.
    TooLarge,
    /// Nothing is wrong with the data, but this sender may not send them: no credentials, expired ones, no permission,
    /// a refused signature.
    Denied {
        /// The service's code, or `CredentialsUnavailable` where there was nothing to sign with.
        code: String,
        /// The service's message or the reason, on one line and without secrets.
        message: String,
        /// What to do about it, in one line.
        remedy: String,
    },
    /// No answer of CloudWatch's, or that it cannot serve now.
    Unavailable {
        /// The data may have been stored all the same: sending them again may count them twice.
        ambiguous: bool,
        /// How long to wait at least, if the answer says; one hour at most.
        retry_after: Option<Duration>,
        /// What happened, on one line.
        what: String,
    },
}

impl Verdict {
    /// One word, for a label.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Throttled { .. } => "throttled",
            Self::Poisoned { .. } => "refused",
            Self::TooLarge => "too_large",
            Self::Denied { .. } => "denied",
            Self::Unavailable { ambiguous: false, .. } => "unavailable",
            Self::Unavailable { ambiguous: true, .. } => "ambiguous",
        }
    }

    /// Not available, for certain not stored.
    pub(super) fn unavailable(what: impl Into<String>) -> Self {
        Self::Unavailable { ambiguous: false, retry_after: None, what: what.into() }
    }

    /// Nobody knows whether it is stored.
    pub(super) fn ambiguous(what: impl Into<String>) -> Self {
        Self::Unavailable { ambiguous: true, retry_after: None, what: what.into() }
    }
}

/// The head of an HTTP answer, as far as it matters.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    pub(super) status: u16,
    /// It bears the marks of CloudWatch's protocol: whatever else may stand in between has none of them.
    pub(super) cloudwatch: bool,
    pub(super) html: bool,
    pub(super) date: Option<SystemTime>,
    pub(super) retry_after: Option<Duration>,
}

impl Head {
    /// From the status and a look-up of headers by their names in lower case.
    pub(super) fn new<'a>(status: u16, header: impl Fn(&str) -> Option<&'a str>) -> Self {
        let is = |name, start: &str| header(name).is_some_and(|value| value.to_ascii_lowercase().starts_with(start));
        let date = header("date").and_then(|date| httpdate::parse_http_date(date).ok());
        Self {
            status,
            // Over-strict would be worse than lenient: data that were stored would be sent again and again.
            cloudwatch: is("smithy-protocol", "rpc-v2-cbor")
                || is("content-type", "application/cbor")
                || header("x-amzn-requestid").is_some(),
            html: is("content-type", "text/html"),
            date,
            retry_after: header("retry-after").and_then(|value| retry_after(value, date)),
        }
    }
}

/// An answer that is not a success.
#[derive(Clone, Debug)]
pub(super) struct Refusal<'a> {
    pub(super) head: &'a Head,
    pub(super) code: Option<&'a str>,
    pub(super) message: &'a str,
    /// How many data were sent, and into which namespace.
    pub(super) data: usize,
    pub(super) namespace: &'a str,
    /// This machine's clock.
    pub(super) now: SystemTime,
}

impl Refusal<'_> {
    /// What it means.
    pub(super) fn verdict(&self) -> Verdict {
        let Head { status, cloudwatch, retry_after, .. } = *self.head;
        let code = self.code.unwrap_or_default();
        let unavailable = |ambiguous| Verdict::Unavailable { ambiguous, retry_after, what: self.what() };
        match (status, code) {
            (429, _) | (400..500, "Throttling" | "ThrottlingException" | "ThrottledException") => self.throttled(),
            (400..500, "RequestThrottled" | "RequestThrottledException" | "RequestLimitExceeded") => self.throttled(),
            (400..500, "TooManyRequestsException" | "BandwidthLimitExceeded" | "SlowDown") => self.throttled(),
            (413, _) | (400, "RequestEntityTooLarge" | "RequestTooLarge" | "EntityTooLarge") => Verdict::TooLarge,
            (400..500, code) if is_about_credentials(code) || is_about_permission(code) => self.denied(),
            (401 | 403, _) if cloudwatch => self.denied(),
            // A wrong endpoint, or an old service that lacks the operation.
            (400, "UnknownOperationException" | "UnknownOperation" | "InvalidAction") => unavailable(false),
            (400, _) if cloudwatch => Verdict::Poisoned {
                members: members(self.message, self.data),
                code: one_line(code),
                message: one_line(self.message),
            },
            // Load balancers answer so before anything was passed on.
            (503, _) => unavailable(false),
            (500.., _) => unavailable(true),
            _ => unavailable(false),
        }
    }

    fn throttled(&self) -> Verdict {
        Verdict::Throttled { retry_after: self.head.retry_after }
    }

    fn denied(&self) -> Verdict {
        let code = self.code.unwrap_or("AccessDenied");
        // Only the first line: behind it stands what was signed, the session token among it.
        let message = self.message.lines().next().unwrap_or_default();
        Verdict::Denied { code: one_line(code), message: one_line(message), remedy: self.remedy(code) }
    }

    fn remedy(&self, code: &str) -> String {
        if is_about_time(code, self.message) {
            return self.clock_remedy();
        }
        match code {
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => {
                "the session token has expired: renew it where it comes from; it is read again at the next attempt"
                    .into()
            }
            code if is_about_credentials(code) => {
                "the key is not known or its secret is wrong: check the access key, its secret and its session token"
                    .into()
            }
            _ => format!(
                "allow this identity the IAM action cloudwatch:PutMetricData on resource \"*\", where a condition \
                 cloudwatch:namespace stands with the value {:?}",
                self.namespace
            ),
        }
    }

    fn clock_remedy(&self) -> String {
        let Some(date) = self.head.date else { return "set this machine's clock (NTP)".into() };
        let (skew, side) = match self.now.duration_since(date) {
            Ok(ahead) => (ahead, "ahead of"),
            Err(behind) => (behind.duration(), "behind"),
        };
        if skew < SKEW {
            // The SDK signs by the Date of the answer before.
            return "an answer before had a wrong Date; the next attempt goes by this one's".into();
        }
        format!("this machine's clock is {} s {side} CloudWatch's: set it (NTP)", skew.as_secs())
    }

    fn what(&self) -> String {
        let Head { status, cloudwatch, .. } = *self.head;
        let answer = match self.code {
            Some(code) => one_line(&format!("status {status}, {code}: {}", self.message)),
            None => format!("status {status}"),
        };
        let hint = match status {
            _ if cloudwatch && status != 404 => "",
            300..400 => ": a redirect, which is not followed; is the endpoint right?",
            404 => ": is the endpoint right?",
            407 => ": the proxy wants credentials, user:password@ in HTTPS_PROXY",
            400..500 => ", and not from CloudWatch: is there a proxy or a gateway in between?",
            _ => "",
        };
        format!("{answer}{hint}")
    }

    /// Whether key, signature or clock are refused, whatever was asked for.
    pub(super) fn is_about_sender(&self) -> bool {
        is_about_credentials(self.code.unwrap_or_default())
    }

    /// Whether other credentials could help: then they are read again.
    pub(super) fn is_about_credentials(&self) -> bool {
        let code = self.code.unwrap_or_default();
        is_about_credentials(code) && !is_about_time(code, self.message)
    }
}

fn is_about_credentials(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken"
            | "ExpiredTokenException"
            | "TokenRefreshRequired"
            | "InvalidToken"
            | "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "UnrecognizedClientException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "AuthFailure"
            | "RequestExpired"
            | "RequestTimeTooSkewed"
    )
}

fn is_about_permission(code: &str) -> bool {
    matches!(
        code,
        "AccessDenied"
            | "AccessDeniedException"
            | "NotAuthorized"
            | "UnauthorizedOperation"
            | "UnauthorizedException"
            | "OptInRequired"
    )
}

/// A signature too old or from the future: of the right key, by a wrong clock.
fn is_about_time(code: &str, message: &str) -> bool {
    let by_signature = matches!(code, "SignatureDoesNotMatch" | "InvalidSignatureException");
    matches!(code, "RequestExpired" | "RequestTimeTooSkewed")
        || by_signature && (message.starts_with("Signature expired") || message.starts_with("Signature not yet"))
}

/// The verdict on a success of HTTP.
pub(super) fn success(head: &Head) -> Verdict {
    let status = head.status;
    if head.cloudwatch {
        return Verdict::Accepted;
    }
    let what = format!("status {status}, but not from CloudWatch: a captive portal, a proxy or a wrong endpoint?");
    // A page is somebody else's. Anything else could be CloudWatch's with its marks taken off on the way.
    if head.html { Verdict::unavailable(what) } else { Verdict::ambiguous(what) }
}

/// The places of the data that a message names as `MetricData.member.N`, N from 1; here from 0, ascending, each once.
/// What lies outside the request is left out.
pub(super) fn members(message: &str, data: usize) -> Vec<usize> {
    let mut members: Vec<usize> =
        message.split("MetricData.member.").skip(1).filter_map(|rest| place(rest, data)).collect();
    members.sort_unstable();
    members.dedup();
    members
}

fn place(rest: &str, data: usize) -> Option<usize> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let number: usize = rest[..end].parse().ok()?;
    number.checked_sub(1).filter(|place| *place < data)
}

/// Retry-After: seconds, or a time of the clock that also wrote Date. None if it is neither. Source: RFC 9110, 10.2.3.
fn retry_after(value: &str, date: Option<SystemTime>) -> Option<Duration> {
    let value = value.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = httpdate::parse_http_date(value).ok()?;
            until.duration_since(date.unwrap_or_else(SystemTime::now)).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// On one line, and no longer than a log should have it.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if let Some((end, _)) = line.char_indices().nth(LONGEST_MESSAGE) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// An error with everything behind it, on one line. The SDK's errors say next to nothing by themselves, and those of
/// its connector no more than what comes next. Without secrets.
pub(super) fn explain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    for error in chain(error).filter(|error| !error.is::<ConnectorError>()) {
        let part = without_secrets(&error.to_string());
        // Some repeat what is behind them.
        if !parts.last().is_some_and(|last| last.ends_with(&part)) {
            parts.push(part);
        }
    }
    one_line(&parts.join(": "))
}

/// An error and everything behind it.
pub(super) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_767_225_600;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn head(status: u16, cloudwatch: bool) -> Head {
        Head { status, cloudwatch, date: Some(at(NOW)), ..Head::default() }
    }

    fn refusal<'a>(head: &'a Head, code: &'a str, message: &'a str) -> Refusal<'a> {
        Refusal { head, code: Some(code), message, data: 10, namespace: "my/space", now: at(NOW) }
    }

    fn remedy(code: &str, message: &str, now: u64) -> String {
        let head = head(403, true);
        match (Refusal { now: at(now), ..refusal(&head, code, message) }).verdict() {
            Verdict::Denied { remedy, .. } => remedy,
            other => panic!("{code}: {other:?}"),
        }
    }

    #[test]
    fn codes() {
        let table = [
            (400, "Throttling", "throttled"),
            (400, "RequestLimitExceeded", "throttled"),
            (429, "", "throttled"),
            (413, "", "too_large"),
            (400, "RequestEntityTooLarge", "too_large"),
            (403, "ExpiredTokenException", "denied"),
            (400, "ExpiredToken", "denied"),
            (400, "IncompleteSignature", "denied"),
            (403, "AccessDenied", "denied"),
            (403, "SomethingNew", "denied"),
            (400, "InvalidParameterValue", "refused"),
            (400, "SerializationException", "refused"),
            (400, "", "refused"),
            (400, "UnknownOperationException", "unavailable"),
            (404, "UnknownOperationException", "unavailable"),
            (408, "RequestTimeout", "unavailable"),
            (503, "ServiceUnavailable", "unavailable"),
            (500, "InternalServiceError", "ambiguous"),
            (504, "", "ambiguous"),
        ];
        for (status, code, outcome) in table {
            let verdict = refusal(&head(status, true), code, "m").verdict();
            assert_eq!(verdict.outcome(), outcome, "{status} {code}: {verdict:?}");
        }
        // Not from CloudWatch: nothing is wrong with the data or the credentials.
        for status in [400, 401, 403, 404, 405, 407] {
            let head = head(status, false);
            let verdict = Refusal { code: None, ..refusal(&head, "", "") }.verdict();
            assert_eq!(verdict.outcome(), "unavailable", "{status}: {verdict:?}");
        }
    }

    #[test]
    fn remedies() {
        let expired = "Signature expired: 20260101T000000Z is now earlier than 20260101T010000Z";
        assert!(remedy("SignatureDoesNotMatch", expired, NOW + 600).contains("600 s ahead of CloudWatch's"));
        assert!(remedy("SignatureDoesNotMatch", expired, NOW - 600).contains("600 s behind CloudWatch's"));
        assert!(remedy("SignatureDoesNotMatch", expired, NOW).contains("wrong Date"));
        assert!(remedy("SignatureDoesNotMatch", "The request signature", NOW).contains("secret"));
        assert!(remedy("ExpiredToken", "", NOW).contains("expired"));
        let permission = remedy("AccessDenied", "", NOW);
        assert!(permission.contains("cloudwatch:PutMetricData") && permission.contains("\"my/space\""), "{permission}");
    }

    #[test]
    fn what_was_signed_stays_out_of_the_log() {
        let message = "The signature does not match.\n\nThe Canonical String was\nx-amz-security-token:HUSH";
        let verdict = refusal(&head(403, true), "SignatureDoesNotMatch", message).verdict();
        let Verdict::Denied { message, .. } = verdict else { panic!("{verdict:?}") };
        assert_eq!(message, "The signature does not match.");
    }

    #[test]
    fn named_members() {
        let message = "The value NaN for parameter MetricData.member.9.Value is invalid.\n\
                       The parameter MetricData.member.2.Timestamp must be ..., MetricData.member.9.Unit too, \
                       MetricData.member.0, MetricData.member.11.Value, MetricData.member.99999999999999999999999";
        assert_eq!(members(message, 10), [1, 8]);
        assert_eq!(members("MetricData.member.10", 10), [9]);
        assert!(members("MetricData.member.x and Values.member.3", 10).is_empty());
    }

    #[test]
    fn waits() {
        let date = Some(at(NOW));
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(retry_after(" 7 ", date), seconds(7));
        assert_eq!(retry_after("99999999999", date), Some(LONGEST_RETRY_AFTER));
        assert_eq!(retry_after(&httpdate::fmt_http_date(at(NOW + 90)), date), seconds(90));
        assert_eq!(retry_after(&httpdate::fmt_http_date(at(NOW - 90)), date), seconds(0));
        assert_eq!(retry_after("-1", date), None);
        assert_eq!(retry_after("soon", date), None);
    }

    #[test]
    fn an_error_is_explained_on_one_line() {
        let error = std::io::Error::other("first\n\tsecond\u{1b}[31m");
        assert_eq!(explain(&error), "first second [31m");
        assert_eq!(one_line(&"é".repeat(1000)).chars().count(), LONGEST_MESSAGE + 1);
    }

    proptest! {
        /// Whatever a message says, its members lie within the request, ascending, each once.
        #[test]
        fn members_lie_within(
            message in "(MetricData\\.member\\.[0-9]{0,22}|member|[.,é \n]|\\PC){0,30}",
            data in 0usize..20,
        ) {
            let members = members(&message, data);
            prop_assert!(members.iter().all(|member| *member < data));
            prop_assert!(members.is_sorted_by(|a, b| a < b));
        }
    }
}
