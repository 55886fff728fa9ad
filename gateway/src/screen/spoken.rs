//! Judges what a server says of its own accord. In: its requests and notifications. Out: whether they pass. Never here: answers.

use super::live::Live;
use super::{oblige, parties};
use crate::downstream::Downstream;
use crate::relay::Way;
use crate::{judge, ownership, records};
use portcullis_core::filter::server_message;
use portcullis_core::policy::engine::Action;
use portcullis_core::policy::facts::Facts;
use portcullis_core::protocol::json::Value;
use portcullis_core::protocol::message::Message;
use portcullis_core::protocol::method::{ServerMethod, ServerNotification};
use portcullis_core::protocol::revision::Revision;
use portcullis_core::protocol::span;
use portcullis_core::refusal::UpstreamFailure;

/// Whether policy lets this upstream ask this of the agent.
pub fn may_ask(way: &Way<'_>, agent: &Downstream, method: ServerMethod) -> bool {
    let action = match method {
        ServerMethod::Ping => return true,
        ServerMethod::CreateMessage => Action::Sample,
        ServerMethod::Elicit => Action::Elicit,
        ServerMethod::RootsList => Action::Roots,
        // Tasks of agents, which upstreams would follow, are not offered.
        ServerMethod::TasksGet | ServerMethod::TasksResult | ServerMethod::TasksCancel | ServerMethod::TasksList => {
            return false;
        }
    };
    // A question is prose, and its answer needs none of what the call may not show.
    if oblige::is_on(way) {
        return false;
    }
    let Some(live) = Live::of(way) else { return false };
    let facts = Facts { arguments: None, source: agent.source, now: way.core.now() };
    let decided = judge::decide_on_route(&live.snapshot, live.server, &live.who, action, &facts);
    records::server_request(way, &live.snapshot, method, &decided);
    decided.is_ok()
}

/// A request of the upstream on a legacy stream. One that may not pass is answered for the agent, so that the server does not wait.
pub fn server_request(way: &Way<'_>, agent: &Downstream, data: &[u8], message: &Message<'_>) -> bool {
    let Some(session) = way.case.session.as_ref().filter(|_| !way.is_modern()) else { return false };
    let Some(id) = span::member(data, &["id"]).and_then(|id| data.get(id)) else { return false };
    let known = message.method.and_then(ServerMethod::parse).filter(|method| method.offered_in(session.revision));
    if known.is_some_and(|method| may_ask(way, agent, method)) {
        session.asked(id);
        return true;
    }
    crate::upstream::decline::decline(way, id);
    false
}

/// A notification of the upstream: known ones pass, and news of a resource only if it may be read.
pub fn server_notification(way: &Way<'_>, agent: &Downstream, message: &Message<'_>) -> Result<bool, UpstreamFailure> {
    let revision = way.case.revision.unwrap_or(Revision::V2025_03_26);
    let known = message.method.and_then(ServerNotification::parse).filter(|known| known.offered_in(revision));
    match known {
        None => Ok(false),
        Some(ServerNotification::ResourcesUpdated) => {
            let facts = Facts { arguments: None, source: agent.source, now: way.core.now() };
            let uri = message.param("uri").and_then(Value::as_str);
            let (Some(live), Some(uri)) = (Live::of(way), uri) else { return Ok(false) };
            let action = Action::ResourceRead { uri };
            Ok(judge::decide_on_route(&live.snapshot, live.server, &live.who, action, &facts).is_ok())
        }
        Some(ServerNotification::TasksStatus | ServerNotification::Tasks) => {
            let (principal, route) = parties(way)?;
            let id = message.param("taskId").and_then(Value::as_str);
            let own = id.is_some_and(|id| ownership::owns_task(way.core, route, principal, id, way.core.now()));
            // It may bring the result itself, which is asked for by `tasks/get` and narrowed there.
            if !id.is_some_and(|id| oblige::words_pass(way, principal, id)) {
                return Ok(false);
            }
            // A task that is told of may ask as a result does.
            if let Some(params) = message.params.filter(|_| own) {
                let outcome = server_message::outcome(params).map_err(|_| UpstreamFailure::NotAnAnswer)?;
                if outcome.input_requests().any(|(_, method, _)| !may_ask(way, agent, method)) {
                    return Ok(false);
                }
            }
            Ok(own)
        }
        Some(_) => Ok(true),
    }
}
