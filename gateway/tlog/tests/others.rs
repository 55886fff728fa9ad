//! Other implementations have to agree: `ct-merkle` on heads and proofs, `tlog_tiles` on tiles and checkpoints, `signed_note` on notes.

use std::collections::BTreeMap;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::growth::Growth;
use portcullis_tlog::note::{Kind, Note, NoteSigner, VerifierKey};
use portcullis_tlog::proof::{self, Head, Nodes};
use portcullis_tlog::tile::{Node, Row, Tile};
use portcullis_tlog::tree::{Hash, leaf_hash, tree_head};
use proptest::prelude::*;
use sha2::Sha256;
use signed_note::{Signer, Verifier};
use tlog_tiles::{TileHashReader, TileReader};

/// A log in memory, read by us and by others.
struct Log {
    tiles: BTreeMap<Tile, Vec<u8>>,
    size: u64,
}

impl Log {
    fn of(entries: &[Vec<u8>]) -> (Self, Head) {
        let mut growth = Growth::default();
        for entry in entries {
            growth.append(entry).unwrap();
        }
        let head = growth.head();
        let tiles = growth.take().into_iter().map(|asset| (asset.tile, asset.bytes)).collect();
        (Self { tiles, size: head.size }, head)
    }
}

impl Nodes for Log {
    type Error = &'static str;

    fn node(&mut self, node: Node) -> Result<Hash, Self::Error> {
        let tile = node.tile(self.size).ok_or("beyond the tree")?;
        node.hash(self.tiles.get(&tile).ok_or("missing")?).ok_or("not in its tile")
    }
}

impl TileReader for Log {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let one = |tile: &tlog_tiles::Tile| {
            let row = Row::Level(tile.level().into());
            let place = Tile { row, index: tile.level_index(), width: tile.width().into() };
            // Theirs names the height before the level; the rest of the path is the same.
            assert_eq!(tile.path().replacen("tile/8/", "tile/", 1), place.path());
            let stored = self.tiles.get(&place).or_else(|| self.tiles.get(&place.full()));
            stored.map(|bytes| bytes[..32 * place.width as usize].to_vec()).ok_or(tlog_tiles::Error::InvalidTile)
        };
        tiles.iter().map(one).collect()
    }

    fn save_tiles(&self, _tiles: &[tlog_tiles::Tile], _data: &[Vec<u8>]) {}
}

fn entries(size: u64) -> Vec<Vec<u8>> {
    (0..size).map(|index| format!("entry {index}").into_bytes()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn another_tree_has_the_same_heads_and_proofs(
        entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..700),
        place in any::<prop::sample::Index>(),
        before in any::<prop::sample::Index>(),
    ) {
        let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        entries.iter().for_each(|entry| theirs.push(entry.clone()));
        let (mut log, head) = Log::of(&entries);
        let root = theirs.root();
        prop_assert_eq!(root.as_bytes().as_slice(), head.hash.as_slice());
        let index = place.index(entries.len());
        let ours = proof::inclusion(&mut log, index as u64, head.size).unwrap();
        let inclusion = theirs.prove_inclusion(index);
        prop_assert_eq!(inclusion.as_bytes(), ours.concat());
        prop_assert!(proof::proves_inclusion(&leaf_hash(&entries[index]), index as u64, head.size, &ours, &head.hash));
        let old = before.index(entries.len());
        if old > 0 {
            let ours = proof::consistency(&mut log, old as u64, head.size).unwrap();
            let consistency = theirs.prove_consistency(entries.len() - old);
            prop_assert_eq!(consistency.as_bytes(), ours.concat());
            let old = Head { size: old as u64, hash: tree_head(&entries[..old]) };
            prop_assert!(proof::proves_consistency(&old, &head, &ours));
        }
    }
}

#[test]
fn another_reader_of_tiles_proves_entries_from_ours() {
    for size in [1, 255, 256, 257, 1000, 66_000] {
        let entries = entries(size);
        let (mut log, head) = Log::of(&entries);
        let reader = TileHashReader::new(size, tlog_tiles::Hash(head.hash), &log);
        let index = size * 3 / 4;
        let theirs = tlog_tiles::prove_record(size, index, &reader).unwrap();
        let ours = proof::inclusion(&mut log, index, size).unwrap();
        assert_eq!(theirs.iter().map(|hash| hash.0).collect::<Vec<_>>(), ours, "{index} of {size}");
        let leaf = tlog_tiles::Hash(leaf_hash(&entries[index as usize]));
        let of_ours = ours.iter().map(|hash| tlog_tiles::Hash(*hash)).collect();
        tlog_tiles::check_record(&of_ours, size, tlog_tiles::Hash(head.hash), index, leaf).unwrap();
    }
}

#[test]
fn another_reader_of_notes_believes_ours_and_we_believe_its_own() {
    let name = "example.com/log";
    let signer = NoteSigner::new(name, Kind::Signature, &[7; 32]).unwrap();
    let head = Log::of(&entries(300)).1;
    let note = Checkpoint { origin: name.to_owned(), head }.sign(&signer);
    let key = signer.verifier().to_string();
    let theirs = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    let verifier = signed_note::StandardVerifier::new(&key).unwrap();
    let known = signed_note::VerifierList::new(vec![Box::new(verifier)]);
    let (verified, unverified) = theirs.verify(&known).unwrap();
    assert_eq!((verified.len(), unverified.len()), (1, 0));
    let read = tlog_tiles::Checkpoint::from_bytes(theirs.text()).unwrap();
    assert_eq!((read.origin(), read.size(), read.hash().0), (name, 300, head.hash));

    let their_signer = signed_note::StandardSigner::new(THEIR_KEY).unwrap();
    let mut signed = signed_note::Note::new(theirs.text(), &[]).unwrap();
    signed.add_sigs(&[&their_signer]).unwrap();
    let text = String::from_utf8(signed.to_bytes()).unwrap();
    let their_key = VerifierKey::parse(THEIR_VERIFIER).unwrap();
    assert_eq!(their_signer.name(), their_key.name());
    assert_eq!(their_key.verify(&Note::parse(&text).unwrap()), Ok(0));
    assert_eq!(signed_note::StandardVerifier::new(THEIR_VERIFIER).unwrap().name(), "PeterNeumann");
}

/// The example keys of golang.org/x/mod/sumdb/note, by which every implementation can be tried.
const THEIR_KEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const THEIR_VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
