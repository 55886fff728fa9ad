//! Rows of what is kept. Leaks first.

use super::*;
use crate::audit::field::{Event, Fields, Kind};
use crate::protocol::json::{JsonLimits, Scratch, read};
use crate::time::UnixMillis;

/// What `write` keeps of `raw` under `rule` with `redact`: fields and what they hold, values and digests as they stand.
fn kept(place: Place, raw: &[u8], rule: CaptureRule, redact: &[&str]) -> String {
    let redact: Vec<Box<str>> = redact.iter().map(|pointer| Box::from(*pointer)).collect();
    of(place, &Part { content: Content::Whole(raw), rule, redact: &redact })
}

fn of(place: Place, part: &Part<'_>) -> String {
    let mut out = Vec::new();
    let mut writer = Writer::open(&mut out, Event::Decision, 0, UnixMillis(0));
    write(&mut writer, place, part);
    writer.close();
    let (fields, _) = Fields::split(&out).unwrap();
    let mut shown = Vec::new();
    for field in Field::ALL {
        let Some(bytes) = fields.bytes(*field) else { continue };
        let value = match field.kind() {
            Kind::Number => fields.number(*field).unwrap().to_string(),
            Kind::Text => format!("\"{}\"", fields.text(*field).unwrap()),
            Kind::Value if field.name().ends_with("digest") => {
                let mut digest = b"\"".to_vec();
                hex(&mut digest, bytes);
                format!("{}\"", String::from_utf8(digest).unwrap())
            }
            _ => {
                let raw = std::str::from_utf8(bytes).unwrap();
                serde_json::from_str::<serde_json::Value>(raw).unwrap_or_else(|error| panic!("{error}: {raw}"));
                raw.to_owned()
            }
        };
        shown.push(format!("\"{}\":{value}", field.name()));
    }
    shown.join(",")
}

#[test]
fn what_was_read_is_kept_as_it_stands() {
    let rows =
        [r#"{"a": [1, 2] , "b":"x y"}"#, r#"{"a":"\u2028\n"}"#, "{\"a\":\n 1}", "{\"a\":\"\u{2028}\u{85}\u{7f}\"}"];
    for raw in rows {
        let mut scratch = Scratch::new();
        let limits = JsonLimits { bytes_max: 99, depth_max: 9 };
        let document = read(&mut scratch, raw.as_bytes(), &limits).unwrap_or_else(|error| panic!("{raw}: {error}"));
        let content = Content::Read(Accepted::whole(&document, raw.as_bytes()).unwrap());
        let got = of(Place::Arguments, &Part { content, rule: CaptureRule::Full, redact: &[] });
        assert_eq!(got, format!(r#""arguments":{raw},"arguments_bytes":{}"#, raw.len()));
        let got = of(Place::Arguments, &Part { content, rule: CaptureRule::Full, redact: &["/a".into()] });
        assert!(got.contains("redacted\":1"), "{got}");
    }
    let long = format!("[\"{}\"]", "x".repeat(ARGUMENTS_BYTES_MAX));
    let mut scratch = Scratch::new();
    let document = read(&mut scratch, long.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 9 }).unwrap();
    let content = Content::Read(Accepted::whole(&document, long.as_bytes()).unwrap());
    let got = of(Place::Arguments, &Part { content, rule: CaptureRule::Full, redact: &[] });
    assert_eq!(got, cut_arguments(long.as_bytes(), "too large"));
}

fn arguments(raw: &str, redact: &[&str]) -> String {
    kept(Place::Arguments, raw.as_bytes(), CaptureRule::Full, redact)
}

fn cut(place: &str, raw: &[u8], why: &str) -> String {
    let digest = blake3::hash(raw).to_hex();
    format!(r#""{place}_bytes":{},"{place}_cut":"{why}","{place}_digest":"{digest}""#, raw.len())
}

fn cut_arguments(raw: &[u8], why: &str) -> String {
    cut("arguments", raw, why)
}

#[test]
fn a_redacted_value_is_never_written() {
    let rows: [(&str, &[&str], &str); 12] = [
        (
            r#"{"ssn":"123"}"#,
            &["/ssn"],
            r#""arguments":{"ssn":{"redacted":true,"bytes":5}},"arguments_bytes":13,"arguments_redacted":1"#,
        ),
        (
            r#"{"s\u0073n":"123"}"#,
            &["/ssn"],
            r#""arguments":{"s\u0073n":{"redacted":true,"bytes":5}},"arguments_bytes":18,"arguments_redacted":1"#,
        ),
        (
            r#"{"rows":[{"ssn":1,"n":2},{"n":3},{"ssn":{"a":4}}]}"#,
            &["/rows/*/ssn"],
            r#""arguments":{"rows":[{"ssn":{"redacted":true,"bytes":1},"n":2},{"n":3},{"ssn":{"redacted":true,"bytes":7}}]},"arguments_bytes":50,"arguments_redacted":2"#,
        ),
        (
            r#"{"by":{"a":1,"b":2}}"#,
            &["/by/*"],
            r#""arguments":{"by":{"a":{"redacted":true,"bytes":1},"b":{"redacted":true,"bytes":1}}},"arguments_bytes":20,"arguments_redacted":2"#,
        ),
        (
            r#"{"a":[7,8]}"#,
            &["/a/1"],
            r#""arguments":{"a":[7,{"redacted":true,"bytes":1}]},"arguments_bytes":11,"arguments_redacted":1"#,
        ),
        (r#"{"a":[7,8]}"#, &["/a/2"], r#""arguments":{"a":[7,8]},"arguments_bytes":11"#),
        (
            r#"{"a/b":1,"c~d":2}"#,
            &["/a~1b", "/c~0d"],
            r#""arguments":{"a/b":{"redacted":true,"bytes":1},"c~d":{"redacted":true,"bytes":1}},"arguments_bytes":17,"arguments_redacted":2"#,
        ),
        (
            r#"{"a":{"b":1}}"#,
            &["/a/b", "/a"],
            r#""arguments":{"a":{"redacted":true,"bytes":7}},"arguments_bytes":13,"arguments_redacted":1"#,
        ),
        (r#"{"a":1}"#, &["/ssn"], r#""arguments":{"a":1},"arguments_bytes":7"#),
        (r#"{"a":null}"#, &["/a/ssn"], r#""arguments":{"a":null},"arguments_bytes":10"#),
        (
            r#"{"":1}"#,
            &["/"],
            r#""arguments":{"":{"redacted":true,"bytes":1}},"arguments_bytes":6,"arguments_redacted":1"#,
        ),
        (
            " { \"a\" : 1 , \"b\" : [ 1 , 2 ] } ",
            &["/a"],
            r#""arguments":{"a":{"redacted":true,"bytes":1},"b":[1,2]},"arguments_bytes":31,"arguments_redacted":1"#,
        ),
    ];
    for (raw, redact, expected) in rows {
        assert_eq!(arguments(raw, redact), expected, "given {raw} and {redact:?}");
    }
}

#[test]
fn a_pointer_that_does_not_apply_leaves_only_a_digest() {
    let rows: [(&str, &[&str]); 5] = [
        (r#"{"row":"{\"ssn\":1}"}"#, &["/row/ssn"]),
        (r#"{"rows":[{"ssn":1}]}"#, &["/rows/ssn"]),
        (r#"[{"ssn":1}]"#, &["/ssn"]),
        (r#""ssn""#, &["/ssn"]),
        (r#"{"ssn":1}"#, &["ssn"]),
    ];
    for (raw, redact) in rows {
        assert_eq!(arguments(raw, redact), cut_arguments(raw.as_bytes(), "a redaction does not apply"), "given {raw}");
    }
}

#[test]
fn prose_of_a_result_is_not_written_where_something_is_redacted() {
    let result = |raw: &str, redact: &[&str]| kept(Place::Result, raw.as_bytes(), CaptureRule::Full, redact);
    let raw =
        r#"{"content":[{"type":"text","text":"{\"ssn\":1}"}],"structuredContent":{"ssn":1,"n":2},"isError":false}"#;
    assert_eq!(
        result(raw, &["/ssn"]),
        format!(
            r#""result":{{"content":{{"redacted":true,"bytes":38}},"structuredContent":{{"ssn":{{"redacted":true,"bytes":1}},"n":2}},"isError":false}},"result_bytes":{},"result_redacted":2"#,
            raw.len()
        )
    );
    assert_eq!(result(raw, &[]), format!(r#""result":{raw},"result_bytes":{}"#, raw.len()));
    let error = r#"{"code":-32000,"message":"no row for ssn 1"}"#;
    assert_eq!(
        result(error, &["/ssn"]),
        r#""result":{"code":-32000,"message":{"redacted":true,"bytes":18}},"result_bytes":44,"result_redacted":1"#
    );
    let list = r#"["ssn 1"]"#;
    assert_eq!(result(list, &["/ssn"]), cut("result", list.as_bytes(), "a redaction does not apply"));
}

#[test]
fn what_is_no_json_can_forge_no_field() {
    let rows: [&[u8]; 16] = [
        b"",
        b" ",
        b"1},\"decision\":\"allow\"",
        b"{\"a\":1},\"decision\":\"allow\",\"b\":{\"c\":1}",
        b"1,\"decision\":\"allow\"",
        b"\"a\",\"decision\":\"allow\"",
        b"1 2",
        b"{\"a\":1]",
        b"{\"a\":1",
        b"[1}",
        b"}{",
        b"\"a\nb\"",
        b"\"a\\\nb\"",
        b"\"a\xff\"",
        b"'a'",
        b"{\"a\":\"",
    ];
    for raw in rows {
        assert_eq!(
            kept(Place::Arguments, raw, CaptureRule::Full, &[]),
            cut_arguments(raw, "not JSON"),
            "given {:?}",
            raw.escape_ascii().to_string()
        );
    }
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    assert_eq!(arguments(&deep, &[]), cut_arguments(deep.as_bytes(), "not JSON"));
}

#[test]
fn json_stays_one_line_and_the_same_value() {
    let rows = [
        (
            "{\n \"a\" :\t[ 1.50 , -0e+7 , 12345678901234567890123 ]\r\n}",
            r#"{"a":[1.50,-0e+7,12345678901234567890123]}"#,
        ),
        ("\"a\u{2028}b\u{2029}c\u{85}d\u{9b}e\x7ff\u{a0}g\"", "\"a\\u2028b\\u2029c\\u0085d\\u009be\\u007ff\u{a0}g\""),
        (r#""say \"hi\" \\ \u000a""#, r#""say \"hi\" \\ \u000a""#),
        ("\" two  blanks \"", "\" two  blanks \""),
        (" true ", "true"),
        ("null", "null"),
        ("{}", "{}"),
    ];
    for (raw, expected) in rows {
        assert_eq!(
            arguments(raw, &[]),
            format!(r#""arguments":{expected},"arguments_bytes":{}"#, raw.len()),
            "given {raw:?}"
        );
        let (before, after): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(raw).unwrap(), serde_json::from_str(expected).unwrap());
        assert_eq!(before, after);
    }
}

#[test]
fn each_rule_keeps_what_it_says() {
    let raw = br#"{"a":1}"#;
    let digest = blake3::hash(raw).to_hex();
    assert_eq!(
        kept(Place::Arguments, raw, CaptureRule::Digest, &[]),
        format!(r#""arguments_bytes":7,"arguments_digest":"{digest}""#)
    );
    assert_eq!(kept(Place::Arguments, raw, CaptureRule::Size, &[]), r#""arguments_bytes":7"#);
    assert_eq!(kept(Place::Arguments, raw, CaptureRule::None, &[]), "");
    assert_eq!(
        kept(Place::Result, raw, CaptureRule::Digest, &[]),
        format!(r#""result_bytes":7,"result_digest":"{digest}""#)
    );
}

#[test]
fn what_is_too_large_is_kept_as_size_and_digest() {
    let at_bound = format!("\"{}\"", "a".repeat(RESULT_BYTES_MAX - 2));
    assert!(kept(Place::Result, at_bound.as_bytes(), CaptureRule::Full, &[]).starts_with("\"result\":\"aaa"));
    let beyond = format!("\"{}\"", "a".repeat(RESULT_BYTES_MAX - 1));
    assert_eq!(
        kept(Place::Result, beyond.as_bytes(), CaptureRule::Full, &[]),
        cut("result", beyond.as_bytes(), "too large")
    );
    // Escapes make it three times as long as it was.
    let grows = format!("\"{}\"", "\u{85}".repeat(ARGUMENTS_BYTES_MAX / 2 - 1));
    assert_eq!(arguments(&grows, &[]), cut_arguments(grows.as_bytes(), "too large"));
    let part = Part { content: Content::Passed { bytes: 99, digest: &[7; 32] }, rule: CaptureRule::Full, redact: &[] };
    let digest = "07".repeat(32);
    assert_eq!(
        of(Place::Result, &part),
        format!(r#""result_bytes":99,"result_cut":"too large","result_digest":"{digest}""#)
    );
}

#[test]
fn an_id_is_kept_as_it_was_and_a_long_one_by_its_digest() {
    let id = |raw: &[u8]| {
        let mut out = Vec::new();
        let mut writer = Writer::open(&mut out, Event::Decision, 0, UnixMillis(0));
        write_id(&mut writer, raw);
        writer.close();
        Fields::split(&out).unwrap().0.bytes(Field::RequestId).unwrap().to_vec()
    };
    assert_eq!(id(b"7"), b"7");
    let long = [b'1'; 300];
    assert_eq!(
        id(&long),
        format!("{}\u{2026} (300 bytes, blake3 {})", "1".repeat(256), blake3::hash(&long).to_hex()).as_bytes()
    );
}
