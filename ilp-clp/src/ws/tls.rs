//! TLS settings, by rustls on ring.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use std::sync::Arc;
use thiserror::Error;

/// A server's certificate and key.
#[derive(Debug, Clone)]
pub struct TlsServerConfig(pub(super) Arc<ServerConfig>);

/// Which servers a client trusts.
#[derive(Debug, Clone)]
pub struct TlsClientConfig(pub(super) Arc<ClientConfig>);

/// Why certificates or keys can't be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The PEM text is damaged, or holds no key.
    #[error("cannot read the PEM text: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// The PEM text holds no certificate.
    #[error("no certificate in the PEM text")]
    NoCertificate,
    /// The certificate or key is refused, for example because they don't belong together.
    #[error("cannot use the certificate: {0}")]
    Rustls(#[from] rustls::Error),
}

impl TlsServerConfig {
    /// From a PEM certificate chain (the server's own certificate first) and its PEM private key.
    ///
    /// # Errors
    /// If either can't be read, or they don't belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates_from_pem(certificates)?;
        let key = PrivateKeyDer::from_pem_slice(key)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Self(Arc::new(config)))
    }

    /// From settings of the caller's own, for example with client certificates.
    pub fn from_rustls(config: Arc<ServerConfig>) -> Self {
        Self(config)
    }
}

impl TlsClientConfig {
    /// Trusts the certificate authorities that browsers trust (Mozilla's list, compiled in).
    ///
    /// # Errors
    /// If the cryptographic provider refuses its own defaults; not expected.
    pub fn public_roots() -> Result<Self, TlsError> {
        Self::with_roots(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
    }

    /// Trusts the certificate authorities in a PEM text, and no others.
    ///
    /// # Errors
    /// If the text holds no certificate, or one that can't be an authority.
    pub fn with_roots_pem(roots: &[u8]) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for certificate in certificates_from_pem(roots)? {
            store.add(certificate)?;
        }
        Self::with_roots(store)
    }

    /// Trusts exactly one server certificate, the first in a PEM text, whoever signed it and whatever names it holds: the way for
    /// two operators who exchanged certificates.
    ///
    /// # Errors
    /// If the text holds no certificate.
    pub fn trusting_certificate_pem(certificate: &[u8]) -> Result<Self, TlsError> {
        let trusted = certificates_from_pem(certificate)?.into_iter().next().ok_or(TlsError::NoCertificate)?;
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(OneCertificate { trusted, provider: Arc::clone(&provider) });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// From settings of the caller's own, for example with a client certificate.
    pub fn from_rustls(config: Arc<ClientConfig>) -> Self {
        Self(config)
    }

    fn with_roots(store: RootCertStore) -> Result<Self, TlsError> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

fn certificates_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() { Err(TlsError::NoCertificate) } else { Ok(certificates) }
}

/// Accepts one certificate, byte for byte, from a server that proves to hold its key.
///
/// Not the same as making it a trust anchor: that fails for self-signed certificates which call themselves an authority, as those
/// of `openssl req -x509` do.
#[derive(Debug)]
struct OneCertificate {
    trusted: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OneCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if end_entity.as_ref() == self.trusted.as_ref() {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
