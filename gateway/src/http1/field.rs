//! Holds the fields of a head. In: names and values as ranges. Out: a known field in one step, or all in order. Never
//! here: what a value means.

use std::ops::Range;

use portcullis_core::limits;

use super::error::FramingError;
use super::last;

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// The fields that somebody here reads or must not pass on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Field { $($(#[$doc])* $variant,)+ }

        impl Field {
            /// Every field, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in lower case.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The name with each word's first letter in upper case.
            fn title(self) -> &'static [u8] {
                match self { $(Self::$variant => const { &title::<{ $name.len() }>($name) },)+ }
            }
        }
    };
}

fields! {
    /// What the client can read.
    Accept = "accept",
    /// What codings the client can undo; never passed on, upstreams get `identity`.
    AcceptEncoding = "accept-encoding",
    /// Fields of a cross-origin request to come.
    AccessControlRequestHeaders = "access-control-request-headers",
    /// Method of a cross-origin request to come.
    AccessControlRequestMethod = "access-control-request-method",
    /// The caller's credential; never passed on.
    Authorization = "authorization",
    /// Directives for caches.
    CacheControl = "cache-control",
    /// Options of this hop.
    Connection = "connection",
    /// How the content was coded.
    ContentEncoding = "content-encoding",
    /// The body's length.
    ContentLength = "content-length",
    /// The body's media type.
    ContentType = "content-type",
    /// Cookies; MCP has no use for them.
    Cookie = "cookie",
    /// When the answer was made.
    Date = "date",
    /// Proof of possession (RFC 9449).
    Dpop = "dpop",
    /// What must be met before the body is sent.
    Expect = "expect",
    /// Hops before us (RFC 7239), as the client claims.
    Forwarded = "forwarded",
    /// The authority the request is for.
    Host = "host",
    /// Parameters of a persistent connection.
    KeepAlive = "keep-alive",
    /// Where a stream is to be resumed.
    LastEventId = "last-event-id",
    /// The MCP method, mirrored from the body.
    McpMethod = "mcp-method",
    /// The MCP name, mirrored from the body.
    McpName = "mcp-name",
    /// The MCP revision.
    McpProtocolVersion = "mcp-protocol-version",
    /// The legacy MCP session.
    McpSessionId = "mcp-session-id",
    /// The web origin that sends.
    Origin = "origin",
    /// A proxy's challenge.
    ProxyAuthenticate = "proxy-authenticate",
    /// A credential for a proxy.
    ProxyAuthorization = "proxy-authorization",
    /// What some send for Connection.
    ProxyConnection = "proxy-connection",
    /// Seconds to wait.
    RetryAfter = "retry-after",
    /// The server's software.
    Server = "server",
    /// Cookies that an upstream sets.
    SetCookie = "set-cookie",
    /// Transfer codings the client takes.
    Te = "te",
    /// Trace context.
    Traceparent = "traceparent",
    /// Trace context of vendors.
    Tracestate = "tracestate",
    /// Which fields come after the body.
    Trailer = "trailer",
    /// How the body is framed.
    TransferEncoding = "transfer-encoding",
    /// Other protocols; ignored (RFC 9110 §7.8).
    Upgrade = "upgrade",
    /// The client's software.
    UserAgent = "user-agent",
    /// Intermediaries.
    Via = "via",
    /// A challenge to the caller.
    WwwAuthenticate = "www-authenticate",
    /// Hops before us, as the client claims.
    XForwardedFor = "x-forwarded-for",
    /// The host before us, as the client claims.
    XForwardedHost = "x-forwarded-host",
    /// The scheme before us, as the client claims.
    XForwardedProto = "x-forwarded-proto",
}

impl Field {
    /// The field of this name, in any case.
    pub fn of(name: &[u8]) -> Option<Self> {
        let candidate = (*PLACES.get(place(name)?)?)?;
        // Nearly all are written in one of these two ways, and whole words compare faster than letters.
        let usual = name == candidate.name().as_bytes() || name == candidate.title();
        (usual || candidate.name().as_bytes().eq_ignore_ascii_case(name)).then_some(candidate)
    }

    /// True if it speaks of one connection and must not be passed on (RFC 9110 §7.6.1).
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyAuthenticate
                | Self::ProxyAuthorization
                | Self::ProxyConnection
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }
}

/// What a head holds of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// No such field.
    Absent,
    /// One, and where its value lies, without white space around it.
    Once(Range<usize>),
    /// More than one line of that name.
    Repeated,
}

/// One field line; the ranges are of the buffer that the head was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldLine {
    /// The field, if it is one that somebody here reads.
    pub field: Option<Field>,
    /// The name as it was sent.
    pub name: Range<usize>,
    /// The value without white space around it.
    pub value: Range<usize>,
}

/// The fields of one head, without allocation and without a borrow of the buffer.
#[derive(Clone)]
pub struct Fields {
    lines: [Line; limits::HEADERS_MAX],
    count: usize,
    /// For each field the number of its line, or one of the marks below.
    known: [u8; Field::ALL.len()],
}

impl Fields {
    pub(super) fn new() -> Self {
        Self { lines: [Line::EMPTY; limits::HEADERS_MAX], count: 0, known: [ABSENT; Field::ALL.len()] }
    }

    /// Adds a line; the caller has made sure that the ranges lie within 64 KiB.
    pub(super) fn push(&mut self, buffer: &[u8], name: Range<usize>, value: Range<usize>) -> Result<(), FramingError> {
        let field = buffer.get(name.clone()).and_then(Field::of);
        let (Some(name), Some(value)) = (Span::new(&name), Span::new(&value)) else {
            return Err(FramingError::HeadTooLarge);
        };
        let Some(line) = self.lines.get_mut(self.count) else { return Err(FramingError::TooManyFields) };
        *line = Line { name, value, field };
        if let Some(place) = field.and_then(|field| self.known.get_mut(field as usize)) {
            *place = if *place == ABSENT { u8::try_from(self.count).unwrap_or(REPEATED) } else { REPEATED };
        }
        self.count += 1;
        Ok(())
    }

    /// The value of one field.
    pub fn field(&self, field: Field) -> FieldValue {
        match self.known.get(field as usize).copied() {
            None | Some(ABSENT) => FieldValue::Absent,
            Some(REPEATED) => FieldValue::Repeated,
            Some(line) => match self.lines.get(usize::from(line)) {
                Some(line) => FieldValue::Once(line.value.range()),
                None => FieldValue::Absent,
            },
        }
    }

    /// The bytes of a field that is there exactly once. For a field that must not be repeated ask [`Fields::field`].
    pub fn once<'b>(&self, buffer: &'b [u8], field: Field) -> Option<&'b [u8]> {
        match self.field(field) {
            FieldValue::Once(range) => buffer.get(range),
            FieldValue::Absent | FieldValue::Repeated => None,
        }
    }

    /// All lines in the order they were sent.
    pub fn iter(&self) -> impl Iterator<Item = FieldLine> + Clone + '_ {
        let lines = self.lines.iter().take(self.count);
        lines.map(|line| FieldLine { field: line.field, name: line.name.range(), value: line.value.range() })
    }

    /// Whether every line has a value, so that it is known where each stands.
    pub(super) fn are_filled(&self) -> bool {
        self.lines
            .iter()
            .take(self.count)
            .all(|line| line.name.end < line.value.start && line.value.start < line.value.end)
    }

    /// Makes these fields, read from `old`, the fields of the head that `new` begins with, and tells how long that is: where the two are the same
    /// byte for byte but for values that may differ. Where they are not, these are of no use any more.
    pub(super) fn follow(&mut self, old: &[u8], new: &[u8]) -> Option<usize> {
        // Up to here both are dealt with.
        let (mut behind, mut at) = (0, 0);
        for line in self.lines.iter_mut().take(self.count) {
            let (name, value) = (line.name.range(), line.value.range());
            if !last::may_differ(line.field) {
                line.name = Span::new(&(name.start + at - behind..name.end + at - behind))?;
                line.value = Span::new(&(value.start + at - behind..value.end + at - behind))?;
                continue;
            }
            line.name = Span::new(&(name.start + at - behind..name.end + at - behind))?;
            let same = old.get(behind..value.start)?;
            let rest = new.get(at..)?.strip_prefix(same)?;
            let start = at + same.len();
            (behind, at) = (value.end, start + last::value_length(rest)?);
            line.value = Span::new(&(start..at))?;
        }
        let same = old.get(behind..)?;
        new.get(at..)?.starts_with(same).then_some(at + same.len())
    }

    /// The lines that may be passed on: neither of this hop by their name nor nominated by Connection.
    pub fn end_to_end<'b>(&'b self, buffer: &'b [u8]) -> impl Iterator<Item = FieldLine> + 'b {
        self.iter().filter(move |line| match line.field {
            Some(field) => !field.is_hop_by_hop(),
            // A known field cannot be nominated, see `FramingError::ConnectionNamesField`.
            None => !self.is_nominated(buffer, buffer.get(line.name.clone()).unwrap_or_default()),
        })
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True for a head without fields.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The elements of a list field, over all its lines, without white space around them; empty ones too.
    pub fn elements<'b>(&'b self, buffer: &'b [u8], field: Field) -> impl Iterator<Item = &'b [u8]> + 'b {
        let present = self.field(field) != FieldValue::Absent;
        let lines = self.iter().filter(move |line| present && line.field == Some(field));
        lines
            .filter_map(|line| buffer.get(line.value))
            .flat_map(|value| value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii))
    }

    fn is_nominated(&self, buffer: &[u8], name: &[u8]) -> bool {
        self.elements(buffer, Field::Connection).any(|option| option.eq_ignore_ascii_case(name))
    }
}

#[derive(Clone, Copy)]
struct Line {
    name: Span,
    value: Span,
    field: Option<Field>,
}

impl Line {
    const EMPTY: Self = Self { name: Span { start: 0, end: 0 }, value: Span { start: 0, end: 0 }, field: None };
}

/// A range in a head, which is shorter than 64 KiB.
#[derive(Clone, Copy)]
struct Span {
    start: u16,
    end: u16,
}

impl Span {
    fn new(range: &Range<usize>) -> Option<Self> {
        Some(Self { start: u16::try_from(range.start).ok()?, end: u16::try_from(range.end).ok()? })
    }

    fn range(self) -> Range<usize> {
        usize::from(self.start)..usize::from(self.end)
    }
}

/// `content-length` as `Content-Length`.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it: out of bounds would fail the build")]
const fn title<const LENGTH: usize>(name: &str) -> [u8; LENGTH] {
    let (name, mut title) = (name.as_bytes(), [0; LENGTH]);
    let mut at = 0;
    while at < LENGTH {
        let begins = at == 0 || name[at - 1] == b'-';
        title[at] = if begins { name[at].to_ascii_uppercase() } else { name[at] };
        at += 1;
    }
    title
}

const ABSENT: u8 = u8::MAX;
const REPEATED: u8 = u8::MAX - 1;
const _: () = assert!(limits::HEADERS_MAX < REPEATED as usize && limits::HEAD_BYTES_MAX <= u16::MAX as usize);

/// The field at each place; the build fails where two share one.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it: out of bounds would fail the build")]
const PLACES: [Option<Field>; PLACES_COUNT] = {
    let mut places = [None; PLACES_COUNT];
    let mut rest = Field::ALL;
    while let [field, after @ ..] = rest {
        if let Some(place) = place(field.name().as_bytes()) {
            assert!(places[place].is_none(), "two fields share a place: choose other factors");
            places[place] = Some(*field);
        }
        rest = after;
    }
    places
};

/// Three times the number of fields, as a power of two.
const PLACES_COUNT: usize = 128;

/// Where the field of this name would stand, in whatever case it is written: one step instead of a search. The factors were found by
/// trying; they keep the known names apart.
const fn place(name: &[u8]) -> Option<usize> {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return None };
    let (first, last) = ((*first | 0x20) as usize, (*last | 0x20) as usize);
    Some((first * 2 + last * 17 + (name.len() & 0xff) * 14) % PLACES_COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_by_its_name_in_any_case_and_no_other_name_is() {
        for field in Field::ALL {
            assert_eq!(Field::of(field.name().as_bytes()), Some(*field), "{}", field.name());
            assert_eq!(Field::of(field.name().to_ascii_uppercase().as_bytes()), Some(*field));
            assert_eq!(Field::of(format!("{}x", field.name()).as_bytes()), None);
            assert_eq!(Field::of(&field.name().as_bytes()[1..]), None);
        }
        assert_eq!(Field::of(b""), None);
        assert_eq!(Field::of(&[b'a'; 300]), None);
    }
}
