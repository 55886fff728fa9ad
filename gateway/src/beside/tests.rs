//! Promises of judging a second time.

use super::*;
use portcullis_core::config::snapshot::{SETTINGS_FILE, Snapshot, Text, Texts};
use portcullis_core::policy::catalogue::Catalogue;
use portcullis_core::policy::trial::{Target, Trial};
use portcullis_core::time::UnixMillis;
use std::path::Path;

const RULES: &str =
    r#"@id("some") permit (principal, action == Action::"crm.read", resource) when { context.input.table == "a" };"#;

fn snapshot(rules: &str) -> Snapshot {
    let config = "[identity.idp]\nissuer = \"https://idp.example.com\"\nkeys = \"idp.json\"\n[server.crm]\nurl = \"http://127.0.0.1:9000/mcp\"\n";
    let (settings, warnings) = portcullis_core::config::parse(config, SETTINGS_FILE, Path::new("")).unwrap();
    let text = |file: &str, text: &str| Text { file: file.into(), text: text.into() };
    let schema =
        serde_json::json!({"type": "object", "properties": {"table": {"type": "string"}}, "required": ["table"]});
    let tools = [serde_json::json!({"name": "read", "inputSchema": schema})];
    let texts = Texts {
        settings,
        warnings,
        agents: text(
            "agents.toml",
            "[agent.bot]\nowner = \"a\"\ntokens = [{ issuer = \"idp\", client_id = \"bot\" }]\n",
        ),
        policies: vec![text("a.cedar", rules)],
        catalogues: vec![Some(text("crm.json", &Catalogue::learn("crm", &tools).unwrap().to_text()))],
        keys: vec![text(
            "idp.json",
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
        )],
        calendars: None,
        read_at: UnixMillis(0),
        secrets: None,
    };
    Snapshot::build(texts, 1).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

/// A call of `read` with this table, as the live snapshot decided it, or as a wrong one would have.
fn sample(snapshot: &Arc<Snapshot>, table: &str, tried: Option<Tried>) -> Sample {
    let trial = Trial {
        agent: "bot".into(),
        user: None,
        account: None,
        claims: Vec::new(),
        server: "crm".into(),
        target: Target::Tool("read".into()),
        arguments: Some(format!("{{\"table\":\"{table}\"}}").into_bytes().into()),
        output: None,
        source: "127.0.0.1".parse().unwrap(),
        at: UnixMillis(1_795_428_000_000),
    };
    let limits = snapshot.json_limits();
    let tried = tried.unwrap_or_else(|| trial.judge(&snapshot.engine, &snapshot.registry, &limits).unwrap());
    Sample { copied: Copied::Watched, snapshot: Arc::clone(snapshot), trial, tried }
}

#[test]
fn a_decision_that_cedar_would_not_make_takes_the_tables_out_of_service() {
    let (beside, counters) = (Beside::default(), Counters::default());
    let live = Arc::new(snapshot(RULES));
    for table in ["a", "b"] {
        judge(&sample(&live, table, None), &beside, &counters);
    }
    assert_eq!((counters.count(Count::PolicyWatched), counters.count(Count::PolicyMismatches)), (2, 0));
    assert!(!live.quarantine.is_in_force());
    // What a miscompiled table would say: allowed by a rule that does not hold, refused in spite of one that does, or for another cause.
    let wrong = [
        ("b", Tried { denied: None, rules: vec!["some".into()], pointer: None }),
        ("a", Tried { denied: Some(DenialCause::NoRule), rules: Vec::new(), pointer: None }),
        ("a", Tried { denied: None, rules: Vec::new(), pointer: None }),
        ("b", Tried { denied: Some(DenialCause::Forbidden), rules: Vec::new(), pointer: None }),
    ];
    for (number, (table, tried)) in (1..).zip(wrong) {
        judge(&sample(&live, table, Some(tried)), &beside, &counters);
        assert_eq!(counters.count(Count::PolicyMismatches), number);
        assert!(live.quarantine.is_in_force());
    }
    assert_eq!(counters.count(Count::Quarantines), 1, "a rule set goes out of service once");
    assert!(!snapshot(RULES).quarantine.is_in_force(), "the next load begins anew");
}

#[test]
fn a_tool_that_drifts_between_the_two_judgements_is_no_mismatch() {
    let (beside, counters) = (Beside::default(), Counters::default());
    let live = Arc::new(snapshot(RULES));
    let drifted = Tried { denied: Some(DenialCause::Drifted), rules: Vec::new(), pointer: None };
    judge(&sample(&live, "a", Some(drifted)), &beside, &counters);
    assert_eq!(counters.count(Count::PolicyMismatches), 0);
}

#[test]
fn one_decision_in_a_thousand_is_watched_and_all_are_shadowed_while_a_candidate_runs() {
    let beside = Beside::default();
    let turn = Turn::default();
    let count = |wanted: Copied| (0..10_000).filter(|_| turn.next(&beside) == wanted).count();
    assert_eq!(count(Copied::Watched), 10);
    assert_eq!(count(Copied::Shadowed), 0);
    let policies = vec![Text { file: "b.cedar".into(), text: RULES.replace("\"a\"", "\"b\"") }];
    let candidate = Arc::new(Shadow::new(snapshot(&policies[0].text), policies, UnixMillis(0)));
    assert!(beside.start(candidate).is_none());
    assert_eq!(count(Copied::Shadowed), 9_990);
    let live = Arc::new(snapshot(RULES));
    let counters = Counters::default();
    for table in ["a", "b", "b", "c"] {
        judge(&Sample { copied: Copied::Shadowed, ..sample(&live, table, None) }, &beside, &counters);
    }
    let report = beside.stop().unwrap().report(0);
    assert_eq!((report["judged"].as_u64(), report["otherwise"].as_u64()), (Some(4), Some(3)));
    assert_eq!(report["changes"][0]["was"], serde_json::json!("allow by some"));
    assert_eq!(report["changes"][1]["count"], serde_json::json!(2));
    assert_eq!(counters.count(Count::PolicyWatched), 0, "a shadowed call is not watched");
    assert_eq!(count(Copied::Shadowed), 0);
}

#[test]
fn what_cannot_be_kept_up_with_is_dropped_and_counted() {
    let beside = Beside::default();
    let live = Arc::new(snapshot(RULES));
    for _ in 0..WAITING_MAX + 3 {
        beside.hand_over(sample(&live, "a", None));
    }
    assert_eq!(beside.dropped.load(Ordering::Relaxed), 3);
}
