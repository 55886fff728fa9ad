//! Reads what an upstream sends before the agent may see it. In: a whole answer, or one event of a stream. Out: the same bytes, fewer of them,
//! or none. Never here: awaiting; and never trust.
//!
//! Lists lose what policy hides and what has drifted from its pin. What a server asks of the agent passes only if policy lets it ask. Names
//! that are handed out are bound to their owner. Our own secrets do not pass at all.

use crate::counters::Count;
use crate::downstream::Downstream;
use crate::judge::{Call, Expect};
use crate::relay::Way;
use crate::session::Handed;
use crate::{ownership, records};
use portcullis_core::config::settings::Mode;
use portcullis_core::config::snapshot::{Route, Snapshot};
use portcullis_core::filter::cache;
use portcullis_core::filter::capabilities::{self, Capability, Carrier};
use portcullis_core::filter::list;
use portcullis_core::filter::splice::Keep;
use portcullis_core::identity::principal::Principal;
use portcullis_core::identity::registry::Status;
use portcullis_core::policy::drift::Live;
use portcullis_core::policy::engine::Action;
use portcullis_core::policy::facts::Facts;
use portcullis_core::policy::verdict::Visibility;
use portcullis_core::policy::who::Who;
use portcullis_core::protocol::era::TASKS_EXTENSION;
use portcullis_core::protocol::json::{self, Value};
use portcullis_core::protocol::message::{self, Message, MessageKind};
use portcullis_core::protocol::method::{Method, ServerMethod, ServerNotification};
use portcullis_core::protocol::revision::Revision;
use portcullis_core::protocol::{span, sse};
use portcullis_core::refusal::UpstreamFailure;
use std::ops::Range;

/// A client may keep a list this long; a grant that was revoked is gone from its view after it. Calls are judged anew at any time.
const LIST_TTL_MS_MAX: u32 = 10_000;

/// Extensions whose methods and results are judged here; apps only add metadata to tools and resources.
const JUDGED_EXTENSIONS: &[&str] = &[TASKS_EXTENSION, "io.modelcontextprotocol/ui"];

/// What became of a whole answer.
pub struct Whole {
    /// Whether `out` holds other bytes than came.
    pub change: Change,
    /// What `initialize` settled.
    pub revision: Option<Revision>,
    /// Whether it is a JSON-RPC error, or a tool's result that says so.
    pub is_error: bool,
}

/// Whether the bytes that came are the bytes that go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// They are.
    AsItIs,
    /// Others stand in the buffer that was handed in.
    Changed,
}

/// What became of one event.
pub enum Verdict {
    /// It was relayed, reduced or dropped.
    Relayed,
    /// It is the answer; it stands in the buffer and waits for its record.
    Answer(Answered),
}

/// The answer of a stream.
pub struct Answered {
    /// Where its JSON stands in the buffer of ready events, for the record.
    pub data: Range<usize>,
    /// What `initialize` settled.
    pub revision: Option<Revision>,
    /// Whether it is an error.
    pub is_error: bool,
}

/// Screens a whole JSON answer.
pub fn whole(way: &Way<'_>, agent: &Downstream, body: &[u8], out: &mut Vec<u8>) -> Result<Whole, UpstreamFailure> {
    let mut scratch = way.core.scratch.borrow_mut();
    let document =
        json::read(&mut scratch, body, &way.snapshot.result_limits()).map_err(|_| UpstreamFailure::NotAnAnswer)?;
    let message = message::message(document.root()).map_err(|_| UpstreamFailure::NotAnAnswer)?;
    if !is_answer(way, agent, body, &message) {
        return Err(UpstreamFailure::NotAnAnswer);
    }
    answer(way, agent, body, &message, document.root(), out)
}

/// Screens one event of a stream; what may pass is appended to `ready`.
pub fn event(way: &Way<'_>, agent: &Downstream, event: &[u8], ready: &mut Vec<u8>) -> Result<Verdict, UpstreamFailure> {
    let parsed = sse::Event::parse(event);
    let Some(data) = parsed.message() else {
        // A comment, or the empty event that primes resumption.
        ready.extend_from_slice(event);
        return Ok(Verdict::Relayed);
    };
    leaks(way, data)?;
    let mut scratch = way.core.scratch.borrow_mut();
    let document =
        json::read(&mut scratch, data, &way.snapshot.result_limits()).map_err(|_| UpstreamFailure::NotAnAnswer)?;
    let message = message::message(document.root()).map_err(|_| UpstreamFailure::NotAnAnswer)?;
    let passes = match message.kind {
        MessageKind::Result | MessageKind::Error if is_answer(way, agent, data, &message) => {
            let mut changed = Vec::new();
            let whole = answer(way, agent, data, &message, document.root(), &mut changed)?;
            let begin = ready.len();
            let json = match whole.change {
                Change::AsItIs => data,
                Change::Changed => &changed,
            };
            match whole.change {
                Change::AsItIs => ready.extend_from_slice(event),
                Change::Changed => sse::write_message(parsed.id, json, ready),
            }
            let data = locate(ready, begin, json);
            return Ok(Verdict::Answer(Answered { data, revision: whole.revision, is_error: whole.is_error }));
        }
        // A resumed stream carries answers to the same session's earlier requests.
        MessageKind::Result | MessageKind::Error => way.is_listening(),
        MessageKind::Request => server_request(way, agent, data, &message),
        MessageKind::Notification => server_notification(way, agent, &message),
    };
    if passes {
        ready.extend_from_slice(event);
    } else {
        // A dropped event still moves the cursor, or resuming would repeat it for ever.
        sse::write_placeholder(&parsed, ready);
    }
    Ok(Verdict::Relayed)
}

/// Where the answer's JSON stands; a multi-line event is recorded as the whole event.
fn locate(ready: &[u8], begin: usize, json: &[u8]) -> Range<usize> {
    let tail = ready.get(begin..).unwrap_or_default();
    let at = tail.windows(json.len().max(1)).position(|window| window == json);
    at.map_or(begin..ready.len(), |at| begin + at..begin + at + json.len())
}

/// Whether this is the answer to the request: a response with the very id. An error may come without one (MCP 2025-11-25, Streamable HTTP).
fn is_answer(way: &Way<'_>, agent: &Downstream, body: &[u8], message: &Message<'_>) -> bool {
    let asked = way.case.raw_id(agent).unwrap_or_default();
    match message.kind {
        MessageKind::Request | MessageKind::Notification => false,
        MessageKind::Result | MessageKind::Error => {
            let answered = span::member(body, &["id"]).and_then(|id| body.get(id)).unwrap_or_default();
            !asked.is_empty() && (answered == asked || same_text(answered, asked))
        }
    }
}

/// Two JSON strings that spell the same text differently: servers may escape what clients did not.
fn same_text(one: &[u8], other: &[u8]) -> bool {
    let text = |raw: &[u8]| raw.starts_with(b"\"").then(|| serde_json::from_slice::<String>(raw).ok()).flatten();
    text(one).is_some_and(|one| text(other) == Some(one))
}

fn leaks(way: &Way<'_>, bytes: &[u8]) -> Result<(), UpstreamFailure> {
    match way.snapshot.lender.scanner().find(bytes) {
        Some(_) => Err(UpstreamFailure::LeakedSecret),
        None => Ok(()),
    }
}

fn answer(
    way: &Way<'_>,
    agent: &Downstream,
    body: &[u8],
    message: &Message<'_>,
    root: Value<'_>,
    out: &mut Vec<u8>,
) -> Result<Whole, UpstreamFailure> {
    leaks(way, body)?;
    let Some(result) = message.result else {
        return Ok(Whole { change: Change::AsItIs, revision: None, is_error: true });
    };
    let mut whole = Whole { change: Change::AsItIs, revision: None, is_error: false };
    match way.plan.expect {
        Expect::Accepted => return Err(UpstreamFailure::NotAnAnswer),
        Expect::Listen => {}
        Expect::Discover => whole.change = narrow(way, body, root, out)?,
        Expect::Initialize => {
            let version = result.get("protocolVersion").and_then(Value::as_str).and_then(Revision::parse);
            whole.revision = Some(version.ok_or(UpstreamFailure::NotAnAnswer)?);
            whole.change = narrow(way, body, root, out)?;
        }
        Expect::List(key) => whole.change = filter(way, body, root, key, out)?,
        Expect::Result => {
            whole.is_error = result.get("isError").and_then(Value::as_bool) == Some(true);
            handed_out(way, agent, result)?;
        }
    }
    Ok(whole)
}

/// Takes out of what a server says of itself what does not pass here: revisions that the route does not speak, extensions nobody judges.
fn narrow(way: &Way<'_>, body: &[u8], root: Value<'_>, out: &mut Vec<u8>) -> Result<Change, UpstreamFailure> {
    let (_, route) = parties(way)?;
    let mut versions = way.core.buffers.take(body.len());
    let mut spoken = |version: Value<'_>, _: &[u8]| {
        let revision = version.as_str().and_then(Revision::parse);
        if revision.is_some_and(|revision| route.settings.revisions.contains(&revision)) {
            Keep::Keep
        } else {
            Keep::Drop
        }
    };
    if way.plan.expect == Expect::Discover {
        list::filter_list(body, root, "supportedVersions", &mut spoken, &mut versions)
            .map_err(|_| UpstreamFailure::NotAnAnswer)?;
    } else {
        versions.extend_from_slice(body);
    }
    let mut judged = |capability: Capability<'_>| match capability {
        Capability::Extension(id)
            if !JUDGED_EXTENSIONS.contains(&id) && route.settings.extension_methods.is_empty() =>
        {
            Keep::Drop
        }
        Capability::Extension(_) | Capability::Core(_) | Capability::Experimental(_) => Keep::Keep,
    };
    let reduced = capabilities::reduce(&versions, root, Carrier::ServerResult, &mut judged, out);
    reduced.map_err(|_| UpstreamFailure::NotAnAnswer)?;
    way.core.buffers.give(versions);
    Ok(Change::Changed)
}

/// Takes out of a list what this principal may not see.
fn filter(
    way: &Way<'_>,
    body: &[u8],
    root: Value<'_>,
    key: &str,
    out: &mut Vec<u8>,
) -> Result<Change, UpstreamFailure> {
    let (principal, route) = parties(way)?;
    let mode = route.settings.mode;
    let who = Who::from(principal);
    let facts = Facts { arguments: None, source: way.case.source, now: way.case.at };
    let mut keep = |element: Value<'_>, raw: &[u8]| {
        let text = |member: &str| element.get(member).and_then(Value::as_str);
        let engine = &way.snapshot.engine;
        let visible = match key {
            "tools" => text("name").is_some_and(|name| keep_tool(way, &who, name, raw, mode)),
            // What would be refused is not refused here, so it must not be missing either.
            "resources" | "resourceTemplates" | "prompts" if mode == Mode::Observe => true,
            "resources" => text("uri")
                .is_some_and(|uri| engine.lists_resource(&who, way.server, uri, &facts) == Visibility::Listed),
            "resourceTemplates" => text("uriTemplate")
                .is_some_and(|uri| engine.lists_resource(&who, way.server, uri, &facts) == Visibility::Listed),
            "prompts" => text("name")
                .is_some_and(|name| engine.lists_prompt(&who, way.server, name, &facts) == Visibility::Listed),
            _ => text("taskId").is_some_and(|id| ownership::owns_task(way.core, route, principal, id, way.case.at)),
        };
        if visible { Keep::Keep } else { Keep::Drop }
    };
    // What is listed depends on who asks, whether or not something is taken out this time; and a revoked grant must soon disappear.
    let mut private = way.core.buffers.take(body.len());
    cache::make_private(body, root, LIST_TTL_MS_MAX, &mut private).map_err(|_| UpstreamFailure::NotAnAnswer)?;
    let filtered = list::filter_list(&private, root, key, &mut keep, out).map_err(|_| UpstreamFailure::NotAnAnswer)?;
    way.core.buffers.give(private);
    if filtered.dropped > 0 {
        way.core.counters.add(Count::ListsFiltered);
    }
    Ok(Change::Changed)
}

/// A tool is listed if some call of it could be permitted and its definition is the approved one.
fn keep_tool(way: &Way<'_>, who: &Who<'_>, name: &str, raw: &[u8], mode: Mode) -> bool {
    let observes = mode == Mode::Observe;
    let engine = &way.snapshot.engine;
    let Ok(tool) = engine.tool(way.server, name) else { return false };
    if engine.pin_matches(way.server, tool, raw) == Live::Drifted {
        way.core.counters.add(Count::ToolsDrifted);
        records::drifted(way, tool, name, raw);
        return false;
    }
    observes || engine.lists(who, way.server, tool) == Visibility::Listed
}

/// What a result asks of the agent, and the names it hands out.
fn handed_out(way: &Way<'_>, agent: &Downstream, result: Value<'_>) -> Result<(), UpstreamFailure> {
    if let Some(requests) = result.get("inputRequests") {
        for (_, request) in requests.entries() {
            let method = request.get("method").and_then(Value::as_str).and_then(ServerMethod::parse);
            let method = method.filter(|method| method.asked_in_results()).ok_or(UpstreamFailure::NotAnAnswer)?;
            if !may_ask(way, agent, method) {
                return Err(UpstreamFailure::AskedTooMuch);
            }
        }
    }
    if let Some(state) = result.get("requestState").and_then(Value::as_str) {
        bind(way, agent, Handed::RequestState, state)?;
    }
    let task = result.get("taskId").or_else(|| result.get("task")?.get("taskId")).and_then(Value::as_str);
    if let Some(task) = task.filter(|_| way.plan.method == Some(Method::ToolsCall)) {
        bind(way, agent, Handed::Task, task)?;
    }
    Ok(())
}

fn bind(way: &Way<'_>, agent: &Downstream, handed: Handed, name: &str) -> Result<(), UpstreamFailure> {
    let (principal, route) = parties(way)?;
    let subject = agent.body().get(way.case.subject.clone()).unwrap_or_default();
    let subject: String = serde_json::from_slice(subject).unwrap_or_default();
    let text = match (handed, way.plan.method) {
        (Handed::RequestState, Some(method)) => Call::words(method, &subject),
        (Handed::Task, _) | (Handed::RequestState, None) => subject,
    };
    ownership::bind(way.core, route, principal, way.case, handed, name, &text);
    Ok(())
}

fn parties<'a>(way: &'a Way<'_>) -> Result<(&'a Principal, &'a Route), UpstreamFailure> {
    let principal = way.case.principal.as_deref().ok_or(UpstreamFailure::NotAnAnswer)?;
    let route = way.snapshot.server(way.server).ok_or(UpstreamFailure::NotAnAnswer)?;
    Ok((principal, route))
}

/// Whether policy lets this upstream ask this of the agent.
fn may_ask(way: &Way<'_>, agent: &Downstream, method: ServerMethod) -> bool {
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
    let Some(principal) = way.case.principal.as_deref() else { return false };
    let facts = Facts { arguments: None, source: agent.source, now: way.core.now() };
    let decided = way.snapshot.engine.decide(&Who::from(principal), way.server, action, &facts);
    records::server_request(way, method, &decided);
    decided.is_ok()
}

/// A request of the upstream on a legacy stream. One that may not pass is answered for the agent, so that the server does not wait.
fn server_request(way: &Way<'_>, agent: &Downstream, data: &[u8], message: &Message<'_>) -> bool {
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
fn server_notification(way: &Way<'_>, agent: &Downstream, message: &Message<'_>) -> bool {
    let revision = way.case.revision.unwrap_or(Revision::V2025_03_26);
    let known = message.method.and_then(ServerNotification::parse).filter(|known| known.offered_in(revision));
    let Some(principal) = way.case.principal.as_deref() else { return false };
    match known {
        None => false,
        Some(ServerNotification::ResourcesUpdated) => {
            let facts = Facts { arguments: None, source: agent.source, now: way.core.now() };
            let uri = message.param("uri").and_then(Value::as_str);
            uri.is_some_and(|uri| {
                way.snapshot
                    .engine
                    .decide(&Who::from(principal), way.server, Action::ResourceRead { uri }, &facts)
                    .is_ok()
            })
        }
        Some(ServerNotification::TasksStatus | ServerNotification::Tasks) => {
            let id = message.param("taskId").and_then(Value::as_str);
            parties(way).is_ok_and(|(principal, route)| {
                id.is_some_and(|id| ownership::owns_task(way.core, route, principal, id, way.core.now()))
            })
        }
        Some(_) => true,
    }
}

/// Whether the live snapshot would still let this stream begin.
pub fn still_granted(way: &Way<'_>, live: &Snapshot) -> bool {
    let Ok((principal, route)) = parties(way) else { return false };
    let Some(index) = live.registry.find(principal.agent()) else { return false };
    if live.registry.agent(index).is_none_or(|agent| agent.status != Status::Active) {
        return false;
    }
    let Some(server) = live.engine.server(&route.settings.name) else { return false };
    let who = Who { agent: index, ..Who::from(principal) };
    let facts = Facts { arguments: None, source: way.case.source, now: way.core.now() };
    match way.case.tool.and_then(|tool| way.snapshot.engine.tool_name(way.server, tool)) {
        Some(name) => {
            live.engine.tool(server, name).is_ok_and(|tool| live.engine.lists(&who, server, tool) == Visibility::Listed)
        }
        None => live.engine.decide(&who, server, Action::Connect, &facts).is_ok(),
    }
}
