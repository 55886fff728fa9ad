//! Walks through MCP with the Rust SDK and says how each step went: `client URL TOKEN ERA`, with ERA one of
//! legacy, modern and auto, and `-` for no token. One JSON line a step; the exit code is 1 if any step failed.
#![expect(deprecated, reason = "roots and sampling are deprecated and still part of every revision")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientCapabilities, ClientConfig, ClientRequest,
    CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams, ElicitResult, ElicitationAction,
    GetPromptRequestParams, Implementation, ProgressNotificationParam, ProtocolVersion, ReadResourceRequestParams,
    SamplingMessage,
};
use rmcp::service::{
    ClientLifecycleMode, ClientServiceExt, NotificationContext, PeerRequestOptions, RequestContext, RoleClient,
    RunningService,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ErrorData};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

/// A scripted MCP client.
#[derive(Debug, Parser)]
#[command(name = "client")]
struct Arguments {
    /// Endpoint, such as http://127.0.0.1:8000/mcp.
    url: String,
    /// Bearer token, or `-`.
    token: String,
    /// How to open: initialize, server/discover, or whichever the server knows.
    #[arg(value_parser = ["legacy", "modern", "auto"])]
    era: String,
}

#[derive(Clone)]
struct Agent {
    progress: Arc<Mutex<Vec<f64>>>,
    seen: watch::Sender<usize>,
}

impl ClientHandler for Agent {
    fn get_info(&self) -> ClientConfig {
        let capabilities = ClientCapabilities::builder().enable_elicitation().enable_sampling().enable_roots().build();
        ClientConfig::new(capabilities, Implementation::new("portcullis-client", env!("CARGO_PKG_VERSION")))
    }

    async fn create_message(
        &self,
        _params: CreateMessageRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        Ok(CreateMessageResult::new(SamplingMessage::assistant_text(SAMPLED), "scripted".to_owned()))
    }

    async fn create_elicitation(
        &self,
        _request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let content = json!({"username": "grace", "email": "grace@example.com", "name": "grace"});
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(content))
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _context: NotificationContext<RoleClient>) {
        let mut progress = self.progress.lock().expect("no step panics while it holds this");
        progress.push(params.progress);
        self.seen.send_replace(progress.len());
    }
}

type Session = RunningService<RoleClient, Agent>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let agent = Agent { progress: Arc::default(), seen: watch::channel(0).0 };
    let mut failed = 0;
    let opened = report(&arguments.era, "connect", connect(&arguments, agent.clone()).await, &mut failed);
    if let Some(session) = opened {
        let modern = session.peer_info().is_some_and(|info| info.protocol_version.as_str() >= "2026-07-28");
        let era = arguments.era.as_str();
        report(era, "tools_list", tools_list(&session).await, &mut failed);
        report(era, "call", call(&session).await, &mut failed);
        report(era, "progress", progress(&session, &agent).await, &mut failed);
        report(era, "sampling", sampling(&session, modern).await, &mut failed);
        report(era, "elicitation", elicitation(&session, modern).await, &mut failed);
        report(era, "cancellation", cancellation(&session, &agent).await, &mut failed);
        report(era, "resources", resources(&session).await, &mut failed);
        report(era, "prompts", prompts(&session).await, &mut failed);
        let closed = session.cancel().await.context("cannot close").map(|_| ((), "closed".to_owned()));
        report(era, "close", closed, &mut failed);
    }
    std::process::exit(i32::from(failed > 0));
}

/// Prints the step's line; gives its value back if it went well.
fn report<T>(era: &str, step: &str, outcome: anyhow::Result<(T, String)>, failed: &mut usize) -> Option<T> {
    let (value, ok, detail) = match outcome {
        Ok((value, detail)) => (Some(value), true, detail),
        Err(error) => (None, false, format!("{error:#}")),
    };
    *failed += usize::from(!ok);
    println!("{}", json!({"client": "rmcp", "era": era, "step": step, "ok": ok, "detail": detail}));
    value
}

async fn connect(arguments: &Arguments, agent: Agent) -> anyhow::Result<(Session, String)> {
    let mut config = StreamableHttpClientTransportConfig::with_uri(arguments.url.as_str());
    if arguments.token != "-" {
        config = config.auth_header(arguments.token.as_str());
    }
    let transport = StreamableHttpClientTransport::from_config(config);
    let modern = vec![ProtocolVersion::V_2026_07_28];
    let lifecycle = match arguments.era.as_str() {
        "legacy" => ClientLifecycleMode::Initialize,
        "modern" => ClientLifecycleMode::Discover { preferred_versions: modern },
        _ => ClientLifecycleMode::Auto { preferred_versions: modern, legacy_version: None },
    };
    let session = limited(agent.serve_with_lifecycle(transport, lifecycle)).await?;
    let info = session.peer_info().context("the server did not introduce itself")?;
    let detail = info.protocol_version.to_string();
    Ok((session, detail))
}

async fn tools_list(session: &Session) -> anyhow::Result<((), String)> {
    let tools = limited(session.list_all_tools()).await?;
    ensure!(tools.iter().any(|tool| tool.name == "test_simple_text"), "test_simple_text is not listed");
    Ok(((), format!("{} tools", tools.len())))
}

async fn call(session: &Session) -> anyhow::Result<((), String)> {
    let said = called(session, "test_simple_text", json!({})).await?;
    ensure!(said == "This is a simple text response for testing.", "unexpected answer: {said}");
    Ok(((), said))
}

async fn progress(session: &Session, agent: &Agent) -> anyhow::Result<((), String)> {
    agent.progress.lock().expect("no step panics while it holds this").clear();
    called(session, "test_tool_with_progress", json!({})).await?;
    // Notifications are handled beside the result, so the last one may still be on its way.
    let mut seen = agent.seen.subscribe();
    timeout(STEP_MAX, seen.wait_for(|seen| *seen == 3)).await.context("fewer than three steps arrived")??;
    let progress = agent.progress.lock().expect("no step panics while it holds this").clone();
    ensure!(progress == [0.0, 50.0, 100.0], "unexpected progress: {progress:?}");
    Ok(((), format!("{progress:?}")))
}

async fn sampling(session: &Session, modern: bool) -> anyhow::Result<((), String)> {
    let tool = if modern { "test_input_required_result_sampling" } else { "test_sampling" };
    let said = called(session, tool, json!({"prompt": "What is the capital of France?"})).await?;
    ensure!(said.contains(SAMPLED), "unexpected answer: {said}");
    Ok(((), said))
}

async fn elicitation(session: &Session, modern: bool) -> anyhow::Result<((), String)> {
    let tool = if modern { "test_input_required_result_elicitation" } else { "test_elicitation" };
    let said = called(session, tool, json!({"message": "Who are you?"})).await?;
    ensure!(said.contains("grace"), "unexpected answer: {said}");
    Ok(((), said))
}

async fn cancellation(session: &Session, agent: &Agent) -> anyhow::Result<((), String)> {
    let label = format!("rust-{}", std::process::id());
    let params = params("slow_compute", json!({"seconds": 60, "label": label}))?;
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
    agent.seen.send_replace(0);
    let handle = limited(session.send_cancellable_request(request, PeerRequestOptions::no_options())).await?;
    // The first progress says that the call is under way.
    let mut seen = agent.seen.subscribe();
    timeout(STEP_MAX, seen.wait_for(|seen| *seen > 0)).await.context("the call never began")??;
    limited(handle.cancel(Some("changed my mind".to_owned()))).await?;
    let said = called(session, "test_cancelled_calls", json!({"label": label})).await?;
    Ok(((), said))
}

async fn resources(session: &Session) -> anyhow::Result<((), String)> {
    let resources = limited(session.list_all_resources()).await?;
    ensure!(resources.iter().any(|resource| resource.uri == "test://static-text"), "test://static-text is not listed");
    let read = limited(session.read_resource(ReadResourceRequestParams::new("test://static-text"))).await?;
    let text = serde_json::to_value(&read.contents)?;
    let text = text.pointer("/0/text").and_then(Value::as_str).unwrap_or_default().to_owned();
    ensure!(text == "This is the content of the static text resource.", "unexpected text: {text}");
    Ok(((), format!("{} resources", resources.len())))
}

async fn prompts(session: &Session) -> anyhow::Result<((), String)> {
    let prompts = limited(session.list_all_prompts()).await?;
    let arguments = json!({"arg1": "hello", "arg2": "world"});
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    let request = GetPromptRequestParams::new("test_prompt_with_arguments").with_arguments(arguments);
    let prompt = serde_json::to_value(limited(session.get_prompt(request)).await?)?;
    let text = prompt.pointer("/messages/0/content/text").and_then(Value::as_str).unwrap_or_default();
    ensure!(text == "Prompt with arguments: arg1='hello', arg2='world'", "unexpected prompt: {text}");
    Ok(((), format!("{} prompts", prompts.len())))
}

/// The first text of a tool's successful answer.
async fn called(session: &Session, tool: &str, arguments: Value) -> anyhow::Result<String> {
    let result = limited(session.call_tool(params(tool, arguments)?)).await?;
    let text = serde_json::to_value(&result.content)?;
    let text = text.pointer("/0/text").and_then(Value::as_str).unwrap_or_default().to_owned();
    if result.is_error == Some(true) {
        bail!("{tool} failed: {text}");
    }
    Ok(text)
}

fn params(tool: &str, arguments: Value) -> anyhow::Result<CallToolRequestParams> {
    let arguments = arguments.as_object().cloned().context("arguments must be an object")?;
    Ok(CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments))
}

/// Waits for one answer, but not for ever.
async fn limited<T, E>(work: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    Ok(timeout(STEP_MAX, work).await.context("no answer in time")??)
}

/// What the scripted language model always says.
const SAMPLED: &str = "Paris, said the script";

/// The slowest step waits five seconds by itself.
const STEP_MAX: Duration = Duration::from_secs(15);
