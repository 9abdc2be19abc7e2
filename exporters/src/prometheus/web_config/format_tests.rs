//! Tests of the file's keys.

use proptest::prelude::*;

use super::*;

const PAIR: &str = "tls_server_config:\n  cert_file: tls.crt\n  key_file: /k/tls.key\n";
const HASH: &str = "$2y$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";

fn settings(text: &str) -> Settings {
    read(text, Path::new("/folder")).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

fn refusal(text: &str) -> String {
    match read(text, Path::new("/folder")) {
        Ok(_) => panic!("it is taken:\n{text}"),
        Err(error) => error,
    }
}

fn with_pair(more: &str) -> String {
    format!("{PAIR}  {more}\n")
}

fn tls_of(text: &str) -> Tls {
    settings(text).tls.expect("TLS")
}

#[test]
fn nothing_asks_for_nothing() {
    for text in ["", "# a comment", "tls_server_config:\nbasic_auth_users: {}\n", "tls_server_config: {}"] {
        let settings = settings(text);
        assert!(settings.tls.is_none() && settings.users.is_empty() && settings.headers.is_empty(), "{text}");
        assert!(settings.rate.is_none(), "{text}");
    }
}

#[test]
fn files_are_looked_up_beside_the_file() {
    let tls = tls_of(PAIR);
    let path = |pem: &Pem| match &pem.source {
        Source::File(path) => path.clone(),
        Source::Inline(_) => panic!("a file"),
    };
    assert_eq!((path(&tls.certificate), path(&tls.key)), ("/folder/tls.crt".into(), "/k/tls.key".into()));
    assert_eq!((tls.clients, tls.versions.len(), tls.own_order), (ClientAuth::None, 2, true));
}

#[test]
fn every_key_of_the_format_is_known() {
    let text = format!(
        "tls_server_config:\n  cert: one\n  key: two\n  client_ca: three\n  \
         client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [a, 10.0.0.1]\n  min_version: TLS12\n  max_version: TLS13\n  \
         cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256]\n  \
         prefer_server_cipher_suites: off\n  curve_preferences: [CurveP384, X25519]\n\
         http_server_config:\n  http2: true\n  headers:\n    X-XSS-Protection: 0\n    X-Frame-Options: deny\n    \
         Content-Security-Policy:\n\
         basic_auth_users:\n  alice: {HASH}\n\
         rate_limit:\n  interval: 1m1.5s\n  burst: 20\n"
    );
    let settings = settings(&text);
    let tls = settings.tls.expect("TLS");
    assert_eq!((tls.names, tls.own_order), (vec!["a".to_owned(), "10.0.0.1".to_owned()], false));
    // Those of TLS 1.3 cannot be chosen; of TLS 1.2 there is the one.
    let of_12: Vec<_> = tls.suites.iter().filter(|suite| suite.tls13().is_none()).map(name).collect();
    assert_eq!(of_12, ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]);
    let groups: Vec<_> = tls.groups.expect("groups").iter().map(|group| group.name()).collect();
    assert_eq!(groups, [NamedGroup::secp384r1, NamedGroup::X25519]);
    let headers: Vec<_> = settings.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().ok())).collect();
    assert_eq!(headers, [("x-frame-options", Some("deny")), ("x-xss-protection", Some("0"))]);
    assert_eq!(settings.users.len(), 1);
    assert_eq!(settings.rate, Some(Rate { interval: Duration::from_millis(61_500), burst: 20 }));
}

#[test]
fn each_way_of_asking_for_certificates_is_known() {
    for (word, expected, authorities) in [
        ("NoClientCert", ClientAuth::None, false),
        ("RequestClientCert", ClientAuth::Request, false),
        ("RequireAnyClientCert", ClientAuth::RequireAny, true),
        ("RequireClientCert", ClientAuth::RequireAny, false),
        ("VerifyClientCertIfGiven", ClientAuth::VerifyIfGiven, true),
        ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerify, true),
    ] {
        let authorities = if authorities { "\n  client_ca_file: ca.crt" } else { "" };
        assert_eq!(tls_of(&with_pair(&format!("client_auth_type: {word}{authorities}"))).clients, expected);
    }
}

#[test]
fn the_versions_are_those_between_the_bounds() {
    let versions = |more: &str| tls_of(&with_pair(more)).versions;
    assert_eq!(versions("min_version: TLS13"), [&version::TLS13]);
    assert_eq!(versions("max_version: TLS12"), [&version::TLS12]);
    // No suite of TLS 1.2 is left.
    assert_eq!(versions("cipher_suites: [TLS_AES_128_GCM_SHA256]"), [&version::TLS13]);
}

#[test]
fn mistakes_are_named_with_their_line_and_what_was_expected() {
    for (text, expected) in [
        ("tls_config:\n", "line 1: unknown key tls_config"),
        ("basic_auth_user:\n  a: b", "line 1: unknown key basic_auth_user; did you mean basic_auth_users?"),
        (
            "tls_server_config:\n  cert_fil: a",
            "line 2: unknown key tls_server_config.cert_fil; did you mean cert_file?",
        ),
        ("tls_server_config: yes", "line 1: tls_server_config: expected keys with values, found a text"),
        ("- a", "line 1: the file: expected keys with values, found a list"),
        ("tls_server_config:\n  key_file: k", "line 2: tls_server_config: expected cert_file or cert"),
        ("tls_server_config:\n  cert_file: c\n", "line 2: tls_server_config: expected key_file or key"),
        ("tls_server_config:\n  min_version: TLS13", "line 2: tls_server_config: expected cert_file or cert"),
        (&with_pair("cert: x"), "line 4: tls_server_config.cert: expected this or cert_file, not both"),
        (&with_pair("cert_file: x"), "line 4: cert_file: the same key stands above"),
        (&with_pair("min_version: TLS11"), "line 4: tls_server_config.min_version: expected TLS12 or TLS13: TLS 1.0"),
        (&with_pair("max_version: SSL30"), "line 4: tls_server_config.max_version: expected TLS13, TLS12, TLS11 or"),
        (&with_pair("min_version: TLS13\n  max_version: TLS12"), "line 5: tls_server_config.max_version: expected no"),
        (
            &with_pair("cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]"),
            "line 4: tls_server_config.cipher_suites: expected TLS_AES_256_GCM_SHA384, ",
        ),
        (
            &with_pair("cipher_suites: [TLS_AES_128_GCM_SHA256]\n  max_version: TLS12"),
            "line 2: tls_server_config.cipher",
        ),
        (
            &with_pair("curve_preferences: [CurveP521]"),
            "line 4: tls_server_config.curve_preferences: expected X25519, CurveP256 or CurveP384, found CurveP521: this",
        ),
        (&with_pair("client_auth_type: Maybe"), "line 4: tls_server_config.client_auth_type: expected NoClientCert, "),
        (
            &with_pair("client_auth_type: RequireAndVerifyClientCert"),
            "line 4: tls_server_config.client_auth_type: expected client_ca_file or client_ca beside it",
        ),
        (
            &with_pair("client_ca_file: ca.crt"),
            "line 2: tls_server_config.client_auth_type: expected VerifyClientCertIfGiven or RequireAndVerifyClientCert",
        ),
        (
            &with_pair("client_auth_type: RequireAnyClientCert\n  client_allowed_sans: [a]"),
            "line 4: tls_server_config.client_allowed_sans: expected client_auth_type VerifyClientCertIfGiven or",
        ),
        (
            &with_pair("client_allowed_sans: a"),
            "line 4: tls_server_config.client_allowed_sans: expected a list of names",
        ),
        ("http_server_config:\n  http2: maybe", "line 2: http_server_config.http2: expected true or false"),
        (
            "http_server_config:\n  headers:\n    X-Frame-Option: deny",
            "line 3: unknown key http_server_config.headers.X-Frame-Option; did you mean X-Frame-Options?",
        ),
        (
            "http_server_config:\n  headers:\n    X-Frame-Options: never",
            "line 3: http_server_config.headers.X-Frame-Options: expected deny or sameorigin",
        ),
        (
            "http_server_config:\n  headers:\n    X-XSS-Protection: \"a\\nb\"",
            "line 3: http_server_config.headers.X-XSS-Protection: expected a text that a header can hold",
        ),
        ("basic_auth_users:\n  a: b", "line 2: basic_auth_users.a: expected a bcrypt hash"),
        ("basic_auth_users:\n  a:", "line 2: basic_auth_users.a: expected a bcrypt hash"),
        (
            &format!("basic_auth_users:\n  'a:b': {HASH}"),
            "line 2: basic_auth_users.a:b: expected a name without colons",
        ),
        ("rate_limit:\n  interval: 1", "line 2: rate_limit.interval: expected a duration"),
        ("rate_limit:\n  interval: 1s", "line 2: rate_limit.burst: expected a number from 1 on"),
        ("rate_limit:\n  interval: 1s\n  burst: 0", "line 3: rate_limit.burst: expected a number from 1 on"),
    ] {
        let error = refusal(text);
        assert!(error.starts_with(expected), "{text:?}: {error}");
    }
}

#[test]
fn what_stands_where_a_hash_should_be_is_never_shown() {
    let costly = HASH.replace("$10$", "$17$");
    for secret in ["hunter2", "$2y$10$short", "$2x$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234", &costly] {
        let error = refusal(&format!("basic_auth_users:\n  alice: {secret}\n"));
        assert!(error.contains("alice") && !error.contains(secret), "{error}");
    }
    assert!(!refusal("basic_auth_users:\n  alice: [hunter2]\n").contains("hunter2"));
    assert!(!refusal("tls_server_config:\n  cert: a\n  key: [hunter2]\n").contains("hunter2"));
}

#[test]
fn durations_are_written_as_in_go() {
    for (text, expected) in [
        ("0", Some(0)),
        ("1s", Some(1_000_000)),
        ("100ms", Some(100_000)),
        ("1.5s", Some(1_500_000)),
        ("1m30s", Some(90_000_000)),
        ("2us", Some(2)),
        ("", None),
        ("1", None),
        ("s", None),
        ("-1s", None),
        ("1d", None),
        ("1..5s", None),
    ] {
        assert_eq!(duration(text).map(|duration| duration.as_micros()), expected, "{text}");
    }
}

proptest! {
    // Whatever stands in the file, it is read or refused, and the refusal names a line.
    #[test]
    fn no_file_panics(
        part in "(tls_server_config|http_server_config|basic_auth_users|rate_limit|x)",
        key in "(cert|key|interval|burst|headers|client_auth_type|cipher_suites|[a-z]{0,4})",
        value in "[ -~µ]{0,30}",
    ) {
        if let Err(error) = read(&format!("{part}:\n  {key}: {value}\n"), Path::new("/")) {
            prop_assert!(error.starts_with("line "), "{error}");
        }
    }
}
