//! Sends a recorded call and waits for the head of its reply. In: the decision, the credential, the judged body. Out: a reply. Never here:
//! a second attempt once anything was sent.

use crate::counters::Count;
use crate::downstream::Downstream;
use crate::journal::{Decision, Recorded};
use crate::relay::Way;
use crate::upstream::connection::{Reply, UpstreamConnection};
use crate::upstream::request::{self, Outgoing, Verb};
use crate::watch;
use portcullis_core::refusal::{Refusal, RouteRefusal, UpstreamFailure};

/// Sends the call that `decision` permits; the proof that it is recorded is what opens this door.
pub async fn forward(way: &Way<'_>, agent: &Downstream, verb: Verb, decision: &Recorded<Decision>) -> Result<Reply, Refusal> {
    let core = way.core;
    let route = way.snapshot.server(way.server).ok_or(Refusal::Route(RouteRefusal::UnknownPath))?;
    let credential = way.snapshot.lender.lend(way.server, decision.what().permit());
    let timeouts = &way.snapshot.settings.timeouts;
    let (mut connection, born) = match core.pools.take(way.server, way.snapshot.upstream_generation(), timeouts, core.now()) {
        Some(kept) => {
            core.counters.add(Count::UpstreamReuses);
            kept
        }
        None => {
            let opened = UpstreamConnection::open(core, way.snapshot, way.server).await;
            (opened.map_err(Refusal::Upstream)?, core.now())
        }
    };
    let body = match verb {
        Verb::Post => agent.body(),
        Verb::Get | Verb::Delete => b"",
    };
    let session = way.case.session.as_ref().map(|session| &*session.upstream_id);
    let mut bytes = core.buffers.take(body.len() + 1024);
    request::write(&mut bytes, Outgoing { verb, server: &route.settings, credential, session, body }, agent);
    let exchange = async {
        connection.send(core, way.snapshot, bytes).await?;
        Reply::begin(connection, way.snapshot, way.server, born).await
    };
    let outcome = if way.plan.era.is_modern() || verb == Verb::Get {
        // Modern: a client that leaves has cancelled (MCP 2026-07-28); dropping the exchange closes the upstream connection.
        watch::unless_gone(core, agent, exchange).await.ok_or(Refusal::Upstream(UpstreamFailure::Cancelled))?
    } else {
        exchange.await
    };
    outcome.map_err(|failure| {
        core.counters.add(Count::UpstreamFailures);
        Refusal::Upstream(failure)
    })
}
