//! Takes up the audit log where the last boot left it. In: the folder of segments. Out: where each chain goes on, and what is not known.
//! Never here: a change of a record that was acknowledged.
//!
//! A crash may leave half a line at the end of a segment. It was never acknowledged; it is cut off and kept beside the segment as `.torn`.
//! What is more than a torn write was done by somebody: it is left as it is, and named.

use portcullis_core::audit::chain::{self, Broken, Position};
use portcullis_core::audit::view::{self, Pairing};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where the chains ended at the last start, so that no start reads the log of years again.
const HEADS_FILE: &str = "heads.json";

/// Held by the gateway that writes here.
const LOCK_FILE: &str = ".lock";

/// What was found.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Where each shard's chain goes on.
    pub positions: BTreeMap<u16, Position>,
    /// Bytes of torn writes, cut off.
    pub torn_bytes: u64,
    /// Lines that were checked.
    pub records: u64,
    /// Calls that were let pass and never seen to end: `BOOT-SHARD-SEQ`, the decision's name.
    pub unknown: Vec<String>,
    /// Segments that were changed by somebody else.
    pub damaged: Vec<(PathBuf, Broken)>,
    /// The latest boot that wrote here.
    pub boot: Option<u64>,
}

/// A segment's name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName {
    /// The boot that wrote it.
    pub boot: u64,
    /// The shard.
    pub shard: u16,
    /// Its place in that boot's shard.
    pub segment: u32,
}

impl SegmentName {
    /// From `BOOT-SHARD-SEGMENT.jsonl`.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".jsonl")?.splitn(3, '-');
        let (boot, shard, segment) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { boot: boot.parse().ok()?, shard: shard.parse().ok()?, segment: segment.parse().ok()? })
    }
}

/// Every segment of a folder, by boot, then shard, then segment.
pub fn segments(folder: &Path) -> io::Result<Vec<(SegmentName, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(SegmentName::parse);
        found.extend(name.map(|name| (name, path.clone())));
    }
    found.sort();
    Ok(found)
}

/// Takes the folder for this process alone: two gateways that write one log would tear each other's chains.
pub fn lock(folder: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(LOCK_FILE))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another gateway writes here"))
        }
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Checks what was written since the last start, cuts torn tails off, and tells where each chain goes on.
pub fn recover(folder: &Path) -> io::Result<Recovery> {
    let mut heads = read_heads(folder);
    let mut recovery = Recovery {
        positions: heads.iter().map(|(shard, head)| (*shard, head.position())).collect(),
        ..Recovery::default()
    };
    let mut open: BTreeMap<u16, Pairing> = BTreeMap::new();
    for (name, path) in segments(folder)? {
        recovery.boot = recovery.boot.max(Some(name.boot));
        if heads.get(&name.shard).is_some_and(|head| (name.boot, name.segment) <= (head.boot, head.segment)) {
            continue;
        }
        let bytes = fs::read(&path)?;
        // The oldest segment of a shard may follow on ones that were taken away for their age.
        let from = recovery.positions.get(&name.shard).copied().unwrap_or_else(|| claimed_start(&bytes));
        let found = chain::recover(&bytes, &from);
        let valid = usize::try_from(found.valid_bytes).unwrap_or(usize::MAX);
        let (whole, rest) = bytes.split_at_checked(valid).unwrap_or((&bytes, &[]));
        match found.damage {
            Some(broken) => recovery.damaged.push((path.clone(), broken)),
            None if !rest.is_empty() => {
                cut(&path, rest, found.valid_bytes)?;
                recovery.torn_bytes += found.torn_tail_bytes;
            }
            None => {}
        }
        let pairing = open.entry(name.shard).or_default();
        for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            recovery.records += 1;
            // Verified lines are ours; one that an older build wrote and this one cannot show is no reason to stop.
            let entry = std::str::from_utf8(line).ok().and_then(|line| view::parse(line).ok());
            entry.and_then(|entry| pairing.push(entry));
        }
        let position = found.position(&from);
        recovery.positions.insert(name.shard, position);
        heads.insert(name.shard, Head::new(name, &position));
    }
    let unsettled = open.into_values().flat_map(Pairing::unsettled);
    recovery.unknown =
        unsettled.map(|call| format!("{}-{}-{}", call.entry.boot, call.entry.shard, call.entry.seq)).collect();
    write_heads(folder, &heads)?;
    Ok(recovery)
}

/// Moves the torn bytes beside the segment. They are on the disk there before they are gone here.
fn cut(path: &Path, torn: &[u8], valid_bytes: u64) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".torn");
    let mut kept = OpenOptions::new().create(true).append(true).open(&beside)?;
    kept.write_all(torn)?;
    kept.sync_all()?;
    crate::disk::sync_folder(path)?;
    let segment = OpenOptions::new().write(true).open(path)?;
    segment.set_len(valid_bytes)?;
    segment.sync_all()
}

/// Where the first line of a segment says that it begins.
fn claimed_start(bytes: &[u8]) -> Position {
    #[derive(Deserialize)]
    struct Start {
        seq: u64,
        prev: String,
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let start: Option<Start> = serde_json::from_slice(line).ok();
    start.and_then(|start| Some(Position { next_seq: start.seq, hash: unhex(&start.prev)? })).unwrap_or_default()
}

/// Where one shard's chain ended.
#[derive(Debug, Deserialize, Serialize)]
struct Head {
    boot: u64,
    segment: u32,
    next_seq: u64,
    hash: String,
}

impl Head {
    fn new(name: SegmentName, position: &Position) -> Self {
        let hash = position.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { boot: name.boot, segment: name.segment, next_seq: position.next_seq, hash }
    }

    fn position(&self) -> Position {
        unhex(&self.hash).map_or_else(Position::default, |hash| Position { next_seq: self.next_seq, hash })
    }
}

fn read_heads(folder: &Path) -> BTreeMap<u16, Head> {
    let text = fs::read_to_string(folder.join(HEADS_FILE)).unwrap_or_default();
    let mut heads: BTreeMap<u16, Head> = serde_json::from_str(&text).unwrap_or_default();
    heads.retain(|_, head| unhex(&head.hash).is_some());
    heads
}

fn write_heads(folder: &Path, heads: &BTreeMap<u16, Head>) -> io::Result<()> {
    let text = serde_json::to_string_pretty(heads).map_err(io::Error::other)?;
    crate::disk::replace(&folder.join(HEADS_FILE), format!("{text}\n").as_bytes(), 0o640)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
