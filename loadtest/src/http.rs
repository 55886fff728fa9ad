//! Reads HTTP/1.1 framing, as much of it as a bench needs. In: bytes so far. Out: one whole message, or the wish for more.

use std::ops::Range;

/// Fields in a head; the proxies under test add a handful to the dozen of the request.
const HEADERS_MAX: usize = 64;

/// A message, or the wish for more bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed<T> {
    /// The end has not come yet.
    Partial,
    /// One message; more may follow it.
    Whole(T),
    /// No HTTP/1.1 of the kind spoken here.
    Broken,
}

/// A request with its method and where its body lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it asks.
    pub ask: Ask,
    /// The body's place in the bytes; its end is the end of the message.
    pub body: Range<usize>,
}

/// What the stub can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A POST to any path.
    Post,
    /// A GET of `/stats`.
    Stats,
    /// Anything else.
    Other,
}

/// A response with where its body lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Where the body lies, chunk framing included; its end is the end of the message.
    pub body: Range<usize>,
}

/// How a head says its body ends.
enum Framing {
    Length(usize),
    Chunked,
}

/// Reads one request from the front of `bytes`.
pub fn request(bytes: &[u8]) -> Framed<Request> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let begin = match head.parse(bytes) {
        Ok(httparse::Status::Complete(begin)) => begin,
        Ok(httparse::Status::Partial) => return Framed::Partial,
        Err(_) => return Framed::Broken,
    };
    let ask = match (head.method, head.path) {
        (Some("POST"), _) => Ask::Post,
        (Some("GET"), Some("/stats")) => Ask::Stats,
        _ => Ask::Other,
    };
    match framing(head.headers) {
        Some(framing) => body(bytes, begin, &framing, |body| Request { ask, body }),
        None => Framed::Broken,
    }
}

/// Reads one response from the front of `bytes`.
pub fn response(bytes: &[u8]) -> Framed<Response> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let begin = match head.parse(bytes) {
        Ok(httparse::Status::Complete(begin)) => begin,
        Ok(httparse::Status::Partial) => return Framed::Partial,
        Err(_) => return Framed::Broken,
    };
    let status = head.code.unwrap_or_default();
    match framing(head.headers) {
        Some(framing) => body(bytes, begin, &framing, |body| Response { status, body }),
        None => Framed::Broken,
    }
}

fn body<T>(bytes: &[u8], begin: usize, framing: &Framing, make: impl FnOnce(Range<usize>) -> T) -> Framed<T> {
    let end = match framing {
        Framing::Length(length) => begin + length,
        Framing::Chunked => match chunked_end(bytes, begin) {
            Framed::Whole(end) => end,
            Framed::Partial => return Framed::Partial,
            Framed::Broken => return Framed::Broken,
        },
    };
    if end > bytes.len() { Framed::Partial } else { Framed::Whole(make(begin..end)) }
}

/// A head without either field has no body: true of requests, and of the responses met here.
fn framing(headers: &[httparse::Header<'_>]) -> Option<Framing> {
    let mut framing = Framing::Length(0);
    for header in headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            framing = Framing::Length(std::str::from_utf8(header.value).ok()?.trim().parse().ok()?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            framing = header.value.eq_ignore_ascii_case(b"chunked").then_some(Framing::Chunked)?;
        }
    }
    Some(framing)
}

/// Where a chunked body without trailers ends (RFC 9112 §7.1).
fn chunked_end(bytes: &[u8], mut at: usize) -> Framed<usize> {
    loop {
        let Some(rest) = bytes.get(at..) else { return Framed::Partial };
        let Some(line) = memchr::memmem::find(rest, b"\r\n") else { return Framed::Partial };
        let digits = rest.get(..line).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default();
        let Ok(size) = usize::from_str_radix(digits, 16) else { return Framed::Broken };
        at += line + 2 + size + 2;
        if size == 0 {
            return Framed::Whole(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &Framed<(u16, &str)>) {
        let got = match response(text.as_bytes()) {
            Framed::Whole(whole) => Framed::Whole((whole.status, text.get(whole.body).unwrap())),
            Framed::Partial => Framed::Partial,
            Framed::Broken => Framed::Broken,
        };
        assert_eq!(&got, expected, "given {text:?}");
    }

    #[test]
    fn a_response_ends_where_its_framing_says() {
        check("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", &Framed::Broken);
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", &Framed::Broken);
        check("HTTP/1.1 200 OK\r\nContent-Len", &Framed::Partial);
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", &Framed::Partial);
        check("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP/1.1", &Framed::Whole((200, "abc")));
        check("HTTP/1.1 202 Accepted\r\n\r\n", &Framed::Whole((202, "")));
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
        check(chunked, &Framed::Whole((200, "2\r\nab\r\n0\r\n\r\n")));
        for cut in 46..chunked.len() {
            check(chunked.get(..cut).unwrap(), &Framed::Partial);
        }
    }

    #[test]
    fn a_request_is_told_by_its_method_and_ends_with_its_body() {
        let rows = [
            ("POST /mcp HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}GET", Ask::Post, "{}"),
            ("GET /stats HTTP/1.1\r\n\r\n", Ask::Stats, ""),
            ("GET /mcp HTTP/1.1\r\n\r\n", Ask::Other, ""),
        ];
        for (text, ask, body) in rows {
            let Framed::Whole(whole) = request(text.as_bytes()) else {
                panic!("given {text:?}, expect a whole request")
            };
            assert_eq!((whole.ask, text.get(whole.body).unwrap()), (ask, body), "given {text:?}");
        }
    }
}
