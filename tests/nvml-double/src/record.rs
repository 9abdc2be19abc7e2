//! Reads a machine's GPUs and writes down what the double needs to stand for them.
#![allow(unsafe_code, reason = "MIG ids, event types and v1 memory are in the raw bindings only")]

use std::collections::BTreeMap;
use std::mem::zeroed;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nvidia_ml_double::{
    Clocks, Driver, Ecc, Gpm, Gpu, Instance, Load, Memory, Mig, NvLink, Pcie, Power, Process, ProcessKind,
    RemappedRows, Ring, Scenario, State, Support, Throttle,
};
use nvml_wrapper::enum_wrappers::device::{
    Clock, EccCounter, MemoryError, PcieUtilCounter, Sampling, TemperatureSensor,
};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::enums::gpm::GpmMetricId;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::gpm::gpm_metrics_get;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::{Device, Nvml};

/// Between two GPM samples: well above the 100 ms that nvml.h asks for.
const GPM_INTERVAL: Duration = Duration::from_millis(500);

/// The machine as a scenario.
///
/// # Errors
///
/// The driver tells neither its version nor how many GPUs there are. What is unknown of one GPU is left out.
pub(crate) fn record(nvml: &Nvml) -> Result<Scenario, String> {
    let version = nvml.sys_driver_version().map_err(|error| format!("the driver's version: {error}"))?;
    let count = nvml.device_count().map_err(|error| format!("the count of GPUs: {error}"))?;
    let cuda = nvml.sys_cuda_driver_version().ok();
    let cuda = cuda.map(|version| format!("{}.{}", version / 1000, version % 1000 / 10));
    let driver = Driver { version, nvml: nvml.sys_nvml_version().ok(), cuda, init_error: None };
    Ok(Scenario { driver, faults: Vec::new(), gpus: (0..count).map(|index| gpu(nvml, index)).collect() })
}

fn gpu(nvml: &Nvml, index: u32) -> Gpu {
    let found = nvml.device_by_index(index).and_then(|device| Ok((device.uuid()?, device.pci_info()?, device)));
    match found {
        Ok((uuid, pci, device)) => {
            let gpu = Gpu { pci_device_id: pci.pci_device_id, ..Gpu::new(&uuid, &pci.bus_id) };
            describe(nvml, &device, gpu)
        }
        // It does not say who it is, and a scenario needs a name and a place for it.
        Err(error) => {
            let gpu = Gpu::new(&format!("unknown-{index}"), &format!("FFFFFFFF:{:02X}:00.0", index % 256));
            Gpu { state: state(&error), ..gpu }
        }
    }
}

fn state(error: &NvmlError) -> State {
    match error {
        NvmlError::GpuLost => State::Lost,
        NvmlError::NoPermission => State::NoPermission,
        NvmlError::ResetRequired => State::ResetRequired,
        NvmlError::NotSupported => State::NotSupported,
        _ => State::Unknown,
    }
}

fn describe(nvml: &Nvml, device: &Device<'_>, mut gpu: Gpu) -> Gpu {
    gpu.name = device.name().unwrap_or(gpu.name);
    gpu.minor = device.minor_number().ok();
    gpu.serial = device.serial().ok();
    gpu.state = match device.memory_info() {
        Err(error @ (NvmlError::GpuLost | NvmlError::ResetRequired | NvmlError::NoPermission)) => state(&error),
        _ => State::Ok,
    };
    gpu.mig = mig(nvml, device);
    let has_mig = gpu.mig.as_ref().is_some_and(|mig| mig.enabled);
    gpu.support = Support {
        gpm: device.gpm_support().unwrap_or(false),
        memory_v2: device.memory_info().is_ok(),
        utilization: has_mig || device.utilization_rates().is_ok(),
        energy: device.total_energy_consumption().is_ok(),
        events: event_types(nvml, device).unwrap_or(0),
        ..Support::default()
    };
    gpu.memory = memory(nvml, device).unwrap_or(Memory { total: 0, used: 0, reserved: 0 });
    let means = if gpu.support.gpm { gpm(nvml, || device.gpm_sample()) } else { None };
    (gpu.load, gpu.ring) = load_and_ring(device, means.as_ref());
    if let Some(Means { graphics, sm, occupancy, tensor, dram }) = means
        && graphics > 0.0
    {
        let part = |value: f64| value / graphics;
        gpu.gpm = Gpm { sm: part(sm), occupancy: part(occupancy), tensor: part(tensor) };
        gpu.memory_busy = part(dram);
    }
    gpu.temperature_c = device.temperature(TemperatureSensor::Gpu).ok();
    // The draw of now, whatever the load: one measurement tells no curve.
    let watts = f64::from(device.power_usage().unwrap_or(0)) / 1000.0;
    let limit_w = f64::from(device.enforced_power_limit().unwrap_or(0)) / 1000.0;
    gpu.power = Power { idle_w: watts, peak_w: watts, limit_w };
    gpu.energy_mj = device.total_energy_consumption().unwrap_or(0);
    let clock = |kind| device.clock_info(kind).unwrap_or(0);
    gpu.clocks = Clocks {
        graphics: clock(Clock::Graphics),
        sm: clock(Clock::SM),
        memory: clock(Clock::Memory),
        video: clock(Clock::Video),
    };
    gpu.clocks_event_reasons = device.current_throttle_reasons().map_or(0, |reasons| reasons.bits());
    gpu.encoder = device.encoder_utilization().map_or(0, |it| it.utilization);
    gpu.decoder = device.decoder_utilization().map_or(0, |it| it.utilization);
    gpu.fan = device.fan_speed(0).ok();
    gpu.ecc = ecc(device);
    let busy = match gpu.load {
        Load::Percent(percent) if percent > 0.0 => percent / 100.0,
        _ => 1.0,
    };
    let traffic = |direction| (f64::from(device.pcie_throughput(direction).unwrap_or(0)) / busy).round() as u32;
    gpu.pcie =
        Pcie { tx_kib_s: traffic(PcieUtilCounter::Send), rx_kib_s: traffic(PcieUtilCounter::Receive), replays: 0 };
    by_fields(device, &mut gpu);
    gpu.processes = processes(device);
    gpu
}

/// What is read by field id.
fn by_fields(device: &Device<'_>, gpu: &mut Gpu) {
    let ids = [74, 75, 76, 77, 78, 79, 80, 81, 251, 252, 253, 82, 91, 94, 138, 142, 143, 144, 145, 230];
    let asked: Vec<FieldId> = ids.iter().map(|id| FieldId(*id)).collect();
    let found = device.field_values_for(&asked).unwrap_or_default();
    // By position: the replies carry the ids of newer drivers.
    let values: BTreeMap<u32, u64> =
        ids.into_iter().zip(found).filter_map(|(id, value)| Some((id, number(&value.ok()?.value.ok()?)))).collect();
    let value = |id| values.get(&id).copied().unwrap_or(0);
    gpu.throttle = Throttle {
        power_ns: value(74),
        thermal_ns: value(75),
        sync_boost_ns: value(76),
        board_limit_ns: value(77),
        low_utilization_ns: value(78),
        reliability_ns: value(79),
        application_clocks_ns: value(80),
        base_clocks_ns: value(81),
        software_thermal_ns: value(251),
        hardware_thermal_ns: value(252),
        power_brake_ns: value(253),
    };
    gpu.memory_temperature_c = values.get(&82).map(|value| *value as u32);
    gpu.pcie.replays = value(94);
    gpu.nvlink = NvLink { links: value(91) as u32, kib_s: 0, kib: value(138) };
    gpu.remapped_rows = values.get(&142).map(|correctable| RemappedRows {
        correctable: *correctable as u32,
        uncorrectable: value(143) as u32,
        pending: value(144) != 0,
        failed: value(145) != 0,
    });
    gpu.recovery_action = value(230) as u32;
}

fn number(value: &SampleValue) -> u64 {
    match value {
        SampleValue::U32(value) => u64::from(*value),
        SampleValue::U64(value) => *value,
        SampleValue::I64(value) => u64::try_from(*value).unwrap_or(0),
        SampleValue::F64(value) => *value as u64,
    }
}

/// The mean of the ring, and how it is kept; without a ring, the best other figure for the load.
fn load_and_ring(device: &Device<'_>, means: Option<&Means>) -> (Load, Ring) {
    let samples = device.samples(Sampling::GpuUtilization, None).unwrap_or_default();
    let mut samples: Vec<(u64, u64)> =
        samples.iter().map(|sample| (sample.timestamp, number(&sample.value))).filter(|(at, _)| *at > 0).collect();
    samples.sort_unstable();
    samples.dedup();
    let good: Vec<f64> = samples.iter().filter(|(_, value)| *value <= 100).map(|(_, value)| *value as f64).collect();
    let percent = match (good.len(), means) {
        (0, Some(means)) => means.graphics,
        (0, None) => device.utilization_rates().map_or(0.0, |rates| f64::from(rates.gpu)),
        (count, _) => good.iter().sum::<f64>() / count as f64,
    };
    let mut periods: Vec<u64> = samples.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    periods.sort_unstable();
    let mut ring = Ring::default();
    if let (Some(period), Some((newest, _))) = (periods.get(periods.len() / 2).filter(|us| **us > 0), samples.last()) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
        let offset = *newest as i64 - now;
        // Less is only the age of the newest sample.
        let offset_us = if offset.unsigned_abs() > 60_000_000 { offset } else { 0 };
        ring = Ring { size: samples.len(), period_us: *period, offset_us, ..ring };
    }
    (Load::Percent(percent.clamp(0.0, 100.0)), ring)
}

/// GPM's percentages.
struct Means {
    graphics: f64,
    sm: f64,
    occupancy: f64,
    tensor: f64,
    dram: f64,
}

fn gpm<'a>(nvml: &'a Nvml, sample: impl Fn() -> Result<nvml_wrapper::gpm::GpmSample<'a>, NvmlError>) -> Option<Means> {
    let before = sample().ok()?;
    thread::sleep(GPM_INTERVAL);
    let after = sample().ok()?;
    let ids = [
        GpmMetricId::GraphicsUtil,
        GpmMetricId::SmUtil,
        GpmMetricId::SmOccupancy,
        GpmMetricId::AnyTensorUtil,
        GpmMetricId::DramBwUtil,
    ];
    let metrics = gpm_metrics_get(nvml, &before, &after, &ids).ok()?;
    let mut values = metrics.into_iter().map(|metric| metric.map_or(0.0, |metric| metric.value.max(0.0)));
    let mut next = || values.next().unwrap_or(0.0);
    Some(Means { graphics: next(), sm: next(), occupancy: next(), tensor: next(), dram: next() })
}

fn memory(nvml: &Nvml, device: &Device<'_>) -> Option<Memory> {
    if let Ok(memory) = device.memory_info() {
        return Some(Memory { total: memory.total, used: memory.used, reserved: memory.reserved });
    }
    let call = nvml.lib().nvmlDeviceGetMemoryInfo.as_ref().ok()?;
    // SAFETY: the bindings' prototype, a handle of this library, a struct that is plain numbers.
    unsafe {
        let mut memory = zeroed();
        (call(device.handle(), &mut memory) == 0).then_some(Memory {
            total: memory.total,
            used: memory.used,
            reserved: 0,
        })
    }
}

/// All bits: the wrapper's type drops those it does not know.
fn event_types(nvml: &Nvml, device: &Device<'_>) -> Option<u64> {
    let call = nvml.lib().nvmlDeviceGetSupportedEventTypes.as_ref().ok()?;
    let mut types = 0;
    // SAFETY: the bindings' prototype and a handle of this library.
    let answer = unsafe { call(device.handle(), &mut types) };
    (answer == 0).then_some(types)
}

fn ecc(device: &Device<'_>) -> Option<Ecc> {
    let errors = |kind, counter| device.total_ecc_errors(kind, counter);
    Some(Ecc {
        corrected: errors(MemoryError::Corrected, EccCounter::Volatile).ok()?,
        uncorrected: errors(MemoryError::Uncorrected, EccCounter::Volatile).ok()?,
        corrected_aggregate: errors(MemoryError::Corrected, EccCounter::Aggregate).unwrap_or(0),
        uncorrected_aggregate: errors(MemoryError::Uncorrected, EccCounter::Aggregate).unwrap_or(0),
    })
}

fn processes(device: &Device<'_>) -> Vec<Process> {
    let sampled = device.process_utilization_stats(None).unwrap_or_default();
    let lists: [(ProcessKind, Vec<ProcessInfo>); 3] = [
        (ProcessKind::Compute, device.running_compute_processes().unwrap_or_default()),
        (ProcessKind::Graphics, device.running_graphics_processes().unwrap_or_default()),
        (ProcessKind::Mps, device.mps_running_compute_processes().unwrap_or_default()),
    ];
    let process = |kind, it: ProcessInfo| {
        let sample = sampled.iter().filter(|sample| sample.pid == it.pid).max_by_key(|sample| sample.timestamp);
        Process {
            pid: it.pid,
            kind,
            memory: match it.used_gpu_memory {
                UsedGpuMemory::Used(bytes) => Some(bytes),
                UsedGpuMemory::Unavailable => None,
            },
            sm: sample.map_or(0, |sample| sample.sm_util),
            memory_busy: sample.map_or(0, |sample| sample.mem_util),
            encoder: sample.map_or(0, |sample| sample.enc_util),
            decoder: sample.map_or(0, |sample| sample.dec_util),
            gi: it.gpu_instance_id,
            ci: it.compute_instance_id,
        }
    };
    lists.into_iter().flat_map(|(kind, list)| list.into_iter().map(move |it| process(kind, it))).collect()
}

fn mig(nvml: &Nvml, device: &Device<'_>) -> Option<Mig> {
    let enabled = device.mig_mode().ok()?.current == 1;
    let slots = device.mig_device_count().unwrap_or(0);
    let instances = (0..slots).filter_map(|slot| instance(nvml, device, slot)).collect();
    Some(Mig { enabled, slots, instances, ..Mig::default() })
}

fn instance(nvml: &Nvml, parent: &Device<'_>, slot: u32) -> Option<Instance> {
    let device = parent.mig_device_by_index(slot).ok()?;
    let (gi_call, ci_call) = (
        nvml.lib().nvmlDeviceGetGpuInstanceId.as_ref().ok()?,
        nvml.lib().nvmlDeviceGetComputeInstanceId.as_ref().ok()?,
    );
    let (mut gi, mut ci) = (0, 0);
    // SAFETY: the bindings' prototypes and a handle of this library.
    let answers = unsafe { [gi_call(device.handle(), &mut gi), ci_call(device.handle(), &mut ci)] };
    if answers != [0, 0] {
        return None;
    }
    let means = gpm(nvml, || parent.gpm_mig_sample(gi));
    Some(Instance {
        slot,
        uuid: device.uuid().ok()?,
        gi,
        ci,
        slices: device.attributes().map_or(1, |it| it.gpu_instance_slice_count),
        load: Load::Percent(means.map_or(0.0, |means| means.graphics.clamp(0.0, 100.0))),
        memory: memory(nvml, &device).unwrap_or_default(),
    })
}
