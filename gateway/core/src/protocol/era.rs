//! Tells the eras apart. In: headers, a message, the revisions a route offers. Out: the era, or an error as MCP words it.
//!
//! A request is judged by its body; the headers may only agree with it. Upstreams disagree on what a modern body without
//! version header is, so that is refused here: gateway and upstream must never take one request for different things.

use std::borrow::Cow;
use std::fmt;

use super::code;
use super::header::{
    Header, HeaderFault, LAST_EVENT_ID, METHOD, McpHeaders, NAME, PROTOCOL_VERSION, SESSION_ID, repeats,
};
use super::json::{Kind, Value};
use super::message::{META_CLIENT_CAPABILITIES, META_PROTOCOL_VERSION, Message, MessageKind};
use super::method::Method;
use super::revision::Revision;

/// How a message is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// With `initialize` and sessions (≤ 2025-11-25).
    Legacy {
        /// What the header names. Absent: the session knows, or 2025-03-26 is assumed.
        header_revision: Option<Revision>,
    },
    /// With its own metadata (≥ 2026-07-28).
    Modern {
        /// What header and body name alike.
        revision: Revision,
    },
}

/// Why a message belongs to no era that is offered. The names are stable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EraError {
    /// `GET` or `DELETE` where only `POST` is: a modern version, or no legacy revision is offered. `Allow: POST` goes with it.
    MethodNotAllowed,
    /// A header and the body do not agree.
    Header {
        /// The header as it is usually spelled.
        header: Cow<'static, str>,
        /// What is wrong with it.
        fault: HeaderFault,
    },
    /// The header names a modern revision and the body has no `_meta` that does.
    ClaimMissing,
    /// A key of `_meta` that every modern request must have is missing or of the wrong kind.
    MetaMalformed(&'static str),
    /// A modern request for a revision that is not offered.
    UnsupportedVersion {
        /// What was asked for.
        requested: Box<str>,
    },
    /// A legacy message on a route that offers modern revisions alone.
    LegacyNotOffered {
        /// What was asked for, where something was.
        requested: Option<Box<str>>,
    },
    /// A modern message on a route that offers legacy revisions alone. Worded so that a client falls back to `initialize`.
    ModernNotOffered,
    /// A legacy message whose header names a revision that is unknown or not offered.
    LegacyVersion,
    /// A JSON-RPC response under a modern revision, where clients answer inside their next request.
    ResponseOnModern,
    /// A method that is unknown or that the revision does not offer.
    MethodNotFound(MethodEra),
    /// A modern request that needs an extension its client did not declare.
    ExtensionNotDeclared(&'static str),
}

/// The era a method was looked for in; it decides the HTTP status of its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MethodEra {
    /// Answered with 200.
    Legacy,
    /// Answered with 404.
    Modern,
}

/// Which era a posted message belongs to, on a route that offers `offered`.
pub fn classify(headers: &McpHeaders<'_>, message: &Message<'_>, offered: &[Revision]) -> Result<Era, EraError> {
    refuse_repeated(headers)?;
    let version = headers.protocol_version.text().map_err(|fault| header(PROTOCOL_VERSION, fault))?;
    match message.kind {
        MessageKind::Request => request(headers, version, message, offered),
        MessageKind::Notification => notification(headers, version, message, offered),
        MessageKind::Result | MessageKind::Error => match legacy(version, None, offered) {
            Err(EraError::LegacyNotOffered { .. } | EraError::ClaimMissing) => Err(EraError::ResponseOnModern),
            era => era,
        },
    }
}

/// Which era a `GET` or `DELETE` belongs to: the legacy one or none.
pub fn classify_bodyless(headers: &McpHeaders<'_>, offered: &[Revision]) -> Result<Era, EraError> {
    refuse_repeated(headers)?;
    let version = headers.protocol_version.text().map_err(|fault| header(PROTOCOL_VERSION, fault))?;
    match legacy(version, None, offered) {
        Err(EraError::LegacyNotOffered { .. } | EraError::ClaimMissing) => Err(EraError::MethodNotAllowed),
        era => era,
    }
}

/// A method that a route offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered<'m> {
    /// One that MCP defines.
    Known(Method),
    /// One that the route's configuration names.
    Extension(&'m str),
}

/// The method of a request under `revision`; `extensions` are those the route's configuration names beside MCP's own.
pub fn offered_method<'m>(
    message: &Message<'m>,
    revision: Revision,
    extensions: &[Box<str>],
) -> Result<Offered<'m>, EraError> {
    let name = message.method.unwrap_or_default();
    let era = if revision.is_modern() { MethodEra::Modern } else { MethodEra::Legacy };
    match Method::parse(name) {
        Some(method) if method.offered_in(revision) => {
            if method.needs_tasks_extension(revision) && !message.declares_extension(TASKS_EXTENSION) {
                return Err(EraError::ExtensionNotDeclared(TASKS_EXTENSION));
            }
            Ok(Offered::Known(method))
        }
        None if extensions.iter().any(|extension| **extension == *name) => Ok(Offered::Extension(name)),
        Some(_) | None => Err(EraError::MethodNotFound(era)),
    }
}

fn request(
    headers: &McpHeaders<'_>,
    version: Option<&str>,
    message: &Message<'_>,
    offered: &[Revision],
) -> Result<Era, EraError> {
    match message.meta_protocol_version() {
        Some(claim) => modern_request(headers, version, message, claim, offered),
        None if message.method == Some(Method::Initialize.as_str()) => {
            let asked = message.param("protocolVersion").and_then(Value::as_str);
            match legacy(version, asked, offered) {
                Err(EraError::ClaimMissing) => Err(header(PROTOCOL_VERSION, HeaderFault::Mismatch)),
                era => era,
            }
        }
        None => legacy(version, None, offered),
    }
}

fn modern_request(
    headers: &McpHeaders<'_>,
    version: Option<&str>,
    message: &Message<'_>,
    claim: Value<'_>,
    offered: &[Revision],
) -> Result<Era, EraError> {
    if !offered.iter().any(|revision| revision.is_modern()) {
        return Err(EraError::ModernNotOffered);
    }
    let claim = claim.as_str().ok_or(EraError::MetaMalformed(META_PROTOCOL_VERSION))?;
    if message.meta_client_capabilities().map(Value::kind) != Some(Kind::Object) {
        return Err(EraError::MetaMalformed(META_CLIENT_CAPABILITIES));
    }
    same(PROTOCOL_VERSION, version, claim)?;
    let method = message.method.unwrap_or_default();
    same(METHOD, headers.method.text().map_err(|fault| header(METHOD, fault))?, method)?;
    let repeated = Method::parse(method).and_then(Method::named_by).and_then(|key| message.param(key));
    // A name that is missing or not a string is refused where the subject is read.
    if let Some(named) = repeated.and_then(Value::as_str) {
        let fault = match headers.name {
            Header::Absent => Err(HeaderFault::Missing),
            Header::Once(value) => repeats(value, named),
            Header::Repeated => Err(HeaderFault::Repeated),
        };
        fault.map_err(|fault| header(NAME, fault))?;
    }
    modern(claim, offered)
}

fn notification(
    headers: &McpHeaders<'_>,
    version: Option<&str>,
    message: &Message<'_>,
    offered: &[Revision],
) -> Result<Era, EraError> {
    let claimed = match message.meta_protocol_version() {
        Some(claim) => Some(claim.as_str().ok_or(EraError::MetaMalformed(META_PROTOCOL_VERSION))?),
        None => None,
    };
    let named = version.filter(|version| is_modern(version));
    let Some(revision) = claimed.or(named) else { return legacy(version, None, offered) };
    if !offered.iter().any(|revision| revision.is_modern()) {
        return Err(EraError::ModernNotOffered);
    }
    same(PROTOCOL_VERSION, version, revision)?;
    // Headers of notifications are not defined; one that is there must not lie.
    if let Some(method) = headers.method.text().map_err(|fault| header(METHOD, fault))? {
        same(METHOD, Some(method), message.method.unwrap_or_default())?;
    }
    modern(revision, offered)
}

/// The legacy era, if the header allows it; [`EraError::ClaimMissing`] where the header names a modern revision.
fn legacy(version: Option<&str>, asked: Option<&str>, offered: &[Revision]) -> Result<Era, EraError> {
    if version.is_some_and(is_modern) {
        return Err(EraError::ClaimMissing);
    }
    if offered.iter().all(|revision| revision.is_modern()) {
        return Err(EraError::LegacyNotOffered { requested: asked.or(version).map(Box::from) });
    }
    let Some(version) = version else { return Ok(Era::Legacy { header_revision: None }) };
    match Revision::parse(version).filter(|revision| offered.contains(revision)) {
        Some(revision) => Ok(Era::Legacy { header_revision: Some(revision) }),
        None => Err(EraError::LegacyVersion),
    }
}

fn modern(claim: &str, offered: &[Revision]) -> Result<Era, EraError> {
    match Revision::parse(claim).filter(|revision| revision.is_modern() && offered.contains(revision)) {
        Some(revision) => Ok(Era::Modern { revision }),
        None => Err(EraError::UnsupportedVersion { requested: claim.into() }),
    }
}

fn is_modern(version: &str) -> bool {
    Revision::parse(version).is_some_and(Revision::is_modern)
}

fn same(name: &'static str, value: Option<&str>, body: &str) -> Result<(), EraError> {
    match value {
        Some(value) if value == body => Ok(()),
        Some(_) => Err(header(name, HeaderFault::Mismatch)),
        None => Err(header(name, HeaderFault::Missing)),
    }
}

fn refuse_repeated(headers: &McpHeaders<'_>) -> Result<(), EraError> {
    let all = [
        (PROTOCOL_VERSION, headers.protocol_version),
        (METHOD, headers.method),
        (NAME, headers.name),
        (SESSION_ID, headers.session_id),
        (LAST_EVENT_ID, headers.last_event_id),
    ];
    match all.into_iter().find(|(_, value)| *value == Header::Repeated) {
        Some((name, _)) => Err(header(name, HeaderFault::Repeated)),
        None => Ok(()),
    }
}

fn header(name: &'static str, fault: HeaderFault) -> EraError {
    EraError::Header { header: Cow::Borrowed(name), fault }
}

impl EraError {
    /// The stable name of the cause.
    pub fn name(&self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "http_method_not_allowed",
            Self::Header { fault: HeaderFault::Missing, .. } => "header_missing",
            Self::Header { fault: HeaderFault::Unexpected, .. } => "header_unexpected",
            Self::Header { fault: HeaderFault::Mismatch, .. } => "header_mismatch",
            Self::Header { fault: HeaderFault::Malformed, .. } => "header_malformed",
            Self::Header { fault: HeaderFault::Repeated, .. } => "header_repeated",
            Self::ClaimMissing => "claim_missing",
            Self::MetaMalformed(_) => "meta_malformed",
            Self::UnsupportedVersion { .. } => "unsupported_version",
            Self::LegacyNotOffered { .. } => "legacy_not_offered",
            Self::ModernNotOffered => "modern_not_offered",
            Self::LegacyVersion => "legacy_version",
            Self::ResponseOnModern => "response_on_modern",
            Self::MethodNotFound(_) => "method_not_found",
            Self::ExtensionNotDeclared(_) => "extension_not_declared",
        }
    }

    /// The HTTP status it is answered with.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::MethodNotAllowed => 405,
            Self::MethodNotFound(MethodEra::Modern) => 404,
            Self::MethodNotFound(MethodEra::Legacy) => 200,
            Self::Header { .. } | Self::ClaimMissing | Self::MetaMalformed(_) | Self::UnsupportedVersion { .. } => 400,
            Self::LegacyNotOffered { .. } | Self::ModernNotOffered | Self::LegacyVersion | Self::ResponseOnModern => {
                400
            }
            Self::ExtensionNotDeclared(_) => 400,
        }
    }

    /// The JSON-RPC code; none where the answer has no body.
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::MethodNotAllowed => None,
            Self::Header { .. } => Some(code::HEADER_MISMATCH),
            Self::ClaimMissing | Self::MetaMalformed(_) => Some(code::INVALID_PARAMS),
            Self::UnsupportedVersion { .. } | Self::LegacyNotOffered { .. } => Some(code::UNSUPPORTED_VERSION),
            Self::ModernNotOffered | Self::LegacyVersion | Self::ResponseOnModern => Some(code::INVALID_REQUEST),
            Self::MethodNotFound(_) => Some(code::METHOD_NOT_FOUND),
            Self::ExtensionNotDeclared(_) => Some(code::MISSING_CAPABILITY),
        }
    }

    /// The `data` member as JSON, where MCP defines one. `offered` is what the route offers; of it the modern revisions
    /// are named, as `server/discover` names them.
    pub fn data(&self, offered: &[Revision]) -> Option<Vec<u8>> {
        let modern = || offered.iter().filter(|revision| revision.is_modern()).map(|revision| revision.as_str());
        let data = match self {
            Self::UnsupportedVersion { requested } | Self::LegacyNotOffered { requested: Some(requested) } => {
                serde_json::json!({ "supported": modern().collect::<Vec<_>>(), "requested": requested })
            }
            Self::LegacyNotOffered { requested: None } => {
                serde_json::json!({ "supported": modern().collect::<Vec<_>>() })
            }
            Self::ExtensionNotDeclared(extension) => {
                serde_json::json!({ "requiredCapabilities": { "extensions": { *extension: {} } } })
            }
            Self::MethodNotAllowed | Self::Header { .. } | Self::ClaimMissing | Self::MetaMalformed(_) => return None,
            Self::ModernNotOffered | Self::LegacyVersion | Self::ResponseOnModern | Self::MethodNotFound(_) => {
                return None;
            }
        };
        Some(data.to_string().into_bytes())
    }
}

impl fmt::Display for EraError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MethodNotAllowed => out.write_str("only POST is offered here"),
            Self::Header { header, fault } => match fault {
                HeaderFault::Missing => write!(out, "header `{header}` is missing"),
                HeaderFault::Unexpected => write!(out, "header `{header}` repeats what the body does not say"),
                HeaderFault::Mismatch => write!(out, "header `{header}` differs from the body"),
                HeaderFault::Malformed => write!(out, "header `{header}` cannot be read"),
                HeaderFault::Repeated => write!(out, "header `{header}` stands there more than once"),
            },
            Self::ClaimMissing => write!(out, "`_meta` lacks `{META_PROTOCOL_VERSION}`"),
            Self::MetaMalformed(key) => write!(out, "`{key}` of `_meta` is missing or malformed"),
            Self::UnsupportedVersion { .. } => out.write_str("the protocol version is not supported"),
            Self::LegacyNotOffered { .. } => out.write_str("only revisions without `initialize` are offered here"),
            Self::ModernNotOffered => out.write_str("only revisions with `initialize` are offered here"),
            Self::LegacyVersion => write!(out, "header `{PROTOCOL_VERSION}` names a version that is not offered here"),
            Self::ResponseOnModern => out.write_str("responses are not taken in this revision"),
            Self::MethodNotFound(_) => out.write_str("the method is not offered"),
            Self::ExtensionNotDeclared(extension) => write!(out, "the client did not declare `{extension}`"),
        }
    }
}

impl std::error::Error for EraError {}

/// The extension that brings tasks to 2026-07-28.
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

#[cfg(test)]
mod tests;
