//! `hostgauge top`: the figures in a terminal, as they change.
//!
//! One thread draws and handles keys; whatever can wait for something else (a key, a signal, an agent that does not
//! answer) is a thread that sends it events.

mod app;
#[cfg(all(any(test, fuzzing), target_os = "linux"))]
pub(crate) mod fuzzing;
mod gpus;
mod history;
mod http;
mod look;
mod page;
mod row;
mod rows;
mod screen;
#[cfg_attr(not(feature = "web-config"), path = "no_secure.rs")]
mod secure;
mod share;
mod snapshot;
mod source;
mod view;

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event as Input, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::configuration::Configuration;
use app::{App, Wish};
use look::Look;
use page::Page;
use screen::Screen;
use source::Source;

/// How long the end may take once the terminal is given back.
const GOODBYE: Duration = Duration::from_millis(500);

/// What happens to the view.
#[derive(Debug)]
enum Event {
    Input(Input),
    Page(Result<Page, String>),
    Stop,
}

/// Shows the view until a key or a signal ends it.
pub(super) fn run(
    configuration: &Configuration,
    url: Option<&String>,
    authorities: Option<&String>,
) -> Result<(), Failure> {
    check_terminal()?;
    // The log would be written over the view.
    if io::stderr().is_terminal() {
        log::set_max_level(log::LevelFilter::Off);
    }
    let source = Source::choose(configuration, url, authorities)?;
    let (sender, events) = channel();
    stop_on_signals(sender.clone())?;
    let screen = Screen::open()
        .map_err(|error| Failure::RunTime(format!("the terminal cannot be set up for the view: {error}")))?;
    show(screen, configuration, source, sender, &events)
        .map_err(|error| Failure::RunTime(format!("the view cannot be drawn: {error}")))
}

/// A view needs a terminal that can move its cursor.
fn check_terminal() -> Result<(), Failure> {
    let instead = "`hostgauge once` prints the figures as text";
    if !io::stdout().is_terminal() {
        return Err(Failure::Usage(format!("top: standard output is no terminal: expected one; {instead}")));
    }
    if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        return Err(Failure::Usage(format!(
            "top: TERM says that the terminal is a dumb one: expected one that can move its cursor; {instead}"
        )));
    }
    Ok(())
}

fn show(
    mut screen: Screen,
    configuration: &Configuration,
    source: Source,
    sender: Sender<Event>,
    events: &Receiver<Event>,
) -> io::Result<()> {
    let look = Look::of(|name| std::env::var_os(name));
    let mut app = App::new(source.to_string(), configuration.values.interval, source.fastest());
    let (ask, asked) = channel();
    let (pages, refresh) = (sender.clone(), app.refresh);
    let (ending, ended) = channel::<()>();
    spawn("hostgauge-source", move || {
        source.follow(refresh, &asked, |page| pages.send(Event::Page(page)).is_ok());
        drop(ending);
    })?;
    spawn("hostgauge-keys", move || send_input(&sender))?;
    let shown = follow(&mut screen, &mut app, look, events, &ask);
    drop((screen, ask));
    // A driver that was loaded is let go, if it does not hang.
    let _ = ended.recv_timeout(GOODBYE);
    shown
}

/// Draws what happens, until that is the end.
fn follow(
    screen: &mut Screen,
    app: &mut App,
    look: Look,
    events: &Receiver<Event>,
    ask: &Sender<Duration>,
) -> io::Result<()> {
    loop {
        screen.draw(|frame| view::draw(frame, app, look, Instant::now()))?;
        // All that has come meanwhile is one drawing, however fast keys or sizes change.
        for event in events.recv().ok().into_iter().chain(events.try_iter()) {
            match event {
                Event::Stop => return Ok(()),
                Event::Page(page) => app.take(page),
                Event::Input(Input::Key(key)) if key.kind != KeyEventKind::Release => match app.press(key) {
                    Wish::Quit => return Ok(()),
                    // A source that has ended has ended the view, too.
                    Wish::Refresh(every) => drop(ask.send(every)),
                    Wish::Nothing => (),
                },
                // A new size is found by drawing.
                Event::Input(_) => (),
            }
        }
    }
}

fn send_input(sender: &Sender<Event>) {
    while let Ok(input) = event::read() {
        if sender.send(Event::Input(input)).is_err() {
            return;
        }
    }
    // The terminal is gone. The view may be, too.
    let _ = sender.send(Event::Stop);
}

/// Lets signals end the view by the way that gives the terminal back.
fn stop_on_signals(sender: Sender<Event>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let [mut interrupt, mut terminate, mut hangup] = {
        let _context = runtime.enter();
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]
    };
    spawn("hostgauge-signals", move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => (),
                _ = terminate.recv() => (),
                _ = hangup.recv() => (),
            }
        });
        // A view that has ended needs no more to be told.
        let _ = sender.send(Event::Stop);
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(work).map(drop)
}
