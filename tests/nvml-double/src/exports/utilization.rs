//! How busy a device is and how full its memory: the last sample, the rings of samples, both kinds of memory.

use std::ffi::c_uint;

use crate::abi::{
    FUNCTION_NOT_FOUND, Handle, INVALID_ARGUMENT, Memory, MemoryV2, NOT_FOUND, NOT_SUPPORTED, Return, Sample,
    TYPE_UNSIGNED_INT, Utilization, Value, struct_version,
};
use crate::driver::{DeviceCall, on_device};
use crate::pointer::Out;
use crate::ring;
use crate::timeline::Micros;

exports! {
    fn nvmlDeviceGetUtilizationRates(device: Handle, utilization: Out<Utilization>) = on_device(device) |call| {
        measures_utilization(&call)?;
        let period = call.gpu.ring.period_us;
        let to = call.now / period * period;
        let [gpu, memory] = [GPU, MEMORY].map(|kind| value(&call, kind, to.saturating_sub(period), to));
        utilization.set(Utilization { gpu: gpu?, memory: memory? })
    };
    fn nvmlDeviceGetSamples(
        device: Handle, kind: c_uint, last_seen: u64, value_type: Out<c_uint>, count: Out<c_uint>, samples: Out<Sample>
    ) = on_device(device) |call| {
        call.whole()?;
        if matches!(kind, GPU..=DECODER) {
            measures_utilization(&call)?;
        }
        let ring = &call.gpu.ring;
        value(&call, kind, 0, 1)?;
        let room = count.get()? as usize;
        value_type.set(TYPE_UNSIGNED_INT)?;
        if samples.is_null() {
            return count.set(ring.size as c_uint);
        }
        if room == 0 {
            return Err(INVALID_ARGUMENT);
        }
        let timeline = call.timeline()?;
        let busy = |from, to| timeline.share(from, to) > 0.0;
        let of = |from, to| value(&call, kind, from, to).unwrap_or(0);
        let mut found = ring::samples(ring, call.now, last_seen, of, busy);
        if found.is_empty() {
            return Err(NOT_FOUND);
        }
        found.truncate(room);
        count.set(found.len() as c_uint)?;
        let sample = |(timestamp, value)| Sample { timestamp, value: Value::integer(u64::from(value)) };
        samples.fill(found.into_iter().map(sample))
    };
    fn nvmlDeviceGetMemoryInfo(device: Handle, memory: Out<Memory>) = on_device(device) |call| {
        call.permitted()?;
        let it = call.instance.map_or(&call.gpu.memory, |instance| &instance.memory);
        let used = it.used + it.reserved;
        memory.set(Memory { total: it.total, free: it.total - used, used })
    };
    fn nvmlDeviceGetMemoryInfo_v2(device: Handle, memory: Out<MemoryV2>) = on_device(device) |call| {
        let version = memory.get()?.version;
        if !call.gpu.support.memory_v2 || version != struct_version::<MemoryV2>(2) {
            return Err(FUNCTION_NOT_FOUND);
        }
        call.permitted()?;
        let it = call.instance.map_or(&call.gpu.memory, |instance| &instance.memory);
        let free = it.total - it.used - it.reserved;
        memory.set(MemoryV2 { version, total: it.total, reserved: it.reserved, free, used: it.used })
    };
    fn nvmlDeviceGetEncoderUtilization(device: Handle, percent: Out<c_uint>, period_us: Out<c_uint>)
        = on_device(device) |call| {
            measures_utilization(&call)?;
            percent.set(call.gpu.encoder)?;
            period_us.set(call.gpu.ring.period_us as c_uint)
        };
    fn nvmlDeviceGetDecoderUtilization(device: Handle, percent: Out<c_uint>, period_us: Out<c_uint>)
        = on_device(device) |call| {
            measures_utilization(&call)?;
            percent.set(call.gpu.decoder)?;
            period_us.set(call.gpu.ring.period_us as c_uint)
        };
}

// nvmlSamplingType_t.
const POWER: c_uint = 0;
const GPU: c_uint = 1;
const MEMORY: c_uint = 2;
const ENCODER: c_uint = 3;
const DECODER: c_uint = 4;
const PROCESSOR_CLOCK: c_uint = 5;
const MEMORY_CLOCK: c_uint = 6;
const MODULE_POWER: c_uint = 7;
const OPTICAL_FLOW: c_uint = 9;

/// Under MIG nobody counts it, neither by instance nor for the whole.
fn measures_utilization(call: &DeviceCall<'_>) -> Result<(), Return> {
    call.without_mig()?;
    if call.gpu.support.utilization { Ok(()) } else { Err(NOT_SUPPORTED) }
}

/// The mean of one kind of sample over an interval.
fn value(call: &DeviceCall<'_>, kind: c_uint, from: Micros, to: Micros) -> Result<u32, Return> {
    let gpu = call.gpu;
    let share = call.timeline()?.share(from, to);
    match kind {
        POWER => Ok(((gpu.power.idle_w + share * (gpu.power.peak_w - gpu.power.idle_w)) * 1000.0).round() as u32),
        GPU => Ok((share * 100.0).round() as u32),
        MEMORY => Ok((share * gpu.memory_busy * 100.0).round() as u32),
        ENCODER => Ok(gpu.encoder),
        DECODER => Ok(gpu.decoder),
        PROCESSOR_CLOCK => Ok(gpu.clocks.sm),
        MEMORY_CLOCK => Ok(gpu.clocks.memory),
        MODULE_POWER..=OPTICAL_FLOW => Err(NOT_SUPPORTED),
        _ => Err(INVALID_ARGUMENT),
    }
}
