//! Reads the headers of MCP. In: fields of a request head. Out: each once, absent or repeated; whether one says what the body says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One header: `Repeated` where the head has several lines of it, which readers resolve differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Header<'h> {
    /// Not in the head.
    #[default]
    Absent,
    /// Its value without the whitespace around it (RFC 9110 §5.5).
    Once(&'h [u8]),
    /// More than one line of it.
    Repeated,
}

impl<'h> Header<'h> {
    fn add(&mut self, value: &'h [u8]) {
        *self = match self {
            Self::Absent => Self::Once(trimmed(value)),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }

    /// The header `name` (in any case) among `fields`.
    pub fn among(fields: impl Iterator<Item = (&'h str, &'h [u8])>, name: &str) -> Self {
        let mut header = Self::Absent;
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).for_each(|(_, value)| header.add(value));
        header
    }

    /// The value as text; absent stays absent. Anything beside visible ASCII and inner spaces is malformed.
    pub fn text(self) -> Result<Option<&'h str>, HeaderFault> {
        match self {
            Self::Absent => Ok(None),
            Self::Once(value) => plain(value).map(Some),
            Self::Repeated => Err(HeaderFault::Repeated),
        }
    }
}

/// The headers of MCP that the gateway reads; all others are not its business.
#[derive(Clone, Copy, Debug, Default)]
pub struct McpHeaders<'h> {
    /// `MCP-Protocol-Version`
    pub protocol_version: Header<'h>,
    /// `Mcp-Method`
    pub method: Header<'h>,
    /// `Mcp-Name`
    pub name: Header<'h>,
    /// `Mcp-Session-Id`, legacy
    pub session_id: Header<'h>,
    /// `Last-Event-ID`, legacy
    pub last_event_id: Header<'h>,
}

impl<'h> McpHeaders<'h> {
    /// Reads them out of the fields of a head; names compare in any case.
    pub fn read(fields: impl Iterator<Item = (&'h str, &'h [u8])>) -> Self {
        let mut headers = Self::default();
        for (name, value) in fields {
            // `Last-Event-ID` is the shortest but one, so most fields fall out by their length alone.
            let header = match name.len() {
                8 if name.eq_ignore_ascii_case(NAME) => &mut headers.name,
                10 if name.eq_ignore_ascii_case(METHOD) => &mut headers.method,
                13 if name.eq_ignore_ascii_case(LAST_EVENT_ID) => &mut headers.last_event_id,
                14 if name.eq_ignore_ascii_case(SESSION_ID) => &mut headers.session_id,
                20 if name.eq_ignore_ascii_case(PROTOCOL_VERSION) => &mut headers.protocol_version,
                _ => continue,
            };
            header.add(value);
        }
        headers
    }
}

/// What is wrong with one header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeaderFault {
    /// The body has what it must repeat, and it is not there.
    Missing,
    /// It is there though the body has nothing for it to repeat.
    Unexpected,
    /// It says something else than the body.
    Mismatch,
    /// Its bytes are not visible ASCII, or its Base64 is not canonical.
    Malformed,
    /// It stands there more than once.
    Repeated,
}

/// Whether `value` repeats `body`, decoded where it wears the Base64 markers (`=?base64?…?=`, in exactly this case).
/// Compares without allocating: what the body says is encoded, never the header decoded.
pub fn repeats(value: &[u8], body: &str) -> Result<(), HeaderFault> {
    let text = plain(value)?;
    let Some(encoded) = sentinel(text) else {
        return if text == body { Ok(()) } else { Err(HeaderFault::Mismatch) };
    };
    let mut rest = encoded.as_bytes();
    for chunk in body.as_bytes().chunks(CHUNK_BYTES) {
        let mut buffer = [0; CHUNK_BYTES / 3 * 4];
        let length = STANDARD.encode_slice(chunk, &mut buffer).unwrap_or_default();
        match rest.strip_prefix(buffer.get(..length).unwrap_or_default()) {
            Some(left) if length > 0 => rest = left,
            Some(_) | None => return Err(unequal(encoded)),
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(unequal(encoded)) }
}

/// The value as text, decoded where it wears the Base64 markers, if it is at most 48 bytes long: numbers and truths.
pub(super) fn short_text<'b>(value: &'b [u8], buffer: &'b mut [u8; 48]) -> Result<&'b str, HeaderFault> {
    let text = plain(value)?;
    let Some(encoded) = sentinel(text) else { return Ok(text) };
    let length = STANDARD.decode_slice(encoded, buffer).map_err(|_| HeaderFault::Malformed)?;
    buffer.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or(HeaderFault::Malformed)
}

/// Why an encoded value differs; only on the way to a refusal.
fn unequal(encoded: &str) -> HeaderFault {
    let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    if decoded.is_some() { HeaderFault::Mismatch } else { HeaderFault::Malformed }
}

fn sentinel(text: &str) -> Option<&str> {
    text.strip_prefix("=?base64?")?.strip_suffix("?=")
}

fn plain(value: &[u8]) -> Result<&str, HeaderFault> {
    let fits = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    std::str::from_utf8(value).ok().filter(|_| fits).ok_or(HeaderFault::Malformed)
}

fn trimmed(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// `MCP-Protocol-Version` (≥ 2025-06-18).
pub const PROTOCOL_VERSION: &str = "MCP-Protocol-Version";
/// `Mcp-Method` (2026-07-28).
pub const METHOD: &str = "Mcp-Method";
/// `Mcp-Name` (2026-07-28).
pub const NAME: &str = "Mcp-Name";
/// `Mcp-Session-Id` (≤ 2025-11-25).
pub const SESSION_ID: &str = "Mcp-Session-Id";
/// `Last-Event-ID` (WHATWG HTML §9.2).
pub const LAST_EVENT_ID: &str = "Last-Event-ID";

/// A multiple of three, so that the encoded chunks join without padding between them.
const CHUNK_BYTES: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_does_not_repeat_the_body_is_refused() {
        let check = |value: &[u8], body: &str, fault: HeaderFault| {
            assert_eq!(repeats(value, body), Err(fault), "given {:?} for `{body}`", String::from_utf8_lossy(value));
        };
        check(b"read", "Read", HeaderFault::Mismatch);
        check(b"", "read", HeaderFault::Mismatch);
        check(b"read_table2", "read_table", HeaderFault::Mismatch);
        check(b"=?base64?cmVhZA==?=", "write", HeaderFault::Mismatch);
        check(b"=?base64?cmVhZA==?=", "=?base64?cmVhZA==?=", HeaderFault::Mismatch);
        check(b"=?base64?cmVhZA==?=", "rea", HeaderFault::Mismatch);
        check(b"=?base64?cmVhZA?=", "read", HeaderFault::Malformed);
        check(b"=?base64?cmVhZB==?=", "read", HeaderFault::Malformed);
        check(b"=?base64?cm!hZA==?=", "read", HeaderFault::Malformed);
        check(b"=?base64?gA==?=", "read", HeaderFault::Malformed);
        check(b"=?BASE64?cmVhZA==?=", "read", HeaderFault::Mismatch);
        check(b"=?base64?cmVhZA==", "read", HeaderFault::Mismatch);
        check(b"=?base64?=", "read", HeaderFault::Mismatch);
        check("é".as_bytes(), "é", HeaderFault::Malformed);
        check(b"a\x01", "a\x01", HeaderFault::Malformed);
        check(b"a\x7f", "a\x7f", HeaderFault::Malformed);
    }

    #[test]
    fn a_value_repeats_the_body_literally_or_in_base64() {
        let check =
            |value: &str, body: &str| assert_eq!(repeats(value.as_bytes(), body), Ok(()), "`{value}` for `{body}`");
        check("read", "read");
        check("a b", "a b");
        check("=?base64?cmVhZA==", "=?base64?cmVhZA==");
        check("cmVhZA==?=", "cmVhZA==?=");
        check("=?base64?cmVhZA==?=", "read");
        check("=?base64??=", "");
        for body in
            ["é", " padded ", "=?base64?cmVhZA==?=", &"long name ü ".repeat(40), &"x".repeat(96), &"x".repeat(97)]
        {
            check(&format!("=?base64?{}?=", STANDARD.encode(body)), body);
        }
    }

    #[test]
    fn each_header_is_absent_once_or_repeated_in_any_case() {
        let fields: [(&str, &[u8]); 7] = [
            ("mcp-protocol-VERSION", b" 2026-07-28\t"),
            ("Mcp-Method", b"tools/call"),
            ("MCP-METHOD", b"tools/call"),
            ("mcp-session-id", b""),
            ("Mcp-Names", b"x"),
            ("accept", b"*/*"),
            ("X-Token", b"y"),
        ];
        let headers = McpHeaders::read(fields.into_iter());
        assert_eq!(headers.protocol_version, Header::Once(b"2026-07-28"));
        assert_eq!(headers.method, Header::Repeated);
        assert_eq!((headers.name, headers.last_event_id), (Header::Absent, Header::Absent));
        assert_eq!(headers.session_id, Header::Once(b""));
        assert_eq!(Header::among(fields.into_iter(), "ACCEPT"), Header::Once(b"*/*"));
        assert_eq!(headers.method.text(), Err(HeaderFault::Repeated));
        assert_eq!(Header::Once(b"\xff").text(), Err(HeaderFault::Malformed));
    }
}
