//! The GPUs of a page, each with its MIG instances and with what is wrong with it.

use std::collections::BTreeMap;

use hostgauge_collectors::Metric;
use hostgauge_collectors::catalogue::{
    GPU_DEVICE_MEMORY_UTILIZATION, GPU_DEVICE_UTILIZATION, GPU_FAILURE, GPU_INFO, GPU_INSTANCE_INFO,
    GPU_INSTANCE_MEMORY_TOTAL, GPU_INSTANCE_MEMORY_USED, GPU_INSTANCE_MEMORY_UTILIZATION, GPU_INSTANCE_SM_UTILIZATION,
    GPU_INSTANCE_TENSOR_UTILIZATION, GPU_INSTANCE_UTILIZATION, GPU_MEMORY_TOTAL, GPU_MEMORY_USED, GPU_POWER,
    GPU_RECOVERY_ACTION, GPU_SM_UTILIZATION, GPU_TEMPERATURE, GPU_TENSOR_UTILIZATION, GPU_UP, GPU_UTILIZATION_ABSENT,
};

use super::page::{Page, Series};
use super::share::Share;

/// A GPU, or one of its MIG instances.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Gpu {
    /// The number that the driver gives it; empty for a MIG instance.
    pub index: String,
    pub uuid: String,
    /// The card's name; of a MIG instance, its profile.
    pub name: String,
    pub utilization: Option<f64>,
    pub memory: Share,
    pub sm: Option<f64>,
    pub tensor: Option<f64>,
    pub celsius: Option<f64>,
    pub watts: Option<f64>,
    /// Why there is no value, and what the driver wants done.
    pub notes: Vec<String>,
}

impl Gpu {
    pub(super) fn without_values(&self) -> Self {
        let Self { index, uuid, name, .. } = self.clone();
        Self { index, uuid, name, ..Self::default() }
    }
}

/// Every GPU by its number, each before its instances.
pub(super) fn all(page: &Page) -> Vec<Gpu> {
    let mut gpus = Devices::new(page, &[&GPU_UP, &GPU_FAILURE], "uuid");
    gpus.tell(&GPU_INFO, |gpu, series| gpu.name = short_name(series.label("name")));
    gpus.tell(&GPU_FAILURE, |gpu, series| gpu.notes.push(words(series.label("reason"))));
    gpus.tell(&GPU_UTILIZATION_ABSENT, |gpu, series| {
        gpu.notes.push(format!("no utilization: {}", words(series.label("reason"))));
    });
    gpus.tell(&GPU_RECOVERY_ACTION, |gpu, series| {
        gpu.notes.extend(
            Some(series.label("action"))
                .filter(|action| *action != "none")
                .map(|action| format!("the driver wants: {}", words(action))),
        );
    });
    gpus.tell(&GPU_DEVICE_UTILIZATION, |gpu, series| gpu.utilization = Some(series.value));
    gpus.tell(&GPU_DEVICE_MEMORY_UTILIZATION, |gpu, series| gpu.memory.percent = Some(series.value));
    gpus.tell(&GPU_MEMORY_USED, |gpu, series| gpu.memory.used = Some(series.value));
    gpus.tell(&GPU_MEMORY_TOTAL, |gpu, series| gpu.memory.total = Some(series.value));
    gpus.tell(&GPU_SM_UTILIZATION, |gpu, series| gpu.sm = Some(series.value));
    gpus.tell(&GPU_TENSOR_UTILIZATION, |gpu, series| gpu.tensor = Some(series.value));
    gpus.tell(&GPU_TEMPERATURE, |gpu, series| gpu.celsius = Some(series.value));
    gpus.tell(&GPU_POWER, |gpu, series| gpu.watts = Some(series.value));
    let mut instances = Devices::new(page, &[&GPU_INSTANCE_INFO], "mig_uuid");
    instances.tell(&GPU_INSTANCE_INFO, |gpu, series| gpu.name = format!("MIG {}", series.label("profile")));
    instances.tell(&GPU_INSTANCE_UTILIZATION, |gpu, series| gpu.utilization = Some(series.value));
    instances.tell(&GPU_INSTANCE_MEMORY_UTILIZATION, |gpu, series| gpu.memory.percent = Some(series.value));
    instances.tell(&GPU_INSTANCE_MEMORY_USED, |gpu, series| gpu.memory.used = Some(series.value));
    instances.tell(&GPU_INSTANCE_MEMORY_TOTAL, |gpu, series| gpu.memory.total = Some(series.value));
    instances.tell(&GPU_INSTANCE_SM_UTILIZATION, |gpu, series| gpu.sm = Some(series.value));
    instances.tell(&GPU_INSTANCE_TENSOR_UTILIZATION, |gpu, series| gpu.tensor = Some(series.value));
    let mut of: BTreeMap<&str, Vec<Gpu>> = BTreeMap::new();
    for (parent, instance) in instances.by_uuid.into_values() {
        of.entry(parent).or_default().push(Gpu { index: String::new(), ..instance });
    }
    let mut gpus: Vec<Gpu> = gpus.by_uuid.into_values().map(|(_, gpu)| gpu).collect();
    gpus.sort_by_key(number);
    let with_instances = |gpu: Gpu| {
        let instances = of.remove(gpu.uuid.as_str()).unwrap_or_default();
        std::iter::once(gpu).chain(instances)
    };
    gpus.into_iter().flat_map(with_instances).collect()
}

/// Gives GPUs that were there before their place back, without their values, up to `most` in all, and those that are
/// there their names.
pub(super) fn keep(now: &mut Vec<Gpu>, before: &[Gpu], most: usize) {
    for gpu in now.iter_mut().filter(|gpu| gpu.name.is_empty()) {
        gpu.name =
            before.iter().find(|known| known.uuid == gpu.uuid).map(|known| known.name.clone()).unwrap_or_default();
    }
    let missing = before.iter().filter(|gpu| !gpu.index.is_empty() && !now.iter().any(|known| known.uuid == gpu.uuid));
    let room = most.saturating_sub(now.len());
    let missing: Vec<Gpu> = missing.take(room).map(Gpu::without_values).collect();
    if !missing.is_empty() {
        // Instances come back with the driver; their order is that of their GPUs.
        now.retain(|gpu| !gpu.index.is_empty());
        now.extend(missing);
        now.sort_by_key(number);
    }
}

fn number(gpu: &Gpu) -> u32 {
    gpu.index.parse().unwrap_or(u32::MAX)
}

/// Devices of one kind, each with the UUID of its GPU, by their own.
struct Devices<'a> {
    page: &'a Page,
    label: &'static str,
    by_uuid: BTreeMap<&'a str, (&'a str, Gpu)>,
}

impl<'a> Devices<'a> {
    /// One for each that has a series of `known`; `label` is the one with its UUID. Of a GPU that hangs a failure is all.
    fn new(page: &'a Page, known: &[&Metric], label: &'static str) -> Self {
        let device = |series: &'a Series| {
            let uuid = series.label(label);
            let gpu = Gpu { index: series.label("gpu").to_owned(), uuid: uuid.to_owned(), ..Gpu::default() };
            (uuid, (series.label("uuid"), gpu))
        };
        Self { page, label, by_uuid: known.iter().flat_map(|metric| page.all(metric)).map(device).collect() }
    }

    /// Tells each device what its series of `metric` says.
    fn tell(&mut self, metric: &Metric, mut set: impl FnMut(&mut Gpu, &Series)) {
        for series in self.page.all(metric) {
            if let Some((_, gpu)) = self.by_uuid.get_mut(series.label(self.label)) {
                set(gpu, series);
            }
        }
    }
}

/// The card, without its maker.
fn short_name(name: &str) -> String {
    name.strip_prefix("NVIDIA ").unwrap_or(name).to_owned()
}

/// A label's value as people write it.
pub(super) fn words(value: &str) -> String {
    value.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_stand_below_their_gpu_and_a_lost_one_says_so() {
        let gpus = all(&Page::parse(
            "hostgauge_gpu_up{gpu=\"10\",uuid=\"A\"} 1\n\
             hostgauge_gpu_up{gpu=\"2\",uuid=\"B\"} 0\n\
             hostgauge_gpu_info{gpu=\"10\",uuid=\"A\",name=\"NVIDIA H100\",pci=\"0\"} 1\n\
             hostgauge_gpu_failure{gpu=\"2\",uuid=\"B\",reason=\"reset_required\"} 1\n\
             hostgauge_gpu_recovery_action{gpu=\"10\",uuid=\"A\",action=\"none\"} 1\n\
             hostgauge_gpu_instance_info{gpu=\"10\",uuid=\"A\",mig_uuid=\"M\",profile=\"1g.10gb\",gi=\"1\"} 1\n\
             hostgauge_gpu_instance_utilization_percent{gpu=\"10\",uuid=\"A\",mig_uuid=\"M\"} 7\n\
             hostgauge_gpu_device_utilization_percent{gpu=\"10\",uuid=\"A\"} 0\n",
        ));
        let rows: Vec<_> = gpus.iter().map(|gpu| (gpu.index.as_str(), gpu.name.as_str(), gpu.utilization)).collect();
        assert_eq!(rows, [("2", "", None), ("10", "H100", Some(0.0)), ("", "MIG 1g.10gb", Some(7.0))]);
        let notes: Vec<_> = gpus.iter().map(|gpu| gpu.notes.clone()).collect();
        assert_eq!(notes, [vec!["reset required".to_owned()], vec![], vec![]]);
    }
}
