//! Hashes a Merkle tree. In: entries in their order. Out: the tree's head. Never here: proofs, storage, signatures.
//!
//! RFC 6962 §2.1 (the same in RFC 9162 §2.1.1). Leaves and nodes are hashed with different first bytes: without that a node's two hashes could
//! be passed off as an entry, and one head would stand for two logs.

use sha2::{Digest, Sha256};

/// SHA-256.
pub type Hash = [u8; 32];

/// `SHA-256(0x00 ‖ entry)`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    sha256(&[&[0x00], entry])
}

/// `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[0x01], left, right])
}

/// The head of the tree over `entries`; of no entries, the hash of nothing.
pub fn tree_head<E: AsRef<[u8]>>(entries: &[E]) -> Hash {
    let mut edge = Edge::default();
    entries.iter().for_each(|entry| edge.push(leaf_hash(entry.as_ref())));
    edge.head()
}

/// The right edge of a tree: the heads of the perfect trees it consists of, largest first. All that is needed to let it grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    peaks: Vec<Hash>,
}

impl Edge {
    /// The edge of a tree of `size` entries, from the heads of its perfect trees, largest first: one for each bit of the size that is set.
    pub fn resume(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() as u32 == size.count_ones()).then_some(Self { size, peaks })
    }

    /// How many entries.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The heads of the perfect trees, largest first: with the size, all that [`Edge::resume`] takes.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds the hash of an entry.
    pub fn push(&mut self, leaf: Hash) {
        let mut grown = leaf;
        // Two trees of one height become one of the next, as a carry does in the binary form of the size.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                grown = node_hash(&left, &grown);
            }
        }
        self.peaks.push(grown);
        self.size += 1;
    }

    /// The tree's head.
    pub fn head(&self) -> Hash {
        fold(&self.peaks)
    }
}

/// The head over perfect trees that stand side by side, largest first; of none, the hash of nothing.
pub(crate) fn fold(peaks: &[Hash]) -> Hash {
    let Some((last, left)) = peaks.split_last() else { return sha256(&[]) };
    left.iter().rev().fold(*last, |head, left| node_hash(left, &head))
}

pub(crate) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entries that the reference implementation of RFC 6962 tests with.
    const ENTRIES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];

    /// The head over the first n of them.
    const HEADS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn hex(hash: &Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 6962 §2.1, word for word: split at the largest power of two below n.
    fn by_definition(entries: &[&[u8]]) -> Hash {
        match entries.len() {
            0 => sha256(&[]),
            1 => leaf_hash(entries[0]),
            count => {
                let split = 1 << (count - 1).ilog2();
                node_hash(&by_definition(&entries[..split]), &by_definition(&entries[split..]))
            }
        }
    }

    #[test]
    fn a_node_cannot_pass_for_an_entry() {
        let (left, right) = (leaf_hash(b"a"), leaf_hash(b"b"));
        assert_ne!(leaf_hash(&[left, right].concat()), node_hash(&left, &right));
        assert_ne!(tree_head(&[b"a", b"b"]), tree_head(&[b"b", b"a"]));
    }

    #[test]
    fn the_vectors_of_rfc_6962_hold() {
        for (count, head) in HEADS.iter().enumerate() {
            assert_eq!(hex(&tree_head(&ENTRIES[..count])), *head, "given {count} entries");
        }
    }

    #[test]
    fn every_size_agrees_with_the_definition() {
        let entries: Vec<[u8; 2]> = (0_u16..200).map(u16::to_be_bytes).collect();
        let entries: Vec<&[u8]> = entries.iter().map(|entry| entry.as_slice()).collect();
        for count in 0..=entries.len() {
            assert_eq!(tree_head(&entries[..count]), by_definition(&entries[..count]), "given {count} entries");
        }
    }
}
