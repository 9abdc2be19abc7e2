//! Temperature, power, clocks, errors, traffic on the bus.

use std::ffi::c_uint;
use std::thread;
use std::time::Duration;

use crate::abi::{
    ARGUMENT_VERSION_MISMATCH, Answer, Handle, INVALID_ARGUMENT, NOT_SUPPORTED, Return, Temperature, ViolationTime,
    struct_version,
};
use crate::driver::{DeviceCall, on_device};
use crate::pointer::Out;

exports! {
    fn nvmlDeviceGetTemperature(device: Handle, sensor: c_uint, celsius: Out<c_uint>) = on_device(device) |call| {
        celsius.set(temperature(&call, sensor)?)
    };
    fn nvmlDeviceGetTemperatureV(device: Handle, it: Out<Temperature>) = on_device(device) |call| {
        let asked = it.get()?;
        if asked.version != struct_version::<Temperature>(1) {
            return Err(ARGUMENT_VERSION_MISMATCH);
        }
        it.set(Temperature { celsius: temperature(&call, asked.sensor)? as i32, ..asked })
    };
    fn nvmlDeviceGetFanSpeed_v2(device: Handle, fan: c_uint, percent: Out<c_uint>) = on_device(device) |call| {
        call.whole()?;
        let speed = call.gpu.fan.ok_or(NOT_SUPPORTED)?;
        if fan == 0 { percent.set(speed) } else { Err(INVALID_ARGUMENT) }
    };
    fn nvmlDeviceGetPowerUsage(device: Handle, milliwatts: Out<c_uint>) = on_device(device) |call| {
        milliwatts.set(power_mw(&call)?)
    };
    fn nvmlDeviceGetEnforcedPowerLimit(device: Handle, milliwatts: Out<c_uint>) = on_device(device) |call| {
        call.whole()?;
        milliwatts.set((call.gpu.power.limit_w * 1000.0).round() as c_uint)
    };
    fn nvmlDeviceGetTotalEnergyConsumption(device: Handle, millijoules: Out<u64>) = on_device(device) |call| {
        millijoules.set(energy_mj(&call)?)
    };
    fn nvmlDeviceGetClockInfo(device: Handle, kind: c_uint, mhz: Out<c_uint>) = on_device(device) |call| {
        let clocks = &call.gpu.clocks;
        mhz.set(match kind {
            0 => clocks.graphics,
            1 => clocks.sm,
            2 => clocks.memory,
            3 => clocks.video,
            _ => return Err(INVALID_ARGUMENT),
        })
    };
    fn nvmlDeviceGetCurrentClocksEventReasons(device: Handle, reasons: Out<u64>) = on_device(device) |call| {
        call.whole()?;
        reasons.set(call.gpu.clocks_event_reasons)
    };
    fn nvmlDeviceGetCurrentClocksThrottleReasons(device: Handle, reasons: Out<u64>) = on_device(device) |call| {
        call.whole()?;
        reasons.set(call.gpu.clocks_event_reasons)
    };
    fn nvmlDeviceGetViolationStatus(device: Handle, policy: c_uint, time: Out<ViolationTime>)
        = on_device(device) |call| {
            call.whole()?;
            time.set(ViolationTime { reference_us: call.now, violation_ns: violation_ns(&call, policy)? })
        };
    fn nvmlDeviceGetTotalEccErrors(device: Handle, kind: c_uint, counter: c_uint, errors: Out<u64>)
        = on_device(device) |call| {
            call.whole()?;
            let ecc = call.gpu.ecc.ok_or(NOT_SUPPORTED)?;
            errors.set(match (kind, counter) {
                (0, 0) => ecc.corrected,
                (1, 0) => ecc.uncorrected,
                (0, 1) => ecc.corrected_aggregate,
                (1, 1) => ecc.uncorrected_aggregate,
                _ => return Err(INVALID_ARGUMENT),
            })
        };
    fn nvmlDeviceGetRemappedRows(
        device: Handle, correctable: Out<c_uint>, uncorrectable: Out<c_uint>, pending: Out<c_uint>, failed: Out<c_uint>
    ) = on_device(device) |call| {
        call.whole()?;
        if !call.gpu.instances().is_empty() {
            return Err(NOT_SUPPORTED);
        }
        let rows = call.gpu.remapped_rows.ok_or(NOT_SUPPORTED)?;
        correctable.set(rows.correctable)?;
        uncorrectable.set(rows.uncorrectable)?;
        pending.set(c_uint::from(rows.pending))?;
        failed.set(c_uint::from(rows.failed))
    };
    fn nvmlDeviceGetPcieThroughput(device: Handle, direction: c_uint, kib_per_second: Out<c_uint>)
        = on_device_after_measuring(device) |call| {
            call.whole()?;
            let pcie = &call.gpu.pcie;
            let share = call.timeline()?.share(call.now.saturating_sub(MEASURED.as_micros() as u64), call.now);
            let full = match direction {
                0 => pcie.tx_kib_s,
                1 => pcie.rx_kib_s,
                _ => return Err(INVALID_ARGUMENT),
            };
            kib_per_second.set((f64::from(full) * share).round() as c_uint)
        };
}

/// nvml.h: the call counts bytes for so long before it returns.
const MEASURED: Duration = Duration::from_millis(20);

fn on_device_after_measuring(name: &str, device: Handle, work: impl FnOnce(DeviceCall<'_>) -> Answer) -> Answer {
    thread::sleep(MEASURED);
    on_device(name, device, work)
}

/// There is one sensor, that of the die.
fn temperature(call: &DeviceCall<'_>, sensor: c_uint) -> Result<u32, Return> {
    call.whole()?;
    if sensor != 0 {
        return Err(INVALID_ARGUMENT);
    }
    call.gpu.temperature_c.ok_or(NOT_SUPPORTED)
}

/// The mean of the last second, as from Ampere on.
pub(super) fn power_mw(call: &DeviceCall<'_>) -> Result<u32, Return> {
    call.whole()?;
    let power = &call.gpu.power;
    let share = call.timeline()?.share(call.now.saturating_sub(1_000_000), call.now);
    Ok(((power.idle_w + share * (power.peak_w - power.idle_w)) * 1000.0).round() as u32)
}

pub(super) fn energy_mj(call: &DeviceCall<'_>) -> Result<u64, Return> {
    call.whole()?;
    if !call.gpu.support.energy {
        return Err(NOT_SUPPORTED);
    }
    Ok(call.gpu.energy_mj + call.timeline()?.energy_mj(call.now) as u64)
}

fn violation_ns(call: &DeviceCall<'_>, policy: c_uint) -> Result<u64, Return> {
    let throttle = &call.gpu.throttle;
    Ok(match policy {
        0 => throttle.power_ns,
        1 => throttle.thermal_ns,
        2 => throttle.sync_boost_ns,
        3 => throttle.board_limit_ns,
        4 => throttle.low_utilization_ns,
        5 => throttle.reliability_ns,
        10 => throttle.application_clocks_ns,
        11 => throttle.base_clocks_ns,
        _ => return Err(INVALID_ARGUMENT),
    })
}
