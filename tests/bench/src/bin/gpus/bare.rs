//! The calls of one tick of the GPU collector, made by hand and their answers thrown away: the least that anybody who
//! asks the same can cost.

use std::{mem, ptr};

use nvml_wrapper_sys::bindings as raw;

/// Room for the driver's ring.
const SAMPLES: u32 = 128;
/// As many metrics as the collector asks of GPM, whichever.
const METRICS: u32 = 9;
/// The fields that it asks of the double at each tick: time throttled, by reason, and energy.
const FIELDS: [u32; 9] = [74, 75, 76, 77, 78, 79, 80, 81, 83];
const XID: u64 = raw::nvmlEventTypeXidCriticalError as u64;
/// No event waits.
const TIMEOUT: raw::nvmlReturn_t = 10;

pub struct Bare {
    library: raw::NvmlLib,
    devices: Vec<Device>,
    samples: Vec<raw::nvmlSample_t>,
}

struct Device {
    handle: raw::nvmlDevice_t,
    gpm: [raw::nvmlGpmSample_t; 2],
    events: raw::nvmlEventSet_t,
}

fn checked(code: raw::nvmlReturn_t) -> Result<(), String> {
    if code == 0 { Ok(()) } else { Err(format!("NVML error {code}")) }
}

impl Bare {
    pub fn new() -> Result<Self, String> {
        let path = nvidia_ml_double::library().map_err(|error| error.to_string())?;
        // SAFETY: loading the double runs no code of its own.
        let library = unsafe { raw::NvmlLib::new(path) }.map_err(|error| error.to_string())?;
        let mut devices = Vec::new();
        // SAFETY: all places are ours, and the library is initialised first.
        unsafe {
            checked(library.nvmlInit_v2())?;
            let mut count = 0;
            checked(library.nvmlDeviceGetCount_v2(&raw mut count))?;
            for index in 0..count {
                let mut device = Device { handle: ptr::null_mut(), gpm: [ptr::null_mut(); 2], events: ptr::null_mut() };
                checked(library.nvmlDeviceGetHandleByIndex_v2(index, &raw mut device.handle))?;
                for sample in &mut device.gpm {
                    checked(library.nvmlGpmSampleAlloc(sample))?;
                    checked(library.nvmlGpmSampleGet(device.handle, *sample))?;
                }
                checked(library.nvmlEventSetCreate(&raw mut device.events))?;
                checked(library.nvmlDeviceRegisterEvents(device.handle, XID, device.events))?;
                devices.push(device);
            }
        }
        // SAFETY: a struct of whole numbers, for which zero is a value.
        let empty: raw::nvmlSample_t = unsafe { mem::zeroed() };
        Ok(Self { library, devices, samples: vec![empty; SAMPLES as usize] })
    }

    pub fn tick(&mut self) -> Result<(), String> {
        let library = &self.library;
        // SAFETY: handles and samples are the library's; all other places are ours, as large as the calls are told, and
        // zero is a value for what they hold.
        unsafe {
            let mut count = 0;
            checked(library.nvmlDeviceGetCount_v2(&raw mut count))?;
            for Device { handle, gpm, events } in &mut self.devices {
                let mut event: raw::nvmlEventData_t = mem::zeroed();
                let waited = library.nvmlEventSetWait_v2(*events, &raw mut event, 0);
                checked(if waited == TIMEOUT { 0 } else { waited })?;
                let (mut mode, mut pending) = (0, 0);
                // Not supported, where the card has no MIG.
                library.nvmlDeviceGetMigMode(*handle, &raw mut mode, &raw mut pending);
                let mut memory: raw::nvmlMemory_v2_t = mem::zeroed();
                memory.version = size_of::<raw::nvmlMemory_v2_t>() as u32 | 2 << 24;
                checked(library.nvmlDeviceGetMemoryInfo_v2(*handle, &raw mut memory))?;
                let mut rates: raw::nvmlUtilization_t = mem::zeroed();
                checked(library.nvmlDeviceGetUtilizationRates(*handle, &raw mut rates))?;
                let kind = raw::nvmlSamplingType_enum_NVML_GPU_UTILIZATION_SAMPLES;
                let (mut form, mut count) = (0, 0);
                let none = ptr::null_mut();
                checked(library.nvmlDeviceGetSamples(*handle, kind, 0, &raw mut form, &raw mut count, none))?;
                count = SAMPLES;
                let into = self.samples.as_mut_ptr();
                checked(library.nvmlDeviceGetSamples(*handle, kind, 0, &raw mut form, &raw mut count, into))?;
                let [before, now] = *gpm;
                checked(library.nvmlGpmSampleGet(*handle, now))?;
                let mut question: raw::nvmlGpmMetricsGet_t = mem::zeroed();
                question.version = raw::NVML_GPM_METRICS_GET_VERSION;
                question.numMetrics = METRICS;
                (question.sample1, question.sample2) = (before, now);
                for (metric, id) in question.metrics.iter_mut().zip(1..=METRICS) {
                    metric.metricId = id;
                }
                checked(library.nvmlGpmMetricsGet(&raw mut question))?;
                gpm.swap(0, 1);
                let mut fields: [raw::nvmlFieldValue_t; FIELDS.len()] = mem::zeroed();
                for (field, id) in fields.iter_mut().zip(FIELDS) {
                    field.fieldId = id;
                }
                checked(library.nvmlDeviceGetFieldValues(*handle, fields.len() as i32, fields.as_mut_ptr()))?;
                let mut milliwatts = 0;
                checked(library.nvmlDeviceGetPowerUsage(*handle, &raw mut milliwatts))?;
            }
        }
        Ok(())
    }
}
