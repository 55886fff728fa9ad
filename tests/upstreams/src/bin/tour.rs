//! Calls tools as several agents with the Rust SDK: `tour --ca FILE URL`. In: a step a line on standard input, as JSON.
//! Out: for each, one JSON line that says what the agent saw. Never here: what it should have seen.
//!
//! Tokens come on standard input because a command line can be read by every user of the machine.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use rmcp::ClientHandler;
use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientConfig, ErrorData, Implementation, ProtocolVersion,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, ClientServiceExt, RoleClient, RunningService, ServiceError,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::{StreamableHttpClientTransportConfig, StreamableHttpError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::timeout;

/// Agents that do what they are told.
#[derive(Debug, Parser)]
#[command(name = "tour")]
struct Arguments {
    /// Endpoint, such as https://127.0.0.1:8443/mcp/crm.
    url: String,
    /// The only authority whose server certificates are trusted, PEM.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
}

/// One thing an agent does. `agent` is a name for the following steps; what proves it is a token, a certificate or both.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    /// Opens MCP in an era, as `agent`.
    Open { agent: String, era: Era, token: Option<String>, certificate: Option<PathBuf> },
    /// Asks for every tool.
    List { agent: String },
    /// Calls a tool.
    Call { agent: String, tool: String, arguments: Map<String, Value> },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Era {
    /// `initialize` and a session.
    Legacy,
    /// `server/discover`, and every request stands alone.
    Modern,
}

/// What the agent saw.
#[derive(Debug, Serialize)]
#[serde(tag = "saw", rename_all = "snake_case")]
enum Saw {
    /// MCP is open in this revision.
    Open { revision: String },
    /// These tools, sorted.
    Tools { names: Vec<String> },
    /// An answer of the tool, `error` where the tool itself says that it failed.
    Answer { content: Value, error: bool },
    /// A JSON-RPC error.
    Refused { code: i32, message: String },
    /// HTTP 401 with this challenge: the agent is not believed.
    Unauthorized { challenge: String },
    /// HTTP 403 with this challenge: it is believed, and may not come in.
    Forbidden { challenge: String },
    /// Neither: no answer, or one that is no MCP.
    Broken { words: String },
}

#[derive(Clone)]
struct Agent;

impl ClientHandler for Agent {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("portcullis-tour", env!("CARGO_PKG_VERSION")),
        )
    }
}

type Session = RunningService<RoleClient, Agent>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let authority = fs::read(&arguments.ca).with_context(|| format!("cannot read `{}`", arguments.ca.display()))?;
    let mut sessions: HashMap<String, Session> = HashMap::new();
    for line in io::stdin().lock().lines() {
        let line = line.context("cannot read standard input")?;
        // The line may hold a token, so it is not repeated.
        let step: Step = serde_json::from_str(&line).context("a line is no step")?;
        let saw = match step {
            Step::Open { agent, era, token, certificate } => {
                match open(&arguments.url, &authority, era, token, certificate.as_deref()).await? {
                    Ok(session) => {
                        let info = session.peer_info().context("the server did not introduce itself")?;
                        let revision = info.protocol_version.to_string();
                        sessions.insert(agent, session);
                        Saw::Open { revision }
                    }
                    Err(saw) => saw,
                }
            }
            Step::List { agent } => list(known(&sessions, &agent)?).await,
            Step::Call { agent, tool, arguments } => call(known(&sessions, &agent)?, tool, arguments).await,
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&saw)?)?;
        out.flush()?;
    }
    for (agent, session) in sessions {
        session.cancel().await.with_context(|| format!("`{agent}` cannot close"))?;
    }
    Ok(())
}

fn known<'s>(sessions: &'s HashMap<String, Session>, agent: &str) -> anyhow::Result<&'s Session> {
    sessions.get(agent).with_context(|| format!("`{agent}` was never opened"))
}

/// Opens MCP; the inner error is what a refused agent sees.
async fn open(
    url: &str,
    authority: &[u8],
    era: Era,
    token: Option<String>,
    certificate: Option<&Path>,
) -> anyhow::Result<Result<Session, Saw>> {
    let trusted = reqwest::Certificate::from_pem(authority).context("the authority is no certificate")?;
    let mut client = reqwest::Client::builder().tls_certs_only([trusted]).no_proxy();
    if let Some(file) = certificate {
        let pem = fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        client =
            client.identity(reqwest::Identity::from_pem(&pem).context("the certificate or its key cannot be used")?);
    }
    let mut config = StreamableHttpClientTransportConfig::with_uri(url);
    if let Some(token) = token {
        config = config.auth_header(token);
    }
    let transport = StreamableHttpClientTransport::with_client(client.build().context("no HTTP client")?, config);
    let lifecycle = match era {
        Era::Legacy => ClientLifecycleMode::Initialize,
        Era::Modern => ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] },
    };
    Ok(match timeout(STEP_MAX, Agent.serve_with_lifecycle(transport, lifecycle)).await {
        Ok(Ok(session)) => Ok(session),
        Ok(Err(ClientInitializeError::JsonRpcError(error))) => Err(refused(error)),
        Ok(Err(ClientInitializeError::TransportError { error, .. })) => Err(broken(&error)),
        Ok(Err(error)) => Err(broken(&error)),
        Err(_) => Err(late()),
    })
}

async fn list(session: &Session) -> Saw {
    match timeout(STEP_MAX, session.list_all_tools()).await {
        Ok(Ok(tools)) => {
            let mut names: Vec<String> = tools.into_iter().map(|tool| tool.name.into_owned()).collect();
            names.sort_unstable();
            Saw::Tools { names }
        }
        Ok(Err(error)) => failed(error),
        Err(_) => late(),
    }
}

async fn call(session: &Session, tool: String, arguments: Map<String, Value>) -> Saw {
    let params = CallToolRequestParams::new(tool).with_arguments(arguments);
    match timeout(STEP_MAX, session.call_tool(params)).await {
        Ok(Ok(result)) => {
            let text = serde_json::to_value(&result.content).unwrap_or_default();
            let content = result.structured_content.unwrap_or(text);
            Saw::Answer { content, error: result.is_error == Some(true) }
        }
        Ok(Err(error)) => failed(error),
        Err(_) => late(),
    }
}

fn failed(error: ServiceError) -> Saw {
    match error {
        ServiceError::McpError(error) => refused(error),
        error => broken(&error),
    }
}

fn refused(error: ErrorData) -> Saw {
    Saw::Refused { code: error.code.0, message: error.message.into_owned() }
}

/// Looks for a challenge among the causes; the SDK wraps it several times.
fn broken(error: &(dyn std::error::Error + 'static)) -> Saw {
    let mut words = error.to_string();
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
            Some(StreamableHttpError::AuthRequired(http)) => {
                return Saw::Unauthorized { challenge: http.www_authenticate_header.clone() };
            }
            Some(StreamableHttpError::InsufficientScope(http)) => {
                return Saw::Forbidden { challenge: http.www_authenticate_header.clone() };
            }
            Some(_) | None => cause = error.source(),
        }
        if let Some(cause) = cause {
            words = format!("{words}: {cause}");
        }
    }
    Saw::Broken { words }
}

fn late() -> Saw {
    Saw::Broken { words: format!("no answer within {} s", STEP_MAX.as_secs()) }
}

/// Everything here runs on one machine; a step takes milliseconds.
const STEP_MAX: Duration = Duration::from_secs(15);
