//! Who calls: nobody is believed without proof, and each proof counts for one agent at one route.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_tests::client::Client;
use portcullis_tests::gateway::Gateway;
use portcullis_tests::mcp;
use portcullis_tests::secrets::{self, ClientCertificate, authorities, changed, claims, keys};
use portcullis_tests::setup::{OPEN, Setup, Tls};
use portcullis_tests::upstream::{Gate, Upstream};
use portcullis_tests::wire::Request;
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use serde_json::{Value, json};
use xtask::keys::Certified;

fn shown(gateway: &Gateway, authorization: &str) -> Request {
    gateway.call("reader", "loose", json!({})).set("Authorization", authorization)
}

/// A token that no signer would make: header and claims as text, a signature of the right length.
fn forged(header: &str, claims: &str) -> String {
    [header.as_bytes(), claims.as_bytes(), &[7; 64]].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
}

/// A gateway with two routes, to which tokens are shown.
struct Tokens {
    upstream: Upstream,
    gateway: Gateway,
}

impl Tokens {
    fn new() -> Self {
        let upstream = Upstream::kind();
        let gateway = Setup::open(&upstream).server("pg", &upstream, "").start();
        Self { upstream, gateway }
    }

    /// Claims of a good token for `crm`.
    fn claims(&self) -> Value {
        claims("reader", &self.gateway.resource("crm"))
    }

    /// An Authorization that is refused for `cause`, of which the agent hears only that its token is not valid.
    #[track_caller]
    fn refused(&self, authorization: &str, cause: &str) {
        let before = self.gateway.events("refusal");
        let answer = self.gateway.answer(&shown(&self.gateway, authorization));
        assert_eq!((answer.status(), answer.code()), (401, -33401), "given {authorization}\ngot {}", answer.text());
        let told = answer.head.field("www-authenticate").unwrap_or_default();
        assert!(told.contains("error=\"invalid_token\""), "given {authorization}\ngot {told}");
        let said = [answer.text(), told].concat();
        assert!(!said.contains("reader") && !said.contains(keys().eddsa.key_id()), "given {authorization}\ngot {said}");
        let new: Vec<Value> =
            self.gateway.events("refusal").into_iter().filter(|record| !before.contains(record)).collect();
        assert_eq!(new.len(), 1, "given {authorization}");
        assert_eq!(new[0]["cause"], json!(cause), "given {authorization}");
    }

    /// Nothing of all that reached the upstream, and a good token still counts.
    #[track_caller]
    fn nothing_passed(&self) {
        assert_eq!(self.upstream.requests().len(), 0);
        assert!(self.gateway.answer(&self.gateway.call("reader", "loose", json!({}))).is_result());
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let tokens = Tokens::new();
    let token = tokens.gateway.token("reader", "crm");
    let (signed, signature) = token.rsplit_once('.').unwrap();
    for (authorization, cause) in [
        ("", "token_malformed"),
        ("Bearer", "token_malformed"),
        ("Bearer ", "token_malformed"),
        ("Basic cmVhZGVyOnB3", "token_malformed"),
        ("Bearer reader", "token_malformed"),
        (&format!("Bearer  {token}"), "token_base64"),
        (&format!("Bearer {token},Bearer {token}"), "token_encrypted"),
        (&format!("Bearer {signed}."), "token_signature"),
        (&format!("Bearer {signed}.{}", "A".repeat(86)), "token_signature"),
        (&format!("Bearer {token}="), "token_base64"),
        (&format!("Bearer {token}.{signature}.a"), "token_encrypted"),
        (&format!("Bearer {}", "a".repeat(9000)), "token_too_large"),
    ] {
        tokens.refused(authorization, cause);
    }
    tokens.nothing_passed();
    let bearer = format!("Bearer {token}");
    let twice = shown(&tokens.gateway, &bearer).field("Authorization", &bearer);
    assert_eq!(tokens.gateway.answer(&twice).status(), 401);
    let none = shown(&tokens.gateway, &bearer).without("Authorization");
    assert_eq!(tokens.gateway.answer(&none).status(), 401);
    tokens.gateway.refusal("no_credentials");
    // Space around a field's value is no part of it.
    assert!(tokens.gateway.answer(&shown(&tokens.gateway, &format!("{bearer} "))).is_result());
    assert!(!tokens.gateway.log().contains(&signature[..20]), "a token stands in the log");
}

#[test]
fn a_header_that_chooses_its_own_proof_is_refused() {
    let tokens = Tokens::new();
    let kid = format!("\"kid\":\"{}\"", keys().eddsa.key_id());
    for (members, cause) in [
        (r#""alg":"none""#, "token_algorithm"),
        (&format!(r#""alg":"NONE",{kid}"#), "token_algorithm"),
        (&format!(r#""alg":"nOnE",{kid}"#), "token_algorithm"),
        (&format!(r#""alg":"HS256",{kid}"#), "token_algorithm"),
        (&format!(r#""alg":"ES256",{kid}"#), "token_algorithm_mismatch"),
        (&format!(r#""alg":"EdDSA",{kid},"jwk":{{}}"#), "token_header_key"),
        (r#""alg":"EdDSA","kid":"x","jku":"https://evil.test""#, "token_header_key"),
        (r#""alg":"EdDSA","kid":"x","x5u":"https://evil.test""#, "token_header_key"),
        (r#""alg":"EdDSA","kid":"../../etc/passwd""#, "token_key_unknown"),
        (r#""alg":"EdDSA","kid":"' OR 1=1 --""#, "token_key_unknown"),
        (&format!(r#""alg":"EdDSA","alg":"EdDSA",{kid}"#), "token_header_duplicate"),
        (&format!(r#""alg":"EdDSA",{kid},"crit":["exp"]"#), "token_header_critical"),
        (&format!(r#""alg":"EdDSA",{kid},"b64":false"#), "token_header_unencoded"),
        (&format!(r#""alg":"EdDSA",{kid},"zip":"DEF""#), "token_header_compressed"),
        (&format!(r#""alg":"EdDSA",{kid}"#), "token_signature"),
    ] {
        let header = format!(r#"{{"typ":"at+jwt",{members}}}"#);
        tokens.refused(&format!("Bearer {}", forged(&header, &tokens.claims().to_string())), cause);
    }
    tokens.refused(&format!("Bearer {}", keys().foreign.sign(&tokens.claims()).unwrap()), "token_key_unknown");
    tokens.refused(&format!("Bearer {}", keys().eddsa.sign_typed("JWT", &tokens.claims()).unwrap()), "token_type");
    tokens.nothing_passed();
}

#[test]
fn claims_that_do_not_hold_are_refused() {
    let tokens = Tokens::new();
    let (crm, pg) = (tokens.gateway.resource("crm"), tokens.gateway.resource("pg"));
    for (changes, cause) in [
        (json!({"exp": secrets::now() - 100}), "token_expired"),
        (json!({"exp": null}), "token_claim_missing"),
        (json!({"exp": "never"}), "token_claim_type"),
        (json!({"exp": (secrets::now() + 100).to_string()}), "token_claim_type"),
        (json!({"exp": -1}), "token_claim_time"),
        (json!({"exp": 999_999_999_999_999_u64}), "token_claim_time"),
        (json!({"nbf": secrets::now() + 1000}), "token_not_yet_valid"),
        (json!({"nbf": "99999999999"}), "token_claim_type"),
        (json!({"iat": secrets::now() + 1000}), "token_issued_in_future"),
        (json!({"iat": secrets::now() - 400 * 86_400, "exp": secrets::now() + 100}), "token_too_old"),
        (json!({"iss": "https://evil.test"}), "token_issuer_unknown"),
        (json!({"iss": null}), "token_claim_missing"),
        (json!({"aud": pg}), "token_audience"),
        (json!({"aud": format!("{crm}/")}), "token_audience"),
        (json!({"aud": tokens.gateway.resource("CRM")}), "token_audience"),
        (json!({"aud": "*"}), "token_audience"),
        (json!({"aud": null}), "token_claim_missing"),
        (json!({"aud": [crm, pg]}), "token_audience_several"),
        (json!({"sub": 5}), "token_claim_type"),
        (json!({"cnf": {"jkt": "a"}}), "token_confirmation_unsupported"),
        (json!({"cnf": {"x5t#S256": "A".repeat(43)}}), "token_certificate_missing"),
    ] {
        let token = keys().eddsa.sign(&changed(tokens.claims(), changes)).unwrap();
        tokens.refused(&format!("Bearer {token}"), cause);
    }
    tokens.nothing_passed();
}

#[test]
fn tokens_of_every_allowed_algorithm_are_believed() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).start();
    let narrow = Setup::open(&upstream).identity("algorithms = [\"ES256\"]").start();
    for (signer, also) in [(&keys().eddsa, 401), (&keys().es256, 200), (&keys().rs256, 401)] {
        for (gateway, status) in [(&gateway, 200), (&narrow, also)] {
            let token = signer.sign(&claims("reader", &gateway.resource("crm"))).unwrap();
            for scheme in ["Bearer", "bearer", "BEARER"] {
                assert_eq!(gateway.answer(&shown(gateway, &format!("{scheme} {token}"))).status(), status);
            }
        }
    }
}

#[test]
fn a_proven_caller_without_access_learns_nothing_more() {
    let upstream = Upstream::kind();
    let tokens = |id: &str| format!("tokens = [{{ issuer = \"idp\", client_id = \"{id}\" }}]");
    let gateway = Setup::open(&upstream)
        .agent_table("idle", &format!("status = \"suspended\"\n{}", tokens("idle")))
        .agent_table("gone", &format!("status = \"retired\"\n{}", tokens("gone")))
        .agent_table("past", &format!("expires = 2020-01-01\n{}", tokens("past")))
        .agent_table("away", &format!("networks = [\"10.0.0.0/8\", \"2001:db8::/32\"]\n{}", tokens("away")))
        .agent_table("here", &format!("networks = [\"127.0.0.0/8\"]\n{}", tokens("here")))
        .start();
    let mut said = Vec::new();
    for (agent, cause) in [
        ("nobody", "token_agent_unknown"),
        ("Reader", "token_agent_unknown"),
        ("idle", "agent_suspended"),
        ("gone", "agent_retired"),
        ("past", "agent_expired"),
        ("away", "network_refused"),
    ] {
        let answer = gateway.answer(&gateway.call(agent, "loose", json!({})));
        assert_eq!(answer.status(), 403, "given {agent}");
        gateway.refusal(cause);
        said.push((answer.head.field("www-authenticate").map(str::to_owned), answer.body));
    }
    assert!(said.windows(2).all(|pair| pair[0] == pair[1]), "which of them it is can be told: {said:?}");
    assert_eq!(upstream.requests().len(), 0);
    assert!(gateway.answer(&gateway.call("here", "loose", json!({}))).is_result());
}

#[test]
fn a_token_for_one_route_is_refused_on_every_other() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).server("pg", &upstream, "").start();
    let token = |server: &str| format!("Bearer {}", gateway.token("reader", server));
    for (route, audience, status) in
        [("crm", "pg", 401), ("pg", "crm", 401), ("crm", "crm", 200), ("pg", "pg", 200), ("crm", "pg", 401)]
    {
        let request = gateway
            .modern("reader", route, &mcp::modern("tools/list", json!({})))
            .set("Authorization", &token(audience));
        assert_eq!(gateway.answer(&request).status(), status, "a token for {audience} on {route}");
    }
}

/// A gateway on TLS whose agents are `spire` (SPIFFE), `named` (DNS), `first` and `second` (for one certificate with both) and tokens' `reader`.
fn on_tls(upstream: &Upstream, tls: Tls) -> Gateway {
    let spiffe = |id: &str| format!("certificates = [\"spiffe://agents.test/{id}\"]");
    Setup::open(upstream)
        .agent_table("spire", &spiffe("spire"))
        .agent_table("first", &spiffe("first"))
        .agent_table("second", &spiffe("second"))
        .agent_table("named", "certificates = [\"dns:named.agents.test\"]")
        .agent_table("both", &format!("{}\ntokens = [{{ issuer = \"idp\", client_id = \"both\" }}]", spiffe("both")))
        .tls(tls)
        .start()
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn odd(names: Vec<SanType>) -> ClientCertificate<'static> {
    ClientCertificate { names, usage: ExtendedKeyUsagePurpose::ClientAuth, years: (2020, 2080), common_name: "spire" }
}

/// The status a call gets over a connection with this certificate; 0 where TLS already fails.
fn status(gateway: &Gateway, certificate: Option<&Certified>, authorization: Option<&str>) -> u16 {
    let request = gateway.call("reader", "loose", json!({})).without("Authorization");
    let request = authorization.map_or(request.clone(), |value| request.field("Authorization", value));
    let Ok(mut client) = Client::try_connect(gateway.address(), gateway.identity(certificate).as_ref()) else {
        return 0;
    };
    // With TLS 1.3 a client learns of its refusal only when it reads.
    if client.try_send(&request.bytes()).is_err() {
        return 0;
    }
    client.next_status()
}

#[test]
fn a_certificate_that_names_no_agent_of_ours_is_refused() {
    let upstream = Upstream::kind();
    let gateway = on_tls(&upstream, Tls::Required);
    let spire = || vec![uri("spiffe://agents.test/spire")];
    let foreign = authorities().foreign.client("spiffe://agents.test/spire").unwrap();
    let rows = [
        ("none", None, 0),
        ("of a foreign authority", Some(foreign), 0),
        ("expired", Some(ClientCertificate { years: (2020, 2021), ..odd(spire()) }.sign()), 0),
        ("not yet valid", Some(ClientCertificate { years: (2079, 2080), ..odd(spire()) }.sign()), 0),
        (
            "for servers",
            Some(ClientCertificate { usage: ExtendedKeyUsagePurpose::ServerAuth, ..odd(spire()) }.sign()),
            0,
        ),
        ("of nobody", Some(odd(vec![uri("spiffe://agents.test/nobody")]).sign()), 403),
        ("of another trust domain", Some(odd(vec![uri("spiffe://evil.test/spire")]).sign()), 403),
        ("with another case", Some(odd(vec![uri("spiffe://agents.test/Spire")]).sign()), 403),
        ("with a longer path", Some(odd(vec![uri("spiffe://agents.test/spire/x")]).sign()), 403),
        ("with a longer name", Some(odd(vec![dns("x.named.agents.test")]).sign()), 403),
        ("of two agents", Some(odd(vec![dns("named.agents.test"), uri("spiffe://agents.test/first")]).sign()), 403),
        ("with a known SPIFFE id", Some(authorities().ours.client("spiffe://agents.test/spire").unwrap()), 200),
        ("with a known DNS name", Some(odd(vec![dns("named.agents.test")]).sign()), 200),
        ("with a known DNS name in capitals", Some(odd(vec![dns("NAMED.agents.test")]).sign()), 200),
    ];
    for (what, certificate, expected) in rows {
        assert_eq!(status(&gateway, certificate.as_ref(), None), expected, "a certificate {what}");
    }
    let failed = gateway.metric("portcullis_tls_handshakes_failed_total");
    // Names that are no names of agents: a common name, a wildcard, an e-mail address, two SPIFFE ids (which none may have). Refused, however far
    // it came.
    for names in [
        vec![],
        vec![dns("*.agents.test")],
        vec![SanType::Rfc822Name("spire@agents.test".try_into().unwrap())],
        vec![uri("spiffe://agents.test/first"), uri("spiffe://agents.test/second")],
    ] {
        let got = status(&gateway, Some(&odd(names).sign()), None);
        assert!(matches!(got, 0 | 401 | 403), "got {got}");
    }
    // None of them can be read as a name of one agent, so that no request gets through; each is counted.
    gateway.wait_metric("portcullis_tls_handshakes_failed_total", failed + 4.0);
    assert_eq!(upstream.called().len(), 3);
    for cause in ["certificate_agent_unknown", "certificate_ambiguous"] {
        gateway.refusal(cause);
    }
    let decided = gateway.record(|record| record["event"] == "decision" && record["agent"] == "spire");
    assert_eq!(decided["certificate"].as_str().map(str::len), Some(64), "{decided}");
}

#[test]
fn token_and_certificate_must_hold_together() {
    let upstream = Upstream::kind();
    let gateway = on_tls(&upstream, Tls::Optional);
    let certificate = |agent: &str| authorities().ours.client(&format!("spiffe://agents.test/{agent}")).unwrap();
    let (both, spire) = (certificate("both"), certificate("spire"));
    let token = |agent: &str, bound: Option<&Certified>| {
        let claims = claims(agent, &gateway.resource("crm"));
        let bound = bound.map(thumbprint).map(|print| json!({"cnf": {"x5t#S256": print}}));
        format!("Bearer {}", keys().eddsa.sign(&changed(claims, bound.unwrap_or(json!({})))).unwrap())
    };
    let nobody = odd(vec![uri("spiffe://agents.test/nobody")]).sign();
    for (what, certificate, authorization, expected) in [
        ("neither", None, None, 401),
        ("a token bound to a certificate that is not shown", None, Some(token("both", Some(&both))), 401),
        ("a token bound to another certificate", Some(&spire), Some(token("spire", Some(&both))), 401),
        ("a token of one agent with the certificate of another", Some(&spire), Some(token("both", None)), 403),
        ("a good token with a certificate of nobody", Some(&nobody), Some(token("both", None)), 403),
        ("a bad token with a good certificate", Some(&both), Some("Bearer a.b.c".to_owned()), 401),
        ("a token alone", None, Some(token("reader", None)), 200),
        ("a certificate alone", Some(&spire), None, 200),
        ("both of one agent", Some(&both), Some(token("both", None)), 200),
        ("a token bound to the certificate that is shown", Some(&both), Some(token("both", Some(&both))), 200),
    ] {
        assert_eq!(status(&gateway, certificate, authorization.as_deref()), expected, "given {what}");
    }
    gateway.refusal("agents_differ");
    gateway.refusal("token_certificate_other");
}

/// RFC 8705 §3.1: SHA-256 over the DER of the certificate.
fn thumbprint(certified: &Certified) -> String {
    use rustls_pki_types::pem::PemObject as _;
    let der = rustls_pki_types::CertificateDer::from_pem_slice(certified.certificate.as_bytes()).unwrap();
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der))
}

#[test]
fn a_connection_that_is_no_tls_is_ended() {
    let upstream = Upstream::kind();
    let gateway = on_tls(&upstream, Tls::Optional);
    for bytes in [gateway.get("/healthz").bytes(), vec![0x16, 3, 1, 0xff, 0xff], vec![0; 600]] {
        let mut client = Client::connect(gateway.address(), None);
        client.send(bytes).finish();
        client.rest();
    }
    assert_eq!(gateway.connect().exchange(&gateway.get("/healthz")).status(), 200);
    assert_eq!(gateway.metric("portcullis_panics_total"), 0.0);
}

#[test]
fn an_agent_has_so_many_calls_in_flight_and_no_more() {
    let gate = Gate::default();
    let at_script = gate.clone();
    let upstream = Upstream::calls(move |request, wire| {
        at_script.pass();
        wire.result(request, mcp::text_result("late"));
    });
    let gateway = Setup::open(&upstream).limits("agent_concurrency = 3").start();
    let call = |agent: &str| gateway.call(agent, "loose", json!({}));
    let mut held: Vec<Client> = (0..3).map(|_| gateway.connect()).collect();
    for client in &mut held {
        client.send(call("reader").bytes());
    }
    upstream.wait_for(3);
    for _ in 0..5 {
        let answer = gateway.answer(&call("reader"));
        assert_eq!((answer.status(), answer.code()), (429, -33429));
    }
    gateway.refusal("agent_busy");
    let mut other = gateway.connect();
    other.send(call("writer").bytes());
    upstream.wait_for(4);
    gate.open_for(4);
    assert!(other.response().is_result());
    for client in &mut held {
        assert!(client.response().is_result());
    }
    gateway.wait_metric("portcullis_requests_open", 0.0);
    gate.open_for(10);
    for client in &mut held {
        assert!(client.exchange(&call("reader")).is_result());
    }
}

#[test]
fn an_agents_claims_reach_its_records_and_no_rule_is_needed_to_read_them() {
    let upstream = Upstream::kind();
    let setup = Setup::new()
        .server("crm", &upstream, "")
        .identity("user_claim = \"uid\"\naccount_claim = \"account\"")
        .policy(OPEN);
    let gateway = setup.start();
    let claims = changed(
        claims("reader", &gateway.resource("crm")),
        json!({"uid": "eve", "account": "c1", "odd": {"a": [1.5, null]}}),
    );
    let token = keys().es256.sign(&claims).unwrap();
    assert!(gateway.answer(&shown(&gateway, &format!("Bearer {token}"))).is_result());
    let decided = gateway.record(|record| record["event"] == "decision");
    for (member, value) in [("agent", "reader"), ("user", "eve"), ("account", "c1"), ("jti", "jti-of-reader")] {
        assert_eq!(decided[member], json!(value), "{decided}");
    }
}
