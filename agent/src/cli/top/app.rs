//! The state of the view, and what keys do to it.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::history::History;
use super::page::Page;
use super::snapshot::Snapshot;

/// The times between refreshes that `+` and `-` go through.
const REFRESHES: [Duration; 9] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// What is shown of the host.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub snapshot: Snapshot,
    pub history: History,
    /// Why there is no page, and since when.
    pub trouble: Option<(String, Instant)>,
}

impl Shown {
    fn take(&mut self, page: Result<Page, String>) {
        self.snapshot = match page {
            Ok(page) => {
                self.trouble = None;
                Snapshot::of(&page).after(&self.snapshot)
            }
            Err(why) => {
                let since = self.trouble.as_ref().map_or_else(Instant::now, |(_, since)| *since);
                self.trouble = Some((why, since));
                self.snapshot.without_values()
            }
        };
        self.history.push(&self.snapshot);
    }
}

/// The view's state.
#[derive(Debug)]
pub(super) struct App {
    /// Where the figures come from, for the status line.
    pub source: String,
    pub started: Instant,
    pub refresh: Duration,
    /// Nothing is new more often than this.
    fastest: Duration,
    live: Shown,
    /// What was shown when the view was paused.
    paused: Option<Shown>,
    pub help: bool,
    /// The first row of the body that is shown; the view keeps it within what there is.
    pub scroll: usize,
    /// The rows of the body that fit, as of the last drawing.
    pub height: usize,
}

/// What a key asks for beyond the view itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Refresh(Duration),
    Quit,
}

impl App {
    pub(super) fn new(source: String, refresh: Duration, fastest: Duration) -> Self {
        Self {
            source,
            started: Instant::now(),
            refresh,
            fastest,
            live: Shown::default(),
            paused: None,
            help: false,
            scroll: 0,
            height: 0,
        }
    }

    pub(super) fn shown(&self) -> &Shown {
        self.paused.as_ref().unwrap_or(&self.live)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// A page came, or none did; while the view is paused, it goes into the history only.
    pub(super) fn take(&mut self, page: Result<Page, String>) {
        self.live.take(page);
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Wish {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let page = self.height.saturating_sub(1).max(1);
        match key.code {
            KeyCode::Char('c') if control => return Wish::Quit,
            KeyCode::Char('q' | 'Q') => return Wish::Quit,
            KeyCode::Esc | KeyCode::Char('?' | 'h') | KeyCode::F(1) if self.help => self.help = false,
            KeyCode::Esc => return Wish::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = true,
            KeyCode::Char(' ') => {
                self.paused = if self.is_paused() { None } else { Some(self.live.clone()) };
            }
            KeyCode::Char('f') if control => self.scroll = self.scroll.saturating_add(page),
            KeyCode::Char('b') if control => self.scroll = self.scroll.saturating_sub(page),
            KeyCode::Down | KeyCode::Char('j') => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageDown => self.scroll = self.scroll.saturating_add(page),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(page),
            KeyCode::Home | KeyCode::Char('g') => self.scroll = 0,
            KeyCode::End | KeyCode::Char('G') => self.scroll = usize::MAX,
            KeyCode::Char('+' | '=') => {
                let slower = REFRESHES.iter().find(|refresh| **refresh > self.refresh);
                return self.refresh_every(slower.copied());
            }
            KeyCode::Char('-') => {
                let faster = REFRESHES.iter().rev().find(|refresh| **refresh < self.refresh);
                return self.refresh_every(faster.map(|faster| self.fastest.max(*faster)));
            }
            _ => (),
        }
        Wish::Nothing
    }

    fn refresh_every(&mut self, refresh: Option<Duration>) -> Wish {
        match refresh {
            Some(refresh) if refresh != self.refresh => {
                self.refresh = refresh;
                Wish::Refresh(refresh)
            }
            _ => Wish::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> App {
        App::new("a test".into(), Duration::from_secs(1), Duration::from_millis(500))
    }

    fn press(app: &mut App, code: KeyCode) -> Wish {
        app.press(code.into())
    }

    fn page(cpu: u32) -> Result<Page, String> {
        Ok(Page::parse(&format!("hostgauge_cpu_utilization_percent{{Host=\"h\"}} {cpu}\n")))
    }

    #[test]
    fn keys_that_quit() {
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(app().press(control_c), Wish::Quit);
        assert_eq!(press(&mut app(), KeyCode::Char('c')), Wish::Nothing);
        assert_eq!([KeyCode::Char('q'), KeyCode::Esc].map(|code| press(&mut app(), code)), [Wish::Quit; 2]);
        let mut app = app();
        press(&mut app, KeyCode::Char('?'));
        assert!(app.help);
        assert_eq!(press(&mut app, KeyCode::Esc), Wish::Nothing, "it closes the help first");
        assert!(!app.help);
    }

    #[test]
    fn the_refresh_stays_within_what_is_new() {
        let mut app = app();
        let wishes: Vec<_> = "--++".chars().map(|key| press(&mut app, KeyCode::Char(key))).collect();
        let refresh = |millis| Wish::Refresh(Duration::from_millis(millis));
        assert_eq!(wishes, [refresh(500), Wish::Nothing, refresh(1000), refresh(2000)]);
    }

    #[test]
    fn a_pause_keeps_what_is_shown_while_the_history_goes_on() {
        let mut app = app();
        app.take(page(1));
        press(&mut app, KeyCode::Char(' '));
        app.take(page(2));
        assert_eq!(app.shown().snapshot.cpu, Some(1.0));
        press(&mut app, KeyCode::Char(' '));
        assert_eq!(app.shown().snapshot.cpu, Some(2.0));
        assert_eq!(app.shown().history.last("CPU", 9).len(), 2);
    }

    #[test]
    fn without_a_page_nothing_is_known_and_the_beginning_of_that_is_kept() {
        let mut app = app();
        app.take(page(1));
        app.take(Err("connection refused".into()));
        let (_, since) = app.shown().trouble.clone().expect("a trouble");
        app.take(Err("no answer".into()));
        assert_eq!(app.shown().trouble, Some(("no answer".into(), since)));
        assert_eq!((app.shown().snapshot.cpu, app.shown().snapshot.host.as_str()), (None, "h"));
        app.take(page(3));
        assert_eq!((app.shown().snapshot.cpu, &app.shown().trouble), (Some(3.0), &None));
    }
}
