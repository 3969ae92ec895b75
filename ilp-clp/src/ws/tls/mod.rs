//! TLS settings, by rustls on ring.

mod certificate;
mod verify;

pub use certificate::Certificate;
pub(super) use certificate::key_sha256;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::{Arc, PoisonError, RwLock};
use thiserror::Error;
use verify::{AnyCertificate, OneKey};

/// A server's certificate and key, and what it asks of clients. Clones share what [`replace`](Self::replace) replaces.
#[derive(Debug, Clone)]
pub struct TlsServerConfig(Shared<ServerConfig>);

/// Which servers a client trusts, and how it shows who it is. Clones share what [`replace`](Self::replace) replaces.
#[derive(Debug, Clone)]
pub struct TlsClientConfig(Shared<ClientConfig>);

type Shared<T> = Arc<RwLock<Arc<T>>>;

fn shared<T>(config: T) -> Shared<T> {
    Arc::new(RwLock::new(Arc::new(config)))
}

fn current<T>(shared: &Shared<T>) -> Arc<T> {
    Arc::clone(&shared.read().unwrap_or_else(PoisonError::into_inner))
}

fn replace<T>(shared: &Shared<T>, with: &Shared<T>) {
    let with = current(with);
    *shared.write().unwrap_or_else(PoisonError::into_inner) = with;
}

/// Whether a client has to have a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientCertificates {
    /// Without one its handshake fails.
    #[default]
    Required,
    /// It may have none; one that it has must be right.
    Optional,
}

/// Why certificates or keys can't be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The PEM text is damaged, or holds no key. Only what is wrong, never what is there: it may be a key.
    #[error("cannot read the PEM text: {0}")]
    Pem(&'static str),
    /// The PEM text holds no certificate.
    #[error("no certificate in the PEM text")]
    NoCertificate,
    /// The certificate or key is refused, for example because they don't belong together.
    #[error("cannot use the certificate: {0}")]
    Rustls(#[from] rustls::Error),
    /// No client could be verified by these authorities.
    #[error("cannot verify clients: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The library's own errors quote the text, which is all of a key that stands on one line.
impl From<rustls::pki_types::pem::Error> for TlsError {
    fn from(error: rustls::pki_types::pem::Error) -> Self {
        use rustls::pki_types::pem::Error;
        Self::Pem(match error {
            Error::MissingSectionEnd { .. } => "a section has no END line of its own",
            Error::IllegalSectionStart { .. } => "a BEGIN line isn't a line of its own",
            Error::Base64Decode(_) => "what is between BEGIN and END isn't base64",
            Error::NoItemsFound => "there is no private key in it",
            Error::SectionTooLarge => "a section is too large",
            _ => "it is damaged",
        })
    }
}

impl TlsServerConfig {
    /// From a PEM certificate chain (the server's own certificate first) and its PEM private key: TLS 1.2 and 1.3, no early data, clients
    /// aren't asked for certificates.
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
        Ok(Self(shared(config)))
    }

    /// From settings of the caller's own.
    pub fn from_rustls(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    /// The same, but a client is asked for a certificate. It may have none, or any whose key it holds: whether that is the right one for the
    /// account that it claims is for whoever authenticates it ([`Socket::certificate`](super::Socket::certificate)).
    ///
    /// # Errors
    /// If the cryptographic provider refuses its own defaults; not expected.
    pub fn asking_for_certificates(&self) -> Result<Self, TlsError> {
        let verifier = AnyCertificate { provider: Arc::new(ring::default_provider()) };
        self.with_verifier(Arc::new(verifier))
    }

    /// The same, but a client's certificate must come from one of the authorities in a PEM text: with another one its handshake fails.
    ///
    /// # Errors
    /// If the text holds no certificate, or one that can't be an authority.
    pub fn with_client_ca_pem(&self, roots: &[u8], certificates: ClientCertificates) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots_from_pem(roots)?), provider);
        let verifier = match certificates {
            ClientCertificates::Required => verifier,
            ClientCertificates::Optional => verifier.allow_unauthenticated(),
        };
        self.with_verifier(verifier.build()?)
    }

    /// From now on handshakes use what `with` has, for all clones of this. Connections that are there go on.
    pub fn replace(&self, with: &Self) {
        replace(&self.0, &with.0);
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        current(&self.0)
    }

    fn with_verifier(&self, verifier: Arc<dyn ClientCertVerifier>) -> Result<Self, TlsError> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&self.current().cert_resolver));
        Ok(Self(shared(config)))
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
        Self::with_roots(roots_from_pem(roots)?)
    }

    /// Trusts the holder of one key: that of the first certificate in a PEM text, whoever signed it and whatever names and dates it holds.
    /// The way for two operators who exchanged certificates; a renewed one with the same key is trusted too.
    ///
    /// # Errors
    /// If the text holds no certificate.
    pub fn trusting_certificate_pem(certificate: &[u8]) -> Result<Self, TlsError> {
        let trusted = Certificate::from_pem(certificate)?.key_sha256;
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(OneKey { trusted, provider: Arc::clone(&provider) });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Self(shared(config)))
    }

    /// From settings of the caller's own, for example with a client certificate.
    pub fn from_rustls(config: Arc<ClientConfig>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    /// The same, and shows this certificate to servers that ask for one: PEM chain and PEM private key.
    ///
    /// # Errors
    /// If either can't be read, or they don't belong together.
    pub fn with_certificate_pem(&self, certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let (chain, key) = (certificates_from_pem(certificates)?, PrivateKeyDer::from_pem_slice(key)?);
        let own = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
        let mut config = ClientConfig::clone(&self.current());
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(own));
        Ok(Self(shared(config)))
    }

    /// From now on handshakes use what `with` has, for all clones of this. Connections that are there go on.
    pub fn replace(&self, with: &Self) {
        replace(&self.0, &with.0);
    }

    pub(super) fn current(&self) -> Arc<ClientConfig> {
        current(&self.0)
    }

    fn with_roots(store: RootCertStore) -> Result<Self, TlsError> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self(shared(config)))
    }
}

fn roots_from_pem(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates_from_pem(pem)? {
        store.add(certificate)?;
    }
    Ok(store)
}

fn certificates_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() { Err(TlsError::NoCertificate) } else { Ok(certificates) }
}
