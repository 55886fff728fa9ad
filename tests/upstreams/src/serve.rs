//! Serves a handler over Streamable HTTP on loopback. In: a handler, options. Out: an endpoint at `/mcp`,
//! announced as the first line of stdout. Never here: tools.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::Router;
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::{SessionManager, StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How an upstream is reached and what it demands.
#[derive(Debug, Clone, clap::Args)]
pub struct HttpOptions {
    /// TCP port on 127.0.0.1; 0 chooses a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Answer 401 to every request that does not carry this header with exactly this value.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_header)]
    pub require_header: Option<RequiredHeader>,
    /// Append one JSON line per HTTP request received: method, path, headers and body.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// A header without which the upstream refuses.
#[derive(Debug, Clone)]
pub struct RequiredHeader {
    name: HeaderName,
    value: HeaderValue,
}

/// Serves `handler` (made anew for every session or stateless request) until the process ends.
pub async fn serve<H, M, F>(options: HttpOptions, sessions: Arc<M>, handler: F) -> anyhow::Result<()>
where
    H: ServerHandler,
    M: SessionManager,
    F: Fn() -> H + Send + Sync + 'static,
{
    let port = options.port;
    let router = endpoint(options, sessions, handler)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("cannot listen")?;
    announce(&listener)?;
    axum::serve(listener, router).await.context("cannot serve")
}

fn endpoint<H, M, F>(options: HttpOptions, sessions: Arc<M>, handler: F) -> anyhow::Result<Router>
where
    H: ServerHandler,
    M: SessionManager,
    F: Fn() -> H + Send + Sync + 'static,
{
    let config = StreamableHttpServerConfig::default().with_allowed_origins([
        "http://localhost:*",
        "http://127.0.0.1:*",
        "http://[::1]:*",
    ]);
    let service = StreamableHttpService::new(move || Ok(handler()), sessions, config);
    let mut router = Router::new().route_service("/mcp", service);
    if let Some(required) = options.require_header {
        router = router.layer(from_fn_with_state(Arc::new(required), demand));
    }
    // Outermost, so that what is refused is recorded as well.
    if let Some(path) = options.record {
        router = router.layer(from_fn_with_state(Arc::new(Recorder::open(path)?), record));
    }
    Ok(router)
}

fn announce(listener: &TcpListener) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on http://{}/mcp", listener.local_addr()?)?;
    out.flush()?;
    Ok(())
}

fn parse_header(typed: &str) -> Result<RequiredHeader, String> {
    let (name, value) = typed.split_once('=').ok_or("expected NAME=VALUE")?;
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
    let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
    Ok(RequiredHeader { name, value })
}

async fn demand(State(required): State<Arc<RequiredHeader>>, request: Request, next: Next) -> Response {
    let mut values = request.headers().get_all(&required.name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value == required.value => next.run(request).await,
        _ => {
            let challenge = [("www-authenticate", "Bearer realm=\"upstream\"")];
            (StatusCode::UNAUTHORIZED, challenge, "this upstream needs its own credential").into_response()
        }
    }
}

/// Keeps what reached the upstream, so that a test can prove what did not.
struct Recorder {
    file: Mutex<File>,
}

impl Recorder {
    fn open(path: PathBuf) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("cannot record to `{}`", path.display()))?;
        Ok(Self { file: Mutex::new(file) })
    }

    fn append(&self, parts: &Parts, body: &Bytes) -> std::io::Result<()> {
        let headers: Vec<Value> = parts
            .headers
            .iter()
            .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
            .collect();
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        let body = String::from_utf8_lossy(body);
        let mut line =
            json!({"method": parts.method.as_str(), "path": path, "headers": headers, "body": body}).to_string();
        line.push('\n');
        // One write, so that lines of parallel requests never mix.
        self.file.lock().map_err(|_| std::io::Error::other("the recorder broke"))?.write_all(line.as_bytes())
    }
}

async fn record(State(recorder): State<Arc<Recorder>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, RECORDED_BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    if let Err(error) = recorder.append(&parts, &bytes) {
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot record: {error}")).into_response();
    }
    next.run(Request::from_parts(parts, Body::from(bytes))).await
}

/// Four times the SDK's own limit of a request body, so that the SDK's refusal is the one seen.
const RECORDED_BODY_BYTES_MAX: usize = 4 * 4 * 1024 * 1024;

#[cfg(test)]
mod tests;
