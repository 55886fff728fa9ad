//! Promises of the client, against real sockets.

use super::*;
use portcullis_core::config::settings::Server;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What a stub answers to a method: status, further header lines, body.
type Answers = fn(&str, &Value) -> (u16, String, String);

/// A server that closes after each answer; what it was asked, heads included.
async fn stub(answers: Answers) -> (u16, Arc<Mutex<Vec<(String, Value)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    let log = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let (head, body) = loop {
                stream.read_buf(&mut bytes).await.unwrap();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                if body.len() >= length {
                    break (head.to_owned(), serde_json::from_str(body).unwrap_or(Value::Null));
                }
            };
            let method = body.get("method").and_then(Value::as_str).unwrap_or("DELETE").to_owned();
            let (status, fields, answer) = answers(&method, &body);
            log.lock().unwrap().push((head, body));
            let reply = format!(
                "HTTP/1.1 {status} X\r\n{fields}content-length: {}\r\nconnection: close\r\n\r\n{answer}",
                answer.len()
            );
            let _ = stream.write_all(reply.as_bytes()).await;
        }
    });
    (port, asked)
}

fn texts(port: u16, more: &str) -> Texts {
    let text = format!(
        "secrets = \"s.toml\"\n[identity.idp]\nissuer = \"https://idp.example.com\"\nkeys = \"k.json\"\n[server.crm]\nurl = \"http://127.0.0.1:{port}/mcp\"\n\
         credential = {{ header = \"authorization\", value = \"Bearer {{secret:crm}}\" }}\n{more}"
    );
    let (settings, warnings) = portcullis_core::config::parse(&text, SETTINGS_FILE, Path::new(""))
        .unwrap_or_else(|found| panic!("{found:#?}"));
    let text = |text: &str| snapshot::Text { file: "x".into(), text: text.into() };
    let secrets = Some(text("[secrets]\ncrm = \"s3cret-value\"\n"));
    Texts {
        settings,
        warnings,
        agents: text(""),
        policies: Vec::new(),
        catalogues: vec![None],
        calendars: None,
        read_at: crate::reload::now(),
        keys: Vec::new(),
        secrets,
    }
}

async fn listed(port: u16, more: &str) -> Result<Vec<String>, LearnFailure> {
    let texts = texts(port, more);
    let server: Server = texts.settings.servers[0].clone();
    let lender = lender(texts).unwrap();
    let tools = tools(&Client { server: &server, lender: &lender, index: 0, tls: None }, &|_| {}).await?;
    Ok(tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect())
}

fn json_answer(id: &Value, result: Value) -> (u16, String, String) {
    (
        200,
        "content-type: application/json\r\n".into(),
        json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string(),
    )
}

fn modern(method: &str, body: &Value) -> (u16, String, String) {
    match method {
        "server/discover" => {
            json_answer(&body["id"], json!({"resultType": "complete", "supportedVersions": ["2026-07-28"]}))
        }
        _ if body["params"]["cursor"] == "2" => json_answer(&body["id"], json!({"tools": [{"name": "c"}]})),
        _ => json_answer(&body["id"], json!({"tools": [{"name": "a"}, {"name": "b"}], "nextCursor": "2"})),
    }
}

fn legacy(method: &str, body: &Value) -> (u16, String, String) {
    let events = |result: Value| {
        let message = json!({"jsonrpc": "2.0", "id": body["id"], "result": result});
        (
            200,
            "content-type: text/event-stream\r\nmcp-session-id: s1\r\n".to_owned(),
            format!("id: 0\nretry: 1\ndata:\n\ndata: {message}\n\n"),
        )
    };
    match method {
        "initialize" => events(json!({"protocolVersion": "2025-06-18", "capabilities": {}})),
        "notifications/initialized" => (202, String::new(), String::new()),
        "tools/list" => events(json!({"tools": [{"name": "old"}]})),
        "DELETE" => (405, String::new(), String::new()),
        _ => (400, String::new(), "Bad Request: no session".into()),
    }
}

#[tokio::test]
async fn what_is_no_mcp_server_is_refused_with_cause_and_cure() {
    let rows: [(Answers, &str); 5] = [
        (|_, _| (401, String::new(), String::new()), "it refuses our credential with HTTP status 401"),
        (|_, _| (302, "location: http://127.0.0.1:1/\r\n".into(), String::new()), "it answers with HTTP status 302"),
        (|_, _| (404, String::new(), "nothing".into()), "it answers with HTTP status 404"),
        (
            |_, body| json_answer(&body["id"], json!({"protocolVersion": "1999-01-01"})),
            "its answer is no MCP answer: it supports no revision of ours",
        ),
        (|_, _| (500, String::new(), String::new()), "it answers with HTTP status 500"),
    ];
    for (answers, expected) in rows {
        let (port, _) = stub(answers).await;
        assert_eq!(listed(port, "").await.unwrap_err().cause(), expected);
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    assert!(matches!(listed(closed, "").await, Err(LearnFailure::Unreachable(_))));
}

#[tokio::test]
async fn a_list_that_does_not_end_is_bounded() {
    let (port, asked) = stub(|method, body| match method {
        "server/discover" => modern(method, body),
        _ => json_answer(&body["id"], json!({"tools": vec![json!({"name": "x"}); 4_000], "nextCursor": "again"})),
    })
    .await;
    assert!(matches!(listed(port, "").await, Err(LearnFailure::TooMany)));
    assert_eq!(asked.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn a_modern_server_is_asked_page_by_page_with_our_credential() {
    let (port, asked) = stub(modern).await;
    assert_eq!(listed(port, "").await.unwrap(), ["a", "b", "c"]);
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 3);
    for (head, body) in asked.iter() {
        assert!(head.contains("authorization: Bearer s3cret-value"), "{head}");
        assert!(
            head.contains("mcp-protocol-version: 2026-07-28")
                && head.contains(&format!("mcp-method: {}", body["method"].as_str().unwrap())),
            "{head}"
        );
        assert_eq!(body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    }
}

#[tokio::test]
async fn an_older_server_is_greeted_as_it_knows_and_its_session_is_ended() {
    let (port, asked) = stub(legacy).await;
    assert_eq!(listed(port, "").await.unwrap(), ["old"]);
    let asked = asked.lock().unwrap().clone();
    let methods: Vec<&str> = asked.iter().map(|(_, body)| body["method"].as_str().unwrap_or("DELETE")).collect();
    assert_eq!(methods, ["server/discover", "initialize", "notifications/initialized", "tools/list", "DELETE"]);
    for (head, _) in asked.iter().skip(2) {
        assert!(head.contains("mcp-session-id: s1") && head.contains("mcp-protocol-version: 2025-06-18"), "{head}");
    }
    let (port, _) = stub(legacy).await;
    let refused = listed(port, "revisions = [\"2026-07-28\"]\n").await.unwrap_err();
    assert_eq!(refused.cause(), "it answers with HTTP status 400");
}
