//! Asks the live snapshot about an open stream. In: the way of its call. Out: its parties now, whether it would still begin. Never here: its bytes.

use super::parties;
use crate::relay::Way;
use crate::worker::CoreSnapshot;
use portcullis_core::config::settings::Mode;
use portcullis_core::identity::registry::Status;
use portcullis_core::policy::engine::Action;
use portcullis_core::policy::facts::Facts;
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::policy::verdict::Visibility;
use portcullis_core::policy::who::Who;

/// The parties of an open stream as the live snapshot knows them: positions may have moved, names have not.
pub struct Live<'a> {
    /// What holds now.
    pub snapshot: CoreSnapshot,
    /// The server in it.
    pub server: ServerIndex,
    /// The agent in it.
    pub who: Who<'a>,
}

impl<'a> Live<'a> {
    /// None where the server or the agent is gone, or the agent is not active.
    pub fn of(way: &'a Way<'_>) -> Option<Self> {
        let (principal, route) = parties(way).ok()?;
        let snapshot = way.core.snapshot();
        let agent = snapshot.registry.find(principal.agent())?;
        let active = snapshot.registry.agent(agent).is_some_and(|agent| agent.status == Status::Active);
        let server = snapshot.engine.server(&route.settings.name).filter(|_| active)?;
        let who = Who { agent, ..Who::from(principal) };
        Some(Self { snapshot, server, who })
    }
}

/// Whether the live snapshot would still let this stream begin.
pub fn still_granted(way: &Way<'_>) -> bool {
    let Some(live) = Live::of(way) else { return false };
    let engine = &live.snapshot.engine;
    if live.snapshot.server(live.server).is_some_and(|route| route.settings.mode == Mode::Observe) {
        return true;
    }
    let facts = Facts { arguments: None, source: way.case.source, now: way.core.now() };
    match way.case.tool.and_then(|tool| way.snapshot.engine.tool_name(way.server, tool)) {
        Some(name) => {
            let Ok(tool) = engine.tool(live.server, name) else { return false };
            // What has to be narrowed since then would pass as it came.
            let then =
                way.case.tool.map(|tool| way.snapshot.engine.obligations_of(way.server, tool)).unwrap_or_default();
            let narrower = then.lack_any_of(&engine.obligations_of(live.server, tool));
            !narrower && engine.lists(&live.who, live.server, tool) == Visibility::Listed
        }
        None => engine.decide(&live.who, live.server, Action::Connect, &facts).is_ok(),
    }
}
