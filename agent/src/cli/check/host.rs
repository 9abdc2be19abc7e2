//! CPU, memory and disk: whether they can be read at all, by reading them.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use hostgauge_collectors::catalogue::{FILESYSTEM_SIZE, FILESYSTEM_USED, MEMORY_LIMIT, MEMORY_USED};
use hostgauge_collectors::{CollectError, Collector, Cores, Cpu, Disk, Memory, Metric, Roots, Sample, cores};

use super::{Finding, Machine, PATIENCE};
use crate::cli::once::binary_multiple;

/// How often a file system is asked again that has not answered.
const POLL: Duration = Duration::from_millis(20);

pub(super) fn check(machine: &Machine<'_>) -> Vec<Finding> {
    let values = machine.values();
    let roots = &values.roots;
    let every = humantime::format_duration(values.interval);
    let mut findings = vec![Finding::ok("interval", format!("a sample each {every}")), cpu(roots), memory(roots)];
    findings.extend(values.disk_paths.iter().map(|path| disk(roots, path, values.interval)));
    findings
}

/// One reading. The collectors of CPU and memory read what cannot block.
fn read(collector: &mut dyn Collector) -> Result<Vec<Sample>, CollectError> {
    let mut samples = Vec::new();
    collector.collect(&mut samples).map(|()| samples)
}

fn value(samples: &[Sample], metric: &Metric) -> Option<f64> {
    samples.iter().find(|sample| sample.metric.name == metric.name).map(|sample| sample.value)
}

fn cpu(roots: &Roots) -> Finding {
    let procfs = roots.procfs.display();
    let counted = match cores(roots) {
        Some(Cores { online, present }) if online < present => format!("{online} of {present} cores online"),
        Some(Cores { online: 1, .. }) => "1 core".to_owned(),
        Some(Cores { online, .. }) => format!("{online} cores"),
        None => "cores as procfs counts them".to_owned(),
    };
    match read(&mut Cpu::new(roots)) {
        Ok(_) => Finding::ok("cpu", format!("{counted}; {procfs} is readable")),
        Err(error) => Finding::problem("cpu", "cpu_unreadable", error.to_string())
            .remedy("mount procfs there, or say with --procfs where it is"),
    }
}

fn memory(roots: &Roots) -> Finding {
    match read(&mut Memory::new(roots)) {
        Ok(samples) => {
            let [used, limit] = [&MEMORY_USED, &MEMORY_LIMIT].map(|row| value(&samples, row).map(binary_multiple));
            let text = |bytes: Option<String>| bytes.unwrap_or_else(|| "unknown".into());
            Finding::ok("memory", format!("{} used of {}", text(used), text(limit)))
        }
        Err(error) => Finding::problem("memory", "memory_unreadable", error.to_string())
            .remedy("mount procfs there, or say with --procfs where it is"),
    }
}

/// A path may be on a network file system that answers late, or never.
fn disk(roots: &Roots, path: &PathBuf, interval: Duration) -> Finding {
    let mut disk = Disk::new(roots, std::slice::from_ref(path), interval);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match read(&mut disk) {
            Err(error) => {
                return Finding::problem("disk", "disk_unreadable", error.to_string())
                    .remedy("give --disk-path a path that exists and may be read, below --rootfs if that is set");
            }
            Ok(samples) => {
                let figures = [&FILESYSTEM_USED, &FILESYSTEM_SIZE].map(|row| value(&samples, row).map(binary_multiple));
                if let [Some(used), Some(size)] = figures {
                    return Finding::ok("disk", format!("{}: {used} used of {size}", path.display()));
                }
            }
        }
        if Instant::now() > deadline {
            return Finding::problem("disk", "disk_silent", format!("{}: no answer", path.display()))
                .remedy("see whether its server is there (df hangs, too), or leave it out of --disk-path");
        }
        sleep(POLL);
    }
}
