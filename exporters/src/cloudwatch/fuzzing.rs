//! Properties of what comes back from the disk and from the service.
#![allow(clippy::expect_used, clippy::panic, reason = "a property that does not hold panics")]

use std::time::{Duration, UNIX_EPOCH};

use super::answer::{Head, Refusal, Verdict, members, one_line, success};
use super::limits;
use super::record::Record;
pub(crate) use super::spool::fuzzing::spool_segments;
use super::wire;
use crate::fuzzing::input::{Input, parts};

/// A record is the same once written and read again, and holds no more than its bytes. Cut for sending, each datum is
/// in one request.
pub(crate) fn spool_record(data: &[u8]) {
    let Ok(record) = Record::decode(data) else { return };
    assert!(record.data.len() <= data.len());
    let bytes = record.encode();
    let again = Record::decode(&bytes).expect("a record that was just written");
    assert_eq!((again.encode(), again.data.len()), (bytes, record.data.len()));
    let good: Vec<_> = record.data.into_iter().filter(|datum| limits::check(datum).is_ok()).collect();
    let (count, size) = (good.len(), good.iter().map(wire::datum_bytes).sum::<usize>());
    good.iter().for_each(|datum| drop(wire::metric_datum(datum)));
    let requests = wire::chunks(&record.namespace, good);
    assert_eq!(requests.iter().map(Vec::len).sum::<usize>(), count);
    assert!(requests.iter().all(|request| !request.is_empty()) && requests.len() <= size);
}

/// What is accepted bears CloudWatch's marks; only data of the request are named; nobody waits for more than an hour;
/// and what goes into a log is one short line, of refused credentials the first.
pub(crate) fn answers(data: &[u8]) {
    let mut parts = parts(data).map(String::from_utf8_lossy);
    let numbers = parts.next().unwrap_or_default().into_owned();
    let mut numbers = Input::new(numbers.as_bytes());
    let (status, count) = (100 + numbers.number(2) as u16 % 500, usize::from(numbers.byte()));
    let mut next = || parts.next().unwrap_or_default().into_owned();
    let (code, message, date, retry_after, content, protocol) = (next(), next(), next(), next(), next(), next());
    let header = |name: &str| match name {
        "date" => Some(&*date),
        "retry-after" => Some(&*retry_after),
        "content-type" => Some(&*content),
        "smithy-protocol" => Some(&*protocol),
        _ => None,
    };
    let head = Head::new(status, header);
    assert!(!head.cloudwatch || !content.is_empty() || !protocol.is_empty());
    assert_eq!(success(&head) == Verdict::Accepted, head.cloudwatch);

    let (code, now) = ((!code.is_empty()).then_some(&*code), UNIX_EPOCH + Duration::from_secs(numbers.number(4)));
    let refusal = Refusal { head: &head, code, message: &message, data: count, namespace: "n", now };
    let short = |text: &str| {
        assert!(text.chars().count() < 2000 && !text.chars().any(char::is_control), "{text:?}");
    };
    let within_the_hour = |wait: Option<Duration>| assert!(wait.is_none_or(|wait| wait <= Duration::from_secs(3600)));
    match refusal.verdict() {
        Verdict::Accepted => panic!("a refusal was taken for a success"),
        Verdict::Throttled { retry_after } => within_the_hour(retry_after),
        Verdict::Poisoned { members, code, message } => {
            assert!(members.is_sorted_by(|a, b| a < b) && members.iter().all(|place| *place < count));
            short(&code);
            short(&message);
        }
        Verdict::TooLarge => {}
        Verdict::Denied { code, message: told, remedy } => {
            [code, remedy].iter().for_each(|text| short(text));
            // Behind it stands what was signed.
            assert_eq!(told, one_line(message.lines().next().unwrap_or_default()));
        }
        Verdict::Unavailable { retry_after, what, .. } => {
            within_the_hour(retry_after);
            short(&what);
        }
    }
    // Each datum is found by its place, whatever stands around it.
    if count > 0 {
        let named = format!("{message} MetricData.member.{count}: {message}");
        assert!(members(&named, count).contains(&(count - 1)), "{named:?}");
    }
}
