//! Sets scenes for tests: stubs on threads of their own, which end with the test process, and a server that speaks TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

use crate::answer::{After, Answers};
use crate::http::{self, Framed, Framing};
use crate::stub::{Stats, Stub};
use crate::tls::{Files, Security, provider};

/// A stub; where it listens.
pub fn stub() -> SocketAddr {
    let (say, hear) = mpsc::channel();
    thread::spawn(move || {
        let stub = Stub::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        say.send(stub.address().unwrap()).unwrap();
        stub.serve()
    });
    hear.recv().unwrap()
}

/// What a stub has counted; the connection that asks is one of those counted.
pub fn stats(address: SocketAddr) -> Stats {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /stats HTTP/1.1\r\n\r\n").unwrap();
    let (head, body) = exchange(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200"), "got {head}");
    serde_json::from_slice(&body).unwrap()
}

/// Reads one response with a length.
pub fn exchange(stream: &mut impl Read) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "the connection ended after {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&chunk[..count]);
        if let Framed::Whole(head) = http::response(&bytes)
            && let Framing::Length(length) = head.framing
            && bytes.len() >= head.begin + length
        {
            let begin = head.begin;
            return (String::from_utf8(bytes[..begin].to_vec()).unwrap(), bytes.split_off(begin));
        }
    }
}

/// A handshake as the server saw it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Whether nothing of an earlier one was used.
    pub kind: HandshakeKind,
    /// The version agreed on.
    pub version: ProtocolVersion,
    /// Certificates that the client showed.
    pub certificates: usize,
}

/// A server that wants client certificates.
pub struct TlsServer {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    folder: TempDir,
}

impl TlsServer {
    /// One that answers as the stub does.
    pub fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let (issuer, ca) = authority();
        std::fs::write(folder.path().join("ca.pem"), &ca.1).unwrap();
        let (certificate, key) = leaf(&issuer, "agent.example");
        std::fs::write(folder.path().join("client.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("client.key"), key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ca.0).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let (certificate, key) = leaf(&issuer, "localhost");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, seen, config) = (listener.local_addr().unwrap(), Arc::default(), Arc::new(config));
        let at_server = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, session) = (Arc::clone(&at_server), ServerConnection::new(Arc::clone(&config)).unwrap());
                thread::spawn(move || serve(StreamOwned::new(session, stream.unwrap()), &seen));
            }
        });
        Self { address, seen, folder }
    }

    /// What a client needs to be served.
    pub fn security(&self) -> Security {
        let at = |name: &str| self.folder.path().join(name);
        let (ca, certificate, key): (PathBuf, PathBuf, PathBuf) = (at("ca.pem"), at("client.pem"), at("client.key"));
        Security::read(&Files { ca: &ca, certificate: &certificate, key: &key }).unwrap()
    }

    /// The handshakes of connections that asked something.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// Answers until the client leaves; the first request of a connection enters its handshake.
fn serve(mut stream: StreamOwned<ServerConnection, TcpStream>, seen: &Mutex<Vec<Seen>>) {
    let (mut answers, mut bytes, mut entered) = (Answers::default(), Vec::new(), false);
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..count]);
        let Framed::Whole(head) = http::request(&bytes) else { continue };
        let Framing::Length(length) = head.framing else { continue };
        if bytes.len() < head.begin + length {
            continue;
        }
        if !entered {
            entered = true;
            let (kind, version) = (stream.conn.handshake_kind().unwrap(), stream.conn.protocol_version().unwrap());
            let certificates = stream.conn.peer_certificates().map_or(0, <[_]>::len);
            seen.lock().unwrap().push(Seen { kind, version, certificates });
        }
        let mut out = Vec::new();
        let after = answers.respond(&bytes[head.begin..], &mut out);
        bytes.clear();
        if let After::Tail(tail) = after {
            out.extend_from_slice(&tail);
        }
        if stream.write_all(&out).is_err() {
            return;
        }
    }
}

fn authority() -> (Issuer<'static, KeyPair>, (CertificateDer<'static>, String)) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (Issuer::new(params, key), (certificate.der().clone(), certificate.pem()))
}

fn leaf(issuer: &Issuer<'_, KeyPair>, name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, issuer).unwrap();
    (certificate, key)
}

/// Whether client and server of the tests can agree on what the generator offers.
#[test]
fn the_generator_offers_one_version_one_group_one_suite() {
    let provider = provider();
    assert_eq!((provider.cipher_suites.len(), provider.kx_groups.len()), (1, 1));
}
