//! The real binary, used as people use it: started, scraped, stopped, asked.
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod support;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::agent::{BINARY, Log, clean, end_of, hostgauge, run, stdout};
use support::load::Killed;
use support::procfs::Procfs;
use support::wait::{SOON, wait_until, wall};
use support::{Agent, Page, http, kernel};

const SUM: &str = "hostgauge_cpu_utilization_percent";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";
const WINDOW: Duration = Duration::from_secs(15);

/// Long enough for one whole window after the one that is running, and its first tick.
const TWO_WINDOWS: Duration = Duration::from_secs(2 * 15 + 15);

/// An agent whose page stands still: its second tick is half a minute away.
fn still(more: &[&str]) -> Agent {
    let agent = Agent::start(&[&["--interval", "60s", "--host", "algo-1"], more].concat());
    agent.wait_for(SOON, "the base readings", |page| {
        ["cpu", "disk"]
            .iter()
            .all(|name| page.get("hostgauge_collector_success", &[("collector", name)]).is_some())
            .then_some(())
    });
    agent
}

#[test]
fn it_starts_at_once_and_shows_everything_as_one_host() {
    let start = Instant::now();
    let agent = Agent::start(&["--host", "algo-1"]);
    assert_eq!(agent.get("/metrics").status, 200);
    assert!(start.elapsed() < Duration::from_secs(2), "the page took {:?}", start.elapsed());

    let cores: BTreeSet<String> = kernel::cores().keys().map(u32::to_string).collect();
    let page = agent.wait_for(SOON, "a page with a percentage of everything", |page| {
        let names = ["cpu", "memory", "disk"].map(|what| format!("hostgauge_{what}_utilization_percent"));
        names.iter().all(|name| page.get(name, &[]).is_some()).then(|| page.clone())
    });
    assert_eq!(page.cores().into_iter().map(|(core, _)| core).collect::<BTreeSet<_>>(), cores);
    assert_eq!(page.value("hostgauge_cpu_cores", &[]), cores.len() as f64);
    assert!(page.value("hostgauge_memory_used_bytes", &[]) < page.value("hostgauge_memory_limit_bytes", &[]));
    assert!(page.value("hostgauge_filesystem_size_bytes", &[("path", "/")]) > 0.0);
    for collector in ["cpu", "memory", "disk"] {
        assert_eq!(page.value("hostgauge_collector_success", &[("collector", collector)]), 1.0, "{collector}");
        assert!(page.value("hostgauge_collector_duration_seconds", &[("collector", collector)]) < 1.0, "{collector}");
    }
    assert!(page.all("hostgauge_collector_failure").next().is_none());
    for series in &page.series {
        assert_eq!(series.labels.get("Host").map(String::as_str), Some("algo-1"), "{series:?}");
    }
}

#[test]
fn what_needs_two_readings_is_absent_after_one() {
    let page = still(&[]).scrape();
    assert_eq!((page.sum(), page.cores()), (None, Vec::new()));
    assert!(!page.text.contains("_window_"), "{}", page.text);
    assert!(page.value("hostgauge_cpu_seconds_total", &[]) > 0.0);
    assert!(page.value("hostgauge_memory_utilization_percent", &[]) > 0.0);
    // Asked at the first tick, answered by the second: absent or true, but not 0.
    assert_ne!(page.get("hostgauge_disk_utilization_percent", &[]), Some(0.0));
}

#[test]
fn the_sum_is_that_of_the_cores_beside_it() {
    let agent = Agent::start(&["--interval", "100ms"]);
    let cores = kernel::cores().len() as f64;
    let mut sums = 0;
    for _ in 0..20 {
        let page = agent.next_tick();
        let parts = page.cores();
        assert!(parts.iter().all(|(_, percent)| (0.0..=100.0).contains(percent)), "{}", page.text);
        // Absent together too: a part of the cores must not pass for all.
        let Some(sum) = page.sum() else { continue };
        assert_eq!(parts.len() as f64, cores);
        let added = parts.iter().map(|(_, percent)| percent).sum::<f64>();
        assert!((sum - added).abs() < 1e-9, "{sum} is not {added}: {parts:?}");
        assert!((0.0..=100.0 * cores).contains(&sum));
        sums += 1;
    }
    assert!(sums >= 10, "{sums} of 20 ticks have a sum");
}

#[test]
fn the_rate_of_the_counter_is_the_percent() {
    let agent = Agent::start(&[]);
    let seconds = |page: &Page| page.value("hostgauge_cpu_seconds_total", &[]);
    agent.wait_for(SOON, "a first percentage", Page::sum);
    let (first, start) = (agent.next_tick(), Instant::now());
    let pages: Vec<Page> = (0..5).map(|_| agent.next_tick()).collect();
    let rate = 100.0 * (seconds(&pages[4]) - seconds(&first)) / start.elapsed().as_secs_f64();
    let percents: Vec<f64> = pages.iter().map(|page| page.value(SUM, &[])).collect();
    let mean = percents.iter().sum::<f64>() / 5.0;
    let allowed = 3.0 * kernel::cores().len() as f64;
    assert!((rate - mean).abs() < allowed, "the counter says {rate}, the percentages {percents:?}");
}

/// Moves the counters between two ticks: these come at the half of each second, so every reading is of one text.
fn turn(procfs: &Procfs, rows: &[(u32, u64, u64, u64, u64)]) {
    wait_until(SOON, "the first third of a second", || match wall().subsec_millis() {
        0..333 => Ok(()),
        later => Err(format!("{later} ms")),
    });
    procfs.cpu(rows);
}

#[test]
fn counters_that_stand_still_give_no_percentage() {
    let procfs = Procfs::copy_of("two-cores");
    let agent = Agent::start(&["--procfs", procfs.path()]);
    for _ in 0..2 {
        let page = agent.next_tick();
        assert_eq!((page.sum(), page.cores()), (None, Vec::new()), "no time passed");
        assert_eq!(page.value("hostgauge_cpu_seconds_total", &[]), 39.58);
        assert_eq!(page.value("hostgauge_cpu_wait_seconds_total", &[("mode", "iowait")]), 3.51);
        assert_eq!(page.value("hostgauge_cpu_wait_seconds_total", &[("mode", "steal")]), 0.43);
        assert_eq!(page.value("hostgauge_memory_limit_bytes", &[]), 24_684_084.0 * 1024.0);
        assert_eq!(page.value("hostgauge_memory_used_bytes", &[]), f64::from(24_684_084 - 24_212_592) * 1024.0);
        assert_eq!(page.value("hostgauge_collector_success", &[("collector", "cpu")]), 1.0);
    }
}

#[test]
fn counters_that_move_give_exact_percentages_by_the_name_of_each_core() {
    let procfs = Procfs::copy_of("two-cores");
    procfs.cpu(&[(0, 1000, 0, 0, 0), (1, 0, 0, 0, 0), (2, 0, 0, 0, 0)]);
    let agent = Agent::start(&["--procfs", procfs.path()]);
    agent.wait_for(SOON, "the base reading", |page| page.get("hostgauge_cpu_cores", &[]));
    // Seen for one tick only, since no time passes after a turn: so what is seen is seen at the first tick that could.
    let expect = |what: &str, sum: Option<f64>, cores: &[(&str, f64)], seconds: f64, count: f64| {
        agent.wait_for(SOON, what, |page| {
            let same = page.cores().iter().map(|(core, percent)| (core.as_str(), *percent)).eq(cores.iter().copied())
                && page.sum() == sum
                && page.get("hostgauge_cpu_seconds_total", &[]) == Some(seconds)
                && page.get("hostgauge_cpu_cores", &[]) == Some(count);
            same.then_some(())
        });
    };

    // iowait is idle; steal is time, but not busy.
    turn(&procfs, &[(0, 1025, 75, 0, 0), (1, 50, 20, 20, 10), (2, 100, 0, 0, 0)]);
    expect("25 + 50 + 100", Some(175.0), &[("0", 25.0), ("1", 50.0), ("2", 100.0)], 11.75, 3.0);

    turn(&procfs, &[(0, 1035, 165, 0, 0), (2, 160, 40, 0, 0)]);
    expect("core 1 is gone, 0 and 2 keep their names", Some(70.0), &[("0", 10.0), ("2", 60.0)], 12.45, 2.0);

    turn(&procfs, &[(0, 1035, 265, 0, 0), (1, 999_999, 1, 0, 0), (2, 160, 140, 0, 0)]);
    expect("core 1 is back and has no percentage yet", None, &[("0", 0.0), ("2", 0.0)], 12.45, 3.0);

    turn(&procfs, &[(0, 1035, 365, 0, 0), (1, 1_000_029, 71, 0, 0), (2, 160, 240, 0, 0)]);
    expect("core 1 has one", Some(30.0), &[("0", 0.0), ("1", 30.0), ("2", 0.0)], 12.75, 3.0);
}

/// The wall clock's window at a time: its start.
fn window_of(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() - time.as_secs() % WINDOW.as_secs())
}

fn stat_of_window(page: &Page, stat: &str) -> Option<f64> {
    page.get("hostgauge_cpu_utilization_window_percent", &[("window", "15s"), ("stat", stat)])
}

#[test]
fn a_window_is_shown_once_it_is_complete_and_holds_its_samples() {
    let first_whole = window_of(wall()) + WINDOW;
    let agent = Agent::start(&[]);
    // Each tick's percent with the times between which it came.
    let mut ticks: Vec<(Duration, Duration, f64)> = Vec::new();
    let (mut before, mut last) = (wall(), None);
    let (shown, page) = wait_until(TWO_WINDOWS, "a window of 15 s on the page", || {
        std::thread::sleep(Duration::from_millis(190)); // 5 Hz
        let asked = wall();
        let page = agent.scrape();
        let now = wall();
        if stat_of_window(&page, "max").is_some() {
            return Ok((now, page));
        }
        if page.tick() != last {
            last = page.tick();
            page.sum().into_iter().for_each(|percent| ticks.push((before, now, percent)));
        }
        before = asked;
        Err(page.text)
    });
    let start = window_of(shown) - WINDOW;
    assert!(start >= first_whole, "a window that began before the agent did is not whole");
    let [min, mean, max] = ["min", "mean", "max"].map(|stat| stat_of_window(&page, stat).expect("all three or none"));
    assert!(min <= mean && mean <= max, "{min} {mean} {max}");
    assert_eq!(page.all("hostgauge_cpu_utilization_window_percent").count(), 3, "no minute is complete yet");
    for what in ["memory", "disk"] {
        assert_eq!(page.all(&format!("hostgauge_{what}_utilization_window_percent")).count(), 3, "{what}");
    }

    let inside: Vec<f64> = ticks
        .iter()
        .filter(|(after, until, _)| *after >= start && *until < start + WINDOW)
        .map(|(_, _, percent)| *percent)
        .collect();
    assert!(inside.len() >= 5, "too few ticks seen for a judgement: {ticks:?}");
    for percent in &inside {
        assert!(min <= *percent && *percent <= max, "{percent} was scraped, but min is {min} and max {max}");
    }
    // One a second: with all of them seen, the window is known to the last digit.
    if inside.len() == 15 {
        let folded = |pick: fn(f64, f64) -> f64| inside.iter().copied().reduce(pick).expect("fifteen");
        assert_eq!((min, max), (folded(f64::min), folded(f64::max)));
        assert!((mean - inside.iter().sum::<f64>() / 15.0).abs() < 1e-9, "{mean} is not the mean of {inside:?}");
    }
}

#[test]
fn a_short_burst_shows_in_the_maximum_of_its_window() {
    let agent = Agent::start(&["--interval", "100ms"]);
    agent.wait_for(SOON, "a first tick, so that the next window is whole", Page::sum);
    let window = window_of(wall()) + WINDOW;
    wait_until(TWO_WINDOWS, "the next window", || if wall() > window { Ok(()) } else { Err("earlier".into()) });
    // Half a second into each second; the last well before the window's end.
    while wall() < window + Duration::from_secs(12) {
        let burst = Instant::now();
        while burst.elapsed() < Duration::from_millis(250) {
            std::hint::spin_loop();
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let max = agent.wait_for(TWO_WINDOWS, "the window with the bursts", |page| {
        stat_of_window(page, "max").filter(|_| wall() > window + WINDOW + Duration::from_secs(1))
    });
    assert!(max >= 90.0, "one core was busy for 250 ms, again and again, and the maximum is {max}");
}

#[test]
fn head_is_get_without_a_body() {
    let agent = still(&[]);
    for path in ["/metrics", "/", "/-/healthy", "/-/ready", "/nowhere"] {
        let (get, head) = (agent.get(path), agent.request("HEAD", path, &[]));
        assert_eq!((head.status, head.lasting_headers()), (get.status, get.lasting_headers()), "{path}");
        assert!(head.body.is_empty() && !get.body.is_empty(), "{path}");
    }
}

#[test]
fn what_is_not_there_and_what_cannot_be_done_is_said() {
    let agent = still(&[]);
    for path in ["/nowhere", "/metrics/", "/METRICS", "//", "/-/quit"] {
        assert_eq!(agent.get(path).status, 404, "{path}");
    }
    assert!(agent.get("/nowhere").text().contains("/metrics"), "the way to what there is");
    assert_eq!(agent.get("/metrics?name[]=up").status, 200);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let response = agent.request(method, "/metrics", &[]);
        assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn it_is_healthy_at_once_and_ready_with_its_first_samples() {
    let not_yet = still(&[]);
    assert_eq!((not_yet.get("/-/healthy").status, not_yet.get("/-/ready").status), (200, 503));
    let agent = Agent::start(&["--interval", "100ms"]);
    wait_until(SOON, "ready", || match agent.get("/-/ready") {
        ready if ready.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(agent.scrape().sum().is_some(), "ready is when there are samples");
}

#[test]
fn the_landing_page_leads_to_the_others() {
    let agent = Agent::start(&["--interval", "100ms", "--host", "<b>algo</b>"]);
    agent.wait_for(SOON, "samples", Page::sum);
    let landing = agent.get("/");
    assert_eq!((landing.status, landing.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let html = landing.text();
    assert!(html.contains("&lt;b&gt;algo") && !html.contains("<b>"), "{html}");
    let links: Vec<&str> =
        html.split("href=\"").skip(1).filter_map(|rest| rest.split_once('"')).map(|(link, _)| link).collect();
    assert!(links.contains(&"/metrics") && links.contains(&"/-/healthy") && links.contains(&"/-/ready"), "{links:?}");
    links.iter().for_each(|link| assert_eq!(agent.get(link).status, 200, "{link}"));
}

#[test]
fn gzip_unpacks_to_the_plain_page() {
    let agent = still(&[]);
    for accept in ["text/plain", OPEN_METRICS] {
        let plain = agent.request("GET", "/metrics", &[("Accept", accept)]);
        let packed = agent.request("GET", "/metrics", &[("Accept", accept), ("Accept-Encoding", "br, gzip")]);
        assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), (None, Some("gzip")));
        assert_eq!(plain.header("content-type"), packed.header("content-type"));
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).expect("gzip");
        assert_eq!(unpacked, plain.body);
        assert!(packed.body.len() < plain.body.len() / 2, "{} of {}", packed.body.len(), plain.body.len());
    }
}

#[test]
fn open_metrics_has_the_same_series_and_an_end() {
    let agent = still(&[]);
    let text = agent.get("/metrics");
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let open = agent.request("GET", "/metrics", &[("Accept", OPEN_METRICS)]);
    assert_eq!(open.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert_eq!(open.header("vary"), Some("Accept, Accept-Encoding"));
    assert!(open.text().ends_with("\n# EOF\n"), "{}", open.text());
    assert!(open.text().contains("\n# TYPE hostgauge_cpu_seconds counter\nhostgauge_cpu_seconds_total{"));
    assert_eq!(Page::parse(open.text()).series, Page::parse(text.text()).series);
}

#[test]
fn a_signal_ends_it_well_and_at_once() {
    for signal in ["INT", "TERM"] {
        let mut agent = still(&[]);
        let idle = http::connect(agent.address()).expect("a connection that nobody uses");
        let (status, took) = agent.stop(signal);
        assert_eq!(status.code(), Some(0), "SIG{signal}: {}", agent.log());
        assert!(took < Duration::from_secs(2), "SIG{signal} took {took:?}");
        assert!(agent.log().contains(&format!("SIG{signal}: stopping")), "{}", agent.log());
        drop(idle);
    }
}

#[test]
fn a_terminal_is_told_what_is_measured_and_ctrl_c_ends_it() {
    let command = format!("exec '{BINARY}' --prometheus-listen 127.0.0.1:0 --host algo-1");
    // script(1), of Debian's package bsdutils, gives it a terminal.
    let mut script = clean("script", &["--quiet", "--return", "--command", &command, "/dev/null"]);
    let spawned = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut script = Killed(spawned.expect("script starts"));
    let screen = Log::follow(script.0.stdout.take().expect("a pipe"));
    wait_until(SOON, "the last line of the banner", || {
        screen.text().contains("Ctrl-C").then_some(()).ok_or_else(|| screen.text())
    });
    let text = screen.text();
    let line = |name: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(name).map(str::trim));
        found.unwrap_or_else(|| panic!("no line {name} in\n{text}")).to_owned()
    };
    assert!(line("measures").starts_with("CPU ") && line("measures").contains(", memory and disk (/)"), "{text}");
    assert!(line("Host").starts_with("algo-1 "), "{text}");
    let page = line("page");
    let address = page.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/metrics")).expect("a link");
    let response = http::request(address.parse().expect("an address"), "GET", "/metrics", &[]);
    assert_eq!(response.expect("the page").status, 200);

    let keyboard = script.0.stdin.as_mut().expect("a pipe");
    keyboard.write_all(b"\x03").and_then(|()| keyboard.flush()).expect("typed");
    assert_eq!(end_of(&mut script.0, "the end after Ctrl-C").code(), Some(0), "{}", screen.text());
}

#[test]
fn the_page_is_the_golden_one() {
    let procfs = Procfs::copy_of("two-cores");
    let turn_by = |n: u64| turn(&procfs, &[(0, 25 * n, 75 * n, 50, 0), (1, 50 * n, 50 * n, 0, 25)]);
    turn_by(0);
    let agent = Agent::start(&["--procfs", procfs.path(), "--host", "algo-1", "--disk-path", "/"]);
    // One turn for each tick, each the same: every percentage is known.
    let mut turns = 0;
    let pages = wait_until(TWO_WINDOWS, "a page with every family", || {
        turns += 1;
        turn_by(turns);
        let page = agent.next_tick();
        if page.sum().is_none() || stat_of_window(&page, "max").is_none() {
            return Err(page.text);
        }
        let open = agent.request("GET", "/metrics", &[("Accept", OPEN_METRICS)]).text();
        if Page::parse(open.clone()).tick() == page.tick() { Ok([page.text, open]) } else { Err(open) }
    });
    for (page, name) in pages.iter().zip(["golden/page.txt", "golden/page.openmetrics.txt"]) {
        let (file, page) = (support::file(name), page.lines().map(mask).collect::<String>());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &page).expect("written");
        }
        let golden = std::fs::read_to_string(&file).expect("a golden page");
        for (line, (have, want)) in page.lines().zip(golden.lines()).enumerate() {
            assert_eq!(have, want, "{name}, line {}; UPDATE_GOLDEN=1 takes the new one", line + 1);
        }
        assert_eq!(page, golden, "{name}: UPDATE_GOLDEN=1 takes the new one");
    }
}

/// A line of the page without what differs from run to run.
fn mask(line: &str) -> String {
    let changing = ["cpu_seconds", "disk", "filesystem", "collector_duration", "ticks", "clock", "process"];
    let changes = |name: &str| {
        let name = name.trim_start_matches("hostgauge_");
        changing.iter().any(|start| name.starts_with(start)) || name.contains("memory_utilization_window")
    };
    let line = line.replace(&format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), "version=\"VERSION\"");
    match line.rsplit_once(' ') {
        Some((series, _)) if !line.starts_with('#') && changes(series) => format!("{series} VALUE\n"),
        _ => line + "\n",
    }
}

#[test]
fn once_prints_two_readings_in_each_format() {
    let once = |format: &str| stdout(&["once", "--interval", "200ms", "--host", "algo-1", "--format", format]);
    let page = Page::parse(once("prometheus"));
    assert!(page.sum().is_some() && page.get("hostgauge_memory_utilization_percent", &[]).is_some());
    assert!(page.series.iter().all(|series| series.labels["Host"] == "algo-1"));
    let names = |page: &Page| page.series.iter().map(|series| series.name.clone()).collect::<BTreeSet<_>>();

    let json: serde_json::Value = serde_json::from_str(&once("json")).expect("JSON");
    assert_eq!(json["Host"], "algo-1");
    let samples = json["samples"].as_array().expect("a list");
    let listed: BTreeSet<String> = samples.iter().map(|s| s["name"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(listed, names(&page));
    assert!(samples.iter().all(|sample| sample["value"].is_number() && sample["unit"].is_string()));
    assert!(samples.iter().any(|sample| sample["labels"]["core"] == "0"));

    let text = once("text");
    assert!(text.starts_with("Host: algo-1\n"), "{text}");
    let printed: BTreeSet<String> =
        text.lines().skip(2).filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert_eq!(printed, names(&page));
}

#[test]
fn the_catalogue_lists_whatever_the_page_shows() {
    let rows: serde_json::Value = serde_json::from_str(&stdout(&["catalogue", "--format", "json"])).expect("JSON");
    let rows = rows.as_array().expect("a list");
    for key in ["prometheus", "type", "unit", "range", "help", "source", "absent"] {
        assert!(rows.iter().all(|row| row[key].as_str().is_some_and(|text| !text.is_empty())), "{key}");
    }
    let agent = Agent::start(&["--interval", "100ms"]);
    agent.wait_for(SOON, "samples", Page::sum);
    for series in agent.scrape().series {
        let row = rows.iter().find(|row| row["prometheus"] == series.name);
        let row = row.unwrap_or_else(|| panic!("the catalogue lacks {}", series.name));
        let documented: Vec<&str> =
            row["labels"].as_array().expect("a list").iter().filter_map(|l| l.as_str()).collect();
        let labels: Vec<&str> = series.labels.keys().map(String::as_str).filter(|label| *label != "Host").collect();
        assert_eq!(labels.iter().collect::<BTreeSet<_>>(), documented.iter().collect(), "{}", series.name);
    }
    for format in ["text", "markdown"] {
        let table = stdout(&["catalogue", "--format", format]);
        assert!(rows.iter().all(|row| table.contains(row["prometheus"].as_str().expect("a name"))), "{format}");
    }
}

#[test]
fn what_config_prints_is_a_configuration_file() {
    let settings = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.split_once('#')).map(|(setting, _)| setting.trim().to_owned()).collect()
    };
    let given = ["--interval", "2s", "--disk-path", "/", "--disk-path", "/tmp", "--host", "a \"b\"", "config"];
    let first = stdout(&given);
    assert!(first.contains("# flag --interval") && first.contains("# default"), "{first}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hostgauge.toml");
    std::fs::write(&path, &first).expect("written");
    let again = stdout(&["--config", path.to_str().expect("UTF-8"), "config"]);
    assert_eq!(settings(&again), settings(&first));
    assert!(settings(&first).len() >= 5, "{first}");
    assert!(again.contains(&format!("# file {}, line 1", path.display())), "{again}");
}

#[test]
fn whoami_names_the_host_and_who_said_so() {
    let whoami = |args: &[&str], variable: &str| {
        let ended = run(hostgauge(args).env("HOSTGAUGE_HOST", variable), "");
        assert!(ended.status.success(), "{ended:?}");
        ended.stdout
    };
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name");
    for (args, variable, host, source) in [
        (&["whoami", "--host", "by-flag"][..], "by-variable", "by-flag", "flag --host"),
        (&["whoami"], "by-variable", "by-variable", "environment HOSTGAUGE_HOST"),
        (&["whoami"], "", name.trim(), "host name of the system"),
    ] {
        let text = whoami(args, variable);
        assert!(text.starts_with(&format!("Host: {host}\n")), "{text}");
        let used: Vec<&str> = text.lines().filter(|line| line.ends_with("used")).collect();
        assert!(matches!(used[..], [line] if line.starts_with(source) && line.contains(host)), "{text}");
    }
}

#[test]
fn the_log_is_json_where_that_is_asked_for() {
    let mut agent = Agent::start(&["--log-format", "json"]);
    agent.stop("TERM");
    let log = agent.log();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.len() >= 2 && lines.iter().all(|line| line["level"] == "INFO" && line["time"].is_string()), "{log}");
}
