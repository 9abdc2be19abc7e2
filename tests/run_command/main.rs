//! `hostgauge run`: every program behaves under it as it does bare.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

#[path = "../support/mod.rs"]
mod support;

mod both;
mod failures;
#[cfg(feature = "cloudwatch")]
mod last_window;
mod pass_through;
mod pid_one;
mod processes;
mod signals;
mod terminal;
mod torchrun;
mod usage;
