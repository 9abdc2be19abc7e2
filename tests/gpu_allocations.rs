//! A steady tick with eight GPUs allocates nothing, however fast ticks are: at ten a second most come between two
//! samples of the driver, so that the source of a utilization, a label, is another from tick to tick.
//!
//! On the double of NVIDIA's library: its own allocations are not counted, since it is a library of its own.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)] // a counting allocator cannot be written without

use std::thread::sleep;
use std::time::{Duration, Instant};

use hostgauge::Builder;
use nvidia_ml_double::{Gpu, Load, SCENARIO, Scenario};

#[path = "support/counting.rs"]
mod counting;

const GPUS: usize = 8;

fn scenario() -> Scenario {
    let gpu = |index| {
        let uuid = format!("GPU-11111111-2222-3333-4444-{index:012}");
        Gpu {
            load: Load::Percent(10.0 * index as f64),
            ..Gpu::new(&uuid, &format!("00000000:{:02X}:00.0", 16 + index))
        }
    };
    Scenario { gpus: (0..GPUS).map(gpu).collect(), ..Scenario::default() }
}

#[test]
fn a_steady_tick_with_eight_gpus_allocates_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scenario.toml");
    scenario().write(&path).expect("written");
    // SAFETY: no other thread has been started yet.
    unsafe { std::env::set_var(SCENARIO, &path) };
    let library = nvidia_ml_double::library().expect("the double is built with the tests");
    for millis in [100, 500] {
        let interval = Duration::from_millis(millis);
        let (_recorder, hostgauge) =
            Builder::new().interval(interval).nvml_library(&library).build().expect("it starts");
        let deadline = Instant::now() + Duration::from_secs(20);
        let shown = |name: &str| hostgauge.page().matches(name).count();
        while shown("\nhostgauge_gpu_device_utilization_percent{") < GPUS {
            assert!(Instant::now() < deadline, "waited 20 s for {GPUS} GPUs: {}", hostgauge.page());
            sleep(Duration::from_millis(50));
        }
        // Until the rings have reached their size, the GPM samples have turns, and every source was seen.
        sleep(Duration::from_secs(2));
        let per_ten_ticks = counting::fewest(3, || sleep(10 * interval));
        println!("allocations in ten ticks of {interval:?} with {GPUS} GPUs: {per_ten_ticks}");
        assert_eq!(per_ten_ticks, 0, "in ten ticks of {interval:?}");
    }
}
