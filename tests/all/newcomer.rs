//! What goes wrong for somebody who has just begun, and what is said then: the place, the cause, and a cure that cures it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use portcullis_tests::audit::text;
use portcullis_tests::gateway::{Gateway, binary};
use portcullis_tests::mcp;
use portcullis_tests::setup::{OPEN, Setup, fresh_address};
use portcullis_tests::upstream::Upstream;
use serde_json::{Value, json};

fn page(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The exit code, and what was said in all.
#[track_caller]
fn check(output: &Output, code: i32, parts: &[&str]) {
    assert_eq!(output.status.code(), Some(code), "{}", page(output));
    for part in parts {
        assert!(page(output).contains(part), "no `{part}` in\n{}", page(output));
    }
}

fn edit(gateway: &Gateway, name: &str, change: impl Fn(&str) -> String) -> String {
    let path = gateway.folder().join(name);
    let before = fs::read_to_string(&path).expect("a file");
    fs::write(&path, change(&before)).expect("a file");
    before
}

fn offline(setup: &Setup) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    setup.write(folder.path(), fresh_address());
    folder
}

fn run(folder: &Path, words: &[&str]) -> Output {
    Command::new(binary()).args(words).current_dir(folder).output().expect("the program runs")
}

#[test]
fn a_gateway_is_found_although_its_configuration_is_being_edited() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).start();
    for (broken, finding) in [
        ("agnets = \"agents.toml\"\n", "portcullis.toml:1: unknown key `agnets` in the file; did you mean `agents`?"),
        ("workers = \n", "portcullis.toml:1: "),
        ("io = \"epoll\"\n", "portcullis.toml:1: "),
    ] {
        let whole = edit(&gateway, "portcullis.toml", |text| format!("{broken}{text}"));
        for words in
            [&["status"][..], &["agent", "list"], &["agent", "suspend", "reader"], &["agent", "resume", "reader"]]
        {
            let warned = format!(
                "warning: the configuration does not load as it is now: {}/{finding}",
                gateway.folder().display()
            );
            check(&gateway.operate(words), 0, &[&warned]);
        }
        check(&gateway.operate(&["policy", "apply"]), 1, &["the files do not load", finding]);
        fs::write(gateway.folder().join("portcullis.toml"), whole).unwrap();
    }
    assert_eq!(page(&gateway.operate(&["status"])).matches("warning").count(), 0);
    let whole = edit(&gateway, "portcullis.toml", |text| {
        text.replace("socket = \"control.sock\"", "sokcet = \"control.sock\"")
    });
    let line = whole.lines().position(|line| line.starts_with("socket = ")).unwrap() + 1;
    let finding =
        format!("portcullis.toml:{line}: unknown key `sokcet` in `[control]`\n  help: did you mean `socket`?");
    check(&gateway.operate(&["agent", "suspend", "reader"]), 2, &[&finding]);
    let named = ["agent", "suspend", "reader", "--socket", "control.sock"];
    check(&gateway.operate(&named), 0, &["agent `reader` is suspended"]);
    fs::remove_file(gateway.folder().join("portcullis.toml")).unwrap();
    check(
        &gateway.operate(&["status"]),
        2,
        &["this is the default socket, since `", "was not read: the file does not exist"],
    );
}

#[test]
fn a_folder_or_file_that_is_not_there_is_named_with_what_belongs_there() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).start();
    fs::create_dir(gateway.folder().join("empty")).unwrap();
    for (folder, cause) in [
        ("nope", "nope: the folder of rules cannot be read: No such file or directory"),
        ("agents.toml", "agents.toml: the folder of rules cannot be read: Not a directory"),
        ("empty", "empty: the folder holds no `.cedar` file"),
    ] {
        for (words, code) in [
            (&["policy", "diff", "--candidate"][..], 2),
            (&["policy", "replay", "--candidate"], 2),
            (&["policy", "explain", "--agent", "reader", "--tool", "crm.loose", "--candidate"], 2),
            (&["policy", "shadow", "start"], 2),
        ] {
            let output = gateway.operate(&[words, &[folder]].concat());
            check(&output, code, &[cause, "help: name a folder of `.cedar` files"]);
            assert!(
                !page(&output).contains("[policy]") && !page(&output).contains("portcullis check"),
                "{}",
                page(&output)
            );
        }
    }
    check(
        &gateway.operate(&["policy", "test", "none.toml"]),
        2,
        &["none.toml: the file does not exist", "help: name a file of cases"],
    );
    fs::create_dir(gateway.folder().join("candidate")).unwrap();
    fs::write(
        gateway.folder().join("candidate/a.cedar"),
        "permit (principal, action == Action::\"crm.lose\", resource);",
    )
    .unwrap();
    let output = gateway.operate(&["policy", "diff", "--candidate", "candidate"]);
    check(
        &output,
        2,
        &[
            "a.cedar:1: unknown tool `lose` on server `crm`; did you mean `loose`?",
            "the candidate in candidate: this rule set does not load",
        ],
    );
    assert!(!page(&output).contains("portcullis check"), "{}", page(&output));
}

#[test]
fn a_registry_that_cannot_be_edited_is_named_with_its_line() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).start();
    let whole = edit(&gateway, "agents.toml", |text| format!("{text}\n[agent.broken\n"));
    let line = format!("line {}: ", whole.lines().count() + 2);
    let suspended = gateway.operate(&["agent", "suspend", "reader"]);
    let parts = [
        "agent `reader` is suspended from now on, but not in writing: the registry file cannot be edited: ",
        &line,
        "portcullis check",
    ];
    check(&suspended, 1, &parts);
    assert!(!page(&suspended).contains("mend the disk"), "{}", page(&suspended));
    assert_eq!(gateway.answer(&gateway.call("reader", "loose", json!({}))).status(), 403);
    check(&gateway.operate(&["check"]), 1, &["agents.toml:"]);
}

#[test]
fn two_agents_with_one_client_are_both_named() {
    let tokens = "tokens = [{ issuer = \"idp\", client_id = \"0oa1\" }]";
    let setup = Setup::default().server_at("crm", "http://127.0.0.1:9/mcp", "");
    let folder = offline(&setup.agent_table("zoe", tokens).agent_table("adam", tokens));
    let said = "agents.toml:7: `0oa1` is bound to two agents, here to `adam` and in line 3 to `zoe`";
    check(&run(folder.path(), &["check"]), 1, &[said, "take it from the one whose it is not"]);
}

#[test]
fn before_the_first_run_it_is_said_that_there_was_none() {
    let folder = offline(&Setup::new().server_at("crm", "http://127.0.0.1:9/mcp", ""));
    for words in [
        &["audit", "why", "0-17"][..],
        &["audit", "show", "0-17"],
        &["audit", "tail"],
        &["policy", "suggest", "--route", "crm"],
    ] {
        check(
            &run(folder.path(), words),
            2,
            &["there is no audit log in `", "` yet", "it begins with the first `portcullis run`"],
        );
    }
    check(
        &run(folder.path(), &["policy", "history"]),
        2,
        &["there is no history in `", "it begins with the first `portcullis run`"],
    );
    check(&run(folder.path(), &["policy", "replay"]), 0, &["0 calls judged again"]);
}

#[test]
fn the_history_is_read_from_its_folder_while_no_gateway_runs() {
    let upstream = Upstream::kind();
    let mut gateway = Setup::open(&upstream).start();
    edit(&gateway, "policies/00.cedar", |text| text.replace("@id(\"open\")", "@id(\"open\") @note(\"as before\")"));
    check(&gateway.operate(&["policy", "apply"]), 0, &[]);
    let live: Value = serde_json::from_slice(&gateway.operate(&["policy", "history", "--json"]).stdout).expect("JSON");
    check(&gateway.operate(&["policy", "history"]), 0, &["serves", "~open"]);
    gateway.kill();
    let output = gateway.operate(&["policy", "history"]);
    check(&output, 0, &["~open", "no gateway was asked, so none of them is marked as serving"]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("serves"), "{}", page(&output));
    let offline: Value =
        serde_json::from_slice(&gateway.operate(&["policy", "history", "--json"]).stdout).expect("JSON");
    assert_eq!((&offline["versions"], &offline["serving"]), (&live["versions"], &Value::Null));
}

#[test]
fn a_draft_passes_over_tools_and_agents_that_are_none_and_says_so() {
    let upstream = Upstream::kind();
    let gateway = Setup::new().server("crm", &upstream, "").agent("ghost", "").start();
    for (agent, tool) in
        [("reader", "loose"), ("reader", "no_such_tool"), ("reader", "no_such_tool"), ("ghost", "loose")]
    {
        gateway.answer(&gateway.call(agent, tool, json!({})));
    }
    gateway.record(|record| text(record, "agent") == "ghost" && text(record, "event") == "decision");
    edit(&gateway, "agents.toml", |text| {
        text.replace("[agent.ghost]", "[agent.other]").replace("\"ghost\"", "\"other\"")
    });
    let output = gateway.operate(&["policy", "suggest", "--route", "crm", "--from", "1h", "--with-denied"]);
    check(
        &output,
        0,
        &[
            "warning: tool `no_such_tool` is not among the reviewed tools of `crm`, so no rule is drafted for 2 calls",
            "warning: agent `ghost` is not in the registry, so no rule is drafted for 1 call",
            "// Drafted from 1 call on route `crm`",
            "action == Action::\"crm.loose\"",
        ],
    );
    let json = gateway.operate(&["policy", "suggest", "--route", "crm", "--from", "1h", "--with-denied", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((&json["skipped"][1]["calls"], &json["calls"]), (&json!(2), &json!(1)), "{json}");
    fs::write(gateway.folder().join("policies/draft.cedar"), &output.stdout).unwrap();
    check(&run(gateway.folder(), &["check"]), 0, &["sound"]);
}

#[test]
fn a_record_tells_its_version_once_and_no_cost_that_nobody_measured() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).start();
    gateway.answer(&gateway.call("reader", "loose", json!({})));
    let record = gateway.record(|record| text(record, "event") == "decision");
    let id = format!("{}-{}", record["shard"], record["seq"]);
    let output = gateway.operate(&["audit", "why", &id]);
    check(&output, 0, &["snapshot  version 1, sha256:"]);
    let page = page(&output);
    assert!(!page.contains("version 1, version 1") && !page.contains("cost"), "{page}");
    let explained = gateway.operate(&["policy", "explain", "--agent", "reader", "--tool", "crm.loose"]);
    check(&explained, 0, &["snapshot  the files, version 1, sha256:", " ns\n"]);
    check(&gateway.operate(&["audit", "why", "0-99999"]), 2, &["no record `0-99999`", "of the latest start alone"]);
}

#[test]
fn what_a_redaction_cannot_be_held_against_is_said_and_a_slip_is_refused() {
    let rows = json!({"type": "object", "properties": {"rows": {"type": "array", "items": {"type": "object", "properties": {"ssn": {"type": "string"}}}}}});
    let mut told = mcp::tool("told", json!({"type": "object"}));
    told["outputSchema"] = rows;
    let tools = [told, mcp::tool("mute", json!({"type": "object"}))];
    let rule = |tool: &str, annotation: &str| {
        format!("{annotation}\npermit (principal, action == Action::\"crm.{tool}\", resource);")
    };
    for (tool, annotation, code, said) in [
        (
            "told",
            "@redact(\"/rowz/*/ssn\")",
            1,
            "00.cedar:1: the results of tool `crm.told` have no member `rowz`; did you mean `rows`?",
        ),
        (
            "told",
            "@redact(\"/rows/*/snn\")",
            1,
            "00.cedar:1: the results of tool `crm.told` have no member `snn`; did you mean `ssn`?",
        ),
        (
            "told",
            "@max_rows(\"/rwos 5\")",
            1,
            "00.cedar:1: the results of tool `crm.told` have no member `rwos`; did you mean `rows`?",
        ),
        (
            "mute",
            "@redact(\"/rowz/*/ssn\")",
            0,
            "00.cedar:1: warning: tool `crm.mute` has no `outputSchema`, so nobody can tell whether `@redact(\"/rowz/*/ssn\")` meets anything in its results",
        ),
        ("told", "@redact(\"/rows/*/ssn\")", 0, "sound: 1 server, 2 tools, 2 agents, 1 rule; 0 warnings"),
    ] {
        let setup = Setup::new().server_at("crm", "http://127.0.0.1:9/mcp", "").catalogue("crm", &tools);
        check(&run(offline(&setup.policy(&rule(tool, annotation))).path(), &["check"]), code, &[said]);
    }
}

#[test]
fn a_count_of_what_was_taken_out_says_what_was_counted() {
    let upstream = Upstream::calls(|request, wire| {
        let rows = json!({"rows": [{"ssn": "1"}, {"ssn": "2"}]});
        let content = json!([{"type": "text", "text": rows.to_string()}]);
        wire.result(request, json!({"resultType": "complete", "structuredContent": rows, "content": content}));
    });
    let rules = "@redact(\"/rows/*/ssn\") @max_rows(\"1\")\npermit (principal, action in Action::\"call\", resource);";
    let gateway = Setup::new().server("crm", &upstream, "").policy(rules).start();
    assert!(gateway.answer(&gateway.call("reader", "loose", json!({}))).is_result());
    gateway.record(|record| text(record, "event") == "result");
    check(&gateway.operate(&["audit", "tail"]), 0, &["redacted=2 rows_cut=2 (structured and text counted each)"]);
    let gateway = Setup::new().server("crm", &upstream, "").policy(OPEN).start();
    gateway.answer(&gateway.call("reader", "loose", json!({})));
    gateway.record(|record| text(record, "event") == "result");
    assert!(!page(&gateway.operate(&["audit", "tail"])).contains("counted"));
}

#[test]
fn an_agent_that_may_not_call_at_present_is_told_so_and_nothing_else() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).start();
    let call = gateway.call("reader", "loose", json!({}));
    check(&gateway.operate(&["agent", "suspend", "reader"]), 0, &[]);
    let refused = gateway.answer(&call);
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.json()["error"]["message"], json!("this caller may not call here at present"));
    let told = refused.head.field("www-authenticate").unwrap_or_default();
    assert!(told.starts_with("Bearer resource_metadata=") && !told.contains("error"), "{told}");
    let none = gateway.answer(&call.without("Authorization"));
    assert_eq!((none.status(), &none.json()["error"]["message"]), (401, &json!("an access token is required")));
}
