//! Operating policies: what is decided and why can be asked, tried, compared, taken back and looked up, each with one command.

use std::fs;
use std::process::Output;

use portcullis_tests::audit::{number, text};
use portcullis_tests::gateway::{Gateway, binary};
use portcullis_tests::setup::Setup;
use portcullis_tests::upstream::Upstream;
use serde_json::{Value, json};

const RULES: &str = r#"permit (principal in Group::"support", action == Action::"crm.read_table", resource)
when { context.input.table == "customers" };
@id("staff") permit (principal in Group::"staff", action in Action::"call", resource);
@id("never") forbid (principal, action == Action::"crm.hidden", resource);
"#;

fn gateway(upstream: &Upstream) -> Gateway {
    Setup::new().server("crm", upstream, "").policy(RULES).start()
}

/// What a verb printed as JSON, and its exit code.
#[track_caller]
fn asked(gateway: &Gateway, words: &[&str]) -> (i32, Value) {
    let output = gateway.operate(&[words, &["--json"]].concat());
    let value = serde_json::from_slice(&output.stdout);
    (code(&output), value.unwrap_or_else(|error| panic!("{words:?}: {error}\n{}", said(&output))))
}

/// What a verb printed for people, and its exit code.
#[track_caller]
fn read(gateway: &Gateway, words: &[&str]) -> (i32, String) {
    let output = gateway.operate(words);
    (code(&output), said(&output))
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn write(gateway: &Gateway, name: &str, text: &str) {
    let path = gateway.folder().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn a_decision_is_explained_from_the_files_and_by_the_running_gateway_alike() {
    let upstream = Upstream::kind();
    let gateway = gateway(&upstream);
    let ask =
        ["policy", "explain", "--agent", "reader", "--tool", "crm.read_table", "--args", r#"{"table": "orders"}"#];
    let (end, page) = read(&gateway, &ask);
    assert_eq!(end, 0, "{page}");
    says(
        &page,
        &[
            "DENY  reader crm.read_table {\"table\": \"orders\"}",
            "no_rule: no permit holds",
            "not       permit 00.cedar:1",
            "`when { context.input.table == \"customers\" }` does not hold",
            "others    staff permits it to group `staff`",
            "read      context.input.table = \"orders\"",
            "listed    yes",
            "version 1, sha256:",
            " ns",
        ],
    );
    let (_, offline) = asked(&gateway, &ask);
    let (end, live) = asked(&gateway, &[&ask[..], &["--live"]].concat());
    assert_eq!(end, 0);
    for member in ["decision", "cause", "rules", "near", "values", "elsewhere", "listed"] {
        assert_eq!(offline[member], live[member], "{member}");
    }
    assert_eq!(offline["snapshot"]["hash"], live["snapshot"]["hash"]);
    assert!(live["cost_ns"].as_u64().is_some_and(|cost| cost > 0), "{live}");
    // What is explained is what is decided.
    let allowed =
        ["policy", "explain", "--agent", "reader", "--tool", "crm.read_table", "--args", r#"{"table": "customers"}"#];
    let (_, allowed) = asked(&gateway, &allowed);
    assert_eq!(text(&allowed, "decision"), "allow");
    assert_eq!(allowed["rules"][0]["id"], json!("00.cedar:1"));
    assert!(text(&allowed["rules"][0], "text").starts_with("permit (principal in Group::\"support\""));
    assert!(gateway.answer(&gateway.call("reader", "read_table", json!({"table": "customers"}))).is_result());
    assert_eq!(gateway.answer(&gateway.call("reader", "read_table", json!({"table": "orders"}))).code(), -33403);
    let (_, suspended) = asked(&gateway, &["policy", "explain", "--agent", "writer", "--tool", "crm.hidden", "--live"]);
    assert_eq!((text(&suspended, "cause"), suspended["listed"].as_bool()), ("forbidden", Some(false)));
}

#[test]
fn a_question_about_nobody_or_nothing_is_refused_with_its_cure() {
    let upstream = Upstream::kind();
    let gateway = gateway(&upstream);
    for (words, end, parts) in [
        (vec!["--agent", "raeder", "--tool", "crm.loose"], 2, vec!["no agent `raeder`", "did you mean `reader`?"]),
        (vec!["--agent", "reader", "--tool", "crm.lose"], 2, vec!["no reviewed tool `lose`", "did you mean `loose`?"]),
        (vec!["--agent", "reader", "--tool", "loose"], 2, vec!["names no server", "SERVER.TOOL"]),
        (vec!["--agent", "reader", "--tool", "crm.loose", "--args", "{"], 2, vec!["the arguments are no JSON"]),
        (vec!["--agent", "reader", "--tool", "crm.loose", "--args", r#"{"a":1,"a":2}"#], 2, vec!["cannot be read"]),
        (vec!["--agent", "reader", "--tool", "crm.loose", "--at", "noon"], 2, vec!["`noon` is no time", "2026-"]),
        (vec!["--agent", "raeder", "--tool", "crm.loose", "--live"], 1, vec!["no agent `raeder`", "did you mean"]),
        (vec!["--agent", "reader", "--tool", "crm.loose", "--version", "9"], 2, vec!["version 9 is not kept"]),
    ] {
        let (got, page) = read(&gateway, &[&["policy", "explain"], &words[..]].concat());
        assert_eq!(got, end, "{words:?}: {page}");
        says(&page, &parts);
    }
}

const CASES: &str = r#"
[defaults]
agent = "reader"

[[case]]
name = "support reads customers"
tool = "crm.read_table"
arguments = { table = "customers" }
expect = "allow"
rule = "00.cedar:1"

[[case]]
tool = "crm.read_table"
arguments = { table = "orders" }
expect = "deny"
reason = "no_rule"

[[case]]
agent = "writer"
tool = "crm.hidden"
expect = "deny"
reason = "forbidden"
rule = "never"

[[case]]
server = "crm"
uri = "doc://open/1"
expect = "deny"
"#;

#[test]
fn rules_are_held_against_cases_and_each_failure_says_what_came_instead() {
    let upstream = Upstream::kind();
    let gateway = gateway(&upstream);
    write(&gateway, "cases.toml", CASES);
    let (end, page) = read(&gateway, &["policy", "test", "cases.toml"]);
    assert_eq!(end, 0, "{page}");
    says(&page, &["pass  support reads customers", "4 passed, 0 failed"]);
    let wrong = "\n[[case]]\nname = \"wrong\"\ntool = \"crm.read_table\"\narguments = { table = \"orders\" }\nexpect = \"allow\"\n\n[[case]]\ntool = \"crm.reed_table\"\nexpect = \"deny\"\n";
    write(&gateway, "more.toml", &format!("[defaults]\nagent = \"reader\"\n{wrong}"));
    let (end, page) = read(&gateway, &["policy", "test", "cases.toml", "more.toml"]);
    assert_eq!(end, 1, "{page}");
    says(
        &page,
        &[
            "FAIL  wrong",
            "more.toml:4",
            "expected  allow",
            "got       deny, no_rule",
            "unknown_tool",
            "did you mean `read_table`?",
            "4 passed, 2 failed",
        ],
    );
    let (end, shown) = asked(&gateway, &["policy", "test", "more.toml"]);
    assert_eq!((end, number(&shown, "failed")), (1, Some(2)), "{shown}");
    write(&gateway, "broken.toml", "[[case]]\nagnet = 1\n");
    let (end, page) = read(&gateway, &["policy", "test", "broken.toml"]);
    assert_eq!(end, 2, "{page}");
    says(&page, &["broken.toml:2: unknown field `agnet`"]);
    write(&gateway, "candidate/a.cedar", "");
    assert_eq!(read(&gateway, &["policy", "test", "cases.toml", "--candidate", "candidate"]).0, 1);
}

#[test]
fn a_dry_run_loads_and_compares_and_changes_nothing() {
    let upstream = Upstream::kind();
    let gateway = gateway(&upstream);
    let call = gateway.call("reader", "read_table", json!({"table": "orders"}));
    assert_eq!(gateway.answer(&call).code(), -33403);
    write(&gateway, "policies/00.cedar", &RULES.replace("\nwhen { context.input.table == \"customers\" }", ""));
    let (end, page) = read(&gateway, &["policy", "apply", "--dry-run"]);
    assert_eq!(end, 0, "{page}");
    says(
        &page,
        &[
            "~ rule 00.cedar:1",
            "group support: crm.read_table: allowed for some calls before, allowed after",
            "version 1 goes on serving",
        ],
    );
    assert_eq!(gateway.answer(&call).code(), -33403, "a dry run lets nobody pass");
    let (end, page) = read(&gateway, &["policy", "apply", "--dry-run", "--expect", "9"]);
    assert_eq!(end, 1);
    says(&page, &["version 1 serves, not 9"]);
    write(&gateway, "policies/00.cedar", "permit (principal, action == Action::\"crm.reed_table\", resource);");
    let (end, page) = read(&gateway, &["policy", "apply", "--dry-run"]);
    assert_eq!(end, 1);
    says(&page, &["00.cedar:1: unknown tool `reed_table`", "did you mean `read_table`?"]);
    assert_eq!(gateway.metric("portcullis_loads_refused_total"), 0.0, "a dry run is no load");
}

#[test]
fn a_refused_load_is_loud_and_the_last_good_rules_go_on() {
    let upstream = Upstream::kind();
    let gateway = gateway(&upstream);
    let call = gateway.call("reader", "read_table", json!({"table": "customers"}));
    let good = |name: &str| fs::read(gateway.folder().join(name)).unwrap();
    let (rules, catalogue, agents) = (good("policies/00.cedar"), good("catalogue/crm.json"), good("agents.toml"));
    let flipped = |bytes: &[u8], part: &str| {
        let mut bytes = bytes.to_vec();
        let at = bytes.windows(part.len()).position(|window| window == part.as_bytes()).unwrap();
        bytes[at] ^= 1;
        bytes
    };
    let huge = vec![b' '; 17 * 1024 * 1024];
    let rows: [(&str, Vec<u8>, &[u8]); 7] = [
        ("policies/00.cedar", rules[..rules.len() / 2].to_vec(), &rules),
        ("policies/00.cedar", huge, &rules),
        ("policies/00.cedar", vec![0xff, 0xfe], &rules),
        ("catalogue/crm.json", flipped(&catalogue, "limit"), &catalogue),
        ("catalogue/crm.json", catalogue[..catalogue.len() - 9].to_vec(), &catalogue),
        ("agents.toml", agents[..agents.len() / 2].to_vec(), &agents),
        ("agents.toml", flipped(&agents, "[agent.reader"), &agents),
    ];
    for (number, (name, bytes, whole)) in rows.iter().enumerate() {
        fs::write(gateway.folder().join(name), bytes).unwrap();
        let (end, page) = read(&gateway, &["policy", "apply"]);
        assert_eq!(end, 1, "{name} {number}: {page}");
        assert!(gateway.answer(&call).is_result(), "{name} {number}: the last good rules go on");
        assert_eq!(gateway.metric("portcullis_loads_refused_total"), (number + 1) as f64);
        fs::write(gateway.folder().join(name), whole).unwrap();
    }
    let (_, status) = asked(&gateway, &["status"]);
    assert!(!status["refused"]["findings"].as_array().unwrap().is_empty(), "{status}");
    says(&read(&gateway, &["status"]).1, &["REFUSED at "]);
    says(&gateway.log(), &["the last good snapshot goes on serving"]);
    assert_eq!(read(&gateway, &["policy", "apply"]).0, 0);
    assert_eq!(asked(&gateway, &["status"]).1["refused"], Value::Null);
    // What rotted on its disk is not taken back.
    let path = gateway.folder().join("history/000001.json");
    let kept = fs::read_to_string(&path).unwrap();
    fs::write(&path, kept.replace("customers", "kustomers")).unwrap();
    let (end, page) = read(&gateway, &["policy", "rollback", "1"]);
    assert_eq!(end, 1);
    says(&page, &["its digest differs"]);
    says(&read(&gateway, &["policy", "history"]).1, &["cannot be taken back"]);
}

#[test]
fn versions_are_listed_compared_and_taken_back() {
    let upstream = Upstream::kind();
    let gateway = gateway(&upstream);
    for (table, code) in [("customers", 0), ("orders", -33403), ("orders", -33403)] {
        assert_eq!(gateway.answer(&gateway.call("reader", "read_table", json!({"table": table}))).code(), code);
    }
    let wider = RULES.replace("== \"customers\"", "!= \"secrets\"");
    write(&gateway, "candidate/00.cedar", &wider);
    let (end, page) = read(&gateway, &["policy", "diff", "--candidate", "candidate"]);
    assert_eq!(end, 1, "{page}");
    says(
        &page,
        &[
            "before: version 1, which served last\n",
            "after:  the candidate in candidate\n",
            "~ rule 00.cedar:1",
            "group support: crm.read_table: allowed for some calls, on other conditions than before",
            "calls of the last day: 3 calls judged again, 2 would be decided otherwise",
        ],
    );
    assert_eq!(read(&gateway, &["policy", "diff"]).0, 0, "the files are what serves");
    write(&gateway, "policies/00.cedar", &wider);
    assert_eq!(read(&gateway, &["policy", "apply", "--expect", "1"]).0, 0);
    assert_eq!(gateway.answer(&gateway.call("reader", "read_table", json!({"table": "orders"}))).code(), 0);
    let (_, page) = read(&gateway, &["policy", "history"]);
    says(&page, &["serves", "~00.cedar:1", "uid "]);
    let (end, versions) = asked(&gateway, &["policy", "diff", "1", "2"]);
    assert_eq!((end, versions["rules"]["changed"].clone()), (1, json!(["00.cedar:1"])));
    assert_eq!(versions["last_day"]["otherwise"], json!(3));
    assert_eq!(read(&gateway, &["policy", "rollback", "1"]).0, 0);
    assert_eq!(gateway.answer(&gateway.call("reader", "read_table", json!({"table": "orders"}))).code(), -33403);
    assert_eq!(read(&gateway, &["policy", "diff", "1", "3"]).0, 0, "what was taken back is what was");
}

#[test]
fn a_record_leads_to_the_rules_that_decided_it_even_after_they_changed() {
    let upstream = Upstream::kind();
    let gateway = gateway(&upstream);
    let id = |record: &Value| format!("{}-{}-{}", text(record, "boot"), record["shard"], record["seq"]);
    gateway.answer(&gateway.call("reader", "read_table", json!({"table": "customers"})));
    gateway.answer(&gateway.call("reader", "read_table", json!({"table": "orders"})));
    gateway.answer(&gateway.call("writer", "hidden", json!({})));
    let allowed = id(&gateway.record(|record| text(record, "decision") == "allow"));
    let denied = id(&gateway.record(|record| text(record, "cause") == "no_rule"));
    let forbidden = id(&gateway.record(|record| text(record, "cause") == "forbidden"));
    write(&gateway, "policies/00.cedar", "// nothing any more\n");
    assert_eq!(read(&gateway, &["policy", "apply"]).0, 0);
    let (end, page) = read(&gateway, &["audit", "why", &allowed]);
    assert_eq!(end, 0, "{page}");
    says(
        &page,
        &[
            "ALLOW reader crm.read_table",
            "decided by version 1, sha256:",
            "rule      permit 00.cedar:1",
            "00.cedar:1",
            "when { context.input.table == \"customers\" }",
            "read      context.input.table = \"customers\"",
        ],
    );
    let (_, page) = read(&gateway, &["audit", "why", &denied]);
    says(&page, &["DENY", "does not hold", "read      context.input.table = \"orders\""]);
    let (_, why) = asked(&gateway, &["audit", "why", &forbidden]);
    assert_eq!((why["rules"][0]["id"].clone(), why["rules"][0]["line"].clone()), (json!("never"), json!(4)));
    assert_eq!((number(&why, "version"), text(&why, "cause")), (Some(1), "forbidden"));
    assert_eq!(read(&gateway, &["audit", "why", "9-9"]).0, 2);
}

#[test]
fn recorded_calls_are_judged_again_and_those_that_cannot_be_are_counted() {
    let upstream = Upstream::kind();
    let setup = Setup::new().server("crm", &upstream, "").policy(RULES);
    let gateway = setup.tool("crm.loose", "capture = { arguments = \"digest\" }").start();
    for (agent, tool, arguments) in [
        ("reader", "read_table", json!({"table": "customers"})),
        ("reader", "read_table", json!({"table": "orders"})),
        ("writer", "loose", json!({"a": 1})),
    ] {
        gateway.answer(&gateway.call(agent, tool, arguments));
    }
    gateway.record(|record| text(record, "tool") == "loose");
    let (end, same) = asked(&gateway, &["policy", "replay", "--from", "1h"]);
    assert_eq!(end, 0);
    assert_eq!(same["counts"], json!({"judged": 2, "otherwise": 0, "not_replayable": {"arguments_not_captured": 1}}));
    write(&gateway, "candidate/a.cedar", &RULES.replace("customers", "orders"));
    let (_, page) = read(&gateway, &["policy", "replay", "--candidate", "candidate"]);
    says(
        &page,
        &[
            "reader crm.read_table {\"table\":\"customers\"}",
            "was allow by 00.cedar:1, would be deny (no_rule)",
            "was deny (no_rule), would be allow by a.cedar:1",
            "2 calls judged again, 2 would be decided otherwise; 1 call could not be judged again",
            "their arguments were not captured",
        ],
    );
    let (_, before) = asked(&gateway, &["policy", "replay", "--from", "2020-01-01", "--to", "2020-01-02"]);
    assert_eq!(number(&before["counts"], "judged"), Some(0));
    assert_eq!(read(&gateway, &["policy", "replay", "--from", "soon"]).0, 2);
}

#[test]
fn the_demos_rules_come_to_what_its_cases_expect() {
    let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/policies");
    let folder = tempfile::tempdir().unwrap();
    let text = json!({"type": "string"});
    let table =
        json!({"type": "object", "properties": {"table": text, "row": {"type": "object"}}, "required": ["table"]});
    let sql = json!({"type": "object", "properties": {"sql": text}, "required": ["sql"]});
    let tools = [("read_table", &table), ("write_table", &table), ("run_sql", &sql)];
    let tools = tools.map(|(name, schema)| json!({"name": name, "inputSchema": schema}));
    let bot = |setup: Setup, id: &str, group: &str| setup.agent(id, &format!("groups = [\"{group}\"]"));
    let setup = Setup::new().server_at("crm", "http://127.0.0.1:9/mcp", "").catalogue("crm", &tools);
    let setup = bot(bot(setup, "support-bot", "support"), "finance-bot", "finance");
    setup.write(folder.path(), "127.0.0.1:8080".parse().unwrap());
    for entry in fs::read_dir(&demo).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap().replace("@FROM@", "9").replace("@UNTIL@", "17");
        fs::write(folder.path().join("policies").join(name.trim_end_matches(".in")), text).unwrap();
    }
    let mut command = std::process::Command::new(binary());
    let tested = command.args(["policy", "test", "policies/tests.toml"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(code(&tested), 0, "{}", said(&tested));
    says(&said(&tested), &["5 passed, 0 failed"]);
}

#[test]
fn one_live_decision_in_a_thousand_is_judged_again_by_cedar_and_agrees() {
    let upstream = Upstream::kind();
    let gateway = gateway(&upstream);
    let mut client = gateway.connect();
    let (good, bad) = (json!({"table": "customers"}), json!({"table": "orders"}));
    let calls = [gateway.call("reader", "read_table", good), gateway.call("reader", "read_table", bad)];
    for number in 0..2_100 {
        client.exchange(&calls[number % 2]);
    }
    gateway.wait_metric("portcullis_policy_watched_total", 2.0);
    assert_eq!(gateway.metric("portcullis_policy_mismatches_total"), 0.0);
}

#[test]
fn a_candidate_judges_live_calls_beside_what_serves_and_nobody_notices() {
    let upstream = Upstream::kind();
    let gateway = gateway(&upstream);
    let (end, page) = read(&gateway, &["policy", "shadow", "report"]);
    assert_eq!(end, 1);
    says(&page, &["no candidate judges", "shadow start FOLDER"]);
    write(&gateway, "candidate/a.cedar", &RULES.replace("customers", "orders"));
    let (end, page) = read(&gateway, &["policy", "shadow", "start", "candidate"]);
    assert_eq!(end, 0, "{page}");
    says(&page, &["beside version 1"]);
    for (table, code) in [("customers", 0), ("orders", -33403), ("other", -33403), ("orders", -33403)] {
        let answer = gateway.answer(&gateway.call("reader", "read_table", json!({"table": table})));
        assert_eq!(answer.code(), code, "what serves decides, and nothing else");
    }
    let report = loop {
        let (_, report) = asked(&gateway, &["policy", "shadow", "report"]);
        if number(&report, "judged") == Some(4) {
            break report;
        }
    };
    assert_eq!(number(&report, "otherwise"), Some(3), "{report}");
    let (end, page) = read(&gateway, &["policy", "shadow", "stop"]);
    assert_eq!(end, 0);
    says(
        &page,
        &[
            "2x  reader  crm.read_table  was deny (no_rule)",
            "would be allow by a.cedar:1",
            "4 calls judged beside, 3 would be decided otherwise",
        ],
    );
    assert!(!page.contains("customers"), "arguments are nobody's business here: {page}");
    assert_eq!(read(&gateway, &["policy", "shadow", "stop"]).0, 1);
    write(&gateway, "candidate/a.cedar", "permit (principal, action == Action::\"crm.reed_table\", resource);");
    let (end, page) = read(&gateway, &["policy", "shadow", "start", "candidate"]);
    assert_eq!(end, 1);
    says(&page, &["a.cedar:1: unknown tool `reed_table`"]);
}

#[test]
fn rules_are_drafted_from_what_a_route_did_and_permit_it_again() {
    let upstream = Upstream::kind();
    let gateway = Setup::new().server("crm", &upstream, "mode = \"observe\"").start();
    for (agent, tool, arguments) in [
        ("reader", "read_table", json!({"table": "customers"})),
        ("reader", "read_table", json!({"table": "orders", "limit": 3})),
        ("writer", "guarded", json!({"level": 2})),
    ] {
        assert!(gateway.answer(&gateway.call(agent, tool, arguments)).is_result());
    }
    gateway.record(|record| text(record, "tool") == "guarded");
    let (end, page) = read(&gateway, &["policy", "suggest", "--route", "crm", "--from", "1h"]);
    assert_eq!(end, 0, "{page}");
    says(
        &page,
        &[
            "// Drafted from 3 calls on route `crm`",
            "// It would permit all of them.",
            "permit (principal in Group::\"support\", action == Action::\"crm.read_table\", resource == Server::\"crm\")",
            "[\"customers\", \"orders\"].contains(context.input.table)",
            "(if context.input has limit then context.input.limit == 3 else true)",
            "context.input.level == 2",
        ],
    );
    let output = gateway.operate(&["policy", "suggest", "--route", "crm"]);
    write(&gateway, "policies/draft.cedar", &String::from_utf8(output.stdout).unwrap());
    assert_eq!(read(&gateway, &["policy", "apply"]).0, 0, "what is drafted loads");
    let ask = ["policy", "explain", "--live", "--agent", "reader", "--tool", "crm.read_table", "--args"];
    let (_, explained) = asked(&gateway, &[&ask[..], &[r#"{"table": "orders"}"#]].concat());
    assert_eq!(text(&explained, "decision"), "allow");
    assert_eq!(read(&gateway, &["policy", "suggest", "--route", "crn"]).0, 2);
}

#[test]
fn rules_without_a_program_are_listed_with_the_reason_and_their_decisions_counted() {
    let upstream = Upstream::kind();
    let slow = "@id(\"whole\") permit (principal, action == Action::\"crm.guarded\", resource) when { context.input == {level: 3} };";
    let gateway = Setup::new().server("crm", &upstream, "").policy(&format!("{RULES}{slow}")).start();
    for live in [&[][..], &["--live"]] {
        let (end, page) = read(&gateway, &[&["policy", "explain", "--slow"], live].concat());
        assert_eq!(end, 0, "{page}");
        says(&page, &["whole", "it takes a record as a whole", "1 of 4 rules"]);
    }
    let by_cedar = |tool: &str, arguments: Value| {
        gateway.answer(&gateway.call("reader", tool, arguments));
        gateway.metric("portcullis_policy_slow_total")
    };
    assert_eq!(by_cedar("read_table", json!({"table": "customers"})), 0.0);
    assert_eq!(by_cedar("guarded", json!({"level": 3})), 1.0);
}
