//! What the double measures, through nvml-wrapper and its raw bindings.
#![allow(unsafe_code, reason = "some calls are in the raw bindings only")]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod stage;

use std::mem::{size_of, zeroed};
use std::thread;
use std::time::{Duration, Instant};

use nvidia_ml_double::{
    DutyCycle, Ecc, Load, Memory, NvLink, Process, ProcessKind, RemappedRows, Ring, Scenario, calls,
};
use nvml_wrapper::enum_wrappers::device::{
    Clock, EccCounter, MemoryError, PcieUtilCounter, PerformancePolicy, Sampling, TemperatureSensor,
};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::enums::gpm::GpmMetricId;
use nvml_wrapper::gpm::gpm_metrics_get;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings as sys;
use stage::{alone, error, gpus, nvml, uuid};

fn cycle(share: f64, period_s: f64) -> Load {
    Load::Cycle(DutyCycle { share, period_s })
}

fn value(value: &SampleValue) -> u32 {
    match value {
        SampleValue::U32(value) => *value,
        other => panic!("expected an unsigned int, got {other:?}"),
    }
}

fn samples(device: &Device<'_>, last_seen: u64) -> Vec<(u64, u32)> {
    let samples = device.samples(Sampling::GpuUtilization, last_seen).expect("samples");
    samples.iter().map(|sample| (sample.timestamp, value(&sample.value))).collect()
}

#[test]
fn devices_are_found_and_say_who_they_are() {
    let mut scenario = gpus(2);
    scenario.gpus[1].name = "NVIDIA A10G".into();
    scenario.gpus[1].serial = Some("1650923".into());
    scenario.gpus[1].minor = Some(7);
    alone("devices_are_found_and_say_who_they_are", scenario, |_| {
        let nvml = nvml();
        assert_eq!(nvml.sys_driver_version().expect("a version"), "580.95.05");
        assert_eq!(nvml.sys_nvml_version().expect("a version"), "13.580.95.05");
        assert_eq!(nvml.sys_cuda_driver_version().expect("a version"), 13_000);
        assert_eq!(nvml.device_count().expect("a count"), 2);
        let second = nvml.device_by_index(1).expect("a device");
        assert_eq!(second.uuid().expect("a UUID"), uuid(1));
        assert_eq!(second.name().expect("a name"), "NVIDIA A10G");
        assert_eq!(second.serial().expect("a serial"), "1650923");
        assert_eq!(second.minor_number().expect("a minor"), 7);
        let pci = second.pci_info().expect("an address");
        assert_eq!((pci.bus_id.as_str(), pci.domain, pci.bus, pci.device), ("00000000:01:00.0", 0, 1, 0));
        assert_eq!(pci.pci_device_id, 0x2330_10de);
        // SAFETY: the handles are compared, not used.
        let handle = |device: Device<'_>| unsafe { device.handle() } as usize;
        let by_uuid = nvml.device_by_uuid(uuid(1)).expect("by UUID");
        let by_pci = nvml.device_by_pci_bus_id("0000:01:00.0").expect("by address");
        assert_eq!(handle(by_uuid), handle(by_pci));
        let first = nvml.device_by_index(0).expect("a device");
        assert_eq!(error(first.serial()), "NotSupported");
        assert_eq!(first.minor_number().expect("a minor"), 0, "by default the index");
        assert_eq!(error(nvml.device_by_index(2)), "InvalidArg");
        assert_eq!(error(nvml.device_by_uuid("GPU-0")), "NotFound");
        assert_eq!(error(nvml.device_by_pci_bus_id("0000:09:00.0")), "NotFound");
    });
}

#[test]
fn memory_has_both_readings() {
    let mut scenario = gpus(2);
    scenario.gpus[0].memory = Memory { total: 1000, used: 300, reserved: 200 };
    scenario.gpus[1].support.memory_v2 = false;
    alone("memory_has_both_readings", scenario, |_| {
        let nvml = nvml();
        let device = nvml.device_by_index(0).expect("a device");
        let v2 = device.memory_info().expect("v2");
        assert_eq!((v2.version, v2.total, v2.used, v2.reserved, v2.free), (0x0200_0028, 1000, 300, 200, 500));
        // SAFETY: the bindings' prototype, a handle of this library, a struct of the right type.
        let v1 = unsafe {
            let mut v1: sys::nvmlMemory_t = zeroed();
            assert_eq!(nvml.lib().nvmlDeviceGetMemoryInfo(device.handle(), &mut v1), 0);
            v1
        };
        assert_eq!((v1.total, v1.used, v1.free), (1000, 500, 500), "what is reserved counts as used");
        // SAFETY: as above.
        let wrong_version = unsafe {
            let mut v2: sys::nvmlMemory_v2_t = zeroed();
            v2.version = 2;
            nvml.lib().nvmlDeviceGetMemoryInfo_v2(device.handle(), &mut v2)
        };
        assert_eq!(wrong_version, sys::nvmlReturn_enum_NVML_ERROR_FUNCTION_NOT_FOUND);
        let old = nvml.device_by_index(1).expect("a device");
        assert!(
            error(old.memory_info()).starts_with("FailedToLoadSymbol")
                || error(old.memory_info()) == "FunctionNotFound"
        );
    });
}

/// A ring whose samples fit a cycle: each is 100 or 0, and so known.
fn known() -> Scenario {
    let mut scenario = gpus(1);
    scenario.gpus[0].load = cycle(0.3, 1.0);
    scenario.gpus[0].ring = Ring { size: 100, period_us: 100_000, ..Ring::default() };
    scenario
}

#[test]
fn the_ring_is_drained_without_loss_and_agrees_with_the_snapshot() {
    alone("the_ring_is_drained_without_loss_and_agrees_with_the_snapshot", known(), |_| {
        let nvml = nvml();
        let device = nvml.device_by_index(0).expect("a device");
        let mut all = samples(&device, 0);
        assert_eq!(all.len(), 100);
        let last = |all: &Vec<(u64, u32)>| all.last().map_or(0, |sample| sample.0);
        // Drained as often as it will: in 2 s no sample is lost, none comes twice.
        let start = Instant::now();
        let mut empty = 0;
        while start.elapsed() < Duration::from_secs(2) {
            match device.samples(Sampling::GpuUtilization, last(&all)) {
                Ok(new) => all.extend(new.iter().map(|sample| (sample.timestamp, value(&sample.value)))),
                Err(nothing) => {
                    assert_eq!(format!("{nothing:?}"), "NotFound");
                    empty += 1;
                }
            }
            thread::sleep(Duration::from_millis(7));
        }
        assert!(empty > 0, "most looks find nothing new");
        assert!(all.len() >= 119, "{}", all.len());
        for pair in all.windows(2) {
            assert_eq!(pair[1].0 - pair[0].0, 100_000);
        }
        for (timestamp, value) in &all {
            let phase = (timestamp - 100_000) % 1_000_000;
            assert_eq!(*value, if phase < 300_000 { 100 } else { 0 }, "at {timestamp}");
        }
        let agrees = || {
            let before = samples(&device, 0);
            let rates = device.utilization_rates().expect("rates");
            let after = samples(&device, 0);
            // A new sample may come between.
            (before.last() == after.last()).then(|| (rates.gpu, rates.memory) == (after[99].1, after[99].1 / 2))
        };
        let seen: Vec<bool> = (0..100).filter_map(|_| agrees()).collect();
        assert!(!seen.is_empty() && seen.iter().all(|same| *same));
    });
}

#[test]
fn a_ring_shows_the_faults_that_are_asked_for() {
    let mut scenario = known();
    scenario.gpus[0].load = Load::Percent(40.0);
    alone("a_ring_shows_the_faults_that_are_asked_for", scenario, |mut stage| {
        let nvml = nvml();
        let device = nvml.device_by_index(0).expect("a device");
        stage.change(|scenario| scenario.gpus[0].ring.garbage_every = 10);
        let garbage = samples(&device, 0).iter().filter(|(_, value)| *value == 808_334_905).count();
        assert_eq!(garbage, 10);
        stage
            .change(|scenario| scenario.gpus[0].ring = Ring { duplicate_every: 5, unordered: true, ..Ring::default() });
        let times: Vec<u64> = samples(&device, 0).iter().map(|(timestamp, _)| *timestamp).collect();
        assert!(!times.is_sorted());
        let mut unique = times.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len() * 6 / 5, times.len());
        stage.change(|scenario| {
            scenario.gpus[0].load = Load::Percent(0.0);
            scenario.gpus[0].ring = Ring { period_us: 20_000, dry_after_s: Some(0.1), ..Ring::default() };
        });
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(error(device.samples(Sampling::GpuUtilization, 0)), "NotFound", "idle, it runs dry");
        assert_eq!(device.utilization_rates().expect("a snapshot").gpu, 0, "and a snapshot still tells");
        stage.change(|scenario| scenario.gpus[0].support.utilization = false);
        assert_eq!(error(device.samples(Sampling::GpuUtilization, 0)), "NotSupported");
        assert_eq!(error(device.utilization_rates()), "NotSupported");
    });
}

fn gpm(nvml: &Nvml, device: &Device<'_>, wait: Duration, ids: &[GpmMetricId]) -> Vec<f64> {
    let before = device.gpm_sample().expect("a sample");
    thread::sleep(wait);
    let after = device.gpm_sample().expect("a sample");
    let metrics = gpm_metrics_get(nvml, &before, &after, ids).expect("metrics");
    metrics.into_iter().map(|metric| metric.expect("a metric").value).collect()
}

#[test]
fn gpm_gives_the_mean_between_two_samples() {
    let mut scenario = gpus(3);
    // So short a cycle that its mean over any second is known within a tenth of a point.
    scenario.gpus[0].load = cycle(0.3, 0.001);
    scenario.gpus[1].load = Load::Percent(37.0);
    scenario.gpus[1].nvlink = NvLink { links: 2, kib_s: 1024, kib: 0 };
    scenario.gpus[2].support.gpm = false;
    alone("gpm_gives_the_mean_between_two_samples", scenario, |mut stage| {
        let nvml = nvml();
        let device = |index| nvml.device_by_index(index).expect("a device");
        assert!(device(0).gpm_support().expect("support"));
        let second = Duration::from_secs(1);
        let mean = gpm(&nvml, &device(0), second, &[GpmMetricId::GraphicsUtil])[0];
        assert!((mean - 30.0).abs() < 0.1, "{mean}");
        let ids =
            [GpmMetricId::GraphicsUtil, GpmMetricId::SmUtil, GpmMetricId::DramBwUtil, GpmMetricId::NvlinkTotalTxPerSec];
        let means = gpm(&nvml, &device(1), Duration::from_millis(100), &ids);
        for (mean, expected) in means.iter().zip([37.0, 37.0 * 0.8, 37.0 * 0.5, 0.37 * 3.0]) {
            assert!((mean - expected).abs() < 1e-6, "{means:?}");
        }
        // A load that changes between two samples counts for as long as it was there.
        let read = || {
            let start = Instant::now();
            (start, device(1).gpm_sample().expect("a sample"), Instant::now())
        };
        let (earliest, before, begun) = read();
        thread::sleep(Duration::from_millis(300));
        let writing = Instant::now();
        stage.change(|scenario| scenario.gpus[1].load = Load::Percent(100.0));
        let written = Instant::now();
        let (_, from_here, _) = read();
        thread::sleep(Duration::from_millis(300));
        let (ending, after, latest) = read();
        let mean = |a, b| {
            let metrics = gpm_metrics_get(&nvml, a, b, &[GpmMetricId::GraphicsUtil]).expect("metrics");
            metrics.into_iter().next().expect("one").expect("a metric").value
        };
        assert!((mean(&from_here, &after) - 100.0).abs() < 1e-6);
        let seconds = |from: Instant, to: Instant| to.duration_since(from).as_secs_f64();
        // The kernel stamps files by a clock that goes in steps.
        let step = 0.02;
        let least = 37.0 + 63.0 * (seconds(written, ending) - step) / seconds(earliest, latest);
        let most = 37.0 + 63.0 * (seconds(writing, latest) + step) / seconds(begun, ending);
        let whole = mean(&before, &after);
        assert!((least..=most).contains(&whole), "{whole} outside of {least} to {most}");
        assert!(gpm_metrics_get(&nvml, &after, &before, &[GpmMetricId::GraphicsUtil]).is_err(), "in this order only");
        let unknown = gpm_metrics_get(&nvml, &before, &after, &[GpmMetricId::IntegerUtil]).expect("metrics");
        assert_eq!(error(unknown.into_iter().next().expect("one")), "NotSupported", "not modelled");
        assert!(!device(2).gpm_support().expect("support"));
        assert_eq!(error(device(2).gpm_sample()), "NotSupported");
    });
}

#[test]
fn fields_have_scopes_and_two_numberings() {
    let mut scenario = gpus(2);
    scenario.gpus[0].nvlink = NvLink { links: 3, kib_s: 0, kib: 1000 };
    scenario.gpus[0].throttle.power_ns = 74;
    scenario.gpus[0].throttle.base_clocks_ns = 81;
    scenario.gpus[0].throttle.software_thermal_ns = 251;
    scenario.gpus[0].support.unsupported_fields = vec![75];
    scenario.gpus[0].fields.insert("160".into(), 16);
    alone("fields_have_scopes_and_two_numberings", scenario, |_| {
        let nvml = nvml();
        let device = nvml.device_by_index(0).expect("a device");
        let fields = |ids: &[u32]| {
            let ids: Vec<FieldId> = ids.iter().map(|id| FieldId(*id)).collect();
            let values = device.field_values_for(&ids).expect("values");
            values.into_iter().map(|value| value.map(|value| (value.field.0, value.value))).collect::<Vec<_>>()
        };
        let seen = fields(&[74, 81, 251, 160, 75, 999]);
        let text: Vec<String> = seen.iter().map(|value| format!("{value:?}")).collect();
        assert_eq!(text[0], "Ok((74, Ok(U64(74))))");
        assert_eq!(text[1], "Ok((81, Ok(U64(81))))");
        assert_eq!(text[2], "Ok((269, Ok(U64(251))))", "the wrapper translates the request and not the reply");
        assert_eq!(text[3], "Ok((160, Ok(U64(16))))");
        for refused in &text[4..] {
            assert!(refused.contains("NotSupported"), "{refused}");
        }
        let link = |scope| {
            // SAFETY: the bindings' prototype, a handle of this library, an array of one.
            unsafe {
                let mut field: sys::nvmlFieldValue_t = zeroed();
                (field.fieldId, field.scopeId) = (138, scope);
                assert_eq!(nvml.lib().nvmlDeviceGetFieldValues(device.handle(), 1, &mut field), 0);
                (field.nvmlReturn, field.value.ullVal)
            }
        };
        assert_eq!([link(0), link(1), link(2)], [(0, 1000), (0, 2000), (0, 3000)]);
        assert_eq!(link(u32::MAX), (0, 6000));
        assert_eq!(link(3).0, sys::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT);
        assert_eq!(format!("{:?}", fields(&[138])[0]), "Ok((138, Ok(U64(1000))))", "the wrapper asks for link 0");
        let second = nvml.device_by_index(1).expect("a device");
        let none = second.field_values_for(&[FieldId(138)]).expect("values").remove(0).expect("a value").value;
        assert_eq!(error(none), "NotSupported");
    });
}

#[test]
fn power_and_energy_follow_the_load() {
    let mut scenario = gpus(1);
    let gpu = &mut scenario.gpus[0];
    gpu.load = Load::Percent(50.0);
    (gpu.power.idle_w, gpu.power.peak_w) = (100.0, 300.0);
    gpu.energy_mj = 5000;
    gpu.temperature_c = Some(66);
    gpu.fan = Some(30);
    alone("power_and_energy_follow_the_load", scenario, |_| {
        let nvml = nvml();
        let device = nvml.device_by_index(0).expect("a device");
        assert_eq!(device.power_usage().expect("power"), 200_000);
        assert_eq!(device.enforced_power_limit().expect("a limit"), 700_000);
        let read = || {
            let start = Instant::now();
            (start, device.total_energy_consumption().expect("energy"), Instant::now())
        };
        let before = read();
        assert!(before.1 >= 5000);
        thread::sleep(Duration::from_millis(500));
        let after = read();
        let millijoules = (after.1 - before.1) as f64;
        let at_200_watts = |from: Instant, to: Instant| to.duration_since(from).as_secs_f64() * 200_000.0;
        // A millijoule each is lost to whole numbers.
        assert!(millijoules >= at_200_watts(before.2, after.0) - 2.0, "{millijoules}");
        assert!(millijoules <= at_200_watts(before.0, after.2) + 2.0, "{millijoules}");
        assert_eq!(device.temperature(TemperatureSensor::Gpu).expect("a temperature"), 66);
        assert_eq!(device.fan_speed(0).expect("a fan"), 30);
        assert_eq!(error(device.fan_speed(1)), "InvalidArg");
        let start = Instant::now();
        assert_eq!(device.pcie_throughput(PcieUtilCounter::Send).expect("traffic"), 1 << 19);
        assert!(start.elapsed() >= Duration::from_millis(20), "it blocks while it measures");
        // SAFETY: the bindings' prototypes, a handle of this library, values of the right types.
        unsafe {
            let mut temperature: sys::nvmlTemperature_v1_t = zeroed();
            temperature.version = size_of::<sys::nvmlTemperature_v1_t>() as u32 | 1 << 24;
            assert_eq!(nvml.lib().nvmlDeviceGetTemperatureV(device.handle(), &mut temperature), 0);
            assert_eq!(temperature.temperature, 66);
            let mut rows = [0; 4];
            let [correctable, uncorrectable, pending, failed] = &mut rows;
            let answer =
                nvml.lib().nvmlDeviceGetRemappedRows(device.handle(), correctable, uncorrectable, pending, failed);
            assert_eq!(answer, sys::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED, "none in this scenario");
        }
    });
}

#[test]
fn health_is_what_the_scenario_says() {
    let mut scenario = gpus(2);
    let gpu = &mut scenario.gpus[0];
    gpu.clocks_event_reasons = 0x24;
    gpu.throttle.thermal_ns = 75;
    gpu.ecc = Some(Ecc { corrected: 1, uncorrected: 2, corrected_aggregate: 3, uncorrected_aggregate: 4 });
    gpu.remapped_rows = Some(RemappedRows { correctable: 5, uncorrectable: 6, pending: true, failed: false });
    (gpu.encoder, gpu.decoder) = (7, 8);
    alone("health_is_what_the_scenario_says", scenario, |_| {
        let nvml = nvml();
        let device = nvml.device_by_index(0).expect("a device");
        assert_eq!(device.clock_info(Clock::SM).expect("a clock"), 1980);
        assert_eq!(device.clock_info(Clock::Memory).expect("a clock"), 2619);
        assert_eq!(device.current_throttle_reasons().expect("reasons").bits(), 0x24);
        let violation = device.violation_status(PerformancePolicy::Thermal).expect("a time");
        assert_eq!(violation.violation_time, 75);
        let errors = |kind, counter| device.total_ecc_errors(kind, counter).expect("a count");
        assert_eq!(errors(MemoryError::Corrected, EccCounter::Volatile), 1);
        assert_eq!(errors(MemoryError::Uncorrected, EccCounter::Volatile), 2);
        assert_eq!(errors(MemoryError::Corrected, EccCounter::Aggregate), 3);
        assert_eq!(errors(MemoryError::Uncorrected, EccCounter::Aggregate), 4);
        assert_eq!(device.encoder_utilization().expect("a share").utilization, 7);
        assert_eq!(device.decoder_utilization().expect("a share").utilization, 8);
        // SAFETY: the bindings' prototypes, a handle of this library, values of the right types.
        unsafe {
            let mut reasons = 0;
            assert_eq!(nvml.lib().nvmlDeviceGetCurrentClocksEventReasons(device.handle(), &mut reasons), 0);
            assert_eq!(reasons, 0x24);
            let [mut correctable, mut uncorrectable, mut pending, mut failed] = [9; 4];
            let answer = nvml.lib().nvmlDeviceGetRemappedRows(
                device.handle(),
                &mut correctable,
                &mut uncorrectable,
                &mut pending,
                &mut failed,
            );
            assert_eq!((answer, correctable, uncorrectable, pending, failed), (0, 5, 6, 1, 0));
        }
        let plain = nvml.device_by_index(1).expect("a device");
        assert_eq!(error(plain.total_ecc_errors(MemoryError::Corrected, EccCounter::Volatile)), "NotSupported");
        assert_eq!(error(plain.temperature(TemperatureSensor::Gpu)), "NotSupported");
        assert_eq!(error(plain.fan_speed(0)), "NotSupported");
    });
}

#[test]
fn processes_are_listed_and_sampled() {
    let process = |pid, kind, sm| Process {
        pid,
        kind,
        memory: (pid != 12).then_some(u64::from(pid) << 20),
        sm,
        memory_busy: sm / 2,
        encoder: 0,
        decoder: 0,
        gi: None,
        ci: None,
    };
    let mut scenario = gpus(2);
    scenario.gpus[0].processes = vec![
        process(10, ProcessKind::Compute, 60),
        process(11, ProcessKind::Compute, 0),
        process(12, ProcessKind::Graphics, 5),
        process(13, ProcessKind::Mps, 0),
    ];
    alone("processes_are_listed_and_sampled", scenario, |mut stage| {
        let nvml = nvml();
        let device = nvml.device_by_index(0).expect("a device");
        let compute = device.running_compute_processes().expect("processes");
        assert_eq!(compute.iter().map(|process| process.pid).collect::<Vec<_>>(), [10, 11]);
        assert_eq!(compute[0].used_gpu_memory, UsedGpuMemory::Used(10 << 20));
        assert_eq!((compute[0].gpu_instance_id, compute[0].compute_instance_id), (None, None));
        let graphics = device.running_graphics_processes().expect("processes");
        assert_eq!(graphics[0].used_gpu_memory, UsedGpuMemory::Unavailable);
        assert_eq!(device.mps_running_compute_processes().expect("processes")[0].pid, 13);
        let second = nvml.device_by_index(1).expect("a device");
        assert!(second.running_compute_processes().expect("none").is_empty());
        let sampled = device.process_utilization_stats(None).expect("samples");
        assert_eq!(
            sampled.iter().map(|it| (it.pid, it.sm_util, it.mem_util)).collect::<Vec<_>>(),
            [(10, 60, 30), (12, 5, 2)]
        );
        assert_eq!(error(second.process_utilization_stats(None)), "NotFound");
        assert_eq!(error(device.process_utilization_stats(u64::MAX)), "NotFound");
        stage.change(|scenario| scenario.gpus[0].support.process_utilization = false);
        assert_eq!(error(device.process_utilization_stats(None)), "NotFound", "as on Blackwell");
        // SAFETY: the bindings' prototype, a handle of this library, an array of the length that is told.
        unsafe {
            let mut found: [sys::nvmlProcessUtilizationInfo_v1_t; 2] = zeroed();
            let mut info: sys::nvmlProcessesUtilizationInfo_v1_t = zeroed();
            let ask = |info: &mut sys::nvmlProcessesUtilizationInfo_v1_t| {
                nvml.lib().nvmlDeviceGetProcessesUtilizationInfo(device.handle(), info)
            };
            assert_eq!(ask(&mut info), sys::nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
            info.version = size_of::<sys::nvmlProcessesUtilizationInfo_v1_t>() as u32 | 1 << 24;
            assert_eq!(ask(&mut info), sys::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE);
            assert_eq!(info.processSamplesCount, 2);
            info.procUtilArray = found.as_mut_ptr();
            assert_eq!(ask(&mut info), 0);
            assert_eq!(found.map(|process| (process.pid, process.smUtil)), [(10, 60), (12, 5)]);
        }
    });
}

#[test]
fn calls_are_counted_by_function() {
    alone("calls_are_counted_by_function", gpus(1), |stage| {
        let nvml = nvml();
        let device = nvml.device_by_index(0).expect("a device");
        for _ in 0..5 {
            device.utilization_rates().expect("rates");
        }
        let _ = device.samples(Sampling::GpuUtilization, u64::MAX);
        let counts = calls(&stage.calls).expect("counts");
        assert_eq!(counts["nvmlInit_v2"], 1);
        assert_eq!(counts["nvmlDeviceGetUtilizationRates"], 5);
        assert_eq!(counts["nvmlDeviceGetSamples"], 2, "the room, then the samples");
        assert_eq!(counts["nvmlDeviceGetMemoryInfo_v2"], 0);
    });
}
