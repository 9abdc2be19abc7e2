//! A double of NVIDIA's management library for tests. It is built twice: as `libnvidia_ml_double.so`, with NVML's C
//! interface, which an agent loads in place of `libnvidia-ml.so.1`; and as a Rust library that helps tests write what
//! it plays. It was never compared with a real driver; README.md says what it goes by.
//!
//! ```
//! use nvidia_ml_double::{Gpu, Load, Scenario, State};
//!
//! let mut gpu = Gpu::new("GPU-11111111-2222-3333-4444-000000000000", "00000000:18:00.0");
//! gpu.load = Load::Percent(37.0);
//! let mut scenario = Scenario { gpus: vec![gpu], ..Scenario::default() };
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("scenario.toml");
//! scenario.write(&path)?;
//! // … start an agent with HOSTGAUGE_NVML_SCENARIO=path and nvidia_ml_double::library() …
//! scenario.gpus[0].state = State::Lost;
//! scenario.write(&path)?; // from its next call on the agent has lost the GPU
//! # std::io::Result::Ok(())
//! ```

mod abi;
mod calls;
mod driver;
mod events;
mod exports;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod gpm;
mod pointer;
mod ring;
mod scenario;
mod source;
mod symbols;
mod timeline;

use std::env;
use std::io;
use std::path::{Path, PathBuf};

pub use calls::read as calls;
pub use scenario::{
    Clocks, Driver, DutyCycle, Ecc, Event, Fault, Gpm, Gpu, Instance, Load, Memory, Mig, NvLink, Pcie, Power, Process,
    ProcessKind, RemappedRows, Ring, Scenario, State, Support, Throttle,
};
pub use symbols::without_symbol;

/// The environment variable that names the scenario file. Without it, the demonstration is played.
pub const SCENARIO: &str = "HOSTGAUGE_NVML_SCENARIO";

/// The environment variable that names the file of counts, which [`calls`] reads. Without it, nothing is counted.
pub const CALLS: &str = "HOSTGAUGE_NVML_CALLS";

/// Every function that the library exports.
pub fn functions() -> impl Iterator<Item = &'static str> {
    exports::NAMES.iter().copied().flatten().copied()
}

/// Where cargo put the library that belongs to the running test: beside it.
///
/// # Errors
///
/// It is not there: this is not a test of a package that depends on this one.
pub fn library() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let places = program.ancestors().skip(1).take(2);
    let names = ["libnvidia_ml_double.so", "deps/libnvidia_ml_double.so"];
    let found = places.flat_map(|place| names.map(|name: &str| place.join(name))).find(|path: &PathBuf| path.is_file());
    found.ok_or_else(|| {
        let folder = program.parent().unwrap_or_else(|| Path::new("/"));
        io::Error::new(io::ErrorKind::NotFound, format!("no libnvidia_ml_double.so beside {}", folder.display()))
    })
}
