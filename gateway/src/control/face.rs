//! Routes the requests of operators. In: HTTP on the control socket, or a scrape of metrics. Out: JSON, or text. Never here: how a change is made.

use crate::compared;
use crate::control::answers::{self, Refused};
use crate::control::peer::Caller;
use crate::control::socket::Socket;
use crate::control::{self, Plane, keeping, live, policies, questions, status};
use crate::history::By;
use crate::reload::{Change, Changed};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use portcullis_core::identity::registry::{Agent, Status};
use portcullis_core::time::UnixMillis;
use serde::Deserialize;
use serde_json::{Value, json};
use std::future::Future;
use std::sync::Arc;

/// A request here names a version or nothing.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A candidate brings its rules: 100,000 of them stay below this.
const CANDIDATE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What every handler is given.
pub type Shared = State<Arc<Plane>>;
/// What every handler gives.
pub type Answer = Result<Json<Value>, Refused>;

/// The body of a change: what the caller believes to serve, and what it wants.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wish {
    expect: Option<u64>,
    version: Option<u64>,
    dry_run: Option<bool>,
}

/// Serves operators until `stop` ends.
pub async fn serve(
    socket: Socket,
    plane: Arc<Plane>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let service = routes(plane).into_make_service_with_connect_info::<Caller>();
    axum::serve(socket, service).with_graceful_shutdown(stop).await
}

/// Serves metrics, and nothing else, to whoever can reach the address.
pub async fn serve_metrics(listener: tokio::net::TcpListener, plane: Arc<Plane>) -> std::io::Result<()> {
    axum::serve(listener, Router::new().route("/metrics", get(metrics)).with_state(plane)).await
}

fn routes(plane: Arc<Plane>) -> Router {
    Router::new()
        .route("/v1/status", get(status_of))
        .route("/v1/kernel", get(kernel))
        .route("/v1/reload", post(reload))
        .route("/v1/policy", get(policy))
        .route("/v1/policy/apply", post(apply))
        .route("/v1/policy/rollback", post(rollback))
        .route("/v1/policy/history", get(policies::history))
        .route("/v1/policy/explain", post(policies::explain))
        .route("/v1/policy/slow", get(policies::slow))
        .route("/v1/policy/shadow", get(policies::shadow_report))
        .route(
            "/v1/policy/shadow/start",
            post(policies::shadow_start).layer(DefaultBodyLimit::max(CANDIDATE_BYTES_MAX)),
        )
        .route("/v1/policy/shadow/stop", post(policies::shadow_stop))
        .route("/v1/agents", get(agents))
        .route("/v1/agents/{id}/suspend", post(suspend))
        .route("/v1/agents/{id}/resume", post(resume))
        .route("/v1/audit/events", get(questions::list))
        .route("/v1/audit/events/{id}", get(questions::one))
        .route("/v1/audit/events/{id}/proof", get(questions::proof))
        .route("/v1/audit/events/{id}/entry", get(questions::entry))
        .route("/v1/audit/stats", get(questions::stats))
        .route("/v1/audit/reports/{name}", get(questions::report))
        .route("/v1/audit/checkpoint", get(questions::checkpoint))
        .route("/v1/audit/reads", post(questions::note))
        .route("/v1/audit/erase", post(keeping::erase).layer(DefaultBodyLimit::max(keeping::ERASURE_BYTES_MAX)))
        .route("/v1/audit/holds/{name}", post(keeping::hold))
        .route("/v1/audit/holds/{name}/remove", post(keeping::lift))
        .route("/v1/drain", post(drain))
        .route("/metrics", get(metrics))
        .fallback(|| async {
            Refused::new(StatusCode::NOT_FOUND, "unknown_path", "nothing is served at this path")
                .help("see `portcullis --help`")
        })
        .method_not_allowed_fallback(|| async {
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method", "this path takes another method")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(plane)
}

async fn status_of(State(plane): Shared) -> Answer {
    let read = tokio::task::spawn_blocking(move || status::status(&plane)).await;
    read.map(Json).map_err(|_| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "stopped", "the gateway is stopping"))
}

async fn kernel(State(plane): Shared) -> Answer {
    Ok(Json(crate::kernel::report::running(&plane.facts.kernel)))
}

async fn metrics(State(plane): Shared) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], control::metrics(&plane)).into_response()
}

async fn policy(State(plane): Shared, ConnectInfo(caller): ConnectInfo<Caller>) -> Answer {
    questions::looked(&plane, caller, "policy").await?;
    let kept = plane.keeper.kept();
    let mut shown = compared::about(&kept);
    if let Some(members) = shown.as_object_mut() {
        members.insert("sources".into(), json!(kept.sources));
    }
    Ok(Json(shown))
}

async fn reload(State(plane): Shared, ConnectInfo(caller): ConnectInfo<Caller>) -> Answer {
    change(plane, Change::Files, None, caller).await
}

async fn apply(State(plane): Shared, ConnectInfo(caller): ConnectInfo<Caller>, body: String) -> Answer {
    let wish = wish(&body)?;
    match wish.dry_run {
        Some(true) => policies::try_out(plane, wish.expect).await,
        Some(false) | None => change(plane, Change::Files, wish.expect, caller).await,
    }
}

async fn rollback(State(plane): Shared, ConnectInfo(caller): ConnectInfo<Caller>, body: String) -> Answer {
    let wish = wish(&body)?;
    let missing =
        || Refused::new(StatusCode::BAD_REQUEST, "body", "the body names no `version`").help("send `{\"version\": 3}`");
    change(plane, Change::Rules(wish.version.ok_or_else(missing)?), wish.expect, caller).await
}

async fn suspend(State(plane): Shared, ConnectInfo(caller): ConnectInfo<Caller>, Path(id): Path<String>) -> Answer {
    change(plane, Change::Agent { id, status: Status::Suspended }, None, caller).await
}

async fn resume(State(plane): Shared, ConnectInfo(caller): ConnectInfo<Caller>, Path(id): Path<String>) -> Answer {
    change(plane, Change::Agent { id, status: Status::Active }, None, caller).await
}

/// In a task of its own: an operator who hangs up half-way must not leave half a change.
async fn change(plane: Arc<Plane>, change: Change, expect: Option<u64>, caller: Caller) -> Answer {
    let keeper = plane.keeper.clone();
    let made =
        tokio::spawn(async move { made(keeper.change(change.clone(), expect, By { uid: caller.uid }).await, &change) });
    let stopped = |_| {
        Refused::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "stopped",
            "the gateway is stopping, or broke while it built the change",
        )
    };
    made.await.map_err(stopped)?
}

fn made(outcome: Result<Changed, crate::reload::ChangeFailure>, change: &Change) -> Answer {
    match outcome {
        Ok(changed) => {
            tracing::info!(version = changed.version, previous = changed.previous, %change, "another snapshot serves");
            Ok(Json(answers::changed(&changed)))
        }
        Err(failure @ crate::reload::ChangeFailure::Unwritten(..)) => {
            let refused = Refused::from(failure);
            tracing::error!(cause = refused.name, why = %refused.message, %change, "another snapshot serves, and is not written down");
            Err(refused)
        }
        Err(failure) => {
            let refused = Refused::from(failure);
            tracing::warn!(cause = refused.name, why = %refused.message, %change, "a change was refused; the last good snapshot goes on serving");
            refused.findings.iter().for_each(|finding| tracing::warn!("{finding}"));
            Err(refused)
        }
    }
}

fn wish(body: &str) -> Result<Wish, Refused> {
    if body.trim().is_empty() {
        return Ok(Wish::default());
    }
    serde_json::from_str(body).map_err(|error| {
        Refused::new(StatusCode::BAD_REQUEST, "body", format!("the body is not what is asked here: {error}"))
    })
}

async fn agents(State(plane): Shared, ConnectInfo(caller): ConnectInfo<Caller>) -> Answer {
    questions::looked(&plane, caller, "agents").await?;
    let snapshot = plane.shared.snapshot.load_full();
    let listed: Vec<Value> = snapshot.registry.agents().map(|agent| shown(agent, &plane)).collect();
    Ok(Json(json!({"version": snapshot.version, "agents": listed})))
}

fn shown(agent: &Agent, plane: &Plane) -> Value {
    let at = |instant: Option<UnixMillis>| instant.map(UnixMillis::rfc3339);
    let in_flight =
        plane.shared.in_flight.get(&*agent.id).map_or(0, |count| count.load(std::sync::atomic::Ordering::Relaxed));
    json!({
        "id": agent.id,
        "owner": agent.owner,
        "status": agent.status.as_str(),
        "groups": agent.groups,
        "accounts": agent.accounts,
        "networks": agent.networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "created": at(agent.created),
        "expires": at(agent.expires),
        "last_reviewed": at(agent.last_reviewed),
        "in_flight": in_flight,
    })
}

async fn drain(State(plane): Shared, ConnectInfo(caller): ConnectInfo<Caller>) -> Answer {
    tracing::info!(uid = caller.uid, "draining: an operator asked for it");
    let grace = live::drain(&plane);
    Ok(Json(json!({"state": "draining", "grace_seconds": grace.as_secs()})))
}
