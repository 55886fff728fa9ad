//! Records what was erased and held. In: what was done. Out: its records. Never here: how it was done.

use portcullis_audit::calls::{self, Wanted};
use portcullis_audit::keeping::{Done, Hold};
use portcullis_core::audit::record::{Erased, Held, Record};
use portcullis_core::limits::DETERMINING_MAX;
use portcullis_core::time::UnixMillis;
use std::fmt::Write;

/// What was done, with the texts that its records borrow.
pub struct Told {
    done: Done,
    names: Vec<String>,
    what: String,
}

/// Texts of what was done.
pub fn told(done: &[Done]) -> Vec<Told> {
    let told = |done: &Done| {
        let (names, what) = match done {
            Done::Erased(erasure) => (erasure.calls.iter().map(calls::Found::id).collect(), String::new()),
            Done::Placed(hold) | Done::Lifted(hold) => {
                (hold.calls.names.iter().map(calls::id).collect(), format!("{}{}", hold.name, span(&hold.calls)))
            }
        };
        Told { done: done.clone(), names, what }
    };
    done.iter().map(told).collect()
}

/// The span of time of a hold, in words.
pub fn span(calls: &Wanted) -> String {
    let mut said = String::new();
    for (word, at) in [("from", calls.from), ("to", calls.to)] {
        if let Some(at) = at {
            let _ = write!(said, " {word} {}", UnixMillis(at).rfc3339());
        }
    }
    said
}

/// Names and fields, as records borrow them.
pub type Lists<'t> = (Vec<&'t str>, Vec<&'t str>);

/// The lists that the records borrow.
pub fn lists(told: &[Told]) -> Vec<Lists<'_>> {
    told.iter().map(Told::lists).collect()
}

/// The records: each names as many calls as a record can, so an erasure of more has several.
pub fn records<'t>(told: &'t [Told], lists: &'t [Lists<'t>]) -> Vec<Record<'t>> {
    let mut records = Vec::new();
    for (told, (names, fields)) in told.iter().zip(lists) {
        let mut chunks: Vec<&[&str]> = names.chunks(DETERMINING_MAX).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        records.extend(chunks.into_iter().map(|entries| told.record(entries, fields)));
    }
    records
}

impl Told {
    fn lists(&self) -> Lists<'_> {
        let fields = match &self.done {
            Done::Erased(erasure) => erasure.fields.iter().map(String::as_str).collect(),
            Done::Placed(_) | Done::Lifted(_) => Vec::new(),
        };
        (self.names.iter().map(String::as_str).collect(), fields)
    }

    fn record<'r>(&'r self, entries: &'r [&'r str], fields: &'r [&'r str]) -> Record<'r> {
        let held = |hold: &'r Hold| Held {
            actor: &hold.actor,
            what: &self.what,
            entries,
            agent: hold.calls.agent.as_deref(),
            account: hold.calls.account.as_deref(),
            reason: &hold.reason,
        };
        match &self.done {
            Done::Erased(erasure) => {
                Record::AuditErased(Erased { actor: &erasure.actor, entries, fields, reason: &erasure.reason })
            }
            Done::Placed(hold) => Record::AuditHeld(held(hold)),
            Done::Lifted(hold) => Record::AuditReleased(held(hold)),
        }
    }
}
