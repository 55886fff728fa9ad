use std::path::PathBuf;
use std::sync::Arc;

use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{HttpOptions, endpoint, parse_header};
use crate::crm::{Crm, store::Store};

/// Sends one POST with these header lines to a server with these options; gives the status line.
async fn posted(require: Option<&str>, record: Option<PathBuf>, headers: &str) -> String {
    let require_header = require.map(|typed| parse_header(typed).unwrap());
    let options = HttpOptions { port: 0, require_header, record };
    let crm = Crm::new(Store::open(std::path::Path::new(":memory:")).unwrap());
    let router = endpoint(options, Arc::new(LocalSessionManager::default()), move || crm.clone()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let head = format!(
        "POST /mcp?q=1 HTTP/1.1\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n\
         connection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        BODY.len()
    );
    stream.write_all(format!("{head}{BODY}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    server.abort();
    answer.lines().next().unwrap_or_default().to_owned()
}

async fn check(require: Option<&str>, headers: &str, expected: &str) {
    let got = posted(require, None, headers).await;
    assert_eq!(got, format!("HTTP/1.1 {expected}"), "require {require:?}, headers {headers:?}");
}

#[tokio::test]
async fn only_the_required_header_with_its_very_value_lets_in() {
    let require = Some("authorization=Bearer upstream");
    check(require, "host: localhost\r\n", "401 Unauthorized").await;
    check(require, "host: localhost\r\nauthorization: Bearer agent\r\n", "401 Unauthorized").await;
    let twice = "host: localhost\r\nauthorization: Bearer upstream\r\nauthorization: Bearer agent\r\n";
    check(require, twice, "401 Unauthorized").await;
    check(require, "host: localhost\r\nAuthorization: Bearer upstream\r\n", "200 OK").await;
}

#[tokio::test]
async fn a_foreign_host_or_origin_is_refused() {
    check(None, "host: evil.example.com\r\n", "403 Forbidden").await;
    check(None, "host: localhost\r\norigin: http://evil.example.com\r\n", "403 Forbidden").await;
    check(None, "host: 127.0.0.1:1\r\norigin: http://localhost:2\r\n", "200 OK").await;
}

#[tokio::test]
async fn every_request_is_recorded_even_a_refused_one() {
    let file = std::env::temp_dir().join(format!("portcullis-record-{}.jsonl", std::process::id()));
    let headers = "host: localhost\r\nx-token: secret\r\n";
    posted(Some("authorization=x"), Some(file.clone()), headers).await;
    posted(None, Some(file.clone()), headers).await;
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    for line in lines {
        assert_eq!((&line["method"], &line["path"], &line["body"]), (&"POST".into(), &"/mcp?q=1".into(), &BODY.into()));
        let headers = line["headers"].as_array().unwrap();
        assert!(headers.contains(&serde_json::json!(["x-token", "secret"])), "{line}");
    }
}

const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
