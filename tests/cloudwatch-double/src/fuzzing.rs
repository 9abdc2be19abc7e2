//! A property of the double's reading of requests, for its fuzz target. See `tests/fuzz/README.md`.

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

use std::time::UNIX_EPOCH;

use crate::message::PutMetricData;

/// A name, and the property of that name.
type Named = (&'static str, fn(&[u8]));

/// Every property of this package.
pub const TARGETS: &[Named] = &[("cloudwatch_request", cloudwatch_request)];

/// What is read of a body stands in it, and has a time.
fn cloudwatch_request(data: &[u8]) {
    let Ok(request) = PutMetricData::decode(data) else { return };
    let names: usize = request.metric_data.iter().map(|datum| datum.metric_name.len()).sum();
    assert!(request.metric_data.len() + request.namespace.len() + names <= data.len());
    for datum in &request.metric_data {
        assert!(datum.values.len() + datum.counts.as_ref().map_or(0, Vec::len) <= data.len());
        assert_eq!(datum.counted().count(), datum.values.len());
        assert!(datum.timestamp.is_none_or(f64::is_finite));
        _ = datum.time(UNIX_EPOCH);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_property_holds_for_its_corpus() {
        super::replay::replay(super::TARGETS);
    }
}
