//! Is a burst of 250 ms on one core seen in the maximum (G13)? The real collector and the real window stage over the
//! real kernel, at 100 ms; windows of one second instead of fifteen, so that a hundred trials take minutes.
//!
//! `cargo run --release -p hostgauge-bench --bin bursts -- [TRIALS [BARS]]`: a row for the bar is appended to that file.

#[path = "../bars.rs"]
mod bars;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hostgauge::{Collector, Roots};
use hostgauge_collectors::{Cpu, Emitter, collect_and_emit};
use hostgauge_exporters::windows::{Keep, Windows};

const TICK: Duration = Duration::from_millis(100);
const WINDOW: Duration = Duration::from_secs(2);
const BURST: Duration = Duration::from_millis(250);

fn main() {
    let trials: usize = std::env::args().nth(1).map_or(100, |text| text.parse().expect("a number of trials"));
    let windows = Windows::new(["hostgauge_cpu_utilization_percent"], [(WINDOW, Keep::Statistics)]);
    let mut cpu = Cpu::new(&Roots::default());
    let (mut emitter, mut samples) = (Emitter::default(), Vec::new());
    let (mut maxima, mut means) = (Vec::new(), Vec::new());
    let mut bursts_in_window = false;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // A generator of our own: steps through the phases of a tick evenly enough, the same in every run.
    let mut phase = 0u64;
    metrics::with_local_recorder(&windows, || {
        while maxima.len() < trials {
            let into_tick = Duration::from_nanos((now().as_nanos() % TICK.as_nanos()) as u64);
            std::thread::sleep((TICK * 3 / 2 - into_tick).min(TICK * 3 / 2));
            windows.advance(SystemTime::now(), |window| {
                if window.complete && bursts_in_window {
                    let set = &window.series[0].statistics;
                    maxima.push(set.maximum().unwrap_or(f64::NAN));
                    means.push(set.mean().unwrap_or(f64::NAN));
                }
            });
            let into_window = now().as_nanos() % WINDOW.as_nanos();
            if into_window < TICK.as_nanos() {
                phase = (phase + 37) % 100;
                let wait = Duration::from_millis(500 + phase);
                bursts_in_window = true;
                std::thread::spawn(move || {
                    std::thread::sleep(wait);
                    let start = Instant::now();
                    while start.elapsed() < BURST {}
                });
            }
            // The collector fails only where there is no /proc/stat.
            collect_and_emit(&mut cpu as &mut dyn Collector, &mut emitter, &mut samples).expect("/proc/stat");
        }
    });
    let seen = maxima.iter().filter(|max| **max >= 90.0).count();
    let lowest = maxima.iter().copied().fold(f64::INFINITY, f64::min);
    println!("bursts seen in the maximum (90 % or more): {seen} of {trials}; the lowest maximum: {lowest:.1} %");
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    if let Some(path) = std::env::args().nth(2) {
        let what = format!("bursts of 250 ms seen, of {trials}");
        let row =
            bars::row("G13", &what, &seen.to_string(), &trials.to_string(), bars::verdict(seen == trials), "bursts");
        bars::append(path.as_ref(), &row).expect("the file of bars");
    }
    println!("the mean of the same windows, which is what a counter's rate shows: {mean:.1} %");
}
