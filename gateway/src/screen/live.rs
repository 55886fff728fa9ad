//! Asks the live snapshot about an open stream. In: the way of its call. Out: its parties now, whether it would still begin. Never here: its bytes.

use super::parties;
use crate::judge::Expect;
use crate::relay::Way;
use crate::session::Owed;
use crate::worker::CoreSnapshot;
use portcullis_core::config::settings::Mode;
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::identity::registry::Status;
use portcullis_core::policy::engine::Action;
use portcullis_core::policy::facts::Facts;
use portcullis_core::policy::oblige::Obligations;
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::policy::verdict::Visibility;
use portcullis_core::policy::who::Who;
use portcullis_core::protocol::method::Method;

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

impl Live<'_> {
    /// Whether results of this tool may still come as they were to come when `then` was all that obliged on it.
    fn brings(&self, tool: &str, then: &Obligations) -> bool {
        let engine = &self.snapshot.engine;
        let Ok(tool) = engine.tool(self.server, tool) else { return false };
        // What has to be narrowed since then would pass as it came.
        !then.lack_any_of(&engine.obligations_of(self.server, tool))
            && (self.only_observes() || engine.lists(&self.who, self.server, tool) == Visibility::Listed)
    }

    fn only_observes(&self) -> bool {
        self.snapshot.server(self.server).is_some_and(|route| route.settings.mode == Mode::Observe)
    }

    /// Whether the answer to an earlier request may still reach the agent; nothing is asked where no rules came since.
    pub fn still_owes(&self, owed: &Owed) -> bool {
        self.snapshot.version == owed.version
            || match owed.method {
                Some(Method::ToolsCall) => self.brings(&owed.subject, &owed.obligations),
                // Lists are filtered by what holds now; what else there is has no cell of its own to ask.
                _ => matches!(owed.expect, Expect::List(_) | Expect::Initialize) || self.only_observes(),
            }
    }
}

/// Whether the live snapshot would still let this stream begin.
pub fn still_granted(way: &Way<'_>) -> bool {
    let Some(live) = Live::of(way) else { return false };
    let (then, now) = (&way.snapshot.engine, &live.snapshot.engine);
    let facts = Facts { arguments: None, source: way.case.source, now: way.core.now() };
    match way.case.tool.and_then(|tool| Some((tool, then.tool_name(way.server, tool)?))) {
        Some((tool, name)) => {
            let obligations = then.obligations_of(way.server, tool);
            // Another group may be another one's duties.
            let regrouped = !obligations.is_empty() && groups(way.snapshot, way) != groups(&live.snapshot, way);
            !regrouped && live.brings(name, &obligations)
        }
        None => live.only_observes() || now.decide(&live.who, live.server, Action::Connect, &facts).is_ok(),
    }
}

/// The groups of the agent under a snapshot.
fn groups<'s>(snapshot: &'s Snapshot, way: &Way<'_>) -> Option<&'s [Box<str>]> {
    let agent = snapshot.registry.find(way.case.principal.as_ref()?.agent())?;
    Some(&snapshot.registry.agent(agent)?.groups)
}
