//! Serves one connection of the stub. In: what arrives. Out: answers. It holds no buffer while nothing is on its way.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;

use super::{Desk, say};
use crate::answer::{self, After};
use crate::body::Left;
use crate::http::{self, Ask, Framed, Framing};
use crate::poll::{Interest, Poll};
use crate::rpc::OPENING_BYTES;
use crate::socket;

/// A message that is kept until its end has come; of a longer one only the opening is.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Less than this is not worth a call of its own to throw away.
const DISCARD_BYTES_MIN: usize = 16 * 1024;

/// One connection.
pub struct Connection {
    stream: TcpStream,
    token: u64,
    interest: Interest,
    /// What has arrived of a message whose end is missing.
    partial: Vec<u8>,
    /// A long body on its way.
    long: Option<Box<Long>>,
    output: Vec<u8>,
    /// What follows the output, and how much of it has gone.
    tail: Option<(Rc<[u8]>, usize)>,
    /// What a held stream is told when all are.
    held: Option<Box<[u8]>>,
}

struct Long {
    opening: Vec<u8>,
    left: Left,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It goes on.
    Stay,
    /// It goes on, and all held streams are told something.
    Wake,
    /// It ends.
    Close,
}

impl Connection {
    /// A fresh one, watched under `token`.
    pub fn new(stream: TcpStream, token: u64) -> Self {
        Self {
            stream,
            token,
            interest: Interest::Read,
            partial: Vec::new(),
            long: None,
            output: Vec::new(),
            tail: None,
            held: None,
        }
    }

    /// Whether it is a stream of events.
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Tells a held stream what it is to be told.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn tell(&mut self, poll: &Poll) -> io::Result<()> {
        let Some(told) = &self.held else { return Ok(()) };
        self.output.extend_from_slice(told);
        self.flush(poll)
    }

    /// Reads what is there, answers every whole request in it and writes what fits.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn turn(&mut self, poll: &Poll, desk: &mut Desk) -> io::Result<Next> {
        let next = match self.receive(desk) {
            Ok(next) => next,
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => Next::Stay,
            Err(cause) => return Err(cause),
        };
        self.flush(poll)?;
        Ok(next)
    }

    fn receive(&mut self, desk: &mut Desk) -> io::Result<Next> {
        if let Some(Long { left: Left::Length(left), .. }) = self.long.as_deref_mut()
            && *left >= DISCARD_BYTES_MIN
        {
            let count = socket::discard(&self.stream, &mut desk.discard, *left)?;
            *left = left.saturating_sub(count);
            return Ok(if count == 0 { Next::Close } else { self.end_long(desk) });
        }
        let mut read = std::mem::take(&mut desk.read);
        let next = match self.stream.read(&mut read) {
            Ok(0) => Ok(Next::Close),
            Ok(count) => self.take(read.get(..count).unwrap_or_default(), desk),
            Err(cause) => Err(cause),
        };
        desk.read = read;
        next
    }

    fn take(&mut self, piece: &[u8], desk: &mut Desk) -> io::Result<Next> {
        if let Some(long) = &mut self.long {
            let Long { opening, left } = long.as_mut();
            let taken = left.take(piece, |content| keep(opening, content));
            return Ok(if taken.is_err() { Next::Close } else { self.end_long(desk) });
        }
        if self.partial.is_empty() {
            return self.take_whole(piece, desk);
        }
        let mut bytes = std::mem::take(&mut self.partial);
        bytes.extend_from_slice(piece);
        self.take_whole(&bytes, desk)
    }

    /// Answers what is whole and keeps the rest.
    fn take_whole(&mut self, mut bytes: &[u8], desk: &mut Desk) -> io::Result<Next> {
        let mut next = Next::Stay;
        while !bytes.is_empty() {
            let request = match http::request(bytes) {
                Framed::Whole(request) => request,
                Framed::Broken => return Ok(Next::Close),
                Framed::Partial if bytes.len() > KEPT_BYTES_MAX => return Ok(Next::Close),
                Framed::Partial => {
                    self.partial = bytes.to_vec();
                    break;
                }
            };
            let rest = bytes.get(request.begin..).unwrap_or_default();
            match request.framing {
                Framing::Length(length) if length <= rest.len() => {
                    let (body, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                    if self.answer(request.ask, body, desk)? == Next::Wake {
                        next = Next::Wake;
                    }
                    bytes = behind;
                }
                // Short, and most of it is here already, so its end will be as well.
                Framing::Length(length) if length <= KEPT_BYTES_MAX / 4 => {
                    self.partial = bytes.to_vec();
                    break;
                }
                Framing::Length(_) | Framing::Chunked => {
                    let (mut left, mut opening) = (Left::of(request.framing), Vec::new());
                    if left.take(rest, |content| keep(&mut opening, content)).is_err() || request.ask != Ask::Post {
                        return Ok(Next::Close);
                    }
                    self.long = Some(Box::new(Long { opening, left }));
                    return Ok(self.end_long(desk));
                }
            }
        }
        Ok(next)
    }

    /// Answers a long body if its end has come.
    fn end_long(&mut self, desk: &mut Desk) -> Next {
        match self.long.take() {
            Some(long) if long.left.is_over() => self.post(&long.opening, desk),
            going_on => {
                self.long = going_on;
                Next::Stay
            }
        }
    }

    fn answer(&mut self, ask: Ask, body: &[u8], desk: &mut Desk) -> io::Result<Next> {
        match ask {
            Ask::Post => return Ok(self.post(body, desk)),
            Ask::Stats => say(&desk.stats, &mut self.output)?,
            Ask::Stream => {
                desk.stats.requests += 1;
                desk.stats.streams += 1;
                self.held = Some(answer::stream(&mut self.output));
            }
            Ask::Other => self
                .output
                .extend_from_slice(b"HTTP/1.1 405 Method Not Allowed\r\nallow: GET, POST\r\ncontent-length: 0\r\n\r\n"),
        }
        Ok(Next::Stay)
    }

    fn post(&mut self, body: &[u8], desk: &mut Desk) -> Next {
        desk.stats.requests += 1;
        // Only a client that does not wait for its answer asks again while a long one is on its way; nobody here does.
        if self.tail.is_some() || self.held.is_some() {
            return Next::Close;
        }
        match desk.answers.respond(body, &mut self.output) {
            After::Next => Next::Stay,
            After::Wake => Next::Wake,
            After::Tail(tail) => {
                self.tail = Some((tail, 0));
                Next::Stay
            }
            After::Held(told) => {
                desk.stats.streams += 1;
                self.held = Some(told);
                Next::Stay
            }
        }
    }

    fn flush(&mut self, poll: &Poll) -> io::Result<()> {
        while !self.output.is_empty() || self.tail.is_some() {
            let tail = self.tail.as_ref().and_then(|(tail, sent)| tail.get(*sent..)).unwrap_or_default();
            let written = match tail {
                [] => self.stream.write(&self.output),
                tail => self.stream.write_vectored(&[IoSlice::new(&self.output), IoSlice::new(tail)]),
            };
            match written {
                Ok(count) => self.sent(count),
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => break,
                Err(cause) => return Err(cause),
            }
        }
        let waits = !self.output.is_empty() || self.tail.is_some();
        let wanted = if waits { Interest::ReadWrite } else { Interest::Read };
        if wanted != self.interest {
            poll.modify(&self.stream, self.token, wanted)?;
            self.interest = wanted;
        }
        Ok(())
    }

    fn sent(&mut self, count: usize) {
        let of_output = count.min(self.output.len());
        self.output.drain(..of_output);
        if let Some((tail, sent)) = &mut self.tail {
            *sent += count - of_output;
            if *sent == tail.len() {
                self.tail = None;
            }
        }
    }
}

fn keep(opening: &mut Vec<u8>, content: &[u8]) {
    let room = OPENING_BYTES.saturating_sub(opening.len());
    opening.extend_from_slice(content.get(..room).unwrap_or(content));
}
