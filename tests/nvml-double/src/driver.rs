//! What stays from call to call: whether NVML is initialised, what handles stand for, how loads went. And what every
//! call has in common: it is counted, plays its fault, and finds its device.

use std::collections::HashMap;
use std::env;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use crate::abi::{
    Answer, GPU_IS_LOST, Handle, INVALID_ARGUMENT, LIB_RM_VERSION_MISMATCH, MEMORY, NO_PERMISSION, NOT_SUPPORTED,
    RESET_REQUIRED, Return, SUCCESS, UNINITIALIZED, UNKNOWN,
};
use crate::calls::Calls;
use crate::events::EventSet;
use crate::gpm::GpmSample;
use crate::scenario::{Fault, Gpu, Instance, Scenario, State};
use crate::source::Source;
use crate::timeline::{Micros, Timeline, now};

/// How often a call that waits looks at the scenario.
pub(crate) const GLANCE: Duration = Duration::from_millis(5);

/// More event sets or GPM samples than a client that frees them ever has.
const MOST_HELD: usize = 4096;

// Kinds of handles lie apart, so that one that is passed for another is refused.
const DEVICES: usize = 0x1000_0000;
const EVENT_SETS: usize = 0x2000_0000;
const GPM_SAMPLES: usize = 0x3000_0000;

/// The driver, and the scenario as it was when the driver was locked.
type Locked = (MutexGuard<'static, Driver>, Arc<Scenario>);

static DRIVER: LazyLock<Mutex<Driver>> = LazyLock::new(|| Mutex::new(Driver::new()));

/// What a device handle stands for. It outlives what it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Of the GPU.
    pub uuid: String,
    /// Of the MIG instance.
    pub slot: Option<u32>,
}

/// Things that a client allocates and frees.
#[derive(Debug)]
pub(crate) struct Held<T> {
    base: usize,
    next: usize,
    things: HashMap<usize, T>,
}

impl<T> Held<T> {
    fn new(base: usize) -> Self {
        Self { base, next: 0, things: HashMap::new() }
    }

    pub(crate) fn add(&mut self, thing: T) -> Result<Handle, Return> {
        if self.things.len() >= MOST_HELD {
            return Err(MEMORY);
        }
        self.next += 1;
        self.things.insert(self.base + self.next, thing);
        Ok(Handle(self.base + self.next))
    }

    pub(crate) fn get(&mut self, handle: Handle) -> Result<&mut T, Return> {
        self.things.get_mut(&handle.0).ok_or(INVALID_ARGUMENT)
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Answer {
        self.things.remove(&handle.0).map(|_| ()).ok_or(INVALID_ARGUMENT)
    }
}

#[derive(Debug)]
pub(crate) struct Driver {
    source: Source,
    calls: Option<Calls>,
    /// The driver's version when the library was loaded.
    loaded: Option<String>,
    last_call: Micros,
    /// Initialisations that wait for their shutdown.
    inits: u64,
    devices: Vec<Key>,
    timelines: HashMap<String, Timeline>,
    pub event_sets: Held<EventSet>,
    pub gpm_samples: Held<GpmSample>,
}

impl Driver {
    fn new() -> Self {
        let calls = env::var_os(crate::CALLS).map(PathBuf::from).and_then(|path| Calls::open(&path).ok());
        Self {
            source: Source::new(env::var_os(crate::SCENARIO).map(PathBuf::from)),
            calls,
            loaded: None,
            last_call: now(),
            inits: 0,
            devices: Vec::new(),
            timelines: HashMap::new(),
            event_sets: Held::new(EVENT_SETS),
            gpm_samples: Held::new(GPM_SAMPLES),
        }
    }

    pub(crate) fn lock() -> MutexGuard<'static, Self> {
        DRIVER.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The scenario as it is now.
    fn scenario(&mut self) -> Result<Arc<Scenario>, Return> {
        let (scenario, changed) = self.source.read();
        let now = now();
        // A change counts from when it was written, but not from before the last answer: counters do not go back.
        let since =
            changed.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(now, |at| at.as_micros() as Micros);
        let since = since.max(self.last_call).min(now);
        self.last_call = now;
        let scenario = scenario.ok_or(UNKNOWN)?;
        if changed.is_some() || self.loaded.is_none() {
            self.follow(&scenario, since);
        }
        let loaded = self.loaded.get_or_insert_with(|| scenario.driver.version.clone());
        if *loaded != scenario.driver.version {
            return Err(LIB_RM_VERSION_MISMATCH);
        }
        Ok(scenario)
    }

    fn follow(&mut self, scenario: &Scenario, now: Micros) {
        for gpu in &scenario.gpus {
            let instances = gpu.mig.iter().flat_map(|mig| &mig.instances);
            let loads = instances.map(|instance| (&instance.uuid, instance.load)).chain([(&gpu.uuid, gpu.load)]);
            for (uuid, load) in loads {
                match self.timelines.get_mut(uuid) {
                    Some(timeline) => timeline.change(now, load, gpu.power),
                    None => drop(self.timelines.insert(uuid.clone(), Timeline::new(now, load, gpu.power))),
                }
            }
        }
    }

    /// The handle of a device, the same for the same device at any time.
    pub(crate) fn handle(&mut self, key: Key) -> Handle {
        let known = self.devices.iter().position(|device| *device == key);
        let position = known.unwrap_or_else(|| {
            self.devices.push(key);
            self.devices.len() - 1
        });
        Handle(DEVICES + position + 1)
    }

    pub(crate) fn key(&self, handle: Handle) -> Result<&Key, Return> {
        let position = handle.0.checked_sub(DEVICES + 1).ok_or(INVALID_ARGUMENT)?;
        self.devices.get(position).ok_or(INVALID_ARGUMENT)
    }

    pub(crate) fn timeline(&self, uuid: &str) -> Result<&Timeline, Return> {
        self.timelines.get(uuid).ok_or(UNKNOWN)
    }
}

/// The code of a state, if it is one.
pub(crate) fn refusal(state: State) -> Answer {
    match state {
        State::Ok => Ok(()),
        State::Lost => Err(GPU_IS_LOST),
        State::Unknown => Err(UNKNOWN),
        State::NoPermission => Err(NO_PERMISSION),
        State::ResetRequired => Err(RESET_REQUIRED),
        State::NotSupported => Err(NOT_SUPPORTED),
    }
}

/// Whether a GPU in this state still gives out its handle and says who it is.
pub(crate) fn is_present(state: State) -> bool {
    matches!(state, State::Ok | State::ResetRequired | State::NotSupported)
}

/// One call about the driver as a whole, with the driver locked: calls wait for each other only where the work is a
/// moment's.
pub(crate) struct Call<'a> {
    pub driver: &'a mut Driver,
    pub scenario: Arc<Scenario>,
}

/// One call about a device.
pub(crate) struct DeviceCall<'a> {
    pub driver: &'a mut Driver,
    pub scenario: &'a Scenario,
    pub now: Micros,
    pub index: usize,
    pub gpu: &'a Gpu,
    /// Where the handle is a MIG instance's.
    pub instance: Option<&'a Instance>,
}

impl DeviceCall<'_> {
    /// Of the instance, else of the GPU.
    pub(crate) fn timeline(&self) -> Result<&Timeline, Return> {
        self.driver.timeline(self.instance.map_or(&self.gpu.uuid, |instance| &instance.uuid))
    }

    /// For what is there of a whole GPU only.
    pub(crate) fn whole(&self) -> Answer {
        if self.instance.is_some() { Err(NOT_SUPPORTED) } else { Ok(()) }
    }

    /// For what is kept from those who may see instances only.
    pub(crate) fn permitted(&self) -> Answer {
        let kept = self.instance.is_none() && self.gpu.mig.as_ref().is_some_and(|mig| mig.instances_only);
        if kept { Err(NO_PERMISSION) } else { Ok(()) }
    }

    /// For what a GPU with MIG has neither as a whole nor by instance.
    pub(crate) fn without_mig(&self) -> Answer {
        if self.gpu.has_mig_on() { Err(NOT_SUPPORTED) } else { Ok(()) }
    }
}

pub(crate) fn code(answer: Answer) -> Return {
    match answer {
        Ok(()) => SUCCESS,
        Err(code) => code,
    }
}

/// Initialises: the one kind of call that needs no initialisation.
pub(crate) fn initialise(name: &str) -> Answer {
    count(name);
    let (mut driver, scenario) = past_faults(name, None)?;
    match scenario.driver.init_error {
        Some(code) => Err(code),
        None => {
            driver.inits += 1;
            Ok(())
        }
    }
}

/// Takes back one initialisation; the last one frees what clients hold.
pub(crate) fn shut_down(name: &str) -> Answer {
    count(name);
    let mut driver = Driver::lock();
    initialised(&driver)?;
    driver.inits -= 1;
    if driver.inits == 0 {
        driver.event_sets.things.clear();
        driver.gpm_samples.things.clear();
    }
    drop(driver);
    match past_faults(name, None) {
        // A client of the driver before this one can still say goodbye.
        Err(LIB_RM_VERSION_MISMATCH) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Any other call about no device.
pub(crate) fn on_driver(name: &str, work: impl FnOnce(Call<'_>) -> Answer) -> Answer {
    count(name);
    initialised(&Driver::lock())?;
    let (mut driver, scenario) = past_faults(name, None)?;
    initialised(&driver)?;
    work(Call { driver: &mut driver, scenario })
}

/// The scenario at this moment, for a call that waits.
pub(crate) fn glance() -> Result<Locked, Return> {
    let mut driver = Driver::lock();
    initialised(&driver)?;
    let scenario = driver.scenario()?;
    Ok((driver, scenario))
}

/// A call about a device that must answer.
pub(crate) fn on_device(name: &str, handle: Handle, work: impl FnOnce(DeviceCall<'_>) -> Answer) -> Answer {
    on_handle(name, handle, |call| {
        refusal(call.gpu.state)?;
        work(call)
    })
}

/// A call about a device that answers this as long as it is there.
pub(crate) fn on_identity(name: &str, handle: Handle, work: impl FnOnce(DeviceCall<'_>) -> Answer) -> Answer {
    on_handle(name, handle, |call| {
        if !is_present(call.gpu.state) {
            refusal(call.gpu.state)?;
        }
        work(call)
    })
}

fn on_handle(name: &str, handle: Handle, work: impl FnOnce(DeviceCall<'_>) -> Answer) -> Answer {
    count(name);
    let key = {
        let driver = Driver::lock();
        initialised(&driver)?;
        driver.key(handle)?.clone()
    };
    let (mut driver, scenario) = past_faults(name, Some(&key.uuid))?;
    initialised(&driver)?;
    // A GPU that left the file has left the bus.
    let found = scenario.gpus.iter().enumerate().find(|(_, gpu)| gpu.uuid == key.uuid);
    let (index, gpu) = found.ok_or(GPU_IS_LOST)?;
    let instance = match key.slot {
        None => None,
        Some(slot) => Some(gpu.instances().iter().find(|instance| instance.slot == slot).ok_or(INVALID_ARGUMENT)?),
    };
    work(DeviceCall { driver: &mut driver, scenario: &scenario, now: now(), index, gpu, instance })
}

fn initialised(driver: &Driver) -> Answer {
    if driver.inits == 0 { Err(UNINITIALIZED) } else { Ok(()) }
}

fn count(name: &str) {
    if let Some(calls) = &mut Driver::lock().calls {
        calls.count(name);
    }
}

/// Plays the scenario's fault of this function, with the driver unlocked, so that only this call is late.
fn past_faults(name: &str, uuid: Option<&str>) -> Result<Locked, Return> {
    let mut delayed = false;
    loop {
        let mut driver = Driver::lock();
        let scenario = driver.scenario()?;
        let fits = |gpu: Option<usize>| {
            gpu.is_none_or(|index| uuid.is_some() && scenario.gpus.get(index).map(|gpu| gpu.uuid.as_str()) == uuid)
        };
        let mut faults = scenario.faults.iter();
        let fault = faults.find(|fault| (fault.function == name || fault.function == "*") && fits(fault.gpu));
        match fault {
            Some(fault) if fault.hang => {
                drop(driver);
                thread::sleep(GLANCE);
            }
            Some(fault) if fault.delay_ms > 0 && !delayed => {
                drop(driver);
                thread::sleep(Duration::from_millis(fault.delay_ms));
                delayed = true;
            }
            Some(Fault { error: Some(code), .. }) => return Err(*code),
            _ => return Ok((driver, scenario)),
        }
    }
}
