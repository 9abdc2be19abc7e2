//! What a GPM sample holds, and the metrics between two.

use std::ffi::CStr;

use crate::abi::{INVALID_ARGUMENT, Return};
use crate::scenario::{Gpm, Gpu, NvLink, Pcie};
use crate::timeline::Micros;

/// A sample that a client allocated; empty until it is filled.
#[derive(Debug, Default)]
pub(crate) struct GpmSample(pub Option<Reading>);

/// Counters at one time.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    uuid: String,
    at: Micros,
    busy_seconds: f64,
    gpm: Gpm,
    memory_busy: f64,
    pcie: Pcie,
    nvlink: NvLink,
}

impl Reading {
    pub(crate) fn new(uuid: &str, at: Micros, busy_seconds: f64, gpu: &Gpu) -> Self {
        let (gpm, memory_busy, pcie, nvlink) = (gpu.gpm, gpu.memory_busy, gpu.pcie, gpu.nvlink);
        Self { uuid: uuid.to_owned(), at, busy_seconds, gpm, memory_busy, pcie, nvlink }
    }

    /// The busy part of the time since an earlier reading of the same device.
    pub(crate) fn share_since(&self, before: &Self) -> Result<f64, Return> {
        if self.uuid != before.uuid || self.at <= before.at {
            return Err(INVALID_ARGUMENT);
        }
        Ok((self.busy_seconds - before.busy_seconds) * 1e6 / (self.at - before.at) as f64)
    }
}

/// One metric.
#[derive(Debug, PartialEq)]
pub(crate) struct Metric {
    pub value: f64,
    pub name: &'static CStr,
    pub unit: &'static CStr,
}

/// What a metric (nvmlGpmMetricId_t) was while a device was busy for `share` of the time. None: not modelled.
pub(crate) fn metric(id: u32, share: f64, reading: &Reading) -> Option<Metric> {
    let percent = |name, part: f64| Some(Metric { value: share * part * 100.0, name, unit: c"%" });
    let rate = |name, kib_s: f64| Some(Metric { value: share * kib_s / 1024.0, name, unit: c"MiB/s" });
    let link = |index: u32| reading.nvlink.kib_s as f64 * f64::from(index + 1);
    let links = || (0..reading.nvlink.links).map(link).sum::<f64>();
    match id {
        1 => percent(c"graphics_util", 1.0),
        2 => percent(c"sm_util", reading.gpm.sm),
        3 => percent(c"sm_occupancy", reading.gpm.occupancy),
        5 => percent(c"any_tensor_util", reading.gpm.tensor),
        10 => percent(c"dram_bw_util", reading.memory_busy),
        20 => rate(c"pcie_tx_per_sec", f64::from(reading.pcie.tx_kib_s)),
        21 => rate(c"pcie_rx_per_sec", f64::from(reading.pcie.rx_kib_s)),
        60..=97 if reading.nvlink.links == 0 => None,
        60 => rate(c"nvlink_total_rx_per_sec", links() / 2.0),
        61 => rate(c"nvlink_total_tx_per_sec", links()),
        62..=97 if (id - 62) / 2 >= reading.nvlink.links => None,
        62..=97 if id.is_multiple_of(2) => rate(c"nvlink_rx_per_sec", link((id - 62) / 2) / 2.0),
        62..=97 => rate(c"nvlink_tx_per_sec", link((id - 62) / 2)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_add_up_to_the_total() {
        let mut gpu = Gpu::new("GPU-1", "0000:01:00.0");
        gpu.nvlink = NvLink { links: 18, kib_s: 1024, kib: 0 };
        let reading = Reading::new(&gpu.uuid, 2, 1.0, &gpu);
        let value = |id| metric(id, 0.5, &reading).map(|metric| metric.value);
        for (total, first) in [(60, 62), (61, 63)] {
            let sum: f64 = (0..18).filter_map(|link| value(first + 2 * link)).sum();
            assert_eq!(value(total), Some(sum));
        }
        assert_eq!(value(63), Some(0.5));
        assert_eq!(value(4), None);
        gpu.nvlink.links = 2;
        let reading = Reading::new(&gpu.uuid, 2, 1.0, &gpu);
        assert_eq!(metric(66, 0.5, &reading), None, "the third of two links");
    }
}
