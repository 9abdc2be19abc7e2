//! What a file says, made ready to be followed.

use std::path::{Path, PathBuf};

use hyper::header::{HeaderName, HeaderValue};
use tokio_rustls::TlsAcceptor;

use super::certificates::server_config;
use super::format::{ClientAuth, Pem, Settings, Source, Tls, read};
use super::passwords::Users;
use super::rate::Rate;
use super::stamp::{Stamp, read_text};
use super::x509::Validity;
use crate::prometheus::Guard;

/// A file's settings, with everything they name.
pub(super) struct Rules {
    pub tls: Option<TlsAcceptor>,
    pub validity: Option<Validity>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub users: Option<Users>,
    pub rate: Option<Rate>,
    pub guard: Guard,
    /// The files that nobody else should read.
    pub secrets: Vec<PathBuf>,
}

/// Files, and how they were when they were read.
pub(super) type Seen = Vec<(PathBuf, Option<Stamp>)>;

/// Reads a file and all that it names, and says what was looked at, whatever came of it.
pub(super) fn load(path: &Path) -> (Seen, Result<Rules, String>) {
    // Each file is stamped before it is read: what changes meanwhile is read once more.
    let mut seen = vec![stamped(path.to_owned())];
    let folder = path.parent().unwrap_or(Path::new(""));
    let settings = read_text(path).and_then(|text| read(&text, folder));
    let rules = settings.and_then(|settings| {
        seen.extend(settings.tls.iter().flat_map(files).map(stamped));
        rules(path, settings)
    });
    (seen, rules)
}

fn stamped(path: PathBuf) -> (PathBuf, Option<Stamp>) {
    let stamp = Stamp::of(&path);
    (path, stamp)
}

fn files(tls: &Tls) -> Vec<PathBuf> {
    [Some(&tls.certificate), Some(&tls.key), tls.authorities.as_ref()].into_iter().flatten().filter_map(file).collect()
}

fn file(pem: &Pem) -> Option<PathBuf> {
    match &pem.source {
        Source::File(path) => Some(path.clone()),
        Source::Inline(_) => None,
    }
}

fn rules(path: &Path, settings: Settings) -> Result<Rules, String> {
    let Settings { tls, headers, users, rate } = settings;
    let ready = tls.as_ref().map(server_config).transpose()?;
    let mut secrets = Vec::new();
    let key = tls.as_ref().map(|tls| &tls.key);
    if !users.is_empty() || key.is_some_and(|key| file(key).is_none()) {
        secrets.push(path.to_owned());
    }
    secrets.extend(key.and_then(file));
    let guard = Guard {
        tls: tls.is_some(),
        password: !users.is_empty(),
        client_certificate: tls.is_some_and(|tls| tls.clients == ClientAuth::RequireAndVerify),
    };
    let (tls, validity) = ready.map(|(config, validity)| (TlsAcceptor::from(config), validity)).unzip();
    Ok(Rules { tls, validity, headers, users: Users::new(users), rate, guard, secrets })
}
