//! A request as people can read and replay it: the JSON of `aws cloudwatch put-metric-data --cli-input-json`.

use aws_sdk_cloudwatch::primitives::DateTimeFormat;
use serde_json::{Map, Value, json};

use crate::cloudwatch::wire;
use crate::datum::{Datum, Figures};

/// One request. Numbers are exact; one that is not finite, which the gate lets through nowhere, becomes null.
pub fn request(namespace: &str, data: &[Datum]) -> Value {
    json!({"Namespace": namespace, "MetricData": data.iter().map(metric_datum).collect::<Vec<_>>()})
}

fn metric_datum(datum: &Datum) -> Value {
    let dimensions: Vec<_> =
        datum.dimensions.iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect();
    let mut members = Map::new();
    members.insert("MetricName".to_owned(), json!(datum.name));
    members.insert("Dimensions".to_owned(), json!(dimensions));
    // The SDK writes RFC 3339, with a fraction where there is one. Only a year beyond 9999 has no such form.
    members.insert("Timestamp".to_owned(), json!(wire::timestamp(datum).fmt(DateTimeFormat::DateTime).ok()));
    members.insert("Unit".to_owned(), json!(datum.unit));
    members.insert("StorageResolution".to_owned(), json!(datum.resolution.seconds()));
    match &datum.figures {
        Figures::Value(value) => {
            members.insert("Value".to_owned(), json!(value));
        }
        Figures::Distribution { statistics, values } => {
            let set = json!({
                "SampleCount": statistics.count(),
                "Sum": statistics.sum(),
                "Minimum": statistics.minimum(),
                "Maximum": statistics.maximum(),
            });
            let (values, counts): (Vec<f64>, Vec<u64>) = values.iter().copied().unzip();
            members.insert("StatisticValues".to_owned(), set);
            members.insert("Values".to_owned(), json!(values));
            members.insert("Counts".to_owned(), json!(counts));
        }
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StatisticSet;
    use crate::datum::Resolution;
    use proptest::prelude::*;

    fn datum(start: u64, figures: Figures) -> Datum {
        Datum {
            name: "CPUUtilization".to_owned(),
            dimensions: vec![("Host".to_owned(), "job/\"algo\"-1".to_owned())],
            start,
            resolution: Resolution::Minute,
            unit: "Percent".into(),
            figures,
            periods: 1,
        }
    }

    #[test]
    fn as_the_command_line_tool_takes_it() {
        let statistics = StatisticSet::from_parts(3, 0.7, 0.1, 0.5).unwrap();
        let distribution = Figures::Distribution { statistics, values: vec![(0.1, 2), (0.5, 1)] };
        let data = [datum(1_800_000_000_000, distribution), datum(1_800_000_000_250, Figures::Value(12.5))];
        let shared = |timestamp: &str, rest: Value| {
            let mut datum = json!({
                "MetricName": "CPUUtilization",
                "Dimensions": [{"Name": "Host", "Value": "job/\"algo\"-1"}],
                "Timestamp": timestamp,
                "Unit": "Percent",
                "StorageResolution": 60,
            });
            datum.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            datum
        };
        let first = json!({
            "StatisticValues": {"SampleCount": 3, "Sum": 0.7, "Minimum": 0.1, "Maximum": 0.5},
            "Values": [0.1, 0.5],
            "Counts": [2, 1],
        });
        let expected = json!({
            "Namespace": "hostgauge/TrainingJobs",
            "MetricData": [
                shared("2027-01-15T08:00:00Z", first),
                shared("2027-01-15T08:00:00.25Z", json!({"Value": 12.5})),
            ],
        });
        assert_eq!(request("hostgauge/TrainingJobs", &data), expected);
    }

    #[test]
    fn a_time_beyond_all_calendars_is_null() {
        assert_eq!(metric_datum(&datum(u64::MAX, Figures::Value(1.0)))["Timestamp"], Value::Null);
    }

    proptest! {
        // What is printed reads back as the same number, to the last bit.
        #[test]
        fn numbers_are_exact(value in proptest::num::f64::NORMAL | proptest::num::f64::ZERO) {
            let printed = metric_datum(&datum(0, Figures::Value(value)))["Value"].to_string();
            prop_assert_eq!(printed.parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }
}
