//! The measurements, one exporter at a time.

use crate::{
    flags::Flags,
    group::Group,
    peers::{Exporter, Kind, installed},
    process::{self, Scratch},
    report::{Figure, Report},
    smaps,
    target::Target,
    trace,
};
use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);
const WARM_UP: u32 = 50;
const SCRAPES: u32 = 1000;
const TRACED_SCRAPES: u32 = 200;
/// Two whole minutes hold at least one complete clock-aligned one.
const WINDOWS: Duration = Duration::from_secs(125);

pub struct Bench<'a> {
    flags: &'a Flags,
    scratch: &'a Scratch,
    strace: Result<PathBuf, String>,
    idle: Duration,
    paced: u32,
    at_10_hz: Duration,
    traced: Duration,
}

impl<'a> Bench<'a> {
    pub fn new(flags: &'a Flags, scratch: &'a Scratch) -> Self {
        let seconds = |full, quick| Duration::from_secs(if flags.quick { quick } else { full });
        Self {
            flags,
            scratch,
            strace: installed(&["strace"]),
            idle: seconds(20, 4),
            paced: if flags.quick { 5 } else { 15 },
            at_10_hz: seconds(15, 5),
            traced: seconds(5, 2),
        }
    }

    /// Whatever fails is noted, and the others go on.
    pub fn measure(&self, exporters: &[Exporter], report: &mut Report) {
        if self.flags.wants("G9")
            && let Err(missing) = &self.strace
        {
            report.note(format!("{missing}, so no G9"));
        }
        for exporter in exporters {
            report.add_exporter(exporter.kind, &exporter.version);
            // A script's size says nothing.
            if self.flags.wants("G14") && exporter.kind != Kind::Psutil {
                self.noted(exporter, report, |report| self.size(exporter, report));
            }
        }
        let (each, once) = (self.wants_any(&["G1", "G3", "G4", "G6"]), self.wants_any(&["G9", "G10"]));
        let rounds = match (each, once) {
            (true, _) => self.flags.rounds,
            (false, true) => 1,
            (false, false) => 0,
        };
        for round in 1..=rounds {
            let last = round == rounds;
            for exporter in exporters {
                // In turn, so that a change in the machine's load meets both; peers are far enough off for one round.
                let ours = matches!(exporter.kind, Kind::Floor | Kind::Hostgauge);
                if ours || last {
                    eprintln!("round {round} of {rounds}: {}", exporter.kind.name());
                    self.noted(exporter, report, |report| self.at_1_hz(exporter, last, report));
                }
            }
        }
        if self.flags.wants("G2") {
            match Group::new() {
                Ok(group) => (0..self.flags.rounds).for_each(|_| self.of_group(exporters, &group, report)),
                Err(error) => report.note(format!("no G2: {error}")),
            }
        }
        let rounds = match (self.flags.wants("G5"), self.flags.wants("G9")) {
            (true, _) => self.flags.rounds,
            (false, traced) => usize::from(traced),
        };
        for round in 1..=rounds {
            for exporter in exporters.iter().filter(|exporter| exporter.runs_at_10_hz()) {
                eprintln!("10 Hz, round {round} of {rounds}: {}", exporter.kind.name());
                self.noted(exporter, report, |report| self.at_10_hz(exporter, round == rounds, report));
            }
        }
    }

    fn wants_any(&self, ids: &[&str]) -> bool {
        ids.iter().any(|id| self.flags.wants(id))
    }

    fn noted(&self, exporter: &Exporter, report: &mut Report, work: impl FnOnce(&mut Report) -> Result<(), String>) {
        if let Err(error) = work(report) {
            eprintln!("{}: {error}", exporter.kind.name());
            report.note(format!("{}: {error}", exporter.kind.name()));
        }
    }

    fn started(&self, exporter: &Exporter, interval: Duration) -> Result<Target, String> {
        written_back(exporter)?;
        let target = Target::start(exporter.kind.name(), self.scratch, |address| {
            exporter.command(address, interval, self.scratch)
        })?;
        sleep(SECOND);
        scrape_times(&target, WARM_UP, false)?;
        sleep(SECOND);
        Ok(target)
    }

    fn at_1_hz(&self, exporter: &Exporter, last: bool, report: &mut Report) -> Result<(), String> {
        let target = self.started(exporter, SECOND)?;
        let mut add = |figure, value: f64| report.add(figure, exporter.kind, value);
        if self.flags.wants("G6") {
            let memory = smaps::memory(&target.tree())?;
            add(Figure::Rss, memory.rss as f64 / 1e6);
            add(Figure::PrivateDirty, memory.private_dirty as f64 / 1e6);
            add(Figure::Pss, memory.pss as f64 / 1e6);
            add(Figure::Threads, memory.threads as f64);
        }
        if self.flags.wants("G1") {
            let us = target.cpu_during(|| {
                sleep(self.idle);
                Ok(())
            })?;
            add(Figure::Idle, us / self.idle.as_secs_f64());
        }
        if self.flags.wants("G3") {
            let plain = target.cpu_during(|| scrape_times(&target, SCRAPES, false))? / f64::from(SCRAPES);
            let series = target.scraper(false)?.scrape()?.series();
            add(Figure::Scrape, plain);
            add(Figure::ScrapePerSeries, plain / series as f64);
            if target.scraper(true)?.scrape()?.gzip {
                let us = target.cpu_during(|| scrape_times(&target, SCRAPES, true))?;
                add(Figure::ScrapeGzip, us / f64::from(SCRAPES));
            }
        }
        if self.flags.wants("G4") {
            let us = target.cpu_during(|| paced(&target, self.paced))?;
            add(Figure::Paced, us / f64::from(self.paced));
        }
        if !last {
            return Ok(());
        }
        if let (true, Ok(strace)) = (self.flags.wants("G9"), &self.strace) {
            let per_second = self.calls_a_second(strace, &target)?;
            add(Figure::CallsIdle, per_second);
            let mut scraper = target.scraper(false)?;
            scraper.scrape()?;
            let (calls, time) = trace::calls_during(strace, &target.tree(), self.scratch, || {
                (0..TRACED_SCRAPES).try_for_each(|_| scraper.scrape().map(drop))
            })?;
            let scrapes = calls - per_second * time.as_secs_f64();
            add(Figure::CallsPerScrape, scrapes / f64::from(TRACED_SCRAPES));
        }
        if self.flags.wants("G10") {
            self.page(exporter, &target, report)?;
        }
        Ok(())
    }

    /// hostgauge first, which shows what it holds open; then the floor with the least that a container's CPU, memory and
    /// disk can be told from, and with all those files.
    fn of_group(&self, exporters: &[Exporter], group: &Group, report: &mut Report) {
        use Figure::{Container, ContainerSameFiles};
        let by_path = group.scope();
        let mut held = Vec::new();
        for (kind, scope, figures) in [
            (Kind::Hostgauge, "container", &[Container, ContainerSameFiles][..]),
            (Kind::Hostgauge, &by_path, &[Figure::Group]),
            (Kind::Floor, "", &[Container]),
            (Kind::Floor, "", &[ContainerSameFiles, Figure::Group]),
        ] {
            let Some(exporter) = exporters.iter().find(|exporter| exporter.kind == kind) else { continue };
            let files = if figures == [Container] { group.least() } else { held.clone() };
            eprintln!("a control group: {} {scope}, {} files", kind.name(), files.len());
            self.noted(exporter, report, |report| {
                written_back(exporter)?;
                let target = Target::start(kind.name(), self.scratch, |address| {
                    exporter.command_of_group(address, group, scope, &files, self.scratch)
                })?;
                sleep(SECOND);
                scrape_times(&target, WARM_UP, false)?;
                sleep(SECOND);
                let us = target.cpu_during(|| {
                    sleep(self.idle);
                    Ok(())
                })?;
                figures.iter().for_each(|figure| report.add(*figure, kind, us / self.idle.as_secs_f64()));
                if kind == Kind::Hostgauge {
                    held = group.held_by(&target.tree());
                }
                Ok(())
            });
        }
    }

    fn page(&self, exporter: &Exporter, target: &Target, report: &mut Report) -> Result<(), String> {
        let mut plain = target.scraper(false)?.scrape()?;
        if let Some(series) = exporter.last_series()
            && !plain.contains(series)
        {
            let patience = match self.flags.quick {
                true => Duration::ZERO,
                false => WINDOWS.saturating_sub(target.started.elapsed()),
            };
            eprintln!("{}: waiting up to {patience:.0?} for {series} on the page", exporter.kind.name());
            let complete = process::poll(patience, || {
                // Once a second: the wait needs no more.
                sleep(SECOND.min(patience));
                let page = target.scraper(false).and_then(|mut scraper| scraper.scrape());
                page.ok().filter(|page| page.contains(series))
            });
            match complete {
                Some(page) => plain = page,
                None => report.note(format!("{}: G10 is of a page without {series}", exporter.kind.name())),
            }
        }
        report.add(Figure::Bytes, exporter.kind, plain.body.len() as f64);
        report.add(Figure::Series, exporter.kind, plain.series() as f64);
        let packed = target.scraper(true)?.scrape()?;
        if packed.gzip {
            report.add(Figure::BytesGzip, exporter.kind, packed.body.len() as f64);
        }
        Ok(())
    }

    fn at_10_hz(&self, exporter: &Exporter, last: bool, report: &mut Report) -> Result<(), String> {
        let target = self.started(exporter, TENTH)?;
        if self.flags.wants("G5") {
            let us = target.cpu_during(|| {
                sleep(self.at_10_hz / 2);
                scrape_times(&target, 1, false)?;
                sleep(self.at_10_hz / 2);
                Ok(())
            })?;
            report.add(Figure::At10Hz, exporter.kind, us / self.at_10_hz.as_secs_f64());
        }
        if let (true, Ok(strace)) = (last && self.flags.wants("G9"), &self.strace) {
            let per_second = self.calls_a_second(strace, &target)?;
            report.add(Figure::CallsPerSample, exporter.kind, per_second / 10.0);
        }
        Ok(())
    }

    fn calls_a_second(&self, strace: &Path, target: &Target) -> Result<f64, String> {
        let (calls, time) = trace::calls_during(strace, &target.tree(), self.scratch, || {
            sleep(self.traced);
            Ok(())
        })?;
        Ok(calls / time.as_secs_f64())
    }

    fn size(&self, exporter: &Exporter, report: &mut Report) -> Result<(), String> {
        let path = exporter.program.display();
        let bytes = fs::metadata(&exporter.program).map_err(|e| format!("{path}: {e}"))?.len();
        let of_all = exporter.kind == Kind::Hostgauge && !self.flags.prometheus_only;
        let figure = if of_all { Figure::SizeOfAll } else { Figure::Size };
        report.add(figure, exporter.kind, bytes as f64 / 1e6);
        Ok(())
    }
}

/// Pages of a binary just built and not yet on disk would count as its private dirty memory.
fn written_back(exporter: &Exporter) -> Result<(), String> {
    let path = exporter.program.display();
    fs::File::open(&exporter.program).and_then(|file| file.sync_all()).map_err(|e| format!("{path}: {e}"))
}

fn scrape_times(target: &Target, times: u32, gzip: bool) -> Result<(), String> {
    let mut scraper = target.scraper(gzip)?;
    (0..times).try_for_each(|_| scraper.scrape().map(drop))
}

/// One scrape a second, a new connection each; it lasts exactly `times` seconds.
fn paced(target: &Target, times: u32) -> Result<(), String> {
    let start = Instant::now();
    for i in 1..=times {
        scrape_times(target, 1, false)?;
        sleep((SECOND * i).saturating_sub(start.elapsed()));
    }
    Ok(())
}
