//! GPUs end to end: the real binary on a double of NVIDIA's library, whose scenario changes while the agent runs.
//!
//! No test of this file has ever seen a real GPU.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

#[path = "gpu/exports.rs"]
mod exports;
#[path = "gpu/health.rs"]
mod health;
#[path = "gpu/mig.rs"]
mod mig;
#[cfg(feature = "cloudwatch")]
#[path = "gpu/published.rs"]
mod published;
#[path = "gpu/scenarios.rs"]
mod scenarios;
mod support;
#[path = "gpu/trouble.rs"]
mod trouble;

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nvidia_ml_double::{
    DutyCycle, Fault, Gpu, Load, Process, ProcessKind, SCENARIO, Scenario, State, library, without_symbol,
};
use support::agent::{hostgauge, run};
use support::machine::{Machine, path_of_double};
use support::procfs::Procfs;
use support::wait::SOON;
use support::{Agent, Page};

const A: &str = "GPU-11111111-2222-3333-4444-00000000000a";
const B: &str = "GPU-11111111-2222-3333-4444-00000000000b";
const UTILIZATION: &str = "hostgauge_gpu_device_utilization_percent";

impl Machine {
    fn agent_with(&self, library: &str, args: &[&str]) -> Agent {
        self.start(library, &[&["--prometheus-listen", "127.0.0.1:0", "--interval", "500ms"], args].concat())
    }

    fn agent(&self, args: &[&str]) -> Agent {
        self.agent_with(&path_of_double(), args)
    }
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
    // The kernel counts in hundredths of a second: an early tick may find none gone by.
    agent.wait_for(SOON, "the CPU, too", Page::sum);
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
        for words in ["no GPU is measured", "cannot open shared object file"] {
            assert_eq!(agent.log().matches(words).count(), usize::from(args.is_empty()), "{words}: {}", agent.log());
        }
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

#[test]
fn sixty_four_gpus_fit_the_page_the_sum_and_the_tick() {
    let uuids: Vec<String> = (0..64).map(|index| format!("GPU-11111111-2222-3333-4444-{index:012}")).collect();
    let loads: Vec<_> =
        uuids.iter().zip(0..).map(|(uuid, index)| (uuid.as_str(), Load::Percent(index.into()))).collect();
    let machine = Machine::new(&loads);
    let interval = Duration::from_secs(2);
    let args = ["--interval", "2s", "--prometheus-listen", "127.0.0.1:0", "--nvml-library", &path_of_double()];
    let mut command = hostgauge(&args);
    command.env(SCENARIO, machine.path());
    let agent = Agent::spawn(command);
    // The base reading has snapshots only.
    let is_whole = |page: &Page| {
        let rings = page.all("hostgauge_gpu_utilization_source").filter(|series| series.labels["source"] == "ring");
        (rings.count() == 64 && sum(page).is_some()).then(|| page.clone())
    };
    let page = agent.wait_for(SOON, "64 GPUs", is_whole);
    assert_eq!(counts(&page), [Some(64.0), Some(64.0)]);
    for (total, row) in [
        ("hostgauge_gpu_utilization_percent", UTILIZATION),
        ("hostgauge_gpu_memory_utilization_percent", "hostgauge_gpu_device_memory_utilization_percent"),
    ] {
        let rows: f64 = page.all(row).map(|series| series.value).sum();
        assert!((page.value(total, &[]) - rows).abs() < 1e-4, "{total}: {} is not {rows}", page.value(total, &[]));
    }
    for (uuid, load) in uuids.iter().zip(0..64) {
        assert!((page.value(UTILIZATION, &[("uuid", uuid)]) - f64::from(load)).abs() < 1.0, "{uuid}");
    }
    let bytes = page.text.len();
    println!("64 GPUs: {bytes} bytes, {} series", page.series.len());
    // 2.5 kB a GPU when this was written; a label that names every process, say, would be another matter.
    assert!(bytes < 64 * 6000, "{bytes} bytes");
    let took = page.value("hostgauge_collector_duration_seconds", &[("collector", "gpu")]);
    // A tick that takes longer than this would come late, and the next, too.
    assert!(took < interval.as_secs_f64(), "a tick took {took} s");
}

const PROCESS_MEMORY: &str = "hostgauge_gpu_process_memory_bytes";
const PROCESS_UTILIZATION: &str = "hostgauge_gpu_process_utilization_percent";

fn on_gpu(pid: u32, memory: u64, sm: u32) -> Process {
    let (kind, memory) = (ProcessKind::Compute, Some(memory));
    Process { pid, kind, memory, sm, memory_busy: 0, encoder: 0, decoder: 0, gi: None, ci: None }
}

/// A /proc of the host's namespace, in which these processes have a name and a cgroup.
fn procfs_with(processes: &[(u32, &str, &str)]) -> Procfs {
    let procfs = Procfs::copy_of("lxc");
    let link = |target: &str, path: &str| {
        let path = procfs.file(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::os::unix::fs::symlink(target, path).expect("a link");
    };
    link("pid:[4026531836]", "self/ns/pid");
    for (pid, command, cgroup) in processes {
        link("/dev/nvidia0", &format!("{pid}/fd/7"));
        let stat = format!("{pid} ({command}) S 1 7 7 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 4711 1 1 184\n");
        for (file, text) in [("stat", stat), ("comm", format!("{command}\n")), ("cgroup", format!("0::{cgroup}\n"))] {
            std::fs::write(procfs.file(&format!("{pid}/{file}")), text).expect("written");
        }
    }
    procfs
}

#[test]
fn processes_stand_on_the_page_and_vanish_when_they_end() {
    let mut machine = Machine::new(&[(A, Load::Percent(70.0)), (B, Load::Percent(0.0))]);
    // More than are shown, and more than the agent has room for at first.
    machine.change(|scenario| {
        let small = (1000..1068).map(|pid| on_gpu(pid, 1 << 20, 0));
        scenario.gpus[0].processes =
            [on_gpu(101, 3 << 30, 45), on_gpu(102, 2 << 30, 25)].into_iter().chain(small).collect();
        // On two lists, as a program that draws what it computed.
        scenario.gpus[0].processes.push(Process { kind: ProcessKind::Graphics, ..on_gpu(101, 3 << 30, 0) });
    });
    let procfs = procfs_with(&[(101, "python3", "/")]);
    let agent = machine.agent(&["--gpu-processes", "process", "--procfs", procfs.path()]);
    let python = [("gpu", "0"), ("uuid", A), ("pid", "101"), ("command", "python3")];
    let unknown = [("gpu", "0"), ("uuid", A), ("pid", "102"), ("command", "")];
    let shares = |page: &Page| [python, unknown].map(|labels| page.get(PROCESS_UTILIZATION, &labels));
    let page = agent.wait_for(SOON, "shares", |page| shares(page)[0].map(|_| page.clone()));
    assert_eq!(shares(&page), [Some(45.0), Some(25.0)]);
    let memory = [python, unknown].map(|labels| page.value(PROCESS_MEMORY, &labels));
    assert_eq!(memory, [(3_u64 << 30) as f64, (2_u64 << 30) as f64]);
    assert_eq!(page.all(PROCESS_MEMORY).count(), 64);
    let omitted = [A, B].map(|uuid| page.value("hostgauge_gpu_processes_omitted", &[("uuid", uuid)]));
    assert_eq!(omitted, [6.0, 0.0]);
    assert_eq!(page.value("hostgauge_gpu_process_pids", &[("kind", "host")]), 1.0);

    machine.change(|scenario| scenario.gpus[0].processes.retain(|process| process.pid != 101));
    agent.wait_for(SOON, "its end", |page| page.get(PROCESS_MEMORY, &python).is_none().then_some(()));
    let page = agent.next_tick();
    assert_eq!((page.get(PROCESS_UTILIZATION, &python), page.all(PROCESS_MEMORY).count()), (None, 64));
    machine.change(|scenario| scenario.gpus[0].state = State::Lost);
    agent.wait_for(SOON, "the loss", |page| page.all(PROCESS_MEMORY).next().is_none().then_some(()));
}

#[test]
fn processes_are_summed_by_container_and_the_older_call_will_do() {
    let id = "0123456789abcdef".repeat(4);
    let docker = format!("/system.slice/docker-{id}.scope");
    let procfs = procfs_with(&[(101, "a", &docker), (102, "b", &docker), (103, "c", "/")]);
    let mut machine = Machine::new(&[(A, Load::Percent(70.0))]);
    machine.change(|scenario| {
        scenario.gpus[0].processes = vec![on_gpu(101, 1000, 30), on_gpu(102, 200, 15), on_gpu(103, 40, 5)];
        // A driver before 550.
        scenario.gpus[0].support.processes_utilization_info = false;
    });
    let agent = machine.agent(&["--gpu-processes", "container", "--procfs", procfs.path()]);
    let figures = |page: &Page| {
        [("memory_bytes", id.as_str()), ("utilization_percent", &id), ("memory_bytes", "host")].map(
            |(what, container)| {
                page.get(&format!("hostgauge_gpu_container_{what}"), &[("uuid", A), ("container", container)])
            },
        )
    };
    let page = agent.wait_for(SOON, "shares", |page| figures(page)[1].map(|_| page.clone()));
    assert_eq!(figures(&page), [Some(1200.0), Some(45.0), Some(40.0)]);
    assert_eq!(page.all(PROCESS_MEMORY).count(), 0);
    // Neither call: memory stays.
    machine.change(|scenario| scenario.gpus[0].support.process_utilization = false);
    agent.wait_for(SOON, "no shares", |page| figures(page)[1].is_none().then_some(()));
    assert_eq!(figures(&agent.next_tick()), [Some(1200.0), None, Some(40.0)]);
}

#[test]
fn a_library_that_lacks_what_tells_of_processes_has_everything_else() {
    let mut machine = Machine::new(&[(A, Load::Percent(30.0))]);
    machine.change(|scenario| scenario.gpus[0].processes = vec![on_gpu(101, 1000, 30)]);
    for (function, has_memory) in [
        ("nvmlDeviceGetComputeRunningProcesses_v3", false),
        ("nvmlDeviceGetGraphicsRunningProcesses_v3", true),
        ("nvmlDeviceGetMPSComputeRunningProcesses_v3", true),
        ("nvmlDeviceGetProcessesUtilizationInfo", true),
        ("nvmlDeviceGetProcessUtilization", true),
    ] {
        let older = machine.folder.path().join(format!("{function}.so"));
        without_symbol(&library().expect("the double"), function, &older).expect("a copy");
        let agent = machine.agent_with(&older.display().to_string(), &["--gpu-processes", "process"]);
        let page = agent.wait_for(SOON, function, |page| {
            let share = page.get(PROCESS_UTILIZATION, &[]);
            (sum(page) == Some(30.0) && share.is_some() == has_memory).then(|| page.clone())
        });
        assert_eq!(page.get(PROCESS_MEMORY, &[]), has_memory.then_some(1000.0), "{function}");
    }
}
