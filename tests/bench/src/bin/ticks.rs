//! How late ticks are at 10 Hz while every core has a busy loop (the second half of G5), and beside them how late the
//! kernel wakes a thread that only sleeps: nobody can be earlier than that on this machine.
//!
//! `cargo run --release -p hostgauge-bench --bin ticks -- [SECONDS [BARS]]`: a row for the bar is appended to that file.

#[path = "../bars.rs"]
mod bars;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hostgauge::{Builder, CollectError, Collector, Sample};

const INTERVAL: Duration = Duration::from_millis(100);
const IN_TIME: Duration = Duration::from_millis(5);

/// Notes when it is called. Ticks are due half an interval off the wall clock's boundaries, so the time itself says how
/// late one is.
struct Punctuality(Arc<Mutex<Vec<Duration>>>);

impl Collector for Punctuality {
    fn name(&self) -> &'static str {
        "punctuality"
    }

    fn collect(&mut self, _: &mut Vec<Sample>) -> Result<(), CollectError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let late = (now + INTERVAL / 2).as_nanos() % INTERVAL.as_nanos();
        self.0.lock().expect("no other holder panics").push(Duration::from_nanos(late as u64));
        Ok(())
    }
}

/// Sleeps from one moment to the next until `stop`, and tells how late it woke each time.
fn sleeper(stop: &AtomicBool) -> Vec<Duration> {
    let mut late = Vec::new();
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        due += INTERVAL;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        late.push(due.elapsed());
    }
    late
}

/// Of what is known to be late by how much.
struct Spread(Vec<Duration>);

impl Spread {
    fn of(mut late: Vec<Duration>) -> Self {
        late.sort_unstable();
        Self(late)
    }

    fn at(&self, share: f64) -> Duration {
        self.0[((self.0.len() - 1) as f64 * share) as usize]
    }

    /// In percent.
    fn in_time(&self) -> f64 {
        100.0 * self.0.iter().filter(|late| **late <= IN_TIME).count() as f64 / self.0.len() as f64
    }

    fn print(&self, loops: usize, what: &str) {
        let [median, p99, p999, latest] = [0.5, 0.99, 0.999, 1.0].map(|share| self.at(share));
        let (number, in_time) = (self.0.len(), self.in_time());
        println!("| {loops} | {what} | {number} | {median:?} | {p99:?} | {p999:?} | {latest:?} | {in_time:.2} % |");
    }
}

/// The ticks of an agent and the wake-ups of a sleeper of the same time, beside so many busy loops.
fn measure(seconds: u64, loops: usize) -> (Spread, Spread) {
    let stop = AtomicBool::new(false);
    let late = Arc::new(Mutex::new(Vec::new()));
    let bare = std::thread::scope(|scope| {
        for _ in 0..loops {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        let bare = scope.spawn(|| sleeper(&stop));
        let collector = Punctuality(Arc::clone(&late));
        let (_, hostgauge) = Builder::new().interval(INTERVAL).collector(collector).build().expect("it starts");
        std::thread::sleep(Duration::from_secs(seconds));
        drop(hostgauge);
        stop.store(true, Ordering::Relaxed);
        bare.join().expect("the sleeper ends")
    });
    // The base reading follows no schedule.
    let ticks = late.lock().expect("the sampler is gone").split_off(1);
    (Spread::of(ticks), Spread::of(bare))
}

fn main() {
    let seconds = std::env::args().nth(1).map_or(60, |text| text.parse().expect("a number of seconds"));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("| busy loops | what | times | median | p99 | p99.9 | latest | within 5 ms |");
    println!("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for loops in [0, cores] {
        let (ticks, bare) = measure(seconds, loops);
        ticks.print(loops, "ticks");
        bare.print(loops, "a bare sleep");
        if let (true, Some(path)) = (loops > 0, std::env::args().nth(2)) {
            let (ours, floor) = (ticks.in_time(), bare.in_time());
            let what = "ticks within 5 ms at 10 Hz, a busy loop on every core, %";
            let value = format!("{ours:.2} of {} (a bare sleep beside them {floor:.2})", ticks.0.len());
            let row = bars::row("G5", what, &value, "99.9", bars::verdict(ours >= 99.9), "ticks");
            bars::append(path.as_ref(), &row).expect("the file of bars");
        }
    }
}
