//! In real containers: what the agent measures inside one, beside one, and as the first process of one.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::Value;
use support::agent::{BINARY, Ended, hostgauge, run};
use support::compared::{Compared, Memory};
use support::container::{Container, Running, USUAL};
use support::group::Cgroup;
use support::kernel;
use support::rootfs::RootFs;
use support::siblings::{MATRIX, ONCE};
use support::wait::{SOON, wait_until};
use support::{Agent, Page};

const CPU: &str = "hostgauge_cpu_utilization_percent";
const USED: &str = "hostgauge_memory_used_bytes";

/// An agent that listens on any port.
const AGENT: [&str; 3] = ["hostgauge", "--prometheus-listen", "127.0.0.1:0"];

/// Nothing but the scope is of interest.
const QUIET: [&str; 4] = ["--gpus", "none", "--host", "x"];

#[test]
fn every_load_reads_as_the_kernel_counts_it() {
    let root = RootFs::new();
    let one = ["sh", "-c", "while :; do :; done"];
    let two = ["sh", "-c", "while :; do :; done & while :; do :; done"];
    let make = |command: &[&str]| Container::new("load", &root, command);
    let loads = [
        ("quota of 10 %, one loop", make(&one).cpu(10), 0.1),
        ("quota of 50 %, one loop", make(&one).cpu(50), 0.5),
        ("quota of 150 %, two loops", make(&two).cpu(150), 1.5_f64.min(kernel::cores().len() as f64)),
        ("cpuset of one core, two loops", make(&two).cores("0"), 1.0),
    ];
    let running = loads.map(|(load, container, cores)| {
        let path = container.cgroup();
        let agent = Agent::start(&["--scope", &format!("cgroup:{path}")]);
        (load, path, cores, container.start(), agent)
    });
    let version = if Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() { "hybrid" } else { "v1" };
    println!("| load on {version} | {} |\n| --- | ---: | ---: | ---: | ---: | ---: |", Compared::COLUMNS);
    thread::scope(|scope| {
        for (load, path, cores, _, agent) in &running {
            scope.spawn(move || {
                let (cpu, _) = Compared::over(10, agent, &Cgroup::at(path));
                println!("| {load} | {cpu} |");
                cpu.assert_within(1.0);
                // On a busy machine a load may be far from its quota.
                assert!(cpu.kernel > 2.0, "{load}: {cpu}");
                assert_eq!(agent.scrape().value("hostgauge_cpu_limit_cores", &[]), *cores, "{load}");
            });
        }
    });
}

#[test]
fn the_figures_inside_a_container_are_its_own() {
    let root = RootFs::new();
    let script = "while :; do :; done & exec \"$@\"";
    let command = [&["sh", "-c", script, "sh"][..], &AGENT].concat();
    let container = Container::new("inside", &root, &command).memory(128 << 20).cpu(50);
    let group = Cgroup::at(&container.cgroup());
    let (agent, _running) = container.agent();
    assert!(agent.log().contains("of this container"), "{}", agent.log());
    let (cpu, _) = Compared::over(10, &agent, &group);
    println!("| runc, quota of 50 %, from inside | {cpu} |");
    cpu.assert_within(1.0);
    assert!(cpu.kernel > 5.0, "{cpu}");

    let memory = Memory::with_cache(&agent, &group, 100);
    let Memory { page, charged, working_set, .. } = &memory;
    println!("page cache: {charged} bytes charged, {working_set} in use; the agent's {}", page.value(USED, &[]));
    let value = |name: &str| page.value(name, &[]);
    assert_eq!(value("hostgauge_cpu_limit_cores"), 0.5);
    assert!((value("hostgauge_cpu_utilization_normalized_percent") - 2.0 * value(CPU)).abs() < 0.001);
    assert_eq!(value("hostgauge_memory_limit_bytes"), f64::from(128 << 20));
    assert!((value(USED) - working_set).abs() < 1e6 && *charged > 100e6, "{working_set} of {charged}");
    let percent = 100.0 * value(USED) / f64::from(128 << 20);
    assert!((value("hostgauge_memory_utilization_percent") - percent).abs() < 0.001, "{percent}: {}", page.text);
    assert!(page.get("hostgauge_disk_utilization_percent", &[]).is_some());
}

/// A pod: one container that holds the process namespace, as /pause does.
fn pause(root: &RootFs) -> Running {
    root.script("bin/pause", "[ -e /tmp/never ] || mkfifo /tmp/never; read x < /tmp/never");
    Container::new("pause", root, &["/bin/pause"]).start()
}

#[test]
fn a_neighbour_that_restarts_is_picked_up_within_a_tick() {
    let root = RootFs::new();
    let pause = pause(&root);
    let start = || Container::new("neighbour", &root, &["sh", "-c", "while :; do :; done"]).beside(&pause).start();
    let neighbour = start();
    let (agent, _sidecar) =
        Container::new("sidecar", &root, &[&AGENT[..], &["--scope", "pod"]].concat()).beside(&pause).agent();
    agent.wait_for(SOON, "a percentage", |page| page.get(CPU, &[]));
    let before = agent.next_tick().value("hostgauge_cpu_seconds_total", &[]);

    neighbour.end();
    drop(neighbour);
    // The tick under way may have begun before.
    agent.next_tick();
    let gone = agent.next_tick();
    assert_eq!((gone.get(CPU, &[]), gone.get(USED, &[])), (None, None), "nothing stale: {}", gone.text);

    let _neighbour = start();
    agent.next_tick();
    let back = agent.next_tick();
    assert!(back.get(USED, &[]).is_some(), "the new container's memory: {}\n{}", back.text, agent.log());
    let online = kernel::cores().len() as f64;
    let pages: Vec<Page> = (0..3).map(|_| agent.next_tick()).collect();
    for page in &pages {
        let percent = page.value(CPU, &[]);
        assert!((0.5..=105.0 * online).contains(&percent), "a spike: {percent}");
        assert!(page.value("hostgauge_cpu_seconds_total", &[]) >= before, "a counter never falls");
    }
}

#[test]
fn who_may_read_a_sibling() {
    let root = RootFs::new();
    println!("| algorithm | sidecar | read | hint |\n| --- | --- | --- | --- |");
    for row in MATRIX {
        let (sidecar, said) = (row.sidecar, row.said);
        let load = row.algorithm(&root).start();
        let beside = |arguments: &[&str]| {
            let command = [&["hostgauge"], arguments, &QUIET, &["--scope", "pod"]].concat();
            Container::new("sidecar", &root, &command).user(sidecar.0, sidecar.1).beside(&load).run()
        };
        let ended = beside(&ONCE);
        let whole = row.judge(&ended.stdout, &ended.stderr) == "cgroup";
        let report = Report::of(beside(&["check", "--format", "json"]));
        let note =
            report.about("scope").iter().find_map(|finding| finding.strip_prefix("degraded: ").map(str::to_owned));
        println!("{row} {} |", note.as_deref().unwrap_or("-"));
        assert_eq!(report.code, Some(0), "degraded is no failure: {report:?}");
        assert_eq!(note.is_none(), whole, "{report:?}");
        for words in said {
            assert!(note.as_ref().is_some_and(|note| note.contains(words)), "{words}: {report:?}");
        }
    }
}

#[test]
fn containers_of_a_pod_are_chosen_by_name_command_variable_and_load() {
    let root = RootFs::new();
    root.script("bin/train.sh", "while :; do :; done");
    let pause = pause(&root);
    let one = |name: &str, command: &[&str], variable: &str| {
        Container::new(name, &root, command).variable(variable).beside(&pause).start()
    };
    let _train = one("train", &["/bin/train.sh", "--epochs=3"], "ROLE=train");
    let _proxy = one("proxy", &["sleep", "1000"], "ROLE=proxy");
    let beside = |scope: &str, capabilities: &[&str], arguments: &[&str]| {
        let command = [&["hostgauge"], arguments, &QUIET, &["--scope", scope]].concat();
        Container::new("sidecar", &root, &command).user(0, capabilities).beside(&pause).run()
    };
    for (scope, chosen) in [
        ("pod", &["train", "proxy"][..]),
        ("pod:name=train", &["train"]),
        ("pod:name=sleep", &["proxy"]),
        ("pod:command=--epochs=*3", &["train"]),
        ("pod:env=ROLE=proxy", &["proxy"]),
        ("pod:busiest", &["train"]),
    ] {
        let ended = beside(scope, USUAL, &ONCE);
        let page = Page::parse(ended.stdout.clone());
        let paths: Vec<String> = page.all("hostgauge_scope_info").map(|series| series.labels["path"].clone()).collect();
        let holds = |name: &&str| paths.iter().any(|path| path.contains(&format!("hostgauge-{name}-")));
        assert!(paths.len() == chosen.len() && chosen.iter().all(holds), "{scope}: {paths:?} {}", ended.stderr);
    }

    let report = Report::of(beside("pod:name=nobody", USUAL, &["check", "--format", "json"]));
    assert_eq!(report.causes(), ["pod_unreadable"], "{report:?}");
    assert!(report.text.contains("none of the 2 containers beside this one is the one looked for"), "{report:?}");
    // A variable is seen by the same rule as the root.
    let report = Report::of(beside("pod:env=ROLE=train", &[], &["check", "--format", "json"]));
    assert_eq!(report.causes(), ["pod_unreadable"], "{report:?}");
    assert!(report.text.contains("has capabilities 0x20000420 that we have not"), "{report:?}");
}

/// What `hostgauge check --format json` said.
#[derive(Debug)]
struct Report {
    code: Option<i32>,
    findings: Vec<Value>,
    text: String,
}

impl Report {
    fn of(ended: Ended) -> Self {
        let json: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        let findings = json["findings"].as_array().expect("a list").clone();
        Self { code: ended.status.code(), findings, text: ended.stdout }
    }

    /// Every cause but that nothing was asked to be published.
    fn causes(&self) -> Vec<&str> {
        let causes = self.findings.iter().filter_map(|finding| finding["cause"].as_str());
        causes.filter(|cause| *cause != "not_asked").collect()
    }

    /// Of a subject: `cause: found -> remedy`.
    fn about(&self, subject: &str) -> Vec<String> {
        let of_subject = self.findings.iter().filter(|finding| finding["subject"] == subject);
        let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or("ok").to_owned();
        of_subject
            .map(|finding| {
                format!("{}: {} -> {}", word(finding, "cause"), word(finding, "found"), word(finding, "remedy"))
            })
            .collect()
    }
}

#[test]
fn check_names_what_is_broken_about_a_scope_and_nothing_else() {
    let mut ended = Command::new("true").spawn().expect("true");
    let pid = ended.id();
    ended.wait().expect("its end");
    for (scope, cause, words) in [
        ("cgroup:/no/such/group".to_owned(), "cgroup_unreadable", "no such folder below /sys/fs/cgroup"),
        (format!("pid:{pid}"), "process_unreadable", "ended (expected a process that runs)"),
        (format!("tree:{pid}"), "process_unreadable", "ended (expected a process that runs)"),
        ("pod".to_owned(), "pod_unreadable", "this is the machine's own process namespace"),
    ] {
        let arguments = [&["check", "--format", "json", "--scope", &scope], &QUIET[..]].concat();
        let report = Report::of(run(&mut hostgauge(&arguments), ""));
        assert_eq!((report.code, report.causes()), (Some(1), vec![cause]), "{report:?}");
        assert!(report.text.contains(words) && report.text.contains(&scope), "{report:?}");
        println!("{}", report.about("scope").join("\n"));
    }
}

#[test]
fn run_is_a_good_first_process_of_a_container() {
    let root = RootFs::new();
    let run = |name: &str, script: &str| {
        let command = ["hostgauge", "run", "--prometheus-listen", "127.0.0.1:0", "--", "sh", "-c", script];
        Container::new(name, &root, &command)
    };
    for (script, code) in [("exit 7", 7), ("kill -9 $$", 137)] {
        let ended = run("code", script).run();
        assert_eq!(ended.status.code(), Some(code), "{script}: {ended:?}");
    }
    // Only PID 1, its agent, the program and what counts are left.
    let counts = "for i in 1 2 3 4 5 6 7 8 9; do (setsid sh -c 'exit 9' &); done; sleep 1; cat /proc/1/comm; \
                  grep -h ^State: /proc/[0-9]*/status | grep -c zombie; exit 3";
    let ended = run("orphans", counts).run();
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(3), "hostgauge\n0\n"), "{ended:?}");

    let running = run("stopped", "trap 'echo stopped; exit 42' TERM; echo ready; while :; do sleep 0.1; done").start();
    let says = |words: &str| {
        let log = || running.log();
        wait_until(SOON, words, || if log().contains(words) { Ok(()) } else { Err(log()) });
    };
    says("ready");
    running.signal("TERM");
    says("stopped");
    wait_until(SOON, "the container's end", || {
        let there = Path::new("/proc").join(running.pid.to_string()).join("root").exists();
        if there { Err(running.log()) } else { Ok(()) }
    });
}

/// A training container of SageMaker, as far as its files say so.
#[test]
fn inside_sagemakers_container_it_knows_where_and_who_it_is() {
    let root = RootFs::new();
    let hosts = r#"{"current_host": "algo-2", "hosts": ["algo-1", "algo-2"], "network_interface_name": "eth0"}"#;
    root.file("opt/ml/input/config/resourceconfig.json", hosts);
    let inside = |arguments: &[&str]| {
        let command = [&["hostgauge"], arguments].concat();
        let container = Container::new("algo-2", &root, &command).memory(256 << 20).cpu(150);
        container.variable("TRAINING_JOB_NAME=bert-large").run()
    };
    let whoami = inside(&["whoami"]);
    println!("$ hostgauge whoami\n{}", whoami.stdout);
    assert!(whoami.stdout.starts_with("Host: bert-large/algo-2\n"), "{whoami:?}");
    for line in [
        "instance-number: 2 (file /opt/ml/input/config/resourceconfig.json)",
        "job-name: bert-large (environment TRAINING_JOB_NAME)",
    ] {
        assert!(whoami.stdout.lines().any(|one| one.starts_with(line)), "{line}: {whoami:?}");
    }

    let check = inside(&["check"]);
    println!("$ hostgauge check\n{}", check.stdout);
    assert!(check.status.success(), "{check:?}");
    for words in [
        "this container: inside a container: a process namespace of its own",
        "/opt/ml/input/config/resourceconfig.json",
        "limits: 1.5 cores (/sys/fs/cgroup/cpu/cpu.cfs_quota_us), 256.0 MiB (",
        "bert-large/algo-2",
    ] {
        assert!(check.stdout.contains(words), "{words}: {check:?}");
    }
}

/// What deploy/docker/Dockerfile puts into its image, read-only and for a user without rights.
#[test]
fn the_image_holds_all_that_the_agent_needs() {
    let text = fs::read_to_string(support::file("../deploy/docker/Dockerfile")).expect("the Dockerfile");
    let root = RootFs::empty();
    root.copy(Path::new(BINARY), "usr/bin/hostgauge");
    let libraries = text.split_once("for library in ").and_then(|(_, rest)| rest.split_once("; do")).expect("a list").0;
    for library in libraries.split_whitespace() {
        let folders = ["/lib64", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu"];
        let found = folders.iter().map(|folder| Path::new(folder).join(library)).find(|path| path.exists());
        // A library that is of another architecture, or in another one since, is not there.
        if let Some(found) = found {
            root.copy(&found, &found.display().to_string());
        }
    }
    for folder in ["tmp", "var/lib/hostgauge", "proc", "sys", "dev"] {
        fs::create_dir_all(root.path(folder)).expect("a folder");
    }
    root.file("etc/passwd", "root:x:0:0:::\nnonroot:x:65532:65532::/var/lib/hostgauge:\n");
    let user: u32 =
        text.split_once("\nUSER ").and_then(|(_, rest)| rest.split(':').next()?.parse().ok()).expect("USER");
    let ended = Container::new("image", &root, &["/usr/bin/hostgauge", "once", "--interval", "300ms"])
        .user(user, &[])
        .read_only()
        .memory(64 << 20)
        .variable("STATE_DIRECTORY=/var/lib/hostgauge")
        .variable("HOSTGAUGE_PROMETHEUS_LISTEN=0.0.0.0:9871")
        .run();
    println!("{}", ended.stdout);
    assert!(ended.status.success() && user == 65532, "{ended:?}");
    assert!(ended.stdout.contains("64.0 MiB"), "{ended:?}");
}
