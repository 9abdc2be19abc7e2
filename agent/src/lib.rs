//! SageMaker's utilization metrics, anywhere.
//!
//! hostgauge samples CPU per core, memory and disk with the meaning that Amazon SageMaker documents for
//! `CPUUtilization`, `MemoryUtilization` and `DiskUtilization`, shows them to Prometheus and publishes them to
//! CloudWatch. This crate is the agent's library: a Rust program embeds it with a few lines, and its own `gauge!`,
//! `counter!` and `histogram!` leave by the same ways.
//!
//! ```
//! let hostgauge = hostgauge::Builder::new()
//!     .host("algo-1")
//!     .listen("127.0.0.1:0".parse()?) // any free port
//!     .install()?;
//! metrics::gauge!("queue_depth").set(3.0);
//!
//! println!("http://{}/metrics", hostgauge.address().expect("it listens"));
//! assert!(hostgauge.page().contains(r#"queue_depth{Host="algo-1"} 3"#));
//! drop(hostgauge); // sampling stops
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sampling runs on a thread of its own and needs no async runtime. Nothing here panics, prints or exits; what goes
//! wrong is returned while starting, and a series of its own (`hostgauge_collector_success`) with a line in the
//! program's `log` afterwards.
//!
//! What each series means, its unit, range and when it is absent: [`catalogue`].

mod builder;
#[cfg(feature = "cli")]
pub mod cli;
mod clocks;
#[cfg(feature = "cloudwatch")]
mod cloudwatch;
#[cfg_attr(not(feature = "cloudwatch"), path = "no_delivery.rs")]
mod delivery;
mod error;
mod fanout;
#[cfg(all(any(test, fuzzing), feature = "top", target_os = "linux"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod identity;
mod job_kind;
mod page;
#[cfg(any(feature = "cli", feature = "cloudwatch"))]
mod period;
mod pipeline;
mod sampler;
mod schedule;
#[cfg(feature = "web-config")]
mod web_config;

pub use builder::{Builder, Hostgauge, INTERVALS};
#[cfg(feature = "cloudwatch")]
pub use cloudwatch::{CloudWatch, Publish};
pub use error::Error;
pub use hostgauge_collectors::{
    CollectError, Collector, Device, GpuChoice, GpuProcesses, GpuSelection, GpuStandby, GpuSumRule, Kind, Metric,
    Neighbour, NoGpuProcesses, NoGpuSelection, NoScope, Pending, Reason, Roots, Sample, Scope, catalogue,
    sum_over_devices,
};
#[cfg(feature = "web-config")]
pub use hostgauge_exporters::prometheus::WebConfig;
#[cfg(feature = "cloudwatch")]
pub use hostgauge_exporters::{
    cloudwatch::{Rehearsed, Show, price},
    datum::Resolution,
    emf::Target as EmfTarget,
    publication::Statistics,
};
pub use job_kind::{JobKind, inside_sagemaker};
