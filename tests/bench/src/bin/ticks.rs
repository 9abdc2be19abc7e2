//! How late ticks are at 10 Hz while every core has a busy loop (the second half of G5).
//!
//! `cargo run --release -p hostgauge-bench --bin ticks -- [SECONDS [BARS]]`: a row for the bar is appended to that file.

#[path = "../bars.rs"]
mod bars;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hostgauge::{Builder, CollectError, Collector, Sample};

const INTERVAL: Duration = Duration::from_millis(100);

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

fn main() {
    let seconds = std::env::args().nth(1).map_or(60, |text| text.parse().expect("a number of seconds"));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("| busy loops | ticks | median | p99 | p99.9 | latest | within 5 ms |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for loops in [0, cores] {
        let stop = Arc::new(AtomicBool::new(false));
        let busy: Vec<_> = (0..loops)
            .map(|_| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || while !stop.load(Ordering::Relaxed) {})
            })
            .collect();
        let late = Arc::new(Mutex::new(Vec::new()));
        let collector = Punctuality(Arc::clone(&late));
        let (_, hostgauge) = Builder::new().interval(INTERVAL).collector(collector).build().expect("it starts");
        std::thread::sleep(Duration::from_secs(seconds));
        drop(hostgauge);
        stop.store(true, Ordering::Relaxed);
        busy.into_iter().for_each(|thread| thread.join().expect("a busy loop ends"));

        // The base reading follows no schedule.
        let mut late = late.lock().expect("the sampler is gone").split_off(1);
        late.sort_unstable();
        let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
        let in_time = late.iter().filter(|late| **late <= Duration::from_millis(5)).count();
        if let (true, Some(path)) = (loops > 0, std::env::args().nth(2)) {
            let share = 100.0 * in_time as f64 / late.len() as f64;
            let what = "ticks within 5 ms at 10 Hz, a busy loop on every core, %";
            let row = bars::row(
                "G5",
                what,
                &format!("{share:.2} of {}", late.len()),
                "99.9",
                bars::verdict(share >= 99.9),
                "ticks",
            );
            bars::append(path.as_ref(), &row).expect("the file of bars");
        }
        println!(
            "| {loops} | {} | {:?} | {:?} | {:?} | {:?} | {:.2} % |",
            late.len(),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
            100.0 * in_time as f64 / late.len() as f64
        );
    }
}
