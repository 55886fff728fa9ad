//! Answers what is asked of the gateway itself. In: a request that is for no upstream. Out: health, metadata, preflight. Never here: secrets.

use crate::downstream::{Answer, Downstream};
use crate::http1::field::Field;
use crate::http1::request::Method;
use crate::worker::Core;
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::refusal::RouteRefusal;

/// Where a request leads.
pub enum Entrance {
    /// A JSON-RPC message for a route.
    Message(ServerIndex),
    /// A legacy GET stream of a route.
    Stream(ServerIndex),
    /// The end of a legacy session of a route.
    EndSession(ServerIndex),
    /// A page of our own.
    Own(Page),
}

/// A page of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Alive.
    Healthy,
    /// Ready, or not.
    Ready,
    /// Protected resource metadata of a route (RFC 9728).
    Metadata(ServerIndex),
    /// A browser asks what it may send (the Fetch standard, CORS preflight).
    Preflight,
}

/// RFC 9728 §3.1: the path of a resource is inserted behind this.
const METADATA: &str = "/.well-known/oauth-protected-resource";

/// Finds out where the request leads; Host and Origin come first, against DNS rebinding.
pub fn entrance(snapshot: &Snapshot, agent: &Downstream) -> Result<Entrance, RouteRefusal> {
    let host = agent.host();
    if !snapshot.host_allowed(host) {
        return Err(RouteRefusal::HostNotAllowed);
    }
    if agent.has(Field::Origin) && !agent.text(Field::Origin).is_some_and(|origin| snapshot.origin_allowed(origin)) {
        return Err(RouteRefusal::OriginNotAllowed);
    }
    let path = agent.path();
    if let Some(server) = snapshot.route(host, path) {
        return match agent.method() {
            Method::Post => Ok(Entrance::Message(server)),
            Method::Get => Ok(Entrance::Stream(server)),
            Method::Delete => Ok(Entrance::EndSession(server)),
            Method::Options => Ok(Entrance::Own(Page::Preflight)),
            Method::Head | Method::Put | Method::Patch | Method::Trace | Method::Other => {
                Err(RouteRefusal::MethodNotAllowed)
            }
        };
    }
    let page = match path {
        "/healthz" => Page::Healthy,
        "/readyz" => Page::Ready,
        _ => Page::Metadata(metadata_of(snapshot, host, path).ok_or(RouteRefusal::UnknownPath)?),
    };
    match agent.method() {
        Method::Get | Method::Head => Ok(Entrance::Own(page)),
        Method::Options => Ok(Entrance::Own(Page::Preflight)),
        Method::Post | Method::Delete | Method::Put | Method::Patch | Method::Trace | Method::Other => {
            Err(RouteRefusal::MethodNotAllowed)
        }
    }
}

/// `METADATA/mcp/crm`, or `METADATA` alone where there is but one route.
fn metadata_of(snapshot: &Snapshot, host: &str, path: &str) -> Option<ServerIndex> {
    let route = path.strip_prefix(METADATA)?;
    if route.is_empty() {
        let mut routes = snapshot.routes();
        let (only, _) = routes.next()?;
        return routes.next().is_none().then_some(only);
    }
    snapshot.route(host, route)
}

/// Answers a page of our own.
pub async fn answer(core: &Core, snapshot: &Snapshot, agent: &mut Downstream, page: Page) {
    let cors = agent.cors();
    let json = Some("application/json");
    let answer = match page {
        Page::Healthy => Answer { status: 200, content_type: json, fields: &cors, body: b"{\"status\":\"ok\"}\n" },
        Page::Ready if core.shared.life.is_ready() => {
            Answer { status: 200, content_type: json, fields: &cors, body: b"{\"status\":\"ready\"}\n" }
        }
        Page::Ready => Answer { status: 503, content_type: json, fields: &cors, body: b"{\"status\":\"not ready\"}\n" },
        Page::Metadata(server) => {
            let body = snapshot.server(server).map(|route| &*route.metadata).unwrap_or_default();
            Answer { status: 200, content_type: json, fields: &cors, body }
        }
        Page::Preflight => Answer { status: 204, content_type: None, fields: &cors, body: b"" },
    };
    agent.answer_own(core, &answer, &snapshot.settings.timeouts).await;
}
