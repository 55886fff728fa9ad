use std::collections::HashSet;

use proptest::prelude::*;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::*;

const LIMITS: JsonLimits = JsonLimits { bytes_max: 1 << 20, depth_max: 8 };

fn verdict(bytes: &[u8]) -> Result<(), BodyError> {
    read(&mut Scratch::new(), bytes, &LIMITS).map(drop)
}

#[test]
fn each_fault_is_refused_under_its_own_name() {
    let check = |bytes: &[u8], expected: BodyError| {
        let got = verdict(bytes);
        assert_eq!(got, Err(expected), "given {:?}", String::from_utf8_lossy(bytes));
    };
    check(b"", BodyError::Empty);
    check(b" \r\n\t", BodyError::Empty);
    check(&vec![b' '; LIMITS.bytes_max + 1], BodyError::TooLarge);
    check(b"[[[[[[[[[]]]]]]]]]", BodyError::TooDeep);
    check(br#"{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{}}}}}}}}}"#, BodyError::TooDeep);
    check(&vec![b'['; 100_000], BodyError::TooDeep);
    check(b"\"\xff\"", BodyError::InvalidUtf8);
    check(b"{\"a\":\"\xc0\xaf\"}", BodyError::InvalidUtf8);
    check(b"\xfe\xff\x00{", BodyError::InvalidUtf8);
    check(b"\xEF\xBB\xBF{}", BodyError::ByteOrderMark);
    check(br#""\uD800""#, BodyError::LoneSurrogate);
    check(br#"{"a":"\ud83d\u0041"}"#, BodyError::LoneSurrogate);
    check(br#"{"\uDE00":1}"#, BodyError::LoneSurrogate);
    check(br#""\uD83Dx""#, BodyError::LoneSurrogate);
    check(b"\"\xED\xA0\x80\"", BodyError::LoneSurrogate);
    check(br#"{"a":1,"a":2}"#, BodyError::DuplicateKey);
    check(br#"{"name":1,"n\u0061me":2}"#, BodyError::DuplicateKey);
    check(br#"[{"x":{"a":1,"b":[],"a":1}}]"#, BodyError::DuplicateKey);
    check(br#"{"":1,"":2}"#, BodyError::DuplicateKey);
    check(br#"{"name\u0000":1,"name":2}"#, BodyError::NulInKey);
    check(br#"{"name\u0000":1}"#, BodyError::NulInKey);
    check(br#"[{"a":{"\u0000":1}}]"#, BodyError::NulInKey);
    check(br#"{} {}"#, BodyError::TrailingData);
    check(br#"{}]"#, BodyError::TrailingData);
    check(br#"1 2"#, BodyError::TrailingData);
    check(br#"null,"#, BodyError::TrailingData);
    check(b"{}\0", BodyError::TrailingData);
    check(b"18446744073709551616", BodyError::NumberOutOfRange);
    check(b"[-9223372036854775809]", BodyError::NumberOutOfRange);
    check(br#"{"a":1e400}"#, BodyError::NumberOutOfRange);
    check(b"[-1.5E+999]", BodyError::NumberOutOfRange);
    // A fault is found behind everything that is well written.
    check(
        br#"{"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00":[true,false,null,-0,1.5e-3,{},[]],"b":1e400}"#,
        BodyError::NumberOutOfRange,
    );
}

#[test]
fn what_the_grammar_does_not_allow_is_refused() {
    for text in [
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "[1 2]",
        "]",
        "}",
        "[}",
        "{]",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "NaN",
        "Infinity",
        "nul",
        "truex",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\u{1}\"",
        "\"\n\"",
        "/**/1",
        "[1]//",
        "{\"a\":1}}x",
        "{,}",
        "[,1]",
        "{1:2}",
        ":",
        ",",
        "\u{a0}1",
        "\u{2028}",
    ] {
        let got = verdict(text.as_bytes());
        assert!(matches!(got, Err(BodyError::Syntax | BodyError::TrailingData)), "given {text:?} got {got:?}");
    }
}

#[test]
fn names_are_distinct_and_in_snake_case() {
    use BodyError::{
        ByteOrderMark, DuplicateKey, Empty, InvalidUtf8, LoneSurrogate, NulInKey, NumberOutOfRange, Syntax, TooDeep,
        TooLarge, TrailingData,
    };
    let all = [
        Empty,
        TooLarge,
        TooDeep,
        InvalidUtf8,
        ByteOrderMark,
        LoneSurrogate,
        DuplicateKey,
        NulInKey,
        TrailingData,
        NumberOutOfRange,
        Syntax,
    ];
    let names: HashSet<&str> = all.iter().map(|error| error.name()).collect();
    assert_eq!(names.len(), all.len());
    assert!(
        names.iter().all(|name| name.bytes().all(|byte| byte == b'_' || byte == b'8' || byte.is_ascii_lowercase()))
    );
}

#[test]
fn a_repeated_key_is_found_among_many() {
    for (count, repeated) in [(16, 15), (17, 16), (17, 0), (5000, 4999), (5000, 17)] {
        let keys: Vec<String> = (0..count).map(|key| format!("\"k{key}\":{{\"k\":0}}")).collect();
        let unique = format!("{{{}}}", keys.join(","));
        assert_eq!(verdict(unique.as_bytes()), Ok(()), "{count} different keys");
        let twice = format!("{{{},\"\\u006b{repeated}\":1}}", keys.join(","));
        assert_eq!(verdict(twice.as_bytes()), Err(BodyError::DuplicateKey), "key {repeated} of {count} again");
    }
}

#[test]
fn the_memory_of_a_huge_text_is_given_back_at_the_next_short_one() {
    let mut scratch = Scratch::new();
    let huge = format!("[{}0]", "0,".repeat(SCRATCH_KEPT_BYTES));
    let limits = JsonLimits { bytes_max: 2 * huge.len(), ..LIMITS };
    assert!(read(&mut scratch, huge.as_bytes(), &limits).is_ok());
    let held = |scratch: &Scratch| scratch.nodes.capacity() * size_of::<Node<'static>>() + scratch.padded.capacity();
    assert!(held(&scratch) > huge.len());
    assert!(read(&mut scratch, b"[0]", &limits).is_ok());
    assert!(held(&scratch) < 4096, "{} bytes are held", held(&scratch));
}

#[test]
fn values_are_read_as_written() {
    let text = br#" {"s":"a\u00e9\n\u0000","i":-9223372036854775808,"u":18446744073709551615,"f":1.0,"e":1e3,"z":-0,
        "b":[true,false,null,[],{}],"o":{"a/b":{"m~n":7}}} "#;
    let mut scratch = Scratch::new();
    let document = read(&mut scratch, text, &LIMITS).unwrap();
    let root = document.root();
    assert_eq!((root.kind(), root.len()), (Kind::Object, 8));
    assert_eq!(root.get("s").unwrap().as_str(), Some("aé\n\0"));
    assert_eq!(root.get("i").unwrap().as_i64(), Some(i64::MIN));
    assert_eq!((root.get("u").unwrap().as_u64(), root.get("u").unwrap().as_i64()), (Some(u64::MAX), None));
    for key in ["f", "e"] {
        let float = root.get(key).unwrap();
        assert_eq!((float.kind(), float.as_i64(), float.as_u64()), (Kind::Float, None, None));
    }
    assert_eq!(root.get("e").unwrap().as_f64(), Some(1000.0));
    assert_eq!(root.get("z").unwrap().as_i64(), Some(0));
    let kinds: Vec<Kind> = root.get("b").unwrap().items().map(Value::kind).collect();
    assert_eq!(kinds, [Kind::Bool, Kind::Bool, Kind::Null, Kind::Array, Kind::Object]);
    let keys: Vec<&str> = root.entries().map(|(key, _)| key).collect();
    assert_eq!(keys, ["s", "i", "u", "f", "e", "z", "b", "o"]);
    let pointer = |at: &str| root.pointer(at).and_then(Value::as_i64);
    assert_eq!(pointer("/o/a~1b/m~0n"), Some(7));
    for missing in ["o", "/o/a/b", "/b/00", "/b/5", "/b/-", "/s/0", "/o/a~1b/m~2n", "/o/a~1b/m~"] {
        assert!(root.pointer(missing).is_none(), "{missing}");
    }
    assert_eq!(root.pointer("/b/0").unwrap().as_bool(), Some(true));
    assert_eq!(root.pointer("").unwrap().kind(), Kind::Object);
    assert!(root.get("missing").is_none() && root.get("S").is_none() && root.get("s").unwrap().get("x").is_none());
}

#[test]
fn the_tape_goes_back_to_the_scratch_also_after_a_refusal() {
    let mut scratch = Scratch::new();
    let text = format!("[{}1]", "1,".repeat(1000));
    drop(read(&mut scratch, text.as_bytes(), &LIMITS).unwrap());
    let (nodes, padded) = (scratch.nodes.as_ptr(), scratch.padded.as_ptr());
    for body in [text.as_str(), "{\"a\":1}", "{\"a\":1,\"a\":2}", "[1,", "\u{feff}", "{}{}"] {
        let _ = read(&mut scratch, body.as_bytes(), &LIMITS);
        assert_eq!((scratch.nodes.as_ptr(), scratch.padded.as_ptr()), (nodes, padded), "after {:.20}", body);
        assert!(scratch.nodes.is_empty());
    }
}

#[test]
fn the_depth_bound_follows_the_limits_and_never_exceeds_the_ceiling() {
    let mut scratch = Scratch::new();
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    for (depth_max, bound) in [(3, 3), (64, 64), (1, 1), (1000, JSON_DEPTH_MAX)] {
        let limits = JsonLimits { depth_max, ..LIMITS };
        assert!(read(&mut scratch, nested(bound).as_bytes(), &limits).is_ok(), "{bound} of {depth_max}");
        let got = read(&mut scratch, nested(bound + 1).as_bytes(), &limits).map(drop);
        assert_eq!(got, Err(BodyError::TooDeep), "{} of {depth_max}", bound + 1);
    }
}

/// What the tape must agree with: serde_json, plus a check that no object names a key twice.
struct Oracle;

impl<'de> DeserializeSeed<'de> for Oracle {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Oracle {
    type Value = ();
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Oracle)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = members.next_key::<String>()? {
            if !seen.insert(key) {
                return Err(de::Error::custom("twice"));
            }
            members.next_value_seed(Oracle)?;
        }
        Ok(())
    }
}

fn oracle(bytes: &[u8]) -> bool {
    let mut from = serde_json::Deserializer::from_slice(bytes);
    Oracle.deserialize(&mut from).is_ok() && from.end().is_ok()
}

fn same_value(ours: Value<'_>, theirs: &serde_json::Value) -> bool {
    match theirs {
        serde_json::Value::Null => ours.is_null(),
        serde_json::Value::Bool(truth) => ours.as_bool() == Some(*truth),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => ours.as_i64() == Some(whole),
            // `-0` is an integer to the tape and a float to serde_json.
            None => ours.as_f64().zip(number.as_f64()).is_some_and(|(a, b)| (a - b).abs() <= b.abs() * 1e-15),
        },
        serde_json::Value::String(text) => ours.as_str() == Some(text),
        serde_json::Value::Array(items) => {
            ours.len() == items.len() && ours.items().zip(items).all(|(ours, theirs)| same_value(ours, theirs))
        }
        serde_json::Value::Object(members) => {
            ours.len() == members.len()
                && ours
                    .entries()
                    .zip(members)
                    .all(|((key, ours), (name, theirs))| key == name && same_value(ours, theirs))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn exactly_what_serde_json_takes_without_duplicate_keys_is_read(text in samples::text_with_repeats()) {
        prop_assert_eq!(verdict(text.as_bytes()).is_ok(), oracle(text.as_bytes()), "given {}", text);
    }

    #[test]
    fn a_text_with_one_byte_changed_is_judged_as_serde_json_judges_it(
        (text, _) in samples::text_and_paths(), place in any::<prop::sample::Index>(), byte in prop_oneof![
            any::<u8>(), prop::sample::select(b"{}[]\",:\\0.e-u \xed\xa0\x80".to_vec())
        ], deed in 0..3,
    ) {
        let mut bytes = text.into_bytes();
        let at = place.index(bytes.len());
        match deed {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => { bytes.remove(at); }
        }
        let expected = oracle(&bytes);
        let got = verdict(&bytes);
        let beyond = got == Err(BodyError::NumberOutOfRange) && expected;
        prop_assert!(beyond || got.is_ok() == expected, "given {:?} got {:?}", String::from_utf8_lossy(&bytes), got);
    }

    #[test]
    fn the_tape_holds_what_serde_json_reads((text, paths) in samples::text_and_paths()) {
        let mut scratch = Scratch::new();
        let document = read(&mut scratch, text.as_bytes(), &LIMITS).unwrap();
        let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert!(same_value(document.root(), &whole), "given {}", text);
        for path in paths {
            let pointer: String = path.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect();
            prop_assert!(same_value(document.root().pointer(&pointer).unwrap(), whole.pointer(&pointer).unwrap()));
        }
    }
}
