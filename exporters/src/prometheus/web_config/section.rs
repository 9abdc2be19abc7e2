//! The keys of one part of the file: taken one by one, each with what it must be.

use super::document::{Entry, Node, Value};

/// A text with its line.
pub(super) struct Line {
    pub line: usize,
    pub text: String,
}

/// A mapping whose keys are all known.
pub(super) struct Section {
    /// The keys that lead here, with a dot after each.
    path: String,
    entries: Vec<Entry>,
}

impl Section {
    /// A part of the file with no other keys than these; a null has none of them.
    pub(super) fn of(node: Node, path: &str, known: &[&str]) -> Result<Self, String> {
        let section = Self::any(node, path)?;
        for entry in &section.entries {
            if !known.contains(&entry.key.as_str()) {
                let key = section.name(&entry.key.escape_debug().to_string());
                return Err(format!("line {}: unknown key {key}{}", entry.line, suggestion(&entry.key, known)));
            }
        }
        Ok(section)
    }

    /// A part whose keys are names that somebody chose.
    pub(super) fn any(node: Node, path: &str) -> Result<Self, String> {
        let entries = match node.value {
            Value::Null => Vec::new(),
            Value::Map(entries) => entries,
            other => {
                let what = if path.is_empty() { "the file" } else { path };
                return Err(format!("line {}: {what}: expected keys with values, found {}", node.line, other.kind()));
            }
        };
        let path = if path.is_empty() { String::new() } else { format!("{path}.") };
        Ok(Self { path, entries })
    }

    /// A key as messages name it.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.path)
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// The value of a key; `None` where there is none.
    pub(super) fn take(&mut self, key: &str) -> Option<Node> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        let node = self.entries.swap_remove(at).node;
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    /// A text; an empty one is none.
    pub(super) fn text(&mut self, key: &str, expected: &str) -> Result<Option<Line>, String> {
        let Some(node) = self.take(key) else { return Ok(None) };
        let line = self.one(key, node, expected)?;
        Ok((!line.text.is_empty()).then_some(line))
    }

    /// A list of texts; `None` where the key is not there.
    pub(super) fn texts(&mut self, key: &str, expected: &str) -> Result<Option<Vec<Line>>, String> {
        let Some(node) = self.take(key) else { return Ok(None) };
        match node.value {
            Value::List(list) => list.into_iter().map(|node| self.one(key, node, expected)).collect::<Result<_, _>>(),
            other => Err(self.wrong(key, node.line, &format!("a list of {expected}, found {}", other.kind()))),
        }
        .map(Some)
    }

    /// Yes or no, in the words of YAML 1.1.
    pub(super) fn switch(&mut self, key: &str, default: bool) -> Result<bool, String> {
        let Some(Line { line, text }) = self.text(key, "true or false")? else { return Ok(default) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            _ => Err(self.wrong(key, line, "true or false")),
        }
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Result<Option<(usize, T)>, String> {
        let expected = || one_of(words.iter().map(|(word, _)| *word));
        let Some(Line { line, text }) = self.text(key, "a word")? else { return Ok(None) };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, meaning)) => Ok(Some((line, *meaning))),
            None => {
                let found = format!("{}, found {}", expected(), text.escape_debug());
                Err(self.wrong(key, line, &found))
            }
        }
    }

    /// The message about a value that is not what was expected.
    pub(super) fn wrong(&self, key: &str, line: usize, expected: &str) -> String {
        format!("line {line}: {}: expected {expected}", self.name(key))
    }

    fn one(&self, key: &str, node: Node, expected: &str) -> Result<Line, String> {
        match node.value {
            Value::Text(text) => Ok(Line { line: node.line, text }),
            other => Err(self.wrong(key, node.line, &format!("{expected}, found {}", other.kind()))),
        }
    }
}

/// "A, B or C".
pub(super) fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// "; did you mean X?", if a known name is near enough to be meant.
fn suggestion(name: &str, known: &[&str]) -> String {
    let likeness = |known: &&str| strsim::jaro_winkler(&name.to_ascii_lowercase(), &known.to_ascii_lowercase());
    match known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))) {
        Some(nearest) if likeness(nearest) > 0.8 => format!("; did you mean {nearest}?"),
        _ => String::new(),
    }
}
