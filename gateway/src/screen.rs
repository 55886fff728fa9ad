//! Reads what an upstream sends before the agent may see it. In: a whole answer, or one event of a stream. Out: the same bytes, fewer of them,
//! or none. Never here: awaiting; and never trust.
//!
//! Lists lose what policy hides and what has drifted from its pin. What a server asks of the agent passes only if policy lets it ask. Names
//! that are handed out are bound to their owner. Our own secrets do not pass at all.

pub mod live;
pub mod oblige;
pub mod spoken;

use crate::counters::Count;
use crate::downstream::Downstream;
use crate::judge::{Call, Expect, Plan};
use crate::relay::Way;
use crate::session::{Handed, Owed, spells_same};
use crate::{ownership, records};
use portcullis_core::config::settings::Mode;
use portcullis_core::config::snapshot::Route;
use portcullis_core::filter::cache;
use portcullis_core::filter::capabilities::{self, Capability, Carrier};
use portcullis_core::filter::list;
use portcullis_core::filter::server_message;
use portcullis_core::filter::splice::Keep;
use portcullis_core::identity::principal::Principal;
use portcullis_core::policy::drift;
use portcullis_core::policy::facts::Facts;
use portcullis_core::policy::verdict::Visibility;
use portcullis_core::policy::who::Who;
use portcullis_core::protocol::era::TASKS_EXTENSION;
use portcullis_core::protocol::json::{self, Document, Kind, Value};
use portcullis_core::protocol::message::{self, Message, MessageKind};
use portcullis_core::protocol::method::Method;
use portcullis_core::protocol::revision::Revision;
use portcullis_core::protocol::span::{self, Accepted};
use portcullis_core::protocol::{reply, sse};
use portcullis_core::refusal::UpstreamFailure;

/// Entries of one page of a list, each of which is judged; servers page long lists.
const LIST_ENTRIES_MAX: usize = 10_000;

/// A client may keep a list this long; a grant that was revoked is gone from its view after it. Calls are judged anew at any time.
const LIST_TTL_MS_MAX: u32 = 10_000;

/// Arguments of one call that are kept until its task has ended. Of longer ones rules over its result can read nothing, so it is withheld; with
/// this bound a full table of owners holds a few hundred megabytes at worst.
const KEPT_ARGUMENTS_BYTES_MAX: usize = 4 * 1024;

/// Extensions whose methods and results are judged here; apps only add metadata to tools and resources.
const JUDGED_EXTENSIONS: &[&str] = &[TASKS_EXTENSION, "io.modelcontextprotocol/ui"];

/// What became of a whole answer.
pub struct Whole<'b> {
    /// The answer as it came, where it was read as one whole.
    pub read: Option<Accepted<'b>>,
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
    /// Its JSON, for the record.
    pub json: Vec<u8>,
    /// What `initialize` settled.
    pub revision: Option<Revision>,
    /// Whether it is an error.
    pub is_error: bool,
    /// Whether it stands in the place of a result that was withheld.
    pub is_withheld: bool,
}

/// Screens a whole JSON answer.
pub fn whole<'b>(
    way: &Way<'_>,
    agent: &Downstream,
    body: &'b [u8],
    out: &mut Vec<u8>,
) -> Result<Whole<'b>, UpstreamFailure> {
    let mut scratch = way.core.scratch.borrow_mut();
    let document =
        json::read(&mut scratch, body, &way.snapshot.result_limits()).map_err(|_| UpstreamFailure::NotAnAnswer)?;
    let message = message::message(document.root()).map_err(|_| UpstreamFailure::NotAnAnswer)?;
    if !is_answer(way, agent, (&document, body), &message) {
        return Err(UpstreamFailure::NotAnAnswer);
    }
    told(way, document.root())?;
    let whole = answer(way, agent, body, &message, document.root(), out)?;
    Ok(Whole { read: Accepted::whole(&document, body), ..whole })
}

/// Screens one event of a stream; what may pass is appended to `ready`.
pub fn event(way: &Way<'_>, agent: &Downstream, event: &[u8], ready: &mut Vec<u8>) -> Result<Verdict, UpstreamFailure> {
    let parsed = sse::Event::parse(event);
    // Only plain text is a cursor; whatever else stands there is between the server and a reader that errs.
    let id = parsed.id.filter(|id| id.iter().all(|byte| matches!(byte, b' '..=b'~')));
    leaks(way, id.unwrap_or_default())?;
    let Some(data) = parsed.message() else {
        if parsed.is_comment_only() {
            sse::write_keep_alive(ready);
        } else {
            sse::write_placeholder(&sse::Event { id, ..parsed.clone() }, ready);
        }
        return Ok(Verdict::Relayed);
    };
    leaks(way, data)?;
    let mut scratch = way.core.scratch.borrow_mut();
    let document =
        json::read(&mut scratch, data, &way.snapshot.result_limits()).map_err(|_| UpstreamFailure::NotAnAnswer)?;
    let message = message::message(document.root()).map_err(|_| UpstreamFailure::NotAnAnswer)?;
    told(way, document.root())?;
    let passes = match message.kind {
        MessageKind::Result | MessageKind::Error if is_answer(way, agent, (&document, data), &message) => {
            let answered = streamed(way, agent, data, &message, document.root())?;
            emit(&parsed, id, &answered.json, ready);
            return Ok(Verdict::Answer(answered));
        }
        MessageKind::Result | MessageKind::Error => {
            if let Some(resumed) = resumed_answer(way, agent, data, &message, document.root())? {
                match resumed {
                    Resumed::AsItIs => emit(&parsed, id, data, ready),
                    Resumed::Changed(json) => emit(&parsed, id, &json, ready),
                }
                return Ok(Verdict::Relayed);
            }
            false
        }
        MessageKind::Request => spoken::server_request(way, agent, data, &message),
        MessageKind::Notification => {
            let passes = spoken::server_notification(way, agent, &message)?;
            if let Some(json) = oblige::notification(way, data)?.filter(|_| passes) {
                emit(&parsed, id, &json, ready);
                return Ok(Verdict::Relayed);
            }
            passes
        }
    };
    if passes {
        emit(&parsed, id, data, ready);
    } else {
        // A dropped event still moves the cursor, or resuming would repeat it for ever.
        sse::write_placeholder(&sse::Event { id, ..parsed.clone() }, ready);
    }
    Ok(Verdict::Relayed)
}

/// Screens the answer that a stream brings. One that must be narrowed and cannot be read is replaced: the agent waits for an answer.
fn streamed(
    way: &Way<'_>,
    agent: &Downstream,
    data: &[u8],
    message: &Message<'_>,
    root: Value<'_>,
) -> Result<Answered, UpstreamFailure> {
    let mut json = Vec::new();
    let (whole, is_withheld) = match answer(way, agent, data, message, root, &mut json) {
        Err(failure @ (UpstreamFailure::Unreadable | UpstreamFailure::Withheld(_))) => {
            json = oblige::withheld(way, failure, way.case.raw_id(agent).unwrap_or_default());
            (Whole { read: None, change: Change::Changed, revision: None, is_error: true }, true)
        }
        other => (other?, false),
    };
    if whole.change == Change::AsItIs {
        json.extend_from_slice(data);
    }
    Ok(Answered { json, revision: whole.revision, is_error: whole.is_error, is_withheld })
}

/// Writes an event anew around its JSON. Readers differ in what they take for a line and for a beginning (a byte order mark in the middle,
/// U+2028), so nothing of the server's own framing goes out.
fn emit(parsed: &sse::Event<'_>, id: Option<&[u8]>, json: &[u8], ready: &mut Vec<u8>) {
    if let Some(retry) = parsed.retry {
        ready.extend_from_slice(b"retry: ");
        reply::write_integer(i64::try_from(retry).unwrap_or(i64::MAX), ready);
        ready.push(b'\n');
    }
    match LINES.iter().any(|(line, _)| contains(json, line)) {
        false => sse::write_message(id, json, ready),
        true => {
            let text = LINES.iter().fold(String::from_utf8_lossy(json).into_owned(), |text, (line, escape)| {
                text.replace(std::str::from_utf8(line).unwrap_or_default(), escape)
            });
            sse::write_message(id, text.as_bytes(), ready);
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.first().is_some_and(|first| {
        text.iter()
            .enumerate()
            .any(|(at, byte)| byte == first && text.get(at..).is_some_and(|rest| rest.starts_with(part)))
    })
}

/// Characters that some readers take for line ends. They stand in JSON strings alone, where the escape means the same.
const LINES: [(&[u8], &str); 3] =
    [("\u{2028}".as_bytes(), "\\u2028"), ("\u{2029}".as_bytes(), "\\u2029"), ("\u{85}".as_bytes(), "\\u0085")];

/// An answer that a resumed stream brings to one of the same session's earlier requests.
enum Resumed {
    AsItIs,
    Changed(Vec<u8>),
}

/// Screens it as what its request asked for. An answer that nobody waits for does not pass: unscreened it could show what lists hide.
fn resumed_answer(
    way: &Way<'_>,
    agent: &Downstream,
    data: &[u8],
    message: &Message<'_>,
    root: Value<'_>,
) -> Result<Option<Resumed>, UpstreamFailure> {
    let session = way.case.session.as_ref().filter(|_| way.is_listening() && !way.is_modern());
    let id = span::member(data, &["id"]).and_then(|id| data.get(id));
    let Some(owed) = session.zip(id).and_then(|(session, id)| session.settle(id)) else { return Ok(None) };
    let plan = Plan { era: way.plan.era, expect: owed.expect, method: owed.method };
    let way = Way { plan: &plan, subject: Some(&owed.subject), obliged: &owed.obliged, ..*way };
    let Some(live) = live::Live::of(&way).filter(|live| live.still_owes(&owed)) else {
        return Ok(Some(Resumed::Changed(oblige::withheld(&way, UpstreamFailure::Unreadable, &owed.id))));
    };
    let way = Way { snapshot: &live.snapshot, server: live.server, ..way };
    let mut changed = Vec::new();
    let whole = match answer(&way, agent, data, message, root, &mut changed) {
        Err(failure @ (UpstreamFailure::Unreadable | UpstreamFailure::Withheld(_))) => {
            return Ok(Some(Resumed::Changed(oblige::withheld(&way, failure, &owed.id))));
        }
        other => other?,
    };
    Ok(Some(match whole.change {
        Change::AsItIs => Resumed::AsItIs,
        Change::Changed => Resumed::Changed(changed),
    }))
}

/// Remembers that the answer to this call may come on a resumed stream of its session.
pub fn owe(way: &Way<'_>, agent: &Downstream) {
    let (Some(session), Some(id)) = (&way.case.session, way.case.raw_id(agent)) else { return };
    let subject = subject(way, agent);
    let (expect, method, obliged) = (way.plan.expect, way.plan.method, way.obliged.clone());
    // What rules over the result read of long arguments is not kept either.
    let long = way.case.arguments.len() > KEPT_ARGUMENTS_BYTES_MAX;
    let obliged = if long { obliged.forgetting_call() } else { obliged };
    let tool = way.case.tool;
    let obligations = tool.map(|tool| way.snapshot.engine.obligations_of(way.server, tool)).unwrap_or_default();
    let (id, subject, version) = (id.into(), subject.into(), way.snapshot.version);
    session.owe(Owed { id, expect, method, subject, obliged, version, obligations });
}

/// What the call is about, unescaped.
fn subject(way: &Way<'_>, agent: &Downstream) -> String {
    let raw = agent.body().get(way.case.subject.clone()).unwrap_or_default();
    way.subject.map_or_else(|| serde_json::from_slice(raw).unwrap_or_default(), str::to_owned)
}

/// Whether this is the answer to the request: a response with the very id. An error may come without one (MCP 2025-11-25, Streamable HTTP).
fn is_answer(
    way: &Way<'_>,
    agent: &Downstream,
    (document, body): (&Document<'_>, &[u8]),
    message: &Message<'_>,
) -> bool {
    let asked = way.case.raw_id(agent).unwrap_or_default();
    match message.kind {
        MessageKind::Request | MessageKind::Notification => false,
        MessageKind::Result | MessageKind::Error => {
            let answered = span::member_of_read(document, body, document.root(), "id");
            let answered = answered.and_then(|id| body.get(id)).unwrap_or_default();
            !asked.is_empty() && spells_same(answered, asked)
        }
    }
}

fn leaks(way: &Way<'_>, bytes: &[u8]) -> Result<(), UpstreamFailure> {
    match way.snapshot.lender.scanner().find(bytes) {
        Some(_) => Err(UpstreamFailure::LeakedSecret),
        None => Ok(()),
    }
}

/// A secret may stand escaped in the text (`\u002B` for `+`); what is read out of it is searched as well.
fn told(way: &Way<'_>, value: Value<'_>) -> Result<(), UpstreamFailure> {
    let scanner = way.snapshot.lender.scanner();
    if scanner.carry_bytes_max() == 0 { Ok(()) } else { told_by(way, value) }
}

/// Depth is bounded by the strict reading.
fn told_by(way: &Way<'_>, value: Value<'_>) -> Result<(), UpstreamFailure> {
    match value.kind() {
        Kind::String => leaks(way, value.as_str().unwrap_or_default().as_bytes()),
        Kind::Array => value.items().try_for_each(|item| told_by(way, item)),
        Kind::Object => value.entries().try_for_each(|(key, member)| {
            leaks(way, key.as_bytes())?;
            told_by(way, member)
        }),
        Kind::Null | Kind::Bool | Kind::Integer | Kind::Float => Ok(()),
    }
}

fn answer(
    way: &Way<'_>,
    agent: &Downstream,
    body: &[u8],
    message: &Message<'_>,
    root: Value<'_>,
    out: &mut Vec<u8>,
) -> Result<Whole<'static>, UpstreamFailure> {
    leaks(way, body)?;
    // Before the rest: what is withheld asks for nothing and hands out nothing.
    let change = oblige::answer(way, body, root, out)?;
    let Some(result) = message.result else {
        return Ok(Whole { read: None, change, revision: None, is_error: true });
    };
    let mut whole = Whole { read: None, change, revision: None, is_error: false };
    handed_out(way, agent, result)?;
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
    let entries = root.get("result").and_then(|result| result.get(key)).map_or(0, Value::len);
    if entries > LIST_ENTRIES_MAX {
        return Err(UpstreamFailure::TooLarge);
    }
    let mut worded = false;
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
            _ => text("taskId").is_some_and(|id| {
                worded |= !oblige::words_pass(way, principal, id);
                ownership::owns_task(way.core, route, principal, id, way.case.at)
            }),
        };
        if visible { Keep::Keep } else { Keep::Drop }
    };
    // What is listed depends on who asks, whether or not something is taken out this time; and a revoked grant must soon disappear.
    let mut private = way.core.buffers.take(body.len());
    cache::make_private(body, root, LIST_TTL_MS_MAX, &mut private).map_err(|_| UpstreamFailure::NotAnAnswer)?;
    let filtered = list::filter_list(&private, root, key, &mut keep, out).map_err(|_| UpstreamFailure::NotAnAnswer)?;
    way.core.buffers.give(private);
    if worded {
        oblige::tasks(out)?;
    }
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
    let known = engine.drift(way.server, tool);
    if engine.pin_matches(way.server, tool, raw) == drift::Live::Drifted {
        way.core.counters.add(Count::ToolsDrifted);
        // Once is news; the lists that follow are not.
        if known == drift::Live::AsReviewed {
            records::drifted(way, tool, name, raw);
        }
        return false;
    }
    observes || engine.lists(who, way.server, tool) == Visibility::Listed
}

/// What a result asks of the agent, and the names it hands out. Any result may ask; one that cannot be read as MCP means it does not pass.
fn handed_out(way: &Way<'_>, agent: &Downstream, result: Value<'_>) -> Result<(), UpstreamFailure> {
    let outcome = server_message::outcome(result).map_err(|_| UpstreamFailure::NotAnAnswer)?;
    for (_, method, _) in outcome.input_requests() {
        if !spoken::may_ask(way, agent, method) {
            return Err(UpstreamFailure::AskedTooMuch);
        }
    }
    if let Some(state) = outcome.request_state {
        bind(way, agent, Handed::RequestState, state)?;
    }
    if let Some(task) = outcome.task_id.filter(|_| way.plan.method == Some(Method::ToolsCall)) {
        bind(way, agent, Handed::Task, task)?;
    }
    Ok(())
}

fn bind(way: &Way<'_>, agent: &Downstream, handed: Handed, name: &str) -> Result<(), UpstreamFailure> {
    let (principal, route) = parties(way)?;
    let subject = subject(way, agent);
    let text = match (handed, way.plan.method) {
        (Handed::RequestState, Some(method)) => Call::words(method, &subject),
        (Handed::Task, _) | (Handed::RequestState, None) => subject,
    };
    let holding = ownership::Call { words: &text, arguments: kept_arguments(way, agent) };
    ownership::bind(way.core, route, principal, way.case, (handed, name), holding);
    Ok(())
}

/// The arguments of a call whose result comes later and has to meet rules: they may read them. On a resumed stream they are not at hand.
fn kept_arguments(way: &Way<'_>, agent: &Downstream) -> Option<Box<[u8]>> {
    let judged = way.obliged.results().is_some() && way.subject.is_none();
    let raw = agent.body().get(way.case.arguments.clone())?;
    (judged && raw.len() <= KEPT_ARGUMENTS_BYTES_MAX).then(|| raw.into())
}

fn parties<'a>(way: &'a Way<'_>) -> Result<(&'a Principal, &'a Route), UpstreamFailure> {
    let principal = way.case.principal.as_deref().ok_or(UpstreamFailure::NotAnAnswer)?;
    let route = way.snapshot.server(way.server).ok_or(UpstreamFailure::NotAnAnswer)?;
    Ok((principal, route))
}
