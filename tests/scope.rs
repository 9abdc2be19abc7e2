//! Scopes on this machine's own cgroups (version 1, with or without 2 beside it), against the kernel's counters of the
//! same time. The groups are made, filled and removed here, which takes root.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail and speak as tests do"
)]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use support::agent::{BINARY, clean, run};
use support::compared::{Compared, Memory};
use support::group::{CGROUPS, CONTROLLERS, Group};
use support::wait::SOON;
use support::{Agent, Page};

/// A name that no other test has.
fn name(what: &str) -> String {
    format!("/hostgauge-{what}-{}", std::process::id())
}

const CPU: &str = "hostgauge_cpu_utilization_percent";

#[test]
fn half_a_core_and_page_cache_read_as_the_kernel_counts_them() {
    let Some(group) = Group::make(&name("quota")) else { return };
    group.limit_cpu();
    group.write("memory", "memory.limit_in_bytes", "67108864");
    let _load = group.run("while :; do :; done");
    let agent = Agent::start(&["--scope", &format!("cgroup:{}", group.path)]);
    let (cpu, _) = Compared::over(10, &agent, &group);
    println!("{}:\n{cpu}", Compared::COLUMNS);
    cpu.assert_within(1.0);
    assert!(cpu.kernel > 5.0, "the load did not load: {cpu}");

    let page = agent.next_tick();
    let value = |name: &str| page.value(name, &[]);
    assert_eq!(value("hostgauge_cpu_limit_cores"), 0.5);
    let normalized = value("hostgauge_cpu_utilization_normalized_percent");
    assert!((normalized - 2.0 * value(CPU)).abs() < 0.001);
    // On a busy machine the loop may not get its quota; then nothing is throttled. A period is 100 ms.
    let periods = ["nr_periods", "nr_throttled"].map(|row| group.row("cpu", "cpu.stat", row));
    let read = ["periods", "throttled_periods"].map(|name| value(&format!("hostgauge_cpu_{name}_total")));
    assert!(
        read.iter().zip(&periods).all(|(agent, kernel)| (0.0..=5.0).contains(&(kernel - agent))),
        "{read:?} {periods:?}"
    );
    assert!(read[0] > 0.0);
    let throttled = group.row("cpu", "cpu.stat", "throttled_time") / 1e9;
    assert!((0.0..=2.0).contains(&(throttled - value("hostgauge_cpu_throttled_seconds_total"))), "{throttled} s");
    let cores: f64 = page.all("hostgauge_scope_cpu_core_utilization_percent").map(|series| series.value).sum();
    assert!((cores - value(CPU)).abs() < 2.0, "the cores' sum {cores}, the whole {}", value(CPU));
    assert_eq!(value("hostgauge_cpu_samples_rejected_total"), 0.0);

    let memory = Memory::with_cache(&agent, &group, 30);
    let Memory { page, charged, working_set, .. } = &memory;
    let value = |name: &str| page.value(name, &[]);
    assert_eq!(value("hostgauge_memory_limit_bytes"), 67_108_864.0);
    assert!((value("hostgauge_memory_charged_bytes") - charged).abs() < 1e6, "{charged}");
    assert!(value("hostgauge_memory_charged_bytes") > 30e6);
    assert!((value("hostgauge_memory_used_bytes") - working_set).abs() < 1e6, "{working_set}");
    let percent = 100.0 * value("hostgauge_memory_used_bytes") / 67_108_864.0;
    assert!((value("hostgauge_memory_utilization_percent") - percent).abs() < 0.001, "{percent}: {}", page.text);
    assert!(page.get("hostgauge_disk_utilization_percent", &[]).is_some(), "through the root of its process");
    assert!(page.text.contains(&format!("path=\"{}\"", group.path)), "{}", page.text);
}

#[test]
fn an_inner_group_has_its_ancestors_limits_and_its_own_use() {
    let Some(outer) = Group::make(&name("outer")) else { return };
    outer.limit_cpu();
    outer.write("memory", "memory.limit_in_bytes", "134217728");
    let inner = Group::make(&format!("{}/inner", outer.path)).expect("the outer one could be made");
    let beside = outer.run("while :; do :; done");
    let load = inner.run("while :; do sleep 0.1; done");
    let agent = Agent::start(&["--scope", &format!("pid:{}", load.0.id())]);
    let (cpu, page) = Compared::over(3, &agent, &inner);
    cpu.assert_within(2.0);
    assert_eq!(page.value("hostgauge_cpu_limit_cores", &[]), 0.5, "{}", page.text);
    assert_eq!(page.value("hostgauge_memory_limit_bytes", &[]), 134_217_728.0);
    assert!(page.text.contains(&format!("path=\"{}\"", inner.path)), "{}", page.text);
    drop((beside, load));

    agent.wait_for(SOON, "the process is gone, and so are its series", |page| {
        (page.get(CPU, &[]).is_none() && page.get("hostgauge_memory_used_bytes", &[]).is_none()).then_some(())
    });
    agent.wait_for_log("ended");
}

#[test]
fn a_restarted_group_is_another_without_spike_or_stale_value() {
    let path = name("restart");
    let Some(group) = Group::make(&path) else { return };
    let load = group.run("while :; do :; done");
    let agent = Agent::start(&["--scope", &format!("cgroup:{path}"), "--interval", "100ms"]);
    agent.wait_for(SOON, "a first percentage", |page| page.get(CPU, &[]).map(|_| ()));
    let before = agent.next_tick().value("hostgauge_cpu_seconds_total", &[]);
    let used = |page: &Page| page.get("hostgauge_memory_used_bytes", &[]);

    drop((load, group));
    // The tick under way may have begun before.
    agent.next_tick();
    for _ in 0..3 {
        let page = agent.next_tick();
        assert_eq!((page.get(CPU, &[]), used(&page)), (None, None), "nothing is there, and nothing repeated");
    }

    let again = Group::make(&path).expect("as before");
    let _load = again.run("while :; do :; done");
    let online = support::kernel::cores().len() as f64;
    let mut seen = false;
    for _ in 0..20 {
        let page = agent.next_tick();
        if let Some(percent) = page.get(CPU, &[]) {
            assert!((0.0..=120.0 * online).contains(&percent), "a spike: {percent}");
            assert!(page.value("hostgauge_cpu_seconds_total", &[]) >= before, "a counter never falls");
            seen |= percent > 5.0;
        }
    }
    assert!(seen, "the new group's load is seen: {}", agent.scrape().text);
}

#[test]
fn a_group_restarted_between_two_ticks_is_found_within_the_tick() {
    let path = name("quick");
    let Some(group) = Group::make(&path) else { return };
    let load = group.run("while :; do :; done");
    let agent = Agent::start(&["--scope", &format!("cgroup:{path}"), "--interval", "3s"]);
    agent.wait_for(SOON, "a first percentage", |page| page.get(CPU, &[]).map(|_| ()));
    let before = agent.next_tick().value("hostgauge_cpu_seconds_total", &[]);
    let start = Instant::now();
    drop((load, group));
    let again = Group::make(&path).expect("as before");
    let _load = again.run("while :; do :; done");
    assert!(start.elapsed() < Duration::from_secs(2), "the restart took so long that a tick may lie in it");
    let page = agent.next_tick();
    assert_eq!(page.get(CPU, &[]), None, "no base yet: {}", page.text);
    assert!(page.get("hostgauge_memory_used_bytes", &[]).is_some(), "the new group's memory: {}", page.text);
    let page = agent.next_tick();
    let seconds = page.value("hostgauge_cpu_seconds_total", &[]);
    assert!(page.value(CPU, &[]) > 1.0 && seconds > before, "{seconds} and {before}");
}

#[test]
fn container_is_the_own_group_and_a_service_of_a_host_is_none() {
    let Some(group) = Group::make(&name("own")) else { return };
    group.write("memory", "memory.limit_in_bytes", "268435456");
    let start = |scope: &str| {
        let script = group.enter("exec \"$@\"");
        let options = ["--prometheus-listen", "127.0.0.1:0", "--interval", "100ms", "--scope", scope];
        Agent::spawn(clean("sh", &[&["-c", &script, "sh", BINARY][..], &options].concat()))
    };
    let agent = start("container");
    let page = agent.wait_for(SOON, "a percentage", |page| page.get(CPU, &[]).map(|_| page.clone()));
    assert_eq!(page.value("hostgauge_memory_limit_bytes", &[]), 268_435_456.0);
    assert!(page.text.contains(&format!("path=\"{}\"", group.path)), "{}", page.text);
    assert!(agent.log().contains("of this container"), "{}", agent.log());
    drop(agent);

    let first = fs::read_link("/proc/self/ns/pid").expect("a namespace");
    if first != Path::new("pid:[4026531836]") {
        eprintln!("not tested: these tests run inside a container");
        return;
    }
    let agent = start("auto");
    let page = agent.wait_for(SOON, "a percentage", |page| page.get(CPU, &[]).map(|_| page.clone()));
    assert!(!page.text.contains("hostgauge_scope_info") && agent.log().contains("of this machine"), "{}", agent.log());
}

#[test]
fn auto_is_the_container_inside_one() {
    let Some(group) = Group::make(&name("auto")) else { return };
    group.write("memory", "memory.limit_in_bytes", "268435456");
    // What an engine does: namespaces of its own, and the container's own groups mounted.
    let mounts: String = ["cpu", "cpuacct", "memory", "cpuset"]
        .map(|name| format!("umount {CGROUPS}/{name}; mount -t cgroup -o {name} cgroup {CGROUPS}/{name}; "))
        .concat();
    let inside = format!("set -e; mount -t proc proc /proc; {mounts}exec \"$@\"");
    let script = group.enter("exec unshare --cgroup --pid --fork --kill-child --mount sh -c \"$0\" sh \"$@\"");
    let arguments = ["-c", &script, &inside, BINARY, "once", "--interval", "200ms", "--format", "prometheus"];
    let ended = run(&mut clean("sh", &arguments), "");
    assert!(ended.status.success(), "{ended:?}");
    let page = Page::parse(ended.stdout.clone());
    assert!(page.text.contains(r#"scope="container",mode="cgroup",version="v1",path="/""#), "{ended:?}");
    assert_eq!(page.value("hostgauge_memory_limit_bytes", &[]), 268_435_456.0);
}

#[test]
fn a_neighbour_is_read_without_privilege_or_summed_with_the_reason() {
    let Some(algorithm) = Group::make(&name("algorithm")) else { return };
    let sidecar = Group::make(&name("sidecar")).expect("as the first");
    algorithm.limit_cpu();
    // The algorithm's container sees its own groups only, as an engine mounts them.
    let binds: String = CONTROLLERS
        .map(|name| format!("mount --bind {} {CGROUPS}/{name}; ", algorithm.folder(name).display()))
        .concat();
    let load = algorithm.enter("exec unshare --mount sh -c \"$BINDS while :; do :; done\"");
    let once = "once --scope pod --interval 300ms --format prometheus";
    let pod = format!(
        "mount -t proc proc /proc; export BINDS='{binds}'; sh -c '{load}' & {}; sleep 0.3; {BINARY} {once}; echo; \
         setpriv --bounding-set -all --inh-caps -all {BINARY} {once} || true",
        sidecar.enter("true"),
    );
    let mut command = clean("unshare", &["--pid", "--fork", "--kill-child", "--mount", "sh", "-c", &pod]);
    let ended = run(&mut command, "");
    let (all, none) = ended.stdout.split_once("\n\n").unwrap_or_else(|| panic!("two pages: {ended:?}"));

    let page = Page::parse(all.to_owned());
    assert!(all.contains(&format!(r#"mode="cgroup",version="{}",path="{}""#, version(), algorithm.path)), "{ended:?}");
    assert!(!all.contains(&sidecar.path), "the sidecar is none of it: {all}");
    assert_eq!(page.value("hostgauge_cpu_limit_cores", &[]), 0.5, "its quota is seen");
    assert!(page.value(CPU, &[]) > 1.0 && page.get("hostgauge_disk_utilization_percent", &[]).is_some(), "{all}");

    let page = Page::parse(none.to_owned());
    assert!(none.contains(r#"mode="processes""#) && page.get("hostgauge_disk_utilization_percent", &[]).is_none());
    assert!(page.value("hostgauge_memory_used_bytes", &[]) > 0.0);
    for words in ["has capabilities", "CAP_SYS_PTRACE", "give this container the same capabilities"] {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}

/// What a group that is under version 1 and, if it is mounted, version 2 shows through a neighbour's root.
fn version() -> &'static str {
    if Path::new(CGROUPS).join("unified/cgroup.procs").exists() { "hybrid" } else { "v1" }
}

#[test]
fn a_tree_of_processes_reads_as_its_own_group_does() {
    let Some(group) = Group::make(&name("tree")) else { return };
    // The child's time counts while it runs, and after it was waited for.
    let load = group.run("while :; do sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done'; done");
    let agent = Agent::start(&["--scope", &format!("tree:{}", load.0.id())]);
    let (cpu, page) = Compared::over(5, &agent, &group);
    // Ticks of 10 ms, and those of /proc are charged by sampling.
    assert!((cpu.agent - cpu.kernel).abs() <= 10.0, "{cpu}");
    assert!(page.text.contains(r#"mode="processes""#), "{}", page.text);
}

#[test]
fn bad_scopes_are_refused_or_said_and_the_rest_goes_on() {
    for (scope, words) in [
        (&["--scope", "cgroup:/a/../b"][..], "expected"),
        (&["--scope", "pid:0"], "expected"),
        (&["--scope", "host", "--scope", "pid:1"], "holds the others"),
    ] {
        let ended = run(&mut support::agent::hostgauge(scope), "");
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
    let agent = Agent::start(&["--scope", "cgroup:/no/such/group", "--interval", "100ms"]);
    agent.wait_for_log("/no/such/group");
    let page = agent.wait_for(SOON, "cores", |page| {
        let core = page.text.contains("hostgauge_cpu_core_utilization_percent{");
        core.then(|| page.clone())
    });
    assert_eq!(page.get(CPU, &[]), None);
    assert_eq!(page.value("hostgauge_collector_success", &[("collector", "scope")]), 0.0);
    assert_eq!(page.value("hostgauge_collector_success", &[("collector", "cpu")]), 1.0);
}
