//! Reading the log of a running gateway: answered by the control socket and by the command line alike, and in the log itself before the answer is.

use std::fs;
use std::process::Output;

use portcullis_core::policy::catalogue::Catalogue;
use portcullis_tests::audit::{number, text};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::mcp;
use portcullis_tests::setup::{OPEN, Setup};
use portcullis_tests::small_disk::SmallDisk;
use portcullis_tests::upstream::Upstream;
use serde_json::{Value, json};

/// A gateway that has decided three calls, all of them signed and so to be asked for.
fn busy(upstream: &Upstream) -> Gateway {
    let gateway = Setup::new().server("crm", upstream, "").policy(OPEN).start();
    for table in ["customers", "orders", "canary-5417"] {
        assert!(gateway.answer(&gateway.call("reader", "read_table", json!({"table": table}))).is_result());
    }
    signed(&gateway, "tool=read_table", 3);
    gateway
}

/// Asks until that many calls are signed.
#[track_caller]
fn signed(gateway: &Gateway, like: &str, calls: usize) -> Value {
    let start = std::time::Instant::now();
    loop {
        let (status, told) = gateway.control("GET", &format!("/v1/audit/events?{like}"));
        if status == 200 && told["calls"].as_array().is_some_and(|found| found.len() >= calls) {
            return told;
        }
        assert!(start.elapsed() < portcullis_tests::CEILING, "{status} {told}");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}

fn reads(gateway: &Gateway) -> Vec<(String, u64)> {
    let events = gateway.events("audit.read");
    events.iter().map(|read| (text(read, "what").to_owned(), number(read, "count").unwrap_or_default())).collect()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn what_is_asked_wrongly_is_told_so_and_recorded_by_nobody() {
    let upstream = Upstream::kind();
    let gateway = busy(&upstream);
    let before = reads(&gateway).len();
    for (path, status, name) in [
        ("/v1/audit/events?agnet=reader", 400, "question"),
        ("/v1/audit/events?from=yesterday", 400, "question"),
        ("/v1/audit/events?limit=10001", 400, "question"),
        ("/v1/audit/events?cursor=17", 400, "question"),
        ("/v1/audit/events?cursor=0000@9999", 400, "question"),
        ("/v1/audit/events/@9999", 404, "nothing"),
        ("/v1/audit/events/0-9999/proof", 404, "nothing"),
        ("/v1/audit/events/nonsense/entry", 400, "question"),
        ("/v1/audit/reports/account", 400, "question"),
        ("/v1/audit/reports/denials?account=a", 400, "question"),
        ("/v1/audit/reports/gossip", 404, "nothing"),
    ] {
        let (found, told) = gateway.control("GET", path);
        assert_eq!((found, text(&told, "error")), (status, name), "{path}: {told}");
        assert!(!text(&told, "help").is_empty(), "{path}: {told}");
    }
    assert_eq!(reads(&gateway).len(), before);
}

#[test]
fn whoever_asks_a_running_gateway_is_in_its_log_before_the_answer_is_out() {
    let upstream = Upstream::kind();
    let gateway = busy(&upstream);
    let uid = format!("uid {}", rustix::process::geteuid().as_raw());
    let mut known = reads(&gateway).len();
    let mut recorded = |what: &str, count: u64| {
        let found = reads(&gateway);
        assert_eq!(found[known..], [(what.to_owned(), count)], "{what}");
        known = found.len();
    };
    let (_, page) = gateway.control("GET", "/v1/audit/events?tool=crm.read_table&decision=allow&limit=2");
    recorded("query tool=crm.read_table decision=allow", 2);
    assert_eq!(page["checkpoint"]["origin"], json!(format!("{}/audit", gateway.authority())));
    let next = text(&page, "next").to_owned();
    let (_, older) =
        gateway.control("GET", &format!("/v1/audit/events?tool=crm.read_table&decision=allow&cursor={next}"));
    assert_eq!(older["calls"].as_array().unwrap().len(), 1);
    assert_eq!(older["next"], Value::Null);
    recorded(&format!("query tool=crm.read_table decision=allow cursor={next}"), 1);
    let (_, stats) = gateway.control("GET", "/v1/audit/stats");
    assert_eq!(stats["figures"]["allowed"], json!(3), "{stats}");
    recorded("stats", 0);
    let (_, access) = gateway.control("GET", "/v1/audit/reports/access?from=24h");
    assert_eq!(access["access"][0]["allowed"], json!(3), "{access}");
    recorded("report access from=24h", 1);
    let id = text(&page["calls"][0], "id").to_owned();
    let (_, one) = gateway.control("GET", &format!("/v1/audit/events/{id}"));
    assert_eq!((text(&one["record"], "event"), &one["record"]["arguments"]), ("decision", &Value::Null));
    recorded(&format!("show {id}"), 1);
    // A checkpoint tells of no record.
    let (_, checkpoint) = gateway.control("GET", "/v1/audit/checkpoint");
    assert!(text(&checkpoint, "note").contains("/audit\n"), "{checkpoint}");
    // The command line reads the files, and has it recorded before it shows anything.
    for (words, what, count) in [
        (&["audit", "query", "--tool", "read_table"][..], "query tool=read_table".to_owned(), 3),
        (&["audit", "report", "denials"], "report denials".to_owned(), 0),
        (&["audit", "stats"], "stats".to_owned(), 0),
        (&["audit", "show", &id], format!("show {id}"), 2),
        (&["audit", "why", &id], format!("why {id}"), 1),
        (&["audit", "proof", &id], format!("proof {id}"), 1),
        (&["audit", "tail", "-n", "5"], "tail".to_owned(), 5),
        (&["policy", "replay"], "policy replay".to_owned(), 3),
    ] {
        let output = gateway.operate(words);
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        recorded(&what, count);
    }
    let output = gateway.operate(&["audit", "export", "--format", "jsonl", "--output", "out.jsonl"]);
    assert!(output.status.success(), "{}", said(&output));
    let lines = fs::read_to_string(gateway.folder().join("out.jsonl")).unwrap().lines().count();
    recorded("export jsonl to `out.jsonl`", lines as u64);
    assert!(gateway.events("audit.read").iter().all(|read| text(read, "actor") == uid));
    // The answers tell of reading too.
    let (_, changes) = gateway.control("GET", "/v1/audit/reports/changes");
    assert!(changes["reads"].as_array().is_some_and(|reads| !reads.is_empty()), "{changes}");
}

#[test]
fn arguments_and_results_are_told_only_where_they_are_asked_for_and_no_longer_than_asked() {
    let upstream = Upstream::kind();
    let gateway = busy(&upstream);
    let found = |told: &Value| told.to_string().contains("canary-5417");
    let (_, records) = gateway.control("GET", "/v1/audit/events?tool=read_table");
    assert!(!found(&records), "{records}");
    let (status, valued) = gateway.control("GET", "/v1/audit/events?tool=read_table&values=true");
    assert_eq!((status, &valued["calls"][0]["arguments"]), (200, &json!({"table": "canary-5417"})), "{valued}");
    assert!(valued["calls"][0]["result"]["result"].is_object(), "{valued}");
    let (_, short) =
        gateway.control("GET", "/v1/audit/events?tool=read_table&values=true&arguments_max=8&result_max=8");
    assert!(!found(&short) && short["calls"][0]["arguments_left_out"].is_string(), "{short}");
    let id = text(&valued["calls"][0], "id").to_owned();
    assert!(found(&gateway.control("GET", &format!("/v1/audit/events/{id}?values=true")).1));
    assert!(!said(&gateway.operate(&["audit", "query", "--tool", "read_table"])).contains("canary-5417"));
    assert!(said(&gateway.operate(&["audit", "query", "--tool", "read_table", "--values"])).contains("canary-5417"));
    assert!(!said(&gateway.operate(&["audit", "export", "-f", "jsonl"])).contains("canary-5417"));
    assert!(said(&gateway.operate(&["audit", "export", "-f", "jsonl", "--values"])).contains("canary-5417"));
    let asked: Vec<String> = reads(&gateway).into_iter().map(|(what, _)| what).collect();
    for what in ["query tool=read_table with values", "export jsonl with values, begun", "export jsonl with values"] {
        assert!(asked.iter().any(|asked| asked == what), "no `{what}` among {asked:?}");
    }
}

#[test]
fn reading_files_beside_no_gateway_or_another_ones_is_told_to_be_recorded_nowhere() {
    let upstream = Upstream::kind();
    let (mut gateway, other) = (busy(&upstream), Setup::new().server("crm", &upstream, "").policy(OPEN).start());
    let socket = other.folder().join("control.sock");
    let output = gateway.operate(&["audit", "stats", "--socket", socket.to_str().unwrap()]);
    assert!(output.status.success() && said(&output).contains("writes another log"), "{}", said(&output));
    assert!(other.events("audit.read").is_empty());
    gateway.kill();
    let output = gateway.operate(&["audit", "query"]);
    assert!(output.status.success() && said(&output).contains("no gateway runs here"), "{}", said(&output));
}

#[test]
fn what_cannot_be_recorded_is_not_told() {
    let Some(disk) = SmallDisk::mount("96m") else { return };
    let folder = disk.path().join("audit");
    fs::create_dir(&folder).unwrap();
    let upstream = Upstream::kind();
    let gateway = Setup::new().server("crm", &upstream, "").policy(OPEN).audit_folder(&folder).start();
    assert!(gateway.answer(&gateway.call("reader", "read_table", json!({"table": "canary-5417"}))).is_result());
    let id = text(&signed(&gateway, "tool=read_table", 1)["calls"][0], "id").to_owned();
    let start = std::time::Instant::now();
    // Room is looked for ten times a second, and what is signed gives some back.
    while gateway.control("GET", "/v1/agents").0 != 503 {
        disk.fill();
        assert!(start.elapsed() < portcullis_tests::CEILING, "the disk never fills");
    }
    for path in ["/v1/audit/events", "/v1/audit/stats", "/v1/audit/events/@0/entry", "/v1/agents", "/v1/policy"] {
        let (status, told) = gateway.control("GET", path);
        assert!(status == 503 && !told.to_string().contains("reader"), "{path}: {status} {told}");
    }
    for words in [
        &["audit", "query"][..],
        &["audit", "tail"],
        &["audit", "show", &id],
        &["audit", "proof", "@0"],
        &["audit", "export", "-f", "jsonl"],
        &["agent", "list"],
    ] {
        let output = gateway.operate(words);
        assert!(!output.status.success() && output.stdout.is_empty(), "{words:?}: {}", said(&output));
        let full = ["could not be written", "make room on the disk"].iter().any(|why| said(&output).contains(why));
        assert!(full, "{words:?}: {}", said(&output));
    }
    // How it stands, and what is signed, is told without a record.
    assert_eq!(gateway.control("GET", "/v1/status").0, 200);
    assert_eq!(gateway.control("GET", "/v1/audit/checkpoint").0, 200);
    disk.clear();
    let start = std::time::Instant::now();
    while gateway.control("GET", "/v1/audit/stats").0 != 200 {
        assert!(start.elapsed() < portcullis_tests::CEILING, "there is room again");
    }
    assert!(gateway.operate(&["audit", "query"]).status.success());
}

#[test]
fn what_operators_look_at_and_which_tools_they_let_in_is_in_the_log() {
    let upstream = Upstream::kind();
    let gateway = Setup::new().server("crm", &upstream, "").policy(OPEN).start();
    let uid = format!("uid {}", rustix::process::geteuid().as_raw());
    for (path, what) in [
        ("/v1/agents", "agents"),
        ("/v1/policy", "policy"),
        ("/v1/policy/history", "policy history"),
        ("/v1/policy/slow", "policy slow"),
    ] {
        assert_eq!(gateway.control("GET", path).0, 200, "{path}");
        let looks = gateway.events("admin.read");
        let last = looks.last().expect("a record");
        assert_eq!((text(last, "actor"), text(last, "what")), (&*uid, what));
    }
    assert!(gateway.events("tool.approved").is_empty());
    let mut tools = mcp::tools();
    tools.push(json!({"name": "fresh", "inputSchema": {"type": "object"}}));
    let catalogue = Catalogue::learn("crm", &tools).unwrap();
    fs::write(gateway.folder().join("catalogue/crm.json"), catalogue.to_text()).unwrap();
    let output = gateway.operate(&["policy", "apply"]);
    assert!(output.status.success(), "{}", said(&output));
    let approved = gateway.events("tool.approved");
    assert_eq!(approved.len(), 1, "{approved:?}");
    let pin = catalogue.tools().iter().find(|tool| &*tool.name == "fresh").unwrap().pin.to_string();
    let told = ["server", "tool", "pinned", "actor"].map(|member| text(&approved[0], member).to_owned());
    assert_eq!(told, ["crm".to_owned(), "fresh".to_owned(), pin, uid]);
    let swapped = gateway.events("policy.swapped");
    assert_eq!(number(&approved[0], "snapshot"), number(&swapped[0], "snapshot"));
    signed(&gateway, "event=tool.approved", 1);
    let (_, changes) = gateway.control("GET", "/v1/audit/reports/changes");
    assert!(changes["changes"].to_string().contains("tool.approved"), "{changes}");
    assert!(changes["reads"].to_string().contains("admin.read"), "{changes}");
}
