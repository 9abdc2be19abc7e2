//! A property of the scenario file, for its fuzz target. See `tests/fuzz/README.md`.

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

use crate::Scenario;

/// A name, and the property of that name.
type Named = (&'static str, fn(&[u8]));

/// Every property of this package.
pub const TARGETS: &[Named] = &[("nvml_scenario", nvml_scenario)];

/// A scenario that is taken is the same once written and read again.
fn nvml_scenario(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(scenario) = Scenario::parse(text) else { return };
    let Ok(written) = scenario.to_toml() else { return };
    // As text, since a NaN equals nothing.
    let again = Scenario::parse(&written).map(|again| format!("{again:?}"));
    assert_eq!(again, Ok(format!("{scenario:?}")), "{written}");
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_property_holds_for_its_corpus() {
        super::replay::replay(super::TARGETS);
    }
}
