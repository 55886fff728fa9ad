//! What the index promises, held against small logs.

use std::fs;

use portcullis_core::audit::view::one_line;
use portcullis_core::time::UnixMillis;
use portcullis_tlog::evidence::Evidence;
use proptest::prelude::*;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::call::{Call, State};
use super::query::{Page, Query};
use super::sample::{Folder, decision, leaf, result};
use super::*;

pub(super) fn caught(folder: &Folder) -> (Index, Caught) {
    let mut index = Index::open(folder.path()).unwrap();
    let caught = index.catch_up(&folder.logs(), &mut |_| {}).unwrap();
    (index, caught)
}

fn page(index: &Index, query: Query) -> Page {
    index.query(&Query { limit: if query.limit == 0 { 1_000 } else { query.limit }, ..query }).unwrap()
}

/// `INDEX STATE OUTCOME`, newest first.
fn shown(calls: &[Call]) -> Vec<String> {
    let outcome = |call: &Call| call.result.as_ref().and_then(|end| end.get("outcome")?.as_str().map(str::to_owned));
    calls.iter().map(|call| format!("{} {:?} {}", call.index, call.state, outcome(call).unwrap_or_default())).collect()
}

#[test]
fn no_statement_reads_a_whole_table() {
    let mut folder = Folder::new();
    folder.write(&[decision(0, "deny", json!({}))]);
    let plans = caught(&folder).0.plans().unwrap();
    for ((name, steps), (_, statement)) in plans.iter().zip(sql::ALL) {
        assert!(steps.iter().all(|step| !step.starts_with("SCAN")), "{name}: {steps:?}");
        let reads = statement.contains("FROM") || statement.starts_with("UPDATE");
        assert_eq!(reads, steps.iter().any(|step| step.starts_with("SEARCH")), "{name}: {steps:?}");
    }
}

#[test]
fn no_statement_stands_anywhere_else() {
    let sources = [
        include_str!("mod.rs"),
        include_str!("call.rs"),
        include_str!("fill.rs"),
        include_str!("query.rs"),
        include_str!("row.rs"),
        include_str!("tally.rs"),
        include_str!("words.rs"),
        include_str!("../report.rs"),
    ];
    for (source, word) in sources.iter().flat_map(|source| ["SELECT ", "INSERT ", "UPDATE "].map(|word| (source, word)))
    {
        assert!(!source.contains(word), "{word}in {}", source.lines().next().unwrap());
    }
}

/// Writes the entries in one go and one at a time; both have to come to the same.
#[track_caller]
fn pairs(entries: &[Vec<u8>], expected: &[&str]) {
    let (mut at_once, mut by_one) = (Folder::new(), Folder::new());
    at_once.write(entries);
    let (index, _) = caught(&at_once);
    assert_eq!(shown(&page(&index, Query::default()).calls), expected, "at once");
    for entry in entries {
        by_one.write(std::slice::from_ref(entry));
        caught(&by_one);
    }
    let (index, _) = caught(&by_one);
    assert_eq!(shown(&page(&index, Query::default()).calls), expected, "one by one");
}

#[test]
fn a_decision_and_its_end_are_one_call() {
    let allow = |seq| decision(seq, "allow", json!({}));
    let begun =
        |seq, of| leaf("result.begun", seq, json!({"agent": "a", "server": "crm", "status": 200, "decision_seq": of}));
    let ended = |seq, of| leaf("result.ended", seq, json!({"outcome": "cancelled", "decision_seq": of, "status": 200}));
    pairs(&[allow(0), result(1, 0, json!({}))], &["0 Settled complete"]);
    pairs(
        &[allow(0), allow(1), result(2, 1, json!({})), result(3, 0, json!({}))],
        &["1 Settled complete", "0 Settled complete"],
    );
    pairs(&[allow(0)], &["0 Open "]);
    pairs(&[allow(0), begun(1, 0)], &["0 PartlyReleased "]);
    pairs(&[allow(0), begun(1, 0), ended(2, 0)], &["0 Settled cancelled"]);
    pairs(&[decision(0, "deny", json!({"cause": "no_rule"}))], &["0 Settled "]);
    pairs(&[decision(0, "observed_deny", json!({})), result(1, 0, json!({}))], &["0 Settled complete"]);
    // What has no decision in the log stands alone, and so does a second end of one call.
    pairs(&[result(5, 4, json!({}))], &["0 Settled complete"]);
    pairs(&[begun(5, 4)], &["0 Settled "]);
    pairs(&[allow(0), result(1, 0, json!({})), result(2, 0, json!({}))], &["2 Settled complete", "0 Settled complete"]);
    // Of another shard, and of another boot.
    pairs(&[allow(0), result(1, 0, json!({"shard": 1}))], &["1 Settled complete", "0 Open "]);
    pairs(&[allow(0), result(1, 0, json!({"boot": "2"}))], &["1 Settled complete", "0 Open "]);
    let lost = json!({"boot": "2", "decision_boot": "1795428000000", "decision_shard": 0, "decision_seq": 0});
    pairs(&[allow(0), leaf("outcome.unknown", 1, lost)], &["1 Settled ", "0 Settled unknown"]);
    pairs(&[b"no record".to_vec(), b"{\"event\":\"decision\"}".to_vec()], &["1 Settled ", "0 Settled "]);
}

#[test]
fn a_call_is_told_as_the_log_has_it() {
    let mut folder = Folder::new();
    folder.write(&[
        decision(0, "allow", json!({"user": "ann", "account": "acme", "source": "10.0.0.1"})),
        result(
            1,
            0,
            json!({"decision": "deny", "rules": ["small"], "cause": "result_forbidden", "outcome": "refused"}),
        ),
        leaf("policy.swapped", 2, json!({"snapshot": 13, "snapshot_hash": "c0", "previous": 12, "actor": "uid 0"})),
    ]);
    let (index, _) = caught(&folder);
    let page = page(&index, Query::default());
    let lines: Vec<String> = page.calls.iter().map(|call| one_line(&call.paired().unwrap())).collect();
    assert_eq!(
        lines,
        [
            "2026-11-23T10:00:00.020Z policy.swapped by=uid 0 v13",
            "2026-11-23T10:00:00.000Z ALLOW recon-17 crm.read_table (21 B) rule=support.cedar:3 v12 refused cause=result_forbidden rule=small 1.2ms",
        ]
    );
    assert_eq!(
        serde_json::to_value(&page.calls[1]).unwrap(),
        json!({
            "id": "1795428000000-0-0", "log": 0, "index": 0, "time": "2026-11-23T10:00:00.000Z", "state": "settled",
            "event": "decision", "boot": "1795428000000", "shard": 0, "seq": 0, "ts": 1_795_428_000_000_i64, "agent": "recon-17",
            "user": "ann", "account": "acme", "source": "10.0.0.1", "server": "crm", "method": "tools/call", "tool": "read_table",
            "decision": "allow", "rules": ["support.cedar:3"], "snapshot": 12, "arguments_bytes": 21,
            "result": {
                "log": 0, "index": 1, "status": 200, "outcome": "refused", "cause": "result_forbidden", "duration_us": 1_200,
                "result_bytes": 100, "decision": "deny", "rules": ["small"],
            },
        })
    );
    assert_eq!(page.calls[0].record.get("previous"), Some(&json!(12)));
    assert_eq!(page.checkpoint.head.size, 3);
}

#[test]
fn rules_are_found_whichever_of_several_they_were_and_over_results_too() {
    let mut folder = Folder::new();
    folder.write(&[
        decision(0, "allow", json!({"rules": ["a", "b"]})),
        result(1, 0, json!({"decision": "deny", "rules": ["c"], "cause": "result_forbidden"})),
        decision(2, "deny", json!({"rules": ["b"]})),
    ]);
    let (index, _) = caught(&folder);
    for (rule, expected) in [("a", &["0"][..]), ("b", &["2", "0"]), ("c", &["0"]), ("d", &[]), ("[\"a\",\"b\"]", &[])] {
        let calls = page(&index, Query { rule: Some(rule.to_owned()), ..Query::default() }).calls;
        assert_eq!(calls.iter().map(|call| call.index.to_string()).collect::<Vec<_>>(), expected, "{rule}");
    }
}

#[test]
fn a_tool_is_named_alone_or_with_its_server() {
    let mut folder = Folder::new();
    folder.write(&[
        decision(0, "deny", json!({"tool": "read"})),
        decision(1, "deny", json!({"server": "erp", "tool": "read"})),
        decision(2, "deny", json!({"server": "erp", "tool": "crm.read"})),
        decision(3, "deny", json!({"server": "erp", "tool": "x.read"})),
    ]);
    let (index, _) = caught(&folder);
    for (tool, server, expected) in [
        ("read", None, &[1, 0][..]),
        ("crm.read", None, &[0]),
        ("crm.read", Some("erp"), &[2]),
        ("erp.read", None, &[1]),
        ("erp.read", Some("crm"), &[]),
        ("x.read", None, &[3]),
        ("erp.crm.read", None, &[2]),
    ] {
        let query = Query { tool: Some(tool.into()), server: server.map(str::to_owned), ..Query::default() };
        let found: Vec<u64> = page(&index, query).calls.iter().map(|call| call.index).collect();
        assert_eq!(found, expected, "{tool} {server:?}");
    }
}

#[test]
fn a_log_that_went_another_way_is_indexed_anew() {
    let mut folder = Folder::new();
    let entries: Vec<Vec<u8>> = (0..600).map(|seq| decision(seq, "deny", json!({}))).collect();
    folder.write(&entries[..400]);
    assert_eq!(caught(&folder).1, Caught { entries: 400, again: None });
    assert_eq!(caught(&folder).1, Caught { entries: 0, again: None });
    folder.write(&entries[400..]);
    assert_eq!(caught(&folder).1, Caught { entries: 200, again: None });
    // As long, longer, and shorter, each with other entries.
    for (from, to) in [(1, 600), (2, 700), (3, 10)] {
        let mut other = Folder::new();
        let entries: Vec<Vec<u8>> = (from..to + from).map(|seq| decision(seq, "deny", json!({}))).collect();
        other.write(&entries);
        fs::rename(folder.path().join(FILE), other.path().join(FILE)).unwrap();
        let (index, caught) = caught(&other);
        assert_eq!(caught, Caught { entries: to, again: Some(Again::OtherLog) });
        assert_eq!(page(&index, Query::default()).calls.len() as u64, to.min(1_000));
        drop(index);
        fs::rename(other.path().join(FILE), folder.path().join(FILE)).unwrap();
    }
    assert_eq!(caught(&folder).1, Caught { entries: 600, again: Some(Again::OtherLog) });
}

#[test]
fn entries_that_are_not_what_was_signed_are_not_indexed() {
    let mut folder = Folder::new();
    folder.write(&(0..300).map(|seq| decision(seq, "deny", json!({}))).collect::<Vec<_>>());
    let bundle = folder.path().join("logs/0000/tile/entries/000");
    let good = fs::read(&bundle).unwrap();
    let mut bad = good.clone();
    let at = bad.windows(8).position(|part| part == b"recon-17").unwrap() + 7;
    bad[at] = b'8';
    fs::write(&bundle, bad).unwrap();
    let mut index = Index::open(folder.path()).unwrap();
    let refused = index.catch_up(&folder.logs(), &mut |_| {}).unwrap_err();
    assert!(matches!(refused, IndexError::OtherWay { number: 0 }), "{refused}");
    assert!(matches!(index.query(&Query::default()), Err(IndexError::Unfinished)));
    fs::write(&bundle, good).unwrap();
    assert_eq!(index.catch_up(&folder.logs(), &mut |_| {}).unwrap().entries, 300);
}

#[test]
fn a_damaged_or_strange_file_is_made_again() {
    let mut folder = Folder::new();
    folder.write(&[decision(0, "deny", json!({}))]);
    fs::write(folder.path().join(FILE), "no database, and long enough to be read as the head of one. ".repeat(20))
        .unwrap();
    assert_eq!(caught(&folder).1, Caught { entries: 1, again: None });
    Connection::open(folder.path().join(FILE)).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(caught(&folder).1, Caught { entries: 1, again: Some(Again::Version) });
    let mut index = caught(&folder).0;
    assert_eq!(index.reindex(&folder.logs(), &mut |_| {}).unwrap(), Caught { entries: 1, again: Some(Again::Asked) });
}

#[test]
fn two_never_write_and_the_second_reads() {
    let mut folder = Folder::new();
    folder.write(&[decision(0, "deny", json!({}))]);
    let mut first = Index::open(folder.path()).unwrap();
    let second = Index::open(folder.path()).unwrap();
    assert!(matches!(second.query(&Query::default()), Err(IndexError::Unfinished)));
    first.catch_up(&folder.logs(), &mut |_| {}).unwrap();
    let mut second = Index::open(folder.path()).unwrap();
    assert!(matches!(second.access(), Access::Read(Bar::Busy)));
    assert!(matches!(second.catch_up(&folder.logs(), &mut |_| {}), Err(IndexError::Barred(Bar::Busy))));
    assert!(matches!(second.reindex(&folder.logs(), &mut |_| {}), Err(IndexError::Barred(Bar::Busy))));
    assert_eq!(page(&second, Query::default()).calls.len(), 1);
    drop(first);
    assert!(matches!(Index::open(folder.path()).unwrap().access(), Access::Write(_)));
}

#[test]
fn calls_of_every_log_are_found_with_their_own_indexes() {
    let mut folder = Folder::new();
    folder.write(&[decision(0, "allow", json!({})), decision(1, "deny", json!({}))]);
    caught(&folder);
    folder.rotate();
    folder.write(&[result(2, 0, json!({})), decision(3, "deny", json!({}))]);
    let (index, _) = caught(&folder);
    let found = page(&index, Query::default());
    let places: Vec<String> = found.calls.iter().map(|call| call.place().to_string()).collect();
    assert_eq!(places, ["0001@2", "0001@0", "0000@1", "0000@0"]);
    assert_eq!(found.calls[1].text("event"), Some("log.begun"));
    let end = found.calls[3].result.as_ref().unwrap();
    assert_eq!((&end["log"], &end["index"]), (&json!(1), &json!(1)));
    assert_eq!(found.checkpoint.origin, "example.com/audit/1");
    let after = |place| index.query(&Query { cursor: Place::parse(place), limit: 1, ..Query::default() });
    assert_eq!(after("0000@1").unwrap().calls[0].index, 0);
    assert_eq!(after("@2").unwrap().calls[0].place().to_string(), "0001@0");
    assert!(matches!(after("0007@1"), Err(IndexError::NoPlace(_))));
    assert!(matches!(after("0000@2"), Err(IndexError::NoPlace(_))));
}

#[test]
fn a_page_goes_on_where_the_last_ended_although_the_log_grew() {
    let mut folder = Folder::new();
    folder.write(&(0..10).map(|seq| decision(seq, "deny", json!({}))).collect::<Vec<_>>());
    let (index, _) = caught(&folder);
    let all = page(&index, Query::default());
    assert_eq!((all.calls.len(), all.next), (10, None));
    let first = page(&index, Query { limit: 4, ..Query::default() });
    drop(index);
    folder.write(&(10..20).map(|seq| decision(seq, "deny", json!({}))).collect::<Vec<_>>());
    let (index, _) = caught(&folder);
    let second =
        page(&index, Query { limit: 4, cursor: first.next, agent: Some("recon-17".into()), ..Query::default() });
    let third = page(&index, Query { limit: 4, cursor: second.next, ..Query::default() });
    let seen: Vec<u64> =
        [first, second, third.clone()].iter().flat_map(|page| &page.calls).map(|call| call.index).collect();
    assert_eq!((seen, third.next), ((0..10).rev().collect(), None));
}

#[test]
fn a_record_is_found_by_its_name_and_proven_to_whoever_has_the_key() {
    let mut folder = Folder::new();
    let entries = [decision(0, "allow", json!({})), result(1, 0, json!({})), decision(7, "deny", json!({"shard": 3}))];
    folder.write(&entries);
    let (index, _) = caught(&folder);
    let logs = folder.logs();
    for (name, found) in [
        (("1795428000000", 0, 0), Some(0)),
        (("1795428000000", 0, 1), Some(1)),
        (("1795428000000", 3, 7), Some(2)),
        (("1795428000000", 0, 2), None),
        (("1795428000000", 3, 1), None),
        (("1", 0, 0), None),
    ] {
        let place = index.find(&logs, name).unwrap();
        assert_eq!(place.map(|place| place.index), found, "{name:?}");
        let Some(at) = found else { continue };
        let proof = logs[0].log.evidence(at).unwrap().unwrap().to_string();
        let entry = logs[0].log.entry(at).unwrap().unwrap();
        assert_eq!(entry, entries[at as usize]);
        let read = Evidence::parse(&proof).unwrap();
        assert_eq!(read.check(&entry, &logs[0].key).unwrap().head.size, 3);
        assert!(read.check(&entries[(at as usize + 1) % 3], &logs[0].key).is_err());
    }
}

#[test]
fn no_member_that_is_a_value_reaches_the_index() {
    let mut folder = Folder::new();
    let canary = "canary-7f3a";
    folder.write(&[
        decision(0, "allow", json!({"arguments": {"a": canary}, "request_id": canary})),
        result(1, 0, json!({"result": {"b": canary}})),
    ]);
    drop(caught(&folder));
    let found = fs::read(folder.path().join(FILE)).unwrap().windows(canary.len()).any(|part| part == canary.as_bytes());
    assert!(!found, "a value is in the index");
}

/// Everything that is in the file, in an order of its own.
pub(super) fn dump(folder: &Folder) -> Vec<String> {
    let db = Connection::open(folder.path().join(FILE)).unwrap();
    let mut rows = Vec::new();
    for table in ["log", "word", "call", "open", "posting", "total", "span", "used", "latency"] {
        let mut all = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = all.column_count();
        let mut found = all.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let mut cells: Vec<String> = (0..columns).map(|at| format!("{:?}", row.get_ref(at).unwrap())).collect();
            if table == "posting" {
                cells[3] = format!("{:?}", posting::positions(row.get(0).unwrap(), &row.get::<_, Vec<u8>>(3).unwrap()));
            }
            rows.push(format!("{table} {}", cells.join(" ")));
        }
    }
    rows.sort();
    rows
}

/// A record of few kinds and few names, so that all that can meet does.
fn record(seq: u64, (kind, of, who): (u8, u64, u8)) -> Vec<u8> {
    let agent = ["a", "b", "c"][usize::from(who) % 3];
    let decided = json!({"agent": agent, "account": format!("x{}", who % 2), "rules": [format!("r{}", who % 4)]});
    match kind {
        0..=3 => decision(seq, "allow", decided),
        4 => decision(seq, "deny", json!({"agent": agent, "cause": "no_rule", "rules": []})),
        5..=7 => result(seq, of, json!({"outcome": (["complete", "error"][usize::from(who) % 2])})),
        8 => leaf("result.begun", seq, json!({"decision_seq": of, "status": 200})),
        9 => result(
            seq,
            of,
            json!({"decision": "deny", "rules": ["r9"], "cause": "result_forbidden", "outcome": "refused"}),
        ),
        10 => leaf(
            "outcome.unknown",
            seq,
            json!({"decision_boot": "1795428000000", "decision_shard": 0, "decision_seq": of}),
        ),
        11 => leaf("agent.suspended", seq, json!({"agent": agent, "actor": "uid 0", "snapshot": 2})),
        12 => b"torn".to_vec(),
        _ => leaf("refusal", seq, json!({"cause": "no_token", "status": 401})),
    }
}

#[test]
fn a_call_of_unknown_outcome_keeps_the_status_that_its_answer_began_with() {
    let unknown = json!({"decision_boot": "1795428000000", "decision_shard": 0, "decision_seq": 0});
    let mut folder = Folder::new();
    for entry in [
        decision(0, "allow", json!({})),
        leaf("result.begun", 1, json!({"decision_seq": 0, "status": 200})),
        leaf("outcome.unknown", 2, unknown),
    ] {
        folder.write(&[entry]);
        caught(&folder);
    }
    let grown = dump(&folder);
    let mut index = Index::open(folder.path()).unwrap();
    index.reindex(&folder.logs(), &mut |_| {}).unwrap();
    drop(index);
    assert_eq!(grown, dump(&folder));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_index_that_grew_is_the_one_that_is_made_at_once(
        kinds in prop::collection::vec((0..14_u8, 0..40_u64, any::<u8>()), 1..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        rotated in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let entries: Vec<Vec<u8>> = kinds.iter().enumerate().map(|(seq, kind)| record(seq as u64, *kind)).collect();
        let rotated = rotated.map(|at| at.index(entries.len()));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(entries.len())).chain(rotated).collect();
        cuts.extend([0, entries.len()]);
        cuts.sort_unstable();
        let mut folder = Folder::new();
        for pair in cuts.windows(2) {
            folder.write(&entries[pair[0]..pair[1]]);
            caught(&folder);
            if rotated == Some(pair[1]) {
                folder.rotate();
            }
        }
        caught(&folder);
        let grown = dump(&folder);
        let mut index = Index::open(folder.path()).unwrap();
        index.reindex(&folder.logs(), &mut |_| {}).unwrap();
        drop(index);
        prop_assert_eq!(grown, dump(&folder));
    }

    #[test]
    fn a_query_finds_what_reading_every_call_finds(
        kinds in prop::collection::vec((0..14_u8, 0..40_u64, any::<u8>()), 1..60),
        facets in prop::collection::vec((0..6_u8, 0..4_u8), 0..3),
        times in (prop::option::of(0..600_i64), prop::option::of(0..600_i64)),
        limit in 1..7_usize,
    ) {
        let mut folder = Folder::new();
        folder.write(&kinds.iter().enumerate().map(|(seq, kind)| record(seq as u64, *kind)).collect::<Vec<_>>());
        let (index, _) = caught(&folder);
        let at = |ms: Option<i64>| ms.map(|ms| UnixMillis(1_795_428_000_000 + ms));
        let mut query = Query { from: at(times.0), to: at(times.1), limit, ..Query::default() };
        for (facet, which) in facets {
            let which = usize::from(which);
            match facet {
                0 => query.agent = Some(["a", "b", "c", "d"][which].into()),
                1 => query.account = Some(["x0", "x1", "x2", "x3"][which].into()),
                2 => query.rule = Some(["r0", "r1", "r9", "no"][which].into()),
                3 => query.decision = Some(["allow", "deny", "allow", "deny"][which].into()),
                4 => query.outcome = Some(["complete", "error", "unknown", "refused"][which].into()),
                _ => query.event = Some(["decision", "refusal", "agent.suspended", "unreadable"][which].into()),
            }
        }
        let has = |call: &Call, name: &str, wanted: &Option<String>| {
            wanted.as_deref().is_none_or(|wanted| call.text(name) == Some(wanted))
        };
        let ends = |call: &Call, name: &str| call.result.as_ref().and_then(|end| end.get(name)).cloned();
        let holds = |call: &Call, wanted: &str| {
            let lists = [call.record.get("rules").cloned(), ends(call, "rules")];
            lists.iter().flatten().filter_map(Value::as_array).flatten().any(|rule| rule == wanted)
        };
        let expected: Vec<u64> = page(&index, Query::default()).calls.iter().filter(|call| {
            let ts = call.record["ts"].as_i64().unwrap();
            has(call, "agent", &query.agent) && has(call, "account", &query.account)
                && has(call, "decision", &query.decision) && has(call, "event", &query.event)
                && query.rule.as_deref().is_none_or(|rule| holds(call, rule))
                && query.outcome.as_deref().is_none_or(|wanted| ends(call, "outcome") == Some(json!(wanted)))
                && query.from.is_none_or(|from| ts >= from.0) && query.to.is_none_or(|to| ts < to.0)
        }).map(|call| call.index).collect();
        let mut found = Vec::new();
        loop {
            let page = index.query(&query).unwrap();
            prop_assert!(page.calls.len() <= limit);
            found.extend(page.calls.iter().map(|call| call.index));
            query.cursor = page.next;
            if page.next.is_none() { break }
        }
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn what_is_under_way_is_told_apart_from_what_is_settled() {
    let mut folder = Folder::new();
    folder.write(&[decision(0, "allow", json!({})), decision(1, "allow", json!({"boot": "2"}))]);
    let (index, _) = caught(&folder);
    let (open, boot) = index.open_calls(10).unwrap();
    assert_eq!((open.len(), boot.as_deref()), (2, Some("2")));
    assert!(open.iter().all(|call| call.state == State::Open));
}
