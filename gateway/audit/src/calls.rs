//! Finds the entries of calls without an index. In: a log, names of calls or what they have in common. Out: for each call the places of its decision
//! and of what came back. Never here: values, changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use crate::log::Log;
use crate::reader::Name;

/// Calls that one order is about at most: what is decided of them is one small file, and the sequencing thread is away for a few seconds.
pub const CALLS_MAX: usize = 10_000;

/// Records of several cores come into the log within this span of each other, in milliseconds.
const SKEW: i64 = 60_000;

/// A call in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Boot, shard and number of its decision.
    pub name: Name,
    /// The index of that.
    pub decision: u64,
    /// The indexes of what came back.
    pub results: Vec<u64>,
}

impl Found {
    /// `BOOT-SHARD-SEQ`.
    pub fn id(&self) -> String {
        id(&self.name)
    }
}

/// `BOOT-SHARD-SEQ`.
pub fn id((boot, shard, seq): &Name) -> String {
    format!("{boot}-{shard}-{seq}")
}

/// Which calls are meant: those named, or where none is, those that have all of the rest in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// By name.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<Name>,
    /// Whose they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// On which account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The first instant, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// The first instant after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
}

impl Wanted {
    /// Whether a decision is meant.
    pub fn means(&self, facts: &Facts) -> bool {
        let same = |wanted: &Option<String>, is: &Option<String>| wanted.is_none() || wanted == is;
        if !self.names.is_empty() {
            return self.names.contains(&facts.name());
        }
        same(&self.agent, &facts.agent)
            && same(&self.account, &facts.account)
            && self.from.is_none_or(|from| facts.ts >= from)
            && self.to.is_none_or(|to| facts.ts < to)
    }

    /// Whether nothing is said, so that every call would be meant.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// What a record says of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct Facts {
    #[serde(deserialize_with = "number")]
    boot: u64,
    shard: u16,
    seq: u64,
    ts: i64,
    event: String,
    decision_seq: Option<u64>,
    agent: Option<String>,
    account: Option<String>,
}

fn number<'d, D: serde::Deserializer<'d>>(from: D) -> Result<u64, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

impl Facts {
    /// Of an entry; none where it is no record.
    pub fn of(entry: &[u8]) -> Option<Self> {
        serde_json::from_slice(entry).ok()
    }

    /// What names it.
    pub fn name(&self) -> Name {
        (self.boot, self.shard, self.seq)
    }

    /// Whether it is a decision.
    pub fn is_decision(&self) -> bool {
        self.event == "decision"
    }

    /// The name of the call that it is a result of.
    pub fn result_of(&self) -> Option<Name> {
        let seq = self.decision_seq.filter(|_| self.event.starts_with("result"))?;
        Some((self.boot, self.shard, seq))
    }
}

/// Finds calls in a log.
///
/// # Errors
/// When one that is named is not there, there are too many, or the log cannot be read.
pub fn find(log: &Log, wanted: &Wanted) -> Result<Vec<Found>, NotFound> {
    let mut wanted = wanted.clone();
    let mut found = walk(log, &wanted)?;
    let missing = |found: &BTreeMap<Name, Found>, wanted: &Wanted| -> BTreeSet<Name> {
        wanted.names.iter().filter(|name| !found.contains_key(*name)).copied().collect()
    };
    let named_by_results = missing(&found, &wanted);
    if !named_by_results.is_empty() {
        // The name of a result leads to its decision, which stands before it.
        for entry in log.entries(start(log, &wanted)?) {
            let Some(facts) = Facts::of(&entry?.1) else { continue };
            if let Some(decision) = facts.result_of().filter(|_| named_by_results.contains(&facts.name())) {
                wanted.names.remove(&facts.name());
                wanted.names.insert(decision);
            }
        }
        found = walk(log, &wanted)?;
    }
    match missing(&found, &wanted).first() {
        Some(name) => Err(NotFound::Missing(*name)),
        None => Ok(found.into_values().collect()),
    }
}

fn walk(log: &Log, wanted: &Wanted) -> Result<BTreeMap<Name, Found>, NotFound> {
    let mut found: BTreeMap<Name, Found> = BTreeMap::new();
    for entry in log.entries(start(log, wanted)?) {
        let (index, entry) = entry?;
        let Some(facts) = Facts::of(&entry) else { continue };
        if facts.is_decision() && wanted.means(&facts) {
            if found.len() >= CALLS_MAX {
                return Err(NotFound::TooMany);
            }
            found.insert(facts.name(), Found { name: facts.name(), decision: index, results: Vec::new() });
        }
        if let Some(call) = facts.result_of().and_then(|name| found.get_mut(&name)) {
            call.results.push(index);
        }
    }
    Ok(found)
}

/// Before this entry none is meant.
fn start(log: &Log, wanted: &Wanted) -> io::Result<u64> {
    let boot = wanted.names.first().map(|(boot, _, _)| *boot);
    let from = wanted.from.filter(|_| boot.is_none()).map(|from| from.saturating_sub(SKEW));
    let (mut low, mut high) = (0, log.size());
    while low < high {
        let middle = low + (high - low) / 2;
        let facts = Facts::of(&log.entry(middle)?.unwrap_or_default());
        let before = facts
            .is_none_or(|facts| boot.is_some_and(|boot| facts.boot < boot) || from.is_some_and(|from| facts.ts < from));
        if before { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// Why calls are not found.
#[derive(Debug)]
pub enum NotFound {
    /// The log cannot be read.
    System(io::Error),
    /// It has no such call.
    Missing(Name),
    /// More than [`CALLS_MAX`].
    TooMany,
}

impl From<io::Error> for NotFound {
    fn from(cause: io::Error) -> Self {
        Self::System(cause)
    }
}

impl fmt::Display for NotFound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(cause) => write!(out, "the signed log cannot be read: {cause}"),
            Self::Missing(name) => write!(out, "no call `{}` in the signed log", id(name)),
            Self::TooMany => write!(out, "more than {CALLS_MAX} calls are like that"),
        }
    }
}

impl std::error::Error for NotFound {}
