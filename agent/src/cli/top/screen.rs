//! The terminal: taken over for the view, and given back on every way out.

use std::io::{self, BufWriter, Stdout, Write as _, stdout};
use std::panic;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};
use ratatui::{Frame, Terminal};

/// More than a drawing of a large terminal takes. Standard output itself passes on a kilobyte at a time.
const DRAWING: usize = 1 << 16;

/// The terminal while the view has it. Dropping it gives it back.
pub(super) struct Screen(Terminal<CrosstermBackend<BufWriter<Stdout>>>);

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        // A release build aborts on a panic and drops nothing, but this runs before.
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        enable_raw_mode()?;
        let opened = execute!(stdout(), EnterAlternateScreen);
        let drawings = BufWriter::with_capacity(DRAWING, stdout());
        let terminal = opened.and_then(|()| Terminal::new(CrosstermBackend::new(drawings)));
        terminal.map(Self).inspect_err(|_| give_back())
    }

    /// Draws what changed, all of it at once where the terminal can: nobody sees half a drawing.
    pub(super) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        queue!(self.0.backend_mut(), BeginSynchronizedUpdate)?;
        self.0.draw(render)?;
        execute!(self.0.backend_mut(), EndSynchronizedUpdate)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// The screen as it was, with its cursor. There is nowhere to say that the terminal is gone.
fn give_back() {
    let _ = disable_raw_mode();
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = stdout().flush();
}
