//! `hostgauge catalogue`: every metric as a table.

use hostgauge_collectors::Metric;
use hostgauge_collectors::catalogue::{ALL, unit_name};
use serde_json::json;

use super::Failure;
use super::commands::Format;
use super::output;

pub(super) fn run(format: Format) -> Result<(), Failure> {
    output::print(&match format {
        Format::Json => json(),
        Format::Markdown => markdown(),
        _ => text(),
    })
}

/// The name with its label names, as PromQL writes it.
fn with_labels(row: &Metric) -> String {
    match row.labels {
        [] => row.name.to_owned(),
        labels => format!("{}{{{}}}", row.name, labels.join(",")),
    }
}

fn text() -> String {
    let mut rows = vec![["PROMETHEUS", "CLOUDWATCH", "TYPE", "UNIT", "RANGE", "IS"].map(str::to_owned)];
    rows.extend(ALL.iter().map(|row| {
        let (cloudwatch, kind) = (row.cloudwatch.unwrap_or("-"), row.kind.as_str());
        [&with_labels(row), cloudwatch, kind, unit_name(row.unit), row.range, row.help].map(str::to_owned)
    }));
    output::columns(&rows)
}

/// The table as Markdown: what README shows.
pub fn markdown() -> String {
    let mut table = String::from(
        "| Prometheus | CloudWatch | type | range | is | absent |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for row in ALL {
        let cells = [
            &format!("`{}`", with_labels(row)),
            row.cloudwatch.unwrap_or(""),
            row.kind.as_str(),
            row.range,
            row.help.trim_end_matches('.'),
            row.absent,
        ];
        table.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    table
}

fn json() -> String {
    let rows: Vec<_> = ALL
        .iter()
        .map(|row| {
            json!({
                "prometheus": row.name,
                "cloudwatch": row.cloudwatch,
                "type": row.kind.as_str(),
                "unit": unit_name(row.unit),
                "range": row.range,
                "labels": row.labels,
                "help": row.help,
                "source": row.source,
                "absent": row.absent,
                "window_of": row.window_of,
            })
        })
        .collect();
    format!("{:#}\n", json!(rows))
}
