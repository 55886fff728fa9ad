use super::*;
use crate::proof;
use crate::sample::{Memory, entry, signer};

fn evidence(index: u64) -> Evidence {
    let mut memory = Memory::of(300);
    let checkpoint = String::from_utf8(memory.files["checkpoint"].clone()).unwrap();
    Evidence { index, proof: proof::inclusion(&mut memory, index, 300).unwrap(), checkpoint }
}

#[test]
fn what_is_no_proof_is_refused() {
    let good = evidence(5).to_string();
    for text in [
        String::new(),
        good.replace("@v1", "@v2"),
        good.replace("index 5", "index 05"),
        good.replace("index 5", "index -5"),
        good.replace("index 5\n", ""),
        good.replace("index 5", "place 5"),
        good.replace("index 5\n", "index 5\nAAAA\n"),
        good.replace("index 5\n", &format!("index 5\n{}", "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n".repeat(65))),
    ] {
        assert_eq!(Evidence::parse(&text), Err(EvidenceError::Form), "given {text:.300}");
    }
}

#[test]
fn another_entry_place_or_checkpoint_is_not_proven() {
    let (good, signer) = (evidence(5), signer());
    let key = signer.verifier();
    assert_eq!(good.check(&entry(6), key), Err(EvidenceError::NotIncluded));
    assert_eq!(Evidence { index: 6, ..good.clone() }.check(&entry(5), key), Err(EvidenceError::NotIncluded));
    let larger = Evidence { checkpoint: good.checkpoint.replace("\n300\n", "\n301\n"), ..good.clone() };
    assert!(matches!(larger.check(&entry(5), key), Err(EvidenceError::Checkpoint(_))));
    assert_eq!(good.check(&entry(5), key).unwrap().head.size, 300);
}

#[test]
fn a_proof_is_read_back_as_it_was_written_and_extra_data_means_nothing() {
    for index in [0, 5, 255, 256, 299] {
        let written = evidence(index);
        assert_eq!(Evidence::parse(&written.to_string()), Ok(written.clone()));
        let extra = written.to_string().replacen('\n', "\nextra YWdl\n", 1);
        assert_eq!(Evidence::parse(&extra), Ok(written));
    }
}
