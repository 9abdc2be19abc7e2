//! The page behind TLS, passwords and certificates, with real clients: Prometheus, curl and Python.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

#[path = "web_config/file.rs"]
mod file;
#[path = "web_config/reload.rs"]
mod reload;
mod support;

use std::io::{Read as _, Write as _};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::agent::{hostgauge, run};
use support::prometheus::{PROMETHEUS, Prometheus, need};
use support::tls::{Answer, Authority, COSTLIER, HASH, LONG_AGO, NOW, PASSWORD, curl};
use support::wait::SOON;
use support::{Agent, http};

const PAIR: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";

/// A folder with a certificate for this machine.
fn folder() -> Authority {
    let authority = Authority::new();
    authority.sign_server("server");
    authority
}

fn with_users() -> String {
    format!("{PAIR}basic_auth_users:\n  alice: {HASH}\n  bob: {COSTLIER}\n")
}

fn start(authority: &Authority, text: &str) -> Agent {
    Agent::start(&["--web-config", &authority.write("web.yml", text)])
}

fn ask(authority: &Authority, agent: &Agent, args: &[&str]) -> Answer {
    curl(authority.0.path(), agent.address(), "/metrics", args)
}

/// curl's option for alice.
fn alice() -> [String; 2] {
    ["--user".into(), format!("alice:{PASSWORD}")]
}

fn as_alice(authority: &Authority, agent: &Agent, path: &str) -> Answer {
    let [option, user] = alice();
    curl(authority.0.path(), agent.address(), path, &[&option, &user])
}

#[test]
fn prometheus_scrapes_over_tls_with_a_password() {
    need(PROMETHEUS);
    let authority = folder();
    let agent = start(&authority, &with_users());
    let job = |password: &str| {
        format!(
            "    scheme: https\n    tls_config:\n      ca_file: {}\n    basic_auth:\n      username: bob\n      password: {password}\n",
            authority.text("ca.pem")
        )
    };
    let prometheus = Prometheus::scraping_with(&[agent.address()], &job(PASSWORD));
    prometheus.expect("up", |up| up == 1.0);
    prometheus.expect("hostgauge_cpu_utilization_percent", |percent| percent >= 0.0);
    prometheus.expect("hostgauge_collector_success{collector=\"web_config\"}", |success| success == 1.0);
    let end = 4_070_908_800.0; // 2099-01-01
    prometheus.expect("hostgauge_page_certificate_expiry_timestamp_seconds", |expiry| expiry == end);
    let wrong = Prometheus::scraping_with(&[agent.address()], &job("wrong"));
    wrong.expect("up", |up| up == 0.0);
    // What was scraped says nothing of who scraped.
    assert!(!agent.log().contains(PASSWORD) && !agent.log().contains(HASH), "{}", agent.log());
}

#[test]
fn prometheus_scrapes_with_a_certificate_of_its_own() {
    need(PROMETHEUS);
    let authority = folder();
    authority.sign("prometheus", NOW, "DNS:prometheus.example");
    let agent = start(
        &authority,
        &format!(
            "{PAIR}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  min_version: TLS13\n"
        ),
    );
    let tls = format!("    scheme: https\n    tls_config:\n      ca_file: {}\n", authority.text("ca.pem"));
    let (certificate, key) = (authority.text("prometheus.pem"), authority.text("prometheus.key"));
    let own = format!("{tls}      cert_file: {certificate}\n      key_file: {key}\n");
    Prometheus::scraping_with(&[agent.address()], &own).expect("up", |up| up == 1.0);
    Prometheus::scraping_with(&[agent.address()], &tls).expect("up", |up| up == 0.0);
}

// Go's five policies, each with no certificate, one of the authority, one of a stranger, one that is expired, and one
// that the file names itself.
#[test]
fn each_policy_lets_in_whom_it_says() {
    let authority = folder();
    authority.sign("known", NOW, "DNS:known");
    authority.sign("expired", LONG_AGO, "DNS:known");
    authority.sign_itself("pinned");
    let stranger = Authority::new();
    stranger.sign("stranger", NOW, "DNS:known");
    for name in ["stranger.pem", "stranger.key"] {
        authority.write(name, &stranger.read(name));
    }
    authority.write("clients.pem", &format!("{}{}", authority.read("ca.pem"), authority.read("pinned.pem")));
    let policies = [
        ("NoClientCert", "", [true, true, true, true, true]),
        ("RequestClientCert", "", [true, true, true, true, true]),
        ("RequireAnyClientCert", "", [false, true, true, true, true]),
        ("VerifyClientCertIfGiven", "  client_ca_file: clients.pem\n", [true, true, false, false, true]),
        ("RequireAndVerifyClientCert", "  client_ca_file: clients.pem\n", [false, true, false, false, true]),
    ];
    for (policy, more, expected) in policies {
        let agent = start(&authority, &format!("{PAIR}  client_auth_type: {policy}\n{more}"));
        // Both versions ask for a certificate in ways of their own.
        for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            for (client, expected) in ["", "known", "stranger", "expired", "pinned"].iter().zip(expected) {
                let (certificate, key) = (format!("{client}.pem"), format!("{client}.key"));
                let mut args = version.to_vec();
                if !client.is_empty() {
                    args.extend(["--cert", &certificate, "--key", &key]);
                }
                let answer = ask(&authority, &agent, &args);
                assert_eq!(answer.status == 200, expected, "{policy}, {client:?}, {version:?}: {answer:?}");
            }
        }
    }
}

#[test]
fn names_in_certificates_are_compared_whole() {
    let authority = folder();
    authority.sign("dns", NOW, "DNS:other,DNS:scraper.example");
    authority.sign("ip", NOW, "IP:192.0.2.7");
    authority.sign("mail", NOW, "email:ops@example.org");
    authority.sign("uri", NOW, "URI:spiffe://cluster/prometheus");
    authority.sign("near", NOW, "DNS:scraper.example.org,DNS:xscraper.example");
    let names = "[scraper.example, 192.0.2.7, ops@example.org, 'spiffe://cluster/prometheus']";
    let agent = start(
        &authority,
        &format!(
            "{PAIR}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  client_allowed_sans: {names}\n"
        ),
    );
    for (client, expected) in [("dns", 200), ("ip", 200), ("mail", 200), ("uri", 200), ("near", 0)] {
        let (certificate, key) = (format!("{client}.pem"), format!("{client}.key"));
        let answer = ask(&authority, &agent, &["--cert", &certificate, "--key", &key]);
        assert_eq!(answer.status, expected, "{client}: {answer:?}");
    }
}

#[test]
fn versions_suites_and_curves_are_those_of_the_file() {
    let authority = folder();
    for (more, args, expected) in [
        ("", &["--tls-max", "1.2"][..], true),
        ("", &["--tlsv1.3"], true),
        ("  min_version: TLS13\n", &["--tls-max", "1.2"], false),
        ("  max_version: TLS12\n", &["--tlsv1.3"], false),
        (
            "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n",
            &["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"],
            true,
        ),
        (
            "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n",
            &["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"],
            false,
        ),
        ("  curve_preferences: [CurveP384]\n", &["--curves", "P-384"], true),
        ("  curve_preferences: [CurveP384]\n", &["--curves", "P-256"], false),
    ] {
        let agent = start(&authority, &format!("{PAIR}{more}"));
        let answer = ask(&authority, &agent, args);
        assert_eq!(answer.status == 200, expected, "{more:?} {args:?}: {answer:?}");
    }
}

#[test]
fn nothing_is_shown_without_a_password_and_the_headers_are_on_everything() {
    let authority = folder();
    let agent = start(
        &authority,
        &format!(
            "{}http_server_config:\n  headers:\n    X-Frame-Options: deny\n    X-XSS-Protection: 0\n",
            with_users()
        ),
    );
    let good = as_alice(&authority, &agent, "/metrics");
    assert!(good.status == 200 && good.text.contains("hostgauge_build_info"), "{good:?}");
    for path in ["/", "/metrics", "/-/healthy", "/-/ready", "/api/v1/history", "/api/v1/stream", "/app.js", "/nowhere"]
    {
        let refused = curl(authority.0.path(), agent.address(), path, &[]);
        assert_eq!(refused.status, 401, "{path}: {refused:?}");
        assert!(refused.said.contains("www-authenticate: basic realm=\"hostgauge\""), "{path}: {refused:?}");
        assert!(!refused.text.contains("hostgauge"), "{path}: {refused:?}");
        for header in ["x-frame-options: deny", "x-xss-protection: 0"] {
            assert!(refused.said.contains(header), "{path}: {refused:?}");
        }
    }
    assert!(as_alice(&authority, &agent, "/").said.contains("x-frame-options: deny"));
    assert_eq!(as_alice(&authority, &agent, "/-/healthy").text, "hostgauge is healthy\n");
    for user in ["alice:wrong", "alice:", "carol:correct horse", ":", "alice:correct horse "] {
        assert_eq!(ask(&authority, &agent, &["--user", user]).status, 401, "{user}");
    }
    // In the clear there is nothing but the refusal of TLS.
    let plain = http::request(agent.address(), "GET", "/metrics", &[]);
    assert!(plain.is_err(), "{plain:?}");
}

#[test]
fn guesses_never_succeed_and_hold_nobody_up() {
    let authority = Authority::new();
    // A check of cost 6 takes long enough for a queue, in a build without optimizations above all.
    let agent = start(&authority, &format!("basic_auth_users:\n  bob: {COSTLIER}\n"));
    let scrape = |password: &str| {
        let coded = base64(&format!("bob:{password}"));
        let start = Instant::now();
        let answer = http::request(agent.address(), "GET", "/metrics", &[("Authorization", &coded)]);
        answer.map(|answer| (answer.status, start.elapsed()))
    };
    assert_eq!(scrape(PASSWORD).expect("an answer").0, 200);
    let (over, guesses) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for guesser in 0..16 {
            let (over, guesses, scrape) = (&over, &guesses, &scrape);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let guess = guesses.fetch_add(1, Ordering::Relaxed);
                    // A connection that made room for another is no answer.
                    if let Ok((status, _)) = scrape(&format!("guess {guesser} {guess}")) {
                        assert!(status == 401 || status == 503, "{status}");
                    }
                }
            });
        }
        let mut longest = Duration::ZERO;
        for _ in 0..50 {
            let (status, took) = scrape(PASSWORD).expect("an answer");
            assert_eq!(status, 200);
            longest = longest.max(took);
        }
        over.store(true, Ordering::Relaxed);
        println!("{} guesses; the longest of 50 scrapes beside them took {longest:?}", guesses.load(Ordering::Relaxed));
        // A scraper gives up after ten seconds; waiting behind each guess would take longer than this.
        assert!(longest < Duration::from_secs(2), "{longest:?}");
    });
}

fn base64(text: &str) -> String {
    let ended = run(Command::new("base64").arg("--wrap=0"), text);
    format!("Basic {}", ended.stdout)
}

#[test]
fn a_handshake_that_never_ends_holds_nobody_up_and_is_ended() {
    let authority = folder();
    let agent = start(&authority, &with_users());
    let silent: Vec<_> = (0..40).map(|_| http::connect(agent.address()).expect("connected")).collect();
    // Half of a record: what is spoken may be TLS.
    let mut half = http::connect(agent.address()).expect("connected");
    half.write_all(&[22, 3, 1, 2, 0, 1]).expect("sent");
    let start = Instant::now();
    assert_eq!(as_alice(&authority, &agent, "/metrics").status, 200);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    half.set_read_timeout(Some(2 * SOON)).expect("set");
    // The end, by a close or a reset.
    assert!(matches!(half.read(&mut [0; 16]), Ok(0) | Err(_)), "it goes on");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    drop(silent);
}

#[test]
fn no_more_requests_are_answered_than_the_limit_allows() {
    let authority = Authority::new();
    let agent = start(&authority, "rate_limit:\n  interval: 1h\n  burst: 3\n");
    let statuses: Vec<u16> = (0..5).map(|_| agent.get("/-/healthy").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_eq!(agent.get("/metrics").header("retry-after"), Some("1"));
}

#[test]
#[cfg(feature = "top")]
fn top_shows_an_agent_behind_tls_and_a_password() {
    use support::agent::BINARY;
    use support::tmux::Tmux;

    let authority = folder();
    authority.sign_itself("server");
    let agent = start(&authority, &with_users());
    let port = agent.address().port();
    // One that signs itself, which is what most have.
    let top = |user: &str, file: &str| {
        let file = authority.text(file);
        Tmux::run(&format!("{BINARY} top --url https://{user}127.0.0.1:{port} --ca-file {file}"), (160, 30), &[])
    };
    let tmux = top("alice:correct%20horse@", "server.pem");
    let screen = tmux.wait_for("figures", |screen| screen.contains("Memory").then(|| screen.to_owned()));
    assert!(screen.contains(&format!("https://127.0.0.1:{port}")) && !screen.contains("correct"), "{screen}");
    top("", "server.pem").wait_for_words("asks for a name and a password");
    top("alice:correct%20horse@", "ca.pem").wait_for_words("invalid peer certificate");
}

#[test]
fn who_listens_elsewhere_behind_a_web_configuration_is_not_warned() {
    let authority = folder();
    let warning = "can be read by anyone";
    for (text, warned) in [(with_users(), false), (String::new(), true)] {
        let path = authority.write("web.yml", &text);
        let mut agent = Agent::spawn(hostgauge(&["--prometheus-listen", "0.0.0.0:0", "--web-config", &path]));
        agent.stop("TERM");
        assert_eq!(agent.log().contains(warning), warned, "{}", agent.log());
    }
}
