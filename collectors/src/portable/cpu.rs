//! CPU through sysinfo.

use std::time::Instant;

use sysinfo::{CpuRefreshKind, MINIMUM_CPU_UPDATE_INTERVAL, System};

use super::failed;
use crate::catalogue::{CPU_CORE_UTILIZATION, CPU_CORES, CPU_UTILIZATION};
use crate::collector::Collector;
use crate::error::CollectError;
use crate::sample::{Device, Roots, Sample, percent, sum_over_devices};

/// Busy share of each core and of all. Cores are numbered by their row; steal counts as busy. Intervals shorter than
/// sysinfo's minimum (200 ms) have no percentages, because sysinfo would repeat the last ones.
#[derive(Debug, Default)]
pub struct Cpu {
    system: Option<(System, Instant)>,
    devices: Vec<Device>,
}

impl Cpu {
    /// A collector of this host; the roots mean nothing here.
    pub fn new(_roots: &Roots) -> Self {
        Self::default()
    }
}

impl Collector for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        let usage = CpuRefreshKind::nothing().with_usage();
        let Some((system, last)) = &mut self.system else {
            let mut system = System::new().map_err(failed)?;
            system.refresh_cpu_specifics(usage);
            out.push(Sample::new(&CPU_CORES, system.cpus().len() as f64));
            self.system = Some((system, Instant::now()));
            return Ok(());
        };
        if last.elapsed() >= MINIMUM_CPU_UPDATE_INTERVAL {
            system.refresh_cpu_specifics(usage);
            *last = Instant::now();
            let percents = system.cpus().iter().map(|cpu| percent(f64::from(cpu.usage()).clamp(0.0, 100.0), 100.0));
            if let Some(sum) = sum_over_devices(percents.clone()) {
                out.push(Sample::new(&CPU_UTILIZATION, sum));
            }
            for (row, percent) in percents.enumerate() {
                if row == self.devices.len() {
                    self.devices.push(Device::new([row.to_string().as_str()]));
                }
                out.push(Sample::of(&CPU_CORE_UTILIZATION, &self.devices[row], percent));
            }
        }
        out.push(Sample::new(&CPU_CORES, system.cpus().len() as f64));
        Ok(())
    }
}
