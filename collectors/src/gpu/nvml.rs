//! NVIDIA's management library: the only file that names its bindings.
//!
//! nvml-wrapper loads the library and asks it where its answer can be trusted; where it loses something (the sample
//! ring, memory of drivers before 510, kept GPM samples) the raw functions are called. Handles are kept raw beside a
//! shared [`Library`], and wrapped anew for each question.
//!
//! **Never run on a real GPU so far**: only on the double in `tests/nvml-double`.
//!
//! Sources: nvml.h 13.4; nvml-wrapper 0.13.
#![allow(unsafe_code, reason = "raw functions of a C library, and handles that outlive the wrapper's borrow")]

use std::ffi::OsStr;
use std::mem::{self, ManuallyDrop};
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device as Wrapped, Nvml};
use nvml_wrapper_sys::bindings as raw;

use super::driver::{Code, Driver, Gpm, Handle, Identity, LoadError, Memory, Snapshot};
use super::ring::RingSample;

/// The name under which every driver installs it; the wrapper's own default cannot be told from a path.
#[cfg(unix)]
const LIBRARY: &str = "libnvidia-ml.so.1";
#[cfg(windows)]
const LIBRARY: &str = "nvml.dll";

/// What nvmlReturn_t has for a function that this library lacks.
const FUNCTION_NOT_FOUND: Code = Code(13);
/// Room for samples beyond the number that the driver named, should some come between the two calls.
const HEADROOM: u32 = 8;
/// The most room given, many times that of any ring known: the number is the driver's, and may be garbage.
const MOST_SAMPLES: u32 = 4096;

/// The metrics asked of GPM, in the order of [`Gpm`]'s fields.
const GPM_METRICS: [raw::nvmlGpmMetricId_t; 9] = [
    raw::nvmlGpmMetricId_t_NVML_GPM_METRIC_GRAPHICS_UTIL,
    raw::nvmlGpmMetricId_t_NVML_GPM_METRIC_SM_UTIL,
    raw::nvmlGpmMetricId_t_NVML_GPM_METRIC_SM_OCCUPANCY,
    raw::nvmlGpmMetricId_t_NVML_GPM_METRIC_ANY_TENSOR_UTIL,
    raw::nvmlGpmMetricId_t_NVML_GPM_METRIC_DRAM_BW_UTIL,
    raw::nvmlGpmMetricId_t_NVML_GPM_METRIC_PCIE_TX_PER_SEC,
    raw::nvmlGpmMetricId_t_NVML_GPM_METRIC_PCIE_RX_PER_SEC,
    raw::nvmlGpmMetricId_t_NVML_GPM_METRIC_NVLINK_TOTAL_TX_PER_SEC,
    raw::nvmlGpmMetricId_t_NVML_GPM_METRIC_NVLINK_TOTAL_RX_PER_SEC,
];

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
    let path = path.map_or(OsStr::new(LIBRARY), Path::as_os_str);
    match Nvml::builder().lib_path(path).init() {
        Ok(nvml) => Ok(Box::new(Arc::new(Library(ManuallyDrop::new(nvml))))),
        Err(NvmlError::LibloadingError(error)) => Err(LoadError::Library(words(&error))),
        Err(error) => Err(LoadError::Refused(error.into())),
    }
}

/// The error with what it stems from: the loader's own words stand there.
fn words(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
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
        let wrapped = self.0.device_by_index(index)?;
        // SAFETY: the handle is used only while `library` keeps the library initialised.
        let handle = unsafe { wrapped.handle() };
        let gpm = wrapped.gpm_support().unwrap_or(false).then(Kept::default);
        Ok(Box::new(Gpu { library: Self::clone(self), handle, samples: Vec::new(), gpm }))
    }
}

struct Gpu {
    library: Arc<Library>,
    handle: raw::nvmlDevice_t,
    /// Kept so that a steady tick allocates nothing.
    samples: Vec<raw::nvmlSample_t>,
    /// `None` where the GPU has no GPM.
    gpm: Option<Kept>,
}

/// Two GPM samples that take turns. Null until the first is wanted.
struct Kept {
    before: raw::nvmlGpmSample_t,
    now: raw::nvmlGpmSample_t,
    /// Whether `before` holds a reading.
    based: bool,
}

impl Default for Kept {
    fn default() -> Self {
        Self { before: ptr::null_mut(), now: ptr::null_mut(), based: false }
    }
}

// SAFETY: nvml.h calls the library thread safe; handles and samples belong to the process, not to a thread.
unsafe impl Send for Gpu {}

impl Drop for Gpu {
    fn drop(&mut self) {
        if let (Some(kept), Ok(free)) = (&self.gpm, &self.library.raw().nvmlGpmSampleFree) {
            for sample in [kept.before, kept.now].into_iter().filter(|sample| !sample.is_null()) {
                // SAFETY: allocated by this library, which is loaded still, and freed once.
                unsafe { free(sample) };
            }
        }
    }
}

impl Gpu {
    fn wrapped(&self) -> Wrapped<'_> {
        // SAFETY: the handle came from this library, which the borrow keeps initialised.
        unsafe { Wrapped::new(self.handle, &self.library.0) }
    }

    /// Memory as drivers before 510 tell it.
    fn memory_v1(&self) -> Result<Memory, Code> {
        let ask = found(&self.library.raw().nvmlDeviceGetMemoryInfo)?;
        // SAFETY: a struct of whole numbers, for which zero is a value.
        let mut memory: raw::nvmlMemory_t = unsafe { mem::zeroed() };
        // SAFETY: the handle is the library's, and the struct is the one that the function writes.
        checked(unsafe { ask(self.handle, &raw mut memory) })?;
        Ok(Memory { total: memory.total, used: memory.used, reserved: None })
    }
}

impl Handle for Gpu {
    fn identity(&self) -> Result<Identity, Code> {
        let wrapped = self.wrapped();
        let uuid = wrapped.uuid()?;
        // They only make the name nicer.
        let name = wrapped.name().unwrap_or_default();
        let pci = wrapped.pci_info().map(|pci| pci.bus_id).unwrap_or_default();
        Ok(Identity { uuid, name, pci })
    }

    fn memory(&self) -> Result<Memory, Code> {
        match self.wrapped().memory_info().map_err(Code::from) {
            Ok(memory) => Ok(Memory { total: memory.total, used: memory.used, reserved: Some(memory.reserved) }),
            // The function is not there, or does not know the struct's version.
            Err(Code(3 | 13 | 25)) => self.memory_v1(),
            Err(code) => Err(code),
        }
    }

    fn ring(&mut self, into: &mut Vec<RingSample>) -> Result<(), Code> {
        into.clear();
        match self.drain(into) {
            Err(Code::NOT_FOUND) => Ok(()),
            other => other,
        }
    }

    fn snapshot(&self) -> Result<Snapshot, Code> {
        let rates = self.wrapped().utilization_rates()?;
        Ok(Snapshot { gpu: rates.gpu, memory: rates.memory })
    }

    fn mig(&self) -> Result<bool, Code> {
        Ok(self.wrapped().mig_mode()?.current != 0)
    }

    fn gpm(&mut self) -> Result<Option<Gpm>, Code> {
        let Some(kept) = &mut self.gpm else { return Err(Code(3)) };
        let lib = self.library.0.lib();
        if kept.now.is_null() {
            let allocate = found(&lib.nvmlGpmSampleAlloc)?;
            // Whoever cannot be freed is not allocated.
            found(&lib.nvmlGpmSampleFree)?;
            for sample in [&mut kept.before, &mut kept.now].into_iter().filter(|sample| sample.is_null()) {
                // SAFETY: the place is ours, and the library writes a pointer to it.
                checked(unsafe { allocate(sample) })?;
            }
        }
        let based = mem::take(&mut kept.based);
        // SAFETY: handle and sample are this library's.
        checked(unsafe { found(&lib.nvmlGpmSampleGet)?(self.handle, kept.now) })?;
        let means = if based { means(lib, kept.before, kept.now).map(Some) } else { Ok(None) };
        mem::swap(&mut kept.before, &mut kept.now);
        kept.based = true;
        means
    }
}

impl Gpu {
    /// The whole ring: `lastSeenTimeStamp` 0. Two calls, for the size and for the samples.
    fn drain(&mut self, into: &mut Vec<RingSample>) -> Result<(), Code> {
        let ask = found(&self.library.raw().nvmlDeviceGetSamples)?;
        let kind = raw::nvmlSamplingType_enum_NVML_GPU_UTILIZATION_SAMPLES;
        let (mut form, mut count) = (0, 0);
        // SAFETY: without a place for samples only their number is written.
        checked(unsafe { ask(self.handle, kind, 0, &raw mut form, &raw mut count, ptr::null_mut()) })?;
        count = count.saturating_add(HEADROOM).min(MOST_SAMPLES);
        // SAFETY: a struct of whole numbers, for which zero is a value.
        self.samples.resize(count as usize, unsafe { mem::zeroed() });
        // SAFETY: there is a place for as many samples as `count` says.
        checked(unsafe { ask(self.handle, kind, 0, &raw mut form, &raw mut count, self.samples.as_mut_ptr()) })?;
        let samples = self.samples.iter().take(count as usize);
        into.extend(
            samples.map(|sample| RingSample { timestamp: sample.timeStamp, value: percent(form, &sample.sampleValue) }),
        );
        Ok(())
    }
}

/// A value of the ring as a whole number; `u32::MAX`, which is garbage, where it is none.
fn percent(form: raw::nvmlValueType_t, value: &raw::nvmlValue_t) -> u32 {
    // SAFETY: every field is made of plain bits, and `form` says which one was written.
    let whole = unsafe {
        match form {
            raw::nvmlValueType_enum_NVML_VALUE_TYPE_DOUBLE if value.dVal >= 0.0 => Some(value.dVal.round() as u64),
            raw::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT => Some(u64::from(value.uiVal)),
            raw::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG => u32::try_from(value.ulVal).ok().map(u64::from),
            raw::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG => Some(value.ullVal),
            raw::nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_LONG_LONG => u64::try_from(value.sllVal).ok(),
            raw::nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_INT => u64::try_from(value.siVal).ok(),
            raw::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_SHORT => Some(u64::from(value.usVal)),
            _ => None,
        }
    };
    whole.and_then(|whole| u32::try_from(whole).ok()).unwrap_or(u32::MAX)
}

/// The means between two samples of one GPU.
fn means(lib: &raw::NvmlLib, before: raw::nvmlGpmSample_t, now: raw::nvmlGpmSample_t) -> Result<Gpm, Code> {
    let ask = found(&lib.nvmlGpmMetricsGet)?;
    // SAFETY: numbers and pointers, for which zero is a value.
    let mut question: raw::nvmlGpmMetricsGet_t = unsafe { mem::zeroed() };
    question.version = raw::NVML_GPM_METRICS_GET_VERSION;
    question.numMetrics = GPM_METRICS.len() as u32;
    (question.sample1, question.sample2) = (before, now);
    for (metric, id) in question.metrics.iter_mut().zip(GPM_METRICS) {
        metric.metricId = id;
    }
    // SAFETY: both samples are the library's; of the metrics only the first `numMetrics` are read and written.
    checked(unsafe { ask(&raw mut question) })?;
    let value = |index: usize| match question.metrics[index] {
        raw::nvmlGpmMetric_t { nvmlReturn: 0, value, .. } => value,
        _ => f64::NAN,
    };
    let [graphics, sm, occupancy, tensor, dram] = [0, 1, 2, 3, 4].map(value);
    let [pcie_sent, pcie_received, nvlink_sent, nvlink_received] = [5, 6, 7, 8].map(value);
    Ok(Gpm { graphics, sm, occupancy, tensor, dram, pcie_sent, pcie_received, nvlink_sent, nvlink_received })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_form_are_read_as_what_they_are() {
        let value = |write: fn(&mut raw::nvmlValue_t)| {
            // SAFETY: a union of numbers, for which zero is a value.
            let mut value: raw::nvmlValue_t = unsafe { mem::zeroed() };
            write(&mut value);
            value
        };
        for (form, written, read) in [
            (0, value(|value| value.dVal = 36.6), 37),
            (0, value(|value| value.dVal = -1.0), u32::MAX),
            (0, value(|value| value.dVal = f64::NAN), u32::MAX),
            (1, value(|value| value.uiVal = 37), 37),
            (2, value(|value| value.ulVal = 37), 37),
            (3, value(|value| value.ullVal = (1 << 32) + 37), u32::MAX),
            (4, value(|value| value.sllVal = 37), 37),
            (5, value(|value| value.siVal = -37), u32::MAX),
            (6, value(|value| value.usVal = 37), 37),
            (7, value(|value| value.uiVal = 37), u32::MAX),
        ] {
            assert_eq!(percent(form, &written), read, "type {form}");
        }
    }

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
