//! Opens what questions about the log are answered from. In: the configuration. Out: the signed logs, their index brought up to the last checkpoint.
//! Never here: which question.

use crate::cli::check::spinner;
use crate::cli::policy::replay;
use crate::cli::{Failure, Ways, audit, say};
use crate::reload;
use portcullis_audit::index::{Access, Bar, Index, IndexError, Progress};
use portcullis_audit::logs::{self, LogsError, Numbered};
use portcullis_audit::report::{Cut, Table};
use portcullis_core::audit::view;
use portcullis_core::time::UnixMillis;
use portcullis_tlog::checkpoint::Checkpoint;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The log, and what it is asked with.
pub struct Opened {
    /// The audit folder.
    pub folder: PathBuf,
    /// Every log, oldest first.
    pub logs: Vec<Numbered>,
    /// The index over them.
    pub index: Index,
}

/// What someone read of the log, for the record of it.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Which question, with what it named.
    pub what: String,
    /// How many records the answer held.
    pub count: u64,
}

/// Records that the log is read. Where it cannot be recorded, nothing is shown.
pub type Recorder<'r> = &'r dyn Fn(&Reading) -> Result<(), Failure>;

/// A catching up of fewer entries than this is over before anyone wonders.
const QUIET_ENTRIES_MAX: u64 = 100_000;

/// Opens the logs and brings the index up to the last checkpoint, where this user may write it.
pub fn open(ways: &Ways) -> Result<Opened, Failure> {
    let (folder, logs) = signed(ways)?;
    let index = Index::open(&folder).map_err(|cause| failure(&folder, &cause))?;
    let mut opened = Opened { folder, logs, index };
    match opened.index.access() {
        Access::Write(_) => {
            caught_up(&mut opened, Index::catch_up)?;
        }
        Access::Read(bar) => {
            let why = match bar {
                Bar::Busy => "another process writes the index",
                Bar::NotAllowed => "the index may not be written by this user",
            };
            let behind = behind(&opened)?;
            if behind > 0 {
                say::note(&format!("note: {why}; it is {behind} entries behind the log"));
            }
        }
    }
    Ok(opened)
}

/// The logs alone.
pub fn signed(ways: &Ways) -> Result<(PathBuf, Vec<Numbered>), Failure> {
    let folder = audit::folder(ways)?;
    let logs = logs::open(&folder).map_err(|cause| match cause {
        LogsError::None => Failure::new(
            format!("there is no signed log in `{}` yet", folder.display()),
            "it begins with the first `portcullis run`; or the configuration names another folder in `[audit]`",
        ),
        LogsError::Unreadable(..) => Failure::new(cause.to_string(), "read it as root or as the gateway's user"),
        LogsError::Key(..) | LogsError::Log(..) => {
            Failure::new(cause.to_string(), "`portcullis-verify log` tells what is wrong with a log")
        }
    })?;
    Ok((folder, logs))
}

/// What is done with an index.
type Work =
    fn(&mut Index, &[Numbered], &mut dyn FnMut(Progress)) -> Result<portcullis_audit::index::Caught, IndexError>;

/// Runs what reads entries into the index, and shows how far it is.
pub fn caught_up(opened: &mut Opened, work: Work) -> Result<u64, Failure> {
    let mut progress = None;
    let caught = work(&mut opened.index, &opened.logs, &mut |step: Progress| {
        if step.of - step.entries.min(step.of) >= QUIET_ENTRIES_MAX || progress.is_some() {
            let shown = progress.get_or_insert_with(|| spinner("indexing"));
            shown.set_message(format!("{} of {} entries indexed", step.entries, step.of));
        }
    });
    if let Some(progress) = progress {
        progress.finish_and_clear();
    }
    let caught = caught.map_err(|cause| failure(&opened.folder, &cause))?;
    if let Some(again) = caught.again {
        say::note(&format!("note: the index was made again from the first entry on: {again}"));
    }
    Ok(caught.entries)
}

/// Entries that the index does not hold yet.
pub fn behind(opened: &Opened) -> Result<u64, Failure> {
    let covered = opened.index.covered().map_err(|cause| failure(&opened.folder, &cause))?;
    let held: u64 = covered.iter().map(|log| log.checkpoint.head.size).sum();
    Ok(opened.logs.iter().map(|log| log.log.size()).sum::<u64>().saturating_sub(held))
}

/// Why the index does not answer, with the cure.
pub fn failure(folder: &Path, cause: &IndexError) -> Failure {
    let help = match cause {
        IndexError::Barred(Bar::Busy) | IndexError::Unfinished => {
            "wait until it is finished; where nothing writes it, `portcullis audit reindex` makes it again"
        }
        IndexError::Barred(Bar::NotAllowed) | IndexError::File(..) => "ask as root or as the gateway's user",
        IndexError::Database(_) => {
            "`portcullis audit reindex` makes the index again; it holds nothing that the log does not"
        }
        IndexError::Log(..) | IndexError::OtherWay { .. } => {
            "`portcullis-verify log` names the first entry that is not as it was signed"
        }
        IndexError::NoPlace(_) => "write it as an answer gives it, such as `0000@17`",
    };
    Failure::new(format!("{cause}, in `{}`", folder.display()), help)
}

/// An instant, as people write it.
pub fn instant(text: Option<&String>) -> Result<Option<UnixMillis>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let read = replay::instant(text.strip_prefix('-').unwrap_or(text), reload::now());
    read.map(Some).ok_or_else(|| {
        Failure::new(
            format!("`{text}` is no time"),
            "write `2026-11-23T10:00:00Z`, `2026-11-23`, or how long ago: `-90m`, `-24h`, `-7d`",
        )
    })
}

/// What an answer was computed at, for programs.
pub fn told(checkpoint: &Checkpoint) -> Value {
    json!({"origin": checkpoint.origin, "size": checkpoint.head.size, "root": root(checkpoint)})
}

/// The same for people, beside the answer.
pub fn note(checkpoint: &Checkpoint) {
    let (size, origin) = (checkpoint.head.size, &checkpoint.origin);
    say::note(&format!("as of {size} entries of {origin}, root {}", root(checkpoint)));
}

fn root(checkpoint: &Checkpoint) -> String {
    checkpoint.text().lines().nth(2).unwrap_or_default().to_owned()
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
