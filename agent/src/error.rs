//! What keeps hostgauge from starting.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why hostgauge could not start. Once it runs, nothing stops it: what cannot be read is absent, with a reason.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The address of the page cannot be had.
    Listen(SocketAddr, io::Error),
    /// The operating system gives no thread or no event queue.
    System(io::Error),
    /// The program already has a global recorder, or the recorder refuses its settings.
    Recorder(String),
    /// A value of the builder is out of range.
    Invalid(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "cannot listen on {address}: the port is taken (by another hostgauge?)")
            }
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::System(error) => write!(f, "the operating system refuses a thread or an event queue: {error}"),
            Self::Recorder(message) | Self::Invalid(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(_, error) | Self::System(error) => Some(error),
            Self::Recorder(_) | Self::Invalid(_) => None,
        }
    }
}
