//! Event sets: which events of which GPUs a client waits for, and how far it has come in each GPU's list.

use std::collections::HashMap;
use std::ffi::c_uint;
use std::thread;
use std::time::{Duration, Instant};

use crate::abi::{Answer, EventData, GPU_IS_LOST, Handle, NO_INSTANCE, Return, TIMEOUT};
use crate::driver::{GLANCE, Key, glance, on_driver};
use crate::pointer::Out;
use crate::scenario::{Event, Gpu, Scenario, State};

#[derive(Debug, Default)]
pub(crate) struct EventSet {
    /// By the UUID of the GPU.
    registered: HashMap<String, Registration>,
}

#[derive(Debug)]
struct Registration {
    types: u64,
    /// How many events of the GPU's list are past.
    seen: usize,
}

impl EventSet {
    /// What the list says already happened before, and is not delivered.
    pub(crate) fn register(&mut self, gpu: &Gpu, types: u64) {
        let new = || Registration { types: 0, seen: gpu.events.len() };
        self.registered.entry(gpu.uuid.clone()).or_insert_with(new).types |= types;
    }

    /// The next event that the set is registered for, and its GPU.
    fn next<'a>(&mut self, scenario: &'a Scenario) -> Result<Option<(&'a Gpu, Event)>, Return> {
        for gpu in &scenario.gpus {
            let Some(registration) = self.registered.get_mut(&gpu.uuid) else { continue };
            // A list that was cut short begins anew from where it ends.
            registration.seen = registration.seen.min(gpu.events.len());
            for event in &gpu.events[registration.seen..] {
                registration.seen += 1;
                if event.kind & registration.types != 0 {
                    return Ok(Some((gpu, *event)));
                }
            }
            if gpu.state == State::Lost {
                return Err(GPU_IS_LOST);
            }
        }
        Ok(None)
    }
}

/// Waits for the next event of a set.
pub(crate) fn wait(name: &str, handle: Handle, data: Out<EventData>, timeout_ms: c_uint) -> Answer {
    on_driver(name, |call| {
        data.check()?;
        call.driver.event_sets.get(handle).map(|_| ())
    })?;
    let patience = Duration::from_millis(u64::from(timeout_ms));
    let start = Instant::now();
    loop {
        let (mut driver, scenario) = glance()?;
        if let Some((gpu, event)) = driver.event_sets.get(handle)?.next(&scenario)? {
            let device = driver.handle(Key { uuid: gpu.uuid.clone(), slot: None });
            return data.set(EventData {
                device,
                event_type: event.kind,
                event_data: event.xid,
                gpu_instance: event.gi.unwrap_or(NO_INSTANCE),
                compute_instance: event.ci.unwrap_or(NO_INSTANCE),
            });
        }
        drop(driver);
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(TIMEOUT);
        }
        thread::sleep(left.min(GLANCE));
    }
}
