//! In steps of a real Slurm, of one node on the loopback, without its control groups and with them.
//!
//! With them takes root and cgroup version 1, beside which version 2 may be.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::agent::{BINARY, Ended, Log, clean, end_of, page_address, run};
use support::group::Cgroup;
use support::load::Killed;
use support::reserved::Reserved;
use support::wait::{SOON, wait_until};
use support::{Page, http};

/// How Slurm follows and limits what it starts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tracking {
    /// By the parents of processes, without limits.
    Parents,
    /// In control groups, with limits of cores and memory.
    Groups,
}

impl Tracking {
    fn configuration(self) -> &'static str {
        match self {
            Self::Parents => "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none",
            Self::Groups => {
                "ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup\nJobAcctGatherType=jobacct_gather/cgroup\n\
                 SelectType=select/cons_tres\nSelectTypeParameters=CR_Core_Memory"
            }
        }
    }
}

const CGROUPS: &str = "/sys/fs/cgroup";

/// A cluster of this machine; it ends when dropped.
struct Cluster {
    folder: tempfile::TempDir,
    _ports: [Reserved; 2],
    daemons: Vec<Killed>,
    /// Slurm names its control groups after it.
    node: String,
}

impl Cluster {
    fn start(tracking: Tracking, more: &str) -> Self {
        let node = format!("node-{}-{tracking:?}", std::process::id()).to_lowercase();
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a folder's mode");
        let path = |name: &str| folder.path().join(name).to_str().expect("a path of text").to_owned();
        let ports = [Reserved::new(), Reserved::new()];
        let configuration = format!(
            "ClusterName=trial\nSlurmctldHost=localhost(127.0.0.1)\nSlurmUser=root\nSlurmctldPort={}\n\
             SlurmdPort={}\nAuthType=auth/munge\nAuthInfo=socket={}\nCredType=cred/munge\nStateSaveLocation={}\n\
             SlurmdSpoolDir={}\nSlurmctldPidFile={}\nSlurmdPidFile={}\n{}\nReturnToService=2\nMpiDefault=none\n\
             NodeName={node} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN\n\
             PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n{more}\n",
            ports[0].address().port(),
            ports[1].address().port(),
            path("munge.socket"),
            path("state"),
            path("spool"),
            path("slurmctld.pid"),
            path("slurmd.pid"),
            tracking.configuration(),
        );
        let groups = "CgroupPlugin=cgroup/v1\nConstrainCores=yes\nConstrainRAMSpace=yes\n";
        fs::write(path("cgroup.conf"), groups).expect("a file");
        fs::write(path("slurm.conf"), configuration).expect("a file");
        fs::create_dir(path("state")).expect("a folder");
        fs::create_dir(path("spool")).expect("a folder");
        fs::write(path("munge.key"), [7; 1024]).expect("a file");
        fs::set_permissions(path("munge.key"), fs::Permissions::from_mode(0o400)).expect("a file's mode");
        let daemon = |program: &str, args: &[&str]| {
            let log = fs::File::create(path(&format!("{program}.log"))).expect("a file");
            let mut command = Command::new(program);
            command.args(args).stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
            Killed(command.spawn().unwrap_or_else(|error| panic!("{program} (Debian: slurm-wlm, munge): {error}")))
        };
        let munge = [
            "--foreground",
            "--force",
            &format!("--socket={}", path("munge.socket")),
            &format!("--key-file={}", path("munge.key")),
            &format!("--pid-file={}", path("munged.pid")),
            &format!("--seed-file={}", path("munge.seed")),
            &format!("--log-file={}", path("munged-own.log")),
        ];
        let mut daemons = vec![daemon("munged", &munge)];
        wait_until(SOON, "munge's socket", || fs::metadata(path("munge.socket")).map_err(|error| error.to_string()));
        daemons.push(daemon("slurmctld", &["-D", "-f", &path("slurm.conf")]));
        daemons.push(daemon("slurmd", &["-D", "-N", &node, "-f", &path("slurm.conf")]));
        let cluster = Self { folder, _ports: ports, daemons, node };
        wait_until(2 * SOON, "an idle node", || {
            let said = run(&mut cluster.tool("sinfo", &["--noheader", "--format=%T"]), "");
            let log = || fs::read_to_string(cluster.folder.path().join("slurmd.log")).unwrap_or_default();
            if said.stdout.trim() == "idle" { Ok(()) } else { Err(format!("{said:?}\n{}", log())) }
        });
        cluster
    }

    fn tool(&self, program: &str, args: &[&str]) -> Command {
        let mut command = clean(program, args);
        command.env("SLURM_CONF", self.folder.path().join("slurm.conf"));
        command
    }

    fn srun(&self, args: &[&str]) -> Ended {
        run(&mut self.tool("srun", &[&["--ntasks=1", "--chdir=/"], args].concat()), "")
    }
}

impl Drop for Cluster {
    /// Removes its control groups, with whoever a failed test left in them.
    fn drop(&mut self) {
        self.daemons.clear();
        let controllers = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
        for top in controllers.map(|entry| entry.path().join(format!("slurm_{}", self.node))) {
            let deadline = Instant::now() + SOON;
            while top.is_dir() && Instant::now() < deadline {
                remove(&top);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// A group without processes and the groups below it; it is busy until the last of them is gone.
fn remove(group: &Path) {
    for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
        let _ = Command::new("kill").args(["-KILL", pid]).stderr(Stdio::null()).status();
    }
    let below = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
    below.filter(|path| path.is_dir()).for_each(|path| remove(&path));
    let _ = fs::remove_dir(group);
}

#[test]
fn a_step_knows_its_host_and_its_program_ends_as_it_would_without_us() {
    let cluster = Cluster::start(Tracking::Parents, "");
    let said = cluster.srun(&["--job-name=train", BINARY, "whoami"]);
    assert!(said.stdout.starts_with("Host: train-1/algo-1\n"), "{said:?}");

    let ended = cluster.srun(&[BINARY, "run", "--", "sh", "-c", "echo out; exit 7"]);
    assert_eq!(ended.status.code(), Some(7), "{ended:?}");
    assert_eq!(ended.stdout, "out\n");
    let ended = cluster.srun(&["sh", "-c", "exit 7"]);
    assert_eq!(ended.status.code(), Some(7), "{ended:?}");
}

/// A step of two workers around each of which is a hostgauge, and its page.
struct Step {
    srun: Killed,
    log: Log,
    address: SocketAddr,
    /// Its workers run until it is gone.
    flag: tempfile::NamedTempFile,
}

impl Step {
    fn of_two_busy_workers(cluster: &Cluster, options: &[&str]) -> Self {
        let flag = tempfile::NamedTempFile::new().expect("a file");
        let work = format!("while [ -e {} ]; do :; done; exit 7", flag.path().display());
        let hostgauge = [BINARY, "run", "--interval", "100ms", "--prometheus-listen", "127.0.0.1:0", "--", "sh", "-c"];
        let args = [&["--ntasks=2", "--chdir=/"], options, &hostgauge[..], &[&work]].concat();
        let mut command = cluster.tool("srun", &args);
        let mut srun = Killed(command.env("RUST_LOG", "info").stderr(Stdio::piped()).spawn().expect("srun starts"));
        let log = Log::follow(srun.0.stderr.take().expect("a pipe"));
        let address = wait_until(2 * SOON, "a page, and who leaves it to another", || {
            let text = log.text();
            let left = text.matches("SLURM_LOCALID is 1: the hostgauge of worker 0 measures").count();
            page_address(&text).filter(|_| left == 1).ok_or(text)
        });
        Self { srun, log, address, flag }
    }

    fn page(&self) -> Page {
        let response = http::request(self.address, "GET", "/metrics", &[]);
        Page::parse(response.unwrap_or_else(|error| panic!("{error}; {}", self.log.text())).text())
    }

    /// What is measured, once it is.
    fn scope(&self) -> String {
        wait_until(SOON, "a scope", || {
            let page = self.page();
            let scope = page.all("hostgauge_scope_info").next().map(|series| series.labels["scope"].clone());
            scope.ok_or(page.text)
        })
    }

    /// The agent's counter at a new tick, and the kernel's at that moment.
    fn tick(&self, kernel: impl Fn() -> f64) -> [f64; 2] {
        let seconds = || self.page().get("hostgauge_cpu_seconds_total", &[]);
        wait_until(2 * SOON, "a tick that is seen as it comes", || {
            let (mut before, old) = (kernel(), seconds());
            let (new, before, after) = wait_until(SOON, "a tick", || {
                let now = kernel();
                match seconds().filter(|new| Some(*new) != old) {
                    Some(new) => Ok((new, before, kernel())),
                    None => {
                        before = now;
                        Err(self.log.text())
                    }
                }
            });
            // Other work on this machine may have come between the two.
            if after - before < 0.05 {
                Ok([new, f64::midpoint(before, after)])
            } else {
                Err(format!("{before}, {after}"))
            }
        })
    }

    fn end(mut self) -> (Option<i32>, String) {
        drop(self.flag);
        (end_of(&mut self.srun.0, "the end of the step").code(), self.log.whole())
    }
}

#[test]
fn a_job_in_control_groups_is_measured_whole_against_its_limits() {
    let cluster = Cluster::start(Tracking::Groups, "");
    // Overcommitted, so that the limit of cores is not the machine's.
    let step = Step::of_two_busy_workers(&cluster, &["--overcommit", "--mem=300", "--job-name=train"]);
    let page = wait_until(SOON, "figures of the job", || {
        let page = step.page();
        if page.sum().is_some() { Ok(page) } else { Err(page.text) }
    });
    let scope = step.scope();
    // Below the mounts of version 1.
    let job = Path::new(scope.strip_prefix("cgroup:/").expect("a control group"));
    assert!(job.ends_with("uid_0/job_1"), "the job's, not a step's or task's: {}", job.display());
    assert!(page.text.contains("Host=\"train-1/algo-1\""), "{}", page.text);
    assert_eq!(page.value("hostgauge_memory_limit_bytes", &[]), f64::from(300 << 20));
    let group = Cgroup::at(&job.display().to_string());
    assert_eq!(group.number("memory", "memory.limit_in_bytes"), f64::from(300 << 20), "Slurm's");
    assert_eq!(page.value("hostgauge_cpu_limit_cores", &[]), 1.0);

    let kernel = || group.number("cpuacct", "cpuacct.usage") / 1e9;
    let before = step.tick(kernel);
    std::thread::sleep(Duration::from_secs(10));
    let after = step.tick(kernel);
    let [agent, kernel] = [0, 1].map(|who| after[who] - before[who]);
    // One point of a core over ten seconds.
    assert!((agent - kernel).abs() <= 0.1, "the agent counted {agent} s, the kernel {kernel} s");
    assert!(kernel > 2.0, "the workers work: {kernel} s");

    let (code, log) = step.end();
    assert_eq!(code, Some(7), "{log}");
}

/// Without Slurm's groups, what belongs to a step is who descends from the process that started its tasks.
#[test]
fn a_step_without_control_groups_is_measured_with_all_its_workers() {
    let cluster = Cluster::start(Tracking::Parents, "");
    let step = Step::of_two_busy_workers(&cluster, &[]);
    let scope = step.scope();
    let daemon: u32 = scope.strip_prefix("tree:").expect("processes").parse().expect("a number");
    let name = fs::read_to_string(format!("/proc/{daemon}/comm")).expect("it runs");
    assert_eq!(name.trim(), "slurmstepd");
    let (code, log) = step.end();
    assert_eq!(code, Some(7), "{log}");
}

/// The scripts of deploy/: an agent for each job, which ends with the step that started it, its last window sent.
fn the_prolog_starts_an_agent_and_the_epilogs_end_it(tracking: Tracking) {
    let script = |name: &str| support::file("../deploy/slurm").join(name).display().to_string();
    // What a killed test left behind under its number must not be in the way.
    let number = std::process::id();
    let [prolog, task_epilog, epilog] = ["task_prolog.sh", "task_epilog.sh", "epilog.sh"].map(script);
    let scripts = format!("FirstJobId={number}\nTaskProlog={prolog}\nTaskEpilog={task_epilog}\nEpilog={epilog}");
    let cluster = Cluster::start(tracking, &scripts);
    let folder = Path::new(BINARY).parent().expect("a folder").display().to_string();
    let windows = cluster.folder.path().join("windows");
    let job = "until grep -q 'page: ' /tmp/hostgauge-$SLURM_JOB_ID/log; do sleep 0.1; done; sleep 3; \
               echo $SLURM_JOB_ID; cat /tmp/hostgauge-$SLURM_JOB_ID/agent/pid; \
               sed -n 's/.*disk (.*) of //p' /tmp/hostgauge-$SLURM_JOB_ID/log; \
               sed -n 's/.*:cpuset://p' /proc/self/cgroup";
    let mut srun = cluster.tool("srun", &["--ntasks=1", "--chdir=/", "--job-name=train", "sh", "-c", job]);
    srun.env("PATH", format!("{folder}:/usr/bin:/bin"));
    if cfg!(feature = "cloudwatch") {
        srun.env("HOSTGAUGE_EMF", &windows).env("HOSTGAUGE_CLOUDWATCH_PERIOD", "5m");
    }
    let said = run(&mut srun, "");
    let [id, agent, scope, group] = said.stdout.lines().collect::<Vec<_>>()[..] else { panic!("{said:?}") };
    let expected = match tracking {
        Tracking::Parents => "this container ".to_owned(),
        Tracking::Groups => format!("cgroup:{} ", group.strip_suffix("/step_0").expect("a step")),
    };
    assert!(scope.starts_with(&expected), "{scope}, expected {expected}");
    wait_until(2 * SOON, "the agent's end with the job", || {
        let left = [format!("/proc/{agent}/exe"), format!("/tmp/hostgauge-{id}")];
        let left: Vec<_> = left.into_iter().filter(|path| fs::symlink_metadata(path).is_ok()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    let sent = fs::read_to_string(&windows).unwrap_or_default();
    let host = format!("train-{id}/algo-1");
    assert!(sent.contains(&host) || cfg!(not(feature = "cloudwatch")), "the last window: {sent:?}");
}

#[test]
fn the_scripts_of_deploy_without_control_groups() {
    the_prolog_starts_an_agent_and_the_epilogs_end_it(Tracking::Parents);
}

#[test]
fn the_scripts_of_deploy_with_control_groups() {
    the_prolog_starts_an_agent_and_the_epilogs_end_it(Tracking::Groups);
}
