//! The one door by which a request leaves unserved. In: a refusal and what is known of the case. Out: its record, then its answer. Never
//! here: a reason the agent could learn from.

use crate::case::Case;
use crate::counters::Count;
use crate::downstream::{Answer, Downstream};
use crate::http1::error::FramingError;
use crate::records;
use crate::worker::Core;
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::policy::verdict::Visibility;
use portcullis_core::protocol::code;
use portcullis_core::protocol::era::EraError;
use portcullis_core::protocol::method::Method;
use portcullis_core::protocol::reply::{self, ErrorReply};
use portcullis_core::refusal::{Outward, Refusal, RouteRefusal, UpstreamFailure};

/// Records the refusal and answers with it. If it cannot even be recorded, the answer says so and nothing else.
pub async fn answer(core: &Core, snapshot: &Snapshot, agent: &mut Downstream, case: &Case, refusal: &Refusal) {
    core.counters.add(count(refusal));
    let recorded = records::refusal(core, snapshot, agent, case, refusal).recorded().await;
    let failed = recorded.as_ref().err().map(|failure| Refusal::Journal(*failure));
    let mut outward = failed.as_ref().unwrap_or(refusal).outward();
    if case.decision.is_some() && matches!(failed.as_ref().unwrap_or(refusal), Refusal::Journal(_)) {
        outward.words = "the call was made, but its outcome cannot be recorded and so is withheld".into();
    }
    if agent.is_answered() {
        // Something of an answer has gone out already: all that is left is to make plain that it is not whole.
        agent.break_off();
        return;
    }
    // A page that may not call may not read why either: its origin is not repeated to its browser.
    let stranger = matches!(refusal, Refusal::Route(RouteRefusal::HostNotAllowed | RouteRefusal::OriginNotAllowed));
    let mut fields = if stranger { Vec::new() } else { agent.cors() };
    challenge(&mut fields, snapshot, case, refusal);
    if let Refusal::Route(RouteRefusal::MethodNotAllowed) = refusal {
        records::field(&mut fields, "Allow", "POST, GET, DELETE, OPTIONS");
    }
    if let Refusal::Era(EraError::MethodNotAllowed) = refusal {
        records::field(&mut fields, "Allow", "POST, OPTIONS");
    }
    let mut body = core.buffers.take(512);
    write_body(&mut body, snapshot, agent, case, refusal, &outward);
    let answer =
        Answer { status: outward.status, content_type: Some("application/json"), fields: &fields, body: &body };
    agent.refuse(core, recorded, &answer, &snapshot.settings.timeouts).await;
    core.buffers.give(body);
}

/// A head that is no request: nothing of it can be trusted, so the connection ends with the answer.
pub async fn malformed(core: &Core, agent: &mut Downstream, error: FramingError) {
    core.counters.add(Count::Malformed);
    let snapshot = core.snapshot();
    let recorded = records::malformed(core, agent, error.name(), error.status()).recorded().await;
    agent.close_after();
    let mut body = core.buffers.take(256);
    reply::write_error(None, &ErrorReply::new(code::INVALID_REQUEST, "the request is malformed"), &mut body);
    let answer = Answer { status: error.status(), content_type: Some("application/json"), fields: b"", body: &body };
    agent.refuse(core, recorded, &answer, &snapshot.settings.timeouts).await;
    core.buffers.give(body);
}

/// `WWW-Authenticate` of a 401 or 403 (RFC 6750 §3, RFC 9728 §5.1).
fn challenge(fields: &mut Vec<u8>, snapshot: &Snapshot, case: &Case, refusal: &Refusal) {
    let (Some(challenge), Some(route)) = (refusal.challenge(), case.server.and_then(|server| snapshot.server(server)))
    else {
        return;
    };
    fields.extend_from_slice(b"WWW-Authenticate: Bearer resource_metadata=\"");
    fields.extend_from_slice(route.metadata_url.as_bytes());
    fields.push(b'"');
    if !route.settings.scopes.is_empty() {
        fields.extend_from_slice(b", scope=\"");
        for (index, scope) in route.settings.scopes.iter().enumerate() {
            if index > 0 {
                fields.push(b' ');
            }
            fields.extend_from_slice(scope.as_bytes());
        }
        fields.push(b'"');
    }
    if let Some(error) = challenge.error {
        for part in [", error=\"", error.as_str(), "\", error_description=\"", challenge.description, "\""] {
            fields.extend_from_slice(part.as_bytes());
        }
    }
    fields.extend_from_slice(b"\r\n");
}

/// The JSON-RPC error. A tool that policy hides is named exactly as an unknown one is: by the agent's own word for it.
fn write_body(
    body: &mut Vec<u8>,
    snapshot: &Snapshot,
    agent: &Downstream,
    case: &Case,
    refusal: &Refusal,
    outward: &Outward,
) {
    let id = case.raw_id(agent);
    let hidden = refusal.denial().is_some_and(|denial| denial.visibility() == Visibility::Hidden);
    if hidden && case.method == Some(Method::ToolsCall.as_str()) {
        let subject = agent.body().get(case.subject.clone()).unwrap_or_default();
        let name: String = serde_json::from_slice(subject).unwrap_or_default();
        reply::write_unknown_tool(id, &name, body);
        return;
    }
    let data = match refusal {
        Refusal::Era(error) => {
            let route = case.server.and_then(|server| snapshot.server(server));
            error.data(route.map(|route| &*route.settings.revisions).unwrap_or_default())
        }
        Refusal::Obligation(unmet) => {
            unmet.retry_after_seconds().map(|seconds| format!("{{\"retryAfterSeconds\":{seconds}}}").into_bytes())
        }
        Refusal::Route(_)
        | Refusal::Identity(_)
        | Refusal::Limit(_)
        | Refusal::Body(_)
        | Refusal::Message(_)
        | Refusal::Session(_)
        | Refusal::Ownership(_)
        | Refusal::Policy(_)
        | Refusal::Journal(_)
        | Refusal::Upstream(_) => None,
    };
    reply::write_error(id, &ErrorReply { code: outward.code, message: &outward.words, data: data.as_deref() }, body);
}

fn count(refusal: &Refusal) -> Count {
    match refusal {
        Refusal::Identity(_) => Count::Unauthenticated,
        Refusal::Policy(_) | Refusal::Obligation(_) => Count::Denied,
        Refusal::Body(_) | Refusal::Message(_) | Refusal::Era(_) => Count::Malformed,
        Refusal::Journal(_) => Count::JournalFailures,
        Refusal::Upstream(UpstreamFailure::Withheld(_)) => Count::ResultsWithheld,
        Refusal::Upstream(_) => Count::UpstreamFailures,
        Refusal::Route(_) | Refusal::Limit(_) | Refusal::Session(_) | Refusal::Ownership(_) => Count::Refused,
    }
}
