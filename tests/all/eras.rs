//! Which revision a message is of: headers may only repeat what the body says, and a route speaks only what it is told.

use crate::messages::{HEADER, INVALID, PARAMS, Stage};
use portcullis_tests::mcp::{self, MODERN};
use portcullis_tests::setup::{OPEN, Setup};
use portcullis_tests::upstream::Upstream;
use portcullis_tests::wire::Request;
use serde_json::{Value, json};

/// A good modern call, to be spoiled.
fn modern(stage: &Stage) -> Request {
    stage.gateway.call("reader", "loose", json!({"a": 1}))
}

#[test]
fn a_modern_message_without_its_metadata_is_refused() {
    let stage = Stage::new();
    let version = "io.modelcontextprotocol/protocolVersion";
    let capabilities = "io.modelcontextprotocol/clientCapabilities";
    for (meta, expected) in [
        (json!({}), PARAMS),
        (json!({capabilities: {}}), PARAMS),
        (json!({version: MODERN}), PARAMS),
        (json!({version: MODERN, capabilities: null}), PARAMS),
        (json!({version: MODERN, capabilities: []}), PARAMS),
        (json!({version: 20260728, capabilities: {}}), PARAMS),
        (json!({version: "2025-11-25", capabilities: {}}), HEADER),
        (json!({version: "2026-07-29", capabilities: {}}), HEADER),
        (json!({version: format!("{MODERN} "), capabilities: {}}), HEADER),
    ] {
        let mut message = mcp::modern("tools/call", mcp::call("loose", json!({})));
        message["params"]["_meta"] = meta;
        let answer = stage.refused(&stage.gateway.modern("reader", "crm", &message), expected);
        assert_eq!(answer.json()["id"], json!(1));
    }
    let bare = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call"});
    stage.refused(&stage.gateway.modern("reader", "crm", &bare), PARAMS);
}

#[test]
fn a_modern_version_that_is_not_spoken_is_named_with_those_that_are() {
    let stage = Stage::new();
    for version in ["2027-01-01", "1999-01-01", "DRAFT-2026-v1"] {
        let mut message = mcp::modern("tools/call", mcp::call("loose", json!({})));
        message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(version);
        let request = stage.gateway.modern("reader", "crm", &message).set("MCP-Protocol-Version", version);
        let answer = stage.refused(&request, (400, -32022));
        assert_eq!(answer.json()["error"]["data"], json!({"supported": [MODERN], "requested": version}));
    }
    let mut message = mcp::modern("tasks/get", json!({"taskId": "t"}));
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let answer = stage.refused(&stage.gateway.modern("reader", "crm", &message), (400, -32021));
    assert_eq!(
        answer.json()["error"]["data"]["requiredCapabilities"],
        json!({"extensions": {"io.modelcontextprotocol/tasks": {}}})
    );
}

#[test]
fn headers_that_differ_from_the_body_are_refused() {
    let stage = Stage::new();
    let good = || modern(&stage);
    let (version, method, name) = ("MCP-Protocol-Version", "Mcp-Method", "Mcp-Name");
    for request in [
        good().without(version),
        good().set(version, "2025-11-25"),
        good().set(version, ""),
        good().set(version, "2026-07-28, 2026-07-28"),
        good().field(version, MODERN),
        good().without(method),
        good().set(method, "tools/list"),
        good().set(method, "Tools/Call"),
        good().set(method, "tools/call, tools/list"),
        good().field(method, "tools/call"),
        good().without(name),
        good().set(name, "hidden"),
        good().set(name, "Loose"),
        good().set(name, ""),
        good().set(name, "loose, hidden"),
        good().field(name, "loose"),
        good().field("mcp-name", "hidden"),
        good().set(name, "=?base64?bG9vc2U?="),
        good().set(name, "=?base64?bG9v*2U=?="),
        good().set(name, "=?base64?aGlkZGVu?="),
        good().set(name, "=?BASE64?bG9vc2U=?="),
        good().set(name, "=?base64?bG9vc2U="),
    ] {
        stage.refused(&request, HEADER);
    }
    stage.refused(
        &stage.gateway.modern("reader", "crm", &mcp::modern("tools/list", json!({}))).set(method, "tools/call"),
        HEADER,
    );
    stage.refused(
        &stage
            .gateway
            .modern("reader", "crm", &mcp::modern("resources/read", json!({"uri": "doc://open/1"})))
            .set(name, "doc://open/2"),
        HEADER,
    );
    stage.refused(
        &stage.gateway.modern("reader", "crm", &mcp::modern("prompts/get", json!({"name": "greet"}))).without(name),
        HEADER,
    );
    for request in [
        good(),
        good().set(name, "=?base64?bG9vc2U=?="),
        good().set(name, "  loose\t "),
        good().without(version).field("mcp-protocol-version", MODERN),
        good().without(name).without(method).field("MCP-NAME", "loose").field("mcp-METHOD", "tools/call"),
    ] {
        stage.passes(&request);
    }
}

#[test]
fn eras_cannot_be_mixed() {
    let stage = Stage::new();
    let legacy = |body: &Value| stage.gateway.post("reader", "crm", body.to_string());
    let version = "MCP-Protocol-Version";
    let call = mcp::legacy("tools/call", mcp::call("loose", json!({})));
    let hello = mcp::legacy("initialize", mcp::hello());
    stage.refused(&legacy(&call).field(version, MODERN), PARAMS);
    stage.refused(&legacy(&hello).field(version, MODERN), HEADER);
    stage.refused(&legacy(&call).field(version, "1999-01-01"), INVALID);
    stage.refused(&legacy(&call).field(version, "2025-06-18").field(version, "2025-06-18"), HEADER);
    stage.refused(&legacy(&mcp::modern("tools/call", mcp::call("loose", json!({})))), HEADER);
    let response = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
    stage.refused(&legacy(&response).field(version, MODERN), INVALID);
    let batch = json!([mcp::modern("tools/call", mcp::call("loose", json!({})))]);
    stage.refused(&legacy(&batch).field(version, MODERN), INVALID);
    for method in ["GET", "DELETE"] {
        let request = Request { method: method.to_owned(), ..legacy(&call).body("") }.field(version, MODERN);
        let answer = stage.gateway.answer(&request);
        assert_eq!(answer.status(), 405, "{method}");
        assert!(answer.head.has("allow"));
    }
    assert_eq!(stage.upstream.requests().len(), 0);
    for revision in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        stage.passes(&legacy(&call).field(version, revision));
    }
}

#[test]
fn a_route_speaks_only_the_revisions_it_is_told() {
    let upstream = Upstream::kind();
    let gateway = Setup::new()
        .server("crm", &upstream, "revisions = [\"2026-07-28\"]")
        .server("old", &upstream, "revisions = [\"2025-06-18\"]")
        .policy(OPEN)
        .start();
    let call = mcp::call("loose", json!({}));
    let legacy = |server: &str| gateway.post("reader", server, mcp::legacy("tools/call", call.clone()).to_string());
    let answer = gateway.answer(&legacy("crm"));
    assert_eq!((answer.status(), answer.code()), (400, -32022));
    let hello = gateway.answer(&gateway.post("reader", "crm", mcp::legacy("initialize", mcp::hello()).to_string()));
    assert_eq!((hello.status(), hello.code()), (400, -32022));
    assert_eq!(hello.json()["error"]["data"]["supported"], json!([MODERN]), "the error names what is spoken");
    let answer = gateway.answer(&gateway.modern("reader", "old", &mcp::modern("tools/call", call.clone())));
    assert_eq!((answer.status(), answer.code()), (400, -32600));
    assert_eq!(gateway.answer(&legacy("old").field("MCP-Protocol-Version", "2025-11-25")).status(), 400);
    assert_eq!(upstream.requests().len(), 0);
    assert!(gateway.answer(&legacy("old").field("MCP-Protocol-Version", "2025-06-18")).is_result());
    assert!(gateway.answer(&gateway.call("reader", "loose", json!({}))).is_result());
}

#[test]
fn mirrored_arguments_must_say_what_the_body_says() {
    let stage = Stage::new();
    let call = |arguments: Value| stage.gateway.call("reader", "mirrored", arguments);
    let (region, shard, dry) = ("Mcp-Param-Region", "Mcp-Param-Shard", "Mcp-Param-Dry");
    for request in [
        call(json!({"region": "eu"})),
        call(json!({"region": "eu"})).field(region, "us"),
        call(json!({"region": "eu"})).field(region, "EU"),
        call(json!({"region": "eu"})).field(region, "eu").field(region, "eu"),
        call(json!({"region": "eu"})).field(region, "=?base64?ZXU?="),
        call(json!({"region": "eu"})).field(region, "=?base64?Z!U=?="),
        call(json!({})).field(region, "eu"),
        call(json!({"region": null})).field(region, "null"),
        call(json!({"shard": 42})),
        call(json!({"shard": 42})).field(shard, "43"),
        call(json!({"shard": 42})).field(shard, "0x2a"),
        call(json!({"shard": 42})).field(shard, "42.5"),
        call(json!({"dry": true})).field(dry, "false"),
        call(json!({"dry": true})).field(dry, "True"),
        call(json!({"dry": true})).field(dry, "1"),
        call(json!({"region": "ä"})).field(region, "ä"),
    ] {
        stage.refused(&request, HEADER);
    }
    for request in [
        call(json!({})),
        call(json!({"region": null})),
        call(json!({"region": "eu"})).field(region, "eu"),
        call(json!({"region": "eu"})).field(&region.to_ascii_lowercase(), " eu "),
        call(json!({"region": "eu"})).field(region, "=?base64?ZXU=?="),
        call(json!({"region": "ä"})).field(region, "=?base64?w6Q=?="),
        call(json!({"region": "=?base64?x"})).field(region, "=?base64?x"),
        call(json!({"shard": 42})).field(shard, "42"),
        call(json!({"shard": 42})).field(shard, "42.0"),
        call(json!({"dry": false})).field(dry, "false"),
        call(json!({"dry": false, "shard": -1, "region": "a b"}))
            .field(dry, "false")
            .field(shard, "-1")
            .field(region, "a b"),
    ] {
        stage.passes(&request);
    }
    let forwarded = stage.upstream.requests().pop().unwrap();
    assert_eq!(forwarded.head.field(region), Some("a b"));
}
