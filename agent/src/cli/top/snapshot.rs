//! What the view shows of one page: the figures in the view's words, each `None` while it is absent.

use std::collections::BTreeMap;

use hostgauge_collectors::Metric;
use hostgauge_collectors::catalogue::{
    COLLECTOR_FAILURE, COLLECTOR_STUCK, CPU_CORE_UTILIZATION, CPU_CORES, CPU_UTILIZATION, DELIVERY_AMBIGUOUS,
    DELIVERY_DROPPED, DELIVERY_PENDING, DELIVERY_PUBLISHED, DELIVERY_TAKEN, DISK_UTILIZATION, FILESYSTEM_AVAILABLE,
    FILESYSTEM_SIZE, FILESYSTEM_USED, GPU_MEMORY_UTILIZATION, GPU_STANDBY, GPU_UTILIZATION, GPUS, GPUS_REPORTING,
    MEMORY_LIMIT, MEMORY_USED, MEMORY_UTILIZATION,
};

use super::gpus::{self, Gpu};
use super::page::Page;
use super::share::Share;

/// Devices that were seen and are absent are still shown, but not without end.
const MOST_REMEMBERED: usize = 4096;

/// One moment of a host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Snapshot {
    pub host: String,
    pub cpu: Option<f64>,
    /// N of the CPU.
    pub core_count: Option<f64>,
    pub cores: Vec<(String, Option<f64>)>,
    pub memory: Share,
    pub disk: Option<f64>,
    /// By their path.
    pub filesystems: Vec<(String, Share)>,
    pub gpu: Option<f64>,
    pub gpu_memory: Option<f64>,
    /// N of the GPUs, lost ones included.
    pub gpu_count: Option<f64>,
    pub gpus_reporting: Option<f64>,
    pub gpus: Vec<Gpu>,
    /// Whether there may be GPUs that the page does not name, since their collector fails.
    pub gpus_unknown: bool,
    /// Whether the agent has let the driver go.
    pub standby: bool,
    /// What became of the data of each exporter, in words.
    pub ledgers: Vec<String>,
    /// Which collectors fail, and why.
    pub failures: Vec<String>,
}

impl Snapshot {
    pub(super) fn of(page: &Page) -> Self {
        let by = |metric, label| {
            let named = |series: &super::page::Series| (series.label(label).to_owned(), series.value);
            page.all(metric).iter().map(named).collect::<BTreeMap<String, f64>>()
        };
        let mut cores: Vec<_> =
            by(&CPU_CORE_UTILIZATION, "core").into_iter().map(|(core, percent)| (core, Some(percent))).collect();
        cores.sort_by_key(|(core, _)| core.parse::<u32>().unwrap_or(u32::MAX));
        let (used, free, size) =
            (by(&FILESYSTEM_USED, "path"), by(&FILESYSTEM_AVAILABLE, "path"), by(&FILESYSTEM_SIZE, "path"));
        let filesystems = used.into_iter().map(|(path, used)| {
            let percent = free.get(&path).map(|free| 100.0 * used / (used + free)).filter(|percent| !percent.is_nan());
            let total = size.get(&path).copied();
            (path, Share { percent, used: Some(used), total })
        });
        Self {
            host: page.host().unwrap_or_default().to_owned(),
            cpu: page.value(&CPU_UTILIZATION),
            core_count: page.value(&CPU_CORES),
            cores,
            memory: Share {
                percent: page.value(&MEMORY_UTILIZATION),
                used: page.value(&MEMORY_USED),
                total: page.value(&MEMORY_LIMIT),
            },
            disk: page.value(&DISK_UTILIZATION),
            filesystems: filesystems.collect(),
            gpu: page.value(&GPU_UTILIZATION),
            gpu_memory: page.value(&GPU_MEMORY_UTILIZATION),
            gpu_count: page.value(&GPUS),
            gpus_reporting: page.value(&GPUS_REPORTING),
            gpus: gpus::all(page),
            gpus_unknown: page.all(&COLLECTOR_FAILURE).iter().any(|series| series.label("collector") == "gpu"),
            standby: page.value(&GPU_STANDBY).is_some_and(|on| on > 0.0),
            ledgers: ledgers(page),
            failures: failures(page),
        }
    }

    /// As `self`, but cores and paths that `before` had and that are absent now keep their place, without a value; GPUs
    /// do while a driver that hangs or fails hides them.
    pub(super) fn after(mut self, before: &Self) -> Self {
        if self.host == before.host {
            keep(&mut self.cores, &before.cores);
            self.cores.sort_by_key(|(core, _)| core.parse::<u32>().unwrap_or(u32::MAX));
            keep(&mut self.filesystems, &before.filesystems);
            self.filesystems.sort_by(|(a, _), (b, _)| a.cmp(b));
            if self.gpus_unknown {
                gpus::keep(&mut self.gpus, &before.gpus, MOST_REMEMBERED);
            }
        }
        self
    }

    /// The same devices while nothing is known of them.
    pub(super) fn without_values(&self) -> Self {
        Self {
            host: self.host.clone(),
            cores: self.cores.iter().map(|(core, _)| (core.clone(), None)).collect(),
            filesystems: self.filesystems.iter().map(|(path, _)| (path.clone(), Share::default())).collect(),
            gpus: self.gpus.iter().map(Gpu::without_values).collect(),
            ..Self::default()
        }
    }

    /// What has a sparkline, by its name there.
    pub(super) fn charted(&self) -> impl Iterator<Item = (&str, Option<f64>)> {
        let sums =
            [("CPU", self.cpu), ("Memory", self.memory.percent), ("GPU", self.gpu), ("GPU mem", self.gpu_memory)];
        sums.into_iter().chain(self.gpus.iter().map(|gpu| (gpu.uuid.as_str(), gpu.utilization)))
    }
}

/// Adds what was there before, without its value.
fn keep<T: Clone + Default>(now: &mut Vec<(String, T)>, before: &[(String, T)]) {
    let gone: Vec<_> = before.iter().filter(|(name, _)| !now.iter().any(|(known, _)| known == name)).collect();
    let room = MOST_REMEMBERED.saturating_sub(now.len());
    now.extend(gone.into_iter().take(room).map(|(name, _)| (name.clone(), T::default())));
}

fn ledgers(page: &Page) -> Vec<String> {
    let ledger = |taken: &super::page::Series| {
        let exporter = taken.label("exporter");
        let of_it = |metric: &Metric| {
            page.all(metric).iter().filter(|series| series.label("exporter") == exporter).collect::<Vec<_>>()
        };
        let one = |metric| of_it(metric).first().map_or_else(|| "-".into(), |series| series.value.to_string());
        let dropped = of_it(&DELIVERY_DROPPED).into_iter().filter(|series| series.value > 0.0);
        let dropped: String =
            dropped.map(|series| format!("  dropped {} ({})", series.value, series.label("reason"))).collect();
        let ambiguous = of_it(&DELIVERY_AMBIGUOUS).into_iter().filter(|series| series.value > 0.0);
        let ambiguous: String = ambiguous.map(|series| format!("  perhaps twice {}", series.value)).collect();
        let (published, pending) = (one(&DELIVERY_PUBLISHED), one(&DELIVERY_PENDING));
        format!("{exporter}  taken {}  published {published}  pending {pending}{dropped}{ambiguous}", taken.value)
    };
    page.all(&DELIVERY_TAKEN).iter().map(ledger).collect()
}

fn failures(page: &Page) -> Vec<String> {
    let failing = page.all(&COLLECTOR_FAILURE).iter().filter(|series| series.value > 0.0);
    let failure = |series: &super::page::Series| {
        let collector = series.label("collector");
        let stuck = page.all(&COLLECTOR_STUCK).iter().find(|stuck| stuck.label("collector") == collector);
        let stuck = stuck.filter(|stuck| stuck.value > 0.0);
        let since = stuck.map(|stuck| format!(", for {:.0} s", stuck.value)).unwrap_or_default();
        format!("! collector {collector}: {}{since}", gpus::words(series.label("reason")))
    };
    failing.map(failure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot::of(&Page::parse(text))
    }

    #[test]
    fn cores_stand_in_the_order_of_their_numbers_and_keep_their_place() {
        let core = |core: &str| format!("hostgauge_cpu_core_utilization_percent{{Host=\"h\",core=\"{core}\"}} 1\n");
        let first = snapshot(&["10", "9", "0"].map(core).concat());
        let names = |snapshot: &Snapshot| snapshot.cores.clone().into_iter().map(|(core, _)| core).collect::<Vec<_>>();
        assert_eq!(names(&first), ["0", "9", "10"]);
        let second = snapshot(&core("10")).after(&first);
        assert_eq!(second.cores, [("0".into(), None), ("9".into(), None), ("10".into(), Some(1.0))]);
        let other = snapshot(&core("7").replace("\"h\"", "\"other\"")).after(&first);
        assert_eq!(names(&other), ["7"], "another host has cores of its own");
        assert_eq!(first.without_values().cores.first(), Some(&("0".into(), None)));
    }

    #[test]
    fn gpus_keep_their_place_while_their_collector_fails() {
        let gpu = |gpu: u8| format!("hostgauge_gpu_up{{Host=\"h\",gpu=\"{gpu}\",uuid=\"GPU-{gpu}\"}} 1\n");
        let both = snapshot(&[gpu(0), gpu(1)].concat());
        let indices = |snapshot: Snapshot| snapshot.gpus.into_iter().map(|gpu| gpu.index).collect::<Vec<_>>();
        let stuck = "hostgauge_gpu_failure{Host=\"h\",gpu=\"1\",uuid=\"GPU-1\",reason=\"stuck\"} 1\n";
        let failing = "hostgauge_collector_failure{Host=\"h\",collector=\"gpu\",reason=\"timed_out\"} 1\n";
        let now = snapshot(&[stuck, failing].concat()).after(&both);
        assert_eq!(now.gpus.iter().map(|gpu| gpu.notes.len()).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(indices(now), ["0", "1"]);
        assert_eq!(indices(snapshot(&gpu(1)).after(&both)), ["1"], "one that was taken out is gone");
    }

    #[test]
    fn a_path_is_as_full_as_df_says() {
        let of = |what, bytes| format!("hostgauge_filesystem_{what}_bytes{{Host=\"h\",path=\"/\"}} {bytes}\n");
        let shares = snapshot(&[of("used", 30), of("available", 60), of("size", 100)].concat()).filesystems;
        let (_, share) = shares.first().expect("a path");
        assert_eq!((share.used, share.total), (Some(30.0), Some(100.0)));
        assert!((share.percent.expect("a share") - 33.333).abs() < 0.001);
        let empty = snapshot(&[of("used", 0), of("available", 0), of("size", 0)].concat()).filesystems;
        assert_eq!(empty.first().and_then(|(_, share)| share.percent), None, "0 of 0 is no share");
    }

    #[test]
    fn the_ledger_and_failures_are_told_in_words() {
        let shown = snapshot(
            "hostgauge_delivery_taken_total{exporter=\"cloudwatch\"} 9\n\
             hostgauge_delivery_published_total{exporter=\"cloudwatch\"} 5\n\
             hostgauge_delivery_pending{exporter=\"cloudwatch\"} 3\n\
             hostgauge_delivery_dropped_total{exporter=\"cloudwatch\",reason=\"too_old\"} 1\n\
             hostgauge_delivery_dropped_total{exporter=\"emf\",reason=\"too_old\"} 7\n\
             hostgauge_delivery_ambiguous_total{exporter=\"cloudwatch\"} 0\n\
             hostgauge_collector_failure{collector=\"gpu\",reason=\"timed_out\"} 1\n\
             hostgauge_collector_failure{collector=\"disk\",reason=\"missing\"} 1\n\
             hostgauge_collector_stuck_seconds{collector=\"gpu\"} 12.4\n",
        );
        assert_eq!(shown.ledgers, ["cloudwatch  taken 9  published 5  pending 3  dropped 1 (too_old)"]);
        assert_eq!(shown.failures, ["! collector gpu: timed out, for 12 s", "! collector disk: missing"]);
    }
}
