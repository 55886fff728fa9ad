//! Finds what the stub has to know of a message, fast. In: a body, or the beginning of a long one. Out: the id as it was written, the
//! method, what the arguments ask of the stub. Never here: a whole parse.

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

/// Arguments by which a call speaks to the stub stand within so many bytes from the beginning of its body, before any padding.
pub const OPENING_BYTES: usize = 512;

/// The body's size that a call asks its answer to have, by the argument `answer_bytes`.
pub fn answer_bytes(body: &[u8]) -> Option<u32> {
    let at = argument(body, b"\"answer_bytes\":")?;
    let mut digits = body.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit());
    digits
        .try_fold(0_u32, |sum, digit| sum.checked_mul(10)?.checked_add(u32::from(digit - b'0')))
        .filter(|bytes| *bytes > 0)
}

/// Whether a call asks that every held stream be told something, by the argument `wake`.
pub fn wakes(body: &[u8]) -> bool {
    argument(body, b"\"wake\":").is_some_and(|at| body.get(at..).is_some_and(|rest| rest.starts_with(b"true")))
}

/// Where the value of an argument begins.
fn argument(body: &[u8], name: &[u8]) -> Option<usize> {
    let opening = body.get(..body.len().min(OPENING_BYTES))?;
    memchr::memmem::find(opening, name).map(|at| at + name.len())
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
    fn arguments_speak_to_the_stub_at_the_beginning_alone() {
        let far = format!(r#"{{"pad":"{}","answer_bytes":7,"wake":true}}"#, "x".repeat(OPENING_BYTES));
        for (body, bytes, wake) in [
            ("{}", None, false),
            (r#"{"answer_bytes":"7","wake":false}"#, None, false),
            (r#"{"answer_bytes":0}"#, None, false),
            (r#"{"answer_bytes":99999999999}"#, None, false),
            (far.as_str(), None, false),
            (r#"{"answer_bytes":65536,"wake":true}"#, Some(65_536), true),
        ] {
            assert_eq!((answer_bytes(body.as_bytes()), wakes(body.as_bytes())), (bytes, wake), "given {body}");
        }
    }
}
