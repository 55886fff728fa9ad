//! The log: written before anything happens, complete after any end, one line a record, and no line changed unseen.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use portcullis_tests::audit::{self, number, text};
use portcullis_tests::client::Client;
use portcullis_tests::gateway::Gateway;
use portcullis_tests::mcp;
use portcullis_tests::setup::{OPEN, Setup};
use portcullis_tests::small_disk::SmallDisk;
use portcullis_tests::stream::{Events, Next};
use portcullis_tests::upstream::{Gate, Upstream};
use portcullis_tests::wire::{Request, Response};
use serde_json::{Value, json};
use xtask::place;

/// A call that a record can be found by.
fn named(gateway: &Gateway, id: &str) -> Request {
    let mut message = mcp::modern("tools/call", mcp::call("loose", json!({"id": id})));
    message["id"] = json!(id);
    gateway.modern("reader", "crm", &message)
}

fn decision_of<'r>(records: &'r [Value], id: &str) -> Option<&'r Value> {
    records.iter().find(|record| text(record, "event") == "decision" && text(record, "request_id") == id)
}

fn answer_of<'r>(records: &'r [Value], decision: &Value, event: &str) -> Option<&'r Value> {
    let same = |record: &Value| {
        record["boot"] == decision["boot"]
            && record["shard"] == decision["shard"]
            && record["decision_seq"] == decision["seq"]
    };
    records.iter().find(|record| text(record, "event") == event && same(record))
}

#[test]
fn a_decision_is_in_the_log_before_the_upstream_hears_of_the_call() {
    let folder: Arc<OnceLock<PathBuf>> = Arc::default();
    let at_script = Arc::clone(&folder);
    let upstream = Upstream::calls(move |request, wire| {
        let records = audit::records(at_script.get().unwrap());
        let id = request.id().as_str().unwrap_or_default().to_owned();
        let found = decision_of(&records, &id)
            .is_some_and(|record| text(record, "tool") == "loose" && record["arguments"]["id"] == json!(id));
        wire.result(request, mcp::text_result(if found { "recorded" } else { "not recorded" }));
    });
    for durability in ["batched", "strict"] {
        let gateway = Setup::open(&upstream).audit(&format!("durability = \"{durability}\"")).start();
        if folder.set(gateway.audit_folder()).is_err() {
            // The script looks at the first gateway's folder; of the second only its own answers are looked at.
            assert_eq!(gateway.answer(&named(&gateway, "s")).status(), 200);
            let records = gateway.records();
            assert!(answer_of(&records, decision_of(&records, "s").unwrap(), "result").is_some());
            continue;
        }
        let mut client = gateway.connect();
        for number in 0..50 {
            let answer = client.exchange(&named(&gateway, &format!("n{number}")));
            assert_eq!(answer.json()["result"]["content"][0]["text"], json!("recorded"), "{durability}");
        }
    }
}

#[test]
fn a_result_is_in_the_log_before_the_agent_has_it() {
    let gate = Gate::default();
    let at_script = gate.clone();
    let upstream = Upstream::calls(move |request, wire| {
        let progress = mcp::notification("notifications/progress", json!({"progressToken": 1, "progress": 1}));
        match request.json().pointer("/params/arguments/id").and_then(Value::as_str) {
            Some("stream") => {
                wire.stream("").event(&progress);
                at_script.pass();
                wire.last_event(request, mcp::text_result("fine"));
            }
            Some("error") => drop(wire.result(request, json!({"isError": true, "content": []}))),
            Some("broken") => wire.close(),
            _ => drop(wire.result(request, mcp::text_result("fine"))),
        }
    });
    let gateway = Setup::open(&upstream).start();
    for (id, outcome, status) in
        [("plain", "complete", 200), ("error", "error", 200), ("broken", "upstream_failed", 502)]
    {
        let answer = gateway.answer(&named(&gateway, id));
        let records = gateway.records();
        let result = answer_of(&records, decision_of(&records, id).unwrap(), "result")
            .unwrap_or_else(|| panic!("no result of {id}"));
        assert_eq!((text(result, "outcome"), number(result, "status")), (outcome, Some(status)), "{result}");
        assert_eq!(u64::from(answer.status()), status);
        if id == "plain" {
            assert_eq!(result["result"], answer.json(), "what is kept is what was released");
        }
    }
    let mut events = Events::open(gateway.connect(), &named(&gateway, "stream"));
    events.message();
    let records = gateway.records();
    assert!(answer_of(&records, decision_of(&records, "stream").unwrap(), "result.begun").is_some());
    gate.open();
    events.message();
    let records = gateway.records();
    assert!(answer_of(&records, decision_of(&records, "stream").unwrap(), "result.ended").is_some());
    assert_eq!(events.next_event(), Next::End);
}

#[test]
fn every_refusal_leaves_a_record_with_its_cause() {
    let upstream = Upstream::kind();
    let rules = r#"@id("one") permit (principal, action == Action::"crm.guarded", resource) when { context.input.level == 1 };"#;
    let gateway = Setup::new().server("crm", &upstream, "").policy(rules).start();
    let good = named(&gateway, "a");
    for (request, cause) in [
        (good.clone().set("Host", "evil.test"), "host_not_allowed"),
        (good.clone().field("Origin", "https://evil.test"), "origin_not_allowed"),
        (Request { target: "/other".to_owned(), ..good.clone() }, "unknown_path"),
        (Request { method: "PUT".to_owned(), ..good.clone() }, "method_not_allowed"),
        (good.clone().set("Content-Type", "text/plain"), "media_type_not_allowed"),
        (good.clone().set("Accept", "text/html"), "not_acceptable"),
        (good.clone().without("Authorization"), "no_credentials"),
        (good.clone().body("{"), "syntax"),
        (good.clone().body("[]"), "batch"),
        (good.clone().set("Mcp-Name", "other"), "header_mismatch"),
        (gateway.modern("reader", "crm", &mcp::modern("no/method", json!({}))), "method_not_found"),
        (gateway.call("reader", "absent", json!({})), "unknown_tool"),
        (gateway.call("reader", "hidden", json!({})), "no_rule"),
        (gateway.call("reader", "guarded", json!({"level": 2})), "no_rule"),
        (gateway.call("reader", "guarded", json!({"level": "2"})), "argument_unreadable"),
        (gateway.modern("reader", "crm", &mcp::modern("tasks/get", json!({"taskId": "x"}))), "task_unknown"),
        (good.clone().field("Bad Name", "a"), "space-in-name"),
    ] {
        let before = gateway.records();
        gateway.answer(&request);
        let new: Vec<Value> = gateway.records().into_iter().filter(|record| !before.contains(record)).collect();
        assert_eq!(new.len(), 1, "given {cause}: {new:?}");
        assert_eq!(text(&new[0], "cause"), cause, "{}", new[0]);
        assert_eq!(text(&new[0], "source"), "127.0.0.1", "{}", new[0]);
    }
    assert_eq!(upstream.requests().len(), 0);
    audit::verify_whole(&gateway.audit_folder());
}

/// Calls until the gateway is gone; the ids of the calls that were answered.
fn acknowledged(
    mut client: Client,
    requests: impl Iterator<Item = (String, Request)>,
    count: &AtomicUsize,
) -> Vec<String> {
    let mut answered = Vec::new();
    for (id, request) in requests {
        if client.try_send(&request.bytes()).is_err() || client.next_status() != 200 {
            break;
        }
        answered.push(id);
        count.fetch_add(1, Ordering::Relaxed);
    }
    answered
}

#[test]
fn after_a_kill_every_answered_call_is_in_the_log() {
    const KILLS: usize = 30;
    const CLIENTS: usize = 4;
    let upstream = Upstream::kind();
    let mut gateway = Setup::open(&upstream).limits("agent_concurrency = 1000").start();
    let mut expected = Vec::new();
    for round in 0..KILLS {
        let count = AtomicUsize::new(0);
        let answered: Vec<String> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (gateway, count) = (&gateway, &count);
                    let requests = (0..).map(move |number| {
                        let id = format!("r{round}c{client}n{number}");
                        (id.clone(), named(gateway, &id))
                    });
                    let connection = gateway.connect();
                    scope.spawn(move || acknowledged(connection, requests, count))
                })
                .collect();
            // Another place of the way each time: killed at the first answer, or anywhere behind it.
            while count.load(Ordering::Relaxed) < 1 + round * 3 {
                std::thread::yield_now();
            }
            gateway.kill_now();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        expected.extend(answered);
        gateway = gateway.restart();
    }
    let records = gateway.records();
    let mut decided = std::collections::HashMap::new();
    let mut ended = std::collections::HashSet::new();
    for record in &records {
        let place = |seq: &str| (record["boot"].to_string(), number(record, "shard"), number(record, seq));
        match text(record, "event") {
            "decision" => drop(decided.insert(text(record, "request_id").to_owned(), place("seq"))),
            "result" => drop(ended.insert(place("decision_seq"))),
            _ => {}
        }
    }
    assert!(expected.len() > KILLS * 10, "only {} calls were answered", expected.len());
    for id in &expected {
        let decision = decided.get(id).unwrap_or_else(|| panic!("no decision of {id}, which was answered"));
        assert!(ended.contains(decision), "no result of {id}, which was answered");
    }
    for called in upstream.called() {
        assert!(
            decided.contains_key(called["id"].as_str().unwrap()),
            "a call reached the upstream without a record: {called}"
        );
    }
    assert_eq!(audit::verify_whole(&gateway.audit_folder()), records.len() as u64);
}

#[test]
fn a_full_disk_stops_calls_and_room_brings_them_back() {
    let Some(disk) = SmallDisk::mount("512k") else { return };
    fs::write(disk.path().join("filler"), vec![b'x'; 256 * 1024]).unwrap();
    let folder = disk.path().join("audit");
    fs::create_dir(&folder).unwrap();
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).audit_folder(&folder).start();
    let mut client = gateway.connect();
    let padding = "p".repeat(4000);
    let call = || gateway.call("reader", "loose", json!({"padding": padding}));
    let mut made = 0;
    let refused = loop {
        let answer = client.exchange(&call());
        if answer.status() != 200 {
            break answer;
        }
        made += 1;
        assert!(made < 1000, "the disk never fills");
    };
    assert_eq!((refused.status(), refused.code()), (503, -33503), "{}", refused.text());
    let reached = upstream.called().len();
    assert!(reached == made || reached == made + 1, "{made} calls were answered, {reached} made");
    for _ in 0..10 {
        let answer = client.exchange(&call());
        assert_eq!((answer.status(), answer.code()), (503, -33503));
    }
    assert_eq!(upstream.called().len(), reached, "a call was made that could not be recorded");
    assert!(gateway.metric("portcullis_journal_failures_total") >= 11.0);
    fs::remove_file(disk.path().join("filler")).unwrap();
    // Room is looked for ten times a second.
    let start = std::time::Instant::now();
    while !client.exchange(&call()).is_result() {
        assert!(start.elapsed() < portcullis_tests::CEILING, "there is room again");
    }
    let records = gateway.records();
    assert_eq!(audit::verify_whole(&folder), records.len() as u64);
    let results = records.iter().filter(|record| text(record, "event") == "result").count();
    assert!(results >= made, "{results} results of {made} answered calls");
}

#[test]
fn best_effort_goes_on_without_a_log_and_only_that_does() {
    let Some(disk) = SmallDisk::mount("256k") else { return };
    fs::write(disk.path().join("filler"), vec![b'x'; 128 * 1024]).unwrap();
    let folder = disk.path().join("audit");
    fs::create_dir(&folder).unwrap();
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).audit_folder(&folder).audit("durability = \"best-effort\"").start();
    let padding = "p".repeat(8000);
    for _ in 0..60 {
        let answer: Response = gateway.answer(&gateway.call("reader", "loose", json!({"padding": padding})));
        assert!(answer.is_result(), "{}", answer.text());
    }
    let held = gateway.records().len();
    assert!(held < 120, "the disk never filled");
    assert_eq!(audit::verify_whole(&folder), held as u64);
    // Once there is room, the log says how many are missing, and so does whoever verifies it.
    fs::remove_file(disk.path().join("filler")).unwrap();
    let start = std::time::Instant::now();
    let told = loop {
        assert!(gateway.answer(&gateway.call("reader", "loose", json!({}))).is_result());
        let told = gateway.events("audit.lost");
        if !told.is_empty() {
            break told;
        }
        assert!(start.elapsed() < portcullis_tests::CEILING, "what was lost is never told");
    };
    let lost: u64 = told.iter().filter_map(|record| number(record, "count")).sum();
    assert!(lost >= 1, "{told:?}");
    assert!(told.iter().all(|record| number(record, "since") <= number(record, "ts")), "{told:?}");
}

#[test]
fn what_an_agent_writes_stays_within_its_own_line() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).start();
    let forged = "\n{\"v\":1,\"event\":\"decision\",\"agent\":\"admin\"}\n\r\u{2028}\u{0}\",\"agent\":\"admin";
    let mut sent = 0;
    let mut send = |request: Request| {
        gateway.answer(&request);
        sent += 1;
    };
    send(gateway.call("reader", "loose", json!({"a": forged, forged: 1})));
    let body = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"tools/call\",\"params\":{{\"name\":\"loose\",\"arguments\":{{\n\"a\"\r\n:\t1}}}}}}",
        json!(forged.replace('\0', ""))
    );
    send(gateway.post("reader", "crm", body));
    send(gateway.post(
        "reader",
        "crm",
        mcp::legacy("tools/call", mcp::call("a\u{2028}\"},{\"agent\":\"admin\"", json!({}))).to_string(),
    ));
    send(gateway.post(
        "reader",
        "crm",
        mcp::legacy("resources/read", json!({"uri": "doc://\"}{\"agent\":\"admin\"\u{85}"})).to_string(),
    ));
    send(gateway.post("reader", "crm", mcp::legacy("prompts/get", json!({"name": "\"\\\u{7f}x"})).to_string()));
    send(gateway.post("reader", "crm", mcp::legacy("evil\",\"agent\":\"admin", json!({})).to_string()));
    let records = gateway.records();
    let decisions = records.iter().filter(|record| matches!(text(record, "event"), "decision" | "refusal")).count();
    assert_eq!(decisions, sent);
    assert!(records.iter().all(|record| text(record, "agent") != "admin"), "a record was forged");
    assert_eq!(audit::verify_whole(&gateway.audit_folder()), records.len() as u64);
}

#[test]
fn a_bit_that_was_changed_anywhere_in_the_log_is_found() {
    let upstream = Upstream::kind();
    let mut gateway = Setup::open(&upstream).start();
    let mut client = gateway.connect();
    for number in 0..10 {
        client.exchange(&named(&gateway, &format!("n{number}")));
    }
    drop(client);
    gateway.terminate();
    gateway.ended();
    let folder = gateway.audit_folder();
    assert_eq!(audit::verify(&folder), Ok(gateway.records().len() as u64));
    for file in place::files(&folder.join("logs")) {
        // Partial tiles of earlier checkpoints are there for whoever holds one of those.
        let bytes = fs::read(&file).unwrap();
        let newest = bytes.len() > 20 * 32 || file.ends_with("checkpoint");
        for at in (0..bytes.len()).step_by(7).filter(|_| newest) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(&file, &changed).unwrap();
            assert!(audit::verify(&folder).is_err(), "a changed bit of byte {at} of {} is not seen", file.display());
        }
        fs::write(&file, &bytes).unwrap();
    }
    assert!(audit::verify(&folder).is_ok());
}

#[test]
fn what_is_kept_of_a_call_is_what_its_tool_says() {
    let upstream = Upstream::calls(|request, wire| {
        let result = json!({"resultType": "complete", "content": [{"type": "text", "text": "card 4111"}], "structuredContent": {"rows": [{"ssn": "planted-ssn", "n": 1}]}});
        wire.result(request, result);
    });
    let gateway = Setup::open(&upstream)
        .tool("crm.loose", "capture = { arguments = \"digest\", result = \"size\" }")
        .tool("crm.bare", "capture = { arguments = \"none\", result = \"none\" }")
        .tool("crm.search", "capture = { redact = [\"/password\", \"/rows/*/ssn\"] }")
        .start();
    let ask = |tool: &str| {
        let mut message = mcp::modern("tools/call", mcp::call(tool, json!({"password": "planted-password", "a": 1})));
        message["id"] = json!(tool);
        let answer = gateway.answer(&gateway.modern("reader", "crm", &message));
        assert!(answer.text().contains("planted-ssn"), "the agent has all of it");
        let records = gateway.records();
        let decision = decision_of(&records, tool).unwrap().clone();
        let result = answer_of(&records, &decision, "result").unwrap().clone();
        (decision, result)
    };
    let (decision, result) = ask("hidden");
    assert_eq!(decision["arguments"]["password"], json!("planted-password"));
    assert!(result["result"].is_object(), "{result}");
    let (decision, result) = ask("loose");
    assert!(decision.get("arguments").is_none() && text(&decision, "arguments_digest").len() == 64, "{decision}");
    assert!(
        result.get("result").is_none()
            && result.get("result_digest").is_none()
            && number(&result, "result_bytes").is_some(),
        "{result}"
    );
    let (decision, result) = ask("bare");
    assert!(!decision.to_string().contains("arguments") && result.get("result_bytes").is_none(), "{decision} {result}");
    let (decision, result) = ask("search");
    for record in [decision, result] {
        let shown = record.to_string();
        assert!(!shown.contains("planted-") && shown.contains("redacted"), "{shown}");
    }
}

#[test]
fn a_start_and_an_orderly_end_are_recorded() {
    let upstream = Upstream::kind();
    let mut gateway = Setup::new().server("crm", &upstream, "mode = \"observe\"").policy(OPEN).start();
    let started = gateway.record(|record| text(record, "event") == "gateway.started");
    assert!(started["mode"].to_string().contains("observe"), "{started}");
    gateway.terminate();
    assert!(gateway.ended().success(), "{}", gateway.log());
    gateway.record(|record| text(record, "event") == "gateway.stopped");
    let gateway = gateway.restart();
    let boots: std::collections::BTreeSet<String> =
        gateway.records().iter().map(|record| record["boot"].to_string()).collect();
    assert_eq!(boots.len(), 2);
    audit::verify_whole(&gateway.audit_folder());
}
