//! Processes on a driver that is played in memory, and a made-up procfs.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::driver::{Code, Gpm, Identity, Memory, Snapshot};
use super::super::ring::RingSample;
use super::super::state::Outcome;
use super::*;
use crate::Metric;

const NO_INSTANCE: (u32, u32) = (u32::MAX, u32::MAX);
const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What the driver answers.
struct Answers {
    listed: Result<Vec<ProcessMemory>, Code>,
    samples: Result<Vec<ProcessSample>, Code>,
    asked: u32,
}

struct Played(Arc<Mutex<Answers>>);

impl Handle for Played {
    fn identity(&self) -> Result<Identity, Code> {
        Err(Code::NOT_SUPPORTED)
    }
    fn memory(&self) -> Result<Memory, Code> {
        Err(Code::NOT_SUPPORTED)
    }
    fn ring(&mut self, _: &mut Vec<RingSample>) -> Result<(), Code> {
        Err(Code::NOT_SUPPORTED)
    }
    fn snapshot(&self) -> Result<Snapshot, Code> {
        Err(Code::NOT_SUPPORTED)
    }
    fn mig(&self) -> Result<bool, Code> {
        Err(Code::NOT_SUPPORTED)
    }
    fn gpm(&mut self) -> Result<Option<Gpm>, Code> {
        Err(Code::NOT_SUPPORTED)
    }
    fn processes(&mut self, into: &mut Vec<ProcessMemory>) -> Result<(), Code> {
        let mut answers = self.0.lock().expect("no panic while it is held");
        answers.asked += 1;
        into.extend(answers.listed.clone()?);
        Ok(())
    }
    fn process_samples(&mut self, since: u64, into: &mut Vec<ProcessSample>) -> Result<(), Code> {
        let answers = self.0.lock().expect("no panic while it is held");
        into.extend(answers.samples.clone()?.into_iter().filter(|sample| sample.timestamp > since));
        Ok(())
    }
}

/// One GPU, its processes, and procfs.
struct Stage {
    answers: Arc<Mutex<Answers>>,
    gpu: Vec<Known>,
    utilization: Option<f64>,
    procfs: tempfile::TempDir,
    census: Census,
    now: Instant,
    time: u64,
}

type Page = Vec<(&'static str, Vec<String>, f64)>;

impl Stage {
    /// In a procfs whose `self` is in the host's namespace, in one, or in a nested one.
    fn new(what: Processes, ids: Option<&str>) -> Self {
        let procfs = tempfile::tempdir().expect("a folder");
        let own = procfs.path().join("self");
        fs::create_dir_all(own.join("ns")).expect("a folder");
        let (namespace, ids) = (ids.map_or("pid:[4026531836]", |_| "pid:[4026532000]"), ids.unwrap_or("1"));
        symlink(namespace, own.join("ns/pid")).expect("a link");
        fs::write(own.join("status"), format!("Name:\ta\nNSpid:\t{ids}\n")).expect("written");
        let answers = Arc::new(Mutex::new(Answers { listed: Ok(vec![]), samples: Ok(vec![]), asked: 0 }));
        let mut known = Known::new(Some(0), Identity { uuid: "GPU-a".into(), ..Identity::default() });
        known.handle = Some(Box::new(Played(Arc::clone(&answers))));
        known.health.observe(Outcome::Answered, Instant::now());
        let roots = Roots { procfs: procfs.path().into(), ..Roots::default() };
        let census = Census::new(what, &roots);
        let (now, time) = (Instant::now(), 1_000_000_000);
        Self { answers, gpu: vec![known], utilization: Some(50.0), procfs, census, now, time }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().expect("no panic while it is held")
    }

    fn listed(&self, listed: &[(u32, u64)]) {
        let entry = |(pid, bytes): &(u32, u64)| ProcessMemory { pid: *pid, instance: NO_INSTANCE, bytes: Some(*bytes) };
        self.answers().listed = Ok(listed.iter().map(entry).collect());
    }

    /// From now on each of these has one sample at each tick.
    fn sampled(&self, samples: &[(u32, u32)]) {
        let sample = |(pid, sm): &(u32, u32)| ProcessSample { pid: *pid, timestamp: 0, sm: *sm };
        self.answers().samples = Ok(samples.iter().map(sample).collect());
    }

    /// A process in procfs.
    fn process(&self, pid: u32, name: &str, started: u64, cgroup: &str, device: Option<&str>) {
        let folder = self.procfs.path().join(pid.to_string());
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("fd")).expect("a folder");
        let stat = format!("{pid} ({name}) S 1 7 7 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 {started} 1 1 184\n");
        for (file, text) in [("stat", stat), ("comm", format!("{name}\n")), ("cgroup", format!("0::{cgroup}\n"))] {
            fs::write(folder.join(file), text).expect("written");
        }
        symlink("/dev/null", folder.join("fd/0")).expect("a link");
        if let Some(device) = device {
            symlink(device, folder.join("fd/7")).expect("a link");
        }
    }

    fn later(&mut self, step: Duration) -> Page {
        self.now += step;
        self.time += step.as_micros() as u64;
        let time = self.time;
        if let Ok(samples) = &mut self.answers().samples {
            samples.iter_mut().for_each(|sample| sample.timestamp = time);
        }
        let shares = vec![Shares { utilization: self.utilization, memory: None }; self.gpu.len()];
        let mut out = Vec::new();
        self.census.tick(&mut self.gpu, &shares, self.now, &mut out);
        let labels = |sample: &Sample| sample.device.iter().flat_map(Device::values).map(str::to_owned).collect();
        out.iter().map(|sample| (sample.metric.name, labels(sample), sample.value)).collect()
    }

    fn tick(&mut self) -> Page {
        self.later(Duration::from_secs(1))
    }
}

/// The series of a metric: what they have beside GPU and UUID, and their values.
fn of(page: &Page, metric: &Metric) -> Vec<(String, f64)> {
    let found = page.iter().filter(|(name, ..)| *name == metric.name);
    found.map(|(_, labels, value)| (labels.get(2..).unwrap_or(labels).join(" "), *value)).collect()
}

fn kind(page: &Page) -> String {
    let kinds = of(page, &GPU_PROCESS_PIDS);
    assert!(kinds.len() == 1 && kinds[0].1 == 1.0, "{kinds:?}");
    kinds[0].0.clone()
}

fn series(pairs: &[(&str, f64)]) -> Vec<(String, f64)> {
    pairs.iter().map(|(labels, value)| ((*labels).to_owned(), *value)).collect()
}

#[test]
fn processes_have_memory_and_share_the_largest_first() {
    let mut stage = Stage::new(Processes::Process, None);
    stage.process(7, "python3", 100, "/", None);
    stage.process(8, "a\tb) c", 100, "/", None);
    stage.listed(&[(7, 100), (8, 300), (9, 200)]);
    stage.sampled(&[(7, 30), (8, 50)]);
    let first = stage.tick();
    assert_eq!(of(&first, &GPU_PROCESS_UTILIZATION), [], "of how much time the first samples are is not known");
    let page = stage.tick();
    assert_eq!(of(&page, &GPU_PROCESS_MEMORY), series(&[("8 a?b) c", 300.0), ("9 ", 200.0), ("7 python3", 100.0)]));
    assert_eq!(of(&page, &GPU_PROCESS_UTILIZATION), series(&[("8 a?b) c", 50.0), ("9 ", 0.0), ("7 python3", 30.0)]));
    assert_eq!((kind(&page), of(&page, &GPU_PROCESSES_OMITTED)[0].1), ("host".into(), 0.0));
    // One ends.
    stage.listed(&[(8, 300)]);
    assert_eq!(of(&stage.tick(), &GPU_PROCESS_MEMORY), series(&[("8 a?b) c", 300.0)]));
}

#[test]
fn off_asks_nothing_and_says_nothing() {
    let mut stage = Stage::new(Processes::Off, None);
    stage.listed(&[(7, 100)]);
    assert_eq!((stage.tick(), stage.answers().asked), (vec![], 0));
}

#[test]
fn it_is_asked_at_most_once_a_second_and_told_at_every_tick() {
    let mut stage = Stage::new(Processes::Process, None);
    stage.listed(&[(7, 100)]);
    let first = stage.tick();
    stage.listed(&[]);
    for _ in 0..9 {
        assert_eq!(stage.later(Duration::from_millis(100)), first);
    }
    assert_eq!(stage.answers().asked, 1);
    assert_eq!(of(&stage.later(Duration::from_millis(100)), &GPU_PROCESS_MEMORY), []);
    assert_eq!(stage.answers().asked, 2);
}

#[test]
fn a_gpu_that_is_not_well_takes_its_processes_away_at_once() {
    let mut stage = Stage::new(Processes::Process, None);
    stage.listed(&[(7, 100)]);
    assert_eq!(of(&stage.tick(), &GPU_PROCESS_MEMORY).len(), 1);
    stage.gpu[0].refuse(Code(15), Instant::now());
    assert_eq!(of(&stage.later(Duration::from_millis(100)), &GPU_PROCESS_MEMORY), []);
    stage.gpu[0].health.observe(Outcome::Answered, Instant::now());
    assert_eq!(of(&stage.tick(), &GPU_PROCESS_MEMORY).len(), 1);
    stage.answers().listed = Err(Code(4));
    assert!(stage.tick().iter().all(|(name, ..)| *name == GPU_PROCESS_PIDS.name));
}

#[test]
fn the_largest_64_are_shown_and_the_others_counted() {
    let mut stage = Stage::new(Processes::Process, None);
    let all: Vec<_> = (1..=100).map(|pid| (pid, u64::from(pid) * 10)).collect();
    stage.listed(&all);
    let page = stage.tick();
    let shown = of(&page, &GPU_PROCESS_MEMORY);
    assert_eq!((shown.len(), of(&page, &GPU_PROCESSES_OMITTED)[0].1), (64, 36.0));
    assert!(shown.iter().all(|(_, bytes)| *bytes >= 370.0), "{shown:?}");
}

#[test]
fn lists_that_repeat_a_process_are_merged_and_instances_summed() {
    let entry = |pid, instance, bytes| ProcessMemory { pid, instance, bytes };
    let mut stage = Stage::new(Processes::Process, None);
    stage.answers().listed = Ok(vec![
        entry(7, NO_INSTANCE, Some(100)),
        entry(8, (1, 0), Some(10)),
        entry(9, NO_INSTANCE, None),
        entry(0, NO_INSTANCE, Some(1 << 40)),
        entry(7, NO_INSTANCE, Some(120)),
        entry(8, (2, 0), Some(20)),
        entry(8, (2, 0), Some(20)),
        entry(9, NO_INSTANCE, Some(5)),
        entry(6, NO_INSTANCE, None),
    ]);
    let shown = of(&stage.tick(), &GPU_PROCESS_MEMORY);
    assert_eq!(shown, series(&[("7 ", 120.0), ("8 ", 30.0), ("9 ", 5.0)]), "what the driver does not tell is absent");
}

#[test]
fn what_has_no_sample_is_idle_only_where_that_is_certain() {
    let mut stage = Stage::new(Processes::Process, None);
    stage.listed(&[(7, 100)]);
    stage.sampled(&[(7, 40)]);
    stage.tick();
    assert_eq!(of(&stage.tick(), &GPU_PROCESS_UTILIZATION), series(&[("7 ", 40.0)]));
    stage.sampled(&[]);
    assert_eq!(of(&stage.tick(), &GPU_PROCESS_UTILIZATION), [], "the GPU is busy, so somebody is");
    stage.utilization = Some(0.0);
    assert_eq!(of(&stage.tick(), &GPU_PROCESS_UTILIZATION), series(&[("7 ", 0.0)]));
    // Samples under the host's ids beside a list with the namespace's.
    stage.sampled(&[(645_400, 90)]);
    assert_eq!(of(&stage.tick(), &GPU_PROCESS_UTILIZATION), []);
    stage.answers().samples = Err(Code::NOT_SUPPORTED);
    assert_eq!(of(&stage.tick(), &GPU_PROCESS_UTILIZATION), []);
}

#[test]
fn an_id_that_is_used_again_is_another_process() {
    let mut stage = Stage::new(Processes::Process, None);
    stage.process(7, "first", 100, "/", None);
    stage.listed(&[(7, 100)]);
    stage.sampled(&[(7, 40)]);
    stage.tick();
    stage.tick();
    // The same process under another name keeps its series.
    stage.process(7, "renamed", 100, "/", None);
    assert_eq!(of(&stage.tick(), &GPU_PROCESS_UTILIZATION), series(&[("7 first", 40.0)]));
    stage.process(7, "second", 200, "/", None);
    let page = stage.tick();
    assert_eq!(of(&page, &GPU_PROCESS_MEMORY), series(&[("7 second", 100.0)]));
    assert_eq!(of(&page, &GPU_PROCESS_UTILIZATION), [], "the sample may be the first one's");
    assert_eq!(of(&stage.tick(), &GPU_PROCESS_UTILIZATION), series(&[("7 second", 40.0)]));
}

#[test]
fn containers_are_summed_and_unknown_parts_make_no_sum() {
    let mut stage = Stage::new(Processes::Container, None);
    let docker = format!("/system.slice/docker-{SHA}.scope");
    stage.process(1, "a", 100, &docker, None);
    stage.process(2, "b", 100, &docker, None);
    stage.process(3, "c", 100, "/", None);
    stage.process(4, "d", 100, "/job_42", None);
    stage.listed(&[(1, 10), (2, 20), (3, 40), (4, 80), (5, 160)]);
    stage.sampled(&[(1, 10), (2, 20), (3, 5)]);
    stage.tick();
    let page = stage.tick();
    let memory = series(&[("", 160.0), ("job_42", 80.0), ("host", 40.0), (SHA, 30.0)]);
    assert_eq!(of(&page, &GPU_CONTAINER_MEMORY), memory);
    let shares = series(&[("", 0.0), ("job_42", 0.0), ("host", 5.0), (SHA, 30.0)]);
    assert_eq!(of(&page, &GPU_CONTAINER_UTILIZATION), shares);
    assert_eq!(of(&page, &GPU_PROCESS_MEMORY), []);
    if let Ok(listed) = &mut stage.answers().listed {
        listed[0].bytes = None;
    }
    assert!(of(&stage.tick(), &GPU_CONTAINER_MEMORY).iter().all(|(container, _)| container != SHA));
}

// The ids of `self` from the namespace of procfs inwards, the device file that process 7 has open, and what follows.
#[test]
fn whose_ids_they_are_is_found_by_looking_for_an_open_gpu() {
    let gpu = Some("/dev/nvidia0");
    for (ids, there, device, expected, name) in [
        (None, true, None, "host", "python3"),
        (None, false, None, "host", ""),
        (Some("1"), true, gpu, "namespace", "python3"),
        (Some("1"), true, None, "host", ""),
        (Some("1"), false, None, "host", ""),
        (Some("4242 1"), true, Some("/dev/nvidiactl"), "host", "python3"),
        (Some("4242 1"), true, None, "namespace", ""),
        (Some(""), true, gpu, "unknown", "python3"),
        (Some(""), false, None, "unknown", ""),
    ] {
        let mut stage = Stage::new(Processes::Process, ids);
        if there {
            stage.process(7, "python3", 100, "/", device);
        }
        stage.listed(&[(7, 100)]);
        let page = stage.tick();
        let what = format!("{ids:?} {there} {device:?}");
        assert_eq!(
            (kind(&page).as_str(), of(&page, &GPU_PROCESS_MEMORY)[0].0.as_str()),
            (expected, format!("7 {name}").as_str()),
            "{what}"
        );
    }
}

#[test]
fn an_id_is_believed_once_one_process_with_a_gpu_was_found() {
    let mut stage = Stage::new(Processes::Process, Some("1"));
    stage.listed(&[]);
    assert_eq!(kind(&stage.tick()), "unknown");
    // Something else has the id in our namespace.
    stage.process(7, "shell", 100, "/", None);
    stage.listed(&[(7, 100)]);
    assert_eq!(kind(&stage.tick()), "host");
    stage.process(8, "python3", 100, "/", Some("/dev/nvidia-uvm"));
    stage.listed(&[(7, 100), (8, 50)]);
    let page = stage.tick();
    assert_eq!(kind(&page), "namespace");
    assert_eq!(of(&page, &GPU_PROCESS_MEMORY), series(&[("7 shell", 100.0), ("8 python3", 50.0)]));
    // One more GPU, which is lost, changes nothing.
    stage.gpu.push(Known::new(Some(1), Identity { uuid: "GPU-b".into(), ..Identity::default() }));
    stage.gpu[1].refuse(Code(15), Instant::now());
    assert_eq!(kind(&stage.tick()), "namespace");
    // The driver went away, and comes back as another.
    stage.gpu[0].refuse(Code(18), Instant::now());
    assert_eq!(kind(&stage.tick()), "unknown");
}
