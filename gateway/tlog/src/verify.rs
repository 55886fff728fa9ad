//! Checks a whole log. In: its files, its key. Out: that everything is as it was signed, or the first thing that is not. Never here: what entries say.
//!
//! Every hash is computed anew from the entries; what is stored is only compared. Memory does not grow with the log.

use std::io;

use crate::checkpoint::Checkpoint;
use crate::fault::Fault;
use crate::note::VerifierKey;
use crate::policy::Unwitnessed;
use crate::proof::Head;
use crate::tile::{self, Row, Tile, WIDTH};
use crate::tree::{Hash, leaf_hash};

/// Where a log's files are.
pub trait Files {
    /// What lies at a path below the log; none where nothing does.
    ///
    /// # Errors
    /// When it cannot be told.
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
}

/// What a log is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the log signed.
    pub head: Head,
    /// What witnesses saw of it, where they saw any.
    pub witnessed: Option<Head>,
    /// The first entry to look at: those before are no longer kept. Checking begins with the bundle that holds it.
    pub from: u64,
}

impl Plan {
    /// All of a log, against its own word alone.
    pub fn all(head: Head) -> Self {
        Self { head, witnessed: None, from: 0 }
    }
}

/// Checks every entry and every tile against the checkpoint of the log; `seen` is told each entry that was found right, with its index. What ties
/// records to each other and logs to logs is [`crate::logs`]'.
///
/// # Errors
/// The first fault, by the order of entries.
pub fn verify(files: &impl Files, key: &VerifierKey, mut seen: impl FnMut(u64, &[u8])) -> Result<Checkpoint, Fault> {
    let checkpoint = checkpoint(files, key)?;
    walk(files, &Plan::all(checkpoint.head), &mut |index, entry, _| {
        seen(index, entry);
        Ok(())
    })?;
    Ok(checkpoint)
}

/// The checkpoint of a log.
///
/// # Errors
/// When there is none, or it is not to be believed.
pub fn checkpoint(files: &impl Files, key: &VerifierKey) -> Result<Checkpoint, Fault> {
    let note = text(files, "checkpoint")?.ok_or(Fault::NoCheckpoint)?;
    Checkpoint::open(&note, key).map_err(Fault::Checkpoint)
}

/// A file of a log that is a note.
///
/// # Errors
/// When it cannot be read, or is no text.
pub fn text(files: &impl Files, path: &str) -> Result<Option<String>, Fault> {
    read(files, path)?.map(|note| String::from_utf8(note).map_err(|_| Fault::NotText)).transpose()
}

/// What is told of each entry that agrees with its tile: its index, itself, its hash. A fault ends the walk.
pub type Seen<'s> = &'s mut dyn FnMut(u64, &[u8], &Hash) -> Result<(), Fault>;

/// Checks the entries and tiles of a log against each other, and against what was signed and seen of it.
///
/// # Errors
/// The first fault, by the order of entries.
pub fn walk(files: &impl Files, plan: &Plan, seen: Seen<'_>) -> Result<(), Fault> {
    let size = plan.head.size;
    if plan.from > size {
        return Err(Fault::Beyond { from: plan.from, size });
    }
    let start = plan.from / WIDTH;
    let mut levels = Levels::resume(files, size, start)?;
    levels.witnessed(plan, start * WIDTH, &[])?;
    for place in Tile::from(Row::Entries, start, size) {
        let (bundle, reach) = stored(files, &place)?;
        // One more than a full bundle holds, so that it shows.
        let mut entries: Vec<&[u8]> = Vec::with_capacity(WIDTH as usize + 1);
        entries.extend(tile::entries(&bundle).map_while(Result::ok).take(WIDTH as usize + 1));
        let hashes: Vec<Hash> = entries.iter().take(place.width as usize).map(|entry| leaf_hash(entry)).collect();
        let below = Tile { row: Row::Level(0), ..place };
        let first = place.first_entry();
        let overfull = match reach {
            Reach::Own => entries.len() > hashes.len() || length(&entries) != bundle.len(),
            Reach::Grown => false,
        };
        if (hashes.len() as u64) < place.width || overfull {
            // Where entries are missing those behind have moved up, so the first that differs is the first that is wrong.
            let index = first + hashes.len() as u64;
            return Err(differs(&stored(files, &below)?.0, &below, &hashes).unwrap_or(Fault::Entry { index }));
        }
        levels.witnessed(plan, first, &hashes)?;
        levels.compare(files, &below, &hashes)?;
        for ((index, entry), hash) in (first..).zip(&entries).zip(&hashes) {
            seen(index, entry, hash)?;
        }
    }
    let head = levels.rest(files)?;
    if head == plan.head.hash { Ok(()) } else { Err(Fault::OtherHead { size }) }
}

/// The bytes that entries take in a bundle.
fn length(entries: &[&[u8]]) -> usize {
    entries.iter().map(|entry| 2 + entry.len()).sum()
}

/// Hashes that follow from the entries, gathered until their tile is full; of each level those of the open tile, level 0 first.
struct Levels {
    size: u64,
    open: Vec<Vec<Hash>>,
}

impl Levels {
    /// At the beginning of a bundle. What lies before it is taken as it is stored; the head shows whether it was right.
    fn resume(files: &impl Files, size: u64, bundle: u64) -> Result<Self, Fault> {
        let mut open = vec![Vec::new()];
        let mut index = bundle;
        for level in 1.. {
            if index == 0 {
                break;
            }
            let (tile, width) = (index / WIDTH, index % WIDTH);
            let mut hashes = Vec::new();
            if let Some(place) = Tile::of(Row::Level(level), tile, size).filter(|_| width > 0) {
                let (bytes, _) = stored(files, &place)?;
                let found = bytes.as_chunks::<32>().0.get(..width as usize);
                let missing = || Fault::Tile { path: place.path(), index: place.first_entry() };
                hashes.extend_from_slice(found.ok_or_else(missing)?);
            }
            open.push(hashes);
            index = tile;
        }
        Ok(Self { size, open })
    }

    /// Holds what witnesses saw against the tree, where they saw it end within the bundle that begins with entry `first` and has these hashes.
    fn witnessed(&self, plan: &Plan, first: u64, hashes: &[Hash]) -> Result<(), Fault> {
        let Some(seen) = plan.witnessed else { return Ok(()) };
        if seen.size > self.size {
            return Err(Fault::RolledBack { seen: seen.size, size: self.size });
        }
        let start = plan.from / WIDTH * WIDTH;
        if seen.size < start {
            return Err(Fault::Unwitnessed(Unwitnessed::Old { seen: seen.size, from: start }));
        }
        let Some(within) = seen.size.checked_sub(first).and_then(|within| usize::try_from(within).ok()) else {
            return Ok(());
        };
        let Some(below) = hashes.get(..within) else { return Ok(()) };
        let above = self.open.iter().skip(1).map(Vec::as_slice);
        let levels: Vec<&[Hash]> = std::iter::once(below).chain(above).collect();
        let head = tile::edge_head(levels.into_iter());
        if head == seen.hash { Ok(()) } else { Err(Fault::OtherHistory { seen: seen.size }) }
    }

    /// Holds a tile against what it has to hold, and hands its head up if it is full.
    fn compare(&mut self, files: &impl Files, place: &Tile, hashes: &[Hash]) -> Result<(), Fault> {
        let (bytes, reach) = stored(files, place)?;
        if let Some(fault) = differs(&bytes, place, hashes) {
            return Err(fault);
        }
        if reach == Reach::Own && bytes.len() as u64 != place.width * 32 {
            return Err(Fault::Tile { path: place.path(), index: place.first_entry() });
        }
        let level = place.row.level() as usize;
        if self.open.len() < level + 2 {
            self.open.resize(level + 2, Vec::new());
        }
        if !place.is_full() {
            if let Some(open) = self.open.get_mut(level) {
                *open = hashes.to_vec();
            }
            return Ok(());
        }
        let Some(above) = self.open.get_mut(level + 1) else { return Ok(()) };
        above.extend(tile::perfect_head(hashes));
        if (above.len() as u64) < WIDTH {
            return Ok(());
        }
        let full = std::mem::take(above);
        let above = Tile { row: Row::Level(level as u32 + 1), index: place.index / WIDTH, width: WIDTH };
        self.compare(files, &above, &full)
    }

    /// The tiles at the right edge, which never fill; the head over all.
    fn rest(mut self, files: &impl Files) -> Result<Hash, Fault> {
        for level in 1..self.open.len() {
            let Some(place) = Tile::last(Row::Level(level as u32), self.size) else { continue };
            let hashes = self.open.get_mut(level).map(std::mem::take).unwrap_or_default();
            self.compare(files, &place, &hashes)?;
        }
        Ok(tile::edge_head(self.open.iter().map(Vec::as_slice)))
    }
}

/// The first of `hashes` that is not what a tile holds.
fn differs(bytes: &[u8], place: &Tile, hashes: &[Hash]) -> Option<Fault> {
    let (found, _rest) = bytes.as_chunks::<32>();
    if found.get(..hashes.len()) == Some(hashes) {
        return None;
    }
    let at = hashes.iter().enumerate().find_map(|(at, hash)| (found.get(at) != Some(hash)).then_some(at as u64))?;
    Some(match place.row {
        Row::Entries | Row::Level(0) => Fault::Entry { index: place.first_entry() + at },
        Row::Level(level) => {
            Fault::Tile { path: place.path(), index: place.first_entry() + (at << (tile::HEIGHT * level)) }
        }
    })
}

/// How far a stored tile reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// As far as its name says. Behind that nothing may follow.
    Own,
    /// It has grown full since, and what follows is not covered by this checkpoint.
    Grown,
}

/// A tile as it is stored: in its own width, or grown full since.
fn stored(files: &impl Files, place: &Tile) -> Result<(Vec<u8>, Reach), Fault> {
    if let Some(bytes) = read(files, &place.path())? {
        return Ok((bytes, Reach::Own));
    }
    let grown = if place.is_full() { None } else { read(files, &place.full().path())? };
    let missing = || Fault::Missing { path: place.path(), index: place.first_entry() };
    Ok((grown.ok_or_else(missing)?, Reach::Grown))
}

fn read(files: &impl Files, path: &str) -> Result<Option<Vec<u8>>, Fault> {
    files.read(path).map_err(|cause| Fault::Unreadable { path: path.to_owned(), cause: cause.to_string() })
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
