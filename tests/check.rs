//! `hostgauge check` by the real binary: every broken setup names its cause and no other, and nothing is published.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

#[cfg(feature = "cloudwatch")]
#[path = "check/publishing.rs"]
mod publishing;
mod support;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use nvidia_ml_double::{Fault, Gpu, Mig, SCENARIO, Scenario, State, library, without_symbol};
use serde_json::Value;
use support::Agent;
use support::agent::{Ended, among_mounts, hostgauge, run};

const UUID: &str = "GPU-11111111-2222-3333-4444-00000000000a";
const VERSION: &str = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Thu Oct 19 18:56:32 UTC 2023\n";

/// A machine as it looks below other roots, with a GPU and the whole of its driver.
struct Machine {
    folder: tempfile::TempDir,
    scenario: Scenario,
    library: Option<PathBuf>,
    variables: Vec<(&'static str, &'static str)>,
}

impl Machine {
    fn without_gpu() -> Self {
        let machine = Self {
            folder: tempfile::tempdir().expect("a folder"),
            scenario: Scenario::default(),
            library: None,
            variables: Vec::new(),
        };
        for name in ["stat", "meminfo"] {
            let fixture = support::file("fixtures/proc/two-cores").join(name);
            machine.put(&format!("proc/{name}"), &fs::read_to_string(fixture).expect("a fixture"));
        }
        machine.put("sys/devices/system/cpu/online", "0-1\n");
        machine.put("sys/devices/system/cpu/present", "0-1\n");
        fs::create_dir_all(machine.path("root/dev")).expect("made");
        machine
    }

    fn whole() -> Self {
        let mut machine = Self::without_gpu();
        machine.put("sys/bus/pci/devices/0000:18:00.0/vendor", "0x10de\n");
        machine.put("sys/bus/pci/devices/0000:18:00.0/class", "0x030200\n");
        machine.put("proc/driver/nvidia/version", VERSION);
        machine.put("root/dev/nvidiactl", "");
        machine.put("root/dev/nvidia0", "");
        machine.library = Some(library().expect("the double is built with the tests"));
        machine.scenario.gpus.push(Gpu::new(UUID, "00000000:18:00.0"));
        machine
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut machine = Self::whole();
        change(&mut machine);
        machine
    }

    /// One whose library refuses to be initialised.
    fn refusing(code: u32, change: impl FnOnce(&mut Self)) -> Self {
        Self::with(|machine| {
            machine.scenario.driver.init_error = Some(code);
            change(machine);
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn remove(&self, name: &str) {
        let path = self.path(name);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// The double under another name.
    fn library_at(&mut self, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::copy(library().expect("the double"), &path).expect("copied");
        self.library = Some(path);
    }

    fn fault(&mut self, function: &str, fault: Fault) {
        self.scenario.faults.push(Fault { function: function.to_owned(), ..fault });
    }

    fn args(&self, args: &[&str]) -> Vec<String> {
        let mut all: Vec<String> =
            ["check", "--host", "job/algo-1", "--prometheus-listen", "127.0.0.1:0"].map(str::to_owned).into();
        for (root, folder) in [("--procfs", "proc"), ("--sysfs", "sys"), ("--rootfs", "root")] {
            all.extend([root.to_owned(), self.path(folder).display().to_string()]);
        }
        if let Some(library) = &self.library {
            all.extend(["--nvml-library".to_owned(), library.display().to_string()]);
        }
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        all
    }

    /// The environment that the command has, and no other: whoever runs the tests may be in a container.
    fn prepare(&self, mut command: Command) -> Command {
        let path = self.path("scenario.toml");
        self.scenario.write(&path).expect("the scenario is written");
        let system = std::env::var("PATH").expect("a PATH");
        command.env_clear().env("PATH", system).env(SCENARIO, path).env("AWS_EC2_METADATA_DISABLED", "true");
        command.envs(self.variables.iter().copied());
        command
    }

    fn check(&self, args: &[&str]) -> Ended {
        let args = self.args(args);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run(&mut self.prepare(hostgauge(&args)), "")
    }

    fn report(&self, args: &[&str]) -> Report {
        Report::of(self.check(&[&["--format", "json"], args].concat()))
    }
}

/// What `--format json` said.
#[derive(Debug)]
struct Report {
    code: Option<i32>,
    findings: Vec<Value>,
}

impl Report {
    fn of(ended: Ended) -> Self {
        let json: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        let findings = json["findings"].as_array().expect("a list").clone();
        let problems = findings.iter().filter(|finding| finding["level"] == "problem").count();
        assert_eq!(json["problems"], problems, "{json}");
        for finding in &findings {
            let keys: Vec<&String> = finding.as_object().expect("an object").keys().collect();
            assert_eq!(keys, ["cause", "found", "level", "remedy", "subject"], "{finding}");
            assert_eq!(finding["level"] == "ok", finding["cause"].is_null(), "{finding}");
        }
        Self { code: ended.status.code(), findings }
    }

    /// Every cause that is named, but that nothing was asked to be published.
    fn causes(&self) -> Vec<&str> {
        self.findings
            .iter()
            .filter_map(|finding| finding["cause"].as_str())
            .filter(|cause| *cause != "not_asked")
            .collect()
    }

    fn text(&self, cause: &str) -> String {
        let finding = self.findings.iter().find(|finding| finding["cause"] == cause);
        let finding = finding.unwrap_or_else(|| panic!("no {cause} in {self:#?}"));
        let word = |key: &str| finding[key].as_str().unwrap_or_else(|| panic!("no {key}: {finding}")).to_owned();
        format!("{} -> {}", word("found"), word("remedy"))
    }
}

#[test]
fn a_good_machine_as_text() {
    let machine = Machine::whole();
    let ended = machine.check(&[]);
    let library = library().expect("the double").display().to_string();
    let text = ended.stdout.replace(&library, "LIBRARY").replace(&machine.path("").display().to_string(), "MACHINE/");
    // How full this machine's disk is.
    let line =
        |line: &str| if line.contains("  disk  ") { "ok    disk        /: ...".to_owned() } else { line.to_owned() };
    let text: String = text.lines().map(|text| line(text) + "\n").collect();
    let golden = support::file("golden/check.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &text).expect("written");
    }
    assert_eq!(text, fs::read_to_string(golden).expect("a golden file"), "{ended:?}");
    assert_eq!(ended.status.code(), Some(0));
    assert!(!ended.stderr.contains("hostgauge: "), "no problem: {}", ended.stderr);
}

#[test]
fn each_broken_driver_names_its_cause_and_no_other() {
    let old = VERSION.replace("580.95.05", "535.129.03");
    let no_gpu_visible = |machine: &mut Machine| {
        machine.scenario.gpus.clear();
        machine.variables.push(("NVIDIA_VISIBLE_DEVICES", "none"));
    };
    let slice = |machine: &mut Machine| {
        machine.scenario.gpus[0].mig = Some(mig());
        machine.fault("nvmlDeviceGetMemoryInfo_v2", Fault { error: Some(4), ..Fault::default() });
    };
    let state = |state: State| Machine::with(|machine| machine.scenario.gpus[0].state = state);
    for (cause, machine, words) in [
        (
            "no_library",
            Machine::with(|machine| machine.library = Some("/no/such/libnvidia-ml.so.1".into())),
            "/no/such/",
        ),
        (
            "library_not_loadable",
            Machine::with(|machine| {
                machine.put("garbage.so", "text");
                machine.library = Some(machine.path("garbage.so"));
            }),
            "garbage.so",
        ),
        ("not_nvml", Machine::with(|machine| machine.library = Some(libc())), "libnvidia-ml.so.1"),
        (
            "driver_mismatch",
            Machine::refusing(18, |machine| {
                machine.put("proc/driver/nvidia/version", &old);
                machine.library_at("libnvidia-ml.so.550.90.07");
            }),
            "the kernel module is 535.129.03, the library 550.90.07",
        ),
        (
            "stub_library",
            Machine::refusing(9, |machine| machine.library_at("cuda/lib64/stubs/libnvidia-ml.so")),
            "stubs/libnvidia-ml.so is a stub",
        ),
        ("stub_library", Machine::refusing(9, |_| ()), "does not belong to the driver"),
        ("module_not_loaded", Machine::refusing(9, |machine| machine.remove("proc/driver")), "modprobe nvidia"),
        ("device_node_missing", Machine::refusing(9, |machine| machine.remove("root/dev/nvidiactl")), "dev/nvidiactl"),
        ("device_node_missing", Machine::refusing(28, |machine| machine.remove("root/dev/nvidia0")), "dev/nvidia0"),
        ("no_permission", Machine::refusing(4, |_| ()), "permission"),
        ("refused", Machine::refusing(999, |_| ()), "NVML error 999"),
        (
            "no_gpu",
            {
                let mut machine = Machine::without_gpu();
                machine.library = Some(library().expect("the double"));
                machine
            },
            "--nvml-library",
        ),
        ("no_gpu_visible", Machine::with(no_gpu_visible), "\"none\""),
        ("gpu_lost", state(State::Lost), "bus"),
        ("reset_required", state(State::ResetRequired), "nvidia-smi --gpu-reset"),
        ("no_permission", state(State::NoPermission), "permission"),
        ("mig_slice_only", Machine::with(slice), UUID),
        (
            "mig",
            Machine::with(|machine| {
                machine.scenario.gpus[0].mig = Some(mig());
                machine.scenario.gpus[0].support.gpm = false;
            }),
            UUID,
        ),
    ] {
        let report = machine.report(&[]);
        assert_eq!(report.causes(), [cause], "{report:#?}");
        assert!(report.text(cause).contains(words), "{cause}: {}", report.text(cause));
        // The library was named, so GPUs were asked for.
        assert_eq!(report.code, Some(1), "{cause}");
    }
}

/// Where no library is named, the system's is looked for; like the other tests, this one wants a machine without.
#[test]
fn without_a_library_it_is_known_why() {
    let injected = |visible, capabilities| {
        Machine::with(|machine| {
            machine.library = None;
            machine.variables = vec![("NVIDIA_VISIBLE_DEVICES", visible), ("NVIDIA_DRIVER_CAPABILITIES", capabilities)];
        })
    };
    let bare = |change: &dyn Fn(&mut Machine)| {
        Machine::with(|machine| {
            machine.library = None;
            change(machine);
        })
    };
    for (cause, machine, words) in [
        ("no_driver", bare(&|machine| machine.remove("proc/driver")), "install NVIDIA's driver"),
        ("no_library", bare(&|_| ()), "--nvml-library"),
        (
            "no_library",
            bare(&|machine| machine.put("root/usr/local/nvidia/lib64/libnvidia-ml.so.1", "")),
            "/usr/local/nvidia/lib64/",
        ),
        ("nothing_injected", bare(&|machine| machine.put("root/.dockerenv", "")), "--gpus all"),
        ("nothing_injected", injected("all", "utility"), "--runtime nvidia"),
        ("no_utility_capability", injected("all", "compute,video"), "compute,video"),
    ] {
        let report = machine.report(&[]);
        assert_eq!(report.causes(), [cause], "{report:#?}");
        assert!(report.text(cause).contains(words), "{cause}: {}", report.text(cause));
        assert_eq!(report.code, Some(0), "{cause}: nobody asked for a GPU");
        assert_eq!(machine.report(&["--gpus", "0"]).code, Some(1), "{cause}: now somebody did");
    }
    let quiet = Machine::without_gpu();
    let report = quiet.report(&[]);
    assert_eq!((report.causes(), report.code), (vec![], Some(0)), "{report:#?}");
    assert!(report.findings.iter().any(|finding| finding["found"] == "no GPU"), "{report:#?}");
    let report = quiet.report(&["--gpus", "0"]);
    assert_eq!((report.causes(), report.code), (vec!["no_gpu"], Some(1)), "{report:#?}");
    let report = Machine::whole().report(&["--gpus", "none"]);
    assert_eq!((report.causes(), report.code), (vec![], Some(0)), "{report:#?}");
}

#[test]
fn a_device_node_that_cannot_be_opened() {
    if !is_root() {
        println!("skipped: making a device node takes root");
        return;
    }
    // No node opens on a file system that is mounted so: to this process it is what a device cgroup is.
    let machine = Machine::refusing(9, |_| ());
    let dev = machine.path("root/dev").display().to_string();
    let script =
        format!("mount -t tmpfs -o nodev tmpfs {dev}; mknod {dev}/nvidiactl c 195 255; mknod {dev}/nvidia0 c 195 0");
    let args = machine.args(&["--format", "json"]);
    let args: Vec<&str> =
        args.iter().map(String::as_str).filter(|arg| !["--prometheus-listen", "127.0.0.1:0"].contains(arg)).collect();
    let report = Report::of(run(&mut machine.prepare(among_mounts(&script, &args)), ""));
    assert_eq!(report.causes(), ["device_node_denied"], "{report:#?}");
    assert!(
        report.text("device_node_denied").contains("dev/nvidiactl cannot be opened: Permission denied"),
        "{report:#?}"
    );
}

#[test]
fn a_driver_that_hangs_is_found_silent_within_the_deadline() {
    for function in ["nvmlInit_v2", "nvmlDeviceGetSamples"] {
        let machine = Machine::with(|machine| machine.fault(function, Fault { hang: true, ..Fault::default() }));
        let start = Instant::now();
        let report = machine.report(&[]);
        assert_eq!((report.causes(), report.code), (vec!["driver_silent"], Some(1)), "{report:#?}");
        let took = start.elapsed();
        assert!((4..12).contains(&took.as_secs()), "five seconds are its patience, {took:?} it took");
    }
}

#[test]
fn one_sick_gpu_hides_no_other() {
    let other = UUID.replace("0a", "0b");
    let mut machine = Machine::with(|machine| machine.scenario.gpus.push(Gpu::new(&other, "00000000:19:00.0")));
    machine.scenario.gpus[0].state = State::Lost;
    let report = machine.report(&[]);
    assert_eq!((report.causes(), report.code), (vec!["gpu_lost"], Some(1)), "{report:#?}");
    assert!(
        report.findings.iter().any(|finding| finding["found"].as_str().is_some_and(|found| found.contains(&other)))
    );
    let report = machine.report(&["--gpus", "1"]);
    assert_eq!((report.causes(), report.code), (vec![], Some(0)), "the sick one was not asked for: {report:#?}");
    let report = machine.report(&["--gpus", "1,7"]);
    assert_eq!((report.causes(), report.code), (vec!["gpu_not_found"], Some(1)), "{report:#?}");
}

#[test]
fn what_an_old_library_lacks_is_listed_with_what_it_costs() {
    for (function, words) in [
        ("nvmlDeviceGetSamples", "utilization from gpm, snapshot"),
        ("nvmlDeviceGetMemoryInfo_v2", "memory v1"),
        ("nvmlGpmSampleGet", "utilization from ring, snapshot"),
    ] {
        let machine = Machine::with(|machine| {
            let older = machine.path("older.so");
            without_symbol(&library().expect("the double"), function, &older).expect("a copy");
            machine.library = Some(older);
        });
        let report = machine.report(&[]);
        assert_eq!((report.causes(), report.code), (vec!["function_missing"], Some(0)), "{report:#?}");
        assert!(report.text("function_missing").contains(function), "{report:#?}");
        let works = |finding: &Value| finding["found"].as_str().is_some_and(|found| found.contains(words));
        assert!(report.findings.iter().any(works), "{report:#?}");
    }
}

#[test]
fn what_cannot_be_read_of_the_host_is_named() {
    let without = |name: &str| {
        let machine = Machine::without_gpu();
        machine.remove(name);
        machine
    };
    for (cause, machine, args) in [
        ("cpu_unreadable", without("proc/stat"), &[][..]),
        ("memory_unreadable", without("proc/meminfo"), &[]),
        ("disk_unreadable", Machine::without_gpu(), &["--disk-path", "/no/such/path"]),
    ] {
        let report = machine.report(args);
        assert_eq!((report.causes(), report.code), (vec![cause], Some(1)), "{report:#?}");
    }
}

#[test]
fn a_page_that_cannot_be_served_is_told_from_one_that_anyone_reads() {
    let machine = Machine::without_gpu();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let agent = Agent::start(&["--gpus", "none"]);
    for (address, cause, code) in [
        (taken.local_addr().expect("bound").to_string(), "address_taken", 1),
        (agent.address().to_string(), "another_hostgauge", 1),
        // 192.0.2.0/24 is nobody's (RFC 5737).
        ("192.0.2.1:9871".to_owned(), "address_not_ours", 1),
        ("0.0.0.0:0".to_owned(), "public_address", 0),
    ] {
        let args = machine.args(&["--format", "json"]);
        let args: Vec<&str> =
            args.iter().map(|arg| if arg == "127.0.0.1:0" { address.as_str() } else { arg.as_str() }).collect();
        let report = Report::of(run(&mut machine.prepare(hostgauge(&args)), ""));
        let causes: Vec<&str> = report
            .causes()
            .into_iter()
            .filter(|found| address != "192.0.2.1:9871" || *found != "public_address")
            .collect();
        assert_eq!((causes, report.code), (vec![cause], Some(code)), "{address}: {report:#?}");
    }
    assert_eq!(agent.get("/-/healthy").status, 200, "it was asked, and goes on");
}

#[cfg(not(feature = "cloudwatch"))]
#[test]
fn a_build_that_cannot_publish_says_so() {
    let report = Machine::without_gpu().report(&["--cloudwatch"]);
    assert_eq!((report.causes(), report.code), (vec!["not_built"], Some(1)), "{report:#?}");
}

fn mig() -> Mig {
    Mig { enabled: true, instances: Vec::new(), ..Mig::default() }
}

/// The C library, which is surely mapped, and surely not NVML.
fn libc() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").expect("maps");
    let path = maps.lines().filter_map(|line| line.split_whitespace().last()).find(|path| path.contains("/libc.so"));
    path.expect("a C library").into()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
