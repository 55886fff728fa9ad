//! Lists the tools a server offers. In: how to reach it. Out: its tool definitions, as it words them. Never here: whether they are approved.
//!
//! A small MCP client of the control plane: the modern revision first, the handshake of older ones where the server knows no better.

pub mod answer;
pub mod client;
pub mod failure;

use self::client::{Answered, Client, Field};
use self::failure::LearnFailure;
use hyper::Method;
use portcullis_core::config::snapshot::{self, SETTINGS_FILE, Texts};
use portcullis_core::diagnostic::Diagnostics;
use portcullis_core::policy::catalogue::TOOLS_MAX;
use portcullis_core::protocol::revision::Revision;
use portcullis_core::secret::Secret;
use portcullis_core::token::credential::Lender;
use portcullis_core::token::secrets::Secrets;
use serde_json::{Value, json};

/// Pages of one list; servers send 50 to 100 tools a page.
const PAGES_MAX: usize = 1_000;

/// The newest revision with a handshake.
const LEGACY: Revision = Revision::V2025_11_25;

/// The credentials of every server, for a client that runs before there is a snapshot.
pub fn lender(mut texts: Texts) -> Result<Lender, Diagnostics> {
    let wanted: Vec<_> = texts.settings.servers.iter().map(snapshot::wanted).collect();
    let secrets = match texts.secrets.take() {
        None => Secrets::none(),
        Some(text) => {
            // Held as a secret, so that it is wiped.
            let held = Secret::new(text.text);
            Secrets::parse(held.expose(), &text.file)?
        }
    };
    Lender::build(&wanted, &secrets, SETTINGS_FILE)
}

/// Every tool the server lists to us. `seen` is told how many have come so far.
pub async fn tools(client: &Client<'_>, seen: &(dyn Fn(usize) + Sync)) -> Result<Vec<Value>, LearnFailure> {
    let spoken = &client.server.revisions;
    let modern = spoken.iter().find(|revision| revision.is_modern());
    let legacy = spoken.iter().any(|revision| !revision.is_modern());
    if let Some(revision) = modern {
        match discover(client, *revision).await {
            Ok(()) => return pages(client, &Manner::Modern(*revision), seen).await,
            Err(failure) if legacy && failure.invites_legacy() => {}
            Err(failure) => return Err(failure),
        }
    }
    let session = initialize(client).await?;
    let listed = pages(client, &session, seen).await;
    session.end(client).await;
    listed
}

/// How requests look after the first.
enum Manner {
    Modern(Revision),
    Legacy { revision: String, session: Option<String> },
}

impl Manner {
    fn fields<'m>(&'m self, method: &'m str) -> Vec<Field<'m>> {
        match self {
            Self::Modern(revision) => vec![("mcp-protocol-version", revision.as_str()), ("mcp-method", method)],
            Self::Legacy { revision, session } => {
                let session = session.as_deref().map(|id| ("mcp-session-id", id));
                [("mcp-protocol-version", &**revision)].into_iter().chain(session).collect()
            }
        }
    }

    fn meta(&self) -> Option<Value> {
        match self {
            Self::Modern(revision) => Some(json!({
                "io.modelcontextprotocol/protocolVersion": revision.as_str(),
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": us(),
            })),
            Self::Legacy { .. } => None,
        }
    }

    async fn end(&self, client: &Client<'_>) {
        if let Self::Legacy { session: Some(_), .. } = self {
            // A server that keeps sessions for ever refuses this; that is its own affair.
            let _ = client.tell(Method::DELETE, &self.fields(""), String::new()).await;
        }
    }
}

fn us() -> Value {
    json!({"name": "portcullis", "version": env!("CARGO_PKG_VERSION")})
}

async fn call(
    client: &Client<'_>,
    manner: &Manner,
    id: i64,
    method: &str,
    mut params: Value,
) -> Result<Answered, LearnFailure> {
    if let (Some(meta), Some(params)) = (manner.meta(), params.as_object_mut()) {
        params.insert("_meta".into(), meta);
    }
    let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    client.ask(&manner.fields(method), id, &body).await
}

async fn discover(client: &Client<'_>, revision: Revision) -> Result<(), LearnFailure> {
    let answered = call(client, &Manner::Modern(revision), 1, "server/discover", json!({})).await?;
    let supported =
        answered.result.as_ref().and_then(|result| result.get("supportedVersions")).and_then(Value::as_array);
    match supported.into_iter().flatten().any(|version| version.as_str() == Some(revision.as_str())) {
        true => Ok(()),
        false => Err(LearnFailure::NotAnAnswer("it supports no revision of ours")),
    }
}

async fn initialize(client: &Client<'_>) -> Result<Manner, LearnFailure> {
    let params = json!({"protocolVersion": LEGACY.as_str(), "capabilities": {}, "clientInfo": us()});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
    let answered = client.ask(&[], 1, &body).await?;
    let agreed = answered.result.as_ref().and_then(|result| result.get("protocolVersion")).and_then(Value::as_str);
    let agreed = agreed.and_then(Revision::parse).filter(|revision| client.server.revisions.contains(revision));
    let revision = agreed.ok_or(LearnFailure::NotAnAnswer("it supports no revision of ours"))?.as_str().to_owned();
    let manner = Manner::Legacy { revision, session: answered.session };
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    client.tell(Method::POST, &manner.fields(""), ready.to_string()).await?;
    Ok(manner)
}

async fn pages(
    client: &Client<'_>,
    manner: &Manner,
    seen: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Value>, LearnFailure> {
    let mut tools = Vec::new();
    let mut cursor: Option<String> = None;
    for id in (2..).take(PAGES_MAX) {
        let params = cursor.take().map_or_else(|| json!({}), |cursor| json!({"cursor": cursor}));
        let Some(Value::Object(mut result)) = call(client, manner, id, "tools/list", params).await?.result else {
            return Err(LearnFailure::NotAnAnswer("no result"));
        };
        let Some(Value::Array(page)) = result.remove("tools") else {
            return Err(LearnFailure::NotAnAnswer("no list of tools"));
        };
        tools.extend(page);
        seen(tools.len());
        if tools.len() > TOOLS_MAX {
            return Err(LearnFailure::TooMany);
        }
        match result.remove("nextCursor") {
            Some(Value::String(next)) => cursor = Some(next),
            Some(_) | None => return Ok(tools),
        }
    }
    Err(LearnFailure::TooMany)
}

#[cfg(test)]
mod tests;
