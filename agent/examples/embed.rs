//! A program that measures the host it runs on, beside its own metrics.
//!
//! `cargo run --example embed`, then look at the address that it prints.

#![allow(clippy::print_stdout)] // an example talks to whoever runs it

use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hostgauge = hostgauge::Builder::new().listen("127.0.0.1:0".parse()?).install()?;
    if let Some(address) = hostgauge.address() {
        println!("http://{address}/metrics for 30 seconds");
    }

    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(30) {
        let begin = Instant::now();
        std::thread::sleep(Duration::from_millis(250)); // the work
        metrics::counter!("jobs_total").increment(1);
        metrics::gauge!("queue_depth").set(3.0);
        metrics::histogram!("job_seconds").record(begin.elapsed());
    }
    Ok(()) // hostgauge stops here
}
