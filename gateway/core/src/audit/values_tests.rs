//! Rows of values, of what is erased of them, and of what they come back as.

use super::*;
use crate::audit::parting::PARTS_MAX;
use proptest::prelude::*;

fn opening(raw: &str) -> Opening {
    let mut next = 0;
    Opening::of_json(Which::Arguments, raw.as_bytes(), || {
        next += 1;
        [next; 16]
    })
}

fn pointers(raw: &str) -> Vec<String> {
    opening(raw).parts.into_iter().map(|part| part.pointer).collect()
}

#[test]
fn an_erased_field_leaves_the_commitment_as_it_was() {
    let raw = r#"{"a": {"b": "secret", "c":[1, "x"]}, "d":{}}"#;
    let whole = opening(raw);
    assert_eq!(whole.value(), Value::Json(raw.into()));
    let rows = [
        ("/a/b", 1, r#"{"a": {"b": {"erased":true}, "c":[1, "x"]}, "d":{}}"#),
        ("/a/c", 2, r#"{"a": {"b": "secret", "c":[{"erased":true}, {"erased":true}]}, "d":{}}"#),
        ("/d/deeper", 1, r#"{"a": {"b": "secret", "c":[1, "x"]}, "d":{"erased":true}}"#),
        ("/a/bb", 0, raw),
        ("", 4, r#"{"a": {"b": {"erased":true}, "c":[{"erased":true}, {"erased":true}]}, "d":{"erased":true}}"#),
    ];
    for (pointer, parts, expected) in rows {
        let mut left = whole.clone();
        assert_eq!(left.erase(pointer), parts, "{pointer}");
        assert_eq!(left.erase(pointer), 0, "{pointer}");
        assert_eq!(left.value(), Value::Json(expected.into()));
        assert_eq!(left.commit(), whole.commit());
        let mut kept = Vec::new();
        left.write(&mut kept);
        assert_eq!(String::from_utf8_lossy(&kept).contains("secret"), pointer != "/a/b" && !pointer.is_empty());
        assert_eq!(Opening::read(&kept).unwrap(), left);
    }
}

#[test]
fn another_value_pointer_salt_or_kind_is_another_commitment() {
    let first = opening(r#"{"a":1}"#).commit();
    assert_ne!(opening(r#"{"a":2}"#).commit(), first);
    assert_ne!(opening(r#"{"b":1}"#).commit(), first);
    assert_ne!(Opening::of_json(Which::Arguments, br#"{"a":1}"#, || [9; 16]).commit(), first);
    assert_ne!(Opening { which: Which::Result, ..opening(r#"{"a":1}"#) }.commit(), first);
}

#[test]
fn a_value_is_parted_where_it_branches_as_long_as_it_is_small() {
    assert_eq!(pointers("7"), [""]);
    assert_eq!(pointers("{}"), [""]);
    assert_eq!(pointers(r#"{"a/b":1,"c~d":[2,{"\u0065":3}]}"#), ["/a~1b", "/c~0d/0", "/c~0d/1/e"]);
    let wide = format!("{{\"few\":[1,2],\"many\":[{}]}}", vec!["0"; 99].join(","));
    assert_eq!(pointers(&wide), ["/few/0", "/few/1", "/many"]);
    assert_eq!(pointers(&format!("[{}]", vec!["0"; PARTS_MAX].join(","))).len(), PARTS_MAX);
    assert_eq!(pointers(&format!("[{}]", vec!["0"; PARTS_MAX + 1].join(","))), [""]);
}

#[test]
fn a_digest_is_committed_to_with_a_salt() {
    let kept = Opening::of_digest(Which::Result, &[5; 32], [1; 16]);
    assert_eq!(kept.value(), Value::Digest([5; 32]));
    assert_ne!(kept.commit(), Opening::of_digest(Which::Result, &[5; 32], [2; 16]).commit());
    let mut bytes = Vec::new();
    kept.write(&mut bytes);
    assert_eq!(Opening::read(&bytes), Some(kept));
    assert!((0..bytes.len()).all(|cut| Opening::read(&bytes[..cut]).is_none()));
}

proptest! {
    #[test]
    fn whatever_the_text_it_comes_back_as_it_was(raw: Vec<u8>, json in "[\\[\\]{}\",:0-9a-z ]{0,40}") {
        for raw in [raw, json.into_bytes()] {
            let opening = Opening::of_json(Which::Result, &raw, || [3; 16]);
            prop_assert_eq!(opening.value(), Value::Json(raw.clone()));
            let mut bytes = Vec::new();
            opening.write(&mut bytes);
            prop_assert_eq!(Opening::read(&bytes), Some(opening));
            let _ = Opening::read(&raw);
        }
    }
}
