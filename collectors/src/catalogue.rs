//! The catalogue: every metric as one row of data.
//!
//! HELP lines, README's table, `hostgauge catalogue` and the documentation of a metric all come from its row. To add a
//! metric: add a row, list it in [`ALL`], emit it from a collector.
//!
//! The words on utilization follow Amazon SageMaker, "Monitor Amazon SageMaker with Amazon CloudWatch".

use metrics::Unit;

/// Whether a series can go down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A level: goes up and down.
    Gauge,
    /// A total: only grows, except when hostgauge restarts.
    Counter,
}

impl Kind {
    /// The word of the Prometheus exposition formats.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// One row of the catalogue.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name on Prometheus and in the facade.
    pub name: &'static str,
    /// The documented name on CloudWatch, where there is one.
    pub cloudwatch: Option<&'static str>,
    /// Gauge or counter.
    pub kind: Kind,
    /// The unit of the value.
    pub unit: Unit,
    /// The values it can take; N is the number of devices summed.
    pub range: &'static str,
    /// The label names that tell its series apart, beside `Host`.
    pub labels: &'static [&'static str],
    /// The HELP line: what it is.
    pub help: &'static str,
    /// What it is read from.
    pub source: &'static str,
    /// When there is no sample.
    pub absent: &'static str,
    /// The metric whose windows this row shows (min, max, mean of the last complete one).
    pub window_of: Option<&'static str>,
}

/// The unit as one word of the field.
pub fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Percent => "percent",
        Unit::Bytes => "bytes",
        Unit::Seconds => "seconds",
        _ => "count",
    }
}

/// The unchanging parts of most rows; a row names only what differs.
const GAUGE: Metric = Metric {
    name: "",
    cloudwatch: None,
    kind: Kind::Gauge,
    unit: Unit::Count,
    range: "0..",
    labels: &[],
    help: "",
    source: "",
    absent: "never",
    window_of: None,
};
const COUNTER: Metric = Metric { kind: Kind::Counter, ..GAUGE };
const WINDOW: Metric = Metric {
    unit: Unit::Percent,
    labels: &["window", "stat"],
    help: "Last complete window.",
    source: "the samples of the window",
    absent: "until a first window is complete; no sample in it",
    ..GAUGE
};

const LEDGER: &str = "the exporter's ledger";
const NO_EXPORTER: &str = "CloudWatch and EMF off";
const NO_CLOUDWATCH: &str = "CloudWatch off";

const PROC_STAT: &str = "/proc/stat";
const MEMINFO: &str = "/proc/meminfo";
const STATFS: &str = "statfs(2)";

const CGROUP_CPU: &str = "cpu.stat, or v1's cpuacct.usage";
const NO_SCOPE: &str = "scope host";
const NO_THROTTLING: &str = "scope host; cgroup without the controller cpu";

const NVML: &str = "NVML";
const NVML_FIELDS: &str = "NVML's fields";
const NVML_EVENTS: &str = "NVML's events";
const GPM: &str = "NVML's GPM";
const GPU: &[&str] = &["gpu", "uuid"];
const GPU_INSTANCE: &[&str] = &["gpu", "uuid", "mig_uuid"];
const NO_GPU: &str = "no GPU";
const NO_ANSWER: &str = "no answer from the GPU";
const NO_FIELD: &str = "the driver does not answer";
const NO_ROWS: &str = "cards before Ampere; MIG instances";
const PROCESS: &[&str] = &["gpu", "uuid", "pid", "command"];
const CONTAINER: &[&str] = &["gpu", "uuid", "container"];
const NO_PROCESS_MEMORY: &str = "--gpu-processes off; the driver does not tell";
const NO_PROCESS_SAMPLE: &str = "--gpu-processes off; first reading; no new sample; MIG mode";
const NO_GPM: &str = "GPUs before Hopper; the first reading";
const NO_INSTANCE_MEMORY: &str = "as hostgauge_gpu_instance_memory_utilization_percent";

macro_rules! rows {
    ($($(#[$doc:meta])* $id:ident = $row:expr;)*) => {
        $($(#[$doc])* pub static $id: Metric = $row;)*
        /// Every row, in the order of the page.
        pub static ALL: &[&Metric] = &[$(&$id),*];
    };
}

rows! {
    /// Sum over the cores of the share of time they were busy. Busy is user, nice, system, irq and softirq time (guest
    /// time is inside user); idle and iowait are not busy; steal is time that the hypervisor gave to others, so it is
    /// part of the interval but not busy. Of a scope other than the host: the CPU time of its cgroup over the time that
    /// passed, by the kernel's own counter.
    CPU_UTILIZATION = Metric {
        name: "hostgauge_cpu_utilization_percent",
        cloudwatch: Some("CPUUtilization"),
        unit: Unit::Percent,
        range: "0..100*N",
        help: "Busy share, all cores.",
        source: PROC_STAT,
        absent: "first reading; any core without a sample",
        ..GAUGE
    };
    /// The busy share of one core, by the kernel's CPU number: the machine's, whatever the scope.
    CPU_CORE_UTILIZATION = Metric {
        name: "hostgauge_cpu_core_utilization_percent",
        unit: Unit::Percent,
        range: "0..100",
        labels: &["core"],
        help: "Busy share of a core.",
        source: PROC_STAT,
        absent: "first reading of the core; core offline; a counter ran backwards",
        ..GAUGE
    };
    /// The busy time behind the percent: `100 * rate(...)` is `CPU_UTILIZATION` at any scrape interval. It starts at
    /// the kernel's own total and only grows, also when a core leaves, its counters are reset, or a container restarts.
    CPU_SECONDS = Metric {
        name: "hostgauge_cpu_seconds_total",
        unit: Unit::Seconds,
        help: "Busy time of all cores.",
        source: PROC_STAT,
        absent: "/proc/stat unreadable",
        ..COUNTER
    };
    /// Time that is not busy and yet says that work waited. `iowait`: idle, with a task of the core waiting for a disk;
    /// the kernel calls it unreliable (proc_stat(5)): it may stand still or be charged to another core. `steal`: the
    /// hypervisor ran something else while this host had work.
    CPU_WAIT_SECONDS = Metric {
        name: "hostgauge_cpu_wait_seconds_total",
        unit: Unit::Seconds,
        labels: &["mode"],
        help: "Waiting time, not busy.",
        source: PROC_STAT,
        absent: "/proc/stat unreadable",
        ..COUNTER
    };
    /// N: the cores of the machine online at this reading; what a scope may use of them is `CPU_LIMIT`. Not called
    /// `_count`, which Prometheus keeps for histograms.
    CPU_CORES = Metric {
        name: "hostgauge_cpu_cores",
        range: "1..",
        help: "Cores online.",
        source: PROC_STAT,
        absent: "/proc/stat unreadable",
        ..GAUGE
    };
    /// N of the scope: the least of the quotas (quota over period) of its cgroup and of all visible ancestors, the
    /// cores of its cpuset, and the cores online. Half a core is 0.5. Of several scopes the sum, no more than the cores
    /// online. Limits are read anew every 10 seconds.
    CPU_LIMIT = Metric {
        name: "hostgauge_cpu_limit_cores",
        range: "0..N",
        help: "Cores the scope may use.",
        source: "cpu.max, cpuset.cpus.effective, or v1's; cores online",
        absent: NO_SCOPE,
        ..GAUGE
    };
    /// `CPU_UTILIZATION` over `CPU_LIMIT`: 100 is all that the scope may use, whatever its size. A quota with a burst
    /// allowance can take it above 100 for a moment.
    CPU_NORMALIZED = Metric {
        name: "hostgauge_cpu_utilization_normalized_percent",
        unit: Unit::Percent,
        range: "0..100",
        help: "Busy share of the scope's limit.",
        source: CGROUP_CPU,
        absent: "scope host; as hostgauge_cpu_utilization_percent",
        ..GAUGE
    };
    /// The busy share that the scope has of one core. `hostgauge_cpu_core_utilization_percent` is the whole core's,
    /// whoever uses it.
    SCOPE_CPU_CORE = Metric {
        name: "hostgauge_scope_cpu_core_utilization_percent",
        unit: Unit::Percent,
        range: "0..100",
        labels: &["core"],
        help: "The scope's share of a core.",
        source: "cpuacct.usage_percpu",
        absent: "scope host; cgroup v2, which does not count it; a first reading",
        ..GAUGE
    };
    /// The quota's periods in which the scope wanted to run.
    CPU_PERIODS = Metric {
        name: "hostgauge_cpu_periods_total",
        help: "Quota periods.",
        source: "cpu.stat",
        absent: NO_THROTTLING,
        ..COUNTER
    };
    /// Those of `CPU_PERIODS` in which the quota was used up.
    CPU_THROTTLED_PERIODS = Metric {
        name: "hostgauge_cpu_throttled_periods_total",
        help: "Quota periods cut short.",
        source: "cpu.stat",
        absent: NO_THROTTLING,
        ..COUNTER
    };
    /// The time that the quota kept the scope from running, summed over the cores it was kept from.
    CPU_THROTTLED_SECONDS = Metric {
        name: "hostgauge_cpu_throttled_seconds_total",
        unit: Unit::Seconds,
        help: "Time held back by the quota.",
        source: "cpu.stat",
        absent: NO_THROTTLING,
        ..COUNTER
    };
    /// Readings of a scope's CPU time that the cores online could not have made; they give no sample.
    CPU_REJECTED = Metric {
        name: "hostgauge_cpu_samples_rejected_total",
        help: "Impossible CPU samples.",
        source: CGROUP_CPU,
        absent: NO_SCOPE,
        ..COUNTER
    };
    /// Memory in use over the total. Of the three usual definitions of "used" this is `MemTotal - MemAvailable`, as
    /// free(1), psutil and the CloudWatch agent have it: what applications cannot get back without swapping. Not taken:
    /// `MemTotal - MemFree`, which counts all page cache as used, and the cgroup's `usage - inactive_file`, which
    /// counts the active half of it. Of a scope other than the host that last one it is, the working set of the kubelet
    /// and of docker, since a cgroup has no "available"; over the scope's limit.
    MEMORY_UTILIZATION = Metric {
        name: "hostgauge_memory_utilization_percent",
        cloudwatch: Some("MemoryUtilization"),
        unit: Unit::Percent,
        range: "0..100",
        help: "Used share of the limit.",
        source: MEMINFO,
        absent: "/proc/meminfo unreadable, or without MemAvailable (Linux before 3.14)",
        ..GAUGE
    };
    /// `MemTotal - MemAvailable` of the host; of another scope its working set, `usage - inactive_file`; of processes
    /// their resident memory.
    MEMORY_USED = Metric {
        name: "hostgauge_memory_used_bytes",
        unit: Unit::Bytes,
        help: "In use.",
        source: MEMINFO,
        absent: "as hostgauge_memory_utilization_percent",
        ..GAUGE
    };
    /// The memory there is to use: `MemTotal` for a host; for another scope the least limit of its cgroup and of all
    /// visible ancestors, no more than `MemTotal`. Of several scopes the sum of theirs, no more than `MemTotal`.
    MEMORY_LIMIT = Metric {
        name: "hostgauge_memory_limit_bytes",
        unit: Unit::Bytes,
        help: "Limit.",
        source: MEMINFO,
        absent: "as hostgauge_memory_utilization_percent",
        ..GAUGE
    };
    /// Memory of the scope that no file backs: what can only be swapped out, or killed.
    MEMORY_ANONYMOUS = Metric {
        name: "hostgauge_memory_anonymous_bytes",
        unit: Unit::Bytes,
        help: "Anonymous.",
        source: "memory.stat",
        absent: "scope host; a sum of processes",
        ..GAUGE
    };
    /// All memory charged to the scope, with the page cache that the kernel takes back when it must. Near the limit is
    /// its usual place; the working set is what counts.
    MEMORY_CHARGED = Metric {
        name: "hostgauge_memory_charged_bytes",
        unit: Unit::Bytes,
        help: "Charged, page cache included.",
        source: "memory.current, or v1's memory.usage_in_bytes",
        absent: "scope host; a sum of processes",
        ..GAUGE
    };
    /// Processes of the scope that were killed because its memory was full.
    MEMORY_OOM_KILLS = Metric {
        name: "hostgauge_memory_oom_kills_total",
        help: "Processes killed for memory.",
        source: "memory.events, or v1's memory.oom_control",
        absent: "scope host; a sum of processes; Linux before 4.13",
        ..COUNTER
    };
    /// The time that work of the scope stood still for want of a resource: `some` of its tasks, or all (`full`) of them
    /// at once. Of several scopes the sum.
    PRESSURE_SECONDS = Metric {
        name: "hostgauge_pressure_stalled_seconds_total",
        unit: Unit::Seconds,
        labels: &["resource", "extent"],
        help: "Time stalled for a resource.",
        source: "cpu.pressure, memory.pressure, io.pressure",
        absent: "scope host; cgroup v1; a kernel without psi=1",
        ..COUNTER
    };
    /// Bytes that the scope moved from (`read`) and to (`write`) block devices. v1 counts no buffered writes.
    IO_BYTES = Metric {
        name: "hostgauge_io_bytes_total",
        unit: Unit::Bytes,
        labels: &["direction"],
        help: "Block device traffic.",
        source: "io.stat, or v1's blkio.throttle.io_service_bytes",
        absent: "scope host; cgroup without the controller io",
        ..COUNTER
    };
    /// 1 for each cgroup that is measured. `scope` as it was asked for; `mode`: `cgroup`, `processes` where they are
    /// summed one by one, which misses those that end and counts shared memory several times, or `task` by the metadata
    /// endpoint of an ECS task; `version`: `v1`, `v2`, `hybrid`, or `unknown` for a task; `path`: the cgroup's, as the
    /// kernel says it, or the name of a task's container.
    SCOPE_INFO = Metric {
        name: "hostgauge_scope_info",
        range: "1",
        labels: &["scope", "mode", "version", "path"],
        help: "What is measured.",
        source: "/proc/PID/cgroup and mountinfo; ECS's task metadata endpoint",
        absent: NO_SCOPE,
        ..GAUGE
    };
    /// Used space over the space that ordinary users can have, as df(1) and psutil count it: `used / (used +
    /// available)`, summed over the chosen file systems with each device once.
    DISK_UTILIZATION = Metric {
        name: "hostgauge_disk_utilization_percent",
        cloudwatch: Some("DiskUtilization"),
        unit: Unit::Percent,
        range: "0..100",
        help: "Used share, as df.",
        source: STATFS,
        absent: "any chosen file system without an answer",
        ..GAUGE
    };
    /// Space in use on the file system of a path.
    FILESYSTEM_USED = Metric {
        name: "hostgauge_filesystem_used_bytes",
        unit: Unit::Bytes,
        labels: &["path"],
        help: "Used.",
        source: STATFS,
        absent: "path missing; no answer within the deadline",
        ..GAUGE
    };
    /// Space that ordinary users can still have: less than size - used where root has a reserve.
    FILESYSTEM_AVAILABLE = Metric {
        name: "hostgauge_filesystem_available_bytes",
        unit: Unit::Bytes,
        labels: &["path"],
        help: "Available.",
        source: STATFS,
        absent: "as hostgauge_filesystem_used_bytes",
        ..GAUGE
    };
    /// The size of the file system of a path.
    FILESYSTEM_SIZE = Metric {
        name: "hostgauge_filesystem_size_bytes",
        unit: Unit::Bytes,
        labels: &["path"],
        help: "Size.",
        source: STATFS,
        absent: "as hostgauge_filesystem_used_bytes",
        ..GAUGE
    };
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
        help: "Busy share, all GPUs.",
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
    /// Energy, by the counter of the card: it misses nothing between readings, so that `rate(...)` is the mean power of
    /// any time. It begins at the driver's figure, that of the time since the driver was loaded, and only grows, also
    /// when the driver is loaded again; what was used while it was not is missing. From Volta on.
    GPU_ENERGY = Metric {
        name: "hostgauge_gpu_energy_joules_total",
        labels: GPU,
        help: "Energy of a GPU.",
        source: NVML_FIELDS,
        absent: NO_FIELD,
        ..COUNTER
    };
    /// Power as the driver has it (nvmlDeviceGetPowerUsage), card and memory: from Ampere on, but for the A100 and A30,
    /// the mean of the second before; on these and on older cards that of one moment. Sensors of A100 and H100 are
    /// reported to look a quarter of the time only (arxiv.org/abs/2312.02741): the energy's `rate(...)` is the better
    /// mean.
    GPU_POWER = Metric {
        name: "hostgauge_gpu_power_watts",
        labels: GPU,
        help: "Power, last second or moment.",
        source: NVML,
        absent: NO_FIELD,
        ..GAUGE
    };
    /// Temperature of the GPU's die.
    GPU_TEMPERATURE = Metric {
        name: "hostgauge_gpu_temperature_celsius",
        range: "0..250",
        labels: GPU,
        help: "Temperature.",
        source: NVML,
        absent: NO_FIELD,
        ..GAUGE
    };
    /// Temperature of the GPU's memory.
    GPU_MEMORY_TEMPERATURE = Metric {
        name: "hostgauge_gpu_memory_temperature_celsius",
        range: "0..250",
        labels: GPU,
        help: "Temperature of the memory.",
        source: NVML_FIELDS,
        absent: "no such sensor; the driver does not answer",
        ..GAUGE
    };
    /// Time in which clocks were held down, by reason, counted by the driver, so that nothing between readings is
    /// missed. `power`, `thermal`, `sync_boost` (a slower neighbour), `board_limit`, `low_utilization` and
    /// `reliability` are limiters; `application_clocks` and `base_clocks` are the time below those clocks by any
    /// limiter, so do not sum over reasons. It begins at the driver's figure, and only grows.
    GPU_THROTTLED_SECONDS = Metric {
        name: "hostgauge_gpu_throttled_seconds_total",
        unit: Unit::Seconds,
        labels: &["gpu", "uuid", "reason"],
        help: "Time with clocks held down.",
        source: NVML_FIELDS,
        absent: NO_FIELD,
        ..COUNTER
    };
    /// Memory errors in the card's life (aggregate counts): `corrected` ones harm nothing, `uncorrected` ones end
    /// what used the memory. Read once a second at most. It begins at the driver's figure, and only grows.
    GPU_ECC_ERRORS = Metric {
        name: "hostgauge_gpu_ecc_errors_total",
        labels: &["gpu", "uuid", "kind"],
        help: "Memory errors in the card's life.",
        source: NVML_FIELDS,
        absent: "ECC off; the driver does not answer",
        ..COUNTER
    };
    /// Rows of memory that were replaced by spare ones in the card's life, after `correctable` or `uncorrectable`
    /// errors. Read once a second at most. From Ampere on.
    GPU_REMAPPED_ROWS = Metric {
        name: "hostgauge_gpu_remapped_rows_total",
        labels: &["gpu", "uuid", "cause"],
        help: "Rows of memory replaced.",
        source: NVML_FIELDS,
        absent: NO_ROWS,
        ..COUNTER
    };
    /// 1 while a row waits for a reset of the GPU to be replaced.
    GPU_REMAPPING_PENDING = Metric {
        name: "hostgauge_gpu_row_remapping_pending",
        range: "0 or 1",
        labels: GPU,
        help: "1 if rows wait for a reset.",
        source: NVML_FIELDS,
        absent: NO_ROWS,
        ..GAUGE
    };
    /// 1 once a row could not be replaced: the card has no spare rows left.
    GPU_REMAPPING_FAILED = Metric {
        name: "hostgauge_gpu_row_remapping_failed",
        range: "0 or 1",
        labels: GPU,
        help: "1 if a row could not be replaced.",
        source: NVML_FIELDS,
        absent: NO_ROWS,
        ..GAUGE
    };
    /// 1 for what the driver wants done to the GPU: `none`, `reset`, `node_reboot`, `drain_p2p`, `drain_and_reset`,
    /// `recover_imex_domain`, `bus_reset`, `system_reboot`, or the number of an action that is newer. Read once a
    /// second at most.
    GPU_RECOVERY_ACTION = Metric {
        name: "hostgauge_gpu_recovery_action",
        range: "1",
        labels: &["gpu", "uuid", "action"],
        help: "What the driver wants done.",
        source: NVML_FIELDS,
        absent: NO_FIELD,
        ..GAUGE
    };
    /// XID errors by number, since hostgauge began to ask the GPU; twice the same are two. `class` is where to look
    /// first: `application` (the job's own code), `driver`, `hardware`, or `unknown`. Numbers after the 64th of a GPU
    /// share `other`. The series of an XID appears with the first one: alert on its presence, beside `increase(...)`,
    /// which misses the first. It stays while the GPU is lost and when the driver is loaded again. NVML does not tell
    /// XIDs 79, 119 and 120: see `GPU_LOSSES`.
    GPU_XID_ERRORS = Metric {
        name: "hostgauge_gpu_xid_errors_total",
        labels: &["gpu", "uuid", "xid", "class"],
        help: "XID errors.",
        source: NVML_EVENTS,
        absent: "no such XID so far",
        ..COUNTER
    };
    /// When the latest XID of a number was read, in seconds since 1970: within a tick of when it came, for the driver
    /// does not say.
    GPU_XID_LAST = Metric {
        name: "hostgauge_gpu_xid_last_timestamp_seconds",
        unit: Unit::Seconds,
        labels: &["gpu", "uuid", "xid"],
        help: "Time of the latest XID.",
        source: NVML_EVENTS,
        absent: "no such XID so far",
        ..GAUGE
    };
    /// How often the driver said that the GPU is lost (fallen off the bus): once, until it answers again. Inferred from
    /// what calls answer, since NVML does not tell XID 79. It is there while the GPU is lost, too.
    GPU_LOSSES = Metric {
        name: "hostgauge_gpu_losses_total",
        labels: GPU,
        help: "Times the GPU was lost.",
        source: NVML,
        absent: "neither answered nor lost so far",
        ..COUNTER
    };
    /// 1 in standby, when NVIDIA's driver is let go so that GPUs can be reset, taken out or repartitioned: then all
    /// other GPU series are absent on purpose. SIGUSR1 begins it, SIGUSR2 ends it.
    GPU_STANDBY = Metric {
        name: "hostgauge_gpu_standby",
        range: "0 or 1",
        help: "1 while the driver is let go.",
        source: "the collector",
        absent: "no driver was ever loaded",
        ..GAUGE
    };
    /// 1 in MIG mode: the GPU is cut up into instances, and has no utilization of its own before Hopper.
    GPU_MIG = Metric {
        name: "hostgauge_gpu_mig_enabled",
        range: "0 or 1",
        labels: GPU,
        help: "1 in MIG mode.",
        source: NVML,
        absent: "GPUs without MIG",
        ..GAUGE
    };
    /// 1 for why an answering GPU has no utilization. `mig`: it is in MIG mode, in which the driver counts none, and
    /// has no GPM of its own to take its place. `not_supported`, `no_permission`: what the driver says to every question
    /// for it.
    GPU_UTILIZATION_ABSENT = Metric {
        name: "hostgauge_gpu_utilization_absent",
        range: "1",
        labels: &["gpu", "uuid", "reason"],
        help: "Why a GPU that answers has no utilization.",
        source: NVML,
        absent: "there is one; no answer from the GPU",
        ..GAUGE
    };
    /// The ticks at which the MIG instances were others than at the tick before. Series of those that are gone end
    /// there. What changed while the GPU did not answer is not counted.
    GPU_MIG_CHANGES = Metric {
        name: "hostgauge_gpu_mig_changes_total",
        labels: GPU,
        help: "Times that the MIG instances changed.",
        source: NVML,
        absent: "GPUs without MIG; no answer from the GPU",
        ..COUNTER
    };
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
    /// Minimum, maximum and mean of `CPU_UTILIZATION` in the last complete window.
    CPU_WINDOW = Metric {
        name: "hostgauge_cpu_utilization_window_percent",
        range: "0..100*N",
        window_of: Some("hostgauge_cpu_utilization_percent"),
        ..WINDOW
    };
    /// Minimum, maximum and mean of `MEMORY_UTILIZATION` in the last complete window.
    MEMORY_WINDOW = Metric {
        name: "hostgauge_memory_utilization_window_percent",
        range: "0..100",
        window_of: Some("hostgauge_memory_utilization_percent"),
        ..WINDOW
    };
    /// Minimum, maximum and mean of `DISK_UTILIZATION` in the last complete window.
    DISK_WINDOW = Metric {
        name: "hostgauge_disk_utilization_window_percent",
        range: "0..100",
        window_of: Some("hostgauge_disk_utilization_percent"),
        ..WINDOW
    };
    /// Minimum, maximum and mean of `GPU_UTILIZATION` in the last complete window.
    GPU_WINDOW = Metric {
        name: "hostgauge_gpu_utilization_window_percent",
        range: "0..100*N",
        window_of: Some("hostgauge_gpu_utilization_percent"),
        ..WINDOW
    };
    /// Minimum, maximum and mean of `GPU_MEMORY_UTILIZATION` in the last complete window.
    GPU_MEMORY_WINDOW = Metric {
        name: "hostgauge_gpu_memory_utilization_window_percent",
        range: "0..100*N",
        window_of: Some("hostgauge_gpu_memory_utilization_percent"),
        ..WINDOW
    };
    /// 1 when the collector's last reading was whole, 0 when something could not be read.
    COLLECTOR_SUCCESS = Metric {
        name: "hostgauge_collector_success",
        range: "0 or 1",
        labels: &["collector"],
        help: "1 if read in full.",
        source: "the sampler",
        ..GAUGE
    };
    /// 1 for the reason why `COLLECTOR_SUCCESS` is 0.
    COLLECTOR_FAILURE = Metric {
        name: "hostgauge_collector_failure",
        range: "1",
        labels: &["collector", "reason"],
        help: "Why it was not read in full.",
        source: "the sampler",
        absent: "the last reading was whole",
        ..GAUGE
    };
    /// How long the collector's last reading took, on the wall.
    COLLECTOR_DURATION = Metric {
        name: "hostgauge_collector_duration_seconds",
        unit: Unit::Seconds,
        labels: &["collector"],
        help: "Last reading's time.",
        source: "the sampler",
        absent: "the reading has not come back",
        ..GAUGE
    };
    /// For how long the present reading has not come back, by the tick; 0 while readings take less than an interval.
    /// Of collectors that can hang, and therefore have a thread of their own.
    COLLECTOR_STUCK = Metric {
        name: "hostgauge_collector_stuck_seconds",
        unit: Unit::Seconds,
        labels: &["collector"],
        help: "Age of a reading that hangs.",
        source: "the sampler",
        absent: "collectors that cannot hang",
        ..GAUGE
    };
    /// The data (one series' figures of one period each) that an exporter of windows took. At any moment it is the sum
    /// of `DELIVERY_PUBLISHED`, `DELIVERY_PENDING` and `DELIVERY_DROPPED`. With a spool on disk the ledger goes on
    /// where the agent before left off.
    DELIVERY_TAKEN = Metric {
        name: "hostgauge_delivery_taken_total",
        labels: &["exporter"],
        help: "Data taken.",
        source: LEDGER,
        absent: NO_EXPORTER,
        ..COUNTER
    };
    /// The data that the service accepted, or that were written.
    DELIVERY_PUBLISHED = Metric {
        name: "hostgauge_delivery_published_total",
        labels: &["exporter"],
        help: "Data accepted.",
        source: LEDGER,
        absent: NO_EXPORTER,
        ..COUNTER
    };
    /// The data that wait.
    DELIVERY_PENDING = Metric {
        name: "hostgauge_delivery_pending",
        labels: &["exporter"],
        help: "Data that wait.",
        source: LEDGER,
        absent: NO_EXPORTER,
        ..GAUGE
    };
    /// The data given up. `invalid_name`, `invalid_dimension`, `invalid_value`: they break a documented limit; `refused`: the service refused them; `too_old`: two
    /// weeks; `full`: the spool was, and these were the oldest; `damaged`: the spool's file was; `overrun`: windows
    /// closed faster than they could be stored; `unwritable`: the output was.
    DELIVERY_DROPPED = Metric {
        name: "hostgauge_delivery_dropped_total",
        labels: &["exporter", "reason"],
        help: "Data given up.",
        source: LEDGER,
        absent: "none for that reason",
        ..COUNTER
    };
    /// The data whose request had no answer that tells whether they were accepted. They are sent again, so Sum and
    /// SampleCount may hold them twice; average, minimum, maximum and percentiles stay right.
    DELIVERY_AMBIGUOUS = Metric {
        name: "hostgauge_delivery_ambiguous_total",
        labels: &["exporter"],
        help: "Data perhaps sent twice.",
        source: LEDGER,
        absent: NO_CLOUDWATCH,
        ..COUNTER
    };
    /// The requests of this run, by what came of them.
    DELIVERY_REQUESTS = Metric {
        name: "hostgauge_delivery_requests_total",
        labels: &["exporter", "outcome"],
        help: "Requests.",
        source: LEDGER,
        absent: "none with that outcome",
        ..COUNTER
    };
    /// The bytes of the requests of this run, as sent.
    DELIVERY_SENT = Metric {
        name: "hostgauge_delivery_sent_bytes_total",
        unit: Unit::Bytes,
        labels: &["exporter"],
        help: "Bytes sent.",
        source: LEDGER,
        absent: NO_CLOUDWATCH,
        ..COUNTER
    };
    /// When the service last accepted a request, in seconds since the Unix epoch.
    DELIVERY_LAST_SUCCESS = Metric {
        name: "hostgauge_delivery_last_success_timestamp_seconds",
        unit: Unit::Seconds,
        labels: &["exporter"],
        help: "Last accepted request.",
        source: LEDGER,
        absent: "before the first",
        ..GAUGE
    };
    /// When the oldest period that still waits began, in seconds since the Unix epoch.
    DELIVERY_OLDEST_PENDING = Metric {
        name: "hostgauge_delivery_oldest_pending_timestamp_seconds",
        unit: Unit::Seconds,
        labels: &["exporter"],
        help: "Start of the oldest that waits.",
        source: LEDGER,
        absent: "nothing waits",
        ..GAUGE
    };
    /// How far this host's clock is ahead of the service's, by the Date of its last answer: whole seconds, and the way
    /// back of the answer.
    DELIVERY_CLOCK_SKEW = Metric {
        name: "hostgauge_delivery_clock_skew_seconds",
        unit: Unit::Seconds,
        range: "any",
        labels: &["exporter"],
        help: "Our clock less the service's.",
        source: "the Date of the last answer",
        absent: "before the first answer",
        ..GAUGE
    };
    /// 1 when what waits survives a crash: the spool is on disk and takes it. 0: it waits in memory.
    DELIVERY_DURABLE = Metric {
        name: "hostgauge_delivery_durable",
        range: "0 or 1",
        labels: &["exporter"],
        help: "1 if a crash loses nothing.",
        source: "the spool",
        absent: NO_CLOUDWATCH,
        ..GAUGE
    };
    /// What disturbed the sampler's time. `late`: a tick that was due while the one before still ran; its time is
    /// inside the next sample's mean. `stall`: an interval with a suspend in it, or of more than three ticks (one
    /// second at least); a mean over it would say little of the tick it stands for, so there is no sample. `clock`: a
    /// step of the wall clock of more than half an interval; the windows open at that moment are not shown as complete.
    DISTURBANCES = Metric {
        name: "hostgauge_disturbances_total",
        labels: &["kind"],
        help: "Late ticks, stalls, clock steps.",
        source: "the sampler",
        ..COUNTER
    };
    /// When the page's own certificate expires, in seconds since the Unix epoch: that of the server itself, not those of
    /// its authorities. What is wrong with a web configuration that changed is a failure of the collector `web_config`.
    PAGE_CERTIFICATE_EXPIRY = Metric {
        name: "hostgauge_page_certificate_expiry_timestamp_seconds",
        unit: Unit::Seconds,
        help: "Certificate good until.",
        source: "the certificate of --web-config",
        absent: "no TLS",
        ..GAUGE
    };
    /// hostgauge's own CPU time.
    PROCESS_CPU_SECONDS = Metric {
        name: "hostgauge_process_cpu_seconds_total",
        unit: Unit::Seconds,
        help: "Own CPU time.",
        source: "getrusage(2)",
        absent: "systems other than Linux",
        ..COUNTER
    };
    /// The most memory that hostgauge's process ever had resident.
    PROCESS_RESIDENT_MAX = Metric {
        name: "hostgauge_process_resident_memory_max_bytes",
        unit: Unit::Bytes,
        help: "Own peak memory.",
        source: "getrusage(2)",
        absent: "systems other than Linux",
        ..GAUGE
    };
    /// Always 1; the labels say what kind of job this is, who named the Host, and whether some of it is guessed.
    IDENTITY_INFO = Metric {
        name: "hostgauge_identity_info",
        range: "1",
        labels: &["kind", "source", "guessed"],
        help: "Who named Host.",
        source: "files and variables of the platform",
        absent: "`hostgauge once`",
        ..GAUGE
    };
    /// Always 1; the version is a label.
    BUILD_INFO = Metric {
        name: "hostgauge_build_info",
        range: "1",
        labels: &["version"],
        help: "Version.",
        source: "the build",
        ..GAUGE
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_say_kind_and_unit() {
        let mut names = HashSet::new();
        for row in ALL {
            assert!(names.insert(row.name), "{} stands twice", row.name);
            assert!(
                row.name.starts_with("hostgauge_") && row.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            );
            assert_eq!(row.kind == Kind::Counter, row.name.ends_with("_total"), "{}", row.name);
            for (unit, suffix) in [(Unit::Percent, "_percent"), (Unit::Bytes, "_bytes"), (Unit::Seconds, "_seconds")] {
                let name = row.name.trim_end_matches("_total");
                assert_eq!(row.unit == unit, name.ends_with(suffix), "{}", row.name);
            }
        }
    }

    #[test]
    fn every_row_is_documented_in_full() {
        for row in ALL {
            for (what, text) in [("range", row.range), ("source", row.source), ("absent", row.absent)] {
                assert!(!text.is_empty(), "{} says no {what}", row.name);
            }
            assert!(row.help.ends_with('.') && row.help.len() <= 64, "{}: {:?}", row.name, row.help);
        }
    }

    #[test]
    fn every_window_shows_a_row_that_exists() {
        for row in ALL.iter().filter(|row| row.window_of.is_some()) {
            let shown = ALL.iter().find(|other| Some(other.name) == row.window_of).expect("the row");
            assert_eq!((shown.range, shown.unit), (row.range, row.unit), "{}", row.name);
        }
        assert!(
            ALL.iter()
                .filter(|row| row.cloudwatch.is_some() && row.labels.is_empty())
                .all(|row| { ALL.iter().any(|other| other.window_of == Some(row.name)) })
        );
    }
}
