//! Reads HTTP/1.1 heads, as much of them as a bench needs. In: bytes so far. Out: a head and how its body ends, or the wish for more.

/// Fields in a head; the proxies under test add a handful to the dozen of the request.
const HEADERS_MAX: usize = 64;

/// A head, or the wish for more bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed<T> {
    /// The end has not come yet.
    Partial,
    /// All of it.
    Whole(T),
    /// No HTTP/1.1 of the kind spoken here.
    Broken,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(usize),
    /// As its chunks say (RFC 9112 §7.1).
    Chunked,
}

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it asks.
    pub ask: Ask,
    /// Where the body begins.
    pub begin: usize,
    /// Where it ends.
    pub framing: Framing,
}

/// What the stub can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A POST to any path.
    Post,
    /// A GET of `/stats`.
    Stats,
    /// A GET that accepts a stream of events.
    Stream,
    /// Anything else.
    Other,
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<'b> {
    /// The status code.
    pub status: u16,
    /// Where the body begins.
    pub begin: usize,
    /// Where it ends.
    pub framing: Framing,
    /// What it is.
    pub content: Content,
    /// The session that it opens.
    pub session: Option<&'b str>,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A stream of events.
    Events,
    /// Anything else.
    Message,
}

/// Reads the head of a request from the front of `bytes`.
pub fn request(bytes: &[u8]) -> Framed<Request> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let begin = match head.parse(bytes) {
        Ok(httparse::Status::Complete(begin)) => begin,
        Ok(httparse::Status::Partial) => return Framed::Partial,
        Err(_) => return Framed::Broken,
    };
    let Some(Fields { framing, .. }) = fields(head.headers) else { return Framed::Broken };
    let ask = match (head.method, head.path) {
        (Some("POST"), _) => Ask::Post,
        (Some("GET"), Some("/stats")) => Ask::Stats,
        (Some("GET"), _) if accepts_events(head.headers) => Ask::Stream,
        _ => Ask::Other,
    };
    Framed::Whole(Request { ask, begin, framing })
}

/// Reads the head of a response from the front of `bytes`.
pub fn response(bytes: &[u8]) -> Framed<Response<'_>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let begin = match head.parse(bytes) {
        Ok(httparse::Status::Complete(begin)) => begin,
        Ok(httparse::Status::Partial) => return Framed::Partial,
        Err(_) => return Framed::Broken,
    };
    let status = head.code.unwrap_or_default();
    match fields(head.headers) {
        Some(Fields { framing, content, session }) => {
            Framed::Whole(Response { status, begin, framing, content, session })
        }
        None => Framed::Broken,
    }
}

struct Fields<'b> {
    framing: Framing,
    content: Content,
    session: Option<&'b str>,
}

/// A head without a field about its body's end has no body: true of requests, and of the responses met here.
fn fields<'b>(headers: &[httparse::Header<'b>]) -> Option<Fields<'b>> {
    let mut found = Fields { framing: Framing::Length(0), content: Content::Message, session: None };
    for header in headers {
        // Few fields share the length of one of these, so most cost a comparison of numbers.
        match header.name.len() {
            12 if header.name.eq_ignore_ascii_case("content-type")
                && header.value.starts_with(b"text/event-stream") =>
            {
                found.content = Content::Events;
            }
            14 if header.name.eq_ignore_ascii_case("content-length") => {
                found.framing = Framing::Length(std::str::from_utf8(header.value).ok()?.trim().parse().ok()?);
            }
            14 if header.name.eq_ignore_ascii_case("mcp-session-id") => {
                found.session = Some(std::str::from_utf8(header.value).ok()?);
            }
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                found.framing = header.value.eq_ignore_ascii_case(b"chunked").then_some(Framing::Chunked)?;
            }
            _ => {}
        }
    }
    Some(found)
}

fn accepts_events(headers: &[httparse::Header<'_>]) -> bool {
    headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("accept") && memchr::memmem::find(header.value, b"text/event-stream").is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &Framed<(u16, Framing, &str)>) {
        let got = match response(text.as_bytes()) {
            Framed::Whole(head) => Framed::Whole((head.status, head.framing, text.get(head.begin..).unwrap())),
            Framed::Partial => Framed::Partial,
            Framed::Broken => Framed::Broken,
        };
        assert_eq!(&got, expected, "given {text:?}");
    }

    #[test]
    fn a_response_says_how_its_body_ends() {
        check("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", &Framed::Broken);
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", &Framed::Broken);
        check("HTTP/1.1 200 OK\r\nContent-Len", &Framed::Partial);
        check("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", &Framed::Whole((200, Framing::Length(3), "abc")));
        check("HTTP/1.1 202 Accepted\r\n\r\n", &Framed::Whole((202, Framing::Length(0), "")));
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n",
            &Framed::Whole((200, Framing::Chunked, "2\r\n")),
        );
    }

    #[test]
    fn a_response_says_what_it_is_and_which_session_it_opens() {
        let text = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nMcp-Session-Id: s-1\r\n\r\n";
        let Framed::Whole(head) = response(text.as_bytes()) else { panic!("a whole head") };
        assert_eq!((head.content, head.session), (Content::Events, Some("s-1")));
        let Framed::Whole(head) = response(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n") else {
            panic!("a whole head")
        };
        assert_eq!((head.content, head.session), (Content::Message, None));
    }

    #[test]
    fn a_request_is_told_by_its_method_and_what_it_accepts() {
        let rows = [
            ("POST /mcp HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", Ask::Post, Framing::Length(2)),
            ("POST /mcp HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", Ask::Post, Framing::Chunked),
            ("GET /stats HTTP/1.1\r\n\r\n", Ask::Stats, Framing::Length(0)),
            ("GET /mcp HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n", Ask::Stream, Framing::Length(0)),
            ("GET /mcp HTTP/1.1\r\n\r\n", Ask::Other, Framing::Length(0)),
        ];
        for (text, ask, framing) in rows {
            let Framed::Whole(whole) = request(text.as_bytes()) else {
                panic!("given {text:?}, expect a whole request")
            };
            assert_eq!((whole.ask, whole.framing), (ask, framing), "given {text:?}");
        }
    }
}
