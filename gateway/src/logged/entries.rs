//! Finds one entry and proves it. In: a record's name, or its place in a log. Out: its bytes, and the proof that they stand there. Never here: trust in
//! what is on the disk; the proof is checked before it is given.

use super::{Fault, Opened, Reading, Unanswered, signed, told, unindexed};
use portcullis_audit::index::Place;
use portcullis_audit::logs::{self, Numbered};
use serde_json::{Value, json};
use std::io;
use std::path::Path;

/// A record's name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// The start of the gateway; the latest where it is not named.
    pub boot: Option<u64>,
    /// The shard.
    pub shard: u16,
    /// The number there.
    pub seq: u64,
}

impl Name {
    /// Reads `BOOT-SHARD-SEQ` or `SHARD-SEQ`.
    pub fn parse(id: &str) -> Option<Self> {
        let parts: Vec<&str> = id.split('-').collect();
        let (boot, shard, seq) = match parts.as_slice() {
            [boot, shard, seq] => (Some(boot.parse().ok()?), shard, seq),
            [shard, seq] => (None, shard, seq),
            _ => return None,
        };
        Some(Self { boot, shard: shard.parse().ok()?, seq: seq.parse().ok()? })
    }
}

/// An entry, with what proves it.
pub struct Entry {
    /// Where it stands.
    pub place: Place,
    /// The log that holds it.
    pub log: Numbered,
    /// Its bytes, as they were hashed.
    pub bytes: Vec<u8>,
    /// A `.tlog-proof`.
    pub proof: String,
}

impl Entry {
    /// Finds it by its name or its place, and checks it against the checkpoint. `open` opens the index, which only names need.
    ///
    /// # Errors
    /// When there is none, or it is not what was signed.
    pub fn find(
        folder: &Path,
        id: &str,
        open: impl FnOnce() -> Result<Opened, Unanswered>,
    ) -> Result<Self, Unanswered> {
        let (logs, place) = match Place::parse(id) {
            Some(place) => (signed(folder)?, place),
            None => {
                let opened = open()?;
                let place = named(&opened, id)?;
                (opened.logs, place)
            }
        };
        let log = logs.into_iter().rfind(|log| place.log.is_none_or(|number| number == log.number));
        let log = log
            .filter(|log| place.index < log.log.size())
            .ok_or_else(|| Unanswered::new(Fault::Nothing, format!("the signed log has no place `{place}`"), SOON))?;
        let (proof, bytes) = proven(&log, place.index, folder)?;
        Ok(Self { place: Place { log: Some(log.number), index: place.index }, log, bytes, proof })
    }

    /// For the record of its reading.
    pub fn reading(&self, verb: &str, id: &str) -> Reading {
        Reading { what: format!("{verb} {id}"), count: 1 }
    }

    /// The proof for programs.
    pub fn shown(&self, id: &str) -> Value {
        let text = String::from_utf8_lossy(&self.bytes);
        json!({
            "id": id, "log": self.log.number, "index": self.place.index, "checkpoint": told(self.log.log.checkpoint()),
            "proof": self.proof, "entry": text, "key": self.log.key.to_string(),
        })
    }

    /// What it says, for programs.
    pub fn record(&self, id: &str) -> Value {
        let record: Value = serde_json::from_slice(&self.bytes).unwrap_or_default();
        json!({
            "id": id, "log": self.log.number, "index": self.place.index, "checkpoint": told(self.log.log.checkpoint()),
            "record": record,
        })
    }
}

const SOON: &str =
    "`portcullis audit query` shows the places of records; one that was just made is signed within a second";

/// The place of a record that is called by its name.
fn named(opened: &Opened, id: &str) -> Result<Place, Unanswered> {
    let told = |cause| unindexed(&opened.folder, &cause);
    let wanted = Name::parse(id).ok_or_else(|| {
        let help = "name it as `portcullis audit query` does, such as 1795428000000-0-17, or by its index, such as @17";
        Unanswered::new(Fault::Question, format!("`{id}` names no record"), help)
    })?;
    let boot = match wanted.boot {
        Some(boot) => Some(boot.to_string()),
        None => opened.index.latest_boot().map_err(told)?,
    };
    let name = (boot.as_deref().unwrap_or_default(), u64::from(wanted.shard), wanted.seq);
    opened.index.find(&opened.logs, name).map_err(told)?.ok_or_else(|| {
        Unanswered::new(
            Fault::Nothing,
            format!("no record `{id}` in the signed log"),
            "`portcullis audit query` shows those there are; one that was just made is signed within a second",
        )
    })
}

/// The proof and the entry, after the one was held against the other.
fn proven(log: &Numbered, index: u64, folder: &Path) -> Result<(String, Vec<u8>), Unanswered> {
    let unreadable = |cause: io::Error| {
        let name = logs::name(log.number);
        let message = format!("the log `{name}` in `{}` cannot be read: {cause}", folder.display());
        let help = "read it as root or as the gateway's user; `portcullis-verify log` tells what is wrong with it";
        Unanswered::new(Fault::Log, message, help)
    };
    let evidence = log.log.evidence(index).map_err(unreadable)?;
    let entry = log.log.entry(index).map_err(unreadable)?;
    let (Some(evidence), Some(entry)) = (evidence, entry) else {
        return Err(Unanswered::new(Fault::Nothing, format!("the log has no entry {index}"), SOON));
    };
    evidence.check(&entry, &log.key).map_err(|cause| {
        Unanswered::new(
            Fault::Log,
            format!("the entry {index} is not what was signed: {cause}"),
            "`portcullis-verify log` names the first entry that is not",
        )
    })?;
    Ok((evidence.to_string(), entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_named_with_its_boot_or_in_the_latest() {
        for (id, expected) in [
            ("", None),
            ("7", None),
            ("a-b-c", None),
            ("1-2-3-4", None),
            ("1795428000000-0-17", Some(Name { boot: Some(1_795_428_000_000), shard: 0, seq: 17 })),
            ("3-9", Some(Name { boot: None, shard: 3, seq: 9 })),
        ] {
            assert_eq!(Name::parse(id), expected, "{id}");
        }
    }
}
