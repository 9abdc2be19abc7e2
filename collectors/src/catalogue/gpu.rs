//! GPUs: how busy, how full, how many.

use metrics::Unit;

use super::{COUNTER, GAUGE, Metric};

pub(super) const NVML: &str = "NVML";
pub(super) const GPM: &str = "NVML's GPM";
pub(super) const GPU: &[&str] = &["gpu", "uuid"];
const NO_GPU: &str = "no GPU";
const NO_ANSWER: &str = "no answer from the GPU";
pub(super) const NO_GPM: &str = "GPUs before Hopper; the first reading";

rows! {
    /// Sum over the GPUs of the share of time in which they ran at least one kernel. 100 says that a GPU was never
    /// idle, not that it was full. The sum is strict: absent while any GPU that was seen since the start has no value,
    /// because the sum of the others would look like less load (`--gpu-sum partial` gives that); `GPUS` and
    /// `GPUS_REPORTING` tell how many are missing.
    /// A GPU in MIG mode counts as one, with its own value, from GPM (Hopper and later); else it has none, and the sum
    /// is absent: the instances' values are of parts of unequal size, and are not added up in its place.
    GPU_UTILIZATION = Metric {
        name: "hostgauge_gpu_utilization_percent",
        cloudwatch: Some("GPUUtilization"),
        unit: Unit::Percent,
        range: "0..100*N",
        help: "Busy share of all GPUs.",
        source: NVML,
        absent: "no GPU; any GPU without a value",
        ..GAUGE
    };
    /// The share of the tick in which one GPU ran at least one kernel, from every sample of the driver's ring
    /// (nvmlDeviceGetSamples); `GPU_SOURCE` says where it had to come from elsewhere, `GPU_COVERAGE` of how much of the
    /// tick it is the mean. `gpu` is NVML's index, which may change; the UUID does not.
    GPU_DEVICE_UTILIZATION = Metric {
        name: "hostgauge_gpu_device_utilization_percent",
        cloudwatch: Some("GPUUtilization"),
        unit: Unit::Percent,
        range: "0..100",
        labels: GPU,
        help: "Busy share of a GPU.",
        source: NVML,
        absent: "no answer from the GPU; MIG mode before Hopper",
        ..GAUGE
    };
    /// 1 for what the utilization is from. `ring`: every sample of the driver; `gpm`: the GPU's own counters;
    /// `snapshot`: the driver's last period alone, a second at most, whatever the interval.
    GPU_SOURCE = Metric {
        name: "hostgauge_gpu_utilization_source",
        range: "1",
        labels: &["gpu", "uuid", "source"],
        help: "What the utilization is from.",
        source: NVML,
        absent: "as hostgauge_gpu_device_utilization_percent",
        ..GAUGE
    };
    /// The share of the tick that the utilization is the mean of: 1 when no sample is missing, 0 for a snapshot.
    GPU_COVERAGE = Metric {
        name: "hostgauge_gpu_utilization_coverage_ratio",
        range: "0..1",
        labels: GPU,
        help: "Share of the time that was sampled.",
        source: NVML,
        absent: "as hostgauge_gpu_device_utilization_percent",
        ..GAUGE
    };
    /// The busy time behind the percent: `100 * rate(...)` is the utilization at any scrape interval. It counts from
    /// the start of hostgauge; what happened while the GPU did not answer is in `GPU_UNSAMPLED_SECONDS`.
    GPU_BUSY_SECONDS = Metric {
        name: "hostgauge_gpu_busy_seconds_total",
        unit: Unit::Seconds,
        labels: GPU,
        help: "Busy time of a GPU.",
        source: NVML,
        absent: NO_ANSWER,
        ..COUNTER
    };
    /// The time that was not busy.
    GPU_IDLE_SECONDS = Metric {
        name: "hostgauge_gpu_idle_seconds_total",
        unit: Unit::Seconds,
        labels: GPU,
        help: "Idle time of a GPU.",
        source: NVML,
        absent: NO_ANSWER,
        ..COUNTER
    };
    /// The time of which nobody knows whether it was busy: samples overwritten before they were read, a GPU that did
    /// not answer, a source that has no samples but snapshots.
    GPU_UNSAMPLED_SECONDS = Metric {
        name: "hostgauge_gpu_unsampled_seconds_total",
        unit: Unit::Seconds,
        labels: GPU,
        help: "Time not known busy or idle.",
        source: NVML,
        absent: NO_ANSWER,
        ..COUNTER
    };
    /// The time at 0 % while a program held memory: what a stalled or forgotten job costs. Held is more than 64 MiB of
    /// `GPU_MEMORY_USED` at both ends of a tick: an unused GPU shows a few MiB, a CUDA context takes more.
    /// Samples of 0 % count, several a second; the idle part of busier ones does not, unlike in `GPU_IDLE_SECONDS`.
    GPU_HELD_IDLE_SECONDS = Metric {
        name: "hostgauge_gpu_held_idle_seconds_total",
        unit: Unit::Seconds,
        labels: GPU,
        help: "Time at 0 % with memory held.",
        source: NVML,
        absent: "as hostgauge_gpu_samples_lost_total; drivers before 510",
        ..COUNTER
    };
    /// The longest run of samples of 0 % that goes on or ended in the last 60 seconds, in full, also where it began
    /// before: how long a data loader keeps the GPU waiting. A gap in the samples ends a run.
    GPU_LONGEST_IDLE = Metric {
        name: "hostgauge_gpu_longest_idle_seconds",
        unit: Unit::Seconds,
        labels: GPU,
        help: "Longest time at 0 %, last minute.",
        source: NVML,
        absent: "as hostgauge_gpu_samples_lost_total; no samples for a minute",
        ..GAUGE
    };
    /// The samples taken from the driver's ring, each counted once.
    GPU_SAMPLES = Metric {
        name: "hostgauge_gpu_samples_total",
        labels: GPU,
        help: "Samples taken.",
        source: NVML,
        absent: "as hostgauge_gpu_samples_lost_total",
        ..COUNTER
    };
    /// The samples that the driver's ring had, or should have had, and that were not seen.
    GPU_SAMPLES_LOST = Metric {
        name: "hostgauge_gpu_samples_lost_total",
        labels: GPU,
        help: "Samples missed.",
        source: NVML,
        absent: "no ring: MIG mode, old cards",
        ..COUNTER
    };
    /// The driver's samples above 100 %, which is garbage that drivers are known to hand out.
    GPU_SAMPLES_REJECTED = Metric {
        name: "hostgauge_gpu_samples_rejected_total",
        labels: GPU,
        help: "Samples above 100 %.",
        source: NVML,
        absent: "as hostgauge_gpu_samples_lost_total",
        ..COUNTER
    };
    /// Ticks at which the ring's mean and GPM's lie further apart than holes, edges and whole percents explain. Either
    /// may be wrong: what `GPU_SOURCE` names is what is shown.
    GPU_DISAGREEMENTS = Metric {
        name: "hostgauge_gpu_source_disagreements_total",
        labels: GPU,
        help: "Ticks at which ring and GPM differ.",
        source: NVML,
        absent: "GPUs without a ring or without GPM; no answer from the GPU",
        ..COUNTER
    };
    /// Sum over the GPUs of used over total memory: capacity, not bandwidth. Strict like `GPU_UTILIZATION`. A GPU in
    /// MIG mode counts as one, with all of its memory. In a container that sees only some of its instances the driver
    /// keeps that to itself, and the sum is absent; `GPU_INSTANCE_MEMORY_UTILIZATION` stands.
    GPU_MEMORY_UTILIZATION = Metric {
        name: "hostgauge_gpu_memory_utilization_percent",
        cloudwatch: Some("GPUMemoryUtilization"),
        unit: Unit::Percent,
        range: "0..100*N",
        help: "Used memory share, all GPUs.",
        source: NVML,
        absent: "no GPU; any GPU without a value",
        ..GAUGE
    };
    /// Used over total memory of one GPU.
    GPU_DEVICE_MEMORY_UTILIZATION = Metric {
        name: "hostgauge_gpu_device_memory_utilization_percent",
        cloudwatch: Some("GPUMemoryUtilization"),
        unit: Unit::Percent,
        range: "0..100",
        labels: GPU,
        help: "Used memory share of a GPU.",
        source: NVML,
        absent: "no answer from the GPU; no memory of its own",
        ..GAUGE
    };
    /// Memory that is allocated, as nvidia-smi shows it: without what driver and firmware reserve, except with drivers
    /// before 510, which do not tell the two apart.
    GPU_MEMORY_USED = Metric {
        name: "hostgauge_gpu_device_memory_used_bytes",
        unit: Unit::Bytes,
        labels: GPU,
        help: "Memory allocated.",
        source: NVML,
        absent: "as hostgauge_gpu_device_memory_utilization_percent",
        ..GAUGE
    };
    /// Memory that driver and firmware keep for themselves.
    GPU_MEMORY_RESERVED = Metric {
        name: "hostgauge_gpu_device_memory_reserved_bytes",
        unit: Unit::Bytes,
        labels: GPU,
        help: "Memory kept by the driver.",
        source: NVML,
        absent: "drivers before 510",
        ..GAUGE
    };
    /// All memory of a GPU: used, reserved and free.
    GPU_MEMORY_TOTAL = Metric {
        name: "hostgauge_gpu_device_memory_total_bytes",
        unit: Unit::Bytes,
        labels: GPU,
        help: "Memory.",
        source: NVML,
        absent: "as hostgauge_gpu_device_memory_utilization_percent",
        ..GAUGE
    };
    /// The share of the driver's last period in which memory was read or written: nvmlUtilization_t's `memory`, which
    /// is often taken for how full it is.
    GPU_MEMORY_CONTROLLER = Metric {
        name: "hostgauge_gpu_memory_controller_utilization_percent",
        unit: Unit::Percent,
        range: "0..100",
        labels: GPU,
        help: "Time with memory traffic, last period.",
        source: NVML,
        absent: "no answer from the GPU; MIG mode",
        ..GAUGE
    };
    /// The GPUs that are measured, lost ones included: none is forgotten before hostgauge ends, but at the end of a
    /// standby those that the driver does not find any more.
    GPUS = Metric {
        name: "hostgauge_gpus",
        range: "1..",
        help: "GPUs, lost ones included.",
        source: NVML,
        absent: NO_GPU,
        ..GAUGE
    };
    /// The GPUs with a utilization. Below `GPUS`, a strict sum is absent, and a partial one is of these.
    GPUS_REPORTING = Metric {
        name: "hostgauge_gpus_reporting",
        help: "GPUs with a utilization.",
        source: NVML,
        absent: NO_GPU,
        ..GAUGE
    };
    /// 1 while a GPU answers.
    GPU_UP = Metric {
        name: "hostgauge_gpu_up",
        range: "0 or 1",
        labels: GPU,
        help: "1 if the GPU answers.",
        source: NVML,
        absent: NO_GPU,
        ..GAUGE
    };
    /// 1 for why `GPU_UP` is 0: `lost` (fell off the bus), `reset_required`, `no_permission`, `blocked` (the device
    /// cgroup), `gone` (not enumerated any more), `driver_mismatch` and so on; `stuck` if it took over five seconds to
    /// answer. While the driver does not come back from a call about a GPU, `stuck` is all that is said of it, and
    /// nothing of the others.
    GPU_FAILURE = Metric {
        name: "hostgauge_gpu_failure",
        range: "1",
        labels: &["gpu", "uuid", "reason"],
        help: "Why the GPU does not answer.",
        source: NVML,
        absent: "the GPU answers",
        ..GAUGE
    };
    /// Always 1; the product's name and the address on the bus are labels.
    GPU_INFO = Metric {
        name: "hostgauge_gpu_info",
        range: "1",
        labels: &["gpu", "uuid", "name", "pci"],
        help: "Name and address of a GPU.",
        source: NVML,
        absent: NO_GPU,
        ..GAUGE
    };
}
