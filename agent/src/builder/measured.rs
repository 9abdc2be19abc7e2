//! What is measured: the one list of collectors.

#[cfg(all(feature = "cli", target_os = "linux"))]
use hostgauge_collectors::Scope;
#[cfg(target_os = "linux")]
use hostgauge_collectors::Scoped;
use hostgauge_collectors::{ChosenScopes, Collector, Cpu, Disk, Gpu, Memory, choose_scopes};

use super::Builder;
use crate::error::Error;
use crate::job_kind::{JobKind, WithoutSum};

impl Builder {
    /// What CPU, memory and disk are measured of.
    pub(crate) fn chosen(&self) -> Result<ChosenScopes, Error> {
        choose_scopes(&self.scopes, &self.roots).map_err(|error| Error::Invalid(error.to_string()))
    }

    /// Where nobody said what to measure and there is no container, this instead of the machine.
    #[cfg(all(feature = "cli", target_os = "linux"))]
    pub(crate) fn scope_without_container(mut self, scope: Scope) -> Self {
        let asked = self.scopes.iter().any(|scope| *scope != Scope::Auto);
        if !asked && self.chosen().is_ok_and(|chosen| chosen.is_host()) {
            self.scopes = vec![scope];
        }
        self
    }

    /// The collectors, in the order of the page.
    pub(crate) fn collectors(self) -> Result<Vec<Box<dyn Collector>>, Error> {
        let mut all = self.of_scope(&self.chosen()?);
        if !self.gpus.is_none() {
            let gpu = Gpu::new(self.gpus, self.nvml_library).sum_rule(self.gpu_sum).standby(self.gpu_standby);
            all.push(Box::new(gpu.processes(self.gpu_processes, &self.roots)));
        }
        #[cfg(feature = "web-config")]
        if let Some(config) = self.web_config.filter(|_| self.listen.is_some()) {
            all.push(Box::new(crate::web_config::InForce::new(config)));
        }
        all.extend(self.more);
        Ok(all)
    }

    /// CPU, memory and disk of the machine.
    fn of_host(&self) -> Vec<Box<dyn Collector>> {
        let mut all: Vec<Box<dyn Collector>> =
            vec![Box::new(Cpu::new(&self.roots)), Box::new(Memory::new(&self.roots))];
        if !self.disk_paths.is_empty() {
            all.push(self.summed(Disk::new(&self.roots, &self.disk_paths, self.interval)));
        }
        all
    }

    /// CPU, memory and disk of what was chosen.
    #[cfg(target_os = "linux")]
    fn of_scope(&self, chosen: &ChosenScopes) -> Vec<Box<dyn Collector>> {
        if chosen.is_host() {
            return self.of_host();
        }
        let scoped = Scoped::new(&self.roots, chosen);
        let file_systems = scoped.file_systems();
        let mut all: Vec<Box<dyn Collector>> = vec![Box::new(Cpu::of_cores(&self.roots)), Box::new(scoped)];
        if !self.disk_paths.is_empty() {
            all.push(self.summed(Disk::of(file_systems, &self.disk_paths, self.interval)));
        }
        all
    }

    /// Elsewhere there is no other scope.
    #[cfg(not(target_os = "linux"))]
    fn of_scope(&self, _: &ChosenScopes) -> Vec<Box<dyn Collector>> {
        self.of_host()
    }

    /// SageMaker has no DiskUtilization for batch transform.
    fn summed(&self, disk: Disk) -> Box<dyn Collector> {
        match self.job_kind {
            JobKind::Transform => Box::new(WithoutSum(disk)),
            _ => Box::new(disk),
        }
    }
}
