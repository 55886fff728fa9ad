//! One keep-alive connection of the generator. In: request bytes and a readable socket. Out: what came back. Breaks are told, not hidden.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use crate::http::{self, Framed};
use crate::poll::{Interest, Poll};

/// A response with its head; answers of the bench are a tenth of this.
const BUFFER_BYTES: usize = 64 * 1024;

/// A keep-alive connection with at most one request on its way.
pub struct Connection {
    stream: TcpStream,
    token: u64,
    input: Vec<u8>,
    filled: usize,
    sent: usize,
    /// When the request on its way was meant to be sent.
    pub intended: Instant,
}

/// What became of the request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not there yet.
    Waiting,
    /// A result with status 200.
    Good,
    /// Another status than 200.
    Refused(u16),
    /// Status 200 with a JSON-RPC error.
    RpcError,
    /// The connection ended, or spoke no HTTP.
    Broken,
}

impl Connection {
    /// Connects and has the poll watch it.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open(address: SocketAddr, token: u64, poll: &Poll) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        poll.add(&stream, token, Interest::Read)?;
        Ok(Self { stream, token, input: vec![0; BUFFER_BYTES], filled: 0, sent: 0, intended: Instant::now() })
    }

    /// Sends the next request; what does not fit goes out when the socket has room.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send(&mut self, request: &[u8], intended: Instant, poll: &Poll) -> io::Result<()> {
        self.intended = intended;
        self.sent = 0;
        self.push(request)?;
        if self.sent < request.len() {
            poll.modify(&self.stream, self.token, Interest::ReadWrite)?;
        }
        Ok(())
    }

    fn push(&mut self, request: &[u8]) -> io::Result<()> {
        while let Some(rest) = request.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.sent += count,
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => break,
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    /// The socket is ready: sends what is left of the request, reads what is there and says what it amounts to.
    pub fn turn(&mut self, request: &[u8], poll: &Poll) -> Outcome {
        if self.sent < request.len() {
            let whole = self.push(request).and_then(|()| match self.sent == request.len() {
                true => poll.modify(&self.stream, self.token, Interest::Read),
                false => Ok(()),
            });
            if whole.is_err() {
                return Outcome::Broken;
            }
        }
        match self.stream.read(self.input.get_mut(self.filled..).unwrap_or_default()) {
            Ok(0) => return Outcome::Broken,
            Ok(count) => self.filled += count,
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return Outcome::Waiting,
            Err(_) => return Outcome::Broken,
        }
        let bytes = self.input.get(..self.filled).unwrap_or_default();
        match http::response(bytes) {
            Framed::Partial => Outcome::Waiting,
            Framed::Broken => Outcome::Broken,
            // Bytes after the answer to the only request on its way belong to nobody.
            Framed::Whole(response) if response.body.end != self.filled => Outcome::Broken,
            Framed::Whole(response) => {
                let outcome = judge(response.status, bytes.get(response.body).unwrap_or_default());
                self.filled = 0;
                outcome
            }
        }
    }
}

fn judge(status: u16, body: &[u8]) -> Outcome {
    if status != 200 {
        return Outcome::Refused(status);
    }
    if memchr::memmem::find(body, b"\"result\":").is_some() { Outcome::Good } else { Outcome::RpcError }
}
