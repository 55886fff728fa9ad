use super::*;
use crate::sample::{Memory, entry};
use crate::tree::tree_head;

#[test]
fn a_log_whose_edge_is_missing_or_too_short_does_not_go_on() {
    let memory = Memory::of(70_000);
    for row in Tile::rows(70_000) {
        let broken = Tile::last(row, 70_000).unwrap();
        let cut = |tile: &Tile| -> Result<Vec<u8>, String> {
            let mut bytes = memory.files[&tile.path()].clone();
            if *tile == broken {
                bytes.pop();
            }
            Ok(bytes)
        };
        assert_eq!(Growth::resume(70_000, cut).unwrap_err(), ResumeError::Broken(broken));
        let missing = |tile: &Tile| if *tile == broken { Err("gone") } else { Ok(memory.files[&tile.path()].clone()) };
        assert_eq!(Growth::resume(70_000, missing).unwrap_err(), ResumeError::Read("gone"));
    }
}

#[test]
fn a_log_goes_on_from_its_tiles_as_if_it_had_never_stopped() {
    for stop in [1, 2, 200, 255, 256, 257, 512, 65_535, 65_536, 65_537, 66_000] {
        let mut stopped = Memory::of(stop);
        let read = |tile: &Tile| -> Result<Vec<u8>, String> { Ok(stopped.files[&tile.path()].clone()) };
        let mut growth = Growth::resume(stop, read).unwrap();
        assert!(growth.take().is_empty(), "{stop}: nothing has grown");
        (stop..stop + 300).for_each(|index| assert_eq!(growth.append(&entry(index)), Ok(index)));
        stopped.write(&mut growth);
        let whole = Memory::of(stop + 300);
        for (path, bytes) in &whole.files {
            assert_eq!(stopped.files.get(path), Some(bytes), "{stop}: {path}");
        }
    }
}

#[test]
fn an_entry_that_is_too_long_changes_nothing() {
    let mut growth = Growth::default();
    growth.append(b"a").unwrap();
    let before = growth.head();
    assert_eq!(growth.append(&[0; 65_536]), Err(TooLong { bytes: 65_536 }));
    assert_eq!((growth.head(), growth.append(b"b")), (before, Ok(1)));
    assert_eq!(growth.head().hash, tree_head(&[b"a", b"b"]));
}

#[test]
fn however_often_it_is_written_the_same_tiles_come_out() {
    let (mut growth, mut often) = (Growth::default(), Memory::default());
    for index in 0..1500 {
        growth.append(&entry(index)).unwrap();
        if index % 37 == 0 {
            often.write(&mut growth);
        }
    }
    often.write(&mut growth);
    let once = Memory::of(1500);
    assert!(once.files.iter().all(|(path, bytes)| often.files.get(path) == Some(bytes)));
    assert_eq!(growth.head().hash, tree_head(&(0..1500).map(entry).collect::<Vec<_>>()));
}
