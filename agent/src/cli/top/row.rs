//! A row of the view: pieces of text, each at its column and no wider than its place.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

#[derive(Clone, Debug)]
struct Piece {
    column: u16,
    width: u16,
    text: String,
    style: Style,
}

/// One row.
#[derive(Clone, Debug, Default)]
pub(super) struct Row(Vec<Piece>);

impl Row {
    pub(super) fn text(self, column: u16, width: u16, text: &str) -> Self {
        self.styled(column, width, text.to_owned(), Style::new())
    }

    pub(super) fn styled(mut self, column: u16, width: u16, text: String, style: Style) -> Self {
        self.0.push(Piece { column, width, text, style });
        self
    }

    /// Text at the right end of its place; it must be ASCII.
    pub(super) fn right(self, column: u16, width: u16, text: &str) -> Self {
        self.text(column, width, &format!("{text:>width$}", width = usize::from(width)))
    }

    /// Draws it at the height `y`, which lies within `area`; what is too wide is cut.
    pub(super) fn draw(&self, buffer: &mut Buffer, area: Rect, y: u16) {
        for piece in self.0.iter().filter(|piece| piece.column < area.width) {
            let width = piece.width.min(area.width - piece.column);
            buffer.set_stringn(area.x + piece.column, y, &piece.text, width.into(), piece.style);
        }
    }
}

/// Text in lines of at most `width` characters, cut between words where that can be; later lines are indented.
pub(super) fn wrapped(text: &str, width: u16) -> Vec<String> {
    let width = usize::from(width).max(8);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(" ".to_owned());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn text_is_wrapped_between_words() {
        assert_eq!(wrapped("! gpu: timed out, for 12 s", 20), ["! gpu: timed out,", "  for 12 s"]);
        assert_eq!(wrapped("abcdefghijklmnop q", 8), ["abcdefghijklmnop", "  q"]);
        assert_eq!(wrapped("", 8), [""]);
    }
}
