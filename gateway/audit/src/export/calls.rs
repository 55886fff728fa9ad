//! Brings decisions and results of the log together. In: leaves in their order. Out: an item a call, an item a record that stands alone. Never
//! here: how an item is written.
//!
//! A decision that let a call pass waits for its result until `WINDOW_ENTRIES` more entries were read; then it is given without one, and its
//! result, should it come, stands alone. The window counts entries and not bytes or time, so that an export which begins in the middle can find
//! who was waiting there: every export pairs alike. In memory are the newest waiting leaves up to `WAITING_BYTES_MAX`, others are read again.

use std::collections::{HashMap, VecDeque};
use std::io;

use portcullis_core::audit::view::{self, Entry};

use super::source::{Leaf, Position, Source};

/// How many entries a decision waits for its result: at 1,000 calls a second two records each, half a minute, and a call's longest wait by
/// default; reading that much of a log again takes a fifth of a second.
pub const WINDOW_ENTRIES: u64 = 65_536;

/// Bytes of waiting leaves in memory. A leaf has 600 bytes as a rule: all of a window fits.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A record of the log.
#[derive(Clone, Debug)]
pub struct Kept {
    /// As it was logged.
    pub leaf: Leaf,
    /// What it says.
    pub entry: Entry,
}

impl Kept {
    /// `BOOT-SHARD-SEQ`.
    pub fn id(&self) -> String {
        format!("{}-{}-{}", self.entry.boot, self.entry.shard, self.entry.seq)
    }
}

/// A call, or a record that stands alone.
#[derive(Clone, Debug)]
pub struct Item {
    /// The decision, or the record that stands alone.
    pub first: Kept,
    /// What became of it.
    pub answer: Answer,
}

/// What became of a call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It stands alone.
    NotExpected,
    /// It was answered, and this is the record.
    Given(Box<Kept>),
    /// The gateway ended before the call did: the upstream may have done it or not. The record that says so.
    Unknown(Box<Kept>),
    /// No end of it is recorded yet.
    Open {
        /// Whether some of the answer has been released.
        released: Released,
    },
}

/// Whether some of an answer has been released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Nothing that is known of.
    Nothing,
    /// Its release began.
    Some,
}

impl Item {
    /// A record that stands alone.
    pub fn alone(first: Kept) -> Self {
        Self { first, answer: Answer::NotExpected }
    }

    /// The record of its result, where it was answered.
    pub fn result(&self) -> Option<&Kept> {
        match &self.answer {
            Answer::Given(end) => Some(end),
            Answer::NotExpected | Answer::Unknown(_) | Answer::Open { .. } => None,
        }
    }

    /// The record that ended it, whatever the end.
    pub fn end(&self) -> Option<&Kept> {
        match &self.answer {
            Answer::Given(end) | Answer::Unknown(end) => Some(end),
            Answer::NotExpected | Answer::Open { .. } => None,
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let answer = match &self.answer {
            Answer::NotExpected => view::Answer::NotExpected,
            Answer::Given(end) => view::Answer::Given(Box::new(end.entry.clone())),
            Answer::Open { released: Released::Some } => view::Answer::PartlyReleased,
            Answer::Unknown(_) | Answer::Open { released: Released::Nothing } => view::Answer::Unknown,
        };
        view::one_line(&view::Call { entry: self.first.entry.clone(), answer })
    }
}

type Key = (String, u16, u64);

/// A decision without its result.
struct Waiting {
    at: Position,
    released: Released,
    /// None where too many wait: it is read again.
    kept: Option<Kept>,
}

/// Decisions that wait.
pub struct Calls<'s> {
    source: &'s Source,
    waiting: HashMap<Key, Waiting>,
    /// Every decision that waited within the window, oldest first; some have been answered.
    order: VecDeque<(u64, Key)>,
    bytes: usize,
    bytes_max: usize,
}

impl<'s> Calls<'s> {
    /// Nothing seen yet.
    pub fn new(source: &'s Source) -> Self {
        Self::within(source, WAITING_BYTES_MAX)
    }

    pub(super) fn within(source: &'s Source, bytes_max: usize) -> Self {
        Self { source, waiting: HashMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// The decision that has waited long enough when the entry `ordinal` is read; to be asked before each entry.
    ///
    /// # Errors
    /// When it has to be read again and cannot be.
    pub fn expired(&mut self, ordinal: u64) -> io::Result<Option<Item>> {
        let old = |entry: &(u64, Key)| entry.0.saturating_add(WINDOW_ENTRIES) <= ordinal;
        while self.order.front().is_some_and(old) {
            let Some((_, key)) = self.order.pop_front() else { break };
            if let Some((first, released)) = self.take(&key)? {
                return Ok(Some(Item { first, answer: Answer::Open { released } }));
            }
        }
        Ok(None)
    }

    /// Takes a record in; gives an item as soon as it is settled.
    ///
    /// # Errors
    /// When a decision has to be read again and cannot be.
    pub fn push(&mut self, ordinal: u64, leaf: Leaf, entry: Entry) -> io::Result<Option<Item>> {
        let kept = Kept { leaf, entry };
        let entry = &kept.entry;
        let named = |seq| (entry.boot.clone(), entry.shard, seq);
        match (entry.event.as_str(), entry.decision_seq) {
            ("decision", _) if entry.decision.as_deref() != Some("deny") => {
                self.wait(ordinal, named(entry.seq), kept);
                Ok(None)
            }
            ("result.begun", Some(seq)) => match self.waiting.get_mut(&named(seq)) {
                Some(waiting) => {
                    waiting.released = Released::Some;
                    Ok(None)
                }
                None => Ok(Some(Item::alone(kept))),
            },
            ("result" | "result.ended", Some(seq)) => Ok(Some(match self.take(&named(seq))? {
                Some((first, _)) => Item { first, answer: Answer::Given(Box::new(kept)) },
                None => Item::alone(kept),
            })),
            ("outcome.unknown", Some(seq)) => {
                let boot = entry.decision_boot.clone().unwrap_or_else(|| entry.boot.clone());
                let key = (boot, entry.decision_shard.unwrap_or(entry.shard), seq);
                Ok(Some(match self.take(&key)? {
                    Some((first, _)) => Item { first, answer: Answer::Unknown(Box::new(kept)) },
                    None => Item::alone(kept),
                }))
            }
            (_, _) => Ok(Some(Item::alone(kept))),
        }
    }

    /// The calls without an end where the log ends, oldest first.
    ///
    /// # Errors
    /// When one has to be read again and cannot be.
    pub fn open(mut self) -> io::Result<Vec<Item>> {
        let mut items = Vec::new();
        for (_, key) in std::mem::take(&mut self.order) {
            if let Some((first, released)) = self.take(&key)? {
                items.push(Item { first, answer: Answer::Open { released } });
            }
        }
        Ok(items)
    }

    fn wait(&mut self, ordinal: u64, key: Key, kept: Kept) {
        let (at, bytes) = (kept.leaf.at, kept.leaf.bytes.len());
        let fits = self.bytes.saturating_add(bytes) <= self.bytes_max;
        if fits {
            self.bytes += bytes;
        }
        let waiting = Waiting { at, released: Released::Nothing, kept: fits.then_some(kept) };
        self.order.push_back((ordinal, key.clone()));
        self.waiting.insert(key, waiting);
    }

    fn take(&mut self, key: &Key) -> io::Result<Option<(Kept, Released)>> {
        let Some(waiting) = self.waiting.remove(key) else { return Ok(None) };
        let kept = match waiting.kept {
            Some(kept) => {
                self.bytes = self.bytes.saturating_sub(kept.leaf.bytes.len());
                kept
            }
            None => {
                let leaf = self.source.leaf(waiting.at)?;
                let entry = serde_json::from_slice(&leaf.bytes)?;
                Kept { leaf, entry }
            }
        };
        Ok(Some((kept, waiting.released)))
    }
}
