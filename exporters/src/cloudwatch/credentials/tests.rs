use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use hostgauge_cloudwatch_double::{Double, Fault, Options};
use tempfile::TempDir;

use super::*;
use crate::cloudwatch::client::Client;

/// In a child's environment: where it looks for DMI. The test that the child is started as does its work then.
const DMI_OF_CHILD: &str = "HOSTGAUGE_TEST_DMI";

/// What a process with an environment of its own does: it makes a client, then puts nothing (which is refused as such)
/// for each line that it reads.
fn child(dmi: &str) {
    let say = |line: String| std::io::stdout().write_all(format!("\n> {line}\n").as_bytes()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = match runtime.block_on(Client::from_environment_of(Path::new(dmi))) {
        Ok(client) => client,
        Err(error) => return say(format!("error {error}")),
    };
    say(format!("{} | {} | {}", client.region(), client.endpoint(), client.credentials()));
    for line in std::io::stdin().lines() {
        assert_eq!(line.unwrap(), "put");
        let verdict = runtime.block_on(client.put("hostgauge/test", &[])).verdict;
        say(format!("{} {verdict:?}", verdict.outcome()));
    }
}

struct Agent {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// How it started, or the error.
    said: String,
    took: Duration,
    /// Kept as long as the child.
    home: Option<TempDir>,
}

impl Agent {
    fn start(home: &TempDir, variables: &[(&str, &str)]) -> Self {
        let start = Instant::now();
        let name = format!("{}::the_environment_is_enough", module_path!().split_once("::").unwrap().1);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name])
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", std::env::var("PATH").unwrap())
            .env("NO_PROXY", "*")
            .env(DMI_OF_CHILD, home.path().join("dmi"))
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut agent = Self { child, input, output, said: String::new(), took: Duration::ZERO, home: None };
        agent.said = agent.listen();
        agent.took = start.elapsed();
        agent
    }

    fn listen(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the child said nothing");
            if let Some(said) = line.strip_prefix("> ") {
                return said.trim_end().to_owned();
            }
        }
    }

    fn put(&mut self) -> String {
        self.input.write_all(b"put\n").unwrap();
        self.listen()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "AKIDENV"), ("AWS_SECRET_ACCESS_KEY", "hush"), ("AWS_REGION", "eu-central-1")];

fn home(files: &[(&str, &str)]) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    home
}

fn start(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Agent {
    let home = home(files);
    let mut agent = Agent::start(&home, variables);
    agent.home = Some(home);
    agent
}

fn signer(double: &Double) -> String {
    let request = double.requests().pop().unwrap();
    let authorization = request.header("authorization").unwrap();
    authorization.split_once("Credential=").unwrap().1.split('/').next().unwrap().to_owned()
}

/// Answers every request with what is at its path, 404 elsewhere, and counts connections.
fn serve(paths: &'static [(&'static str, &'static str)]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap_or(0) > 0 {}
            let path = head.split(' ').nth(1).unwrap_or_default();
            let found = paths.iter().find(|(known, _)| *known == path);
            let (status, body) = found.map_or(("404 Not Found", ""), |(_, body)| ("200 OK", *body));
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nx-aws-ec2-metadata-token-ttl-seconds: 60\r\nconnection: close\r\n\
                     content-length: {length}\r\n\r\n{body}"
            );
            let _ = stream.get_mut().write_all(answer.as_bytes());
            let _ = stream.get_mut().shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    (address, connections)
}

const ROLE: &str = r#"{"Code":"Success","LastUpdated":"2026-01-01T00:00:00Z","Type":"AWS-HMAC",
        "AccessKeyId":"AKIDROLE","SecretAccessKey":"hush","Token":"token","Expiration":"2099-01-01T00:00:00Z"}"#;

const METADATA_SERVICE: &[(&str, &str)] = &[
    ("/latest/api/token", "token"),
    ("/latest/meta-data/placement/region", "ap-south-1"),
    ("/latest/meta-data/iam/security-credentials/", "role"),
    ("/latest/meta-data/iam/security-credentials/role", ROLE),
];

#[test]
fn the_environment_is_enough() {
    if let Ok(dmi) = std::env::var(DMI_OF_CHILD) {
        return child(&dmi);
    }
    let double = Double::start(Options::default()).unwrap();
    let url = double.url();
    let other = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let [a, b, c] = KEYS;
    let mut agent = start(&[], &[a, b, c, ("AWS_ENDPOINT_URL_CLOUDWATCH", &url), other]);
    assert_eq!(agent.said, format!("eu-central-1 | {url} | environment"));
    assert!(agent.put().starts_with("refused"));
    assert_eq!(signer(&double), "AKIDENV");
    let agent = start(&[], &[a, b, c, ("AWS_ENDPOINT_URL", &url)]);
    assert_eq!(agent.said, format!("eu-central-1 | {url} | environment"));
    // Only asked for, not sent to.
    assert_eq!(double.requests().len(), 1);
}

#[test]
fn the_endpoint_is_awss_own_by_default() {
    let [a, b, c] = KEYS;
    let endpoint = |more: (&str, &str)| {
        let agent = start(&[], &[a, b, c, more]);
        agent.said.split(" | ").nth(1).unwrap_or(&agent.said).to_owned()
    };
    assert_eq!(endpoint(("ANY", "thing")), "https://monitoring.eu-central-1.amazonaws.com");
    assert_eq!(endpoint(("AWS_USE_FIPS_ENDPOINT", "true")), "https://monitoring-fips.eu-central-1.amazonaws.com");
    assert_eq!(endpoint(("AWS_USE_DUALSTACK_ENDPOINT", "true")), "https://monitoring.eu-central-1.api.aws");
    assert_eq!(endpoint(("AWS_REGION", "cn-north-1")), "https://monitoring.cn-north-1.amazonaws.com.cn");
}

#[test]
fn a_malformed_endpoint_is_an_error() {
    for url in ["127.0.0.1:4566", "localhost:4566", "ftp://127.0.0.1", "http://", "https://:443", "no url", "http:/x"] {
        let [a, b, c] = KEYS;
        for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_CLOUDWATCH"] {
            let agent = start(&[], &[a, b, c, (name, url)]);
            let expected = format!("error {name}={url}: expected a URL such as https://");
            assert!(agent.said.starts_with(&expected), "{url}: {}", agent.said);
        }
    }
    let [a, b, c] = KEYS;
    let agent = start(&[], &[a, b, c, ("AWS_ENDPOINT_URL", "ftp://me:hush@127.0.0.1/x")]);
    assert!(agent.said.starts_with("error AWS_ENDPOINT_URL=ftp://127.0.0.1/x"), "{}", agent.said);
    assert!(!agent.said.contains("hush"));
    for (region, file) in [("eu central", ""), ("eu-central-1", "endpoint_url = me:hush@host\n")] {
        let config = format!("[default]\n{file}");
        let agent = start(&[(".aws/config", &config)], &[a, b, ("AWS_REGION", region)]);
        assert!(agent.said.starts_with("error no endpoint of CloudWatch: is AWS_REGION right"), "{}", agent.said);
        assert!(!agent.said.contains("hush"), "{}", agent.said);
    }
}

#[test]
fn without_a_region_there_is_no_client() {
    let agent = start(&[], &[KEYS[0], KEYS[1], ("AWS_PROFILE", "mine")]);
    assert!(agent.said.starts_with("error no AWS region: AWS_REGION"), "{}", agent.said);
    assert!(agent.said.contains("profile mine of /") && agent.said.contains("/.aws/config"), "{}", agent.said);
}

#[test]
fn without_credentials_there_is_no_client() {
    let agent = start(&[], &[KEYS[2]]);
    for part in ["AWS_ACCESS_KEY_ID", "profile default", "/.aws/credentials", "AWS_WEB_IDENTITY_TOKEN_FILE", "metadata"]
    {
        assert!(agent.said.starts_with("error no AWS credentials") && agent.said.contains(part), "{}", agent.said);
    }
    assert!(agent.took < Duration::from_secs(5), "{:?}", agent.took);
    let agent = start(&[], &[KEYS[2], KEYS[0], ("AWS_EC2_METADATA_DISABLED", "true")]);
    assert!(agent.said.contains("AWS_ACCESS_KEY_ID is set, but not AWS_SECRET_ACCESS_KEY"), "{}", agent.said);
    assert!(agent.said.contains("AWS_EC2_METADATA_DISABLED forbids"), "{}", agent.said);
}

#[test]
fn profiles() {
    let config = "[default]\nregion = us-west-2\n[profile other]\nregion = sa-east-1\ncredential_process = ./keys\n";
    let keys = "[default]\naws_access_key_id = AKIDFILE\naws_secret_access_key = hush\n";
    let files = [(".aws/config", config), (".aws/credentials", keys)];
    let agent = start(&files, &[]);
    assert_eq!(agent.said, "us-west-2 | https://monitoring.us-west-2.amazonaws.com | profile default");
    let process = r#"echo '{"Version":1,"AccessKeyId":"AKIDPROCESS","SecretAccessKey":"hush"}'"#;
    let config = format!("[profile other]\nregion = sa-east-1\ncredential_process = {process}\n");
    let double = Double::start(Options::default()).unwrap();
    let variables = [("AWS_PROFILE", "other"), ("AWS_ENDPOINT_URL", &double.url())];
    let mut agent = start(&[(".aws/config", &config)], &variables);
    assert_eq!(agent.said, format!("sa-east-1 | {} | profile other", double.url()));
    assert!(agent.put().starts_with("refused"));
    assert_eq!(signer(&double), "AKIDPROCESS");
}

#[test]
fn profiles_that_cannot_work_are_errors() {
    let agent = start(&[(".aws/config", "[default\nregion = us-west-2\n")], &KEYS);
    assert!(agent.said.starts_with("error AWS profile files /"), "{}", agent.said);
    assert!(agent.said.contains(".aws/config"), "{}", agent.said);
    let sso = "[default]\nregion = us-west-2\nsso_session = me\nsso_account_id = 1\nsso_role_name = r\n\
                   [sso-session me]\nsso_region = us-west-2\nsso_start_url = https://x.awsapps.com/start\n";
    let agent = start(&[(".aws/config", sso)], &[]);
    assert!(agent.said.starts_with("error AWS credentials by profile default"), "{}", agent.said);
    assert!(agent.said.contains("SSO"), "{}", agent.said);
}

#[test]
fn a_role_of_a_profile() {
    let (sts, _) = serve(&[(
        "/",
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
             <AccessKeyId>AKIDASSUMED</AccessKeyId><SecretAccessKey>hush</SecretAccessKey><SessionToken>token\
             </SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>\
             </AssumeRoleResponse>",
    )]);
    let config = "[default]\nregion = us-west-2\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\n\
                      [profile base]\naws_access_key_id = AKIDBASE\naws_secret_access_key = hush\n";
    let double = Double::start(Options::default()).unwrap();
    let sts = format!("http://{sts}");
    let endpoints = [("AWS_ENDPOINT_URL_STS", sts.as_str()), ("AWS_ENDPOINT_URL_CLOUDWATCH", &double.url())];
    let mut agent = start(&[(".aws/config", config)], &endpoints);
    assert!(agent.said.ends_with("| profile default"), "{}", agent.said);
    assert!(agent.put().starts_with("refused"));
    assert_eq!(signer(&double), "AKIDASSUMED");
}

/// A token that is renewed in its file is found at the attempt after the one that was refused.
#[test]
fn a_renewed_file_is_read_again() {
    let keys = |name: &str| format!("[default]\naws_access_key_id = {name}\naws_secret_access_key = hush\n");
    let home = home(&[(".aws/credentials", &keys("AKIDOLD"))]);
    let double = Double::start(Options::default()).unwrap();
    double.script([Fault::ExpiredToken]);
    let mut agent = Agent::start(&home, &[KEYS[2], ("AWS_ENDPOINT_URL", &double.url())]);
    assert!(agent.put().starts_with("denied"));
    assert_eq!(signer(&double), "AKIDOLD");
    fs::write(home.path().join(".aws/credentials"), keys("AKIDNEW")).unwrap();
    assert!(agent.put().starts_with("refused"));
    assert_eq!(signer(&double), "AKIDNEW");
}

#[test]
fn a_source_that_fails_now_does_not_keep_the_agent_from_starting() {
    let double = Double::start(Options::default()).unwrap();
    let (url, gone) = (double.url(), "http://127.0.0.1:1/role");
    let container = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", gone);
    let mut agent = start(&[], &[KEYS[2], ("AWS_ENDPOINT_URL_CLOUDWATCH", &url), container]);
    assert!(agent.said.contains("container endpoint, which gives none now"), "{}", agent.said);
    let said = agent.put();
    assert!(said.starts_with("unavailable") && said.contains("credentials cannot be had now"), "{said}");
    let token = [("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token"), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")];
    let mut agent = start(&[], &[KEYS[2], ("AWS_ENDPOINT_URL_CLOUDWATCH", &url), token[0], token[1]]);
    assert!(agent.said.contains("web identity token /nowhere/token, which gives none now"), "{}", agent.said);
    assert!(agent.put().starts_with("denied"));
    assert_eq!(double.requests().len(), 0);
}

#[test]
fn the_endpoint_of_a_container() {
    let (address, _) = serve(&[("/role", ROLE)]);
    let uri = format!("http://{address}/role");
    let agent = start(&[], &[KEYS[2], ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri)]);
    assert!(agent.said.ends_with("| container endpoint"), "{}", agent.said);
}

/// The metadata service is asked where the machine says that it is of EC2, and nowhere else.
#[test]
fn the_metadata_service() {
    let (address, connections) = serve(METADATA_SERVICE);
    let service = format!("http://{address}");
    let service = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.as_str());
    for (vendor, forbidden) in [("QEMU\n", "false"), ("", "false"), ("Amazon EC2\n", "true")] {
        let agent = start(&[("dmi/sys_vendor", vendor)], &[service, ("AWS_EC2_METADATA_DISABLED", forbidden)]);
        assert!(agent.said.starts_with("error no AWS region"), "{}", agent.said);
        let agent = start(&[("dmi/sys_vendor", vendor)], &[service, KEYS[2], ("AWS_EC2_METADATA_DISABLED", forbidden)]);
        assert!(agent.said.starts_with("error no AWS credentials"), "{}", agent.said);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
    for file in ["dmi/sys_vendor", "dmi/board_vendor"] {
        let agent = start(&[(file, "Amazon EC2\n")], &[service]);
        let expected = "ap-south-1 | https://monitoring.ap-south-1.amazonaws.com | EC2 metadata service";
        assert_eq!(agent.said, expected);
    }
}

#[test]
fn a_silent_metadata_service_costs_a_second() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = format!("http://{}", silent.local_addr().unwrap());
    let service = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.as_str());
    let ec2 = [("dmi/sys_vendor", "Amazon EC2\n")];
    let agent = start(&ec2, &[service]);
    assert!(agent.said.starts_with("error no AWS region"), "{}", agent.said);
    assert!(agent.took < Duration::from_secs(5), "{:?}", agent.took);
    // The instance may get a role later.
    let agent = start(&ec2, &[service, KEYS[2]]);
    assert!(agent.said.contains("| EC2 metadata service, which gives none now"), "{}", agent.said);
    assert!(agent.took < Duration::from_secs(5), "{:?}", agent.took);
}
