//! GPUs: what of them is busy, by NVML's GPM.

use metrics::Unit;

use super::gpu::{GPM, GPU, NO_GPM};
use super::{COUNTER, GAUGE, Metric};

rows! {
    /// Share of the time, averaged over the SMs, in which they had a warp: how much of the GPU was used, where
    /// utilization tells when it was.
    GPU_SM_UTILIZATION = Metric {
        name: "hostgauge_gpu_sm_utilization_percent",
        unit: Unit::Percent,
        range: "0..100",
        labels: GPU,
        help: "Busy share of the SMs.",
        source: GPM,
        absent: NO_GPM,
        ..GAUGE
    };
    /// The warps of the SMs over those that they could hold.
    GPU_OCCUPANCY = Metric {
        name: "hostgauge_gpu_sm_occupancy_percent",
        unit: Unit::Percent,
        range: "0..100",
        labels: GPU,
        help: "Warps over the most possible.",
        source: GPM,
        absent: NO_GPM,
        ..GAUGE
    };
    /// The work of the tensor cores over the most they could do.
    GPU_TENSOR_UTILIZATION = Metric {
        name: "hostgauge_gpu_tensor_utilization_percent",
        unit: Unit::Percent,
        range: "0..100",
        labels: GPU,
        help: "Busy share of the tensor cores.",
        source: GPM,
        absent: NO_GPM,
        ..GAUGE
    };
    /// The bandwidth of the GPU's memory over its peak.
    GPU_DRAM_UTILIZATION = Metric {
        name: "hostgauge_gpu_dram_utilization_percent",
        unit: Unit::Percent,
        range: "0..100",
        labels: GPU,
        help: "Memory bandwidth over its peak.",
        source: GPM,
        absent: NO_GPM,
        ..GAUGE
    };
    /// Bytes from the GPU over PCIe, from the mean rate of each tick.
    GPU_PCIE_SENT = Metric {
        name: "hostgauge_gpu_pcie_sent_bytes_total",
        unit: Unit::Bytes,
        labels: GPU,
        help: "Sent over PCIe.",
        source: GPM,
        absent: NO_GPM,
        ..COUNTER
    };
    /// Bytes to the GPU over PCIe, from the mean rate of each tick.
    GPU_PCIE_RECEIVED = Metric {
        name: "hostgauge_gpu_pcie_received_bytes_total",
        unit: Unit::Bytes,
        labels: GPU,
        help: "Received over PCIe.",
        source: GPM,
        absent: NO_GPM,
        ..COUNTER
    };
    /// Bytes from the GPU over NVLink, from the mean rate of each tick.
    GPU_NVLINK_SENT = Metric {
        name: "hostgauge_gpu_nvlink_sent_bytes_total",
        unit: Unit::Bytes,
        labels: GPU,
        help: "Sent over NVLink.",
        source: GPM,
        absent: NO_GPM,
        ..COUNTER
    };
    /// Bytes to the GPU over NVLink, from the mean rate of each tick.
    GPU_NVLINK_RECEIVED = Metric {
        name: "hostgauge_gpu_nvlink_received_bytes_total",
        unit: Unit::Bytes,
        labels: GPU,
        help: "Received over NVLink.",
        source: GPM,
        absent: NO_GPM,
        ..COUNTER
    };
}
