//! Carries bytes over a connection, plain or TLS. In: a socket and owned buffers. Out: the peer's bytes, ours sent.
//! Never here: HTTP, deadlines, who the peer is.

use std::io::{self, BufRead, ErrorKind, Write};
use std::mem;
use std::rc::Rc;

use portcullis_ring::Socket;
use portcullis_ring::spare::Buffers;

/// A connection as HTTP sees it.
pub enum Transport {
    /// Bytes as they are.
    Plain(Socket),
    /// Bytes within TLS. Boxed: it is far larger than a socket.
    Tls(Box<TlsTransport>),
}

impl Transport {
    /// Receives into the spare capacity of `buffer`, after what it holds; 0 is the end that the peer declared. With TLS
    /// an end that it did not declare is an error of kind `UnexpectedEof`.
    pub async fn recv(&mut self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Self::Plain(socket) => socket.recv(buffer).await,
            Self::Tls(tls) => tls.recv(buffer, usize::MAX).await,
        }
    }

    /// Receives `count` bytes, for which `buffer` has room, and nothing that follows them. Fewer where the peer ends, or where a TLS record does.
    pub async fn recv_exactly(&mut self, buffer: Vec<u8>, count: usize) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Self::Plain(socket) => socket.recv_exactly(buffer, count).await,
            Self::Tls(tls) => tls.recv(buffer, count).await,
        }
    }

    /// Sends both buffers, one after the other, without joining them.
    pub async fn send_both(&mut self, first: Vec<u8>, second: Vec<u8>) -> (io::Result<()>, Vec<u8>, Vec<u8>) {
        match self {
            Self::Plain(socket) => socket.send_both(first, second).await,
            Self::Tls(tls) => {
                let (sent, first) = tls.send_all(first).await;
                if sent.is_err() {
                    return (sent, first, second);
                }
                let (sent, second) = tls.send_all(second).await;
                (sent, first, second)
            }
        }
    }

    /// Sends the whole buffer.
    pub async fn send_all(&mut self, buffer: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        match self {
            Self::Plain(socket) => socket.send_all(buffer).await,
            Self::Tls(tls) => tls.send_all(buffer).await,
        }
    }

    /// Declares our end to the peer. What it has not read yet still reaches it: the connection itself closes with its
    /// last [`Socket`], and a full shutdown here would let bytes that it still sends answer with a reset.
    pub async fn close(&mut self) {
        match self {
            Self::Plain(socket) => socket.shutdown_write(),
            Self::Tls(tls) => tls.close().await,
        }
    }

    /// The socket, for deadlines and readiness.
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.socket,
        }
    }

    /// True if a receive would bring bytes that have left the socket already; its readiness tells nothing of them.
    pub fn has_buffered(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.has_buffered(),
        }
    }
}

/// A TLS connection after its handshake. Idle, it holds no buffer of ours.
pub struct TlsTransport {
    pub(crate) socket: Socket,
    pub(crate) connection: rustls::Connection,
    buffers: Rc<Buffers>,
    /// Records as received, of which `fed` bytes are handed to rustls.
    incoming: Vec<u8>,
    fed: usize,
    /// Plaintext that rustls holds for us.
    pending: usize,
    peer_closed: bool,
}

/// What a failed handshake or record looks like here: the connection's fault, or rustls's verdict on the peer.
#[derive(Debug)]
pub(crate) enum RecordError {
    Io(io::Error),
    Refused(rustls::Error),
    /// The peer left without saying so.
    Truncated,
}

impl From<RecordError> for io::Error {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Io(error) => error,
            RecordError::Refused(error) => Self::new(ErrorKind::InvalidData, error),
            RecordError::Truncated => ErrorKind::UnexpectedEof.into(),
        }
    }
}

impl TlsTransport {
    pub(crate) fn new(socket: Socket, connection: rustls::Connection, buffers: Rc<Buffers>) -> Self {
        Self { socket, connection, buffers, incoming: Vec::new(), fed: 0, pending: 0, peer_closed: false }
    }

    /// Takes part in the handshake until it is done. A refusal is told to the peer before this returns.
    pub(crate) async fn handshake(&mut self) -> Result<(), RecordError> {
        loop {
            self.flush().await.map_err(RecordError::Io)?;
            if !self.connection.is_handshaking() {
                return Ok(());
            }
            self.read_records().await?;
        }
    }

    fn has_buffered(&self) -> bool {
        self.pending > 0 || self.fed < self.incoming.len()
    }

    /// Appends at most `most` bytes.
    async fn recv(&mut self, mut buffer: Vec<u8>, most: usize) -> (io::Result<usize>, Vec<u8>) {
        if buffer.capacity() == buffer.len() {
            return (Err(io::Error::new(ErrorKind::InvalidInput, "the buffer has no spare capacity")), buffer);
        }
        loop {
            let count = self.deliver(&mut buffer, most);
            if count > 0 || self.peer_closed {
                return (Ok(count), buffer);
            }
            if let Err(error) = self.read_records().await {
                return (Err(error.into()), buffer);
            }
            // An answer that rustls owes the peer, such as to a key update.
            if self.connection.wants_write()
                && let Err(error) = self.flush().await
            {
                return (Err(error), buffer);
            }
        }
    }

    /// Takes in records that were received outside: by whoever waits on the socket itself while nothing is buffered.
    pub(crate) fn arrived(&mut self, read: io::Result<usize>, records: Vec<u8>) -> io::Result<()> {
        let outcome = match read {
            Ok(0) => Err(RecordError::Truncated.into()),
            other => other.map(drop),
        };
        (self.incoming, self.fed) = (records, 0);
        outcome
    }

    async fn send_all(&mut self, buffer: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let mut sent = 0;
        while let Some(rest) = buffer.get(sent..).filter(|rest| !rest.is_empty()) {
            // Rustls takes as much as its bound for records not yet sent allows; what it took goes out in one send.
            let taken = match self.connection.writer().write(rest) {
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                taken => taken,
            };
            match taken {
                Ok(count) => sent += count,
                Err(error) => return (Err(error), buffer),
            }
            if let Err(error) = self.flush().await {
                return (Err(error), buffer);
            }
        }
        (Ok(()), buffer)
    }

    async fn close(&mut self) {
        self.connection.send_close_notify();
        // A peer that is gone needs no notice.
        let _peer_gone = self.flush().await;
        self.socket.shutdown_write();
    }

    /// Moves plaintext that is ready into the spare capacity of `buffer`.
    fn deliver(&mut self, buffer: &mut Vec<u8>, most: usize) -> usize {
        let before = buffer.len();
        let end = buffer.capacity().min(before.saturating_add(most));
        while self.pending > 0 && buffer.len() < end {
            let room = end - buffer.len();
            let mut reader = self.connection.reader();
            let Ok(chunk) = reader.fill_buf() else { break };
            let taken = chunk.get(..room).unwrap_or(chunk);
            let count = taken.len();
            if count == 0 {
                break;
            }
            buffer.extend_from_slice(taken);
            reader.consume(count);
            self.pending = self.pending.saturating_sub(count);
        }
        buffer.len() - before
    }

    /// Hands records to rustls, those at hand or else the next ones received.
    async fn read_records(&mut self) -> Result<(), RecordError> {
        if self.fed >= self.incoming.len() {
            let buffer = self.buffers.take(INCOMING_BYTES);
            let (result, buffer) = self.socket.recv(buffer).await;
            (self.incoming, self.fed) = (buffer, 0);
            match result {
                Ok(0) => return Err(RecordError::Truncated),
                Ok(_) => {}
                Err(error) => return Err(RecordError::Io(error)),
            }
        }
        let fed = self.feed();
        if self.fed >= self.incoming.len() {
            self.buffers.give(mem::take(&mut self.incoming));
            self.fed = 0;
        }
        if let Err(RecordError::Refused(_)) = fed {
            // The alert that tells the peer why. It may be gone; the refusal stands.
            let _peer_gone = self.flush().await;
        }
        fed
    }

    fn feed(&mut self) -> Result<(), RecordError> {
        while self.pending < PENDING_BYTES_MAX
            && let Some(mut rest) = self.incoming.get(self.fed..).filter(|rest| !rest.is_empty())
        {
            let count = self.connection.read_tls(&mut rest).map_err(RecordError::Io)?;
            let state = self.connection.process_new_packets().map_err(RecordError::Refused)?;
            self.pending = state.plaintext_bytes_to_read();
            self.peer_closed = state.peer_has_closed();
            // Nothing more is read after the peer's end; what follows it is thrown away.
            self.fed = if count == 0 { self.incoming.len() } else { self.fed + count };
        }
        Ok(())
    }

    /// Sends what rustls wants to send, in as few sends as its bound allows.
    async fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            let mut out = self.buffers.take(OUTGOING_BYTES_MIN);
            while self.connection.wants_write() {
                self.connection.write_tls(&mut out)?;
            }
            let (result, out) = self.socket.send_all(out).await;
            self.buffers.give(out);
            result?;
        }
        Ok(())
    }
}

/// A whole record: 16 KiB of plaintext and what RFC 8446 §5.2 lets encryption add.
pub(crate) const INCOMING_BYTES: usize = (16 << 10) + 256;

/// Where rustls is not fed further before its plaintext is taken: below its own bound, which is an error.
const PENDING_BYTES_MAX: usize = 8 << 10;

/// Most answers fit; the vector grows for those that do not.
const OUTGOING_BYTES_MIN: usize = 4 << 10;
