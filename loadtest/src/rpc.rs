//! Answers JSON-RPC as a small MCP server would, fast. In: a body. Out: a status and a body. The id is echoed as it was written.

use std::ops::Range;

/// What the stub reads of a message: two members at its top level, as they stand in the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call<'b> {
    /// The id with its quotes, if any; absent in a notification.
    pub id: Option<&'b [u8]>,
    /// The method without its quotes.
    pub method: Option<&'b [u8]>,
}

/// Finds `id` and `method` at depth one; both stand before `params` in what clients send, so the scan is short.
pub fn call(body: &[u8]) -> Call<'_> {
    let mut call = Call::default();
    let mut depth = 0_u32;
    let mut at = 0;
    while let Some(byte) = body.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let text = string(body, at);
                at = text.end;
                if depth == 1 && body.get(at) == Some(&b':') {
                    let inside = body.get(text.start + 1..text.end.saturating_sub(1));
                    let value = || body.get(value(body, at + 1));
                    match inside {
                        Some(b"id") => call.id = value(),
                        Some(b"method") => call.method = value().and_then(|value| value.get(1..value.len() - 1)),
                        Some(_) | None => {}
                    }
                    if call.id.is_some() && call.method.is_some() {
                        break;
                    }
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    call
}

/// The string that starts at `from`, quotes included.
fn string(body: &[u8], from: usize) -> Range<usize> {
    let mut at = from + 1;
    while let Some(byte) = body.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return from..at + 1,
            _ => at += 1,
        }
    }
    from..body.len()
}

/// The scalar that starts at `from`, spaces before it left out.
fn value(body: &[u8], from: usize) -> Range<usize> {
    let spaces = body.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let from = from + spaces;
    if body.get(from) == Some(&b'"') {
        return string(body, from);
    }
    let length = body.get(from..).unwrap_or_default().iter().take_while(|byte| !b",}] \r\n\t".contains(byte)).count();
    from..from + length
}

/// An answer: its status line and its members around the id.
struct Answer {
    status: &'static str,
    before: &'static str,
    after: &'static str,
}

const RESULT: &str = r#"{"jsonrpc":"2.0","id":"#;

/// The one tool. Its name and argument are what the benches call.
const TOOLS: &str = concat!(
    r#","result":{"resultType":"complete","tools":[{"name":"bench_echo","description":"Answers with a fixed line","#,
    r#""inputSchema":{"type":"object","properties":{"path":{"type":"string"},"limit":{"type":"integer"}},"required":["path"]}}],"#,
    r#""ttlMs":60000,"cacheScope":"public"}}"#
);

const CALLED: &str = r#","result":{"resultType":"complete","content":[{"type":"text","text":"quarterly figures: 1204 rows, 38 columns, no gaps, checked"}],"isError":false}}"#;

const DISCOVERED: &str = concat!(
    r#","result":{"resultType":"complete","supportedVersions":["2025-11-25","2026-07-28"],"capabilities":{"tools":{}},"#,
    r#""serverInfo":{"name":"stub","version":"1"},"ttlMs":60000,"cacheScope":"public"}}"#
);

const INITIALIZED: &str = r#","result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"stub","version":"1"}}}"#;

const UNKNOWN: &str = r#","error":{"code":-32601,"message":"method not found"}}"#;

fn answer(method: &[u8]) -> Answer {
    let (status, after) = match method {
        b"tools/call" => ("200 OK", CALLED),
        b"tools/list" => ("200 OK", TOOLS),
        b"server/discover" => ("200 OK", DISCOVERED),
        b"initialize" => ("200 OK", INITIALIZED),
        b"ping" => ("200 OK", r#","result":{}}"#),
        _ => ("404 Not Found", UNKNOWN),
    };
    Answer { status, before: RESULT, after }
}

/// Appends the HTTP response to a POST with this body. A notification gets 202 without a body.
pub fn respond(body: &[u8], out: &mut Vec<u8>) {
    let Call { id, method } = call(body);
    let Some(id) = id else {
        out.extend_from_slice(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");
        return;
    };
    let Answer { status, before, after } = answer(method.unwrap_or_default());
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_bytes());
    out.extend_from_slice(b"\r\ncontent-type: application/json\r\ncontent-length: ");
    decimal(before.len() + id.len() + after.len(), out);
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(id);
    out.extend_from_slice(after.as_bytes());
}

fn decimal(mut number: usize, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut used = 0;
    for slot in &mut digits {
        *slot = b"0123456789".get(number % 10).copied().unwrap_or(b'0');
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend(digits.iter().take(used).rev());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, id: Option<&str>, method: Option<&str>) {
        let got = call(body.as_bytes());
        let expected = Call { id: id.map(str::as_bytes), method: method.map(str::as_bytes) };
        assert_eq!(got, expected, "given {body}");
    }

    #[test]
    fn only_members_at_the_top_level_count() {
        check("", None, None);
        check("{\"id\"", None, None);
        check(r#"{"params":{"id":7,"method":"x"},"method":"ping"}"#, None, Some("ping"));
        check(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#, Some("1"), Some("tools/call"));
        check(r#"{"method": "ping", "params":{"a":"}\"id\":3"}, "id": "a\"b"}"#, Some(r#""a\"b""#), Some("ping"));
    }

    #[test]
    fn an_answer_echoes_the_id_and_counts_its_bytes() {
        for (id, method, wanted) in
            [("7", "tools/call", "200 OK"), ("\"x\"", "tools/list", "200 OK"), ("0", "nope", "404 Not Found")]
        {
            let mut out = Vec::new();
            respond(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#).as_bytes(), &mut out);
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with(&format!("HTTP/1.1 {wanted}\r\n")), "got {text}");
            let crate::http::Framed::Whole(whole) = crate::http::response(text.as_bytes()) else {
                panic!("got {text}")
            };
            assert_eq!(whole.body.end, text.len(), "the length counts the body exactly");
            let parsed: serde_json::Value = serde_json::from_str(text.get(whole.body).unwrap()).unwrap();
            assert_eq!(parsed["id"].to_string(), id);
        }
        let mut out = Vec::new();
        respond(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, &mut out);
        assert!(out.starts_with(b"HTTP/1.1 202"));
    }

    #[test]
    fn the_listed_tool_is_the_one_the_bench_has_reviewed() {
        let reviewed = std::fs::read_to_string("configs/catalogue.json").unwrap();
        let reviewed: serde_json::Value = serde_json::from_str(&reviewed).unwrap();
        let listed: serde_json::Value = serde_json::from_str(&format!("{RESULT}1{TOOLS}")).unwrap();
        assert_eq!(listed["result"]["tools"][0], reviewed["tools"][0]["definition"]);
    }

    #[test]
    fn the_answer_to_a_call_is_about_180_bytes() {
        let mut out = Vec::new();
        respond(br#"{"id":1,"method":"tools/call"}"#, &mut out);
        let crate::http::Framed::Whole(whole) = crate::http::response(&out) else { panic!("a whole response") };
        assert!((170..=190).contains(&whole.body.len()), "got {} bytes", whole.body.len());
    }
}
