//! GPUs: MIG instances.

use metrics::Unit;

use super::gpu::{GPM, NO_GPM, NVML};
use super::{GAUGE, Metric};

const GPU_INSTANCE: &[&str] = &["gpu", "uuid", "mig_uuid"];
const NO_INSTANCE_MEMORY: &str = "as hostgauge_gpu_instance_memory_utilization_percent";

rows! {
    /// Always 1 for each MIG instance that is there now. `mig_uuid` is its UUID (`instance` is Prometheus' own label);
    /// `gpu` and `uuid` are those of the GPU that it is part of; `profile` (such as `1g.10gb`) is empty where the
    /// driver's name for it has none. `gi` is the GPU instance, which
    /// has the memory and the counters, `ci` the compute instance in it. Compute instances of one GPU instance show
    /// the same memory and utilization: a sum must take each `gi` of a `uuid` once.
    ///
    /// Nothing of the MIG instances ever ran on a real GPU: only on a double of the driver.
    GPU_INSTANCE_INFO = Metric {
        name: "hostgauge_gpu_instance_info",
        range: "1",
        labels: &["gpu", "uuid", "mig_uuid", "profile", "gi", "ci"],
        help: "Profile and numbers of a MIG instance.",
        source: NVML,
        absent: "no MIG instance",
        ..GAUGE
    };
    /// Used over total memory of a MIG instance's GPU instance, which all its compute instances share.
    GPU_INSTANCE_MEMORY_UTILIZATION = Metric {
        name: "hostgauge_gpu_instance_memory_utilization_percent",
        unit: Unit::Percent,
        range: "0..100",
        labels: GPU_INSTANCE,
        help: "Used memory share of a MIG instance.",
        source: NVML,
        absent: "no MIG instance; it does not tell",
        ..GAUGE
    };
    /// Memory that is allocated in a MIG instance's GPU instance, as `GPU_MEMORY_USED`.
    GPU_INSTANCE_MEMORY_USED = Metric {
        name: "hostgauge_gpu_instance_memory_used_bytes",
        unit: Unit::Bytes,
        labels: GPU_INSTANCE,
        help: "Memory allocated in a MIG instance.",
        source: NVML,
        absent: NO_INSTANCE_MEMORY,
        ..GAUGE
    };
    /// Memory of a MIG instance's GPU instance that driver and firmware keep for themselves.
    GPU_INSTANCE_MEMORY_RESERVED = Metric {
        name: "hostgauge_gpu_instance_memory_reserved_bytes",
        unit: Unit::Bytes,
        labels: GPU_INSTANCE,
        help: "Memory of a MIG instance kept by the driver.",
        source: NVML,
        absent: "drivers before 510",
        ..GAUGE
    };
    /// All memory of a MIG instance's GPU instance.
    GPU_INSTANCE_MEMORY_TOTAL = Metric {
        name: "hostgauge_gpu_instance_memory_total_bytes",
        unit: Unit::Bytes,
        labels: GPU_INSTANCE,
        help: "Memory of a MIG instance.",
        source: NVML,
        absent: NO_INSTANCE_MEMORY,
        ..GAUGE
    };
    /// Share of the tick in which a MIG instance's GPU instance ran at least one kernel: the mean between two readings
    /// of its own counters (nvmlGpmMigSampleGet). 100 is all of the instance, not of the GPU.
    GPU_INSTANCE_UTILIZATION = Metric {
        name: "hostgauge_gpu_instance_utilization_percent",
        unit: Unit::Percent,
        range: "0..100",
        labels: GPU_INSTANCE,
        help: "Busy share of a MIG instance.",
        source: GPM,
        absent: NO_GPM,
        ..GAUGE
    };
    /// Share of the time, averaged over the SMs of a GPU instance, in which they had a warp.
    GPU_INSTANCE_SM_UTILIZATION = Metric {
        name: "hostgauge_gpu_instance_sm_utilization_percent",
        unit: Unit::Percent,
        range: "0..100",
        labels: GPU_INSTANCE,
        help: "Busy share of the SMs of a MIG instance.",
        source: GPM,
        absent: NO_GPM,
        ..GAUGE
    };
    /// The warps of a GPU instance's SMs over those that they could hold.
    GPU_INSTANCE_OCCUPANCY = Metric {
        name: "hostgauge_gpu_instance_sm_occupancy_percent",
        unit: Unit::Percent,
        range: "0..100",
        labels: GPU_INSTANCE,
        help: "Warps of a MIG instance over the most possible.",
        source: GPM,
        absent: NO_GPM,
        ..GAUGE
    };
    /// The work of a GPU instance's tensor cores over the most they could do.
    GPU_INSTANCE_TENSOR_UTILIZATION = Metric {
        name: "hostgauge_gpu_instance_tensor_utilization_percent",
        unit: Unit::Percent,
        range: "0..100",
        labels: GPU_INSTANCE,
        help: "Busy share of the tensor cores of a MIG instance.",
        source: GPM,
        absent: NO_GPM,
        ..GAUGE
    };
    /// The bandwidth of a GPU instance's memory over its peak.
    GPU_INSTANCE_DRAM_UTILIZATION = Metric {
        name: "hostgauge_gpu_instance_dram_utilization_percent",
        unit: Unit::Percent,
        range: "0..100",
        labels: GPU_INSTANCE,
        help: "Memory bandwidth of a MIG instance over its peak.",
        source: GPM,
        absent: NO_GPM,
        ..GAUGE
    };
}
