//! The program: its first line, its lines of JSON, its pages, its arguments.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

struct Program {
    child: Child,
    lines: BufReader<ChildStdout>,
    address: String,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloudwatch-double"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut address = String::new();
        lines.read_line(&mut address).unwrap();
        let address = address.trim_end().strip_prefix("http://").unwrap().to_owned();
        Self { child, lines, address }
    }

    fn request(&self, bytes: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn get(&self, target: &str) -> (u16, String) {
        self.request(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes())
    }

    fn page(&self, target: &str) -> Value {
        let (status, body) = self.get(target);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// {"Namespace": "n", "MetricData": [{"MetricName": "m", "Values": [1, 3], "Dimensions": [{"Name": "Host", "Value":
    /// "a b"}]}]}, signed now.
    fn put(&self) -> u16 {
        let body = b"\xa2\x69Namespace\x61n\x6aMetricData\x81\xa3\x6aMetricName\x61m\x66Values\x82\x01\x03\
            \x6aDimensions\x81\xa2\x64Name\x64Host\x65Value\x63a b";
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string().replace(['-', ':'], "");
        let (day, signature) = (&now[..8], "0".repeat(64));
        let head = format!(
            "POST /service/GraniteServiceVersion20100801/operation/PutMetricData HTTP/1.1\r\n\
            content-type: application/cbor\r\nsmithy-protocol: rpc-v2-cbor\r\nx-amz-date: {now}\r\n\
            authorization: AWS4-HMAC-SHA256 Credential=K/{day}/r/monitoring/aws4_request, \
            SignedHeaders=host;x-amz-date, Signature={signature}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut line = Vec::new();
        BufReader::new(stream).read_until(b'\n', &mut line).unwrap();
        String::from_utf8(line).unwrap().split(' ').nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_prints_what_it_accepts_and_shows_what_it_stored() {
    let mut program = Program::start(&["--fault", "throttle,internal:2"]);
    assert!(program.address.starts_with("127.0.0.1:"));
    assert_eq!([(); 4].map(|()| program.put()), [400, 500, 500, 200]);
    let mut line = String::new();
    program.lines.read_line(&mut line).unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["namespace"], &line["status"]), (&json!("n"), &json!(200)));
    assert_eq!(line["metric_data"][0]["values"], json!([1.0, 3.0]));

    let dump = program.page("/dump");
    assert_eq!((dump[0]["name"].as_str(), dump[0]["resolution"].as_u64()), (Some("m"), Some(60)));
    let found = program.page("/statistics?namespace=n&name=m&dimension=Host%3Da+b&period=60");
    for bucket in [&dump[0], &found[0]] {
        assert_eq!((&bucket["sum"], &bucket["average"], &bucket["p99"]), (&json!(4.0), &json!(2.0), &json!(3.0)));
        assert_eq!(bucket["values"], json!([[1.0, 1.0], [3.0, 1.0]]));
    }
    assert_eq!(program.page("/statistics?namespace=n&name=m"), json!([]));
    assert_eq!(program.page("/statistics?namespace=n&name=m&dimension=Host%3Da%20b&to=60"), json!([]));
    for (bad, status) in [("/", 404), ("/statistics", 400), ("/statistics?namespace=n&name=m&period=x", 400)] {
        assert_eq!(program.get(bad).0, status, "{bad}");
    }
}

#[test]
fn a_random_share_of_requests_fails() {
    let program = Program::start(&["--random", "1:100:throttle"]);
    assert_eq!([program.put(), program.put()], [400, 400]);
}

#[test]
fn wrong_arguments_are_explained() {
    for arguments in [
        &["--fault", "fire"][..],
        &["--fault", "throttle:x"],
        &["--fault"],
        &["--random", "1:2"],
        &["--listen", "0.0.0.0:0"],
        &["--verbose", "1"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_cloudwatch-double")).args(arguments).output().unwrap();
        assert!(!output.status.success() && output.stderr.starts_with(b"cloudwatch-double: "), "{arguments:?}");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_cloudwatch-double")).arg("--help").output().unwrap();
    assert!(help.status.success() && help.stdout.starts_with(b"A strict double"));
}
