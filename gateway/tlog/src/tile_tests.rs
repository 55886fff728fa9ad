use super::*;
use crate::tree::{leaf_hash, tree_head};

fn check(row: Row, index: u64, width: u64, path: &str) {
    assert_eq!(Tile { row, index, width }.path(), path);
}

#[test]
fn an_entry_beyond_16_bits_of_length_is_refused_and_the_bundle_stays() {
    let mut bundle = b"\x00\x01a".to_vec();
    assert_eq!(bundle_entry(&mut bundle, &[0; 65_536]), Err(TooLong { bytes: 65_536 }));
    assert_eq!(bundle, b"\x00\x01a");
    assert_eq!(bundle_entry(&mut bundle, &[0; 65_535]), Ok(()));
    assert_eq!(bundle.len(), 3 + 2 + 65_535);
}

#[test]
fn a_bundle_that_ends_within_an_entry_says_so_after_the_whole_ones() {
    for cut in [&b"\x00\x01a\x00"[..], b"\x00\x01a\x00\x02b", b"\x00\x01a\xff\xff"] {
        assert_eq!(entries(cut).collect::<Vec<_>>(), [Ok(&b"a"[..]), Err(Cut)], "given {cut:?}");
    }
    assert_eq!(entries(b"\x00\x00\x00\x02bc").collect::<Vec<_>>(), [Ok(&b""[..]), Ok(b"bc")]);
}

#[test]
fn paths_are_those_of_the_specification() {
    check(Row::Level(0), 1_234_067, 256, "tile/0/x001/x234/067");
    check(Row::Level(0), 0, 256, "tile/0/000");
    check(Row::Level(1), 5, 17, "tile/1/005.p/17");
    check(Row::Level(63), 1000, 1, "tile/63/x001/000.p/1");
    check(Row::Entries, 1_234_067, 8, "tile/entries/x001/x234/067.p/8");
    check(Row::Entries, u64::MAX >> 8, 256, "tile/entries/x072/x057/x594/x037/x927/935");
}

#[test]
fn a_tree_has_the_tiles_that_the_specification_counts() {
    let count = |size: u64| -> Vec<(Row, u64, Option<u64>)> {
        Tile::rows(size)
            .map(|row| {
                let full = Tile::all(row, size).filter(Tile::is_full).count() as u64;
                (row, full, Tile::last(row, size).map(|tile| tile.width))
            })
            .collect()
    };
    assert_eq!(
        count(70_000),
        [
            (Row::Entries, 273, Some(112)),
            (Row::Level(0), 273, Some(112)),
            (Row::Level(1), 1, Some(17)),
            (Row::Level(2), 0, Some(1))
        ]
    );
    assert_eq!(count(256), [(Row::Entries, 1, None), (Row::Level(0), 1, None), (Row::Level(1), 0, Some(1))]);
    assert!(count(0).is_empty());
    assert_eq!(Tile::of(Row::Level(0), u64::MAX, u64::MAX), None);
}

#[test]
fn a_nodes_hash_follows_from_its_tile_and_none_beyond_the_tree_is_given() {
    let leaves: Vec<Vec<u8>> = (0..300_u32).map(|index| index.to_be_bytes().to_vec()).collect();
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    let (first, second) = hashes.split_at(256);
    for (height, index) in [(0, 0), (0, 255), (3, 31), (7, 1), (8, 0), (2, 64), (5, 8)] {
        let node = Node { height, index };
        let tile = node.tile(300).unwrap();
        let bytes = match (tile.row, tile.index) {
            (Row::Level(0), 0) => first.concat(),
            (Row::Level(0), 1) => second.concat(),
            _ => perfect_head(first).unwrap().to_vec(),
        };
        let covered = &leaves[(index << height) as usize..((index + 1) << height) as usize];
        assert_eq!(node.hash(&bytes), Some(tree_head(covered)), "{node:?}");
    }
    for (height, index) in [(0, 300), (3, 37), (8, 1), (9, 0), (63, 0), (64, 0), (0, u64::MAX)] {
        assert_eq!(Node { height, index }.tile(300), None, "{height} {index}");
    }
    assert_eq!(Node { height: 0, index: 256 }.hash(&[0; 31]), None);
}
