//! Reads a signed log. In: its folder and its key. Out: entries by index, proofs, the checkpoint that vouches for them. Never here: writing,
//! what an entry means.
//!
//! Reading does not verify what it reads but the checkpoint's signature; `portcullis_tlog::verify` does that for the whole.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use portcullis_tlog::checkpoint::{Checkpoint, Refused};
use portcullis_tlog::evidence::Evidence;
use portcullis_tlog::note::VerifierKey;
use portcullis_tlog::proof::{self, Head};
use portcullis_tlog::tile::{self, Node, Row, Tile, WIDTH};
use portcullis_tlog::tree::{Edge, Hash};

/// A log as its last checkpoint covers it; what was added since is not seen.
#[derive(Clone, Debug)]
pub struct Log {
    folder: PathBuf,
    checkpoint: Checkpoint,
    note: String,
}

impl Log {
    /// Reads the checkpoint of the log in `folder`.
    ///
    /// # Errors
    /// When there is none, or it is not to be believed.
    pub fn open(folder: &Path, key: &VerifierKey) -> Result<Self, OpenError> {
        let note = match fs::read_to_string(folder.join("checkpoint")) {
            Ok(note) => note,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Err(OpenError::NoCheckpoint),
            Err(cause) => return Err(OpenError::Unreadable(cause)),
        };
        let checkpoint = Checkpoint::open(&note, key).map_err(OpenError::Refused)?;
        Ok(Self { folder: folder.to_owned(), checkpoint, note })
    }

    /// A log of which nothing is signed yet.
    pub fn unsigned(folder: &Path, origin: &str) -> Self {
        let head = Head { size: 0, hash: Edge::default().head() };
        let checkpoint = Checkpoint { origin: origin.to_owned(), head };
        Self { folder: folder.to_owned(), checkpoint, note: String::new() }
    }

    /// The same log as far as its files go that are on the disk and not signed yet.
    #[must_use]
    pub fn grown_to(mut self, head: &Head) -> Self {
        if head.size > self.size() {
            self.checkpoint.head = *head;
        }
        self
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it was signed as.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The signed text of that.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// How many entries it holds.
    pub fn size(&self) -> u64 {
        self.checkpoint.head.size
    }

    /// One entry; none beyond the end.
    ///
    /// # Errors
    /// When its bundle cannot be read.
    pub fn entry(&self, index: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(tile) = Tile::of(Row::Entries, index / WIDTH, self.size()) else { return Ok(None) };
        let bundle = self.stored(&tile)?;
        let at = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
        match tile::entries(&bundle).nth(at) {
            Some(Ok(entry)) if index < self.size() => Ok(Some(entry.to_vec())),
            Some(_) | None => Ok(None),
        }
    }

    /// Entries from an index on, in their order, bundle by bundle.
    pub fn entries(&self, from: u64) -> Entries<'_> {
        Entries { log: self, next: from, bundle: Vec::new().into_iter() }
    }

    /// The bundle that holds an entry, as it is stored, and the index of its first entry; none beyond the end. It may hold entries beyond the end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn bundle(&self, index: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
        let Some(tile) = Tile::of(Row::Entries, index / WIDTH, self.size()) else { return Ok(None) };
        Ok(Some((tile.first_entry(), self.stored(&tile)?)))
    }

    /// The proof that an entry is in the log, as `portcullis-verify entry` takes it; none beyond the end.
    ///
    /// # Errors
    /// When a tile cannot be read.
    pub fn evidence(&self, index: u64) -> io::Result<Option<Evidence>> {
        if index >= self.size() {
            return Ok(None);
        }
        let proof = proof::inclusion(&mut Nodes(self), index, self.size())?;
        Ok(Some(Evidence { index, proof, checkpoint: self.note.clone() }))
    }

    /// The proof that the log's first `old` entries are its beginning (RFC 6962 §2.1.2), as a witness asks for it.
    ///
    /// # Errors
    /// When a tile cannot be read.
    pub fn growth(&self, old: u64) -> io::Result<Vec<Hash>> {
        proof::consistency(&mut Nodes(self), old, self.size())
    }

    /// The edge of the tree over the first `size` entries, by hashes as they are stored: no entry is read.
    ///
    /// # Errors
    /// When a tile cannot be read, or the log is not that long.
    pub fn edge(&self, size: u64) -> io::Result<Edge> {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "a tile does not hold what its name says");
        let mut levels: Vec<Tile> =
            Tile::rows(size).filter(|row| *row != Row::Entries).filter_map(|row| Tile::last(row, size)).collect();
        // Those of higher levels are larger and stand before.
        levels.reverse();
        let mut peaks = Vec::new();
        for open in levels {
            let stored = Tile::of(open.row, open.index, self.size()).ok_or_else(broken)?;
            let (bytes, width) = (self.stored(&stored)?, usize::try_from(open.width).unwrap_or(usize::MAX));
            peaks.extend(tile::perfect_trees(bytes.as_chunks().0.get(..width).ok_or_else(broken)?));
        }
        Edge::resume(size, peaks).ok_or_else(broken)
    }

    /// A tile as it is stored: in its own width, or grown full since.
    fn stored(&self, tile: &Tile) -> io::Result<Vec<u8>> {
        match fs::read(self.folder.join(tile.path())) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && !tile.is_full() => {
                fs::read(self.folder.join(tile.full().path()))
            }
            read => read,
        }
    }
}

/// Entries one after the other.
#[derive(Debug)]
pub struct Entries<'l> {
    log: &'l Log,
    next: u64,
    bundle: std::vec::IntoIter<Vec<u8>>,
}

impl Iterator for Entries<'_> {
    type Item = io::Result<(u64, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.log.size() {
            return None;
        }
        if self.bundle.len() == 0 {
            match self.fill() {
                Ok(()) => {}
                Err(cause) => {
                    self.next = self.log.size();
                    return Some(Err(cause));
                }
            }
        }
        let index = self.next;
        self.next += 1;
        let missing = || io::Error::new(io::ErrorKind::UnexpectedEof, format!("entry {index} is missing"));
        Some(self.bundle.next().map(|entry| (index, entry)).ok_or_else(missing))
    }
}

impl Entries<'_> {
    fn fill(&mut self) -> io::Result<()> {
        let Some(tile) = Tile::of(Row::Entries, self.next / WIDTH, self.log.size()) else { return Ok(()) };
        let bytes = self.log.stored(&tile)?;
        let skipped = usize::try_from(self.next % WIDTH).unwrap_or(usize::MAX);
        let entries = tile::entries(&bytes).map_while(Result::ok).take(usize::try_from(tile.width).unwrap_or(0));
        self.bundle = entries.skip(skipped).map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter();
        Ok(())
    }
}

/// The tree's hashes as they are stored.
struct Nodes<'l>(&'l Log);

impl proof::Nodes for Nodes<'_> {
    type Error = io::Error;

    fn node(&mut self, node: Node) -> io::Result<Hash> {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "a tile does not hold what its name says");
        let tile = node.tile(self.0.size()).ok_or_else(broken)?;
        node.hash(&self.0.stored(&tile)?).ok_or_else(broken)
    }
}

/// Why a log cannot be read.
#[derive(Debug)]
pub enum OpenError {
    /// Nothing vouches for what is there.
    NoCheckpoint,
    /// The checkpoint cannot be read.
    Unreadable(io::Error),
    /// The checkpoint is not to be believed.
    Refused(Refused),
}

impl fmt::Display for OpenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCheckpoint => write!(out, "there is no checkpoint"),
            Self::Unreadable(cause) => write!(out, "the checkpoint cannot be read: {cause}"),
            Self::Refused(cause) => write!(out, "the checkpoint is not to be believed: {cause}"),
        }
    }
}

impl std::error::Error for OpenError {}
