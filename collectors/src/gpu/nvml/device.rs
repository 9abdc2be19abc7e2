//! One GPU's answers.

use std::mem;
use std::sync::Arc;

use nvml_wrapper::Device as Wrapped;
use nvml_wrapper_sys::bindings as raw;

use super::super::driver::{
    Code, Counters, Event, Found, Gpm, Handle, Identity, InstanceKey, InstanceTitle, Memory, ProcessMemory,
    ProcessSample, Reading, Snapshot,
};
use super::super::ring::RingSample;
use super::events::EventSet;
use super::gpm::Kept;
use super::instances::InstanceCounters;
use super::processes::Buffers;
use super::{Library, NOT_SUPPORTED, checked, found};

pub(super) struct Gpu {
    pub(super) library: Arc<Library>,
    pub(super) handle: raw::nvmlDevice_t,
    /// Kept so that a steady tick allocates nothing.
    pub(super) samples: Vec<raw::nvmlSample_t>,
    pub(super) buffers: Buffers,
    /// `None` where the GPU has no GPM.
    gpm: Option<Kept>,
    events: EventSet,
}

// SAFETY: nvml.h calls the library thread safe; handles and samples belong to the process, not to a thread.
unsafe impl Send for Gpu {}

impl Drop for Gpu {
    fn drop(&mut self) {
        if let Some(kept) = &self.gpm {
            kept.free(self.library.raw());
        }
        self.events.free(self.library.raw());
    }
}

impl Gpu {
    pub(super) fn new(library: &Arc<Library>, wrapped: &Wrapped<'_>) -> Self {
        // SAFETY: the handle is used only while `library` keeps the library initialised.
        let handle = unsafe { wrapped.handle() };
        let gpm = wrapped.gpm_support().unwrap_or(false).then(Kept::default);
        let (samples, buffers, events) = (Vec::new(), Buffers::default(), EventSet::default());
        Self { library: Arc::clone(library), handle, samples, buffers, gpm, events }
    }

    fn wrapped(&self) -> Wrapped<'_> {
        wrapped(&self.library, self.handle)
    }
}

fn wrapped(library: &Library, handle: raw::nvmlDevice_t) -> Wrapped<'_> {
    // SAFETY: the handle came from this library, which the borrow keeps initialised.
    unsafe { Wrapped::new(handle, &library.0) }
}

/// Memory of a GPU, or of the GPU instance of a MIG instance.
pub(super) fn memory(library: &Library, handle: raw::nvmlDevice_t) -> Result<Memory, Code> {
    match wrapped(library, handle).memory_info().map_err(Code::from) {
        Ok(memory) => Ok(Memory { total: memory.total, used: memory.used, reserved: Some(memory.reserved) }),
        // The function is not there, or does not know the struct's version.
        Err(Code(3 | 13 | 25)) => memory_v1(library, handle),
        Err(code) => Err(code),
    }
}

/// Memory as drivers before 510 tell it.
fn memory_v1(library: &Library, handle: raw::nvmlDevice_t) -> Result<Memory, Code> {
    let ask = found(&library.raw().nvmlDeviceGetMemoryInfo)?;
    // SAFETY: a struct of whole numbers, for which zero is a value.
    let mut memory: raw::nvmlMemory_t = unsafe { mem::zeroed() };
    // SAFETY: the handle is the library's, and the struct is the one that the function writes.
    checked(unsafe { ask(handle, &raw mut memory) })?;
    Ok(Memory { total: memory.total, used: memory.used, reserved: None })
}

impl Handle for Gpu {
    fn identity(&self) -> Result<Identity, Code> {
        let wrapped = self.wrapped();
        let uuid = wrapped.uuid()?;
        // They only make the name nicer.
        let name = wrapped.name().unwrap_or_default();
        let pci = wrapped.pci_info().map(|pci| pci.bus_id).unwrap_or_default();
        Ok(Identity { uuid, name, pci })
    }

    fn memory(&self) -> Result<Memory, Code> {
        memory(&self.library, self.handle)
    }

    fn ring(&mut self, into: &mut Vec<RingSample>) -> Result<(), Code> {
        into.clear();
        match self.drain(into) {
            Err(Code::NOT_FOUND) => Ok(()),
            other => other,
        }
    }

    fn snapshot(&self) -> Result<Snapshot, Code> {
        let rates = self.wrapped().utilization_rates()?;
        Ok(Snapshot { gpu: rates.gpu, memory: rates.memory })
    }

    fn mig(&self) -> Result<bool, Code> {
        Ok(self.wrapped().mig_mode()?.current != 0)
    }

    fn gpm(&mut self) -> Result<Option<Gpm>, Code> {
        let Some(kept) = &mut self.gpm else { return Err(NOT_SUPPORTED) };
        kept.means(self.library.raw(), self.handle, None)
    }

    fn slots(&self) -> Result<u32, Code> {
        self.most_instances()
    }

    fn instance(&self, slot: u32) -> Result<Option<Found>, Code> {
        self.instance_at(slot)
    }

    fn instance_title(&self, slot: u32, key: InstanceKey) -> Result<InstanceTitle, Code> {
        self.title_at(slot, key)
    }

    fn counters(&self, gi: u32) -> Option<Box<dyn Counters>> {
        self.gpm.as_ref()?;
        let (library, kept) = (Arc::clone(&self.library), Kept::default());
        Some(Box::new(InstanceCounters { library, gpu: self.handle, gi, kept }))
    }

    fn vitals(&self, readings: &mut [Reading]) {
        self.read(readings);
    }

    fn event(&mut self) -> Result<Option<Event>, Code> {
        self.events.next(self.library.raw(), self.handle)
    }
    fn processes(&mut self, into: &mut Vec<ProcessMemory>) -> Result<(), Code> {
        self.list_processes(into)
    }

    fn process_samples(&mut self, since: u64, into: &mut Vec<ProcessSample>) -> Result<(), Code> {
        match self.sample_processes(since, into) {
            Err(Code::NOT_FOUND) => Ok(()),
            other => other,
        }
    }
}
