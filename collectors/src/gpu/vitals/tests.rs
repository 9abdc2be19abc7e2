//! One GPU whose driver is played in memory: what of its health stands on the page.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use proptest::prelude::*;

use super::*;
use crate::catalogue::{GPU_UP, GPU_XID_ERRORS, GPU_XID_LAST, Kind};
use crate::gpu::device::Known;
use crate::gpu::driver::{Event, Identity, Memory, Snapshot};
use crate::gpu::ring::RingSample;

const SECOND: Duration = Duration::from_secs(1);

/// What the driver answers.
struct Script {
    /// To every call; 0 for the rest of the script.
    code: u32,
    vital: Box<dyn Fn(Vital) -> Result<u64, Code> + Send>,
    events: VecDeque<Result<Event, Code>>,
    /// Every vital that was asked.
    asked: Vec<Vital>,
    polls: u32,
}

struct Played(Arc<Mutex<Script>>);

impl Played {
    fn answer<T>(&self, answer: T) -> Result<T, Code> {
        match lock(&self.0).code {
            0 => Ok(answer),
            code => Err(Code(code)),
        }
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().expect("no panic while it is held")
}

impl Handle for Played {
    fn identity(&self) -> Result<Identity, Code> {
        self.answer(Identity { uuid: "GPU-a".into(), ..Identity::default() })
    }

    fn memory(&self) -> Result<Memory, Code> {
        self.answer(Memory { total: 1000, used: 250, reserved: Some(10) })
    }

    fn ring(&mut self, _: &mut Vec<RingSample>) -> Result<(), Code> {
        Err(Code::NOT_SUPPORTED)
    }

    fn snapshot(&self) -> Result<Snapshot, Code> {
        self.answer(Snapshot { gpu: 50, memory: 10 })
    }

    fn mig(&self) -> Result<bool, Code> {
        self.answer(false)
    }

    fn gpm(&mut self) -> Result<Option<crate::gpu::driver::Gpm>, Code> {
        Err(Code::NOT_SUPPORTED)
    }

    fn vitals(&self, readings: &mut [Reading]) {
        let mut script = lock(&self.0);
        for reading in readings {
            script.asked.push(reading.vital);
            reading.answer = (script.vital)(reading.vital);
        }
    }

    fn event(&mut self) -> Result<Option<Event>, Code> {
        let mut script = lock(&self.0);
        script.polls += 1;
        script.events.pop_front().map_or(Ok(None), |event| event.map(Some))
    }
}

/// The GPU, its driver, and the monotonic clock.
struct Stage {
    script: Arc<Mutex<Script>>,
    gpu: Known,
    now: Instant,
}

impl Stage {
    fn new(vital: impl Fn(Vital) -> Result<u64, Code> + Send + 'static) -> Self {
        let script = Script { code: 0, vital: Box::new(vital), events: VecDeque::new(), asked: Vec::new(), polls: 0 };
        let script = Arc::new(Mutex::new(script));
        let now = Instant::now();
        let mut stage = Self { script, gpu: Known::new(None, Identity::default()), now };
        stage.meet();
        stage
    }

    /// It is enumerated.
    fn meet(&mut self) {
        let handle = Played(Arc::clone(&self.script));
        if let Ok(identity) = handle.identity() {
            self.gpu.meet(0, identity, Box::new(handle), self.now);
        }
    }

    fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut lock(&self.script));
    }

    fn play(&self, vital: impl Fn(Vital) -> Result<u64, Code> + Send + 'static) {
        self.set(|script| script.vital = Box::new(vital));
    }

    fn events(&self, events: impl IntoIterator<Item = Event>) {
        self.set(|script| script.events.extend(events.into_iter().map(Ok)));
    }

    fn asked(&self, vital: Vital) -> usize {
        lock(&self.script).asked.iter().filter(|asked| **asked == vital).count()
    }

    fn tick(&mut self) -> Page {
        self.later(SECOND)
    }

    fn later(&mut self, step: Duration) -> Page {
        self.now += step;
        let mut samples = Vec::new();
        self.gpu.tick(&mut Vec::new(), self.now, &mut samples);
        Page(samples)
    }
}

struct Page(Vec<Sample>);

impl Page {
    fn all(&self, metric: &'static Metric) -> Vec<(String, f64)> {
        let samples = self.0.iter().filter(|sample| std::ptr::eq(sample.metric, metric));
        let labels = |device: &Device| device.values().skip(2).collect::<Vec<_>>().join(" ");
        samples.map(|sample| (sample.device.as_ref().map(labels).unwrap_or_default(), sample.value)).collect()
    }

    fn get(&self, metric: &'static Metric, label: &str) -> Option<f64> {
        self.all(metric).into_iter().find(|(found, _)| found == label).map(|(_, value)| value)
    }
}

/// A driver that knows everything: a number of its own for each.
fn whole(vital: Vital) -> Result<u64, Code> {
    Ok(match vital {
        Vital::Energy => 123_456,
        Vital::Power => 321_500,
        Vital::Temperature => 56,
        Vital::MemoryTemperature => 61,
        Vital::Throttled(limiter) => 500_000_000 * (1 + limiter as u64),
        Vital::EccCorrected => 7,
        Vital::EccUncorrected => 2,
        Vital::RowsCorrectable => 3,
        Vital::RowsUncorrectable => 4,
        Vital::RowsPending => 1,
        Vital::RowsFailed => 0,
        Vital::RecoveryAction => 4,
    })
}

#[test]
fn every_label_fits_its_metric() {
    let vitals = Vitals::new(&Device::new(["0", "GPU-a"]));
    for (row, kept) in ROWS.iter().zip(&vitals.kept) {
        let word = usize::from(row.vital == Vital::RecoveryAction);
        assert_eq!(kept.device.values().len() + word, row.metric.labels.len(), "{}", row.metric.name);
    }
}

#[test]
fn everything_stands_on_the_page_in_its_unit() {
    let page = Stage::new(whole).tick();
    for (metric, value) in [
        (&GPU_ENERGY, 123.456),
        (&GPU_POWER, 321.5),
        (&GPU_TEMPERATURE, 56.0),
        (&GPU_MEMORY_TEMPERATURE, 61.0),
        (&GPU_REMAPPING_PENDING, 1.0),
        (&GPU_REMAPPING_FAILED, 0.0),
        (&GPU_LOSSES, 0.0),
    ] {
        assert_eq!(page.all(metric), [(String::new(), value)], "{}", metric.name);
    }
    let labelled = |pairs: &[(&str, f64)]| pairs.iter().map(|(label, value)| ((*label).into(), *value)).collect();
    let pairs: [(_, Vec<(String, f64)>); 4] = [
        (&GPU_ECC_ERRORS, labelled(&[("corrected", 7.0), ("uncorrected", 2.0)])),
        (&GPU_REMAPPED_ROWS, labelled(&[("correctable", 3.0), ("uncorrectable", 4.0)])),
        (&GPU_RECOVERY_ACTION, labelled(&[("drain_and_reset", 1.0)])),
        (&GPU_XID_ERRORS, Vec::new()),
    ];
    for (metric, expected) in pairs {
        assert_eq!(page.all(metric), expected, "{}", metric.name);
    }
    let throttled = page.all(&GPU_THROTTLED_SECONDS);
    assert_eq!(
        (throttled.len(), &throttled[0], &throttled[7]),
        (8, &("power".into(), 0.5), &("base_clocks".into(), 4.0))
    );
}

#[test]
fn what_is_refused_costs_its_own_series_and_is_asked_ever_more_seldom() {
    for code in [2, 3, 4, 6, 13, 15, 16, 25, 999] {
        let refuses = [Vital::Energy, Vital::EccCorrected, Vital::Throttled(Limiter::Thermal)];
        let mut stage = Stage::new(move |vital| if refuses.contains(&vital) { Err(Code(code)) } else { whole(vital) });
        for _ in 0..600 {
            let page = stage.tick();
            assert_eq!((page.get(&GPU_UP, ""), page.all(&GPU_ENERGY).len()), (Some(1.0), 0), "{code}");
            assert_eq!((page.get(&GPU_POWER, ""), page.get(&GPU_ECC_ERRORS, "uncorrected")), (Some(321.5), Some(2.0)));
            assert_eq!(page.get(&GPU_ECC_ERRORS, "corrected"), None);
            assert_eq!((page.all(&GPU_THROTTLED_SECONDS).len(), page.get(&GPU_LOSSES, "")), (7, Some(0.0)));
        }
        for vital in refuses {
            assert!((10..=20).contains(&stage.asked(vital)), "{vital:?}: {}", stage.asked(vital));
        }
        assert_eq!(stage.asked(Vital::Power), 600);
        stage.play(whole);
        assert!((0..60).any(|_| stage.tick().get(&GPU_ENERGY, "").is_some()), "back within a minute");
    }
}

#[test]
fn what_moves_seldom_is_asked_once_a_second_and_never_stale() {
    let mut stage = Stage::new(whole);
    for _ in 0..103 {
        let page = stage.later(SECOND / 10);
        assert_eq!(page.get(&GPU_ECC_ERRORS, "corrected"), Some(7.0));
        assert_eq!(page.get(&GPU_RECOVERY_ACTION, "drain_and_reset"), Some(1.0));
    }
    assert_eq!((stage.asked(Vital::Power), stage.asked(Vital::EccCorrected)), (103, 11));
    // An event is a reason to look at once.
    stage.play(|vital| if vital == Vital::RecoveryAction { Ok(2) } else { whole(vital) });
    stage.events([Event::Changed]);
    let page = stage.later(SECOND / 10);
    assert_eq!(page.all(&GPU_RECOVERY_ACTION), [("node_reboot".into(), 1.0)]);
    stage.play(|_| Err(Code(999)));
    let gone = (0..10).find(|_| stage.later(SECOND / 10).all(&GPU_ECC_ERRORS).is_empty());
    assert!(gone.is_some(), "what cannot be read again is absent within a second");
}

#[test]
fn garbage_is_absent() {
    let mut stage = Stage::new(|_| Ok(u64::from(u32::MAX)));
    let page = stage.tick();
    for metric in [&GPU_POWER, &GPU_TEMPERATURE, &GPU_MEMORY_TEMPERATURE, &GPU_REMAPPING_PENDING, &GPU_RECOVERY_ACTION]
    {
        assert_eq!(page.all(metric), [], "{}", metric.name);
    }
    stage.play(|vital| if vital == Vital::RecoveryAction { Ok(17) } else { Ok(u64::MAX) });
    let page = stage.tick();
    assert_eq!(page.all(&GPU_RECOVERY_ACTION), [("17".into(), 1.0)], "an action that is newer");
    assert_eq!((page.all(&GPU_ENERGY).len(), page.all(&GPU_THROTTLED_SECONDS).len()), (0, 0));
}

#[test]
fn energy_goes_on_when_the_driver_begins_anew() {
    let mut stage = Stage::new(whole);
    assert_eq!(stage.tick().get(&GPU_ENERGY, ""), Some(123.456));
    stage.play(|vital| if vital == Vital::Energy { Ok(1_000) } else { whole(vital) });
    assert_eq!(stage.tick().get(&GPU_ENERGY, ""), None, "garbage or a new count: the next reading tells");
    stage.play(|vital| if vital == Vital::Energy { Ok(1_500) } else { whole(vital) });
    assert_eq!(stage.tick().get(&GPU_ENERGY, ""), Some(123.956));
}

#[test]
fn an_xid_before_the_loss_is_told_and_both_stay_while_the_gpu_is_away() {
    let mut stage = Stage::new(whole);
    stage.tick();
    stage.events([79, 31, 31].map(Event::Xid));
    stage.set(|script| script.code = 15);
    let expected = [("79 hardware".into(), 1.0), ("31 application".into(), 2.0)];
    for _ in 0..120 {
        let page = stage.tick();
        assert_eq!((page.get(&GPU_UP, ""), page.get(&GPU_LOSSES, "")), (Some(0.0), Some(1.0)));
        assert_eq!((page.all(&GPU_XID_ERRORS), page.all(&GPU_XID_LAST).len()), (expected.to_vec(), 2));
        assert_eq!((page.all(&GPU_ENERGY).len(), page.all(&GPU_RECOVERY_ACTION).len()), (0, 0));
    }
    // What waits at the old handle is not lost with it, and a new driver goes on with the counts.
    stage.events([Event::Xid(31)]);
    stage.set(|script| script.code = 0);
    stage.meet();
    assert_eq!(stage.tick().get(&GPU_XID_ERRORS, "31 application"), Some(3.0));
    let back = (0..60).map(|_| stage.tick()).find(|page| page.get(&GPU_UP, "") == Some(1.0)).expect("back in a minute");
    assert_eq!((back.get(&GPU_LOSSES, ""), back.get(&GPU_XID_ERRORS, "31 application")), (Some(1.0), Some(3.0)));
    stage.gpu.handle = None;
    stage.gpu.refuse(Code(18), stage.now);
    let page = stage.tick();
    assert_eq!((page.get(&GPU_XID_ERRORS, "31 application"), page.get(&GPU_LOSSES, "")), (Some(3.0), Some(1.0)));
    stage.set(|script| script.code = 15);
    stage.gpu.refuse(Code(15), stage.now);
    assert_eq!(stage.tick().get(&GPU_LOSSES, ""), Some(2.0));
}

#[test]
fn the_labels_follow_the_index() {
    let mut stage = Stage::new(whole);
    stage.events([Event::Xid(31)]);
    stage.tick();
    let (script, now) = (Arc::clone(&stage.script), stage.now);
    let identity = Identity { uuid: "GPU-a".into(), ..Identity::default() };
    stage.gpu.meet(5, identity, Box::new(Played(script)), now);
    for sample in stage.tick().0 {
        let index = sample.device.as_ref().and_then(|device| device.values().next());
        assert_eq!(index, Some("5"), "{}", sample.metric.name);
    }
}

#[test]
fn a_storm_of_events_is_taken_tick_by_tick() {
    let mut stage = Stage::new(whole);
    stage.events([Event::Xid(13); 1000]);
    let first = stage.tick().get(&GPU_XID_ERRORS, "13 application");
    assert!(first.is_some_and(|first| first < 100.0), "{first:?}");
    let all = (0..20).map(|_| stage.tick().get(&GPU_XID_ERRORS, "13 application")).last();
    assert_eq!(all, Some(Some(1000.0)));
}

#[test]
fn a_gpu_without_events_has_everything_else() {
    let mut stage = Stage::new(whole);
    stage.set(|script| script.events = [Err(Code::NOT_SUPPORTED); 1000].into());
    for _ in 0..600 {
        let page = stage.tick();
        assert_eq!((page.get(&GPU_UP, ""), page.get(&GPU_POWER, "")), (Some(1.0), Some(321.5)));
    }
    assert!((10..=20).contains(&lock(&stage.script).polls), "{}", lock(&stage.script).polls);
}

/// What a driver may say, sane or not.
fn answer() -> impl Strategy<Value = Result<u64, u32>> {
    let values = prop_oneof![any::<u64>(), 0..300u64, 0..2_000_000_000u64, Just(u64::MAX), Just(u64::from(u32::MAX))];
    prop_oneof![4 => values.prop_map(Ok), 1 => prop_oneof![0..31u32, Just(999)].prop_map(Err)]
}

#[test]
fn losses_count_once_until_the_gpu_answers() {
    let mut losses = Losses::default();
    losses.refused(Code::NOT_FOUND);
    assert_eq!(losses.count, None, "nothing was ever heard of it");
    losses.answered();
    assert_eq!(losses.count, Some(0));
    for code in [Code::GPU_IS_LOST, Code::GPU_IS_LOST, Code::DRIVER_NOT_LOADED, Code::GPU_IS_LOST] {
        losses.refused(code);
        assert_eq!(losses.count, Some(1));
    }
    losses.answered();
    losses.refused(Code::GPU_IS_LOST);
    assert_eq!(losses.count, Some(2));
}

proptest! {
    // Whatever a driver says, with whatever gaps: no counter falls, no gauge leaves its range, what was refused just
    // now is absent, and the GPU is well.
    #[test]
    fn no_answer_breaks_the_page(ticks in prop::collection::vec((1..5000u64, answer()), 1..60)) {
        let mut stage = Stage::new(whole);
        let mut before: Vec<(&'static str, Option<Device>, f64)> = Vec::new();
        for (gap, answer) in ticks {
            let answer = answer.map_err(Code);
            stage.set(|script| script.asked.clear());
            stage.play(move |_| answer);
            let page = stage.later(Duration::from_millis(gap));
            prop_assert_eq!(page.get(&GPU_UP, ""), Some(1.0));
            if answer.is_err() {
                prop_assert!(page.all(&GPU_POWER).is_empty() && page.all(&GPU_ENERGY).is_empty());
            }
            prop_assert!(page.all(&GPU_TEMPERATURE).iter().all(|(_, celsius)| (0.0..=250.0).contains(celsius)));
            prop_assert!(page.all(&GPU_RECOVERY_ACTION).iter().all(|(word, one)| word.len() < 20 && *one == 1.0));
            for sample in page.0.iter().filter(|sample| sample.metric.kind == Kind::Counter) {
                let same = |(name, device, _): &&mut (&str, Option<Device>, f64)| {
                    *name == sample.metric.name && *device == sample.device
                };
                match before.iter_mut().find(same) {
                    Some((_, _, last)) => {
                        prop_assert!(*last <= sample.value, "{} fell from {last}: {sample:?}", sample.metric.name);
                        *last = sample.value;
                    }
                    None => before.push((sample.metric.name, sample.device.clone(), sample.value)),
                }
            }
        }
    }
}
