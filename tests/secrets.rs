//! No secret leaves the agent but in the requests that need it: whatever it is given, and however that fails, nothing
//! that it says, shows, answers or keeps on disk has one in it, with everything logged that can be.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use hostgauge_cloudwatch_double::Fault;
use serde_json::Value;

use support::agent::{Log, end_of, hostgauge, page_address, run};
use support::cloudwatch::{Account, EACH_SECOND, SECRETS};
use support::http;
use support::load::Killed;
use support::wait::{SOON, wait_until};

/// Stands in every secret.
const HUSH: &str = "hush-5d1e";
const KEYS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// An agent's surroundings with secrets in them, and all that it said there.
struct Given {
    account: Account,
    variables: Vec<(String, String)>,
    removed: Vec<&'static str>,
    said: String,
}

impl Given {
    fn new() -> Self {
        let account = Account::open();
        // What programs that train have in their environment.
        let training = format!("{{\"job_name\": \"job\", \"hyperparameters\": {{\"token\": \"{HUSH}\"}}}}");
        let mut given = Self { account, variables: Vec::new(), removed: Vec::new(), said: String::new() };
        for name in ["SM_HPS", "SM_TRAINING_ENV"] {
            given = given.variable(name, &training);
        }
        for name in ["SM_HP_TOKEN", "HF_TOKEN", "WANDB_API_KEY", "AWS_BEARER_TOKEN_CLOUDWATCH", "SM_USER_ARGS"] {
            given = given.variable(name, HUSH);
        }
        given.variable("RUST_LOG", "trace").variable("HOSTGAUGE_SHUTDOWN_TIMEOUT", "3s")
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// No keys in the environment.
    fn without_keys(mut self) -> Self {
        self.removed.extend(KEYS);
        self
    }

    /// The profile's files.
    fn profile(self, name: &str, text: &str) -> Self {
        fs::create_dir_all(self.account.path(".aws")).expect("a folder");
        fs::write(self.account.path(".aws").join(name), text).expect("a file");
        self.without_keys()
    }

    /// Keys by a program: its output, its errors, its exit code.
    fn process(self, output: &str, errors: &str, code: u8) -> Self {
        let program = self.account.path("keys");
        let script = format!("#!/bin/sh\ncat <<'END'\n{output}\nEND\ncat >&2 <<'END'\n{errors}\nEND\nexit {code}\n");
        fs::write(&program, script).expect("a file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
        let line = format!("[default]\ncredential_process = {} --password {HUSH}\n", program.display());
        self.profile("config", &line)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.account.command(words);
        for name in &self.removed {
            command.env_remove(name);
        }
        let of_proxy = |(name, _): &(String, String)| name.ends_with("_PROXY");
        if self.variables.iter().any(of_proxy) {
            command.env_remove("NO_PROXY");
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Every command, with all that its log can say as text.
    fn ask(&mut self) {
        for words in [&["config"][..], &["whoami"], &["whoami", "--format", "json"], &["check"]] {
            let ended = run(&mut self.command(&[words, &["--gpus", "none"]].concat()), "");
            assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
            self.said += &format!("$ hostgauge {words:?}\n{}{}", ended.stdout, ended.stderr);
        }
    }

    /// An agent, or the one beside a program, until it has sent its windows or failed to: its log as JSON, what it
    /// prints, what it answers, what it leaves.
    fn measure(&mut self, words: &[&str]) -> ExitStatus {
        let file = self.account.path("emf").display().to_string();
        // A rehearsal has standard output for itself.
        let emf = if words.is_empty() { "stdout" } else { &file };
        let mut command = self.command(&[words, &EACH_SECOND, &["--gpus", "none", "--emf", emf]].concat());
        command.env("HOSTGAUGE_LOG_FORMAT", "json").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Killed(command.spawn().expect("it starts"));
        let output = Log::follow(child.0.stdout.take().expect("a pipe"));
        let log = Log::follow(child.0.stderr.take().expect("a pipe"));
        // Where it cannot start, it says so and ends.
        let page = wait_until(SOON, "a page or the end", || {
            let ended = child.0.try_wait().expect("a child").is_some();
            let page = page_address(&log.text());
            if ended || page.is_some() { Ok(page) } else { Err(log.text()) }
        });
        if let Some(page) = page {
            self.read(page);
            kill("TERM", child.0.id());
        }
        let ended = end_of(&mut child.0, "the agent's end");
        let log = log.whole();
        for line in log.lines() {
            let of_others = serde_json::from_str::<Value>(line).ok().and_then(|line| {
                let target = line["target"].as_str()?.split("::").next()?.to_owned();
                // mio names descriptors only.
                (!target.starts_with("hostgauge") && target != "mio").then_some(target)
            });
            assert_eq!(of_others, None, "whose words nobody has weighed: {line}");
        }
        let lines = fs::read_to_string(&file).unwrap_or_default();
        self.said += &format!("$ hostgauge {words:?}\n{}{lines}{log}", output.whole());
        self.keep("spool", &self.account.path("spool"));
        ended
    }

    /// All that the page answers.
    fn read(&mut self, page: SocketAddr) {
        let get = |path: &str| {
            let response = http::request(page, "GET", path, &[]).expect("an answer");
            String::from_utf8_lossy(&response.body).into_owned()
        };
        wait_until(SOON, "data taken", || {
            let text = get("/metrics");
            let taken =
                text.lines().any(|line| line.starts_with("hostgauge_delivery_taken_total{") && !line.ends_with(" 0"));
            if taken { Ok(()) } else { Err(text) }
        });
        for path in ["/metrics", "/", "/-/ready", "/api/v1/history", "/no/such/page"] {
            self.said += &format!("GET {path}\n{}\n", get(path));
        }
    }

    fn keep(&mut self, what: &str, path: &Path) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            self.said += &format!("{what} {}\n{}\n", entry.path().display(), String::from_utf8_lossy(&bytes));
        }
    }

    /// It failed as was meant, and said nothing.
    fn keeps_quiet(mut self, words: &[&str]) {
        self.ask();
        self.measure(&[]);
        self.is_quiet(words);
    }

    fn is_quiet(&self, words: &[&str]) {
        for word in words {
            assert!(self.said.contains(word), "nothing provoked {word:?}:\n{}", self.said);
        }
        let secrets = [HUSH, SECRETS[0], SECRETS[1]];
        let shows = |line: &&str| secrets.iter().any(|secret| line.contains(secret));
        let lines: BTreeSet<&str> = self.said.lines().filter(shows).collect();
        assert!(lines.is_empty(), "it shows {lines:#?}");
    }
}

fn kill(signal: &str, pid: u32) {
    let status = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status().expect("kill starts");
    assert!(status.success(), "kill -{signal} {pid}: {status}");
}

/// A server that gives one answer to everybody; `{request}` in it is all that was asked, with every header.
fn answering(status: &'static str, body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(stream, status, body))));
    address
}

fn answer(mut stream: TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while reader.read_line(&mut head)? > 2 {}
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut sent = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut sent)?;
    let body = body.replace("{request}", &head);
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn keys_in_the_environment() {
    let given = Given::new();
    given.account.double.script([Fault::ExpiredToken, Fault::Throttle, Fault::TooLarge]);
    given.keeps_quiet(&["ExpiredToken", "region eu-central-1"]);
    // A gateway that shows what it got.
    let gateway = answering("403 Forbidden", "{request}");
    let given = Given::new().variable("AWS_ENDPOINT_URL", &format!("http://{gateway}"));
    given.keeps_quiet(&["and not from CloudWatch"]);
    Given::new().variable("AWS_ENDPOINT_URL", "http://127.0.0.1:9").keeps_quiet(&["Connection refused"]);
    let mut rehearsal = Given::new().variable("HOSTGAUGE_CLOUDWATCH", "false");
    rehearsal.measure(&["--dry-run"]);
    rehearsal.is_quiet(&["PutMetricData", "CloudWatchMetrics", "dry-run: about $"]);
}

#[test]
fn a_password_in_a_proxys_address() {
    let refusing = format!("http://user:{HUSH}@127.0.0.1:9");
    let unwilling = format!("http://user:{HUSH}@{}", answering("407 Proxy Authentication Required", "{request}"));
    for (proxy, words) in [
        (refusing, "onnect"),
        (unwilling, "status 407"),
        (format!("http://user:{HUSH}@[::1"), "region"),
        (format!("user:{HUSH}@no such host:port"), "region"),
        (format!("socks5://user:{HUSH}@127.0.0.1:9"), "region"),
    ] {
        let plain = Given::new().variable("HTTP_PROXY", &proxy).variable("HTTPS_PROXY", &proxy);
        plain.variable("AWS_ENDPOINT_URL", "http://cloudwatch.invalid").keeps_quiet(&[words]);
    }
    let tunnel = format!("http://user:{HUSH}@{}", answering("407 Proxy Authentication Required", "{request}"));
    let given = Given::new().variable("HTTPS_PROXY", &tunnel).variable("HTTP_PROXY", &tunnel);
    given.variable("AWS_ENDPOINT_URL", "https://cloudwatch.invalid").keeps_quiet(&["roxy"]);
}

#[test]
fn a_password_in_the_endpoint() {
    let given = Given::new();
    let url = given.account.double.url().replace("://", &format!("://user:{HUSH}@"));
    given.variable("AWS_ENDPOINT_URL", &url).keeps_quiet(&["endpoint"]);
    for endpoint in [
        format!("http://user:{HUSH}@127.0.0.1:9"),
        format!("http://user:{HUSH}@[::1"),
        format!("http:/user:{HUSH}@127.0.0.1"),
        format!("user:{HUSH}@127.0.0.1"),
        format!("http://user:with/{HUSH}@127.0.0.1:9"),
        format!("ftp://user:{HUSH}@127.0.0.1:9"),
        format!("http://127.0.0.1:9/path?key={HUSH}"),
    ] {
        Given::new().variable("AWS_ENDPOINT_URL", &endpoint).keeps_quiet(&["endpoint"]);
    }
}

#[test]
fn keys_in_the_profiles_files() {
    let good =
        format!("[default]\naws_access_key_id = key\naws_secret_access_key = {HUSH}\naws_session_token = {HUSH}\n");
    Given::new().profile("credentials", &good).keeps_quiet(&["profile default"]);
    for (text, words) in [
        (format!("[default]\naws_access_key_id = key\naws_secret_access_key {HUSH}\n"), "line 3"),
        (format!("[default\naws_access_key_id = key\naws_secret_access_key = {HUSH}\n"), "line 1"),
        (format!("aws_secret_access_key = {HUSH}\n"), "line 1"),
        (format!("[default]\naws_secret_access_key = {HUSH}\n"), "redential"),
    ] {
        Given::new().profile("credentials", &text).keeps_quiet(&[words]);
    }
}

#[test]
fn a_program_that_gives_keys() {
    let good = format!(
        "{{\"Version\": 1, \"AccessKeyId\": \"key\", \"SecretAccessKey\": \"{HUSH}\", \"SessionToken\": \"{HUSH}\"}}"
    );
    Given::new().process(&good, HUSH, 0).keeps_quiet(&["profile default"]);
    Given::new().process(&good, HUSH, 1).keeps_quiet(&["exit status: 1"]);
    Given::new().process("", &format!("line\n{HUSH}\nline"), 1).keeps_quiet(&["exit status: 1"]);
    for bad in [
        good.trim_end_matches('}').to_owned(),
        good.replace("\"Version\": 1", "\"Version\": 2"),
        good.replace("\"SecretAccessKey\": \"", "\"SecretAccessKey\": "),
        good.replace("\"Version\": 1", &format!("\"Version\": 1, \"Expiration\": \"{HUSH}\"")),
        HUSH.to_owned(),
    ] {
        Given::new().process(&bad, HUSH, 0).keeps_quiet(&["could not parse response"]);
    }
    let missing = format!("[default]\ncredential_process = /no/such/program --password {HUSH}\n");
    Given::new().profile("config", &missing).keeps_quiet(&["exit status: 127"]);
}

#[test]
fn a_token_for_the_endpoint_of_a_container() {
    let keys = "{\"AccessKeyId\": \"key\", \"SecretAccessKey\": \"hush-5d1e\", \"Token\": \"hush-5d1e\", \
                \"Expiration\": \"2099-01-01T00:00:00Z\"}";
    for (status, body, words) in [
        ("200 OK", keys, "container endpoint"),
        ("200 OK", "{\"AccessKeyId\": \"key\", \"SecretAccessKey\": hush-5d1e", "container endpoint"),
        ("200 OK", "{\"Code\": \"AccessDenied\", \"Message\": \"not you\"}", "not you"),
        ("401 Unauthorized", "{request}", "Non-success"),
    ] {
        let url = format!("http://{}/keys", answering(status, body));
        let given = Given::new().without_keys().variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url);
        given.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", HUSH).keeps_quiet(&[words]);
    }
    let given = Given::new().without_keys().variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9");
    given.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", &format!("{HUSH}\nx")).keeps_quiet(&["redential"]);
    for url in [format!("http://user:{HUSH}@192.0.2.1/keys"), format!("http://user:{HUSH}@[::")] {
        let given = Given::new().without_keys().variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url);
        given.keeps_quiet(&["redential"]);
    }
}

#[test]
fn a_web_identity() {
    let refusal =
        "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>no</Message></Error></ErrorResponse>";
    let service = answering("400 Bad Request", refusal);
    let given = Given::new().without_keys();
    let token = given.account.path("token");
    fs::write(&token, HUSH).expect("a file");
    let given = given.variable("AWS_WEB_IDENTITY_TOKEN_FILE", &token.display().to_string());
    let given = given.variable("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/any");
    given.variable("AWS_ENDPOINT_URL_STS", &format!("http://{service}")).keeps_quiet(&["web identity"]);
}

#[test]
fn what_a_measured_program_has() {
    let mut given = Given::new();
    let script = "password=$1; while :; do sleep 0.1; done";
    let end = ["--", "sh", "-c", script, "sh", HUSH];
    let mut command = given.command(&[&["run", "--gpus", "none"], &EACH_SECOND[..], &end].concat());
    command.env("HOSTGAUGE_LOG_FORMAT", "json").stderr(Stdio::piped());
    let mut child = Killed(command.spawn().expect("it starts"));
    let log = Log::follow(child.0.stderr.take().expect("a pipe"));
    let page = wait_until(SOON, "a page", || page_address(&log.text()).ok_or_else(|| log.text()));
    given.read(page);
    kill("TERM", child.0.id());
    end_of(&mut child.0, "the end");
    given.said += &log.whole();
    given.keep("spool", &given.account.path("spool"));
    given.is_quiet(&["measuring CPU"]);
}

/// A process of its own user, as a neighbour in a pod is, that reads a file of the process `pid`.
fn neighbour_reads(pid: u32, file: &str) -> bool {
    let mut neighbour = Command::new("cat");
    neighbour.arg(format!("/proc/{pid}/{file}")).uid(NOBODY).gid(NOBODY);
    neighbour.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("cat starts").success()
}

const NOBODY: u32 = 65534;

#[test]
fn a_crash_leaves_no_core_and_a_neighbour_reads_no_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let started = |words: &[&str]| {
        let words = [&["--prometheus-listen", "127.0.0.1:0", "--gpus", "none"], words].concat();
        // Whoever wants cores gets them.
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"]).arg(hostgauge(&[]).get_program());
        command
            .args(words)
            .current_dir(&folder)
            .uid(NOBODY)
            .gid(NOBODY)
            .env("SECRET", HUSH)
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped());
        let mut child = Killed(command.spawn().expect("it starts"));
        let log = Log::follow(child.0.stderr.take().expect("a pipe"));
        wait_until(SOON, "a page", || page_address(&log.text()).ok_or_else(|| log.text()));
        child
    };
    let private = ["environ", "mem", "auxv"];
    let mut agent = started(&[]);
    for file in private {
        assert!(!neighbour_reads(agent.0.id(), file), "/proc/PID/{file}");
    }
    assert!(neighbour_reads(agent.0.id(), "cgroup"), "what tells where it belongs");
    kill("ABRT", agent.0.id());
    let ended = end_of(&mut agent.0, "the end");
    assert!(ended.signal() == Some(6) && !ended.core_dumped(), "{ended:?}");

    // The program beside it is as any other: whoever debugs it can.
    let out = folder.path().join("pid");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("a mode");
    let script = format!("echo $$ > {}; ulimit -c > {0}.limit; exec sleep 60", out.display());
    let mut beside = started(&["run", "--", "sh", "-c", &script]);
    let program: u32 = wait_until(SOON, "the program", || {
        let text = fs::read_to_string(&out).unwrap_or_default();
        text.trim().parse().map_err(|_| text)
    });
    wait_until(SOON, "its environment", || {
        if neighbour_reads(program, "environ") { Ok(()) } else { Err("denied".into()) }
    });
    let limit = wait_until(SOON, "its limit", || {
        fs::read_to_string(folder.path().join("pid.limit")).map_err(|error| error.to_string())
    });
    assert_eq!(limit.trim(), "unlimited", "its own core dumps are its own affair");
    kill("TERM", beside.0.id());
    end_of(&mut beside.0, "the end of both");
}
