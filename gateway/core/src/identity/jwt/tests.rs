//! Rows for the rules of tokens, refusals first. In: signed headers and claims. Out: the cause. Never here: product code.

use super::*;
use crate::identity::claims::{AgentClaim, ClaimValue};
use crate::identity::fixture::{
    self, HEADER, NOW, NOW_SECONDS, RESOURCE, Signer, b64, claims, issuer, issuers, signers,
};
use crate::identity::issuer::{Audience, Issuers, SameIssuer};
use std::time::Duration;

fn check(token: &str, expected: Result<(), TokenError>) {
    assert_eq!(verify(&issuers(), token, RESOURCE, NOW).map(|_| ()), expected, "{token}");
}

/// Signs with the key `ed`, whatever the header says.
fn check_header(header: &str, expected: Result<(), TokenError>) {
    println!("given {header}");
    check(&signers()[0].1.token(header, &claims(&[])), expected);
}

fn check_claim(name: &str, json: &str, expected: Result<(), TokenError>) {
    println!("given {name}: {json}");
    check(&fixture::token(&[(name, json)]), expected);
}

fn header(member: &str) -> String {
    format!(r#"{{"alg":"EdDSA","kid":"ed","typ":"at+jwt",{member}}}"#)
}

#[test]
fn a_token_of_another_form_is_refused() {
    let good = fixture::token(&[]);
    let parts: Vec<&str> = good.split('.').collect();
    for token in ["", "a", "a.b", &format!("{}.{}", parts[0], parts[1]), &format!("{good}.AAAA")] {
        check(token, Err(TokenError::Malformed));
    }
    check(&format!("{good}.a.b"), Err(TokenError::Encrypted));
    check(&"a".repeat(TOKEN_BYTES_MAX + 1), Err(TokenError::TooLarge));
    check(&"a".repeat(1 << 20), Err(TokenError::TooLarge));
    for token in [
        format!("{good}="),
        format!("{good} "),
        format!("Bearer {good}"),
        format!("{good}\n"),
        format!(".{}.", parts[1]),
    ] {
        let expected = if token.starts_with('.') { TokenError::Header } else { TokenError::Base64 };
        check(&token, Err(expected));
    }
    // One token, one spelling: the last character holds two bits that must be zero.
    let last = *good.as_bytes().last().unwrap();
    let twin = format!("{}{}", &good[..good.len() - 1], char::from(if last == b'A' { b'B' } else { last + 1 }));
    assert!(matches!(verify(&issuers(), &twin, RESOURCE, NOW), Err(TokenError::Base64 | TokenError::Signature)));
}

#[test]
fn a_header_that_steers_the_verifier_is_refused() {
    for (member, expected) in [
        (r#""crit":["exp"]"#, TokenError::HeaderCritical),
        (r#""crit":[]"#, TokenError::HeaderCritical),
        (r#""jku":"https://evil.example/keys""#, TokenError::HeaderKey),
        (r#""x5u":"https://evil.example/keys""#, TokenError::HeaderKey),
        (r#""jwk":{"kty":"OKP"}"#, TokenError::HeaderKey),
        (r#""x5c":["AAAA"]"#, TokenError::HeaderKey),
        (r#""b64":false"#, TokenError::HeaderUnencoded),
        (r#""b64":true"#, TokenError::HeaderUnencoded),
        (r#""zip":"DEF""#, TokenError::HeaderCompressed),
        (r#""enc":"A256GCM""#, TokenError::Encrypted),
        (r#""alg":"EdDSA""#, TokenError::HeaderDuplicate),
        (r#""\u0061lg":"none""#, TokenError::HeaderDuplicate),
        (r#""kid":"rsa""#, TokenError::HeaderDuplicate),
    ] {
        check_header(&header(member), Err(expected));
    }
    for text in ["", "[]", "null", "{", "{}{}", "\u{feff}{}"] {
        check_header(text, Err(TokenError::Header));
    }
    check_header(r#"{"alg":7,"kid":"ed","typ":"at+jwt"}"#, Err(TokenError::Header));
    check_header(r#"{"alg":"EdDSA","kid":"ed","typ":["at+jwt"]}"#, Err(TokenError::Header));
}

#[test]
fn a_token_of_another_type_is_refused() {
    for kind in ["JWT", "at+jwt ", "id_token", "oauth-id-jag+jwt", "text/at+jwt", "application/x/at+jwt", ""] {
        check_header(&format!(r#"{{"alg":"EdDSA","kid":"ed","typ":"{kind}"}}"#), Err(TokenError::Type));
    }
    check_header(r#"{"alg":"EdDSA","kid":"ed"}"#, Err(TokenError::Type));
    for kind in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        check_header(&format!(r#"{{"alg":"EdDSA","kid":"ed","typ":"{kind}"}}"#), Ok(()));
    }
}

/// An issuer that writes its access tokens like any other JWT.
fn relaxed(types: &[&str], agent_claim: &str) -> Issuers {
    let mut relaxed = issuer();
    relaxed.token_types = types.iter().map(|kind| (*kind).into()).collect();
    relaxed.agent_claims = vec![agent_claim.into()];
    relaxed.audience = Audience::Fixed("api://portcullis".into());
    Issuers::new(vec![relaxed]).unwrap()
}

#[test]
fn an_id_token_is_refused_where_other_types_are_taken() {
    let access = [("client_id", ""), ("cid", "\"0oa1\""), ("aud", "\"api://portcullis\"")];
    let check = |header: &str, changes: &[(&str, &str)], expected: Result<(), TokenError>| {
        let issuers = relaxed(&["at+jwt", "JWT", "none"], "cid");
        let changes: Vec<(&str, &str)> = access.iter().chain(changes).copied().collect();
        let token = signers()[0].1.token(header, &claims(&changes));
        assert_eq!(verify(&issuers, &token, RESOURCE, NOW).map(|_| ()), expected, "{header} {changes:?}");
    };
    let (jwt, none) = (r#"{"alg":"EdDSA","kid":"ed","typ":"JWT"}"#, r#"{"alg":"EdDSA","kid":"ed"}"#);
    for header in [jwt, none] {
        for changes in [
            [("nonce", "\"n-1\"")],
            [("nonce", "null")],
            [("at_hash", "\"x\"")],
            [("c_hash", "\"x\"")],
            [("s_hash", "\"x\"")],
            [("events", "{}")],
            [("typ", "\"ID\"")],
            [("typ", "\"Refresh\"")],
            [("typ", "7")],
            [("token_use", "\"id\"")],
            [("azp", "\"api://portcullis\"")],
            [("appid", "\"api://portcullis\"")],
        ] {
            check(header, &changes, Err(TokenError::IdToken));
        }
        check(header, &[("typ", "\"Bearer\""), ("token_use", "\"access\""), ("azp", "\"0oa1\"")], Ok(()));
    }
    // An ID token has no `cid` either, and its audience is the client.
    let id = fixture::token(&[("client_id", ""), ("aud", "\"0oa1\"")]);
    assert_eq!(verify(&relaxed(&["at+jwt"], "cid"), &id, RESOURCE, NOW).map(|_| ()), Err(TokenError::Audience));
    let own = [("client_id", "\"api://portcullis\""), ("aud", "[\"api://portcullis\"]")];
    let own = signers()[0].1.token(jwt, &claims(&own));
    assert_eq!(verify(&relaxed(&["JWT"], "sub"), &own, RESOURCE, NOW).map(|_| ()), Err(TokenError::IdToken));
    // What says that it is an access token is believed: the issuer signs that word as well.
    check(HEADER, &[("nonce", "\"n-1\"")], Ok(()));
}

#[test]
fn a_type_that_is_not_listed_is_refused_and_none_stands_for_its_absence_alone() {
    let check = |types: &[&str], header: &str, expected: Result<(), TokenError>| {
        let token = signers()[0].1.token(header, &claims(&[("aud", "\"api://portcullis\"")]));
        let got = verify(&relaxed(types, "client_id"), &token, RESOURCE, NOW).map(|_| ());
        assert_eq!(got, expected, "{types:?} {header}");
    };
    let typed = |kind: &str| format!(r#"{{"alg":"EdDSA","kid":"ed","typ":"{kind}"}}"#);
    let absent = r#"{"alg":"EdDSA","kid":"ed"}"#;
    for (types, header) in [
        (&["at+jwt"] as &[&str], typed("JWT")),
        (&["at+jwt", "JWT"], absent.to_owned()),
        (&["at+jwt", "none"], typed("JWT")),
        (&["at+jwt", "none"], typed("none")),
        (&["none"], typed("application/none")),
        (&["none"], typed("at+jwt")),
        (&["JWT"], typed("logout+jwt")),
    ] {
        check(types, &header, Err(TokenError::Type));
    }
    check(&["at+jwt", "JWT"], &typed("jwt"), Ok(()));
    check(&["at+jwt", "none"], absent, Ok(()));
}

#[test]
fn the_algorithm_is_ours_to_choose() {
    for name in ["none", "None", "nOnE", "NONE", "", "HS256", "HS512", "RS512", "PS256", "ES384", "eddsa", "EdDSA "] {
        let header = format!(r#"{{"alg":"{name}","kid":"ed","typ":"at+jwt"}}"#);
        check_header(&header, Err(TokenError::Algorithm));
        check(&format!("{}.{}.", b64(&header), b64(claims(&[]))), Err(TokenError::Algorithm));
    }
    check_header(r#"{"kid":"ed","typ":"at+jwt"}"#, Err(TokenError::Algorithm));
    check_header(r#"{"alg":"RS256","kid":"ed","typ":"at+jwt"}"#, Err(TokenError::AlgorithmMismatch));
    // The public key as an HMAC key: the oldest confusion of all (RFC 8725 §2.1).
    let hs = r#"{"alg":"HS256","kid":"rsa","typ":"at+jwt"}"#;
    let signed = format!("{}.{}", b64(hs), b64(claims(&[])));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, fixture::jwks().as_bytes());
    check(&format!("{signed}.{}", b64(aws_lc_rs::hmac::sign(&key, signed.as_bytes()))), Err(TokenError::Algorithm));
    let mut narrow = issuer();
    narrow.algorithms = vec![Algorithm::Es256];
    let refused = verify(&Issuers::new(vec![narrow]).unwrap(), &fixture::token(&[]), RESOURCE, NOW);
    assert_eq!(refused.map(|_| ()), Err(TokenError::AlgorithmNotAllowed));
}

#[test]
fn the_key_is_found_by_its_opaque_id_alone() {
    let long = "k".repeat(KEY_ID_BYTES_MAX + 1);
    let id = |json: &str| format!(r#"{{"alg":"EdDSA","kid":{json},"typ":"at+jwt"}}"#);
    check_header(&id(&format!("\"{long}\"")), Err(TokenError::KeyId));
    for json in ["7", "null", "[\"ed\"]"] {
        check_header(&id(json), Err(TokenError::KeyId));
    }
    for json in ["\"ED\"", "\"\"", "\"../../etc/passwd\"", "\"ed' OR '1'='1\"", "\"https://evil.example/key\""] {
        check_header(&id(json), Err(TokenError::KeyUnknown));
    }
    check_header(r#"{"alg":"EdDSA","typ":"at+jwt"}"#, Ok(()));
    let mut two = issuer();
    let (one, other) = (Signer::ed25519(), Signer::ed25519());
    let set = format!(r#"{{"keys":[{{"kid":"1",{}}},{{"kid":"2",{}}}]}}"#, one.jwk(), other.jwk());
    two.keys = crate::identity::keys::KeySet::parse(&set, "f").unwrap();
    let two = Issuers::new(vec![two]).unwrap();
    let token = one.token(r#"{"alg":"EdDSA","typ":"at+jwt"}"#, &claims(&[]));
    assert_eq!(verify(&two, &token, RESOURCE, NOW).map(|_| ()), Err(TokenError::KeyIdMissing));
}

#[test]
fn a_signature_that_is_not_the_keys_is_refused() {
    let good = fixture::token(&[]);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = signed.split_once('.').unwrap();
    check(&format!("{signed}."), Err(TokenError::Signature));
    check(&format!("{signed}.{}", b64([0; 64])), Err(TokenError::Signature));
    check(&format!("{head}.{}.{signature}", b64(claims(&[("sub", "\"admin\"")]))), Err(TokenError::Signature));
    check(&Signer::ed25519().token(HEADER, &claims(&[])), Err(TokenError::Signature));
    // Psychic signatures (CVE-2022-21449) and their like: an all-zero ECDSA signature, and DER instead of r || s.
    let es = r#"{"alg":"ES256","kid":"ec","typ":"at+jwt"}"#;
    let signed = format!("{}.{}", b64(es), b64(claims(&[])));
    check(&format!("{signed}.{}", b64([0; 64])), Err(TokenError::Signature));
    check(&format!("{signed}.{}", b64([0x30, 6, 2, 1, 1, 2, 1, 1])), Err(TokenError::Signature));
}

#[test]
fn a_time_that_is_no_whole_number_in_range_is_refused() {
    for name in ["exp", "iat", "nbf"] {
        for json in [
            "\"never\"",
            "\"99999999999\"",
            "\"1800000300\"",
            "null",
            "true",
            "[1800000300]",
            "{}",
            "1800000300.0",
            "18e8",
            "1e300",
            "-0",
            "18446744073709551615",
        ] {
            check_claim(name, json, Err(TokenError::ClaimType(name)));
        }
        for json in ["-1", "-1800000300", "253402300800", "9223372036854775807"] {
            check_claim(name, json, Err(TokenError::ClaimTime(name)));
        }
    }
}

#[test]
fn a_token_out_of_its_time_is_refused_beyond_the_skew() {
    for (name, offset, expected) in [
        ("exp", -31, Err(TokenError::Expired)),
        ("exp", -30, Err(TokenError::Expired)),
        ("exp", -29, Ok(())),
        ("nbf", 31, Err(TokenError::NotYetValid)),
        ("nbf", 30, Ok(())),
        ("iat", 31, Err(TokenError::IssuedInFuture)),
        ("iat", 30, Ok(())),
    ] {
        check_claim(name, &(NOW_SECONDS + offset).to_string(), expected);
    }
    let mut lax = issuer();
    lax.clock_skew = Duration::from_secs(3600);
    let token = fixture::token(&[("exp", &(NOW_SECONDS - 61).to_string())]);
    assert_eq!(verify(&Issuers::new(vec![lax]).unwrap(), &token, RESOURCE, NOW).map(|_| ()), Err(TokenError::Expired));
}

#[test]
fn a_token_for_another_audience_is_refused() {
    let several = format!("[\"{RESOURCE}\",\"https://gw.example/mcp/erp\"]");
    for (json, expected) in [
        ("\"https://gw.example/mcp/erp\"", TokenError::Audience),
        ("\"https://gw.example/mcp/crm/\"", TokenError::Audience),
        ("\"https://GW.example/mcp/crm\"", TokenError::Audience),
        ("\"https://gw.example\"", TokenError::Audience),
        ("\"\"", TokenError::Audience),
        ("[]", TokenError::Audience),
        ("[\"https://gw.example/mcp/erp\"]", TokenError::Audience),
        (&several, TokenError::AudienceSeveral),
        (&format!("[\"{RESOURCE}\",\"{RESOURCE}\"]"), TokenError::AudienceSeveral),
        ("[7]", TokenError::ClaimType("aud")),
        ("7", TokenError::ClaimType("aud")),
        ("null", TokenError::ClaimType("aud")),
    ] {
        check_claim("aud", json, Err(expected));
    }
    check_claim("aud", &format!("[\"{RESOURCE}\"]"), Ok(()));
    let mut fixed = issuer();
    fixed.audience = Audience::Fixed("api://portcullis".into());
    let fixed = Issuers::new(vec![fixed]).unwrap();
    let entra = fixture::token(&[("aud", "\"api://portcullis\"")]);
    assert!(verify(&fixed, &entra, RESOURCE, NOW).is_ok());
    assert_eq!(verify(&fixed, &fixture::token(&[]), RESOURCE, NOW).map(|_| ()), Err(TokenError::Audience));
}

#[test]
fn a_required_claim_that_is_missing_or_mistyped_is_refused() {
    for name in ["iss", "aud", "sub", "exp", "iat"] {
        check_claim(name, "", Err(TokenError::ClaimMissing(name)));
    }
    for (name, role) in
        [("iss", "iss"), ("sub", "sub"), ("client_id", "agent"), ("user", "user"), ("scope", "scope"), ("jti", "jti")]
    {
        for json in ["7", "null", "[\"a\"]", "{}"] {
            check_claim(name, json, Err(TokenError::ClaimType(role)));
        }
    }
    for json in ["7", "null", "[7]", "{}"] {
        check_claim("account", json, Err(TokenError::ClaimType("account")));
    }
    let mut strange = issuer();
    strange.agent_claims = vec!["cid".into()];
    let strange = Issuers::new(vec![strange]).unwrap();
    assert_eq!(
        verify(&strange, &fixture::token(&[]), RESOURCE, NOW).map(|_| ()),
        Err(TokenError::ClaimMissing("agent"))
    );
}

#[test]
fn claims_that_two_readers_could_read_differently_are_refused() {
    let text = claims(&[]);
    let with = |more: &str| format!("{},{more}}}", text.strip_suffix('}').unwrap());
    for more in [r#""sub":"admin""#, r#""s\u0075b":"admin""#, r#""x":{"a":1,"a":2}"#] {
        check(&signers()[0].1.token(HEADER, &with(more)), Err(TokenError::ClaimDuplicate));
    }
    for body in [
        "",
        "[]",
        "\"eyJ\"",
        &format!("{text}{text}"),
        &format!("\u{feff}{text}"),
        &with(r#""x":"\ud800""#),
        &with(r#""x":[[[[[[[[[]]]]]]]]]"#),
    ] {
        check(&signers()[0].1.token(HEADER, body), Err(TokenError::Claims));
    }
}

#[test]
fn an_issuer_that_is_not_configured_is_refused() {
    for json in ["\"https://evil.example\"", "\"https://idp.example/\"", "\"HTTPS://idp.example\"", "\"\""] {
        check_claim("iss", json, Err(TokenError::IssuerUnknown));
    }
    let mut other = issuer();
    other.name = "entra".into();
    let same = Issuers::new(vec![issuer(), other]).err();
    assert_eq!(same, Some(SameIssuer { first: "okta".into(), second: "entra".into() }));
}

#[test]
fn a_confirmation_that_cannot_be_checked_is_refused() {
    let print = b64([7; 32]);
    for (json, expected) in [
        (r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#.to_owned(), TokenError::ConfirmationUnsupported),
        (format!(r#"{{"x5t#S256":"{print}","jkt":"a"}}"#), TokenError::ConfirmationUnsupported),
        ("{}".into(), TokenError::ConfirmationUnsupported),
        (r#"{"x5t#S256":"short"}"#.into(), TokenError::Confirmation),
        (r#"{"x5t#S256":7}"#.into(), TokenError::Confirmation),
        ("null".into(), TokenError::ClaimType("cnf")),
        ("\"x\"".into(), TokenError::ClaimType("cnf")),
    ] {
        check_claim("cnf", &json, Err(expected));
    }
    check_claim("cnf", &format!(r#"{{"x5t#S256":"{print}"}}"#), Ok(()));
}

#[test]
fn more_claims_than_policies_are_given_refuse_the_token() {
    // `sub` and `client_id` are among the 32.
    let names: Vec<String> = (0..31).map(|n| format!("c{n}")).collect();
    let mut changes: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    check(&fixture::token(&changes), Err(TokenError::ClaimsTooMany));
    changes.pop();
    check(&fixture::token(&changes), Ok(()));
    check_claim("big", &format!("\"{}\"", "x".repeat(4096)), Err(TokenError::ClaimsTooMany));
}

#[test]
fn every_algorithm_verifies_and_the_claims_are_kept() {
    for ((id, key), alg) in signers().iter().zip(["EdDSA", "ES256", "RS256"]) {
        check(
            &key.token(&format!(r#"{{"alg":"{alg}","kid":"{id}","typ":"at+jwt","x5t":"ignored"}}"#), &claims(&[])),
            Ok(()),
        );
    }
    check_header(r#"{"alg":"Ed25519","kid":"ed","typ":"at+jwt"}"#, Ok(()));
    let token = fixture::token(&[
        ("user", "\"alice\""),
        ("account", "[\"a-1\",\"a-2\"]"),
        ("scope", "\"mcp:read  mcp:write\""),
        ("jti", "\"t-1\""),
        ("roles", "[\"support\"]"),
        ("level", "3"),
        ("mfa", "true"),
        ("ratio", "0.5"),
        ("act", "{\"sub\":\"x\"}"),
    ]);
    let token = verify(&issuers(), &token, RESOURCE, NOW).unwrap();
    assert_eq!(token.issuer(), "okta");
    assert_eq!(token.agent(), (AgentClaim::Client, "client-1"));
    assert_eq!(
        (token.subject(), token.user(), token.id(), token.client_id()),
        ("user-1", Some("alice"), Some("t-1"), Some("client-1"))
    );
    assert_eq!(token.accounts(), ["a-1".into(), "a-2".into()]);
    assert_eq!(token.scopes(), ["mcp:read".into(), "mcp:write".into()]);
    assert_eq!((token.issued().seconds(), token.expires().seconds()), (NOW_SECONDS - 10, NOW_SECONDS + 300));
    let kept: Vec<(&str, &ClaimValue)> =
        token.claims().filter(|(name, _)| !matches!(*name, "user" | "account")).collect();
    assert_eq!(
        kept,
        [
            ("sub", &ClaimValue::Text("user-1".into())),
            ("client_id", &ClaimValue::Text("client-1".into())),
            ("roles", &ClaimValue::Texts(vec!["support".into()])),
            ("level", &ClaimValue::Integer(3)),
            ("mfa", &ClaimValue::Truth(true)),
            ("ratio", &ClaimValue::Unreadable),
            ("act", &ClaimValue::Unreadable),
        ]
    );
    for (changes, expected) in [
        ([("client_id", ""), ("azp", "\"azp-1\"")], (AgentClaim::Client, "azp-1")),
        ([("client_id", ""), ("account", "\"a-1\"")], (AgentClaim::Subject, "user-1")),
    ] {
        assert_eq!(verify(&issuers(), &fixture::token(&changes), RESOURCE, NOW).unwrap().agent(), expected);
    }
}
