//! Answers a server's request in the agent's stead, when policy keeps it from the agent. In: the request's id. Out: a JSON-RPC error on its
//! way to the server, so that it does not wait. Never here: the agent's bytes.

use crate::relay::Way;
use crate::upstream::connection::{Reply, UpstreamConnection};
use crate::upstream::request;
use crate::worker::Core;
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::protocol::code;
use portcullis_core::protocol::reply::{self, ErrorReply};
use portcullis_core::refusal::UpstreamFailure;
use std::rc::Rc;
use std::sync::Arc;

/// Sends the error on a connection of its own; the agent's stream goes on meanwhile.
pub fn decline(way: &Way<'_>, id: &[u8]) {
    let Some(session) = &way.case.session else { return };
    let Some(place) = Place::take(way.core) else { return };
    let mut body = Vec::new();
    reply::write_error(Some(id), &ErrorReply::new(code::DENIED, "denied by policy"), &mut body);
    let (core, snapshot) = (way.core.clone(), way.core.snapshot());
    // Positions may have moved since the call was judged; the name has not.
    let Some(server) = snapshot.engine.server(&session.server) else { return };
    let (session, revision) = (session.upstream_id.clone(), session.revision.as_str());
    portcullis_ring::spawn(async move {
        let _place = place;
        let sent = send(&core, &snapshot, server, &body, &session, revision).await;
        if let Err(failure) = sent {
            tracing::warn!(
                reason = failure.name(),
                "a server's request that policy keeps from the agent could not be answered"
            );
        }
    });
}

/// Declines of one core under way. A server that asks faster than it takes its answers waits for those that are not given.
const DECLINES_MAX: usize = 16;

/// One of them.
struct Place(Rc<Core>);

impl Place {
    fn take(core: &Rc<Core>) -> Option<Self> {
        if core.declines.get() >= DECLINES_MAX {
            return None;
        }
        core.declines.set(core.declines.get() + 1);
        Some(Self(core.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.declines.set(self.0.declines.get().saturating_sub(1));
    }
}

async fn send(
    core: &Rc<Core>,
    snapshot: &Arc<Snapshot>,
    server: ServerIndex,
    body: &[u8],
    session: &str,
    revision: &str,
) -> Result<(), UpstreamFailure> {
    let mut connection = UpstreamConnection::open(core, snapshot, server).await?;
    let route = snapshot.server(server).ok_or(UpstreamFailure::NoAddress)?;
    let lent = snapshot.lender.lend(server.0, &connection.destination());
    let credential = lent.map_err(|_| UpstreamFailure::Untrusted)?;
    let mut bytes = core.buffers.take(body.len() + 1024);
    request::write_own(&mut bytes, &route.settings, credential, (session, revision), body);
    connection.send(core, snapshot, bytes).await?;
    let mut reply = Reply::begin(connection, snapshot, server, core.now()).await?;
    let mut ignored = Vec::new();
    reply.whole(&mut ignored, 64 * 1024).await?;
    reply.finish(core);
    Ok(())
}
