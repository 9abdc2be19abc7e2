//! The figures, their bars, and the Markdown that is printed.

use crate::{bars, peers::Kind};
use std::{collections::BTreeMap, fmt::Write, fs, thread};

/// What `--only` knows.
pub const IDS: [&str; 9] = ["G1", "G2", "G3", "G4", "G5", "G6", "G9", "G10", "G14"];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    Idle,
    Container,
    ContainerSameFiles,
    Group,
    Scrape,
    ScrapeGzip,
    ScrapePerSeries,
    Paced,
    At10Hz,
    Rss,
    PrivateDirty,
    Pss,
    Threads,
    CallsPerSample,
    CallsPerScrape,
    CallsIdle,
    Bytes,
    BytesGzip,
    Series,
    SizeOfAll,
    Size,
}

#[derive(Clone, Copy)]
enum Bar {
    AtMost(f64),
    TimesFloor(f64),
    /// Microseconds, and what the floor took where they were set: on a slower machine the ratio of the two can be met.
    WhereFloorTakes(f64, f64),
    Nothing,
}

use Bar::{AtMost, Nothing, TimesFloor, WhereFloorTakes};

/// In the order of printing. The bars are hostgauge's; a peer has none.
const TABLES: [(Figure, &str, Bar); 21] = [
    (Figure::Idle, "G1: CPU at 1 Hz without scrapes, us/s", TimesFloor(1.5)),
    (Figure::Container, "G2: the same of its container, us/s; the floor reads the least", TimesFloor(1.5)),
    (Figure::ContainerSameFiles, "G2: the same, us/s; the floor reads the same files", TimesFloor(1.5)),
    (
        Figure::Group,
        "G2: the same of a control group by its path, us/s; the floor reads the same files",
        TimesFloor(1.5),
    ),
    (Figure::Scrape, "G3: CPU per keep-alive scrape, us", WhereFloorTakes(25.0, 11.0)),
    (Figure::ScrapeGzip, "G3: CPU per keep-alive scrape with gzip, us", AtMost(30.0)),
    (Figure::ScrapePerSeries, "G3: CPU per series of a plain scrape, us", Nothing),
    (
        Figure::Paced,
        "G4: CPU at 1 Hz with one scrape a second, each on a new connection, us/s",
        WhereFloorTakes(300.0, 178.0),
    ),
    (Figure::At10Hz, "G5: CPU at 10 Hz with one scrape in 15 s (--quick: 5 s), us/s", WhereFloorTakes(900.0, 597.0)),
    (Figure::Rss, "G6: resident memory, MB", AtMost(4.0)),
    (Figure::PrivateDirty, "G6: private dirty memory, MB", AtMost(1.0)),
    (Figure::Pss, "G6: proportional memory (PSS), MB", Nothing),
    (Figure::Threads, "G6: threads", Nothing),
    (Figure::CallsPerSample, "G9: system calls per sample, at 10 Hz", Nothing), // by the clock: a tick more or less
    (Figure::CallsPerScrape, "G9: system calls per keep-alive scrape", Nothing),
    (Figure::CallsIdle, "G9: system calls per second, at 1 Hz without scrapes", Nothing),
    (Figure::Bytes, "G10: bytes of the page", AtMost(6000.0)),
    (Figure::BytesGzip, "G10: bytes of the page with gzip", AtMost(1000.0)),
    (Figure::Series, "G10: series on the page", Nothing),
    (Figure::SizeOfAll, "G14: binary with everything, MB", AtMost(9.0)),
    (Figure::Size, "G14: binary for Prometheus only, MB", AtMost(2.5)),
];

pub struct Report {
    exporters: Vec<(Kind, String)>,
    values: BTreeMap<(Figure, Kind), Vec<f64>>,
    notes: Vec<String>,
}

impl Report {
    pub fn new() -> Self {
        Self {
            exporters: Vec::new(),
            values: BTreeMap::new(),
            notes: vec![format!("Load average before: {}.", load())],
        }
    }

    pub fn add_exporter(&mut self, kind: Kind, version: &str) {
        self.exporters.push((kind, version.into()));
    }

    pub fn add(&mut self, figure: Figure, exporter: Kind, value: f64) {
        self.values.entry((figure, exporter)).or_default().push(value);
    }

    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub fn markdown(&self) -> String {
        let mut out = String::new();
        for (figure, title, bar) in TABLES {
            self.table(&mut out, figure, title, bar);
        }
        out += "Notes\n\n";
        for note in self.notes.iter().map(String::as_str).chain(CAVEATS) {
            let _ = writeln!(out, "- {note}");
        }
        let cores = thread::available_parallelism().map_or(0, usize::from);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let _ = writeln!(out, "- {cores} cores, Linux {}. Load average after: {}.", kernel.trim(), load());
        out
    }

    /// One row a figure, one column an exporter: the least of the runs, and our ratio to the floor.
    pub fn summary(&self) -> String {
        let mut out = String::from("| |");
        let peers = || self.exporters.iter().filter(|(kind, _)| !matches!(kind, Kind::Floor | Kind::Hostgauge));
        let head = |kind: Kind| {
            let version = self.exporters.iter().find(|(other, _)| *other == kind).map(|(_, version)| version.as_str());
            format!(" {} {} |", kind.name(), version.unwrap_or_default())
        };
        let _ = write!(out, "{} floor | ratio |", head(Kind::Hostgauge));
        peers().for_each(|(kind, _)| out += &head(*kind));
        out += "\n| --- |";
        (0..3 + peers().count()).for_each(|_| out += " ---: |");
        out.push('\n');
        let least = |figure, kind| self.values.get(&(figure, kind)).map(|values| Summary::of(values));
        let cell = |summary: &Option<Summary>| summary.as_ref().map_or(String::new(), |all| number(all.least));
        for (figure, title, _) in TABLES {
            let (ours, floor) = (least(figure, Kind::Hostgauge), least(figure, Kind::Floor));
            if ours.is_none() {
                continue;
            }
            let ratio = match (&ours, &floor) {
                (Some(ours), Some(floor)) if floor.least > 0.0 => number(ours.least / floor.least),
                _ => String::new(),
            };
            let _ = write!(out, "| {title} | {} | {} | {ratio} |", cell(&ours), cell(&floor));
            peers().for_each(|(kind, _)| {
                let _ = write!(out, " {} |", cell(&least(figure, *kind)));
            });
            out.push('\n');
        }
        out
    }

    /// A row for each figure that has a bar: figure, value, bar, met.
    pub fn bars(&self) -> String {
        let mut out = String::new();
        for (figure, title, bar) in TABLES.iter().filter(|(_, _, bar)| !matches!(bar, Nothing)) {
            let least = |kind| self.values.get(&(*figure, kind)).map(|values| Summary::of(values).least);
            let Some(ours) = least(Kind::Hostgauge) else { continue };
            let floor = least(Kind::Floor);
            let (id, what) = title.split_once(": ").unwrap_or((title, ""));
            let value = match (bar, floor) {
                (TimesFloor(_) | WhereFloorTakes(..), Some(floor)) => {
                    format!("{} ({} x floor)", number(ours), number(ours / floor))
                }
                _ => number(ours),
            };
            if let Some(met) = bar.met(ours, floor) {
                out += &bars::row(id, what, &value, &bar.text(), met, "hostgauge-bench");
            }
        }
        out
    }

    fn table(&self, out: &mut String, figure: Figure, title: &str, bar: Bar) {
        let rows = || self.exporters.iter().filter(|(kind, _)| self.values.contains_key(&(figure, *kind)));
        if rows().next().is_none() {
            return;
        }
        let _ = writeln!(
            out,
            "**{title}**\n\n\
             | exporter | version | least | median | runs | ratio to floor | bar | met |\n\
             | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"
        );
        let floor = self.values.get(&(figure, Kind::Floor)).map(|values| Summary::of(values));
        for (kind, version) in rows() {
            let values = &self.values[&(figure, *kind)];
            let summary = Summary::of(values);
            let ours = *kind == Kind::Hostgauge;
            let _ = writeln!(
                out,
                "| {} | {version} | {} | {} | {} | {} | {} | {} |",
                kind.name(),
                number(summary.least),
                number(summary.median),
                values.len(),
                floor.as_ref().map_or("-".into(), |floor| summary.ratio(floor)),
                if ours { bar.text() } else { "-".into() },
                bar.met(summary.least, floor.as_ref().map(|floor| floor.least)).filter(|_| ours).unwrap_or("-"),
            );
        }
        out.push('\n');
    }
}

const CAVEATS: [&str; 6] = [
    "Noise only ever adds CPU time, so `least` is the estimate and `met` goes by it; the ratio is least to least, \
     in brackets median to median. Microseconds belong to this machine and this hour; quote the ratios.",
    "The bars in microseconds were set where the floor took 9-11 us (G3), 154-178 us/s (G4) and 597 us/s (G5): a \
     ratio to the floor that would have met them there, at the most that it took, is `by ratio`.",
    "Series differ from exporter to exporter: see the CPU per series and the series on the page.",
    "Peers are as their distribution ships them, cut to CPU, memory and file systems; newer or differently built ones \
     may cost less or more (Debian 12: node_exporter 1.5.0, built with Go 1.19). node_exporter samples only when scraped.",
    "The floor and collectd have no gzip. The floor keeps min, max and mean, but no windows and no health. \
     collectd's binary is without its plugins.",
    "MB is 1,000,000 bytes. Shared libraries make RSS unfair to C programs: compare PSS there.",
];

impl Bar {
    fn text(self) -> String {
        match self {
            AtMost(bar) => number(bar),
            TimesFloor(bar) => format!("{bar} x floor"),
            WhereFloorTakes(bar, floor) => format!("{bar} where the floor takes {floor} ({} x)", number(bar / floor)),
            Nothing => "-".into(),
        }
    }

    /// `by ratio` is less than `yes`: the microseconds are missed.
    fn met(self, value: f64, floor: Option<f64>) -> Option<&'static str> {
        match self {
            AtMost(bar) => Some(bars::verdict(value <= bar)),
            TimesFloor(bar) => floor.map(|floor| bars::verdict(value <= bar * floor)),
            WhereFloorTakes(bar, then) => match floor {
                Some(floor) if value > bar && value / floor <= bar / then => Some("by ratio"),
                _ => Some(bars::verdict(value <= bar)),
            },
            Nothing => None,
        }
    }
}

struct Summary {
    least: f64,
    median: f64,
}

impl Summary {
    /// `values` is not empty; of an even number the median is the mean of the middle two.
    fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Self { least: sorted[0], median: f64::midpoint(below, above) }
    }

    fn ratio(&self, floor: &Self) -> String {
        if floor.least <= 0.0 {
            return "-".into();
        }
        let (least, median) = (self.least / floor.least, self.median / floor.median);
        format!("{} ({})", number(least), number(median))
    }
}

/// Three figures are as many as the noise leaves.
fn number(value: f64) -> String {
    match value {
        _ if value.fract() == 0.0 || value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_compares_with_the_floor_and_judges_only_hostgauge() {
        let mut report = Report::new();
        for (kind, values) in [
            (Kind::Floor, [60.0, 62.0, 90.0]),
            (Kind::Hostgauge, [93.0, 90.0, 99.0]),
            (Kind::Collectd, [450.0, 455.0, 460.0]),
        ] {
            report.add_exporter(kind, "1.0");
            for value in values {
                report.add(Figure::Idle, kind, value);
            }
        }
        let text = report.markdown();
        assert!(text.contains("| floor | 1.0 | 60 | 62 | 3 | 1 (1) | - | - |"), "{text}");
        assert!(text.contains("| hostgauge | 1.0 | 90 | 93 | 3 | 1.50 (1.50) | 1.5 x floor | yes |"), "{text}");
        assert!(text.contains("| collectd | 1.0 | 450 | 455 | 3 | 7.50 (7.34) | - | - |"), "{text}");
        assert!(!text.contains("G3:"), "a figure without values has no table");
    }

    #[test]
    fn without_a_floor_there_is_no_ratio_and_no_verdict() {
        let mut report = Report::new();
        report.add_exporter(Kind::Hostgauge, "1.0");
        report.add(Figure::Idle, Kind::Hostgauge, 90.0);
        report.add(Figure::Scrape, Kind::Hostgauge, 25.5);
        report.add(Figure::ScrapeGzip, Kind::Hostgauge, 30.5);
        let text = report.markdown();
        assert!(text.contains("| 90 | 90 | 1 | - | 1.5 x floor | - |"), "{text}");
        assert!(text.contains("| 25.5 | 25.5 | 1 | - | 25 where the floor takes 11 (2.27 x) | no |"), "{text}");
        assert!(text.contains("| 30.5 | 30.5 | 1 | - | 30 | no |"), "{text}");
    }

    #[test]
    fn microseconds_that_are_missed_can_be_met_by_ratio() {
        for (value, met) in [(25.0, "yes"), (50.0, "by ratio"), (51.0, "no")] {
            let mut report = Report::new();
            report.add_exporter(Kind::Hostgauge, "1.0");
            report.add_exporter(Kind::Floor, "1.0");
            report.add(Figure::Scrape, Kind::Hostgauge, value);
            report.add(Figure::Scrape, Kind::Floor, 22.0);
            let row = format!("25 where the floor takes 11 (2.27 x) | {met} |");
            assert!(report.markdown().contains(&row), "{}", report.markdown());
        }
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let summary = Summary::of(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!((summary.least, summary.median), (1.0, 2.5));
    }
}
