//! Waste, sums of some, calls that hang, and standby.

use nvidia_ml_double::{CALLS, calls};

use super::support::wait::wait_until;
use super::*;

/// A function that does not return, for one GPU or for all.
fn hang(function: &str, gpu: Option<usize>) -> Fault {
    Fault { function: function.to_owned(), gpu, hang: true, ..Fault::default() }
}

#[test]
fn a_partial_sum_over_eight_goes_on_without_the_lost_one_and_says_so() {
    let uuids: Vec<String> = (0..8).map(|n| format!("GPU-11111111-2222-3333-4444-00000000000{n}")).collect();
    let loads: Vec<_> = uuids.iter().map(|uuid| (uuid.as_str(), Load::Percent(50.0))).collect();
    let mut machine = Machine::new(&loads);
    let strict = machine.agent(&[]);
    let partial = machine.agent(&["--gpu-sum", "partial"]);
    let wait = |agent: &Agent, what: &str, is: fn(&Page) -> bool| {
        agent.wait_for(SOON, what, |page| is(page).then(|| page.clone()));
    };
    let is_whole = |page: &Page| sum(page) == Some(400.0) && counts(page) == [Some(8.0), Some(8.0)];
    [&strict, &partial].into_iter().for_each(|agent| wait(agent, "all eight", is_whole));
    machine.change(|scenario| scenario.gpus[3].state = State::Lost);
    wait(&strict, "no sum of seven", |page| sum(page).is_none() && counts(page) == [Some(8.0), Some(7.0)]);
    wait(&partial, "a sum of seven", |page| sum(page) == Some(350.0) && counts(page) == [Some(8.0), Some(7.0)]);
    machine.change(|scenario| scenario.gpus[3].state = State::Ok);
    [&strict, &partial].into_iter().for_each(|agent| wait(agent, "all eight again", is_whole));
}

#[test]
fn a_stall_and_memory_that_nobody_uses_are_shown() {
    let stalls = Load::Cycle(DutyCycle { share: 0.5, period_s: 4.0 });
    let mut machine = Machine::new(&[(A, stalls), (B, stalls)]);
    machine.change(|scenario| scenario.gpus[0].memory.used = 10 << 30);
    let agent = machine.agent(&[]);
    let of = |page: &Page, name: &str, uuid: &str| page.get(name, &[("uuid", uuid)]);
    // Two seconds of each four, less the samples that the edges fall into.
    let (page, stall) = agent.wait_for(SOON, "a whole stall", |page| {
        let stall = of(page, "hostgauge_gpu_longest_idle_seconds", A).filter(|stall| *stall > 1.6)?;
        let held = of(page, "hostgauge_gpu_held_idle_seconds_total", A).filter(|held| *held > 1.0)?;
        (held > 0.0).then(|| (page.clone(), stall))
    });
    assert!(stall < 2.1, "{stall} s");
    let held = of(&page, "hostgauge_gpu_held_idle_seconds_total", A);
    assert!(held <= of(&page, "hostgauge_gpu_idle_seconds_total", A), "{}", page.text);
    assert_eq!(of(&page, "hostgauge_gpu_held_idle_seconds_total", B), Some(0.0), "no memory, no waste");
    assert!(of(&page, "hostgauge_gpu_samples_total", B) > Some(6.0), "{}", page.text);
}

impl Machine {
    /// An agent whose calls to the library are counted.
    fn counted_agent(&self) -> Agent {
        let library = path_of_double();
        let args = ["--prometheus-listen", "127.0.0.1:0", "--interval", "500ms", "--nvml-library", &library];
        let mut command = hostgauge(&args);
        command.env(SCENARIO, self.path()).env(CALLS, self.folder.path().join("calls"));
        Agent::spawn(command)
    }

    /// How often the library was initialised and shut down.
    fn lives(&self) -> (u64, u64) {
        let calls = calls(&self.folder.path().join("calls")).expect("counts");
        (calls["nvmlInit_v2"], calls["nvmlShutdown"])
    }
}

fn standby(page: &Page) -> Option<f64> {
    page.get("hostgauge_gpu_standby", &[])
}

fn is_mapped(agent: &Agent) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", agent.pid())).expect("maps");
    maps.contains("libnvidia_ml_double")
}

#[test]
fn in_standby_the_driver_is_let_go_and_afterwards_what_is_there_counts() {
    let mut machine = Machine::new(&[(A, Load::Percent(30.0)), (B, Load::Percent(60.0))]);
    let agent = machine.counted_agent();
    let page = agent.wait_for(SOON, "both", |page| (sum(page) == Some(90.0)).then(|| page.clone()));
    assert_eq!((standby(&page), machine.lives(), is_mapped(&agent)), (Some(0.0), (1, 0), true));

    agent.signal("USR1");
    let in_standby = |page: &Page| (standby(page) == Some(1.0)).then(|| page.clone());
    agent.wait_for(SOON, "standby", in_standby);
    let page = agent.next_tick();
    assert_eq!((machine.lives(), is_mapped(&agent)), ((1, 1), false));
    let others: Vec<_> = page.series.iter().filter(|series| series.name.starts_with("hostgauge_gpu")).collect();
    assert_eq!((others.len(), standby(&page)), (1, Some(1.0)), "{others:?}");
    assert_eq!(page.value("hostgauge_collector_success", &[("collector", "gpu")]), 1.0);
    assert_eq!(agent.log().matches("driver is let go").count(), 1, "{}", agent.log());

    // What standby is for: a GPU is taken out, the driver replaced. Nobody looks meanwhile.
    machine.change(|scenario| {
        scenario.gpus.truncate(1);
        scenario.driver.version = "590.10.00".to_owned();
    });
    agent.next_tick();
    assert_eq!(machine.lives(), (1, 1));
    agent.signal("USR2");
    let page = agent.wait_for(SOON, "the rest", |page| sum(page).map(|_| page.clone()));
    assert_eq!((sum(&page), counts(&page), standby(&page)), (Some(30.0), [Some(1.0), Some(1.0)], Some(0.0)));
    assert_eq!((machine.lives(), is_mapped(&agent)), ((2, 1), true));
    agent.wait_for_log("is not there after the standby, and forgotten");
    assert!(!agent.log().contains("mismatch"), "{}", agent.log());
}

#[test]
fn standby_waits_for_a_call_that_hangs_and_for_nothing_else() {
    let mut machine = Machine::new(&[(A, Load::Percent(30.0))]);
    let agent = machine.counted_agent();
    agent.wait_for(SOON, "the GPU", sum);
    machine.change(|scenario| scenario.faults.push(hang("nvmlDeviceGetSamples", None)));
    let failure = [("collector", "gpu"), ("reason", "timed_out")];
    agent.wait_for(SOON, "the watchdog", |page| page.get("hostgauge_collector_failure", &failure));
    agent.signal("USR1");
    agent.wait_for_log("SIGUSR1");
    agent.next_tick();
    assert_eq!((machine.lives(), is_mapped(&agent)), ((1, 0), true), "not below a call");
    machine.change(|scenario| scenario.faults.clear());
    agent.wait_for(SOON, "standby", standby);
    agent.wait_for(SOON, "standby alone", |page| sum(page).is_none().then_some(()));
    agent.wait_for(SOON, "the release", |_| (!is_mapped(&agent) && machine.lives() == (1, 1)).then_some(()));
}

#[test]
fn a_call_that_hangs_names_its_gpu_and_tells_for_how_long() {
    let mut machine = Machine::new(&[(A, Load::Percent(30.0)), (B, Load::Percent(60.0))]);
    let agent = machine.agent(&[]);
    let stuck = |page: &Page| page.get("hostgauge_collector_stuck_seconds", &[("collector", "gpu")]);
    agent.wait_for(SOON, "no hang", |page| sum(page).and(stuck(page)).filter(|seconds| *seconds == 0.0));
    machine.change(|scenario| scenario.faults.push(hang("nvmlDeviceGetMemoryInfo_v2", Some(1))));
    let failure = [("uuid", B), ("gpu", "1"), ("reason", "stuck")];
    agent.wait_for(SOON, "the watchdog", |page| page.get("hostgauge_gpu_failure", &failure));
    let page = agent.next_tick();
    assert_eq!((page.all("hostgauge_gpu_failure").count(), page.all("hostgauge_gpu_up").count()), (1, 0));
    let first = stuck(&page).expect("an age");
    // The watchdog's patience of 2.5 s counts from the tick before.
    assert!(first > 1.5, "{first} s");
    // Longer than the collector's own patience with one GPU, 5 s.
    agent.wait_for(SOON, "its growth", |page| stuck(page).filter(|seconds| *seconds > 5.5 && *seconds > first));
    machine.change(|scenario| scenario.faults.clear());
    // The answer came too late to call the GPU well at once: it is left alone for a second.
    let late = agent.wait_for(SOON, "the late answer", |page| {
        (page.get("hostgauge_gpu_up", &[("uuid", B)]) == Some(0.0)).then(|| page.clone())
    });
    assert_eq!((late.get("hostgauge_gpu_failure", &failure), late.get(UTILIZATION, &[("uuid", B)])), (Some(1.0), None));
    assert_eq!(late.value("hostgauge_gpu_up", &[("uuid", A)]), 1.0);
    let page = agent.wait_for(SOON, "both", |page| (sum(page) == Some(90.0)).then(|| page.clone()));
    assert_eq!((page.all("hostgauge_gpu_failure").count(), stuck(&agent.next_tick())), (0, Some(0.0)));
}

#[test]
fn once_prints_the_rest_when_a_call_hangs() {
    let mut machine = Machine::new(&[(A, Load::Percent(30.0))]);
    machine.change(|scenario| scenario.faults.push(hang("nvmlDeviceGetSamples", None)));
    let mut command = hostgauge(&["once", "--interval", "200ms", "--nvml-library", &path_of_double()]);
    let ended = run(command.env(SCENARIO, machine.path()), "");
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("gpu: the reading does not come back within 8 s"), "{}", ended.stderr);
    assert!(ended.stdout.contains("hostgauge_cpu_utilization_percent"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("hostgauge_gpu"), "{}", ended.stdout);
}

#[test]
fn once_lets_the_driver_go() {
    let machine = Machine::new(&[(A, Load::Percent(30.0))]);
    let mut command = hostgauge(&["once", "--interval", "200ms", "--nvml-library", &path_of_double()]);
    command.env(SCENARIO, machine.path()).env(CALLS, machine.folder.path().join("calls"));
    assert!(run(&mut command, "").status.success());
    assert_eq!(machine.lives(), (1, 1));
}

// The sampler gives up a thread after a second, and there is nothing to deliver; the rest is the test machine's.
#[test]
fn a_signal_ends_the_agent_wherever_the_driver_hangs() {
    for (function, signal) in [("nvmlInit_v2", "INT"), ("nvmlDeviceGetCount_v2", "TERM"), ("nvmlShutdown", "INT")] {
        let mut machine = Machine::new(&[(A, Load::Percent(30.0))]);
        let in_use = function == "nvmlShutdown";
        if !in_use {
            machine.change(|scenario| scenario.faults.push(hang(function, None)));
        }
        let mut agent = machine.agent(&[]);
        agent.wait_for(SOON, "the CPU", Page::sum);
        if in_use {
            agent.wait_for(SOON, "the GPU", sum);
            machine.change(|scenario| scenario.faults.push(hang(function, None)));
        }
        let (status, took) = agent.stop(signal);
        assert!(status.success() && took < Duration::from_secs(5), "{function}: {status} after {took:?}");
        assert!(agent.log().contains("stuck in a call that does not return"), "{function}: {}", agent.log());
    }
}

#[test]
fn a_program_that_embeds_hostgauge_has_the_switch() {
    let switch = hostgauge::GpuStandby::default();
    // Without a scenario the double plays its demonstration.
    let library = library().expect("the double is built with the tests");
    let builder = hostgauge::Builder::new().interval(Duration::from_millis(100)).nvml_library(library);
    let (_recorder, hostgauge) = builder.gpu_standby(switch.clone()).build().expect("it starts");
    let wait = |what: &str, seen: &dyn Fn(&Page) -> bool| {
        wait_until(SOON, what, || {
            let page = Page::parse(hostgauge.page());
            if seen(&page) { Ok(()) } else { Err(page.text) }
        });
    };
    wait("the GPUs", &|page| standby(page) == Some(0.0) && counts(page)[0].is_some());
    switch.set(true);
    wait("standby", &|page| standby(page) == Some(1.0) && counts(page)[0].is_none());
    switch.set(false);
    wait("its end", &|page| standby(page) == Some(0.0) && counts(page)[0].is_some());
}
