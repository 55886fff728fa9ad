//! One connection to an upstream and one reply on it. In: request bytes. Out: a strict head, then body bytes. Never here: what they mean.

use crate::counters::Count;
use crate::downstream::{UNAWAITED_BYTES_MAX, UNBOUNDED};
use crate::http1::chunked::Decoder;
use crate::http1::field::Field;
use crate::http1::head::{Framing, HeadLimits, Persistence};
use crate::http1::last::Last;
use crate::http1::response::{Content, ResponseHead};
use crate::tls::connect_tls;
use crate::transport::Transport;
use crate::worker::Core;
use portcullis_core::config::settings::UpstreamTls;
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::limits;
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::refusal::UpstreamFailure;
use portcullis_core::time::UnixMillis;
use portcullis_core::token::credential::{Channel, Destination};
use portcullis_ring::{Deadline, Quiet, Recv, SendAll, Socket};
use rustls_pki_types::ServerName;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Room for a reply's head and the beginning of its body; small tool results fit whole.
const INPUT_BYTES: usize = 16 * 1024;

/// Interim answers (RFC 9110 §15.2) skipped before a final one; more is an upstream stalling for time.
const INTERIM_MAX: usize = 8;

/// An upstream's head is held to the same bounds as an agent's; its body is bounded where it is read.
const HEAD_LIMITS: HeadLimits =
    HeadLimits { bytes_max: limits::HEAD_BYTES_MAX, fields_max: limits::HEADERS_MAX, body_bytes_max: u64::MAX };

/// An open connection with nothing in flight.
pub struct UpstreamConnection {
    transport: Transport,
    input: Vec<u8>,
    /// While a plain connection is kept: a receive of what ought not to come. It becomes the receive of the next reply.
    posted: Option<Recv>,
    /// What is kept of the last answer's head; nothing under a silent stream.
    heads: Option<Box<Last<ResponseHead>>>,
    /// A short request on its way whose end nobody has asked for yet.
    sending: Option<SendAll>,
    deadline: Deadline,
    generation: u64,
    /// What it was opened for and where it really leads: a credential is lent only where both agree.
    authority: Box<str>,
    channel: Channel,
    peer: IpAddr,
}

impl UpstreamConnection {
    /// Connects, within the connect deadline. A failed attempt is repeated once: nothing was sent yet.
    pub async fn open(core: &Core, snapshot: &Snapshot, server: ServerIndex) -> Result<Box<Self>, UpstreamFailure> {
        let route = snapshot.server(server).ok_or(UpstreamFailure::NoAddress)?;
        let key = (route.settings.url.host.clone(), route.settings.url.port);
        let addresses = core.shared.addresses.get(&key).map(|known| known.clone()).ok_or(UpstreamFailure::NoAddress)?;
        let first = addresses.first().ok_or(UpstreamFailure::NoAddress)?;
        let second = addresses.get(1).unwrap_or(first);
        match Self::attempt(core, snapshot, server, *first).await {
            Err(UpstreamFailure::Unreachable) => Self::attempt(core, snapshot, server, *second).await,
            other => other,
        }
    }

    async fn attempt(
        core: &Core,
        snapshot: &Snapshot,
        server: ServerIndex,
        address: SocketAddr,
    ) -> Result<Box<Self>, UpstreamFailure> {
        let socket = Socket::new_stream(&address).map_err(|_| UpstreamFailure::Unreachable)?;
        let deadline = core.wheel.cut_at(&socket, snapshot.settings.timeouts.connect);
        socket.connect(address).await.map_err(|_| UpstreamFailure::Unreachable)?;
        core.counters.add(Count::UpstreamConnects);
        let route = snapshot.server(server).ok_or(UpstreamFailure::NoAddress)?;
        let config = core.shared.upstream_tls.load().get(usize::from(server.0)).cloned().flatten();
        let (transport, channel) = match config {
            None if route.settings.url.tls == UpstreamTls::Plain => (Transport::Plain(socket), Channel::Plain),
            None => return Err(UpstreamFailure::Untrusted),
            Some(config) => {
                let name = ServerName::try_from(route.settings.url.host.to_string())
                    .map_err(|_| UpstreamFailure::Untrusted)?;
                // Boxed: a handshake is seldom and takes most of the room that a call would need.
                let tls = Box::pin(connect_tls(socket, config, name, core.buffers.clone()));
                let tls = tls.await.map_err(|_| UpstreamFailure::Untrusted)?;
                (Transport::Tls(Box::new(tls)), Channel::Tls)
            }
        };
        let authority = route.settings.url.authority.clone();
        let input = core.buffers.take(INPUT_BYTES);
        let generation = snapshot.upstream_generation();
        Ok(Box::new(Self {
            transport,
            input,
            posted: None,
            heads: None,
            sending: None,
            deadline,
            generation,
            authority,
            channel,
            peer: address.ip(),
        }))
    }

    /// Where it leads, for the lender to compare.
    pub fn destination(&self) -> Destination<'_> {
        Destination { authority: &self.authority, channel: self.channel, peer: self.peer }
    }

    /// The configuration it was opened under.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Nothing has arrived since its last reply: no early close, no smuggled second answer. Plain connections tell without a system call.
    pub fn is_quiet(&mut self) -> bool {
        if !self.input.is_empty() || self.transport.has_buffered() || self.deadline.expired() {
            return false;
        }
        match &mut self.posted {
            Some(receiving) => Pin::new(receiving).poll(&mut Context::from_waker(Waker::noop())).is_pending(),
            None => self.transport.socket().is_quiet() == Quiet::Yes,
        }
    }

    /// Posts the receive that watches a kept connection.
    fn watch(&mut self) {
        if let Transport::Plain(socket) = &self.transport {
            self.posted = Some(socket.recv(std::mem::take(&mut self.input)));
        }
    }

    /// Sends the whole request; the buffer comes back for reuse. A short one on a plain connection is only handed over: its send ends in the
    /// very turn it begins, and should the upstream not read, the deadline of the first byte ends both.
    pub async fn send(&mut self, core: &Core, snapshot: &Snapshot, request: Vec<u8>) -> Result<(), UpstreamFailure> {
        if let Transport::Plain(socket) = &self.transport
            && request.len() <= UNAWAITED_BYTES_MAX
        {
            self.sending = Some(socket.send_all(request));
            return Ok(());
        }
        self.deadline.extend(snapshot.settings.timeouts.write);
        let (sent, buffer) = self.transport.send_all(request).await;
        core.buffers.give(buffer);
        sent.map_err(|_| self.failure())
    }

    /// Whether the request that was handed over is sent; its buffer is given back then.
    fn is_sent(&mut self, core: &Core) -> bool {
        let Some(sending) = &mut self.sending else { return true };
        // Still pending: an answer to half a request.
        let polled = Pin::new(sending).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready((sent, buffer)) = polled else { return false };
        core.buffers.give(buffer);
        // One that failed stays where it is, and so never counts as sent.
        if sent.is_ok() {
            self.sending = None;
        }
        sent.is_ok()
    }

    fn failure(&self) -> UpstreamFailure {
        if self.deadline.expired() { UpstreamFailure::TimedOut } else { UpstreamFailure::Broken }
    }

    async fn fill(&mut self) -> Result<usize, UpstreamFailure> {
        let (read, input) = match self.posted.take() {
            Some(receiving) => receiving.await,
            None => {
                let mut input = std::mem::take(&mut self.input);
                if input.capacity() - input.len() < INPUT_BYTES / 4 {
                    input.reserve(INPUT_BYTES);
                }
                self.transport.recv(input).await
            }
        };
        self.input = input;
        read.map_err(|_| self.failure())
    }
}

/// What a head says that decides how the reply is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// HTTP status.
    pub status: u16,
    /// What kind of body it is.
    pub content: Content,
    persistence: Persistence,
}

/// A reply whose head has been read.
pub struct Reply {
    /// What its head says.
    pub head: Head,
    /// The upstream's session id, where it sent one.
    pub session_id: Option<Box<str>>,
    connection: Box<UpstreamConnection>,
    server: ServerIndex,
    born: UnixMillis,
    body: Body,
}

/// What is still to come of a body.
enum Body {
    Length(u64),
    Chunked(Decoder),
    UntilClose,
    Done,
}

/// What one more read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Some bytes.
    More,
    /// The body ended as its framing said.
    End,
}

impl Reply {
    /// Reads the final head on a connection that has just sent its request.
    pub async fn begin(
        mut connection: Box<UpstreamConnection>,
        snapshot: &Snapshot,
        server: ServerIndex,
        born: UnixMillis,
    ) -> Result<Self, UpstreamFailure> {
        connection.deadline.extend(snapshot.settings.timeouts.first_byte);
        let mut interim = 0;
        loop {
            let UpstreamConnection { heads, input, deadline, .. } = &mut *connection;
            let parsed = match input.is_empty() {
                true => Ok(None),
                false => heads.get_or_insert_default().read(input, &HEAD_LIMITS),
            };
            match parsed.map_err(|_| UpstreamFailure::Malformed)? {
                Some(head) if head.status < 200 => {
                    interim += 1;
                    let is_upgrade = head.status == 101;
                    input.drain(..head.length.min(input.len()));
                    if interim > INTERIM_MAX || is_upgrade {
                        return Err(UpstreamFailure::Malformed);
                    }
                }
                Some(head) => {
                    let body = match head.framing {
                        Framing::None => Body::Done,
                        Framing::Length(length) => Body::Length(length),
                        Framing::Chunked => Body::Chunked(Decoder::new(u64::MAX)),
                        Framing::UntilClose => Body::UntilClose,
                    };
                    deadline.extend(snapshot.settings.timeouts.total);
                    let session_id = head.fields.once(input, Field::McpSessionId);
                    let session_id = session_id.and_then(|id| std::str::from_utf8(id).ok()).filter(|id| !id.is_empty());
                    let session_id = session_id.map(Into::into);
                    input.drain(..head.length.min(input.len()));
                    let head = Head { status: head.status, content: head.content, persistence: head.persistence };
                    return Ok(Self { head, session_id, connection, server, born, body });
                }
                None => {
                    if connection.fill().await? == 0 {
                        return Err(connection.failure());
                    }
                }
            }
        }
    }

    /// No deadline but the caller's own: for streams, which end by events.
    pub fn lift_deadline(&self) {
        self.connection.deadline.extend(UNBOUNDED);
    }

    /// Moves the deadline to `after` from now.
    pub fn extend_deadline(&self, after: std::time::Duration) {
        self.connection.deadline.extend(after);
    }

    /// Waits until something can be read, without a buffer to read it into: streams are silent most of their time.
    pub async fn arrives(&mut self, core: &Core) {
        let connection = &mut self.connection;
        // The request's buffer, too. One that is not sent yet stops nobody from waiting.
        let _sent = connection.is_sent(core);
        if connection.posted.is_some() || !connection.input.is_empty() || connection.transport.has_buffered() {
            return;
        }
        core.buffers.give(std::mem::take(&mut connection.input));
        connection.heads = None;
        // Whatever is wrong with the socket is found when it is read.
        let _ready_or_gone = connection.transport.socket().readable().await;
        connection.input = core.buffers.take(INPUT_BYTES);
    }

    /// Appends what has arrived of the body to `into`, reading once more if nothing had.
    pub async fn piece(&mut self, into: &mut Vec<u8>) -> Result<Piece, UpstreamFailure> {
        loop {
            let before = into.len();
            if self.take_arrived(into)? == Piece::End {
                return Ok(Piece::End);
            }
            if into.len() > before {
                return Ok(Piece::More);
            }
            if self.connection.fill().await? == 0 {
                return match self.body {
                    Body::UntilClose if !self.connection.deadline.expired() => {
                        self.body = Body::Done;
                        Ok(Piece::End)
                    }
                    Body::UntilClose | Body::Length(_) | Body::Chunked(_) | Body::Done => {
                        Err(self.connection.failure())
                    }
                };
            }
        }
    }

    fn take_arrived(&mut self, into: &mut Vec<u8>) -> Result<Piece, UpstreamFailure> {
        let input = &mut self.connection.input;
        match &mut self.body {
            Body::Done => return Ok(Piece::End),
            Body::UntilClose => {
                into.extend_from_slice(input);
                input.clear();
                return Ok(Piece::More);
            }
            Body::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                into.extend_from_slice(input.get(..here).unwrap_or_default());
                input.drain(..here);
                *left -= here as u64;
                if *left > 0 {
                    return Ok(Piece::More);
                }
            }
            Body::Chunked(decoder) => {
                let mut used = 0;
                let finished = loop {
                    let step = decoder
                        .decode(input.get(used..).unwrap_or_default())
                        .map_err(|_| UpstreamFailure::Malformed)?;
                    into.extend_from_slice(
                        input.get(used..).and_then(|rest| rest.get(step.data.clone())).unwrap_or_default(),
                    );
                    used += step.consumed;
                    if step.finished || step.consumed == 0 {
                        break step.finished;
                    }
                };
                input.drain(..used);
                if !finished {
                    return Ok(Piece::More);
                }
            }
        }
        self.body = Body::Done;
        Ok(Piece::End)
    }

    /// Room that the body will need: what its length says, as far as it may be this long, or what most need.
    pub fn room(&self, bytes_max: usize) -> usize {
        match self.body {
            Body::Length(length) => usize::try_from(length).unwrap_or(bytes_max).min(bytes_max),
            Body::Chunked(_) | Body::UntilClose => INPUT_BYTES,
            Body::Done => 0,
        }
    }

    /// How long the body is, where its head said so and nothing of it was taken yet.
    pub fn length(&self) -> Option<u64> {
        match self.body {
            Body::Length(length) => Some(length),
            Body::Chunked(_) | Body::UntilClose | Body::Done => None,
        }
    }

    /// The socket, where bytes pass as they are.
    pub fn plain(&self) -> Option<&Socket> {
        match &self.connection.transport {
            Transport::Plain(socket) => Some(socket),
            Transport::Tls(_) => None,
        }
    }

    /// Why nothing more comes.
    pub fn failure(&self) -> UpstreamFailure {
        self.connection.failure()
    }

    /// Reads until `bytes` of a body of known length have come, or all of it.
    pub async fn beginning(&mut self, bytes: usize) -> Result<(), UpstreamFailure> {
        let enough = self.length().unwrap_or(0).min(bytes as u64);
        while (self.connection.input.len() as u64) < enough {
            if self.connection.fill().await? == 0 {
                return Err(self.connection.failure());
            }
        }
        Ok(())
    }

    /// Takes out what has come of a body of known length, if `wanted` says so of it and something of it is still to come.
    pub fn take_beginning(&mut self, core: &Core, wanted: impl FnOnce(&[u8]) -> bool) -> Option<Vec<u8>> {
        let Body::Length(length) = self.body else { return None };
        let left = length.checked_sub(self.connection.input.len() as u64).filter(|left| *left > 0)?;
        if !wanted(&self.connection.input) {
            return None;
        }
        self.body = Body::Length(left);
        Some(std::mem::replace(&mut self.connection.input, core.buffers.take(INPUT_BYTES)))
    }

    /// All that was left of the body has been taken from the socket itself.
    pub fn passed(&mut self) {
        self.body = Body::Done;
    }

    /// Appends the whole body to `into`, at most `bytes_max` of it.
    pub async fn whole(&mut self, into: &mut Vec<u8>, bytes_max: usize) -> Result<(), UpstreamFailure> {
        if let Body::Length(length) = self.body {
            if length > bytes_max as u64 {
                return Err(UpstreamFailure::TooLarge);
            }
            into.reserve(usize::try_from(length).unwrap_or(0));
            return self.rest(into).await;
        }
        while self.piece(into).await? == Piece::More {
            if into.len() > bytes_max {
                return Err(UpstreamFailure::TooLarge);
            }
        }
        if into.len() > bytes_max { Err(UpstreamFailure::TooLarge) } else { Ok(()) }
    }

    /// Appends a body whose length is known: what has come with the head is copied, the rest is received where it is to stand.
    async fn rest(&mut self, into: &mut Vec<u8>) -> Result<(), UpstreamFailure> {
        while self.take_arrived(into)? == Piece::More {
            let Body::Length(left) = self.body else { return Err(UpstreamFailure::Malformed) };
            let count = usize::try_from(left).map_err(|_| UpstreamFailure::TooLarge)?;
            let (read, buffer) = self.connection.transport.recv_exactly(std::mem::take(into), count).await;
            *into = buffer;
            match read {
                Ok(0) | Err(_) => return Err(self.connection.failure()),
                Ok(read) => self.body = Body::Length(left.saturating_sub(read as u64)),
            }
        }
        Ok(())
    }

    /// Keeps the connection if the reply ended exactly where its framing said and the upstream keeps it open; otherwise it is closed.
    pub fn finish(mut self, core: &Core) {
        let clean = matches!(self.body, Body::Done)
            && self.connection.input.is_empty()
            && self.head.persistence == Persistence::KeepAlive;
        let sent = self.connection.is_sent(core);
        if clean && sent && !self.connection.deadline.expired() && !self.connection.transport.socket().is_poisoned() {
            // The deadline of the whole reply still runs; it is longer than a connection is kept, and the next request moves it.
            self.connection.watch();
            core.pools.give_back(self.server, self.connection, self.born, core.now());
        }
    }
}
