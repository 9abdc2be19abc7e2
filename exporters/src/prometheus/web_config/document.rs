//! YAML as a tree that knows its lines: of YAML what such a file needs, bounded.

use std::collections::HashSet;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// The file has three levels, and a list at the end of one.
const DEEPEST: usize = 6;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    /// From 1 on.
    pub line: usize,
    pub value: Value,
}

pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub line: usize,
    pub key: String,
    pub node: Node,
}

/// Says what it is, never what it says: that may be a secret.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())
    }
}

impl Value {
    /// What it is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "keys with values",
        }
    }
}

/// Reads a document. An empty one is a null.
///
/// # Errors
///
/// What is wrong, with the line; never with a value.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let mut events = Events(Parser::new_from_str(text));
    loop {
        match events.next()? {
            Some((Event::Nothing | Event::StreamStart | Event::DocumentStart(_), _)) => (),
            Some((Event::StreamEnd | Event::DocumentEnd, _)) | None => return Ok(Node { line: 1, value: Value::Null }),
            Some(first) => {
                let node = events.node(first, 0)?;
                return events.end().map(|()| node);
            }
        }
    }
}

struct Events<'a>(Parser<'a, saphyr_parser::StrInput<'a>>);

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, String> {
        let next = self.0.next().transpose();
        next.map_err(|error| format!("line {}: no YAML: {}", error.marker().line(), error.info()))
    }

    /// One value, whose first event has come.
    fn node(&mut self, (event, span): (Event<'a>, Span), depth: usize) -> Result<Node, String> {
        let line = span.start.line();
        if depth > DEEPEST {
            return Err(format!("line {line}: nested too deep"));
        }
        let value = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) if ["", "~", "null", "Null", "NULL"].contains(&&*text) => {
                Value::Null
            }
            Event::Scalar(text, ..) => Value::Text(text.into_owned()),
            Event::SequenceStart(..) => Value::List(self.list(depth)?),
            Event::MappingStart(..) => Value::Map(self.map(depth)?),
            Event::Alias(_) => return Err(format!("line {line}: an alias (*NAME): expected the value itself")),
            _ => return Err(format!("line {line}: expected a value")),
        };
        Ok(Node { line, value })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, String> {
        let mut list = Vec::new();
        loop {
            match self.more()? {
                (Event::SequenceEnd, _) => return Ok(list),
                first => list.push(self.node(first, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, String> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let first = match self.more()? {
                (Event::MappingEnd, _) => return Ok(entries),
                first => first,
            };
            let Node { line, value } = self.node(first, depth + 1)?;
            let key = match value {
                Value::Text(key) => key,
                other => return Err(format!("line {line}: expected a key, found {}", other.kind())),
            };
            if !seen.insert(key.clone()) {
                return Err(format!("line {line}: {}: the same key stands above", key.escape_debug()));
            }
            let value = self.more()?;
            entries.push(Entry { line, key, node: self.node(value, depth + 1)? });
        }
    }

    fn more(&mut self) -> Result<(Event<'a>, Span), String> {
        self.next()?.ok_or_else(|| "it ends in the middle".into())
    }

    fn end(&mut self) -> Result<(), String> {
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::DocumentStart(_)) {
                return Err(format!("line {}: a second document: expected one", span.start.line()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".into(),
            Value::Text(text) => format!("{text:?}"),
            Value::List(list) => format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(", ")),
            Value::Map(entries) => {
                let entry = |entry: &Entry| format!("{}@{}: {}", entry.key, entry.line, shown(&entry.node));
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
        }
    }

    #[test]
    fn a_tree_knows_its_lines() {
        for (text, expected) in [
            ("", "null"),
            ("# nothing\n---\n", "null"),
            ("a: 1\nb:\n  c: [x, 'y: z']\n  d:\n", "{a@1: \"1\", b@2: {c@3: [\"x\", \"y: z\"], d@4: null}}"),
            ("a: |\n  one\n  two\nb: \"~\"\n", "{a@1: \"one\\ntwo\\n\", b@4: \"~\"}"),
            ("{\"a\": {\"b\": true}}", "{a@1: {b@1: \"true\"}}"),
        ] {
            assert_eq!(shown(&parse(text).expect(text)), expected);
        }
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, expected) in [
            ("a: 1\na: 2", "line 2: a: the same key stands above"),
            ("a: &x 1\nb: *x", "line 2: an alias (*NAME): expected the value itself"),
            ("a: 1\n---\nb: 2", "line 2: a second document"),
            ("a: [1", "line "),
            ("a: 'x", "line "),
            ("[[[[[[[[1]]]]]]]]", "line 1: nested too deep"),
            ("[a]: 1", "line 1: expected a key, found a list"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    // Each key compared with all before it would take minutes here.
    #[test]
    fn as_many_keys_as_fit_in_a_file_are_read_in_seconds() {
        let text: String = (0..100_000).map(|number| format!("k{number}:\n")).collect();
        let start = std::time::Instant::now();
        assert!(matches!(parse(&text).expect("a tree").value, Value::Map(entries) if entries.len() == 100_000));
        assert!(start.elapsed().as_secs() < 30, "it took {:?}", start.elapsed());
    }

    proptest! {
        // Whatever stands in the file, it is read or refused.
        #[test]
        fn no_text_panics(text in "[a-c:{}\\[\\]&*|>'\"#\\-?!%~ \n\t,]{0,60}") {
            let _ = parse(&text);
        }
    }
}
