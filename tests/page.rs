//! The page in a real browser: what a person sees is what is measured, and nothing leaves the host.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

#[path = "page/api.rs"]
mod api;
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nvidia_ml_double::{DutyCycle, Gpu, Load, SCENARIO, Scenario, State, library};
use serde_json::Value;
use support::agent::hostgauge;
use support::browser::Browser;
use support::procfs::Procfs;
use support::wait::{SOON, wait_until};
use support::{Agent, Page};

const CPU: &str = "hostgauge_cpu_utilization_percent";

/// A driver with so many GPUs, and an agent on it. The first GPU is busy to a percent, the next to two, and so on.
fn with_gpus(number: u8, args: &[&str]) -> (Agent, Scenario, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let gpus = (0..number).map(|index| {
        let mut gpu =
            Gpu::new(&format!("GPU-11111111-2222-3333-4444-{index:012}"), &format!("00000000:{index:02X}:00.0"));
        gpu.load = Load::Percent(f64::from(index + 1));
        gpu.memory.used = gpu.memory.total / 100 * u64::from(index + 1);
        gpu
    });
    let scenario = Scenario { gpus: gpus.collect(), ..Scenario::default() };
    scenario.write(&folder.path().join("scenario.toml")).expect("written");
    let double = library().expect("the double is built with the tests").display().to_string();
    let mut command = hostgauge(&[&["--prometheus-listen", "127.0.0.1:0", "--nvml-library", &double], args].concat());
    command.env(SCENARIO, folder.path().join("scenario.toml"));
    (Agent::spawn(command), scenario, folder)
}

fn open(agent: &Agent, width: u32, height: u32) -> Browser {
    Browser::open(&format!("http://{}/", agent.address()), width, height)
}

/// What every look at a page ends with: it had nothing to complain about, and spoke with the agent only.
fn assert_quiet(browser: &Browser, agent: &Agent) {
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let own = format!("http://{}/", agent.address());
    let requested = browser.requested();
    assert!(requested.iter().any(|url| url.ends_with("/api/v1/stream")), "{requested:?}");
    // What is drawn on a canvas or written into the page itself leaves nothing.
    let outside = requested.iter().filter(|url| !url.starts_with(&own) && !url.starts_with("data:"));
    assert_eq!(outside.collect::<Vec<_>>(), Vec::<&String>::new());
}

/// Where pictures of this run are kept.
fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots")
}

/// Every value on the screen, by the name that Prometheus has for its series: those of the table, and those elsewhere.
/// All are of the same row.
fn values(browser: &mut Browser) -> (BTreeMap<String, f64>, Vec<(String, String)>) {
    let cells = browser.eval(
        "[...document.querySelectorAll('[data-key]')].filter((place) => place.checkVisibility())
            .map((place) => [place.tagName, place.dataset.key, place.textContent])",
    );
    let (mut table, mut elsewhere) = (BTreeMap::new(), Vec::new());
    for cell in cells.as_array().expect("a list") {
        let [tag, key, text] = [0, 1, 2].map(|part| cell[part].as_str().expect("a text"));
        match text.parse() {
            _ if tag != "TD" => elsewhere.push((key.to_owned(), text.to_owned())),
            Ok(value) => drop(table.insert(key.to_owned(), value)),
            Err(_) => {}
        }
    }
    (table, elsewhere)
}

/// The name of a series as the page has it: without the Host, which all have.
fn key(series: &support::page::Series) -> String {
    let own = series.labels.iter().filter(|(label, _)| *label != "Host");
    let labels: Vec<String> = own.map(|(label, value)| format!("{label}={}", Value::from(value.as_str()))).collect();
    if labels.is_empty() { series.name.clone() } else { format!("{}{{{}}}", series.name, labels.join(",")) }
}

#[test]
fn values_on_screen_are_those_of_metrics() {
    let (agent, _scenario, _folder) = with_gpus(2, &["--host", "algo-1"]);
    let mut browser = open(&agent, 1200, 1000);
    browser.wait_for(SOON, "document.querySelector('#values summary') !== null");
    browser.eval("document.querySelector('#values').open = true");
    browser
        .wait_for(SOON, "document.body.dataset.row > 0 && !document.querySelector('.gpus').closest('section').hidden");
    assert_eq!(browser.text("document.title"), "hostgauge on algo-1");

    // Until both are of the same tick; one of the next differs, since a CPU is never as busy twice.
    let (page, table, elsewhere) = wait_until(SOON, "the same tick in both", || {
        let page = agent.scrape();
        let (table, elsewhere) = values(&mut browser);
        let of_page = page.series.iter().map(|series| (key(series), series.value));
        let listed: BTreeMap<String, f64> = of_page.filter(|(key, _)| table.contains_key(key)).collect();
        let same = |(name, value): (&String, &f64)| {
            let allowed = if name.contains("percent") { 0.005 + 1e-6 } else { value.abs() * 1e-6 };
            (table[name] - value).abs() <= allowed
        };
        let all = listed.len() == table.len() && listed.len() > 20 && listed.iter().all(same);
        if all && listed.contains_key(CPU) {
            Ok((page, table, elsewhere))
        } else {
            Err(format!("{table:?}\n{listed:?}"))
        }
    });
    let mut seen = 0;
    for (key, text) in &elsewhere {
        let number: f64 = text.trim_end_matches(" %").parse().unwrap_or_else(|_| panic!("{key}: {text}"));
        let value = table.get(key).unwrap_or_else(|| panic!("{key} is in no table: {table:?}"));
        assert!((number - value).abs() <= 0.05 + 1e-6, "{key}: {text} and {value}");
        seen += 1;
    }
    // Five tiles, every core, and what each GPU has of utilization, memory, SM and tensor.
    assert!(seen >= 5 + page.cores().len() + 2 * 2, "{seen}: {elsewhere:?}");
    assert_quiet(&browser, &agent);
}

#[test]
fn it_is_live() {
    let agent = Agent::start(&["--interval", "500ms"]);
    let mut browser = open(&agent, 1000, 800);
    browser.wait_for(SOON, "document.querySelector('#state').dataset.state === 'live'");
    let row = |browser: &mut Browser| browser.text("document.body.dataset.row").parse::<u64>().unwrap_or_default();
    let mut rows = Vec::new();
    for _ in 0..4 {
        let before = rows.last().copied().unwrap_or_default();
        rows.push(wait_until(SOON, "a newer row", || {
            Some(row(&mut browser)).filter(|row| *row > before).ok_or_else(String::new)
        }));
    }
    // Each tick is drawn: the first came with the history, and a busy machine may leave a tick out.
    let steps: Vec<u64> = rows.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().any(|step| (450..=550).contains(step)), "{steps:?}");
    let asked = |browser: &Browser| browser.requested().iter().filter(|url| url.contains("/history")).count();
    assert!(asked(&browser) <= 3, "rows come by the stream: {:?}", browser.requested());
    assert_eq!(browser.text("document.querySelector('.gpus').closest('section').hidden.toString()"), "true", "no GPUs");
    let absent = "[...document.querySelectorAll('section')].filter(({ hidden }) => hidden)
        .map((section) => section.querySelector('h2').textContent).join()";
    assert_eq!(browser.text(absent), "GPUs,Delivery", "no chart for what is not measured");
    assert_quiet(&browser, &agent);
}

/// The columns of the CPU chart in which something is drawn in its colour, as a list of booleans.
const DRAWN: &str = "(() => {
    const canvas = document.querySelector('.plot canvas');
    const { data, width, height } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const blue = (at) => data[at + 3] > 60 && data[at + 2] - data[at] > 60;
    const rows = Array.from({ length: height }, (_, y) => y);
    const column = (x) => rows.some((y) => blue(4 * (y * width + x)));
    return Array.from({ length: width }, (_, x) => column(x));
})()";

#[test]
fn a_stall_is_a_gap() {
    let agent = Agent::start(&["--interval", "500ms"]);
    let mut browser = open(&agent, 1000, 800);
    let label = "document.querySelector('.plot').getAttribute('aria-label') ?? ''";
    browser.wait_for(SOON, &format!("/0 gaps/.test({label})"));
    // Enough of a line before the gap to be seen.
    thread::sleep(Duration::from_secs(3));
    agent.signal("STOP");
    browser.wait_for(SOON, "document.querySelector('#state').dataset.state === 'silent'");
    thread::sleep(Duration::from_secs(2));
    agent.signal("CONT");
    browser.wait_for(SOON, "document.querySelector('#state').dataset.state === 'live'");
    browser.wait_for(SOON, &format!("/1 gap\\b/.test({label})"));
    thread::sleep(Duration::from_secs(2));
    let drawn = browser.eval(DRAWN);
    let drawn: Vec<bool> = drawn.as_array().expect("columns").iter().map(|drawn| drawn == true).collect();
    let lines: Vec<usize> = drawn.split(|drawn| !drawn).map(<[bool]>::len).filter(|length| *length > 3).collect();
    assert!(lines.len() >= 2, "a line, nothing, a line again: {drawn:?}");
    browser.screenshot(&pictures().join("gap.png"));
    assert_quiet(&browser, &agent);
}

#[test]
fn an_absent_gpu_says_why() {
    let (agent, mut scenario, folder) = with_gpus(2, &["--interval", "500ms"]);
    let mut browser = open(&agent, 1200, 1400);
    let card = |index: usize| format!("(document.querySelectorAll('.gpus > li')[{index}]?.innerText ?? '')");
    browser.wait_for(SOON, &format!("{}.includes('1.0 %') && {}.includes('2.0 %')", card(0), card(1)));
    scenario.gpus[0].state = State::Lost;
    scenario.write(&folder.path().join("scenario.toml")).expect("written");
    browser.wait_for(SOON, &format!("{}.includes('fell off the bus')", card(0)));
    browser.wait_for(SOON, "document.querySelector('.health').innerText.includes('not there')");
    let lost = browser.text(&card(0));
    assert!(lost.contains('\u{2013}') && !lost.contains("1.0 %"), "no last good value: {lost}");
    assert!(browser.text(&card(1)).contains("2.0 %"));
    let head = browser.text("document.querySelector('.gpus').closest('section').querySelector('.head').innerText");
    assert!(head.contains("1 GPU without a value"), "{head}");
    browser.screenshot(&pictures().join("absent-gpu.png"));
    assert_quiet(&browser, &agent);
}

#[test]
fn a_library_that_is_not_there_is_named() {
    let agent = Agent::start(&["--nvml-library", "/no/such/libnvidia-ml.so.1"]);
    let mut browser = open(&agent, 1000, 800);
    browser.wait_for(SOON, "document.querySelector('.health')?.innerText.includes('gpu') ?? false");
    browser.wait_for(SOON, "/gpu\\s*.*not there/.test(document.querySelector('.health').innerText)");
    assert_quiet(&browser, &agent);
}

/// Boxes that overlap, and those whose text does not fit, of everything that stands side by side.
const CROWDED: &str = "(() => {
    const crowded = [];
    for (const all of ['.cores li', '.gpus > li', '#tiles > div', '.panel', '.gpus dl > div', '.health li']) {
        const places = [...document.querySelectorAll(all)].filter((place) => place.checkVisibility());
        const boxes = places.map((place) => place.getBoundingClientRect());
        places.forEach((place, at) => {
            if (place.scrollWidth > place.clientWidth + 1) crowded.push(`${all} ${at} is cut: ${place.innerText}`);
            if (boxes[at].height < 10 || boxes[at].width < 10) crowded.push(`${all} ${at} is too small`);
            for (let other = 0; other < at; other++) {
                const [a, b] = [boxes[at], boxes[other]];
                const beside = a.left >= b.right - 0.5 || b.left >= a.right - 0.5;
                const apart = beside || a.top >= b.bottom - 0.5 || b.top >= a.bottom - 0.5;
                if (!apart) crowded.push(`${all} ${at} lies on ${other}`);
            }
        });
    }
    return crowded;
})()";

fn assert_readable(browser: &mut Browser, width: u32) {
    browser.wait_for(SOON, &format!("innerWidth === {width}"));
    assert_eq!(browser.eval(CROWDED), Value::Array(Vec::new()), "at {width}");
    let wide = browser.eval("document.documentElement.scrollWidth").as_u64().expect("a width");
    assert!(wide <= width.into(), "{wide} of {width}: it scrolls sideways");
}

#[test]
fn a_phone_and_the_keyboard_are_enough() {
    let (agent, _scenario, _folder) =
        with_gpus(3, &["--interval", "500ms", "--host", "a-host-with-a-rather-long-name/algo-1"]);
    let mut browser = open(&agent, 360, 740);
    browser.wait_for(SOON, "document.querySelectorAll('.gpus > li').length === 3");
    browser.wait_for(SOON, "document.querySelector('.plot canvas') !== null");
    assert_readable(&mut browser, 360);
    browser.eval("document.querySelector('#values').open = true");
    browser.wait_for(SOON, "document.querySelectorAll('#values tbody tr').length > 10");
    assert_readable(&mut browser, 360);
    browser.screenshot(&pictures().join("phone.png"));
    browser.prefer("prefers-color-scheme", "dark");
    browser.wait_for(SOON, "matchMedia('(prefers-color-scheme: dark)').matches");
    let ground = browser.text("getComputedStyle(document.body).backgroundColor");
    assert_eq!(ground, "rgb(17, 21, 27)");
    thread::sleep(Duration::from_secs(1)); // until it is drawn anew
    browser.screenshot(&pictures().join("phone-dark.png"));

    // Every chart has words and every section a heading; the arrow keys read a chart's values.
    let unnamed = "[...document.querySelectorAll('[role=img], section')].filter((place) => place.checkVisibility())
        .filter((place) => !place.ariaLabel && !document.getElementById(place.getAttribute('aria-labelledby'))).length";
    browser.eval("scrollTo(0, 0)");
    browser.eval("document.querySelector('.plot[tabindex]').focus()");
    browser.press("ArrowLeft");
    browser.wait_for(SOON, "/\\d: \\d+\\.\\d %/.test(document.querySelector('figcaption output').textContent)");
    assert_eq!(browser.text("document.activeElement.className"), "plot");
    browser.resize(1200, 3000);
    browser.wait_for(SOON, &format!("{unnamed} === 0"));
    assert_quiet(&browser, &agent);
}

/// Moves the counters of so many cores, each busy to a share of its own that goes up and down, while `work` looks.
fn while_cores_turn(procfs: &Procfs, cores: u32, work: impl FnOnce() + std::panic::UnwindSafe) {
    let stop = AtomicBool::new(false);
    let turn = || {
        let mut rows = vec![(0, 1_000_000, 1_000_000, 0, 0); cores as usize];
        let start = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            for (core, row) in (0..).zip(&mut rows) {
                let wave = (start.elapsed().as_secs_f64() / 3.0 + f64::from(core) * 0.4).sin();
                let busy = (5.0 + 4.9 * wave).round() as u64;
                *row = (core, row.1 + busy, row.2 + 10 - busy, 0, 0);
            }
            procfs.cpu(&rows);
            thread::sleep(Duration::from_millis(100));
        }
    };
    thread::scope(|scope| {
        scope.spawn(turn);
        let worked = std::panic::catch_unwind(work);
        stop.store(true, Ordering::Relaxed);
        worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn many_cores_and_gpus_stay_readable() {
    let procfs = Procfs::copy_of("192-cores");
    while_cores_turn(&procfs, 192, || {
        let (agent, _scenario, _folder) = with_gpus(64, &["--procfs", procfs.path(), "--host", "p5-192"]);
        let mut browser = open(&agent, 1280, 1000);
        let patience = 2 * SOON; // 64 GPUs answer in turn, and the browser draws them
        let all = "document.querySelectorAll('.cores li').length === 192
            && document.querySelectorAll('.gpus > li').length === 64";
        browser.wait_for(patience, all);
        browser.wait_for(
            patience,
            "[...document.querySelectorAll('.gpus dd')]
            .filter((place) => place.textContent.endsWith(' %')).length >= 128",
        );
        browser.wait_for(patience, "document.querySelector('.plot canvas') !== null");
        assert_readable(&mut browser, 1280);
        assert!(browser.text("document.querySelector('#tiles').innerText").contains("of 19200 % (192 cores)"));
        assert!(browser.text("document.querySelector('#tiles').innerText").contains("of 6400 % (64 GPUs)"));
        thread::sleep(Duration::from_secs(20)); // a line to look at
        browser.screenshot(&pictures().join("many.png"));
        browser.resize(1280, 6000);
        thread::sleep(Duration::from_secs(2));
        browser.screenshot(&pictures().join("many-whole.png"));
        browser.resize(360, 740);
        assert_readable(&mut browser, 360);
        assert_quiet(&browser, &agent);
        let bytes = api::bytes_of_events(&agent, 3);
        println!("bytes of an event with 192 cores and 64 GPUs: {bytes:?}");
        assert!(bytes.iter().all(|bytes| *bytes <= 4096), "{bytes:?}");
    });
}

#[test]
fn pictures_for_the_readme() {
    let procfs = Procfs::copy_of("192-cores");
    while_cores_turn(&procfs, 16, || {
        let (agent, mut scenario, folder) = with_gpus(4, &["--procfs", procfs.path(), "--host", "my-job/algo-1"]);
        for (gpu, (share, period_s)) in scenario.gpus.iter_mut().zip([(0.9, 7.0), (0.7, 11.0), (0.8, 5.0), (0.6, 13.0)])
        {
            gpu.load = Load::Cycle(DutyCycle { share, period_s });
            gpu.memory.used = gpu.memory.total / 10 * (period_s as u64 / 2 + 3);
        }
        let play = |scenario: &Scenario| scenario.write(&folder.path().join("scenario.toml")).expect("written");
        play(&scenario);
        let mut browser = open(&agent, 1100, 1480);
        browser.wait_for(SOON, "document.querySelectorAll('.gpus > li').length === 4");
        thread::sleep(Duration::from_secs(40)); // a line to look at
        scenario.gpus[2].state = State::Lost;
        play(&scenario);
        thread::sleep(Duration::from_secs(6));
        browser.screenshot(&pictures().join("page.png"));
        browser.prefer("prefers-color-scheme", "dark");
        browser.resize(390, 844);
        thread::sleep(Duration::from_secs(3));
        browser.screenshot(&pictures().join("page-phone-dark.png"));
        assert_quiet(&browser, &agent);
    });
}

#[cfg(feature = "cloudwatch")]
#[test]
fn the_ledger_stands_on_the_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = folder.path().join("lines.json").display().to_string();
    let agent = Agent::start(&["--emf", &lines, "--cloudwatch-period", "10s", "--job-kind", "training"]);
    let mut browser = open(&agent, 1100, 1400);
    let ledger = "document.querySelector('.facts')?.innerText ?? ''";
    browser.wait_for(3 * SOON, &format!("/Taken\\s+[1-9]/.test({ledger})"));
    wait_until(SOON, "the ledger of the page", || {
        let page = agent.scrape();
        let names = ["taken_total", "published_total", "pending"].map(|name| format!("hostgauge_delivery_{name}"));
        let shown = names.iter().map(|name| {
            let place = format!("document.querySelector('.facts [data-key^=\"{name}\"]')?.textContent ?? ''");
            (browser.text(&place).parse::<f64>().ok(), page.get(name, &[]))
        });
        let shown: Vec<_> = shown.collect();
        if shown.iter().all(|(seen, value)| seen == value && seen.is_some()) {
            Ok(())
        } else {
            Err(format!("{shown:?}"))
        }
    });
    assert_quiet(&browser, &agent);
}

#[test]
fn without_a_history_the_page_says_so() {
    let agent = Agent::start(&["--history", "off"]);
    let mut browser = open(&agent, 800, 600);
    browser.wait_for(SOON, "document.querySelector('#state').dataset.state === 'off'");
    assert!(browser.text("document.querySelector('#notice').innerText").contains("history = off"));
    agent.wait_for(SOON, "the figures are there", Page::sum);
}
