//! In a legacy session an id is taken until its answer has come, and a late answer meets what holds when it comes.

use portcullis_tests::gateway::Gateway;
use portcullis_tests::mcp;
use portcullis_tests::setup::{self, Setup};
use portcullis_tests::stream::{Events, Next};
use portcullis_tests::upstream::{Gate, Upstream, kind};
use serde_json::{Value, json};

use crate::sessions::{bodyless, listing, open, ping, polling, within};

/// Asks under ids that a server may take for this one; each is refused and reaches nobody.
#[track_caller]
fn check_taken(gateway: &Gateway, upstream: &Upstream, session: &str, ids: &[&str]) {
    let handed = upstream.requests().len();
    for id in ids {
        let body = ping().to_string().replacen("\"id\":1", &format!("\"id\":{id}"), 1);
        let answer = gateway.answer(&within(gateway, "reader", session, &json!({})).body(&body));
        assert_eq!(answer.status(), 400, "given the id {id}: {}", answer.text());
        assert!(answer.text().contains("a request under this id has not been answered yet"), "{}", answer.text());
    }
    gateway.refusal("request_id_in_use");
    assert_eq!(upstream.requests().len(), handed);
}

/// A session in which the answer to this request has not come on the request's own stream.
#[track_caller]
fn owed_a_list(gateway: &Gateway) -> (String, Value) {
    let session = open(gateway, "reader", "crm");
    let list = listing();
    let mut events = Events::open(gateway.connect(), &within(gateway, "reader", &session, &list));
    assert!(matches!(events.next_event(), Next::Event(_)));
    assert_eq!(events.next_event(), Next::End);
    (session, list)
}

#[test]
fn an_id_is_taken_until_its_answer_has_come() {
    let gate = Gate::default();
    let at_script = gate.clone();
    let upstream = Upstream::start(move |request, wire| {
        if request.method() == "tools/call" {
            at_script.pass();
        }
        kind(request, wire)
    });
    let gateway = Setup::open(&upstream).start();
    let session = open(&gateway, "reader", "crm");
    let mut call = mcp::legacy("tools/call", mcp::call("loose", json!({})));
    call["id"] = json!(7);
    let mut under_way = gateway.connect();
    under_way.send(within(&gateway, "reader", &session, &call).bytes());
    upstream.wait(|request| request.method() == "tools/call");
    // A server that keeps one stream for an id would send the earlier answer where the later one is screened.
    check_taken(&gateway, &upstream, &session, &["7", "\"7\"", "\"\\u0037\""]);
    let elsewhere = open(&gateway, "reader", "crm");
    let mut other = ping();
    other["id"] = json!(7);
    assert_eq!(
        gateway.answer(&within(&gateway, "reader", &elsewhere, &other)).status(),
        200,
        "another session's ids are its own"
    );
    gate.open();
    assert_eq!(under_way.response().status(), 200);
    assert_eq!(gateway.answer(&within(&gateway, "reader", &session, &other)).status(), 200);
}

#[test]
fn an_id_is_taken_while_its_answer_may_come_on_a_resumed_stream() {
    let upstream = polling();
    let gateway = Setup::open(&upstream).start();
    let (session, mut list) = owed_a_list(&gateway);
    check_taken(&gateway, &upstream, &session, &["41", "\"41\"", "\"4\\u0031\""]);
    let mut events = Events::open(gateway.connect(), &bodyless(&gateway, "GET", "reader", &session));
    assert!(matches!(events.next_event(), Next::Event(_)));
    assert_eq!(events.message()["id"], json!(41));
    list["method"] = json!("ping");
    assert_eq!(gateway.answer(&within(&gateway, "reader", &session, &list)).status(), 200);
}

#[test]
fn a_resumed_stream_brings_what_holds_when_it_comes() {
    let upstream = polling();
    let rule = r#"permit (principal, action == Action::"crm.loose", resource);"#;
    let gateway = Setup::new().server("crm", &upstream, "").policy(rule).start();
    let (session, _) = owed_a_list(&gateway);
    setup::put(gateway.folder(), "policies/00.cedar", &rule.replace("crm.loose", "crm.guarded"));
    let applied = gateway.operate(&["policy", "apply"]);
    assert!(applied.status.success(), "{applied:?}");
    let mut events = Events::open(gateway.connect(), &bodyless(&gateway, "GET", "reader", &session));
    assert!(matches!(events.next_event(), Next::Event(_)));
    let tools = events.message()["result"]["tools"].to_string();
    assert!(!tools.contains("loose"), "a tool that was taken away since is not shown: {tools}");
}
