//! The MIG instances of one GPU: which there are, and their figures.
//!
//! - They are looked at anew at every tick, since their handles die when the GPU is cut up differently, and may then
//!   stand for others (nvml.h, nvmlDeviceGetMigDeviceHandleByIndex). Nothing is kept by slot: an instance is known by
//!   its UUID and the number of its GPU instance.
//! - **No value crosses from one to another.** Memory comes with the key that was told before and after it was read.
//!   Counters are read by the number of the GPU instance, which is given again: so they are read before the instances
//!   are looked at, and count only for one that is found at this tick and was at the tick before. What is gone takes
//!   its base of the counters along.
//! - What a driver cannot show is that an instance was replaced between two ticks by one with the same UUID, number and
//!   size: for that tick, the counters' mean spans both.
//! - Memory and counters belong to the GPU instance. Where several compute instances share one, each shows all of it.
//!
//! Never run on a real GPU so far.

use std::fmt;

use super::busy::gpm_percent;
use super::driver::{Code, Counters, Found, Gpm, Handle, InstanceKey, InstanceTitle, Memory};
use crate::catalogue::{
    GPU_INSTANCE_DRAM_UTILIZATION, GPU_INSTANCE_INFO, GPU_INSTANCE_MEMORY_RESERVED, GPU_INSTANCE_MEMORY_TOTAL,
    GPU_INSTANCE_MEMORY_USED, GPU_INSTANCE_MEMORY_UTILIZATION, GPU_INSTANCE_OCCUPANCY, GPU_INSTANCE_SM_UTILIZATION,
    GPU_INSTANCE_TENSOR_UTILIZATION, GPU_INSTANCE_UTILIZATION,
};
use crate::sample::{Device, Sample, percent};

/// More slots than any driver has: seven or eight today.
const MOST_INSTANCES: u32 = 64;

/// The MIG instances of a GPU, as they were at the last tick.
#[derive(Default)]
pub(super) struct Instances {
    known: Vec<Instance>,
    /// Whether the tick before knew what there was.
    looked: bool,
    changed: bool,
    changes: u64,
}

struct Instance {
    key: InstanceKey,
    title: InstanceTitle,
    labels: Device,
    info: Device,
    counters: Option<Box<dyn Counters>>,
    present: bool,
    memory: Option<Memory>,
    gpm: Option<Gpm>,
    /// Its size never changes: a GPU instance of another one is another, whatever it is called.
    size: Option<u64>,
}

impl Instances {
    /// Looks at them. An error is one of the GPU as a whole.
    pub(super) fn read(&mut self, handle: &dyn Handle, mig: bool, gpu: &Device) -> Result<(), Code> {
        self.known.iter_mut().for_each(Instance::read_counters);
        let slots = if mig { of_the_call(handle.slots())?.unwrap_or(0).min(MOST_INSTANCES) } else { 0 };
        let mut changed = false;
        for slot in 0..slots {
            if let Some(found) = of_the_call(handle.instance(slot))?.flatten() {
                changed |= self.meet(slot, &found, handle, gpu)?;
            }
        }
        let before = self.known.len();
        self.known.retain(|instance| instance.present);
        changed |= self.known.len() != before;
        self.changes += u64::from(changed && self.looked);
        (self.changed, self.looked) = (changed, true);
        Ok(())
    }

    /// Whether it was not there before.
    fn meet(&mut self, slot: u32, found: &Found, handle: &dyn Handle, gpu: &Device) -> Result<bool, Code> {
        let memory = of_the_call(found.memory)?.filter(|memory| memory.total > 0 && memory.used <= memory.total);
        // A name that is there twice is a driver in the middle of a change.
        let is_twice = self.known.iter().any(|one| one.present && one.key.uuid == found.key.uuid);
        if is_twice || found.key.uuid.as_str().is_empty() {
            return Ok(false);
        }
        if let Some(one) = self.known.iter_mut().find(|one| one.key == found.key && one.has_size(memory)) {
            one.see(memory);
            return Ok(false);
        }
        let Some(title) = of_the_call(handle.instance_title(slot, found.key))? else { return Ok(false) };
        let mut one = Instance::new(found.key, title, handle.counters(found.key.gi), gpu);
        one.read_counters();
        one.see(memory);
        self.known.push(one);
        Ok(true)
    }

    /// When the GPU does not answer: what comes after may be others.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        (self.changed, self.looked) = (false, false);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether they are others than at the tick before.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// How often they were.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn push(&self, out: &mut Vec<Sample>) {
        self.known.iter().for_each(|instance| instance.push(out));
    }
}

/// Their profiles, for people.
impl fmt::Display for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.known.is_empty() {
            f.write_str("none")?;
        }
        for (number, one) in self.known.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{} ({})", one.key.uuid.as_str(), one.title.profile)?;
        }
        Ok(())
    }
}

impl Instance {
    fn new(key: InstanceKey, title: InstanceTitle, counters: Option<Box<dyn Counters>>, gpu: &Device) -> Self {
        let uuid = key.uuid.as_str();
        let labels = Device::new(gpu.values().chain([uuid]));
        let (gi, ci) = (key.gi.to_string(), title.ci.map_or_else(String::new, |ci| ci.to_string()));
        let info = Device::new(gpu.values().chain([uuid, &title.profile, &gi, &ci]));
        Self { key, title, labels, info, counters, present: false, memory: None, gpm: None, size: None }
    }

    fn has_size(&self, memory: Option<Memory>) -> bool {
        self.size.zip(memory).is_none_or(|(size, memory)| size == memory.total)
    }

    /// It is not there until it is seen.
    fn read_counters(&mut self) {
        self.present = false;
        // What one of them does not tell is absent; a GPU that is ill says so elsewhere.
        self.gpm = self.counters.as_mut().and_then(|counters| counters.means().ok().flatten());
    }

    fn see(&mut self, memory: Option<Memory>) {
        self.present = true;
        self.memory = memory;
        self.size = self.size.or(memory.map(|memory| memory.total));
    }

    fn push(&self, out: &mut Vec<Sample>) {
        let mut push = |metric, value: Option<f64>| {
            out.extend(value.map(|value| Sample::of(metric, &self.labels, value)));
        };
        let gpm = |value: fn(&Gpm) -> f64| self.gpm.as_ref().map(value).and_then(gpm_percent);
        push(&GPU_INSTANCE_UTILIZATION, gpm(|gpm| gpm.graphics));
        push(&GPU_INSTANCE_SM_UTILIZATION, gpm(|gpm| gpm.sm));
        push(&GPU_INSTANCE_OCCUPANCY, gpm(|gpm| gpm.occupancy));
        push(&GPU_INSTANCE_TENSOR_UTILIZATION, gpm(|gpm| gpm.tensor));
        push(&GPU_INSTANCE_DRAM_UTILIZATION, gpm(|gpm| gpm.dram));
        let memory = self.memory;
        push(&GPU_INSTANCE_MEMORY_UTILIZATION, memory.map(|memory| percent(memory.used as f64, memory.total as f64)));
        push(&GPU_INSTANCE_MEMORY_USED, memory.map(|memory| memory.used as f64));
        push(&GPU_INSTANCE_MEMORY_RESERVED, memory.and_then(|memory| memory.reserved).map(|bytes| bytes as f64));
        push(&GPU_INSTANCE_MEMORY_TOTAL, memory.map(|memory| memory.total as f64));
        out.push(Sample::of(&GPU_INSTANCE_INFO, &self.info, 1.0));
    }
}

/// What a call says, `None` where it says no; an error where the GPU as a whole is not well. An instance that goes
/// makes its handle and number invalid arguments: nothing of that is the GPU's.
fn of_the_call<T>(answer: Result<T, Code>) -> Result<Option<T>, Code> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(code) if code == Code::INVALID_ARGUMENT || code.is_of_the_call() => Ok(None),
        Err(code) => Err(code),
    }
}

#[cfg(test)]
mod tests;
