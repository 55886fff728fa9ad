//! Requests that two readers could end in two places: refused, never forwarded, and nothing behind them is believed.

use portcullis_tests::gateway::Gateway;
use portcullis_tests::mcp;
use portcullis_tests::setup::Setup;
use portcullis_tests::upstream::Upstream;
use portcullis_tests::wire::{Framing, Request, holds};
use serde_json::{Value, json};

/// What a smuggled request would call.
const SMUGGLED: &str = "hidden";

/// A gateway and its upstream.
struct Stage {
    upstream: Upstream,
    gateway: Gateway,
}

impl Stage {
    fn new() -> Self {
        let upstream = Upstream::kind();
        let gateway = Setup::open(&upstream).start();
        Self { upstream, gateway }
    }

    fn good(&self) -> Request {
        self.gateway.call("reader", "loose", json!({}))
    }

    fn smuggled(&self) -> Vec<u8> {
        self.gateway.call("reader", SMUGGLED, json!({})).bytes()
    }

    /// A good call whose body is framed by `framing` (whole lines without the last CRLF). In both texts `{n}` is the length of the body,
    /// `{x}` the same in hexadecimal, `{b}` the body, `{c}` the body as one chunk.
    fn framed(&self, framing: &str, rest: &str) -> Vec<u8> {
        let good = self.good();
        let body = String::from_utf8(good.body.clone()).unwrap();
        let fill = |text: &str| {
            let chunk = format!("{:x}\r\n{body}\r\n", body.len());
            let text = text.replace("{n}", &body.len().to_string()).replace("{x}", &format!("{:x}", body.len()));
            text.replace("{c}", &chunk).replace("{b}", &body)
        };
        let mut bytes = good.framed(Framing::AsItIs).head();
        bytes.truncate(bytes.len() - 2);
        bytes.extend_from_slice(fill(framing).as_bytes());
        bytes.extend_from_slice(b"\r\n\r\n");
        bytes.extend_from_slice(fill(rest).as_bytes());
        bytes
    }

    /// Sends `bytes` and a good call behind them: the one is answered with `status`, the other with nothing, and neither is forwarded.
    #[track_caller]
    fn check(&self, bytes: impl AsRef<[u8]>, status: u16) {
        let bytes = bytes.as_ref();
        let before = self.upstream.requests().len();
        let mut client = self.gateway.connect();
        client.send([bytes, &self.smuggled()].concat());
        let answer = client.response();
        let shown = || String::from_utf8_lossy(bytes).chars().take(900).collect::<String>();
        assert_eq!(answer.status(), status, "given {}\ngot {}", shown(), answer.text());
        let (rest, _) = client.rest();
        assert!(rest.is_empty(), "given {}\nmore was answered: {}", shown(), String::from_utf8_lossy(&rest));
        assert_eq!(self.upstream.requests().len(), before, "given {}\nsomething was forwarded", shown());
    }

    #[track_caller]
    fn check_framed(&self, rows: &[(&str, &str, u16)]) {
        for (framing, rest, status) in rows {
            self.check(self.framed(framing, rest), *status);
        }
    }

    /// The gateway still serves, and upstream nothing of a smuggled call was seen.
    #[track_caller]
    fn still_serves(&self) {
        assert!(self.gateway.answer(&self.good()).is_result());
        assert!(!holds(&self.upstream.bytes(), SMUGGLED), "a smuggled call was forwarded");
        assert_eq!(self.gateway.metric("portcullis_panics_total"), 0.0);
    }
}

#[test]
fn a_body_with_length_and_encoding_is_refused() {
    let stage = Stage::new();
    let chunked = "{c}0\r\n\r\n";
    stage.check_framed(&[
        ("Content-Length: {n}\r\nTransfer-Encoding: chunked", chunked, 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: {n}", chunked, 400),
        ("content-length: {n}\r\ntRANSFER-eNCODING: CHUNKED", chunked, 400),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked", chunked, 400),
        ("Content-Length: {n}\r\nTransfer-Encoding:\tchunked", chunked, 400),
        ("Content-Length: {n}\r\nTransfer-Encoding: chunked \t", chunked, 400),
        ("Content-Length: {n}\r\nTransfer-Encoding:\r\n chunked", chunked, 400),
        ("Content-Length: {n}\r\nTransfer-Encoding : chunked", chunked, 400),
        ("Content-Length: {n}\r\nTransfer-Encoding: identity", "{b}", 400),
        ("Content-Length: {n}\r\nX: a\r\n\tTransfer-Encoding: chunked", "{b}", 400),
    ]);
    stage.still_serves();
}

#[test]
fn a_length_that_is_no_plain_number_is_refused() {
    let stage = Stage::new();
    stage.check_framed(&[
        ("Content-Length: {n}\r\nContent-Length: {n}", "{b}", 400),
        ("Content-Length: {n}\r\ncontent-length: 0", "{b}", 400),
        ("Content-Length: {n}, {n}", "{b}", 400),
        ("Content-Length: {n},0", "{b}", 400),
        ("Content-Length: +{n}", "{b}", 400),
        ("Content-Length: -{n}", "{b}", 400),
        ("Content-Length: 0x{x}", "{b}", 400),
        ("Content-Length: {x}h", "{b}", 400),
        ("Content-Length:", "{b}", 400),
        ("Content-Length: \"{n}\"", "{b}", 400),
        ("Content-Length: {n} 0", "{b}", 400),
        ("Content-Length: {n}.0", "{b}", 400),
        ("Content-Length: 1_0", "{b}", 400),
        ("Content-Length: ١", "{b}", 400),
        ("Content-Length: 99999999999999999999", "{b}", 400),
        ("Content-Length: 18446744073709551616", "{b}", 400),
        ("Content-Length: 9999999999999999999", "{b}", 413),
    ]);
    stage.still_serves();
}

#[test]
fn an_encoding_other_than_chunked_alone_is_refused() {
    let stage = Stage::new();
    let chunked = "{c}0\r\n\r\n";
    stage.check_framed(&[
        ("Transfer-Encoding: gzip, chunked", chunked, 501),
        ("Transfer-Encoding: chunked, gzip", chunked, 400),
        ("Transfer-Encoding: chunked, chunked", chunked, 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunked, 400),
        ("Transfer-Encoding: identity", chunked, 400),
        ("Transfer-Encoding: xchunked", chunked, 400),
        ("Transfer-Encoding: chunked;q=1", chunked, 400),
        ("Transfer-Encoding: \u{b}chunked", chunked, 400),
        ("Transfer-Encoding: 'chunked'", chunked, 400),
        ("Transfer-Encoding:", chunked, 400),
    ]);
    stage.still_serves();
}

#[test]
fn a_chunk_outside_the_grammar_is_refused() {
    let stage = Stage::new();
    let extension = format!("{{x}};a={}\r\n{{b}}\r\n0\r\n\r\n", "e".repeat(64 * 1024));
    let trailers = format!("{{c}}0\r\n{}\r\n", "X-Trailer: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(2000));
    let rows = [
        "+{x}\r\n{b}\r\n0\r\n\r\n",
        "-{x}\r\n{b}\r\n0\r\n\r\n",
        "0x{x}\r\n{b}\r\n0\r\n\r\n",
        "1_0\r\n{b}\r\n0\r\n\r\n",
        " {x}\r\n{b}\r\n0\r\n\r\n",
        "{x} \r\n{b}\r\n0\r\n\r\n",
        "{x}\t\r\n{b}\r\n0\r\n\r\n",
        "00000000000000000{x}\r\n{b}\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n{b}\r\n0\r\n\r\n",
        "\r\n{b}\r\n0\r\n\r\n",
        "g\r\n{b}\r\n0\r\n\r\n",
        "{x}\n{b}\r\n0\r\n\r\n",
        "{x}\r{b}\r\n0\r\n\r\n",
        "{x};\r\n{b}\r\n0\r\n\r\n",
        "{x};a\rb\r\n{b}\r\n0\r\n\r\n",
        "{x};a\nb\r\n{b}\r\n0\r\n\r\n",
        "{x};a=\"\r\n{b}\r\n0\r\n\r\n",
        "{x}\r\n{b}0\r\n\r\n",
        "{x}\r\n{b}\n0\r\n\r\n",
        "{x}\r\n{b}XX0\r\n\r\n",
        "1\r\n{b}\r\n0\r\n\r\n",
        "{c}0\r\nno colon\r\n\r\n",
        "{c}0\r\n folded: a\r\n\r\n",
        "{c}0\n\r\n",
        "{c}0\r\n\n",
        &extension,
        &trailers,
    ];
    for rest in rows {
        stage.check(stage.framed("Transfer-Encoding: chunked", rest), 400);
    }
    stage.still_serves();
}

#[test]
fn a_field_line_outside_the_grammar_is_refused() {
    let stage = Stage::new();
    let rows: &[&[u8]] = &[
        b"X: a\nY: b",
        b"X: a\n\tb",
        b"X: a\rb",
        b"X: a\r\r\nY: b",
        b"X: a\0b",
        b"X\0: a",
        b"X: a\r\n b",
        b"X: a\r\n\tb",
        b"X : a",
        b"X\t: a",
        b"Content-Length : 0",
        b"no colon",
        b": a",
        b"X(y): a",
        b"X/y: a",
        b"X y: a",
        b"X\xc3\xa9: a",
        b"X: a\x07b",
        b"X: a\x7fb",
    ];
    for line in rows {
        let mut bytes = stage.framed("Content-Length: {n}\r\n@", "{b}");
        let at = bytes.windows(3).position(|window| window == b"\n@\r").unwrap() + 1;
        bytes.splice(at..=at, line.iter().copied());
        stage.check(bytes, 400);
    }
    stage.still_serves();
}

#[test]
fn a_request_line_outside_the_grammar_is_refused() {
    let stage = Stage::new();
    let host = stage.gateway.authority();
    let absolute = |authority: &str| format!("POST http://{authority}/mcp/crm HTTP/1.1");
    let rows = [
        ("POST  /mcp/crm HTTP/1.1".to_owned(), 400),
        ("POST /mcp/crm  HTTP/1.1".to_owned(), 400),
        ("POST /mcp/crm HTTP/1.1 ".to_owned(), 400),
        (" POST /mcp/crm HTTP/1.1".to_owned(), 400),
        ("POST\t/mcp/crm\tHTTP/1.1".to_owned(), 400),
        ("POST /mcp/crm".to_owned(), 400),
        ("POST /mcp/crm HTTP/1.x".to_owned(), 505),
        ("POST /mcp/crm HTTP/1".to_owned(), 400),
        ("POST /mcp/crm http/1.1".to_owned(), 400),
        ("POST /mcp/crm HTTP/1.2".to_owned(), 505),
        ("POST /mcp/crm HTTP/2.0".to_owned(), 505),
        ("POST /mcp/crm#a HTTP/1.1".to_owned(), 400),
        ("POST mcp/crm HTTP/1.1".to_owned(), 400),
        ("POST * HTTP/1.1".to_owned(), 400),
        ("POST /mcp/c\u{1}rm HTTP/1.1".to_owned(), 400),
        ("POST /mcp/%zz HTTP/1.1".to_owned(), 400),
        ("P(ST /mcp/crm HTTP/1.1".to_owned(), 400),
        (format!("CONNECT {host} HTTP/1.1"), 501),
        (absolute("evil.test"), 400),
        (absolute(&format!("user@{host}")), 400),
        (format!("POST http://{host}?a HTTP/1.1"), 400),
        (format!("POST ftp://{host}/mcp/crm HTTP/1.1"), 400),
        (format!("POST /mcp/crm?{} HTTP/1.1", "a".repeat(9000)), 414),
        (format!("POST /mcp/crm HTTP/1.1\r\nX: {}", "a".repeat(17_000)), 431),
        (format!("POST /mcp/crm HTTP/1.1{}", "\r\nX: a".repeat(64)), 431),
    ];
    for (line, status) in rows {
        let good = String::from_utf8(stage.good().bytes()).unwrap();
        stage.check(good.replacen("POST /mcp/crm HTTP/1.1", &line, 1), status);
    }
    for before in ["\n", "\r\n\n", "\r\n\r\n", "\r"] {
        stage.check([before.as_bytes(), &stage.good().bytes()].concat(), 400);
    }
    stage.still_serves();
}

#[test]
fn a_host_that_is_not_one_plain_authority_is_refused() {
    let stage = Stage::new();
    let host = stage.gateway.authority();
    let rows = [
        String::new(),
        format!("Host: {host}\r\nHost: {host}\r\n"),
        format!("Host: {host}\r\nhost: evil.test\r\n"),
        "Host:\r\n".to_owned(),
        "Host:  \r\n".to_owned(),
        format!("Host: {host}, evil.test\r\n"),
        format!("Host: user@{host}\r\n"),
        format!("Host: {host}/mcp\r\n"),
        format!("Host: {host}#a\r\n"),
        format!("Host: {host}:1\r\n"),
        "Host: gateway:99999\r\n".to_owned(),
        "Host: gateway:http\r\n".to_owned(),
        "Host: [::1\r\n".to_owned(),
        "Host: g%61teway\r\n".to_owned(),
    ];
    for lines in rows {
        let good = String::from_utf8(stage.good().bytes()).unwrap();
        stage.check(good.replacen(&format!("Host: {host}\r\n"), &lines, 1), 400);
    }
    stage.still_serves();
}

#[test]
fn an_old_request_has_no_encoding_and_no_body_that_its_end_would_end() {
    let stage = Stage::new();
    let old = |framing: &str, rest: &str| {
        let bytes = String::from_utf8(stage.framed(framing, rest)).unwrap();
        bytes.replacen("HTTP/1.1", "HTTP/1.0", 1)
    };
    stage.check(old("Transfer-Encoding: chunked", "{c}0\r\n\r\n"), 400);
    stage.check(old("Content-Length: {n}\r\nTransfer-Encoding: chunked", "{c}0\r\n\r\n"), 400);
    // Without a length there is no body, so what follows is no body either; and an old connection ends with its answer.
    stage.check(old("X: a", "{b}"), 400);
    stage.still_serves();
}

#[test]
fn an_encoded_body_is_refused_unread() {
    let stage = Stage::new();
    for coding in ["gzip", "br", "deflate", "identity, gzip", "GZIP"] {
        stage.check(stage.framed(&format!("Content-Length: {{n}}\r\nContent-Encoding: {coding}"), "{b}"), 415);
    }
    let plain = stage.framed("Content-Length: {n}\r\nContent-Encoding: identity", "{b}");
    assert!(stage.gateway.connect().send(plain).response().is_result());
    stage.still_serves();
}

#[test]
fn an_unknown_expectation_is_refused_and_a_known_one_is_met() {
    let stage = Stage::new();
    stage.check(stage.framed("Content-Length: {n}\r\nExpect: 200-ok", "{b}"), 417);
    let expecting = stage.good().field("Expect", "100-continue");
    let mut client = stage.gateway.connect();
    assert_eq!(client.send(expecting.head()).response().status(), 100);
    assert!(client.send(&expecting.body).response().is_result());
    // Refused before it was asked for the body: the body must not be taken for the next request.
    let expecting = expecting.without("Authorization").body(stage.smuggled());
    assert_eq!(client.send(expecting.head()).response().status(), 401);
    let (rest, _) = client.send(&expecting.body).rest();
    assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    // RFC 9110 §10.1.1: HTTP/1.0 knows no expectations, so none is met.
    let old = String::from_utf8(stage.framed("Content-Length: {n}\r\nExpect: 100-continue", "{b}")).unwrap();
    let answer = stage.gateway.connect().send(old.replacen("HTTP/1.1", "HTTP/1.0", 1)).response();
    assert_eq!(answer.status(), 200);
    stage.still_serves();
}

#[test]
fn what_follows_an_early_answer_is_the_next_request_or_nothing() {
    let stage = Stage::new();
    // The body comes with its head: it is skipped, and the next request is the real next.
    let early = stage.good().without("Authorization").body(stage.smuggled());
    let mut client = stage.gateway.connect();
    client.send([early.bytes(), stage.gateway.get("/healthz").bytes()].concat());
    assert_eq!(client.response().status(), 401);
    assert_eq!(client.response().status(), 200);
    // The body comes later, or is too long to skip, or its end is not known beforehand: the connection ends.
    let long = early.clone().body(stage.smuggled().repeat(500));
    let chunked = early.clone().framed(Framing::Chunks(4096));
    for request in [early, long, chunked] {
        let mut client = stage.gateway.connect();
        assert_eq!(client.send(request.head()).response().status(), 401);
        let (rest, _) = client.send(&request.bytes()[request.head().len()..]).rest();
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }
    stage.still_serves();
}

#[test]
fn a_body_that_needs_none_is_skipped_and_not_read_as_a_request() {
    let stage = Stage::new();
    for (method, status) in [("GET", 200), ("HEAD", 200), ("OPTIONS", 204), ("DELETE", 405), ("PUT", 405)] {
        for framing in [Framing::Length, Framing::AsItIs] {
            let request = Request { method: method.to_owned(), framing, ..stage.gateway.get("/healthz") };
            let request = if framing == Framing::Length { request.body(stage.smuggled()) } else { request };
            let mut client = stage.gateway.connect();
            client.send([request.bytes(), stage.gateway.get("/readyz").bytes()].concat());
            let head = client.head();
            assert_eq!(head.status(), status, "{method}");
            if method != "HEAD" {
                client.take(head.field("content-length").map_or(0, |length| length.parse().unwrap()));
            }
            assert_eq!(client.response().text().trim(), "{\"status\":\"ready\"}", "{method} {framing:?}");
        }
    }
    stage.still_serves();
}

#[test]
fn an_upgrade_is_not_offered_and_not_forwarded() {
    let stage = Stage::new();
    let upgrade = stage.good().field("Connection", "upgrade").field("Upgrade", "websocket");
    let mut client = stage.gateway.connect();
    client.send([upgrade.bytes(), b"\x81\x05hello".to_vec(), stage.smuggled()].concat());
    assert!(client.response().is_result());
    assert_eq!(client.response().status(), 400);
    let (rest, _) = client.rest();
    assert!(rest.is_empty());
    let seen = stage.upstream.called();
    assert_eq!(seen.len(), 1);
    let forwarded = stage.upstream.requests().pop().unwrap();
    assert!(!forwarded.head.has("upgrade"), "{forwarded:?}");
    stage.still_serves();
}

#[test]
fn requests_in_one_write_are_answered_in_order() {
    let stage = Stage::new();
    let mut bytes = Vec::new();
    for id in 0..20 {
        let mut message = mcp::modern("tools/call", mcp::call("loose", json!({"n": id})));
        message["id"] = json!(id);
        let framing = if id % 2 == 0 { Framing::Length } else { Framing::Chunks(7) };
        bytes.extend(stage.gateway.modern("reader", "crm", &message).framed(framing).bytes());
    }
    let mut client = stage.gateway.connect();
    client.send(&bytes);
    for id in 0..20 {
        assert_eq!(client.response().json()["id"], json!(id));
    }
    // Byte by byte it is the same.
    let one = stage.good().framed(Framing::Chunks(3)).bytes();
    for byte in &one {
        client.send([*byte]);
    }
    assert!(client.response().is_result());
}

#[test]
fn a_body_reaches_the_upstream_byte_for_byte_however_it_came() {
    let stage = Stage::new();
    let odd = r#"{ "jsonrpc":"2.0","id" : 1e0 ,"x":1}"#;
    assert_eq!(stage.gateway.answer(&stage.gateway.post("reader", "crm", odd)).status(), 400);
    let body = format!(
        "\t{{ \"method\" :\"tools/call\",\"jsonrpc\":\"2.0\",\r\n\"id\":\"\\u00e4\" , \"params\":{{\"arguments\":{{\"a\":1.50,\"b\":1E2,\"\\u0063\":\"\\/\"}},\"name\":\"l\\u006fose\",\"_meta\":{}}} }} \n",
        mcp::modern("x", json!({}))["params"]["_meta"]
    );
    for framing in [Framing::Length, Framing::Chunks(1), Framing::Chunks(64), Framing::Chunks(1 << 20)] {
        let request = stage.good().body(&body).framed(framing);
        let answer = stage.gateway.answer(&request);
        assert!(answer.is_result(), "{}", answer.text());
        assert_eq!(answer.json()["id"], json!("ä"));
        let last = stage.upstream.requests().pop().unwrap();
        assert_eq!(String::from_utf8_lossy(&last.body), body, "{framing:?}");
        assert!(!last.head.has("transfer-encoding"));
    }
}

#[test]
fn targets_in_absolute_form_and_queries_lead_where_the_host_says() {
    let stage = Stage::new();
    let host = stage.gateway.authority();
    for target in [format!("http://{host}/mcp/crm"), format!("HTTP://{host}/mcp/crm"), "/mcp/crm?a=b".to_owned()] {
        let request = Request { target: target.clone(), ..stage.good() };
        assert!(stage.gateway.answer(&request).is_result(), "{target}");
    }
    let forwarded = stage.upstream.requests().pop().unwrap();
    assert_eq!(forwarded.head.request(), ("POST", "/mcp"));
    for target in ["/mcp/crm/", "/mcp/crm/../crm", "/mcp//crm", "/MCP/crm", "/mcp/%63rm", "/mcp/crm%2f", "/mcp"] {
        let request = Request { target: target.to_owned(), ..stage.good() };
        assert_eq!(stage.gateway.answer(&request).status(), 404, "{target}");
    }
}

#[test]
fn an_old_client_is_answered_and_then_left() {
    let stage = Stage::new();
    let old = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1);
    let mut client = stage.gateway.connect();
    client.send(old(stage.good().bytes()));
    let answer = client.response();
    assert!(answer.is_result());
    assert_eq!(answer.head.field("connection"), Some("close"));
    client.closed();
    let mut client = stage.gateway.connect();
    client.send(stage.good().field("Connection", "close").bytes());
    assert!(client.response().is_result());
    client.closed();
    let page: Value = stage.gateway.connect().send(old(stage.gateway.get("/healthz").bytes())).response().json();
    assert_eq!(page, json!({"status": "ok"}));
}
