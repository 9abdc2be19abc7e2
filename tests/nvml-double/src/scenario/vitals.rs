//! How a GPU of a scenario fares beside its load: power, clocks, links, errors, events, what it supports.

use serde::{Deserialize, Serialize};

/// Power in watts.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Power {
    /// While idle.
    pub idle_w: f64,
    /// While busy.
    pub peak_w: f64,
    /// The enforced limit.
    pub limit_w: f64,
}

impl Default for Power {
    fn default() -> Self {
        Self { idle_w: 70.0, peak_w: 650.0, limit_w: 700.0 }
    }
}

/// Clocks in MHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clocks {
    /// Graphics.
    pub graphics: u32,
    /// Streaming multiprocessors.
    pub sm: u32,
    /// Memory.
    pub memory: u32,
    /// Video.
    pub video: u32,
}

impl Default for Clocks {
    fn default() -> Self {
        Self { graphics: 1980, sm: 1980, memory: 2619, video: 1545 }
    }
}

/// Time with reduced clocks, in nanoseconds since the driver was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Throttle {
    /// By power (field 74).
    pub power_ns: u64,
    /// By heat (75).
    pub thermal_ns: u64,
    /// By a slower neighbour (76).
    pub sync_boost_ns: u64,
    /// By the board's limit (77).
    pub board_limit_ns: u64,
    /// By low utilization (78).
    pub low_utilization_ns: u64,
    /// By reliability (79).
    pub reliability_ns: u64,
    /// Below application clocks, for any reason (80).
    pub application_clocks_ns: u64,
    /// Below base clocks (81).
    pub base_clocks_ns: u64,
    /// Software thermal slowdown (251; 269 from 580.82 on).
    pub software_thermal_ns: u64,
    /// Hardware thermal slowdown (252; 270).
    pub hardware_thermal_ns: u64,
    /// Power brake (253; 271).
    pub power_brake_ns: u64,
}

/// PCIe traffic while busy, in KiB/s, and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pcie {
    /// From the GPU.
    pub tx_kib_s: u32,
    /// To the GPU.
    pub rx_kib_s: u32,
    /// Packets sent again (field 94).
    pub replays: u64,
}

impl Default for Pcie {
    fn default() -> Self {
        Self { tx_kib_s: 1 << 20, rx_kib_s: 2 << 20, replays: 0 }
    }
}

/// NVLink. Link i carries (i + 1) times `kib_s` while busy, so that no two links show the same; what is received is
/// half of what is sent, and raw traffic is a tenth more than data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NvLink {
    /// 0: there is no NVLink.
    pub links: u32,
    /// Data sent on link 0 while busy, in KiB/s.
    pub kib_s: u64,
    /// What link 0 had sent when the library was loaded, in KiB.
    pub kib: u64,
}

/// ECC error counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ecc {
    /// Corrected since the driver was loaded.
    pub corrected: u64,
    /// Uncorrected since the driver was loaded.
    pub uncorrected: u64,
    /// Corrected in the card's life.
    pub corrected_aggregate: u64,
    /// Uncorrected in the card's life.
    pub uncorrected_aggregate: u64,
}

/// Rows of memory that were replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemappedRows {
    /// After correctable errors.
    pub correctable: u32,
    /// After uncorrectable errors.
    pub uncorrectable: u32,
    /// A replacement waits for a reset.
    pub pending: bool,
    /// A replacement failed once.
    pub failed: bool,
}

/// What GPM shows beside utilization: parts of the busy time, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gpm {
    /// Multiprocessors that were busy.
    pub sm: f64,
    /// Warps that were active.
    pub occupancy: f64,
    /// Tensor operations.
    pub tensor: f64,
}

impl Default for Gpm {
    fn default() -> Self {
        Self { sm: 0.8, occupancy: 0.4, tensor: 0.3 }
    }
}

/// What a card and its driver can do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Support {
    /// GPM: Hopper and later.
    pub gpm: bool,
    /// nvmlDeviceGetMemoryInfo_v2: driver 510 and later. Without it FUNCTION_NOT_FOUND.
    pub memory_v2: bool,
    /// nvmlDeviceGetUtilizationRates and the rings of utilization.
    pub utilization: bool,
    /// nvmlDeviceGetProcessUtilization, which finds nothing on Blackwell.
    pub process_utilization: bool,
    /// nvmlDeviceGetProcessesUtilizationInfo: driver 550 and later.
    pub processes_utilization_info: bool,
    /// The energy counter: Volta and later.
    pub energy: bool,
    /// Event types that can be registered, as bits.
    pub events: u64,
    /// Field ids that are refused, by the driver's own numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unsupported_fields: Vec<u32>,
}

impl Default for Support {
    fn default() -> Self {
        Self {
            gpm: true,
            memory_v2: true,
            utilization: true,
            process_utilization: true,
            processes_utilization_info: true,
            energy: true,
            // Everything of nvml.h but the storm, retirement and poison events: XID, ECC, P-state, clock, power, MIG,
            // unavailable and recovery action.
            events: 0xc19f,
            unsupported_fields: Vec::new(),
        }
    }
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its type as one bit: 8 is an XID.
    #[serde(default = "Event::xid_type", rename = "type")]
    pub kind: u64,
    /// The XID.
    #[serde(default)]
    pub xid: u64,
    /// The GPU instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gi: Option<u32>,
    /// The compute instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci: Option<u32>,
}

impl Event {
    /// An XID of the whole GPU.
    pub fn xid(xid: u64) -> Self {
        Self { kind: Self::xid_type(), xid, gi: None, ci: None }
    }

    fn xid_type() -> u64 {
        8
    }
}
