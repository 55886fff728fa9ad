//! Erases and holds for operators. In: what is to go or to stay. Out: what came of it, once the log says so. Never here: how it is done.

use crate::control::Plane;
use crate::control::answers::Refused;
use crate::control::face::{Answer, Shared};
use crate::control::peer::Caller;
use crate::journal::desk::{Order, Outcome};
use crate::{kept, reload};
use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use portcullis_audit::calls::{CALLS_MAX, Found, Wanted};
use portcullis_audit::keeping::{self, Erasure, Hold};
use portcullis_core::limits::DETERMINING_MAX;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// The names and places of 10,000 calls with a few results each.
pub const ERASURE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A text that a record keeps whole.
pub const TEXT_BYTES_MAX: usize = 256;

/// What is to be erased.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    calls: Vec<Found>,
    size: u64,
    #[serde(default)]
    fields: Vec<String>,
    reason: String,
}

/// What is to be held, or no longer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldWish {
    #[serde(default)]
    calls: Wanted,
    reason: String,
}

/// Why it cannot be asked.
fn body(message: impl Into<String>) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, "body", message).help("ask with `portcullis audit erase` or `audit hold`")
}

fn read<'d, T: Deserialize<'d>>(text: &'d str) -> Result<T, Refused> {
    serde_json::from_str(text).map_err(|error| body(format!("the body is not what is asked here: {error}")))
}

/// Whether a text fits a record and says something.
pub fn is_said(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= TEXT_BYTES_MAX
}

/// Erases.
pub async fn erase(State(plane): Shared, ConnectInfo(caller): ConnectInfo<Caller>, text: String) -> Answer {
    let wish: Wish = read(&text)?;
    let fields_fit = wish.fields.len() <= DETERMINING_MAX
        && wish.fields.iter().all(|field| keeping::is_field(field) && is_said(field));
    if wish.calls.is_empty() || wish.calls.len() > CALLS_MAX || !fields_fit || !is_said(&wish.reason) {
        return Err(body("it names no calls, too many, a field that is none, or no reason of at most 256 bytes"));
    }
    let count = wish.calls.len();
    let actor = caller.actor();
    let Wish { calls, size, fields, reason } = wish;
    let order = Order::Erase(Erasure { calls, size, fields, actor, reason });
    let outcome = carried_out(plane, order).await?;
    Ok(Json(json!({"calls": count, "erased": outcome.erased})))
}

/// Holds.
pub async fn hold(
    State(plane): Shared,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(name): Path<String>,
    text: String,
) -> Answer {
    let HoldWish { calls, reason } = read(&text)?;
    if calls.is_open() || calls.names.len() > DETERMINING_MAX || !is_said(&reason) || !is_said(&name) {
        return Err(body("it names no calls, more than 16, or no name and reason of at most 256 bytes"));
    }
    let actor = caller.actor();
    carried_out(plane, Order::Place(Hold { name, calls, reason, actor, state: keeping::State::Placing })).await?;
    Ok(Json(json!({"held": true})))
}

/// Lifts a hold.
pub async fn lift(
    State(plane): Shared,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(name): Path<String>,
    text: String,
) -> Answer {
    let HoldWish { reason, .. } = read(&text)?;
    if !is_said(&reason) {
        return Err(body("it names no reason of at most 256 bytes"));
    }
    carried_out(plane, Order::Lift(name, caller.actor(), reason)).await?;
    Ok(Json(json!({"held": false})))
}

/// In a task of its own: an operator who hangs up half-way must not leave something unrecorded.
async fn carried_out(plane: Arc<Plane>, order: Order) -> Result<Outcome, Refused> {
    let work = tokio::spawn(async move {
        let _alone = plane.keeping.lock().await;
        record_done(&plane).await?;
        let outcome = asked(&plane, order).await?;
        record_done(&plane).await?;
        Ok(outcome)
    });
    work.await.map_err(|_| stopped())?
}

/// Records what was done and is not recorded yet, and has it forgotten.
pub async fn record_done(plane: &Plane) -> Result<(), Refused> {
    let done = asked(plane, Order::Tell).await?.unrecorded;
    if done.is_empty() {
        return Ok(());
    }
    let told = kept::told(&done);
    let lists = kept::lists(&told);
    let written = plane.ledger.record_all(reload::now(), &kept::records(&told, &lists)).await;
    written.map_err(|failure| {
        let message = format!("it was done, and could not be written to the audit log ({})", failure.name());
        Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "journal", message).help(
            "make room on the disk of the audit folder; it is recorded with the next change, or at the next start",
        )
    })?;
    asked(plane, Order::Recorded(done)).await.map(drop)
}

async fn asked(plane: &Plane, order: Order) -> Result<Outcome, Refused> {
    let done = plane.desk.done(order).await.ok_or_else(stopped)?;
    done.map_err(|refused| {
        let status = match refused {
            keeping::Refused::Fault(_) => StatusCode::INTERNAL_SERVER_ERROR,
            keeping::Refused::OtherEntry(_) | keeping::Refused::NoHold(_) => StatusCode::NOT_FOUND,
            keeping::Refused::Held { .. }
            | keeping::Refused::UnderWay(_)
            | keeping::Refused::Unfinished
            | keeping::Refused::HoldExists(_)
            | keeping::Refused::TooManyHolds => StatusCode::CONFLICT,
        };
        Refused::new(status, refused.name(), refused.to_string()).help(refused.help())
    })
}

fn stopped() -> Refused {
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", "the gateway is stopping, or too many orders wait")
        .help("try again; a gateway that starts does what was decided")
}
