//! GPUs: arithmetic without a driver (numbers and codes in, figures and decisions out), the driver, and the collector
//! that brings them together.

mod backoff;
mod busy;
mod cause;
mod collector;
mod counter;
mod device;
#[cfg_attr(
    not(any(target_os = "linux", target_os = "windows")),
    allow(dead_code, unused_imports, reason = "there is no driver to ask")
)]
mod diagnosis;
#[cfg_attr(
    not(any(target_os = "linux", target_os = "windows")),
    allow(dead_code, reason = "there is no driver to answer")
)]
mod driver;
mod events;
mod evidence;
#[cfg(all(any(test, fuzzing), target_os = "linux"))]
pub(crate) mod fuzzing;
mod instances;
#[cfg(any(target_os = "linux", target_os = "windows"))]
mod nvml;
mod processes;
mod ring;
mod selection;
mod standby;
mod state;
mod sum;
mod vitals;
mod waste;
mod xid;

pub use cause::GpuCause;
pub use collector::Gpu;
pub use diagnosis::{GpuDiagnosis, GpuFound, diagnose};
pub use processes::{NoProcesses, Processes};
pub use selection::{Choice, NoSelection, Selection};
pub use standby::Standby;
pub use sum::SumRule;
