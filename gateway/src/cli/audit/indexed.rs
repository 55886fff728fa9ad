//! Opens what questions about the log are answered from, and has each of them recorded. In: the configuration. Out: the signed logs, their index brought
//! up to the last checkpoint. Never here: which question.

use crate::cli::check::spinner;
use crate::cli::client::{self, Answer};
use crate::cli::{Failure, Ways, audit, say};
use crate::logged::{self, Opened, Reading, Unanswered};
use portcullis_audit::index::Progress;
use portcullis_audit::report::{Cut, Table};
use portcullis_core::audit::view;
use portcullis_tlog::checkpoint::Checkpoint;
use serde_json::{Value, json};

/// A catching up of fewer entries than this is over before anyone wonders.
const QUIET_ENTRIES_MAX: u64 = 100_000;

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        Self::new(unanswered.message, unanswered.help)
    }
}

/// Has the gateway whose log this is write down that it is read, before anything is shown. Where it cannot, nothing is; where none runs, whoever can
/// read the files could as well copy them, so that is told and no more.
pub fn record(ways: &Ways, reading: &Reading) -> Result<(), Failure> {
    let folder = audit::folder(ways)?;
    let folder = folder.canonicalize().unwrap_or(folder);
    let body = json!({"folder": folder.display().to_string(), "what": reading.what, "count": reading.count});
    match client::post_if_there(ways, "/v1/audit/reads", &body)? {
        Ok(Answer::Done(_)) => Ok(()),
        Ok(Answer::Refused(refused)) => {
            let member = |name: &str| refused.get(name).and_then(Value::as_str);
            if member("error") == Some("another_log") {
                say::note(
                    "note: the gateway that answers on this socket writes another log, so this reading is recorded nowhere",
                );
                return Ok(());
            }
            let why = member("message").unwrap_or("the gateway refused");
            let message = format!("nothing is shown, since it could not be recorded that it is read: {why}");
            Err(Failure { message, help: member("help").map(str::to_owned) })
        }
        Err(_nobody) => {
            say::note("note: no gateway runs here, so this reading is recorded nowhere");
            Ok(())
        }
    }
}

/// Opens the logs and brings the index up to the last checkpoint, where this user may write it.
pub fn open(ways: &Ways) -> Result<Opened, Failure> {
    let mut opened = Opened::open(&audit::folder(ways)?)?;
    let caught = with_progress(|tell| opened.catch_up(tell))?;
    if let Some(again) = caught.again {
        say::note(&format!("note: the index was made again from the first entry on: {again}"));
    }
    if let Some(behind) = caught.behind {
        say::note(&format!("note: {}; it is {} entries behind the log", behind.why, behind.entries));
    }
    Ok(opened)
}

/// Runs what reads entries into the index, and shows how far it is.
pub fn with_progress<T>(work: impl FnOnce(&mut dyn FnMut(Progress)) -> T) -> T {
    let mut progress = None;
    let done = work(&mut |step: Progress| {
        if step.of - step.entries.min(step.of) >= QUIET_ENTRIES_MAX || progress.is_some() {
            let shown = progress.get_or_insert_with(|| spinner("indexing"));
            shown.set_message(format!("{} of {} entries indexed", step.entries, step.of));
        }
    });
    if let Some(progress) = progress {
        progress.finish_and_clear();
    }
    done
}

/// What an answer was computed at, for people, beside the answer.
pub fn note(checkpoint: &Checkpoint) {
    let (size, origin) = (checkpoint.head.size, &checkpoint.origin);
    say::note(&format!("as of {size} entries of {origin}, root {}", logged::root(checkpoint)));
}

/// Shows a table to people.
pub fn print(table: &Table) {
    say::line(&format!("{}:", table.title));
    if table.rows.is_empty() {
        return say::line("  none");
    }
    let head = table.columns.iter().map(|name| name.replace('_', " ")).collect::<Vec<_>>();
    let rows = table.rows.iter().map(|row| row.iter().map(cell).collect());
    let mut rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    for first in rows.iter_mut().filter_map(|row| row.first_mut()) {
        first.insert_str(0, "  ");
    }
    say::table(&rows);
    if table.cut == Cut::Newest {
        say::line("  and more; `--limit` shows them");
    }
}

fn cell(value: &Value) -> String {
    let mut shown = String::new();
    match value {
        Value::Null => shown.push('-'),
        Value::String(text) if text.is_empty() => shown.push('-'),
        Value::String(text) => view::plain(&mut shown, text),
        Value::Object(members) => {
            let members: Vec<String> = members.iter().map(|(name, value)| format!("{name}={}", cell(value))).collect();
            shown.push_str(&members.join(" "));
        }
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_)) => view::plain(&mut shown, &other.to_string()),
    }
    shown
}
