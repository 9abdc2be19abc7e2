//! What the AWS SDK for Rust sends, and what it makes of the answers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod client;
mod faults;
mod limits;
mod stored;
