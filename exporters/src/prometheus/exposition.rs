//! The exposition formats: how a name, a label, a value and another exporter's family are written.
//!
//! Sources: Prometheus' "Exposition formats" and the OpenMetrics 1.0 specification.

use std::fmt::Write as _;

use metrics_exporter_prometheus::formatting::{sanitize_label_key, sanitize_metric_name};

use super::negotiation::Format;

/// A legal metric name.
pub(super) fn metric_name(name: &str) -> String {
    not_empty(sanitize_metric_name(name))
}

/// A legal label name.
pub(super) fn label_name(name: &str) -> String {
    not_empty(sanitize_label_key(name))
}

fn not_empty(name: String) -> String {
    if name.is_empty() { "_".to_owned() } else { name }
}

/// `name{label="value",...} `: a line but for its value. Of labels whose legal names are the same the first is there:
/// both would make a page that no parser takes.
pub(super) fn line_head<'a>(name: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut line = name.to_owned();
    let mut separator = '{';
    let mut names: Vec<String> = Vec::new();
    for (label, value) in labels {
        let label = label_name(label);
        if names.contains(&label) {
            continue;
        }
        line.push(separator);
        line.push_str(&label);
        names.push(label);
        line.push_str("=\"");
        escape(&mut line, value, true);
        line.push('"');
        separator = ',';
    }
    if separator == ',' {
        line.push('}');
    }
    line.push(' ');
    line
}

/// The HELP and TYPE lines of a family.
pub(super) fn header(name: &str, help: &str, kind: &str, format: Format) -> String {
    let name = match (format, kind) {
        // OpenMetrics names a counter's family without the suffix of its samples.
        (Format::OpenMetrics, "counter") => name.strip_suffix("_total").unwrap_or(name),
        _ => name,
    };
    let mut lines = String::new();
    if !help.is_empty() {
        let _ = write!(lines, "# HELP {name} ");
        escape(&mut lines, help, format == Format::OpenMetrics);
        lines.push('\n');
    }
    let _ = writeln!(lines, "# TYPE {name} {kind}");
    lines
}

/// Appends a value and the line's end.
pub(super) fn push_value(page: &mut String, value: f64) {
    let _ = match value {
        f64::INFINITY => writeln!(page, "+Inf"),
        f64::NEG_INFINITY => writeln!(page, "-Inf"),
        // The shortest digits that read back as the same number.
        _ => writeln!(page, "{value}"),
    };
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            _ => out.push(character),
        }
    }
}

/// One family as metrics-exporter-prometheus wrote it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ForeignFamily<'a> {
    pub name: &'a str,
    kind: &'a str,
    help: Option<&'a str>,
    lines: Vec<&'a str>,
}

/// The families of a page of metrics-exporter-prometheus, by name, each with its lines in a steady order.
pub(super) fn foreign_families(page: &str) -> Vec<ForeignFamily<'_>> {
    let mut families: Vec<ForeignFamily<'_>> = Vec::new();
    let mut help = None;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map(|(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.push(ForeignFamily { name, kind, help: help.take(), lines: Vec::new() });
        } else if let Some(family) = families.last_mut().filter(|_| !line.is_empty()) {
            family.lines.push(line);
        }
    }
    for family in families.iter_mut().filter(|family| family.kind == "counter") {
        family.lines.sort_unstable(); // they come from a hash map
    }
    families.sort_by_key(|family| family.name);
    families
}

impl ForeignFamily<'_> {
    /// Appends the family in either format.
    pub(super) fn push(&self, page: &mut String, format: Format) {
        let (mut name, mut kind) = (self.name, self.kind);
        let mut help = self.help.map(str::to_owned);
        if format == Format::OpenMetrics {
            help = help.map(|help| help.replace('"', "\\\""));
            if kind == "counter" {
                match name.strip_suffix("_total") {
                    Some(family) => name = family,
                    // The program's name stays: a counter's sample would need the suffix.
                    None => kind = "unknown",
                }
            }
        }
        if let Some(help) = help {
            let _ = writeln!(page, "# HELP {name} {help}");
        }
        let _ = writeln!(page, "# TYPE {name} {kind}");
        for line in &self.lines {
            page.push_str(line);
            page.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_and_help_are_escaped() {
        assert_eq!(line_head("a", [("path", "C:\\x\n\"y\"")]), "a{path=\"C:\\\\x\\n\\\"y\\\"\"} ");
        assert_eq!(line_head("a", []), "a ");
        assert_eq!(line_head("a", [("b-c", ""), ("d", "1")]), "a{b_c=\"\",d=\"1\"} ");
        assert_eq!(line_head("a", [("b-c", "1"), ("b_c", "2"), ("", "3")]), "a{b_c=\"1\",_=\"3\"} ");
        assert_eq!(metric_name(""), "_");
        assert_eq!(
            header("a_total", "say \"x\"\\", "counter", Format::Text),
            "# HELP a_total say \"x\"\\\\\n# TYPE a_total counter\n"
        );
        assert_eq!(
            header("a_total", "say \"x\"", "counter", Format::OpenMetrics),
            "# HELP a say \\\"x\\\"\n# TYPE a counter\n"
        );
        assert_eq!(header("a", "", "gauge", Format::Text), "# TYPE a gauge\n");
    }

    #[test]
    fn another_exporters_page_is_put_in_order() {
        let page = "# TYPE z counter\nz{a=\"2\"} 1\nz{a=\"1\"} 2\n\n# HELP b_total said \"b\"\n# TYPE b_total counter\nb_total 5\n\n# TYPE h histogram\nh_bucket{le=\"9\"} 1\nh_bucket{le=\"10\"} 1\n\n";
        let families = foreign_families(page);
        let render = |format| {
            let mut out = String::new();
            families.iter().for_each(|family| family.push(&mut out, format));
            out
        };
        assert_eq!(
            render(Format::Text),
            "# HELP b_total said \"b\"\n# TYPE b_total counter\nb_total 5\n# TYPE h histogram\nh_bucket{le=\"9\"} 1\nh_bucket{le=\"10\"} 1\n# TYPE z counter\nz{a=\"1\"} 2\nz{a=\"2\"} 1\n"
        );
        assert_eq!(
            render(Format::OpenMetrics),
            "# HELP b said \\\"b\\\"\n# TYPE b counter\nb_total 5\n# TYPE h histogram\nh_bucket{le=\"9\"} 1\nh_bucket{le=\"10\"} 1\n# TYPE z unknown\nz{a=\"1\"} 2\nz{a=\"2\"} 1\n"
        );
    }

    proptest! {
        #[test]
        fn a_value_reads_back_as_itself(value in any::<f64>().prop_filter("absent", |value| !value.is_nan())) {
            let mut text = String::new();
            push_value(&mut text, value);
            prop_assert_eq!(text.trim().parse::<f64>().unwrap(), value);
        }

        #[test]
        fn a_line_stays_one_line(value in ".{0,40}") {
            prop_assert_eq!(line_head("a", [("b", value.as_str())]).lines().count(), 1);
        }
    }
}
