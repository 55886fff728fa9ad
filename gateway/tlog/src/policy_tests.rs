use super::*;
use crate::note::NoteSigner;
use crate::sample::{Memory, signer};

fn witness(number: u8) -> NoteSigner {
    NoteSigner::new(&format!("example.com/w{number}"), Kind::Cosignature, &[100 + number; 32]).unwrap()
}

/// Keys stand for `@0` to `@9`, `@log` for a log's.
fn parse(text: &str) -> Result<Policy, PolicyError> {
    let mut text = text.replace("@log", &signer().verifier().to_string());
    for number in 0..10 {
        text = text.replace(&format!("@{number}"), &witness(number).verifier().to_string());
    }
    Policy::parse(text.as_bytes())
}

fn refused(text: &str, line: usize, cause: PolicyCause) {
    assert_eq!(parse(text), Err(PolicyError { line, cause }), "given {text:?}");
}

#[test]
fn what_is_no_policy_is_refused_with_its_line() {
    refused("", 0, PolicyCause::NoQuorum);
    refused("# none\nlog @log\n", 0, PolicyCause::NoQuorum);
    refused("quorum none\nquorum none\n", 2, PolicyCause::Twice);
    refused("quorum a\n", 1, PolicyCause::Unknown);
    refused("quorum none none\n", 1, PolicyCause::Form);
    refused("quorum none\r\n", 1, PolicyCause::ControlCharacter);
    refused("\n\nlogs @log\n", 3, PolicyCause::Form);
    refused("log @log u v\n", 1, PolicyCause::Form);
    refused("log @0\n", 1, PolicyCause::Kind);
    refused("witness a @log\n", 1, PolicyCause::Kind);
    refused("witness a key\n", 1, PolicyCause::Key(KeyError::NotAKey));
    refused("witness none @0\n", 1, PolicyCause::Twice);
    refused("log @log\nlog @log\n", 2, PolicyCause::Twice);
    refused("witness a @0\nwitness b @0\n", 2, PolicyCause::Twice);
    refused("witness a @0\nwitness a @1\n", 2, PolicyCause::Twice);
    refused("group g any\n", 1, PolicyCause::Form);
    refused("group g any a\nwitness a @0\n", 1, PolicyCause::Unknown);
    refused("group g any g\n", 1, PolicyCause::Unknown);
    refused("witness a @0\ngroup g any none\n", 2, PolicyCause::Unknown);
    for threshold in ["0", "2", "-1", "+1", "x", ""] {
        let line = format!("witness a @0\ngroup g {threshold} a\n");
        let cause = if threshold.is_empty() { PolicyCause::Form } else { PolicyCause::Threshold };
        refused(&line, 2, cause);
    }
    refused("witness a @0\ngroup g any a\ngroup h any a\n", 3, PolicyCause::Taken);
    refused("witness a @0\ngroup g 1 a a\n", 2, PolicyCause::Taken);
    let many: String = (0..300).map(|number| format!("group g{number} any g{}\n", number - 1)).skip(1).collect();
    refused(&format!("witness g0 @0\n{many}quorum none\n"), 257, PolicyCause::TooMany);
    refused(&"#".repeat(POLICY_BYTES_MAX + 1), 0, PolicyCause::TooLong);
}

#[test]
fn a_quorum_is_met_by_those_it_names_and_by_nobody_else() {
    const TWO_OF_TWO: &str = "  # two operators\nlog @log https://example.com/\nwitness a @0 https://w.example\n\twitness \tb @1\nwitness c @2\n\
        witness d @3\nwitness é @4\ngroup x 2 a b c\ngroup y any d é\ngroup both all x y\nquorum both";
    let mut note = String::from_utf8(Memory::of(12).files["checkpoint"].clone()).unwrap();
    let key = signer().verifier().clone();
    let policies = [TWO_OF_TWO, "witness a @0\nquorum a", "quorum none\n"].map(|text| parse(text).unwrap());
    assert!(policies[0].demands() && !policies[2].demands());
    assert_eq!(policies[0].logs(), std::slice::from_ref(&key));
    for (number, met) in [
        (9, [false, false, true]),
        (1, [false, false, true]),
        (4, [false, false, true]),
        (0, [true, true, true]),
        (3, [true, true, true]),
    ] {
        let text = Note::parse(&note).unwrap().text().to_owned();
        note.push_str(&witness(number).sign(&text, 1_700_000_000 + u64::from(number)));
        let got = policies.each_ref().map(|policy| policy.check(&note, &key).is_ok());
        assert_eq!(got, met, "with witness {number}");
    }
    let seen = policies[0].check(&note, &key).unwrap();
    assert_eq!(seen.checkpoint.head.size, 12);
    let times: Vec<u64> = seen.by.iter().map(|(_, at)| *at - 1_700_000_000).collect();
    assert_eq!(times, [0, 1, 3, 4]);
    let all = Policy::all_of((0..6).map(|number| witness(number).verifier().clone()).collect());
    let missing = vec!["example.com/w2".to_owned(), "example.com/w5".to_owned()];
    assert_eq!(all.check(&note, &key), Err(Unwitnessed::TooFew { missing }));
}

#[test]
fn a_cosignature_of_something_else_is_told_and_a_log_that_did_not_sign_is_not_witnessed() {
    let (mut note, key) = (String::from_utf8(Memory::of(12).files["checkpoint"].clone()).unwrap(), signer());
    let policy = parse("witness a @0\nquorum a").unwrap();
    assert!(matches!(policy.check(&note, witness(0).verifier()), Err(Unwitnessed::Checkpoint(_))));
    note.push_str(&witness(0).sign("another\n", 1));
    let expected = Err(Unwitnessed::Forged { witness: "example.com/w0".to_owned() });
    assert_eq!(policy.check(&note, key.verifier()), expected);
}
