use super::*;
use crate::distribution::{Distribution, Scale};
use metrics::Level;
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

fn gauge(windows: &Windows, name: &'static str) -> Gauge {
    windows.register_gauge(&Key::from_static_name(name), &Metadata::new("test", Level::INFO, None))
}

fn at(seconds: f64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs_f64(1_000_020.0 + seconds) // a full minute
}

fn advance(windows: &Windows, seconds: f64) -> Vec<Window> {
    let mut all = Vec::new();
    windows.advance(at(seconds), |window| all.push(Window::clone(window)));
    all
}

#[test]
fn every_period_is_closed_once_and_complete_from_the_second_on() {
    let windows = Windows::new(["cpu"], [(Duration::from_secs(15), Keep::Statistics), (MINUTE, Keep::Values)]);
    let cpu = gauge(&windows, "cpu");
    let mut closed = Vec::new();
    for tick in 0..150 {
        let now = 7.5 + f64::from(tick);
        closed.extend(advance(&windows, now));
        cpu.set(now.floor());
    }
    let quarters: Vec<&Window> = closed.iter().filter(|window| window.period < MINUTE).collect();
    assert_eq!(quarters.iter().map(|w| w.complete).collect::<Vec<_>>(), [vec![false], vec![true; 9]].concat());
    assert!(quarters.iter().skip(1).all(|window| window.series[0].statistics.count() == 15));
    let minutes: Vec<&Window> = closed.iter().filter(|window| window.period == MINUTE).collect();
    assert_eq!(minutes.iter().map(|w| w.complete).collect::<Vec<_>>(), [false, true]);
    let second = &minutes[1].series[0].statistics;
    assert_eq!(minutes[1].start, at(60.0));
    assert_eq!((second.count(), second.minimum(), second.maximum()), (60, Some(60.0), Some(119.0)));
    assert_eq!(second.mean(), Some(89.5));
    let values: Vec<(f64, u64)> = (60..120).map(|second| (f64::from(second), 1)).collect();
    assert_eq!(minutes[1].series[0].values, values);
    assert!(quarters.iter().flat_map(|window| &window.series).all(|series| series.values.is_empty()));
}

#[test]
fn only_chosen_gauges_take_part() {
    let windows = Windows::new(["cpu"], [(MINUTE, Keep::Statistics)]);
    advance(&windows, 0.5);
    gauge(&windows, "other").set(1.0);
    assert_eq!(advance(&windows, 60.5)[0].series, []);
}

#[test]
fn absent_is_no_sample() {
    let windows = Windows::new(["cpu"], [(MINUTE, Keep::Statistics)]);
    let cpu = gauge(&windows, "cpu");
    advance(&windows, 0.5);
    cpu.set(5.0);
    cpu.set(f64::NAN);
    cpu.increment(2.0);
    let set = advance(&windows, 60.5)[0].series[0].statistics;
    assert_eq!((set.count(), set.minimum(), set.maximum()), (2, Some(2.0), Some(5.0)));
    cpu.set(f64::NAN);
    assert_eq!(advance(&windows, 120.5)[0].series, [], "a window without samples has no series");
}

#[test]
fn a_clock_that_jumps_leaves_no_complete_window_behind() {
    for to in [7200.5, -7200.5, 185.0] {
        let windows = Windows::new(["cpu"], [(MINUTE, Keep::Statistics)]);
        let cpu = gauge(&windows, "cpu");
        for second in 0..90 {
            advance(&windows, f64::from(second) + 0.5);
            cpu.set(1.0);
        }
        let jumped = advance(&windows, to);
        assert_eq!(jumped.iter().map(|w| w.complete).collect::<Vec<_>>(), [false], "to {to}");
        let torn = advance(&windows, to + 60.0);
        assert!(!torn[0].complete, "the window jumped into is torn too");
        assert!(advance(&windows, to + 120.0)[0].complete);
    }
}

#[test]
fn a_clock_that_jumps_within_a_window_or_into_the_next_tears_them_too() {
    // From second 90.5, half through the second minute: within it either way, and into the one that follows.
    for (to, torn) in [(100.5, 1), (70.5, 1), (125.5, 2)] {
        let windows = Windows::new(["cpu"], [(MINUTE, Keep::Statistics)]);
        (0..91).for_each(|second| drop(advance(&windows, f64::from(second) + 0.5)));
        windows.tear();
        let mut closed = advance(&windows, to);
        windows.tear();
        closed.extend((2..5).flat_map(|minute| advance(&windows, f64::from(minute) * 60.0 + 0.5)));
        let complete: Vec<bool> = closed.iter().map(|window| window.complete).collect();
        let expected: Vec<bool> = (0..complete.len()).map(|index| index >= torn).collect();
        assert_eq!(complete, expected, "to {to}");
        assert!(complete.contains(&true), "to {to}");
    }
}

#[test]
fn a_series_that_nobody_can_set_any_more_is_forgotten() {
    let windows = Windows::new(["cpu", "held"], [(MINUTE, Keep::Statistics)]);
    advance(&windows, 0.5);
    gauge(&windows, "cpu").set(1.0);
    let held = gauge(&windows, "held");
    assert_eq!(advance(&windows, 60.5)[0].series.len(), 1);
    assert_eq!(lock(&windows.0.series).len(), 2, "a macro may increment it yet");
    assert_eq!(advance(&windows, 120.5)[0].series, []);
    assert_eq!(lock(&windows.0.series).len(), 1);
    held.set(1.0);
    assert_eq!(advance(&windows, 180.5)[0].series.len(), 1);
}

#[test]
fn every_kind_takes_part_under_its_own_key() {
    let total = Listed { name: "total".into(), cumulative: true };
    let windows = Windows::new([total, "same".into()], [(MINUTE, Keep::Values)]);
    advance(&windows, 0.5);
    metrics::with_local_recorder(&windows, || {
        for minute in 1..4 {
            metrics::gauge!("same").set(0.5);
            metrics::counter!("same").increment(2);
            metrics::histogram!("same").record(7.0);
            metrics::histogram!("same").record(7.0);
            metrics::gauge!("total").set(f64::from(minute) * 1.5);
            let window = advance(&windows, f64::from(minute) * 60.0 + 0.5).remove(0);
            let short = |series: &WindowSeries| (series.key.name().to_owned(), series.kind, series.values.clone());
            let mut expected = vec![
                ("same".to_owned(), Kind::Gauge, vec![(0.5, 1)]),
                ("same".to_owned(), Kind::Counter, vec![(2.0, 1)]),
                ("same".to_owned(), Kind::Histogram, vec![(7.0, 2)]),
                ("total".to_owned(), Kind::Counter, vec![(1.5, 1)]),
            ];
            expected.truncate(if minute == 1 { 3 } else { 4 });
            assert_eq!(window.series.iter().map(short).collect::<Vec<_>>(), expected, "minute {minute}");
        }
    });
}

#[test]
fn the_same_period_for_two_is_one_and_keeps_values() {
    let windows = Windows::new(["cpu"], [(MINUTE, Keep::Statistics), (MINUTE, Keep::Values)]);
    advance(&windows, 0.5);
    gauge(&windows, "cpu").set(1.0);
    let closed = advance(&windows, 60.5);
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0].series[0].values, [(1.0, 1)]);
}

#[test]
fn what_is_open_at_the_end_is_closed_and_nothing_opens_after() {
    let windows = Windows::new(["cpu"], [(Duration::from_secs(15), Keep::Statistics), (MINUTE, Keep::Values)]);
    let cpu = gauge(&windows, "cpu");
    for second in 0..80 {
        advance(&windows, f64::from(second) + 0.5);
        cpu.set(1.0);
    }
    let finish = || {
        let mut all = Vec::new();
        windows.finish(|window| all.push((window.start, window.complete, window.series[0].statistics.count())));
        all
    };
    assert_eq!(finish(), [(at(75.0), false, 5), (at(60.0), false, 20)]);
    cpu.set(1.0);
    assert_eq!(finish(), []);
    assert_eq!(advance(&windows, 90.5), []);
    cpu.set(1.0);
    assert!(!advance(&windows, 105.5)[0].complete);
}

#[test]
fn series_are_bounded_and_the_forgotten_make_room() {
    let windows = Windows::new(["cpu"], [(MINUTE, Keep::Statistics)]);
    advance(&windows, 0.5);
    let register = |core: usize| {
        let key = Key::from_parts("cpu", vec![metrics::Label::new("core", core.to_string())]);
        windows.register_counter(&key, &Metadata::new("test", Level::INFO, None))
    };
    let mut held: Vec<Counter> = (0..SERIES).map(register).collect();
    assert_eq!(windows.refused_series(), 0);
    register(SERIES).increment(1);
    register(0).increment(1);
    assert_eq!(windows.refused_series(), 1);
    held.truncate(1);
    let window = advance(&windows, 60.5).remove(0);
    assert_eq!(window.series.iter().map(|series| series.statistics.sum()).sum::<f64>(), 1.0);
    let _new = register(SERIES);
    assert_eq!((windows.refused_series(), lock(&windows.0.series).len()), (1, 2));
}

#[test]
fn threads_that_record_while_windows_close_lose_nothing() {
    let windows = Windows::new(["cpu"], [(MINUTE, Keep::Values)]);
    let record = || {
        metrics::with_local_recorder(&windows, || {
            for value in 0..2000u32 {
                metrics::gauge!("cpu").set(f64::from(value));
                metrics::counter!("cpu").increment(1);
                metrics::histogram!("cpu").record(f64::from(value));
            }
        });
    };
    let mut closed = Vec::new();
    std::thread::scope(|scope| {
        let threads = [scope.spawn(record), scope.spawn(record)];
        let mut now = 0.5;
        while threads.iter().any(|thread| !thread.is_finished()) {
            closed.extend(advance(&windows, now));
            now += 60.0;
        }
        closed.extend((0..2).flat_map(|more| advance(&windows, now + 60.0 * f64::from(more))));
    });
    let total = |kind, figure: fn(&StatisticSet) -> f64| {
        let series = closed.iter().flat_map(|window| &window.series).filter(|series| series.kind == kind);
        series.map(|series| figure(&series.statistics)).sum::<f64>()
    };
    assert_eq!(total(Kind::Counter, StatisticSet::sum), 4000.0);
    for kind in [Kind::Gauge, Kind::Histogram] {
        assert_eq!(total(kind, |set| set.count() as f64), 4000.0);
    }
}

proptest! {
    // For all values: the four quarters of a minute, merged, are the minute.
    #[test]
    fn quarters_merge_to_their_minute(values in proptest::collection::vec(0.0..6400.0f64, 60..600)) {
        let quarter = Duration::from_secs(15);
        let windows = Windows::new(["cpu"], [(quarter, Keep::Values), (MINUTE, Keep::Values)]);
        let cpu = gauge(&windows, "cpu");
        let (mut merged, mut minute) = (Distribution::new(Scale::Linear), None);
        for second in 0..=60 {
            for window in advance(&windows, f64::from(second) + 0.5) {
                let WindowSeries { statistics, values, .. } = window.series.into_iter().next().unwrap();
                if window.period == MINUTE {
                    minute = Some(Distribution::from_parts(statistics, values, Scale::Linear).unwrap());
                } else {
                    prop_assert_eq!(values.len(), statistics.count() as usize, "exact");
                    merged.merge(&Distribution::from_parts(statistics, values, Scale::Linear).unwrap());
                }
            }
            values.iter().skip(second as usize % 60).step_by(60).for_each(|value| cpu.set(*value));
        }
        let minute = minute.unwrap();
        let (minute, merged) = (minute.into_parts(), merged.into_parts());
        prop_assert_eq!(merged.1, minute.1);
        prop_assert_eq!(merged.0.maximum(), minute.0.maximum());
    }

    // For all steps of time and values: no sample is lost or counted twice, and each window starts on its period.
    #[test]
    fn taken_equals_closed(steps in proptest::collection::vec((0.0..40.0f64, 0..5usize), 1..60)) {
        let windows = Windows::new(["cpu"], [(MINUTE, Keep::Statistics)]);
        let cpu = gauge(&windows, "cpu");
        let (mut now, mut taken, mut closed) = (0.0, 0, 0);
        for (step, sets) in steps {
            now += step;
            for window in advance(&windows, now) {
                closed += window.series.iter().map(|series| series.statistics.count()).sum::<u64>();
                let start = window.start.duration_since(UNIX_EPOCH).unwrap();
                prop_assert_eq!(start.as_nanos() % MINUTE.as_nanos(), 0);
            }
            (0..sets).for_each(|_| cpu.set(1.0));
            taken += sets as u64;
        }
        let last = advance(&windows, now + 60.0);
        closed += last.iter().flat_map(|window| &window.series).map(|series| series.statistics.count()).sum::<u64>();
        prop_assert_eq!(taken, closed);
    }
}
