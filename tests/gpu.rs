//! GPUs end to end: the real binary on a double of NVIDIA's library, whose scenario changes while the agent runs.
//!
//! No test of this file has ever seen a real GPU.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod support;

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

/// GPUs that are cut up by MIG.
mod mig {
    use nvidia_ml_double::{Instance, Memory, Mig};

    use super::*;

    const SERIES: &str = "hostgauge_gpu_instance_";

    fn instance(slot: u32, number: u64, gi: u32, load: f64) -> Instance {
        let memory = Memory { total: 10_000_000_000, used: number * 1_000_000_000, reserved: 0 };
        let load = Load::Percent(load);
        Instance { slot, uuid: uuid(number), gi, ci: 0, slices: 1, load, memory }
    }

    fn uuid(number: u64) -> String {
        format!("MIG-11111111-2222-3333-4444-{number:012}")
    }

    fn cut(instances: Vec<Instance>) -> Option<Mig> {
        Some(Mig { instances, ..Mig::default() })
    }

    fn of(page: &Page, what: &str, number: u64) -> Option<f64> {
        page.get(&format!("{SERIES}{what}"), &[("uuid", B), ("mig_uuid", &uuid(number))])
    }

    /// GPM divides, so that percentages are not whole.
    fn is_near(value: Option<f64>, expected: f64) -> bool {
        value.is_some_and(|value| (value - expected).abs() < 0.5)
    }

    #[test]
    fn instances_beside_a_whole_gpu_come_and_go() {
        let mut machine = Machine::new(&[(A, Load::Percent(30.0)), (B, Load::Percent(50.0))]);
        let before = vec![instance(0, 1, 7, 20.0), instance(1, 2, 9, 80.0)];
        machine.change(|scenario| scenario.gpus[1].mig = cut(before));
        let agent = machine.agent(&[]);
        let is_whole = |page: &Page| {
            let both = is_near(of(page, "utilization_percent", 1), 20.0);
            (both && is_near(of(page, "utilization_percent", 2), 80.0)).then(|| page.clone())
        };
        let page = agent.wait_for(SOON, "both instances", is_whole);
        assert_eq!(of(&page, "memory_used_bytes", 2), Some(2e9));
        assert_eq!(of(&page, "memory_utilization_percent", 2), Some(20.0));
        let labels = [("mig_uuid", &*uuid(1)), ("profile", "1g.9gb"), ("gi", "7"), ("ci", "0"), ("gpu", "1")];
        assert_eq!(page.value("hostgauge_gpu_instance_info", &labels), 1.0, "beside {}", page.text);
        assert!(is_near(sum(&page), 80.0), "the GPU counts as one, by its own GPM: {:?}", sum(&page));
        assert_eq!(counts(&page), [Some(2.0), Some(2.0)]);

        // The number of a GPU instance is given again, in the same slot: its handle is another's now.
        let after = vec![instance(0, 3, 7, 60.0), instance(2, 2, 9, 80.0)];
        machine.change(|scenario| scenario.gpus[1].mig = cut(after));
        let page = agent.wait_for(SOON, "the new instance", |page| {
            for (number, load) in [(1, 20.0), (2, 80.0), (3, 60.0)] {
                let percent = of(page, "utilization_percent", number);
                assert!(percent.is_none() || is_near(percent, load), "{number}: {}", page.text);
                let used = of(page, "memory_used_bytes", number);
                assert!(used.is_none_or(|used| used == number as f64 * 1e9), "{number}: {}", page.text);
            }
            assert_eq!(page.get("hostgauge_gpu_up", &[("uuid", B)]), Some(1.0));
            let old = page.series.iter().any(|series| series.labels.get("mig_uuid") == Some(&uuid(1)));
            let new = page.series.iter().any(|series| series.labels.get("mig_uuid") == Some(&uuid(3)));
            assert!(old != new, "one of both, from one tick to the next: {}", page.text);
            of(page, "utilization_percent", 3).map(|_| page.clone())
        });
        assert!(is_near(of(&page, "utilization_percent", 2), 80.0), "it only changed its place");
        assert_eq!(page.value("hostgauge_gpu_mig_changes_total", &[("uuid", B)]), 1.0);
        assert_eq!(page.value("hostgauge_collector_success", &[("collector", "gpu")]), 1.0);
        agent.wait_for_log("MIG instances: ");

        machine.change(|scenario| scenario.gpus[1].mig = cut(Vec::new()));
        agent.wait_for(SOON, "their end", |page| (!page.text.contains("mig_uuid=")).then_some(()));
    }

    #[test]
    fn before_hopper_an_instance_has_memory_and_no_utilization() {
        let mut machine = Machine::new(&[(A, Load::Percent(30.0)), (B, Load::Percent(50.0))]);
        machine.change(|scenario| {
            scenario.gpus[1].name = "NVIDIA A100-SXM4-40GB".to_owned();
            scenario.gpus[1].support.gpm = false;
            scenario.gpus[1].memory = Memory { total: 40_000_000_000, used: 10_000_000_000, reserved: 0 };
            scenario.gpus[1].mig = cut(vec![instance(0, 1, 7, 20.0)]);
        });
        let agent = machine.agent(&[]);
        let reason = [("uuid", B), ("reason", "mig")];
        let page = agent.wait_for(SOON, "the instance", |page| {
            let whole = page.get(UTILIZATION, &[("uuid", A)]).is_some() && of(page, "memory_used_bytes", 1).is_some();
            (whole && page.get("hostgauge_gpu_utilization_absent", &reason).is_some()).then(|| page.clone())
        });
        let page = if sum(&page).is_none() { agent.next_tick() } else { page };
        assert_eq!((sum(&page), counts(&page)), (None, [Some(2.0), Some(1.0)]));
        assert_eq!(page.value("hostgauge_gpu_memory_utilization_percent", &[]), 25.0, "the GPU's, not its instances'");
        let percents = page.series.iter().filter(|series| series.name.starts_with(SERIES));
        let percents: Vec<_> = percents.filter(|series| series.name.ends_with("_percent")).collect();
        assert_eq!(percents.len(), 1, "memory's: {percents:?}");
        assert_eq!(page.get(UTILIZATION, &[("uuid", B)]), None, "never 0 for not known");
        assert_eq!(page.all("hostgauge_gpu_utilization_absent").count(), 1);
    }

    #[test]
    fn a_container_with_slices_only_sees_them() {
        let mut machine = Machine::new(&[(B, Load::Percent(50.0))]);
        machine.change(|scenario| {
            let instances = vec![instance(0, 1, 7, 20.0)];
            scenario.gpus[0].mig = Some(Mig { instances, instances_only: true, ..Mig::default() });
        });
        let agent = machine.agent(&[]);
        let is_there = |page: &Page| is_near(of(page, "utilization_percent", 1), 20.0).then(|| page.clone());
        let page = agent.wait_for(SOON, "the slice", is_there);
        assert_eq!(of(&page, "memory_utilization_percent", 1), Some(10.0));
        assert_eq!(page.value("hostgauge_gpu_up", &[("uuid", B)]), 1.0);
        assert_eq!((sum(&page), page.get("hostgauge_gpu_memory_utilization_percent", &[])), (None, None));
        assert_eq!(counts(&page), [Some(1.0), Some(0.0)]);
        assert_eq!(page.value("hostgauge_gpu_utilization_absent", &[("uuid", B), ("reason", "mig")]), 1.0);
    }

    #[test]
    fn a_library_that_lacks_a_function_costs_what_it_would_have_said() {
        let mut machine = Machine::new(&[(B, Load::Percent(50.0))]);
        machine.change(|scenario| scenario.gpus[0].mig = cut(vec![instance(0, 1, 7, 20.0)]));
        for (function, what) in [
            ("nvmlDeviceGetMaxMigDeviceCount", None),
            ("nvmlDeviceGetMigDeviceHandleByIndex", None),
            ("nvmlDeviceGetGpuInstanceId", None),
            ("nvmlDeviceGetComputeInstanceId", Some("utilization_percent")),
            ("nvmlDeviceGetName", Some("utilization_percent")),
            ("nvmlGpmMigSampleGet", Some("memory_used_bytes")),
            ("nvmlDeviceGetMemoryInfo_v2", Some("memory_used_bytes")),
        ] {
            let older = machine.folder.path().join(format!("{function}.so"));
            without_symbol(&library().expect("the double"), function, &older).expect("a copy");
            let mut agent = machine.agent_with(&older.display().to_string(), &[]);
            let page = agent.wait_for(SOON, function, |page| {
                let there = what.is_none_or(|what| of(page, what, 1).is_some());
                (there && is_near(sum(page), 50.0)).then(|| page.clone())
            });
            assert_eq!(page.text.contains("mig_uuid="), what.is_some(), "without {function}: {}", page.text);
            let (status, _) = agent.stop("TERM");
            assert!(status.success(), "{status} without {function}: {}", agent.log());
        }
    }

    // Each instance holds something of the library, which must be let go as a whole to be loaded anew.
    #[test]
    fn instances_do_not_hold_on_to_a_driver_that_was_replaced() {
        let mut machine = Machine::new(&[(B, Load::Percent(50.0))]);
        machine.change(|scenario| scenario.gpus[0].mig = cut(vec![instance(0, 1, 7, 20.0)]));
        let agent = machine.agent(&[]);
        let is_there = |page: &Page| of(page, "utilization_percent", 1);
        agent.wait_for(SOON, "the instance", is_there);
        machine.change(|scenario| scenario.driver.version = "590.10.00".to_owned());
        agent.wait_for(SOON, "the end of the old one", |page| (!page.text.contains("mig_uuid=")).then_some(()));
        agent.wait_for(SOON, "the instance on the new driver", is_there);
    }

    #[test]
    fn an_instance_cannot_be_chosen_and_that_is_said() {
        let ended = run(&mut hostgauge(&["once", "--gpus", &uuid(1)]), "");
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains("MIG instances are measured with their GPU"), "{}", ended.stderr);
    }
}
