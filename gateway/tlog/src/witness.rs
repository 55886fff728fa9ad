//! Decides whether a witness cosigns. In: what it last cosigned of a log, a request. Out: a cosignature and what to keep, or why not. Never here: clocks,
//! files, HTTP.
//!
//! C2SP tlog-witness. A witness states that it saw the log's heads grow one from the other; whoever demands its cosignature cannot be shown one log
//! while others are shown another. Cosignatures are Ed25519 (`cosignature/v1`); those of ML-DSA-44 are not made.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, NotACheckpoint};
use crate::note::{Note, NoteError, NoteSigner, VerifierKey};
use crate::proof::{Head, proves_consistency};
use crate::tree::Hash;

/// Hashes of a consistency proof at most (tlog-witness).
const HASHES_MAX: usize = 63;

/// Bytes of a request at most: a full proof and a checkpoint with some twenty signatures.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// What a log asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The size of what the witness is believed to have cosigned last; 0 where nothing is known.
    pub old: u64,
    /// That the log of `old` entries is the beginning of this one.
    pub proof: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

impl Request {
    /// Reads the body of `add-checkpoint`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(body: &str) -> Result<Self, Malformed> {
        if body.len() > REQUEST_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        let (head, checkpoint) = body.split_once("\n\n").ok_or(Malformed::Form)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).ok_or(Malformed::Form)?;
        let size = old.parse::<u64>().ok().filter(|size| size.to_string() == old).ok_or(Malformed::Form)?;
        let hash = |line| STANDARD.decode(line).ok().and_then(|hash| Hash::try_from(hash).ok());
        let proof: Vec<Hash> = lines.map(hash).collect::<Option<_>>().ok_or(Malformed::Form)?;
        if proof.len() > HASHES_MAX {
            return Err(Malformed::Form);
        }
        Ok(Self { old: size, proof, checkpoint: checkpoint.to_owned() })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(out, "{}", STANDARD.encode(hash))?;
        }
        write!(out, "\n{}", self.checkpoint)
    }
}

/// A checkpoint that may be cosigned: signed by a known log, and grown from what was cosigned last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    checkpoint: Checkpoint,
    text: String,
    signatures: String,
}

/// Checks a request against the logs that are known; `last` tells what was cosigned last of an origin, nothing where it never was.
///
/// # Errors
/// Why it is not to be cosigned.
pub fn judge(
    request: &Request,
    logs: &[VerifierKey],
    last: impl FnOnce(&str) -> Option<Head>,
) -> Result<Grown, Refusal> {
    let note = Note::parse(&request.checkpoint).map_err(Refusal::Note)?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(Refusal::Form)?;
    let mut keys = logs.iter().filter(|key| key.name() == checkpoint.origin).peekable();
    if keys.peek().is_none() {
        return Err(Refusal::UnknownLog { origin: checkpoint.origin });
    }
    // Signatures of unknown keys are dropped: what is kept and handed on is what was checked.
    let signatures: String = keys.filter(|key| key.verify(&note).is_ok()).map(|key| key.lines(&note)).collect();
    if signatures.is_empty() {
        return Err(Refusal::NotSigned { origin: checkpoint.origin });
    }
    let head = checkpoint.head;
    if request.old > head.size {
        return Err(Refusal::Shrinks { old: request.old, size: head.size });
    }
    let last = last(&checkpoint.origin).unwrap_or(Head { size: 0, hash: crate::tree::tree_head::<&[u8]>(&[]) });
    if request.old != last.size {
        return Err(Refusal::OtherSize { last: last.size });
    }
    if last.size == head.size && last.hash != head.hash {
        return Err(Refusal::OtherHead { last: last.size });
    }
    if !proves_consistency(&last, &head, &request.proof) {
        return Err(Refusal::Unproven { last: last.size, size: head.size });
    }
    Ok(Grown { checkpoint, text: note.text().to_owned(), signatures })
}

impl Grown {
    /// What is about to be cosigned.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Cosigns, as of `at` seconds since 1970: `keep` is given the whole note, with the cosignature, and has it on the disk when it returns.
    /// Only then does the cosignature leave: a witness that forgot what it cosigned could be made to cosign something else.
    ///
    /// # Errors
    /// When `keep` could not.
    pub fn cosign<E>(
        &self,
        signer: &NoteSigner,
        at: u64,
        keep: impl FnOnce(&str) -> Result<(), E>,
    ) -> Result<String, E> {
        let cosignature = signer.sign(&self.text, at);
        keep(&format!("{}\n{}{cosignature}", self.text, self.signatures))?;
        Ok(cosignature)
    }
}

/// What was cosigned last, from the note that [`Grown::cosign`] had kept.
///
/// # Errors
/// When it is none of this witness. It must not go on then: it would forget what it cosigned.
pub fn kept(note: &str, signer: &VerifierKey) -> Result<Checkpoint, Refusal> {
    let note = Note::parse(note).map_err(Refusal::Note)?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(Refusal::Form)?;
    match signer.verify(&note) {
        Ok(_) => Ok(checkpoint),
        Err(_) => Err(Refusal::NotSigned { origin: checkpoint.origin }),
    }
}

/// Why a body is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is longer than any request.
    TooLong,
    /// It is not of the form.
    Form,
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(out, "the request is longer than {REQUEST_BYTES_MAX} bytes"),
            Self::Form => write!(out, "the request is not an `old` line, a proof, an empty line and a checkpoint"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Why a checkpoint is not cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no note.
    Note(NoteError),
    /// It is no checkpoint.
    Form(NotACheckpoint),
    /// Of a log that is not known.
    UnknownLog {
        /// Which.
        origin: String,
    },
    /// No key of that log signed it.
    NotSigned {
        /// Of which log.
        origin: String,
    },
    /// The old size is above the new one.
    Shrinks {
        /// The old size, as the request has it.
        old: u64,
        /// The new one.
        size: u64,
    },
    /// The old size is not what was cosigned last.
    OtherSize {
        /// What was.
        last: u64,
    },
    /// It has the size that was cosigned last, and another head: the log has two histories.
    OtherHead {
        /// The size.
        last: u64,
    },
    /// The proof does not show that it grew from what was cosigned last.
    Unproven {
        /// What was.
        last: u64,
        /// What it claims to have grown to.
        size: u64,
    },
}

impl Refusal {
    /// The status of the answer (RFC 9110, tlog-witness).
    pub fn status(&self) -> u16 {
        match self {
            Self::Note(_) | Self::Form(_) | Self::Shrinks { .. } => 400,
            Self::NotSigned { .. } => 403,
            Self::UnknownLog { .. } => 404,
            Self::OtherSize { .. } | Self::OtherHead { .. } => 409,
            Self::Unproven { .. } => 422,
        }
    }

    /// The size that an answer of 409 consists of (`text/x.tlog.size`).
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::OtherSize { last } | Self::OtherHead { last } => Some(*last),
            Self::Note(_)
            | Self::Form(_)
            | Self::UnknownLog { .. }
            | Self::NotSigned { .. }
            | Self::Shrinks { .. }
            | Self::Unproven { .. } => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(cause) => write!(out, "{cause}"),
            Self::Form(cause) => write!(out, "the checkpoint: {cause}"),
            Self::UnknownLog { origin } => write!(out, "the log `{origin}` is not known here"),
            Self::NotSigned { origin } => write!(out, "no known key of `{origin}` signed it"),
            Self::Shrinks { old, size } => write!(out, "the old size {old} is above the new size {size}"),
            Self::OtherSize { last } => write!(out, "cosigned last was size {last}"),
            Self::OtherHead { last } => write!(out, "another head of size {last} was cosigned before"),
            Self::Unproven { last, size } => {
                write!(out, "the proof does not show that the log of {size} entries grew from the one of {last}")
            }
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
#[path = "witness_tests.rs"]
mod tests;
