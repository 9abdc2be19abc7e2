//! From PEM to what a handshake needs.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerConfig, ServerSessionMemoryCache};
use rustls::{Error, InconsistentKeys};

use super::clients::Clients;
use super::format::{ClientAuth, Pem, Source, Tls};
use super::x509::{Validity, validity};

/// Every authority there is fits in.
const LONGEST: u64 = 4 << 20;

/// Everything of `tls_server_config`, read and found to fit together.
///
/// # Errors
///
/// The key of the file, the file it names, and what was expected in it.
pub(super) fn server_config(tls: &Tls) -> Result<(Arc<ServerConfig>, Validity), String> {
    let chain = certificates(&tls.certificate)?;
    let first = chain.first().ok_or_else(|| wrong(&tls.certificate, "expected a certificate"))?;
    let validity = validity(first).ok_or_else(|| wrong(&tls.certificate, "expected an X.509 certificate"))?;
    let key = private_key(&tls.key)?;
    let mut provider = CryptoProvider { cipher_suites: tls.suites.clone(), ..aws_lc_rs::default_provider() };
    if let Some(groups) = &tls.groups {
        provider.kx_groups.clone_from(groups);
    }
    let provider = Arc::new(provider);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&tls.versions);
    let builder = builder.map_err(|error| format!("tls_server_config: {error}"))?;
    let builder = match tls.clients {
        ClientAuth::None => builder.with_no_client_auth(),
        auth => {
            let authorities = tls.authorities.as_ref().map(certificates).transpose()?.unwrap_or_default();
            let clients = Clients::new(auth, authorities, tls.names.clone(), &provider).map_err(|error| {
                let key = tls.authorities.as_ref().map_or("client_ca_file", |pem| pem.key);
                format!("tls_server_config.{key}: {error}")
            });
            builder.with_client_cert_verifier(Arc::new(clients?))
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            wrong(&tls.key, "expected the key of the certificate, found the key of another")
        }
        Error::InvalidCertificate(error) => wrong(&tls.certificate, &format!("expected a certificate: {error}")),
        error => wrong(&tls.key, &format!("expected a private key that TLS can use: {error}")),
    })?;
    config.ignore_client_order = tls.own_order;
    // As many as there are clients at a time; the default keeps four times as many chains of certificates in memory.
    config.session_storage = ServerSessionMemoryCache::new(64);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), validity))
}

/// The certificates of a PEM, of which there is at least one.
fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = text(pem)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| wrong(pem, &format!("expected certificates as PEM: {error}")))?;
    if found.is_empty() {
        return Err(wrong(pem, "expected -----BEGIN CERTIFICATE-----, found none"));
    }
    Ok(found)
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, String> {
    let text = text(pem)?;
    let is_encrypted = |mark: &[u8]| text.windows(mark.len()).any(|part| part == mark);
    if is_encrypted(b"BEGIN ENCRYPTED PRIVATE KEY") || is_encrypted(b"Proc-Type: 4,ENCRYPTED") {
        return Err(wrong(pem, "expected a private key without a passphrase, found an encrypted one"));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| wrong(pem, "expected a private key as PEM, found none"))
}

fn text(pem: &Pem) -> Result<Vec<u8>, String> {
    let path = match &pem.source {
        Source::Inline(text) => return Ok(text.clone().into_bytes()),
        Source::File(path) => path,
    };
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut text));
    read.map(|_| text).map_err(|error| wrong(pem, &format!("cannot read it: {error}")))
}

fn wrong(pem: &Pem, what: &str) -> String {
    match &pem.source {
        Source::File(path) => format!("tls_server_config.{} {}: {what}", pem.key, path.display()),
        Source::Inline(_) => format!("tls_server_config.{}: {what}", pem.key),
    }
}
