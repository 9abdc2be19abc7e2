//! A GPU of a scenario: what it is, how busy, its memory, processes and MIG instances.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::vitals::*;

/// One GPU.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Its identity: "GPU-" and 36 characters. Handles follow it when the order of the file changes.
    pub uuid: String,
    /// The product.
    #[serde(default = "Gpu::default_name")]
    pub name: String,
    /// Domain, bus, device and function, such as "00000000:18:00.0".
    pub pci: String,
    /// Device and vendor id as one number, as nvmlPciInfo_t has them.
    #[serde(default = "Gpu::default_device_id")]
    pub pci_device_id: u32,
    /// The N of /dev/nvidiaN. None: its index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor: Option<u32>,
    /// None: NOT_SUPPORTED.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Whether it answers.
    #[serde(default)]
    pub state: State,
    /// How busy it is.
    #[serde(default)]
    pub load: Load,
    /// Memory utilization as a part of utilization, 0 to 1: time in which memory was read or written.
    #[serde(default = "Gpu::default_memory_busy")]
    pub memory_busy: f64,
    /// Its memory.
    #[serde(default)]
    pub memory: Memory,
    /// The driver's rings of samples.
    #[serde(default)]
    pub ring: Ring,
    /// Degrees Celsius. None: NOT_SUPPORTED.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<u32>,
    /// Degrees Celsius of the memory (field 82). None: NOT_SUPPORTED.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_temperature_c: Option<u32>,
    /// Drawn power, from which energy follows.
    #[serde(default)]
    pub power: Power,
    /// The energy counter when the library is loaded; the energy of the load adds to it.
    #[serde(default)]
    pub energy_mj: u64,
    /// Clocks.
    #[serde(default)]
    pub clocks: Clocks,
    /// The bits of nvmlDeviceGetCurrentClocksEventReasons.
    #[serde(default)]
    pub clocks_event_reasons: u64,
    /// Time with reduced clocks, as counters.
    #[serde(default)]
    pub throttle: Throttle,
    /// PCIe traffic while busy.
    #[serde(default)]
    pub pcie: Pcie,
    /// NVLink traffic while busy.
    #[serde(default)]
    pub nvlink: NvLink,
    /// ECC counters. None: NOT_SUPPORTED.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecc: Option<Ecc>,
    /// Row remapping. None: NOT_SUPPORTED.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remapped_rows: Option<RemappedRows>,
    /// Field 230: 0 none, 1 reset, 2 reboot, 3 drain, 4 drain and reset.
    #[serde(default)]
    pub recovery_action: u32,
    /// Encoder utilization, percent.
    #[serde(default)]
    pub encoder: u32,
    /// Decoder utilization, percent.
    #[serde(default)]
    pub decoder: u32,
    /// Speed of its fan in percent. None: NOT_SUPPORTED, as on a card for servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fan: Option<u32>,
    /// What GPM shows beside utilization.
    #[serde(default)]
    pub gpm: Gpm,
    /// What the card and driver can do.
    #[serde(default)]
    pub support: Support,
    /// Values of further fields by their id, or other values for known ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, u64>,
    /// Events. Append to the list while the agent runs.
    #[serde(default, rename = "event", skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// What runs on it.
    #[serde(default, rename = "process", skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
    /// MIG. None: the card has no MIG; without instances it is enabled and empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mig: Option<Mig>,
}

impl Gpu {
    /// A GPU of which nothing but the identity is chosen.
    pub fn new(uuid: &str, pci: &str) -> Self {
        Self {
            uuid: uuid.to_owned(),
            name: Self::default_name(),
            pci: pci.to_owned(),
            pci_device_id: Self::default_device_id(),
            minor: None,
            serial: None,
            state: State::Ok,
            load: Load::default(),
            memory_busy: Self::default_memory_busy(),
            memory: Memory::default(),
            ring: Ring::default(),
            temperature_c: None,
            memory_temperature_c: None,
            power: Power::default(),
            energy_mj: 0,
            clocks: Clocks::default(),
            clocks_event_reasons: 0,
            throttle: Throttle::default(),
            pcie: Pcie::default(),
            nvlink: NvLink::default(),
            ecc: None,
            remapped_rows: None,
            recovery_action: 0,
            encoder: 0,
            decoder: 0,
            fan: None,
            gpm: Gpm::default(),
            support: Support::default(),
            fields: BTreeMap::new(),
            events: Vec::new(),
            processes: Vec::new(),
            mig: None,
        }
    }

    fn default_name() -> String {
        "NVIDIA H100 80GB HBM3".to_owned()
    }

    fn default_device_id() -> u32 {
        0x2330_10de
    }

    fn default_memory_busy() -> f64 {
        0.5
    }

    /// The MIG instances, none where MIG is off.
    pub(crate) fn instances(&self) -> &[Instance] {
        self.mig.as_ref().filter(|mig| mig.enabled).map_or(&[], |mig| &mig.instances)
    }

    pub(crate) fn has_mig_on(&self) -> bool {
        self.mig.as_ref().is_some_and(|mig| mig.enabled)
    }

    pub(crate) fn pci_address(&self) -> Option<PciAddress> {
        PciAddress::parse(&self.pci)
    }
}

/// Whether a GPU answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It does.
    #[default]
    Ok,
    /// GPU_IS_LOST (15), also when its handle is asked for, and when a GPU after it is looked up by UUID.
    Lost,
    /// UNKNOWN (999), also when its handle is asked for.
    Unknown,
    /// NO_PERMISSION (4), also when its handle is asked for.
    NoPermission,
    /// RESET_REQUIRED (16) but for its identity.
    ResetRequired,
    /// NOT_SUPPORTED (3) but for its identity.
    NotSupported,
}

/// How busy a GPU is: a percentage, or a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged, expecting = "expected a percentage (0 to 100), or { share = 0 to 1, period_s = seconds }")]
pub enum Load {
    /// Evenly so busy at any time.
    Percent(f64),
    /// Fully busy, then idle, again and again.
    Cycle(DutyCycle),
}

impl Default for Load {
    fn default() -> Self {
        Self::Percent(0.0)
    }
}

/// A load that is fully busy for a share of each period, then idle. Periods are counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DutyCycle {
    /// 0 to 1.
    pub share: f64,
    /// Seconds.
    pub period_s: f64,
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// All there is.
    pub total: u64,
    /// Allocated, without what is reserved: what nvidia-smi shows.
    pub used: u64,
    /// Kept by driver and firmware.
    pub reserved: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { total: 80 << 30, used: 0, reserved: 600 << 20 }
    }
}

/// The rings of samples: how they are kept, and what is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ring {
    /// How many samples are kept.
    pub size: usize,
    /// Between two samples.
    pub period_us: u64,
    /// What is added to every time stamp: a driver whose clock is not the wall clock.
    pub offset_us: i64,
    /// Once the GPU was idle for so long, no more samples are taken until it is busy again. None: zeros are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_after_s: Option<f64>,
    /// What a garbage sample says.
    pub garbage_value: u32,
    /// Every so-maniest sample is garbage; 0: none.
    pub garbage_every: u64,
    /// Every so-maniest sample is there twice; 0: none.
    pub duplicate_every: u64,
    /// Every so-maniest sample has no time stamp; 0: none.
    pub zero_every: u64,
    /// Neighbours change places.
    pub unordered: bool,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            size: 120,
            period_us: 166_667,
            offset_us: 0,
            dry_after_s: None,
            garbage_value: 808_334_905,
            garbage_every: 0,
            duplicate_every: 0,
            zero_every: 0,
            unordered: false,
        }
    }
}

/// A process on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// As the driver says it: of the host or of the namespace, the driver knows.
    pub pid: u32,
    /// Which list it is on.
    #[serde(default)]
    pub kind: ProcessKind,
    /// Bytes of GPU memory. None: not available.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// SM utilization in percent; a process with 0 has no sample.
    #[serde(default)]
    pub sm: u32,
    /// Memory utilization in percent.
    #[serde(default)]
    pub memory_busy: u32,
    /// Encoder utilization in percent.
    #[serde(default)]
    pub encoder: u32,
    /// Decoder utilization in percent.
    #[serde(default)]
    pub decoder: u32,
    /// The GPU instance it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gi: Option<u32>,
    /// The compute instance it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci: Option<u32>,
}

/// The list that a process is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessKind {
    /// CUDA.
    #[default]
    Compute,
    /// OpenGL, Vulkan.
    Graphics,
    /// CUDA by the multi-process service.
    Mps,
}

/// Multi-instance GPU.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mig {
    /// The current mode.
    pub enabled: bool,
    /// How many instances there can be.
    pub slots: u32,
    /// As in a container that was given instances only: memory and counters of the whole GPU are NO_PERMISSION.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub instances_only: bool,
    /// Those that there are.
    #[serde(rename = "instance", skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<Instance>,
}

impl Default for Mig {
    fn default() -> Self {
        Self { enabled: true, slots: 7, instances_only: false, instances: Vec::new() }
    }
}

/// A MIG instance.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Where nvmlDeviceGetMigDeviceHandleByIndex finds it. A handle stays with the slot, whatever comes to lie there.
    pub slot: u32,
    /// "MIG-" and 36 characters.
    pub uuid: String,
    /// The GPU instance.
    pub gi: u32,
    /// The compute instance.
    #[serde(default)]
    pub ci: u32,
    /// Slices of the GPU, of 7.
    #[serde(default = "Instance::one")]
    pub slices: u32,
    /// How busy it is, as GPM sees it.
    #[serde(default)]
    pub load: Load,
    /// Its memory.
    #[serde(default)]
    pub memory: Memory,
}

impl Instance {
    fn one() -> u32 {
        1
    }
}

/// Where a GPU sits on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PciAddress {
    pub domain: u32,
    pub bus: u32,
    pub device: u32,
}

impl PciAddress {
    /// Takes "00000000:18:00.0", "0000:18:00.0" and "18:00.0".
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| u32::from_str_radix(text, 16).ok();
        let (address, _function) = text.split_once('.')?;
        let mut parts = address.rsplit(':');
        let (device, bus) = (number(parts.next()?)?, number(parts.next()?)?);
        let domain = parts.next().map_or(Some(0), number)?;
        (parts.next().is_none() && bus <= 0xff && device <= 31).then_some(Self { domain, bus, device })
    }
}

impl Gpu {
    pub(super) fn check(&self) -> Result<(), String> {
        self.load.check()?;
        self.memory.check()?;
        if self.pci_address().is_none() {
            return Err(format!("pci: expected one like 00000000:18:00.0, got {:?}", self.pci));
        }
        if !(1..=100_000).contains(&self.ring.size) || self.ring.period_us == 0 {
            return Err("ring: expected a size of 1 to 100000 and a period above 0".to_owned());
        }
        if self.nvlink.links > 1024 || self.nvlink.kib.max(self.nvlink.kib_s) > 1 << 40 {
            return Err("nvlink: expected at most 1024 links and 2^40 KiB".to_owned());
        }
        if let Some(key) = self.fields.keys().find(|key| key.parse::<u32>().is_err()) {
            return Err(format!("fields: expected ids, got {key:?}"));
        }
        for instance in self.mig.iter().flat_map(|mig| &mig.instances) {
            instance.load.check()?;
            instance.memory.check()?;
        }
        Ok(())
    }
}

impl Memory {
    fn check(&self) -> Result<(), String> {
        match self.used.checked_add(self.reserved) {
            Some(sum) if sum <= self.total => Ok(()),
            _ => Err(format!("memory: expected used + reserved <= total, got {self:?}")),
        }
    }
}

impl Load {
    fn check(&self) -> Result<(), String> {
        let good = match self {
            Self::Percent(percent) => (0.0..=100.0).contains(percent),
            Self::Cycle(cycle) => (0.0..=1.0).contains(&cycle.share) && (1e-6..=1e6).contains(&cycle.period_s),
        };
        if good {
            Ok(())
        } else {
            Err(format!("load: expected 0 to 100, or a share of 0 to 1 of a period, got {self:?}"))
        }
    }
}
