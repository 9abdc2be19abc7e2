//! GPUs end to end: the real binary on a double of NVIDIA's library, whose scenario changes while the agent runs.
//!
//! No test of this file has ever seen a real GPU.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

#[path = "gpu/health.rs"]
mod health;
#[path = "gpu/mig.rs"]
mod mig;
mod support;
#[path = "gpu/trouble.rs"]
mod trouble;

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nvidia_ml_double::{DutyCycle, Fault, Gpu, Load, SCENARIO, Scenario, State, library, without_symbol};
use support::agent::{hostgauge, run};
use support::wait::SOON;
use support::{Agent, Page};

const A: &str = "GPU-11111111-2222-3333-4444-00000000000a";
const B: &str = "GPU-11111111-2222-3333-4444-00000000000b";
const UTILIZATION: &str = "hostgauge_gpu_device_utilization_percent";

/// A machine with a driver, and the agent on it.
struct Machine {
    scenario: Scenario,
    folder: tempfile::TempDir,
}

impl Machine {
    fn new(loads: &[(&str, Load)]) -> Self {
        let gpu = |(index, (uuid, load)): (usize, &(&str, Load))| {
            let mut gpu = Gpu::new(uuid, &format!("00000000:{:02X}:00.0", 16 + index));
            gpu.load = *load;
            gpu
        };
        let gpus = loads.iter().enumerate().map(gpu).collect();
        let machine =
            Self { scenario: Scenario { gpus, ..Scenario::default() }, folder: tempfile::tempdir().expect("a folder") };
        machine.play();
        machine
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("scenario.toml")
    }

    fn play(&self) {
        self.scenario.write(&self.path()).expect("the scenario is written");
    }

    fn change(&mut self, change: impl FnOnce(&mut Scenario)) {
        change(&mut self.scenario);
        self.play();
    }

    fn agent_with(&self, library: &str, args: &[&str]) -> Agent {
        let usual = ["--prometheus-listen", "127.0.0.1:0", "--interval", "500ms", "--nvml-library", library];
        let mut command = hostgauge(&[&usual, args].concat());
        command.env(SCENARIO, self.path());
        Agent::spawn(command)
    }

    fn agent(&self, args: &[&str]) -> Agent {
        self.agent_with(&path_of_double(), args)
    }
}

fn path_of_double() -> String {
    library().expect("the double is built with the tests").display().to_string()
}

fn sum(page: &Page) -> Option<f64> {
    page.get("hostgauge_gpu_utilization_percent", &[])
}

fn counts(page: &Page) -> [Option<f64>; 2] {
    ["hostgauge_gpus", "hostgauge_gpus_reporting"].map(|name| page.get(name, &[]))
}

#[test]
fn two_gpus_stand_on_the_page() {
    let machine = Machine::new(&[(A, Load::Percent(30.0)), (B, Load::Percent(60.0))]);
    let agent = machine.agent(&[]);
    let is_whole = |page: &Page| {
        let source = page.get("hostgauge_gpu_utilization_source", &[("uuid", B), ("source", "ring")]);
        (sum(page) == Some(90.0) && source.is_some()).then(|| page.clone())
    };
    let page = agent.wait_for(SOON, "both", is_whole);
    assert_eq!(counts(&page), [Some(2.0), Some(2.0)]);
    assert_eq!(page.value(UTILIZATION, &[("gpu", "0"), ("uuid", A)]), 30.0);
    let memory = |what: &str| page.value(&format!("hostgauge_gpu_device_memory_{what}_bytes"), &[("uuid", A)]);
    let gpu = &machine.scenario.gpus[0].memory;
    assert_eq!((memory("used"), memory("reserved")), (gpu.used as f64, gpu.reserved as f64));
    assert_eq!(page.value("hostgauge_gpu_up", &[("uuid", A)]), 1.0);
    assert_eq!(page.value("hostgauge_collector_success", &[("collector", "gpu")]), 1.0);
    assert!(page.sum().is_some(), "the CPU is there, too");
}

#[test]
fn a_duty_cycle_is_measured_as_what_it_is() {
    // Slower than the driver's period, so that single samples say little.
    let half = Load::Cycle(DutyCycle { share: 0.5, period_s: 0.7 });
    let machine = Machine::new(&[(A, half)]);
    let agent = machine.agent(&[]);
    let busy = |page: &Page| page.get("hostgauge_gpu_busy_seconds_total", &[]);
    let idle = |page: &Page| page.get("hostgauge_gpu_idle_seconds_total", &[]);
    agent.wait_for(SOON, "a first busy second", |page| busy(page).filter(|busy| *busy > 0.2));
    let first = agent.scrape();
    sleep(Duration::from_secs(10));
    let last = agent.scrape();
    let grown = |of: &dyn Fn(&Page) -> Option<f64>| of(&last).zip(of(&first)).map(|(b, a)| b - a).expect("counters");
    let (busy, idle) = (grown(&busy), grown(&idle));
    let percent = 100.0 * busy / (busy + idle);
    assert!((percent - 50.0).abs() < 4.0, "{percent} % over {} s", busy + idle);
    assert!(busy + idle > 8.5, "all time is accounted for: {} s", busy + idle);
    assert_eq!(last.value("hostgauge_gpu_samples_lost_total", &[]), 0.0);
}

#[test]
fn a_lost_gpu_keeps_its_name_and_costs_the_sum_but_not_the_other() {
    let mut machine = Machine::new(&[(A, Load::Percent(30.0)), (B, Load::Percent(60.0))]);
    let agent = machine.agent(&[]);
    agent.wait_for(SOON, "both", |page| (sum(page) == Some(90.0)).then_some(()));
    machine.change(|scenario| scenario.gpus[0].state = State::Lost);
    let labels = [("uuid", A), ("reason", "lost")];
    let is_lost = |page: &Page| page.get("hostgauge_gpu_failure", &labels).map(|_| page.clone());
    let lost = agent.wait_for(SOON, "the loss", is_lost);
    assert_eq!((sum(&lost), counts(&lost)), (None, [Some(2.0), Some(1.0)]));
    assert_eq!((lost.value("hostgauge_gpu_up", &[("uuid", A)]), lost.get(UTILIZATION, &[("uuid", A)])), (0.0, None));
    assert_eq!(lost.value(UTILIZATION, &[("uuid", B)]), 60.0);
    assert_eq!(lost.value("hostgauge_collector_failure", &[("collector", "gpu"), ("reason", "missing")]), 1.0);
    machine.change(|scenario| scenario.gpus[0].state = State::Ok);
    let back = agent.wait_for(SOON, "the return", |page| sum(page).map(|_| page.clone()));
    assert_eq!((sum(&back), counts(&back)), (Some(90.0), [Some(2.0), Some(2.0)]));
    agent.wait_for_log("gpu: whole again");
}

#[test]
fn a_call_that_never_returns_costs_the_gpu_series_only() {
    let mut machine = Machine::new(&[(A, Load::Percent(30.0))]);
    let mut agent = machine.agent(&[]);
    agent.wait_for(SOON, "the GPU", sum);
    let function = "nvmlDeviceGetSamples".to_owned();
    machine.change(|scenario| scenario.faults.push(Fault { function, hang: true, ..Fault::default() }));
    let failure = [("collector", "gpu"), ("reason", "timed_out")];
    agent.wait_for(SOON, "the watchdog", |page| page.get("hostgauge_collector_failure", &failure));
    let page = agent.next_tick();
    assert!(page.sum().is_some(), "the CPU goes on");
    assert_eq!(page.all("hostgauge_gpu_up").count() + page.all(UTILIZATION).count(), 0);
    assert_eq!(agent.get("/-/ready").status, 200, "a wedged driver is no reason to end the agent");
    let (status, took) = agent.stop("INT");
    assert!(status.success() && took < Duration::from_secs(5), "{status} after {took:?}");
}

#[test]
fn a_hung_call_that_returns_brings_the_series_back() {
    let mut machine = Machine::new(&[(A, Load::Percent(30.0))]);
    let agent = machine.agent(&[]);
    agent.wait_for(SOON, "the GPU", sum);
    let function = "nvmlDeviceGetMemoryInfo_v2".to_owned();
    machine.change(|scenario| scenario.faults.push(Fault { function, hang: true, ..Fault::default() }));
    agent.wait_for(SOON, "the watchdog", |page| page.all(UTILIZATION).next().is_none().then_some(()));
    machine.change(|scenario| scenario.faults.clear());
    agent.wait_for(SOON, "the return", |page| (sum(page) == Some(30.0)).then_some(()));
}

#[test]
fn a_driver_that_was_replaced_is_loaded_again() {
    let mut machine = Machine::new(&[(A, Load::Percent(30.0))]);
    let agent = machine.agent(&[]);
    agent.wait_for(SOON, "the GPU", sum);
    machine.change(|scenario| scenario.driver.version = "590.10.00".to_owned());
    agent.wait_for_log("gpu: ");
    let deadline = Instant::now() + SOON;
    agent.wait_for_log("whole again");
    assert!(Instant::now() < deadline);
    agent.wait_for(SOON, "the GPU on the new driver", sum);
}

#[test]
fn a_library_that_is_not_there_is_named_and_costs_nothing_else() {
    let machine = Machine::new(&[]);
    let agent = machine.agent_with("/no/such/libnvidia-ml.so.1", &[]);
    agent.wait_for_log("cannot use NVML at /no/such/libnvidia-ml.so.1");
    let failure = [("collector", "gpu"), ("reason", "missing")];
    let page = agent.wait_for(SOON, "the failure", |page| {
        (page.get("hostgauge_collector_failure", &failure).is_some() && page.sum().is_some()).then(|| page.clone())
    });
    assert!(!page.text.contains("hostgauge_gpu"), "{}", page.text);
}

#[test]
fn without_a_driver_or_with_gpus_none_nothing_of_gpus_stands_on_the_page() {
    for args in [&[][..], &["--gpus", "none"]] {
        let agent = Agent::start(&[&["--interval", "500ms"], args].concat());
        let page = agent.wait_for(SOON, "a sample", |page| page.sum().map(|_| page.clone()));
        assert!(!page.text.contains("gpu"), "{}", page.text);
        // Longer than the patience with a thread that does not come back: this one rests.
        sleep(Duration::from_secs(4));
        let page = agent.scrape();
        assert!(!page.text.contains("gpu"), "{}", page.text);
        assert_eq!(agent.log().matches("no GPU is measured").count(), usize::from(args.is_empty()), "{}", agent.log());
    }
}

#[test]
fn once_shows_the_gpus_that_were_chosen() {
    let machine = Machine::new(&[(A, Load::Percent(30.0)), (B, Load::Percent(60.0))]);
    let mut command = hostgauge(&["once", "--interval", "1s", "--gpus", "1", "--nvml-library", &path_of_double()]);
    let ended = run(command.env(SCENARIO, machine.path()), "");
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stdout.contains(B) && !ended.stdout.contains(A), "{}", ended.stdout);
    assert!(
        ended
            .stdout
            .lines()
            .any(|line| { line.starts_with("hostgauge_gpu_utilization_percent") && line.ends_with(" 60.0 %") })
    );
}

// For every function that the agent uses: a library without it costs what it would have said, never the process.
#[test]
fn a_library_that_lacks_a_function_ends_nothing() {
    let machine = Machine::new(&[(A, Load::Percent(30.0))]);
    for function in [
        "nvmlInit_v2",
        "nvmlShutdown",
        "nvmlSystemGetDriverVersion",
        "nvmlDeviceGetCount_v2",
        "nvmlDeviceGetHandleByIndex_v2",
        "nvmlDeviceGetUUID",
        "nvmlDeviceGetName",
        "nvmlDeviceGetPciInfo_v3",
        "nvmlDeviceGetMigMode",
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetSamples",
        "nvmlGpmQueryDeviceSupport",
        "nvmlGpmSampleAlloc",
        "nvmlGpmSampleFree",
        "nvmlGpmSampleGet",
        "nvmlGpmMetricsGet",
    ] {
        let older = machine.folder.path().join(format!("{function}.so"));
        without_symbol(&library().expect("the double"), function, &older).expect("a copy");
        let mut agent = machine.agent_with(&older.display().to_string(), &[]);
        let page = agent.wait_for(SOON, "the collector", |page| {
            let told = page.get("hostgauge_collector_success", &[("collector", "gpu")]);
            (told.is_some() && page.sum().is_some()).then(|| page.clone())
        });
        let needed = ["nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID"];
        if !needed.contains(&function) {
            let found = |page: &Page| page.get(UTILIZATION, &[]).or(sum(page));
            let percent = agent.wait_for(SOON, function, found);
            assert!((percent - 30.0).abs() < 1.0, "{percent} without {function}: {}", page.text);
        }
        let (status, _) = agent.stop("TERM");
        assert!(status.success(), "{status} without {function}: {}", agent.log());
    }
}
