//! Handshakes with a client of the standard library's sockets, on loopback: refusals first.

use super::*;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use portcullis_ring::{CoreConfig, Listener, run};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, StreamOwned, SupportedProtocolVersion};

use crate::transport::Transport;

/// A certificate and its key, in PEM, and the certificate in DER.
struct Identity {
    certificate: String,
    key: String,
    der: Vec<u8>,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    key: String,
}

impl Authority {
    /// An authority with a name of its own.
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        Self::named(&format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed)))
    }

    fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().pem();
        let text = key.serialize_pem();
        Self { issuer: Issuer::new(params, key), certificate, key: text }
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
    }

    fn server(&self) -> Identity {
        self.issue(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])
    }

    fn client(&self) -> Identity {
        self.issue(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth])
    }

    fn file(&self) -> PemFile<'_> {
        file("ca.pem", &self.certificate)
    }
}

fn file<'t>(name: &'t str, text: &'t str) -> PemFile<'t> {
    PemFile { name, text: text.as_bytes() }
}

fn source<'t>(server: &'t Identity, client_ca: Option<(PemFile<'t>, ClientCertificate)>) -> ServerTlsSource<'t> {
    ServerTlsSource {
        certificate: file("edge.pem", &server.certificate),
        key: file("edge.key", &server.key),
        client_ca,
    }
}

fn peer_config(
    authority: &Authority,
    client: Option<&Identity>,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let builder = builder.with_root_certificates(roots(authority.file()).unwrap());
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => builder
            .with_client_auth_cert(
                chain(file("c", &client.certificate)).unwrap(),
                PrivateKeyDer::from_pem_slice(client.key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    Arc::new(config)
}

type Peer = StreamOwned<ClientConnection, TcpStream>;

/// A client on a thread of its own.
fn peer<T: Send + 'static>(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    act: impl FnOnce(&mut Peer) -> T + Send + 'static,
) -> JoinHandle<T> {
    std::thread::spawn(move || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        act(&mut StreamOwned::new(connection, stream))
    })
}

fn on_a_core<F: Future<Output = ()>>(test: impl FnOnce(Listener, Rc<Buffers>) -> F) {
    run(&CoreConfig { cpu: None, entries: 64 }, async {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
        test(listener, Rc::new(Buffers::new())).await;
    })
    .unwrap();
}

/// Lets one client in and returns what came of its handshake, and what it read before its end.
fn handshake(tls: &ServerTls, config: Arc<ClientConfig>) -> (Result<Option<Vec<u8>>, TlsError>, io::Result<String>) {
    let mut outcome = None;
    on_a_core(|listener, buffers| {
        let outcome = &mut outcome;
        async move {
            let client = peer(listener.local_address(), config, |stream| {
                let mut answer = String::new();
                stream.read_to_string(&mut answer).map(|_| answer)
            });
            let (socket, _) = listener.accept().await.unwrap();
            let accepted = match accept_tls(socket, tls, buffers).await {
                Ok((transport, certificate)) => {
                    let mut transport = Transport::Tls(Box::new(transport));
                    transport.send_all(b"welcome".to_vec()).await.0.unwrap();
                    transport.close().await;
                    Ok(certificate.map(|certificate| certificate.to_vec()))
                }
                Err(error) => Err(error),
            };
            *outcome = Some((accepted, client.join().unwrap()));
        }
    });
    outcome.unwrap()
}

#[test]
fn a_client_that_cannot_prove_itself_is_refused_with_an_alert() {
    let (authority, foreign) = (Authority::named("agents"), Authority::new());
    let forged = Authority::named("agents");
    let server = authority.server();
    let tls = ServerTls::build(&source(&server, Some((authority.file(), ClientCertificate::Required)))).unwrap();
    let optional = ServerTls::build(&source(&server, Some((authority.file(), ClientCertificate::Optional)))).unwrap();
    let client_use = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let expired = authority.issue(|params| {
        params.extended_key_usages = client_use.clone();
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    });
    let early = authority.issue(|params| {
        params.extended_key_usages = client_use.clone();
        params.not_before = rcgen::date_time_ymd(2090, 1, 1);
    });
    let as_leaf = Identity { certificate: authority.certificate.clone(), key: authority.key.clone(), der: Vec::new() };
    let issued_authority = authority.issue(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    for version in [&TLS12, &TLS13] {
        for (client, name, alert) in [
            (None, "certificate-missing", "CertificateRequired"),
            (Some(&foreign.client()), "certificate-unknown-issuer", "UnknownCA"),
            (Some(&forged.client()), "certificate-invalid", "DecryptError"),
            (Some(&expired), "certificate-expired", "CertificateExpired"),
            (Some(&early), "certificate-not-yet-valid", "CertificateExpired"),
            (Some(&authority.server()), "certificate-purpose", "UnsupportedCertificate"),
            (Some(&as_leaf), "certificate-invalid", "CertificateUnknown"),
            (Some(&issued_authority), "certificate-invalid", "CertificateUnknown"),
        ] {
            let config = peer_config(&authority, client, version);
            let (refusal, seen) = handshake(&tls, config.clone());
            let refusal = refusal.unwrap_err();
            assert_eq!(refusal.name(), name, "{refusal}");
            let seen = seen.unwrap_err().to_string();
            assert!(seen.contains("fatal alert") && seen.contains(alert), "{name}: {seen}");
            // What is optional is to show one; what is shown must be valid.
            let shown = handshake(&optional, config).0.map_err(|error| error.name());
            assert_eq!(shown, if client.is_none() { Ok(None) } else { Err(name) });
        }
    }
}

#[test]
fn a_client_of_another_protocol_is_refused() {
    let authority = Authority::new();
    let tls = ServerTls::build(&source(&authority.server(), None)).unwrap();
    let mut config = ClientConfig::clone(&peer_config(&authority, None, &TLS13));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (refusal, seen) = handshake(&tls, Arc::new(config));
    assert_eq!(refusal.unwrap_err().name(), "tls-protocol");
    assert!(seen.unwrap_err().to_string().contains("NoApplicationProtocol"));

    on_a_core(|listener, buffers| async move {
        for (bytes, name) in
            [(&b"GET / HTTP/1.1\r\n\r\n"[..], "tls-protocol"), (b"\x16\x03\x01", "tls-closed"), (b"", "tls-closed")]
        {
            let mut stream = TcpStream::connect(listener.local_address()).unwrap();
            stream.write_all(bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let (socket, _) = listener.accept().await.unwrap();
            let refusal = accept_tls(socket, &tls, buffers.clone()).await.map(drop).unwrap_err();
            assert_eq!(refusal.name(), name, "{refusal}");
        }
    });
}

#[test]
fn an_upstream_that_cannot_prove_its_name_is_refused() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let server = authority.server();
    let client_only = authority.client();
    let dialled = |identity: &Identity, ca: &Authority, name: &'static str| {
        let tls = ServerTls::build(&source(identity, None)).unwrap();
        let config = client_config(Some(ca.file())).unwrap();
        let mut outcome = None;
        on_a_core(|listener, buffers| {
            let outcome = &mut outcome;
            async move {
                let address = listener.local_address();
                let served = buffers.clone();
                portcullis_ring::spawn(async move {
                    let (socket, _) = listener.accept().await.unwrap();
                    drop(accept_tls(socket, &tls, served).await);
                });
                let socket = Socket::new_stream(&address).unwrap();
                socket.connect(address).await.unwrap();
                let name = ServerName::try_from(name).unwrap();
                *outcome = Some(connect_tls(socket, config, name, buffers).await.map(drop));
            }
        });
        outcome.unwrap().map_err(|error| error.name())
    };
    assert_eq!(dialled(&server, &foreign, "localhost"), Err("certificate-unknown-issuer"));
    assert_eq!(dialled(&server, &authority, "crm.example"), Err("certificate-name"));
    assert_eq!(dialled(&client_only, &authority, "localhost"), Err("certificate-purpose"));
    assert_eq!(dialled(&server, &authority, "localhost"), Ok(()));
}

#[test]
fn a_session_of_a_client_whose_certificate_no_longer_holds_is_not_resumed_into() {
    let authority = Authority::new();
    let server = authority.server();
    let mut tls = ServerTls::build(&source(&server, Some((authority.file(), ClientCertificate::Required)))).unwrap();
    for version in [&TLS12, &TLS13] {
        let config = peer_config(&authority, Some(&authority.client()), version);
        assert!(handshake(&tls, config.clone()).0.is_ok());
        // The same tickets, but a verifier to which the certificate means nothing any more.
        let kept = tls
            .verifier
            .replace(client_verifier(Authority::new().file(), ClientCertificate::Required, &provider()).unwrap());
        let refusal = handshake(&tls, config).0.unwrap_err();
        assert_eq!(refusal.name(), "certificate-unknown-issuer");
        tls.verifier = kept;
    }
    // Another listener's tickets are not taken at all: the handshake is a full one, and so is its check.
    let config = peer_config(&authority, Some(&authority.client()), &TLS13);
    assert!(handshake(&tls, config.clone()).0.is_ok());
    let other = Authority::new();
    let moved = ServerTls::build(&source(&server, Some((other.file(), ClientCertificate::Required)))).unwrap();
    assert_eq!(handshake(&moved, config).0.unwrap_err().name(), "certificate-unknown-issuer");
}

#[test]
fn the_right_certificate_comes_with_the_connection_on_resumption_too() {
    let authority = Authority::new();
    let server = authority.server();
    let client = authority.client();
    let required = ServerTls::build(&source(&server, Some((authority.file(), ClientCertificate::Required)))).unwrap();
    let without = ServerTls::build(&source(&server, None)).unwrap();
    for version in [&TLS12, &TLS13] {
        let config = peer_config(&authority, Some(&client), version);
        on_a_core(|listener, buffers| {
            let (required, client, config) = (&required, &client, config.clone());
            async move {
                for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
                    let dialling = peer(listener.local_address(), config.clone(), |stream| {
                        let mut answer = String::new();
                        stream.read_to_string(&mut answer).unwrap();
                        stream.conn.handshake_kind()
                    });
                    let (socket, _) = listener.accept().await.unwrap();
                    let (transport, certificate) = accept_tls(socket, required, buffers.clone()).await.unwrap();
                    assert_eq!(certificate.unwrap().as_ref(), client.der);
                    let mut transport = Transport::Tls(Box::new(transport));
                    transport.send_all(b"hi".to_vec()).await.0.unwrap();
                    transport.close().await;
                    assert_eq!(dialling.join().unwrap(), Some(kind));
                }
            }
        });
        let (accepted, seen) = handshake(&without, config);
        assert_eq!((accepted.unwrap(), seen.unwrap().as_str()), (None, "welcome"));
    }
}

#[test]
fn a_replaced_certificate_is_served_from_the_next_handshake_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let tls = ServerTls::build(&source(&old.server(), None)).unwrap();
    assert!(handshake(&tls, peer_config(&old, None, &TLS13)).1.is_ok());
    let next = new.server();
    tls.replace_certificate(file("edge.pem", &next.certificate), file("edge.key", &next.key)).unwrap();
    assert_eq!(handshake(&tls, peer_config(&new, None, &TLS13)).1.unwrap(), "welcome");
    assert!(handshake(&tls, peer_config(&old, None, &TLS13)).0.is_err());
    // One that does not fit is refused, and the last good one goes on serving.
    let refusal = tls.replace_certificate(file("edge.pem", &next.certificate), file("edge.key", &old.server().key));
    assert!(refusal.is_err());
    assert_eq!(handshake(&tls, peer_config(&new, None, &TLS12)).1.unwrap(), "welcome");
}

#[test]
fn four_mebibytes_pass_both_ways_at_any_size_of_buffer() {
    let authority = Authority::new();
    let tls = ServerTls::build(&source(&authority.server(), None)).unwrap();
    let sent: Vec<u8> = (0..4_u32 << 20).map(|n| (n % 253) as u8).collect();
    for (version, room) in [(&TLS12, 4096), (&TLS13, 1000), (&TLS13, 64 << 10)] {
        let config = peer_config(&authority, None, version);
        on_a_core(|listener, buffers| {
            let (tls, sent) = (&tls, &sent);
            async move {
                let echo = sent.clone();
                let client = peer(listener.local_address(), config, move |stream| {
                    stream.write_all(&echo).unwrap();
                    let mut got = vec![0; echo.len()];
                    stream.read_exact(&mut got).unwrap();
                    stream.conn.send_close_notify();
                    stream.flush().unwrap();
                    got == echo
                });
                let (socket, _) = listener.accept().await.unwrap();
                let (transport, _) = accept_tls(socket, tls, buffers).await.unwrap();
                let mut transport = Transport::Tls(Box::new(transport));
                let mut got = Vec::new();
                let mut buffer = Vec::with_capacity(room);
                while got.len() < sent.len() {
                    buffer.clear();
                    let (result, filled) = transport.recv(buffer).await;
                    assert!(result.unwrap() > 0 && filled.len() <= filled.capacity());
                    got.extend_from_slice(&filled);
                    buffer = filled;
                }
                assert!(&got == sent && !transport.has_buffered());
                transport.send_all(got).await.0.unwrap();
                let (result, _) = transport.recv(Vec::with_capacity(8)).await;
                assert_eq!(result.unwrap(), 0, "the declared end");
                assert!(client.join().unwrap());
            }
        });
    }
}

#[test]
fn an_end_that_was_not_declared_and_a_forged_record_are_errors() {
    let authority = Authority::new();
    let tls = ServerTls::build(&source(&authority.server(), None)).unwrap();
    for (forged, kind) in [
        (&b""[..], io::ErrorKind::UnexpectedEof),
        // A record of 64 bytes of which 3 come.
        (b"\x17\x03\x03\x00\x40abc", io::ErrorKind::UnexpectedEof),
        (b"\x17\x03\x03\x00\x18aaaaaaaaaaaaaaaaaaaaaaaa", io::ErrorKind::InvalidData),
        (b"GET / HTTP/1.1\r\n\r\n", io::ErrorKind::InvalidData),
    ] {
        let config = peer_config(&authority, None, &TLS13);
        on_a_core(|listener, buffers| {
            let tls = &tls;
            async move {
                let client = peer(listener.local_address(), config, move |stream| {
                    stream.read_exact(&mut [0; 2]).unwrap();
                    stream.write_all(b"hello").unwrap();
                    stream.sock.write_all(forged).unwrap();
                    stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
                });
                let (socket, _) = listener.accept().await.unwrap();
                let (transport, _) = accept_tls(socket, tls, buffers).await.unwrap();
                let mut transport = Transport::Tls(Box::new(transport));
                transport.send_all(b"go".to_vec()).await.0.unwrap();
                // The record before the fault may come with it or before it.
                let mut buffer = Vec::with_capacity(100);
                let fault = loop {
                    let (result, filled) = transport.recv(buffer).await;
                    buffer = filled;
                    match result {
                        Ok(count) => assert!(count > 0, "a cut connection was taken for its end"),
                        Err(error) => break error,
                    }
                };
                assert_eq!(fault.kind(), kind, "{fault}");
                let (result, _) = transport.recv(Vec::new()).await;
                assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput);
                client.join().unwrap();
            }
        });
    }
}

#[test]
fn a_plain_transport_carries_bytes_as_they_are() {
    on_a_core(|listener, _| async move {
        let mut client = TcpStream::connect(listener.local_address()).unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let mut transport = Transport::Plain(socket);
        client.write_all(b"ping").unwrap();
        assert_eq!(transport.recv(Vec::with_capacity(16)).await.1, b"ping");
        transport.send_all(b"pong".to_vec()).await.0.unwrap();
        transport.close().await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((answer.as_str(), transport.has_buffered()), ("pong", false));
        assert!(!transport.socket().is_poisoned());
    });
}

#[test]
fn files_that_cannot_serve_are_refused_with_place_cause_and_cure() {
    let authority = Authority::new();
    let (server, other) = (authority.server(), authority.server());
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let weak = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let torn = "-----BEGIN CERTIFICATE-----\n!!!\n";
    let check = |certificate: &str, key: &str, ca: Option<&str>, expected: [&str; 2]| {
        let source = ServerTlsSource {
            certificate: file("edge.pem", certificate),
            key: file("edge.key", key),
            client_ca: ca.map(|ca| (file("agents-ca.pem", ca), ClientCertificate::Required)),
        };
        let Err(finding) = ServerTls::build(&source) else { panic!("accepted, expected {expected:?}") };
        let text = finding.to_string();
        assert!(text.starts_with(expected[0]) && text.contains(expected[1]), "{text}");
        assert!(!text.contains("Error") && !text.ends_with('.'), "{text}");
    };
    check("", &server.key, None, ["edge.pem: ", "no certificate"]);
    check(torn, &server.key, None, ["edge.pem: ", "pem"]);
    check(junk, &server.key, None, ["edge.pem: ", "cannot be used"]);
    check(&server.certificate, "", None, ["edge.key: ", "no private key"]);
    check(&server.certificate, encrypted, None, ["edge.key: ", "not encrypted"]);
    check(&server.certificate, weak, None, ["edge.key: ", "of a kind"]);
    check(
        &server.certificate,
        &other.key,
        None,
        ["edge.key: ", "does not belong to the first certificate in `edge.pem`"],
    );
    check(&server.certificate, &server.key, Some(""), ["agents-ca.pem: ", "no certificate"]);
    check(
        &server.certificate,
        &server.key,
        Some(junk),
        ["agents-ca.pem: ", "certificate 1 cannot be a trusted authority"],
    );
    let Err(finding) = client_config(Some(file("crm-ca.pem", "nothing"))) else { panic!("accepted") };
    assert!(finding.to_string().starts_with("crm-ca.pem: there is no certificate"));
    assert!(client_config(None).is_ok());
}
