//! Promises of a whole gateway in this process: real files, real sockets, a real upstream.

use super::*;
use crate::cli::Ways;
use crate::cli::client::{self, Answer};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const AGENTS: &str = "# who may call\n[agent.bot]\nowner = \"a@example.com\"   # the owner\nstatus = \"active\"\ngroups = [\"support\"]\ntokens = [{ issuer = \"idp\", client_id = \"bot\" }]\n";
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const RULE: &str =
    "permit (principal in Group::\"support\", action == Action::\"crm.read\", resource == Server::\"crm\");\n";
const OPEN: &str = "permit (principal in Group::\"support\", action, resource);\n";

/// Long enough for a loaded machine, short enough to end.
const PATIENCE: Duration = Duration::from_secs(60);

struct House {
    folder: tempfile::TempDir,
    port: u16,
}

impl House {
    fn new(upstream: u16, rule: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = format!(
            "workers = 2\n[listen]\naddress = \"127.0.0.1:{port}\"\n[identity.idp]\nissuer = \"https://idp.example.com\"\nkeys = \"idp.json\"\n\
             [server.crm]\nurl = \"http://127.0.0.1:{upstream}/mcp\"\nlearn = \"first-use\"\n[control]\nsocket = \"control.sock\"\n[log]\nlevel = \"error\"\n"
        );
        fs::create_dir(folder.path().join("policies")).unwrap();
        let house = Self { folder, port };
        for (name, text) in
            [("portcullis.toml", &*config), ("agents.toml", AGENTS), ("idp.json", KEYS), ("policies/a.cedar", rule)]
        {
            house.write(name, text);
        }
        house
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn ways(&self) -> Ways {
        Ways { config: self.folder.path().join("portcullis.toml"), socket: None, json: false }
    }

    fn start(&self) -> JoinHandle<Result<(), StartFailure>> {
        let file = self.ways().config;
        let running = std::thread::spawn(move || run(&file));
        let until = Instant::now() + PATIENCE;
        while !running.is_finished() && client::get(&self.ways(), "/v1/status").is_err() {
            assert!(Instant::now() < until, "the gateway did not start");
            std::thread::yield_now();
        }
        running
    }

    fn status(&self) -> Value {
        self.get("/v1/status")
    }

    fn get(&self, path: &str) -> Value {
        match client::get(&self.ways(), path).unwrap() {
            Answer::Done(value) => value,
            Answer::Refused(value) => panic!("refused: {value:#}"),
        }
    }

    #[track_caller]
    fn change(&self, path: &str, body: Value, expected: i64) -> Value {
        match client::post(&self.ways(), path, Some(&body)).unwrap() {
            Answer::Done(value) => {
                assert_eq!(value["version"], expected, "{value:#}");
                value
            }
            Answer::Refused(value) => panic!("refused: {value:#}"),
        }
    }

    #[track_caller]
    fn refused(&self, path: &str, body: Value, error: &str) -> Value {
        match client::post(&self.ways(), path, Some(&body)).unwrap() {
            Answer::Done(value) => panic!("not refused: {value:#}"),
            Answer::Refused(value) => {
                assert_eq!(value["error"], error, "{value:#}");
                value
            }
        }
    }

    fn drain(&self, running: JoinHandle<Result<(), StartFailure>>) {
        assert!(matches!(client::post(&self.ways(), "/v1/drain", None).unwrap(), Answer::Done(_)));
        assert!(running.join().unwrap().is_ok());
    }

    /// The names in the history.
    fn kept_files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("history")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The events of the log, by time, as far as the gateway itself made them.
    fn events(&self) -> Vec<String> {
        let lines = crate::cli::segments::Reader::new(&self.folder.path().join("audit")).latest(usize::MAX).unwrap();
        lines.into_iter().map(|line| line.entry.event).collect()
    }

    /// What a start would find of the log.
    fn recovery(&self) -> Recovery {
        let folder = self.folder.path().join("audit");
        let keys = Keys::take_up(&folder.join("keys"), "unused").unwrap();
        recovery::take_up(Arc::new(RealDisk), &folder, keys).unwrap().1
    }
}

/// File and message of each error.
fn errors(refused: &Value) -> Vec<(String, String)> {
    let findings = refused["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == "error");
    findings
        .map(|finding| (finding["file"].as_str().unwrap().to_owned(), finding["message"].as_str().unwrap().to_owned()))
        .collect()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Lists one tool, in the modern way, for as long as the test runs.
fn upstream(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = Vec::new();
            let body: Value = loop {
                let mut part = [0; 4096];
                let length = stream.read(&mut part).unwrap();
                bytes.extend_from_slice(&part[..length]);
                let whole = bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|end| &bytes[end + 4..]);
                if let Some(body) = whole.and_then(|body| serde_json::from_slice(body).ok()) {
                    break body;
                }
            };
            let result = match body["method"].as_str().unwrap() {
                "server/discover" => json!({"resultType": "complete", "supportedVersions": ["2026-07-28"]}),
                _ => json!({"tools": [{"name": "read", "inputSchema": {"type": "object"}}]}),
            };
            let answer = json!({"jsonrpc": "2.0", "id": body["id"], "result": result}).to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                answer.len()
            );
            stream.write_all(format!("{head}{answer}").as_bytes()).unwrap();
        }
    });
}

fn call_without_token(port: u16) -> String {
    let head = format!(
        "POST /mcp/crm HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const EVENTS: [&str; 7] = [
    "gateway.started",
    "agent.suspended",
    "policy.swapped",
    "policy.swapped",
    "policy.swapped",
    "admin.read",
    "gateway.stopped",
];

#[test]
fn a_gateway_changes_what_it_serves_and_writes_down_every_change() {
    let upstream_port = free_port();
    upstream(upstream_port);
    let house = House::new(upstream_port, RULE);
    let running = house.start();
    let status = house.status();
    assert_eq!(status["state"], "serving", "{status:#}");
    assert_eq!(
        (&status["routes"][0]["tools"], &status["snapshot"]["version"], &status["snapshot"]["files"]),
        (&json!(1), &json!(1), &json!("same"))
    );

    let unknown = call_without_token(house.port);
    assert!(unknown.starts_with("HTTP/1.1 401 "), "{unknown}");

    // A change that does not load changes nothing.
    house.write("policies/a.cedar", &RULE.replace("read", "reed"));
    let refused = house.refused("/v1/policy/apply", json!({}), "findings");
    assert!(
        errors(&refused).iter().any(|(file, message)| file.ends_with("a.cedar") && message.contains("reed")),
        "{refused:#}"
    );
    assert_eq!(house.status()["snapshot"]["version"], 1);
    assert_eq!(house.status()["snapshot"]["files"], "differ");

    // A suspension takes effect although the rules on disk are broken.
    house.change("/v1/agents/bot/suspend", json!({}), 2);
    assert_eq!(house.read("agents.toml"), AGENTS.replace("active", "suspended"));
    assert_eq!(house.status()["agents"], json!({"active": 0, "suspended": 1, "retired": 0}));
    house.refused("/v1/agents/bto/suspend", json!({}), "agent");

    house.write("policies/a.cedar", OPEN);
    let conflict = house.refused("/v1/policy/apply", json!({"expect": 1}), "conflict");
    assert_eq!(conflict["current"], 2);
    house.change("/v1/policy/apply", json!({"expect": 2}), 3);
    assert_eq!(house.change("/v1/reload", json!({}), 3)["changed"], false);

    // Going back takes the rules back and no suspension; the files stay as they are.
    house.refused("/v1/policy/rollback", json!({"version": 9}), "unknown_version");
    house.change("/v1/policy/rollback", json!({"version": 1}), 4);
    assert_eq!(house.get("/v1/policy")["sources"][0]["text"], RULE);
    assert_eq!(house.read("policies/a.cedar"), OPEN);
    let status = house.status();
    assert_eq!((&status["agents"]["suspended"], &status["snapshot"]["files"]), (&json!(1), &json!("differ")));

    house.write("portcullis.toml", &house.read("portcullis.toml").replace("workers = 2", "workers = 1"));
    let restart = house.refused("/v1/reload", json!({}), "findings");
    assert!(errors(&restart).iter().any(|(_, message)| message.contains("`workers` cannot change")), "{restart:#}");

    house.drain(running);
    let own: Vec<String> = house.events().into_iter().filter(|event| event != "refusal").collect();
    assert_eq!(own, EVENTS);
    let recovery = house.recovery();
    assert_eq!((recovery.torn_bytes, recovery.records, recovery.unknown.len()), (0, 0, 0));
    assert!(!house.folder.path().join("control.sock").exists());

    // The next start serves the files under a number of their own, and the chains go on.
    let running = house.start();
    assert_eq!(house.status()["snapshot"]["version"], 5);
    house.drain(running);
    let before = recovery.size;
    let recovery = house.recovery();
    assert_eq!((recovery.torn_bytes, recovery.size), (0, before + 2));
}

#[test]
fn an_absent_upstream_is_learned_as_soon_as_it_answers() {
    let upstream_port = free_port();
    let house = House::new(upstream_port, OPEN);
    let running = house.start();
    assert_eq!(house.status()["routes"][0]["learned"], false);
    upstream(upstream_port);
    let until = Instant::now() + PATIENCE;
    while house.status()["routes"][0]["learned"] == false {
        assert!(Instant::now() < until, "the tools were not learned");
    }
    assert_eq!(house.status()["snapshot"]["how"], "learned");
    assert!(house.read("catalogue/crm.json").contains("\"read\""));
    house.drain(running);
}

#[test]
fn a_start_waits_for_the_server_whose_tools_the_rules_name() {
    let upstream_port = free_port();
    let house = House::new(upstream_port, RULE);
    let file = house.ways().config;
    let running = std::thread::spawn(move || run(&file));
    upstream(upstream_port);
    let until = Instant::now() + PATIENCE;
    while client::get(&house.ways(), "/v1/status").is_err() {
        assert!(!running.is_finished() && Instant::now() < until, "the gateway did not start");
        std::thread::yield_now();
    }
    assert_eq!(house.status()["routes"][0]["tools"], 1);
    house.drain(running);
}

#[test]
fn a_second_gateway_on_the_same_folder_does_not_start() {
    let upstream_port = free_port();
    upstream(upstream_port);
    let house = House::new(upstream_port, RULE);
    let running = house.start();
    // Even with other rules and doors of its own it leaves no trace.
    house.write("policies/a.cedar", OPEN);
    let config = house.read("portcullis.toml");
    let other = config.replace("control.sock", "other.sock").replace(&house.port.to_string(), &free_port().to_string());
    house.write("portcullis.toml", &other);
    let second = run(&house.ways().config);
    house.write("portcullis.toml", &config);
    let Err(StartFailure::System(_, error, cure)) = second else { panic!("{second:?}") };
    assert_eq!(error.to_string(), "another gateway writes here");
    assert_eq!(cure, "stop the other gateway, or give this one another `folder` in `[audit]`");
    assert!(!house.folder.path().join("other.sock").exists());
    assert_eq!(house.kept_files(), ["000001.json"]);
    assert_eq!(house.status()["state"], "serving");
    house.drain(running);
}

#[test]
fn files_that_do_not_load_are_refused_before_a_socket_is_open() {
    let house = House::new(free_port(), RULE);
    house.write("agents.toml", "[agent.bot]\n");
    house.write("idp.json", "{");
    let Err(StartFailure::Findings(findings)) = run(&house.ways().config) else { panic!("it started") };
    let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(
        said.iter().any(|line| line.contains("agents.toml")) && said.iter().any(|line| line.contains("idp.json")),
        "{said:#?}"
    );
    assert!(!house.folder.path().join("control.sock").exists() && !house.folder.path().join("audit").exists());
}

#[test]
fn a_suspension_waits_for_no_disk_and_a_resumption_for_all_of_them() {
    let upstream_port = free_port();
    upstream(upstream_port);
    let house = House::new(upstream_port, RULE);
    let running = house.start();
    // A folder in the place of the file that is staged: nothing can be written there.
    let (registry, history) =
        (house.folder.path().join(".agents.toml.new"), house.folder.path().join("history/.000002.json.new"));
    fs::create_dir(&registry).unwrap();
    fs::create_dir(&history).unwrap();
    let unwritten = house.refused("/v1/agents/bot/suspend", json!({}), "unwritten");
    assert!(unwritten["message"].as_str().unwrap().contains("agent `bot` is suspended from now on"), "{unwritten:#}");
    assert_eq!(house.status()["agents"]["suspended"], 1);
    assert_eq!((house.read("agents.toml"), house.status()["snapshot"]["version"].clone()), (AGENTS.into(), json!(2)));
    // Once the disk is mended, the same again writes it down.
    fs::remove_dir(&history).unwrap();
    fs::remove_dir(&registry).unwrap();
    house.change("/v1/agents/bot/suspend", json!({}), 2);
    assert_eq!(house.read("agents.toml"), AGENTS.replace("active", "suspended"));
    assert_eq!(house.kept_files(), ["000001.json", "000002.json"]);

    fs::create_dir(&registry).unwrap();
    house.refused("/v1/agents/bot/resume", json!({}), "disk");
    assert_eq!(house.status()["agents"]["suspended"], 1);
    fs::remove_dir(&registry).unwrap();
    house.change("/v1/agents/bot/resume", json!({}), 4);
    assert_eq!(house.read("agents.toml"), AGENTS);
    house.drain(running);
    let own: Vec<String> = house.events().into_iter().filter(|event| event.starts_with("agent.")).collect();
    // What could not be made true was taken back in the log.
    assert_eq!(own, ["agent.suspended", "agent.suspended", "agent.resumed", "agent.suspended", "agent.resumed"]);
}

#[test]
fn rules_that_were_taken_back_stay_marked_until_the_files_serve_again() {
    let upstream_port = free_port();
    upstream(upstream_port);
    let house = House::new(upstream_port, RULE);
    let running = house.start();
    house.write("policies/a.cedar", OPEN);
    house.change("/v1/policy/apply", json!({}), 2);
    house.change("/v1/policy/rollback", json!({"version": 1}), 3);
    house.change("/v1/agents/bot/suspend", json!({}), 4);
    let marked = |version: u64| {
        let kept: Value = serde_json::from_str(&house.read(&format!("history/{version:06}.json"))).unwrap();
        kept["rules_from"].clone()
    };
    assert_eq!([marked(2), marked(3), marked(4)], [Value::Null, json!(1), json!(1)]);
    house.change("/v1/policy/apply", json!({}), 5);
    assert_eq!(marked(5), Value::Null);
    house.drain(running);
}
