//! Collectors: readings of a host as samples with a documented meaning.
//!
//! A [`Collector`] reads one subject (CPU, memory, disk, GPUs) and *returns* what it read as [`Sample`]s. A sample is one
//! value of one [`Metric`], the row of the [`catalogue`] that says its name, unit, range and source. A [`Device`] tells
//! the series of one metric apart: the core, the path. [`Emitter`] carries samples into the `metrics` facade; nothing
//! else in this crate writes to it, and no exporter is known here.
//!
//! Three states of a value are kept apart everywhere. A **sample** is a value that was measured, and where the source
//! is a counter it is the exact mean over the interval since the reading before. **Zero** is a measured value like any
//! other. **Absent** is no sample at all: the value could not be known, the collector returns a [`CollectError`] that
//! says why, and the series leaves the page instead of repeating its last good value.
//!
//! # In a program
//!
//! Most programs embed the `hostgauge` package, which also runs the schedule. To take readings by hand:
//!
//! ```
//! use hostgauge_collectors::{Collector, Cpu, Roots};
//!
//! let mut cpu = Cpu::new(&Roots::default());
//! let mut samples = Vec::new();
//! cpu.collect(&mut samples)?; // the first reading is the base: no percentages yet
//! std::thread::sleep(std::time::Duration::from_millis(250));
//! samples.clear();
//! cpu.collect(&mut samples)?;
//! let busy = samples.iter().find(|s| s.metric.name == "hostgauge_cpu_utilization_percent");
//! println!("{:.1} % of one core", busy.map_or(f64::NAN, |s| s.value));
//! # Ok::<(), hostgauge_collectors::CollectError>(())
//! ```

pub mod catalogue;
mod collector;
mod emit;
mod error;
#[cfg(all(any(test, fuzzing), target_os = "linux"))]
#[doc(hidden)]
pub mod fuzzing;
mod gpu;
mod pending;
mod process;
mod sample;
mod scope;
mod scope_report;
mod task_endpoint;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(not(target_os = "linux"), test))]
#[cfg_attr(target_os = "linux", allow(unreachable_pub, unused_imports, missing_docs))]
mod portable;

pub use catalogue::{Kind, Metric};
pub use collector::Collector;
pub use emit::{Emitter, collect_and_emit, describe};
pub use error::{CollectError, Reason};
pub use gpu::{
    Choice as GpuChoice, Gpu, GpuCause, GpuDiagnosis, GpuFound, NoProcesses as NoGpuProcesses,
    NoSelection as NoGpuSelection, Processes as GpuProcesses, Selection as GpuSelection, Standby as GpuStandby,
    SumRule as GpuSumRule, diagnose as diagnose_gpus,
};
#[cfg(target_os = "linux")]
pub use linux::{
    cgroup::{FileSystems, Scoped, explain as explain_scope},
    cores,
    cpu::Cpu,
    disk::Disk,
    memory::Memory,
};
pub use pending::Pending;
#[cfg(not(target_os = "linux"))]
pub use portable::{Cpu, Disk, Memory, cores, explain_scope};
pub use process::own_cost;
pub use sample::{Cores, Device, Roots, Sample, sum_over_devices};
pub use scope::{Chosen as ChosenScopes, FORMS as SCOPE_FORMS, Neighbour, NoScope, Scope, choose as choose_scopes};
pub use scope_report::{Bound, Explanation, Hint, Measured};
pub use task_endpoint::TaskEndpoint;
