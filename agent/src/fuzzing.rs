//! Properties that hold for every input, by the name of their fuzz target. See `tests/fuzz/README.md`.

#[path = "../../tests/fuzz/input.rs"]
pub(crate) mod input;
#[cfg(test)]
#[path = "../../tests/fuzz/replay.rs"]
mod replay;

use crate::cli::fuzzing::{configuration, top_page};
use crate::identity::fuzzing::identity;

/// A name, and the property of that name.
type Named = (&'static str, fn(&[u8]));

/// Every property of this package.
pub const TARGETS: &[Named] = &[("configuration", configuration), ("identity", identity), ("top_page", top_page)];

#[cfg(test)]
mod tests {
    #[test]
    fn every_property_holds_for_its_corpus() {
        super::replay::replay(super::TARGETS);
    }
}
