//! Lets a log grow. In: entries in their order. Out: the tiles and bundles that are to be written, the head over all. Never here: files, signatures.
//!
//! What it holds is the right edge alone: an open tile a level and an open bundle, however long the log is.

use std::fmt;

use crate::proof::Head;
use crate::tile::{self, Row, Tile, TooLong, WIDTH};
use crate::tree::{Hash, leaf_hash};

/// A log under way.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    size: u64,
    /// The hashes of the open tile of each level, fewer than 256 of each.
    levels: Vec<Vec<Hash>>,
    bundle: Vec<u8>,
    finished: Vec<Asset>,
    /// The size at which everything was last taken.
    taken: u64,
    /// Buffers of bundles that are written, to be filled again: memory that is asked for anew is filled with zeros by the system, page by page.
    spare: Vec<Vec<u8>>,
}

/// Buffers that are kept: bundles of a second of a busy host.
const SPARE_MAX: usize = 256;

/// What is to be written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Where: [`Tile::path`].
    pub tile: Tile,
    /// What.
    pub bytes: Vec<u8>,
}

impl Growth {
    /// Goes on at the end of a log of `size` entries; `read` brings its tiles. The caller holds [`Growth::head`] against what was signed.
    ///
    /// # Errors
    /// When a tile cannot be read, or does not hold what one of its width holds.
    pub fn resume<E>(size: u64, mut read: impl FnMut(&Tile) -> Result<Vec<u8>, E>) -> Result<Self, ResumeError<E>> {
        let mut growth = Self { size, taken: size, ..Self::default() };
        for row in Tile::rows(size) {
            let tile = Tile::last(row, size);
            let open = tile.map_or(0, |tile| tile.width);
            let bytes = tile.as_ref().map(&mut read).transpose().map_err(ResumeError::Read)?.unwrap_or_default();
            let fits = match row {
                Row::Entries => tile::entries(&bytes).filter(Result::is_ok).count() as u64 == open,
                Row::Level(_) => bytes.len() as u64 == open * 32,
            };
            if let (false, Some(tile)) = (fits, tile) {
                return Err(ResumeError::Broken(tile));
            }
            match row {
                Row::Entries => growth.bundle = bytes,
                Row::Level(_) => growth.levels.push(bytes.as_chunks::<32>().0.to_vec()),
            }
        }
        Ok(growth)
    }

    /// Adds an entry; its index.
    ///
    /// # Errors
    /// When it is longer than a bundle can hold. The log is as it was.
    pub fn append(&mut self, entry: &[u8]) -> Result<u64, TooLong> {
        self.append_hashed(entry).map(|(index, _)| index)
    }

    /// The same; its index and its hash.
    ///
    /// # Errors
    /// As [`Growth::append`].
    pub fn append_hashed(&mut self, entry: &[u8]) -> Result<(u64, Hash), TooLong> {
        tile::bundle_entry(&mut self.bundle, entry)?;
        let (index, leaf) = (self.size, leaf_hash(entry));
        self.size += 1;
        if self.size.is_multiple_of(WIDTH) {
            self.finish(Row::Entries);
        }
        let mut hash = Some(leaf);
        for level in 0.. {
            let Some(grown) = hash.take() else { break };
            if self.levels.len() as u64 == u64::from(level) {
                self.levels.push(Vec::new());
            }
            let Some(open) = self.levels.get_mut(level as usize) else { break };
            open.push(grown);
            if open.len() as u64 == WIDTH {
                hash = tile::perfect_head(open);
                self.finish(Row::Level(level));
            }
        }
        Ok((index, leaf))
    }

    /// How many entries.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many entries, and the head over them. It hashes some hundred times, so ask once a checkpoint.
    pub fn head(&self) -> Head {
        Head { size: self.size, hash: tile::edge_head(self.levels.iter().map(Vec::as_slice)) }
    }

    /// What has to be written before a checkpoint over [`Growth::head`] is: full tiles first, in the order in which they filled.
    pub fn take(&mut self) -> Vec<Asset> {
        let mut assets = std::mem::take(&mut self.finished);
        let size = self.size;
        if size == self.taken {
            return assets;
        }
        self.taken = size;
        for row in Tile::rows(size) {
            let Some(tile) = Tile::last(row, size) else { continue };
            assets.push(Asset { tile, bytes: self.open(row) });
        }
        assets
    }

    /// Takes back what [`Growth::take`] gave and nobody needs any more.
    pub fn give_back(&mut self, assets: impl IntoIterator<Item = Asset>) {
        for Asset { tile, mut bytes } in assets {
            if tile.row == Row::Entries && self.spare.len() < SPARE_MAX {
                bytes.clear();
                self.spare.push(bytes);
            }
        }
    }

    fn open(&self, row: Row) -> Vec<u8> {
        match row {
            Row::Entries => self.bundle.clone(),
            Row::Level(level) => self.levels.get(level as usize).map(|hashes| hashes.concat()).unwrap_or_default(),
        }
    }

    fn finish(&mut self, row: Row) {
        let bytes = match row {
            Row::Entries => {
                // The next bundle is about as long.
                let room = self.spare.pop();
                let room = room.unwrap_or_else(|| Vec::with_capacity(self.bundle.len() + self.bundle.len() / 8));
                std::mem::replace(&mut self.bundle, room)
            }
            Row::Level(level) => {
                let open = self.levels.get_mut(level as usize);
                open.map_or_else(Vec::new, |open| open.drain(..).flatten().collect())
            }
        };
        self.finished.extend(Tile::holding(row, self.size - 1).map(|tile| Asset { tile, bytes }));
    }
}

/// Why a log cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub enum ResumeError<E> {
    /// A tile cannot be read.
    Read(E),
    /// A tile is not as long as its name says.
    Broken(Tile),
}

impl<E: fmt::Display> fmt::Display for ResumeError<E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(cause) => write!(out, "{cause}"),
            Self::Broken(tile) => write!(out, "`{}` does not hold what its name says", tile.path()),
        }
    }
}

impl<E: fmt::Display + fmt::Debug> std::error::Error for ResumeError<E> {}

#[cfg(test)]
#[path = "growth_tests.rs"]
mod tests;
