//! Where requests lead, what is said to those that lead nowhere, and which fields pass in either direction.

use portcullis_tests::gateway::Gateway;
use portcullis_tests::secrets;
use portcullis_tests::setup::{OPEN, Setup};
use portcullis_tests::stream::Events;
use portcullis_tests::upstream::{Gate, Upstream, kind};
use portcullis_tests::wire::{Request, Response, holds};
use serde_json::{Value, json};

fn good(gateway: &Gateway) -> Request {
    gateway.call("reader", "loose", json!({}))
}

#[test]
fn a_host_that_is_not_ours_is_refused() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).listen("hosts = [\"edge.internal:8443\"]").start();
    let authority = gateway.authority();
    let ip = gateway.address().ip().to_string();
    for host in [
        "evil.test",
        "localhost",
        "127.0.0.2:8080",
        "localhost.evil.test:8080",
        &ip,
        &format!("{ip}:8081"),
        &format!("{ip}:808"),
        &format!("{ip}.evil.test:8080"),
        "edge.internal",
        "edge.internal:443",
        "a.edge.internal:8443",
        "edge.internal.:8443",
    ] {
        for request in
            [good(&gateway), gateway.get("/readyz"), gateway.get("/.well-known/oauth-protected-resource/mcp/crm")]
        {
            let answer = gateway.answer(&request.set("Host", host));
            assert_eq!((answer.status(), answer.code()), (403, -33404), "given {host}: {}", answer.text());
            assert!(!answer.head.has("www-authenticate"));
        }
    }
    for host in ["edge.internal:8443", "EDGE.Internal:8443", "localhost:8080", &authority] {
        assert!(gateway.answer(&good(&gateway).set("Host", host)).is_result(), "given {host}");
    }
    assert_eq!(upstream.called().len(), 4);
    gateway.refusal("host_not_allowed");
}

#[test]
fn an_origin_that_is_not_ours_is_refused_and_an_allowed_one_may_read() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).listen("origins = [\"https://app.example.com\"]").start();
    for origin in [
        "null",
        "*",
        "",
        "https://evil.test",
        "http://app.example.com",
        "https://app.example.com:444",
        "https://app.example.com.evil.test",
        "https://app.example.com/",
        "https://app.example.com https://evil.test",
    ] {
        for request in
            [good(&gateway), Request { method: "OPTIONS".to_owned(), ..good(&gateway) }, gateway.get("/healthz")]
        {
            let answer = gateway.answer(&request.field("Origin", origin));
            assert_eq!(answer.status(), 403, "given {origin:?}: {}", answer.text());
            assert!(!answer.head.has("access-control-allow-origin"), "given {origin:?}");
        }
    }
    let twice = good(&gateway).field("Origin", "https://app.example.com").field("Origin", "https://app.example.com");
    assert_eq!(gateway.answer(&twice).status(), 403);
    assert_eq!(upstream.requests().len(), 0);
    let allowed = good(&gateway).field("Origin", "https://app.example.com");
    let preflight = Request { method: "OPTIONS".to_owned(), ..allowed.clone() }.without("Authorization").body("");
    let preflight = gateway.answer(&preflight);
    assert_eq!(preflight.status(), 204);
    let answer = gateway.answer(&allowed);
    assert!(answer.is_result());
    let refused = gateway.answer(&allowed.without("Authorization"));
    assert_eq!(refused.status(), 401);
    for answer in [preflight, answer, refused] {
        assert_eq!(answer.head.field("access-control-allow-origin"), Some("https://app.example.com"));
        assert!(!answer.head.has("access-control-allow-credentials"));
        let exposed = answer.head.field("access-control-expose-headers").unwrap_or_default().to_ascii_lowercase();
        for name in ["www-authenticate", "mcp-session-id", "mcp-protocol-version"] {
            assert!(exposed.contains(name), "{exposed}");
        }
    }
    gateway.refusal("origin_not_allowed");
}

#[test]
fn a_request_that_leads_nowhere_says_so_and_nothing_else() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).start();
    for (method, target, status) in [
        ("POST", "/", 404),
        ("POST", "/mcp", 404),
        ("POST", "/mcp/other", 404),
        ("POST", "/mcp/crm/x", 404),
        ("GET", "/metrics", 404),
        ("GET", "/v1/status", 404),
        ("POST", "/v1/reload", 404),
        ("GET", "/.well-known/oauth-protected-resource/mcp/other", 404),
        ("GET", "/.well-known/oauth-authorization-server", 404),
        ("PUT", "/mcp/crm", 405),
        ("PATCH", "/mcp/crm", 405),
        ("TRACE", "/mcp/crm", 405),
        ("post", "/mcp/crm", 405),
        ("HEAD", "/mcp/crm", 405),
        ("POST", "/healthz", 405),
        ("DELETE", "/readyz", 405),
    ] {
        let request = Request { method: method.to_owned(), target: target.to_owned(), ..good(&gateway) };
        let answer = gateway.answer(&request);
        assert_eq!(answer.status(), status, "{method} {target}: {}", answer.text());
        assert_eq!(answer.head.has("allow"), status == 405, "{method} {target}");
        assert!(!holds(&answer.body, "crm"), "{}", answer.text());
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn a_message_that_is_no_json_or_takes_no_json_is_refused_unread() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).start();
    let check = |name: &str, value: Option<&str>, status: u16| {
        let request = good(&gateway).without(name);
        let request = value.map_or(request.clone(), |value| request.field(name, value));
        let answer = gateway.answer(&request);
        assert_eq!(answer.status(), status, "given {name}: {value:?}");
    };
    for media in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/jsonx"),
        Some("application/json, text/plain"),
        Some(""),
    ] {
        check("Content-Type", media, 415);
    }
    for accept in [None, Some(""), Some("application/json"), Some("text/event-stream"), Some("text/html")] {
        check("Accept", accept, 406);
    }
    assert_eq!(upstream.requests().len(), 0);
    for media in ["application/json", "Application/JSON", "application/json; charset=utf-8"] {
        check("Content-Type", Some(media), 200);
    }
    for accept in [
        "text/event-stream,application/json",
        "*/*",
        "application/*;q=0.5, text/*",
        "application/json;q=1, text/event-stream;q=0.1",
    ] {
        check("Accept", Some(accept), 200);
    }
}

#[test]
fn each_route_describes_itself_as_a_resource() {
    let upstream = Upstream::kind();
    let one = Setup::new().server("crm", &upstream, "scopes = [\"crm:read\", \"crm:write\"]").policy(OPEN);
    let two = one.clone().server("pg", &upstream, "").start();
    let one = one.start();
    let read = |gateway: &Gateway, path: &str| {
        let answer = gateway.answer(&gateway.get(&format!("/.well-known/oauth-protected-resource{path}")));
        assert_eq!(answer.head.field("content-type"), Some("application/json"));
        (answer.status(), answer.json())
    };
    let (status, page) = read(&one, "/mcp/crm");
    assert_eq!(status, 200);
    assert_eq!(page["resource"], json!(one.resource("crm")));
    assert_eq!(page["authorization_servers"], json!([secrets::ISSUER]));
    assert_eq!(page["scopes_supported"], json!(["crm:read", "crm:write"]));
    assert_eq!(page["bearer_methods_supported"], json!(["header"]));
    assert_eq!(read(&one, "").1, page, "of one route the root tells as well");
    assert_eq!(read(&two, "/mcp/pg").1["resource"], json!(two.resource("pg")));
    assert_eq!(read(&two, "").0, 404, "of two routes the root tells none");
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn a_challenge_says_where_to_learn_more_and_whether_another_token_would_help() {
    let upstream = Upstream::kind();
    let setup = Setup::new().server("crm", &upstream, "scopes = [\"crm:read\", \"crm:write\"]").policy(OPEN);
    let gateway = setup
        .agent_table("idle", "status = \"suspended\"\ntokens = [{ issuer = \"idp\", client_id = \"idle\" }]")
        .start();
    let challenge = |request: &Request| {
        let answer = gateway.answer(request);
        (answer.status(), answer.head.field("www-authenticate").unwrap_or_default().to_owned())
    };
    let place =
        format!("resource_metadata=\"http://{}/.well-known/oauth-protected-resource/mcp/crm\"", gateway.authority());
    let (status, told) = challenge(&good(&gateway).without("Authorization"));
    assert!(status == 401 && told.starts_with("Bearer ") && told.contains(&place), "{told}");
    assert!(told.contains("scope=\"crm:read crm:write\"") && !told.contains("error="), "{told}");
    let (status, told) = challenge(&good(&gateway).set("Authorization", "Bearer a.b.c"));
    assert!(status == 401 && told.contains(&place) && told.contains("error=\"invalid_token\""), "{told}");
    let (status, told) = challenge(&gateway.call("idle", "loose", json!({})));
    assert!(status == 403 && !told.contains("error=") && !told.contains("suspended"), "{told}");
    // The other methods of a route ask as well.
    for method in ["GET", "DELETE"] {
        let request = Request { method: method.to_owned(), ..good(&gateway).without("Authorization") };
        assert_eq!(challenge(&request).0, 401, "{method}");
    }
}

#[test]
fn health_is_told_to_everybody_and_readiness_too() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).start();
    let mut client = gateway.connect();
    for (path, said) in [("/healthz", "ok"), ("/readyz", "ready"), ("/healthz?a=b", "ok")] {
        let answer = client.exchange(&gateway.get(path));
        assert_eq!((answer.status(), answer.json()), (200, json!({"status": said})));
        assert_eq!(client.exchange(&Request { method: "HEAD".to_owned(), ..gateway.get(path) }).status(), 200);
    }
}

/// Fields that an agent may try: marks that must not arrive.
const STRIPPED: [&str; 30] = [
    "Cookie",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Client-Cert",
    "X-Real-IP",
    "X-Client-Cert",
    "X-Api-Key",
    "X-Auth-Token",
    "Proxy-Authorization",
    "DPoP",
    "Mcp-Init-Host",
    "Mcp-Session-Id",
    "Last-Event-ID",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-Portcullis-Agent",
    "X-Agent-Id",
    "Via",
    "Referer",
    "User-Agent",
    "Accept-Language",
    "Range",
    "If-None-Match",
    "Upgrade",
    "Keep-Alive",
    "Proxy-Connection",
    "Baggage",
];

#[test]
fn of_an_agents_fields_only_those_that_were_judged_reach_the_upstream() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).listen("origins = [\"https://app.example.com\"]").start();
    let mut request = good(&gateway).field("Origin", "https://app.example.com").field("Accept-Encoding", "gzip, br");
    for name in STRIPPED {
        request = request.field(name, "planted-mark");
    }
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request = request.field("traceparent", trace).field("Mcp-Param-Unknown", "passes");
    assert!(gateway.answer(&request).is_result());
    let seen = upstream.wait_for(1);
    let mut names: Vec<String> = seen.head.fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    let expected = [
        "accept",
        "accept-encoding",
        "content-length",
        "content-type",
        "host",
        "mcp-method",
        "mcp-name",
        "mcp-param-unknown",
        "mcp-protocol-version",
        "traceparent",
    ];
    assert_eq!(names, expected, "{:?}", seen.head);
    assert_eq!(seen.head.field("host"), Some(upstream.address().to_string().as_str()));
    assert_eq!(seen.head.field("accept-encoding"), Some("identity"));
    assert_eq!(seen.head.field("traceparent"), Some(trace));
    assert!(!holds(&upstream.bytes(), "planted-mark"));
    assert!(
        !holds(&upstream.bytes(), gateway.token("reader", "crm").split('.').nth(1).unwrap()),
        "the agent's token was forwarded"
    );
    for odd in ["00-xyz", "a\tb", &"0".repeat(500)] {
        assert!(gateway.answer(&good(&gateway).field("traceparent", odd)).is_result());
    }
    assert_eq!(
        upstream.requests().iter().filter(|request| request.head.has("traceparent")).count(),
        1,
        "only well-formed traces pass"
    );
}

#[test]
fn a_token_outside_its_field_counts_for_nothing_and_goes_nowhere() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).start();
    let token = gateway.token("reader", "crm");
    let bare = good(&gateway).without("Authorization");
    for request in [
        Request { target: format!("/mcp/crm?access_token={token}"), ..bare.clone() },
        bare.clone().field("X-Authorization", &format!("Bearer {token}")),
        bare.clone().field("Cookie", &format!("token={token}")),
        bare.clone().field("Proxy-Authorization", &format!("Bearer {token}")),
    ] {
        assert_eq!(gateway.answer(&request).status(), 401);
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn of_an_upstreams_fields_none_reaches_the_agent() {
    let planted = "Set-Cookie: a=planted-mark\r\nWWW-Authenticate: Bearer realm=\"planted-mark\"\r\nServer: planted-mark\r\n\
        X-Powered-By: planted-mark\r\nLocation: http://planted-mark/\r\nAccess-Control-Allow-Origin: *\r\nMcp-Session-Id: planted-mark\r\n\
        X-Session: planted-mark\r\nLink: planted-mark\r\nRefresh: planted-mark\r\nAlt-Svc: planted-mark\r\nSec-Any: planted-mark\r\n";
    let upstream = Upstream::calls(move |request, wire| {
        let result =
            json!({"jsonrpc": "2.0", "id": request.id(), "result": portcullis_tests::mcp::text_result("fine")});
        match request.json().pointer("/params/arguments/how").and_then(Value::as_str) {
            Some("stream") => drop(wire.stream(planted).event(&result).end()),
            Some("error") => drop(wire.json(
                400,
                planted,
                &json!({"jsonrpc": "2.0", "id": request.id(), "error": {"code": -32602, "message": "no"}}),
            )),
            Some(status) => drop(wire.json(status.parse().unwrap(), planted, &json!({"planted-mark": 1}))),
            None => drop(wire.json(200, planted, &result)),
        }
    });
    let gateway = Setup::open(&upstream).start();
    let clean = |answer: &Response| {
        let head = format!("{:?}", answer.head);
        assert!(!head.contains("planted-mark") && !answer.head.has("access-control-allow-origin"), "{head}");
        assert!(!answer.head.has("www-authenticate"), "{head}");
        assert!(!holds(&answer.body, "planted-mark"), "{}", answer.text());
    };
    let call = |how: Value| gateway.answer(&gateway.call("reader", "loose", how));
    let answer = call(json!({}));
    assert!(answer.is_result());
    clean(&answer);
    let answer = call(json!({"how": "error"}));
    assert_eq!(answer.code(), -32602, "an upstream's own answer passes");
    clean(&answer);
    for status in ["401", "403", "407", "500", "503", "301"] {
        let answer = call(json!({"how": status}));
        assert_eq!((answer.status(), answer.code()), (502, -33502), "given {status}");
        clean(&answer);
    }
    let events = Events::open(gateway.connect(), &gateway.call("reader", "loose", json!({"how": "stream"})));
    clean(&Response { head: events.head.clone(), body: Vec::new() });
    assert_eq!(events.head.field("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(events.head.field("x-accel-buffering"), Some("no"));
}

const SECRET: &str = "s3cret-\"value\\of/crm";

fn lending(upstream: &Upstream) -> Setup {
    let credential = "credential = { header = \"X-Upstream-Key\", value = \"Key {secret:crm}\" }";
    Setup::new().server("crm", upstream, credential).policy(OPEN).secret("crm", SECRET)
}

#[test]
fn a_credential_reaches_its_upstream_and_nobody_else() {
    let (upstream, other) = (Upstream::kind(), Upstream::kind());
    let gateway = lending(&upstream).server("pg", &other, "").start();
    let answer = gateway.answer(&good(&gateway).field("X-Upstream-Key", "forged"));
    assert!(answer.is_result(), "{}", answer.text());
    let seen = upstream.wait_for(1);
    assert_eq!(seen.head.field("x-upstream-key"), Some(format!("Key {SECRET}").as_str()));
    let foreign = gateway.modern("reader", "pg", &portcullis_tests::mcp::modern("tools/list", json!({})));
    assert!(gateway.answer(&foreign.field("X-Upstream-Key", "forged")).is_result());
    assert!(!other.wait_for(1).head.has("x-upstream-key"));
    let log = gateway.log();
    assert!(!log.contains("s3cret") && !gateway.records().iter().any(|record| record.to_string().contains("s3cret")));
    assert!(!gateway.control("GET", "/v1/status").1.to_string().contains("s3cret"));
}

#[test]
fn an_answer_with_our_secret_in_it_is_withheld() {
    let escaped = serde_json::to_string(SECRET).unwrap();
    let escaped = escaped.trim_matches('"').to_owned();
    let gate = Gate::default();
    let at_script = gate.clone();
    let upstream = Upstream::start(move |request, wire| {
        let how = request.json().pointer("/params/arguments/how").cloned().unwrap_or_default();
        let (open, close) = (r#"{"jsonrpc":"2.0","id":1,"#, "}");
        let body = match how.as_str() {
            Some("text" | "stream" | "late") => {
                format!(r#"{open}"result":{{"content":[{{"type":"text","text":"your key is Key {escaped}"}}]}}{close}"#)
            }
            Some("key") => format!(r#"{open}"result":{{"content":[],"{escaped}":1}}{close}"#),
            Some("error") => format!(r#"{open}"error":{{"code":-32000,"message":"bad key {escaped}"}}{close}"#),
            _ => return kind(request, wire),
        };
        let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}});
        match how.as_str() {
            Some("stream") => drop(wire.stream("").chunk(format!("data: {body}\n\n")).end()),
            Some("late") => {
                wire.stream("").event(&progress);
                at_script.pass();
                wire.chunk(format!("data: {body}\n\n")).end();
            }
            _ => drop(wire.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ))),
        }
    });
    let gateway = lending(&upstream).start();
    for how in ["text", "key", "error", "stream"] {
        let answer = gateway.answer(&gateway.call("reader", "loose", json!({"how": how})));
        assert_eq!((answer.status(), answer.code()), (502, -33502), "given {how}: {}", answer.text());
        assert!(!holds(&answer.body, "s3cret"), "given {how}");
    }
    let mut events = Events::open(gateway.connect(), &gateway.call("reader", "loose", json!({"how": "late"})));
    events.message();
    gate.open();
    assert_eq!(events.next_event(), portcullis_tests::stream::Next::Broken, "what follows a leak is not shown");
    gateway.refusal("upstream_leaked_secret");
    assert!(!gateway.records().iter().any(|record| record.to_string().contains("s3cret")), "the log holds the secret");
    assert!(gateway.answer(&good(&gateway)).is_result());
}
