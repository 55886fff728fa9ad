//! Rules over results: what they forbid is never released, however it comes; what they cannot read neither; and what no rule is about passes untouched.

use portcullis_tests::audit::text;
use portcullis_tests::gateway::Gateway;
use portcullis_tests::mcp;
use portcullis_tests::setup::{Setup, put};
use portcullis_tests::stream::{Events, Next};
use portcullis_tests::upstream::{Received, Upstream, Wire, kind};
use portcullis_tests::wire::{Framing, Request, Response, holds};
use serde_json::{Value, json};

/// Two tools: one declares what it returns.
fn tools() -> Vec<Value> {
    let text = json!({"type": "string"});
    let output =
        json!({"type": "object", "required": ["total"], "properties": {"total": {"type": "integer"}, "note": text}});
    let mut report = mcp::tool("report", json!({"type": "object", "properties": {"table": text}}));
    report["outputSchema"] = output;
    vec![report, mcp::tool("loose", json!({"type": "object"}))]
}

const RULES: &str = r#"@id("all") permit (principal, action in Action::"call", resource);
@id("small") forbid (principal in Group::"support", action == Action::"crm.report", resource)
when { context.output.total > 100 || context.output has note && context.output.note == "secret" };"#;

/// Answers a call with what its argument `result` says.
fn echo(request: &Received, wire: &mut Wire) {
    let argument = |name: &str| request.json().pointer(&format!("/params/arguments/{name}")).cloned();
    match argument("error") {
        Some(error) => drop(wire.json(200, "", &json!({"jsonrpc": "2.0", "id": request.id(), "error": error}))),
        None => drop(wire.result(request, argument("result").unwrap_or_default())),
    }
}

fn start(upstream: &Upstream, rules: &str) -> Gateway {
    Setup::new().server("crm", upstream, "").catalogue("crm", &tools()).policy(rules).start()
}

#[track_caller]
fn answered(gateway: &Gateway, agent: &str, result: &Value) -> Response {
    gateway.answer(&gateway.call(agent, "report", json!({"result": result})))
}

/// What a verb printed, and its exit code.
fn read(gateway: &Gateway, words: &[&str]) -> (Option<i32>, String) {
    let output = gateway.operate(words);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

fn block(text: &str) -> Value {
    json!([{"type": "text", "text": text}])
}

#[test]
fn what_a_rule_forbids_or_cannot_read_is_withheld_recorded_counted_and_explained() {
    let upstream = Upstream::calls(echo);
    let gateway = start(&upstream, RULES);
    let large = json!({"total": 86753091});
    let rows = [
        (json!({"structuredContent": large, "content": block(&large.to_string())}), "result_forbidden"),
        (json!({"structuredContent": large, "content": [], "isError": true}), "result_forbidden"),
        (
            json!({"structuredContent": {"total": 1, "note": "secret"}, "content": block("86753091")}),
            "result_forbidden",
        ),
        (json!({"structuredContent": large, "taskId": "86753091"}), "result_forbidden"),
        (json!({"content": block(&large.to_string())}), "result_unstructured"),
        (json!({"content": block("it is 86753091"), "structuredContent": null}), "result_unstructured"),
        (json!({"content": block("it is 86753091"), "taskId": "t"}), "result_unstructured"),
        (json!({"structuredContent": {"note": "86753091"}, "content": []}), "result_rule_error"),
        (json!({"structuredContent": {"total": "86753091"}, "content": []}), "result_mistyped"),
        (json!({"structuredContent": {"total": 1, "Total": 86753091}, "content": []}), "result_mistyped"),
        (json!({"structuredContent": [86753091], "content": []}), "result_mistyped"),
        (
            json!({"resultType": "input_required", "requestState": "86753091", "inputRequests": {"a": {"method": "elicitation/create", "params": {"message": "86753091?"}}}}),
            "result_unstructured",
        ),
        // The rules have it pass, and what they could not read beside it has it withheld.
        (
            json!({"structuredContent": {"total": 1}, "content": [{"type": "image", "data": "86753091", "mimeType": "image/png"}]}),
            "result_unreadable",
        ),
    ];
    for (result, cause) in &rows {
        let answer = answered(&gateway, "reader", result);
        assert_eq!((answer.status(), answer.code()), (200, -33403), "given {result}\ngot {}", answer.text());
        assert!(!holds(&answer.body, "86753091"), "given {result}\ngot {}", answer.text());
        let seen = |record: &Value| text(record, "cause") == *cause && text(record, "agent") == "reader";
        let record = gateway.record(seen);
        assert_eq!((text(&record, "event"), text(&record, "outcome")), ("result", "refused"), "{record}");
        if result.get("inputRequests").is_none() {
            assert_eq!(answered(&gateway, "writer", result).json()["result"], *result, "no rule is about this agent");
        }
    }
    let withheld = |record: &Value| text(record, "event") == "result" && text(record, "decision") == "deny";
    let record = gateway.record(|record| withheld(record) && text(record, "cause") == "result_forbidden");
    assert_eq!((&record["rules"], &record["obligations"]), (&json!(["small"]), &json!(["small"])));
    let records = gateway.records();
    assert!(
        records
            .iter()
            .filter(|record| text(record, "agent") == "reader")
            .all(|record| { text(record, "event") != "result" || !record.to_string().contains("86753091") })
    );
    assert_eq!(gateway.metric("portcullis_results_withheld_total"), (rows.len() - 1) as f64);
    assert_eq!(gateway.metric("portcullis_policy_slow_total"), rows.len() as f64, "other agents' calls cost nothing");
    let decided = gateway.record(|record| text(record, "event") == "decision" && text(record, "agent") == "reader");
    assert_eq!((text(&decided, "decision"), &decided["obligations"]), ("allow", &json!(["small"])));
    let id = format!("{}-{}-{}", text(&record, "boot"), record["shard"], record["seq"]);
    let (end, page) = read(&gateway, &["audit", "why", &id]);
    assert_eq!(end, Some(0), "{page}");
    for words in [
        "rule      permit all",
        "result    withheld: result_forbidden",
        "by        forbid small  /",
        "policies/00.cedar:2",
        "context.output.total > 100",
    ] {
        assert!(page.contains(words), "no `{words}` in\n{page}");
    }
    let (_, tail) = read(&gateway, &["audit", "tail", "-n", "100"]);
    assert!(tail.contains("refused cause=result_forbidden rule=small"), "{tail}");
}

#[test]
fn what_passes_says_nothing_that_no_rule_could_read() {
    let upstream = Upstream::calls(echo);
    let gateway = start(&upstream, RULES);
    let content = json!({"total": 100, "note": "open"});
    let hidden = block("[redacted]");
    for (result, expected) in [
        (json!({"structuredContent": content, "content": []}), json!({"structuredContent": content, "content": []})),
        (
            json!({"structuredContent": content, "content": block("{\"note\": \"open\", \"total\": 100}")}),
            json!({"structuredContent": content, "content": block("{\"note\": \"open\", \"total\": 100}")}),
        ),
        (
            json!({"structuredContent": content, "content": block("{\"total\": 86753091}"), "extra": "86753091"}),
            json!({"structuredContent": content, "content": hidden, "extra": "[redacted]"}),
        ),
        (
            json!({"structuredContent": content, "content": block("it is 86753091")}),
            json!({"structuredContent": content, "content": hidden}),
        ),
        (
            json!({"isError": true, "content": block("86753091 is too much")}),
            json!({"isError": true, "content": hidden}),
        ),
    ] {
        let answer = answered(&gateway, "reader", &result);
        assert_eq!(answer.json()["result"], expected, "given {result}\ngot {}", answer.text());
    }
    let error = json!({"code": -32000, "message": "86753091 is too much", "data": 86753091});
    let answer = gateway.answer(&gateway.call("reader", "report", json!({"error": error})));
    assert_eq!(answer.json()["error"], json!({"code": -32000, "message": "[redacted]", "data": "[redacted]"}));
    // Of a tool that no rule over results covers not a byte is changed.
    let result = json!({"content": block("86753091"), "extra": {"total": 86753091}});
    let answer = gateway.answer(&gateway.call("reader", "loose", json!({"result": result})));
    assert_eq!(answer.json()["result"], result);
}

#[test]
fn a_stream_brings_no_words_and_no_result_that_a_rule_forbids() {
    let upstream = Upstream::calls(|request, wire| {
        let progress = json!({"progressToken": 1, "progress": 1, "message": "at 86753091"});
        wire.stream("").event(&mcp::notification("notifications/progress", progress));
        let log = json!({"level": "info", "data": {"total": 86753091}});
        wire.event(&mcp::notification("notifications/message", log));
        let result = request.json().pointer("/params/arguments/result").cloned().unwrap_or_default();
        wire.last_event(request, result);
    });
    let gateway = start(&upstream, RULES);
    let result = |total: u64| json!({"resultType": "complete", "structuredContent": {"total": total}, "content": []});
    for (total, code) in [(86753091, json!(-33403)), (7, Value::Null)] {
        let call = gateway.call("reader", "report", json!({"result": result(total)}));
        let mut events = Events::open(gateway.connect(), &call);
        let progress = json!({"progressToken": 1, "progress": 1, "message": "[redacted]"});
        assert_eq!(events.message(), mcp::notification("notifications/progress", progress));
        let log = json!({"level": "info", "data": "[redacted]"});
        assert_eq!(events.message(), mcp::notification("notifications/message", log));
        let answer = events.message();
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(1), &code), "{answer}");
        assert!(!answer.to_string().contains("86753091"), "{answer}");
        assert_eq!(events.next_event(), Next::End);
    }
    let record = gateway.record(|record| text(record, "decision") == "deny");
    // It is recorded whole where all of it came at once.
    assert!(text(&record, "event").starts_with("result") && text(&record, "outcome") == "refused", "{record}");
    assert_eq!((text(&record, "cause"), &record["rules"]), ("result_forbidden", &json!(["small"])));
    assert_eq!(gateway.metric("portcullis_results_withheld_total"), 1.0);
}

/// A message within a session.
fn within(gateway: &Gateway, session: &str, message: &Value) -> Request {
    let request = gateway.post("reader", "crm", message.to_string());
    request.field("Mcp-Session-Id", session).field("MCP-Protocol-Version", mcp::LEGACY)
}

#[test]
fn a_resumed_stream_brings_no_result_that_a_rule_forbids() {
    let upstream = Upstream::start(|request, wire| {
        if request.head.request().0 == "GET" {
            let answer = |id: u64, total: u64| {
                let result = json!({"structuredContent": {"total": total}, "content": []});
                format!("id: {id}\ndata: {}\n\n", json!({"jsonrpc": "2.0", "id": id, "result": result}))
            };
            wire.stream("").chunk(answer(41, 86753091)).chunk(answer(42, 7)).chunk(answer(43, 7)).hang();
        } else if request.method() == "tools/call" {
            wire.stream("").chunk("id: 7\ndata:\n\n").end();
        } else {
            kind(request, wire);
        }
    });
    let rules = r#"permit (principal, action in Action::"call", resource);
        forbid (principal, action == Action::"crm.report", resource)
        when { context.input has table && context.input.table == "x" && context.output.total > 100 };"#;
    let gateway = start(&upstream, rules);
    let opened = gateway.answer(&gateway.post("reader", "crm", mcp::legacy("initialize", mcp::hello()).to_string()));
    let session = opened.head.field("mcp-session-id").unwrap().to_owned();
    for (id, arguments) in
        [(41, json!({"table": "x"})), (42, json!({"table": "x"})), (43, json!({"table": "x".repeat(5_000)}))]
    {
        let mut call = mcp::legacy("tools/call", mcp::call("report", arguments));
        call["id"] = json!(id);
        let mut events = Events::open(gateway.connect(), &within(&gateway, &session, &call));
        assert_eq!(events.next_event(), Next::Event("id: 7\ndata:".to_owned()));
        assert_eq!(events.next_event(), Next::End);
    }
    let get = Request { method: "GET".to_owned(), framing: Framing::AsItIs, ..within(&gateway, &session, &json!({})) };
    let get = get.body("").without("Content-Type").field("Last-Event-ID", "7");
    let mut events = Events::open(gateway.connect(), &get);
    let words = |answer: Value| {
        format!("{} {} {}", answer["id"], answer["error"]["code"], answer["result"]["structuredContent"])
    };
    assert_eq!(words(events.message()), "41 -33403 null");
    assert_eq!(words(events.message()), r#"42 null {"total":7}"#);
    // The rules read arguments that were too long to keep.
    assert_eq!(words(events.message()), "43 -33403 null");
}

#[test]
fn what_a_task_brings_meets_the_rules_with_the_arguments_of_its_call() {
    let upstream = Upstream::start(|request, wire| {
        let argument = request.json().pointer("/params/arguments/table").cloned().unwrap_or_default();
        let name = argument.as_str().and_then(|table| table.get(..4)).unwrap_or("none");
        let task = |id: &str, status: &str| json!({"resultType": "task", "taskId": id, "status": status, "statusMessage": "86753091", "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z", "ttlMs": 60000});
        match request.method().as_str() {
            "tools/call" => drop(wire.result(request, task(name, "working"))),
            "tasks/get" => {
                let id = request.json()["params"]["taskId"].as_str().unwrap_or_default().to_owned();
                let mut ended = task(&id, "completed");
                ended["resultType"] = json!("complete");
                ended["result"] = json!({"structuredContent": {"total": 86753091}, "content": []});
                wire.result(request, ended);
            }
            _ => kind(request, wire),
        }
    });
    let rules = r#"permit (principal, action in Action::"call", resource);
        @id("orders") forbid (principal, action == Action::"crm.report", resource)
        when { context.input has table && context.input.table == "orders" && context.output.total > 100 };"#;
    let gateway = start(&upstream, rules);
    // One connection stays on one core, whose records stand in the order of its calls.
    let mut client = gateway.connect();
    for (arguments, task, code) in [
        (json!({"table": "orders"}), "orde", json!(-33403)),
        (json!({"table": "customers"}), "cust", Value::Null),
        (json!({}), "none", Value::Null),
        (json!({"table": "long".repeat(2_000)}), "long", json!(-33403)),
    ] {
        let made = client.exchange(&gateway.call("reader", "report", arguments.clone()));
        assert_eq!(made.json()["result"]["taskId"], json!(task), "{}", made.text());
        assert!(!holds(&made.body, "86753091"), "{}", made.text());
        let got = client.exchange(&gateway.modern("reader", "crm", &mcp::modern("tasks/get", json!({"taskId": task}))));
        assert_eq!(got.json()["error"]["code"], code, "{arguments}: {}", got.text());
        assert_eq!(holds(&got.body, "86753091"), code.is_null(), "{}", got.text());
    }
    let causes: Vec<Value> =
        gateway.events("result").iter().filter_map(|record| record.get("cause").cloned()).collect();
    assert_eq!(causes, [json!("result_forbidden"), json!("result_call_unreadable")]);
}

#[test]
fn a_route_that_only_observes_notes_what_it_would_withhold_and_changes_nothing() {
    let upstream = Upstream::calls(echo);
    let setup = Setup::new().server("crm", &upstream, "mode = \"observe\"").catalogue("crm", &tools());
    let gateway = setup.policy(RULES).start();
    for result in [
        json!({"structuredContent": {"total": 86753091}, "content": block("it is 86753091")}),
        json!({"content": block("it is 86753091")}),
    ] {
        assert_eq!(answered(&gateway, "reader", &result).json()["result"], result);
    }
    for cause in ["result_forbidden", "result_unstructured"] {
        let record = gateway.record(|record| text(record, "cause") == cause);
        assert_eq!((text(&record, "event"), text(&record, "outcome")), ("result", "complete"));
        assert_eq!((text(&record, "decision"), &record["rules"]), ("observed_deny", &json!(["small"])));
    }
    assert_eq!(gateway.metric("portcullis_results_withheld_total"), 0.0);
    assert_eq!(gateway.metric("portcullis_decisions_observed_denied_total"), 2.0);
}

#[test]
fn a_new_rule_over_results_ends_a_stream_that_began_without_it() {
    let upstream = Upstream::calls(|_, wire| {
        let progress = json!({"progressToken": 1, "progress": 1});
        wire.stream("").event(&mcp::notification("notifications/progress", progress)).hang();
    });
    let (permit, forbid) = RULES.split_once('\n').unwrap();
    let gateway = start(&upstream, permit);
    let mut events = Events::open(gateway.connect(), &gateway.call("reader", "report", json!({})));
    assert_eq!(text(&events.message(), "method"), "notifications/progress");
    put(gateway.folder(), "policies/01.cedar", forbid);
    let (end, page) = read(&gateway, &["policy", "apply"]);
    assert_eq!(end, Some(0), "{page}");
    assert_eq!(events.next_event(), Next::End);
    assert_eq!(text(&gateway.record(|record| text(record, "outcome") == "revoked"), "event"), "result.ended");
}

#[test]
fn cases_and_explanations_take_an_output() {
    let upstream = Upstream::kind();
    let gateway = start(&upstream, RULES);
    let case = |output: &str, expect: &str| {
        format!("[[case]]\nagent = \"reader\"\ntool = \"crm.report\"\n{output}\nexpect = {expect}\n")
    };
    let cases = [
        case("", "\"allow\""),
        case("output = { total = 100 }", "\"allow\"\nrule = \"all\""),
        case("output = { total = 101 }", "\"deny\"\nrule = \"small\"\nreason = \"result_forbidden\""),
        case("output = { total = 1, note = \"secret\" }", "\"deny\"\nreason = \"result_forbidden\""),
        case("output = { total = \"1\" }", "\"deny\"\nreason = \"result_mistyped\""),
        case("output = {}", "\"deny\"\nreason = \"result_rule_error\""),
    ];
    put(gateway.folder(), "cases.toml", &cases.concat());
    let (end, page) = read(&gateway, &["policy", "test", "cases.toml"]);
    assert!(end == Some(0) && page.contains("6 passed, 0 failed"), "{page}");
    put(gateway.folder(), "cases.toml", &case("output = { total = 101 }", "\"allow\""));
    let (end, page) = read(&gateway, &["policy", "test", "cases.toml"]);
    assert!(end == Some(1) && page.contains("deny, result_forbidden, by small"), "{page}");
    let ask = ["policy", "explain", "--agent", "reader", "--tool", "crm.report"];
    for live in [&[][..], &["--live"]] {
        for (output, words) in [
            (&[][..], &["ALLOW", "result    is judged by forbid small"][..]),
            (
                &["--output", r#"{"total": 5}"#],
                &["ALLOW", "not       forbid small", "does not hold", "context.output.total = 5"],
            ),
            (&["--output", r#"{"total": 101}"#], &["DENY", "result_forbidden", "rule      forbid small"]),
            (
                &["--output", r#"{"total": []}"#],
                &["DENY", "result_mistyped", "the member `/total` of the output cannot be read"],
            ),
        ] {
            let (end, page) = read(&gateway, &[&ask[..], output, live].concat());
            assert_eq!(end, Some(0), "{page}");
            for words in words {
                assert!(page.contains(words), "no `{words}` in\n{page}");
            }
        }
    }
    let (end, page) = read(&gateway, &[&ask[..], &["--output", "{"]].concat());
    assert!(end != Some(0) && page.contains("the output is no JSON"), "{page}");
    let (_, page) = read(&gateway, &["policy", "explain", "--slow"]);
    assert!(page.contains("small") && page.contains("it reads the result"), "{page}");
    let (_, page) = read(&gateway, &["policy", "replay"]);
    assert!(page.contains("rules over results are not"), "{page}");
}
