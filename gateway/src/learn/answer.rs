//! Finds the answer in a reply. In: bytes of a JSON body or of an event stream. Out: the JSON-RPC answer to our request. Never here: IO.
//!
//! Read as strictly as the data path reads: what an upstream says twice in one object is refused, so that what is reviewed is what is pinned.

use crate::learn::failure::LearnFailure;
use portcullis_core::protocol::json::{self, JsonLimits, Scratch};
use serde_json::Value;

/// Tools with schemas are some KiB each; 10,000 of them stay below.
pub const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Tool schemas in the wild stay below 20 levels.
const DEPTH_MAX: usize = 64;

/// Words of an upstream that are shown to the operator.
const MESSAGE_CHARS_MAX: usize = 200;

/// The `result` of the answer with this id in a JSON body.
pub fn of_json(bytes: &[u8], id: i64) -> Result<Value, LearnFailure> {
    let message = parse(bytes)?;
    outcome(message, id)?.ok_or(LearnFailure::NotAnAnswer("the id is not ours"))
}

/// Collects an event stream until the answer with this id has come.
pub struct Events {
    id: i64,
    line: Vec<u8>,
    data: Vec<u8>,
    seen: usize,
}

impl Events {
    /// Waits for the answer to request `id`.
    pub fn new(id: i64) -> Self {
        Self { id, line: Vec::new(), data: Vec::new(), seen: 0 }
    }

    /// Takes in more of the stream; the result once it is there. Other messages on the stream are passed over.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Value>, LearnFailure> {
        self.seen += bytes.len();
        if self.seen > ANSWER_BYTES_MAX {
            return Err(LearnFailure::TooLarge);
        }
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if let Some(found) = self.end_of_line(line.strip_suffix(b"\r").unwrap_or(&line))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// One line of the stream (WHATWG HTML §9.2.6): an empty one ends the event.
    fn end_of_line(&mut self, line: &[u8]) -> Result<Option<Value>, LearnFailure> {
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            // A priming event has no data.
            return if data.is_empty() { Ok(None) } else { outcome(parse(&data)?, self.id) };
        }
        if let Some(data) = line.strip_prefix(b"data:") {
            if !self.data.is_empty() {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
        }
        Ok(None)
    }
}

fn parse(bytes: &[u8]) -> Result<Value, LearnFailure> {
    let limits = JsonLimits { bytes_max: ANSWER_BYTES_MAX, depth_max: DEPTH_MAX };
    let mut scratch = Scratch::new();
    json::read(&mut scratch, bytes, &limits).map_err(|_| LearnFailure::NotAnAnswer("no strict JSON"))?;
    serde_json::from_slice(bytes).map_err(|_| LearnFailure::NotAnAnswer("no strict JSON"))
}

/// The result in `message`, nothing if it answers something else or nothing at all.
fn outcome(mut message: Value, id: i64) -> Result<Option<Value>, LearnFailure> {
    if message.get("method").is_some() || message.get("id").and_then(Value::as_i64) != Some(id) {
        // An error to a request that the server could not read has no id.
        return match (message.get("error"), message.get("id")) {
            (Some(error), None | Some(Value::Null)) => Err(refused(error)),
            _ => Ok(None),
        };
    }
    if let Some(error) = message.get("error") {
        return Err(refused(error));
    }
    match message.get_mut("result").map(Value::take) {
        Some(result @ Value::Object(_)) => Ok(Some(result)),
        Some(_) | None => Err(LearnFailure::NotAnAnswer("no result")),
    }
}

fn refused(error: &Value) -> LearnFailure {
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    let message = message.chars().filter(|letter| !letter.is_control()).take(MESSAGE_CHARS_MAX).collect();
    LearnFailure::Refused { code: error.get("code").and_then(Value::as_i64).unwrap_or(0), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_the_answer_is_refused() {
        let rows: [(&[u8], &str); 6] = [
            (b"<html>", "its answer is no MCP answer: no strict JSON"),
            (
                br#"{"jsonrpc":"2.0","id":1,"result":{},"result":{"tools":[]}}"#,
                "its answer is no MCP answer: no strict JSON",
            ),
            (br#"{"jsonrpc":"2.0","id":2,"result":{}}"#, "its answer is no MCP answer: the id is not ours"),
            (br#"{"jsonrpc":"2.0","id":1,"result":[]}"#, "its answer is no MCP answer: no result"),
            (
                br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no\nsuch"}}"#,
                "it refuses with error -32601: `nosuch`",
            ),
            (
                br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"x"}}"#,
                "it refuses with error -32600: `x`",
            ),
        ];
        for (body, expected) in rows {
            assert_eq!(of_json(body, 1).unwrap_err().cause(), expected);
        }
    }

    #[test]
    fn an_answer_is_found_among_other_events_however_the_stream_is_cut() {
        let stream = b"id: 0\r\nretry: 3000\r\ndata:\r\n\r\n: comment\n\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n\
            data: {\"jsonrpc\":\"2.0\",\ndata: \"id\":7,\"result\":{\"tools\":[]}}\n\n";
        for cut in 0..stream.len() {
            let mut events = Events::new(7);
            let (head, tail) = stream.split_at(cut);
            assert_eq!(events.take(head).unwrap(), None);
            assert_eq!(events.take(tail).unwrap(), Some(json!({"tools": []})), "cut at {cut}");
        }
    }

    #[test]
    fn a_stream_that_never_answers_is_bounded() {
        let mut events = Events::new(1);
        let comment = vec![b':'; 1024 * 1024];
        let ended = (0..64).find_map(|_| events.take(&comment).err());
        assert!(matches!(ended, Some(LearnFailure::TooLarge)));
    }
}
