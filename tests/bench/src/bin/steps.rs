//! The steps of the agent's work, so many times over, for a tool that counts instructions. What is counted is the
//! difference between two numbers of rounds, so starting costs nothing; and nothing here looks at a clock for longer
//! than it must, so that two runs count the same. `tests/gates.rs` runs it under callgrind.
//!
//! `steps (sample|container|page|scrape|window) ROUNDS`

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use hostgauge::{Collector, Device, Roots, Sample, Scope, catalogue};
use hostgauge_collectors::{Cpu, Disk, Emitter, Memory, Scoped, choose_scopes, collect_and_emit};
use hostgauge_exporters::prometheus::{Encoding, Format, Page, PageBuilder, PageRecorder, Server, Site};
use hostgauge_exporters::windows::{Keep, Windows};
use metrics::{Key, Label, Level, Metadata, Recorder as _};

const MINUTE: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [step, rounds] = &arguments[..] else { panic!("usage: steps STEP ROUNDS") };
    let rounds = rounds.parse().expect("a number of rounds");
    match step.as_str() {
        "sample" => sample(rounds),
        "container" => container(rounds),
        "page" => page(rounds),
        "scrape" => scrape(rounds),
        "window" => window(rounds),
        _ => panic!("{step}: expected sample, container, page, scrape or window"),
    }
}

/// A tick of the machine: CPU of two cores, memory and a file system, into the page. The kernel's counters grow.
fn sample(rounds: u64) {
    let tree = Tree::new();
    let roots = tree.roots();
    let mut disk = Disk::new(&roots, &["/".into()], Duration::from_secs(1));
    // A thread of its own gives the first answer, sooner or later: the rounds begin after it.
    let mut answer = Vec::new();
    while answer.is_empty() {
        disk.collect(&mut answer).expect("a file system");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut collectors: [Box<dyn Collector>; 3] =
        [Box::new(Cpu::new(&roots)), Box::new(Memory::new(&roots)), Box::new(disk)];
    tick(rounds, &mut collectors, |round| tree.at(round));
}

/// A tick of a container: its cgroup's CPU, memory, limits, pressure and I/O beside the cores, into the page.
fn container(rounds: u64) {
    let tree = Tree::new();
    let roots = tree.roots();
    let chosen = choose_scopes(&[Scope::Container], &roots).expect("a cgroup");
    let mut collectors: [Box<dyn Collector>; 2] =
        [Box::new(Cpu::of_cores(&roots)), Box::new(Scoped::new(&roots, &chosen))];
    tick(rounds, &mut collectors, |round| tree.at(round));
}

fn tick(rounds: u64, collectors: &mut [Box<dyn Collector>], before: impl Fn(u64)) {
    let (recorder, page) = exporter();
    let mut emitters: Vec<Emitter> = collectors.iter().map(|_| Emitter::default()).collect();
    let mut samples = Vec::new();
    metrics::with_local_recorder(&recorder, || {
        for round in 0..rounds {
            before(round);
            page.update(|| {
                for (collector, emitter) in collectors.iter_mut().zip(&mut emitters) {
                    collect_and_emit(collector.as_mut(), emitter, &mut samples).expect("a reading");
                }
            });
        }
    });
}

/// A page rendered anew, plain and gzip, after each tick.
fn page(rounds: u64) {
    let (recorder, page) = exporter();
    let mut emitter = Emitter::default();
    let mut bytes = 0;
    metrics::with_local_recorder(&recorder, || {
        for round in 0..rounds {
            page.update(|| emitter.emit(&samples(round)));
            bytes += page.get(Format::Text, Encoding::Identity).len();
            bytes += page.get(Format::Text, Encoding::Gzip).len();
        }
    });
    println!("{bytes} bytes");
}

/// A scrape that is served from memory, with Prometheus' headers over one connection; both sides of it are counted.
fn scrape(rounds: u64) {
    let (recorder, page) = exporter();
    metrics::with_local_recorder(&recorder, || page.update(|| Emitter::default().emit(&samples(0))));
    let server = Server::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = server.address().expect("it listens");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let site = Site { page, landing: "".into(), files: &[], live: None, ready: Box::new(|| true) };
        runtime.block_on(server.serve(site, std::future::pending()))
    });
    let mut client = TcpStream::connect(address).expect("connected");
    let request = "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text;version=1.0.0;q=0.5,\
                   text/plain;version=0.0.4;q=0.3,*/*;q=0.1\r\nAccept-Encoding: gzip\r\n\r\n";
    let mut answer = [0; 64 * 1024];
    for _ in 0..rounds {
        client.write_all(request.as_bytes()).expect("sent");
        assert!(client.read(&mut answer).expect("an answer") > 500);
    }
}

/// A minute of 25 series, 60 samples each: recorded, and the window closed with its values.
fn window(rounds: u64) {
    const METRIC: &str = "steps_percent";
    let windows = Windows::new([METRIC], [(MINUTE, Keep::Values)]);
    let metadata = Metadata::new("steps", Level::INFO, None);
    let gauges: Vec<_> = (0..25)
        .map(|n| {
            let key = Key::from_parts(METRIC, vec![Label::new("device", format!("device-{n}"))]);
            windows.register_gauge(&key, &metadata)
        })
        .collect();
    let mut noise = Noise(1);
    let mut values = 0;
    let start = UNIX_EPOCH + Duration::from_secs(1_699_999_980);
    windows.advance(start + MINUTE / 120, |_| ());
    for round in 0..rounds {
        for _ in 0..60 {
            gauges.iter().for_each(|gauge| gauge.set(noise.percent()));
        }
        windows.advance(start + MINUTE * (round as u32 + 1) + MINUTE / 120, |window| {
            values += window.series.iter().map(|series| series.values.len()).sum::<usize>();
        });
    }
    assert_eq!(values as u64, rounds * 25 * 60);
}

fn exporter() -> (PageRecorder, Page) {
    let mut builder = PageBuilder::default().label("Host", "steps/algo-1");
    for row in catalogue::ALL {
        builder = builder.family(row.name, row.kind == hostgauge::Kind::Counter);
    }
    builder.build().expect("good settings")
}

/// One sample of every metric without labels and of each core's, with other digits in every round.
fn samples(round: u64) -> Vec<Sample> {
    let mut noise = Noise(round + 1);
    let cores = ["0", "1"].map(|core| Device::new([core]));
    let mut all = Vec::new();
    for row in catalogue::ALL.iter().copied().filter(|row| row.window_of.is_none()) {
        match row.labels {
            [] => all.push(Sample::new(row, noise.percent())),
            ["core"] => all.extend(cores.iter().map(|core| Sample::of(row, core, noise.percent()))),
            _ => {}
        }
    }
    all
}

/// A /proc and a /sys of two cores in which this process is in a cgroup of version 2.
struct Tree {
    folder: PathBuf,
    stat: File,
    cgroup: File,
}

impl Tree {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("hostgauge-steps-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/proc/two-cores"));
        for name in ["stat", "meminfo"] {
            write(&format!("proc/{name}"), &std::fs::read_to_string(fixtures.join(name)).expect("a fixture"));
        }
        for (path, text) in [
            ("proc/self/mountinfo", "9 1 0:9 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            ("proc/self/cgroup", "0::/job\n"),
            ("sys/devices/system/cpu/online", "0-1\n"),
            ("sys/fs/cgroup/job/cpu.stat", ""),
            ("sys/fs/cgroup/job/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/job/cpuset.cpus.effective", "0-1\n"),
            ("sys/fs/cgroup/job/memory.current", "94371840\n"),
            ("sys/fs/cgroup/job/memory.stat", "anon 52428800\nfile 41943040\ninactive_file 31457280\n"),
            ("sys/fs/cgroup/job/memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n"),
            ("sys/fs/cgroup/job/memory.max", "268435456\n"),
            ("sys/fs/cgroup/job/io.stat", "8:0 rbytes=1 wbytes=2 rios=1 wios=1\n"),
            ("sys/fs/cgroup/job/cpu.pressure", "some avg10=0.00 total=3\nfull avg10=0.00 total=0\n"),
            ("sys/fs/cgroup/job/memory.pressure", "some avg10=0.00 total=3\nfull avg10=0.00 total=0\n"),
            ("sys/fs/cgroup/job/io.pressure", "some avg10=0.00 total=3\nfull avg10=0.00 total=0\n"),
        ] {
            write(path, text);
        }
        let open = |path: &str| File::options().write(true).open(folder.join(path)).expect("open");
        let tree = Self { stat: open("proc/stat"), cgroup: open("sys/fs/cgroup/job/cpu.stat"), folder: folder.clone() };
        tree.at(0);
        tree
    }

    fn roots(&self) -> Roots {
        Roots { procfs: self.folder.join("proc"), sysfs: self.folder.join("sys"), rootfs: "/".into() }
    }

    /// The counters as they are in this round; of one length, so the files are never cut.
    fn at(&self, round: u64) {
        let row = |name: &str, cores: u64| {
            let (busy, idle) = (100_000 + round * 30 * cores, 800_000 + round * 70 * cores);
            format!("{name} {busy:09} 0 {busy:09} {idle:09} 351 0 32 44 0 0\n")
        };
        let text = row("cpu ", 2) + &row("cpu0", 1) + &row("cpu1", 1);
        self.stat.write_all_at(text.as_bytes(), 0).expect("written");
        let used = 1_000_000 + round;
        let text = format!("usage_usec {used:012}\nnr_periods 000010\nnr_throttled 000001\nthrottled_usec 000001\n");
        self.cgroup.write_all_at(text.as_bytes(), 0).expect("written");
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Percent with every digit in use; the same in every run.
struct Noise(u64);

impl Noise {
    fn percent(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 / (1u64 << 53) as f64 * 1e8).round() / 1e6
    }
}
