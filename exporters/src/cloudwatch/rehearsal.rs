//! The rehearsal (`--dry-run`): requests go the whole way but for the network, and are shown instead.

use super::answer::Answer;
use super::client::Client;
use super::delivery::Service;
use super::json;
use crate::datum::Datum;

/// One request that was not sent.
#[derive(Clone, Debug)]
pub struct Rehearsed {
    /// As the AWS CLI takes it: `aws cloudwatch put-metric-data --cli-input-json`.
    pub json: serde_json::Value,
    /// Data in it.
    pub data: usize,
    /// Bytes of its body.
    pub uncompressed_bytes: u64,
    /// Bytes of its body as it would be sent: compressed where the SDK does so.
    pub sent_bytes: u64,
}

/// Gets each request.
pub type Show = Box<dyn Fn(Rehearsed) + Send>;

pub(super) struct Rehearsal {
    client: Client,
    show: Show,
}

impl Rehearsal {
    pub(super) fn new(show: Show) -> Self {
        Self { client: Client::rehearsal(), show }
    }
}

impl Service for Rehearsal {
    async fn put(&self, namespace: &str, data: &[Datum]) -> Answer {
        let answer = self.client.put(namespace, data).await;
        (self.show)(Rehearsed {
            json: json::request(namespace, data),
            data: data.len(),
            uncompressed_bytes: answer.uncompressed,
            sent_bytes: answer.sent,
        });
        answer
    }
}

impl Service for Client {
    async fn put(&self, namespace: &str, data: &[Datum]) -> Answer {
        Client::put(self, namespace, data).await
    }
}
