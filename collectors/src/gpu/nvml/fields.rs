//! What the driver keeps by number, in one call for all of it, and the two figures that older drivers have as functions
//! only.
//!
//! Raw, since the wrapper's form of the call translates numbers, and has no scope.

use std::mem;

use nvml_wrapper_sys::bindings as raw;
use raw::field_id::*;

use super::super::driver::{Code, Limiter, Reading, Vital};
use super::device::Gpu;
use super::{FUNCTION_NOT_FOUND, NOT_SUPPORTED, checked, found};

/// More than there are questions.
const MOST_FIELDS: usize = 32;
const DIE: raw::nvmlTemperatureSensors_t = raw::nvmlTemperatureSensors_enum_NVML_TEMPERATURE_GPU;

/// The field's number in nvml.h 13.5. All are below 251, from where on driver 580.82 changed their meaning.
fn field(vital: Vital) -> Option<u32> {
    Some(match vital {
        Vital::Power | Vital::Temperature => return None,
        Vital::Energy => NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
        Vital::MemoryTemperature => NVML_FI_DEV_MEMORY_TEMP,
        Vital::Throttled(Limiter::Power) => NVML_FI_DEV_PERF_POLICY_POWER,
        Vital::Throttled(Limiter::Thermal) => NVML_FI_DEV_PERF_POLICY_THERMAL,
        Vital::Throttled(Limiter::SyncBoost) => NVML_FI_DEV_PERF_POLICY_SYNC_BOOST,
        Vital::Throttled(Limiter::BoardLimit) => NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT,
        Vital::Throttled(Limiter::LowUtilization) => NVML_FI_DEV_PERF_POLICY_LOW_UTILIZATION,
        Vital::Throttled(Limiter::Reliability) => NVML_FI_DEV_PERF_POLICY_RELIABILITY,
        Vital::Throttled(Limiter::ApplicationClocks) => NVML_FI_DEV_PERF_POLICY_TOTAL_APP_CLOCKS,
        Vital::Throttled(Limiter::BaseClocks) => NVML_FI_DEV_PERF_POLICY_TOTAL_BASE_CLOCKS,
        Vital::EccCorrected => NVML_FI_DEV_ECC_SBE_AGG_TOTAL,
        Vital::EccUncorrected => NVML_FI_DEV_ECC_DBE_AGG_TOTAL,
        Vital::RowsCorrectable => NVML_FI_DEV_REMAPPED_COR,
        Vital::RowsUncorrectable => NVML_FI_DEV_REMAPPED_UNC,
        Vital::RowsPending => NVML_FI_DEV_REMAPPED_PENDING,
        Vital::RowsFailed => NVML_FI_DEV_REMAPPED_FAILURE,
        Vital::RecoveryAction => NVML_FI_DEV_GET_GPU_RECOVERY_ACTION,
    })
}

impl Gpu {
    pub(super) fn read(&self, readings: &mut [Reading]) {
        self.read_fields(readings);
        for reading in readings {
            match reading.vital {
                Vital::Power => reading.answer = self.power(),
                Vital::Temperature => reading.answer = self.temperature(),
                _ => {}
            }
        }
    }

    /// Answers are found by their place: the number in an answer need not be that of the question.
    fn read_fields(&self, readings: &mut [Reading]) {
        // SAFETY: a struct of plain numbers, for which zero is a value; scope 0 is what these fields want.
        let mut fields: [raw::nvmlFieldValue_t; MOST_FIELDS] = unsafe { mem::zeroed() };
        let asked = || readings.iter().filter_map(|reading| field(reading.vital));
        let count = asked().zip(&mut fields).map(|(id, field)| field.fieldId = id).count();
        let answered = if count == 0 { Ok(()) } else { self.ask_fields(&mut fields[..count]) };
        let questions = readings.iter_mut().filter(|reading| field(reading.vital).is_some());
        for (reading, field) in questions.zip(&fields[..count]) {
            reading.answer = answered.and_then(|()| checked(field.nvmlReturn)).and_then(|()| {
                // What is no whole number is none of these fields.
                whole(field.valueType, &field.value).ok_or(NOT_SUPPORTED)
            });
        }
    }

    fn ask_fields(&self, fields: &mut [raw::nvmlFieldValue_t]) -> Result<(), Code> {
        let ask = found(&self.library.raw().nvmlDeviceGetFieldValues)?;
        // SAFETY: the handle is this library's, and there are as many fields as said.
        checked(unsafe { ask(self.handle, fields.len() as i32, fields.as_mut_ptr()) })
    }

    fn power(&self) -> Result<u64, Code> {
        let ask = found(&self.library.raw().nvmlDeviceGetPowerUsage)?;
        let mut milliwatts = 0;
        // SAFETY: the handle is this library's, and the number is what the function writes.
        checked(unsafe { ask(self.handle, &raw mut milliwatts) })?;
        Ok(u64::from(milliwatts))
    }

    /// By the present function, else by the one that it took the place of.
    fn temperature(&self) -> Result<u64, Code> {
        match self.temperature_v() {
            Err(NOT_SUPPORTED | FUNCTION_NOT_FOUND | Code::VERSION_MISMATCH) => self.temperature_v1(),
            other => other,
        }
    }

    fn temperature_v(&self) -> Result<u64, Code> {
        let ask = found(&self.library.raw().nvmlDeviceGetTemperatureV)?;
        let version = size_of::<raw::nvmlTemperature_t>() as u32 | 1 << 24;
        let mut question = raw::nvmlTemperature_t { version, sensorType: DIE, temperature: 0 };
        // SAFETY: the handle is this library's, and the struct is of the version that it says.
        checked(unsafe { ask(self.handle, &raw mut question) })?;
        u64::try_from(question.temperature).map_err(|_| NOT_SUPPORTED)
    }

    fn temperature_v1(&self) -> Result<u64, Code> {
        let ask = found(&self.library.raw().nvmlDeviceGetTemperature)?;
        let mut celsius = 0;
        // SAFETY: the handle is this library's, and the number is what the function writes.
        checked(unsafe { ask(self.handle, DIE, &raw mut celsius) })?;
        Ok(u64::from(celsius))
    }
}

/// A value as a whole number, if it is one that is not negative.
#[allow(clippy::unnecessary_cast, reason = "an unsigned long has 32 bits on Windows")]
pub(super) fn whole(form: raw::nvmlValueType_t, value: &raw::nvmlValue_t) -> Option<u64> {
    // SAFETY: every field is made of plain bits, and `form` says which one was written.
    unsafe {
        match form {
            raw::nvmlValueType_enum_NVML_VALUE_TYPE_DOUBLE => {
                (0.0..u64::MAX as f64).contains(&value.dVal).then(|| value.dVal.round() as u64)
            }
            raw::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT => Some(u64::from(value.uiVal)),
            raw::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG => Some(value.ulVal as u64),
            raw::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG => Some(value.ullVal),
            raw::nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_LONG_LONG => u64::try_from(value.sllVal).ok(),
            raw::nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_INT => u64::try_from(value.siVal).ok(),
            raw::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_SHORT => Some(u64::from(value.usVal)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_beyond_all_whole_numbers_is_none() {
        for (double, number) in [(36.6, Some(37)), (1e19, Some(10_000_000_000_000_000_000)), (-1.0, None)] {
            assert_eq!(whole(0, &raw::nvmlValue_t { dVal: double }), number, "{double}");
        }
        for garbage in [1e20, f64::INFINITY, f64::NAN, f64::MAX] {
            assert_eq!(whole(0, &raw::nvmlValue_t { dVal: garbage }), None, "{garbage}");
        }
    }

    #[test]
    fn the_numbers_of_nvml_h() {
        for (vital, number) in [
            (Vital::EccCorrected, 5),
            (Vital::EccUncorrected, 6),
            (Vital::Throttled(Limiter::Power), 74),
            (Vital::Throttled(Limiter::Thermal), 75),
            (Vital::Throttled(Limiter::SyncBoost), 76),
            (Vital::Throttled(Limiter::BoardLimit), 77),
            (Vital::Throttled(Limiter::LowUtilization), 78),
            (Vital::Throttled(Limiter::Reliability), 79),
            (Vital::Throttled(Limiter::ApplicationClocks), 80),
            (Vital::Throttled(Limiter::BaseClocks), 81),
            (Vital::MemoryTemperature, 82),
            (Vital::Energy, 83),
            (Vital::RowsCorrectable, 142),
            (Vital::RowsUncorrectable, 143),
            (Vital::RowsPending, 144),
            (Vital::RowsFailed, 145),
            (Vital::RecoveryAction, 230),
        ] {
            assert_eq!(field(vital), Some(number), "{vital:?}");
        }
    }
}
