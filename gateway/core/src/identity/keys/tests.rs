//! Rows for key sets. In: their JSON. Out: findings, then keys. Never here: product code.

use super::*;
use crate::identity::fixture::{Signer, b64, jwks, signers};

fn check(keys: &str, expected: &str) {
    let findings = KeySet::parse(&format!(r#"{{"keys":[{keys}]}}"#), "idp.json").err().unwrap_or_default();
    assert_eq!(findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), expected, "{keys}");
}

fn check_skipped(key: &str, expected: &str) {
    let good = Signer::ed25519().jwk();
    let set = KeySet::parse(&format!(r#"{{"keys":[{{{good}}},{key}]}}"#), "idp.json").unwrap();
    assert_eq!(set.keys().len(), 1, "{key}");
    assert_eq!(
        set.warnings().iter().map(ToString::to_string).collect::<Vec<_>>(),
        [format!("idp.json: warning: key 2 is skipped: {expected}")]
    );
}

#[test]
fn a_private_or_symmetric_key_refuses_the_set() {
    let public = signers().iter().map(|(_, key)| key.jwk()).collect::<Vec<_>>();
    for key in &public {
        check(
            &format!(r#"{{{key},"d":"AAAA"}}"#),
            "idp.json: key 1: holds a private key; publish only the public part, and replace the key: whoever read this file could sign tokens",
        );
    }
    for key in [r#"{"kty":"oct","k":"AAAA"}"#.to_owned(), format!(r#"{{{},"k":"AAAA"}}"#, public[0])] {
        check(
            &key,
            "idp.json: key 1: a symmetric key; whoever verifies with it could also sign; use the issuer's public keys",
        );
    }
}

#[test]
fn a_repeated_kid_refuses_the_set() {
    let (one, two) = (Signer::ed25519().jwk(), Signer::p256().jwk());
    check(
        &format!(r#"{{"kid":"a",{one}}},{{"kid":"a",{two}}}"#),
        "idp.json: key 2: `kid` `a` is used twice; keep one key of each `kid`",
    );
    // Also where the other one would be skipped: another reader may take it.
    check(
        &format!(r#"{{"kid":"a","kty":"EC","crv":"P-521"}},{{"kid":"a",{two}}}"#),
        "idp.json: key 2: `kid` `a` is used twice; keep one key of each `kid`",
    );
}

#[test]
fn a_malformed_key_refuses_the_set() {
    let ed = Signer::ed25519().jwk();
    let long = "k".repeat(129);
    let even = b64([vec![0x80], vec![0; 255]].concat());
    let small = b64([vec![0x80], vec![1; 127]].concat());
    let odd = b64([vec![0x80], vec![1; 255]].concat());
    for (key, why) in [
        ("7".to_owned(), "not an object; a key is a JSON object"),
        (r#"{"kid":"a"}"#.into(), "no `kty`; every key names its kind (RFC 7517 §4.1)"),
        (r#"{"kty":7}"#.into(), "`kty` is not a string; see RFC 7517 §4"),
        (format!(r#"{{"kid":7,{ed}}}"#), "`kid` is not a string; see RFC 7517 §4"),
        (
            format!(r#"{{"kid":"{long}",{ed}}}"#),
            "its `kid` is longer than 128 bytes; ask the issuer for shorter key ids",
        ),
        (format!(r#"{{"key_ops":"verify",{ed}}}"#), "`key_ops` is not a list; see RFC 7517 §4.3"),
        (r#"{"kty":"OKP","crv":"Ed25519"}"#.into(), "no `x`; see RFC 7518 §6"),
        (r#"{"kty":"OKP","crv":"Ed25519","x":"AA=="}"#.into(), "`x` is not base64url; see RFC 7518 §2"),
        (
            r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#.into(),
            "`x` is not an Ed25519 public key; it is 32 bytes in base64url",
        ),
        (
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{0}","y":"{0}"}}"#, b64([1; 32])),
            "`x` and `y` are not a point on P-256; each is 32 bytes in base64url",
        ),
        (
            format!(r#"{{"kty":"RSA","n":"{small}","e":"AQAB"}}"#),
            "an RSA key of 1024 bits; RSA keys of 2048 to 8192 bits are used",
        ),
        (
            format!(r#"{{"kty":"RSA","n":"{even}","e":"AQAB"}}"#),
            "`n` and `e` are not an RSA public key; `n` is odd, `e` is odd and from 3 to 2^33",
        ),
        (
            format!(r#"{{"kty":"RSA","n":"{odd}","e":"AQ"}}"#),
            "`n` and `e` are not an RSA public key; `n` is odd, `e` is odd and from 3 to 2^33",
        ),
    ] {
        check(&key, &format!("idp.json: key 1: {why}"));
    }
}

#[test]
fn a_text_that_is_no_key_set_is_refused() {
    for (text, expected) in [
        ("", "idp.json: not the JSON object of a JWK set"),
        ("{\"keys\":\n[}", "idp.json:2: not the JSON object of a JWK set"),
        ("[]", "idp.json:1: not the JSON object of a JWK set"),
        ("{}", "idp.json: not a JWK set: no list `keys`"),
        (r#"{"keys":[],"keys":[]}"#, "idp.json: an object names a member twice"),
        (r#"{"a":[[[[[[[[[[]]]]]]]]]]}"#, "idp.json: nested deeper than a JWK set is"),
        (
            r#"{"keys":[]}"#,
            "idp.json: key set has no key that can verify a token; keys of kind Ed25519, P-256 or RSA of 2048 bits and more are used",
        ),
    ] {
        let findings = KeySet::parse(text, "idp.json").err().unwrap();
        let found = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(
            found == expected || text.is_empty() && found.ends_with("not the JSON object of a JWK set"),
            "{text}: {found}"
        );
    }
    let wide: Vec<String> = (0..200).map(|n| format!("\"{n}\":0")).collect();
    check(&format!("{{{}}}", wide.join(",")), "idp.json: an object has more members than a key has");
    check(&vec!["{}"; KEYS_MAX + 1].join(","), "idp.json: key set of 65 keys; at most 64 are read");
    let huge = " ".repeat(KEY_SET_BYTES_MAX + 1);
    assert!(KeySet::parse(&huge, "f").err().unwrap()[0].message.contains("at most 262144 are read"));
}

#[test]
fn keys_for_other_purposes_are_skipped_with_a_warning() {
    let ed = Signer::ed25519().jwk();
    check_skipped(&format!(r#"{{"use":"enc",{ed}}}"#), "its `use` is `enc`");
    check_skipped(&format!(r#"{{"key_ops":["sign"],{ed}}}"#), "its `key_ops` lacks `verify`");
    check_skipped(&format!(r#"{{"alg":"ES256",{ed}}}"#), "its `alg` `ES256` is not used");
    check_skipped(&format!(r#"{{"alg":"none",{ed}}}"#), "its `alg` `none` is not used");
    check_skipped(r#"{"kty":"EC","crv":"P-521"}"#, "kind `EC` with curve `P-521` is not used");
    check_skipped(r#"{"kty":"OKP","crv":"X25519","x":"AAAA"}"#, "kind `OKP` with curve `X25519` is not used");
    check_skipped(r#"{"kty":"AKP"}"#, "kind `AKP` is not used");
}

#[test]
fn every_key_is_bound_to_one_algorithm() {
    let set = KeySet::parse(&jwks(), "idp.json").unwrap();
    for (id, algorithm, expected) in [
        (Some("ed"), Algorithm::EdDsa, Ok(())),
        (Some("ec"), Algorithm::Es256, Ok(())),
        (Some("rsa"), Algorithm::Rs256, Ok(())),
        (Some("rsa"), Algorithm::EdDsa, Err(KeyMiss::Algorithm)),
        (Some("ED"), Algorithm::EdDsa, Err(KeyMiss::Unknown)),
        (Some("../ed"), Algorithm::EdDsa, Err(KeyMiss::Unknown)),
        (None, Algorithm::EdDsa, Ok(())),
    ] {
        assert_eq!(set.find(id, algorithm).map(|key| assert_eq!(key.algorithm(), algorithm)), expected, "{id:?}");
    }
    let purpose = r#""use":"sig","key_ops":["verify"],"alg":"EdDSA","#;
    let (one, two) = (Signer::ed25519().jwk(), Signer::ed25519().jwk());
    let two = KeySet::parse(&format!(r#"{{"keys":[{{{purpose}{one}}},{{{two}}}]}}"#), "idp.json").unwrap();
    assert_eq!(two.find(None, Algorithm::EdDsa).map(|_| ()), Err(KeyMiss::Unnamed));
    assert_eq!(two.find(None, Algorithm::Es256).map(|_| ()), Err(KeyMiss::Unnamed));
    assert_ne!(set.generation(), two.generation());
    assert_eq!(set.generation(), KeySet::parse(&jwks(), "other name").unwrap().generation());
    assert_eq!(
        [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256].map(Algorithm::as_str),
        ["EdDSA", "ES256", "RS256"]
    );
}
