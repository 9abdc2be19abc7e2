//! Who a device is.

use std::ffi::{c_char, c_uint};

use crate::abi::{Handle, NOT_SUPPORTED, PciInfo, UNKNOWN};
use crate::driver::on_identity;
use crate::pointer::{Out, TextOut};

exports! {
    fn nvmlDeviceGetUUID(device: Handle, uuid: TextOut, length: c_uint) = on_identity(device) |call| {
        uuid.write(length, call.instance.map_or(&call.gpu.uuid, |instance| &instance.uuid))
    };
    fn nvmlDeviceGetName(device: Handle, name: TextOut, length: c_uint) = on_identity(device) |call| {
        match call.instance {
            None => name.write(length, &call.gpu.name),
            Some(instance) => {
                let profile = format!("MIG {}g.{}gb", instance.slices, instance.memory.total >> 30);
                name.write(length, &format!("{} {profile}", call.gpu.name))
            }
        }
    };
    fn nvmlDeviceGetPciInfo_v3(device: Handle, info: Out<PciInfo>) = on_identity(device) |call| {
        let address = call.gpu.pci_address().ok_or(UNKNOWN)?;
        let rest = format!("{:02X}:{:02X}.0", address.bus, address.device);
        info.set(PciInfo {
            bus_id_legacy: text(&format!("{:04X}:{rest}", address.domain)),
            domain: address.domain,
            bus: address.bus,
            device: address.device,
            device_id: call.gpu.pci_device_id,
            subsystem_id: 0,
            bus_id: text(&format!("{:08X}:{rest}", address.domain)),
        })
    };
    fn nvmlDeviceGetMinorNumber(device: Handle, minor: Out<c_uint>) = on_identity(device) |call| {
        minor.set(call.gpu.minor.unwrap_or(call.index as c_uint))
    };
    fn nvmlDeviceGetSerial(device: Handle, serial: TextOut, length: c_uint) = on_identity(device) |call| {
        call.whole()?;
        serial.write(length, call.gpu.serial.as_deref().ok_or(NOT_SUPPORTED)?)
    };
}

/// `text` with zeros behind it, cut so that there is at least one.
fn text<const N: usize>(text: &str) -> [c_char; N] {
    let mut array = [0; N];
    for (place, byte) in array.iter_mut().take(N - 1).zip(text.bytes()) {
        *place = byte as c_char;
    }
    array
}
