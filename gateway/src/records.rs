//! Puts findings into records. In: the case, the principal, the snapshot, what was decided or came back. Out: records entered in this core's
//! journal. Never here: decisions; this file only spells them.

use crate::case::{Applied, Case};
use crate::counters::Count;
use crate::digest::Digest;
use crate::downstream::Downstream;
use crate::journal::{Decision, Pending, Refused, ResultSeen};
use crate::relay::Way;
use crate::worker::Core;
use portcullis_core::audit::capture::{Content, Part};
use portcullis_core::audit::record::{
    Answer, Begun, Caller, Decision as DecisionRecord, Drift, Judged, Obliged, Outcome, Record,
    Refusal as RefusalRecord, ServerRequest, Subject, Verdict,
};
use portcullis_core::config::settings::CaptureRule;
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::identity::principal::Principal;
use portcullis_core::policy::catalogue::ToolIndex;
use portcullis_core::policy::oblige::Obligations;
use portcullis_core::policy::pin::Pin;
use portcullis_core::policy::verdict::{Denial, Determining, Permit};
use portcullis_core::protocol::method::{Method, ServerMethod};
use portcullis_core::refusal::{Refusal, UpstreamFailure};
use smallvec::SmallVec;
use std::cell::OnceCell;

/// What a refusal or a result without content keeps.
const NOTHING: Part<'static> = Part { content: Content::Absent, rule: CaptureRule::None, redact: &[] };

/// The counter a permit belongs to.
pub fn count(permit: &Permit) -> Count {
    if permit.observed().is_some() { Count::ObservedDenied } else { Count::Allowed }
}

/// Enters a permit.
pub fn decision<'j>(
    (core, snapshot): (&'j Core, &Snapshot),
    agent: &Downstream,
    case: &Case,
    arguments: Content<'_>,
    permit: Permit,
) -> Pending<'j, Decision> {
    let rules = ids(snapshot, permit.determining());
    let (verdict, cause) = match permit.observed() {
        Some(cause) => (Verdict::ObservedDeny, Some(cause.name())),
        None => (Verdict::Allow, None),
    };
    let judged = judged(snapshot, verdict, cause, &rules);
    with_decision((snapshot, judged), agent, case, arguments, |record| core.journal.decision(permit, case.at, record))
}

/// Enters a refusal: policy's denials as decisions, failures after a decision as its result, everything else as what it is.
pub fn refusal<'j>(
    core: &'j Core,
    snapshot: &Snapshot,
    agent: &Downstream,
    case: &Case,
    refusal: &Refusal,
) -> Pending<'j, Refused> {
    let outward = refusal.outward();
    let server = server_name(snapshot, case);
    let agent_id = case.principal.as_ref().map(|principal| principal.agent());
    if let Some(decision_seq) = case.decision {
        let applied = case.applied.borrow();
        let rules = obliging(&applied.obligations);
        let objecting = objecting(&applied);
        let record = Record::Result(Answer {
            decision_seq,
            agent: agent_id.unwrap_or_default(),
            server: server.unwrap_or_default(),
            status: outward.status,
            outcome: failure(refusal),
            cause: Some(refusal.reason()),
            result: NOTHING,
            obliged: Obliged { rules: &rules, redactions: 0, rows_dropped: 0 },
            objected: objected(snapshot, &applied, Some(refusal.reason()), &objecting),
            duration_us: case.microseconds(),
        });
        return core.journal.refusal(core.now(), &record);
    }
    if let (Some(denial), Some(_)) = (refusal.denial(), &case.principal) {
        let rules = ids(snapshot, denial.determining());
        let judged = judged(snapshot, Verdict::Deny, Some(denial.cause().name()), &rules);
        let arguments = agent.body().get(case.arguments.clone()).filter(|raw| !raw.is_empty());
        let arguments = arguments.map_or(Content::Absent, Content::Whole);
        let enter = |record: &Record<'_>| core.journal.refusal(case.at, record);
        return with_decision((snapshot, judged), agent, case, arguments, enter);
    }
    let record = Record::Refusal(RefusalRecord {
        cause: refusal.reason(),
        status: outward.status,
        source: Some(agent.source),
        agent: agent_id,
        server,
        method: case.method,
    });
    core.journal.refusal(core.now(), &record)
}

/// Enters a head that was no request.
pub fn malformed<'j>(core: &'j Core, agent: &Downstream, cause: &str, status: u16) -> Pending<'j, Refused> {
    let record = RefusalRecord { cause, status, source: Some(agent.source), agent: None, server: None, method: None };
    core.journal.refusal(core.now(), &Record::Refusal(record))
}

/// Enters what came back, whole.
pub fn result<'j>(way: &Way<'j>, status: u16, outcome: Outcome, content: Content<'_>) -> Pending<'j, ResultSeen> {
    with_answer(way, status, outcome, content, |answer| {
        way.core.journal.result(way.core.now(), &Record::Result(answer))
    })
}

/// Enters that a stream is about to begin.
pub fn result_begun<'j>(way: &Way<'j>) -> Pending<'j, ResultSeen> {
    let begun = Begun {
        decision_seq: way.case.decision.unwrap_or(0),
        agent: agent_id(way.case),
        server: server_name(way.snapshot, way.case).unwrap_or_default(),
        status: 200,
    };
    way.core.journal.result(way.core.now(), &Record::ResultBegun(begun))
}

/// Enters that a stream is about to end.
pub fn result_ended<'j>(way: &Way<'j>, outcome: Outcome, bytes: u64, digest: &Digest) -> Pending<'j, ResultSeen> {
    let digest = digest.value();
    let content = Content::Passed { bytes, digest: &digest };
    with_answer(way, 200, outcome, content, |answer| {
        way.core.journal.result(way.core.now(), &Record::ResultEnded(answer))
    })
}

/// Enters what an upstream asked of the agent, and what policy said to it.
pub fn server_request(way: &Way<'_>, live: &Snapshot, method: ServerMethod, decided: &Result<Permit, Denial>) {
    let (verdict, cause, rules) = match decided {
        Ok(permit) => match permit.observed() {
            Some(cause) => (Verdict::ObservedDeny, Some(cause.name()), ids(live, permit.determining())),
            None => (Verdict::Allow, None, ids(live, permit.determining())),
        },
        Err(denial) => (Verdict::Deny, Some(denial.cause().name()), ids(live, denial.determining())),
    };
    let record = ServerRequest {
        agent: agent_id(way.case),
        server: server_name(way.snapshot, way.case).unwrap_or_default(),
        method: method.as_str(),
        decision_seq: way.case.decision,
        judged: judged(live, verdict, cause, &rules),
        request_id: None,
    };
    way.core.journal.note(way.core.now(), &Record::ServerRequest(record));
}

/// Enters that a tool is not what was approved.
pub fn drifted(way: &Way<'_>, tool: ToolIndex, name: &str, live: &[u8]) {
    let server = server_name(way.snapshot, way.case).unwrap_or_default();
    tracing::warn!(
        server,
        tool = name,
        "the tool's definition is not the approved one; it is hidden until approved with `portcullis tools approve`"
    );
    let pinned = way.snapshot.engine.pin(way.server, tool).map(|pin| pin.to_string()).unwrap_or_default();
    let seen = Pin::of_bytes(live).map(|pin| pin.to_string()).unwrap_or_default();
    way.core
        .journal
        .note(way.core.now(), &Record::ToolDrifted(Drift { server, tool: name, pinned: &pinned, seen: &seen }));
}

/// Appends one header line.
pub fn field(fields: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        fields.extend_from_slice(part.as_bytes());
    }
}

/// Spells the record of an answer and hands it to `enter`; the record borrows from what lives only here.
fn with_answer<T>(
    way: &Way<'_>,
    status: u16,
    outcome: Outcome,
    content: Content<'_>,
    enter: impl FnOnce(Answer<'_>) -> T,
) -> T {
    let route = way.snapshot.server(way.server);
    let capture = route.map(|route| route.capture(way.case.tool));
    let rule = capture.map_or(CaptureRule::Digest, |capture| capture.result);
    let applied = way.case.applied.borrow();
    let (rules, counts) = (obliging(&applied.obligations), applied.counts);
    let objecting = objecting(&applied);
    enter(Answer {
        decision_seq: way.case.decision.unwrap_or(0),
        agent: agent_id(way.case),
        server: server_name(way.snapshot, way.case).unwrap_or_default(),
        status,
        outcome,
        cause: applied.withheld,
        result: Part { content, rule, redact: capture.map(|capture| &*capture.redact).unwrap_or_default() },
        obliged: Obliged { rules: &rules, redactions: counts.redactions, rows_dropped: counts.rows_dropped },
        objected: objected(way.snapshot, &applied, applied.withheld, &objecting),
        duration_us: way.case.microseconds(),
    })
}

/// The ids of the rules that oblige.
fn obliging(obligations: &Obligations) -> SmallVec<[&str; 4]> {
    obligations.ids().collect()
}

/// The ids of the rules that object to a result.
fn objecting(applied: &Applied) -> SmallVec<[&str; 4]> {
    applied.objected.iter().flat_map(|withheld| &withheld.rules).map(|(_, id)| &**id).collect()
}

/// What rules over results objected, as the record says it; nothing where the answer was refused for another `cause`.
fn objected<'r>(
    snapshot: &'r Snapshot,
    applied: &Applied,
    cause: Option<&str>,
    rules: &'r [&'r str],
) -> Option<Judged<'r>> {
    let own = applied.objected.as_ref()?.cause.name();
    if cause.is_some_and(|cause| cause != own) {
        return None;
    }
    let verdict = if applied.obligations.withhold_results() { Verdict::Deny } else { Verdict::ObservedDeny };
    Some(judged(snapshot, verdict, Some(own), rules))
}

/// Spells the decision's record and hands it to `enter`; the record borrows from what lives only here.
fn with_decision<T>(
    (snapshot, judged): (&Snapshot, Judged<'_>),
    agent: &Downstream,
    case: &Case,
    arguments: Content<'_>,
    enter: impl FnOnce(&Record<'_>) -> T,
) -> T {
    let route = case.server.and_then(|server| snapshot.server(server));
    let capture = route.map(|route| route.capture(case.tool));
    let body = agent.body();
    let raw = |range: &std::ops::Range<usize>| body.get(range.clone()).filter(|raw| !raw.is_empty());
    let unescaped = OnceCell::new();
    let certificate = case.principal.as_ref().and_then(|principal| principal.certificate());
    let record = DecisionRecord {
        caller: caller(
            case.principal.as_deref(),
            certificate.as_ref().map(|thumbprint| thumbprint.as_bytes().as_slice()),
        ),
        source: Some(agent.source),
        server: route.map(|route| &*route.settings.name).unwrap_or_default(),
        session: case.session.as_ref().map(|session| &*session.id),
        revision: case.revision,
        method: case.method.unwrap_or("extension"),
        subject: subject(case, raw(&case.subject), &unescaped),
        arguments: Part {
            content: arguments,
            rule: capture.map_or(CaptureRule::Digest, |capture| capture.arguments),
            redact: capture.map(|capture| &*capture.redact).unwrap_or_default(),
        },
        judged,
        obligations: &obliging(&case.obliged),
        request_id: raw(&case.id),
    };
    enter(&Record::Decision(record))
}

fn subject<'r>(case: &Case, raw: Option<&'r [u8]>, unescaped: &'r OnceCell<String>) -> Subject<'r> {
    let Some(raw) = raw else { return Subject::None };
    let plain = raw.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).filter(|text| !text.contains(&b'\\'));
    let text = match plain.and_then(|text| std::str::from_utf8(text).ok()) {
        Some(text) => text,
        None => unescaped
            .get_or_init(|| serde_json::from_slice(raw).unwrap_or_else(|_| String::from_utf8_lossy(raw).into_owned())),
    };
    match case.method.and_then(Method::parse) {
        Some(Method::ToolsCall) => Subject::Tool(text),
        Some(Method::PromptsGet) => Subject::Prompt(text),
        Some(_) | None => Subject::Uri(text),
    }
}

fn caller<'r>(principal: Option<&'r Principal>, certificate: Option<&'r [u8]>) -> Caller<'r> {
    Caller {
        agent: principal.map(Principal::agent).unwrap_or_default(),
        user: principal.and_then(Principal::user),
        account: principal.and_then(Principal::account),
        issuer: principal.and_then(Principal::issuer),
        token_id: principal.and_then(Principal::token_id),
        certificate,
    }
}

fn judged<'r>(snapshot: &'r Snapshot, verdict: Verdict, cause: Option<&'r str>, rules: &'r [&'r str]) -> Judged<'r> {
    Judged { verdict, cause, rules, snapshot: snapshot.version, snapshot_hash: &snapshot.hash }
}

fn ids<'s>(snapshot: &'s Snapshot, determining: &Determining) -> SmallVec<[&'s str; 4]> {
    determining.rules().iter().filter_map(|rule| snapshot.engine.policy_id(*rule)).collect()
}

fn agent_id(case: &Case) -> &str {
    case.principal.as_ref().map(|principal| principal.agent()).unwrap_or_default()
}

fn server_name<'s>(snapshot: &'s Snapshot, case: &Case) -> Option<&'s str> {
    Some(&snapshot.server(case.server?)?.settings.name)
}

/// How a call ended whose reply was refused.
fn failure(refusal: &Refusal) -> Outcome {
    match refusal {
        Refusal::Upstream(UpstreamFailure::TimedOut) => Outcome::TimedOut,
        Refusal::Upstream(UpstreamFailure::Cancelled) => Outcome::Cancelled,
        Refusal::Upstream(
            UpstreamFailure::LeakedSecret
            | UpstreamFailure::AskedTooMuch
            | UpstreamFailure::Unreadable
            | UpstreamFailure::Withheld(_),
        ) => Outcome::Refused,
        Refusal::Upstream(
            UpstreamFailure::NoAddress
            | UpstreamFailure::Unreachable
            | UpstreamFailure::Untrusted
            | UpstreamFailure::Broken
            | UpstreamFailure::Malformed
            | UpstreamFailure::TooLarge
            | UpstreamFailure::NotAnAnswer
            | UpstreamFailure::Refused(_)
            | UpstreamFailure::Declined(_),
        )
        | Refusal::Session(_) => Outcome::UpstreamFailed,
        Refusal::Route(_)
        | Refusal::Identity(_)
        | Refusal::Limit(_)
        | Refusal::Body(_)
        | Refusal::Message(_)
        | Refusal::Era(_)
        | Refusal::Ownership(_)
        | Refusal::Policy(_)
        | Refusal::Obligation(_)
        | Refusal::Journal(_) => Outcome::Refused,
    }
}
