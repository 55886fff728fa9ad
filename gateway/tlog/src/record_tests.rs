use super::*;

const DIGITS: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn check(entry: &str, expected: Result<(u16, u64, bool, i64, Option<u64>), NotARecord>) {
    let read = Link::read(entry.as_bytes());
    let got = read.map(|link| (link.shard, link.seq, link.prev.is_some(), link.at, link.pruned));
    assert_eq!(got, expected, "given {entry}");
}

#[test]
fn what_is_no_record_is_refused() {
    for entry in [
        "",
        "{",
        "{}",
        "{\"",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{\"a\":1}x",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\\\"}",
        "{\"a\":[1}",
        "{\"a\":]}",
        "{\"a\":[\"]}",
        "{\"a\": 1}",
        "{\"a\":{\"b\": 1}}",
        "{\"a\":\"x\"y}",
        "{\"prev\":\"00\",\"seq\":1,\"shard\":0,\"ts\":1,\"v\":2}",
        "{\"prev\":7,\"seq\":1,\"shard\":0,\"ts\":1,\"v\":2}",
        "[1]",
    ] {
        check(entry, Err(NotARecord::Form));
    }
    for entry in [
        "{\"b\":1,\"a\":1}",
        "{\"a\":1,\"a\":1}",
        "{\"\":1}",
        r#"{"\u0073eq":1,"seq":1,"shard":0,"ts":1,"v":2}"#,
        "{\"seq\":1,\"shard\":0,\"ts\":1,\"v\":2,\"v\":2}",
    ] {
        check(entry, Err(NotARecord::Unsorted));
    }
    for version in ["1", "3", "02", "2.0", "-2", "\"2\"", "null"] {
        check(&format!("{{\"seq\":1,\"shard\":0,\"ts\":1,\"v\":{version}}}"), Err(NotARecord::Version));
    }
    for (seq, shard, ts) in [
        ("01", "0", "1"),
        ("-1", "0", "1"),
        ("18446744073709551616", "0", "1"),
        ("\"1\"", "0", "1"),
        ("1", "65536", "1"),
        ("1", "0", "-0"),
        ("1", "0", "1e3"),
        ("1", "0", "9223372036854775808"),
        ("[1]", "0", "1"),
    ] {
        check(&format!("{{\"seq\":{seq},\"shard\":{shard},\"ts\":{ts},\"v\":2}}"), Err(NotARecord::Nameless));
    }
}

#[test]
fn what_ties_a_record_is_read_past_everything_else() {
    check("{\"seq\":0,\"shard\":0,\"ts\":-5,\"v\":2}", Ok((0, 0, false, -5, None)));
    let odd = r#"{"a":"\"seq\":9,\\","b":[1,{"seq":"}]"},[]],"boot":"é\u0000\\","c":{},"d":-1.5E+30,"e":null"#;
    check(
        &format!("{odd},\"prev\":\"{DIGITS}\",\"seq\":18446744073709551615,\"shard\":65535,\"ts\":1,\"v\":2}}"),
        Ok((65535, u64::MAX, true, 1, None)),
    );
    check(
        "{\"event\":\"audit.pruned\",\"first_index\":512,\"seq\":1,\"shard\":0,\"ts\":1,\"v\":2}",
        Ok((0, 1, false, 1, Some(512))),
    );
    check(
        "{\"event\":\"decision\",\"first_index\":512,\"seq\":1,\"shard\":0,\"ts\":1,\"v\":2}",
        Ok((0, 1, false, 1, None)),
    );
    for (event, lost) in [("audit.lost", Some(3)), ("audit.read", None)] {
        let record = format!("{{\"count\":3,\"event\":\"{event}\",\"seq\":1,\"shard\":0,\"ts\":1,\"v\":2}}");
        assert_eq!(Link::read(record.as_bytes()).unwrap().lost, lost);
    }
    let link = format!("{{\"prev\":\"{DIGITS}\",\"seq\":1,\"shard\":0,\"ts\":1,\"v\":2}}");
    assert_eq!(Link::read(link.as_bytes()).unwrap().prev, Some(DIGITS.as_bytes()));
}

#[test]
fn a_text_ends_at_its_quote_wherever_that_stands() {
    for length in 0..40 {
        for last in ["\"", "\\\"\"", "\n", "\u{1f}", "\u{7f}\"", "\u{80}\"", "é\""] {
            let text = format!("{}{last}rest", "x".repeat(length));
            // By definition, byte for byte.
            let (mut at, mut expected) = (0, None);
            let bytes = text.as_bytes();
            while at < bytes.len() && bytes[at] >= 0x20 {
                if bytes[at] == b'"' {
                    expected = Some(at);
                    break;
                }
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            assert_eq!(plain(bytes), expected, "given {text:?}");
        }
    }
}
