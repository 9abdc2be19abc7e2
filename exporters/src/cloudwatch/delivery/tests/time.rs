//! Old data, data ahead of their time, and clocks that are set.

use super::*;

#[test]
fn old_seconds_become_minutes_and_two_weeks_are_the_end() {
    in_time(async {
        let second = Duration::from_secs(1);
        let with = With { period: second, resolution: Resolution::Second, ..ONE };
        let bench = Bench::start(with);
        bench.always(Play::Away);
        for _ in 0..120 {
            bench.period(2).await;
        }
        // Four hours later the seconds are not worth their requests any more.
        tokio::time::sleep(Duration::from_secs(4 * 3600)).await;
        bench.always(Play::Accept);
        tokio::time::sleep(2 * MINUTE).await;
        let status = bench.status();
        assert_eq!((status.totals.taken, status.totals.published), (120, 120));
        let world = bench.fake.0.borrow();
        let minutes = world.stored.keys().filter(|(.., resolution)| *resolution == Resolution::Minute).count();
        assert!((2..=4).contains(&minutes), "{minutes}: a minute cut by a request's edge comes in two");
        assert_eq!(world.stored.values().sum::<f64>(), 240.0, "every sample of them");
    });
    in_time(async {
        let bench = Bench::start(ONE);
        bench.always(Play::Away);
        bench.period(1).await;
        tokio::time::sleep(Duration::from_secs(15 * 86_400)).await;
        bench.always(Play::Accept);
        tokio::time::sleep(2 * MINUTE).await;
        bench.period(1).await;
        let (status, world) = bench.finish(MINUTE).await;
        let totals = status.totals;
        assert_eq!(totals.dropped(Reason::TooOld), 1, "{totals:?}");
        assert_eq!(totals.taken, totals.published + 1);
        assert_eq!(world.stored.len() as u64, totals.published);
    });
}

#[test]
fn data_ahead_of_the_services_clock_wait_for_it() {
    in_time(async {
        let bench = Bench::start(ONE);
        // The service is three hours behind us: it would refuse what we just measured.
        bench.fake.0.borrow_mut().behind = 3 * 60 * MINUTE;
        bench.period(1).await;
        bench.period(1).await;
        bench.period(1).await;
        let status = bench.status();
        assert_eq!((status.totals.published, status.totals.pending()), (1, 2), "the first told of the clock");
        assert_eq!(status.skew, Some(3.0 * 3600.0));
        tokio::time::sleep(Duration::from_secs(3600 + 300)).await;
        assert_eq!(bench.status().totals.pending(), 0);
    });
}

#[test]
fn a_wall_clock_that_is_set_right_holds_nothing_up_and_gives_nothing_up() {
    // A month: further than the service takes data, to either side.
    for ahead in [-30, -1, 1, 30].map(|days| days * 86_400) {
        in_time(async {
            let bench = Bench::start(ONE);
            AHEAD.set(ahead);
            for _ in 0..3 {
                bench.period(1).await;
            }
            assert_eq!(bench.status().skew, Some(ahead as f64), "its answers tell");
            let wrong = bench.status().totals;
            AHEAD.set(0);
            for _ in 0..3 {
                bench.period(1).await;
            }
            let (status, world) = bench.finish(MINUTE).await;
            // One window lies in the jump.
            let right = world.stored.keys().filter(|(_, start, _)| start.abs_diff(START.as_millis() as u64) < 600_000);
            assert!(right.count() >= 3, "{ahead}: {:?}", world.stored);
            // What was stamped too far back may be refused by its age, what is right may not.
            let totals = status.totals;
            assert!(totals.all_dropped() <= wrong.taken, "{ahead}: {totals:?}, before {wrong:?}");
        });
    }
}

#[test]
fn nothing_is_given_up_for_its_age_before_the_service_told_the_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let with = With { spool: Some(folder.path()), ..ONE };
    in_time(async {
        let bench = Bench::start(with);
        bench.always(Play::Away);
        bench.period(1).await;
        bench.finish(Duration::ZERO).await;
    });
    in_time(async {
        // It starts with a clock that is wrong by years, as of a machine without a battery.
        AHEAD.set(10 * 365 * 86_400);
        let bench = Bench::start(with);
        tokio::time::sleep(5 * MINUTE).await;
        AHEAD.set(0);
        bench.period(1).await;
        bench.period(1).await;
        let (status, _) = bench.finish(MINUTE).await;
        let totals = status.totals;
        assert_eq!((totals.all_dropped(), totals.pending()), (0, 0), "{totals:?}");
    });
}
