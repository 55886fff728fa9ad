//! Reads a request's head. In: bytes received so far. Out: the head as ranges of them, "not yet", or why not. Never
//! here: bodies, routes.

use std::mem::MaybeUninit;
use std::ops::Range;

use portcullis_core::limits;

use super::error::FramingError;
use super::field::{Field, FieldValue, Fields};
use super::head::{self, Framing, HeadLimits, Persistence, StartLine, Version};
use super::last::Head;

/// A request's head. Its ranges are of the buffer it was read from, which it does not borrow.
#[derive(Clone)]
pub struct RequestHead {
    /// Bytes of the head; the body, or the next request, begins there.
    pub length: usize,
    /// The method.
    pub method: Method,
    /// Where the method stands.
    pub method_text: Range<usize>,
    /// The path and query, `*` as it stands; empty for an absolute target without a path, which means `/`.
    pub target: Range<usize>,
    /// The version.
    pub version: Version,
    /// The authority the request is for: the Host, or the target's own where HTTP/1.0 has no Host.
    pub host: Option<Range<usize>>,
    /// How the body ends; a request's never ends with its connection.
    pub framing: Framing,
    /// Whether the connection may carry another request.
    pub persistence: Persistence,
    /// Whether the client waits for our word before it sends the body.
    pub expectation: Expectation,
    /// The fields.
    pub fields: Fields,
}

/// The methods by name; which of them a route takes is decided elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// Any other token; methods are case-sensitive, so `get` is one of these.
    Other,
}

/// What the client waits for before it sends the body (RFC 9110 §10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing.
    None,
    /// `100 (Continue)`.
    Continue,
}

impl RequestHead {
    /// Reads a head from the start of `buffer`; `None` means that it is not complete. Bytes after it are not looked at.
    pub fn parse(buffer: &[u8], limits: &HeadLimits) -> Result<Option<Self>, FramingError> {
        check_before(buffer)?;
        let mut parsed = [const { MaybeUninit::uninit() }; limits::HEADERS_MAX];
        let room = parsed.get_mut(..limits.fields_max()).unwrap_or_default();
        let mut request = httparse::Request::new(&mut []);
        let within = buffer.get(..limits.bytes_max()).unwrap_or(buffer);
        let length = match request.parse_with_uninit_headers(within, room) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if buffer.len() < limits.bytes_max() => return Ok(None),
            // A partial head that fills its bound can never become complete within it.
            Ok(httparse::Status::Partial) => {
                let in_target = !within.contains(&b'\n');
                return Err(if in_target { FramingError::TargetTooLong } else { FramingError::HeadTooLarge });
            }
            Err(error) => return Err(head::diagnose(within, error, StartLine::Request)),
        };
        let (Some(method), Some(target)) = (request.method, request.path) else {
            return Err(FramingError::RequestLineInvalid);
        };
        let start =
            Start { method, target: head::place(buffer, target.as_bytes()), version: Version::of(request.version)? };
        let fields = head::fields(buffer, request.headers, length)?;
        Self::judge(buffer, start, fields, length, limits).map(Some)
    }

    /// The path and query to route by and to pass on; `/` where the target has none.
    pub fn target_text<'b>(&self, buffer: &'b [u8]) -> &'b [u8] {
        match buffer.get(self.target.clone()) {
            None | Some([]) => b"/",
            Some(target) => target,
        }
    }

    /// The authority as it was sent.
    pub fn host_text<'b>(&self, buffer: &'b [u8]) -> Option<&'b [u8]> {
        buffer.get(self.host.clone()?)
    }

    fn judge(
        buffer: &[u8],
        start: Start<'_>,
        fields: Fields,
        length: usize,
        limits: &HeadLimits,
    ) -> Result<Self, FramingError> {
        let method = method(start.method)?;
        let target = split_target(buffer, start.target, method)?;
        let host = host(buffer, &fields, start.version, target.authority)?;
        let framing = head::framing(buffer, &fields, start.version, limits.body_bytes_max)?.unwrap_or(Framing::None);
        head::identity_only(buffer, &fields)?;
        Ok(Self {
            length,
            method,
            method_text: head::place(buffer, start.method.as_bytes()),
            target: target.path,
            version: start.version,
            host,
            framing,
            persistence: head::persistence(buffer, &fields, start.version)?,
            expectation: expectation(buffer, &fields, start.version)?,
            fields,
        })
    }
}

impl Head for RequestHead {
    fn parse(buffer: &[u8], limits: &HeadLimits) -> Result<Option<Self>, FramingError> {
        Self::parse(buffer, limits)
    }

    fn parts(&mut self) -> (&mut usize, &mut Fields) {
        (&mut self.length, &mut self.fields)
    }

    fn settle(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<(), FramingError> {
        if let FieldValue::Once(host) = self.fields.field(Field::Host) {
            self.host = Some(host);
        }
        let framing = head::framing(buffer, &self.fields, self.version, limits.body_bytes_max)?;
        self.framing = framing.unwrap_or(Framing::None);
        Ok(())
    }
}

struct Start<'b> {
    method: &'b str,
    target: Range<usize>,
    version: Version,
}

struct Target {
    authority: Option<Range<usize>>,
    path: Range<usize>,
}

/// RFC 9112 §2.2 lets a server skip an empty line before the request, which old clients send after a body; the parser
/// would skip any number of them and bare line feeds too.
fn check_before(buffer: &[u8]) -> Result<(), FramingError> {
    match buffer {
        [b'\n', ..] | [b'\r', b'\n', b'\n', ..] => Err(FramingError::BareLineFeed),
        [b'\r', b'\n', b'\r', ..] => Err(FramingError::RequestLineInvalid),
        _ => Ok(()),
    }
}

fn method(name: &str) -> Result<Method, FramingError> {
    match name {
        "GET" => Ok(Method::Get),
        "HEAD" => Ok(Method::Head),
        "POST" => Ok(Method::Post),
        "PUT" => Ok(Method::Put),
        "PATCH" => Ok(Method::Patch),
        "DELETE" => Ok(Method::Delete),
        "OPTIONS" => Ok(Method::Options),
        "TRACE" => Ok(Method::Trace),
        "CONNECT" => Err(FramingError::ConnectRefused),
        _ => Ok(Method::Other),
    }
}

/// RFC 9112 §3.2: origin-form, absolute-form, or `*` for OPTIONS; authority-form is for CONNECT, which we refuse.
fn split_target(buffer: &[u8], range: Range<usize>, method: Method) -> Result<Target, FramingError> {
    let text = buffer.get(range.clone()).unwrap_or_default();
    if text.len() > TARGET_BYTES_MAX {
        return Err(FramingError::TargetTooLong);
    }
    match text {
        b"*" if method == Method::Options => return Ok(Target { authority: None, path: range }),
        [b'/', ..] if is_path_and_query(text) => return Ok(Target { authority: None, path: range }),
        _ => {}
    }
    let scheme =
        SCHEMES.iter().find(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let Some(scheme) = scheme else { return Err(FramingError::TargetInvalid) };
    let rest = text.get(scheme.len()..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // A query without a path before it is a URI, but routers disagree on how to read it.
    if !is_authority(authority) || !(path.is_empty() || path.starts_with(b"/") && is_path_and_query(path)) {
        return Err(FramingError::TargetInvalid);
    }
    Ok(Target { authority: Some(head::place(buffer, authority)), path: head::place(buffer, path) })
}

/// RFC 9112 §3.2: a server MUST refuse an HTTP/1.1 request without Host, and any with more than one or an invalid one.
/// Were it lenient, the route could be taken from one authority and the policy from another.
fn host(
    buffer: &[u8],
    fields: &Fields,
    version: Version,
    target: Option<Range<usize>>,
) -> Result<Option<Range<usize>>, FramingError> {
    let range = match fields.field(Field::Host) {
        FieldValue::Repeated => return Err(FramingError::HostRepeated),
        FieldValue::Absent if version == Version::Http10 => return Ok(target),
        FieldValue::Absent => return Err(FramingError::HostMissing),
        FieldValue::Once(range) => range,
    };
    let text = buffer.get(range.clone()).unwrap_or_default();
    if text.is_empty() {
        return Err(FramingError::HostEmpty);
    }
    if !is_authority(text) {
        return Err(FramingError::HostInvalid);
    }
    if let Some(authority) = target
        && !buffer.get(authority).unwrap_or_default().eq_ignore_ascii_case(text)
    {
        return Err(FramingError::HostMismatch);
    }
    Ok(Some(range))
}

/// RFC 9110 §10.1.1: HTTP/1.0 has no expectations, so one there MUST be ignored.
fn expectation(buffer: &[u8], fields: &Fields, version: Version) -> Result<Expectation, FramingError> {
    match (fields.field(Field::Expect), version) {
        (FieldValue::Absent, _) | (_, Version::Http10) => Ok(Expectation::None),
        (FieldValue::Once(value), Version::Http11)
            if buffer.get(value.clone()).unwrap_or_default().eq_ignore_ascii_case(b"100-continue") =>
        {
            Ok(Expectation::Continue)
        }
        (FieldValue::Once(_) | FieldValue::Repeated, Version::Http11) => Err(FramingError::ExpectationUnknown),
    }
}

/// Host and port: a name, an IPv4 address or an IPv6 address in brackets, and a port of 1 to 5 digits. No user
/// information, no list, no percent-encoding.
fn is_authority(text: &[u8]) -> bool {
    let after = if let Some(rest) = text.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
        let (address, after) = rest.split_at(end);
        let digits = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        if address.len() < 2 || !address.iter().all(digits) {
            return false;
        }
        after.get(1..).unwrap_or_default()
    } else {
        let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
        let (name, after) = text.split_at(end);
        let letters = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if name.is_empty() || !name.iter().all(letters) {
            return false;
        }
        after
    };
    match after.split_first() {
        None => true,
        Some((b':', port)) => {
            let number = std::str::from_utf8(port).ok().filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
            port.len() <= 5 && number.and_then(|port| port.parse::<u16>().ok()).is_some()
        }
        Some(_) => false,
    }
}

/// The characters of RFC 3986 §3.3 and §3.4, with whole percent-encodings; no fragment.
fn is_path_and_query(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'%' => match after {
                [high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
                _ => return false,
            },
            byte if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(byte) => after,
            _ => return false,
        };
    }
    true
}

const SCHEMES: [&[u8]; 2] = [b"http://", b"https://"];

/// Half of a head: a target that leaves no room for the fields is of no use.
const TARGET_BYTES_MAX: usize = limits::HEAD_BYTES_MAX / 2;

#[cfg(test)]
mod tests;
