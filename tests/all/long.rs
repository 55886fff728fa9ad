//! Long results that pass unread because their tool says so: the same bytes, recorded before they end, and nothing else with them.

use std::time::Duration;

use portcullis_tests::audit::{self, number, text};
use portcullis_tests::client::{Client, Ended};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::mcp;
use portcullis_tests::setup::{Setup, Tls};
use portcullis_tests::upstream::{Gate, Received, Upstream, Wire};
use portcullis_tests::wire::{Length, holds};
use serde_json::{Value, json};

/// Results of `loose` pass with their beginning read; no other tool's do.
const ENVELOPE: &str = "inspect = \"envelope\"\ncapture = { result = \"size\" }";

const KIB: usize = 1024;

fn open(upstream: &Upstream) -> Setup {
    Setup::open(upstream).tool("crm.loose", ENVELOPE)
}

fn call(gateway: &Gateway, arguments: Value) -> portcullis_tests::wire::Request {
    gateway.call("reader", "loose", arguments)
}

/// A result of about `bytes`, of which every part differs from every other.
fn result(id: &Value, bytes: usize) -> String {
    let lines: String = (0..bytes / 8).map(|line| format!("{line:07} ")).collect();
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{lines}"}}]}}}}"#)
}

fn head(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n")
}

fn wanted(request: &Received, name: &str) -> usize {
    let value = request.json().pointer(&format!("/params/arguments/{name}")).and_then(Value::as_u64);
    value.and_then(|value| usize::try_from(value).ok()).unwrap_or_default()
}

/// Answers with as much as the argument `bytes` says.
fn sized(request: &Received, wire: &mut Wire) {
    let body = result(&request.id(), wanted(request, "bytes"));
    wire.send(head(body.len())).send(body);
}

/// Sends the argument `first` of the bytes of a result of the argument `bytes`, and calls what is next.
fn cut(request: &Received, wire: &mut Wire, then: impl FnOnce(&mut Wire, &str)) {
    let body = result(&request.id(), wanted(request, "bytes"));
    let (first, rest) = body.split_at(wanted(request, "first"));
    wire.send(head(body.len())).send(first);
    then(wire, rest);
}

/// An upstream whose answers wait behind their beginning; `then` gets the rest once the gate is open.
fn gated(then: impl Fn(&mut Wire, &str) + Send + Sync + 'static) -> (Gate, Upstream) {
    let gate = Gate::default();
    let at_script = gate.clone();
    let upstream = Upstream::calls(move |request, wire| {
        cut(request, wire, |wire, rest| {
            at_script.pass();
            then(wire, rest);
        });
    });
    (gate, upstream)
}

/// Sends what was held back.
fn all(wire: &mut Wire, rest: &str) {
    wire.send(rest);
}

/// The one record of an end.
fn end(gateway: &Gateway) -> Value {
    gateway.record(|record| record["event"] == json!("result.ended"))
}

#[test]
fn an_upstream_that_ends_early_has_the_answer_broken_off() {
    let upstream = Upstream::calls(|request, wire| cut(request, wire, |wire, _| wire.close()));
    let gateway = open(&upstream).start();
    let mut client = gateway.connect();
    client.send(call(&gateway, json!({"bytes": 1024 * KIB, "first": 500 * KIB})).bytes());
    let Length::Bytes(length) = client.head().length() else { panic!("an answer with its length") };
    assert!(length > 1024 * KIB);
    let (got, ended) = client.rest();
    assert_eq!(ended, Ended::Closed);
    let end = end(&gateway);
    assert_eq!(text(&end, "outcome"), "upstream_failed", "{end}");
    assert_eq!(number(&end, "result_bytes"), Some(got.len() as u64), "the size is what was released: {end}");
    assert!(got.len() <= 500 * KIB && !got.is_empty());
}

#[test]
fn what_follows_the_length_is_neither_released_nor_taken_for_the_next_answer() {
    let upstream = Upstream::calls(|request, wire| {
        sized(request, wire);
        let forged = json!({"jsonrpc": "2.0", "id": request.id(), "result": mcp::text_result("forged")}).to_string();
        wire.send(head(forged.len())).send(forged);
    });
    let gateway = open(&upstream).start();
    let mut client = gateway.connect();
    for bytes in [40 * KIB, 300 * KIB, 2048 * KIB] {
        for _ in 0..3 {
            let answer = client.exchange(&call(&gateway, json!({"bytes": bytes})));
            assert_eq!(answer.body, result(&answer.json()["id"], bytes).into_bytes(), "{bytes}");
            upstream.wait_closed(upstream.requests().last().unwrap().connection);
        }
    }
    assert_eq!(upstream.requests().len(), upstream.connections());
}

#[test]
fn an_upstream_that_stalls_is_cut_off_when_the_time_of_a_call_is_over() {
    let upstream = Upstream::calls(|request, wire| cut(request, wire, |wire, _| wire.hang()));
    let gateway = open(&upstream).timeouts("total = \"1s\"\nfirst_byte = \"1s\"").start();
    let mut client = gateway.connect();
    client.send(call(&gateway, json!({"bytes": 1024 * KIB, "first": 300 * KIB})).bytes());
    client.head();
    let (got, ended) = client.rest();
    assert_eq!(ended, Ended::Closed);
    let end = end(&gateway);
    assert_eq!((text(&end, "outcome"), number(&end, "result_bytes")), ("upstream_failed", Some(got.len() as u64)));
}

#[test]
fn an_upstream_that_marks_a_byte_as_urgent_has_the_answer_broken_off() {
    let upstream = Upstream::calls(|request, wire| {
        cut(request, wire, |wire, rest| {
            wire.urgent(b'x').send(rest);
        })
    });
    let gateway = open(&upstream).start();
    let mut client = gateway.connect();
    client.send(call(&gateway, json!({"bytes": 1024 * KIB, "first": 300 * KIB})).bytes());
    client.head();
    let (got, ended) = client.rest();
    assert_eq!(ended, Ended::Closed);
    let end = end(&gateway);
    assert_eq!(
        (text(&end, "outcome"), number(&end, "result_bytes")),
        ("upstream_failed", Some(got.len() as u64)),
        "{end}"
    );
}

#[test]
fn a_suspended_agent_gets_no_more_of_what_was_read_whole_either() {
    let upstream = Upstream::calls(sized);
    let gateway = Setup::open(&upstream).start();
    let mut client = gateway.connect();
    client.send(call(&gateway, json!({"bytes": 30 * KIB * KIB})).bytes());
    let Length::Bytes(length) = client.head().length() else { panic!("an answer with its length") };
    client.take(64 * KIB);
    assert!(gateway.operate(&["agent", "suspend", "reader"]).status.success());
    gateway.wait_metric("portcullis_connections_open", 0.0);
    let (got, ended) = client.rest();
    assert_eq!(ended, Ended::Closed);
    assert!(got.len() < length - 64 * KIB, "{} of {length}", got.len());
}

#[test]
fn an_agent_that_stops_reading_is_let_go_of() {
    let upstream = Upstream::calls(sized);
    let gateway = open(&upstream).timeouts("write = \"1s\"").start();
    let mut client = gateway.connect();
    client.send(call(&gateway, json!({"bytes": 30 * KIB * KIB})).bytes());
    let end = end(&gateway);
    assert_eq!(text(&end, "outcome"), "cancelled", "{end}");
    upstream.wait_closed(0);
    gateway.wait_metric("portcullis_connections_open", 0.0);
    drop(client);
}

#[test]
fn an_agent_that_leaves_ends_the_transfer() {
    let (gate, upstream) = gated(|wire, _| wire.hang());
    let gateway = open(&upstream).start();
    let mut client = gateway.connect();
    client.send(call(&gateway, json!({"bytes": 1024 * KIB, "first": 300 * KIB})).bytes());
    client.head();
    client.reset();
    let end = end(&gateway);
    assert_eq!(text(&end, "outcome"), "cancelled", "{end}");
    gate.open();
    upstream.wait_closed(0);
}

#[test]
fn a_suspended_agent_gets_no_more_of_it() {
    let (gate, upstream) = gated(all);
    let gateway = open(&upstream).start();
    let mut client = gateway.connect();
    client.send(call(&gateway, json!({"bytes": 1024 * KIB, "first": 300 * KIB})).bytes());
    client.head();
    assert!(gateway.operate(&["agent", "suspend", "reader"]).status.success());
    let (got, _) = client.rest();
    let end = end(&gateway);
    assert_eq!((text(&end, "outcome"), number(&end, "result_bytes")), ("revoked", Some(got.len() as u64)));
    assert!(got.len() <= 300 * KIB);
    gate.open();
    upstream.wait_closed(0);
}

#[test]
fn the_last_bytes_wait_for_the_record_of_the_end() {
    let (gate, upstream) = gated(all);
    let gateway = open(&upstream).start();
    let mut client = gateway.connect();
    client.send(call(&gateway, json!({"bytes": 400 * KIB, "first": 300 * KIB})).bytes());
    let Length::Bytes(length) = client.head().length() else { panic!("an answer with its length") };
    assert_eq!(gateway.events("result.begun").len(), 1, "the beginning is in the log before the first byte");
    client.take(100 * KIB);
    assert_eq!(gateway.events("result.ended").len(), 0);
    gate.open();
    client.take(length - 100 * KIB);
    let ended = gateway.events("result.ended");
    assert_eq!(ended.len(), 1, "the end is in the log before the last byte");
    assert_eq!(number(&ended[0], "result_bytes"), Some(length as u64));
}

#[test]
fn a_crash_in_the_middle_leaves_a_log_that_says_so() {
    let (gate, upstream) = gated(|_, _| {});
    let mut gateway = open(&upstream).start();
    let mut client = gateway.connect();
    client.send(call(&gateway, json!({"bytes": 1024 * KIB, "first": 300 * KIB})).bytes());
    client.head();
    gateway.kill();
    gate.open();
    let (got, _) = client.rest();
    assert!(got.len() <= 300 * KIB);
    let gateway = gateway.restart();
    assert_eq!((gateway.events("result.begun").len(), gateway.events("result.ended").len()), (1, 0));
    audit::verify_whole(&gateway.audit_folder());
}

#[test]
fn what_does_not_begin_like_the_answer_is_read_whole_and_judged_as_ever() {
    let upstream = Upstream::calls(|request, wire| {
        let spelled =
            request.json().pointer("/params/arguments/body").and_then(Value::as_str).unwrap_or_default().to_owned();
        let long = "a".repeat(wanted(request, "bytes"));
        let body = spelled.replace("{id}", &request.id().to_string()).replace("{long}", &long);
        wire.send(head(body.len())).send(body);
    });
    let quiet = "forbid(principal, action == Action::\"upstream.sample\", resource);";
    let gateway = open(&upstream).policy(quiet).start();
    // One connection stays on one core, whose records stand in the order of its calls.
    let mut client = gateway.connect();
    for bytes in [40 * KIB, 300 * KIB] {
        for body in [
            // Another call's answer.
            r#"{"jsonrpc":"2.0","id":99,"result":{"content":[{"type":"text","text":"{long}"}]}}"#,
            r#"{"jsonrpc":"2.0","id":"{id}","result":{"content":[{"type":"text","text":"{long}"}]}}"#,
            // A question to the agent that nobody permitted, before and in the result.
            r#"{"jsonrpc":"2.0","id":{id},"method":"elicitation/create","params":{"message":"{long}"}}"#,
            r#"{"jsonrpc":"2.0","id":{id},"result":{"resultType":"input_required","inputRequests":{"a":{"method":"sampling/createMessage","params":{}}},"content":[{"type":"text","text":"{long}"}]}}"#,
            r#"{"jsonrpc":"2.0","id":{id},"result":{"inputRequests":{"a":{"method":"sampling/createMessage","params":{}}},"content":[{"type":"text","text":"{long}"}]}}"#,
            // No sound JSON, or none that every reader takes alike.
            r#"{"jsonrpc":"2.0","id":{id},"id":{id},"result":{"content":[{"type":"text","text":"{long}"}]}}"#,
            r#"{"id":{id},"result":{"content":[{"type":"text","text":"{long}"}]}}"#,
            r#"{{"jsonrpc":"2.0","id":{id},"result":{"content":[{"type":"text","text":"{long}"}]}}"#,
            r#"<html>{long}</html>"#,
        ] {
            let answer = client.exchange(&call(&gateway, json!({"bytes": bytes, "body": body})));
            let refused = !answer.is_result() && answer.code() < 0 && !holds(&answer.body, "aaaa");
            assert!(refused, "given {body} of {bytes}");
        }
        // Read whole and found good: an id behind the result, an error.
        for (body, outcome) in [
            (r#"{"result":{"content":[{"type":"text","text":"{long}"}]},"id":{id},"jsonrpc":"2.0"}"#, "complete"),
            (
                r#"{"jsonrpc":"2.0","id":{id},"result":{"isError":true,"content":[{"type":"text","text":"{long}"}]}}"#,
                "error",
            ),
            (r#"{"jsonrpc":"2.0","id":{id},"error":{"code":-32000,"message":"{long}"}}"#, "error"),
        ] {
            let answer = client.exchange(&call(&gateway, json!({"bytes": bytes, "body": body})));
            assert_eq!(answer.status(), 200, "given {body} of {bytes}");
            assert_eq!(text(gateway.events("result").last().unwrap(), "outcome"), outcome, "given {body}");
        }
    }
    assert_eq!(gateway.events("result.begun").len(), 0);
}

/// A body whose end is no JSON tells whether it was read.
fn unsound(request: &Received, wire: &mut Wire) {
    let mut body = result(&request.id(), wanted(request, "bytes"));
    body.truncate(body.len() - 3);
    wire.send(head(body.len())).send(body);
}

#[test]
fn nothing_passes_unread_that_is_short_or_whose_tool_does_not_say_so_or_that_a_rule_narrows() {
    let narrowing =
        "@id(\"narrowing\")\n@redact(\"/ssn\")\npermit(principal, action == Action::\"crm.loose\", resource);\n";
    let upstream = Upstream::calls(unsound);
    let sized_alone = Setup::open(&upstream).tool("crm.loose", "capture = { result = \"size\" }").start();
    let narrowed = open(&upstream).policy(narrowing).start();
    let opted = open(&upstream).start();
    for (gateway, bytes, expected) in [
        (&sized_alone, 300 * KIB, 502),
        (&narrowed, 300 * KIB, 502),
        (&opted, 20 * KIB, 502),
        (&opted, 300 * KIB, 200),
        (&opted, 40 * KIB, 200),
    ] {
        let answer = gateway.answer(&call(gateway, json!({"bytes": bytes})));
        assert_eq!(answer.status(), expected, "{bytes}");
    }
    assert_eq!((narrowed.events("result.begun").len(), opted.events("result.begun").len()), (0, 1));
}

#[test]
fn a_configuration_that_would_have_to_read_what_it_passes_unread_is_refused() {
    let upstream = Upstream::calls(sized);
    for (setup, expected) in [
        (Setup::open(&upstream).tool("crm.loose", "inspect = \"envelope\""), "the log is to keep them"),
        (
            Setup::open(&upstream).tool("crm.loose", "inspect = \"envelope\"\ncapture = { result = \"digest\" }"),
            "the log is to keep them",
        ),
        (
            Setup::new()
                .secret("key", "0123456789abcdef0123456789abcdef")
                .server("crm", &upstream, "credential = { header = \"x-key\", value = \"{secret:key}\" }")
                .tool("crm.loose", ENVELOPE),
            "lent a credential",
        ),
    ] {
        let output = setup.refused();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(expected), "expected `{expected}` in {said}");
    }
}

fn passes(gateway: &Gateway, client: &mut Client, bytes: usize) -> usize {
    let answer = client.exchange(&call(gateway, json!({"bytes": bytes})));
    let expected = result(&answer.json()["id"], bytes).into_bytes();
    assert!(answer.status() == 200 && answer.body == expected, "{bytes}");
    expected.len()
}

#[test]
fn a_long_result_passes_byte_for_byte_and_its_records_say_its_size() {
    let upstream = Upstream::calls(sized);
    let gateway = open(&upstream).start();
    let mut client = gateway.connect();
    let mut spliced = 0;
    for bytes in [40 * KIB, 127 * KIB, 129 * KIB, 300 * KIB, 1024 * KIB, 5000 * KIB, 40 * KIB] {
        let length = passes(&gateway, &mut client, bytes) as u64;
        let event = if bytes > 128 * KIB { "result.ended" } else { "result" };
        spliced += usize::from(bytes > 128 * KIB);
        let record = gateway.events(event).pop().unwrap();
        assert_eq!((text(&record, "outcome"), number(&record, "result_bytes")), ("passed", Some(length)), "{record}");
        assert!(record.get("result").is_none() && record.get("result_digest").is_none(), "{record}");
    }
    assert_eq!((gateway.events("result.begun").len(), gateway.events("result.ended").len()), (spliced, spliced));
    assert_eq!(upstream.connections(), 1, "the upstream connection is kept");
}

#[test]
fn a_long_result_passes_over_tls_and_past_an_agent_that_reads_slowly() {
    let upstream = Upstream::calls(sized);
    let gateway = open(&upstream).tls(Tls::Optional).start();
    passes(&gateway, &mut gateway.connect(), 1024 * KIB);
    assert_eq!(text(gateway.events("result").last().unwrap(), "outcome"), "passed");
    let gateway = open(&upstream).start();
    let mut client = gateway.connect();
    client.send(call(&gateway, json!({"bytes": 20 * KIB * KIB})).bytes());
    let Length::Bytes(length) = client.head().length() else { panic!("an answer with its length") };
    // Both sockets fill up meanwhile.
    assert!(!client.is_silent_for(Duration::from_millis(50)));
    client.take(length);
    assert_eq!(number(&end(&gateway), "result_bytes"), Some(length as u64));
    passes(&gateway, &mut client, 300 * KIB);
}
