//! CPU, memory, pressure, I/O and disk: of the machine or of a scope.

use metrics::Unit;

use super::{COUNTER, GAUGE, Metric};

const PROC_STAT: &str = "/proc/stat";
const MEMINFO: &str = "/proc/meminfo";
const STATFS: &str = "statfs(2)";
const CGROUP_CPU: &str = "cpu.stat, or v1's cpuacct.usage";
const NO_SCOPE: &str = "scope host";
const NO_THROTTLING: &str = "scope host; cgroup without the controller cpu";

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
        help: "Busy share of all cores.",
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
        help: "Used share.",
        source: MEMINFO,
        absent: "/proc/meminfo unreadable, or without MemAvailable (Linux before 3.14)",
        ..GAUGE
    };
    /// `MemTotal - MemAvailable` of the host; of another scope its working set, `usage - inactive_file`; of processes
    /// their resident memory.
    MEMORY_USED = Metric {
        name: "hostgauge_memory_used_bytes",
        unit: Unit::Bytes,
        help: "Used.",
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
}
