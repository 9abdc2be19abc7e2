//! What the SDK does not tell of an attempt: sizes, where it went, and the head of the answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_cloudwatch::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_cloudwatch::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_cloudwatch::error::BoxError;

use super::answer::Head;

/// What was seen of one attempt.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Bytes of the body before compression.
    pub(super) uncompressed: u64,
    /// Bytes of the body as sent.
    pub(super) sent: u64,
    /// Where it goes. None: it never got as far as being sent.
    pub(super) uri: Option<String>,
    /// The head of the answer. None: there was none.
    pub(super) head: Option<Head>,
}

/// Goes with one attempt and writes down what it sees.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Arc<Mutex<Seen>>);

impl Watch {
    /// What was seen so far.
    pub(super) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "Watch"
    }

    fn read_after_serialization(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.lock().uncompressed = size(context);
        Ok(())
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let mut seen = self.lock();
        seen.sent = size(context);
        seen.uri = Some(context.request().uri().to_owned());
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        self.lock().head = Some(Head::new(response.status().as_u16(), |name| response.headers().get(name)));
        Ok(())
    }
}

/// The body is in memory, before compression and after.
fn size(context: &BeforeTransmitInterceptorContextRef<'_>) -> u64 {
    context.request().body().bytes().map_or(0, |bytes| bytes.len() as u64)
}
