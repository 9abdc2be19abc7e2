//! NVIDIA's management library: the only folder that names its bindings.
//!
//! nvml-wrapper loads the library and asks it where its answer can be trusted; where it loses something (the sample
//! ring, memory of drivers before 510, kept GPM samples, fields, processes, most kinds of event) the raw functions are
//! called. Handles are kept raw beside a shared [`Library`], and wrapped anew for each question.
//!
//! **Never run on a real GPU so far**: only on the double in `tests/nvml-double`.
//!
//! Sources: nvml.h 13.4; nvml-wrapper 0.13.
#![allow(unsafe_code, reason = "raw functions of a C library, and handles that outlive the wrapper's borrow")]

mod device;
mod events;
mod fields;
#[cfg(all(any(test, fuzzing), target_os = "linux"))]
pub(crate) mod fuzzing;
mod gpm;
mod inspect;
mod instances;
mod processes;
mod ring;

use std::ffi::OsStr;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper_sys::bindings as raw;

use super::driver::{Code, Driver, Handle, LoadError};
use device::Gpu;

pub(super) use inspect::inspect;

/// The name under which every driver installs it; the wrapper's own default cannot be told from a path.
#[cfg(unix)]
const LIBRARY: &str = "libnvidia-ml.so.1";
#[cfg(windows)]
const LIBRARY: &str = "nvml.dll";

const NOT_SUPPORTED: Code = Code(3);
/// What nvmlReturn_t has for a function that this library lacks.
const FUNCTION_NOT_FOUND: Code = Code(13);

impl From<NvmlError> for Code {
    fn from(error: NvmlError) -> Self {
        match error {
            // The wrapper says UNKNOWN for it.
            NvmlError::FailedToLoadSymbol(_) => FUNCTION_NOT_FOUND,
            error => Self(error.into()),
        }
    }
}

/// Loads and initialises the library.
pub(super) fn load(path: Option<&Path>) -> Result<Box<dyn Driver>, LoadError> {
    let name = name_of(path);
    // Looked for before the wrapper does, and held until it holds the library itself.
    // SAFETY: what a library does when it is loaded is its maker's business, as for every load of NVML.
    let held = unsafe { libloading::Library::new(name) };
    held.map_err(|error| LoadError::Library(words(&error))).and_then(|_held| init(name))
}

/// By itself, since the wrapper's table of functions goes over the stack by value, several times: 40 kB that a machine
/// without a driver never touches.
#[inline(never)]
fn init(name: &OsStr) -> Result<Box<dyn Driver>, LoadError> {
    match Nvml::builder().lib_path(name).init() {
        Ok(nvml) => Ok(Box::new(Arc::new(Library(ManuallyDrop::new(nvml))))),
        Err(NvmlError::LibloadingError(error)) => Err(LoadError::Library(words(&error))),
        Err(error) => Err(LoadError::Refused(error.into())),
    }
}

/// What the loader is asked for.
fn name_of(path: Option<&Path>) -> &OsStr {
    path.map_or(OsStr::new(LIBRARY), Path::as_os_str)
}

/// The error with what it stems from, unless it says so itself: the loader's own words must stand there.
fn words(error: &dyn std::error::Error) -> String {
    let said = error.to_string();
    match error.source().map(ToString::to_string) {
        Some(source) if !said.contains(&source) => format!("{said}: {source}"),
        _ => said,
    }
}

/// The initialised library; it shuts down with the last handle.
struct Library(ManuallyDrop<Nvml>);

impl Drop for Library {
    fn drop(&mut self) {
        // The wrapper's own drop panics where the library has no nvmlShutdown: such a one stays loaded.
        if self.0.lib().nvmlShutdown.is_ok() {
            // SAFETY: this is the end of the only owner, so it is not used after.
            unsafe { ManuallyDrop::drop(&mut self.0) }
        }
    }
}

impl Library {
    /// A function of the library by its field in the bindings.
    fn raw(&self) -> &raw::NvmlLib {
        self.0.lib()
    }
}

fn found<T, E>(symbol: &Result<T, E>) -> Result<&T, Code> {
    symbol.as_ref().map_err(|_| FUNCTION_NOT_FOUND)
}

fn checked(code: raw::nvmlReturn_t) -> Result<(), Code> {
    if code == 0 { Ok(()) } else { Err(Code(code)) }
}

impl Driver for Arc<Library> {
    fn count(&self) -> Result<u32, Code> {
        Ok(self.0.device_count()?)
    }

    fn handle(&self, index: u32) -> Result<Box<dyn Handle>, Code> {
        Ok(Box::new(Gpu::new(self, &self.0.device_by_index(index)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_library_is_said_in_the_loaders_words() {
        let error = load(Some(Path::new("/no/such/library.so"))).err().expect("there is none");
        assert!(matches!(&error, LoadError::Library(words) if words.contains("/no/such/library.so")), "{error}");
    }

    #[test]
    fn a_library_of_something_else_is_refused() {
        // The C library has none of NVML's functions.
        let error = load(Some(Path::new("libc.so.6"))).err();
        assert_eq!(error, Some(LoadError::Refused(FUNCTION_NOT_FOUND)));
    }
}
