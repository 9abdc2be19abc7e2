//! The agent through trouble of every kind at once, for a minute here and for as long as one likes by
//! `tests/soak/run MINUTES`: all random choices come from a seed that is printed and can be given again.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

#[path = "soak/clock_jumps.rs"]
mod clock_jumps;
#[path = "soak/disk.rs"]
mod disk;
#[path = "soak/look.rs"]
mod look;
#[path = "soak/mixed.rs"]
mod mixed;
#[path = "soak/stage.rs"]
mod stage;
mod support;
#[path = "soak/trouble.rs"]
mod trouble;
#[path = "soak/upgrades.rs"]
mod upgrades;
#[path = "soak/vitals.rs"]
mod vitals;
