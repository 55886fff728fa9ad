//! Puts TLS before a plain server. In: its address, a certificate. Out: an address that speaks TLS. Never here: HTTP.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use xtask::keys::Certified;

/// Listens with `certificate` and passes what comes on to `to`; a connection that shakes no hands reaches nobody.
pub fn tls(to: SocketAddr, certificate: &Certified) -> SocketAddr {
    let chain = vec![CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config =
        builder.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("a key that fits");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            // A client that refuses the certificate ends its connection here, which is what some tests are about.
            std::thread::spawn(move || relay(session, near, to));
        }
    });
    address
}

fn relay(mut session: ServerConnection, mut near: TcpStream, to: SocketAddr) -> io::Result<()> {
    while session.is_handshaking() {
        session.complete_io(&mut near)?;
    }
    let mut far = TcpStream::connect(to)?;
    let mut room = vec![0; 64 * 1024];
    loop {
        let (from_agent, from_server) = readable(&near, &far)?;
        if from_agent {
            let read = session.read_tls(&mut near)?;
            let state = session.process_new_packets().map_err(io::Error::other)?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            session.reader().read_exact(&mut plain)?;
            far.write_all(&plain)?;
            if read == 0 {
                far.shutdown(Shutdown::Write)?;
                return Ok(());
            }
        }
        if from_server {
            let read = far.read(&mut room)?;
            session.writer().write_all(&room[..read])?;
            if read == 0 {
                session.send_close_notify();
            }
            while session.wants_write() {
                session.write_tls(&mut near)?;
            }
            if read == 0 {
                return Ok(());
            }
        }
    }
}

fn readable(near: &TcpStream, far: &TcpStream) -> io::Result<(bool, bool)> {
    let mut both = [PollFd::new(near, PollFlags::IN), PollFd::new(far, PollFlags::IN)];
    poll(&mut both, None)?;
    Ok((!both[0].revents().is_empty(), !both[1].revents().is_empty()))
}
