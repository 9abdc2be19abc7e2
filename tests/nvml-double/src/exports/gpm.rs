//! GPU performance monitoring: means between two samples, for Hopper and later.

use std::ffi::c_uint;

use crate::abi::{
    ARGUMENT_VERSION_MISMATCH, GpmMetric, GpmMetricsGet, GpmSupport, Handle, INVALID_ARGUMENT, NOT_FOUND,
    NOT_SUPPORTED, Return, SUCCESS,
};
use crate::driver::{DeviceCall, on_device, on_driver};
use crate::gpm::{GpmSample, Reading, metric};
use crate::pointer::Out;

exports! {
    fn nvmlGpmQueryDeviceSupport(device: Handle, support: Out<GpmSupport>) = on_device(device) |call| {
        let asked = support.get()?;
        if asked.version != 1 {
            return Err(ARGUMENT_VERSION_MISMATCH);
        }
        support.set(GpmSupport { supported: c_uint::from(call.gpu.support.gpm), ..asked })
    };
    fn nvmlGpmSampleAlloc(sample: Out<Handle>) = on_driver() |call| {
        sample.check()?;
        sample.set(call.driver.gpm_samples.add(GpmSample::default())?)
    };
    fn nvmlGpmSampleGet(device: Handle, sample: Handle) = on_device(device) |call| {
        call.permitted()?;
        let uuid = call.instance.map_or(&call.gpu.uuid, |instance| &instance.uuid);
        let reading = read(&call, uuid)?;
        call.driver.gpm_samples.get(sample)?.0 = Some(reading);
        Ok(())
    };
    fn nvmlGpmMigSampleGet(device: Handle, gpu_instance: c_uint, sample: Handle) = on_device(device) |call| {
        call.whole()?;
        let instance = call.gpu.instances().iter().find(|instance| instance.gi == gpu_instance);
        let reading = read(&call, &instance.ok_or(NOT_FOUND)?.uuid)?;
        call.driver.gpm_samples.get(sample)?.0 = Some(reading);
        Ok(())
    };
    fn nvmlGpmMetricsGet(get: Out<GpmMetricsGet>) = on_driver() |call| {
        let asked = get.get()?;
        if asked.version != 1 {
            return Err(ARGUMENT_VERSION_MISMATCH);
        }
        let mut reading = |sample| call.driver.gpm_samples.get(sample)?.0.clone().ok_or(INVALID_ARGUMENT);
        let (before, after) = (reading(asked.before)?, reading(asked.after)?);
        let share = after.share_since(&before)?;
        let metrics = get.tail::<GpmMetric>();
        for index in 0..asked.count as usize {
            let id = metrics.at(index).get()?.id;
            let null = std::ptr::null();
            metrics.at(index).set(match metric(id, share, &after) {
                Some(it) => GpmMetric {
                    id,
                    answer: SUCCESS,
                    value: it.value,
                    short_name: it.name.as_ptr(),
                    long_name: it.name.as_ptr(),
                    unit: it.unit.as_ptr(),
                },
                None => {
                    let none = f64::NAN;
                    GpmMetric { id, answer: NOT_SUPPORTED, value: none, short_name: null, long_name: null, unit: null }
                }
            })?;
        }
        Ok(())
    };
    fn nvmlGpmSampleFree(sample: Handle) = on_driver() |call| call.driver.gpm_samples.remove(sample);
}

/// The counters of a GPU or instance now.
fn read(call: &DeviceCall<'_>, uuid: &str) -> Result<Reading, Return> {
    if !call.gpu.support.gpm {
        return Err(NOT_SUPPORTED);
    }
    Ok(Reading::new(uuid, call.now, call.driver.timeline(uuid)?.busy_seconds(call.now), call.gpu))
}
