//! Standby, partial sums, and what is noted for the watchdog.

use super::*;
use crate::catalogue::{GPU_HELD_IDLE_SECONDS, GPU_LONGEST_IDLE, GPU_SAMPLES};

impl Stage {
    fn standing(mut self, switch: &Standby) -> Self {
        self.gpu = self.gpu.standby(switch.clone());
        self
    }
}

#[test]
fn a_partial_sum_is_of_those_that_report_and_says_of_how_many() {
    let mut stage = Stage::new(EIGHT.iter().map(|uuid| played(uuid, 50)).collect());
    stage.gpu = stage.gpu.sum_rule(SumRule::Partial);
    stage.tick();
    assert_eq!(stage.tick().sum(), Some(400.0));
    stage.set(|machine| machine.gpus[3].code = 15);
    let lost = stage.tick();
    assert_eq!((lost.sum(), lost.counts()), (Some(350.0), (Some(8.0), Some(7.0))));
    assert_eq!(lost.one(&GPU_MEMORY_UTILIZATION), Some(175.0));
}

#[test]
fn in_standby_nothing_is_held_and_nothing_is_said_but_that() {
    let switch = Standby::default();
    let mut stage = Stage::new(vec![played("GPU-a", 10), played("GPU-b", 20)]).standing(&switch);
    stage.tick();
    let before = stage.tick();
    assert_eq!((before.sum(), before.one(&GPU_STANDBY)), (Some(30.0), Some(0.0)));
    switch.set(true);
    for _ in 0..120 {
        let page = stage.tick();
        assert_eq!((page.samples, page.outcome), (vec![Sample::new(&GPU_STANDBY, 1.0)], Ok(())));
        assert_eq!((lock(&stage.machine).handles, stage.gpu.driver.is_none(), stage.gpu.rest()), (0, true, None));
    }
    assert_eq!(lock(&stage.machine).loads, 1);
    switch.set(false);
    let after = stage.tick();
    assert_eq!((lock(&stage.machine).loads, after.one(&GPU_STANDBY), after.counts().0), (2, Some(0.0), Some(2.0)));
    assert_eq!(after.outcome, Ok(()));
    assert_eq!(stage.tick().sum(), Some(30.0));
    // What was before goes on, and the time between is nobody's: the ring knows its last ten seconds.
    let (busy, then) = (after.of(&GPU_BUSY_SECONDS, "GPU-b"), before.of(&GPU_BUSY_SECONDS, "GPU-b"));
    assert!(busy >= then && after.of(&GPU_UNSAMPLED_SECONDS, "GPU-b") > Some(105.0), "{busy:?} after {then:?}");
}

#[test]
fn a_standby_that_ends_before_a_tick_lets_go_and_forgets_all_the_same() {
    let switch = Standby::default();
    let mut stage = Stage::new(vec![played("GPU-a", 10), played("GPU-b", 20)]).standing(&switch);
    stage.tick();
    stage.set(|machine| machine.gpus.truncate(1));
    assert_eq!(stage.tick().counts(), (Some(2.0), Some(1.0)));
    [true, true, false].iter().for_each(|on| switch.set(*on));
    let page = stage.tick();
    assert_eq!((page.counts().0, page.one(&GPU_STANDBY), lock(&stage.machine).loads), (Some(1.0), Some(0.0), 2));
    // Turned on twice over between two ticks, it is on.
    [true, false, true].iter().for_each(|on| switch.set(*on));
    assert_eq!((stage.tick().one(&GPU_STANDBY), switch.is_on()), (Some(1.0), true));
    [false, true].iter().for_each(|on| switch.set(*on));
    assert_eq!((stage.tick().one(&GPU_STANDBY), lock(&stage.machine).loads), (Some(1.0), 2));
}

#[test]
fn ticks_far_apart_do_not_delay_standby() {
    let switch = Standby::default();
    let mut stage = Stage::new(vec![played("GPU-a", 10)]).standing(&switch);
    stage.tick();
    switch.set(true);
    stage.gpu.keep_up();
    assert_eq!((lock(&stage.machine).handles, stage.gpu.driver.is_none()), (0, true));
    // Its end waits for a tick, which loads.
    switch.set(false);
    stage.gpu.keep_up();
    assert_eq!(lock(&stage.machine).loads, 1);
    stage.tick();
    assert_eq!(lock(&stage.machine).loads, 2);
}

#[test]
fn standby_where_there_never_was_a_driver_shows_nothing_and_still_ends_at_once() {
    let switch = Standby::default();
    let mut stage = Stage::new(Vec::new()).standing(&switch);
    stage.set(|machine| machine.load = Some(LoadError::Refused(Code::DRIVER_NOT_LOADED)));
    switch.set(true);
    assert_eq!((stage.tick().samples, stage.gpu.rest()), (Vec::new(), None));
    stage.set(|machine| (machine.load, machine.gpus) = (None, vec![played("GPU-a", 10)]));
    switch.set(false);
    stage.tick();
    assert_eq!(stage.tick().sum(), Some(10.0));
}

#[test]
fn the_end_of_standby_waits_for_no_failure_from_before() {
    let switch = Standby::default();
    let mut stage = Stage::new(vec![played("GPU-a", 10)]).standing(&switch);
    stage.tick();
    stage.set(|machine| {
        machine.gpus[0].code = 18;
        machine.load = Some(LoadError::Refused(Code(18)));
    });
    // By now the library is tried once a minute.
    (0..200).for_each(|_| assert_eq!(stage.tick().sum(), None));
    stage.set(|machine| (machine.gpus[0].code, machine.load) = (0, None));
    switch.set(true);
    stage.tick();
    switch.set(false);
    let loads = lock(&stage.machine).loads;
    stage.tick();
    assert_eq!(lock(&stage.machine).loads, loads + 1);
    assert_eq!(stage.tick().sum(), Some(10.0));
}

#[test]
fn what_is_not_there_after_a_standby_is_forgotten_and_what_is_sick_is_not() {
    let switch = Standby::default();
    let gpus = ["GPU-a", "GPU-b", "GPU-c"].map(|uuid| played(uuid, 10)).to_vec();
    let mut stage = Stage::new(gpus).standing(&switch);
    stage.tick();
    assert_eq!(stage.tick().sum(), Some(30.0));
    stage.set(|machine| machine.gpus.retain(|gpu| gpu.uuid != "GPU-b"));
    assert_eq!(stage.tick().counts(), (Some(3.0), Some(2.0)));
    switch.set(true);
    stage.tick();
    // Resumed too early: the driver is not back, then has no GPU yet.
    switch.set(false);
    let there = mem::take(&mut lock(&stage.machine).gpus);
    stage.set(|machine| machine.load = Some(LoadError::Refused(Code::DRIVER_NOT_LOADED)));
    assert_eq!(stage.tick().counts(), (Some(3.0), Some(0.0)));
    stage.set(|machine| machine.load = None);
    assert_eq!((stage.later(SECOND * 2).counts(), stage.gpu.rest()), ((Some(3.0), Some(0.0)), None));
    stage.set(|machine| machine.gpus = there);
    stage.set(|machine| machine.gpus[1].code = 15);
    let page = stage.later(ENUMERATION);
    assert_eq!(page.labels(&GPU_UP).iter().map(|labels| labels[1].as_str()).collect::<Vec<_>>(), ["GPU-a", "GPU-c"]);
    assert_eq!((page.sum(), page.counts().0), (None, Some(2.0)), "one does not answer, which is no reason to forget");
    stage.set(|machine| machine.gpus[1].code = 0);
    let whole = (0..61).map(|_| stage.tick()).find(|page| page.sum().is_some()).expect("back within a minute");
    assert_eq!((whole.sum(), whole.counts()), (Some(20.0), (Some(2.0), Some(2.0))));
    // Without a standby nobody is forgotten.
    stage.set(|machine| machine.gpus.truncate(1));
    assert_eq!(stage.tick().counts(), (Some(2.0), Some(1.0)));
}

#[test]
fn a_gpu_that_was_asked_for_is_not_forgotten() {
    let switch = Standby::default();
    let chosen = "GPU-a,GPU-b".parse().expect("a selection");
    let gpus = vec![played("GPU-a", 10), played("GPU-b", 20)];
    let mut stage = Stage::choosing(gpus, chosen, None).standing(&switch);
    stage.tick();
    switch.set(true);
    stage.tick();
    stage.set(|machine| machine.gpus.truncate(1));
    switch.set(false);
    assert_eq!(stage.tick().counts().0, Some(2.0));
}

#[test]
fn the_watchdog_is_told_of_no_gpu_while_none_is_asked() {
    let mut stage = Stage::new(vec![played("GPU-a", 10)]);
    let pending = stage.gpu.pending().expect("a collector that can hang");
    assert_eq!(pending.get(), None);
    stage.tick();
    stage.gpu.keep_up();
    assert_eq!(pending.get(), None);
}

#[test]
fn waste_stands_beside_the_other_figures_of_the_ring() {
    let mut stage = Stage::new(vec![played("GPU-a", 0), Played { mig: true, ..played("GPU-b", 0) }]);
    stage.tick();
    let page = (0..9).map(|_| stage.tick()).last().expect("a page");
    assert_eq!(page.of(&GPU_LONGEST_IDLE, "GPU-a"), Some(9.0));
    assert_eq!(page.of(&GPU_SAMPLES, "GPU-a"), Some(45.0));
    assert_eq!(page.of(&GPU_HELD_IDLE_SECONDS, "GPU-a"), Some(0.0), "250 bytes are nobody's");
    for metric in [&GPU_LONGEST_IDLE, &GPU_SAMPLES, &GPU_HELD_IDLE_SECONDS] {
        assert_eq!(page.of(metric, "GPU-b"), None, "no ring in MIG mode");
    }
}
