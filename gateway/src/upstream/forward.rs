//! Sends a recorded call and waits for the head of its reply. In: the decision, the judged body. Out: a reply. Never here: a second attempt
//! once anything was sent.

use crate::counters::Count;
use crate::downstream::Downstream;
use crate::journal::{Decision, Recorded};
use crate::relay::Way;
use crate::upstream::connection::{Reply, UpstreamConnection};
use crate::upstream::request::{self, Judged, Outgoing, Verb};
use crate::watch::{self, Leaving};
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::refusal::{Refusal, RouteRefusal, UpstreamFailure};
use portcullis_core::time::UnixMillis;
use std::pin::pin;

/// Room for the head that upstreams see: the fields that every call has, a credential and some mirrored arguments.
const HEAD_ROOM: usize = 2048;

/// Sends the call that `decision` permits; the proof that it is recorded is what opens this door.
pub async fn forward(
    way: &Way<'_>,
    agent: &Downstream,
    verb: Verb,
    decision: &Recorded<Decision>,
) -> Result<Reply, Refusal> {
    let permitted = decision.what().permit().server();
    send(way, agent, verb, permitted).await
}

/// Sends without a decision: the bench's plain proxy.
#[cfg(feature = "bench-pass")]
pub async fn unchecked(way: &Way<'_>, agent: &Downstream, verb: Verb) -> Result<Reply, Refusal> {
    send(way, agent, verb, way.server).await
}

async fn send(way: &Way<'_>, agent: &Downstream, verb: Verb, permitted: ServerIndex) -> Result<Reply, Refusal> {
    let core = way.core;
    let (mut connection, born) = connection(way, permitted).await.map_err(Refusal::Upstream)?;
    let bytes = write(way, agent, verb, permitted, &connection)?;
    let exchange = pin!(async {
        connection.send(core, way.snapshot, bytes).await?;
        Reply::begin(connection, way.snapshot, permitted, born).await
    });
    // Dropping the exchange closes the upstream connection.
    let leaving = if verb == Verb::Get { Leaving::Cancels } else { way.leaving() };
    let outcome = watch::unless_gone(core, agent, leaving, exchange).await;
    outcome.unwrap_or(Err(UpstreamFailure::Cancelled)).map_err(Refusal::Upstream)
}

/// A kept connection, or a new one.
async fn connection(
    way: &Way<'_>,
    server: ServerIndex,
) -> Result<(Box<UpstreamConnection>, UnixMillis), UpstreamFailure> {
    let core = way.core;
    let generation = way.snapshot.upstream_generation();
    if let Some(kept) = core.pools.take(server, generation, &way.snapshot.settings.timeouts, core.now()) {
        core.counters.add(Count::UpstreamReuses);
        return Ok(kept);
    }
    Ok((UpstreamConnection::open(core, way.snapshot, server).await?, core.now()))
}

/// The whole request; the lender compares where the connection really leads before it lends.
fn write(
    way: &Way<'_>,
    agent: &Downstream,
    verb: Verb,
    server: ServerIndex,
    connection: &UpstreamConnection,
) -> Result<Vec<u8>, Refusal> {
    let route = way.snapshot.server(server).ok_or(Refusal::Route(RouteRefusal::UnknownPath))?;
    let lent = way.snapshot.lender.lend(server.0, &connection.destination());
    let credential = lent.map_err(|_| Refusal::Upstream(UpstreamFailure::Untrusted))?;
    let session = way.case.session.as_ref().map(|session| &*session.upstream_id);
    let body = match verb {
        Verb::Post => agent.body(),
        Verb::Get | Verb::Delete => b"",
    };
    let mut bytes = way.core.buffers.take(body.len() + HEAD_ROOM);
    request::write(
        &mut bytes,
        Outgoing { verb, server: &route.settings, credential, session, judged: Judged::of(way.plan), body },
        agent,
    );
    Ok(bytes)
}
