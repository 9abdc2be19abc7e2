//! TLS and passwords of an agent that is looked at from elsewhere.

use std::io::{Error, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error as Refused, RootCertStore, SignatureScheme,
    StreamOwned,
};

/// What a connection is made with.
#[derive(Clone, Debug)]
pub(super) struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Trusts the certificates of a file, or those of the system.
    ///
    /// # Errors
    ///
    /// What of it cannot be used, for a person.
    pub(super) fn new(authorities: Option<&Path>) -> Result<Self, String> {
        let (given, from) = match authorities {
            Some(path) => {
                let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
                let found = found.map_err(|error| format!("{}: {error}", path.display()))?;
                (found, path.display().to_string())
            }
            None => (rustls_native_certs::load_native_certs().certs, "this system".to_owned()),
        };
        let mut roots = RootCertStore::empty();
        let (good, _) = roots.add_parsable_certificates(given.iter().cloned());
        if good == 0 {
            return Err(format!("{from} has no certificates to trust: expected PEM of whoever signs the agent's"));
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let chain = chain.map_err(|error| error.to_string())?;
        // The system's are authorities and no agents.
        let own = if authorities.is_some() { given } else { Vec::new() };
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?.dangerous();
        let config = config.with_custom_certificate_verifier(Arc::new(Servers { chain, own }));
        Ok(Self(Arc::new(config.with_no_client_auth())))
    }

    /// The agent called `host` at the other end of a connection.
    pub(super) fn speak(&self, host: &str, stream: TcpStream) -> std::io::Result<impl Read + Write + use<>> {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(Error::other)?;
        let connection = ClientConnection::new(Arc::clone(&self.0), name).map_err(Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    }
}

/// Verifies as usual, but takes a certificate that is given itself: one signed by itself, which is what most agents
/// have, is no authority to webpki.
#[derive(Debug)]
struct Servers {
    chain: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Refused> {
        if self.own.iter().any(|own| **own == **end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.chain.verify_server_cert(end_entity, intermediates, name, stapled, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Refused> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Refused> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// The header of `NAME:PASSWORD` as it stands in a URL.
pub(super) fn authorization(userinfo: &str) -> Option<String> {
    let decoded = percent_decoded(userinfo)?;
    userinfo.contains(':').then(|| format!("Authorization: Basic {}\r\n", STANDARD.encode(decoded)))
}

/// RFC 3986, section 2.1.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok().filter(|_| !code.starts_with('+'))?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_may_be_any() {
        assert_eq!(authorization("a:b"), Some("Authorization: Basic YTpi\r\n".into()));
        assert_eq!(
            authorization("a:%40%2f%C3%A4"),
            Some(format!("Authorization: Basic {}\r\n", STANDARD.encode("a:@/ä")))
        );
        for bad in ["a", "a:%4", "a:%zz", "a:%+1"] {
            assert_eq!(authorization(bad), None, "{bad}");
        }
    }
}
