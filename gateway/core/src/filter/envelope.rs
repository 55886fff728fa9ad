//! Reads the beginning of a long answer. In: its first bytes. Out: the id that it answers, if it is plainly the beginning of a result. Never
//! here: the rest.
//!
//! Plainly means: spelled as servers spell it, so that every reader takes it alike. Whatever else stands there has the answer read whole.

use std::ops::Range;

/// First bytes that are enough: the longest id that is recorded whole, and the rest of an envelope with room for spaces.
pub const ENVELOPE_BYTES_MAX: usize = 1024;

/// Where the raw id stands, if `head` begins a JSON-RPC result: an object with `jsonrpc` and `id`, in either order, before `result`, which is an
/// object that begins with content, or says that it is complete and so asks for nothing.
pub fn answered(head: &[u8]) -> Option<Range<usize>> {
    let mut reader = Reader { head: head.get(..ENVELOPE_BYTES_MAX).unwrap_or(head), at: 0 };
    let (mut version, mut id) = (None, None);
    reader.byte(b'{')?;
    loop {
        match reader.key()? {
            b"jsonrpc" if version.is_none() => version = Some(reader.string().filter(|text| *text == b"2.0")?),
            b"id" if id.is_none() => id = Some(reader.id()?),
            b"result" => break,
            _ => return None,
        }
        reader.byte(b',')?;
    }
    let id = id.filter(|_| version.is_some())?;
    reader.byte(b'{')?;
    match reader.key()? {
        b"content" | b"structuredContent" => {}
        b"resultType" if reader.string()? == b"complete" => {}
        _ => return None,
    }
    Some(id)
}

struct Reader<'h> {
    head: &'h [u8],
    at: usize,
}

impl<'h> Reader<'h> {
    fn next(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.head.get(self.at) {
            self.at += 1;
        }
        self.head.get(self.at).copied()
    }

    fn byte(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then(|| self.at += 1)
    }

    /// A string without escapes and control characters, in ASCII.
    fn string(&mut self) -> Option<&'h [u8]> {
        self.byte(b'"')?;
        let rest = self.head.get(self.at..)?;
        let length = rest.iter().position(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\'))?;
        let text = rest.get(..length).filter(|_| rest.get(length) == Some(&b'"'))?;
        self.at += length + 1;
        Some(text)
    }

    fn key(&mut self) -> Option<&'h [u8]> {
        let key = self.string()?;
        self.byte(b':')?;
        Some(key)
    }

    /// A plain string, or digits. What follows has to be seen, or the digits might go on.
    fn id(&mut self) -> Option<Range<usize>> {
        let first = self.next()?;
        let start = self.at;
        if first == b'"' {
            self.string()?;
        } else {
            let digits = self.head.get(start..)?.iter().position(|byte| !byte.is_ascii_digit())?;
            self.at += digits;
        }
        let end = self.at;
        (end > start && self.next()? == b',').then_some(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str, expected: Option<&str>) {
        let got = answered(head.as_bytes()).map(|id| &head[id]);
        assert_eq!(got, expected, "given `{head}`");
    }

    #[test]
    fn what_is_not_plainly_the_beginning_of_a_result_is_read_whole() {
        for head in [
            "",
            "{",
            r#"[{"jsonrpc":"2.0","id":1,"result":{"content":["#,
            r#"{"jsonrpc":"2.0","id":1,"result":"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"conte"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"content":"#,
            r#"{"jsonrpc":"2.0","id":1,"result":[{"content":"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{"content":"#,
            r#"{"jsonrpc":"1.0","id":1,"result":{"content":"#,
            r#"{"jsonrpc":2.0,"id":1,"result":{"content":"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"result":{"content":"#,
            r#"{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"result":{"content":"#,
            r#"{"jsonrpc":"2.0","ID":1,"result":{"content":"#,
            r#"{"jsonrpc":"2.0","\u0069d":1,"result":{"content":"#,
            r#"{"jsonrpc":"2.0","id":"a\u0062","result":{"content":"#,
            r#"{"jsonrpc":"2.0","id":"é","result":{"content":"#,
            r#"{"jsonrpc":"2.0","id":1.0,"result":{"content":"#,
            r#"{"jsonrpc":"2.0","id":-1,"result":{"content":"#,
            r#"{"jsonrpc":"2.0","id":null,"result":{"content":"#,
            r#"{"jsonrpc":"2.0","id":,"result":{"content":"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"#,
            r#"{"id":1,"result":{"content":"#,
            r#"{"jsonrpc":"2.0","result":{"content":"#,
            r#"{"result":{"content":[]},"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"inputRequests":"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"requestState":"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true,"content":"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","content":"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"task","content":"#,
            "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":",
        ] {
            check(head, None);
        }
        let far = format!(r#"{{{}"jsonrpc":"2.0","id":1,"result":{{"content":["#, " ".repeat(ENVELOPE_BYTES_MAX));
        check(&far, None);
    }

    #[test]
    fn the_id_of_a_plain_result_is_told_as_it_is_spelled() {
        check(r#"{"jsonrpc":"2.0","id":1,"result":{"content":["#, Some("1"));
        check(r#"{"id":"a-7","jsonrpc":"2.0","result":{"structuredContent":{"#, Some("\"a-7\""));
        check(
            " {\r\n \"jsonrpc\" : \"2.0\" ,\t\"id\" : 12 , \"result\" : { \"resultType\" : \"complete\" , ",
            Some("12"),
        );
    }
}
