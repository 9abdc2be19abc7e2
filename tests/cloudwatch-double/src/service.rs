//! What one request meets: the checks in the order of the real service, the store, the answer.

use std::io::{self, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use flate2::bufread::GzDecoder;

use crate::fault::{Fault, Script};
use crate::http::{Head, Response};
use crate::limits;
use crate::message::PutMetricData;
use crate::refusal::Refusal;
use crate::signature;
use crate::store::Store;

const OPERATION: &str = "/service/GraniteServiceVersion20100801/operation/PutMetricData";
const PROTOCOL: &str = "rpc-v2-cbor";
/// Where unpacking ends: so far above the limit that more does not matter.
const MOST_UNPACKED: u64 = 64 * 1024 * 1024;

/// A request that came, and what became of it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Path and query.
    pub target: String,
    /// Headers; names in lower case.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body as sent. 0 where it was not read.
    pub raw_bytes: usize,
    /// Bytes of the body, unpacked. 0 where it was not read or could not be unpacked.
    pub uncompressed_bytes: usize,
    /// What it asks for. None where that cannot be read.
    pub input: Option<PutMetricData>,
    /// The fault that it met.
    pub fault: Option<Fault>,
    /// The status of the answer. None where there is none: reset or hang.
    pub status: Option<u16>,
    /// AWS's code and message of the error.
    pub error: Option<(String, String)>,
    /// Whether the data are in the store.
    pub stored: bool,
}

impl Request {
    fn new(head: &Head, fault: Option<Fault>) -> Self {
        Self {
            target: head.target.clone(),
            headers: head.headers.clone(),
            raw_bytes: 0,
            uncompressed_bytes: 0,
            input: None,
            fault,
            status: None,
            error: None,
            stored: false,
        }
    }

    /// The first header of this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) clock: Option<SystemTime>,
    pub(crate) script: Script,
    pub(crate) store: Store,
    pub(crate) requests: Vec<Request>,
}

impl State {
    pub(crate) fn now(&self) -> SystemTime {
        self.clock.unwrap_or_else(SystemTime::now)
    }
}

#[derive(Debug)]
pub(crate) struct Service {
    signature_age: Option<Duration>,
    state: Mutex<State>,
    arrived: Condvar,
}

impl Service {
    pub(crate) fn new(clock: Option<SystemTime>, signature_age: Option<Duration>) -> Self {
        let state = State { clock, ..State::default() };
        Self { signature_age, state: Mutex::new(state), arrived: Condvar::new() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there are more than `seen` requests, or patience ends.
    pub(crate) fn wait(&self, seen: usize, patience: Duration) -> MutexGuard<'_, State> {
        let waiting = |state: &mut State| state.requests.len() <= seen;
        let waited = self.arrived.wait_timeout_while(self.state(), patience, waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Notes a request whose body was not read.
    pub(crate) fn skip(&self, head: &Head, fault: Fault) {
        self.note(&mut self.state(), Request::new(head, Some(fault)));
    }

    /// Takes a request. None where the fault leaves it without an answer.
    pub(crate) fn take(&self, head: &Head, body: &[u8], fault: Option<Fault>) -> Option<Response> {
        let now = self.state().now();
        let mut request = Request { raw_bytes: body.len(), ..Request::new(head, fault) };
        let examined = self.examine(head, body, now, &mut request);
        let outcome = match fault {
            Some(fault) => played(fault).map_or(examined, Err),
            None => examined,
        };
        let silent = matches!(fault, Some(Fault::Hang | Fault::HangAfterStoring | Fault::ResetAfterStoring));
        let (response, error) = match outcome {
            Ok(()) => (Response { status: 200, ..Response::default() }, None),
            Err(refusal) => (refused(&refusal, head), Some((refusal.code.to_owned(), refusal.message))),
        };

        let mut state = self.state();
        request.stored = error.is_none() && fault != Some(Fault::Hang);
        if let Some(input) = request.input.as_ref().filter(|_| request.stored) {
            state.store.put(input, now);
        }
        let response = (!silent).then(|| finish(response, state.requests.len(), now, fault));
        request.status = response.as_ref().map(|response| response.status);
        request.error = error;
        self.note(&mut state, request);
        response
    }

    fn note(&self, state: &mut State, request: Request) {
        state.requests.push(request);
        self.arrived.notify_all();
    }

    fn examine(&self, head: &Head, body: &[u8], now: SystemTime, request: &mut Request) -> Result<(), Refusal> {
        route(head)?;
        signature::check(head, now, self.signature_age)?;
        let unpacked = unpack(head, body).map_err(|error| Refusal::serialization(error.to_string()))?;
        request.uncompressed_bytes = unpacked.len();
        if unpacked.len() > limits::BODY {
            return Err(too_large());
        }
        let call = request.input.insert(PutMetricData::decode(&unpacked)?);
        limits::check(call, now)
    }
}

fn route(head: &Head) -> Result<(), Refusal> {
    if head.method != "POST" || head.target != OPERATION {
        let shape = "com.amazon.coral.service#UnknownOperationException";
        return Err(Refusal::new(404, "UnknownOperationException", shape, "only PutMetricData over CBOR is here"));
    }
    let expected = [("content-type", "application/cbor"), ("smithy-protocol", PROTOCOL)];
    if let Some((name, value)) = expected.iter().find(|(name, value)| head.header(name) != Some(value)) {
        return Err(Refusal::serialization(format!("the header {name} must be {value}")));
    }
    Ok(())
}

fn unpack(head: &Head, body: &[u8]) -> io::Result<Vec<u8>> {
    match head.header("content-encoding") {
        None => Ok(body.to_vec()),
        Some("gzip") => {
            let mut unpacked = Vec::new();
            let mut decoder = GzDecoder::new(body).take(MOST_UNPACKED);
            decoder.read_to_end(&mut unpacked)?;
            if decoder.limit() > 0 && !decoder.into_inner().into_inner().is_empty() {
                return Err(io::Error::other("bytes after the gzip stream"));
            }
            Ok(unpacked)
        }
        Some(other) => Err(io::Error::other(format!("content-encoding {other}"))),
    }
}

fn too_large() -> Refusal {
    Refusal::new(413, "RequestEntityTooLarge", "", "Request Entity Too Large")
}

/// The error that a fault plays, if it plays one.
fn played(fault: Fault) -> Option<Refusal> {
    match fault {
        Fault::Throttle => {
            let shape = "com.amazon.coral.availability#ThrottlingException";
            Some(Refusal::new(400, "Throttling", shape, "Rate exceeded"))
        }
        Fault::Internal => {
            let shape = "com.amazonaws.cloudwatch#InternalServiceFault";
            Some(Refusal::new(500, "InternalServiceError", shape, "Request processing has failed."))
        }
        Fault::ExpiredToken => {
            let shape = "com.amazon.coral.service#ExpiredTokenException";
            let message = "The security token included in the request is expired";
            Some(Refusal::new(403, "ExpiredTokenException", shape, message))
        }
        Fault::Unavailable => {
            let page = "<html><body>Service Unavailable</body></html>";
            Some(Refusal::new(503, "ServiceUnavailable", "", page))
        }
        Fault::TooLarge => Some(too_large()),
        _ => None,
    }
}

fn refused(refusal: &Refusal, head: &Head) -> Response {
    match refusal.status {
        // These come from in front of the service, which alone speaks CBOR.
        413 => Response::new(413, "text/plain", refusal.message.as_str()),
        503 => Response::new(503, "text/html", refusal.message.as_str()),
        status => {
            let mut response = Response::new(status, "application/cbor", refusal.body());
            response.headers.push(("smithy-protocol", PROTOCOL.to_owned()));
            if head.header("x-amzn-query-mode") == Some("true") {
                response.headers.push(("x-amzn-query-error", refusal.query_error()));
            }
            response
        }
    }
}

fn finish(mut response: Response, number: usize, now: SystemTime, fault: Option<Fault>) -> Response {
    let date = match fault {
        Some(Fault::DateOff(seconds)) if seconds < 0 => now - Duration::from_secs(seconds.unsigned_abs()),
        Some(Fault::DateOff(seconds)) => now + Duration::from_secs(seconds.unsigned_abs()),
        _ => now,
    };
    response.headers.push(("x-amzn-requestid", format!("00000000-0000-4000-8000-{number:012}")));
    response.headers.push(("date", httpdate::fmt_http_date(date)));
    if response.status == 200 {
        response.headers.push(("smithy-protocol", PROTOCOL.to_owned()));
    }
    response
}
