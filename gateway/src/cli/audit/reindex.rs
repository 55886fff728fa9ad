//! `portcullis audit reindex`: makes the index again. In: the signed log. Out: an index of every entry. Never here: changing the log.

use super::indexed::{self, Opened};
use crate::cli::{End, Outcome, Ways, say};
use portcullis_audit::index::Index;
use serde_json::json;

/// Runs the verb.
pub fn reindex(ways: &Ways) -> Outcome {
    let (folder, logs) = indexed::signed(ways)?;
    let index = Index::open(&folder).map_err(|cause| indexed::failure(&folder, &cause))?;
    let mut opened = Opened { folder, logs, index };
    let entries = indexed::caught_up(&mut opened, Index::reindex)?;
    let checkpoint = opened.index.checkpoint().map_err(|cause| indexed::failure(&opened.folder, &cause))?;
    if ways.json {
        say::json(&json!({"entries": entries, "checkpoint": indexed::told(&checkpoint)}));
    } else {
        say::line(&format!("{entries} entries indexed"));
        indexed::note(&checkpoint);
    }
    Ok(End::Done)
}
