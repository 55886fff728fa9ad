//! Posts over HTTP/1.1. In: bodies, one after the other. Out: status, `Retry-After`, the beginning of the answer. Never here: what is posted,
//! trying again. Requests go over one connection while the peer keeps it.

use std::io::{self, Read, Write};
use std::time::Duration;

use super::wire::{Peer, Wire};

/// Bytes of an answer's head at most; field counts as [`FIELDS_MAX`].
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Fields of an answer's head at most.
const FIELDS_MAX: usize = 64;

/// Bytes of an answer that are kept; the rest is read and dropped up to [`BODY_BYTES_MAX`].
const BODY_BYTES_KEPT: usize = 4 * 1024;

/// Bytes of an answer at most: one to an export says nothing but whether it was taken.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A peer that takes posts.
pub struct Client {
    peer: Peer,
    head: String,
    wire: Option<Wire>,
}

/// What a peer answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// How long it asks us to wait, where it says so in seconds.
    pub retry_after: Option<Duration>,
    /// The beginning of its body.
    pub body: Vec<u8>,
}

/// Where a body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunked,
    UntilClose,
}

struct Head {
    status: u16,
    retry_after: Option<Duration>,
    length: Length,
    keeps: Keeps,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    Open,
    Closed,
}

impl Client {
    /// Posts to `path` at `authority`; `fields` are lines of a head without their ends, already checked to be such.
    pub fn new(peer: Peer, authority: &str, path: &str, fields: &[String]) -> Self {
        let mut head = format!("POST {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: portcullis/{VERSION}\r\n");
        for field in fields {
            head.push_str(field);
            head.push_str("\r\n");
        }
        Self { peer, head, wire: None }
    }

    /// Posts one body.
    ///
    /// # Errors
    /// When the peer cannot be reached, breaks off, or does not speak HTTP/1.1.
    pub fn post(&mut self, body: &[u8]) -> io::Result<Response> {
        // A connection that was kept may have been closed meanwhile; only a fresh one's failure counts.
        if let Some(wire) = self.wire.take()
            && let Ok(response) = self.post_over(wire, body)
        {
            return Ok(response);
        }
        let wire = Wire::open(&self.peer)?;
        self.post_over(wire, body)
    }

    fn post_over(&mut self, mut wire: Wire, body: &[u8]) -> io::Result<Response> {
        let head = format!("{}content-length: {}\r\n\r\n", self.head, body.len());
        wire.write_all(head.as_bytes())?;
        wire.write_all(body)?;
        wire.flush()?;
        let mut read = Vec::new();
        let head = loop {
            let head = read_head(&mut wire, &mut read)?;
            read.drain(..head.bytes);
            // Interim answers (RFC 9110 §15.2) stand before the one that counts.
            if head.status >= 200 {
                break head;
            }
        };
        let body = read_body(&mut wire, &mut read, head.length)?;
        if head.keeps == Keeps::Open && head.length != Length::UntilClose && read.is_empty() {
            self.wire = Some(wire);
        }
        Ok(Response { status: head.status, retry_after: head.retry_after, body })
    }
}

fn read_head(wire: &mut dyn Read, read: &mut Vec<u8>) -> io::Result<Head> {
    loop {
        if let Some(head) = parse(read)? {
            return Ok(head);
        }
        if read.len() > HEAD_BYTES_MAX {
            return Err(broken("its head is too long"));
        }
        more(wire, read)?;
    }
}

fn parse(read: &[u8]) -> io::Result<Option<Head>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let bytes = match response.parse(read).map_err(|fault| broken(&fault.to_string()))? {
        httparse::Status::Complete(bytes) => bytes,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.unwrap_or_default();
    let field = |name: &str| {
        let found = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.and_then(|field| std::str::from_utf8(field.value).ok()).map(str::trim)
    };
    let lists = |name: &str, word: &str| {
        field(name).is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    let length = if lists("transfer-encoding", "chunked") {
        Length::Chunked
    } else if status == 204 || status == 304 || status < 200 {
        Length::Bytes(0)
    } else {
        match field("content-length") {
            Some(length) => Length::Bytes(length.parse().map_err(|_| broken("its length is no number"))?),
            None => Length::UntilClose,
        }
    };
    let keeps = if response.version == Some(1) && !lists("connection", "close") { Keeps::Open } else { Keeps::Closed };
    let retry_after = field("retry-after").and_then(|value| value.parse().ok()).map(Duration::from_secs);
    Ok(Some(Head { status, retry_after, length, keeps, bytes }))
}

/// Reads the body to its end, so that the connection can be used again; keeps its beginning.
fn read_body(wire: &mut dyn Read, read: &mut Vec<u8>, length: Length) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match length {
        Length::Bytes(bytes) => take(wire, read, bytes, &mut body)?,
        Length::Chunked => {
            let mut total = 0_usize;
            loop {
                let size = loop {
                    match httparse::parse_chunk_size(read).map_err(|_| broken("a chunk has no size"))? {
                        httparse::Status::Complete((line, size)) => {
                            read.drain(..line);
                            break usize::try_from(size).unwrap_or(usize::MAX);
                        }
                        httparse::Status::Partial => more(wire, read)?,
                    }
                };
                if size == 0 {
                    break;
                }
                total = total.saturating_add(size);
                if total > BODY_BYTES_MAX {
                    return Err(broken("its answer is too long"));
                }
                take(wire, read, size, &mut body)?;
                take(wire, read, 2, &mut Vec::new())?;
            }
            // Trailers are not wanted; up to the empty line they are passed over.
            while !read.windows(2).any(|end| end == b"\r\n") {
                more(wire, read)?;
            }
            if read.starts_with(b"\r\n") {
                read.drain(..2);
            }
        }
        Length::UntilClose => {
            while body.len() + read.len() < BODY_BYTES_KEPT && more(wire, read).is_ok() {}
            body.append(read);
        }
    }
    body.truncate(BODY_BYTES_KEPT);
    Ok(body)
}

fn take(wire: &mut dyn Read, read: &mut Vec<u8>, bytes: usize, body: &mut Vec<u8>) -> io::Result<()> {
    if bytes > BODY_BYTES_MAX {
        return Err(broken("its answer is too long"));
    }
    while read.len() < bytes {
        more(wire, read)?;
    }
    body.extend(read.drain(..bytes));
    Ok(())
}

fn more(wire: &mut dyn Read, read: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    match wire.read(&mut buffer)? {
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        bytes => {
            read.extend_from_slice(buffer.get(..bytes).unwrap_or_default());
            Ok(())
        }
    }
}

fn broken(words: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it does not answer in HTTP/1.1: {words}"))
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, expected: Result<(u16, Option<u64>, &str, usize), ()>) {
        let (mut wire, mut read) = (answer.as_bytes(), Vec::new());
        let got = read_head(&mut wire, &mut read).and_then(|head| {
            read.drain(..head.bytes);
            let body = read_body(&mut wire, &mut read, head.length)?;
            let seconds = head.retry_after.map(|wait| wait.as_secs());
            Ok((head.status, seconds, String::from_utf8(body).unwrap(), read.len()))
        });
        let expected = expected.map(|(status, wait, body, left)| (status, wait, body.to_owned(), left));
        assert_eq!(got.map_err(drop), expected, "given {answer:?}");
    }

    #[test]
    fn an_answer_that_is_none_is_refused() {
        check("", Err(()));
        check("SSH-2.0-x\r\n", Err(()));
        check("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", Err(()));
        check("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", Err(()));
        check("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n", Err(()));
        check("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", Err(()));
        check(&format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(HEAD_BYTES_MAX * 2)), Err(()));
    }

    #[test]
    fn an_answer_is_read_to_its_end_and_no_further() {
        check("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabHTTP", Ok((200, None, "ab", 4)));
        check("HTTP/1.1 503 x\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", Ok((503, Some(7), "", 0)));
        check("HTTP/1.1 429 x\r\nRetry-After: Fri, 31 Dec 1999\r\n\r\nslow", Ok((429, None, "slow", 0)));
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            Ok((200, None, "abcde", 0)),
        );
        check("HTTP/1.1 204 x\r\n\r\n", Ok((204, None, "", 0)));
    }
}
