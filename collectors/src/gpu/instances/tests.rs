//! MIG instances on a GPU that is played in memory, and cut up differently between and during ticks.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::Metric;
use crate::catalogue::{GPU_DEVICE_MEMORY_UTILIZATION, GPU_FAILURE, GPU_MIG_CHANGES, GPU_UP, GPU_UTILIZATION_ABSENT};
use crate::gpu::device::Known;
use crate::gpu::driver::{Identity, Snapshot, Text};
use crate::gpu::ring::RingSample;

const SIZE: u64 = 1_000_000;
/// What the counters of two lives amount to: no life has it.
const MIXED: f64 = 99.0;

/// An instance from when it is made to when it is destroyed: `life` is in its UUID and in all its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Played {
    life: u64,
    gi: u32,
    size: u64,
}

fn played(life: u64, gi: u32) -> Played {
    Played { life, gi, size: SIZE }
}

impl Played {
    fn uuid(self) -> String {
        format!("MIG-{:03}", self.life)
    }

    fn used(self) -> f64 {
        (self.life * 1000) as f64
    }

    fn busy(self) -> f64 {
        (self.life % 90) as f64
    }

    fn memory(self) -> Memory {
        Memory { total: self.size, used: self.life * 1000, reserved: None }
    }

    fn text(self) -> Text {
        let mut text = [0; Text::LENGTH];
        text.iter_mut().zip(self.uuid().bytes()).for_each(|(place, byte)| *place = byte);
        Text(text)
    }
}

#[derive(Default)]
struct Card {
    slots: Vec<Option<Played>>,
    mig: Option<bool>,
    gpm: bool,
    memory: Option<Code>,
    lost: bool,
    /// What it is cut up into after so many more calls.
    soon: Option<(u32, Vec<Option<Played>>)>,
}

impl Card {
    fn find(&self, gi: u32) -> Option<Played> {
        self.slots.iter().flatten().find(|one| one.gi == gi).copied()
    }
}

#[derive(Clone)]
struct PlayedHandle(Arc<Mutex<Card>>);

impl PlayedHandle {
    /// The card at one more call.
    fn call(&self) -> Result<MutexGuard<'_, Card>, Code> {
        let mut card = self.0.lock().expect("no panic while it is held");
        match card.soon.take() {
            Some((0, slots)) => card.slots = slots,
            Some((calls, slots)) => card.soon = Some((calls - 1, slots)),
            None => {}
        }
        if card.lost { Err(Code(15)) } else { Ok(card) }
    }

    fn at(&self, slot: u32) -> Result<Option<Played>, Code> {
        Ok(self.call()?.slots.get(slot as usize).copied().flatten())
    }
}

impl Handle for PlayedHandle {
    fn identity(&self) -> Result<Identity, Code> {
        Ok(Identity::default())
    }

    fn memory(&self) -> Result<Memory, Code> {
        self.call()?.memory.map_or(Ok(Memory { total: 1000, used: 250, reserved: None }), Err)
    }

    fn ring(&mut self, _: &mut Vec<RingSample>) -> Result<(), Code> {
        Err(Code(3))
    }

    fn snapshot(&self) -> Result<Snapshot, Code> {
        Err(Code(3))
    }

    fn mig(&self) -> Result<bool, Code> {
        self.call()?.mig.ok_or(Code(3))
    }

    fn gpm(&mut self) -> Result<Option<Gpm>, Code> {
        Err(Code(3))
    }

    fn slots(&self) -> Result<u32, Code> {
        Ok(self.call()?.slots.len() as u32)
    }

    // As the adapter does: the name, the memory, and the name again.
    fn instance(&self, slot: u32) -> Result<Option<Found>, Code> {
        let Some(named) = self.at(slot)? else { return Ok(None) };
        let Some(held) = self.at(slot)? else { return Err(Code(2)) };
        let is_still = self.at(slot)? == Some(named);
        let key = InstanceKey { uuid: named.text(), gi: named.gi };
        Ok(is_still.then_some(Found { key, memory: Ok(held.memory()) }))
    }

    fn instance_title(&self, slot: u32, key: InstanceKey) -> Result<InstanceTitle, Code> {
        let one = self.at(slot)?.filter(|one| one.text() == key.uuid).ok_or(Code(6))?;
        Ok(InstanceTitle { profile: format!("{}g", one.life), ci: Some(0) })
    }

    fn counters(&self, gi: u32) -> Option<Box<dyn Counters>> {
        let gpm = self.0.lock().expect("no panic while it is held").gpm;
        gpm.then(|| Box::new(PlayedCounters { card: self.clone(), gi, before: None }) as Box<dyn Counters>)
    }
}

struct PlayedCounters {
    card: PlayedHandle,
    gi: u32,
    before: Option<Played>,
}

impl Counters for PlayedCounters {
    fn means(&mut self) -> Result<Option<Gpm>, Code> {
        let before = self.before.take();
        let now = self.card.call()?.find(self.gi).ok_or(Code(6))?;
        self.before = Some(now);
        Ok(before.map(|before| {
            let graphics = if before == now { now.busy() } else { MIXED };
            let (sm, rest) = (graphics / 2.0, f64::NAN);
            let (occupancy, tensor, dram, pcie_sent, pcie_received) = (rest, rest, rest, rest, rest);
            let (nvlink_sent, nvlink_received) = (rest, rest);
            Gpm { graphics, sm, occupancy, tensor, dram, pcie_sent, pcie_received, nvlink_sent, nvlink_received }
        }))
    }
}

struct Stage {
    card: PlayedHandle,
    gpu: Known,
    now: Instant,
}

impl Stage {
    fn new(slots: &[Option<Played>]) -> Self {
        let card = Card { slots: slots.to_vec(), mig: Some(true), gpm: true, ..Card::default() };
        let card = PlayedHandle(Arc::new(Mutex::new(card)));
        let identity = Identity { uuid: "GPU-a".into(), ..Identity::default() };
        let mut gpu = Known::new(Some(0), identity.clone());
        gpu.meet(0, identity, Box::new(card.clone()), Instant::now());
        Self { card, gpu, now: Instant::now() }
    }

    fn set(&self, change: impl FnOnce(&mut Card)) {
        change(&mut self.card.0.lock().expect("no panic while it is held"));
    }

    fn cut(&self, slots: &[Option<Played>]) {
        self.set(|card| card.slots = slots.to_vec());
    }

    fn tick(&mut self) -> Page {
        self.now += Duration::from_secs(1);
        let mut samples = Vec::new();
        self.gpu.tick(&mut Vec::new(), self.now, &mut samples);
        Page(samples)
    }

    /// The tick at which a lost GPU answers again.
    fn back(&mut self) -> Page {
        (0..61).map(|_| self.tick()).find(|page| page.one(&GPU_UP) == Some(1.0)).expect("back within a minute")
    }
}

struct Page(Vec<Sample>);

impl Page {
    fn all(&self, metric: &'static Metric) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| std::ptr::eq(sample.metric, metric))
    }

    fn of(&self, metric: &'static Metric, one: Played) -> Option<f64> {
        let uuid = one.uuid();
        self.all(metric).find(|sample| label(sample, 2) == Some(&uuid)).map(|sample| sample.value)
    }

    fn one(&self, metric: &'static Metric) -> Option<f64> {
        self.all(metric).next().map(|sample| sample.value)
    }

    fn infos(&self) -> Vec<Vec<&str>> {
        self.all(&GPU_INSTANCE_INFO).flat_map(|sample| &sample.device).map(|one| one.values().collect()).collect()
    }
}

fn label(sample: &Sample, at: usize) -> Option<&str> {
    sample.device.as_ref().and_then(|device| device.values().nth(at))
}

#[test]
fn instances_have_their_own_series() {
    let (a, b) = (played(1, 5), played(2, 9));
    let mut stage = Stage::new(&[Some(a), None, Some(b)]);
    let first = stage.tick();
    assert_eq!(first.infos(), [["0", "GPU-a", "MIG-001", "1g", "5", "0"], ["0", "GPU-a", "MIG-002", "2g", "9", "0"]]);
    assert_eq!((first.of(&GPU_INSTANCE_MEMORY_USED, a), first.of(&GPU_INSTANCE_UTILIZATION, a)), (Some(1000.0), None));
    let page = stage.tick();
    for one in [a, b] {
        assert_eq!(page.of(&GPU_INSTANCE_UTILIZATION, one), Some(one.busy()));
        assert_eq!(page.of(&GPU_INSTANCE_SM_UTILIZATION, one), Some(one.busy() / 2.0));
        assert_eq!(page.of(&GPU_INSTANCE_MEMORY_UTILIZATION, one), Some(0.1 * one.life as f64));
        assert_eq!(page.of(&GPU_INSTANCE_OCCUPANCY, one), None, "not a number is not 0");
    }
    assert_eq!((page.one(&GPU_MIG_CHANGES), page.one(&GPU_UP)), (Some(0.0), Some(1.0)));
    let absent = page.all(&GPU_UTILIZATION_ABSENT).map(|sample| label(sample, 2)).collect::<Vec<_>>();
    assert_eq!(absent, [Some("mig")]);
}

#[test]
fn without_gpm_there_is_memory_and_no_utilization() {
    let a = played(1, 5);
    let mut stage = Stage::new(&[Some(a)]);
    stage.set(|card| card.gpm = false);
    stage.tick();
    let page = stage.tick();
    assert_eq!(page.of(&GPU_INSTANCE_MEMORY_USED, a), Some(1000.0));
    for metric in [&GPU_INSTANCE_UTILIZATION, &GPU_INSTANCE_SM_UTILIZATION, &GPU_INSTANCE_DRAM_UTILIZATION] {
        assert_eq!(page.one(metric), None);
    }
}

#[test]
fn a_change_is_seen_at_the_next_tick_and_counted() {
    let (a, b, c) = (played(1, 5), played(2, 9), played(3, 5));
    let mut stage = Stage::new(&[Some(a), Some(b)]);
    stage.tick();
    stage.tick();
    // The number of a's GPU instance is given again, and b moves to another slot.
    stage.cut(&[Some(b), Some(c)]);
    let page = stage.tick();
    assert_eq!((page.infos().len(), page.of(&GPU_INSTANCE_INFO, a), page.one(&GPU_MIG_CHANGES)), (2, None, Some(1.0)));
    assert_eq!(page.of(&GPU_INSTANCE_UTILIZATION, b), Some(b.busy()), "it was there all the time");
    assert_eq!(page.of(&GPU_INSTANCE_UTILIZATION, c), None, "there is nothing to compare with");
    assert_eq!((page.one(&GPU_UP), page.one(&GPU_FAILURE)), (Some(1.0), None), "the GPU is well");
    let page = stage.tick();
    assert_eq!((page.of(&GPU_INSTANCE_UTILIZATION, c), page.one(&GPU_MIG_CHANGES)), (Some(c.busy()), Some(1.0)));
    stage.set(|card| card.mig = Some(false));
    let page = stage.tick();
    assert_eq!((page.infos().len(), page.one(&GPU_MIG_CHANGES)), (0, Some(2.0)));
    let absent = page.all(&GPU_UTILIZATION_ABSENT).map(|sample| label(sample, 2)).collect::<Vec<_>>();
    assert_eq!(absent, [Some("not_supported")], "this card has no other source, either");
}

#[test]
fn one_that_was_made_anew_with_another_size_or_number_is_another() {
    let (a, larger) = (played(1, 5), Played { size: 2 * SIZE, ..played(1, 5) });
    let mut stage = Stage::new(&[Some(a)]);
    stage.tick();
    stage.tick();
    stage.cut(&[Some(larger)]);
    let page = stage.tick();
    assert_eq!((page.infos().len(), page.of(&GPU_INSTANCE_UTILIZATION, a)), (1, None));
    assert_eq!(page.of(&GPU_INSTANCE_MEMORY_TOTAL, a), Some(2e6));
    assert_eq!(stage.tick().of(&GPU_INSTANCE_UTILIZATION, a), Some(a.busy()));
    stage.cut(&[Some(Played { gi: 6, ..larger })]);
    let page = stage.tick();
    assert_eq!(
        (page.infos(), page.one(&GPU_INSTANCE_UTILIZATION)),
        (vec![vec!["0", "GPU-a", "MIG-001", "1g", "6", "0"]], None)
    );
}

#[test]
fn compute_instances_show_all_of_the_gpu_instance_that_they_share() {
    let (a, b) = (played(1, 5), played(1, 5));
    let twin = Played { life: 2, ..b };
    let mut stage = Stage::new(&[Some(a), Some(twin)]);
    stage.tick();
    let page = stage.tick();
    let of = |one| page.of(&GPU_INSTANCE_UTILIZATION, one);
    assert_eq!((of(a), of(twin)), (Some(a.busy()), Some(a.busy())));
    let gis: Vec<&str> = page.infos().iter().map(|info| info[4]).collect();
    assert_eq!(gis, ["5", "5"], "so that a sum can take it once");
}

#[test]
fn in_a_container_that_has_slices_only_they_stand_and_the_gpu_is_up() {
    let a = played(1, 5);
    let mut stage = Stage::new(&[Some(a)]);
    stage.set(|card| card.memory = Some(Code(4)));
    stage.tick();
    let page = stage.tick();
    assert_eq!((page.one(&GPU_UP), page.one(&GPU_DEVICE_MEMORY_UTILIZATION)), (Some(1.0), None));
    assert_eq!(page.of(&GPU_INSTANCE_MEMORY_UTILIZATION, a), Some(0.1));
    stage.cut(&[]);
    assert_eq!(
        stage.tick().all(&GPU_FAILURE).map(|sample| label(sample, 2)).collect::<Vec<_>>(),
        [Some("no_permission")]
    );
}

#[test]
fn what_a_lost_gpu_was_cut_up_into_is_forgotten() {
    let (a, b) = (played(1, 5), played(2, 5));
    let mut stage = Stage::new(&[Some(a)]);
    stage.tick();
    stage.tick();
    stage.set(|card| card.lost = true);
    let page = stage.tick();
    assert_eq!((page.infos().len(), page.one(&GPU_UP)), (0, Some(0.0)));
    stage.cut(&[Some(b)]);
    stage.set(|card| card.lost = false);
    assert_eq!(stage.back().infos(), [["0", "GPU-a", "MIG-002", "2g", "5", "0"]]);
    assert_eq!(stage.tick().of(&GPU_INSTANCE_UTILIZATION, b), Some(b.busy()));
    stage.set(|card| card.lost = true);
    stage.tick();
    stage.set(|card| card.lost = false);
    let page = stage.back();
    assert_eq!((page.infos().len(), page.one(&GPU_MIG_CHANGES)), (1, Some(0.0)));
    assert_eq!(page.one(&GPU_INSTANCE_UTILIZATION), None, "it would be the mean of the outage");
}

#[test]
fn a_driver_that_says_nonsense_fills_neither_page_nor_memory() {
    let many: Vec<_> = (1..200).map(|life| Some(played(life, life as u32))).collect();
    let mut stage = Stage::new(&many);
    assert_eq!(stage.tick().infos().len(), MOST_INSTANCES as usize);
    let twice = [Some(played(1, 5)), Some(played(1, 6)), Some(Played { size: 1, ..played(2, 7) })];
    stage.cut(&twice);
    let page = stage.tick();
    assert_eq!((page.infos().len(), page.of(&GPU_INSTANCE_MEMORY_TOTAL, played(2, 7))), (2, None));
}

/// What a GPU may be cut up into: up to five instances, whose numbers and slots are given again and again. Each is a
/// life of its own, or goes on from the tick before.
fn slots() -> impl Strategy<Value = Vec<(bool, Option<u32>)>> {
    proptest::collection::vec((any::<bool>(), proptest::option::weighted(0.7, 0..4u32)), 0..5)
}

/// The next cut: `goes_on` keeps what has this number, wherever it lies.
fn next(before: &[Option<Played>], wanted: &[(bool, Option<u32>)], lives: &mut u64) -> Vec<Option<Played>> {
    let mut used = Vec::new();
    let mut make = |&(goes_on, gi): &(bool, Option<u32>)| {
        let gi = gi.filter(|gi| !used.contains(gi))?;
        used.push(gi);
        let same = before.iter().flatten().find(|one| goes_on && one.gi == gi).copied();
        Some(same.unwrap_or_else(|| {
            *lives += 1;
            played(*lives, gi)
        }))
    };
    wanted.iter().map(&mut make).collect()
}

proptest! {
    // For all sequences of cuts, each between two calls of the agent or before all of a tick: at every tick only
    // instances that were there during it have series, all that were there throughout do, and every value is of the
    // instance that its labels name.
    #[test]
    fn nothing_of_an_instance_outlives_it_or_crosses_to_another(
        cuts in proptest::collection::vec((slots(), proptest::option::of(0..40u32)), 1..30),
    ) {
        let mut lives = 0;
        let mut slots = Vec::new();
        let mut stage = Stage::new(&slots);
        let mut seen: Vec<Played> = Vec::new();
        for (wanted, after) in cuts {
            let later = next(&slots, &wanted, &mut lives);
            // A cut during the tick before that it did not reach has come about since.
            match after {
                None => stage.cut(&later),
                Some(calls) => {
                    stage.cut(&slots);
                    stage.set(|card| card.soon = Some((calls, later.clone())));
                }
            }
            let earlier = if after.is_some() { slots.clone() } else { later.clone() };
            let page = stage.tick();
            stage.set(|card| card.soon = None);
            let [earlier, now] = [&earlier, &later].map(|slots| slots.iter().flatten().copied().collect::<Vec<_>>());
            for sample in page.0.iter().filter(|sample| sample.metric.labels.get(2) == Some(&"mig_uuid")) {
                let uuid = label(sample, 2);
                let one = earlier.iter().chain(&now).find(|one| Some(one.uuid().as_str()) == uuid);
                prop_assert!(one.is_some(), "{uuid:?} is gone");
                let one = *one.expect("asked above");
                let right = match sample.metric {
                    metric if std::ptr::eq(metric, &GPU_INSTANCE_MEMORY_USED) => one.used(),
                    metric if std::ptr::eq(metric, &GPU_INSTANCE_UTILIZATION) => one.busy(),
                    _ => sample.value,
                };
                prop_assert_eq!(sample.value, right, "{} of {}", sample.metric.name, one.uuid());
            }
            if after.is_none() {
                prop_assert_eq!(page.infos().len(), now.len());
                for one in &now {
                    prop_assert_eq!(page.of(&GPU_INSTANCE_MEMORY_USED, *one), Some(one.used()));
                    let known = seen.contains(one);
                    prop_assert_eq!(page.of(&GPU_INSTANCE_UTILIZATION, *one), known.then_some(one.busy()));
                }
            }
            seen = now.into_iter().filter(|one| page.of(&GPU_INSTANCE_INFO, *one).is_some()).collect();
            slots = later;
        }
    }
}
