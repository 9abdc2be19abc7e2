//! Means from the GPU's own counters, as differences of two samples that are kept.

use std::mem;
use std::ptr;

use nvml_wrapper_sys::bindings as raw;

use super::super::driver::{Code, Gpm};
use super::{checked, found};

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

/// Two GPM samples that take turns. Null until the first is wanted.
pub(super) struct Kept {
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

impl Kept {
    /// The means since the call before; `None` at the first call, and after one that failed. They are of the GPU, or of
    /// that of its GPU instances with the number `gi`: always the same for the same samples.
    pub(super) fn means(
        &mut self,
        lib: &raw::NvmlLib,
        device: raw::nvmlDevice_t,
        gi: Option<u32>,
    ) -> Result<Option<Gpm>, Code> {
        if self.now.is_null() {
            let allocate = found(&lib.nvmlGpmSampleAlloc)?;
            // Whoever cannot be freed is not allocated.
            found(&lib.nvmlGpmSampleFree)?;
            for sample in [&mut self.before, &mut self.now].into_iter().filter(|sample| sample.is_null()) {
                // SAFETY: the place is ours, and the library writes a pointer to it.
                checked(unsafe { allocate(sample) })?;
            }
        }
        let based = mem::take(&mut self.based);
        checked(match gi {
            // SAFETY: handle and sample are this library's.
            None => unsafe { found(&lib.nvmlGpmSampleGet)?(device, self.now) },
            // SAFETY: as above; a number that no instance has is refused.
            Some(gi) => unsafe { found(&lib.nvmlGpmMigSampleGet)?(device, gi, self.now) },
        })?;
        let means = if based { means(lib, self.before, self.now).map(Some) } else { Ok(None) };
        mem::swap(&mut self.before, &mut self.now);
        self.based = true;
        means
    }

    /// Gives the samples back to the library that they are from.
    pub(super) fn free(&self, lib: &raw::NvmlLib) {
        let Ok(free) = &lib.nvmlGpmSampleFree else { return };
        for sample in [self.before, self.now].into_iter().filter(|sample| !sample.is_null()) {
            // SAFETY: allocated by this library, which is loaded still, and freed once.
            unsafe { free(sample) };
        }
    }
}

/// The means between two samples of one GPU or instance.
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
