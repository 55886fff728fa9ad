//! What the stage benches are fed with. In: sizes. Out: heads, bodies, snapshots, tokens: the same files and the same call as `cargo xtask
//! bench` uses, so that a stage's time can be held against a whole call's. Never here: timing.

pub mod grid;
pub mod stage;
pub mod stages;

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use portcullis_core::config;
use portcullis_core::config::snapshot::{Snapshot, Text, Texts};
use portcullis_core::time::UnixMillis;
use serde_json::{Value, json};

/// The time of every bench: tokens are good then.
pub const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// The call that `cargo xtask bench` measures.
pub const CALL: &[u8] = include_bytes!("../../loadtest/configs/call.json");

/// What the upstream answers to it.
pub const ANSWER: &[u8] = br#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"text","text":"quarterly figures: 1204 rows, 38 columns, no gaps, checked"}],"isError":false}}"#;

/// A token of each algorithm and the public half of its key, so that every run reads the same bytes. Nobody has the private halves.
const TOKENS: &str = include_str!("../tokens.json");

/// A snapshot as the bench's gateway has it, and a token it believes.
pub struct Scene {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// The token, good at [`NOW`].
    pub token: String,
}

/// The algorithms a token can be signed with.
pub const ALGORITHMS: [&str; 3] = ["EdDSA", "ES256", "RS256"];

impl Scene {
    /// With tokens signed by `algorithm`.
    ///
    /// # Panics
    /// When the bench's files are broken.
    pub fn new(algorithm: &str) -> Self {
        let tokens: Value = serde_json::from_str(TOKENS).expect("the tokens are JSON");
        let keys = json!({ "keys": [tokens[algorithm]["jwk"]] });
        let token = tokens[algorithm]["token"].as_str().expect("the algorithm has a token");
        let settings = include_str!("../../loadtest/configs/portcullis.toml.in")
            .replace("@PORT@", "8443")
            .replace("@UPSTREAM@", "127.0.0.1:9000")
            .replace("\"EdDSA\"", &format!("\"{algorithm}\""));
        let (settings, warnings) = config::parse(&settings, "portcullis.toml", Path::new("/bench"))
            .expect("the bench's configuration is good");
        let text = |file: &str, text: &str| Text { file: file.to_owned(), text: text.to_owned() };
        let texts = Texts {
            settings,
            warnings,
            agents: text("agents.toml", include_str!("../../loadtest/configs/agents.toml")),
            policies: vec![text("bench.cedar", include_str!("../../loadtest/configs/bench.cedar"))],
            catalogues: vec![Some(text("catalogue.json", include_str!("../../loadtest/configs/catalogue.json")))],
            calendars: None,
            read_at: NOW,
            keys: vec![text("keys.json", &keys.to_string())],
            secrets: None,
        };
        let snapshot = Snapshot::build(texts, 1).expect("the bench's files are good");
        Self { snapshot: Arc::new(snapshot), token: token.to_owned() }
    }
}

/// The head of such a call, as the load sends it.
pub fn head(token: &str) -> Vec<u8> {
    head_of(token, CALL)
}

/// A whole request with this body.
pub fn request(token: &str, body: &[u8]) -> Vec<u8> {
    let mut request = head_of(token, body);
    request.extend_from_slice(body);
    request
}

/// The upstream's whole answer.
pub fn reply() -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", ANSWER.len());
    [head.as_bytes(), ANSWER].concat()
}

fn head_of(token: &str, body: &[u8]) -> Vec<u8> {
    format!(
        "POST /mcp/bench HTTP/1.1\r\nHost: 127.0.0.1:8443\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\n\
         Mcp-Name: bench_echo\r\nUser-Agent: bench/1\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes()
}

/// A call of about so many bytes: half of its arguments is text with escapes, half is small objects.
pub fn body(bytes: usize) -> Vec<u8> {
    let mut out = String::from(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"bench_echo","arguments":{"path":"/srv/q3.csv""#,
    );
    out.push_str(r#","text":""#);
    while out.len() < bytes / 2 {
        out.push_str(r#"a line of \"text\",\tand more\n"#);
    }
    out.push_str(r#"","rows":["#);
    let mut row = 0;
    while row == 0 || out.len() + 40 < bytes {
        let _ = write!(out, r#"{}{{"id":{row},"name":"row {row}","ok":true}}"#, if row > 0 { "," } else { "" });
        row += 1;
    }
    out.push_str("]}}}");
    out.into_bytes()
}

/// The answer to `tools/list` with so many tools, each of about 400 bytes.
pub fn list(tools: usize) -> Vec<u8> {
    let tools: Vec<_> = (0..tools)
        .map(|number| {
            json!({
                "name": format!("tool_{number}"),
                "description": "Reads rows of a table, newest first, at most as many as asked for; a filter narrows them",
                "inputSchema": {"type": "object", "required": ["table"], "properties": {
                    "table": {"type": "string", "description": "which table"},
                    "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
                    "filter": {"type": "string", "description": "an expression over columns"},
                }},
            })
        })
        .collect();
    json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}).to_string().into_bytes()
}

/// A stream of so many events of about 200 bytes.
pub fn events(count: usize) -> Vec<u8> {
    let data = "x".repeat(140);
    let event =
        |number| format!("id: {number}\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":\"{data}\"}}\n\n");
    (0..count).map(event).collect::<String>().into_bytes()
}
