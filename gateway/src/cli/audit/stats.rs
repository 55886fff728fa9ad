//! `portcullis audit stats`: counts what is in the log. In: a span of days. Out: figures and tables. Never here: counting.

use super::indexed;
use crate::cli::{End, Outcome, Ways, say};
use crate::logged::tables::Asked;
use clap::Args;
use serde_json::Value;

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
pub fn stats(asked: &Stats, ways: &Ways) -> Outcome {
    let question = Asked { from: asked.from.clone(), to: asked.to.clone(), ..Asked::default() };
    let opened = indexed::open(ways)?;
    let (told, reading) = question.stats(&opened)?;
    indexed::record(ways, &reading)?;
    if ways.json {
        say::json(&told.shown());
        return Ok(End::Done);
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    figures("", &told.stats.figures, &mut rows);
    for log in &told.logs {
        let number = log.get("log").and_then(Value::as_u64).unwrap_or_default();
        rows.push(vec![
            format!("entries of log {number}"),
            log.get("entries").map(Value::to_string).unwrap_or_default(),
        ]);
    }
    rows.push(vec!["index".to_owned(), format!("{} B, {} entries behind the log", told.bytes, told.behind)]);
    say::table(&rows);
    for table in told.stats.tables.iter().filter(|table| !table.rows.is_empty()) {
        say::line("");
        indexed::print(table);
    }
    indexed::note(&told.stats.checkpoint);
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
