//! One thing that was found, and how findings are printed.

use serde_json::{Value, json};

use crate::cli::output;

/// What is found of publishing where nobody asked for it.
pub(super) const NOT_ASKED: &str = "nothing is published: neither --cloudwatch nor --emf is given";

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; what was asked for works.
    Note,
    /// What was asked for cannot work, or not in full. Then the command exits with 1.
    Problem,
}

/// A line of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub level: Level,
    /// What it is about, in a word.
    pub subject: &'static str,
    /// What was found, on one line.
    pub found: String,
    /// A word for the cause, which stays the same; `None` where all is well.
    pub cause: Option<&'static str>,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(subject: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject, found: found.into(), cause: None, remedy: None }
    }

    pub(super) fn note(subject: &'static str, cause: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Note, cause: Some(cause), ..Self::ok(subject, found) }
    }

    pub(super) fn problem(subject: &'static str, cause: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Problem, cause: Some(cause), ..Self::ok(subject, found) }
    }

    /// A problem where it was asked for, else a note.
    pub(super) fn bad(asked: bool, subject: &'static str, cause: &'static str, found: impl Into<String>) -> Self {
        let make = if asked { Self::problem } else { Self::note };
        make(subject, cause, found.into())
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    fn level(&self) -> &'static str {
        match self.level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Problem => "problem",
        }
    }
}

/// A line for each, with its remedy below.
pub(super) fn text(findings: &[Finding]) -> String {
    let row = |finding: &Finding| {
        // What others say (a driver, a service, a file name) must not look like a line of ours.
        let found = finding.found.replace(char::is_control, " ");
        [finding.level().to_owned(), finding.subject.to_owned(), found]
    };
    let rows: Vec<_> = findings.iter().map(row).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0) + 2;
    let indent = width(0) + width(1);
    let lines = output::columns(&rows);
    let with_remedy = |(line, finding): (&str, &Finding)| match &finding.remedy {
        Some(remedy) => format!("{line}\n{:indent$}-> {}\n", "", remedy.replace(char::is_control, " ")),
        None => format!("{line}\n"),
    };
    lines.lines().zip(findings).map(with_remedy).collect()
}

/// `{"problems": N, "findings": [{"level": "ok"|"note"|"problem", "subject": ..., "found": ..., "cause": word or null,
/// "remedy": text or null}]}`. Keys, levels, subjects and causes stay; `found` and `remedy` are for people.
pub(super) fn json(findings: &[Finding]) -> String {
    let one = |finding: &Finding| {
        let Finding { subject, found, cause, remedy, .. } = finding;
        json!({ "level": finding.level(), "subject": subject, "found": found, "cause": cause, "remedy": remedy })
    };
    let problems = findings.iter().filter(|finding| finding.level == Level::Problem).count();
    let all: Vec<Value> = findings.iter().map(one).collect();
    format!("{:#}\n", json!({ "problems": problems, "findings": all }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_stand_below_what_was_found() {
        let findings = [
            Finding::ok("cpu", "2 cores"),
            Finding::problem("page", "address_taken", "taken\nby\x1b[31m somebody").remedy("free it"),
        ];
        let expected = "ok       cpu   2 cores\n\
                        problem  page  taken by [31m somebody\n               -> free it\n";
        assert_eq!(text(&findings), expected);
    }
}
