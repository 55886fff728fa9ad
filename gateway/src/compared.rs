//! Words a comparison of two rule sets. In: both, and the rules each was built from. Out: JSON, one line a change. Never here: the comparison itself, which is core's.

use crate::explained::{Set, sources};
use portcullis_core::config::snapshot::Text;
use portcullis_core::policy::diff::{self, Side};
use serde_json::{Value, json};

/// Which rules came and went between two sets of files.
pub fn rules(before: &[Text], after: &[Text]) -> Value {
    let rules = diff::rules(&sources(before), &sources(after));
    json!({"added": rules.added, "removed": rules.removed})
}

/// Which rules came and went, and which agents may expect something else of which action.
pub fn compare(before: Set<'_>, after: Set<'_>) -> Value {
    let (was, is) = (sources(before.policies), sources(after.policies));
    let changes = diff::cells(
        Side { engine: &before.snapshot.engine, sources: &was },
        Side { engine: &after.snapshot.engine, sources: &is },
    );
    let changes: Vec<Value> = changes
        .iter()
        .map(|change| {
            let mut shown = serde_json::to_value(change).unwrap_or_default();
            if let Some(members) = shown.as_object_mut() {
                members.insert("words".into(), json!(change.words()));
            }
            shown
        })
        .collect();
    json!({"rules": rules(before.policies, after.policies), "changes": changes})
}
