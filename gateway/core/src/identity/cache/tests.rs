//! Rows for the cache of proven callers. In: evidence kept and asked for. Out: found or not. Never here: product code.

use super::*;
use crate::identity::certificate::CertificateNames;
use crate::identity::fixture::{self, NOW, RESOURCE, certificate_of, issuers};
use crate::identity::principal::authenticate;
use crate::identity::registry::Registry;

const AGENTS: &str = r#"
[agent.recon]
owner = "ops"
networks = ["10.0.0.0/8"]
certificates = ["spiffe://acme.example/recon"]
tokens = [{ issuer = "okta", client_id = "client-1" }]
"#;

struct Bench {
    registry: Registry,
    cache: Cache,
}

impl Bench {
    fn new(entries_max: usize) -> Self {
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        Self { registry: fixture::registry(AGENTS), cache: Cache::new(entries_max, hasher) }
    }

    fn keep(&mut self, shown: &Shown<'_>) -> Rc<Principal> {
        let proven = authenticate(&self.registry, &issuers(), shown.evidence, shown.resource, shown.now).unwrap();
        self.cache.keep(shown, proven)
    }
}

fn shown<'e>(token: Option<&'e str>, certificate: Option<&'e CertificateNames>) -> Shown<'e> {
    let evidence = Evidence { token, certificate, source: "10.0.0.1".parse().unwrap() };
    Shown { evidence, resource: RESOURCE, generation: 7, now: NOW }
}

#[test]
fn only_the_very_same_evidence_is_found() {
    let mut bench = Bench::new(64);
    let (token, other) = (fixture::token(&[]), fixture::token(&[("jti", "\"2\"")]));
    let (a, b) = (certificate_of("spiffe://acme.example/recon"), certificate_of("spiffe://acme.example/recon"));
    let kept = shown(Some(&token), Some(&a));
    let principal = bench.keep(&kept);
    let source = |source: &str| Evidence { source: source.parse().unwrap(), ..kept.evidence };
    for (why, asked) in [
        ("another token", shown(Some(&other), Some(&a))),
        ("a token cut short", shown(Some(&token[..token.len() - 1]), Some(&a))),
        ("an empty token", shown(Some(""), Some(&a))),
        ("no token", shown(None, Some(&a))),
        ("another certificate", shown(Some(&token), Some(&b))),
        ("no certificate", shown(Some(&token), None)),
        ("another route", Shown { resource: "https://gw.example/mcp/erp", ..kept }),
        ("another generation", Shown { generation: 8, ..kept }),
        ("an older generation", Shown { generation: 6, ..kept }),
        ("a source outside its networks", Shown { evidence: source("192.0.2.1"), ..kept }),
        ("a clock that went back", Shown { now: NOW.before(Duration::from_millis(1)), ..kept }),
        ("after its time", Shown { now: NOW.after(REMEMBERED_MAX), ..kept }),
    ] {
        assert!(bench.cache.find(&asked).is_none(), "{why}");
    }
    let last = NOW.after(REMEMBERED_MAX).before(Duration::from_millis(1));
    for asked in [kept, Shown { now: last, ..kept }, Shown { evidence: source("10.9.9.9"), ..kept }] {
        assert!(Rc::ptr_eq(&bench.cache.find(&asked).unwrap(), &principal));
    }
}

#[test]
fn a_certificate_alone_is_not_found_with_an_empty_token() {
    let mut bench = Bench::new(64);
    let names = certificate_of("spiffe://acme.example/recon");
    bench.keep(&shown(None, Some(&names)));
    assert!(bench.cache.find(&shown(Some(""), Some(&names))).is_none());
    assert!(bench.cache.find(&shown(None, Some(&names))).is_some());
}

#[test]
fn a_proof_is_not_taken_after_its_token_ended() {
    let mut bench = Bench::new(64);
    let token = fixture::token(&[("exp", &(fixture::NOW_SECONDS + 5).to_string())]);
    bench.keep(&shown(Some(&token), None));
    for (milliseconds, found) in [(0, true), (4_999, true), (5_000, false)] {
        let asked = Shown { now: NOW.after(Duration::from_millis(milliseconds)), ..shown(Some(&token), None) };
        assert_eq!(bench.cache.find(&asked).is_some(), found, "{milliseconds}");
    }
    // Within the clock skew a token past its `exp` still verifies, and is verified each time.
    let late = fixture::token(&[("exp", &(fixture::NOW_SECONDS - 5).to_string())]);
    bench.keep(&shown(Some(&late), None));
    assert!(bench.cache.find(&shown(Some(&late), None)).is_none());
}

#[test]
fn the_cache_is_bounded_and_what_is_stale_makes_room_first() {
    let mut bench = Bench::new(8);
    let tokens: Vec<String> = (0..20).map(|n| fixture::token(&[("jti", &format!("\"{n}\""))])).collect();
    for token in &tokens {
        bench.keep(&shown(Some(token), None));
    }
    assert_eq!(bench.cache.len(), 8);
    assert!(bench.cache.find(&shown(Some(&tokens[19]), None)).is_some());
    bench.keep(&shown(Some(&tokens[19]), None));
    assert_eq!(bench.cache.len(), 8);
    bench.keep(&Shown { generation: 8, ..shown(Some(&tokens[0]), None) });
    assert_eq!(bench.cache.len(), 1);
    assert!(!bench.cache.is_empty());
}

#[test]
fn evidence_that_collides_is_still_told_apart_by_its_bytes() {
    let mut bench = Bench::new(8);
    let (token, other) = (fixture::token(&[]), fixture::token(&[("jti", "\"2\"")]));
    let (a, b) = (certificate_of("spiffe://acme.example/recon"), certificate_of("spiffe://acme.example/recon"));
    let kept = shown(Some(&token), Some(&a));
    bench.keep(&kept);
    let entry = &bench.cache.sets[0][0];
    for asked in [
        shown(Some(&other), Some(&a)),
        shown(None, Some(&a)),
        shown(Some(&token), Some(&b)),
        shown(Some(&token), None),
        Shown { resource: "https://gw.example/mcp/erp", ..kept },
    ] {
        assert!(!entry.is_of(&asked, entry.hash), "{:?} {}", asked.evidence.token, asked.resource);
    }
    assert!(!entry.is_of(&kept, entry.hash ^ 1));
    assert!(entry.is_of(&kept, entry.hash));
}
