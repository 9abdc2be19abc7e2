//! The view: a header, a body of rows that scrolls, a status line.

use std::time::Instant;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::app::App;
use super::look::Look;
use super::row::Row;
use super::rows;

const HELP: &[&str] = &[
    "q  Esc  Ctrl-C      quit",
    "Down j  Up k        scroll by a row",
    "PgDn  PgUp          scroll by a page",
    "Home g  End G       to the first, to the last row",
    "Space               pause, and go on",
    "+  -                refresh less often, more often",
    "?  h                close this help",
    "",
    "-                   not known: there is no sample",
    "245.3/400 %         a sum over four cores or GPUs: 0..100*N, as SageMaker has it",
    "SM TC               percent of streaming multiprocessors, of tensor cores",
    "C W                 degrees Celsius, watts",
];

/// Draws everything at any size; keeps the scroll position within what there is.
pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, look: Look, now: Instant) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.is_empty() {
        return;
    }
    let body_rows = if app.help {
        HELP.iter().map(|line| Row::default().text(0, area.width, line)).collect()
    } else {
        rows::body(app.shown(), look, area.width)
    };
    // A terminal of one or two rows shows figures.
    let (header, status) = (u16::from(area.height > 1), u16::from(area.height > 2));
    let height = area.height - header - status;
    app.height = usize::from(height);
    app.scroll = app.scroll.min(body_rows.len().saturating_sub(app.height));
    let body = Rect { y: area.y + header, height, ..area };
    for (row, y) in body_rows.iter().skip(app.scroll).zip(body.top()..body.bottom()) {
        row.draw(buffer, body, y);
    }
    if header > 0 {
        self::header(app, look, now, area.width).draw(buffer, area, area.y);
    }
    if status > 0 {
        draw_status(buffer, area, look, &self::status(app, body_rows.len(), now));
    }
}

fn header(app: &App, look: Look, now: Instant, width: u16) -> Row {
    let snapshot = &app.shown().snapshot;
    let n = snapshot.core_count.map_or("-".into(), |cores| cores.to_string());
    let gpus = snapshot.gpu_count.map(|gpus| format!("  GPUs {gpus}")).unwrap_or_default();
    let up = humantime::format_duration(std::time::Duration::from_secs(now.duration_since(app.started).as_secs()));
    let right = format!("N {n}{gpus}  every {}  up {up}", humantime::format_duration(app.refresh));
    let host = if snapshot.host.is_empty() { "-" } else { &snapshot.host };
    let left = format!("hostgauge  {host}");
    let column = width.saturating_sub(right.len() as u16);
    let row = Row::default();
    if column < 20 {
        return row.styled(0, width, left, look.title());
    }
    row.styled(0, column.saturating_sub(2), left, look.title()).text(column, width, &right)
}

/// The parts of the status line, the most important first.
fn status(app: &App, rows: usize, now: Instant) -> Vec<String> {
    let mut parts = Vec::new();
    if app.is_paused() {
        parts.push("PAUSED".to_owned());
    }
    match &app.shown().trouble {
        Some((why, since)) => {
            let seconds = now.duration_since(*since).as_secs();
            parts.push(format!("no page for {seconds} s: {why} ({})", app.source));
        }
        None => parts.push(app.source.clone()),
    }
    if rows > app.height {
        parts.push(format!("{}-{} of {rows}", app.scroll + 1, app.scroll + app.height));
    }
    parts.push("? help  q quit".to_owned());
    parts
}

fn draw_status(buffer: &mut Buffer, area: Rect, look: Look, parts: &[String]) {
    let y = area.bottom() - 1;
    buffer.set_style(Rect { y, height: 1, ..area }, look.status());
    let separator = if look.unicode { " │ " } else { " | " };
    Row::default().text(0, area.width, &parts.join(separator)).draw(buffer, area, y);
}

#[cfg(test)]
mod tests;
