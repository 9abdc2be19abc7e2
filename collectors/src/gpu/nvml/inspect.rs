//! What a library is, before any GPU is asked: its file, its version, and what it lacks.

use std::ffi::{CStr, c_char, c_uint};
use std::path::{Path, PathBuf};

use nvml_wrapper_sys::bindings as raw;

use super::{checked, name_of, words};

/// Longer than every version there is: NVML_SYSTEM_NVML_VERSION_BUFFER_SIZE is 80.
const LENGTH: usize = 96;

type Version = unsafe extern "C" fn(*mut c_char, c_uint) -> raw::nvmlReturn_t;

/// A library that is loaded, initialised or not.
pub(in super::super) struct Inspected {
    library: raw::NvmlLib,
    /// The file that the loader found; `None` where that cannot be known.
    pub file: Option<PathBuf>,
}

impl std::fmt::Debug for Inspected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspected").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Loads a library without initialising it.
///
/// # Errors
///
/// The loader's words.
pub(in super::super) fn inspect(path: Option<&Path>) -> Result<Inspected, String> {
    let name = name_of(path);
    // SAFETY: what a library does when it is loaded is its maker's business, as for every load of NVML; its functions
    // are called by the prototypes of nvml.h only.
    let library = unsafe { raw::NvmlLib::new(name) }.map_err(|error| words(&error))?;
    let file = path.map(Path::to_owned).filter(|path| path.is_absolute()).or_else(mapped);
    Ok(Inspected { library, file })
}

impl Inspected {
    /// The library's own version, which is the driver's that it belongs to. Real ones tell it without being
    /// initialised, and name the file by it, too.
    pub(in super::super) fn version(&self) -> Option<String> {
        let told = text(self.library.nvmlSystemGetNVMLVersion.as_ref().ok());
        // CUDA's major version stands before it: 12.535.129.03.
        let told = told.and_then(|told| Some(told.split_once('.')?.1.to_owned()));
        told.or_else(|| {
            let file = self.file.as_ref()?.canonicalize().ok()?;
            let (_, version) = file.file_name()?.to_str()?.split_once(".so.")?;
            version.contains('.').then(|| version.to_owned())
        })
    }

    /// The driver's version, once the library is initialised.
    pub(in super::super) fn driver_version(&self) -> Option<String> {
        text(self.library.nvmlSystemGetDriverVersion.as_ref().ok())
    }

    /// The functions that hostgauge uses and this library lacks, with what that costs.
    pub(in super::super) fn lacks(&self) -> Vec<(&'static str, &'static str)> {
        let library = &self.library;
        macro_rules! rows {
            ($($function:ident: $costs:literal,)*) => { [$((stringify!($function), library.$function.is_ok(), $costs)),*] };
        }
        let rows = rows! {
            nvmlDeviceGetSamples: "utilization is from GPM or from snapshots",
            nvmlDeviceGetUtilizationRates: "an idle GPU cannot be told from one whose ring is broken",
            nvmlDeviceGetMemoryInfo_v2: "used memory includes what the driver reserves",
            nvmlDeviceGetMigMode: "MIG is not seen",
            nvmlDeviceGetMigDeviceHandleByIndex: "MIG instances are not seen",
            nvmlGpmSampleGet: "no SM, tensor, DRAM, PCIe and NVLink activity",
            nvmlGpmMetricsGet: "no SM, tensor, DRAM, PCIe and NVLink activity",
            nvmlGpmMigSampleGet: "no utilization of MIG instances",
            nvmlDeviceGetFieldValues: "no energy, throttling, memory errors and recovery action",
            nvmlDeviceGetPowerUsage: "no power",
            nvmlDeviceRegisterEvents: "no XIDs",
            nvmlEventSetWait_v2: "no XIDs",
        };
        rows.into_iter().filter(|(_, there, _)| !there).map(|(name, _, costs)| (name, costs)).collect()
    }
}

/// A version by one of the functions that tell one.
fn text(function: Option<&Version>) -> Option<String> {
    let mut text = [0u8; LENGTH];
    // SAFETY: the function writes a C string of at most that many bytes, its end included.
    checked(unsafe { function?(text.as_mut_ptr().cast(), LENGTH as c_uint) }).ok()?;
    let text = CStr::from_bytes_until_nul(&text).ok()?.to_str().ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// The file of the library that is mapped into this process, by its name.
fn mapped() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let file = maps.lines().filter_map(|line| line.find('/').and_then(|at| line.get(at..))).find(|file| {
        let name = file.rsplit('/').next().unwrap_or_default();
        name.starts_with("libnvidia-ml.so") || name.starts_with("libnvidia-ml-")
    });
    file.map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_library_is_told_in_the_loaders_words() {
        let error = inspect(Some(Path::new("/no/such/library.so"))).expect_err("there is none");
        assert!(error.contains("/no/such/library.so"), "{error}");
    }

    #[test]
    fn a_library_of_something_else_lacks_everything() {
        let inspected = inspect(Some(Path::new("libc.so.6"))).expect("the C library");
        assert_eq!((inspected.version(), inspected.driver_version()), (None, None));
        assert!(inspected.lacks().iter().any(|(name, _)| *name == "nvmlDeviceGetSamples"));
    }
}
