//! Reading what others wrote: never without end, never what is not a file.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use serde_json::Value;

use super::source::Silence;

/// The most bytes of a file that are read. A resourceconfig.json of a thousand hosts has a hundredth of it.
pub(super) const LIMIT: u64 = 1 << 20;

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String, Silence> {
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Silence::Missing,
        _ => Silence::Unreadable(error.to_string()),
    };
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Silence::Unreadable("it is no regular file".into()));
    }
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(unreadable)?.take(LIMIT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LIMIT {
        return Err(Silence::Malformed(format!("more than {LIMIT} bytes, expected less")));
    }
    String::from_utf8(bytes).map_err(|error| {
        Silence::Malformed(format!("no UTF-8 at byte {}, expected text", error.utf8_error().valid_up_to()))
    })
}

/// The object in a file of JSON.
pub(super) fn json(path: &Path) -> Result<Value, Silence> {
    parse_json(&read(path)?)
}

pub(super) fn parse_json(text: &str) -> Result<Value, Silence> {
    // Its messages name a place and what was expected there, and quote nothing: the text may hold secrets.
    let value: Value = serde_json::from_str(text).map_err(|error| Silence::Malformed(error.to_string()))?;
    if value.is_object() { Ok(value) } else { Err(Silence::Malformed("expected a JSON object".into())) }
}

/// A text in an object.
pub(super) fn text<'a>(object: &'a Value, key: &str) -> Result<&'a str, Silence> {
    match object.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Silence::Malformed(format!("{key} is something else, expected a text"))),
        None => Err(Silence::Malformed(format!("no {key}, expected a text of that name"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f.json");
        assert_eq!(json(&path), Err(Silence::Missing));
        assert!(matches!(json(folder.path()), Err(Silence::Unreadable(why)) if why.contains("regular file")));
        let huge = format!("{{\"a\": \"{}\"}}", "x".repeat(LIMIT as usize));
        for (bytes, said) in [
            (&b"{\"a\": 1"[..], "line 1 column 7"),
            (b"{\n\"a\": nul}", "line 2 column"),
            (b"[]", "expected a JSON object"),
            (b"", "line 1 column 0"),
            (b"{\"a\": \"\xff\"}", "byte 7"),
            (&[b'['; 4096][..], "recursion limit"),
            (huge.as_bytes(), "more than 1048576 bytes"),
        ] {
            fs::write(&path, bytes).expect("written");
            let Err(Silence::Malformed(what)) = json(&path) else { panic!("{said}: taken") };
            assert!(what.contains(said), "{what}");
        }
        fs::write(&path, "{\"a\": 1, \"b\": \"x\"}").expect("written");
        let object = json(&path).expect("an object");
        assert_eq!(text(&object, "b"), Ok("x"));
        assert!(text(&object, "a").is_err() && text(&object, "c").is_err());
    }
}
