//! Whatever bytes come, nothing here panics: every reader is given noise, and what is right with changes in it.

use std::collections::BTreeMap;
use std::io;

use portcullis_tlog::chain::Chains;
use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::evidence::Evidence;
use portcullis_tlog::growth::Growth;
use portcullis_tlog::logs::{Before, Demands, Reading};
use portcullis_tlog::note::{Kind, Note, NoteSigner, VerifierKey};
use portcullis_tlog::policy::Policy;
use portcullis_tlog::proof::{Head, proves_consistency, proves_inclusion};
use portcullis_tlog::record::Link;
use portcullis_tlog::tile;
use portcullis_tlog::tree::leaf_hash;
use portcullis_tlog::verify::Files;
use portcullis_tlog::witness::{Request, judge, kept};
use proptest::prelude::*;

fn signer() -> NoteSigner {
    NoteSigner::new("example.com/log", Kind::Signature, &[7; 32]).unwrap()
}

fn witness() -> NoteSigner {
    NoteSigner::new("example.com/w", Kind::Cosignature, &[8; 32]).unwrap()
}

/// Gives the bytes to everything that reads bytes of others.
fn read_all(bytes: &[u8]) {
    let key = signer().verifier().clone();
    let _ = Policy::parse(bytes).map(|policy| policy.check(&String::from_utf8_lossy(bytes), &key));
    let _ = Link::read(bytes);
    let _ = Chains::default().push(0, bytes, &leaf_hash(bytes));
    let entries = tile::entries(bytes).filter_map(Result::ok).count();
    assert!(entries * 2 <= bytes.len());
    let (hashes, _) = bytes.as_chunks::<32>();
    let (first, last) = (hashes.first().copied().unwrap_or_default(), hashes.last().copied().unwrap_or_default());
    for size in [0, 1, 2, 3, 255, 256, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        let index = size.wrapping_mul(3) / 7;
        let _ = proves_inclusion(&first, index, size, hashes, &last);
        let (old, new) = (Head { size: index, hash: first }, Head { size, hash: last });
        let _ = proves_consistency(&old, &new, hashes);
        let _ = Growth::resume(size % 70_000, |_| Ok::<_, ()>(bytes.to_vec()));
    }
    let text = String::from_utf8_lossy(bytes);
    let _ = Note::parse(&text).map(|note| (key.verify(&note), key.lines(&note)));
    let _ = Checkpoint::parse(&text);
    let _ = Checkpoint::open(&text, &key);
    let _ = VerifierKey::parse(&text);
    let _ = NoteSigner::parse(&text);
    let _ = kept(&text, witness().verifier());
    let _ = Evidence::parse(&text).map(|evidence| evidence.check(bytes, &key));
    let _ = Request::parse(&text).map(|request| judge(&request, std::slice::from_ref(&key), |_| None));
}

/// A log whose every file is the same noise, under a checkpoint of any size that its key signed.
struct Noise<'n>(&'n [u8], BTreeMap<&'static str, String>);

impl Files for Noise<'_> {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(Some(self.1.get(path).map_or_else(|| self.0.to_vec(), |text| text.clone().into_bytes())))
    }
}

/// What is right, one of each kind.
fn right() -> Vec<Vec<u8>> {
    let mut growth = Growth::default();
    growth.append(b"entry").unwrap();
    let checkpoint = Checkpoint { origin: "example.com/log".to_owned(), head: growth.head() };
    let note = checkpoint.sign(&signer());
    let cosigned = format!("{note}{}", witness().sign(&checkpoint.text(), 1_700_000_000));
    let key = signer().verifier().to_string();
    let policy = format!("log {key}\nwitness w {}\ngroup g any w\nquorum g\n", witness().verifier());
    let evidence = Evidence { index: 0, proof: vec![], checkpoint: cosigned.clone() };
    let request = Request { old: 0, proof: vec![[7; 32]], checkpoint: note.clone() };
    let digits = "0123456789abcdef".repeat(4);
    let record =
        format!("{{\"a\":[1,{{\"b\":\"\\\"\"}}],\"prev\":\"{digits}\",\"seq\":1,\"shard\":0,\"ts\":-1,\"v\":2}}");
    let mut bundle = Vec::new();
    tile::bundle_entry(&mut bundle, record.as_bytes()).unwrap();
    let private = NoteSigner::spell("example.com/w", Kind::Cosignature, &[8; 32]).unwrap();
    let texts = [note, cosigned, key, private, policy, evidence.to_string(), request.to_string(), record];
    texts.into_iter().map(String::into_bytes).chain([bundle]).collect()
}

#[test]
fn what_is_right_is_read() {
    let right = right();
    let text = |place: usize| std::str::from_utf8(&right[place]).unwrap();
    assert!(Checkpoint::open(text(0), signer().verifier()).is_ok());
    assert!(kept(text(1), witness().verifier()).is_ok());
    assert!(VerifierKey::parse(text(2)).is_ok() && NoteSigner::parse(text(3)).is_ok());
    assert!(Policy::parse(&right[4]).unwrap().check(text(1), signer().verifier()).is_ok());
    assert!(Evidence::parse(text(5)).unwrap().check(b"entry", signer().verifier()).is_ok());
    assert!(Request::parse(text(6)).is_ok());
    assert!(Link::read(&right[7]).is_ok());
    assert_eq!(tile::entries(&right[8]).filter(Result::is_ok).count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn noise_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read_all(&bytes);
    }

    #[test]
    fn changes_of_what_is_right_are_read_without_a_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..5_u8, any::<u8>()), 1..6),
    ) {
        let right = right();
        let mut bytes = right[which.index(right.len())].clone();
        for (place, kind, byte) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.drain(at..=at)),
                3 => bytes.truncate(at),
                // What the syntaxes are made of.
                _ => bytes.insert(at, b"\n \"\\{}[]+,:=0"[usize::from(byte) % 13]),
            }
        }
        read_all(&bytes);
    }

    #[test]
    fn a_log_of_noise_is_refused_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..9_000),
        size in prop::sample::select(vec![1, 2, 255, 256, 257, 65_536, 70_000, u64::MAX]),
        from in 0..3_u64,
    ) {
        let head = Head { size, hash: [9; 32] };
        let note = Checkpoint { origin: "example.com/log".to_owned(), head }.sign(&signer());
        let files = Noise(&bytes, BTreeMap::from([("checkpoint", note.clone()), ("checkpoint.witnessed", note)]));
        let demands = Demands { from: from * (size / 2), ..Demands::default() };
        let read = Reading::after(Before::Unknown).next(&files, signer().verifier(), &demands, |_| ());
        prop_assert!(read.is_err());
    }
}
