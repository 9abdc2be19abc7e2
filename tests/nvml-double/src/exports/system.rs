//! The driver as a whole: initialisation, versions, and how devices are found.

use std::ffi::{c_int, c_uint};

use crate::abi::{Answer, Handle, INVALID_ARGUMENT, LIBRARY_NOT_FOUND, NOT_FOUND};
use crate::driver::{Call, Key, initialise, is_present, on_driver, refusal, shut_down};
use crate::pointer::{Out, TextIn, TextOut};
use crate::scenario::PciAddress;

exports! {
    fn nvmlInit_v2() = initialise();
    fn nvmlInitWithFlags(_flags: c_uint) = initialise();
    fn nvmlShutdown() = shut_down();
    fn nvmlSystemGetDriverVersion(version: TextOut, length: c_uint) = on_driver() |call| {
        version.write(length, &call.scenario.driver.version)
    };
    fn nvmlSystemGetNVMLVersion(version: TextOut, length: c_uint) = on_driver() |call| {
        let driver = &call.scenario.driver;
        version.write(length, &driver.nvml.clone().unwrap_or_else(|| format!("13.{}", driver.version)))
    };
    fn nvmlSystemGetCudaDriverVersion_v2(version: Out<c_int>) = on_driver() |call| {
        version.set(cuda_version(call.scenario.driver.cuda.as_deref()).ok_or(LIBRARY_NOT_FOUND)?)
    };
    fn nvmlDeviceGetCount_v2(count: Out<c_uint>) = on_driver() |call| count.set(call.scenario.gpus.len() as c_uint);
    fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, device: Out<Handle>) = on_driver() |mut call| {
        device.check()?;
        by_index(&mut call, index as usize, device)
    };
    fn nvmlDeviceGetHandleByUUID(uuid: TextIn, device: Out<Handle>) = on_driver() |mut call| {
        device.check()?;
        by_uuid(&mut call, &uuid.read()?, device)
    };
    fn nvmlDeviceGetHandleByPciBusId_v2(address: TextIn, device: Out<Handle>) = on_driver() |mut call| {
        device.check()?;
        let address = PciAddress::parse(&address.read()?).ok_or(INVALID_ARGUMENT)?;
        let index = call.scenario.gpus.iter().position(|gpu| gpu.pci_address() == Some(address));
        by_index(&mut call, index.ok_or(NOT_FOUND)?, device)
    };
}

/// "13.0" as 13000.
fn cuda_version(version: Option<&str>) -> Option<c_int> {
    let (major, minor) = version?.split_once('.')?;
    let (major, minor): (u16, u16) = (major.parse().ok()?, minor.parse().ok()?);
    Some(c_int::from(major) * 1000 + c_int::from(minor) * 10)
}

fn by_index(call: &mut Call<'_>, index: usize, device: Out<Handle>) -> Answer {
    let gpu = call.scenario.gpus.get(index).ok_or(INVALID_ARGUMENT)?;
    if !is_present(gpu.state) {
        refusal(gpu.state)?;
    }
    device.set(call.driver.handle(Key { uuid: gpu.uuid.clone(), slot: None }))
}

/// Asks one GPU after the other, so that a lost one hides those behind it.
fn by_uuid(call: &mut Call<'_>, uuid: &str, device: Out<Handle>) -> Answer {
    for gpu in &call.scenario.gpus {
        if !is_present(gpu.state) {
            refusal(gpu.state)?;
        }
        let instance = gpu.instances().iter().find(|instance| instance.uuid == uuid);
        if gpu.uuid == uuid || instance.is_some() {
            let slot = instance.map(|instance| instance.slot);
            return device.set(call.driver.handle(Key { uuid: gpu.uuid.clone(), slot }));
        }
    }
    Err(NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuda_versions_are_thousands_and_tens() {
        assert_eq!(cuda_version(Some("13.0")), Some(13_000));
        assert_eq!(cuda_version(Some("12.9")), Some(12_090));
        assert_eq!(cuda_version(Some("13")), None);
        assert_eq!(cuda_version(None), None);
    }
}
