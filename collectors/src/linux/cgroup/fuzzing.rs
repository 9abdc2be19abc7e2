//! Properties of the readers of cgroup files and of mountinfo.
#![allow(clippy::expect_used, reason = "a property that does not hold panics")]

use std::net::IpAddr;
use std::path::{Component, PathBuf};

use super::limits::{Limit, cpu_max, cpus};
use super::processes::Process;
use super::reading::{Item, Reading};
use super::{cpu, io, locate, memory, mounts, pressure, processes, task_statistics};
use crate::TaskEndpoint;
use crate::fuzzing::input::{Input, parts};
use crate::fuzzing::written;
use crate::linux::cpu_list;

/// A file gives only numbers that stand in it (of times, a thousand times those; of transfers, sums), whatever was read
/// before it. A limit is a number of cores that is finite and not negative.
pub(crate) fn cgroup_files(data: &[u8]) {
    let files: Vec<&Item> =
        [cpu::V1, cpu::V2, memory::V1, memory::V2, pressure::V2, io::V1, io::V2].into_iter().flatten().collect();
    let mut input = Input::new(data);
    let choice = usize::from(input.byte()) % files.len();
    let Ok(text) = str::from_utf8(input.rest()) else { return };
    let (file, mut reading) = (files[choice], Reading::default());
    let read = (file.parse)(text, &mut reading);

    let mut used = Reading { counters: [Some(1); _], cores: vec![1], usage: Some(1), ..Reading::default() };
    used.clear();
    assert_eq!((file.parse)(text, &mut used), read);
    assert_eq!(used, reading);

    if read.is_ok() {
        let written = written(text.as_bytes());
        let sum = written.iter().fold(0u64, |sum, number| sum.saturating_add(*number));
        let repeated = sum.saturating_mul(text.len() as u64);
        let is_transfer = file.controller == Some("blkio") || file.names == ["io.stat"];
        let stands_there = |number: &u64| {
            let is_time = number.is_multiple_of(1000) && written.contains(&(number / 1000));
            written.contains(number) || is_time || is_transfer && *number <= repeated
        };
        let Reading { counters, cores, usage, inactive_file, anonymous, resident, hierarchical_limit } = &reading;
        let levels = [usage, inactive_file, anonymous, resident, hierarchical_limit];
        assert!(counters.iter().chain(levels).flatten().chain(cores).all(stands_there), "{reading:?}");
        assert!(cores.len() <= text.len().div_ceil(2));
        assert!(reading.working_set().is_none_or(|bytes| usage.is_some_and(|usage| bytes <= usage)));
    }

    if let Some(Limit::Cores(cores)) = cpu_max(text.trim()) {
        assert!(cores.is_finite() && cores >= 0.0, "{cores}");
    }
    let cores = cpus(text.trim());
    assert!(cores.is_none_or(|cores| cores.is_finite() && cores >= 1.0));
    if let (Some(cores), Some(list)) = (cores, cpu_list::parse(text)) {
        assert_eq!(cores, list.len() as f64, "two readers of one list");
    }
    if let Some(path) = locate::path_in(text, [None, Some("memory")][choice % 2]) {
        assert!(path.starts_with('/') && !path.contains('\n'));
    }
}

/// Whatever an endpoint's variable says, only what is near is ever asked; and whatever is answered, there is no container
/// more than the task has, our own is none of them, and a limit is a number of cores that is finite and not negative.
pub(crate) fn ecs_task(data: &[u8]) {
    let mut texts = parts(data).map(String::from_utf8_lossy);
    let mut text = || texts.next().unwrap_or_default();
    if let Some(endpoint) = TaskEndpoint::parse(&text()) {
        let near = match endpoint.address().ip() {
            IpAddr::V4(ip) => ip.octets()[0] == 127 || ip.octets()[..2] == [169, 254],
            IpAddr::V6(ip) => ip.is_loopback() || ip.segments()[0] & 0xffc0 == 0xfe80,
        };
        assert!(near, "{endpoint:?}");
    }
    let (task, statistics, own) = (text(), text(), text());
    let Ok(all) = task_statistics::interpret(&task, &statistics, &own) else { return };
    assert!(all.len() <= task.matches('{').count());
    for one in &all {
        assert_ne!(one.id, own);
        let is_limit = |limit: &Limit| !matches!(limit, Limit::Cores(cores) if !(cores.is_finite() && *cores >= 0.0));
        assert!(one.limits.iter().all(|(_, limit)| is_limit(limit)), "{one:?}");
    }
}

/// Of two mounts at one point one is seen; each reads back as the same; and no path leads out of one.
pub(crate) fn mountinfo(data: &[u8]) {
    let mut parts = parts(data).map(|part| String::from_utf8_lossy(part).into_owned());
    let (text, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let found = mounts::parse(&text);
    assert!(found.len() <= text.lines().count());
    for (index, mount) in found.iter().enumerate() {
        assert!(found[..index].iter().all(|other| other.point != mount.point));
        assert_eq!(mount.v2, mount.controllers.is_empty());
        if let Some(folder) = mount.folder(&path) {
            let below: PathBuf = folder.strip_prefix(&mount.point).expect("below its point").to_owned();
            assert!(below.components().all(|part| matches!(part, Component::Normal(_))), "{folder:?}");
        }
        let (root, point) = (escaped(&mount.root), escaped(&mount.point.to_string_lossy()));
        let kind = if mount.v2 { "cgroup2" } else { "cgroup" };
        let line = format!("1 2 0:3 {root} {point} rw - {kind} none {}", mount.controllers.join(","));
        assert_eq!(mounts::parse(&line), std::slice::from_ref(mount), "{line:?}");
    }
}

/// As the kernel writes a path.
fn escaped(path: &str) -> String {
    let escape = |character: char| match character {
        ' ' | '\t' | '\n' | '\\' => format!("\\{:03o}", u32::from(character)),
        other => other.to_string(),
    };
    path.chars().map(escape).collect()
}

/// A stat file says what stands in it, and when the process started as another reader has it.
pub(crate) fn process(text: &str, started: Option<u64>) {
    let Some(process) = processes::parse(text) else { return };
    let written = written(text.as_bytes());
    let Process { pid, parent, ticks, start, resident_pages } = process;
    assert!([pid.into(), parent.into(), start, resident_pages].iter().all(|number| written.contains(number)));
    // Where no bracket but the name's stands, as in every file of the kernel.
    if text.rfind(')') == text.rfind(") ") {
        assert!(started.is_none_or(|other| other == start), "two readers of one file");
    }
    let again = format!("{pid} (a) b) S {parent} 0 0 0 0 0 0 0 0 0 {ticks} 0 0 0 0 0 0 0 {start} 0 {resident_pages}");
    assert_eq!(processes::parse(&again).filter(|_| ticks <= i64::MAX as u64).unwrap_or(process), process);
}
