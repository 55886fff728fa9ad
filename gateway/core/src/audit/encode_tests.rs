//! Rows of what each record looks like.

use super::*;
use crate::audit::field::Fields;
use crate::audit::leaf::{self, Commits, LEAF_BYTES_MAX, Value, Values};
use crate::audit::record::samples::*;
use crate::audit::record::*;
use crate::protocol::revision::Revision;

/// A record's entry in the log, and the same with its values.
fn written(record: &Record<'_>) -> (String, String) {
    let mut bytes = Vec::new();
    write(&mut bytes, 7, UnixMillis(1_700_000_000_123), record);
    let (fields, rest) = Fields::split(&bytes).unwrap();
    assert_eq!(rest, b"");
    let mut entry = Vec::new();
    leaf::write(&mut entry, &fields, &leaf::Place { boot: "b0071", shard: 1, prev: None }, &Commits::default());
    let value = |field| fields.bytes(field).map(|raw| Value::Json(raw.to_vec()));
    let values = Values { arguments: value(Field::Arguments), result: value(Field::Result) };
    let shown = leaf::shown(&entry, &values);
    (String::from_utf8(entry).unwrap(), shown)
}

const HEAD: &str = r#""boot":"b0071","shard":1,"seq":7,"ts":1700000000123"#;

#[test]
fn a_session_id_is_never_written() {
    let record = Decision { session: Some("s3ss10n"), ..decision(Verdict::Allow) };
    let (text, _) = written(&Record::Decision(record));
    assert!(!text.contains("s3ss10n"));
    assert!(text.contains(&blake3::hash(b"s3ss10n").to_hex()[..32]));
}

#[track_caller]
fn check(rows: Vec<(Record<'_>, String)>) {
    for (record, expected) in rows {
        let expected: serde_json::Value = serde_json::from_str(&expected.replace("HEAD", HEAD)).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written(&record).1).unwrap(), expected);
    }
}

const JUDGED_ALLOW: &str = r#""decision":"allow","rules":["support.cedar:3"],"snapshot":12,"snapshot_hash":"c0ffee""#;

#[test]
fn each_record_of_a_call_holds_what_it_promises() {
    let full = Decision {
        caller: Caller {
            agent: "recon-17",
            user: Some("ann"),
            account: Some("acme"),
            issuer: Some("https://idp"),
            token_id: Some("t1"),
            certificate: Some(&[0xab; 2]),
        },
        source: Some("10.0.0.1".parse().unwrap()),
        revision: Some(Revision::V2025_11_25),
        obligations: &[],
        request_id: Some(b"\"a\""),
        subject: Subject::Uri("file:///x"),
        method: "resources/read",
        arguments: NOTHING,
        ..decision(Verdict::ObservedDeny)
    };
    check(vec![
        (
            Record::Decision(full),
            r#"{"v":2,"event":"decision",HEAD,"agent":"recon-17","user":"ann","account":"acme","issuer":"https://idp","jti":"t1","certificate":"abab","source":"10.0.0.1","server":"crm","revision":"2025-11-25","method":"resources/read","uri":"file:///x","request_id":"a","decision":"observed_deny","cause":"no_rule","rules":[],"snapshot":12,"snapshot_hash":"c0ffee"}"#.to_owned(),
        ),
        (
            Record::Decision(decision(Verdict::Allow)),
            format!(r#"{{"v":2,"event":"decision",HEAD,"agent":"recon-17","server":"crm","method":"tools/call","tool":"read_table",{JUDGED_ALLOW},"arguments":{{"table":"customers"}},"arguments_bytes":21}}"#),
        ),
        (
            Record::Result(answer(6)),
            r#"{"v":2,"event":"result",HEAD,"decision_seq":6,"agent":"recon-17","server":"crm","status":200,"outcome":"complete","duration_us":1200,"result":{"content":[]},"result_bytes":14}"#.to_owned(),
        ),
        (
            Record::ResultEnded(Answer { outcome: Outcome::Cancelled, cause: Some("agent_left"), result: NOTHING, ..answer(6) }),
            r#"{"v":2,"event":"result.ended",HEAD,"decision_seq":6,"agent":"recon-17","server":"crm","status":200,"outcome":"cancelled","cause":"agent_left","duration_us":1200}"#.to_owned(),
        ),
        (
            Record::Result(Answer { outcome: Outcome::Refused, cause: Some("result_forbidden"), result: NOTHING, objected: Some(Judged { cause: Some("result_forbidden"), rules: &["small"], ..judged(Verdict::Deny) }), ..answer(6) }),
            r#"{"v":2,"event":"result",HEAD,"decision_seq":6,"agent":"recon-17","server":"crm","status":200,"outcome":"refused","decision":"deny","cause":"result_forbidden","rules":["small"],"snapshot":12,"snapshot_hash":"c0ffee","duration_us":1200}"#.to_owned(),
        ),
        (
            Record::ResultBegun(Begun { decision_seq: 6, agent: "a", server: "crm", status: 200 }),
            r#"{"v":2,"event":"result.begun",HEAD,"decision_seq":6,"agent":"a","server":"crm","status":200}"#.to_owned(),
        ),
        (
            Record::Refusal(Refusal { cause: "token_expired", status: 401, source: Some("::1".parse().unwrap()), agent: None, server: Some("crm"), method: None }),
            r#"{"v":2,"event":"refusal",HEAD,"cause":"token_expired","status":401,"source":"::1","server":"crm"}"#.to_owned(),
        ),
        (
            Record::ServerRequest(ServerRequest { agent: "a", server: "crm", method: "sampling/createMessage", decision_seq: Some(3), judged: judged(Verdict::Allow), request_id: Some(b"9") }),
            format!(r#"{{"v":2,"event":"server.request",HEAD,"agent":"a","server":"crm","method":"sampling/createMessage","decision_seq":3,"request_id":9,{JUDGED_ALLOW}}}"#),
        ),
    ]);
}

#[test]
fn each_record_of_the_gateway_holds_what_it_promises() {
    check(vec![
        (
            Record::PolicySwapped(Swap { snapshot: 13, snapshot_hash: "aa", previous: 12, actor: "uid 0" }),
            r#"{"v":2,"event":"policy.swapped",HEAD,"snapshot":13,"snapshot_hash":"aa","previous":12,"actor":"uid 0"}"#.to_owned(),
        ),
        (
            Record::AgentSuspended(AgentChange { agent: "a", actor: "uid 0", snapshot: 14 }),
            r#"{"v":2,"event":"agent.suspended",HEAD,"agent":"a","actor":"uid 0","snapshot":14}"#.to_owned(),
        ),
        (
            Record::AgentResumed(AgentChange { agent: "a", actor: "uid 0", snapshot: 15 }),
            r#"{"v":2,"event":"agent.resumed",HEAD,"agent":"a","actor":"uid 0","snapshot":15}"#.to_owned(),
        ),
        (
            Record::ToolDrifted(Drift { server: "crm", tool: "x", pinned: "aa", seen: "bb" }),
            r#"{"v":2,"event":"tool.drifted",HEAD,"server":"crm","tool":"x","pinned":"aa","seen":"bb"}"#.to_owned(),
        ),
        (
            Record::GatewayStarted(Start { version: "0.1.0", snapshot: 1, snapshot_hash: "aa", durability: "batched", modes: &["observe: crm"], torn_bytes: 3 }),
            r#"{"v":2,"event":"gateway.started",HEAD,"version":"0.1.0","snapshot":1,"snapshot_hash":"aa","durability":"batched","mode":["observe: crm"],"torn_bytes":3}"#.to_owned(),
        ),
        (
            Record::ToolApproved(Approval { server: "crm", tool: "t", pinned: "ab", snapshot: 7, actor: "uid 0" }),
            r#"{"v":2,"event":"tool.approved",HEAD,"server":"crm","tool":"t","pinned":"ab","snapshot":7,"actor":"uid 0"}"#.to_owned(),
        ),
        (
            Record::AdminRead(Look { actor: "uid 0", what: "agents" }),
            r#"{"v":2,"event":"admin.read",HEAD,"actor":"uid 0","what":"agents"}"#.to_owned(),
        ),
        (Record::GatewayStopped(Stop { reason: "signal" }), r#"{"v":2,"event":"gateway.stopped",HEAD,"reason":"signal"}"#.to_owned()),
    ]);
}

#[test]
fn each_record_about_the_log_holds_what_it_promises() {
    check(vec![
        (
            Record::OutcomeUnknown(Unknown { boot: "5", shard: 2, seq: 9 }),
            r#"{"v":2,"event":"outcome.unknown",HEAD,"decision_boot":"5","decision_shard":2,"decision_seq":9}"#.to_owned(),
        ),
        (
            Record::AuditRead(Read { actor: "uid 0", what: "denials", count: 3 }),
            r#"{"v":2,"event":"audit.read",HEAD,"actor":"uid 0","what":"denials","count":3}"#.to_owned(),
        ),
        (
            Record::AuditErased(Erased { actor: "uid 0", entries: &["5-2-9"], fields: &["/ssn"], reason: "asked for" }),
            r#"{"v":2,"event":"audit.erased",HEAD,"actor":"uid 0","entries":["5-2-9"],"fields":["/ssn"],"reason":"asked for"}"#
                .to_owned(),
        ),
        (
            Record::AuditPruned(Pruned { actor: "uid 0", first_index: 256 }),
            r#"{"v":2,"event":"audit.pruned",HEAD,"actor":"uid 0","first_index":256}"#.to_owned(),
        ),
        (
            Record::AuditLost(Lost { count: 3, since: UnixMillis(1_700_000_000_000) }),
            r#"{"v":2,"event":"audit.lost",HEAD,"count":3,"since":1700000000000}"#.to_owned(),
        ),
        (
            Record::AuditHeld(Held { actor: "uid 0", what: "case-7", entries: &["5-2-9"], agent: Some("a"), account: None, reason: "asked for" }),
            r#"{"v":2,"event":"audit.held",HEAD,"actor":"uid 0","what":"case-7","entries":["5-2-9"],"agent":"a","reason":"asked for"}"#
                .to_owned(),
        ),
        (
            Record::AuditReleased(Held { actor: "uid 0", what: "case-7", entries: &[], agent: None, account: Some("b"), reason: "over" }),
            r#"{"v":2,"event":"audit.released",HEAD,"actor":"uid 0","what":"case-7","entries":[],"account":"b","reason":"over"}"#
                .to_owned(),
        ),
    ]);
}

#[test]
fn no_record_is_longer_than_an_entry_can_be() {
    let worst = "\u{1}".repeat(100_000);
    let worst = worst.as_str();
    let rules = [worst; 40];
    let json = format!("\"{}\"", "\u{85}".repeat(16_000));
    let record = Decision {
        caller: Caller {
            agent: worst,
            user: Some(worst),
            account: Some(worst),
            issuer: Some(worst),
            token_id: Some(worst),
            certificate: Some(&[7; 32]),
        },
        source: Some("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap()),
        server: worst,
        session: Some(worst),
        revision: Some(Revision::V2025_11_25),
        method: worst,
        subject: Subject::Uri(worst),
        arguments: part(json.as_bytes()),
        judged: Judged {
            verdict: Verdict::Deny,
            cause: Some(worst),
            rules: &rules,
            snapshot: u64::MAX,
            snapshot_hash: worst,
        },
        obligations: &rules,
        request_id: Some(worst.as_bytes()),
    };
    let length = written(&Record::Decision(record)).0.len();
    assert!(length <= LEAF_BYTES_MAX, "got {length}");
}
