//! Sets TLS up. In: the settings' paths and keys. Out: what both ends of the gateway prove and ask, or every finding. Never here: handshakes.

use crate::disk::{self, Guard};
use crate::sources;
use crate::tls::{self, ClientCertificate, PemFile, ServerTls, ServerTlsSource};
use crate::witness::client;
use portcullis_core::config::settings::witness::Witness;
use portcullis_core::config::settings::{self, ListenTls, Server, Settings, UpstreamTls};
use portcullis_core::config::snapshot::SETTINGS_FILE;
use portcullis_core::diagnostic::{Diagnostic, Diagnostics};
use rustls::ClientConfig;
use std::path::Path;
use std::sync::Arc;

/// TLS on both sides.
pub struct Secured {
    /// Toward agents; nothing where the listener is plain.
    pub listen: Option<Arc<ServerTls>>,
    /// Toward upstreams, one entry a server; nothing where it is reached over plain HTTP.
    pub upstreams: Vec<Option<Arc<ClientConfig>>>,
}

/// Reads every certificate, key and authority that the settings name.
///
/// # Errors
/// Every finding of every file.
pub fn secure(settings: &Settings) -> Result<Secured, Diagnostics> {
    let mut findings = Diagnostics::new();
    let listen = settings.listen.tls.as_ref().and_then(|tls| listener(tls, &mut findings));
    // The public roots are the same for all: one configuration, one store of resumption secrets an upstream all the same.
    let upstreams = settings.servers.iter().map(|server| kept(upstream(server), &mut findings).flatten()).collect();
    findings.extend(settings.audit.witnesses.iter().filter_map(witness));
    if findings.is_empty() { Ok(Secured { listen, upstreams }) } else { Err(findings) }
}

/// What `secure` would read, as a digest: where it has not changed, TLS stays as it is, and sessions can still be resumed.
pub fn fingerprint(settings: &Settings) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let listen =
        settings.listen.tls.iter().flat_map(|tls| [Some(&tls.certificate), Some(&tls.key), tls.client_ca.as_ref()]);
    hasher.update(format!("{:?}", settings.listen.tls).as_bytes());
    for server in &settings.servers {
        hasher.update(format!("{:?}", (&server.name, &server.url, &server.ca)).as_bytes());
    }
    for path in listen.chain(settings.servers.iter().map(|server| server.ca.as_ref())).flatten() {
        // A file that cannot be read is told by `secure`; here it only has to look unlike one that can.
        let bytes = std::fs::read(path).map(|bytes| *blake3::hash(&bytes).as_bytes()).unwrap_or_default();
        hasher.update(&bytes);
    }
    hasher.finalize()
}

/// TLS toward one upstream; nothing where it is reached over plain HTTP.
pub fn upstream(server: &Server) -> Result<Option<Arc<ClientConfig>>, Diagnostic> {
    match (server.url.tls, &server.ca) {
        (UpstreamTls::Plain, _) => Ok(None),
        (UpstreamTls::Tls, None) => tls::client_config(None).map(Some),
        (UpstreamTls::Tls, Some(path)) => {
            let text = disk::read(path, Guard::Open).map_err(|failure| sources::refused(path, &failure))?;
            let name = path.display().to_string();
            tls::client_config(Some(PemFile { name: &name, text: text.as_bytes() })).map(Some)
        }
    }
}

fn listener(tls: &ListenTls, findings: &mut Diagnostics) -> Option<Arc<ServerTls>> {
    let certificate = read(&tls.certificate, Guard::Open, findings);
    let key = read(&tls.key, Guard::Private, findings);
    let client_ca = tls.client_ca.as_deref().map(|path| read(path, Guard::Open, findings));
    let ((certificate, certificate_name), (key, key_name)) = (certificate?, key?);
    let demand = match tls.client_certificate {
        settings::ClientCertificate::Required => ClientCertificate::Required,
        settings::ClientCertificate::Optional => ClientCertificate::Optional,
    };
    // An authority that is configured and cannot be read must not become a listener that asks for none.
    let client_ca = match &client_ca {
        None => None,
        Some(None) => return None,
        Some(Some((text, name))) => Some((PemFile { name, text: text.as_bytes() }, demand)),
    };
    let source = ServerTlsSource {
        certificate: PemFile { name: &certificate_name, text: certificate.as_bytes() },
        key: PemFile { name: &key_name, text: key.as_bytes() },
        client_ca,
    };
    kept(ServerTls::build(&source), findings).map(Arc::new)
}

/// What is wrong with a witness that the settings name.
fn witness(named: &Witness) -> Option<Diagnostic> {
    let cause = client::key(named).err()?;
    Some(
        Diagnostic::error(SETTINGS_FILE, None, cause)
            .help("write its key as `portcullis witness` tells it when it starts"),
    )
}

fn read(path: &Path, guard: Guard, findings: &mut Diagnostics) -> Option<(String, String)> {
    let read = disk::read(path, guard).map_err(|failure| sources::refused(path, &failure));
    Some((kept(read, findings)?, path.display().to_string()))
}

fn kept<T>(made: Result<T, Diagnostic>, findings: &mut Diagnostics) -> Option<T> {
    made.map_err(|finding| findings.push(finding)).ok()
}
