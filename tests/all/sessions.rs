//! What an upstream hands out (sessions, tasks, states, questions) belongs to whom it was handed to.

use std::sync::Mutex;

use portcullis_tests::audit::text;
use portcullis_tests::gateway::Gateway;
use portcullis_tests::mcp;
use portcullis_tests::secrets::{changed, claims, keys};
use portcullis_tests::setup::{OPEN, Setup};
use portcullis_tests::stream::{Events, Next};
use portcullis_tests::upstream::{Gate, Upstream, kind};
use portcullis_tests::wire::{Framing, Request};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::{Value, json};

/// Opens a session and gives its id.
#[track_caller]
pub fn open(gateway: &Gateway, agent: &str, server: &str) -> String {
    let answer = gateway.answer(&gateway.post(agent, server, mcp::legacy("initialize", mcp::hello()).to_string()));
    assert_eq!(answer.json()["result"]["protocolVersion"], json!(mcp::LEGACY), "{}", answer.text());
    answer.head.field("mcp-session-id").unwrap_or_else(|| panic!("no session: {:?}", answer.head)).to_owned()
}

/// A message within a session.
pub fn within(gateway: &Gateway, agent: &str, session: &str, message: &Value) -> Request {
    let request = gateway.post(agent, "crm", message.to_string());
    request.field("Mcp-Session-Id", session).field("MCP-Protocol-Version", mcp::LEGACY)
}

/// A GET or DELETE of a session.
pub fn bodyless(gateway: &Gateway, method: &str, agent: &str, session: &str) -> Request {
    let request =
        Request { method: method.to_owned(), framing: Framing::AsItIs, ..within(gateway, agent, session, &json!({})) };
    request.body("").without("Content-Type")
}

pub fn ping() -> Value {
    mcp::legacy("ping", json!({}))
}

#[test]
fn a_session_is_its_owners_alone() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).server("pg", &upstream, "").identity("user_claim = \"uid\"").start();
    let session = open(&gateway, "reader", "crm");
    assert!(session.len() >= 32 && !session.contains("upstream"), "the id is our own: {session}");
    assert_ne!(session, open(&gateway, "reader", "crm"));
    let handed = upstream.requests().len();
    let as_user =
        keys().eddsa.sign(&changed(claims("reader", &gateway.resource("crm")), json!({"uid": "eve"}))).unwrap();
    let other_route = gateway.post("reader", "pg", ping().to_string()).field("Mcp-Session-Id", &session);
    let mut said = Vec::new();
    for request in [
        within(&gateway, "writer", &session, &ping()),
        within(&gateway, "writer", &session, &mcp::legacy("tools/call", mcp::call("loose", json!({})))),
        within(&gateway, "writer", &session, &mcp::notification("notifications/cancelled", json!({"requestId": 1}))),
        within(&gateway, "writer", &session, &json!({"jsonrpc": "2.0", "id": 1, "result": {}})),
        within(&gateway, "reader", &session, &ping()).set("Authorization", &format!("Bearer {as_user}")),
        within(&gateway, "reader", "upstream-session-1", &ping()),
        within(&gateway, "reader", &session.to_ascii_uppercase().replace(char::is_numeric, "x"), &ping()),
        within(&gateway, "reader", &session[..session.len() - 1], &ping()),
        within(&gateway, "reader", &"a".repeat(5000), &ping()),
        within(&gateway, "reader", "", &ping()),
        other_route,
        bodyless(&gateway, "GET", "writer", &session),
        bodyless(&gateway, "GET", "writer", &session).field("Last-Event-ID", "7"),
        bodyless(&gateway, "DELETE", "writer", &session),
    ] {
        let answer = gateway.answer(&request);
        assert_eq!(
            (answer.status(), answer.code()),
            (404, -32001),
            "given {}\ngot {}",
            String::from_utf8_lossy(&request.bytes()),
            answer.text()
        );
        said.push(answer.json()["error"].clone());
    }
    assert!(said.windows(2).all(|pair| pair[0] == pair[1]), "an unknown session can be told from a foreign one");
    let twice = within(&gateway, "reader", &session, &ping()).field("Mcp-Session-Id", &session);
    assert_eq!(gateway.answer(&twice).status(), 400);
    assert_eq!(upstream.requests().len(), handed, "nothing of all that was forwarded");
    gateway.refusal("session_unknown");
    assert!(gateway.answer(&within(&gateway, "reader", &session, &ping())).is_result(), "its owner has it still");
    let forwarded = upstream.requests().pop().unwrap();
    assert!(forwarded.head.field("mcp-session-id").unwrap().starts_with("upstream-session-"));
    assert!(
        !gateway.records().iter().any(|record| record.to_string().contains(&session)),
        "the id, a means of access, stands in the log"
    );
}

#[test]
fn a_session_ends_with_its_owners_word_or_its_servers() {
    let upstream = Upstream::start(|request, wire| match (request.head.request().0, request.method().as_str()) {
        ("DELETE", _) if request.head.has("last-event-id") => drop(wire.status(405)),
        (_, "resources/list") => drop(wire.status(404)),
        _ => kind(request, wire),
    });
    let gateway = Setup::open(&upstream).start();
    let session = open(&gateway, "reader", "crm");
    let answer = gateway.answer(&bodyless(&gateway, "DELETE", "reader", &session));
    assert_eq!(answer.status(), 200);
    let ended = upstream.requests().pop().unwrap();
    assert_eq!((ended.head.request().0, ended.head.has("mcp-session-id")), ("DELETE", true));
    let before = upstream.requests().len();
    for request in [
        within(&gateway, "reader", &session, &ping()),
        bodyless(&gateway, "DELETE", "reader", &session),
        bodyless(&gateway, "GET", "reader", &session),
    ] {
        assert_eq!(gateway.answer(&request).status(), 404);
    }
    assert_eq!(upstream.requests().len(), before);
    // The server forgot it: the agent hears 404, which is what makes it begin anew.
    let session = open(&gateway, "reader", "crm");
    let answer = gateway.answer(&within(&gateway, "reader", &session, &mcp::legacy("resources/list", json!({}))));
    assert_eq!((answer.status(), answer.code()), (404, -32001), "{}", answer.text());
    let before = upstream.requests().len();
    assert_eq!(gateway.answer(&within(&gateway, "reader", &session, &ping())).status(), 404);
    assert_eq!(upstream.requests().len(), before);
}

#[test]
fn a_session_keeps_to_the_revision_it_settled() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).start();
    let session = open(&gateway, "reader", "crm");
    for (revision, status) in [("2025-06-18", 400), ("2025-03-26", 400), ("1999-01-01", 400), (mcp::LEGACY, 200)] {
        let request = within(&gateway, "reader", &session, &ping()).set("MCP-Protocol-Version", revision);
        assert_eq!(gateway.answer(&request).status(), status, "given {revision}");
    }
    assert!(gateway.answer(&within(&gateway, "reader", &session, &ping()).without("MCP-Protocol-Version")).is_result());
    for method in ["GET", "DELETE"] {
        let request = bodyless(&gateway, method, "reader", "").without("Mcp-Session-Id");
        assert_eq!(gateway.answer(&request).status(), 400, "{method} without a session");
    }
}

#[test]
fn so_many_sessions_are_held_and_no_more() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).limits("sessions = 2").start();
    let first = open(&gateway, "reader", "crm");
    open(&gateway, "writer", "crm");
    let answer = gateway.answer(&gateway.post("reader", "crm", mcp::legacy("initialize", mcp::hello()).to_string()));
    assert_eq!((answer.status(), answer.code()), (503, -33429), "{}", answer.text());
    gateway.refusal("sessions_full");
    assert_eq!(gateway.answer(&bodyless(&gateway, "DELETE", "reader", &first)).status(), 200);
    open(&gateway, "reader", "crm");
}

/// Asks its client `method` under the id `"q"` during each call of a tool, and ends the call once an answer has come.
fn asking(method: &'static str, params: Value) -> Upstream {
    let answered = Gate::default();
    Upstream::start(move |request, wire| match request.method().as_str() {
        "tools/call" => {
            wire.stream("").event(&json!({"jsonrpc": "2.0", "id": "q", "method": method, "params": params}));
            answered.pass();
            wire.last_event(request, mcp::text_result("thanks"));
        }
        "POST" => {
            wire.status(202);
            answered.open();
        }
        _ => kind(request, wire),
    })
}

const QUESTIONS: [(&str, &str); 3] = [
    ("sampling/createMessage", "upstream.sample"),
    ("elicitation/create", "upstream.elicit"),
    ("roots/list", "upstream.roots"),
];

const CALLS: &str = r#"permit (principal, action in Action::"call", resource);"#;

#[test]
fn a_question_that_no_rule_permits_is_answered_for_the_agent_who_never_sees_it() {
    for (method, action) in QUESTIONS {
        let upstream = asking(method, json!({"message": "your password?"}));
        let others = QUESTIONS.iter().filter(|(_, other)| *other != action);
        let rules: String =
            others.map(|(_, other)| format!("permit (principal, action == Action::\"{other}\", resource);")).collect();
        let gateway = Setup::new().server("crm", &upstream, "").policy(CALLS).policy(&rules).start();
        let session = open(&gateway, "reader", "crm");
        let call = mcp::legacy("tools/call", mcp::call("loose", json!({})));
        let mut events = Events::open(gateway.connect(), &within(&gateway, "reader", &session, &call));
        assert_eq!(events.message()["result"]["content"][0]["text"], json!("thanks"), "{method}");
        assert_eq!(events.next_event(), Next::End);
        let declined = upstream.wait(|request| request.id() == json!("q"));
        assert!(declined.json().get("error").is_some(), "{method}: {}", declined.json());
        assert!(declined.head.field("mcp-session-id").is_some_and(|id| id.starts_with("upstream-session-")));
        let asked = gateway.record(|record| text(record, "event") == "server.request");
        assert_eq!((text(&asked, "method"), text(&asked, "decision")), (method, "deny"));
        let forged = within(&gateway, "reader", &session, &json!({"jsonrpc": "2.0", "id": "q", "result": {}}));
        assert_eq!(gateway.answer(&forged).status(), 400, "the agent was not asked");
    }
}

#[test]
fn a_permitted_question_is_answered_once_by_whom_it_was_put_to() {
    for (method, action) in QUESTIONS {
        let upstream = asking(method, json!({"message": "your name?"}));
        let rule = format!("permit (principal == Agent::\"reader\", action == Action::\"{action}\", resource);");
        let gateway = Setup::new().server("crm", &upstream, "").policy(CALLS).policy(&rule).start();
        let session = open(&gateway, "reader", "crm");
        let foreign = open(&gateway, "writer", "crm");
        let call = mcp::legacy("tools/call", mcp::call("loose", json!({})));
        let mut events = Events::open(gateway.connect(), &within(&gateway, "reader", &session, &call));
        let asked = events.message();
        assert_eq!((&asked["id"], &asked["method"]), (&json!("q"), &json!(method)));
        let answer = json!({"jsonrpc": "2.0", "id": "q", "result": {"content": {"n": 1.5}}});
        let send = |agent: &str, session: &str, answer: &Value| {
            gateway.answer(&within(&gateway, agent, session, answer)).status()
        };
        assert_eq!(send("writer", &session, &answer), 404);
        assert_eq!(send("writer", &foreign, &answer), 400);
        for id in [json!("Q"), json!(1), json!("")] {
            assert_eq!(send("reader", &session, &json!({"jsonrpc": "2.0", "id": id, "result": {}})), 400, "{id}");
        }
        let outside = gateway.post("reader", "crm", answer.to_string());
        assert_eq!(gateway.answer(&outside).status(), 400, "without its session");
        assert_eq!(send("reader", &session, &answer), 202);
        assert_eq!(events.message()["result"]["content"][0]["text"], json!("thanks"));
        assert_eq!(events.next_event(), Next::End);
        assert_eq!(send("reader", &session, &answer), 400, "a second answer");
        let passed: Vec<Value> =
            upstream.of_method("POST").iter().map(portcullis_tests::upstream::Received::json).collect();
        assert_eq!(passed, [answer]);
        gateway.refusal("answer_unasked");
    }
}

#[test]
fn a_question_of_another_kind_reaches_nobody() {
    for method in ["tools/call", "tasks/list", "acme/ask", "Ping"] {
        let upstream = asking(method, json!({"name": "loose"}));
        let gateway = Setup::open(&upstream).start();
        let session = open(&gateway, "reader", "crm");
        let call = mcp::legacy("tools/call", mcp::call("loose", json!({})));
        let mut events = Events::open(gateway.connect(), &within(&gateway, "reader", &session, &call));
        assert!(events.message().get("result").is_some(), "{method}");
        assert!(upstream.wait(|request| request.id() == json!("q")).json().get("error").is_some(), "{method}");
    }
}

/// Answers calls of `loose` with a task or a state named by the argument, everything else well.
fn handing() -> Upstream {
    Upstream::start(|request, wire| {
        let message = request.json();
        let argument = |name: &str| message.pointer(&format!("/params/arguments/{name}")).cloned();
        if request.method() != "tools/call" || message.pointer("/params/requestState").is_some() {
            kind(request, wire);
        } else if let Some(task) = argument("task") {
            let task = json!({"resultType": "task", "taskId": task, "status": "working", "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z", "ttlMs": 60000});
            wire.result(request, task);
        } else if let Some(state) = argument("state") {
            let asked = json!({"name": {"method": "elicitation/create", "params": {"message": "name?", "requestedSchema": {"type": "object", "properties": {}}}}});
            wire.result(
                request,
                json!({"resultType": "input_required", "inputRequests": asked, "requestState": state}),
            );
        } else {
            kind(request, wire);
        }
    })
}

#[test]
fn a_task_is_its_owners_alone() {
    let upstream = handing();
    let gateway = Setup::open(&upstream).server("pg", &upstream, "").start();
    assert!(gateway.answer(&gateway.call("reader", "loose", json!({"task": "t-1"}))).is_result());
    let before = upstream.requests().len();
    let ask = |agent: &str, server: &str, method: &str, task: &str| {
        gateway.answer(&gateway.modern(
            agent,
            server,
            &mcp::modern(method, json!({"taskId": task, "inputResponses": {}})),
        ))
    };
    for method in ["tasks/get", "tasks/cancel", "tasks/update"] {
        let unknown = ask("reader", "crm", method, "t-2");
        assert_eq!((unknown.status(), unknown.code()), (200, -32602), "{method}: {}", unknown.text());
        for (agent, server, task) in [("writer", "crm", "t-1"), ("reader", "pg", "t-1"), ("reader", "crm", "T-1")] {
            let foreign = ask(agent, server, method, task);
            assert_eq!(foreign.text(), unknown.text(), "{agent} {method} {task} on {server}");
        }
    }
    let listen = |agent: &str| {
        gateway.modern(
            agent,
            "crm",
            &mcp::modern("subscriptions/listen", json!({"notifications": {"taskIds": ["t-1"]}})),
        )
    };
    assert_eq!(gateway.answer(&listen("writer")).code(), -32602);
    assert_eq!(upstream.requests().len(), before);
    gateway.refusal("task_unknown");
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        assert!(ask("reader", "crm", method, "t-1").is_result(), "{method}");
    }
    assert_eq!(upstream.requests().pop().unwrap().head.field("mcp-name"), Some("t-1"));
}

#[test]
fn a_task_that_two_are_handed_stays_with_the_first() {
    let upstream = handing();
    let gateway = Setup::open(&upstream).start();
    for agent in ["reader", "writer"] {
        gateway.answer(&gateway.call(agent, "loose", json!({"task": "same"})));
    }
    let ask = |agent: &str| {
        gateway.answer(&gateway.modern(agent, "crm", &mcp::modern("tasks/get", json!({"taskId": "same"}))))
    };
    assert!(ask("reader").is_result());
    assert_eq!(ask("writer").code(), -32602);
}

#[test]
fn a_state_comes_back_from_whom_it_was_handed_to_for_the_very_call() {
    let upstream = handing();
    let gateway = Setup::open(&upstream).start();
    let asked = gateway.answer(&gateway.call("reader", "loose", json!({"state": "st-1"})));
    assert_eq!(asked.json()["result"]["requestState"], json!("st-1"), "{}", asked.text());
    let retry = |agent: &str, tool: &str, state: &str| {
        let params = json!({"name": tool, "arguments": {"state": "x"}, "requestState": state, "inputResponses": {"name": {"action": "accept"}}});
        gateway.answer(&gateway.modern(agent, "crm", &mcp::modern("tools/call", params)))
    };
    let before = upstream.requests().len();
    for (agent, tool, state) in [
        ("writer", "loose", "st-1"),
        ("reader", "bare", "st-1"),
        ("reader", "loose", "st-2"),
        ("reader", "loose", ""),
        ("reader", "loose", "ST-1"),
    ] {
        let answer = retry(agent, tool, state);
        assert_eq!((answer.status(), answer.code()), (200, -32602), "{agent} {tool} {state}: {}", answer.text());
    }
    assert_eq!(upstream.requests().len(), before);
    gateway.refusal("request_state_unknown");
    assert!(retry("reader", "loose", "st-1").is_result());
}

#[test]
fn a_result_that_asks_what_no_rule_permits_is_withheld() {
    let upstream = handing();
    let gateway = Setup::new().server("crm", &upstream, "").policy(CALLS).start();
    let answer = gateway.answer(&gateway.call("reader", "loose", json!({"state": "st-1"})));
    assert_eq!((answer.status(), answer.code()), (200, -33403), "{}", answer.text());
    assert!(!answer.text().contains("name?"));
    gateway.refusal("upstream_asked_too_much");
}

/// Ends the stream of each `tools/list` without its answer, and brings it on the session's GET, beside much that nobody asked for.
pub fn polling() -> Upstream {
    Upstream::start(|request, wire| {
        if request.method() == "tools/list" {
            wire.stream("").chunk("id: 7\nretry: 5000\ndata:\n\n").end();
            return;
        }
        if request.head.request().0 != "GET" {
            return kind(request, wire);
        }
        wire.stream("").chunk("id: 8\nretry: 5000\ndata:\n\n");
        let answer = |id: u32, result: Value| json!({"jsonrpc": "2.0", "id": id, "result": result});
        wire.chunk(format!("id: 9\ndata: {}\n\n", answer(41, json!({"tools": mcp::tools()}))));
        wire.event(&answer(41, json!({"planted": "a second answer"})));
        wire.event(&answer(42, json!({"planted": "an answer to nobody"})));
        wire.event(&mcp::notification("notifications/tools/list_changed", json!({})));
        wire.event(&mcp::notification("notifications/unknown", json!({"planted": 1})));
        wire.chunk(format!("id: 10\ndata: {}\n\n", mcp::legacy("sampling/createMessage", json!({"planted": 1}))));
        wire.hang();
    })
}

/// The request whose answer [`polling`] brings on the GET.
pub fn listing() -> Value {
    let mut list = mcp::legacy("tools/list", json!({}));
    list["id"] = json!(41);
    list
}

#[test]
fn a_sessions_stream_is_resumed_by_its_owner_alone() {
    let upstream = polling();
    let rule = r#"permit (principal, action == Action::"crm.loose", resource);"#;
    let gateway = Setup::new().server("crm", &upstream, "").policy(rule).start();
    let session = open(&gateway, "reader", "crm");
    let list = listing();
    let mut events = Events::open(gateway.connect(), &within(&gateway, "reader", &session, &list));
    assert_eq!(
        events.next_event(),
        Next::Event("id: 7\nretry: 5000\ndata:".to_owned()),
        "what primes resumption passes"
    );
    assert_eq!(events.next_event(), Next::End, "a server may end a stream before its answer");
    let get = bodyless(&gateway, "GET", "reader", &session).field("Last-Event-ID", "7");
    assert_eq!(gateway.answer(&get.clone().set("Accept", "application/json")).status(), 406);
    let foreign = bodyless(&gateway, "GET", "writer", &session).field("Last-Event-ID", "7");
    assert_eq!(gateway.answer(&foreign).status(), 404);
    let mut events = Events::open(gateway.connect(), &get);
    assert_eq!(events.next_event(), Next::Event("id: 8\nretry: 5000\ndata:".to_owned()));
    let tools = events.message()["result"]["tools"].clone();
    assert_eq!(tools.as_array().map(Vec::len), Some(1), "a resumed list is filtered as any: {tools}");
    // What may not pass still moves the cursor.
    let mut rest = String::new();
    while !rest.contains("id: 10") {
        match events.next_event() {
            Next::Event(event) => rest += &event,
            ended => panic!("{ended:?} after {rest}"),
        }
    }
    assert!(rest.contains("notifications/tools/list_changed") && !rest.contains("planted"), "{rest}");
    let seen = upstream.wait(|request| request.head.request().0 == "GET");
    assert_eq!(seen.head.field("last-event-id"), Some("7"));
    // Leaving a listening stream lets the server go.
    drop(events);
    upstream.wait_closed(seen.connection);
}

#[test]
fn a_session_is_known_to_every_core() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).start();
    let session = open(&gateway, "reader", "crm");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // A connection is served by the core that received it, where there are several.
    for cpu in 0..2 {
        let mut only = CpuSet::new();
        only.set(cpu);
        let _one_core_alone = sched_setaffinity(None, &only);
        let mut client = gateway.connect();
        assert!(client.exchange(&within(&gateway, "reader", &session, &ping())).is_result());
    }
    let shards: std::collections::BTreeSet<u64> =
        gateway.events("decision").iter().filter_map(|record| record["shard"].as_u64()).collect();
    assert!(cores < 2 || shards.len() == 2, "one core served all");
}

#[test]
fn a_cancellation_needs_its_session_and_reaches_the_server() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).start();
    let session = open(&gateway, "reader", "crm");
    let cancel = mcp::notification("notifications/cancelled", json!({"requestId": 1}));
    assert_eq!(gateway.answer(&gateway.post("reader", "crm", cancel.to_string())).status(), 400);
    let before = upstream.requests().len();
    let answer = gateway.answer(&within(&gateway, "reader", &session, &cancel));
    assert_eq!((answer.status(), answer.body.len()), (202, 0));
    assert_eq!(upstream.requests().len(), before + 1);
}

#[test]
fn a_session_that_opens_on_a_stream_is_named_in_its_head() {
    let first = Mutex::new(true);
    let upstream = Upstream::start(move |request, wire| {
        let fresh = std::mem::replace(&mut *first.lock().unwrap(), false);
        if request.method() == "initialize" && fresh {
            let result = json!({"protocolVersion": mcp::LEGACY, "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}});
            wire.stream("Mcp-Session-Id: upstream-session-x\r\n")
                .chunk("id: 1\nretry: 5000\ndata:\n\n")
                .last_event(request, result);
        } else {
            kind(request, wire);
        }
    });
    let gateway = Setup::new().server("crm", &upstream, "").policy(OPEN).start();
    let hello = gateway.post("reader", "crm", mcp::legacy("initialize", mcp::hello()).to_string());
    let mut events = Events::open(gateway.connect(), &hello);
    let session = events.head.field("mcp-session-id").unwrap().to_owned();
    assert_eq!(events.message()["result"]["protocolVersion"], json!(mcp::LEGACY));
    assert!(gateway.answer(&within(&gateway, "reader", &session, &ping())).is_result());
    assert_eq!(upstream.requests().pop().unwrap().head.field("mcp-session-id"), Some("upstream-session-x"));
}
