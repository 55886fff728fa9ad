//! Answers the request at hand. In: a record, and what is to be said. Out: one whole answer or a stream of events. Never here: what to say.

use super::{After, Answer, Downstream, Head, INPUT_BYTES, Stage, UNBOUNDED};
use crate::http1::chunked;
use crate::http1::field::Field;
use crate::http1::head::Framing;
use crate::http1::request::Method;
use crate::http1::write::HeadWriter;
use crate::journal::{Recorded, Refused, ResultSeen};
use crate::transport::Transport;
use crate::worker::Core;
use portcullis_core::config::settings::Timeouts;
use portcullis_core::refusal::JournalFailure;
use portcullis_ring::{Moved, Pipe, Socket};
use std::io;

/// Bytes of an unread body we swallow after an early answer to keep the connection; more, and it is closed (CVE-2025-4366).
const DRAIN_BYTES_MAX: usize = 64 * 1024;

/// What browsers may send to and read from a route.
const CORS: &[u8] = b"Access-Control-Allow-Methods: POST, GET, DELETE, OPTIONS\r\n\
Access-Control-Allow-Headers: authorization, content-type, accept, mcp-protocol-version, mcp-method, mcp-name, mcp-session-id, last-event-id\r\n\
Access-Control-Expose-Headers: WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version\r\n\
Access-Control-Max-Age: 600\r\n";

impl Downstream {
    /// Releases a recorded result: the only door by which what an upstream said goes out whole.
    pub async fn release(
        &mut self,
        core: &Core,
        recorded: Recorded<ResultSeen>,
        answer: &Answer<'_>,
        timeouts: &Timeouts,
    ) {
        let _spent = recorded;
        // An agent that left before its answer has nothing to be told; the record stands.
        let _gone = self.answer(core, answer, timeouts).await;
    }

    /// Releases a recorded result that is long: its bytes are sent from where they are.
    pub async fn release_long(
        &mut self,
        core: &Core,
        recorded: Recorded<ResultSeen>,
        head: &Head<'_>,
        body: Vec<u8>,
        timeouts: &Timeouts,
    ) {
        if self.begin_long(core, recorded, head, body, timeouts).await.is_ok() {
            self.stage = Stage::Answered;
        }
    }

    /// Begins an answer of which `recorded` is the record: its head and the first bytes of its body. [`Downstream::end_long`] ends it, or
    /// [`Downstream::break_off`].
    pub async fn begin_long(
        &mut self,
        core: &Core,
        recorded: Recorded<ResultSeen>,
        head: &Head<'_>,
        begun: Vec<u8>,
        timeouts: &Timeouts,
    ) -> io::Result<()> {
        let _spent = recorded;
        let mut output = core.buffers.take(INPUT_BYTES / 8);
        self.settle_unread_body();
        self.write_head(core, &mut output, head);
        self.stage = Stage::Streaming;
        self.deadline.extend(timeouts.write);
        self.sent().await?;
        let (sent, output, begun) = self.transport.send_both(output, begun).await;
        core.buffers.give(output);
        core.buffers.give(begun);
        self.deadline.extend(UNBOUNDED);
        if sent.is_err() {
            self.break_off();
        }
        sent
    }

    /// Lets go of the last bytes of an answer, now that its end is recorded.
    pub async fn end_long(
        &mut self,
        recorded: Recorded<ResultSeen>,
        last: &mut Pipe,
        timeouts: &Timeouts,
    ) -> io::Result<()> {
        let _spent = recorded;
        self.deadline.extend(timeouts.write);
        let sent = match &self.transport {
            Transport::Plain(socket) => drain(last, socket).await,
            // Bytes that pass through the kernel alone cannot be enciphered.
            Transport::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        match sent {
            Ok(()) => self.stage = Stage::Answered,
            Err(_) => self.break_off(),
        }
        sent
    }

    /// Refuses; `recorded` is the record, or why there is none, which is then what the answer says.
    pub async fn refuse(
        &mut self,
        core: &Core,
        recorded: Result<Recorded<Refused>, JournalFailure>,
        answer: &Answer<'_>,
        timeouts: &Timeouts,
    ) {
        let _spent = recorded;
        let _gone = self.answer(core, answer, timeouts).await;
    }

    /// Answers a page of the gateway's own, which says nothing of upstreams and so is not recorded.
    pub async fn answer_own(&mut self, core: &Core, answer: &Answer<'_>, timeouts: &Timeouts) {
        let _gone = self.answer(core, answer, timeouts).await;
    }

    async fn answer(&mut self, core: &Core, answer: &Answer<'_>, timeouts: &Timeouts) -> io::Result<()> {
        let mut output = core.buffers.take(answer.body.len() + INPUT_BYTES / 8);
        self.settle_unread_body();
        let &Answer { status, content_type, fields, body } = answer;
        self.write_head(core, &mut output, &Head { status, content_type, length: body.len() as u64, fields });
        if self.method() != Method::Head {
            output.extend_from_slice(answer.body);
        }
        self.stage = Stage::Answered;
        self.deadline.extend(timeouts.write);
        let sent = self.hand_over(output).await;
        if sent.is_err() {
            self.stage = Stage::Broken;
        }
        sent
    }

    fn write_head(&self, core: &Core, output: &mut Vec<u8>, answer: &Head<'_>) {
        let mut head = HeadWriter::response(output, answer.status);
        head.field(b"Date", &core.date());
        if let Some(content_type) = answer.content_type {
            head.field(b"Content-Type", content_type.as_bytes());
        }
        if answer.status != 204 {
            head.number(b"Content-Length", answer.length);
        }
        self.finish_head(head, answer.fields);
    }

    /// Ends a head: persistence, then the fields that were made of checked parts.
    fn finish_head(&self, mut head: HeadWriter<'_>, fields: &[u8]) {
        match (self.closing(), self.is_http10()) {
            (After::Close, _) => {
                head.field(b"Connection", b"close");
            }
            (After::Next, true) => {
                head.field(b"Connection", b"keep-alive");
            }
            (After::Next, false) => {}
        }
        head.lines(fields);
        // Every name and value above is ours or was read by the strict parser.
        let _sound = head.finish();
    }

    /// An answer before the body was read: keep the connection only if what is left of the body is already here.
    fn settle_unread_body(&mut self) {
        if self.body_read {
            return;
        }
        let left = match self.framing() {
            Framing::None => Some(0),
            Framing::Length(length) => usize::try_from(length).ok().filter(|length| *length <= DRAIN_BYTES_MAX),
            Framing::Chunked | Framing::UntilClose => None,
        };
        match left {
            Some(left) if self.input.len() >= self.used + left && !self.expects_continue() => self.used += left,
            Some(_) | None => self.close = true,
        }
    }

    /// Begins an event stream, of which `recorded` is the record; everything further goes out as it comes.
    pub async fn begin_stream(
        &mut self,
        core: &Core,
        recorded: Recorded<ResultSeen>,
        fields: &[u8],
        timeouts: &Timeouts,
    ) {
        let _spent = recorded;
        let mut output = core.buffers.take(INPUT_BYTES / 8);
        // Without chunks only the end of the connection can end a stream.
        self.close |= self.is_http10();
        let mut head = HeadWriter::response(&mut output, 200);
        head.field(b"Date", &core.date()).field(b"Content-Type", b"text/event-stream");
        if !self.is_http10() {
            head.field(b"Transfer-Encoding", b"chunked");
        }
        self.finish_head(head, fields);
        self.stage = Stage::Streaming;
        self.deadline.extend(timeouts.write);
        // An agent that has left makes the first events fail, where leaving is dealt with.
        let _gone = self.send(output).await;
        self.deadline.extend(UNBOUNDED);
    }

    /// Sends whole events, as one chunk.
    pub async fn send_events(&mut self, core: &Core, events: &[u8], timeouts: &Timeouts) -> io::Result<()> {
        let mut output = core.buffers.take(events.len() + 32);
        if self.is_http10() {
            output.extend_from_slice(events);
        } else {
            chunked::write_chunk(&mut output, events);
        }
        self.deadline.extend(timeouts.write);
        let sent = self.send(output).await;
        self.deadline.extend(UNBOUNDED);
        sent
    }

    /// Ends the stream as its framing says.
    pub async fn end_stream(&mut self, timeouts: &Timeouts) -> io::Result<()> {
        self.stage = Stage::Answered;
        if self.is_http10() {
            return Ok(());
        }
        self.deadline.extend(timeouts.write);
        let mut last = self.buffers.take(8);
        chunked::write_last_chunk(&mut last);
        self.send(last).await
    }

    /// What a browser from an allowed origin must read (the Fetch standard); nothing for everybody else. The origin was checked before.
    pub fn cors(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        if let Some(origin) = self.field(Field::Origin) {
            for part in [b"Access-Control-Allow-Origin: ", origin, b"\r\nVary: Origin\r\n", CORS] {
                fields.extend_from_slice(part);
            }
        }
        fields
    }
}

/// Empties the pipe into the socket.
async fn drain(pipe: &mut Pipe, socket: &Socket) -> io::Result<()> {
    while pipe.held() > 0 {
        if pipe.drain(socket)? == Moved::NotReady {
            socket.writable().await?;
        }
    }
    Ok(())
}
