//! What the collector asks of a driver, in plain values: the seam between its logic and NVML.

use std::fmt;
use std::path::Path;

use super::ring::RingSample;

/// An nvmlReturn_t other than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(pub u32);

impl Code {
    pub(super) const INVALID_ARGUMENT: Self = Self(2);
    pub(super) const NOT_SUPPORTED: Self = Self(3);
    pub(super) const NO_PERMISSION: Self = Self(4);
    pub(super) const NOT_FOUND: Self = Self(6);
    pub(super) const DRIVER_NOT_LOADED: Self = Self(9);
    pub(super) const LIBRARY_NOT_FOUND: Self = Self(12);
    pub(super) const GPU_IS_LOST: Self = Self(15);
    pub(super) const VERSION_MISMATCH: Self = Self(25);
    pub(super) const GPU_NOT_FOUND: Self = Self(28);

    /// The driver is not there, or has no GPU: nothing is wrong with such a machine.
    pub(super) fn says_no_gpu(self) -> bool {
        [Self::DRIVER_NOT_LOADED, Self::GPU_NOT_FOUND].contains(&self)
    }

    /// One call was refused, which a good GPU may do: not supported, not permitted, no data, or an error without a
    /// meaning. Every other code is about the GPU or the driver as a whole.
    pub(super) fn is_of_the_call(self) -> bool {
        matches!(self.0, 3 | 4 | 5 | 6 | 7 | 13 | 20..=27 | 30 | 999)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "uninitialized",
            2 => "invalid argument",
            3 => "not supported",
            4 => "no permission",
            6 => "not found",
            9 => "driver not loaded",
            13 => "function not found",
            15 => "GPU is lost",
            16 => "reset required",
            17 => "blocked by the operating system",
            18 => "the library's version is not the kernel module's",
            28 => "no GPU found",
            999 => "unknown error",
            _ => return write!(f, "NVML error {}", self.0),
        };
        write!(f, "{name} (NVML error {})", self.0)
    }
}

/// Why there is no driver to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LoadError {
    /// The library cannot be loaded; the loader's words.
    Library(String),
    /// It was loaded, and refuses.
    Refused(Code),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(words) => f.write_str(words),
            Self::Refused(code) => code.fmt(f),
        }
    }
}

/// What a GPU is called, which stays while it is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub uuid: String,
    pub name: String,
    /// The address on the bus, as in sysfs.
    pub pci: String,
}

/// Memory of a GPU in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub total: u64,
    /// As nvidia-smi shows it: allocated, without what driver and firmware keep for themselves. With
    /// [`reserved`](Self::reserved) `None` it is inside.
    pub used: u64,
    /// `None` for drivers before 510, which do not tell the two apart.
    pub reserved: Option<u64>,
}

/// The driver's last sampling period, in percent, unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub gpu: u32,
    /// Share of time in which memory was read or written; not how full it is.
    pub memory: u32,
}

/// Means between two readings of the GPU's own counters, unchecked; NaN where the GPU does not have one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Gpm {
    /// Percent of the time.
    pub graphics: f64,
    /// Percent of the time of all SMs.
    pub sm: f64,
    /// Percent of the warps that they could hold.
    pub occupancy: f64,
    /// Percent of the peak of the tensor cores.
    pub tensor: f64,
    /// Percent of the peak of the memory's bandwidth.
    pub dram: f64,
    /// MiB per second.
    pub pcie_sent: f64,
    /// MiB per second.
    pub pcie_received: f64,
    /// MiB per second.
    pub nvlink_sent: f64,
    /// MiB per second.
    pub nvlink_received: f64,
}

/// A UUID or name as the driver writes it: text, then zeros. It can be copied, so that asking for one at each tick
/// allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Text(pub [u8; Self::LENGTH]);

impl Text {
    /// The most that the driver writes: NVML_DEVICE_UUID_V2_BUFFER_SIZE, and that of names.
    pub(super) const LENGTH: usize = 96;

    /// Without the zeros; empty where it is no text.
    pub(super) fn as_str(&self) -> &str {
        let text = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        str::from_utf8(text).unwrap_or_default()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What tells a MIG instance from every other that was or will be. Neither half alone does: a GPU instance's number is
/// given again, and a UUID says nothing of whose memory and counters it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InstanceKey {
    pub uuid: Text,
    /// The GPU instance, which owns memory and counters; its compute instances share them.
    pub gi: u32,
}

/// A MIG instance that was found in a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub key: InstanceKey,
    /// The GPU instance's, certainly of this key.
    pub memory: Result<Memory, Code>,
}

/// What a MIG instance is, for as long as it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InstanceTitle {
    /// Such as `1g.10gb`; empty where the driver's name for it has none.
    pub profile: String,
    /// The number of the compute instance within the GPU instance; `None` if the driver does not tell.
    pub ci: Option<u32>,
}

/// What a driver measures or counts of a GPU's health, unchecked. Counters begin anew with the driver, except for ECC
/// and rows, which the card itself keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vital {
    /// Millijoules.
    Energy,
    /// Milliwatts.
    Power,
    /// Degrees Celsius of the die.
    Temperature,
    /// Degrees Celsius of the memory.
    MemoryTemperature,
    /// Nanoseconds with reduced clocks.
    Throttled(Limiter),
    /// Errors in the card's life.
    EccCorrected,
    /// Errors in the card's life.
    EccUncorrected,
    /// Rows remapped after correctable errors.
    RowsCorrectable,
    /// Rows remapped after uncorrectable errors.
    RowsUncorrectable,
    /// 1 while a remapping waits for a reset.
    RowsPending,
    /// 1 once a remapping failed.
    RowsFailed,
    /// nvmlDeviceGpuRecoveryAction_t.
    RecoveryAction,
}

/// What keeps clocks down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limiter {
    Power,
    Thermal,
    SyncBoost,
    BoardLimit,
    LowUtilization,
    Reliability,
    /// Any of the others: below application clocks.
    ApplicationClocks,
    /// Any of the others: below base clocks.
    BaseClocks,
}

/// A question about a GPU's health, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub vital: Vital,
    pub answer: Result<u64, Code>,
}

/// Something that happened on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// An error with this number.
    Xid(u64),
    /// Its recovery action or the like changed.
    Changed,
}

/// The memory of a process on one of the driver's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessMemory {
    /// Of the host or of our namespace: drivers differ.
    pub pid: u32,
    /// GPU and compute instance in MIG mode; `u32::MAX` otherwise.
    pub instance: (u32, u32),
    /// `None` where the driver does not tell.
    pub bytes: Option<u64>,
}

/// The driver's sample of a process, unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessSample {
    pub pid: u32,
    /// Microseconds by the driver's clock.
    pub timestamp: u64,
    /// Percent of the SMs.
    pub sm: u32,
}

/// A library that is loaded and initialised. Handles keep it loaded.
pub(super) trait Driver: Send {
    /// How many GPUs there are to ask; indices are 0..count.
    fn count(&self) -> Result<u32, Code>;

    /// The GPU that has this index now. Asked by index, since a look-up by UUID fails while another GPU is lost.
    fn handle(&self, index: u32) -> Result<Box<dyn Handle>, Code>;
}

/// One GPU.
pub(super) trait Handle: Send {
    fn identity(&self) -> Result<Identity, Code>;

    fn memory(&self) -> Result<Memory, Code>;

    /// Fills `into` with the whole ring of utilization; nothing where the driver has no samples.
    fn ring(&mut self, into: &mut Vec<RingSample>) -> Result<(), Code>;

    fn snapshot(&self) -> Result<Snapshot, Code>;

    /// Whether the GPU is cut up into instances now.
    fn mig(&self) -> Result<bool, Code>;

    /// Means since the call before. `None` at the first call, and after one that failed.
    fn gpm(&mut self) -> Result<Option<Gpm>, Code>;

    /// How many MIG instances the GPU can have: they lie in slots from 0 on, some of which may be empty.
    fn slots(&self) -> Result<u32, Code> {
        Err(Code::NOT_SUPPORTED)
    }

    /// The MIG instance that lies in a slot now. `None` for an empty slot, and where one was put in place of another
    /// during the call.
    fn instance(&self, _slot: u32) -> Result<Option<Found>, Code> {
        Err(Code::NOT_SUPPORTED)
    }

    /// What the instance in a slot is, if it is still this one.
    fn instance_title(&self, _slot: u32, _key: InstanceKey) -> Result<InstanceTitle, Code> {
        Err(Code::NOT_SUPPORTED)
    }

    /// Counters of a GPU instance. `None` where the GPU has no GPM.
    fn counters(&self, _gi: u32) -> Option<Box<dyn Counters>> {
        None
    }

    /// Answers every question of `readings`, each by itself.
    fn vitals(&self, readings: &mut [Reading]) {
        readings.iter_mut().for_each(|reading| reading.answer = Err(Code::NOT_SUPPORTED));
    }

    /// The oldest event that was not told yet, `None` where there is none; without waiting. Events count from the first
    /// call, or from the first after one that failed.
    fn event(&mut self) -> Result<Option<Event>, Code> {
        Err(Code::NOT_SUPPORTED)
    }

    /// Appends the processes of all lists: compute, graphics, multi-process service. One may be on several.
    fn processes(&mut self, into: &mut Vec<ProcessMemory>) -> Result<(), Code> {
        let _ = into;
        Err(Code::NOT_SUPPORTED)
    }

    /// Appends the samples of processes after a time stamp, 0 for all; nothing where the driver has none.
    fn process_samples(&mut self, since: u64, into: &mut Vec<ProcessSample>) -> Result<(), Code> {
        let _ = (since, into);
        Err(Code::NOT_SUPPORTED)
    }
}

/// The counters of one GPU instance, with the reading before kept inside: to drop them is to forget it.
pub(super) trait Counters: Send {
    /// Means since the call before. `None` at the first call, and after one that failed.
    fn means(&mut self) -> Result<Option<Gpm>, Code>;
}

/// Loads a driver from a library, from the system's where none is named.
pub(super) type Load = dyn FnMut(Option<&Path>) -> Result<Box<dyn Driver>, LoadError> + Send;
