//! Every input of the committed corpus through its property, as an ordinary test. Compiled into each package that has
//! properties.

use std::fs;
use std::path::{Path, PathBuf};

/// Says which input it was, should its property not hold.
struct Replayed(PathBuf);

impl Drop for Replayed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the property does not hold for {}", self.0.display());
        }
    }
}

/// A name, and the property of that name.
type Named = (&'static str, fn(&[u8]));

pub(crate) fn replay(targets: &[Named]) {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_top = |folder: &&Path| folder.join("tests/fuzz/corpus").is_dir();
    let corpus = package.ancestors().find(is_top).expect("the top of the project").join("tests/fuzz/corpus");
    for (name, property) in targets {
        let inputs: Vec<PathBuf> = fs::read_dir(corpus.join(name))
            .unwrap_or_else(|error| panic!("corpus of {name}: {error}"))
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert!(!inputs.is_empty(), "the corpus of {name} is empty");
        for path in inputs {
            let replayed = Replayed(path);
            property(&fs::read(&replayed.0).expect("an input"));
        }
        property(b"");
    }
}
