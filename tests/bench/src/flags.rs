//! The driver's own command line.

use crate::report::IDS;
use std::path::PathBuf;

pub const HELP: &str = "\
Measures hostgauge beside the floor probe and its peers. Markdown on stdout, progress on stderr.

cargo run --release -p hostgauge-bench -- [OPTIONS]

  --quick            one short round, under 90 s: a smoke test, too noisy to quote
  --only G1,G3       only these figures
  --hostgauge PATH   the binary to measure [default: target/release/hostgauge]
  --prometheus-only  that binary is the build for Prometheus only, which has a bar of its own in G14
  --python PATH      a Python with psutil and prometheus_client, for that peer [default: none]
  --summary FILE     also writes one table of all figures, as README has it
  --bars FILE        also appends a row for each bar
  --rounds N         rounds of G1 to G6, floor and hostgauge in turn [default: 3]
";

pub struct Flags {
    pub quick: bool,
    /// Empty: every figure.
    pub only: Vec<&'static str>,
    pub hostgauge: PathBuf,
    pub prometheus_only: bool,
    pub rounds: usize,
    pub python: Option<PathBuf>,
    pub summary: Option<PathBuf>,
    pub bars: Option<PathBuf>,
}

impl Flags {
    /// `None` when help was asked for.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let (mut quick, mut prometheus_only) = (false, false);
        let mut only = Vec::new();
        let mut hostgauge = PathBuf::from(root).join("target/release/hostgauge");
        let mut rounds = None;
        let (mut python, mut summary, mut bars) = (None, None, None);
        while let Some(flag) = arguments.next() {
            let mut value =
                |expected: &str| arguments.next().ok_or_else(|| format!("{flag}: expected {expected} after it"));
            match flag.as_str() {
                "--help" | "-h" => return Ok(None),
                "--quick" => quick = true,
                "--prometheus-only" => prometheus_only = true,
                "--only" => {
                    for id in value("figures, such as G1,G3")?.split(',') {
                        let known = IDS.iter().find(|known| known.eq_ignore_ascii_case(id));
                        only.push(*known.ok_or_else(|| format!("--only {id}: known figures are {}", IDS.join(" ")))?);
                    }
                }
                "--hostgauge" => hostgauge = value("a path")?.into(),
                // Peers run in a folder of their own. No link is followed: a virtual environment is one.
                "--python" => {
                    let path = value("a path")?;
                    python = Some(std::path::absolute(&path).map_err(|e| format!("--python {path}: {e}"))?);
                }
                "--summary" => summary = Some(value("a path")?.into()),
                "--bars" => bars = Some(value("a path")?.into()),
                "--rounds" => {
                    let text = value("a number")?;
                    let n = text.parse().ok().filter(|n| (1..=100).contains(n));
                    rounds = Some(n.ok_or_else(|| format!("--rounds {text}: expected 1 to 100"))?);
                }
                _ => return Err(format!("unknown flag {flag}\n\n{HELP}")),
            }
        }
        let rounds = rounds.unwrap_or(if quick { 1 } else { 3 });
        Ok(Some(Self { quick, only, hostgauge, prometheus_only, rounds, python, summary, bars }))
    }

    pub fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Flags>, String> {
        Flags::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn figures_are_chosen_by_id() {
        let flags = parse("--quick --only g1,G14").unwrap().unwrap();
        assert!(flags.wants("G1") && flags.wants("G14") && !flags.wants("G3"));
        assert_eq!(flags.rounds, 1);
        assert!(parse("").unwrap().unwrap().wants("G3"));
    }

    #[test]
    fn wrong_usage_names_what_was_expected() {
        for (line, expected) in [
            ("--only G7", "known figures are G1"),
            ("--rounds 0", "expected 1 to 100"),
            ("--rounds", "expected a number"),
            ("--fast", "unknown flag --fast"),
        ] {
            let error = parse(line).err().unwrap();
            assert!(error.contains(expected), "{error}");
        }
    }
}
