//! CPU of the host, in sum and per core.

use crate::catalogue::{CPU_CORE_UTILIZATION, CPU_CORES, CPU_SECONDS, CPU_UTILIZATION, CPU_WAIT_SECONDS};
use crate::collector::Collector;
use crate::error::{CollectError, Reason};
use crate::linux::held_file::HeldFile;
use crate::linux::proc_stat::{self, CpuTimes};
use crate::sample::{Device, Roots, Sample, percent, sum_over_devices};

/// Busy share of each core and of all, from the differences of /proc/stat's counters.
///
/// - **Labels** are the kernel's CPU numbers, so a core keeps its name when another goes offline.
/// - **First reading**: totals and N only; a percentage needs two readings. The same holds for a core that comes back.
/// - **Sum**: absent while any core has no sample, because a part would look like less load.
/// - **Backwards counters**: a core whose busy time, or idle and iowait time together, went down (hot-plug, a migrated
///   VM) has no sample for this interval and starts anew. Idle and iowait are taken together because the kernel moves
///   time between them.
/// - **Resolution**: the kernel counts ticks of 10 ms, so at 100 ms intervals one core moves in steps of about 10 %.
#[derive(Debug)]
pub struct Cpu {
    file: HeldFile,
    cores: Vec<Core>,
    totals: Totals,
    ticks_per_second: f64,
    iowait: Device,
    steal: Device,
    cores_only: bool,
}

#[derive(Debug)]
struct Core {
    number: u32,
    device: Device,
    times: CpuTimes,
    percent: Option<f64>,
    online: bool,
}

/// Growing totals in ticks. Our own sums, since the kernel's lose a core's past when its counters are reset.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Totals {
    busy: u64,
    iowait: u64,
    steal: u64,
}

impl Totals {
    fn add(&mut self, more: Totals) {
        self.busy = self.busy.saturating_add(more.busy);
        self.iowait = self.iowait.saturating_add(more.iowait);
        self.steal = self.steal.saturating_add(more.steal);
    }
}

impl Cpu {
    /// A collector over `procfs`/stat. Opening waits for the first reading.
    pub fn new(roots: &Roots) -> Self {
        // 100 on every Linux that people run; asked for all the same.
        let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
        Self {
            file: HeldFile::new(roots.procfs.join("stat")),
            cores: Vec::new(),
            totals: Totals::default(),
            ticks_per_second: ticks as f64,
            iowait: Device::new(["iowait"]),
            steal: Device::new(["steal"]),
            cores_only: false,
        }
    }

    /// The same without the sum and its counter, which are another scope's.
    pub fn of_cores(roots: &Roots) -> Self {
        Self { cores_only: true, ..Self::new(roots) }
    }
}

/// What a core did between two readings: its busy share, if any time passed, and what to add to the totals.
/// `None` when its counters were reset in between.
fn difference(before: CpuTimes, now: CpuTimes) -> Option<(Option<f64>, Totals)> {
    let rest = |times: CpuTimes| times.idle.saturating_add(times.iowait);
    let busy = now.busy.checked_sub(before.busy)?;
    let idle = rest(now).checked_sub(rest(before))?;
    // Hypervisors correct steal downwards; no time was stolen then.
    let steal = now.steal.saturating_sub(before.steal);
    let interval = busy as f64 + idle as f64 + steal as f64;
    let percent = (interval > 0.0).then(|| percent(busy as f64, interval));
    Some((percent, Totals { busy, iowait: now.iowait.saturating_sub(before.iowait), steal }))
}

/// Takes one reading of one core into `cores`, which stays sorted by number. `hint` is where the core is expected.
fn update(cores: &mut Vec<Core>, totals: &mut Totals, hint: usize, number: u32, now: CpuTimes) {
    let found = match cores.get(hint).is_some_and(|core| core.number == number) {
        true => Ok(hint),
        false => cores.binary_search_by_key(&number, |core| core.number),
    };
    match found {
        Ok(index) => {
            let core = &mut cores[index];
            core.online = true;
            core.percent = difference(core.times, now).and_then(|(percent, more)| {
                totals.add(more);
                percent
            });
            core.times = now;
        }
        Err(index) => {
            let device = Device::new([number.to_string().as_str()]);
            cores.insert(index, Core { number, device, times: now, percent: None, online: true });
        }
    }
}

impl Collector for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        let Self { file, cores, totals, ticks_per_second, iowait, steal, cores_only } = self;
        let first = cores.is_empty();
        cores.iter_mut().for_each(|core| core.online = false);
        let mut count = 0;
        let read = match file.read(proc_stat::has_all_cpu_rows) {
            Ok(text) => proc_stat::parse(text, |number, times| {
                update(cores, totals, count, number, times);
                count += 1;
            })
            .map_err(|error| CollectError::new(Reason::Malformed, format!("{}: {error}", file.path().display()))),
            Err(error) => Err(error),
        };
        if let Err(error) = read {
            // Half a reading is none: without a base, the next good one starts anew.
            cores.clear();
            return Err(error);
        }
        cores.retain(|core| core.online);
        if first && *totals == Totals::default() {
            for core in cores.iter() {
                totals.add(Totals { busy: core.times.busy, iowait: core.times.iowait, steal: core.times.steal });
            }
        }

        if !*cores_only
            && cores.iter().all(|core| core.percent.is_some())
            && let Some(sum) = sum_over_devices(cores.iter().filter_map(|core| core.percent))
        {
            out.push(Sample::new(&CPU_UTILIZATION, sum));
        }
        for core in cores.iter() {
            if let Some(percent) = core.percent {
                out.push(Sample::of(&CPU_CORE_UTILIZATION, &core.device, percent));
            }
        }
        if !*cores_only {
            out.push(Sample::new(&CPU_SECONDS, totals.busy as f64 / *ticks_per_second));
        }
        out.push(Sample::of(&CPU_WAIT_SECONDS, iowait, totals.iowait as f64 / *ticks_per_second));
        out.push(Sample::of(&CPU_WAIT_SECONDS, steal, totals.steal as f64 / *ticks_per_second));
        out.push(Sample::new(&CPU_CORES, cores.len() as f64));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Metric;
    use proptest::prelude::*;
    use std::path::Path;

    /// A /proc of our own, whose stat file the test writes between readings.
    struct FakeProc {
        folder: tempfile::TempDir,
        cpu: Cpu,
    }

    impl FakeProc {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let roots = Roots { procfs: folder.path().to_owned(), ..Roots::default() };
            Self { folder, cpu: Cpu::new(&roots) }
        }

        fn stat(&self) -> std::path::PathBuf {
            self.folder.path().join("stat")
        }

        /// One reading of the given rows: (core, busy, idle, iowait, steal).
        fn read(&mut self, rows: &[(u32, u64, u64, u64, u64)]) -> Vec<Sample> {
            let mut text = String::from("cpu  1 1 1 1 1 1 1 1 1 1\n");
            for (core, busy, idle, iowait, steal) in rows {
                text += &format!("cpu{core} {busy} 0 0 {idle} {iowait} 0 0 {steal} 0 0\n");
            }
            std::fs::write(self.stat(), text + "intr 1\n").expect("written");
            let mut out = Vec::new();
            self.cpu.collect(&mut out).expect("a good file");
            out
        }
    }

    fn value(samples: &[Sample], metric: &'static Metric) -> Option<f64> {
        samples.iter().find(|s| std::ptr::eq(s.metric, metric)).map(|s| s.value)
    }

    fn core(samples: &[Sample], name: &str) -> Option<f64> {
        let device = Some(Device::new([name]));
        samples.iter().find(|s| std::ptr::eq(s.metric, &CPU_CORE_UTILIZATION) && s.device == device).map(|s| s.value)
    }

    #[test]
    fn the_first_reading_has_totals_but_no_percentage() {
        let mut proc = FakeProc::new();
        let first = proc.read(&[(0, 250, 700, 30, 20), (1, 50, 950, 0, 0)]);
        assert_eq!(value(&first, &CPU_UTILIZATION), None);
        assert_eq!(core(&first, "0"), None);
        assert_eq!(value(&first, &CPU_CORES), Some(2.0));
        assert_eq!(value(&first, &CPU_SECONDS), Some(3.0));
        let waits: Vec<f64> =
            first.iter().filter(|s| std::ptr::eq(s.metric, &CPU_WAIT_SECONDS)).map(|s| s.value).collect();
        assert_eq!(waits, [0.3, 0.2]);
    }

    #[test]
    fn without_the_sum_the_cores_stay() {
        let mut proc = FakeProc::new();
        proc.cpu.cores_only = true;
        proc.read(&[(0, 0, 0, 0, 0)]);
        let samples = proc.read(&[(0, 50, 50, 0, 0)]);
        assert_eq!((value(&samples, &CPU_UTILIZATION), value(&samples, &CPU_SECONDS)), (None, None));
        assert_eq!((core(&samples, "0"), value(&samples, &CPU_CORES)), (Some(50.0), Some(1.0)));
    }

    #[test]
    fn steal_is_time_but_not_busy_and_iowait_is_idle() {
        let mut proc = FakeProc::new();
        proc.read(&[(0, 0, 0, 0, 0)]);
        let second = proc.read(&[(0, 50, 10, 20, 20)]);
        assert_eq!(core(&second, "0"), Some(50.0));
        assert_eq!(value(&second, &CPU_UTILIZATION), Some(50.0));
        assert_eq!(value(&second, &CPU_SECONDS), Some(0.5));
    }

    #[test]
    fn a_core_that_leaves_takes_its_series_along_and_the_others_keep_their_names() {
        let mut proc = FakeProc::new();
        proc.read(&[(0, 0, 0, 0, 0), (1, 0, 0, 0, 0), (2, 0, 0, 0, 0)]);
        let gone = proc.read(&[(0, 10, 90, 0, 0), (2, 60, 40, 0, 0)]);
        assert_eq!((core(&gone, "0"), core(&gone, "1"), core(&gone, "2")), (Some(10.0), None, Some(60.0)));
        assert_eq!(value(&gone, &CPU_UTILIZATION), Some(70.0));
        assert_eq!(value(&gone, &CPU_CORES), Some(2.0));
        let busy = value(&gone, &CPU_SECONDS);

        // Back with counters that were reset: no spike, no backwards total, and no sum until it has two readings.
        let back = proc.read(&[(0, 10, 190, 0, 0), (1, 3, 5, 0, 0), (2, 60, 140, 0, 0)]);
        assert_eq!((core(&back, "0"), core(&back, "1"), core(&back, "2")), (Some(0.0), None, Some(0.0)));
        assert_eq!(value(&back, &CPU_UTILIZATION), None);
        assert_eq!(value(&back, &CPU_SECONDS), busy);
        let settled = proc.read(&[(0, 10, 290, 0, 0), (1, 53, 55, 0, 0), (2, 60, 240, 0, 0)]);
        assert_eq!(value(&settled, &CPU_UTILIZATION), Some(50.0));
    }

    #[test]
    fn counters_that_ran_backwards_give_no_sample() {
        for (rows, why) in [((0, 50, 900, 0, 0), "busy fell"), ((0, 110, 500, 0, 0), "idle fell")] {
            let mut proc = FakeProc::new();
            proc.read(&[(0, 100, 800, 0, 0)]);
            let before = value(&proc.read(&[(0, 100, 900, 0, 0)]), &CPU_SECONDS);
            let fell = proc.read(&[rows]);
            assert_eq!((core(&fell, "0"), value(&fell, &CPU_UTILIZATION)), (None, None), "{why}");
            assert_eq!(value(&fell, &CPU_SECONDS), before, "{why}: the total stands still");
            let (_, busy, idle, ..) = rows;
            assert_eq!(core(&proc.read(&[(0, busy + 25, idle + 75, 0, 0)]), "0"), Some(25.0), "{why}: starts anew");
        }
    }

    #[test]
    fn time_moved_from_iowait_to_idle_is_no_reset() {
        let mut proc = FakeProc::new();
        proc.read(&[(0, 0, 0, 100, 0)]);
        assert_eq!(core(&proc.read(&[(0, 50, 120, 30, 0)]), "0"), Some(50.0));
    }

    #[test]
    fn no_time_passed_is_no_sample_rather_than_zero() {
        let mut proc = FakeProc::new();
        proc.read(&[(0, 7, 7, 0, 0)]);
        assert_eq!(core(&proc.read(&[(0, 7, 7, 0, 0)]), "0"), None);
    }

    #[test]
    fn after_a_malformed_reading_it_starts_anew() {
        let mut proc = FakeProc::new();
        proc.read(&[(0, 0, 0, 0, 0)]);
        let busy = value(&proc.read(&[(0, 100, 0, 0, 0)]), &CPU_SECONDS);
        std::fs::write(proc.stat(), "cpu0 1 2 garbage 4\n").expect("written");
        let mut out = Vec::new();
        let error = proc.cpu.collect(&mut out).expect_err("garbage");
        assert!(out.is_empty());
        assert_eq!(error.reason(), Reason::Malformed);
        assert!(error.to_string().contains("garbage") && error.to_string().contains("stat"), "{error}");
        let again = proc.read(&[(0, 100, 100, 0, 0)]);
        assert_eq!((core(&again, "0"), value(&again, &CPU_SECONDS)), (None, busy));
    }

    #[test]
    fn odd_machines() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/proc");
        for (machine, cores, last) in [
            ("two-cores", 2, "1"),
            ("hot-unplugged", 3, "3"),
            ("192-cores", 192, "191"),
            ("old-kernel", 1, "0"),
            ("lxc", 2, "1"),
        ] {
            let mut cpu = Cpu::new(&Roots { procfs: fixtures.join(machine), ..Roots::default() });
            let mut out = Vec::new();
            cpu.collect(&mut out).unwrap_or_else(|error| panic!("{machine}: {error}"));
            assert_eq!(value(&out, &CPU_CORES), Some(f64::from(cores)), "{machine}");
            assert_eq!(cpu.cores[cpu.cores.len() - 1].device, Device::new([last]), "{machine}");
        }
    }

    fn ticks() -> impl Strategy<Value = (u64, u64, u64, u64)> {
        (0..1000u64, 0..1000u64, 0..1000u64, 0..1000u64)
    }

    proptest! {
        // For all counters, also ones that run backwards: a percentage is in 0..=100, or there is none.
        #[test]
        fn a_core_is_between_0_and_100(before in ticks(), now in ticks()) {
            let times = |(busy, idle, iowait, steal)| CpuTimes { busy, idle, iowait, steal };
            if let Some((Some(percent), _)) = difference(times(before), times(now)) {
                prop_assert!((0.0..=100.0).contains(&percent));
            }
        }

        // For all histories with cores that come, go and reset: the sum is the cores' sum, within 0..=100*N, absent
        // while any core is, and the total of busy seconds never falls.
        #[test]
        fn the_sum_is_the_cores_sum(history in proptest::collection::vec(
            proptest::collection::btree_map(0..5u32, ticks(), 1..5), 1..6)) {
            let mut proc = FakeProc::new();
            let mut busy_before = 0.0;
            for reading in history {
                let rows: Vec<_> = reading.iter().map(|(core, (b, i, w, s))| (*core, *b, *i, *w, *s)).collect();
                let samples = proc.read(&rows);
                let of_cores = samples.iter().filter(|s| std::ptr::eq(s.metric, &CPU_CORE_UTILIZATION));
                let cores: Vec<f64> = of_cores.map(|s| s.value).collect();
                match value(&samples, &CPU_UTILIZATION) {
                    Some(sum) => {
                        prop_assert_eq!(cores.len(), rows.len());
                        prop_assert!((sum - cores.iter().sum::<f64>()).abs() < 1e-6);
                        prop_assert!((0.0..=100.0 * rows.len() as f64).contains(&sum));
                    }
                    None => prop_assert!(cores.len() < rows.len()),
                }
                let busy = value(&samples, &CPU_SECONDS).expect("always there");
                prop_assert!(busy >= busy_before);
                busy_before = busy;
            }
        }

        // Two intervals weighed by their length give the whole: nothing is lost between readings.
        #[test]
        fn split_intervals_merge_to_the_whole(start in ticks(), first in ticks(), second in ticks()) {
            type Ticks = (u64, u64, u64, u64);
            let plus = |(a, b, c, d): Ticks, (e, f, g, h): Ticks| (a + e, b + f, c + g, d + h);
            let times = |(busy, idle, iowait, steal)| CpuTimes { busy, idle, iowait, steal };
            let (middle, end) = (plus(start, first), plus(plus(start, first), second));
            let length = |(a, b, c, d): (u64, u64, u64, u64)| (a + b + c + d) as f64;
            let between = |from, to| difference(times(from), times(to)).expect("forwards");
            let (whole, halves) = (between(start, end), [between(start, middle), between(middle, end)]);
            let weighed = halves[0].0.unwrap_or(0.0) * length(first) + halves[1].0.unwrap_or(0.0) * length(second);
            let all = length(first) + length(second);
            prop_assert!((whole.0.unwrap_or(0.0) * all - weighed).abs() <= 1e-4 * all);
            prop_assert_eq!(whole.1.busy, halves[0].1.busy + halves[1].1.busy);
        }
    }
}
