//! What changes while the agent runs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::support::load::Killed;
use super::support::tls::{Authority, HASH, OTHER_HASH, PASSWORD};
use super::support::wait::{SOON, wait_until};
use super::support::{Agent, Page};
use super::{ask, folder, start, with_users};

/// A client of Python's that keeps its connection and asks whenever it is told to.
struct Kept {
    child: Killed,
    said: BufReader<std::process::ChildStdout>,
}

impl Kept {
    fn open(authority: &Authority, agent: &Agent, user: &str) -> Self {
        let script = "import base64, http.client, ssl, sys\n\
            context = ssl.create_default_context(cafile=sys.argv[1])\n\
            client = http.client.HTTPSConnection('127.0.0.1', int(sys.argv[2]), context=context, timeout=10)\n\
            client.connect()\n\
            socket = client.sock\n\
            for _ in sys.stdin:\n\
            \x20   user = base64.b64encode(sys.argv[3].encode()).decode()\n\
            \x20   client.request('GET', '/metrics', headers={'Authorization': 'Basic ' + user})\n\
            \x20   answer = client.getresponse()\n\
            \x20   answer.read()\n\
            \x20   print(answer.status, client.sock is socket, flush=True)\n";
        let mut child = Command::new("python3")
            .args(["-c", script, &authority.text("ca.pem"), &agent.address().port().to_string(), user])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let said = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child: Killed(child), said }
    }

    /// The status of one more request on the same connection.
    fn ask(&mut self) -> String {
        writeln!(self.child.0.stdin.as_mut().expect("a pipe"), "go").expect("it listens");
        let mut line = String::new();
        self.said.read_line(&mut line).expect("an answer");
        line.trim().to_owned()
    }
}

/// The serial number of the certificate that newcomers are shown.
fn shown(authority: &Authority, address: SocketAddr) -> String {
    let script = format!("openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -noout -serial");
    let output = Command::new("sh").args(["-c", &script]).current_dir(authority.0.path()).output().expect("sh");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

/// The health of the web configuration, as the page shows it.
fn health(authority: &Authority, agent: &Agent, user: &str) -> Option<f64> {
    let answer = ask(authority, agent, &["--user", user]);
    let page = (answer.status == 200).then(|| Page::parse(answer.text))?;
    page.get("hostgauge_collector_success", &[("collector", "web_config")])
}

#[test]
fn what_changes_is_in_force_at_once_and_what_is_broken_is_not() {
    let authority = folder();
    let agent = start(&authority, &with_users());
    let user = format!("alice:{PASSWORD}");
    let mut kept = Kept::open(&authority, &agent, &user);
    assert_eq!(kept.ask(), "200 True");
    let first = shown(&authority, agent.address());
    let until = |what: &str, done: &dyn Fn() -> bool| {
        wait_until(SOON, what, || if done() { Ok(()) } else { Err(agent.log()) });
    };

    // A certificate alone does not fit the key that is there yet: nothing changes, and that is said, once.
    let (before, key_before) = (authority.read("server.pem"), authority.read("server.key"));
    authority.sign_server("next");
    authority.write("server.pem", &authority.read("next.pem"));
    until("the health says so", &|| health(&authority, &agent, &user) == Some(0.0));
    assert_eq!(shown(&authority, agent.address()), first);
    assert_eq!(kept.ask(), "200 True");
    agent.wait_for_log("found the key of another; the one from before stays in force");

    // With its key it is shown to whoever comes next, and who is there stays.
    authority.write("server.key", &authority.read("next.key"));
    until("the new certificate is shown", &|| shown(&authority, agent.address()) != first);
    until("the health says so", &|| health(&authority, &agent, &user) == Some(1.0));
    assert_eq!(kept.ask(), "200 True");

    // A file with a mistake, and none at all.
    authority.write("web.yml", "basic_auth_user:\n");
    until("the health says so", &|| health(&authority, &agent, &user) == Some(0.0));
    agent.wait_for_log(
        "unknown key basic_auth_user; did you mean basic_auth_users?; the one from before stays in force",
    );
    std::fs::remove_file(authority.path("web.yml")).expect("it is there");
    wait_until(SOON, "the log says that it is gone", || {
        assert_eq!(kept.ask(), "200 True");
        if agent.log().contains("cannot read it") { Ok(()) } else { Err(agent.log()) }
    });

    // A new password is asked for at the next request, also of who has been let in before.
    authority.write("web.yml", &with_users().replace(HASH, OTHER_HASH));
    wait_until(SOON, "the old password is refused", || match kept.ask().as_str() {
        "401 True" => Ok(()),
        "200 True" => Err(agent.log()),
        other => panic!("{other}"),
    });
    until("the health says so", &|| health(&authority, &agent, "alice:other") == Some(1.0));
    assert_eq!(ask(&authority, &agent, &["--user", &user]).status, 401);

    // Back to the first pair, in two steps as ever.
    authority.write("server.pem", &before);
    authority.write("server.key", &key_before);
    until("the first certificate is shown", &|| shown(&authority, agent.address()) == first);
    let log = agent.log();
    for once in ["unknown key basic_auth_user", "cannot read it"] {
        assert_eq!(log.matches(once).count(), 1, "{once}: {log}");
    }
}
