use super::*;
use crate::checkpoint::Refused;
use crate::note::{Kind, NoteSigner};
use crate::sample::{Memory, entry, signer};

fn fault(memory: &Memory) -> Option<Fault> {
    verify(memory, signer().verifier(), |_, _| ()).err()
}

#[test]
fn every_changed_bit_of_a_small_log_is_found_at_its_entry() {
    let good = Memory::of(12);
    assert_eq!(fault(&good), None);
    for (path, bytes) in &good.files {
        for bit in 0..bytes.len() * 8 {
            let mut changed = good.clone();
            changed.files.get_mut(path).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let fault = fault(&changed).unwrap_or_else(|| panic!("bit {bit} of {path} was not found"));
            let expected = match path.as_str() {
                "checkpoint" => None,
                "tile/0/000.p/12" => Some((bit / 256) as u64),
                _ => {
                    let ends = (0..12).scan(0, |end, index| {
                        *end += 2 + entry(index).len();
                        Some(*end)
                    });
                    Some(ends.take_while(|end| *end <= bit / 8).count() as u64)
                }
            };
            assert_eq!(fault.index(), expected, "bit {bit} of {path}: {fault}");
        }
    }
}

#[test]
fn entries_that_are_left_out_added_or_exchanged_are_found() {
    let good = Memory::of(12);
    let bundle = |order: &[u64]| {
        let mut bytes = Vec::new();
        order.iter().for_each(|index| tile::bundle_entry(&mut bytes, &entry(*index)).unwrap());
        bytes
    };
    let order: Vec<u64> = (0..12).collect();
    for place in 0..12 {
        let (mut without, mut twice) = (order.clone(), order.clone());
        without.remove(place);
        twice.insert(place, 99);
        for changed in [without, twice] {
            let mut memory = good.clone();
            memory.files.insert("tile/entries/000.p/12".to_owned(), bundle(&changed));
            assert_eq!(fault(&memory), Some(Fault::Entry { index: place as u64 }), "{changed:?}");
        }
        for other in place + 1..12 {
            let mut swapped = order.clone();
            swapped.swap(place, other);
            let mut memory = good.clone();
            memory.files.insert("tile/entries/000.p/12".to_owned(), bundle(&swapped));
            assert_eq!(fault(&memory), Some(Fault::Entry { index: place as u64 }), "{swapped:?}");
        }
    }
}

#[test]
fn every_file_that_is_missing_or_cut_is_found() {
    let good = Memory::of(1100);
    assert_eq!(fault(&good), None);
    for (path, bytes) in &good.files {
        for length in [None, Some(0), Some(bytes.len() - 1)] {
            let mut changed = good.clone();
            match length {
                None => changed.files.remove(path),
                Some(length) => changed.files.insert(path.clone(), bytes[..length].to_vec()),
            };
            assert!(fault(&changed).is_some(), "{path}, {length:?}");
        }
    }
    let mut longer = good.clone();
    longer.files.get_mut("tile/0/002").unwrap().extend([0; 32]);
    assert_eq!(fault(&longer), Some(Fault::Tile { path: "tile/0/002".to_owned(), index: 512 }));
    let mut longer = good.clone();
    longer.files.get_mut("tile/entries/003").unwrap().extend(*b"\x00\x01a");
    assert_eq!(fault(&longer), Some(Fault::Entry { index: 1024 }));
}

#[test]
fn a_changed_hash_of_a_higher_level_is_named_with_its_tile_and_entry() {
    let good = Memory::of(70_000);
    for (path, byte, index) in [
        ("tile/1/000", 33, 256),
        ("tile/1/001.p/17", 0, 65_536),
        ("tile/1/001.p/17", 16 * 32, 69_632),
        ("tile/2/000.p/1", 5, 0),
    ] {
        let mut changed = good.clone();
        changed.files.get_mut(path).unwrap()[byte] ^= 1;
        assert_eq!(fault(&changed), Some(Fault::Tile { path: path.to_owned(), index }));
    }
}

#[test]
fn a_log_that_was_rewritten_with_all_its_tiles_does_not_fit_its_checkpoint() {
    let (good, mut forged) = (Memory::of(300), Memory::of(301));
    let (size, checkpoint) = (300, good.files["checkpoint"].clone());
    let mut growth = crate::growth::Growth::default();
    for index in 0..size {
        growth.append(if index == 7 { b"never" } else { b"entry" }).unwrap();
    }
    forged.write(&mut growth);
    forged.files.insert("checkpoint".to_owned(), checkpoint);
    assert_eq!(fault(&forged), Some(Fault::OtherHead { size }));
    // Who has no key cannot sign another.
    let other = NoteSigner::new("example.com/log", Kind::Signature, &[8; 32]).unwrap();
    let note = Checkpoint { origin: "example.com/log".to_owned(), head: growth.head() }.sign(&other);
    forged.files.insert("checkpoint".to_owned(), note.into_bytes());
    assert!(matches!(fault(&forged), Some(Fault::Checkpoint(Refused::Unproven(_)))));
    forged.files.insert("checkpoint".to_owned(), vec![0xff]);
    assert_eq!(fault(&forged), Some(Fault::NotText));
    forged.files.remove("checkpoint");
    assert_eq!(fault(&forged), Some(Fault::NoCheckpoint));
}

#[test]
fn every_entry_is_shown_once_in_its_order_and_partial_tiles_may_have_grown_full() {
    for size in [0, 1, 255, 256, 257, 1000] {
        let (memory, mut shown) = (Memory::of(size), 0);
        let checkpoint = verify(&memory, signer().verifier(), |index, bytes| {
            assert_eq!((index, bytes), (shown, &*entry(index)));
            shown += 1;
        });
        assert_eq!((checkpoint.unwrap().head.size, shown), (size, size));
    }
    // A log that has grown since its checkpoint, whose partial tiles are gone.
    let mut grown = Memory::of(512);
    grown.files.insert("checkpoint".to_owned(), Memory::of(300).files["checkpoint"].clone());
    grown.files.insert("tile/1/000.p/1".to_owned(), Memory::of(300).files["tile/1/000.p/1"].clone());
    assert_eq!(fault(&grown), None);
}
