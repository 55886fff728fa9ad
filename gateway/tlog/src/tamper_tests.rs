//! Whatever is done to a log is found, and named where it was done: everything to a small one, chance to a large one.

use std::collections::BTreeMap;
use std::io;
use std::sync::LazyLock;

use super::*;
use crate::growth::Growth;
use crate::sample::{ORIGIN, Records, signer};
use crate::tile::{self, HEIGHT, Row, Tile};

/// A log of records, and what each file holds of it.
struct Log {
    files: BTreeMap<String, Vec<u8>>,
    places: BTreeMap<String, Tile>,
    size: u64,
}

/// The same with some files changed, or gone.
struct Changed<'l> {
    log: &'l Log,
    changes: BTreeMap<String, Option<Vec<u8>>>,
}

impl Files for Changed<'_> {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(match self.changes.get(path) {
            Some(change) => change.clone(),
            None => self.log.files.get(path).cloned(),
        })
    }
}

impl Log {
    fn of(size: u64) -> Self {
        let (mut growth, mut records) = (Growth::default(), Records::default());
        (0..size).for_each(|index| assert_eq!(growth.append(&records.next()), Ok(index)));
        let (mut files, mut places) = (BTreeMap::new(), BTreeMap::new());
        for asset in growth.take() {
            places.insert(asset.tile.path(), asset.tile);
            files.insert(asset.tile.path(), asset.bytes);
        }
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), head: growth.head() };
        files.insert("checkpoint".to_owned(), checkpoint.sign(&signer()).into_bytes());
        Self { files, places, size }
    }

    /// What the verifier says of the log with these files changed, from the first of `touched` on.
    fn fault(&self, touched: u64, changes: Vec<(String, Option<Vec<u8>>)>) -> Option<Fault> {
        let changed = Changed { log: self, changes: changes.into_iter().collect() };
        // Where nothing is found it ends with `NotPruned`, which names 0.
        let demands = Demands { from: touched / WIDTH * WIDTH, ..Demands::default() };
        let read = Reading::after(Before::Nothing).next(&changed, signer().verifier(), &demands, |_| ());
        read.err().filter(|fault| !matches!(fault, Fault::NotPruned { .. }))
    }

    #[track_caller]
    fn check(&self, expected: Option<u64>, changes: Vec<(String, Option<Vec<u8>>)>, what: &str) {
        let fault = self.fault(expected.unwrap_or(0), changes);
        let fault = fault.unwrap_or_else(|| panic!("not found: {what}"));
        assert_eq!(fault.index(), expected, "{what}: {fault}");
    }

    /// The first entry that a byte of a file is about.
    fn about(&self, path: &str, byte: usize) -> Option<u64> {
        let place = self.places.get(path)?;
        Some(match place.row {
            Row::Level(level) => place.first_entry() + (((byte / 32) as u64) << (HEIGHT * level)),
            Row::Entries => {
                let ends = tile::entries(&self.files[path]).scan(0, |end, entry| {
                    *end += 2 + entry.unwrap().len();
                    Some(*end)
                });
                place.first_entry() + ends.take_while(|end| *end <= byte).count() as u64
            }
        })
    }

    fn flip(&self, path: &str, bit: usize) {
        let mut bytes = self.files[path].clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        self.check(self.about(path, bit / 8), vec![(path.to_owned(), Some(bytes))], &format!("bit {bit} of {path}"));
    }

    fn bundle(&self, index: u64) -> (String, Vec<Vec<u8>>) {
        let path = Tile::of(Row::Entries, index / WIDTH, self.size).unwrap().path();
        let entries = tile::entries(&self.files[&path]).map(|entry| entry.unwrap().to_vec()).collect();
        (path, entries)
    }
}

fn spelt(entries: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| tile::bundle_entry(&mut bytes, entry).unwrap());
    Some(bytes)
}

/// 300 records: a full bundle and a partial one, two tiles below and one above.
static SMALL: LazyLock<Log> = LazyLock::new(|| Log::of(300));

#[test]
fn every_bit_of_a_small_log_is_vouched_for() {
    let least = Log::of(9);
    assert_eq!(least.fault(0, vec![]), None);
    for (path, bytes) in &least.files {
        (0..bytes.len() * 8).for_each(|bit| least.flip(path, bit));
    }
    assert_eq!(SMALL.fault(0, vec![]), None);
    for (path, bytes) in SMALL.files.iter().filter(|(path, _)| !path.starts_with("tile/entries")) {
        (0..bytes.len() * 8).for_each(|bit| SMALL.flip(path, bit));
    }
    // Of the entries each byte, and the bits in turns.
    for (path, bytes) in SMALL.files.iter().filter(|(path, _)| path.starts_with("tile/entries")) {
        (0..bytes.len()).for_each(|byte| SMALL.flip(path, byte * 8 + byte % 8));
    }
}

#[test]
fn every_entry_of_a_small_log_that_is_left_out_added_or_exchanged_is_named() {
    for index in 0..300 {
        let (path, entries) = SMALL.bundle(index);
        let at = (index % WIDTH) as usize;
        let mut without = entries.clone();
        without.remove(at);
        SMALL.check(Some(index), vec![(path.clone(), spelt(&without))], &format!("without {index}"));
        for added in [entries[at / 2].clone(), b"{}".to_vec(), Vec::new()] {
            let mut with = entries.clone();
            with.insert(at, added);
            let change = vec![(path.clone(), spelt(&with))];
            // The same entry twice: the second is where it goes wrong.
            let expected = index + u64::from(at == 0 && with[0] == with[1]);
            SMALL.check(Some(expected), change, &format!("added at {index}"));
        }
        for other in index + 1..300 {
            let (other_path, other_entries) = SMALL.bundle(other);
            let other_at = (other % WIDTH) as usize;
            let (mut one, mut two) = (entries.clone(), other_entries.clone());
            let change = if path == other_path {
                one.swap(at, other_at);
                vec![(path.clone(), spelt(&one))]
            } else {
                std::mem::swap(&mut one[at], &mut two[other_at]);
                vec![(path.clone(), spelt(&one)), (other_path, spelt(&two))]
            };
            SMALL.check(Some(index), change, &format!("{index} and {other} exchanged"));
        }
    }
    let (path, mut entries) = SMALL.bundle(299);
    entries.push(b"behind the end".to_vec());
    SMALL.check(Some(300), vec![(path, spelt(&entries))], "added behind the end");
}

#[test]
fn every_file_of_a_small_log_that_is_missing_cut_longer_or_another_is_named() {
    for (path, bytes) in &SMALL.files {
        let first = SMALL.places.get(path).map(Tile::first_entry);
        SMALL.check(first, vec![(path.clone(), None)], &format!("{path} removed"));
        for length in 0..bytes.len() {
            let change = vec![(path.clone(), Some(bytes[..length].to_vec()))];
            // What is cut within an entry or a hash lacks that one; a checkpoint names none.
            let expected = SMALL.about(path, length);
            SMALL.check(expected, change, &format!("{path} cut to {length}"));
        }
        let longer = [bytes.as_slice(), b"\x00\x01a"].concat();
        let fault = SMALL.fault(0, vec![(path.clone(), Some(longer))]);
        assert!(fault.is_some(), "{path} longer");
        for (other, instead) in SMALL.files.iter().filter(|(other, _)| *other != path) {
            let changes = vec![(path.clone(), Some(instead.clone())), (other.clone(), Some(bytes.clone()))];
            assert!(SMALL.fault(0, changes).is_some(), "{path} and {other} exchanged");
        }
    }
}

/// Records that were made again with all tiles and hashes by who has no key, or has one and knows of no witness, are told by their chains.
#[test]
fn a_record_left_out_before_it_was_signed_is_named_by_its_shards_chain() {
    for left_out in [0, 1, 2, 150, 255, 256, 296] {
        let (mut growth, mut records) = (Growth::default(), Records::default());
        for (index, entry) in (0..).zip(records.take(300)) {
            assert!(index == left_out || growth.append(&entry).is_ok());
        }
        let files: BTreeMap<String, Vec<u8>> =
            growth.take().into_iter().map(|asset| (asset.tile.path(), asset.bytes)).collect();
        let mut log = Log { files, places: BTreeMap::new(), size: 299 };
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), head: growth.head() };
        log.files.insert("checkpoint".to_owned(), checkpoint.sign(&signer()).into_bytes());
        let fault = log.fault(0, vec![]);
        assert!(matches!(fault, Some(Fault::Chain { index, .. }) if index == left_out + 2), "{left_out}: {fault:?}");
    }
}

/// Chance: the same seed gives the same changes.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % bound as u64) as usize
    }
}

const LARGE_SIZE: u64 = 100_000;

static LARGE: LazyLock<Log> = LazyLock::new(|| Log::of(LARGE_SIZE));

/// Changes a large log in one way by chance.
fn change(chance: &mut Chance, paths: &[&String]) {
    let index = chance.below(LARGE_SIZE as usize) as u64;
    let (path, entries) = LARGE.bundle(index);
    let at = (index % WIDTH) as usize;
    let file = paths[chance.below(paths.len())];
    let bytes = &LARGE.files[file];
    match chance.below(8) {
        0 => LARGE.flip(&path, chance.below(LARGE.files[&path].len() * 8)),
        1 => LARGE.flip(file, chance.below(bytes.len() * 8)),
        2 => {
            let mut without = entries;
            without.remove(at);
            LARGE.check(Some(index), vec![(path, spelt(&without))], &format!("without {index}"));
        }
        3 => {
            let mut with = entries;
            with.insert(at, format!("{{\"seq\":{}}}", chance.below(1000)).into_bytes());
            LARGE.check(Some(index), vec![(path, spelt(&with))], &format!("added at {index}"));
        }
        4 => {
            let other = chance.below(LARGE_SIZE as usize) as u64;
            let (other_path, mut two) = LARGE.bundle(other);
            let (mut one, other_at) = (entries, (other % WIDTH) as usize);
            if index == other {
                return change(chance, paths);
            }
            let changes = if path == other_path {
                one.swap(at, other_at);
                vec![(path, spelt(&one))]
            } else {
                std::mem::swap(&mut one[at], &mut two[other_at]);
                vec![(path, spelt(&one)), (other_path, spelt(&two))]
            };
            LARGE.check(Some(index.min(other)), changes, &format!("{index} and {other} exchanged"));
        }
        5 => {
            let length = chance.below(bytes.len());
            let cut = vec![(file.clone(), Some(bytes[..length].to_vec()))];
            LARGE.check(LARGE.about(file, length), cut, &format!("{file} cut to {length}"));
        }
        6 => {
            let first = LARGE.places.get(file).map(Tile::first_entry);
            LARGE.check(first, vec![(file.clone(), None)], &format!("{file} removed"));
        }
        _ => {
            // Bytes of an entry are changed, and its length with them.
            let mut other = entries;
            let length = other[at].len();
            other[at].truncate(chance.below(length));
            LARGE.check(Some(index), vec![(path, spelt(&other))], &format!("{index} cut short"));
        }
    }
}

fn by_chance(count: usize, seed: u64) {
    // Tiles of higher levels are few, and what they cover is long: each is picked as often as any other file.
    let (mut chance, paths) = (Chance(seed), LARGE.files.keys().collect::<Vec<_>>());
    for done in 1..=count {
        change(&mut chance, &paths);
        if done % 10_000 == 0 {
            println!("{done} of {count} changes found");
        }
    }
}

#[test]
fn two_thousand_changes_of_a_large_log_by_chance_are_found_and_named() {
    by_chance(2_000, 7);
}

#[test]
#[ignore = "100,000 changes take minutes: `cargo test --release -p portcullis-tlog tampering -- --ignored --nocapture`"]
fn a_hundred_thousand_changes_of_a_large_log_by_chance_are_found_and_named() {
    by_chance(100_000, 11);
}
