//! Says what is recorded. In: facts, borrowed. Out: one value each. Never here: how it is written.
//!
//! A record is named (boot, shard, seq): the start of the gateway, the core's shard of the log, its number there, without gaps over all boots. `decision` is written before an upstream hears of a call; `result` (or `result.begun` and
//! `result.ended`) before the agent hears of its answer, and names the decision's seq on the same shard.

use std::net::IpAddr;

use super::capture::Part;
use crate::protocol::revision::Revision;
use crate::time::UnixMillis;

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
    /// `outcome.unknown`: a call that was let pass was not seen to end before the gateway did.
    OutcomeUnknown(Unknown<'r>),
    /// `audit.read`: somebody asked the log something.
    AuditRead(Read<'r>),
    /// `audit.erased`: values were destroyed.
    AuditErased(Erased<'r>),
    /// `audit.pruned`: entries below an index are no longer kept.
    AuditPruned(Pruned<'r>),
    /// `tool.approved`: a tool is offered as it is described now, which it was not before.
    ToolApproved(Approval<'r>),
    /// `admin.read`: an operator looked at rules, agents or their history.
    AdminRead(Look<'r>),
    /// `audit.lost`: in `best-effort`, records could not be written and what they tell of went on.
    AuditLost(Lost),
    /// `audit.held`: calls are kept from being erased or pruned.
    AuditHeld(Held<'r>),
    /// `audit.released`: they no longer are.
    AuditReleased(Held<'r>),
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

/// A description of a tool came in force.
#[derive(Clone, Copy, Debug)]
pub struct Approval<'r> {
    /// Whose.
    pub server: &'r str,
    /// Which.
    pub tool: &'r str,
    /// The pin of what was approved, in hexadecimal.
    pub pinned: &'r str,
    /// The version that offers it.
    pub snapshot: u64,
    /// Who put it in force.
    pub actor: &'r str,
}

/// An operator looked at something.
#[derive(Clone, Copy, Debug)]
pub struct Look<'r> {
    /// Who.
    pub actor: &'r str,
    /// At what, such as `agents`.
    pub what: &'r str,
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

/// A call whose end was not seen.
#[derive(Clone, Copy, Debug)]
pub struct Unknown<'r> {
    /// The start of the gateway that decided it.
    pub boot: &'r str,
    /// The shard of the decision.
    pub shard: u16,
    /// Its number there.
    pub seq: u64,
}

/// Somebody asked the log something.
#[derive(Clone, Copy, Debug)]
pub struct Read<'r> {
    /// Who.
    pub actor: &'r str,
    /// What was asked.
    pub what: &'r str,
    /// How many entries the answer told of.
    pub count: u64,
}

/// Values were destroyed.
#[derive(Clone, Copy, Debug)]
pub struct Erased<'r> {
    /// Who did it.
    pub actor: &'r str,
    /// Of which records, by their names.
    pub entries: &'r [&'r str],
    /// Which fields, as pointers into arguments or result; all where there is none.
    pub fields: &'r [&'r str],
    /// Why.
    pub reason: &'r str,
}

/// Entries are no longer kept.
#[derive(Clone, Copy, Debug)]
pub struct Pruned<'r> {
    /// Who did it.
    pub actor: &'r str,
    /// The first entry that still is.
    pub first_index: u64,
}

/// Records are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// How many of this shard.
    pub count: u64,
    /// When the first of them should have been written.
    pub since: UnixMillis,
}

/// Calls must stay, or no longer must.
#[derive(Clone, Copy, Debug)]
pub struct Held<'r> {
    /// Who says so.
    pub actor: &'r str,
    /// What the hold is called, and its span of time where it has one.
    pub what: &'r str,
    /// Which calls, by their names; all that have the rest in common where there is none.
    pub entries: &'r [&'r str],
    /// Of which agent.
    pub agent: Option<&'r str>,
    /// On which account.
    pub account: Option<&'r str>,
    /// Why.
    pub reason: &'r str,
}

#[cfg(test)]
pub(super) mod samples;
