//! Reads a message and puts it before policy. In: the whole body, the principal. Out: a plan for the rest of the way and the decision on its
//! way into the log, or a refusal. Never here: awaiting; from the first byte read to the record entered, one snapshot and one thread.

use crate::beside::Copied;
use crate::beside::sample::{Decided, Sample};
use crate::case::Case;
use crate::counters::Count;
use crate::downstream::{BodyFailure, Downstream};
use crate::headers;
use crate::http1::field::Field;
use crate::journal::{Decision, Pending};
use crate::ownership;
use crate::records;
use crate::session::Session;
use crate::worker::Core;
use portcullis_core::audit::capture::Content;
use portcullis_core::config::settings::Mode;
use portcullis_core::config::snapshot::{Route, Snapshot};
use portcullis_core::identity::principal::Principal;
use portcullis_core::policy::catalogue::ToolIndex;
use portcullis_core::policy::duty::Arguments;
use portcullis_core::policy::engine::Action;
use portcullis_core::policy::facts::Facts;
use portcullis_core::policy::surface::{self, ServerIndex};
use portcullis_core::policy::verdict::{Denial, Evaluator, Permit};
use portcullis_core::policy::who::Who;
use portcullis_core::protocol::era::{self, Era, EraError, MethodEra, Offered};
use portcullis_core::protocol::json::{self, Document, Kind, Scratch, Value};
use portcullis_core::protocol::message::{self, Message, MessageKind};
use portcullis_core::protocol::method::{ClientNotification, Method};
use portcullis_core::protocol::revision::Revision;
use portcullis_core::protocol::span::{self, Accepted};
use portcullis_core::protocol::subject::{self, Subject};
use portcullis_core::refusal::{LimitRefusal, OwnershipRefusal, Refusal, RouteRefusal, SessionRefusal};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What the reply will be, so that it is read as that and as nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// 202 and no body: a notification or an answer was sent.
    Accepted,
    /// A result that passes as it is.
    Result,
    /// The result of `initialize`, which opens a session.
    Initialize,
    /// The result of `server/discover`.
    Discover,
    /// A list that is filtered, under this member of the result.
    List(&'static str),
    /// A stream that stays open.
    Listen,
}

/// What the rest of the way needs to know.
pub struct Plan {
    /// Modern or legacy.
    pub era: Era,
    /// What the reply will be.
    pub expect: Expect,
    /// The method, where the message is a request of a known one.
    pub method: Option<Method>,
}

/// A message that policy permits and whose decision is entered in the log.
pub struct Judged<'j> {
    /// What the rest of the way needs to know.
    pub plan: Plan,
    /// The decision on its way into the log.
    pub entered: Pending<'j, Decision>,
}

/// Reads the whole body, after the fields that decide whether it is worth reading.
pub async fn read(snapshot: &Snapshot, agent: &mut Downstream) -> Result<(), Refusal> {
    headers::check(agent).map_err(Refusal::Route)?;
    let settings = &snapshot.settings;
    agent.read_body(settings.limits.body_bytes_max, &settings.timeouts).await.map_err(|failure| {
        Refusal::Limit(match failure {
            BodyFailure::TooLarge => LimitRefusal::BodyTooLarge,
            BodyFailure::Malformed(_) => LimitRefusal::BodyMalformed,
            BodyFailure::TooSlow | BodyFailure::Gone => LimitRefusal::BodyTooSlow,
        })
    })
}

/// Reads and judges the body that `agent` holds.
pub fn message<'j>(
    core: &'j Core,
    snapshot: &Snapshot,
    principal: &Principal,
    agent: &Downstream,
    case: &mut Case,
) -> Result<Judged<'j>, Refusal> {
    let (server, route) = route(snapshot, case)?;
    let mut scratch = core.scratch.borrow_mut();
    let body = agent.body();
    let document = json::read(&mut scratch, body, &snapshot.json_limits()).map_err(Refusal::Body)?;
    // An id that no answer may carry is left out of the answer: a client's own schema would refuse it (MCP 2025-11-25).
    let echoed = document.root().get("id").is_some_and(|id| matches!(id.kind(), Kind::String | Kind::Integer));
    let id = if echoed { span::member_of_read(&document, body, document.root(), "id") } else { None };
    case.id = id.unwrap_or(0..0);
    let message = message::message(document.root()).map_err(Refusal::Message)?;
    let era = era::classify(&headers::mcp(agent), &message, &route.settings.revisions).map_err(Refusal::Era)?;
    enter_session(core, route, principal, agent, case, era, &message)?;
    if let (MessageKind::Request, Some(session)) = (message.kind, &case.session) {
        let begun = session.begin(case.raw_id(agent).unwrap_or_default());
        case.under_way = Some(begun.ok_or(Refusal::Session(SessionRefusal::IdInUse))?);
    }
    let bench = Bench { core, snapshot, server, route, principal, agent, era, document: &document };
    match message.kind {
        MessageKind::Request => bench.request(&message, case),
        MessageKind::Notification => bench.notification(&message, case),
        MessageKind::Result | MessageKind::Error => bench.answer(case),
    }
}

/// The route of this request.
pub fn route<'s>(snapshot: &'s Snapshot, case: &Case) -> Result<(ServerIndex, &'s Route), Refusal> {
    let server = case.server.ok_or(Refusal::Route(RouteRefusal::UnknownPath))?;
    let route = snapshot.server(server).ok_or(Refusal::Route(RouteRefusal::UnknownPath))?;
    Ok((server, route))
}

/// Legacy: a session id must be this principal's on this server, and the revision header the one that was settled.
fn enter_session(
    core: &Core,
    route: &Route,
    principal: &Principal,
    agent: &Downstream,
    case: &mut Case,
    era: Era,
    message: &Message<'_>,
) -> Result<(), Refusal> {
    let header_revision = match era {
        Era::Modern { revision } => {
            case.revision = Some(revision);
            return Ok(());
        }
        Era::Legacy { header_revision } => header_revision,
    };
    case.revision = header_revision;
    if message.method == Some(Method::Initialize.as_str()) {
        return Ok(());
    }
    let Some(id) = agent.field(Field::McpSessionId) else { return Ok(()) };
    let session = find_session(core, route, principal, id, case)?;
    if header_revision.is_some_and(|named| named != session.revision) {
        return Err(Refusal::Session(SessionRefusal::OtherRevision));
    }
    case.revision = Some(session.revision);
    case.session = Some(session);
    Ok(())
}

/// The session under this id, if it is this principal's on this route.
pub fn find_session(
    core: &Core,
    route: &Route,
    principal: &Principal,
    id: &[u8],
    case: &Case,
) -> Result<Arc<Session>, Refusal> {
    let id = std::str::from_utf8(id).ok();
    let session = id.and_then(|id| core.shared.sessions.find(id, principal, &route.settings.name, case.at));
    session.ok_or(Refusal::Session(SessionRefusal::Unknown))
}

/// Policy's word on a route; where the route only observes, a denial is noted in the permit and passes.
pub fn decide_on_route(
    snapshot: &Snapshot,
    server: ServerIndex,
    who: &Who<'_>,
    action: Action<'_>,
    facts: &Facts<'_>,
) -> Result<Permit, Denial> {
    #[cfg(feature = "count-allocations")]
    let _evaluating = portcullis_ring::allocations::enter(portcullis_ring::allocations::Section::Policy);
    let mode = snapshot.server(server).map_or(Mode::Enforce, |route| route.settings.mode);
    let decided = match snapshot.quarantine.is_in_force() {
        false => snapshot.engine.decide(who, server, action, facts),
        true => snapshot.engine.decide_by_cedar(who, server, action, facts),
    };
    match (decided, mode) {
        (Ok(permit), _) => Ok(permit),
        (Err(denial), Mode::Enforce) => Err(denial),
        (Err(denial), Mode::Observe) => snapshot.engine.observe(denial, server, action),
    }
}

/// What judging one message needs at hand.
struct Bench<'a, 'j> {
    core: &'j Core,
    snapshot: &'a Snapshot,
    server: ServerIndex,
    route: &'a Route,
    principal: &'a Principal,
    agent: &'a Downstream,
    era: Era,
    document: &'a Document<'a>,
}

impl<'a, 'j> Bench<'a, 'j> {
    /// The revision that counts; a legacy client that names none speaks 2025-03-26 (MCP 2025-06-18, Streamable HTTP).
    fn revision(&self, case: &Case) -> Revision {
        case.revision.unwrap_or(Revision::V2025_03_26)
    }

    fn request(self, message: &Message<'_>, case: &mut Case) -> Result<Judged<'j>, Refusal> {
        let offered = era::offered_method(message, self.revision(case), &self.route.settings.extension_methods)
            .map_err(Refusal::Era)?;
        let method = match offered {
            Offered::Known(method) => method,
            Offered::Extension(method) => return self.extension(method, case),
        };
        case.method = Some(method.as_str());
        let subject = subject::subject(method, message).map_err(Refusal::Message)?;
        let arguments = self.locate(method, message, case);
        let permit = self.decide_subject(&subject, case)?;
        if let Subject::Tool { arguments, .. } = subject {
            self.check_mirrored(arguments, case)?;
        }
        if let Some(state) = message.request_state() {
            let call = Call { method, subject: &subject }.text();
            ownership::check_request_state(self.core, self.route, self.principal, state, &call, case.at)
                .map_err(Refusal::Ownership)?;
        }
        let permit = self.charge(permit, &subject, case)?;
        Ok(self.enter(permit, (expect(method), Some(method)), arguments, case))
    }

    /// Where the subject and the arguments stand in the body, for the record.
    fn locate(&self, method: Method, message: &Message<'_>, case: &mut Case) -> Option<Accepted<'a>> {
        let (document, body, params) = (self.document, self.agent.body(), message.params?);
        let subject = subject::member(method).and_then(|key| span::member_of_read(document, body, params, key));
        case.subject = subject.unwrap_or(0..0);
        let (arguments, range) = Accepted::member(document, body, params, "arguments")?;
        case.arguments = range;
        Some(arguments)
    }

    fn decide_subject(&self, subject: &Subject<'_>, case: &mut Case) -> Result<Permit, Refusal> {
        match subject {
            Subject::None => self.decide(Action::Connect, None, case),
            Subject::Tool { name, arguments } => {
                let tool = self.snapshot.engine.tool(self.server, name).map_err(Refusal::Policy)?;
                case.tool = Some(tool);
                let permit = self.decide(Action::Tool(tool), *arguments, case)?;
                Ok(self.oblige(permit, tool, (*arguments, Arguments::Known), case))
            }
            Subject::Prompt { name, .. } => self.decide(Action::PromptGet { name }, None, case),
            Subject::Resource { uri } => self.decide(Action::ResourceRead { uri }, None, case),
            Subject::CompletePrompt { name } => self.decide(Action::CompletePrompt { name }, None, case),
            Subject::CompleteResource { uri } => self.decide(Action::CompleteResource { uri }, None, case),
            Subject::Task { id } => {
                let tool = self.task_tool(id, case)?;
                case.tool = tool;
                let permit = self.decide(Action::Task { tool }, None, case)?;
                Ok(match tool {
                    Some(tool) => self.oblige_task(permit, tool, id, case),
                    None => permit,
                })
            }
            Subject::Listen(filter) => {
                let mut observed = None;
                for uri in filter.resource_subscriptions() {
                    let permit = self.decide(Action::ResourceRead { uri }, None, case)?;
                    observed = observed.or(permit.observed().map(|_| permit));
                }
                for task in filter.task_ids() {
                    self.task_tool(task, case)?;
                }
                let connect = self.decide(Action::Connect, None, case)?;
                // The record must say that something of it would have been refused.
                Ok(observed.unwrap_or(connect))
            }
        }
    }

    fn task_tool(&self, id: &str, case: &Case) -> Result<Option<ToolIndex>, Refusal> {
        ownership::task_tool(self.core, self.snapshot, self.server, self.principal, id, case.at)
            .map_err(Refusal::Ownership)
    }

    /// A method beyond the specification, which this server's configuration names and policy permits.
    fn extension(self, method: &str, case: &mut Case) -> Result<Judged<'j>, Refusal> {
        let permit = self.decide(Action::Extension { method }, None, case)?;
        Ok(self.enter(permit, (Expect::Result, None), None, case))
    }

    fn notification(self, message: &Message<'_>, case: &mut Case) -> Result<Judged<'j>, Refusal> {
        let revision = self.revision(case);
        let notification =
            message.method.and_then(ClientNotification::parse).filter(|known| known.offered_in(revision));
        let Some(notification) = notification else {
            // Nobody waits for an answer, so the status alone can say it.
            return Err(Refusal::Era(EraError::MethodNotFound(MethodEra::Modern)));
        };
        case.method = Some(notification.as_str());
        // A cancellation names a request by an id that only its session makes unambiguous.
        if notification == ClientNotification::Cancelled && case.session.is_none() && !self.era_is_modern() {
            return Err(Refusal::Session(SessionRefusal::Missing));
        }
        let permit = self.decide(Action::Connect, None, case)?;
        Ok(self.enter(permit, (Expect::Accepted, None), None, case))
    }

    /// An answer to what the upstream asked: only in a session, only once, only what was asked.
    fn answer(self, case: &mut Case) -> Result<Judged<'j>, Refusal> {
        case.method = Some("response");
        let session = case.session.as_ref().ok_or(Refusal::Session(SessionRefusal::Missing))?;
        let permit = self.decide(Action::Connect, None, case)?;
        let raw_id = self.agent.body().get(case.id.clone()).unwrap_or_default();
        if !session.answers(raw_id) {
            return Err(Refusal::Ownership(OwnershipRefusal::UnaskedAnswer));
        }
        Ok(self.enter(permit, (Expect::Accepted, None), None, case))
    }

    /// Policy's word; on a route in observe mode a denial is recorded as one and passes.
    fn decide(&self, action: Action<'_>, arguments: Option<Value<'_>>, case: &Case) -> Result<Permit, Refusal> {
        let facts = Facts { arguments, source: self.agent.source, now: case.at };
        let who = Who::from(self.principal);
        let decided = decide_on_route(self.snapshot, self.server, &who, action, &facts);
        if decided.as_ref().map_or_else(Denial::evaluator, Permit::evaluator) == Evaluator::Cedar {
            self.core.counters.add(Count::PolicySlow);
        }
        match self.core.turn.next(&self.core.shared.beside) {
            Copied::No => {}
            copied @ (Copied::Watched | Copied::Shadowed) => {
                let raw = arguments.and_then(|_| self.agent.body().get(case.arguments.clone()));
                let call = Decided { who: &who, server: self.server, action, facts: &facts, arguments: raw };
                self.copy(copied, call, &decided);
            }
        }
        decided.map_err(Refusal::Policy)
    }

    /// Hands a copy of the call to whoever judges it a second time. One that a swap overtook is not worth it.
    #[cold]
    fn copy(&self, copied: Copied, call: Decided<'_>, decided: &Result<Permit, Denial>) {
        #[cfg(feature = "count-allocations")]
        let _copying = portcullis_ring::allocations::enter(portcullis_ring::allocations::Section::Unattended);
        let live = self.core.snapshot();
        if !std::ptr::eq(&raw const **live, self.snapshot) {
            return;
        }
        if let Some(sample) = Sample::of(copied, Arc::clone(&*live), call, decided) {
            self.core.shared.beside.hand_over(sample);
        }
    }

    /// Notes what the permit obliges to, and the rules that the result has to meet, before anything is recorded or sent.
    fn oblige(
        &self,
        permit: Permit,
        tool: ToolIndex,
        (arguments, known): (Option<Value<'_>>, Arguments),
        case: &mut Case,
    ) -> Permit {
        let engine = &self.snapshot.engine;
        // What a denial that is only noted would have obliged to is any rule's guess: all of them count.
        case.obliged = match permit.observed() {
            None => engine.obligations(&permit, tool),
            Some(_) => engine.obligations_of(self.server, tool).with_results(None),
        };
        let facts = Facts { arguments, source: self.agent.source, now: case.at };
        if let Some(results) = engine.results(&Who::from(self.principal), (self.server, tool), &facts, known) {
            let results = match self.route.settings.mode {
                Mode::Enforce => results,
                Mode::Observe => results.noting(),
            };
            case.obliged = std::mem::take(&mut case.obliged).with_results(Some(Arc::new(results)));
        }
        if let Some(session) = case.session.as_ref().filter(|_| case.obliged.touch_results()) {
            session.obliged.store(true, Ordering::Relaxed);
        }
        permit
    }

    /// The same for a task: what it brings is the result of the call that made it, whose arguments were kept for that.
    fn oblige_task(&self, permit: Permit, tool: ToolIndex, id: &str, case: &mut Case) -> Permit {
        if !self.snapshot.engine.judges_results() {
            return self.oblige(permit, tool, (None, Arguments::Known), case);
        }
        let kept = ownership::task_arguments(self.core, self.route, self.principal, id, case.at);
        let mut scratch = Scratch::new();
        match kept.as_deref() {
            Some([]) => self.oblige(permit, tool, (None, Arguments::Known), case),
            Some(raw) => match json::read(&mut scratch, raw, &self.snapshot.json_limits()) {
                Ok(document) => self.oblige(permit, tool, (Some(document.root()), Arguments::Known), case),
                Err(_) => self.oblige(permit, tool, (None, Arguments::Forgotten), case),
            },
            None => self.oblige(permit, tool, (None, Arguments::Forgotten), case),
        }
    }

    /// Takes what a call of a tool uses of rates and budgets; last of all, so that a call that is refused for another reason takes nothing.
    fn charge(&self, permit: Permit, subject: &Subject<'_>, case: &Case) -> Result<Permit, Refusal> {
        let (Subject::Tool { arguments, .. }, Some(tool), false) = (subject, case.tool, case.obliged.is_empty()) else {
            return Ok(permit);
        };
        let engine = &self.snapshot.engine;
        let label = engine.label(self.server, surface::Subject::Tool(tool)).unwrap_or_default();
        let charges = case.obliged.charges(*arguments);
        let agent = self.principal.agent();
        let taken = charges.and_then(|charges| self.core.shared.meters.take(agent, label, &charges, case.at));
        match (taken, self.route.settings.mode) {
            (Ok(()), _) => Ok(permit),
            (Err(unmet), Mode::Enforce) => Err(Refusal::Obligation(unmet)),
            (Err(unmet), Mode::Observe) => {
                engine.observe(unmet.into_denial(), self.server, Action::Tool(tool)).map_err(Refusal::Policy)
            }
        }
    }

    fn era_is_modern(&self) -> bool {
        matches!(self.era, Era::Modern { .. })
    }

    /// `Mcp-Param-*` against the arguments (MCP 2026-07-28: who reads the body must check them).
    fn check_mirrored(&self, arguments: Option<Value<'_>>, case: &Case) -> Result<(), Refusal> {
        let table = case.tool.filter(|_| self.era_is_modern()).and_then(|tool| self.route.param_headers(tool));
        match table {
            Some(table) => table.check(arguments, self.agent.fields()).map_err(Refusal::Era),
            None => Ok(()),
        }
    }

    fn enter(
        self,
        permit: Permit,
        (expect, method): (Expect, Option<Method>),
        arguments: Option<Accepted<'_>>,
        case: &Case,
    ) -> Judged<'j> {
        self.core.counters.add(records::count(&permit));
        let arguments = arguments.map_or(Content::Absent, Content::Read);
        let entered = records::decision((self.core, self.snapshot), self.agent, case, arguments, permit);
        Judged { plan: Plan { era: self.era, expect, method }, entered }
    }
}

/// What a method is answered with.
fn expect(method: Method) -> Expect {
    match method {
        Method::Initialize => Expect::Initialize,
        Method::Discover => Expect::Discover,
        Method::ToolsList => Expect::List("tools"),
        Method::ResourcesList => Expect::List("resources"),
        Method::ResourceTemplatesList => Expect::List("resourceTemplates"),
        Method::PromptsList => Expect::List("prompts"),
        Method::TasksList => Expect::List("tasks"),
        Method::SubscriptionsListen => Expect::Listen,
        Method::Ping
        | Method::ToolsCall
        | Method::ResourcesRead
        | Method::ResourcesSubscribe
        | Method::ResourcesUnsubscribe
        | Method::PromptsGet
        | Method::Complete
        | Method::SetLevel
        | Method::TasksGet
        | Method::TasksResult
        | Method::TasksCancel
        | Method::TasksUpdate => Expect::Result,
    }
}

/// What a call is, in words that bind a `requestState` to it: the method and its subject.
pub struct Call<'a, 'd> {
    /// The method.
    pub method: Method,
    /// What it acts on.
    pub subject: &'a Subject<'d>,
}

impl Call<'_, '_> {
    /// `tools/call read_table`; only made where a `requestState` is at hand.
    pub fn text(&self) -> String {
        Self::words(self.method, self.name())
    }

    /// The same from its parts.
    pub fn words(method: Method, name: &str) -> String {
        format!("{} {name}", method.as_str())
    }

    fn name(&self) -> &str {
        match self.subject {
            Subject::Tool { name, .. } | Subject::Prompt { name, .. } | Subject::CompletePrompt { name } => name,
            Subject::Resource { uri } | Subject::CompleteResource { uri } => uri,
            Subject::Task { id } => id,
            Subject::None | Subject::Listen(_) => "",
        }
    }
}
