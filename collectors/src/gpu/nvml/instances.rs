//! The MIG instances of one GPU, by handles that are fetched anew for each question: they die when the GPU is cut up
//! differently, and may then be another's.
//!
//! The wrapper has neither the instances' numbers nor UUIDs that cost no allocation.

use std::ffi::{c_char, c_uint};
use std::ptr;
use std::sync::Arc;

use nvml_wrapper_sys::bindings as raw;

use super::super::driver::{Code, Counters, Found, Gpm, InstanceKey, InstanceTitle, Text};
use super::device::{Gpu, memory};
use super::gpm::Kept;
use super::{Library, checked, found};

/// The driver calls an instance by its GPU's name, this word and the profile: `NVIDIA H100 80GB HBM3 MIG 1g.10gb`.
const BEFORE_PROFILE: &str = " MIG ";

pub(super) type TextOf = unsafe extern "C" fn(raw::nvmlDevice_t, *mut c_char, c_uint) -> raw::nvmlReturn_t;
type NumberOf = unsafe extern "C" fn(raw::nvmlDevice_t, *mut c_uint) -> raw::nvmlReturn_t;

impl Gpu {
    pub(super) fn most_instances(&self) -> Result<u32, Code> {
        number(found(&self.library.raw().nvmlDeviceGetMaxMigDeviceCount)?, self.handle)
    }

    pub(super) fn instance_at(&self, slot: u32) -> Result<Option<Found>, Code> {
        let Some(handle) = self.at(slot)? else { return Ok(None) };
        let key = key(&self.library, handle)?;
        let memory = memory(&self.library, handle);
        // Else the handle became another's, and nobody knows whose memory that was.
        let is_still = uuid(&self.library, handle)? == key.uuid;
        Ok(is_still.then_some(Found { key, memory }))
    }

    pub(super) fn title_at(&self, slot: u32, wanted: InstanceKey) -> Result<InstanceTitle, Code> {
        let handle = self.at(slot)?.ok_or(Code::NOT_FOUND)?;
        let library = self.library.raw();
        let name = found(&library.nvmlDeviceGetName).and_then(|ask| text(ask, handle)).ok();
        let profile = name.as_ref().and_then(|name| name.as_str().rsplit_once(BEFORE_PROFILE));
        let profile = profile.map_or_else(String::new, |(_, profile)| profile.to_owned());
        let ci = found(&library.nvmlDeviceGetComputeInstanceId).and_then(|ask| number(ask, handle)).ok();
        if key(&self.library, handle)? == wanted { Ok(InstanceTitle { profile, ci }) } else { Err(Code::NOT_FOUND) }
    }

    /// The handle of what lies in a slot now.
    fn at(&self, slot: u32) -> Result<Option<raw::nvmlDevice_t>, Code> {
        let ask = found(&self.library.raw().nvmlDeviceGetMigDeviceHandleByIndex)?;
        let mut handle = ptr::null_mut();
        // SAFETY: the GPU's handle is the library's, and the place is ours.
        match checked(unsafe { ask(self.handle, slot, &raw mut handle) }) {
            Ok(()) => Ok(Some(handle)),
            Err(Code::NOT_FOUND) => Ok(None),
            Err(code) => Err(code),
        }
    }
}

fn key(library: &Library, handle: raw::nvmlDevice_t) -> Result<InstanceKey, Code> {
    let gi = number(found(&library.raw().nvmlDeviceGetGpuInstanceId)?, handle)?;
    Ok(InstanceKey { uuid: uuid(library, handle)?, gi })
}

fn uuid(library: &Library, handle: raw::nvmlDevice_t) -> Result<Text, Code> {
    text(found(&library.raw().nvmlDeviceGetUUID)?, handle)
}

pub(super) fn text(ask: &TextOf, handle: raw::nvmlDevice_t) -> Result<Text, Code> {
    let mut text = [0; Text::LENGTH];
    // SAFETY: the handle is the library's, and there is a place for as many characters as it is told.
    checked(unsafe { ask(handle, text.as_mut_ptr().cast(), text.len() as c_uint) })?;
    Ok(Text(text))
}

fn number(ask: &NumberOf, handle: raw::nvmlDevice_t) -> Result<u32, Code> {
    let mut number = 0;
    // SAFETY: the handle is the library's, and the place is ours.
    checked(unsafe { ask(handle, &raw mut number) })?;
    Ok(number)
}

/// The counters of a GPU instance.
pub(super) struct InstanceCounters {
    pub(super) library: Arc<Library>,
    /// The whole GPU's handle, which outlives its instances.
    pub(super) gpu: raw::nvmlDevice_t,
    pub(super) gi: u32,
    pub(super) kept: Kept,
}

// SAFETY: as for the GPU: handles and samples belong to the process, not to a thread.
unsafe impl Send for InstanceCounters {}

impl Counters for InstanceCounters {
    fn means(&mut self) -> Result<Option<Gpm>, Code> {
        self.kept.means(self.library.raw(), self.gpu, Some(self.gi))
    }
}

impl Drop for InstanceCounters {
    fn drop(&mut self) {
        self.kept.free(self.library.raw());
    }
}
