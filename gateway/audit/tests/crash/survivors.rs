//! Chooses what a crash leaves. In: what the disk holds of a file, what was done to it since. Out: bytes that a disk could hold after the power was
//! cut. Never here: names, faults.
//!
//! Between two syncs a file system may bring sectors to the disk in any order, some of them or none; a length may grow before the bytes arrive.

use std::sync::Arc;

use oorandom::Rand64;

/// How everything stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The process ends; what it wrote is there.
    Kill,
    /// The power goes; what was not synced is there in part.
    Power,
}

/// One thing that was done to a file since it was synced.
#[derive(Clone, Debug)]
pub enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

/// A file, whatever it is called.
#[derive(Clone, Debug, Default)]
pub struct Inode {
    /// What the disk holds.
    pub kept: Arc<Vec<u8>>,
    /// What is read.
    pub read: Arc<Vec<u8>>,
    /// What lies between the two; less than that once a sync failed.
    pub changes: Vec<Change>,
    /// A sync failed: what is read is more than what will ever be kept.
    pub diverged: bool,
    /// Whoever looks may see what is written here, so all of it is remembered.
    pub shown: bool,
}

/// What is brought to a disk in one piece.
const SECTOR_BYTES: usize = 512;

/// Which of the changes survive.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// None.
    Lost,
    /// All.
    Whole,
    /// The first, up to somewhere.
    Begun,
    /// The last, from somewhere: written out of order.
    Late,
    /// Each sector with this chance, in percent.
    Mixed(u64),
}

impl Style {
    /// One of them.
    pub fn of(chance: &mut Rand64) -> Self {
        match chance.rand_range(0..10) {
            0 | 1 => Self::Lost,
            2 => Self::Whole,
            3 | 4 => Self::Begun,
            5 => Self::Late,
            6 => Self::Mixed(10),
            7 | 8 => Self::Mixed(50),
            _ => Self::Mixed(90),
        }
    }

    /// Which of `count` states of a name survives; none is the one before all.
    pub fn one_of(self, count: usize, chance: &mut Rand64) -> Option<usize> {
        match self {
            Self::Lost => None,
            Self::Whole => count.checked_sub(1),
            Self::Begun | Self::Late | Self::Mixed(_) => {
                (chance.rand_range(0..count as u64 + 1) as usize).checked_sub(1)
            }
        }
    }
}

impl Change {
    /// Does it to `bytes`.
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Cut(length) => bytes.resize(*length, 0),
            Self::Write(offset, written) => put(bytes, *offset, written),
        }
    }

    fn end(&self) -> usize {
        match self {
            Self::Cut(length) => *length,
            Self::Write(offset, written) => offset + written.len(),
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    let end = offset + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(written);
}

impl Inode {
    /// What the disk holds once all that is left to be written is.
    pub fn with_all(&self) -> Vec<u8> {
        let mut bytes = self.kept.to_vec();
        self.changes.iter().for_each(|change| change.apply(&mut bytes));
        bytes
    }

    /// What the disk may hold when the power is cut.
    pub fn survivors(&self, style: Style, chance: &mut Rand64) -> Vec<u8> {
        let mut bytes = self.kept.to_vec();
        let count = self.changes.len() as u64;
        let turn = chance.rand_range(0..count + 1) as usize;
        for (at, change) in self.changes.iter().enumerate() {
            let percent = match style {
                Style::Lost => 0,
                Style::Whole => 100,
                Style::Begun if at == turn => {
                    torn(change, &mut bytes, chance);
                    0
                }
                Style::Begun => {
                    if at < turn {
                        100
                    } else {
                        0
                    }
                }
                Style::Late => {
                    if at >= turn {
                        100
                    } else {
                        0
                    }
                }
                Style::Mixed(percent) => percent,
            };
            some(change, &mut bytes, percent, chance);
        }
        // The length arrived, and the bytes did not.
        if chance.rand_range(0..4) == 0 {
            let ends: Vec<usize> = self.changes.iter().map(Change::end).filter(|end| *end > bytes.len()).collect();
            if !ends.is_empty() {
                bytes.resize(ends[chance.rand_range(0..ends.len() as u64) as usize], 0);
            }
        }
        bytes
    }
}

/// The beginning of a change, up to any byte.
fn torn(change: &Change, bytes: &mut Vec<u8>, chance: &mut Rand64) {
    if let Change::Write(offset, written) = change {
        let end = chance.rand_range(0..written.len() as u64 + 1) as usize;
        put(bytes, *offset, &written[..end]);
    }
}

/// Each sector of a change with a chance.
fn some(change: &Change, bytes: &mut Vec<u8>, percent: u64, chance: &mut Rand64) {
    let mut kept = || chance.rand_range(0..100) < percent;
    match change {
        Change::Cut(_) => {
            if kept() {
                change.apply(bytes);
            }
        }
        Change::Write(offset, written) => {
            let mut start = 0;
            while start < written.len() {
                let end = (start + SECTOR_BYTES - (offset + start) % SECTOR_BYTES).min(written.len());
                if kept() {
                    put(bytes, offset + start, &written[start..end]);
                }
                start = end;
            }
        }
    }
}
