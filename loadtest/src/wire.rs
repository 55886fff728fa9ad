//! Carries bytes over TCP, with or without TLS. In: bytes. Out: bytes. Never waits.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustls::ClientConnection;

use crate::socket;
use crate::tls::Security;

/// Where connections go and how they are secured.
#[derive(Clone)]
pub struct Target {
    /// Address of the server.
    pub address: SocketAddr,
    /// TLS, where it is spoken.
    pub security: Option<Security>,
}

/// One connection's way.
pub enum Wire {
    /// TCP alone.
    Plain(TcpStream),
    /// TLS over it.
    Secure(Box<Secure>),
}

/// TLS over TCP.
pub struct Secure {
    stream: TcpStream,
    session: ClientConnection,
}

impl Wire {
    /// Begins to connect, and to shake hands.
    ///
    /// # Errors
    /// When nobody listens there, where that is known at once.
    pub fn open(target: &Target) -> io::Result<Self> {
        let stream = socket::connect(target.address)?;
        let Some(security) = &target.security else { return Ok(Self::Plain(stream)) };
        let session = security.begin().map_err(io::Error::other)?;
        Ok(Self::Secure(Box::new(Secure { stream, session })))
    }

    /// The socket, to be watched.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Secure(secure) => &secure.stream,
        }
    }

    /// Whether bytes that were written still wait for room in the socket.
    pub fn is_behind(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secure(secure) => secure.session.wants_write(),
        }
    }

    /// Takes as much of `bytes` as there is room for.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; anything else when the connection is broken.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Secure(secure) => secure.write(bytes),
        }
    }

    /// Reads what has arrived; 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has; anything else when the connection is broken.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Secure(secure) => secure.read(into),
        }
    }

    /// Sends what waits for room.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Secure(secure) => secure.flush(),
        }
    }

    /// Ends the connection in good order.
    pub fn close(self) {
        if let Self::Secure(mut secure) = self {
            secure.session.send_close_notify();
            // A peer that is gone already need not be told.
            let _gone = secure.flush();
        }
    }
}

impl Secure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.session.writer().write(bytes)?;
        self.flush()?;
        if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(into) {
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            if self.session.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            let processed = self.session.process_new_packets();
            // The handshake's last flight goes out, or the alert that says why it failed.
            self.flush()?;
            processed.map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))?;
        }
    }
}
