//! What the driver says of a GPU's health.

use nvidia_ml_double::{CALLS, Ecc, Event, RemappedRows, calls};

use super::support::wait::wall;
use super::*;

const XIDS: &str = "hostgauge_gpu_xid_errors_total";
const LOSSES: &str = "hostgauge_gpu_losses_total";

#[test]
fn what_the_driver_says_of_a_gpus_health_stands_on_the_page() {
    let mut machine = Machine::new(&[(A, Load::Percent(0.0)), (B, Load::Percent(0.0))]);
    machine.change(|scenario| {
        let [well, silent] = scenario.gpus.as_mut_slice() else { panic!("two GPUs") };
        (well.temperature_c, well.memory_temperature_c) = (Some(56), Some(61));
        well.energy_mj = 2_000_000;
        (well.throttle.power_ns, well.throttle.base_clocks_ns) = (5_000_000_000, 250_000_000);
        well.ecc = Some(Ecc { corrected_aggregate: 7, uncorrected_aggregate: 2, ..Ecc::default() });
        let rows = RemappedRows { correctable: 3, uncorrectable: 4, pending: true, failed: false };
        (well.remapped_rows, well.recovery_action) = (Some(rows), 1);
        (silent.support.energy, silent.support.events) = (false, 0);
        silent.support.unsupported_fields = (74..=82).chain([230]).collect();
    });
    let agent = machine.agent(&[]);
    let page = agent.wait_for(SOON, "both", |page| sum(page).map(|_| page.clone()));
    for (name, label, value) in [
        ("temperature_celsius", None, 56.0),
        ("memory_temperature_celsius", None, 61.0),
        ("power_watts", None, machine.scenario.gpus[0].power.idle_w),
        ("throttled_seconds_total", Some(("reason", "power")), 5.0),
        ("throttled_seconds_total", Some(("reason", "thermal")), 0.0),
        ("throttled_seconds_total", Some(("reason", "base_clocks")), 0.25),
        ("ecc_errors_total", Some(("kind", "corrected")), 7.0),
        ("ecc_errors_total", Some(("kind", "uncorrected")), 2.0),
        ("remapped_rows_total", Some(("cause", "correctable")), 3.0),
        ("remapped_rows_total", Some(("cause", "uncorrectable")), 4.0),
        ("row_remapping_pending", None, 1.0),
        ("row_remapping_failed", None, 0.0),
        ("recovery_action", Some(("action", "reset")), 1.0),
        ("losses_total", None, 0.0),
    ] {
        let name = format!("hostgauge_gpu_{name}");
        let labels: Vec<(&str, &str)> = [("uuid", A)].into_iter().chain(label).collect();
        assert_eq!(page.value(&name, &labels), value, "{name} {labels:?}");
        let known = name.ends_with("power_watts") || name == LOSSES;
        assert_eq!(page.get(&name, &[("uuid", B)]).is_some(), known, "{name} of the other");
    }
    let energy = |page: &Page| page.value("hostgauge_gpu_energy_joules_total", &[]);
    assert!(energy(&page) >= 2000.0, "{}", page.text);
    let watts = machine.scenario.gpus[0].power.idle_w;
    agent.wait_for(SOON, "a second of idling", |now| (energy(now) >= energy(&page) + watts).then_some(()));
    assert!(!page.text.contains("gpu_xid"), "{}", page.text);
}

#[test]
fn an_xid_a_loss_and_the_return() {
    let mut machine = Machine::new(&[(A, Load::Percent(30.0)), (B, Load::Percent(60.0))]);
    machine.scenario.gpus[0].events.push(Event::xid(48));
    machine.play();
    let mut agent = machine.agent(&[]);
    agent.wait_for(SOON, "both", |page| (sum(page) == Some(90.0)).then_some(()));
    // Twice the same are two, and what was before the agent is not told.
    machine.change(|scenario| scenario.gpus[0].events.extend([Event::xid(31), Event::xid(31)]));
    let job = [("uuid", A), ("xid", "31"), ("class", "application")];
    agent.wait_for(SOON, "both XIDs", |page| (page.get(XIDS, &job) == Some(2.0)).then_some(()));
    // Real drivers are not known to tell this one.
    machine.change(|scenario| {
        scenario.gpus[0].events.push(Event::xid(79));
        scenario.gpus[0].state = State::Lost;
    });
    let fall = [("uuid", A), ("xid", "79"), ("class", "hardware")];
    let lost = agent.wait_for(SOON, "the loss", |page| {
        page.get(LOSSES, &[("uuid", A)]).filter(|n| *n == 1.0).map(|_| page.clone())
    });
    assert_eq!((lost.value(XIDS, &fall), lost.value(XIDS, &job)), (1.0, 2.0));
    let seconds = lost.value("hostgauge_gpu_xid_last_timestamp_seconds", &[("uuid", A), ("xid", "79")]);
    let now = wall().as_secs_f64();
    assert!((now - SOON.as_secs_f64()..=now + 1.0).contains(&seconds), "{seconds} at {now}");
    assert_eq!((lost.get("hostgauge_gpu_power_watts", &[("uuid", A)]), lost.all(XIDS).count()), (None, 2));
    assert_eq!((lost.value(LOSSES, &[("uuid", B)]), sum(&lost)), (0.0, None));
    machine.change(|scenario| scenario.gpus[0].state = State::Ok);
    let back = agent.wait_for(SOON, "the return", |page| sum(page).map(|_| page.clone()));
    assert_eq!((back.value(XIDS, &fall), back.value(XIDS, &job), back.value(LOSSES, &[("uuid", A)])), (1.0, 2.0, 1.0));
    machine.change(|scenario| scenario.gpus[0].events.push(Event::xid(79)));
    agent.wait_for(SOON, "one more", |page| (page.get(XIDS, &fall) == Some(2.0)).then_some(()));
    agent.stop("TERM");
    let log = agent.log();
    for (line, times) in [("XID 31, class application", 1), ("XID 79, class hardware", 1), ("XID 48", 0)] {
        assert_eq!(log.matches(&format!("GPU 0 ({A}): {line}")).count(), times, "{line}: {log}");
    }
}

#[test]
fn a_new_driver_goes_on_with_the_counts() {
    let mut machine = Machine::new(&[(A, Load::Percent(30.0))]);
    let counts = machine.folder.path().join("calls");
    let mut command =
        hostgauge(&["--prometheus-listen", "127.0.0.1:0", "--interval", "500ms", "--nvml-library", &path_of_double()]);
    command.env(SCENARIO, machine.path()).env(CALLS, &counts);
    let mut agent = Agent::spawn(command);
    agent.wait_for(SOON, "the GPU", sum);
    machine.change(|scenario| scenario.gpus[0].events.push(Event::xid(94)));
    let xid = |page: &Page| page.get(XIDS, &[("xid", "94"), ("class", "hardware")]);
    agent.wait_for(SOON, "the XID", xid);
    machine.change(|scenario| scenario.driver.version = "590.10.00".to_owned());
    agent.wait_for_log("whole again");
    machine.change(|scenario| scenario.gpus[0].events.push(Event::xid(94)));
    agent.wait_for(SOON, "one of the new driver", |page| (xid(page) == Some(2.0)).then_some(()));
    agent.stop("TERM");
    let calls = calls(&counts).expect("the counts");
    let (created, freed) = (calls["nvmlEventSetCreate"], calls["nvmlEventSetFree"]);
    assert!(created == 2 && freed == created, "{created} sets created, {freed} freed");
}

// As for what utilization needs: a library without a function costs what it would have said.
#[test]
fn a_library_that_lacks_a_function_of_health_lacks_that_only() {
    let mut machine = Machine::new(&[(A, Load::Percent(30.0))]);
    machine.change(|scenario| scenario.gpus[0].temperature_c = Some(56));
    let [power, temperature, energy] = ["power_watts", "temperature_celsius", "energy_joules_total"];
    for (function, lacks) in [
        ("nvmlDeviceGetPowerUsage", Some(power)),
        ("nvmlDeviceGetFieldValues", Some(energy)),
        ("nvmlDeviceGetTemperatureV", None),
        ("nvmlDeviceGetTemperature", None),
        ("nvmlDeviceGetSupportedEventTypes", None),
        ("nvmlDeviceRegisterEvents", None),
        ("nvmlEventSetCreate", None),
        ("nvmlEventSetWait_v2", None),
        ("nvmlEventSetFree", None),
    ] {
        let older = machine.folder.path().join(format!("{function}.so"));
        without_symbol(&library().expect("the double"), function, &older).expect("a copy");
        let mut agent = machine.agent_with(&older.display().to_string(), &[]);
        let page = agent.wait_for(SOON, function, |page| (sum(page) == Some(30.0)).then(|| page.clone()));
        for name in [power, temperature, energy] {
            let found = page.get(&format!("hostgauge_gpu_{name}"), &[]);
            assert_eq!(found.is_some(), lacks != Some(name), "{name} without {function}: {}", page.text);
        }
        let (status, _) = agent.stop("TERM");
        assert!(status.success(), "{status} without {function}: {}", agent.log());
    }
}
