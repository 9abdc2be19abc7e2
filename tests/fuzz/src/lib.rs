//! What every fuzz target is made of. See README.md.

use std::sync::LazyLock;

/// How long an input gets that is repeated.
const LONG: usize = 1 << 18;

/// Whether every input is repeated: what takes time or memory by the square of the length is not seen in a short one.
static REPEATED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("HOSTGAUGE_FUZZ_REPEATED").is_some());

/// Holds the property against the input.
pub fn hold(property: fn(&[u8]), data: &[u8]) {
    if *REPEATED && !data.is_empty() {
        property(&data.repeat(LONG.div_ceil(data.len())));
    } else {
        property(data);
    }
}

/// A name, and the property of that name.
pub type Named = (&'static str, fn(&[u8]));

/// The property of this name among those of a package.
///
/// # Panics
///
/// There is none.
pub fn property(targets: &[Named], name: &str) -> fn(&[u8]) {
    targets.iter().find(|(other, _)| *other == name).unwrap_or_else(|| panic!("no property {name}")).1
}

/// A fuzz target: a package and the property's name in it.
#[macro_export]
macro_rules! target {
    ($package:ident, $name:literal) => {
        static PROPERTY: std::sync::LazyLock<fn(&[u8])> =
            std::sync::LazyLock::new(|| $crate::property($package::fuzzing::TARGETS, $name));
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::hold(*PROPERTY, data));
    };
}
