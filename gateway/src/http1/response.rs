//! Reads an upstream's head, which is as little trusted as a client's. In: bytes received so far and what was asked.
//! Out: the head as ranges of them, "not yet", or why not. Never here: bodies, retries.

use std::mem::MaybeUninit;

use portcullis_core::limits;

use super::error::FramingError;
use super::field::{Field, FieldValue, Fields};
use super::head::{self, Framing, HeadLimits, Persistence, StartLine, Version};
use super::last::Head;

/// A response's head. Its ranges are of the buffer it was read from, which it does not borrow.
#[derive(Clone)]
pub struct ResponseHead {
    /// Bytes of the head; the body begins there.
    pub length: usize,
    /// 100 to 599. One below 200 is not the answer yet: skip `length` bytes and read on, a bounded number of times.
    pub status: u16,
    /// The version.
    pub version: Version,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the connection may carry another request after this body.
    pub persistence: Persistence,
    /// What kind of body it is.
    pub content: Content,
    /// The fields.
    pub fields: Fields,
}

/// What was asked, as far as the framing of the answer depends on it (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// HEAD: no answer has a body.
    Head,
    /// Any other method.
    Other,
}

/// The media type of a body, as far as MCP tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// `application/json`, in UTF-8.
    Json,
    /// `text/event-stream`, in UTF-8.
    EventStream,
    /// Any other.
    Other,
    /// No Content-Type.
    Untyped,
}

impl ResponseHead {
    /// Reads a head from the start of `buffer`; `None` means that it is not complete. Bytes after it are not looked at.
    pub fn parse(buffer: &[u8], asked: Asked, limits: &HeadLimits) -> Result<Option<Self>, FramingError> {
        if matches!(buffer, [b'\r' | b'\n', ..]) {
            return Err(FramingError::StatusLineInvalid);
        }
        let mut parsed = [const { MaybeUninit::uninit() }; limits::HEADERS_MAX];
        let room = parsed.get_mut(..limits.fields_max()).unwrap_or_default();
        let mut response = httparse::Response::new(&mut []);
        let within = buffer.get(..limits.bytes_max()).unwrap_or(buffer);
        let config = httparse::ParserConfig::default();
        let length = match config.parse_response_with_uninit_headers(&mut response, within, room) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if buffer.len() < limits.bytes_max() => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(FramingError::HeadTooLarge),
            Err(error) => return Err(head::diagnose(within, error, StartLine::Status)),
        };
        let version = Version::of(response.version)?;
        let status =
            response.code.filter(|status| (100..600).contains(status)).ok_or(FramingError::StatusLineInvalid)?;
        let fields = head::fields(buffer, response.headers, length)?;
        let told = head::framing(buffer, &fields, version, limits.body_bytes_max);
        let framing = framing(told, status, asked)?;
        head::identity_only(buffer, &fields)?;
        let persistence = match head::persistence(buffer, &fields, version)? {
            Persistence::KeepAlive if framing != Framing::UntilClose => Persistence::KeepAlive,
            Persistence::KeepAlive | Persistence::Close => Persistence::Close,
        };
        let content = content(buffer, &fields)?;
        Ok(Some(Self { length, status, version, framing, persistence, content, fields }))
    }
}

/// Of answers to methods other than HEAD.
impl Head for ResponseHead {
    fn parse(buffer: &[u8], limits: &HeadLimits) -> Result<Option<Self>, FramingError> {
        Self::parse(buffer, Asked::Other, limits)
    }

    fn parts(&mut self) -> (&mut usize, &mut Fields) {
        (&mut self.length, &mut self.fields)
    }

    /// Whether the body ends with the connection does not change while the same fields are there.
    fn settle(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<(), FramingError> {
        let told = head::framing(buffer, &self.fields, self.version, limits.body_bytes_max);
        self.framing = framing(told, self.status, Asked::Other)?;
        Ok(())
    }
}

/// `told` is what the fields say of the body.
fn framing(told: Told, status: u16, asked: Asked) -> Result<Framing, FramingError> {
    match status {
        101 => Err(FramingError::UpgradeUnasked),
        // A server MUST NOT send either field here (RFC 9112 §6.1, RFC 9110 §8.6); a length of nothing does no harm.
        100..200 | 204 => match told? {
            None | Some(Framing::Length(0)) => Ok(Framing::None),
            Some(Framing::Length(_) | Framing::Chunked | Framing::None | Framing::UntilClose) => {
                Err(FramingError::BodyForbidden)
            }
        },
        // Here the fields tell of the body that was not sent, however long it would have been.
        304 => told.or_else(unsent).map(|_| Framing::None),
        _ if asked == Asked::Head => told.or_else(unsent).map(|_| Framing::None),
        _ => Ok(told?.unwrap_or(Framing::UntilClose)),
    }
}

type Told = Result<Option<Framing>, FramingError>;

/// A body that is not sent cannot be too large.
fn unsent(error: FramingError) -> Told {
    if error == FramingError::BodyTooLarge { Ok(None) } else { Err(error) }
}

/// Text that is not UTF-8 would be read differently by the client than by us, so such a charset is "other".
fn content(buffer: &[u8], fields: &Fields) -> Result<Content, FramingError> {
    let value = match fields.field(Field::ContentType) {
        FieldValue::Absent => return Ok(Content::Untyped),
        FieldValue::Repeated => return Err(FramingError::ContentTypeRepeated),
        FieldValue::Once(range) => buffer.get(range).unwrap_or_default(),
    };
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let media_type = parts.next().unwrap_or_default();
    let foreign = |parameter: &[u8]| {
        let mut pair = parameter.splitn(2, |byte| *byte == b'=');
        let name = pair.next().unwrap_or_default().trim_ascii();
        let charset = pair.next().unwrap_or_default().trim_ascii();
        let charset = charset.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(charset);
        name.eq_ignore_ascii_case(b"charset") && !charset.eq_ignore_ascii_case(b"utf-8")
    };
    if parts.any(foreign) {
        return Ok(Content::Other);
    }
    if media_type.eq_ignore_ascii_case(b"application/json") {
        return Ok(Content::Json);
    }
    if media_type.eq_ignore_ascii_case(b"text/event-stream") {
        return Ok(Content::EventStream);
    }
    Ok(Content::Other)
}

#[cfg(test)]
mod tests;
