//! Keeps what witnesses answered. In: a checkpoint, cosignatures of it. Out: `checkpoint.witnessed` beside it. Never here: asking.

use crate::disk;
use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::logs::WITNESSED;
use portcullis_tlog::note::{Note, VerifierKey};
use portcullis_tlog::proof::Head;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long a checkpoint that more witnesses saw stands before one that fewer saw: a witness may be gone for good.
pub const FEWER_AFTER: Duration = Duration::from_secs(600);

/// What is there, as far as it can be believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paper {
    /// What it is of; none where nothing is there.
    pub head: Option<Head>,
    /// By witness, whether it cosigned.
    pub by: Vec<bool>,
}

impl Paper {
    /// Reads what lies beside a checkpoint; where it is not to be believed it is as if it were not there.
    pub fn read(folder: &Path, log: &VerifierKey, witnesses: &[VerifierKey]) -> Self {
        let nothing = || Self { head: None, by: vec![false; witnesses.len()] };
        let Ok(text) = fs::read_to_string(folder.join(WITNESSED)) else { return nothing() };
        let (Ok(checkpoint), Ok(note)) = (Checkpoint::open(&text, log), Note::parse(&text)) else { return nothing() };
        let by = witnesses.iter().map(|witness| witness.verify(&note).is_ok()).collect();
        Self { head: Some(checkpoint.head), by }
    }

    /// The size it is of.
    pub fn size(&self) -> u64 {
        self.head.map_or(0, |head| head.size)
    }

    /// How many cosigned.
    pub fn count(&self) -> usize {
        self.by.iter().filter(|by| **by).count()
    }

    /// Whether one that these cosigned takes its place, after it stood for `stood`.
    pub fn yields(&self, to: &Self, stood: Duration) -> bool {
        to.count() > 0 && (to.count() >= self.count() || stood >= FEWER_AFTER)
    }
}

/// Writes `note` with its cosignatures beside the checkpoint, whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub fn write(folder: &Path, note: &str, cosignatures: &[String]) -> io::Result<()> {
    disk::replace(&folder.join(WITNESSED), format!("{note}{}", cosignatures.concat()).as_bytes(), 0o644)
}
