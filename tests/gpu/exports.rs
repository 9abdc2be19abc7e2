//! A driver that lacks a function: each that the agent calls, taken away in turn.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nvidia_ml_double::{CALLS, Ecc, Event, Instance, Mig, RemappedRows, calls};

use super::*;

/// Without one of these nobody can tell that there is a GPU.
const NEEDED: [&str; 4] =
    ["nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID"];

/// A machine on which the agent has a reason for every call: events, health, MIG and processes.
fn machine() -> Machine {
    let mut machine = Machine::new(&[(A, Load::Percent(30.0)), (B, Load::Percent(60.0))]);
    machine.change(|scenario| {
        for gpu in &mut scenario.gpus {
            (gpu.temperature_c, gpu.memory_temperature_c) = (Some(56), Some(61));
            (gpu.ecc, gpu.remapped_rows) = (Some(Ecc::default()), Some(RemappedRows::default()));
            gpu.events.push(Event::xid(48));
        }
        scenario.gpus[0].processes = vec![on_gpu(101, 1 << 30, 20)];
        let (uuid, memory) = ("MIG-11111111-2222-3333-4444-000000000001".to_owned(), Default::default());
        let instance = Instance { slot: 0, uuid, gi: 7, ci: 0, slices: 1, load: Load::Percent(20.0), memory };
        scenario.gpus[1].mig = Some(Mig { instances: vec![instance], ..Mig::default() });
    });
    machine
}

/// The functions that were called, by a file of counts.
fn called(counts: &Path) -> BTreeSet<String> {
    let calls = calls(counts).unwrap_or_default();
    calls.into_iter().filter(|(_, count)| *count > 0).map(|(name, _)| name).collect()
}

/// Runs the agent, then the check, on a library that lacks a function, and says which functions they called.
fn survives(machine: &Machine, lacks: Option<&str>) -> BTreeSet<String> {
    let name = lacks.unwrap_or("nothing");
    let path = machine.folder.path().join(format!("{name}.so"));
    let whole = library().expect("the double");
    match lacks {
        Some(function) => without_symbol(&whole, function, &path).expect("a copy"),
        None => fs::copy(&whole, &path).map(drop).expect("a copy"),
    }
    let counts = machine.folder.path().join(format!("{name}.calls"));
    let library = path.display().to_string();
    let args = ["--prometheus-listen", "127.0.0.1:0", "--interval", "500ms", "--gpu-processes", "process"];
    let mut command = hostgauge(&args);
    command.args(["--nvml-library", &library]).env(SCENARIO, machine.path()).env(CALLS, &counts);
    let mut agent = Agent::spawn(command);
    let page = agent.wait_for(SOON, "the collector", |page| {
        let told = page.get("hostgauge_collector_success", &[("collector", "gpu")]);
        (told.is_some() && page.sum().is_some()).then(|| page.clone())
    });
    if lacks.is_none_or(|function| !NEEDED.contains(&function)) {
        let whole_gpu = |page: &Page| page.get(UTILIZATION, &[("uuid", A)]);
        let percent = agent.wait_for(SOON, name, whole_gpu);
        assert!((percent - 30.0).abs() < 1.0, "{percent} without {name}: {}", page.text);
        // What is asked seldom is asked by now.
        agent.wait_for(SOON, "three ticks", |page| {
            page.get("hostgauge_gpu_samples_total", &[("uuid", A)])
                .filter(|samples| *samples > 7.0)
                .or_else(|| {
                    page.get("hostgauge_gpu_unsampled_seconds_total", &[("uuid", A)]).filter(|seconds| *seconds > 1.0)
                })
                .or_else(|| page.get("hostgauge_gpu_busy_seconds_total", &[("uuid", A)]).filter(|busy| *busy > 0.4))
        });
    }
    let (status, _) = agent.stop("TERM");
    assert!(status.success(), "{status} without {name}: {}", agent.log());
    let mut check = hostgauge(&["check", "--nvml-library", &library]);
    let ended = run(check.env(SCENARIO, machine.path()).env(CALLS, &counts), "");
    assert!(ended.status.code().is_some(), "without {name}: {ended:?}");
    called(&counts)
}

// For every function that the agent or the check ever calls, also those that stand in for one that is missing: a
// library without it costs what it would have said, never the process. The list is what was called, so that it stays
// whole by itself.
#[test]
fn a_library_that_lacks_a_function_ends_nothing() {
    let machine = machine();
    let mut open = survives(&machine, None);
    let mut done = BTreeSet::new();
    while !open.is_empty() {
        let names: Vec<String> = open.into_iter().collect();
        done.extend(names.iter().cloned());
        // A few at a time: each waits for its ticks most of the time.
        let found: BTreeSet<String> = std::thread::scope(|scope| {
            let share = names.len().div_ceil(6);
            let shares = names.chunks(share).map(|names| {
                let machine = &machine;
                scope.spawn(move || names.iter().flat_map(|name| survives(machine, Some(name))).collect::<Vec<_>>())
            });
            let threads: Vec<_> = shares.collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no failure")).collect()
        });
        open = found.difference(&done).cloned().collect();
    }
    println!("{} functions: {done:?}", done.len());
    for function in NEEDED.iter().chain(&["nvmlShutdown", "nvmlDeviceGetSamples", "nvmlEventSetWait_v2"]) {
        assert!(done.contains(*function), "{function} was not called: {done:?}");
    }
}
