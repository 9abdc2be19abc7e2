//! Multi-instance GPU.

use std::ffi::c_uint;

use crate::abi::{Attributes, Handle, INVALID_ARGUMENT, NOT_FOUND, NOT_SUPPORTED};
use crate::driver::{Key, on_device, on_identity};
use crate::pointer::Out;

exports! {
    fn nvmlDeviceGetMigMode(device: Handle, current: Out<c_uint>, pending: Out<c_uint>) = on_device(device) |call| {
        call.whole()?;
        let enabled = c_uint::from(call.gpu.mig.as_ref().ok_or(NOT_SUPPORTED)?.enabled);
        current.set(enabled)?;
        pending.set(enabled)
    };
    fn nvmlDeviceGetMaxMigDeviceCount(device: Handle, count: Out<c_uint>) = on_device(device) |call| {
        call.whole()?;
        count.set(call.gpu.mig.as_ref().filter(|mig| mig.enabled).map_or(0, |mig| mig.slots))
    };
    fn nvmlDeviceGetMigDeviceHandleByIndex(device: Handle, slot: c_uint, instance: Out<Handle>)
        = on_device(device) |call| {
            call.whole()?;
            let mig = call.gpu.mig.as_ref().filter(|mig| mig.enabled).ok_or(NOT_SUPPORTED)?;
            if slot >= mig.slots {
                return Err(INVALID_ARGUMENT);
            }
            if !mig.instances.iter().any(|instance| instance.slot == slot) {
                return Err(NOT_FOUND);
            }
            instance.set(call.driver.handle(Key { uuid: call.gpu.uuid.clone(), slot: Some(slot) }))
        };
    fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance: Handle, device: Out<Handle>)
        = on_identity(instance) |call| {
            if call.instance.is_none() {
                return Err(INVALID_ARGUMENT);
            }
            device.set(call.driver.handle(Key { uuid: call.gpu.uuid.clone(), slot: None }))
        };
    fn nvmlDeviceIsMigDeviceHandle(device: Handle, is_instance: Out<c_uint>) = on_identity(device) |call| {
        is_instance.set(c_uint::from(call.instance.is_some()))
    };
    fn nvmlDeviceGetGpuInstanceId(device: Handle, id: Out<c_uint>) = on_identity(device) |call| {
        id.set(call.instance.ok_or(NOT_SUPPORTED)?.gi)
    };
    fn nvmlDeviceGetComputeInstanceId(device: Handle, id: Out<c_uint>) = on_identity(device) |call| {
        id.set(call.instance.ok_or(NOT_SUPPORTED)?.ci)
    };
    fn nvmlDeviceGetAttributes_v2(device: Handle, attributes: Out<Attributes>) = on_device(device) |call| {
        let instance = call.instance.ok_or(NOT_SUPPORTED)?;
        attributes.set(Attributes {
            multiprocessors: instance.slices.saturating_mul(PROCESSORS_OF_A_SLICE),
            shared_copy_engines: instance.slices,
            shared_decoders: instance.slices,
            shared_encoders: 0,
            shared_jpeg: instance.slices,
            shared_optical_flow: 0,
            gpu_instance_slices: instance.slices,
            compute_instance_slices: instance.slices,
            memory_mib: instance.memory.total >> 20,
        })
    };
}

/// Of an H100.
const PROCESSORS_OF_A_SLICE: c_uint = 16;
