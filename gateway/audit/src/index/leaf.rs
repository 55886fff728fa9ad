//! Reads what the index needs of an entry. In: one entry of the log. Out: its members, borrowed. Never here: what becomes of them.
//!
//! Entries are canonical JSON (RFC 8785): no white space, one object. A reader that relies on that takes a fifth of the time of a general one,
//! and anything else is no record to it.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// The text of a value as it stands in the entry, quotes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'l>(pub &'l str);

impl<'l> Raw<'l> {
    /// The text, where it is one.
    pub fn text(self) -> Option<Cow<'l, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if inner.as_bytes().contains(&b'\\') {
            return serde_json::from_str(self.0).ok().map(Cow::Owned);
        }
        Some(Cow::Borrowed(inner))
    }

    /// The number, where it is one that SQLite can hold.
    pub fn number(self) -> Option<u64> {
        self.0.parse().ok().filter(|number| i64::try_from(*number).is_ok())
    }
}

/// The members of an object in canonical spelling, one after the other; none for what is not spelt so.
#[derive(Clone, Debug)]
pub struct Members<'l> {
    rest: Option<&'l str>,
}

impl<'l> Members<'l> {
    /// Of an entry.
    pub fn of(entry: &'l [u8]) -> Option<Self> {
        let rest = std::str::from_utf8(entry).ok()?.strip_prefix('{')?;
        Some(Self { rest: if rest == "}" { None } else { Some(rest) } })
    }
}

impl<'l> Iterator for Members<'l> {
    type Item = Option<(&'l str, Raw<'l>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let Some((member, after)) = member(rest) else { return Some(None) };
        match after.strip_prefix(',') {
            Some(more) => self.rest = Some(more),
            None if after == "}" => {}
            None => return Some(None),
        }
        Some(Some(member))
    }
}

fn member(text: &str) -> Option<((&str, Raw<'_>), &str)> {
    let (key, after) = text.split_at_checked(quoted(text)?)?;
    let value = after.strip_prefix(':')?;
    let (value, after) = value.split_at_checked(length(value)?)?;
    Some(((key.get(1..key.len() - 1)?, Raw(value)), after))
}

/// How long the quoted text is with which `text` begins.
fn quoted(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// How long the value is with which `text` begins.
fn length(text: &str) -> Option<usize> {
    match text.as_bytes().first()? {
        b'"' => quoted(text),
        b'[' | b'{' => nested(text),
        _ => text.bytes().position(|byte| matches!(byte, b',' | b'}')).filter(|length| *length > 0),
    }
}

fn nested(text: &str) -> Option<usize> {
    let (mut at, mut depth) = (0_usize, 0_usize);
    loop {
        match text.as_bytes().get(at)? {
            b'"' => {
                at += quoted(text.get(at..)?)?;
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

macro_rules! leaf {
    ($($field:ident)+) => {
        /// The members that the index knows, where the record has them; see `portcullis_core::audit::record` for what each means.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Leaf<'l> { $(pub $field: Option<Raw<'l>>),+ }

        impl<'l> Leaf<'l> {
            /// Reads an entry.
            pub fn of(entry: &'l [u8]) -> Option<Self> {
                let mut leaf = Self::default();
                for member in Members::of(entry)? {
                    let (key, value) = member?;
                    match key {
                        $(stringify!($field) => leaf.$field = Some(value),)+
                        _ => {}
                    }
                }
                Some(leaf)
            }
        }
    };
}

leaf! {
    event boot shard seq ts agent user account source server method tool uri name decision cause rules snapshot arguments_bytes actor
    decision_boot decision_shard decision_seq status outcome duration_us result_bytes redactions rows_dropped
}

/// What a record says beyond the columns of the index, as a JSON object; none where there is nothing. Texts alone and numbers: values are never
/// in an entry.
pub fn beyond(entry: &[u8], columns: &[&str]) -> Option<String> {
    let mut more = Map::new();
    for member in Members::of(entry)? {
        let (key, value) = member?;
        if !columns.contains(&key) {
            more.insert(key.to_owned(), serde_json::from_str(value.0).ok()?);
        }
    }
    if more.is_empty() { None } else { Some(Value::Object(more).to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(text: &str) -> Option<Vec<(String, Value)>> {
        Members::of(text.as_bytes())?
            .map(|member| member.map(|(key, value)| (key.to_owned(), serde_json::from_str(value.0).unwrap())))
            .collect()
    }

    #[test]
    fn what_is_not_one_object_in_canonical_spelling_is_refused() {
        for text in [
            "", "{", "}", "[]", "{\"a\"}", "{\"a\":}", "{\"a\":1", "{\"a\":1,}", "{\"a\":1}x", "{\"a\":1}{", "{\"a:1}",
            "{\"a\":[1}", "{\"a\":\"x}", "{a:1}", "{\"a\":\"\\\"}", "{\"a\":1 }x", " {}", "{\"a\":[",
        ] {
            assert_eq!(members(text), None, "{text}");
        }
        assert_eq!(Members::of(b"{\"a\":\"\xff\"}").map(|_| ()), None);
    }

    #[test]
    fn an_escape_is_undone_and_a_number_beyond_sqlite_is_none() {
        assert_eq!(Raw(r#""a\"b""#).text().as_deref(), Some("a\"b"));
        assert_eq!((Raw("7").text(), Raw("9223372036854775808").number(), Raw("7").number()), (None, None, Some(7)));
        assert_eq!(beyond(br#"{"a":1,"b":["x"]}"#, &["a"]).as_deref(), Some(r#"{"b":["x"]}"#));
        assert_eq!(beyond(br#"{"a":1}"#, &["a"]), None);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from)
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,3}", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn members_are_those_that_a_general_reader_finds(map in prop::collection::btree_map("[a-z]{1,4}", value(), 0..6)) {
            let object = Value::Object(map.clone().into_iter().collect());
            prop_assert_eq!(members(&object.to_string()), Some(map.into_iter().collect()));
        }

        #[test]
        fn no_bytes_stop_the_reader(bytes in prop::collection::vec(prop::sample::select(b"{}[]\",:\\a1".to_vec()), 0..24)) {
            let _read = Leaf::of(&bytes);
        }
    }
}
