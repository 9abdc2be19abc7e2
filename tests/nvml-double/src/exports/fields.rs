//! Values by field id. Driver 580.82 gave the ids from 251 to 273 other meanings.

use std::ffi::{c_int, c_uint};

use crate::abi::{
    FieldValue, Handle, INVALID_ARGUMENT, NOT_SUPPORTED, Return, TYPE_DOUBLE, TYPE_UNSIGNED_INT,
    TYPE_UNSIGNED_LONG_LONG, Value,
};
use crate::driver::{DeviceCall, code, on_device};
use crate::pointer::Out;

exports! {
    fn nvmlDeviceGetFieldValues(device: Handle, count: c_int, values: Out<FieldValue>) = on_device(device) |call| {
        values.check()?;
        call.whole()?;
        for index in 0..usize::try_from(count).map_err(|_| INVALID_ARGUMENT)? {
            let asked = values.at(index).get()?;
            let found = field(&call, asked.field, asked.scope);
            let (value_type, value) = found.unwrap_or((TYPE_UNSIGNED_INT, Value::NONE));
            let answer = code(found.map(|_| ()));
            values.at(index).set(FieldValue {
                timestamp: call.now as i64, latency: 1, value_type, answer, value, ..asked
            })?;
        }
        Ok(())
    };
}

/// The scope that means all links.
const ALL_LINKS: c_uint = c_uint::MAX;

fn field(call: &DeviceCall<'_>, id: c_uint, scope: c_uint) -> Result<(c_uint, Value), Return> {
    let gpu = call.gpu;
    if gpu.support.unsupported_fields.contains(&id) {
        return Err(NOT_SUPPORTED);
    }
    if let Some(value) = gpu.fields.get(&id.to_string()) {
        return long(*value);
    }
    let (throttle, ecc, rows) = (&gpu.throttle, gpu.ecc.ok_or(NOT_SUPPORTED), gpu.remapped_rows.ok_or(NOT_SUPPORTED));
    match meaning(&call.scenario.driver.version, id) {
        1 => int(u32::from(gpu.ecc.is_some())),
        3 => long(ecc?.corrected),
        4 => long(ecc?.uncorrected),
        5 => long(ecc?.corrected_aggregate),
        6 => long(ecc?.uncorrected_aggregate),
        74 => long(throttle.power_ns),
        75 => long(throttle.thermal_ns),
        76 => long(throttle.sync_boost_ns),
        77 => long(throttle.board_limit_ns),
        78 => long(throttle.low_utilization_ns),
        79 => long(throttle.reliability_ns),
        80 => long(throttle.application_clocks_ns),
        81 => long(throttle.base_clocks_ns),
        82 => int(gpu.memory_temperature_c.ok_or(NOT_SUPPORTED)?),
        83 => long(super::health::energy_mj(call)?),
        91 => int(gpu.nvlink.links),
        94 => long(gpu.pcie.replays),
        id @ 138..=141 => long(link_kib(call, id, scope)?),
        142 => int(rows?.correctable),
        143 => int(rows?.uncorrectable),
        144 => int(u32::from(rows?.pending)),
        145 => int(u32::from(rows?.failed)),
        185 | 186 => int(super::health::power_mw(call)?),
        230 => int(gpu.recovery_action),
        251 => long(throttle.software_thermal_ns),
        252 => long(throttle.hardware_thermal_ns),
        253 => long(throttle.power_brake_ns),
        // Power smoothing: what a client gets that counts by the other numbers. Plausible, and wrong for it.
        id @ 256..=273 => int(id),
        308 => Ok((TYPE_DOUBLE, Value::double(f64::from(gpu.temperature_c.ok_or(NOT_SUPPORTED)?)))),
        _ => Err(NOT_SUPPORTED),
    }
}

fn int(value: u32) -> Result<(c_uint, Value), Return> {
    Ok((TYPE_UNSIGNED_INT, Value::integer(u64::from(value))))
}

fn long(value: u64) -> Result<(c_uint, Value), Return> {
    Ok((TYPE_UNSIGNED_LONG_LONG, Value::integer(value)))
}

/// The id that a driver before 580.82 has for the same field.
fn meaning(driver: &str, id: c_uint) -> c_uint {
    let mut parts = driver.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    match id {
        251..=268 if version >= (580, 82) => id + 5,
        269..=273 if version >= (580, 82) => id - 18,
        _ => id,
    }
}

/// What went over a link, or over all: 138 data sent, 139 data received, 140 and 141 the same with overhead.
fn link_kib(call: &DeviceCall<'_>, id: c_uint, scope: c_uint) -> Result<u64, Return> {
    let nvlink = &call.gpu.nvlink;
    if nvlink.links == 0 {
        return Err(NOT_SUPPORTED);
    }
    let busy = call.timeline()?.busy_seconds(call.now);
    let of = |link: u32| {
        let sent = (nvlink.kib + (busy * nvlink.kib_s as f64) as u64) * (u64::from(link) + 1);
        match id {
            138 => sent,
            139 => sent / 2,
            140 => sent + sent / 10,
            _ => sent / 2 + sent / 20,
        }
    };
    match scope {
        ALL_LINKS => Ok((0..nvlink.links).map(of).sum()),
        link if link < nvlink.links => Ok(of(link)),
        _ => Err(INVALID_ARGUMENT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_changed_their_meaning_with_580_82() {
        for old in ["535.183.01", "575.51.03", "580.65.06"] {
            assert!((0..400).all(|id| meaning(old, id) == id), "{old}");
        }
        for new in ["580.82.07", "580.105.08", "590.10"] {
            assert_eq!(meaning(new, 269), 251, "{new}: software thermal slowdown");
            assert_eq!(meaning(new, 273), 255, "{new}");
            assert_eq!(meaning(new, 251), 256, "{new}: power smoothing");
            assert_eq!(meaning(new, 268), 273, "{new}");
            assert_eq!((meaning(new, 250), meaning(new, 274)), (250, 274), "{new}");
        }
    }
}
