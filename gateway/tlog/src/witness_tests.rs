use super::*;
use crate::note::{Kind, NoteSigner};
use crate::proof::{consistency, tree_head};
use crate::sample::{Memory, ORIGIN, signer};

/// A log of 300 entries, as a witness may be asked to cosign it at any size.
struct Scene {
    log: Memory,
    witness: NoteSigner,
}

impl Scene {
    fn new() -> Self {
        let witness = NoteSigner::new("example.com/witness", Kind::Cosignature, &[9; 32]).unwrap();
        Self { log: Memory::of(300), witness }
    }

    fn head(&mut self, size: u64) -> Head {
        Head { size, hash: tree_head(&mut self.log, size).unwrap() }
    }

    fn request(&mut self, old: u64, size: u64) -> Request {
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), head: self.head(size) }.sign(&signer());
        Request { old, proof: consistency(&mut self.log, old, size).unwrap(), checkpoint }
    }

    fn judge(&mut self, last: u64, request: &Request) -> Result<Grown, Refusal> {
        let head = self.head(last);
        judge(request, &[signer().verifier().clone()], |origin| {
            assert_eq!(origin, ORIGIN);
            (last > 0).then_some(head)
        })
    }

    fn refused(&mut self, last: u64, request: &Request, expected: Refusal, status: u16) {
        assert_eq!(self.judge(last, request), Err(expected.clone()), "{request:?}");
        assert_eq!(expected.status(), status);
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let good = Scene::new().request(5, 9).to_string();
    assert!(Request::parse(&good).is_ok());
    for (from, to) in [
        ("old 5\n", ""),
        ("old 5\n", "old 05\n"),
        ("old 5\n", "old +5\n"),
        ("old 5\n", "old 5 \n"),
        ("old 5\n", "Old 5\n"),
        ("old 5\n", "old 18446744073709551616\n"),
        ("old 5\n", "old 5\nAAAA\n"),
        ("old 5\n", "old 5\n\r\n"),
    ] {
        assert_eq!(Request::parse(&good.replacen(from, to, 1)), Err(Malformed::Form), "{from:?} as {to:?}");
    }
    let line = format!("{}\n", STANDARD.encode([7; 32]));
    let with = |lines: usize| format!("old 5\n{}\n{}", line.repeat(lines), "a\n1\n");
    assert!(Request::parse(&with(63)).is_ok());
    assert_eq!(Request::parse(&with(64)), Err(Malformed::Form));
    assert_eq!(Request::parse(&"x".repeat(REQUEST_BYTES_MAX + 1)), Err(Malformed::TooLong));
    for body in ["", "old 5", "old 5\n", "\n\n"] {
        assert_eq!(Request::parse(body), Err(Malformed::Form), "{body:?}");
    }
}

#[test]
fn every_refusal_has_its_status() {
    let mut scene = Scene::new();
    let good = scene.request(5, 9);
    let with = |checkpoint: String| Request { checkpoint, ..good.clone() };
    scene.refused(5, &with("no note".to_owned()), Refusal::Note(NoteError::NoSignatures), 400);
    let other = NoteSigner::new("example.com/other", Kind::Signature, &[3; 32]).unwrap();
    let head = scene.head(9);
    let unknown = Checkpoint { origin: "example.com/other".to_owned(), head }.sign(&other);
    scene.refused(5, &with(unknown), Refusal::UnknownLog { origin: "example.com/other".to_owned() }, 404);
    let impostor = NoteSigner::new(ORIGIN, Kind::Signature, &[3; 32]).unwrap();
    let forged = Checkpoint { origin: ORIGIN.to_owned(), head }.sign(&impostor);
    scene.refused(5, &with(forged), Refusal::NotSigned { origin: ORIGIN.to_owned() }, 403);
    let forged = good.checkpoint.replace("\n9\n", "\n8\n");
    scene.refused(5, &with(forged), Refusal::NotSigned { origin: ORIGIN.to_owned() }, 403);
    scene.refused(5, &Request { old: 10, ..good.clone() }, Refusal::Shrinks { old: 10, size: 9 }, 400);
    for last in [0, 4, 6, 9, 10, 300] {
        scene.refused(last, &good, Refusal::OtherSize { last }, 409);
        assert_eq!(Refusal::OtherSize { last }.size(), Some(last));
    }
    let unproven = Refusal::Unproven { last: 5, size: 9 };
    scene.refused(5, &Request { proof: vec![], ..good.clone() }, unproven.clone(), 422);
    let mut proof = good.proof.clone();
    proof[1][0] ^= 1;
    scene.refused(5, &Request { proof, ..good.clone() }, unproven, 422);
    let first = scene.request(0, 9);
    let needless = Request { proof: vec![[0; 32]], ..first };
    scene.refused(0, &needless, Refusal::Unproven { last: 0, size: 9 }, 422);
}

#[test]
fn two_heads_of_one_size_are_never_both_cosigned() {
    let mut scene = Scene::new();
    let fork = Checkpoint { origin: ORIGIN.to_owned(), head: Head { size: 9, hash: [1; 32] } }.sign(&signer());
    let request = Request { old: 9, proof: vec![], checkpoint: fork };
    scene.refused(9, &request, Refusal::OtherHead { last: 9 }, 409);
    // A log that grew from another history than the one that was cosigned.
    let mut forked = Memory::of(9);
    let mut growth = crate::growth::Growth::default();
    (0..40_u8).for_each(|index| assert!(growth.append(&[index]).is_ok()));
    forked.write(&mut growth);
    let checkpoint = String::from_utf8(forked.files["checkpoint"].clone()).unwrap();
    let proof = consistency(&mut forked, 9, 40).unwrap();
    let request = Request { old: 9, proof, checkpoint };
    scene.refused(9, &request, Refusal::Unproven { last: 9, size: 40 }, 422);
}

#[test]
fn a_cosignature_leaves_only_when_what_it_says_is_kept() {
    let mut scene = Scene::new();
    for (last, size) in [(0, 0), (0, 1), (0, 300), (5, 9), (9, 9), (8, 300), (299, 300)] {
        let request = scene.request(last, size);
        assert_eq!(Request::parse(&request.to_string()), Ok(request.clone()));
        let grown = scene.judge(last, &request).unwrap();
        assert_eq!(grown.cosign(&scene.witness, 7, |_| Err("full")), Err("full"));
        let mut stored = None;
        let line = grown.cosign(&scene.witness, 7, |note| {
            stored = Some(note.to_owned());
            Ok::<(), ()>(())
        });
        let (stored, line) = (stored.unwrap(), line.unwrap());
        assert!(stored.ends_with(&line), "{stored}");
        let note = format!("{}{line}", request.checkpoint);
        assert_eq!(scene.witness.verifier().verify(&Note::parse(&note).unwrap()), Ok(7));
        assert_eq!(kept(&stored, scene.witness.verifier()).unwrap().head, scene.head(size));
        assert_eq!(Checkpoint::open(&stored, signer().verifier()).unwrap().head.size, size);
        assert!(kept(&stored.replace("example.com/log", "example.com/lag"), scene.witness.verifier()).is_err());
    }
}

#[test]
fn signatures_of_unknown_keys_are_neither_believed_nor_kept() {
    let mut scene = Scene::new();
    let mut request = scene.request(5, 9);
    let other = NoteSigner::new("example.com/other", Kind::Signature, &[3; 32]).unwrap();
    let text = Note::parse(&request.checkpoint).unwrap().text().to_owned();
    let line = other.sign(&text, 0);
    request.checkpoint.push_str(&line);
    let grown = scene.judge(5, &request).unwrap();
    let kept = grown.cosign(&scene.witness, 7, |note| if note.contains(&line) { Err(()) } else { Ok(()) });
    assert!(kept.is_ok());
}
