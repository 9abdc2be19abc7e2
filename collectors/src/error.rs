//! Why a collector has no sample.

use std::fmt;
use std::io;
use std::path::Path;

/// The class of a failure: the value of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The file, path or device is not there.
    Missing,
    /// It is there, but may not be read.
    Denied,
    /// It was read, but does not say what its format promises.
    Malformed,
    /// No answer within the deadline: a dead network file system, a wedged driver.
    TimedOut,
    /// Any other error of the operating system.
    Failed,
}

impl Reason {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Denied => "denied",
            Self::Malformed => "malformed",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
        }
    }

    /// Every reason there is.
    pub const ALL: [Self; 5] = [Self::Missing, Self::Denied, Self::Malformed, Self::TimedOut, Self::Failed];
}

impl From<io::ErrorKind> for Reason {
    fn from(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::InvalidData => Self::Malformed,
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Failed,
        }
    }
}

/// What could not be read, why, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectError {
    reason: Reason,
    message: String,
}

impl CollectError {
    /// An error whose message names what was read and what was expected there.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// The operating system refused `what` on `path`.
    pub fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(error.kind().into(), format!("cannot {what} {}: {error}", path.display()))
    }

    /// The class of the failure.
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

impl fmt::Display for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CollectError {}
