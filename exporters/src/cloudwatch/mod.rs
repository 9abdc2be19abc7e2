//! Publishing to Amazon CloudWatch: exact, for one request a period, and nothing lost silently.
//!
//! ```text
//! window -> publication -> gate -> spool -> job -> one attempt of the AWS SDK -> answer -> ledger
//! ```
//!
//! It was never run against the real service: what it is tested against is a double built from the documentation.

mod answer;
mod client;
mod collapse;
mod connector;
mod credentials;
mod delivery;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod job;
pub mod json;
pub mod limits;
mod pace;
mod phase;
pub mod price;
mod probe;
mod publisher;
mod record;
mod rehearsal;
mod secrets;
mod spool;
mod status;
mod watch;
mod wire;

pub use client::{About, ClientError, Found};
pub use probe::{Answered, Contact, Probe, ProbeError, probe};
pub use publisher::{Publisher, Settings, StartError};
pub use rehearsal::{Rehearsed, Show};
pub use spool::{OpenError, Place, look as look_at_spool};
pub use status::Status;
