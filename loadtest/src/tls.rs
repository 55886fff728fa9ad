//! Sets up TLS as all subjects are asked to speak it. In: PEM files. Out: what a handshake needs. Version, group and suite are fixed,
//! so that every subject does the same work; they are what OpenSSL and rustls choose by themselves.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// The name that servers under test prove to have.
const SERVER_NAME: &str = "localhost";

/// What every connection of a load is secured with.
#[derive(Clone)]
pub struct Security {
    config: Arc<ClientConfig>,
}

/// Where the files lie.
pub struct Files<'f> {
    /// The authorities of the server's certificate.
    pub ca: &'f Path,
    /// Our certificate, leaf first.
    pub certificate: &'f Path,
    /// Its key.
    pub key: &'f Path,
}

/// What every handshake offers and nothing else: TLS 1.3, X25519, AES-256-GCM.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    }
}

impl Security {
    /// Reads the files.
    ///
    /// # Errors
    /// When one is missing or holds something else.
    pub fn read(files: &Files<'_>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for root in certificates(files.ca)? {
            roots.add(root).with_context(|| format!("`{}` holds no authority", files.ca.display()))?;
        }
        let key = PrivateKeyDer::from_pem_file(files.key)
            .with_context(|| format!("`{}` holds no key", files.key.display()))?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(files.certificate)?, key)
            .with_context(|| {
                format!("`{}` is not the key of `{}`", files.key.display(), files.certificate.display())
            })?;
        // Every handshake is a full one.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config) })
    }

    /// The beginning of a handshake.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn begin(&self) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(
            Arc::clone(&self.config),
            ServerName::try_from(SERVER_NAME).map_err(|_| rustls::Error::General(SERVER_NAME.to_owned()))?,
        )
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(|found| found.collect::<Result<Vec<_>, _>>())
        .with_context(|| format!("`{}` holds no certificates", path.display()))
}
