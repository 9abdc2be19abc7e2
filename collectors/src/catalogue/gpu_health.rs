//! GPUs: energy, temperatures, throttling, memory errors, XIDs, losses.

use metrics::Unit;

use super::gpu::{GPU, NVML};
use super::{COUNTER, GAUGE, Metric};

const NVML_FIELDS: &str = "NVML's fields";
const NVML_EVENTS: &str = "NVML's events";
const NO_FIELD: &str = "the driver does not answer";
const NO_ROWS: &str = "cards before Ampere; MIG instances";

rows! {
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
}
