//! One agent's connection and the request on it. In: bytes from the agent. Out: one head, one whole body, one answer. Never here: decisions.
//! This is the type at which HTTP versions meet: what reads a request and answers it never learns which version carried it.

mod answer;
mod parked;

use crate::connection::Line;
use crate::http1::chunked::Decoder;
use crate::http1::error::FramingError;
use crate::http1::field::{Field, FieldValue};
use crate::http1::head::{Framing, HeadLimits, Persistence, Version};
use crate::http1::last::Last;
use crate::http1::request::{Expectation, Method, RequestHead};
use crate::http1::write::CONTINUE;
use crate::transport::Transport;
use crate::worker::Core;
pub use parked::Parked;
use portcullis_core::config::settings::{Limits, Timeouts};
use portcullis_core::identity::certificate::CertificateNames;
use portcullis_ring::spare::Buffers;
use portcullis_ring::{Deadline, SendAll, Socket, Wait};
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Room for a head and a small body in one read.
const INPUT_BYTES: usize = 8 * 1024;

/// A buffer that grew beyond this is given up after its request.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// A plain answer up to this long fits the kernel's send buffer, so its send ends in the very turn it begins, and waking the task to hear
/// so would cost more than the send's own bookkeeping.
pub const UNAWAITED_BYTES_MAX: usize = 16 * 1024;

/// Longer than any call or connection lives: for what other bounds govern.
pub const UNBOUNDED: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How long, and for how many bytes, a closed connection is still read from.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// A request's head.
    Request,
    /// Nothing for a while, and nothing is under way: the connection is to wait on readiness alone.
    Nothing,
}

/// Why no further request came.
#[derive(Debug)]
pub enum Ended {
    /// The agent closed, or its time was up while nothing was under way.
    Quietly,
    /// What came is no request.
    Malformed(FramingError),
    /// The head did not come in time.
    TooSlow,
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFailure {
    /// Longer than the bound.
    TooLarge,
    /// Wrongly framed.
    Malformed(FramingError),
    /// Not whole within its deadline.
    TooSlow,
    /// The agent left in the middle.
    Gone,
}

impl BodyFailure {
    fn of(error: FramingError) -> Self {
        if error.status() == 413 { Self::TooLarge } else { Self::Malformed(error) }
    }
}

/// How far the answer has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Unanswered,
    Streaming,
    Answered,
    Broken,
}

/// Whether the connection takes another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It does.
    Next,
    /// It is to be closed.
    Close,
}

/// What an answer says beside its body.
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`; none for an empty body.
    pub content_type: Option<&'static str>,
    /// Further fields, each a whole line with CRLF.
    pub fields: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// What the head of an answer says, where its body is not at hand or goes by itself.
pub struct Head<'a> {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`; none for an empty body.
    pub content_type: Option<&'static str>,
    /// `Content-Length`.
    pub length: u64,
    /// Further fields, each a whole line with CRLF.
    pub fields: &'a [u8],
}

/// One agent's connection.
pub struct Downstream {
    transport: Transport,
    buffers: Rc<Buffers>,
    deadline: Deadline,
    /// A short answer on its way whose end nobody has asked for yet.
    sending: Option<SendAll>,
    /// Bytes received and not yet given up: the request's head, its body, perhaps the next request.
    input: Vec<u8>,
    /// The request's head, and what is kept of it for the next.
    heads: Last<RequestHead>,
    /// Where the decoded body lies in `input`, once read.
    body: Range<usize>,
    /// How much of `input` belongs to this request.
    used: usize,
    body_read: bool,
    stage: Stage,
    close: bool,
    /// It was readable just now, and nothing has been read since.
    woken: bool,
    /// The agent's address.
    pub source: IpAddr,
    /// Its connection, as the core remembers it.
    pub line: Rc<Line>,
    /// The names in its verified certificate.
    pub certificate: Option<Rc<CertificateNames>>,
}

impl Downstream {
    /// Waits for the next request's head. The deadlines: `keep_alive` for its first byte, then `head` for the rest.
    pub async fn next(&mut self, core: &Core, limits: &Limits, timeouts: &Timeouts) -> Result<Came, Ended> {
        self.input.drain(..self.used.min(self.input.len()));
        if self.input.is_empty() && self.input.capacity() > KEPT_BYTES_MAX {
            // One large body must not make its connection large for ever.
            core.buffers.give(std::mem::replace(&mut self.input, core.buffers.take(INPUT_BYTES)));
        }
        (self.used, self.body, self.body_read, self.stage) = (0, 0..0, false, Stage::Unanswered);
        let mut timed_head = false;
        loop {
            if !self.input.is_empty() {
                match self.heads.read(&self.input, &head_limits(limits)).map_err(Ended::Malformed)? {
                    Some(head) => {
                        self.used = head.length;
                        self.close = head.persistence == Persistence::Close;
                        return Ok(Came::Request);
                    }
                    None if !timed_head => {
                        timed_head = true;
                        self.deadline.extend(timeouts.head);
                    }
                    None => {}
                }
            } else if self.sending.is_some() {
                self.deadline.extend(timeouts.keep_alive.min(timeouts.write));
            } else {
                self.deadline.extend(timeouts.keep_alive);
            }
            let empty = self.input.is_empty();
            let read =
                if empty { self.wait_first(core, timeouts).await } else { self.fill(INPUT_BYTES).await.map(Some) };
            match read {
                Ok(None) => return Ok(Came::Nothing),
                Ok(Some(0)) if !self.input.is_empty() && self.deadline.expired() => return Err(Ended::TooSlow),
                Ok(Some(0)) | Err(_) => return Err(Ended::Quietly),
                Ok(Some(_)) => {}
            }
        }
    }

    async fn fill(&mut self, room: usize) -> io::Result<usize> {
        let mut input = std::mem::take(&mut self.input);
        if input.capacity() - input.len() < room.min(INPUT_BYTES) / 2 {
            input.reserve(room);
        }
        let (read, input) = self.transport.recv(input).await;
        self.input = input;
        read
    }

    /// The request's method.
    pub fn method(&self) -> Method {
        self.heads.head().map_or(Method::Other, |head| head.method)
    }

    fn framing(&self) -> Framing {
        self.heads.head().map_or(Framing::None, |head| head.framing)
    }

    fn expects_continue(&self) -> bool {
        self.heads.head().is_some_and(|head| head.expectation == Expectation::Continue)
    }

    fn is_http10(&self) -> bool {
        self.heads.head().is_some_and(|head| head.version == Version::Http10)
    }

    /// Bytes of the head by range.
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.input.get(range).unwrap_or_default()
    }

    /// The whole body, once read.
    pub fn body(&self) -> &[u8] {
        self.bytes(self.body.clone())
    }

    /// Reads the whole body, asking for it first where the agent waits to be asked (RFC 9110 §10.1.1).
    pub async fn read_body(&mut self, bytes_max: usize, timeouts: &Timeouts) -> Result<(), BodyFailure> {
        if self.body_read {
            return Ok(());
        }
        let start = self.used;
        let declared = match self.framing() {
            Framing::None => Some(0),
            Framing::Length(length) => Some(usize::try_from(length).map_err(|_| BodyFailure::TooLarge)?),
            // The parser gives a request no other.
            Framing::Chunked | Framing::UntilClose => None,
        };
        if declared.is_some_and(|length| length > bytes_max) {
            return Err(BodyFailure::TooLarge);
        }
        if self.expects_continue() && self.input.len() == start && declared != Some(0) {
            let mut asking = self.buffers.take(CONTINUE.len());
            asking.extend_from_slice(CONTINUE);
            self.deadline.extend(timeouts.write);
            self.send(asking).await.map_err(|_| BodyFailure::Gone)?;
            self.lift_deadline();
        }
        match declared {
            Some(length) => self.read_length(start, length, timeouts).await?,
            None => self.read_chunked(start, bytes_max, timeouts).await?,
        }
        self.body_read = true;
        Ok(())
    }

    async fn read_length(&mut self, start: usize, length: usize, timeouts: &Timeouts) -> Result<(), BodyFailure> {
        let mut end = None;
        while self.input.len() < start + length {
            let missing = start + length - self.input.len();
            self.fill_body(missing, end.get_or_insert_with(|| self.deadline.wait(timeouts.body))).await?;
        }
        self.body = start..start + length;
        self.used = start + length;
        Ok(())
    }

    /// Decodes in place: the body's bytes move together behind the head, framing falls away.
    async fn read_chunked(&mut self, start: usize, bytes_max: usize, timeouts: &Timeouts) -> Result<(), BodyFailure> {
        let mut decoder = Decoder::new(bytes_max as u64);
        let (mut last, mut end) = (start, None);
        while !decoder.decode_in_place(&mut self.input, &mut last).map_err(BodyFailure::of)? {
            self.fill_body(INPUT_BYTES, end.get_or_insert_with(|| self.deadline.wait(timeouts.body))).await?;
        }
        self.body = start..last;
        self.used = last;
        Ok(())
    }

    /// Reads on until `end`. Only the receive ends then, and not the connection: the agent is to hear why (RFC 9110 §15.5.9).
    async fn fill_body(&mut self, missing: usize, end: &mut Wait) -> Result<(), BodyFailure> {
        let socket = self.transport.socket().clone();
        let mut filling = pin!(self.fill(missing.clamp(INPUT_BYTES / 2, 256 * 1024)));
        let (read, too_slow) = tokio::select! {
            biased;
            read = &mut filling => (read, false),
            () = end => {
                socket.cancel().await;
                (filling.await, true)
            }
        };
        match read {
            Ok(0) => Err(BodyFailure::Gone),
            Ok(_) => Ok(()),
            Err(_) if too_slow => Err(BodyFailure::TooSlow),
            Err(_) => Err(BodyFailure::Gone),
        }
    }

    /// Hands over a short answer without waiting for its end, which comes at once where the agent reads at all; a long one is waited for.
    async fn hand_over(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        match &self.transport {
            Transport::Plain(socket) if bytes.len() <= UNAWAITED_BYTES_MAX => {
                let socket = socket.clone();
                self.sent().await?;
                self.sending = Some(socket.send_all(bytes));
                Ok(())
            }
            Transport::Plain(_) | Transport::Tls(_) => self.send(bytes).await,
        }
    }

    /// The answer that was handed over last is sent.
    async fn sent(&mut self) -> io::Result<()> {
        let Some(sending) = self.sending.take() else { return Ok(()) };
        let (sent, buffer) = sending.await;
        self.buffers.give(buffer);
        if sent.is_err() {
            self.stage = Stage::Broken;
            self.close = true;
        }
        sent
    }

    /// Takes the buffer of the answer that was handed over last, if that is sent by now; waits for nothing.
    fn settle(&mut self) {
        let Some(mut sending) = self.sending.take() else { return };
        match Pin::new(&mut sending).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => self.sending = Some(sending),
            Poll::Ready((sent, buffer)) => {
                self.buffers.give(buffer);
                if sent.is_err() {
                    self.break_off();
                }
            }
        }
    }

    async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.sent().await?;
        let (sent, buffer) = self.transport.send_all(bytes).await;
        self.buffers.give(buffer);
        if sent.is_err() {
            self.stage = Stage::Broken;
            self.close = true;
        }
        sent
    }

    /// A field's value, where the head has it exactly once.
    pub fn field(&self, field: Field) -> Option<&[u8]> {
        self.heads.head()?.fields.once(&self.input, field)
    }

    /// The same as text.
    pub fn text(&self, field: Field) -> Option<&str> {
        std::str::from_utf8(self.field(field)?).ok()
    }

    /// Whether the head has the field at all.
    pub fn has(&self, field: Field) -> bool {
        self.value(field) != FieldValue::Absent
    }

    /// Whether the field is absent, there once, or repeated.
    pub fn value(&self, field: Field) -> FieldValue {
        self.heads.head().map_or(FieldValue::Absent, |head| head.fields.field(field))
    }

    /// The authority the request is for.
    pub fn host(&self) -> &str {
        let host = self.heads.head().and_then(|head| head.host_text(&self.input));
        host.and_then(|host| std::str::from_utf8(host).ok()).unwrap_or_default()
    }

    /// Every field: name and value.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        let lines = self.heads.head().into_iter().flat_map(|head| head.fields.iter());
        lines.map(|line| (std::str::from_utf8(self.bytes(line.name)).unwrap_or_default(), self.bytes(line.value)))
    }

    /// The `Mcp-Param-*` fields.
    pub fn mirrored_arguments(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        // None of them is a field that the parser knows.
        let unknown =
            self.heads.head().into_iter().flat_map(|head| head.fields.iter()).filter(|line| line.field.is_none());
        let mirrored = unknown.filter(|line| {
            self.bytes(line.name.clone()).get(..10).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"mcp-param-"))
        });
        mirrored.map(|line| (std::str::from_utf8(self.bytes(line.name)).unwrap_or_default(), self.bytes(line.value)))
    }

    /// The path of the target, without its query.
    pub fn path(&self) -> &str {
        let target = self.heads.head().map_or(&b"/"[..], |head| head.target_text(&self.input));
        let target = std::str::from_utf8(target).unwrap_or_default();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// Resolves when the agent has left; consumes nothing it sent.
    pub async fn gone(&self) {
        let _ = self.transport.socket().peer_gone().await;
    }

    /// The answer under way cannot be finished: the connection must not look as if it were.
    pub fn break_off(&mut self) {
        self.stage = Stage::Broken;
        self.close = true;
    }

    /// While a call is under way its own deadlines count, not the agent's.
    pub fn lift_deadline(&self) {
        self.deadline.extend(UNBOUNDED);
    }

    /// Holds no more than the request at hand: what is waited for is not the agent's.
    pub fn shed(&mut self) {
        self.settle();
        self.heads.forget();
        if self.input.capacity() > 2 * self.input.len() {
            let kept = self.input.as_slice().to_vec();
            self.buffers.give(std::mem::replace(&mut self.input, kept));
        }
    }

    /// What is sent now has to go out within the time for writing.
    pub fn limit_writing(&self, timeouts: &Timeouts) {
        self.deadline.extend(timeouts.write);
    }

    /// The socket, where bytes pass as they are.
    pub fn plain(&self) -> Option<&Socket> {
        match &self.transport {
            Transport::Plain(socket) => Some(socket),
            Transport::Tls(_) => None,
        }
    }

    /// Whether anything of an answer has gone out.
    pub fn is_answered(&self) -> bool {
        self.stage != Stage::Unanswered
    }

    /// Ask for the connection to be closed after this answer.
    pub fn close_after(&mut self) {
        self.close = true;
    }

    fn closing(&self) -> After {
        if self.close { After::Close } else { After::Next }
    }

    /// Whether another request may follow.
    pub fn after(&self) -> After {
        match self.stage {
            Stage::Answered => self.closing(),
            Stage::Unanswered | Stage::Streaming | Stage::Broken => After::Close,
        }
    }

    /// Takes in what the agent still sends, for a while: closing on unread bytes would reset the connection and with it our last answer.
    async fn linger(&mut self, core: &Core) {
        self.deadline.extend(LINGER);
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            self.input.clear();
            match self.fill(INPUT_BYTES).await {
                Ok(read) if read > 0 => left = left.saturating_sub(read),
                Ok(_) | Err(_) => break,
            }
        }
        core.buffers.give(std::mem::take(&mut self.input));
    }

    /// Says goodbye and gives the buffer back.
    pub async fn close(&mut self, core: &Core) {
        // An answer that was handed over is sent first; where it cannot be, nothing more can.
        if self.stage == Stage::Broken || self.sent().await.is_err() {
            self.transport.socket().shutdown();
            return;
        }
        self.transport.close().await;
        self.linger(core).await;
    }
}

fn head_limits(limits: &Limits) -> HeadLimits {
    HeadLimits {
        bytes_max: limits.head_bytes_max,
        fields_max: limits.headers_max,
        body_bytes_max: limits.body_bytes_max as u64,
    }
}
