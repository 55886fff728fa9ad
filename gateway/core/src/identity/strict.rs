//! Reads the JSON of headers, claims and key sets strictly. In: bytes. Out: a tree. Never here: message bodies, which have a reader of their own.
//!
//! Two readers that take different members of `{"sub":"a","sub":"b"}` can be played against each other (RFC 8725 §2.4), so a repeated
//! member is refused at every depth, also where one of the two is spelt with `\u` escapes.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;

/// A JSON value whose members are known to differ in name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Truth(bool),
    Integer(i64),
    /// A number with a fraction, an exponent, a negative zero, or beyond 64 bits: none of our members may be one.
    Number,
    Text(Box<str>),
    List(Vec<Json>),
    Object(Members),
}

/// The members of an object, in their order.
pub(crate) type Members = Vec<(Box<str>, Json)>;

/// Why bytes are not the JSON we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StrictError {
    /// Not JSON, not UTF-8, or something follows the value. The line counts from 1.
    Syntax { line: usize },
    /// An object names a member twice.
    Duplicate,
    /// Nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// An object has more than [`MEMBERS_MAX`] members.
    TooWide,
}

/// Nesting of a token's or key set's JSON: a `cnf` or an `act` chain is 2 to 4 deep.
const DEPTH_MAX: usize = 8;

/// Members of one object. Finding a repeated one compares each to each: 128 × 127 / 2 comparisons of short strings stay below 20 µs,
/// where the 8 KiB of a token could otherwise hold 1,000 members. Identity providers send about 30.
const MEMBERS_MAX: usize = 128;

/// Reads one JSON value and nothing beside it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Json, StrictError> {
    let fault = Cell::new(None);
    let mut input = serde_json::Deserializer::from_slice(bytes);
    let read = Reader { depth: DEPTH_MAX, fault: &fault }.deserialize(&mut input);
    read.and_then(|json| input.end().map(|()| json))
        .map_err(|error| fault.get().unwrap_or(StrictError::Syntax { line: error.line() }))
}

/// Reads the one JSON object that the bytes hold.
pub(crate) fn object(bytes: &[u8]) -> Result<Members, StrictError> {
    match parse(bytes)? {
        Json::Object(members) => Ok(members),
        Json::Null | Json::Truth(_) | Json::Integer(_) | Json::Number | Json::Text(_) | Json::List(_) => {
            Err(StrictError::Syntax { line: 1 })
        }
    }
}

/// The member of this name.
pub(crate) fn member<'j>(members: &'j [(Box<str>, Json)], name: &str) -> Option<&'j Json> {
    members.iter().find(|(key, _)| **key == *name).map(|(_, value)| value)
}

#[derive(Clone, Copy)]
struct Reader<'f> {
    depth: usize,
    fault: &'f Cell<Option<StrictError>>,
}

impl Reader<'_> {
    fn stop<E: Error>(self, fault: StrictError) -> E {
        self.fault.set(Some(fault));
        E::custom("not strict")
    }

    fn deeper(self) -> Option<Self> {
        Some(Self { depth: self.depth.checked_sub(1)?, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Json, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Json;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Truth(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Number, Json::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Json, A::Error> {
        let Some(inner) = self.deeper() else { return Err(self.stop(StrictError::TooDeep)) };
        let mut items = Vec::new();
        while let Some(item) = input.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Json, A::Error> {
        let Some(inner) = self.deeper() else { return Err(self.stop(StrictError::TooDeep)) };
        let mut members: Members = Vec::new();
        while let Some(name) = input.next_key::<String>()? {
            if member(&members, &name).is_some() {
                return Err(self.stop(StrictError::Duplicate));
            }
            if members.len() == MEMBERS_MAX {
                return Err(self.stop(StrictError::TooWide));
            }
            members.push((name.into_boxed_str(), input.next_value_seed(inner)?));
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], expected: Result<Json, StrictError>) {
        assert_eq!(parse(text), expected, "{}", String::from_utf8_lossy(text));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let syntax = Err(StrictError::Syntax { line: 1 });
        for text in [
            b"" as &[u8],
            b"{} {}",
            b"{}x",
            b"\xEF\xBB\xBF{}",
            b"\"\xFF\"",
            br#""\ud800""#,
            b"{'a':1}",
            b"[1,]",
            b"01",
            b"1e999",
            b"NaN",
        ] {
            check(text, syntax.clone());
        }
        check(br#"{"a":1,"a":1}"#, Err(StrictError::Duplicate));
        check(br#"{"a":1,"\u0061":2}"#, Err(StrictError::Duplicate));
        check(br#"{"x":[{"a":1,"a":2}]}"#, Err(StrictError::Duplicate));
        check("[".repeat(9).as_bytes(), Err(StrictError::TooDeep));
        let wide: Vec<String> = (0..=MEMBERS_MAX).map(|n| format!("\"{n}\":0")).collect();
        check(format!("{{{}}}", wide.join(",")).as_bytes(), Err(StrictError::TooWide));
    }

    #[test]
    fn only_whole_numbers_of_64_bits_are_integers() {
        for text in [b"1.0" as &[u8], b"1e3", b"-0", b"9223372036854775808", b"0.5"] {
            check(text, Ok(Json::Number));
        }
        check(b"-9223372036854775808", Ok(Json::Integer(i64::MIN)));
        let expected =
            Json::Object(vec![("a".into(), Json::List(vec![Json::Null, Json::Truth(true), Json::Text("é".into())]))]);
        check(r#"{"a":[null,true,"\u00e9"]}"#.as_bytes(), Ok(expected));
        assert_eq!(object(b"[]"), Err(StrictError::Syntax { line: 1 }));
    }
}
