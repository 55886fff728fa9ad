//! Writes the request an upstream sees. In: the judged body, the route, the lent credential. Out: bytes ready to send. Never here: the
//! agent's own credentials.
//!
//! The head is made anew, field by field; nothing an agent sent is copied into it but the MCP fields that were checked against the body and
//! a well-formed trace context. The body is the agent's, byte for byte (law 2).

use crate::downstream::Downstream;
use crate::http1::field::Field;
use crate::judge::Plan;
use portcullis_core::config::settings::Server;
use portcullis_core::protocol::era::Era;
use portcullis_core::token::credential::Credential;

/// What the HTTP method is toward the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A message.
    Post,
    /// A legacy stream.
    Get,
    /// The end of a legacy session.
    Delete,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST ",
            Self::Get => "GET ",
            Self::Delete => "DELETE ",
        }
    }
}

/// The parts of an upstream request that differ from call to call.
pub struct Outgoing<'a> {
    /// The HTTP method.
    pub verb: Verb,
    /// The upstream and its endpoint.
    pub server: &'a Server,
    /// The credential lent for this call.
    pub credential: Option<Credential<'a>>,
    /// The upstream's own session id.
    pub session: Option<&'a str>,
    /// Which MCP fields were compared with the body and so may pass.
    pub judged: Judged,
    /// The body; empty for GET and DELETE.
    pub body: &'a [u8],
}

/// How much of MCP's own fields was compared with the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Legacy: the version alone.
    Version,
    /// Modern: the version and the method.
    Method,
    /// Modern, of a method with a name: the name as well, and for tools the mirrored arguments.
    Name,
}

impl Judged {
    /// What the reading of a message compares.
    pub fn of(plan: &Plan) -> Self {
        match plan.era {
            Era::Legacy { .. } => Self::Version,
            Era::Modern { .. } if plan.method.is_some_and(|method| method.named_by().is_some()) => Self::Name,
            Era::Modern { .. } => Self::Method,
        }
    }
}

/// Writes head and body into `out`.
pub fn write(out: &mut Vec<u8>, outgoing: Outgoing<'_>, agent: &Downstream) {
    begin(out, outgoing.verb, outgoing.server, outgoing.body.len());
    pass(out, agent, Field::McpProtocolVersion, "MCP-Protocol-Version: ");
    match outgoing.judged {
        Judged::Version => {}
        Judged::Method => pass(out, agent, Field::McpMethod, "Mcp-Method: "),
        Judged::Name => {
            pass(out, agent, Field::McpMethod, "Mcp-Method: ");
            pass(out, agent, Field::McpName, "Mcp-Name: ");
            pass_mirrored_arguments(out, agent);
        }
    }
    if outgoing.verb == Verb::Get {
        pass(out, agent, Field::LastEventId, "Last-Event-ID: ");
    }
    pass_trace(out, agent);
    if let Some(session) = outgoing.session {
        line(out, "Mcp-Session-Id: ", session.as_bytes());
    }
    if let Some(credential) = outgoing.credential {
        credential.write_header(out);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(outgoing.body);
}

/// Writes a message of our own in a legacy session.
pub fn write_own(
    out: &mut Vec<u8>,
    server: &Server,
    credential: Option<Credential<'_>>,
    (session, revision): (&str, &str),
    body: &[u8],
) {
    begin(out, Verb::Post, server, body.len());
    line(out, "MCP-Protocol-Version: ", revision.as_bytes());
    line(out, "Mcp-Session-Id: ", session.as_bytes());
    if let Some(credential) = credential {
        credential.write_header(out);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

fn begin(out: &mut Vec<u8>, verb: Verb, server: &Server, body_bytes: usize) {
    let url = &server.url;
    for part in [verb.as_str(), &url.path, " HTTP/1.1\r\nHost: ", &url.authority, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    match verb {
        Verb::Post => {
            out.extend_from_slice(
                b"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: ",
            );
            write_number(out, body_bytes);
            out.extend_from_slice(b"\r\n");
        }
        Verb::Get => out.extend_from_slice(b"Accept: text/event-stream\r\n"),
        Verb::Delete => {}
    }
    out.extend_from_slice(b"Accept-Encoding: identity\r\n");
}

fn pass(out: &mut Vec<u8>, agent: &Downstream, field: Field, name: &str) {
    if let Some(value) = agent.field(field) {
        line(out, name, value);
    }
}

/// `Mcp-Param-*` fields, known or not: an intermediary forwards those it does not recognise (MCP 2026-07-28, Streamable HTTP).
fn pass_mirrored_arguments(out: &mut Vec<u8>, agent: &Downstream) {
    for (name, value) in
        agent.mirrored_arguments().filter(|(_, value)| value.iter().all(|byte| matches!(byte, b' '..=b'~')))
    {
        out.extend_from_slice(name.as_bytes());
        line(out, ": ", value);
    }
}

/// W3C trace context, if it looks like one: hexadecimal and dashes, at most its fixed length.
fn pass_trace(out: &mut Vec<u8>, agent: &Downstream) {
    let Some(parent) = agent.field(Field::Traceparent) else { return };
    if parent.len() == 55 && parent.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-') {
        line(out, "traceparent: ", parent);
        pass(out, agent, Field::Tracestate, "tracestate: ");
    }
}

fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn write_number(out: &mut Vec<u8>, number: usize) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut left = number;
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
        }
        left /= 10;
        if left == 0 || at == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}
