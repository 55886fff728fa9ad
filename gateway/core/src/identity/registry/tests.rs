//! Rows for `agents.toml`. In: its text. Out: findings with line and cure, then lookups. Never here: product code.

use super::*;
use crate::identity::fixture;

fn check(text: &str, expected: &[&str]) {
    let findings = Registry::parse(text, "agents.toml").err().unwrap_or_default();
    assert_eq!(findings.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{text}");
}

/// One more line of an agent that is right otherwise.
fn check_line(line: &str, expected: &str) {
    let text = format!("[agent.a]\nowner = 'ops'\ncertificates = ['dns:a.example']\n{line}\n");
    check(&text, &[&format!("agents.toml:4: {expected}")]);
}

#[test]
fn a_line_that_cannot_be_meant_is_refused_with_its_cure() {
    check_line("ownr = 'x'", "unknown key `ownr` of agent `a`; did you mean `owner`?");
    check_line("zebra = 'x'", "unknown key `zebra` of agent `a`");
    check_line("status = 'activ'", "unknown status `activ`; did you mean `active`?");
    check_line("status = 'off'", "unknown status `off`; it is `active`, `suspended` or `retired`");
    check_line("status = 7", "`status` takes text that is not empty");
    check_line("groups = 'support'", "`groups` is not a list; write `groups = [\"…\"]`");
    check_line("groups = ['']", "`groups` takes text that is not empty");
    check_line("accounts = [7]", "`accounts` takes text that is not empty");
    check_line("networks = ['10.1.0.0/8']", "`10.1.0.0/8` is not a network; did you mean `10.0.0.0/8`?");
    check_line(
        "networks = ['10.0.0.0/64']",
        "`10.0.0.0/64` is not a network; the prefix is at most 32 for IPv4 and 128 for IPv6",
    );
    check_line("networks = ['office']", "`office` is not a network; write `10.0.0.0/8` or one address");
    check_line("networks = []", "`networks` is empty; leave it out to allow every source");
    for lifetime in ["1", "h", "0s", "-1h", "+1h", "1 h", "1w", "366d", "99999999999999999999d", "1é"] {
        let cure = "write a number with its unit, from `1s` to `365d`: `90s`, `15m`, `1h`, `7d`";
        check_line(&format!("token_lifetime_max = '{lifetime}'"), &format!("`{lifetime}` is not a lifetime; {cure}"));
    }
    for date in ["7", "'tomorrow'", "2026-01-31T12:00:00", "12:00:00", "'2026-01-31T12:00'"] {
        let cure = "write `expires = 2026-01-31` or `expires = 2026-01-31T12:00:00Z`";
        check_line(&format!("expires = {date}"), &format!("`expires` is not a date or a time with its zone; {cure}"));
    }
    let binding = "write `{ issuer = \"okta\", client_id = \"…\" }` or, for tokens without a client, `{ issuer = \"okta\", sub = \"…\" }`";
    for tokens in ["{ issuer = 'okta' }", "{ client_id = 'x' }", "{ issuer = 'okta', client_id = 'x', sub = 'y' }", "7"]
    {
        check_line(
            &format!("tokens = [{tokens}]"),
            &format!("a token binding has `issuer` and one of `client_id` and `sub`; {binding}"),
        );
    }
    check_line(
        "tokens = [{ issuer = 'okta', client_id = 'x', clientid = 'y' }]",
        "unknown key `clientid` of a token binding; did you mean `client_id`?",
    );
    check_line(
        "tokens = 'okta'",
        "`tokens` is not a list; write `tokens = [{ issuer = \"okta\", client_id = \"…\" }]`",
    );
}

#[test]
fn an_agent_that_cannot_be_meant_is_refused() {
    let name = "write `spiffe://trust-domain/path` or `dns:host.example`";
    for certificate in ["a.example", "dns:*.example", "spiffe://A/b", "CN=a", "dns:"] {
        let text = format!("[agent.a]\nowner = 'ops'\ncertificates = ['{certificate}']");
        check(&text, &[&format!("agents.toml:3: `{certificate}` is no name of a certificate; {name}")]);
    }
    check(
        "[agent.a]\nstatus = 'suspended'",
        &["agents.toml:1: agent `a` has no `owner`; name who answers for it: `owner = \"team@example.com\"`"],
    );
    check(
        "[agent.a]\nowner = 'ops'",
        &[
            "agents.toml:1: agent `a` can never be recognised; give it `certificates` or `tokens`, or set `status = \"suspended\"`",
        ],
    );
    for id in ["\"A\"", "\"a b\"", "\"a.b\"", "\"\"", "\"a/b\"", &"a".repeat(65)] {
        let text = format!("[agent.{id}]\nowner = 'ops'\nstatus = 'retired'");
        let shown = id.trim_matches('"');
        check(
            &text,
            &[&format!("agents.toml:1: agent id `{shown}` is not allowed; use 1 to 64 of a-z, 0-9, `-` and `_`")],
        );
    }
    check("[agents.a]\nowner = 'ops'", &["agents.toml:1: unknown key `agents`; did you mean `agent`?"]);
    check("agent = 7", &["agents.toml:1: `agent` is not a table; write `[agent.ID]`"]);
    check("\nagent.a = 7", &["agents.toml:2: agent `a` is not a table; write `[agent.a]`"]);
    assert!(
        Registry::parse("[agent.a]\nowner = 'x'\nowner = 'y'", "f").err().unwrap()[0]
            .to_string()
            .starts_with("f:3: not TOML: ")
    );
}

#[test]
fn a_name_bound_twice_is_refused() {
    let two = |a: &str, b: &str| format!("[agent.a]\nowner = 'ops'\n{a}\n[agent.b]\nowner = 'ops'\n{b}");
    for (line, name) in [
        ("certificates = ['spiffe://acme.example/x']", "spiffe://acme.example/x"),
        ("tokens = [{ issuer = 'okta', client_id = 'x' }]", "x"),
        ("tokens = [{ issuer = 'okta', sub = 'x' }]", "x"),
    ] {
        check(
            &two(line, line),
            &[&format!(
                "agents.toml:6: `{name}` is bound to two agents, here to `b` and in line 3 to `a`; take it from the one whose it is not: a name proves one agent"
            )],
        );
    }
    check(
        &two("certificates = ['dns:a.example']", "certificates = ['dns:A.EXAMPLE']"),
        &[
            "agents.toml:6: `dns:A.EXAMPLE` is bound to two agents, here to `b` and in line 3 to `a`; take it from the one whose it is not: a name proves one agent",
        ],
    );
    // The file's order counts, not the alphabet's.
    check(
        "[agent.z]\nowner = 'ops'\ncertificates = ['dns:a.example']\n[agent.a]\nowner = 'ops'\ncertificates = ['dns:a.example']",
        &[
            "agents.toml:6: `dns:a.example` is bound to two agents, here to `a` and in line 3 to `z`; take it from the one whose it is not: a name proves one agent",
        ],
    );
    check(
        "[agent.a]\nowner = 'ops'\ncertificates = ['dns:a.example', 'dns:a.example']",
        &[
            "agents.toml:3: `dns:a.example` is bound twice to agent `a`, here and in the same line; bind every name once",
        ],
    );
    check(&two("tokens = [{ issuer = 'okta', sub = 'x' }]", "tokens = [{ issuer = 'okta', client_id = 'x' }]"), &[]);
    check(&two("tokens = [{ issuer = 'okta', sub = 'x' }]", "tokens = [{ issuer = 'entra', sub = 'x' }]"), &[]);
}

#[test]
fn a_binding_to_an_issuer_that_is_not_configured_is_found() {
    let registry = fixture::registry("[agent.a]\nowner = 'ops'\ntokens = [{ issuer = 'otka', client_id = 'x' }]");
    let found = registry.unknown_issuers(&["okta"], "agents.toml");
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["agents.toml:3: unknown issuer `otka`; did you mean `okta`?"]
    );
    let found = registry.unknown_issuers(&[], "agents.toml");
    assert_eq!(found[0].help.as_deref(), Some("name it in the configuration as `[identity.otka]`"));
    assert!(registry.unknown_issuers(&["otka"], "agents.toml").is_empty());
}

const FULL: &str = r#"
[agent.recon-17]
owner = "payments@acme.example"
status = "active"
groups = ["support", "eu"]
accounts = ["cust-1"]
networks = ["10.0.0.0/8", "2001:db8::/32"]
token_lifetime_max = "1h"
created = 2026-01-01
expires = 2027-01-01T00:00:00Z
last_reviewed = "2026-06-01"
certificates = ["spiffe://acme.example/agent/recon-17", "dns:Agent1.Example"]
tokens = [{ issuer = "okta", client_id = "0oa1" }, { issuer = "okta", sub = "svc" }]

[agent.other]
owner = "ops"
certificates = ["dns:other.example"]
"#;

#[test]
fn every_field_is_read_and_every_name_found() {
    let registry = fixture::registry(FULL);
    let index = registry.find("recon-17").unwrap();
    let agent = registry.agent(index).unwrap();
    assert_eq!((&*agent.id, &*agent.owner, agent.status), ("recon-17", "payments@acme.example", Status::Active));
    assert_eq!((agent.groups.len(), agent.accounts.len(), agent.networks.len()), (2, 1, 2));
    assert_eq!(agent.token_lifetime_max, Duration::from_secs(3600));
    assert_eq!(agent.created.map(UnixMillis::rfc3339).as_deref(), Some("2026-01-01T00:00:00.000Z"));
    assert_eq!(agent.expires.map(UnixMillis::rfc3339).as_deref(), Some("2027-01-01T00:00:00.000Z"));
    assert_eq!(agent.last_reviewed.map(UnixMillis::rfc3339).as_deref(), Some("2026-06-01T00:00:00.000Z"));
    assert_eq!(registry.agents().len(), 2);
    for (issuer, claim, value, expected) in [
        ("okta", AgentClaim::Client, "0oa1", Some(index)),
        ("okta", AgentClaim::Subject, "svc", Some(index)),
        // A user who is called like a client is not that client.
        ("okta", AgentClaim::Subject, "0oa1", None),
        ("okta", AgentClaim::Client, "svc", None),
        ("entra", AgentClaim::Client, "0oa1", None),
    ] {
        assert_eq!(registry.by_token(issuer, claim, value), expected, "{issuer} {value}");
    }
    assert_eq!(registry.bindings(index), [("okta", AgentClaim::Client, "0oa1"), ("okta", AgentClaim::Subject, "svc")]);
    let other = registry.find("other").unwrap();
    assert!(registry.bindings(other).is_empty());
    assert_eq!(registry.agent(other).unwrap().token_lifetime_max, TOKEN_LIFETIME_DEFAULT);
    for (names, expected) in [
        (&["agent1.example"] as &[&str], CertificateMatch::Agent(index)),
        (&["AGENT1.example", "unbound.example"], CertificateMatch::Agent(index)),
        (&["unbound.example"], CertificateMatch::Unknown),
        (&["agent1.example", "other.example"], CertificateMatch::Ambiguous),
    ] {
        let names: Vec<(u8, &[u8])> = names.iter().map(|name| (2, name.as_bytes())).collect();
        let names = CertificateNames::from_der(&fixture::certificate(&names)).unwrap();
        assert_eq!(registry.by_certificate(&names), expected, "{names:?}");
    }
    let both: [(u8, &[u8]); 2] = [(6, b"spiffe://acme.example/agent/recon-17"), (2, b"agent1.example")];
    let names = CertificateNames::from_der(&fixture::certificate(&both)).unwrap();
    assert_eq!(registry.by_certificate(&names), CertificateMatch::Agent(index));
    assert_eq!(registry.find("nobody"), None);
}
