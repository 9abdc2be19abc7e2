//! What the GPU collector costs on the double of NVIDIA's library, beside the bare calls that it makes, and how much it
//! allocates. Nothing here ever ran on a real GPU, whose calls cost what its driver costs.
//!
//! `cargo run --release -p hostgauge-bench --bin gpus -- [TICKS]`

use std::{env, path::Path, process::Command, thread::sleep, time::Duration};

use hostgauge_collectors::{Collector, Emitter, Gpu, GpuSelection, Sample, collect_and_emit};
use nvidia_ml_double::{CALLS, Gpu as Played, Load, SCENARIO, Scenario};

#[path = "gpus/bare.rs"]
mod bare;
#[path = "../../../support/counting.rs"]
#[allow(dead_code)]
mod counting;

use bare::Bare;

const COUNTS: [usize; 3] = [1, 8, 64];
/// Between two ticks: long enough for caches to cool down, as in use.
const PAUSE: Duration = Duration::from_millis(50);
/// Until rings have their size and every label was seen.
const WARM_UP: usize = 20;

fn main() -> Result<(), String> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // A process for each number of GPUs, since the double keeps its state in the process.
        ["measure", gpus, ticks] => measure(gpus, number(ticks)?),
        ["calls", _] => calls(),
        [] => all("40"),
        [ticks] => all(ticks),
        _ => Err("expected nothing, or a number of ticks".into()),
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| format!("{text}: expected a number of ticks"))
}

fn all(ticks: &str) -> Result<(), String> {
    number(ticks)?;
    println!("CPU of one tick in us, least (median) of {ticks} ticks; heap allocations in all of them.\n");
    println!("| GPUs | hostgauge | bare calls | ratio | own, per GPU | allocations |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    let folder = env::temp_dir().join(format!("hostgauge-gpus-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let outcome = COUNTS.into_iter().try_for_each(|gpus| {
        let path = folder.join(format!("{gpus}.toml"));
        scenario(gpus).write(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        ourselves(&["measure", &gpus.to_string(), ticks], &path, None)
    });
    let counts = folder.join("calls");
    let outcome = outcome.and_then(|()| ourselves(&["calls", "1"], &folder.join("1.toml"), Some(&counts)));
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

fn scenario(gpus: usize) -> Scenario {
    let gpu = |index: usize| {
        let uuid = format!("GPU-11111111-2222-3333-4444-{index:012}");
        Played { load: Load::Percent(50.0), ..Played::new(&uuid, &format!("00000000:{:02X}:00.0", 16 + index)) }
    };
    Scenario { gpus: (0..gpus).map(gpu).collect(), ..Scenario::default() }
}

fn ourselves(arguments: &[&str], scenario: &Path, counts: Option<&Path>) -> Result<(), String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(arguments).env(SCENARIO, scenario).env_remove(CALLS);
    command.envs(counts.map(|path| (CALLS, path)));
    let status = command.status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("{arguments:?}: {status}")) }
}

/// The collector with what carries its samples into the facade.
struct Ours {
    collector: Gpu,
    emitter: Emitter,
    samples: Vec<Sample>,
}

impl Ours {
    fn new() -> Result<Self, String> {
        let library = nvidia_ml_double::library().map_err(|error| error.to_string())?;
        let collector = Gpu::new(GpuSelection::All, Some(library));
        Ok(Self { collector, emitter: Emitter::default(), samples: Vec::new() })
    }

    fn tick(&mut self) -> Result<(), String> {
        let collector: &mut dyn Collector = &mut self.collector;
        collect_and_emit(collector, &mut self.emitter, &mut self.samples).map_err(|error| error.to_string())
    }
}

fn measure(gpus: &str, ticks: usize) -> Result<(), String> {
    let (mut ours, mut bare) = (Ours::new()?, Bare::new()?);
    for _ in 0..WARM_UP {
        sleep(PAUSE);
        ours.tick()?;
        bare.tick()?;
    }
    let (mut ours_us, mut bare_us, mut allocations) = (Vec::new(), Vec::new(), 0);
    ours_us.reserve(ticks);
    for _ in 0..ticks {
        sleep(PAUSE);
        let before = (cpu_us(), counting::so_far());
        ours.tick()?;
        allocations += counting::so_far() - before.1;
        ours_us.push(cpu_us() - before.0);
        sleep(PAUSE);
        let before = cpu_us();
        bare.tick()?;
        bare_us.push(cpu_us() - before);
    }
    let ((ours, ours_median), (bare, bare_median)) = (of(&mut ours_us), of(&mut bare_us));
    let own = (ours - bare) / gpus.parse::<f64>().map_err(|error| error.to_string())?;
    let (ratio, ratio_median) = (ours / bare, ours_median / bare_median);
    print!("| {gpus} | {ours:.0} ({ours_median:.0}) | {bare:.0} ({bare_median:.0}) ");
    println!("| {ratio:.2} ({ratio_median:.2}) | {own:.1} | {allocations} |");
    Ok(())
}

/// The least and the median.
fn of(times: &mut [f64]) -> (f64, f64) {
    times.sort_unstable_by(f64::total_cmp);
    (times.first().copied().unwrap_or(f64::NAN), times.get(times.len() / 2).copied().unwrap_or(f64::NAN))
}

/// Says where the bare calls are not those of the collector any more: then the ratio compares unlike things.
fn calls() -> Result<(), String> {
    let (mut ours, mut bare) = (Ours::new()?, Bare::new()?);
    (0..3).try_for_each(|_| ours.tick().and_then(|()| bare.tick()))?;
    let path = env::var_os(CALLS).ok_or_else(|| format!("{CALLS} is not set"))?;
    let counts = || nvidia_ml_double::calls(Path::new(&path)).map_err(|error| error.to_string());
    let before = counts()?;
    ours.tick()?;
    let between = counts()?;
    bare.tick()?;
    let after = counts()?;
    println!();
    for (name, count) in &between {
        let made = (count - before[name], after[name] - count);
        if made.0 != made.1 {
            println!(
                "{name}: {} calls of hostgauge, {} bare ones. Bring src/bin/gpus/bare.rs up to date.",
                made.0, made.1
            );
        }
    }
    let made: u64 = between.iter().map(|(name, count)| count - before[name]).sum();
    println!("A tick of one GPU makes {made} calls.");
    Ok(())
}

/// CPU time of this thread.
fn cpu_us() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to room for one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}
