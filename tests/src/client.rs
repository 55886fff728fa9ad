//! Speaks HTTP/1.1 to the gateway byte by byte. In: bytes or requests. Out: strictly read responses, or how the connection ended.
//! Never here: retries, pools, anything that would hide what the gateway does.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use xtask::keys::Certified;

use crate::CEILING;
use crate::secrets;
use crate::wire::{self, Head, Length, Request, Response};

/// What a client on TLS shows and trusts.
#[derive(Clone)]
pub struct Identity {
    config: Arc<ClientConfig>,
}

impl Identity {
    /// A TLS session that has not shaken hands yet, for tests that steer it themselves.
    pub fn session(&self) -> ClientConnection {
        let name = ServerName::try_from(secrets::GATEWAY_NAME).expect("a name");
        ClientConnection::new(Arc::clone(&self.config), name).expect("a session")
    }

    /// Trusts the tests' authority; shows this certificate, if any.
    pub fn new(certificate: Option<&Certified>) -> Self {
        let mut roots = RootCertStore::empty();
        let ours = CertificateDer::from_pem_slice(secrets::authorities().ours.pem().as_bytes()).expect("a certificate");
        roots.add(ours).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        let builder = builder.with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some(certified) => {
                let chain =
                    vec![CertificateDer::from_pem_slice(certified.certificate.as_bytes()).expect("a certificate")];
                let key = PrivateKeyDer::from_pem_slice(certified.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("a key that fits")
            }
        };
        Self { config: Arc::new(config) }
    }
}

/// One connection to the gateway.
pub struct Client {
    line: Line,
    socket: TcpStream,
    input: Vec<u8>,
}

enum Line {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// In good order.
    Closed,
    /// By a reset, or without TLS's goodbye.
    Broken,
}

impl Client {
    /// Connects, on TLS where an identity is given.
    #[track_caller]
    pub fn connect(address: SocketAddr, identity: Option<&Identity>) -> Self {
        Self::try_connect(address, identity).unwrap_or_else(|error| panic!("{address} cannot be reached: {error}"))
    }

    /// The same where it may fail, as without a certificate that is needed. TLS's own handshake is done when this returns.
    ///
    /// # Errors
    /// What the kernel or TLS says.
    pub fn try_connect(address: SocketAddr, identity: Option<&Identity>) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        Self::over(socket, identity)
    }

    /// Speaks over a socket that stands already, with a window or a source of the test's choice.
    ///
    /// # Errors
    /// What the kernel or TLS says.
    pub fn over(socket: TcpStream, identity: Option<&Identity>) -> io::Result<Self> {
        socket.set_read_timeout(Some(CEILING))?;
        socket.set_write_timeout(Some(CEILING))?;
        socket.set_nodelay(true)?;
        let line = match identity {
            None => Line::Plain(socket.try_clone()?),
            Some(identity) => {
                let mut stream = StreamOwned::new(identity.session(), socket.try_clone()?);
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                Line::Tls(Box::new(stream))
            }
        };
        Ok(Self { line, socket, input: Vec::new() })
    }

    /// Sends bytes as they are. A peer that has closed already is no failure here: what it answered is looked at next.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _closed = self.try_send(bytes.as_ref());
        self
    }

    /// The same, telling whether they were taken.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.line {
            Line::Plain(socket) => socket.write_all(bytes),
            Line::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// The status a request is answered with; 0 where the connection ends instead.
    #[track_caller]
    pub fn status_of(&mut self, request: &Request) -> u16 {
        self.send(request.bytes()).next_status()
    }

    /// Sends a request and reads the answer.
    #[track_caller]
    pub fn exchange(&mut self, request: &Request) -> Response {
        self.send(request.bytes());
        if request.method == "HEAD" { Response { head: self.head(), body: Vec::new() } } else { self.response() }
    }

    /// The status of the next response; 0 where it ended without one.
    #[track_caller]
    pub fn next_status(&mut self) -> u16 {
        while wire::head_end(&self.input).is_none() {
            if self.fill().is_err() {
                return 0;
            }
        }
        self.response().status()
    }

    /// The next response with its body.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        let head = self.head();
        let body = match head.length() {
            Length::Bytes(length) => self.take(length),
            Length::Chunked => self.chunked(),
            Length::None if matches!(head.status(), 100..=199 | 204 | 304) => Vec::new(),
            Length::None => panic!("a response that only its connection ends: {head:?}"),
        };
        Response { head, body }
    }

    /// The next head, its body still to come.
    #[track_caller]
    pub fn head(&mut self) -> Head {
        loop {
            if let Some(end) = wire::head_end(&self.input) {
                return Head::parse(&self.input.drain(..end).collect::<Vec<u8>>());
            }
            if let Err(ended) = self.fill() {
                panic!("{ended:?} instead of a response, after {:?}", String::from_utf8_lossy(&self.input));
            }
        }
    }

    /// The next `length` bytes.
    #[track_caller]
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        while self.input.len() < length {
            if let Err(ended) = self.fill() {
                panic!("{ended:?} after {} of {length} bytes", self.input.len());
            }
        }
        self.input.drain(..length).collect()
    }

    #[track_caller]
    fn chunked(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().unwrap_or_else(|ended| panic!("{ended:?} in the middle of a body")) {
            body.extend(chunk);
        }
        body
    }

    /// The next chunk; none is the last one.
    ///
    /// # Errors
    /// The connection ended before the body did.
    #[track_caller]
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, Ended> {
        let line = self.line()?;
        let length = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("no chunk size: {line:?}"));
        while self.input.len() < length + 2 {
            self.fill()?;
        }
        let chunk: Vec<u8> = self.input.drain(..length).collect();
        let end: Vec<u8> = self.input.drain(..2).collect();
        assert_eq!(end, b"\r\n", "a chunk does not end");
        Ok((length > 0).then_some(chunk))
    }

    fn line(&mut self) -> Result<String, Ended> {
        loop {
            if let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(line.get(..end).unwrap_or_default()).into_owned());
            }
            self.fill()?;
        }
    }

    /// Waits for the end of the connection, in which nothing more may come.
    #[track_caller]
    pub fn closed(&mut self) -> Ended {
        let (rest, ended) = self.rest();
        assert!(rest.is_empty(), "more came before the end: {:?}", String::from_utf8_lossy(&rest));
        ended
    }

    /// Everything until the end of the connection.
    #[track_caller]
    pub fn rest(&mut self) -> (Vec<u8>, Ended) {
        loop {
            if let Err(ended) = self.fill() {
                return (std::mem::take(&mut self.input), ended);
            }
        }
    }

    #[track_caller]
    fn fill(&mut self) -> Result<(), Ended> {
        let mut room = [0; 16 * 1024];
        let read = match &mut self.line {
            Line::Plain(socket) => socket.read(&mut room),
            Line::Tls(stream) => stream.read(&mut room),
        };
        match read {
            Ok(0) => Err(Ended::Closed),
            Ok(read) => {
                self.input.extend_from_slice(room.get(..read).unwrap_or_default());
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("nothing came within {CEILING:?}, after {:?}", String::from_utf8_lossy(&self.input))
            }
            Err(_) => Err(Ended::Broken),
        }
    }

    /// Whether nothing comes while `patience` lasts and the connection stands. For what must *not* happen; there is no event to wait for.
    #[track_caller]
    pub fn is_silent_for(&mut self, patience: Duration) -> bool {
        self.socket.set_read_timeout(Some(patience)).expect("a timeout");
        let mut room = [0; 1];
        let read = match &mut self.line {
            Line::Plain(socket) => socket.peek(&mut room),
            Line::Tls(stream) => stream.sock.peek(&mut room),
        };
        self.socket.set_read_timeout(Some(CEILING)).expect("a timeout");
        self.input.is_empty()
            && read.is_err_and(|error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }

    /// Ends the sending half: the peer reads the end.
    pub fn finish(&self) {
        let _ended = self.socket.shutdown(Shutdown::Write);
    }

    /// Ends it with a reset.
    pub fn reset(self) {
        let _reset = socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }

    /// Bytes received and not yet looked at.
    pub fn pending(&self) -> &[u8] {
        &self.input
    }
}
