//! What a permit obliges to: nothing is shown that it hides, nothing counted twice or forgotten, and what cannot be carried out is refused.

use portcullis_tests::audit::{number, text};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::mcp;
use portcullis_tests::setup::{self, Setup};
use portcullis_tests::stream::Events;
use portcullis_tests::upstream::{Received, Upstream, Wire};
use portcullis_tests::wire::{Framing, Request, Response, holds};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::{Value, json};

/// Answers a call with what its argument `result` says.
fn echo(request: &Received, wire: &mut Wire) {
    let result = request.json().pointer("/params/arguments/result").cloned().unwrap_or_default();
    wire.result(request, result);
}

const REDACT: &str = r#"
    @id("hide") @redact("/rows/*/ssn") permit (principal == Agent::"reader", action == Action::"crm.loose", resource);
    @id("plain") permit (principal == Agent::"writer", action == Action::"crm.loose", resource);"#;

/// What the agent gets for a result.
#[track_caller]
fn answered(gateway: &Gateway, agent: &str, result: &Value) -> Response {
    gateway.answer(&gateway.call(agent, "loose", json!({"result": result})))
}

fn rows(ssn: &str) -> Value {
    json!({"rows": [{"name": "ann", "ssn": ssn, "age": 41.0}]})
}

#[test]
fn what_cannot_be_read_is_withheld_and_recorded_as_such() {
    let upstream = Upstream::calls(echo);
    let gateway = Setup::new().server("crm", &upstream, "").policy(REDACT).start();
    for content in [
        json!([{"type": "text", "text": "ann has 078-05-1120"}]),
        json!([{"type": "text", "text": rows("078-05-1120").to_string() + "."}]),
        json!([{"type": "image", "data": "MDc4LTA1LTExMjA=", "mimeType": "image/png"}]),
        json!([{"type": "resource", "resource": {"uri": "a://b", "blob": "MDc4LTA1LTExMjA="}}]),
    ] {
        let result = json!({"resultType": "complete", "content": content});
        let answer = answered(&gateway, "reader", &result);
        assert_eq!((answer.status(), answer.code()), (200, -33403), "given {result}\ngot {}", answer.text());
        assert!(!holds(&answer.body, "05-1120") && !holds(&answer.body, "MDc4"), "{}", answer.text());
        assert!(answered(&gateway, "writer", &result).is_result(), "another agent's permit hides nothing");
    }
    let record = gateway.record(|record| text(record, "cause") == "result_unreadable");
    assert_eq!((text(&record, "event"), text(&record, "outcome")), ("result", "refused"));
    assert_eq!(record["obligations"], json!(["hide"]));
    assert!(gateway.records().iter().all(|record| text(record, "event") != "result"
        || text(record, "agent") == "writer"
        || !record.to_string().contains("05-1120")));
}

#[test]
fn values_are_redacted_in_structured_content_and_in_texts_and_never_recorded() {
    let upstream = Upstream::calls(echo);
    let gateway = Setup::new().server("crm", &upstream, "").policy(REDACT).start();
    let block = |inner: &Value| json!([{"type": "text", "text": inner.to_string()}]);
    let result = json!({"resultType": "complete", "structuredContent": rows("078-05-1120"), "content": block(&rows("078-05-1120"))});
    let answer = answered(&gateway, "reader", &result);
    let clean = rows("[redacted]");
    let expected = json!({"resultType": "complete", "structuredContent": clean, "content": block(&clean)});
    assert_eq!(answer.json()["result"], expected);
    assert!(holds(&answer.body, "41.0"), "numbers keep their bytes: {}", answer.text());
    let decided = gateway.record(|record| text(record, "event") == "decision" && text(record, "agent") == "reader");
    assert_eq!(decided["obligations"], json!(["hide"]));
    let record = gateway.record(|record| text(record, "event") == "result" && text(record, "agent") == "reader");
    assert_eq!((&record["obligations"], &record["result"]["result"]), (&json!(["hide"]), &expected));
    assert_eq!((number(&record, "redactions"), number(&record, "rows_dropped")), (Some(2), Some(0)));
    assert!(!record.to_string().contains("05-1120"), "{record}");
    // Not one byte of what no permit hides is changed, and its record says nothing of obligations.
    assert_eq!(answered(&gateway, "writer", &result).json()["result"], result);
    let record = gateway.record(|record| text(record, "event") == "result" && text(record, "agent") == "writer");
    assert_eq!((record.get("obligations"), record.get("redactions")), (None, None));
}

#[test]
fn a_stream_of_an_obliged_call_brings_no_words_and_a_narrowed_answer() {
    let upstream = Upstream::calls(|request, wire| {
        let progress = json!({"progressToken": 1, "progress": 1, "message": "at 078-05-1120"});
        let log = json!({"level": "info", "data": {"ssn": "078-05-1120"}});
        wire.stream("").event(&mcp::notification("notifications/progress", progress));
        wire.event(&mcp::notification("notifications/message", log));
        let result = match request.json().pointer("/params/arguments/prose") {
            Some(_) => mcp::text_result("078-05-1120"),
            None => json!({"resultType": "complete", "structuredContent": rows("078-05-1120"), "content": []}),
        };
        wire.last_event(request, result);
    });
    let gateway = Setup::new().server("crm", &upstream, "").policy(REDACT).start();
    let mut events = Events::open(gateway.connect(), &gateway.call("reader", "loose", json!({})));
    let progress = json!({"progressToken": 1, "progress": 1, "message": "[redacted]"});
    assert_eq!(events.message(), mcp::notification("notifications/progress", progress));
    let log = json!({"level": "info", "data": "[redacted]"});
    assert_eq!(events.message(), mcp::notification("notifications/message", log));
    assert_eq!(events.message()["result"]["structuredContent"], rows("[redacted]"));
    let ended =
        gateway.record(|record| text(record, "event").starts_with("result") && record.get("redactions").is_some());
    assert_eq!((&ended["obligations"], number(&ended, "redactions")), (&json!(["hide"]), Some(3)));
    // One that cannot be read is answered all the same, so that nobody waits.
    let mut events = Events::open(gateway.connect(), &gateway.call("reader", "loose", json!({"prose": true})));
    let answer = loop {
        let message = events.message();
        assert!(!message.to_string().contains("05-1120"), "{message}");
        if message.get("id").is_some() {
            break message;
        }
    };
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(1), &json!(-33403)));
    let record = gateway.record(|record| text(record, "cause") == "result_unreadable");
    assert_eq!(text(&record, "outcome"), "refused");
}

#[test]
fn rows_are_cut_after_the_smallest_cap() {
    const RULES: &str = r#"
        @id("many") @max_rows("3") permit (principal, action == Action::"crm.loose", resource);
        @id("few") @max_rows("/rows 2") permit (principal in Group::"support", action == Action::"crm.loose", resource);"#;
    let upstream = Upstream::calls(echo);
    let gateway = Setup::new().server("crm", &upstream, "").policy(RULES).start();
    let result = json!({"resultType": "complete", "structuredContent": {"rows": [1, 2, 3, 4, 5]}, "content": []});
    for (agent, expected) in [("reader", json!([1, 2])), ("writer", json!([1, 2, 3]))] {
        let answer = answered(&gateway, agent, &result);
        assert_eq!(answer.json()["result"]["structuredContent"]["rows"], expected, "{agent}");
    }
    let record = gateway.record(|record| number(record, "rows_dropped") == Some(3));
    assert_eq!((text(&record, "agent"), &record["obligations"]), ("reader", &json!(["many", "few"])));
}

#[test]
fn what_a_task_brings_is_narrowed_as_the_call_that_made_it() {
    let upstream = Upstream::start(|request, wire| {
        match request.method().as_str() {
        "tools/call" => drop(wire.result(
            request,
            json!({"resultType": "task", "taskId": "t1", "status": "working", "statusMessage": "at 078-05-1120", "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z", "ttlMs": 60000}),
        )),
        "tasks/get" => {
            let result = json!({"structuredContent": rows("078-05-1120"), "content": []});
            let task = json!({"resultType": "complete", "taskId": "t1", "status": "completed", "statusMessage": "078-05-1120", "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z", "ttlMs": 60000, "result": result});
            wire.result(request, task);
        }
        _ => portcullis_tests::upstream::kind(request, wire),
    }
    });
    let gateway = Setup::new().server("crm", &upstream, "").policy(REDACT).start();
    let made = answered(&gateway, "reader", &json!({}));
    assert_eq!(made.json()["result"]["statusMessage"], json!("[redacted]"), "{}", made.text());
    let got = gateway.answer(&gateway.modern("reader", "crm", &mcp::modern("tasks/get", json!({"taskId": "t1"}))));
    assert_eq!(got.json()["result"]["result"]["structuredContent"], rows("[redacted]"), "{}", got.text());
    assert!(!holds(&got.body, "05-1120"), "{}", got.text());
}

#[test]
fn what_a_session_tells_beside_its_calls_says_nothing_of_them() {
    let upstream = Upstream::start(|request, wire| {
        if request.head.request().0 == "GET" {
            let log = json!({"level": "info", "data": "078-05-1120"});
            wire.stream("").event(&mcp::notification("notifications/message", log)).hang();
        } else if request.method() == "tools/call" {
            echo(request, wire);
        } else {
            portcullis_tests::upstream::kind(request, wire);
        }
    });
    let gateway = Setup::new().server("crm", &upstream, "").policy(REDACT).start();
    for (agent, expected) in [("reader", "[redacted]"), ("writer", "078-05-1120")] {
        let opened = gateway.answer(&gateway.post(agent, "crm", mcp::legacy("initialize", mcp::hello()).to_string()));
        let session = opened.head.field("mcp-session-id").unwrap().to_owned();
        let within = |message: &Value| {
            let request = gateway.post(agent, "crm", message.to_string());
            request.field("Mcp-Session-Id", &session).field("MCP-Protocol-Version", mcp::LEGACY)
        };
        let call = mcp::legacy("tools/call", mcp::call("loose", json!({"result": {"content": []}})));
        assert!(gateway.answer(&within(&call)).is_result());
        let stream = Request { method: "GET".to_owned(), framing: Framing::AsItIs, ..within(&json!({})) };
        let mut events = Events::open(gateway.connect(), &stream.body("").without("Content-Type"));
        assert_eq!(events.message()["params"]["data"], json!(expected), "{agent}");
    }
}

/// How many of these calls in a row pass; the first that does not must be refused with this code.
#[track_caller]
fn passed(gateway: &Gateway, agent: &str, tool: &str, arguments: &Value, code: i64) -> usize {
    for count in 0.. {
        let answer = gateway.answer(&gateway.call(agent, tool, arguments.clone()));
        if !answer.is_result() {
            assert_eq!((answer.status(), answer.code()), (200, code), "{}", answer.text());
            return count;
        }
    }
    unreachable!("a count ends")
}

const RATE: &str = r#"@id("slow") @rate("6/d") permit (principal, action in Action::"call", resource);"#;

#[test]
fn a_rate_holds_over_all_cores_and_for_each_agent_and_tool_alone() {
    let upstream = Upstream::kind();
    let gateway = Setup::new().server("crm", &upstream, "").policy(RATE).start();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut last = None;
    let mut results = 0;
    for call in 0..10 {
        // A connection is served by the core that received it, where there are several.
        let mut only = CpuSet::new();
        only.set(call % 2);
        let _one_core_alone = sched_setaffinity(None, &only);
        let answer = gateway.connect().exchange(&gateway.call("reader", "loose", json!({})));
        results += usize::from(answer.is_result());
        last = Some(answer);
    }
    assert_eq!((results, upstream.called().len()), (6, 6));
    let refused = last.unwrap().json();
    assert_eq!(refused["error"]["code"], json!(-33429));
    let wait = refused["error"]["data"]["retryAfterSeconds"].as_u64().unwrap();
    assert!((1..=14_401).contains(&wait), "a sixth of a day at most: {wait}");
    let shards: std::collections::BTreeSet<u64> =
        gateway.events("decision").iter().filter_map(|record| record["shard"].as_u64()).collect();
    assert!(cores < 2 || shards.len() == 2, "one core served all");
    let record = gateway.record(|record| text(record, "cause") == "rate_exceeded");
    assert_eq!(
        (text(&record, "event"), text(&record, "decision"), &record["rules"]),
        ("decision", "deny", &json!(["slow"]))
    );
    assert_eq!(passed(&gateway, "reader", "bare", &json!({}), -33429), 6);
    assert_eq!(passed(&gateway, "writer", "loose", &json!({}), -33429), 6);
}

#[test]
fn a_rate_survives_a_swap_of_other_rules_and_ends_with_its_own() {
    let upstream = Upstream::kind();
    let gateway = Setup::new().server("crm", &upstream, "").policy(RATE).start();
    assert_eq!(passed(&gateway, "reader", "loose", &json!({}), -33429), 6);
    let apply = |name: &str, rules: &str| {
        setup::put(gateway.folder(), name, rules);
        let applied = gateway.operate(&["policy", "apply"]);
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    };
    apply("policies/09.cedar", r#"forbid (principal, action == Action::"crm.guarded", resource);"#);
    assert_eq!(passed(&gateway, "reader", "loose", &json!({}), -33429), 0);
    apply("policies/00.cedar", &format!("// moved\n\n{RATE}"));
    assert_eq!(passed(&gateway, "reader", "loose", &json!({}), -33429), 0);
    apply("policies/00.cedar", &RATE.replace("6/d", "7/d"));
    assert_eq!(passed(&gateway, "reader", "loose", &json!({}), -33429), 7, "another rate is counted anew");
}

#[test]
fn a_budget_adds_up_what_is_spent_and_survives_a_restart_and_a_crash() {
    const RULES: &str = r#"@id("purse") @budget("/amount 100.5/month") permit (principal, action == Action::"crm.transfer", resource);"#;
    let upstream = Upstream::kind();
    let mut gateway = Setup::new().server("crm", &upstream, "").policy(RULES).start();
    let pay = |amount: Value| json!({"amount": amount, "currency": "EUR", "to": {"id": "a"}, "note": null});
    let check = |gateway: &Gateway, agent: &str, amount: Value, code: i64| {
        let answer = gateway.answer(&gateway.call(agent, "transfer", pay(amount.clone())));
        assert_eq!((answer.status(), answer.code()), (200, code), "{agent} pays {amount}: {}", answer.text());
        answer.json()["error"]["data"]["retryAfterSeconds"].clone()
    };
    for amount in [json!(null), json!("5 EUR"), json!(-1), json!(0.00001), json!(1e300), json!([1])] {
        check(&gateway, "reader", amount, -33403);
    }
    assert_eq!(text(&gateway.refusal("amount_unreadable"), "decision"), "deny");
    assert_eq!(check(&gateway, "reader", json!(100.51), -33429), Value::Null, "no waiting helps");
    check(&gateway, "reader", json!(60.25), 0);
    assert!(check(&gateway, "reader", json!(40.26), -33429).is_u64());
    check(&gateway, "reader", json!("30"), 0);
    assert_eq!(upstream.called().len(), 2);
    assert_eq!(gateway.refusal("budget_exceeded")["rules"], json!(["purse"]));
    gateway.terminate();
    assert!(gateway.ended().success());
    let mut gateway = gateway.restart();
    check(&gateway, "reader", json!(10.26), -33429);
    check(&gateway, "writer", json!(100.5), 0);
    // A crash forgets at most what was spent since the last write; so the write is waited for.
    let file = gateway.folder().join("history/limits.json");
    let spent = || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("1005000"));
    let begun = std::time::Instant::now();
    while !spent() {
        assert!(begun.elapsed() < portcullis_tests::CEILING, "it is not written");
        std::thread::park_timeout(std::time::Duration::from_millis(25));
    }
    gateway.kill();
    let gateway = gateway.restart();
    check(&gateway, "writer", json!(0.0001), -33429);
    check(&gateway, "reader", json!(10.25), 0);
    check(&gateway, "reader", json!(0.0001), -33429);
}

#[test]
fn counts_that_cannot_be_read_keep_the_gateway_from_starting() {
    let upstream = Upstream::kind();
    let mut gateway = Setup::new().server("crm", &upstream, "").policy(RATE).start();
    assert_eq!(passed(&gateway, "reader", "loose", &json!({}), -33429), 6);
    gateway.terminate();
    assert!(gateway.ended().success());
    setup::put(gateway.folder(), "history/limits.json", "{");
    let said = gateway.operate(&["run"]);
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.status.success() && words.contains("rates and budgets") && words.contains("limits.json"), "{words}");
}

#[test]
fn a_route_that_only_observes_notes_what_a_rate_would_refuse() {
    let upstream = Upstream::kind();
    let gateway = Setup::new().server("crm", &upstream, "mode = \"observe\"").policy(RATE).start();
    for _ in 0..7 {
        assert!(gateway.answer(&gateway.call("reader", "loose", json!({}))).is_result());
    }
    let record = gateway.record(|record| text(record, "cause") == "rate_exceeded");
    assert_eq!((text(&record, "decision"), &record["rules"]), ("observed_deny", &json!(["slow"])));
}

#[test]
fn a_route_that_only_observes_still_redacts_what_a_noted_denial_brings() {
    let upstream = Upstream::calls(echo);
    let rules = REDACT
        .replace("resource);\n    @id(\"plain\")", "resource) when { context.source.isIpv6() };\n    @id(\"plain\")");
    let gateway = Setup::new().server("crm", &upstream, "mode = \"observe\"").policy(&rules).start();
    let answer =
        answered(&gateway, "reader", &json!({"resultType": "complete", "structuredContent": rows("078-05-1120")}));
    assert_eq!(answer.json()["result"]["structuredContent"], rows("[redacted]"), "{}", answer.text());
    gateway.record(|record| text(record, "decision") == "observed_deny");
}

#[test]
fn an_annotation_that_cannot_be_carried_out_keeps_the_rules_from_loading() {
    let upstream = Upstream::kind();
    for (rules, expected) in [
        (
            r#"@rate("fast") permit (principal, action in Action::"call", resource);"#,
            "`fast` is no rate; write calls and unit",
        ),
        (
            r#"@redakt("/a") permit (principal, action in Action::"call", resource);"#,
            "unknown annotation `@redakt`; did you mean `redact`?",
        ),
        (r#"@redact("/a") forbid (principal, action in Action::"call", resource);"#, "`@redact` stands on a forbid"),
        (r#"@redact("/a") permit (principal, action, resource);"#, "this rule also covers `connect`"),
    ] {
        let refused = Setup::new().server("crm", &upstream, "").policy(rules).refused();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(expected), "given {rules}\ngot {said}");
        assert!(said.contains("policies/00.cedar:1"), "{said}");
    }
}
