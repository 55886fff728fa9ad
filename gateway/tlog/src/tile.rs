//! Says where hashes and entries lie. In: a place in the tree. Out: the path of its tile, and what the tile holds. Never here: files.
//!
//! C2SP tlog-tiles. A tile is eight levels of the tree by its 256 lowest hashes; level 0 holds the entries' own hashes, each hash of a higher
//! level is the head of a full tile below it. Only tiles at the right edge are partial; a partial tile has its width in its name.

use std::fmt::Write;

use crate::tree::{Hash, fold, node_hash};

/// Levels of the tree that a tile spans.
pub const HEIGHT: u32 = 8;

/// Hashes of a full tile, entries of a full bundle.
pub const WIDTH: u64 = 1 << HEIGHT;

/// Bytes of an entry at most: a bundle gives the length of each in 16 bits.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;

/// A tile of hashes, or a bundle of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// What it holds.
    pub row: Row,
    /// Its place in its row, from 0.
    pub index: u64,
    /// How many hashes or entries it holds: 1 to 256.
    pub width: u64,
}

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Row {
    /// Entries themselves.
    Entries,
    /// Hashes of this level.
    Level(u32),
}

impl Row {
    /// The level whose hashes belong to it: those of entries are level 0.
    pub fn level(self) -> u32 {
        match self {
            Self::Entries => 0,
            Self::Level(level) => level,
        }
    }
}

impl Tile {
    /// The tile `index` of a row in a tree of `size` entries; none where it would be empty.
    pub fn of(row: Row, index: u64, size: u64) -> Option<Self> {
        let hashes = hashes(row, size);
        let width = hashes.checked_sub(index.checked_mul(WIDTH)?)?.min(WIDTH);
        (width > 0).then_some(Self { row, index, width })
    }

    /// The partial tile at the end of a row in a tree of `size` entries; none where the last one is full.
    pub fn last(row: Row, size: u64) -> Option<Self> {
        Self::of(row, hashes(row, size) / WIDTH, size)
    }

    /// Every tile of a row in a tree of `size` entries, in their order.
    pub fn all(row: Row, size: u64) -> impl Iterator<Item = Self> {
        Self::from(row, 0, size)
    }

    /// The same from tile `index` on.
    pub fn from(row: Row, index: u64, size: u64) -> impl Iterator<Item = Self> {
        (index..hashes(row, size).div_ceil(WIDTH)).filter_map(move |index| Self::of(row, index, size))
    }

    /// Every row of a tree of `size` entries that has tiles: the entries, then the levels from 0 up.
    pub fn rows(size: u64) -> impl Iterator<Item = Row> {
        let levels = (0..u64::BITS / HEIGHT).map(Row::Level);
        std::iter::once(Row::Entries).chain(levels).take_while(move |row| hashes(*row, size) > 0)
    }

    /// The full tile of a row in or below which entry `index` stands.
    pub fn holding(row: Row, index: u64) -> Option<Self> {
        index.checked_shr(HEIGHT * (row.level() + 1)).map(|index| Self { row, index, width: WIDTH })
    }

    /// Whether it will never change.
    pub fn is_full(&self) -> bool {
        self.width == WIDTH
    }

    /// The same tile, grown full: it holds all that this one holds.
    pub fn full(&self) -> Self {
        Self { width: WIDTH, ..*self }
    }

    /// The path below the log's folder or URL, such as `tile/0/x001/x234/067.p/8`.
    pub fn path(&self) -> String {
        let mut path = match self.row {
            Row::Entries => "tile/entries/".to_owned(),
            Row::Level(level) => format!("tile/{level}/"),
        };
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        let last = groups.len() - 1;
        for (place, group) in groups.iter().rev().enumerate() {
            let (before, after) = if place == last { ("", "") } else { ("x", "/") };
            // Writing to a text does not fail.
            let _infallible = write!(path, "{before}{group:03}{after}");
        }
        if !self.is_full() {
            let _infallible = write!(path, ".p/{}", self.width);
        }
        path
    }

    /// The index of the first entry below it.
    pub fn first_entry(&self) -> u64 {
        self.index << (HEIGHT * (self.row.level() + 1))
    }
}

/// How many hashes a row of a tree of `size` entries holds.
fn hashes(row: Row, size: u64) -> u64 {
    size.checked_shr(HEIGHT * row.level()).unwrap_or(0)
}

/// A perfect tree within the tree: the one over the entries from `index << height` on, `1 << height` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its height; an entry's own hash has 0.
    pub height: u32,
    /// Its place among those of its height.
    pub index: u64,
}

impl Node {
    /// The tile in which its hash lies or follows from, in a tree of `size` entries; none where the tree does not hold all of it.
    pub fn tile(&self, size: u64) -> Option<Tile> {
        let end = self.index.checked_add(1)?.checked_mul(1_u64.checked_shl(self.height)?)?;
        if end > size {
            return None;
        }
        let (level, within) = (self.height / HEIGHT, self.height % HEIGHT);
        Tile::of(Row::Level(level), (self.index << within) / WIDTH, size)
    }

    /// Its hash, from the bytes of its [`Node::tile`].
    pub fn hash(&self, tile: &[u8]) -> Option<Hash> {
        let within = self.height % HEIGHT;
        let first = usize::try_from((self.index << within) % WIDTH).ok()?;
        let (hashes, _rest) = tile.as_chunks::<32>();
        perfect_head(hashes.get(first..first + (1 << within))?)
    }
}

/// The head of a perfect tree by its leaves' hashes; none unless their count is a power of two.
pub fn perfect_head(hashes: &[Hash]) -> Option<Hash> {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        let (pairs, odd) = row.as_chunks::<2>();
        if !odd.is_empty() {
            return None;
        }
        row = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row.first().copied()
}

/// The heads of the perfect trees that a row of hashes consists of, largest first.
pub fn perfect_trees(hashes: &[Hash]) -> Vec<Hash> {
    let (mut rest, mut heads) = (hashes, Vec::new());
    while let Some(height) = rest.len().checked_ilog2() {
        let Some((tree, after)) = rest.split_at_checked(1 << height) else { break };
        heads.extend(perfect_head(tree));
        rest = after;
    }
    heads
}

/// The head of a tree by the hashes at its right edge that no full tile above holds, those of level 0 first.
pub fn edge_head<'h>(levels: impl DoubleEndedIterator<Item = &'h [Hash]>) -> Hash {
    // Those of higher levels are larger and stand before.
    let peaks: Vec<Hash> = levels.rev().flat_map(perfect_trees).collect();
    fold(&peaks)
}

/// Appends an entry to a bundle: its length in two bytes, big-endian, then itself.
///
/// # Errors
/// When it is longer than [`ENTRY_BYTES_MAX`].
pub fn bundle_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), TooLong> {
    let length = u16::try_from(entry.len()).map_err(|_| TooLong { bytes: entry.len() })?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle, in their order. A bundle that ends within one ends with an error.
pub fn entries(bundle: &[u8]) -> impl Iterator<Item = Result<&[u8], Cut>> {
    let mut rest = bundle;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let split = rest
            .split_first_chunk::<2>()
            .and_then(|(length, after)| after.split_at_checked(usize::from(u16::from_be_bytes(*length))));
        Some(match split {
            Some((entry, after)) => {
                rest = after;
                Ok(entry)
            }
            None => {
                rest = &[];
                Err(Cut)
            }
        })
    })
}

/// An entry that no bundle can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// How long it is.
    pub bytes: usize,
}

impl std::fmt::Display for TooLong {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "an entry of {} bytes is longer than the {ENTRY_BYTES_MAX} that a log can hold", self.bytes)
    }
}

impl std::error::Error for TooLong {}

/// A bundle that ends within an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut;

#[cfg(test)]
#[path = "tile_tests.rs"]
mod tests;
