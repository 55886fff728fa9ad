use super::*;
use crate::growth::Growth;
use crate::note::{Kind, NoteSigner};
use crate::sample::{Memory, Records, signer};

const SECOND: &str = "example.com/log/1";

/// A log of records, its files and what it grows by.
#[derive(Clone)]
struct Log {
    growth: Growth,
    files: Memory,
    signer: fn() -> NoteSigner,
}

fn second() -> NoteSigner {
    NoteSigner::new(SECOND, Kind::Signature, &[8; 32]).unwrap()
}

fn witness() -> NoteSigner {
    NoteSigner::new("example.com/witness", Kind::Cosignature, &[9; 32]).unwrap()
}

impl Log {
    fn new(signer: fn() -> NoteSigner) -> Self {
        Self { growth: Growth::default(), files: Memory::default(), signer }
    }

    fn append(&mut self, entries: &[Vec<u8>]) -> &mut Self {
        entries.iter().for_each(|entry| assert!(self.growth.append(entry).is_ok()));
        for asset in self.growth.take() {
            self.files.files.insert(asset.tile.path(), asset.bytes);
        }
        let note = self.note();
        self.files.files.insert("checkpoint".to_owned(), note.into_bytes());
        self
    }

    fn note(&self) -> String {
        let signer = (self.signer)();
        let origin = signer.verifier().name().to_owned();
        Checkpoint { origin, head: self.growth.head() }.sign(&signer)
    }

    /// As it is now, a witness sees it.
    fn seen(&mut self, at: u64) -> &mut Self {
        let note = self.note();
        let text = Note::parse(&note).unwrap().text().to_owned();
        let seen = format!("{note}{}", witness().sign(&text, at));
        self.files.files.insert(WITNESSED.to_owned(), seen.into_bytes());
        self
    }

    fn read(&self, reading: &mut Reading, demands: &Demands) -> Result<Found, Fault> {
        reading.next(&self.files, (self.signer)().verifier(), demands, |_| ())
    }

    fn check(&self, demands: &Demands) -> Result<Found, Fault> {
        self.read(&mut Reading::after(Before::Unknown), demands)
    }
}

fn demanded() -> Demands {
    Demands { policy: Some(Policy::all_of(vec![witness().verifier().clone()])), ..Demands::default() }
}

#[test]
fn a_log_cut_off_or_rewritten_by_whoever_has_its_key_is_not_the_one_that_witnesses_saw() {
    let entries = Records::default().take(700);
    for seen in [0, 1, 255, 256, 257, 300, 512, 600] {
        let mut whole = Log::new(signer);
        whole.append(&entries[..seen]).seen(5).append(&entries[seen..]);
        let found = whole.check(&demanded()).unwrap();
        assert_eq!(found.witnessed.unwrap().by, [("example.com/witness".to_owned(), 5)]);
        let witnessed = whole.files.files[WITNESSED].clone();
        if seen > 0 {
            let mut cut = Log::new(signer);
            cut.append(&entries[..seen - 1]).files.files.insert(WITNESSED.to_owned(), witnessed.clone());
            let rolled = Fault::RolledBack { seen: seen as u64, size: seen as u64 - 1 };
            assert_eq!(cut.check(&demanded()), Err(rolled.clone()));
            assert_eq!(rolled.index(), Some(seen as u64 - 1));
            // The log's own signature of that checkpoint is enough to know.
            assert_eq!(cut.check(&Demands::default()), Err(rolled));
            let mut other = Records::default();
            other.at = 77;
            let mut forged = Log::new(signer);
            forged.append(&other.take(700)).files.files.insert(WITNESSED.to_owned(), witnessed.clone());
            assert_eq!(forged.check(&demanded()), Err(Fault::OtherHistory { seen: seen as u64 }));
        }
        // Whoever removes it beside the log does not remove it elsewhere.
        let mut without = whole.clone();
        without.files.files.remove(WITNESSED);
        assert_eq!(without.check(&demanded()), Err(Fault::Unwitnessed(Unwitnessed::Missing)));
        let elsewhere = Demands { witnessed: Some(String::from_utf8(witnessed).unwrap()), ..demanded() };
        assert!(without.check(&elsewhere).is_ok() && without.check(&Demands::default()).is_ok());
        let stranger = NoteSigner::new("example.com/stranger", Kind::Cosignature, &[1; 32]).unwrap();
        let both = vec![witness().verifier().clone(), stranger.verifier().clone()];
        let missing = Fault::Unwitnessed(Unwitnessed::TooFew { missing: vec!["example.com/stranger".to_owned()] });
        let demands = Demands { policy: Some(Policy::all_of(both)), ..Demands::default() };
        assert_eq!(whole.check(&demands), Err(missing));
    }
}

#[test]
fn a_log_begins_with_the_end_of_the_one_before() {
    let mut records = Records::default();
    let mut first = Log::new(signer);
    first.append(&records.take(300));
    let mut next = Log::new(second);
    next.append(&[first.note().into_bytes()]).append(&records.take(300));
    let mut reading = Reading::after(Before::Nothing);
    assert!(first.read(&mut reading, &Demands::default()).is_ok());
    let found = next.read(&mut reading.clone(), &Demands::default()).unwrap();
    assert_eq!((found.told.records, found.told.others, found.shards), (300, 1, 3));
    // Alone it says what it continues; as the first it must not.
    assert!(next.check(&Demands::default()).is_ok());
    assert_eq!(next.read(&mut Reading::after(Before::Nothing), &Demands::default()), Err(Fault::Beginning));
    let mut shorter = Log::new(signer);
    shorter.append(&Records::default().take(299));
    let mut other = Reading::after(Before::Nothing);
    assert!(shorter.read(&mut other, &Demands::default()).is_ok());
    assert_eq!(next.read(&mut other, &Demands::default()), Err(Fault::Beginning));
    let mut fresh = Log::new(second);
    fresh.append(&Records::default().take(5));
    assert_eq!(fresh.read(&mut reading.clone(), &Demands::default()), Err(Fault::Beginning));
    // What was left out between the two breaks a chain.
    let mut gap = Log::new(second);
    records.take(1);
    gap.append(&[first.note().into_bytes()]).append(&records.take(10));
    assert!(matches!(gap.read(&mut reading, &Demands::default()), Err(Fault::Chain { .. })));
}

#[test]
fn what_a_log_says_was_never_written_is_told() {
    let (mut records, mut log) = (Records::default(), Log::new(signer));
    log.append(&records.take(7));
    let lost = String::from_utf8(records.next()).unwrap();
    let lost = lost.replace("\"event\":\"decision\"", "\"count\":12,\"event\":\"audit.lost\"");
    log.append(&[lost.into_bytes()]);
    let found = log.read(&mut Reading::after(Before::Nothing), &Demands::default()).unwrap();
    assert_eq!((found.told.records, found.told.lost), (8, 12));
    let told = found.to_string();
    assert!(told.contains("without a gap; 12 more were lost before they were written, as `audit.lost` says"), "{told}");
}

#[test]
fn a_pruned_log_is_checked_from_where_it_is_kept_if_it_says_so() {
    let (mut records, mut log) = (Records::default(), Log::new(signer));
    log.append(&records.take(70_000));
    // The next of shard 1 says up to where entries are no longer kept.
    let pruned = String::from_utf8(records.next()).unwrap();
    let pruned = pruned.replace("\"decision\"", "\"audit.pruned\",\"first_index\":66000");
    log.append(&[pruned.into_bytes()]).seen(3);
    assert!(log.check(&Demands::default()).is_ok());
    for index in 0..66_000 / 256 {
        let path = |row| crate::tile::Tile { row, index, width: 256 }.path();
        log.files.files.remove(&path(crate::tile::Row::Entries)).unwrap();
        log.files.files.remove(&path(crate::tile::Row::Level(0))).unwrap();
    }
    log.files.files.remove("tile/1/000").unwrap();
    assert!(matches!(log.check(&Demands::default()), Err(Fault::Missing { index: 0, .. })));
    let from = |from| Demands { from, ..demanded() };
    assert!(log.check(&from(66_000)).is_ok());
    assert_eq!(log.check(&from(66_001)), Err(Fault::NotPruned { from: 66_001 }));
    assert!(matches!(log.check(&from(65_536)), Err(Fault::Missing { index: 65_536, .. })));
    assert_eq!(log.check(&from(70_002)), Err(Fault::Beyond { from: 70_002, size: 70_001 }));
    let mut forged = log.clone();
    forged.files.files.get_mut("tile/1/001.p/17").unwrap()[5] ^= 1;
    assert!(forged.check(&from(66_000)).is_err());
    let mut early = Log::new(signer);
    early.append(&Records::default().take(100)).seen(3);
    let old =
        Demands { witnessed: Some(String::from_utf8(early.files.files[WITNESSED].clone()).unwrap()), ..from(66_000) };
    let start = 66_000 / 256 * 256;
    assert_eq!(log.check(&old), Err(Fault::Unwitnessed(Unwitnessed::Old { seen: 100, from: start })));
}
