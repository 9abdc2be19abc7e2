//! Whole trees of files in, numbers out. What needs a real kernel (cgroups that vanish) stands in tests/scope.rs.

mod bad_input;
mod node;
mod pod;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::group::SHORTEST;
use super::{Scoped, explain};
use crate::catalogue::*;
use crate::collector::Collector as _;
use crate::error::{CollectError, Reason};
use crate::sample::{Roots, Sample};
use crate::scope::choose;

/// A /proc and a /sys of our own.
struct Tree {
    folder: tempfile::TempDir,
}

const V2_MOUNT: &str = "9 1 0:9 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
const V1_MOUNTS: &str = "\
9 1 0:9 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
10 1 0:10 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
11 1 0:11 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
12 1 0:12 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio
";
const V1_MEMBER: &str = "4:memory:/job\n3:cpu,cpuacct:/job\n2:cpuset:/job\n1:blkio:/job\n";

impl Tree {
    fn new(mounts: &str, membership: &str) -> Self {
        let tree = Self { folder: tempfile::tempdir().expect("a folder") };
        tree.write("proc/self/mountinfo", mounts);
        tree.write("proc/self/cgroup", membership);
        tree.write("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 500 kB\n");
        tree.write("sys/devices/system/cpu/online", "0-3\n");
        tree.write("sys/devices/system/cpu/possible", "0-3\n");
        tree
    }

    fn v2() -> Self {
        let tree = Self::new(V2_MOUNT, "0::/slice/job\n");
        tree.group_v2("slice/job", 0, 400_000, 100_000);
        tree.write("sys/fs/cgroup/slice/cpu.max", "150000 100000\n");
        tree.write("sys/fs/cgroup/slice/memory.max", "600000\n");
        tree
    }

    fn v1() -> Self {
        let tree = Self::new(V1_MOUNTS, V1_MEMBER);
        tree.v1_usage(0);
        let cgroup = "sys/fs/cgroup";
        tree.write(
            &format!("{cgroup}/cpu,cpuacct/job/cpu.stat"),
            "nr_periods 9\nnr_throttled 4\nthrottled_time 5000\n",
        );
        tree.write(&format!("{cgroup}/cpu,cpuacct/job/cpu.cfs_quota_us"), "-1\n");
        tree.write(&format!("{cgroup}/cpu,cpuacct/job/cpu.cfs_period_us"), "100000\n");
        tree.write(&format!("{cgroup}/memory/job/memory.usage_in_bytes"), "400000\n");
        tree.write(
            &format!("{cgroup}/memory/job/memory.stat"),
            "hierarchical_memory_limit 500000\ntotal_rss 250000\ntotal_inactive_file 100000\n",
        );
        tree.write(&format!("{cgroup}/memory/job/memory.limit_in_bytes"), "9223372036854771712\n");
        tree.write(&format!("{cgroup}/memory/job/memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
        tree.write(&format!("{cgroup}/cpuset/job/cpuset.cpus"), "\n");
        tree.write(&format!("{cgroup}/cpuset/job/cpuset.effective_cpus"), "0,2\n");
        tree.write(
            &format!("{cgroup}/blkio/job/blkio.throttle.io_service_bytes"),
            "8:0 Read 7\n8:0 Write 8\nTotal 15\n",
        );
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(&path, text).expect("written");
    }

    fn usage(&self, group: &str, usec: u64) {
        let text = format!("usage_usec {usec}\nnr_periods 10\nnr_throttled 3\nthrottled_usec 2500000\n");
        self.write(&format!("sys/fs/cgroup/{group}/cpu.stat"), &text);
    }

    fn v1_usage(&self, nanoseconds: u64) {
        self.write("sys/fs/cgroup/cpu,cpuacct/job/cpuacct.usage", &format!("{nanoseconds}\n"));
        let cores = format!("{} 0 {} 0 \n", nanoseconds / 4, nanoseconds / 4 * 3);
        self.write("sys/fs/cgroup/cpu,cpuacct/job/cpuacct.usage_percpu", &cores);
    }

    /// A cgroup of v2 without limits.
    fn group_v2(&self, group: &str, usec: u64, current: u64, inactive_file: u64) {
        self.usage(group, usec);
        let file = |name: &str| format!("sys/fs/cgroup/{group}/{name}");
        self.write(&file("memory.current"), &format!("{current}\n"));
        self.write(&file("memory.stat"), &format!("anon 200000\nfile 1\ninactive_file {inactive_file}\n"));
        self.write(&file("memory.events"), "low 0\noom 2\noom_kill 1\n");
        self.write(&file("memory.max"), "max\n");
        self.write(&file("cpu.max"), "max 100000\n");
        self.write(&file("cpuset.cpus.effective"), "0-3\n");
        self.write(&file("io.stat"), "8:0 rbytes=1000 wbytes=2000 rios=1 wios=1\n");
        self.write(&file("memory.pressure"), "some avg10=0.00 total=3000000\nfull avg10=0.00 total=1000000\n");
    }

    /// A process with these files, of which `root/` is its root.
    fn process(&self, pid: u32, name: &str, membership: &str) {
        let stat = format!("{pid} ({name}) S 1 1 1 0 -1 4 9 0 0 0 50 50 0 0 20 0 1 0 {pid} 1000 10 1 1\n");
        for (file, text) in [("stat", &*stat), ("comm", name), ("cgroup", membership), ("cmdline", name)] {
            self.write(&format!("proc/{pid}/{file}"), text);
        }
    }

    fn roots(&self) -> Roots {
        let at = |name: &str| self.folder.path().join(name);
        Roots { procfs: at("proc"), sysfs: at("sys"), rootfs: at("root") }
    }

    fn scoped(&self, scopes: &[&str]) -> Scoped {
        let scopes: Vec<_> = scopes.iter().map(|text| text.parse().expect("a scope")).collect();
        Scoped::new(&self.roots(), &choose(&scopes, &self.roots()).expect("they fit"))
    }
}

/// Between two readings, beside what really passes.
const PRETENDED: Duration = Duration::from_secs(2);

thread_local! {
    /// When the reading before began, and how much really passed from there to the end of the last, in seconds.
    static BEFORE: Cell<Option<Instant>> = const { Cell::new(None) };
    static PASSED: Cell<f64> = const { Cell::new(0.0) };
}

/// Two seconds after the reading before.
fn collect(scoped: &mut Scoped) -> (Page, Result<(), CollectError>) {
    scoped.age(PRETENDED);
    let (mut out, begun) = (Vec::new(), Instant::now());
    let outcome = scoped.collect(&mut out);
    let before = BEFORE.replace(Some(begun)).unwrap_or(begun);
    PASSED.set(before.elapsed().as_secs_f64());
    (Page(out), outcome)
}

fn good(scoped: &mut Scoped) -> Page {
    let (page, outcome) = collect(scoped);
    outcome.expect("a good tree");
    page
}

struct Page(Vec<Sample>);

impl Page {
    fn get(&self, metric: &Metric, labels: &[&str]) -> Option<f64> {
        let is_it = |sample: &&Sample| {
            let values: Vec<&str> = sample.device.iter().flat_map(|device| device.values()).collect();
            std::ptr::eq(sample.metric, metric) && values == labels
        };
        self.0.iter().find(is_it).map(|sample| sample.value)
    }

    fn assert(&self, expected: &[(&Metric, &[&str], f64)]) {
        for (metric, labels, value) in expected {
            let got = self.get(metric, labels);
            // The clock goes on between two readings, on a busy machine by more than the microseconds that they take.
            let slack = 0.02 * value.abs();
            let least = value * PRETENDED.as_secs_f64() / (PRETENDED.as_secs_f64() + PASSED.get());
            let near = got.is_some_and(|got| (least.min(*value) - slack..=value + slack).contains(&got));
            assert!(near, "{} {labels:?}: {got:?}, not {value}", metric.name);
        }
    }
}

#[test]
fn version_2() {
    let tree = Tree::v2();
    let mut scoped = tree.scoped(&["container"]);
    let first = good(&mut scoped);
    assert_eq!((first.get(&CPU_UTILIZATION, &[]), first.get(&CPU_NORMALIZED, &[])), (None, None));
    tree.usage("slice/job", 2_400_000);
    good(&mut scoped).assert(&[
        (&CPU_UTILIZATION, &[], 120.0),
        (&CPU_LIMIT, &[], 1.5),
        (&CPU_NORMALIZED, &[], 80.0),
        (&CPU_SECONDS, &[], 2.4),
        (&CPU_PERIODS, &[], 10.0),
        (&CPU_THROTTLED_PERIODS, &[], 3.0),
        (&CPU_THROTTLED_SECONDS, &[], 2.5),
        (&CPU_REJECTED, &[], 0.0),
        (&MEMORY_UTILIZATION, &[], 50.0),
        (&MEMORY_USED, &[], 300_000.0),
        (&MEMORY_LIMIT, &[], 600_000.0),
        (&MEMORY_ANONYMOUS, &[], 200_000.0),
        (&MEMORY_CHARGED, &[], 400_000.0),
        (&MEMORY_OOM_KILLS, &[], 1.0),
        (&IO_BYTES, &["read"], 1000.0),
        (&IO_BYTES, &["write"], 2000.0),
        (&PRESSURE_SECONDS, &["memory", "some"], 3.0),
        (&PRESSURE_SECONDS, &["memory", "full"], 1.0),
        (&SCOPE_INFO, &["container", "cgroup", "v2", "/slice/job"], 1.0),
    ]);
    let page = good(&mut scoped);
    assert_eq!(page.get(&SCOPE_CPU_CORE, &["0"]), None, "v2 does not count cores");
    assert_eq!(page.get(&PRESSURE_SECONDS, &["cpu", "some"]), None, "no such file");
}

#[test]
fn version_1() {
    let tree = Tree::v1();
    let mut scoped = tree.scoped(&["container"]);
    good(&mut scoped);
    tree.v1_usage(1_000_000_000);
    let page = good(&mut scoped);
    page.assert(&[
        (&CPU_UTILIZATION, &[], 50.0),
        (&CPU_LIMIT, &[], 2.0),
        (&CPU_NORMALIZED, &[], 25.0),
        (&SCOPE_CPU_CORE, &["0"], 12.5),
        (&SCOPE_CPU_CORE, &["2"], 37.5),
        (&CPU_THROTTLED_PERIODS, &[], 4.0),
        (&CPU_THROTTLED_SECONDS, &[], 5e-6),
        (&MEMORY_USED, &[], 300_000.0),
        (&MEMORY_LIMIT, &[], 500_000.0),
        (&MEMORY_UTILIZATION, &[], 60.0),
        (&MEMORY_ANONYMOUS, &[], 250_000.0),
        (&MEMORY_OOM_KILLS, &[], 2.0),
        (&IO_BYTES, &["write"], 8.0),
        (&SCOPE_INFO, &["container", "cgroup", "v1", "/job"], 1.0),
    ]);
    assert!(page.0.iter().all(|sample| !std::ptr::eq(sample.metric, &PRESSURE_SECONDS)), "v1 has none");
}

#[test]
fn hybrid_takes_each_number_from_where_its_controller_is() {
    let tree = Tree::v1();
    let unified = "13 1 0:13 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    tree.write("proc/self/mountinfo", &format!("{V1_MOUNTS}{unified}"));
    tree.write("proc/self/cgroup", &format!("{V1_MEMBER}0::/job\n"));
    // Of v2 it is only the pressure that v1 does not have.
    tree.write("sys/fs/cgroup/unified/job/cpu.stat", "usage_usec 77\n");
    tree.write("sys/fs/cgroup/unified/job/cpu.pressure", "some avg10=0.00 total=4000000\n");
    let mut scoped = tree.scoped(&["container"]);
    good(&mut scoped).assert(&[
        (&CPU_SECONDS, &[], 0.0),
        (&PRESSURE_SECONDS, &["cpu", "some"], 4.0),
        (&MEMORY_USED, &[], 300_000.0),
        (&SCOPE_INFO, &["container", "cgroup", "hybrid", "/job"], 1.0),
    ]);
    // The root of v2 beside v1 holds everybody: its pressure is not this cgroup's.
    tree.write("proc/self/cgroup", &format!("{V1_MEMBER}0::/\n"));
    tree.write("sys/fs/cgroup/unified/cpu.pressure", "some avg10=0.00 total=9000000\n");
    scoped.age_memberships();
    assert_eq!(good(&mut scoped).get(&PRESSURE_SECONDS, &["cpu", "some"]), None);
}

#[test]
fn another_cgroup_starts_anew_without_a_spike_and_no_counter_falls() {
    let tree = Tree::v2();
    let mut scoped = tree.scoped(&["container"]);
    good(&mut scoped);
    tree.usage("slice/job", 1_000_000);
    good(&mut scoped).assert(&[(&CPU_UTILIZATION, &[], 50.0)]);

    tree.group_v2("slice/again", 900_000_000, 50_000, 0);
    tree.write("proc/self/cgroup", "0::/slice/again\n");
    scoped.age_memberships();
    let page = good(&mut scoped);
    assert_eq!(page.get(&CPU_UTILIZATION, &[]), None, "no base yet");
    page.assert(&[
        (&CPU_SECONDS, &[], 1.0),
        (&MEMORY_USED, &[], 50_000.0),
        (&SCOPE_INFO, &["container", "cgroup", "v2", "/slice/again"], 1.0),
    ]);
    assert_eq!(page.get(&SCOPE_INFO, &["container", "cgroup", "v2", "/slice/job"]), None);
    tree.usage("slice/again", 900_500_000);
    good(&mut scoped).assert(&[(&CPU_UTILIZATION, &[], 25.0), (&CPU_SECONDS, &[], 1.5)]);
}

#[test]
fn a_process_that_is_moved_alive_is_followed_at_the_next_tick() {
    let tree = Tree::v2();
    tree.process(5, "job", "0::/slice/job\n");
    let mut scoped = tree.scoped(&["pid:5"]);
    good(&mut scoped).assert(&[(&MEMORY_USED, &[], 300_000.0)]);
    tree.group_v2("slice/again", 900_000_000, 50_000, 0);
    tree.write("proc/5/cgroup", "0::/slice/again\n");
    good(&mut scoped).assert(&[(&MEMORY_USED, &[], 50_000.0)]);
}

#[test]
fn what_the_cores_cannot_do_is_refused_and_counted() {
    let tree = Tree::v2();
    let mut scoped = tree.scoped(&["container"]);
    good(&mut scoped);
    // 4 cores, 2 seconds: 8 s are the most there can be.
    tree.usage("slice/job", 90_000_000);
    let (page, outcome) = collect(&mut scoped);
    let error = outcome.expect_err("impossible");
    assert_eq!(error.reason(), Reason::Malformed);
    assert!(error.to_string().contains("cpu.stat") && error.to_string().contains("4 cores"), "{error}");
    assert_eq!(page.get(&CPU_UTILIZATION, &[]), None);
    page.assert(&[(&CPU_REJECTED, &[], 1.0), (&CPU_SECONDS, &[], 0.0), (&MEMORY_USED, &[], 300_000.0)]);
    // A burst above the quota is legal, and not clamped.
    tree.usage("slice/job", 90_000_000 + 7_800_000);
    good(&mut scoped).assert(&[(&CPU_UTILIZATION, &[], 390.0), (&CPU_NORMALIZED, &[], 260.0)]);
}

#[test]
fn a_reading_at_once_after_the_other_is_no_mean_but_counts() {
    let tree = Tree::v2();
    // A busy machine may let ten milliseconds go by between the two; that is none.
    let at_once = (0..1000).find_map(|_| {
        tree.usage("slice/job", 0);
        let mut scoped = tree.scoped(&["container"]);
        let begun = Instant::now();
        good(&mut scoped);
        tree.usage("slice/job", 4_000);
        let mut out = Vec::new();
        scoped.collect(&mut out).expect("good");
        (begun.elapsed() < Duration::from_nanos(SHORTEST)).then_some(Page(out))
    });
    let page = at_once.expect("two readings within ten milliseconds");
    assert_eq!(page.get(&CPU_UTILIZATION, &[]), None);
    page.assert(&[(&CPU_SECONDS, &[], 0.004)]);
}

#[test]
fn scopes_are_summed_and_an_inner_one_is_not_counted_twice() {
    let tree = Tree::v2();
    tree.group_v2("other", 0, 300_000, 0);
    tree.write("sys/fs/cgroup/other/memory.max", "300000\n");
    tree.write("sys/fs/cgroup/other/cpuset.cpus.effective", "0\n");
    tree.group_v2("other/inner", 0, 300_000, 0);
    let mut scoped = tree.scoped(&["container", "cgroup:/other", "cgroup:/other/inner"]);
    good(&mut scoped);
    tree.usage("slice/job", 1_000_000);
    tree.usage("other", 500_000);
    tree.usage("other/inner", 500_000);
    let page = good(&mut scoped);
    page.assert(&[
        (&CPU_UTILIZATION, &[], 75.0),
        (&CPU_LIMIT, &[], 2.5),
        (&MEMORY_USED, &[], 600_000.0),
        (&MEMORY_LIMIT, &[], 900_000.0),
        (&MEMORY_OOM_KILLS, &[], 2.0),
    ]);
    assert_eq!(page.get(&SCOPE_INFO, &["cgroup:/other/inner", "cgroup", "v2", "/other/inner"]), None);
    // Together no more than the machine has.
    tree.write("sys/fs/cgroup/other/memory.max", "max\n");
    tree.scoped(&["container", "cgroup:/other"]).collect(&mut Vec::new()).expect("good");
    good(&mut tree.scoped(&["container", "cgroup:/other"])).assert(&[(&MEMORY_LIMIT, &[], 1_024_000.0)]);
}

#[test]
fn one_lost_scope_costs_the_sum_since_a_part_would_look_like_less() {
    let tree = Tree::v2();
    tree.process(5, "job", "0::/slice/job\n");
    let mut scoped = tree.scoped(&["pid:5", "cgroup:/slice"]);
    let (_, outcome) = collect(&mut scoped);
    assert!(outcome.expect_err("no files").to_string().contains("slice"));
    tree.group_v2("slice", 0, 700_000, 0);
    good(&mut scoped);
    good(&mut scoped).assert(&[(&CPU_UTILIZATION, &[], 0.0), (&CPU_SECONDS, &[], 0.0)]);
    // A held file of a real /proc says ESRCH once the process is gone.
    tree.write("proc/5/comm", "");
    fs::remove_dir_all(tree.folder.path().join("proc/5")).expect("ended");
    let (page, outcome) = collect(&mut scoped);
    let error = outcome.expect_err("the process is gone");
    assert_eq!(error.reason(), Reason::Missing);
    assert!(error.to_string().contains("process 5 ended"), "{error}");
    for metric in [&CPU_UTILIZATION, &CPU_SECONDS, &MEMORY_USED, &MEMORY_LIMIT, &MEMORY_UTILIZATION] {
        assert_eq!(page.get(metric, &[]), None, "{}", metric.name);
    }
}

#[test]
fn a_group_shows_its_file_systems_once_a_process_is_in_it_and_goes_on_counting() {
    let tree = Tree::v2();
    let mut scoped = tree.scoped(&["cgroup:/slice/job"]);
    let file_systems = scoped.file_systems();
    good(&mut scoped);
    assert_eq!(file_systems.newer_than(0).map(|(_, roots)| roots), Some(vec![None]), "nobody is in it");
    tree.process(5, "job", "0::/slice/job\n");
    tree.write("sys/fs/cgroup/slice/job/cgroup.procs", "0\n5\n");
    std::thread::sleep(Duration::from_millis(1100));
    tree.usage("slice/job", 1_000_000);
    good(&mut scoped).assert(&[(&CPU_SECONDS, &[], 1.0)]);
    let root = tree.folder.path().join("proc/5/root");
    assert_eq!(file_systems.newer_than(0).map(|(_, roots)| roots), Some(vec![Some(root)]));
    // Its process ends, another takes over.
    tree.process(6, "job", "0::/slice/job\n");
    tree.write("proc/5/comm", "");
    tree.write("sys/fs/cgroup/slice/job/cgroup.procs", "6\n");
    tree.usage("slice/job", 2_000_000);
    good(&mut scoped).assert(&[(&CPU_UTILIZATION, &[], 50.0)]);
    let root = tree.folder.path().join("proc/6/root");
    assert_eq!(file_systems.newer_than(0).map(|(_, roots)| roots), Some(vec![Some(root)]));
}

#[test]
fn a_tree_of_processes_is_summed_and_says_so() {
    let tree = Tree::v2();
    tree.process(5, "launcher", "0::/slice/job\n");
    tree.write("proc/6/stat", "6 (a) b) R 5 1 1 0 -1 4 9 0 0 0 300 100 0 0 20 0 1 0 6 1000 20 1 1\n");
    let mut scoped = tree.scoped(&["tree:5"]);
    good(&mut scoped).assert(&[
        (&CPU_SECONDS, &[], 5.0),
        (&MEMORY_USED, &[], 30.0 * 4096.0),
        (&MEMORY_LIMIT, &[], 600_000.0),
        (&CPU_LIMIT, &[], 1.5),
        (&SCOPE_INFO, &["tree:5", "processes", "v2", "/slice/job"], 1.0),
    ]);
    tree.write("proc/6/stat", "6 (a) R 5 1 1 0 -1 4 9 0 0 0 400 100 0 0 20 0 1 0 6 1000 20 1 1\n");
    good(&mut scoped).assert(&[(&CPU_UTILIZATION, &[], 50.0)]);
    // Another process under the same number is another process.
    tree.write("proc/5/stat", "5 (x) R 1 1 1 0 -1 4 9 0 0 0 1 1 0 0 20 0 1 0 999 1000 20 1 1\n");
    let (page, outcome) = collect(&mut scoped);
    assert!(outcome.expect_err("not the same").to_string().contains("another has its number"));
    assert_eq!(page.get(&CPU_UTILIZATION, &[]), None);
}

#[test]
fn an_explanation_names_files_and_where_each_limit_comes_from() {
    let tree = Tree::v2();
    let explanation = tree.scoped(&["container"]).explain();
    let group = &explanation.groups[0];
    let ends = |text: &str, end: &str| assert!(text.ends_with(end), "{text}");
    let cores = group.cores.as_ref().expect("N");
    assert_eq!(cores.value, 1.5);
    ends(&cores.from, "/slice/cpu.max");
    let memory = explanation.memory.as_ref().expect("a limit");
    assert_eq!(memory.value, 600_000.0);
    ends(&memory.from, "/slice/memory.max");
    let files: BTreeMap<PathBuf, ()> = group.files.iter().map(|file| (file.clone(), ())).collect();
    assert!(files.keys().any(|file| file.ends_with("slice/job/memory.current")), "{files:?}");
    assert_eq!((group.mode, group.version, &*group.path), ("cgroup", "v2", "/slice/job"));

    let failed = tree.scoped(&["cgroup:/none"]).explain();
    assert!(failed.groups.is_empty() && failed.failures[0].1.contains("/none"), "{failed:?}");
    let host = explain(&tree.roots(), &choose(&["host".parse().expect("host")], &tree.roots()).expect("host"));
    assert_eq!(host.cores.expect("N").value, 4.0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    // For all histories of the counter, backwards ones and other cgroups included: a percentage is absent or within
    // what the cores can do, and the total of seconds never falls.
    #[test]
    fn a_percentage_is_possible_and_the_total_never_falls(
        history in proptest::collection::vec(
            (0..40_000_000u64, any::<bool>(), prop_oneof![Just(0u64), Just(30), Just(2000)]),
            1..8,
        ),
    ) {
        let tree = Tree::v2();
        tree.group_v2("slice/other", 0, 1, 0);
        let mut scoped = tree.scoped(&["container"]);
        let mut before = 0.0;
        for (usec, moved, milliseconds) in history {
            let group = if moved { "slice/other" } else { "slice/job" };
            tree.write("proc/self/cgroup", &format!("0::/{group}\n"));
            tree.usage(group, usec);
            scoped.age_memberships();
            scoped.age(Duration::from_millis(milliseconds));
            let mut out = Vec::new();
            let outcome = scoped.collect(&mut out);
            let page = Page(out);
            if let Some(percent) = page.get(&CPU_UTILIZATION, &[]) {
                // 30 ms: two ticks of the scheduler are two thirds more.
                prop_assert!((0.0..=400.0 * 1.67).contains(&percent), "{}", percent);
            }
            prop_assert!(outcome.is_ok() || page.get(&CPU_UTILIZATION, &[]).is_none());
            let seconds = page.get(&CPU_SECONDS, &[]).expect("always there");
            prop_assert!(seconds >= before);
            before = seconds;
        }
    }
}
