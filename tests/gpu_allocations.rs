//! A steady tick with eight GPUs allocates nothing, with all that the agent measures by itself: health, XIDs that came,
//! a GPU cut up by MIG and one that is cut up on a driver without GPM. However fast ticks are: at ten a second most come between two
//! samples of the driver, so that the source of a utilization, a label, is another from tick to tick.
//!
//! On the double of NVIDIA's library: its own allocations are not counted, since it is a library of its own.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)] // a counting allocator cannot be written without

use std::thread::sleep;
use std::time::{Duration, Instant};

use hostgauge::Builder;
use nvidia_ml_double::{Ecc, Event, Gpu, Instance, Load, Memory, Mig, RemappedRows, SCENARIO, Scenario};

#[path = "support/counting.rs"]
mod counting;

const GPUS: usize = 8;

fn scenario() -> Scenario {
    let gpu = |index| {
        let uuid = format!("GPU-11111111-2222-3333-4444-{index:012}");
        Gpu {
            load: Load::Percent(10.0 * index as f64),
            temperature_c: Some(56),
            memory_temperature_c: Some(61),
            ecc: Some(Ecc::default()),
            remapped_rows: Some(RemappedRows::default()),
            ..Gpu::new(&uuid, &format!("00000000:{:02X}:00.0", 16 + index))
        }
    };
    let mut gpus: Vec<Gpu> = (0..GPUS).map(gpu).collect();
    gpus[6].mig = Some(mig(6));
    gpus[7].mig = Some(mig(7));
    gpus[7].support.gpm = false;
    Scenario { gpus, ..Scenario::default() }
}

fn mig(number: u32) -> Mig {
    let instance = |slot: u32| Instance {
        slot,
        uuid: format!("MIG-11111111-2222-3333-{number:04}-{slot:012}"),
        gi: slot + 1,
        ci: 0,
        slices: 1,
        load: Load::Percent(40.0),
        memory: Memory { total: 10 << 30, used: 1 << 30, reserved: 0 },
    };
    Mig { instances: (0..3).map(instance).collect(), ..Mig::default() }
}

#[test]
fn a_steady_tick_with_eight_gpus_allocates_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scenario.toml");
    let mut scenario = scenario();
    scenario.write(&path).expect("written");
    // SAFETY: no other thread has been started yet.
    unsafe { std::env::set_var(SCENARIO, &path) };
    let library = nvidia_ml_double::library().expect("the double is built with the tests");
    for millis in [100, 500] {
        let interval = Duration::from_millis(millis);
        let (_recorder, hostgauge) =
            Builder::new().interval(interval).nvml_library(&library).build().expect("it starts");
        let deadline = Instant::now() + Duration::from_secs(20);
        let shown = |name: &str| hostgauge.page().matches(name).count();
        let wait = |name: &str, count: usize| {
            while shown(name) < count {
                assert!(Instant::now() < deadline, "waited 20 s for {count} of {name}: {}", hostgauge.page());
                sleep(Duration::from_millis(50));
            }
        };
        // All but the one that has no utilization.
        wait("\nhostgauge_gpu_device_utilization_percent{", GPUS - 1);
        wait("\nhostgauge_gpu_utilization_absent{", 1);
        wait("\nhostgauge_gpu_instance_memory_used_bytes{", 6);
        wait("\nhostgauge_gpu_instance_utilization_percent{", 3);
        // Only what comes while the agent looks is told.
        scenario.gpus[0].events.extend([Event::xid(31), Event::xid(94)]);
        scenario.write(&path).expect("written");
        wait("\nhostgauge_gpu_xid_errors_total{", 2);
        // Until the rings have reached their size, the GPM samples have turns, and every source was seen.
        sleep(Duration::from_secs(2));
        let per_ten_ticks = counting::fewest(3, || sleep(10 * interval));
        println!("allocations in ten ticks of {interval:?} with {GPUS} GPUs: {per_ten_ticks}");
        assert_eq!(per_ten_ticks, 0, "in ten ticks of {interval:?}");
    }
}
