//! Why a request is refused, in AWS's codes.

use minicbor::Encoder;

/// An error of the service. `code` is what an AWS SDK reports; `shape` its name in the protocol.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) shape: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &'static str, shape: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, shape, message: message.into() }
    }

    pub(crate) fn invalid_value(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameterValue", "com.amazonaws.cloudwatch#InvalidParameterValueException", message)
    }

    pub(crate) fn invalid_combination(message: impl Into<String>) -> Self {
        let shape = "com.amazonaws.cloudwatch#InvalidParameterCombinationException";
        Self::new(400, "InvalidParameterCombination", shape, message)
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        let shape = "com.amazonaws.cloudwatch#MissingRequiredParameterException";
        Self::new(400, "MissingParameter", shape, format!("The parameter {parameter} is required."))
    }

    /// A body of another shape than the service's model has it.
    pub(crate) fn serialization(message: String) -> Self {
        Self::new(400, "SerializationException", "com.amazon.coral.service#SerializationException", message)
    }

    /// The body: `__type` and `message`.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        // Writing to memory cannot fail.
        let written =
            encoder.map(2).and_then(|map| map.str("__type")?.str(self.shape)?.str("message")?.str(&self.message));
        debug_assert!(written.is_ok());
        encoder.into_writer()
    }

    /// The header x-amzn-query-error: the code of the older protocol and whose fault it was.
    pub(crate) fn query_error(&self) -> String {
        format!("{};{}", self.code, if self.status < 500 { "Sender" } else { "Receiver" })
    }
}

impl From<minicbor::decode::Error> for Refusal {
    fn from(error: minicbor::decode::Error) -> Self {
        Self::serialization(error.to_string())
    }
}
