//! The table of bars, which several programs write a row of.

use std::{fs::File, io::Write as _, path::Path};

/// Appends rows to a file, which is made where there is none.
pub fn append(path: &Path, rows: &str) -> Result<(), String> {
    let file = File::options().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(rows.as_bytes())).map_err(|e| format!("{}: {e}", path.display()))
}

pub fn verdict(met: bool) -> &'static str {
    if met { "yes" } else { "no" }
}

/// A row: what it is, its value, its bar, whether that is met, the program that shows it.
pub fn row(figure: &str, what: &str, value: &str, bar: &str, met: &str, shown_by: &str) -> String {
    format!("| {figure} | {what} | {value} | {bar} | {met} | `{shown_by}` |\n")
}
