//! Finds where values stand. In: bytes that [`read`](super::json::read) accepted. Out: byte ranges. Never here: values, checks.
//!
//! The tape has no offsets, so whatever must be echoed or spliced byte for byte (ids, lists, redactions) is found here.
//! On bytes that were not accepted the answers are meaningless, though nothing panics and every loop ends.

use std::ops::Range;

use super::json::{Document, Value, array_index};

/// The range of the value at `root.path[0].path[1]…`; of the root where `path` is empty. Members are named unescaped,
/// items of arrays by their index in digits.
pub fn member(bytes: &[u8], path: &[&str]) -> Option<Range<usize>> {
    let start = path.iter().try_fold(skip_spaces(bytes, 0), |here, name| child(bytes, here, name))?;
    Some(start..value_end(bytes, start)?)
}

/// One JSON value as it stands in a text: the proof that the text passed every check of [`read`](super::json::read).
#[derive(Clone, Copy, Debug)]
pub struct Accepted<'b>(&'b [u8]);

impl<'b> Accepted<'b> {
    /// The whole text, where `bytes` are the very ones that `document` was made from.
    pub fn whole(document: &Document<'_>, bytes: &'b [u8]) -> Option<Self> {
        document.is_of(bytes).then_some(Self(bytes))
    }

    /// The member `key` of `object`, which is of `document`.
    /// And where it stands.
    pub fn member(
        document: &Document<'_>,
        bytes: &'b [u8],
        object: Value<'_>,
        key: &str,
    ) -> Option<(Self, Range<usize>)> {
        let range = member_of_read(document, bytes, object, key)?;
        bytes.get(range.clone()).map(|value| (Self(value), range))
    }

    /// The value's own bytes.
    pub fn bytes(self) -> &'b [u8] {
        self.0
    }
}

/// The range of the member `key` of `object`, which is of `document`, in the text `bytes` that it was made from. The tape says where the key
/// stands, so nothing before it is looked at.
pub fn member_of_read(document: &Document<'_>, bytes: &[u8], object: Value<'_>, key: &str) -> Option<Range<usize>> {
    if !document.is_of(bytes) {
        return None;
    }
    let start = document.key_offset(object, key).filter(|start| bytes.get(*start) == Some(&b'"'))?;
    let value = skip_spaces(bytes, skip_spaces(bytes, string_end(bytes, start)?) + 1);
    Some(value..value_end(bytes, value)?)
}

/// The ranges of the items of the array that stands at `array`; none where no array stands there.
pub fn elements(bytes: &[u8], array: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut at = inside(bytes, &array, b'[');
    std::iter::from_fn(move || {
        let start = at?;
        let end = value_end(bytes, start)?;
        at = after_comma(bytes, end);
        Some(start..end)
    })
}

/// A member of an object: where its key stands, quotes and escapes included, and where its value does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key with its quotes.
    pub key: Range<usize>,
    /// The value.
    pub value: Range<usize>,
}

/// The members of the object that stands at `object`; none where no object stands there.
pub fn entries(bytes: &[u8], object: Range<usize>) -> impl Iterator<Item = Entry> {
    let mut at = inside(bytes, &object, b'{');
    std::iter::from_fn(move || {
        let key = at?;
        let key_end = value_end(bytes, key)?;
        let colon = skip_spaces(bytes, key_end);
        let start = skip_spaces(bytes, colon + 1);
        let end = value_end(bytes, start)?;
        at = after_comma(bytes, end);
        Some(Entry { key: key..key_end, value: start..end })
    })
}

/// Whether the string literal `quoted` (quotes included) spells `wanted`, escapes undone.
pub fn spells(quoted: &[u8], wanted: &str) -> bool {
    let Some(raw) = quoted.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else { return false };
    if !raw.contains(&b'\\') {
        return raw == wanted.as_bytes();
    }
    let mut rest = wanted.as_bytes();
    let mut raw = raw.iter().copied();
    while let Some(byte) = raw.next() {
        let mut utf8 = [byte, 0, 0, 0];
        let meant: &[u8] = if byte == b'\\' {
            let Some(character) = escaped(&mut raw) else { return false };
            character.encode_utf8(&mut utf8).as_bytes()
        } else {
            utf8.get(..1).unwrap_or_default()
        };
        let Some(left) = rest.strip_prefix(meant) else { return false };
        rest = left;
    }
    rest.is_empty()
}

/// Appends the JSON text `bytes` to `out` without the whitespace around its tokens, so that it is one line.
pub fn compact(bytes: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let end = match byte {
            b'"' => string_end(bytes, at).unwrap_or(bytes.len()),
            byte if is_space(*byte) => {
                at = skip_spaces(bytes, at);
                continue;
            }
            _ => {
                bytes.iter().skip(at).position(|byte| is_space(*byte) || *byte == b'"').map_or(bytes.len(), |n| at + n)
            }
        };
        out.extend_from_slice(bytes.get(at..end).unwrap_or_default());
        at = end;
    }
}

/// Where the value called `name` starts, in the container that starts at `of`. Its own end and the container's are not looked for.
fn child(bytes: &[u8], of: usize, name: &str) -> Option<usize> {
    match bytes.get(of)? {
        b'{' => member_of(bytes, of, name),
        b'[' => {
            let mut at = inside(bytes, &(of..bytes.len()), b'[')?;
            for _ in 0..array_index(name)? {
                at = after_comma(bytes, value_end(bytes, at)?)?;
            }
            Some(at)
        }
        _ => None,
    }
}

fn member_of(bytes: &[u8], object: usize, name: &str) -> Option<usize> {
    let mut key = inside(bytes, &(object..bytes.len()), b'{')?;
    loop {
        let key_end = value_end(bytes, key)?;
        let value = skip_spaces(bytes, skip_spaces(bytes, key_end) + 1);
        if bytes.get(key..key_end).is_some_and(|key| spells(key, name)) {
            return Some(value);
        }
        key = after_comma(bytes, value_end(bytes, value)?)?;
    }
}

/// The first token inside the container at `range` if it opens with `bracket` and is not empty.
fn inside(bytes: &[u8], range: &Range<usize>, bracket: u8) -> Option<usize> {
    if bytes.get(range.start) != Some(&bracket) {
        return None;
    }
    let first = skip_spaces(bytes, range.start + 1);
    match bytes.get(first)? {
        b']' | b'}' => None,
        _ => Some(first),
    }
}

/// The token after the comma that follows `end`; nothing at the end of the container.
fn after_comma(bytes: &[u8], end: usize) -> Option<usize> {
    let comma = skip_spaces(bytes, end);
    (bytes.get(comma) == Some(&b',')).then(|| skip_spaces(bytes, comma + 1))
}

/// One past the value that starts at `start`.
fn value_end(bytes: &[u8], start: usize) -> Option<usize> {
    match bytes.get(start)? {
        b'"' => string_end(bytes, start),
        b'{' | b'[' => container_end(bytes, start),
        _ => {
            let length =
                bytes.iter().skip(start).position(|byte| is_space(*byte) || matches!(byte, b',' | b']' | b'}'));
            Some(length.map_or(bytes.len(), |length| start + length))
        }
    }
}

fn container_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = start;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = string_end(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// One past the closing quote of the string whose opening quote stands at `start`.
pub(crate) fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// The first place from `from` on that is no white space.
pub(crate) fn skip_spaces(bytes: &[u8], from: usize) -> usize {
    let spaces = bytes.get(from..).unwrap_or_default().iter().take_while(|byte| is_space(**byte)).count();
    from + spaces
}

/// The character an escape stands for; the backslash itself has been taken.
fn escaped(raw: &mut impl Iterator<Item = u8>) -> Option<char> {
    Some(match raw.next()? {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let unit = hex(raw)?;
            let point = match unit {
                0xD800..=0xDBFF => {
                    if raw.next()? != b'\\' || raw.next()? != b'u' {
                        return None;
                    }
                    0x10000 + ((unit - 0xD800) << 10) + hex(raw)?.checked_sub(0xDC00)?
                }
                unit => unit,
            };
            char::from_u32(point)?
        }
        plain => char::from(plain),
    })
}

fn hex(raw: &mut impl Iterator<Item = u8>) -> Option<u32> {
    (0..4).try_fold(0, |unit, _| Some(unit * 16 + char::from(raw.next()?).to_digit(16)?))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::json::{JsonLimits, Kind, Scratch, read, samples};

    const LIMITS: JsonLimits = JsonLimits { bytes_max: 1 << 20, depth_max: 64 };

    #[test]
    fn a_member_is_found_where_it_stands_and_nowhere_else() {
        let check = |text: &str, path: &[&str], expected: Option<&str>| {
            let found = member(text.as_bytes(), path).map(|range| &text[range]);
            assert_eq!(found, expected, "given {text} when looking for {path:?}");
        };
        check("", &[], None);
        check("[", &["0"], None);
        check("{\"a\"", &["a"], None);
        check(r#"{"a":1}"#, &["b"], None);
        check(r#"{"a":{"id":1}}"#, &["id"], None);
        check(r#"{"a":"\"id\":1"}"#, &["id"], None);
        check(r#"[1,2]"#, &["02"], None);
        check(r#"[1,2]"#, &["2"], None);
        check(r#" 17 "#, &[], Some("17"));
        check(r#"{"id" : 1.50e+2 }"#, &["id"], Some("1.50e+2"));
        check(r#"{"a":{"id":1},"id":"x\"}"}"#, &["id"], Some(r#""x\"}""#));
        check(r#"{"i\u0064":[ 1 , 2 ]}"#, &["id"], Some("[ 1 , 2 ]"));
        check(r#"{"\ud83d\ude00":null}"#, &["😀"], Some("null"));
        check(r#"{"a\/b\\":true}"#, &["a/b\\"], Some("true"));
        check(r#"{"a":[0,{"b":[]}]}"#, &["a", "1", "b"], Some("[]"));
    }

    #[test]
    fn elements_and_entries_come_in_order_with_their_exact_bytes() {
        let text = br#"{"list": [ 1 ,{"a":"]"}, [ ] ,"\\" ], "none":[ ]}"#;
        let list = |name| -> Vec<&str> {
            let array = member(text, &[name]).unwrap();
            elements(text, array).map(|range| std::str::from_utf8(&text[range]).unwrap()).collect()
        };
        assert_eq!(list("list"), ["1", r#"{"a":"]"}"#, "[ ]", r#""\\""#]);
        assert_eq!(list("none"), [""; 0]);
        assert_eq!(elements(text, 0..text.len()).count(), 0, "an object has no elements");
        let keys: Vec<_> = entries(text, 0..text.len()).map(|entry| &text[entry.key]).collect();
        assert_eq!(keys, [&b"\"list\""[..], b"\"none\""]);
    }

    #[test]
    fn compacting_drops_whitespace_outside_strings_only() {
        let mut out = Vec::new();
        compact(b" {\r\n\t\"a b\\\" \" : [ 1 , -2.50 ,\n null ] } ", &mut out);
        assert_eq!(out, br#"{"a b\" ":[1,-2.50,null]}"#);
    }

    proptest! {
        /// Every value of a generated text is found at its path, and its raw text reads as that value.
        #[test]
        fn a_member_is_the_raw_text_of_what_serde_json_finds((text, paths) in samples::text_and_paths()) {
            let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
            for path in paths {
                let pointer: String = path.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect();
                let names: Vec<&str> = path.iter().map(String::as_str).collect();
                let range = member(text.as_bytes(), &names).unwrap();
                let raw = &text[range];
                prop_assert_eq!(raw.trim(), raw);
                let found: serde_json::Value = serde_json::from_str(raw).unwrap();
                prop_assert_eq!(Some(&found), whole.pointer(&pointer));
            }
        }

        /// From the tape the same place is found as by reading on from the beginning.
        #[test]
        fn a_member_is_found_from_the_tape_where_it_stands((text, paths) in samples::text_and_paths()) {
            let mut scratch = Scratch::new();
            let bytes = text.as_bytes();
            let Ok(document) = read(&mut scratch, bytes, &LIMITS) else { return Ok(()) };
            prop_assert_eq!(Accepted::whole(&document, bytes).map(Accepted::bytes), Some(bytes));
            prop_assert!(Accepted::whole(&document, text.clone().as_bytes()).is_none());
            for path in paths {
                let Some((key, objects)) = path.split_last() else { continue };
                let object = objects.iter().try_fold(document.root(), |here, name| match here.kind() {
                    Kind::Object => here.get(name),
                    Kind::Array => here.items().nth(array_index(name)?),
                    Kind::Null | Kind::Bool | Kind::Integer | Kind::Float | Kind::String => None,
                });
                let Some(object) = object.filter(|object| object.kind() == Kind::Object) else { continue };
                let names: Vec<&str> = path.iter().map(String::as_str).collect();
                prop_assert_eq!(member_of_read(&document, bytes, object, key), member(bytes, &names));
                prop_assert_eq!(member_of_read(&document, text.clone().as_bytes(), object, key), None);
                prop_assert_eq!(member_of_read(&document, bytes, object, "no such key"), None);
            }
        }

        #[test]
        fn a_compacted_text_reads_the_same_and_is_one_line((text, _) in samples::text_and_paths()) {
            let mut out = Vec::new();
            compact(text.as_bytes(), &mut out);
            let before: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap(), before);
            prop_assert!(!out.contains(&b'\n') && !out.contains(&b'\r'));
        }

        #[test]
        fn no_bytes_make_the_scanner_panic_or_hang(bytes in proptest::collection::vec(prop_oneof![
            Just(b'"'), Just(b'\\'), Just(b'{'), Just(b'['), Just(b']'), Just(b'}'), Just(b','), Just(b':'), Just(b'u'), any::<u8>()
        ], 0..64)) {
            let _ = member(&bytes, &["a", "0"]);
            let _ = entries(&bytes, 0..bytes.len()).count();
            let _ = elements(&bytes, 0..bytes.len()).count();
            let _ = spells(&bytes, "a");
            compact(&bytes, &mut Vec::new());
        }
    }
}
