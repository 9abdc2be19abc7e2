//! What crosses the C interface: return codes, constants and structs, as nvml.h has them (compared with 13.5).
//! Sizes and offsets are checked when this is compiled: a struct that is off by a field corrupts its caller's memory.

use std::ffi::{c_char, c_uint};
use std::mem::{offset_of, size_of};

/// nvmlReturn_t.
pub(crate) type Return = c_uint;
/// What a function of NVML answers: nothing, as its results go out through pointers, or the code of its refusal.
pub(crate) type Answer = Result<(), Return>;

pub(crate) const SUCCESS: Return = 0;
pub(crate) const UNINITIALIZED: Return = 1;
pub(crate) const INVALID_ARGUMENT: Return = 2;
pub(crate) const NOT_SUPPORTED: Return = 3;
pub(crate) const NO_PERMISSION: Return = 4;
pub(crate) const NOT_FOUND: Return = 6;
pub(crate) const INSUFFICIENT_SIZE: Return = 7;
pub(crate) const TIMEOUT: Return = 10;
pub(crate) const LIBRARY_NOT_FOUND: Return = 12;
pub(crate) const FUNCTION_NOT_FOUND: Return = 13;
pub(crate) const GPU_IS_LOST: Return = 15;
pub(crate) const RESET_REQUIRED: Return = 16;
pub(crate) const LIB_RM_VERSION_MISMATCH: Return = 18;
pub(crate) const MEMORY: Return = 20;
pub(crate) const ARGUMENT_VERSION_MISMATCH: Return = 25;
pub(crate) const UNKNOWN: Return = 999;

/// nvmlValueType_t, the ones that are answered.
pub(crate) const TYPE_DOUBLE: c_uint = 0;
pub(crate) const TYPE_UNSIGNED_INT: c_uint = 1;
pub(crate) const TYPE_UNSIGNED_LONG_LONG: c_uint = 3;

/// "None" of a GPU or compute instance.
pub(crate) const NO_INSTANCE: c_uint = c_uint::MAX;
/// NVML_VALUE_NOT_AVAILABLE, as a count of bytes.
pub(crate) const NOT_AVAILABLE: u64 = u64::MAX;

/// NVML_STRUCT_VERSION: the size of the struct with its version above.
pub(crate) const fn struct_version<T>(version: u32) -> c_uint {
    size_of::<T>() as c_uint | version << 24
}

/// A device, event set or GPM sample. The caller sees a pointer, but it is a number that is looked up: a wrong one is
/// refused instead of followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Handle(pub(crate) usize);

/// nvmlUtilization_t.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Utilization {
    pub gpu: c_uint,
    pub memory: c_uint,
}

/// nvmlMemory_t: what is reserved counts as used.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Memory {
    pub total: u64,
    pub free: u64,
    pub used: u64,
}

/// nvmlMemory_v2_t: what is reserved stands apart.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct MemoryV2 {
    pub version: c_uint,
    pub total: u64,
    pub reserved: u64,
    pub free: u64,
    pub used: u64,
}

/// nvmlValue_t: a union, filled from its low end, which on the little-endian machines that GPUs are put into is where
/// each of its members begins.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Value(u64);

impl Value {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn integer(value: u64) -> Self {
        Self(value)
    }

    pub(crate) fn double(value: f64) -> Self {
        Self(value.to_bits())
    }
}

/// nvmlSample_t.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Sample {
    pub timestamp: u64,
    pub value: Value,
}

/// nvmlProcessInfo_v2_t, which the calls named `_v3` fill.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ProcessInfo {
    pub pid: c_uint,
    pub used_gpu_memory: u64,
    pub gpu_instance: c_uint,
    pub compute_instance: c_uint,
}

/// nvmlProcessUtilizationSample_t.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ProcessUtilizationSample {
    pub pid: c_uint,
    pub timestamp: u64,
    pub sm: c_uint,
    pub memory: c_uint,
    pub encoder: c_uint,
    pub decoder: c_uint,
}

/// nvmlProcessUtilizationInfo_v1_t.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ProcessUtilizationInfo {
    pub timestamp: u64,
    pub pid: c_uint,
    pub sm: c_uint,
    pub memory: c_uint,
    pub encoder: c_uint,
    pub decoder: c_uint,
    pub jpeg: c_uint,
    pub optical_flow: c_uint,
}

/// nvmlProcessesUtilizationInfo_v1_t.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ProcessesUtilizationInfo {
    pub version: c_uint,
    pub count: c_uint,
    pub last_seen: u64,
    pub processes: crate::pointer::Out<ProcessUtilizationInfo>,
}

/// nvmlFieldValue_t.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct FieldValue {
    pub field: c_uint,
    pub scope: c_uint,
    pub timestamp: i64,
    pub latency: i64,
    pub value_type: c_uint,
    pub answer: Return,
    pub value: Value,
}

/// nvmlEventData_t.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct EventData {
    pub device: Handle,
    pub event_type: u64,
    pub event_data: u64,
    pub gpu_instance: c_uint,
    pub compute_instance: c_uint,
}

/// nvmlPciInfo_t.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct PciInfo {
    pub bus_id_legacy: [c_char; 16],
    pub domain: c_uint,
    pub bus: c_uint,
    pub device: c_uint,
    pub device_id: c_uint,
    pub subsystem_id: c_uint,
    pub bus_id: [c_char; 32],
}

/// nvmlTemperature_v1_t.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Temperature {
    pub version: c_uint,
    pub sensor: c_uint,
    pub celsius: i32,
}

/// nvmlViolationTime_t.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ViolationTime {
    pub reference_us: u64,
    pub violation_ns: u64,
}

/// nvmlDeviceAttributes_t.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Attributes {
    pub multiprocessors: c_uint,
    pub shared_copy_engines: c_uint,
    pub shared_decoders: c_uint,
    pub shared_encoders: c_uint,
    pub shared_jpeg: c_uint,
    pub shared_optical_flow: c_uint,
    pub gpu_instance_slices: c_uint,
    pub compute_instance_slices: c_uint,
    pub memory_mib: u64,
}

/// nvmlGpmSupport_t.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct GpmSupport {
    pub version: c_uint,
    pub supported: c_uint,
}

/// nvmlGpmMetric_t with its metricInfo flattened.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct GpmMetric {
    pub id: c_uint,
    pub answer: Return,
    pub value: f64,
    pub short_name: *const c_char,
    pub long_name: *const c_char,
    pub unit: *const c_char,
}

/// The head of nvmlGpmMetricsGet_t. The metrics follow it, as many as its `count`: the header's array grew from 98 to
/// 210 and 477 entries under the same version, so its length is nobody's promise.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct GpmMetricsGet {
    pub version: c_uint,
    pub count: c_uint,
    pub before: Handle,
    pub after: Handle,
}

const _: () = {
    assert!(cfg!(target_endian = "little"));
    assert!(size_of::<Handle>() == 8);
    assert!(size_of::<Utilization>() == 8);
    assert!(size_of::<Memory>() == 24);
    assert!(size_of::<MemoryV2>() == 40);
    assert!(struct_version::<MemoryV2>(2) == 0x0200_0028);
    assert!(size_of::<Value>() == 8);
    assert!(size_of::<Sample>() == 16);
    assert!(size_of::<ProcessInfo>() == 24);
    assert!(size_of::<ProcessUtilizationSample>() == 32);
    assert!(size_of::<ProcessUtilizationInfo>() == 40);
    assert!(size_of::<ProcessesUtilizationInfo>() == 24);
    assert!(size_of::<FieldValue>() == 40);
    assert!(offset_of!(FieldValue, scope) == 4);
    assert!(offset_of!(FieldValue, timestamp) == 8);
    assert!(offset_of!(FieldValue, latency) == 16);
    assert!(offset_of!(FieldValue, value_type) == 24);
    assert!(offset_of!(FieldValue, answer) == 28);
    assert!(offset_of!(FieldValue, value) == 32);
    assert!(size_of::<EventData>() == 32);
    assert!(size_of::<PciInfo>() == 68);
    assert!(size_of::<Temperature>() == 12);
    assert!(size_of::<ViolationTime>() == 16);
    assert!(size_of::<Attributes>() == 40);
    assert!(size_of::<GpmSupport>() == 8);
    assert!(size_of::<GpmMetric>() == 40);
    assert!(size_of::<GpmMetricsGet>() == 24);
};

#[cfg(test)]
mod tests {
    use nvml_wrapper_sys::bindings as sys;

    use super::*;

    #[test]
    fn sizes_are_those_of_the_bindings() {
        let sizes = [
            (size_of::<Handle>(), size_of::<sys::nvmlDevice_t>()),
            (size_of::<Utilization>(), size_of::<sys::nvmlUtilization_t>()),
            (size_of::<Memory>(), size_of::<sys::nvmlMemory_t>()),
            (size_of::<MemoryV2>(), size_of::<sys::nvmlMemory_v2_t>()),
            (size_of::<Sample>(), size_of::<sys::nvmlSample_t>()),
            (size_of::<Value>(), size_of::<sys::nvmlValue_t>()),
            (size_of::<ProcessInfo>(), size_of::<sys::nvmlProcessInfo_t>()),
            (size_of::<ProcessUtilizationSample>(), size_of::<sys::nvmlProcessUtilizationSample_t>()),
            (size_of::<ProcessUtilizationInfo>(), size_of::<sys::nvmlProcessUtilizationInfo_v1_t>()),
            (size_of::<ProcessesUtilizationInfo>(), size_of::<sys::nvmlProcessesUtilizationInfo_v1_t>()),
            (size_of::<FieldValue>(), size_of::<sys::nvmlFieldValue_t>()),
            (size_of::<EventData>(), size_of::<sys::nvmlEventData_t>()),
            (size_of::<PciInfo>(), size_of::<sys::nvmlPciInfo_t>()),
            (size_of::<Temperature>(), size_of::<sys::nvmlTemperature_v1_t>()),
            (size_of::<ViolationTime>(), size_of::<sys::nvmlViolationTime_t>()),
            (size_of::<Attributes>(), size_of::<sys::nvmlDeviceAttributes_t>()),
            (size_of::<GpmSupport>(), size_of::<sys::nvmlGpmSupport_t>()),
            (size_of::<GpmMetric>(), size_of::<sys::nvmlGpmMetric_t>()),
            (size_of::<GpmMetricsGet>(), offset_of!(sys::nvmlGpmMetricsGet_t, metrics)),
        ];
        for (index, (ours, theirs)) in sizes.into_iter().enumerate() {
            assert_eq!(ours, theirs, "struct {index} of this list");
        }
        assert_eq!(struct_version::<Temperature>(1), size_of::<sys::nvmlTemperature_v1_t>() as u32 | 1 << 24);
    }

    #[test]
    fn codes_are_those_of_the_bindings() {
        for (ours, theirs) in [
            (SUCCESS, sys::nvmlReturn_enum_NVML_SUCCESS),
            (UNINITIALIZED, sys::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED),
            (INVALID_ARGUMENT, sys::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT),
            (NOT_SUPPORTED, sys::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED),
            (NO_PERMISSION, sys::nvmlReturn_enum_NVML_ERROR_NO_PERMISSION),
            (NOT_FOUND, sys::nvmlReturn_enum_NVML_ERROR_NOT_FOUND),
            (INSUFFICIENT_SIZE, sys::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE),
            (TIMEOUT, sys::nvmlReturn_enum_NVML_ERROR_TIMEOUT),
            (LIBRARY_NOT_FOUND, sys::nvmlReturn_enum_NVML_ERROR_LIBRARY_NOT_FOUND),
            (FUNCTION_NOT_FOUND, sys::nvmlReturn_enum_NVML_ERROR_FUNCTION_NOT_FOUND),
            (GPU_IS_LOST, sys::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST),
            (RESET_REQUIRED, sys::nvmlReturn_enum_NVML_ERROR_RESET_REQUIRED),
            (LIB_RM_VERSION_MISMATCH, sys::nvmlReturn_enum_NVML_ERROR_LIB_RM_VERSION_MISMATCH),
            (MEMORY, sys::nvmlReturn_enum_NVML_ERROR_MEMORY),
            (ARGUMENT_VERSION_MISMATCH, sys::nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH),
            (UNKNOWN, sys::nvmlReturn_enum_NVML_ERROR_UNKNOWN),
            (TYPE_DOUBLE, sys::nvmlValueType_enum_NVML_VALUE_TYPE_DOUBLE),
            (TYPE_UNSIGNED_INT, sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT),
            (TYPE_UNSIGNED_LONG_LONG, sys::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG),
        ] {
            assert_eq!(ours, theirs);
        }
    }
}
