//! GPUs: the processes and containers on them.

use metrics::Unit;

use super::gpu::{GPU, NVML};
use super::{GAUGE, Metric};

const PROCESS: &[&str] = &["gpu", "uuid", "pid", "command"];
const CONTAINER: &[&str] = &["gpu", "uuid", "container"];
const NO_PROCESS_MEMORY: &str = "--gpu-processes off; the driver does not tell";
const NO_PROCESS_SAMPLE: &str = "--gpu-processes off; first reading; no new sample; MIG mode";

rows! {
    /// Memory of one process on one GPU, from the driver's lists of compute, graphics and MPS processes; of each GPU the
    /// 64 largest. `pid` is the driver's, of the host or of our namespace (`GPU_PROCESS_PIDS`); `command` is the name
    /// of that process when it was first seen, empty where it cannot be looked up.
    GPU_PROCESS_MEMORY = Metric {
        name: "hostgauge_gpu_process_memory_bytes",
        unit: Unit::Bytes,
        labels: PROCESS,
        help: "Memory of a process on a GPU.",
        source: NVML,
        absent: NO_PROCESS_MEMORY,
        ..GAUGE
    };
    /// The share of the SMs that one process had since the question before, at most once a second, by the driver's own
    /// samples of processes. Where several share a GPU, the split between them is the driver's estimate.
    GPU_PROCESS_UTILIZATION = Metric {
        name: "hostgauge_gpu_process_utilization_percent",
        unit: Unit::Percent,
        range: "0..100",
        labels: PROCESS,
        help: "SM share of a process on a GPU, estimated.",
        source: NVML,
        absent: NO_PROCESS_SAMPLE,
        ..GAUGE
    };
    /// `GPU_PROCESS_MEMORY` summed by container. `container` is the id in /proc/PID/cgroup; without one the last
    /// component of the cgroup's path, `host` for the root; empty where the process cannot be looked up.
    GPU_CONTAINER_MEMORY = Metric {
        name: "hostgauge_gpu_container_memory_bytes",
        unit: Unit::Bytes,
        labels: CONTAINER,
        help: "Memory of a container's processes on a GPU.",
        source: "NVML and /proc/PID/cgroup",
        absent: NO_PROCESS_MEMORY,
        ..GAUGE
    };
    /// `GPU_PROCESS_UTILIZATION` summed by container; estimates may add up to a little more than 100.
    GPU_CONTAINER_UTILIZATION = Metric {
        name: "hostgauge_gpu_container_utilization_percent",
        unit: Unit::Percent,
        range: "0..100",
        labels: CONTAINER,
        help: "SM share of a container on a GPU, estimated.",
        source: "NVML and /proc/PID/cgroup",
        absent: NO_PROCESS_SAMPLE,
        ..GAUGE
    };
    /// The processes beyond the 64 largest of a GPU: in no other series, in those of no container either.
    GPU_PROCESSES_OMITTED = Metric {
        name: "hostgauge_gpu_processes_omitted",
        labels: GPU,
        help: "Processes without series.",
        source: NVML,
        absent: NO_PROCESS_MEMORY,
        ..GAUGE
    };
    /// 1 for whose process ids the driver tells. `host`: the host's; `namespace`: those of the container that hostgauge
    /// runs in; `unknown`: no process could be looked into. Drivers differ, so it is found out by looking for processes
    /// that have a GPU open.
    GPU_PROCESS_PIDS = Metric {
        name: "hostgauge_gpu_process_pids",
        range: "1",
        labels: &["kind"],
        help: "Whose process ids the driver tells.",
        source: "NVML and procfs",
        absent: "--gpu-processes off; no GPU",
        ..GAUGE
    };
}
