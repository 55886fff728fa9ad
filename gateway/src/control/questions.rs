//! Answers questions about the log. In: who asks what. Out: what the command line answers as JSON, after it is in the log that it was asked. Never here:
//! an answer without that record; how it is found.

use crate::control::answers::Refused;
use crate::control::face::{Answer, Shared};
use crate::control::peer::Caller;
use crate::control::{Plane, indexing};
use crate::logged::entries::Entry;
use crate::logged::events::{self, Events, Values};
use crate::logged::tables::{self, Asked};
use crate::logged::{Fault, Opened, Reading, Unanswered, signed, told};
use crate::reload;
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use portcullis_core::audit::record::{Look, Read, Record};
use portcullis_core::refusal::JournalFailure;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// Questions that are worked on at once: each may hold a page of values and the index's cache. Those beyond wait.
pub const AT_ONCE_MAX: usize = 2;

/// Bytes of what a reading says of itself; the rest is cut off, since an entry of the log has an end.
const WHAT_BYTES_MAX: usize = 1024;

/// Calls of a page with values.
const VALUED_MAX: usize = 1_000;

type Asks<T> = Result<Query<T>, QueryRejection>;

/// `GET /v1/audit/events`.
pub async fn list(State(plane): Shared, ConnectInfo(caller): ConnectInfo<Caller>, asked: Asks<Events>) -> Answer {
    let mut asked = meant(asked)?;
    if asked.values {
        may_see_values(caller)?;
        asked.limit = Some(asked.limit.unwrap_or(events::LIMIT).min(VALUED_MAX));
    }
    answered(&plane, caller, move |folder| {
        let (page, reading) = asked.page(&opened(folder)?)?;
        Ok((events::shown(&page), reading))
    })
    .await
}

/// `GET /v1/audit/stats`.
pub async fn stats(State(plane): Shared, ConnectInfo(caller): ConnectInfo<Caller>, asked: Asks<Asked>) -> Answer {
    let asked = meant(asked)?;
    answered(&plane, caller, move |folder| {
        let (figures, reading) = asked.stats(&opened(folder)?)?;
        Ok((figures.shown(), reading))
    })
    .await
}

/// `GET /v1/audit/reports/{name}`.
pub async fn report(
    State(plane): Shared,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(name): Path<String>,
    asked: Asks<Asked>,
) -> Answer {
    let asked = meant(asked)?;
    let ask = asked.named(&name)?;
    answered(&plane, caller, move |folder| {
        let (report, reading) = asked.report(&ask, &opened(folder)?)?;
        Ok((tables::shown(&ask, &report), reading))
    })
    .await
}

/// `GET /v1/audit/checkpoint`: what is signed. It tells nothing of what was done, and whoever watches the log asks for it every second, so it is the one
/// question that is not recorded.
pub async fn checkpoint(State(plane): Shared) -> Answer {
    let (logs, _) = aside(&plane, |folder| Ok((signed(&folder)?, ()))).await?;
    let newest = logs.last().ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, "nothing", "nothing is signed yet"))?;
    let mut shown = told(newest.log.checkpoint());
    if let Some(members) = shown.as_object_mut() {
        members.insert("log".into(), json!(newest.number));
        members.insert("note".into(), json!(newest.log.note()));
        members.insert("key".into(), json!(newest.key.to_string()));
    }
    Ok(Json(shown))
}

/// What is told of one entry.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OfOne {
    values: bool,
}

/// `GET /v1/audit/events/{id}`.
pub async fn one(
    State(plane): Shared,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(id): Path<String>,
    asked: Asks<OfOne>,
) -> Answer {
    let asked = meant(asked)?;
    if asked.values {
        may_see_values(caller)?;
    }
    answered(&plane, caller, move |folder| {
        let found = Entry::find(&folder, &id, || opened(folder.clone()))?;
        let mut shown = found.record(&id);
        if let Some(record) = shown.get_mut("record").and_then(Value::as_object_mut).filter(|_| asked.values) {
            Values::open(&folder)?.put_one((found.log.number, found.place.index), usize::MAX, record)?;
        }
        Ok((shown, found.reading(if asked.values { "show with values" } else { "show" }, &id)))
    })
    .await
}

/// `GET /v1/audit/events/{id}/proof`.
pub async fn proof(
    State(plane): Shared,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let found = found(&plane, caller, id, "proof").await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], found.proof).into_response())
}

/// `GET /v1/audit/events/{id}/entry`: its bytes, as they were hashed.
pub async fn entry(
    State(plane): Shared,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let found = found(&plane, caller, id, "entry").await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], found.bytes).into_response())
}

async fn found(plane: &Plane, caller: Caller, id: String, verb: &'static str) -> Result<Entry, Refused> {
    let work = move |folder: PathBuf| {
        let found = Entry::find(&folder, &id, || opened(folder.clone()))?;
        let reading = found.reading(verb, &id);
        Ok((found, reading))
    };
    let (found, reading) = aside(plane, work).await?;
    record(plane, caller, &reading).await?;
    Ok(found)
}

/// A reading by somebody who reads the files of the log itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfFiles {
    /// Which log: the audit folder.
    folder: PathBuf,
    what: String,
    count: u64,
}

/// `POST /v1/audit/reads`: the command line reads the files, and has it recorded here before it shows anything.
pub async fn note(
    State(plane): Shared,
    ConnectInfo(caller): ConnectInfo<Caller>,
    body: Result<Json<OfFiles>, JsonRejection>,
) -> Answer {
    let Json(OfFiles { folder, what, count }) = body.map_err(|rejection| {
        Refused::new(StatusCode::BAD_REQUEST, "body", format!("the body is not what is asked here: {rejection}"))
            .help("send `{\"folder\": \"/var/lib/portcullis/audit\", \"what\": \"query\", \"count\": 1}`")
    })?;
    let ours = folder_of(&plane);
    if ours.canonicalize().unwrap_or(ours) != folder {
        let message = "the gateway that answers here writes another log";
        return Err(
            Refused::new(StatusCode::CONFLICT, "another_log", message).help("name its own socket with `--socket`")
        );
    }
    record(&plane, caller, &Reading { what, count }).await?;
    Ok(Json(json!({"recorded": true})))
}

/// Works the answer out, has the question recorded, and only then answers.
async fn answered(
    plane: &Plane,
    caller: Caller,
    work: impl FnOnce(PathBuf) -> Result<(Value, Reading), Unanswered> + Send + 'static,
) -> Answer {
    let (shown, reading) = aside(plane, work).await?;
    record(plane, caller, &reading).await?;
    Ok(Json(shown))
}

/// Writes down who reads what of the log, before it is shown.
async fn record(plane: &Plane, caller: Caller, reading: &Reading) -> Result<(), Refused> {
    let actor = caller.actor();
    written(plane, &Record::AuditRead(Read { actor: &actor, what: cut(&reading.what), count: reading.count })).await
}

/// Writes down that an operator looks at what serves, before it is shown.
pub async fn looked(plane: &Plane, caller: Caller, what: &str) -> Result<(), Refused> {
    let actor = caller.actor();
    written(plane, &Record::AdminRead(Look { actor: &actor, what: cut(what) })).await
}

/// Waits until the disk holds a record.
async fn written(plane: &Plane, record: &Record<'_>) -> Result<(), Refused> {
    plane.ledger.record(reload::now(), record).await.map_err(unrecorded)
}

fn cut(what: &str) -> &str {
    what.get(..what.floor_char_boundary(WHAT_BYTES_MAX)).unwrap_or_default()
}

fn unrecorded(failure: JournalFailure) -> Refused {
    let message =
        format!("who asks could not be written to the audit log ({}), so nothing is answered", failure.name());
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "journal", message)
        .help("make room on the disk of the audit folder; `portcullis status` tells how the log stands")
}

/// Off the control plane's own thread, which has others to answer; a few at once.
async fn aside<T: Send + 'static, R: Send + 'static>(
    plane: &Plane,
    work: impl FnOnce(PathBuf) -> Result<(T, R), Unanswered> + Send + 'static,
) -> Result<(T, R), Refused> {
    let stopped = || {
        Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "stopped", "the gateway is stopping, or broke while it looked")
    };
    let place = Arc::clone(&plane.questions).acquire_owned().await.map_err(|_| stopped())?;
    let folder = folder_of(plane);
    let done = tokio::task::spawn_blocking(move || {
        let done = work(folder);
        drop(place);
        done
    });
    Ok(done.await.map_err(|_| stopped())??)
}

fn folder_of(plane: &Plane) -> PathBuf {
    plane.shared.snapshot.load().settings.audit.folder.clone()
}

/// The logs with an index that is as near to them as can be now: another process may be writing it.
fn opened(folder: PathBuf) -> Result<Opened, Unanswered> {
    indexing::caught_up(&folder, None).map(|(opened, _)| opened)
}

fn meant<T>(asked: Asks<T>) -> Result<T, Refused> {
    let Query(asked) = asked.map_err(|rejection| {
        Refused::new(StatusCode::BAD_REQUEST, "question", format!("the question is not what is asked here: {rejection}"))
            .help("ask as in `/v1/audit/events?agent=recon-17&from=24h&limit=50`; `portcullis audit query --help` lists the names")
    })?;
    Ok(asked)
}

/// The socket's group may steer the gateway and read records. What agents sent and got is for those who could read the key to it anyway.
fn may_see_values(caller: Caller) -> Result<(), Refused> {
    if caller.uid == 0 || caller.uid == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let message = "arguments and results are told to root and to the gateway's user alone";
    Err(Refused::new(StatusCode::FORBIDDEN, "values", message).help("leave `values` out, or ask as one of them"))
}

impl From<Unanswered> for Refused {
    fn from(unanswered: Unanswered) -> Self {
        let (status, name) = match unanswered.fault {
            Fault::Question => (StatusCode::BAD_REQUEST, "question"),
            Fault::Nothing => (StatusCode::NOT_FOUND, "nothing"),
            Fault::Moment => (StatusCode::SERVICE_UNAVAILABLE, "moment"),
            Fault::Rights => (StatusCode::FORBIDDEN, "values"),
            Fault::Log => (StatusCode::INTERNAL_SERVER_ERROR, "log"),
        };
        Self::new(status, name, unanswered.message).help(unanswered.help)
    }
}
