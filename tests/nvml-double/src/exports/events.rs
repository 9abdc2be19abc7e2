//! Events.

use std::ffi::c_uint;

use crate::abi::{Answer, EventData, Handle, NOT_SUPPORTED};
use crate::driver::{on_device, on_driver};
use crate::events::{EventSet, wait};
use crate::pointer::Out;

exports! {
    fn nvmlEventSetCreate(set: Out<Handle>) = on_driver() |call| {
        set.check()?;
        set.set(call.driver.event_sets.add(EventSet::default())?)
    };
    fn nvmlDeviceGetSupportedEventTypes(device: Handle, types: Out<u64>) = on_device(device) |call| {
        call.whole()?;
        types.set(call.gpu.support.events)
    };
    fn nvmlDeviceRegisterEvents(device: Handle, types: u64, set: Handle) = on_device(device) |call| {
        call.whole()?;
        let set = call.driver.event_sets.get(set)?;
        if types & !call.gpu.support.events != 0 {
            return Err(NOT_SUPPORTED);
        }
        set.register(call.gpu, types);
        Ok(())
    };
    fn nvmlEventSetWait_v2(set: Handle, data: Out<EventData>, timeout_ms: c_uint)
        = wait_unlocked() |name| wait(name, set, data, timeout_ms);
    fn nvmlEventSetFree(set: Handle) = on_driver() |call| call.driver.event_sets.remove(set);
}

/// A wait holds up nobody else, so it begins and ends without the driver.
fn wait_unlocked(name: &str, work: impl FnOnce(&str) -> Answer) -> Answer {
    work(name)
}
