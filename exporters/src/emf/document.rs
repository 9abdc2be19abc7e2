//! Data as lines of the embedded metric format. Nothing here has an effect.

use std::collections::HashSet;
use std::fmt::Write as _;

use serde_json::Value;

use crate::cloudwatch::limits;
use crate::datum::{Datum, Figures};
use crate::distribution::{Distribution, Scale};
use crate::ledger::Reason;
use crate::statistics::StatisticSet;

/// The most metrics of one line.
pub const METRICS: usize = 100;
/// The most unique values of one metric; more are binned as [`distribution`](crate::distribution) says.
pub const VALUES: usize = 100;
/// The most bytes of one line: an event of CloudWatch Logs in its older, smaller size, less what the service adds to
/// each event.
pub const BYTES: usize = 256 * 1024 - 26;
/// The format's own member, which no metric and no dimension can be named like.
const METADATA: &str = "_aws";

/// What became of data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// In order of time.
    pub lines: Vec<Line>,
    /// The data that are in no line.
    pub refused: Vec<Refused>,
}

/// One JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// With its end of line.
    pub text: String,
    /// How many data are in it.
    pub data: u64,
}

/// A datum that the format cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name.
    pub metric: String,
    /// For the ledger.
    pub reason: Reason,
    /// What about it, and what was expected.
    pub why: String,
}

/// Writes data as lines: those of one start and one set of dimensions share a line, in their order, as far as the
/// limits and their names allow. Numbers read back to the same bits, values beyond [`VALUES`] apart.
pub fn document(namespace: &str, data: &[Datum]) -> Document {
    let mut document = Document::default();
    let mut ordered: Vec<&Datum> = Vec::with_capacity(data.len());
    for datum in data {
        match obstacle(datum) {
            Some((reason, why)) => document.refuse(datum, reason, &why),
            None => ordered.push(datum),
        }
    }
    ordered.sort_by(|a, b| (a.start, &a.dimensions).cmp(&(b.start, &b.dimensions)));
    for alike in ordered.chunk_by(|a, b| a.start == b.start && a.dimensions == b.dimensions) {
        document.write(namespace, alike);
    }
    document
}

impl Document {
    fn refuse(&mut self, datum: &Datum, reason: Reason, why: &str) {
        self.refused.push(Refused { metric: datum.name.clone(), reason, why: why.to_owned() });
    }

    fn write(&mut self, namespace: &str, alike: &[&Datum]) {
        let mut draft = Draft::new(namespace, alike[0]);
        for datum in alike {
            let (definition, member) = match figures(datum) {
                Some(figures) => (definition(datum), format!(",{}:{figures}", json(&datum.name))),
                None => {
                    self.refuse(datum, Reason::InvalidValue, "its values do not belong to its statistics");
                    continue;
                }
            };
            if !draft.has_room(&datum.name, definition.len() + 1 + member.len()) {
                self.lines.extend(draft.end());
                draft = Draft::new(namespace, datum);
            }
            match draft.has_room(&datum.name, definition.len() + 1 + member.len()) {
                true => draft.add(&datum.name, &definition, &member),
                false => {
                    self.refuse(datum, Reason::InvalidDimension, "its names and dimensions do not fit into one line")
                }
            }
        }
        self.lines.extend(draft.end());
    }
}

/// A line in the making.
struct Draft<'a> {
    /// The text up to the metrics' definitions.
    head: String,
    definitions: String,
    /// The dimensions' and metrics' members.
    members: String,
    names: HashSet<&'a str>,
}

impl<'a> Draft<'a> {
    /// What stands between the definitions and the members, and after them.
    const BETWEEN: &'static str = "]}]}";
    const END: &'static str = "}\n";

    fn new(namespace: &str, datum: &Datum) -> Self {
        let names: Vec<&str> = datum.dimensions.iter().map(|(name, _)| name.as_str()).collect();
        let head = format!(
            "{{\"{METADATA}\":{{\"Timestamp\":{},\"CloudWatchMetrics\":[{{\"Namespace\":{},\
             \"Dimensions\":[{}],\"Metrics\":[",
            datum.start,
            json(namespace),
            Value::from(names),
        );
        let members = datum.dimensions.iter().map(|(name, value)| format!(",{}:{}", json(name), json(value))).collect();
        Self { head, definitions: String::new(), members, names: HashSet::new() }
    }

    fn has_room(&self, name: &str, bytes: usize) -> bool {
        let there = [&self.head, &self.definitions, Self::BETWEEN, &self.members, Self::END];
        self.names.len() < METRICS
            && !self.names.contains(name)
            && there.iter().map(|part| part.len()).sum::<usize>() + bytes <= BYTES
    }

    fn add(&mut self, name: &'a str, definition: &str, member: &str) {
        if !self.names.is_empty() {
            self.definitions.push(',');
        }
        self.definitions.push_str(definition);
        self.members.push_str(member);
        self.names.insert(name);
    }

    fn end(self) -> Option<Line> {
        let text = [&self.head, &self.definitions, Self::BETWEEN, &self.members, Self::END].map(|part| part as &str);
        (!self.names.is_empty()).then(|| Line { text: text.concat(), data: self.names.len() as u64 })
    }
}

/// Why a datum fits into no line.
fn obstacle(datum: &Datum) -> Option<(Reason, String)> {
    // The service's rules first: it would leave such a metric out without a word.
    if let Err(refusal) = limits::check(datum) {
        return Some((refusal.reason, refusal.to_string()));
    }
    let names = || datum.dimensions.iter().map(|(name, _)| name.as_str());
    if datum.name == METADATA || names().any(|name| name == METADATA) {
        Some((Reason::InvalidName, format!("the name {METADATA} is the format's own")))
    } else if names().any(|name| name == datum.name) {
        Some((Reason::InvalidName, "it is named like one of its dimensions".to_owned()))
    } else {
        None
    }
}

/// A string as JSON writes it.
fn json(text: &str) -> Value {
    Value::from(text)
}

fn definition(datum: &Datum) -> String {
    let (name, unit) = (json(&datum.name), json(&datum.unit));
    format!("{{\"Name\":{name},\"Unit\":{unit},\"StorageResolution\":{}}}", datum.resolution.seconds())
}

/// The metric's member; `None` if values and statistics contradict each other.
fn figures(datum: &Datum) -> Option<String> {
    let (statistics, values) = match &datum.figures {
        Figures::Value(value) => return Some(Value::from(*value).to_string()),
        Figures::Distribution { statistics, values } => (statistics, values),
    };
    let mut text = String::from("{");
    if !values.is_empty() {
        let (values, counts): (Vec<f64>, Vec<u64>) = few(statistics, values)?.into_iter().unzip();
        // Writing to a string cannot fail.
        let _ = write!(text, "\"Values\":{},\"Counts\":{},", Value::from(values), Value::from(counts));
    }
    let (maximum, minimum) = (Value::from(statistics.maximum()?), Value::from(statistics.minimum()?));
    let (count, sum) = (statistics.count(), Value::from(statistics.sum()));
    let _ = write!(text, "\"Max\":{maximum},\"Min\":{minimum},\"Count\":{count},\"Sum\":{sum}}}");
    Some(text)
}

/// At most [`VALUES`] values.
fn few(statistics: &StatisticSet, values: &[(f64, u64)]) -> Option<Vec<(f64, u64)>> {
    if values.len() <= VALUES {
        return Some(values.to_vec());
    }
    let scale = finer(statistics, values);
    Some(Distribution::from_parts(*statistics, values.to_vec(), scale)?.limited_to(VALUES))
}

/// The scale whose bins are narrower at the median; a datum does not tell the one that it came from.
fn finer(statistics: &StatisticSet, values: &[(f64, u64)]) -> Scale {
    let (Some(minimum), Some(maximum)) = (statistics.minimum(), statistics.maximum()) else { return Scale::Linear };
    let half = statistics.count() / 2;
    let mut passed = 0;
    let median = values.iter().find(|(_, count)| {
        passed += count;
        passed > half
    });
    let powers = 1.0 + (maximum / minimum).log2();
    match median {
        Some((median, _)) if minimum > 0.0 && median * powers < maximum - minimum => Scale::Logarithmic,
        _ => Scale::Linear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datum::Resolution;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn datum(name: &str, figures: Figures) -> Datum {
        Datum {
            name: name.to_owned(),
            dimensions: vec![("Host".to_owned(), "job/algo-1".to_owned())],
            start: 1_700_000_040_000,
            resolution: Resolution::Minute,
            unit: "Percent".into(),
            figures,
            periods: 1,
        }
    }

    fn distribution(scale: Scale, values: &[f64]) -> Figures {
        let mut distribution = Distribution::new(scale);
        values.iter().for_each(|value| distribution.record(*value));
        let (statistics, values) = distribution.into_parts();
        Figures::Distribution { statistics, values }
    }

    fn parse(line: &Line) -> Value {
        assert_eq!(line.text.matches('\n').count(), 1);
        serde_json::from_str(line.text.strip_suffix('\n').expect("an end")).expect(&line.text)
    }

    #[test]
    fn a_minute_of_samples_and_a_plain_value_are_one_line() {
        let mut plain = datum("memory \"used\"", Figures::Value(0.1));
        plain.resolution = Resolution::Second;
        plain.unit = "None".into();
        let document = document(
            "hostgauge/TrainingJobs",
            &[datum("CPUUtilization", distribution(Scale::Linear, &[1.0, 2.5, 1.0])), plain],
        );
        let expected = concat!(
            r#"{"_aws":{"Timestamp":1700000040000,"CloudWatchMetrics":[{"Namespace":"hostgauge/TrainingJobs","#,
            r#""Dimensions":[["Host"]],"Metrics":[{"Name":"CPUUtilization","Unit":"Percent","StorageResolution":60},"#,
            r#"{"Name":"memory \"used\"","Unit":"None","StorageResolution":1}]}]},"Host":"job/algo-1","#,
            r#""CPUUtilization":{"Values":[1.0,2.5],"Counts":[2,1],"Max":2.5,"Min":1.0,"Count":3,"Sum":4.5},"#,
            r#""memory \"used\"":0.1}"#,
            "\n"
        );
        assert_eq!(document, Document { lines: vec![Line { text: expected.to_owned(), data: 2 }], refused: vec![] });
    }

    #[test]
    fn what_cannot_share_a_line_gets_another_or_is_refused() {
        let plain = |name: &str| datum(name, Figures::Value(1.0));
        let of = |data: &[Datum]| {
            let document = document("n", data);
            (document.lines.iter().map(|line| line.data).collect::<Vec<_>>(), document.refused.len())
        };
        assert_eq!(of(&[plain("a"), plain("a"), plain("b")]), (vec![1, 2], 0), "the same name twice");
        assert_eq!(of(&(0..250).map(|index| plain(&format!("m{index}"))).collect::<Vec<_>>()), (vec![100, 100, 50], 0));
        assert_eq!(of(&[plain("Host"), plain("_aws"), plain(""), plain("b")]), (vec![1], 3));
        let later = Datum { start: 1, ..plain("a") };
        let elsewhere = Datum { dimensions: vec![], ..plain("a") };
        assert_eq!(of(&[plain("a"), later, elsewhere]), (vec![1, 1, 1], 0));
        let dimensions = |count: usize, length: usize| {
            let dimensions = (0..count).map(|index| (format!("d{index}"), "x".repeat(length))).collect();
            Datum { dimensions, ..plain("a") }
        };
        assert_eq!((of(&[dimensions(30, 1)]), of(&[dimensions(31, 1)])), ((vec![1], 0), (vec![], 1)));
        assert_eq!(of(&[dimensions(30, 10_000)]), (vec![], 1), "longer than a line");
        let twice = Datum { dimensions: vec![("d".into(), "1".into()), ("d".into(), "2".into())], ..plain("a") };
        assert_eq!(of(&[twice, datum("b", Figures::Value(f64::NAN))]), (vec![], 2));
        let statistics = StatisticSet::from_parts(2, 3.0, 1.0, 2.0).unwrap();
        let values = (0..101).map(|index| (f64::from(index), 1)).collect();
        assert_eq!(of(&[datum("a", Figures::Distribution { statistics, values })]), (vec![], 1));
    }

    #[test]
    fn many_values_are_binned_on_the_scale_that_tells_more() {
        let latencies: Vec<f64> = (0..150).map(|index| 0.001 * 1.08f64.powi(index)).collect();
        let percents: Vec<f64> = (0..150).map(|index| 1.0 + f64::from(index) * 0.5).collect();
        for (recorded, scale) in [(latencies, Scale::Logarithmic), (percents, Scale::Linear)] {
            let Figures::Distribution { statistics, values } = distribution(scale, &recorded) else { unreachable!() };
            assert_eq!(finer(&statistics, &values), scale);
            let few = few(&statistics, &values).unwrap();
            assert!(few.len() <= VALUES && few.iter().map(|(_, count)| count).sum::<u64>() == 150);
        }
    }

    fn any_figures() -> impl Strategy<Value = Figures> {
        prop_oneof![
            (-1e300..1e300f64).prop_map(Figures::Value),
            vec(-1e9..1e9f64, 1..20).prop_map(|values| distribution(Scale::Linear, &values)),
            vec((-60.0..60.0f64).prop_map(f64::exp2), 1..300)
                .prop_map(|values| distribution(Scale::Logarithmic, &values)),
        ]
    }

    fn any_datum() -> impl Strategy<Value = Datum> {
        let text = || proptest::string::string_regex("[a-e\"\\\\é\n]{0,3}").unwrap();
        let name = prop_oneof![9 => "[a-z]{1,3}", 1 => text(), 1 => Just("_aws".to_owned())];
        (name, vec((text(), text()), 0..3), 0..3u64, any::<bool>(), any_figures()).prop_map(
            |(name, dimensions, start, second, figures)| {
                let resolution = if second { Resolution::Second } else { Resolution::Minute };
                Datum { name, dimensions, start, resolution, unit: "Count".into(), figures, periods: 1 }
            },
        )
    }

    /// A number's bits, as text that sorts.
    fn bits(value: &Value) -> String {
        match value.as_f64() {
            Some(number) if !value.is_u64() => format!("{:x}", number.to_bits()),
            _ => value.to_string(),
        }
    }

    /// A metric as it was read, or as it should be, to the bit; of values beyond the limit only their number.
    fn figures_read(member: &Value) -> String {
        let Some(object) = member.as_object() else { return bits(member) };
        let list = |name: &str| object[name].as_array().unwrap().iter().map(bits).collect::<Vec<_>>();
        let exact = ["Max", "Min", "Count", "Sum"].map(|name| bits(&object[name]));
        let (values, counts) = (list("Values"), list("Counts"));
        assert!(values.len() <= VALUES && values.len() == counts.len());
        let sum: u64 = object["Counts"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(Some(sum), object["Count"].as_u64());
        format!("{exact:?} {values:?} {counts:?}")
    }

    fn figures_meant(figures: &Figures) -> String {
        let number = |value: f64| format!("{:x}", value.to_bits());
        match figures {
            Figures::Value(value) => number(*value),
            Figures::Distribution { statistics, values } => {
                let (minimum, maximum) = (statistics.minimum().unwrap(), statistics.maximum().unwrap());
                let count = statistics.count().to_string();
                let exact = [number(maximum), number(minimum), count, number(statistics.sum())];
                let values = few(statistics, values).unwrap();
                let counts: Vec<String> = values.iter().map(|(_, count)| count.to_string()).collect();
                let values: Vec<String> = values.iter().map(|(value, _)| number(*value)).collect();
                format!("{exact:?} {values:?} {counts:?}")
            }
        }
    }

    proptest! {
        // For all data: each is either refused or found in a line to the bit, under its name, start, dimensions and
        // resolution; and every line is JSON within the limits.
        #[test]
        fn every_datum_is_in_a_line_or_refused(mut data in vec(any_datum(), 0..40), crowd in 0..250usize) {
            data.extend((0..crowd).map(|index| datum(&format!("crowd{index}"), Figures::Value(index as f64 / 3.0))));
            let document = document("n", &data);
            let mut read: BTreeMap<String, usize> = BTreeMap::new();
            for line in &document.lines {
                prop_assert!(line.text.len() <= BYTES);
                let json = parse(line);
                let directive = &json["_aws"]["CloudWatchMetrics"][0];
                let metrics = directive["Metrics"].as_array().unwrap();
                prop_assert!(metrics.len() <= METRICS && metrics.len() as u64 == line.data);
                let names = directive["Dimensions"][0].as_array().unwrap();
                prop_assert_eq!(json.as_object().unwrap().len(), 1 + names.len() + metrics.len());
                let dimensions: Vec<(String, String)> = names
                    .iter()
                    .map(|name| (name.as_str().unwrap().into(), json[name.as_str().unwrap()].as_str().unwrap().into()))
                    .collect();
                for metric in metrics {
                    let name = metric["Name"].as_str().unwrap();
                    let (start, resolution) = (&json["_aws"]["Timestamp"], &metric["StorageResolution"]);
                    let figures = figures_read(&json[name]);
                    *read.entry(format!("{name} {start} {resolution} {dimensions:?} {figures}")).or_default() += 1;
                }
            }
            let mut meant: BTreeMap<String, usize> = BTreeMap::new();
            for datum in data.iter().filter(|datum| obstacle(datum).is_none()) {
                let Datum { name, start, resolution, dimensions, figures, .. } = datum;
                let figures = figures_meant(figures);
                let key = format!("{name} {start} {} {dimensions:?} {figures}", resolution.seconds());
                *meant.entry(key).or_default() += 1;
            }
            prop_assert_eq!(read, meant);
            let written = document.lines.iter().map(|line| line.data).sum::<u64>() as usize;
            prop_assert_eq!(written + document.refused.len(), data.len());
        }
    }
}
