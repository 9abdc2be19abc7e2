//! Events of one GPU: a set for each GPU, so that one without events costs its own only.
//!
//! Raw, since the wrapper knows seven kinds of event, loses the others, and frees a set that one GPU refuses.

use std::mem;
use std::ptr;

use nvml_wrapper_sys::bindings as raw;

use super::super::driver::{Code, Event};
use super::{NOT_SUPPORTED, checked, found};

const XID: u64 = raw::nvmlEventTypeXidCriticalError as u64;
/// What else is worth a look at the GPU's health.
const CHANGES: u64 = raw::nvmlEventTypeGpuUnavailableError as u64 | raw::nvmlEventTypeGpuRecoveryAction as u64;
/// What a wait says that ends without an event.
const TIMEOUT: Code = Code(10);

/// An event set that is registered for one GPU; null until it is wanted, and after an error.
pub(super) struct EventSet(raw::nvmlEventSet_t);

impl Default for EventSet {
    fn default() -> Self {
        Self(ptr::null_mut())
    }
}

impl EventSet {
    /// The next event, without waiting.
    pub(super) fn next(&mut self, lib: &raw::NvmlLib, device: raw::nvmlDevice_t) -> Result<Option<Event>, Code> {
        if self.0.is_null() {
            self.register(lib, device)?;
        }
        match self.take(lib) {
            Err(TIMEOUT) => Ok(None),
            Err(code) => {
                // A set is in an unknown state after an error, and dead after the driver was loaded anew.
                self.free(lib);
                Err(code)
            }
            Ok(event) if event.eventType & XID != 0 => Ok(Some(Event::Xid(event.eventData))),
            Ok(_) => Ok(Some(Event::Changed)),
        }
    }

    fn take(&self, lib: &raw::NvmlLib) -> Result<raw::nvmlEventData_t, Code> {
        let wait = found(&lib.nvmlEventSetWait_v2)?;
        // SAFETY: numbers and a pointer that is not followed, for which zero is a value.
        let mut event: raw::nvmlEventData_t = unsafe { mem::zeroed() };
        // SAFETY: the set is this library's, and the struct is the one that the function writes.
        checked(unsafe { wait(self.0, &raw mut event, 0) })?;
        Ok(event)
    }

    fn register(&mut self, lib: &raw::NvmlLib, device: raw::nvmlDevice_t) -> Result<(), Code> {
        let supported = supported(lib, device)?;
        if supported & XID == 0 {
            return Err(NOT_SUPPORTED);
        }
        let create = found(&lib.nvmlEventSetCreate)?;
        let register = found(&lib.nvmlDeviceRegisterEvents)?;
        // Whoever cannot be freed is not created.
        found(&lib.nvmlEventSetFree)?;
        // SAFETY: the place is ours, and the library writes a pointer to it.
        checked(unsafe { create(&raw mut self.0) })?;
        // SAFETY: handle and set are this library's.
        let mut registered = checked(unsafe { register(device, supported & (XID | CHANGES), self.0) });
        if registered == Err(NOT_SUPPORTED) {
            // None of them was registered then, and the set is still good.
            // SAFETY: as above.
            registered = checked(unsafe { register(device, XID, self.0) });
        }
        registered.inspect_err(|_| self.free(lib))
    }

    /// Gives the set back to the library that it is from.
    pub(super) fn free(&mut self, lib: &raw::NvmlLib) {
        let set = mem::replace(&mut self.0, ptr::null_mut());
        if let Ok(free) = &lib.nvmlEventSetFree
            && !set.is_null()
        {
            // SAFETY: created by this library, which is loaded still, and freed once.
            unsafe { free(set) };
        }
    }
}

/// The kinds of event that the GPU has; all, where the library cannot tell.
fn supported(lib: &raw::NvmlLib, device: raw::nvmlDevice_t) -> Result<u64, Code> {
    let Ok(ask) = found(&lib.nvmlDeviceGetSupportedEventTypes) else { return Ok(XID | CHANGES) };
    let mut kinds = 0;
    // SAFETY: the handle is this library's, and the number is what the function writes.
    checked(unsafe { ask(device, &raw mut kinds) })?;
    Ok(kinds)
}
