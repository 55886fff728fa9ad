//! The way of one request. In: a head that has just been read. Out: one answer, recorded before it was given. Never here: the stages themselves.
//!
//! identify → read → decide → record → credential → forward → filter → record → release. Each stage hands the next one a value that only it
//! can make; skipping one does not compile. Refusals leave by one door, which records them too.

use crate::case::Case;
use crate::counters::Gauge;
use crate::downstream::Downstream;
use crate::judge::Judged;
use crate::own::{self, Entrance};
use crate::relay::{self, Way};
use crate::upstream::forward;
use crate::upstream::request::Verb;
use crate::worker::Core;
use crate::{bodyless, identify, judge, refuse};
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::refusal::{Refusal, RouteRefusal};
use std::rc::Rc;

/// Serves the request whose head `agent` holds.
pub async fn serve(core: &Rc<Core>, agent: &mut Downstream) {
    let _open = core.counters.hold(Gauge::RequestsOpen);
    agent.lift_deadline();
    let snapshot = core.snapshot();
    let mut case = Case::begin(core, agent.source);
    let done = match own::entrance(&snapshot, agent) {
        Err(refusal) => Err(Refusal::Route(refusal)),
        Ok(Entrance::Own(page)) => {
            own::answer(core, &snapshot, agent, page).await;
            return;
        }
        Ok(Entrance::Message(server)) => message(core, &snapshot, case.enter(server), agent).await,
        Ok(Entrance::Stream(server)) => bodyless::serve(core, &snapshot, agent, case.enter(server), Verb::Get).await,
        Ok(Entrance::EndSession(server)) => {
            bodyless::serve(core, &snapshot, agent, case.enter(server), Verb::Delete).await
        }
    };
    if let Err(refusal) = done {
        let judged_by = case.rejudged.take().unwrap_or(snapshot);
        refuse::answer(core, &judged_by, agent, &case, &refusal).await;
    }
}

/// A JSON-RPC message: the straight line.
async fn message(core: &Rc<Core>, snapshot: &Snapshot, case: &mut Case, agent: &mut Downstream) -> Result<(), Refusal> {
    let (server, _) = judge::route(snapshot, case)?;
    let principal = identify::principal(core, snapshot, server, agent, case)?;
    let place = identify::place(core, snapshot, &principal)?;
    judge::read(snapshot, agent).await?;
    let live = core.snapshot();
    if live.version != snapshot.version {
        // The rules or the agent changed while the body came: it is judged by what serves now (law 4), and nothing is left to wait for.
        let server = live.route(agent.host(), agent.path()).ok_or(Refusal::Route(RouteRefusal::UnknownPath))?;
        drop((principal, place));
        case.rejudged = Some(live.clone());
        return Box::pin(message(core, &live, case.enter(server), agent)).await;
    }
    let Judged { plan, entered } = judge::message(core, snapshot, &principal, agent, case)?;
    let decision = entered.recorded().await.map_err(Refusal::Journal)?;
    case.decision = Some(decision.sequence());
    let way = Way { core, snapshot, server, case, plan: &plan, obliged: &case.obliged, subject: None };
    let reply = forward::forward(&way, agent, Verb::Post, &decision).await?;
    relay::reply(&way, agent, decision, reply).await
}
