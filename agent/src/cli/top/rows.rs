//! The body of the view: what is summed up, what is wrong, then each GPU and each core.

use super::app::Shown;
use super::gpus::Gpu;
use super::look::Look;
use super::row::{Row, wrapped};
use super::share::Share;

/// Every row of the body at this width.
pub(super) fn body(shown: &Shown, look: Look, width: u16) -> Vec<Row> {
    let mut rows = sums(shown, look, width);
    let snapshot = &shown.snapshot;
    let line = |text: &String| wrapped(text, width);
    rows.extend(snapshot.ledgers.iter().flat_map(line).map(|text| Row::default().text(0, width, &text)));
    rows.extend(snapshot.failures.iter().flat_map(|failure| trouble(failure, 0, width, look)));
    if !snapshot.gpus.is_empty() {
        rows.push(Row::default());
        rows.extend(gpus(shown, look, width));
    }
    if !snapshot.cores.is_empty() {
        rows.push(Row::default());
        rows.extend(cores(&snapshot.cores, look, width));
    }
    rows
}

/// Rows that say what is wrong, in whole, however narrow the terminal is.
fn trouble(text: &str, column: u16, width: u16, look: Look) -> impl Iterator<Item = Row> + use<> {
    let place = width.saturating_sub(column);
    wrapped(text, place).into_iter().map(move |line| Row::default().styled(column, place, line, look.trouble()))
}

/// Label, bar, figures, sparkline, from left to right.
struct SumColumns {
    label: u16,
    bar: u16,
    figures: u16,
    sparkline: u16,
}

/// `100.0 %  10239.9/10239.9 GiB`; without the bytes, `19200.0/19200 %`.
const WITH_BYTES: u16 = 28;
const WITHOUT_BYTES: u16 = 15;

impl SumColumns {
    fn of(width: u16) -> Self {
        let label = match width {
            0..40 => 8,
            40..100 => 12,
            _ => 24,
        };
        let figures = if width < 40 { WITHOUT_BYTES } else { WITH_BYTES };
        let rest = width.saturating_sub(label + figures + 2);
        let sparkline = if rest >= 24 { rest / 2 } else { 0 };
        Self { label, bar: rest - sparkline, figures, sparkline }
    }
}

fn sums(shown: &Shown, look: Look, width: u16) -> Vec<Row> {
    let columns = SumColumns::of(width);
    let snapshot = &shown.snapshot;
    let gpu_top = snapshot.gpu_count.map(|count| 100.0 * count);
    let cpu_top = snapshot.core_count.map(|count| 100.0 * count);
    let percent = |percent: Option<f64>| Share { percent, ..Share::default() };
    let mut rows = vec![
        sum("CPU", snapshot.cpu, cpu_top, shown, look, &columns),
        share("Memory", snapshot.memory, Some("Memory"), shown, look, &columns),
    ];
    if snapshot.standby {
        rows.push(Row::default().text(0, width, "GPU         standby: the driver is let go"));
    } else if !snapshot.gpus.is_empty() {
        rows.push(sum("GPU", snapshot.gpu, gpu_top, shown, look, &columns));
        rows.push(sum("GPU mem", snapshot.gpu_memory, gpu_top, shown, look, &columns));
        if let Some((all, some)) = snapshot.gpu_count.zip(snapshot.gpus_reporting).filter(|(all, some)| some < all) {
            rows.extend(trouble(&format!("! {some} of {all} GPUs have a utilization"), 0, width, look));
        }
    }
    rows.push(share("Disk", percent(snapshot.disk), None, shown, look, &columns));
    rows.extend(snapshot.filesystems.iter().map(|(path, of_it)| {
        share(&format!("  {}", tail(path, columns.label.saturating_sub(3).into())), *of_it, None, shown, look, &columns)
    }));
    rows
}

/// A sum of 0..100*N, beside what it can be at most.
fn sum(name: &str, value: Option<f64>, top: Option<f64>, shown: &Shown, look: Look, columns: &SumColumns) -> Row {
    let figures = match top {
        Some(top) => format!("{}/{top} %", tenths(value)),
        None => format!("{} %", tenths(value)),
    };
    let percent = value.zip(top).map(|(value, top)| 100.0 * value / top);
    let sparkline = top.map(|top| sparkline(name, top, shown, look, columns.sparkline)).unwrap_or_default();
    summary(name, look.bar(percent, columns.bar), &figures, sparkline, look.busy(), columns)
}

fn share(name: &str, share: Share, charted: Option<&str>, shown: &Shown, look: Look, columns: &SumColumns) -> Row {
    let known = share.used.zip(share.total).filter(|_| columns.figures >= WITH_BYTES);
    let bytes = known.map(|(used, total)| format!("  {}", bytes(used, total))).unwrap_or_default();
    let figures = format!("{} %{bytes}", tenths(share.percent));
    let bar = look.bar(share.percent, columns.bar);
    let sparkline = charted.map(|name| sparkline(name, 100.0, shown, look, columns.sparkline)).unwrap_or_default();
    summary(name, bar, &figures, sparkline, look.held(), columns)
}

fn sparkline(name: &str, top: f64, shown: &Shown, look: Look, width: u16) -> String {
    look.sparkline(shown.history.last(name, width.into()), top, width)
}

fn summary(
    name: &str,
    bar: String,
    figures: &str,
    sparkline: String,
    style: ratatui::style::Style,
    columns: &SumColumns,
) -> Row {
    let SumColumns { label, bar: bar_width, figures: figures_width, sparkline: sparkline_width } = *columns;
    let after_bar = label + bar_width + 1;
    Row::default()
        .text(0, label, name)
        .styled(label, bar_width, bar, style)
        .text(after_bar, figures_width, figures)
        .styled(after_bar + figures_width + 1, sparkline_width, sparkline, style)
}

/// A column of figures of GPUs: its title, its width, and what stands there.
type Figure = (&'static str, u16, fn(&Gpu) -> Option<f64>);

const FIGURES: [Figure; 4] =
    [("SM", 4, |gpu| gpu.sm), ("TC", 4, |gpu| gpu.tensor), ("C", 4, |gpu| gpu.celsius), ("W", 5, |gpu| gpu.watts)];

/// The widths of a GPU's columns; 0 where there is no room.
struct GpuColumns {
    name: u16,
    bar: u16,
    bytes: u16,
    figures: Vec<Figure>,
    sparkline: u16,
}

const INDEX: u16 = 4;
const PERCENT: u16 = 6;

impl GpuColumns {
    /// Figures that no GPU has get no column.
    fn of(width: u16, gpus: &[Gpu]) -> Self {
        let has = |figure: &Figure| gpus.iter().any(|gpu| figure.2(gpu).is_some());
        let figures: Vec<Figure> = FIGURES.into_iter().filter(|figure| width >= 60 && has(figure)).collect();
        let name = match width {
            0..50 => 0,
            50..120 => 13,
            _ => 24,
        };
        let bytes = if width < 120 { 0 } else { 17 };
        let sparkline = if width < 72 { 0 } else { width / 8 };
        let taken =
            INDEX + name + 2 * (PERCENT + 2) + bytes + sparkline + figures.iter().map(|figure| figure.1).sum::<u16>();
        Self { name, bar: width.saturating_sub(taken) / 2, bytes, figures, sparkline }
    }
}

fn gpus(shown: &Shown, look: Look, width: u16) -> Vec<Row> {
    let columns = GpuColumns::of(width, &shown.snapshot.gpus);
    let mut column = INDEX + columns.name;
    let mut titles = Row::default().styled(0, width, "GPU".into(), look.title());
    let mut place = |width: u16| {
        let at = column;
        column += width;
        at
    };
    titles = titles.styled(place(columns.bar + PERCENT + 2), PERCENT + columns.bar, "utilization".into(), look.title());
    titles = titles.styled(
        place(columns.bar + PERCENT + 2 + columns.bytes),
        PERCENT + columns.bar,
        "memory".into(),
        look.title(),
    );
    for (title, width, _) in &columns.figures {
        titles = titles.right(place(*width), *width - 1, title);
    }
    let rows = shown.snapshot.gpus.iter().flat_map(|gpu| gpu_rows(gpu, shown, look, width, &columns));
    std::iter::once(titles).chain(rows).collect()
}

fn gpu_rows(gpu: &Gpu, shown: &Shown, look: Look, width: u16, columns: &GpuColumns) -> Vec<Row> {
    let bar = columns.bar;
    // Where there is no utilization, the reason stands in the place of its bar, if it fits.
    let (reason, notes) = match gpu.notes.split_first() {
        Some((reason, rest)) if gpu.utilization.is_none() && reason.chars().count() <= bar.into() => {
            (Some(reason.clone()), rest)
        }
        _ => (None, gpu.notes.as_slice()),
    };
    let is_absent = reason.is_some();
    let mut at = INDEX + columns.name;
    let mut row = Row::default()
        .right(0, INDEX - 1, &gpu.index)
        .text(INDEX, columns.name.saturating_sub(1), &gpu.name)
        .styled(
            at,
            bar,
            reason.unwrap_or_else(|| look.bar(gpu.utilization, bar)),
            if is_absent { look.trouble() } else { look.busy() },
        )
        .right(at + bar, PERCENT, &tenths(gpu.utilization));
    at += bar + PERCENT + 2;
    row = row.styled(at, bar, look.bar(gpu.memory.percent, bar), look.held());
    row = row.right(at + bar, PERCENT, &tenths(gpu.memory.percent));
    at += bar + PERCENT + 2;
    if let Some((used, total)) = gpu.memory.used.zip(gpu.memory.total).filter(|_| columns.bytes > 0) {
        row = row.text(at, columns.bytes - 1, &bytes(used, total));
    }
    at += columns.bytes;
    for (_, width, figure) in &columns.figures {
        row = row.right(at, *width - 1, &whole(figure(gpu)));
        at += width;
    }
    row = row.styled(at, columns.sparkline, sparkline(&gpu.uuid, 100.0, shown, look, columns.sparkline), look.busy());
    let note = |note: &String| trouble(&format!("! {note}"), INDEX, width, look);
    std::iter::once(row).chain(notes.iter().flat_map(note)).collect()
}

/// The narrowest place of a core.
const CORE: u16 = 19;

/// Cores in as many columns as fit, row by row.
fn cores(cores: &[(String, Option<f64>)], look: Look, width: u16) -> Vec<Row> {
    let columns = (width / CORE).max(1).min(u16::try_from(cores.len()).unwrap_or(u16::MAX));
    let place = width / columns;
    let label = cores.iter().map(|(core, _)| core.len()).max().unwrap_or(0).clamp(2, 5) as u16;
    let bar = place.saturating_sub(label + 1 + PERCENT + 1);
    let row = |cores: &[(String, Option<f64>)]| {
        cores.iter().zip(0u16..).fold(Row::default(), |row, ((core, percent), index)| {
            let at = index * place;
            row.right(at, label, core).styled(at + label + 1, bar, look.bar(*percent, bar), look.busy()).right(
                at + label + 1 + bar,
                PERCENT,
                &tenths(*percent),
            )
        })
    };
    cores.chunks(columns.into()).map(row).collect()
}

fn tenths(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.1}"))
}

fn whole(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.0}"))
}

/// `11.3/25.0 GiB`: both in the unit in which the total has two digits at least.
fn bytes(used: f64, total: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let power = (1..units.len()).take_while(|power| total >= 10.0 * 1024f64.powi(*power as i32)).count();
    let scale = 1024f64.powi(power as i32);
    format!("{:.1}/{:.1} {}", used / scale, total / scale, units.get(power).unwrap_or(&""))
}

/// The end of a path that does not fit, which tells it from its neighbours.
fn tail(path: &str, width: usize) -> String {
    let surplus = path.chars().count().saturating_sub(width);
    if surplus == 0 { path.to_owned() } else { std::iter::once('~').chain(path.chars().skip(surplus + 1)).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_for_people() {
        assert_eq!([tenths(Some(12.34)), tenths(Some(0.0)), tenths(None)], ["12.3", "0.0", "-"]);
        assert_eq!(bytes(0.5 * 1024f64.powi(3), 25.0 * 1024f64.powi(3)), "0.5/25.0 GiB");
        assert_eq!(bytes(0.0, 1024f64.powi(4)), "0.0/1024.0 GiB");
        assert_eq!([bytes(1.0, 2.0), bytes(0.0, 0.0)], ["1.0/2.0 B", "0.0/0.0 B"]);
        assert_eq!([tail("/opt/ml/data", 8), tail("/opt", 4)], ["~ml/data", "/opt"]);
    }
}
