//! Writes records down. In: a record, its number, its time. Out: its fields, appended without allocation. Never here: secrets, session ids.

use super::capture::{self, Place};
use super::field::{Event, Field, Writer};
use super::record::{Answer, Decision, Judged, Record, ServerRequest, Subject};
use crate::limits::DETERMINING_MAX;
use crate::time::UnixMillis;

/// Appends `record` to `out`.
pub fn write(out: &mut Vec<u8>, seq: u64, at: UnixMillis, record: &Record<'_>) {
    let mut writer = Writer::open(out, event(record), seq, at);
    match record {
        Record::Decision(decision) => write_decision(&mut writer, decision),
        Record::Result(answer) | Record::ResultEnded(answer) => write_answer(&mut writer, answer),
        Record::ResultBegun(begun) => {
            writer.number(Field::DecisionSeq, begun.decision_seq);
            writer.text(Field::Agent, begun.agent);
            writer.text(Field::Server, begun.server);
            writer.number(Field::Status, u64::from(begun.status));
        }
        Record::Refusal(refusal) => {
            writer.text(Field::Cause, refusal.cause);
            writer.number(Field::Status, u64::from(refusal.status));
            if let Some(source) = refusal.source {
                writer.address(Field::Source, source);
            }
            writer.text_if(Field::Agent, refusal.agent);
            writer.text_if(Field::Server, refusal.server);
            writer.text_if(Field::Method, refusal.method);
        }
        Record::ServerRequest(request) => write_server_request(&mut writer, request),
        Record::PolicySwapped(_)
        | Record::AgentSuspended(_)
        | Record::AgentResumed(_)
        | Record::ToolDrifted(_)
        | Record::ToolApproved(_)
        | Record::AdminRead(_)
        | Record::GatewayStarted(_)
        | Record::GatewayStopped(_) => write_own(&mut writer, record),
        Record::OutcomeUnknown(_)
        | Record::AuditRead(_)
        | Record::AuditErased(_)
        | Record::AuditPruned(_)
        | Record::AuditLost(_)
        | Record::AuditHeld(_)
        | Record::AuditReleased(_) => write_about_log(&mut writer, record),
    }
    writer.close();
}

/// What the gateway and its operators do.
fn write_own(writer: &mut Writer<'_>, record: &Record<'_>) {
    if let Record::PolicySwapped(swap) = record {
        writer.number(Field::Snapshot, swap.snapshot);
        writer.text(Field::SnapshotHash, swap.snapshot_hash);
        writer.number(Field::Previous, swap.previous);
        writer.text(Field::Actor, swap.actor);
    }
    if let Record::AgentSuspended(change) | Record::AgentResumed(change) = record {
        writer.text(Field::Agent, change.agent);
        writer.text(Field::Actor, change.actor);
        writer.number(Field::Snapshot, change.snapshot);
    }
    if let Record::ToolDrifted(drift) = record {
        writer.text(Field::Server, drift.server);
        writer.text(Field::Tool, drift.tool);
        writer.text(Field::Pinned, drift.pinned);
        writer.text(Field::Seen, drift.seen);
    }
    if let Record::ToolApproved(approval) = record {
        writer.text(Field::Server, approval.server);
        writer.text(Field::Tool, approval.tool);
        writer.text(Field::Pinned, approval.pinned);
        writer.number(Field::Snapshot, approval.snapshot);
        writer.text(Field::Actor, approval.actor);
    }
    if let Record::AdminRead(look) = record {
        writer.text(Field::Actor, look.actor);
        writer.text(Field::What, look.what);
    }
    if let Record::GatewayStarted(start) = record {
        writer.text(Field::Version, start.version);
        writer.number(Field::Snapshot, start.snapshot);
        writer.text(Field::SnapshotHash, start.snapshot_hash);
        writer.text(Field::Durability, start.durability);
        writer.list(Field::Mode, first(start.modes));
        writer.number(Field::TornBytes, start.torn_bytes);
    }
    if let Record::GatewayStopped(stop) = record {
        writer.text(Field::Reason, stop.reason);
    }
}

/// What is done with the log itself.
fn write_about_log(writer: &mut Writer<'_>, record: &Record<'_>) {
    if let Record::OutcomeUnknown(unknown) = record {
        writer.text(Field::DecisionBoot, unknown.boot);
        writer.number(Field::DecisionShard, u64::from(unknown.shard));
        writer.number(Field::DecisionSeq, unknown.seq);
    }
    if let Record::AuditRead(read) = record {
        writer.text(Field::Actor, read.actor);
        writer.text(Field::What, read.what);
        writer.number(Field::Counted, read.count);
    }
    if let Record::AuditErased(erased) = record {
        writer.text(Field::Actor, erased.actor);
        writer.list(Field::Entries, first(erased.entries));
        writer.list(Field::ErasedFields, first(erased.fields));
        writer.text(Field::Reason, erased.reason);
    }
    if let Record::AuditPruned(pruned) = record {
        writer.text(Field::Actor, pruned.actor);
        writer.number(Field::FirstIndex, pruned.first_index);
    }
    if let Record::AuditLost(lost) = record {
        writer.number(Field::Counted, lost.count);
        writer.number(Field::Since, u64::try_from(lost.since.0).unwrap_or_default());
    }
    if let Record::AuditHeld(held) | Record::AuditReleased(held) = record {
        writer.text(Field::Actor, held.actor);
        writer.text(Field::What, held.what);
        writer.list(Field::Entries, first(held.entries));
        writer.text_if(Field::Agent, held.agent);
        writer.text_if(Field::Account, held.account);
        writer.text(Field::Reason, held.reason);
    }
}

/// As many as a record names.
fn first<'r>(texts: &'r [&'r str]) -> &'r [&'r str] {
    texts.get(..texts.len().min(DETERMINING_MAX)).unwrap_or_default()
}

/// What it is about.
pub fn event(record: &Record<'_>) -> Event {
    match record {
        Record::Decision(_) => Event::Decision,
        Record::Result(_) => Event::Result,
        Record::ResultBegun(_) => Event::ResultBegun,
        Record::ResultEnded(_) => Event::ResultEnded,
        Record::Refusal(_) => Event::Refusal,
        Record::ServerRequest(_) => Event::ServerRequest,
        Record::PolicySwapped(_) => Event::PolicySwapped,
        Record::AgentSuspended(_) => Event::AgentSuspended,
        Record::AgentResumed(_) => Event::AgentResumed,
        Record::ToolDrifted(_) => Event::ToolDrifted,
        Record::GatewayStarted(_) => Event::GatewayStarted,
        Record::GatewayStopped(_) => Event::GatewayStopped,
        Record::OutcomeUnknown(_) => Event::OutcomeUnknown,
        Record::AuditRead(_) => Event::AuditRead,
        Record::AuditErased(_) => Event::AuditErased,
        Record::AuditPruned(_) => Event::AuditPruned,
        Record::ToolApproved(_) => Event::ToolApproved,
        Record::AdminRead(_) => Event::AdminRead,
        Record::AuditLost(_) => Event::AuditLost,
        Record::AuditHeld(_) => Event::AuditHeld,
        Record::AuditReleased(_) => Event::AuditReleased,
    }
}

fn write_decision(record: &mut Writer<'_>, decision: &Decision<'_>) {
    let caller = &decision.caller;
    record.text(Field::Agent, caller.agent);
    record.text_if(Field::User, caller.user);
    record.text_if(Field::Account, caller.account);
    record.text_if(Field::Issuer, caller.issuer);
    record.text_if(Field::TokenId, caller.token_id);
    if let Some(certificate) = caller.certificate {
        record.bytes(Field::Certificate, certificate);
    }
    if let Some(source) = decision.source {
        record.address(Field::Source, source);
    }
    record.text(Field::Server, decision.server);
    if let Some(session) = decision.session {
        record.bytes(Field::Session, &session_digest(session));
    }
    if let Some(revision) = decision.revision {
        record.text(Field::Revision, revision.as_str());
    }
    record.text(Field::Method, decision.method);
    match decision.subject {
        Subject::None => {}
        Subject::Tool(name) => record.text(Field::Tool, name),
        Subject::Uri(uri) => record.text(Field::Uri, uri),
        Subject::Prompt(name) => record.text(Field::Prompt, name),
    }
    if let Some(id) = decision.request_id {
        capture::write_id(record, id);
    }
    write_judged(record, &decision.judged);
    write_obligations(record, decision.obligations);
    capture::write(record, Place::Arguments, &decision.arguments);
}

fn write_answer(record: &mut Writer<'_>, answer: &Answer<'_>) {
    record.number(Field::DecisionSeq, answer.decision_seq);
    record.text(Field::Agent, answer.agent);
    record.text(Field::Server, answer.server);
    record.number(Field::Status, u64::from(answer.status));
    record.text(Field::Outcome, answer.outcome.as_str());
    match &answer.objected {
        Some(judged) => write_judged(record, judged),
        None => record.text_if(Field::Cause, answer.cause),
    }
    record.number(Field::DurationUs, answer.duration_us);
    if !answer.obliged.rules.is_empty() {
        write_obligations(record, answer.obliged.rules);
        record.number(Field::Redactions, answer.obliged.redactions);
        record.number(Field::RowsDropped, answer.obliged.rows_dropped);
    }
    capture::write(record, Place::Result, &answer.result);
}

fn write_server_request(record: &mut Writer<'_>, request: &ServerRequest<'_>) {
    record.text(Field::Agent, request.agent);
    record.text(Field::Server, request.server);
    record.text(Field::Method, request.method);
    if let Some(seq) = request.decision_seq {
        record.number(Field::DecisionSeq, seq);
    }
    if let Some(id) = request.request_id {
        capture::write_id(record, id);
    }
    write_judged(record, &request.judged);
}

fn write_obligations(record: &mut Writer<'_>, rules: &[&str]) {
    if !rules.is_empty() {
        record.list(Field::Obligations, first(rules));
    }
}

fn write_judged(record: &mut Writer<'_>, judged: &Judged<'_>) {
    record.text(Field::Decision, judged.verdict.as_str());
    record.text_if(Field::Cause, judged.cause);
    record.list(Field::Rules, first(judged.rules));
    record.number(Field::Snapshot, judged.snapshot);
    record.text(Field::SnapshotHash, judged.snapshot_hash);
}

/// What a session is called in records: the first half of the BLAKE3 digest of its id.
pub fn session_digest(id: &str) -> [u8; 16] {
    let mut short = [0; 16];
    short.iter_mut().zip(blake3::hash(id.as_bytes()).as_bytes()).for_each(|(to, from)| *to = *from);
    short
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
