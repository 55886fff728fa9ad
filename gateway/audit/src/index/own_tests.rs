//! What the process that lets the log grow believes of what it added itself.

use std::fs;

use serde_json::json;

use super::sample::{Folder, decision};
use super::tests::{caught, dump};
use super::*;

fn decisions(from: u64, to: u64) -> Vec<Vec<u8>> {
    (from..to).map(|seq| decision(seq, "deny", json!({}))).collect()
}

fn believing(folder: &Folder, own: u64) -> Result<(u64, Option<Again>), IndexError> {
    let mut index = Index::open(folder.path()).unwrap();
    index.believe(own);
    index.catch_up(&folder.logs(), &mut |_| {}).map(|caught| (caught.entries, caught.again))
}

/// A log that grew in these steps, and an index of it; all but the first 300 entries were believed.
fn believed(steps: &[u64]) -> Folder {
    let mut folder = Folder::new();
    folder.write(&decisions(0, 300));
    caught(&folder);
    let mut from = 300;
    for to in steps {
        folder.write(&decisions(from, *to));
        assert_eq!(believing(&folder, 300).unwrap(), (to - from, None), "up to {to}");
        from = *to;
    }
    folder
}

/// Changes the last byte of a file; gives back what puts it right.
fn change(folder: &Folder, file: &str) -> impl Fn() {
    let path = folder.path().join("logs/0000").join(file);
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&path, bad).unwrap();
    move || fs::write(&path, &good).unwrap()
}

#[test]
fn what_is_believed_is_indexed_as_what_is_hashed() {
    let folder = believed(&[301, 511, 512, 700]);
    let grown = dump(&folder);
    let mut index = Index::open(folder.path()).unwrap();
    index.reindex(&folder.logs(), &mut |_| {}).unwrap();
    drop(index);
    assert_eq!(grown, dump(&folder));
}

#[test]
fn neither_hashes_of_something_else_nor_entries_of_another_process_are_believed() {
    // Three levels of tiles, and transactions that end within what is believed.
    let mut folder = believed(&[66_300]);
    for (entries, file) in (66_301..).zip(["tile/0/258.p/253", "tile/1/001.p/2", "tile/2/000.p/1"]) {
        folder.write(&decisions(entries - 1, entries));
        let right = change(&folder, file);
        // Entries are hashed then, and they are what was signed.
        assert_eq!(believing(&folder, 300).unwrap(), (entries, Some(Again::OtherLog)), "{file}");
        right();
    }
    fs::remove_file(folder.path().join(FILE)).unwrap();
    assert_eq!(believing(&folder, 0).unwrap(), (66_303, None));
    let _right = change(&folder, "tile/entries/257");
    fs::remove_file(folder.path().join(FILE)).unwrap();
    let refused = believing(&folder, 66_300).unwrap_err();
    assert!(matches!(refused, IndexError::OtherWay { number: 0 }), "{refused}");
}
