//! Answers questions about the rules that serve. In: a call, or nothing. Out: explanations, comparisons, the versions that served. Never here: changes.

use crate::asked::Asked;
use crate::beside::shadow::Shadow;
use crate::compared::{self, texts};
use crate::control::Plane;
use crate::control::answers::{self, Refused};
use crate::control::face::{Answer, Shared};
use crate::control::peer::Caller;
use crate::control::questions::looked;
use crate::explained::{self, Set};
use crate::history::KeptText;
use crate::reload::{self, Change};
use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use portcullis_core::config::snapshot::Text;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Explains a decision by what serves now.
pub async fn explain(State(plane): Shared, ConnectInfo(caller): ConnectInfo<Caller>, body: String) -> Answer {
    let asked: Asked = serde_json::from_str(&body).map_err(|error| {
        Refused::new(StatusCode::BAD_REQUEST, "body", format!("the body is not what is asked here: {error}"))
    })?;
    let trial = asked
        .trial(reload::now())
        .map_err(|unclear| Refused::new(StatusCode::BAD_REQUEST, "question", unclear.message).help(unclear.help))?;
    looked(&plane, caller, "policy explain").await?;
    aside(move || {
        let (snapshot, kept) = (plane.shared.snapshot.load_full(), plane.keeper.kept());
        let policies = texts(&kept);
        let told = explained::explain(Set { snapshot: &snapshot, policies: &policies }, &trial);
        let mut told = told.map_err(|(message, help)| {
            let refused = Refused::new(StatusCode::NOT_FOUND, "unknown", message);
            Refused { help, ..refused }
        })?;
        if let Some(members) = told.as_object_mut() {
            let name = "what the gateway serves";
            members
                .insert("snapshot".into(), json!({"name": name, "version": snapshot.version, "hash": snapshot.hash}));
        }
        Ok(Json(told))
    })
    .await
}

/// Loads and checks the files as an apply would, compares them with what serves, and changes nothing.
pub async fn try_out(plane: Arc<Plane>, expect: Option<u64>) -> Answer {
    let tried = plane.keeper.try_out(&Change::Files, expect).await?;
    let before = plane.shared.snapshot.load_full();
    aside(move || {
        let mut shown = compared::compare(
            Set { snapshot: &before, policies: &tried.before },
            Set { snapshot: &tried.snapshot, policies: &tried.after },
        );
        if let Some(members) = shown.as_object_mut() {
            members.insert("dry_run".into(), json!(true));
            members.insert("serving".into(), json!(tried.serving));
            members.insert("hash".into(), json!(tried.snapshot.hash));
            members.insert("changed".into(), json!(tried.snapshot.hash != before.hash));
            members.insert("warnings".into(), answers::findings(&tried.snapshot.warnings));
        }
        Ok(Json(shown))
    })
    .await
}

/// The versions that are kept, each with the rules that came and went with it.
pub async fn history(State(plane): Shared, ConnectInfo(caller): ConnectInfo<Caller>) -> Answer {
    looked(&plane, caller, "policy history").await?;
    aside(move || {
        let failed = |error: std::io::Error| {
            Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "disk", format!("the history cannot be read: {error}"))
        };
        let shown = compared::history(plane.keeper.history()).map_err(failed)?;
        Ok(Json(json!({"serving": plane.keeper.kept().version, "versions": shown})))
    })
    .await
}

/// Off the control plane's own thread, which has others to answer.
pub async fn aside(work: impl FnOnce() -> Answer + Send + 'static) -> Answer {
    let stopped = |_| {
        Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "stopped", "the gateway is stopping, or broke while it looked")
    };
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

/// The body of a start.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    sources: Vec<KeptText>,
}

/// Lets a candidate judge live calls beside what serves.
pub async fn shadow_start(State(plane): Shared, body: String) -> Answer {
    let candidate: Candidate = serde_json::from_str(&body).map_err(|error| {
        Refused::new(StatusCode::BAD_REQUEST, "body", format!("the body is not what is asked here: {error}"))
            .help("send `{\"sources\": [{\"file\": \"a.cedar\", \"text\": \"…\"}]}`")
    })?;
    let policies: Vec<Text> = candidate.sources.into_iter().map(Text::from).collect();
    let snapshot = plane.keeper.beside(policies.clone()).await?;
    let warnings = answers::findings(&snapshot.warnings);
    let beside = plane.shared.snapshot.load().version;
    tracing::info!(
        version = beside,
        rules = snapshot.engine.policy_ids().len(),
        "a candidate judges beside what serves"
    );
    let shadow = Arc::new(Shadow::new(snapshot, policies, reload::now()));
    plane.shared.beside.start(shadow);
    Ok(Json(json!({"beside": beside, "warnings": warnings})))
}

/// Ends it, and reports.
pub async fn shadow_stop(State(plane): Shared) -> Answer {
    let report = reported(&plane)?;
    plane.shared.beside.stop();
    tracing::info!("the candidate judges no longer");
    Ok(report)
}

/// What it came to so far.
pub async fn shadow_report(State(plane): Shared, ConnectInfo(caller): ConnectInfo<Caller>) -> Answer {
    looked(&plane, caller, "policy shadow").await?;
    reported(&plane)
}

fn reported(plane: &Plane) -> Answer {
    let beside = &plane.shared.beside;
    let shadow = beside.shadow.load_full().ok_or_else(|| {
        Refused::new(StatusCode::NOT_FOUND, "no_shadow", "no candidate judges beside what serves")
            .help("`portcullis policy shadow start FOLDER` lets one")
    })?;
    Ok(Json(shadow.report(beside.dropped.load(Ordering::Relaxed))))
}

/// The rules that Cedar's own evaluator decides, since they have no program.
pub async fn slow(State(plane): Shared, ConnectInfo(caller): ConnectInfo<Caller>) -> Answer {
    looked(&plane, caller, "policy slow").await?;
    Ok(Json(explained::slow(&plane.shared.snapshot.load_full().engine)))
}
