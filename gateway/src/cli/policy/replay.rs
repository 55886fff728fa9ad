//! `portcullis policy replay`: judges recorded calls again. In: a span of the audit log, a rule set. Out: the calls that would be decided otherwise. Never here: deeds; nothing is sent anywhere.

use crate::cli::audit::indexed;
use crate::cli::book::{self, Book, Which};
use crate::cli::recorded::{self, Judged, Unreplayable};
use crate::cli::say::{Hue, line, painted};
use crate::cli::segments::{Line, Reader};
use crate::cli::{End, Failure, Outcome, Ways, audit, counted, say};
use crate::logged::{Reading, ago};
use crate::reload;
use clap::Args;
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::time::UnixMillis;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Which calls, by which rules.
#[derive(Args, Clone, Debug)]
pub struct Replay {
    /// From when on: a time, a day, or how long ago, as in 90m, 24h or 7d
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub from: String,
    /// Until when [default: now]
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Judge by these rules in the place of those that served last
    #[arg(long, value_name = "FOLDER")]
    pub candidate: Option<PathBuf>,
}

/// A span of time: from, and until before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first instant.
    pub from: UnixMillis,
    /// The first instant after it.
    pub to: UnixMillis,
}

impl Span {
    /// What two words on the command line mean.
    pub fn of(from: &str, to: Option<&str>) -> Result<Self, Failure> {
        let now = reload::now();
        let read = |text: &str| {
            ago(text, now).ok_or_else(|| {
                Failure::new(
                    format!("`{text}` is no time"),
                    "write `2026-11-23T10:00:00Z`, `2026-11-23`, or how long ago: `90m`, `24h`, `7d`",
                )
            })
        };
        Ok(Self { from: read(from)?, to: to.map_or(Ok(UnixMillis(now.0.saturating_add(1))), read)? })
    }

    /// The day that ends now.
    pub fn last_day() -> Self {
        let now = reload::now();
        Self { from: now.before(Duration::from_secs(86_400)), to: UnixMillis(now.0.saturating_add(1)) }
    }

    /// Whether it holds this instant, in Unix milliseconds.
    pub fn holds(&self, ts: i64) -> bool {
        (self.from.0..self.to.0).contains(&ts)
    }
}

/// A call that would be decided otherwise.
pub struct Otherwise {
    id: String,
    at: UnixMillis,
    asked: String,
    was: Judged,
    would: Judged,
}

/// What judging a span again came to.
#[derive(Default)]
pub struct Replayed {
    /// Calls that were judged again.
    pub judged: u64,
    /// The first [`KEPT_MAX`] of those that would be decided otherwise.
    pub otherwise: Vec<Otherwise>,
    /// All of them.
    pub otherwise_total: u64,
    /// Calls that could not be judged again, by the reason.
    pub unreplayable: BTreeMap<Unreplayable, u64>,
}

/// Calls that are kept for the report; all are counted.
const KEPT_MAX: usize = 10_000;

/// Calls that are shown to people.
const SHOWN_MAX: usize = 50;

/// Runs the verb; exit code 0 whatever it finds.
pub fn replay(replay: &Replay, ways: &Ways) -> Outcome {
    let span = Span::of(&replay.from, replay.to.as_deref())?;
    let which = replay.candidate.as_deref().map_or(Which::Serving, Which::Candidate);
    let book = book::open(which, ways)?;
    let replayed = run(&span, ways, &book.snapshot, None)?;
    if ways.json {
        say::json(&shown(&replayed, &span, &book));
        return Ok(End::Done);
    }
    page(&replayed, &book.name);
    if book.snapshot.engine.judges_results() {
        line("requests alone were judged: rules over results are not, since records need not hold what they read");
    }
    Ok(End::Done)
}

/// Judges the span again by `snapshot`, and compares with `before` where one is given, else with what was recorded.
pub fn run(span: &Span, ways: &Ways, snapshot: &Snapshot, before: Option<&Snapshot>) -> Result<Replayed, Failure> {
    let folder = audit::folder(ways)?;
    let mut replayed = Replayed::default();
    if !folder.exists() {
        return Ok(replayed);
    }
    let mut reader = Reader::new(&folder);
    let read = reader.each(span.from, |line| {
        if recorded::is_decision(&line.entry) && span.holds(line.entry.ts) {
            replayed.take(&line, snapshot, before);
        }
    });
    read.map_err(|error| audit::unreadable(&folder, &error))?;
    let reading = Reading { what: "policy replay".to_owned(), count: replayed.judged };
    indexed::record(ways, &reading)?;
    Ok(replayed)
}

impl Replayed {
    fn take(&mut self, line: &Line, snapshot: &Snapshot, before: Option<&Snapshot>) {
        let judged = recorded::trial(line).and_then(|trial| {
            let would = recorded::judge(&trial, snapshot)?;
            let was =
                before.map_or_else(|| Ok(Judged::recorded(&line.entry)), |before| recorded::judge(&trial, before))?;
            Ok((was, would))
        });
        match judged {
            Err(why) => *self.unreplayable.entry(why).or_default() += 1,
            Ok((was, would)) => {
                self.judged += 1;
                if was.word == would.word {
                    return;
                }
                self.otherwise_total += 1;
                if self.otherwise.len() < KEPT_MAX {
                    let (id, at) = (line.id(), UnixMillis(line.entry.ts));
                    self.otherwise.push(Otherwise { id, at, asked: words(line), was, would });
                }
            }
        }
    }

    /// How it stands, in one line.
    pub fn words(&self) -> String {
        let missing: u64 = self.unreplayable.values().sum();
        let count = |count: u64, noun| counted(usize::try_from(count).unwrap_or(usize::MAX), noun);
        let left = if missing == 0 {
            String::new()
        } else {
            format!("; {} could not be judged again", count(missing, "call"))
        };
        format!(
            "{} judged again, {} would be decided otherwise{left}",
            count(self.judged, "call"),
            self.otherwise_total
        )
    }

    /// Counts alone.
    pub fn counts(&self) -> Value {
        let unreplayable: serde_json::Map<String, Value> =
            self.unreplayable.iter().map(|(why, count)| (why.name().to_owned(), json!(count))).collect();
        json!({"judged": self.judged, "otherwise": self.otherwise_total, "not_replayable": unreplayable})
    }
}

/// `support-bot crm.read_table {"table":"orders"}`.
fn words(line: &Line) -> String {
    let entry = &line.entry;
    let (agent, server) = (entry.agent.as_deref().unwrap_or_default(), entry.server.as_deref().unwrap_or_default());
    let about = match (&entry.tool, entry.uri.as_ref().or(entry.name.as_ref())) {
        (Some(tool), _) => format!("{server}.{tool}"),
        (None, Some(name)) => format!("{server} {} {name}", entry.method.as_deref().unwrap_or_default()),
        (None, None) => format!("{server} {}", entry.method.as_deref().unwrap_or_default()),
    };
    let arguments = entry.arguments.as_ref().map(|raw| format!(" {}", raw.get())).unwrap_or_default();
    portcullis_core::policy::names::visible(&format!("{agent} {about}{arguments}"))
}

fn shown(replayed: &Replayed, span: &Span, book: &Book) -> Value {
    let judged = |judged: &Judged| json!({"decision": judged.word, "cause": judged.why, "rules": judged.rules});
    let calls: Vec<Value> = replayed
        .otherwise
        .iter()
        .map(|call| {
            json!({
                "id": call.id, "at": call.at.rfc3339(), "asked": call.asked,
                "was": judged(&call.was), "would_be": judged(&call.would),
            })
        })
        .collect();
    json!({
        "from": span.from.rfc3339(), "to": span.to.rfc3339(), "snapshot": book.about(),
        "counts": replayed.counts(), "otherwise": calls,
    })
}

fn page(replayed: &Replayed, name: &str) {
    for call in replayed.otherwise.iter().take(SHOWN_MAX) {
        let hue = if call.would.word == "allow" { Hue::Green } else { Hue::Red };
        line(&format!("{}  {}  {}", call.at.rfc3339(), call.asked, painted(&call.id, Hue::Dim)));
        line(&format!("    was {}, would be {}", call.was.words(), painted(&call.would.words(), hue)));
    }
    if replayed.otherwise.len() > SHOWN_MAX {
        line(&format!("and {} more; `--json` names them", replayed.otherwise.len() - SHOWN_MAX));
    }
    line(&format!("{}, by {name}", replayed.words()));
    for (why, count) in &replayed.unreplayable {
        line(&format!("  {count} of them not, since {}", why.words()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_as_instants_days_or_how_long_ago() {
        let now = UnixMillis(1_795_428_000_000);
        for (text, expected) in [
            ("", None),
            ("h", None),
            ("-1h", None),
            ("yesterday", None),
            ("90m", Some(1_795_428_000_000 - 5_400_000)),
            ("7d", Some(1_795_428_000_000 - 7 * 86_400_000)),
            ("2026-11-23T10:00:00Z", Some(1_795_428_000_000)),
            ("2026-11-23", Some(1_795_392_000_000)),
        ] {
            assert_eq!(ago(text, now).map(|at| at.0), expected, "{text}");
        }
    }
}
