//! Remembers what is known of the request under way. In: each stage's findings. Out: what its records say. Never here: permission; nothing
//! is allowed because it stands here.

use crate::downstream::Downstream;
use crate::session::{Session, UnderWay};
use crate::worker::{Core, CoreSnapshot};
use portcullis_core::filter::place::Counts;
use portcullis_core::identity::principal::Principal;
use portcullis_core::policy::catalogue::ToolIndex;
use portcullis_core::policy::oblige::Obligations;
use portcullis_core::policy::result::Withheld;
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::protocol::revision::Revision;
use portcullis_core::time::UnixMillis;
use std::cell::RefCell;
use std::net::IpAddr;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// The findings so far. Ranges point into the request's body.
pub struct Case {
    /// The rules that judged it, where others came into force while it was read: a refusal is told and recorded under them.
    pub rejudged: Option<CoreSnapshot>,
    /// When the head had been read.
    pub began: Instant,
    /// The same on the core's clock.
    pub at: UnixMillis,
    /// The agent's address.
    pub source: IpAddr,
    /// The route.
    pub server: Option<ServerIndex>,
    /// Who sent it.
    pub principal: Option<Rc<Principal>>,
    /// The JSON-RPC method, once it is known to be one we know or that the configuration names.
    pub method: Option<&'static str>,
    /// The raw JSON-RPC id; empty for none.
    pub id: Range<usize>,
    /// The raw name or URI that is asked for, with its quotes; empty for none.
    pub subject: Range<usize>,
    /// The raw arguments; empty for none.
    pub arguments: Range<usize>,
    /// The tool, where it is a known one.
    pub tool: Option<ToolIndex>,
    /// The revision spoken.
    pub revision: Option<Revision>,
    /// The legacy session.
    pub session: Option<Arc<Session>>,
    /// That its id is taken in that session.
    pub under_way: Option<UnderWay>,
    /// The sequence number of the decision's record, once made.
    pub decision: Option<u64>,
    /// What the decision obliges to.
    pub obliged: Obligations,
    /// What was done about it so far.
    pub applied: RefCell<Applied>,
}

/// What obligations did to what comes back.
#[derive(Default)]
pub struct Applied {
    /// Those that did.
    pub obligations: Obligations,
    /// How much of what.
    pub counts: Counts,
    /// Why an answer was replaced by a refusal, where it was.
    pub withheld: Option<&'static str>,
    /// What rules over results objected to it, where they did; on a route that only observes it passed.
    pub objected: Option<Withheld>,
}

impl Case {
    /// A request of which nothing is known yet.
    pub fn begin(core: &Core, source: IpAddr) -> Self {
        Self {
            rejudged: None,
            began: Instant::now(),
            at: core.now(),
            source,
            server: None,
            principal: None,
            method: None,
            id: 0..0,
            subject: 0..0,
            arguments: 0..0,
            tool: None,
            revision: None,
            session: None,
            under_way: None,
            decision: None,
            obliged: Obligations::default(),
            applied: RefCell::default(),
        }
    }

    /// The route is known.
    pub fn enter(&mut self, server: ServerIndex) -> &mut Self {
        self.server = Some(server);
        self
    }

    /// The raw id as it stands in the body, for the exact echo.
    pub fn raw_id<'a>(&self, agent: &'a Downstream) -> Option<&'a [u8]> {
        agent.body().get(self.id.clone()).filter(|id| !id.is_empty())
    }

    /// Microseconds since the head had been read.
    pub fn microseconds(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
