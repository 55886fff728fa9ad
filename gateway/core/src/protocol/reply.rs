//! Writes answers of our own. In: an id as it was written, a code, words. Out: a JSON-RPC body. Never here: what upstreams said.
//!
//! Where the id is unknown the member is left out (MCP 2025-11-25 and later); `null` is never written.

use super::code;

/// What an error says. `data` is JSON and is written as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorReply<'r> {
    /// One of [`code`](super::code).
    pub code: i64,
    /// For people; escaped here.
    pub message: &'r str,
    /// For programs.
    pub data: Option<&'r [u8]>,
}

impl<'r> ErrorReply<'r> {
    /// An error without data.
    pub fn new(code: i64, message: &'r str) -> Self {
        Self { code, message, data: None }
    }
}

/// Appends an error response. `id` is the request's, byte for byte as [`span::member`](super::span::member) found it.
pub fn write_error(id: Option<&[u8]>, error: &ErrorReply<'_>, out: &mut Vec<u8>) {
    write_head(id, out);
    write_error_member(error.code, error.data, out, |out| write_string(error.message, out));
}

/// Appends a success response; `result` is JSON and is written as it stands.
pub fn write_result(id: &[u8], result: &[u8], out: &mut Vec<u8>) {
    write_head(Some(id), out);
    out.extend_from_slice(b",\"result\":");
    out.extend_from_slice(result);
    out.push(b'}');
}

/// Appends the answer to a call of a tool that is unknown, or hidden from this caller: one cannot be told from the other.
pub fn write_unknown_tool(id: Option<&[u8]>, name: &str, out: &mut Vec<u8>) {
    write_head(id, out);
    write_error_member(code::INVALID_PARAMS, None, out, |out| {
        out.extend_from_slice(b"\"Unknown tool: ");
        write_escaped(name, out);
        out.push(b'"');
    });
}

/// Appends the answer to what the policy does not permit. `data` may name what an agent may know of the reason.
pub fn write_denied(id: Option<&[u8]>, data: Option<&[u8]>, out: &mut Vec<u8>) {
    write_error(id, &ErrorReply { code: code::DENIED, message: "denied", data }, out);
}

/// Appends `text` as a JSON string, quotes included.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    write_escaped(text, out);
    out.push(b'"');
}

fn write_head(id: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\"");
    if let Some(id) = id {
        out.extend_from_slice(b",\"id\":");
        out.extend_from_slice(id);
    }
}

fn write_error_member(code: i64, data: Option<&[u8]>, out: &mut Vec<u8>, message: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b",\"error\":{\"code\":");
    write_integer(code, out);
    out.extend_from_slice(b",\"message\":");
    message(out);
    if let Some(data) = data {
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(data);
    }
    out.extend_from_slice(b"}}");
}

/// Appends `number` in decimal.
pub fn write_integer(number: i64, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = std::io::Write::write_fmt(out, format_args!("{number}"));
}

/// The escapes of RFC 8259 §7; U+2028 and U+2029 too, which are line ends to some readers of logs.
fn write_escaped(text: &str, out: &mut Vec<u8>) {
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\0'..='\u{1F}' | '\u{7F}' | '\u{2028}' | '\u{2029}' => {
                let point = u32::from(character);
                let digit =
                    |shift: u32| b"0123456789abcdef".get((point >> shift & 0xF) as usize).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
            }
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_reply_echoes_the_id_as_it_was_written_or_leaves_it_out() {
        let error = ErrorReply::new(code::INVALID_REQUEST, "no");
        for id in ["1", "\"a\\u0041\"", "-0", "9007199254740991"] {
            let expected = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32600,"message":"no"}}}}"#);
            assert_eq!(written(|out| write_error(Some(id.as_bytes()), &error, out)), expected);
        }
        let expected = r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"no"}}"#;
        assert_eq!(written(|out| write_error(None, &error, out)), expected);
        let expected = r#"{"jsonrpc":"2.0","id":7,"result":{"a":1.0}}"#;
        assert_eq!(written(|out| write_result(b"7", b"{\"a\":1.0}", out)), expected);
    }

    #[test]
    fn an_unknown_tool_and_a_denial_say_no_more_than_that() {
        let expected = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: a\"b\\\u0000"}}"#;
        assert_eq!(written(|out| write_unknown_tool(Some(b"1"), "a\"b\\\0", out)), expected);
        let expected = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-33403,"message":"denied"}}"#;
        assert_eq!(written(|out| write_denied(Some(b"1"), None, out)), expected);
        let expected = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-33403,"message":"denied","data":{"x":[]}}}"#;
        assert_eq!(written(|out| write_denied(Some(b"1"), Some(b"{\"x\":[]}"), out)), expected);
    }

    proptest! {
        #[test]
        fn whatever_is_said_reads_back(text in any::<String>(), code in any::<i64>()) {
            let body = written(|out| write_error(Some(b"1"), &ErrorReply::new(code, &text), out));
            let read: serde_json::Value = serde_json::from_str(&body).unwrap();
            prop_assert_eq!(read["error"]["message"].as_str(), Some(text.as_str()));
            prop_assert_eq!(read["error"]["code"].as_i64(), Some(code));
            prop_assert!(!body.bytes().any(|byte| byte.is_ascii_control()));
        }
    }
}
