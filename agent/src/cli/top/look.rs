//! What the terminal can show: bars, sparklines and styles, in Unicode or ASCII, in colour or without.

use std::ffi::OsString;

use ratatui::style::{Color, Modifier, Style};

/// Eighths of a column, for the end of a bar.
const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII_LEVELS: [char; 8] = ['_', '.', ',', '-', '~', '=', '+', '#'];

/// What the terminal can show. Colour never says anything that characters do not say, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub unicode: bool,
    pub colour: bool,
}

impl Look {
    /// As the environment says: the locale's character set, and <https://no-color.org>.
    pub(super) fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default();
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        Self { unicode: locale.ends_with("utf-8") || locale.ends_with("utf8"), colour: set(&"NO_COLOR").is_none() }
    }

    /// `[||||    ]`, `width` columns wide. Nothing is drawn where the share is not known.
    pub(super) fn bar(self, percent: Option<f64>, width: u16) -> String {
        let Some(percent) = percent.filter(|_| width > 2) else { return String::new() };
        let inner = usize::from(width) - 2;
        let eighths = (percent.clamp(0.0, 100.0) / 100.0 * 8.0 * inner as f64).round() as usize;
        let (full, rest) = (eighths / 8, eighths % 8);
        let mut bar: String = std::iter::repeat_n(if self.unicode { '█' } else { '|' }, full).collect();
        if let Some(end) = EIGHTHS.get(rest).filter(|_| self.unicode && rest > 0) {
            bar.push(*end);
        }
        format!("[{bar:<inner$}]")
    }

    /// A column for each point, the newest at the right end; an absent point is a blank, 0 is not.
    pub(super) fn sparkline(self, points: impl ExactSizeIterator<Item = Option<f64>>, top: f64, width: u16) -> String {
        let levels = if self.unicode { LEVELS } else { ASCII_LEVELS };
        let level = |point: Option<f64>| {
            let level = |value: f64| (value / top * 8.0).clamp(0.0, 7.0) as usize;
            point.and_then(|value| levels.get(level(value)).copied()).unwrap_or(' ')
        };
        let width = usize::from(width);
        let surplus = points.len().saturating_sub(width);
        let line: String = points.skip(surplus).map(level).collect();
        format!("{line:>width$}")
    }

    pub(super) fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn busy(self) -> Style {
        self.coloured(Color::Green)
    }

    pub(super) fn held(self) -> Style {
        self.coloured(Color::Cyan)
    }

    pub(super) fn trouble(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn status(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCII: Look = Look { unicode: false, colour: false };
    const UNICODE: Look = Look { unicode: true, colour: true };

    #[test]
    fn the_environment_says_what_the_terminal_can_show() {
        let look = |variables: &[(&str, &str)]| {
            let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
            Look::of(|name| find(name).map(|(_, value)| value.into()))
        };
        assert_eq!(look(&[]), Look { unicode: false, colour: true });
        assert!(look(&[("LANG", "en_US.UTF-8")]).unicode);
        assert!(look(&[("LC_CTYPE", "C.utf8"), ("LC_ALL", "")]).unicode);
        assert!(!look(&[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")]).unicode, "LC_ALL wins");
        assert!(!look(&[("NO_COLOR", "1")]).colour);
        assert!(look(&[("NO_COLOR", "")]).colour, "set and empty is not set");
        assert_eq!(ASCII.trouble().fg, None);
    }

    #[test]
    fn bars() {
        assert_eq!(ASCII.bar(Some(50.0), 10), "[||||    ]");
        assert_eq!(ASCII.bar(Some(250.0), 6), "[||||]");
        assert_eq!(ASCII.bar(Some(0.0), 6), "[    ]");
        assert_eq!(UNICODE.bar(Some(56.25), 10), "[████▌   ]");
        assert_eq!(UNICODE.bar(Some(100.0), 10), "[████████]");
        assert_eq!(ASCII.bar(None, 10), "", "unknown is not 0");
        assert_eq!(ASCII.bar(Some(50.0), 2), "");
    }

    #[test]
    fn sparklines() {
        let points = [Some(0.0), None, Some(50.0), Some(100.0)];
        assert_eq!(UNICODE.sparkline(points.into_iter(), 100.0, 6), "  ▁ ▅█");
        assert_eq!(ASCII.sparkline(points.into_iter(), 100.0, 2), "~#");
        assert_eq!(ASCII.sparkline(points.into_iter(), 0.0, 0), "");
    }
}
