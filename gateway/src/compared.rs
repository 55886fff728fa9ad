//! Words a comparison of two rule sets. In: both, and the rules each was built from. Out: JSON, one line a change. Never here: the comparison itself, which is core's.

use crate::explained::{Set, sources};
use crate::history::{History, Kept};
use portcullis_core::config::snapshot::Text;
use portcullis_core::policy::diff::{self, Side};
use serde_json::{Value, json};
use std::io;

/// Which rules came, went and changed between two sets of files.
pub fn rules(before: &[Text], after: &[Text]) -> Value {
    let rules = diff::rules(&sources(before), &sources(after));
    json!({"added": rules.added, "removed": rules.removed, "changed": rules.changed})
}

/// The versions that are kept, oldest first, each with the rules that came, went and changed with it. The oldest has none before it to be
/// compared with.
pub fn history(history: &History) -> io::Result<Vec<Value>> {
    let mut shown = Vec::new();
    let mut before: Option<Vec<Text>> = None;
    for version in history.versions()? {
        match history.read(version) {
            Ok(Some(kept)) => {
                let mut about = about(&kept);
                let after = texts(&kept);
                if let (Some(members), Some(before)) = (about.as_object_mut(), &before) {
                    members.insert("rules".into(), rules(before, &after));
                }
                shown.push(about);
                before = Some(after);
            }
            Ok(None) => {}
            Err(error) => shown.push(json!({"version": version, "unreadable": error.to_string()})),
        }
    }
    Ok(shown)
}

/// A kept rule set without its rules.
pub fn about(kept: &Kept) -> Value {
    json!({"version": kept.version, "hash": kept.hash, "applied_at": kept.applied_at, "by_uid": kept.by.uid, "how": kept.how.as_str(), "files": kept.sources.len()})
}

/// The rules of a kept set.
pub fn texts(kept: &Kept) -> Vec<Text> {
    kept.sources.iter().cloned().map(Text::from).collect()
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
