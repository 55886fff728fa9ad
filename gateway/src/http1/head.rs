//! Reads what requests and responses have in common. In: bytes and limits. Out: fields, framing, persistence, or why
//! not. Never here: start lines' meaning.

use std::ops::Range;

use portcullis_core::limits;

use super::error::FramingError;
use super::field::{Field, FieldValue, Fields};

/// The bounds of a head and its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the head with its last line; at most [`limits::HEAD_BYTES_MAX`] counts.
    pub bytes_max: usize,
    /// Fields; at most [`limits::HEADERS_MAX`] counts.
    pub fields_max: usize,
    /// Bytes of the body that Content-Length may announce.
    pub body_bytes_max: u64,
}

impl HeadLimits {
    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max.min(limits::HEAD_BYTES_MAX)
    }

    pub(super) fn fields_max(&self) -> usize {
        self.fields_max.min(limits::HEADERS_MAX)
    }
}

/// The versions we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl Version {
    pub(super) fn of(minor: Option<u8>) -> Result<Self, FramingError> {
        match minor {
            Some(0) => Ok(Self::Http10),
            Some(1) => Ok(Self::Http11),
            Some(_) | None => Err(FramingError::VersionUnsupported),
        }
    }
}

/// How the end of a body is told (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// The end of the connection; responses only.
    UntilClose,
}

/// Whether the connection may carry another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It may.
    KeepAlive,
    /// It ends after this one.
    Close,
}

/// A start line of which kind, where a refusal is to be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartLine {
    Request,
    Status,
}

/// Takes the parser's fields over, which lets bare line feeds pass: before each name stands exactly CRLF.
pub(super) fn fields(buffer: &[u8], parsed: &[httparse::Header<'_>], length: usize) -> Result<Fields, FramingError> {
    let mut fields = Fields::new();
    for header in parsed {
        let name = place(buffer, header.name.as_bytes());
        if !ends_with(buffer, name.start, b"\r\n") {
            return Err(FramingError::BareLineFeed);
        }
        fields.push(buffer, name, place(buffer, header.value))?;
    }
    if !ends_with(buffer, length, b"\r\n\r\n") {
        return Err(FramingError::BareLineFeed);
    }
    Ok(fields)
}

/// The body's framing as the fields tell it; nothing told is `None`.
pub(super) fn framing(
    buffer: &[u8],
    fields: &Fields,
    version: Version,
    body_bytes_max: u64,
) -> Result<Option<Framing>, FramingError> {
    match (fields.field(Field::TransferEncoding), fields.field(Field::ContentLength)) {
        (FieldValue::Absent, FieldValue::Absent) => Ok(None),
        (FieldValue::Absent, FieldValue::Repeated) => Err(FramingError::LengthRepeated),
        (FieldValue::Absent, FieldValue::Once(value)) => {
            let length = content_length(buffer.get(value).unwrap_or_default())?;
            if length > body_bytes_max {
                return Err(FramingError::BodyTooLarge);
            }
            Ok(Some(Framing::Length(length)))
        }
        // RFC 9112 §6.1: "Early implementations of Transfer-Encoding would [...]": a request that has both is the classic
        // smuggling attempt, so it ends here whatever the values are.
        (FieldValue::Once(_) | FieldValue::Repeated, FieldValue::Once(_) | FieldValue::Repeated) => {
            Err(FramingError::LengthAndEncoding)
        }
        (FieldValue::Once(_) | FieldValue::Repeated, FieldValue::Absent) if version == Version::Http10 => {
            Err(FramingError::EncodingInOldVersion)
        }
        (FieldValue::Repeated, FieldValue::Absent) => Err(FramingError::EncodingInvalid),
        (FieldValue::Once(value), FieldValue::Absent) => {
            transfer_encoding(buffer.get(value).unwrap_or_default())?;
            Ok(Some(Framing::Chunked))
        }
    }
}

/// Refuses Connection options that are no tokens or that name a field which others rely on, and reads the two we know.
pub(super) fn persistence(buffer: &[u8], fields: &Fields, version: Version) -> Result<Persistence, FramingError> {
    let (mut close, mut keep_alive) = (false, false);
    for option in fields.elements(buffer, Field::Connection) {
        // RFC 9110 §5.6.1.2: empty elements of a list are skipped.
        if option.is_empty() {
            continue;
        }
        if !is_token(option) {
            return Err(FramingError::ConnectionInvalid);
        }
        close |= option.eq_ignore_ascii_case(b"close");
        keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        // A nominated field is dropped before it is passed on; whoever nominates one that we judge by makes the upstream
        // see another request than we did.
        if Field::of(option).is_some_and(|field| !field.is_hop_by_hop()) {
            return Err(FramingError::ConnectionNamesField);
        }
    }
    match (version, close, keep_alive) {
        (Version::Http11, false, _) | (Version::Http10, false, true) => Ok(Persistence::KeepAlive),
        (Version::Http11 | Version::Http10, true, _) | (Version::Http10, false, false) => Ok(Persistence::Close),
    }
}

/// Refuses content that is coded: what cannot be read cannot be judged.
pub(super) fn identity_only(buffer: &[u8], fields: &Fields) -> Result<(), FramingError> {
    if fields.elements(buffer, Field::ContentEncoding).all(|coding| coding.eq_ignore_ascii_case(b"identity")) {
        Ok(())
    } else {
        Err(FramingError::ContentEncoded)
    }
}

/// Names what is wrong with a head that the parser refuses: the first fault, line by line.
pub(super) fn diagnose(buffer: &[u8], error: httparse::Error, start: StartLine) -> FramingError {
    if error == httparse::Error::TooManyHeaders {
        return FramingError::TooManyFields;
    }
    let mut rest = buffer.strip_prefix(b"\r\n").unwrap_or(buffer);
    let mut first = true;
    while !rest.is_empty() {
        let (line, terminated, next) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => (rest.get(..end).unwrap_or_default(), true, rest.get(end + 1..).unwrap_or_default()),
            None => (rest, false, Default::default()),
        };
        if line.contains(&0) {
            return FramingError::Nul;
        }
        let content = line.strip_suffix(b"\r");
        if content.unwrap_or(line).contains(&b'\r') {
            return FramingError::BareCarriageReturn;
        }
        let content = match (content, terminated) {
            (Some(content), _) => content,
            (None, true) => return FramingError::BareLineFeed,
            (None, false) => line,
        };
        let fault = match (first, start) {
            (true, StartLine::Request) => request_line_fault(content),
            (true, StartLine::Status) => status_line_fault(content),
            (false, _) => field_line_fault(content, content.len() < line.len()),
        };
        if let Some(fault) = fault {
            return fault;
        }
        first = false;
        rest = next;
    }
    FramingError::HeadInvalid
}

/// True for a token of RFC 9110 §5.6.2.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

/// True for a byte of a token.
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Which bytes are of a token.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it: out of bounds would fail the build")]
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut rest: &[u8] = b"!#$%&'*+-.^_`|~";
    while let [mark, after @ ..] = rest {
        table[*mark as usize] = true;
        rest = after;
    }
    table
};

/// Where a part that the parser found lies in the buffer.
pub(super) fn place(buffer: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(buffer.as_ptr() as usize).min(buffer.len());
    start..(start + part.len()).min(buffer.len())
}

fn ends_with(buffer: &[u8], end: usize, suffix: &[u8]) -> bool {
    buffer.get(..end).is_some_and(|head| head.ends_with(suffix))
}

/// RFC 9110 §8.6: digits alone. A sign, a list or a value beyond 19 digits is refused, not mended.
fn content_length(value: &[u8]) -> Result<u64, FramingError> {
    if value.is_empty() || value.len() > LENGTH_DIGITS_MAX || !value.iter().all(u8::is_ascii_digit) {
        return Err(FramingError::LengthInvalid);
    }
    Ok(value.iter().fold(0, |length: u64, digit| length * 10 + u64::from(digit - b'0')))
}

/// RFC 9112 §6.1: `chunked` once and last. What else a recipient should know to undo is not implemented.
fn transfer_encoding(value: &[u8]) -> Result<(), FramingError> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    let mut codings = value.split(|byte| *byte == b',').rev();
    let last_is_chunked = codings.next().is_some_and(is_chunked);
    if last_is_chunked && codings.all(|coding| is_token(coding.trim_ascii()) && !is_chunked(coding)) {
        return Err(FramingError::EncodingUnsupported);
    }
    Err(FramingError::EncodingInvalid)
}

fn request_line_fault(line: &[u8]) -> Option<FramingError> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    if !parts.next().is_some_and(is_token) {
        return Some(FramingError::RequestLineInvalid);
    }
    let target = parts.next()?;
    if target.is_empty() {
        return Some(FramingError::RequestLineInvalid);
    }
    if !target.iter().all(u8::is_ascii_graphic) {
        return Some(FramingError::TargetInvalid);
    }
    version_fault(parts.next()?, FramingError::RequestLineInvalid)
}

fn status_line_fault(line: &[u8]) -> Option<FramingError> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    if let Some(fault) = version_fault(parts.next()?, FramingError::StatusLineInvalid) {
        return Some(fault);
    }
    let status = parts.next()?;
    let reason = parts.next();
    let whole = status.len() == 3 || status.len() < 3 && reason.is_none();
    let valid = whole && status.iter().all(u8::is_ascii_digit);
    if valid && !reason.unwrap_or_default().iter().copied().any(is_control) {
        None
    } else {
        Some(FramingError::StatusLineInvalid)
    }
}

fn version_fault(version: &[u8], otherwise: FramingError) -> Option<FramingError> {
    if matches!(version, b"HTTP/1.0" | b"HTTP/1.1") || b"HTTP/1.0".starts_with(version) {
        return None;
    }
    let number = version.strip_prefix(b"HTTP/").unwrap_or_default();
    let looks_like_one = number.first().is_some_and(u8::is_ascii_digit) && !number.contains(&b' ');
    Some(if looks_like_one { FramingError::VersionUnsupported } else { otherwise })
}

/// Judges by the first byte that does not belong, as whoever reads byte by byte does.
fn field_line_fault(line: &[u8], terminated: bool) -> Option<FramingError> {
    if line.is_empty() {
        return None;
    }
    match line.iter().position(|byte| !is_token_byte(*byte)) {
        None if terminated => Some(FramingError::ColonMissing),
        None => None,
        Some(end) => match (line.get(end), end) {
            (Some(b' ' | b'\t'), 0) => Some(FramingError::FoldedField),
            (Some(b' ' | b'\t'), _) => Some(FramingError::SpaceInName),
            (Some(b':'), 0) => Some(FramingError::NameEmpty),
            (Some(b':'), _) => {
                let value = line.get(end..).unwrap_or_default();
                value.iter().copied().any(is_control).then_some(FramingError::ControlInValue)
            }
            (Some(_) | None, _) => Some(FramingError::NameInvalid),
        },
    }
}

/// True for a byte that cannot stand in a value or a quoted string.
pub(super) fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

/// 19 digits are below 2⁶⁴, so the number cannot wrap.
const LENGTH_DIGITS_MAX: usize = 19;
