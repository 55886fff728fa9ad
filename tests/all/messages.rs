//! Messages that another reader could take for something else: refused with the code MCP has for it, never forwarded.

use portcullis_tests::gateway::Gateway;
use portcullis_tests::mcp;
use portcullis_tests::setup::{OPEN, Setup};
use portcullis_tests::upstream::Upstream;
use portcullis_tests::wire::{Request, Response};
use serde_json::{Value, json};

/// A gateway whose rules permit everything, and its upstream.
pub struct Stage {
    /// Answers everything well.
    pub upstream: Upstream,
    /// Speaks every revision.
    pub gateway: Gateway,
}

impl Stage {
    /// Both, started.
    pub fn new() -> Self {
        let upstream = Upstream::kind();
        let gateway =
            Setup::new().server("crm", &upstream, "extension_methods = [\"acme/reindex\"]").policy(OPEN).start();
        Self { upstream, gateway }
    }

    /// The answer to a request that must not be forwarded.
    #[track_caller]
    pub fn refused(&self, request: &Request, expected: (u16, i64)) -> Response {
        let before = self.upstream.requests().len();
        let answer = self.gateway.answer(request);
        let given = || format!("given {}\ngot {}", String::from_utf8_lossy(&request.bytes()), answer.text());
        assert_eq!((answer.status(), answer.code()), expected, "{}", given());
        assert_eq!(answer.json()["jsonrpc"], json!("2.0"), "{}", given());
        assert!(
            answer.json().get("id").is_none_or(|id| !id.is_null()),
            "an id that cannot be read is left out; {}",
            given()
        );
        assert_eq!(self.upstream.requests().len(), before, "it was forwarded; {}", given());
        answer
    }

    /// A legacy body that is refused.
    #[track_caller]
    fn body(&self, body: impl AsRef<[u8]>, expected: (u16, i64)) {
        self.refused(&self.gateway.post("reader", "crm", body), expected);
    }

    /// A request that is forwarded and answered.
    #[track_caller]
    pub fn passes(&self, request: &Request) {
        let answer = self.gateway.answer(request);
        assert!(
            answer.status() == 202 || answer.is_result(),
            "given {}\ngot {}",
            String::from_utf8_lossy(&request.bytes()),
            answer.text()
        );
    }
}

/// No JSON.
pub const PARSE: (u16, i64) = (400, -32700);
/// No message.
pub const INVALID: (u16, i64) = (400, -32600);
/// Not what it needs.
pub const PARAMS: (u16, i64) = (400, -32602);
/// A header that lies.
pub const HEADER: (u16, i64) = (400, -32020);

/// A call of `loose` with these arguments, written by hand.
fn call(arguments: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"loose","arguments":{arguments}}}}}"#)
}

#[test]
fn json_that_readers_disagree_about_is_refused() {
    let stage = Stage::new();
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"tools/list","params":{"name":"loose"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"loose","name":"hidden"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"loose","n\u0061me":"hidden"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"loose"},"p\u0061rams":{"name":"hidden"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"tools/call","params":{"name":"loose"}}"#,
        r#"{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"loose"}}"#,
        &call(r#"{"a":{"b":[{"c":1,"c":1}]}}"#),
        &call(r#"{"\ud83d\ude00":1,"😀":2}"#),
        &call(r#"{"":1,"":2}"#),
        // To readers in C this is `name` twice, `method` twice, `a` twice.
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"loose","name\u0000":"hidden"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","method\u0000":"x","params":{"name":"loose"}}"#,
        &call(r#"{"a":1,"a\u0000":2}"#),
        &call(r#"{"a\/b":1,"a/b":2}"#),
        &format!("{} {{}}", call("{}")),
        &format!("{}\u{0}", call("{}")),
        &format!("{}]", call("{}")),
        &format!("{},", call("{}")),
        &format!("\u{feff}{}", call("{}")),
        &format!("// a\n{}", call("{}")),
        &call(r#"{"a":/* b */1}"#),
        &call(r#"{"a":1,}"#),
        &call(r#"{a:1}"#),
        &call(r#"{'a':1}"#),
        &call(r#"{"a":01}"#),
        &call(r#"{"a":+1}"#),
        &call(r#"{"a":.5}"#),
        &call(r#"{"a":0x10}"#),
        &call(r#"{"a":NaN}"#),
        &call(r#"{"a":1e400}"#),
        &call(r#"{"a":-1e400}"#),
        &call(r#"{"a":True}"#),
        &call(r#"{"a":"\x41"}"#),
        &call("{\"a\":\"\n\"}"),
        &call("{\"a\":\"\u{1}\"}"),
        &call(r#"{"a":"\ud800"}"#),
        &call(r#"{"a":"\udc00\ud800"}"#),
        &call(r#"{"\ud800":1}"#),
        &call(r#"{"a":"\ud800\u0041"}"#),
        r#"{"jsonrpc":"2.0","id":18446744073709551616,"method":"ping"}"#,
        "",
        " \n",
        "{",
        "null null",
        &"[".repeat(100_000),
        &call(&format!("{}1{}", "{\"a\":".repeat(70), "}".repeat(70))),
        &call(&format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000))),
    ] {
        stage.body(body, PARSE);
    }
    for bytes in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"] {
        let (before, after) = (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":""#, "\"}}");
        stage.body([before.as_bytes(), bytes, after.as_bytes()].concat(), PARSE);
    }
    for encoding in ["utf-16le", "utf-16be", "utf-32le"] {
        let units: Vec<u8> = match encoding {
            "utf-16le" => call("{}").encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "utf-16be" => call("{}").encode_utf16().flat_map(u16::to_be_bytes).collect(),
            _ => call("{}").chars().flat_map(|character| u32::from(character).to_le_bytes()).collect(),
        };
        stage.body(units, PARSE);
    }
    assert_eq!(stage.gateway.metric("portcullis_panics_total"), 0.0);
}

#[test]
fn a_body_beyond_the_bound_is_refused_unread() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).limits("body = \"64 KiB\"").start();
    let stage = Stage { upstream, gateway };
    let large = call(&format!(r#"{{"a":"{}"}}"#, "x".repeat(64 * 1024)));
    let request = stage.gateway.post("reader", "crm", &large);
    let refused = stage.gateway.answer(&request);
    assert_eq!(refused.status(), 413, "{}", refused.text());
    let chunked = stage.gateway.answer(&request.framed(portcullis_tests::wire::Framing::Chunks(5000)));
    assert_eq!(chunked.status(), 413, "{}", chunked.text());
    assert_eq!(stage.upstream.requests().len(), 0);
    stage.passes(&stage.gateway.post("reader", "crm", call(&format!(r#"{{"a":"{}"}}"#, "x".repeat(60 * 1024)))));
}

#[test]
fn what_is_no_single_message_is_refused() {
    let stage = Stage::new();
    let good = call("{}");
    for body in [
        &format!("[{good}]"),
        &format!("[{good},{good}]"),
        "[]",
        "{}",
        "1",
        "\"tools/call\"",
        "null",
        r#"{"id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":""}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":5}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":["tools/call"]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","error":{"code":1,"message":"a"}}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":9007199254740992,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":-9007199254740993,"method":"ping"}"#,
        &format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "i".repeat(257)),
        r#"{"jsonrpc":"2.0","Id":1,"id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"loose","Name":"hidden"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"loose","ARGUMENTS":{}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"a"}}"#,
        r#"{"jsonrpc":"2.0","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":5}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":"a"}"#,
    ] {
        stage.body(body, INVALID);
    }
    for id in ["0", "-1", "9007199254740991", "\"\"", "\"a\\u0000b\"", &format!("\"{}\"", "i".repeat(256))] {
        let answer = stage.gateway.answer(&stage.gateway.post(
            "reader",
            "crm",
            call("{}").replace("\"id\":1", &format!("\"id\":{id}")),
        ));
        assert!(answer.is_result(), "{}", answer.text());
        assert_eq!(answer.json()["id"], serde_json::from_str::<Value>(id).unwrap());
    }
}

#[test]
fn parameters_that_cannot_be_judged_are_refused() {
    let stage = Stage::new();
    for (method, params) in [
        ("tools/call", r#"["loose",{}]"#),
        ("tools/call", "null"),
        ("tools/call", "\"loose\""),
        ("tools/call", "{}"),
        ("tools/call", r#"{"name":""}"#),
        ("tools/call", r#"{"name":null}"#),
        ("tools/call", r#"{"name":["loose"]}"#),
        ("tools/call", r#"{"name":"loose\u0000"}"#),
        ("tools/call", r#"{"name":"loose\n"}"#),
        ("tools/call", r#"{"name":"loose","arguments":[]}"#),
        ("tools/call", r#"{"name":"loose","arguments":"{}"}"#),
        ("tools/call", r#"{"name":"loose","_meta":[]}"#),
        ("tools/call", r#"{"name":"loose","_meta":{"progressToken":{}}}"#),
        ("tools/call", r#"{"name":"loose","requestState":5}"#),
        ("tools/call", r#"{"name":"loose","inputResponses":[]}"#),
        ("prompts/get", "{}"),
        ("resources/read", "{}"),
        ("resources/read", r#"{"uri":["doc://open/1"]}"#),
        ("resources/read", r#"{"uri":"doc://open/1\u0000"}"#),
        ("resources/subscribe", r#"{"uri":5}"#),
        ("completion/complete", r#"{"ref":{"type":"ref/tool","name":"a"}}"#),
        ("completion/complete", r#"{"ref":{"type":"ref/prompt"}}"#),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let answer = stage.gateway.answer(&stage.gateway.post("reader", "crm", &body));
        assert_eq!(answer.status(), 400, "given {body}\ngot {}", answer.text());
        assert!(matches!(answer.code(), -32600 | -32602), "given {body}\ngot {}", answer.text());
    }
    assert_eq!(stage.upstream.requests().len(), 0);
}

#[test]
fn unknown_methods_and_notifications_are_refused_in_both_eras() {
    let stage = Stage::new();
    for method in [
        "Tools/Call",
        "TOOLS/CALL",
        "tools/call ",
        " tools/call",
        "tools\\\\call",
        "tools//call",
        "tools/ｃall",
        "tools/cаll",
        "tools/unknown",
        "server/discover",
        "subscriptions/listen",
        "skills/list",
        "rpc.discover",
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
        "tasks/update",
    ] {
        stage.body(
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"name":"loose"}}}}"#),
            (200, -32601),
        );
    }
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
        "tasks/result",
        "unknown/method",
        "TOOLS/LIST",
    ] {
        let message = mcp::modern(method, json!({"uri": "doc://open/1", "level": "info", "taskId": "t"}));
        let answer = stage.refused(&stage.gateway.modern("reader", "crm", &message), (404, -32601));
        assert_eq!(answer.json()["id"], json!(1), "{method}");
    }
    for method in [
        "notifications/unknown",
        "notifications/message",
        "notifications/tools/list_changed",
        "tools/call",
        "ping",
        "Notifications/initialized",
    ] {
        let body = json!({"jsonrpc": "2.0", "method": method, "params": {"name": "loose"}}).to_string();
        let answer = stage.gateway.answer(&stage.gateway.post("reader", "crm", &body));
        assert!((400..500).contains(&answer.status()), "{method}: {}", answer.status());
    }
    assert_eq!(stage.upstream.requests().len(), 0, "{:?}", stage.upstream.requests());
    stage.passes(&stage.gateway.post("reader", "crm", mcp::legacy("acme/reindex", json!({"deep": true})).to_string()));
    stage.passes(&stage.gateway.modern("reader", "crm", &mcp::modern("acme/reindex", json!({}))));
}

#[test]
fn a_name_is_that_tool_only_as_it_is_written() {
    let stage = Stage::new();
    for name in [
        "Loose",
        "LOOSE",
        "loose ",
        " loose",
        "lооse",
        "ｌoose",
        "loose\u{200b}",
        "loose\u{301}",
        "crm.loose",
        "loose/../hidden",
        "loo%73e",
        "loose\u{a0}",
    ] {
        let body = mcp::legacy("tools/call", mcp::call(name, json!({}))).to_string();
        let answer = stage.refused(&stage.gateway.post("reader", "crm", body), (200, -32602));
        assert_eq!(answer.json()["error"]["message"], json!(format!("Unknown tool: {name}")));
    }
    // The same characters, spelled otherwise, are the same name.
    stage.passes(&stage.gateway.post("reader", "crm", call("{}").replace("loose", "l\\u006f\\u006Fse")));
}

#[test]
fn an_error_of_the_upstream_keeps_its_own_words_and_id() {
    let upstream = Upstream::calls(|request, wire| {
        let error = json!({"jsonrpc": "2.0", "id": request.id(), "error": {"code": -32002, "message": "no such thing", "data": {"uri": "x"}}});
        wire.json(200, "", &error);
    });
    let gateway = Setup::open(&upstream).start();
    for id in [json!(7), json!("a\"b\\c"), json!("\u{2028}")] {
        let mut message = mcp::modern("tools/call", mcp::call("loose", json!({})));
        message["id"] = id.clone();
        let answer = gateway.answer(&gateway.modern("reader", "crm", &message));
        assert_eq!(answer.json()["id"], id);
        assert_eq!(answer.json()["error"]["data"], json!({"uri": "x"}));
        // One of our own carries the id as it was written.
        message["params"]["name"] = json!("unknown");
        let answer = gateway.answer(&gateway.modern("reader", "crm", &message));
        assert_eq!((&answer.json()["id"], answer.code()), (&id, -32602));
    }
}
