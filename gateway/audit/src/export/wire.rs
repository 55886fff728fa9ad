//! Connects. In: a peer. Out: a connection, plain or with TLS, that never waits for ever. Never here: what is said over it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// How long an address may take to answer; packets of a lost SYN are sent again after 1, 3 and 7 seconds.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// How long a peer may say or take nothing.
const QUIET_WAIT: Duration = Duration::from_secs(30);

/// Whom to connect to.
#[derive(Clone, Debug)]
pub struct Peer {
    /// A name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// With TLS, where it is to be.
    pub tls: Option<Arc<ClientConfig>>,
}

/// A connection.
pub enum Wire {
    /// Bare.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// Connects to the first address of the peer that answers.
    ///
    /// # Errors
    /// When none does.
    pub fn open(peer: &Peer) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("`{}` has no address", peer.host));
        for address in (peer.host.as_str(), peer.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_WAIT) {
                Ok(stream) => return Self::over(stream, peer),
                Err(cause) => last = cause,
            }
        }
        Err(last)
    }

    fn over(stream: TcpStream, peer: &Peer) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(QUIET_WAIT))?;
        stream.set_write_timeout(Some(QUIET_WAIT))?;
        let Some(config) = &peer.tls else { return Ok(Self::Plain(stream)) };
        let name = ServerName::try_from(peer.host.clone()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, stream))))
    }

    /// Says that nothing more comes, and waits for the peer to hang up, so that what was sent is not lost with the connection.
    ///
    /// # Errors
    /// When the peer broke off.
    pub fn close(mut self) -> io::Result<()> {
        self.flush()?;
        match &mut self {
            Self::Plain(stream) => stream.shutdown(Shutdown::Write)?,
            Self::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush()?;
                stream.sock.shutdown(Shutdown::Write)?;
            }
        }
        // A receiver of syslog says nothing; one that keeps the connection open has taken all the same.
        let socket = match &self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        };
        socket.set_read_timeout(Some(CLOSE_WAIT))?;
        let mut socket = socket;
        match socket.read(&mut [0; 64]) {
            Err(cause) if cause.kind() == io::ErrorKind::ConnectionReset => Err(cause),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// How long a receiver may take to hang up after us.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
