//! Whatever the service answers, the ledger comes out even.

use super::*;

fn any_play() -> impl Strategy<Value = Play> {
    prop_oneof![
        6 => Just(Play::Accept),
        1 => Just(Play::Throttle),
        2 => Just(Play::Away),
        2 => Just(Play::Lost),
        1 => Just(Play::Hang),
        2 => Just(Play::Slow),
        1 => Just(Play::Deny),
        1 => Just(Play::TooLarge),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    // For all sequences of faults and restarts (clean ones, and kills at any moment): taken = published + pending +
    // dropped, every window that was taken is stored at the service or pending, and what is stored more than once was
    // counted as ambiguous.
    #[test]
    fn the_ledger_holds(
        runs in proptest::collection::vec((proptest::collection::vec(any_play(), 0..30), 1..12u32, any::<bool>()), 1..6)
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let fake = Fake::default();
        let mut periods = 0u64;
        let mut last = Duration::ZERO;
        for (plays, minutes, clean) in runs {
            in_time_after(last, async {
                let spool = Some(folder.path());
                let bench = Bench::with(With { names: &["a", "b"], spool, ..ONE }, fake.clone());
                bench.play(&plays);
                for _ in 0..minutes {
                    bench.period(10).await;
                    periods += 1;
                }
                tokio::time::sleep(Duration::from_secs(u64::from(minutes) * 7 % 60)).await;
                let status = if clean {
                    let (status, world) = bench.finish(Duration::from_secs(20)).await;
                    *fake.0.borrow_mut() = world;
                    status
                } else {
                    tokio::task::yield_now().await;
                    bench.running.abort();
                    let _ = bench.running.await;
                    bench.status.lock().expect("no panic").clone()
                };
                last = elapsed() + MINUTE;
                let totals = status.totals;
                assert_eq!(totals.taken, 2 * periods);
                assert_eq!(totals.taken, totals.published + totals.pending() + totals.all_dropped());
            });
        }
        // A last run with a healthy service brings everything home.
        in_time_after(last, async {
            fake.0.borrow_mut().plays.clear();
            let spool = Some(folder.path());
            let bench = Bench::with(With { names: &["a", "b"], spool, ..ONE }, fake.clone());
            tokio::time::sleep(2 * MINUTE).await;
            let (status, world) = bench.finish(MINUTE).await;
            let totals = status.totals;
            assert_eq!((totals.pending(), totals.all_dropped()), (0, 0));
            assert_eq!((totals.taken, totals.published), (2 * periods, 2 * periods));
            assert_eq!(world.stored.len() as u64, 2 * periods, "each series and minute");
            let twice: f64 = world.stored.values().map(|count| count / 10.0 - 1.0).sum();
            assert!(twice <= totals.ambiguous as f64, "{twice} twice, {} counted", totals.ambiguous);
        });
    }
}
