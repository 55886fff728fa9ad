//! Proves one entry in one file. In: an entry, its index, a proof, a checkpoint. Out: a `.tlog-proof` text, or that it proves nothing. Never here: files.
//!
//! C2SP tlog-proof: whoever has the log's key checks it with nothing else, for as long as the key is believed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, Refused};
use crate::note::VerifierKey;
use crate::proof::proves_inclusion;
use crate::tree::{Hash, leaf_hash};

/// What the first line says.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Hashes of a proof at most: a tree has no more levels.
const HASHES_MAX: usize = 64;

/// A proof that an entry is in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Where the entry stands, from 0.
    pub index: u64,
    /// Its siblings, lowest first.
    pub proof: Vec<Hash>,
    /// The checkpoint it leads to, as the log signed it.
    pub checkpoint: String,
}

impl Evidence {
    /// Reads a proof. Extra data is passed over: nothing vouches for it.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, EvidenceError> {
        let (proof, checkpoint) = text.split_once("\n\n").ok_or(EvidenceError::Form)?;
        let mut lines = proof.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(EvidenceError::Form);
        }
        let _extra = lines.next_if(|line| line.starts_with("extra "));
        let number = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(EvidenceError::Form)?;
        let index = number.parse::<u64>().ok().filter(|index| index.to_string() == number);
        let hash = |line| STANDARD.decode(line).ok().and_then(|hash| Hash::try_from(hash).ok());
        let proof: Option<Vec<Hash>> = lines.map(hash).collect();
        let (Some(index), Some(proof)) = (index, proof) else { return Err(EvidenceError::Form) };
        if proof.len() > HASHES_MAX {
            return Err(EvidenceError::Form);
        }
        Ok(Self { index, proof, checkpoint: checkpoint.to_owned() })
    }

    /// Checks that `entry` is in the log whose key this is; the checkpoint that says so.
    ///
    /// # Errors
    /// When the checkpoint is not to be believed, or does not cover this entry at this place.
    pub fn check(&self, entry: &[u8], key: &VerifierKey) -> Result<Checkpoint, EvidenceError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key).map_err(EvidenceError::Checkpoint)?;
        let head = &checkpoint.head;
        if !proves_inclusion(&leaf_hash(entry), self.index, head.size, &self.proof, &head.hash) {
            return Err(EvidenceError::NotIncluded);
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{HEADER}\nindex {}", self.index)?;
        for hash in &self.proof {
            writeln!(out, "{}", STANDARD.encode(hash))?;
        }
        write!(out, "\n{}", self.checkpoint)
    }
}

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvidenceError {
    /// It is not of the form of a proof.
    Form,
    /// Its checkpoint is not to be believed.
    Checkpoint(Refused),
    /// The checkpoint does not cover this entry at this place.
    NotIncluded,
}

impl fmt::Display for EvidenceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => write!(out, "it is no `{HEADER}`"),
            Self::Checkpoint(cause) => write!(out, "its checkpoint: {cause}"),
            Self::NotIncluded => write!(out, "the log does not hold this entry at this place"),
        }
    }
}

impl std::error::Error for EvidenceError {}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
