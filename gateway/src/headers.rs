//! Checks what a request says of its form. In: a request head. Out: nothing, or why the body is not worth reading. Never here: judgement of
//! versions and names, which is `core::protocol::era`'s.

use crate::downstream::Downstream;
use crate::http1::field::{Field, FieldValue};
use portcullis_core::protocol::header::{Header, McpHeaders};
use portcullis_core::refusal::RouteRefusal;

/// What bodies are (RFC 8259 §11).
const JSON: &str = "application/json";

/// What a POST must say of itself: JSON in, JSON and events out, no encoding.
pub fn check(agent: &Downstream) -> Result<(), RouteRefusal> {
    if agent.has(Field::ContentEncoding) && agent.text(Field::ContentEncoding) != Some("identity") {
        return Err(RouteRefusal::EncodingNotAllowed);
    }
    let is_usual = agent.field(Field::ContentType) == Some(JSON.as_bytes());
    if !is_usual && !agent.text(Field::ContentType).is_some_and(is_json) {
        return Err(RouteRefusal::MediaTypeNotAllowed);
    }
    // As the SDKs write it.
    if agent.field(Field::Accept) == Some(b"application/json, text/event-stream") {
        return Ok(());
    }
    let accept = agent.text(Field::Accept).ok_or(RouteRefusal::NotAcceptable)?;
    if lists(accept, JSON) && lists(accept, "text/event-stream") { Ok(()) } else { Err(RouteRefusal::NotAcceptable) }
}

fn is_json(media: &str) -> bool {
    essence(media).eq_ignore_ascii_case(JSON)
}

/// What a GET stream must say: events out.
pub fn check_stream(agent: &Downstream) -> Result<(), RouteRefusal> {
    let accept = agent.text(Field::Accept).ok_or(RouteRefusal::NotAcceptable)?;
    if lists(accept, "text/event-stream") { Ok(()) } else { Err(RouteRefusal::NotAcceptable) }
}

/// The fields of MCP. The parser has sorted them out and trimmed them already.
pub fn mcp(agent: &Downstream) -> McpHeaders<'_> {
    let header = |field| match agent.value(field) {
        FieldValue::Absent => Header::Absent,
        FieldValue::Once(range) => Header::Once(agent.bytes(range)),
        FieldValue::Repeated => Header::Repeated,
    };
    McpHeaders {
        protocol_version: header(Field::McpProtocolVersion),
        method: header(Field::McpMethod),
        name: header(Field::McpName),
        session_id: header(Field::McpSessionId),
        last_event_id: header(Field::LastEventId),
    }
}

fn essence(media: &str) -> &str {
    media.split_once(';').map_or(media, |(essence, _)| essence).trim()
}

/// Whether an `Accept` value lists this media type, itself or by a wildcard (RFC 9110 §12.5.1); weights do not matter to us.
fn lists(accept: &str, media: &str) -> bool {
    let family = media.split_once('/').map_or(media, |(family, _)| family);
    accept.split(',').map(essence).any(|range| {
        range == "*/*"
            || range.eq_ignore_ascii_case(media)
            || range.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(family))
    })
}
