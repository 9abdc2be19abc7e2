//! `hostgauge top` in a real terminal: tmux, which shows what a person would see.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod support;

use nvidia_ml_double::{Fault, Load, SCENARIO, State, library};
use support::agent::{BINARY, clean, hostgauge, run};
use support::machine::{Machine, path_of_double};
use support::reserved::Reserved;
use support::tmux::Tmux;
use support::wait::{SOON, wait_until};
use support::{Agent, Page};

const NORMAL: (u16, u16) = (80, 24);

/// A host with two GPUs.
fn machine() -> Machine {
    let uuid = |at| format!("GPU-11111111-2222-3333-4444-00000000000{at}");
    Machine::new(&[(&uuid(0), Load::Percent(30.0)), (&uuid(1), Load::Percent(60.0))])
}

fn agent_on(machine: &Machine, listen: &str) -> Agent {
    machine.start(&path_of_double(), &["--host", "job/algo-1", "--prometheus-listen", listen])
}

/// A shell script that shows the view and says how it ended.
fn top(args: &str) -> String {
    format!("echo before; {BINARY} top {args}; echo ended with $?")
}

fn attached(agent: &Agent, size: (u16, u16)) -> Tmux {
    let tmux = Tmux::run(&top(&format!("--url http://{}", agent.address())), size, &[]);
    tmux.wait_for_words("attached to");
    tmux
}

/// The figure after the last bar of the row that begins so; what is absent is a dash.
fn figure(screen: &str, row: &str) -> Option<String> {
    let row = screen.lines().find(|line| line.starts_with(row))?;
    let figures = row.rsplit_once(']').map_or_else(|| row.get(12..), |(_, figures)| Some(figures))?;
    Some(figures.split_whitespace().next()?.to_owned())
}

/// The percentages of the cores that fit, in the order of the screen. Their rows are numbers and bars by turns.
fn cores(screen: &str) -> Vec<String> {
    let is_cores = |line: &&str| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| word.parse::<u32>().is_ok())
            && words.next().is_some_and(|word| word.starts_with('['))
    };
    let of_row = |row: &str| -> Vec<String> {
        row.split(']').skip(1).filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect()
    };
    screen.lines().filter(is_cores).flat_map(of_row).collect()
}

fn tenths(value: f64) -> String {
    format!("{value:.1}")
}

/// The figures of the page that the screen shows, or else what differs.
fn compare(screen: &str, page: &Page) -> Result<(), String> {
    let value = |name: &str| page.get(&format!("hostgauge_{name}"), &[]).ok_or(format!("no {name} on the page"));
    let percent = |name: &str| value(&format!("{name}_utilization_percent"));
    let share = |name: &str| percent(name).map(tenths);
    let sum = |name: &str, n: &str| Ok::<_, String>(format!("{}/{}", tenths(percent(name)?), 100.0 * value(n)?));
    let wanted = [
        ("CPU ", sum("cpu", "cpu_cores")?),
        ("Memory ", share("memory")?),
        ("Disk ", share("disk")?),
        ("GPU  ", sum("gpu", "gpus")?),
        ("GPU mem ", sum("gpu_memory", "gpus")?),
    ];
    for (row, wanted) in wanted {
        let have = figure(screen, row);
        if have.as_ref() != Some(&wanted) {
            return Err(format!("{row}: {have:?} for {wanted}"));
        }
    }
    let wanted: Vec<String> = page.cores().into_iter().map(|(_, percent)| tenths(percent)).collect();
    let have = cores(screen);
    let fits = !have.is_empty() && wanted.starts_with(&have);
    if fits { Ok(()) } else { Err(format!("cores: {have:?} for {wanted:?}")) }
}

/// Waits for a moment in which the screen and the page are of the same tick.
fn wait_until_equal(tmux: &Tmux, agent: &Agent) {
    wait_until(2 * SOON, "the screen shows the page's figures", || {
        let (page, screen) = (agent.scrape(), tmux.screen());
        compare(&screen, &page).map_err(|what| format!("{what}\n{screen}\n{}", page.text))
    });
}

#[test]
fn the_figures_are_the_pages_and_go_on_changing() {
    let mut machine = machine();
    let agent = agent_on(&machine, "127.0.0.1:0");
    for size in [NORMAL, (200, 60)] {
        let tmux = attached(&agent, size);
        wait_until_equal(&tmux, &agent);
        let screen = tmux.screen();
        assert!(screen.starts_with("hostgauge  job/algo-1 "), "{screen}");
        assert!(screen.contains("GPUs 2  every 1s  up "), "{screen}");
        assert!(screen.contains("A100") || screen.contains("H100"), "the card's name on\n{screen}");
        assert_eq!(screen.lines().count(), usize::from(size.1));
    }
    let tmux = attached(&agent, NORMAL);
    tmux.wait_for("the load", |screen| (figure(screen, "GPU  ").as_deref() == Some("90.0/200")).then_some(()));
    machine.scenario.gpus[0].load = Load::Percent(80.0);
    machine.play();
    tmux.wait_for("the new load", |screen| (figure(screen, "GPU  ").as_deref() == Some("140.0/200")).then_some(()));
    machine.scenario.gpus[0].state = State::Lost;
    machine.play();
    // The sum is strict, and the GPU says why.
    let lost =
        |screen: &str| screen.lines().find(|line| line.starts_with("  0 ") && line.contains("lost")).map(str::to_owned);
    let row = tmux.wait_for("the loss", lost);
    assert!(!row.contains('[') && row.contains('-'), "{row}");
    let screen = tmux.wait_for_words("! 1 of 2 GPUs have a utilization");
    assert_eq!(figure(&screen, "GPU  ").as_deref(), Some("-/200"), "{screen}");
}

#[test]
fn it_follows_the_terminals_size() {
    let machine = machine();
    let agent = agent_on(&machine, "127.0.0.1:0");
    let tmux = attached(&agent, (200, 60));
    for (width, height) in [(80, 24), (20, 5), (1, 1), (120, 40)] {
        tmux.resize(width, height);
        let fits = |screen: &str| {
            let is_last =
                |line: &str| line.starts_with("attached to http://127.0.0.1"[..usize::from(width).min(28)].trim_end());
            let last = screen.lines().last().is_some_and(is_last) || height < 3;
            (last && !screen.trim().is_empty() && screen.lines().count() == usize::from(height)).then_some(())
        };
        tmux.wait_for(&format!("{width}x{height}"), fits);
    }
    wait_until_equal(&tmux, &agent);
    // Scrolling in a small one.
    tmux.resize(80, 6);
    tmux.wait_for("its first rows", |screen| screen.contains("\nCPU ").then_some(()));
    tmux.press(&["End"]);
    tmux.wait_for("its last rows", |screen| (!screen.contains("\nCPU ") && screen.contains("\n 0 [")).then_some(()));
    tmux.press(&["Home"]);
    tmux.wait_for("its first rows again", |screen| screen.contains("\nCPU ").then_some(()));
}

/// The terminal as a program must leave it.
fn assert_given_back(tmux: &Tmux, code: u8) {
    let screen = tmux.wait_for_words(&format!("ended with {code}"));
    assert!(screen.starts_with("before\n") && !screen.contains("CPU"), "{screen}");
    assert_eq!([tmux.state("alternate_on"), tmux.state("cursor_flag")], ["0", "1"]);
}

#[test]
fn every_way_out_gives_the_terminal_back() {
    let agent = Agent::start(&[]);
    let script = format!("stty -a > /tmp/$$; {}", top(&format!("--url {}", agent.address())));
    let script = format!("{script}; stty -a | cmp - /tmp/$$ && echo same modes; rm /tmp/$$");
    for keys in [&["q"][..], &["Escape"], &["C-c"], &["?", "q"], &["?", "Escape", "Escape"]] {
        let tmux = Tmux::run(&script, NORMAL, &[]);
        tmux.wait_for_words("attached to");
        assert_eq!([tmux.state("alternate_on"), tmux.state("cursor_flag")], ["1", "0"]);
        for key in keys {
            tmux.press(&[key]);
            if *key == "?" {
                tmux.wait_for_words("scroll by a page");
            } else if keys.len() == 3 {
                // Two escapes at once are one key with Alt.
                tmux.wait_for("the help is closed or the view is", |screen| {
                    (!screen.contains("scroll by")).then_some(())
                });
            }
        }
        assert_given_back(&tmux, 0);
        tmux.wait_for_words("same modes");
    }
    for signal in ["INT", "TERM", "HUP"] {
        let tmux = Tmux::run(&script, NORMAL, &[]);
        tmux.wait_for_words("attached to");
        let children = clean("pgrep", &["-P", &tmux.state("pane_pid")]).output().expect("pgrep starts");
        let view = String::from_utf8(children.stdout).expect("UTF-8");
        assert!(clean("kill", &[&format!("-{signal}"), view.trim()]).status().expect("kill starts").success());
        assert_given_back(&tmux, 0);
        tmux.wait_for_words("same modes");
    }
}

#[test]
fn an_agent_that_is_gone_is_waited_for() {
    let machine = machine();
    let port = Reserved::new();
    let address = port.address().to_string();
    let mut agent = agent_on(&machine, &address);
    let tmux = attached(&agent, NORMAL);
    wait_until_equal(&tmux, &agent);
    agent.stop("KILL");
    let screen = tmux.wait_for_words("connection refused");
    assert!(!screen.contains('[') && screen.contains("\n  0 "), "figures of an agent that is gone:\n{screen}");
    assert!(screen.contains("no page for"), "{screen}");
    let agent = agent_on(&machine, &address);
    wait_until_equal(&tmux, &agent);
    assert!(!tmux.screen().contains("no page"));
}

#[test]
fn a_driver_that_hangs_stops_neither_the_view_nor_its_end() {
    let mut machine = machine();
    let library = library().expect("the double is built with the tests").display().to_string();
    let script = top(&format!("--prometheus-listen off --nvml-library {library}"));
    let scenario = machine.path().display().to_string();
    let tmux = Tmux::run(&script, (100, 24), &[(SCENARIO, &scenario)]);
    tmux.wait_for("the load", |screen| (figure(screen, "GPU  ").as_deref() == Some("90.0/200")).then_some(()));
    machine.scenario.faults.push(Fault { function: "*".into(), gpu: Some(1), hang: true, ..Fault::default() });
    machine.play();
    let screen = tmux.wait_for_words("! collector gpu: timed out, for ");
    let rows: Vec<&str> =
        screen.lines().filter(|line| ["  0 ", "  1 "].iter().any(|gpu| line.starts_with(gpu))).collect();
    assert!(rows.len() == 2 && rows.iter().all(|row| !row.contains('[')), "both keep their place:\n{screen}");
    assert!(figure(&screen, "CPU ").is_some_and(|figure| !figure.starts_with('-')), "{screen}");
    tmux.press(&["q"]);
    assert_given_back(&tmux, 0);
}

#[test]
fn it_finds_the_agent_where_its_page_would_be_or_samples_by_itself() {
    let agent = Agent::start(&["--host", "of-the-agent"]);
    let here = Tmux::run(&top(&format!("--host mine --prometheus-listen {}", agent.address())), NORMAL, &[]);
    let screen = here.wait_for_words(&format!("attached to http://{}", agent.address()));
    assert!(!screen.contains("mine"), "{screen}");
    here.wait_for_words("hostgauge  of-the-agent ");

    let by_itself = Tmux::run(&top("--host mine --prometheus-listen off --interval 500ms"), NORMAL, &[]);
    by_itself.wait_for_words("sampling by itself, every 500ms");
    let has_sample =
        |screen: &str| figure(screen, "CPU ").filter(|figure| !figure.starts_with('-')).map(|_| screen.to_owned());
    let screen = by_itself.wait_for("a sample", has_sample);
    assert!(screen.starts_with("hostgauge  mine ") && screen.contains("every 500ms  up"), "{screen}");
    assert!(!screen.contains("INFO"), "the log on\n{screen}");
    by_itself.press(&["Space"]);
    by_itself.wait_for_words("PAUSED");
    by_itself.press(&["Space", "+"]);
    by_itself.wait_for_words("every 1s  up");
}

#[test]
fn without_colours_and_without_unicode_it_says_the_same() {
    let agent = Agent::start(&[]);
    let script = top(&format!("--url {}", agent.address()));
    let colours = |screen: &str| ["[32m", "[36m", "[31m", "[38"].iter().any(|code| screen.contains(code));
    let plain = Tmux::run(&script, NORMAL, &[("NO_COLOR", "1"), ("LC_ALL", "C")]);
    let has_bars = |screen: &str| figure(screen, "Memory").filter(|_| screen.contains("[|")).map(|_| ());
    plain.wait_for("bars", has_bars);
    assert!(plain.screen().is_ascii(), "{}", plain.screen());
    assert!(!colours(&plain.screen_in_colour()), "{}", plain.screen_in_colour());
    let full = Tmux::run(&script, NORMAL, &[]);
    full.wait_for("bars", |screen| (screen.contains("[\u{2588}") || screen.contains("[\u{258f}")).then_some(()));
    assert!(colours(&full.screen_in_colour()), "{}", full.screen_in_colour());
}

#[test]
fn what_cannot_work_says_what_was_expected() {
    let ended = run(&mut hostgauge(&["top"]), "");
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    assert!(ended.stderr.contains("expected") && ended.stderr.contains("`hostgauge once`"), "{ended:?}");
    for (script, words) in [
        (format!("TERM=dumb {BINARY} top"), "`hostgauge once`"),
        (format!("{BINARY} top --url ftp://127.0.0.1:1"), "expected http://HOST:PORT"),
    ] {
        let tmux = Tmux::run(&format!("{script}; echo ended with $?"), (200, 10), &[]);
        let screen = tmux.wait_for_words("ended with 2");
        assert!(screen.contains(words), "{screen}");
    }
}

#[test]
fn another_server_is_not_taken_for_an_agent() {
    // A listener that answers with a page of somebody else's.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut request = [0; 1024];
            let _ = std::io::Read::read(&mut client, &mut request);
            let _ = std::io::Write::write_all(&mut client, b"HTTP/1.0 200 OK\r\n\r\nnode_load1 0.5\n");
        }
    });
    let tmux = Tmux::run(&top(&format!("--prometheus-listen {address}")), NORMAL, &[]);
    tmux.wait_for_words("sampling by itself");
    let tmux = Tmux::run(&top(&format!("--url {address}")), NORMAL, &[]);
    tmux.wait_for_words("what answers there is not hostgauge");
}
