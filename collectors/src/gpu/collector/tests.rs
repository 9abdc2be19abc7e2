//! The collector on a driver that is played in memory.

use std::sync::{Arc, Mutex, MutexGuard};

use super::*;
use crate::catalogue::{
    GPU_BUSY_SECONDS, GPU_COVERAGE, GPU_DEVICE_UTILIZATION, GPU_FAILURE, GPU_MEMORY_USED, GPU_MIG,
    GPU_SAMPLES_REJECTED, GPU_SOURCE, GPU_UNSAMPLED_SECONDS, GPU_UP,
};
use crate::gpu::driver::{Gpm, Handle, Memory, Snapshot};
use crate::sample::Device;

mod standby;

const SECOND: Duration = Duration::from_secs(1);
const PERIOD: u64 = 200_000;

/// A GPU of the machine that the double plays.
#[derive(Clone)]
struct Played {
    uuid: &'static str,
    busy: u32,
    code: u32,
    memory: Result<(), Code>,
    mig: bool,
    gpm: Option<f64>,
    garbage: bool,
}

fn played(uuid: &'static str, busy: u32) -> Played {
    Played { uuid, busy, code: 0, memory: Ok(()), mig: false, gpm: None, garbage: false }
}

/// What is there, by index; `time` is the ring's clock in microseconds.
#[derive(Default)]
struct Machine {
    gpus: Vec<Played>,
    time: u64,
    load: Option<LoadError>,
    loads: u32,
    handles: u32,
    looks: u32,
}

/// The machine, its collector, and the monotonic clock.
struct Stage {
    machine: Arc<Mutex<Machine>>,
    gpu: Gpu,
    now: Instant,
}

struct PlayedDriver(Arc<Mutex<Machine>>);

/// Follows its UUID, whatever the index.
struct PlayedHandle(Arc<Mutex<Machine>>, &'static str);

fn lock(machine: &Mutex<Machine>) -> MutexGuard<'_, Machine> {
    machine.lock().expect("no panic while it is held")
}

impl Driver for PlayedDriver {
    fn count(&self) -> Result<u32, Code> {
        Ok(lock(&self.0).gpus.len() as u32)
    }

    fn handle(&self, index: u32) -> Result<Box<dyn Handle>, Code> {
        let mut machine = lock(&self.0);
        let gpu = machine.gpus.get(index as usize).cloned().ok_or(Code(2))?;
        if gpu.code == 15 {
            return Err(Code(15));
        }
        machine.handles += 1;
        machine.looks += 1;
        Ok(Box::new(PlayedHandle(Arc::clone(&self.0), gpu.uuid)))
    }
}

impl PlayedHandle {
    fn gpu(&self) -> Result<Played, Code> {
        let machine = lock(&self.0);
        let gpu = machine.gpus.iter().find(|gpu| gpu.uuid == self.1).ok_or(Code(15))?;
        if gpu.code == 0 { Ok(gpu.clone()) } else { Err(Code(gpu.code)) }
    }
}

impl Drop for PlayedHandle {
    fn drop(&mut self) {
        lock(&self.0).handles -= 1;
    }
}

impl Handle for PlayedHandle {
    fn identity(&self) -> Result<Identity, Code> {
        Ok(Identity { uuid: self.1.into(), ..Identity::default() })
    }

    fn memory(&self) -> Result<Memory, Code> {
        self.gpu()?.memory.map(|()| Memory { total: 1000, used: 250, reserved: Some(10) })
    }

    fn ring(&mut self, into: &mut Vec<RingSample>) -> Result<(), Code> {
        let gpu = self.gpu()?;
        if gpu.mig {
            return Err(Code(3));
        }
        let newest = lock(&self.0).time / PERIOD;
        let sample = |number| {
            let value = if gpu.garbage && number % 2 == 0 { 808_334_905 } else { gpu.busy };
            RingSample { timestamp: number * PERIOD, value }
        };
        into.clear();
        into.extend((newest.saturating_sub(50) + 1..=newest).map(sample));
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, Code> {
        let gpu = self.gpu()?;
        // A driver that answers 0 where it should say that it does not know.
        let value = if gpu.mig { 0 } else { gpu.busy };
        Ok(Snapshot { gpu: if gpu.garbage { u32::MAX } else { value }, memory: value })
    }

    fn mig(&self) -> Result<bool, Code> {
        self.gpu().map(|gpu| gpu.mig)
    }

    fn gpm(&mut self) -> Result<Option<Gpm>, Code> {
        let rest = (f64::NAN, f64::NAN, f64::NAN, f64::NAN);
        let (sm, occupancy, tensor, dram) = rest;
        let (pcie_sent, pcie_received, nvlink_sent, nvlink_received) = rest;
        let graphics = self.gpu()?.gpm.ok_or(Code(3))?;
        Ok(Some(Gpm { graphics, sm, occupancy, tensor, dram, pcie_sent, pcie_received, nvlink_sent, nvlink_received }))
    }

    // Instances are played in the tests of their own file.
}

impl Stage {
    fn new(gpus: Vec<Played>) -> Self {
        Self::choosing(gpus, Selection::All, None)
    }

    fn choosing(gpus: Vec<Played>, selection: Selection, path: Option<PathBuf>) -> Self {
        let machine = Arc::new(Mutex::new(Machine { gpus, time: 1_000_000_000, ..Machine::default() }));
        let theirs = Arc::clone(&machine);
        let load = move |_: Option<&std::path::Path>| -> Result<Box<dyn Driver>, LoadError> {
            lock(&theirs).loads += 1;
            match lock(&theirs).load.clone() {
                Some(error) => Err(error),
                None => Ok(Box::new(PlayedDriver(Arc::clone(&theirs)))),
            }
        };
        Self { machine, gpu: Gpu::with(Box::new(load), selection, path), now: Instant::now() }
    }

    fn set(&self, change: impl FnOnce(&mut Machine)) {
        change(&mut lock(&self.machine));
    }

    /// The next tick, a second later.
    fn tick(&mut self) -> Page {
        self.later(SECOND)
    }

    fn later(&mut self, step: Duration) -> Page {
        self.now += step;
        lock(&self.machine).time += step.as_micros() as u64;
        let mut samples = Vec::new();
        let outcome = self.gpu.tick(self.now, &mut samples);
        Page { samples, outcome }
    }
}

struct Page {
    samples: Vec<Sample>,
    outcome: Result<(), CollectError>,
}

impl Page {
    fn sum(&self) -> Option<f64> {
        self.one(&GPU_UTILIZATION)
    }

    fn one(&self, metric: &'static crate::Metric) -> Option<f64> {
        self.samples.iter().find(|sample| std::ptr::eq(sample.metric, metric)).map(|sample| sample.value)
    }

    fn of(&self, metric: &'static crate::Metric, uuid: &str) -> Option<f64> {
        let is_it = |device: &Device| device.values().nth(1) == Some(uuid);
        let found = self
            .samples
            .iter()
            .find(|sample| std::ptr::eq(sample.metric, metric) && sample.device.as_ref().is_some_and(is_it));
        found.map(|sample| sample.value)
    }

    fn labels(&self, metric: &'static crate::Metric) -> Vec<Vec<String>> {
        let samples = self.samples.iter().filter(|sample| std::ptr::eq(sample.metric, metric));
        samples.flat_map(|sample| &sample.device).map(|device| device.values().map(str::to_owned).collect()).collect()
    }

    fn counts(&self) -> (Option<f64>, Option<f64>) {
        (self.one(&GPUS), self.one(&GPUS_REPORTING))
    }
}

const EIGHT: [&str; 8] = ["GPU-0", "GPU-1", "GPU-2", "GPU-3", "GPU-4", "GPU-5", "GPU-6", "GPU-7"];

#[test]
fn one_of_eight_is_lost_and_comes_back() {
    let mut stage = Stage::new(EIGHT.iter().map(|uuid| played(uuid, 50)).collect());
    stage.tick();
    let whole = stage.tick();
    assert_eq!((whole.sum(), whole.counts()), (Some(400.0), (Some(8.0), Some(8.0))));
    assert_eq!(whole.one(&GPU_MEMORY_UTILIZATION), Some(200.0));
    assert_eq!(whole.outcome, Ok(()));

    stage.set(|machine| machine.gpus[3].code = 15);
    // Long enough for it to be enumerated again.
    for _ in 0..130 {
        let lost = stage.tick();
        assert_eq!((lost.sum(), lost.counts()), (None, (Some(8.0), Some(7.0))));
        assert_eq!(lost.one(&GPU_MEMORY_UTILIZATION), None);
        assert_eq!((lost.of(&GPU_UP, "GPU-3"), lost.of(&GPU_DEVICE_UTILIZATION, "GPU-3")), (Some(0.0), None));
        assert_eq!(lost.labels(&GPU_FAILURE), [["3", "GPU-3", "lost"]]);
        assert_eq!(lost.of(&GPU_DEVICE_UTILIZATION, "GPU-4"), Some(50.0));
        assert_eq!(lost.outcome.expect_err("one is lost").reason(), Reason::Missing);
    }

    stage.set(|machine| machine.gpus[3].code = 0);
    let back = (0..61).map(|_| stage.tick()).find(|page| page.sum().is_some()).expect("back within a minute");
    assert_eq!((back.sum(), back.counts()), (Some(400.0), (Some(8.0), Some(8.0))));
    assert!(back.labels(&GPU_FAILURE).is_empty());
    let (busy, unsampled) = (back.of(&GPU_BUSY_SECONDS, "GPU-3"), back.of(&GPU_UNSAMPLED_SECONDS, "GPU-3"));
    // The ring still knows the last ten seconds; the rest of the outage is nobody's.
    assert!(busy.is_some_and(|busy| busy <= 0.5 + 5.5), "{busy:?}");
    assert!(unsampled.is_some_and(|unsampled| unsampled > 115.0), "{unsampled:?}");
}

#[test]
fn a_gpu_that_is_not_enumerated_any_more_still_counts() {
    let mut stage = Stage::new(vec![played("GPU-a", 10), played("GPU-b", 20)]);
    stage.tick();
    assert_eq!(stage.tick().sum(), Some(30.0));
    stage.set(|machine| machine.gpus.truncate(1));
    let gone = stage.tick();
    assert_eq!((gone.sum(), gone.counts()), (None, (Some(2.0), Some(1.0))));
    assert_eq!(gone.labels(&GPU_FAILURE), [["1", "GPU-b", "gone"]]);
    stage.set(|machine| machine.gpus.push(played("GPU-c", 30)));
    let other = stage.tick();
    assert_eq!((other.sum(), other.counts()), (None, (Some(3.0), Some(2.0))));
    stage.set(|machine| machine.gpus.push(played("GPU-b", 20)));
    let back = stage.tick();
    assert_eq!((back.sum(), back.counts()), (Some(60.0), (Some(3.0), Some(3.0))));
}

#[test]
fn a_gpu_follows_its_uuid_when_the_indices_swap() {
    let mut stage = Stage::new(vec![played("GPU-a", 10), played("GPU-b", 90)]);
    stage.tick();
    stage.tick();
    stage.set(|machine| machine.gpus.swap(0, 1));
    let swapped = stage.later(ENUMERATION);
    assert_eq!(swapped.labels(&GPU_UP), [["0", "GPU-b"], ["1", "GPU-a"]]);
    assert_eq!(swapped.of(&GPU_DEVICE_UTILIZATION, "GPU-a"), Some(10.0));
    assert_eq!(swapped.of(&GPU_DEVICE_UTILIZATION, "GPU-b"), Some(90.0));
}

#[test]
fn a_gpu_that_was_lost_from_the_start_counts_and_gets_its_name_later() {
    let mut stage = Stage::new(vec![played("GPU-a", 10), Played { code: 15, ..played("GPU-b", 20) }]);
    stage.tick();
    let lost = stage.tick();
    assert_eq!((lost.sum(), lost.counts()), (None, (Some(2.0), Some(1.0))));
    assert_eq!(lost.labels(&GPU_FAILURE), [["1", "", "lost"]]);
    stage.set(|machine| machine.gpus[1].code = 0);
    let found = stage.later(ENUMERATION);
    assert_eq!((found.labels(&GPU_UP).len(), found.of(&GPU_UP, "GPU-b")), (2, Some(1.0)));
}

#[test]
fn ticks_further_apart_than_the_ring_reaches_back_lose_nothing() {
    let mut stage = Stage::new(vec![played("GPU-a", 0)]);
    stage.tick();
    for second in 1..60 {
        stage.set(|machine| machine.time += 1_000_000);
        stage.now += SECOND;
        if second % 5 == 0 {
            stage.gpu.drain(stage.now);
        }
        if second == 30 {
            stage.set(|machine| machine.gpus[0].busy = 100);
        }
    }
    let page = stage.tick();
    assert_eq!((page.sum(), page.one(&GPU_UNSAMPLED_SECONDS)), (Some(50.0), Some(0.0)));
    assert_eq!((page.one(&GPU_BUSY_SECONDS), page.one(&GPU_COVERAGE)), (Some(30.0), Some(1.0)));
    assert_eq!(stage.tick().sum(), Some(100.0), "what was kept is used once");
}

#[test]
fn a_gpu_that_is_found_but_does_not_know_its_handle_is_asked_ever_more_seldom() {
    let mut stage = Stage::new(vec![played("GPU-a", 10)]);
    stage.tick();
    stage.set(|machine| machine.gpus[0].code = 2);
    let before = lock(&stage.machine).looks;
    (0..120).for_each(|_| assert_eq!(stage.tick().labels(&GPU_FAILURE), [["0", "GPU-a", "gone"]]));
    assert!((4..=12).contains(&(lock(&stage.machine).looks - before)));
    stage.set(|machine| machine.gpus[0].code = 0);
    (0..61).find(|_| stage.tick().sum().is_some()).expect("back within a minute");
}

#[test]
fn garbage_is_rejected_and_counted() {
    let mut stage = Stage::new(vec![Played { garbage: true, ..played("GPU-a", 40) }]);
    stage.tick();
    let page = stage.tick();
    assert_eq!(page.sum(), Some(40.0), "the good half of the samples");
    assert!(page.one(&GPU_SAMPLES_REJECTED).is_some_and(|rejected| rejected >= 2.0));
    assert!(page.samples.iter().all(|sample| sample.value < 1e6), "{:?}", page.samples);
}

#[test]
fn in_mig_mode_utilization_is_gpms_or_absent_and_never_zero() {
    let mut stage = Stage::new(vec![Played { mig: true, ..played("GPU-a", 40) }]);
    stage.tick();
    let page = stage.tick();
    assert_eq!((page.sum(), page.counts()), (None, (Some(1.0), Some(0.0))));
    assert_eq!(
        (page.one(&GPU_MIG), page.one(&GPU_UP), page.one(&GPU_MEMORY_USED)),
        (Some(1.0), Some(1.0), Some(250.0))
    );
    stage.set(|machine| machine.gpus[0].gpm = Some(35.5));
    let page = stage.tick();
    assert_eq!(
        (page.sum(), page.labels(&GPU_SOURCE)),
        (Some(35.5), vec![vec!["0".into(), "GPU-a".into(), "gpm".into()]])
    );
}

#[test]
fn without_a_driver_or_a_gpu_there_is_nothing_and_a_long_rest() {
    let no_gpu = [
        LoadError::Library("no such file".into()),
        LoadError::Refused(Code::DRIVER_NOT_LOADED),
        LoadError::Refused(Code::GPU_NOT_FOUND),
    ];
    for load in no_gpu.map(Some).into_iter().chain([None]) {
        let mut stage = Stage::new(Vec::new());
        stage.set(|machine| machine.load = load);
        for _ in 0..3 {
            let page = stage.later(REST);
            assert_eq!((page.samples, page.outcome), (Vec::new(), Ok(())));
            assert_eq!(stage.gpu.rest(), Some(REST));
            assert!(stage.gpu.driver.is_none(), "a driver in use could not be replaced");
        }
        assert_eq!(lock(&stage.machine).loads, 3);
        stage.set(|machine| (machine.load, machine.gpus) = (None, vec![played("GPU-a", 10)]));
        stage.later(REST);
        assert_eq!((stage.tick().sum(), stage.gpu.rest()), (Some(10.0), None));
    }
}

#[test]
fn what_was_asked_for_and_is_not_there_is_an_error() {
    let chosen = "1".parse().expect("an index");
    for (selection, path) in [(Selection::All, Some("/no/such.so".into())), (chosen, None)] {
        let mut stage = Stage::choosing(Vec::new(), selection, path);
        stage.set(|machine| machine.load = Some(LoadError::Library("no such file".into())));
        let page = stage.tick();
        assert!(page.outcome.expect_err("asked for").to_string().contains("no such file"));
        assert_eq!(stage.gpu.rest(), None);
    }
    let chosen = "1,GPU-x".parse().expect("a selection");
    let mut stage = Stage::choosing(vec![played("GPU-a", 10), played("GPU-b", 20)], chosen, None);
    stage.tick();
    let page = stage.tick();
    assert_eq!((page.sum(), page.counts()), (None, (Some(2.0), Some(1.0))));
    assert_eq!(page.labels(&GPU_UP), [["1", "GPU-b"], ["", "GPU-x"]]);
    assert!(page.outcome.expect_err("one is missing").to_string().contains("GPU-x"));
}

#[test]
fn a_driver_that_was_replaced_is_let_go_whole_and_loaded_again() {
    let mut stage = Stage::new(vec![played("GPU-a", 10), played("GPU-b", 20)]);
    stage.tick();
    stage.tick();
    stage.set(|machine| {
        machine.gpus.iter_mut().for_each(|gpu| gpu.code = 18);
        machine.load = Some(LoadError::Refused(Code(18)));
    });
    let replaced = stage.tick();
    assert_eq!((replaced.sum(), replaced.counts()), (None, (Some(2.0), Some(0.0))));
    assert!(replaced.labels(&GPU_FAILURE).iter().all(|labels| labels[2] == "driver_mismatch"));
    assert_eq!((lock(&stage.machine).handles, stage.gpu.driver.is_none()), (0, true));
    // Ever more seldom, and never resting: GPUs were here.
    (0..120).for_each(|_| assert_eq!(stage.tick().counts().0, Some(2.0)));
    assert!((4..=12).contains(&lock(&stage.machine).loads), "{}", lock(&stage.machine).loads);
    assert_eq!(stage.gpu.rest(), None);
    stage.set(|machine| {
        machine.gpus.iter_mut().for_each(|gpu| gpu.code = 0);
        machine.load = None;
    });
    let back = (0..62).map(|_| stage.tick()).find(|page| page.sum().is_some()).expect("back within a minute");
    assert_eq!((back.sum(), back.outcome), (Some(30.0), Ok(())));
    // That it took long the last time says nothing of the next.
    stage.set(|machine| machine.gpus.iter_mut().for_each(|gpu| gpu.code = 18));
    assert_eq!(stage.tick().sum(), None);
    stage.set(|machine| machine.gpus.iter_mut().for_each(|gpu| gpu.code = 0));
    assert_eq!(stage.tick().sum(), Some(30.0));
}

#[test]
fn a_call_that_is_refused_by_a_good_gpu_costs_its_own_series_only() {
    for code in [3, 4, 13, 25, 999] {
        let memory = Err(Code(code));
        let mut stage = Stage::new(vec![Played { memory, ..played("GPU-a", 10) }, played("GPU-b", 20)]);
        stage.tick();
        let page = stage.tick();
        assert_eq!((page.sum(), page.one(&GPU_MEMORY_UTILIZATION), page.outcome.is_ok()), (Some(30.0), None, true));
        assert_eq!(page.of(&GPU_MEMORY_USED, "GPU-b"), Some(250.0));
    }
    let memory = Err(Code(15));
    let mut stage = Stage::new(vec![Played { memory, ..played("GPU-a", 10) }]);
    assert_eq!(stage.tick().labels(&GPU_FAILURE), [["0", "GPU-a", "lost"]], "what one call says of the whole GPU");
}

#[test]
fn a_gpu_that_permits_no_call_says_so() {
    let mut stage = Stage::new(vec![Played { code: 4, ..played("GPU-a", 10) }, played("GPU-b", 20)]);
    let page = stage.tick();
    assert_eq!(page.labels(&GPU_FAILURE), [["0", "GPU-a", "no_permission"]]);
    assert_eq!(page.outcome.expect_err("no call is permitted").reason(), Reason::Denied);
}
