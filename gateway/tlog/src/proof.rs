//! Proves that a log holds an entry, and that it only grew. In: heads, sizes, hashes of the tree. Out: proofs, or that one fails. Never here: files.
//!
//! Made as RFC 6962 §2.1.1 and §2.1.2 define them, checked as RFC 9162 §2.1.3.2 and §2.1.4.2 do.

use crate::tile::Node;
use crate::tree::{Hash, fold, node_hash};

/// Where hashes of a tree are read.
pub trait Nodes {
    /// Why one cannot be read.
    type Error;

    /// The hash of a perfect tree within the tree.
    ///
    /// # Errors
    /// When it cannot be read.
    fn node(&mut self, node: Node) -> Result<Hash, Self::Error>;
}

/// The way from entry `index` to the head of the tree of `size` entries: the siblings, lowest first. Empty where there is no such entry.
///
/// # Errors
/// When a hash cannot be read.
pub fn inclusion<N: Nodes>(nodes: &mut N, index: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    let (mut from, mut to) = (0, size);
    let mut path = Vec::new();
    while index < size && to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(head(nodes, middle, to)?);
            to = middle;
        } else {
            path.push(head(nodes, from, middle)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// That the tree of `old` entries is the beginning of the one of `new`. Empty where there is nothing to prove.
///
/// # Errors
/// When a hash cannot be read.
pub fn consistency<N: Nodes>(nodes: &mut N, old: u64, new: u64) -> Result<Vec<Hash>, N::Error> {
    let mut path = Vec::new();
    if old == 0 || old >= new {
        return Ok(path);
    }
    let (mut from, mut to) = (0, new);
    while old != to {
        let middle = from + split(to - from);
        if old <= middle {
            path.push(head(nodes, middle, to)?);
            to = middle;
        } else {
            path.push(head(nodes, from, middle)?);
            from = middle;
        }
    }
    // Where it begins at the first entry it is the old tree itself, which whoever checks knows.
    if from > 0 {
        path.push(head(nodes, from, to)?);
    }
    path.reverse();
    Ok(path)
}

/// The head over all entries of a tree of `size`.
///
/// # Errors
/// When a hash cannot be read.
pub fn tree_head<N: Nodes>(nodes: &mut N, size: u64) -> Result<Hash, N::Error> {
    head(nodes, 0, size)
}

/// The heads of the perfect trees that a tree of `size` entries consists of, largest first.
///
/// # Errors
/// When a hash cannot be read.
pub fn peaks<N: Nodes>(nodes: &mut N, from: u64, to: u64) -> Result<Vec<Hash>, N::Error> {
    let (mut start, mut peaks) = (from, Vec::new());
    while start < to {
        // What begins here is as large as what is left allows; it begins at a multiple of its size, since larger ones stand before it.
        let height = (to - start).ilog2();
        peaks.push(nodes.node(Node { height, index: start >> height })?);
        start += 1 << height;
    }
    Ok(peaks)
}

/// The head over the entries from `from` up to `to`, where `from` is a multiple of the largest power of two below their count.
fn head<N: Nodes>(nodes: &mut N, from: u64, to: u64) -> Result<Hash, N::Error> {
    Ok(fold(&peaks(nodes, from, to)?))
}

/// The largest power of two below `count`, which is above 1.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// The size of a tree and its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many entries.
    pub size: u64,
    /// The head over them.
    pub hash: Hash,
}

/// Whether `proof` shows that entry `index` of the tree of `size` entries with head `head` has the hash `leaf`.
pub fn proves_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], head: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut climb, mut reached) = (Climb { at: index, last: size - 1 }, *leaf);
    for sibling in proof {
        reached = match climb.step() {
            Step::Left => node_hash(sibling, &reached),
            Step::Right => node_hash(&reached, sibling),
            Step::Root => return false,
        };
    }
    climb.is_done() && reached == *head
}

/// Whether `proof` shows that the tree `old` is the beginning of the tree `new`. Every tree begins with the empty one.
pub fn proves_consistency(old: &Head, new: &Head, proof: &[Hash]) -> bool {
    if old.size == new.size {
        return proof.is_empty() && old.hash == new.hash;
    }
    if old.size == 0 {
        return proof.is_empty() && old.hash == fold(&[]);
    }
    if old.size > new.size {
        return false;
    }
    // A perfect old tree is itself the first step.
    let (first, rest) = if old.size.is_power_of_two() {
        (Some(&old.hash), proof)
    } else {
        (proof.first(), proof.get(1..).unwrap_or_default())
    };
    let Some(first) = first else { return false };
    let mut climb = Climb::beside(old.size, new.size);
    let (mut of_old, mut of_new) = (*first, *first);
    for sibling in rest {
        match climb.step() {
            Step::Left => {
                of_old = node_hash(sibling, &of_old);
                of_new = node_hash(sibling, &of_new);
            }
            Step::Right => of_new = node_hash(&of_new, sibling),
            Step::Root => return false,
        }
    }
    climb.is_done() && of_old == old.hash && of_new == new.hash
}

/// The way up from a node to the head of its tree.
struct Climb {
    /// The node's place among those of its height.
    at: u64,
    /// The place of the last node of that height.
    last: u64,
}

/// Where the next sibling on the way stands.
enum Step {
    Left,
    Right,
    /// There is none: the head is reached.
    Root,
}

impl Climb {
    /// From the largest perfect tree that ends the tree of `old` entries, in a larger tree of `new`; neither is empty.
    fn beside(old: u64, new: u64) -> Self {
        let height = (old - 1).trailing_ones();
        Self { at: (old - 1).checked_shr(height).unwrap_or(0), last: (new - 1).checked_shr(height).unwrap_or(0) }
    }

    /// Goes up to where the node has a sibling, and beyond it.
    fn step(&mut self) -> Step {
        if self.is_done() {
            return Step::Root;
        }
        let step = if self.at & 1 == 1 || self.at == self.last { Step::Left } else { Step::Right };
        // The last node of a height may have no sibling there; it then is its own parent.
        while matches!(step, Step::Left) && self.at & 1 == 0 && self.at != 0 {
            (self.at, self.last) = (self.at >> 1, self.last >> 1);
        }
        (self.at, self.last) = (self.at >> 1, self.last >> 1);
        step
    }

    fn is_done(&self) -> bool {
        self.last == 0
    }
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
