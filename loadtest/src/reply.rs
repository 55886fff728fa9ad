//! Reads one response piece by piece and judges it. In: pieces as they come. Out: what it amounts to, once it has ended. Of a long one
//! only the opening is kept.

use crate::body::Left;
use crate::events::Events;
use crate::http::{self, Content, Framed, Response};

/// What of a body is looked at: the id and the first word behind it stand here.
const OPENING_BYTES: usize = 256;

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

/// A response on its way.
#[derive(Default)]
pub struct Reply {
    /// A head of which the end is missing.
    partial: Vec<u8>,
    body: Option<Box<Body>>,
    session: Option<Box<str>>,
}

struct Body {
    status: u16,
    left: Left,
    opening: Vec<u8>,
    events: Option<Events>,
}

impl Reply {
    /// Takes what has arrived.
    pub fn take(&mut self, piece: &[u8]) -> Outcome {
        if let Some(body) = &mut self.body {
            let outcome = body.take(piece);
            return self.end(outcome);
        }
        if self.partial.is_empty() {
            return self.begin(piece);
        }
        let mut bytes = std::mem::take(&mut self.partial);
        bytes.extend_from_slice(piece);
        self.begin(&bytes)
    }

    fn begin(&mut self, bytes: &[u8]) -> Outcome {
        match http::response(bytes) {
            Framed::Partial => {
                self.partial.extend_from_slice(bytes);
                Outcome::Waiting
            }
            Framed::Broken => Outcome::Broken,
            Framed::Whole(Response { status, begin, framing, content, session }) => {
                self.session = session.map(Into::into);
                let piece = bytes.get(begin..).unwrap_or_default();
                // A small answer in one piece, which most are.
                if framing == http::Framing::Length(piece.len()) {
                    return judge(status, piece);
                }
                let events = (content == Content::Events && status == 200).then(Events::default);
                let mut body = Body { status, left: Left::of(framing), opening: Vec::new(), events };
                let outcome = body.take(piece);
                self.body = Some(Box::new(body));
                self.end(outcome)
            }
        }
    }

    fn end(&mut self, outcome: Outcome) -> Outcome {
        if outcome != Outcome::Waiting {
            self.body = None;
        }
        outcome
    }

    /// The session that the response opened, if it did.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Events that have come, where the response is a stream of events that goes on.
    pub fn events(&self) -> Option<u64> {
        self.body.as_ref().and_then(|body| body.events.as_ref()).map(Events::ended)
    }

    /// How many bytes will come that nobody has to look at, beside the last one.
    pub fn unread(&self) -> usize {
        match self.body.as_deref() {
            Some(Body { left: Left::Length(left), opening, events: None, .. }) if opening.len() >= OPENING_BYTES => {
                *left
            }
            Some(_) | None => 0,
        }
    }

    /// Counts bytes that were thrown away.
    pub fn skip(&mut self, count: usize) -> Outcome {
        let Some(body) = &mut self.body else { return Outcome::Broken };
        let Left::Length(left) = &mut body.left else { return Outcome::Broken };
        *left = left.saturating_sub(count);
        let outcome = if *left == 0 { judge(body.status, &body.opening) } else { Outcome::Waiting };
        self.end(outcome)
    }
}

impl Body {
    fn take(&mut self, piece: &[u8]) -> Outcome {
        let Self { left, opening, events, .. } = self;
        let taken = left.take(piece, |content| {
            let room = OPENING_BYTES.saturating_sub(opening.len());
            opening.extend_from_slice(content.get(..room).unwrap_or(content));
            if let Some(events) = events {
                events.take(content);
            }
        });
        match taken {
            // Bytes after the answer to the only request on its way belong to nobody.
            Err(_) => Outcome::Broken,
            Ok(()) if self.left.is_over() => judge(self.status, &self.opening),
            Ok(()) => Outcome::Waiting,
        }
    }
}

fn judge(status: u16, body: &[u8]) -> Outcome {
    if status != 200 {
        return Outcome::Refused(status);
    }
    let opening = body.get(..OPENING_BYTES).unwrap_or(body);
    if memchr::memmem::find(opening, b"\"result\":").is_some() { Outcome::Good } else { Outcome::RpcError }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` in two pieces, cut at every place.
    fn check(text: &str, expected: Outcome) {
        for cut in 1..text.len() {
            let mut reply = Reply::default();
            let (first, second) = text.as_bytes().split_at(cut);
            let got = match reply.take(first) {
                Outcome::Waiting => reply.take(second),
                early => early,
            };
            assert_eq!(got, expected, "given {text:?} cut at {cut}");
        }
        assert_eq!(Reply::default().take(text.as_bytes()), expected, "given {text:?} at once");
    }

    #[test]
    fn a_response_is_judged_by_its_status_and_its_opening_word() {
        check("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}", Outcome::Refused(403));
        check("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"error\":{}}", Outcome::RpcError);
        check("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"result\":{}}", Outcome::Good);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"re\r\n9\r\nsult\":{}}\r\n0\r\n\r\n";
        check(chunked, Outcome::Good);
    }

    #[test]
    fn what_follows_the_only_answer_breaks_it() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"error\":{}}{";
        assert_eq!(Reply::default().take(text), Outcome::Broken);
    }

    #[test]
    fn what_is_long_is_counted_and_not_kept() {
        let body = format!("{{\"result\":\"{}\"}}", "x".repeat(1 << 20));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut reply = Reply::default();
        assert_eq!(reply.take(head.as_bytes()), Outcome::Waiting);
        assert_eq!(reply.unread(), 0, "nothing of the body has been seen yet");
        let (first, rest) = body.as_bytes().split_at(1000);
        assert_eq!(reply.take(first), Outcome::Waiting);
        assert_eq!(reply.unread(), rest.len());
        assert_eq!(reply.skip(rest.len() - 1), Outcome::Waiting);
        assert_eq!(reply.skip(1), Outcome::Good);
        assert!(reply.body.is_none() && reply.partial.is_empty());
    }

    #[test]
    fn events_are_counted_while_their_stream_goes_on() {
        let mut reply = Reply::default();
        assert_eq!(reply.events(), None);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(reply.take(head.as_bytes()), Outcome::Waiting);
        assert_eq!(reply.events(), Some(0));
        assert_eq!(reply.take(b"9\r\ndata: x\n\n\r\n"), Outcome::Waiting);
        assert_eq!(reply.events(), Some(1));
        assert_eq!(reply.take(b"0\r\n\r\n"), Outcome::RpcError, "it ended without a result");
        assert_eq!(reply.events(), None);
    }
}
