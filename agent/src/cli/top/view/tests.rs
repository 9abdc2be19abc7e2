//! Golden screens, and that nothing that a page or a terminal can be makes the view fail.

use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyCode;

use super::super::app::App;
use super::super::look::Look;
use super::super::page::Page;

const ASCII: Look = Look { unicode: false, colour: false };
const UNICODE: Look = Look { unicode: true, colour: true };

/// A page's lines, written series by series.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let comma = if labels.is_empty() { "" } else { "," };
        writeln!(self.0, "hostgauge_{name}{{Host=\"job/algo-1\"{comma}{labels}}} {value}").expect("a string");
    }

    /// A host of `cores` cores, each a little busier than the one before it.
    fn host(cores: usize, load: f64) -> Self {
        let mut lines = Self::default();
        let busy = |core: usize| load * (core + 1) as f64 / cores as f64;
        lines.add("cpu_utilization_percent", "", (0..cores).map(busy).sum::<f64>());
        lines.add("cpu_cores", "", cores);
        for core in 0..cores {
            lines.add("cpu_core_utilization_percent", &format!("core=\"{core}\""), busy(core));
        }
        lines.add("memory_utilization_percent", "", 45.0);
        lines.add("memory_used_bytes", "", 45u64 << 30);
        lines.add("memory_limit_bytes", "", 100u64 << 30);
        lines.add("disk_utilization_percent", "", 25);
        for (what, bytes) in [("used", 1u64 << 38), ("available", 3 << 38), ("size", 4 << 38)] {
            lines.add(&format!("filesystem_{what}_bytes"), "path=\"/\"", bytes);
        }
        lines
    }

    /// `count` GPUs; of those in `lost` nothing is known.
    fn gpus(mut self, count: usize, lost: &[usize]) -> Self {
        self.add("gpus", "", count);
        self.add("gpus_reporting", "", count - lost.len());
        for gpu in 0..count {
            let labels = format!("gpu=\"{gpu}\",uuid=\"GPU-{gpu}\"");
            self.add("gpu_info", &format!("{labels},name=\"NVIDIA H100 80GB HBM3\",pci=\"0\""), 1);
            self.add("gpu_up", &labels, u8::from(!lost.contains(&gpu)));
            if lost.contains(&gpu) {
                self.add("gpu_failure", &format!("{labels},reason=\"lost\""), 1);
                continue;
            }
            self.add("gpu_device_utilization_percent", &labels, 100.0 - gpu as f64);
            self.add("gpu_device_memory_utilization_percent", &labels, 50);
            self.add("gpu_device_memory_used_bytes", &labels, 40u64 << 30);
            self.add("gpu_device_memory_total_bytes", &labels, 80u64 << 30);
            self.add("gpu_sm_utilization_percent", &labels, 62.5);
            self.add("gpu_temperature_celsius", &labels, 71);
            self.add("gpu_power_watts", &labels, 689.5);
        }
        if lost.is_empty() {
            let sum: f64 = (0..count).map(|gpu| 100.0 - gpu as f64).sum();
            self.add("gpu_utilization_percent", "", sum);
            self.add("gpu_memory_utilization_percent", "", 50 * count);
        }
        self
    }

    fn page(&self) -> Page {
        Page::parse(&self.0)
    }
}

fn app_of(pages: impl IntoIterator<Item = Result<Page, String>>) -> App {
    let mut app = App::new("attached to http://127.0.0.1:9871".into(), Duration::from_secs(1), Duration::ZERO);
    pages.into_iter().for_each(|page| app.take(page));
    app
}

/// The screen as lines without the blanks at their ends.
fn screen(app: &mut App, look: Look, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    let now = app.started + Duration::from_secs(83);
    terminal.draw(|frame| super::draw(frame, app, look, now)).expect("a drawing");
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(width.max(1)));
    let rows = rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
    rows.map(|row| format!("{}\n", row.trim_end())).collect()
}

/// Compares a screen with its golden one.
fn golden(name: &str, screen: &str) {
    let file = format!("{}/../tests/golden/top/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, screen).expect("written");
        return;
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!(screen, golden, "{name}: UPDATE_GOLDEN=1 takes the new one; it is\n{screen}");
}

#[test]
fn two_cores() {
    let loads = [0.0, 20.0, 40.0, 60.0, 80.0];
    let mut app = app_of(loads.map(|load| Ok(Lines::host(2, load).page())));
    for (name, look, size) in [
        ("two_cores_80x24", UNICODE, (80, 24)),
        ("two_cores_80x24_ascii", ASCII, (80, 24)),
        ("two_cores_200x60", UNICODE, (200, 60)),
        ("two_cores_20x5", UNICODE, (20, 5)),
    ] {
        golden(name, &screen(&mut app, look, size));
    }
}

#[test]
fn many_cores_and_gpus_are_scrolled_through() {
    let mut app = app_of([Ok(Lines::host(192, 100.0).gpus(64, &[]).page())]);
    golden("many_200x60", &screen(&mut app, UNICODE, (200, 60)));
    golden("many_80x24", &screen(&mut app, UNICODE, (80, 24)));
    app.press(KeyCode::End.into());
    golden("many_80x24_end", &screen(&mut app, UNICODE, (80, 24)));
    app.press(KeyCode::PageUp.into());
    let before = screen(&mut app, UNICODE, (80, 24));
    assert!(before.contains(" 79-100 of 121"), "{before}");
}

#[test]
fn what_is_absent_says_why_and_shows_no_figure() {
    let mut lines = Lines::host(4, 50.0).gpus(3, &[1]);
    lines.add("gpu_recovery_action", "gpu=\"2\",uuid=\"GPU-2\",action=\"drain_and_reset\"", 1);
    lines.add("collector_failure", "collector=\"gpu\",reason=\"failed\"", 1);
    lines.add("delivery_taken_total", "exporter=\"cloudwatch\"", 1203);
    lines.add("delivery_published_total", "exporter=\"cloudwatch\"", 1197);
    lines.add("delivery_pending", "exporter=\"cloudwatch\"", 6);
    let mut app = app_of([Ok(lines.page())]);
    golden("absent_gpu_80x24", &screen(&mut app, UNICODE, (80, 24)));
    golden("absent_gpu_40x24", &screen(&mut app, ASCII, (40, 24)));
}

#[test]
fn an_agent_that_is_gone_leaves_its_devices_without_figures() {
    let pages = [Ok(Lines::host(2, 50.0).gpus(1, &[]).page()), Err("connection refused".into())];
    let screen = screen(&mut app_of(pages), ASCII, (80, 24));
    assert!(screen.contains("no page for 8"), "{screen}");
    assert!(screen.contains("s: connection refused (attached to http://127.0.0.1:9871)"), "{screen}");
    let body: Vec<&str> = screen.lines().skip(1).take(20).collect();
    assert!(body.iter().all(|row| !row.contains('[') && !row.contains('.')), "figures on\n{screen}");
    assert!(body.iter().any(|row| row.starts_with("  0 H100")), "{screen}");
}

#[test]
fn a_driver_that_is_let_go_is_no_gpu_that_is_lost() {
    let mut lines = Lines::host(1, 50.0);
    lines.add("gpu_standby", "", 1);
    let screen = screen(&mut app_of([Ok(lines.page())]), ASCII, (80, 24));
    assert!(screen.contains("\nGPU         standby: the driver is let go\n"), "{screen}");
}

#[test]
fn before_the_first_page_nothing_is_known() {
    let screen = screen(&mut app_of([]), ASCII, (80, 5));
    assert!(screen.starts_with("hostgauge  -   "), "{screen}");
    assert!(screen.contains("\nCPU ") && screen.contains(" - %"), "{screen}");
}

#[test]
fn the_help_names_the_keys() {
    let mut app = app_of([]);
    app.press(KeyCode::Char('?').into());
    let screen = screen(&mut app, ASCII, (80, 24));
    assert!(["quit", "scroll", "pause", "refresh"].iter().all(|word| screen.contains(word)), "{screen}");
}

/// What may stand in a label: long, wide, of no width, or meant to fool a terminal.
fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[a-z0-9/ \u{1b}\u{200b}\u{301}\u{4e2d}\u{1f600}]{0,40}").expect("a pattern")
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![0.0..=100.0f64, Just(0.0), Just(-1.0), Just(1e300), Just(f64::MAX), Just(f64::MIN), Just(1e-300)]
}

prop_compose! {
    fn any_page()(
        sums in proptest::collection::vec((0..9usize, value()), 0..9),
        cores in proptest::collection::vec((text(), value()), 0..40),
        gpus in proptest::collection::vec((text(), text(), proptest::option::of(value()), text()), 0..8),
        reasons in proptest::collection::vec(text(), 0..3),
    ) -> Page {
        const SUMS: [&str; 9] = [
            "cpu_utilization_percent", "cpu_cores", "memory_utilization_percent", "memory_used_bytes",
            "memory_limit_bytes", "disk_utilization_percent", "gpu_utilization_percent", "gpus", "gpus_reporting",
        ];
        let mut lines = Lines::default();
        sums.iter().for_each(|(at, value)| lines.add(SUMS[*at], "", value));
        for (core, value) in &cores {
            lines.add("cpu_core_utilization_percent", &format!("core=\"{core}\""), value);
            for what in ["used", "available", "size"] {
                lines.add(&format!("filesystem_{what}_bytes"), &format!("path=\"{core}\""), value);
            }
        }
        for (index, uuid, percent, reason) in &gpus {
            let labels = format!("gpu=\"{index}\",uuid=\"{uuid}\"");
            lines.add("gpu_up", &labels, 1);
            lines.add("gpu_info", &format!("{labels},name=\"{reason}\""), 1);
            lines.add("gpu_failure", &format!("{labels},reason=\"{reason}\""), 1);
            let Some(percent) = percent else { continue };
            for what in ["device_utilization_percent", "device_memory_utilization_percent", "power_watts"] {
                lines.add(&format!("gpu_{what}"), &labels, percent);
            }
        }
        for reason in &reasons {
            lines.add("collector_failure", &format!("collector=\"gpu\",reason=\"{reason}\""), 1);
            lines.add("delivery_taken_total", &format!("exporter=\"{reason}\""), 1);
        }
        lines.page()
    }
}

proptest! {
    // Any page at any size, scrolled anywhere, is drawn without a panic, and no row is wider than the terminal.
    #[test]
    fn any_page_fits_any_terminal(
        page in any_page(),
        size in (0..260u16, 0..70u16),
        unicode in any::<bool>(),
        keys in proptest::collection::vec(prop_oneof![
            Just(KeyCode::End), Just(KeyCode::PageUp), Just(KeyCode::Down), Just(KeyCode::Char(' ')),
        ], 0..4),
    ) {
        let mut app = app_of([Ok(page)]);
        for key in keys {
            app.press(key.into());
        }
        let drawn = screen(&mut app, Look { unicode, colour: unicode }, size);
        prop_assert!(drawn.lines().count() <= usize::from(size.1));
        prop_assert!(!drawn.contains('\u{1b}'), "a label reached the terminal as a command");
    }
}
