//! In steps of a real Slurm, of one node on the loopback.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use support::agent::{BINARY, Ended, clean, run};
use support::load::Killed;
use support::wait::{SOON, wait_until};

/// A cluster of this machine; it ends when dropped.
struct Cluster {
    folder: tempfile::TempDir,
    _daemons: Vec<Killed>,
}

impl Cluster {
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a folder's mode");
        let path = |name: &str| folder.path().join(name).to_str().expect("a path of text").to_owned();
        let free = || std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port();
        let configuration = format!(
            "ClusterName=trial\nSlurmctldHost=localhost(127.0.0.1)\nSlurmUser=root\nSlurmctldPort={}\n\
             SlurmdPort={}\nAuthType=auth/munge\nAuthInfo=socket={}\nCredType=cred/munge\nStateSaveLocation={}\n\
             SlurmdSpoolDir={}\nSlurmctldPidFile={}\nSlurmdPidFile={}\nProctrackType=proctrack/linuxproc\n\
             TaskPlugin=task/none\nReturnToService=2\nMpiDefault=none\n\
             NodeName=localhost NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN\n\
             PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n{more}\n",
            free(),
            free(),
            path("munge.socket"),
            path("state"),
            path("spool"),
            path("slurmctld.pid"),
            path("slurmd.pid"),
        );
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
        daemons.push(daemon("slurmd", &["-D", "-N", "localhost", "-f", &path("slurm.conf")]));
        let cluster = Self { folder, _daemons: daemons };
        wait_until(2 * SOON, "an idle node", || {
            let said = run(&mut cluster.tool("sinfo", &["--noheader", "--format=%T"]), "");
            if said.stdout.trim() == "idle" { Ok(()) } else { Err(format!("{said:?}")) }
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

#[test]
fn a_step_knows_its_host_and_its_program_ends_as_it_would_without_us() {
    let cluster = Cluster::start("");
    let said = cluster.srun(&["--job-name=train", BINARY, "whoami"]);
    assert!(said.stdout.starts_with("Host: train-1/algo-1\n"), "{said:?}");

    let ended = cluster.srun(&[BINARY, "run", "--", "sh", "-c", "echo out; exit 7"]);
    assert_eq!(ended.status.code(), Some(7), "{ended:?}");
    assert_eq!(ended.stdout, "out\n");
    let ended = cluster.srun(&["sh", "-c", "exit 7"]);
    assert_eq!(ended.status.code(), Some(7), "{ended:?}");
}

/// The scripts of deploy/: an agent for each job, which ends with it.
#[test]
fn the_prolog_starts_an_agent_and_the_epilog_ends_it() {
    let script = |name: &str| support::file("../deploy/slurm").join(name).display().to_string();
    // What a killed test left behind under its number must not be in the way.
    let number = std::process::id();
    let (prolog, epilog) = (script("task_prolog.sh"), script("epilog.sh"));
    let scripts = format!("FirstJobId={number}\nTaskProlog={prolog}\nEpilog={epilog}");
    let cluster = Cluster::start(&scripts);
    let folder = std::path::Path::new(BINARY).parent().expect("a folder").display().to_string();
    let job = "until grep -q 'page: ' /tmp/hostgauge-$SLURM_JOB_ID/log; do sleep 0.1; done; \
               echo $SLURM_JOB_ID; cat /tmp/hostgauge-$SLURM_JOB_ID/agent/pid";
    let mut srun = cluster.tool("srun", &["--ntasks=1", "--chdir=/", "--job-name=train", "sh", "-c", job]);
    let said = run(srun.env("PATH", format!("{folder}:/usr/bin:/bin")), "");
    let [id, agent] = said.stdout.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{said:?}") };
    wait_until(2 * SOON, "the agent's end with the job", || {
        let left = [format!("/proc/{agent}/exe"), format!("/tmp/hostgauge-{id}")];
        let left: Vec<_> = left.into_iter().filter(|path| fs::symlink_metadata(path).is_ok()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}
