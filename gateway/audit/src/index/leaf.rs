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
    text: &'l str,
    /// Where the next member begins; none behind the last.
    at: Option<usize>,
}

impl<'l> Members<'l> {
    /// Of an entry.
    pub fn of(entry: &'l [u8]) -> Option<Self> {
        let text = std::str::from_utf8(entry).ok()?;
        let begun = text.starts_with('{');
        begun.then_some(Self { text, at: if text == "{}" { None } else { Some(1) } })
    }
}

impl<'l> Iterator for Members<'l> {
    type Item = Option<(&'l str, Raw<'l>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at.take()?;
        let bytes = self.text.as_bytes();
        let member = || {
            let key = quoted(bytes, at)?;
            if bytes.get(key) != Some(&b':') {
                return None;
            }
            let end = value(bytes, key + 1)?;
            let then = match (bytes.get(end)?, bytes.len() - end) {
                (b',', _) => Some(end + 1),
                (b'}', 1) => None,
                (_, _) => return None,
            };
            Some((self.text.get(at + 1..key - 1)?, Raw(self.text.get(key + 1..end)?), then))
        };
        let Some((key, value, then)) = member() else { return Some(None) };
        self.at = then;
        Some(Some((key, value)))
    }
}

/// Where the quoted text ends that begins at a place.
fn quoted(bytes: &[u8], begin: usize) -> Option<usize> {
    if bytes.get(begin) != Some(&b'"') {
        return None;
    }
    let mut at = begin + 1;
    loop {
        // Eight bytes at a time, as most texts are longer.
        let eight = bytes.get(at..).and_then(<[u8]>::first_chunk).map(|eight| u64::from_le_bytes(*eight));
        let step = eight.map_or(0, |eight| (holds(eight, b'"') | holds(eight, b'\\')).trailing_zeros() as usize / 8);
        at += step;
        if step == 8 {
            continue;
        }
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The highest bit of each byte that is `byte`; bits above the first of them mean nothing.
fn holds(eight: u64, byte: u8) -> u64 {
    const LOW: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let zero = eight ^ (LOW * byte as u64);
    zero.wrapping_sub(LOW) & !zero & HIGH
}

/// Where the value ends that begins at a place.
fn value(bytes: &[u8], begin: usize) -> Option<usize> {
    match bytes.get(begin)? {
        b'"' => quoted(bytes, begin),
        b'[' | b'{' => nested(bytes, begin),
        _ => {
            let length = bytes.get(begin..)?.iter().position(|byte| matches!(byte, b',' | b'}'))?;
            if length == 0 { None } else { Some(begin + length) }
        }
    }
}

fn nested(bytes: &[u8], begin: usize) -> Option<usize> {
    let (mut at, mut depth) = (begin, 0_usize);
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = quoted(bytes, at)?;
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
        /// Names of the members that the index knows, in the order of their values.
        const NAMES: &[&str] = &[$(stringify!($field)),+];

        #[derive(Clone, Copy)]
        #[expect(non_camel_case_types, reason = "they are the names of members")]
        enum Member { $($field),+ }

        impl<'l> Leaf<'l> {
            $(
                #[doc = concat!("The member `", stringify!($field), "`.")]
                pub fn $field(&self) -> Option<Raw<'l>> {
                    self.values.get(Member::$field as usize).copied().flatten()
                }
            )+
        }
    };
}

/// The members that the index knows, where the record has them; see `portcullis_core::audit::record` for what each means.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'l> {
    values: [Option<Raw<'l>>; NAMES.len()],
}

impl<'l> Leaf<'l> {
    /// Reads an entry.
    pub fn of(entry: &'l [u8]) -> Option<Self> {
        let mut leaf = Self { values: [None; NAMES.len()] };
        for member in Members::of(entry)? {
            let (key, value) = member?;
            let at = PLACES.get(slot(key.as_bytes(), SEED)).map_or(usize::MAX, |at| usize::from(*at));
            if let (Some(name), Some(place)) = (NAMES.get(at), leaf.values.get_mut(at))
                && *name == key
            {
                *place = Some(value);
            }
        }
        Some(leaf)
    }

    /// The same without what it says of a judgement.
    pub fn unjudged(&self) -> Self {
        let mut leaf = *self;
        for member in [Member::decision, Member::rules, Member::cause] {
            leaf.values.iter_mut().skip(member as usize).take(1).for_each(|value| *value = None);
        }
        leaf
    }
}

/// Where the place of a name is looked up: its length, first and last byte tell the names apart.
const fn slot(name: &[u8], seed: usize) -> usize {
    match (name.first(), name.last()) {
        (Some(first), Some(last)) => (name.len() * 31 + *first as usize * seed + *last as usize) % SLOTS,
        (_, _) => 0,
    }
}

const SLOTS: usize = 256;

/// The first with which no two names share a slot: found while this is compiled, which fails where there is none.
const SEED: usize = {
    let mut seed = 1;
    while !tells_apart(seed) {
        seed += 1;
    }
    seed
};

#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it: out of bounds would fail the build")]
const fn tells_apart(seed: usize) -> bool {
    let (mut taken, mut at) = ([false; SLOTS], 0);
    while at < NAMES.len() {
        let slot = slot(NAMES[at].as_bytes(), seed);
        if taken[slot] {
            return false;
        }
        taken[slot] = true;
        at += 1;
    }
    true
}

/// The place of the name in each slot.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it: out of bounds would fail the build")]
const PLACES: [u8; SLOTS] = {
    let (mut places, mut at) = ([u8::MAX; SLOTS], 0);
    while at < NAMES.len() {
        places[slot(NAMES[at].as_bytes(), SEED)] = at as u8;
        at += 1;
    }
    places
};

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
            "",
            "{",
            "}",
            "[]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1",
            "{\"a\":1,}",
            "{\"a\":1}x",
            "{\"a\":1}{",
            "{\"a:1}",
            "{\"a\":[1}",
            "{\"a\":\"x}",
            "{a:1}",
            "{\"a\":\"\\\"}",
            "{\"a\":1 }x",
            " {}",
            "{\"a\":[",
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
