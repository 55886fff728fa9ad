//! Exports are read by those they are for: DuckDB, OpenTelemetry's own definitions, a parser of syslog, the published schema of OCSF.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;

use portcullis_tests::gateway::binary;
use portcullis_tests::setup::{Setup, fresh_address, put};
use portcullis_tests::signed::{ORIGIN, START, Signed};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A Python with the readers, installed once a machine.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| xtask::tools::readers().expect("the readers install"))
}

fn reader(script: &str) -> Command {
    let mut command = Command::new(python());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("exports").join(script));
    command
}

/// A gateway's folder with a signed log of every kind of record, of calls that ended in every way, and of `calls` plain ones.
struct Place {
    folder: TempDir,
    log: Signed,
    note: String,
}

impl Place {
    fn new(calls: usize) -> Self {
        let folder = tempfile::Builder::new().prefix("portcullis-").tempdir().expect("a folder");
        Setup::default().server_at("crm", "http://127.0.0.1:9/mcp", "").write(folder.path(), fresh_address());
        let mut log = Signed::default();
        ways(&mut log);
        for number in 0..calls {
            let seq =
                log.add("decision", decision(&format!("bot-{}", number % 7), "tools/call", "tool", "list_tables"));
            log.add("result", json!({"agent": "bot", "decision_seq": seq, "server": "crm", "status": 200, "outcome": "complete", "duration_us": number}));
        }
        let note = log.write(&folder.path().join("audit"));
        Self { folder, log, note }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn export(&self, words: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(["audit", "export", "--json"]).args(words).current_dir(self.folder.path());
        command.output().expect("the program runs")
    }

    /// An export that goes well: what it said at its end.
    fn exported(&self, words: &[&str]) -> Value {
        let output = self.export(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice(&output.stdout).expect("an answer in JSON")
    }
}

fn decision(agent: &str, method: &str, kind: &str, about: &str) -> Value {
    json!({
        "agent": agent, "user": "ada", "account": "acct-7", "issuer": "https://idp.example.com", "jti": "t-1",
        "certificate": "00ff", "source": "10.0.0.7", "server": "crm", "session": "8f2e", "revision": "2026-07-28",
        "method": method, kind: about, "request_id": "q \"7\"", "decision": "allow", "rules": ["support.cedar:3", "hours.cedar:1"],
        "snapshot": 12, "snapshot_hash": "ab12", "obligations": [], "arguments_bytes": 21, "arguments_commit": "c0",
    })
}

/// Every kind of record, and every end of a call.
fn ways(log: &mut Signed) {
    let hostile = "x\"]\\\n\u{1b}[2J\u{202e}é";
    let snapshot = json!({"snapshot": 12, "snapshot_hash": "ab12"});
    log.add("gateway.started", json!({"version": "0.1.0", "snapshot": 12, "snapshot_hash": "ab12", "durability": "batched", "mode": [], "torn_bytes": 0}));
    for outcome in
        ["complete", "error", "refused", "upstream_failed", "timed_out", "cancelled", "revoked", "accepted", "passed"]
    {
        let seq = log.add("decision", decision("recon-17", "tools/call", "tool", "read_table"));
        let begun = if outcome == "passed" {
            log.add("result.begun", json!({"agent": "recon-17", "decision_seq": seq, "server": "crm", "status": 200}));
            "result.ended"
        } else {
            "result"
        };
        let mut end = json!({"agent": "recon-17", "decision_seq": seq, "server": "crm", "status": 200, "outcome": outcome, "duration_us": 1234, "result_bytes": 5, "result_commit": "c1"});
        match outcome {
            "refused" => end.as_object_mut().expect("an object").extend([
                ("decision".to_owned(), json!("deny")),
                ("cause".to_owned(), json!("result_forbidden")),
                ("rules".to_owned(), json!(["small"])),
            ]),
            "complete" => end["redactions"] = json!(2),
            _ => {}
        }
        log.add(begun, end);
    }
    let mut denied = decision(hostile, "resources/read", "uri", &format!("file:///{hostile}{}", "é".repeat(2000)));
    denied["decision"] = json!("deny");
    denied["cause"] = json!("no_rule");
    log.add("decision", denied);
    let mut observed = decision("recon-17", "prompts/get", "name", "greet");
    observed["decision"] = json!("observed_deny");
    observed["request_id"] = json!(7);
    let seq = log.add("decision", observed);
    log.add("result", json!({"agent": "recon-17", "decision_seq": seq, "server": "crm", "status": 200, "outcome": "complete", "duration_us": 1}));
    log.add("decision", json!({"agent": "bare", "server": "crm", "method": "notifications/initialized", "decision": "deny", "rules": [], "snapshot": 1, "snapshot_hash": "a"}));
    log.add("refusal", json!({"cause": "no_token", "status": 401, "source": "2001:db8::1"}));
    log.add("server.request", json!({"agent": "recon-17", "server": "crm", "method": "sampling/createMessage", "decision": "deny", "cause": "no_rule", "rules": [], "snapshot": 12, "snapshot_hash": "ab12"}));
    log.add("policy.swapped", json!({"snapshot": 13, "snapshot_hash": "cd", "previous": 12, "actor": "uid 0"}));
    log.add("agent.suspended", json!({"agent": "recon-17", "actor": "uid 0", "snapshot": 13}));
    log.add("agent.resumed", json!({"agent": "recon-17", "actor": "uid 0", "snapshot": 14}));
    log.add("tool.drifted", json!({"server": "crm", "tool": "read_table", "pinned": "a", "seen": "b"}));
    log.add("audit.read", json!({"actor": "uid 0", "what": "export ocsf", "count": 3}));
    log.add("audit.erased", json!({"actor": "uid 0", "entries": [1], "fields": [], "reason": "request"}));
    log.add("audit.pruned", json!({"actor": "uid 0", "first_index": 1}));
    log.add("result", json!({"agent": "recon-17", "decision_seq": 999, "server": "crm", "status": 200, "outcome": "complete", "duration_us": 1}));
    let lost = log.add("decision", decision("recon-17", "tools/call", "tool", "read_table"));
    let stop = snapshot.as_object().map(|_| json!({"reason": "signal"})).unwrap_or_default();
    log.add("gateway.stopped", stop);
    log.add("outcome.unknown", json!({"decision_boot": "1795428000000", "decision_shard": 0, "decision_seq": lost, "agent": "recon-17", "server": "crm"}));
    log.add("decision", decision("recon-17", "tools/call", "tool", "read_table"));
}

/// Items of [`ways`]: 9 calls that ended, 1 denied, 1 observed, 1 bare, 9 records of their own kinds, a result alone, 2 of the gateway itself,
/// 1 lost call. One more is under way.
const ITEMS: u64 = 9 + 3 + 9 + 1 + 2 + 1;

#[test]
fn a_command_that_cannot_be_carried_out_leaves_nothing_behind() {
    let place = Place::new(0);
    for (words, told) in [
        (&["--format", "parquet"][..], "--output"),
        (&["--format", "otlp"], "--endpoint"),
        (&["--format", "otlp", "--endpoint", "tcp://127.0.0.1"], "http://"),
        (&["--format", "syslog", "--endpoint", "http://127.0.0.1"], "udp://"),
        (&["--format", "jsonl", "--endpoint", "http://127.0.0.1"], "--output"),
        (&["--format", "jsonl", "--from", "noon"], "`noon` is no time"),
        (&["--format", "jsonl", "--after", "x"], "`x` is no place"),
        (&["--format", "jsonl", "--after", "0/99999"], "ends before `0/99999`"),
        (&["--format", "jsonl", "-o", "no/such/folder/out"], "cannot be written"),
        (&["--format", "syslog", "--endpoint", "tcp://127.0.0.1:1"], "cannot be reached"),
    ] {
        let output = place.export(words);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains(told), "{words:?}: {said}");
    }
    for (mode, line, told) in [
        (0o644, "X-Key: 1", "lets others at them"),
        (0o600, "X-Key", "headers:1: not a line"),
        (0o600, "Content-Length: 3", "headers:1: not a line"),
        (0o600, "X Key: 1", "headers:1: not a line"),
        (0o600, "X-Key: 1\u{b}", "headers:1: not a line"),
    ] {
        private(&place, line, mode);
        let output = place.export(&["--format", "otlp", "--endpoint", "http://127.0.0.1:1", "--headers", "headers"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(told), "{line:?}: {said}");
    }
    fs::write(place.path("out"), "before").unwrap();
    let bundle = place.path("audit/logs/0000/tile/entries/000.p").join(place.log.len().to_string());
    fs::remove_file(bundle).unwrap();
    for format in ["jsonl", "ocsf", "parquet"] {
        let output = place.export(&["--format", format, "-o", "out"]);
        assert_eq!(output.status.code(), Some(2), "{format}");
        assert_eq!(fs::read_to_string(place.path("out")).unwrap(), "before", "{format}");
    }
    let left: Vec<_> = fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".part")), "{left:?}");
}

#[test]
fn json_lines_hold_every_leaf_as_it_was_hashed_and_go_on_where_they_ended() {
    let place = Place::new(300);
    let told = place.exported(&["--format", "jsonl", "-o", "out"]);
    let lines = fs::read_to_string(place.path("out")).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!((told["records"].as_u64(), lines.len()), (Some(place.log.len() as u64), place.log.len()));
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("{{\"log\":\"{ORIGIN}\",\"index\":{index},\"leaf\":{}}}", place.log.leaf(index)));
    }
    assert!(place.note.starts_with(told["checkpoint"].as_str().unwrap()), "{told}");
    assert_eq!(told["after"], json!(format!("0/{}", lines.len() - 1)));
    let output = place.export(&["--format", "jsonl", "--after", "599"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().collect::<Vec<_>>(), lines[600..]);
    let again = place.exported(&["--format", "jsonl", "-o", "none", "--after", told["after"].as_str().unwrap()]);
    assert_eq!((&again["records"], &again["after"]), (&json!(0), &told["after"]));
}

#[test]
fn events_hold_against_the_published_schema_of_ocsf() {
    let place = Place::new(3);
    let told = place.exported(&["--format", "ocsf", "-o", "events", "--open"]);
    // The gateway's own start and stop and a drifted tool are no activity at an API; the call that is under way is told of.
    assert_eq!((&told["records"], &told["no_place"]), (&json!(ITEMS + 3 + 1 - 3), &json!(3)));
    let output = reader("ocsf.py").arg(place.path("events")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer, json!({"events": told["records"], "wrong": [], "missed": []}));
}

#[test]
fn duckdb_reads_the_columns_and_what_speeds_them_up() {
    let place = Place::new(40_000);
    let told = place.exported(&["--format", "parquet", "-o", "calls.parquet"]);
    // The call under way has waited for as many entries as a decision waits, so that it is among them.
    assert_eq!((&told["records"], &told["under_way"]), (&json!(ITEMS + 1 + 40_000), &json!(0)));
    let output = reader("parquet.py").arg(place.path("calls.parquet")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |name: &str| &answer[name];
    assert_eq!(
        (of("rows"), of("groups"), of("statistics"), of("unsorted")),
        (&told["records"], &json!(2), &json!(2), &json!(0))
    );
    assert_eq!(of("types")["time"], json!("TIMESTAMP WITH TIME ZONE"));
    assert_eq!(of("types")["rules"], json!("VARCHAR[]"));
    assert_eq!(of("types")["duration_us"], json!("BIGINT"));
    let rules = json!(["support.cedar:3", "hours.cedar:1"]);
    let first = json!(["recon-17", "read_table", "acct-7", "complete", 1234, rules, "2026-11-23T10:00:00.001", 1, 2]);
    assert_eq!(of("calls")[0], first);
    assert_eq!(of("outcomes")["complete"], json!(40_000 + 3));
    assert_eq!((&of("outcomes")["unknown"], &of("outcomes")["open"]), (&json!(1), &json!(1)));
    assert_eq!(of("values"), &json!([0, 0]));
    assert_eq!(of("bloom"), &json!(["account", "agent", "id", "tool"]));
    for (column, groups) in of("absent").as_object().unwrap() {
        assert!(groups.as_array().unwrap().iter().all(|excluded| *excluded == json!(true)), "{column}: {groups}");
    }
    for (column, groups) in of("present").as_object().unwrap() {
        assert_eq!(groups[0], json!(false), "{column}");
    }
    assert_eq!(of("metadata")[format!("portcullis.checkpoint.{ORIGIN}")], json!(place.note));
}

/// A receiver in Python. Dropped, it ends.
struct Receiver {
    child: Child,
    lines: BufReader<ChildStdout>,
    port: u16,
}

impl Receiver {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        lines.read_line(&mut port).unwrap();
        Self { child, lines, port: port.trim().parse().expect("it says where it listens") }
    }

    /// What it has taken.
    fn taken(&mut self, wanted: u64) -> Value {
        writeln!(self.child.stdin.take().unwrap(), "{wanted}").unwrap();
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect("it says what it took")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A file of lines for a request's head.
fn private(place: &Place, line: &str, mode: u32) {
    put(place.folder.path(), "headers", &format!("{line}\n"));
    fs::set_permissions(place.path("headers"), fs::Permissions::from_mode(mode)).unwrap();
}

/// A certificate for 127.0.0.1, which trusts itself.
fn certificate(place: &Place) -> [PathBuf; 2] {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    put(place.folder.path(), "receiver.pem", &made.cert.pem());
    put(place.folder.path(), "receiver.key", &made.signing_key.serialize_pem());
    [place.path("receiver.pem"), place.path("receiver.key")]
}

#[test]
fn a_receiver_of_opentelemetry_gets_each_record_once_and_goes_on_at_the_cursor() {
    let place = Place::new(700);
    for scheme in ["http", "https"] {
        let mut command = reader("otlp.py");
        if scheme == "https" {
            command.args(certificate(&place));
        }
        let mut receiver = Receiver::start(&mut command);
        private(&place, "Authorization: Bearer abc", 0o600);
        let (endpoint, cursor) = (format!("{scheme}://127.0.0.1:{}", receiver.port), format!("cursor-{scheme}"));
        let mut words = vec!["--format", "otlp", "--endpoint", &endpoint, "--headers", "headers", "--cursor", &cursor];
        if scheme == "https" {
            let refused = place.export(&words);
            assert!(String::from_utf8_lossy(&refused.stdout).contains("cannot be reached"), "an unknown certificate");
            words.extend(["--ca", "receiver.pem"]);
        }
        let told = place.exported(&words);
        assert_eq!(told["records"], json!(ITEMS + 700));
        assert_eq!(fs::read_to_string(place.path(&cursor)).unwrap().trim(), told["after"].as_str().unwrap());
        assert_eq!(place.exported(&words)["records"], json!(0));
        let taken = receiver.taken(0);
        let requests = taken.as_array().unwrap();
        let records: Vec<&Value> = requests.iter().flat_map(|request| request["records"].as_array().unwrap()).collect();
        assert_eq!((requests.len(), records.len() as u64), (2, ITEMS + 700));
        assert_eq!(requests[0]["authorization"], json!("Bearer abc"));
        assert_eq!(requests[0]["resource"]["service.name"], json!("portcullis"));
        let mut names: Vec<&str> =
            records.iter().map(|record| record["attributes"]["log.record.uid"].as_str().unwrap()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), records.len());
        let call = records.iter().find(|record| record["event"] == json!("portcullis.audit.decision")).unwrap();
        assert_eq!((&call["time"], &call["severity"]), (&json!((START + 1) * 1_000_000), &json!(9)));
        let expected = [
            ("gen_ai.agent.id", json!("recon-17")),
            ("gen_ai.operation.name", json!("execute_tool")),
            ("gen_ai.tool.name", json!("read_table")),
            ("mcp.method.name", json!("tools/call")),
            ("jsonrpc.request.id", json!("q \"7\"")),
            ("http.response.status_code", json!(200)),
            ("portcullis.rules", json!(["support.cedar:3", "hours.cedar:1"])),
            ("portcullis.outcome", json!("complete")),
        ];
        for (name, value) in expected {
            assert_eq!(call["attributes"][name], value, "{name}");
        }
    }
}

#[test]
fn a_receiver_of_syslog_reads_every_message() {
    let place = Place::new(300);
    for kind in ["udp", "tcp", "tls"] {
        let mut command = reader("syslog.py");
        command.arg(kind);
        if kind == "tls" {
            command.args(certificate(&place));
        }
        let mut receiver = Receiver::start(&mut command);
        let endpoint = format!("{kind}://127.0.0.1:{}", receiver.port);
        // A socket of datagrams holds some hundred messages that nobody has read yet.
        let after = if kind == "udp" { format!("0/{}", place.log.len() - 101) } else { "0/0".to_owned() };
        let mut words = vec!["--format", "syslog", "--endpoint", &endpoint, "--after", &after];
        if kind == "tls" {
            words.extend(["--ca", "receiver.pem"]);
        }
        let told = place.exported(&words);
        let count = told["records"].as_u64().unwrap();
        assert_eq!(count, if kind == "udp" { 50 } else { ITEMS + 300 - 1 }, "{kind}");
        let taken = receiver.taken(count);
        let messages = taken.as_array().unwrap();
        assert_eq!(messages.len() as u64, count, "{kind}");
        for message in messages {
            assert_eq!(
                (&message["facility"], &message["appname"]),
                (&json!("audit"), &json!("portcullis")),
                "{message}"
            );
        }
        if kind == "udp" {
            continue;
        }
        let facts = |message: &Value| message["sd"]["portcullis@32473"].clone();
        let denied = messages.iter().find(|message| facts(message)["uri"].is_string()).unwrap();
        assert_eq!((&denied["severity"], &denied["msgid"]), (&json!("warning"), &json!("decision")));
        // This parser leaves the backslashes of RFC 5424 where they are.
        assert_eq!(facts(denied)["agent"], json!("x\\\"\\]\\\\\\\\u{a}\\\\u{1b}[2J\u{202e}é"));
        let call = &messages[0];
        assert_eq!((&call["severity"], &facts(call)["outcome"]), (&json!("info"), &json!("complete")));
        assert_eq!(call["timestamp"], json!("2026-11-23T10:00:00.001Z"));
    }
}
