//! Rows of what is kept. Leaks first.

use super::*;
use crate::protocol::json::{JsonLimits, Scratch, read};

/// What `write` appends after the event, for `raw` under `rule` with `redact`.
fn kept(place: Place, raw: &[u8], rule: CaptureRule, redact: &[&str]) -> String {
    let redact: Vec<Box<str>> = redact.iter().map(|pointer| Box::from(*pointer)).collect();
    let mut out = Vec::new();
    let part = Part { content: Content::Whole(raw), rule, redact: &redact };
    write(&mut Line::open(&mut out, "t"), place, &part);
    out.push(b'}');
    let text = String::from_utf8(out).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    text.strip_prefix(r#"{"v":1,"event":"t","#).map_or(String::new(), |rest| rest.strip_suffix('}').unwrap().to_owned())
}

#[test]
fn what_was_read_and_is_one_line_is_kept_as_it_stands() {
    let rows = [
        (r#"{"a": [1, 2] , "b":"x y"}"#, r#"{"a": [1, 2] , "b":"x y"}"#),
        (r#"{"a":"\u2028\n"}"#, r#"{"a":"\u2028\n"}"#),
        ("{\"a\":\n 1}", r#"{"a":1}"#),
        ("{\"a\":\"\u{2028}\u{85}\u{7f}\"}", r#"{"a":"\u2028\u0085\u007f"}"#),
        ("\t[true]", "[true]"),
    ];
    for (raw, expected) in rows {
        let mut scratch = Scratch::new();
        let limits = JsonLimits { bytes_max: 99, depth_max: 9 };
        let document = read(&mut scratch, raw.as_bytes(), &limits).unwrap_or_else(|error| panic!("{raw}: {error}"));
        let value = Accepted::whole(&document, raw.as_bytes()).unwrap();
        let write = |redact: &[Box<str>]| {
            let mut out = Vec::new();
            let part = Part { content: Content::Read(value), rule: CaptureRule::Full, redact };
            super::write(&mut Line::open(&mut out, "t"), Place::Arguments, &part);
            String::from_utf8(out).unwrap()
        };
        let open = r#"{"v":1,"event":"t""#;
        assert_eq!(write(&[]), format!(r#"{open},"arguments":{expected},"arguments_bytes":{}"#, raw.len()));
        assert!(!write(&["/a".into()]).contains('x') || raw.contains("\"b\""), "a redaction reads it all the same");
    }
    let long = format!("[\"{}\"]", "x".repeat(ARGUMENTS_BYTES_MAX));
    let mut scratch = Scratch::new();
    let document = read(&mut scratch, long.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 9 }).unwrap();
    let mut out = Vec::new();
    let content = Content::Read(Accepted::whole(&document, long.as_bytes()).unwrap());
    super::write(
        &mut Line::open(&mut out, "t"),
        Place::Arguments,
        &Part { content, rule: CaptureRule::Full, redact: &[] },
    );
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with(&cut_arguments(long.as_bytes(), "too large")), "{text}");
}

fn arguments(raw: &str, redact: &[&str]) -> String {
    kept(Place::Arguments, raw.as_bytes(), CaptureRule::Full, redact)
}

fn cut(place: &str, bytes: &str, digest: &str, raw: &[u8], why: &str) -> String {
    format!(r#""{place}_cut":"{why}","{bytes}":{},"{digest}":"{}""#, raw.len(), blake3::hash(raw).to_hex())
}

fn cut_arguments(raw: &[u8], why: &str) -> String {
    cut("arguments", "arguments_bytes", "arguments_digest", raw, why)
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
            r#""result":{{"content":{{"redacted":true,"bytes":38}},"structuredContent":{{"ssn":{{"redacted":true,"bytes":1}},"n":2}},"isError":false}},"bytes":{},"result_redacted":2"#,
            raw.len()
        )
    );
    assert_eq!(result(raw, &[]), format!(r#""result":{raw},"bytes":{}"#, raw.len()));
    let error = r#"{"code":-32000,"message":"no row for ssn 1"}"#;
    assert_eq!(
        result(error, &["/ssn"]),
        r#""result":{"code":-32000,"message":{"redacted":true,"bytes":18}},"bytes":44,"result_redacted":1"#
    );
    let list = r#"["ssn 1"]"#;
    assert_eq!(
        result(list, &["/ssn"]),
        cut("result", "bytes", "digest", list.as_bytes(), "a redaction does not apply")
    );
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
    assert_eq!(kept(Place::Result, raw, CaptureRule::Digest, &[]), format!(r#""bytes":7,"digest":"{digest}""#));
}

#[test]
fn what_is_too_large_is_kept_as_size_and_digest() {
    let at_bound = format!("\"{}\"", "a".repeat(RESULT_BYTES_MAX - 2));
    assert!(kept(Place::Result, at_bound.as_bytes(), CaptureRule::Full, &[]).starts_with("\"result\":\"aaa"));
    let beyond = format!("\"{}\"", "a".repeat(RESULT_BYTES_MAX - 1));
    assert_eq!(
        kept(Place::Result, beyond.as_bytes(), CaptureRule::Full, &[]),
        cut("result", "bytes", "digest", beyond.as_bytes(), "too large")
    );
    // Escapes make it three times as long as it was.
    let grows = format!("\"{}\"", "\u{85}".repeat(ARGUMENTS_BYTES_MAX / 2 - 1));
    assert_eq!(arguments(&grows, &[]), cut_arguments(grows.as_bytes(), "too large"));
    let mut out = Vec::new();
    let part = Part { content: Content::Passed { bytes: 99, digest: &[7; 32] }, rule: CaptureRule::Full, redact: &[] };
    write(&mut Line::open(&mut out, "t"), Place::Result, &part);
    assert!(
        String::from_utf8(out)
            .unwrap()
            .ends_with(&format!(r#""result_cut":"too large","bytes":99,"digest":"{}""#, "07".repeat(32)))
    );
}

#[test]
fn an_id_is_echoed_as_it_was() {
    let id = |raw: &[u8]| {
        let mut out = Vec::new();
        write_value(&mut Line::open(&mut out, "t"), Field::RequestId, raw);
        String::from_utf8(out).unwrap().strip_prefix(r#"{"v":1,"event":"t","request_id":"#).unwrap().to_owned()
    };
    assert_eq!(id(b"7"), "7");
    assert_eq!(id(br#""\u0061""#), r#""\u0061""#);
    assert_eq!(id(br#"1,"decision":"allow""#), r#""1,\"decision\":\"allow\"""#);
}
