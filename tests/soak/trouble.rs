//! Trouble, of every kind that a machine has; each passes.

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use hostgauge_cloudwatch_double::{Fault, Mix};
use nvidia_ml_double::{Fault as DriverFault, Instance, Load, Memory, Mig, State};

use crate::stage::{LOAD, Stage};
use crate::support::http;
use crate::support::load::busy;
use crate::support::wait::{SOON, wait_until, wall};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// Throttles, faults, silence or none of these from the service, until the next time.
    Service,
    /// The wall clock is set, until the next time.
    Clock,
    /// The process stands still.
    Pause,
    /// The process can open nothing more.
    Descriptors,
    /// GPUs are lost, hang, or are cut up, until the next time.
    Gpu,
    /// A core that others want, too.
    BusyCore,
    /// The disk is full.
    FullDisk,
    /// The spool's folder goes away.
    RemovedSpool,
    /// kill -9.
    Kill,
}

use Trouble::*;

/// What an agent lives through without losing anything or taking more memory.
pub(crate) const SURVIVED: &[Trouble] = &[Service, Service, Clock, Pause, Descriptors, Gpu, Gpu, BusyCore];
/// What may cost the spool, or the life.
pub(crate) const MORTAL: &[Trouble] =
    &[Service, Clock, Pause, Descriptors, FullDisk, FullDisk, RemovedSpool, Kill, Kill, Kill, Kill];

/// So far the service takes data, and keeps those of a second.
const HOUR: f64 = 3600.0;

impl Trouble {
    pub(crate) fn befall(self, stage: &mut Stage, longest_pause: Duration) {
        let short = |stage: &mut Stage| {
            let pause = stage.random.duration(Duration::from_millis(100), Duration::from_secs(2));
            sleep(pause);
        };
        match self {
            Service => service(stage),
            Clock => clock(stage),
            Gpu => gpu(stage),
            Pause => {
                let pause = stage.random.duration(Duration::from_millis(200), longest_pause);
                stage.agent.signal("STOP");
                sleep(pause);
                stage.agent.signal("CONT");
            }
            Descriptors => {
                let pid = stage.agent.pid();
                let open = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |all| all.count() as u64);
                let before = limit(pid, &(open + stage.random.next() % 3).to_string());
                // A client that has to wait.
                let _client = http::connect(stage.agent.address()).expect("the kernel accepts it");
                short(stage);
                limit(pid, &before);
            }
            BusyCore => {
                let _load = busy(0);
                short(stage);
            }
            FullDisk => {
                stage.disk.fill();
                short(stage);
                stage.disk.free();
            }
            RemovedSpool => {
                stage.disk.remove_spool();
                // With it the ledger would be gone, were the agent killed before it writes again.
                wait_until(SOON, "the spool is made again", || {
                    let made = std::fs::read_dir(stage.disk.path("spool")).map_or(0, |files| files.count());
                    if made > 1 { Ok(()) } else { Err(stage.agent.log()) }
                });
            }
            Kill => {
                stage.agent.stop("KILL");
                stage.restart();
            }
        }
    }
}

/// The end of all that lasts.
pub(crate) fn calm(stage: &mut Stage) {
    stage.double.mix(None);
    stage.clock.set(0.0);
    stage.disk.free();
    heal(stage);
    stage.play();
}

fn service(stage: &mut Stage) {
    let kinds: [&[Fault]; 6] = [
        &[],
        &[Fault::Throttle],
        // As good as a port that nobody listens at.
        &[Fault::ResetBeforeBody],
        &[Fault::Hang],
        &[Fault::Internal, Fault::Unavailable, Fault::ExpiredToken, Fault::DateOff(3600)],
        &[
            Fault::ResetAfterStoring,
            Fault::HangAfterStoring,
            Fault::TooLarge,
            Fault::ResetBeforeBody,
            Fault::Drip(Duration::from_millis(5)),
        ],
    ];
    let faults = kinds[stage.random.next() as usize % kinds.len()].to_vec();
    let share = 0.3 + 0.7 * (stage.random.next() % 100) as f64 / 100.0;
    let seed = stage.random.next();
    stage.double.mix((!faults.is_empty()).then_some(Mix { seed, share, faults }));
}

fn clock(stage: &mut Stage) {
    // How long it is to the end of a second: a jump may end right there.
    let boundary = f64::from(1_000_000_000 - wall().subsec_nanos()) * 1e-9;
    let offsets = [0.0, 0.0, 1.0, -1.0, HOUR, -HOUR, boundary, boundary - 1.0, 0.5, -0.5];
    let offset = offsets[stage.random.next() as usize % offsets.len()];
    stage.clock.set(offset);
    if stage.random.next().is_multiple_of(3) {
        // And back, within a tick or a few.
        sleep(stage.random.duration(Duration::from_millis(10), Duration::from_millis(400)));
        stage.clock.set(0.0);
    }
}

fn heal(stage: &mut Stage) {
    stage.scenario.faults.clear();
    for gpu in &mut stage.scenario.gpus {
        (gpu.state, gpu.mig) = (State::Ok, None);
    }
}

fn gpu(stage: &mut Stage) {
    heal(stage);
    let (which, kind) = (stage.random.next() as usize % 2, stage.random.next() % 6);
    let gpu = &mut stage.scenario.gpus[which];
    match kind {
        0 => gpu.state = State::Lost,
        1 => gpu.state = State::Unknown,
        2 => gpu.state = State::ResetRequired,
        3 => {
            let uuid = format!("MIG-11111111-2222-3333-4444-{:012}", stage.random.next() % 3);
            let load = Load::Percent(LOAD);
            let instance = Instance { slot: 0, uuid, gi: 7, ci: 0, slices: 3, load, memory: Memory::default() };
            gpu.mig = Some(Mig { instances: vec![instance], ..Mig::default() });
        }
        4 => stage.scenario.faults.push(DriverFault {
            function: "nvmlDeviceGetUtilizationRates".to_owned(),
            gpu: Some(which),
            hang: true,
            ..DriverFault::default()
        }),
        _ => {}
    }
    stage.play();
}

/// Sets how many descriptors a process may have, and tells how many it might before.
fn limit(pid: u32, soft: &str) -> String {
    let pid = pid.to_string();
    let prlimit = |args: &[&str]| {
        let output = Command::new("prlimit").args(["--pid", &pid]).args(args).output();
        let output = output.expect("prlimit (Debian package util-linux) starts");
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    };
    let before = prlimit(&["--nofile", "--output", "SOFT", "--noheadings"]);
    prlimit(&[&format!("--nofile={soft}:")]);
    before
}
