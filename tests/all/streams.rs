//! Event streams: each event as it comes, none in halves, none for ever, and none for whom it is not.

use std::time::Duration;

use portcullis_tests::audit::{number, text};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::mcp;
use portcullis_tests::secrets::{self, changed, claims, keys};
use portcullis_tests::setup::{OPEN, Setup};
use portcullis_tests::stream::{Events, Next};
use portcullis_tests::upstream::{Gate, Received, Upstream, Wire, kind};
use portcullis_tests::wire::Request;
use serde_json::{Value, json};

fn progress(number: usize) -> Value {
    mcp::notification("notifications/progress", json!({"progressToken": 1, "progress": number}))
}

fn call(gateway: &Gateway) -> Request {
    gateway.call("reader", "loose", json!({}))
}

fn listen(gateway: &Gateway, agent: &str) -> Request {
    gateway.modern(
        agent,
        "crm",
        &mcp::modern("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}})),
    )
}

/// Acknowledges a listening stream, then leaves it open.
fn listening(request: &Received, wire: &mut Wire) {
    if request.method() != "subscriptions/listen" {
        return kind(request, wire);
    }
    let meta = json!({"io.modelcontextprotocol/subscriptionId": request.id()});
    let acknowledged = json!({"_meta": meta, "notifications": {"toolsListChanged": true}});
    wire.stream("").event(&mcp::notification("notifications/subscriptions/acknowledged", acknowledged)).hang();
}

#[test]
fn events_pass_one_by_one_as_they_come() {
    let gate = Gate::default();
    let at_script = gate.clone();
    let upstream = Upstream::calls(move |request, wire| {
        wire.stream("");
        for number in 0..20 {
            wire.event(&progress(number));
            at_script.pass();
        }
        wire.last_event(request, mcp::text_result("done"));
    });
    let gateway = Setup::open(&upstream).start();
    let mut events = Events::open(gateway.connect(), &call(&gateway));
    for number in 0..20 {
        assert_eq!(events.next_event(), Next::Event(format!("event: message\ndata: {}", progress(number))));
        let begun = gateway.events("result.begun");
        assert_eq!(begun.len(), 1, "the beginning is in the log before the first byte");
        assert_eq!(gateway.events("result.ended").len(), 0);
        gate.open();
    }
    assert_eq!(events.message()["result"]["content"][0]["text"], json!("done"));
    assert_eq!(gateway.events("result.ended").len(), 1, "the end is in the log before the answer");
    assert_eq!(events.next_event(), Next::End);
    // The connection goes on.
    let answer = events.client.exchange(&gateway.call("reader", "bare", json!({})).set("Authorization", "Bearer x"));
    assert_eq!(answer.status(), 401);
}

#[test]
fn the_end_of_a_stream_is_recorded_with_the_digest_of_what_went_out_be_it_short_or_long() {
    let gate = Gate::default();
    let at_script = gate.clone();
    let upstream = Upstream::calls(move |request, wire| {
        wire.stream("");
        let wanted = request.json().pointer("/params/arguments/events").and_then(Value::as_u64).unwrap_or_default();
        for number in 0..usize::try_from(wanted).unwrap() {
            wire.event(&progress(number));
        }
        at_script.pass();
        wire.last_event(request, mcp::text_result("done"));
    });
    for (capture, holds) in [("digest", true), ("size", false)] {
        let capture = format!("capture = {{ result = \"{capture}\" }}");
        let gateway = Setup::open(&upstream).tool("crm.loose", &capture).start();
        for events in [1, 200] {
            let request = gateway.call("reader", "loose", json!({"events": events}));
            let mut client = Events::open(gateway.connect(), &request).client;
            let mut sent = Vec::new();
            while let Some(chunk) = client.chunk().unwrap() {
                if sent.is_empty() {
                    gate.open();
                }
                sent.extend(chunk);
            }
            assert_eq!(sent.len() > 1024, events > 1, "{} bytes", sent.len());
            // Two cores write, so the last of the folder need not be the newest.
            let ended = gateway.record(|record| {
                text(record, "event") == "result.ended" && number(record, "result_bytes") == Some(sent.len() as u64)
            });
            let digest = if holds { blake3::hash(&sent).to_hex().to_string() } else { String::new() };
            assert_eq!(text(&ended, "result_digest"), digest, "{ended}");
        }
    }
}

/// One stream in three spellings of line ends, with what must come of it.
fn spelled(end: &str, answer: &str) -> Vec<u8> {
    let events = [
        format!(": a comment{end}"),
        format!("event: message{end}data: {}{end}", progress(1)),
        format!("id: 5{end}data:{}{end}", progress(2)),
        format!("id: 6{end}data:{end}"),
        format!("data: {answer}{end}"),
    ];
    events.map(|event| format!("{event}{end}")).concat().into_bytes()
}

#[test]
fn line_ends_of_every_kind_may_be_cut_anywhere() {
    let upstream = Upstream::calls(|request, wire| {
        let arguments = request.json().pointer("/params/arguments").cloned().unwrap_or_default();
        let answer = json!({"jsonrpc": "2.0", "id": request.id(), "result": mcp::text_result("ä😀 done")}).to_string();
        let bytes = spelled(arguments["end"].as_str().unwrap_or("\n"), &answer);
        wire.stream("");
        match arguments["cut"].as_u64().and_then(|cut| usize::try_from(cut).ok()) {
            None => {
                for byte in &bytes {
                    wire.chunk([*byte]);
                }
            }
            Some(cut) => {
                let (first, second) = bytes.split_at(cut.min(bytes.len()));
                wire.chunk(first).chunk(second);
            }
        }
        wire.end();
    });
    let gateway = Setup::open(&upstream).start();
    let mut client = gateway.connect();
    for end in ["\n", "\r\n", "\r"] {
        let length = spelled(end, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":").len() as u64;
        let cuts = [None].into_iter().chain((1..length).map(Some));
        for cut in cuts {
            let request = gateway.call("reader", "loose", json!({"end": end, "cut": cut}));
            let mut events = Events::open(client, &request);
            assert_eq!([events.message(), events.message()], [progress(1), progress(2)], "{end:?} cut at {cut:?}");
            assert_eq!(events.message()["result"]["content"][0]["text"], json!("ä😀 done"), "{end:?} cut at {cut:?}");
            assert_eq!(events.next_event(), Next::End);
            client = events.client;
        }
    }
}

#[test]
fn an_event_beyond_the_bound_ends_its_stream_and_costs_no_memory() {
    let gate = Gate::default();
    let at_script = gate.clone();
    let upstream = Upstream::calls(move |request, wire| {
        let late = request.json().pointer("/params/arguments/late") == Some(&json!(true));
        wire.stream("");
        if late {
            wire.event(&progress(1));
            at_script.pass();
        }
        wire.chunk("data: ");
        // Until the gateway has had enough.
        let part = "a".repeat(64 * 1024);
        while wire.try_send(format!("{:x}\r\n{part}\r\n", part.len())).is_ok() {}
        wire.close();
    });
    let gateway = Setup::open(&upstream).limits("event = \"128 KiB\"").start();
    let before = gateway.resident_bytes();
    let answer = gateway.answer(&call(&gateway));
    assert_eq!((answer.status(), answer.code()), (502, -33502), "{}", answer.text());
    gateway.refusal("upstream_too_large");
    let mut events = Events::open(gateway.connect(), &gateway.call("reader", "loose", json!({"late": true})));
    assert_eq!(events.message(), progress(1));
    gate.open();
    assert_eq!(events.next_event(), Next::Broken);
    for connection in 0..2 {
        upstream.wait_closed(connection);
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "an endless event cost {grown} bytes");
}

#[test]
fn a_stream_that_breaks_shows_no_half_event_and_no_end() {
    let gate = Gate::default();
    let at_script = gate.clone();
    let upstream = Upstream::calls(move |request, wire| {
        let how =
            request.json().pointer("/params/arguments/how").and_then(Value::as_str).unwrap_or_default().to_owned();
        let half = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"resu";
        wire.stream("");
        if !how.starts_with("first ") {
            wire.event(&progress(1));
            at_script.pass();
        }
        match how.trim_start_matches("first ") {
            "reset" => wire.chunk(half).reset(),
            "close" => wire.chunk(half).close(),
            "end" => drop(wire.chunk(half).end()),
            "garbage" => wire.send("zz\r\n").close(),
            "not json" => wire.chunk("data: {\"a\":1,\"a\":2}\n\n").hang(),
            other => panic!("{other}"),
        }
    });
    let gateway = Setup::open(&upstream).start();
    for how in ["reset", "close", "garbage", "not json"] {
        let answer = gateway.answer(&gateway.call("reader", "loose", json!({"how": format!("first {how}")})));
        assert_eq!((answer.status(), answer.code()), (502, -33502), "given {how}: {}", answer.text());
        let mut events = Events::open(gateway.connect(), &gateway.call("reader", "loose", json!({"how": how})));
        assert_eq!(events.message(), progress(1), "given {how}");
        gate.open();
        assert_eq!(events.any(), Next::Broken, "given {how}");
    }
    // An end in good order behind half an event: the half is not shown.
    let answer = gateway.answer(&gateway.call("reader", "loose", json!({"how": "first end"})));
    assert_eq!(answer.status(), 502, "{}", answer.text());
    let mut events = Events::open(gateway.connect(), &gateway.call("reader", "loose", json!({"how": "end"})));
    assert_eq!(events.message(), progress(1));
    gate.open();
    assert!(matches!(events.any(), Next::End | Next::Broken));
    let ended = gateway
        .record(|record| text(record, "event") == "result.ended" && text(record, "outcome") == "upstream_failed");
    assert!(number(&ended, "result_bytes").is_some_and(|bytes| bytes > 0), "{ended}");
}

#[test]
fn silence_on_an_open_stream_is_filled_with_comments() {
    let upstream = Upstream::start(listening);
    let gateway = Setup::open(&upstream).timeouts("stream_keep_alive = \"1s\"").start();
    let mut events = Events::open(gateway.connect(), &listen(&gateway, "reader"));
    assert_eq!(events.message()["method"], json!("notifications/subscriptions/acknowledged"));
    for _ in 0..2 {
        let Next::Event(comment) = events.any() else { panic!("the stream ended") };
        assert!(comment.starts_with(':'), "{comment}");
    }
}

#[test]
fn an_agent_that_leaves_cancels_a_modern_call() {
    let upstream = Upstream::calls(|request, wire| {
        match request.json().pointer("/params/arguments/how").and_then(Value::as_str) {
            Some("stream") => drop(wire.stream("").event(&progress(1))),
            Some("half") => {
                wire.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{");
            }
            _ => {}
        }
        wire.hang();
    });
    let gateway = Setup::open(&upstream).start();
    for (number, how) in ["nothing", "half", "stream"].into_iter().enumerate() {
        let request = gateway.call("reader", "loose", json!({"how": how}));
        let mut client = gateway.connect();
        client.send(request.bytes());
        let seen = upstream.wait_for(number + 1);
        if how == "stream" {
            client.head();
            client.chunk().unwrap();
        }
        drop(client);
        upstream.wait_closed(seen.connection);
    }
    gateway.record(|record| text(record, "event") == "result.ended" && text(record, "outcome") == "cancelled");
    gateway.record(|record| text(record, "event") == "result" && text(record, "outcome") == "cancelled");
    gateway.wait_metric("portcullis_requests_open", 0.0);
}

#[test]
fn an_agent_that_leaves_does_not_cancel_a_legacy_call() {
    let gate = Gate::default();
    let at_script = gate.clone();
    let upstream = Upstream::calls(move |request, wire| {
        let streamed = request.json().pointer("/params/arguments/how") == Some(&json!("stream"));
        if streamed {
            wire.stream("").event(&progress(1));
        }
        at_script.pass();
        if streamed {
            wire.event(&progress(2)).last_event(request, mcp::text_result("done"));
        } else {
            wire.result(request, mcp::text_result("done"));
        }
    });
    let gateway = Setup::open(&upstream).start();
    for (number, how) in ["whole", "stream"].into_iter().enumerate() {
        let message = mcp::legacy("tools/call", mcp::call("loose", json!({"how": how})));
        let mut client = gateway.connect();
        client.send(gateway.post("reader", "crm", message.to_string()).bytes());
        let seen = upstream.wait_for(number + 1);
        if how == "stream" {
            client.head();
            client.chunk().unwrap();
        }
        drop(client);
        gate.open();
        let event = if how == "whole" { "result" } else { "result.ended" };
        let ended = gateway.record(|record| text(record, "event") == event);
        assert_eq!(text(&ended, "outcome"), "complete", "{how}");
        assert!(!upstream.is_closed(seen.connection), "{how}: the call was cancelled");
    }
}

#[test]
fn an_open_stream_ends_with_its_token() {
    let upstream = Upstream::start(listening);
    let gateway = Setup::open(&upstream).identity("clock_skew = \"0s\"").start();
    let short = changed(claims("reader", &gateway.resource("crm")), json!({"exp": secrets::now() + 3}));
    let token = keys().eddsa.sign(&short).unwrap();
    let request = listen(&gateway, "reader").set("Authorization", &format!("Bearer {token}"));
    let mut events = Events::open(gateway.connect(), &request);
    assert_eq!(events.message()["method"], json!("notifications/subscriptions/acknowledged"));
    assert!(matches!(events.next_event(), Next::End | Next::Broken));
    assert!(secrets::now() >= short["exp"].as_u64().unwrap(), "it ended before its token did");
    upstream.wait_closed(upstream.requests().last().unwrap().connection);
    gateway.record(|record| text(record, "event") == "result.ended" && text(record, "outcome") == "revoked");
}

#[test]
fn a_suspended_agents_streams_and_connections_end_and_others_do_not() {
    let upstream = Upstream::start(listening);
    let gateway = Setup::open(&upstream).start();
    let mut idle = gateway.connect();
    assert!(idle.exchange(&call(&gateway)).is_result());
    let mut mine = Events::open(gateway.connect(), &listen(&gateway, "reader"));
    let mut other = Events::open(gateway.connect(), &listen(&gateway, "writer"));
    for events in [&mut mine, &mut other] {
        assert_eq!(events.message()["method"], json!("notifications/subscriptions/acknowledged"));
    }
    let said = gateway.operate(&["agent", "suspend", "reader"]);
    assert!(said.status.success(), "{said:?}");
    assert_eq!(idle.exchange(&call(&gateway)).status(), 403, "the next request on an open connection");
    assert!(matches!(mine.next_event(), Next::End | Next::Broken));
    gateway.record(|record| text(record, "event") == "agent.suspended" && text(record, "agent") == "reader");
    gateway.record(|record| text(record, "event") == "result.ended" && text(record, "outcome") == "revoked");
    assert!(other.client.is_silent_for(Duration::from_millis(700)), "the other agent's stream ended too");
    assert_eq!(gateway.control("POST", "/v1/agents/reader/resume").0, 200);
    assert!(gateway.answer(&call(&gateway)).is_result());
}

#[test]
fn a_stream_ends_with_the_rule_that_permitted_it() {
    let upstream = Upstream::start(listening);
    let gateway = Setup::open(&upstream).start();
    let mut mine = Events::open(gateway.connect(), &listen(&gateway, "reader"));
    let mut other = Events::open(gateway.connect(), &listen(&gateway, "writer"));
    mine.message();
    other.message();
    let rules = "permit (principal == Agent::\"writer\", action, resource);";
    std::fs::write(gateway.folder().join("policies/00.cedar"), rules).unwrap();
    assert_eq!(gateway.control("POST", "/v1/reload").0, 200);
    assert!(matches!(mine.next_event(), Next::End | Next::Broken));
    assert!(other.client.is_silent_for(Duration::from_millis(700)));
}

#[test]
fn what_a_server_may_not_say_on_a_stream_is_dropped() {
    let upstream = Upstream::calls(|request, wire| {
        wire.stream("");
        for message in [
            mcp::notification("notifications/planted", json!({})),
            mcp::notification("notifications/resources/updated", json!({"uri": "doc://planted/1"})),
            mcp::notification("notifications/tasks", json!({"taskId": "planted"})),
            mcp::legacy("sampling/createMessage", json!({"planted": 1})),
            json!({"jsonrpc": "2.0", "id": 99, "result": {"planted": 1}}),
        ] {
            wire.event(&message);
        }
        wire.event(&mcp::notification("notifications/resources/updated", json!({"uri": "doc://open/1"})));
        wire.last_event(request, mcp::text_result("done"));
    });
    let rules = r#"permit (principal, action in Action::"call", resource);
        permit (principal, action == Action::"resource.read", resource) when { context.uri like "doc://open/*" };"#;
    let gateway = Setup::new().server("crm", &upstream, "").policy(rules).start();
    let mut events = Events::open(gateway.connect(), &call(&gateway));
    let mut seen = Vec::new();
    while let Next::Event(event) = events.next_event() {
        assert!(!event.contains("planted"), "{event}");
        seen.extend(portcullis_tests::stream::message_of(&event));
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[0]["params"]["uri"], json!("doc://open/1"));
    assert_eq!(seen[1]["result"]["content"][0]["text"], json!("done"));
}

#[test]
fn nothing_follows_the_answer() {
    let upstream = Upstream::calls(|request, wire| {
        let answer = json!({"jsonrpc": "2.0", "id": request.id(), "result": mcp::text_result("done")});
        let after = mcp::notification("notifications/progress", json!({"planted": 1}));
        wire.stream("").chunk(format!("data: {answer}\n\ndata: {after}\n\ndata: {answer}\n\n")).event(&after).end();
    });
    let gateway = Setup::open(&upstream).start();
    for _ in 0..5 {
        let mut events = Events::open(gateway.connect(), &call(&gateway));
        assert_eq!(events.message()["result"]["content"][0]["text"], json!("done"));
        assert_eq!(events.any(), Next::End);
    }
}

#[test]
fn an_old_client_gets_its_stream_without_chunks() {
    let upstream = Upstream::calls(|request, wire| {
        wire.stream("").event(&progress(1)).last_event(request, mcp::text_result("done"));
    });
    let gateway = Setup::new().server("crm", &upstream, "").policy(OPEN).start();
    let old = String::from_utf8(call(&gateway).bytes()).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1);
    let mut client = gateway.connect();
    client.send(old);
    let head = client.head();
    assert_eq!((head.status(), head.has("transfer-encoding")), (200, false));
    let (rest, _) = client.rest();
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.starts_with("event: message\ndata: ") && rest.contains("done"), "{rest}");
}

#[test]
fn a_long_result_passes_whole_and_unchanged() {
    let words = "0123456789abcdef".repeat(256 * 1024);
    let sent = words.clone();
    let upstream = Upstream::calls(move |request, wire| {
        let result = json!({"jsonrpc": "2.0", "id": request.id(), "result": mcp::text_result(&sent)});
        match request.json().pointer("/params/arguments/how").and_then(Value::as_str) {
            Some("chunks") => {
                let body = result.to_string();
                wire.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
                for part in body.as_bytes().chunks(10_007) {
                    wire.chunk(part);
                }
                wire.end();
            }
            Some("stream") => drop(wire.stream("").event(&progress(1)).event(&result).end()),
            _ => drop(wire.json(200, "", &result)),
        }
    });
    let gateway = Setup::open(&upstream).limits("event = \"16 MiB\"").start();
    for how in ["length", "chunks"] {
        let answer = gateway.answer(&gateway.call("reader", "loose", json!({"how": how})));
        assert_eq!(answer.json()["result"]["content"][0]["text"].as_str().map(str::len), Some(words.len()), "{how}");
        assert!(answer.text().contains(&words), "{how}");
    }
    let mut events = Events::open(gateway.connect(), &gateway.call("reader", "loose", json!({"how": "stream"})));
    assert_eq!(events.message(), progress(1));
    assert_eq!(events.message()["result"]["content"][0]["text"].as_str(), Some(words.as_str()));
    let kept = gateway.record(|record| text(record, "event") == "result");
    assert!(
        number(&kept, "result_bytes").is_some_and(|bytes| bytes > 4 << 20) && kept.get("result").is_none(),
        "{kept}"
    );
}
