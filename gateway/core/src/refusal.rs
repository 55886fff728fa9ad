//! Says no in three voices. In: the error of any stage. Out: HTTP status and JSON-RPC code for the agent, a stable reason for the record.
//! Never here: a wildcard arm, a value the agent could learn from, IO.
//!
//! What the agent reads names the class of the cause and nothing of the rule, the registry or the upstream behind it; the record names it all.

use crate::identity::error::{Challenge, IdentityError, challenge};
use crate::policy::oblige::{Shortfall, Unmet};
use crate::policy::verdict::{Denial, ResultCause};
use crate::protocol::code;
use crate::protocol::era::EraError;
use crate::protocol::json::BodyError;
use crate::protocol::message::MessageError;

use std::borrow::Cow;

/// Why a request was not served. One variant a stage, in the order a request meets them.
#[derive(Debug)]
pub enum Refusal {
    /// Where it was sent.
    Route(RouteRefusal),
    /// Who sent it.
    Identity(IdentityError),
    /// How much there is already.
    Limit(LimitRefusal),
    /// Its bytes are no JSON we take.
    Body(BodyError),
    /// Its JSON is no JSON-RPC message we take.
    Message(MessageError),
    /// Its headers and its body do not agree, or name a revision this route does not speak.
    Era(EraError),
    /// Its legacy session.
    Session(SessionRefusal),
    /// A name it uses was handed to somebody else, or to nobody.
    Ownership(OwnershipRefusal),
    /// What policy says.
    Policy(Denial),
    /// What the permits that hold oblige to.
    Obligation(Unmet),
    /// The audit log.
    Journal(JournalFailure),
    /// The upstream.
    Upstream(UpstreamFailure),
}

/// A request that leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteRefusal {
    /// `Host` is not one of ours: a page that rebound a name to this address (DNS rebinding).
    HostNotAllowed,
    /// `Origin` is not one of ours.
    OriginNotAllowed,
    /// No route has this path.
    UnknownPath,
    /// The route does not take this HTTP method.
    MethodNotAllowed,
    /// `Content-Type` is not `application/json`.
    MediaTypeNotAllowed,
    /// `Accept` does not list what an answer may be.
    NotAcceptable,
    /// `Content-Encoding` is not identity: what cannot be read cannot be judged.
    EncodingNotAllowed,
}

/// A bound that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitRefusal {
    /// The agent has as many calls in flight as it may.
    AgentBusy,
    /// The body is longer than the bound.
    BodyTooLarge,
    /// The body did not come in time.
    BodyTooSlow,
    /// The body is wrongly framed.
    BodyMalformed,
}

/// A legacy session that does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionRefusal {
    /// Unknown, ended, stale or somebody else's: all look the same.
    Unknown,
    /// The request needs one and names none.
    Missing,
    /// More cannot be opened now.
    TooMany,
    /// The header names another revision than `initialize` settled.
    OtherRevision,
    /// Another request under this id has not been answered yet.
    IdInUse,
}

/// A handed-out name that is not the sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnershipRefusal {
    /// No such task is this principal's.
    UnknownTask,
    /// No such `requestState` was handed to this principal for this call.
    UnknownRequestState,
    /// The upstream asked nothing under this id.
    UnaskedAnswer,
}

/// Why a record could not be written. Every call that depended on it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalFailure {
    /// The disk refused the bytes (full, read-only, broken). Calls are refused until a write succeeds again.
    Write,
    /// `fdatasync` failed: what the kernel held may be gone. This shard stays closed until a restart.
    Sync,
    /// More records wait than the bound allows.
    Backlog,
}

/// Why an upstream gave no usable reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamFailure {
    /// Its name does not resolve.
    NoAddress,
    /// It refused the connection or did not take it in time.
    Unreachable,
    /// TLS could not be agreed or its certificate is not trusted.
    Untrusted,
    /// It took the request and did not answer in time.
    TimedOut,
    /// It closed or reset the connection before its reply was whole.
    Broken,
    /// Its reply is no valid HTTP/1.1, or its encoding cannot be judged.
    Malformed,
    /// Its reply is longer than we hold.
    TooLarge,
    /// Its reply is no valid JSON-RPC answer to what was asked.
    NotAnAnswer,
    /// It answered with an HTTP error of its own.
    Refused(u16),
    /// It did not take the request, with this 4xx; the status passes, its words do not.
    Declined(u16),
    /// It put one of our own secrets into its reply.
    LeakedSecret,
    /// It asked the agent for something that policy does not let it ask.
    AskedTooMuch,
    /// Its result must be redacted or cut, and cannot be read for that.
    Unreadable,
    /// A rule over results holds its result back.
    Withheld(ResultCause),
    /// The agent left, which cancels a modern call: nobody is there to be told.
    Cancelled,
}

/// The agent's own authentication failed or is missing, or it may not call at present; bodies of 401 and 403 carry it (own code, outside the
/// reserved ranges).
pub const UNAUTHENTICATED: i64 = -33401;
/// No such route, host or method here.
pub const NO_ROUTE: i64 = -33404;
/// A bound was met.
pub const LIMITED: i64 = -33429;
/// The upstream gave no usable reply.
pub const UPSTREAM: i64 = -33502;
/// The audit log cannot be written, so nothing may happen.
pub const UNRECORDED: i64 = -33503;

/// What the agent is told.
#[derive(Debug, PartialEq, Eq)]
pub struct Outward {
    /// HTTP status.
    pub status: u16,
    /// JSON-RPC error code.
    pub code: i64,
    /// JSON-RPC error message.
    pub words: Cow<'static, str>,
}

fn outward(status: u16, code: i64, words: impl Into<Cow<'static, str>>) -> Outward {
    Outward { status, code, words: words.into() }
}

impl Refusal {
    /// What the agent is told.
    pub fn outward(&self) -> Outward {
        match self {
            Self::Route(refusal) => refusal.outward(),
            Self::Identity(error) => {
                let told = challenge(error);
                outward(told.status, UNAUTHENTICATED, told.description)
            }
            Self::Limit(refusal) => refusal.outward(),
            Self::Body(error) => outward(400, code::PARSE_ERROR, error.to_string()),
            Self::Message(error) => outward(400, error.code(), error.to_string()),
            Self::Era(error) => {
                outward(error.http_status(), error.code().unwrap_or(code::INVALID_REQUEST), error.to_string())
            }
            Self::Session(refusal) => refusal.outward(),
            Self::Ownership(refusal) => refusal.outward(),
            // A hidden tool is answered in other words, those for an unknown one; whoever spells the answer sees to that.
            Self::Policy(denial) => outward(200, code::DENIED, denial.words()),
            Self::Obligation(unmet) => match unmet.shortfall() {
                Shortfall::Rate(_) => outward(200, code::RATE_LIMITED, "rate exceeded"),
                Shortfall::Budget(_) => outward(200, code::RATE_LIMITED, "budget exceeded"),
                Shortfall::Amount => outward(200, code::DENIED, "denied by policy"),
                Shortfall::Full => outward(200, code::RATE_LIMITED, "no more calls can be counted now"),
            },
            Self::Journal(_) => outward(503, UNRECORDED, "the call cannot be recorded, so it was not made"),
            Self::Upstream(failure) => failure.outward(),
        }
    }

    /// The stable reason in records, logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Route(refusal) => refusal.reason(),
            Self::Identity(error) => error.name(),
            Self::Limit(refusal) => refusal.reason(),
            Self::Body(error) => error.name(),
            Self::Message(error) => error.name(),
            Self::Era(error) => error.name(),
            Self::Session(refusal) => refusal.reason(),
            Self::Ownership(refusal) => refusal.reason(),
            Self::Policy(denial) => denial.cause().name(),
            Self::Obligation(unmet) => unmet.denial().cause().name(),
            Self::Journal(failure) => failure.name(),
            Self::Upstream(failure) => failure.name(),
        }
    }

    /// The authentication challenge that goes with it, where there is one (RFC 6750 §3).
    pub fn challenge(&self) -> Option<Challenge> {
        match self {
            Self::Identity(error) => Some(challenge(error)),
            Self::Route(_)
            | Self::Limit(_)
            | Self::Body(_)
            | Self::Message(_)
            | Self::Era(_)
            | Self::Session(_)
            | Self::Ownership(_)
            | Self::Policy(_)
            | Self::Obligation(_)
            | Self::Journal(_)
            | Self::Upstream(_) => None,
        }
    }

    /// Policy's denial, if it was policy that refused.
    pub fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Policy(denial) => Some(denial),
            Self::Obligation(unmet) => Some(unmet.denial()),
            Self::Route(_)
            | Self::Identity(_)
            | Self::Limit(_)
            | Self::Body(_)
            | Self::Message(_)
            | Self::Era(_)
            | Self::Session(_)
            | Self::Ownership(_)
            | Self::Journal(_)
            | Self::Upstream(_) => None,
        }
    }
}

impl RouteRefusal {
    fn outward(self) -> Outward {
        match self {
            Self::HostNotAllowed => outward(403, NO_ROUTE, "host not allowed"),
            Self::OriginNotAllowed => outward(403, NO_ROUTE, "origin not allowed"),
            Self::UnknownPath => outward(404, NO_ROUTE, "no such route"),
            Self::MethodNotAllowed => outward(405, NO_ROUTE, "method not allowed"),
            Self::MediaTypeNotAllowed => {
                outward(415, code::INVALID_REQUEST, "the content type must be application/json")
            }
            Self::NotAcceptable => {
                outward(406, code::INVALID_REQUEST, "accept must list application/json and text/event-stream")
            }
            Self::EncodingNotAllowed => outward(415, code::INVALID_REQUEST, "content encodings are not taken"),
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::HostNotAllowed => "host_not_allowed",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::UnknownPath => "unknown_path",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::MediaTypeNotAllowed => "media_type_not_allowed",
            Self::NotAcceptable => "not_acceptable",
            Self::EncodingNotAllowed => "encoding_not_allowed",
        }
    }
}

impl LimitRefusal {
    fn outward(self) -> Outward {
        match self {
            Self::AgentBusy => outward(429, LIMITED, "too many calls at once"),
            Self::BodyTooLarge => outward(413, LIMITED, "the body is too large"),
            Self::BodyTooSlow => outward(408, LIMITED, "the body did not arrive in time"),
            Self::BodyMalformed => outward(400, code::INVALID_REQUEST, "the body is wrongly framed"),
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::AgentBusy => "agent_busy",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyMalformed => "body_malformed",
        }
    }
}

impl SessionRefusal {
    fn outward(self) -> Outward {
        match self {
            // -32001 is what SDKs send and read with 404, see `code`.
            Self::Unknown => outward(404, code::SESSION_NOT_FOUND, "Session not found"),
            Self::Missing => outward(400, code::INVALID_REQUEST, "Mcp-Session-Id is required"),
            Self::TooMany => outward(503, LIMITED, "no more sessions can be opened now"),
            Self::OtherRevision => {
                outward(400, code::INVALID_REQUEST, "MCP-Protocol-Version is not the one settled by initialize")
            }
            Self::IdInUse => outward(400, code::INVALID_REQUEST, "a request under this id has not been answered yet"),
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "session_unknown",
            Self::Missing => "session_missing",
            Self::TooMany => "sessions_full",
            Self::OtherRevision => "session_other_revision",
            Self::IdInUse => "request_id_in_use",
        }
    }
}

impl OwnershipRefusal {
    fn outward(self) -> Outward {
        match self {
            Self::UnknownTask => outward(200, code::INVALID_PARAMS, "Task not found"),
            Self::UnknownRequestState => {
                outward(200, code::INVALID_PARAMS, "requestState is not valid for this request")
            }
            Self::UnaskedAnswer => outward(400, code::INVALID_REQUEST, "nothing was asked under this id"),
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::UnknownTask => "task_unknown",
            Self::UnknownRequestState => "request_state_unknown",
            Self::UnaskedAnswer => "answer_unasked",
        }
    }
}

impl JournalFailure {
    /// Stable name for logs, metrics and refusals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Write => "audit_write_failed",
            Self::Sync => "audit_sync_failed",
            Self::Backlog => "audit_backlog",
        }
    }
}

impl UpstreamFailure {
    /// Stable name for records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoAddress => "upstream_no_address",
            Self::Unreachable => "upstream_unreachable",
            Self::Untrusted => "upstream_untrusted",
            Self::TimedOut => "upstream_timed_out",
            Self::Broken => "upstream_broken",
            Self::Malformed => "upstream_malformed",
            Self::TooLarge => "upstream_too_large",
            Self::NotAnAnswer => "upstream_not_an_answer",
            Self::Refused(_) => "upstream_refused",
            Self::Declined(_) => "upstream_declined",
            Self::LeakedSecret => "upstream_leaked_secret",
            Self::AskedTooMuch => "upstream_asked_too_much",
            Self::Unreadable => "result_unreadable",
            Self::Withheld(cause) => cause.name(),
            Self::Cancelled => "cancelled",
        }
    }

    fn outward(self) -> Outward {
        match self {
            Self::NoAddress | Self::Unreachable => outward(502, UPSTREAM, "the server cannot be reached"),
            Self::Untrusted => outward(502, UPSTREAM, "the server cannot be trusted"),
            Self::TimedOut => outward(504, UPSTREAM, "the server did not answer in time"),
            Self::Broken => outward(502, UPSTREAM, "the server broke off"),
            Self::Malformed | Self::NotAnAnswer => outward(502, UPSTREAM, "the server's answer is not valid"),
            Self::TooLarge => outward(502, UPSTREAM, "the server's answer is too large"),
            Self::Refused(_) => outward(502, UPSTREAM, "the server refused the gateway"),
            Self::Declined(status) => outward(status, UPSTREAM, "the server did not take the request"),
            Self::LeakedSecret => outward(502, UPSTREAM, "the server's answer was withheld"),
            Self::AskedTooMuch => outward(200, code::DENIED, "denied by policy"),
            Self::Unreadable => {
                outward(200, code::DENIED, "the result was withheld: policy has it redacted, and it cannot be read")
            }
            Self::Withheld(cause) => outward(200, code::DENIED, cause.words()),
            Self::Cancelled => outward(499, UPSTREAM, "cancelled"),
        }
    }
}
