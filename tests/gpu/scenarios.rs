//! Each fault that a driver is known for, and what the page says before, during and after it: one agent goes through
//! all of them, so that each also shows that the one before left nothing behind.
//!
//! The table is tests/golden/gpu_scenarios.md. What lasts and what comes after is right when the page says it for two
//! ticks in a row.

use std::collections::BTreeMap;
use std::fs;

use nvidia_ml_double::{Event, Instance, Mig};

use super::*;

const GOLDEN: &str = "golden/gpu_scenarios.md";
/// Without a golden table: what the page says for so long is taken for what it will go on saying.
const SETTLED: Duration = Duration::from_millis(2500);
const HEAD: &str = "| fault | before | during | after |\n| --- | --- | --- | --- |\n";
/// What only grows: how much it grew since the cell before stands in the cell.
const GROWING: [(&str, &str); 5] = [
    ("hostgauge_gpu_xid_errors_total", "XIDs"),
    ("hostgauge_gpu_losses_total", "losses"),
    ("hostgauge_gpu_mig_changes_total", "MIG changes"),
    ("hostgauge_gpu_samples_rejected_total", "samples rejected"),
    ("hostgauge_gpu_source_disagreements_total", "ring and GPM differ"),
];
/// Those that go on growing until the fault has ended, which a cell cannot know.
const ONGOING: [&str; 2] = ["samples rejected", "ring and GPM differ"];

type Change = fn(&mut Stage);

/// A fault, and how it ends.
struct Case {
    title: &'static str,
    begin: Change,
    end: Change,
    /// Whether it lasts until it is ended: what passes by itself is seen once.
    lasts: bool,
}

const fn case(title: &'static str, begin: Change, end: Change) -> Case {
    Case { title, begin, end, lasts: true }
}

const CASES: &[Case] = &[
    case("a GPU is lost (15)", |stage| stage.state(State::Lost), heal),
    case("a GPU needs a reset (16)", |stage| stage.state(State::ResetRequired), heal),
    case("a GPU permits nothing (4)", |stage| stage.state(State::NoPermission), heal),
    case("a GPU supports nothing (3)", |stage| stage.state(State::NotSupported), heal),
    case("a GPU's calls fail without a meaning (999)", |stage| stage.state(State::Unknown), heal),
    case("the device cgroup is closed for one GPU (17)", |stage| stage.fault(error("*", 17, Some(0))), heal),
    case("every GPU is lost", |stage| stage.all(|gpu| gpu.state = State::Lost), heal),
    case("an XID 79, then the GPU is lost", |stage| stage.fall(), heal),
    case("utilization is not supported (3)", |stage| stage.first(|gpu| gpu.support.utilization = false), heal),
    case("utilization and GPM are not supported (3)", |stage| stage.first(cannot), heal),
    case(
        "memory answers no permission (4)",
        |stage| stage.fault(error("nvmlDeviceGetMemoryInfo_v2", 4, Some(0))),
        heal,
    ),
    case("every other sample says 808334905 %", |stage| stage.first(|gpu| gpu.ring.garbage_every = 2), heal),
    case("every sample says 808334905 %, no GPM", |stage| stage.first(garbage_only), heal),
    case("every sample says 95 % where GPM says 30 %", |stage| stage.first(wrong), heal),
    case("an idle GPU's ring runs dry", |stage| stage.first(dry), heal),
    case("a busy GPU's ring is silent (6)", |stage| stage.fault(error("nvmlDeviceGetSamples", 6, Some(0))), heal),
    case("one call about one GPU hangs", |stage| stage.fault(hang("nvmlDeviceGetMemoryInfo_v2", Some(0))), heal),
    case("every call hangs", |stage| stage.fault(hang("*", None)), heal),
    Case { title: "the driver is replaced", begin: |stage| stage.driver(None), end: |_| {}, lasts: false },
    case("the driver is unloaded (init 9)", |stage| stage.driver(Some(9)), heal),
    case("library and kernel module differ (init 18)", |stage| stage.driver(Some(18)), heal),
    case("the driver finds no GPU (init 28)", |stage| stage.driver(Some(28)), heal),
    case("a library without nvmlDeviceGetSamples comes", |stage| stage.without("nvmlDeviceGetSamples"), whole_library),
    case("a library without nvmlInit_v2 comes", |stage| stage.without("nvmlInit_v2"), whole_library),
    case("MIG is turned on", |stage| stage.first(|gpu| gpu.mig = cut(1)), |_| {}),
    case("MIG is cut up anew", |stage| stage.first(|gpu| gpu.mig = cut(2)), heal),
    case("MIG is turned on, before Hopper", |stage| stage.first(old_mig), heal),
    case("a GPU is taken out", |stage| stage.take_out(), heal),
    case("standby; a GPU is taken out", |stage| stage.stand_by(), |stage| stage.agent.signal("USR2")),
    case("a GPU is put in", heal, |_| {}),
];

fn error(function: &str, code: u32, gpu: Option<usize>) -> Fault {
    Fault { function: function.to_owned(), gpu, error: Some(code), ..Fault::default() }
}

fn hang(function: &str, gpu: Option<usize>) -> Fault {
    Fault { function: function.to_owned(), gpu, hang: true, ..Fault::default() }
}

fn cannot(gpu: &mut Gpu) {
    (gpu.support.utilization, gpu.support.gpm) = (false, false);
}

fn garbage_only(gpu: &mut Gpu) {
    (gpu.ring.garbage_every, gpu.support.gpm) = (1, false);
}

fn wrong(gpu: &mut Gpu) {
    (gpu.ring.garbage_every, gpu.ring.garbage_value) = (1, 95);
}

fn dry(gpu: &mut Gpu) {
    (gpu.load, gpu.ring.dry_after_s, gpu.support.gpm) = (Load::Percent(0.0), Some(0.5), false);
}

fn cut(number: u64) -> Option<Mig> {
    let uuid = format!("MIG-11111111-2222-3333-4444-{number:012}");
    let (load, memory) = (Load::Percent(40.0), nvidia_ml_double::Memory::default());
    let instance = Instance { slot: 0, uuid, gi: 7, ci: 0, slices: 3, load, memory };
    Some(Mig { instances: vec![instance], ..Mig::default() })
}

fn old_mig(gpu: &mut Gpu) {
    (gpu.mig, gpu.support.gpm) = (cut(3), false);
}

/// All is well, on whatever driver there is.
fn heal(stage: &mut Stage) {
    let well = stage.well.clone();
    stage.machine.change(|scenario| {
        let version = scenario.driver.version.clone();
        // Events are a list that grows; a shorter one would play them anew.
        let events = scenario.gpus.first().map(|gpu| gpu.events.clone()).unwrap_or_default();
        *scenario = well;
        scenario.driver.version = version;
        scenario.gpus[0].events = events;
    });
}

fn whole_library(stage: &mut Stage) {
    fs::copy(library().expect("the double"), stage.library().with_extension("next")).expect("a copy");
    stage.swap();
}

/// The machine with its agent.
struct Stage {
    machine: Machine,
    agent: Agent,
    well: Scenario,
    drivers: u32,
    /// What only grows, at the cell before.
    before: BTreeMap<&'static str, f64>,
    /// While a fault lasts.
    during: bool,
}

impl Stage {
    fn new() -> Self {
        let mut machine = Machine::new(&[(A, Load::Percent(30.0)), (B, Load::Percent(60.0))]);
        // Several samples in each short tick.
        machine.change(|scenario| scenario.gpus.iter_mut().for_each(|gpu| gpu.ring.period_us = 50_000));
        let path = library_of(&machine);
        fs::copy(library().expect("the double"), &path).expect("a copy");
        let args = ["--prometheus-listen", "127.0.0.1:0", "--interval", "200ms", "--nvml-library"];
        let mut command = hostgauge(&args);
        command.arg(path).env(SCENARIO, machine.path());
        let agent = Agent::spawn(command);
        let well = machine.scenario.clone();
        Self { machine, agent, well, drivers: 0, before: BTreeMap::new(), during: false }
    }

    fn library(&self) -> PathBuf {
        library_of(&self.machine)
    }

    fn all(&mut self, change: fn(&mut Gpu)) {
        self.machine.change(|scenario| scenario.gpus.iter_mut().for_each(change));
    }

    fn first(&mut self, change: fn(&mut Gpu)) {
        self.machine.change(|scenario| change(&mut scenario.gpus[0]));
    }

    fn state(&mut self, state: State) {
        self.machine.change(|scenario| scenario.gpus[0].state = state);
    }

    fn fault(&mut self, fault: Fault) {
        self.machine.change(|scenario| scenario.faults.push(fault));
    }

    fn fall(&mut self) {
        self.machine.change(|scenario| {
            scenario.gpus[0].events.push(Event::xid(79));
            scenario.gpus[0].state = State::Lost;
        });
    }

    fn take_out(&mut self) {
        self.machine.change(|scenario| scenario.gpus.truncate(1));
    }

    fn stand_by(&mut self) {
        self.agent.signal("USR1");
        self.agent.wait_for(SOON, "standby", |page| page.get("hostgauge_gpu_standby", &[]).filter(|on| *on == 1.0));
        self.take_out();
    }

    /// Another version of the driver below the library, which may refuse to start.
    fn driver(&mut self, init_error: Option<u32>) {
        self.drivers += 1;
        let version = format!("590.10.{:02}", self.drivers);
        self.machine.change(|scenario| {
            scenario.driver.version = version;
            scenario.driver.init_error = init_error;
        });
    }

    fn without(&mut self, function: &str) {
        let next = self.library().with_extension("next");
        without_symbol(&library().expect("the double"), function, &next).expect("a copy");
        self.swap();
    }

    /// As a package manager puts a library in the place of one that is in use.
    fn swap(&mut self) {
        fs::rename(self.library().with_extension("next"), self.library()).expect("renamed");
        self.driver(None);
    }

    fn grown(&self, page: &Page) -> BTreeMap<&'static str, f64> {
        GROWING.iter().map(|(name, _)| (*name, page.all(name).map(|series| series.value).sum())).collect()
    }

    fn cell(&self, page: &Page) -> String {
        let mut cell = format!("A {}; B {}", gpu(page, A), gpu(page, B));
        let sum = sum(page);
        let in_words = sum.map_or_else(|| "no sum".to_owned(), |sum| format!("sum {sum:.0} %"));
        cell += &match counts(page) {
            [Some(count), Some(reporting)] => format!("; {in_words}, {reporting} of {count}"),
            _ => format!("; {in_words}, no counts"),
        };
        // Where there is none of utilization, there is none of memory in most cases.
        if sum.is_some() && page.get("hostgauge_gpu_memory_utilization_percent", &[]).is_none() {
            cell += "; no sum of memory";
        }
        let instances = page.all("hostgauge_gpu_instance_info").count();
        if instances > 0 {
            cell += &format!("; MIG instances {instances}");
        }
        if page.get("hostgauge_gpu_standby", &[]) == Some(1.0) {
            cell += "; standby";
        }
        let grown = self.grown(page);
        for (name, word) in GROWING {
            // What is absent for a while did not shrink.
            let by = grown[name] - self.before.get(name).copied().unwrap_or(0.0);
            if by > 0.0 && ONGOING.contains(&word) {
                cell += &if self.during { format!("; {word}") } else { String::new() };
            } else if by > 0.0 {
                cell += &format!("; {word} +{by}");
            }
        }
        let failure = page.all("hostgauge_collector_failure").find(|series| series.labels["collector"] == "gpu");
        let success = page.get("hostgauge_collector_success", &[("collector", "gpu")]) == Some(1.0);
        assert_ne!(success, failure.is_some(), "{}", page.text);
        assert!(page.sum().is_some(), "the CPU goes on: {}", page.text);
        cell + "; " + failure.map_or("success", |series| series.labels["reason"].as_str())
    }

    /// The page that goes on saying the same, another thing than `other` if that comes at all.
    fn settled(&self, other: Option<&str>) -> Page {
        let patience = Instant::now() + 4 * SETTLED;
        let mut since = Instant::now();
        let mut page = self.agent.next_tick();
        loop {
            let next = self.agent.next_tick();
            let cell = self.cell(&next);
            if self.cell(&page) != cell {
                since = Instant::now();
            }
            page = next;
            let is_it = Some(&*cell) != other || Instant::now() > patience;
            if is_it && since.elapsed() > SETTLED {
                return page;
            }
        }
    }

    /// The page's cell, which is to be `golden` if that is known, and else another than `other` if one comes.
    fn expect(&mut self, golden: Option<&str>, lasts: bool, other: Option<&str>, what: &str) -> String {
        let first_tick = self.agent.wait_for(SOON, "a tick with the CPU", |page| page.sum().and(page.tick()));
        let seen = match golden {
            Some(golden) => {
                let deadline = Instant::now() + SOON;
                loop {
                    let page = self.agent.wait_for(SOON, &format!("{what}: {golden}"), |page| {
                        let fits = page.sum().is_some() && page.tick() != Some(first_tick) && self.cell(page) == golden;
                        fits.then(|| page.clone())
                    });
                    let last = if lasts { self.agent.next_tick() } else { page };
                    // On a busy machine a tick that comes late has another source once.
                    if self.cell(&last) == golden || Instant::now() > deadline {
                        break last;
                    }
                }
            }
            None if lasts => self.settled(other),
            None => self.agent.wait_for(SOON, what, |page| {
                (page.sum().is_some() && Some(&*self.cell(page)) != other).then(|| page.clone())
            }),
        };
        let cell = self.cell(&seen);
        assert_eq!(golden.unwrap_or(&cell), cell, "{what}: not for two ticks");
        for (name, value) in self.grown(&seen) {
            let before = self.before.entry(name).or_default();
            *before = before.max(value);
        }
        cell
    }
}

fn library_of(machine: &Machine) -> PathBuf {
    machine.folder.path().join("libnvidia-ml.so.1")
}

/// What the page says of one GPU.
fn gpu(page: &Page, uuid: &str) -> String {
    let word = |name: &str, label: &str| {
        let mut found = page.all(name).filter(|series| series.labels["uuid"] == uuid);
        found.next().map(|series| series.labels[label].clone())
    };
    let up = page.get("hostgauge_gpu_up", &[("uuid", uuid)]);
    let reason = word("hostgauge_gpu_failure", "reason");
    let absent = word("hostgauge_gpu_utilization_absent", "reason");
    let percent = page.get(UTILIZATION, &[("uuid", uuid)]);
    match (up, reason, percent) {
        (None, None, None) => "no series".to_owned(),
        (None, Some(reason), None) => format!("{reason}, else no series"),
        (Some(0.0), Some(reason), None) => format!("down: {reason}"),
        (Some(1.0), None, None) => absent.map_or("up, no %".to_owned(), |reason| format!("up, no %: {reason}")),
        // Of a GPU that idles, now the ring tells, now the snapshot.
        (Some(1.0), None, Some(0.0)) => "0 %".to_owned(),
        (Some(1.0), None, Some(percent)) => {
            let source = word("hostgauge_gpu_utilization_source", "source").expect("a source beside a value");
            format!("{percent:.0} % {source}")
        }
        other => panic!("{other:?} on {}", page.text),
    }
}

/// The golden cells by title.
fn cells(table: &str) -> BTreeMap<&str, [&str; 3]> {
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.filter_map(|row| {
        let mut cells = row.split(" | ");
        Some((cells.next()?, [cells.next()?, cells.next()?, cells.next()?]))
    })
    .collect()
}

#[test]
fn every_fault_is_told_and_passes() {
    let file = support::file(GOLDEN);
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let golden = if update { String::new() } else { fs::read_to_string(&file).expect("a golden table") };
    let golden = cells(&golden);
    let mut stage = Stage::new();
    let mut table = HEAD.to_owned();
    for Case { title, begin, end, lasts } in CASES {
        let known = golden.get(title).copied();
        assert!(update || known.is_some(), "{title} is not in {GOLDEN}: UPDATE_GOLDEN=1 takes it");
        let cell = |which: usize| known.map(|cells| cells[which]);
        let before = stage.expect(cell(0), false, None, &format!("before: {title}"));
        begin(&mut stage);
        stage.during = true;
        let during = stage.expect(cell(1), *lasts, Some(&before), &format!("during: {title}"));
        end(&mut stage);
        stage.during = false;
        let after = stage.expect(cell(2), true, Some(&during), &format!("after: {title}"));
        let row = format!("| {title} | {before} | {during} | {after} |\n");
        print!("{row}");
        table += &row;
    }
    let (status, _) = stage.agent.stop("TERM");
    assert!(status.success(), "{status}");
    if update {
        fs::write(&file, &table).expect("written");
    }
    assert_eq!(table, fs::read_to_string(&file).expect("a golden table"), "UPDATE_GOLDEN=1 takes the new one");
}
