use super::*;
use crate::sample::{Memory, entry};
use crate::tree::{self, leaf_hash};

const SIZES: [u64; 11] = [1, 2, 3, 7, 8, 255, 256, 257, 511, 600, 66_000];

fn head_of(memory: &mut Memory, size: u64) -> Head {
    // A tree that is a beginning of this one has all its perfect trees in it.
    Head { size, hash: tree_head(memory, size).unwrap() }
}

#[test]
fn a_proof_for_another_place_size_entry_or_head_proves_nothing() {
    let mut memory = Memory::of(1000);
    let head = head_of(&mut memory, 1000);
    let proof = inclusion(&mut memory, 123, 1000).unwrap();
    let leaf = leaf_hash(&entry(123));
    assert!(proves_inclusion(&leaf, 123, 1000, &proof, &head.hash));
    for (index, size) in [(122, 1000), (124, 1000), (1000, 1000), (123, 123), (0, 0), (123, 100), (u64::MAX, u64::MAX)]
    {
        assert!(!proves_inclusion(&leaf, index, size, &proof, &head.hash), "{index} of {size}");
    }
    assert!(!proves_inclusion(&leaf_hash(b"other"), 123, 1000, &proof, &head.hash));
    assert!(!proves_inclusion(&leaf, 123, 1000, &proof, &[0; 32]));
    for place in 0..proof.len() {
        let mut changed = proof.clone();
        changed[place][0] ^= 1;
        assert!(!proves_inclusion(&leaf, 123, 1000, &changed, &head.hash), "hash {place}");
        changed.remove(place);
        assert!(!proves_inclusion(&leaf, 123, 1000, &changed, &head.hash), "without hash {place}");
    }
    assert!(!proves_inclusion(&leaf, 123, 1000, &[proof.clone(), vec![[0; 32]]].concat(), &head.hash));
}

#[test]
fn a_log_that_was_rewritten_cannot_prove_that_it_grew() {
    let mut memory = Memory::of(1000);
    let new = head_of(&mut memory, 1000);
    for old in [1, 2, 255, 256, 300, 512, 999] {
        let good = head_of(&mut memory, old);
        let proof = consistency(&mut memory, old, 1000).unwrap();
        assert!(proves_consistency(&good, &new, &proof), "{old}");
        assert!(!proves_consistency(&Head { hash: [1; 32], ..good }, &new, &proof), "{old}: another old head");
        assert!(!proves_consistency(&good, &Head { hash: [1; 32], ..new }, &proof), "{old}: another new head");
        assert!(!proves_consistency(&Head { size: old + 1, ..good }, &new, &proof), "{old}: another old size");
        assert!(!proves_consistency(&new, &good, &proof), "{old}: backwards");
        assert!(!proves_consistency(&good, &new, &[]), "{old}: no proof");
        let longer = [proof.clone(), vec![[0; 32]]].concat();
        assert!(!proves_consistency(&good, &new, &longer), "{old}: a hash more");
        for place in 0..proof.len() {
            let mut changed = proof.clone();
            changed[place][31] ^= 0x80;
            assert!(!proves_consistency(&good, &new, &changed), "{old}: hash {place}");
        }
    }
    let empty = Head { size: 0, hash: tree::fold(&[]) };
    assert!(proves_consistency(&empty, &new, &[]) && proves_consistency(&new, &new, &[]));
    assert!(!proves_consistency(&Head { hash: [0; 32], ..empty }, &new, &[]));
    assert!(!proves_consistency(&new, &Head { hash: [0; 32], ..new }, &[]));
}

#[test]
fn every_entry_of_every_size_is_proven_from_the_tiles() {
    for size in SIZES {
        let mut memory = Memory::of(size);
        let head = head_of(&mut memory, size);
        let step = (size / 40).max(1);
        for index in (0..size).step_by(step as usize).chain([size - 1]) {
            let proof = inclusion(&mut memory, index, size).unwrap();
            assert!(proves_inclusion(&leaf_hash(&entry(index)), index, size, &proof, &head.hash), "{index} of {size}");
        }
        assert!(inclusion(&mut memory, size, size).unwrap().is_empty());
    }
}

#[test]
fn every_beginning_is_proven_from_the_tiles() {
    let mut memory = Memory::of(700);
    let new = head_of(&mut memory, 700);
    for old in 1..=700 {
        let before = head_of(&mut memory, old);
        let proof = consistency(&mut memory, old, 700).unwrap();
        assert!(proves_consistency(&before, &new, &proof), "{old}");
    }
}
