//! Names what is wrong with a log. In: a place and a cause. Out: words, the first bad index. Never here: looking for it.

use std::fmt;

use crate::chain::Break;
use crate::checkpoint::Refused;
use crate::policy::Unwitnessed;

/// What is not as it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no checkpoint, so nothing is vouched for.
    NoCheckpoint,
    /// The checkpoint is no text.
    NotText,
    /// The checkpoint is not to be believed.
    Checkpoint(Refused),
    /// A file cannot be read.
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        cause: String,
    },
    /// A file is not there.
    Missing {
        /// Which.
        path: String,
        /// The first entry that is to be in it or below it.
        index: u64,
    },
    /// An entry is not the one that was logged.
    Entry {
        /// Which, from 0.
        index: u64,
    },
    /// A tile of a higher level does not follow from the entries.
    Tile {
        /// Which.
        path: String,
        /// The first entry below the hash that differs.
        index: u64,
    },
    /// Entries and tiles agree with each other, and not with the checkpoint.
    OtherHead {
        /// How many entries were checked.
        size: u64,
    },
    /// An entry is as it was signed, and not the record that follows in its shard.
    Chain {
        /// Which, from 0.
        index: u64,
        /// Why.
        cause: Break,
    },
    /// The log does not begin with the last checkpoint of the one before it, or with one although there is none before.
    Beginning,
    /// No checkpoint that witnesses saw is there, or too few of them saw it.
    Unwitnessed(Unwitnessed),
    /// Witnesses saw more entries than there are: the end of the log was cut off.
    RolledBack {
        /// How many they saw.
        seen: u64,
        /// How many there are.
        size: u64,
    },
    /// Witnesses saw other entries than those that are there.
    OtherHistory {
        /// How many they saw.
        seen: u64,
    },
    /// Entries that are to be checked are no longer kept, and nothing in the log says so.
    NotPruned {
        /// The first entry that was looked at.
        from: u64,
    },
    /// The log ends before the entry that checking is to begin with.
    Beyond {
        /// The first entry to be looked at.
        from: u64,
        /// How many there are.
        size: u64,
    },
}

impl Fault {
    /// The first entry it is about, where it is about entries.
    pub fn index(&self) -> Option<u64> {
        match self {
            Self::Missing { index, .. }
            | Self::Entry { index }
            | Self::Tile { index, .. }
            | Self::Chain { index, .. } => Some(*index),
            Self::RolledBack { size, .. } => Some(*size),
            Self::NotPruned { .. } | Self::Beginning => Some(0),
            Self::NoCheckpoint
            | Self::NotText
            | Self::Checkpoint(_)
            | Self::Unreadable { .. }
            | Self::OtherHead { .. }
            | Self::Unwitnessed(_)
            | Self::OtherHistory { .. }
            | Self::Beyond { .. } => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCheckpoint => write!(out, "there is no `checkpoint`, so nothing vouches for what is there"),
            Self::NotText => write!(out, "the checkpoint is no text"),
            Self::Checkpoint(cause) => write!(out, "the checkpoint is not to be believed: {cause}"),
            Self::Unreadable { path, cause } => write!(out, "`{path}` cannot be read: {cause}"),
            Self::Missing { path, index } => {
                write!(out, "`{path}` is missing; it holds entry {index} and those after it")
            }
            Self::Entry { index } => write!(out, "entry {index} is not the one that was logged"),
            Self::Tile { path, index } => {
                write!(out, "`{path}` does not follow from the entries, first at entry {index}")
            }
            Self::OtherHead { size } => write!(
                out,
                "the {size} entries agree with their tiles, and not with the checkpoint: both were rewritten"
            ),
            Self::Chain { index, cause } => write!(out, "entry {index} is not the record that follows: {cause}"),
            Self::Beginning => write!(out, "its first entry is not the last checkpoint of the log before it"),
            Self::Unwitnessed(cause) => write!(out, "the checkpoint that witnesses saw: {cause}"),
            Self::RolledBack { seen, size } => {
                write!(out, "witnesses saw {seen} entries, and {size} are left: the end was cut off")
            }
            Self::OtherHistory { seen } => write!(
                out,
                "witnesses saw another log: one of the first {seen} entries was changed, and all was signed anew"
            ),
            Self::NotPruned { from } => {
                write!(out, "entries before {from} were not looked at, and no record says that they are no longer kept")
            }
            Self::Beyond { from, size } => {
                write!(out, "checking is to begin with entry {from}, and the log has {size} entries")
            }
        }
    }
}

impl std::error::Error for Fault {}
