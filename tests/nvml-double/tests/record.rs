//! The recorder, on the double: what it writes of a scenario is that scenario, and plays as such.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::path::Path;
use std::process::Command;

use nvidia_ml_double::{Load, SCENARIO, Scenario, State, library};

fn record(played: &Scenario, folder: &Path) -> Scenario {
    let path = folder.join("scenario.toml");
    played.write(&path).expect("the scenario is written");
    let output = Command::new(env!("CARGO_BIN_EXE_nvml-record"))
        .arg(library().expect("the library"))
        .env(SCENARIO, &path)
        .output()
        .expect("the recorder runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    Scenario::parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// Without what goes on while it is recorded, and to the digits that a measurement has.
fn still(mut scenario: Scenario) -> Scenario {
    let tenth = |value: f64| (value * 10.0).round() / 10.0;
    let load = |load: Load| match load {
        Load::Percent(percent) => Load::Percent(tenth(percent)),
        cycle => cycle,
    };
    for gpu in &mut scenario.gpus {
        gpu.energy_mj = 0;
        for rate in [&mut gpu.pcie.tx_kib_s, &mut gpu.pcie.rx_kib_s] {
            *rate = (f64::from(*rate) / 1000.0).round() as u32;
        }
        gpu.load = load(gpu.load);
        gpu.memory_busy = tenth(gpu.memory_busy);
        for part in [&mut gpu.gpm.sm, &mut gpu.gpm.occupancy, &mut gpu.gpm.tensor] {
            *part = tenth(*part);
        }
        for power in [&mut gpu.power.idle_w, &mut gpu.power.peak_w] {
            *power = tenth(*power);
        }
        for instance in gpu.mig.iter_mut().flat_map(|mig| &mut mig.instances) {
            instance.load = load(instance.load);
        }
    }
    scenario
}

#[test]
fn a_recording_plays_what_was_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scenario = Scenario::demonstration();
    // A recording has means instead of rhythms, and knows fields only by their meaning.
    scenario.gpus[0].load = Load::Percent(70.0);
    scenario.gpus[0].nvlink.kib_s = 0;
    scenario.gpus[0].nvlink.kib = 77;
    scenario.gpus[0].fields.clear();
    if let Some(mig) = &mut scenario.gpus[2].mig {
        mig.instances[0].load = Load::Percent(40.0);
    }
    scenario.driver.nvml = Some("13.580.95.05".into());
    for (index, gpu) in scenario.gpus.iter_mut().enumerate() {
        gpu.minor = Some(index as u32);
        let Load::Percent(percent) = gpu.load else { panic!("a rhythm") };
        let watts = gpu.power.idle_w + percent / 100.0 * (gpu.power.peak_w - gpu.power.idle_w);
        (gpu.power.idle_w, gpu.power.peak_w) = (watts, watts);
    }
    let recorded = record(&scenario, folder.path());
    assert_eq!(still(recorded.clone()), still(scenario));
    assert_eq!(still(record(&recorded, folder.path())), still(recorded), "and so does its own recording");
}

#[test]
fn a_sick_machine_is_recorded_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scenario = Scenario::demonstration();
    scenario.gpus[1].state = State::Lost;
    let recorded = record(&scenario, folder.path());
    assert_eq!(recorded.gpus.len(), 3);
    assert_eq!(recorded.gpus[1].state, State::Lost);
    assert_eq!(recorded.gpus[2].uuid, scenario.gpus[2].uuid);
    assert_eq!(record(&recorded, folder.path()).gpus[1].state, State::Lost);
}

#[test]
fn without_a_driver_it_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_nvml-record")).arg("/no/such/library.so").output().expect("it runs");
    assert!(!output.status.success() && output.stdout.is_empty());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("/no/such/library.so"), "{text}");
}
