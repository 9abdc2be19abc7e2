//! What the double breaks, and that it heals: through nvml-wrapper and its raw bindings.
#![allow(unsafe_code, reason = "some calls are in the raw bindings only")]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod stage;

use std::ffi::CString;
use std::fs;
use std::io::Write as _;
use std::mem::zeroed;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use libloading::Library;
use nvidia_ml_double::{
    Event, Fault, Gpu, Instance, Load, Memory, Mig, Scenario, State, functions, library, without_symbol,
};
use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{Sampling, TemperatureSensor};
use nvml_wrapper::enums::gpm::GpmMetricId;
use nvml_wrapper::gpm::gpm_metrics_get;
use nvml_wrapper_sys::bindings as sys;
use stage::{alone, error, gpus, nvml, try_nvml, uuid};

fn fault(function: &str) -> Fault {
    Fault { function: function.into(), ..Fault::default() }
}

#[test]
fn a_driver_that_cannot_be_initialised() {
    alone("a_driver_that_cannot_be_initialised", gpus(1), |mut stage| {
        for (code, expected) in
            [(9, "DriverNotLoaded"), (18, "LibRmVersionMismatch"), (28, "UnexpectedVariant(28)"), (999, "Unknown")]
        {
            stage.change(|scenario| scenario.driver.init_error = Some(code));
            assert_eq!(error(try_nvml()), expected);
        }
        stage.change(|scenario| (scenario.driver.init_error, scenario.driver.cuda) = (None, None));
        let nvml = nvml();
        assert_eq!(error(nvml.sys_cuda_driver_version()), "LibraryNotFound");
    });
}

#[test]
fn every_state_is_that_gpus_alone() {
    alone("every_state_is_that_gpus_alone", gpus(3), |mut stage| {
        let nvml = nvml();
        let sick = nvml.device_by_index(1).expect("a device");
        for (state, expected, is_gone) in [
            (State::Lost, "GpuLost", true),
            (State::Unknown, "Unknown", true),
            (State::NoPermission, "NoPermission", true),
            // The wrapper has no name for RESET_REQUIRED but this one.
            (State::ResetRequired, "ResetRequired", false),
            (State::NotSupported, "NotSupported", false),
        ] {
            stage.change(|scenario| scenario.gpus[1].state = state);
            assert_eq!(error(sick.utilization_rates()), expected);
            assert_eq!(error(sick.samples(Sampling::GpuUtilization, 0)), expected);
            assert_eq!(error(sick.memory_info()), expected);
            assert_eq!(nvml.device_count().expect("a count"), 3);
            for index in [0, 2] {
                let healthy = nvml.device_by_index(index).expect("a neighbour");
                assert!(healthy.utilization_rates().is_ok() && healthy.memory_info().is_ok());
            }
            if is_gone {
                assert_eq!(error(nvml.device_by_index(1)), expected);
                assert_eq!(error(sick.uuid()), expected);
                assert!(nvml.device_by_uuid(uuid(0)).is_ok());
                assert_eq!(error(nvml.device_by_uuid(uuid(2))), expected, "the search stops at the sick one");
                assert!(nvml.device_by_pci_bus_id("0000:02:00.0").is_ok());
            } else {
                assert_eq!(nvml.device_by_index(1).and_then(|device| device.uuid()).expect("a UUID"), uuid(1));
                assert!(nvml.device_by_uuid(uuid(2)).is_ok());
            }
            stage.change(|scenario| scenario.gpus[1].state = State::Ok);
            assert!(sick.utilization_rates().is_ok(), "it is back under its old handle");
        }
    });
}

#[test]
fn gpus_come_and_go_under_their_handles() {
    alone("gpus_come_and_go_under_their_handles", gpus(2), |mut stage| {
        let nvml = nvml();
        let second = nvml.device_by_index(1).expect("a device");
        stage.change(|scenario| scenario.gpus.insert(0, Gpu::new(&uuid(9), "00000000:09:00.0")));
        assert_eq!(nvml.device_count().expect("a count"), 3);
        assert_eq!(nvml.device_by_index(0).and_then(|device| device.uuid()).expect("a UUID"), uuid(9));
        assert_eq!(second.uuid().expect("a UUID"), uuid(1), "indices move, handles do not");
        stage.change(|scenario| drop(scenario.gpus.remove(2)));
        assert_eq!(nvml.device_count().expect("a count"), 2);
        assert_eq!(error(second.uuid()), "GpuLost");
        stage.change(|scenario| scenario.gpus.push(Gpu::new(&uuid(1), "00000000:01:00.0")));
        assert_eq!(second.uuid().expect("a UUID"), uuid(1));
        stage.change(|scenario| scenario.gpus.clear());
        assert_eq!(nvml.device_count().expect("a count"), 0);
        assert_eq!(error(nvml.device_by_index(0)), "InvalidArg");
    });
}

#[test]
fn a_fault_has_a_function_a_gpu_and_a_code() {
    alone("a_fault_has_a_function_a_gpu_and_a_code", gpus(2), |mut stage| {
        let nvml = nvml();
        let (first, second) = (nvml.device_by_index(0).expect("one"), nvml.device_by_index(1).expect("two"));
        let only = Fault { gpu: Some(1), error: Some(17), ..fault("nvmlDeviceGetMemoryInfo_v2") };
        stage.change(|scenario| scenario.faults = vec![only]);
        assert_eq!(error(second.memory_info()), "OperatingSystem");
        assert!(first.memory_info().is_ok() && second.utilization_rates().is_ok());
        stage.change(|scenario| scenario.faults = vec![Fault { error: Some(999), ..fault("*") }]);
        assert_eq!(error(first.memory_info()), "Unknown");
        assert_eq!(error(nvml.device_count()), "Unknown");
        let slow = Fault { delay_ms: 120, ..fault("nvmlDeviceGetMemoryInfo_v2") };
        stage.change(|scenario| scenario.faults = vec![slow]);
        let start = Instant::now();
        assert!(first.memory_info().is_ok());
        assert!(start.elapsed() >= Duration::from_millis(120));
        stage.change(|scenario| scenario.faults.clear());
        assert!(first.memory_info().is_ok() && nvml.device_count().is_ok());
    });
}

#[test]
fn a_call_that_hangs_holds_up_nobody_else() {
    alone("a_call_that_hangs_holds_up_nobody_else", gpus(2), |mut stage| {
        let nvml = nvml();
        let wedged = Fault { gpu: Some(1), hang: true, ..fault("nvmlDeviceGetUtilizationRates") };
        stage.change(|scenario| scenario.faults = vec![wedged]);
        let first = nvml.device_by_index(0).expect("a device");
        let second = nvml.device_by_index(1).expect("a device");
        thread::scope(|scope| {
            let (done, answer) = mpsc::channel();
            scope.spawn(move || done.send(second.utilization_rates().is_ok()));
            assert_eq!(answer.recv_timeout(Duration::from_millis(500)), Err(mpsc::RecvTimeoutError::Timeout));
            for _ in 0..100 {
                assert!(first.utilization_rates().is_ok() && first.memory_info().is_ok());
            }
            assert_eq!(answer.try_recv(), Err(mpsc::TryRecvError::Empty), "still there");
            stage.change(|scenario| scenario.faults.clear());
            assert_eq!(answer.recv_timeout(Duration::from_secs(20)), Ok(true), "a driver that comes round answers");
        });
    });
}

#[test]
fn initialisations_are_counted_and_without_one_nothing_answers() {
    alone("initialisations_are_counted_and_without_one_nothing_answers", gpus(1), |_| {
        let one = nvml();
        let two = nvml();
        one.shutdown().expect("the first");
        let device = two.device_by_index(0).expect("still initialised");
        // SAFETY: the bindings' prototypes; the library stays loaded until the end.
        unsafe {
            let raw = sys::NvmlLib::new(library().expect("the library")).expect("loaded");
            let handle = device.handle();
            let mut utilization = zeroed();
            assert_eq!(raw.nvmlDeviceGetUtilizationRates(handle, &mut utilization), 0);
            assert_eq!(raw.nvmlDeviceGetUtilizationRates(std::ptr::null_mut(), &mut utilization), 2);
            assert_eq!(raw.nvmlDeviceGetUtilizationRates(handle, std::ptr::null_mut()), 2);
            two.shutdown().expect("the second");
            let uninitialised = sys::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED;
            assert_eq!(raw.nvmlDeviceGetUtilizationRates(handle, &mut utilization), uninitialised);
            let mut count = 0;
            assert_eq!(raw.nvmlDeviceGetCount_v2(&mut count), uninitialised);
            assert_eq!(raw.nvmlShutdown(), uninitialised);
            assert_eq!(raw.nvmlInitWithFlags(0), 0);
            assert_eq!(raw.nvmlDeviceGetUtilizationRates(handle, &mut utilization), 0);
            assert_eq!(raw.nvmlShutdown(), 0);
        }
    });
}

#[test]
fn a_scenario_with_a_mistake_answers_nothing() {
    alone("a_scenario_with_a_mistake_answers_nothing", gpus(1), |stage| {
        let nvml = nvml();
        let good = fs::read_to_string(stage.path()).expect("a scenario");
        let mut file = fs::File::options().append(true).open(stage.path()).expect("opened");
        file.write_all(b"colour = 1\n").expect("written");
        assert_eq!(error(nvml.device_count()), "Unknown");
        fs::write(stage.path(), good).expect("written");
        assert_eq!(nvml.device_count().expect("a count"), 1);
    });
}

#[test]
fn xids_come_once_to_each_set_that_waits() {
    let mut scenario = gpus(2);
    scenario.gpus[0].events.push(Event::xid(13));
    alone("xids_come_once_to_each_set_that_waits", scenario, |mut stage| {
        let nvml = nvml();
        let first = nvml.device_by_index(0).expect("a device");
        let types = first.supported_event_types().expect("types");
        assert!(types.contains(EventTypes::CRITICAL_XID_ERROR));
        let set = || nvml.create_event_set().expect("a set");
        let register = |set| first.register_events(EventTypes::CRITICAL_XID_ERROR, set).expect("registered");
        let (one, two) = (register(set()), register(set()));
        let start = Instant::now();
        assert_eq!(error(one.wait(60)), "Timeout", "what happened before the registration is past");
        assert!(start.elapsed() >= Duration::from_millis(60));
        stage.change(|scenario| {
            scenario.gpus[0].events.extend([
                Event { kind: 0x100, ..Event::xid(0) },
                Event { gi: Some(1), ci: Some(0), ..Event::xid(79) },
                Event::xid(79),
            ]);
            scenario.gpus[1].events.push(Event::xid(31));
        });
        for set in [&one, &two] {
            for _ in 0..2 {
                let event = set.wait(1000).expect("an event");
                assert_eq!(event.device.uuid().expect("a UUID"), uuid(0));
                assert!(format!("{event:?}").contains("79"), "{event:?}");
            }
            assert_eq!(error(set.wait(0)), "Timeout");
        }
        // SAFETY: the bindings' prototypes, handles of this library, a struct of the right type.
        unsafe {
            let (mut raw, mut data) = (zeroed(), zeroed());
            assert_eq!(nvml.lib().nvmlEventSetCreate(&mut raw), 0);
            assert_eq!(nvml.lib().nvmlDeviceRegisterEvents(first.handle(), 0x108, raw), 0);
            let refused = nvml.lib().nvmlDeviceRegisterEvents(first.handle(), 0x200, raw);
            assert_eq!(refused, sys::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED);
            let event = Event { gi: Some(2), ci: Some(3), ..Event::xid(43) };
            stage.change(|scenario| scenario.gpus[0].events.push(event));
            assert_eq!(nvml.lib().nvmlEventSetWait_v2(raw, &mut data, 1000), 0);
            assert_eq!((data.eventType, data.eventData, data.gpuInstanceId, data.computeInstanceId), (8, 43, 2, 3));
            assert_eq!(nvml.lib().nvmlEventSetFree(raw), 0);
            assert_eq!(nvml.lib().nvmlEventSetWait_v2(raw, &mut data, 1000), 2, "it is gone");
        }
        stage.change(|scenario| scenario.gpus[0].state = State::Lost);
        assert!(one.wait(0).is_ok(), "43 is still to come");
        assert_eq!(error(one.wait(1000)), "GpuLost");
    });
}

#[test]
fn a_wait_ends_when_its_event_comes() {
    alone("a_wait_ends_when_its_event_comes", gpus(1), |mut stage| {
        let nvml = nvml();
        let device = nvml.device_by_index(0).expect("a device");
        let set = nvml.create_event_set().expect("a set");
        let set = device.register_events(EventTypes::CRITICAL_XID_ERROR, set).expect("registered");
        let (done, answer) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || done.send(set.wait(60_000).is_ok()));
            assert_eq!(answer.recv_timeout(Duration::from_millis(100)), Err(mpsc::RecvTimeoutError::Timeout));
            assert!(device.utilization_rates().is_ok(), "waiting holds up nobody");
            stage.change(|scenario| scenario.gpus[0].events.push(Event::xid(31)));
            assert_eq!(answer.recv_timeout(Duration::from_secs(20)), Ok(true));
        });
    });
}

fn instance(slot: u32, gi: u32, load: f64) -> Instance {
    Instance {
        slot,
        uuid: format!("MIG-11111111-2222-3333-4444-{gi:012}"),
        gi,
        ci: 0,
        slices: 1,
        load: Load::Percent(load),
        memory: Memory { total: 16 << 30, used: u64::from(gi) << 30, reserved: 0 },
    }
}

#[test]
fn mig_has_memory_by_instance_and_utilization_by_gpm_only() {
    let mut scenario = gpus(2);
    let instances = vec![instance(0, 7, 20.0), instance(2, 9, 80.0)];
    scenario.gpus[0].mig = Some(Mig { instances, ..Mig::default() });
    alone("mig_has_memory_by_instance_and_utilization_by_gpm_only", scenario, |mut stage| {
        let nvml = nvml();
        let parent = nvml.device_by_index(0).expect("a device");
        assert_eq!(error(parent.utilization_rates()), "NotSupported");
        assert_eq!(error(parent.samples(Sampling::GpuUtilization, 0)), "NotSupported");
        assert!(parent.samples(Sampling::Power, 0).is_ok(), "power is the whole card's");
        assert_eq!(error(parent.process_utilization_stats(None)), "NotSupported");
        assert!(parent.memory_info().is_ok());
        assert_eq!(parent.mig_mode().expect("a mode").current, 1);
        assert_eq!(parent.mig_device_count().expect("slots"), 7);
        let (first, second) =
            (parent.mig_device_by_index(0).expect("one"), parent.mig_device_by_index(2).expect("two"));
        assert_eq!(error(parent.mig_device_by_index(1)), "NotFound");
        assert_eq!(error(parent.mig_device_by_index(7)), "InvalidArg");
        assert!(second.mig_is_mig_device_handle().expect("yes") && !parent.mig_is_mig_device_handle().expect("no"));
        assert_eq!(second.mig_parent_device().and_then(|device| device.uuid()).expect("a UUID"), uuid(0));
        assert_eq!(second.uuid().expect("a UUID"), instance(2, 9, 0.0).uuid);
        assert_eq!(second.memory_info().expect("memory").used, 9 << 30);
        assert_eq!(second.attributes().expect("attributes").memory_size_mb, 16 << 10);
        assert_eq!(error(parent.attributes()), "NotSupported");
        assert_eq!(error(second.utilization_rates()), "NotSupported");
        assert!(nvml.device_by_uuid(instance(2, 9, 0.0).uuid).is_ok());
        let ids = |handle| {
            let (mut gi, mut ci) = (99, 99);
            // SAFETY: the bindings' prototypes, a handle of this library.
            let answers = unsafe {
                let lib = nvml.lib();
                [lib.nvmlDeviceGetGpuInstanceId(handle, &mut gi), lib.nvmlDeviceGetComputeInstanceId(handle, &mut ci)]
            };
            (answers, gi, ci)
        };
        // SAFETY: the handles are passed on to the library that they come from.
        let (of_second, of_parent) = unsafe { (second.handle(), parent.handle()) };
        assert_eq!(ids(of_second), ([0, 0], 9, 0));
        assert_eq!(ids(of_parent).0, [3, 3]);

        let by_id = |gi| parent.gpm_mig_sample(gi).expect("a sample");
        let before = (by_id(7), by_id(9), second.gpm_sample().expect("a sample"));
        thread::sleep(Duration::from_millis(100));
        let after = (by_id(7), by_id(9), second.gpm_sample().expect("a sample"));
        let mean = |a, b| {
            let metrics = gpm_metrics_get(&nvml, a, b, &[GpmMetricId::GraphicsUtil]).expect("metrics");
            metrics.into_iter().next().expect("one").expect("a metric").value.round()
        };
        assert_eq!(mean(&before.0, &after.0), 20.0);
        assert_eq!(mean(&before.1, &after.1), 80.0);
        assert_eq!(mean(&before.2, &after.2), 80.0);
        assert!(gpm_metrics_get(&nvml, &before.0, &after.1, &[GpmMetricId::GraphicsUtil]).is_err(), "of two instances");

        stage.change(|scenario| {
            scenario.gpus[0].mig = Some(Mig { instances: vec![instance(2, 11, 0.0)], ..Mig::default() });
        });
        assert_eq!(error(first.memory_info()), "InvalidArg", "its instance is gone");
        assert_eq!(second.uuid().expect("a UUID"), instance(2, 11, 0.0).uuid, "and handles are used again");
        let given = Mig { instances: vec![instance(2, 11, 0.0)], instances_only: true, ..Mig::default() };
        stage.change(|scenario| scenario.gpus[0].mig = Some(given));
        assert_eq!(error(parent.memory_info()), "NoPermission");
        assert_eq!(error(parent.gpm_sample()), "NoPermission");
        assert!(second.memory_info().is_ok() && parent.gpm_mig_sample(11).is_ok());
        stage.change(|scenario| scenario.gpus[0].mig = Some(Mig { enabled: false, ..Mig::default() }));
        assert_eq!(error(second.memory_info()), "InvalidArg");
        assert!(parent.utilization_rates().is_ok());
        assert_eq!(parent.mig_mode().expect("a mode").current, 0);
        assert_eq!(parent.mig_device_count().expect("slots"), 0);
        let plain = nvml.device_by_index(1).expect("a device");
        assert_eq!(error(plain.mig_mode()), "NotSupported");
    });
}

/// A driver that is replaced under a running client: nothing answers until the library is unloaded and loaded anew.
#[test]
fn a_new_driver_needs_a_newly_loaded_library() {
    alone("a_new_driver_needs_a_newly_loaded_library", gpus(1), |mut stage| {
        let old = nvml();
        let device = old.device_by_index(0).expect("a device");
        stage.change(|scenario| scenario.driver.version = "590.10".into());
        assert_eq!(error(device.utilization_rates()), "LibRmVersionMismatch");
        assert_eq!(error(try_nvml()), "LibRmVersionMismatch", "the old library is still the one that is loaded");
        old.shutdown().expect("an old client can still say goodbye");
        let maps = fs::read_to_string("/proc/self/maps").expect("maps");
        assert!(!maps.contains("nvidia_ml_double"), "nobody keeps it loaded");
        assert_eq!(nvml().sys_driver_version().expect("a version"), "590.10");
    });
}

#[test]
fn each_function_can_be_missing() {
    alone("each_function_can_be_missing", gpus(1), |_| {
        let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
        for missing in functions() {
            let so = folder.path().join(format!("without-{missing}.so"));
            without_symbol(&library().expect("the library"), missing, &so).expect("a copy");
            // SAFETY: the library runs nothing when it is loaded, and the functions are looked up only.
            unsafe {
                let loaded = Library::new(&so).expect("loaded");
                for name in functions() {
                    let symbol = CString::new(name).expect("a name");
                    let found = loaded.get::<unsafe extern "C" fn()>(symbol.as_bytes_with_nul()).is_ok();
                    assert_eq!(found, name != missing, "{name} without {missing}");
                }
            }
            let nvml = Nvml::builder().lib_path(so.as_os_str()).init();
            match missing {
                "nvmlInit_v2" => assert!(error(nvml).starts_with("FailedToLoadSymbol")),
                // The wrapper panics when it is dropped without this one, also after its own shutdown() has failed.
                "nvmlShutdown" => std::mem::forget(nvml.expect(missing)),
                _ => assert!(nvml.expect(missing).shutdown().is_ok(), "{missing}"),
            }
            fs::remove_file(so).expect("removed");
        }
    });
}

#[test]
fn threads_call_at_once() {
    alone("threads_call_at_once", gpus(4), |mut stage| {
        let nvml = nvml();
        thread::scope(|scope| {
            for index in 0..4 {
                let nvml = &nvml;
                scope.spawn(move || {
                    let device = nvml.device_by_index(index).expect("a device");
                    for _ in 0..300 {
                        assert_eq!(device.uuid().expect("a UUID"), uuid(index as usize));
                        assert!(device.samples(Sampling::GpuUtilization, 0).is_ok());
                    }
                });
            }
            for step in 0..100 {
                stage.change(|scenario| scenario.gpus[0].load = Load::Percent(f64::from(step)));
            }
        });
    });
}

/// Without a scenario there is something to see.
#[test]
fn the_demonstration_is_played_when_no_file_is_named() {
    if std::env::var_os(nvidia_ml_double::SCENARIO).is_none() {
        let nvml = nvml();
        assert_eq!(nvml.device_count().expect("a count") as usize, Scenario::demonstration().gpus.len());
        let device = nvml.device_by_index(0).expect("a device");
        assert!(device.temperature(TemperatureSensor::Gpu).is_ok());
    }
}
