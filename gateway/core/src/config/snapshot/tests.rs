//! Promises of the bundle.

use super::*;
use std::path::Path;

const CONFIG: &str = r#"
[listen]
public_url = "https://edge.example.com:8443"
plaintext = "trusted-network"
origins = ["https://app.example.com"]

[identity.idp]
issuer = "https://idp.example.com"
keys = "idp.json"

[server.crm]
url = "http://127.0.0.1:9000/mcp"
scopes = ["crm.read"]

[server.pg]
url = "https://pg.example.com/mcp"
path = "/pg"

[tool."crm.read_table"]
groups = ["customerTools"]
capture = { arguments = "digest" }
"#;

const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

const AGENTS: &str = "[agent.bot]\nowner = \"a@example.com\"\ngroups = [\"support\"]\ntokens = [{ issuer = \"idp\", client_id = \"bot\" }]\n";

const RULE: &str =
    "permit (principal in Group::\"support\", action == Action::\"crm.read_table\", resource == Server::\"crm\");\n";

fn text(file: &str, text: &str) -> Text {
    Text { file: file.into(), text: text.into() }
}

fn catalogue(server: &str) -> Text {
    let tool = serde_json::json!({
        "name": "read_table",
        "inputSchema": {"type": "object", "properties": {"table": {"type": "string", "x-mcp-header": "Table"}}},
    });
    let learned = Catalogue::learn(server, &[tool]).unwrap();
    text(&format!("catalogue/{server}.json"), &learned.to_text())
}

fn texts(config: &str) -> Texts {
    let (settings, warnings) =
        crate::config::parse(config, SETTINGS_FILE, Path::new("")).unwrap_or_else(|found| panic!("{found:#?}"));
    let catalogues = settings.servers.iter().map(|server| Some(catalogue(&server.name))).collect();
    let keys = settings.issuers.iter().map(|_| text("idp.json", KEYS)).collect();
    Texts {
        settings,
        warnings,
        agents: text("agents.toml", AGENTS),
        policies: vec![text("policies/a.cedar", RULE)],
        catalogues,
        calendars: None,
        read_at: UnixMillis(1_795_478_400_000),
        keys,
        secrets: None,
    }
}

fn build(texts: Texts) -> Snapshot {
    Snapshot::build(texts, 7).unwrap_or_else(|found| panic!("{found:#?}"))
}

#[track_caller]
fn check_refused(texts: Texts, expected: &[&str]) {
    let found = Snapshot::build(texts, 7).err().unwrap();
    let said: Vec<String> = found.iter().map(ToString::to_string).collect();
    for part in expected {
        assert!(said.iter().any(|line| line.contains(part)), "expected {part} in {said:#?}");
    }
}

#[test]
fn every_stage_says_what_is_wrong_in_one_go() {
    let mut all = texts(CONFIG);
    all.agents.text = AGENTS.replace("owner = \"a@example.com\"\n", "");
    all.policies[0].text = RULE.replace("read_table", "reed_table");
    all.keys[0].text = "{".into();
    all.secrets = Some(text("secrets.toml", "= hush"));
    check_refused(
        all,
        &["agents.toml:1: agent `bot` has no `owner`", "a.cedar:1: unknown", "idp.json", "secrets.toml:1: not TOML"],
    );
}

#[test]
fn what_one_file_names_must_stand_in_the_other() {
    let mut unknown_issuer = texts(CONFIG);
    unknown_issuer.agents.text = AGENTS.replace("issuer = \"idp\"", "issuer = \"ipd\"");
    check_refused(unknown_issuer, &["unknown issuer `ipd`; did you mean `idp`?"]);
    let mut unknown_group = texts(CONFIG);
    unknown_group.policies[0].text = RULE.replace("support", "suport");
    check_refused(unknown_group, &["unknown group `suport`"]);
    let credential = CONFIG.replace(
        "scopes = [\"crm.read\"]",
        "credential = { header = \"authorization\", value = \"Bearer {secret:crm}\" }",
    );
    let mut unknown_secret = texts(&format!("secrets = \"secrets.toml\"\n{credential}"));
    unknown_secret.secrets = Some(text("secrets.toml", "[secrets]\npg = \"s3cret-value\"\n"));
    check_refused(unknown_secret, &["server `crm`: unknown secret `crm`"]);
    let mut swapped = texts(CONFIG);
    swapped.catalogues.reverse();
    check_refused(swapped, &["these are the tools of server `pg`, not of `crm`"]);
}

#[test]
fn a_finding_about_agents_does_not_blame_the_rules_that_name_them() {
    let mut bad = texts(CONFIG);
    bad.agents.text = AGENTS.replace("owner = \"a@example.com\"\n", "");
    let found = Snapshot::build(bad, 7).err().unwrap();
    assert!(found.iter().all(|finding| !finding.file.ends_with(".cedar")), "{found:#?}");
}

#[test]
fn no_secret_value_is_in_the_hash_and_everything_else_is() {
    let base = texts(CONFIG).hash();
    let mut secret = texts(CONFIG);
    secret.secrets = Some(text("secrets.toml", "[secrets]\ncrm = \"s3cret-value\"\n"));
    assert_eq!(secret.hash(), base);
    assert_eq!(Texts { read_at: UnixMillis(0), ..texts(CONFIG) }.hash(), base);
    let changes: [fn(&mut Texts); 7] = [
        |texts| texts.agents.text.push('\n'),
        |texts| texts.policies[0].text.push('\n'),
        |texts| texts.policies[0].file.push('x'),
        |texts| texts.catalogues[0] = None,
        |texts| texts.keys[0].text.push('\n'),
        |texts| texts.calendars = Some(text("calendars.toml", "")),
        |texts| texts.settings.limits.body_bytes_max += 1,
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut changed = texts(CONFIG);
        change(&mut changed);
        assert_ne!(changed.hash(), base, "change {number}");
    }
    assert!(base.starts_with("sha256:") && base.len() == 71);
}

#[test]
fn calendars_and_sql_reach_the_rules() {
    let calendar =
        "[calendar.office]\nzone = \"UTC\"\nopen = [{ date = \"2026-11-24\", from = \"00:00\", to = \"24:00\" }]\n";
    let with = |calendar: &str, condition: &str| {
        let sql = CONFIG.replace("capture =", "sql = { argument = \"/table\", dialect = \"sqlite\" }\ncapture =");
        let mut all = texts(&sql);
        all.calendars = Some(text("calendars.toml", calendar));
        all.policies[0].text = RULE.replace(");\n", &format!(") when {{ {condition} }};\n"));
        all
    };
    build(with(calendar, "context.calendars.contains(\"office\") && context.sql.kinds == [\"select\"]"));
    check_refused(
        with(calendar, "context.calendars.contains(\"offices\")"),
        &["a.cedar:1: unknown calendar `offices`; did you mean `office`?"],
    );
    check_refused(
        with("[calendar.x]", "true"),
        &["calendars.toml:1: calendar `x` has no `zone`", "calendars.toml:1: calendar `x` never opens"],
    );
}

#[test]
fn a_route_is_found_by_path_and_then_by_host() {
    let hosted = CONFIG.replace("path = \"/pg\"", "path = \"/mcp/crm\"\nhost = \"pg.example.com\"");
    let snapshot = build(texts(&hosted));
    let named = |host: &str, path: &str| {
        snapshot.route(host, path).and_then(|server| snapshot.server(server)).map(|route| &*route.settings.name)
    };
    assert_eq!(named("edge.example.com:8443", "/mcp/crm"), Some("crm"));
    assert_eq!(named("PG.example.com", "/mcp/crm"), Some("pg"));
    assert_eq!(named("edge.example.com:8443", "/mcp/pg"), None);
    assert_eq!(named("edge.example.com:8443", "/mcp/crm/"), None);
    assert!(snapshot.host_allowed("Edge.Example.com:8443") && snapshot.host_allowed("pg.example.com"));
    assert!(!snapshot.host_allowed("evil.example.com") && !snapshot.host_allowed(""));
    assert!(snapshot.origin_allowed("https://app.example.com") && !snapshot.origin_allowed("null"));
}

#[test]
fn a_route_tells_agents_where_their_tokens_come_from() {
    let snapshot = build(texts(CONFIG));
    let route = snapshot.server(ServerIndex(0)).unwrap();
    assert_eq!(&*route.resource, "https://edge.example.com:8443/mcp/crm");
    assert_eq!(&*route.metadata_url, "https://edge.example.com:8443/.well-known/oauth-protected-resource/mcp/crm");
    let metadata = r#"{"resource":"https://edge.example.com:8443/mcp/crm","authorization_servers":["https://idp.example.com"],"scopes_supported":["crm.read"],"bearer_methods_supported":["header"]}"#;
    assert_eq!(std::str::from_utf8(&route.metadata).unwrap(), metadata);
    assert!(route.param_headers[0].is_some());
    assert_eq!(route.capture[0].arguments, crate::audit::capture::CaptureRule::Digest);
    assert_eq!(route.default_capture.arguments, crate::audit::capture::CaptureRule::Full);
}

#[test]
fn kept_connections_outlive_rules_but_not_a_change_of_servers() {
    let base = build(texts(CONFIG)).upstream_generation();
    let mut rules = texts(CONFIG);
    rules.policies.clear();
    assert_eq!(build(rules).upstream_generation(), base);
    assert_ne!(
        build(texts(&CONFIG.replace("https://pg.example.com", "https://pg2.example.com"))).upstream_generation(),
        base
    );
}

#[test]
fn servers_without_tools_load_loudly() {
    let mut unlearned = texts(CONFIG);
    unlearned.catalogues = vec![None, None];
    unlearned.policies.clear();
    let snapshot = build(unlearned);
    let said: Vec<String> = snapshot.warnings.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|line| line.contains("no tools of server `crm` are approved yet")), "{said:#?}");
    assert_eq!(snapshot.unlearned().count(), 0);
    let mut first_use = texts(&CONFIG.replace("scopes = [\"crm.read\"]", "learn = \"first-use\""));
    first_use.catalogues = vec![None, Some(catalogue("pg"))];
    first_use.policies.clear();
    assert_eq!(build(first_use).unlearned().map(|route| &*route.settings.name).collect::<Vec<_>>(), ["crm"]);
}

#[test]
fn a_suspension_needs_no_new_rules_and_anything_a_rule_reads_does() {
    let snapshot = build(texts(CONFIG));
    let with = |agents: &str| snapshot.with_agents(&text("agents.toml", agents), 8, "sha256:x".into());
    let suspended = with(&AGENTS.replace("groups", "status = \"suspended\"\ngroups")).unwrap().unwrap();
    assert_eq!(suspended.registry.agents().next().unwrap().status, crate::identity::registry::Status::Suspended);
    assert!(Arc::ptr_eq(&suspended.engine, &snapshot.engine));
    assert_eq!((suspended.version, &*suspended.hash), (8, "sha256:x"));
    assert!(with(&AGENTS.replace("support", "finance")).unwrap().is_none());
    assert!(with(&format!("{AGENTS}[agent.new]\nowner = \"b\"\nstatus = \"suspended\"\n")).unwrap().is_none());
    assert!(with(&AGENTS.replace("owner = \"a@example.com\"\n", "")).is_err());
    assert!(with(&AGENTS.replace("\"idp\"", "\"other\"")).is_err());
}
