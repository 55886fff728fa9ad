//! Proves both ends of a connection to each other. In: certificates and keys as PEM, sockets. Out: TLS connections and
//! the peer's certificate. Never here: who a certificate stands for, files.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use portcullis_core::diagnostic::Diagnostic;
use portcullis_ring::Socket;
use portcullis_ring::spare::Buffers;
use rustls::client::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, HandshakeKind, RootCertStore};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::transport::{RecordError, TlsTransport};

/// A PEM text and the name under which the operator knows it.
#[derive(Clone, Copy)]
pub struct PemFile<'t> {
    /// The file as the operator named it.
    pub name: &'t str,
    /// Its content.
    pub text: &'t [u8],
}

/// What a listener proves, and what it asks its clients to prove.
pub struct ServerTlsSource<'t> {
    /// Our chain, our own certificate first.
    pub certificate: PemFile<'t>,
    /// The key of the first certificate.
    pub key: PemFile<'t>,
    /// Whom we trust to name clients, and whether one without a certificate may go on.
    pub client_ca: Option<(PemFile<'t>, ClientCertificate)>,
}

/// Whether a client must have a certificate. One that it shows must be valid in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// The handshake fails without one.
    Required,
    /// A client without one may still prove itself by a token.
    Optional,
}

/// The TLS side of a listener, shared by all cores: one configuration, one key for tickets.
///
/// Tickets are bound to it, so a new client CA (a new `ServerTls`) ends every resumption under the old one.
pub struct ServerTls {
    config: Arc<ServerConfig>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    certificate: Arc<Certificate>,
}

impl ServerTls {
    /// TLS 1.2 and 1.3 with HTTP/1.1.
    pub fn build(source: &ServerTlsSource<'_>) -> Result<Self, Diagnostic> {
        let provider = provider();
        let key = certified_key(source.certificate, source.key, &provider)?;
        let certificate = Arc::new(Certificate { key: ArcSwap::from_pointee(key) });
        let verifier = match &source.client_ca {
            None => None,
            Some((ca, demand)) => Some(client_verifier(*ca, *demand, &provider)?),
        };
        let config = Self::config(provider, certificate.clone(), verifier.clone()).map_err(|error| {
            Diagnostic::error(source.certificate.name, None, format!("tls cannot be set up: {error}"))
        })?;
        Ok(Self { config: Arc::new(config), verifier, certificate })
    }

    /// Serves another certificate from the next handshake on; connections that stand are not touched.
    pub fn replace_certificate(&self, certificate: PemFile<'_>, key: PemFile<'_>) -> Result<(), Diagnostic> {
        let key = certified_key(certificate, key, &provider())?;
        self.certificate.key.store(Arc::new(key));
        Ok(())
    }

    /// The configuration, for a listener of another kind.
    pub fn config_shared(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    fn config(
        provider: Arc<CryptoProvider>,
        certificate: Arc<Certificate>,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(certificate);
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        // One is what a client that comes back needs; each costs a record.
        config.send_tls13_tickets = 1;
        // RFC 7627 §5.1: without it a man in the middle can splice two TLS 1.2 sessions into one.
        config.require_ems = true;
        Ok(config)
    }
}

/// The TLS side toward upstreams: the given roots, or those that browsers trust.
///
/// Resumption is kept in it, so one is shared by all cores for each upstream.
pub fn client_config(ca: Option<PemFile<'_>>) -> Result<Arc<ClientConfig>, Diagnostic> {
    let roots = match ca {
        Some(ca) => roots(ca)?,
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
    };
    let place = ca.map_or("the public roots", |ca| ca.name);
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Diagnostic::error(place, None, format!("tls cannot be set up: {error}")))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(Arc::new(config))
}

/// Takes a client's handshake; with it comes its certificate (DER), on a resumed session too. A client that is refused
/// is told so by an alert. Set a deadline on the socket before.
pub async fn accept_tls(
    socket: Socket,
    tls: &ServerTls,
    buffers: Rc<Buffers>,
) -> Result<(TlsTransport, Option<CertificateDer<'static>>), TlsError> {
    let connection = rustls::ServerConnection::new(tls.config.clone()).map_err(|error| TlsError::of(&error))?;
    let mut transport = TlsTransport::new(socket, connection.into(), buffers);
    transport.handshake().await?;
    let resumed = transport.connection.handshake_kind() == Some(HandshakeKind::Resumed);
    let chain = transport.connection.peer_certificates().unwrap_or_default();
    let Some((own, intermediates)) = chain.split_first() else { return Ok((transport, None)) };
    // A ticket proves that the certificate was valid when it was written, which may be hours ago.
    if let Some(verifier) = tls.verifier.as_ref().filter(|_| resumed) {
        verifier.verify_client_cert(own, intermediates, UnixTime::now()).map_err(|error| TlsError::of(&error))?;
    }
    let own = own.clone().into_owned();
    Ok((transport, Some(own)))
}

/// Makes a handshake with an upstream of this name. Set a deadline on the socket before.
pub async fn connect_tls(
    socket: Socket,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    buffers: Rc<Buffers>,
) -> Result<TlsTransport, TlsError> {
    let connection = rustls::ClientConnection::new(config, name).map_err(|error| TlsError::of(&error))?;
    let mut transport = TlsTransport::new(socket, connection.into(), buffers);
    transport.handshake().await?;
    Ok(transport)
}

/// Why a handshake failed.
#[derive(Debug)]
pub enum TlsError {
    /// The connection broke.
    Io(io::Error),
    /// The peer left in the middle.
    Closed,
    /// The client showed no certificate, and one is required.
    CertificateMissing,
    /// A certificate of an authority that we do not trust.
    CertificateUnknownIssuer,
    /// A certificate whose time is over.
    CertificateExpired,
    /// A certificate whose time has not come.
    CertificateNotYetValid,
    /// A certificate that was not issued for this use.
    CertificatePurpose,
    /// A certificate for another name.
    CertificateName,
    /// A certificate that is invalid for another cause, such as an authority's own.
    CertificateInvalid(String),
    /// The peer refused us.
    AlertReceived(String),
    /// The peer does not speak TLS as we do.
    Protocol(String),
}

impl TlsError {
    /// The name in records and metrics, stable.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Io(_) => "tls-io",
            Self::Closed => "tls-closed",
            Self::CertificateMissing => "certificate-missing",
            Self::CertificateUnknownIssuer => "certificate-unknown-issuer",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotYetValid => "certificate-not-yet-valid",
            Self::CertificatePurpose => "certificate-purpose",
            Self::CertificateName => "certificate-name",
            Self::CertificateInvalid(_) => "certificate-invalid",
            Self::AlertReceived(_) => "tls-alert-received",
            Self::Protocol(_) => "tls-protocol",
        }
    }

    fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::NoCertificatesPresented => Self::CertificateMissing,
            rustls::Error::AlertReceived(alert) => Self::AlertReceived(format!("{alert:?}")),
            rustls::Error::InvalidCertificate(fault) => match fault {
                CertificateError::UnknownIssuer => Self::CertificateUnknownIssuer,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::CertificateExpired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::CertificateNotYetValid
                }
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                    Self::CertificatePurpose
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::CertificateName
                }
                // Not ours and open-ended: whatever it is, the certificate is refused.
                other => Self::CertificateInvalid(other.to_string()),
            },
            other => Self::Protocol(other.to_string()),
        }
    }
}

impl From<RecordError> for TlsError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Io(error) => Self::Io(error),
            RecordError::Refused(error) => Self::of(&error),
            RecordError::Truncated => Self::Closed,
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(out, "the connection broke during the handshake: {error}"),
            Self::Closed => out.write_str("the peer left during the handshake"),
            Self::CertificateMissing => out.write_str("the peer showed no certificate"),
            Self::CertificateUnknownIssuer => out.write_str("the peer's certificate is of an unknown authority"),
            Self::CertificateExpired => out.write_str("the peer's certificate has expired"),
            Self::CertificateNotYetValid => out.write_str("the peer's certificate is not valid yet"),
            Self::CertificatePurpose => out.write_str("the peer's certificate was not issued for this use"),
            Self::CertificateName => out.write_str("the peer's certificate is for another name"),
            Self::CertificateInvalid(cause) => write!(out, "the peer's certificate is invalid: {cause}"),
            Self::AlertReceived(alert) => write!(out, "the peer refused the handshake with the alert `{alert}`"),
            Self::Protocol(cause) => write!(out, "the peer does not speak tls as expected: {cause}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// The certificate of the next handshake.
#[derive(Debug)]
struct Certificate {
    key: ArcSwap<CertifiedKey>,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.load_full())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn client_verifier(
    ca: PemFile<'_>,
    demand: ClientCertificate,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Diagnostic> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider.clone());
    let builder = match demand {
        ClientCertificate::Required => builder,
        ClientCertificate::Optional => builder.allow_unauthenticated(),
    };
    let verifier = builder.build();
    verifier.map_err(|error| Diagnostic::error(ca.name, None, format!("clients cannot be checked with it: {error}")))
}

fn roots(ca: PemFile<'_>) -> Result<RootCertStore, Diagnostic> {
    let mut store = RootCertStore::empty();
    for (index, certificate) in chain(ca)?.into_iter().enumerate() {
        store.add(certificate).map_err(|error| {
            let message = format!("certificate {} cannot be a trusted authority: {error}", index + 1);
            Diagnostic::error(ca.name, None, message).help("give the authority's own certificate, in X.509 version 3")
        })?;
    }
    Ok(store)
}

fn chain(file: PemFile<'_>) -> Result<Vec<CertificateDer<'static>>, Diagnostic> {
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(file.text).collect();
    let chain = chain.map_err(|error| Diagnostic::error(file.name, None, format!("not valid pem: {error}")))?;
    if chain.is_empty() {
        return Err(Diagnostic::error(file.name, None, "there is no certificate in it")
            .help("give a pem file with `-----BEGIN CERTIFICATE-----`"));
    }
    Ok(chain)
}

fn certified_key(
    certificate: PemFile<'_>,
    key: PemFile<'_>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Diagnostic> {
    let chain = chain(certificate)?;
    // The error is not shown: it could quote the key.
    let private = PrivateKeyDer::from_pem_slice(key.text).map_err(|_| {
        Diagnostic::error(key.name, None, "there is no private key in it")
            .help("give a pem file with `-----BEGIN PRIVATE KEY-----`, not encrypted")
    })?;
    let signer = provider.key_provider.load_private_key(private).map_err(|_| {
        Diagnostic::error(key.name, None, "the private key is of a kind that cannot be used")
            .help("use an ecdsa key on p-256 or p-384, an ed25519 key, or an rsa key of 2048 bits or more")
    })?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(Diagnostic::error(
            key.name,
            None,
            format!("the private key does not belong to the first certificate in `{}`", certificate.name),
        )
        .help("put the server's own certificate first, before those of its authorities")),
        Err(error) => {
            Err(Diagnostic::error(certificate.name, None, format!("the first certificate cannot be used: {error}")))
        }
    }
}

/// RFC 7301 §6.
const HTTP_1_1: &[u8] = b"http/1.1";

#[cfg(test)]
mod tests;
