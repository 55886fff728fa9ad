//! Rows for who is believed. In: tokens and certificates. Out: the agent, or the cause. Never here: product code.

use super::*;
use crate::identity::fixture::{self, CERTIFICATE_END, NOW, NOW_SECONDS, RESOURCE, certificate_of, issuers};
use std::time::Duration;

const AGENTS: &str = r#"
[agent.recon]
owner = "ops"
networks = ["10.0.0.0/8"]
token_lifetime_max = "1h"
certificates = ["spiffe://acme.example/recon", "dns:one.example"]
tokens = [{ issuer = "okta", client_id = "client-1" }]

[agent.other]
owner = "ops"
certificates = ["spiffe://acme.example/other", "dns:two.example"]
tokens = [{ issuer = "okta", client_id = "client-2" }]

[agent.paused]
owner = "ops"
status = "suspended"
tokens = [{ issuer = "okta", client_id = "client-3" }]

[agent.gone]
owner = "ops"
status = "retired"
tokens = [{ issuer = "okta", client_id = "client-4" }]

[agent.lapsed]
owner = "ops"
expires = 2027-01-15T08:00:00Z
tokens = [{ issuer = "okta", client_id = "client-5" }]
"#;

fn prove(
    token: Option<&str>,
    certificate: Option<&CertificateNames>,
    source: &str,
) -> Result<Principal, IdentityError> {
    let evidence = Evidence { token, certificate, source: source.parse().unwrap() };
    authenticate(&fixture::registry(AGENTS), &issuers(), evidence, RESOURCE, NOW)
}

fn check(token: Option<&str>, certificate: Option<&CertificateNames>, expected: Result<&str, IdentityError>) {
    let got = prove(token, certificate, "10.1.2.3");
    assert_eq!(got.as_ref().map(Principal::agent).map_err(|error| *error), expected, "{token:?} {certificate:?}");
}

fn token_of(client: &str) -> String {
    fixture::token(&[("client_id", &format!("\"{client}\""))])
}

#[test]
fn who_shows_nothing_is_nobody() {
    check(None, None, Err(IdentityError::NoCredentials));
    check(Some(""), None, Err(TokenError::Malformed.into()));
}

#[test]
fn an_agent_that_is_not_registered_is_refused_whatever_it_proves() {
    check(Some(&token_of("client-9")), None, Err(IdentityError::TokenUnknown));
    // The subject of a token is not its client.
    check(Some(&fixture::token(&[("client_id", ""), ("sub", "\"client-1\"")])), None, Err(IdentityError::TokenUnknown));
    check(None, Some(&certificate_of("spiffe://acme.example/unknown")), Err(IdentityError::CertificateUnknown));
    check(None, Some(&certificate_of("spiffe://evil.example/recon")), Err(IdentityError::CertificateUnknown));
}

#[test]
fn everything_shown_must_hold_and_name_one_agent() {
    let (recon, other) = (certificate_of("spiffe://acme.example/recon"), certificate_of("spiffe://acme.example/other"));
    let unknown = certificate_of("spiffe://acme.example/unknown");
    check(Some(&token_of("client-1")), Some(&other), Err(IdentityError::AgentsDiffer));
    check(Some(&token_of("client-1")), Some(&unknown), Err(IdentityError::CertificateUnknown));
    check(Some(&token_of("client-9")), Some(&recon), Err(IdentityError::TokenUnknown));
    check(Some("x.y.z"), Some(&recon), Err(TokenError::Base64.into()));
    let two: [(u8, &[u8]); 2] = [(2, b"one.example"), (2, b"two.example")];
    let two = CertificateNames::from_der(&fixture::certificate(&two)).unwrap();
    check(None, Some(&two), Err(IdentityError::CertificateAmbiguous));
    check(Some(&token_of("client-1")), Some(&recon), Ok("recon"));
}

#[test]
fn a_bound_token_needs_its_certificate() {
    let (recon, again) = (certificate_of("spiffe://acme.example/recon"), certificate_of("spiffe://acme.example/recon"));
    let bound = fixture::token(&[("cnf", &format!("{{\"x5t#S256\":\"{}\"}}", recon.thumbprint().to_text()))]);
    check(Some(&bound), None, Err(TokenError::CertificateMissing.into()));
    check(Some(&bound), Some(&again), Err(TokenError::CertificateOther.into()));
    check(Some(&bound), Some(&recon), Ok("recon"));
}

#[test]
fn an_agent_that_may_not_act_is_refused() {
    check(Some(&token_of("client-3")), None, Err(IdentityError::AgentSuspended));
    check(Some(&token_of("client-4")), None, Err(IdentityError::AgentRetired));
    // 2027-01-15T08:00:00Z is this very instant.
    check(Some(&token_of("client-5")), None, Err(IdentityError::AgentExpired));
}

#[test]
fn a_source_outside_the_agents_networks_is_refused() {
    for (source, expected) in [
        ("192.0.2.1", Err(IdentityError::NetworkRefused)),
        ("::1", Err(IdentityError::NetworkRefused)),
        ("::ffff:10.0.0.1", Ok(())),
    ] {
        assert_eq!(prove(Some(&token_of("client-1")), None, source).map(|_| ()), expected, "{source}");
    }
    assert!(prove(Some(&token_of("client-2")), None, "192.0.2.1").is_ok());
}

#[test]
fn a_certificate_that_ended_during_its_connection_is_refused() {
    let names = certificate_of("spiffe://acme.example/recon");
    let evidence = Evidence { token: None, certificate: Some(&names), source: "10.0.0.1".parse().unwrap() };
    let registry = fixture::registry(AGENTS);
    let late = CERTIFICATE_END.after(Duration::from_millis(1));
    let got = authenticate(&registry, &issuers(), evidence, RESOURCE, late);
    assert_eq!(got.map(|_| ()), Err(IdentityError::CertificateExpired));
    assert!(authenticate(&registry, &issuers(), evidence, RESOURCE, CERTIFICATE_END).is_ok());
}

#[test]
fn a_tokens_life_is_cut_to_the_agents_cap() {
    let far = ("exp", "253402300799");
    let issued = |seconds: i64| (NOW_SECONDS - seconds).to_string();
    check(Some(&fixture::token(&[far, ("iat", &issued(3600))])), None, Err(TokenError::TooOld.into()));
    let cut = prove(Some(&fixture::token(&[far, ("iat", &issued(3599))])), None, "10.0.0.1").unwrap();
    assert_eq!(cut.expires(), Some(NOW.after(Duration::from_secs(1))));
}

#[test]
fn a_principal_tells_what_was_proven() {
    let names = certificate_of("spiffe://acme.example/recon");
    let claims =
        [("user", "\"alice\""), ("account", "[\"a-1\"]"), ("jti", "\"t-1\""), ("scope", "\"read\""), ("role", "\"x\"")];
    let both = prove(Some(&fixture::token(&claims)), Some(&names), "10.0.0.1").unwrap();
    assert_eq!(
        (both.agent(), both.agent_index(), &*both.record().owner),
        ("recon", fixture::registry(AGENTS).find("recon").unwrap(), "ops")
    );
    assert_eq!(
        (both.user(), both.account(), both.token_id(), both.issuer()),
        (Some("alice"), Some("a-1"), Some("t-1"), Some("okta"))
    );
    assert_eq!((both.scopes(), both.client_id()), (&["read".into()] as &[_], Some("client-1")));
    assert_eq!(both.certificate(), Some(names.thumbprint()));
    assert_eq!(both.expires(), Some(NOW.after(Duration::from_secs(300))));
    assert!(both.claims().any(|(name, value)| name == "role" && *value == ClaimValue::Text("x".into())));
    let several = prove(Some(&fixture::token(&[("account", "[\"a-1\",\"a-2\"]")])), None, "10.0.0.1").unwrap();
    assert_eq!((several.account(), several.accounts().len()), (None, 2));
    let alone = prove(None, Some(&names), "10.0.0.1").unwrap();
    assert_eq!((alone.agent(), alone.user(), alone.expires()), ("recon", None, Some(CERTIFICATE_END)));
}
