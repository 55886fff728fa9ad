//! Brings the reply back. In: a reply to a recorded call. Out: bytes released to the agent, recorded before they were. Never here: what a
//! result means, which is `screen`'s.

use crate::case::Case;
use crate::downstream::{Answer, Downstream, Head, UNAWAITED_BYTES_MAX};
use crate::http1::response::Content as Media;
use crate::journal::{Decision, Recorded};
use crate::judge::{Expect, Plan};
use crate::long::{self, Demand, Passed};
use crate::records;
use crate::screen::{self, Change};
use crate::session::Session;
use crate::stream;
use crate::upstream::connection::Reply;
use crate::watch::{self, Leaving};
use crate::worker::Core;
use portcullis_core::audit::capture::Content;
use portcullis_core::audit::record::Outcome;
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::policy::oblige::Obligations;
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::protocol::era::Era;
use portcullis_core::refusal::{Refusal, SessionRefusal, UpstreamFailure};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

/// What the way back needs at hand, beside the reply.
pub struct Way<'a> {
    /// This core.
    pub core: &'a Rc<Core>,
    /// The snapshot the call was judged by.
    pub snapshot: &'a Snapshot,
    /// The route.
    pub server: ServerIndex,
    /// What is known of the call.
    pub case: &'a Case,
    /// What the reply is to be.
    pub plan: &'a Plan,
    /// What the decision obliges to.
    pub obliged: &'a Obligations,
    /// What the call was about, where its body is not at hand: a resumed stream brings the answers of earlier requests.
    pub subject: Option<&'a str>,
}

impl Way<'_> {
    /// Whether the agent listens rather than waits for an answer: such a stream is bounded by its token, not by a call's time.
    pub fn is_listening(&self) -> bool {
        self.plan.expect == Expect::Listen
    }

    /// Whether leaving cancels.
    pub fn is_modern(&self) -> bool {
        matches!(self.plan.era, Era::Modern { .. })
    }

    /// Modern: a client that leaves has cancelled, also in the middle of an answer (MCP 2026-07-28).
    pub fn leaving(&self) -> Leaving {
        if self.is_modern() { Leaving::Cancels } else { Leaving::Ignored }
    }
}

/// Brings `reply` back to `agent`. `decision` is spent: one decision, one reply.
pub fn reply<'w>(
    way: &'w Way<'w>,
    agent: &'w mut Downstream,
    decision: Recorded<Decision>,
    reply: Reply,
) -> impl Future<Output = Result<(), Refusal>> {
    // At once, and not by the future: a stream is held for hours.
    drop(decision);
    bring(way, agent, reply)
}

async fn bring(way: &Way<'_>, agent: &mut Downstream, reply: Reply) -> Result<(), Refusal> {
    let status = reply.head.status;
    match (status, reply.head.content) {
        (200, Media::EventStream) => stream::relay(way, agent, reply).await,
        (202 | 204, _) | (200, Media::Untyped) if way.plan.expect == Expect::Accepted => {
            accepted(way, agent, reply).await
        }
        (404, _) if way.case.session.is_some() => Err(lost_session(way)),
        // What it says of its own credentials would send the agent to the wrong authority.
        (401 | 403 | 407, _) => Err(Refusal::Upstream(UpstreamFailure::Refused(status))),
        (200, Media::Json) => json(way, agent, reply).await,
        // Clients find out what a server speaks by its 4xx, so the status stays; words that are no JSON-RPC answer do not.
        (400..=499, Media::Json) => match whole(way, agent, reply, Demand::Whole).await {
            Err(Refusal::Upstream(UpstreamFailure::NotAnAnswer)) => {
                Err(Refusal::Upstream(UpstreamFailure::Declined(status)))
            }
            done => done,
        },
        (400..=499, _) => Err(Refusal::Upstream(UpstreamFailure::Declined(status))),
        (_, Media::Json | Media::EventStream | Media::Other | Media::Untyped) => {
            Err(Refusal::Upstream(UpstreamFailure::Refused(status)))
        }
    }
}

/// A JSON answer: passed on as it comes, where it may be, or read whole.
async fn json(way: &Way<'_>, agent: &mut Downstream, mut reply: Reply) -> Result<(), Refusal> {
    let demand = long::demand(way, &reply);
    if demand == Demand::Beginning {
        match long::pass(way, agent, reply).await? {
            Passed::Done => return Ok(()),
            Passed::Not(back) => reply = back,
        }
    }
    whole(way, agent, reply, demand).await
}

/// The upstream took a notification or an answer.
async fn accepted(way: &Way<'_>, agent: &mut Downstream, mut reply: Reply) -> Result<(), Refusal> {
    let mut nothing = Vec::new();
    reply.whole(&mut nothing, 0).await.map_err(Refusal::Upstream)?;
    reply.finish(way.core);
    let recorded = records::result(way, 202, Outcome::Accepted, Content::Absent).recorded().await;
    let recorded = recorded.map_err(Refusal::Journal)?;
    let fields = agent.cors();
    let answer = Answer { status: 202, content_type: None, fields: &fields, body: b"" };
    agent.release(way.core, recorded, &answer, &way.snapshot.settings.timeouts).await;
    Ok(())
}

/// The upstream has forgotten the session; the agent must hear 404, so that it initializes anew.
fn lost_session(way: &Way<'_>) -> Refusal {
    if let Some(session) = &way.case.session {
        way.core.shared.sessions.close(&session.id);
    }
    Refusal::Session(SessionRefusal::Unknown)
}

/// A JSON answer: read whole, screened, recorded, released. Where only its beginning is asked for and is as it must be, it is not screened.
async fn whole(way: &Way<'_>, agent: &mut Downstream, mut reply: Reply, demand: Demand) -> Result<(), Refusal> {
    let status = reply.head.status;
    let session = reply.session_id.take();
    let limits = &way.snapshot.settings.limits;
    let mut body = way.core.buffers.take(reply.room(limits.result_bytes_max));
    let read = {
        let reading = pin!(reply.whole(&mut body, limits.result_bytes_max));
        watch::unless_gone(way.core, agent, way.leaving(), reading).await
    };
    read.unwrap_or(Err(UpstreamFailure::Cancelled)).map_err(Refusal::Upstream)?;
    reply.finish(way.core);
    let mut changed = way.core.buffers.take(0);
    let passed = demand == Demand::Beginning && long::begins(way, agent, &body);
    let screened = match passed {
        true => screen::Whole { read: None, change: Change::AsItIs, revision: None, is_error: false },
        false => screen::whole(way, agent, &body, &mut changed).map_err(Refusal::Upstream)?,
    };
    let session = open_session(way, session, screened.revision)?;
    let outcome = match (passed, screened.is_error) {
        (true, _) => Outcome::Passed,
        (false, true) => Outcome::Error,
        (false, false) => Outcome::Complete,
    };
    let change = screened.change;
    let content = match (change, screened.read) {
        (Change::AsItIs, Some(read)) => Content::Read(read),
        (Change::AsItIs, None) => Content::Whole(&body),
        (Change::Changed, _) => Content::Whole(&changed),
    };
    let recorded = records::result(way, status, outcome, content).recorded().await.map_err(Refusal::Journal)?;
    let (bytes, spare) = match change {
        Change::AsItIs => (body, changed),
        Change::Changed => (changed, body),
    };
    way.core.buffers.give(spare);
    let mut fields = agent.cors();
    if let Some(session) = &session {
        records::field(&mut fields, "Mcp-Session-Id", &session.id);
    }
    let content_type = Some("application/json");
    let timeouts = &way.snapshot.settings.timeouts;
    if bytes.len() > UNAWAITED_BYTES_MAX {
        let head = Head { status, content_type, length: bytes.len() as u64, fields: &fields };
        // An agent that reads slowly may be suspended before it has read all.
        let stopped = {
            let releasing = pin!(agent.release_long(way.core, recorded, &head, bytes, timeouts));
            stream::unless_stopped(way, releasing).await.is_err()
        };
        if stopped {
            agent.break_off();
        }
    } else {
        let answer = Answer { status, content_type, fields: &fields, body: &bytes };
        agent.release(way.core, recorded, &answer, timeouts).await;
        way.core.buffers.give(bytes);
    }
    Ok(())
}

/// Binds a freshly opened session to its principal, under an id of our own.
pub fn open_session(
    way: &Way<'_>,
    upstream_id: Option<Box<str>>,
    revision: Option<portcullis_core::protocol::revision::Revision>,
) -> Result<Option<Arc<Session>>, Refusal> {
    let (Some(upstream_id), Some(revision), Expect::Initialize) = (upstream_id, revision, way.plan.expect) else {
        return Ok(None);
    };
    let route = way.snapshot.server(way.server).ok_or(Refusal::Session(SessionRefusal::Unknown))?;
    let principal = way.case.principal.as_ref().ok_or(Refusal::Session(SessionRefusal::Unknown))?;
    let opened = way.core.shared.sessions.open(principal, &route.settings.name, &upstream_id, revision, way.case.at);
    opened.map(Some).map_err(|_| Refusal::Session(SessionRefusal::TooMany))
}
