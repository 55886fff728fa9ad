//! Follows the records of each shard. In: entries in their order, with their hashes. Out: where a shard's chain breaks. Never here: what records say.
//!
//! Each record names the leaf hash of its shard's record before, and has the number that follows. A log's signature says that nothing was changed
//! since it was signed; the chains say that nothing was left out, added or exchanged before.

use std::fmt;

use crate::record::{Link, NotARecord, is_record};
use crate::tree::Hash;

/// The chains of all shards, as far as a log was read.
#[derive(Clone, Debug, Default)]
pub struct Chains {
    /// By shard.
    shards: Vec<Option<Shard>>,
    beginning: Beginning,
    told: Told,
}

/// Where the first record of a shard stands that is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beginning {
    /// At the shard's beginning: nothing came before what is read.
    #[default]
    Whole,
    /// Anywhere: what came before lies in an earlier log, or is no longer kept.
    Cut,
}

/// The last record of a shard.
#[derive(Clone, Copy, Debug)]
struct Shard {
    hash: Hash,
    seq: u64,
    at: i64,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// How many records.
    pub records: u64,
    /// How many entries that are no records: the checkpoint of the log before.
    pub others: u64,
    /// The first record that is stamped earlier than the one before in its shard. A host's clock that was set back does that.
    pub back_in_time: Option<u64>,
    /// Entries below this are no longer kept, as a record says.
    pub pruned: u64,
    /// Records that were never written, as records say: in `best-effort`, calls go on without them.
    pub lost: u64,
}

impl Chains {
    /// What comes next does not begin where the shards do.
    pub fn cut(&mut self) {
        self.beginning = Beginning::Cut;
    }

    /// Takes the next entry. One that is no record is counted.
    ///
    /// # Errors
    /// When it is not the one that follows in its shard.
    pub fn push(&mut self, index: u64, entry: &[u8], hash: &Hash) -> Result<(), Break> {
        if !is_record(entry) {
            self.told.others += 1;
            return Ok(());
        }
        let link = Link::read(entry).map_err(Break::NotARecord)?;
        self.told.records += 1;
        self.told.pruned = self.told.pruned.max(link.pruned.unwrap_or(0));
        self.told.lost = self.told.lost.saturating_add(link.lost.unwrap_or(0));
        let place = usize::from(link.shard);
        if self.shards.len() <= place {
            self.shards.resize(place + 1, None);
        }
        let Some(last) = self.shards.get_mut(place) else { return Ok(()) };
        match (&last, link.prev) {
            (Some(last), Some(prev)) if !is_hex(prev, &last.hash) => {
                return Err(Break::Predecessor { shard: link.shard });
            }
            (Some(_), None) => return Err(Break::Predecessor { shard: link.shard }),
            (Some(last), Some(_)) if link.seq != last.seq.wrapping_add(1) => {
                return Err(Break::Gap { shard: link.shard, after: last.seq, seq: link.seq });
            }
            (None, Some(_)) if self.beginning == Beginning::Whole => {
                return Err(Break::Beginning { shard: link.shard });
            }
            (None, Some(_) | None) | (Some(_), Some(_)) => {}
        }
        if last.is_some_and(|last| link.at < last.at) {
            self.told.back_in_time = self.told.back_in_time.or(Some(index));
        }
        *last = Some(Shard { hash: *hash, seq: link.seq, at: link.at });
        Ok(())
    }

    /// What was read since this was last asked.
    pub fn take_told(&mut self) -> Told {
        std::mem::take(&mut self.told)
    }

    /// How many shards wrote.
    pub fn shards(&self) -> usize {
        self.shards.iter().flatten().count()
    }
}

/// Whether `digits` are `hash` in hexadecimal, as RFC 8785 leaves no choice but records do: in lower case.
fn is_hex(digits: &[u8], hash: &Hash) -> bool {
    const fn digit(nibble: u8) -> u8 {
        nibble + if nibble < 10 { b'0' } else { b'a' - 10 }
    }
    let (pairs, odd) = digits.as_chunks::<2>();
    // All of them are looked at, so that it can be done at once.
    let differs =
        |differs, ([high, low], byte): (&[u8; 2], &u8)| differs | (high ^ digit(byte >> 4)) | (low ^ digit(byte & 15));
    odd.is_empty() && pairs.len() == hash.len() && pairs.iter().zip(hash).fold(0, differs) == 0
}

/// Why a record is not the one that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// It is no record.
    NotARecord(NotARecord),
    /// It does not name the record before it.
    Predecessor {
        /// Of which shard.
        shard: u16,
    },
    /// Its number does not follow.
    Gap {
        /// Of which shard.
        shard: u16,
        /// The number before.
        after: u64,
        /// The number it has.
        seq: u64,
    },
    /// It is the first of its shard that is there, and says that there was one before.
    Beginning {
        /// Of which shard.
        shard: u16,
    },
}

impl fmt::Display for Break {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARecord(cause) => write!(out, "{cause}"),
            Self::Predecessor { shard } => write!(out, "it does not name the record before it in shard {shard}"),
            Self::Gap { shard, after, seq } => {
                write!(out, "in shard {shard} it has number {seq}, and the one before {after}")
            }
            Self::Beginning { shard } => write!(out, "the records of shard {shard} before it are not there"),
        }
    }
}

impl std::error::Error for Break {}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
