//! `portcullis audit reindex`: makes the index again. In: the signed log. Out: an index of every entry. Never here: changing the log.

use super::indexed;
use crate::cli::{End, Outcome, Ways, audit, say};
use crate::logged::{Opened, told, unindexed};
use serde_json::json;

/// Runs the verb.
pub fn reindex(ways: &Ways) -> Outcome {
    let mut opened = Opened::open(&audit::folder(ways)?)?;
    let made = indexed::with_progress(|tell| opened.index.reindex(&opened.logs, tell));
    let entries = made.map_err(|cause| unindexed(&opened.folder, &cause))?.entries;
    let checkpoint = opened.index.checkpoint().map_err(|cause| unindexed(&opened.folder, &cause))?;
    if ways.json {
        say::json(&json!({"entries": entries, "checkpoint": told(&checkpoint)}));
    } else {
        say::line(&format!("{entries} entries indexed"));
        indexed::note(&checkpoint);
    }
    Ok(End::Done)
}
