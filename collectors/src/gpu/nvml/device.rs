//! One GPU's answers.

use std::mem;
use std::sync::Arc;

use nvml_wrapper::Device as Wrapped;
use nvml_wrapper_sys::bindings as raw;

use super::super::driver::{Code, Gpm, Handle, Identity, Memory, Snapshot};
use super::super::ring::RingSample;
use super::gpm::Kept;
use super::{Library, NOT_SUPPORTED, checked, found};

pub(super) struct Gpu {
    pub(super) library: Arc<Library>,
    pub(super) handle: raw::nvmlDevice_t,
    /// Kept so that a steady tick allocates nothing.
    pub(super) samples: Vec<raw::nvmlSample_t>,
    /// `None` where the GPU has no GPM.
    gpm: Option<Kept>,
}

// SAFETY: nvml.h calls the library thread safe; handles and samples belong to the process, not to a thread.
unsafe impl Send for Gpu {}

impl Drop for Gpu {
    fn drop(&mut self) {
        if let Some(kept) = &self.gpm {
            kept.free(self.library.raw());
        }
    }
}

impl Gpu {
    pub(super) fn new(library: &Arc<Library>, wrapped: &Wrapped<'_>) -> Self {
        // SAFETY: the handle is used only while `library` keeps the library initialised.
        let handle = unsafe { wrapped.handle() };
        let gpm = wrapped.gpm_support().unwrap_or(false).then(Kept::default);
        Self { library: Arc::clone(library), handle, samples: Vec::new(), gpm }
    }

    fn wrapped(&self) -> Wrapped<'_> {
        // SAFETY: the handle came from this library, which the borrow keeps initialised.
        unsafe { Wrapped::new(self.handle, &self.library.0) }
    }

    /// Memory as drivers before 510 tell it.
    fn memory_v1(&self) -> Result<Memory, Code> {
        let ask = found(&self.library.raw().nvmlDeviceGetMemoryInfo)?;
        // SAFETY: a struct of whole numbers, for which zero is a value.
        let mut memory: raw::nvmlMemory_t = unsafe { mem::zeroed() };
        // SAFETY: the handle is the library's, and the struct is the one that the function writes.
        checked(unsafe { ask(self.handle, &raw mut memory) })?;
        Ok(Memory { total: memory.total, used: memory.used, reserved: None })
    }
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
        match self.wrapped().memory_info().map_err(Code::from) {
            Ok(memory) => Ok(Memory { total: memory.total, used: memory.used, reserved: Some(memory.reserved) }),
            // The function is not there, or does not know the struct's version.
            Err(Code(3 | 13 | 25)) => self.memory_v1(),
            Err(code) => Err(code),
        }
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
        kept.means(self.library.raw(), self.handle)
    }
}
