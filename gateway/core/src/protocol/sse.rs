//! Frames event streams. In: bytes as they arrive. Out: where an event ends and what it says; events of our own. Never here: IO.
//!
//! WHATWG HTML §9.2. Events are forwarded as they came; only the boundaries are found here. Lines end with CR, LF or
//! CRLF, mixed at will, and any of them may be split between two arrivals.

use std::borrow::Cow;
use std::fmt;

/// Finds the events in a buffer that grows at its end and is drained at its front.
#[derive(Clone, Debug)]
pub struct Splitter {
    event_bytes_max: usize,
    /// Bytes of the buffer that were looked at; they are not looked at again.
    scanned: usize,
    /// The line being scanned has no bytes yet.
    line: Line,
    /// The last byte looked at was CR, so that an LF now belongs to the same line end.
    after_cr: bool,
    start: Start,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Blank,
    Filled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Nothing of the stream was handed out: a byte order mark may stand here.
    Stream,
    Within,
}

/// Why a stream cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SseError {
    /// One event is longer than allowed; nothing after it can be trusted to be an event.
    EventTooLarge,
}

impl SseError {
    /// The stable name of the cause.
    pub fn name(self) -> &'static str {
        match self {
            Self::EventTooLarge => "event_too_large",
        }
    }
}

impl fmt::Display for SseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EventTooLarge => out.write_str("an event of the stream is larger than allowed"),
        }
    }
}

impl std::error::Error for SseError {}

impl Splitter {
    /// For the start of a stream whose events have at most `event_bytes_max` bytes, blank line included.
    pub fn new(event_bytes_max: usize) -> Self {
        Self { event_bytes_max, scanned: 0, line: Line::Blank, after_cr: false, start: Start::Stream }
    }

    /// The length of the first complete event in `buffered`, its blank line included; nothing while it is incomplete.
    ///
    /// `buffered` is what it was at the last call with more at its end, or, after an event was found, with exactly that
    /// event taken from its front. Each byte is looked at once. A byte order mark at the start of the stream and a blank
    /// line without an event are handed out as pieces of their own; what is left when the stream ends is no event.
    pub fn next_event(&mut self, buffered: &[u8]) -> Result<Option<usize>, SseError> {
        if self.start == Start::Stream {
            if buffered.starts_with(BYTE_ORDER_MARK) {
                self.start = Start::Within;
                return Ok(Some(BYTE_ORDER_MARK.len()));
            }
            if BYTE_ORDER_MARK.starts_with(buffered) {
                return Ok(None);
            }
            self.start = Start::Within;
        }
        let end = self.scan(buffered);
        if end.unwrap_or(buffered.len()) > self.event_bytes_max {
            return Err(SseError::EventTooLarge);
        }
        if end.is_some() {
            self.scanned = 0;
        }
        Ok(end)
    }

    fn scan(&mut self, buffered: &[u8]) -> Option<usize> {
        while let Some(byte) = buffered.get(self.scanned) {
            let second_half = self.after_cr && *byte == b'\n';
            self.after_cr = *byte == b'\r';
            match byte {
                b'\n' if second_half => self.scanned += 1,
                b'\r' | b'\n' => {
                    self.scanned += 1;
                    if self.line == Line::Filled {
                        self.line = Line::Blank;
                        continue;
                    }
                    // The LF of a blank line's CRLF goes with it, if it is here already; else it opens the next piece.
                    if self.after_cr && buffered.get(self.scanned) == Some(&b'\n') {
                        self.scanned += 1;
                        self.after_cr = false;
                    }
                    return Some(self.scanned);
                }
                _ => {
                    self.line = Line::Filled;
                    let rest = buffered.get(self.scanned..).unwrap_or_default();
                    let line = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
                    self.scanned += line.unwrap_or(rest.len());
                }
            }
        }
        None
    }
}

/// What one event says. Fields other than these four are ignored, as browsers do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event<'b> {
    /// Its type; absent means `message`.
    pub event: Option<&'b [u8]>,
    /// What a client sends as `Last-Event-ID` to go on after it; empty resets that.
    pub id: Option<&'b [u8]>,
    /// Milliseconds to wait before reconnecting.
    pub retry: Option<u64>,
    /// The data lines joined with LF; borrowed where there is one.
    pub data: Option<Cow<'b, [u8]>>,
}

impl<'b> Event<'b> {
    /// Reads one piece that [`Splitter::next_event`] measured.
    pub fn parse(bytes: &'b [u8]) -> Self {
        let mut event = Self::default();
        for line in bytes.split(|byte| matches!(byte, b'\r' | b'\n')) {
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, value) = match colon.and_then(|colon| line.split_at_checked(colon)) {
                Some((name, rest)) => (name, rest.get(1..).unwrap_or_default()),
                None => (line, &[][..]),
            };
            event.field(name, value.strip_prefix(b" ").unwrap_or(value));
        }
        event
    }

    fn field(&mut self, name: &[u8], value: &'b [u8]) {
        match name {
            b"event" => self.event = Some(value),
            b"id" if !value.contains(&0) => self.id = Some(value),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                self.retry = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            }
            b"data" => match &mut self.data {
                Some(data) => {
                    let data = data.to_mut();
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(Cow::Borrowed(value)),
            },
            _ => {}
        }
    }

    /// Whether it says nothing: comments, blank lines and unknown fields.
    pub fn is_comment_only(&self) -> bool {
        *self == Self::default()
    }

    /// The JSON text it carries, whatever its type: SDKs differ in which types they read, so all are judged.
    pub fn message(&self) -> Option<&[u8]> {
        self.data.as_deref().filter(|data| !data.is_empty())
    }
}

/// Writes a comment that keeps a stream from looking idle.
pub fn write_keep_alive(out: &mut Vec<u8>) {
    out.extend_from_slice(b": \n\n");
}

/// Writes what stands for `dropped`: its id and retry with empty data, so that resuming still finds its place. Writes
/// nothing where it has neither.
pub fn write_placeholder(dropped: &Event<'_>, out: &mut Vec<u8>) {
    if dropped.id.is_none() && dropped.retry.is_none() {
        return;
    }
    if let Some(id) = dropped.id {
        write_field(b"id", id, out);
    }
    if let Some(retry) = dropped.retry {
        write_field(b"retry", retry.to_string().as_bytes(), out);
    }
    out.extend_from_slice(b"data:\n\n");
}

/// Writes an event that carries `json`, a JSON text; its line ends become spaces, which JSON cannot tell apart.
pub fn write_message(id: Option<&[u8]>, json: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: message\n");
    if let Some(id) = id {
        write_field(b"id", id, out);
    }
    write_field(b"data", json, out);
    out.push(b'\n');
}

/// Writes one field as one line, whatever its value holds.
fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend(value.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    out.push(b'\n');
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `stream` in pieces that end at `cuts` and gives back the pieces the splitter makes of it.
    fn pieces(stream: &[u8], cuts: &[usize], event_bytes_max: usize) -> Result<Vec<Vec<u8>>, SseError> {
        let mut splitter = Splitter::new(event_bytes_max);
        let (mut buffer, mut from, mut found) = (Vec::new(), 0, Vec::new());
        for cut in cuts.iter().copied().chain([stream.len()]) {
            buffer.extend_from_slice(&stream[from..cut]);
            from = cut;
            while let Some(length) = splitter.next_event(&buffer)? {
                found.push(buffer.drain(..length).collect());
            }
        }
        Ok(found)
    }

    fn says(pieces: &[Vec<u8>]) -> Vec<Event<'_>> {
        pieces.iter().map(|piece| Event::parse(piece)).filter(|event| !event.is_comment_only()).collect()
    }

    #[test]
    fn an_event_beyond_the_bound_is_refused_even_unfinished() {
        let check = |stream: &[u8], bound: usize, expected: Result<usize, SseError>| {
            let every: Vec<usize> = (1..stream.len()).collect();
            for cuts in [&[][..], &every] {
                let got = pieces(stream, cuts, bound).map(|pieces| pieces.len());
                assert_eq!(got, expected, "given {:?}, bound {bound}", String::from_utf8_lossy(stream));
            }
        };
        check(b"data: no line ever ends", 16, Err(SseError::EventTooLarge));
        check(b"data: 1\ndata: 2\ndata: 3\n", 16, Err(SseError::EventTooLarge));
        check(b"data: 1\n\ndata: 0123456789\n\n", 16, Err(SseError::EventTooLarge));
        check(b"data: 01234567\n\n", 16, Ok(1));
        check(b"data: 01234567\n\ndata: 01234567\n\n: ", 16, Ok(2));
    }

    #[test]
    fn a_dribble_of_single_bytes_is_looked_at_once() {
        let mut splitter = Splitter::new(1 << 20);
        let stream = [b"data: ".as_slice(), &[b'x'; 10_000]].concat();
        for length in 1..=stream.len() {
            let before = splitter.scanned;
            assert_eq!(splitter.next_event(&stream[..length]), Ok(None));
            assert_eq!((before, splitter.scanned), (length - 1, length));
        }
    }

    #[test]
    fn boundaries_are_found_with_every_line_end_and_every_split() {
        let check = |stream: &[u8], expected: &[&[u8]]| {
            let whole = pieces(stream, &[], 1 << 10).unwrap();
            assert_eq!(whole, expected, "given {:?}", String::from_utf8_lossy(stream));
            let said = says(&whole);
            for cut in 0..=stream.len() {
                let split = pieces(stream, &[cut], 1 << 10).unwrap();
                assert_eq!(says(&split), said, "given {:?} cut at {cut}", String::from_utf8_lossy(stream));
            }
        };
        check(b"", &[]);
        check(b"data: incomplete\n", &[]);
        check(b"data: 1\n\ndata: 2\n\nrest", &[b"data: 1\n\n", b"data: 2\n\n"]);
        check(b"data: 1\r\n\r\ndata: 2\r\n\r\n", &[b"data: 1\r\n\r\n", b"data: 2\r\n\r\n"]);
        check(b"data: 1\r\rdata: 2\r\r", &[b"data: 1\r\r", b"data: 2\r\r"]);
        check(b"data: 1\n\rdata: 2\r\n\ndata: 3\r\r\n", &[b"data: 1\n\r", b"data: 2\r\n\n", b"data: 3\r\r\n"]);
        check(b"\xEF\xBB\xBFdata: 1\n\n", &[b"\xEF\xBB\xBF", b"data: 1\n\n"]);
        check(b"\xEF\xBBdata: 1\n\n", &[b"\xEF\xBBdata: 1\n\n"]);
        check(b"\n\r\n: keep\n\ndata: 1\n\n", &[b"\n", b"\r\n", b": keep\n\n", b"data: 1\n\n"]);
    }

    #[test]
    fn an_event_that_ends_in_cr_is_not_held_back_for_its_lf() {
        let split = pieces(b"data: 1\r\n\r\ndata: 2\r\n\r\n", &[10], 1 << 10).unwrap();
        assert_eq!(split, [&b"data: 1\r\n\r"[..], b"\ndata: 2\r\n\r\n"]);
    }

    #[test]
    fn an_event_says_what_its_fields_say() {
        let check = |bytes: &[u8], event: Option<&str>, id: Option<&str>, retry: Option<u64>, data: Option<&str>| {
            let got = Event::parse(bytes);
            let expected = Event {
                event: event.map(str::as_bytes),
                id: id.map(str::as_bytes),
                retry,
                data: data.map(|data| Cow::Borrowed(data.as_bytes())),
            };
            assert_eq!(got, expected, "given {:?}", String::from_utf8_lossy(bytes));
        };
        check(b"\n", None, None, None, None);
        check(b": comment\n\n", None, None, None, None);
        check(b"\xEF\xBB\xBF", None, None, None, None);
        check(b"Data: x\ndata x: y\n data: z\nunknown\n\n", None, None, None, None);
        check(b"event: message\r\nid: 7\r\ndata: {}\r\n\r\n", Some("message"), Some("7"), None, Some("{}"));
        check(b"\ndata:{}\n\n", None, None, None, Some("{}"));
        check(b"data:  two spaces\n\n", None, None, None, Some(" two spaces"));
        check(b"data: 1\rdata\rdata: 3\r\r", None, None, None, Some("1\n\n3"));
        check(b"id: 1\nretry: 3000\ndata:\n\n", None, Some("1"), Some(3000), Some(""));
        check(b"id: a\0b\nretry: 3s\nretry:\n\n", None, None, None, None);
        check(b"id: 1\nid\nevent: a\nevent: b\n\n", Some("b"), Some(""), None, None);
        assert!(matches!(Event::parse(b"data: 1\n\n").data, Some(Cow::Borrowed(b"1"))));
        assert_eq!(Event::parse(b"id: 1\ndata:\n\n").message(), None);
        assert!(Event::parse(b": \n\n").is_comment_only() && !Event::parse(b"id\n\n").is_comment_only());
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut out = Vec::new();
        write_keep_alive(&mut out);
        write_message(Some(b"4"), b"{\"a\":\r\n [1]}", &mut out);
        write_message(None, b"{}", &mut out);
        write_placeholder(&Event::parse(b"event: message\nid: 5\nretry: 10\ndata: secret\n\n"), &mut out);
        write_placeholder(&Event::parse(b"data: secret\n\n"), &mut out);
        let pieces = pieces(&out, &[], 1 << 10).unwrap();
        assert_eq!(pieces.concat(), out);
        let read: Vec<Event<'_>> = pieces.iter().map(|piece| Event::parse(piece)).collect();
        assert!(read[0].is_comment_only());
        assert_eq!((read[1].id, read[1].message()), (Some(&b"4"[..]), Some(&b"{\"a\":   [1]}"[..])));
        assert_eq!((read[2].id, read[2].message()), (None, Some(&b"{}"[..])));
        assert_eq!((read[3].id, read[3].retry, read[3].message()), (Some(&b"5"[..]), Some(10), None));
        assert_eq!(read.len(), 4);
    }

    proptest! {
        #[test]
        fn the_same_events_come_whatever_the_arrivals(
            stream in proptest::collection::vec(prop_oneof![
                3 => prop::sample::select(vec![&b"\r"[..], b"\n", b"\r\n"]),
                2 => prop::sample::select(vec![&b"data: x"[..], b"id: 1", b"event: e", b": c", b"retry: 5", b"data", b"\xEF\xBB\xBF", b":"]),
            ], 0..40),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let stream = stream.concat();
            let whole = pieces(&stream, &[], 1 << 10).unwrap();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.sort_unstable();
            let every: Vec<usize> = (1..stream.len()).collect();
            for cuts in [cuts, every] {
                let split = pieces(&stream, &cuts, 1 << 10).unwrap();
                prop_assert_eq!(says(&split), says(&whole));
                prop_assert!(stream.starts_with(&split.concat()));
            }
        }
    }
}
