//! What the driver measures and counts of one GPU's health: energy, power, temperature, throttling, memory errors, and
//! what it asks to be done.
//!
//! - Nothing here says how the GPU is: a question that is refused costs its own series, and is asked ever more seldom.
//! - What moves seldom is asked once a second at most, and repeated in between.
//!
//! Never run on a real GPU so far: only on a double of the driver.

use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::counter::Counter;
use super::driver::{Code, Handle, Limiter, Reading, Vital};
use crate::catalogue::{
    GPU_ECC_ERRORS, GPU_ENERGY, GPU_LOSSES, GPU_MEMORY_TEMPERATURE, GPU_POWER, GPU_RECOVERY_ACTION, GPU_REMAPPED_ROWS,
    GPU_REMAPPING_FAILED, GPU_REMAPPING_PENDING, GPU_TEMPERATURE, GPU_THROTTLED_SECONDS, Metric,
};
use crate::sample::{Device, Sample};

/// Between two readings of what moves seldom. Less than a second, so that a tick of a second that comes early counts.
const SELDOM: Duration = Duration::from_millis(950);

/// What a figure may be.
#[derive(Clone, Copy)]
enum Form {
    /// A counter that grows by so much in a second at most.
    Counter(u64),
    /// A level up to so much; above is garbage.
    Level(u64),
}

/// One question and its series.
struct Row {
    vital: Vital,
    metric: &'static Metric,
    /// The label's value beside the GPU's.
    label: Option<&'static str>,
    form: Form,
    /// How many of the driver's units make one of the metric's.
    units: f64,
    seldom: bool,
}

/// No GPU draws 20 kW (in millijoules a second).
const JOULES: Form = Form::Counter(20_000_000);
const NANOSECONDS: Form = Form::Counter(1_000_000_000);
/// A million errors or rows a second are not counted but made up.
const ERRORS: Form = Form::Counter(1_000_000);
const WATTS: Form = Form::Level(20_000_000);
const DEGREES: Form = Form::Level(250);
const FLAG: Form = Form::Level(1);

static ROWS: [Row; 19] = [
    now(Vital::Energy, &GPU_ENERGY, JOULES, 1e3),
    now(Vital::Power, &GPU_POWER, WATTS, 1e3),
    now(Vital::Temperature, &GPU_TEMPERATURE, DEGREES, 1.0),
    now(Vital::MemoryTemperature, &GPU_MEMORY_TEMPERATURE, DEGREES, 1.0),
    throttled(Limiter::Power, "power"),
    throttled(Limiter::Thermal, "thermal"),
    throttled(Limiter::SyncBoost, "sync_boost"),
    throttled(Limiter::BoardLimit, "board_limit"),
    throttled(Limiter::LowUtilization, "low_utilization"),
    throttled(Limiter::Reliability, "reliability"),
    throttled(Limiter::ApplicationClocks, "application_clocks"),
    throttled(Limiter::BaseClocks, "base_clocks"),
    seldom(Vital::EccCorrected, &GPU_ECC_ERRORS, Some("corrected"), ERRORS),
    seldom(Vital::EccUncorrected, &GPU_ECC_ERRORS, Some("uncorrected"), ERRORS),
    seldom(Vital::RowsCorrectable, &GPU_REMAPPED_ROWS, Some("correctable"), ERRORS),
    seldom(Vital::RowsUncorrectable, &GPU_REMAPPED_ROWS, Some("uncorrectable"), ERRORS),
    seldom(Vital::RowsPending, &GPU_REMAPPING_PENDING, None, FLAG),
    seldom(Vital::RowsFailed, &GPU_REMAPPING_FAILED, None, FLAG),
    // The value is a word, and becomes a label.
    seldom(Vital::RecoveryAction, &GPU_RECOVERY_ACTION, None, Form::Level(255)),
];

const fn now(vital: Vital, metric: &'static Metric, form: Form, units: f64) -> Row {
    Row { vital, metric, label: None, form, units, seldom: false }
}

const fn throttled(limiter: Limiter, reason: &'static str) -> Row {
    let vital = Vital::Throttled(limiter);
    Row { vital, metric: &GPU_THROTTLED_SECONDS, label: Some(reason), form: NANOSECONDS, units: 1e9, seldom: false }
}

const fn seldom(vital: Vital, metric: &'static Metric, label: Option<&'static str>, form: Form) -> Row {
    Row { vital, metric, label, form, units: 1.0, seldom: true }
}

/// The words of nvmlDeviceGpuRecoveryAction_t in nvml.h 13.5.
fn action(number: u64) -> Option<&'static str> {
    Some(match number {
        0 => "none",
        1 => "reset",
        2 => "node_reboot",
        3 => "drain_p2p",
        4 => "drain_and_reset",
        5 => "recover_imex_domain",
        6 => "bus_reset",
        7 => "system_reboot",
        _ => return None,
    })
}

/// The health of one GPU as figures.
pub(super) struct Vitals {
    kept: [Kept; ROWS.len()],
    /// The recovery action's label.
    action: Option<(u64, Device)>,
    /// When what moves seldom was asked.
    asked: Option<Instant>,
    /// Kept so that a steady tick allocates nothing.
    readings: Vec<Reading>,
}

/// What is known of one row.
struct Kept {
    device: Device,
    counter: Option<Counter>,
    /// In the driver's unit; `None` where the last question had no answer.
    value: Option<u64>,
    backoff: Backoff,
}

impl Vitals {
    /// Those of the GPU with these labels.
    pub(super) fn new(gpu: &Device) -> Self {
        let kept = ROWS.each_ref().map(|row| Kept {
            device: row.device(gpu),
            counter: match row.form {
                Form::Counter(fastest) => Some(Counter::new(fastest)),
                Form::Level(_) => None,
            },
            value: None,
            backoff: Backoff::default(),
        });
        Self { kept, action: None, asked: None, readings: Vec::with_capacity(ROWS.len()) }
    }

    /// The GPU has other labels now.
    pub(super) fn rename(&mut self, gpu: &Device) {
        for (row, kept) in ROWS.iter().zip(&mut self.kept) {
            kept.device = row.device(gpu);
        }
        self.action = None;
    }

    /// What moves seldom may have moved: it is asked at the next tick.
    pub(super) fn hurry(&mut self) {
        self.asked = None;
    }

    /// Asks a GPU that is well.
    pub(super) fn ask(&mut self, handle: &dyn Handle, now: Instant) {
        let all = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= SELDOM);
        if all {
            self.asked = Some(now);
        }
        let due = ROWS.iter().zip(&self.kept).filter(|(row, kept)| (all || !row.seldom) && kept.backoff.is_due(now));
        self.readings.clear();
        self.readings.extend(due.map(|(row, _)| Reading { vital: row.vital, answer: Err(Code::NOT_SUPPORTED) }));
        if !self.readings.is_empty() {
            handle.vitals(&mut self.readings);
        }
        for reading in &self.readings {
            let known = ROWS.iter().zip(&mut self.kept).find(|(row, _)| row.vital == reading.vital);
            if let Some((row, kept)) = known {
                kept.take(row, reading.answer, now);
            }
        }
    }

    /// Appends what is known of a GPU that is well.
    pub(super) fn push(&mut self, out: &mut Vec<Sample>) {
        for (row, kept) in ROWS.iter().zip(&self.kept) {
            let Some(value) = kept.value else { continue };
            if row.vital == Vital::RecoveryAction {
                if self.action.as_ref().is_none_or(|(before, _)| *before != value) {
                    let number = value.to_string();
                    let word = action(value).unwrap_or(&number);
                    self.action = Some((value, Device::new(kept.device.values().chain([word]))));
                }
                out.extend(self.action.as_ref().map(|(_, device)| Sample::of(row.metric, device, 1.0)));
            } else {
                out.push(Sample::of(row.metric, &kept.device, value as f64 / row.units));
            }
        }
    }
}

impl Row {
    fn device(&self, gpu: &Device) -> Device {
        Device::new(gpu.values().chain(self.label))
    }
}

impl Kept {
    fn take(&mut self, row: &Row, answer: Result<u64, Code>, now: Instant) {
        match answer {
            Ok(_) => self.backoff.answered(),
            Err(_) => self.backoff.refused(now),
        }
        self.value = answer.ok().and_then(|value| match (&mut self.counter, row.form) {
            (Some(counter), _) => counter.follow(value, now),
            (None, Form::Level(most)) => (value <= most).then_some(value),
            (None, Form::Counter(_)) => None,
        });
    }
}

/// How often a GPU was lost, by the driver's own word. NVML does not tell XID 79, a GPU's fall from the bus, so this is
/// what there is to see of it.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// `None` until the GPU was heard of.
    count: Option<u64>,
    is_lost: bool,
}

impl Losses {
    pub(super) fn answered(&mut self) {
        self.count.get_or_insert(0);
        self.is_lost = false;
    }

    /// The same loss, told again, counts once.
    pub(super) fn refused(&mut self, code: Code) {
        if code == Code::GPU_IS_LOST && !self.is_lost {
            *self.count.get_or_insert(0) += 1;
            self.is_lost = true;
        }
    }

    pub(super) fn push(&self, gpu: &Device, out: &mut Vec<Sample>) {
        out.extend(self.count.map(|count| Sample::of(&GPU_LOSSES, gpu, count as f64)));
    }
}

#[cfg(test)]
mod tests;
