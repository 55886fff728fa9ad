//! `portcullis drain`: has the gateway finish and stop. In: nothing. Out: that it began to. Never here: waiting for its end.

use crate::cli::{End, Outcome, Ways, client, number, say};

/// Returns at once; open calls finish within the configured time.
pub fn drain(ways: &Ways) -> Outcome {
    let Some(value) = client::post(ways, "/v1/drain", None)?.done(ways) else { return Ok(End::Refused) };
    match ways.json {
        true => say::json(&value),
        false => say::line(&format!("draining: open calls have {} s to finish", number(&value, "/grace_seconds"))),
    }
    Ok(End::Done)
}
