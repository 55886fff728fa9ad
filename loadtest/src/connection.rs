//! One connection of the generator. In: request bytes and a ready socket. Out: what came back. Breaks are told, not hidden.

use std::io;
use std::time::Instant;

use crate::poll::{Interest, Poll};
use crate::reply::{Outcome, Reply};
use crate::socket;
use crate::wire::{Target, Wire};

/// What is read at once into the buffer that all connections share.
const READ_BYTES: usize = 64 * 1024;

/// What is thrown away at once; never touched, so it costs addresses and no memory.
const DISCARD_BYTES: usize = 4 << 20;

/// Less than this is not worth a call of its own.
const DISCARD_BYTES_MIN: usize = 16 * 1024;

/// Room that all connections share, since each of them reads and is done with it: an idle connection holds no buffer.
pub struct Scratch {
    read: Vec<u8>,
    discard: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { read: vec![0; READ_BYTES], discard: Vec::with_capacity(DISCARD_BYTES) }
    }
}

/// A connection with at most one request on its way.
pub struct Connection {
    wire: Wire,
    token: u64,
    interest: Interest,
    /// How much of the request is out; beyond any length while there is none.
    sent: usize,
    reply: Reply,
    /// When the request on its way was meant to be sent.
    pub intended: Instant,
    /// Requests answered so far.
    pub answered: u32,
}

impl Connection {
    /// Begins to connect and has the poll watch it.
    ///
    /// # Errors
    /// When nobody listens there, where that is known at once.
    pub fn open(target: &Target, token: u64, poll: &Poll) -> io::Result<Self> {
        let mut wire = Wire::open(target)?;
        poll.add(wire.socket(), token, Interest::Read)?;
        wire.flush()?;
        let (interest, reply) = (Interest::Read, Reply::default());
        let mut connection =
            Self { wire, token, interest, sent: usize::MAX, reply, intended: Instant::now(), answered: 0 };
        connection.watch(&[], poll)?;
        Ok(connection)
    }

    /// Sends the next request; what does not fit goes out when the socket has room.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send(&mut self, request: &[u8], intended: Instant, poll: &Poll) -> io::Result<()> {
        self.intended = intended;
        self.sent = 0;
        self.push(request)?;
        self.watch(request, poll)
    }

    fn push(&mut self, request: &[u8]) -> io::Result<()> {
        while let Some(rest) = request.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.wire.write(rest) {
                Ok(count) => self.sent += count,
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => break,
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    fn watch(&mut self, request: &[u8], poll: &Poll) -> io::Result<()> {
        let waits = self.sent < request.len() || self.wire.is_behind();
        let wanted = if waits { Interest::ReadWrite } else { Interest::Read };
        if wanted != self.interest {
            poll.modify(self.wire.socket(), self.token, wanted)?;
            self.interest = wanted;
        }
        Ok(())
    }

    /// The socket is ready: sends what is left of the request, reads what is there and says what it amounts to.
    pub fn turn(&mut self, request: &[u8], scratch: &mut Scratch, poll: &Poll) -> Outcome {
        if self.interest == Interest::ReadWrite {
            let pushed = self.wire.flush().and_then(|()| self.push(request)).and_then(|()| self.watch(request, poll));
            if pushed.is_err() {
                return Outcome::Broken;
            }
        }
        let outcome = self.receive(scratch);
        // A handshake that went on may have let the request go.
        if matches!(self.wire, Wire::Secure(_)) && outcome == Outcome::Waiting {
            let pushed = self.push(request).and_then(|()| self.watch(request, poll));
            if pushed.is_err() {
                return Outcome::Broken;
            }
        }
        self.answered += u32::from(!matches!(outcome, Outcome::Waiting | Outcome::Broken));
        outcome
    }

    fn receive(&mut self, scratch: &mut Scratch) -> Outcome {
        loop {
            let unread = self.reply.unread();
            let (came, skipped) = match &self.wire {
                Wire::Plain(stream) if unread >= DISCARD_BYTES_MIN => {
                    (socket::discard(stream, &mut scratch.discard, unread), true)
                }
                Wire::Plain(_) | Wire::Secure(_) => (self.wire.read(&mut scratch.read), false),
            };
            let outcome = match (came, skipped) {
                (Ok(0), _) => return Outcome::Broken,
                (Ok(count), true) => self.reply.skip(count),
                (Ok(count), false) => self.reply.take(scratch.read.get(..count).unwrap_or_default()),
                (Err(cause), _) if cause.kind() == io::ErrorKind::WouldBlock => return Outcome::Waiting,
                (Err(_), _) => return Outcome::Broken,
            };
            // What TLS has decrypted already wakes no poll, so it is read to its end.
            if outcome != Outcome::Waiting || matches!(self.wire, Wire::Plain(_)) {
                return outcome;
            }
        }
    }

    /// The session that the last response opened.
    pub fn session(&self) -> Option<&str> {
        self.reply.session()
    }

    /// Events that have come, where the response is a stream that goes on.
    pub fn events(&self) -> Option<u64> {
        self.reply.events()
    }

    /// Ends it in good order.
    pub fn close(self) {
        self.wire.close();
    }
}
