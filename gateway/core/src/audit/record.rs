//! Says what is recorded. In: facts, borrowed. Out: one open line each, appended without allocation. Never here: sequence of lines, secrets, session ids.
//!
//! A record is named (boot, shard, seq). `decision` is written before an upstream hears of a call; `result` (or `result.begun` and
//! `result.ended`) before the agent hears of its answer, and names the decision's seq on the same shard.

use std::net::IpAddr;

use super::capture::{self, Part, Place};
use super::line::{Field, Line};
use crate::limits::DETERMINING_MAX;
use crate::protocol::revision::Revision;
use crate::time::UnixMillis;

/// What names a record, and when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'r> {
    /// This start of the gateway: random, in hexadecimal.
    pub boot: &'r str,
    /// The worker's shard of the log.
    pub shard: u16,
    /// Position in the shard, without gaps, over all boots.
    pub seq: u64,
    /// When.
    pub at: UnixMillis,
}

/// Everything that is ever recorded.
#[derive(Clone, Copy, Debug)]
pub enum Record<'r> {
    /// `decision`: an agent's request was judged.
    Decision(Decision<'r>),
    /// `result`: the answer, recorded before any of it was released.
    Result(Answer<'r>),
    /// `result.begun`: an answer that does not fit the buffer is about to be released.
    ResultBegun(Begun<'r>),
    /// `result.ended`: all of it but its last chunk or event was released.
    ResultEnded(Answer<'r>),
    /// `refusal`: a request that never became one of an agent.
    Refusal(Refusal<'r>),
    /// `server.request`: an upstream asked something of an agent, and it was judged.
    ServerRequest(ServerRequest<'r>),
    /// `policy.swapped`: another snapshot serves.
    PolicySwapped(Swap<'r>),
    /// `agent.suspended`.
    AgentSuspended(AgentChange<'r>),
    /// `agent.resumed`.
    AgentResumed(AgentChange<'r>),
    /// `tool.drifted`: an upstream describes a tool otherwise than was reviewed; it is hidden.
    ToolDrifted(Drift<'r>),
    /// `gateway.started`.
    GatewayStarted(Start<'r>),
    /// `gateway.stopped`.
    GatewayStopped(Stop<'r>),
}

/// Who called: what `identity` proved.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'r> {
    /// The agent of the registry.
    pub agent: &'r str,
    /// The user it acts for.
    pub user: Option<&'r str>,
    /// The account it acts on.
    pub account: Option<&'r str>,
    /// `iss` of its token.
    pub issuer: Option<&'r str>,
    /// `jti` of its token.
    pub token_id: Option<&'r str>,
    /// SHA-256 of its certificate.
    pub certificate: Option<&'r [u8]>,
}

/// What the method is about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'r> {
    /// Nothing but itself.
    None,
    /// A tool.
    Tool(&'r str),
    /// A resource.
    Uri(&'r str),
    /// A prompt.
    Prompt(&'r str),
}

/// The judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Allow,
    /// It is refused.
    Deny,
    /// It would be refused, but the route only observes.
    ObservedDeny,
}

impl Verdict {
    /// As it stands in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::ObservedDeny => "observed_deny",
        }
    }
}

/// A judgement and what it rests on.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'r> {
    /// Allow or deny.
    pub verdict: Verdict,
    /// Why it was denied, one of our own words.
    pub cause: Option<&'r str>,
    /// The ids of the rules that determined it, at most `DETERMINING_MAX`.
    pub rules: &'r [&'r str],
    /// Version of the snapshot.
    pub snapshot: u64,
    /// Hash of its content, in hexadecimal.
    pub snapshot_hash: &'r str,
}

/// An agent's request was judged.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'r> {
    /// Who.
    pub caller: Caller<'r>,
    /// From where.
    pub source: Option<IpAddr>,
    /// To which server.
    pub server: &'r str,
    /// In which session; only a digest of the id is written, for the id is a means of access.
    pub session: Option<&'r str>,
    /// In which revision.
    pub revision: Option<Revision>,
    /// What.
    pub method: &'r str,
    /// About what.
    pub subject: Subject<'r>,
    /// With which arguments.
    pub arguments: Part<'r>,
    /// And may it.
    pub judged: Judged<'r>,
    /// The ids of the rules whose obligations come with it, at most `DETERMINING_MAX`.
    pub obligations: &'r [&'r str],
    /// The JSON-RPC id as it stood in the body, quotes included.
    pub request_id: Option<&'r [u8]>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream answered with a result.
    Complete,
    /// The upstream answered with a JSON-RPC error, or a result that says it is one.
    Error,
    /// A filter refused the upstream's answer.
    Refused,
    /// The upstream could not be reached or broke off.
    UpstreamFailed,
    /// No answer in time.
    TimedOut,
    /// The agent went away or took it back.
    Cancelled,
    /// A swap took the permission away while it ran.
    Revoked,
    /// The upstream took it, and there is nothing to answer (a notification).
    Accepted,
    /// A long result passed of which only the beginning was read (`inspect`), so whether it says that it failed is unknown.
    Passed,
}

impl Outcome {
    /// As it stands in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Error => "error",
            Self::Refused => "refused",
            Self::UpstreamFailed => "upstream_failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Revoked => "revoked",
            Self::Accepted => "accepted",
            Self::Passed => "passed",
        }
    }
}

/// The answer to a call.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'r> {
    /// The decision it belongs to, on the same shard.
    pub decision_seq: u64,
    /// Who asked.
    pub agent: &'r str,
    /// Which server answered.
    pub server: &'r str,
    /// HTTP status toward the agent.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where it did not end well; one of our own words.
    pub cause: Option<&'r str>,
    /// The result, or the error in its stead, as it was released.
    pub result: Part<'r>,
    /// What was taken out of it before.
    pub obliged: Obliged<'r>,
    /// What rules over results objected to it, where they did.
    pub objected: Option<Judged<'r>>,
    /// From the end of the request's head to this record.
    pub duration_us: u64,
}

/// What obligations did to what was released; nothing of what was taken out is in the record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Obliged<'r> {
    /// The ids of the rules that obliged, at most `DETERMINING_MAX`.
    pub rules: &'r [&'r str],
    /// Values that were redacted, each place counted: what stands in the structured content and again in its text counts twice.
    pub redactions: u64,
    /// Rows that were cut off, counted in the same way.
    pub rows_dropped: u64,
}

/// A long answer begins to be released.
#[derive(Clone, Copy, Debug)]
pub struct Begun<'r> {
    /// The decision it belongs to, on the same shard.
    pub decision_seq: u64,
    /// Who asked.
    pub agent: &'r str,
    /// Which server answers.
    pub server: &'r str,
    /// HTTP status toward the agent.
    pub status: u16,
}

/// A request that never became one of an agent: broken framing, nobody's token, an unknown route.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'r> {
    /// Why, one of our own words.
    pub cause: &'r str,
    /// HTTP status.
    pub status: u16,
    /// From where.
    pub source: Option<IpAddr>,
    /// The agent, where one was proven and refused all the same.
    pub agent: Option<&'r str>,
    /// The server, where the route was known.
    pub server: Option<&'r str>,
    /// The method, where the body was read.
    pub method: Option<&'r str>,
}

/// An upstream asked something of an agent.
#[derive(Clone, Copy, Debug)]
pub struct ServerRequest<'r> {
    /// Who would be asked.
    pub agent: &'r str,
    /// Who asks.
    pub server: &'r str,
    /// What, such as `sampling/createMessage`.
    pub method: &'r str,
    /// During which call, where it came on that call's stream.
    pub decision_seq: Option<u64>,
    /// May it.
    pub judged: Judged<'r>,
    /// The JSON-RPC id as the upstream wrote it.
    pub request_id: Option<&'r [u8]>,
}

/// Another snapshot serves.
#[derive(Clone, Copy, Debug)]
pub struct Swap<'r> {
    /// The new version.
    pub snapshot: u64,
    /// Hash of its content, in hexadecimal.
    pub snapshot_hash: &'r str,
    /// The version before.
    pub previous: u64,
    /// Who did it.
    pub actor: &'r str,
}

/// An agent may no longer call, or may again.
#[derive(Clone, Copy, Debug)]
pub struct AgentChange<'r> {
    /// Which.
    pub agent: &'r str,
    /// Who did it.
    pub actor: &'r str,
    /// The version that says so.
    pub snapshot: u64,
}

/// A tool is not what was reviewed.
#[derive(Clone, Copy, Debug)]
pub struct Drift<'r> {
    /// Whose.
    pub server: &'r str,
    /// Which.
    pub tool: &'r str,
    /// The reviewed pin, in hexadecimal.
    pub pinned: &'r str,
    /// That of what the upstream says now.
    pub seen: &'r str,
}

/// The gateway began to serve.
#[derive(Clone, Copy, Debug)]
pub struct Start<'r> {
    /// Of the program.
    pub version: &'r str,
    /// Of the snapshot.
    pub snapshot: u64,
    /// Hash of its content, in hexadecimal.
    pub snapshot_hash: &'r str,
    /// When a record counts as written.
    pub durability: &'r str,
    /// What is less than it could be, such as `observe: crm`; shown because nothing falls back in silence.
    pub modes: &'r [&'r str],
    /// Bytes of a half-written line that a crash left at the end of the shard, cut off now.
    pub torn_bytes: u64,
}

/// The gateway stopped serving.
#[derive(Clone, Copy, Debug)]
pub struct Stop<'r> {
    /// Why, one of our own words.
    pub reason: &'r str,
}

/// Appends `record` to `out` as an open object; `chain` seals it.
pub fn write(out: &mut Vec<u8>, stamp: &Stamp<'_>, record: &Record<'_>) {
    let mut line = Line::open(out, event(record));
    line.text(Field::Boot, stamp.boot);
    line.number(Field::Shard, u64::from(stamp.shard));
    line.number(Field::Seq, stamp.seq);
    line.signed(Field::Ts, stamp.at.0);
    match record {
        Record::Decision(decision) => write_decision(&mut line, decision),
        Record::Result(answer) | Record::ResultEnded(answer) => write_answer(&mut line, answer),
        Record::ResultBegun(begun) => {
            line.number(Field::DecisionSeq, begun.decision_seq);
            line.text(Field::Agent, begun.agent);
            line.text(Field::Server, begun.server);
            line.number(Field::Status, u64::from(begun.status));
        }
        Record::Refusal(refusal) => {
            line.text(Field::Cause, refusal.cause);
            line.number(Field::Status, u64::from(refusal.status));
            if let Some(source) = refusal.source {
                line.address(Field::Source, source);
            }
            line.text_if(Field::Agent, refusal.agent);
            line.text_if(Field::Server, refusal.server);
            line.text_if(Field::Method, refusal.method);
        }
        Record::ServerRequest(request) => write_server_request(&mut line, request),
        Record::PolicySwapped(swap) => {
            line.number(Field::Snapshot, swap.snapshot);
            line.text(Field::SnapshotHash, swap.snapshot_hash);
            line.number(Field::Previous, swap.previous);
            line.text(Field::Actor, swap.actor);
        }
        Record::AgentSuspended(change) | Record::AgentResumed(change) => {
            line.text(Field::Agent, change.agent);
            line.text(Field::Actor, change.actor);
            line.number(Field::Snapshot, change.snapshot);
        }
        Record::ToolDrifted(drift) => {
            line.text(Field::Server, drift.server);
            line.text(Field::Tool, drift.tool);
            line.text(Field::Pinned, drift.pinned);
            line.text(Field::Seen, drift.seen);
        }
        Record::GatewayStarted(start) => {
            line.text(Field::Version, start.version);
            line.number(Field::Snapshot, start.snapshot);
            line.text(Field::SnapshotHash, start.snapshot_hash);
            line.text(Field::Durability, start.durability);
            line.list(Field::Mode, start.modes.get(..start.modes.len().min(DETERMINING_MAX)).unwrap_or_default());
            line.number(Field::TornBytes, start.torn_bytes);
        }
        Record::GatewayStopped(stop) => line.text(Field::Reason, stop.reason),
    }
}

/// The event's name.
pub fn event(record: &Record<'_>) -> &'static str {
    match record {
        Record::Decision(_) => "decision",
        Record::Result(_) => "result",
        Record::ResultBegun(_) => "result.begun",
        Record::ResultEnded(_) => "result.ended",
        Record::Refusal(_) => "refusal",
        Record::ServerRequest(_) => "server.request",
        Record::PolicySwapped(_) => "policy.swapped",
        Record::AgentSuspended(_) => "agent.suspended",
        Record::AgentResumed(_) => "agent.resumed",
        Record::ToolDrifted(_) => "tool.drifted",
        Record::GatewayStarted(_) => "gateway.started",
        Record::GatewayStopped(_) => "gateway.stopped",
    }
}

fn write_decision(line: &mut Line<'_>, decision: &Decision<'_>) {
    let caller = &decision.caller;
    line.text(Field::Agent, caller.agent);
    line.text_if(Field::User, caller.user);
    line.text_if(Field::Account, caller.account);
    line.text_if(Field::Issuer, caller.issuer);
    line.text_if(Field::TokenId, caller.token_id);
    if let Some(certificate) = caller.certificate {
        line.hex(Field::Certificate, certificate);
    }
    if let Some(source) = decision.source {
        line.address(Field::Source, source);
    }
    line.text(Field::Server, decision.server);
    if let Some(session) = decision.session {
        line.hex(Field::Session, &session_digest(session));
    }
    if let Some(revision) = decision.revision {
        line.text(Field::Revision, revision.as_str());
    }
    line.text(Field::Method, decision.method);
    match decision.subject {
        Subject::None => {}
        Subject::Tool(name) => line.text(Field::Tool, name),
        Subject::Uri(uri) => line.text(Field::Uri, uri),
        Subject::Prompt(name) => line.text(Field::Prompt, name),
    }
    if let Some(id) = decision.request_id {
        capture::write_value(line, Field::RequestId, id);
    }
    write_judged(line, &decision.judged);
    write_obligations(line, decision.obligations);
    // Last, because the room that is left bounds it.
    capture::write(line, Place::Arguments, &decision.arguments);
}

fn write_answer(line: &mut Line<'_>, answer: &Answer<'_>) {
    line.number(Field::DecisionSeq, answer.decision_seq);
    line.text(Field::Agent, answer.agent);
    line.text(Field::Server, answer.server);
    line.number(Field::Status, u64::from(answer.status));
    line.word(Field::Outcome, answer.outcome.as_str());
    match &answer.objected {
        Some(judged) => write_judged(line, judged),
        None => line.text_if(Field::Cause, answer.cause),
    }
    line.number(Field::DurationUs, answer.duration_us);
    if !answer.obliged.rules.is_empty() {
        write_obligations(line, answer.obliged.rules);
        line.number(Field::Redactions, answer.obliged.redactions);
        line.number(Field::RowsDropped, answer.obliged.rows_dropped);
    }
    capture::write(line, Place::Result, &answer.result);
}

fn write_server_request(line: &mut Line<'_>, request: &ServerRequest<'_>) {
    line.text(Field::Agent, request.agent);
    line.text(Field::Server, request.server);
    line.text(Field::Method, request.method);
    if let Some(seq) = request.decision_seq {
        line.number(Field::DecisionSeq, seq);
    }
    if let Some(id) = request.request_id {
        capture::write_value(line, Field::RequestId, id);
    }
    write_judged(line, &request.judged);
}

fn write_obligations(line: &mut Line<'_>, rules: &[&str]) {
    if !rules.is_empty() {
        line.list(Field::Obligations, rules.get(..rules.len().min(DETERMINING_MAX)).unwrap_or_default());
    }
}

fn write_judged(line: &mut Line<'_>, judged: &Judged<'_>) {
    line.word(Field::Decision, judged.verdict.as_str());
    line.text_if(Field::Cause, judged.cause);
    line.list(Field::Rules, judged.rules.get(..judged.rules.len().min(DETERMINING_MAX)).unwrap_or_default());
    line.number(Field::Snapshot, judged.snapshot);
    line.text(Field::SnapshotHash, judged.snapshot_hash);
}

/// What a session is called in records: the first half of the BLAKE3 digest of its id.
pub fn session_digest(id: &str) -> [u8; 16] {
    let mut short = [0; 16];
    short.iter_mut().zip(blake3::hash(id.as_bytes()).as_bytes()).for_each(|(to, from)| *to = *from);
    short
}

#[cfg(test)]
pub(super) mod samples;
#[cfg(test)]
mod tests;
