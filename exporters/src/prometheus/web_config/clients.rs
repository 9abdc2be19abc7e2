//! Which certificates of clients are taken: the five ways that Go knows.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::format::ClientAuth;
use super::x509;

/// Who may come in by a certificate.
#[derive(Debug)]
pub(super) struct Clients {
    /// Verifies chains; `None` where no certificate is verified.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    /// The authorities themselves: who shows one of these has its key.
    authorities: Vec<CertificateDer<'static>>,
    mandatory: bool,
    /// One of these must be in a certificate; empty: any will do.
    names: Vec<String>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Clients {
    /// What `auth` asks for; `authorities` are needed where it verifies.
    ///
    /// # Errors
    ///
    /// An authority that cannot be one.
    pub(super) fn new(
        auth: ClientAuth,
        authorities: Vec<CertificateDer<'static>>,
        names: Vec<String>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let chain = if auth.verifies() {
            let mut roots = RootCertStore::empty();
            for authority in &authorities {
                roots.add(authority.clone()).map_err(|error| error.to_string())?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
            Some(verifier.map_err(|error| error.to_string())?)
        } else {
            None
        };
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { chain, authorities, mandatory: auth.requires(), names, algorithms })
    }

    fn verify(
        &self,
        chain: &dyn ClientCertVerifier,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        // A certificate signed by itself is its own authority, as Go has it; webpki takes no authority for a client.
        if self.authorities.iter().any(|authority| **authority == **end_entity) {
            let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(now.as_secs());
            return match x509::validity(end_entity) {
                Some(time) if now > time.end => Err(CertificateError::Expired.into()),
                Some(time) if now < time.begin => Err(CertificateError::NotValidYet.into()),
                Some(_) => Ok(()),
                None => Err(CertificateError::BadEncoding.into()),
            };
        }
        chain.verify_client_cert(end_entity, intermediates, now).map(drop)
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.as_ref().map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chain) = &self.chain {
            self.verify(&**chain, end_entity, intermediates, now)?;
        }
        let allowed = |names: Vec<String>| names.iter().any(|name| self.names.contains(name));
        if !self.names.is_empty() && !x509::names(end_entity).is_some_and(allowed) {
            return Err(Error::General("no name in the client's certificate is in client_allowed_sans".into()));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
