//! What a process takes of the machine while it lives: it must not grow.

use std::fs;

use crate::support::kernel::anonymous;

/// Resident memory of its own, descriptors and threads, read over and over.
#[derive(Debug, Default)]
pub(crate) struct Vitals(Vec<[f64; 3]>);

/// How much each may grow from the second quarter of a life to the last, by their medians: a connection or two more,
/// and one thread, as of a name that is looked up. Memory by a tenth, since it rises by steps, with the longest backlog
/// so far; in a short life by what each kind of trouble takes when it comes for the first time.
const NAMES: [&str; 3] = ["RssAnon, kB", "descriptors", "threads"];

fn bound(which: usize, before: f64, long: bool) -> f64 {
    match which {
        0 if long => (0.1 * before).max(100.0),
        0 => 1500.0,
        1 => 4.0,
        _ => 1.0,
    }
}

impl Vitals {
    pub(crate) fn look(&mut self, pid: u32) {
        let count = |folder: &str| fs::read_dir(format!("/proc/{pid}/{folder}")).map_or(0, |all| all.count());
        self.0.push([anonymous(pid) / 1024.0, count("fd") as f64, count("task") as f64]);
    }

    /// What they were in the second quarter and in the last one, and that it is the same.
    pub(crate) fn judge(&self, long: bool) -> String {
        let quarter = self.0.len() / 4;
        assert!(quarter > 0, "too short a life: {self:?}");
        let told = (0..NAMES.len()).map(|which| {
            let [before, after] = [&self.0[quarter..2 * quarter], &self.0[3 * quarter..]].map(|part| {
                let mut part: Vec<f64> = part.iter().map(|row| row[which]).collect();
                part.sort_by(f64::total_cmp);
                part[part.len() / 2]
            });
            let (name, most) = (NAMES[which], self.0.iter().map(|row| row[which]).fold(0.0, f64::max));
            assert!(
                after - before <= bound(which, before, long),
                "{name} grew from {before} to {after}, at most {most}"
            );
            format!("{name}: {before}, then {after}, at most {most}")
        });
        told.collect::<Vec<_>>().join("; ")
    }
}
