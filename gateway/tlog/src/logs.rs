//! Checks logs that follow each other. In: the files of each, the keys that are trusted. Out: that each is as it was signed and begins with the end of
//! the one before. Never here: where they lie.
//!
//! A log whose key is changed ends; the next begins with its last checkpoint as first entry. So the newest key vouches for all: whoever trusts it
//! need not trust the keys before, which stand beside the logs (`log.pub`).

use std::fmt;

use crate::chain::{Beginning, Chains, Told};
use crate::checkpoint::Checkpoint;
use crate::fault::Fault;
use crate::note::{Note, VerifierKey};
use crate::policy::{Policy, Unwitnessed, Witnessed};
use crate::tile::WIDTH;
use crate::verify::{Files, Plan, checkpoint, text, walk};

/// The file that holds the checkpoint that witnesses saw last.
pub const WITNESSED: &str = "checkpoint.witnessed";

/// What a log is held against beside its key.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    /// Who has to have seen it.
    pub policy: Option<Policy>,
    /// A checkpoint that witnesses saw, from elsewhere than the log's own folder.
    pub witnessed: Option<String>,
    /// The first entry to look at.
    pub from: u64,
}

/// A log that was found right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// As it was signed.
    pub checkpoint: Checkpoint,
    /// What witnesses saw of it, where any did that count.
    pub witnessed: Option<Witnessed>,
    /// What was read of it.
    pub told: Told,
    /// Bytes of the entries that were read.
    pub bytes: u64,
    /// How many shards wrote, in all logs that were read.
    pub shards: usize,
}

/// Logs that are read one after the other.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    chains: Chains,
    before: Before,
}

/// What comes before a log.
#[derive(Clone, Debug, Default)]
pub enum Before {
    /// Nothing.
    #[default]
    Nothing,
    /// Its first entry tells.
    Unknown,
    /// The log that ends like this.
    Log(Checkpoint),
}

impl Reading {
    /// Before the log that comes next.
    pub fn after(before: Before) -> Self {
        Self { chains: Chains::default(), before }
    }

    /// Checks the next log; `seen` is told how many of its entries were looked at, bundle by bundle.
    ///
    /// # Errors
    /// The first fault, by the order of entries.
    pub fn next(
        &mut self,
        files: &impl Files,
        key: &VerifierKey,
        demands: &Demands,
        mut seen: impl FnMut(u64),
    ) -> Result<Found, Fault> {
        let checkpoint = checkpoint(files, key)?;
        let witnessed = witnessed(files, key, demands)?;
        let head = witnessed.as_ref().map(|witnessed| witnessed.checkpoint.head);
        let plan = Plan { head: checkpoint.head, witnessed: head, from: demands.from };
        if demands.from > 0 {
            self.chains.cut();
        }
        let (chains, before, mut bytes) = (&mut self.chains, &self.before, 0);
        walk(files, &plan, &mut |index, entry, hash| {
            if index == 0 && continues(before, entry)? == Beginning::Cut {
                chains.cut();
            }
            chains.push(index, entry, hash).map_err(|cause| Fault::Chain { index, cause })?;
            bytes += entry.len() as u64;
            if index % WIDTH == 0 {
                seen(index);
            }
            Ok(())
        })?;
        let told = self.chains.take_told();
        if demands.from > told.pruned {
            return Err(Fault::NotPruned { from: demands.from });
        }
        self.before = Before::Log(checkpoint.clone());
        Ok(Found { checkpoint, witnessed, told, bytes, shards: self.chains.shards() })
    }
}

/// Whether a log with this first entry has all that came before it in sight. A log that follows another begins with the last checkpoint of that
/// one; one that follows none does not.
fn continues(before: &Before, entry: &[u8]) -> Result<Beginning, Fault> {
    let stated = std::str::from_utf8(entry).ok().and_then(|text| Note::parse(text).ok());
    let stated = stated.and_then(|note| Checkpoint::parse(note.text()).ok());
    match (before, stated) {
        (Before::Nothing | Before::Unknown, None) => Ok(Beginning::Whole),
        (Before::Unknown, Some(_)) => Ok(Beginning::Cut),
        (Before::Log(before), Some(stated)) if stated == *before => Ok(Beginning::Whole),
        (Before::Nothing | Before::Log(_), Some(_)) | (Before::Log(_), None) => Err(Fault::Beginning),
    }
}

/// What witnesses saw of a log. Where nobody has to have seen it, a checkpoint of theirs
/// that lies beside it is still a head that the log signed once, and is held against it as such.
fn witnessed(files: &impl Files, key: &VerifierKey, demands: &Demands) -> Result<Option<Witnessed>, Fault> {
    let note = match &demands.witnessed {
        Some(note) => Some(note.clone()),
        None => text(files, WITNESSED)?,
    };
    let policy = demands.policy.clone().unwrap_or_else(|| Policy::all_of(Vec::new()));
    match note {
        Some(note) => policy.check(&note, key).map(Some).map_err(Fault::Unwitnessed),
        None if policy.demands() => Err(Fault::Unwitnessed(Unwitnessed::Missing)),
        None => Ok(None),
    }
}

impl fmt::Display for Found {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told { records, back_in_time, lost, .. } = self.told;
        let (size, origin) = (self.checkpoint.head.size, &self.checkpoint.origin);
        write!(out, "{size} entries, {} bytes, as `{origin}` signed them", self.bytes)?;
        if records > 0 {
            write!(out, "; {records} records of {} shards, without a gap", self.shards)?;
        }
        if lost > 0 {
            write!(out, "; {lost} more were lost before they were written, as `audit.lost` says")?;
        }
        if let Some(seen) = self.witnessed.as_ref().filter(|seen| !seen.by.is_empty()) {
            let by: Vec<String> = seen.by.iter().map(|(name, at)| format!("`{name}` at {at}")).collect();
            write!(out, "; {} of them seen by {}", seen.checkpoint.head.size, by.join(", "))?;
        }
        if let Some(index) = back_in_time {
            write!(out, "; at entry {index} a clock had been set back")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "tamper_tests.rs"]
mod tampering;
