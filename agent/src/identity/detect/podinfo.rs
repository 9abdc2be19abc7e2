//! Files of Kubernetes' downward API: `labels` and `annotations`, a line `key="value"` for each.
//!
//! Source: Kubernetes, "Expose Pod Information to Containers Through Files". The value is escaped as Go's strconv.Quote
//! does it (FormatMap of kubernetes' pkg/fieldpath).

use std::path::Path;

use super::file;
use super::source::Silence;

/// The labels or annotations of a pod.
#[derive(Debug, Default)]
pub(super) struct Map(Vec<(String, String)>);

impl Map {
    pub(super) fn read(path: &Path) -> Result<Self, Silence> {
        parse(&file::read(path)?).map(Self).map_err(Silence::Malformed)
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(own, value)| own == key && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(index, line)| row(line).ok_or_else(|| format!("line {}, expected key=\"value\"", index + 1))).collect()
}

fn row(line: &str) -> Option<(String, String)> {
    let (key, value) = line.split_once('=')?;
    let value = value.trim_end().strip_prefix('"')?.strip_suffix('"')?;
    Some((key.to_owned(), unescape(value)?))
}

fn unescape(text: &str) -> Option<String> {
    let mut rest = text.chars();
    let mut out = String::new();
    while let Some(character) = rest.next() {
        let plain = match character {
            '"' => return None,
            '\\' => match rest.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'v' => '\u{b}',
                'x' => code(&mut rest, 2)?,
                'u' => code(&mut rest, 4)?,
                'U' => code(&mut rest, 8)?,
                same @ ('"' | '\\') => same,
                _ => return None,
            },
            other => other,
        };
        out.push(plain);
    }
    Some(out)
}

fn code(rest: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let code: String = rest.take(digits).filter(char::is_ascii_hexdigit).collect();
    char::from_u32(u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == digits)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_escapes_of_go_are_undone() {
        let text = "a.b/c=\"x\"\nmany=\"one\\ntwo \\\"three\\\" \\\\ \\u00e9 \\x07=\"\nempty=\"\"\n";
        let map = Map(parse(text).expect("well formed"));
        assert_eq!(map.get("a.b/c"), Some("x"));
        assert_eq!(map.get("many"), Some("one\ntwo \"three\" \\ \u{e9} \u{7}="));
        assert_eq!((map.get("empty"), map.get("a")), (None, None));
    }

    #[test]
    fn a_bad_line_is_named() {
        for line in ["a", "a=b", "a=\"b", "a=\"b\"c\"", "a=\"\\q\"", "a=\"\\u12\"", "a=\""] {
            let error = parse(&format!("good=\"1\"\n{line}\n")).expect_err(line);
            assert!(error.starts_with("line 2, expected"), "{error}");
        }
    }

    proptest! {
        /// What Rust's own escaping of printable text and the common controls writes is read back as it was.
        #[test]
        fn escaping_and_reading_back_change_nothing(text in "[ -~\\n\\t\\r]{0,40}") {
            let quoted = format!("k={text:?}");
            prop_assert_eq!(row(&quoted), Some(("k".to_owned(), text)));
        }
    }
}
