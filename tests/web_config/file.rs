//! What is said of a file: at the start, by `hostgauge check`, and by promtool.

use std::process::Command;

use super::support::agent::{hostgauge, run};
use super::support::prometheus::{PROMTOOL, need};
use super::support::tls::{Authority, HASH, LONG_AGO, NOT_YET};
use super::{PAIR, ask, folder, start, with_users};

/// What promtool and we say of a file; the toolkit in promtool is of 2022 and knows fewer keys.
#[test]
fn promtool_and_we_agree_about_a_file() {
    need(PROMTOOL);
    let authority = folder();
    authority.sign_server("other");
    authority.write("junk.pem", "junk\n");
    let users = format!("basic_auth_users:\n  alice: {HASH}\n");
    let files = [
        ("", true, true),
        (PAIR, true, true),
        (&with_users(), true, true),
        (&users, true, true),
        (
            &format!("{PAIR}  min_version: TLS13\n  max_version: TLS13\n  prefer_server_cipher_suites: false\n"),
            true,
            true,
        ),
        (&format!("{PAIR}  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n"), true, true),
        (&format!("{PAIR}  curve_preferences: [CurveP256, X25519]\n"), true, true),
        (&format!("{PAIR}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"), true, true),
        (&format!("{PAIR}  client_auth_type: RequestClientCert\n"), true, true),
        ("http_server_config:\n  http2: false\n  headers:\n    X-Content-Type-Options: nosniff\n", true, true),
        // Broken ones.
        ("tls_config:\n", false, false),
        ("tls_server_config:\n  cert_fil: server.pem\n", false, false),
        ("tls_server_config:\n  cert_file: server.pem\n", false, false),
        ("tls_server_config:\n  key_file: server.key\n", false, false),
        ("tls_server_config:\n  cert_file: server.pem\n  key_file: other.key\n", false, false),
        ("tls_server_config:\n  cert_file: junk.pem\n  key_file: server.key\n", false, false),
        ("tls_server_config:\n  cert_file: server.pem\n  key_file: junk.pem\n", false, false),
        ("tls_server_config:\n  cert_file: nowhere.pem\n  key_file: server.key\n", false, false),
        (&format!("{PAIR}  client_auth_type: Maybe\n"), false, false),
        (&format!("{PAIR}  client_ca_file: ca.pem\n"), false, false),
        (
            &format!("{PAIR}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: nowhere.pem\n"),
            false,
            false,
        ),
        (&format!("{PAIR}  min_version: TLS14\n"), false, false),
        (&format!("{PAIR}  cipher_suites: [TLS_INVENTED]\n"), false, false),
        (&format!("{PAIR}  curve_preferences: [CurveInvented]\n"), false, false),
        ("http_server_config:\n  headers:\n    X-Invented: yes\n", false, false),
        ("http_server_config:\n  headers:\n    X-Frame-Options: never\n", false, false),
        ("basic_auth_users:\n  alice: password\n", false, false),
        ("basic_auth_users: [alice]\n", false, false),
        ("a: [\n", false, false),
        // We know better: what it takes would not be held, or cannot be here.
        (&format!("{PAIR}  min_version: TLS10\n"), true, false),
        (&format!("{PAIR}  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\n"), true, false),
        (&format!("{PAIR}  curve_preferences: [CurveP521]\n"), true, false),
        (&format!("{PAIR}  client_auth_type: RequireAndVerifyClientCert\n"), true, false),
        ("tls_server_config:\n  min_version: TLS13\n", true, false),
        // It does not know these yet.
        ("rate_limit:\n  interval: 1s\n  burst: 10\n", false, true),
        (
            &format!(
                "{PAIR}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n  client_allowed_sans: [a]\n"
            ),
            false,
            true,
        ),
    ];
    for (text, theirs, ours) in files {
        let path = authority.write("web.yml", text);
        let tool = run(Command::new(PROMTOOL).args(["check", "web-config", &path]), "");
        assert_eq!(tool.status.success(), theirs, "promtool of {text:?}: {tool:?}");
        // It refuses the file before it tries to listen, where another listens.
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address").to_string();
        let ended = run(&mut hostgauge(&["--prometheus-listen", &address, "--web-config", &path]), "");
        let expected = if ours { (Some(1), "taken") } else { (Some(2), "expected") };
        assert_eq!(ended.status.code(), expected.0, "{text:?}: {ended:?}");
        let named = ended.stderr.contains(&path) || ours;
        let said = ended.stderr.contains(expected.1)
            || ["unknown key", "cannot read it", "no YAML"].iter().any(|words| ended.stderr.contains(words));
        assert!(named && said, "{text:?}: {ended:?}");
    }
}

#[test]
fn a_mistake_is_named_at_the_start_and_no_secret_is() {
    let authority = folder();
    let path = authority.write("web.yml", "tls_server_config:\n  cert_file: server.pem\n  keyfile: server.key\n");
    let ended = run(&mut hostgauge(&["--prometheus-listen", "127.0.0.1:0", "--web-config", &path]), "");
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    let expected = format!("web-config {path}: line 3: unknown key tls_server_config.keyfile; did you mean key_file?");
    assert!(ended.stderr.contains(&expected), "{ended:?}");
    // `run` refuses it before the command starts.
    let ended = run(&mut hostgauge(&["run", "--web-config", &path, "--", "echo", "started"]), "");
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{ended:?}");

    let text =
        format!("tls_server_config:\n  cert_file: server.pem\n  key: |\n    hunter2\nbasic_auth_users:\n  a: {HASH}\n");
    let path = authority.write("web.yml", &text);
    for command in ["config", "check"] {
        let ended = run(&mut hostgauge(&[command, "--web-config", &path]), "");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains("web.yml") && !said.contains("hunter2") && !said.contains(HASH), "{ended:?}");
    }
}

#[test]
fn inline_certificates_are_taken_as_well() {
    let authority = folder();
    let inline = |name: &str| authority.read(name).lines().map(|line| format!("    {line}\n")).collect::<String>();
    let text = format!("tls_server_config:\n  cert: |\n{}  key: |\n{}", inline("server.pem"), inline("server.key"));
    let agent = start(&authority, &text);
    assert_eq!(ask(&authority, &agent, &[]).status, 200);
}

#[test]
fn an_expired_certificate_is_said_where_somebody_looks() {
    let authority = Authority::new();
    for (time, cause, words, curl_says) in [
        (LONG_AGO, "certificate_expired", "has expired", "expired"),
        (NOT_YET, "certificate_not_yet_valid", "is not valid yet", "not yet valid"),
    ] {
        authority.sign("server", time, "DNS:localhost,IP:127.0.0.1");
        let agent = start(&authority, PAIR);
        agent.wait_for_log(words);
        let answer = ask(&authority, &agent, &[]);
        assert!(answer.status == 0 && answer.said.contains(curl_says), "{answer:?}");
        assert_eq!(ask(&authority, &agent, &["--insecure"]).status, 200);
        let path = authority.text("web.yml");
        let ended = run(&mut hostgauge(&["check", "--format", "json", "--web-config", &path]), "");
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.stdout.contains(cause), "{ended:?}");
    }
}

#[test]
fn a_check_says_who_can_read_what() {
    let authority = folder();
    let path = authority.write("web.yml", &with_users());
    let causes = |address: &str| {
        let ended = run(
            &mut hostgauge(&["check", "--format", "json", "--prometheus-listen", address, "--web-config", &path]),
            "",
        );
        let json: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
        let findings = json["findings"].as_array().expect("a list").clone();
        let of = |subject: &str| -> Vec<(String, String)> {
            let found = findings.iter().filter(|finding| finding["subject"] == subject);
            let word = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
            found.map(|finding| (word(finding, "cause"), word(finding, "found"))).collect()
        };
        (of("web-config"), of("page"))
    };
    let secret = |mode: u32| {
        use std::os::unix::fs::PermissionsExt as _;
        for name in ["web.yml", "server.key"] {
            std::fs::set_permissions(authority.path(name), std::fs::Permissions::from_mode(mode)).expect("ours");
        }
    };
    secret(0o640);
    let (found, page) = causes("0.0.0.0:0");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].1.ends_with("web.yml: TLS, passwords"), "{found:?}");
    assert!(found[1].1.contains("good for") && found[1].1.contains("2099-01-01"), "{found:?}");
    assert!(page[0].1.starts_with("https://") && page.len() == 1, "{page:?}");
    secret(0o644);
    let (found, _) = causes("127.0.0.1:0");
    assert_eq!(found.iter().filter(|(cause, _)| cause == "secret_readable").count(), 2, "{found:?}");
    // Passwords without TLS can be read by others than those who have them.
    authority.write("web.yml", &format!("basic_auth_users:\n  alice: {HASH}\n"));
    let (_, page) = causes("0.0.0.0:0");
    assert!(page.iter().any(|(cause, found)| cause == "public_address" && found.contains("no TLS")), "{page:?}");
    let nowhere = run(&mut hostgauge(&["check", "--web-config", "/nowhere.yml"]), "");
    assert_eq!(nowhere.status.code(), Some(1), "{nowhere:?}");
    assert!(nowhere.stdout.contains("/nowhere.yml: cannot read it"), "{nowhere:?}");
}
