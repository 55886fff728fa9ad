//! Answers as a small MCP server would, fast. In: a body. Out: the bytes of a response; what is large is prebuilt and shared. Never
//! here: sockets.

use std::collections::HashMap;
use std::io::Write;
use std::rc::Rc;

use crate::rpc::{self, Call};

/// The largest body that a call may ask for; the plans' bound.
const ANSWER_BYTES_MAX: u32 = crate::plan::ANSWER_BYTES_MAX.0;

/// Sizes kept prebuilt; a bench uses three.
const SIZES_MAX: usize = 64;

const RESULT: &str = r#"{"jsonrpc":"2.0","id":"#;

/// The one tool. Its name and argument are what the benches call.
const TOOLS: &str = concat!(
    r#","result":{"resultType":"complete","tools":[{"name":"bench_echo","description":"Answers with a fixed line","#,
    r#""inputSchema":{"type":"object","properties":{"path":{"type":"string"},"limit":{"type":"integer"}},"required":["path"]}}],"#,
    r#""ttlMs":60000,"cacheScope":"public"}}"#
);

const CALLED: &str = r#","result":{"resultType":"complete","content":[{"type":"text","text":"quarterly figures: 1204 rows, 38 columns, no gaps, checked"}],"isError":false}}"#;

/// A result around a text of any length.
const SIZED: (&str, &str) =
    (r#","result":{"resultType":"complete","content":[{"type":"text","text":""#, r#""}],"isError":false}}"#);

/// What long texts are made of; nothing in it is escaped in JSON.
const PROSE: &str = "quarterly figures: 1204 rows, 38 columns, no gaps, checked; ";

const DISCOVERED: &str = concat!(
    r#","result":{"resultType":"complete","supportedVersions":["2025-11-25","2026-07-28"],"capabilities":{"tools":{"listChanged":true}},"#,
    r#""serverInfo":{"name":"stub","version":"1"},"ttlMs":60000,"cacheScope":"public"}}"#
);

const INITIALIZED: &str = r#","result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"stub","version":"1"}}}"#;

const UNKNOWN: &str = r#","error":{"code":-32601,"message":"method not found"}}"#;

/// The head of a stream of events. The last field is what makes nginx pass events on as they come.
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\nx-accel-buffering: no\r\n\r\n";

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing.
    Next,
    /// The bytes that were written are followed by these.
    Tail(Rc<[u8]>),
    /// The response stays open; these bytes tell it something each time that all streams are told.
    Held(Box<[u8]>),
    /// All held streams are told.
    Wake,
}

/// Makes answers.
#[derive(Default)]
pub struct Answers {
    sized: HashMap<u32, Rc<[u8]>>,
    sessions: u64,
}

impl Answers {
    /// Appends the response to a POST with this body, or with a body that begins so. A notification gets 202 without a body.
    pub fn respond(&mut self, body: &[u8], out: &mut Vec<u8>) -> After {
        let Call { id, method } = rpc::call(body);
        let Some(id) = id else {
            out.extend_from_slice(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");
            return After::Next;
        };
        match method.unwrap_or_default() {
            b"tools/call" => return self.called(id, body, out),
            b"subscriptions/listen" => return After::Held(listen(id, out)),
            b"initialize" => {
                self.sessions += 1;
                let session = format!("mcp-session-id: stub-{:016x}\r\n", self.sessions);
                whole("200 OK", &session, id, INITIALIZED, out);
            }
            b"tools/list" => whole("200 OK", "", id, TOOLS, out),
            b"server/discover" => whole("200 OK", "", id, DISCOVERED, out),
            b"ping" => whole("200 OK", "", id, r#","result":{}}"#, out),
            _ => whole("404 Not Found", "", id, UNKNOWN, out),
        }
        After::Next
    }

    fn called(&mut self, id: &[u8], body: &[u8], out: &mut Vec<u8>) -> After {
        if let Some(bytes) = rpc::answer_bytes(body) {
            let tail = self.sized(bytes.min(ANSWER_BYTES_MAX));
            begin("200 OK", "", (id, tail.len()), out);
            return After::Tail(tail);
        }
        whole("200 OK", "", id, CALLED, out);
        if rpc::wakes(body) { After::Wake } else { After::Next }
    }

    /// What follows the id in a body of about `bytes`.
    fn sized(&mut self, bytes: u32) -> Rc<[u8]> {
        if let Some(tail) = self.sized.get(&bytes) {
            return Rc::clone(tail);
        }
        let (before, after) = SIZED;
        let wanted = usize::try_from(bytes).unwrap_or(0).saturating_sub(RESULT.len() + 1 + before.len() + after.len());
        let text: String = PROSE.chars().cycle().take(wanted).collect();
        let tail: Rc<[u8]> = [before, &text, after].concat().into_bytes().into();
        if self.sized.len() < SIZES_MAX {
            self.sized.insert(bytes, Rc::clone(&tail));
        }
        tail
    }
}

/// Appends the head of a stream that a legacy GET opens; what it is told when all streams are.
pub fn stream(out: &mut Vec<u8>) -> Box<[u8]> {
    out.extend_from_slice(STREAM.as_bytes());
    // A gateway may hold the head back until something comes.
    chunk(": open\n\n", out);
    event(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#)
}

/// Appends the head and the acknowledgement of a listening stream (MCP 2026-07-28, `subscriptions/listen`).
fn listen(id: &[u8], out: &mut Vec<u8>) -> Box<[u8]> {
    let meta = format!(r#""_meta":{{"io.modelcontextprotocol/subscriptionId":{}}}"#, String::from_utf8_lossy(id));
    out.extend_from_slice(STREAM.as_bytes());
    let acknowledged = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{{meta},"notifications":{{"toolsListChanged":true}}}}}}"#
    );
    out.extend_from_slice(&event(&acknowledged));
    event(&format!(r#"{{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{{{meta}}}}}"#))
}

/// One event as one chunk.
fn event(json: &str) -> Box<[u8]> {
    let mut out = Vec::new();
    chunk(&format!("event: message\ndata: {json}\n\n"), &mut out);
    out.into()
}

fn chunk(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes());
}

fn whole(status: &str, fields: &str, id: &[u8], after: &str, out: &mut Vec<u8>) {
    begin(status, fields, (id, after.len()), out);
    out.extend_from_slice(after.as_bytes());
}

/// The response up to the id; `after` bytes follow.
fn begin(status: &str, fields: &str, (id, after): (&[u8], usize), out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_bytes());
    out.extend_from_slice(b"\r\ncontent-type: application/json\r\n");
    out.extend_from_slice(fields.as_bytes());
    // Memory takes any number of bytes.
    let _never = write!(out, "content-length: {}\r\n\r\n{RESULT}", RESULT.len() + id.len() + after);
    out.extend_from_slice(id);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{self, Framed};

    /// The response to a body: its status, its body, what follows from it.
    fn respond(body: &str) -> (u16, Vec<u8>, After) {
        let mut out = Vec::new();
        let after = Answers::default().respond(body.as_bytes(), &mut out);
        if let After::Tail(tail) = &after {
            out.extend_from_slice(tail);
        }
        let Framed::Whole(head) = http::response(&out) else { panic!("got {}", String::from_utf8_lossy(&out)) };
        (head.status, out.split_off(head.begin), after)
    }

    #[test]
    fn an_answer_echoes_the_id_and_counts_its_bytes() {
        for (id, method, wanted) in [("7", "tools/call", 200), ("\"x\"", "tools/list", 200), ("0", "nope", 404)] {
            let mut out = Vec::new();
            Answers::default()
                .respond(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#).as_bytes(), &mut out);
            let Framed::Whole(head) = http::response(&out) else { panic!("a whole head") };
            let body = &out[head.begin..];
            assert_eq!((head.status, head.framing), (wanted, http::Framing::Length(body.len())));
            let parsed: serde_json::Value = serde_json::from_slice(body).unwrap();
            assert_eq!(parsed["id"].to_string(), id);
        }
        assert_eq!(respond(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).0, 202);
    }

    #[test]
    fn the_listed_tool_is_the_one_the_bench_has_reviewed() {
        let reviewed = std::fs::read_to_string("configs/catalogue.json").unwrap();
        let reviewed: serde_json::Value = serde_json::from_str(&reviewed).unwrap();
        let listed: serde_json::Value = serde_json::from_str(&format!("{RESULT}1{TOOLS}")).unwrap();
        assert_eq!(listed["result"]["tools"][0], reviewed["tools"][0]["definition"]);
    }

    #[test]
    fn the_answer_to_a_call_is_about_180_bytes_or_as_large_as_asked_for() {
        let length = respond(r#"{"id":1,"method":"tools/call"}"#).1.len();
        assert!((170..=190).contains(&length), "got {length} bytes");
        for bytes in [1_000, 65_536, 1_048_576] {
            let (status, body, _) = respond(&format!(
                r#"{{"id":1,"method":"tools/call","params":{{"arguments":{{"answer_bytes":{bytes}}}}}}}"#
            ));
            assert_eq!((status, body.len()), (200, bytes));
            let parsed: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(parsed["result"]["isError"], false);
        }
    }

    #[test]
    fn each_initialize_opens_a_session_of_its_own() {
        let mut answers = Answers::default();
        let mut session = || {
            let mut out = Vec::new();
            answers.respond(br#"{"id":1,"method":"initialize"}"#, &mut out);
            let Framed::Whole(head) = http::response(&out) else { panic!("a whole head") };
            head.session.unwrap().to_owned()
        };
        assert_ne!(session(), session());
    }

    #[test]
    fn a_listening_stream_is_acknowledged_and_held() {
        let (status, body, after) = respond(r#"{"id":"s1","method":"subscriptions/listen"}"#);
        let text = String::from_utf8(body).unwrap();
        assert!(
            status == 200 && text.contains("subscriptions/acknowledged") && text.contains(r#"subscriptionId":"s1""#),
            "got {text}"
        );
        let After::Held(told) = after else { panic!("got {after:?}") };
        assert!(String::from_utf8_lossy(&told).contains("tools/list_changed"));
        assert_eq!(respond(r#"{"id":1,"method":"tools/call","params":{"arguments":{"wake":true}}}"#).2, After::Wake);
    }
}
