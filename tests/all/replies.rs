//! Replies of an upstream that must not be believed: refused, and never mixed up with the next one's.

use std::sync::Mutex;

use portcullis_tests::mcp;
use portcullis_tests::setup::Setup;
use portcullis_tests::upstream::{Gate, Received, Upstream};
use portcullis_tests::wire::{Response, holds};
use serde_json::{Value, json};

/// Lets an upstream answer each call with the bytes that its argument `raw` holds; `{b}` stands for a right result, `{n}` and `{x}` for its
/// length.
fn replaying(request: &Received, wire: &mut portcullis_tests::upstream::Wire) {
    let message = request.json();
    let raw = message.pointer("/params/arguments/raw").and_then(Value::as_str).unwrap_or_default();
    let body = json!({"jsonrpc": "2.0", "id": request.id(), "result": mcp::text_result("right")}).to_string();
    let filled =
        raw.replace("{n}", &body.len().to_string()).replace("{x}", &format!("{:x}", body.len())).replace("{b}", &body);
    let bytes: Vec<u8> = filled.chars().map(|character| character as u8).collect();
    wire.send(bytes);
    if message.pointer("/params/arguments/then") == Some(&json!("close")) {
        wire.close();
    }
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn a_reply_with_two_readings_is_refused_and_its_connection_dropped() {
    let upstream = Upstream::calls(replaying);
    let gateway = Setup::open(&upstream).timeouts("first_byte = \"2s\"").start();
    let rows = [
        "HTTP/1.1 200 OK\r\nContent-Length: {n}\r\nTransfer-Encoding: chunked\r\n{j}\r\n{x}\r\n{b}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: {n}\r\nContent-Length: {n}\r\n{j}\r\n{b}",
        "HTTP/1.1 200 OK\r\nContent-Length: {n}, {n}\r\n{j}\r\n{b}",
        "HTTP/1.1 200 OK\r\nContent-Length: +{n}\r\n{j}\r\n{b}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n{j}\r\n{x}\r\n{b}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n{j}\r\n{x}\r\n{b}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{j}\r\n0x{x}\r\n{b}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{j}\r\n{x}\n{b}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{j}\r\n{x}\r\n{b}XX0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n{j}\r\n{x}\r\n{b}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {n}\r\n{j}\r\n{b}",
        "HTTP/1.1 200 OK\r\nContent-Length: {n}\r\nX: a\r\n b\r\n{j}\r\n{b}",
        "HTTP/1.1 200 OK\nContent-Length: {n}\r\n{j}\r\n{b}",
        "HTTP/1.1 200 OK\r\nContent-Length : {n}\r\n{j}\r\n{b}",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: {n}\r\n{j}\r\n{b}",
        "HTTP/1.1 200 OK\r\nX: a\u{0}b\r\nContent-Length: {n}\r\n{j}\r\n{b}",
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {n}\r\n{j}\r\n{b}",
        "HTTP/2.0 200 OK\r\nContent-Length: {n}\r\n{j}\r\n{b}",
        "HTTP/1.1 99 OK\r\nContent-Length: {n}\r\n{j}\r\n{b}",
        "HTTP/1.1 600 OK\r\nContent-Length: {n}\r\n{j}\r\n{b}",
        "HTTP/1.1 2000 OK\r\nContent-Length: {n}\r\n{j}\r\n{b}",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n{b}",
        "HTTP/1.1 204 No Content\r\nContent-Length: {n}\r\n{j}\r\n{b}",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: {n}\r\n{j}\r\n{b}",
        "{b}",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ];
    for raw in rows {
        check(&upstream, &gateway, &raw.replace("{j}", JSON), "stay");
    }
    for raw in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n{j}\r\n{b}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{j}\r\n{x}\r\n{b}\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{j}\r\n{x}\r\n{b}\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{j}\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: {n}\r\nContent-Type: text/html\r\n\r\n{b}",
        "HTTP/1.1 200 OK\r\nContent-Length: {n}\r\nContent-Type: application/json; charset=utf-16\r\n\r\n{b}",
        "HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n{b}",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 500 Oops\r\nContent-Length: {n}\r\n{j}\r\n{b}",
        "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
    ] {
        check(&upstream, &gateway, &raw.replace("{j}", JSON), "close");
    }
    assert_eq!(gateway.metric("portcullis_panics_total"), 0.0);
}

#[track_caller]
fn check(upstream: &Upstream, gateway: &portcullis_tests::gateway::Gateway, raw: &str, then: &str) {
    let mut client = gateway.connect();
    let answer = client.exchange(&gateway.call("reader", "loose", json!({"raw": raw, "then": then})));
    assert_eq!((answer.status(), answer.code()), (502, -33502), "given {raw:?}\ngot {}", answer.text());
    assert!(!holds(&answer.body, "right"), "given {raw:?}\ngot {}", answer.text());
    upstream.wait_closed(upstream.requests().last().unwrap().connection);
    let right = format!("HTTP/1.1 200 OK\r\nContent-Length: {{n}}\r\n{JSON}\r\n{{b}}");
    let answer = client.exchange(&gateway.call("reader", "loose", json!({"raw": right})));
    assert!(holds(&answer.body, "right"), "after {raw:?}\ngot {}", answer.text());
}

#[test]
fn a_reply_in_any_right_framing_is_released() {
    let upstream = Upstream::calls(replaying);
    let gateway = Setup::open(&upstream).start();
    for (raw, then) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n{j}\r\n{b}", "stay"),
        ("HTTP/1.1 200\r\ncontent-length:{n}\r\ncontent-type:application/json;charset=UTF-8\r\n\r\n{b}", "stay"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{j}\r\n{x}\r\n{b}\r\n0\r\nX-Trailer: a\r\n\r\n", "stay"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{j}\r\n{x};a=\"b\"\r\n{b}\r\n000\r\n\r\n", "stay"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {n}\r\n{j}\r\n{b}",
            "stay",
        ),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n{j}\r\n{b}", "close"),
        ("HTTP/1.0 200 OK\r\n{j}\r\n{b}", "close"),
        ("HTTP/1.0 200 OK\r\nContent-Length: {n}\r\n{j}\r\n{b}", "close"),
    ] {
        let answer =
            gateway.answer(&gateway.call("reader", "loose", json!({"raw": raw.replace("{j}", JSON), "then": then})));
        assert!(answer.is_result() && holds(&answer.body, "right"), "given {raw:?}\ngot {}", answer.text());
        assert!(!answer.head.has("x-trailer"));
    }
}

/// An answer that names the call it is for.
fn named(request: &Received) -> String {
    let which = request.json().pointer("/params/arguments/which").and_then(Value::as_u64).unwrap_or_default();
    let body = json!({"jsonrpc": "2.0", "id": request.id(), "result": mcp::text_result(&format!("answer {which}"))})
        .to_string();
    format!("HTTP/1.1 200 OK\r\n{JSON}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[track_caller]
fn is_answer(answer: &Response, which: u64) {
    assert!(holds(&answer.body, format!("answer {which}\"")), "call {which} got {}", answer.text());
}

#[test]
fn a_second_answer_in_one_write_goes_to_nobody() {
    let upstream = Upstream::calls(|request, wire| {
        let stray = named(request).replace("answer", "stray!");
        wire.send(format!("{}{stray}", named(request)));
    });
    let gateway = Setup::open(&upstream).start();
    let mut client = gateway.connect();
    for which in 0..20 {
        is_answer(&client.exchange(&gateway.call("reader", "loose", json!({"which": which}))), which);
        upstream.wait_closed(upstream.requests().last().unwrap().connection);
    }
    assert_eq!(upstream.connections(), 20);
}

#[test]
fn a_second_answer_that_comes_between_two_calls_goes_to_nobody() {
    let (between, sent) = (Gate::default(), Gate::default());
    let (at_script, told) = (between.clone(), sent.clone());
    let upstream = Upstream::calls(move |request, wire| {
        wire.send(named(request));
        at_script.pass();
        wire.send(named(request).replace("answer", "stray!"));
        told.open();
    });
    let gateway = Setup::open(&upstream).start();
    let mut client = gateway.connect();
    for which in 0..20 {
        is_answer(&client.exchange(&gateway.call("reader", "loose", json!({"which": which}))), which);
        between.open();
        sent.pass();
    }
}

#[test]
fn an_answer_that_ends_behind_its_length_spoils_no_other() {
    let upstream = Upstream::calls(|request, wire| {
        // In one write: a byte that came while the next call is under way would, rightly, cost that one its answer.
        wire.send(format!("{}x", named(request)));
    });
    let gateway = Setup::open(&upstream).start();
    let mut client = gateway.connect();
    for which in 0..20 {
        is_answer(&client.exchange(&gateway.call("reader", "loose", json!({"which": which}))), which);
    }
    let refused = gateway.metric("portcullis_upstream_failures_total");
    assert_eq!(refused, 0.0, "a stray byte cost a call its answer");
}

#[test]
fn an_answer_to_another_call_is_no_answer() {
    let rows = [
        r#"{"jsonrpc":"2.0","id":2,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":"1","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1.0,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
        r#"{"jsonrpc":"2.0","result":{}}"#,
        r#"{"jsonrpc":"1.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"a"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"id":2}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"\u0061":2}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}} {}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"a":"\ud800"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":"#,
        "",
        "null",
    ];
    let next = Mutex::new(rows.into_iter());
    let upstream = Upstream::calls(move |_, wire| {
        let body = next.lock().unwrap().next().unwrap_or_default();
        wire.send(format!("HTTP/1.1 200 OK\r\n{JSON}Content-Length: {}\r\n\r\n{body}", body.len()));
    });
    let gateway = Setup::open(&upstream).start();
    for row in rows {
        let answer = gateway.answer(&gateway.call("reader", "loose", json!({})));
        assert_eq!((answer.status(), answer.code()), (502, -33502), "given {row}\ngot {}", answer.text());
    }
}

#[test]
fn a_kept_connection_that_the_upstream_closed_costs_no_call() {
    let upstream = Upstream::calls(|request, wire| {
        wire.send(named(request));
        wire.close();
    });
    let gateway = Setup::open(&upstream).start();
    let mut client = gateway.connect();
    for which in 0..30 {
        let answer = client.exchange(&gateway.call("reader", "loose", json!({"which": which})));
        is_answer(&answer, which);
        // The close has reached the kernel before the next call begins.
        upstream.wait_closed(upstream.requests().last().unwrap().connection);
    }
}

#[test]
fn connections_to_an_upstream_are_kept_between_calls() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).top("").start();
    let mut client = gateway.connect();
    for _ in 0..50 {
        assert!(client.exchange(&gateway.call("reader", "loose", json!({}))).is_result());
    }
    assert_eq!(upstream.connections(), 1);
}
