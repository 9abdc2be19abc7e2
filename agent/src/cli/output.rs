//! Standard output and standard error.

use std::io::{self, Write as _};

use super::Failure;

/// Prints what was asked for. A reader that has seen enough (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::RunTime(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says what went wrong.
pub(super) fn complain(message: &str) {
    // There is nowhere left to say that this failed.
    let _ = writeln!(io::stderr().lock(), "hostgauge: {message}");
}

/// Tells a person at a terminal something.
pub(super) fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Rows of cells as text, each column as wide as its widest cell but for the last.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(|column| if column + 1 < N { width(column) } else { 0 });
    let mut text = String::new();
    for row in rows {
        let line: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}
