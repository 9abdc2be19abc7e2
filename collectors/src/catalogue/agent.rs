//! The agent: windows, collectors, what became of the data, its own cost.

use metrics::Unit;

use super::{COUNTER, GAUGE, Metric};

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

rows! {
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
        help: "1 if whole.",
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
        help: "Time to read.",
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
        help: "Ticks by trouble.",
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
        help: "Own peak.",
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
