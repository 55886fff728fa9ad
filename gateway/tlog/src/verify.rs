//! Checks a whole log. In: its files, its key. Out: that everything is as it was signed, or the first thing that is not. Never here: what entries mean.
//!
//! Every hash is computed anew from the entries; what is stored is only compared. Memory does not grow with the log.

use std::fmt;
use std::io;

use crate::checkpoint::{Checkpoint, Refused};
use crate::note::VerifierKey;
use crate::proof::Head;
use crate::tile::{self, Row, Tile, WIDTH};
use crate::tree::{Edge, Hash, leaf_hash};

/// Where a log's files are.
pub trait Files {
    /// What lies at a path below the log; none where nothing does.
    ///
    /// # Errors
    /// When it cannot be told.
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
}

/// Checks every entry and every tile against the checkpoint of the log; `seen` is told each entry that was found right, with its index.
///
/// # Errors
/// The first fault, by the order of entries.
pub fn verify(files: &impl Files, key: &VerifierKey, seen: impl FnMut(u64, &[u8])) -> Result<Checkpoint, Fault> {
    let note = read(files, "checkpoint")?.ok_or(Fault::NoCheckpoint)?;
    let note = String::from_utf8(note).map_err(|_| Fault::NotText)?;
    let checkpoint = Checkpoint::open(&note, key).map_err(Fault::Checkpoint)?;
    let head = entries(files, checkpoint.head.size, seen)?;
    if head != checkpoint.head {
        return Err(Fault::OtherHead { size: head.size });
    }
    Ok(checkpoint)
}

/// Checks the entries and tiles of a log of `size` entries against each other; the head that follows from the entries.
///
/// # Errors
/// The first fault, by the order of entries.
pub fn entries(files: &impl Files, size: u64, mut seen: impl FnMut(u64, &[u8])) -> Result<Head, Fault> {
    let (mut edge, mut levels) = (Edge::default(), Levels { size, open: Vec::new() });
    for place in Tile::all(Row::Entries, size) {
        let first = place.first_entry();
        let bundle = stored(files, &place)?;
        let mut hashes = Vec::with_capacity(WIDTH as usize);
        hashes.extend(tile::entries(&bundle).map_while(Result::ok).take(place.width as usize).map(leaf_hash));
        let below = Tile { row: Row::Level(0), ..place };
        // What follows in a bundle that has grown since is not covered by this checkpoint. Behind a full one nothing may follow.
        let overfull = place.is_full() && tile::entries(&bundle).count() as u64 > WIDTH;
        if (hashes.len() as u64) < place.width || overfull {
            // Where entries are missing those behind have moved up, so the first that differs is the first that is wrong.
            let index = first + hashes.len() as u64;
            return Err(differs(&stored(files, &below)?, &below, &hashes).unwrap_or(Fault::Entry { index }));
        }
        levels.compare(files, &below, &hashes)?;
        for (index, (entry, hash)) in (first..).zip(tile::entries(&bundle).flatten().zip(&hashes)) {
            edge.push(*hash);
            seen(index, entry);
        }
    }
    levels.rest(files)?;
    Ok(Head { size: edge.size(), hash: edge.head() })
}

/// Hashes that follow from the entries, gathered until their tile is full.
struct Levels {
    size: u64,
    /// Level 1 first.
    open: Vec<Vec<Hash>>,
}

impl Levels {
    /// Holds a tile against what it has to hold, and hands its head up if it is full.
    fn compare(&mut self, files: &impl Files, place: &Tile, hashes: &[Hash]) -> Result<(), Fault> {
        let bytes = stored(files, place)?;
        if let Some(fault) = differs(&bytes, place, hashes) {
            return Err(fault);
        }
        if !place.is_full() {
            return Ok(());
        }
        if bytes.len() as u64 != WIDTH * 32 {
            return Err(Fault::Tile { path: place.path(), index: place.first_entry() });
        }
        let level = match place.row {
            Row::Entries => 0,
            Row::Level(level) => level as usize,
        };
        if self.open.len() == level {
            self.open.push(Vec::new());
        }
        let Some(open) = self.open.get_mut(level) else { return Ok(()) };
        open.extend(tile::perfect_head(hashes));
        if (open.len() as u64) < WIDTH {
            return Ok(());
        }
        let full = std::mem::take(open);
        let above = Tile { row: Row::Level(level as u32 + 1), index: place.index / WIDTH, width: WIDTH };
        self.compare(files, &above, &full)
    }

    /// The tiles at the right edge, which never fill.
    fn rest(mut self, files: &impl Files) -> Result<(), Fault> {
        for (level, hashes) in (1..).zip(std::mem::take(&mut self.open)) {
            let Some(place) = Tile::last(Row::Level(level), self.size) else { continue };
            self.compare(files, &place, &hashes)?;
        }
        Ok(())
    }
}

/// The first of `hashes` that is not what a tile holds.
fn differs(bytes: &[u8], place: &Tile, hashes: &[Hash]) -> Option<Fault> {
    let (found, _rest) = bytes.as_chunks::<32>();
    let at = hashes.iter().enumerate().find_map(|(at, hash)| (found.get(at) != Some(hash)).then_some(at as u64))?;
    Some(match place.row {
        Row::Entries | Row::Level(0) => Fault::Entry { index: place.first_entry() + at },
        Row::Level(level) => {
            Fault::Tile { path: place.path(), index: place.first_entry() + (at << (tile::HEIGHT * level)) }
        }
    })
}

/// A tile as it is stored: in its own width, or grown full since.
fn stored(files: &impl Files, place: &Tile) -> Result<Vec<u8>, Fault> {
    if let Some(bytes) = read(files, &place.path())? {
        return Ok(bytes);
    }
    let grown = if place.is_full() { None } else { read(files, &place.full().path())? };
    grown.ok_or_else(|| Fault::Missing { path: place.path(), index: place.first_entry() })
}

fn read(files: &impl Files, path: &str) -> Result<Option<Vec<u8>>, Fault> {
    files.read(path).map_err(|cause| Fault::Unreadable { path: path.to_owned(), cause: cause.to_string() })
}

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
}

impl Fault {
    /// The first entry it is about, where it is about entries.
    pub fn index(&self) -> Option<u64> {
        match self {
            Self::Missing { index, .. } | Self::Entry { index } | Self::Tile { index, .. } => Some(*index),
            Self::NoCheckpoint
            | Self::NotText
            | Self::Checkpoint(_)
            | Self::Unreadable { .. }
            | Self::OtherHead { .. } => None,
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
            Self::OtherHead { size } => {
                write!(
                    out,
                    "the {size} entries agree with their tiles, and not with the checkpoint: both were rewritten"
                )
            }
        }
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
