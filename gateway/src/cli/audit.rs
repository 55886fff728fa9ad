//! `portcullis audit`: reads the audit log. In: the segments in the audit folder, the signed log and its index. Out: one line a call, one call in
//! full, tables, proofs. Never here: checking the log; that is `portcullis-verify`'s.

mod alone;
mod erase;
mod hold;
pub mod indexed;
mod proof;
mod query;
mod reindex;
mod report;
mod stats;
mod export;
mod why;

use crate::cli::segments::{self, Line, Reader};
use crate::cli::{self, End, Failure, Outcome, Ways, say};
use crate::logged::Reading;
use crate::logged::entries::Name;
use crate::logged::events::Events;
use crate::sources;
use clap::Subcommand;
use portcullis_core::audit::view::{Call, Pairing, one_line};
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What to read.
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// Show the last calls, decision and result together
    Tail {
        /// Go on as new ones come
        #[arg(short, long)]
        follow: bool,
        /// How many
        #[arg(short, long, default_value_t = 20)]
        number: usize,
    },
    /// Show all that is recorded of one call
    Show {
        /// Its id, as `tail` prints it: BOOT-SHARD-SEQ, or SHARD-SEQ of the latest boot
        id: String,
    },
    /// Tell why a call was decided as it was: the rules of the version that decided, what they read, and what nearly counted
    Why {
        /// Its id, as `tail` prints it: BOOT-SHARD-SEQ, or SHARD-SEQ of the latest boot
        id: String,
    },
    /// Find calls by who, what, when and how they ended, newest first
    Query(Box<Events>),
    /// Count calls by agent, tool, cause and outcome
    Stats(stats::Stats),
    /// Answer what is asked again and again: who touched an account, denials, access of agents, changes, unknown outcomes
    Report(report::Report),
    /// Write the proof that a record is in the signed log
    Proof(proof::Proof),
    /// Make the index of the signed log again
    Reindex,
    /// Take records out of the signed log: JSON lines, OCSF, Parquet, OpenTelemetry, syslog
    Export(export::Export),
    /// Destroy what calls asked and were answered; their entries stay
    Erase(erase::Erase),
    /// Keep calls from being erased
    #[command(subcommand)]
    Hold(hold::Hold),
}

/// How often the segments are looked at: a call should be seen as it happens, and a look costs next to nothing.
const LOOK: Duration = Duration::from_millis(200);

/// Runs the verb.
pub fn audit(verb: &AuditVerb, ways: &Ways) -> Outcome {
    let folder = folder(ways)?;
    let shown = match verb {
        AuditVerb::Tail { follow, number } => {
            let (then, what) = if *follow { (Then::Follow, "tail --follow") } else { (Then::End, "tail") };
            let found = Reader::new(&folder).latest(1).map_err(|error| unreadable(&folder, &error))?;
            let count = if found.is_empty() { 0 } else { *number as u64 };
            indexed::record(ways, &Reading { what: what.to_owned(), count })?;
            tail(Reader::new(&folder), *number, then, ways)
        }
        AuditVerb::Show { id } => return show(Reader::new(&folder), id, ways),
        AuditVerb::Why { id } => return why::why(Reader::new(&folder), id, ways),
        AuditVerb::Query(asked) => return query::query(asked, ways),
        AuditVerb::Stats(asked) => return stats::stats(asked, ways),
        AuditVerb::Report(asked) => return report::report(asked, ways),
        AuditVerb::Proof(asked) => return proof::proof(asked, ways),
        AuditVerb::Reindex => return reindex::reindex(ways),
        AuditVerb::Export(asked) => return export::export(asked, ways),
        AuditVerb::Erase(asked) => return erase::erase(asked, ways),
        AuditVerb::Hold(verb) => return hold::hold(verb, ways),
    };
    shown.map_err(|error| unreadable(&folder, &error))?;
    Ok(End::Done)
}

/// Why the log cannot be read.
pub fn unreadable(folder: &std::path::Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => Failure::new(
            format!("there is no audit log in `{}` yet", folder.display()),
            "it begins with the first `portcullis run`; or the configuration names another folder in `[audit]`",
        ),
        _ => Failure::new(
            format!("the audit log in `{}` cannot be read: {error}", folder.display()),
            "read it as root or as the gateway's user",
        ),
    }
}

/// Where the configuration says that the log lies.
pub fn folder(ways: &Ways) -> Result<PathBuf, Failure> {
    let settings = sources::settings(&ways.config).map_err(cli::first)?;
    Ok(settings.0.audit.folder)
}

/// What to do at the end of what is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    End,
    Follow,
}

fn tail(mut reader: Reader, number: usize, then: Then, ways: &Ways) -> io::Result<()> {
    // A call is a decision and one or two records of its result.
    let mut lines = reader.latest(number.saturating_mul(3))?;
    let mut pairing = Pairing::new();
    if ways.json {
        let surplus = lines.len().saturating_sub(number);
        lines.drain(..surplus).for_each(drop);
        raw(&lines);
    } else {
        let mut calls: Vec<Call> = lines.into_iter().filter_map(|line| pairing.push(line.entry)).collect();
        if then == Then::End {
            calls.extend(std::mem::take(&mut pairing).unsettled());
            calls.sort_by_key(|call| (call.entry.ts, call.entry.shard, call.entry.seq));
        }
        let surplus = calls.len().saturating_sub(number);
        calls.iter().skip(surplus).for_each(print);
    }
    if reader.unreadable > 0 {
        say::note(&format!("{} lines are no records of this version", reader.unreadable));
    }
    if then == Then::End {
        return Ok(());
    }
    loop {
        std::thread::sleep(LOOK);
        let lines = reader.more()?;
        if ways.json {
            raw(&lines);
        } else {
            lines.into_iter().filter_map(|line| pairing.push(line.entry)).for_each(|call| print(&call));
        }
    }
}

fn raw(lines: &[Line]) {
    lines.iter().for_each(|line| say::line(&line.raw));
}

fn print(call: &Call) {
    say::line(&format!("{}  {}", hued(&one_line(call)), say::painted(&segments::id(&call.entry), say::Hue::Dim)));
}

/// The verdict stands second, after the time.
fn hued(line: &str) -> String {
    let mut words = line.splitn(3, ' ');
    let (time, verdict, rest) =
        (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let hue = match verdict {
        "ALLOW" => say::Hue::Green,
        "DENY" | "REFUSE" => say::Hue::Red,
        "WOULD-DENY" => say::Hue::Yellow,
        _ => say::Hue::Dim,
    };
    format!("{time} {} {rest}", say::painted(verdict, hue))
}

/// Every record of the call that `id` names.
fn find(mut reader: Reader, id: &str) -> Result<Vec<Line>, Failure> {
    let wanted = Name::parse(id).ok_or_else(|| {
        Failure::new(
            format!("`{id}` names no record"),
            "name it as `portcullis audit tail` does, such as 1795428000000-0-17",
        )
    })?;
    let lines = reader.boot(wanted.boot).map_err(|error| unreadable(reader.folder(), &error))?;
    let of = |line: &Line, seq: u64| {
        line.entry.shard == wanted.shard && (line.entry.seq == seq || line.entry.decision_seq == Some(seq))
    };
    // The name of a result leads to its decision.
    let named = lines.iter().find(|line| line.entry.shard == wanted.shard && line.entry.seq == wanted.seq);
    let seq = named.and_then(|line| line.entry.decision_seq).unwrap_or(wanted.seq);
    let records: Vec<Line> = lines.into_iter().filter(|line| of(line, seq)).collect();
    if records.is_empty() {
        return Err(Failure::new(
            format!("no record `{id}` in the log"),
            match wanted.boot {
                Some(_) => {
                    "`portcullis audit tail` shows those there are; it may lie in another folder, or be removed for its age"
                }
                None => "SHARD-SEQ names a record of the latest start alone; `portcullis audit tail` shows whole names",
            },
        ));
    }
    Ok(records)
}

fn show(reader: Reader, id: &str, ways: &Ways) -> Outcome {
    let records = find(reader, id)?;
    indexed::record(ways, &Reading { what: format!("show {id}"), count: records.len() as u64 })?;
    let shown: Vec<Value> = records.iter().filter_map(|line| serde_json::from_str(&line.raw).ok()).collect();
    let mut pairing = Pairing::new();
    let mut calls: Vec<Call> = records.into_iter().filter_map(|line| pairing.push(line.entry)).collect();
    let unsettled = pairing.unsettled();
    let known = unsettled.is_empty();
    calls.extend(unsettled);
    if ways.json {
        say::json(&json!({"id": id, "outcome_known": known, "records": shown}));
        return Ok(End::Done);
    }
    calls.iter().for_each(print);
    if !known {
        say::line(
            "outcome unknown: it was let pass, and no end of it is recorded; the upstream may have done it or not",
        );
    }
    shown.iter().for_each(say::json);
    Ok(End::Done)
}
