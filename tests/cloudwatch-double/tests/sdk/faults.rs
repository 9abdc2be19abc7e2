//! Every fault: what the SDK sees of it, and whether the data are stored.

use std::time::{Duration, Instant};

use hostgauge_cloudwatch_double::{Fault, Mix};

use crate::client::{Failure, Fixture, datum};

/// Long enough for an answer that comes.
const IMPATIENT: Duration = Duration::from_secs(1);

fn refused(status: u16, code: Option<&str>, message: &str) -> Result<(), Failure> {
    Err(Failure::Service { status, code: code.map(str::to_owned), message: message.to_owned() })
}

/// Plays the fault twice, then none.
fn play(fault: Fault, seen: impl Fn() -> Result<(), Failure>, stored: bool) -> Fixture {
    let patience = if seen() == Err(Failure::Timeout) { IMPATIENT } else { Duration::from_secs(20) };
    let fixture = Fixture::with_patience(patience);
    fixture.double.script([fault; 2]);
    for number in 1..=2 {
        let outcome = fixture.put([datum("m").value(1.0).build()]);
        assert_eq!(outcome, seen(), "{fault:?}");
        let request = fixture.last_request();
        assert_eq!((request.fault, request.stored), (Some(fault), stored), "{fault:?}");
        assert_eq!(fixture.double.requests().len(), number, "{fault:?}: the SDK must not try again");
    }
    fixture.put([datum("m").value(1.0).build()]).unwrap_or_else(|failure| panic!("after {fault:?}: {failure:?}"));
    assert_eq!(fixture.point("m").sample_count, if stored { 3.0 } else { 1.0 }, "{fault:?}");
    fixture
}

#[test]
fn errors_of_the_service() {
    play(Fault::Throttle, || refused(400, Some("Throttling"), "Rate exceeded"), false);
    let failed = || refused(500, Some("InternalServiceError"), "Request processing has failed.");
    play(Fault::Internal, failed, false);
    let expired = "The security token included in the request is expired";
    play(Fault::ExpiredToken, || refused(403, Some("ExpiredTokenException"), expired), false);
}

#[test]
fn answers_that_are_not_cbor() {
    // All that the SDK can tell of them is the status.
    play(Fault::Unavailable, || refused(503, None, ""), false);
    play(Fault::TooLarge, || refused(413, None, ""), false);
}

#[test]
fn resets() {
    let fixture = play(Fault::ResetBeforeBody, || Err(Failure::Dispatch), false);
    let request = &fixture.double.requests()[0];
    assert_eq!((request.status, request.raw_bytes, request.input.is_none()), (None, 0, true));
    let fixture = play(Fault::ResetAfterStoring, || Err(Failure::Dispatch), true);
    assert_eq!(fixture.double.requests()[0].status, None);
}

#[test]
fn silence() {
    play(Fault::Hang, || Err(Failure::Timeout), false);
}

#[test]
fn silence_after_storing() {
    play(Fault::HangAfterStoring, || Err(Failure::Timeout), true);
}

#[test]
fn a_slow_answer() {
    let start = Instant::now();
    play(Fault::Drip(Duration::from_millis(1)), || Ok(()), true);
    assert!(start.elapsed() > Duration::from_millis(200));
    // Slower than patience.
    play(Fault::Drip(Duration::from_millis(100)), || Err(Failure::Timeout), true);
}

#[test]
fn a_date_that_is_off() {
    let fixture = Fixture::start();
    fixture.double.script([Fault::DateOff(-3_600)]);
    let put = || fixture.put([datum("m").value(1.0).build()]);
    assert_eq!(put(), Ok(()));
    // The SDK sets its clock by the Date of the last answer: it believes the wrong one, and then the right one.
    let Err(Failure::Service { status: 403, code, message }) = put() else { panic!("accepted") };
    assert_eq!(code.as_deref(), Some("SignatureDoesNotMatch"));
    assert!(message.starts_with("Signature expired: "), "{message}");
    assert_eq!(put(), Ok(()));
    assert_eq!(fixture.point("m").sample_count, 2.0);
}

#[test]
fn a_fault_that_stores_does_not_excuse_bad_data() {
    let fixture = Fixture::start();
    fixture.double.script([Fault::ResetAfterStoring]);
    assert_eq!(fixture.put([datum("m").value(f64::NAN).build()]), Err(Failure::Dispatch));
    assert!(!fixture.last_request().stored);
    assert_eq!(fixture.double.series(), []);
}

#[test]
fn a_mix_is_the_same_for_the_same_seed() {
    let played = |seed| {
        let fixture = Fixture::start();
        let faults = vec![Fault::Throttle, Fault::ResetAfterStoring];
        fixture.double.mix(Some(Mix { seed, share: 0.5, faults }));
        let outcomes: Vec<_> = (0..40).map(|_| fixture.put([datum("m").value(1.0).build()]).is_ok()).collect();
        let requests = fixture.double.requests();
        assert_eq!(fixture.point("m").sample_count, requests.iter().filter(|r| r.stored).count() as f64);
        assert_eq!(outcomes, requests.iter().map(|r| r.fault.is_none()).collect::<Vec<_>>());
        let faults: Vec<_> = requests.iter().map(|request| request.fault).collect();
        for kind in [None, Some(Fault::Throttle), Some(Fault::ResetAfterStoring)] {
            assert!(faults.contains(&kind), "{kind:?} in {faults:?}");
        }
        faults
    };
    assert_eq!(played(7), played(7));
    assert_ne!(played(7), played(8));
}

#[test]
fn the_double_stops_with_a_request_in_the_air() {
    let fixture = Fixture::with_patience(IMPATIENT);
    fixture.double.script([Fault::Hang]);
    let address = fixture.double.address();
    assert_eq!(fixture.put([datum("m").value(1.0).build()]), Err(Failure::Timeout));
    let start = Instant::now();
    drop(fixture);
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(std::net::TcpStream::connect(address).is_err());
}
