//! A double of ECS's task metadata endpoint, version 4, on loopback: a task of a server, a proxy, the agent's own
//! container and that of the task's network.
//!
//! It measures once a second as the real one does, by its own clock: the server uses a half, the proxy a quarter of a
//! core, exactly; the other two so much that nobody who counted them could miss it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// It answers the same again and again.
    Frozen,
    /// It takes a question and never answers.
    Hanging,
    /// It answers with status 500.
    Failing,
    /// Its answer does not end.
    Endless,
    /// Its answer is no JSON.
    Garbled,
    /// The proxy has just started: it runs, and nothing is known of it.
    Starting,
    /// The proxy has stopped.
    Stopped,
}

pub(crate) struct Task {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    mood: Mood,
    start: Instant,
    /// Which second it is, where it stands still.
    frozen: u64,
    /// The server's container is another after each restart, and began with that second.
    restarts: u64,
    born: u64,
    /// How far its clock is ahead, in seconds.
    ahead: u64,
}

pub(crate) const SERVER_USED: f64 = 60e6;
pub(crate) const PROXY_USED: f64 = 20e6;
/// Less than the two containers' limits together.
pub(crate) const LIMIT: f64 = (192 << 20) as f64;

impl Task {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = State { mood: Mood::Well, start: Instant::now(), frozen: 0, restarts: 0, born: 0, ahead: 0 };
        let state = Arc::new(Mutex::new(state));
        let theirs = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&theirs);
                thread::spawn(move || serve(client, &state));
            }
        });
        Self { address, state }
    }

    /// What the platform sets ECS_CONTAINER_METADATA_URI_V4 to.
    pub(crate) fn uri(&self) -> String {
        format!("http://{}/v4/us", self.address)
    }

    pub(crate) fn be(&self, mood: Mood) {
        let mut state = self.state();
        state.frozen = state.second();
        state.mood = mood;
    }

    /// The server's container ends, and another takes its place.
    pub(crate) fn restart(&self) {
        let mut state = self.state();
        state.restarts += 1;
        state.born = state.second();
    }

    /// Sets its clock, which all of its time stamps are by.
    pub(crate) fn set_ahead(&self, seconds: u64) {
        self.state().ahead = seconds;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic in there")
    }
}

impl State {
    fn second(&self) -> u64 {
        if self.mood == Mood::Frozen { self.frozen } else { 100 + self.start.elapsed().as_secs() }
    }

    fn task(&self) -> Value {
        let container = |id: &str, name: &str, kind: &str, status: &str| {
            json!({
                "DockerId": id, "Name": name, "DockerName": format!("ecs-inference-7-{name}-x"), "Image": "i:1",
                "DesiredStatus": "RUNNING", "KnownStatus": status, "Type": kind, "Limits": {"CPU": 2, "Memory": 128},
            })
        };
        let proxy = if self.mood == Mood::Stopped { "STOPPED" } else { "RUNNING" };
        json!({
            "Cluster": "c", "Family": "inference", "Revision": "7",
            "TaskARN": "arn:aws:ecs:eu-central-1:123456789012:task/c/0123456789abcdef",
            "Limits": {"CPU": 1.5, "Memory": 192},
            "Containers": [
                container("pause", "~internal~ecs~pause", "CNI_PAUSE", "RESOURCES_PROVISIONED"),
                container("us", "hostgauge", "NORMAL", "RUNNING"),
                container(&self.server(), "server", "NORMAL", "RUNNING"),
                container("proxy", "proxy", "NORMAL", proxy),
            ],
        })
    }

    fn server(&self) -> String {
        format!("server{}", self.restarts)
    }

    fn statistics(&self) -> Value {
        let second = self.second();
        let one = |nanoseconds: u64, since: u64, used: f64| {
            let total = |second: u64| nanoseconds * second.saturating_sub(since);
            let time = |second: u64| {
                let at = second + self.ahead;
                format!("2026-01-01T{:02}:{:02}:{:02}.5Z", at / 3600, at / 60 % 60, at % 60)
            };
            let pages = 5e6;
            json!({
                "read": time(second), "preread": time(second - 1),
                "cpu_stats": {"cpu_usage": {"total_usage": total(second)}, "online_cpus": 2},
                "precpu_stats": {"cpu_usage": {"total_usage": total(second - 1)}},
                "memory_stats": {"usage": (used + pages) as u64, "limit": 8_000_000_000_u64,
                    "stats": {"inactive_file": pages as u64, "anon": used as u64}},
            })
        };
        let huge = one(1_900_000_000, 0, 900e6);
        let proxy = one(250_000_000, 0, PROXY_USED);
        let proxy = if matches!(self.mood, Mood::Starting | Mood::Stopped) { Value::Null } else { proxy };
        let mut all = json!({"pause": huge, "us": huge, "proxy": proxy});
        all[self.server()] = one(500_000_000, self.born, SERVER_USED);
        all
    }
}

fn serve(mut client: TcpStream, state: &Mutex<State>) {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") {
        match client.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            _ => return,
        }
    }
    let path = String::from_utf8_lossy(&request).split(' ').nth(1).unwrap_or_default().to_owned();
    let (mood, body) = {
        let state = state.lock().expect("no panic in there");
        let body = match path.as_str() {
            "/v4/us" => json!({"DockerId": "us", "Name": "hostgauge"}).to_string(),
            "/v4/us/task" => state.task().to_string(),
            "/v4/us/task/stats" => state.statistics().to_string(),
            other => panic!("nobody asks for {other}"),
        };
        (state.mood, body)
    };
    let ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
    // Who asked may have gone.
    let _ = match mood {
        Mood::Hanging => {
            thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        Mood::Failing => client.write_all(b"HTTP/1.1 500 Internal Server Error\r\n\r\n{}"),
        Mood::Endless => {
            let mut outcome = client.write_all(ok.as_bytes());
            while outcome.is_ok() {
                outcome = client.write_all(&[b' '; 4096]);
            }
            outcome
        }
        Mood::Garbled => client.write_all(format!("{ok}{}", &body[..body.len() / 2]).as_bytes()),
        _ => client.write_all(format!("{ok}{body}").as_bytes()),
    };
}
