//! Real headless Chromium, driven by its DevTools protocol over a pipe: no port, no client library.
//!
//! Source: chrome-devtools protocol; `--remote-debugging-pipe` reads messages from descriptor 3 and writes them to 4,
//! each ended by a NUL.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::agent::clean;
use super::load::Killed;
use super::wait::wait_until;

/// A browser starts slowly on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
];

/// One tab. Ends with its test.
pub(crate) struct Browser {
    requests: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    sent: u64,
    events: Vec<Value>,
    _child: Killed,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Opens a page in a window of this size.
    pub(crate) fn open(url: &str, width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        let folder = format!("--user-data-dir={}", profile.path().display());
        // Its descriptors 3 and 4 are our pipes; what it prints is nobody's business.
        let shell = ["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh", "chromium"];
        let mut command = clean("sh", &[&shell[..], &ARGUMENTS, &[&folder, "about:blank"]].concat());
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh starts");
        let mut child = Killed(child);
        let requests = child.0.stdin.take().expect("a pipe");
        let mut answers = BufReader::new(child.0.stdout.take().expect("a pipe"));
        let (send, messages) = channel();
        thread::spawn(move || {
            let mut text = Vec::new();
            while answers.read_until(0, &mut text).is_ok_and(|length| length > 1) {
                text.pop();
                let message = serde_json::from_slice(&text).expect("a message is JSON");
                if send.send(message).is_err() {
                    return;
                }
                text.clear();
            }
        });
        let (session, events) = (None, Vec::new());
        let mut browser = Self { requests, messages, session, sent: 0, events, _child: child, _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].take();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.resize(width, height);
        browser.call("Page.navigate", json!({ "url": url }));
        while browser.events.iter().all(|event| event["method"] != "Page.loadEventFired") {
            let event = browser.messages.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{url} is not loaded"));
            browser.events.push(event);
        }
        browser
    }

    /// Gives the page another size. Narrow ones are phones.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// What the system's settings are said to be, such as `prefers-color-scheme`: `dark`.
    pub(crate) fn prefer(&mut self, feature: &str, value: &str) {
        self.call("Emulation.setEmulatedMedia", json!({ "features": [{ "name": feature, "value": value }] }));
    }

    /// Presses a key, as a person would.
    pub(crate) fn press(&mut self, key: &str) {
        for what in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", json!({ "type": what, "key": key, "code": key }));
        }
    }

    /// The value of a JavaScript expression.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let wanted = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", wanted);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// As [`eval`](Self::eval), for a text.
    pub(crate) fn text(&mut self, expression: &str) -> String {
        self.eval(expression).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true. In the failure stands what the page shows.
    pub(crate) fn wait_for(&mut self, patience: Duration, expression: &str) {
        wait_until(patience, expression, || match self.eval(expression) {
            Value::Bool(true) => Ok(()),
            other => Err(format!("{other}\n{}\n{:?}", self.text("document.body.innerText"), self.complaints())),
        });
    }

    /// A picture of the whole page.
    pub(crate) fn screenshot(&mut self, path: &Path) {
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": false }));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, base64(picture["data"].as_str().expect("a picture"))).expect("written");
    }

    /// The errors and warnings in the console so far, and exceptions that nobody caught.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let complains = |event: &&Value| match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => {
                ["error", "warning", "assert"].map(Value::from).contains(&event["params"]["type"])
            }
            "Log.entryAdded" => ["error", "warning"].map(Value::from).contains(&event["params"]["entry"]["level"]),
            _ => false,
        };
        self.events.iter().filter(complains).map(Value::to_string).collect()
    }

    /// The address of every request so far.
    pub(crate) fn requested(&self) -> Vec<String> {
        let requests = self.events.iter().filter_map(|event| match event["method"].as_str()? {
            "Network.requestWillBeSent" => event["params"]["request"]["url"].as_str(),
            "Network.webSocketCreated" => event["params"]["url"].as_str(),
            _ => None,
        });
        requests.map(str::to_owned).collect()
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let written = self.requests.write_all(format!("{message}\0").as_bytes());
        written.expect("Chromium listens (Debian package chromium)");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut message = match self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => panic!("no answer to {method} within {PATIENCE:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("{method}: Chromium ended (Debian package chromium)"),
            };
            if message["id"] == self.sent {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
            self.events.push(message);
        }
    }
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u32> = text.bytes().filter(|byte| *byte != b'=').map(digit).collect();
    let group = |four: &[u32]| {
        let bits = four.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}
