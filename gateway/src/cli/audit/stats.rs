//! `portcullis audit stats`: counts what is in the log. In: a span of days. Out: figures and tables. Never here: counting.

use super::indexed::{self, Reading, Recorder};
use crate::cli::{End, Outcome, Ways, say};
use clap::Args;
use portcullis_audit::index;
use portcullis_audit::report::{self, Span};
use serde_json::{Value, json};

/// Of which days.
#[derive(Args, Clone, Debug)]
pub struct Stats {
    /// From the day of this time on: a time, a day, or how long ago, as in -24h or -7d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Until the day of this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
}

/// Runs the verb.
pub fn stats(asked: &Stats, ways: &Ways, recorder: Recorder<'_>) -> Outcome {
    let span =
        Span { from: indexed::instant(asked.from.as_ref())?, to: indexed::instant(asked.to.as_ref())?, limit: 0 };
    let opened = indexed::open(ways)?;
    let told = report::stats(&opened.index, &span).map_err(|cause| indexed::failure(&opened.folder, &cause))?;
    recorder(&Reading { what: "stats".to_owned(), count: 0 })?;
    let behind = indexed::behind(&opened)?;
    let logs = opened
        .logs
        .iter()
        .map(|log| json!({"log": log.number, "origin": log.log.checkpoint().origin, "entries": log.log.size()}));
    let logs: Vec<Value> = logs.collect();
    let bytes = opened.folder.join(index::FILE).metadata().map(|file| file.len()).unwrap_or_default();
    if ways.json {
        let mut shown = json!({
            "checkpoint": indexed::told(&told.checkpoint), "logs": logs, "index": {"entries_behind": behind, "bytes": bytes},
            "figures": told.figures,
        });
        if let Some(members) = shown.as_object_mut() {
            members.extend(told.tables.iter().map(|table| (table.name.to_owned(), table.objects())));
        }
        say::json(&shown);
        return Ok(End::Done);
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    figures("", &told.figures, &mut rows);
    for log in &logs {
        let number = log.get("log").and_then(Value::as_u64).unwrap_or_default();
        rows.push(vec![
            format!("entries of log {number}"),
            log.get("entries").map(Value::to_string).unwrap_or_default(),
        ]);
    }
    rows.push(vec!["index".to_owned(), format!("{bytes} B, {behind} entries behind the log")]);
    say::table(&rows);
    for table in told.tables.iter().filter(|table| !table.rows.is_empty()) {
        say::line("");
        indexed::print(table);
    }
    indexed::note(&told.checkpoint);
    Ok(End::Done)
}

/// One row a figure; those of an object under its name.
fn figures(under: &str, object: &Value, rows: &mut Vec<Vec<String>>) {
    for (name, value) in object.as_object().into_iter().flatten() {
        let name = format!("{under}{}", name.replace('_', " "));
        match value {
            Value::Object(_) => figures(&format!("{name} "), value, rows),
            Value::String(text) => rows.push(vec![name, text.clone()]),
            Value::Null => rows.push(vec![name, "-".to_owned()]),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) => rows.push(vec![name, value.to_string()]),
        }
    }
}
