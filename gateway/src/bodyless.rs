//! The ways of GET and DELETE, which only legacy sessions have. In: a head. Out: the session's stream, or its end. Never here: messages.

use crate::case::Case;
use crate::downstream::{Answer, Downstream};
use crate::http1::field::Field;
use crate::http1::response::Content as Media;
use crate::journal::{Decision, Pending};
use crate::judge::{self, Expect, Plan};
use crate::records;
use crate::relay::Way;
use crate::upstream::connection::Reply;
use crate::upstream::forward;
use crate::upstream::request::Verb;
use crate::worker::Core;
use crate::{headers, identify, stream};
use portcullis_core::audit::capture::Content;
use portcullis_core::audit::record::Outcome;
use portcullis_core::config::snapshot::{Route, Snapshot};
use portcullis_core::identity::principal::Principal;
use portcullis_core::policy::engine::Action;
use portcullis_core::policy::facts::Facts;
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::policy::who::Who;
use portcullis_core::protocol::era;
use portcullis_core::refusal::{Refusal, SessionRefusal, UpstreamFailure};
use std::rc::Rc;

/// Serves a GET or DELETE of a session's owner.
pub async fn serve(
    core: &Rc<Core>,
    snapshot: &Snapshot,
    agent: &mut Downstream,
    case: &mut Case,
    verb: Verb,
) -> Result<(), Refusal> {
    let (server, route) = judge::route(snapshot, case)?;
    let principal = identify::principal(core, snapshot, server, agent, case)?;
    let _place = identify::place(core, snapshot, &principal)?;
    let (plan, entered) = judge(core, snapshot, (server, route), &principal, agent, case, verb)?;
    let decision = entered.recorded().await.map_err(Refusal::Journal)?;
    case.decision = Some(decision.sequence());
    let way = Way { core, snapshot, server, case, plan: &plan, obliged: &case.obliged, subject: None };
    let reply = forward::forward(&way, agent, verb, &decision).await?;
    match (verb, reply.head.status, reply.head.content) {
        (Verb::Get, 200, Media::EventStream) => stream::relay(&way, agent, reply).await,
        (Verb::Delete, 200..=299 | 404 | 405, _) => end_session(&way, agent, reply).await,
        (Verb::Get, 405, _) => unoffered(&way, agent).await,
        (Verb::Get, 404, _) => {
            forget(&way);
            Err(Refusal::Session(SessionRefusal::Unknown))
        }
        (Verb::Get | Verb::Delete | Verb::Post, status, _) => Err(Refusal::Upstream(UpstreamFailure::Refused(status))),
    }
}

fn judge<'j>(
    core: &'j Core,
    snapshot: &Snapshot,
    (server, route): (ServerIndex, &Route),
    principal: &Principal,
    agent: &Downstream,
    case: &mut Case,
    verb: Verb,
) -> Result<(Plan, Pending<'j, Decision>), Refusal> {
    case.method = Some(match verb {
        Verb::Get => "GET",
        Verb::Delete => "DELETE",
        Verb::Post => "POST",
    });
    if verb == Verb::Get {
        headers::check_stream(agent).map_err(Refusal::Route)?;
    }
    let era = era::classify_bodyless(&headers::mcp(agent), &route.settings.revisions).map_err(Refusal::Era)?;
    let id = agent.field(Field::McpSessionId).ok_or(Refusal::Session(SessionRefusal::Missing))?;
    let session = judge::find_session(core, route, principal, id, case)?;
    case.revision = Some(session.revision);
    case.session = Some(session);
    let facts = Facts { arguments: None, source: agent.source, now: case.at };
    let permit = judge::decide_on_route(snapshot, server, &Who::from(principal), Action::Connect, &facts)
        .map_err(Refusal::Policy)?;
    core.counters.add(records::count(&permit));
    let entered = records::decision((core, snapshot), agent, case, Content::Absent, permit);
    let expect = if verb == Verb::Get { Expect::Listen } else { Expect::Accepted };
    Ok((Plan { era, expect, method: None }, entered))
}

fn forget(way: &Way<'_>) {
    if let Some(session) = &way.case.session {
        way.core.shared.sessions.close(&session.id);
    }
}

/// Whatever the upstream says, the session is over here (MCP 2025-11-25: a server may answer 405 and keep it).
async fn end_session(way: &Way<'_>, agent: &mut Downstream, mut reply: Reply) -> Result<(), Refusal> {
    forget(way);
    let status = if reply.head.status == 405 { 405 } else { 200 };
    let mut body = way.core.buffers.take(1024);
    // What a server says to a DELETE is for nobody; an overlong one costs it the connection.
    if reply.whole(&mut body, 64 * 1024).await.is_ok() {
        reply.finish(way.core);
    }
    way.core.buffers.give(body);
    answer_status(way, agent, status).await
}

/// The upstream offers no stream; SDK clients take 405 as that (MCP 2025-03-26 and later).
async fn unoffered(way: &Way<'_>, agent: &mut Downstream) -> Result<(), Refusal> {
    answer_status(way, agent, 405).await
}

async fn answer_status(way: &Way<'_>, agent: &mut Downstream, status: u16) -> Result<(), Refusal> {
    let recorded =
        records::result(way, status, Outcome::Complete, Content::Absent).recorded().await.map_err(Refusal::Journal)?;
    let mut fields = agent.cors();
    if status == 405 {
        records::field(&mut fields, "Allow", "POST");
    }
    let answer = Answer { status, content_type: None, fields: &fields, body: b"" };
    agent.release(way.core, recorded, &answer, &way.snapshot.settings.timeouts).await;
    Ok(())
}
