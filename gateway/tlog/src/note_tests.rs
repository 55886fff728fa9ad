use super::*;

const TEXT: &str = "Ognuno sta solo\n\nsera.\n";

fn note(signer: &NoteSigner) -> String {
    format!("{TEXT}\n{}", signer.sign(TEXT, 1_700_000_000))
}

fn signer(name: &str, kind: Kind, seed: u8) -> NoteSigner {
    NoteSigner::new(name, kind, &[seed; 32]).unwrap()
}

#[test]
fn what_is_no_note_is_refused() {
    let good = note(&signer("a", Kind::Signature, 1));
    for (note, expected) in [
        (String::new(), NoteError::NoSignatures),
        ("text\n".to_owned(), NoteError::NoSignatures),
        (good.trim_end().to_owned(), NoteError::NoSignatures),
        (format!("{TEXT}\n"), NoteError::NoSignatures),
        (format!("{good}more\n"), NoteError::NotASignature),
        (good.replace('—', "-"), NoteError::NotASignature),
        (good.replace("— a ", "— a+b "), NoteError::NotASignature),
        (format!("{TEXT}\n— a AAAAAA==\n"), NoteError::NotASignature),
        (good.replace("sera", "se\tra"), NoteError::ControlCharacter),
        (good.replace("sera", "se\rra"), NoteError::ControlCharacter),
        (format!("{}{good}", "x".repeat(NOTE_BYTES_MAX)), NoteError::TooLong),
        (format!("{TEXT}\n{}", signer("a", Kind::Signature, 1).sign(TEXT, 0).repeat(65)), NoteError::TooManySignatures),
    ] {
        assert_eq!(Note::parse(&note).map(drop), Err(expected), "given {note:.200?}");
    }
}

#[test]
fn a_signature_that_does_not_hold_is_forged_and_one_of_another_key_is_none() {
    let (ours, theirs) = (signer("a", Kind::Signature, 1), signer("a", Kind::Signature, 2));
    let text = note(&ours);
    let changed = text.replace("sera", "notte");
    assert_eq!(ours.verifier().verify(&Note::parse(&changed).unwrap()), Err(Unproven::Forged));
    assert_eq!(theirs.verifier().verify(&Note::parse(&text).unwrap()), Err(Unproven::NotSigned));
    let other_name = signer("b", Kind::Signature, 1);
    assert_eq!(other_name.verifier().verify(&Note::parse(&text).unwrap()), Err(Unproven::NotSigned));
    // A good line beside a forged one of the same key does not mend it.
    let both = format!("{text}{}", ours.sign("another text\n", 0));
    assert_eq!(ours.verifier().verify(&Note::parse(&both).unwrap()), Err(Unproven::Forged));
    assert_eq!(ours.verifier().verify(&Note::parse(&text).unwrap()), Ok(0));
}

#[test]
fn a_cosignature_holds_for_its_time_alone_and_stands_beside_the_logs() {
    let (log, witness) = (signer("log", Kind::Signature, 1), signer("w", Kind::Cosignature, 1));
    let both = format!("{}{}", note(&log), witness.sign(TEXT, 1_679_315_147));
    let parsed = Note::parse(&both).unwrap();
    assert_eq!((log.verifier().verify(&parsed), witness.verifier().verify(&parsed)), (Ok(0), Ok(1_679_315_147)));
    let line = both.lines().last().unwrap().strip_prefix("— w ").unwrap();
    let mut bytes = STANDARD.decode(line).unwrap();
    bytes[11] ^= 1;
    let later = format!("{TEXT}\n— w {}\n", STANDARD.encode(bytes));
    assert_eq!(witness.verifier().verify(&Note::parse(&later).unwrap()), Err(Unproven::Forged));
}

#[test]
fn keys_that_are_none_are_refused_and_those_that_are_read_back() {
    let key = signer("example.com/log", Kind::Signature, 3).verifier().to_string();
    let witness = signer("example.com/w", Kind::Cosignature, 3).verifier().to_string();
    for key in [&key, &witness] {
        assert_eq!(VerifierKey::parse(key).unwrap().to_string(), *key);
    }
    let (head, _) = key.rsplit_once('+').unwrap();
    for (text, expected) in [
        (String::new(), KeyError::NotAKey),
        ("a+b".to_owned(), KeyError::NotAKey),
        (format!("{head}+????"), KeyError::NotAKey),
        (format!("{head}+AQID"), KeyError::NotAKey),
        (format!("{head}+BgID"), KeyError::UnknownKind),
        (key.replace("example", "sample"), KeyError::OtherId),
        (key.replace("example.com/log", ""), KeyError::OtherId),
    ] {
        assert_eq!(VerifierKey::parse(&text), Err(expected), "given {text}");
    }
    for name in ["", "a b", "a+b", "a\u{a0}b"] {
        assert_eq!(NoteSigner::new(name, Kind::Signature, &[0; 32]).map(drop).unwrap_err(), KeyError::NotAName);
    }
}

#[test]
fn a_private_key_is_read_back_and_anything_else_is_refused() {
    for kind in [Kind::Signature, Kind::Cosignature] {
        let text = NoteSigner::spell("example.com/w", kind, &[5; 32]).unwrap();
        let signer = NoteSigner::parse(&text).ok().unwrap();
        assert_eq!(signer.verifier(), NoteSigner::new("example.com/w", kind, &[5; 32]).ok().unwrap().verifier());
        assert_eq!(NoteSigner::parse(&text.replace("example", "sample")).err(), Some(KeyError::OtherId));
        assert_eq!(NoteSigner::parse(&signer.verifier().to_string()).err(), Some(KeyError::NotPrivate));
        assert_eq!(NoteSigner::parse(&text[..text.len() - 6]).err(), Some(KeyError::NotPrivate));
    }
    assert_eq!(NoteSigner::spell("a b", Kind::Signature, &[5; 32]), Err(KeyError::NotAName));
    // The example key of golang.org/x/mod/sumdb/note is one of ours.
    let theirs = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    assert_eq!(NoteSigner::parse(theirs).ok().unwrap().verifier().name(), "PeterNeumann");
}
