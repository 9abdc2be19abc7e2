//! How long good scrapes take beside each kind of hostility that `tests/hostile_network.rs` tests with, and what memory
//! all of its clients cost.
//!
//! `cargo run --release -p hostgauge-bench --bin hostile -- [PATH of hostgauge] [SCRAPES]`

#[path = "../../../support/attacks.rs"]
mod attacks;
#[allow(dead_code, reason = "shared with the driver, which needs all of it")]
#[path = "../process.rs"]
mod process;
#[path = "../../../support/scrapes.rs"]
mod scrapes;
#[path = "../smaps.rs"]
mod smaps;

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Child,
    sync::atomic::{AtomicBool, Ordering},
    thread::{scope, sleep},
    time::Duration,
};

use attacks::ATTACKS;
use process::Scratch;
use scrapes::Scrapes;

const READY: Duration = Duration::from_secs(15);
/// Until an attack is what it will be.
const BUILD_UP: Duration = Duration::from_secs(1);

fn main() {
    if let Err(error) = run() {
        eprintln!("hostile: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), String> {
    let mut arguments = env::args().skip(1);
    let built = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/hostgauge"));
    let hostgauge = arguments.next().map_or(built.to_owned(), PathBuf::from);
    let hostgauge = hostgauge.canonicalize().map_err(|error| format!("{}: {error}", hostgauge.display()))?;
    let number = arguments.next().map_or(Ok(500), |text| text.parse()).map_err(|_| "expected a number of scrapes")?;
    println!(
        "| beside | anew, ms: p50 | p99 | max | kept alive, ms: p50 | p99 | max | failed | reconnected | memory, kB |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    row(&hostgauge, number, None)?;
    ATTACKS.iter().try_for_each(|attack| row(&hostgauge, number, Some(attack)))?;
    let load = fs::read_to_string("/proc/loadavg").map_err(|error| error.to_string())?;
    println!("\nLoad average at the end: {}", load.trim());
    Ok(())
}

/// Each attack has an agent of its own, so that none pays for the one before.
fn row(hostgauge: &Path, number: usize, attack: Option<&attacks::Attack>) -> Result<(), String> {
    let scratch = Scratch::new()?;
    let (mut agent, address) = start(hostgauge, &scratch)?;
    scrapes::each_anew(address, 50);
    let memory = || smaps::memory(&[agent.id()]).map(|memory| memory.private_dirty);
    let idle = memory()?;
    let done = AtomicBool::new(false);
    let (anew, kept, peak) = scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = idle;
            while !done.load(Ordering::Relaxed) {
                most = most.max(memory().unwrap_or(0));
                sleep(Duration::from_millis(20));
            }
            most
        });
        let running = attack.map(|attack| attack.start(address));
        sleep(BUILD_UP);
        let (anew, kept) = (scrapes::each_anew(address, number), scrapes::kept_alive(address, number));
        drop(running);
        done.store(true, Ordering::Relaxed);
        (anew, kept, watch.join().unwrap_or(idle))
    });
    let times = |scrapes: &Scrapes| {
        let ms = |share| format!("{:.2}", scrapes.at(share).as_secs_f64() * 1e3);
        [ms(0.5), ms(0.99), ms(1.0)].join(" | ")
    };
    println!(
        "| {} | {} | {} | {} | {} | {} |",
        attack.map_or("nothing", |attack| attack.name),
        times(&anew),
        times(&kept),
        anew.failures.len() + kept.failures.len(),
        kept.reconnected,
        (peak - idle) / 1024
    );
    process::stop(&mut agent, libc::SIGTERM).map(drop)
}

fn start(hostgauge: &Path, scratch: &Scratch) -> Result<(Child, SocketAddr), String> {
    let log = scratch.path().join("log");
    let mut command = process::command(hostgauge);
    let agent = process::spawn(command.args(["--prometheus-listen", "127.0.0.1:0"]), scratch, &log)?;
    let said = || fs::read_to_string(&log).unwrap_or_default();
    let address = process::poll(READY, || {
        let said = said();
        said.split_once("page: http://")?.1.split_once("/metrics")?.0.parse().ok()
    });
    address.map(|address| (agent, address)).ok_or_else(|| format!("no page; it said: {}", said()))
}
