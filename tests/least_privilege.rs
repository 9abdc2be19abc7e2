//! The agent as nobody, without a capability and a file system to write to: everything works, and nothing is said.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use hostgauge_cloudwatch_double::{Double, Options};
use nvidia_ml_double::{Gpu, Load, SCENARIO, Scenario, library};
use serde_json::Value;

use support::Agent;
use support::agent::{Ended, run};
use support::container::{Container, Running};
use support::rootfs::RootFs;
use support::seccomp;
use support::wait::{SOON, wait_until};

/// As it is called on Debian, nobody.
const NOBODY: u32 = 65534;
const SPOOL: &str = "var/lib/hostgauge";
const LIBRARY: &str = "lib/nvml.so";
const SCENARIO_FILE: &str = "etc/scenario.toml";

/// A file system with the agent, one GPU, and a folder that is nobody's; beside it a service that takes data.
struct Place {
    root: RootFs,
    service: Double,
}

impl Place {
    fn new() -> Self {
        let root = RootFs::new();
        root.program(library().expect("the double is built with the tests"), LIBRARY);
        // As the image of deploy/docker has them.
        let certificates = "/etc/ssl/certs/ca-certificates.crt";
        root.copy(Path::new(certificates), certificates);
        let mut gpu = Gpu::new("GPU-11111111-2222-3333-4444-00000000000a", "00000000:18:00.0");
        gpu.load = Load::Percent(30.0);
        Scenario { gpus: vec![gpu], ..Scenario::default() }.write(&root.path(SCENARIO_FILE)).expect("a scenario");
        fs::create_dir_all(root.path(SPOOL)).expect("a folder");
        chown(root.path(SPOOL), Some(NOBODY), Some(NOBODY)).expect("these tests run as root");
        Self { root, service: Double::start(Options::default()).expect("a port") }
    }

    /// All that the agent has of an environment, with the folders below `root`.
    fn variables(&self, root: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.service.url()),
            ("AWS_REGION", "eu-central-1".into()),
            ("AWS_ACCESS_KEY_ID", "any".into()),
            ("AWS_SECRET_ACCESS_KEY", "any".into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
            ("STATE_DIRECTORY", format!("{root}/{SPOOL}")),
            (SCENARIO, format!("{root}/{SCENARIO_FILE}")),
        ]
    }

    fn container(&self, seccomp: &Value, arguments: &[String]) -> Container {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let container = Container::new("nobody", &self.root, &words).user(NOBODY, &[]).read_only().filtered(seccomp);
        let container = container.folder(&self.root.path(SPOOL), &format!("/{SPOOL}")).memory(64 << 20).tasks(64);
        let variables = self.variables("");
        variables.iter().fold(container, |all, (name, value)| all.variable(&format!("{name}={value}")))
    }
}

fn arguments(root: &str, command: &[&str]) -> Vec<String> {
    let program = format!("{root}/bin/hostgauge");
    let usual = ["--cloudwatch", "--cloudwatch-period", "1s", "--cloudwatch-resolution", "1", "--interval", "500ms"];
    let library = format!("{root}/{LIBRARY}");
    let rest = ["--host", "job/algo-1", "--prometheus-listen", "127.0.0.1:0", "--nvml-library", &library];
    [&[program.as_str()], command, &usual, &rest].concat().into_iter().map(str::to_owned).collect()
}

/// The program itself, where what was started is what put it there.
fn status_of(agent: &Agent) -> String {
    let row = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name).map(|rest| rest.trim().to_owned())).unwrap_or_default()
    };
    let pids = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path().join("status"));
    let mut all = pids.filter_map(|path| fs::read_to_string(path).ok());
    let is_it = |text: &String| {
        let ours = [row(text, "Pid:"), row(text, "PPid:")].contains(&agent.pid().to_string());
        ours && row(text, "Name:") == "hostgauge"
    };
    all.find(is_it).expect("it runs")
}

/// All that the agent does, under `rights`, which are rows of its /proc/PID/status.
fn everything_works(place: &Place, mut agent: Agent, check: Ended, rights: &[(&str, &str)]) {
    let page = agent.wait_for(SOON, "CPU, memory, disk and GPU", |page| {
        let names = ["cpu_utilization", "memory_utilization", "disk_utilization", "gpu_memory_utilization"];
        let seen = |name: &&str| page.get(&format!("hostgauge_{name}_percent"), &[]).is_some();
        let gpu = page.get("hostgauge_gpu_utilization_percent", &[]);
        (names.iter().all(seen) && gpu == Some(30.0)).then(|| page.clone())
    });
    let failing = page.all("hostgauge_collector_success").find(|collector| collector.value != 1.0);
    assert!(failing.is_none(), "{failing:?}\n{}", page.text);
    wait_until(2 * SOON, "data at the service", || {
        let stored = place.service.requests().iter().any(|request| request.stored);
        if stored { Ok(()) } else { Err(agent.log()) }
    });
    let status = status_of(&agent);
    for (name, expected) in rights {
        let row = status.lines().find_map(|line| line.strip_prefix(name)).expect("a row");
        assert_eq!(row.split_ascii_whitespace().next(), Some(*expected), "{name} {status}");
    }
    let spool = fs::read_dir(place.root.path(SPOOL)).expect("the folder").count();
    assert!(spool > 0, "nothing in the spool: {}", agent.log());
    let (ended, _) = agent.stop("TERM");
    let log = agent.log();
    assert!(ended.success() && log.contains(" pending"), "{ended}: {log}");
    // The one is of the double of NVIDIA's library.
    let complains = |line: &&str| (line.contains("WARN") && !line.contains(SCENARIO)) || line.contains("ERROR");
    assert_eq!(log.lines().find(complains), None, "{log}");

    let report: Value = serde_json::from_str(&check.stdout).unwrap_or_else(|error| panic!("{error}: {check:?}"));
    let causes = report["findings"].as_array().expect("findings").iter().filter(|finding| !finding["cause"].is_null());
    let causes: Vec<&Value> = causes.collect();
    assert!(check.status.success() && causes.is_empty(), "{causes:#?} {check:?}");
}

const NOTHING: &str = "0000000000000000";

/// Rows of /proc/PID/status of who has no rights; the last says whether there is a filter of system calls.
fn none(filter: &str) -> [(&str, &str); 7] {
    [
        ("Uid:", "65534"),
        ("CapPrm:", NOTHING),
        ("CapEff:", NOTHING),
        ("CapBnd:", NOTHING),
        ("CapAmb:", NOTHING),
        ("NoNewPrivs:", "1"),
        ("Seccomp:", filter),
    ]
}

#[test]
fn as_nobody_on_a_machine_that_is_read_only() {
    let place = Place::new();
    let root = place.root.path("").display().to_string();
    let root = root.trim_end_matches('/');
    let command = |words: &[&str]| {
        let read_only = format!("mount --bind {root}/{SPOOL} {root}/{SPOOL} && mount -o remount,bind,ro /");
        let script = format!("set -e; {read_only}; ! touch {root}/written 2>/dev/null; exec setpriv \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh", "--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs", "--"]);
        command.args(arguments(root, words)).env_clear().envs(place.variables(root));
        command
    };
    let check = run(&mut command(&["check", "--format", "json"]), "");
    everything_works(&place, Agent::spawn(command(&[])), check, &none("0"));
}

fn in_a_container(seccomp: &Value) {
    let place = Place::new();
    let of = |words: &[&str]| place.container(seccomp, &arguments("", words));
    let check = of(&["check", "--format", "json"]).run();
    let (agent, _running): (Agent, Running) = of(&[]).agent();
    everything_works(&place, agent, check, &none("2"));
}

#[test]
fn as_nobody_in_a_container_behind_the_engines_filter() {
    in_a_container(&seccomp::of_engines());
}

#[test]
fn as_nobody_behind_the_filter_of_our_unit() {
    in_a_container(&seccomp::of_our_unit());
}
