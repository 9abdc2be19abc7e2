//! Measures hostgauge beside the floor probe and, where installed, its peers; prints one Markdown table per figure.
//!
//! It reports and never judges by exit code: a missed bar is a line in a table. README.md says what each figure means.
#![warn(clippy::undocumented_unsafe_blocks)]

#[cfg(not(target_os = "linux"))]
compile_error!("the benchmark reads /proc: Linux only");

mod bars;
mod clock;
mod flags;
mod group;
mod measure;
mod peers;
mod process;
mod report;
mod scraper;
mod smaps;
mod target;
mod trace;

use crate::{flags::Flags, measure::Bench, peers::Exporter, report::Report};

fn main() {
    let flags = match Flags::parse(std::env::args().skip(1)) {
        Ok(Some(flags)) => flags,
        Ok(None) => return print!("{}", flags::HELP),
        Err(error) => {
            eprintln!("hostgauge-bench: {error}");
            std::process::exit(2);
        }
    };
    let result = process::Scratch::new().and_then(|scratch| run(&flags, &scratch));
    if let Err(error) = result {
        eprintln!("hostgauge-bench: {error}");
        std::process::exit(1);
    }
}

fn run(flags: &Flags, scratch: &process::Scratch) -> Result<(), String> {
    let mut report = Report::new();
    let mut exporters = Vec::new();
    for candidate in Exporter::candidates(&flags.hostgauge, flags.python.as_deref(), scratch) {
        match candidate {
            Ok(exporter) => exporters.push(exporter),
            Err(missing) => report.note(missing),
        }
    }
    Bench::new(flags, scratch).measure(&exporters, &mut report);
    print!("{}", report.markdown());
    if let Some(path) = &flags.summary {
        std::fs::write(path, report.summary()).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    flags.bars.as_ref().map_or(Ok(()), |path| bars::append(path, &report.bars()))
}
