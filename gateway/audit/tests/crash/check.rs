//! Holds a log that was taken up after a crash against everything that was promised. In: a disk, what was acknowledged, seen and erased. Out: nothing, or the
//! promise that was broken. Never here: faults.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_audit::calls::Found as Call;
use portcullis_audit::disk::{self, Disk};
use portcullis_audit::keeping;
use portcullis_audit::keys::WrappingKey;
use portcullis_audit::payloads::PayloadReader;
use portcullis_audit::reader::Name;
use portcullis_audit::recovery::Recovery;
use portcullis_audit::sequencer::log_folder;
use portcullis_core::audit::leaf::Value;
use portcullis_core::audit::values::Opening;
use portcullis_tlog::note::VerifierKey;
use portcullis_tlog::proof::{self, Head, Nodes};
use portcullis_tlog::tile::Node;
use portcullis_tlog::tree::{Edge, Hash, leaf_hash};
use portcullis_tlog::verify::{self, Files};
use serde::Deserialize;

use crate::records::{Certain, Kept, Ledger, Tried, canary};

/// What was done to values, by the index of their entry.
pub type Erasures = BTreeMap<u64, Erasure>;

/// Entries of which an order has something erased: of all that calls asked and were answered, or of what they asked.
pub fn erased(order: &keeping::Erasure) -> impl Iterator<Item = u64> {
    let results = |call: &Call| if order.fields.is_empty() { call.results.clone() } else { Vec::new() };
    order.calls.iter().flat_map(move |call| std::iter::once(call.decision).chain(results(call)))
}

/// What was done to the values of an entry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Erasure {
    /// Somebody asked for all of it to be erased, or was told that it is.
    pub all: Asked,
    /// The same of its canary alone.
    pub canary: Asked,
}

/// How far an erasure came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    #[default]
    Not,
    Tried,
    Done,
}

/// What the world knows of a log.
pub struct Promises<'p> {
    pub ledger: &'p Ledger,
    /// Heads that were signed, by size.
    pub seen: &'p BTreeMap<u64, Hash>,
    pub erasures: &'p Erasures,
}

/// A log on a disk.
pub struct Stored<'d> {
    pub disk: &'d Arc<dyn Disk>,
    pub audit: &'d Path,
    pub key: Arc<WrappingKey>,
    pub public: &'d VerifierKey,
}

/// What an entry says of itself.
#[derive(Deserialize)]
struct Leaf<'l> {
    boot: &'l str,
    shard: u16,
    seq: u64,
    event: &'l str,
    prev: Option<&'l str>,
    agent: Option<&'l str>,
    reason: Option<&'l str>,
    decision: Option<&'l str>,
    decision_seq: Option<u64>,
    decision_boot: Option<&'l str>,
    decision_shard: Option<u16>,
    arguments_commit: Option<&'l str>,
    result_commit: Option<&'l str>,
}

impl Leaf<'_> {
    fn name(&self) -> Name {
        (self.boot.parse().unwrap(), self.shard, self.seq)
    }

    /// The number its author gave it; none where such records have none.
    fn number(&self) -> Option<u64> {
        self.agent.or(self.reason)?.strip_prefix('a')?.parse().ok()
    }
}

/// What is found while the log is read from its first entry on.
#[derive(Default)]
struct Found {
    edge: Edge,
    chains: BTreeMap<u16, (u64, Hash)>,
    names: BTreeMap<Name, u64>,
    open: BTreeSet<Name>,
    /// Commitments, by index.
    commits: BTreeMap<u64, (Name, String)>,
    wrong: Option<String>,
}

/// Holds everything against everything.
pub fn check(stored: &Stored<'_>, recovery: &Recovery, promises: &Promises<'_>) -> Result<(), String> {
    let mut found = Found::default();
    let files = Tree { disk: &**stored.disk, folder: log_folder(stored.audit, 0) };
    if recovery.size == 0 && promises.seen.is_empty() {
        return found.required(promises);
    }
    let head = verify::verify(&files, stored.public, |index, entry| found.entry(index, entry, promises))
        .map_err(|fault| format!("the log does not verify: {fault}"))?
        .head;
    if let Some(wrong) = found.wrong.take() {
        return Err(wrong);
    }
    found.required(promises)?;
    found.told(recovery, head.size)?;
    seen(&files, &head, promises)?;
    values(stored, &found, promises)?;
    journals(stored)
}

impl Found {
    fn entry(&mut self, index: u64, entry: &[u8], promises: &Promises<'_>) {
        if self.wrong.is_none() {
            self.wrong = self.take(index, entry, promises).err().map(|why| format!("entry {index}: {why}"));
        }
    }

    fn take(&mut self, index: u64, entry: &[u8], promises: &Promises<'_>) -> Result<(), String> {
        let hash = leaf_hash(entry);
        self.edge.push(hash);
        if promises.seen.get(&(index + 1)).is_some_and(|seen| *seen != self.edge.head()) {
            return Err("the log forked: it is not the one that was signed at this size".to_owned());
        }
        let leaf: Leaf<'_> = serde_json::from_slice(entry).map_err(|cause| cause.to_string())?;
        let name = leaf.name();
        if let Some(first) = self.names.insert(name, index) {
            return Err(format!("{name:?} is entry {first} as well"));
        }
        let chain = self.chains.get(&leaf.shard).copied();
        if leaf.seq != chain.map_or(0, |(next, _)| next) {
            return Err(format!("{name:?} does not follow on {chain:?}"));
        }
        if leaf.prev.map(str::to_owned) != chain.map(|(_, prev)| hex(&prev)) {
            return Err(format!("the chain of shard {} breaks", leaf.shard));
        }
        self.chains.insert(leaf.shard, (leaf.seq + 1, hash));
        one_of(promises, &leaf)?;
        self.follow(&leaf);
        if let Some(commit) = leaf.arguments_commit.or(leaf.result_commit) {
            self.commits.insert(index, (name, commit.to_owned()));
        }
        Ok(())
    }

    fn follow(&mut self, leaf: &Leaf<'_>) {
        let (boot, shard, _) = leaf.name();
        match (leaf.event, leaf.decision_seq) {
            ("decision", _) if leaf.decision == Some("allow") => drop(self.open.insert(leaf.name())),
            ("result" | "result.ended", Some(seq)) => drop(self.open.remove(&(boot, shard, seq))),
            ("outcome.unknown", Some(seq)) => {
                let boot = leaf.decision_boot.unwrap().parse().unwrap();
                self.open.remove(&(boot, leaf.decision_shard.unwrap(), seq));
            }
            (_, _) => {}
        }
    }

    /// Every record that was acknowledged is there.
    fn required(&self, promises: &Promises<'_>) -> Result<(), String> {
        let lost = |(name, tried): &(&Name, &Vec<Tried>)| {
            tried.iter().any(|tried| tried.certain > Certain::Not) && !self.names.contains_key(*name)
        };
        match promises.ledger.iter().find(lost) {
            Some((name, tried)) => Err(format!("{name:?} was acknowledged and is lost: {tried:?}")),
            None => Ok(()),
        }
    }

    /// What a start tells is what is there.
    fn told(&self, recovery: &Recovery, size: u64) -> Result<(), String> {
        let unknown: BTreeSet<Name> = recovery.unknown.iter().copied().collect();
        let next: BTreeMap<u16, u64> = self.chains.iter().map(|(shard, (next, _))| (*shard, *next)).collect();
        let told: BTreeMap<u16, u64> =
            recovery.next_seq.iter().map(|(shard, next)| (*shard, *next)).filter(|(_, next)| *next > 0).collect();
        match () {
            () if recovery.size != size => Err(format!("{} entries were told, {size} are signed", recovery.size)),
            () if unknown != self.open => Err(format!("unknown {unknown:?} were told, {:?} are", self.open)),
            () if told != next => Err(format!("{told:?} come next as was told, {next:?} do")),
            () => Ok(()),
        }
    }
}

/// What an entry says is what somebody tried to write.
fn one_of(promises: &Promises<'_>, leaf: &Leaf<'_>) -> Result<(), String> {
    let Some(tried) = promises.ledger.get(&leaf.name()) else { return Err("nobody wrote it".to_owned()) };
    let Some(number) = leaf.number() else { return Ok(()) };
    let certain = tried.iter().find(|tried| tried.certain > Certain::Not);
    match certain {
        Some(certain) if certain.number != number => Err(format!("it is {number}, acknowledged was {certain:?}")),
        None if tried.iter().all(|tried| tried.number != number) => Err(format!("it is {number} of {tried:?}")),
        Some(_) | None => Ok(()),
    }
}

/// No head that was ever signed is of another log.
fn seen(files: &Tree<'_>, head: &Head, promises: &Promises<'_>) -> Result<(), String> {
    let Some((size, _)) = promises.seen.last_key_value() else { return Ok(()) };
    if *size > head.size {
        return Err(format!("{size} entries were signed, {} are there", head.size));
    }
    // Heads were compared entry by entry; this is what others can compare.
    let mut nodes = Stems { files, size: head.size };
    for (size, hash) in promises.seen.iter().rev().skip(1).step_by(7) {
        let old = Head { size: *size, hash: *hash };
        let proof = proof::consistency(&mut nodes, *size, head.size).map_err(|cause| format!("no proof: {cause}"))?;
        if !proof::proves_consistency(&old, head, &proof) {
            return Err(format!("no proof leads from {size} to {} entries", head.size));
        }
    }
    Ok(())
}

/// Values are what was committed to, or were erased because somebody asked.
fn values(stored: &Stored<'_>, found: &Found, promises: &Promises<'_>) -> Result<(), String> {
    let mut reader = PayloadReader::new(stored.disk.clone(), stored.audit, 0, stored.key.clone());
    for index in 0..found.edge.size() {
        let erasure = promises.erasures.get(&index).copied().unwrap_or_default();
        let opening = reader.of(index).map_err(|cause| format!("values of entry {index}: {cause}"))?;
        let commit = found.commits.get(&index);
        let right = match (commit, opening) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err("there are some, and nothing committed to them".to_owned()),
            (Some(_), None) if erasure.all > Asked::Not => match state(stored, index)? {
                ERASED => Ok(()),
                state => Err(format!("they do not open, and are in state {state}")),
            },
            (Some(_), None) => Err(format!("they are gone, asked was {erasure:?}")),
            (Some((name, commit)), Some(opening)) => one_value(&promises.ledger[name], commit, &opening, &erasure),
        };
        right.map_err(|why| format!("values of entry {index}: {why}"))?;
    }
    Ok(())
}

fn one_value(tried: &[Tried], commit: &str, opening: &Opening, erasure: &Erasure) -> Result<(), String> {
    if hex(&opening.commit()) != commit {
        return Err("they are not those that were committed to".to_owned());
    }
    if erasure.all == Asked::Done {
        return Err("they are erased, and there".to_owned());
    }
    let fits = |tried: &Tried| match (&tried.value, opening.value()) {
        (Kept::Nothing, _) => false,
        (Kept::Digest, Value::Digest(_)) => erasure.canary != Asked::Done,
        (Kept::Digest, Value::Json(left)) => erasure.canary != Asked::Not && left == br#"{"erased":true}"#,
        (Kept::Json(_), Value::Digest(_)) => false,
        (Kept::Json(whole), Value::Json(left)) => {
            let canary = format!("\"{}\"", canary(tried.number));
            let without = whole.replace(&canary, r#"{"erased":true}"#);
            erasure.canary != Asked::Done && left == whole.as_bytes()
                || erasure.canary != Asked::Not && left == without.as_bytes()
        }
    };
    match tried.iter().any(fits) {
        true => Ok(()),
        false => Err(format!("{:?} of {tried:?}, asked was {erasure:?}", opening.value())),
    }
}

const ERASED: u8 = 2;

/// What the row of an entry says, in the file's own bytes.
fn state(stored: &Stored<'_>, index: u64) -> Result<u8, String> {
    let path = stored.audit.join(format!("payloads/0000/{:08}.rows", index / 65_536));
    let rows = disk::read(&**stored.disk, &path).map_err(|cause| cause.to_string())?;
    Ok(rows.get((index % 65_536 * 64 + 12) as usize).copied().unwrap_or_default())
}

/// All journals are in the log, and with it whatever is erased there.
fn journals(stored: &Stored<'_>) -> Result<(), String> {
    let names = stored.disk.names(&stored.audit.join("wal")).map_err(|cause| cause.to_string())?;
    if let Some(name) = names.iter().find(|name| name.ends_with(".wal")) {
        return Err(format!("`{name}` is left, and all of it was taken"));
    }
    let names = stored.disk.names(&stored.audit.join("payloads/0000")).map_err(|cause| cause.to_string())?;
    match names.iter().find(|name| name.starts_with("erasing") && !name.ends_with(".new")) {
        Some(name) => Err(format!("`{name}` is left, and it was done")),
        None => Ok(()),
    }
}

pub fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files of a log.
pub struct Tree<'d> {
    pub disk: &'d dyn Disk,
    pub folder: PathBuf,
}

impl Files for Tree<'_> {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match disk::read(self.disk, &self.folder.join(path)) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }
}

/// Hashes of the tree of a size.
struct Stems<'f> {
    files: &'f Tree<'f>,
    size: u64,
}

impl Nodes for Stems<'_> {
    type Error = String;

    fn node(&mut self, node: Node) -> Result<Hash, String> {
        let tile = node.tile(self.size).ok_or("not in the tree")?;
        let bytes = match self.files.read(&tile.path()).map_err(|cause| cause.to_string())? {
            Some(bytes) => bytes,
            None => self.files.read(&tile.full().path()).map_err(|cause| cause.to_string())?.ok_or("no tile")?,
        };
        node.hash(&bytes).ok_or_else(|| "a short tile".to_owned())
    }
}
