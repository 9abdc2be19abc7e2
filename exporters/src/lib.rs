//! Exporters: what becomes of samples once they are in the `metrics` facade.
//!
//! An exporter is an ordinary [`metrics::Recorder`] and, where it talks to the world, a task. There is no trait of our
//! own, so any other recorder works beside these.
//!
//! - [`history`] keeps the last samples of some gauges in memory, as JSON and as a stream, for the page in a browser.
//! - [`prometheus`] keeps last values and serves them as a page.
//! - [`windows`] keeps each clock-aligned period's statistics and closes it once, for everyone who publishes windows.
//! - `cloudwatch` publishes windows to Amazon CloudWatch, `emf` writes them in its embedded metric format.
//!
//! No collector is known here. Both understand the convention that a gauge set to NaN is absent.

#[cfg(feature = "cloudwatch")]
pub mod cloudwatch;
#[cfg(feature = "cloudwatch")]
pub mod datum;
pub mod distribution;
#[cfg(feature = "cloudwatch")]
pub mod emf;
#[cfg(all(any(test, fuzzing), feature = "cloudwatch"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod history;
#[cfg(feature = "cloudwatch")]
pub mod ledger;
pub mod prometheus;
#[cfg(feature = "cloudwatch")]
pub mod publication;
mod series;
mod statistics;
pub mod windows;

pub use statistics::StatisticSet;
