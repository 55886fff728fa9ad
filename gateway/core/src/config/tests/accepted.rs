//! What a configuration means.

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config::example::STARTER;
use crate::config::settings::{Indexing, Inspect};
use crate::policy::sql::Dialect;
use crate::protocol::revision::Revision;

const FULL: &str = include_str!("../full.toml");

#[test]
fn the_starter_parses_without_a_finding() {
    assert_eq!(findings(STARTER), Vec::<String>::new());
    // What is commented out is right as well, apart from what it says about two places at once.
    let uncommented: String = STARTER
        .lines()
        .map(|line| {
            line.strip_prefix("# ").filter(|rest| rest.contains(" = ") || rest.starts_with('[')).unwrap_or(line)
        })
        .fold(String::new(), |all, line| all + line + "\n");
    assert_eq!(
        findings(&uncommented),
        [
            "p.toml:23: warning: denials on server `crm` are recorded and not enforced; write `mode = \"enforce\"` once the log looks right"
        ]
    );
}

#[test]
fn every_key_is_understood() {
    assert_eq!(findings(FULL), Vec::<String>::new());
    let schema = schema::json_schema();
    let typed: serde_json::Value = toml::from_str(FULL).unwrap();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut missing: Vec<String> =
        keys(&schema["properties"]).into_iter().filter(|key| typed.get(key).is_none()).collect();
    for section in ["policy", "audit", "control", "metrics", "limits", "timeouts", "log", "kernel"] {
        let known = keys(&schema["properties"][section]["properties"]);
        missing.extend(known.into_iter().filter(|key| typed[section].get(key).is_none()));
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn what_is_typed_is_what_is_meant() {
    let meant = settings(FULL);
    let listen = &meant.listen;
    assert_eq!(listen.public_url.as_str(), "https://edge.example.com");
    let resource = |server: usize| meant.servers[server].resource(&listen.public_url);
    assert_eq!(
        (resource(0).as_str(), resource(1).as_str()),
        ("https://crm.example.com/tools/crm", "https://edge.example.com/mcp/pg")
    );
    assert_eq!(
        listen.hosts,
        ["edge.example.com:443", "edge.example.com", "edge.internal:8443", "crm.example.com"].map(Box::from)
    );
    assert_eq!(listen.origins, ["https://edge.example.com", "https://app.example.com"].map(Box::from));
    let tls = listen.tls.as_ref().unwrap();
    assert_eq!(tls.certificate, PathBuf::from("/etc/portcullis/edge.pem"));
    assert_eq!(tls.client_ca, Some(PathBuf::from("/etc/agents-ca.pem")));
    assert_eq!(tls.client_certificate, ClientCertificate::Optional);

    let crm = &meant.servers[0];
    assert_eq!((&*crm.name, &*crm.path, crm.host.as_deref()), ("crm", "/tools/crm", Some("crm.example.com")));
    assert_eq!(
        (crm.url.tls, &*crm.url.host, crm.url.port, &*crm.url.path),
        (UpstreamTls::Tls, "crm.example.com", 443, "/mcp")
    );
    assert_eq!(crm.credential.as_ref().unwrap().header, "authorization".into());
    assert_eq!(crm.revisions, [Revision::V2025_11_25, Revision::V2026_07_28]);
    let tool = &crm.tools["run.sql"];
    assert_eq!(tool.capture.arguments, CaptureRule::Digest);
    assert_eq!(tool.capture.redact, ["/password", "/rows/*/ssn"].map(Box::from));
    assert_eq!(tool.types["/amount"], "integer".into());
    let sql = tool.sql.as_ref().unwrap();
    assert_eq!((&*sql.argument, sql.dialect, sql.schema.as_deref()), ("/sql", Dialect::Postgres, Some("public")));
    assert_eq!(sql.functions, ["mytotal".into()]);

    let pg = &meant.servers[1];
    assert_eq!((&*pg.url.path, &*pg.url.authority, &*pg.path), ("/", "127.0.0.1:9000", "/mcp/pg"));

    let okta = &meant.issuers[0];
    assert_eq!(okta.token_types, ["at+jwt", "jwt"].map(Box::from));
    assert_eq!(okta.algorithms, [Algorithm::Es256, Algorithm::EdDsa]);
    assert_eq!((&*okta.agent_claim, okta.agent_claim_fallbacks.len()), ("cid", 0));
    assert_eq!(meant.timeouts.first_byte, Duration::from_secs(90));
    assert_eq!(meant.limits.result_bytes_max, 8 << 20);
    assert_eq!((meant.audit.segment_bytes_max, meant.audit.backlog_bytes_max), (128 << 20, 2 << 30));
    assert_eq!(meant.audit.index, Indexing::Off);
    let north = &meant.audit.witnesses[0];
    assert_eq!((&*north.name, &*north.key), ("north", "north.example.com+1a2b3c4d+BKx0"));
    assert_eq!((&*north.url.authority, &*north.url.path), ("north.example.com", "/w/add-checkpoint"));
    let kernel = &meant.kernel;
    assert_eq!((kernel.ebpf, &kernel.interfaces[..]), (Ebpf::Off, &["eth0".into(), "bond0.7".into()][..]));
    assert_eq!((kernel.deadline, kernel.budget_bytes), (Duration::from_secs(10), 64 << 10));
    assert_eq!((kernel.connects_per_second, kernel.trusted.len()), (50, 2));
    assert_eq!(kernel.pins, PathBuf::from("/run/bpf/edge"));
    assert_eq!(meant.policy.calendars, Some(PathBuf::from("/etc/portcullis/calendars.toml")));
    assert_eq!(meant.policy.history, PathBuf::from("/var/lib/portcullis/history"));
}

#[test]
fn what_is_not_typed_is_safe() {
    let meant = settings(&with(""));
    assert_eq!(findings(&with("")), Vec::<String>::new());
    assert_eq!(meant.listen.address.to_string(), "127.0.0.1:8080");
    assert_eq!(meant.listen.public_url.as_str(), "http://127.0.0.1:8080");
    assert_eq!(meant.listen.plaintext, Plaintext::LoopbackOnly);
    assert_eq!(meant.listen.hosts, ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"].map(Box::from));
    assert_eq!(meant.listen.origins[1], "http://localhost:8080".into());
    let crm = &meant.servers[0];
    assert_eq!((&*crm.path, crm.mode, crm.learn), ("/mcp/crm", Mode::Enforce, Learn::Reviewed));
    assert_eq!(crm.catalogue, PathBuf::from("/etc/portcullis/catalogue/crm.json"));
    assert_eq!(crm.revisions.len(), 4);
    let okta = &meant.issuers[0];
    assert_eq!(
        (&*okta.agent_claim, okta.agent_claim_fallbacks.as_slice()),
        ("client_id", &["azp".into(), "sub".into()][..])
    );
    assert_eq!(okta.token_types, ["at+jwt".into()]);
    assert_eq!(okta.clock_skew, Duration::from_secs(30));
    assert_eq!((meant.audit.durability, meant.audit.index), (Durability::Batched, Indexing::Auto));
    assert_eq!(meant.audit.capture, Capture::default());
    assert_eq!(meant.agents_file, PathBuf::from("/etc/portcullis/agents.toml"));
    assert_eq!((meant.secrets_file, meant.metrics, meant.workers), (None, None, None));
    assert_eq!(meant.timeouts.upstream_idle, Duration::from_secs(4));
    assert_eq!(meant.timeouts.session_idle, Duration::from_secs(30 * 60));
    assert_eq!(meant.limits.result_bytes_max, 32 << 20);
    assert_eq!(meant.io, IoEngine::Uring);
}

#[test]
fn where_a_token_may_be_of_any_type_its_subject_is_no_agent_unless_it_is_named() {
    let text = |lines: &str| LEAST.replace("keys =", &format!("{lines}\nkeys ="));
    let claims = |lines: &str| {
        let issuer = settings(&text(lines)).issuers.remove(0);
        std::iter::once(issuer.agent_claim).chain(issuer.agent_claim_fallbacks).collect::<Vec<_>>().join(" ")
    };
    for (lines, expected) in [
        ("", "client_id azp sub"),
        ("token_types = [\"AT+JWT\"]", "client_id azp sub"),
        ("token_types = [\"at+jwt\", \"JWT\"]", "client_id azp"),
        ("token_types = [\"none\"]", "client_id azp"),
        ("token_types = [\"JWT\"]\nagent_claim = \"cid\"", "cid"),
    ] {
        assert_eq!(claims(lines), expected, "{lines}");
    }
}

#[test]
fn plain_http_beyond_loopback_takes_the_operators_word() {
    let text = with(
        "[listen]\naddress = \"10.0.0.5:8080\"\nplaintext = \"trusted-network\"\npublic_url = \"https://edge.example.com\"\n",
    );
    let meant = settings(&text);
    assert_eq!(meant.listen.plaintext, Plaintext::TrustedNetwork);
    assert_eq!(meant.listen.public_url.scheme(), Scheme::Https);
}

#[test]
fn a_tool_cannot_lift_a_redaction_of_the_whole_log() {
    let text =
        with("[audit]\ncapture = { redact = [\"/ssn\"] }\n[tool.\"crm.read\"]\ncapture = { redact = [\"/name\"] }\n");
    assert_eq!(settings(&text).servers[0].tools["read"].capture.redact, ["/ssn", "/name"].map(Box::from));
}

#[test]
fn results_are_read_whole_unless_their_tool_says_otherwise() {
    for (lines, expected) in [
        ("", Inspect::Whole),
        ("inspect = \"whole\"", Inspect::Whole),
        ("inspect = \"envelope\"\ncapture = { result = \"size\" }", Inspect::Envelope),
        ("inspect = \"envelope\"\ncapture = { result = \"none\" }", Inspect::Envelope),
    ] {
        let meant = settings(&with(&format!("[tool.\"crm.read\"]\n{lines}\n")));
        assert_eq!(meant.servers[0].tools["read"].inspect, expected, "given {lines}");
    }
}
