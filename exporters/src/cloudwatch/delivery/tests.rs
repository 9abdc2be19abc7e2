//! Delivery against a service of the tests' own, in a time that only moves when nothing else is to be done.

use std::cell::Cell;
use std::path::Path;

use metrics::{Key, Level, Metadata, Recorder as _};
use proptest::prelude::*;

use super::*;
use crate::datum::Resolution;
use crate::publication::{Labels, Published};
use crate::windows::{Keep, Windows};

mod ledger;
mod service;
mod time;

use service::{Fake, Play, World};

const MINUTE: Duration = Duration::from_secs(60);
/// Where every test's time begins: a full hour.
const START: Duration = Duration::from_secs(1_800_000_000);

thread_local! {
    /// When this test's time began, and how long after `START` that is.
    static ORIGIN: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    /// How many seconds the agent's wall clock is ahead.
    static AHEAD: Cell<i64> = const { Cell::new(0) };
}

/// Time since `START`.
fn elapsed() -> Duration {
    let (origin, after) = ORIGIN.get().expect("in a time");
    after + origin.elapsed()
}

fn true_clock() -> SystemTime {
    UNIX_EPOCH + START + elapsed()
}

/// The agent's wall clock.
fn clock() -> SystemTime {
    let (ahead, by) = (AHEAD.get(), Duration::from_secs(AHEAD.get().unsigned_abs()));
    if ahead < 0 { true_clock() - by } else { true_clock() + by }
}

/// A publisher, its service, and a program that sets gauges.
struct Bench {
    fake: Fake,
    status: Arc<Mutex<Status>>,
    windows: Windows,
    gauges: Vec<metrics::Gauge>,
    period: Duration,
    send: Option<mpsc::Sender<Message>>,
    deadline: watch::Sender<Option<Instant>>,
    running: tokio::task::JoinHandle<Spool>,
}

#[derive(Clone, Copy)]
struct With<'a> {
    names: &'a [&'a str],
    period: Duration,
    resolution: Resolution,
    spool: Option<&'a Path>,
}

const ONE: With<'static> = With { names: &["cpu"], period: MINUTE, resolution: Resolution::Minute, spool: None };

impl Bench {
    fn start(with: With<'_>) -> Self {
        Self::with(with, Fake::default())
    }

    fn with(with: With<'_>, fake: Fake) -> Self {
        let mut publication = Publication::new("n", vec![("Host".into(), "h".into())]).resolution(with.resolution);
        for name in with.names {
            let published = Published { name: (*name).into(), unit: None, labels: Labels::All };
            publication = publication.metric(*name, published);
        }
        let spool = match with.spool {
            Some(folder) => open(folder),
            None => Spool::in_memory(64 << 20),
        };
        let status = Arc::new(Mutex::new(Status::default()));
        let clock = Box::new(clock);
        let rhythm = Rhythm::of("h", with.period);
        let delivery = Delivery::new(fake.clone(), publication, spool, clock, Arc::clone(&status), rhythm);
        let (send, receive) = mpsc::channel(64);
        let (deadline, until) = watch::channel(None);
        let windows = Windows::new(with.names.iter().copied(), [(with.period, Keep::Values)]);
        let metadata = Metadata::new("test", Level::INFO, None);
        let gauges = with
            .names
            .iter()
            .map(|name| windows.register_gauge(&Key::from_name(name.to_string()), &metadata))
            .collect();
        windows.advance(clock_now(), |_| ());
        let running = tokio::task::spawn_local(delivery.run(receive, until));
        Self { fake, status, windows, gauges, period: with.period, send: Some(send), deadline, running }
    }

    fn play(&self, plays: &[Play]) -> &Self {
        self.fake.0.borrow_mut().plays.extend(plays);
        self
    }

    fn always(&self, play: Play) {
        self.fake.0.borrow_mut().then = Some(play);
    }

    /// One period with so many samples of each gauge, and its window on its way.
    async fn period(&self, samples: u32) {
        self.windows.advance(clock_now(), |_| ());
        for sample in 0..samples {
            self.gauges.iter().for_each(|gauge| gauge.set(f64::from(sample)));
        }
        tokio::time::sleep(self.period - Duration::from_millis(1)).await;
        let mut closed = Vec::new();
        self.windows.advance(clock_now(), |window| closed.push(Arc::clone(window)));
        for window in closed {
            let message = Message { window, overrun: 0 };
            self.send.as_ref().expect("not finished").send(message).await.expect("it runs");
        }
        // It is taken once everybody waits.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    async fn finish(mut self, patience: Duration) -> (Status, World) {
        self.deadline.send_replace(Some(Instant::now() + patience));
        self.send = None;
        let spool = self.running.await.expect("no panic");
        let status = self.status.lock().expect("no panic").clone();
        assert_eq!(spool.totals(), status.totals, "what is shown is what is");
        drop(spool);
        let world = self.fake.0.take();
        (status, world)
    }

    fn status(&self) -> Status {
        self.status.lock().expect("no panic").clone()
    }
}

fn clock_now() -> SystemTime {
    // Half an interval after the edge, as ticks are.
    clock() + Duration::from_millis(500)
}

/// The spool of a run that is over. Its lock may live on for a moment in a child that another test is just starting.
fn open(folder: &Path) -> Spool {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        match Spool::open(folder, 64 << 20) {
            Ok(spool) => return spool,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs in a time that jumps ahead whenever everybody waits.
fn in_time<T>(work: impl Future<Output = T>) -> T {
    in_time_after(Duration::ZERO, work)
}

/// The same, so long after `START`.
fn in_time_after<T>(after: Duration, work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime"), async {
        ORIGIN.set(Some((Instant::now(), after)));
        AHEAD.set(0);
        work.await
    })
}

#[test]
fn a_window_is_one_request_and_a_stop_sends_the_last_one() {
    in_time(async {
        let bench = Bench::start(With { names: &["cpu", "memory", "disk"], ..ONE });
        for _ in 0..5 {
            bench.period(60).await;
        }
        let (status, world) = bench.finish(Duration::from_secs(20)).await;
        assert_eq!((status.totals.taken, status.totals.published), (15, 15));
        assert_eq!(world.sizes, [3; 5], "one request a minute, the last at the stop");
        assert_eq!(world.stored.len(), 15);
        assert!(world.stored.values().all(|count| *count == 60.0));
        assert_eq!(status.requests, BTreeMap::from([("accepted", 5)]));
        assert_eq!((status.sent_bytes, status.uncompressed_bytes), (500, 5000));
        assert_eq!(status.oldest, None);
    });
}

#[test]
fn requests_keep_their_phase() {
    in_time(async {
        let bench = Bench::start(ONE);
        for _ in 0..6 {
            bench.period(1).await;
        }
        let (_, world) = bench.finish(MINUTE).await;
        let phases: Vec<f64> = world.times[..5].iter().map(|time| time.as_secs_f64() % 60.0).collect();
        let expected = phase("h", MINUTE).as_secs_f64();
        assert!(phases.iter().all(|phase| (phase - expected).abs() < 0.01), "{phases:?}, expected {expected}");
    });
}

#[test]
fn an_outage_costs_delay_only_and_the_newest_goes_first() {
    in_time(async {
        let bench = Bench::start(ONE);
        bench.always(Play::Away);
        for _ in 0..120 {
            bench.period(60).await;
        }
        let away = bench.status();
        assert_eq!((away.totals.taken, away.totals.published, away.totals.pending()), (120, 0, 120));
        let tries = bench.fake.0.borrow().sizes.len();
        assert!((110..320).contains(&tries), "{tries} in two hours: it backs off to a minute at most");
        assert!(bench.fake.0.borrow().sizes[5..].iter().all(|size| *size == 1), "an open circuit sends probes only");
        bench.always(Play::Accept);
        bench.period(60).await;
        bench.period(60).await;
        let now = bench.status();
        assert_eq!((now.totals.published, now.totals.ambiguous), (now.totals.taken - now.totals.pending(), 0));
        assert!(now.totals.pending() <= 1, "{:?}", now.totals);
        let (status, world) = bench.finish(MINUTE).await;
        assert_eq!(status.totals.published, 122);
        assert!(world.stored.values().all(|count| *count == 60.0), "nothing twice");
        let flat: Vec<u64> = world.starts[tries..].iter().flatten().copied().collect();
        let backlog = &flat[..100];
        assert!(backlog.windows(2).all(|pair| pair[0] > pair[1]), "newest first: {backlog:?}");
    });
}

#[test]
fn the_circuit_probes_with_one_record() {
    in_time(async {
        let bench = Bench::start(ONE);
        bench.always(Play::Away);
        for _ in 0..30 {
            bench.period(1).await;
        }
        bench.always(Play::Accept);
        let before = bench.fake.0.borrow().sizes.len();
        tokio::time::sleep(2 * MINUTE).await;
        let sizes = bench.fake.0.borrow().sizes[before..].to_vec();
        assert_eq!(sizes[0], 1);
        assert_eq!(sizes.len(), 2, "then the whole backlog at once: {sizes:?}");
    });
}

#[test]
fn what_is_lost_on_the_way_back_is_counted_as_ambiguous() {
    in_time(async {
        let bench = Bench::start(With { names: &["cpu", "memory"], ..ONE });
        bench.play(&[Play::Lost, Play::Hang]);
        for _ in 0..3 {
            bench.period(60).await;
        }
        let (status, world) = bench.finish(MINUTE).await;
        assert_eq!((status.totals.taken, status.totals.published, status.totals.ambiguous), (6, 6, 4));
        let twice = world.stored.values().filter(|count| **count > 60.0).count() as u64;
        assert_eq!(twice, 2, "the one that was stored without an answer");
        assert!(twice <= status.totals.ambiguous);
    });
}

#[test]
fn what_breaks_a_limit_is_counted_by_reason_and_costs_nothing_else() {
    in_time(async {
        let bench = Bench::start(With { names: &["good", "caf\u{e9}", "huge"], ..ONE });
        bench.gauges[2].set(1e300);
        bench.period(5).await;
        bench.gauges[2].set(1e300);
        bench.period(5).await;
        let (status, world) = bench.finish(MINUTE).await;
        let totals = status.totals;
        let dropped = (totals.dropped(Reason::InvalidName), totals.dropped(Reason::InvalidValue));
        assert_eq!((totals.taken, totals.published, dropped), (6, 2, (2, 2)));
        assert_eq!(world.sizes, [1, 1], "they were never sent");
    });
}

#[test]
fn a_poisoned_datum_is_set_aside_and_the_rest_is_sent() {
    for names_members in [true, false] {
        in_time(async {
            let names = ["a", "b", "c", "d", "e", "f", "g"];
            let bench = Bench::start(With { names: &names, ..ONE });
            bench.fake.0.borrow_mut().poison = vec!["d".into()];
            bench.fake.0.borrow_mut().names_members = names_members;
            bench.period(5).await;
            bench.period(5).await;
            let (status, world) = bench.finish(MINUTE).await;
            let totals = status.totals;
            assert_eq!((totals.taken, totals.published, totals.dropped(Reason::Refused)), (14, 12, 2));
            assert_eq!(totals.pending(), 0);
            assert_eq!(world.stored.len(), 12, "names members: {names_members}");
            assert!(world.stored.values().all(|count| *count == 5.0), "nothing twice");
        });
    }
}

#[test]
fn when_everything_is_refused_nothing_is_given_up() {
    in_time(async {
        let bench = Bench::start(With { names: &["a", "b"], ..ONE });
        bench.always(Play::Odd);
        for _ in 0..10 {
            bench.period(5).await;
        }
        assert_eq!(bench.status().totals.pending(), 20, "the fault is not one datum's");
        bench.always(Play::Accept);
        bench.period(5).await;
        let (status, world) = bench.finish(MINUTE).await;
        assert_eq!((status.totals.published, status.totals.all_dropped()), (22, 0));
        assert!(world.stored.values().all(|count| *count == 5.0));
    });
}

#[test]
fn a_request_that_is_too_large_is_cut() {
    in_time(async {
        let bench = Bench::start(With { names: &["a", "b", "c", "d"], ..ONE });
        bench.play(&[Play::TooLarge, Play::TooLarge]);
        bench.period(5).await;
        let (status, world) = bench.finish(MINUTE).await;
        assert_eq!(status.totals.published, 4);
        assert_eq!(world.sizes, [4, 2, 1, 1, 2]);
    });
    in_time(async {
        let bench = Bench::start(ONE);
        bench.play(&[Play::TooLarge, Play::TooLarge]);
        bench.period(5).await;
        let (status, _) = bench.finish(MINUTE).await;
        assert_eq!(status.totals.published, 1, "one datum is never too large: something else was wrong");
    });
}

#[test]
fn throttling_and_refused_credentials_cost_time_only() {
    for play in [Play::Throttle, Play::Deny] {
        in_time(async {
            let bench = Bench::start(ONE);
            bench.play(&[play; 5]);
            for _ in 0..10 {
                bench.period(3).await;
            }
            let (status, world) = bench.finish(MINUTE).await;
            assert_eq!((status.totals.published, status.totals.ambiguous), (10, 0), "{play:?}");
            assert!(world.stored.values().all(|count| *count == 3.0));
            assert_eq!(status.requests.values().sum::<u64>(), world.sizes.len() as u64);
        });
    }
}

#[test]
fn a_stop_in_an_outage_does_not_linger_and_leaves_all_in_the_spool() {
    let folder = tempfile::tempdir().expect("a folder");
    let with = With { spool: Some(folder.path()), ..ONE };
    in_time(async {
        let bench = Bench::start(with);
        bench.always(Play::Away);
        for _ in 0..3 {
            bench.period(60).await;
        }
        let before = Instant::now();
        let (status, _) = bench.finish(MINUTE).await;
        assert!(before.elapsed() < Duration::from_secs(1), "one try, and the rest is for the next start");
        assert_eq!(status.totals.pending(), 3);
    });
    in_time(async {
        let bench = Bench::start(with);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(bench.status().totals.published, 3, "the next start sends them at once");
        let (status, world) = bench.finish(MINUTE).await;
        assert_eq!((status.totals.taken, status.totals.pending()), (3, 0), "the ledger goes on");
        assert_eq!(world.stored.len(), 3);
    });
}

#[test]
fn a_stop_fights_for_the_last_window_until_its_deadline() {
    in_time(async {
        let bench = Bench::start(ONE);
        bench.period(60).await;
        bench.play(&[Play::Throttle, Play::Away]);
        let (status, _) = bench.finish(Duration::from_secs(20)).await;
        assert_eq!(status.totals.published, 1);
    });
    in_time(async {
        let bench = Bench::start(ONE);
        bench.period(60).await;
        bench.always(Play::Hang);
        let before = Instant::now();
        let (status, _) = bench.finish(Duration::from_secs(15)).await;
        assert_eq!(before.elapsed().as_secs(), 15, "no longer than it may");
        assert_eq!((status.totals.pending(), status.totals.taken), (1, 1));
        assert!(status.totals.ambiguous >= 1, "the request under way may still arrive");
    });
}

#[test]
fn a_large_window_is_cut_into_requests() {
    in_time(async {
        let names: Vec<String> = (0..2500).map(|number| format!("metric_{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let bench = Bench::start(With { names: &names, ..ONE });
        bench.period(3).await;
        let (status, world) = bench.finish(MINUTE).await;
        assert_eq!(status.totals.published, 2500);
        assert_eq!(world.sizes, [500, 1000, 1000]);
    });
}
